/* Operators whose answer is a choice among the elements: NonZero, TopK, Unique.
 *
 * Values are compared in the order of their type, NaN above everything, so that every input has one answer.
 */
#include "ops/native.h"
#include "ops/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -1, 0 or 1. */
typedef int (*Compare)(const void *, const void *);

#define COMPARE_INTS(name, type)                                                                                                 \
    static int name(const void *a, const void *b) {                                                                              \
        type x = *(const type *)a, y = *(const type *)b;                                                                         \
        return (x > y) - (x < y);                                                                                                \
    }
#define COMPARE_FLOATS(name, type, load)                                                                                         \
    static int name(const void *a, const void *b) {                                                                              \
        double x = (double)load(*(const type *)a), y = (double)load(*(const type *)b);                                           \
        return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x > y) - (x < y);                                                   \
    }
COMPARE_INTS(compare_u8, uint8_t)
COMPARE_INTS(compare_s8, int8_t)
COMPARE_INTS(compare_u16, uint16_t)
COMPARE_INTS(compare_s16, int16_t)
COMPARE_INTS(compare_u32, uint32_t)
COMPARE_INTS(compare_s32, int32_t)
COMPARE_INTS(compare_u64, uint64_t)
COMPARE_INTS(compare_s64, int64_t)
COMPARE_FLOATS(compare_f32, float, )
COMPARE_FLOATS(compare_f64, double, )
COMPARE_FLOATS(compare_f16, uint16_t, f16_to_f32)
COMPARE_FLOATS(compare_bf16, uint16_t, bf16_to_f32)

static int compare_strings(const void *a, const void *b) {
    Str x = *(const Str *)a, y = *(const Str *)b;
    size_t length = x.length < y.length ? x.length : y.length;
    int order = length ? memcmp(x.data, y.data, length) : 0;
    return order ? (order > 0) - (order < 0) : (x.length > y.length) - (x.length < y.length);
}

static Compare compare_of(DType type) {
    switch (type) {
    case DT_BOOL:
    case DT_U8: return compare_u8;
    case DT_S8: return compare_s8;
    case DT_U16: return compare_u16;
    case DT_S16: return compare_s16;
    case DT_U32: return compare_u32;
    case DT_S32: return compare_s32;
    case DT_U64: return compare_u64;
    case DT_S64: return compare_s64;
    case DT_F32: return compare_f32;
    case DT_F64: return compare_f64;
    case DT_F16: return compare_f16;
    case DT_BF16: return compare_bf16;
    case DT_STRING: return compare_strings;
    default: return NULL;
    }
}

/* ---- Sorting indices ----------------------------------------------------------------------------------------------------- */

/* An order of places: by what lies there, then by place. */
typedef struct Order {
    Compare compare;
    const char *data;
    size_t stride;             /* bytes between places */
    size_t parts, part_stride; /* a place holds `parts` elements, compared one after another */
    int sign;                  /* -1: largest first */
} Order;

static int order_values(const Order *order, int64_t a, int64_t b) {
    for (size_t p = 0; p < order->parts; p++) {
        int found = order->compare(order->data + (size_t)a * order->stride + p * order->part_stride,
                                   order->data + (size_t)b * order->stride + p * order->part_stride);
        if (found)
            return order->sign * found;
    }
    return 0;
}

static bool order_before(const Order *order, int64_t a, int64_t b) {
    int found = order_values(order, a, b);
    return found ? found < 0 : a < b;
}

/* Makes heap[root..count) a heap again, the last in order on top. */
static void sift_down(const Order *order, int64_t *heap, int64_t root, int64_t count) {
    for (;;) {
        int64_t child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && order_before(order, heap[child], heap[child + 1]))
            child++;
        if (!order_before(order, heap[root], heap[child]))
            return;
        int64_t kept = heap[root];
        heap[root] = heap[child];
        heap[child] = kept;
        root = child;
    }
}

static void make_heap(const Order *order, int64_t *heap, int64_t count) {
    for (int64_t i = count / 2 - 1; i >= 0; i--)
        sift_down(order, heap, i, count);
}

static void sort_heap(const Order *order, int64_t *heap, int64_t count) {
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t kept = heap[0];
        heap[0] = heap[i];
        heap[i] = kept;
        sift_down(order, heap, 0, i);
    }
}

/* ---- TopK ---------------------------------------------------------------------------------------------------------------- */

static whet_status top_k_count(OpCall *call, Dim *k) {
    if (call->row->since >= 10)
        return op_number(call, 1, 0, k);
    *k = op_int(call, "k");
    return *k >= 0 ? WHET_OK : op_error(call, WHET_ERROR_DATA, "attribute k is %lld; wanted 0 or more", (long long)*k);
}

