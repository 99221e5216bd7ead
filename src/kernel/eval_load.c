/* Loads and stores of strips: memory is used where it lies if it can be, and tests for what is outside are made once a row. */
#include <string.h>

#include "kernel/eval.h"

static size_t stored_size(DType type) {
    return (size_t)dtype_bits(type) / 8;
}

static uint64_t base_of(const Context *c, const Access *access) {
    uint64_t offset = access->offset;
    for (int i = 0; i < access->term_count; i++)
        offset += access->terms[i].stride * (uint64_t)c->at[access->terms[i].axis];
    return offset;
}

static char *address(const Context *c, const Access *access, uint64_t element) {
    return (char *)c->data[access->tensor] + (int64_t)element * (int64_t)stored_size(access->type);
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
    return a / b + (a % b > 0);
}

/* Columns [*low, *high) of a row are inside; `index` is that of column 0, growing by `step`. */
static void clip(int64_t index, int64_t step, int64_t extent, int64_t *low, int64_t *high) {
    int64_t from = 0, to = *high;
    if (step == 0) {
        to = index >= 0 && index < extent ? to : 0;
    } else if (step > 0) {
        from = index < 0 ? ceil_div(-index, step) : 0;
        int64_t end = extent > index ? ceil_div(extent - index, step) : 0;
        to = end < to ? end : to;
    } else {
        from = index >= extent ? ceil_div(index - extent + 1, -step) : 0;
        int64_t end = index >= 0 ? index / -step + 1 : 0;
        to = end < to ? end : to;
    }
    *low = from > *low ? from : *low;
    *high = to;
    if (*low > *high)
        *low = *high;
}

typedef struct Span {
    int64_t low, high;
} Span;

static Span row_span(const Access *access, const int64_t *start, const Nest *nest, int64_t row, int64_t cols) {
    Span span = {0, cols};
    for (int k = 0; k < access->check_count; k++) {
        const Check *check = &access->checks[k];
        int64_t index = start[k] + (nest->row < 0 ? 0 : check->coef[nest->row] * row);
        clip(index, nest->col < 0 ? 0 : check->coef[nest->col], check->extent, &span.low, &span.high);
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
    } else if (strip_type(access->type) == access->type) {
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
    return strip_type(access->type) == access->type && (s.col == 1 || c->strip.cols == 1) && rows;
}

static void load_rows(Context *c, const Access *access, uint64_t base, Strides s, char *out) {
    size_t bytes = c->strip.cols * strip_size(access->type);
    for (size_t r = 0; r < c->strip.rows; r++) {
        char *row = out + r * bytes;
        if (r > 0 && s.row == 0)
            memcpy(row, out, bytes);
        else
            strip_load(access->type, row, address(c, access, base + (uint64_t)s.row * r), s.col, c->strip.cols);
    }
}

static void load_checked(Context *c, const Access *access, const Nest *nest, uint64_t base, const int64_t *start, char *out) {
    Strides s = strides_of(access, nest);
    size_t size = strip_size(access->type);
    for (size_t r = 0; r < c->strip.rows; r++) {
        char *row = out + r * c->strip.cols * size;
        Span span = row_span(access, start, nest, (int64_t)r, (int64_t)c->strip.cols);
        size_t low = (size_t)span.low, high = (size_t)span.high;
        strip_fill(size, row, &access->outside, low);
        if (high > low)
            strip_load(access->type, row + low * size, address(c, access, base + (uint64_t)s.row * r + (uint64_t)s.col * low),
                       s.col, high - low);
        strip_fill(size, row + high * size, &access->outside, c->strip.cols - high);
    }
}

static bool all_inside(const Context *c, const Access *access, const Nest *nest, const int64_t *start) {
    for (size_t r = 0; r < c->strip.rows; r++) {
        Span span = row_span(access, start, nest, (int64_t)r, (int64_t)c->strip.cols);
        if (span.low != 0 || span.high != (int64_t)c->strip.cols)
            return false;
    }
    return true;
}

/* Computed indices, an element at a time. */
static bool load_gathered(Context *c, const Access *access, const Nest *nest, const Step *step, uint64_t base,
                          const int64_t *start, char *out) {
    Strides s = strides_of(access, nest);
    size_t size = strip_size(access->type);
    bool vector[WHET_MAX_RANK];
    for (int k = 0; k < access->gather_count; k++)
        vector[k] = (c->program->work->axes[access->gathers[k].index->id] & nest->strip) != 0;
    (void)step;
    for (size_t r = 0, i = 0; r < c->strip.rows; r++) {
        Span span = row_span(access, start, nest, (int64_t)r, (int64_t)c->strip.cols);
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
    int64_t start[WHET_MAX_RANK];
    bool inside = true;
    c->at_value[step->out] = out;
    for (int k = 0; k < access->check_count; k++)
        start[k] = check_start(c, &access->checks[k]);
    if (access->gather_count && !fixed_gathers(c, access, nest))
        return load_gathered(c, access, nest, step, base, start, out);
    if (access->gather_count && !gathered_base(c, access, &base, &inside))
        return false;
    if (!inside) {
        strip_fill(strip_size(access->type), out, &access->outside, c->strip.count);
        return true;
    }
    bool piece = one_piece(c, access, s);
    if (access->check_count && !(piece && all_inside(c, access, nest, start)))
        load_checked(c, access, nest, base, start, out);
    else if (piece)
        c->at_value[step->out] = address(c, access, base);
    else
        load_rows(c, access, base, s, out);
    return true;
}

void eval_store_strip(Context *c, const Access *access, const Nest *nest, int value, bool uniform) {
    Strides s = strides_of(access, nest);
    uint64_t base = base_of(c, access);
    size_t size = strip_size(access->type), cols = c->strip.cols;
    const char *from = c->at_value[value];
    for (size_t r = 0; r < c->strip.rows; r++) {
        char *to = address(c, access, base + (uint64_t)s.row * r);
        if (!uniform)
            strip_store(access->type, to, s.col, from + r * cols * size, cols);
        for (size_t i = 0; uniform && i < cols; i++)
            strip_store(access->type, to + (int64_t)i * s.col * (int64_t)stored_size(access->type), 1, from, 1);
    }
}
