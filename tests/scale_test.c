/* Plans for new sizes: a session that has seen other sizes gives the bits that a fresh session gives, for sizes in any order, and
 * after a few of them makes no plan from the start any more where sizes follow from each other. WHET_SEED and WHET_ROUNDS in the
 * environment choose others; a failure prints the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text_model.h"

#define HEAD "ir 8\nopset 17\ngraph \"g\" {\n"

typedef struct Case {
    const char *name, *graph;
    int most[2]; /* extents of the symbols */
    int misses;  /* plans made from the start, at most, in 40 sizes of the second symbol; -1: any number */
} Case;

static const Case cases[] = {
    {"attention with positions, a mask and LayerNorm",
     HEAD
     "  in %x: f32[batch, length, 32]\n  in %mask: f32[batch, length]\n  constant %positions: f32[96, 32] = hash 1\n"
     "  constant %w: f32[32, 32] = hash 2\n  constant %b: f32[32] = hash 3\n  constant %v: f32[32, 32] = hash 4\n"
     "  constant %zero: s64[1] = {0}\n  constant %one: s64[1] = {1}\n  constant %four: s64[1] = {4}\n  constant %eight: s64[1] = "
     "{8}\n"
     "  constant %wide: s64[1] = {32}\n  constant %axes: s64[2] = {1, 2}\n  constant %scale: f32[] = {2.8284271}\n"
     "  constant %eps: f32[] = {0.00001}\n"
     "  %shape: s64[3] = Shape(%x)\n  %n: s64[1] = Gather(%shape, %zero) {axis = 0}\n  %s: s64[1] = Gather(%shape, %one) {axis = "
     "0}\n"
     "  %heads: s64[4] = Concat(%n, %s, %four, %eight) {axis = 0}\n  %flat: s64[3] = Concat(%n, %s, %wide) {axis = 0}\n"
     "  %p: f32[?, 32] = Slice(%positions, %zero, %s, %zero)\n  %h: f32[batch, ?, 32] = Add(%x, %p)\n"
     "  %mean: f32[batch, ?, 1] = ReduceMean(%h) {axes = [-1]}\n  %d: f32[batch, ?, 32] = Sub(%h, %mean)\n"
     "  %q2: f32[batch, ?, 32] = Mul(%d, %d)\n  %var: f32[batch, ?, 1] = ReduceMean(%q2) {axes = [-1]}\n"
     "  %ve: f32[batch, ?, 1] = Add(%var, %eps)\n  %sd: f32[batch, ?, 1] = Sqrt(%ve)\n  %ln: f32[batch, ?, 32] = Div(%d, %sd)\n"
     "  %mq: f32[batch, ?, 32] = MatMul(%ln, %w)\n  %bq: f32[batch, ?, 32] = Add(%mq, %b)\n"
     "  %rq: f32[?, ?, 4, 8] = Reshape(%bq, %heads)\n  %q: f32[?, 4, ?, 8] = Transpose(%rq) {perm = [0, 2, 1, 3]}\n"
     "  %mk: f32[batch, ?, 32] = MatMul(%ln, %v)\n  %rk: f32[?, ?, 4, 8] = Reshape(%mk, %heads)\n"
     "  %k: f32[?, 4, 8, ?] = Transpose(%rk) {perm = [0, 2, 3, 1]}\n  %vv: f32[?, 4, ?, 8] = Transpose(%rk) {perm = [0, 2, 1, "
     "3]}\n"
     "  %qk: f32[?, 4, ?, ?] = MatMul(%q, %k)\n  %sc: f32[?, 4, ?, ?] = Div(%qk, %scale)\n"
     "  %m4: f32[batch, 1, 1, length] = Unsqueeze(%mask, %axes)\n  %ms: f32[?, 4, ?, ?] = Add(%sc, %m4)\n"
     "  %sm: f32[?, 4, ?, ?] = Softmax(%ms) {axis = -1}\n  %av: f32[?, 4, ?, 8] = MatMul(%sm, %vv)\n"
     "  %t: f32[?, ?, 4, 8] = Transpose(%av) {perm = [0, 2, 1, 3]}\n  %y: f32[?, ?, 32] = Reshape(%t, %flat)\n"
     "  %z: f32[?, ?, 32] = Add(%y, %h)\n  out %z\n}\n",
     {3, 96},
     6},
    {"padded to a multiple of eight, then cut: sizes that are no polynomials",
     HEAD "  in %x: f32[batch, length, 16]\n  constant %eight: s64[1] = {8}\n  constant %one: s64[1] = {1}\n"
          "  constant %zeros: s64[3] = {0, 0, 0}\n  constant %zero: s64[1] = {0}\n  constant %w: f32[16, 24] = hash 5\n"
          "  %shape: s64[3] = Shape(%x)\n  %s: s64[1] = Gather(%shape, %one) {axis = 0}\n  %neg: s64[1] = Neg(%s)\n"
          "  %more: s64[1] = Mod(%neg, %eight)\n  %pads: s64[6] = Concat(%zeros, %zero, %more, %zero) {axis = 0}\n"
          "  %p: f32[?, ?, 16] = Pad(%x, %pads)\n  %m: f32[?, ?, 24] = MatMul(%p, %w)\n"
          "  %r: f32[?, ?, 24] = Softmax(%m) {axis = 1}\n  %y: f32[?, ?, 24] = Slice(%r, %more, %s, %one)\n  out %y\n}\n",
     {2, 70},
     -1},
    {"convolutions with a stride, images of any size",
     HEAD
     "  in %x: f32[1, 3, height, width]\n  constant %w: f32[16, 3, 3, 3] = hash 6\n  constant %v: f32[16, 16, 3, 3] = hash 7\n"
     "  constant %b: f32[16] = hash 8\n"
     "  %a: f32[1, 16, ?, ?] = Conv(%x, %w, %b) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]}\n"
     "  %c: f32[1, 16, ?, ?] = Relu(%a)\n  %d: f32[1, 16, ?, ?] = Conv(%c, %v) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]}\n"
     "  %e: f32[1, 16, ?, ?] = Add(%d, %c)\n  %f: f32[1, 16, ?, ?] = MaxPool(%e) {kernel_shape = [2, 2], strides = [2, 2]}\n"
     "  %y: f32[1, 16, 1, 1] = GlobalAveragePool(%f)\n  out %y\n  out %f\n}\n",
     {40, 40},
     -1},
    {"cut from the middle: half of a size, rounded down, that shows in no shape",
     HEAD "  in %x: f32[batch, length, 8]\n  constant %n: s64[1] = {8}\n"
          "  %c: f32[batch, 8, 8] = CenterCropPad@18(%x, %n) {axes = [1]}\n  %y: f32[batch, 8, 8] = Tanh(%c)\n  out %y\n}\n",
     {2, 97},
     -1},
    {"resized to a fixed length: scales that are quotients, some of them whole numbers",
     HEAD "  in %x: f32[batch, length, 4]\n  constant %sizes: s64[3] = {1, 60, 4}\n"
          "  %r: f32[1, 60, 4] = Resize(%x, _, _, %sizes) {mode = \"linear\"}\n  %y: f32[1, 60, 4] = Relu(%r)\n  out %y\n}\n",
     {1, 60},
     -1},
    {"a mean along the length, whose divisor is a size",
     HEAD "  in %x: f32[batch, length, 24]\n  constant %w: f32[24, 24] = hash 9\n  %m: f32[batch, length, 24] = MatMul(%x, %w)\n"
          "  %r: f32[batch, length, 24] = Relu(%m)\n  %a: f32[batch, 1, 24] = ReduceMean(%r) {axes = [1]}\n"
          "  %d: f32[batch, length, 24] = Sub(%r, %a)\n  %y: f32[batch, length, 24] = Tanh(%d)\n  out %y\n}\n",
     {3, 200},
     6},
    {"three equal layers, which cut what they make by a shape that is computed",
     HEAD "  in %x: f32[batch, length, 24]\n  constant %w: f32[24, 24] = hash 10\n  constant %zero: s64[1] = {0}\n"
          "  constant %one: s64[1] = {1}\n  constant %parts: s64[2] = {3, 8}\n  constant %wide: s64[1] = {24}\n"
          "  %shape: s64[3] = Shape(%x)\n  %n: s64[1] = Gather(%shape, %zero) {axis = 0}\n"
          "  %l: s64[1] = Gather(%shape, %one) {axis = 0}\n  %split: s64[4] = Concat(%n, %l, %parts) {axis = 0}\n"
          "  %flat: s64[3] = Concat(%n, %l, %wide) {axis = 0}\n"
          "  %m0: f32[batch, length, 24] = MatMul(%x, %w)\n  %r0: f32[?, ?, ?, ?] = Reshape(%m0, %split)\n"
          "  %t0: f32[?, ?, ?, ?] = Transpose(%r0) {perm = [0, 2, 1, 3]}\n  %s0: f32[?, ?, ?, ?] = Softmax(%t0) {axis = 2}\n"
          "  %u0: f32[?, ?, ?, ?] = Transpose(%s0) {perm = [0, 2, 1, 3]}\n  %f0: f32[?, ?, 24] = Reshape(%u0, %flat)\n"
          "  %a0: f32[batch, length, 24] = Add(%f0, %x)\n"
          "  %m1: f32[batch, length, 24] = MatMul(%a0, %w)\n  %r1: f32[?, ?, ?, ?] = Reshape(%m1, %split)\n"
          "  %t1: f32[?, ?, ?, ?] = Transpose(%r1) {perm = [0, 2, 1, 3]}\n  %s1: f32[?, ?, ?, ?] = Softmax(%t1) {axis = 2}\n"
          "  %u1: f32[?, ?, ?, ?] = Transpose(%s1) {perm = [0, 2, 1, 3]}\n  %f1: f32[?, ?, 24] = Reshape(%u1, %flat)\n"
          "  %a1: f32[batch, length, 24] = Add(%f1, %a0)\n"
          "  %m2: f32[batch, length, 24] = MatMul(%a1, %w)\n  %r2: f32[?, ?, ?, ?] = Reshape(%m2, %split)\n"
          "  %t2: f32[?, ?, ?, ?] = Transpose(%r2) {perm = [0, 2, 1, 3]}\n  %s2: f32[?, ?, ?, ?] = Softmax(%t2) {axis = 2}\n"
          "  %u2: f32[?, ?, ?, ?] = Transpose(%s2) {perm = [0, 2, 1, 3]}\n  %f2: f32[?, ?, 24] = Reshape(%u2, %flat)\n"
          "  %a2: f32[batch, length, 24] = Add(%f2, %a1)\n"
          "  out %a2\n  out %r1\n}\n",
     {3, 200},
     6},
};

