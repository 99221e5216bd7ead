#!/usr/bin/env bash
# Builds for 64-bit Arm and runs the tests under qemu, once for each CPU below: tools/test-arm64.sh [--quick] [BUILD]
#
# Needs gcc-aarch64-linux-gnu and qemu-user, and a Debian whose archive has arm64 packages; the libraries are fetched from there into
# BUILD/sysroot and nowhere else. --quick: a subset that takes minutes. Last a line `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
quick=no
if [ "${1:-}" = --quick ]; then
    quick=yes
    shift
fi
build=${1:-build-arm64}
sysroot=$PWD/$build/sysroot
passed=0 failed=0

for tool in aarch64-linux-gnu-gcc qemu-aarch64 cmake; do
    command -v $tool >/dev/null || { echo "test-arm64: $tool is missing; on Debian: apt-get install gcc-aarch64-linux-gnu qemu-user cmake" >&2; exit 1; }
done

fetch_libraries() { # Debian's, unpacked: their development packages cannot be installed beside this machine's own
    local packages="libpthreadpool-dev libpthreadpool0 libcpuinfo-dev libcpuinfo0 libzydis-dev libzydis4.0 libzycore-dev libzycore1.4
                    libcmocka-dev libcmocka0" apt=$PWD/$build/apt options deb
    [ -e "$sysroot/usr/include/cmocka.h" ] && return
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$sysroot"
    options="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists=$apt/lists -o Dir::Cache=$apt/cache
             -o Dir::State::status=/dev/null -o APT::Sandbox::User=$(id -un)"
    # shellcheck disable=SC2086  # lists of words
    apt-get $options update >"$apt/log" 2>&1 && (cd "$apt/cache" && apt-get $options download $packages) >>"$apt/log" 2>&1 ||
        { tail -3 "$apt/log" >&2; exit 1; }
    for deb in "$apt"/cache/*.deb; do
        dpkg-deb -x "$deb" "$sysroot"
    done
}

# What each line emulates: name, qemu's CPU, the target that the tests are to use (-: the best one).
cpus() {
    cat <<'ROWS'
neon       cortex-a53                        -
dotprod    neoverse-n1                       -
i8mm+bf16  max,sve=off,sme=off               -
sve128     max,sve128=on,sve256=off,sve512=off,sme=off  arm64+sve2+sve128+i8mm+bf16
sve256     max,sve128=on,sve256=on,sve512=off,sme=off   -
sve512     max,sve128=on,sve256=on,sve512=on,sme=off    -
a64fx      a64fx                             -
ROWS
}

run() { # CPU TARGET SECONDS PROGRAM...
    local cpu=$1 target=$2 limit=$3
    shift 3
    [ "$target" = - ] && target=
    timeout "$limit" qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$sysroot/usr/lib/aarch64-linux-gnu" \
        -E WHET_TEST_HERE_ALONE=1 -E CC=aarch64-linux-gnu-gcc ${target:+-E WHET_TEST_TARGET="$target"} "$@" </dev/null
}

report() { # NAME CPU STATUS LOG
    if [ "$3" = 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %-10s %s\n' "$2" "$1"
    else
        failed=$((failed + 1))
        printf 'FAILED  %-10s %s (status %s)\n' "$2" "$1" "$3"
        tail -n 12 "$4" | sed 's/^/    /'
    fi
}

fetch_libraries
tools/build.sh "$build" all -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=cmake/arm64-linux.cmake -DWHET_SYSROOT="$sysroot" \
    -DWHET_EXAMPLES=OFF -DWHET_LOCALIZE=OFF >"$build/log" 2>&1 || { tail -n 20 "$build/log"; exit 1; }

# Real models, one process each, and the specification's cases, all in one; one thread, for emulated ones wait for each other too long.
models() { # NAME CPU TARGET LABEL METRIC RTOL ATOL CASE...
    local name=$1 cpu=$2 target=$3 label=$4 metric=$5 rtol=$6 atol=$7
    shift 7
    local option=()
    [ -d "$1" ] || return 0
    [ "$target" = - ] || option=(--target "$target")
    run "$cpu" "$target" 3600 "$build/whet" test --in-process -t 1 --metric "$metric" --rtol "$rtol" --atol "$atol" \
        "${option[@]}" "$@" >"$log" 2>&1
    report "$label" "$name" $? "$log"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
programs="arm64_encode_test vector_test math_test kernel_test schedule_test contract_test rows_test rows_types_test window_test
          window_types_test winograd_test attend_test"
shared=${WHET_SHARED:-../shared}
small="hand_lstm_pinto mnist_rten micro_kws_fp32 oww_hey_rhasspy ort_bert_toy_optimized traffic_sign"
[ "$quick" = yes ] && programs="vector_test math_test kernel_test"
while read -r name cpu target; do
    [ "$quick" = yes ] && case $name in neon | i8mm+bf16 | sve256) ;; *) continue ;; esac
    for program in $programs; do
        run "$cpu" "$target" 1800 "$build/$program" >"$log" 2>&1
        report "$program" "$name" $? "$log"
    done
    if [ "$quick" = yes ]; then
        for model in $small; do
            models "$name" "$cpu" "$target" "$model" range 1e-3 1e-5 "$shared/models/real/float/$model"
        done
        continue
    fi
    for model in "$shared"/models/real/float/*; do
        models "$name" "$cpu" "$target" "${model##*/}" range 1e-3 1e-5 "$model"
    done
    models "$name" "$cpu" "$target" half range 5e-3 1e-5 "$shared"/models/real/half/*
    models "$name" "$cpu" "$target" integer l2 0.02 0 "$shared"/models/real/integer/*
    models "$name" "$cpu" "$target" qdq l2 0.1 0 "$shared"/models/real/qdq/*
    models "$name" "$cpu" "$target" nodes element 1e-3 1e-7 "$shared"/onnx-node/*
done < <(cpus)
[ -d "$shared/models/real" ] || echo "skipped: real models and the specification's cases: there is no $shared"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
