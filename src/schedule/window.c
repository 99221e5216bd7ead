/* Windows: y[...] = f(reduce(k...) g(x[2*h + i - 1, 2*w + j - 1]?, ...), ...), f32: depthwise convolution and pooling, in any
 * number of dimensions, channels first or last.
 *
 * The axis along which the result is contiguous (V) runs over the lanes. A unit of work is a block of the result: V whole, the
 * axis T that is the rows of a tile, and one or two axes around them, as much as keeps its inputs in L1; the outermost of them
 * may be cut into bands. The driver walks all other axes and spreads units over threads.
 *
 * A read with guards, or with a stride along V, goes through a buffer: the box of the tensor that a unit needs, with what a read
 * outside gives around it, every line of stride s taken apart into s lines of stride 1. So the vector code knows no borders
 * and no strides: it loads whole vectors at constant distances, and only what it stores is masked. Boxes are copied once a unit,
 * not once a tap, and what surrounds them is written again only when it moves. Other reads are direct.
 *
 * A tile is `rows` x `vectors` accumulators; its taps are written out, ordered so that a vector that was loaded serves all the
 * rows that need it. One element's taps come in the same order whatever the tile and the unit: the same bits always.
 *
 * Definitions before the main one that read no input (counts of elements inside, for AveragePool) are computed when compiling. */
#include "schedule/window.h"
#include "kernel/rewrite.h"
#include "schedule/window_pixels.h"

#include <string.h>

/* Floats of a box, and elements of a unit that needs none: L1 holds it beside what is written. */
enum { UNIT_FLOATS = 6144, L2_FLOATS = 1 << 16, MAX_BUFFER = 1 << 19, WRITTEN_OUT = 32 };

/* ---- recognition ---- */

/* Definitions but the last and views: those without inputs become numbers now. */
static bool compute_temporaries(Window *w, Compiled *c, const char **why, whet_error *err) {
    Kernel part = *c->kernel;
    part.definition_count = 0;
    part.definitions = ARENA_ARRAY(&c->arena, Definition, (size_t)c->kernel->definition_count);
    if (!part.definitions)
        return error_memory(err), false;
    for (int i = 0; i + 1 < c->kernel->definition_count; i++)
        if (!w->view[c->kernel->definitions[i].tensor].definition)
            part.definitions[part.definition_count++] = c->kernel->definitions[i];
    if (!part.definition_count)
        return true;
    part.tensors = ARENA_ARRAY(&c->arena, KernelTensor, (size_t)part.tensor_count);
    if (!part.tensors)
        return error_memory(err), false;
    memcpy(part.tensors, c->kernel->tensors, (size_t)part.tensor_count * sizeof *part.tensors);
    part.tensors[w->nest.definition->tensor].count = 0; /* nobody writes it here */
    for (int i = 0; i < part.definition_count; i++) {
        const Definition *d = &part.definitions[i];
        KernelTensor *tensor = &part.tensors[d->tensor];
        for (int e = 0; e < d->expr_count; e++)
            if (d->exprs[e]->op == EXPR_READ && !w->temporary[d->exprs[e]->tensor])
                *why = "more than one definition with inputs";
        if (tensor->role != ROLE_TEMPORARY || tensor->type != DT_F32 || tensor->count > UNIT_FLOATS)
            *why = "a definition that is not a small table of f32";
        if (*why)
            return false;
        tensor->role = ROLE_OUTPUT;
        w->temporary[d->tensor] = ARENA_ARRAY(&c->arena, float, (size_t)tensor->count + 1);
        if (!w->temporary[d->tensor])
            return error_memory(err), false;
    }
    void *data[KERNEL_MAX_TENSORS] = {0};
    for (int t = 0; t < part.tensor_count; t++)
        data[t] = w->temporary[t];
    return kernel_eval(&part, data, NULL, err) == WHET_OK;
}

