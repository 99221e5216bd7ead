/* LSTM, GRU and RNN.
 *
 * For each direction the inputs of all steps are multiplied by W at once; then each step multiplies the state by R and goes
 * through the gates. Weights are used where they lie: W and R hold a row an output, so every product is a dot product along
 * memory. Everything is computed in f32; other float types are converted on the way in and out.
 *
 *   LSTM  i, o, f = f(gates); c = g(gate); C = f C + i c; H = o h(C)      gates in the order i o f c
 *   GRU   z, r = f(gates); h = g(...); H = (1 - z) h + z H                gates in the order z r h
 *   RNN   H = f(gate)
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

/* ---- Activations --------------------------------------------------------------------------------------------------------- */

typedef struct Activation {
    float (*apply)(float x, float alpha, float beta);
    float alpha, beta;
} Activation;

static float act_relu(float x, float a, float b) {
    return (void)a, (void)b, x > 0 ? x : 0;
}
static float act_tanh(float x, float a, float b) {
    return (void)a, (void)b, tanhf(x);
}
static float act_sigmoid(float x, float a, float b) {
    return (void)a, (void)b, 1 / (1 + expf(-x));
}
static float act_affine(float x, float a, float b) {
    return a * x + b;
}
static float act_leaky(float x, float a, float b) {
    return (void)b, x >= 0 ? x : a * x;
}
static float act_thresholded(float x, float a, float b) {
    return (void)b, x > a ? x : 0;
}
static float act_scaled_tanh(float x, float a, float b) {
    return a * tanhf(b * x);
}
static float act_hard_sigmoid(float x, float a, float b) {
    return fminf(fmaxf(a * x + b, 0), 1);
}
static float act_elu(float x, float a, float b) {
    return (void)b, x >= 0 ? x : a * expm1f(x);
}
static float act_softsign(float x, float a, float b) {
    return (void)a, (void)b, x / (1 + fabsf(x));
}
static float act_softplus(float x, float a, float b) {
    return (void)a, (void)b, fmaxf(x, 0) + log1pf(expf(-fabsf(x)));
}

static const struct ActivationRow {
    const char *name;
    float (*apply)(float, float, float);
    int parameters; /* 1: alpha; 2: alpha and beta */
    float alpha, beta;
} activation_rows[] = {
    {"relu", act_relu, 0, 0, 0},
    {"tanh", act_tanh, 0, 0, 0},
    {"sigmoid", act_sigmoid, 0, 0, 0},
    {"affine", act_affine, 2, 1, 0},
    {"leakyrelu", act_leaky, 1, 0.01f, 0},
    {"thresholdedrelu", act_thresholded, 1, 1, 0},
    {"scaledtanh", act_scaled_tanh, 2, 1, 1},
    {"hardsigmoid", act_hard_sigmoid, 2, 0.2f, 0.5f},
    {"elu", act_elu, 1, 1, 0},
    {"softsign", act_softsign, 0, 0, 0},
    {"softplus", act_softplus, 0, 0, 0},
};

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
        out[i] = (Activation){row->apply, row->alpha, row->beta};
        if (row->parameters >= 1 && alphas && alpha < alphas->count)
            out[i].alpha = alphas->floats[alpha++];
        if (row->parameters >= 2 && betas && beta < betas->count)
            out[i].beta = betas->floats[beta++];
    }
    return WHET_OK;
}

/* ---- Shapes -------------------------------------------------------------------------------------------------------------- */

enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P };

static int direction_count(OpCall *call) {
    if (op_string_is(call, "direction", "bidirectional"))
        return 2;
    if (op_string_is(call, "direction", "forward") || op_string_is(call, "direction", "reverse"))
        return 1;
    op_error(call, WHET_ERROR_FORMAT, "direction is neither forward, reverse nor bidirectional");
    return 0;
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
    if (!directions)
        return WHET_ERROR_FORMAT;
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
        status = op_error(call, WHET_ERROR_DATA, "hidden_size is %lld; the weights have %lld",
                          (long long)op_int(call, "hidden_size"), (long long)hidden);
    op_set_shape(call, 0, 4,
                 (const Dim[]){first ? batch : steps, first ? steps : directions, first ? directions : batch, hidden});
    for (int i = 1; i < call->out_count; i++)
        op_set_shape(call, i, 3, state);
    return status;
}

/* ---- Products ------------------------------------------------------------------------------------------------------------ */

#define LANES 16

/* Four dot products of x with rows of w; independent sums a lane, so that compilers vectorise. */
static void dot_4(const float *restrict x, const float *restrict w, int64_t stride, int64_t n, float out[4]) {
    float sum[4][LANES] = {{0}};
    int64_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int r = 0; r < 4; r++)
            for (int l = 0; l < LANES; l++)
                sum[r][l] += x[k + l] * w[r * stride + k + l];
    for (int r = 0; r < 4; r++) {
        for (int width = LANES / 2; width; width /= 2)
            for (int l = 0; l < width; l++)
                sum[r][l] += sum[r][l + width];
        for (int64_t i = k; i < n; i++)
            sum[r][0] += x[i] * w[r * stride + i];
        out[r] = sum[r][0];
    }
}

