#!/bin/sh
# The demo says what it said when its answers were compared with another engine's: tests/demo.txt, without the times.
#   tests/demo_test.sh BUILD
set -u
LC_ALL=C # sorts the pictures
export LC_ALL
said=$(mktemp)
trap 'rm -f "$said"' EXIT
"$1/examples/doodles" examples/doodles/doodles.onnx examples/doodles/pictures/*.pgm | sed 's/[0-9.]* ms/T ms/g' >"$said"
if diff tests/demo.txt "$said"; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
