/* Vector code of windows over pixels: a tile of columns, in loops over rows and vectors of channels. */
#include "schedule/window_pixels_emit.h"

#include <assert.h>
#include <math.h>

/* ---- addresses ---- */

static int64_t bytes_of(const Code *t, int access) {
    return dtype_bits(t->nest->access[access].type) / 8;
}

int64_t pixels_offset(const Code *t, int access) {
    const Access *a = &t->nest->access[access];
    int64_t offset = (t->column_at + t->column) * a->stride[t->p->p] + t->lane_at * a->stride[t->p->v];
    for (int q = t->nest->parallel_count; q < t->nest->axis_count; q++)
        offset += t->digit[q] * a->stride[q];
    return offset;
}

/* The lanes that the window's read is turned by. */
static int64_t turn_of(const Code *t) {
    return t->p->w->mixed < 0 ? 0 : t->digit[t->p->w->mixed] / t->p->sums * t->p->sums;
}

/* Tells what is loaded for different places. */
static int64_t key_of(const Code *t, int access) {
    int64_t offset = pixels_offset(t, access);
    return t->p->w->mixed >= 0 && access == t->p->x ? offset * PIXELS_MAX_GROUP + turn_of(t) : offset;
}

VectorAddress pixels_place(const Code *t, int access) {
    const Access *a = &t->nest->access[access];
    int64_t bytes = bytes_of(t, access);
    VectorAddress address = vector_at(t->pointer[access], bytes * pixels_offset(t, access));
    if (t->row_counter >= 0)
        address = vector_plus(address, t->row_counter, bytes * a->stride[t->p->h]);
    if (t->column_counter >= 0)
        address = vector_plus(address, t->column_counter, bytes * a->stride[t->p->p]);
    for (int q = t->nest->parallel_count; q < t->nest->axis_count; q++)
        if (t->tap_counter[q] >= 0)
            address = vector_plus(address, t->tap_counter[q], bytes * a->stride[q]);
    return t->lane_counter >= 0 ? vector_plus(address, t->lane_counter, bytes * a->stride[t->p->v]) : address;
}

/* ---- what is loaded ---- */

int pixels_find_loaded(const Code *t, const Expr *expr, Form form, int64_t offset) {
    for (int i = t->loaded_count - 1; i >= 0; i--)
        if (t->loaded[i].expr == expr && t->loaded[i].form == form && t->loaded[i].offset == offset)
            return t->loaded[i].value;
    return -1;
}

void pixels_keep(Code *t, const Expr *expr, Form form, int64_t offset, int value) {
    if (t->loaded_count < MAX_LOADED)
        t->loaded[t->loaded_count++] = (Loaded){expr, form, offset, value};
}

static int read_memory(Code *t, int access) {
    DType memory = t->nest->access[access].type;
    if (t->p->lines && access == t->p->x)
        return lines_read(t, access);
    if (t->nest->access[access].stride[t->p->v])
        return expr_load(t->f, memory, pixels_place(t, access), t->mask);
    return expr_splat(t->f, memory, pixels_place(t, access));
}

static const WindowView *view_of(const Code *t, const Expr *read) {
    const WindowView *view = &t->p->w->view[read->tensor];
    return view->definition ? view : NULL;
}

/* Inside of a view: the tensor below it lies where the view is read. */
static int read_inner(ExprEmitter *e, const Expr *read) {
    Code *t = e->context;
    int access = nest_find(t->nest, view_of(t, t->viewed)->main == read ? t->viewed : read);
    return t->still[access] >= 0 ? t->still[access] : read_memory(t, access);
}

/* The window's read as the lanes want it, from what lies in memory. */
static int in_lanes(Code *t, int access, int value) {
    if (access != t->p->x || value < 0)
        return value;
    if (turn_of(t))
        return vector_binary(t->f, VECTOR_PERMUTE, value, t->turned[turn_of(t)]);
    return t->p->lines ? lines_outside(t, value) : value;
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Code *t = e->context;
    const WindowView *view = view_of(t, read);
    int access = nest_find(t->nest, read);
    if (!view)
        return in_lanes(t, access, read_memory(t, access));
    ExprEmitter *inner = &t->view[read->tensor];
    t->viewed = read;
    expr_forget(inner);
    int value = expr_emit(inner, view->definition->value);
    if (inner->refused)
        e->refused = inner->refused;
    return e->refused ? -1 : in_lanes(t, access, value);
}

