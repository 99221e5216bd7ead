#!/bin/sh
# Real models, other people's, against the outputs recorded with them: ../shared/models/real (or $WHET_SHARED/models/real), each
# class by its rule: with fusion on all threads, and node by node on one. Skipped, with a word, where that folder is missing. Usage: models_test.sh BUILD_DIR
build=$1
models=${WHET_SHARED:-../shared}/models/real
if [ ! -d "$models" ]; then
    echo "models_test: skipped: there is no $models"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# class CLASS METRIC RTOL ATOL [OPTION]...: tests every model of the class, by default fused, on the machine's own target and all
# threads.
class() {
    name=$1 metric=$2 rtol=$3 atol=$4
    shift 4
    [ -d "$models/$name" ] || return 0
    "$build/whet" test --metric "$metric" --rtol "$rtol" --atol "$atol" "$@" "$models/$name"/* >"$results.part" 2>&1
    grep -v '^PASS' "$results.part"
    tail -n 1 "$results.part" >>"$results"
    rm -f "$results.part"
}
class float range 1e-3 1e-5
if "$build/whet" run --target x86-avx2 examples/doodles/doodles.onnx >/dev/null 2>&1; then
    class float range 1e-3 1e-5 --target x86-avx2 -t 1
else
    echo "models_test: the float models are not tested on x86-avx2, which does not run here"
fi
class half range 5e-3 1e-5
class integer l2 0.02 0
class qdq l2 0.1 0
class float range 1e-3 1e-5 --no-fuse -t 1
class half range 5e-3 1e-5 --no-fuse -t 1
class integer l2 0.02 0 --no-fuse -t 1
class qdq l2 0.1 0 --no-fuse -t 1

awk '{ passed += $1; failed += $3; skipped += $5 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed > 0 || passed == 0 }' "$results"
