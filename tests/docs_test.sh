#!/bin/sh
# The commands that the documents show do what the documents say.   tests/docs_test.sh BUILD
#
# An indented line `$ COMMAND`, or `whet ...` without the dollar, is run in a folder that looks like the root of this one; the lines
# behind it are what it says, `...` standing for any. Numbers in front of a unit of time, speed or memory differ between
# machines and are not compared; those with a point are compared to two digits; where schedules or the machine itself are shown, none
# are. Without lines it is asked that the command does not fail. What names a file that is not here, or a word in capitals as MODEL, is
# left out.
set -u
root=$PWD
bin=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$root/examples" "$work/examples"
cp examples/doodles/doodles.onnx "$work/model.onnx"
PATH=$bin:$PATH
export PATH
passed=0 failed=0 skipped=0

# $work/N.command, $work/N.says and $work/N.where, from N = $1
extract() { # FIRST FILE
    awk -v n="$1" -v work="$work" '
    function finish() {
        if (open)
            close(says)
        open = 0
        blank = ""
    }
    function unfinished(text) { sub(/ # [^\n]*$/, "", text); return gsub(/\047/, "", text) % 2 || text ~ /\\$/ }
    function begin(text) {
        finish()
        command = text
        if (unfinished(command))
            return
        says = work "/" n ".says"
        printf "%s\n", command > (work "/" n ".command")
        printf "%s:%d\n", FILENAME, FNR > (work "/" n ".where")
        printf "" > says
        close(work "/" n ".command")
        close(work "/" n ".where")
        n++
        open = 1
        command = ""
    }
    command != "" { begin(command "\n" substr($0, indent + 1)); next }
    match($0, /^    +\$ /) { indent = RLENGTH - 2; begin(substr($0, RLENGTH + 1)); next }
    /^    whet [a-z]/ { indent = 4; begin(substr($0, 5)); finish(); next }
    /^ *$/ { blank = blank "\n"; next }
    open && match($0, /^ +/) && RLENGTH >= indent { printf "%s%s\n", blank, substr($0, indent + 1) > says; blank = ""; next }
    { finish() }
    END { print n }' "$2"
}

normal() { # COMMAND: text without what differs from machine to machine
    case $1 in
    whet\ cpu* | whet\ bench*) awk '$1 != last { print last = $1 }' ;; # the first words
    *)
        case $1 in
        *"--stage schedule"* | *"--stage fused"* | *--profile*) sed -E 's/[0-9]+/N/g' ;;
        *) cat ;;
        esac | awk '{
            out = ""
            while (match($0, /[0-9]+\.[0-9]+(e[-+]?[0-9]+)?( (us|ms|s|GFLOP\/s|GB\/s)([^a-zA-Z]|$))?/)) {
                number = substr($0, RSTART, RLENGTH)
                rest = substr($0, RSTART + RLENGTH)
                out = out substr($0, 1, RSTART - 1) (number ~ / / ? "N" substr(number, index(number, " ")) : sprintf("%.2g", number))
                $0 = rest
            }
            $0 = out $0
            gsub(/  +/, " ")
            sub(/ +$/, "")
            print
        }' ;;
    esac
}

agrees() { # SAYS GOT: line by line; a line that ends in "..." goes on, and one of "..." alone is any number of lines
    awk '
    NR == FNR { want[++wants] = $0; next }
    { got[++gots] = $0 }
    function same(a, b) { return a == b || (a ~ /\.\.\.$/ && substr(b, 1, length(a) - 3) == substr(a, 1, length(a) - 3)) }
    END {
        for (w = 1; w <= wants; w++)
            if (want[w] == "...") {
                for (w++; w <= wants && g < gots && !same(want[w], got[g + 1]);)
                    g++
                if (w > wants) exit 0
                w--
            } else if (!same(want[w], got[++g]))
                exit 1
        exit g != gots
    }' "$1" "$2"
}

is_here() { # COMMAND: the files that it names are, and it names no MODEL
    case $1 in
    whet\ * | grep\ *) ;;
    *) return 1 ;;
    esac
    ! echo "$1" | grep -qE '(^|[ =])[A-Z][A-Z]+( |$)| \.\.\. ' || return 1
    for word in $(echo "$1" | grep -oE "[A-Za-z0-9_./*-]+\.(onnx|npy|npz|pb)|[a-z]+/\*"); do
        [ -e "$work/$word" ] || return 1
    done
}

check() { # N
    command=$(cat "$work/$1.command") where=$(cat "$work/$1.where")
    if ! is_here "$command"; then
        skipped=$((skipped + 1))
        return
    fi
    (cd "$work" && sh "$1.command" >got 2>&1 </dev/null)
    status=$?
    wanted=0
    ! grep '^whet: ' "$work/$1.says" | grep -qv '^whet: note: ' || wanted=1
    normal "$command" <"$work/got" >"$work/got.normal"
    normal "$command" <"$work/$1.says" >"$work/says.normal"
    if [ $status != $wanted ]; then
        why="its status is $status, wanted $wanted"
    elif [ -s "$work/$1.says" ] && ! agrees "$work/says.normal" "$work/got.normal"; then
        why="it says something else"
    else
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "FAILED: $where: $command: $why"
    sed 's/^/    says      /' "$work/$1.says"
    sed 's/^/    said now  /' "$work/got"
}

n=0
for file in README.md bench/README.md docs/*.md docs/internals/*.md; do
    first=$n
    n=$(extract "$first" "$file")
    while [ "$first" -lt "$n" ]; do
        check "$first"
        first=$((first + 1))
    done
done
if [ $passed = 0 ]; then
    echo "FAILED: no document shows a command"
    failed=1
fi
[ $skipped = 0 ] || echo "skipped: commands that name files that are not here"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