/* Zero points of views are loaded once, not once a place. */
static void start_still(Code *t, const ExprEmitter *e) {
    for (int i = 0; i < t->nest->access_count; i++) {
        const Access *a = &t->nest->access[i];
        bool moves = a->guard_count > 0, inner = false, known = e->constant && e->constant[a->tensor];
        for (int q = 0; q < t->nest->axis_count; q++)
            moves = moves || a->stride[q];
        for (int k = 0; k < t->nest->kernel->tensor_count && i && !moves; k++) {
            const Definition *d = t->p->w->view[k].definition;
            for (int x = 0; d && x < d->expr_count; x++)
                inner = inner || d->exprs[x] == a->read;
        }
        t->still[i] = inner && !known ? read_memory(t, i) : -1;
    }
}

/* Lane l of a group reads lane l + turn of it. */
static void start_groups(Code *t) {
    const Window *w = t->p->w;
    if (w->mixed < 0)
        return;
    int lane = vector_iota(t->f, DT_S32, 1), last = vector_const(t->f, DT_S32, (double)w->group - 1);
    int first = vector_binary(t->f, VECTOR_AND_NOT, last, lane); /* of its group */
    for (int r = 1; r < w->group; r++) {
        if (r >= t->p->sums && r % t->p->sums)
            continue;
        int to = vector_binary(t->f, VECTOR_ADD, lane, vector_const(t->f, DT_S32, r));
        t->turned[r] = vector_binary(t->f, VECTOR_OR, first, vector_binary(t->f, VECTOR_AND, to, last));
    }
}

static bool start_views(Code *t, Arena *arena, const ExprEmitter *like) {
    t->view = ARENA_ARRAY(arena, ExprEmitter, KERNEL_MAX_TENSORS);
    for (int i = 0; t->view && i < t->nest->kernel->tensor_count; i++) {
        if (!t->p->w->view[i].definition)
            continue;
        t->view[i] = *like;
        t->view[i].definition = t->p->w->view[i].definition;
        t->view[i].read = read_inner;
        t->view[i].special = NULL;
        if (!expr_start(&t->view[i], arena))
            return false;
    }
    return t->view != NULL;
}

/* The only access below an expression; -1: several, or none. */
static int only_access(const Code *t, const Expr *expr) {
    if (expr->op == EXPR_READ)
        return nest_find(t->nest, expr);
    if (expr->op == EXPR_REDUCE)
        return -1;
    int found = -1;
    for (int i = 0; i < 3 && expr->arg[i]; i++) {
        if (expr->arg[i]->op == EXPR_NUMBER)
            continue;
        int access = only_access(t, expr->arg[i]);
        if (access < 0 || (found >= 0 && access != found))
            return -1;
        found = access;
    }
    return found;
}

/* Whatever depends on one access alone is computed once a place of it. */
static int shared(ExprEmitter *e, const Expr *expr) {
    Code *t = e->context;
    int access = expr == t->busy ? -1 : only_access(t, expr);
    if (access < 0)
        return -1;
    int64_t offset = key_of(t, access);
    int value = pixels_find_loaded(t, expr, FORM_VALUE, offset);
    if (value >= 0)
        return value;
    const Expr *outer = t->busy;
    t->busy = expr;
    value = expr_emit(e, expr);
    t->busy = outer;
    pixels_keep(t, expr, FORM_VALUE, offset, value);
    return value;
}

/* ---- sums of integers as f32 ---- */

/* The largest magnitude of an integer factor. */
static double most_of(const Code *t, const ExprEmitter *e, const Expr *factor) {
    ExprRange range = e->range[factor->id];
    const WindowView *view = NULL;
    if (factor->op == EXPR_CAST && factor->arg[0]->op == EXPR_READ)
        view = view_of(t, factor->arg[0]);
    else if (factor->op == EXPR_READ)
        view = view_of(t, factor);
    if (view)
        range = t->view[view->definition->tensor].range[view->definition->value->id];
    return fmax(fabs((double)range.low), fabs((double)range.high));
}

