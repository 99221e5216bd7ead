#!/bin/sh
# What the manual page and the completions say is what the command can: every option of `whet COMMAND --help` stands in docs/whet.1
# and in the completions of zsh and fish (bash's asks the command), and none stands there that is no more.   tests/help_test.sh BUILD
set -u
whet=$1/whet
passed=0 failed=0
options=$(mktemp)
trap 'rm -f "$options"' EXIT
echo --version >"$options"

check() { # check WHAT FILE WORD: the word stands alone in the file
    if tr -d '\\' <"$2" | grep -qE -- "(^|[^a-z-])$3([^a-z-]|$)"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $2 does not have $1 $3"
    fi
}

for command in run check show test bench compile cpu; do
    "$whet" $command --help | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' >"$options.$command"
    while read -r option; do
        echo "$option" >>"$options"
        check "whet $command's" docs/whet.1 "$option"
        check "whet $command's" tools/completions/whet.zsh "$option"
        check "whet $command's" tools/completions/whet.fish "-l ${option#--}"
    done <"$options.$command"
    rm -f "$options.$command"
    check "the command" docs/whet.1 "$command"
done
echo --help >>"$options"
for option in $(tr -d '\\' <docs/whet.1 | grep -oE -- '--[a-z][a-z-]*' | sort -u); do
    if grep -qx -- "$option" "$options"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: docs/whet.1 has $option, which no command takes"
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
