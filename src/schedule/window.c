/* Windows over an image whose rows are contiguous: depthwise convolution and pooling, f32.
 *
 *     y[..., h, w] = f(sum(i, j) x[..., 2*h + i - 1, 2*w + j - 1]? * t[..., i, j], ...)     and max, min without t
 *
 * The result's contiguous axis w runs over the lanes. A band of x's rows is copied to scratch, with what a guarded read gives
 * around it, and a row of column stride s split into its s phases, so that every tap of every output is a plain contiguous load:
 *
 *     scratch[row][phase][column]: x at row, s * column + phase
 *
 * Taps are unrolled; accumulators of one row's vectors stay in registers over all taps. Bands are as high as fits in L1. */
#include "schedule/schedule.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_TAPS = 128, GROUP = 6, SCRATCH_BYTES = 40 << 10 };

typedef struct Along {             /* how x's index moves along rows or columns */
    int dim;                       /* of x; -1: none */
    int64_t offset, stride, reach; /* reach: of the taps alone */
} Along;

typedef struct Window {
    Nest nest; /* axes are the definition's own */
    const void *const *known;
    const Expr *reduction;
    VectorCode combine;
    double start;
    int x, taps;               /* accesses; taps -1: none */
    int column_axis, row_axis; /* row_axis -1: one row */
    int outer[NEST_MAX_AXES], outer_count;
    int64_t rows, columns, outer_total;
    Along row, column;
    int64_t pitch; /* floats of a phase of a scratch row */
    int64_t band;  /* output rows of a band */
    struct {
        int64_t row, column, weight; /* elements from the first tap */
    } tap[MAX_TAPS];
    int tap_count, lanes;
} Window;

/* ---- recognition ---- */

static bool refuse(const char **why, const char *reason) {
    *why = reason;
    return false;
}

static const Expr *only_read(const Expr *e, bool *several) {
    if (e->op == EXPR_READ)
        return e;
    const Expr *found = NULL;
    for (int i = 0; i < 3; i++) {
        const Expr *inner = e->arg[i] ? only_read(e->arg[i], several) : NULL;
        *several = *several || (found && inner && inner != found);
        found = inner ? inner : found;
    }
    return found;
}

/* x times taps, or any expression of x alone. */
static bool find_reads(Window *p, const char **why) {
    const Expr *body = p->reduction->arg[0], *first = body->arg[0], *second = body->arg[1];
    bool several = false;
    p->taps = -1;
    if (body->op == EXPR_MUL && p->combine == VECTOR_ADD && first->op == EXPR_READ && second->op == EXPR_READ &&
        first != second) {
        bool swapped = !p->nest.access[nest_find(&p->nest, first)].stride[p->column_axis];
        p->x = nest_find(&p->nest, swapped ? second : first);
        p->taps = nest_find(&p->nest, swapped ? first : second);
        return true;
    }
    const Expr *x = only_read(body, &several);
    if (!x || several)
        return refuse(why, "a window over several tensors");
    p->x = nest_find(&p->nest, x);
    return true;
}

static bool find_reduction(Window *p, const char **why) {
    const Definition *d = p->nest.definition;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE) {
            if (p->reduction)
                return refuse(why, "more than one reduction");
            p->reduction = d->exprs[i];
        }
    if (!p->reduction)
        return refuse(why, "no reduction");
    switch (p->reduction->reduce) {
    case REDUCE_SUM: p->combine = VECTOR_ADD, p->start = 0; break;
    case REDUCE_MAX: p->combine = VECTOR_MAX, p->start = -INFINITY; break;
    case REDUCE_MIN: p->combine = VECTOR_MIN, p->start = INFINITY; break;
    default: return refuse(why, "a window that is not a sum, a maximum or a minimum");
    }
    for (int a = 0; a < d->parallel_count; a++)
        if (p->nest.access[0].stride[a] == 1)
            p->column_axis = a; /* the last: an image of one column still has its windows there */
    if (p->column_axis < 0)
        return refuse(why, "a result that is not contiguous along any axis");
    return find_reads(p, why);
}

