/* The domain com.microsoft, in floats: the fused operators that ONNX Runtime's optimisers leave in exported models.
 *
 * Everything is notation, computed in f32 and cast to the type of the model. Attention is in contrib_attention.c, quantized
 * operators in contrib_quantized.c.
 */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

/* ---- Gelu ---------------------------------------------------------------------------------------------------------------- */

static whet_status gelu_build(OpCall *call, Text *out) {
    text_printf(out, "Y[..] = %s(0.5 * f32(X[..]) * (1 + erf(f32(X[..]) * 0.7071067811865476)))", dtype_name(call->in[0]->type));
    return WHET_OK;
}

static whet_status bias_gelu_build(OpCall *call, Text *out) {
    text_put(out, "z[..] = f32(A[..]) + f32(B[..])\n");
    text_printf(out, "C[..] = %s(0.5 * z[..] * (1 + erf(z[..] * 0.7071067811865476)))", dtype_name(call->in[0]->type));
    return WHET_OK;
}

static whet_status fast_gelu_build(OpCall *call, Text *out) {
    text_printf(out, "z[..] = f32(X[..])%s\n", op_has(call, 1) ? " + f32(bias[..])" : "");
    text_printf(out, "Y[..] = %s(0.5 * z[..] * (1 + tanh(z[..] * (0.7978845608 + 0.03567740814 * z[..] * z[..]))))",
                dtype_name(call->in[0]->type));
    return WHET_OK;
}

static whet_status quick_gelu_build(OpCall *call, Text *out) {
    text_printf(out, "Y[..] = %s(f32(X[..]) / (1 + exp(-alpha * f32(X[..]))))", dtype_name(call->in[0]->type));
    return WHET_OK;
}

/* ---- Normalisations with a residual -------------------------------------------------------------------------------------- */

static whet_status check_last(OpCall *call, int input, Dim extent) {
    if (!op_has(call, input) || call->in[input]->rank < 0)
        return WHET_OK;
    const Type *x = call->in[input];
    if (x->rank != 1 || (dim_is_extent(x->dims[0]) && dim_is_extent(extent) && x->dims[0] != extent))
        return op_error(call, WHET_ERROR_DATA, "input %d must have one dimension, as long as the last of the input", input);
    return WHET_OK;
}

/* Outputs: normalised, mean, inverse deviation, sum. */
static whet_status skip_shape(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 2 or 3 is wanted", x->rank);
    whet_status status = WHET_OK;
    for (int i = 2; status == WHET_OK && i < 5; i++)
        status = check_last(call, i, x->dims[x->rank - 1]);
    for (int i = 0; i < call->out_count; i++) {
        op_same_shape(call, i, 0);
        if (i == 1 || i == 2)
            call->out[i].dims[x->rank - 1] = 1;
    }
    return status;
}

/* From rows z[.., i] of `width`: y = (z - mean) * inverse * gamma + beta; or without the mean. */
static void put_norm(OpCall *call, Text *out, const char *y, const char *gamma, const char *beta, int64_t width,
                     bool simplified) {
    bool mean = op_wants(call, 1) && !strcmp(y, "output") && call->row->name[0] == 'S';
    bool inverse = op_wants(call, 2) && !strcmp(y, "output") && call->row->name[0] == 'S';
    if (!simplified)
        text_printf(out, "mu[..] = (sum(i) z[.., i]) / %lld.0\n", (long long)width);
    text_printf(out, "deviation[..] = 1 / sqrt((sum(i) square(z[.., i]%s)) / %lld.0 + epsilon)\n", simplified ? "" : " - mu[..]",
                (long long)width);
    text_printf(out, "%s[.., i] = %s((z[.., i]%s) * deviation[..] * f32(%s[i])", y, dtype_name(call->out[0].type),
                simplified ? "" : " - mu[..]", gamma);
    if (beta)
        text_printf(out, " + f32(%s[i])", beta);
    text_put(out, ")\n");
    if (mean)
        text_put(out, simplified ? "mean[.., 0] = 0 * deviation[..]\n" : "mean[.., 0] = mu[..]\n");
    if (inverse)
        text_put(out, "inv_std_var[.., 0] = deviation[..]\n");
}