/* ---- Models ---- */

static double scale(void *context, const char *name, const Type *type) {
    return (void)context, (void)name, (void)type, 1;
}

static void load(const Case *c, struct whet_model *out) {
    whet_error err = {0};
    *out = (struct whet_model){.model = graph_parse(c->graph, strlen(c->graph), NULL, &err)};
    if (!out->model)
        fail_msg("%s: %s", c->name, err.message);
    assert_true(text_model_fill_constants(out->model, scale, NULL, 1));
    if (graph_resolve(out->model, &err) || graph_infer(out->model, &err) ||
        !(out->program = program_new(&out->model->arena, out->model->graph, &err)) ||
        !(out->shared = shared_new(out->model, NULL, false, false)))
        fail_msg("%s: %s", c->name, err.message);
}

/* ---- Runs ---- */

typedef struct Answer {
    whet_status status;
    OpValue *values[2];
    int count;
} Answer;

static Answer run(Runner *runner, const struct whet_model *model, const int64_t *size, whet_error *err) {
    const Graph *graph = model->model->graph;
    OpValue *inputs[4] = {0};
    float *data[4] = {0};
    Answer answer = {.count = graph->output_count};
    int64_t symbol[2] = {0};
    for (int i = 0; i < graph->input_count; i++) {
        const Type *type = &graph->inputs[i]->type;
        Tensor t = {.type = WHET_F32, .rank = type->rank, .bytes = 4};
        for (int d = 0; d < t.rank; d++) {
            t.dims[d] = type->dims[d];
            for (int k = 0; k < 2 && !dim_is_number(type->dims[d]); k++) {
                symbol[k] = symbol[k] ? symbol[k] : type->dims[d];
                if (symbol[k] == type->dims[d]) {
                    t.dims[d] = size[k];
                    break;
                }
            }
            t.bytes *= (size_t)t.dims[d];
        }
        t.data = data[i] = malloc(t.bytes);
        for (size_t k = 0; k < t.bytes / 4; k++)
            data[i][k] = (float)((k * 37 + (size_t)i * 11) % 101) / 50 - 1;
        inputs[i] = value_borrow(&runner->pool, &t, err);
    }
    answer.status = runner_run(runner, graph, NULL, inputs, answer.values, err);
    for (int i = 0; i < graph->input_count; i++) {
        value_drop(inputs[i]);
        free(data[i]);
    }
    return answer;
}

