/* LSTM, GRU and RNN.
 *
 * For each direction a kernel multiplies the inputs of all steps by W at once; then another is run for each step: the state's
 * product with R, and the gates. This file writes the two in the notation and walks the steps; two directions of small steps
 * walk side by side, one a thread. Everything is computed in f32; other float types are converted on the way in and out.
 *
 *   LSTM  i, o, f = f(gates); c = g(gate); C = f C + i c; H = o h(C)      gates in the order i o f c
 *   GRU   z, r = f(gates); h = g(...); H = (1 - z) h + z H                gates in the order z r h
 *   RNN   H = f(gate)
 */
#include "ops/native.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Activations --------------------------------------------------------------------------------------------------------- */

/* @ is the operand; A and B are alpha and beta. */
static const struct ActivationRow {
    const char *name, *text;
    int parameters; /* 1: alpha; 2: alpha and beta */
    float alpha, beta;
} activation_rows[] = {
    {"relu", "relu(@)", 0, 0, 0},
    {"tanh", "tanh(@)", 0, 0, 0},
    {"sigmoid", "sigmoid(@)", 0, 0, 0},
    {"affine", "(A * (@) + B)", 2, 1, 0},
    {"leakyrelu", "leaky_relu(@, A)", 1, 0.01f, 0},
    {"thresholdedrelu", "thresholded_relu(@, A)", 1, 1, 0},
    {"scaledtanh", "(A * tanh(B * (@)))", 2, 1, 1},
    {"hardsigmoid", "hard_sigmoid(@, A, B)", 2, 0.2f, 0.5f},
    {"elu", "elu(@, A)", 1, 1, 0},
    {"softsign", "softsign(@)", 0, 0, 0},
    {"softplus", "softplus(@)", 0, 0, 0},
};

typedef struct Activation {
    const char *text;
    float alpha, beta;
} Activation;

static bool same_name(Str a, const char *b) {
    for (size_t i = 0; i < a.length; i++) {
        char c = a.data[i] >= 'A' && a.data[i] <= 'Z' ? (char)(a.data[i] + 32) : a.data[i];
        if (c != b[i])
            return false;
    }
    return b[a.length] == 0;
}

/* What tells the three operators apart. */
typedef struct Family {
    const char *name;
    int gates, functions, biases; /* functions: activations a direction */
    const char *defaults[3];
} Family;

static const Family families[] = {
    {"LSTM", 4, 3, 8, {"sigmoid", "tanh", "tanh"}},
    {"GRU", 3, 2, 6, {"sigmoid", "tanh", NULL}},
    {"RNN", 1, 1, 2, {"tanh", NULL, NULL}},
};

static const Family *family_of(const OpCall *call) {
    return &families[call->row->name[0] == 'L' ? 0 : call->row->name[0] == 'G' ? 1 : 2];
}

/* The activations of every direction; alphas and betas are handed out in order to those that take them. */
static whet_status get_activations(OpCall *call, int directions, Activation *out) {
    const Family *family = family_of(call);
    const Attr *names = op_attr(call, "activations");
    const Attr *alphas = op_attr(call, "activation_alpha"), *betas = op_attr(call, "activation_beta");
    size_t alpha = 0, beta = 0, count = (size_t)(directions * family->functions);
    if (names && names->count != count)
        return op_error(call, WHET_ERROR_FORMAT, "%zu activations are given; %zu are wanted", names->count, count);
    for (size_t i = 0; i < count; i++) {
        const char *otherwise = family->defaults[i % (size_t)family->functions];
        Str name = names ? names->strings[i] : (Str){otherwise, strlen(otherwise)};
        const struct ActivationRow *row = NULL;
        for (size_t k = 0; k < COUNT(activation_rows); k++)
            if (same_name(name, activation_rows[k].name))
                row = &activation_rows[k];
        if (!row)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "activation '%.*s' is not known",
                            (int)(name.length < 40 ? name.length : 40), name.data);
        out[i] = (Activation){row->text, row->alpha, row->beta};
        if (row->parameters >= 1 && alphas && alpha < alphas->count)
            out[i].alpha = alphas->floats[alpha++];
        if (row->parameters >= 2 && betas && beta < betas->count)
            out[i].beta = betas->floats[beta++];
    }
    return WHET_OK;
}

