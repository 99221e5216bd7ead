/* Decides how a row kernel is walked: which definitions share a pass over the columns, what lanes are, how many rows at once.
 *
 * A pass reads every column once. A definition of one value a row is known before the first pass that does not feed it; a
 * columnwise one belongs to the first pass before which all its row values are known. What a later pass reads again is computed
 * again where that is cheap (`x - mean`), and kept in a row of scratch where it is not (`exp(x - top)`). */
#include "schedule/rows.h"

#include <string.h>

/* ---- passes ---- */

static int later(int a, int b) {
    return a > b ? a : b;
}

int rows_pass_of(const Rows *r, const Expr *e) {
    int pass = 0;
    if (e->op == EXPR_READ) {
        int source = rows_source(r, e->tensor);
        return source < 0 ? 0 : r->item[source].pass;
    }
    if (e->op == EXPR_REDUCE)
        return rows_pass_of(r, rows_reduced(r, e)) + 1;
    for (int i = 0; i < 3; i++)
        if (e->arg[i])
            pass = later(pass, rows_pass_of(r, e->arg[i]));
    return pass;
}

/* Loads and operations of a definition without reductions, for one column. */
static int work_of(const Rows *r, const Definition *d) {
    int work = 0;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
        if (source >= 0 && r->item[source].columnwise)
            work += 10; /* would itself be computed again */
        else if (e->op == EXPR_READ)
            work += !rows_read_is_even(r, e);
        else if (e->op == EXPR_ADD || e->op == EXPR_SUB || e->op == EXPR_MUL || e->op == EXPR_ABS || e->op == EXPR_NEG ||
                 e->op == EXPR_MIN || e->op == EXPR_MAX)
            work++;
        else if (e->op != EXPR_NUMBER && e->op != EXPR_AXIS)
            work += 10;
    }
    return work;
}

/* Whether a pass behind its own reads a columnwise definition. */
static bool read_later(const Rows *r, int source) {
    for (int i = 0; i < r->count; i++) {
        const Definition *d = r->item[i].definition;
        for (int k = 0; k < d->expr_count; k++) {
            const Expr *e = d->exprs[k];
            int pass = e->op == EXPR_REDUCE ? rows_pass_of(r, e) - 1 : r->item[i].pass;
            bool root = e->op == EXPR_REDUCE || e == d->value;
            if (!root || pass <= r->item[source].pass)
                continue;
            for (int j = 0; j < d->expr_count; j++)
                if (d->exprs[j]->op == EXPR_READ && rows_source(r, d->exprs[j]->tensor) == source)
                    return true;
        }
    }
    return false;
}

static void plan_passes(Rows *r) {
    enum { CHEAP = 4 };
    for (int i = 0; i < r->count; i++) {
        r->item[i].pass = rows_pass_of(r, r->item[i].definition->value);
        r->pass_count = later(r->pass_count, r->item[i].pass + r->item[i].columnwise);
    }
    for (int i = 0; i < r->count; i++) {
        RowDefinition *item = &r->item[i];
        if (!item->columnwise || !read_later(r, i))
            continue;
        item->again = !rows_reduces(item->definition) && work_of(r, item->definition) <= CHEAP;
        item->kept = !item->again && item->write < 0;
    }
}

/* ---- axes ---- */

/* Accesses that are not contiguous along an axis, nor stand still: reads can be gathered, writes not. */
static int gathers_along(const Nest *nest, int axis, bool *writes) {
    int count = 0;
    for (int i = 0; i < nest->access_count; i++)
        if (nest->access[i].stride[axis] != 0 && nest->access[i].stride[axis] != 1) {
            count++;
            *writes = *writes && (nest->access[i].read || nest->access[i].tensor == ROWS_TABLE);
        }
    return count;
}

/* The longest axis of columns (or of rows) along which the fewest accesses are gathered; -1: none. */
static int lane_candidate(const Nest *nest, bool columns, int *gathers) {
    int best = -1;
    *gathers = 0;
    for (int x = 0; x < nest->axis_count; x++) {
        bool fits = true;
        int count = gathers_along(nest, x, &fits);
        if (nest->axis[x].reduced != columns || !fits)
            continue;
        if (best < 0 || count < *gathers || (count == *gathers && nest->axis[x].extent >= nest->axis[best].extent)) {
            best = x;
            *gathers = count;
        }
    }
    return best;
}

