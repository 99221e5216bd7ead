/* Random graphs, run fused and node by node: the outputs must agree. Elementwise operators, transposes, reshapes, slices, pads,
 * concatenations, splits, reductions, softmax, products (of one value too, and of bytes) and convolutions, in any order; shapes
 * with ones and odd numbers.
 *
 * Sums may run in another order, and functions may be computed once more from what was rounded, so outputs agree within
 * 2e-4 of the largest magnitude. WHET_SEED and WHET_ROUNDS in the environment choose others, WHET_TARGET another target
 * (x86-avx2); a failure prints seed and graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text_model.h"

enum { MOST_VALUES = 64, MOST_DIMS = 5 };

typedef struct Shaped {
    int rank;
    int64_t dims[MOST_DIMS];
    bool read;
} Shaped;

typedef struct Maker {
    Text text, constants;
    uint64_t state;
    Shaped values[MOST_VALUES];
    int count, constant_count, inputs;
    double scale[4 * MOST_VALUES]; /* of float constants */
} Maker;

static uint64_t next(Maker *m) {
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return m->state >> 33;
}

static int pick(Maker *m, int count) {
    return (int)(next(m) % (uint64_t)count);
}

static int64_t elements(const Shaped *s) {
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++)
        count *= s->dims[i];
    return count;
}

/* ---- Text ---- */

static void put_ints(Text *text, const int64_t *values, int count) {
    for (int i = 0; i < count; i++)
        text_printf(text, "%s%lld", i ? ", " : "", (long long)values[i]);
}

static int constant_ints(Maker *m, const int64_t *values, int count) {
    text_printf(&m->constants, "  constant %%c%d: s64[%d] = {", m->constant_count, count);
    put_ints(&m->constants, values, count);
    text_put(&m->constants, "}\n");
    return m->constant_count++;
}

/* The text has a hash of it alone; fill_constants makes the content. */
static int constant_floats(Maker *m, const int64_t *dims, int rank, double scale) {
    text_printf(&m->constants, "  constant %%c%d: f32[", m->constant_count);
    put_ints(&m->constants, dims, rank);
    text_printf(&m->constants, "] = hash %016llx\n", (unsigned long long)next(m));
    m->scale[m->constant_count] = scale;
    return m->constant_count++;
}

/* The new value that the text's line begins with. */
static Shaped *begin(Maker *m, const Shaped *shape) {
    Shaped *s = &m->values[m->count];
    *s = *shape;
    s->read = false;
    text_printf(&m->text, "  %%v%d: f32[", m->count++);
    put_ints(&m->text, s->dims, s->rank);
    text_put(&m->text, "] = ");
    return s;
}

static int any_value(Maker *m) {
    int v = m->count - 1 - pick(m, m->count < 6 ? m->count : 6); /* rather a late one */
    m->values[v].read = true;
    return v;
}

/* ---- Operators ---- */

static void put_unary(Maker *m) {
    static const char *const names[] = {"Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Erf", "Identity", "Softplus"};
    int v = any_value(m);
    begin(m, &m->values[v]);
    text_printf(&m->text, "%s(%%v%d)\n", names[pick(m, COUNT(names))], v);
}

static void put_binary(Maker *m) {
    static const char *const names[] = {"Add", "Sub", "Mul", "Max", "Add"};
    int v = any_value(m), w = -1, constant = -1;
    for (int tries = 0; tries < 8 && w < 0; tries++) {
        int at = pick(m, m->count);
        bool fits = m->values[at].rank == m->values[v].rank;
        for (int i = 0; fits && i < m->values[v].rank; i++)
            fits = m->values[at].dims[i] == m->values[v].dims[i] || m->values[at].dims[i] == 1;
        w = fits ? at : -1;
    }
    const Shaped *s = &m->values[v];
    if (w < 0)
        constant = constant_floats(m, &s->dims[s->rank - 1], pick(m, 2), 1); /* along the last dimension, or a scalar */
    else
        m->values[w].read = true;
    begin(m, s);
    text_printf(&m->text, "%s(%%v%d, %%%c%d)\n", names[pick(m, COUNT(names))], v, w < 0 ? 'c' : 'v', w < 0 ? constant : w);
}

