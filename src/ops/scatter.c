/* Operators that write at indices which are data: Scatter, ScatterElements, ScatterND, TensorScatter.
 *
 * The output starts as a copy of the data; updates are applied in order, so that of two to one place the last one stays.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

typedef enum Reduction {
    SCATTER_NONE,
    SCATTER_ADD,
    SCATTER_MUL,
    SCATTER_MAX,
    SCATTER_MIN
} Reduction; /* in the order of the rows */

static Reduction reduction_of(const OpCall *call) {
    return (Reduction)op_choice(call, "reduction");
}

static whet_status check_reduction(OpCall *call) {
    Reduction reduction = reduction_of(call);
    DType type = call->in[0]->type;
    if (reduction != SCATTER_NONE && type != DT_NONE && (!kernel_computes(type) || type == DT_BOOL))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "reductions of type %s are not supported", dtype_name(type));
    return native_whole_bytes(call, type);
}

static double combine_floats(Reduction reduction, double a, double b) {
    switch (reduction) {
    case SCATTER_ADD: return a + b;
    case SCATTER_MUL: return a * b;
    case SCATTER_MAX: return isnan(a) || a > b ? a : b;
    case SCATTER_MIN: return isnan(a) || a < b ? a : b;
    default: return b;
    }
}

/* Wraps on overflow; `is_signed` decides comparisons. */
static uint64_t combine_ints(Reduction reduction, uint64_t a, uint64_t b, bool is_signed) {
    bool greater = is_signed ? (int64_t)a > (int64_t)b : a > b;
    switch (reduction) {
    case SCATTER_ADD: return a + b;
    case SCATTER_MUL: return a * b;
    case SCATTER_MAX: return greater ? a : b;
    case SCATTER_MIN: return greater ? b : a;
    default: return b;
    }
}

static uint64_t load_int(DType type, const void *from, int64_t i) {
    switch (type) {
    case DT_U8: return ((const uint8_t *)from)[i];
    case DT_S8: return (uint64_t)(int64_t)((const int8_t *)from)[i];
    case DT_U16: return ((const uint16_t *)from)[i];
    case DT_S16: return (uint64_t)(int64_t)((const int16_t *)from)[i];
    case DT_U32: return ((const uint32_t *)from)[i];
    case DT_S32: return (uint64_t)(int64_t)((const int32_t *)from)[i];
    default: return ((const uint64_t *)from)[i];
    }
}

static void store_int(size_t size, uint64_t value, void *to, int64_t i) {
    switch (size) {
    case 1: ((uint8_t *)to)[i] = (uint8_t)value; break;
    case 2: ((uint16_t *)to)[i] = (uint16_t)value; break;
    case 4: ((uint32_t *)to)[i] = (uint32_t)value; break;
    default: ((uint64_t *)to)[i] = value; break;
    }
}

/* Applies `count` neighbouring updates. */
static void apply(DType type, Reduction reduction, void *to, const void *from, int64_t count) {
    size_t size = native_size(type);
    if (reduction == SCATTER_NONE) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    if (dtype_kind(type) != KIND_FLOAT) {
        bool is_signed = dtype_kind(type) == KIND_SIGNED;
        for (int64_t i = 0; i < count; i++)
            store_int(size, combine_ints(reduction, load_int(type, to, i), load_int(type, from, i), is_signed), to, i);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        double a, b;
        native_to_f64(type, (char *)to + (size_t)i * size, 1, &a);
        native_to_f64(type, (const char *)from + (size_t)i * size, 1, &b);
        a = combine_floats(reduction, a, b);
        native_from_f64(type, &a, 1, (char *)to + (size_t)i * size);
    }
}

static void *copy_data(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    void *to = op_output(run, 0, (DType)x->type, x->rank, x->dims);
    if (to && x->bytes)
        memcpy(to, x->data, x->bytes);
    return to;
}

static whet_status index_error(OpRun *run, int64_t index, int64_t extent) {
    return native_error(run, WHET_ERROR_DATA, "index %lld is outside [%lld, %lld)", (long long)index, (long long)-extent,
                        (long long)extent);
}

/* ---- ScatterElements ----------------------------------------------------------------------------------------------------- */

