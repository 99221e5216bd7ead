/* Elementwise kernels: y[...] = f(a[...], b[...], ...) without a reduction, f32, in one pass over memory.
 *
 * The axis along which the result is contiguous runs over the lanes; what reads along it contiguously is loaded, what stands
 * still is spread. One more axis, the longest of the others, is a loop in the vector code (`rows`), the rest are walked by the
 * driver. A result of one long axis is cut into rows of CHUNK columns, so that there is something to spread over threads.
 *
 * Columns are constants: whole groups of UNROLL vectors in a loop, then the vectors that are left, the last of them masked. */
#include "schedule/c/c_kernel.h"

#include <stdatomic.h>
#include <string.h>

enum { CHUNK = 4096, TASK_ELEMENTS = 1 << 14 };

typedef struct MapPlan {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;
    int column_axis, row_axis; /* -1: extent 1 */
    int outer[NEST_MAX_AXES], outer_count;
    int64_t rows, columns, outer_total;
    int64_t row_stride[NEST_MAX_ACCESSES];
    int64_t rest; /* columns of the last, shorter chunk of a single long axis; 0: none */
    int unroll;
} MapPlan;

static bool find_axes(MapPlan *m, const char **why) {
    const Nest *nest = &m->nest;
    m->column_axis = m->row_axis = -1;
    for (int x = 0; x < nest->parallel_count; x++)
        if (nest->access[0].stride[x] == 1)
            m->column_axis = x;
    if (m->column_axis < 0 && nest->parallel_count) {
        *why = "a result that is not contiguous along any axis";
        return false;
    }
    for (int x = 0; x < nest->parallel_count; x++)
        if (x != m->column_axis && (m->row_axis < 0 || nest->axis[x].extent > nest->axis[m->row_axis].extent))
            m->row_axis = x;
    m->outer_total = 1;
    for (int x = 0; x < nest->parallel_count; x++)
        if (x != m->column_axis && x != m->row_axis) {
            m->outer[m->outer_count++] = x;
            m->outer_total *= nest->axis[x].extent;
        }
    m->columns = m->column_axis < 0 ? 1 : nest->axis[m->column_axis].extent;
    m->rows = m->row_axis < 0 ? 1 : nest->axis[m->row_axis].extent;
    for (int i = 0; i < nest->access_count; i++)
        m->row_stride[i] = m->row_axis < 0 ? 0 : nest->access[i].stride[m->row_axis];
    return true;
}

static int64_t column_stride(const MapPlan *m, int access) {
    return m->column_axis < 0 ? 0 : m->nest.access[access].stride[m->column_axis];
}

static bool check_accesses(const MapPlan *m, const char **why) {
    for (int i = 0; i < m->nest.access_count; i++) {
        const Access *access = &m->nest.access[i];
        int64_t stride = column_stride(m, i);
        if (access->type != DT_F32)
            *why = "an element type other than f32";
        else if (access->guard_count)
            *why = "a guarded read";
        else if (stride != 0 && stride != 1)
            *why = "a read that is not contiguous along the result's contiguous axis";
    }
    return *why == NULL;
}

/* One long axis becomes rows of CHUNK columns and a rest. */
static void cut_long_axis(MapPlan *m) {
    if (m->row_axis >= 0 || m->columns < 2 * CHUNK)
        return;
    m->rest = m->columns % CHUNK;
    m->rows = m->columns / CHUNK;
    m->columns = CHUNK;
    for (int i = 0; i < m->nest.access_count; i++)
        m->row_stride[i] = CHUNK * column_stride(m, i);
}

/* ---- vector code ---- */

typedef struct Place {
    const MapPlan *m;
    VectorFunction *f;
    int pointer[NEST_MAX_ACCESSES];
    int row, column; /* counters; column -1: behind the loop */
    int64_t offset;  /* columns */
    int mask;
} Place;

