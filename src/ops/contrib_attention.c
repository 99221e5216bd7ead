/* The domain com.microsoft: Attention, QAttention and MultiHeadAttention.
 *
 * Each operator writes how queries, new keys and new values are read; what follows is common:
 *
 *     keys = past keys, then new keys                      (values alike; both are the present)
 *     a[b, n, s, t] = scale * (q . keys) + bias            n head, s query, t key
 *     z = a + mask, or the lowest number where causality forbids
 *     output[b, s, n] = softmax(z) . values
 *
 * Masks follow ONNX Runtime's CPU kernels: what is masked gets mask_filter_value added, not minus infinity.
 */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

typedef struct Heads {
    int64_t batch, heads, queries, keys, past, size, v_size; /* keys: new ones; size: of a head */
    int mask, bias, past_keys;                               /* inputs; -1: none. The values' past follows that of the keys */
    const char *mask_name, *bias_name;
    bool packed; /* past and present hold keys and values in one tensor */
} Heads;

#define CELL "[b, n, s, t]"
#define ROW  "[b, n, s]"

static bool has(const OpCall *call, int input) {
    return input >= 0 && op_has(call, input);
}

/* keys or vals: the past in front, new ones after it, as `fresh` reads them. */
static void put_cache(OpCall *call, Text *out, const Heads *h, bool values, const char *fresh) {
    const char *name = values ? "vals" : "keys";
    long long size = values ? h->v_size : h->size;
    if (has(call, h->past_keys) && h->past > 0) {
        const char *past = h->packed ? "past[" : values ? "past_value[" : "past_key[";
        text_printf(out, "%s[b, n:%lld, t:%lld, h:%lld] = f32(%s%sb, n, t, h])\n", name, (long long)h->heads, (long long)h->past,
                    size, past,
                    !h->packed ? ""
                    : values   ? "1, "
                               : "0, ");
    }
    text_printf(out, "%s[b, n:%lld, %lld + t:%lld, h:%lld] = %s\n", name, (long long)h->heads, (long long)h->past,
                (long long)h->keys, size, fresh);
    const char *type = dtype_name(call->out[0].type);
    if (h->packed && op_wants(call, 1))
        text_printf(out, "present[%d, b, n, t, h] = %s(%s[b, n, t, h])\n", values, type, name);
    else if (!h->packed && op_wants(call, values ? 2 : 1))
        text_printf(out, "present_%s[b, n, t, h] = %s(%s[b, n, t, h])\n", values ? "value" : "key", type, name);
}

/* What the mask adds to a score. */
static void put_mask(OpCall *call, Text *out, const Heads *h) {
    const Type *mask = call->in[h->mask];
    const char *name = h->mask_name;
    text_put(out, " + select(");
    if (mask->rank == 1 && mask->dims[0] == h->batch)
        text_printf(out, "t < s64(%s[b + 0])", name);
    else if (mask->rank == 1)
        text_printf(out, "(t < s64(%s[b + 0])) & (t >= s64(%s[b + %lld]))", name, name, (long long)h->batch);
    else if (mask->rank == 2)
        text_printf(out, "%s[%s, t] > 0", name, mask->dims[0] == 1 ? "0" : "b");
    else
        text_printf(out, "%s[%s, s, t] > 0", name, mask->dims[0] == 1 ? "0" : "b");
    text_put(out, ", 0, mask_filter_value)");
}

