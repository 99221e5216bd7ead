/* Vector code of windows: tiles of rows x vectors accumulators inside of loops over a unit; and the copy of lines. */
#include "schedule/window.h"

#include <string.h>

enum { MAX_LOADED = 512, MAX_STEPS = WINDOW_MAX_TAPS * 8 };

typedef struct Loaded {
    int access;
    int64_t offset;
    int value;
} Loaded;

/* One row of a tile at one tap. */
typedef struct TapStep {
    int row, tap;
    int64_t line, at; /* where the window's read is: its line, and its place */
} TapStep;

typedef struct Tile {
    const Window *w;
    VectorFunction *f;
    int64_t band;
    int pointer[NEST_MAX_ACCESSES];
    int window;                    /* the read whose walk orders the taps */
    int counter[NEST_MAX_AXES];    /* of the loops that are open; -1: none */
    int64_t origin[NEST_MAX_AXES]; /* where a tile begins behind a loop */
    int rows, vectors, edge_lanes; /* of the last vector; 0: all */
    int mask;                      /* of the last vector, where it is needed */
    int row, vector, tap;          /* the place whose expression is emitted */
    Loaded loaded[MAX_LOADED];
    int loaded_count;
    TapStep steps[MAX_STEPS];
    int step_count;
} Tile;

static int64_t extent_of(const Tile *t, int axis) {
    return axis < 0 ? 1 : axis == t->w->band_axis ? t->band : t->w->extent[axis];
}

/* Elements from the pointer, the counters of loops aside. */
static int64_t offset_of(const Tile *t, int access) {
    const Window *w = t->w;
    int64_t offset = window_tap_offset(w, access, t->tap) + t->row * window_step(w, access, w->t) +
                     (int64_t)t->vector * w->lanes * window_step(w, access, w->v);
    for (int a = 0; a < w->nest.axis_count; a++)
        offset += t->origin[a] * window_step(w, access, a);
    return offset;
}

static VectorAddress place(const Tile *t, int access, int64_t offset) {
    VectorAddress address = vector_at(t->pointer[access], 4 * offset);
    for (int a = 0; a < t->w->nest.axis_count; a++)
        if (t->counter[a] >= 0)
            address = vector_plus(address, t->counter[a], 4 * window_step(t->w, access, a));
    return address;
}

static int find_loaded(const Tile *t, int access, int64_t offset) {
    for (int i = t->loaded_count - 1; i >= 0; i--)
        if (t->loaded[i].access == access && t->loaded[i].offset == offset)
            return t->loaded[i].value;
    return -1;
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Tile *t = e->context;
    const Window *w = t->w;
    int access = nest_find(&w->nest, read), value;
    int64_t offset = offset_of(t, access);
    if ((value = find_loaded(t, access, offset)) >= 0)
        return value;
    int mask = access == w->x || t->vector < t->vectors - 1 ? -1 : t->mask; /* the buffer has whole vectors */
    if (window_step(w, access, w->v))
        value = vector_load(t->f, DT_F32, DT_F32, place(t, access, offset), mask);
    else
        value = vector_splat(t->f, DT_F32, DT_F32, place(t, access, offset));
    if (t->loaded_count < MAX_LOADED)
        t->loaded[t->loaded_count++] = (Loaded){access, offset, value};
    return value;
}

/* ---- a tile ---- */

static bool before(const TapStep *a, const TapStep *b) {
    if (a->line != b->line)
        return a->line < b->line;
    if (a->at != b->at)
        return a->at < b->at;
    return a->tap < b->tap;
}

/* All rows and taps in the order in which the window's read walks its lines: rows that need one vector come together, and
 * each row's taps in the order of the kernel. */
static void order_steps(Tile *t, int window) {
    const Window *w = t->w;
    t->step_count = 0;
    for (int tap = 0; tap < w->taps; tap++) {
        int64_t at = window_tap_offset(w, window, tap),
                pitch = window == w->x && w->dim_count > 1 ? w->dim[w->dim_count - 2].pitch : window_step(w, window, w->t);
        for (int row = 0; row < t->rows; row++) {
            int64_t place_at = at + row * window_step(w, window, w->t);
            TapStep step = {row, tap, pitch > 0 ? place_at / pitch : 0, place_at};
            int i = t->step_count++;
            for (; i > 0 && before(&step, &t->steps[i - 1]); i--)
                t->steps[i] = t->steps[i - 1];
            t->steps[i] = step;
        }
    }
}