/* The nest with the definition's axes as they are, so that they can be told from dimensions. */
static bool describe(Window *w, const Kernel *kernel, const char **why) {
    const Definition *d = &kernel->definitions[kernel->definition_count - 1];
    Nest simple, *nest = &w->nest;
    if (!nest_of(kernel, d, &simple, why))
        return false;
    w->covers = simple.covers;
    for (int a = 0; a < d->axis_count; a++)
        if (!d->axes[a].extent) {
            *why = "nothing to reduce";
            return false;
        }
    if (!nest_begin(kernel, d, nest, why))
        return false;
    window_find_views(w, kernel);
    return window_add_views(w, why);
}

static bool all_f32(const Window *w, const char **why) {
    const Nest *nest = &w->nest;
    for (int i = 0; i < nest->access_count; i++)
        if (nest->access[i].type != DT_F32)
            *why = "a window of a type other than f32";
    for (int i = 1; i < nest->access_count; i++)
        if (w->view[nest->access[i].read->tensor].definition)
            *why = "more than one definition with inputs";
    return *why == NULL;
}

static bool find_reduction(Window *w, const char **why) {
    const Definition *d = w->nest.definition;
    int count = 0;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE) {
            w->reduction = d->exprs[i];
            count++;
        }
    if (count != 1 || w->reduction->axis_count != d->axis_count - d->parallel_count)
        *why = "not one reduction";
    else if (w->reduction->reduce > REDUCE_MIN)
        *why = "a reduction other than sum, prod, max and min";
    return *why == NULL;
}

static bool moves(const Nest *nest, const Index *index, bool reduced) {
    for (int a = 0; a < nest->axis_count; a++)
        if (nest->axis[a].reduced == reduced && nest->axis[a].extent > 1 && index->coef[a])
            return true;
    return false;
}

/* A dimension in which both the result's place and the reduction move. */
static bool is_window(const Nest *nest, int access) {
    const Expr *read = nest->access[access].read;
    if (!read)
        return false;
    for (int i = 0; i < read->index_count; i++)
        if (moves(nest, &read->index[i], false) && moves(nest, &read->index[i], true))
            return true;
    return nest->access[access].guard_count > 0;
}

/* A reduced axis that is a dimension as a whole: channels. */
static bool all_of(const Nest *nest, const Expr *read, int index, int axis) {
    const Index *i = &read->index[index];
    return !moves(nest, i, false) && i->offset == 0 && i->coef[axis] == 1 &&
           nest->axis[axis].extent == nest->kernel->tensors[read->tensor].dims[index];
}

/* The read that is a window; what moves with the result but not with it, and what it is summed over without moving with the
 * result, make a contraction. */
static bool find_window(Window *w, int *window, const char **why) {
    const Nest *nest = &w->nest;
    int64_t more = 1;
    *window = -1;
    for (int i = 1; i < nest->access_count && *window < 0; i++)
        if (is_window(nest, i))
            *window = i;
    if (*window < 0) {
        *why = "no read of a window";
        return false;
    }
    const Expr *read = nest->access[*window].read;
    for (int a = 0; a < nest->parallel_count; a++)
        if (!nest->access[*window].stride[a])
            more *= nest->axis[a].extent;
    for (int i = 0; i < read->index_count; i++)
        for (int a = nest->parallel_count; a < nest->axis_count; a++)
            if (all_of(nest, read, i, a))
                more *= nest->axis[a].extent;
    if (more >= 4 && w->reduction->reduce == REDUCE_SUM && w->reduction->arg[0]->op == EXPR_MUL &&
        !window_merge_groups(w, *window))
        *why = "a contraction";
    return *why == NULL;
}

/* ---- the plan ---- */

static bool below_reduction(const Expr *expr, const Expr *read) {
    if (expr == read)
        return true;
    for (int i = 0; i < 3 && expr->op != EXPR_READ && expr->op != EXPR_NUMBER; i++)
        if (expr->arg[i] && below_reduction(expr->arg[i], read))
            return true;
    return false;
}

/* Which read goes through the buffer. There is room for one. */
static bool find_buffered(Window *w, const char **why) {
    const Nest *nest = &w->nest;
    w->v = w->x = -1;
    for (int a = 0; a < nest->parallel_count; a++)
        if (nest->axis[a].extent > 1 && nest->access[0].stride[a] == 1)
            w->v = a;
    for (int i = 1; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        int64_t stride = w->v < 0 ? 0 : access->stride[w->v];
        if (!access->guard_count && (stride == 0 || stride == 1))
            continue;
        if (w->x >= 0 || !below_reduction(w->reduction, access->read))
            *why = "more than one read with guards or strides";
        w->x = i;
    }
    return *why == NULL;
}

