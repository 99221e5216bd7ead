/* Sliding windows: attributes checked, output extents and pads derived. */
#include "ops/window.h"

#define EXTENT_LIMIT ((int64_t)1 << 40) /* of attributes: sums and products of two stay far inside 64 bits with checks */
#define ATTR_LIMIT   ((int64_t)1 << 31)

static whet_status read_list(OpCall *call, const char *name, int wanted, int64_t low, int64_t otherwise, int64_t *out) {
    AttrSpec spec;
    int count = 0;
    const int64_t *list = NULL;
    if (signature_find_attr(call->row->attrs, name, &spec))
        list = op_ints(call, name, &count);
    if (count && count != wanted)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d elements; wanted %d", name, count, wanted);
    for (int i = 0; i < wanted; i++) {
        out[i] = count ? list[i] : otherwise;
        if (out[i] < low || out[i] >= ATTR_LIMIT)
            return op_error(call, WHET_ERROR_FORMAT, "%s[%d] is %lld; wanted %lld or more, below 2^31", name, i,
                            (long long)out[i], (long long)low);
    }
    return WHET_OK;
}

static whet_status read_kernel(OpCall *call, const Type *weights, Window *out) {
    int count;
    op_ints(call, "kernel_shape", &count);
    if (!count && !weights)
        return op_error(call, WHET_ERROR_FORMAT, "kernel_shape has no elements; wanted %d", out->axes);
    whet_status status = read_list(call, "kernel_shape", out->axes, 1, 1, out->kernel);
    for (int i = 0; !status && weights && i < out->axes; i++) {
        Dim extent = weights->dims[i + 2];
        if (!dim_is_extent(extent)) {
            out->known &= count > 0;
        } else if (!count) {
            out->kernel[i] = extent;
        } else if (extent != out->kernel[i]) {
            return op_error(call, WHET_ERROR_FORMAT, "kernel_shape[%d] is %lld, but the weights' extent is %lld", i,
                            (long long)out->kernel[i], (long long)extent);
        }
        if (out->kernel[i] < 1 || out->kernel[i] >= ATTR_LIMIT)
            return op_error(call, WHET_ERROR_DATA, "the kernel's extent %d is %lld; wanted 1 or more", i,
                            (long long)out->kernel[i]);
    }
    return status;
}

whet_status window_read(OpCall *call, int spatial, const Type *weights, Window *out) {
    *out = (Window){.axes = spatial, .known = true};
    if (spatial < 1 || spatial > WINDOW_MAX_AXES)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%d spatial dimensions; 1 to %d are supported", spatial, WINDOW_MAX_AXES);
    whet_status status = read_kernel(call, weights, out);
    if (!status)
        status = read_list(call, "strides", spatial, 1, 1, out->stride);
    if (!status)
        status = read_list(call, "dilations", spatial, 1, 1, out->dilation);
    int64_t pads[2 * WINDOW_MAX_AXES];
    if (!status)
        status = read_list(call, "pads", 2 * spatial, -ATTR_LIMIT, 0, pads);
    for (int i = 0; !status && i < spatial; i++) {
        out->begin[i] = pads[i];
        out->end[i] = pads[spatial + i];
    }
    return status;
}

/* How far one window reaches: below 2^62. */
static int64_t reach(const Window *window, int i) {
    return window->dilation[i] * (window->kernel[i] - 1) + 1;
}

/* out = ceil(in / stride); what the windows lack is padded, the odd one at the end or at the beginning. */
static whet_status same_extent(OpCall *call, Window *window, int i, bool lower) {
    int64_t needed, out = ceiling(window->in[i], window->stride[i]);
    if (!checked_mul(out - 1, window->stride[i], &needed) || !checked_add(needed, reach(window, i), &needed))
        return op_error(call, WHET_ERROR_DATA, "the window does not fit 64 bits at spatial dimension %d", i);
    int64_t total = out > 0 && needed > window->in[i] ? needed - window->in[i] : 0;
    window->begin[i] = lower ? total - total / 2 : total / 2;
    window->end[i] = total - window->begin[i];
    window->out[i] = out;
    return WHET_OK;
}

/* The quotient is rounded towards zero where it is negative, as ONNX's shape inference and ONNX Runtime have it: a window that is
 * larger than the padded input by less than a stride gives one output, whose taps outside read as padding; by less than another
 * stride, none. */
static whet_status plain_extent(OpCall *call, Window *window, int i, bool ceil) {
    int64_t in = window->in[i], stride = window->stride[i];
    int64_t padded = in + window->begin[i] + window->end[i], room = padded - reach(window, i);
    int64_t out = (ceil && room > 0 ? ceiling(room, stride) : room / stride) + 1;
    if (padded < 0 || out < 0)
        return op_error(call, WHET_ERROR_DATA, "the window (%lld) is larger than the padded input (%lld) at spatial dimension %d",
                        (long long)reach(window, i), (long long)padded, i);
    if (ceil && room > 0 && (out - 1) * stride >= in + window->begin[i]) /* a window may not start in the padding at the end */
        out--;
    window->out[i] = out;
    return WHET_OK;
}

