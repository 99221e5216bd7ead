/* Random kernels: the evaluator and machine code against direct recursion, each element within what its own sums allow; serial
 * against split work (same bits); the text against itself. The seed is printed; WHET_SEED=N repeats a run, WHET_ROUNDS=N changes
 * its length, WHET_GROUPS=N how many of a hundred are convolutions of groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "kernel_data.h"
#include "kernel_machine.h"
#include "kernel_naive.h"

typedef struct Maker {
    uint64_t state;
    Text text, heads;
    int axes; /* a, b, c ...: of the left side, then reduced */
    int64_t extent[8];
    int usable; /* axes in scope */
    int tensors;
    DType type; /* of the expression */
    int depth;
    int64_t work;
} Maker;

static const DType types[] = {DT_F32, DT_F32, DT_F32, DT_F64, DT_F16, DT_BF16, DT_S8, DT_U8,
                              DT_S16, DT_U16, DT_S32, DT_S32, DT_U32, DT_S64,  DT_U64};

static int64_t pick(Maker *m, int64_t below) {
    return below > 0 ? (int64_t)((data_random(&m->state) >> 24) % (uint64_t)below) : 0;
}

static bool chance(Maker *m, int percent) {
    return pick(m, 100) < percent;
}

static int64_t from_environment(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

static char letter(int axis) {
    return (char)('a' + axis);
}

static bool is_float(DType type) {
    return dtype_kind(type) == KIND_FLOAT;
}

static void make_expr(Maker *m);

/* One index, and the length of its dimension. */
static int64_t make_index(Maker *m, bool *guarded, bool may_gather) {
    int axis = (int)pick(m, m->usable), other = (int)pick(m, m->usable);
    int64_t length = m->extent[axis], offset = pick(m, 4), scale = 1 + pick(m, 2);
    switch (pick(m, may_gather ? 9 : 7)) {
    case 0: text_put(&m->text, "0"); return 1 + pick(m, 3);
    case 1: text_printf(&m->text, "%c + %lld", letter(axis), (long long)offset); return length + offset;
    case 2:
        text_printf(&m->text, "%lld*%c + %c - %lld", (long long)scale, letter(axis), letter(other), (long long)offset);
        *guarded = true;
        return 1 + pick(m, scale * length + m->extent[other]);
    case 3: text_printf(&m->text, "%lld - %c", (long long)(length - 1 + offset), letter(axis)); return length + offset;
    case 7: text_printf(&m->text, "g%d[%c]", axis, letter(axis)); return 5;
    case 8: text_printf(&m->text, "(%c * %c) %% %lld", letter(axis), letter(other), (long long)(1 + offset)); return 1 + offset;
    default: text_printf(&m->text, "%c", letter(axis)); return length;
    }
}

static void make_read(Maker *m) {
    int rank = (int)pick(m, 4);
    int64_t dims[4], total = 1;
    bool guarded = chance(m, 15);
    DType type = chance(m, 25) ? types[pick(m, (int64_t)COUNT(types))] : m->type;
    if (type != m->type)
        text_printf(&m->text, "%s(", dtype_name(m->type));
    text_printf(&m->text, "x%d[", m->tensors);
    for (int k = 0; k < rank; k++) {
        text_put(&m->text, k ? ", " : "");
        dims[k] = make_index(m, &guarded, true);
        total *= dims[k];
    }
    text_put(&m->text, "]");
    if (guarded)
        text_put(&m->text, chance(m, 30) ? "?(3)" : "?");
    if (type != m->type)
        text_put(&m->text, ")");
    text_printf(&m->heads, "in x%d: %s[", m->tensors++, dtype_name(type));
    for (int k = 0; k < rank; k++)
        text_printf(&m->heads, "%s%lld", k ? ", " : "", (long long)dims[k]);
    text_put(&m->heads, "]\n");
    m->work += total;
}

static void make_reduction(Maker *m) {
    static const char *const names[] = {"sum", "sum", "sum", "prod", "max", "min", "argmax", "argmin"};
    int count = 1 + (int)pick(m, 2);
    const char *name = names[pick(m, is_float(m->type) ? 6 : 8)];
    bool arg = strncmp(name, "arg", 3) == 0;
    if (arg && m->type != DT_S64)
        text_printf(&m->text, "%s(", dtype_name(m->type));
    text_printf(&m->text, "(%s(", name);
    for (int k = 0; k < (arg ? 1 : count) && m->axes < 7; k++) {
        static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 9, 16, 40, 0, 700};
        bool few = m->axes > 3 || strcmp(name, "prod") == 0; /* a long product overflows or not by the order of its factors */
        m->extent[m->axes] = lengths[pick(m, few ? 5 : (int64_t)COUNT(lengths))];
        text_printf(&m->text, "%s%c:%lld", k ? ", " : "", letter(m->axes), (long long)m->extent[m->axes]);
        m->axes++;
    }
    int usable = m->usable;
    m->usable = m->axes;
    text_put(&m->text, ") (");
    m->depth++;
    make_expr(m);
    if (chance(m, 50)) {
        text_put(&m->text, " * ");
        make_read(m);
    }
    m->depth--;
    text_put(&m->text, "))");
    if (arg && m->type != DT_S64)
        text_put(&m->text, ")");
    m->usable = usable;
}