static void put_transpose(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int64_t order[MOST_DIMS];
    for (int i = 0; i < s.rank; i++)
        order[i] = i;
    for (int i = s.rank - 1; i > 0; i--) {
        int k = pick(m, i + 1);
        int64_t swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    for (int i = 0; i < s.rank; i++)
        s.dims[i] = m->values[v].dims[order[i]];
    begin(m, &s);
    text_printf(&m->text, "Transpose(%%v%d) {perm = [", v);
    put_ints(&m->text, order, s.rank);
    text_put(&m->text, "]}\n");
}

/* Splits one dimension or merges two. */
static void put_reshape(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int at = pick(m, s.rank);
    int64_t dim = s.dims[at], factor = dim % 4 == 0 ? 4 : dim % 3 == 0 ? 3 : dim % 2 == 0 ? 2 : 1;
    if (s.rank < MOST_DIMS && pick(m, 2)) {
        memmove(&s.dims[at + 1], &s.dims[at], (size_t)(s.rank - at) * sizeof *s.dims);
        s.dims[at] = dim / factor;
        s.dims[at + 1] = factor;
        s.rank++;
    } else if (s.rank > 2 && at + 1 < s.rank) {
        s.dims[at] *= s.dims[at + 1];
        memmove(&s.dims[at + 1], &s.dims[at + 2], (size_t)(s.rank - at - 2) * sizeof *s.dims);
        s.rank--;
    }
    int shape = constant_ints(m, s.dims, s.rank);
    begin(m, &s);
    text_printf(&m->text, "Reshape(%%v%d, %%c%d)\n", v, shape);
}

static void put_slice(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int64_t axis = pick(m, s.rank), from = pick(m, (int)s.dims[axis]), to = from + 1 + pick(m, (int)(s.dims[axis] - from));
    s.dims[axis] = to - from;
    int starts = constant_ints(m, &from, 1), ends = constant_ints(m, &to, 1), axes = constant_ints(m, &axis, 1);
    begin(m, &s);
    text_printf(&m->text, "Slice(%%v%d, %%c%d, %%c%d, %%c%d)\n", v, starts, ends, axes);
}

/* One place of a dimension, which goes. */
static void put_gather(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int axis = pick(m, s.rank);
    int64_t at = pick(m, 2 * (int)s.dims[axis]) - s.dims[axis];
    if (s.rank < 3)
        return;
    memmove(&s.dims[axis], &s.dims[axis + 1], (size_t)(s.rank-- - axis - 1) * sizeof *s.dims);
    text_printf(&m->constants, "  constant %%c%d: s64[] = {%lld}\n", m->constant_count, (long long)at);
    begin(m, &s);
    text_printf(&m->text, "Gather(%%v%d, %%c%d) {axis = %d}\n", v, m->constant_count++, axis);
}

static void put_pad(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int64_t pads[2 * MOST_DIMS] = {0};
    int axis = pick(m, s.rank);
    pads[axis] = pick(m, 3);
    pads[s.rank + axis] = pick(m, 3);
    s.dims[axis] += pads[axis] + pads[s.rank + axis];
    int constant = constant_ints(m, pads, 2 * s.rank);
    begin(m, &s);
    text_printf(&m->text, "Pad(%%v%d, %%c%d)\n", v, constant);
}

static void put_concat(Maker *m) {
    int v = any_value(m), w = v;
    for (int tries = 0; tries < 8; tries++) {
        int at = pick(m, m->count);
        if (m->values[at].rank == m->values[v].rank &&
            memcmp(m->values[at].dims, m->values[v].dims, (size_t)m->values[v].rank * sizeof(int64_t)) == 0)
            w = at;
    }
    m->values[w].read = true;
    Shaped s = m->values[v];
    int axis = pick(m, s.rank);
    if (elements(&s) > 20000)
        return;
    s.dims[axis] *= 2;
    begin(m, &s);
    text_printf(&m->text, "Concat(%%v%d, %%v%d) {axis = %d}\n", v, w, axis);
}

static void put_reduce(Maker *m) {
    static const char *const names[] = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"};
    int v = any_value(m);
    Shaped s = m->values[v];
    int axis = pick(m, 3) ? s.rank - 1 : pick(m, s.rank);
    s.dims[axis] = 1;
    begin(m, &s);
    text_printf(&m->text, "%s(%%v%d) {axes = [%d], keepdims = 1}\n", names[pick(m, COUNT(names))], v, axis);
}

static void put_softmax(Maker *m) {
    int v = any_value(m);
    begin(m, &m->values[v]);
    text_printf(&m->text, "Softmax(%%v%d) {axis = %d}\n", v, pick(m, 3) ? -1 : pick(m, m->values[v].rank));
}

static void put_matmul(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v];
    int64_t dims[2] = {s.dims[s.rank - 1], 1 + pick(m, 24)};
    if (s.rank < 2 || dims[0] > 200)
        return;
    int constant = constant_floats(m, dims, 2, 1 / sqrt((double)dims[0]));
    s.dims[s.rank - 1] = dims[1];
    begin(m, &s);
    text_printf(&m->text, "MatMul(%%v%d, %%c%d)\n", v, constant);
}

