/* Row kernels: definitions that share their rows and reduce over their columns: softmax, LayerNorm, means, maxima and chains of
 * them, in as many passes over a row as there are definitions, while it lies in L1.
 *
 * The last definition is the main one. Its axes are the rows and columns of the whole kernel: what a definition of one value a
 * row is read with are rows, the rest are columns; a definition that only reduces has its summed axes for columns. Every other
 * definition is tied to these axes by how it is read (`mean[i, 0]` ties its first axis to i), and its summed axes are the
 * columns. Values of one a row stay in registers; columnwise temporaries lie in a row of scratch. Columns must be contiguous. */
#include "schedule/rows.h"

#include <stdatomic.h>
#include <string.h>

/* ---- recognition ---- */

static const Definition *main_of(const Rows *r) {
    return r->item[r->count - 1].definition;
}

int rows_source(const Rows *r, int tensor) {
    for (int i = 0; i < r->count; i++)
        if (r->item[i].temporary && r->item[i].definition->tensor == tensor)
            return i;
    return -1;
}

static bool reduces(const Definition *d) {
    return d->axis_count > d->parallel_count;
}

static bool collect(Rows *r, const Kernel *kernel, const char **why) {
    if (kernel->definition_count > ROWS_MAX_DEFINITIONS) {
        *why = "more definitions than a row kernel takes";
        return false;
    }
    bool any = false;
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        if (d->axis_count > NEST_MAX_AXES) {
            *why = "more axes than a row kernel takes";
            return false;
        }
        RowDefinition *item = &r->item[r->count++];
        *item = (RowDefinition){.definition = d, .write = -1, .scratch = -1};
        item->temporary = kernel->tensors[d->tensor].role == ROLE_TEMPORARY;
        for (int a = 0; a < KERNEL_MAX_AXES; a++)
            item->map[a] = -1;
        for (int j = 0; j < i; j++)
            if (r->item[j].definition->tensor == d->tensor) {
                *why = "a tensor that several definitions write";
                return false;
            }
        for (int k = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_REDUCE && d->exprs[k]->axis_count != d->axis_count - d->parallel_count) {
                *why = "reductions of one definition over different axes";
                return false;
            }
        any = any || reduces(d);
    }
    if (!any && kernel->definition_count == 1)
        *why = "no reduction";
    return *why == NULL;
}

/* The axis that an index of a read or a left side is, alone; -1: the constant 0; -2: something else. */
static int plain_axis(const Definition *d, const Index *index) {
    int found = -1;
    if (!index->affine || index->offset)
        return -2;
    for (int a = 0; a < d->axis_count; a++)
        if (index->coef[a]) {
            if (index->coef[a] != 1 || found >= 0)
                return -2;
            found = a;
        }
    return found;
}

/* Ties the axes of the definition that makes a temporary to those of its reader. */
static bool tie(Rows *r, const RowDefinition *reader, const Expr *read, const char **why) {
    int source = rows_source(r, read->tensor);
    if (source < 0)
        return true;
    RowDefinition *item = &r->item[source];
    for (int i = 0; i < read->index_count; i++) {
        int mine = plain_axis(item->definition, &item->definition->left[i]),
            theirs = plain_axis(reader->definition, &read->index[i]);
        if (mine == -1 && (theirs == -1 || theirs >= 0))
            continue; /* a dimension of one element */
        int axis = theirs >= 0 ? reader->map[theirs] : -1;
        if (mine < 0 || theirs < 0 || axis < 0 || (item->map[mine] >= 0 && item->map[mine] != axis)) {
            *why = "a temporary that is read at other rows than its own";
            return false;
        }
        item->map[mine] = axis;
    }
    return true;
}

static bool depends(const Expr *e, int axis) {
    if (e->op == EXPR_AXIS)
        return e->axis == axis;
    for (int i = 0; e->op == EXPR_READ && i < e->index_count; i++)
        if (!e->index[i].affine || e->index[i].coef[axis])
            return true;
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && depends(e->arg[i], axis))
            return true;
    return false;
}