static void put_attention(OpCall *call, Text *out, const Heads *h, const char *query) {
    double scale = op_attr(call, "scale") && op_float(call, "scale") != 0 ? op_float(call, "scale") : 0;
    text_printf(out, "a[b, n:%lld, s, t] = (sum(h:%lld) %s * keys[b, n, t, h]) * ", (long long)h->heads, (long long)h->size,
                query);
    if (scale != 0)
        text_double(out, scale);
    else
        text_printf(out, "(1 / sqrt(%lld.0))", (long long)h->size);
    if (has(call, h->bias)) {
        const Type *bias = call->in[h->bias];
        text_printf(out, " + f32(%s[%s, %s, s, t])", h->bias_name, bias->dims[0] == 1 ? "0" : "b",
                    bias->dims[1] == 1 ? "0" : "n");
    }
    text_put(out, "\nz" CELL " = ");
    bool causal = op_int(call, "unidirectional") != 0;
    if (causal)
        text_printf(out, "select(t <= s + %lld, ", (long long)h->past);
    text_put(out, "a" CELL);
    if (has(call, h->mask))
        put_mask(call, out, h);
    text_put(out, causal ? ", -3.4028234663852886e38)\n" : "\n");
    text_put(out, "top" ROW " = max(t) z" CELL "\n");
    text_put(out, "ex" CELL " = exp(z" CELL " - top" ROW ")\n");
    text_put(out, "total" ROW " = sum(t) ex" CELL "\n");
    text_printf(out, "output[b, s, %lld*n:%lld + h:%lld] = %s((sum(t) ex" CELL " * vals[b, n, t, h]) / total" ROW ")\n",
                (long long)h->v_size, (long long)h->heads, (long long)h->v_size, dtype_name(call->out[0].type));
}

static whet_status check_heads(OpCall *call, const Heads *h) {
    const Type *mask = has(call, h->mask) ? call->in[h->mask] : NULL, *bias = has(call, h->bias) ? call->in[h->bias] : NULL;
    int64_t total = h->past + h->keys;
    if (h->size < 1 || h->v_size < 1)
        return op_error(call, WHET_ERROR_DATA, "wanted a hidden size that splits into %lld heads", (long long)h->heads);
    if (bias && (bias->rank != 4 || bias->dims[2] != h->queries || bias->dims[3] != total ||
                 (bias->dims[0] != 1 && bias->dims[0] != h->batch) || (bias->dims[1] != 1 && bias->dims[1] != h->heads)))
        return op_error(call, WHET_ERROR_DATA, "the attention bias has a wrong shape; wanted [%lld or 1, %lld or 1, %lld, %lld]",
                        (long long)h->batch, (long long)h->heads, (long long)h->queries, (long long)total);
    if (!mask)
        return WHET_OK;
    bool fits = mask->rank == 1   ? mask->dims[0] == h->batch || mask->dims[0] == 2 * h->batch
                : mask->rank == 2 ? (mask->dims[0] == h->batch || mask->dims[0] == 1) && mask->dims[1] == total
                : mask->rank == 3
                    ? (mask->dims[0] == h->batch || mask->dims[0] == 1) && mask->dims[1] == h->queries && mask->dims[2] == total
                    : false;
    return fits ? WHET_OK : op_error(call, WHET_ERROR_UNSUPPORTED, "a mask of this shape (rank %d) is not supported", mask->rank);
}

static int64_t head_count(OpCall *call) {
    int64_t heads = op_int(call, "num_heads");
    if (heads < 1 || heads > 65536)
        op_error(call, WHET_ERROR_FORMAT, "num_heads is %lld; wanted 1 to 65536", (long long)heads);
    return heads < 1 || heads > 65536 ? 0 : heads;
}

/* ---- Attention, QAttention: one projection for queries, keys and values -------------------------------------------------- */

static bool is_quantized(const OpCall *call) {
    return call->row->name[0] == 'Q';
}

static int past_input(const OpCall *call) {
    return is_quantized(call) ? 8 : 4;
}

/* Hidden sizes of queries (and keys) and of values. */
static whet_status hidden_sizes(OpCall *call, Dim *hidden, Dim *v_hidden) {
    int count = 0;
    const int64_t *sizes = is_quantized(call) ? NULL : op_ints(call, "qkv_hidden_sizes", &count);
    Dim all = call->in[1]->dims[1];
    if (sizes) {
        if (count != 3 || sizes[0] != sizes[1] || sizes[0] < 1 || sizes[2] < 1)
            return op_error(call, WHET_ERROR_FORMAT, "qkv_hidden_sizes must be three sizes, the first two equal");
        if (dim_is_extent(all) && (sizes[0] > all || sizes[2] > all || 2 * sizes[0] + sizes[2] != all))
            return op_error(call, WHET_ERROR_DATA, "wanted qkv_hidden_sizes that add up to the columns of the weights, %lld",
                            (long long)all);
        *hidden = sizes[0];
        *v_hidden = sizes[2];
        return WHET_OK;
    }
    if (dim_is_extent(all) && all % 3)
        return op_error(call, WHET_ERROR_DATA, "the weights have %lld columns, no multiple of 3", (long long)all);
    *hidden = *v_hidden = dim_floordiv(call->symbols, all, 3);
    return WHET_OK;
}

