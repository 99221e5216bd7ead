/* Attention and what stands around it: Attention, RotaryEmbedding, CausalConvWithState.
 *
 * Attention is one kernel of several definitions. Axes: n batch, g key and value head, r query head within those that share g,
 * s query, t key, d and e elements of a head:
 *
 *     a[n, g, r, s, t] = (sum(d) q[n, 3*g + r, s, d] * k[n, g, t, d]) * scale
 *     z[n, g, r, s, t] = select(t <= s, a[n, g, r, s, t], -inf)
 *     top, e, total: the softmax over t
 *     y[n, 3*g:2 + r:3, s, e] = sum(t) p[n, g, r, s, t] * v[n, g, t, e]
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"

/* ---- Attention: shape -------------------------------------------------------------------------------------------- */

enum { Q, K, V, MASK, PAST_K, PAST_V, VALID }; /* inputs */
enum { Y, PRESENT_K, PRESENT_V, SCORES };      /* outputs */

typedef struct Heads {
    bool flat;                /* rank 3: heads side by side in the last dimension */
    Dim batch, queries, keys; /* keys: the new ones */
    Dim heads, kv_heads;      /* of queries; of keys and values */
    Dim size, v_size;         /* elements of a head */
    Dim past, total;          /* keys before, keys in all */
} Heads;

static Dim quotient(OpCall *call, Dim a, int64_t b) {
    return dim_is_extent(a) ? a / b : dim_floordiv(call->symbols, a, b);
}

static Dim sum(OpCall *call, Dim a, Dim b) {
    int64_t total;
    if (dim_is_extent(a) && dim_is_extent(b))
        return checked_add(a, b, &total) ? total : DIM_UNKNOWN;
    return dim_add(call->symbols, a, b);
}

static Dim product(OpCall *call, Dim a, Dim b) {
    int64_t total;
    if (dim_is_extent(a) && dim_is_extent(b))
        return checked_mul(a, b, &total) ? total : DIM_UNKNOWN;
    return dim_mul(call->symbols, a, b);
}

static whet_status flat_heads(OpCall *call, Heads *h) {
    const Type *q = call->in[Q], *k = call->in[K], *v = call->in[V];
    int64_t heads = op_int(call, "q_num_heads"), kv_heads = op_int(call, "kv_num_heads");
    if (heads < 1 || kv_heads < 1)
        return op_error(call, WHET_ERROR_FORMAT,
                        "q_num_heads is %lld, kv_num_heads is %lld; wanted 1 or more for inputs of rank 3", (long long)heads,
                        (long long)kv_heads);
    *h = (Heads){.flat = true, .heads = heads, .kv_heads = kv_heads};
    h->queries = q->dims[1];
    h->keys = k->dims[1];
    h->size = quotient(call, q->dims[2], heads);
    h->v_size = quotient(call, v->dims[2], kv_heads);
    const Dim widths[] = {q->dims[2], k->dims[2], v->dims[2]};
    for (int i = 0; i < 3; i++)
        if (dim_is_extent(widths[i]) && widths[i] % (i ? kv_heads : heads))
            return op_error(call, WHET_ERROR_DATA, "input %d: %lld elements do not divide into %lld heads", i,
                            (long long)widths[i], (long long)(i ? kv_heads : heads));
    return WHET_OK;
}

