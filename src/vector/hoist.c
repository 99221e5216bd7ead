/* Constants of innermost loops move to the top of the function, each once, where they can stay in registers: a memory operand an
 * operation keeps the load ports of some CPUs busier than the arithmetic.
 *
 * Requires: any function. Recreates: at most `most` constants before the first loop that were not there. Breaks: nothing. */
#include "vector/copy.h"

#include <string.h>

static bool innermost(const VectorFunction *f, int loop) {
    for (int i = loop + 1; i < f->ops[loop].other; i++)
        if (f->ops[i].code == VECTOR_LOOP)
            return false;
    return true;
}

static bool same_constant(const VectorOp *a, const VectorOp *b) {
    return a->type == b->type && memcmp(&a->number, &b->number, sizeof a->number) == 0;
}

/* The constants of innermost loops, each once; zero is made without memory. */
static int collect(const VectorFunction *f, int *found, int most) {
    int count = 0, end = -1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->code == VECTOR_LOOP && innermost(f, i))
            end = op->other;
        if (op->code != VECTOR_CONST || i > end || op->number == 0)
            continue;
        int k = 0;
        while (k < count && !same_constant(&f->ops[found[k]], op))
            k++;
        if (k == count && count < most)
            found[count++] = i;
    }
    return count;
}

const VectorFunction *vector_hoist_constants(const VectorFunction *f, int most, whet_error *err) {
    VectorCopy copy;
    int *found = ARENA_ARRAY(f->arena, int, 2 * ((size_t)most + 1)), *made = found + most + 1;
    if (!found)
        return error_memory(err), NULL;
    int count = collect(f, found, most);
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