/* Dimensions of the buffered read, the line last: the one along which V moves, or the innermost. */
static bool find_dims(Window *w, const char **why) {
    if (w->x < 0)
        return true;
    const Expr *read = w->nest.access[w->x].read;
    const KernelTensor *tensor = &w->nest.kernel->tensors[read->tensor];
    if (tensor->rank > WINDOW_MAX_DIMS) {
        *why = "a window of more dimensions than the buffer has";
        return false;
    }
    int line = tensor->rank - 1, found = 0;
    for (int d = 0; d < tensor->rank && w->v >= 0; d++)
        if (read->index[d].coef[w->v]) {
            line = d;
            found++;
        }
    if (found > 1 || (found && read->index[line].coef[w->v] < 0)) {
        *why = "lanes that run through several dimensions, or backwards";
        return false;
    }
    int64_t stride = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        WindowDim *dim = &w->dim[d == line ? tensor->rank - 1 : d > line ? d - 1 : d];
        dim->offset = read->index[d].offset;
        for (int a = 0; a < w->nest.axis_count; a++)
            dim->coef[a] = w->nest.axis[a].extent > 1 ? read->index[d].coef[a] : 0;
        dim->extent = tensor->dims[d];
        dim->stride = stride;
        stride *= tensor->dims[d];
    }
    w->dim_count = tensor->rank;
    w->phases = found ? w->dim[w->dim_count - 1].coef[w->v] : 1;
    return true;
}

/* The box of a unit: lengths, pitches and steps. False: too large. */
static bool lay_out(Window *w) {
    for (int d = 0; d < w->dim_count; d++) {
        WindowDim *dim = &w->dim[d];
        dim->low = 0;
        dim->length = 1;
        for (int a = 0; a < w->nest.axis_count; a++) {
            int64_t reach = dim->coef[a] * (w->extent[a] - 1);
            dim->low += reach < 0 ? reach : 0;
            if (!checked_add(dim->length, reach < 0 ? -reach : reach, &dim->length) || dim->length > MAX_BUFFER)
                return false;
        }
    }
    WindowDim *line = &w->dim[w->dim_count - 1];
    int64_t left = -(line->offset + line->low) / w->phases;
    w->shift = left > 0 ? round_up(left, w->lanes) - left : 0; /* what is inside begins aligned */
    w->phase_pitch = round_up(w->shift + (line->length - 1) / w->phases + w->lanes, w->lanes);
    int64_t pitch = w->phases * w->phase_pitch;
    for (int d = w->dim_count - 2; d >= 0; d--) {
        w->dim[d].pitch = pitch;
        if (!checked_mul(pitch, w->dim[d].length, &pitch) || pitch > MAX_BUFFER)
            return false;
    }
    w->buffer_floats = pitch;
    for (int a = 0; a < w->nest.axis_count; a++) {
        w->step[a] = line->coef[a] / w->phases; /* written-out taps count for themselves */
        for (int d = 0; d < w->dim_count - 1; d++)
            w->step[a] += w->dim[d].coef[a] * w->dim[d].pitch;
    }
    return pitch <= MAX_BUFFER;
}

static bool fits(Window *w, int64_t limit) {
    int64_t elements = 1;
    if (w->x >= 0)
        return lay_out(w) && w->buffer_floats <= limit;
    for (int a = 0; a < w->nest.parallel_count; a++)
        elements *= w->extent[a];
    return elements <= 2 * limit;
}

/* Takes an axis into the unit, or a band of it. False: nothing of it fits but one place. */
static bool take_axis(Window *w, int axis, int64_t limit) {
    int64_t whole = w->nest.axis[axis].extent;
    w->extent[axis] = whole;
    if (fits(w, limit))
        return true;
    int64_t good = 1;
    for (int64_t over = whole; over - good > 1;) {
        w->extent[axis] = good + (over - good) / 2;
        *(fits(w, limit) ? &good : &over) = w->extent[axis];
    }
    w->band = good;
    w->bands = (whole + w->band - 1) / w->band;
    w->band = w->extent[axis] = (whole + w->bands - 1) / w->bands; /* bands alike */
    w->bands = (whole + w->band - 1) / w->band;
    w->band_axis = axis;
    return w->band > 1;
}