static whet_status get_heads(OpCall *call, Heads *h) {
    const Type *q = call->in[Q], *k = call->in[K], *v = call->in[V];
    if (q->rank != k->rank || q->rank != v->rank || (q->rank != 3 && q->rank != 4))
        return op_error(call, WHET_ERROR_DATA, "Q, K and V have ranks %d, %d and %d; wanted 3 or 4, the same", q->rank, k->rank,
                        v->rank);
    if (op_has(call, PAST_K) != op_has(call, PAST_V) || (op_has(call, PAST_K) && op_has(call, VALID)))
        return op_error(call, WHET_ERROR_FORMAT, "past_key and past_value come together, and without nonpad_kv_seqlen");
    if (op_has(call, PAST_K) && (call->in[PAST_K]->rank != 4 || call->in[PAST_V]->rank != 4))
        return op_error(call, WHET_ERROR_DATA, "past_key and past_value have ranks %d and %d; wanted 4", call->in[PAST_K]->rank,
                        call->in[PAST_V]->rank);
    if (q->rank == 3) {
        whet_status status = flat_heads(call, h);
        if (status)
            return status;
    } else {
        *h = (Heads){.heads = q->dims[1],
                     .kv_heads = k->dims[1],
                     .queries = q->dims[2],
                     .keys = k->dims[2],
                     .size = q->dims[3],
                     .v_size = v->dims[3]};
    }
    h->batch = q->dims[0];
    h->past = op_has(call, PAST_K) ? call->in[PAST_K]->dims[2] : 0;
    h->total = sum(call, h->past, h->keys);
    if (dim_is_extent(h->heads) && dim_is_extent(h->kv_heads) && (h->kv_heads < 1 || h->heads % h->kv_heads))
        return op_error(call, WHET_ERROR_DATA, "%lld heads of queries do not divide among %lld of keys", (long long)h->heads,
                        (long long)h->kv_heads);
    return WHET_OK;
}

static whet_status shape_attention(OpCall *call) {
    Heads h;
    if (!op_ranks_known(call))
        return WHET_OK;
    whet_status status = get_heads(call, &h);
    if (status)
        return status;
    if (h.flat)
        op_set_shape(call, Y, 3, (Dim[]){h.batch, h.queries, product(call, h.heads, h.v_size)});
    else
        op_set_shape(call, Y, 4, (Dim[]){h.batch, h.heads, h.queries, h.v_size});
    op_set_shape(call, PRESENT_K, 4, (Dim[]){h.batch, h.kv_heads, h.total, h.size});
    op_set_shape(call, PRESENT_V, 4, (Dim[]){h.batch, h.kv_heads, h.total, h.v_size});
    op_set_shape(call, SCORES, 4, (Dim[]){h.batch, h.heads, h.queries, h.total});
    return WHET_OK;
}

/* ---- Attention: text --------------------------------------------------------------------------------------------- */

/* The keys or values with those of the past: "present_k[n, g, t:12, d] = ..." and "present_k[n, g, 12 + t:6, d] = ...". */
static void put_present(OpCall *call, Text *out, const Heads *h, bool values) {
    int past = values ? PAST_V : PAST_K, output = values ? PRESENT_V : PRESENT_K;
    const char *name = values ? "v" : "k", *axis = values ? "e" : "d";
    long long size = values ? h->v_size : h->size, before = h->past, keys = h->keys, groups = h->kv_heads;
    const char *exported = op_wants(call, output) ? "out " : "";
    if (!*exported && !op_has(call, past))
        return;
    if (op_has(call, past))
        text_printf(out, "%spresent_%s[n, g:%lld, t:%lld, %s:%lld] = past_%s[n, g, t, %s]\n", exported, name, groups, before,
                    axis, size, name, axis);
    text_printf(out, "%spresent_%s[n, g:%lld, %lld + t:%lld, %s:%lld] = %s[", exported, name, groups, before, keys, axis, size,
                name);
    if (h->flat)
        text_printf(out, "n, t, %lld*g + %s]\n", size, axis);
    else
        text_printf(out, "n, g, t, %s]\n", axis);
}

/* Reads a key or value: from the input itself, or from what put_present made. */
static void put_key(OpCall *call, Text *out, const Heads *h, bool values) {
    const char *name = values ? "v" : "k", *axis = values ? "e" : "d";
    long long size = values ? h->v_size : h->size;
    if (op_has(call, values ? PAST_V : PAST_K))
        text_printf(out, "present_%s[n, g, t, %s]", name, axis);
    else if (h->flat)
        text_printf(out, "%s[n, t, %lld*g + %s]", name, size, axis);
    else
        text_printf(out, "%s[n, g, t, %s]", name, axis);
}

/* " & " between conditions */
static void put_and(Text *out, int *count) {
    text_put(out, (*count)++ ? " & " : "");
}

