/* Windows over pixels: those whose lanes do not slide (channels last), in any number of dimensions.
 *
 * A tile is one vector of channels by some neighbouring pixels of a row (columns), one accumulator each: every vector of the
 * input is loaded once for all the taps that need it, a row's factors stay in registers. Where taps would be outside, they are
 * left out: along the row when vector code is made (tiles at its ends are kinds of their own), across rows by a function whose
 * loops over taps have bounds. So nothing is copied and nothing masked. That asks for taps outside that change nothing: zeros
 * in a sum, -inf in a maximum.
 *
 *     driver: for what is outer, block of channels (a few rows of one tile stay in L1), tile
 *       vector code: for row: for vector of channels: all taps
 *
 * Channels that are left over take one more vector, moved back to end with the last channel: its first lanes are computed
 * again, to the same bits. Fewer channels than lanes are masked. One element's taps come in the kernel's order, in whatever
 * tile: the same bits always. */
#include "schedule/window_pixels.h"

#include <math.h>
#include <string.h>

enum { SPELLED_OUT = 400, L1_BYTES = 20 << 10, MAX_TILES = 1 << 20, FAR = 1 << 30 };

/* ---- recognition ---- */

static bool find_lanes(Pixels *p, const ScheduleOptions *options, const char **why) {
    const Nest *nest = &p->nest;
    p->v = p->packed = -1;
    for (int a = 0; a < nest->parallel_count; a++)
        if (nest->axis[a].extent > 1 && nest->access[0].stride[a] == 1)
            p->v = a;
    if (p->v < 0 || nest->access[p->x].stride[p->v] != 1) {
        *why = "lanes along which the window is not contiguous";
        return false;
    }
    pixels_find_packed(p, options);
    for (int i = 1; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        if (i == p->packed)
            continue;
        if ((access->guard_count && i != p->x) || (access->stride[p->v] != 0 && access->stride[p->v] != 1))
            *why = "a second read with guards or strides";
        for (int g = 0; g < access->guard_count; g++)
            if (access->guard[g].coef[p->v])
                *why = "guards along the lanes";
    }
    return *why == NULL;
}

static bool can_leave(const Slide *s, int64_t places) {
    int64_t last = s->offset + s->step * (places - 1) + s->dilation * (s->taps - 1);
    return s->offset < 0 || last >= s->extent;
}

/* One dimension of the window's read. */
static bool add_slide(Pixels *p, const Index *index, int64_t extent, bool guarded, const char **why) {
    const Nest *nest = &p->nest;
    Slide s = {.place = -1, .tap = -1, .offset = index->offset, .extent = extent, .taps = 1};
    for (int a = 0; a < nest->axis_count; a++) {
        if (!index->coef[a] || nest->axis[a].extent == 1)
            continue;
        int *slot = nest->axis[a].reduced ? &s.tap : &s.place;
        if (*slot >= 0 || index->coef[a] < 0) {
            *why = "an index of more than one place and one tap";
            return false;
        }
        *slot = a;
        *(nest->axis[a].reduced ? &s.dilation : &s.step) = index->coef[a];
    }
    for (int a = nest->parallel_count; a < nest->axis_count && s.tap < 0; a++) /* one tap is one, too */
        if (index->coef[a] > 0) {
            s.tap = a;
            s.dilation = index->coef[a];
        }
    if (s.tap >= 0)
        s.taps = nest->axis[s.tap].extent;
    s.guarded = guarded && can_leave(&s, s.place < 0 ? 1 : nest->axis[s.place].extent);
    if (s.tap < 0 && s.guarded)
        *why = "a guarded index without a tap";
    if (s.offset < -FAR || s.offset > FAR || s.step > FAR || s.dilation > FAR)
        *why = "an index far outside";
    if (s.place == p->v && (s.taps > 1 || s.guarded))
        *why = "lanes that slide";
    if (s.guarded || (s.taps > 1 && s.place >= 0))
        p->slide[p->slide_count++] = s;
    return *why == NULL;
}

