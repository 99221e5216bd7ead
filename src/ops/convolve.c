/* Convolutions: Conv, ConvTranspose, and the integer forms.
 *
 * Axes: n batch, m output channel (within its group if there are several), g group, c input channel of a group, o<i> output
 * and k<i> tap of spatial dimension i. A grouped 2-d convolution of stride 2 with padding is
 *
 *     y[n, 4*g + m, o0, o1] = sum(c, k0, k1) x[n, 2*g + c, 2*o0 + k0 - 1, 2*o1 + k1 - 1]? * w[4*g + m, c, k0, k1]
 */
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"
#include "ops/window.h"

/* ---- Groups ------------------------------------------------------------------------------------------------------ */

typedef struct Groups {
    int64_t groups, in, out;              /* channels of a group */
    char input[40], output[40], left[80]; /* "2*g + c", "4*g + m", and "4*g:3 + m:4", which gives the extents too */
} Groups;

static Groups make_groups(int64_t groups, int64_t in, int64_t out) {
    Groups g = {.groups = groups, .in = in, .out = out, .input = "c", .output = "m", .left = "m"};
    if (groups == 1)
        return g;
    long long channels = groups, wide_in = in, wide_out = out;
    snprintf(g.input, sizeof g.input, "%lld*g + c", wide_in);
    snprintf(g.output, sizeof g.output, "%lld*g + m", wide_out);
    snprintf(g.left, sizeof g.left, "%lld*g:%lld + m:%lld", wide_out, channels, wide_out);
    return g;
}

/* A group of one channel in and one out: the channel index does for the group. */
static bool is_depthwise(const Groups *g) {
    return g->groups > 1 && g->in == 1 && g->out == 1;
}

static whet_status check_group_count(OpCall *call, int64_t groups, Dim channels, const char *what) {
    if (groups < 1)
        return op_error(call, WHET_ERROR_FORMAT, "group is %lld; wanted 1 or more", (long long)groups);
    if (dim_is_extent(channels) && channels % groups)
        return op_error(call, WHET_ERROR_DATA, "%lld %s do not divide into %lld groups", (long long)channels, what,
                        (long long)groups);
    return WHET_OK;
}

static whet_status check_equal(OpCall *call, Dim seen, Dim wanted, const char *what) {
    if (dim_is_extent(seen) && dim_is_extent(wanted) && seen != wanted)
        return op_error(call, WHET_ERROR_DATA, "%s: %lld; wanted %lld", what, (long long)seen, (long long)wanted);
    return WHET_OK;
}

static whet_status check_bias(OpCall *call, int input, Dim channels) {
    if (!op_has(call, input))
        return WHET_OK;
    const Type *bias = call->in[input];
    if (bias->rank >= 0 && bias->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "the bias has rank %d; wanted 1", bias->rank);
    return bias->rank == 1 ? check_equal(call, bias->dims[0], channels, "elements of the bias") : WHET_OK;
}

/* ---- Conv: shape ------------------------------------------------------------------------------------------------- */

static Dim times(OpCall *call, Dim a, int64_t b) {
    int64_t product;
    if (dim_is_extent(a) && b >= 0)
        return checked_mul(a, b, &product) ? product : DIM_UNKNOWN;
    return dim_mul(call->symbols, a, b);
}

static whet_status check_ranks(OpCall *call, const Type *x, const Type *w) {
    if (x->rank < 3 || x->rank != w->rank)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d and the weights have rank %d; wanted the same, 3 or more",
                        x->rank, w->rank);
    return WHET_OK;
}

/* Checks the operands x and w (both of known rank) of a convolution and sets output 0. */
static whet_status conv_window(OpCall *call, int x_at, int w_at, int bias_at, Window *window) {
    const Type *x = call->in[x_at], *w = call->in[w_at];
    int64_t groups = op_int(call, "group");
    whet_status status = check_ranks(call, x, w);
    if (!status)
        status = check_group_count(call, groups, x->dims[1], "input channels");
    if (!status)
        status = check_group_count(call, groups, w->dims[0], "output channels");
    if (!status)
        status = check_equal(call, x->dims[1], times(call, w->dims[1], groups), "input channels");
    if (!status)
        status = check_bias(call, bias_at, w->dims[0]);
    if (!status)
        status = window_read(call, x->rank - 2, w, window);
    if (!status)
        status = window_forward(call, x, false, window);
    if (status)
        return status;
    Dim dims[WHET_MAX_RANK] = {x->dims[0], w->dims[0]};
    memcpy(dims + 2, window->out, (size_t)window->axes * sizeof *dims);
    op_set_shape(call, 0, x->rank, dims);
    return WHET_OK;
}

