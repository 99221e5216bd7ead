/* The C target: vector code as readable portable C.
 *
 *     vector code --function.c--> one C function each, of calls of operations --prelude.c--> definitions of those that are called
 *
 * An operation is a macro or inline function of its name, "f32v_add": by GNU vector extensions where the compiler has them, a
 * loop over lanes elsewhere, or where PLAIN_C is defined. ops.c is the table of both. The text stands on libc and libm alone.
 * Nothing here is called by Whet itself: the driver, too, must be text then (schedule/c). */
#ifndef WHET_C_H
#define WHET_C_H

#include "target/target.h"

/* ops.c: rows of text with parameters:
 *   $T  the scalar in C: float             $V  its vector: f32v          $N  the type in names: f32
 *   $U  unsigned, of its width: uint32_t   $S  signed integers: s32v     $X  unsigned integers: u32v
 *   $F  what libm adds to names: f         $W  bits                      $L  lanes of a vector
 *   $M  the element in memory, where it differs: s8
 * A row is for the types that `types` lists: f f32, d f64, and integers: s signed, u unsigned, b bool; i s32 alone. */
typedef struct CRow {
    const char *name; /* of the function, with parameters: "$N_add" */
    const char *types;
    const char *result, *parameters; /* with the parameters above */
    const char *gnu;                 /* the result by vector extensions; NULL: as `lane` */
    const char *lane;                /* a lane's result in a, b, c of x, y, z; or a body in braces */
} CRow;
extern const CRow c_vector_rows[], c_scalar_rows[], c_helper_rows[];
extern const int c_vector_row_count, c_scalar_row_count, c_helper_row_count;

/* prelude.c */
const char *c_type(DType type); /* of an element in memory: "uint16_t" for f16 */
/* Includes, types, and those functions of the rows that `body` calls, directly or not, then `body`. */
void c_print_file(Text *out, const char *body, int bytes);
bool c_mentions(const char *text, const char *name); /* the name as a word of its own */
void c_number(Text *out, DType type, double number, int64_t integer);

/* function.c: a static function PREFIX_NAME_INDEX of the vector function's name; its parameters are the vector function's. */
whet_status c_print_function(const VectorFunction *f, const char *prefix, int index, Text *out, whet_error *err);

#endif