static whet_status attention_shape(OpCall *call) {
    const Type *x = call->in[0], *w = call->in[1], *past = has(call, past_input(call)) ? call->in[past_input(call)] : NULL;
    int64_t heads = head_count(call);
    Dim hidden, v_hidden;
    if (!heads)
        return WHET_ERROR_FORMAT;
    if (op_int(call, "do_rotary") || op_int(call, "past_present_share_buffer"))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "do_rotary and past_present_share_buffer are not supported");
    if (x->rank < 0 || w->rank < 0 || (past && past->rank < 0))
        return WHET_OK;
    if (x->rank != 3 || w->rank != 2 || (past && past->rank != 5))
        return op_error(call, WHET_ERROR_DATA, "input, weights and past have ranks %d, %d, %d; 3, 2, 5 are wanted", x->rank,
                        w->rank, past ? past->rank : 5);
    whet_status status = hidden_sizes(call, &hidden, &v_hidden);
    if (status != WHET_OK)
        return status;
    op_set_shape(call, 0, 3, (const Dim[]){x->dims[0], x->dims[1], v_hidden});
    Dim total = past ? dim_add(call->symbols, past->dims[3], x->dims[1]) : x->dims[1];
    op_set_shape(call, 1, 5, (const Dim[]){2, x->dims[0], heads, total, dim_floordiv(call->symbols, hidden, heads)});
    if (is_quantized(call))
        call->out[0].type = DT_F32;
    if (call->out_count > 1)
        call->out[1].type = call->out[0].type;
    return WHET_OK;
}

static whet_status attention_heads(OpCall *call, Heads *h) {
    const Type *x = call->in[0], *w = call->in[1], *past = has(call, past_input(call)) ? call->in[past_input(call)] : NULL;
    Dim hidden, v_hidden;
    whet_status status = hidden_sizes(call, &hidden, &v_hidden);
    if (status != WHET_OK)
        return status;
    int64_t heads = head_count(call);
    *h = (Heads){.batch = x->dims[0],
                 .heads = heads,
                 .queries = x->dims[1],
                 .keys = x->dims[1],
                 .mask_name = "mask_index",
                 .bias_name = "attention_bias",
                 .packed = true};
    h->mask = is_quantized(call) ? 5 : 3;
    h->bias = is_quantized(call) ? -1 : 5;
    h->past_keys = past_input(call);
    h->past = past ? past->dims[3] : 0;
    h->size = hidden % heads ? 0 : hidden / heads;
    h->v_size = v_hidden % heads ? 0 : v_hidden / heads;
    if (w->dims[0] != x->dims[2])
        return op_error(call, WHET_ERROR_DATA, "the weights have %lld rows; %lld are wanted", (long long)w->dims[0],
                        (long long)x->dims[2]);
    if (past && (past->dims[0] != 2 || past->dims[1] != h->batch || past->dims[2] != heads || past->dims[4] != h->size))
        return op_error(call, WHET_ERROR_DATA, "the past has a wrong shape; wanted [2, %lld, %lld, any, %lld]",
                        (long long)h->batch, (long long)heads, (long long)h->size);
    if (past && h->v_size != h->size)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "values of another size with a past are not supported");
    if (has(call, 2) && (call->in[2]->rank != 1 || call->in[2]->dims[0] != w->dims[1]))
        return op_error(call, WHET_ERROR_DATA, "the bias has a wrong shape; wanted [%lld], an element a column of the weights",
                        (long long)w->dims[1]);
    return check_heads(call, h);
}

static const char *number_at(const Type *x) {
    return x->rank == 0 ? "[]" : x->dims[0] == 1 ? "[0]" : "[j]";
}

