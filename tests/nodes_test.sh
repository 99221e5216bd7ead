#!/bin/sh
# The single-operator cases of the ONNX specification: ../shared/onnx-node (or $WHET_SHARED/onnx-node). What is not supported is
# refused by name and counts as skipped; nothing may fail, and at least 1,000 must pass: with fusion on all threads, and node by
# node on one (some operators are several kernels). Skipped, with a word, where that folder
# is missing. Usage: nodes_test.sh BUILD_DIR
build=$1
nodes=${WHET_SHARED:-../shared}/onnx-node
if [ ! -d "$nodes" ]; then
    echo "nodes_test: skipped: there is no $nodes"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
results="${TMPDIR:-/tmp}/whet_nodes.$$"
trap 'rm -f "$results"' EXIT
status=0

# nodes [OPTION]...: all cases; status 1: something failed, or too few passed.
nodes() {
    "$build/whet" test "$@" "$nodes"/* 2>&1 | grep -v '^PASS' >"$results"
    grep -v '^SKIP' "$results"
    tail -n 1 "$results" | awk '{ exit !($1 >= 1000 && $3 == 0) }' || status=1
}
nodes
nodes --no-fuse -t 1
exit $status