/* The axes of x's dimensions: one moves with w and taps, at most one with h and taps, the others with outer axes alone. */
static bool find_dims(Window *p, const char **why) {
    const Definition *d = p->nest.definition;
    const Expr *x = p->nest.access[p->x].read;
    p->row.dim = p->column.dim = -1;
    for (int i = 0; i < x->index_count; i++) {
        bool taps = false;
        for (int a = d->parallel_count; a < d->axis_count; a++)
            taps = taps || (x->index[i].coef[a] && d->axes[a].extent > 1);
        if (x->index[i].coef[p->column_axis]) {
            if (p->column.dim >= 0)
                return refuse(why, "columns in two dimensions");
            p->column.dim = i;
        } else if (taps) {
            if (p->row.dim >= 0)
                return refuse(why, "taps in more than two dimensions");
            p->row.dim = i;
        }
    }
    if (p->column.dim < 0)
        return refuse(why, "no window along the result's contiguous axis");
    for (int a = 0; a < d->parallel_count && p->row.dim >= 0; a++)
        if (x->index[p->row.dim].coef[a] && (p->row_axis < 0 || d->axes[a].extent > 1)) {
            if (p->row_axis >= 0 && d->axes[p->row_axis].extent > 1)
                return refuse(why, "rows of two axes");
            p->row_axis = a;
        }
    if (p->row.dim >= 0 && p->row_axis < 0)
        return refuse(why, "a sum over a dimension that has no window");
    return true;
}

static bool find_along(const Window *p, Along *along, int axis, const char **why) {
    const Definition *d = p->nest.definition;
    const Index *index = &p->nest.access[p->x].read->index[along->dim];
    along->offset = index->offset;
    along->stride = index->coef[axis];
    for (int a = 0; a < d->axis_count; a++) {
        if (!index->coef[a] || d->axes[a].extent == 1)
            continue;
        if (index->coef[a] < 0 || (a != axis && a < d->parallel_count))
            return refuse(why, "a window that moves backwards, or with several axes");
        if (a >= d->parallel_count)
            along->reach += index->coef[a] * (d->axes[a].extent - 1);
    }
    return along->stride <= 4 || refuse(why, "a window with a stride above 4");
}

static bool find_outer(Window *p, const char **why) {
    const Definition *d = p->nest.definition;
    p->outer_total = 1;
    for (int a = 0; a < d->parallel_count; a++) {
        if (a == p->row_axis || a == p->column_axis || d->axes[a].extent == 1)
            continue;
        if (!p->nest.access[p->x].stride[a])
            return refuse(why, "one image under several windows");
        p->outer[p->outer_count++] = a;
        p->outer_total *= d->axes[a].extent;
    }
    for (int i = 0; i < p->nest.access_count; i++) {
        const Access *access = &p->nest.access[i];
        if (access->type != DT_F32)
            return refuse(why, "an element type other than f32");
        if (i == p->x)
            continue;
        if (access->guard_count)
            return refuse(why, "a guarded read beside the window");
        int64_t column = access->stride[p->column_axis];
        if (i == p->taps && (column || (p->row_axis >= 0 && access->stride[p->row_axis])))
            return refuse(why, "taps that change from place to place");
        if (column != 0 && column != 1)
            return refuse(why, "an operand that is not contiguous along the result's contiguous axis");
        for (int a = d->parallel_count; a < d->axis_count && i != p->taps; a++)
            if (access->stride[a])
                return refuse(why, "an operand of the epilogue that moves with the window");
    }
    return true;
}

static bool list_taps(Window *p, const char **why) {
    const Definition *d = p->nest.definition;
    const Expr *x = p->nest.access[p->x].read;
    int64_t count = 1;
    for (int a = d->parallel_count; a < d->axis_count; a++)
        if (!checked_mul(count, d->axes[a].extent, &count) || count > MAX_TAPS)
            return refuse(why, "a window of too many taps");
    p->tap_count = (int)count;
    for (int t = 0; t < p->tap_count; t++) {
        int64_t left = t;
        for (int a = d->axis_count - 1; a >= d->parallel_count; a--) {
            int64_t digit = left % d->axes[a].extent;
            left /= d->axes[a].extent;
            p->tap[t].column += digit * x->index[p->column.dim].coef[a];
            p->tap[t].row += p->row.dim >= 0 ? digit * x->index[p->row.dim].coef[a] : 0;
            p->tap[t].weight += p->taps >= 0 ? digit * p->nest.access[p->taps].stride[a] : 0;
        }
    }
    return true;
}

