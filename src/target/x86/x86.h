/* The x86-64 target: AVX2 + FMA, and AVX-512 (F, BW, DQ, VL) with VNNI and BF16 where the CPU has them.
 *
 *     vector code --vector_rewrite--> operations x86 has --vector_lower_addresses--> --x86_select--> which loads and constants
 * become memory operands --vector_allocate--> registers (all that by code_lower) --x86_encode--> bytes --code_keep--> code
 *
 * features.c finds what there is, select.c folds, encode.c writes instructions with Zydis, ../memory.c makes them executable,
 * disassemble.c prints them, calibrate.c measures the machine with them. Everything but calling code works on every host. */
#ifndef WHET_X86_H
#define WHET_X86_H

#include "target/code.h"
#include "target/lower.h"

/* What the instructions from `offset` on are for, to annotate listings with. */
typedef enum X86LineKind { X86_LINE_FUNCTION, X86_LINE_PARAMETER, X86_LINE_OPERATION, X86_LINE_RETURN } X86LineKind;
typedef struct X86Line {
    uint32_t offset;
    X86LineKind kind : 8;
    VectorCode code : 8; /* of the operation */
    DType type : 8;
    int32_t number; /* of the function; of the role, of a parameter; rounds of a loop, -1: known at run time */
} X86Line;
typedef char X86Role[12]; /* a parameter's name, or its beginning */

enum { X86_SUM_TILES = 4 }; /* of AMX's registers, those for sums: tiles.c */

/* features.c */
uint64_t x86_features_here(void);

/* compile.c */
whet_status x86_compile(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed, TargetCode **out,
                        whet_error *err);
bool x86_halve(const Target *target, Target *out); /* AVX2 on a machine with AVX-512; false: it has not more */

/* select.c: what operations want of the register allocator; what needs no register because its user takes it as a memory operand.
 */
bool x86_select(const VectorFunction *f, const Target *target, CodeSelection *out, whet_error *err);
/* Operations the target has; vector_rewrite replaces the others. */
void x86_native(const Target *target, bool native[VECTOR_OP_COUNT]);

/* emit.c: one instruction at a time, by table or through Zydis. Errors are sticky in X86Code.failed. */
typedef struct X86Constant { /* in the pool behind the code */
    unsigned char data[VECTOR_MAX_BYTES];
    size_t size, at;
} X86Constant;
typedef struct X86Fixup { /* a displacement that waits for the pool */
    size_t at, end;       /* of the displacement, and of its instruction */
    size_t constant;
} X86Fixup;
typedef struct X86Code { /* bytes being written */
    Arena *arena;
    unsigned char *data;
    size_t size, capacity;
    const char *failed;
    X86Line *lines;
    size_t line_count, line_capacity;
    X86Role *roles;
    size_t role_count, role_capacity;
    X86Constant *constants;
    size_t constant_count, constant_capacity;
    X86Fixup *fixups;
    size_t fixup_count, fixup_capacity;
} X86Code;
enum { X86_NONE, X86_REGISTER, X86_IMMEDIATE, X86_MEMORY, X86_POOL /* memory too: a constant of the pool */ };
typedef struct X86Operand {
    unsigned char kind;      /* one of the above */
    unsigned char scale;     /* of the index */
    unsigned char size;      /* bytes of memory read or written */
    unsigned char broadcast; /* elements that one of memory fills; 0: none */
    short reg;               /* a ZydisRegister: the register, or the base */
    short index;             /* of memory: a ZydisRegister that is added, times `scale`; 0: none */
    int64_t number;          /* displacement, immediate, or which constant */
} X86Operand;                /* of 16 bytes: an instruction has four */
typedef struct X86Instruction {
    int mnemonic; /* a ZydisMnemonic */
    X86Operand operand[4];
    bool evex;    /* otherwise encoded by VEX or the old way */
    bool bare;    /* of those with EVEX: takes no mask operand after the first */
    int mask;     /* 0: none, else k register */
    bool zeroing; /* of lanes that are off */
} X86Instruction;
void x86_emit(X86Code *code, const X86Instruction *instruction);
/* The same by Zydis alone: the bytes' number, 0 where it has no such instruction. */
size_t x86_emit_slowly(const X86Instruction *instruction, unsigned char *to);
void x86_byte(X86Code *code, int byte);
void x86_align(X86Code *code, size_t alignment);
void x86_patch_jump(X86Code *code, size_t at, size_t target); /* the 4 bytes at `at` become a distance to `target` */
int x86_constant(X86Code *code, const void *data, size_t size);
void x86_place_pool(X86Code *code);

/* write.c: instructions by table. 0: not one of its forms. `displacement`: where the distance to the pool goes; 0: nowhere. */
size_t x86_write(const X86Instruction *instruction, unsigned char *to, size_t *displacement);
int x86_next_form(int mnemonic); /* the mnemonics that it has rows for, one after another: 0 begins and ends */

/* encode.c */
void x86_encode(const CodeLowered *lowered, const Target *target, int function, X86Code *code);

/* disassemble.c */
void x86_print(const TargetCode *code, Text *out);

#endif