/* `y[i, j] = e[i, j] / (sum(k) e[i, k])`: the sum is the same for all j, which run as far as k. So j are the columns, and k. */
static bool sums_over_own_columns(const Definition *d) {
    int count = d->axis_count - d->parallel_count, first = d->parallel_count - count;
    if (first < 0)
        return false;
    for (int t = 0; t < count; t++)
        if (d->axes[first + t].extent != d->axes[d->parallel_count + t].extent)
            return false;
    for (int i = 0; i < d->expr_count; i++)
        for (int t = 0; d->exprs[i]->op == EXPR_REDUCE && t < count; t++)
            if (depends(d->exprs[i]->arg[0], first + t))
                return false;
    return true;
}

/* Axes of the main definition that some value of one a row is read with are rows; the others columns. */
static void split_axes(const Rows *r, bool is_column[NEST_MAX_AXES]) {
    const Definition *d = main_of(r);
    bool own = reduces(d);
    int reduced = d->axis_count - d->parallel_count, first = d->parallel_count;
    if (own && sums_over_own_columns(d))
        first -= reduced;
    for (int a = 0; a < d->axis_count; a++)
        is_column[a] = own ? a >= first && a < first + reduced : true;
    if (own)
        return;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
        if (source < 0 || r->item[source].definition->parallel_count == d->parallel_count)
            continue; /* columnwise itself, most likely; tying finds out */
        for (int k = 0; k < e->index_count; k++) {
            int axis = plain_axis(d, &e->index[k]);
            if (axis >= 0 && plain_axis(r->item[source].definition, &r->item[source].definition->left[k]) >= 0)
                is_column[axis] = false;
        }
    }
    bool row_behind = false; /* columns are the last axes */
    for (int a = d->axis_count - 1; a >= 0; a--) {
        row_behind = row_behind || !is_column[a];
        is_column[a] = !row_behind;
    }
}

static bool map_axes(Rows *r, const bool is_column[NEST_MAX_AXES], const char **why) {
    const Definition *d = main_of(r);
    int columns[NEST_MAX_AXES] = {0}, column_count = 0;
    for (int a = 0; a < d->axis_count; a++) {
        r->item[r->count - 1].map[a] = a;
        r->nest.axis[a] = (NestAxis){d->axes[a].extent, is_column[a]};
        if (is_column[a])
            columns[column_count++] = a;
    }
    r->nest.axis_count = columns[0] < d->parallel_count && column_count ? d->parallel_count : d->axis_count;
    for (int a = 0; a < r->nest.axis_count; a++)
        r->nest.parallel_count += !is_column[a];
    for (int i = r->count - 1; i >= 0; i--) {
        RowDefinition *item = &r->item[i];
        const Definition *own = item->definition;
        for (int a = own->parallel_count; a < own->axis_count; a++) {
            int at = a - own->parallel_count, count = own->axis_count - own->parallel_count;
            if (count != column_count || own->axes[a].extent != d->axes[columns[at]].extent) {
                *why = "a reduction over something else than the columns";
                return false;
            }
            item->map[a] = columns[at];
        }
        for (int a = 0; a < own->parallel_count; a++) {
            if (item->map[a] < 0 && own->axes[a].extent == 1)
                continue;
            if (item->map[a] < 0 || own->axes[a].extent != d->axes[item->map[a]].extent) {
                *why = "a definition over other rows than the main one's";
                return false;
            }
            item->columnwise = item->columnwise || is_column[item->map[a]];
        }
        for (int k = 0; k < own->expr_count; k++)
            if (own->exprs[k]->op == EXPR_READ && !tie(r, item, own->exprs[k], why))
                return false;
    }
    return true;
}

/* A definition that walks some rows only would be written several times; its values must then be temporary. */
static bool writes_once(const Rows *r, const RowDefinition *item) {
    int seen = 0, wanted = 0;
    for (int a = 0; a < r->nest.axis_count; a++)
        wanted += (item->columnwise || !r->nest.axis[a].reduced) && r->nest.axis[a].extent != 1;
    for (int a = 0; a < item->definition->parallel_count; a++)
        seen += item->definition->axes[a].extent != 1;
    return seen == wanted;
}