static whet_status shape_conv_of(OpCall *call, int x, int w, int bias) {
    Window window;
    if (call->in[x]->rank < 0 || call->in[w]->rank < 0)
        return WHET_OK;
    return conv_window(call, x, w, bias, &window);
}

static whet_status shape_conv(OpCall *call) {
    return shape_conv_of(call, 0, 1, 2);
}

/* ---- Conv: text -------------------------------------------------------------------------------------------------- */

/* Holes of a convolution: those of its window, and $l, $i, $o: channels of y and of x and the first dimension of w; $c "c, " and
 * $e "c": the channel that is summed over, nothing and 0 where there is but one. */
static whet_status conv_holes(OpCall *call, int x_at, int w_at, int bias_at, OpHoles *holes) {
    Window window;
    whet_status status = conv_window(call, x_at, w_at, bias_at, &window);
    if (status)
        return status;
    const Type *w = call->in[w_at];
    int64_t groups = op_int(call, "group");
    const Groups g = make_groups(groups, w->dims[1], w->dims[0] / groups);
    bool depthwise = is_depthwise(&g);
    *holes = op_holes(call);
    window_holes(holes, &window, "");
    op_hole(holes, 'l', "%s", depthwise ? "m" : g.left);
    op_hole(holes, 'i', "%s", depthwise ? "m" : g.input);
    op_hole(holes, 'o', "%s", depthwise ? "m" : g.output);
    op_hole(holes, 'c', "%s", depthwise ? "" : "c, ");
    op_hole(holes, 'e', "%s", depthwise ? "0" : "c");
    return WHET_OK;
}

static whet_status build_conv(OpCall *call, Text *out) {
    OpHoles holes;
    whet_status status = conv_holes(call, 0, 1, 2, &holes);
    if (status)
        return status;
    op_put_filled(out, &holes, "y[n, $l$O] = $T(sum($c$K) $W(x[n, $i$X]$G) * $W(w[$o, $e, $K])");
    op_put_filled(out, &holes, op_has(call, 2) ? " + $W(b[$o]))" : ")");
    return WHET_OK;
}

/* ---- Integer convolutions ---------------------------------------------------------------------------------------- */

static whet_status shape_conv_integer(OpCall *call) {
    return shape_conv_of(call, 0, 1, -1);
}

static whet_status shape_qlinear_conv(OpCall *call) {
    return shape_conv_of(call, 0, 3, 8);
}

/* A scale or zero point that is one number, or, with `channel`, one an output channel. */
static whet_status hole_parameter(OpCall *call, OpHoles *holes, char hole, const char *name, int input, Dim channels,
                                  const char *channel) {
    const Type *type = call->in[input];
    if (type->rank == 0)
        op_hole(holes, hole, "%s[]", name);
    else if (type->rank == 1 && type->dims[0] == 1)
        op_hole(holes, hole, "%s[0]", name);
    else if (type->rank == 1 && channel && type->dims[0] == channels)
        op_hole(holes, hole, "%s[%s]", name, channel);
    else
        return op_error(call, WHET_ERROR_DATA, "input %d '%s' has a wrong shape; wanted a scalar%s", input, name,
                        channel ? " or an element an output channel" : "");
    return WHET_OK;
}

/* d and v: input and weights without their zero points. What lies outside then counts as zero, as the specification has it. */
static whet_status put_centred(OpCall *call, Text *out, OpHoles *holes, int w_at, int x_zero, int w_zero) {
    whet_status status = WHET_OK;
    if (op_has(call, x_zero))
        status = hole_parameter(call, holes, 'p', "x_zero", x_zero, 0, NULL);
    if (!status && op_has(call, w_zero))
        status = hole_parameter(call, holes, 'q', "w_zero", w_zero, call->in[w_at]->dims[0], "m");
    if (status)
        return status;
    op_put_filled(out, holes, op_has(call, x_zero) ? "d[..] = s32(x[..]) - s32($p)\n" : "d[..] = s32(x[..])\n");
    op_put_filled(out, holes,
                  op_has(call, w_zero) ? "v[m, c, $K] = s32(w[m, c, $K]) - s32($q)\n" : "v[m, c, $K] = s32(w[m, c, $K])\n");
    return WHET_OK;
}

#define CENTRED_SUM "sum($c$K) d[n, $i$X]$G * v[$o, $e, $K]"