static bool find_slides(Pixels *p, const char **why) {
    const Nest *nest = &p->nest;
    const Expr *read = nest->access[p->x].read;
    for (int d = 0; d < read->index_count; d++)
        if (!add_slide(p, &read->index[d], nest->kernel->tensors[read->tensor].dims[d], read->guarded, why))
            return false;
    p->pixel = p->row = -1; /* pixels are along the innermost slide, rows along the next */
    for (int i = p->slide_count - 1; i >= 0; i--) {
        if (p->slide[i].place < 0)
            continue;
        if (p->pixel < 0)
            p->pixel = i;
        else if (p->row < 0)
            p->row = i;
    }
    if (p->pixel < 0) {
        *why = "no axis that slides";
        return false;
    }
    p->p = p->slide[p->pixel].place;
    for (int i = 0; i < p->slide_count; i++)
        if (i != p->pixel) {
            if (p->loop_count == PIXELS_MAX_LOOPS) {
                *why = "a window of more than four dimensions";
                return false;
            }
            p->loop[p->loop_count++] = i;
        }
    return true;
}

/* What a tap outside contributes, where that follows from the value outside alone. */
static bool value_outside(const Pixels *p, const Expr *e, double *out) {
    const Access *x = &p->nest.access[p->x];
    double a, b;
    if (e == x->read || e->op == EXPR_NUMBER) {
        *out = e == x->read ? x->outside : e->is_float ? e->number : (double)e->integer;
        return true;
    }
    bool first = e->arg[0] && e->op != EXPR_READ && value_outside(p, e->arg[0], &a);
    bool second = e->arg[1] && e->op != EXPR_READ && value_outside(p, e->arg[1], &b);
    *out = 0;
    if (e->op == EXPR_MUL && ((first && a == 0) || (second && b == 0))) /* what it is multiplied with is finite */
        return true;
    if (e->op == EXPR_SUB && first && second)
        *out = a - b;
    else if (e->op == EXPR_CAST && first)
        *out = a;
    else
        return false;
    return true;
}

static bool is_neutral(ReduceOp op, DType type, double value) {
    if (op == REDUCE_SUM)
        return value == 0;
    if (op == REDUCE_PROD)
        return value == 1;
    if (dtype_kind(type) == KIND_FLOAT)
        return isinf(value) && (value < 0) == (op == REDUCE_MAX);
    double low = type == DT_U8   ? 0
                 : type == DT_S8 ? -128
                                 : -2147483648.0,
           high = type == DT_U8   ? 255
                  : type == DT_S8 ? 127
                                  : 2147483647;
    return value == (op == REDUCE_MAX ? low : high);
}

static bool check_outside(const Pixels *p, const char **why) {
    const Expr *reduction = p->w->reduction;
    double value;
    bool guarded = false;
    for (int i = 0; i < p->slide_count; i++)
        guarded = guarded || p->slide[i].guarded;
    if (!guarded || (value_outside(p, reduction->arg[0], &value) && is_neutral(reduction->reduce, reduction->type, value)))
        return true;
    *why = "taps outside that count";
    return false;
}

/* The rows that vector code walks: along the row's slide, or, where only pixels slide, along the longest axis. */
static void find_axes(Pixels *p) {
    const Nest *nest = &p->nest;
    p->h = p->row >= 0 ? p->slide[p->row].place : -1;
    for (int a = 0; a < nest->parallel_count && p->row < 0; a++)
        if (a != p->v && a != p->p && nest->axis[a].extent > 1 && (p->h < 0 || nest->axis[a].extent > nest->axis[p->h].extent))
            p->h = a;
    for (int a = 0; a < nest->parallel_count; a++)
        if (a != p->v && a != p->p && a != p->h && nest->axis[a].extent > 1)
            p->outer[p->outer_count++] = a;
    for (int a = nest->parallel_count; a < nest->axis_count; a++) {
        bool slides = nest->axis[a].extent == 1;
        for (int i = 0; i < p->slide_count; i++)
            slides = slides || p->slide[i].tap == a;
        if (!slides)
            p->rest[p->rest_count++] = a;
    }
}

