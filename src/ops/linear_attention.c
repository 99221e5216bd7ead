/* LinearAttention: a recurrence over the tokens, so in C: each token decays a state, corrects and writes it, and reads it.
 *
 *     S = exp(g) * S;  v' = beta * (v - S^T k) or v;  S = S + k v'^T;  o = scale * S^T q
 *
 * Everything is computed in f32, whatever the types of the operands. */
#include <math.h>
#include <string.h>

#include "ops/native.h"
#include "ops/ops.h"

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA };

typedef struct Linear {
    int64_t batch, tokens, heads, kv_heads, k_size, v_size;
    int64_t decay_width, beta_width; /* elements a token: one a head, or one an element of a key; 1, or one a head */
    bool gated, delta;
    float scale;
} Linear;

static Dim quotient(OpCall *call, Dim a, int64_t b) {
    return dim_is_extent(a) ? a / b : dim_floordiv(call->symbols, a, b);
}

static Dim product(OpCall *call, Dim a, int64_t b) {
    int64_t total;
    if (dim_is_extent(a))
        return checked_mul(a, b, &total) ? total : DIM_UNKNOWN;
    return dim_mul(call->symbols, a, b);
}

static whet_status get_rule(OpCall *call, Linear *l) {
    l->heads = op_int(call, "q_num_heads");
    l->kv_heads = op_int(call, "kv_num_heads");
    if (l->heads < 1 || l->kv_heads < 1 || l->heads % l->kv_heads)
        return op_error(call, WHET_ERROR_FORMAT, "q_num_heads is %lld, kv_num_heads is %lld; wanted a multiple",
                        (long long)l->heads, (long long)l->kv_heads);
    enum { GATED_DELTA, GATED, DELTA };
    int rule = op_choice(call, "update_rule");
    l->gated = rule == GATED || rule == GATED_DELTA;
    l->delta = rule == DELTA || rule == GATED_DELTA;
    if (l->gated != op_has(call, DECAY) || l->delta != op_has(call, BETA))
        return op_error(call, WHET_ERROR_FORMAT, "decay is %s and beta %s; update_rule wants decay %s and beta %s",
                        op_has(call, DECAY) ? "given" : "missing", op_has(call, BETA) ? "given" : "missing",
                        l->gated ? "given" : "missing", l->delta ? "given" : "missing");
    return WHET_OK;
}

static whet_status shape_linear(OpCall *call) {
    const Type *q = call->in[QUERY], *k = call->in[KEY], *v = call->in[VALUE];
    Linear l;
    if (call->out_count > 1 && !op_has(call, PAST))
        call->out[1].type = q->type;
    whet_status status = get_rule(call, &l);
    if (status || !op_ranks_known(call))
        return status;
    if (q->rank != 3 || k->rank != 3 || v->rank != 3)
        return op_error(call, WHET_ERROR_DATA, "query, key and value have ranks %d, %d and %d; wanted 3", q->rank, k->rank,
                        v->rank);
    Dim k_size = quotient(call, q->dims[2], l.heads), v_size = quotient(call, v->dims[2], l.kv_heads);
    op_set_shape(call, 0, 3, (Dim[]){q->dims[0], q->dims[1], product(call, v_size, l.heads)});
    op_set_shape(call, 1, 4, (Dim[]){q->dims[0], l.kv_heads, k_size, v_size});
    return WHET_OK;
}

static whet_status check_extents(OpCall *call, const Linear *l) {
    const struct {
        int input, rank;
        int64_t dims[4];
    } wanted[] = {
        {QUERY, 3, {l->batch, l->tokens, l->heads * l->k_size}},    {KEY, 3, {l->batch, l->tokens, l->kv_heads * l->k_size}},
        {VALUE, 3, {l->batch, l->tokens, l->kv_heads * l->v_size}}, {PAST, 4, {l->batch, l->kv_heads, l->k_size, l->v_size}},
        {DECAY, 3, {l->batch, l->tokens, l->decay_width}},          {BETA, 3, {l->batch, l->tokens, l->beta_width}},
    };
    for (size_t i = 0; i < COUNT(wanted); i++) {
        if (!op_has(call, wanted[i].input))
            continue;
        const Type *type = call->in[wanted[i].input];
        bool fits = type->rank == wanted[i].rank;
        for (int d = 0; fits && d < type->rank; d++)
            fits = type->dims[d] == wanted[i].dims[d];
        if (!fits)
            return op_error(call, WHET_ERROR_DATA, "input %d has a shape that does not fit the others", wanted[i].input);
    }
    bool decay_fits = !l->gated || l->decay_width == l->kv_heads || l->decay_width == l->kv_heads * l->k_size;
    bool beta_fits = !l->delta || l->beta_width == 1 || l->beta_width == l->kv_heads;
    return decay_fits && beta_fits
               ? WHET_OK
               : op_error(call, WHET_ERROR_DATA,
                          "wanted decay of an element a head or a key's element, and beta of one or an element a head");
}

static whet_status get_linear(OpCall *call, Linear *l) {
    *l = (Linear){0};
    whet_status status = get_rule(call, l);
    if (status)
        return status;
    const Type *q = call->in[QUERY], *v = call->in[VALUE];
    l->batch = q->dims[0];
    l->tokens = q->dims[1];
    l->k_size = q->dims[2] / l->heads;
    l->v_size = v->dims[2] / l->kv_heads;
    l->decay_width = op_has(call, DECAY) ? call->in[DECAY]->dims[2] : 0;
    l->beta_width = op_has(call, BETA) ? call->in[BETA]->dims[2] : 0;
    double scale = op_float(call, "scale");
    l->scale = scale != 0 ? (float)scale : (float)(1 / sqrt((double)l->k_size));
    return check_extents(call, l);
}

