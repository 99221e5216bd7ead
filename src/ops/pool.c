/* Pooling: windows and whole images, reduced by maximum, mean or norm. (MaxUnpool is in unfold.c.)
 *
 * Axes as in convolve.c: n, c, outputs o<i>, taps k<i>. A padded 2x2 maximum of stride 2 is
 *
 *     y[n, c, o0, o1] = max(k0:2, k1:2) x[n, c, 2*o0 + k0 - 1, 2*o1 + k1 - 1]?(-inf)
 */
#include <string.h>

#include "ops/ops.h"
#include "ops/window.h"

/* ---- Windows ----------------------------------------------------------------------------------------------------- */

static whet_status pool_window(OpCall *call, Window *window) {
    const Type *x = call->in[0];
    AttrSpec spec;
    if (x->rank < 3)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 3 or more", x->rank);
    bool ceil = signature_find_attr(call->row->attrs, "ceil_mode", &spec) && op_int(call, "ceil_mode") != 0;
    whet_status status = window_read(call, x->rank - 2, NULL, window);
    return status ? status : window_forward(call, x, ceil, window);
}

static whet_status shape_pool(OpCall *call) {
    Window window;
    const Type *x = call->in[0];
    if (x->rank < 0)
        return WHET_OK;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    Dim dims[WHET_MAX_RANK] = {x->dims[0], x->dims[1]};
    memcpy(dims + 2, window.out, (size_t)window.axes * sizeof *dims);
    for (int i = 0; i < call->out_count; i++)
        op_set_shape(call, i, x->rank, dims);
    return WHET_OK;
}

/* ---- MaxPool ----------------------------------------------------------------------------------------------------- */

static bool plane_size(const Window *window, int64_t *out) {
    return checked_count(window->in, window->axes, out);
}

/* $P "3*(2*o0 + k0 - 1) + 1*(2*o1 + k1 - 1)": the position of a tap in its plane, row by row. $B " & (2*o0 + k0 - 1 >= 0) & ...":
 * the tap is inside the input. */
static void hole_position(OpHoles *holes, const Window *window) {
    Text position, inside, index;
    text_init(&position);
    text_init(&inside);
    text_init(&index);
    int64_t stride = 1;
    for (int i = window->axes - 1; i >= 0; i--) {
        text_clear(&index);
        window_put_index(&index, window, i);
        text_printf(&position, "%s%lld*(%s)", position.length ? " + " : "", (long long)stride, index.data);
        if (window_leaves(window))
            text_printf(&inside, " & (%s >= 0) & (%s < %lld)", index.data, index.data, (long long)window->in[i]);
        stride *= window->in[i];
    }
    holes->arena->failed |= index.failed;
    text_free(&index);
    op_hole_text(holes, 'P', &position);
    op_hole_text(holes, 'B', &inside);
}

/* The position first[...], numbered column by column: each of its coordinates by the extents before it. */
static void put_column_major(Text *out, const OpHoles *holes, const Window *window) {
    int64_t inner = 1, outer = 1;
    for (int i = 1; i < window->axes; i++)
        inner *= window->in[i];
    for (int i = 0; i < window->axes; i++) {
        text_printf(out, "%s%lld*(", i ? " + " : "", (long long)outer);
        op_put_filled(out, holes, "first[n, c$O]");
        text_printf(out, " // %lld %% %lld)", (long long)inner, (long long)window->in[i]);
        outer *= window->in[i];
        inner /= i + 1 < window->axes && window->in[i + 1] ? window->in[i + 1] : 1;
    }
}

static const char *lowest(DType type) {
    return type == DT_U8 ? "" : type == DT_S8 ? "(-128)" : "(-inf)";
}

/* The first position, row by row, whose element is the maximum; then its number in the whole tensor. */
static whet_status put_max_indices(OpCall *call, Text *out, OpHoles *holes, const Window *window) {
    int64_t plane;
    if (!plane_size(window, &plane))
        return op_error(call, WHET_ERROR_DATA, "the input's positions do not fit 64 bits");
    hole_position(holes, window);
    op_hole_number(holes, 'N', plane);
    op_put_filled(out, holes,
                  "first[n, c$O] = min($Z) select((x[n, c$X]$G == y[n, c$O])$B, $P, 9223372036854775807)\n"
                  "indices[n, c$O] = ");
    if (op_int(call, "storage_order"))
        put_column_major(out, holes, window);
    else
        op_put_filled(out, holes, "first[n, c$O]");
    op_put_filled(out, holes, " + $N*(n*size(c) + c)\n");
    return WHET_OK;
}

