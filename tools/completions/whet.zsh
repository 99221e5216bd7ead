#compdef whet
_whet() {
    local -a commands
    commands=(
        'run:run a model once'
        'check:say whether a model will run, and what is not supported'
        'show:print a stage between model and machine code'
        'test:run test cases laid out as those of ONNX'
        'bench:measure a model or a kernel'
        'cpu:print what this machine has and can do'
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local dimension='*-d[extent of a symbolic dimension]:DIM=N:'
    local threads='-t[number of threads]:threads:'
    case $words[2] in
    run) _arguments '*-i[an input]:NAME=FILE:_files' $dimension '-o[folder for outputs]:folder:_files -/' $threads \
        '--seed[seed of random inputs]:seed:' '--help[explain]' '2:model:_files -g "*.onnx"' ;;
    check) _arguments '--help[explain]' '2:model:_files -g "*.onnx"' ;;
    show) _arguments '--stage[what to print]:stage:(graph kernels vector asm)' $dimension '--help[explain]' '2:model or kernel:_files' ;;
    test) _arguments '--metric[how to compare]:metric:(element range l2)' '--rtol[relative tolerance]:R:' \
        '--atol[absolute tolerance]:A:' '--help[explain]' '*:case:_files -/' ;;
    bench) _arguments $dimension $threads '--json[print JSON]' '--help[explain]' '2:model or kernel:_files' ;;
    cpu) _arguments '--help[explain]' ;;
    esac
}
_whet "$@"
