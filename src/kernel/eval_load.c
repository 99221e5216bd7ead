/* Loads and stores of strips: memory is used where it lies if it can be, and tests for what is outside are made once a row. */
#include <string.h>

#include "kernel/eval.h"

static uint64_t base_of(const Context *c, const Access *access) {
    uint64_t offset = access->offset;
    for (int i = 0; i < access->term_count; i++)
        offset += access->terms[i].stride * (uint64_t)c->at[access->terms[i].axis];
    return offset;
}

static char *address(const Context *c, const Access *access, uint64_t element) {
    return (char *)c->data[access->tensor] + (int64_t)element * (int64_t)access->stored;
}

void *eval_output_address(const Context *c, const Access *access) {
    return address(c, access, base_of(c, access));
}

static char *own_buffer(Context *c, int value) {
    return c->buffers + c->program->values[value].offset;
}

static bool fault(Context *c, const Access *access, int dim, int64_t index) {
    c->fault = (Fault){WHET_ERROR_DATA, access->tensor, dim, index};
    return false;
}

/* ---- Indices that may be outside ---- */

/* The index of a check where the strip begins. */
static int64_t check_start(const Context *c, const Check *check) {
    int64_t index = check->offset;
    for (int a = 0; a < c->program->work->definition->axis_count; a++)
        index += check->coef[a] * c->at[a];
    return index;
}

static bool inside_here(const Context *c, const Access *access) {
    for (int k = 0; k < access->check_count; k++) {
        int64_t index = check_start(c, &access->checks[k]);
        if (index < 0 || index >= access->checks[k].extent)
            return false;
    }
    return true;
}

static int64_t ceil_div(int64_t a, int64_t b) { /* b > 0 */
    return b == 1 ? a : a / b + (a % b > 0);    /* division is slow, and 1 the usual case */
}

typedef struct Span {
    int64_t low, high;
} Span;

/* Of the columns in the span those are left whose index is inside; `index` is that of column 0, growing by `step`. */
static void clip(Span *span, int64_t index, int64_t step, int64_t extent) {
    int64_t from = 0, to = span->high;
    if (step == 0) {
        to = index >= 0 && index < extent ? to : 0;
    } else if (step > 0) {
        from = index < 0 ? ceil_div(-index, step) : 0;
        to = extent > index ? ceil_div(extent - index, step) : 0;
    } else {
        from = index >= extent ? ceil_div(index - extent + 1, -step) : 0;
        to = index >= 0 ? index / -step + 1 : 0;
    }
    span->low = from > span->low ? from : span->low;
    span->high = to < span->high ? to : span->high;
    if (span->low > span->high)
        span->low = span->high;
}

/* The tests of a strip. Most indices move along one of its axes only: these are made once, for all rows and for all columns. */
typedef struct Guard {
    const Access *access;
    int64_t start[WHET_MAX_RANK]; /* of each check: its index where the strip begins */
    int row, col;
    Span rows, columns; /* what the checks leave that move along one axis */
    bool oblique;       /* there are checks that move along both */
} Guard;

static int64_t coef_of(const Check *check, int axis) {
    return axis < 0 ? 0 : check->coef[axis];
}

static void guard_init(const Context *c, const Access *access, const Nest *nest, Guard *guard) {
    guard->access = access;
    guard->row = nest->row;
    guard->col = nest->col;
    guard->oblique = false;
    guard->rows = (Span){0, (int64_t)c->strip.rows};
    guard->columns = (Span){0, (int64_t)c->strip.cols};
    for (int k = 0; k < access->check_count; k++) {
        const Check *check = &access->checks[k];
        int64_t row = coef_of(check, nest->row), col = coef_of(check, nest->col);
        guard->start[k] = check_start(c, check);
        if (row == 0)
            clip(&guard->columns, guard->start[k], col, check->extent);
        else if (col == 0)
            clip(&guard->rows, guard->start[k], row, check->extent);
        else
            guard->oblique = true;
    }
}

/* The columns of a row that are inside. */
static Span guard_row(const Guard *guard, int64_t row) {
    Span span = guard->columns;
    if (row < guard->rows.low || row >= guard->rows.high)
        return (Span){0, 0};
    for (int k = 0; guard->oblique && k < guard->access->check_count; k++) {
        const Check *check = &guard->access->checks[k];
        int64_t step = coef_of(check, guard->row);
        if (step != 0)
            clip(&span, guard->start[k] + step * row, coef_of(check, guard->col), check->extent);
    }
    return span;
}

/* ---- One element ---- */

static bool gathered_base(Context *c, const Access *access, uint64_t *base, bool *inside) {
    for (int k = 0; k < access->gather_count; k++) {
        const Gather *g = &access->gathers[k];
        int64_t index = *(const int64_t *)c->at_value[g->value];
        if (index < 0 || index >= g->extent) {
            *inside = false;
            if (!access->guarded)
                return fault(c, access, g->dim, index);
        }
        *base += (uint64_t)index * g->stride;
    }
    return true;
}

bool eval_load_one(Context *c, const Step *step) {
    const Access *access = step->access;
    uint64_t base = base_of(c, access);
    bool inside = inside_here(c, access);
    if (access->gather_count && !gathered_base(c, access, &base, &inside))
        return false;
    if (!inside) {
        c->at_value[step->out] = (void *)&access->outside;
    } else if (access->native) {
        c->at_value[step->out] = address(c, access, base);
    } else {
        c->at_value[step->out] = own_buffer(c, step->out);
        strip_load(access->type, c->at_value[step->out], address(c, access, base), 1, 1);
    }
    return true;
}

/* ---- Strips ---- */

