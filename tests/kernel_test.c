/* The corpus in tests/kernel (its README.md has the format) through every engine there is, and what text cases cannot say:
 * hostile text, limits, the table. Every case is also held against direct recursion, printed, parsed and printed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "countdown.h"
#include "file.h"
#include "kernel_c.h"
#include "kernel_data.h"
#include "kernel_machine.h"
#include "kernel_naive.h"

/* One way to run a bound kernel. Engines that refuse a kernel return WHET_ERROR_UNSUPPORTED. */
typedef struct Engine {
    const char *name;
    whet_status (*run)(const Kernel *kernel, void *const *data, whet_error *err);
    bool exact; /* says which index is outside, and accumulates sums of floats in f64 */
} Engine;

static whet_status run_evaluator(const Kernel *kernel, void *const *data, whet_error *err) {
    return kernel_eval(kernel, data, NULL, err);
}

static whet_status run_c(const Kernel *kernel, void *const *data, whet_error *err) {
    return kernel_c_run(0, kernel, data, err);
}

static whet_status run_plain_c(const Kernel *kernel, void *const *data, whet_error *err) {
    return kernel_c_run(1, kernel, data, err);
}

static whet_status run_best(const Kernel *kernel, void *const *data, whet_error *err) {
    return machine_run(MACHINE_BEST, kernel, data, 0, err);
}

static whet_status run_avx2(const Kernel *kernel, void *const *data, whet_error *err) {
    return machine_run(MACHINE_AVX2, kernel, data, UINT64_MAX, err); /* registers in any order, all inputs constant */
}

static whet_status run_interpreted(const Kernel *kernel, void *const *data, whet_error *err) {
    return machine_run(MACHINE_INTERPRETED, kernel, data, 0, err);
}

static const Engine engines[] = {
    {"evaluator", run_evaluator, true},         {"C", run_c, false},
    {"C without vectors", run_plain_c, false},  {"machine code", run_best, false},
    {"machine code for AVX2", run_avx2, false}, {"interpreted vector code", run_interpreted, false},
};

/* ---- Cases ---- */

enum { MAX_LINES = 128, MAX_CONSTS = 16 };

/* A `given` or `want` line. */
typedef struct Values {
    char name[64];
    DType type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    double tolerance;
    const char *values; /* behind `=`; NULL: a shape alone */
} Values;

typedef struct Case {
    const char *file;
    int line;
    char name[128];
    Values given[MAX_LINES], want[MAX_LINES];
    int given_count, want_count;
    KernelConst consts[MAX_CONSTS];
    char const_names[MAX_CONSTS][64];
    int const_count;
    bool code;             /* where there is machine code at all, it is made of this kernel */
    const char *errors[8]; /* each must be in the message */
    int error_count;
    Text text;
} Case;

static int failures, refusals; /* of engines, which the evaluator stands in for */

static void complain(const Case *c, const char *format, ...) PRINTF_LIKE(2, 3);
static void complain(const Case *c, const char *format, ...) {
    Text message;
    text_init(&message);
    va_list args;
    va_start(args, format);
    text_vprintf(&message, format, args);
    va_end(args);
    if (!kernel_c.collecting)
        print_error("%s:%d: %s: %s\n", c->file, c->line, c->name, message.data);
    text_free(&message);
    failures++;
}

static const char *skip_space(const char *at) {
    while (*at == ' ')
        at++;
    return at;
}

static const char *read_word(const char *at, char *out, size_t size) {
    size_t n = 0;
    at = skip_space(at);
    while ((isalnum((unsigned char)*at) || *at == '_') && n + 1 < size)
        out[n++] = *at++;
    out[n] = 0;
    return skip_space(at);
}

/* x: f32[2, 3] ~1e-6 = 1 2 3 */
static bool read_values(const char *at, Values *out) {
    char type[16];
    *out = (Values){.rank = -1};
    at = read_word(at, out->name, sizeof out->name);
    if (*at == ':') {
        at = read_word(at + 1, type, sizeof type);
        out->type = dtype_parse(type, strlen(type));
        if (out->type == DT_NONE)
            return false;
    }
    if (*at == '[') {
        at = skip_space(at + 1);
        for (out->rank = 0; *at && *at != ']' && out->rank < WHET_MAX_RANK; at += *at == ',')
            out->dims[out->rank++] = strtoll(at, (char **)&at, 10);
        at = skip_space(at + 1);
    }
    if (*at == '~')
        out->tolerance = strtod(at + 1, (char **)&at);
    at = skip_space(at);
    if (*at == '=')
        out->values = skip_space(at + 1);
    return *at == '=' || *at == 0;
}

