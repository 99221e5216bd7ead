/* Constants of innermost loops move to the top of the function, each once, where they can stay in registers: a memory operand an
 * operation keeps the load ports of some CPUs busier than the arithmetic. They stay in a register throughout, so no more of them
 * move than there are registers left where most is in use: code that does not fit would have to be made again.
 *
 * What moves is chosen here; address.c moves it, on its way through the function. */
#include "vector/vector.h"

#include <math.h>
#include <string.h>

enum { MOST_DIFFERENT = 64 };

static bool same_constant(const VectorOp *a, const VectorOp *b) {
    return a->type == b->type && memcmp(&a->number, &b->number, sizeof a->number) == 0;
}

/* The constants of innermost loops that are written most often, each once; zero is made without memory. `found` has room for
 * all that there are. */
static int collect(const VectorFunction *f, int *found, int *uses, int most) {
    int count = 0, end = -1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->code == VECTOR_LOOP && vector_is_innermost(f, i))
            end = op->other;
        if (op->code != VECTOR_CONST || i > end || (op->number == 0 && !signbit(op->number)))
            continue;
        int k = 0;
        while (k < count && !same_constant(&f->ops[found[k]], op))
            k++;
        if (k == count) {
            if (count == MOST_DIFFERENT)
                continue;
            found[count] = i;
            uses[count++] = 0;
        }
        uses[k]++;
    }
    for (int n = 1; n < count; n++) /* the order of appearance is kept among equals */
        for (int k = n; k > 0 && uses[k] > uses[k - 1]; k--) {
            int u = uses[k], i = found[k];
            uses[k] = uses[k - 1], found[k] = found[k - 1];
            uses[k - 1] = u, found[k - 1] = i;
        }
    return count < most ? count : most;
}

/* `value` is needed at operation `at`, or until the end of the outermost open loop that does not define it. */
static void need(const VectorFunction *f, int *last, int value, int at, const int *open, int depth) {
    if (value < 0)
        return;
    for (int d = 0; d < depth; d++)
        if (open[d] > f->values[value].op) {
            at = f->ops[open[d]].other;
            break;
        }
    last[value] = at > last[value] ? at : last[value];
}

/* The last operation that needs each value; -1: none does. */
static void find_last(const VectorFunction *f, int *last) {
    int open[COUNT(f->open)], depth = 0;
    for (int v = 0; v < f->value_count; v++)
        last[v] = -1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        bool loop = op->code == VECTOR_LOOP, end = op->code == VECTOR_END;
        for (int k = 0; (loop || end) && k < op->carry_count; k++) /* what goes round takes the place of what came */
            need(f, last, f->ids[op->carried + k], i, open, end ? depth - 1 : depth);
        for (int k = 0; !loop && !end && k < vector_arg_count(op->code); k++)
            need(f, last, op->arg[k], i, open, depth);
        depth -= end;
        if (loop)
            open[depth++] = i;
    }
}

/* The most vectors in use at once. Constants are mostly memory operands. */
static int pressure(const VectorFunction *f) {
    int *last = ARENA_ARRAY(f->arena, int, (size_t)f->value_count + 1), most = 0;
    int *change = ARENA_ARRAY(f->arena, int, (size_t)f->op_count + 1);
    if (!last || !change)
        return 0; /* the arena's failure is sticky */
    find_last(f, last);
    for (int v = f->parameter_count; v < f->value_count; v++) {
        int at = f->values[v].op;
        if (f->values[v].class != CLASS_VECTOR || f->ops[at].code == VECTOR_CONST || last[v] <= at)
            continue;
        change[at]++;
        change[last[v]]--;
    }
    for (int i = 0, now = 0; i < f->op_count; i++) {
        now += change[i];
        most = now > most ? now : most;
    }
    return most;
}

void vector_hoist_constants(const VectorFunction *f, int most, int registers, VectorHoisted *out) {
    int found[MOST_DIFFERENT], uses[MOST_DIFFERENT];
    int count = collect(f, found, uses, most < VECTOR_MAX_HOISTED ? most : VECTOR_MAX_HOISTED);
    int left = count ? registers - pressure(f) : 0;
    out->count = count < left ? count : left > 0 ? left : 0;
    memcpy(out->op, found, (size_t)out->count * sizeof *found);
}

int vector_hoisted(const VectorFunction *f, const VectorHoisted *hoisted, const VectorOp *constant) {
    for (int k = 0; k < hoisted->count; k++)
        if (same_constant(&f->ops[hoisted->op[k]], constant))
            return k;
    return -1;
}