static bool slides(const Nest *nest, int window, int axis) {
    const Expr *read = nest->access[window].read;
    for (int i = 0; i < read->index_count; i++)
        if (read->index[i].coef[axis] && moves(nest, &read->index[i], true))
            return true;
    return false;
}

/* The next axis for a unit: one that slides a window before one that does not, and of these the innermost. */
static int next_axis(const Window *w, const bool *taken, int window) {
    const Nest *nest = &w->nest;
    int best = -1;
    bool best_slides = false;
    for (int a = nest->parallel_count - 1; a >= 0; a--) {
        if (taken[a] || nest->axis[a].extent == 1)
            continue;
        if (best < 0 || (slides(nest, window, a) && !best_slides)) {
            best = a;
            best_slides = slides(nest, window, a);
        }
    }
    return best;
}

/* `most`: extra axes. Each is a loop and some pointers. */
static bool choose_unit(Window *w, int window, int most, const char **why) {
    bool taken[NEST_MAX_AXES] = {false};
    w->t = w->band_axis = -1;
    w->bands = 1;
    int sliding = 0; /* where there are several beside V, a box for L1 would be too flat: most of it would be copied again */
    for (int a = 0; a < w->nest.parallel_count; a++)
        sliding += a != w->v && w->nest.axis[a].extent > 1 && slides(&w->nest, window, a);
    for (int a = 0; a < w->nest.axis_count; a++)
        w->extent[a] = w->nest.axis[a].reduced || a == w->v ? w->nest.axis[a].extent : 1;
    if (w->v >= 0)
        taken[w->v] = true;
    if (!fits(w, MAX_BUFFER)) {
        *why = "a window or a line too large for the buffer";
        return false;
    }
    for (int axis; w->band_axis < 0 && (w->t < 0 || w->extra_count < most) && (axis = next_axis(w, taken, window)) >= 0;) {
        taken[axis] = true;
        bool several = take_axis(w, axis, slides(&w->nest, window, axis) && sliding > 1 ? L2_FLOATS : UNIT_FLOATS);
        if (w->t < 0)
            w->t = axis;
        else if (several)
            w->extra[w->extra_count++] = axis;
        else { /* bands of one place are the driver's */
            taken[axis] = false;
            w->band_axis = -1;
            w->bands = 1;
            break;
        }
    }
    for (int a = 0; a < w->nest.parallel_count; a++)
        if (!taken[a])
            w->outer[w->outer_count++] = a;
    return w->x < 0 || lay_out(w);
}

/* Innermost reduced axes are written out, the rest are loops. */
static bool choose_taps(Window *w, const char **why) {
    const Nest *nest = &w->nest;
    const WindowDim *line = w->x >= 0 ? &w->dim[w->dim_count - 1] : NULL;
    int first = nest->axis_count;
    w->taps = 1;
    for (; first > nest->parallel_count && w->taps * nest->axis[first - 1].extent <= WRITTEN_OUT; first--)
        w->taps *= (int)nest->axis[first - 1].extent;
    for (int a = nest->parallel_count; a < first; a++) {
        int64_t extent = nest->axis[a].extent;
        bool must = line && line->coef[a] % w->phases; /* its places lie in different lines */
        if (must && w->taps * extent <= WINDOW_MAX_TAPS)
            w->taps *= (int)extent;
        else if (extent > 1 && (must || w->loop_count == WINDOW_MAX_LOOPS))
            *why = "a window of too many taps";
        else if (extent > 1) {
            w->loop[w->loop_count++] = a;
            continue;
        }
        w->tap_axis[w->tap_axis_count++] = a;
    }
    for (int a = first; a < nest->axis_count; a++)
        w->tap_axis[w->tap_axis_count++] = a;
    for (int a = 0; line && a < nest->parallel_count; a++)
        if (a != w->v && line->coef[a] % w->phases)
            *why = "a parallel axis that is not a multiple of the lanes' stride";
    return *why == NULL;
}

