/* The vector code of attention: packing of the factors, tiles of the two products.
 *
 * A factor is any elementwise expression of inputs; packed it is f32, [rows][lanes] by whole vectors, zeros behind the last, or
 * (bf16 as it lies, where the machine multiplies pairs) two rows side by side in 32 bits each. What is contiguous along the other
 * axis is turned on its way, a square of lanes x lanes at a time. A tile of either product is tile_rows x tile_vectors
 * accumulators; of the left factor one element a row is spread over the lanes. */
#include "schedule/attend.h"

#include <assert.h>

enum { MAX_TILE_ROWS = 8, MAX_TILE_VECTORS = 4 };

typedef struct Emitting {
    const Attend *t;
    VectorFunction *f;
    Arena *arena;
    ExprEmitter e[ATTEND_MAX_DEFINITIONS];
    int pointer[NEST_MAX_ACCESSES], row_value[ATTEND_MAX_ROW_VALUES];
    int lane_axis, mask;
    int counter[NEST_MAX_AXES];    /* index values; -1: none */
    int64_t at[NEST_MAX_AXES];     /* and numbers, on top of them */
    int row;                       /* of a tile */
    int reciprocal[MAX_TILE_ROWS]; /* of the divisor of the result, by row; -1: not yet */
    int scale[MAX_TILE_ROWS];
    const char *refused;
} Emitting;

/* ---- reads ---- */

static VectorAddress place(const Emitting *p, int access) {
    const Access *a = &p->t->nest.access[access];
    int64_t bytes = dtype_bits(a->type) / 8;
    VectorAddress address = vector_at(p->pointer[access], 0);
    for (int x = 0; x < p->t->nest.axis_count; x++) {
        if (p->counter[x] >= 0)
            address = vector_plus(address, p->counter[x], bytes * a->stride[x]);
        address = vector_offset(address, bytes * a->stride[x] * p->at[x]);
    }
    return address;
}

static int load(const Emitting *p, int access) {
    const Access *a = &p->t->nest.access[access];
    int64_t stride = a->stride[p->lane_axis], bytes = dtype_bits(a->type) / 8;
    VectorFunction *f = p->f;
    if (stride == 0)
        return expr_splat(f, a->type, place(p, access));
    if (stride == 1)
        return expr_load(f, a->type, place(p, access), p->mask);
    bool bools = a->type == DT_BOOL;
    DType lanes = bools ? DT_S32 : expr_register(a->type), memory = bools ? DT_U8 : a->type == DT_U32 ? DT_S32 : a->type;
    int x = vector_gather(f, lanes, memory, place(p, access), (int)bytes, vector_iota(f, DT_S32, stride), p->mask);
    return bools ? vector_binary(f, VECTOR_NE, x, vector_const(f, DT_S32, 0)) : x;
}

static int row_value(const Emitting *p, int index) {
    return vector_splat(p->f, DT_F32, DT_F32,
                        vector_offset(p->t->query_axis < 0 || p->counter[p->t->query_axis] < 0
                                          ? vector_at(p->row_value[index], 0)
                                          : vector_plus(vector_at(p->row_value[index], 0), p->counter[p->t->query_axis], 4),
                                      4 * p->row));
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Emitting *p = e->context;
    int source = attend_source(p->t, read->tensor), access = nest_find(&p->t->nest, read);
    for (int i = 0; i < p->t->value_count; i++)
        if (!p->t->value[i].reduce && p->t->value[i].tensor == read->tensor)
            return row_value(p, i);
    if (access >= 0)
        return load(p, access);
    if (source < 0)
        return expr_refuse(e, "a read that attention does not know");
    int value = expr_emit(&p->e[source], p->t->definition[source].definition->value);
    if (p->e[source].refused)
        e->refused = p->e[source].refused;
    return value;
}

static void forget(Emitting *p) {
    for (int i = 0; i < ATTEND_MAX_DEFINITIONS && p->t->definition[i].definition; i++)
        expr_forget(&p->e[i]);
}

