/* Rewriting bound definitions: the means of fusion. A definition here may speak of tensors by numbers of the caller's own: it has
 * no kernel, and the caller tells shapes. All make new definitions in `arena` and leave the old ones as they are.
 */
#ifndef WHET_KERNEL_REWRITE_H
#define WHET_KERNEL_REWRITE_H

#include "kernel/kernel.h"

typedef struct Shape {
    int rank;
    const int64_t *dims;
} Shape;

/* What rewriting knows of tensors: shapes, and which of them are views of one memory (the same elements in the same order under
 * other dims). */
typedef struct RewriteTensors {
    void *context;
    Shape (*shape)(void *context, int tensor);
    int (*root)(void *context, int tensor); /* the same number for all views of one memory */
} RewriteTensors;

/* `d` with every tensor t as tensors[t]. */
Definition *rewrite_rename(Arena *arena, const Definition *d, const int *tensors);

/* `reader` with every read of the memory that `producer` fills replaced by what it is computed of. Axes of either are split where
 * a reshape lies between them. A producer that reduces is put at one place only, outside of other reductions. NULL: *why (static)
 * says why not; without *why, out of memory. */
Definition *rewrite_inline(Arena *arena, const RewriteTensors *tensors, const Definition *reader, const Definition *producer,
                           const char **why);

/* `d` without axes of one element on its left side: they are 0. */
Definition *rewrite_drop_units(Arena *arena, const Definition *d);
/* `d` with an axis of one place for each guarded index that moves by taps alone: a window over an image of one pixel, which shows
 * by places. NULL: out of memory. */
const Definition *rewrite_add_places(Arena *arena, const Definition *d);

/* `d` with a one-element constant in place of every read of `tensor`. */
Definition *rewrite_number(Arena *arena, const RewriteTensors *tensors, const Definition *d, int tensor, const Expr *number);

/* bf16 as a precision. The first: the factors of all sums of products of two reads of f32 are rounded, `f32(bf16(x[..]))`, unless
 * they are stored so; false: out of memory. The second: `d` with a read of tensor twin[x] in place of every `bf16(x[..])`, where
 * twin[x] is not -1; a value outside other than zero stays. The third: the read in `f32(bf16(x[..]))` of an f32 tensor, or
 * (f32(x[..]) inside) of an f16 one; NULL: it is something else. */
bool kernel_round_products(Kernel *kernel);
/* So is every read of a tensor of f32. */
bool kernel_round_tensor(Kernel *kernel, int tensor);
Definition *rewrite_take_rounded(Arena *arena, const Definition *d, const int *twin);
const Expr *expr_rounded_read(const Expr *e);
/* Input `tensor` is stored as a narrower type: reads become `f32(x[..])`. False: out of memory. */
bool kernel_store_narrower(Kernel *kernel, int tensor, DType type);

/* Orders parallel axes as the left side's dims do, and reduced ones as `reduced` says (NULL: as they are). */
Definition *rewrite_permute(Arena *arena, const Definition *d, const int *order);

/* A bound kernel in another arena. */
Kernel *kernel_copy(Arena *arena, const Kernel *kernel);

/* sizes.c: the numbers of a kernel that may follow from shapes. Kernels of one structure have them in the same order. */
typedef struct KernelSizes {
    Arena *arena;
    int64_t *at;
    size_t count, capacity;
    size_t next; /* the place of the next one */
    bool set;
} KernelSizes;
bool kernel_sizes(const Kernel *kernel, KernelSizes *sizes); /* appends them; false: out of memory */
void kernel_clear_sizes(Kernel *kernel);                     /* sets them to 0: what is left is the structure, and no kernel */
/* Takes them from sizes->next on. False: what comes of it is no kernel (reads outside of its tensors, say), or `err`. */
bool kernel_set_sizes(Kernel *kernel, KernelSizes *sizes, whet_error *err);

/* bind.c: a kernel put together from bound definitions by a pass: names its axes, counts its work, checks it. */
whet_status kernel_seal(Kernel *kernel, const char *pass, whet_error *err);
/* Binding its text would make the same of it: no operation on numbers alone is left, no `?` that cannot matter, no index that has
 * become affine. */
bool kernel_is_settled(const Kernel *kernel);

#endif