static whet_status skip_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    bool simplified = strstr(call->row->name, "Simplified") != NULL;
    int bias = simplified ? 3 : 4;
    text_put(out, "z[.., i] = f32(input[.., i]) + f32(skip[.., i])");
    text_put(out, op_has(call, bias) ? " + f32(bias[i])\n" : "\n");
    if (op_wants(call, 3))
        text_printf(out, "input_skip_bias_sum[.., i] = %s(z[.., i])\n", dtype_name(x->type));
    put_norm(call, out, "output", "gamma", !simplified && op_has(call, 3) ? "beta" : NULL, x->dims[x->rank - 1], simplified);
    return WHET_OK;
}

/* ORT's optimisers write it in the default domain; `axis` is the first of the normalised axes and must be the last here. */
static whet_status simplified_shape(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank < 0)
        return WHET_OK;
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    if (axis != x->rank - 1)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "axis %d of rank %d: only the last axis is supported", axis, x->rank);
    op_same_shape(call, 0, 0);
    if (call->out_count > 1) {
        op_same_shape(call, 1, 0);
        call->out[1].dims[x->rank - 1] = 1;
    }
    return check_last(call, 1, x->dims[x->rank - 1]);
}

static whet_status simplified_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    text_put(out, "z[.., i] = f32(X[.., i])\n");
    put_norm(call, out, "Y", "scale", NULL, x->dims[x->rank - 1], true);
    if (op_wants(call, 1))
        text_put(out, "inv_std_var[.., 0] = deviation[..]\n");
    return WHET_OK;
}

/* ---- EmbedLayerNormalization --------------------------------------------------------------------------------------------- */

enum { EMBED_IDS, EMBED_SEGMENTS, EMBED_WORDS, EMBED_PLACES, EMBED_KINDS, EMBED_GAMMA, EMBED_BETA, EMBED_MASK, EMBED_AT };

static whet_status embed_shape(OpCall *call) {
    const Type *ids = call->in[EMBED_IDS], *words = call->in[EMBED_WORDS];
    if (ids->rank < 0 || words->rank < 0)
        return WHET_OK;
    if (ids->rank != 2 || words->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "input_ids and word_embedding have ranks %d and %d; 2 is wanted", ids->rank,
                        words->rank);
    for (int i = EMBED_GAMMA; i <= EMBED_BETA; i++) {
        whet_status status = check_last(call, i, words->dims[1]);
        if (status != WHET_OK)
            return status;
    }
    for (int i = 0; i < call->out_count; i++)
        if (i != 1)
            op_set_shape(call, i, 3, (const Dim[]){ids->dims[0], ids->dims[1], words->dims[1]});
    op_set_shape(call, 1, 1, ids->dims);
    return WHET_OK;
}

static whet_status embed_build(OpCall *call, Text *out) {
    text_put(out, "z[b, s, i] = f32(word_embedding[input_ids[b, s], i]) + ");
    if (op_has(call, EMBED_AT))
        text_printf(out, "f32(position_embedding[position_ids[%s, s], i])", call->in[EMBED_AT]->dims[0] == 1 ? "0" : "b");
    else
        text_put(out, "f32(position_embedding[s + 0, i])");
    if (op_has(call, EMBED_SEGMENTS) && op_has(call, EMBED_KINDS))
        text_put(out, " + f32(segment_embedding[segment_ids[b, s], i])");
    text_put(out, "\n");
    if (op_wants(call, 2))
        text_printf(out, "embedding_sum[b, s, i] = %s(z[b, s, i])\n", dtype_name(call->out[0].type));
    if (op_wants(call, 1) && op_has(call, EMBED_MASK))
        text_put(out, "mask_index[b] = sum(s) mask[b, s]\n");
    else if (op_wants(call, 1))
        text_put(out, "mask_index[b] = s32(b * 0)\n");
    put_norm(call, out, "output", "gamma", "beta", call->in[EMBED_WORDS]->dims[1], false);
    return WHET_OK;
}

/* ---- FusedMatMul --------------------------------------------------------------------------------------------------------- */

