/* Shared by the files of src/kernel alone. */
#ifndef WHET_KERNEL_INTERNAL_H
#define WHET_KERNEL_INTERNAL_H

#include "kernel/kernel.h"

/* place.c: an error at byte `at` of a kernel's text: the message with line and column, the line, and a caret under the place. */
whet_status kernel_verror_at(const char *text, size_t length, size_t at, whet_error *err, whet_status status, const char *format,
                             va_list args);

/* macro.c: named functions that are compositions of others. */
typedef struct Macro {
    const char *name, *params, *body; /* "x lo hi" */
} Macro;
const Macro *macro_find(const char *name, size_t length);

/* parse.c */
Expr *expr_new(Arena *arena, ExprOp op, int column);
/* Sets depth and weight from those of the operands; false: beyond a limit. */
bool expr_measure(Expr *expr);

/* graph.c: a definition's expressions as a list. */
/* Fills `exprs`: every expression below `value` once, operands before users. False: out of memory. */
bool definition_collect(Arena *arena, Definition *definition);
/* Puts inputs first, in the order they have, then the others in order of definition. In a bound kernel, names that became
 * constants (still marked `maybe`) are left out. */
void kernel_sort_tensors(Kernel *kernel);

#endif
