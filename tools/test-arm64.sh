#!/usr/bin/env bash
# Builds for 64-bit Arm and runs the tests under qemu, once for each CPU below:
#
#     tools/test-arm64.sh [--quick] [--tier NAME]... [--part programs|models|nodes]... [BUILD]
#
# --quick: a subset that takes minutes. --tier: of the CPUs named alone; --part: the test programs, the real models, the
# specification's cases. Nothing is asked for: everything. Needs gcc-aarch64-linux-gnu and qemu-user, and a Debian whose archive has
# arm64 packages; the libraries are fetched from there into BUILD/sysroot and nowhere else. As many tests run at once as there are
# CPUs, or JOBS=N. A line for each test when it ends, with the seconds of CPU it took, a line for each CPU, last
# `N passed, N failed`.
#
# Every tier runs everything but what cannot differ between them: the table of instructions, and the C target's text, which the
# cross compiler compiles, are tested on the first tier that is asked for.
#
# Before version 9, qemu multiplies bytes of SME's tiles wrongly. Where the machine's is older (Debian 12 has 7.2), that of Debian's
# backports is unpacked into BUILD/qemu (it stands alone); where that cannot be had, byte tiles are left out, with a word.
# WHET_QEMU=PROGRAM: that one, and no other.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
quick=no tiers='' parts=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --tier) tiers="$tiers ${2:?--tier wants a name}" && shift ;;
    --part) parts="$parts ${2:?--part wants a name}" && shift ;;
    -*) echo "test-arm64: unknown option $1" >&2 && exit 2 ;;
    *) break ;;
    esac
    shift
done
build=${1:-build-arm64}
sysroot=$PWD/$build/sysroot
libc=/usr/aarch64-linux-gnu # the cross compiler's: its loader must not meet another libc that the machine has for arm64
qemu=${WHET_QEMU:-qemu-aarch64}
most=${JOBS:-$(nproc)}

wanted() { # NAME LIST: an empty list wants all
    [ -z "$2" ] || [[ " $2 " == *" $1 "* ]]
}

version_of() { # QEMU: its main version
    "$1" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p'
}

for tool in aarch64-linux-gnu-gcc "$qemu" cmake; do
    command -v "$tool" >/dev/null || { echo "test-arm64: $tool is missing; on Debian: apt-get install gcc-aarch64-linux-gnu qemu-user cmake" >&2; exit 1; }
done