/* ---- Shapes -------------------------------------------------------------------------------------------------------------- */

enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P };

enum { FORWARD, REVERSE, BIDIRECTIONAL }; /* in the order of the rows */

static int direction_count(const OpCall *call) {
    return op_choice(call, "direction") == BIDIRECTIONAL ? 2 : 1;
}

static whet_status want(OpCall *call, int input, int rank, const Dim *dims) {
    if (!op_has(call, input) || call->in[input]->rank < 0)
        return WHET_OK;
    const Type *x = call->in[input];
    if (x->rank != rank)
        return op_error(call, WHET_ERROR_DATA, "input %d has rank %d; %d is wanted", input, x->rank, rank);
    for (int d = 0; d < rank; d++)
        if (dim_is_extent(x->dims[d]) && dim_is_extent(dims[d]) && x->dims[d] != dims[d])
            return op_error(call, WHET_ERROR_DATA, "dimension %d of input %d is %lld; %lld is wanted", d, input,
                            (long long)x->dims[d], (long long)dims[d]);
    return WHET_OK;
}

static bool is_batch_first(OpCall *call) {
    return call->row->since >= 14 && op_int(call, "layout");
}

static whet_status recurrent_shape(OpCall *call) {
    const Family *family = family_of(call);
    const Type *x = call->in[IN_X], *r = call->in[IN_R];
    Dim directions = direction_count(call), any = DIM_UNKNOWN;
    Activation activations[6];
    whet_status status = get_activations(call, (int)directions, activations);
    if (status != WHET_OK || x->rank < 0 || r->rank < 0)
        return status;
    bool first = is_batch_first(call);
    Dim hidden = r->rank == 3 ? r->dims[2] : any, steps = x->rank == 3 ? x->dims[first] : any;
    Dim batch = x->rank == 3 ? x->dims[!first] : any, width = x->rank == 3 ? x->dims[2] : any;
    Dim rows = dim_mul(call->symbols, hidden, family->gates), biases = dim_mul(call->symbols, hidden, family->biases);
    Dim state[3] = {first ? batch : directions, first ? directions : batch, hidden};
    const struct {
        int input, rank;
        Dim dims[3];
    } wanted[] = {{IN_X, 3, {any, any, any}},
                  {IN_W, 3, {directions, rows, width}},
                  {IN_R, 3, {directions, rows, hidden}},
                  {IN_B, 2, {directions, biases, 0}},
                  {IN_LENS, 1, {batch, 0, 0}},
                  {IN_H, 3, {state[0], state[1], state[2]}},
                  {IN_C, 3, {state[0], state[1], state[2]}},
                  {IN_P, 2, {directions, dim_mul(call->symbols, hidden, 3), 0}}};
    for (size_t i = 0; status == WHET_OK && i < COUNT(wanted); i++)
        status = want(call, wanted[i].input, wanted[i].rank, wanted[i].dims);
    if (op_attr(call, "hidden_size") && dim_is_extent(hidden) && op_int(call, "hidden_size") != hidden)
        status = op_error(call, WHET_ERROR_DATA, "hidden_size is %lld; wanted %lld, as of the weights",
                          (long long)op_int(call, "hidden_size"), (long long)hidden);
    op_set_shape(call, 0, 4,
                 (const Dim[]){first ? batch : steps, first ? steps : directions, first ? directions : batch, hidden});
    for (int i = 1; i < call->out_count; i++)
        op_set_shape(call, i, 3, state);
    return status;
}

/* ---- The kernels --------------------------------------------------------------------------------------------------------- */

typedef struct Recurrent {
    const Family *family;
    int64_t steps, batch, width, hidden, directions;
    bool batch_first, reverse, input_forget, linear_before_reset;
    float clip;
    const float *x, *w, *r, *bias, *h0, *c0, *peephole; /* NULL: not given */
    const int64_t *lens;
    Activation activations[6];
    float *y, *y_h, *y_c;
    float *products;    /* [steps, batch, gates * hidden]: x W^T and biases, of one direction, like what follows */
    float *taken;       /* [batch, gates * hidden]: those of one step, where sequences differ in length */
    float *h[2], *c[2]; /* [batch, hidden]: before and after a step, in turn */
} Recurrent;

