#!/bin/sh
# Makes tests/arm64_encodings.txt: a few instructions of every row of arm64's table, with the words that LLVM's assembler makes of
# their text: tools/arm64-encodings.sh BUILD [LLVM-MC]
set -eu
build=$1
mc=${2:-llvm-mc-19}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
"$build/arm64_encode_test" --print 1 3 >"$work/text"
"$mc" -triple=aarch64 -mattr=+all -show-encoding "$work/text" |
    sed -n 's/.*encoding: \[0x\(..\),0x\(..\),0x\(..\),0x\(..\)\].*/\4\3\2\1/p' >"$work/words"
{
    echo "# Words and text of arm64 instructions, by $("$mc" --version | grep -o 'LLVM version.*'); made by tools/arm64-encodings.sh"
    paste -d ' ' "$work/words" "$work/text"
} >tests/arm64_encodings.txt
