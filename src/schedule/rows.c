/* Row kernels: definitions that share their rows and reduce over their columns: softmax, LayerNorm, means, maxima and chains of
 * them. This file recognises them; rows_plan.c decides how they are walked.
 *
 * The main definition is the last of those with the most axes that does not just follow another one. Its axes are the rows and
 * columns of the whole kernel: what something reduced is read with are rows, the rest are columns; a definition that only reduces
 * has its summed axes for columns. Every other definition is tied to these axes by how it is read or by what it reads (`mean[i,
 * 0]` ties its first axis to i), and its summed axes are the columns. */
#include "schedule/rows.h"
#include "schedule/c/c_kernel.h"

#include <string.h>

/* ---- recognition ---- */

static const Definition *main_of(const Rows *r) {
    return r->item[r->main].definition;
}

int rows_source(const Rows *r, int tensor) {
    for (int i = 0; i < r->count; i++)
        if (r->item[i].definition->tensor == tensor)
            return i;
    return -1;
}

static int long_axes(const Definition *d) {
    int axes = 0;
    for (int a = 0; a < d->axis_count; a++)
        axes += d->axes[a].extent != 1;
    return axes;
}

/* It follows another definition element by element, as a rounded copy does: which of its axes are rows is for that one to say. */
static bool follows(const Rows *r, const Definition *d) {
    bool any = false, all = !rows_reduces(d);
    for (int i = 0; i < d->expr_count; i++) {
        int source = d->exprs[i]->op == EXPR_READ ? rows_source(r, d->exprs[i]->tensor) : -1;
        any = any || source >= 0;
        all = all && (source < 0 ||
                      (!rows_reduces(r->item[source].definition) && long_axes(r->item[source].definition) == long_axes(d)));
    }
    return any && all;
}

/* The last of those with the most axes, of those that follow no other if there are such. */
static int find_main(const Rows *r) {
    int best = 0, most = -1;
    for (int i = 0; i < r->count; i++) {
        const Definition *d = r->item[i].definition;
        int axes = long_axes(d);
        if (axes > most || (axes == most && !follows(r, d))) {
            most = axes;
            best = i;
        }
    }
    return best;
}

bool rows_reduces(const Definition *d) {
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
        any = any || rows_reduces(d);
    }
    if (!any && kernel->definition_count == 1)
        *why = "no reduction";
    return *why == NULL;
}

/* Ties the axes of the definition that makes a temporary to those of its reader. */
static bool tie(Rows *r, const RowDefinition *reader, const Expr *read, const char **why) {
    int source = rows_source(r, read->tensor);
    if (source < 0)
        return true;
    RowDefinition *item = &r->item[source];
    for (int i = 0; i < read->index_count; i++) {
        int mine = index_plain_axis(item->definition, &item->definition->left[i]),
            theirs = index_plain_axis(reader->definition, &read->index[i]);
        if ((mine == -1 && (theirs == -1 || theirs >= 0)) || (mine >= 0 && item->definition->axes[mine].extent == 1))
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

/* No reduction of the definition reads along one of its own axes. */
static bool unsummed(const Definition *d, int axis) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE && depends(d->exprs[i]->arg[0], axis))
            return false;
    return true;
}

/* `y[i, j] = e[i, j] / (sum(k) e[i, k])`: the sum is the same for all j, which run as far as k. So j are the columns, and k. */
static bool find_own_columns(const Definition *d, bool is_column[NEST_MAX_AXES]) {
    int axis = d->parallel_count - 1;
    for (int t = d->axis_count - 1; t >= d->parallel_count; t--, axis--) {
        while (axis >= 0 && (d->axes[axis].extent != d->axes[t].extent || d->axes[axis].extent == 1 || !unsummed(d, axis)))
            axis--;
        if (axis < 0)
            return false;
        is_column[axis] = true;
    }
    return true;
}

static bool reduced_below(const Rows *r, int item) {
    const Definition *d = r->item[item].definition;
    bool found = rows_reduces(d);
    for (int i = 0; i < d->expr_count && !found; i++) {
        int source = d->exprs[i]->op == EXPR_READ ? rows_source(r, d->exprs[i]->tensor) : -1;
        found = source >= 0 && source < item && reduced_below(r, source);
    }
    return found;
}

