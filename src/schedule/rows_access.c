/* Memory of row kernels: where an access is, and loads and stores of every type.
 *
 * Axes used as numbers, and indices that guards compare, are read from a table of consecutive integers, like any other operand:
 * that serves rows, columns and lanes alike. What is not contiguous along the lanes is gathered. */
#include "schedule/rows_emit.h"

#include <string.h>

int rows_row_mask(const Emitting *p) {
    bool last = p->r->across && p->copy == p->shape->copies - 1 && p->shape->last_lanes < p->r->lanes;
    return last ? vector_mask_first(p->f, DT_F32, p->shape->last_lanes) : -1;
}

/* ---- places ---- */

/* stride(axis) in elements of `bytes` along column axes; the rest is said already. */
static VectorAddress over_columns(const Emitting *p, VectorAddress a, const int64_t *stride, int64_t bytes) {
    int last = p->r->column_count - 1;
    for (int k = 0; k <= last; k++)
        if (p->counter[k] >= 0)
            a = vector_plus(a, p->counter[k], bytes * stride[k]);
    if (p->start >= 0)
        a = vector_plus(a, p->start, bytes * stride[last]);
    return last < 0 ? a : vector_offset(a, bytes * p->offset * stride[last]);
}

static VectorAddress place(const Emitting *p, int access) {
    const Rows *r = p->r;
    int64_t bytes = rows_element_bytes(r, access), stride[NEST_MAX_AXES];
    int64_t row = rows_row_stride(r, access), lane = r->across ? rows_lane_stride(r, access) : 0;
    int leader = r->leader[access];
    int64_t apart = r->nest.access[access].offset - r->nest.access[leader].offset;
    int64_t copy = r->across ? p->copy * r->lanes * lane : (p->copy + p->base * (p->shape->apart - 1) - p->behind) * row;
    VectorAddress a = vector_at(p->pointer[leader], bytes * (apart + copy));
    if (p->row >= 0)
        a = vector_plus(a, p->row, bytes * row);
    if (p->turn >= 0)
        a = vector_plus(a, p->turn, bytes * row);
    if (p->block >= 0)
        a = vector_plus(a, p->block, bytes * lane);
    for (int k = 0; k < r->column_count; k++)
        stride[k] = r->nest.access[access].stride[r->column[k]];
    return over_columns(p, a, stride, bytes);
}

static VectorAddress scratch_place(const Emitting *p, int scratch) {
    const Rows *r = p->r;
    int64_t unit = r->across ? (int64_t)p->shape->copies * r->lanes : 1, stride[NEST_MAX_AXES];
    int64_t copy = r->across ? r->lanes : (r->columns + 63) / 64 * 64;
    for (int k = r->column_count - 1; k >= 0; k--) {
        stride[k] = unit;
        unit *= r->nest.axis[r->column[k]].extent;
    }
    return over_columns(p, vector_at(p->scratch[scratch], 4 * p->copy * copy), stride, 4);
}

/* ---- loads ---- */

static int gather(const Emitting *p, DType type, VectorAddress at, int64_t stride, int mask) {
    VectorFunction *f = p->f;
    DType lanes = type == DT_BOOL ? DT_S32 : expr_register(type), memory = type == DT_BOOL  ? DT_U8
                                                                           : type == DT_U32 ? DT_S32
                                                                                            : type;
    int64_t bytes = dtype_bits(type) / 8;
    int index = stride ? vector_iota(f, DT_S32, stride) : vector_const(f, DT_S32, 0);
    int x = vector_gather(f, lanes, memory, at, (int)bytes, index, mask);
    return type == DT_BOOL ? vector_binary(f, VECTOR_NE, x, vector_const(f, DT_S32, 0)) : x;
}

static int load_at(const Emitting *p, int access, int mask, bool guarded) {
    DType type = p->r->nest.access[access].type;
    int64_t stride = rows_lane_stride(p->r, access);
    if (!stride && !guarded)
        return expr_splat(p->f, type, place(p, access));
    return stride == 1 ? expr_load(p->f, type, place(p, access), mask) : gather(p, type, place(p, access), stride, mask);
}

/* The lanes whose guarded indices are inside. */
static int inside(const Emitting *p, int access) {
    const Access *a = &p->r->nest.access[access];
    VectorFunction *f = p->f;
    int all = -1;
    for (int g = 0; g < a->guard_count; g++) {
        int at = load_at(p, p->r->guard[access][g], -1, false);
        int above = vector_binary(f, VECTOR_LE, vector_const(f, DT_S32, 0), at);
        int below = vector_binary(f, VECTOR_LT, at, vector_const(f, DT_S32, (double)a->guard[g].extent));
        int both = vector_binary(f, VECTOR_MASK_AND, above, below);
        all = all < 0 ? both : vector_binary(f, VECTOR_MASK_AND, all, both);
    }
    return all;
}

