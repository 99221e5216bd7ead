/* The AArch64 target: NEON, and what further features allow: half precision, dot products, matrix multiplies, SVE.
 *
 *     vector code --arm64_native, vector_rewrite--> operations Arm has --vector_lower_addresses--> --arm64_select-->
 *     --vector_allocate--> registers (all that by code_lower) --arm64_encode--> words --code_keep--> code
 *
 * features.c finds what there is, select.c says what operations want of the register allocator, encode.c writes functions, loops
 * and addresses, neon.c and sve.c what is done with vectors, sme.c and amx.c what matrix units do, emit.c words by the table of
 * instructions.c, ../memory.c makes them executable, disassemble.c prints them by the same table. Everything but calling code
 * works on every host. */
#ifndef WHET_ARM64_H
#define WHET_ARM64_H

#include "target/code.h"
#include "target/lower.h"

/* instructions.c: the table. A word is the row's bits and its operands in fields. */
typedef enum Arm64Form {
#define X(name, bits, text, ...) ARM64_##name,
#include "target/arm64/instructions.inc"
#undef X
    ARM64_FORM_COUNT
} Arm64Form;
enum { ARM64_MAX_OPERANDS = 6 };

/* False: an operand does not fit its field. */
bool arm64_word(Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS], uint32_t *word);
/* The row a word is of and its operands; ARM64_FORM_COUNT: none. */
Arm64Form arm64_form_of(uint32_t word, int64_t operand[ARM64_MAX_OPERANDS]);
void arm64_print_word(Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS], Text *out); /* as assemblers read it */
uint32_t arm64_fixed_bits(Arm64Form form, uint32_t *mask); /* the row's bits, and where they are */
const char *arm64_form_name(Arm64Form form);

typedef struct Arm64Line { /* what the instructions from `offset` on are for, to annotate listings with */
    uint32_t offset;
    int function, op; /* op: of the lowered function; -1: its beginning */
    VectorCode code;
    DType type;
    int64_t rounds; /* of a loop; -1: known at run time */
    char role[12];  /* at the beginning: the parameter that is loaded */
} Arm64Line;

/* features.c */
uint64_t arm64_features_here(void);
int arm64_vector_bytes_here(void);    /* of an SVE register; 0: there is none */
int arm64_streaming_bytes_here(void); /* of one in SME's streaming mode; 0: there is none */
/* False: no NEON. `bytes` of an SVE register, where the features have SVE; `streaming` of one in streaming mode. */
bool arm64_target(uint64_t features, int bytes, int streaming, Target *out);

/* compile.c */
whet_status arm64_compile(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed,
                          TargetCode **out, whet_error *err);
static inline bool arm64_scalable(const Target *target) { /* code is made of SVE instructions */
    return target->registers[CLASS_MASK] > 0;
}

/* select.c: what each operation asks of the register allocator. */
bool arm64_select(const VectorFunction *f, const Target *target, CodeSelection *out, whet_error *err);
void arm64_native(const Target *target, bool native[VECTOR_OP_COUNT]); /* vector_rewrite replaces the others */

/* emit.c: words, the pool of constants behind them, and jumps. Errors are sticky in Arm64Code.failed. */
typedef struct Arm64Constant {
    unsigned char data[16];
    size_t at;
} Arm64Constant;
typedef struct Arm64Fixup { /* a load that waits for the pool */
    size_t at, constant;
} Arm64Fixup;
typedef struct Arm64Code {
    Arena *arena;
    unsigned char *data;
    size_t size, capacity;
    const char *failed;
    Arm64Line *lines;
    size_t line_count, line_capacity;
    Arm64Constant *constants;
    size_t constant_count, constant_capacity;
    Arm64Fixup *fixups;
    size_t fixup_count, fixup_capacity;
} Arm64Code;
void arm64_put(Arm64Code *code, Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS]);
/* arm64_emit(code, FADD_4S, 0, 1, 2): operands in the order of the row's text. */
#define arm64_emit(code, form, ...) arm64_put(code, ARM64_##form, (const int64_t[ARM64_MAX_OPERANDS]){__VA_ARGS__})
void arm64_align(Arm64Code *code, size_t alignment);
void arm64_patch_jump(Arm64Code *code, size_t at, size_t target);                 /* the branch at `at` now goes to `target` */
void arm64_load_constant(Arm64Code *code, int reg, const unsigned char data[16]); /* of a NEON register, from the pool */
void arm64_place_pool(Arm64Code *code);