static bool read_const(Case *c, const char *at) {
    if (c->const_count == MAX_CONSTS)
        return false;
    char *name = c->const_names[c->const_count];
    at = read_word(at, name, sizeof c->const_names[0]);
    if (*at != '=')
        return false;
    at = skip_space(at + 1);
    bool is_float = strpbrk(at, ".ein") != NULL;
    c->consts[c->const_count++] = (KernelConst){name, is_float, strtod(at, NULL), is_float ? 0 : strtoll(at, NULL, 10)};
    return true;
}

static bool read_line(Case *c, const char *line) {
    if (strncmp(line, "given ", 6) == 0)
        return c->given_count < MAX_LINES && read_values(line + 6, &c->given[c->given_count++]);
    if (strncmp(line, "want ", 5) == 0)
        return c->want_count < MAX_LINES && read_values(line + 5, &c->want[c->want_count++]);
    if (strncmp(line, "const ", 6) == 0)
        return read_const(c, line + 6);
    if (strcmp(line, "code") == 0)
        return c->code = true;
    if (strncmp(line, "error ", 6) == 0) {
        if (c->error_count < (int)COUNT(c->errors))
            c->errors[c->error_count++] = line + 6;
        return true;
    }
    text_put(&c->text, line);
    text_char(&c->text, '\n');
    return true;
}

/* ---- Data ---- */

static bool integer_type(DType type) {
    return dtype_kind(type) == KIND_SIGNED || dtype_kind(type) == KIND_UNSIGNED;
}

static bool read_element(const char **at, DType type, void *data, int64_t index) {
    char *end;
    const char *from = skip_space(*at);
    if (strncmp(from, "true", 4) == 0 || strncmp(from, "false", 5) == 0) {
        data_set(type, data, index, 0, from[0] == 't');
        *at = from + (from[0] == 't' ? 4 : 5);
        return true;
    }
    double f = strtod(from, &end);
    int64_t i = 0;
    if (integer_type(type) || type == DT_BOOL)
        i = type == DT_U64 ? (int64_t)strtoull(from, &end, 10) : strtoll(from, &end, 10);
    if (end == from)
        return false;
    data_set(type, data, index, f, i);
    *at = end;
    return true;
}

/* Numbers; `random SEED`; `all NUMBER`; `count` (0, 1, 2 ...). */
static bool fill(const KernelTensor *tensor, const char *values, void *data) {
    uint64_t state = 1;
    if (strncmp(values, "random ", 7) == 0) {
        state = strtoull(values + 7, NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) | 1;
        data_fill(tensor, data, &state, 0);
        return true;
    }
    bool all = strncmp(values, "all ", 4) == 0, count = strncmp(values, "count", 5) == 0;
    const char *at = all ? values + 4 : values;
    for (int64_t i = 0; i < tensor->count; i++) {
        const char *again = at;
        if (count)
            data_set(tensor->type, data, i, (double)i, i);
        else if (!read_element(all ? &again : &at, tensor->type, data, i))
            return false;
    }
    return all || count || *skip_space(at) == 0;
}

static const Values *find_values(const Values *values, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(values[i].name, name) == 0)
            return &values[i];
    return NULL;
}

/* ---- Running ---- */

static void print_both(const Kernel *kernel, bool bind_again, Text *first, Text *second, Case *c) {
    Arena arena;
    arena_init(&arena, NULL);
    whet_error err = {0};
    kernel_print(kernel, first);
    Kernel *again = kernel_parse(&arena, first->data, first->length, &err);
    if (again && bind_again && kernel_bind(again, NULL, 0, NULL, 0, &err) != WHET_OK)
        again = NULL;
    if (again)
        kernel_print(again, second);
    else
        complain(c, "the printed kernel is refused: %s\n%s", err.message, first->data);
    arena_free(&arena);
}

/* Printed and parsed again, a kernel prints the same. */
static void check_text(const Kernel *kernel, bool bound, Case *c) {
    Text first, second;
    text_init(&first);
    text_init(&second);
    print_both(kernel, bound, &first, &second, c);
    if (second.length && strcmp(first.data, second.data) != 0)
        complain(c, "prints differently the second time:\n%s---\n%s", first.data, second.data);
    text_free(&first);
    text_free(&second);
}

static void check_error(Case *c, whet_status status, const char *message) {
    if (!status)
        complain(c, "no error, but one is wanted: %s", c->errors[0]);
    for (int i = 0; status && i < c->error_count; i++)
        if (!strstr(message, c->errors[i]))
            complain(c, "the error should say '%s':\n%s", c->errors[i], message);
}