static whet_status scatter_elements_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1], *updates = call->in[2];
    whet_status status = check_reduction(call);
    if (status != WHET_OK || !op_ranks_known(call))
        return status;
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    if (x->rank != indices->rank || x->rank != updates->rank)
        return op_error(call, WHET_ERROR_DATA, "data, indices and updates have ranks %d, %d and %d; they must be equal", x->rank,
                        indices->rank, updates->rank);
    for (int d = 0; d < x->rank; d++) {
        Dim i = indices->dims[d], u = updates->dims[d];
        if (dim_is_extent(i) && dim_is_extent(u) && i != u)
            return op_error(call, WHET_ERROR_DATA, "dimension %d is %lld in the indices and %lld in the updates; wanted the same",
                            d, (long long)i, (long long)u);
        if (d != axis && dim_is_extent(i) && dim_is_extent(x->dims[d]) && i > x->dims[d])
            return op_error(call, WHET_ERROR_DATA, "dimension %d of the indices is %lld; at most %lld is wanted", d, (long long)i,
                            (long long)x->dims[d]);
    }
    return op_same_shape(call, 0, 0);
}

/* Updates along the last axis: update i goes to index * jump + i * step. */
typedef struct Line {
    DType type;
    Reduction reduction;
    int64_t extent, jump, step, count;
} Line;

/* The first update whose index is outside; -1: none. */
static int64_t scatter_line(const Line *l, const int64_t *indices, const char *from, char *to) {
    size_t size = native_size(l->type);
    bool plain = l->reduction == SCATTER_NONE && size == 4;
    for (int64_t i = 0; i < l->count; i++) {
        int64_t index = indices[i] + (indices[i] < 0 ? l->extent : 0);
        if (index < 0 || index >= l->extent)
            return i;
        char *place = to + (size_t)(index * l->jump + i * l->step) * size;
        if (plain)
            memcpy(place, from + 4 * i, 4);
        else
            apply(l->type, l->reduction, place, from + (size_t)i * size, 1);
    }
    return -1;
}

static whet_status scatter_elements_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *updates = op_input(run, 2);
    int axis = op_axis(run->call, op_int(run->call, "axis"), x->rank);
    Reduction reduction = reduction_of(run->call);
    const int64_t *indices = native_s64(run, 1);
    char *to = indices ? copy_data(run) : NULL;
    if (!to)
        return native_failed(run);
    int64_t strides[WHET_MAX_RANK], at[WHET_MAX_RANK] = {0};
    int last = x->rank - 1;
    if (axis < 0)
        return native_failed(run);
    native_strides(x->rank, x->dims, strides);
    Line line = {(DType)x->type, reduction, x->dims[axis], strides[axis], axis == last ? 0 : strides[last], updates->dims[last]};
    size_t size = native_size(line.type);
    for (int64_t i = 0, count = whet_tensor_count(updates); i < count; i += line.count) {
        int64_t place = 0;
        for (int d = 0; d < last; d++)
            place += d == axis ? 0 : at[d] * strides[d];
        int64_t bad = scatter_line(&line, indices + i, (const char *)updates->data + (size_t)i * size, to + (size_t)place * size);
        if (bad >= 0)
            return index_error(run, indices[i + bad], line.extent);
        for (int d = last - 1; d >= 0 && ++at[d] == updates->dims[d]; d--)
            at[d] = 0;
    }
    return WHET_OK;
}

/* ---- ScatterND ----------------------------------------------------------------------------------------------------------- */

static whet_status scatter_nd_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1], *updates = call->in[2];
    whet_status status = check_reduction(call);
    if (status != WHET_OK || !op_ranks_known(call))
        return status;
    if (indices->rank < 1 || x->rank < 1)
        return op_error(call, WHET_ERROR_DATA, "data and indices have ranks %d and %d; at least 1 is wanted", x->rank,
                        indices->rank);
    Dim depth = indices->dims[indices->rank - 1];
    if (dim_is_extent(depth)) {
        if (depth > x->rank)
            return op_error(call, WHET_ERROR_DATA, "indices of %lld elements do not fit data of rank %d", (long long)depth,
                            x->rank);
        int outer = indices->rank - 1, rank = outer + x->rank - (int)depth;
        if (updates->rank != rank)
            return op_error(call, WHET_ERROR_DATA, "the updates have rank %d; %d is wanted", updates->rank, rank);
        for (int d = 0; d < rank; d++) {
            Dim wanted = d < outer ? indices->dims[d] : x->dims[d - outer + depth], seen = updates->dims[d];
            if (dim_is_extent(wanted) && dim_is_extent(seen) && wanted != seen)
                return op_error(call, WHET_ERROR_DATA, "dimension %d of the updates is %lld; %lld is wanted", d, (long long)seen,
                                (long long)wanted);
        }
    }
    return op_same_shape(call, 0, 0);
}

