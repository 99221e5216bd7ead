#!/bin/sh
# Runs the tests of a build folder and says how many passed: tools/test.sh BUILD [ctest's arguments]
#
# Last a line `N passed, N failed[, N skipped]`: the sum over cmocka's summaries and over the last line `N passed, N failed` of
# every other test. A test that ends without either (it crashed, or ran out of time) counts as one failure.
set -u
build=$1
shift
# ThreadSanitizer wants its address space where it expects it, which newer kernels scatter too widely.
fixed=
if grep -q '^WHET_SANITIZE:.*=thread' "$build/CMakeCache.txt" && setarch -R true 2>/dev/null; then
    fixed="setarch -R"
fi
limit=600 # seconds a test may take; sanitizers slow random tests down five to ten times
grep -q '^WHET_SANITIZE:.*=.' "$build/CMakeCache.txt" && limit=3600
status=0
$fixed ctest --test-dir "$build" --output-on-failure --timeout $limit -j "${JOBS:-2}" "$@" || status=1
awk '
function finish() {
    if (name == "")
        return
    passed += last_passed; failed += last_failed; skipped += last_skipped
    if (bad && !failed)
        failed = 1
    if (!bad && !passed && !skipped)
        passed = 1
    if (skipped)
        skips = skips sprintf("  %s: %d skipped%s\n", name, skipped, reason)
    passes += passed; failures += failed; skippings += skipped
    passed = failed = skipped = bad = last_passed = last_failed = last_skipped = 0; name = ""; reason = ""
}
/^[0-9]+\/[0-9]+ Testing: / { finish(); name = $3 }
/^\[  PASSED  \] [0-9]+ test\(s\)/ { passed += $4 }
/^\[  FAILED  \] [0-9]+ test\(s\)/ { failed += $4 }
/^\[  SKIPPED \] [0-9]+ test\(s\)/ { skipped += $4 }
/^[0-9]+ passed, [0-9]+ failed/ { last_passed = $1; last_failed = $3; last_skipped = $6 == "skipped" ? $5 : 0 }
/^skipped: / && reason == "" { reason = " (" substr($0, 10) ")" }
/^Test Failed\.$|^Test time = .*Timeout|\*\*\*Exception|^Test timeout/ { bad = 1 }
END {
    finish()
    if (skips != "")
        printf "\nSkipped:\n%s", skips
    printf "\n%d passed, %d failed", passes, failures
    printf skippings ? ", %d skipped\n" : "\n", skippings
    exit failures > 0
}' "$build/Testing/Temporary/LastTest.log" || status=1
exit $status