/* A product with a constant of [depth, the last dimension of s]; `quantized`: of bytes, with a scale and a zero point of its own.
 */
static void put_product(Maker *m, int v, int quantized, int64_t depth, const Shaped *s) {
    int64_t dims[2] = {depth, s->dims[s->rank - 1]};
    int w = constant_floats(m, dims, 2, 1 / sqrt((double)depth)), n = m->count;
    if (quantized < 0) {
        begin(m, s);
        text_printf(&m->text, "MatMul(%%v%d, %%c%d)\n", v, w);
        return;
    }
    bool sign = pick(m, 2);
    text_printf(&m->constants, "  constant %%w%d: %s[%lld, %lld] = hash 1\n  constant %%z%d: %s[] = {%d}\n", n,
                sign ? "s8" : "u8", (long long)dims[0], (long long)dims[1], n, sign ? "s8" : "u8", sign ? 0 : 100 + pick(m, 4));
    text_printf(&m->constants, "  constant %%s%d: f32[] = {0.0%d}\n", n, 1 + pick(m, 3));
    text_printf(&m->text, "  %%t%d: f32[] = Mul(%%r%d, %%s%d)\n  %%i%d: ? = MatMulInteger(%%q%d, %%w%d, %%o%d, %%z%d)\n", n,
                quantized, n, n, quantized, n, quantized, n);
    text_printf(&m->text, "  %%f%d: ? = Cast(%%i%d) {to = 1}\n", n, n);
    begin(m, s);
    text_printf(&m->text, "Mul(%%f%d, %%t%d)\n", n, n);
}

/* The first times the second, turned. */
static void put_product_of(Maker *m, int first, int second) {
    Shaped t = m->values[second];
    int64_t order[MOST_DIMS];
    for (int i = 0; i < t.rank; i++) {
        order[i] = i < t.rank - 2 ? i : 2 * t.rank - 3 - i;
        t.dims[i] = m->values[second].dims[order[i]];
    }
    begin(m, &t)->read = true;
    text_printf(&m->text, "Transpose(%%v%d) {perm = [", second);
    put_ints(&m->text, order, t.rank);
    text_put(&m->text, "]}\n");
    Shaped s = m->values[first];
    s.dims[s.rank - 1] = t.dims[t.rank - 1];
    begin(m, &s);
    text_printf(&m->text, "MatMul(%%v%d, %%v%d)\n", first, m->count - 2);
}

/* The first opens the second. */
static void put_gate_of(Maker *m, int first, int second) {
    static const char *const names[] = {"Sigmoid", "Relu", "Tanh"};
    const char *name = names[pick(m, COUNT(names))];
    bool twice = pick(m, 2);
    begin(m, &m->values[first])->read = true;
    text_printf(&m->text, "%s(%%v%d)\n", name, first);
    if (twice) {
        begin(m, &m->values[first])->read = true;
        text_printf(&m->text, "Mul(%%v%d, %%v%d)\n", first, m->count - 2);
    }
    begin(m, &m->values[first]);
    text_printf(&m->text, "Mul(%%v%d, %%v%d)\n", m->count - 2, second);
}