static bool recognise(Window *p, const Kernel *kernel, const char **why) {
    const Definition *d = &kernel->definitions[0];
    int map[NEST_MAX_AXES];
    if (kernel->definition_count != 1)
        return refuse(why, "more than one definition");
    if (d->axis_count > NEST_MAX_AXES)
        return refuse(why, "more axes than a template takes");
    p->nest = (Nest){.kernel = kernel, .definition = d, .axis_count = d->axis_count, .parallel_count = d->parallel_count};
    int64_t elements = 1;
    for (int a = 0; a < d->axis_count; a++) {
        map[a] = a;
        p->nest.axis[a] = (NestAxis){d->axes[a].extent, a >= d->parallel_count};
        if (!d->axes[a].extent)
            return refuse(why, "nothing to do");
        elements *= a < d->parallel_count ? d->axes[a].extent : 1;
    }
    if (elements != kernel->tensors[d->tensor].count)
        return refuse(why, "a result that is written in parts");
    p->column_axis = p->row_axis = -1;
    if (!nest_add(&p->nest, d, map, NULL, why))
        return false;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && !nest_add(&p->nest, d, map, d->exprs[i], why))
            return false;
    if (!find_reduction(p, why) || !find_dims(p, why) || !find_along(p, &p->column, p->column_axis, why))
        return false;
    if (p->row_axis >= 0 && !find_along(p, &p->row, p->row_axis, why))
        return false;
    if (p->row_axis < 0) /* any other axis may be the row: it then moves x like an outer one */
        p->row.dim = -1;
    if (!find_outer(p, why) || !list_taps(p, why))
        return false;
    if (p->tap_count < 2)
        return refuse(why, "a window of one tap");
    p->rows = p->row_axis >= 0 ? d->axes[p->row_axis].extent : 1;
    p->columns = d->axes[p->column_axis].extent;
    return true;
}

/* ---- vector code ---- */

typedef struct Place {
    const Window *p;
    VectorFunction *f;
    int pointer[NEST_MAX_ACCESSES];
    int row, column; /* counters; column -1: behind the loop */
    int64_t offset;  /* columns */
    int mask;
} Place;

static VectorAddress place(const Place *at, int access) {
    const Access *a = &at->p->nest.access[access];
    int64_t column = 4 * a->stride[at->p->column_axis], row = at->p->row_axis >= 0 ? 4 * a->stride[at->p->row_axis] : 0;
    VectorAddress address = vector_plus(vector_at(at->pointer[access], at->offset * column), at->row, row);
    return at->column < 0 ? address : vector_plus(address, at->column, column);
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    const Place *at = e->context;
    int access = nest_find(&at->p->nest, read);
    if (at->p->nest.access[access].stride[at->p->column_axis])
        return vector_load(at->f, DT_F32, DT_F32, place(at, access), at->mask);
    return vector_splat(at->f, DT_F32, DT_F32, place(at, access));
}

static int64_t scratch_row(const Window *p) {
    return p->pitch * p->column.stride;
}

static int load_tap(const Place *at, int tap, int64_t vector) {
    const Window *p = at->p;
    int64_t phase = p->tap[tap].column % p->column.stride, shift = p->tap[tap].column / p->column.stride;
    int64_t from = p->tap[tap].row * scratch_row(p) + phase * p->pitch + shift + at->offset + vector * p->lanes;
    VectorAddress a = vector_at(at->pointer[p->x], 4 * from);
    a = vector_plus(a, at->row, 4 * scratch_row(p) * (p->row_axis >= 0 ? p->row.stride : 0));
    if (at->column >= 0)
        a = vector_plus(a, at->column, 4);
    return vector_load(at->f, DT_F32, DT_F32, a, -1);
}

/* `count` vectors from column `offset` of one row. */
static void emit_group(Place *at, ExprEmitter *e, int64_t offset, int count, int64_t left) {
    const Window *p = at->p;
    int sum[GROUP];
    at->offset = offset;
    for (int v = 0; v < count; v++)
        sum[v] = vector_const(at->f, DT_F32, p->start);
    for (int t = 0; t < p->tap_count; t++) {
        int weight =
            p->taps >= 0 ? vector_splat(at->f, DT_F32, DT_F32, vector_at(at->pointer[p->taps], 4 * p->tap[t].weight)) : -1;
        for (int v = 0; v < count; v++) {
            int x = load_tap(at, t, v);
            if (weight >= 0) {
                sum[v] = vector_ternary(at->f, VECTOR_FMA, weight, x, sum[v]);
                continue;
            }
            expr_forget(e);
            expr_know(e, p->nest.access[p->x].read, x);
            x = expr_emit(e, p->reduction->arg[0]);
            if (e->refused)
                return;
            sum[v] = vector_binary(at->f, p->combine, sum[v], x);
        }
    }
    for (int v = 0; v < count; v++) {
        int64_t here = left - (int64_t)v * p->lanes;
        at->offset = offset + (int64_t)v * p->lanes;
        at->mask = here < p->lanes ? vector_mask_first(at->f, DT_F32, (int)here) : -1;
        expr_forget(e);
        expr_know(e, p->reduction, sum[v]);
        int value = expr_emit(e, p->nest.definition->value);
        if (!e->refused)
            vector_store(at->f, DT_F32, value, place(at, 0), at->mask);
    }
    at->mask = -1;
}