static double initial(ReduceOp op) {
    static const double values[] = {[REDUCE_SUM] = 0, [REDUCE_PROD] = 1, [REDUCE_MAX] = -1.0 / 0.0, [REDUCE_MIN] = 1.0 / 0.0};
    return values[op];
}

static int accumulate(Tile *t, ExprEmitter *e, int sum) {
    static const VectorCode codes[] = {
        [REDUCE_SUM] = VECTOR_ADD, [REDUCE_PROD] = VECTOR_MUL, [REDUCE_MAX] = VECTOR_MAX, [REDUCE_MIN] = VECTOR_MIN};
    const Expr *body = t->w->reduction->arg[0];
    expr_forget(e);
    if (t->w->reduction->reduce == REDUCE_SUM && body->op == EXPR_MUL) {
        int a = expr_emit(e, body->arg[0]), b = expr_emit(e, body->arg[1]);
        return e->refused ? -1 : vector_ternary(t->f, VECTOR_FMA, a, b, sum);
    }
    int value = expr_emit(e, body);
    return e->refused ? -1 : vector_binary(t->f, codes[t->w->reduction->reduce], sum, value);
}

static void emit_steps(Tile *t, ExprEmitter *e, int *sums) {
    int kept = t->loaded_count;
    int64_t at = 0;
    for (int i = 0; i < t->step_count; i++) {
        const TapStep *s = &t->steps[i];
        if (s->at != at)
            t->loaded_count = kept; /* what was loaded for another place is not kept in registers */
        at = s->at;
        t->row = s->row;
        t->tap = s->tap;
        for (t->vector = 0; t->vector < t->vectors && !e->refused; t->vector++) {
            int *sum = &sums[s->row * t->vectors + t->vector];
            *sum = accumulate(t, e, *sum);
        }
    }
    t->loaded_count = kept;
}

static void emit_loops(Tile *t, ExprEmitter *e, int level, int *sums) {
    const Window *w = t->w;
    if (level == w->loop_count) {
        emit_steps(t, e, sums);
        return;
    }
    int inside[WINDOW_MAX_SUMS], count = t->rows * t->vectors, axis = w->loop[level];
    t->counter[axis] = vector_loop(t->f, -1, w->extent[axis], 1, sums, inside, count);
    emit_loops(t, e, level + 1, inside);
    if (!e->refused)
        vector_end(t->f, inside, sums);
    t->counter[axis] = -1;
}

static void make_mask(Tile *t) {
    t->mask = t->edge_lanes ? vector_mask_first(t->f, DT_F32, t->edge_lanes) : -1;
}

static void emit_tile(Tile *t, ExprEmitter *e) {
    int sums[WINDOW_MAX_SUMS], kept = t->loaded_count, rows = t->rows, vectors = t->vectors;
    order_steps(t, t->window);
    for (int i = 0; i < rows * vectors; i++)
        sums[i] = vector_const(t->f, DT_F32, initial(t->w->reduction->reduce));
    make_mask(t);
    emit_loops(t, e, 0, sums);
    make_mask(t); /* again, so that it takes no register in between */
    t->tap = 0;
    for (t->vector = 0; t->vector < vectors; t->vector++) {
        t->loaded_count = kept;
        for (t->row = 0; t->row < rows && !e->refused; t->row++) {
            expr_forget(e);
            expr_know(e, t->w->reduction, sums[t->row * vectors + t->vector]);
            int value = expr_emit(e, t->w->nest.definition->value);
            if (!e->refused)
                vector_store(t->f, DT_F32, value, place(t, 0, offset_of(t, 0)), t->vector == vectors - 1 ? t->mask : -1);
        }
    }
    t->row = t->vector = 0;
    t->loaded_count = kept;
}

/* ---- the loops of a unit ---- */

/* Loads of all taps of factors that stand still along the rows, before them. */
static void hoist(Tile *t, ExprEmitter *e) {
    const Window *w = t->w;
    make_mask(t);
    t->row = 0;
    for (int i = 1; i < w->nest.access_count; i++) {
        bool reduced = false, still = i != w->x && !window_step(w, i, w->t);
        for (int a = w->nest.parallel_count; a < w->nest.axis_count; a++)
            reduced = reduced || w->nest.access[i].stride[a];
        if (!still || !reduced || (window_step(w, i, w->v) && !w->columns_first))
            continue;
        for (t->tap = 0; t->tap < w->taps; t->tap++)
            for (t->vector = 0; t->vector < t->vectors; t->vector++)
                read_operand(e, w->nest.access[i].read);
    }
    t->tap = t->vector = 0;
}

