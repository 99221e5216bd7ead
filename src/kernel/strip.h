/* Operations on strips: arrays of elements of one type, the evaluator's unit of work. The same functions fold constants (strips
 * of one element), so that folding gives the very bits of evaluation.
 *
 * In a strip f16 and bf16 elements are floats that hold f16 or bf16 values: an operation computes in f32 and strip_round follows.
 * Other types are as in memory. */
#ifndef WHET_KERNEL_STRIP_H
#define WHET_KERNEL_STRIP_H

#include "kernel/kernel.h"

/* The type a strip's elements have in C: DT_F32 for f16 and bf16. */
DType strip_type(DType type);
size_t strip_size(DType type); /* bytes of an element in a strip */

/* An operand may be one element for the whole strip. */
typedef enum StripForm { FORM_VV = 0, FORM_SV = 1, FORM_VS = 2 } StripForm; /* SV: the first is one element */

typedef void (*StripUnary)(void *out, const void *a, size_t n);
typedef void (*StripBinary)(void *out, const void *a, const void *b, size_t n, StripForm form);

/* NULL: no such operation on the type. `type` is that of the operands. */
StripUnary strip_unary(ExprOp op, DType type);
StripBinary strip_binary(ExprOp op, DType type);
StripUnary strip_cast(DType from, DType to);
/* Rounds a strip of floats to f16 or bf16, in place; nothing for other types. */
void strip_round(DType type, void *strip, size_t n);
void strip_select(size_t size, void *out, const void *condition, const void *a, const void *b, size_t n, bool one_a, bool one_b);
void strip_fill(size_t size, void *out, const void *value, size_t n);

/* Memory <-> strip; f16 and bf16 are converted. Strides are in elements. */
void strip_load(DType type, void *out, const void *from, int64_t stride, size_t n);
void strip_store(DType type, void *to, int64_t stride, const void *strip, size_t n);
void strip_zero(DType type, void *out, size_t n);

/* Per type, for the tables of strip.c. */
StripUnary strip_float_unary(ExprOp op, DType type);
StripBinary strip_float_binary(ExprOp op, DType type);
StripUnary strip_int_unary(ExprOp op, DType type);
StripBinary strip_int_binary(ExprOp op, DType type);

#endif