static bool add_accesses(Rows *r, const char **why) {
    for (int i = 0; i < r->count; i++) {
        RowDefinition *item = &r->item[i];
        const Definition *d = item->definition;
        if (item->columnwise && !writes_once(r, item)) {
            *why = "columns that some rows share";
            return false;
        }
        if (!item->temporary) {
            if (!writes_once(r, item)) {
                *why = "an output of fewer rows than the others";
                return false;
            }
            item->write = r->nest.access_count;
            if (!nest_add(&r->nest, d, item->map, NULL, why))
                return false;
        } else if (item->columnwise)
            item->scratch = r->scratch_count++;
        for (int k = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_READ && rows_source(r, d->exprs[k]->tensor) < 0 &&
                !nest_add(&r->nest, d, item->map, d->exprs[k], why))
                return false;
    }
    return true;
}

int64_t rows_column_stride(const Rows *r, int access) {
    return r->column_axis < 0 ? 0 : r->nest.access[access].stride[r->column_axis];
}

int64_t rows_row_stride(const Rows *r, int access) {
    return r->row_axis < 0 ? 0 : r->nest.access[access].stride[r->row_axis];
}

static bool choose_axes(Rows *r, const char **why) {
    Nest *nest = &r->nest;
    r->row_axis = r->column_axis = -1;
    r->rows = r->columns = r->outer_total = 1;
    for (int x = 0; x < nest->axis_count; x++) {
        if (nest->axis[x].reduced) {
            if (r->column_axis >= 0) {
                *why = "columns that are not contiguous";
                return false;
            }
            r->column_axis = x;
            r->columns = nest->axis[x].extent;
        } else if (r->row_axis < 0 || nest->axis[x].extent > nest->axis[r->row_axis].extent)
            r->row_axis = x;
    }
    if (r->row_axis >= 0)
        r->rows = nest->axis[r->row_axis].extent;
    for (int x = 0; x < nest->axis_count; x++)
        if (x != r->row_axis && x != r->column_axis) {
            r->outer[r->outer_count++] = x;
            r->outer_total *= nest->axis[x].extent;
        }
    for (int i = 0; i < nest->access_count; i++) {
        int64_t stride = rows_column_stride(r, i);
        if (nest->access[i].type != DT_F32)
            *why = "an element type other than f32";
        else if (nest->access[i].guard_count)
            *why = "a guarded read";
        else if (stride != 0 && stride != 1)
            *why = "columns that are not contiguous";
    }
    return *why == NULL;
}

/* An output that is read again would have to be written before. */
static bool reads_outputs(const Rows *r) {
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            if (e->op == EXPR_READ && r->nest.kernel->tensors[e->tensor].role == ROLE_OUTPUT)
                return true;
        }
    return false;
}

/* ---- running ---- */

typedef struct Work {
    const Compiled *c;
    const Rows *r;
    void *const *data;
    const EvalOptions *options;
    const whet_allocator *allocator;
    int64_t row_tasks, rows_each;
    size_t scratch_row; /* floats */
    atomic_bool late, no_memory;
} Work;

static void call(const Work *w, int64_t outer, int64_t row, int64_t rows, float *scratch) {
    const Rows *r = w->r;
    int64_t arguments[NEST_MAX_ACCESSES + ROWS_MAX_DEFINITIONS + 1], digit[NEST_MAX_AXES];
    int n = 0;
    for (int k = r->outer_count - 1; k >= 0; k--) {
        digit[k] = outer % r->nest.axis[r->outer[k]].extent;
        outer /= r->nest.axis[r->outer[k]].extent;
    }
    for (int i = 0; i < r->nest.access_count; i++) {
        const Access *access = &r->nest.access[i];
        int64_t at = access->offset + row * rows_row_stride(r, i);
        for (int k = 0; k < r->outer_count; k++)
            at += digit[k] * access->stride[r->outer[k]];
        arguments[n++] = (int64_t)(intptr_t)((char *)w->data[access->tensor] + 4 * at);
    }
    for (int s = 0; s < r->scratch_count; s++)
        arguments[n++] = (int64_t)(intptr_t)(scratch + (size_t)s * w->scratch_row);
    arguments[n] = rows;
    schedule_call(w->c, 0, arguments);
}

