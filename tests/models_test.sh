#!/bin/sh
# Real models, other people's, against the outputs recorded with them: ../shared/models/real (or $WHET_SHARED/models/real), each
# class by its rule. Skipped, with a word, where that folder is missing. Usage: models_test.sh BUILD_DIR
build=$1
models=${WHET_SHARED:-../shared}/models/real
if [ ! -d "$models" ]; then
    echo "models_test: skipped: there is no $models"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# class CLASS METRIC RTOL ATOL: tests every model of the class on the machine's own target.
class() {
    [ -d "$models/$1" ] || return 0
    "$build/whet" test --metric "$2" --rtol "$3" --atol "$4" "$models/$1"/* >"$results.part" 2>&1
    grep -v '^PASS' "$results.part"
    tail -n 1 "$results.part" >>"$results"
    rm -f "$results.part"
}
class float range 1e-3 1e-5
class half range 5e-3 1e-5
class integer l2 0.02 0
class qdq l2 0.1 0

awk '{ passed += $1; failed += $3; skipped += $5 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed > 0 || passed == 0 }' "$results"
