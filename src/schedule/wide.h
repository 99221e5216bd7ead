/* Lanes of 64 bits, for definitions that compute with s64, u64 or f64, divide whole numbers of 32 bits or take remainders of
 * floats. A vector has half as many lanes then:
 *
 *     s64 u64     a vector of s64: the number, or its bits
 *     f64         a vector of f64
 *     all else    as expr.c has it, in the lower half of each lane: every other lane of a vector of 32-bit lanes. What the
 *                 others hold means nothing
 *     bool        a mask of 32-bit lanes, of which every other one counts
 *
 * So whatever is written for lanes of 32 bits goes on as it is, and only what meets 64 bits is here: wide.c has memory and
 * arithmetic, wide_divide.c quotients and remainders, wide_convert.c casts. */
#ifndef WHET_WIDE_H
#define WHET_WIDE_H

#include "schedule/schedule.h"

/* Does the definition, on which `e` was started, want lanes of 64 bits? False: out of memory. */
bool wide_find(const ExprEmitter *e, Arena *scratch, bool *needed);

static inline bool wide_type(DType type) {
    return dtype_bits(type) == 64;
}

/* wide.c: as expr_load and its kin. */
int wide_load(VectorFunction *f, DType type, VectorAddress address, int mask);
int wide_splat(VectorFunction *f, DType type, VectorAddress address);
void wide_store(VectorFunction *f, DType type, int value, VectorAddress address, int mask);
void wide_store_first(VectorFunction *f, DType type, int value, VectorAddress address);
/* An element of each lane at `index`, an s32 that both halves of the lane have; `mask` of 32-bit lanes. */
int wide_gather(VectorFunction *f, DType type, VectorAddress address, int index, int mask);
int wide_twice(VectorFunction *f, int x);        /* the lower halves of s64 in both halves, as s32 */
int wide_steps(VectorFunction *f, int64_t step); /* 0, step, 2 * step ..., in both halves */

int wide_number(ExprEmitter *e, const Expr *number);
int wide_select(ExprEmitter *e, int mask, int yes, int no);
/* An operation whose operands have 64 bits; b: -1 where it has one operand. */
int wide_operation(ExprEmitter *e, const Expr *expr, int a, int b);
int wide_shift(ExprEmitter *e, const Expr *expr, int a);

/* Pieces that the three files share. */
int wide_long(ExprEmitter *e, int64_t value);
int wide_double(ExprEmitter *e, double value);
int wide_less(ExprEmitter *e, DType type, int a, int b); /* masks of 64-bit lanes, here and below */
int wide_pick(ExprEmitter *e, int mask, int yes, int no);
int wide_mask_out(ExprEmitter *e, int mask); /* as the mask of a bool */

/* wide_divide.c: DIV, FLOORDIV, MOD or FMOD of s64 or u64 whose ranges are known; the same of whole numbers of 32 bits; MOD or
 * FMOD of f32. */
int wide_divide(ExprEmitter *e, const Expr *expr, int a, int b);
int wide_divide_32(ExprEmitter *e, const Expr *expr, int a, int b);
int wide_remainder(ExprEmitter *e, const Expr *expr, int a, int b);

/* wide_convert.c */
int wide_cast(ExprEmitter *e, const Expr *cast, int x);
int wide_extend(ExprEmitter *e, DType type, int x);    /* whole numbers of up to 32 bits */
int wide_to_double(ExprEmitter *e, DType type, int x); /* s64 and u64, to the nearest */
int wide_from_whole(ExprEmitter *e, int x);            /* s64 of whole numbers in (-2^63, 2^64] modulo 2^64 */

#endif
