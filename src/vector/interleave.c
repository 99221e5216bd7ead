/* Operations of independent chains, one of each in turn: processors look ahead over some dozens of operations, so that chains one
 * behind the other wait for their own results, and chains beside each other fill the waits.
 *
 * Requires: operations [start[0], end) without loops, in `count` ranges that begin at start[i]; a range may use what ranges
 * before it define, and stores of one range do not write what another reads. Recreates: the same operations in another order,
 * where registers are plenty (`roomy`); elsewhere nothing changes. */
#include "vector/vector.h"

#include <string.h>

static int operands(const VectorOp *op, int *used) {
    int count = vector_arg_count(op->code);
    memcpy(used, op->arg, (size_t)count * sizeof *used);
    if (op->mask >= 0)
        used[count++] = op->mask;
    return count;
}

static bool ready(const VectorFunction *f, const VectorOp *op, int first, const bool *placed) {
    int used[VECTOR_MAX_ARGS + 1], count = operands(op, used);
    for (int k = 0; k < count; k++) {
        int at = f->values[used[k]].op;
        if (at >= first && !placed[at - first])
            return false;
    }
    return true;
}

/* Registers of each class that operations [from, end) take at once, for what they define themselves; constants are mostly memory
 * operands. */
static void pressure(VectorFunction *f, int from, int end, int *most) {
    int *last = ARENA_ARRAY(f->arena, int, (size_t)(end - from) + 1), live[CLASS_COUNT] = {0}, used[VECTOR_MAX_ARGS + 1];
    for (int i = from; last && i < end; i++) {
        int count = operands(&f->ops[i], used);
        for (int k = 0; k < count; k++)
            if (f->values[used[k]].op >= from)
                last[f->values[used[k]].op - from] = i;
    }
    for (int i = from; last && i < end; i++) {
        const VectorOp *op = &f->ops[i];
        int count = operands(op, used);
        for (int k = 0; k < count; k++) {
            int at = f->values[used[k]].op;
            if (at < from || last[at - from] != i)
                continue;
            live[f->values[used[k]].class] -= f->ops[at].code != VECTOR_CONST;
            last[at - from] = -1; /* an operand may be named twice */
        }
        if (op->result < 0 || op->code == VECTOR_CONST)
            continue;
        RegisterClass class = f->values[op->result].class;
        live[class] += last[i - from] > i;
        most[class] = live[class] > most[class] ? live[class] : most[class];
    }
}

/* Ranges start[0 .. count) that end at `end`. */
static void mix(VectorFunction *f, const int *start, int count, int end) {
    enum { MOST = 64 };
    int next[MOST], first = start[0], all = end - first;
    VectorOp *ops = ARENA_ARRAY(f->arena, VectorOp, (size_t)all);
    bool *placed = ARENA_ARRAY(f->arena, bool, (size_t)all);
    if (!ops || !placed || count > MOST)
        return; /* the arena's failure is sticky; the order is as good as it was */
    memcpy(next, start, (size_t)count * sizeof *next);
    for (int done = 0; done < all;)
        for (int i = 0; i < count; i++) {
            if (next[i] == (i + 1 < count ? start[i + 1] : end) || !ready(f, &f->ops[next[i]], first, placed))
                continue;
            placed[next[i] - first] = true;
            ops[done++] = f->ops[next[i]++];
        }
    memcpy(f->ops + first, ops, (size_t)all * sizeof *ops);
    for (int i = first; i < end; i++)
        if (f->ops[i].result >= 0)
            f->values[f->ops[i].result].op = i;
}

void vector_interleave(VectorFunction *f, const int *start, int count) {
    enum { MASKS = 5, VECTORS = 26 }; /* of 6 and 32 */
    if (f->failed || !f->roomy || count < 2 || start[count - 1] == f->op_count)
        return;
    int most[CLASS_COUNT] = {0};
    pressure(f, start[0], start[1], most);
    int each = VECTORS / (most[CLASS_VECTOR] > 0 ? most[CLASS_VECTOR] : 1), masks = most[CLASS_MASK];
    each = masks * each > MASKS ? MASKS / masks : each;
    each = each < 1 ? 1 : each;
    int groups = (count + each - 1) / each;
    each = (count + groups - 1) / groups;
    for (int i = 0; i < count; i += each) {
        int n = count - i < each ? count - i : each;
        mix(f, start + i, n, i + n < count ? start[i + n] : f->op_count);
    }
}