static void drop(Answer *answer) {
    for (int o = 0; o < answer->count; o++)
        value_drop(answer->values[o]);
}

static void compare(const Case *c, const Answer *x, const Answer *y, const int64_t *size, uint64_t seed) {
    bool same = x->status == y->status;
    for (int o = 0; same && !x->status && o < x->count; o++) {
        const Tensor *a = &x->values[o]->tensor, *b = &y->values[o]->tensor;
        same = a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
               memcmp(a->data, b->data, a->bytes) == 0;
    }
    if (!same)
        fail_msg("%s: seed %llu: another answer than a fresh session's for sizes %lld, %lld (status %d, fresh %d)", c->name,
                 (unsigned long long)seed, (long long)size[0], (long long)size[1], (int)x->status, (int)y->status);
}

static uint64_t next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* One session for all sizes, and a fresh one for each. */
static void check(const Case *c, const char *target, uint64_t seed, int rounds) {
    struct whet_model model;
    whet_error err = {0};
    whet_options options = {.threads = 1, .target = target};
    Runner warm, fresh;
    uint64_t state = seed;
    load(c, &model);
    if (runner_init(&warm, model.program, model.shared, &options, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < rounds; i++) {
        int64_t size[2];
        for (int k = 0; k < 2; k++) /* also one more than there may be, now and then */
            size[k] = 1 + (int64_t)(next(&state) % (uint64_t)(c->most[k] + (next(&state) % 16 == 0)));
        Answer x = run(&warm, &model, size, &err);
        assert_int_equal(runner_init(&fresh, model.program, model.shared, &options, &err), WHET_OK);
        Answer y = run(&fresh, &model, size, &err);
        compare(c, &x, &y, size, seed);
        drop(&x);
        drop(&y);
        runner_free(&fresh);
    }
    runner_free(&warm);
    shared_free(model.shared);
    model_free(model.model);
}

static void sizes_in_any_order(void **state) {
    (void)state;
    const char *seed = getenv("WHET_SEED"), *rounds = getenv("WHET_ROUNDS");
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i], NULL, seed ? strtoull(seed, NULL, 10) : 7, rounds ? atoi(rounds) : 60);
        Target narrow;
        if (target_named("x86-avx2", &narrow) && narrow.runs_here)
            check(&cases[i], narrow.name, seed ? strtoull(seed, NULL, 10) : 8, rounds ? atoi(rounds) : 20);
    }
}

