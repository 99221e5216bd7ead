/* Factors that are rounded to bf16 where they are read, `f32(bf16(a[m, k]))`: the tensor is rounded once, as a whole, and read as
 * bf16 from then on. It would be rounded for every tile otherwise, and pairs of its elements would not lie side by side.
 *
 *     t[m, k] = bf16(a[m, k])                               map
 *     c[m, n] = sum(k) f32(t[m, k]) * f32(bf16(w[k, n]))    contract: a constant is rounded where it is packed
 *
 * Plans do the same before they fuse (plan/halve.c), so that whatever makes `a` makes t instead; this is for kernels by
 * themselves. Constants are rounded so too where a contraction cannot pack them (schedule_round_all). */
#include "kernel/rewrite.h"
#include "schedule/schedule.h"

#include <string.h>

/* twin[t]: what holds tensor t rounded; -1: nothing. Gives how many there are. */
static int find_rounded(const Kernel *kernel, const void *const *constant, int twin[KERNEL_MAX_TENSORS]) {
    const Definition *d = &kernel->definitions[0];
    int count = 0;
    memset(twin, -1, KERNEL_MAX_TENSORS * sizeof *twin);
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *read = expr_rounded_read(d->exprs[i]);
        if (read && !read->arg[0] && read->type == DT_F32 && twin[read->tensor] < 0 && !(constant && constant[read->tensor]))
            twin[read->tensor] = kernel->tensor_count + count++;
    }
    return count;
}

static bool add_copy(Kernel *to, int tensor, int twin, whet_error *err) {
    char rounding[] = "t[..] = bf16(x[..])";
    const Text text = {.data = rounding, .length = sizeof rounding - 1};
    const KernelTensor *x = &to->tensors[tensor];
    KernelTensor *t = &to->tensors[twin];
    KernelArg args[] = {{"x", x->type, x->rank, x->dims}, {"t", DT_BF16, x->rank, x->dims}};
    int numbers[2] = {tensor, twin};
    *t = *x;
    t->name = arena_printf(to->arena, "%s_bf16", x->name);
    t->role = ROLE_TEMPORARY;
    t->type = DT_BF16;
    return t->name && schedule_add_stage(to, &text, args, numbers, err);
}

static Kernel *build(const Kernel *from, const int *twin, int count, Arena *arena, whet_error *err) {
    Kernel *to = schedule_begin_stages(from, count + 1, arena);
    if (!to)
        return NULL;
    to->tensor_count += count;
    for (int t = 0; t < from->tensor_count; t++)
        if (twin[t] >= 0 && !add_copy(to, t, twin[t], err))
            return NULL;
    Definition *d = rewrite_take_rounded(arena, &from->definitions[0], twin);
    if (d)
        to->definitions[to->definition_count++] = *d;
    return d ? to : NULL;
}

static bool round_apart(Compiled *c, bool constants, const ScheduleOptions *options, const char **why, whet_error *err) {
    const Kernel *whole = c->kernel;
    int twin[KERNEL_MAX_TENSORS];
    if (options->whole)
        return refuse(why, "no stages are wanted");
    if (whole->definition_count != 1 || 2 * whole->tensor_count > KERNEL_MAX_TENSORS)
        return refuse(why, "several definitions");
    int count = find_rounded(whole, constants ? NULL : options->constant, twin);
    if (!count)
        return refuse(why, "nothing that is rounded");
    Kernel *kernel = build(whole, twin, count, &c->arena, err);
    return schedule_stages(c, kernel, options, why, err);
}

bool schedule_round(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    return round_apart(c, false, options, why, err);
}

bool schedule_round_all(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    return round_apart(c, true, options, why, err);
}