/* The position of query s among the keys: what came before it counts. */
static void put_position(OpCall *call, Text *out, const Heads *h) {
    if (op_has(call, VALID))
        text_printf(out, "s + valid[n] - %lld", (long long)h->queries);
    else
        text_printf(out, "s + %lld", (long long)h->past);
}

static int64_t window_size(const OpCall *call, const char *name) {
    AttrSpec spec;
    return signature_find_attr(call->row->attrs, name, &spec) ? op_int(call, name) : -1;
}

/* "t <= s & t < valid[n]": may query s see key t? Returns the number of conditions. */
static int put_visible(OpCall *call, Text *out, const Heads *h) {
    int64_t left = window_size(call, "left_window_size"), right = window_size(call, "right_window_size");
    int count = 0;
    if (op_int(call, "is_causal")) {
        put_and(out, &count);
        text_put(out, "(t <= ");
        put_position(call, out, h);
        text_char(out, ')');
    }
    if (left >= 0) {
        put_and(out, &count);
        text_printf(out, "(t + %lld >= ", (long long)left);
        put_position(call, out, h);
        text_char(out, ')');
    }
    if (right >= 0) {
        put_and(out, &count);
        text_printf(out, "(t - %lld <= ", (long long)right);
        put_position(call, out, h);
        text_char(out, ')');
    }
    if (op_has(call, VALID)) {
        put_and(out, &count);
        text_put(out, "(t < valid[n])");
    }
    return count;
}

/* The mask, broadcast to [n, head, s, t]; a last dimension that is shorter than the keys masks the rest. */
static void put_mask(OpCall *call, Text *out, const Heads *h) {
    const Type *mask = call->in[MASK];
    char head[48];
    snprintf(head, sizeof head, "%lld*g + r", (long long)(h->heads / h->kv_heads));
    const char *axes[] = {"n", head, "s", "t"};
    text_put(out, "mask[");
    for (int d = 0; d < mask->rank; d++)
        text_printf(out, "%s%s", d ? ", " : "", mask->dims[d] == 1 && d + 1 < mask->rank ? "0" : axes[4 - mask->rank + d]);
    bool shorter = mask->rank && mask->dims[mask->rank - 1] < h->total;
    text_put(out, !shorter ? "]" : mask->type == DT_BOOL ? "]?" : "]?(-inf)");
}

#define CELL "[n, g, r, s, t]"
#define ROW  "[n, g, r, s]"

/* z: the scores with mask; -inf, whatever the score, where a key is not seen. */
static void put_masked(OpCall *call, Text *out, const Heads *h, const char *score, DType wide) {
    Text visible;
    text_init(&visible);
    int conditions = put_visible(call, &visible, h);
    text_put(out, "z" CELL " = ");
    if (conditions)
        text_printf(out, "select(%s, ", visible.data);
    if (!op_has(call, MASK)) {
        text_printf(out, "%s" CELL, score);
    } else if (call->in[MASK]->type == DT_BOOL) {
        text_put(out, "select(");
        put_mask(call, out, h);
        text_printf(out, ", %s" CELL ", -inf)", score);
    } else {
        text_put(out, "select(");
        put_mask(call, out, h);
        text_printf(out, " == -inf, %s(-inf), %s" CELL " + ", dtype_name(wide), score);
        op_put_cast(out, call->in[MASK]->type, wide);
        put_mask(call, out, h);
        text_put(out, "))");
    }
    text_put(out, conditions ? ", -inf)\n" : "\n");
    out->failed |= visible.failed;
    text_free(&visible);
}

/* p: the softmax of z over t; all zero in a row that sees no key. */
static void put_softmax(Text *out) {
    text_put(out, "top" ROW " = max(t) z" CELL "\n");
    text_put(out, "e" CELL " = exp(z" CELL " - select(top" ROW " == -inf, 0, top" ROW "))\n");
    text_put(out, "total" ROW " = sum(t) e" CELL "\n");
    text_put(out, "p" CELL " = e" CELL " / select(total" ROW " == 0, 1, total" ROW ")\n");
}

static void put_scores(Text *out, const Heads *h, const char *from) {
    text_printf(out, "scores[n, %lld*g:%lld + r:%lld, s, t] = %s" CELL "\n", (long long)(h->heads / h->kv_heads),
                (long long)h->kv_heads, (long long)(h->heads / h->kv_heads), from);
}

