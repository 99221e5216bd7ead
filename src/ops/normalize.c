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
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"

/* ---- Text of statistics over some axes --------------------------------------------------------------------------- */

typedef struct Over {
    const Type *x;
    DType wide;
    bool reduced[WHET_MAX_RANK];
    int count;       /* of reduced axes */
    double elements; /* in one of the sums */
} Over;

static Over over_axes(const Type *x, const bool *reduced) {
    Over over = {.x = x, .wide = op_wide(x->type), .elements = 1};
    for (int d = 0; d < x->rank; d++)
        if (reduced[d]) {
            over.reduced[d] = true;
            over.elements *= (double)x->dims[d];
            over.count++;
        }
    return over;
}

/* All axes from `first` on. */
static Over over_tail(const Type *x, int first) {
    bool reduced[WHET_MAX_RANK] = {0};
    for (int d = first; d < x->rank; d++)
        reduced[d] = true;
    return over_axes(x, reduced);
}

/* "mean[i0, 0]" */
static void put_kept(Text *out, const char *name, const Over *over) {
    text_printf(out, "%s[", name);
    for (int d = 0; d < over->x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (over->reduced[d])
            text_char(out, '0');
        else
            text_printf(out, "i%d", d);
    }
    text_char(out, ']');
}

/* "f32(x[i0, j1])" where reduced axes are j's, or "f32(x[i0, i1])" */
static void put_x(Text *out, const Over *over, bool inside) {
    op_put_cast(out, over->x->type, over->wide);
    text_put(out, "x[");
    for (int d = 0; d < over->x->rank; d++)
        text_printf(out, "%s%c%d", d ? ", " : "", inside && over->reduced[d] ? 'j' : 'i', d);
    text_put(out, "])");
}

/* "(sum(j1, j2) " or "(" where nothing is reduced; the caller closes it */
static void put_sum(Text *out, const Over *over) {
    text_char(out, '(');
    const char *separator = "sum(";
    for (int d = 0; d < over->x->rank; d++)
        if (over->reduced[d]) {
            text_printf(out, "%sj%d", separator, d);
            separator = ", ";
        }
    text_put(out, over->count ? ") " : "");
}

/* "mean[i0, 0] = (sum(j1) x[i0, j1]) / 12.0" */
static void put_mean(Text *out, const Over *over) {
    put_kept(out, "mean_", over);
    text_put(out, " = ");
    put_sum(out, over);
    put_x(out, over, true);
    text_printf(out, ") / %.0f.0\n", over->elements);
}

/* "variance[i0, 0] = (sum(j1) square(x[i0, j1] - mean[i0, 0])) / 12.0"; about zero if not `centred` */
static void put_variance(Text *out, const Over *over, bool centred) {
    put_kept(out, "variance_", over);
    text_put(out, " = ");
    put_sum(out, over);
    text_put(out, "square(");
    put_x(out, over, true);
    if (centred) {
        text_put(out, " - ");
        put_kept(out, "mean_", over);
    }
    text_printf(out, ")) / %.0f.0\n", over->elements);
}

/* "inverse[i0, 0] = 1 / sqrt(variance[i0, 0] + epsilon)" */
static void put_inverse(Text *out, const Over *over) {
    put_kept(out, "inverse_", over);
    text_put(out, " = 1 / sqrt(");
    put_kept(out, "variance_", over);
    text_put(out, " + epsilon)\n");
}

/* "y[i0, i1] = " */
static void put_left(Text *out, const char *name, int rank) {
    op_put_element(out, name, rank);
    text_put(out, " = ");
}

/* "(x[i0, i1] - mean[i0, 0]) * inverse[i0, 0]" */
static void put_normalized(Text *out, const Over *over, bool centred) {
    text_char(out, '(');
    put_x(out, over, false);
    if (centred) {
        text_put(out, " - ");
        put_kept(out, "mean_", over);
    }
    text_put(out, ") * ");
    put_kept(out, "inverse_", over);
}

/* " * f32(scale[i1])": a vector along dimension `axis` */
static void put_vector(Text *out, const char *symbol, const char *name, const Type *type, int axis, DType wide) {
    text_put(out, symbol);
    op_put_cast(out, type->type, wide);
    text_printf(out, "%s[i%d])", name, axis);
}

/* A scale or shift of `rank` trailing dimensions, broadcast. */
static void put_broadcast(Text *out, const char *symbol, const char *name, const Type *type, int rank, DType wide) {
    text_put(out, symbol);
    op_put_cast(out, type->type, wide);
    op_put_read(out, name, type, "i", rank);
    text_char(out, ')');
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
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    text_put(out, "factor[c] = ");
    op_put_cast(out, call->in[1]->type, wide);
    text_put(out, "scale[c]) / sqrt(");
    op_put_cast(out, call->in[4]->type, wide);
    text_put(out, "variance[c]) + epsilon)\nshift[c] = ");
    op_put_cast(out, call->in[2]->type, wide);
    text_put(out, "b[c]) - ");
    op_put_cast(out, call->in[3]->type, wide);
    text_put(out, "mean[c]) * factor[c]\n");
    put_left(out, "y", x->rank);
    op_put_cast(out, wide, x->type);
    op_put_cast(out, x->type, wide);
    op_put_element(out, "x", x->rank);
    text_printf(out, ") * factor[i%d] + shift[i%d])\n", channel_axis(x), channel_axis(x));
    return WHET_OK;
}