/* f32 holds integers up to 2^24, and has multiply-adds. */
static bool fits_f32(const Code *t, const ExprEmitter *e) {
    const Expr *reduction = t->p->w->reduction, *body = reduction->arg[0];
    if (reduction->reduce != REDUCE_SUM || body->op != EXPR_MUL || expr_register(reduction->type) != DT_S32 ||
        dtype_bits(reduction->type) < 32 || dtype_bits(body->type) < 32)
        return false;
    double bound = most_of(t, e, body->arg[0]) * most_of(t, e, body->arg[1]);
    for (int q = t->nest->parallel_count; q < t->nest->axis_count; q++)
        bound *= (double)t->nest->axis[q].extent;
    return bound <= 1 << 24;
}

static int factor_in_f32(Code *t, ExprEmitter *e, const Expr *factor) {
    int access = only_access(t, factor);
    int64_t offset = access < 0 ? 0 : key_of(t, access);
    int value = access < 0 ? -1 : pixels_find_loaded(t, factor, FORM_F32, offset);
    if (value >= 0)
        return value;
    value = expr_emit(e, factor);
    if (e->refused)
        return -1;
    value = vector_convert(t->f, VECTOR_CVT, DT_F32, value);
    if (access >= 0)
        pixels_keep(t, factor, FORM_F32, offset, value);
    return value;
}

/* ---- sums ---- */

/* The larger, NaN if either is: a NaN that was met stays, for comparisons give their second operand; one that comes is put in
 * its place. Which of a read's lanes are NaN is found once for all its taps. */
static int float_extreme(Code *t, VectorCode code, const Expr *body, int value, int sum) {
    int access = only_access(t, body);
    int64_t offset = access < 0 ? 0 : key_of(t, access);
    int nan = access < 0 ? -1 : pixels_find_loaded(t, body, FORM_NAN, offset);
    if (nan < 0) {
        nan = vector_binary(t->f, VECTOR_UNORDERED, value, value);
        if (access >= 0)
            pixels_keep(t, body, FORM_NAN, offset, nan);
    }
    return vector_ternary(t->f, VECTOR_SELECT, nan, value, vector_binary(t->f, code, value, sum));
}

/* `sum` -1: what comes is the first of it. */
int pixels_accumulate(Code *t, ExprEmitter *e, int sum) {
    static const VectorCode codes[] = {
        [REDUCE_SUM] = VECTOR_ADD, [REDUCE_PROD] = VECTOR_MUL, [REDUCE_MAX] = VECTOR_MAX, [REDUCE_MIN] = VECTOR_MIN};
    const Expr *reduction = t->p->w->reduction, *body = reduction->arg[0];
    bool is_float = dtype_kind(reduction->type) == KIND_FLOAT;
    expr_forget(e);
    if (reduction->reduce == REDUCE_SUM && body->op == EXPR_MUL && (t->in_f32 || reduction->type == DT_F32)) {
        int a = t->in_f32 ? factor_in_f32(t, e, body->arg[0]) : expr_emit(e, body->arg[0]);
        int b = t->in_f32 ? factor_in_f32(t, e, body->arg[1]) : expr_emit(e, body->arg[1]);
        if (e->refused)
            return -1;
        return sum < 0 ? vector_binary(t->f, VECTOR_MUL, a, b) : vector_ternary(t->f, VECTOR_FMA, a, b, sum);
    }
    int value = expr_emit(e, body);
    if (e->refused || sum < 0)
        return e->refused ? -1 : value;
    if (is_float && reduction->reduce >= REDUCE_MAX)
        return float_extreme(t, reduction->reduce == REDUCE_MAX ? VECTOR_MAX_OR : VECTOR_MIN_OR, body, value, sum);
    return vector_binary(t->f, codes[reduction->reduce], sum, value);
}

