/* Constants of innermost loops move to the top of the function, each once, where they can stay in registers: a memory operand an
 * operation keeps the load ports of some CPUs busier than the arithmetic.
 *
 * Requires: any function. Recreates: at most `most` constants before the first loop that were not there. Breaks: nothing. */
#include "vector/copy.h"

#include <math.h>
#include <string.h>

enum { MOST_DIFFERENT = 64 };

static bool innermost(const VectorFunction *f, int loop) {
    for (int i = loop + 1; i < f->ops[loop].other; i++)
        if (f->ops[i].code == VECTOR_LOOP)
            return false;
    return true;
}

static bool same_constant(const VectorOp *a, const VectorOp *b) {
    return a->type == b->type && memcmp(&a->number, &b->number, sizeof a->number) == 0;
}

/* The constants of innermost loops that are written most often, each once; zero is made without memory. `found` has room for
 * all that there are. */
static int collect(const VectorFunction *f, int *found, int *uses, int most) {
    int count = 0, end = -1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->code == VECTOR_LOOP && innermost(f, i))
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

const VectorFunction *vector_hoist_constants(const VectorFunction *f, int most, whet_error *err) {
    VectorCopy copy;
    int found[MOST_DIFFERENT], made[MOST_DIFFERENT], count = collect(f, found, made, most);
    if (!count)
        return f;
    if (!vector_copy_start(&copy, f, err))
        return NULL;
    for (int k = 0; k < count; k++)
        made[k] = vector_const(copy.to, f->ops[found[k]].type, f->ops[found[k]].number);
    for (int i = 0, end = -1; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->code == VECTOR_LOOP) {
            if (innermost(f, i))
                end = op->other;
            vector_copy_loop(&copy, i, NULL, NULL, 0);
            continue;
        }
        if (op->code == VECTOR_END) {
            vector_copy_end(&copy, i, NULL, 0);
            continue;
        }
        int k = op->code == VECTOR_CONST && i < end ? 0 : count;
        while (k < count && !same_constant(&f->ops[found[k]], op))
            k++;
        VectorOp copied = vector_copy_op(&copy, i);
        int result = k < count ? made[k] : vector_append(copy.to, &copied);
        if (op->result >= 0)
            copy.map[op->result] = result;
    }
    return vector_finish(copy.to, err) ? copy.to : NULL;
}