static whet_status bind_case(Case *c, Kernel *kernel, whet_error *err) {
    KernelArg args[2 * MAX_LINES];
    int count = 0;
    for (int i = 0; i < c->given_count; i++)
        args[count++] = (KernelArg){c->given[i].name, c->given[i].type, c->given[i].rank, c->given[i].dims};
    for (int i = 0; i < c->want_count; i++)
        args[count++] = (KernelArg){c->want[i].name, c->want[i].type, c->want[i].rank, c->want[i].dims};
    return kernel_bind(kernel, args, count, c->consts, c->const_count, err);
}

static void compare(Case *c, const char *who, const KernelTensor *tensor, const void *got, const void *want, double tolerance) {
    int64_t bad = data_compare(tensor, got, want, tolerance);
    if (bad >= 0)
        complain(c, "%s: element %lld of '%s' is %.17g, not %.17g", who, (long long)bad, tensor->name,
                 data_get(tensor->type, got, bad), data_get(tensor->type, want, bad));
}

static double tolerance_of(DType type) {
    return type == DT_F64 ? 1e-12 : type == DT_F16 ? 2e-3 : type == DT_BF16 ? 1.6e-2 : 1e-6;
}

static void check_wanted(Case *c, const Engine *engine, const Kernel *kernel, void *const *data) {
    for (int i = 0; i < c->want_count; i++) {
        const Values *want = &c->want[i];
        int t = kernel_find_tensor(kernel, want->name);
        if (t < 0 || !want->values) {
            if (t < 0)
                complain(c, "the kernel has no '%s'", want->name);
            continue;
        }
        void *wanted = data_new(&kernel->tensors[t]);
        if (fill(&kernel->tensors[t], want->values, wanted))
            compare(c, engine->name, &kernel->tensors[t], data[t], wanted,
                    engine->exact ? want->tolerance : fmax(want->tolerance, tolerance_of(kernel->tensors[t].type)));
        else
            complain(c, "'%s' has not %lld values", want->name, (long long)kernel->tensors[t].count);
        data_free(wanted);
    }
}

static bool fill_inputs(Case *c, const Kernel *kernel, void **data) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        data[t] = data_new(&kernel->tensors[t]);
        if (t >= kernel->input_count)
            continue;
        const Values *given = find_values(c->given, c->given_count, kernel->tensors[t].name);
        const char *values = given && given->values ? given->values : "random 1";
        if (!fill(&kernel->tensors[t], values, data[t])) {
            complain(c, "'%s' has not %lld values", kernel->tensors[t].name, (long long)kernel->tensors[t].count);
            return false;
        }
    }
    return true;
}

static void run_engine(Case *c, const Engine *engine, const Kernel *kernel, void **data) {
    void *naive[KERNEL_MAX_TENSORS];
    whet_error err = {0};
    for (int t = 0; t < kernel->tensor_count; t++)
        naive[t] = t < kernel->input_count ? data[t] : data_new(&kernel->tensors[t]);
    whet_status status = engine->run(kernel, data, &err);
    if (status == WHET_ERROR_UNSUPPORTED && c->error_count == 0) {
        refusals++;
        if (c->code && strncmp(engine->name, "machine code", 12) == 0 && strcmp(err.message, "no such target here") != 0)
            complain(c, "%s refuses: %s", engine->name, err.message);
        if (getenv("WHET_VERBOSE"))
            print_message("%s:%d: %s: %s refuses: %s\n", c->file, c->line, c->name, engine->name, err.message);
    } else if (status || c->error_count) {
        if (c->error_count && (engine->exact || !status))
            check_error(c, status, err.message);
        else if (!c->error_count)
            complain(c, "%s: %s", engine->name, err.message);
    } else {
        if (!naive_eval(kernel, naive, NULL))
            complain(c, "direct recursion finds an index outside");
        for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
            if (kernel->tensors[t].role == ROLE_OUTPUT)
                compare(c, "against direct recursion", &kernel->tensors[t], data[t], naive[t],
                        tolerance_of(kernel->tensors[t].type));
            if (!data_intact(&kernel->tensors[t], data[t]))
                complain(c, "%s writes around '%s'", engine->name, kernel->tensors[t].name);
        }
        check_wanted(c, engine, kernel, data);
    }
    for (int t = kernel->input_count; t < kernel->tensor_count; t++)
        data_free(naive[t]);
}