static int emit(Emitting *p, int definition, const Expr *expr) {
    int value = p->refused ? -1 : expr_emit(&p->e[definition], expr);
    if (p->e[definition].refused && !p->refused)
        p->refused = p->e[definition].refused;
    return value;
}

/* ---- one function ---- */

static int quotient(ExprEmitter *e, const Expr *expr);

static bool begin(Emitting *p, const Attend *t, Compiled *c, const char *name) {
    *p = (Emitting){.t = t, .arena = c->vectors, .lane_axis = t->width_axis, .mask = -1};
    p->f = schedule_function(p->arena, name, &c->target);
    if (!p->f)
        return false;
    for (int x = 0; x < NEST_MAX_AXES; x++)
        p->counter[x] = -1;
    for (int i = 0; i < ATTEND_MAX_DEFINITIONS && t->definition[i].definition; i++) {
        p->e[i] = (ExprEmitter){.f = p->f,
                                .definition = t->definition[i].definition,
                                .kernel = t->nest.kernel,
                                .constant = t->known,
                                .read = read_operand,
                                .special = quotient,
                                .context = p};
        if (!expr_start(&p->e[i], p->arena))
            return false;
    }
    for (int i = 0; i < t->nest.access_count; i++)
        p->pointer[i] = vector_parameter(p->f, CLASS_POINTER, arena_printf(p->arena, "%s%d", i == t->write ? "y" : "x", i));
    return true;
}

/* Puts the function behind the others; -1: refused, or err. */
static int finish(Emitting *p, Compiled *c, const char **why, whet_error *err) {
    if (p->refused) {
        *why = p->refused;
        return -1;
    }
    if (!vector_finish(p->f, err))
        return -1;
    c->functions[c->function_count] = p->f;
    return c->function_count++;
}

/* What a function has of its own, besides what all have (attend.c). True: it is there, behind the others. */
typedef enum Task { PACK_QUERY, PACK_KEY, PACK_VALUES, SCORES, VALUES } Task;

static bool is_there(Compiled *c, Task task, int64_t lanes_or_rows, int64_t vectors, int kind) {
    const int64_t own[] = {task, lanes_or_rows, vectors, kind};
    return c->recall && recall_part(c, own, sizeof own);
}

/* ---- packing ---- */

/* What a factor reads a few rows on: rows of heads that lie side by side are far apart, and no machine guesses the next. */
static void prefetch_rows(Emitting *p, const AttendFactor *f, int axis, int64_t rows, int64_t vectors) {
    for (int i = f->from; i < f->end; i++) {
        const Access *a = &p->t->nest.access[i];
        int64_t bytes = dtype_bits(a->type) / 8, line = 64 / bytes, lanes = vectors * p->t->lanes;
        if (axis < 0 || a->stride[p->lane_axis] != 1 || a->stride[axis] * bytes < 64)
            continue;
        for (int64_t at = 0; at < lanes; at += line)
            vector_prefetch(p->f, vector_offset(place(p, i), (rows * a->stride[axis] + at) * bytes));
    }
}

/* Two rows side by side. */
static int load_pair(Emitting *p, const AttendFactor *f) {
    int low = vector_load(p->f, DT_S32, DT_U16, place(p, f->from), p->mask);
    p->at[f->rows]++;
    int high = vector_load(p->f, DT_S32, DT_U16, place(p, f->from), p->mask);
    p->at[f->rows]--;
    high = vector_immediate(p->f, VECTOR_SHL, high, 16);
    return vector_convert(p->f, VECTOR_BITS, DT_F32, vector_binary(p->f, VECTOR_OR, low, high));
}

/* Parameters: where to, the number of rows, even where they are paired. Some vectors of lanes, `lanes` in all, row by row, at a
 * pitch. */
