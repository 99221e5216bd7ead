/* The domain com.microsoft: RotaryEmbedding and GroupQueryAttention, of exported language models.
 *
 * GroupQueryAttention: every `share` heads of queries read one head of keys and values. New keys follow the past ones in the
 * cache, where all of a batch are equally far: at past + s. What lies beyond in it is cleared.
 *
 *     queries, fresh = x rotated                           (do_rotary)
 *     keys = past keys, then fresh ones                    (values alike; both are the present)
 *     z[b, g, j, s, t] = scale * (q . k) + bias            g head of keys, j query head of that, t no later than s
 *     output = softmax(z) . values
 *
 * The lengths are contents: a kernel is made for each (they decide shapes anyway, unless the cache is as long as can be).
 */
#include <stdio.h>
#include <string.h>

#include "ops/native.h"

/* ---- Rotation ------------------------------------------------------------------------------------------------------------ */

/* How one tensor of heads is rotated. Places are texts over b, s, n and an index of the head's element. */
typedef struct Rotation {
    const char *to;       /* definition: to[b, n, s, h] */
    int64_t heads, size;  /* of a head */
    int64_t pairs;        /* rotated: the first 2 * pairs elements */
    bool interleaved;     /* a pair lies side by side; else half a head apart */
    const char *position; /* "s + 5" or "position_ids[b, s]" */
} Rotation;

typedef void (*PutElement)(Text *out, const void *context, const char *element);

/* to[b, n, s, <place>] = x * cos -+ y * sin for one side of the pairs. */
static void put_side(Text *out, const Rotation *r, bool second, PutElement put, const void *context) {
    char x[48], y[48];
    snprintf(x, sizeof x, r->interleaved ? "2*h" : "h + 0");
    if (r->interleaved)
        snprintf(y, sizeof y, "2*h + 1");
    else
        snprintf(y, sizeof y, "h + %lld", (long long)r->pairs);
    if (r->interleaved)
        text_printf(out, "%s[b, n:%lld, s, 2*h:%lld + %d] = ", r->to, (long long)r->heads, (long long)r->pairs, second);
    else
        text_printf(out, "%s[b, n:%lld, s, h:%lld + %lld] = ", r->to, (long long)r->heads, (long long)r->pairs,
                    (long long)(second ? r->pairs : 0));
    put(out, context, second ? y : x);
    text_printf(out, " * f32(cos_cache[%s, h]) %c ", r->position, second ? '+' : '-');
    put(out, context, second ? x : y);
    text_printf(out, " * f32(sin_cache[%s, h])\n", r->position);
}

static void put_rotated(Text *out, const Rotation *r, PutElement put, const void *context) {
    if (r->pairs) {
        put_side(out, r, false, put, context);
        put_side(out, r, true, put, context);
    }
    if (2 * r->pairs == r->size)
        return;
    char rest[48];
    snprintf(rest, sizeof rest, "h + %lld", (long long)(2 * r->pairs));
    text_printf(out, "%s[b, n:%lld, s, h:%lld + %lld] = ", r->to, (long long)r->heads, (long long)(r->size - 2 * r->pairs),
                (long long)(2 * r->pairs));
    put(out, context, rest);
    text_char(out, '\n');
}

/* ---- RotaryEmbedding ----------------------------------------------------------------------------------------------------- */

static whet_status rotary_shape(OpCall *call) {
    const Type *x = call->in[0], *cosine = call->in[2], *sine = call->in[3];
    if (op_int(call, "is_packed_batching"))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "is_packed_batching is not supported");
    if (!op_ranks_known(call))
        return WHET_OK;
    if ((x->rank != 3 && x->rank != 4) || cosine->rank != 2 || sine->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "input and caches have ranks %d, %d, %d; 3 or 4, 2, 2 are wanted", x->rank,
                        cosine->rank, sine->rank);
    return op_same_shape(call, 0, 0);
}

typedef struct Heads {
    const char *name;
    int64_t size, offset; /* rank 3: elements before the first head */
    int rank;
} Heads;

static void put_head(Text *out, const void *context, const char *element) {
    const Heads *heads = context;
    if (heads->rank == 4)
        text_printf(out, "f32(%s[b, n, s, %s])", heads->name, element);
    else
        text_printf(out, "f32(%s[b, s, %lld*n + %s + %lld])", heads->name, (long long)heads->size, element,
                    (long long)heads->offset);
}

