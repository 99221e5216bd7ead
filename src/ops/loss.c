/* Losses: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
 *
 * Axes: n batch, c class, i<d> dimension d of the scores where it stands on its own, j<d> where it is summed over. The mean
 * loss of a batch of rows is
 *
 *     t[i0] = s64(target[i0])
 *     l[i0] = -x[i0, t[i0]]
 *     y[] = (sum(j0) l[j0]) / 3.0
 */
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"

enum { REDUCTION_MEAN, REDUCTION_SUM, REDUCTION_NONE }; /* in the order of the row */

/* The target has the scores' shape without its second dimension. */
static whet_status shape_loss(OpCall *call) {
    const Type *x = call->in[0], *target = call->in[1];
    int reduction = op_choice(call, "reduction");
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 2 or more", x->rank);
    if (target->rank >= 0 && target->rank != x->rank - 1)
        return op_error(call, WHET_ERROR_DATA, "the target has rank %d; wanted %d", target->rank, x->rank - 1);
    Dim dims[WHET_MAX_RANK] = {x->dims[0]};
    memcpy(dims + 1, x->dims + 2, (size_t)(x->rank - 2) * sizeof *dims);
    op_set_shape(call, 0, reduction == REDUCTION_NONE ? x->rank - 1 : 0, dims);
    op_same_shape(call, 1, 0);
    return WHET_OK;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* "l[i0, i2, i3]": what has the target's shape */
static void put_cell(Text *out, const char *name, char stem, int rank) {
    text_printf(out, "%s[%c0", name, stem);
    for (int d = 2; d < rank; d++)
        text_printf(out, ", %c%d", stem, d);
    text_char(out, ']');
}

/* "p[i0, t[i0, i2], i2]": the score of the target's class */
static void put_score(Text *out, const char *name, int rank) {
    text_printf(out, "%s[i0, ", name);
    put_cell(out, "t", 'i', rank);
    for (int d = 2; d < rank; d++)
        text_printf(out, ", i%d", d);
    text_char(out, ']');
}

static void put_sum(Text *out, const char *name, int rank) {
    text_put(out, "(sum(j0");
    for (int d = 2; d < rank; d++)
        text_printf(out, ", j%d", d);
    text_put(out, ") ");
    put_cell(out, name, 'j', rank);
    text_char(out, ')');
}

/* "t[i0] = select(s64(target[i0]) == -1, 0, s64(target[i0]))": what is ignored need be no class. */
static void put_targets(OpCall *call, Text *out, int rank) {
    const Attr *ignored = op_attr(call, "ignore_index");
    put_cell(out, "t", 'i', rank);
    text_put(out, " = ");
    if (ignored) {
        text_put(out, "select(s64(");
        put_cell(out, "target", 'i', rank);
        text_printf(out, ") == (%lld), 0, ", (long long)ignored->i);
    }
    text_put(out, "s64(");
    put_cell(out, "target", 'i', rank);
    text_put(out, ignored ? "))\n" : ")\n");
}

/* Do cells count differently? */
static bool has_weights(const OpCall *call) {
    return op_has(call, 2) || op_attr(call, "ignore_index");
}

/* "v[i0] = ...": the weight of each cell, 0 for what is ignored. */
static void put_cell_weights(OpCall *call, Text *out, int rank, DType wide) {
    const Attr *ignored = op_attr(call, "ignore_index");
    put_cell(out, "v", 'i', rank);
    text_put(out, " = ");
    if (ignored) {
        text_put(out, "select(s64(");
        put_cell(out, "target", 'i', rank);
        text_printf(out, ") == (%lld), %s(0), ", (long long)ignored->i, dtype_name(wide));
    }
    if (op_has(call, 2)) {
        op_put_cast(out, call->in[2]->type, wide);
        text_put(out, "weight[");
        put_cell(out, "t", 'i', rank);
        text_put(out, "])");
    } else {
        text_printf(out, "%s(1)", dtype_name(wide));
    }
    text_put(out, ignored ? ")\n" : "\n");
}

static double cells(const Type *x) {
    double count = (double)x->dims[0];
    for (int d = 2; d < x->rank; d++)
        count *= (double)x->dims[d];
    return count;
}

/* The loss of log-probabilities `name`, whose type is `type`. */
static whet_status put_loss(OpCall *call, Text *out, const char *name, DType type) {
    int rank = call->in[0]->rank;
    DType wide = op_wide(call->in[0]->type), result = call->out[0].type;
    int reduction = op_choice(call, "reduction");
    if (op_has(call, 2) && (call->in[2]->rank != 1 || call->in[2]->dims[0] != call->in[0]->dims[1]))
        return op_error(call, WHET_ERROR_DATA, "the weights have a wrong shape; wanted an element a class");
    put_targets(call, out, rank);
    if (has_weights(call))
        put_cell_weights(call, out, rank, wide);
    put_cell(out, "l", 'i', rank);
    text_put(out, " = -");
    op_put_cast(out, type, wide);
    put_score(out, name, rank);
    text_put(out, has_weights(call) ? ") * " : ")");
    if (has_weights(call))
        put_cell(out, "v", 'i', rank);
    text_put(out, reduction == REDUCTION_NONE ? "\ny[..] = " : "\ny[] = ");
    op_put_cast(out, wide, result);
    if (reduction == REDUCTION_NONE)
        text_put(out, "l[..]");
    else
        put_sum(out, "l", rank);
    if (reduction == REDUCTION_MEAN && has_weights(call)) {
        text_put(out, " / ");
        put_sum(out, "v", rank);
    } else if (reduction == REDUCTION_MEAN) {
        text_printf(out, " / %.0f.0", cells(call->in[0]));
    }
    text_put(out, ")\n");
    return WHET_OK;
}

static whet_status build_likelihood(OpCall *call, Text *out) {
    return put_loss(call, out, "x", call->in[0]->type);
}

/* ", i2, i3" */
static void put_pixels(Text *out, int rank) {
    for (int d = 2; d < rank; d++)
        text_printf(out, ", i%d", d);
}

/* p = x - top - log(sum(exp(x - top))) over the classes, then the loss of p. */
static whet_status build_cross_entropy(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    put_cell(out, "top", 'i', x->rank);
    text_put(out, " = max(c) ");
    op_put_cast(out, x->type, wide);
    text_put(out, "x[i0, c");
    put_pixels(out, x->rank);
    text_put(out, "])\n");
    put_cell(out, "total", 'i', x->rank);
    text_put(out, " = sum(c) exp(");
    op_put_cast(out, x->type, wide);
    text_put(out, "x[i0, c");
    put_pixels(out, x->rank);
    text_put(out, "]) - ");
    put_cell(out, "top", 'i', x->rank);
    text_put(out, ")\np[i0, c");
    put_pixels(out, x->rank);
    text_put(out, "] = ");
    op_put_cast(out, x->type, wide);
    text_put(out, "x[i0, c");
    put_pixels(out, x->rank);
    text_put(out, "]) - ");
    put_cell(out, "top", 'i', x->rank);
    text_put(out, " - log(");
    put_cell(out, "total", 'i', x->rank);
    text_put(out, ")\n");
    if (op_wants(call, 1)) {
        text_put(out, "log_prob[..] = ");
        op_put_cast(out, wide, x->type);
        text_put(out, "p[..])\n");
    }
    return put_loss(call, out, "p", wide);
}

// clang-format off
#define LOSS_ATTRS "ignore_index:i reduction:s=mean|sum|none"

const OpRow ops_loss[] = {
    {"", "NegativeLogLikelihoodLoss", 12, "x:T, target:U, weight?:T -> y:T", "T=float U=s32|s64", LOSS_ATTRS, shape_loss,
     .build = build_likelihood},
    {"", "SoftmaxCrossEntropyLoss", 12, "x:T, target:U, weight?:T -> y:T, log_prob?:T", "T=float U=s32|s64", LOSS_ATTRS,
     shape_loss, .build = build_cross_entropy},
};
// clang-format on
const size_t ops_loss_count = COUNT(ops_loss);