static void pack_straight(Emitting *p, const AttendFactor *f, int to, int rows, int64_t pitch, int64_t lanes) {
    enum { ROWS_AHEAD = 12 };
    p->lane_axis = f->lanes;
    int row = vector_loop(p->f, rows, 0, f->group, NULL, NULL, 0);
    if (f->rows >= 0)
        p->counter[f->rows] = row;
    prefetch_rows(p, f, f->rows, ROWS_AHEAD, (lanes + p->t->lanes - 1) / p->t->lanes);
    for (int64_t at = 0; at < lanes; at += p->t->lanes) {
        p->at[f->lanes] = at;
        p->mask = lanes - at < p->t->lanes ? vector_mask_first(p->f, DT_F32, (int)(lanes - at)) : -1;
        forget(p);
        int x = f->group > 1 ? load_pair(p, f) : emit(p, f->definition, f->expr);
        if (p->refused)
            return;
        if (p->mask >= 0) /* what an expression makes of lanes that were not read */
            x = vector_ternary(p->f, VECTOR_SELECT, p->mask, x, vector_const(p->f, DT_F32, 0));
        vector_store(p->f, DT_F32, x, vector_plus(vector_at(to, 4 * at), row, 4 * pitch / f->group), -1);
    }
    p->at[f->lanes] = 0;
    vector_end(p->f, NULL, NULL);
}

/* A square: vectors along the rows' axis (of pairs, where rows are paired), one a lane, turned and stored. */
static void pack_square(Emitting *p, const AttendFactor *f, VectorAddress to, int64_t pitch, int lanes, int rows) {
    int x[VECTOR_MAX_BYTES / 4];
    p->lane_axis = f->rows;
    p->mask = rows < p->t->lanes ? vector_mask_first(p->f, DT_F32, rows) : -1;
    for (int i = 0; i < p->t->lanes; i++) {
        p->at[f->lanes] = i;
        forget(p);
        if (i < lanes)
            prefetch_rows(p, f, f->lanes, p->t->lanes, 1);
        x[i] = i >= lanes     ? vector_const(p->f, DT_F32, 0)
               : f->group > 1 ? vector_load(p->f, DT_F32, DT_F32, place(p, f->from), p->mask)
                              : emit(p, f->definition, f->expr);
    }
    p->at[f->lanes] = 0;
    if (p->refused)
        return;
    vector_transpose(p->f, x);
    for (int i = 0; i < rows; i++)
        vector_store(p->f, DT_F32, x[i], vector_offset(to, 4 * pitch * i), -1);
}

static void pack_turned(Emitting *p, const AttendFactor *f, int to, int64_t pitch, int lanes) {
    int64_t rows = p->t->nest.axis[f->rows].extent / f->group, whole = rows / p->t->lanes * p->t->lanes;
    if (whole) {
        p->counter[f->rows] = vector_loop(p->f, -1, whole * f->group, p->t->lanes * f->group, NULL, NULL, 0);
        pack_square(p, f, vector_plus(vector_at(to, 0), p->counter[f->rows], 4 * pitch / f->group), pitch, lanes, p->t->lanes);
        vector_end(p->f, NULL, NULL);
        p->counter[f->rows] = -1;
    }
    p->at[f->rows] = whole * f->group;
    if (rows > whole)
        pack_square(p, f, vector_at(to, 4 * pitch * whole), pitch, lanes, (int)(rows - whole));
    p->at[f->rows] = 0;
}

static int pack_function(const Attend *t, const AttendFactor *f, int64_t pitch, int64_t lanes, Compiled *c, const char **why,
                         whet_error *err) {
    Task task = f == &t->query ? PACK_QUERY : f == &t->key ? PACK_KEY : PACK_VALUES;
    if (is_there(c, task, lanes, 0, 0))
        return c->function_count - 1;
    static const char *const names[] = {[PACK_QUERY] = "query", [PACK_KEY] = "key", [PACK_VALUES] = "value"};
    Emitting *p = ARENA_NEW(c->vectors, Emitting);
    if (!p || !begin(p, t, c, names[task])) {
        error_memory(err);
        return -1;
    }
    int to = vector_parameter(p->f, CLASS_POINTER, "to"), rows = vector_parameter(p->f, CLASS_INDEX, "rows");
    if (f->turned)
        pack_turned(p, f, to, pitch, (int)lanes);
    else
        pack_straight(p, f, to, rows, pitch, lanes);
    return finish(p, c, why, err);
}