static bool is_place(const Expr *e) {
    return e->op == EXPR_REDUCE && (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN);
}

/* Of 64 bits there is what is known to fit 32, one a row. */
static bool type_served(const Rows *r, int access) {
    DType type = r->nest.access[access].type;
    if (type == DT_S64)
        for (int i = 0; i < r->count; i++)
            if (r->item[i].write == access)
                return !r->item[i].columnwise;
    return dtype_bits(type) >= 8 && dtype_bits(type) <= 32 && dtype_kind(type) != KIND_NONE;
}

static bool check_types(const Rows *r, const char **why) {
    for (int i = 0; i < r->nest.access_count; i++)
        if (!type_served(r, i))
            *why = dtype_bits(r->nest.access[i].type) > 32 ? "an element type of 64 bits" : "an element type of less than 8 bits";
    for (int i = 0; i < r->count; i++)
        if (r->nest.kernel->tensors[r->item[i].definition->tensor].type != r->item[i].definition->value->type)
            *why = "a definition of another type than its value";
    return *why == NULL;
}

/* Whether a value is computed with a quotient; `left` limits the walk, and what lies beyond may be one. */
static bool holds_quotient(const Rows *r, const Expr *e, int *left) {
    if ((*left)-- <= 0 || e->op == EXPR_DIV)
        return true;
    int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
    if (source >= 0)
        return holds_quotient(r, r->item[source].definition->value, left);
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && holds_quotient(r, e->arg[i], left))
            return true;
    return false;
}

static bool rounds(const Expr *e) {
    bool cast = e->op == EXPR_CAST && dtype_kind(e->arg[0]->type) == KIND_FLOAT && dtype_kind(e->type) != KIND_FLOAT;
    return cast || is_place(e) || (e->op >= EXPR_EQ && e->op <= EXPR_GE) || (e->op >= EXPR_FLOOR && e->op <= EXPR_ROUND);
}

/* Whether a quotient becomes a whole number or is compared: then its last bit may decide. */
static bool find_exact(const Rows *r) {
    enum { MOST_NODES = 200 };
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            int left = MOST_NODES;
            for (int n = 0; n < 3 && rounds(e); n++)
                if (e->arg[n] && holds_quotient(r, e->arg[n], &left))
                    return true;
        }
    return false;
}

static bool choose_lanes(Rows *r, const char **why) {
    const Nest *nest = &r->nest;
    int gathers, others, along = lane_candidate(nest, true, &gathers), across = lane_candidate(nest, false, &others);
    bool columns = false;
    for (int x = 0; x < nest->axis_count; x++)
        columns = columns || nest->axis[x].reduced;
    if (along < 0 && across < 0 && columns) {
        *why = "an output that is contiguous along neither rows nor columns";
        return false;
    }
    if (r->fixed && along < 0) {
        *why = "rows that are not contiguous";
        return false;
    }
    r->across = !r->fixed && across >= 0 && (along < 0 || others < gathers);
    if (!r->fixed && along >= 0 && across >= 0 && gathers == others && nest->axis[along].extent < r->lanes / 2)
        r->across = nest->axis[across].extent > nest->axis[along].extent;
    r->lane_axis = r->across ? across : along;
    return true;
}

/* What reduces a whole tensor, in any order: a new length of that finds its code. `options->whole`: C text, whose driver knows no
 * counts. */
static bool is_lone(const Rows *r, const ScheduleOptions *options) {
    enum { LEAST_COLUMNS = 1024 };
    if (r->fixed || r->across || r->lane_axis < 0 || r->rows * r->outer_total != 1 || r->column_count != 1 || r->table ||
        r->columns < LEAST_COLUMNS || options->whole || options->spare_registers) /* counts want registers */
        return false;
    for (int i = 0; i < r->count; i++) {
        const Definition *d = r->item[i].definition;
        for (int k = 0; k < d->expr_count; k++) {
            const Expr *e = d->exprs[k];
            bool any_order = e->reduce == REDUCE_MAX || e->reduce == REDUCE_MIN;
            if (e->op == EXPR_REDUCE && (!any_order || d->parallel_count))
                return false;
        }
    }
    return true;
}

