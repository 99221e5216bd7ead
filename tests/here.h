/* The target that tests of generated code run on besides those they name: the best of this machine, or the one that
 * WHET_TEST_TARGET names (tools/test-arm64.sh does). To be included behind cmocka.h. */
#ifndef WHET_TESTS_HERE_H
#define WHET_TESTS_HERE_H

#include <stdlib.h>
#include <string.h>

#include "amx.h"
#include "schedule/schedule.h"
#include "x86_emulated.h"

/* Instructions that an emulator has, where this machine has all the rest that `target` asks for. */
static inline bool here_emulated(const Target *target) {
    const uint64_t apple = FEATURE(AMX), intel = FEATURE(AMX_TILE) | FEATURE(AMX_INT8) | FEATURE(AMX_BF16) | FEATURE(AVX_VNNI);
    uint64_t missing = target->features & ~target_features_here();
    if (missing && !(missing & ~apple))
        return amx_emulate();
    return missing && !(missing & ~intel) && x86_emulate();
}

/* False: none runs here. WHET_TEST_NO_BYTE_TILES: this machine is a qemu that computes outer products of bytes wrongly. */
static inline bool target_here(Target *out) {
    const char *name = getenv("WHET_TEST_TARGET");
    bool found = name ? target_named(name, out) : target_host(~UINT64_C(0), out);
    if (found && name && !out->runs_here)
        out->runs_here = here_emulated(out);
    if (found && getenv("WHET_TEST_NO_BYTE_TILES"))
        out->tiles.quads = false;
    return found && out->runs_here;
}

/* Only what runs generated code is wanted: emulators are slow. */
static inline bool here_alone(void) {
    return getenv("WHET_TEST_HERE_ALONE") != NULL;
}

/* ---- the four tests that every template has ---------------------------------------------------------------------------- */

/* `rounds` random kernels on the target. */
typedef void HereCheck(const Target *target, const char *label, int rounds);

/* The best x86 target without the features `less`; skips the test unless it is `name`. */
static inline void here_on_x86(const char *name, uint64_t less, HereCheck *check, int rounds) {
    Target target;
    if (!target_host(~less, &target) || strcmp(target.name, name) != 0) {
        print_message("skipped: no %s here\n", name);
        skip();
    }
    check(&target, name, rounds);
}

/* On the interpreter of x86 code with the given features (0: all), whose drivers interpret, for runs_here stays false. */
static inline void here_interpreted(const char *label, uint64_t features, HereCheck *check, int rounds) {
    if (here_alone()) {
        print_message("skipped: the interpreter, which is the same everywhere\n");
        skip();
    }
    Target target;
    assert_true(target_x86(features ? features : ~UINT64_C(0), &target));
    check(&target, label, rounds);
}

/* Where there is a matrix unit, sometimes a grid of its tiles, of any shape there are enough for. */
static inline void here_draw_grid(const Target *target, unsigned random, ScheduleOptions *options) {
    const TargetTiles *tiles = &target->tiles;
    if (!tiles->count || random % 2)
        return;
    int rows = 1 + (int)(random / 2 % (unsigned)tiles->count), columns = 1 + (int)(random / 16 % (unsigned)(tiles->count / rows));
    options->mr = rows * tiles->bytes / 4;
    options->nv = columns * tiles->bytes / target->bytes;
}

/* By name, with instructions that this machine lacks emulated; skips the test where it lacks more. */
static inline void here_on_emulated(const char *name, HereCheck *check, int rounds) {
    Target target;
    if (here_alone() || !target_named(name, &target) || !(target.runs_here = target.runs_here || here_emulated(&target))) {
        print_message("skipped: no %s here, nor an emulator of it\n", name);
        skip();
    }
    check(&target, name, rounds);
}

/* Code for targets that this machine is not is made, and interpreted. */
static inline void here_made_for_others(HereCheck *check, int rounds) {
    static const char *const others[] = {
        "arm64",     "arm64+dotprod", "arm64+i8mm+bf16", "arm64+sve512+i8mm+bf16", "arm64+sme256+i8mm+bf16",
        "arm64+amx", "x86-avx512+amx"};
    for (size_t i = 0; i < COUNT(others); i++) {
        Target target;
        assert_true(target_named(others[i], &target));
        check(&target, others[i], rounds);
    }
}

/* How many rounds each of the four takes: a test of that name each, by HERE_TESTS. */
typedef struct HereRounds {
    HereCheck *check;
    int x86, elsewhere, interpreted, others;
    bool narrow; /* the interpreter of AVX2's code as well */
} HereRounds;

static inline void here_avx2(void **state) {
    const HereRounds *r = *state;
    here_on_x86("x86-avx2", FEATURE(AVX512F), r->check, r->x86);
}

static inline void here_avx512(void **state) {
    const HereRounds *r = *state;
    here_on_x86("x86-avx512", 0, r->check, r->x86);
}

static inline void here_other(void **state) {
    const HereRounds *r = *state;
    Target target;
    if (!target_here(&target) || (!getenv("WHET_TEST_TARGET") && strncmp(target.name, "x86", 3) == 0)) {
        print_message("skipped: no other target runs here\n");
        skip();
    }
    r->check(&target, target.name, r->elsewhere);
}

static inline void here_everywhere(void **state) {
    const HereRounds *r = *state;
    here_interpreted("the interpreter", 0, r->check, r->interpreted);
    if (r->narrow)
        here_interpreted("the interpreter of 32 bytes", FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C), r->check, r->interpreted);
    here_made_for_others(r->check, r->others);
}

#define HERE_TEST(name, function, rounds)                                                                                        \
    { name, function, NULL, NULL, (void *)&(rounds) }
#define HERE_TESTS(rounds)                                                                                                       \
    HERE_TEST("on_avx2", here_avx2, rounds), HERE_TEST("on_avx512", here_avx512, rounds),                                        \
        HERE_TEST("elsewhere", here_other, rounds), HERE_TEST("interpreted", here_everywhere, rounds)

#endif