static bool pack_functions(const Attend *t, AttendFactor *f, int64_t pitch, Compiled *c, const char **why, whet_error *err) {
    enum { MOST = 8 };
    int64_t extent = t->nest.axis[f->lanes].extent;
    f->together = f->turned ? 1 : least(MOST, pitch / t->lanes);
    if (f == &t->key)
        f->together = 1;
    int64_t lanes = f->together * t->lanes, rest = extent % lanes;
    if (extent >= lanes && (f->whole = pack_function(t, f, pitch, lanes, c, why, err)) < 0)
        return false;
    return !rest || (f->part = pack_function(t, f, pitch, rest, c, why, err)) >= 0;
}

/* ---- tiles ---- */

/* A factor, with the bytes from row to row (of the left one) and from step to step. */
typedef struct Factor {
    VectorAddress at;
    int64_t row, step;
} Factor;

/* How many steps there are: an index value, or (-1) a number. */
typedef struct Steps {
    int limit;
    int64_t count;
} Steps;

/* sums[i][j] += a[i] * b[j] over all steps, elements of `type` or (DOT2) pairs of bf16 at once. */
static void multiply(const Emitting *p, VectorCode code, DType type, Factor a, Factor b, Steps steps, int rows, int vectors,
                     int *sums) {
    VectorFunction *f = p->f;
    int inside[MAX_TILE_ROWS * MAX_TILE_VECTORS], column[MAX_TILE_VECTORS];
    int step = vector_loop(f, steps.limit, steps.count, 1, sums, inside, rows * vectors);
    a.at = vector_plus(a.at, step, a.step);
    b.at = vector_plus(b.at, step, b.step);
    for (int j = 0; j < vectors; j++)
        column[j] = vector_load(f, DT_F32, DT_F32, vector_offset(b.at, (int64_t)f->bytes * j), -1);
    for (int i = 0; i < rows; i++) {
        int x = expr_splat(f, type, vector_offset(a.at, a.row * i));
        for (int j = 0; j < vectors; j++)
            inside[i * vectors + j] = vector_ternary(f, code, x, column[j], inside[i * vectors + j]);
    }
    vector_end(f, inside, sums);
}

/* Some rows of the next head: `rows`, 0 or ATTEND_ROWS_AHEAD, of each tile's own. */
static void fetch_ahead(const Emitting *p, int ahead, int rows, int tile) {
    enum { LINE = 64 };
    int64_t step = p->t->ahead_step;
    int row = vector_loop(p->f, rows, 0, 1, NULL, NULL, 0);
    VectorAddress at = vector_plus(vector_plus(vector_at(ahead, 0), tile, ATTEND_ROWS_AHEAD * step), row, step);
    for (int i = 0; i < p->t->ahead_lines; i++)
        vector_prefetch_l2(p->f, vector_offset(at, i * LINE));
    vector_end(p->f, NULL, NULL);
}

