/* Normalisations: subtract a mean, divide by a deviation, scale and shift; they differ in what the mean is taken over.
 *
 * Axes: n batch, c channel, i<d> dimension d of the input where it stands on its own, j<d> where it is summed over. Statistics
 * are definitions of their own, so that each is computed once. f16 and bf16 are computed in f32. LayerNormalization over the last
 * of three axes is
 *
 *     mean[i0, i1, 0] = (sum(j2) x[i0, i1, j2]) / 768.0
 *     variance[i0, i1, 0] = (sum(j2) square(x[i0, i1, j2] - mean[i0, i1, 0])) / 768.0
 *     inverse[i0, i1, 0] = 1 / sqrt(variance[i0, i1, 0] + epsilon)
 *     y[i0, i1, i2] = (x[i0, i1, i2] - mean[i0, i1, 0]) * inverse[i0, i1, 0] * scale[i2] + b[i2]
 */
#include <string.h>

#include "ops/ops.h"

/* ---- Text ---------------------------------------------------------------------------------------------------------- */

/* Statistics over the reduced axes, and what is made of an element by them. */
#define MEAN       "mean_[$K] = ($S$W(x[$J])) / $N\n"
#define VARIANCE   "variance_[$K] = ($Ssquare($W(x[$J]) - mean_[$K])) / $N\n"
#define INVERSE    "inverse_[$K] = 1 / sqrt(variance_[$K] + epsilon)\n"
#define NORMALIZED "($W(x[$I]) - mean_[$K]) * inverse_[$K]"

/* Of what reduces all axes from `first` on. */
static OpHoles holes_tail(const OpCall *call, int first) {
    bool reduced[WHET_MAX_RANK] = {0};
    for (int d = first; d < call->in[0]->rank; d++)
        reduced[d] = true;
    return op_holes_reduced(call, reduced);
}

/* ---- BatchNormalization ------------------------------------------------------------------------------------------ */

static whet_status shape_batch(OpCall *call) {
    AttrSpec spec;
    const Type *x = call->in[0];
    bool can_train = signature_find_attr(call->row->attrs, "training_mode", &spec);
    bool training = can_train && op_int(call, "training_mode") != 0;
    for (int i = 1; i < call->out_count; i++) {
        if (op_wants(call, i) && !training)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "output %d is not supported outside of training mode", i);
        op_same_shape(call, i, i == 1 ? 3 : 4);
    }
    if (x->rank >= 0 && x->rank < 1)
        return op_error(call, WHET_ERROR_DATA, "the input is a scalar; wanted rank 1 or more");
    return op_same_shape(call, 0, 0);
}

/* Where the channels are: dimension 1, or 0 of a vector. */
static int channel_axis(const Type *x) {
    return x->rank > 1 ? 1 : 0;
}

static whet_status check_channels(OpCall *call, int first, int last) {
    const Type *x = call->in[0];
    int64_t channels = x->dims[channel_axis(x)];
    for (int i = first; i <= last; i++)
        if (op_has(call, i) && (call->in[i]->rank != 1 || call->in[i]->dims[0] != channels))
            return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld], an element a channel", i,
                            (long long)channels);
    return WHET_OK;
}

/* One factor and one shift a channel, so that an element costs a multiplication and an addition:
 * y = x * factor + (b - mean * factor), where the mean and variance are given. */
static whet_status build_batch_inference(OpCall *call, Text *out) {
    OpHoles holes = holes_tail(call, call->in[0]->rank);
    op_hole(&holes, 'C', "i%d", channel_axis(call->in[0]));
    op_put_filled(out, &holes,
                  "factor[c] = $W(scale[c]) / sqrt($W(variance[c]) + epsilon)\n"
                  "shift[c] = $W(b[c]) - $W(mean[c]) * factor[c]\n"
                  "y[$I] = $T($W(x[$I]) * factor[$C] + shift[$C])\n");
    return WHET_OK;
}