static VectorAddress place(const Place *p, int access) {
    int64_t stride = 4 * column_stride(p->m, access);
    VectorAddress a = vector_plus(vector_at(p->pointer[access], p->offset * stride), p->row, 4 * p->m->row_stride[access]);
    return p->column < 0 ? a : vector_plus(a, p->column, stride);
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    const Place *p = e->context;
    int access = nest_find(&p->m->nest, read);
    if (column_stride(p->m, access))
        return vector_load(p->f, DT_F32, DT_F32, place(p, access), p->mask);
    return vector_splat(p->f, DT_F32, DT_F32, place(p, access));
}

static void emit_vector(Place *p, ExprEmitter *e, int64_t offset, int mask) {
    p->offset = offset;
    p->mask = mask;
    expr_forget(e);
    int value = expr_emit(e, p->m->nest.definition->value);
    if (!e->refused)
        vector_store(p->f, DT_F32, value, place(p, 0), mask);
}

static const VectorFunction *emit_map(const MapPlan *m, Compiled *c, int64_t columns, const char **why, whet_error *err) {
    Place p = {.m = m, .column = -1, .mask = -1};
    int lanes = c->target.bytes / 4;
    p.f = vector_new(&c->vectors, arena_printf(&c->vectors, "map_%lld", (long long)columns), c->target.bytes);
    ExprEmitter e = {.f = p.f,
                     .definition = m->nest.definition,
                     .kernel = m->nest.kernel,
                     .constant = m->known,
                     .read = read_operand,
                     .context = &p};
    if (!p.f || !expr_start(&e, &c->vectors)) {
        error_memory(err);
        return NULL;
    }
    for (int i = 0; i < m->nest.access_count; i++)
        p.pointer[i] = vector_parameter(p.f, CLASS_POINTER, arena_printf(&c->vectors, "%s%d", i ? "x" : "y", i));
    int rows = vector_parameter(p.f, CLASS_INDEX, "rows");
    p.row = vector_loop(p.f, rows, 0, 1, NULL, NULL, 0);
    int64_t group = (int64_t)m->unroll * lanes, whole = columns / group * group;
    if (whole) {
        p.column = vector_loop(p.f, -1, whole, group, NULL, NULL, 0);
        for (int u = 0; u < m->unroll; u++)
            emit_vector(&p, &e, (int64_t)u * lanes, -1);
        vector_end(p.f, NULL, NULL);
        p.column = -1;
    }
    for (int64_t at = whole; at < columns; at += lanes)
        emit_vector(&p, &e, at, columns - at < lanes ? vector_mask_first(p.f, DT_F32, (int)(columns - at)) : -1);
    vector_end(p.f, NULL, NULL);
    *why = e.refused;
    return !e.refused && vector_finish(p.f, err) ? p.f : NULL;
}

/* ---- running ---- */

typedef struct Work {
    const Compiled *c;
    const MapPlan *m;
    void *const *data;
    const EvalOptions *options;
    int64_t row_tasks, rows_each;
    atomic_bool late;
} Work;

static void call(const Work *w, int function, const int64_t *offset, int64_t row, int64_t rows) {
    int64_t arguments[NEST_MAX_ACCESSES + 1];
    const MapPlan *m = w->m;
    for (int i = 0; i < m->nest.access_count; i++)
        arguments[i] = (int64_t)(intptr_t)((char *)w->data[m->nest.access[i].tensor] + 4 * (offset[i] + row * m->row_stride[i]));
    arguments[m->nest.access_count] = rows;
    schedule_call(w->c, function, arguments);
}