/* Parameters: the query, a panel of keys, scores, what to fetch and how much of it, tiles. */
static int scores_function(const Attend *t, int rows, int vectors, Compiled *c, const char **why, whet_error *err) {
    if (is_there(c, SCORES, rows, vectors, 0))
        return c->function_count - 1;
    Emitting *p = ARENA_NEW(c->vectors, Emitting);
    if (!p || !begin(p, t, c, "scores")) {
        error_memory(err);
        return -1;
    }
    VectorFunction *f = p->f;
    int sums[MAX_TILE_ROWS * MAX_TILE_VECTORS];
    int a = vector_parameter(f, CLASS_POINTER, "query"), b = vector_parameter(f, CLASS_POINTER, "key"),
        s = vector_parameter(f, CLASS_POINTER, "scores"), ahead = vector_parameter(f, CLASS_POINTER, "ahead"),
        rows_ahead = vector_parameter(f, CLASS_INDEX, "rows_ahead"), count = vector_parameter(f, CLASS_INDEX, "tiles");
    int64_t depth = (t->depth + t->lanes - 1) / t->lanes * t->lanes, row = depth, step = 1;
    if (t->query.access >= 0) {
        row = t->query_axis < 0 ? 0 : t->nest.access[0].stride[t->query_axis];
        step = t->nest.access[0].stride[t->depth_axis];
    }
    int group = t->query.group;
    int64_t bytes = 4 / group; /* of an element */
    int tile = vector_loop(f, count, 0, 1, NULL, NULL, 0);
    Factor query = {vector_plus(vector_at(a, 0), tile, bytes * row * rows), bytes * row, bytes * step * group};
    Factor key = {vector_at(b, 0), 0, (int64_t)f->bytes * t->tile_vectors};
    if (t->ahead_step)
        fetch_ahead(p, ahead, rows_ahead, tile);
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = vector_const(f, DT_F32, 0);
    multiply(p, group > 1 ? VECTOR_DOT2 : VECTOR_FMA, DT_F32, query, key, (Steps){-1, t->depth / group}, rows, vectors, sums);
    VectorAddress to = vector_plus(vector_at(s, 0), tile, 4 * t->pitch * rows);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            vector_store(f, DT_F32, sums[i * vectors + j], vector_offset(to, 4 * t->pitch * i + (int64_t)f->bytes * j), -1);
    vector_end(f, NULL, NULL);
    return finish(p, c, why, err);
}

/* ---- the result ---- */

/* Is an expression the same for the whole width? */
static bool even(const Attend *t, const Expr *e) {
    if (e == t->mix)
        return false;
    int access = nest_find(&t->nest, e);
    if (e->op == EXPR_READ)
        return access < 0 || t->nest.access[access].stride[t->width_axis] == 0;
    for (int i = 0; i < 3 && e->op != EXPR_REDUCE; i++)
        if (e->arg[i] && !even(t, e->arg[i]))
            return false;
    return e->op != EXPR_AXIS;
}

/* x / y by what is known of the row's y. */
static int times_reciprocal(const Emitting *p, int x) {
    return vector_binary(p->f, VECTOR_MUL, vector_binary(p->f, VECTOR_MUL, x, p->scale[p->row]), p->reciprocal[p->row]);
}

/* x / y with a y of the row: a product with its reciprocal, 1.5 ULP; in two factors, so that it neither overflows nor vanishes.
 */
static int quotient(ExprEmitter *e, const Expr *expr) {
    Emitting *p = e->context;
    const Attend *t = p->t;
    VectorFunction *f = p->f;
    if (expr->op != EXPR_DIV || expr->type != DT_F32 || p->lane_axis != t->width_axis || e != &p->e[t->result] || !t->divides ||
        expr->arg[0] != t->mix || t->divided >= 0 || !even(t, expr->arg[1]))
        return -1;
    int x = expr_emit(e, expr->arg[0]);
    if (e->refused)
        return -1;
    if (p->reciprocal[p->row] < 0) {
        int y = expr_emit(e, expr->arg[1]);
        if (e->refused)
            return -1;
        rows_reciprocal(f, y, &p->reciprocal[p->row], &p->scale[p->row]);
    }
    return times_reciprocal(p, x);
}

/* A sum without the division of its weights: by a product with the reciprocal of the divisor, where that may be. */
static int divide(Emitting *p, int sum) {
    const Attend *t = p->t;
    if (t->divided < 0)
        return sum;
    if (p->reciprocal[p->row] < 0) {
        int divisor = emit(p, t->divided, t->definition[t->divided].definition->value->arg[1]);
        if (p->refused)
            return -1;
        if (t->divides)
            rows_reciprocal(p->f, divisor, &p->reciprocal[p->row], &p->scale[p->row]);
        else
            p->reciprocal[p->row] = divisor;
    }
    if (!t->divides)
        return vector_binary(p->f, VECTOR_DIV, sum, p->reciprocal[p->row]);
    return times_reciprocal(p, sum);
}

