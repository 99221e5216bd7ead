#!/bin/sh
# Runs every fuzz target of a build folder for FUZZ_SECONDS (60) each: tools/fuzz.sh BUILD [TARGET...]
#
# fuzz/NAME.c says where its seeds are in a line `// Seeds: GLOB...`, from the project's root. What was found earlier is kept in
# BUILD/corpus/NAME; a crash leaves its input in BUILD/crash/NAME-*, which then becomes a test.
set -u
build=$1
shift
seconds=${FUZZ_SECONDS:-60}
[ $# -gt 0 ] || set -- fuzz/*.c

passed=0 failed=0
for target; do
    name=$(basename "$target" .c)
    seeds=$build/seeds/$name corpus=$build/corpus/$name
    rm -rf "$seeds"
    mkdir -p "$seeds" "$corpus" "$build/crash"
    for glob in $(sed -n 's|^// Seeds: ||p' "fuzz/$name.c"); do
        for file in $glob; do # a glob without a match stays as it is, and is no file
            [ -f "$file" ] && cp "$file" "$seeds/$(echo "$file" | tr /. __)"
        done
    done
    echo "fuzz: $name for $seconds s, $(ls "$seeds" | wc -l) seeds"
    if "$build/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$build/crash/$name-" "$corpus" "$seeds" >"$build/$name.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -n 40 "$build/$name.log"
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