fetch_libraries() { # Debian's, unpacked: their development packages cannot be installed beside this machine's own
    local packages="libcpuinfo-dev libcpuinfo0 libzydis-dev libzydis4.0 libzycore-dev libzycore1.4
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

fetch_qemu() { # a newer one than the machine's: Debian 12 has it in its backports
    local apt=$PWD/$build/apt-qemu options
    [ -z "${WHET_QEMU:-}" ] && [ "$(version_of "$qemu")" -lt 9 ] || return 0
    if [ ! -x "$build/qemu/usr/bin/qemu-aarch64" ]; then
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$build/qemu"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main" >"$apt/list"
        options="-o Dir::Etc::SourceList=$apt/list -o Dir::Etc::SourceParts=- -o Dir::State::lists=$apt/lists -o Dir::Cache=$apt/cache
                 -o Acquire::Languages=none -o APT::Sandbox::User=$(id -un)"
        # shellcheck disable=SC2086  # lists of words
        (apt-get $options update && cd "$apt/cache" && apt-get $options download qemu-user/bookworm-backports &&
            dpkg-deb -x qemu-user_*.deb "$OLDPWD/$build/qemu") >"$apt/log" 2>&1
        rm -f "$apt"/cache/*.deb
    fi
    [ ! -x "$build/qemu/usr/bin/qemu-aarch64" ] || qemu=$PWD/$build/qemu/usr/bin/qemu-aarch64
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
sme128     max,sve128=on,sve256=off,sve512=off,sme-default-vector-length=16  arm64+sme128+i8mm+bf16
sme256     max,sve128=on,sve256=off,sve512=off,sme-default-vector-length=32  arm64+sme256+dotprod
sme512     max,sve128=on,sve256=on,sve512=off,sme-default-vector-length=64   arm64+sve256+sme512+i8mm+bf16
amx        max,sve=off,sme=off               arm64+fp16+dotprod+amx
ROWS
}

run() { # CPU TARGET SECONDS PROGRAM...
    local cpu=$1 target=$2 limit=$3
    shift 3
    [ "$target" = - ] && target=
    timeout "$limit" nice "$qemu" -cpu "$cpu" -L "$libc" -E LD_LIBRARY_PATH="$libc/lib:$sysroot/usr/lib/aarch64-linux-gnu" \
        -E WHET_TEST_HERE_ALONE=1 -E CC="$cc" ${target:+-E WHET_TEST_TARGET="$target"} "${environment[@]}" "$@" </dev/null
}

report() { # TIER NAME STATUS LOG SECONDS: one write, as several tests end at a time
    local word=ok text=
    [ "$3" = 0 ] || word=FAILED text=" (status $3)"$(echo && tail -n 12 "$4" | sed 's/^/    /')
    echo "$word $1" >>"$work/results"
    printf '%-7s %-10s %s, %s s%s\n' "$word" "$1" "$2" "$5" "$text"
}

test_one() { # TIER NAME CPU TARGET SECONDS PROGRAM...: in the background
    local log status seconds TIMEFORMAT=%U
    while [ "$(jobs -rp | wc -l)" -ge "$most" ]; do
        wait -n
    done
    {
        log=$(mktemp -p "$work")
        seconds=$({ time run "${@:3}" >"$log" 2>&1; } 2>&1)
        status=$?
        report "$1" "$2" $status "$log" "$seconds"
        rm -f "$log"
    } &
}

fetch_libraries
fetch_qemu
byte_tiles=yes cc=aarch64-linux-gnu-gcc environment=()
[ "$(version_of "$qemu")" -ge 9 ] || byte_tiles=no
[ $byte_tiles = yes ] || environment+=(-E WHET_TEST_NO_BYTE_TILES=1)
# Models and cases, on two threads. Apple's AMX is in a command of its own, which catches its instructions.
models() { # TIER CPU TARGET LABEL METRIC RTOL ATOL CASE...
    local name=$1 cpu=$2 target=$3 label=$4 metric=$5 rtol=$6 atol=$7 whet=whet
    shift 7
    local option=()
    [ -d "$1" ] || return 0
    [ "$name" != amx ] || whet=amx_whet
    [ "$target" = - ] || option=(--target "$target")
    test_one "$name" "$label" "$cpu" "$target" 3600 "$build/$whet" test --in-process -t 2 --metric "$metric" --rtol "$rtol" \
        --atol "$atol" "${option[@]}" "$@"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shared=${WHET_SHARED:-../shared}
all_programs="arm64_encode_test vector_test tiles_test math_test kernel_test kernel_random_test schedule_test contract_test
              rows_test rows_types_test window_test window_types_test winograd_test relayout_test attend_test"
# These take the best target there is, whichever a tier is about.
best_programs="kernel_api_test codes_test perf_map_test failure_test session_test scale_test whole_test precision_test ops_test
               fuse_test fuse_random_test"
small=(float/hand_lstm_pinto float/mnist_rten float/micro_kws_fp32 float/oww_hey_rhasspy float/ort_bert_toy_optimized
       float/traffic_sign float/stories260k integer/ort_matmulnbits_tract qdq/micro_kws_qdq)
if [ "$quick" = yes ]; then
    tiers=${tiers:-neon i8mm+bf16 sve256 sme512 amx}
    parts=${parts:-programs models}
    cc=false # the C target's text is the same on every machine
    environment+=(-E WHET_SIGNIFICANDS=150)
fi

build() { # WHAT: words
    tools/build.sh "$build" "$1" -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=cmake/arm64-linux.cmake -DWHET_SYSROOT="$sysroot" \
        -DWHET_EXAMPLES=OFF -DWHET_LOCALIZE=OFF >"$build/log" 2>&1 || { tail -n 20 "$build/log"; exit 1; }
}
build "whet amx_whet $all_programs $best_programs"

# --quick: a program where there is code of the tier's own that it would run. On sve128 and amx the best target is another tier's.
programs_of() { # TIER CPU TARGET
    local program own=$all_programs
    case $1 in
    sve128 | amx) ;;
    *) own="$own $best_programs" ;;
    esac
    [ "$quick" = no ] || case $1 in
        sme* | amx) own="tiles_test contract_test" ;;
        i8mm*) own="contract_test" ;;
        *) own="vector_test math_test contract_test kernel_test" ;;
    esac
    for program in $own; do
        [ "$program $first" = "arm64_encode_test no" ] || test_one "$1" "$program" "$2" "$3" 3600 "$build/$program"
    done
}

can() { # NAME CLASS: this qemu does what such models ask of the CPU
    [ $byte_tiles = yes ] || [[ $1 != sme* ]] || [[ $2 == float || $2 == half ]]
}

class_of() { # NAME CPU TARGET LABEL CLASS CASE...: by the rule of its class
    local rule
    can "$1" "$5" || return 0
    case $5 in
    float) rule="range 1e-3 1e-5" ;;
    half) rule="range 5e-3 1e-5" ;;
    integer) rule="l2 0.02 0" ;;
    qdq) rule="l2 0.1 0" ;;
    esac
    # shellcheck disable=SC2086  # three words
    models "$1" "$2" "$3" "$4" $rule "${@:6}"
}

models_of() { # NAME CPU TARGET
    local model class
    if [ "$quick" = yes ]; then
        for model in "${small[@]}"; do
            class_of "$1" "$2" "$3" "${model##*/}" "${model%%/*}" "$shared/models/real/$model"
        done
        return
    fi
    for model in $(du -s "$shared"/models/real/*/* 2>/dev/null | sort -n | cut -f2); do # the small ones fail first
        class=$(basename "$(dirname "$model")")
        class_of "$1" "$2" "$3" "$class/$(basename "$model")" "$class" "$model"
    done
}

first=yes
while read -r name cpu target; do
    wanted "$name" "$tiers" || continue
    wanted programs "$parts" && programs_of "$name" "$cpu" "$target"
    wanted nodes "$parts" && can "$name" nodes && models "$name" "$cpu" "$target" nodes element 1e-3 1e-7 "$shared"/onnx-node/*
    wanted models "$parts" && models_of "$name" "$cpu" "$target"
    first=no cc=false
done < <(cpus)
wait
touch "$work/results"
while read -r name _; do
    awk -v tier="$name" '$2 == tier { count[$1]++ } END {
        if (NR && count["ok"] + count["FAILED"]) printf "tier    %-10s %d passed, %d failed\n", tier, count["ok"], count["FAILED"] }' "$work/results"
done < <(cpus)
[ -d "$shared/models/real" ] || echo "skipped: real models and the specification's cases: there is no $shared"
[ $byte_tiles = yes ] || echo "skipped: bytes on SME's tiles: qemu before 9 computes them wrongly, and no newer one could be fetched"
passed=$(grep -c '^ok' "$work/results") failed=$(grep -c '^FAILED' "$work/results")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