/* Activation `which` of direction d, of the operand that the format writes. */
PRINTF_LIKE(5, 6)
static void put_active(const Recurrent *s, int64_t d, int which, Text *t, const char *format, ...) {
    const Activation *a = &s->activations[s->family->functions * d + which];
    char operand[256];
    va_list args;
    va_start(args, format);
    vsnprintf(operand, sizeof operand, format, args); /* six numbers at the most */
    va_end(args);
    for (const char *at = a->text; *at; at++) {
        if (*at == '@' && s->clip > 0)
            text_printf(t, "clip(%s, %.9g, %.9g)", operand, (double)-s->clip, (double)s->clip);
        else if (*at == '@')
            text_put(t, operand);
        else if (*at == 'A' || *at == 'B')
            text_printf(t, "(%.9g)", (double)(*at == 'A' ? a->alpha : a->beta));
        else
            text_put_n(t, at, 1);
    }
}

/* The inputs of all steps, with the biases that can be added beforehand: a GRU's reset stands between the candidate's product
 * with the state and its bias where it is "linear before reset", so the biases of states wait then. */
static void put_products(const Recurrent *s, int64_t direction, Text *t) {
    long long d = direction, q = s->family->gates * s->hidden, steps = s->steps, batch = s->batch;
    text_printf(t, "in X: f32[%lld, %lld, %lld]\n", s->batch_first ? batch : steps, s->batch_first ? steps : batch,
                (long long)s->width);
    text_printf(t, "in W: f32[%lld, %lld, %lld]\n", (long long)s->directions, q, (long long)s->width);
    if (s->bias)
        text_printf(t, "in B: f32[%lld, %lld]\n", (long long)s->directions, 2 * q);
    text_printf(t, "out p: f32[%lld, %lld, %lld]\n", steps, batch, q);
    text_printf(t, "p[t, b, q] = sum(k) X[%s, k] * W[%lld, q, k]", s->batch_first ? "b, t" : "t, b", d);
    if (s->bias)
        text_printf(t, " + B[%lld, q + 0]", d);
    if (s->bias && !s->linear_before_reset)
        text_printf(t, " + B[%lld, q + %lld]", d, q);
}

static void put_lstm(const Recurrent *s, int64_t direction, Text *t) {
    static const struct {
        const char *name;
        int gate;
        bool after;
    } gates[] = {{"i", 0, false}, {"f", 2, false}, {"o", 1, true}};
    long long d = direction, n = s->hidden;
    text_printf(t, "g[b, q] = p[b, q] + sum(k) h[b, k] * R[%lld, q, k]\n", d);
    for (int i = 0; i < 3; i++) {
        long long from = n * gates[i].gate;
        if (gates[i].after) { /* its peephole looks at the new cell */
            text_put(t, "c2[b, j] = f[b, j] * c[b, j] + i[b, j] * ");
            put_active(s, d, 1, t, "g[b, j + %lld]", 3 * n);
            text_put(t, "\n");
        }
        text_printf(t, "%s[b, j:%lld] = ", gates[i].name, n);
        if (gates[i].gate == 2 && s->input_forget)
            text_put(t, "1 - i[b, j]");
        else if (s->peephole)
            put_active(s, d, 0, t, "g[b, j + %lld] + P[%lld, j + %lld] * %s[b, j]", from, d, from, gates[i].after ? "c2" : "c");
        else
            put_active(s, d, 0, t, "g[b, j + %lld]", from);
        text_put(t, "\n");
    }
    text_put(t, "h2[b, j] = o[b, j] * ");
    put_active(s, d, 2, t, "c2[b, j]");
}