static whet_status build_batch_training(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    bool reduced[WHET_MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        reduced[d] = d != channel_axis(x);
    OpHoles holes = op_holes_reduced(call, reduced);
    op_hole(&holes, 'C', "i%d", channel_axis(x));
    op_put_filled(out, &holes, MEAN VARIANCE INVERSE "y[$I] = $T(" NORMALIZED " * $W(scale[$C]) + $W(b[$C]))\n");
    op_hole(&holes, 'V', "%s", dtype_name(call->in[3]->type));
    if (op_wants(call, 1))
        op_put_filled(out, &holes, "running_mean[$C] = $V($W(mean[$C]) * momentum + mean_[$K] * (1 - momentum))\n");
    if (op_wants(call, 2))
        op_put_filled(out, &holes, "running_variance[$C] = $V($W(variance[$C]) * momentum + variance_[$K] * (1 - momentum))\n");
    return WHET_OK;
}

static whet_status build_batch(OpCall *call, Text *out) {
    AttrSpec spec;
    whet_status status = check_channels(call, 1, 4);
    if (status)
        return status;
    bool training = signature_find_attr(call->row->attrs, "training_mode", &spec) && op_int(call, "training_mode") != 0;
    return training ? build_batch_training(call, out) : build_batch_inference(call, out);
}

/* Until version 8, spatial=0 has statistics for every element of an image. */
static whet_status build_batch_7(OpCall *call, Text *out) {
    if (op_int(call, "spatial"))
        return build_batch(call, out);
    static const char *const names[] = {"x", "scale", "b", "mean", "variance"};
    OpHoles holes = op_holes(call);
    for (int i = 0; i < 5; i++)
        op_hole_read(&holes, (char)('a' + i), names[i], call->in[i], call->in[0]->rank);
    op_hole_indices(&holes, 'I', call->in[0]->rank, NULL, 0);
    op_put_filled(out, &holes, "y[$I] = $T(($W($a) - $W($d)) / sqrt($W($e) + epsilon) * $W($b) + $W($c))\n");
    return WHET_OK;
}

/* ---- InstanceNormalization, GroupNormalization ------------------------------------------------------------------- */

static whet_status shape_image(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank >= 0 && x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 2 or more", x->rank);
    return op_same_shape(call, 0, 0);
}

static whet_status build_instance(OpCall *call, Text *out) {
    whet_status status = check_channels(call, 1, 2);
    if (status)
        return status;
    OpHoles holes = holes_tail(call, 2);
    op_put_filled(out, &holes, MEAN VARIANCE INVERSE "y[$I] = $T(" NORMALIZED " * $W(scale[i1]) + $W(b[i1]))\n");
    return WHET_OK;
}

/* Channel 4*g + c is channel c of group g. Until version 20 scale and bias have an element a group, then one a channel. */
static whet_status build_group(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int64_t groups = op_int(call, "num_groups"), channels = x->dims[1];
    if (groups < 1 || channels % groups)
        return op_error(call, WHET_ERROR_DATA, "%lld channels do not divide into %lld groups", (long long)channels,
                        (long long)groups);
    bool by_group = call->row->since < 21;
    int64_t wanted = by_group ? groups : channels;
    for (int i = 1; i <= 2; i++)
        if (call->in[i]->rank != 1 || call->in[i]->dims[0] != wanted)
            return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld]", i, (long long)wanted);
    int64_t size = channels / groups;
    double elements = (double)size;
    for (int d = 2; d < x->rank; d++)
        elements *= (double)x->dims[d];
    OpHoles holes = op_holes(call);
    op_hole_more(&holes, 'I', 'i', 2, x->rank);
    op_hole_more(&holes, 'J', 'j', 2, x->rank);
    op_hole_number(&holes, 'G', groups);
    op_hole_number(&holes, 'C', size);
    op_hole(&holes, 'N', "%.0f.0", elements);
    op_hole(&holes, 'S', by_group ? "g" : "%lld*g + c", (long long)size);
    op_put_filled(
        out, &holes,
        "mean_[n, g:$G] = (sum(c:$C$J) $W(x[n, $C*g + c$J])) / $N\n"
        "variance_[n, g:$G] = (sum(c:$C$J) square($W(x[n, $C*g + c$J]) - mean_[n, g])) / $N\n"
        "inverse_[n, g] = 1 / sqrt(variance_[n, g] + epsilon)\n"
        "y[n, $C*g:$G + c:$C$I] = $T(($W(x[n, $C*g + c$I]) - mean_[n, g]) * inverse_[n, g] * $W(scale[$S]) + $W(b[$S]))\n");
    return WHET_OK;
}

/* ---- LayerNormalization, RMSNormalization ------------------------------------------------------------------------ */

