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

#define TAP     "[n, d, k0, k1, o0, o1]"
#define NEAR(p) "(floor(" p TAP ") + 1 - " p TAP ")"
#define FAR(p)  "(" p TAP " - floor(" p TAP "))"
/* One of the four pixels around, by its nearness; outside it is zero. */
#define CORNER(weigh_y, weigh_x, down, right)                                                                                    \
    weigh_y("py") " * " weigh_x("px") " * $W(x[n, $c*d + i, s64(floor(py" TAP ")) + " down ", s64(floor(px" TAP ")) + " right    \
                                      "]?)"

static void hole_index(OpHoles *holes, char name, const Window *window, int axis) {
    Text text;
    text_init(&text);
    window_put_index(&text, window, axis);
    op_hole_text(holes, name, &text);
}

/* py and px: where each tap reads; v: what it reads; y: the convolution of v. */
static whet_status build_deform(OpCall *call, Text *out) {
    Window window;
    whet_status status = deform_window(call, &window);
    int64_t groups = op_int(call, "group"), offset_groups = op_int(call, "offset_group");
    if (!status)
        status = check_offsets(call, &window, offset_groups);
    if (status)
        return status;
    int64_t channels = call->in[X]->dims[1], taps = window.kernel[0] * window.kernel[1];
    OpHoles holes = op_holes(call);
    op_hole_number(&holes, 'c', channels / offset_groups);
    op_hole_number(&holes, 'd', offset_groups);
    op_hole_number(&holes, 'g', groups);
    op_hole_number(&holes, 'i', channels / groups);
    op_hole_number(&holes, 'k', window.kernel[0]);
    op_hole_number(&holes, 'l', window.kernel[1]);
    op_hole_number(&holes, 'm', call->in[W]->dims[0] / groups);
    op_hole_number(&holes, 'r', 2 * window.kernel[1]);
    op_hole_number(&holes, 's', 2 * taps);
    op_hole_number(&holes, 't', taps);
    hole_index(&holes, 'y', &window, 0);
    hole_index(&holes, 'x', &window, 1);
    // clang-format off
    op_put_filled(out, &holes,
                  "py[n, d:$d, k0:$k, k1:$l, o0, o1] = $W($y) + $W(offset[n, $s*d + $r*k0 + 2*k1, o0, o1])\n"
                  "px[n, d:$d, k0:$k, k1:$l, o0, o1] = $W($x) + $W(offset[n, $s*d + $r*k0 + 2*k1 + 1, o0, o1])\n"
                  "v[n, $c*d:$d + i:$c, k0, k1, o0, o1] = ("
                  CORNER(NEAR, NEAR, "0", "0") " + " CORNER(NEAR, FAR, "0", "1") " + "
                  CORNER(FAR, NEAR, "1", "0") " + " CORNER(FAR, FAR, "1", "1") ")");
    // clang-format on
    op_put_filled(out, &holes, op_has(call, MASK) ? " * $W(mask[n, $t*d + $l*k0 + k1, o0, o1])\n" : "\n");
    op_put_filled(
        out, &holes,
        "y[n, $m*g:$g + m:$m, o0, o1] = $T(sum(c:$i, k0, k1) v[n, $i*g + c, k0, k1, o0, o1] * $W(w[$m*g + m, c, k0, k1])");
    op_put_filled(out, &holes, op_has(call, B) ? " + $W(b[$m*g + m]))\n" : ")\n");
    return WHET_OK;
}

// clang-format off
const OpRow ops_deform[] = {
    {"", "DeformConv", 19, "x:T, w:T, offset:T, b?:T, mask?:T -> y:T", "T=float",
     "dilations:I group:i=1 kernel_shape:I offset_group:i=1 pads:I strides:I", shape_deform, .build = build_deform},
};
// clang-format on
const size_t ops_deform_count = COUNT(ops_deform);