static void symbolic_extent(OpCall *call, Window *window, int i, Dim in, AutoPad mode, bool ceil) {
    Symbols *symbols = call->symbols;
    window->known = false;
    window->out[i] = DIM_UNKNOWN;
    if (mode == AUTO_UPPER || mode == AUTO_LOWER) {
        in = dim_add(symbols, in, window->stride[i] - 1);
        window->out[i] = dim_floordiv(symbols, in, window->stride[i]);
    } else if (!ceil || window->stride[i] == 1) {
        in = dim_add(symbols, in, dim_const(symbols, window->begin[i] + window->end[i] - reach(window, i)));
        window->out[i] = dim_add(symbols, dim_floordiv(symbols, in, window->stride[i]), 1);
    }
}

whet_status window_forward(OpCall *call, const Type *x, bool ceil, Window *window) {
    AutoPad mode = (AutoPad)op_choice(call, "auto_pad");
    whet_status status = WHET_OK;
    bool kernel_known = window->known;
    for (int i = 0; !status && i < window->axes; i++) {
        Dim in = x->dims[i + 2];
        if (mode != AUTO_NOT)
            window->begin[i] = window->end[i] = 0;
        if (!kernel_known) {
            window->out[i] = DIM_UNKNOWN;
        } else if (!dim_is_extent(in)) {
            symbolic_extent(call, window, i, in, mode, ceil && mode != AUTO_VALID);
        } else {
            if (in > EXTENT_LIMIT)
                return op_error(call, WHET_ERROR_DATA, "extent %lld at dimension %d is too large", (long long)in, i + 2);
            window->in[i] = in;
            status = mode == AUTO_UPPER || mode == AUTO_LOWER ? same_extent(call, window, i, mode == AUTO_LOWER)
                                                              : plain_extent(call, window, i, ceil && mode != AUTO_VALID);
        }
    }
    return status;
}

bool window_leaves(const Window *window) {
    for (int i = 0; i < window->axes; i++)
        if (window->begin[i] > 0 ||
            window->stride[i] * (window->out[i] - 1) + reach(window, i) - window->begin[i] > window->in[i])
            return true;
    return false;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

static void put_term(Text *out, int64_t factor, char stem, int axis) {
    if (factor != 1)
        text_printf(out, "%lld*", (long long)factor);
    text_printf(out, "%c%d", stem, axis);
}

void window_put_index(Text *out, const Window *window, int axis) {
    put_term(out, window->stride[axis], 'o', axis);
    text_put(out, " + ");
    put_term(out, window->dilation[axis], 'k', axis);
    int64_t begin = window->begin[axis];
    if (begin)
        text_printf(out, " %c %lld", begin > 0 ? '-' : '+', (long long)(begin > 0 ? begin : -begin));
}

void window_holes(OpHoles *holes, const Window *window, const char *outside) {
    Text taps, sized, indices, outputs;
    text_init(&taps);
    text_init(&sized);
    text_init(&indices);
    text_init(&outputs);
    for (int i = 0; i < window->axes; i++) {
        text_printf(&taps, "%sk%d", i ? ", " : "", i);
        text_printf(&sized, "%sk%d:%lld", i ? ", " : "", i, (long long)window->kernel[i]);
        text_printf(&outputs, ", o%d:%lld", i, (long long)window->out[i]);
        text_put(&indices, ", ");
        window_put_index(&indices, window, i);
    }
    op_hole_more(holes, 'O', 'o', 0, window->axes);
    op_hole_text(holes, 'K', &taps);
    op_hole_text(holes, 'M', &outputs);
    op_hole_text(holes, 'Z', &sized);
    op_hole_text(holes, 'X', &indices);
    op_hole(holes, 'G', "%s%s", window_leaves(window) ? "?" : "", window_leaves(window) ? outside : "");
}

/* Does every window lie in the input (and its padding, if that counts)? */
static bool ends_inside(const Window *window, bool padding) {
    for (int i = 0; i < window->axes; i++) {
        int64_t last =
            window->stride[i] * (window->out[i] - 1) + window->dilation[i] * (window->kernel[i] - 1) - window->begin[i];
        if (last >= window->in[i] + (padding ? window->end[i] : 0) || (!padding && window->begin[i] > 0))
            return false;
    }
    return true;
}

/* "count0[o0] = sum(k0:3) select(..., 1.0, 0.0)": taps that count at each output of one axis. */
static void put_count(Text *out, const Window *window, int i, bool padding, DType wide) {
    int64_t low = padding ? -window->begin[i] : 0, high = window->in[i] + (padding ? window->end[i] : 0);
    text_printf(out, "count%d[o%d:%lld] = sum(k%d:%lld) select((", i, i, (long long)window->out[i], i,
                (long long)window->kernel[i]);
    window_put_index(out, window, i);
    text_printf(out, " >= %lld) & (", (long long)low);
    window_put_index(out, window, i);
    text_printf(out, " < %lld), %s(1), %s(0))\n", (long long)high, dtype_name(wide), dtype_name(wide));
}

void window_put_counts(Text *out, OpHoles *holes, const Window *window, bool padding, DType wide) {
    bool inside = ends_inside(window, padding);
    double count = 1;
    Text product;
    text_init(&product);
    for (int i = 0; i < window->axes; i++) {
        count *= (double)window->kernel[i];
        text_printf(&product, "%scount%d[o%d]", i ? " * " : "(", i, i);
        if (!inside)
            put_count(out, window, i, padding, wide);
    }
    text_char(&product, ')');
    op_hole_text(holes, 'N', &product);
    if (inside)
        op_hole(holes, 'N', "%.0f.0", count);
}
