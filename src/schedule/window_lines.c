/* Windows along lines: the lanes slide (channels first), so that a line of the image is a row of vectors.
 *
 * A tile is one vector of a line by some neighbouring lines of the result (columns of window_pixels.c): a vector that was loaded
 * serves all lines that need it, a tap's factors stay in registers. Function code walks whole planes: of all tiles, of all
 * vectors of a line, the first and the last may have lanes outside, which are masked where they are loaded; the last is moved
 * back to end with the line. Tiles at the upper and lower border are written out without the taps that are outside, and what
 * lies between is a loop.
 *
 * Lines of stride 2 are loaded as two vectors, whose even lanes are one tap and whose odd ones the next. Extremes do not ask for
 * an order: their taps along the line are taken together once and serve all rows, 3 + 3 of 9, 13 + 13 of 169. Other pools keep
 * the kernel's order, products go by taps of the line. */
#include "schedule/window_pixels_emit.h"

static int64_t length_of(const Code *t) {
    return t->nest->axis[t->p->v].extent;
}

static int64_t active_lanes(const Code *t) {
    return least(length_of(t), t->p->lanes);
}

/* ---- vectors of a line ---- */

static int mask_of(Code *t, int from, int to) {
    if (from == 0 && to == t->p->lanes)
        return -1;
    for (int i = 0; i < t->line_mask_count; i++)
        if (t->line_mask[i].from == from && t->line_mask[i].to == to)
            return t->line_mask[i].value;
    int mask = vector_mask_first(t->f, DT_F32, to);
    if (from)
        mask = vector_binary(t->f, VECTOR_MASK_XOR, mask, vector_mask_first(t->f, DT_F32, from));
    if (t->line_mask_count < LINE_MASKS)
        t->line_mask[t->line_mask_count++] = (LineMask){from, to, mask};
    return mask;
}

/* Of the line: what lane 0 reads at the tap. */
static int64_t first_index(const Code *t) {
    const Slide *s = &t->p->lane;
    return s->offset + s->step * t->lane_at + (s->tap < 0 ? 0 : s->dilation * t->digit[s->tap]);
}

/* Lanes that read `index + lane * step`, as far as that is inside; of the first `count`. */
static int load_inside(Code *t, int access, int64_t index, int64_t shift, int64_t count) {
    const Access *a = &t->nest->access[access];
    DType memory = a->type;
    int64_t to = t->lane_counter >= 0 ? t->p->lanes : within(t->p->lane.extent - index - shift, 0, count);
    int64_t from = t->lane_counter >= 0 ? 0 : within(-index - shift, 0, to);
    if (from == to)
        return vector_const(t->f, expr_register(memory), 0);
    VectorAddress address = vector_offset(pixels_place(t, access), shift * dtype_bits(memory) / 8);
    return expr_load(t->f, memory, address, mask_of(t, (int)from, (int)to));
}

/* One of the two vectors that a vector of stride 2 is the even, or odd, lanes of. */
static int half_of_pair(Code *t, int access, int64_t index, int64_t shift, Form form) {
    const Expr *key = t->nest->access[access].read;
    int64_t offset = pixels_offset(t, access) + shift, lanes = t->p->lanes;
    int value = pixels_find_loaded(t, key, form, offset);
    if (value < 0) {
        int64_t behind = shift + (form == FORM_HIGH ? lanes : 0);
        value = load_inside(t, access, index, behind, within(2 * active_lanes(t) - (form == FORM_HIGH ? lanes : 0), 0, lanes));
        pixels_keep(t, key, form, offset, value);
    }
    return value;
}

int lines_read(Code *t, int access) {
    const Slide *s = &t->p->lane;
    int64_t index = first_index(t);
    if (s->step == 1)
        return load_inside(t, access, index, 0, active_lanes(t));
    int64_t odd = index & 1; /* even indices first: aligned where lines are */
    int low = half_of_pair(t, access, index, -odd, FORM_LOW), high = half_of_pair(t, access, index, -odd, FORM_HIGH);
    return vector_binary(t->f, odd ? VECTOR_ODD : VECTOR_EVEN, low, high);
}

