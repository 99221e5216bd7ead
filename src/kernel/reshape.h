/* Reshapes: two shapes of one memory. An index into the one is brought to the other. */
#ifndef WHET_KERNEL_RESHAPE_H
#define WHET_KERNEL_RESHAPE_H

#include "kernel/bind.h"
#include "kernel/rewrite.h"

/* An affine index as a function of the definition's axes. */
Affine reshape_affine(const Definition *d, const Index *index);

/* An index of shape `from` that stays inside, as one number; false: it is not affine, or may leave. */
bool reshape_flatten(const Definition *d, const int64_t *dims, const Index *index, int from, int to, Affine *out);

/* What would make an index fit that does not: an axis that becomes inner * (outer axis) + (inner axis). */
typedef struct Split {
    int axis; /* -1: none is wanted */
    int64_t inner;
} Split;

/* The index of a read of shape `from`, brought to shape `to` of as many elements: an affine function a dim. direct[i]: the place
 * in `from` that dim i of `to` is, guards and all; -1: none is. */
bool reshape_index(const Definition *d, Shape from, const Index *index, Shape to, Affine *out, int *direct, Split *split,
                   const char **why);

#endif
