/* A definition's expressions as a list: most passes are loops over it. */
#include "kernel/internal.h"

#include <string.h>

typedef struct Collector {
    Arena *arena;
    Expr **list;
    size_t count, capacity;
} Collector;

/* A node is in the list if it stands at its id; so no mark needs clearing. Depth is limited by KERNEL_MAX_DEPTH. */
static bool collect(Collector *c, Expr *expr) {
    if (!expr || ((size_t)expr->id < c->count && c->list[expr->id] == expr))
        return true;
    for (int i = 0; i < 3; i++)
        if (!collect(c, expr->arg[i]))
            return false;
    for (int i = 0; i < expr->index_count; i++)
        if (!expr->index[i].affine && !collect(c, expr->index[i].expr))
            return false;
    if (!arena_grow(c->arena, &c->list, &c->capacity, c->count + 1, sizeof *c->list))
        return false;
    expr->id = (int)c->count;
    c->list[c->count++] = expr;
    return true;
}

bool definition_collect(Arena *arena, Definition *definition) {
    Collector c = {arena, NULL, 0, 0};
    if (!collect(&c, definition->value))
        return false;
    definition->exprs = c.list;
    definition->expr_count = (int)c.count;
    return true;
}

/* The new order: numbers of old tensors. */
static int tensor_order(const Kernel *kernel, int *order) {
    int count = 0;
    for (int t = 0; t < kernel->tensor_count; t++)
        if (kernel->tensors[t].role == ROLE_INPUT && !(kernel->bound && kernel->tensors[t].maybe))
            order[count++] = t;
    bool placed[KERNEL_MAX_TENSORS] = {false};
    for (int d = 0; d < kernel->definition_count; d++) {
        int t = kernel->definitions[d].tensor;
        if (!placed[t])
            order[count++] = t;
        placed[t] = true;
    }
    return count;
}

void kernel_sort_tensors(Kernel *kernel) {
    int order[KERNEL_MAX_TENSORS], renamed[KERNEL_MAX_TENSORS];
    KernelTensor old[KERNEL_MAX_TENSORS];
    memcpy(old, kernel->tensors, (size_t)kernel->tensor_count * sizeof *old);
    memset(renamed, -1, sizeof renamed);
    kernel->tensor_count = tensor_order(kernel, order);
    kernel->input_count = 0;
    for (int i = 0; i < kernel->tensor_count; i++) {
        kernel->tensors[i] = old[order[i]];
        renamed[order[i]] = i;
        kernel->input_count += old[order[i]].role == ROLE_INPUT;
    }
    for (int d = 0; d < kernel->definition_count; d++) {
        Definition *definition = &kernel->definitions[d];
        definition->tensor = renamed[definition->tensor];
        for (int i = 0; i < definition->expr_count; i++)
            if (definition->exprs[i]->tensor >= 0)
                definition->exprs[i]->tensor = renamed[definition->exprs[i]->tensor];
    }
}
