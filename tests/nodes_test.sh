#!/bin/sh
# The single-operator cases of the ONNX specification: ../shared/onnx-node (or $WHET_SHARED/onnx-node). What is not supported is
# refused by name and counts as skipped; nothing may fail, and at least 1,000 must pass. Skipped, with a word, where that folder
# is missing. Usage: nodes_test.sh BUILD_DIR
build=$1
nodes=${WHET_SHARED:-../shared}/onnx-node
if [ ! -d "$nodes" ]; then
    echo "nodes_test: skipped: there is no $nodes"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
"$build/whet" test "$nodes"/* 2>&1 | grep -v '^PASS' | tee "${TMPDIR:-/tmp}/whet_nodes.$$" | grep -v '^SKIP'
last=$(tail -n 1 "${TMPDIR:-/tmp}/whet_nodes.$$")
rm -f "${TMPDIR:-/tmp}/whet_nodes.$$"
echo "$last" | awk '{ exit !($1 >= 1000 && $3 == 0) }'