static whet_status build_max_pool(OpCall *call, Text *out) {
    Window window;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    bool indices = op_wants(call, 1);
    OpHoles holes = op_holes(call);
    window_holes(&holes, &window, lowest(call->in[0]->type));
    text_put(out, indices ? "out " : "");
    op_put_filled(out, &holes, "y[n, c$O] = max($Z) x[n, c$X]$G\n");
    return indices ? put_max_indices(call, out, &holes, &window) : WHET_OK;
}

/* ---- AveragePool and LpPool -------------------------------------------------------------------------------------- */

static whet_status build_average_pool(OpCall *call, Text *out) {
    Window window;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    OpHoles holes = op_holes(call);
    window_holes(&holes, &window, "");
    window_put_counts(out, &holes, &window, op_int(call, "count_include_pad") != 0, op_wide(call->in[0]->type));
    op_put_filled(out, &holes, "y[n, c$O] = $T((sum($Z) $W(x[n, c$X]$G)) / $N)\n");
    return WHET_OK;
}

/* $Y as the p-norm of elements $E under the sum $S. */
static whet_status put_norm(OpCall *call, Text *out, OpHoles *holes) {
    int64_t p = op_int(call, "p");
    if (p < 1 || p >= 1 << 20)
        return op_error(call, WHET_ERROR_FORMAT, "p is %lld; wanted 1 or more, below 2^20", (long long)p);
    op_hole(holes, 'Q', "%.17g", 1.0 / (double)p);
    op_put_filled(out, holes,
                  p == 1   ? "$Y = $T($Sabs($W($E)))"
                  : p == 2 ? "$Y = $T(sqrt($Ssquare($W($E))))"
                           : "$Y = $T(pow($Spow(abs($W($E)), p), $Q))");
    return WHET_OK;
}

static whet_status build_lp_pool(OpCall *call, Text *out) {
    Window window;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    OpHoles holes = op_holes(call);
    window_holes(&holes, &window, "");
    op_hole_filled(&holes, 'Y', "y[n, c$O]");
    op_hole_filled(&holes, 'S', "sum($Z) ");
    op_hole_filled(&holes, 'E', "x[n, c$X]$G");
    return put_norm(call, out, &holes);
}

/* ---- Global pools: all of an image becomes one element ----------------------------------------------------------- */

static whet_status shape_global(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 2 or more", x->rank);
    Dim dims[WHET_MAX_RANK] = {x->dims[0], x->dims[1]};
    for (int i = 2; i < x->rank; i++)
        dims[i] = 1;
    op_set_shape(call, 0, x->rank, dims);
    return WHET_OK;
}

/* The row's text, or the norm that it asks for, over all pixels. */
static whet_status build_global(OpCall *call, Text *out) {
    bool pixels[WHET_MAX_RANK] = {false};
    for (int d = 2; d < call->in[0]->rank; d++)
        pixels[d] = true;
    OpHoles holes = op_holes_reduced(call, pixels);
    op_hole_filled(&holes, 'Y', "y[$K]");
    op_hole_filled(&holes, 'E', "x[$J]");
    if (!call->row->text)
        return put_norm(call, out, &holes);
    op_put_filled(out, &holes, call->row->text);
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define POOL_ATTRS     AUTO_PAD " kernel_shape:I! pads:I strides:I"
#define POOL_ATTRS_NOW POOL_ATTRS " ceil_mode:i=0 dilations:I"
#define GLOBAL(name, attrs, text_)                                                                                               \
    { "", name, 1, "x:T -> y:T", "T=float", attrs, shape_global, .text = text_, .build = build_global }

const OpRow ops_pool[] = {
    {"", "AveragePool", 7, "x:T -> y:T", "T=float", POOL_ATTRS_NOW " count_include_pad:i=0", shape_pool,
     .build = build_average_pool},
    GLOBAL("GlobalAveragePool", "", "$Y = $T(($S$W($E)) / $N)"),
    GLOBAL("GlobalLpPool", "p:i=2", NULL),
    GLOBAL("GlobalMaxPool", "", "$Y = $M$E"),
    {"", "LpPool", 2, "x:T -> y:T", "T=float", POOL_ATTRS_NOW " p:i=2", shape_pool, .build = build_lp_pool},
    {"", "MaxPool", 1, "x:T -> y:T, indices?:s64", "T=float|s8|u8", POOL_ATTRS_NOW " storage_order:i=0", shape_pool,
     .build = build_max_pool},
};
// clang-format on
const size_t ops_pool_count = COUNT(ops_pool);
