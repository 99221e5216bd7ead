/* Copying a function operation by operation with changes: what rewrite.c and address.c have in common. */
#ifndef WHET_VECTOR_COPY_H
#define WHET_VECTOR_COPY_H

#include "vector/vector.h"

typedef struct VectorCopy {
    const VectorFunction *from;
    VectorFunction *to;
    int *map; /* value of `from` -> value of `to`, -1 -> -1; passes may overwrite entries */
} VectorCopy;

bool vector_copy_start(VectorCopy *copy, const VectorFunction *from, whet_error *err);
/* The operation with its operands renamed, not appended yet. */
VectorOp vector_copy_op(const VectorCopy *copy, int at);
/* Appends it as it is, its operands renamed, in its place; NULL: it is too late. */
VectorOp *vector_copy_whole(VectorCopy *copy, int at);
/* Opens the loop at `at`, carrying `extra` values more; `inside` receives their names. */
void vector_copy_loop(VectorCopy *copy, int at, const int *extra, int *inside, int extra_count);
void vector_copy_end(VectorCopy *copy, int at, const int *extra_next, int extra_count);

#endif