static whet_status check_attention(OpCall *call, const Heads *h) {
    const Type *mask = op_has(call, MASK) ? call->in[MASK] : NULL;
    if (mask && (mask->rank < 1 || mask->rank > 4 || (mask->type != DT_BOOL && dtype_kind(mask->type) != KIND_FLOAT)))
        return op_error(call, WHET_ERROR_UNSUPPORTED,
                        "a mask of type %s and rank %d is not supported; wanted bool or float, rank 1 to 4",
                        dtype_name(mask->type), mask->rank);
    int64_t mode = op_int(call, "qk_matmul_output_mode");
    if (mode < 0 || mode > 3)
        return op_error(call, WHET_ERROR_FORMAT, "qk_matmul_output_mode is %lld; wanted 0 to 3", (long long)mode);
    if (h->flat && op_has(call, K) && call->in[K]->dims[2] != h->kv_heads * h->size)
        return op_error(call, WHET_ERROR_DATA, "keys have %lld elements; wanted %lld", (long long)call->in[K]->dims[2],
                        (long long)(h->kv_heads * h->size));
    return WHET_OK;
}

/* In f16 both operands are scaled, as the specification has it, by the root: so what overflows there overflows here. */
static void put_product(OpCall *call, Text *out, const Heads *h) {
    long long shared = h->heads / h->kv_heads, size = h->size;
    DType type = call->in[Q]->type, wide = op_wide(type);
    const Attr *given = op_attr(call, "scale");
    double scale = given ? (double)given->f : 1 / sqrt((double)size);
    char factor[48] = "";
    if (wide != type)
        snprintf(factor, sizeof factor, " * %.9g", sqrt(scale));
    text_printf(out, "a[n, g:%lld, r:%lld, s, t] = ", (long long)h->kv_heads, shared);
    op_put_cast(out, wide, type);
    text_printf(out, "sum(d:%lld) ", size);
    op_put_cast(out, type, wide);
    if (h->flat)
        text_printf(out, "q[n, s, %lld*g + %lld*r + d]%s) * ", shared * size, size, factor);
    else
        text_printf(out, "q[n, %lld*g + r, s, d]%s) * ", shared, factor);
    op_put_cast(out, type, wide);
    put_key(call, out, h, false);
    text_printf(out, "%s))", factor);
    if (wide == type)
        text_printf(out, " * %.17g", scale);
    text_char(out, '\n');
}

static whet_status build_attention(OpCall *call, Text *out) {
    Heads h;
    whet_status status = get_heads(call, &h);
    if (!status)
        status = check_attention(call, &h);
    if (status)
        return status;
    DType type = call->out[Y].type, wide = op_wide(type);
    long long shared = h.heads / h.kv_heads, groups = h.kv_heads, v_size = h.v_size;
    double cap = op_float(call, "softcap");
    const char *score = cap > 0 ? "c" : "a";
    put_present(call, out, &h, false);
    put_present(call, out, &h, true);
    put_product(call, out, &h);
    if (cap > 0)
        text_printf(out, "c" CELL " = tanh(a" CELL " / %.9g) * %.9g\n", cap, cap);
    put_masked(call, out, &h, score, type);
    put_softmax(out);
    if (op_wants(call, SCORES)) {
        const char *const modes[] = {"a", score, "z", "p"};
        put_scores(out, &h, modes[op_int(call, "qk_matmul_output_mode")]);
    }
    if (h.flat)
        text_printf(out, "y[n, s, %lld*g:%lld + %lld*r:%lld + e:%lld] = ", shared * v_size, groups, v_size, shared, v_size);
    else
        text_printf(out, "y[n, %lld*g:%lld + r:%lld, s, e] = ", shared, groups, shared);
    op_put_cast(out, wide, type);
    text_put(out, "sum(t) ");
    op_put_cast(out, type, wide);
    text_put(out, "p" CELL ") * ");
    op_put_cast(out, call->in[V]->type, wide);
    put_key(call, out, &h, true);
    text_put(out, "))\n");
    return WHET_OK;
}