static void put_gru(const Recurrent *s, int64_t direction, Text *t) {
    long long d = direction, n = s->hidden;
    if (s->linear_before_reset) {
        text_printf(t, "g[b, q] = sum(k) h[b, k] * R[%lld, q, k]", d);
        if (s->bias)
            text_printf(t, " + B[%lld, q + %lld]", d, 3 * n);
        text_printf(t, "\nzr[b, q:%lld] = ", 2 * n);
        put_active(s, d, 0, t, "p[b, q + 0] + g[b, q + 0]");
        text_printf(t, "\nn[b, j:%lld] = ", n);
        put_active(s, d, 1, t, "p[b, j + %lld] + zr[b, j + %lld] * g[b, j + %lld]", 2 * n, n, 2 * n);
    } else {
        text_printf(t, "zr[b, q:%lld] = ", 2 * n);
        put_active(s, d, 0, t, "p[b, q + 0] + sum(k) h[b, k] * R[%lld, q + 0, k]", d);
        text_printf(t, "\nrh[b, k] = zr[b, k + %lld] * h[b, k]\nn[b, j:%lld] = ", n, n);
        put_active(s, d, 1, t, "p[b, j + %lld] + sum(k) rh[b, k] * R[%lld, j + %lld, k]", 2 * n, d, 2 * n);
    }
    text_put(t, "\nh2[b, j] = (1 - zr[b, j + 0]) * n[b, j] + zr[b, j + 0] * h[b, j]");
}

static void put_rnn(const Recurrent *s, int64_t d, Text *t) {
    text_put(t, "h2[b, j] = ");
    put_active(s, d, 0, t, "p[b, j] + sum(k) h[b, k] * R[%lld, j, k]", (long long)d);
}

/* One step. Heads in the order of run_step's data. */
static void put_step(const Recurrent *s, int64_t d, Text *t) {
    long long n = s->hidden, batch = s->batch, gates = s->family->gates, directions = s->directions;
    text_printf(t, "in p: f32[%lld, %lld]\nin h: f32[%lld, %lld]\n", batch, gates * n, batch, n);
    text_printf(t, "in R: f32[%lld, %lld, %lld]\n", directions, gates * n, n);
    if (s->linear_before_reset && s->bias)
        text_printf(t, "in B: f32[%lld, %lld]\n", directions, 2 * gates * n);
    if (gates == 4)
        text_printf(t, "in c: f32[%lld, %lld]\n", batch, n);
    if (s->peephole)
        text_printf(t, "in P: f32[%lld, %lld]\n", directions, 3 * n);
    if (gates == 4)
        text_printf(t, "out c2: f32[%lld, %lld]\n", batch, n);
    text_printf(t, "out h2: f32[%lld, %lld]\n", batch, n);
    (gates == 4 ? put_lstm : gates == 3 ? put_gru : put_rnn)(s, d, t);
}

/* ---- Steps --------------------------------------------------------------------------------------------------------------- */

typedef void PutKernel(const Recurrent *s, int64_t d, Text *t);

static const OpKernel *get_kernel(OpRun *run, const Recurrent *s, int64_t d, int which, PutKernel *put) {
    const OpKernel *kernel = op_kernel_made(run, (int)(2 * d) + which);
    if (kernel)
        return kernel;
    Text text;
    text_init(&text);
    put(s, d, &text);
    kernel = op_kernel(run, (int)(2 * d) + which, &text);
    text_free(&text);
    return kernel;
}

static whet_status make_products(OpRun *run, const Recurrent *s, int64_t d) {
    const OpKernel *kernel = get_kernel(run, s, d, 0, put_products);
    void *data[4] = {(void *)s->x, (void *)s->w};
    int count = 2;
    if (s->bias)
        data[count++] = (void *)s->bias;
    data[count] = s->products;
    return kernel ? op_kernel_run(run, kernel, data) : native_failed(run);
}

/* Where row b of the batch is at step `t`; -1: past its end. */
static int64_t place_of(const Recurrent *s, int64_t b, int64_t t, bool reverse) {
    int64_t length = s->lens ? s->lens[b] : s->steps;
    return t >= length ? -1 : reverse ? length - 1 - t : t;
}

