#!/usr/bin/env bash
# Cycle models of arm64's inner loops: tools/bench-arm64.sh [BUILD] prints bench/arm64.md. There is no Arm machine to measure on, so
# llvm-mca counts: the innermost loop of a kernel with the most multiply-adds, as `whet show --stage asm` prints it, against a
# block of independent ones on the same model, which is that core's peak. Loads are taken to hit the first cache.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
mca=
for name in llvm-mca-21 llvm-mca-20 llvm-mca-19 llvm-mca-18 llvm-mca; do
    command -v $name >/dev/null && { mca=$name; break; }
done
[ -n "$mca" ] || { echo "bench-arm64: llvm-mca is missing; on Debian: apt-get install llvm-19" >&2; exit 1; }

cycles() { # CPU: cycles of one round of the instructions on standard input
    "$mca" -mtriple=aarch64 -mcpu="$1" -mattr=+sve2,+i8mm,+bf16,+dotprod,+fullfp16 -iterations=200 2>/dev/null | awk '/^Total Cycles:/ { print $3 / 200 }'
}

inner_loop() { # from the listing on standard input: the loop without a loop in it that has the most multiply-adds
    awk '
    /^ *[0-9a-f]+ / {
        address = $1; sub(/^ *[0-9a-f]+ +/, ""); sub(/ *;.*/, ""); target = ""
        if (match($0, /<[0-9a-f]+>/)) { target = substr($0, RSTART + 1, RLENGTH - 2); sub(/ *<.*/, "") }
        text[n] = $0; where[address] = n
        if ($0 ~ /^b\.lt/ && target in where) { from[++loops] = where[target]; to[loops] = n }
        n++
    }
    /^function/ { delete where }
    END {
        for (l = 1; l <= loops; l++) {
            inside = 0; count = 0
            for (m = 1; m <= loops; m++) inside += m != l && from[m] >= from[l] && to[m] <= to[l]
            for (i = from[l]; i <= to[l]; i++) count += text[i] ~ /^(fmla|sdot|udot|usdot|smmla|usmmla|bfdot|bfmmla|fmopa)/
            if (!inside && count > most) { most = count; best = l }
        }
        for (i = from[best]; best && i <= to[best]; i++) print text[i]
    }'
}

peak() { # INSTRUCTION with %: the destination: 24 independent ones
    for r in $(seq 8 31); do echo "${1//%/$r}"; done
}

row() { # TARGET CPU KERNEL ARGUMENTS... : a line of the table
    local target=$1 cpu=$2 label=$3 loop example count all best rounds
    shift 3
    loop=$("$build/whet" show "$@" --target "$target" --stage asm | inner_loop)
    count=$(grep -cE '^(fmla|sdot|udot|usdot|smmla|usmmla|bfdot|bfmmla)' <<<"$loop")
    [ "$count" -gt 0 ] || return
    example=$(grep -m1 -E '^(fmla|sdot|udot|usdot|smmla|usmmla|bfdot|bfmmla)' <<<"$loop")
    example=$(sed -E 's/^([a-z]+) ([vz])[0-9]+/\1 \2%/; s/, ([vz])[0-9]+/, \10/g' <<<"$example")
    all=$(wc -l <<<"$loop")
    rounds=$(cycles "$cpu" <<<"$loop")
    best=$(peak "$example" | cycles "$cpu")
    tile=$("$build/whet" show "$@" --target "$target" --stage schedule | grep -oE 'tile [0-9]+ x [0-9]+' | head -1)
    awk -v r="$rounds" -v b="$best" -v c="$count" -v a="$all" -v t="$target" -v p="$cpu" -v l="$label" -v tile="$tile" 'BEGIN {
        printf "| %s | %s | %s | %s | %d | %d | %.3f | %.3f | %.0f %% |\n", l, t, p, tile, c, a, r / c, b / 24, 100 * (b / 24) / (r / c) }'
}

gemm=('c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=192 -d n=384 -d k=256)
conv=('y[n, h, w, o] = max(sum(i, j, c) x[n, h + i - 1, w + j - 1, c]? * f[i, j, c, o], 0)' -a 'x=f32[1, 56, 56, 64]' -a 'f=f32[3, 3, 64, 64]' -d n=1 -d h=56 -d w=56)
echo "# Arm: inner loops by cycle models"
echo
echo "Made by \`make bench-arm64\` with $("$mca" --version | grep -o 'LLVM version.*'). No Arm machine was measured: these are llvm-mca's models of each"
echo "core, with loads that hit the first cache. \"peak\" is what the same model says of independent multiply-adds of the same form."
echo
echo "| kernel | target | core | tile | multiply-adds a round | instructions | cycles each | at peak | share |"
echo "|---|---|---|---|---|---|---|---|---|"
for cpu in neoverse-v1 neoverse-n1 apple-m1 cortex-a72 cortex-a53; do
    row arm64 $cpu "f32 product" "${gemm[@]}"
done
for cpu in neoverse-v1 apple-m1; do
    row arm64 $cpu "f32 convolution, 3 x 3, 64 channels" "${conv[@]}"
done
row arm64+sve256 neoverse-v1 "f32 product" "${gemm[@]}"
row arm64+sve256 neoverse-v1 "f32 convolution, 3 x 3, 64 channels" "${conv[@]}"
row arm64+sve128 neoverse-v2 "f32 product" "${gemm[@]}"
row arm64+sve512 a64fx "f32 product" "${gemm[@]}"