/* ---- tiles ---- */

static int64_t floor_div(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

void pixels_inside(const Slide *s, int64_t place, int64_t *from, int64_t *to) {
    *from = 0;
    *to = s->taps;
    if (!s->guarded)
        return;
    int64_t at = s->offset + s->step * place;
    int64_t first = -floor_div(at, s->dilation), end = floor_div(s->extent - 1 - at, s->dilation) + 1;
    *from = first < 0 ? 0 : least(first, s->taps);
    *to = end < *from ? *from : least(end, s->taps);
}

static int64_t factor_count(const Pixels *p) {
    const Nest *nest = &p->nest;
    int64_t count = 0;
    for (int i = 1; i < nest->access_count; i++)
        count += i != p->x && nest->access[i].stride[p->slide[p->pixel].tap] != 0;
    return count * p->slide[p->pixel].taps;
}

/* As few tiles as registers allow; short ones cannot hide the latency of their sums. */
static void choose_columns(Pixels *p, const Target *target, const ScheduleOptions *options) {
    int registers = target->registers[CLASS_VECTOR], room = registers - 3 - options->spare_registers;
    int64_t width = p->nest.axis[p->p].extent, factors = factor_count(p);
    p->keeps = factors <= room / 2;
    int most = (int)least(room - (p->keeps ? (int)factors : 1), PIXELS_MAX_COLUMNS), best_cost = 0;
    if (options->mr)
        most = (int)least(most, options->mr);
    p->columns = 1;
    for (int n = 1; n <= most; n++) {
        int64_t whole = width / n, rest = width % n;
        int cost = (int)least(whole * ((n < 6 ? 6 : n) + 1) + (rest ? (rest < 6 ? 6 : rest) + 2 : 0), 1 << 30);
        if (n == 1 || cost <= best_cost || options->mr) {
            p->columns = n;
            best_cost = cost;
        }
    }
}

static bool find_kinds(Pixels *p, Compiled *c, const char **why, whet_error *err) {
    const Slide *s = &p->slide[p->pixel];
    int64_t width = p->nest.axis[p->p].extent;
    p->tiles = (width + p->columns - 1) / p->columns;
    if (p->tiles > MAX_TILES) {
        *why = "rows of too many tiles";
        return false;
    }
    p->kind_of = ARENA_ARRAY(&c->arena, unsigned char, (size_t)p->tiles);
    if (!p->kind_of)
        return error_memory(err), false;
    for (int64_t t = 0; t < p->tiles; t++) {
        PixelTile tile = {.columns = (int)least(p->columns, width - t * p->columns)};
        for (int i = 0; i < tile.columns; i++) {
            int64_t from, to;
            pixels_inside(s, t * p->columns + i, &from, &to);
            tile.from[i] = (int)from, tile.to[i] = (int)to;
        }
        int kind = 0;
        while (kind < p->kind_count && memcmp(&p->kind[kind], &tile, sizeof tile) != 0)
            kind++;
        if (kind == PIXELS_MAX_KINDS) {
            *why = "borders of too many kinds";
            return false;
        }
        if (kind == p->kind_count)
            p->kind[p->kind_count++] = tile;
        p->kind_of[t] = (unsigned char)kind;
    }
    return true;
}

/* Rows of one tile stay in L1 while the window slides over them. */
static void choose_block(Pixels *p) {
    const Nest *nest = &p->nest;
    int64_t lanes = nest->axis[p->v].extent, lines = 1;
    for (int i = 0; i < p->slide_count; i++) {
        const Slide *s = &p->slide[i];
        int64_t reach = least(s->dilation * (s->taps - 1) + 1, L1_BYTES);
        lines *= i == p->pixel ? reach + s->step * (p->columns - 1) : reach;
        lines = least(lines, L1_BYTES);
    }
    p->vectors = lanes / p->lanes;
    p->edge = lanes % p->lanes;
    int64_t most = L1_BYTES / (lines * p->lanes * 4);
    p->block = least(most < 4 ? 4 : most, p->vectors ? p->vectors : 1);
    p->blocks = (p->vectors + p->block - 1) / p->block;
    p->block = p->blocks ? (p->vectors + p->blocks - 1) / p->blocks : 1; /* blocks alike */
    p->blocks = (p->vectors + p->block - 1) / p->block;
}

static int64_t tap_count(const Pixels *p) {
    const Nest *nest = &p->nest;
    int64_t taps = 1;
    for (int a = nest->parallel_count; a < nest->axis_count; a++)
        taps = least(taps * nest->axis[a].extent, 1 << 20);
    return taps;
}

static bool written_out(const Pixels *p, const char **why) {
    int64_t taps = p->columns * p->slide[p->pixel].taps;
    for (int i = 0; i < p->rest_count; i++)
        taps = least(taps * p->nest.axis[p->rest[i]].extent, 1 << 20);
    if (taps > SPELLED_OUT)
        *why = "a window of too many taps in a row";
    return taps <= SPELLED_OUT;
}

/* ---- the door ---- */

static bool emit_kind(Pixels *p, Compiled *c, int kind, bool border, const char **why, whet_error *err) {
    const VectorFunction *f = pixels_emit(p, c, &p->kind[kind], border, why, err);
    if (!f)
        return false;
    (border ? p->border : p->whole)[kind] = c->function_count;
    c->functions[c->function_count++] = f;
    return true;
}

static bool emit_all(Pixels *p, Compiled *c, const char **why, whet_error *err) {
    bool borders = !p->spelled;
    for (int i = 0; i < p->loop_count; i++)
        borders = borders || p->slide[p->loop[i]].guarded;
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 2 * PIXELS_MAX_KINDS);
    if (!c->functions)
        return error_memory(err), false;
    for (int i = 0; i < p->kind_count; i++) {
        p->whole[i] = p->border[i] = -1;
        if (p->spelled && !emit_kind(p, c, i, false, why, err))
            return false;
        if (borders && !emit_kind(p, c, i, true, why, err))
            return false;
    }
    return true;
}