/* The products of step `t`; where sequences differ in length, gathered, and zero for those that are over. */
static const float *take_products(const Recurrent *s, int64_t t, bool reverse) {
    int64_t n = s->family->gates * s->hidden;
    if (!s->lens)
        return s->products + (reverse ? s->steps - 1 - t : t) * s->batch * n;
    for (int64_t b = 0; b < s->batch; b++) {
        int64_t at = place_of(s, b, t, reverse);
        if (at >= 0)
            memcpy(s->taken + b * n, s->products + (at * s->batch + b) * n, (size_t)n * sizeof(float));
        else
            memset(s->taken + b * n, 0, (size_t)n * sizeof(float));
    }
    return s->taken;
}

/* From h[now] and c[now] to the others; the states of sequences that are over stay as they are. */
static whet_status run_step(OpRun *run, const Recurrent *s, const OpKernel *kernel, int64_t t, bool reverse, int now) {
    void *data[8] = {(void *)take_products(s, t, reverse), s->h[now], (void *)s->r};
    int count = 3;
    bool cells = s->family->gates == 4;
    if (s->linear_before_reset && s->bias)
        data[count++] = (void *)s->bias;
    if (cells)
        data[count++] = s->c[now];
    if (s->peephole)
        data[count++] = (void *)s->peephole;
    if (cells)
        data[count++] = s->c[!now];
    data[count] = s->h[!now];
    whet_status status = op_kernel_run(run, kernel, data);
    for (int64_t b = 0; !status && s->lens && b < s->batch; b++) {
        if (place_of(s, b, t, reverse) >= 0)
            continue;
        memcpy(s->h[!now] + b * s->hidden, s->h[now] + b * s->hidden, (size_t)s->hidden * sizeof(float));
        if (cells)
            memcpy(s->c[!now] + b * s->hidden, s->c[now] + b * s->hidden, (size_t)s->hidden * sizeof(float));
    }
    return status;
}

static int64_t y_place(const Recurrent *s, int64_t d, int64_t t, int64_t b) {
    return s->batch_first ? ((b * s->steps + t) * s->directions + d) * s->hidden
                          : ((t * s->directions + d) * s->batch + b) * s->hidden;
}

static int64_t state_place(const Recurrent *s, int64_t d, int64_t b) {
    return (s->batch_first ? b * s->directions + d : d * s->batch + b) * s->hidden;
}

static void load_state(const Recurrent *s, int64_t d, const float *from, float *to) {
    for (int64_t b = 0; b < s->batch; b++) {
        if (from)
            memcpy(to + b * s->hidden, from + state_place(s, d, b), (size_t)s->hidden * sizeof(float));
        else
            memset(to + b * s->hidden, 0, (size_t)s->hidden * sizeof(float));
    }
}

static void put_y(const Recurrent *s, int64_t d, int64_t t, bool reverse, const float *h) {
    for (int64_t b = 0; b < s->batch; b++) {
        int64_t at = place_of(s, b, t, reverse);
        float *to = s->y + y_place(s, d, at < 0 ? t : at, b);
        if (at >= 0)
            memcpy(to, h + b * s->hidden, (size_t)s->hidden * sizeof(float));
        else
            memset(to, 0, (size_t)s->hidden * sizeof(float));
    }
}

static whet_status run_steps(OpRun *run, const Recurrent *s, int64_t d) {
    const OpKernel *kernel = op_kernel_made(run, (int)(2 * d) + 1);
    const bool reverse = s->reverse || d == 1;
    whet_status status = WHET_OK;
    int now = 0;
    load_state(s, d, s->h0, s->h[now]);
    load_state(s, d, s->c0, s->c[now]);
    for (int64_t t = 0; !status && t < s->steps; t++, now = !now) {
        status = run_step(run, s, kernel, t, reverse, now);
        if (!status)
            put_y(s, d, t, reverse, s->h[!now]);
        if (!status && (t & 15) == 15)
            status = op_interrupted(run);
    }
    for (int64_t b = 0; !status && b < s->batch; b++) {
        memcpy(s->y_h + state_place(s, d, b), s->h[now] + b * s->hidden, (size_t)s->hidden * sizeof(float));
        if (s->y_c)
            memcpy(s->y_c + state_place(s, d, b), s->c[now] + b * s->hidden, (size_t)s->hidden * sizeof(float));
    }
    return status;
}

