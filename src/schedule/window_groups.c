/* Convolutions of groups of few channels, channels last: y[.., 4*g + o] = sum(c:4, ..) x[.., 4*g + c] * f[4*g + o, c, ..].
 *
 * One group's outputs fill a part of a vector, so several groups lie side by side in the lanes: g and o become one axis, and x is
 * loaded along it as if each channel were its own. What lane l of a group makes of the channel r lanes behind it is for output l
 * of the group, or for one before. Of r = S * high + low, x is turned by S * high lanes, which serves all taps that need the
 * vector; and there is a sum for each `low`, which is turned by `low` lanes when all taps are done. For permutations take issue
 * slots of multiply-adds, and sums registers: S is as large as leaves a tile enough columns. The factors are packed as [.., r,
 * ..][lanes] (window_pixels_pack.c). The rest is a window over pixels with taps (r, ..). */
#include "schedule/window.h"

/* Along the two axes an access is one of so many elements, or stands still. */
static bool merges(const Access *a, int outer, int inner, int64_t extent) {
    for (int g = 0; g < a->guard_count; g++)
        if (a->guard[g].coef[outer] || a->guard[g].coef[inner])
            return false;
    return a->stride[outer] == a->stride[inner] * extent;
}

static bool find_axes(const Nest *nest, int window, int *group, int *output, int *channel) {
    const Access *x = &nest->access[window], *y = &nest->access[0];
    *group = *output = *channel = -1;
    for (int a = 0; a < nest->axis_count; a++) {
        if (nest->axis[a].extent == 1)
            continue;
        if (nest->axis[a].reduced && x->stride[a] == 1)
            *channel = a;
        else if (!nest->axis[a].reduced && y->stride[a] == 1)
            *output = a;
    }
    if (*channel < 0 || *output < 0 || x->stride[*output])
        return false;
    for (int a = 0; a < nest->parallel_count; a++)
        if (nest->axis[a].extent > 1 && y->stride[a] == nest->axis[*output].extent)
            *group = a;
    return *group >= 0 && x->stride[*group] == nest->axis[*channel].extent;
}

/* It is read below an expression; `stop` is not entered. */
static bool reads(const Expr *e, const Expr *stop, const Expr *read) {
    if (e == read)
        return true;
    for (int i = 0; i < 3 && e != stop && e->op != EXPR_READ && e->op != EXPR_NUMBER && e->arg[i]; i++)
        if (reads(e->arg[i], stop, read))
            return true;
    return false;
}

/* It is read after the sum alone. What views read is in neither. */
static bool in_epilogue(const Window *w, const Expr *read) {
    return reads(w->nest.definition->value, w->reduction, read) && !reads(w->reduction->arg[0], NULL, read);
}

/* Of what is summed nothing but the window and one factor knows outputs or channels: lanes hold neither by its number. */
static bool one_factor(const Window *w, int window, int output, int channel) {
    const Nest *nest = &w->nest;
    int factors = 0;
    for (int i = 1; i < nest->access_count; i++) {
        const Access *a = &nest->access[i];
        if (i == window || (!a->stride[output] && !a->stride[channel]) || in_epilogue(w, a->read))
            continue;
        if (!a->stride[output] || !a->stride[channel])
            return false;
        factors++;
    }
    return factors == 1;
}

/* Makes one axis of groups and their outputs, where lanes hold several groups. False: nothing has changed. */
bool window_merge_groups(Window *w, int window) {
    Nest *nest = &w->nest;
    int group, output, channel;
    if (!find_axes(nest, window, &group, &output, &channel) || !one_factor(w, window, output, channel))
        return false;
    int64_t size = nest->axis[channel].extent;
    if (size != nest->axis[output].extent || 2 * size > w->lanes || w->lanes % size)
        return false;
    for (int i = 0; i < nest->access_count; i++)
        if (i != window && !merges(&nest->access[i], group, output, size))
            return false;
    for (int g = 0; g < nest->access[window].guard_count; g++)
        if (nest->access[window].guard[g].coef[group] || nest->access[window].guard[g].coef[channel])
            return false;
    w->mixed = channel;
    w->group = size;
    nest->axis[output].extent *= nest->axis[group].extent;
    nest->axis[group].extent = 1;
    for (int i = 0; i < nest->access_count; i++)
        nest->access[i].stride[group] = 0;
    nest->access[window].stride[output] = 1;
    nest->access[window].stride[channel] = 0;
    return true;
}