static int outside_value(const Emitting *p, const Access *a) {
    if (a->type == DT_BOOL)
        return vector_mask_first(p->f, DT_F32, a->outside != 0 ? p->r->lanes : 0);
    return vector_const(p->f, expr_register(a->type), a->outside);
}

int rows_load(Emitting *p, int access) {
    const Access *a = &p->r->nest.access[access];
    bool shared = p->shares && !p->r->across && !rows_row_stride(p->r, access) && rows_lane_stride(p->r, access);
    if (!a->guard_count && shared && p->shared[access] >= 0)
        return p->shared[access];
    if (!a->guard_count)
        return p->shared[access] = load_at(p, access, p->mask, false);
    int mask = inside(p, access), wanted = p->mask < 0 ? mask : vector_binary(p->f, VECTOR_MASK_AND, mask, p->mask);
    int x = load_at(p, access, wanted, true);
    if (a->outside == 0 || a->type == DT_BOOL) /* lanes that are off read as zero */
        return a->outside == 0
                   ? x
                   : vector_binary(p->f, VECTOR_MASK_OR, x, vector_binary(p->f, VECTOR_MASK_XOR, mask, outside_value(p, a)));
    return vector_ternary(p->f, VECTOR_SELECT, mask, x, outside_value(p, a));
}

void rows_fetch_next(const Emitting *p) {
    const Rows *r = p->r;
    for (int i = 0; i < r->nest.access_count && !r->across && !r->fixed; i++) {
        int64_t ahead = p->shape->copies * rows_row_stride(r, i) * rows_element_bytes(r, i);
        if (r->nest.access[i].read && r->leader[i] == i && rows_row_stride(r, i) && rows_lane_stride(r, i) == 1)
            vector_prefetch(p->f, vector_offset(place(p, i), ahead));
    }
}

/* ---- stores ---- */

/* Numbers that fit s32, and are not negative, as s64: pairs of each lane and zeros. */
static void store_s64(const Emitting *p, int value, VectorAddress at) {
    VectorFunction *f = p->f;
    int lanes = p->r->lanes, upper = lanes / 2, count = p->mask < 0 ? lanes : p->shape->last_lanes,
        zero = vector_const(f, DT_S32, 0);
    int lane = vector_iota(f, DT_S32, 1), pair = vector_binary(f, VECTOR_AND, lane, vector_const(f, DT_S32, 1));
    int from = vector_binary(f, VECTOR_ADD, vector_immediate(f, VECTOR_SHL, vector_immediate(f, VECTOR_SHR, lane, 2), 1), pair);
    for (int half = 0; half < 2; half++) {
        int left = 2 * count - half * lanes; /* of s32 */
        if (left <= 0)
            return;
        int index = half ? vector_binary(f, VECTOR_ADD, from, vector_const(f, DT_S32, upper)) : from;
        int both = vector_binary(f, VECTOR_ZIP_LOW, vector_binary(f, VECTOR_PERMUTE, value, index), zero);
        int mask = left < lanes ? vector_mask_first(f, DT_F32, left) : -1;
        vector_store(f, DT_S32, both, vector_offset(at, half * 4 * lanes), mask);
    }
}

static void store_first(const Emitting *p, DType type, int value, VectorAddress at) {
    if (type != DT_S64) {
        expr_store_first(p->f, type, value, at);
        return;
    }
    vector_store_first(p->f, DT_S32, value, at);
    vector_store_first(p->f, DT_S32, vector_const(p->f, DT_S32, 0), vector_offset(at, 4));
}

void rows_store(Emitting *p, int access, int value, bool first) {
    DType type = p->r->nest.access[access].type;
    VectorAddress at = place(p, access);
    if (first)
        store_first(p, type, value, at);
    else if (type == DT_S64)
        store_s64(p, value, at);
    else
        expr_store(p->f, type, value, at, p->mask);
}

/* ---- scratch: 32 bits an element, whatever the type ---- */

static bool is_mask(const RowDefinition *item) {
    return item->definition->value->type == DT_BOOL;
}

void rows_store_scratch(const Emitting *p, const RowDefinition *item, int value) {
    VectorFunction *f = p->f;
    DType type = is_mask(item) ? DT_S32 : expr_register(item->definition->value->type);
    if (is_mask(item))
        value = vector_ternary(f, VECTOR_SELECT, value, vector_const(f, DT_S32, 1), vector_const(f, DT_S32, 0));
    vector_store(f, type, value, scratch_place(p, item->scratch), p->mask);
}

int rows_load_scratch(const Emitting *p, const RowDefinition *item) {
    VectorFunction *f = p->f;
    DType type = is_mask(item) ? DT_S32 : expr_register(item->definition->value->type);
    int x = vector_load(f, type, type, scratch_place(p, item->scratch), p->mask);
    return is_mask(item) ? vector_binary(f, VECTOR_NE, x, vector_const(f, DT_S32, 0)) : x;
}