static whet_status scatter_nd_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *indices = op_input(run, 1), *updates = op_input(run, 2);
    int outer = indices->rank - 1, depth = (int)indices->dims[outer];
    int64_t strides[WHET_MAX_RANK], rows = native_count(outer, indices->dims);
    int64_t line = native_count(x->rank - depth, x->dims + depth);
    size_t size = native_size((DType)x->type);
    const int64_t *index = native_s64(run, 1);
    Reduction reduction = reduction_of(run->call);
    char *to = index ? copy_data(run) : NULL;
    if (!to)
        return native_failed(run);
    native_strides(x->rank, x->dims, strides);
    for (int64_t r = 0; r < rows; r++) {
        int64_t place = 0;
        for (int k = 0; k < depth; k++, index++) {
            int64_t at = *index < 0 ? *index + x->dims[k] : *index;
            if (at < 0 || at >= x->dims[k])
                return index_error(run, *index, x->dims[k]);
            place += at * strides[k];
        }
        apply((DType)x->type, reduction, to + (size_t)place * size, (const char *)updates->data + (size_t)(r * line) * size,
              line);
    }
    return WHET_OK;
}

/* ---- TensorScatter ------------------------------------------------------------------------------------------------------- */

static whet_status tensor_scatter_shape(OpCall *call) {
    const Type *x = call->in[0], *update = call->in[1];
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || !op_ranks_known(call))
        return status;
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (axis < 1)
        return axis < 0 ? WHET_ERROR_FORMAT
                        : op_error(call, WHET_ERROR_FORMAT, "the axis is that of the batch, 0; wanted another");
    if (update->rank != x->rank)
        return op_error(call, WHET_ERROR_DATA, "the update has rank %d; %d is wanted", update->rank, x->rank);
    for (int d = 0; d < x->rank; d++) {
        Dim u = update->dims[d], c = x->dims[d];
        if (dim_is_extent(u) && dim_is_extent(c) && (d == axis ? u > c : u != c))
            return op_error(call, WHET_ERROR_DATA, "dimension %d of the update is %lld, of the cache %lld", d, (long long)u,
                            (long long)c);
    }
    if (op_has(call, 2) && call->in[2]->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "write_indices has rank %d; 1 is wanted", call->in[2]->rank);
    if (op_has(call, 2) && dim_is_extent(call->in[2]->dims[0]) && dim_is_extent(x->dims[0]) && call->in[2]->dims[0] != x->dims[0])
        return op_error(call, WHET_ERROR_DATA, "write_indices has %lld elements; %lld are wanted",
                        (long long)call->in[2]->dims[0], (long long)x->dims[0]);
    return op_same_shape(call, 0, 0);
}

static whet_status tensor_scatter_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *update = op_input(run, 1);
    int axis = op_axis(run->call, op_int(run->call, "axis"), x->rank);
    const int64_t *starts = op_input(run, 2) ? op_input(run, 2)->data : NULL;
    bool circular = op_choice(run->call, "mode") == 1;
    char *to = copy_data(run);
    if (!to)
        return native_failed(run);
    int64_t outer = native_count(axis, x->dims), batch = x->dims[0], cache = x->dims[axis], length = update->dims[axis];
    size_t line = (size_t)native_count(x->rank - axis - 1, x->dims + axis + 1) * native_size((DType)x->type);
    for (int64_t o = 0; o < outer; o++) {
        int64_t start = starts ? starts[o / (outer / batch)] : 0;
        if (start < 0 || (circular ? start >= cache : start > cache - length))
            return native_error(run, WHET_ERROR_DATA, "write index %lld does not fit %lld elements into %lld", (long long)start,
                                (long long)length, (long long)cache);
        for (int64_t i = 0; i < length; i++) {
            int64_t at = start + i < cache ? start + i : start + i - cache;
            memcpy(to + (size_t)(o * cache + at) * line, (const char *)update->data + (size_t)(o * length + i) * line, line);
        }
    }
    return WHET_OK;
}

#define SCATTER(name, since, types, attrs, family)                                                                               \
    { "", name, since, "data:T, indices:I, updates:T -> output:T", types, attrs, family##_shape, .run = family##_run }

// clang-format off
const OpRow ops_scatter[] = {
    SCATTER("Scatter",         9,  "T=all I=s32|s64", "axis:i=0", scatter_elements),
    SCATTER("ScatterElements", 11, "T=all I=s32|s64", "axis:i=0 reduction:s=none|add|mul|max|min", scatter_elements),
    SCATTER("ScatterND",       11, "T=all I=s64", "reduction:s=none|add|mul|max|min", scatter_nd),
    {"", "TensorScatter", 24, "past_cache:T, update:T, write_indices?:s64 -> present_cache:T", "T=all", "axis:i=-2 mode:s=linear|circular", tensor_scatter_shape, .run = tensor_scatter_run},
};
// clang-format on
const size_t ops_scatter_count = COUNT(ops_scatter);