static void make_infix(Maker *m) {
    static const char *const infix[] = {"+", "-", "*", "+", "//", "%", "/", "&", "|", "^", "<<", ">>"};
    text_char(&m->text, '(');
    make_expr(m);
    text_printf(&m->text, " %s ", infix[pick(m, is_float(m->type) ? 5 : (int64_t)COUNT(infix))]);
    make_expr(m);
    text_char(&m->text, ')');
}

static void make_select(Maker *m) {
    static const char *const compare[] = {"<", "<=", "==", "!=", ">", ">="};
    text_put(&m->text, "select(");
    make_read(m);
    text_printf(&m->text, " %s ", compare[pick(m, (int64_t)COUNT(compare))]);
    make_read(m);
    text_put(&m->text, ", ");
    make_expr(m);
    text_put(&m->text, ", ");
    make_read(m);
    text_char(&m->text, ')');
}

static void make_call(Maker *m, const char *name, int operands) {
    text_printf(&m->text, "%s(", name);
    for (int i = 0; i < operands; i++) {
        text_put(&m->text, i ? ", " : "");
        make_expr(m);
    }
    text_char(&m->text, ')');
}

static void make_expr(Maker *m) {
    static const char *const calls[] = {"abs", "sign", "-", "relu", "floor", "round", "trunc", "exp", "tanh", "sigmoid"};
    int64_t kind = m->depth > 3 ? pick(m, 3) : m->depth == 0 ? 3 + pick(m, 10) : pick(m, 13);
    m->depth++;
    if (kind == 2 && m->depth > 1)
        text_printf(&m->text, "%lld", (long long)pick(m, 5));
    else if (kind < 3)
        make_read(m);
    else if (kind < 6)
        make_infix(m);
    else if (kind < 8 && m->axes < 6)
        make_reduction(m);
    else if (kind == 8)
        text_printf(&m->text, "%s(%c)", dtype_name(m->type), letter((int)pick(m, m->usable)));
    else if (kind == 9)
        make_call(m, chance(m, 50) ? "min" : "max", 2);
    else if (kind == 10)
        make_select(m);
    else
        make_call(m, calls[pick(m, is_float(m->type) ? (int64_t)COUNT(calls) : 4)], 1);
    m->depth--;
}

