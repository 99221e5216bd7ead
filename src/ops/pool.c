/* Pooling: windows and whole images, reduced by maximum, mean or norm. (MaxUnpool is in unfold.c.)
 *
 * Axes as in convolve.c: n, c, outputs o<i>, taps k<i>. A padded 2x2 maximum of stride 2 is
 *
 *     y[n, c, o0, o1] = max(k0:2, k1:2) x[n, c, 2*o0 + k0 - 1, 2*o1 + k1 - 1]?(-inf)
 */
#include <stdio.h>
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

static void put_left(Text *out, const char *name, const Window *window) {
    text_printf(out, "%s[n, c", name);
    window_put_outputs(out, window);
    text_put(out, "] = ");
}

static void put_reduction(Text *out, const char *function, const Window *window) {
    text_printf(out, "%s(", function);
    window_put_sized_taps(out, window);
    text_put(out, ") ");
}

/* ---- MaxPool ----------------------------------------------------------------------------------------------------- */

static bool plane_size(const Window *window, int64_t *out) {
    return checked_count(window->in, window->axes, out);
}

/* "3*(2*o0 + k0 - 1) + 1*(2*o1 + k1 - 1)": the position of a tap in its plane, row by row */
static void put_position(Text *out, const Window *window) {
    int64_t stride = 1;
    for (int i = window->axes - 1; i >= 0; i--) {
        text_printf(out, "%s%lld*(", i + 1 < window->axes ? " + " : "", (long long)stride);
        window_put_index(out, window, i);
        text_char(out, ')');
        stride *= window->in[i];
    }
}

/* The position first[...], numbered column by column: each of its coordinates by the extents before it. */
static void put_column_major(Text *out, const Window *window) {
    int64_t inner = 1, outer = 1;
    for (int i = 1; i < window->axes; i++)
        inner *= window->in[i];
    for (int i = 0; i < window->axes; i++) {
        text_printf(out, "%s%lld*(first[n, c", i ? " + " : "", (long long)outer);
        window_put_outputs(out, window);
        text_printf(out, "] // %lld %% %lld)", (long long)inner, (long long)window->in[i]);
        outer *= window->in[i];
        inner /= i + 1 < window->axes && window->in[i + 1] ? window->in[i + 1] : 1;
    }
}

/* Is tap k inside the input? " & (2*o0 + k0 - 1 >= 0) & (2*o0 + k0 - 1 < 8)" */
static void put_inside(Text *out, const Window *window) {
    for (int i = 0; i < window->axes; i++) {
        text_put(out, " & (");
        window_put_index(out, window, i);
        text_put(out, " >= 0) & (");
        window_put_index(out, window, i);
        text_printf(out, " < %lld)", (long long)window->in[i]);
    }
}

static const char *lowest(DType type) {
    return type == DT_U8 ? "" : type == DT_S8 ? "(-128)" : "(-inf)";
}

/* The first position, row by row, whose element is the maximum; then its number in the whole tensor. */
static whet_status put_max_indices(OpCall *call, Text *out, const Window *window) {
    int64_t plane;
    if (!plane_size(window, &plane))
        return op_error(call, WHET_ERROR_DATA, "the input's positions do not fit 64 bits");
    put_left(out, "first", window);
    put_reduction(out, "min", window);
    text_put(out, "select((x[n, c");
    window_put_indices(out, window, lowest(call->in[0]->type));
    text_put(out, " == y[n, c");
    window_put_outputs(out, window);
    text_put(out, "])");
    if (window_leaves(window))
        put_inside(out, window);
    text_put(out, ", ");
    put_position(out, window);
    text_put(out, ", 9223372036854775807)\n");
    put_left(out, "indices", window);
    if (op_int(call, "storage_order")) {
        put_column_major(out, window);
    } else {
        text_put(out, "first[n, c");
        window_put_outputs(out, window);
        text_char(out, ']');
    }
    text_printf(out, " + %lld*(n*size(c) + c)\n", (long long)plane);
    return WHET_OK;
}

static whet_status build_max_pool(OpCall *call, Text *out) {
    Window window;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    bool indices = op_wants(call, 1);
    text_put(out, indices ? "out " : "");
    put_left(out, "y", &window);
    put_reduction(out, "max", &window);
    text_put(out, "x[n, c");
    window_put_indices(out, &window, lowest(call->in[0]->type));
    text_char(out, '\n');
    return indices ? put_max_indices(call, out, &window) : WHET_OK;
}

/* ---- AveragePool and LpPool -------------------------------------------------------------------------------------- */

static whet_status build_average_pool(OpCall *call, Text *out) {
    Window window;
    whet_status status = pool_window(call, &window);
    if (status)
        return status;
    DType type = call->in[0]->type, wide = op_wide(type);
    bool padding = op_int(call, "count_include_pad") != 0, constant = window_ends_inside(&window, padding);
    double count = 1;
    for (int i = 0; i < window.axes; i++) {
        count *= (double)window.kernel[i];
        if (!constant)
            window_put_counts(out, &window, i, padding, wide);
    }
    put_left(out, "y", &window);
    op_put_cast(out, wide, type);
    text_char(out, '(');
    put_reduction(out, "sum", &window);
    op_put_cast(out, type, wide);
    text_put(out, "x[n, c");
    window_put_indices(out, &window, "");
    text_put(out, ")) / ");
    if (constant)
        text_printf(out, "%.0f.0)", count);
    for (int i = 0; !constant && i < window.axes; i++)
        text_printf(out, "%scount%d[o%d]%s", i ? " * " : "(", i, i, i + 1 == window.axes ? "))" : "");
    text_char(out, '\n');
    return WHET_OK;
}