static whet_status fused_matmul_shape(OpCall *call) {
    const Type *a = call->in[0], *b = call->in[1];
    if (!op_ranks_known(call))
        return WHET_OK;
    if (a->rank < 2 || b->rank < 2)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "ranks %d and %d; at least 2 is supported", a->rank, b->rank);
    if (op_int(call, "transBatchA") || op_int(call, "transBatchB"))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "transBatchA and transBatchB are not supported");
    Type left = {.rank = a->rank - 2}, right = {.rank = b->rank - 2};
    memcpy(left.dims, a->dims, sizeof left.dims);
    memcpy(right.dims, b->dims, sizeof right.dims);
    bool swap_a = op_int(call, "transA") != 0, swap_b = op_int(call, "transB") != 0;
    Dim k = a->dims[a->rank - 1 - swap_a], other = b->dims[b->rank - 2 + swap_b];
    if (dim_is_extent(k) && dim_is_extent(other) && k != other)
        return op_error(call, WHET_ERROR_DATA, "the inner dimensions are %lld and %lld", (long long)k, (long long)other);
    whet_status status = op_broadcast(call, &call->out[0], &left, &right);
    if (status != WHET_OK || call->out[0].rank < 0)
        return status;
    call->out[0].dims[call->out[0].rank++] = a->dims[a->rank - 2 + swap_a];
    call->out[0].dims[call->out[0].rank++] = b->dims[b->rank - 1 - swap_b];
    return WHET_OK;
}

static whet_status fused_matmul_build(OpCall *call, Text *out) {
    text_printf(out, "Y[.., m, n] = %s((sum(k) f32(A[.., %s]) * f32(B[.., %s])) * alpha)", dtype_name(call->out[0].type),
                op_int(call, "transA") ? "k, m" : "m, k", op_int(call, "transB") ? "n, k" : "k, n");
    return WHET_OK;
}

/* ---- MatMulNBits --------------------------------------------------------------------------------------------------------- */

static whet_status nbits_shape(OpCall *call) {
    const Type *a = call->in[0];
    int64_t k = op_int(call, "K"), n = op_int(call, "N"), bits = op_int(call, "bits"), block = op_int(call, "block_size");
    if (bits != 2 && bits != 4 && bits != 8)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%lld bits are not supported", (long long)bits);
    if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX || block < 8 || block > 65536 || block % 8)
        return op_error(call, WHET_ERROR_FORMAT, "K is %lld, N %lld and block_size %lld", (long long)k, (long long)n,
                        (long long)block);
    if (op_has(call, 4))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "input g_idx is not supported");
    int64_t wanted[3] = {n, (k + block - 1) / block, block * bits / 8}, have = 1, want = wanted[0] * wanted[1] * wanted[2];
    const Type *b = call->in[1], *scales = call->in[2];
    for (int d = 0; d < b->rank; d++)
        if (!dim_is_extent(b->dims[d]) || !checked_mul(have, b->dims[d], &have))
            have = -1;
    if (b->rank >= 0 && (b->rank != 3 || have != want || b->dims[0] != n || b->dims[2] != wanted[2]))
        return op_error(call, WHET_ERROR_DATA, "the shape of B does not fit K, N, bits and block_size");
    if (!call->node->turned && (scales->rank > 2 || scales->rank == 0)) /* turned: [block][2][n], by a pass */
        return op_error(call, WHET_ERROR_DATA, "the scales have rank %d", scales->rank);
    if (a->rank < 0)
        return WHET_OK;
    if (a->rank < 1 || (dim_is_extent(a->dims[a->rank - 1]) && a->dims[a->rank - 1] != k))
        return op_error(call, WHET_ERROR_DATA, "the last dimension of A is not K, %lld", (long long)k);
    op_same_shape(call, 0, 0);
    call->out[0].dims[a->rank - 1] = n;
    return WHET_OK;
}

/* z[n, c]: the zero point of a block; packed as the weights are, or of the type of A, or the middle of the range. */
static void put_zero_points(OpCall *call, Text *out, long long bits, long long blocks) {
    const Type *zero = op_has(call, 3) ? call->in[3] : NULL;
    long long per = 8 / bits, bytes = (blocks + per - 1) / per;
    text_printf(out, "z[n:%lld, c:%lld] = ", (long long)op_int(call, "N"), blocks);
    if (!zero) {
        text_printf(out, "f32(n * 0 + %d)\n", 1 << (bits - 1));
    } else if (zero->type != DT_U8) {
        text_printf(out, zero->rank == 2 ? "f32(zero_points[n, c])\n" : "f32(zero_points[%lld*n + c])\n", blocks);
    } else {
        char place[96];
        snprintf(place, sizeof place, zero->rank == 2 ? "n, c // %lld" : "c // %lld + %lld*n", per, bytes);
        text_printf(out, "f32((s64(zero_points[%s]) >> (%lld * (c %% %lld))) & %d)\n", place, bits, per, (1 << bits) - 1);
    }
}

