/* What operators written in C share: strided copies, element conversion, operands as plain arrays.
 *
 * The notation says most of what operators compute. What is left to C depends on data for its shape, scatters, or handles element
 * types that the notation lacks. Such code works on tensors that were checked by the operator's shape rule; contents (indices,
 * counts) are checked where they are used.
 */
#ifndef WHET_OPS_NATIVE_H
#define WHET_OPS_NATIVE_H

#include "ops/ops.h"

/* Refuses element types below a byte, by name, for operators that cannot address them. */
whet_status native_whole_bytes(OpCall *call, DType type);
static inline size_t native_size(DType type) {
    return (size_t)dtype_bits(type) / 8;
}

/* Row-major strides of a shape, in elements. */
void native_strides(int rank, const int64_t *dims, int64_t *strides);
bool native_empty(const Type *type);                 /* a dimension is 0 */
int64_t native_count(int rank, const int64_t *dims); /* the product; dims were checked by op_output or a tensor */
/* Copies a box of elements of `size` bytes between two strided places; strides in elements, of any sign. Rank <= 16. */
void native_copy(size_t size, int rank, const int64_t *dims, void *to, const int64_t *to_strides, const void *from,
                 const int64_t *from_strides);
/* The same into a dense box. */
void native_copy_dense(size_t size, int rank, const int64_t *dims, void *to, const void *from, const int64_t *from_strides);
/* Strides of a tensor as it is read when broadcast to `rank` dimensions, 0 where it is repeated. */
void native_broadcast_strides(const Tensor *x, int rank, int64_t *strides);

/* move.c: runs any row that moves (OpRow.moves), whatever its element type; called where text is not for it: */
whet_status native_move(OpRun *run);
bool native_in_text(const OpCall *call); /* types that the notation has, and something to move */

/* Inputs as plain arrays: the tensor's own memory if it has that type already, else a converted scratch copy. NULL: error set. */
const float *native_f32(OpRun *run, int index);
const double *native_f64(OpRun *run, int index);
const int64_t *native_s64(OpRun *run, int index); /* integers of any type */
/* An input of one element as a number; `otherwise` if it is omitted or empty. */
double native_number(const OpRun *run, int index, double otherwise);

void native_from_f32(DType type, const float *from, int64_t count, void *to); /* integers: truncated and saturated */
void native_to_f64(DType type, const void *from, int64_t count, double *to);
void native_from_f64(DType type, const double *from, int64_t count, void *to);
/* Codes of types below a byte, one a byte, as they are stored. */
void native_pack(DType type, const uint8_t *from, int64_t count, void *to);
/* One integer element of a tensor, exactly. */
int64_t native_int_at(const Tensor *tensor, int64_t index);

/* A call's arena lives as long as its lowering, which runs many times: C that asks op_content_* while it runs does so between
 * these two, with an arena of its own in the meantime. */
typedef struct NativeArena {
    Arena own, *kept;
} NativeArena;
void native_arena_enter(OpRun *run, NativeArena *arena);
void native_arena_leave(OpRun *run, NativeArena *arena);

/* Memory for output `index` with the type and shape its shape rule found. NULL: error set. */
void *native_output(OpRun *run, int index);
void native_fill(void *to, const void *element, size_t size, int64_t count);
whet_status native_error(OpRun *run, whet_status status, const char *format, ...) PRINTF_LIKE(3, 4);
/* The status that is in run's error; for helpers that return NULL. */
whet_status native_failed(OpRun *run);

/* For a dtype attribute: a known element type, or DT_NONE and an error. */
DType native_dtype(OpCall *call, const char *attribute, int64_t number);
/* The shape that the content of input `index` spells, for output `output`; unknown where the content is. Negative: an error. */
whet_status native_shape_from_content(OpCall *call, int output, int index);

#endif