/* Products of one value, which may become one: of floats, or of an input's bytes; each with a bias or none of them. */
static void put_siblings(Maker *m) {
    bool bytes = pick(m, 3) == 0, bias = pick(m, 2), equal = pick(m, 2);
    int v = bytes ? pick(m, m->inputs) : any_value(m), count = 2 + pick(m, 2), product[3] = {0},
        quantized = bytes ? m->count : -1;
    Shaped s = m->values[v];
    int64_t depth = s.dims[s.rank - 1], width = 1 + pick(m, 40);
    if (s.rank < 2 || s.rank == MOST_DIMS || depth > 200 || s.dims[s.rank - 2] > 64 || m->count + 10 > MOST_VALUES)
        return;
    m->values[v].read = true;
    if (bytes)
        text_printf(&m->text, "  %%q%d: ?, %%r%d: ?, %%o%d: ? = DynamicQuantizeLinear(%%v%d)\n", quantized, quantized, quantized,
                    v);
    for (int i = 0; i < count; i++) {
        s.dims[s.rank - 1] = equal || i < 2 ? width : 1 + pick(m, 40);
        put_product(m, v, quantized, depth, &s);
        if (bias) {
            int b = constant_floats(m, &s.dims[s.rank - 1], 1, 1);
            m->values[m->count - 1].read = true;
            begin(m, &s);
            text_printf(&m->text, "Add(%%v%d, %%c%d)\n", m->count - 2, b);
        }
        product[i] = m->count - 1;
        m->values[product[i]].read = i < 2;
    }
    if (pick(m, 2))
        put_gate_of(m, product[0], product[1]);
    else
        put_product_of(m, product[0], product[1]);
}

/* x times its own transpose, over the last two dimensions. */
static void put_scores(Maker *m) {
    int v = any_value(m);
    Shaped s = m->values[v], t = s;
    int64_t order[MOST_DIMS];
    if (s.rank < 2 || s.dims[s.rank - 2] > 64)
        return;
    for (int i = 0; i < s.rank; i++)
        order[i] = i < s.rank - 2 ? i : 2 * s.rank - 3 - i;
    t.dims[s.rank - 2] = s.dims[s.rank - 1];
    t.dims[s.rank - 1] = s.dims[s.rank - 2];
    begin(m, &t)->read = true;
    text_printf(&m->text, "Transpose(%%v%d) {perm = [", v);
    put_ints(&m->text, order, s.rank);
    text_put(&m->text, "]}\n");
    s.dims[s.rank - 1] = s.dims[s.rank - 2];
    begin(m, &s);
    text_printf(&m->text, "MatMul(%%v%d, %%v%d)\n", v, m->count - 2);
}

static void put_conv_of(Maker *m, int v, int64_t out, int64_t groups) {
    Shaped s = m->values[v];
    int64_t dims[4] = {out, s.dims[1] / groups, 3, 3};
    int w = constant_floats(m, dims, 4, 1 / sqrt(9.0 * (double)dims[1])), b = constant_floats(m, &out, 1, 1);
    s.dims[1] = out;
    begin(m, &s);
    text_printf(&m->text, "Conv(%%v%d, %%c%d, %%c%d) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = %lld}\n", v, w, b,
                (long long)groups);
}

static void put_conv(Maker *m) {
    int v = any_value(m);
    const Shaped *s = &m->values[v];
    if (s->rank == 4 && s->dims[1] <= 40) {
        bool deep = pick(m, 3) == 0;
        put_conv_of(m, v, deep ? s->dims[1] : 1 + pick(m, 20), deep ? s->dims[1] : 1);
    }
}

static void put_reshape_of(Maker *m, int v, const Shaped *shape) {
    m->values[v].read = true;
    int constant = constant_ints(m, shape->dims, shape->rank);
    begin(m, shape);
    text_printf(&m->text, "Reshape(%%v%d, %%c%d)\n", v, constant);
}