static bool choose_axes(Rows *r, const ScheduleOptions *options, const char **why) {
    const Nest *nest = &r->nest;
    if (!choose_lanes(r, why))
        return false;
    r->row_axis = r->fixed ? r->row_axis : -1;
    r->rows = r->columns = r->outer_total = 1;
    for (int x = 0; x < nest->axis_count; x++) {
        if (nest->axis[x].reduced)
            r->columns *= nest->axis[x].extent;
        if (nest->axis[x].reduced && x != r->lane_axis)
            r->column[r->column_count++] = x;
        if (!r->fixed && !nest->axis[x].reduced && x != r->lane_axis &&
            (r->row_axis < 0 || nest->axis[x].extent > nest->axis[r->row_axis].extent))
            r->row_axis = x;
    }
    if (!r->across && r->lane_axis >= 0)
        r->column[r->column_count++] = r->lane_axis;
    r->lane_extent = r->lane_axis < 0 ? 1 : nest->axis[r->lane_axis].extent;
    if (r->counted)
        r->columns = r->lane_extent = r->counted;
    r->rows = r->row_axis < 0 ? 1 : nest->axis[r->row_axis].extent;
    for (int x = 0; x < nest->axis_count; x++)
        if (!nest->axis[x].reduced && x != r->row_axis && x != r->lane_axis) {
            r->outer[r->outer_count++] = x;
            r->outer_total *= nest->axis[x].extent;
        }
    r->lone = is_lone(r, options);
    r->counted = r->lone ? INT64_MAX : r->counted;
    return true;
}

/* ---- what is kept for later passes ---- */

static bool reads_item(const Definition *d, int tensor) {
    for (int k = 0; k < d->expr_count; k++)
        if (d->exprs[k]->op == EXPR_READ && d->exprs[k]->tensor == tensor)
            return true;
    return false;
}

/* The definition that alone reads `source` in later passes, and not in order to reduce it; -1: there is none. */
static int only_reader(const Rows *r, int source) {
    int reader = -1;
    for (int i = 0; i < r->count; i++) {
        const Definition *d = r->item[i].definition;
        if (!reads_item(d, r->item[source].definition->tensor))
            continue;
        for (int k = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_REDUCE && rows_pass_of(r, d->exprs[k]) - 1 > r->item[source].pass)
                return -1;
        if (!r->item[i].columnwise || r->item[i].pass == r->item[source].pass)
            continue;
        if (reader >= 0)
            return -1;
        reader = i;
    }
    return reader;
}

/* The output that the only reader will write, where nothing else lies in it and rows begin at whole lines: these then come from
 * the second cache while functions are computed. -1: none. */
static int idle_output(const Rows *r, int source) {
    int reader = only_reader(r, source), access = reader < 0 ? -1 : r->item[reader].write;
    if (r->across || r->fixed || access < 0 || r->item[reader].temporary)
        return -1;
    for (int i = 0; i < r->count; i++)
        if (i != reader && r->item[i].write == access)
            return -1;
    if (rows_row_stride(r, access) % r->lanes && !r->overlaps)
        return -1;
    bool same = r->nest.access[access].type == DT_F32 && r->item[source].definition->value->type == DT_F32;
    return same ? access : -1;
}

static void keep_for_later(Rows *r) {
    r->overlaps = rows_may_overlap(r);
    for (int i = 0; i < r->count; i++)
        r->overlaps = r->overlaps && (!r->item[i].kept || idle_output(r, i) >= 0);
    for (int i = 0; i < r->count; i++) {
        if (r->item[i].kept && (r->item[i].write = idle_output(r, i)) < 0)
            r->item[i].scratch = r->scratch_count++;
    }
}

/* ---- tiles ---- */

enum { HEAVY_STEPS = 1, PLAIN_STEPS = 2 };

