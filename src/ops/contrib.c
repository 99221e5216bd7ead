/* The domain com.microsoft, in floats: the fused operators that ONNX Runtime's optimisers leave in exported models.
 *
 * Everything is notation, computed in f32 and cast to the type of the model. Attention is in contrib_attention.c, quantized
 * operators in contrib_quantized.c.
 */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

/* ---- Gelu ---------------------------------------------------------------------------------------------------------------- */

static whet_status fast_gelu_build(OpCall *call, Text *out) {
    OpHoles holes = op_holes(call);
    op_put_filled(out, &holes, op_has(call, 1) ? "z[..] = f32(X[..]) + f32(bias[..])\n" : "z[..] = f32(X[..])\n");
    op_put_filled(out, &holes, "Y[..] = $T(0.5 * z[..] * (1 + tanh(z[..] * (0.7978845608 + 0.03567740814 * z[..] * z[..]))))");
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
static void put_norm(const OpCall *call, Text *out, const char *y, const char *gamma, const char *beta, int64_t width,
                     bool simplified) {
    OpHoles holes = op_holes(call);
    op_hole_number(&holes, 'n', width);
    op_hole(&holes, 'y', "%s", y);
    op_hole(&holes, 'g', "%s", gamma);
    op_hole(&holes, 'b', "%s", beta ? beta : "");
    op_hole(&holes, 'z', simplified ? "z[.., i]" : "(z[.., i] - mu[..])");
    op_put_filled(out, &holes, simplified ? "" : "mu[..] = (sum(i) z[.., i]) / $n.0\n");
    op_put_filled(out, &holes,
                  "deviation[..] = 1 / sqrt((sum(i) square($z)) / $n.0 + epsilon)\n"
                  "$y[.., i] = $T($z * deviation[..] * f32($g[i])");
    op_put_filled(out, &holes, beta ? " + f32($b[i]))\n" : ")\n");
    if (strcmp(y, "output") || call->row->name[0] != 'S')
        return;
    if (op_wants(call, 1))
        text_put(out, simplified ? "mean[.., 0] = 0 * deviation[..]\n" : "mean[.., 0] = mu[..]\n");
    if (op_wants(call, 2))
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
        return op_error(call, WHET_ERROR_DATA, "columns of A: %lld, rows of B: %lld; wanted the same", (long long)k,
                        (long long)other);
    whet_status status = op_broadcast(call, &call->out[0], &left, &right);
    if (status != WHET_OK || call->out[0].rank < 0)
        return status;
    call->out[0].dims[call->out[0].rank++] = a->dims[a->rank - 2 + swap_a];
    call->out[0].dims[call->out[0].rank++] = b->dims[b->rank - 1 - swap_b];
    return WHET_OK;
}

static whet_status fused_matmul_build(OpCall *call, Text *out) {
    OpHoles holes = op_holes(call);
    op_hole(&holes, 'a', op_int(call, "transA") ? "k, m" : "m, k");
    op_hole(&holes, 'b', op_int(call, "transB") ? "n, k" : "k, n");
    op_put_filled(out, &holes, "Y[.., m, n] = $T((sum(k) f32(A[.., $a]) * f32(B[.., $b])) * alpha)");
    return WHET_OK;
}

/* ---- MatMulNBits --------------------------------------------------------------------------------------------------------- */

static whet_status nbits_shape(OpCall *call) {
    const Type *a = call->in[0];
    int64_t k = op_int(call, "K"), n = op_int(call, "N"), bits = op_int(call, "bits"), block = op_int(call, "block_size");
    if (bits != 2 && bits != 4 && bits != 8)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%lld bits are not supported", (long long)bits);
    if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX || block < 8 || block > 65536 || block % 8)
        return op_error(call, WHET_ERROR_FORMAT,
                        "K is %lld, N %lld and block_size %lld; wanted 1 or more, and a multiple of 8 from 8 to 65536",
                        (long long)k, (long long)n, (long long)block);
    if (op_has(call, 4))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "input g_idx is not supported");
    int64_t wanted[3] = {n, (k + block - 1) / block, block * bits / 8}, have = 1, want = wanted[0] * wanted[1] * wanted[2];
    const Type *b = call->in[1], *scales = call->in[2];
    for (int d = 0; d < b->rank; d++)
        if (!dim_is_extent(b->dims[d]) || !checked_mul(have, b->dims[d], &have))
            have = -1;
    if (b->rank >= 0 && (b->rank != 3 || have != want || b->dims[0] != n || b->dims[2] != wanted[2]))
        return op_error(call, WHET_ERROR_DATA, "B has a wrong shape; wanted [%lld, %lld, %lld] by K, N, bits and block_size",
                        (long long)wanted[0], (long long)wanted[1], (long long)wanted[2]);
    if (!call->node->turned && (scales->rank > 2 || scales->rank == 0)) /* turned: [block][2][n], by a pass */
        return op_error(call, WHET_ERROR_DATA, "the scales have rank %d; wanted 1 or 2", scales->rank);
    if (a->rank < 0)
        return WHET_OK;
    if (a->rank < 1 || (dim_is_extent(a->dims[a->rank - 1]) && a->dims[a->rank - 1] != k))
        return op_error(call, WHET_ERROR_DATA, "A has a wrong last dimension; wanted K, %lld", (long long)k);
    op_same_shape(call, 0, 0);
    call->out[0].dims[a->rank - 1] = n;
    return WHET_OK;
}