static whet_status top_k_shape(OpCall *call) {
    const Type *x = call->in[0];
    Dim k;
    whet_status status = top_k_count(call, &k);
    if (status != WHET_OK || x->rank < 0)
        return status;
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    if (dim_is_extent(x->dims[axis]) && k > x->dims[axis])
        return op_error(call, WHET_ERROR_DATA, "k is %lld; wanted 0 or more, and no more than dimension %d has, %lld",
                        (long long)k, axis, (long long)x->dims[axis]);
    for (int i = 0; i < call->out_count; i++) {
        op_set_shape(call, i, x->rank, x->dims);
        call->out[i].dims[axis] = k;
    }
    return WHET_OK;
}

/* The first k places in order, kept in a heap while the rest pass by. */
static void top_k_line(const Order *order, int64_t extent, int64_t k, int64_t *heap) {
    for (int64_t i = 0; i < k; i++)
        heap[i] = i;
    make_heap(order, heap, k);
    for (int64_t i = k; i < extent && k; i++)
        if (order_before(order, i, heap[0])) {
            heap[0] = i;
            sift_down(order, heap, 0, k);
        }
    sort_heap(order, heap, k);
}

/* The same of contiguous floats. `keys`: room for twice the line. */
static void top_k_floats(const float *x, int64_t extent, int64_t k, bool largest, uint64_t *keys, int64_t *places) {
    order_first(x, extent, k, largest, keys, keys + extent + 1);
    for (int64_t i = 0; i < k; i++)
        places[i] = (uint32_t)keys[i];
}

static whet_status top_k_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    int axis = op_axis(run->call, op_int(run->call, "axis"), x->rank);
    int64_t k = run->call->out[0].dims[axis], extent = x->dims[axis];
    int64_t inner = native_count(x->rank - axis - 1, x->dims + axis + 1), outer = native_count(axis, x->dims);
    size_t size = native_size((DType)x->type);
    bool largest = run->call->row->since < 11 || op_int(run->call, "largest");
    int64_t dims[WHET_MAX_RANK];
    memcpy(dims, run->call->out[0].dims, sizeof dims);
    char *values = op_output(run, 0, (DType)x->type, x->rank, dims);
    int64_t *indices = values ? op_output(run, 1, DT_S64, x->rank, dims) : NULL;
    int64_t *heap = indices ? op_scratch(run, (size_t)(k + 1) * sizeof *heap) : NULL;
    bool floats = (DType)x->type == DT_F32 && inner == 1 && extent <= UINT32_MAX;
    uint64_t *keys = heap && floats ? op_scratch(run, ((size_t)extent * 2 + 2) * sizeof *keys) : NULL;
    if (!heap || (floats && !keys))
        return native_failed(run);
    for (int64_t line = 0; line < outer * inner; line++) {
        int64_t from = line / inner * extent * inner + line % inner, to = line / inner * k * inner + line % inner;
        Order order = {compare_of((DType)x->type),
                       (const char *)x->data + (size_t)from * size,
                       (size_t)inner * size,
                       1,
                       0,
                       largest ? -1 : 1};
        if (floats)
            top_k_floats((const float *)(const void *)order.data, extent, k, largest, keys, heap);
        else
            top_k_line(&order, extent, k, heap);
        for (int64_t i = 0; i < k; i++) {
            indices[to + i * inner] = heap[i];
            memcpy(values + (size_t)(to + i * inner) * size, order.data + (size_t)heap[i] * order.stride, size);
        }
    }
    return WHET_OK;
}

/* ---- NonZero ------------------------------------------------------------------------------------------------------------- */

static whet_status non_zero_shape(OpCall *call) {
    const Type *x = call->in[0];
    op_set_shape(call, 0, 2, (const Dim[]){x->rank < 0 ? DIM_UNKNOWN : x->rank, DIM_UNKNOWN});
    return WHET_OK;
}

/* 1 where an element is not zero: compilers make vectors of it. */
#define FLAGS(type, test)                                                                                                        \
    {                                                                                                                            \
        const type *x = data;                                                                                                    \
        for (int64_t i = 0; i < count; i++)                                                                                      \
            flags[i] = (test);                                                                                                   \
        return;                                                                                                                  \
    }