static bool varies(const Rows *r, const Expr *e) {
    bool found = e->op == EXPR_READ && !rows_read_is_even(r, e);
    for (int i = 0; i < 3 && e->op != EXPR_READ && e->op != EXPR_REDUCE; i++)
        found = found || (e->arg[i] && varies(r, e->arg[i]));
    return found;
}

static bool is_heavy(const Rows *r) {
    for (int pass = 0; pass < r->pass_count; pass++)
        if (r->steps[pass] == HEAVY_STEPS)
            return true;
    return false;
}

/* Whether a pass has sums, whose chains are long and which several accumulators make more exact. */
static bool adds(const Rows *r, int pass) {
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            if (e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && rows_pass_of(r, e) - 1 == pass)
                return true;
        }
    return false;
}

/* Only passes that reduce need several steps a round; and those with functions in them are long: the CPU itself overlaps their
 * steps. */
static void set_steps(Rows *r, const ScheduleOptions *options, int steps) {
    int unroll = r->fixed ? 1 : options->unroll;
    for (int pass = 0; pass <= r->pass_count; pass++)
        r->steps[pass] = unroll ? unroll : (int)least(steps, PLAIN_STEPS);
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count && !unroll; k++)
            if (r->item[i].definition->exprs[k]->op == EXPR_REDUCE)
                r->steps[rows_pass_of(r, r->item[i].definition->exprs[k]) - 1] = steps;
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++)
            if (is_place(r->item[i].definition->exprs[k])) /* whose accumulators are not folded over steps */
                r->steps[rows_pass_of(r, r->item[i].definition->exprs[k]) - 1] = 1;
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            bool heavy = e->op >= EXPR_SQRT && e->op <= EXPR_ERF && varies(r, e);
            if (heavy)
                r->heavy[rows_pass_of(r, e)] = true;
            if (heavy && !unroll)
                r->steps[rows_pass_of(r, e)] = (int)least(steps, HEAVY_STEPS);
        }
    for (int pass = 0; pass < r->pass_count && r->overlaps && is_heavy(r) && !unroll; pass++)
        if (!adds(r, pass)) /* beside a pass with functions: as many steps as that */
            r->steps[pass] = (int)least(steps, HEAVY_STEPS);
}

/* Rows that are reduced in one pass without functions, and do not begin at whole lines: most whole registers would be read from
 * two lines each, and of half as long ones half. */
static bool is_read_across_lines(const Rows *r) {
    bool across = false;
    for (int i = 0; i < r->nest.access_count; i++)
        across =
            across || (rows_lane_stride(r, i) == 1 && rows_row_stride(r, i) * rows_element_bytes(r, i) % (4 * r->lanes) != 0);
    for (int i = 0; i < r->count; i++) {
        across = across && !r->item[i].columnwise;
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            across = across && !is_place(e) && !(e->op >= EXPR_SQRT && e->op <= EXPR_ERF && varies(r, e));
        }
    }
    return across && r->pass_count == 1 && !r->across && !r->fixed && !r->counted;
}

/* Rows that lie at a power of two meet in the same few lines of L1. */
static bool is_crowded(const Rows *r) {
    enum { WAY_BYTES = 4096 };
    return r->columns * 4 % (WAY_BYTES / 2) == 0;
}

/* Rows go several at once, so that the end of one does not wait for another, and what all rows read (a scale) is loaded once.
 * Two long rows with functions have always something to do. */
static int rows_at_once(const Rows *r, int64_t vectors, int steps) {
    enum { SHORT = 16 };
    bool crowded = is_crowded(r);
    int copies = r->columns != r->lane_extent ? 1 : vectors > 2 && (crowded || (vectors > SHORT && is_heavy(r))) ? 2 : 4;
    copies = r->counted ? 4 : copies;
    int sums = r->moment_count ? 2 : 1; /* of one pass */
    while (copies > 1 && (copies > r->rows || copies * steps * sums > r->target.registers[CLASS_VECTOR] / 2))
        copies /= 2;
    return r->shrunk ? 1 : copies;
}

/* Steps depend on the columns alone, or the bits of a row would depend on how many there are: code that does not fit gives up
 * many rows first, steps later. */