typedef struct Strides {
    int64_t row, col;
} Strides;

static Strides strides_of(const Access *access, const Nest *nest) {
    return (Strides){nest->row < 0 ? 0 : (int64_t)access->stride[nest->row],
                     nest->col < 0 ? 0 : (int64_t)access->stride[nest->col]};
}

/* Is the strip one piece of memory, in the form that steps take? */
static bool one_piece(const Context *c, const Access *access, Strides s) {
    bool rows = c->strip.rows == 1 || s.row == (int64_t)c->strip.cols;
    return access->native && (s.col == 1 || c->strip.cols == 1) && rows;
}

static void load_rows(Context *c, const Access *access, uint64_t base, Strides s, char *out) {
    size_t bytes = c->strip.cols * access->size;
    for (size_t r = 0; r < c->strip.rows; r++) {
        char *row = out + r * bytes;
        if (r > 0 && s.row == 0)
            memcpy(row, out, bytes);
        else
            strip_load(access->type, row, address(c, access, base + (uint64_t)s.row * r), s.col, c->strip.cols);
    }
}

static void load_checked(Context *c, const Guard *guard, uint64_t base, Strides s, char *out) {
    const Access *access = guard->access;
    size_t size = access->size;
    strip_fill(size, out, &access->outside, c->strip.count);
    for (size_t r = (size_t)guard->rows.low; r < (size_t)guard->rows.high; r++) {
        Span span = guard_row(guard, (int64_t)r);
        size_t low = (size_t)span.low, high = (size_t)span.high;
        if (high > low)
            strip_load(access->type, out + (r * c->strip.cols + low) * size,
                       address(c, access, base + (uint64_t)s.row * r + (uint64_t)s.col * low), s.col, high - low);
    }
}

static bool all_inside(const Context *c, const Guard *guard) {
    bool rows = guard->rows.low == 0 && guard->rows.high == (int64_t)c->strip.rows;
    bool columns = guard->columns.low == 0 && guard->columns.high == (int64_t)c->strip.cols;
    if (!guard->oblique || !rows || !columns)
        return rows && columns;
    for (size_t r = 0; r < c->strip.rows; r++) {
        Span span = guard_row(guard, (int64_t)r);
        if (span.low != 0 || span.high != (int64_t)c->strip.cols)
            return false;
    }
    return true;
}

/* Computed indices, an element at a time. */
static bool load_gathered(Context *c, const Guard *guard, const Nest *nest, uint64_t base, Strides s, char *out) {
    const Access *access = guard->access;
    size_t size = access->size;
    bool vector[WHET_MAX_RANK];
    for (int k = 0; k < access->gather_count; k++)
        vector[k] = (c->program->work->axes[access->gathers[k].index->id] & nest->strip) != 0;
    for (size_t r = 0, i = 0; r < c->strip.rows; r++) {
        Span span = guard_row(guard, (int64_t)r);
        for (size_t col = 0; col < c->strip.cols; col++, i++) {
            bool inside = (int64_t)col >= span.low && (int64_t)col < span.high;
            uint64_t element = base + (uint64_t)s.row * r + (uint64_t)s.col * col;
            for (int k = 0; k < access->gather_count; k++) {
                const Gather *g = &access->gathers[k];
                int64_t index = ((const int64_t *)c->at_value[g->value])[vector[k] ? i : 0];
                inside &= index >= 0 && index < g->extent;
                if (!inside && !access->guarded)
                    return fault(c, access, g->dim, index);
                element += (uint64_t)index * g->stride;
            }
            if (inside)
                strip_load(access->type, out + i * size, address(c, access, element), 1, 1);
            else
                memcpy(out + i * size, &access->outside, size);
        }
    }
    return true;
}

/* Indices that are the same for the whole strip only move its start. */
static bool fixed_gathers(const Context *c, const Access *access, const Nest *nest) {
    for (int k = 0; k < access->gather_count; k++)
        if (c->program->work->axes[access->gathers[k].index->id] & nest->strip)
            return false;
    return true;
}

bool eval_load_strip(Context *c, const Step *step, const Nest *nest) {
    const Access *access = step->access;
    uint64_t base = base_of(c, access);
    Strides s = strides_of(access, nest);
    char *out = own_buffer(c, step->out);
    bool inside = true;
    Guard guard;
    c->at_value[step->out] = out;
    guard_init(c, access, nest, &guard);
    if (access->gather_count && !fixed_gathers(c, access, nest))
        return load_gathered(c, &guard, nest, base, s, out);
    if (access->gather_count && !gathered_base(c, access, &base, &inside))
        return false;
    if (!inside) {
        strip_fill(access->size, out, &access->outside, c->strip.count);
        return true;
    }
    bool piece = one_piece(c, access, s);
    if (access->check_count && !(piece && all_inside(c, &guard)))
        load_checked(c, &guard, base, s, out);
    else if (piece)
        c->at_value[step->out] = address(c, access, base);
    else
        load_rows(c, access, base, s, out);
    return true;
}

void eval_store_strip(Context *c, const Access *access, const Nest *nest, int value, bool uniform) {
    Strides s = strides_of(access, nest);
    uint64_t base = base_of(c, access);
    size_t size = access->size, cols = c->strip.cols;
    const char *from = c->at_value[value];
    for (size_t r = 0; r < c->strip.rows; r++) {
        char *to = address(c, access, base + (uint64_t)s.row * r);
        if (!uniform)
            strip_store(access->type, to, s.col, from + r * cols * size, cols);
        for (size_t i = 0; uniform && i < cols; i++)
            strip_store(access->type, to + (int64_t)i * s.col * (int64_t)access->stored, 1, from, 1);
    }
}