static void map_task(void *context, size_t task) {
    Work *w = context;
    const MapPlan *m = w->m;
    int64_t outer = (int64_t)task / w->row_tasks, row = (int64_t)task % w->row_tasks * w->rows_each;
    int64_t rows = m->rows - row < w->rows_each ? m->rows - row : w->rows_each, offset[NEST_MAX_ACCESSES];
    if (atomic_load_explicit(&w->late, memory_order_relaxed))
        return;
    for (int i = 0; i < m->nest.access_count; i++)
        offset[i] = m->nest.access[i].offset;
    for (int k = m->outer_count - 1; k >= 0; k--) {
        int64_t extent = m->nest.axis[m->outer[k]].extent, digit = outer % extent;
        outer /= extent;
        for (int i = 0; i < m->nest.access_count; i++)
            offset[i] += digit * m->nest.access[i].stride[m->outer[k]];
    }
    call(w, 0, offset, row, rows);
    if (m->rest && row + rows == m->rows)
        call(w, 1, offset, m->rows, 1);
    if (schedule_late(w->options))
        atomic_store(&w->late, true);
}

static whet_status map_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const MapPlan *m = c->state;
    const Access *write = &m->nest.access[0];
    Work w = {.c = c, .m = m, .data = data, .options = options};
    if (!m->nest.covers && !(options && options->keep))
        memset(data[write->tensor], 0, (size_t)c->kernel->tensors[write->tensor].count * 4);
    w.rows_each = TASK_ELEMENTS / m->columns > 0 ? TASK_ELEMENTS / m->columns : 1;
    w.row_tasks = (m->rows + w.rows_each - 1) / w.rows_each;
    double work = (double)m->outer_total * (double)m->rows * (double)m->columns * m->nest.definition->expr_count / 8;
    schedule_parallel(options, work, (size_t)(m->outer_total * w.row_tasks), map_task, &w);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}

static void map_print(const Compiled *c, Text *out) {
    const MapPlan *m = c->state;
    text_printf(out, "map %lld x %lld x %lld: %d vectors a round\n", (long long)m->outer_total, (long long)m->rows,
                (long long)m->columns, m->unroll);
}

/* Arguments from row `row` on. */
static void print_call(const Compiled *c, const CDriver *d, int function, int64_t row, int64_t rows, int depth) {
    const MapPlan *m = c->state;
    c_indent(d->body, depth);
    c_put_name(d, c, function);
    for (int i = 0; i < m->nest.access_count; i++) {
        text_printf(d->body, "%sp%d", i ? ", " : "(", i);
        c_put_offset(d->body, 4 * row * m->row_stride[i]);
    }
    text_printf(d->body, ", %lld);\n", (long long)rows);
}

static void map_print_c(const Compiled *c, const CDriver *d) {
    const MapPlan *m = c->state;
    c_clear_gaps(d, &m->nest);
    int depth = c_open_axes(d, &m->nest, m->outer, m->outer_count, 1);
    for (int i = 0; i < m->nest.access_count; i++) {
        c_open_place(d, &m->nest, i, m->outer, m->outer_count, depth);
        c_close_place(d);
    }
    print_call(c, d, 0, 0, m->rows, depth);
    if (m->rest)
        print_call(c, d, 1, m->rows, 1, depth);
    c_close(d->body, m->outer_count, depth);
    c_release(d, NULL);
}

bool schedule_map(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    MapPlan *m = ARENA_NEW(&c->arena, MapPlan);
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 2);
    if (!m || !c->functions)
        return error_memory(err), false;
    m->known = options->constant;
    if (c->kernel->definition_count != 1) {
        *why = "more than one definition";
        return false;
    }
    if (!nest_of(c->kernel, &c->kernel->definitions[0], &m->nest, why))
        return false;
    if (m->nest.axis_count > m->nest.parallel_count) {
        *why = "a reduction";
        return false;
    }
    if (!find_axes(m, why) || !check_accesses(m, why))
        return false;
    cut_long_axis(m);
    m->unroll = options->unroll ? options->unroll : options->spare_registers ? 1 : 4;
    for (int i = 0; i < (m->rest ? 2 : 1); i++) {
        c->functions[i] = emit_map(m, c, i ? m->rest : m->columns, why, err);
        if (!c->functions[i])
            return false;
        c->function_count = i + 1;
    }
    c->knobs.unroll = m->unroll;
    c->template = "map";
    c->state = m;
    c->run = map_run;
    c->print = map_print;
    c->print_c = map_print_c;
    return true;
}