/* encode.c: functions, loops, addresses. What neon.c and sve.c share with it: */
typedef struct Arm64Place { /* an address that is kept in a general register */
    int reg, base;
    int64_t offset;
} Arm64Place;
enum { ARM64_PLACES = 8, ARM64_AMX_REGISTERS = 8 };
typedef struct Arm64Encoder {
    Arm64Code *code;
    const VectorFunction *f;
    const Target *target;
    const VectorAllocation *at;
    int function;      /* its number, for listings */
    size_t *exit_jump; /* by operation: where a loop jumps over itself; 0: it does not */
    size_t *head;      /* by operation: the first byte of a loop's body */
    Arm64Place place[ARM64_PLACES];
    int place_count, next_place;
    int amx[2][ARM64_AMX_REGISTERS], amx_next[2]; /* values + 1 in AMX's X and Y registers, and which is taken next */
} Arm64Encoder;
enum { ARM64_TEMPORARY = 16, ARM64_ZERO = 31 };        /* x16 is the encoder's own */
int arm64_vector_of(const Arm64Encoder *e, int value); /* registers by number */
int arm64_general_of(const Arm64Encoder *e, int value);
int arm64_mask_of(const Arm64Encoder *e, int value);
int arm64_scratch(const Arm64Encoder *e, int op, int which);
void arm64_move_number(Arm64Encoder *e, int reg, int64_t number);
/* A general register that holds the address, with *offset left to add by the instruction: between `low` and `high`, a multiple
 * of `unit`. */
int arm64_address(Arm64Encoder *e, const VectorAddress *a, int64_t low, int64_t high, int64_t unit, int64_t *offset);
int arm64_second_temporary(Arm64Encoder *e, int taken); /* a general register beside x16 and `taken` */
void arm64_element_bits(DType type, double number, unsigned char out[8]);
void arm64_refuse(Arm64Encoder *e, const char *why);
void arm64_encode(const CodeLowered *lowered, const Target *target, int function, Arm64Code *code);

/* neon.c, sve.c: everything whose result or operand is a vector or a mask. */
void arm64_neon_op(Arm64Encoder *e, const VectorOp *op, int at);
void arm64_neon_move(Arm64Encoder *e, int to, int from);
void arm64_sve_op(Arm64Encoder *e, const VectorOp *op, int at);
void arm64_sve_move(Arm64Encoder *e, int to, int from);
void arm64_sve_move_mask(Arm64Encoder *e, int to, int from);
void arm64_sve_begin(Arm64Encoder *e);

/* sme.c, amx.c: functions of tiles, on either unit. */
bool arm64_has_tiles(const VectorFunction *f);
Target arm64_unit(const Target *target);               /* as functions of tiles know the target */
static inline bool arm64_is_unit(const Target *unit) { /* it is one that arm64_unit gave */
    return unit->registers[CLASS_TILE] > 0;
}
static inline bool arm64_is_amx(const Target *unit) {
    return arm64_is_unit(unit) && !(unit->features & FEATURE(SME));
}
void arm64_unit_begin(Arm64Encoder *e); /* behind the saving of registers, with x0 alone in use */
void arm64_unit_end(Arm64Encoder *e);
bool arm64_unit_op(Arm64Encoder *e, const VectorOp *op, int at); /* false: it is no operation of tiles */
void arm64_amx_begin(Arm64Encoder *e);
void arm64_amx_end(Arm64Encoder *e);
bool arm64_amx_op(Arm64Encoder *e, const VectorOp *op);

/* disassemble.c */
void arm64_print(const TargetCode *code, Text *out);

#endif