typedef struct Operands {
    const float *in[BETA + 1];
    float *state, *value, *y; /* [batch, kv_heads, k_size, v_size], [v_size], [batch, tokens, heads * v_size] */
} Operands;

/* One head of keys and one token: decay, correct, write. */
static void update(const Linear *l, const Operands *o, int64_t token, int64_t head, float *state) {
    const float *k = o->in[KEY] + (token * l->kv_heads + head) * l->k_size;
    const float *v = o->in[VALUE] + (token * l->kv_heads + head) * l->v_size;
    const float *g = l->gated ? o->in[DECAY] + token * l->decay_width : NULL;
    bool by_head = l->decay_width == l->kv_heads;
    for (int64_t d = 0; g && d < l->k_size; d++) {
        float factor = expf(by_head ? g[head] : g[head * l->k_size + d]);
        for (int64_t e = 0; e < l->v_size; e++)
            state[d * l->v_size + e] *= factor;
    }
    for (int64_t e = 0; e < l->v_size; e++) {
        float seen = 0;
        for (int64_t d = 0; l->delta && d < l->k_size; d++)
            seen += state[d * l->v_size + e] * k[d];
        float rate = l->delta ? o->in[BETA][token * l->beta_width + (l->beta_width == 1 ? 0 : head)] : 1;
        o->value[e] = l->delta ? rate * (v[e] - seen) : v[e];
    }
    for (int64_t d = 0; d < l->k_size; d++)
        for (int64_t e = 0; e < l->v_size; e++)
            state[d * l->v_size + e] += k[d] * o->value[e];
}

/* The query heads that share this head of keys. */
static void read(const Linear *l, const Operands *o, int64_t token, int64_t head, const float *state) {
    int64_t shared = l->heads / l->kv_heads;
    for (int64_t h = head * shared; h < (head + 1) * shared; h++) {
        const float *q = o->in[QUERY] + (token * l->heads + h) * l->k_size;
        float *y = o->y + (token * l->heads + h) * l->v_size;
        for (int64_t e = 0; e < l->v_size; e++) {
            float total = 0;
            for (int64_t d = 0; d < l->k_size; d++)
                total += q[d] * state[d * l->v_size + e];
            y[e] = l->scale * total;
        }
    }
}

static whet_status get_operands(OpRun *run, const Linear *l, Operands *o) {
    const Type *out = run->call->out;
    int64_t states = l->batch * l->kv_heads * l->k_size * l->v_size, outputs = l->batch * l->tokens * l->heads * l->v_size;
    for (int i = 0; i <= BETA; i++)
        if (op_has(run->call, i) && !(o->in[i] = native_f32(run, i)))
            return native_failed(run);
    o->state = op_scratch(run, (size_t)states * sizeof(float));
    o->value = op_scratch(run, (size_t)l->v_size * sizeof(float));
    o->y = out[0].type == DT_F32 ? native_output(run, 0) : op_scratch(run, (size_t)outputs * sizeof(float));
    if (!o->state || !o->value || !o->y)
        return native_failed(run);
    if (o->in[PAST])
        memcpy(o->state, o->in[PAST], (size_t)states * sizeof(float));
    else
        memset(o->state, 0, (size_t)states * sizeof(float));
    return WHET_OK;
}

static whet_status store(OpRun *run, const Linear *l, const Operands *o) {
    const Type *out = run->call->out;
    if (out[0].type != DT_F32) {
        void *y = native_output(run, 0);
        if (!y)
            return native_failed(run);
        native_from_f32(out[0].type, o->y, l->batch * l->tokens * l->heads * l->v_size, y);
    }
    if (!op_wanted(run, 1))
        return WHET_OK;
    void *state = native_output(run, 1);
    if (!state)
        return native_failed(run);
    native_from_f32(out[1].type, o->state, l->batch * l->kv_heads * l->k_size * l->v_size, state);
    return WHET_OK;
}

static whet_status run_linear(OpRun *run) {
    Linear l;
    Operands o = {0};
    whet_status status = get_linear(run->call, &l);
    if (!status)
        status = get_operands(run, &l, &o);
    for (int64_t row = 0; !status && row < l.batch * l.tokens; row++) {
        for (int64_t head = 0; head < l.kv_heads; head++) {
            float *state = o.state + (row / l.tokens * l.kv_heads + head) * l.k_size * l.v_size;
            update(&l, &o, row, head, state);
            read(&l, &o, row, head, state);
        }
        status = op_interrupted(run);
    }
    return status ? status : store(run, &l, &o);
}

// clang-format off
const OpRow ops_linear_attention[] = {
    {"", "LinearAttention", 27, "query:T, key:T, value:T, past?:S, decay?:T, beta?:T -> y:T, state:S",
     "T=f32|f16|bf16 S=f32|f16|bf16", "chunk_size:i=64 kv_num_heads:i! q_num_heads:i! scale:f=0 update_rule:s=gated_delta|gated|delta|linear", shape_linear, .run = run_linear},
};
// clang-format on
const size_t ops_linear_attention_count = COUNT(ops_linear_attention);