static const VectorFunction *emit_window(const Window *p, Compiled *c, const char **why, whet_error *err) {
    Place at = {.p = p, .column = -1, .mask = -1};
    at.f = vector_new(&c->arena, arena_printf(&c->arena, "window_%d", p->tap_count), c->target.bytes);
    ExprEmitter e = {.f = at.f, .definition = p->nest.definition, .kernel = p->nest.kernel, .constant = p->known};
    e.read = read_operand;
    e.context = &at;
    if (!at.f || !expr_start(&e, &c->arena)) {
        error_memory(err);
        return NULL;
    }
    for (int i = 0; i < p->nest.access_count; i++)
        at.pointer[i] = vector_parameter(at.f, CLASS_POINTER,
                                         arena_printf(&c->arena, "%s%d",
                                                      i == p->x ? "scratch"
                                                      : i       ? "e"
                                                                : "y",
                                                      i));
    int rows = vector_parameter(at.f, CLASS_INDEX, "rows");
    at.row = vector_loop(at.f, rows, 0, 1, NULL, NULL, 0);
    int64_t group = (int64_t)GROUP * p->lanes, whole = p->columns / group * group;
    if (whole > group) { /* many groups: a loop */
        at.column = vector_loop(at.f, -1, whole, group, NULL, NULL, 0);
        emit_group(&at, &e, 0, GROUP, group);
        vector_end(at.f, NULL, NULL);
        at.column = -1;
    } else
        whole = 0;
    for (int64_t from = whole; from < p->columns; from += group) {
        int64_t left = p->columns - from, vectors = (left + p->lanes - 1) / p->lanes;
        emit_group(&at, &e, from, (int)(vectors < GROUP ? vectors : GROUP), left);
    }
    vector_end(at.f, NULL, NULL);
    *why = e.refused;
    return !e.refused && vector_finish(at.f, err) ? at.f : NULL;
}

/* ---- running ---- */

typedef struct Work {
    const Compiled *c;
    const Window *p;
    void *const *data;
    const EvalOptions *options;
    const whet_allocator *allocator;
    int64_t bands;
    atomic_bool late, no_memory;
} Work;

static void fill(float *to, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++)
        to[i] = value;
}

/* One phase of a row: to[i] = x at column first + i * stride, what a read outside gives where that is outside. */
static void copy_phase(const Window *p, const float *x, int64_t x_stride, int64_t extent, int64_t first, int64_t count,
                       float *to) {
    int64_t stride = p->column.stride, from = 0, end = count;
    float outside = (float)p->nest.access[p->x].outside;
    if (first < 0)
        from = (-first + stride - 1) / stride;
    if (first + (count - 1) * stride >= extent)
        end = extent > first ? (extent - first + stride - 1) / stride : 0;
    from = from < count ? from : count;
    end = end > from ? end : from;
    fill(to, from, outside);
    const float *at = x + first * x_stride;
    if (stride * x_stride == 1)
        memcpy(to + from, at + from, (size_t)(end - from) * sizeof *to);
    else
        for (int64_t i = from; i < end; i++)
            to[i] = at[i * stride * x_stride];
    fill(to + end, count - end, outside);
}

static void fill_scratch(const Window *p, const float *plane, int64_t first_row, int64_t rows, float *scratch) {
    const KernelTensor *tensor = &p->nest.kernel->tensors[p->nest.access[p->x].tensor];
    int64_t column_extent = tensor->dims[p->column.dim], row_extent = p->row.dim >= 0 ? tensor->dims[p->row.dim] : 1;
    int64_t row_stride = 1, column_stride = 1;
    for (int d = tensor->rank - 1; d > p->row.dim; d--)
        row_stride *= tensor->dims[d];
    for (int d = tensor->rank - 1; d > p->column.dim; d--)
        column_stride *= tensor->dims[d];
    for (int64_t r = 0; r < rows; r++, scratch += scratch_row(p)) {
        int64_t row = p->row.dim >= 0 ? first_row + r : 0;
        if (row < 0 || row >= row_extent) {
            fill(scratch, scratch_row(p), (float)p->nest.access[p->x].outside);
            continue;
        }
        const float *x = plane + (p->row.dim >= 0 ? row * row_stride : 0);
        for (int64_t phase = 0; phase < p->column.stride; phase++)
            copy_phase(p, x, column_stride, column_extent, p->column.offset + phase, p->pitch, scratch + phase * p->pitch);
    }
}

static int64_t scratch_rows(const Window *p, int64_t rows) {
    return p->row_axis >= 0 ? (rows - 1) * p->row.stride + p->row.reach + 1 : 1;
}

