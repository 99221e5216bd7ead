/* Shared by the files of kernel_bind. */
#ifndef WHET_KERNEL_BIND_H
#define WHET_KERNEL_BIND_H

#include "kernel/internal.h"

typedef struct Binder {
    Kernel *kernel;
    Arena *arena;
    const KernelConst *consts;
    int const_count;
    whet_error *err;
    int writers[KERNEL_MAX_TENSORS];            /* definitions of each tensor */
    bool given[KERNEL_MAX_TENSORS];             /* the shape came from outside */
    const char *dim_source[KERNEL_MAX_TENSORS]; /* for errors: where the dims come from */
} Binder;

whet_status bind_error(Binder *b, int column, whet_status status, const char *format, ...) PRINTF_LIKE(4, 5);
const KernelConst *bind_const(const Binder *b, const char *name); /* NULL: none */
Expr *bind_integer(Binder *b, int64_t value, int column);         /* an untyped literal; NULL: out of memory */

/* bind_index.c: affine indices. */
typedef struct Affine {
    int64_t offset, coef[KERNEL_MAX_AXES];
} Affine;
/* False: not affine (or not yet: the extent of an axis is not known), or beyond 64 bits. */
bool affine_of(const Definition *definition, const Expr *expr, Affine *out);
/* The least and largest value over the axes' extents, which are known and not zero. False: overflow. */
bool affine_range(const Definition *definition, const Affine *affine, int64_t *least, int64_t *most);
/* Makes Index.affine, checks ranges, drops `?` that cannot matter, and checks left sides. */
whet_status bind_indices(Binder *b, Definition *definition);

/* bind_extents.c: expansion of `..`, extents of axes and dimensions of tensors. */
whet_status bind_extents(Binder *b);

/* bind_types.c: types, literals, constant folding, for one definition; its indices become s64. */
whet_status bind_types(Binder *b, Definition *definition);

/* fold.c */
/* The value of an operation on numbers of known types; NULL: out of memory. */
Expr *fold_operation(Arena *arena, const Expr *expr);
/* A number as one of `type`: rounded if a float; false: no such integer. */
bool number_set_type(Expr *number, DType type);

/* share.c: makes equal expressions of a definition one. False: out of memory. */
bool bind_share(Arena *arena, Definition *definition);

#endif