static void put_projection(OpCall *call, Text *out) {
    if (!is_quantized(call)) {
        text_put(out, "p[b, s, j] = (sum(k) f32(input[b, s, k]) * f32(weights[k, j]))");
        text_put(out, op_has(call, 2) ? " + f32(bias[j])\n" : "\n");
        return;
    }
    text_put(out, "p[b, s, j] = f32(sum(k) (s32(input[b, s, k])");
    if (op_has(call, 6))
        text_printf(out, " - s32(input_zero_point%s)", number_at(call->in[6]));
    text_put(out, ") * (s32(weight[k, j])");
    if (op_has(call, 7))
        text_printf(out, " - s32(weight_zero_point%s)", number_at(call->in[7]));
    text_printf(out, ")) * input_scale%s * weight_scale%s + bias[j]\n", number_at(call->in[3]), number_at(call->in[4]));
}

static whet_status attention_build(OpCall *call, Text *out) {
    Heads h;
    char fresh[96], query[64];
    whet_status status = attention_heads(call, &h);
    if (status != WHET_OK)
        return status;
    put_projection(call, out);
    for (int values = 0; values < 2; values++) {
        int64_t size = values ? h.v_size : h.size;
        snprintf(fresh, sizeof fresh, "p[b, t + 0, %lld*n + h + %lld]", (long long)size,
                 (long long)(h.heads * h.size * (values + 1)));
        put_cache(call, out, &h, values, fresh);
    }
    snprintf(query, sizeof query, "p[b, s, %lld*n + h]", (long long)h.size);
    put_attention(call, out, &h, query);
    return WHET_OK;
}

/* ---- MultiHeadAttention: queries, keys and values were projected before -------------------------------------------------- */

enum { MHA_QUERY, MHA_KEY, MHA_VALUE, MHA_BIAS, MHA_PADDING, MHA_ATTENTION_BIAS, MHA_PAST_KEY, MHA_PAST_VALUE };

static whet_status multi_head_shape(OpCall *call) {
    const Type *q = call->in[0];
    int64_t heads = head_count(call);
    if (!heads)
        return WHET_ERROR_FORMAT;
    if (!op_has(call, MHA_KEY) || !op_has(call, MHA_VALUE) || op_has(call, MHA_PAST_KEY) != op_has(call, MHA_PAST_VALUE))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "packed queries, keys and values are not supported");
    if (!op_ranks_known(call))
        return WHET_OK;
    const Type *k = call->in[1], *v = call->in[2], *past = op_has(call, MHA_PAST_KEY) ? call->in[MHA_PAST_KEY] : NULL;
    if (q->rank != 3 || k->rank != 3 || v->rank != 3 || (past && past->rank != 4))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "ranks %d, %d and %d; 3 is supported", q->rank, k->rank, v->rank);
    op_set_shape(call, 0, 3, (const Dim[]){q->dims[0], q->dims[1], v->dims[2]});
    Dim total = past ? dim_add(call->symbols, past->dims[2], k->dims[1]) : k->dims[1];
    op_set_shape(call, 1, 4, (const Dim[]){q->dims[0], heads, total, dim_floordiv(call->symbols, k->dims[2], heads)});
    op_set_shape(call, 2, 4, (const Dim[]){q->dims[0], heads, total, dim_floordiv(call->symbols, v->dims[2], heads)});
    return WHET_OK;
}