int lines_outside(Code *t, int value) {
    const Slide *s = &t->p->lane;
    const Access *x = &t->nest->access[t->p->x];
    int64_t index = first_index(t), lanes = active_lanes(t), from, to;
    bool plain = !t->p->w->view[x->read->tensor].definition; /* what is masked out is 0 already */
    if (t->lane_counter >= 0 || !s->guarded || (plain && x->outside == 0))
        return value;
    from = within((-index + s->step - 1) / s->step, 0, lanes);
    to = within((s->extent - index + s->step - 1) / s->step, from, lanes);
    if (from == 0 && to == lanes)
        return value;
    int outside = vector_const(t->f, t->f->values[value].type, x->outside);
    return from == to ? outside : vector_ternary(t->f, VECTOR_SELECT, mask_of(t, (int)from, (int)to), value, outside);
}

/* ---- taps ---- */

static bool is_extreme(const Expr *reduction) {
    return reduction->reduce >= REDUCE_MAX && dtype_kind(reduction->type) == KIND_FLOAT;
}

/* The largest of three, or smallest, NaN if any is: of NaN in the second operand comparisons take care; in the others the sum
 * of both is NaN, too. `b` may be -1. */
static int extreme_of(const Code *t, const Expr *reduction, int sum, int a, int b) {
    VectorCode code = reduction->reduce == REDUCE_MAX ? VECTOR_MAX_OR : VECTOR_MIN_OR;
    int nan = vector_binary(t->f, VECTOR_UNORDERED, a, b < 0 ? a : b), most = vector_binary(t->f, code, a, sum);
    if (b < 0)
        return vector_ternary(t->f, VECTOR_SELECT, nan, a, most);
    most = vector_binary(t->f, code, b, most);
    return vector_ternary(t->f, VECTOR_SELECT, nan, vector_binary(t->f, VECTOR_ADD, a, b), most);
}

/* Values as they come in: floats' extremes by twos. */
typedef struct Fold {
    int sum, pending; /* -1: none */
} Fold;

static void fold(const Code *t, const Expr *reduction, Fold *into, int value) {
    static const VectorCode codes[] = {
        [REDUCE_SUM] = VECTOR_ADD, [REDUCE_PROD] = VECTOR_MUL, [REDUCE_MAX] = VECTOR_MAX, [REDUCE_MIN] = VECTOR_MIN};
    if (into->sum < 0)
        into->sum = value;
    else if (!is_extreme(reduction))
        into->sum = vector_binary(t->f, codes[reduction->reduce], into->sum, value);
    else if (into->pending < 0)
        into->pending = value;
    else
        *into = (Fold){extreme_of(t, reduction, into->sum, into->pending, value), -1};
}

static int folded(const Code *t, const Expr *reduction, const Fold *from) {
    return from->pending < 0 ? from->sum : extreme_of(t, reduction, from->sum, from->pending, -1);
}

/* All taps along the line at the row of a step, as one value. */
static int line_of(Code *t, ExprEmitter *e, const Step *step) {
    const Expr *reduction = t->p->w->reduction;
    const Slide *s = &t->p->lane, *rows = &t->p->slide[t->p->pixel];
    Fold all = {-1, -1};
    t->column = step->column;
    if (rows->tap >= 0)
        t->digit[rows->tap] = step->tap;
    for (t->digit[s->tap] = 0; t->digit[s->tap] < s->taps && !e->refused; t->digit[s->tap]++) {
        expr_forget(e);
        int value = expr_emit(e, reduction->arg[0]);
        if (!e->refused)
            fold(t, reduction, &all, value);
    }
    t->digit[s->tap] = 0;
    return e->refused ? -1 : folded(t, reduction, &all);
}

/* Steps [first, end) of one row of the image by the taps [from, to) of the lanes. */
static void emit_products(Code *t, ExprEmitter *e, int first, int end, int64_t from, int64_t to, int *sums) {
    const Slide *s = &t->p->lane, *rows = &t->p->slide[t->p->pixel];
    for (int64_t tap = from; tap < to; tap++)
        for (int i = first; i < end && !e->refused; i++) {
            t->column = t->steps[i].column;
            if (s->tap >= 0)
                t->digit[s->tap] = tap;
            if (rows->tap >= 0)
                t->digit[rows->tap] = t->steps[i].tap;
            sums[t->column] = pixels_accumulate(t, e, sums[t->column]);
        }
}

static int row_end(const Code *t, int first) {
    int end = first;
    while (end < t->step_count && t->steps[end].at == t->steps[first].at)
        end++;
    return end;
}