/* ---- RotaryEmbedding --------------------------------------------------------------------------------------------- */

typedef struct Rotary {
    bool flat;
    int64_t heads, size, turned; /* elements of a head; those that are rotated */
} Rotary;

static whet_status get_rotary(OpCall *call, Rotary *r) {
    const Type *x = call->in[0];
    *r = (Rotary){.flat = x->rank == 3, .turned = op_int(call, "rotary_embedding_dim")};
    if (x->rank != 3 && x->rank != 4)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 3 or 4", x->rank);
    r->heads = r->flat ? op_int(call, "num_heads") : x->dims[1];
    if (r->heads < 1 || (r->flat && x->dims[2] % r->heads))
        return op_error(call, WHET_ERROR_DATA, "num_heads is %lld, which does not divide the input", (long long)r->heads);
    r->size = r->flat ? x->dims[2] / r->heads : x->dims[3];
    if (!r->turned)
        r->turned = r->size;
    if (r->turned < 2 || r->turned % 2 || r->turned > r->size)
        return op_error(call, WHET_ERROR_DATA, "%lld elements of %lld are to be rotated; wanted an even number",
                        (long long)r->turned, (long long)r->size);
    return WHET_OK;
}

/* Element `factor`*i + `offset` of a head, read or (with extents) written. */
static void put_element(Text *out, const Rotary *r, const char *name, bool left, int64_t factor, int64_t offset, int64_t count) {
    char element[80];
    if (left)
        snprintf(element, sizeof element, "%lld*i:%lld + %lld", (long long)factor, (long long)count, (long long)offset);
    else
        snprintf(element, sizeof element, "%lld*i + %lld", (long long)factor, (long long)offset);
    if (!r->flat)
        text_printf(out, "%s[n, h, s, %s]", name, element);
    else if (left)
        text_printf(out, "%s[n, s, %lld*h:%lld + %s]", name, (long long)r->size, (long long)r->heads, element);
    else
        text_printf(out, "%s[n, s, %lld*h + %s]", name, (long long)r->size, element);
}

static void put_turn(OpCall *call, Text *out, const char *cache, DType wide) {
    op_put_cast(out, call->in[1]->type, wide);
    text_printf(out, op_has(call, 3) ? "%s[position[n, s], i])" : "%s[n, s, i])", cache);
}

/* One of the two results: cos * a - sin * b, or sin * a + cos * b. */
static void put_rotated(OpCall *call, Text *out, const Rotary *r, bool second) {
    DType type = call->in[0]->type, wide = op_wide(type);
    int64_t half = r->turned / 2, interleaved = op_int(call, "interleaved") != 0;
    int64_t factor = interleaved ? 2 : 1, step = interleaved ? 1 : half;
    put_element(out, r, "y", true, factor, second ? step : 0, half);
    text_put(out, " = ");
    op_put_cast(out, wide, type);
    put_turn(call, out, second ? "sin_" : "cos_", wide);
    text_put(out, " * ");
    op_put_cast(out, type, wide);
    put_element(out, r, "x", false, factor, 0, 0);
    text_put(out, second ? ") + " : ") - ");
    put_turn(call, out, second ? "cos_" : "sin_", wide);
    text_put(out, " * ");
    op_put_cast(out, type, wide);
    put_element(out, r, "x", false, factor, step, 0);
    text_put(out, "))\n");
}

static whet_status build_rotary(OpCall *call, Text *out) {
    Rotary r;
    whet_status status = get_rotary(call, &r);
    if (status)
        return status;
    put_rotated(call, out, &r, false);
    put_rotated(call, out, &r, true);
    if (r.turned < r.size) {
        put_element(out, &r, "y", true, 1, r.turned, r.size - r.turned);
        text_put(out, " = ");
        put_element(out, &r, "x", false, 1, r.turned, 0);
    }
    return WHET_OK;
}

/* ---- CausalConvWithState ----------------------------------------------------------------------------------------- */