static double initial(const Expr *reduction) {
    static const double values[] = {[REDUCE_SUM] = 0, [REDUCE_PROD] = 1, [REDUCE_MAX] = -INFINITY, [REDUCE_MIN] = INFINITY};
    int bits = dtype_bits(reduction->type);
    bool is_signed = dtype_kind(reduction->type) == KIND_SIGNED;
    if (dtype_kind(reduction->type) == KIND_FLOAT || reduction->reduce < REDUCE_MAX)
        return values[reduction->reduce];
    double low = is_signed ? -ldexp(1, bits - 1) : 0, high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    return reduction->reduce == REDUCE_MAX ? low : high;
}

/* All columns and taps of a row, in the order of the window's read: who needs the same vector comes together. */
void pixels_order_steps(Code *t) {
    const Access *x = &t->nest->access[t->p->x];
    const Slide *s = &t->p->slide[t->p->pixel];
    int64_t tap_stride = s->tap < 0 ? 0 : x->stride[s->tap];
    t->step_count = 0;
    for (int column = 0; column < t->kind->columns; column++)
        for (int tap = t->kind->from[column]; tap < t->kind->to[column]; tap++) {
            int64_t at = column * x->stride[s->place] + tap * tap_stride;
            int i = t->step_count++;
            for (; i > 0 && t->steps[i - 1].at > at; i--)
                t->steps[i] = t->steps[i - 1];
            t->steps[i] = (Step){column, tap, at};
        }
}

/* What was loaded for another place of the window's read is not kept, nor factors unless there is room for them. */
void pixels_drop(Code *t, int kept) {
    int count = kept;
    for (int i = kept; i < t->loaded_count; i++) {
        int access = only_access(t, t->loaded[i].expr);
        if (t->p->keeps && access != t->p->x)
            t->loaded[count++] = t->loaded[i];
    }
    t->loaded_count = count;
}

static void emit_row(Code *t, ExprEmitter *e, int *sums) {
    if (t->p->lines) {
        lines_emit_taps(t, e, sums);
        return;
    }
    int tap = t->p->slide[t->p->pixel].tap, kept = t->loaded_count, mixed = t->p->w->mixed;
    sums += mixed < 0 ? 0 : t->digit[mixed] % t->p->sums * t->kind->columns;
    for (int i = 0; i < t->step_count && !e->refused; i++) {
        if (i && t->steps[i].at != t->steps[i - 1].at)
            pixels_drop(t, kept);
        t->column = t->steps[i].column;
        t->digit[tap] = t->steps[i].tap;
        sums[t->column] = pixels_accumulate(t, e, sums[t->column]);
    }
    t->digit[tap] = 0;
    t->column = 0;
    t->loaded_count = kept;
}

static void emit_rest(Code *t, ExprEmitter *e, int level, int *sums) {
    if (level == t->p->rest_count) {
        emit_row(t, e, sums);
        return;
    }
    int axis = t->p->rest[level];
    for (t->digit[axis] = 0; t->digit[axis] < t->nest->axis[axis].extent; t->digit[axis]++)
        emit_rest(t, e, level + 1, sums);
    t->digit[axis] = 0;
}

/* The sum, and what is a cast of it to f32, are known. Where it is an integer in f32, it is converted only for others than these.
 */
static void know_sum(const Code *t, ExprEmitter *e, int sum) {
    const Definition *d = t->nest->definition;
    const Expr *reduction = t->p->w->reduction;
    bool wanted = !t->in_f32 || d->value == reduction;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *x = d->exprs[i];
        bool cast = t->in_f32 && x->op == EXPR_CAST && x->type == DT_F32 && x->arg[0] == reduction;
        if (cast)
            expr_know(e, x, sum);
        for (int k = 0; k < 3 && x->op != EXPR_READ && x->op != EXPR_NUMBER; k++)
            wanted = wanted || (!cast && x->arg[k] == reduction);
    }
    if (!wanted)
        return;
    if (t->in_f32)
        sum = vector_convert(t->f, VECTOR_CVT, DT_S32, sum);
    else if (reduction->type != DT_F32)
        sum = convert_fit(e, reduction->type, sum);
    expr_know(e, reduction, sum);
}