static void rows_task(void *context, size_t task) {
    Work *w = context;
    const Rows *r = w->r;
    int64_t row = (int64_t)task % w->row_tasks * w->rows_each;
    int64_t rows = r->rows - row < w->rows_each ? r->rows - row : w->rows_each;
    size_t bytes = w->scratch_row * (size_t)r->scratch_count * sizeof(float);
    if (atomic_load_explicit(&w->late, memory_order_relaxed))
        return;
    float *scratch = bytes ? memory_alloc(w->allocator, bytes) : NULL;
    if (bytes && !scratch) {
        atomic_store(&w->no_memory, true);
        return;
    }
    call(w, (int64_t)task / w->row_tasks, row, rows, scratch);
    memory_free(w->allocator, scratch, bytes);
    if (schedule_late(w->options))
        atomic_store(&w->late, true);
}

static whet_status rows_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    enum { TASK_ELEMENTS = 1 << 14, ROUND = 64 };
    const Rows *r = c->state;
    Work w = {.c = c, .r = r, .data = data, .options = options};
    w.allocator = options && options->allocator ? options->allocator : c->allocator;
    w.scratch_row = ((size_t)r->columns + ROUND - 1) / ROUND * ROUND;
    w.rows_each = TASK_ELEMENTS / (r->columns ? r->columns : 1) > 0 ? TASK_ELEMENTS / (r->columns ? r->columns : 1) : 1;
    w.row_tasks = (r->rows + w.rows_each - 1) / w.rows_each;
    schedule_parallel(options, (size_t)(r->outer_total * w.row_tasks), rows_task, &w);
    if (atomic_load(&w.no_memory))
        return error_memory(err);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}

static void rows_print(const Compiled *c, Text *out) {
    const Rows *r = c->state;
    text_printf(out, "rows %lld x %lld of %lld columns: %d definitions, %d rows of scratch, %d vectors a round\n",
                (long long)r->outer_total, (long long)r->rows, (long long)r->columns, r->count, r->scratch_count, r->unroll);
}

/* An output that its definition does not fill has zeros elsewhere. */
static bool fill_whole(const Rows *r) {
    for (int i = 0; i < r->count; i++) {
        const Definition *d = r->item[i].definition;
        int64_t elements = 1;
        for (int a = 0; a < d->parallel_count; a++)
            elements *= d->axes[a].extent;
        if (!r->item[i].temporary && elements != r->nest.kernel->tensors[d->tensor].count)
            return false;
    }
    return true;
}

bool schedule_rows(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Rows *r = ARENA_NEW(&c->arena, Rows);
    bool is_column[NEST_MAX_AXES];
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 1);
    if (!r || !c->functions)
        return error_memory(err), false;
    r->known = options->constant;
    r->nest.kernel = c->kernel;
    if (!collect(r, c->kernel, why))
        return false;
    if (reads_outputs(r) || !fill_whole(r) || r->item[r->count - 1].temporary) {
        *why = "an output that is read again, or written in parts";
        return false;
    }
    split_axes(r, is_column);
    if (!map_axes(r, is_column, why) || !add_accesses(r, why))
        return false;
    for (int a = 0; a < r->nest.axis_count; a++)
        if (r->nest.axis[a].extent == 0) {
            *why = "nothing to do";
            return false;
        }
    nest_simplify(&r->nest);
    if (!choose_axes(r, why))
        return false;
    r->unroll = options->unroll ? options->unroll : options->spare_registers ? 1 : 4;
    if (!(c->functions[0] = rows_emit(r, c, why, err)))
        return false;
    c->function_count = 1;
    c->template = "rows";
    c->state = r;
    c->run = rows_run;
    c->print = rows_print;
    return true;
}