static whet_status nbits_build(OpCall *call, Text *out) {
    long long k = op_int(call, "K"), bits = op_int(call, "bits"), block = op_int(call, "block_size");
    long long blocks = (k + block - 1) / block, per = 8 / bits;
    if (call->node->turned) {
        text_printf(out, "w[n, c, j:%lld] = (f32(", block);
        if (bits == 8)
            text_put(out, "B[n, c, j]) - ");
        else
            text_printf(out, "(s64(B[n, c, j // %lld]) >> (%lld * (j %% %lld))) & %d) - ", per, bits, per, (1 << bits) - 1);
        text_printf(out, "scales[c, 1, n]) * scales[c, 0, n]\nY[.., n] = %s((sum(c, j) f32(A[.., %lld*c + j]) * w[n, c, j])%s)\n",
                    dtype_name(call->out[0].type), block, op_has(call, 5) ? " + f32(bias[n])" : "");
        return WHET_OK;
    }
    put_zero_points(call, out, bits, blocks);
    for (long long r = 0; r < per; r++) {
        text_printf(out, "w[n, c, %lld*j + %lld] = (f32((s32(B[n, c, j]) >> %lld) & %d) - z[n, c]) * ", per, r, bits * r,
                    (1 << bits) - 1);
        text_printf(out, call->in[2]->rank == 2 ? "f32(scales[n, c])\n" : "f32(scales[%lld*n + c])\n", blocks);
    }
    text_printf(out, "Y[.., n] = %s((sum(c, j) f32(A[.., %lld*c + j]%s) * w[n, c, j])%s)\n", dtype_name(call->out[0].type), block,
                k % block ? "?" : "", op_has(call, 5) ? " + f32(bias[n])" : "");
    return WHET_OK;
}

#define MICROSOFT "com.microsoft"
#define SKIP_OUT  " -> output:T, mean?:f32, inv_std_var?:f32, input_skip_bias_sum?:T"
#define EMBED                                                                                                                    \
    "input_ids:s32, segment_ids?:s32, word_embedding:T, position_embedding:T, segment_embedding?:T, gamma:T, beta:T, "           \
    "mask?:s32, position_ids?:s32 -> output:T, mask_index?:s32, embedding_sum?:T"
#define FLOATS "T=f32|f16|bf16"

// clang-format off
const OpRow ops_contrib[] = {
    {MICROSOFT, "BiasGelu", 1, "A:T, B:T -> C:T", FLOATS, "", shape_same, .build = bias_gelu_build},
    {MICROSOFT, "EmbedLayerNormalization", 1, EMBED, FLOATS, "epsilon:f=1e-12 mask_index_type:i=0", embed_shape, .build = embed_build},
    {MICROSOFT, "FastGelu", 1, "X:T, bias?:T -> Y:T", FLOATS, "", shape_same, .build = fast_gelu_build},
    {MICROSOFT, "FusedMatMul", 1, "A:T, B:T -> Y:T", FLOATS, "alpha:f=1 transA:i=0 transB:i=0 transBatchA:i=0 transBatchB:i=0", fused_matmul_shape, .build = fused_matmul_build},
    {MICROSOFT, "Gelu", 1, "X:T -> Y:T", FLOATS, "", shape_same, .build = gelu_build},
    {MICROSOFT, "MatMulNBits", 1, "A:T, B:u8, scales:S, zero_points?:Z, g_idx?:s32, bias?:T -> Y:T", FLOATS " S=f32|f16|bf16 Z=u8|f32|f16|bf16", "K:i! N:i! accuracy_level:i=0 bits:i=4 block_size:i! weight_prepacked:i=0", nbits_shape, .build = nbits_build},
    {MICROSOFT, "QuickGelu", 1, "X:T -> Y:T", FLOATS, "alpha:f=1.702", shape_same, .build = quick_gelu_build},
    {"", "SimplifiedLayerNormalization", 1, "X:T, scale:T -> Y:T, inv_std_var?:f32", FLOATS, "axis:i=-1 epsilon:f=1e-5 stash_type:i=1", simplified_shape, .build = simplified_build},
    {MICROSOFT, "SkipLayerNormalization", 1, "input:T, skip:T, gamma:T, beta?:T, bias?:T" SKIP_OUT, FLOATS, "epsilon:f=1e-12", skip_shape, .build = skip_build},
    {MICROSOFT, "SkipSimplifiedLayerNormalization", 1, "input:T, skip:T, gamma:T, bias?:T" SKIP_OUT, FLOATS, "epsilon:f=1e-12", skip_shape, .build = skip_build},
};
// clang-format on
const size_t ops_contrib_count = COUNT(ops_contrib);