/* All taps; `limits` of the loops, or NULL where they are written out. */
static void emit_taps(Code *t, ExprEmitter *e, int level, const int *limits, int *sums) {
    if (level == t->p->loop_count) {
        emit_rest(t, e, 0, sums);
        return;
    }
    const Slide *s = &t->p->slide[t->p->loop[level]];
    if (!limits) {
        for (t->digit[s->tap] = 0; t->digit[s->tap] < s->taps; t->digit[s->tap]++)
            emit_taps(t, e, level + 1, limits, sums);
        t->digit[s->tap] = 0;
        return;
    }
    int inside[PIXELS_MAX_SUMS];
    t->tap_counter[s->tap] = vector_loop(t->f, limits[level], 0, 1, sums, inside, t->kind->columns * t->p->sums);
    emit_taps(t, e, level + 1, limits, inside);
    vector_end(t->f, inside, sums);
    t->tap_counter[s->tap] = -1;
}

/* One sum of a column: those of groups are for outputs so many lanes before. */
static void add_groups(const Code *t, int *sums) {
    const int columns = t->kind->columns;
    for (int r = 1; r < t->p->sums; r++)
        for (int i = 0; i < columns; i++)
            sums[i] = vector_binary(t->f, VECTOR_ADD, sums[i],
                                    vector_binary(t->f, VECTOR_PERMUTE, sums[r * columns + i], t->turned[r]));
}

void pixels_emit_tile(Code *t, ExprEmitter *e, const int *limits) {
    int sums[PIXELS_MAX_SUMS], kept = t->loaded_count, count = t->kind->columns * t->p->sums;
    const Expr *reduction = t->p->w->reduction;
    DType type = t->in_f32 ? DT_F32 : expr_register(reduction->type);
    assert(count <= PIXELS_MAX_SUMS);
    for (int i = 0; i < count; i++)
        sums[i] = limits ? vector_const(t->f, type, initial(reduction)) : -1; /* what comes first is the sum */
    emit_taps(t, e, 0, limits, sums);
    for (int i = 0; i < count && !e->refused; i++)
        sums[i] = sums[i] < 0 ? vector_const(t->f, type, initial(reduction)) : sums[i];
    if (!e->refused)
        add_groups(t, sums);
    t->loaded_count = kept;
    t->line_mask_count = 0;
    for (t->column = 0; t->column < t->kind->columns && !e->refused; t->column++) {
        expr_forget(e);
        know_sum(t, e, sums[t->column]);
        int value = expr_emit_to_store(e, t->nest->definition->value);
        if (!e->refused)
            expr_store(t->f, t->nest->access[0].type, value, pixels_place(t, 0), t->mask);
    }
    t->column = 0;
    t->loaded_count = kept;
}

/* ---- loops ---- */

static double image_bytes(const Code *t, int access) {
    return (double)t->nest->kernel->tensors[t->nest->access[access].tensor].count * (double)bytes_of(t, access);
}

/* What a tile of the row after next reads first and writes. Rows are too far apart for the machine to guess that. */
static void emit_ahead(Code *t) {
    enum { AHEAD = 2 };
    const Pixels *p = t->p;
    const Slide *s = &p->slide[p->pixel], *rows = p->row < 0 ? NULL : &p->slide[p->row];
    const Access *x = &t->nest->access[p->x], *y = &t->nest->access[0];
    int64_t size = bytes_of(t, p->x), pixel = x->stride[s->tap] / s->dilation;
    int64_t pixels = (t->kind->columns - 1) * s->step + (s->taps - 1) * s->dilation + 1;
    int64_t fresh = !rows ? 1 : rows->step < rows->taps ? rows->step : rows->taps;
    for (int64_t r = 0; r < fresh; r++) {
        int64_t tap = rows ? (rows->taps - 1 - r) * x->stride[rows->tap] : 0;
        for (int64_t i = 0; i < pixels; i++)
            vector_prefetch_l2(t->f, vector_offset(pixels_place(t, p->x), size * (AHEAD * x->stride[p->h] + tap + i * pixel)));
    }
    for (t->column = 0; t->column < t->kind->columns; t->column++)
        vector_prefetch_l2(t->f, vector_offset(pixels_place(t, 0), bytes_of(t, 0) * AHEAD * y->stride[p->h]));
    t->column = 0;
}

