#!/bin/sh
# Installs the packages that a goal of the Makefile needs and that this machine lacks. Asks nothing.
#
#   tools/setup.sh [--print] GOAL...     goals: build test lint sanitize fuzz
#
# --print only prints the command. Where nothing may be installed (neither root nor sudo without a password, or
# WHET_NO_INSTALL=1), it prints the one command that will and fails. What is there is found by asking the compiler and the
# shell, not the package manager: that takes milliseconds, and finds what was installed by other means as well.
set -eu

# One row a need: goals, how to see it (a header, a command, or a function below), and its package for apt, dnf, pacman, brew.
# "-": comes with another row. brew installs no compiler: Xcode's command line tools bring it.
needs() {
    cat <<'ROWS'
build            command:cc           gcc                gcc             gcc            -
build            libc                 libc6-dev          glibc-devel     glibc          -
build            command:cmake        cmake              cmake           cmake          cmake
build            header:Zydis/Zydis.h libzydis-dev       zydis-devel     zydis          zydis
build            header:cpuinfo.h     libcpuinfo-dev     cpuinfo-devel   cpuinfo        cpuinfo
test,sanitize    header:cmocka.h      libcmocka-dev      libcmocka-devel cmocka         cmocka
test,lint        command:pkg-config   pkgconf            pkgconf         pkgconf        pkgconf
sanitize         gcc_sanitizers       -                  libasan,libubsan,libtsan -     -
lint,fuzz        command:clang        clang              clang           clang          llvm
lint             command:clang-format clang-format       clang-tools-extra clang        clang-format
lint             command:clang-tidy   clang-tidy         clang-tools-extra clang        llvm
lint             command:git          git                git             git            git
lint             command:shellcheck   shellcheck         ShellCheck      shellcheck     shellcheck
fuzz             clang_runtime        libclang-rt-dev    compiler-rt     compiler-rt    llvm
ROWS
}

print_only=no
if [ "${1:-}" = --print ]; then
    print_only=yes
    shift
fi
goals=${*:-build}

for tool in apt-get:apt dnf:dnf pacman:pacman brew:brew none:none; do
    manager=${tool#*:}
    command -v "${tool%:*}" >/dev/null 2>&1 && break
done

wanted_by_goals() { # $1: comma-separated goals of a row
    for goal in $goals; do
        case ",$1," in *",$goal,"*) return 0 ;; esac
    done
    return 1
}

# All headers are looked for in one run of the preprocessor; the answer is the list of those that are there.
headers=$(needs | while read -r row see _; do
    case $see in header:*) wanted_by_goals "$row" && echo "${see#header:}" ;; esac
done || true)
prefix=${HOMEBREW_PREFIX:-/opt/homebrew}
found=$(for header in $headers; do
    printf '#if __has_include(<%s>)\nfound:%s\n#endif\n' "$header" "$header"
done | ${CC:-cc} ${CPPFLAGS:-} -I"$prefix/include" -I/usr/local/include -E -P - 2>/dev/null || true)

libc() { # a compiler without its C library
    ! command -v cc >/dev/null 2>&1 || echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1
}

gcc_sanitizers() { # Debian's gcc brings them
    case $manager in
    dnf) [ -e "$(cc -print-file-name=libasan.so)" ] && [ -e "$(cc -print-file-name=libtsan.so)" ] ;;
    *) true ;;
    esac
}

clang_runtime() {
    command -v clang >/dev/null 2>&1 && ls "$(clang -print-resource-dir)"/lib/*/libclang_rt.fuzzer* >/dev/null 2>&1
}

is_here() { # $1: how to see it
    case $1 in
    command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
    header:*) case "$found" in *"found:${1#header:}"*) true ;; *) false ;; esac ;;
    *) "$1" ;;
    esac
}

missing=$(needs | while read -r row see apt dnf pacman brew; do
    if wanted_by_goals "$row" && ! is_here "$see"; then
        case $manager in
        apt) echo "$apt" ;;
        dnf) echo "$dnf" ;;
        pacman) echo "$pacman" ;;
        brew) echo "$brew" ;;
        none) echo "${see#*:}" ;;
        esac
    fi
done | tr ',' '\n' | grep -v '^-$' | sort -u | tr '\n' ' ')
missing=${missing% }

if [ -z "$missing" ]; then
    exit 0
fi

case $manager in
apt) install="apt-get install -y --no-install-recommends $missing" ;;
dnf) install="dnf install -y $missing" ;;
pacman) install="pacman -S --needed --noconfirm $missing" ;;
brew) install="brew install $missing" ;;
none)
    echo "whet: missing: $missing. This machine has none of apt-get, dnf, pacman and brew; install them by hand." >&2
    exit 1
    ;;
esac

as_root=
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    as_root="sudo "
fi
if [ "$print_only" = yes ]; then
    echo "$as_root$install"
    exit 0
fi
if [ "${WHET_NO_INSTALL:-0}" = 1 ] || { [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; }; then
    echo "whet: missing: $missing. Install with" >&2
    echo "    $as_root$install" >&2
    exit 1
fi

echo "whet: installing $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    if [ -n "$as_root" ]; then
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    else
        env DEBIAN_FRONTEND=noninteractive "$@"
    fi >>"$log" 2>&1 </dev/null
}
# shellcheck disable=SC2086  # $install is a list of words
if ! run $install; then
    # A fresh machine may know no packages at all, or only old ones: fetch the lists and try once more.
    if ! { [ "$manager" = apt ] && run apt-get update && run $install; }; then
        tail -n 20 "$log" >&2
        echo "whet: this failed: $as_root$install" >&2
        exit 1
    fi
fi
