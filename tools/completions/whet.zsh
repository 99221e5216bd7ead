#compdef whet
_whet() {
    local -a commands dimension argument threads limits target precision exact fuse schedule seed help
    commands=(
        'run:run a model once'
        'check:tell what a model is, and what in it is not supported'
        'show:print a stage of a model or kernel on its way to machine code'
        'test:run recorded cases and compare the outputs'
        'bench:measure how fast a model or kernel runs'
        'compile:write a kernel as a C file'
        'cpu:tell what this machine has and can do at most'
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    dimension=('*'{-d,--dim}'[the extent of a symbolic dimension]:DIM=N:')
    argument=('*'{-a,--arg}'[the type of a tensor]:NAME=TYPE:')
    threads=({-t,--threads}'[threads to use]:threads:')
    limits=('--time-limit[give up when a run takes longer]:seconds:' '--memory-limit[what tensors may take]:bytes:')
    precision=('--precision[what products of a model take]:type:(f32 bf16)')
    exact=('--exact[compute sums as they are written: no Winograd]')
    target=('--target[what runs kernels]:target:(evaluator x86-avx2 x86-avx512 c c64)')
    perf=('--perf[names of kernels for perf report]')
    fuse=('--no-fuse[run a model node by node]')
    schedule=('--schedule[knobs of a kernel]:knobs:')
    seed=('--seed[where random inputs start]:seed:')
    help=({-h,--help}'[explain]')
    (( CURRENT-- ))
    shift words
    case $words[1] in
    run) _arguments '*'{-i,--input}'[an input]:NAME=FILE:_files' {-o,--output}'[folder for outputs]:folder:_files -/' '--profile[trace of a run]:file:_files' \
        $dimension $threads $seed $limits $target $precision $exact $perf $fuse $help ':model:_files' ;;
    check) _arguments '--memory-limit[what tensors may take]:bytes:' $help ':model:_files' ;;
    show) _arguments {-s,--stage}'[what to print]:stage:(graph kernels fused kernel schedule vector asm c)' $dimension $argument $threads $target $precision $fuse $schedule $help \
        ':model or kernel:_files' ;;
    test) _arguments '--metric[how to compare]:metric:(element range l2)' '--rtol[relative tolerance]:R:' \
        '--atol[absolute tolerance]:A:' {-v,--verbose}'[print the cases that pass, too]' '--in-process[run all in one process]' \
        $threads $limits $target $precision $exact $fuse $help '*:case:_files -/' ;;
    bench) _arguments '--profile[where time goes]' '--seconds[how long to go on]:seconds:' '--json[print JSON]' $dimension $argument $threads $seed $limits \
        $target $precision $exact $perf $fuse $schedule $help ':model or kernel:_files' ;;
    compile) _arguments {-o,--output}'[the C file]:file:_files' '--name[name of the function]:name:' \
        '--target[length of vectors]:target:(c c64)' $dimension $argument $help ':kernel:' ;;
    cpu) _arguments '--json[print JSON]' '--no-measure[leave out what is measured]' $help ;;
    esac
}
_whet "$@"
