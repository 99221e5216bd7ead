/* Memory that runs out, and code memory that the system refuses: every allocation of making and running kernels fails once. What
 * comes back is an error that says so (or a right result, where a failure can be done without), nothing leaks, and the next
 * attempt is fine. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#if defined(__linux__)
#include <malloc.h>
#endif

#include "child.h"
#include "countdown.h"
#include "kernel/kernel.h"
#include "schedule/schedule.h"

static const struct Case {
    const char *text;
    int64_t x[5]; /* dims of x where they do not follow; 0: they do */
    const char *constant;
} cases[] = {
    {"c[m:50, n:70] = max(sum(k:33) a[m, k] * b[k, n] + r[n], 0)", {0}, "b"},
    {"c[m:50, n:70] = sum(k:33) a[m, k] * b[k, n] + z[m, n]", {0}, ""},
    {"c[m:20, n:70] = sum(k:33) s32(a[m, k]) * s32(b[k, n])", {0}, "b"},
    {"y[n:2, h:9, w:8, o:17] = sum(i:3, j:3, c:5) x[n, h + i - 1, w + j - 1, c]? * b[i, j, c, o]", {2, 9, 8, 5}, "b"},
    {"y[n:1, h:12, w:12, o:32] = sum(i:3, j:3, c:32) x[n, h + i - 1, w + j - 1, c]? * b[i, j, c, o]", {1, 12, 12, 32}, "b"},
    {"y[n:2, o:17, h:9, w:8] = sum(c:5, i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * b[o, c, i, j]", {2, 5, 9, 8}, "b"},
    {"y[n:1, c:20, h:9, w:8] = clip(sum(i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * b[c, i, j], 0, 6)", {1, 20, 9, 8}, "b"},
    {"y[n:1, h:9, w:8, c:20] = max(i:3, j:3) x[n, h + i - 1, w + j - 1, c]?(-inf)", {1, 9, 8, 20}, ""},
    {"t[i:7] = max(j:50) x[i, j]\ne[i, j] = exp(x[i, j] - t[i])\ns[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / s[i]", {0}, ""},
    {"m[i:7] = (sum(j:768) x[i, j]) / 768\ny[i, j] = x[i, j] - m[i]", {0}, ""},
    {"y[i:1000] = gelu(x[i]) + z[i]", {0}, ""},
    {"y[j:33, i:40] = x[i, j]", {0}, ""},
};

typedef struct Bound {
    Arena arena;
    Kernel *kernel;
    void *data[KERNEL_MAX_TENSORS];
    const void *constant[KERNEL_MAX_TENSORS];
} Bound;

static void bind(const struct Case *x, Bound *out) {
    whet_error err = {0};
    KernelArg args[2] = {{.name = "x", .type = DT_F32, .dims = x->x}, {.name = "", .rank = -1}};
    int count = x->x[0] ? 1 : 0;
    memset(out, 0, sizeof *out);
    while (args[0].rank < 5 && x->x[args[0].rank])
        args[0].rank++;
    if (strstr(x->text, "s32(a")) { /* bytes */
        args[0] = (KernelArg){.name = "a", .type = DT_U8, .rank = -1};
        args[1] = (KernelArg){.name = "b", .type = DT_S8, .rank = -1};
        count = 2;
    }
    arena_init(&out->arena, NULL);
    out->kernel = kernel_parse(&out->arena, x->text, strlen(x->text), &err);
    if (!out->kernel || kernel_bind(out->kernel, args, count, NULL, 0, &err) != WHET_OK)
        fail_msg("%s: %s", x->text, err.message);
    for (int t = 0; t < out->kernel->tensor_count; t++) {
        const KernelTensor *tensor = &out->kernel->tensors[t];
        out->data[t] = calloc((size_t)tensor->count + 1, 8);
        if (tensor->role == ROLE_INPUT && strcmp(tensor->name, x->constant) == 0)
            out->constant[t] = out->data[t];
    }
}

static void unbind(Bound *b) {
    for (int t = 0; t < b->kernel->tensor_count; t++)
        free(b->data[t]);
    arena_free(&b->arena);
}