static void put_flags(DType type, const void *data, int64_t count, uint8_t *flags) {
    if (type == DT_F32)
        FLAGS(float, x[i] != 0)
    if (type == DT_F64)
        FLAGS(double, x[i] != 0)
    if (type == DT_F16 || type == DT_BF16)
        FLAGS(uint16_t, (x[i] & 0x7fff) != 0)
    switch (native_size(type)) {
    case 1: FLAGS(uint8_t, x[i] != 0)
    case 2: FLAGS(uint16_t, x[i] != 0)
    case 4: FLAGS(uint32_t, x[i] != 0)
    default: FLAGS(uint64_t, x[i] != 0)
    }
}

/* Places along the last axis of what is flagged in one line; returns how many there are. */
static int64_t put_line(const uint8_t *flags, int64_t count, int64_t *to) {
    enum { BLOCK = 64 };
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += BLOCK) {
        int64_t end = i + BLOCK < count ? i + BLOCK : count, place[BLOCK + 1], here = 0;
        for (int64_t j = i; j < end; j++) { /* no jumps: which are flagged cannot be foreseen */
            place[here] = j;
            here += flags[j];
        }
        memcpy(to + found, place, (size_t)here * sizeof *to);
        found += here;
    }
    return found;
}

static whet_status non_zero_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    int64_t count = whet_tensor_count(x), found = 0, at = 0, place[WHET_MAX_RANK] = {0};
    int last = x->rank - 1;
    uint8_t *flags = op_scratch(run, (size_t)count + 1);
    if (!flags)
        return native_failed(run);
    put_flags((DType)x->type, x->data, count, flags);
    for (int64_t i = 0; i < count; i++)
        found += flags[i];
    int64_t *to = op_output(run, 0, DT_S64, 2, (const int64_t[]){x->rank, found});
    if (!to)
        return native_failed(run);
    int64_t line = last >= 0 ? x->dims[last] : 0;
    for (int64_t i = 0; i < count && line; i += line) {
        int64_t here = put_line(flags + i, line, to + last * found + at);
        for (int d = 0; d < last; d++)
            for (int64_t k = 0; k < here; k++)
                to[d * found + at + k] = place[d];
        at += here;
        for (int d = last - 1; d >= 0 && ++place[d] == x->dims[d]; d--)
            place[d] = 0;
    }
    return WHET_OK;
}

/* ---- Unique -------------------------------------------------------------------------------------------------------------- */