/* Images of many channels under other shapes: channels in groups, those turned round, and pixels as one dimension. */
static void put_shuffle(Maker *m) {
    int v = any_value(m), groups = 2 + pick(m, 2);
    Shaped s = m->values[v];
    if (s.rank != 4 || s.dims[1] > 40 || m->count + 8 > MOST_VALUES || elements(&s) / s.dims[1] > 1000)
        return;
    int64_t channels = (groups == 2 ? 8 : 6) * (2 + pick(m, 3));
    put_conv_of(m, v, channels, 1);
    s = m->values[m->count - 1];
    Shaped grouped = {.rank = 5, .dims = {s.dims[0], groups, channels / groups, s.dims[2], s.dims[3]}};
    bool flat = pick(m, 3) == 0; /* as exporters of older models write it */
    if (flat)
        grouped = (Shaped){.rank = 4, .dims = {s.dims[0], groups, channels / groups, s.dims[2] * s.dims[3]}};
    put_reshape_of(m, m->count - 1, &grouped);
    grouped.dims[1] = channels / groups;
    grouped.dims[2] = groups;
    m->values[m->count - 1].read = true;
    begin(m, &grouped);
    text_printf(&m->text, "Transpose(%%v%d) {perm = [%s]}\n", m->count - 2, flat ? "0, 2, 1, 3" : "0, 2, 1, 3, 4");
    if (pick(m, 4) == 0)
        return;
    put_reshape_of(m, m->count - 1, &s);
    if (pick(m, 2))
        put_conv_of(m, m->count - 1, channels, pick(m, 2) ? channels : 1);
    if (pick(m, 3) == 0)
        put_reshape_of(m, m->count - 1, &(Shaped){.rank = 3, .dims = {s.dims[0], channels, s.dims[2] * s.dims[3]}});
}

static void put_operator(Maker *m) {
    static void (*const put[])(Maker *) = {put_unary,     put_unary,   put_binary,   put_binary,  put_binary,
                                           put_transpose, put_reshape, put_slice,    put_pad,     put_concat,
                                           put_reduce,    put_reduce,  put_softmax,  put_matmul,  put_scores,
                                           put_conv,      put_conv,    put_siblings, put_shuffle, put_gather};
    put[pick(m, COUNT(put))](m);
}

/* A graph of up to `nodes` operators; what nobody reads is an output, and some of the rest. */
static void make_graph(Maker *m, uint64_t seed, int nodes) {
    static const int64_t extents[] = {1, 2, 3, 4, 5, 8, 12, 16, 17, 33};
    m->state = seed * 0x9e3779b97f4a7c15u + 1;
    m->count = m->constant_count = 0;
    text_clear(&m->text);
    text_clear(&m->constants);
    Text inputs;
    text_init(&inputs);
    int input_count = 1 + pick(m, 2);
    for (int i = 0; i < input_count; i++) {
        Shaped *s = &m->values[m->count];
        *s = (Shaped){.rank = 2 + pick(m, 3)};
        for (int d = 0; d < s->rank; d++)
            s->dims[d] = extents[pick(m, COUNT(extents))];
        while (elements(s) > 20000)
            s->dims[pick(m, s->rank)] = 2;
        text_printf(&inputs, "  in %%v%d: f32[", m->count++);
        put_ints(&inputs, s->dims, s->rank);
        text_put(&inputs, "]\n");
    }
    m->inputs = input_count;
    while (nodes-- > 0 && m->count + 2 < MOST_VALUES)
        if (elements(&m->values[m->count - 1]) < 100000)
            put_operator(m);
    for (int v = input_count; v < m->count; v++)
        if (!m->values[v].read || pick(m, 10) == 0 || v == m->count - 1)
            text_printf(&m->text, "  out %%v%d\n", v);
    text_put(&m->text, "}\n");
    Text whole;
    text_init(&whole);
    text_printf(&whole, "ir 8\nopset 17\ngraph \"random\" {\n%s%s%s", inputs.data, m->constants.data, m->text.data);
    text_free(&inputs);
    text_free(&m->text);
    m->text = whole;
}

/* ---- Running ---- */

static double scale_of(void *context, const char *name, const Type *type) {
    return type->type == DT_F32 ? ((const Maker *)context)->scale[atoi(name + 1)] : 0;
}

static whet_model *load(Maker *m, whet_error *err) {
    whet_options options = {.exact = 1};
    return text_model_load(m->text.data, m->text.length, scale_of, m, m->state, &options, err);
}

typedef struct Given {
    whet_tensor tensors[4];
    int count;
} Given;

static void make_inputs(const whet_model *model, Given *given, uint64_t seed) {
    given->count = whet_model_input_count(model);
    for (int i = 0; i < given->count; i++) {
        whet_value_info info;
        assert_int_equal(whet_model_input(model, i, &info), WHET_OK);
        whet_tensor *t = &given->tensors[i];
        *t = (whet_tensor){.type = info.type, .rank = info.rank};
        memcpy(t->dims, info.dims, sizeof t->dims);
        int64_t count = whet_tensor_count(t);
        t->bytes = (size_t)count * 4;
        t->data = malloc(t->bytes + 1);
        for (int64_t k = 0; k < count; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            ((float *)t->data)[k] = (float)(seed >> 40) / (1 << 23) - 1;
        }
    }
}

