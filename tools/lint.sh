#!/usr/bin/env bash
# The rules of the house that a program can check. Each check is one function that prints what is wrong and fails; last a line
# `N passed, N failed`. Run one alone: tools/lint.sh NAME...
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-2}

c_files() { git ls-files --cached --others --exclude-standard -- '*.c' '*.h' | while read -r f; do [ -e "$f" ] && echo "$f"; done; }

check_format() { # .clang-format; `make format` mends it
    ! for f in $(c_files); do
        clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || echo "$f: not as clang-format has it; make format mends it"
    done | grep .
}

check_gcc() { # no warnings from gcc
    CC=gcc tools/build.sh build-gcc all -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release -DWHET_WERROR=ON
}

check_clang() { # no warnings from clang
    CC=clang tools/build.sh build-clang all -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DWHET_WERROR=ON
}

check_tidy() { # .clang-tidy; files that have not changed since they were last found clean are not looked at again
    mkdir -p build-clang/tidy
    c_files | grep '\.c$' | grep -v '^fuzz/' | while read -r file; do
        grep -q "\"file\": \"$PWD/$file\"" build-clang/compile_commands.json || continue
        stamp=build-clang/tidy/$(echo "$file" | tr / _)
        key=$({ cat .clang-tidy; clang -E -Iinclude -Isrc -Itests "$file" 2>/dev/null; } | cksum)
        [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] || printf '%s\0%s\0%s\0' "$file" "$stamp" "$key"
    done | xargs -0 -r -n 3 -P "$jobs" sh -c 'clang-tidy --quiet -p build-clang "$0" 2>/dev/null && echo "$2" >"$1"'
}

check_cli_header() { # the command uses whet.h and its own headers alone
    local own
    own=$(cd src/cli 2>/dev/null && ls -- *.h 2>/dev/null | sed 's/^/|/' | tr -d '\n')
    ! grep -nE '^#include "' src/cli/*.c src/cli/*.h 2>/dev/null | grep -vE "\"(cli/)?(whet\.h$own)\""
}

check_forbidden() { # the library never prints, exits or aborts, and keeps no random state; __assert_fail is for our own bugs
    ! nm -u build-gcc/libwhet.a | grep -wE 'exit|_exit|abort|quick_exit|printf|puts|putchar|fprintf|vprintf|vfprintf|fputs|fputc|fwrite|perror|stdout|stderr|__printf_chk|__fprintf_chk|setenv|putenv|setlocale|srand|rand|srandom|random|strtok|system|popen'
}

check_globals() { # no writable data in the library. .data.rel.ro is constant: tables of pointers
    ! objdump -t build-gcc/libwhet.a | awk '$NF !~ /^\./ && / (\.data|\.bss|\.tbss|\.tdata|\*COM\*)(\.[^r][^\t ]*)?\t/ { print "writable: " $NF }' | grep .
}

check_leaks() { # libwhet.a and libwhet.so define public names alone
    ! { nm -g --defined-only build-gcc/libwhet.a; nm -D --defined-only build-gcc/libwhet.so; } |
        awk 'NF == 3 && $3 !~ /^whet_/ { print "not public: " $3 }' | grep .
}

check_public() { # every function of whet.h is there
    local name missing=0
    for name in $(grep -oE '^WHET_API [^;(]*\b(whet_[a-z0-9_]+)\(' include/whet.h | grep -oE 'whet_[a-z0-9_]+\($' | tr -d '('); do
        nm -D --defined-only build-gcc/libwhet.so | grep -qw "$name" || { echo "declared, not defined: $name"; missing=1; }
    done
    return $missing
}

check_length() { # one concern a file
    ! c_files | xargs -r wc -l | awk '$2 != "total" && $1 > 1000 { print $2 ": " $1 " lines, at most 1000" }' | grep .
}

check_named() { # every source file is named in the map or in a folder's document
    local file name missing=0
    for file in $(c_files | grep '^src/.*\.c$'); do
        name=${file##*/}
        grep -qF "$name\`" src/README.md docs/internals/*.md || { echo "$file: in no document"; missing=1; }
    done
    return $missing
}

check_isa() { # no condition on the instruction set outside src/target
    ! git grep -nE '__(x86_64|i386|aarch64|AVX|SSE|ARM_)' -- src ':!src/target' | grep .
}

check_later() { # nothing is promised in comments
    ! git grep -nEi '\b(todo|fixme|xxx)\b' -- '*.c' '*.h' '*.py' '*.sh' ':!tools/lint.sh' | grep .
}

check_shell() { # every script, by shellcheck
    shellcheck --severity=warning tools/*.sh tests/*.sh .ci/run tools/completions/whet.bash
}

checks=${*:-format gcc clang tidy cli_header forbidden globals leaks public length named isa later shell}
passed=0 failed=0
for check in $checks; do
    if output=$("check_$check" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $check"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n%s\n' "$check" "$output"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