static whet_status work_memory(OpRun *run, Recurrent *s) {
    int64_t gates = s->family->gates * s->hidden, rows, products, part;
    size_t bytes;
    if (!checked_mul(s->steps, s->batch, &rows) || !checked_mul(rows, gates, &products) ||
        !checked_mul(s->batch, gates + 4 * s->hidden, &part) || !checked_add(products, part, &products) ||
        !dtype_bytes(DT_F32, products, &bytes))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    s->products = op_scratch(run, bytes + 1);
    if (!s->products)
        return native_failed(run);
    s->taken = s->products + rows * gates;
    for (int i = 0; i < 2; i++) {
        s->h[i] = s->taken + s->batch * (gates + i * s->hidden);
        s->c[i] = s->h[i] + 2 * s->batch * s->hidden;
    }
    return WHET_OK;
}

static whet_status begin_direction(OpRun *run, const Recurrent *s, int64_t d) {
    return get_kernel(run, s, d, 1, put_step) ? make_products(run, s, d) : native_failed(run);
}

static whet_status steps_task(OpRun *run, void *context, int d) {
    return run_steps(run, (const Recurrent *)context + d, d);
}

/* Not where the weights of both directions would push each other out of a cache (hidden 512: 2.6 ms in turn, 4.8 side by side),
 * nor where many threads do more for a step that they share. */
static bool side_by_side(const OpRun *run, const Recurrent *s) {
    enum { MOST_WEIGHTS = 1 << 19, MOST_PRODUCTS = 1 << 20, FEW_THREADS = 4 };
    double weights = (double)s->family->gates * (double)s->hidden * (double)s->hidden;
    int threads = op_threads(run);
    return s->directions == 2 && threads > 1 && weights <= MOST_WEIGHTS &&
           (threads < FEW_THREADS || weights * (double)s->batch <= MOST_PRODUCTS);
}

static whet_status run_directions(OpRun *run, const Recurrent *s) {
    whet_status status = WHET_OK;
    if (!side_by_side(run, s)) {
        for (int64_t d = 0; status == WHET_OK && d < s->directions; d++)
            if ((status = begin_direction(run, s, d)) == WHET_OK)
                status = run_steps(run, s, d);
        return status;
    }
    Recurrent of[2] = {*s, *s};
    status = work_memory(run, &of[1]);
    for (int d = 0; status == WHET_OK && d < 2; d++)
        if ((status = begin_direction(run, &of[d], d)) == WHET_OK)
            status = op_kernel_ready(run, op_kernel_made(run, 2 * d + 1));
    return status ? status : op_tasks(run, 2, steps_task, of);
}

/* ---- The operators ------------------------------------------------------------------------------------------------------- */

static const float *optional_f32(OpRun *run, int index, bool *failed) {
    const Tensor *tensor = index < run->call->in_count ? op_input(run, index) : NULL;
    if (!tensor)
        return NULL;
    const float *data = native_f32(run, index);
    *failed |= !data;
    return data;
}

/* An output in f32: its own memory, or scratch that is converted in the end. */
static float *working_output(OpRun *run, int index, void **memory, int64_t count) {
    const Type *out = &run->call->out[0];
    const Type *like = &run->call->out[index < run->call->out_count ? index : 0];
    *memory = index < run->call->out_count ? native_output(run, index) : NULL;
    if (index < run->call->out_count && !*memory)
        return NULL;
    if (*memory && out->type == DT_F32 && like->rank >= 0)
        return *memory;
    return op_scratch(run, (size_t)count * sizeof(float) + 1);
}

static whet_status get_lens(OpRun *run, Recurrent *s) {
    if (!op_input(run, IN_LENS))
        return WHET_OK;
    s->lens = native_s64(run, IN_LENS);
    for (int64_t b = 0; s->lens && b < s->batch; b++)
        if (s->lens[b] < 0 || s->lens[b] > s->steps)
            return native_error(run, WHET_ERROR_DATA, "sequence length %lld is outside [0, %lld]", (long long)s->lens[b],
                                (long long)s->steps);
    return s->lens ? WHET_OK : native_failed(run);
}