static void size_along(Rows *r, const ScheduleOptions *options) {
    enum { SHORT = 8 };
    int64_t vectors = (r->lane_extent + r->lanes - 1) / r->lanes;
    int steps = r->shrunk >= 3                                                                            ? 1
                : r->moment_count || r->shrunk >= 2 || (r->columns == r->lane_extent && vectors <= SHORT) ? 2
                                                                                                          : 4;
    set_steps(r, options, vectors > 1 ? steps : 1);
    RowsFunction many = {rows_at_once(r, vectors, steps), r->lanes, 1, 1};
    if (r->overlaps)
        many = rows_overlapped(r, is_heavy(r), many);
    bool plain = many.copies == 1 && many.stages == 1;
    if (plain || rows_leave_some(r, &many))
        r->function[r->function_count++] = (RowsFunction){1, r->lanes, 1, 1};
    if (!plain)
        r->function[r->function_count++] = many;
    r->scratch_floats = ((size_t)r->columns + 63) / 64 * 64 * (size_t)many.copies;
}

static void size_across(Rows *r, const ScheduleOptions *options) {
    enum { SCRATCH_FLOATS = 1 << 13 };
    int copies = r->shrunk >= 2 ? 1 : r->shrunk ? 2 : r->pass_count > 1 ? 4 : 8;
    while (r->scratch_count && copies > 1 && copies * r->lanes * r->columns * r->scratch_count > SCRATCH_FLOATS)
        copies /= 2;
    copies = (int)least(copies, (r->lane_extent + r->lanes - 1) / r->lanes);
    copies = copies ? copies : 1;
    int64_t width = (int64_t)copies * r->lanes, rest = r->lane_extent % width;
    r->whole = r->tail = -1;
    if (r->lane_extent >= width)
        r->function[r->whole = r->function_count++] = (RowsFunction){copies, r->lanes, 1, 1};
    if (rest || !r->lane_extent) {
        int vectors = (int)((rest + r->lanes - 1) / r->lanes);
        r->function[r->tail = r->function_count++] =
            (RowsFunction){vectors ? vectors : 1, (int)((rest + r->lanes - 1) % r->lanes + 1), 1, 1};
    }
    set_steps(r, options, r->shrunk ? 1 : 8 / copies);
    r->scratch_floats = (size_t)(r->columns * width);
}

/* Products are folded over lanes in memory: there is no operation for it. */
static bool folds_products(const Rows *r) {
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->item[i].definition->expr_count; k++) {
            const Expr *e = r->item[i].definition->exprs[k];
            if (e->op == EXPR_REDUCE && e->reduce == REDUCE_PROD && !r->across)
                return true;
        }
    return false;
}

/* How often code has not fitted: the door asks for more and more registers. */
static int shrunk(const Compiled *c, const ScheduleOptions *options) {
    int file = c->target.registers[CLASS_VECTOR], spare = options->spare_registers;
    return spare >= file / 2 ? 3 : spare >= file * 3 / 8 ? 2 : spare > 0;
}

int rows_round(const Rows *r) {
    int steps = 1;
    for (int pass = 0; pass < r->pass_count; pass++)
        steps = r->steps[pass] > steps ? r->steps[pass] : steps;
    return steps * r->lanes;
}

bool rows_plan(Rows *r, const Compiled *c, const ScheduleOptions *options, const char **why) {
    r->target = c->target;
    r->lanes = c->target.bytes / 4;
    r->shrunk = shrunk(c, options);
    r->spread_late = r->shrunk >= 3;
    if (!check_types(r, why))
        return false;
    r->exact = find_exact(r);
    if (!choose_axes(r, options, why))
        return false;
    rows_find_moments(r);
    plan_passes(r);
    Target half;
    if (c->target.halve && is_read_across_lines(r) && c->target.halve(&c->target, &half)) {
        r->target = half;
        r->lanes = half.bytes / 4;
    }
    keep_for_later(r);
    if (r->across)
        size_across(r, options);
    else
        size_along(r, options);
    r->fold_scratch = -1;
    if (folds_products(r)) {
        r->fold_scratch = r->scratch_count++;
        if (r->scratch_floats < 64)
            r->scratch_floats = 64;
    }
    return true;
}