static whet_status build_conv_integer(OpCall *call, Text *out) {
    OpHoles holes;
    whet_status status = conv_holes(call, 0, 1, -1, &holes);
    if (!status)
        status = put_centred(call, out, &holes, 1, 2, 3);
    if (!status)
        op_put_filled(out, &holes, "y[n, $l$O] = " CENTRED_SUM);
    return status;
}

/* In f32; the cast saturates. */
static whet_status build_qlinear_conv(OpCall *call, Text *out) {
    OpHoles holes;
    whet_status status = conv_holes(call, 0, 3, 8, &holes);
    if (!status)
        status = put_centred(call, out, &holes, 3, 2, 5);
    if (!status)
        status = hole_parameter(call, &holes, 'x', "x_scale", 1, 0, NULL);
    if (!status)
        status = hole_parameter(call, &holes, 'w', "w_scale", 4, call->in[3]->dims[0], op_filling(&holes, 'o'));
    if (!status)
        status = hole_parameter(call, &holes, 'y', "y_scale", 6, 0, NULL);
    if (!status)
        status = hole_parameter(call, &holes, 'z', "y_zero", 7, 0, NULL);
    if (status)
        return status;
    op_put_filled(out, &holes, "y[n, $l$O] = $T(round(f32(" CENTRED_SUM);
    op_put_filled(out, &holes, op_has(call, 8) ? " + b[$o]" : "");
    op_put_filled(out, &holes, ") * ($x * $w / $y)) + f32($z))");
    return WHET_OK;
}

/* ---- ConvTranspose --------------------------------------------------------------------------------------------------
 *
 * Input i and tap k add to output o = stride*i + dilation*k - begin. Seen from the output: outputs with the same remainder by
 * the stride (o = stride*q + r, a "phase") read the same taps, k = first + step*t, at the inputs q + shift - back*t. So each
 * combination of phases is one definition, all of it affine. Where all phases of a dimension read the same inputs, and the next
 * tap each, r is an axis instead: with as many taps as the stride, one definition is all of it. */

typedef struct Phase {
    int64_t outputs; /* values of q */
    int64_t taps;    /* values of t */
    int64_t first, step, shift, back;
} Phase;

#define PHASE_LIMIT 1024 /* definitions of one kernel */
#define ALL_PHASES  (-1) /* in place of r: it is an axis */

static Phase get_phase(const Window *window, int i, int64_t r) {
    int64_t stride = window->stride[i], dilation = window->dilation[i], common = common_divisor(stride, dilation);
    Phase phase = {.step = stride / common, .back = dilation / common};
    phase.outputs = r < window->out[i] ? (window->out[i] - r + stride - 1) / stride : 0;
    for (int64_t k = 0; k < window->kernel[i] && k < phase.step; k++) {
        int64_t position = r + window->begin[i] - dilation * k;
        if (position % stride)
            continue;
        phase.first = k;
        phase.taps = (window->kernel[i] - k + phase.step - 1) / phase.step;
        phase.shift = position / stride;
        break;
    }
    return phase;
}

static bool phases_alike(const Window *window, int i) {
    const Phase first = get_phase(window, i, 0);
    for (int64_t r = 1; r < window->stride[i]; r++) {
        const Phase other = get_phase(window, i, r);
        if (other.outputs != first.outputs || other.taps != first.taps || !other.taps || other.first != first.first + r ||
            other.shift != first.shift)
            return false;
    }
    return window->stride[i] > 1;
}

/* output_shape gives the padding; otherwise the padding gives the output. */
static whet_status transposed_extent(OpCall *call, Window *window, int i, int64_t in, int64_t extra, const int64_t *wanted) {
    int64_t full;
    if (!checked_mul(in - 1, window->stride[i], &full) ||
        !checked_add(full, window->dilation[i] * (window->kernel[i] - 1) + 1 + extra, &full))
        return op_error(call, WHET_ERROR_DATA, "the output does not fit 64 bits at spatial dimension %d", i);
    AutoPad mode = (AutoPad)op_choice(call, "auto_pad");
    bool lower = mode == AUTO_LOWER, upper = mode == AUTO_UPPER;
    if (wanted || lower || upper) {
        int64_t out = 0, total;
        if (wanted)
            out = wanted[i];
        else if (!checked_mul(in, window->stride[i], &out))
            return op_error(call, WHET_ERROR_DATA, "the output does not fit 64 bits at spatial dimension %d", i);
        total = full > out ? full - out : 0;
        window->begin[i] = upper ? total / 2 : total - total / 2;
        window->end[i] = total - window->begin[i];
        window->out[i] = out;
    } else {
        window->out[i] = full - window->begin[i] - window->end[i];
    }
    if (window->out[i] < 0)
        return op_error(call, WHET_ERROR_DATA, "the output's extent is %lld at spatial dimension %d; wanted 0 or more",
                        (long long)window->out[i], i);
    window->in[i] = in;
    return WHET_OK;
}

