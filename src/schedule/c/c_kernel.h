/* Kernels as C files: the text that `whet compile` writes.
 *
 *     Kernel --template for the C target--> vector functions --target/c--> C functions --+
 *        |                                      `-- the template's driver, as text -------+--> file.c: head, signature, body
 *        `---- no template takes it: plain.c: loops as the notation has them -------------+
 */
#ifndef WHET_SCHEDULE_C_H
#define WHET_SCHEDULE_C_H

#include "schedule/schedule.h"
#include "target/c/c.h"

/* names.c: C names of tensors and axes: their own, or with `_` behind where C or the file has another use for the word. */
typedef struct CNames {
    const char *tensor[KERNEL_MAX_TENSORS];
} CNames;
bool c_names(const Kernel *kernel, Arena *arena, CNames *out); /* false: out of memory */
const char *c_axis_name(const Kernel *kernel, const Definition *definition, const CNames *names, int axis, Arena *arena);

/* plain.c: the body of the function, definition by definition. */
whet_status c_print_plain(const Kernel *kernel, const CNames *names, Text *out, whet_error *err);

/* file.c: what a file holds of one kernel: the comment on top, and functions. Several bodies of different names make one file. */
whet_status c_print_kernel(const Kernel *kernel, int bytes, const ScheduleOptions *options, const char *name, Text *comment,
                           Text *body, whet_error *err);

/* driver.c: pieces that the drivers of all templates have. The variable of axis x of a nest is x<x>. */
void c_indent(Text *out, int depth);
int c_open_axes(const CDriver *d, const Nest *nest, const int *axes, int count, int depth); /* returns the depth inside */
void c_close(Text *out, int count, int depth);                                              /* so many loops or ifs */
/* " + 5 * row", or with a number >= 0 " + 5 * x3"; nothing if the factor is 0. */
void c_put_term(Text *out, int64_t factor, const char *variable, int number);
void c_put_offset(Text *out, int64_t offset); /* " + 5"; nothing if it is 0 */
/* "char *const p0 = (char *)(y + 5 + 3 * x1": where an access is, in elements; more terms may follow, then the end. */
void c_open_place(const CDriver *d, const Nest *nest, int access, const int *axes, int count, int depth);
void c_close_place(const CDriver *d);
void c_put_name(const CDriver *d, const Compiled *c, int function);
void c_clear_gaps(const CDriver *d, const Nest *nest);
void c_allocate(const CDriver *d, const char *name, int64_t bytes); /* floats; the function returns 1 if there are none */
void c_release(const CDriver *d, const char *name);                 /* NULL: nothing; and returns 0 */

/* The drivers of contract.c and rows.c; that of map.c is in map.h. */
void contract_print_c(const Compiled *c, const CDriver *driver);
void rows_print_c(const Compiled *c, const CDriver *driver);

#endif
