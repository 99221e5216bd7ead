/* Vector code as encoders take it: in operations that the target has, with every address a pointer and a constant, every value in
 * a register. Shared by the targets that make instructions. */
#ifndef WHET_LOWER_H
#define WHET_LOWER_H

#include "target/target.h"

/* What a target wants of the register allocator: see VectorRegisters. */
typedef struct CodeSelection {
    bool *none;       /* by value */
    signed char *tie; /* by operation, like those below */
    unsigned char *scratch;
    bool *late;
} CodeSelection;
bool code_select_new(const VectorFunction *f, CodeSelection *out, whet_error *err); /* room for it, cleared */
typedef bool CodeSelect(const VectorFunction *f, const Target *target, CodeSelection *out, whet_error *err);

typedef struct CodeLowered {
    const VectorFunction *f;
    CodeSelection selection;
    VectorAllocation at;
} CodeLowered;

/* `native`: operations that the target has. `hoist`: constants of innermost loops stay in registers where there are enough. Where
 * general registers run out, counters stay in addresses: that costs bytes and, on some CPUs, an operation each. */
bool code_lower(const VectorFunction *f, const Target *target, const bool native[VECTOR_OP_COUNT], CodeSelect *select, bool hoist,
                uint64_t seed, CodeLowered *out, whet_error *err);
/* Its last step: registers for out->f as out->selection wants them. */
bool code_allocate(const Target *target, uint64_t seed, CodeLowered *out, whet_error *err);

#endif