static whet_status first_axis(OpCall *call, int *axis) {
    const Type *x = call->in[0];
    *axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (*axis < 0)
        return WHET_ERROR_FORMAT;
    for (int i = 1; i < call->in_count; i++)
        if (op_has(call, i) && call->in[i]->rank > x->rank)
            return op_error(call, WHET_ERROR_DATA, "input %d has rank %d, which does not broadcast to rank %d", i,
                            call->in[i]->rank, x->rank);
    return WHET_OK;
}

static whet_status shape_layer(OpCall *call) {
    const Type *x = call->in[0];
    int axis;
    AttrSpec spec;
    bool stash = signature_find_attr(call->row->attrs, "stash_type", &spec);
    for (int i = 1; i < call->out_count; i++)
        call->out[i].type = stash && dtype_known(op_int(call, "stash_type")) ? (DType)op_int(call, "stash_type") : DT_F32;
    if (x->rank < 0)
        return WHET_OK;
    whet_status status = first_axis(call, &axis);
    if (status)
        return status;
    op_same_shape(call, 0, 0);
    Dim dims[WHET_MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        dims[d] = d < axis ? x->dims[d] : 1;
    for (int i = 1; i < call->out_count; i++)
        op_set_shape(call, i, x->rank, dims);
    return WHET_OK;
}

static whet_status build_layer(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int axis;
    whet_status status = first_axis(call, &axis);
    if (status)
        return status;
    OpHoles holes = holes_tail(call, axis);
    op_hole_read(&holes, 'A', "scale", call->in[1], x->rank);
    op_put_filled(out, &holes, MEAN VARIANCE INVERSE "y[$I] = $T(" NORMALIZED " * $W($A)");
    if (op_has(call, 2)) {
        op_hole_read(&holes, 'B', "b", call->in[2], x->rank);
        op_put_filled(out, &holes, " + $W($B)");
    }
    text_put(out, ")\n");
    static const char *const saved[] = {NULL, "saved_mean[$K] = $V(mean_[$K])\n", "saved_inverse[$K] = $V(inverse_[$K])\n"};
    for (int i = 1; i < call->out_count; i++) {
        op_hole(&holes, 'V', "%s", dtype_name(call->out[i].type));
        op_put_filled(out, &holes, op_wants(call, i) ? saved[i] : "");
    }
    return WHET_OK;
}

static whet_status build_rms(OpCall *call, Text *out) {
    int axis;
    whet_status status = first_axis(call, &axis);
    if (status)
        return status;
    OpHoles holes = holes_tail(call, axis);
    op_hole_read(&holes, 'A', "scale", call->in[1], call->in[0]->rank);
    op_put_filled(out, &holes,
                  "variance_[$K] = ($Ssquare($W(x[$J]))) / $N\n" INVERSE "y[$I] = $T($W(x[$I]) * inverse_[$K] * $W($A))\n");
    return WHET_OK;
}

/* ---- MeanVarianceNormalization, LpNormalization, LRN ------------------------------------------------------------- */

static whet_status mean_variance_axes(OpCall *call, bool *reduced) {
    static const int64_t usual[] = {0, 2, 3};
    int count;
    const int64_t *axes = op_ints(call, "axes", &count);
    if (!axes) {
        axes = usual;
        count = COUNT(usual);
    }
    memset(reduced, 0, WHET_MAX_RANK * sizeof *reduced);
    for (int i = 0; i < count; i++) {
        int axis = op_axis(call, axes[i], call->in[0]->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        reduced[axis] = true;
    }
    return WHET_OK;
}

/* The specification adds 1e-9 to the deviation, not to the variance. */
static whet_status build_mean_variance(OpCall *call, Text *out) {
    bool reduced[WHET_MAX_RANK];
    whet_status status = mean_variance_axes(call, reduced);
    if (status)
        return status;
    OpHoles holes = op_holes_reduced(call, reduced);
    op_put_filled(out, &holes, MEAN VARIANCE "inverse_[$K] = 1 / (sqrt(variance_[$K]) + 1e-9)\ny[$I] = $T(" NORMALIZED ")\n");
    return WHET_OK;
}

static whet_status build_lp(OpCall *call, Text *out) {
    int64_t p = op_int(call, "p");
    int axis = op_axis(call, op_int(call, "axis"), call->in[0]->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    if (p != 1 && p != 2)
        return op_error(call, WHET_ERROR_FORMAT, "p is %lld; wanted 1 or 2", (long long)p);
    bool reduced[WHET_MAX_RANK] = {0};
    reduced[axis] = true;
    OpHoles holes = op_holes_reduced(call, reduced);
    op_put_filled(out, &holes, p == 2 ? "norm_[$K] = sqrt($Ssquare($W(x[$J])))\n" : "norm_[$K] = $Sabs($W(x[$J]))\n");
    op_put_filled(out, &holes, "y[$I] = $T(select(norm_[$K] == 0, 0, $W(x[$I]) / norm_[$K]))\n");
    return WHET_OK;
}

/* "sum(k:5) square(x[n, c + k - 2, i2, i3]?)" */
static whet_status build_lrn(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int64_t size = op_int(call, "size");
    if (size < 1 || size >= (int64_t)1 << 31)
        return op_error(call, WHET_ERROR_FORMAT, "size is %lld; wanted 1 or more", (long long)size);
    OpHoles holes = op_holes(call);
    op_hole_more(&holes, 'I', 'i', 2, x->rank);
    op_hole_number(&holes, 'K', size);
    op_hole_number(&holes, 'H', (size - 1) / 2);
    op_hole_float(&holes, 'A', (float)(op_float(call, "alpha") / (double)size));
    text_printf(out, "energy[n:%lld, c:%lld", (long long)x->dims[0], (long long)x->dims[1]);
    for (int d = 2; d < x->rank; d++)
        text_printf(out, ", i%d:%lld", d, (long long)x->dims[d]);
    op_put_filled(out, &holes,
                  "] = sum(k:$K) square($W(x[n, c + k - $H$I]?))\n"
                  "y[n, c$I] = $T($W(x[n, c$I]) / pow(bias + energy[n, c$I] * $A, beta))\n");
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define BATCH_ATTRS "epsilon:f=1e-5 momentum:f=0.9"
#define BATCH_OLD   "x:T, scale:T, b:T, mean:T, variance:T -> y:T, mean_out?:T, variance_out?:T, saved_mean?:T, saved_variance?:T"
#define LAYER       "x:T, scale:T, b?:T -> y:T, saved_mean?:*, saved_inverse?:*"

const OpRow ops_normalize[] = {
    {"", "BatchNormalization", 7, BATCH_OLD, "T=float", BATCH_ATTRS " spatial:i=1", shape_batch, .build = build_batch_7},
    {"", "BatchNormalization", 9, BATCH_OLD, "T=float", BATCH_ATTRS, shape_batch, .build = build_batch},
    {"", "BatchNormalization", 14,
     "x:T, scale:U, b:U, mean:V, variance:V -> y:T, running_mean?:V, running_variance?:V", "T=float U=float V=float",
     BATCH_ATTRS " training_mode:i=0", shape_batch, .build = build_batch},
    {"", "GroupNormalization", 18, "x:T, scale:T, b:T -> y:T", "T=float", "epsilon:f=1e-5 num_groups:i!", shape_image,
     .build = build_group},
    {"", "GroupNormalization", 21, "x:T, scale:T, b:T -> y:T", "T=float", "epsilon:f=1e-5 num_groups:i! stash_type:i=1",
     shape_image, .build = build_group},
    {"", "InstanceNormalization", 6, "x:T, scale:T, b:T -> y:T", "T=float", "epsilon:f=1e-5", shape_image,
     .build = build_instance},
    {"", "LRN", 1, "x:T -> y:T", "T=float", "alpha:f=0.0001 beta:f=0.75 bias:f=1 size:i!", shape_image, .build = build_lrn},
    /* Of version 17; onnxruntime writes it into models of older ones too. */
    {"", "LayerNormalization", 1, LAYER, "T=float", "axis:i=-1 epsilon:f=1e-5 stash_type:i=1", shape_layer,
     .build = build_layer},
    {"", "LpNormalization", 1, "x:T -> y:T", "T=float", "axis:i=-1 p:i=2", shape_same, .build = build_lp},
    {"", "MeanVarianceNormalization", 9, "x:T -> y:T", "T=float", "axes:I", shape_same, .build = build_mean_variance},
    {"", "RMSNormalization", 23, "x:T, scale:V -> y:V", "T=float V=float", "axis:i=-1 epsilon:f=1e-5 stash_type:i=1", shape_layer,
     .build = build_rms},
};
// clang-format on
const size_t ops_normalize_count = COUNT(ops_normalize);
