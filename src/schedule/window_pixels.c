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

enum { SPELLED_OUT = 400, ALONE = 24, L1_BYTES = 20 << 10, MAX_TILES = 1 << 20, FAR = 1 << 30 };

/* ---- recognition ---- */

static bool find_lanes(Pixels *p, const ScheduleOptions *options, const char **why) {
    const Nest *nest = &p->nest;
    p->v = p->packed = -1;
    for (int a = 0; a < nest->parallel_count; a++)
        if (nest->axis[a].extent > 1 && nest->access[0].stride[a] == 1)
            p->v = a;
    int64_t stride = p->v < 0 ? 0 : nest->access[p->x].stride[p->v];
    if (stride != 1 && stride != 2) {
        *why = "lanes along which the window is not contiguous";
        return false;
    }
    pixels_find_packed(p, options);
    if (p->w->mixed >= 0 && p->packed < 0)
        *why = "factors of groups that cannot be packed";
    for (int i = 1; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        if (i == p->packed || i == p->x)
            continue;
        if (access->guard_count || (access->stride[p->v] != 0 && access->stride[p->v] != 1))
            *why = "a second read with guards or strides";
    }
    return *why == NULL;
}

static bool can_leave(const Slide *s, int64_t places) {
    int64_t last = s->offset + s->step * (places - 1) + s->dilation * (s->taps - 1);
    return s->offset < 0 || last >= s->extent;
}

/* Loops over places, and over taps, are those of one slide each. */
static bool shares_axis(const Slide *a, const Slide *b) {
    return (a->tap >= 0 && a->tap == b->tap) || (a->place >= 0 && a->place == b->place);
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
    for (int a = 0; a < nest->parallel_count && s.place < 0; a++) /* one place is one, too: images of one pixel */
        if (index->coef[a] > 0 && a != p->v) {
            s.place = a;
            s.step = index->coef[a];
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
    bool shared = p->lines && shares_axis(&s, &p->lane);
    for (int i = 0; i < p->slide_count; i++)
        shared = shared || shares_axis(&s, &p->slide[i]);
    if (s.place == p->v && (s.taps > 1 || s.guarded || s.step > 1)) {
        p->lines = true;
        p->lane = s;
    } else if (s.guarded || (s.taps > 1 && s.place >= 0))
        p->slide[p->slide_count++] = s;
    else
        shared = false;
    if (shared)
        *why = "a diagonal of places or of taps";
    return *why == NULL;
}

/* Where the lanes alone slide, the longest axis beside them, be it of one place, stands for one that does. */
static void find_still_axis(Pixels *p) {
    const Nest *nest = &p->nest;
    int best = -1;
    for (int a = 0; a < nest->parallel_count; a++)
        if (a != p->v && (best < 0 || nest->axis[a].extent > nest->axis[best].extent))
            best = a;
    if (best < 0)
        return;
    p->pixel = p->slide_count++;
    p->slide[p->pixel] =
        (Slide){.place = best, .tap = -1, .extent = nest->axis[best].extent, .step = 1, .dilation = 1, .taps = 1};
}

static bool find_slides(Pixels *p, const char **why) {
    const Nest *nest = &p->nest;
    const Expr *read = nest->access[p->x].read;
    for (int d = 0; d < read->index_count; d++)
        if ((p->w->mixed < 0 || !read->index[d].coef[p->w->mixed]) &&
            !add_slide(p, &read->index[d], nest->kernel->tensors[read->tensor].dims[d], read->guarded, why))
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
    if ((p->lines ? p->lane.step : 1) != nest->access[p->x].stride[p->v])
        *why = "lines that are not contiguous";
    if (p->pixel < 0 && p->lines)
        find_still_axis(p);
    if (p->pixel < 0)
        *why = "no axis that slides";
    if (*why)
        return false;
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
    guarded = guarded || p->lane.guarded;
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
        bool slides = nest->axis[a].extent == 1 || (p->lines && a == p->lane.tap);
        for (int i = 0; i < p->slide_count; i++)
            slides = slides || p->slide[i].tap == a;
        if (!slides)
            p->rest[p->rest_count++] = a;
    }
}

/* Nothing but the window and numbers. */
static bool reads_alone(const Pixels *p, const Expr *e) {
    if (e->op == EXPR_READ)
        return e == p->nest.access[p->x].read;
    for (int i = 0; i < 3 && e->arg[i]; i++)
        if (!reads_alone(p, e->arg[i]))
            return false;
    return e->op != EXPR_AXIS;
}

