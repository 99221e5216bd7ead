/* DeformConv: a 2-d convolution whose taps each lie at an offset of their own, between pixels.
 *
 * One kernel: where each tap lies (py, px), what the image has there by bilinear interpolation (v), and the convolution of that.
 * Axes: n batch, m output channel, c input channel of a group, d offset group, o0 and o1 output, k0 and k1 tap. */
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"
#include "ops/window.h"

enum { X, W, OFFSET, B, MASK };

static whet_status check_offsets(OpCall *call, const Window *window, int64_t offset_groups) {
    const Type *x = call->in[X];
    int64_t taps = window->kernel[0] * window->kernel[1];
    const int inputs[] = {OFFSET, MASK};
    for (int i = 0; i < 2; i++) {
        if (!op_has(call, inputs[i]))
            continue;
        const Type *type = call->in[inputs[i]];
        int64_t wanted[] = {x->dims[0], offset_groups * taps * (i ? 1 : 2), window->out[0], window->out[1]};
        bool fits = type->rank == 4;
        for (int d = 0; fits && d < 4; d++)
            fits = type->dims[d] == wanted[d];
        if (!fits)
            return op_error(call, WHET_ERROR_DATA, "input %d has a wrong shape; wanted [%lld, %lld, %lld, %lld]", inputs[i],
                            (long long)wanted[0], (long long)wanted[1], (long long)wanted[2], (long long)wanted[3]);
    }
    return WHET_OK;
}

static whet_status deform_window(OpCall *call, Window *window) {
    const Type *x = call->in[X], *w = call->in[W];
    if (x->rank != 4 || w->rank != 4)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "input and weights of rank %d and %d are not supported; wanted 4 and 4",
                        x->rank, w->rank);
    int64_t groups = op_int(call, "group"), offset_groups = op_int(call, "offset_group");
    if (groups < 1 || offset_groups < 1 || groups > 1 << 20 || offset_groups > 1 << 20)
        return op_error(call, WHET_ERROR_FORMAT, "group is %lld, offset_group is %lld; wanted 1 or more", (long long)groups,
                        (long long)offset_groups);
    if (dim_is_extent(x->dims[1]) && (x->dims[1] % groups || x->dims[1] % offset_groups))
        return op_error(call, WHET_ERROR_DATA, "%lld channels do not divide into %lld groups and %lld of offsets",
                        (long long)x->dims[1], (long long)groups, (long long)offset_groups);
    if (dim_is_extent(x->dims[1]) && dim_is_extent(w->dims[1]) && w->dims[1] != x->dims[1] / groups)
        return op_error(call, WHET_ERROR_DATA, "input channels of the weights: %lld; wanted %lld", (long long)w->dims[1],
                        (long long)(x->dims[1] / groups));
    if (dim_is_extent(w->dims[0]) && w->dims[0] % groups)
        return op_error(call, WHET_ERROR_DATA, "%lld output channels do not divide into %lld groups", (long long)w->dims[0],
                        (long long)groups);
    whet_status status = window_read(call, 2, w, window);
    return status ? status : window_forward(call, x, false, window);
}

static whet_status shape_deform(OpCall *call) {
    Window window;
    if (call->in[X]->rank < 0 || call->in[W]->rank < 0)
        return WHET_OK;
    whet_status status = deform_window(call, &window);
    if (status)
        return status;
    op_set_shape(call, 0, 4, (Dim[]){call->in[X]->dims[0], call->in[W]->dims[0], window.out[0], window.out[1]});
    return WHET_OK;
}

/* "py[n, d:1, k0:3, k1:3, o0:8, o1:8] = f32(2*o0 + k0 - 1) + f32(offset[n, 18*d + 6*k0 + 2*k1, o0, o1])" */
static void put_place(Text *out, const Window *w, int axis, int64_t offset_groups, DType from, DType wide) {
    long long taps = w->kernel[0] * w->kernel[1];
    text_printf(out, "%s[n, d:%lld, k0:%lld, k1:%lld, o0, o1] = %s(", axis ? "px" : "py", (long long)offset_groups,
                (long long)w->kernel[0], (long long)w->kernel[1], dtype_name(wide));
    window_put_index(out, w, axis);
    text_put(out, ") + ");
    op_put_cast(out, from, wide);
    text_printf(out, "offset[n, %lld*d + %lld*k0 + 2*k1 + %d, o0, o1])\n", 2 * taps, 2 * (long long)w->kernel[1], axis);
}

#define TAP "[n, d, k0, k1, o0, o1]"

/* One of the four pixels around a place, with its weight: pixels outside are zero. */
static void put_corner(Text *out, int down, int right, DType from, DType wide, long long shared) {
    const char *near = "(floor(%s" TAP ") + 1 - %s" TAP ") * ", *far = "(%s" TAP " - floor(%s" TAP ")) * ";
    text_printf(out, down ? far : near, "py", "py");
    text_printf(out, right ? far : near, "px", "px");
    op_put_cast(out, from, wide);
    text_printf(out, "x[n, %lld*d + i, s64(floor(py" TAP ")) + %d, s64(floor(px" TAP ")) + %d]?)", shared, down, right);
}

static whet_status build_deform(OpCall *call, Text *out) {
    Window window;
    whet_status status = deform_window(call, &window);
    int64_t groups = op_int(call, "group"), offset_groups = op_int(call, "offset_group");
    if (!status)
        status = check_offsets(call, &window, offset_groups);
    if (status)
        return status;
    DType type = call->in[X]->type, wide = op_wide(type);
    long long channels = call->in[X]->dims[1], inside = channels / groups, outside = call->in[W]->dims[0] / groups;
    long long shared = channels / offset_groups, taps = window.kernel[0] * window.kernel[1];
    put_place(out, &window, 0, offset_groups, type, wide);
    put_place(out, &window, 1, offset_groups, type, wide);
    text_printf(out, "v[n, %lld*d:%lld + i:%lld, k0, k1, o0, o1] = (", shared, (long long)offset_groups, shared);
    for (int corner = 0; corner < 4; corner++) {
        text_put(out, corner ? " + " : "");
        put_corner(out, corner / 2, corner % 2, type, wide, shared);
    }
    text_char(out, ')');
    if (op_has(call, MASK)) {
        text_put(out, " * ");
        op_put_cast(out, type, wide);
        text_printf(out, "mask[n, %lld*d + %lld*k0 + k1, o0, o1])", taps, (long long)window.kernel[1]);
    }
    text_printf(out, "\ny[n, %lld*g:%lld + m:%lld, o0, o1] = ", outside, (long long)groups, outside);
    op_put_cast(out, wide, type);
    text_printf(out, "sum(c:%lld, k0, k1) v[n, %lld*g + c, k0, k1, o0, o1] * ", inside, inside);
    op_put_cast(out, type, wide);
    text_printf(out, "w[%lld*g + m, c, k0, k1])", outside);
    if (op_has(call, B)) {
        text_put(out, " + ");
        op_put_cast(out, type, wide);
        text_printf(out, "b[%lld*g + m])", outside);
    }
    text_put(out, ")\n");
    return WHET_OK;
}

// clang-format off
const OpRow ops_deform[] = {
    {"", "DeformConv", 19, "x:T, w:T, offset:T, b?:T, mask?:T -> y:T", "T=float",
     "dilations:I group:i=1 kernel_shape:I offset_group:i=1 pads:I strides:I", shape_deform, .build = build_deform},
};
// clang-format on
const size_t ops_deform_count = COUNT(ops_deform);