static float dot_1(const float *x, const float *w, int64_t n) {
    float sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += x[k] * w[k];
    return sum;
}

/* y[b, j] += x[b, :] . w[j, :] for `rows` rows of x and `count` rows of w, both of length n. */
static void multiply_add(const float *x, int64_t rows, const float *w, int64_t count, int64_t n, float *y) {
    int64_t j = 0;
    for (; j + 4 <= count; j += 4)
        for (int64_t b = 0; b < rows; b++) {
            float sums[4];
            dot_4(x + b * n, w + j * n, n, n, sums);
            for (int r = 0; r < 4; r++)
                y[b * count + j + r] += sums[r];
        }
    for (; j < count; j++)
        for (int64_t b = 0; b < rows; b++)
            y[b * count + j] += dot_1(x + b * n, w + j * n, n);
}

/* ---- Steps --------------------------------------------------------------------------------------------------------------- */

typedef struct Recurrent {
    const Family *family;
    int64_t steps, batch, width, hidden, directions;
    bool batch_first, input_forget, linear_before_reset;
    float clip;
    const float *x, *w, *r, *bias, *h0, *c0, *peephole; /* NULL: not given */
    const int64_t *lens;
    Activation activations[6];
    float *y, *y_h, *y_c;
    float *products;      /* [steps * batch, gates * hidden]: x W^T and biases */
    float *gates;         /* [batch, gates * hidden]: of one step */
    float *h, *c, *reset; /* [batch, hidden] */
} Recurrent;

static float activate(const Activation *a, float clip, float x) {
    return a->apply(clip > 0 ? fminf(fmaxf(x, -clip), clip) : x, a->alpha, a->beta);
}

static void lstm_row(const Recurrent *s, int64_t d, float *gate, float *h, float *c) {
    const Activation *act = s->activations + 3 * d;
    int64_t n = s->hidden;
    const float *p = s->peephole ? s->peephole + d * 3 * n : NULL;
    for (int64_t j = 0; j < n; j++) {
        float before = c[j];
        float i = activate(&act[0], s->clip, gate[j] + (p ? p[j] * before : 0));
        float f = s->input_forget ? 1 - i : activate(&act[0], s->clip, gate[2 * n + j] + (p ? p[2 * n + j] * before : 0));
        float cell = f * before + i * activate(&act[1], s->clip, gate[3 * n + j]);
        float o = activate(&act[0], s->clip, gate[n + j] + (p ? p[n + j] * cell : 0));
        c[j] = cell;
        h[j] = o * activate(&act[2], s->clip, cell);
    }
}

static void rnn_row(const Recurrent *s, int64_t d, float *gate, float *h) {
    for (int64_t j = 0; j < s->hidden; j++)
        h[j] = activate(&s->activations[d], s->clip, gate[j]);
}

/* Where row b of the batch is at step `t`; -1: past its end. */
static int64_t place_of(const Recurrent *s, int64_t b, int64_t t, bool reverse) {
    int64_t length = s->lens ? s->lens[b] : s->steps;
    return t >= length ? -1 : reverse ? length - 1 - t : t;
}

/* gates = products of this step; the rows of sequences that are over stay as they are. */
static void take_products(const Recurrent *s, int64_t t, bool reverse) {
    int64_t n = s->family->gates * s->hidden;
    for (int64_t b = 0; b < s->batch; b++) {
        int64_t at = place_of(s, b, t, reverse);
        if (at < 0)
            continue;
        int64_t row = s->batch_first ? b * s->steps + at : at * s->batch + b;
        memcpy(s->gates + b * n, s->products + row * n, (size_t)n * sizeof(float));
    }
}

/* z and r from their gates, then the candidate, whose product waits for r unless it is linear before the reset. */
static void gru_step(const Recurrent *s, int64_t d, int64_t t, bool reverse) {
    int64_t n = s->hidden;
    const float *r = s->r + d * 3 * n * n, *bias = s->bias ? s->bias + d * 6 * n + 5 * n : NULL;
    const Activation *act = s->activations + 2 * d;
    float *zr = s->reset, *part = s->reset + s->batch * 2 * n; /* [batch, 2 n] and [batch, n] */
    memset(s->reset, 0, (size_t)(s->batch * 3 * n) * sizeof(float));
    multiply_add(s->h, s->batch, r, 2 * n, n, zr);
    if (s->linear_before_reset)
        multiply_add(s->h, s->batch, r + 2 * n * n, n, n, part);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t j = 0; j < 2 * n; j++)
            zr[b * 2 * n + j] = activate(&act[0], s->clip, s->gates[b * 3 * n + j] + zr[b * 2 * n + j]);
    if (!s->linear_before_reset) {
        float *scaled = s->c; /* unused by a GRU otherwise */
        for (int64_t b = 0; b < s->batch; b++)
            for (int64_t j = 0; j < n; j++)
                scaled[b * n + j] = zr[b * 2 * n + n + j] * s->h[b * n + j];
        multiply_add(scaled, s->batch, r + 2 * n * n, n, n, part);
    }
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t j = 0; place_of(s, b, t, reverse) >= 0 && j < n; j++) {
            float z = zr[b * 2 * n + j], reset = zr[b * 2 * n + n + j], hidden = part[b * n + j];
            if (s->linear_before_reset)
                hidden = reset * (hidden + (bias ? bias[j] : 0));
            float candidate = activate(&act[1], s->clip, s->gates[b * 3 * n + 2 * n + j] + hidden);
            s->h[b * n + j] = (1 - z) * candidate + z * s->h[b * n + j];
        }
}

