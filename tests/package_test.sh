#!/bin/sh
# The installed package works: install below a DESTDIR and to a prefix that is then moved, compile the examples with pkg-config
# (shared and static) and with CMake, run them.   tests/package_test.sh BUILD
set -u
build=$1
if grep -q '^WHET_SANITIZE:.*=.' "$build/CMakeCache.txt"; then
    echo "skipped: a library with sanitizers is not one to install"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
passed=0 failed=0 skipped=0

step() { # step WHAT COMMAND...: the output only if it fails
    what=$1
    shift
    if "$@" >"$root/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what: $*"
        cat "$root/log"
    fi
}

install_all() {
    DESTDIR=$root/dest cmake --install "$build" --prefix /usr &&
        cmake --install "$build" --prefix "$root/first" &&
        mv "$root/first" "$root/moved"
}
step "install" install_all
for file in bin/whet include/whet.h share/man/man1/whet.1 share/bash-completion/completions/whet share/zsh/site-functions/_whet \
    share/fish/vendor_completions.d/whet.fish; do
    step "$file is installed" test -s "$root/dest/usr/$file"
done
libdir=$(dirname "$(find "$root/moved" -name libwhet.a)")
step "the command runs" "$root/moved/bin/whet" --version

cc=${CC:-cc}
demo="examples/doodles/doodles.onnx"
picture="examples/doodles/pictures/fish.pgm"
run_all() { # run_all FOLDER: the three examples, built there
    LD_LIBRARY_PATH=$libdir "$1/kernel" && LD_LIBRARY_PATH=$libdir "$1/model" $demo &&
        LD_LIBRARY_PATH=$libdir "$1/doodles" $demo $picture | grep '1 of 1 right'
}

if command -v pkg-config >/dev/null 2>&1; then
    export PKG_CONFIG_PATH=$libdir/pkgconfig
    for kind in shared static; do
        mkdir "$root/$kind"
        if [ $kind = shared ]; then
            flags=$(pkg-config --cflags --libs whet)
        else
            flags="$(pkg-config --cflags whet) $libdir/libwhet.a $(pkg-config --static --libs-only-l whet | sed 's/-lwhet //')"
        fi
        for source in examples/kernel.c examples/model.c examples/doodles/doodles.c; do
            # shellcheck disable=SC2086  # $flags is a list of words
            step "compile $source, $kind" $cc -o "$root/$kind/$(basename $source .c)" $source $flags
        done
        step "run, $kind" run_all "$root/$kind"
    done
else
    skipped=$((skipped + 1))
    echo "skipped: pkg-config is not installed"
fi

mkdir "$root/project"
cat >"$root/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.20)
project(user C)
find_package(whet 0.1 REQUIRED)
add_executable(kernel $PWD/examples/kernel.c)
add_executable(model $PWD/examples/model.c)
add_executable(doodles $PWD/examples/doodles/doodles.c)
target_link_libraries(kernel whet::whet_static)
target_link_libraries(model whet::whet)
target_link_libraries(doodles whet::whet)
END
build_project() {
    cmake -S "$root/project" -B "$root/cmake" -DCMAKE_PREFIX_PATH="$root/moved" && cmake --build "$root/cmake"
}
step "compile with find_package" build_project
step "run, find_package" run_all "$root/cmake"

# A user's own functions may have the names of internal ones.
cat >"$root/clash.c" <<'END'
#include "whet.h"
int text_put(void) { return 1; }
int arena_alloc(void) { return 2; }
int main(void) { return !whet_version() || text_put() + arena_alloc() != 3; }
END
if [ "$(uname)" = Linux ] && grep -q '^WHET_LOCALIZE:BOOL=ON' "$build/CMakeCache.txt"; then
    step "no internal name clashes" $cc -I"$root/moved/include" -o "$root/clash" "$root/clash.c" "$libdir/libwhet.a" \
        -lZydis -lcpuinfo -lpthread -lm
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