static void run_bound(Case *c, const Kernel *kernel) {
    void *data[KERNEL_MAX_TENSORS] = {NULL};
    if (kernel_c.collecting) {
        kernel_c_collect(kernel);
        return;
    }
    check_text(kernel, true, c);
    if (fill_inputs(c, kernel, data))
        for (size_t e = 0; e < (kernel_c.why[0] ? 2 : COUNT(engines)); e++)
            run_engine(c, &engines[e], kernel, data);
    kernel_c.next++;
    for (int t = 0; t < kernel->tensor_count; t++)
        data_free(data[t]);
}

static void run_case(Case *c) {
    Arena arena;
    arena_init(&arena, NULL);
    whet_error err = {0};
    Kernel *kernel = kernel_parse(&arena, c->text.data, c->text.length, &err);
    if (!kernel) {
        if (c->error_count)
            check_error(c, err.status, err.message);
        else
            complain(c, "does not parse: %s", err.message);
    } else {
        if (!kernel_c.collecting)
            check_text(kernel, false, c);
        whet_status status = bind_case(c, kernel, &err);
        if (!status)
            run_bound(c, kernel);
        else if (c->error_count)
            check_error(c, status, err.message);
        else
            complain(c, "does not bind: %s", err.message);
    }
    arena_free(&arena);
}

/* ---- Files ---- */

static int run_file(const char *path) {
    char *content = file_read(path, NULL);
    assert_non_null(content);
    Case *c = NULL;
    int cases = 0, line = 1;
    for (char *at = content, *next; at && *at; at = next, line++) {
        char *end = strchr(at, '\n');
        next = end ? end + 1 : at + strlen(at);
        if (end)
            *end = 0;
        if (strncmp(at, "=== ", 4) == 0) {
            if (c) {
                run_case(c);
                text_free(&c->text);
                free(c);
            }
            c = calloc(1, sizeof *c);
            assert_non_null(c);
            c->file = path;
            c->line = line;
            snprintf(c->name, sizeof c->name, "%s", at + 4);
            text_init(&c->text);
            cases++;
        } else if (c && !read_line(c, at)) {
            complain(c, "line %d cannot be read: %s", line, at);
        }
    }
    if (c) {
        run_case(c);
        text_free(&c->text);
        free(c);
    }
    free(content);
    return cases;
}

static void test_corpus(void **state) {
    (void)state;
    glob_t files;
    assert_int_equal(glob("tests/kernel/*.txt", 0, NULL, &files), 0);
    int cases = 0;
    kernel_c_start();
    for (size_t i = 0; i < files.gl_pathc; i++)
        run_file(files.gl_pathv[i]);
    failures = 0; /* said again with the answers */
    kernel_c_build();
    for (size_t i = 0; i < files.gl_pathc; i++)
        cases += run_file(files.gl_pathv[i]);
    kernel_c_end();
    globfree(&files);
    print_message("%d cases, %d refusals\n", cases, refusals);
    assert_true(cases > 150);
    assert_int_equal(failures, 0);
}

/* ---- What text cases cannot say ---- */

static whet_status parse_status(const char *text, size_t length, whet_error *err) {
    Arena arena;
    arena_init(&arena, NULL);
    bool parsed = kernel_parse(&arena, text, length, err) != NULL;
    arena_free(&arena);
    return parsed ? WHET_OK : err->status;
}

static void repeat(Text *text, const char *piece, int count) {
    for (int i = 0; i < count; i++)
        text_put(text, piece);
}

/* head, then piece * count, then tail */
static void expect_refusal(const char *head, const char *piece, int count, const char *tail, const char *says) {
    Text text;
    whet_error err = {0};
    text_init(&text);
    text_put(&text, head);
    repeat(&text, piece, count);
    text_put(&text, tail);
    assert_int_equal(parse_status(text.data, text.length, &err), WHET_ERROR_FORMAT);
    if (!strstr(err.message, says))
        fail_msg("'%s' is not in: %s", says, err.message);
    text_free(&text);
}

static void test_limits(void **state) {
    (void)state;
    expect_refusal("y[i] = ", "(", 1000000, "x[i]", "nested deeper");
    expect_refusal("y[i] = ", "-", 1000000, "x[i]", "nested deeper");
    expect_refusal("y[i] = x[i]", " + x[i]", 1000000, "", "nested deeper");
    expect_refusal("y[i] = ", "x[", 100000, "i]", "nested deeper");
    expect_refusal("y[i] = gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(gelu_tanh(x[i]", ")",
                   9, "", "more than 65536 operations");
    expect_refusal("", "y[i] = x[i]\n", 2000, "", "more than 1024 definitions");
    expect_refusal("y[", "i, ", 40, "i] = 1", "more than 16 indices");
    expect_refusal("y[i] = ", "z", 300, "[i]", "longer than 255");
    expect_refusal("y[i] = ", "#", 1000000, "", "an operand is wanted");
    expect_refusal("", "\n", 1000000, "", "at least one definition");
}