/* y[a, b, c] = ..., sometimes scaled, shifted or transposed on the left. */
static void make_left(Maker *m) {
    static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 13, 33, 130, 600, 1500};
    int64_t total = 1;
    m->axes = (int)pick(m, 4);
    for (int a = 0; a < m->axes; a++) {
        do
            m->extent[a] = lengths[pick(m, (int64_t)COUNT(lengths))];
        while (total * m->extent[a] > 3000);
        total *= m->extent[a];
    }
    if (m->axes == 0)
        m->extent[m->axes++] = 1;
    m->usable = m->axes;
    text_put(&m->text, "y[");
    for (int k = 0, turn = (int)pick(m, m->axes); k < m->axes; k++) {
        int a = (k + turn) % m->axes;
        text_printf(&m->text, "%s", k ? ", " : "");
        if (chance(m, 10))
            text_printf(&m->text, "2*%c:%lld + 1", letter(a), (long long)m->extent[a]);
        else
            text_printf(&m->text, "%c:%lld", letter(a), (long long)m->extent[a]);
    }
    text_printf(&m->text, "]: %s = ", dtype_name(m->type));
}

/* A convolution of groups, of either layout, beside whatever else may be told of a group, an output or a channel: templates merge
 * such axes. */
static void make_groups(Maker *m) {
    static const DType factors[] = {DT_F32, DT_F32, DT_F32, DT_F16, DT_BF16, DT_S8, DT_U8, DT_S32};
    DType type = factors[pick(m, (int64_t)COUNT(factors))];
    m->type = is_float(type) ? DT_F32 : DT_S32;
    const char *sum = dtype_name(m->type);
    int64_t size = 2 << pick(m, 3), groups = 1 + pick(m, 12), places = 1 + pick(m, 20), taps = 1 + pick(m, 4);
    int64_t step = 1 + pick(m, 2), pad = pick(m, 2) ? pick(m, taps + 1) : 0;
    int64_t length = chance(m, 70) ? step * places + taps : 1 + pick(m, 9);
    bool outside = pad || step * (places - 1) + taps > length, bias = chance(m, 50);
    /* clang-format off */
    static const char *const more[] = {"", "", "", "", " * %s(s[c])", " * %s(s[o])", " * %s(s[g])", " * %s(c)", " * %s(o)",
                                       " * %s(g)", " * %s(s[k])", " * %s(b[g, o])"};
    /* clang-format on */
    static const char *const before[] = {"", "", "", " + %s(s[c])", " + %s(s[o])", " - %s(b[g, o])", " - %s(s[0])"};
    const char *also = more[pick(m, (int64_t)COUNT(more))], *shift = before[outside ? 0 : pick(m, (int64_t)COUNT(before))];
    bool first = chance(m, 30); /* channels */
    text_printf(&m->text, first ? "y[g:%lld, o:%lld" : "y[p:%lld, g:%lld", (long long)(first ? groups : places),
                (long long)(first ? size : groups));
    text_printf(&m->text, first ? ", p:%lld]: %s" : ", o:%lld]: %s", (long long)(first ? places : size), sum);
    text_printf(&m->text, " = (sum(c:%lld, k:%lld) (%s(x[%s", (long long)size, (long long)taps, sum, first ? "g, c, " : "");
    text_printf(&m->text, "%lld*p + k - %lld%s]%s)", (long long)step, (long long)pad, first ? "" : ", g, c", outside ? "?" : "");
    text_printf(&m->text, shift, sum);
    text_printf(&m->text, ") * %s(%s)", sum, chance(m, 50) ? "f[g, o, c, k]" : "f[k, c, g, o]");
    bool last = strstr(m->text.data, "f[k") != NULL;
    text_printf(&m->text, also, sum);
    text_put(&m->text, ")");
    if (bias)
        text_printf(&m->text, " + %s(b[g, o])", sum);
    text_printf(&m->heads, "in x: %s[%lld, %lld, %lld]\n", dtype_name(type), (long long)(first ? groups : length),
                (long long)(first ? size : groups), (long long)(first ? length : size));
    int64_t dims[] = {groups, size, size, taps}, turned[] = {taps, size, groups, size};
    text_printf(&m->heads, "in f: %s[", dtype_name(type));
    for (int i = 0; i < 4; i++)
        text_printf(&m->heads, "%s%lld", i ? ", " : "", (long long)(last ? turned : dims)[i]);
    text_put(&m->heads, "]\n");
    if (strstr(m->text.data, "s["))
        text_printf(&m->heads, "in s: %s[%d]\n", dtype_name(type), 20);
    if (strstr(m->text.data, "b["))
        text_printf(&m->heads, "in b: %s[%lld, %lld]\n", dtype_name(type), (long long)groups, (long long)size);
    text_put(&m->heads, m->text.data);
}