/* The p-norm around an element: "abs(x)", "x * x" or "pow(abs(x), p)", and the root of the sum. */
static whet_status check_norm(OpCall *call, int64_t *p) {
    *p = op_int(call, "p");
    return *p >= 1 && *p < 1 << 20 ? WHET_OK : op_error(call, WHET_ERROR_FORMAT, "p is %lld; wanted 1 or more", (long long)*p);
}

static void put_norm_open(Text *out, int64_t p) {
    text_put(out, p == 2 ? "sqrt(" : p == 1 ? "(" : "pow(");
}

static void put_norm_close(Text *out, int64_t p) {
    if (p > 2)
        text_printf(out, ", %.17g", 1.0 / (double)p);
    text_char(out, ')');
}

static whet_status build_lp_pool(OpCall *call, Text *out) {
    Window window;
    int64_t p;
    whet_status status = pool_window(call, &window);
    if (!status)
        status = check_norm(call, &p);
    if (status)
        return status;
    DType type = call->in[0]->type, wide = op_wide(type);
    put_left(out, "y", &window);
    op_put_cast(out, wide, type);
    put_norm_open(out, p);
    put_reduction(out, "sum", &window);
    text_put(out, p == 2 ? "square(" : p == 1 ? "abs(" : "pow(abs(");
    op_put_cast(out, type, wide);
    text_put(out, "x[n, c");
    window_put_indices(out, &window, "");
    text_put(out, "))");
    if (p > 2)
        text_printf(out, ", %lld)", (long long)p);
    put_norm_close(out, p);
    text_put(out, ")\n");
    return WHET_OK;
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

static void put_global_left(Text *out, int rank) {
    text_put(out, "y[n, c");
    for (int i = 2; i < rank; i++)
        text_put(out, ", 0");
    text_put(out, "] = ");
}

/* "sum(k2, k3) ", or nothing for a rank of 2 */
static void put_global_reduction(Text *out, const char *function, int rank) {
    if (rank == 2)
        return;
    text_printf(out, "%s(", function);
    op_put_indices(out, "k", 2, rank);
    text_put(out, ") ");
}

static void put_global_read(Text *out, const Type *x, DType wide) {
    op_put_cast(out, x->type, wide);
    text_put(out, x->rank > 2 ? "x[n, c, " : "x[n, c");
    op_put_indices(out, "k", 2, x->rank);
    text_put(out, "])");
}

static whet_status build_global_max(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    put_global_left(out, x->rank);
    put_global_reduction(out, "max", x->rank);
    put_global_read(out, x, x->type);
    return WHET_OK;
}

static whet_status build_global_average(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    double count = 1;
    for (int i = 2; i < x->rank; i++)
        count *= (double)x->dims[i];
    put_global_left(out, x->rank);
    op_put_cast(out, wide, x->type);
    text_char(out, '(');
    put_global_reduction(out, "sum", x->rank);
    put_global_read(out, x, wide);
    text_printf(out, ") / %.0f.0)", count);
    return WHET_OK;
}

static whet_status build_global_lp(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    DType wide = op_wide(x->type);
    int64_t p;
    whet_status status = check_norm(call, &p);
    if (status)
        return status;
    put_global_left(out, x->rank);
    op_put_cast(out, wide, x->type);
    put_norm_open(out, p);
    put_global_reduction(out, "sum", x->rank);
    text_put(out, p == 2 ? "square(" : p == 1 ? "abs(" : "pow(abs(");
    put_global_read(out, x, wide);
    text_char(out, ')');
    if (p > 2)
        text_printf(out, ", %lld)", (long long)p);
    put_norm_close(out, p);
    text_char(out, ')');
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define POOL_ATTRS     AUTO_PAD " kernel_shape:I! pads:I strides:I"
#define POOL_ATTRS_NOW POOL_ATTRS " ceil_mode:i=0 dilations:I"
#define GLOBAL(name, attrs, function)                                                                                            \
    { "", name, 1, "x:T -> y:T", "T=float", attrs, shape_global, .build = function }

const OpRow ops_pool[] = {
    {"", "AveragePool", 7, "x:T -> y:T", "T=float", POOL_ATTRS_NOW " count_include_pad:i=0", shape_pool,
     .build = build_average_pool},
    GLOBAL("GlobalAveragePool", "", build_global_average),
    GLOBAL("GlobalLpPool", "p:i=2", build_global_lp),
    GLOBAL("GlobalMaxPool", "", build_global_max),
    {"", "LpPool", 2, "x:T -> y:T", "T=float", POOL_ATTRS_NOW " p:i=2", shape_pool, .build = build_lp_pool},
    {"", "MaxPool", 1, "x:T -> y:T, indices?:s64", "T=float|s8|u8", POOL_ATTRS_NOW " storage_order:i=0", shape_pool,
     .build = build_max_pool},
};
// clang-format on
const size_t ops_pool_count = COUNT(ops_pool);