/* Lengths that grow, which is what is hardest on plans made ahead, and then all once more. */
static void few_plans_from_the_start(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct whet_model model;
        whet_error err = {0};
        whet_options options = {.threads = 1};
        Runner warm;
        if (cases[i].misses < 0)
            continue;
        load(&cases[i], &model);
        assert_int_equal(runner_init(&warm, model.program, model.shared, &options, &err), WHET_OK);
        if (!warm.has_target)
            skip();
        for (int64_t size = 2; size < 84; size++) {
            Answer x = run(&warm, &model, (int64_t[]){2, size <= 42 ? 2 * size : 85 - size}, &err);
            assert_int_equal(x.status, WHET_OK);
            drop(&x);
        }
        const PlanCache *cache = &warm.plans[model.program->graphs[0].steps[0].cache];
        print_message("%s: %zu plans from the start, %zu of these\n", cases[i].name, cache->planned, cache->scaled);
        assert_true(cache->planned <= (size_t)cases[i].misses);
        assert_true(cache->scaled > 70);
        size_t code = shared_code_made(model.shared);
        for (int64_t size = 30; size < 40; size++) { /* seen before, but no longer kept: no plan, and no code */
            Answer x = run(&warm, &model, (int64_t[]){2, size}, &err);
            drop(&x);
        }
        assert_true(cache->planned <= (size_t)cases[i].misses);
        assert_int_equal(shared_code_made(model.shared), code);
        runner_free(&warm);
        shared_free(model.shared);
        model_free(model.model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_in_any_order),
        cmocka_unit_test(few_plans_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