static void emit_rows(Tile *t, ExprEmitter *e, bool innermost);

static void emit_columns_here(Tile *t, ExprEmitter *e, int vectors, int edge_lanes, bool innermost) {
    int kept = t->loaded_count;
    t->vectors = vectors;
    t->edge_lanes = edge_lanes;
    if (innermost) {
        emit_tile(t, e);
        return;
    }
    if (t->w->hoisted)
        hoist(t, e);
    emit_rows(t, e, true);
    t->loaded_count = kept;
}

static void emit_columns(Tile *t, ExprEmitter *e, bool innermost) {
    const Window *w = t->w;
    if (w->v < 0) {
        emit_columns_here(t, e, 1, 1, innermost);
        return;
    }
    int64_t v = extent_of(t, w->v), needed = (v + w->lanes - 1) / w->lanes;
    int edge = (int)(v % w->lanes), rest = (int)(needed % w->vectors);
    int64_t whole = needed / w->vectors, step = (int64_t)w->vectors * w->lanes;
    if (edge && !rest) { /* the last tile is masked */
        rest = w->vectors;
        whole--;
    }
    if (whole == 1)
        emit_columns_here(t, e, w->vectors, 0, innermost);
    else if (whole) {
        t->counter[w->v] = vector_loop(t->f, -1, whole * step, step, NULL, NULL, 0);
        emit_columns_here(t, e, w->vectors, 0, innermost);
        vector_end(t->f, NULL, NULL);
        t->counter[w->v] = -1;
    }
    if (!rest)
        return;
    t->origin[w->v] = whole * step;
    emit_columns_here(t, e, rest, edge, innermost);
    t->origin[w->v] = 0;
}

static void emit_rows_here(Tile *t, ExprEmitter *e, int rows, bool innermost) {
    t->rows = rows;
    if (innermost)
        emit_tile(t, e);
    else
        emit_columns(t, e, true);
}

static void emit_rows(Tile *t, ExprEmitter *e, bool innermost) {
    const Window *w = t->w;
    if (w->t < 0) {
        emit_rows_here(t, e, 1, innermost);
        return;
    }
    int64_t extent = extent_of(t, w->t), whole = extent / w->rows * w->rows;
    if (whole == w->rows)
        emit_rows_here(t, e, w->rows, innermost);
    else if (whole) {
        t->counter[w->t] = vector_loop(t->f, -1, whole, w->rows, NULL, NULL, 0);
        emit_rows_here(t, e, w->rows, innermost);
        vector_end(t->f, NULL, NULL);
        t->counter[w->t] = -1;
    }
    if (extent == whole)
        return;
    t->origin[w->t] = whole;
    emit_rows_here(t, e, (int)(extent - whole), innermost);
    t->origin[w->t] = 0;
}

static void emit_extra(Tile *t, ExprEmitter *e, int level) {
    int kept = t->loaded_count;
    if (level < 0) {
        t->vectors = 1;
        t->edge_lanes = 0;
        if (t->w->hoisted && !t->w->columns_first)
            hoist(t, e);
        if (t->w->columns_first)
            emit_columns(t, e, false);
        else
            emit_rows(t, e, false);
        t->loaded_count = kept;
        return;
    }
    int axis = t->w->extra[level];
    t->counter[axis] = vector_loop(t->f, -1, extent_of(t, axis), 1, NULL, NULL, 0);
    emit_extra(t, e, level - 1);
    vector_end(t->f, NULL, NULL);
    t->counter[axis] = -1;
}

/* The read whose walk orders the taps. */
static int leading_read(const Window *w) {
    if (w->x >= 0)
        return w->x;
    for (int i = 1; i < w->nest.access_count; i++)
        for (int a = w->nest.parallel_count; a < w->nest.axis_count; a++)
            if (w->nest.access[i].stride[a] && (w->v < 0 || w->nest.access[i].stride[w->v]))
                return i;
    return 0;
}

