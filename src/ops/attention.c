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
        return op_error(call, WHET_ERROR_FORMAT, "wanted past_key and past_value together, and without nonpad_kv_seqlen");
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

/* A key or value: the input itself, or what put_present made. */
static void hole_key(const OpCall *call, OpHoles *holes, const Heads *h, bool values) {
    const char *name = values ? "v" : "k", *axis = values ? "e" : "d";
    if (op_has(call, values ? PAST_V : PAST_K))
        op_hole(holes, *name, "present_%s[n, g, t, %s]", name, axis);
    else if (h->flat)
        op_hole(holes, *name, "%s[n, t, %lld*g + %s]", name, (long long)(values ? h->v_size : h->size), axis);
    else
        op_hole(holes, *name, "%s[n, g, t, %s]", name, axis);
}

static int64_t window_size(const OpCall *call, const char *name) {
    AttrSpec spec;
    return signature_find_attr(call->row->attrs, name, &spec) ? op_int(call, name) : -1;
}

/* $z "(t <= s + 12) & (t < valid[n])": may query s see key t? "" always. The position of a query counts what came before it. */
static void hole_visible(const OpCall *call, OpHoles *holes, const Heads *h) {
    int64_t left = window_size(call, "left_window_size"), right = window_size(call, "right_window_size");
    bool valid = op_has(call, VALID);
    Text text;
    text_init(&text);
    op_hole(holes, 'o', valid ? "valid[n] - %lld" : "%lld", (long long)(valid ? h->queries : h->past));
    if (op_int(call, "is_causal"))
        op_put_filled(&text, holes, " & (t <= s + $o)");
    if (left >= 0) {
        text_printf(&text, " & (t + %lld", (long long)left);
        op_put_filled(&text, holes, " >= s + $o)");
    }
    if (right >= 0) {
        text_printf(&text, " & (t - %lld", (long long)right);
        op_put_filled(&text, holes, " <= s + $o)");
    }
    text_put(&text, valid ? " & (t < valid[n])" : "");
    op_hole(holes, 'z', "%s", text.length ? text.data + strlen(" & ") : "");
    text_free(&text);
}

/* $m: the mask, broadcast to [n, head, s, t]; a last dimension that is shorter than the keys masks the rest. */
static void hole_mask(const OpCall *call, OpHoles *holes, const Heads *h) {
    const Type *mask = call->in[MASK];
    Text text;
    text_init(&text);
    const char *const axes[] = {"n", "$r*g + r", "s", "t"};
    for (int d = 0; d < mask->rank; d++) {
        text_put(&text, d ? ", " : "mask[");
        op_put_filled(&text, holes, mask->dims[d] == 1 && d + 1 < mask->rank ? "0" : axes[4 - mask->rank + d]);
    }
    bool shorter = mask->rank && mask->dims[mask->rank - 1] < h->total;
    text_put(&text, !shorter ? "]" : mask->type == DT_BOOL ? "]?" : "]?(-inf)");
    op_hole_text(holes, 'm', &text);
}

#define CELL "[n, g, r, s, t]"
#define ROW  "[n, g, r, s]"

/* z: the scores $s with mask; -inf, whatever the score, where a key is not seen. */
static void put_masked(const OpCall *call, Text *out, OpHoles *holes, const Heads *h) {
    hole_visible(call, holes, h);
    bool all = !*op_filling(holes, 'z'), mask = op_has(call, MASK);
    if (mask)
        hole_mask(call, holes, h);
    op_put_filled(out, holes, all ? "z" CELL " = " : "z" CELL " = select($z, ");
    op_put_filled(out, holes,
                  !mask                             ? "$s" CELL
                  : call->in[MASK]->type == DT_BOOL ? "select($m, $s" CELL ", -inf)"
                                                    : "select($m == -inf, $T(-inf), $s" CELL " + $T($m))");
    text_put(out, all ? "\n" : ", -inf)\n");
}

/* p: the softmax of z over t; all zero in a row that sees no key. */
static const char softmax[] = "top" ROW " = max(t) z" CELL "\n"
                              "e" CELL " = exp(z" CELL " - select(top" ROW " == -inf, 0, top" ROW "))\n"
                              "total" ROW " = sum(t) e" CELL "\n"
                              "p" CELL " = e" CELL " / select(total" ROW " == 0, 1, total" ROW ")\n";

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
static void put_product(const OpCall *call, Text *out, OpHoles *holes, const Heads *h) {
    const Attr *given = op_attr(call, "scale");
    double scale = given ? (double)given->f : 1 / sqrt((double)h->size);
    bool plain = op_wide(call->in[Q]->type) == call->in[Q]->type;
    op_hole(holes, 'F', "%.9g", sqrt(scale));
    op_hole(holes, 'G', "%.17g", scale);
    op_put_filled(out, holes, "a[n, g:$g, r:$r, s, t] = $T(sum(d:$d) $W(");
    op_put_filled(out, holes, h->flat ? "q[n, s, $r*$d*g + $d*r + d]" : "q[n, $r*g + r, s, d]");
    op_put_filled(out, holes, plain ? ") * $W($k)) * $G\n" : " * $F) * $W($k * $F))\n");
}