static void pixels_print(const Compiled *c, Text *out) {
    const Pixels *p = c->state;
    text_printf(out, "window over pixels: %lld tiles of %d pixels x %d lanes of %d kinds, %lld blocks of %lld vectors, %s\n",
                (long long)p->tiles, p->columns, p->lanes, p->kind_count, (long long)p->blocks, (long long)p->block,
                p->spelled ? "all taps written out" : "taps of a row written out");
}

bool window_pixels(const Window *w, int window, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Pixels *p = NEST_PLAN(&c->arena, Pixels);
    if (!p)
        return error_memory(err), false;
    p->w = w;
    p->nest = w->nest;
    p->x = window;
    p->lanes = c->target.bytes / 4;
    if (!find_lanes(p, options, why) || !find_slides(p, why) || !check_outside(p, why))
        return false;
    find_axes(p);
    choose_columns(p, &c->target, options);
    if (!written_out(p, why) || !find_kinds(p, c, why, err))
        return false;
    choose_block(p);
    p->spelled = tap_count(p) * p->columns <= SPELLED_OUT;
    p->inner_loop = p->loop_count < 2 && !options->spare_registers && p->vectors;
    if (!emit_all(p, c, why, err))
        return false;
    if (!pixels_describe_packing(p, c))
        return error_memory(err), false;
    c->template = "window";
    c->knobs = (ScheduleKnobs){.mr = p->columns, .nv = 1};
    c->state = p;
    c->run = pixels_run;
    c->print = pixels_print;
    return true;
}
