# bash completion for whet
_whet() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=""
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "run check show test bench cpu --help --version" -- "$cur")
        return
    fi
    case $prev in
    --stage) words="graph kernels vector asm" ;;
    --metric) words="element range l2" ;;
    -t | --seed | -d | --rtol | --atol) return ;;
    esac
    if [ -z "$words" ] && [[ $cur == -* ]]; then
        case $command in
        run) words="-i -d -o -t --seed --help" ;;
        show) words="--stage -d --help" ;;
        test) words="--metric --rtol --atol --help" ;;
        bench) words="-d -t --json --help" ;;
        *) words="--help" ;;
        esac
    fi
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [ "$command" = test ] || [ "$prev" = -o ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${cur#*=}")
    fi
}
complete -o filenames -F _whet whet