static void test_many_names(void **state) {
    (void)state;
    Text text;
    whet_error err = {0};
    text_init(&text);
    text_put(&text, "y[i] = 0");
    for (int i = 0; i < KERNEL_MAX_TENSORS; i++)
        text_printf(&text, " + x%d[i]", i);
    assert_int_equal(parse_status(text.data, text.length, &err), WHET_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "more than 64 tensors"));
    text_clear(&text);
    text_put(&text, "y[i] = sum(a0");
    for (int i = 1; i < KERNEL_MAX_AXES; i++)
        text_printf(&text, ", a%d", i);
    text_put(&text, ") x[i]");
    assert_int_equal(parse_status(text.data, text.length, &err), WHET_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "more than 32 axes"));
    text_free(&text);
}

static void test_no_error_wanted(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    assert_null(kernel_parse(&arena, "y[i] = $", 8, NULL));
    assert_null(kernel_parse(&arena, "y[i] = x[i]\0;", 13, NULL));
    Kernel *kernel = kernel_parse(&arena, "y[i] = x[i] & 1", 15, NULL);
    assert_non_null(kernel);
    const KernelConst n = {"i", false, 3, 3};
    assert_int_equal(kernel_bind(kernel, NULL, 0, &n, 1, NULL), WHET_ERROR_FORMAT);
    arena_free(&arena);
}

static void test_place(void **state) {
    (void)state;
    whet_error err = {0};
    const char *text = "y[i] = x[i]\n\tz[i] = x[i] + * 3\n";
    assert_int_equal(parse_status(text, strlen(text), &err), WHET_ERROR_FORMAT);
    assert_string_equal(err.message, "line 2, column 16: an operand is wanted here\n"
                                     "     z[i] = x[i] + * 3\n"
                                     "                   ^");
}

/* info.c writes the names a second time, in lower case. */
static void test_table(void **state) {
    (void)state;
#define X(op, symbol, precedence, arity, types, result, flops) #op,
    static const char *const upper[] = {EXPR_OPS(X)};
#undef X
    for (int op = 0; op < EXPR_OP_COUNT; op++) {
        assert_non_null(expr_info[op].name);
        assert_int_equal(strlen(upper[op]), strlen(expr_info[op].name));
        for (size_t i = 0; upper[op][i]; i++)
            assert_int_equal(tolower((unsigned char)upper[op][i]), expr_info[op].name[i]);
    }
}

static void test_deadline(void **state) {
    (void)state;
    static const char text[] = "y[i:1] = sum(j:1000000000, k:1000000000) f32(j) * f32(k)";
    Arena arena;
    arena_init(&arena, NULL);
    whet_error err = {0};
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, NULL, 0, NULL, 0, &err), WHET_OK);
    float y;
    void *data[1] = {&y};
    EvalOptions options = {.deadline = 1e-3}; /* long past */
    assert_int_equal(kernel_eval(kernel, data, &options, &err), WHET_ERROR_LIMIT);
    arena_free(&arena);
}

/* ---- Allocation that fails ---- */

static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "in x: f32[40, 50]\nt[r] = max(j) x[r, j]\n"
                               "y[r, j] = gelu(x[r, j] - t[r]) / (sum(j) exp(x[r, j] - t[r]))";
    static float x[2000], y[2000];
    for (int limit = 0, done = 0; !done; limit++) {
        Countdown countdown = {.left = limit, .rest = true};
        whet_allocator allocator = countdown_allocator(&countdown);
        EvalOptions options = {.allocator = &allocator};
        Arena arena;
        arena_init(&arena, &allocator);
        whet_error err = {0};
        Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
        whet_status status = kernel ? kernel_bind(kernel, NULL, 0, NULL, 0, &err) : err.status;
        void *data[3] = {x, NULL, y};
        if (!status)
            status = kernel_eval(kernel, data, &options, &err);
        if (status)
            assert_int_equal(status, WHET_ERROR_MEMORY);
        done = status == WHET_OK;
        assert_true(limit < 1000);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),          cmocka_unit_test(test_limits),        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_no_error_wanted), cmocka_unit_test(test_place),         cmocka_unit_test(test_table),
        cmocka_unit_test(test_deadline),        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