static whet_status check_caches(OpCall *call, int first, int64_t pairs) {
    for (int i = first; i < first + 2; i++) {
        const Type *cache = call->in[i];
        if (cache->rank != 2 || cache->dims[1] != pairs)
            return op_error(call, WHET_ERROR_DATA, "the caches of cosine and sine must be matrices of %lld columns",
                            (long long)pairs);
    }
    return WHET_OK;
}

static whet_status rotary_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *at = call->in[1];
    int64_t width = op_int(call, "rotary_embedding_dim"), heads = op_int(call, "num_heads"), size;
    if (x->rank == 4) {
        heads = x->dims[1];
        size = x->dims[3];
    } else {
        int64_t pairs = call->in[2]->dims[1];
        heads = heads > 0 ? heads : width > 0 || pairs < 1 ? 0 : x->dims[2] / (2 * pairs);
        size = heads > 0 && x->dims[2] % heads == 0 ? x->dims[2] / heads : 0;
    }
    width = width > 0 ? width : size;
    if (size < 1 || width % 2 || width > size)
        return op_error(call, WHET_ERROR_DATA, "heads of %lld elements, of which %lld are rotated; wanted an even number of them",
                        (long long)size, (long long)width);
    whet_status status = check_caches(call, 2, width / 2);
    if (status)
        return status;
    int64_t batch = x->dims[0], length = x->dims[x->rank == 4 ? 2 : 1];
    bool offset = at->rank == 1 && at->dims[0] == 1;
    if (!offset && (at->rank != 2 || at->dims[0] != batch || at->dims[1] != length))
        return op_error(call, WHET_ERROR_DATA, "position_ids must be one number, or one an element of batch and sequence");
    Heads source = {"input", size, 0, x->rank};
    Rotation rotation = {
        "r", heads, size, width / 2, op_int(call, "interleaved") != 0, offset ? "position_ids[0] + s" : "position_ids[b, s]"};
    put_rotated(out, &rotation, put_head, &source);
    const char *type = dtype_name(call->out[0].type);
    if (x->rank == 4)
        text_printf(out, "output[b, n, s, h] = %s(r[b, n, s, h])\n", type);
    else
        text_printf(out, "output[b, s, %lld*n:%lld + h:%lld] = %s(r[b, n, s, h])\n", (long long)size, (long long)heads,
                    (long long)size, type);
    return WHET_OK;
}

/* ---- GroupQueryAttention ------------------------------------------------------------------------------------------------- */

enum { QUERY, KEY, VALUE, PAST_KEY, PAST_VALUE, LENGTHS, TOTAL, COSINE, SINE, POSITIONS, BIAS };

typedef struct Group {
    int64_t batch, length, heads, kv_heads, size; /* length: of new keys; size: of a head */
    int64_t past, kept, buffer;                   /* past keys in use; keys in use with the new ones; of the cache before */
} Group;

static whet_status head_counts(OpCall *call, int64_t *heads, int64_t *kv_heads) {
    *heads = op_int(call, "num_heads");
    *kv_heads = op_int(call, "kv_num_heads");
    if (*heads < 1 || *heads > 65536 || *kv_heads < 1 || *heads % *kv_heads)
        return op_error(call, WHET_ERROR_FORMAT, "num_heads is %lld and kv_num_heads %lld; a multiple is wanted",
                        (long long)*heads, (long long)*kv_heads);
    return WHET_OK;
}

static whet_status group_supported(OpCall *call) {
    bool packed = !op_has(call, KEY);
    if (packed != !op_has(call, VALUE) || op_has(call, PAST_KEY) != op_has(call, PAST_VALUE))
        return op_error(call, WHET_ERROR_FORMAT, "wanted keys and values together, and so their past");
    if (op_int(call, "do_rotary") && (!op_has(call, COSINE) || !op_has(call, SINE)))
        return op_error(call, WHET_ERROR_FORMAT, "do_rotary is set; wanted the caches of cosine and sine");
    return WHET_OK;
}