int64_t window_tap_offset(const Window *w, int access, int tap) {
    int64_t digit[NEST_MAX_AXES] = {0}, offset = 0;
    for (int i = w->tap_axis_count - 1; i >= 0; i--) {
        int64_t extent = w->nest.axis[w->tap_axis[i]].extent;
        digit[w->tap_axis[i]] = tap % extent;
        tap /= (int)extent;
    }
    if (access != w->x) {
        for (int a = w->nest.parallel_count; a < w->nest.axis_count; a++)
            offset += digit[a] * w->nest.access[access].stride[a];
        return offset;
    }
    for (int d = 0; d < w->dim_count; d++) {
        int64_t index = -w->dim[d].low;
        for (int a = w->nest.parallel_count; a < w->nest.axis_count; a++)
            index += digit[a] * w->dim[d].coef[a];
        if (d == w->dim_count - 1)
            offset += index % w->phases * w->phase_pitch + w->shift + index / w->phases;
        else
            offset += index * w->dim[d].pitch;
    }
    return offset;
}

/* Factors that stand still in a tile, over all taps: registers they would need. */
static int still_factors(const Window *w) {
    int count = 0;
    for (int i = 1; i < w->nest.access_count; i++) {
        const Access *access = &w->nest.access[i];
        bool still = i != w->x && below_reduction(w->reduction, access->read);
        if (still && !window_step(w, i, w->v) && !window_step(w, i, w->t))
            count += w->taps;
    }
    return w->loop_count ? 1 << 20 : count;
}

/* Factors that move with the lanes but not with the rows. */
static int moving_factors(const Window *w) {
    int count = 0;
    for (int i = 1; i < w->nest.access_count; i++) {
        bool reduced = false;
        for (int a = w->nest.parallel_count; a < w->nest.axis_count; a++)
            reduced = reduced || w->nest.access[i].stride[a];
        count += i != w->x && reduced && window_step(w, i, w->v) && !window_step(w, i, w->t);
    }
    return w->v < 0 || w->t < 0 ? 0 : count;
}

/* Accumulators enough to hide the latency of multiply-adds; fewer where taps are many, for the code's size. */
static void choose_tile(Window *w, const Target *target, int spare, const ScheduleOptions *options) {
    int registers = target->registers[CLASS_VECTOR], most = registers >= 32 ? 16 : 8;
    int64_t t = w->t < 0 ? 1 : w->extent[w->t], v = w->v < 0 ? 1 : w->extent[w->v];
    while (most > 4 && most * w->taps > 256)
        most -= 2;
    most = most > spare ? most - spare : 1;
    int64_t needed = (v + w->lanes - 1) / w->lanes;
    w->vectors = (int)least(least(needed, 4), most);
    if (needed > w->vectors)
        for (int n = w->vectors; n > 1; n--)
            if (needed % n == 0) {
                w->vectors = n;
                break;
            }
    w->vectors = options->nv && !spare ? (int)least(options->nv, 4) : w->vectors;
    int rows = (int)least(least(t, most / w->vectors > 1 ? most / w->vectors : 1), 8);
    for (w->rows = rows; w->rows > rows / 2 && t % w->rows;)
        w->rows--;
    if (w->rows <= rows / 2)
        w->rows = rows;
    if (options->mr) { /* as wished, as far as registers go */
        int room = (registers - 6 - spare) / w->vectors - 1;
        w->rows = (int)least(options->mr, room > 1 ? least(room, 8) : 1);
    }
    if (moving_factors(w)) { /* the rows share them */
        int factors = w->taps * moving_factors(w);
        int room = registers - 4 - spare - factors - still_factors(w);
        if (factors && !w->loop_count && room >= 4) {
            w->columns_first = w->hoisted = true;
            w->vectors = 1;
            w->rows = (int)least(least(t, room), 8);
            return;
        }
    }
    w->hoisted = still_factors(w) + w->rows * w->vectors + w->vectors + 2 + spare < registers;
}

/* ---- the door ---- */