/* z[n, c]: the zero point of a block; packed as the weights are, or of the type of A, or the middle of the range. */
static const char *zero_points(const OpCall *call) {
    const Type *zero = op_has(call, 3) ? call->in[3] : NULL;
    if (!zero)
        return "z[n:$n, c:$c] = f32(n * 0 + $h)\n";
    bool by_block = zero->rank == 2;
    if (zero->type != DT_U8)
        return by_block ? "z[n:$n, c:$c] = f32(zero_points[n, c])\n" : "z[n:$n, c:$c] = f32(zero_points[$c*n + c])\n";
    return by_block ? "z[n:$n, c:$c] = f32((s64(zero_points[n, c // $p]) >> ($b * (c % $p))) & $m)\n"
                    : "z[n:$n, c:$c] = f32((s64(zero_points[c // $p + $z*n]) >> ($b * (c % $p))) & $m)\n";
}

static whet_status nbits_build(OpCall *call, Text *out) {
    int64_t k = op_int(call, "K"), bits = op_int(call, "bits"), block = op_int(call, "block_size");
    int64_t blocks = (k + block - 1) / block, per = 8 / bits;
    OpHoles holes = op_holes(call);
    op_hole_number(&holes, 'n', op_int(call, "N"));
    op_hole_number(&holes, 'c', blocks);
    op_hole_number(&holes, 'j', block);
    op_hole_number(&holes, 'p', per);                      /* weights in a byte */
    op_hole_number(&holes, 'z', (blocks + per - 1) / per); /* bytes of zero points of a row */
    op_hole_number(&holes, 'b', bits);
    op_hole_number(&holes, 'm', ((int64_t)1 << bits) - 1);
    op_hole_number(&holes, 'h', (int64_t)1 << (bits - 1));
    op_hole(&holes, 'a', op_has(call, 5) ? " + f32(bias[n])" : "");
    if (call->node->turned) {
        op_put_filled(out, &holes, "w[n, c, j:$j] = (f32(");
        op_put_filled(out, &holes, bits == 8 ? "B[n, c, j]" : "(s64(B[n, c, j // $p]) >> ($b * (j % $p))) & $m");
        op_put_filled(out, &holes,
                      ") - scales[c, 1, n]) * scales[c, 0, n]\n"
                      "Y[.., n] = $T((sum(c, j) f32(A[.., $j*c + j]) * w[n, c, j])$a)\n");
        return WHET_OK;
    }
    op_put_filled(out, &holes, zero_points(call));
    for (int64_t r = 0; r < per; r++) {
        op_hole_number(&holes, 'r', r);
        op_hole_number(&holes, 's', bits * r);
        op_put_filled(out, &holes, "w[n, c, $p*j + $r] = (f32((s32(B[n, c, j]) >> $s) & $m) - z[n, c]) * ");
        op_put_filled(out, &holes, call->in[2]->rank == 2 ? "f32(scales[n, c])\n" : "f32(scales[$c*n + c])\n");
    }
    op_put_filled(out, &holes,
                  k % block ? "Y[.., n] = $T((sum(c, j) f32(A[.., $j*c + j]?) * w[n, c, j])$a)\n"
                            : "Y[.., n] = $T((sum(c, j) f32(A[.., $j*c + j]) * w[n, c, j])$a)\n");
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
    {MICROSOFT, "BiasGelu", 1, "A:T, B:T -> C:T", FLOATS, "", shape_same,
     .text = "z[..] = f32(A[..]) + f32(B[..])\nC[..] = $T(0.5 * z[..] * (1 + erf(z[..] * 0.7071067811865476)))"},
    {MICROSOFT, "EmbedLayerNormalization", 1, EMBED, FLOATS, "epsilon:f=1e-12 mask_index_type:i=0", embed_shape, .build = embed_build},
    {MICROSOFT, "FastGelu", 1, "X:T, bias?:T -> Y:T", FLOATS, "", shape_same, .build = fast_gelu_build},
    {MICROSOFT, "FusedMatMul", 1, "A:T, B:T -> Y:T", FLOATS, "alpha:f=1 transA:i=0 transB:i=0 transBatchA:i=0 transBatchB:i=0", fused_matmul_shape, .build = fused_matmul_build},
    {MICROSOFT, "Gelu", 1, "X:T -> Y:T", FLOATS, "", shape_same, .text = "Y[..] = $T(0.5 * f32(X[..]) * (1 + erf(f32(X[..]) * 0.7071067811865476)))"},
    {MICROSOFT, "MatMulNBits", 1, "A:T, B:u8, scales:S, zero_points?:Z, g_idx?:s32, bias?:T -> Y:T", FLOATS " S=f32|f16|bf16 Z=u8|f32|f16|bf16", "K:i! N:i! accuracy_level:i=0 bits:i=4 block_size:i! weight_prepacked:i=0", nbits_shape, .build = nbits_build},
    {MICROSOFT, "QuickGelu", 1, "X:T -> Y:T", FLOATS, "alpha:f=1.702", shape_same, .text = "Y[..] = $T(f32(X[..]) / (1 + exp(-alpha * f32(X[..]))))"},
    {"", "SimplifiedLayerNormalization", 1, "X:T, scale:T -> Y:T, inv_std_var?:f32", FLOATS, "axis:i=-1 epsilon:f=1e-5 stash_type:i=1", simplified_shape, .build = simplified_build},
    {MICROSOFT, "SkipLayerNormalization", 1, "input:T, skip:T, gamma:T, beta?:T, bias?:T" SKIP_OUT, FLOATS, "epsilon:f=1e-12", skip_shape, .build = skip_build},
    {MICROSOFT, "SkipSimplifiedLayerNormalization", 1, "input:T, skip:T, gamma:T, bias?:T" SKIP_OUT, FLOATS, "epsilon:f=1e-12", skip_shape, .build = skip_build},
};
// clang-format on
const size_t ops_contrib_count = COUNT(ops_contrib);
