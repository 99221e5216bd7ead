/* See copy.h. */
#include "vector/copy.h"

#include <string.h>

bool vector_copy_start(VectorCopy *copy, const VectorFunction *from, whet_error *err) {
    copy->from = from;
    /* Room at once for what is copied and a little more: growing would touch twice the memory. */
    copy->to = vector_new_sized(from->arena, from->name, from->bytes, from->op_count + 64, from->value_count + 64);
    int *map = arena_take(from->arena, (size_t)from->value_count + 1, sizeof *map);
    if (!copy->to || !map)
        return error_memory(err), false;
    memset(map, -1, ((size_t)from->value_count + 1) * sizeof *map);
    copy->map = map + 1;
    for (int i = 0; i < from->parameter_count; i++)
        copy->map[i] = vector_parameter(copy->to, from->values[i].class, from->values[i].name);
    return true;
}

static void rename_operands(const VectorCopy *copy, VectorOp *op) {
    const int *map = copy->map;
    for (int i = 0; i < VECTOR_MAX_ARGS; i++)
        op->arg[i] = map[op->arg[i]];
    op->mask = map[op->mask];
    op->limit = map[op->limit];
    op->address.base = map[op->address.base];
    for (int t = 0; t < op->address.terms; t++)
        op->address.term[t].index = map[op->address.term[t].index];
}

VectorOp vector_copy_op(const VectorCopy *copy, int at) {
    VectorOp op = copy->from->ops[at];
    rename_operands(copy, &op);
    return op;
}

VectorOp *vector_copy_whole(VectorCopy *copy, int at) {
    const VectorOp *from = &copy->from->ops[at];
    int result = vector_append(copy->to, from), count = copy->to->op_count;
    if (copy->to->failed)
        return NULL;
    if (from->result >= 0)
        copy->map[from->result] = result;
    rename_operands(copy, &copy->to->ops[count - 1]);
    return &copy->to->ops[count - 1];
}

void vector_copy_loop(VectorCopy *copy, int at, const int *extra, int *inside, int extra_count) {
    const VectorOp *op = &copy->from->ops[at];
    const int *ids = copy->from->ids + op->carried;
    int count = op->carry_count, total = count + extra_count;
    int *initial = ARENA_ARRAY(copy->to->arena, int, (size_t)(2 * total) + 1);
    if (!initial)
        return; /* the arena's failure is sticky, and vector_finish asks it */
    for (int i = 0; i < total; i++)
        initial[i] = i < count ? copy->map[ids[i]] : extra[i - count];
    int *names = initial + total;
    copy->map[op->result] = vector_loop(copy->to, copy->map[op->limit], (int64_t)op->number, op->step, initial, names, total);
    for (int i = 0; i < total; i++)
        *(i < count ? &copy->map[ids[count + i]] : &inside[i - count]) = names[i];
}

void vector_copy_end(VectorCopy *copy, int at, const int *extra_next, int extra_count) {
    const VectorOp *op = &copy->from->ops[at];
    const int *ids = copy->from->ids + op->carried;
    int count = op->carry_count, total = count + extra_count;
    int *next = ARENA_ARRAY(copy->to->arena, int, (size_t)(2 * total) + 1);
    if (!next)
        return;
    for (int i = 0; i < total; i++)
        next[i] = i < count ? copy->map[ids[i]] : extra_next[i - count];
    vector_end(copy->to, next, next + total);
    for (int i = 0; i < count; i++)
        copy->map[ids[count + i]] = next[total + i];
}