static void plain_step(const Recurrent *s, int64_t d, int64_t t, bool reverse) {
    int64_t n = s->family->gates * s->hidden;
    multiply_add(s->h, s->batch, s->r + d * n * s->hidden, n, s->hidden, s->gates);
    for (int64_t b = 0; b < s->batch; b++) {
        if (place_of(s, b, t, reverse) < 0)
            continue;
        if (s->family->gates == 4)
            lstm_row(s, d, s->gates + b * n, s->h + b * s->hidden, s->c + b * s->hidden);
        else
            rnn_row(s, d, s->gates + b * n, s->h + b * s->hidden);
    }
}

/* x W^T for all steps, and the biases that can be added beforehand. */
static void make_products(const Recurrent *s, int64_t d) {
    int64_t n = s->family->gates * s->hidden;
    const float *bias = s->bias ? s->bias + d * 2 * n : NULL;
    /* The recurrent bias of a GRU's candidate comes after the reset if it is linear before it. */
    int64_t held = s->family->gates == 3 && s->linear_before_reset ? 2 * s->hidden : n;
    for (int64_t row = 0; row < s->steps * s->batch; row++)
        for (int64_t j = 0; j < n; j++)
            s->products[row * n + j] = bias ? bias[j] + (j < held ? bias[n + j] : 0) : 0;
    multiply_add(s->x, s->steps * s->batch, s->w + d * n * s->width, n, s->width, s->products);
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

static whet_status run_direction(OpRun *run, const Recurrent *s, int64_t d, bool reverse) {
    make_products(s, d);
    load_state(s, d, s->h0, s->h);
    load_state(s, d, s->c0, s->c);
    memset(s->gates, 0, (size_t)(s->batch * s->family->gates * s->hidden) * sizeof(float));
    for (int64_t t = 0; t < s->steps; t++) {
        take_products(s, t, reverse);
        if (s->family->gates == 3)
            gru_step(s, d, t, reverse);
        else
            plain_step(s, d, t, reverse);
        for (int64_t b = 0; b < s->batch; b++) {
            int64_t at = place_of(s, b, t, reverse);
            float *to = s->y + y_place(s, d, at < 0 ? t : at, b);
            if (at >= 0)
                memcpy(to, s->h + b * s->hidden, (size_t)s->hidden * sizeof(float));
            else
                memset(to, 0, (size_t)s->hidden * sizeof(float));
        }
        if ((t & 15) == 15 && op_interrupted(run) != WHET_OK)
            return native_failed(run);
    }
    for (int64_t b = 0; b < s->batch; b++) {
        memcpy(s->y_h + state_place(s, d, b), s->h + b * s->hidden, (size_t)s->hidden * sizeof(float));
        if (s->y_c)
            memcpy(s->y_c + state_place(s, d, b), s->c + b * s->hidden, (size_t)s->hidden * sizeof(float));
    }
    return WHET_OK;
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

static whet_status work_memory(OpRun *run, Recurrent *s) {
    int64_t gates = s->family->gates * s->hidden, rows, products, part;
    size_t bytes;
    if (!checked_mul(s->steps, s->batch, &rows) || !checked_mul(rows, gates, &products) ||
        !checked_mul(s->batch, gates + 5 * s->hidden, &part) || !checked_add(products, part, &products) ||
        !dtype_bytes(DT_F32, products, &bytes))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    s->products = op_scratch(run, bytes + 1);
    if (!s->products)
        return native_failed(run);
    s->gates = s->products + rows * gates;
    s->h = s->gates + s->batch * gates;
    s->c = s->h + s->batch * s->hidden;
    s->reset = s->c + s->batch * s->hidden; /* three of [batch, hidden] */
    return WHET_OK;
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
    bool reverse = op_string_is(run->call, "direction", "reverse");
    for (int64_t d = 0; status == WHET_OK && d < s.directions; d++)
        status = run_direction(run, &s, d, reverse || d == 1);
    const float *made[3] = {s.y, s.y_h, s.y_c};
    for (int i = 0; i < 3; i++)
        if (memory[i] && memory[i] != (const void *)made[i])
            native_from_f32(run->call->out[0].type, made[i], i ? states : outputs, memory[i]);
    return status;
}

#define COMMON "activation_alpha:F activation_beta:F activations:S clip:f direction:s=forward hidden_size:i"
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