static whet_status group_shape(OpCall *call) {
    int64_t heads, kv_heads;
    whet_status status = head_counts(call, &heads, &kv_heads);
    if (!status)
        status = group_supported(call);
    if (status || !op_ranks_known(call))
        return status;
    const Type *q = call->in[QUERY], *past = op_has(call, PAST_KEY) ? call->in[PAST_KEY] : NULL;
    if (q->rank != 3 || (past && past->rank != 4))
        return op_error(call, WHET_ERROR_DATA, "queries have rank %d and the past %d; 3 and 4 are wanted", q->rank,
                        past ? past->rank : 4);
    Dim width = q->dims[2];
    Symbols *symbols = call->symbols;
    if (!op_has(call, KEY))
        width = dim_mul(symbols, dim_floordiv(symbols, width, heads + 2 * kv_heads), heads);
    op_set_shape(call, 0, 3, (const Dim[]){q->dims[0], q->dims[1], width});
    const int64_t *total;
    int64_t count;
    Dim present = DIM_UNKNOWN;
    if (op_content_ints(call, TOTAL, &total, &count) && count == 1 && total[0] >= 0)
        present = !past ? total[0] : dim_max(symbols, past->dims[2], total[0]);
    for (int i = 1; i < 3; i++)
        op_set_shape(call, i, 4, (const Dim[]){q->dims[0], kv_heads, present, dim_floordiv(symbols, width, heads)});
    return WHET_OK;
}

/* Where all of a batch stand: ONNX Runtime takes a first prompt (as long as the total) as starting at 0. */
static whet_status group_lengths(OpCall *call, Group *g) {
    const int64_t *total, *lengths;
    int64_t totals, count;
    if (!op_content_ints(call, TOTAL, &total, &totals) || totals != 1 || !op_content_ints(call, LENGTHS, &lengths, &count) ||
        count != g->batch)
        return op_error(call, WHET_ERROR_DATA, "seqlens_k must be %lld numbers and total_sequence_length one",
                        (long long)g->batch);
    g->past = total[0] == g->length || count == 0 ? 0 : lengths[0] + 1 - g->length;
    for (int64_t i = 0; i < count && total[0] != g->length; i++)
        if (lengths[i] != lengths[0])
            return op_error(call, WHET_ERROR_UNSUPPORTED, "a batch of different lengths (%lld and %lld) is not supported",
                            (long long)lengths[0], (long long)lengths[i]);
    g->kept = g->past + g->length;
    int64_t room = total[0] > g->buffer ? total[0] : g->buffer;
    if (g->past < 0 || g->past > g->buffer || g->kept > room)
        return op_error(call, WHET_ERROR_DATA,
                        "seqlens_k says %lld past keys; there are %lld, and room for %lld with the new ones", (long long)g->past,
                        (long long)g->buffer, (long long)room);
    return WHET_OK;
}

static whet_status group_read(OpCall *call, Group *g) {
    const Type *q = call->in[QUERY], *past = op_has(call, PAST_KEY) ? call->in[PAST_KEY] : NULL;
    bool packed = !op_has(call, KEY);
    whet_status status = head_counts(call, &g->heads, &g->kv_heads);
    if (status)
        return status;
    int64_t parts = g->heads + (packed ? 2 * g->kv_heads : 0);
    g->batch = q->dims[0];
    g->length = q->dims[1];
    g->size = q->dims[2] % parts ? 0 : q->dims[2] / parts;
    g->buffer = past ? past->dims[2] : 0;
    if (g->size < 1)
        return op_error(call, WHET_ERROR_DATA, "queries have a width of %lld; wanted one that splits into %lld heads",
                        (long long)q->dims[2], (long long)parts);
    for (int i = KEY; i <= VALUE && !packed; i++) {
        const Type *x = call->in[i];
        if (x->rank != 3 || x->dims[0] != g->batch || x->dims[1] != g->length || x->dims[2] != g->kv_heads * g->size)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "input %d has a wrong shape; wanted [%lld, %lld, %lld], as the queries",
                            i, (long long)g->batch, (long long)g->length, (long long)(g->kv_heads * g->size));
    }
    for (int i = PAST_KEY; i <= PAST_VALUE && past; i++) {
        const Type *x = call->in[i];
        if (x->rank != 4 || x->dims[0] != g->batch || x->dims[1] != g->kv_heads || x->dims[2] != g->buffer ||
            x->dims[3] != g->size)
            return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld, %lld, %lld, %lld]", i,
                            (long long)g->batch, (long long)g->kv_heads, (long long)g->buffer, (long long)g->size);
    }
    return group_lengths(call, g);
}