static void store_result(Emitting *p, int sum, int row, int vector, int last_lanes, bool last) {
    const Attend *t = p->t;
    p->row = row;
    p->at[t->width_axis] = (int64_t)vector * t->lanes;
    if (t->query_axis >= 0)
        p->at[t->query_axis] = row;
    p->mask = last && last_lanes < t->lanes ? vector_mask_first(p->f, DT_F32, last_lanes) : -1;
    ExprEmitter *e = &p->e[t->result];
    forget(p);
    sum = divide(p, sum);
    if (p->refused)
        return;
    expr_know(e, t->mix, sum);
    for (int i = 0; i < t->value_count; i++)
        if (t->value[i].reduce)
            expr_know(e, t->value[i].reduce, row_value(p, i));
    const Expr *value = t->definition[t->result].definition->value;
    int x = p->refused ? -1 : expr_emit_to_store(e, value);
    if (e->refused && !p->refused)
        p->refused = e->refused;
    if (!p->refused)
        expr_store(p->f, t->nest.access[t->write].type, x, place(p, t->write), p->mask);
}

/* What the sums of a tile are so far: those of earlier keys, for the maximum there is now. */
static void start_sums(const Emitting *p, VectorAddress so_far, int factor, int tile, int rows, int vectors, int *sums) {
    VectorFunction *f = p->f;
    for (int i = 0; i < rows; i++) {
        int shrink = factor < 0 ? -1 : vector_splat(f, DT_F32, DT_F32, vector_plus(vector_at(factor, 4 * i), tile, 4));
        for (int j = 0; j < vectors; j++) {
            VectorAddress at = vector_offset(so_far, 4 * p->t->value_pitch * i + (int64_t)f->bytes * j);
            sums[i * vectors + j] = factor < 0 ? vector_const(f, DT_F32, 0)
                                               : vector_binary(f, VECTOR_MUL, vector_load(f, DT_F32, DT_F32, at, -1), shrink);
        }
    }
}

static void end_sums(Emitting *p, VectorAddress so_far, int rows, int vectors, bool last_panel, bool end, const int *sums) {
    const Attend *t = p->t;
    int last_lanes = (int)((t->width - 1) % t->lanes + 1);
    for (int i = 0; i < rows; i++) {
        p->reciprocal[i] = -1;
        for (int j = 0; j < vectors; j++)
            if (end)
                store_result(p, sums[i * vectors + j], i, j, last_lanes, last_panel && j == vectors - 1);
            else
                vector_store(p->f, DT_F32, sums[i * vectors + j],
                             vector_offset(so_far, 4 * t->value_pitch * i + (int64_t)p->f->bytes * j), -1);
    }
}

/* A tile of one of the ATTEND kinds. */
typedef struct ValuesTile {
    int rows, vectors, kind;
    bool last; /* of the width */
} ValuesTile;