static void split_own(const Definition *d, bool is_column[NEST_MAX_AXES]) {
    bool own[NEST_MAX_AXES] = {false};
    bool found = find_own_columns(d, own);
    for (int a = 0; a < d->axis_count; a++)
        is_column[a] = found ? own[a] : a >= d->parallel_count;
}

/* Where nothing is reduced, columns are the last axes alone. */
static void keep_last(const Definition *d, bool is_column[NEST_MAX_AXES]) {
    bool row_behind = false;
    for (int a = d->axis_count - 1; a >= 0; a--) {
        row_behind = row_behind || !is_column[a];
        is_column[a] = !row_behind;
    }
}

/* Axes of the main definition that some value of one a row is read with are rows; the others columns. */
static void split_axes(const Rows *r, bool is_column[NEST_MAX_AXES]) {
    const Definition *d = main_of(r);
    bool any = reduced_below(r, r->main);
    if (rows_reduces(d)) {
        split_own(d, is_column);
        return;
    }
    for (int a = 0; a < d->axis_count; a++)
        is_column[a] = true;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
        if (source < 0 || (any && !reduced_below(r, source)))
            continue;
        const Definition *from = r->item[source].definition;
        int plain = 0; /* as many axes as the main one: columnwise itself, most likely; tying finds out */
        for (int k = 0; k < e->index_count; k++)
            plain += index_plain_axis(from, &from->left[k]) >= 0;
        for (int k = 0; k < e->index_count && plain < d->parallel_count; k++) {
            int axis = index_plain_axis(d, &e->index[k]);
            if (axis >= 0 && index_plain_axis(from, &from->left[k]) >= 0)
                is_column[axis] = false;
        }
    }
    if (!any)
        keep_last(d, is_column);
}

static bool known_axes(const RowDefinition *item) {
    for (int a = 0; a < item->definition->parallel_count; a++)
        if (item->map[a] < 0 && item->definition->axes[a].extent != 1)
            return false;
    return true;
}

/* Ties a definition that nothing reads to what it reads. */
static void tie_forward(Rows *r, RowDefinition *item) {
    const Definition *d = item->definition;
    for (int k = 0; k < d->expr_count; k++) {
        const Expr *e = d->exprs[k];
        int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
        for (int i = 0; source >= 0 && i < e->index_count; i++) {
            const RowDefinition *from = &r->item[source];
            int mine = index_plain_axis(d, &e->index[i]), theirs = index_plain_axis(from->definition, &from->definition->left[i]);
            if (mine >= 0 && mine < d->parallel_count && theirs >= 0 && item->map[mine] < 0)
                item->map[mine] = from->map[theirs];
        }
    }
}

/* Ties a definition that has nothing to do with the others: any rows of the same extents will do. */
static void tie_by_extent(const Rows *r, RowDefinition *item) {
    const Definition *d = item->definition;
    bool used[NEST_MAX_AXES] = {false};
    for (int a = 0; a < d->parallel_count; a++)
        if (item->map[a] >= 0)
            used[item->map[a]] = true;
    for (int a = 0; a < d->parallel_count; a++)
        for (int x = 0; x < r->nest.axis_count && item->map[a] < 0 && d->axes[a].extent != 1; x++)
            if (!used[x] && !r->nest.axis[x].reduced && r->nest.axis[x].extent == d->axes[a].extent) {
                item->map[a] = x;
                used[x] = true;
            }
}

/* Summed axes are the columns, in order; those of one element may be left out on either side. */
static bool settle_summed(const Rows *r, RowDefinition *item, const int *columns, int column_count) {
    const Definition *own = item->definition, *d = main_of(r);
    int at = 0;
    for (int a = own->parallel_count; a < own->axis_count; a++) {
        int64_t extent = own->axes[a].extent;
        while (at < column_count && d->axes[columns[at]].extent == 1 && extent != 1)
            at++;
        if (at < column_count && d->axes[columns[at]].extent == extent)
            item->map[a] = columns[at++];
        else if (extent != 1)
            return false;
    }
    while (own->axis_count > own->parallel_count && at < column_count && d->axes[columns[at]].extent == 1)
        at++;
    return own->axis_count == own->parallel_count || at == column_count;
}