static whet_session *run(const whet_model *model, const Given *given, const whet_options *options, whet_error *err) {
    whet_session *session = NULL;
    if (whet_session_new(model, options, &session, err))
        return NULL;
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < given->count; i++) {
        whet_value_info info;
        whet_model_input(model, i, &info);
        status = whet_session_set_input(session, info.name, &given->tensors[i], err);
    }
    for (int times = 0; !status && times < 2; times++) /* the second run finds its plan */
        status = whet_session_run(session, err);
    if (status) {
        whet_session_free(session);
        return NULL;
    }
    return session;
}

/* NULL: they agree. */
static const char *compare(const whet_tensor *a, const whet_tensor *b, char *message, size_t size) {
    if (a->rank != b->rank || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) != 0)
        return "another shape";
    const float *x = a->data, *y = b->data;
    int64_t count = whet_tensor_count(a);
    double most = 1e-2;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(y[i]) && fabs((double)y[i]) > most)
            most = fabs((double)y[i]);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)x[i] - (double)y[i]) <= 2e-4 * most) && !(isnan(x[i]) && isnan(y[i])) && x[i] != y[i]) {
            snprintf(message, size, "element %lld is %g, node by node %g", (long long)i, (double)x[i], (double)y[i]);
            return message;
        }
    return NULL;
}

/* cmocka's own messages are cut short. */
static void print_graph(const Maker *m, const whet_model *model) {
    char *plan = NULL;
    fputs(m->text.data, stderr);
    if (model && whet_model_show(model, "fused", NULL, 0, &plan, NULL) == WHET_OK)
        fputs(plan, stderr);
    whet_string_free(plan);
}

static void check(Maker *m, uint64_t seed, int nodes, const char *target, int threads) {
    whet_error err = {0};
    char message[200];
    make_graph(m, seed, nodes);
    whet_model *model = load(m, &err);
    if (!model) {
        print_graph(m, NULL);
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    }
    Given given;
    make_inputs(model, &given, seed);
    whet_options fused = {.threads = threads, .target = target}, plain = {.threads = 1, .target = target, .no_fuse = 1};
    whet_session *x = run(model, &given, &fused, &err), *y = x ? run(model, &given, &plain, &err) : NULL;
    if (!x || !y) {
        print_graph(m, model);
        fail_msg("seed %llu, %s: %s", (unsigned long long)seed, x ? "node by node" : "fused", err.message);
    }
    for (int o = 0; o < whet_model_output_count(model); o++) {
        whet_tensor a, b;
        assert_int_equal(whet_session_output(x, o, &a, &err), WHET_OK);
        assert_int_equal(whet_session_output(y, o, &b, &err), WHET_OK);
        const char *wrong = compare(&a, &b, message, sizeof message);
        if (wrong) {
            print_graph(m, model);
            fail_msg("seed %llu, output %s: %s", (unsigned long long)seed, model->model->graph->outputs[o]->name, wrong);
        }
    }
    whet_session_free(x);
    whet_session_free(y);
    for (int i = 0; i < given.count; i++)
        free(given.tensors[i].data);
    whet_model_free(model);
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void check_many(const char *target, int threads, uint64_t rounds) {
    Maker m = {0};
    text_init(&m.text);
    text_init(&m.constants);
    uint64_t first = from_environment("WHET_SEED", 1), count = from_environment("WHET_ROUNDS", rounds);
    print_message("seeds %llu to %llu\n", (unsigned long long)first, (unsigned long long)(first + count - 1));
    for (uint64_t seed = first; seed < first + count; seed++)
        check(&m, seed, 3 + (int)(seed % 30), target, threads);
    text_free(&m.text);
    text_free(&m.constants);
}

static void test_on_this_machine(void **state) {
    (void)state;
    check_many(getenv("WHET_TARGET"), 2, 150);
}

static void test_on_the_evaluator(void **state) {
    (void)state;
    check_many("evaluator", 1, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_on_this_machine), cmocka_unit_test(test_on_the_evaluator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