static void find_line(Window *w) {
    const WindowDim *line = &w->dim[w->dim_count - 1];
    int64_t start = line->offset + line->low;
    w->line_fixed = true;
    for (int i = 0; i < w->outer_count; i++)
        w->line_fixed = w->line_fixed && !line->coef[w->outer[i]];
    if (w->band_axis >= 0 && line->coef[w->band_axis])
        w->line_fixed = false;
    w->line_from = least(start < 0 ? -start : 0, line->length);
    w->line_to = least(line->extent - start, line->length);
    if (w->line_to < w->line_from)
        w->line_to = w->line_from;
}

static bool emit_all(Window *w, Compiled *c, const char **why, whet_error *err) {
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 3);
    if (!c->functions)
        return error_memory(err), false;
    int64_t whole = w->band_axis >= 0 ? w->nest.axis[w->band_axis].extent : 1, last = w->bands > 1 ? whole % w->band : 0;
    w->copy = -1;
    for (int i = 0; i < (last ? 2 : 1); i++) {
        const VectorFunction *f = window_emit(w, c, i ? last : w->band, why, err);
        if (!f)
            return false;
        w->function[i] = c->function_count;
        c->functions[c->function_count++] = f;
    }
    if (!last)
        w->function[1] = w->function[0];
    if (w->x < 0 || !w->line_fixed || w->phases > 2 || w->dim[w->dim_count - 1].stride != 1 || w->line_from == w->line_to)
        return true;
    const VectorFunction *f = window_emit_copy(w, c, err);
    if (!f)
        return false;
    w->copy = c->function_count;
    c->functions[c->function_count++] = f;
    return true;
}

static void window_print(const Compiled *c, Text *out) {
    const Window *w = c->state;
    int64_t outer = w->bands;
    for (int i = 0; i < w->outer_count; i++)
        outer *= w->nest.axis[w->outer[i]].extent;
    text_printf(out, "window: %lld units, tile %d x %d, %d taps written out, ", (long long)outer, w->rows, w->vectors * w->lanes,
                w->taps);
    if (w->x >= 0)
        text_printf(out, "box of %lld bytes, lines of stride %lld\n", (long long)(4 * w->buffer_floats), (long long)w->phases);
    else
        text_printf(out, "read where it lies\n");
}

/* The kernel, whose last definition has its places. */
static const Kernel *with_places(const Kernel *kernel, Arena *arena) {
    const int last = kernel->definition_count - 1;
    const Definition *d = rewrite_add_places(arena, &kernel->definitions[last]);
    if (d == &kernel->definitions[last])
        return kernel;
    Kernel *out = d ? arena_copy(arena, kernel, sizeof *kernel) : NULL;
    Definition *all = out ? arena_copy(arena, kernel->definitions, (size_t)kernel->definition_count * sizeof *d) : NULL;
    if (!all)
        return NULL;
    all[last] = *d;
    out->definitions = all;
    return out;
}

bool schedule_window(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Window *w = NEST_PLAN(&c->arena, Window);
    const Kernel *kernel = with_places(c->kernel, &c->arena);
    int window;
    if (!w || !kernel)
        return error_memory(err), false;
    w->known = options->constant;
    w->mixed = -1;
    w->lanes = c->target.bytes / 4;
    if (!describe(w, kernel, why) || !find_reduction(w, why) || !find_window(w, &window, why) ||
        !compute_temporaries(w, c, why, err))
        return false;
    if (window_pixels(w, window, c, options, why, err))
        return true;
    if (err->status != WHET_OK)
        return false;
    if (w->mixed >= 0)
        return false;
    *why = NULL;
    c->function_count = 0;
    if (!all_f32(w, why) || !find_buffered(w, why) || !find_dims(w, why) ||
        !choose_unit(w, window, options->spare_registers ? 0 : WINDOW_MAX_EXTRA, why) || !choose_taps(w, why))
        return false;
    choose_tile(w, &c->target, options->spare_registers, options);
    if (w->x >= 0)
        find_line(w);
    if (!emit_all(w, c, why, err))
        return false;
    c->template = "window";
    c->knobs = (ScheduleKnobs){.mr = w->rows, .nv = w->vectors};
    c->state = w;
    c->run = window_run;
    c->print = window_print;
    return true;
}