const VectorFunction *window_emit(const Window *w, Compiled *c, int64_t band, const char **why, whet_error *err) {
    Tile *t = ARENA_NEW(c->vectors, Tile);
    VectorFunction *f = schedule_function(
        c->vectors, arena_printf(c->vectors, "window_%dx%d_%lld", w->rows, w->vectors * w->lanes, (long long)band), &c->target);
    if (!t || !f)
        return error_memory(err), NULL;
    *t = (Tile){.w = w, .f = f, .band = band, .mask = -1};
    ExprEmitter e = {.f = f,
                     .definition = w->nest.definition,
                     .kernel = w->nest.kernel,
                     .constant = w->known,
                     .read = read_operand,
                     .context = t};
    if (!expr_start(&e, c->vectors))
        return error_memory(err), NULL;
    for (int a = 0; a < w->nest.axis_count; a++)
        t->counter[a] = -1;
    for (int i = 0; i < w->nest.access_count; i++)
        t->pointer[i] = vector_parameter(f, CLASS_POINTER,
                                         arena_printf(c->vectors, "%s%d",
                                                      i == w->x ? "box"
                                                      : i       ? "x"
                                                                : "y",
                                                      i));
    t->window = leading_read(w);
    emit_extra(t, &e, w->extra_count - 1);
    *why = e.refused;
    return !e.refused && vector_finish(f, err) ? f : NULL;
}

/* ---- lines into the buffer ---- */

typedef struct Copy {
    const Window *w;
    VectorFunction *f;
    VectorAddress from, to; /* of a line */
    int64_t count;
} Copy;

static int mask_of(const Copy *c, int64_t left) {
    return left < c->w->lanes ? vector_mask_first(c->f, DT_F32, (int)left) : -1;
}

/* A vector at element `at`; further loops aside. */
static void copy_plain(const Copy *c, VectorAddress from, VectorAddress to, int64_t left) {
    int mask = mask_of(c, left);
    vector_store(c->f, DT_F32, vector_load(c->f, DT_F32, DT_F32, from, mask),
                 vector_offset(to, 4 * (c->w->shift + c->w->line_from)), mask);
}

/* Two vectors of a line of stride 2, taken apart. The first element inside may belong to either line. */
static void copy_halves(const Copy *c, VectorAddress from, VectorAddress to, int64_t left) {
    const Window *w = c->w;
    VectorFunction *f = c->f;
    int64_t lanes = w->lanes, first = w->line_from;
    int a = vector_load(f, DT_F32, DT_F32, from, mask_of(c, left));
    int b = left > lanes ? vector_load(f, DT_F32, DT_F32, vector_offset(from, 4 * lanes), mask_of(c, left - lanes)) : a;
    for (int64_t i = 0; i < 2 && left > i; i++) {
        int half = vector_binary(f, i ? VECTOR_ODD : VECTOR_EVEN, a, b);
        int64_t at = (first + i) % 2 * w->phase_pitch + w->shift + (first + i) / 2;
        vector_store(f, DT_F32, half, vector_offset(to, 4 * at), mask_of(c, (left + 1 - i) / 2));
    }
}

const VectorFunction *window_emit_copy(const Window *w, Compiled *compiled, whet_error *err) {
    VectorFunction *f = schedule_function(compiled->vectors, "window_copy", &compiled->target);
    if (!f)
        return error_memory(err), NULL;
    Copy c = {.w = w, .f = f, .count = w->line_to - w->line_from};
    int64_t step = w->phases * w->lanes, whole = c.count / step * step;
    bool several = w->dim_count > 1;
    int from = vector_parameter(f, CLASS_POINTER, "from"), to = vector_parameter(f, CLASS_POINTER, "to");
    int limit = vector_parameter(f, CLASS_INDEX, "lines"), line = vector_loop(f, limit, 0, 1, NULL, NULL, 0);
    void (*copy)(const Copy *, VectorAddress, VectorAddress, int64_t) = w->phases == 2 ? copy_halves : copy_plain;
    c.from = vector_plus(vector_at(from, 0), line, several ? 4 * w->dim[w->dim_count - 2].stride : 0);
    c.to = vector_plus(vector_at(to, 0), line, several ? 4 * w->dim[w->dim_count - 2].pitch : 0);
    int64_t at = 0;
    if (whole > 8 * step) {
        int column = vector_loop(f, -1, whole, step, NULL, NULL, 0);
        copy(&c, vector_plus(c.from, column, 4), vector_plus(c.to, column, 4 / w->phases), step);
        vector_end(f, NULL, NULL);
        at = whole;
    }
    for (; at < c.count; at += step)
        copy(&c, vector_offset(c.from, 4 * at), vector_offset(c.to, 4 * at / w->phases),
             c.count - at < step ? c.count - at : step);
    vector_end(f, NULL, NULL);
    return vector_finish(f, err) ? f : NULL;
}
