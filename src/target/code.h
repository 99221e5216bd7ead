/* Code as it is kept, for targets that make instructions. One piece of memory, with all that follows. */
#ifndef WHET_CODE_H
#define WHET_CODE_H

#include "target/memory.h"

struct TargetCode {
    const whet_allocator *allocator;
    size_t whole_bytes;
    void *memory; /* executable; NULL: made for another machine, `bytes` alone */
    CodeMemory *owner;
    bool owned;             /* the owner, by this code alone */
    unsigned char *bytes;   /* a copy as written, for printing and tests */
    size_t size, code_size; /* constants lie behind the code */
    size_t *entries;
    int entry_count;
    void *lines; /* what instructions are for, as the target notes it, */
    int line_count;
    void *roles; /* and what it needs besides */
};

/* A copy of what `parts` points to, in its allocator's memory; executable where the target runs here. NULL: error. */
TargetCode *code_keep(const Target *target, const TargetCode *parts, size_t line_bytes, size_t role_bytes, whet_error *err);
TargetEntry code_entry(const TargetCode *code, int function);
size_t code_size(const TargetCode *code);
void code_free(TargetCode *code); /* NULL is fine */

#endif