static int64_t vectors_of(int64_t length, int bytes) {
    return (4 * length + bytes - 1) / bytes;
}

/* Shorter vectors, where the machine loses nothing by them and they fill lines better. Vectors of stride 2 are taken apart into
 * two taps, which are met together. */
static bool plan_lines(Pixels *p, Compiled *c, const ScheduleOptions *options, const char **why) {
    const Target *target = &c->target;
    const Slide *s = &p->lane;
    bool alone = s->taps > 1 && reads_alone(p, p->w->reduction->arg[0]);
    p->line_first = alone && p->w->reduction->reduce >= REDUCE_MAX;
    p->lane_group = alone ? (int)s->taps : s->step == 2 && s->dilation == 1 && s->taps > 1 ? 2 : 1;
    if (!target->masked)
        *why = "lines, whose ends are loaded under masks";
    int64_t length = p->nest.axis[p->v].extent;
    Target *half = s->step == 1 && target->halve && !options->whole ? ARENA_NEW(&c->arena, Target) : NULL;
    if (half && target->halve(target, half) && vectors_of(length, half->bytes) * 17 < vectors_of(length, target->bytes) * 32)
        p->target = half;
    p->lanes = p->target->bytes / 4;
    return *why == NULL;
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
    const Slide *s = &p->slide[p->pixel];
    int64_t count = 0;
    for (int i = 1; i < nest->access_count; i++)
        count += i != p->x && ((s->tap >= 0 && nest->access[i].stride[s->tap]) ||
                               (p->lines && p->lane.tap >= 0 && nest->access[i].stride[p->lane.tap]));
    return count * s->taps * (p->lines ? p->lane_group : 1);
}

static bool few_taps(const Pixels *p, int64_t columns) {
    const Slide *s = &p->slide[p->pixel];
    int64_t taps = columns * s->taps;
    if (p->line_first)
        taps += (s->step * columns + s->taps) * p->lane.taps;
    else if (p->lines)
        taps = least(taps * p->lane.taps, 1 << 20);
    for (int i = 0; i < p->rest_count; i++)
        taps = least(taps * p->nest.axis[p->rest[i]].extent, 1 << 20);
    return taps <= SPELLED_OUT;
}

/* Rows of the image with taps outside, at either end. */
static int64_t border(const Slide *s, int64_t extent, bool end) {
    int64_t count = 0, from = 0, to = s->taps;
    for (; count < extent; count++) {
        pixels_inside(s, end ? extent - 1 - count : count, &from, &to);
        if (to - from == s->taps)
            break;
    }
    return count;
}

/* Time of `rows` in tiles of n, relative: short tiles cannot hide the latency of their sums. */
static int64_t tiles_cost(int64_t rows, int64_t n, int64_t few) {
    int64_t whole = rows / n, rest = rows % n;
    return whole * ((n < few ? few : n) + 1) + (rest ? (rest < few ? few : rest) + 2 : 0);
}

/* Lines: what lies between the borders is a loop of tiles, so that code does not grow with them; and a little speed is given for
 * less code. */
static int64_t columns_cost(const Pixels *p, int64_t n) {
    const Slide *s = &p->slide[p->pixel];
    int64_t width = p->nest.axis[p->p].extent;
    if (!p->lines)
        return tiles_cost(width, n, ceiling(6, p->sums));
    int64_t top = border(s, width, false), between = width - top - border(s, width, true), few = p->lanes < 16 ? 6 : 4;
    if (width <= n)
        return (width + 1) * (60 + width);
    if (between < n)
        return tiles_cost(width, n, few) * (60 + width);
    int64_t rest = width - top - between / n * n;
    return (tiles_cost(top, n, 2) + tiles_cost(between / n * n, n, few) + tiles_cost(rest, n, 2)) * (60 + top + n + rest);
}

/* Columns that so many sums each leave registers for, beside what lanes are turned by. */
static int64_t columns_of(const Pixels *p, int64_t room, int64_t factors, int64_t sums) {
    int64_t turns = p->w->mixed < 0 ? 0 : p->w->group / sums - 1 + sums - 1;
    return (room - turns - (p->keeps ? factors : 1)) / sums;
}