static whet_status make_and_run(const Bound *b, const Target *target, bool share, Countdown *countdown, whet_error *err) {
    whet_allocator allocator = countdown_allocator(countdown);
    TargetCodes *codes = share ? codes_new(&allocator) : NULL;
    if (share && !codes)
        return error_memory(err);
    ScheduleOptions options = {.allocator = &allocator, .constant = b->constant, .codes = codes};
    EvalOptions run = {.allocator = &allocator};
    Compiled *compiled = NULL;
    const char *why = NULL;
    whet_status status = schedule_compile(b->kernel, target, &options, &compiled, &why, err);
    if (!status && codes)
        status = codes_seal(codes, err);
    if (!status)
        status = compiled_run(compiled, b->data, &run, err);
    compiled_free(compiled);
    codes_free(codes);
    return status;
}

static void each_allocation(bool share) {
    Target target;
    long attempts = 0;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no machine code for this CPU\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        Bound bound;
        whet_error err = {0};
        Countdown all = {.left = -1};
        bind(&cases[i], &bound);
        if (make_and_run(&bound, &target, share, &all, &err) != WHET_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_int_equal(all.out, 0);
        assert_true(all.taken >= 3);
        for (long left = 0; left < all.taken; left++, attempts++) {
            Countdown countdown = {.left = left};
            whet_status status = make_and_run(&bound, &target, share, &countdown, &err);
            if (status != WHET_ERROR_MEMORY && status != WHET_OK)
                fail_msg("%s, allocation %ld: status %d, %s", cases[i].text, left, (int)status, err.message);
            assert_int_equal(countdown.out, 0);
        }
        unbind(&bound);
    }
    print_message("%ld failures\n", attempts);
}

static void every_allocation(void **state) {
    (void)state;
    each_allocation(false);
}

static void every_allocation_with_shared_code(void **state) {
    (void)state;
    each_allocation(true);
}

typedef struct Refusal {
    bool address_space; /* not that code may not run */
    whet_status wanted;
    const char *words;
} Refusal;

/* False: the system takes no notice of a limit, as emulators do. */
static bool refuse_memory(void) {
#if defined(__linux__)
    void *held[64]; /* memory for all else, which stays with the C library */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    for (int i = 0; i < 64; i++)
        held[i] = malloc(64 << 10);
    for (int i = 0; i < 64; i++)
        free(held[i]);
    struct rlimit limit = {1 << 20, 1 << 20};
    return !setrlimit(RLIMIT_AS, &limit) && mmap(NULL, 4 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
#else
    return false;
#endif
}

static int refused(const void *context) {
    const Refusal *r = context;
    Target target;
    Bound bound;
    whet_error err = {0};
    Countdown countdown = {.left = -1};
    if (!target_host(~UINT64_C(0), &target))
        return CHILD_CANNOT;
    bind(&cases[0], &bound);
    if (make_and_run(&bound, &target, false, &countdown, &err) != WHET_OK) /* what the first use of anything takes is taken */
        return 1;
    if (!(r->address_space ? refuse_memory : child_refuses_code)())
        return CHILD_CANNOT;
    countdown.left = -1;
    whet_status status = make_and_run(&bound, &target, false, &countdown, &err);
    if (status != r->wanted || !strstr(err.message, r->words) || countdown.out) {
        print_error("status %d, wanted %d: %s; %ld not given back\n", (int)status, (int)r->wanted, err.message,
                    (long)countdown.out);
        return 2;
    }
    return 0;
}

static void no_memory_for_code(void **state) {
    (void)state;
#ifdef SANITIZED
    skip(); /* the sanitizer's own address space is beyond any limit */
#endif
    in_child(refused, &(Refusal){true, WHET_ERROR_MEMORY, "bytes of code"});
}

static void code_may_not_run(void **state) {
    (void)state;
    in_child(refused, &(Refusal){false, WHET_ERROR_UNSUPPORTED, "does not let memory become executable"});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation),
        cmocka_unit_test(every_allocation_with_shared_code),
        cmocka_unit_test(no_memory_for_code),
        cmocka_unit_test(code_may_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
