/* bf16 as a precision: whole models under whet_options.precision, by every engine there is here, fused and node by node, against
 * the evaluator, which computes what the notation says; and models whose weights are stored as bf16 or f16.
 *
 * An f32 that differs in its last bit may be rounded to another bf16, so answers agree within a fraction of what bf16 is off:
 * ENGINES of the norm, where bf16 itself is off by more than LEAST and less than MOST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "text_model.h"

static const double ENGINES = 4e-3, LEAST = 1e-5, MOST = 3e-2;

/* Large enough that sums of products matter, small enough that activations do not saturate. */
static double scale_of(void *context, const char *name, const Type *type) {
    (void)context, (void)name;
    return type->rank >= 2 ? 1 / sqrt((double)type->dims[0] * (type->rank > 2 ? 9 : 1)) : 0.5;
}

/* A model of tests/whole, its f32 as `type`. */
static whet_model *load(const char *name, const char *type, const whet_options *options) {
    char path[256];
    snprintf(path, sizeof path, "tests/whole/%s.txt", name);
    char *text = file_read(path, NULL);
    if (!text)
        fail_msg("%s cannot be read", path);
    Text to;
    text_init(&to);
    for (const char *whole = text; *whole;) {
        bool is_f32 = strncmp(whole, "f32[", 4) == 0;
        text_put_n(&to, is_f32 ? type : whole, is_f32 ? strlen(type) : 1);
        whole += is_f32 ? 3 : 1;
    }
    whet_error err = {0};
    whet_model *model = text_model_load(to.data, to.length, scale_of, NULL, 7, options, &err);
    if (!model)
        fail_msg("%s as %s: %s", name, type, err.message);
    free(text);
    text_free(&to);
    return model;
}

enum { MOST_NUMBERS = 1 << 16, INPUTS = 4 };
typedef struct Answer {
    double number[MOST_NUMBERS];
    int count;
} Answer;

/* All outputs for inputs of one seed, batch 2 and 21 of all else that is open. */
static void run(const whet_model *model, const char *what, const whet_options *options, Answer *out) {
    whet_error err = {0};
    whet_session *session = NULL;
    void *data[INPUTS] = {NULL};
    whet_status status = whet_session_new(model, options, &session, &err);
    for (int i = 0; !status && i < whet_model_input_count(model); i++) {
        whet_value_info info;
        assert_true(i < INPUTS && whet_model_input(model, i, &info) == WHET_OK);
        whet_tensor t = {.type = info.type, .rank = info.rank};
        for (int d = 0; d < t.rank; d++)
            t.dims[d] = info.dims[d] >= 0 ? info.dims[d] : d == 0 ? 2 : 21;
        t.bytes = (size_t)whet_tensor_count(&t) * whet_type_bits(t.type) / 8;
        t.data = data[i] = malloc(t.bytes + 1);
        assert_non_null(t.data);
        text_model_fill(&t, 1, 5 + (uint64_t)i);
        status = whet_session_set_input(session, info.name, &t, &err);
    }
    for (int i = 0; !status && i < 2; i++) /* the second runs from packed weights */
        status = whet_session_run(session, &err);
    out->count = 0;
    for (int o = 0; !status && o < whet_model_output_count(model); o++) {
        whet_tensor t;
        status = whet_session_output(session, o, &t, &err);
        for (int64_t i = 0; !status && i < whet_tensor_count(&t) && out->count < MOST_NUMBERS; i++)
            out->number[out->count++] = whet_tensor_get(&t, i);
    }
    if (status)
        fail_msg("%s: %s", what, err.message);
    whet_session_free(session);
    for (int i = 0; i < INPUTS; i++)
        free(data[i]);
}

static double difference(const Answer *a, const Answer *b) {
    double off = 0, all = 1e-30;
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        off += (a->number[i] - b->number[i]) * (a->number[i] - b->number[i]);
        all += b->number[i] * b->number[i];
    }
    return sqrt(off / all);
}

static Answer wanted, got;

static void check_engines(const char *name, const char *type, whet_precision precision) {
    static const char *const targets[] = {NULL, "x86-avx2", "x86-avx512", "arm64"};
    whet_options options = {.precision = precision, .target = "evaluator"};
    whet_model *model = load(name, type, &options);
    run(model, name, &options, &wanted);
    whet_model_free(model);
    for (size_t t = 0; t < COUNT(targets); t++)
        for (int how = 0; how < 3; how++) {
            whet_options mine = {.precision = precision, .target = targets[t], .no_fuse = how == 1, .threads = how == 2 ? 2 : 1};
            Target here;
            if (targets[t] && (!target_named(targets[t], &here) || !here.runs_here))
                continue;
            model = load(name, type, &mine);
            run(model, name, &mine, &got);
            double off = difference(&got, &wanted);
            if (!(off <= ENGINES))
                fail_msg("%s as %s on %s, %s: off by %.3g", name, type, targets[t] ? targets[t] : "the best target",
                         how ? how == 1 ? "node by node" : "two threads" : "fused", off);
            whet_model_free(model);
        }
}

static const char *const models[] = {"attention", "transformer", "convolutions", "recurrent"};

static void f32_models_in_bf16(void **state) {
    (void)state;
    for (size_t m = 0; m < COUNT(models); m++) {
        check_engines(models[m], "f32", WHET_PRECISION_BF16);
        whet_options options = {.precision = WHET_PRECISION_F32};
        whet_model *model = load(models[m], "f32", &options);
        run(model, models[m], &options, &got);
        whet_model_free(model);
        double off = difference(&got, &wanted);
        print_message("%s: f32 and bf16 differ by %.3g\n", models[m], off);
        if (!(off > LEAST && off < MOST))
            fail_msg("%s: f32 and bf16 differ by %.3g", models[m], off);
    }
}

/* What weights of bf16 ask for is what the option asks for; f32 can be asked for. */
static void stored_weights(void **state) {
    (void)state;
    check_engines("transformer", "bf16", WHET_PRECISION_MODEL);
    Answer *model = malloc(sizeof *model);
    assert_non_null(model);
    *model = wanted;
    check_engines("transformer", "bf16", WHET_PRECISION_BF16);
    assert_true(difference(&wanted, model) == 0);
    check_engines("transformer", "bf16", WHET_PRECISION_F32);
    free(model);
    check_engines("transformer", "f16", WHET_PRECISION_MODEL);
    check_engines("transformer", "f16", WHET_PRECISION_BF16);
    check_engines("convolutions", "bf16", WHET_PRECISION_MODEL);
    check_engines("convolutions", "f16", WHET_PRECISION_MODEL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(f32_models_in_bf16), cmocka_unit_test(stored_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
