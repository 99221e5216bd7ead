/* Functions of tiles on Apple's AMX, the matrix unit of its cores before SME. Apple documents none of it; encodings and meaning
 * are as published by those who found them out (github.com/corsix/amx, and what it refers to). It is used on cores known to have
 * it alone (features.c), and tested on an emulator of these instructions (tests/amx.h).
 *
 * The unit has eight registers X and Y of 64 bytes, which it loads from memory itself, and 64 rows Z. A product of f32 adds
 * x[column] * y[row] to every fourth row of Z, so there are four tiles of 16 x 16, interleaved. Every instruction names one
 * general register, whose fields say the rest:
 *
 *     load, store    the address, in bits 56 and up the register (X, Y: 0 to 7) or row (Z: 0 to 63)
 *     fma32          bits 0 and 10: where in Y and X, in bytes; 20: which tile; 27, 28, 29: leave out Z, Y, X
 *
 * Vectors of the vector code never get registers here: products load what X and Y do not hold. */
#include "target/arm64/arm64.h"

#include <string.h>

enum {
    X,
    Y,
    REGISTER_BYTES = 64,
    TILES = 4,
    ROWS = 16,
    OPERAND_FIELD = 8,
    OPERAND_SHIFT = 48,
    Y_AT = 0,
    X_AT = 10,
    TILE_AT = 20
};
enum { ALL_LEFT_OUT = 7 << 27 };

static void forget(Arm64Encoder *e) {
    memset(e->amx, 0, sizeof e->amx);
    memset(e->amx_next, 0, sizeof e->amx_next);
}

/* Turned on and off by the call, as the unit's state is kept for threads that have it on. On some cores the first instruction
 * wants those before it to have ended. */
void arm64_amx_begin(Arm64Encoder *e) {
    forget(e);
    for (int i = 0; i < 3; i++)
        arm64_emit(e->code, NOP, 0);
    arm64_emit(e->code, AMX_SET, 0);
}

void arm64_amx_end(Arm64Encoder *e) {
    arm64_emit(e->code, AMX_CLR, 0);
}

/* x16 = address, with the number of a register or row above: addresses of processes have 48 bits. */
static void put_operand(Arm64Encoder *e, const VectorAddress *address, int64_t number) {
    int64_t offset;
    int base = arm64_address(e, address, 0, 4095, 1, &offset);
    arm64_emit(e->code, ADD_IMM, ARM64_TEMPORARY, base, offset);
    if (number)
        arm64_emit(e->code, MOVK, ARM64_TEMPORARY, number << OPERAND_FIELD, OPERAND_SHIFT);
}

/* The register of X or Y that holds a vector, loaded if none does. */
static int loaded(Arm64Encoder *e, int file, int value) {
    const VectorOp *op = &e->f->ops[e->f->values[value].op];
    for (int i = 0; i < ARM64_AMX_REGISTERS; i++)
        if (e->amx[file][i] == value + 1)
            return i;
    if (op->code != VECTOR_LOAD || op->mask >= 0 || op->type != op->from) {
        arm64_refuse(e, "a product of something that is not loaded as it is");
        return 0;
    }
    int to = e->amx_next[file]++ % ARM64_AMX_REGISTERS;
    e->amx[file][to] = value + 1;
    put_operand(e, &op->address, to);
    if (file == X)
        arm64_emit(e->code, AMX_LDX, ARM64_TEMPORARY);
    else
        arm64_emit(e->code, AMX_LDY, ARM64_TEMPORARY);
    return to;
}

static void fma32(Arm64Encoder *e, int64_t fields, int tile) {
    arm64_move_number(e, ARM64_TEMPORARY, fields | (int64_t)tile << TILE_AT);
    arm64_emit(e->code, AMX_FMA32, ARM64_TEMPORARY);
}

static void outer(Arm64Encoder *e, const VectorOp *op) {
    int tile = e->at->reg[op->result];
    if (tile != e->at->reg[op->arg[2]])
        arm64_refuse(e, "tiles that change places");
    int64_t y = loaded(e, Y, op->arg[0]), x = loaded(e, X, op->arg[1]);
    fma32(e, y * REGISTER_BYTES << Y_AT | x * REGISTER_BYTES << X_AT, tile);
}

static void store(Arm64Encoder *e, const VectorOp *op) {
    for (int row = 0; row < ROWS; row++) {
        VectorAddress to = vector_offset(op->address, row * (int64_t)op->number);
        put_operand(e, &to, row * TILES + e->at->reg[op->arg[0]]);
        arm64_emit(e->code, AMX_STZ, ARM64_TEMPORARY);
    }
}

bool arm64_amx_op(Arm64Encoder *e, const VectorOp *op) {
    switch (op->code) {
    case VECTOR_LOOP:
    case VECTOR_END: forget(e); return false;
    case VECTOR_POINTER_ADD: return false;
    case VECTOR_TILE_ZERO: fma32(e, ALL_LEFT_OUT, e->at->reg[op->result]); return true;
    case VECTOR_OUTER: outer(e, op); return true;
    case VECTOR_TILE_STORE: store(e, op); return true;
    case VECTOR_POINTER_INDEX:
    case VECTOR_PREFETCH: return false;
    default: arm64_refuse(e, vector_info[op->code].name); return true;
    }
}
