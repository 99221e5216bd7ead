#!/bin/sh
# Builds TARGET (one word of one or more) in folder BUILD: tools/build.sh BUILD TARGET [CMake's arguments]. CMake is run when the
# arguments are not those of the last time, or when the test library that was missing has come; otherwise the build tool alone,
# which sees new files itself.
set -eu
unset MAKEFLAGS MFLAGS MAKELEVEL # the build tool is not a part of the make that called this
build=$1
target=$2
shift 2
cache=$build/CMakeCache.txt
generator=
if [ ! -e "$cache" ] && command -v ninja >/dev/null 2>&1; then
    generator="-G Ninja"
fi
arguments="$* ${CC:-} ${CFLAGS:-} ${LDFLAGS:-}"
if [ "$(cat "$build/arguments" 2>/dev/null)" != "$arguments" ] ||
    { [ "$target" = all ] && grep -q '^cmocka_LIBRARY:.*NOTFOUND$' "$cache"; }; then
    # shellcheck disable=SC2086  # $generator is two words or none
    cmake -S . -B "$build" $generator "$@" >/dev/null
    echo "$arguments" >"$build/arguments"
fi
# shellcheck disable=SC2086  # $target may be several words
exec cmake --build "$build" --parallel "${JOBS:-2}" --target $target