/* Parameters: weights, packed values, sums so far and what they shrink by, values of rows, keys, rows. */
static int values_function(const Attend *t, ValuesTile v, Compiled *c, const char **why, whet_error *err) {
    if (is_there(c, VALUES, v.rows, v.vectors, 2 * v.kind + v.last))
        return c->function_count - 1;
    Emitting *p = ARENA_NEW(c->vectors, Emitting);
    if (!p || !begin(p, t, c, "values")) {
        error_memory(err);
        return -1;
    }
    VectorFunction *f = p->f;
    int sums[MAX_TILE_ROWS * MAX_TILE_VECTORS];
    int a = vector_parameter(f, CLASS_POINTER, "weights"), b = vector_parameter(f, CLASS_POINTER, "values");
    int so_far = vector_parameter(f, CLASS_POINTER, "sums"), factor = vector_parameter(f, CLASS_POINTER, "factor");
    for (int i = 0; i < t->value_count; i++)
        p->row_value[i] = vector_parameter(f, CLASS_POINTER, arena_printf(p->arena, "row%d", i));
    int keys = vector_parameter(f, CLASS_INDEX, "keys"), count = vector_parameter(f, CLASS_INDEX, "rows");
    int tile = vector_loop(f, count, 0, v.rows, NULL, NULL, 0);
    int64_t bytes = dtype_bits(t->weights_type) / 8;
    VectorAddress sums_at = vector_plus(vector_at(so_far, 0), tile, 4 * t->value_pitch);
    bool pairs = t->values.group > 1;
    Factor weight = {vector_plus(vector_at(a, 0), tile, bytes * t->pitch), bytes * t->pitch, bytes * t->values.group};
    Factor packed = {vector_at(b, 0), 0, 4 * t->value_pitch};
    start_sums(p, sums_at, v.kind & ATTEND_FIRST ? -1 : factor, tile, v.rows, v.vectors, sums);
    multiply(p, pairs ? VECTOR_DOT2 : VECTOR_FMA, pairs ? DT_F32 : t->weights_type, weight, packed, (Steps){keys, 0}, v.rows,
             v.vectors, sums);
    if (t->query_axis >= 0)
        p->counter[t->query_axis] = tile;
    end_sums(p, sums_at, v.rows, v.vectors, v.last, v.kind & ATTEND_LAST, sums);
    vector_end(f, NULL, NULL);
    return finish(p, c, why, err);
}

/* ---- the whole ---- */

/* Is a kind wanted for so many blocks of keys? */
static bool kind_wanted(const Attend *t, int kind) {
    if (t->hidden.tensor >= 0)
        return true;
    if (t->key_blocks == 1)
        return kind == (ATTEND_FIRST | ATTEND_LAST);
    return kind != (ATTEND_FIRST | ATTEND_LAST) && (kind || t->key_blocks > 2);
}

static bool tile_functions(Attend *t, Compiled *c, const char **why, whet_error *err) {
    const int tall = t->tile_rows, wide = t->tile_vectors; /* of a whole tile */
    assert(tall > 0 && wide > 0 && t->lanes > 0);
    int64_t key_vectors = (t->keys + t->lanes - 1) / t->lanes, value_vectors = t->value_pitch / t->lanes;
    for (int r = 0; r < 2; r++)
        for (int v = 0; v < 2; v++) {
            int rows = r ? (int)(t->queries % tall) : t->queries >= tall ? tall : 0;
            int keys = v ? (int)(key_vectors % wide) : key_vectors >= wide ? wide : 0;
            int width = v ? (int)(value_vectors - t->width_panels * wide) : t->width_panels ? wide : 0;
            t->scores_function[r][v] = rows && keys ? scores_function(t, rows, keys, c, why, err) : -1;
            if (rows && keys && t->scores_function[r][v] < 0)
                return false;
            for (int kind = 0; kind < ATTEND_KINDS; kind++) {
                bool wanted = rows && width && kind_wanted(t, kind);
                t->values_function[kind][r][v] =
                    wanted ? values_function(t, (ValuesTile){rows, width, kind, v}, c, why, err) : -1;
                if (wanted && t->values_function[kind][r][v] < 0)
                    return false;
            }
        }
    return true;
}

bool attend_emit(Attend *t, Compiled *c, const char **why, whet_error *err) {
    int64_t depth = (t->depth + t->lanes - 1) / t->lanes * t->lanes;
    if (t->query.access < 0 && !pack_functions(t, &t->query, depth, c, why, err))
        return false;
    return pack_functions(t, &t->key, (int64_t)t->tile_vectors * t->lanes, c, why, err) &&
           pack_functions(t, &t->values, t->value_pitch, c, why, err) && tile_functions(t, c, why, err);
}