static void put_running(OpCall *call, Text *out, const Over *over, const char *name, int output, int input) {
    if (!op_wants(call, output))
        return;
    DType type = call->in[input]->type;
    int channel = channel_axis(over->x);
    text_printf(out, "running_%s[i%d] = ", name, channel);
    op_put_cast(out, over->wide, type);
    op_put_cast(out, type, over->wide);
    text_printf(out, "%s[i%d]) * momentum + ", name, channel);
    char statistic[32];
    snprintf(statistic, sizeof statistic, "%s_", name);
    put_kept(out, statistic, over);
    text_put(out, " * (1 - momentum))\n");
}

static whet_status build_batch_training(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    bool reduced[WHET_MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        reduced[d] = d != channel_axis(x);
    Over over = over_axes(x, reduced);
    put_mean(out, &over);
    put_variance(out, &over, true);
    put_inverse(out, &over);
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, x->type);
    put_normalized(out, &over, true);
    put_vector(out, " * ", "scale", call->in[1], channel_axis(x), over.wide);
    put_vector(out, " + ", "b", call->in[2], channel_axis(x), over.wide);
    text_put(out, ")\n");
    put_running(call, out, &over, "mean", 1, 3);
    put_running(call, out, &over, "variance", 2, 4);
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
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    put_left(out, "y", x->rank);
    op_put_cast(out, wide, x->type);
    text_char(out, '(');
    op_put_cast(out, x->type, wide);
    op_put_element(out, "x", x->rank);
    text_put(out, ")");
    put_broadcast(out, " - ", "mean", call->in[3], x->rank, wide);
    text_put(out, ") / sqrt(");
    put_broadcast(out, "", "variance", call->in[4], x->rank, wide);
    text_put(out, " + epsilon)");
    put_broadcast(out, " * ", "scale", call->in[1], x->rank, wide);
    put_broadcast(out, " + ", "b", call->in[2], x->rank, wide);
    text_put(out, ")\n");
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
    const Type *x = call->in[0];
    whet_status status = check_channels(call, 1, 2);
    if (status)
        return status;
    Over over = over_tail(x, 2);
    put_mean(out, &over);
    put_variance(out, &over, true);
    put_inverse(out, &over);
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, x->type);
    put_normalized(out, &over, true);
    put_vector(out, " * ", "scale", call->in[1], 1, over.wide);
    put_vector(out, " + ", "b", call->in[2], 1, over.wide);
    text_put(out, ")\n");
    return WHET_OK;
}

/* ", j2, j3" */
static void put_pixels(Text *out, char stem, int rank) {
    for (int d = 2; d < rank; d++)
        text_printf(out, ", %c%d", stem, d);
}

/* Channel 4*g + c is channel c of group g. Until version 20 scale and bias have an element a group, then one a channel. */
static whet_status build_group(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    int64_t groups = op_int(call, "num_groups"), channels = x->dims[1];
    if (groups < 1 || channels % groups)
        return op_error(call, WHET_ERROR_DATA, "%lld channels do not divide into %lld groups", (long long)channels,
                        (long long)groups);
    bool by_group = call->row->since < 21;
    int64_t wanted = by_group ? groups : channels;
    for (int i = 1; i <= 2; i++)
        if (call->in[i]->rank != 1 || call->in[i]->dims[0] != wanted)
            return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld]", i, (long long)wanted);
    long long size = channels / groups, group_count = groups;
    double elements = (double)size;
    for (int d = 2; d < x->rank; d++)
        elements *= (double)x->dims[d];
    for (int pass = 0; pass < 2; pass++) {
        text_printf(out, "%s[n, g:%lld] = (sum(c:%lld", pass ? "variance_" : "mean_", group_count, size);
        put_pixels(out, 'j', x->rank);
        text_put(out, pass ? ") square(" : ") (");
        op_put_cast(out, x->type, wide);
        text_printf(out, "x[n, %lld*g + c", size);
        put_pixels(out, 'j', x->rank);
        text_printf(out, "])%s)) / %.0f.0\n", pass ? " - mean_[n, g]" : "", elements);
    }
    text_put(out, "inverse_[n, g] = 1 / sqrt(variance_[n, g] + epsilon)\n");
    text_printf(out, "y[n, %lld*g:%lld + c:%lld", size, group_count, size);
    put_pixels(out, 'i', x->rank);
    text_put(out, "] = ");
    op_put_cast(out, wide, x->type);
    text_char(out, '(');
    op_put_cast(out, x->type, wide);
    text_printf(out, "x[n, %lld*g + c", size);
    put_pixels(out, 'i', x->rank);
    text_put(out, "]) - mean_[n, g]) * inverse_[n, g] * ");
    char channel[40];
    snprintf(channel, sizeof channel, by_group ? "g" : "%lld*g + c", size);
    op_put_cast(out, call->in[1]->type, wide);
    text_printf(out, "scale[%s]) + ", channel);
    op_put_cast(out, call->in[2]->type, wide);
    text_printf(out, "b[%s]))\n", channel);
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

