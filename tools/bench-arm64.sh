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
            for (i = from[l]; i <= to[l]; i++) count += text[i] ~ /^(fmla|sdot|udot|usdot|smmla|usmmla|bfdot|bfmmla|[a-z]*mopa|amx_fma32)/
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

dims=(-d m=192 -d n=384 -d k=256)
gemm=('c[m, n] = sum(k) a[m, k] * b[k, n]' "${dims[@]}")
conv=('y[n, h, w, o] = max(sum(i, j, c) x[n, h + i - 1, w + j - 1, c]? * f[i, j, c, o], 0)' -a 'x=f32[1, 56, 56, 64]' -a 'f=f32[3, 3, 64, 64]' -d n=1 -d h=56 -d w=56)
half=('c[m, n] = sum(k) f32(a[m, k]) * f32(b[k, n])' -a a=bf16 -a b=bf16 "${dims[@]}")
bytes() { # TYPE TYPE: of A and B
    integer=('c[m, n] = f32(sum(k) (s32(a[m, k]) - s32(z[])) * s32(b[k, n])) * (s[] * t[n]) + bias[n]' -a "a=$1" -a "z=$1" -a "b=$2" "${dims[@]}")
}
cat <<HEAD
# Arm: inner loops by cycle models

Made by \`make bench-arm64\` with $("$mca" --version | grep -o 'LLVM version.*'). No Arm machine was measured: these are llvm-mca's models of each
core, with loads that hit the first cache. "peak" is what the same model says of independent multiply-adds of the same form. One
\`sdot\` or \`udot\` is 16 products of bytes, one \`smmla\` or \`usmmla\` 32; one \`fmla\` 4 products of f32, one \`bfmmla\` 16 of bf16, per 16
bytes of a register.

HEAD
echo "| kernel | target | core | tile | multiply-adds a round | instructions | cycles each | at peak | share |"
echo "|---|---|---|---|---|---|---|---|---|"
for cpu in neoverse-v1 neoverse-n1 apple-m1 cortex-a72 cortex-a55 cortex-a53; do
    row arm64 $cpu "f32 product" "${gemm[@]}"
done
for cpu in neoverse-v1 apple-m1; do
    row arm64 $cpu "f32 convolution, 3 x 3, 64 channels" "${conv[@]}"
done
row arm64+sve256 neoverse-v1 "f32 product" "${gemm[@]}"
row arm64+sve256 neoverse-v1 "f32 convolution, 3 x 3, 64 channels" "${conv[@]}"
row arm64+sve128 neoverse-v2 "f32 product" "${gemm[@]}"
row arm64+sve512 a64fx "f32 product" "${gemm[@]}"
for types in "u8 s8" "s8 s8"; do
    # shellcheck disable=SC2086  # two words
    bytes $types
    for cpu in neoverse-n1 apple-m1; do
        row arm64+dotprod $cpu "${types% *} x ${types#* } product" "${integer[@]}"
    done
    for cpu in neoverse-v1 neoverse-n2; do
        row arm64+i8mm $cpu "${types% *} x ${types#* } product" "${integer[@]}"
    done
    row arm64+sve256+i8mm neoverse-v1 "${types% *} x ${types#* } product" "${integer[@]}"
    row arm64+sve128+i8mm neoverse-v2 "${types% *} x ${types#* } product" "${integer[@]}"
done
row arm64+sve512 a64fx "u8 x s8 product" "${integer[@]}"
for cpu in neoverse-v1 neoverse-n2; do
    row arm64+bf16 $cpu "bf16 product" "${half[@]}"
done
row arm64+sve256+bf16 neoverse-v1 "bf16 product" "${half[@]}"
row arm64+sve128+bf16 neoverse-v2 "bf16 product" "${half[@]}"
cat <<'TAIL'

Of the cores that issue in order the models say little. What others measured on boards (ncnn, docs/developer-guide/arm-a53-a55-dual-issue.md):
a load of 128 bits holds up A53 and A55 for two cycles, one of 64 bits the A53 for one and the A55 not at all; what else there is in such a loop
goes beside a multiply-add. By that a round of the first product, 96 multiply-adds and 22 loads, takes 140 cycles, 69 % of the peak on both;
with the 14 loads between multiply-adds cut in two, each half behind a multiply-add of its own, 126 on the A53 and 112 on the A55. But in
llvm-mca's models that loop takes 307 cycles for 185 and 122 for 68, and 12 to 24 % more on the A72, N1 and M1; XNNPACK's kernel written
by hand for the A53 (`f32-gemm/6x8-aarch64-neonfma-cortex-a53.S`), which cuts its loads so, counts 5.1 cycles a multiply-add there. With
the loads of four steps before their multiply-adds, in a tile of 8 x 8, our loop counts 72 % at best for the A53. Where what was measured and the
model contradict each other, there is no order by core; that waits for a board.
TAIL

unit_row() { # TARGET LABEL KERNEL ARGUMENTS... : a line of the second table, by counting
    local target=$1 label=$2 loop products loads tile
    shift 2
    loop=$("$build/whet" show "$@" --target "$target" --stage asm | inner_loop)
    products=$(grep -cE '^([a-z]*mopa|amx_fma32)' <<<"$loop")
    [ "$products" -gt 0 ] || return
    loads=$(grep -cE '^(ldr z|amx_ld[xy])' <<<"$loop")
    tile=$("$build/whet" show "$@" --target "$target" --stage schedule | grep -oE 'tile [0-9]+ x [0-9]+' | head -1)
    echo "| $label | $target | $tile | $products | $loads | $(($(wc -l <<<"$loop") - products - loads)) |"
}

echo
echo "## Matrix units, by counting"
echo
echo "llvm-mca knows no rates of these. What is counted: instructions of the innermost loop."
echo
echo "| kernel | target | tile | products a round | loads of 64 bytes | of the core |"
echo "|---|---|---|---|---|---|"
unit_row arm64+sme512 "f32 product" "${gemm[@]}"
unit_row arm64+amx "f32 product" "${gemm[@]}"
bytes u8 s8
unit_row arm64+sme512+i8mm "u8 x s8 product" "${integer[@]}"
unit_row arm64+sme512+bf16 "bf16 product" "${half[@]}"
echo
cat <<'TEXT'
What is published of the rates, each measured by its source and by nobody here:

| unit | rate | source |
|---|---|---|
| M1's AMX, one thread | f32 products into one tile 368 GFLOPS, into four 1475: a product of 16 x 16 starts about every cycle, and takes four | github.com/corsix/amx, fma.md (M1 Max) |
| M1's AMX, bytes | products of s8 into 32 x 32 sums of s32 1477 GOPS on one thread, 2893 on six; on NEON `sdot`, four a cycle, 410 a core at 3.2 GHz, 2460 on six | github.com/corsix/amx, mac16.md (M1 Max); dougallj.github.io/applecpu |
| M4's SME | over 2.3 TFLOPS of f32 at most; generated products of 512 x 512 x 512 reach 1755 GFLOPS; its support is "FP32-centric" | arXiv 2409.18779; scalable.uni-jena.de/opt/sme |

So four products on four tiles are what hides the four cycles, and what every round above has. Each product wants one load of 64 bytes:
where the unit loads beside multiplying, the loop is bound by its products, at the unit's peak; where it did one after the other, it would be
at half. Which of the two, these sources do not say for rows in the core's first cache; the 1755 of 2300 GFLOPS that others reach on M4 with loops of
the same shape are the best guess.

Bytes and bf16 stay in NEON where the unit is Apple's AMX: with all cores at work `sdot` does what the unit they share does with bytes, `smmla`
(M2 and later) twice that, and of bf16, which M2 brought, no rate is published.
TEXT