/* As few tiles as registers allow. */
static void choose_columns(Pixels *p, const ScheduleOptions *options) {
    enum { ENOUGH = 4 }; /* columns for each factor that is loaded */
    int registers = p->target->registers[CLASS_VECTOR], room = registers - 3 - options->spare_registers;
    int64_t factors = factor_count(p), best_cost = 0;
    p->keeps = factors <= room / 2;
    p->sums = p->w->mixed < 0 ? 1 : (int)p->w->group;
    while (p->sums > 1 && columns_of(p, room, factors, p->sums) < ENOUGH)
        p->sums /= 2;
    int most = (int)least(columns_of(p, room, factors, p->sums), PIXELS_MAX_COLUMNS);
    if (options->mr)
        most = (int)least(most, options->mr);
    p->columns = 1;
    for (int n = 1; n <= most && (n == 1 || !p->lines || few_taps(p, n)); n++) {
        int64_t cost = columns_cost(p, n);
        if (n == 1 || cost <= best_cost || options->mr) {
            p->columns = n;
            best_cost = cost;
        }
    }
}

static PixelTile tile_at(const Pixels *p, int64_t start, int64_t columns) {
    PixelTile tile = {.columns = (int)columns};
    for (int i = 0; i < tile.columns; i++) {
        int64_t from, to;
        pixels_inside(&p->slide[p->pixel], start + i, &from, &to);
        tile.from[i] = (int)from, tile.to[i] = (int)to;
    }
    return tile;
}

/* Rows [start, end) as tiles: a run of whole ones, and what is left. */
static bool add_runs(Pixels *p, int64_t start, int64_t end, bool alike) {
    while (start < end) {
        int64_t columns = least(p->columns, end - start), count = alike ? (end - start) / columns : 1;
        if (p->kind_count == PIXELS_MAX_KINDS)
            return false;
        p->kind[p->kind_count] = tile_at(p, start, columns);
        p->run[p->kind_count++] = (LineRun){start, count};
        start += count * columns;
    }
    return true;
}

static bool find_runs(Pixels *p, const char **why) {
    const Slide *s = &p->slide[p->pixel];
    int64_t width = p->nest.axis[p->p].extent, top = border(s, width, false), between = width - top - border(s, width, true);
    if (width <= p->columns || between < p->columns)
        top = between = 0;
    between -= between % p->columns;
    if (!add_runs(p, 0, top, false) || !add_runs(p, top, top + between, true) || !add_runs(p, top + between, width, false))
        *why = "borders of too many kinds";
    return *why == NULL;
}

static bool find_kinds(Pixels *p, Compiled *c, const char **why, whet_error *err) {
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
        PixelTile tile = tile_at(p, t * p->columns, least(p->columns, width - t * p->columns));
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

/* Lines: one unit is whole planes. */
static void whole_planes(Pixels *p) {
    p->tiles = p->blocks = p->block = p->vectors = 1;
}

static int64_t tap_count(const Pixels *p) {
    const Nest *nest = &p->nest;
    int64_t taps = 1;
    for (int a = nest->parallel_count; a < nest->axis_count; a++)
        taps = least(taps * nest->axis[a].extent, 1 << 20);
    return taps;
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
    for (int i = 0; i < (p->lines ? 1 : p->kind_count); i++) {
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
    if (p->lines) {
        text_printf(out, "window along lines: tiles of %d lines x %d lanes, %d runs of them%s\n", p->columns, p->lanes,
                    p->kind_count, p->line_first ? ", taps of a line first" : "");
        return;
    }
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
    p->target = &c->target;
    p->lanes = c->target.bytes / 4;
    if (!find_lanes(p, options, why) || !find_slides(p, why) || !check_outside(p, why))
        return false;
    find_axes(p);
    if (p->lines && !plan_lines(p, c, options, why))
        return false;
    choose_columns(p, options);
    if (!few_taps(p, p->columns))
        *why = "a window of too many taps in a row";
    else if (p->lines && p->nest.axis[p->p].extent == 1 && tap_count(p) > ALONE)
        *why = "a single line of many taps: each addition waits for the one before, and every border is long code";
    if (*why)
        return false;
    if (p->lines ? !find_runs(p, why) : !find_kinds(p, c, why, err))
        return false;
    if (p->lines)
        whole_planes(p);
    else
        choose_block(p);
    p->spelled = tap_count(p) * p->columns <= SPELLED_OUT || (p->lines && !p->loop_count);
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