static void make_kernel(Maker *m) {
    text_clear(&m->text);
    text_clear(&m->heads);
    m->tensors = m->depth = 0;
    m->work = 0;
    if (chance(m, from_environment("WHET_GROUPS", 5))) {
        make_groups(m);
        return;
    }
    m->type = types[pick(m, (int64_t)COUNT(types))];
    make_left(m);
    make_expr(m);
    for (int a = 0; a < 8; a++) {
        char gather[16];
        snprintf(gather, sizeof gather, "g%d[", a);
        if (strstr(m->text.data, gather))
            text_printf(&m->heads, "in g%d: %s[%lld]\n", a, chance(m, 50) ? "s32" : "s64", (long long)m->extent[a]);
    }
    text_put(&m->heads, m->text.data);
}

/* ---- Checks ---- */

static Kernel *bound(Arena *arena, const char *text, whet_error *err) {
    Kernel *kernel = kernel_parse(arena, text, strlen(text), err);
    return kernel && kernel_bind(kernel, NULL, 0, NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static void check_text(const Kernel *kernel) {
    Arena arena;
    arena_init(&arena, NULL);
    Text first, second;
    text_init(&first);
    text_init(&second);
    kernel_print(kernel, &first);
    whet_error err = {0};
    const Kernel *again = bound(&arena, first.data, &err);
    if (!again)
        fail_msg("the printed kernel is refused: %s\n%s", err.message, first.data);
    kernel_print(again, &second);
    assert_string_equal(first.data, second.data);
    assert_true(kernel->flops == again->flops);
    text_free(&first);
    text_free(&second);
    arena_free(&arena);
}

/* Tasks backwards, as threads might. */
static void run_backwards(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    (void)self;
    for (size_t i = count; i-- > 0;)
        task(context, i);
}

static void check_split(const Kernel *kernel, void *const *data, int output) {
    Parallel parallel = {NULL, 5, run_backwards};
    EvalOptions options = {.parallel = &parallel};
    whet_error err = {0};
    void *copy[KERNEL_MAX_TENSORS];
    memcpy(copy, data, sizeof copy);
    copy[output] = data_new(&kernel->tensors[output]);
    assert_int_equal(kernel_eval(kernel, copy, &options, &err), WHET_OK);
    assert_memory_equal(copy[output], data[output], data_bytes(&kernel->tensors[output]));
    data_free(copy[output]);
}

static int64_t taken, refused, elements, open_elements;

static const char *said; /* the kernel */

static void check_values(const KernelTensor *y, const void *got, const void *want, const Doubt *doubt, const char *engine) {
    int64_t bad = naive_compare_data(y, got, want, doubt);
    if (bad >= 0)
        fail_msg("%s\n%s: element %lld is %.9g, not %.9g within %.3g", said, engine, (long long)bad, data_get(y->type, got, bad),
                 data_get(y->type, want, bad), doubt[bad].slack);
    if (!data_intact(y, got))
        fail_msg("%s writes around its output", engine);
}

/* Through every target: right values, or the same error. */
static void check_machine(Maker *m, const Kernel *kernel, void *const *data, int output, const Doubt *doubt, whet_status wanted) {
    const KernelTensor *y = &kernel->tensors[output];
    void *copy[KERNEL_MAX_TENSORS];
    memcpy(copy, data, sizeof copy);
    for (int which = 0; which < MACHINE_COUNT; which++) {
        whet_error err = {0};
        copy[output] = data_new(y);
        whet_status status = machine_run(which, kernel, copy, chance(m, 50) ? data_random(&m->state) >> 8 : 0, &err);
        *(status == WHET_ERROR_UNSUPPORTED ? &refused : &taken) += 1;
        if (status != WHET_ERROR_UNSUPPORTED) {
            if (status != wanted)
                fail_msg("%s gives status %d, not %d: %s", machine_name[which], (int)status, (int)wanted, err.message);
            if (!status)
                check_values(y, copy[output], data[output], doubt, machine_name[which]);
        }
        data_free(copy[output]);
    }
}

static double work_of(const Kernel *kernel) {
    double most = 0;
    for (int d = 0; d < kernel->definition_count; d++) {
        double work = kernel->definitions[d].expr_count;
        for (int a = 0; a < kernel->definitions[d].axis_count; a++)
            work *= kernel->definitions[d].axes[a].extent > 0 ? (double)kernel->definitions[d].axes[a].extent : 1;
        most += work;
    }
    for (int t = 0; t < kernel->tensor_count; t++)
        most += (double)kernel->tensors[t].count;
    return most;
}

static bool check_kernel(Maker *m) {
    Arena arena;
    arena_init(&arena, NULL);
    whet_error err = {0};
    Kernel *kernel = bound(&arena, m->heads.data, &err);
    if (!kernel || work_of(kernel) > 3e6) { /* the maker makes some that do not bind: an index beyond, a literal too large */
        arena_free(&arena);
        return false;
    }
    check_text(kernel);
    said = m->heads.data;
    void *data[KERNEL_MAX_TENSORS] = {NULL}, *want[KERNEL_MAX_TENSORS] = {NULL};
    int output = kernel->tensor_count - 1;
    for (int t = 0; t < kernel->tensor_count; t++) {
        data[t] = want[t] = data_new(&kernel->tensors[t]);
        if (t < output)
            data_fill(&kernel->tensors[t], data[t], &m->state, kernel->tensors[t].name[0] == 'g' ? 5 : 0);
    }
    const KernelTensor *y = &kernel->tensors[output];
    want[output] = data_new(y);
    Doubt *doubt[KERNEL_MAX_TENSORS] = {NULL};
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        doubt[t] = ARENA_ARRAY(&arena, Doubt, (size_t)kernel->tensors[t].count + 1);
        assert_non_null(doubt[t]);
    }
    bool fine = naive_eval(kernel, want, doubt);
    whet_status status = kernel_eval(kernel, data, NULL, &err);
    assert_int_equal(status, fine ? WHET_OK : WHET_ERROR_DATA);
    if (fine) {
        check_values(y, data[output], want[output], doubt[output], "evaluator");
        check_split(kernel, data, output);
        elements += y->count;
        for (int64_t i = 0; i < y->count; i++)
            open_elements += doubt[output][i].open;
    }
    check_machine(m, kernel, want, output, doubt[output], status);
    data_free(want[output]);
    for (int t = 0; t < kernel->tensor_count; t++)
        data_free(data[t]);
    arena_free(&arena);
    return true;
}

static void test_random_kernels(void **state) {
    (void)state;
    int64_t seed = from_environment("WHET_SEED", (int64_t)time(NULL)), rounds = from_environment("WHET_ROUNDS", 3000), tried = 0;
    print_message("seed %lld\n", (long long)seed);
    Maker m = {0};
    text_init(&m.text);
    text_init(&m.heads);
    for (int64_t round = 0; round < rounds; round++) {
        m.state = ((uint64_t)seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)round * UINT64_C(0xD1B54A32D192ED03)) | 1;
        make_kernel(&m);
        if (getenv("WHET_VERBOSE"))
            print_message("# round %lld\n%s\n", (long long)round, m.heads.data);
        tried += check_kernel(&m);
    }
    print_message("%lld of %lld kernels bound\n", (long long)tried, (long long)rounds);
    print_message("%lld runs of machine code, %lld refused\n", (long long)taken, (long long)refused);
    print_message("%lld elements, %lld of them open\n", (long long)elements, (long long)open_elements);
    assert_true(tried * 3 > rounds);
    assert_true(open_elements * 50 < elements);
    text_free(&m.text);
    text_free(&m.heads);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_kernels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
