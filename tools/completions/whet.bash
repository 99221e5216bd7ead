# bash completion for whet; the options are those that `whet COMMAND --help` lists.
_whet() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=""
    COMPREPLY=()
    [ "$prev" != = ] || prev=${COMP_WORDS[COMP_CWORD - 3]} # bash splits words at '='
    if [ "$COMP_CWORD" = 1 ]; then
        words="run check show test bench compile cpu --help --version"
    else
        case $prev in
        -s | --stage) words="graph kernels fused kernel schedule vector asm c" ;;
        --target) words="evaluator x86-avx2 x86-avx512 c c64" ;;
        --precision) words="f32 bf16" ;;
        --metric) words="element range l2" ;;
        --name | --schedule | -t | --threads | -d | --dim | -a | --arg | --seed | --seconds | --rtol | --atol | --time-limit | --memory-limit) return ;;
        *) [[ $cur != -* ]] || words="$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z-]+' | tr -d ',') --help" ;;
        esac
    fi
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [ "$command" = test ] || [ "$prev" = -o ] || [ "$prev" = --output ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${cur#=}")
    fi
}
complete -o filenames -F _whet whet