static void transposed_symbol(OpCall *call, Window *window, int i, Dim in, int64_t extra, const int64_t *wanted) {
    Symbols *symbols = call->symbols;
    AutoPad mode = (AutoPad)op_choice(call, "auto_pad");
    bool lower = mode == AUTO_LOWER, upper = mode == AUTO_UPPER;
    int64_t more = window->dilation[i] * (window->kernel[i] - 1) + 1 + extra - window->stride[i];
    window->known = false;
    if (wanted)
        window->out[i] = wanted[i];
    else if (lower || upper)
        window->out[i] = dim_mul(symbols, in, window->stride[i]);
    else
        window->out[i] = dim_add(symbols, dim_mul(symbols, in, window->stride[i]),
                                 dim_const(symbols, more - window->begin[i] - window->end[i]));
}

static whet_status optional_list(OpCall *call, const char *name, int wanted, const int64_t **out) {
    int count;
    *out = op_ints(call, name, &count);
    if (!count)
        *out = NULL;
    else if (count != wanted)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d elements; wanted %d", name, count, wanted);
    for (int i = 0; i < count; i++)
        if ((*out)[i] < 0 || (*out)[i] >= (int64_t)1 << 31)
            return op_error(call, WHET_ERROR_FORMAT, "%s[%d] is %lld; wanted 0 or more, below 2^31", name, i,
                            (long long)(*out)[i]);
    return WHET_OK;
}

static whet_status transposed_outputs(OpCall *call, Window *window) {
    const int64_t *extra, *wanted;
    whet_status status = optional_list(call, "output_padding", window->axes, &extra);
    if (!status)
        status = optional_list(call, "output_shape", window->axes, &wanted);
    bool kernel_known = window->known;
    for (int i = 0; !status && i < window->axes; i++) {
        Dim in = call->in[0]->dims[i + 2];
        if (op_choice(call, "auto_pad") == AUTO_VALID)
            window->begin[i] = window->end[i] = 0;
        if (!kernel_known)
            window->out[i] = DIM_UNKNOWN;
        else if (dim_is_extent(in))
            status = transposed_extent(call, window, i, in, extra ? extra[i] : 0, wanted);
        else
            transposed_symbol(call, window, i, in, extra ? extra[i] : 0, wanted);
    }
    return status;
}

static whet_status transpose_window(OpCall *call, Window *window) {
    const Type *x = call->in[0], *w = call->in[1];
    int64_t groups = op_int(call, "group");
    whet_status status = check_ranks(call, x, w);
    if (!status)
        status = check_group_count(call, groups, x->dims[1], "input channels");
    if (!status)
        status = check_equal(call, x->dims[1], w->dims[0], "input channels");
    Dim channels = status ? 0 : times(call, w->dims[1], groups);
    if (!status)
        status = check_bias(call, 2, channels);
    if (!status)
        status = window_read(call, x->rank - 2, w, window);
    if (!status)
        status = transposed_outputs(call, window);
    if (status)
        return status;
    Dim dims[WHET_MAX_RANK] = {x->dims[0], channels};
    memcpy(dims + 2, window->out, (size_t)window->axes * sizeof *dims);
    op_set_shape(call, 0, x->rank, dims);
    return WHET_OK;
}

static whet_status shape_transpose(OpCall *call) {
    Window window;
    if (call->in[0]->rank < 0 || call->in[1]->rank < 0)
        return WHET_OK;
    return transpose_window(call, &window);
}

static void put_affine(Text *out, int64_t factor, char stem, int i, int64_t offset) {
    if (factor != 1)
        text_printf(out, "%lld*", (long long)factor);
    text_printf(out, "%c%d", stem, i);
    if (offset)
        text_printf(out, " %c %lld", offset < 0 ? '-' : '+', (long long)(offset < 0 ? -offset : offset));
}