/* fresh keys and values, and queries: `to`[b, n, s, h], rotated or not. */
static whet_status put_fresh(OpCall *call, Text *out, const Group *g) {
    bool packed = !op_has(call, KEY), rotate = op_int(call, "do_rotary") != 0;
    int64_t pairs = rotate ? call->in[COSINE]->dims[1] : 0;
    char position[64] = "position_ids[b, s]";
    if (!op_has(call, POSITIONS))
        snprintf(position, sizeof position, "s + %lld", (long long)g->past);
    else if (call->in[POSITIONS]->rank != 2 || call->in[POSITIONS]->dims[0] != g->batch ||
             call->in[POSITIONS]->dims[1] != g->length)
        return op_error(call, WHET_ERROR_DATA, "position_ids has a wrong shape; wanted [%lld, %lld], batch and sequence",
                        (long long)g->batch, (long long)g->length);
    whet_status status = rotate ? check_caches(call, COSINE, pairs) : WHET_OK;
    if (!status && rotate && (2 * pairs > g->size || (!op_has(call, POSITIONS) && call->in[COSINE]->dims[0] < g->kept)))
        return op_error(call, WHET_ERROR_DATA,
                        "the caches of cosine and sine have a wrong shape; wanted for heads of %lld and length %lld",
                        (long long)g->size, (long long)g->kept);
    for (int i = QUERY; !status && i <= VALUE; i++) {
        static const char *const names[] = {"query", "key", "value"}, *const to[] = {"qs", "ks", "vs"};
        int64_t before = i == QUERY ? 0 : (g->heads + (i - 1) * g->kv_heads) * g->size;
        Heads source = {packed ? "query" : names[i], g->size, packed ? before : 0, 3};
        Rotation rotation = {to[i],
                             i == QUERY ? g->heads : g->kv_heads,
                             g->size,
                             i == VALUE ? 0 : pairs,
                             op_int(call, "rotary_interleaved") != 0,
                             position};
        put_rotated(out, &rotation, put_head, &source);
    }
    return status;
}

/* The cache: past keys in use, the new ones, and what lies beyond, which is zero. */
static void put_cache(OpCall *call, Text *out, const Group *g, bool values) {
    const char *present = values ? "present_value" : "present_key", *name = values ? "vals" : "keys",
               *past = values ? "past_value" : "past_key", *type = dtype_name(call->out[0].type);
    long long heads = g->kv_heads, size = g->size;
    if (g->past)
        text_printf(out, "%s[b, n:%lld, t:%lld, h:%lld] = f32(%s[b, n, t + 0, h])\n", name, heads, (long long)g->past, size,
                    past);
    text_printf(out, "%s[b, n:%lld, %lld + s:%lld, h:%lld] = %s[b, n, s, h]\n", name, heads, (long long)g->past,
                (long long)g->length, size, values ? "vs" : "ks");
    if (!op_wants(call, values ? 2 : 1))
        return;
    text_printf(out, "%s[b, n, t:%lld, h] = %s(%s[b, n, t + 0, h])\n", present, (long long)g->kept, type, name);
    int64_t all = call->out[values ? 2 : 1].dims[2];
    if (all > g->kept)
        text_printf(out, "%s[b, n, %lld + t:%lld, h] = %s(0)\n", present, (long long)g->kept, (long long)(all - g->kept), type);
}