/* Taps that are met at each row of the image before the next row: where there are factors both of a pair, for registers hold the
 * factors of few; else all. */
static int64_t group_end(const Pixels *p, int64_t from) {
    const Slide *s = &p->lane;
    if (p->lane_group == s->taps)
        return s->taps;
    bool pair = p->lane_group == 2 && ((s->offset + from) & 1) == 0;
    return least(from + (pair ? 2 : 1), s->taps);
}

static void emit_line_first(Code *t, ExprEmitter *e, int *sums) {
    const Expr *reduction = t->p->w->reduction;
    int kept = t->loaded_count;
    Fold all[PIXELS_MAX_COLUMNS];
    for (int i = 0; i < t->kind->columns; i++)
        all[i] = (Fold){sums[i], -1};
    for (int first = 0, end; first < t->step_count && !e->refused; first = end) {
        int value = line_of(t, e, &t->steps[first]);
        end = row_end(t, first);
        for (int i = first; i < end && !e->refused; i++)
            fold(t, reduction, &all[t->steps[i].column], value);
        t->loaded_count = kept;
    }
    for (int i = 0; i < t->kind->columns && !e->refused; i++)
        sums[i] = folded(t, reduction, &all[i]);
}

void lines_emit_taps(Code *t, ExprEmitter *e, int *sums) {
    const Slide *s = &t->p->lane, *rows = &t->p->slide[t->p->pixel];
    int kept = t->loaded_count;
    t->line_mask_count = 0;
    if (t->p->line_first)
        emit_line_first(t, e, sums);
    else
        for (int64_t from = 0, to; from < s->taps; from = to) {
            to = group_end(t->p, from);
            for (int first = 0, end; first < t->step_count && !e->refused; first = end) {
                end = row_end(t, first);
                emit_products(t, e, first, end, from, to, sums);
                pixels_drop(t, kept);
            }
        }
    if (s->tap >= 0)
        t->digit[s->tap] = 0;
    if (rows->tap >= 0)
        t->digit[rows->tap] = 0;
    t->column = 0;
    t->loaded_count = kept;
    t->line_mask_count = 0;
}

/* ---- planes ---- */

/* All that a vector at `lane` loads lies inside. */
static bool inside(const Code *t, int64_t lane) {
    const Slide *s = &t->p->lane;
    int64_t first = s->offset + s->step * lane, last = first + s->dilation * (s->taps - 1) + s->step * t->p->lanes - 1;
    return first >= 0 && last < s->extent;
}

static void emit_vectors(Code *t, ExprEmitter *e, const int *limits) {
    int64_t lanes = t->p->lanes, length = length_of(t);
    if (length < lanes)
        t->mask = vector_mask_first(t->f, DT_F32, (int)length);
    for (t->lane_at = 0; t->lane_at < length && !e->refused; t->lane_at += lanes) {
        int64_t run = 0;
        while (t->lane_at + (run + 1) * lanes <= length && inside(t, t->lane_at + run * lanes))
            run++;
        if (run > 1) {
            t->lane_counter = vector_loop(t->f, -1, run * lanes, lanes, NULL, NULL, 0);
            pixels_emit_tile(t, e, limits);
            vector_end(t->f, NULL, NULL);
            t->lane_counter = -1;
            t->lane_at += (run - 1) * lanes;
            continue;
        }
        int64_t at = t->lane_at;
        if (length >= lanes && at + lanes > length)
            t->lane_at = length - lanes;
        pixels_emit_tile(t, e, limits);
        t->lane_at = at;
    }
    t->lane_at = 0;
    t->mask = -1;
}

void lines_emit(Code *t, ExprEmitter *e, const int *limits) {
    const Pixels *p = t->p;
    for (int i = 0; i < p->kind_count && !e->refused; i++) {
        const LineRun *run = &p->run[i];
        t->kind = &p->kind[i];
        t->column_at = run->start;
        pixels_order_steps(t);
        if (run->count > 1)
            t->column_counter = vector_loop(t->f, -1, run->count * t->kind->columns, t->kind->columns, NULL, NULL, 0);
        emit_vectors(t, e, limits);
        if (run->count > 1)
            vector_end(t->f, NULL, NULL);
        t->column_counter = -1;
    }
    t->column_at = 0;
}
