#!/bin/sh
# The command, as people use it: help, wrong usage, exit statuses, files in and out, every subcommand.
#   tests/cli_test.sh BUILD
set -u
whet=$1/whet
case $whet in /*) ;; *) whet=$PWD/$whet ;; esac
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
numbers='' swapped='' columns='' # data, set there
# shellcheck source=tests/cli/files.sh
. "$(dirname "$0")/cli/files.sh"
passed=0 failed=0

good() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ $# -lt 2 ] || sed 's/^/    /' "$2"
}

expect() { # expect STATUS PATTERN ARGUMENT...: whet's exit status, and an extended regular expression that its output has
    _status=$1 _pattern=$2
    shift 2
    "$whet" "$@" >"$root/log" 2>&1 </dev/null
    _got=$?
    if [ $_got != "$_status" ]; then
        bad "whet $*: status $_got, wanted $_status" "$root/log"
    elif ! grep -Eq -- "$_pattern" "$root/log"; then
        bad "whet $*: does not say '$_pattern'" "$root/log"
    else
        good
    fi
}

same() { # same WHAT FILE FILE
    if cmp -s "$2" "$3"; then good; else bad "$1: $2 and $3 differ"; fi
}

# ---- help and wrong usage
expect 0 '^usage: whet COMMAND' --help
expect 0 '^usage: whet COMMAND' help
expect 2 '^usage: whet COMMAND'
expect 0 '^whet [0-9]+\.[0-9]+\.[0-9]+$' --version
expect 2 "^whet: unknown command 'walk'" walk
for command in run check show test bench compile cpu; do
    expect 0 "^usage: whet $command" $command --help
    expect 0 '^examples:' $command -h
    expect 0 "^usage: whet $command" help $command
    expect 2 "^whet: unknown option '--wrong'" $command --wrong
done
for command in run check show test bench compile; do
    expect 2 '^whet: which ' $command
done
expect 2 "'b.onnx' is too much" run a.onnx b.onnx
expect 2 "needs a value" run a.onnx -o
expect 2 "takes no value" bench a.onnx --json=1
expect 2 "^whet: -t wants" run a.onnx -t none
expect 2 "^whet: -t wants" run a.onnx --threads=0
expect 2 "^whet: -d wants" run a.onnx -d batch
expect 2 "^whet: -d wants" run a.onnx -d batch=-1
expect 2 "^whet: --seed wants" run a.onnx --seed x
expect 2 "^whet: -i wants" run a.onnx -i x.npy
expect 2 "^whet: --memory-limit wants" run a.onnx --memory-limit 5X
expect 2 "^whet: --time-limit wants" run a.onnx --time-limit -1
expect 2 "^whet: --metric is" test --metric worst .
expect 2 "^whet: --rtol wants" test --rtol nan .
expect 2 "is too much" cpu now
expect 2 "no element type" show 'y[i] = x[i]' -a x=float

# ---- models and files
{
    node Relu y x | nested 1
    text 2 tiny
    value_info x 1 rows 3 | nested 11
    value_info y 1 rows 3 | nested 12
} | model >"$root/relu.onnx"
{
    node Identity 'y/0:a' x | nested 1
    text 2 tiny
    value_info x 1 rows 3 | nested 11
    value_info 'y/0:a' 1 rows 3 | nested 12
} | model >"$root/same.onnx"
{
    node Frobnicate y x | nested 1
    text 2 tiny
    value_info x 1 2 3 | nested 11
    value_info y 1 2 3 | nested 12
} | model >"$root/unknown.onnx"
npy '<f4' False '(2, 3)' "$numbers" >"$root/x.npy"
npy '>f4' False '(2, 3)' "$swapped" >"$root/swapped.npy"
npy '<f4' True '(2, 3)' "$columns" >"$root/columns.npy"
npy '<f8' False '(3, 1)' "$numbers" >"$root/double.npy"
npy '<f4' False '(2, 4)' "$numbers" >"$root/short.npy"
npy '<f4' False '(3, 2)' "$numbers" >"$root/tall.npy"
npz "$root/x.npy" 0 x.npy >"$root/x.npz"
npz "$root/x.npy" 8 x.npy >"$root/packed.npz"
tensor x "$numbers" 2 3 >"$root/x.pb"
head -c 60 "$root/relu.onnx" >"$root/cut.onnx"
: >"$root/empty.onnx"

# ---- run
cd "$root" || exit 1
expect 0 '^output +y +f32 +\[2, 3\] +min 0 +mean 2\.08333 +max 6$' run relu.onnx -i x=x.npy
expect 0 "^whet: note: dimension 'rows' is not given: taken as 1" run relu.onnx
expect 0 '^output +y +f32 +\[5, 3\]' run relu.onnx -d rows=5
expect 0 '^output +y +f32 +\[0, 3\] +empty$' run relu.onnx -d rows=0
expect 0 '^time ' run relu.onnx -d rows=1 -t 1 --target evaluator --time-limit 10 --memory-limit 10M
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=x.npy -o plain
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=swapped.npy -o deep/er
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=columns.npy -o columns
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=x.npz -o npz
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=x.pb -o pb
expect 0 'f32 +\[2, 3\] +min -4' run same.onnx -i x=plain/y_0_a.npy -o again
for folder in deep/er columns npz pb again; do
    same "the same array through $folder" plain/y_0_a.npy $folder/y_0_a.npy
done
tail -c 24 x.npy >data
tail -c 24 plain/y_0_a.npy >written
same "elements written as read" data written
expect 0 'seed 1$' run same.onnx -d rows=4 --seed 1 -o one
expect 0 'seed 1$' run same.onnx -d rows=4 --seed 1 -o two
expect 0 'seed 2$' run same.onnx -d rows=4 --seed 2 -o three
same "one seed, the same numbers" one/y_0_a.npy two/y_0_a.npy
if cmp -s one/y_0_a.npy three/y_0_a.npy; then bad "another seed gives the same numbers"; else good; fi
expect 0 'random, seed 0$' run relu.onnx -i x=x.npy -i x=random
expect 0 '^input +x +f32 +\[2, 3\]$' run relu.onnx -i x=random -i x=x.npy
expect 1 'bytes are more than this machine has, [0-9]+$|more elements than memory can hold' run relu.onnx -d rows=1000000000000
expect 0 '^output +y +f32 +\[5, 3\]' run relu.onnx -d rows=2 -d rows=5
expect 2 "no input 'z'; it has: x" run relu.onnx -i z=x.npy
expect 2 "is neither FILE.npy" run relu.onnx -i x=x.txt
expect 2 "no input has a dimension 'cols' to set; there are: rows" run relu.onnx -d cols=3
expect 2 "'rows' is 9, but dimension 0 of the given input 'x' is" run relu.onnx -i x=x.npy -d rows=9
expect 1 'no\.npy: No such file' run relu.onnx -i x=no.npy
expect 1 'packed\.npz.*compressed' run relu.onnx -i x=packed.npz
expect 1 'short\.npy: its shape needs 8 elements of 4 bytes; the file has 24 bytes of them' run relu.onnx -i x=short.npy
expect 1 'x.*f64.*f32|x.*f32.*f64' run relu.onnx -i x=double.npy
expect 1 "x.*3" run relu.onnx -i x=tall.npy
expect 1 '^whet: .*no\.onnx' run no.onnx
expect 1 '^whet: .*cut\.onnx' run cut.onnx
expect 1 '^whet: .*empty\.onnx' run empty.onnx
expect 1 '^whet: .*Frobnicate' run unknown.onnx
expect 1 '^whet: .*(folder|file)' run .
expect 1 'is a file, not a folder|cannot make this folder' run same.onnx -d rows=1 -o x.npy
if [ -c /dev/full ]; then
    "$whet" run same.onnx -d rows=1 >/dev/full 2>log
    if [ $? = 1 ] && grep -q '^whet: the output could not be written' log; then good; else bad "a full disk is not told" log; fi
fi
"$whet" run relu.onnx -i x=x.npy >log 2>&1
if grep -q "$(printf '\033')" log; then bad "colours where there is no terminal" log; else good; fi

# ---- what is no model
echo 'version https://git-lfs.github.com/spec/v1' >pointer.onnx
printf 'hello, this is text\n' >words.onnx
expect 1 "it is no ONNX model, or not a whole one" run words.onnx
expect 2 "a kernel is wanted, in Whet's notation: 'relu.onnx' is none" compile relu.onnx
expect 2 "the kernel names no 'z'" show 'y[i] = x[i]' -d i=3 -d z=4
expect 2 "precision is for models" bench 'y[i] = x[i]' -d i=3 --precision bf16
expect 2 "no-fuse is for models" bench 'y[i] = x[i]' -d i=3 --no-fuse
expect 2 "precision wants f32 or bf16, not 'f16'" run relu.onnx --precision f16
expect 1 "extents are given as -d AXIS=N" bench 'y[i] = x[i]'
expect 1 "types and shapes as -a TENSOR=" bench 'y[i] = x[i] + z[j]' -d i=3
expect 1 "nothing gives dimension 0 of 'z' \(give its shape\)" bench 'y[i] = x[i] + z[j]' -d i=3
expect 1 "no tensor 'z'; it has: x, y$" show 'y[i] = x[i]' -d i=3 -a z=s8
expect 1 "names are of ASCII letters" bench 'y[é] = x[é]'
expect 1 "^whet: pointer\.onnx: is no ONNX model, but a Git LFS pointer" run pointer.onnx
echo '<!DOCTYPE html>' >pointer.html
expect 1 'web page' check pointer.html
expect 1 'zip archive' show x.npz
expect 1 'NumPy array' bench x.npy

# ---- check and show
expect 0 'x' check relu.onnx
expect 1 'Frobnicate' check unknown.onnx
expect 1 '^whet: .*cut\.onnx' check cut.onnx
expect 0 'Relu' show relu.onnx
expect 0 '.' show relu.onnx --stage kernels -d rows=2
expect 0 "^whet: note: dimension 'rows' is not given: taken as 1" show relu.onnx --stage kernels
expect 2 "no input has a dimension 'cols'" show relu.onnx --stage kernels -d cols=2
expect 1 "nonsense" show relu.onnx --stage nonsense
expect 1 "there is no target 'pdp11'; wanted: evaluator, x86-avx2" run relu.onnx --target pdp11
expect 1 "there is no target 'pdp11'" show 'y[i] = x[i]' -d i=3 --target pdp11
gemm='c[m, n] = sum(k) a[m, k] * b[k, n]'
expect 0 '^function 0' show 'y[i] = x[i] + 1' -d i=3 --target x86-avx2 --stage asm
expect 0 '^mr=4 nv=2 kc=5 mc=[0-9]+ unroll=[0-9]+$' show "$gemm" -d m=9 -d n=40 -d k=5 --target x86-avx2 --stage schedule --schedule 'mr=4 nv=2'
expect 1 "schedule: 'mz=4' is no knob" show "$gemm" -d m=9 -d n=40 -d k=5 --schedule mz=4
expect 1 "schedule: 'mr=400'; wanted: a number from 1 to 32" show "$gemm" -d m=9 -d n=40 -d k=5 --schedule mr=400
expect 1 "^whet: schedule 'mr=30 nv=2': " show "$gemm" -d m=40 -d n=40 -d k=5 --target x86-avx2 --schedule 'mr=30 nv=2'
expect 2 "is for kernels" bench relu.onnx --schedule mr=4
expect 0 '^int gemm\(const float \*a, const float \*b, float \*c\) \{$' compile "$gemm" -d m=9 -d n=40 -d k=5 --name gemm
expect 0 '^int kernel\(' show "$gemm" -d m=9 -d n=40 -d k=5 --stage c
for name in 1x a-b while; do
    expect 1 "'$name' cannot be the name of a C function; wanted: letters, digits and _, no digit first, no keyword" compile "$gemm" -d m=9 -d n=40 -d k=5 --name $name
done
expect 2 "target wants c or c64, not 'x86-avx2'" compile "$gemm" -d m=9 -d n=40 -d k=5 --target x86-avx2
expect 1 '/none/gemm.c: No such file' compile "$gemm" -d m=9 -d n=40 -d k=5 -o /none/gemm.c
expect 0 '^function 0' show 'y[i] = x[i] + 1' -d i=3 --target x86-avx512 --stage asm
expect 1 'the evaluator runs this kernel' show 'y[i] = x[i] + 1' -d i=3 --target evaluator --stage asm
expect 0 'sum\(k:4\)' show 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=2 -d n=3 -d k=4
expect 0 'x\[i\]' show 'y[i] = x[i] + 1' -a 'x=s32[5]' -a y=s32 --stage kernel
expect 1 '^whet: ' show 'y[i] = ' -d i=3

# ---- test
make_case() { # make_case FOLDER MODEL OUTPUT: its input is x.pb
    mkdir -p "$1/test_data_set_0"
    cp "$2" "$1/model.onnx"
    cp x.pb "$1/test_data_set_0/input_0.pb"
    cp "$3" "$1/test_data_set_0/output_0.pb"
}
tensor '' "$numbers" 2 3 >right.pb
tensor '' "$columns" 2 3 >wrong.pb
tensor '' "$numbers" 3 2 >turned.pb
text 1 sequence >sequence.pb
number 2 1 >>sequence.pb
tensor '' "$numbers" 2 3 | nested 3 >>sequence.pb
make_case cases/right same.onnx right.pb
make_case cases/bernoulli_1 same.onnx wrong.pb
make_case skipped/unknown unknown.onnx right.pb
make_case skipped/sequence same.onnx sequence.pb
make_case wrong/value same.onnx wrong.pb
make_case wrong/shape same.onnx turned.pb
make_case wrong/cut cut.onnx right.pb
expect 0 '^2 passed, 0 failed, 0 skipped$' test cases
expect 0 '^2 passed, 0 failed, 2 skipped$' test cases skipped
expect 0 'SKIP unknown: .*Frobnicate' test skipped/unknown
expect 0 'SKIP sequence: .*sequence' test skipped
expect 0 '^pass right: ' test -v --in-process cases/right
expect 1 '^0 passed, 3 failed, 0 skipped$' test wrong
expect 1 'FAIL value: .*4 of 6 elements differ, most at \[0, 1\]: 2 instead of -4 \(by 6\)' test wrong/value
expect 1 'FAIL shape: .*f32 \[2, 3\] instead of f32 \[3, 2\]' test wrong/shape
expect 1 'FAIL cut: ' test wrong/cut
expect 0 '^1 passed' test --metric element --rtol 11 wrong/value
expect 0 '^1 passed' test --metric range --rtol 1.01 wrong/value
expect 1 '^0 passed' test --metric range --rtol 0.99 wrong/value
expect 0 '^1 passed' test --metric l2 --rtol 1.1 wrong/value
expect 1 'relative L2' test --metric l2 --rtol 0.9 wrong/value
expect 1 'no model.onnx in it' test plain
expect 1 'no such folder' test nowhere
expect 1 'is a file' test x.npy

# ---- bench and cpu
expect 0 '^minimum +[0-9.]+ (us|ms)$' bench relu.onnx -d rows=100 --seconds 0 -t 1
expect 0 '^speed ' bench 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=8 -d n=8 -d k=8 --seconds 0
for key in load_ms first_ms second_ms min_ms median_ms p99_ms gflops peak_percent peak_rss_bytes; do
    expect 0 "\"$key\": ([0-9]|null)" bench relu.onnx -d rows=100 --seconds 0 --json
done
expect 0 '^ +compile +[0-9.]+ ms +[0-9]+ kernels' bench relu.onnx -d rows=100 --seconds 0 --profile
expect 2 'is for models' bench 'c[m] = a[m] + 1' -d m=8 --profile
expect 2 'for a trace in JSON' bench relu.onnx --profile --json
expect 0 '1 x +Relu ' run relu.onnx -d rows=100 --profile -
expect 0 '^time ' run relu.onnx -d rows=100 --profile trace.json
grep -q '"traceEvents": \[{"name": "Relu .*"percent of limit": ' trace.json && good || bad "the trace" trace.json
expect 1 "cannot write 'none/trace.json'" run relu.onnx -d rows=1 --profile none/trace.json
expect 0 '^threads +[1-9]' cpu --no-measure
expect 0 '^\{"name": ".*\}$' cpu --json --no-measure

echo "$passed passed, $failed failed"
[ $failed = 0 ]