static whet_status multi_head_heads(OpCall *call, Heads *h) {
    const Type *q = call->in[0], *k = call->in[1], *v = call->in[2];
    const Type *past = op_has(call, MHA_PAST_KEY) ? call->in[MHA_PAST_KEY] : NULL;
    int64_t heads = head_count(call);
    *h = (Heads){.batch = q->dims[0],
                 .heads = heads,
                 .queries = q->dims[1],
                 .keys = k->dims[1],
                 .mask = MHA_PADDING,
                 .bias = MHA_ATTENTION_BIAS,
                 .past_keys = MHA_PAST_KEY,
                 .mask_name = "key_padding_mask",
                 .bias_name = "attention_bias"};
    h->past = past ? past->dims[2] : 0;
    h->size = q->dims[2] % heads ? 0 : q->dims[2] / heads;
    h->v_size = v->dims[2] % heads ? 0 : v->dims[2] / heads;
    if (k->dims[2] != q->dims[2] || k->dims[0] != q->dims[0] || v->dims[0] != q->dims[0] || v->dims[1] != k->dims[1])
        return op_error(call, WHET_ERROR_DATA, "wanted queries [b, s, h], keys [b, t, h] and values [b, t, any]");
    if (past) {
        const Type *values = call->in[MHA_PAST_VALUE];
        for (int i = 0; i < 2; i++) {
            const Type *x = i ? values : past;
            if (x->rank != 4 || x->dims[0] != h->batch || x->dims[1] != heads || x->dims[2] != h->past ||
                x->dims[3] != (i ? h->v_size : h->size))
                return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld, %lld, %lld, %lld]",
                                i ? MHA_PAST_VALUE : MHA_PAST_KEY, (long long)h->batch, (long long)heads, (long long)h->past,
                                (long long)(i ? h->v_size : h->size));
        }
    }
    if (op_has(call, MHA_BIAS) && (call->in[MHA_BIAS]->rank != 1 || call->in[MHA_BIAS]->dims[0] != 2 * q->dims[2] + v->dims[2]))
        return op_error(call, WHET_ERROR_DATA, "the bias has a wrong shape; wanted [%lld], the sizes of queries, keys and values",
                        (long long)(2 * q->dims[2] + v->dims[2]));
    return check_heads(call, h);
}

static whet_status multi_head_build(OpCall *call, Text *out) {
    Heads h;
    char fresh[160], query[160], bias[64] = "";
    whet_status status = multi_head_heads(call, &h);
    if (status != WHET_OK)
        return status;
    bool biased = op_has(call, MHA_BIAS);
    for (int values = 0; values < 2; values++) {
        long long size = values ? h.v_size : h.size;
        if (biased)
            snprintf(bias, sizeof bias, " + f32(bias[%lld*n + h + %lld])", size, (long long)(h.heads * h.size * (values + 1)));
        snprintf(fresh, sizeof fresh, "f32(%s[b, t + 0, %lld*n + h])%s", values ? "value" : "key", size, bias);
        put_cache(call, out, &h, values, fresh);
    }
    if (biased)
        snprintf(bias, sizeof bias, " + f32(bias[%lld*n + h])", (long long)h.size);
    snprintf(query, sizeof query, "(f32(query[b, s, %lld*n + h])%s)", (long long)h.size, bias);
    put_attention(call, out, &h, query);
    return WHET_OK;
}

#define MICROSOFT "com.microsoft"
#define FLOATS    "T=f32|f16|bf16"
#define ATTENTION                                                                                                                \
    "input:T, weights:T, bias?:T, mask_index?:s32, past?:T, attention_bias?:T, past_sequence_length?:s32 -> output:T, "          \
    "present?:T"
#define Q_ATTENTION                                                                                                              \
    "input:A, weight:B, bias:f32, input_scale:f32, weight_scale:f32, mask_index?:s32, input_zero_point?:A, "                     \
    "weight_zero_point?:B, past?:f32 -> output:f32, present?:f32"
#define MULTI_HEAD                                                                                                               \
    "query:T, key?:T, value?:T, bias?:T, key_padding_mask?:s32, attention_bias?:T, past_key?:T, past_value?:T -> "               \
    "output:T, present_key?:T, present_value?:T"
#define COMMON "do_rotary:i=0 mask_filter_value:f=-10000 num_heads:i! past_present_share_buffer:i=0 scale:f unidirectional:i=0"

// clang-format off
const OpRow ops_contrib_attention[] = {
    {MICROSOFT, "Attention", 1, ATTENTION, FLOATS, COMMON " qkv_hidden_sizes:I rotary_embedding_dim:i=0", attention_shape, .build = attention_build},
    {MICROSOFT, "MultiHeadAttention", 1, MULTI_HEAD, FLOATS, "mask_filter_value:f=-10000 num_heads:i! scale:f unidirectional:i=0", multi_head_shape, .build = multi_head_build},
    {MICROSOFT, "QAttention", 1, Q_ATTENTION, "A=u8|s8 B=u8|s8", COMMON, attention_shape, .build = attention_build},
};
// clang-format on
const size_t ops_contrib_attention_count = COUNT(ops_contrib_attention);
