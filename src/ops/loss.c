/* Losses: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
 *
 * Axes: n batch, c class, i<d> dimension d of the scores where it stands on its own, j<d> where it is summed over. The mean
 * loss of a batch of rows is
 *
 *     t[i0] = s64(target[i0])
 *     l[i0] = -x[i0, t[i0]]
 *     y[] = (sum(j0) l[j0]) / 3.0
 */
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

/* $I and $J: dimensions behind that of the classes. */
static OpHoles loss_holes(const OpCall *call) {
    OpHoles holes = op_holes(call);
    op_hole_more(&holes, 'I', 'i', 2, call->in[0]->rank);
    op_hole_more(&holes, 'J', 'j', 2, call->in[0]->rank);
    return holes;
}

static double cells(const Type *x) {
    double count = (double)x->dims[0];
    for (int d = 2; d < x->rank; d++)
        count *= (double)x->dims[d];
    return count;
}

/* The loss of log-probabilities `name`. What is ignored need be no class, and weighs nothing. */
static whet_status put_loss(OpCall *call, Text *out, const char *name) {
    const Type *x = call->in[0];
    const Attr *ignored = op_attr(call, "ignore_index");
    int reduction = op_choice(call, "reduction");
    bool has_weight = op_has(call, 2), weighs = has_weight || ignored;
    if (has_weight && (call->in[2]->rank != 1 || call->in[2]->dims[0] != x->dims[1]))
        return op_error(call, WHET_ERROR_DATA, "the weights have a wrong shape; wanted [%lld], an element a class",
                        (long long)x->dims[1]);
    OpHoles holes = loss_holes(call);
    op_hole(&holes, 'X', "%s", name);
    op_hole(&holes, 'N', "%.0f.0", cells(x));
    if (ignored) {
        op_hole_number(&holes, 'E', ignored->i);
        op_put_filled(out, &holes, "t[i0$I] = select(s64(target[i0$I]) == ($E), 0, s64(target[i0$I]))\n");
        op_put_filled(out, &holes, "v[i0$I] = select(s64(target[i0$I]) == ($E), $W(0), ");
        op_put_filled(out, &holes, has_weight ? "$W(weight[t[i0$I]]))\n" : "$W(1))\n");
    } else {
        op_put_filled(out, &holes, "t[i0$I] = s64(target[i0$I])\n");
        op_put_filled(out, &holes, has_weight ? "v[i0$I] = $W(weight[t[i0$I]])\n" : "");
    }
    op_put_filled(out, &holes, weighs ? "l[i0$I] = -$W($X[i0, t[i0$I]$I]) * v[i0$I]\n" : "l[i0$I] = -$W($X[i0, t[i0$I]$I])\n");
    op_put_filled(out, &holes,
                  reduction == REDUCTION_NONE  ? "y[..] = $T(l[..])\n"
                  : reduction == REDUCTION_SUM ? "y[] = $T(sum(j0$J) l[j0$J])\n"
                  : weighs                     ? "y[] = $T((sum(j0$J) l[j0$J]) / (sum(j0$J) v[j0$J]))\n"
                                               : "y[] = $T((sum(j0$J) l[j0$J]) / $N)\n");
    return WHET_OK;
}

static whet_status build_likelihood(OpCall *call, Text *out) {
    return put_loss(call, out, "x");
}

/* p = x - top - log(sum(exp(x - top))) over the classes, then the loss of p. */
static whet_status build_cross_entropy(OpCall *call, Text *out) {
    OpHoles holes = loss_holes(call);
    op_put_filled(out, &holes,
                  "top[i0$I] = max(c) $W(x[i0, c$I])\n"
                  "total[i0$I] = sum(c) exp($W(x[i0, c$I]) - top[i0$I])\n"
                  "p[i0, c$I] = $W(x[i0, c$I]) - top[i0$I] - log(total[i0$I])\n");
    if (op_wants(call, 1))
        op_put_filled(out, &holes, "log_prob[..] = $T(p[..])\n");
    return put_loss(call, out, "p");
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
