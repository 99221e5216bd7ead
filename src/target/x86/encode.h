/* What the parts of the encoder share: where values are, and single instructions on them. Private to the folder.
 *
 * encode.c has arithmetic, loops and the whole; encode_memory.c loads, stores and gathers; encode_lanes.c what moves lanes;
 * tiles.c tiles. */
#ifndef WHET_X86_ENCODE_H
#define WHET_X86_ENCODE_H

#include "target/x86/x86.h"

#include <Zydis/Zydis.h>

enum { ENCODER_TILES = 2 }; /* registers for tiles of A, and as many for those of B */

typedef struct Encoder {
    X86Code *code;
    const VectorFunction *f;
    const CodeSelection *selection;
    const VectorAllocation *at;
    uint64_t features;
    bool wide;
    int tile_rows;                            /* of functions of tiles (tiles.c); 0: it is none */
    int held[2][ENCODER_TILES], held_next[2]; /* tiles of A, of B in registers: value + 1 */
    size_t *exit_jump;                        /* by operation: where a loop jumps over itself; 0: it does not */
    size_t *head;                             /* by operation: the first byte of a loop's body */
} Encoder;

/* Conditions of jumps, as their second byte; JUMP_ALWAYS is an instruction of its own. */
enum { JUMP_ZERO = 0x84, JUMP_LESS = 0x8c, JUMP_LESS_EQUAL = 0x8e, JUMP_ALWAYS = 0 };

static const X86Operand nothing = {.kind = X86_NONE};

static inline X86Operand register_operand(int reg) {
    return (X86Operand){.kind = X86_REGISTER, .reg = (short)reg};
}

static inline X86Operand number_operand(int64_t number) {
    return (X86Operand){.kind = X86_IMMEDIATE, .number = number};
}

static inline X86Operand memory_operand(int base, int64_t displacement, int size) {
    return (X86Operand){.kind = X86_MEMORY, .reg = (short)base, .number = displacement, .size = (unsigned char)size};
}

/* A register of 16, 32 or 64 bytes by its number. */
static inline X86Operand vector_of(int reg, int bytes) {
    return register_operand((bytes == 64 ? ZYDIS_REGISTER_ZMM0 : bytes == 32 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0) + reg);
}

static inline X86Operand vector_operand(const Encoder *e, int reg) {
    return vector_of(reg, e->wide ? 64 : 32);
}

static inline int reg_of(const Encoder *e, int value) {
    return e->at->reg[value];
}

static inline int mask_of(const Encoder *e, int value) {
    return reg_of(e, value) + 1; /* k0 stands for "all" */
}

static inline int scratch_register(const Encoder *e, int op, int which) {
    return e->at->scratch[VECTOR_SCRATCH * op + which];
}

static inline X86Operand scratch(const Encoder *e, int op) {
    return vector_operand(e, scratch_register(e, op, 0));
}

static inline X86Operand result(const Encoder *e, const VectorOp *op) {
    return vector_operand(e, reg_of(e, op->result));
}

static inline int bytes_of(DType type) {
    return dtype_bits(type) / 8;
}

static inline bool same_register(const Encoder *e, int value, const VectorOp *op) {
    return !e->selection->none[value] && reg_of(e, value) == reg_of(e, op->result);
}

/* encode.c. An instruction on general registers; one on vectors; one under a mask register (0: none). */
void encode_plain(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c);
void encode_vector(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c, X86Operand d);
void encode_masked(Encoder *e, int mnemonic, int mask, bool zeroing, X86Operand a, X86Operand b, X86Operand c, X86Operand d);
/* Vector instructions that take no mask in either encoding. */
void encode_bare(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c, X86Operand d);
void encode_move(Encoder *e, X86Operand to, X86Operand from);
X86Operand encode_operand(Encoder *e, int value); /* a vector's register, or the memory it is folded from */
X86Operand encode_address(Encoder *e, const VectorAddress *a, int size);
X86Operand encode_pool(Encoder *e, const void *data, size_t size); /* a constant behind the code */
size_t encode_jump(X86Code *code, int condition);                  /* where its distance is to be patched in */

/* encode_memory.c */
void encode_splat(Encoder *e, const VectorOp *op);
void encode_load(Encoder *e, const VectorOp *op);
void encode_store(Encoder *e, const VectorOp *op, int at);
void encode_store_first(Encoder *e, const VectorOp *op, int at);
void encode_gather(Encoder *e, const VectorOp *op, int at);

/* tiles.c: what a function of tiles begins and ends with; at loops, which register holds what is forgotten. */
void encode_tiles_begin(Encoder *e);
void encode_tiles_end(Encoder *e);
void encode_tiles_forget(Encoder *e);
void encode_tile(Encoder *e, const VectorOp *op);

/* encode_lanes.c */
void encode_halves(Encoder *e, const VectorOp *op);
void encode_zip(Encoder *e, const VectorOp *op);
void encode_blocks(Encoder *e, const VectorOp *op);
void encode_permute(Encoder *e, const VectorOp *op);
void encode_pick(Encoder *e, const VectorOp *op);
void encode_lookup(Encoder *e, const VectorOp *op, int at);
void encode_lookup_pair(Encoder *e, const VectorOp *op);
void encode_iota(Encoder *e, const VectorOp *op);
void encode_reduce(Encoder *e, const VectorOp *op, int at);
int encode_binary_mnemonic(const Encoder *e, VectorCode code, DType type); /* encode.c: 0: there is none */

#endif