static void emit_lanes(Code *t, ExprEmitter *e, int count, bool loop, const int *limits) {
    if (!t->p->vectors)
        t->mask = vector_mask_first(t->f, DT_F32, (int)t->p->edge);
    if (!loop || !t->p->vectors) {
        pixels_emit_tile(t, e, limits);
        return;
    }
    t->lane_counter = vector_loop(t->f, count, 0, t->p->lanes, NULL, NULL, 0);
    if (t->far && (t->row_counter >= 0 || !t->p->spelled))
        emit_ahead(t);
    pixels_emit_tile(t, e, limits);
    vector_end(t->f, NULL, NULL);
    t->lane_counter = -1;
}

static void emit_tiles(Code *t, ExprEmitter *e, int count, bool loop, const int *limits) {
    if (t->p->lines)
        lines_emit(t, e, limits);
    else
        emit_lanes(t, e, count, loop, limits);
}

static void emit_whole(Code *t, ExprEmitter *e) {
    int rows = vector_parameter(t->f, CLASS_INDEX, "rows"), count = vector_parameter(t->f, CLASS_INDEX, "lanes");
    start_groups(t);
    start_still(t, e);
    if (t->p->h < 0) {
        emit_tiles(t, e, count, true, NULL);
        return;
    }
    t->row_counter = vector_loop(t->f, rows, 0, 1, NULL, NULL, 0);
    emit_tiles(t, e, count, true, NULL);
    vector_end(t->f, NULL, NULL);
    t->row_counter = -1;
}

static void emit_border(Code *t, ExprEmitter *e) {
    int limits[PIXELS_MAX_LOOPS];
    for (int i = 0; i < t->p->loop_count; i++)
        limits[i] = vector_parameter(t->f, CLASS_INDEX, arena_printf(t->f->arena, "taps%d", i));
    int count = vector_parameter(t->f, CLASS_INDEX, "lanes");
    start_groups(t);
    start_still(t, e);
    emit_tiles(t, e, count, t->p->inner_loop, limits);
}

const VectorFunction *pixels_emit(const Pixels *p, Compiled *c, const PixelTile *kind, bool border, const char **why,
                                  whet_error *err) {
    Code *t = ARENA_NEW(c->vectors, Code);
    VectorFunction *f =
        schedule_function(c->vectors, arena_printf(c->vectors, "window_%d%s", kind->columns, border ? "_border" : ""), p->target);
    if (!t || !f)
        return error_memory(err), NULL;
    *t = (Code){
        .p = p, .nest = &p->nest, .f = f, .kind = kind, .row_counter = -1, .lane_counter = -1, .column_counter = -1, .mask = -1};
    ExprEmitter e = {.f = f,
                     .definition = t->nest->definition,
                     .kernel = t->nest->kernel,
                     .constant = p->w->known,
                     .read = read_operand,
                     .special = shared,
                     .context = t};
    if (!expr_start(&e, c->vectors) || !start_views(t, c->vectors, &e))
        return error_memory(err), NULL;
    t->in_f32 = fits_f32(t, &e);
    t->far = p->h >= 0 && image_bytes(t, p->x) + image_bytes(t, 0) > (double)c->target.cache_bytes[1];
    for (int a = 0; a < t->nest->axis_count; a++)
        t->tap_counter[a] = -1;
    for (int i = 0; i < t->nest->access_count; i++)
        t->pointer[i] = vector_parameter(f, CLASS_POINTER,
                                         arena_printf(c->vectors, "%s%d",
                                                      i == 0      ? "y"
                                                      : i == p->x ? "x"
                                                                  : "w",
                                                      i));
    pixels_order_steps(t);
    if (border)
        emit_border(t, &e);
    else
        emit_whole(t, &e);
    *why = e.refused;
    return !e.refused && vector_finish(f, err) ? f : NULL;
}