static whet_status build_attention(OpCall *call, Text *out) {
    Heads h;
    whet_status status = get_heads(call, &h);
    if (!status)
        status = check_attention(call, &h);
    if (status)
        return status;
    double cap = op_float(call, "softcap");
    const char *score = cap > 0 ? "c" : "a";
    OpHoles holes = op_holes(call);
    op_hole_number(&holes, 'g', h.kv_heads);
    op_hole_number(&holes, 'r', h.heads / h.kv_heads);
    op_hole_number(&holes, 'd', h.size);
    op_hole_number(&holes, 'e', h.v_size);
    op_hole(&holes, 'c', "%.9g", cap);
    op_hole(&holes, 's', "%s", score);
    hole_key(call, &holes, &h, false);
    hole_key(call, &holes, &h, true);
    put_present(call, out, &h, false);
    put_present(call, out, &h, true);
    put_product(call, out, &holes, &h);
    op_put_filled(out, &holes, cap > 0 ? "c" CELL " = tanh(a" CELL " / $c) * $c\n" : "");
    put_masked(call, out, &holes, &h);
    text_put(out, softmax);
    if (op_wants(call, SCORES)) {
        const char *const modes[] = {"a", score, "z", "p"};
        op_hole(&holes, 'S', "%s", modes[op_int(call, "qk_matmul_output_mode")]);
        op_put_filled(out, &holes, "scores[n, $r*g:$g + r:$r, s, t] = $S" CELL "\n");
    }
    op_put_filled(out, &holes, h.flat ? "y[n, s, $r*$e*g:$g + $e*r:$r + e:$e]" : "y[n, $r*g:$g + r:$r, s, e]");
    op_put_filled(out, &holes, " = $T(sum(t) $W(p" CELL ") * $W($v))\n");
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
        return op_error(call, WHET_ERROR_DATA, "num_heads is %lld; wanted a divisor of the last dimension", (long long)r->heads);
    r->size = r->flat ? x->dims[2] / r->heads : x->dims[3];
    if (!r->turned)
        r->turned = r->size;
    if (r->turned < 2 || r->turned % 2 || r->turned > r->size)
        return op_error(call, WHET_ERROR_DATA, "%lld elements of %lld are to be rotated; wanted an even number",
                        (long long)r->turned, (long long)r->size);
    return WHET_OK;
}

/* Elements are turned in pairs that lie side by side, or half of those that are turned apart. */
static whet_status build_rotary(OpCall *call, Text *out) {
    Rotary r;
    whet_status status = get_rotary(call, &r);
    if (status)
        return status;
    bool interleaved = op_int(call, "interleaved") != 0;
    OpHoles holes = op_holes(call);
    op_hole(&holes, 'X', r.flat ? "n, s, %lld*h" : "n, h, s, 0", (long long)r.size);
    op_hole(&holes, 'Y', r.flat ? "n, s, %lld*h:%lld" : "n, h, s, 0", (long long)r.size, (long long)r.heads);
    op_hole(&holes, 'i', interleaved ? "2*i" : "i");
    op_hole_number(&holes, 'n', r.turned / 2);
    op_hole(&holes, 's', "%lld", interleaved ? 1 : (long long)(r.turned / 2));
    op_hole(&holes, 't', op_has(call, 3) ? "position[n, s], i" : "n, s, i");
    op_hole_number(&holes, 'a', r.turned);
    op_hole_number(&holes, 'b', r.size - r.turned);
    op_put_filled(out, &holes,
                  "y[$Y + $i:$n + 0] = $T($W(cos_[$t]) * $W(x[$X + $i]) - $W(sin_[$t]) * $W(x[$X + $i + $s]))\n"
                  "y[$Y + $i:$n + $s] = $T($W(sin_[$t]) * $W(x[$X + $i]) + $W(cos_[$t]) * $W(x[$X + $i + $s]))\n");
    op_put_filled(out, &holes, r.turned < r.size ? "y[$Y + i:$b + $a] = x[$X + i + $a]\n" : "");
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
        return op_error(call, WHET_ERROR_DATA, "the weights have 0 taps; wanted 1 or more");
    Dim state = dim_is_extent(w->dims[2]) ? w->dims[2] - 1 : dim_add(call->symbols, w->dims[2], dim_const(call->symbols, -1));
    op_set_shape(call, 1, 3, (Dim[]){x->dims[0], x->dims[1], state});
    return WHET_OK;
}

/* The input behind the state of the run before: "line[n, c, 3 + l:8] = x[n, c, l]". */
static whet_status build_causal(OpCall *call, Text *out) {
    int64_t before = call->in[1]->dims[2] - 1;
    bool swish = op_choice(call, "activation") > 0; /* the specification rounds in front of it */
    OpHoles holes = op_holes(call);
    op_hole_number(&holes, 'b', before);
    op_hole_number(&holes, 'l', call->in[0]->dims[2]);
    op_put_filled(out, &holes, op_has(call, 3) && before ? "line[n, c, l:$b] = past[n, c, l]\n" : "");
    op_put_filled(out, &holes, "line[n, c, $b + l:$l] = x[n, c, l]\n");
    op_put_filled(out, &holes, swish ? "y[n, c, l:$l] = $T(silu($W($T(" : "y[n, c, l:$l] = $T((((");
    op_put_filled(out, &holes, "(sum(k) $W(line[n, c, l + k]) * $W(w[c, 0, k]))");
    op_put_filled(out, &holes, op_has(call, 2) ? " + $W(b[c])))))\n" : "))))\n");
    op_put_filled(out, &holes, op_wants(call, 1) ? "state[n, c, l:$b] = line[n, c, l + $l]\n" : "");
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