static whet_status unique_shape(OpCall *call) {
    const Type *x = call->in[0];
    bool flat = !op_attr(call, "axis");
    if (x->type != DT_NONE && !compare_of(x->type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "type %s is not supported", dtype_name(x->type));
    if (flat) {
        op_set_shape(call, 0, 1, (const Dim[]){DIM_UNKNOWN});
    } else if (x->rank >= 0) {
        int axis = op_axis(call, op_int(call, "axis"), x->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        op_set_shape(call, 0, x->rank, x->dims);
        call->out[0].dims[axis] = DIM_UNKNOWN;
    }
    for (int i = 1; i < call->out_count; i++)
        op_set_shape(call, i, 1, (const Dim[]){DIM_UNKNOWN});
    return WHET_OK;
}

/* Slices along the axis (or elements) as places of an Order; moved together first if an outer axis keeps them apart. */
typedef struct Slices {
    Order order;
    int64_t count;
    int axis; /* -1: elements of the flat tensor */
} Slices;

static whet_status gather_slices(OpRun *run, Slices *out) {
    const Tensor *x = op_input(run, 0);
    DType type = (DType)x->type;
    size_t size = native_size(type);
    *out = (Slices){{compare_of(type), x->data, size, 1, size, 1}, whet_tensor_count(x), -1};
    if (!op_attr(run->call, "axis"))
        return WHET_OK;
    out->axis = op_axis(run->call, op_int(run->call, "axis"), x->rank);
    out->count = x->dims[out->axis];
    int64_t total = whet_tensor_count(x), dims[WHET_MAX_RANK], from[WHET_MAX_RANK], to[WHET_MAX_RANK];
    out->order.parts = out->count ? (size_t)(total / out->count) : 0;
    out->order.stride = out->order.parts * size;
    char *moved = op_scratch(run, x->bytes + 1);
    if (!moved)
        return native_failed(run);
    native_strides(x->rank, x->dims, from);
    int64_t stride = 1;
    for (int d = x->rank - 1; d >= 0; d--) {
        dims[d] = x->dims[d];
        to[d] = d == out->axis ? (int64_t)out->order.parts : stride;
        stride *= d == out->axis ? 1 : x->dims[d];
    }
    native_copy(size, x->rank, dims, moved, to, x->data, from);
    out->order.data = moved;
    return WHET_OK;
}

/* What is found: per place its class, per class its first place and count. */
typedef struct Classes {
    int64_t *sorted, *of, *first, *counts, *rank, count;
} Classes;

static whet_status find_classes(OpRun *run, const Slices *slices, bool by_value, Classes *out) {
    size_t n = (size_t)slices->count;
    int64_t *memory = op_scratch(run, (5 * n + 1) * sizeof *memory);
    if (!memory)
        return native_failed(run);
    *out = (Classes){memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n, 0};
    for (int64_t i = 0; i < slices->count; i++)
        out->sorted[i] = i;
    make_heap(&slices->order, out->sorted, slices->count);
    sort_heap(&slices->order, out->sorted, slices->count);
    for (int64_t i = 0; i < slices->count; i++) {
        int64_t at = out->sorted[i];
        if (!i || order_values(&slices->order, out->sorted[i - 1], at)) {
            out->first[out->count] = at;
            out->counts[out->count++] = 0;
        }
        out->of[at] = out->count - 1;
        out->counts[out->count - 1]++;
    }
    /* rank: where each class goes; by value as found, else by first appearance. */
    for (int64_t c = 0; c < out->count; c++)
        out->rank[c] = c;
    if (!by_value) {
        int64_t next = 0;
        for (int64_t i = 0; i < slices->count; i++)
            if (out->first[out->of[i]] == i)
                out->rank[out->of[i]] = next++;
    }
    return WHET_OK;
}

static whet_status unique_values(OpRun *run, const Slices *slices, const Classes *classes) {
    const Tensor *x = op_input(run, 0);
    int64_t dims[WHET_MAX_RANK] = {classes->count};
    int rank = slices->axis < 0 ? 1 : x->rank, axis = slices->axis < 0 ? 0 : slices->axis;
    if (slices->axis >= 0)
        memcpy(dims, x->dims, sizeof dims);
    dims[axis] = classes->count;
    size_t size = native_size((DType)x->type);
    char *to = op_output(run, 0, (DType)x->type, rank, dims);
    if (!to)
        return native_failed(run);
    size_t inner = 1, parts = slices->order.parts;
    for (int d = axis + 1; d < rank; d++)
        inner *= (size_t)dims[d];
    for (int64_t c = 0; c < classes->count; c++)
        for (size_t p = 0; p < parts; p++)
            memcpy(to + ((p / inner * (size_t)classes->count + (size_t)classes->rank[c]) * inner + p % inner) * size,
                   slices->order.data + (size_t)classes->first[c] * slices->order.stride + p * size, size);
    return WHET_OK;
}

static whet_status unique_run(OpRun *run) {
    Slices slices;
    Classes classes;
    whet_status status = gather_slices(run, &slices);
    if (status == WHET_OK)
        status = find_classes(run, &slices, op_int(run->call, "sorted") != 0, &classes);
    if (status == WHET_OK)
        status = unique_values(run, &slices, &classes);
    if (status != WHET_OK)
        return status;
    int64_t *first = op_output(run, 1, DT_S64, 1, &classes.count);
    int64_t *inverse = first ? op_output(run, 2, DT_S64, 1, &slices.count) : NULL;
    int64_t *counts = inverse ? op_output(run, 3, DT_S64, 1, &classes.count) : NULL;
    if (!counts)
        return native_failed(run);
    for (int64_t c = 0; c < classes.count; c++) {
        first[classes.rank[c]] = classes.first[c];
        counts[classes.rank[c]] = classes.counts[c];
    }
    for (int64_t i = 0; i < slices.count; i++)
        inverse[i] = classes.rank[classes.of[i]];
    return WHET_OK;
}

#define TOP_K "X:T, K#:s64 -> Values:T, Indices:s64"

// clang-format off
const OpRow ops_pick[] = {
    {"", "NonZero", 9, "X:T -> Y:s64", "T=num|bool", "", non_zero_shape, .run = non_zero_run},
    {"", "TopK", 1, "X:T -> Values:T, Indices:s64", "T=float", "axis:i=-1 k:i!", top_k_shape, .run = top_k_run},
    {"", "TopK", 10, TOP_K, "T=float", "axis:i=-1", top_k_shape, .run = top_k_run},
    {"", "TopK", 11, TOP_K, "T=num", "axis:i=-1 largest:i=1 sorted:i=1", top_k_shape, .run = top_k_run},
    {"", "Unique", 11, "X:T -> Y:T, indices?:s64, inverse_indices?:s64, counts?:s64", "T=all", "axis:i sorted:i=1", unique_shape, .run = unique_run},
};
// clang-format on
const size_t ops_pick_count = COUNT(ops_pick);