/* The axes of one definition, all of whose parallel axes are known; its sources follow. */
static bool settle(Rows *r, RowDefinition *item, const int *columns, int column_count, const char **why) {
    const Definition *own = item->definition, *d = main_of(r);
    if (!settle_summed(r, item, columns, column_count)) {
        *why = "a reduction over something else than the columns";
        return false;
    }
    for (int a = 0; a < own->parallel_count; a++) {
        if (item->map[a] < 0)
            continue;
        bool column = r->nest.axis[item->map[a]].reduced;
        if (own->axes[a].extent != d->axes[item->map[a]].extent) {
            *why = "a definition over other rows than the main one's";
            return false;
        }
        if (column && own->axes[a].extent != 1 && !unsummed(own, a)) {
            *why = "a reduction for every column";
            return false;
        }
        item->columnwise = item->columnwise || column;
    }
    for (int k = 0; k < own->expr_count; k++)
        if (own->exprs[k]->op == EXPR_READ && !tie(r, item, own->exprs[k], why))
            return false;
    return true;
}

static bool map_axes(Rows *r, const bool is_column[NEST_MAX_AXES], const char **why) {
    const Definition *d = main_of(r);
    bool settled[ROWS_MAX_DEFINITIONS] = {false};
    int columns[NEST_MAX_AXES] = {0}, column_count = 0, left = r->count;
    for (int a = 0; a < d->axis_count; a++) {
        r->item[r->main].map[a] = a;
        r->nest.axis[a] = (NestAxis){d->axes[a].extent, is_column[a]};
        if (is_column[a])
            columns[column_count++] = a;
    }
    r->nest.axis_count = column_count && columns[0] >= d->parallel_count ? d->axis_count : d->parallel_count;
    for (int a = 0; a < r->nest.axis_count; a++)
        r->nest.parallel_count += !is_column[a];
    for (bool moved = true, alone = false; (moved || !alone) && left;) {
        alone = !moved;
        moved = false;
        for (int i = r->count - 1; i >= 0; i--) {
            if (settled[i])
                continue;
            if (!known_axes(&r->item[i]))
                tie_forward(r, &r->item[i]);
            if (alone && !moved && !known_axes(&r->item[i]))
                tie_by_extent(r, &r->item[i]);
            if (!known_axes(&r->item[i]))
                continue;
            if (!settle(r, &r->item[i], columns, column_count, why))
                return false;
            settled[i] = moved = true;
            left--;
        }
    }
    if (left)
        *why = "a definition over other rows than the main one's";
    return !left;
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

/* An access of the table of numbers: offset + sum(coef[axis] * axis). -1: *why. */
static int add_numbers(Rows *r, const Expr *read, int64_t offset, const int64_t *coef, const char **why) {
    int64_t low = offset, high = offset;
    Access made = {.read = read, .tensor = ROWS_TABLE, .type = DT_S32, .offset = offset};
    for (int x = 0; x < r->nest.axis_count; x++) {
        int64_t reach = coef[x] * (r->nest.axis[x].extent - 1);
        *(reach < 0 ? &low : &high) += reach;
        made.stride[x] = r->nest.axis[x].extent == 1 ? 0 : coef[x];
    }
    if (r->nest.access_count == NEST_MAX_ACCESSES) {
        *why = "more reads than a template takes";
        return -1;
    }
    r->table_low = low < r->table_low ? low : r->table_low;
    r->table_high = high > r->table_high ? high : r->table_high;
    r->nest.access[r->nest.access_count] = made;
    return r->nest.access_count++;
}

static bool add_axis(Rows *r, const RowDefinition *item, const Expr *read, int axis, int *access, const char **why) {
    int64_t coef[NEST_MAX_AXES] = {0};
    if (item->map[axis] >= 0)
        coef[item->map[axis]] = 1;
    *access = add_numbers(r, read, 0, coef, why);
    return *access >= 0;
}

static bool add_read(Rows *r, const RowDefinition *item, const Expr *read, const char **why) {
    int at = r->nest.access_count;
    if (!nest_add(&r->nest, item->definition, item->map, read, why))
        return false;
    for (int g = 0; g < r->nest.access[at].guard_count; g++) {
        Guard guard = r->nest.access[at].guard[g];
        if ((r->guard[at][g] = add_numbers(r, NULL, guard.offset, guard.coef, why)) < 0)
            return false;
    }
    return true;
}

static bool add_operand(Rows *r, int index, const Expr *e, const char **why) {
    const RowDefinition *item = &r->item[index];
    int unused;
    if (e->op == EXPR_AXIS)
        return add_axis(r, item, e, e->axis, &unused, why);
    if (e->op == EXPR_REDUCE && (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN))
        return add_axis(r, item, NULL, e->axes[0], &r->argument_access[index], why);
    if (e->op != EXPR_READ)
        return true;
    if (rows_source(r, e->tensor) < 0)
        return add_read(r, item, e, why);
    return true;
}

/* The numbers themselves, once it is known which. */
static bool fill_table(Rows *r, Compiled *c, const char **why) {
    enum { MOST = 1 << 20 };
    bool any = false;
    for (int i = 0; i < r->nest.access_count; i++)
        if (r->nest.access[i].tensor == ROWS_TABLE) {
            r->nest.access[i].offset -= r->table_low;
            any = true;
        }
    if (!any)
        return true;
    if (r->table_high - r->table_low >= MOST) {
        *why = "axes too long to be numbers";
        return false;
    }
    int count = (int)(r->table_high - r->table_low) + 1;
    r->table = ARENA_ARRAY(&c->arena, int32_t, (size_t)count + VECTOR_MAX_BYTES / 4);
    for (int i = 0; r->table && i < count; i++)
        r->table[i] = (int32_t)(r->table_low + i);
    return r->table != NULL;
}

static bool add_accesses(Rows *r, const char **why) {
    for (int i = 0; i < r->count; i++) {
        RowDefinition *item = &r->item[i];
        const Definition *d = item->definition;
        if (!item->temporary) {
            if (!writes_once(r, item)) {
                *why = "an output of fewer rows than the others";
                return false;
            }
            item->write = r->nest.access_count;
            if (!nest_add(&r->nest, d, item->map, NULL, why))
                return false;
        }
        for (int k = 0; k < d->expr_count; k++)
            if (!add_operand(r, i, d->exprs[k], why))
                return false;
    }
    return true;
}

int64_t rows_lane_stride(const Rows *r, int access) {
    return r->lane_axis < 0 ? 0 : r->nest.access[access].stride[r->lane_axis];
}

int64_t rows_row_stride(const Rows *r, int access) {
    return r->row_axis < 0 ? 0 : r->nest.access[access].stride[r->row_axis];
}

int64_t rows_element_bytes(const Rows *r, int access) {
    return dtype_bits(r->nest.access[access].type) / 8;
}

bool rows_read_is_even(const Rows *r, const Expr *read) {
    int source = read->op == EXPR_READ ? rows_source(r, read->tensor) : -1;
    if (source >= 0)
        return !r->item[source].columnwise;
    int index = nest_find(&r->nest, read);
    const Access *access = &r->nest.access[index];
    for (int x = 0; x < r->nest.axis_count; x++) {
        bool moves = access->stride[x] != 0;
        for (int g = 0; g < access->guard_count; g++)
            moves = moves || r->nest.access[r->guard[index][g]].stride[x];
        if (r->nest.axis[x].reduced && moves)
            return false;
    }
    return true;
}

static void rows_print(const Compiled *c, Text *out) {
    const Rows *r = c->state;
    text_printf(out, "rows %lld x %lld of %lld columns: %d definitions in %d passes, lanes are %s of %lld, ",
                (long long)r->outer_total, (long long)r->rows, (long long)r->columns, r->count, r->pass_count,
                r->across ? "rows" : "columns", (long long)r->lane_extent);
    for (int f = 0; f < r->function_count; f++)
        text_printf(out, "%s%d", f ? " and " : "", r->function[f].copies);
    text_put(out, " at once, ");
    if (!r->across && r->function[r->function_count - 1].stages > 1)
        text_put(out, "passes side by side, ");
    text_put(out, "steps a round:");
    for (int pass = 0; pass < r->pass_count; pass++)
        text_printf(out, " %d", r->steps[pass]);
    text_printf(out, ", %d rows of scratch\n", r->scratch_count);
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

bool rows_recognize(Rows *r, const Kernel *kernel, const char **why) {
    bool is_column[NEST_MAX_AXES];
    r->nest.kernel = kernel;
    if (!collect(r, kernel, why))
        return false;
    r->main = find_main(r);
    split_axes(r, is_column);
    return map_axes(r, is_column, why) && add_accesses(r, why);
}

/* Accesses of a tensor that differ in a constant alone (the gates of an LSTM, halves of a row) take one register between them. */
static void find_leaders(Rows *r) {
    for (int i = 0; i < r->nest.access_count; i++) {
        const Access *x = &r->nest.access[i], *y = r->nest.access;
        while (y->tensor != x->tensor || memcmp(y->stride, x->stride, sizeof x->stride) != 0)
            y++;
        r->leader[i] = (int)(y - r->nest.access);
    }
}

bool rows_prepare(Rows *r, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    if (!fill_table(r, c, why)) {
        if (!*why)
            error_memory(err);
        return false;
    }
    find_leaders(r);
    return rows_plan(r, c, options, why);
}

bool rows_make(Rows *r, Compiled *c, const char **why, whet_error *err) {
    for (int f = 0; f < r->function_count; f++) {
        bool found = c->recall && recall_part(c, &r->function[f], sizeof r->function[f]);
        if (!found && !(c->functions[c->function_count++] = rows_emit(r, f, c, why, err)))
            return false;
    }
    return true;
}

/* Along columns, and from row to row. */
static void put_access(const Rows *r, int access, Compiled *c) {
    const Access *a = &r->nest.access[access];
    const int64_t of[] = {
        a->source, a->tensor, a->type, a->offset, r->leader[access], a->guard_count, rows_row_stride(r, access)};
    recall_put(c, of, sizeof of);
    recall_put(c, &a->outside, sizeof a->outside);
    recall_put_expr(c, a->read);
    for (int k = 0; k < r->column_count; k++)
        recall_put_number(c, a->stride[r->column[k]]);
    for (int g = 0; g < a->guard_count; g++) {
        recall_put_number(c, r->guard[access][g]);
        recall_put_number(c, a->guard[g].extent);
    }
}

/* All that functions are made of but how many rows each takes: neither how many there are nor where those of other axes lie. */
bool rows_put_plan(const Rows *r, Compiled *c) {
    if (r->across || r->table) {
        c->recall = NULL;
        return false;
    }
    for (int i = 0; i < r->nest.access_count; i++)
        put_access(r, i, c);
    for (int i = 0; i < r->count; i++) {
        RECALL_PUT_FIELDS(c, &r->item[i], map, kept);
        recall_put_number(c, r->item[i].kept);
    }
    RECALL_PUT_FIELDS(c, r, count, moment);
    for (int m = 0; m < r->moment_count; m++) {
        const RowMoments *moment = &r->moment[m];
        recall_put_expr(c, moment->sum);
        recall_put_expr(c, moment->squares);
        recall_put_expr(c, moment->value);
        recall_put_number(c, moment->item);
        recall_put(c, &moment->factor, sizeof moment->factor);
    }
    RECALL_PUT_FIELDS(c, r, moment_count, row_axis);
    recall_put_number(c, r->row_axis >= 0);
    for (int k = 0; k < r->column_count; k++)
        recall_put_number(c, r->counted ? r->counted : r->nest.axis[r->column[k]].extent);
    const int64_t of[] = {r->column_count, r->lone ? 0 : r->columns, r->lone ? 0 : r->lane_extent, r->target.bytes};
    recall_put(c, of, sizeof of);
    RECALL_PUT_FIELDS(c, r, steps, target);
    RECALL_PUT_FIELDS(c, r, lanes, guard);
    recall_put_number(c, r->fold_scratch);
    return true;
}

bool schedule_rows(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Rows *r = NEST_PLAN(&c->arena, Rows);
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, ROWS_MAX_FUNCTIONS);
    if (!r || !c->functions)
        return error_memory(err), false;
    r->known = options->constant;
    if (!rows_recognize(r, c->kernel, why))
        return false;
    if (!fill_whole(r)) {
        *why = "an output that is written in parts";
        return false;
    }
    nest_simplify(&r->nest);
    if (!rows_prepare(r, c, options, why, err))
        return false;
    if (recall_begin(c, options, "rows"))
        rows_put_plan(r, c);
    if (!rows_make(r, c, why, err))
        return false;
    c->template = "rows";
    c->knobs.unroll = options->unroll;
    c->state = r;
    c->run = rows_run;
    c->print = rows_print;
    c->print_c = r->table ? NULL : rows_print_c;
    return true;
}