/* A statistic as an output: "saved_mean[i0, 0] = f32(mean[i0, 0])" */
static void put_saved(OpCall *call, Text *out, const Over *over, int output, const char *name, const char *statistic) {
    if (!op_wants(call, output))
        return;
    put_kept(out, name, over);
    text_put(out, " = ");
    op_put_cast(out, over->wide, call->out[output].type);
    put_kept(out, statistic, over);
    text_put(out, ")\n");
}

static whet_status build_layer(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int axis;
    whet_status status = first_axis(call, &axis);
    if (status)
        return status;
    Over over = over_tail(x, axis);
    put_mean(out, &over);
    put_variance(out, &over, true);
    put_inverse(out, &over);
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, call->out[0].type);
    put_normalized(out, &over, true);
    put_broadcast(out, " * ", "scale", call->in[1], x->rank, over.wide);
    if (op_has(call, 2))
        put_broadcast(out, " + ", "b", call->in[2], x->rank, over.wide);
    text_put(out, ")\n");
    put_saved(call, out, &over, 1, "saved_mean", "mean_");
    put_saved(call, out, &over, 2, "saved_inverse", "inverse_");
    return WHET_OK;
}

static whet_status build_rms(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int axis;
    whet_status status = first_axis(call, &axis);
    if (status)
        return status;
    Over over = over_tail(x, axis);
    put_variance(out, &over, false);
    put_inverse(out, &over);
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, call->out[0].type);
    put_normalized(out, &over, false);
    put_broadcast(out, " * ", "scale", call->in[1], x->rank, over.wide);
    text_put(out, ")\n");
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
    const Type *x = call->in[0];
    bool reduced[WHET_MAX_RANK];
    whet_status status = mean_variance_axes(call, reduced);
    if (status)
        return status;
    Over over = over_axes(x, reduced);
    put_mean(out, &over);
    put_variance(out, &over, true);
    put_kept(out, "inverse_", &over);
    text_put(out, " = 1 / (sqrt(");
    put_kept(out, "variance_", &over);
    text_put(out, ") + 1e-9)\n");
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, x->type);
    put_normalized(out, &over, true);
    text_put(out, ")\n");
    return WHET_OK;
}

static whet_status build_lp(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int64_t p = op_int(call, "p");
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    if (p != 1 && p != 2)
        return op_error(call, WHET_ERROR_FORMAT, "p is %lld; wanted 1 or 2", (long long)p);
    bool reduced[WHET_MAX_RANK] = {0};
    reduced[axis] = true;
    Over over = over_axes(x, reduced);
    put_kept(out, "norm_", &over);
    text_put(out, p == 2 ? " = sqrt" : " = ");
    put_sum(out, &over);
    text_put(out, p == 2 ? "square(" : "abs(");
    put_x(out, &over, true);
    text_put(out, "))\n");
    put_left(out, "y", x->rank);
    op_put_cast(out, over.wide, x->type);
    text_put(out, "select(");
    put_kept(out, "norm_", &over);
    text_put(out, " == 0, 0, ");
    put_x(out, &over, false);
    text_put(out, " / ");
    put_kept(out, "norm_", &over);
    text_put(out, "))\n");
    return WHET_OK;
}

/* "sum(k:5) square(x[n, c + k - 2, i2, i3]?)" */
static whet_status build_lrn(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    int64_t size = op_int(call, "size");
    if (size < 1 || size >= (int64_t)1 << 31)
        return op_error(call, WHET_ERROR_FORMAT, "size is %lld; wanted 1 or more", (long long)size);
    text_printf(out, "energy[n:%lld, c:%lld", (long long)x->dims[0], (long long)x->dims[1]);
    for (int d = 2; d < x->rank; d++)
        text_printf(out, ", i%d:%lld", d, (long long)x->dims[d]);
    text_printf(out, "] = sum(k:%lld) square(", (long long)size);
    op_put_cast(out, x->type, wide);
    text_printf(out, "x[n, c + k - %lld", (long long)((size - 1) / 2));
    put_pixels(out, 'i', x->rank);
    text_put(out, "]?))\ny[n, c");
    put_pixels(out, 'i', x->rank);
    text_put(out, "] = ");
    op_put_cast(out, wide, x->type);
    op_put_cast(out, x->type, wide);
    text_put(out, "x[n, c");
    put_pixels(out, 'i', x->rank);
    text_put(out, "]) / pow(bias + energy[n, c");
    put_pixels(out, 'i', x->rank);
    text_put(out, "] * ");
    text_float(out, (float)(op_float(call, "alpha") / (double)size));
    text_put(out, ", beta))\n");
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