static whet_status setup(OpRun *run, Recurrent *s) {
    OpCall *call = run->call;
    const Tensor *x = op_input(run, IN_X);
    bool failed = false;
    s->family = family_of(call);
    s->batch_first = is_batch_first(call);
    s->reverse = op_choice(call, "direction") == REVERSE;
    s->steps = x->dims[s->batch_first];
    s->batch = x->dims[!s->batch_first];
    s->width = x->dims[2];
    s->hidden = op_input(run, IN_R)->dims[2];
    s->directions = direction_count(call);
    s->clip = op_attr(call, "clip") ? (float)op_float(call, "clip") : 0;
    s->input_forget = s->family->gates == 4 && op_int(call, "input_forget");
    s->linear_before_reset = s->family->gates == 3 && op_int(call, "linear_before_reset");
    whet_status status = get_activations(call, (int)s->directions, s->activations);
    if (status == WHET_OK)
        status = get_lens(run, s);
    if (status != WHET_OK)
        return status;
    s->x = optional_f32(run, IN_X, &failed);
    s->w = optional_f32(run, IN_W, &failed);
    s->r = optional_f32(run, IN_R, &failed);
    s->bias = optional_f32(run, IN_B, &failed);
    s->h0 = optional_f32(run, IN_H, &failed);
    s->c0 = s->family->gates == 4 ? optional_f32(run, IN_C, &failed) : NULL;
    s->peephole = s->family->gates == 4 ? optional_f32(run, IN_P, &failed) : NULL;
    return failed ? native_failed(run) : WHET_OK;
}

static whet_status recurrent_run(OpRun *run) {
    Recurrent s = {0};
    whet_status status = setup(run, &s);
    if (status == WHET_OK)
        status = work_memory(run, &s);
    if (status != WHET_OK)
        return status;
    int64_t states = s.directions * s.batch * s.hidden, outputs = states * s.steps;
    void *memory[3] = {NULL};
    s.y = working_output(run, 0, &memory[0], outputs);
    s.y_h = s.y ? working_output(run, 1, &memory[1], states) : NULL;
    s.y_c = s.y_h && s.family->gates == 4 ? working_output(run, 2, &memory[2], states) : NULL;
    if (!s.y_h || (s.family->gates == 4 && !s.y_c))
        return native_failed(run);
    status = run_directions(run, &s);
    const float *made[3] = {s.y, s.y_h, s.y_c};
    for (int i = 0; i < 3; i++)
        if (memory[i] && memory[i] != (const void *)made[i])
            native_from_f32(run->call->out[0].type, made[i], i ? states : outputs, memory[i]);
    return status;
}

#define COMMON "activation_alpha:F activation_beta:F activations:S clip:f direction:s=forward|reverse|bidirectional hidden_size:i"
#define STATE  "X:T, W:T, R:T, B?:T, sequence_lens?:s32, initial_h?:T"
#define RECURRENT(name, since, signature, attrs)                                                                                 \
    { "", name, since, signature, "T=float", attrs, recurrent_shape, .run = recurrent_run }

// clang-format off
const OpRow ops_recurrent[] = {
    RECURRENT("GRU",  7,  STATE " -> Y?:T, Y_h?:T", COMMON " linear_before_reset:i=0"),
    RECURRENT("GRU",  14, STATE " -> Y?:T, Y_h?:T", COMMON " layout:i=0 linear_before_reset:i=0"),
    RECURRENT("LSTM", 7,  STATE ", initial_c?:T, P?:T -> Y?:T, Y_h?:T, Y_c?:T", COMMON " input_forget:i=0"),
    RECURRENT("LSTM", 14, STATE ", initial_c?:T, P?:T -> Y?:T, Y_h?:T, Y_c?:T", COMMON " input_forget:i=0 layout:i=0"),
    RECURRENT("RNN",  7,  STATE " -> Y?:T, Y_h?:T", COMMON),
    RECURRENT("RNN",  14, STATE " -> Y?:T, Y_h?:T", COMMON " layout:i=0"),
};
// clang-format on
const size_t ops_recurrent_count = COUNT(ops_recurrent);