/* Where the plane begins: the access without the offsets of its row and column, which the copy adds. */
static int64_t plane_offset(const Window *p) {
    const Access *x = &p->nest.access[p->x];
    const KernelTensor *tensor = &p->nest.kernel->tensors[x->tensor];
    int64_t offset = 0, stride = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        if (d != p->row.dim && d != p->column.dim)
            offset += x->read->index[d].offset * stride;
        stride *= tensor->dims[d];
    }
    return offset;
}

static void run_band(const Work *w, const int64_t *offset, int64_t from, int64_t rows, float *scratch) {
    const Window *p = w->p;
    int64_t arguments[NEST_MAX_ACCESSES + 1];
    int64_t x_row = p->row_axis >= 0 ? p->row.offset + from * p->row.stride : 0;
    fill_scratch(p, (const float *)w->data[p->nest.access[p->x].tensor] + offset[p->x], x_row, scratch_rows(p, rows), scratch);
    for (int i = 0; i < p->nest.access_count; i++) {
        int64_t at = offset[i] + (p->row_axis >= 0 ? from * p->nest.access[i].stride[p->row_axis] : 0);
        arguments[i] = (int64_t)(intptr_t)((char *)w->data[p->nest.access[i].tensor] + 4 * at);
    }
    arguments[p->x] = (int64_t)(intptr_t)scratch;
    arguments[p->nest.access_count] = rows;
    schedule_call(w->c, 0, arguments);
}

static void window_task(void *context, size_t task) {
    Work *w = context;
    const Window *p = w->p;
    int64_t outer = (int64_t)task / w->bands, from = (int64_t)task % w->bands * p->band, offset[NEST_MAX_ACCESSES];
    int64_t rows = p->rows - from < p->band ? p->rows - from : p->band;
    size_t bytes = (size_t)(scratch_rows(p, p->band) * scratch_row(p) + 2 * p->lanes) * sizeof(float);
    if (atomic_load_explicit(&w->late, memory_order_relaxed))
        return;
    float *scratch = memory_alloc(w->allocator, bytes);
    if (!scratch) {
        atomic_store(&w->no_memory, true);
        return;
    }
    for (int i = 0; i < p->nest.access_count; i++)
        offset[i] = i == p->x ? plane_offset(p) : p->nest.access[i].offset;
    for (int k = p->outer_count - 1; k >= 0; k--) {
        int64_t extent = p->nest.axis[p->outer[k]].extent, digit = outer % extent;
        outer /= extent;
        for (int i = 0; i < p->nest.access_count; i++)
            offset[i] += digit * p->nest.access[i].stride[p->outer[k]];
    }
    run_band(w, offset, from, rows, scratch);
    memory_free(w->allocator, scratch, bytes);
    if (schedule_late(w->options))
        atomic_store(&w->late, true);
}

static whet_status window_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Window *p = c->state;
    Work w = {.c = c, .p = p, .data = data, .options = options};
    w.allocator = options && options->allocator ? options->allocator : c->allocator;
    w.bands = (p->rows + p->band - 1) / p->band;
    double work = (double)p->outer_total * (double)p->rows * (double)p->columns * (p->tap_count + 8) / 16;
    schedule_parallel(options, work, (size_t)(p->outer_total * w.bands), window_task, &w);
    if (atomic_load(&w.no_memory))
        return error_memory(err);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}

static void window_print(const Compiled *c, Text *out) {
    const Window *p = c->state;
    text_printf(out, "window %lld x %lld x %lld: %d taps, stride %lld x %lld, bands of %lld rows\n", (long long)p->outer_total,
                (long long)p->rows, (long long)p->columns, p->tap_count, (long long)p->row.stride, (long long)p->column.stride,
                (long long)p->band);
}

bool schedule_window(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Window *p = ARENA_NEW(&c->arena, Window);
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 1);
    if (!p || !c->functions)
        return error_memory(err), false;
    p->known = options->constant;
    p->lanes = c->target.bytes / 4;
    if (!recognise(p, c->kernel, why))
        return false;
    int64_t vectors = (p->columns + p->lanes - 1) / p->lanes;
    p->pitch = vectors * p->lanes + p->column.reach / p->column.stride + 1;
    p->band = 1;
    while (p->band < p->rows && scratch_rows(p, p->band + 1) * scratch_row(p) * 4 <= SCRATCH_BYTES)
        p->band++;
    if (!(c->functions[0] = emit_window(p, c, why, err)))
        return false;
    c->function_count = 1;
    c->template = "window";
    c->state = p;
    c->run = window_run;
    c->print = window_print;
    return true;
}