static whet_status shape_causal(OpCall *call) {
    const Type *x = call->in[0], *w = call->in[1];
    if (x->rank < 0 || w->rank < 0)
        return WHET_OK;
    if (x->rank != 3 || w->rank != 3)
        return op_error(call, WHET_ERROR_DATA, "input and weights have ranks %d and %d; wanted 3 and 3", x->rank, w->rank);
    op_same_shape(call, 0, 0);
    if (w->dims[2] == 0)
        return op_error(call, WHET_ERROR_DATA, "the kernel is empty");
    Dim state = dim_is_extent(w->dims[2]) ? w->dims[2] - 1 : dim_add(call->symbols, w->dims[2], dim_const(call->symbols, -1));
    op_set_shape(call, 1, 3, (Dim[]){x->dims[0], x->dims[1], state});
    return WHET_OK;
}

/* The input behind the state of the run before: "line[n, c, 3 + l:8] = x[n, c, l]". */
static whet_status build_causal(OpCall *call, Text *out) {
    DType type = call->in[0]->type, wide = op_wide(type);
    const Type *x = call->in[0];
    long long before = call->in[1]->dims[2] - 1, length = x->dims[2];
    bool swish = op_choice(call, "activation") > 0;
    if (op_has(call, 3) && before)
        text_printf(out, "line[n, c, l:%lld] = past[n, c, l]\n", before);
    text_printf(out, "line[n, c, %lld + l:%lld] = x[n, c, l]\n", before, length);
    text_printf(out, "y[n, c, l:%lld] = ", length);
    op_put_cast(out, wide, type);
    text_put(out, swish ? "silu(" : "(");
    if (swish) { /* the specification rounds between */
        op_put_cast(out, type, wide);
        op_put_cast(out, wide, type);
    }
    text_put(out, "(sum(k) ");
    op_put_cast(out, type, wide);
    text_put(out, "line[n, c, l + k]) * ");
    op_put_cast(out, type, wide);
    text_put(out, "w[c, 0, k]))");
    if (op_has(call, 2)) {
        text_put(out, " + ");
        op_put_cast(out, type, wide);
        text_put(out, "b[c])");
    }
    text_put(out, swish ? "))))\n" : "))\n");
    if (op_wants(call, 1))
        text_printf(out, "state[n, c, l:%lld] = line[n, c, l + %lld]\n", before, length);
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define ATTENTION_ATTRS                                                                                                          \
    "is_causal:i=0 kv_num_heads:i=0 q_num_heads:i=0 qk_matmul_output_mode:i=0 scale:f softcap:f=0 softmax_precision:i"
#define ATTENTION_OUT " -> y:T, present_k?:T, present_v?:V, scores?:T"
/* No bf16: see Softmax. */
#define ATTENTION_TYPES "T=f16|f32|f64 V=f16|f32|f64 M=f16|f32|f64|bool"

const OpRow ops_attention[] = {
    {"", "Attention", 23, "q:T, k:T, v:V, mask?:M, past_k?:T, past_v?:V" ATTENTION_OUT, ATTENTION_TYPES, ATTENTION_ATTRS,
     shape_attention, .build = build_attention},
    {"", "Attention", 24, "q:T, k:T, v:V, mask?:M, past_k?:T, past_v?:V, valid?:s64" ATTENTION_OUT, ATTENTION_TYPES,
     ATTENTION_ATTRS, shape_attention, .build = build_attention},
    {"", "Attention", 25, "q:T, k:T, v:V, mask?:M, past_k?:T, past_v?:V, valid?:s64" ATTENTION_OUT, ATTENTION_TYPES,
     ATTENTION_ATTRS " left_window_size:i=-1 right_window_size:i=-1", shape_attention, .build = build_attention},
    {"", "CausalConvWithState", 27, "x:T, w:T, b?:T, past?:T -> y:T, state:T", "T=float", "activation:s=none|silu|swish", shape_causal,
     .build = build_causal},
    {"", "RotaryEmbedding", 23, "x:T, cos_:T, sin_:T, position?:s64 -> y:T", "T=float",
     "interleaved:i=0 num_heads:i=0 rotary_embedding_dim:i=0", shape_same, .build = build_rotary},
};
// clang-format on
const size_t ops_attention_count = COUNT(ops_attention);