static whet_status put_scores(OpCall *call, Text *out, const Group *g) {
    double scale = op_float(call, "scale"), cap = op_float(call, "softcap");
    int64_t share = g->heads / g->kv_heads, window = op_int(call, "local_window_size");
    text_printf(out, "a[b, g:%lld, j:%lld, s, t] = (sum(h:%lld) qs[b, %lld*g + j, s, h] * keys[b, g, t, h]) * ",
                (long long)g->kv_heads, (long long)share, (long long)g->size, (long long)share);
    if (scale != 0)
        text_double(out, scale);
    else
        text_printf(out, "(1 / sqrt(%lld.0))", (long long)g->size);
    text_put(out, "\nc[b, g, j, s, t] = ");
    if (cap > 0) {
        text_put(out, "tanh(a[b, g, j, s, t] / ");
        text_double(out, cap);
        text_put(out, ") * ");
        text_double(out, cap);
    } else {
        text_put(out, "a[b, g, j, s, t]");
    }
    if (op_has(call, BIAS)) {
        const Type *bias = call->in[BIAS];
        if (bias->rank != 4 || (bias->dims[0] != 1 && bias->dims[0] != g->batch) ||
            (bias->dims[1] != 1 && bias->dims[1] != g->heads) || bias->dims[2] != g->length || bias->dims[3] < g->kept)
            return op_error(call, WHET_ERROR_DATA,
                            "the attention bias has a wrong shape; wanted [%lld or 1, %lld or 1, %lld, %lld]",
                            (long long)g->batch, (long long)g->heads, (long long)g->length, (long long)g->kept);
        text_printf(out, " + f32(attention_bias[%s, ", bias->dims[0] == 1 ? "0" : "b");
        if (bias->dims[1] == 1)
            text_put(out, "0, s, t])");
        else
            text_printf(out, "%lld*g + j, s, t])", (long long)share);
    }
    text_printf(out, "\nz[b, g, j, s, t] = select((t <= s + %lld)", (long long)g->past);
    if (window >= 0)
        text_printf(out, " & (t >= s + %lld)", (long long)(g->past - window + 1));
    text_put(out, ", c[b, g, j, s, t], -inf)\n");
    return WHET_OK;
}

static whet_status group_build(OpCall *call, Text *out) {
    Group g;
    whet_status status = group_read(call, &g);
    if (!status)
        status = put_fresh(call, out, &g);
    if (status)
        return status;
    put_cache(call, out, &g, false);
    put_cache(call, out, &g, true);
    status = put_scores(call, out, &g);
    bool smooth = op_int(call, "smooth_softmax") > 0;
    text_printf(out, "top[b, g, j, s] = %smax(t) z[b, g, j, s, t]%s\n", smooth ? "max(" : "", smooth ? ", 0)" : "");
    text_put(out, "ex[b, g, j, s, t] = exp(z[b, g, j, s, t] - top[b, g, j, s])\n");
    text_printf(out, "all[b, g, j, s] = (sum(t) ex[b, g, j, s, t])%s\n", smooth ? " + exp(-top[b, g, j, s])" : "");
    text_printf(out,
                "output[b, s, %lld*g:%lld + %lld*j:%lld + h:%lld] = %s((sum(t) ex[b, g, j, s, t] * vals[b, g, t, h]) / "
                "all[b, g, j, s])\n",
                (long long)(g.heads / g.kv_heads * g.size), (long long)g.kv_heads, (long long)g.size,
                (long long)(g.heads / g.kv_heads), (long long)g.size, dtype_name(call->out[0].type));
    return status;
}

#define MICROSOFT "com.microsoft"
#define FLOATS    "T=f32|f16|bf16"
#define GROUP                                                                                                                    \
    "query:T, key?:T, value?:T, past_key?:T, past_value?:T, seqlens_k#:s32, total_sequence_length#:s32, cos_cache?:T, "          \
    "sin_cache?:T, position_ids?:s64, attention_bias?:T -> output:T, present_key?:T, present_value?:T"
#define GROUP_ATTRS                                                                                                              \
    "do_rotary:i=0 kv_num_heads:i! local_window_size:i=-1 num_heads:i! rotary_interleaved:i=0 scale:f=0 smooth_softmax:i=0 "     \
    "softcap:f=0"

// clang-format off
const OpRow ops_contrib_rotary[] = {
    {MICROSOFT, "GroupQueryAttention", 1, GROUP, FLOATS, GROUP_ATTRS, group_shape, .build = group_build},
    {MICROSOFT, "RotaryEmbedding", 1, "input:T, position_ids:s64, cos_cache:T, sin_cache:T -> output:T", FLOATS, "interleaved:i=0 is_packed_batching:i=0 num_heads:i=0 rotary_embedding_dim:i=0 scale:f=1", rotary_shape, .build = rotary_build},
};
// clang-format on
const size_t ops_contrib_rotary_count = COUNT(ops_contrib_rotary);
