/* Executable memory, in regions that many pieces of code share: see memory.c. */
#ifndef WHET_MEMORY_H
#define WHET_MEMORY_H

#include "target/target.h"

/* Whoever owns one sees to it that one thread at a time puts, seals and drops; code may run meanwhile. */
typedef struct CodeMemory CodeMemory;
/* Regions of `region` bytes, or what a piece takes if that is more. NULL: out of memory. */
CodeMemory *code_memory_new(const whet_allocator *allocator, size_t region);
void code_memory_free(CodeMemory *memory); /* with all that is in it; NULL is fine */
/* WHET_ERROR_UNSUPPORTED: this system lets no memory become executable. The message names the C target. */
whet_status code_memory_allowed(whet_error *err);
/* A copy of `bytes`, aligned to 64, that may be called once it is sealed. NULL: error, as of code_memory_allowed or
 * for want of memory. */
void *code_memory_put(CodeMemory *memory, const void *bytes, size_t size, whet_error *err);
whet_status code_memory_seal(CodeMemory *memory, whet_error *err); /* all that was put so far may be called */
void code_memory_drop(CodeMemory *memory, const void *code);       /* NULL is fine */

#endif