static void put_phase_sum(Text *out, const Window *window, const Groups *g, const Phase *phases, const int64_t *r, DType type) {
    DType wide = op_wide(type);
    text_printf(out, "sum(c:%lld", (long long)g->in);
    for (int i = 0; i < window->axes; i++)
        text_printf(out, ", t%d:%lld", i, (long long)phases[i].taps);
    text_put(out, ") ");
    text_printf(out, "%s(", dtype_name(wide));
    text_printf(out, "x[n, %s", g->input);
    for (int i = 0; i < window->axes; i++) {
        text_printf(out, ", q%d - ", i);
        put_affine(out, phases[i].back, 't', i, phases[i].shift);
    }
    text_put(out, "]?) * ");
    text_printf(out, "%s(", dtype_name(wide));
    text_printf(out, "w[%s, m", g->input);
    for (int i = 0; i < window->axes; i++) {
        text_put(out, ", ");
        put_affine(out, phases[i].step, 't', i, phases[i].first);
        if (r[i] == ALL_PHASES)
            text_printf(out, " + r%d", i);
    }
    text_put(out, "])");
}

/* One definition: the outputs of one combination of phases. */
static void put_phase(OpCall *call, Text *out, const Window *window, const Groups *g, const int64_t *r) {
    DType type = call->in[0]->type, wide = op_wide(type);
    Phase phases[WINDOW_MAX_AXES];
    bool empty = false;
    for (int i = 0; i < window->axes; i++) {
        phases[i] = get_phase(window, i, r[i] == ALL_PHASES ? 0 : r[i]);
        if (!phases[i].outputs)
            return;
        empty |= !phases[i].taps;
    }
    text_printf(out, "y[n, %s", g->left);
    for (int i = 0; i < window->axes; i++) {
        char extent[32];
        snprintf(extent, sizeof extent, ":%lld", (long long)phases[i].outputs);
        text_printf(out, ", %lld*q%d%s + ", (long long)window->stride[i], i, extent);
        if (r[i] == ALL_PHASES)
            text_printf(out, "r%d:%lld", i, (long long)window->stride[i]);
        else
            text_printf(out, "%lld", (long long)r[i]);
    }
    text_put(out, "] = ");
    text_printf(out, "%s(", dtype_name(type));
    if (empty)
        text_printf(out, "%s(0)", dtype_name(wide));
    else
        put_phase_sum(out, window, g, phases, r, type);
    if (op_has(call, 2)) {
        text_put(out, " + ");
        text_printf(out, "%s(", dtype_name(wide));
        text_printf(out, "b[%s])", g->output);
    }
    text_put(out, ")\n");
}

static whet_status build_transpose(OpCall *call, Text *out) {
    Window window;
    whet_status status = transpose_window(call, &window);
    if (status)
        return status;
    int64_t groups = op_int(call, "group"), count = 1;
    const Groups g = make_groups(groups, call->in[1]->dims[0] / groups, call->in[1]->dims[1]);
    int64_t r[WINDOW_MAX_AXES], phases[WINDOW_MAX_AXES];
    for (int i = 0; i < window.axes; i++) {
        phases[i] = phases_alike(&window, i) ? 1 : window.stride[i];
        if (!checked_mul(count, phases[i], &count) || count > PHASE_LIMIT)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "strides with a product above %d are not supported", PHASE_LIMIT);
    }
    for (int64_t number = 0; number < count; number++) {
        int64_t rest = number;
        for (int i = window.axes - 1; i >= 0; i--) {
            r[i] = phases[i] < window.stride[i] ? ALL_PHASES : rest % phases[i];
            rest /= phases[i];
        }
        put_phase(call, out, &window, &g, r);
    }
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define CONV_ATTRS AUTO_PAD " dilations:I group:i=1 kernel_shape:I pads:I strides:I"

const OpRow ops_convolve[] = {
    {"", "Conv", 1, "x:T, w:T, b?:T -> y:T", "T=float", CONV_ATTRS, shape_conv, .build = build_conv},
    {"", "ConvInteger", 10, "x:T, w:U, x_zero?:T, w_zero?:U -> y:s32", "T=s8|u8 U=s8|u8", CONV_ATTRS, shape_conv_integer,
     .build = build_conv_integer},
    {"", "ConvTranspose", 1, "x:T, w:T, b?:T -> y:T", "T=float", CONV_ATTRS " output_padding:I output_shape:I", shape_transpose,
     .build = build_transpose},
    {"", "QLinearConv", 10,
     "x:T, x_scale:f32, x_zero:T, w:U, w_scale:f32, w_zero:U, y_scale:f32, y_zero:V, b?:s32 -> y:V", "T=s8|u8 U=s8|u8 V=s8|u8",
     CONV_ATTRS, shape_qlinear_conv, .build = build_qlinear_conv},
};
// clang-format on
const size_t ops_convolve_count = COUNT(ops_convolve);
