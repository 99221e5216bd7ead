/* Functions of tiles on SME: they run in streaming mode, where vectors have a length of their own, and hold their tiles in ZA.
 *
 * To their callers they are ordinary functions that use ZA privately (AAPCS64, "SME support"): called with streaming mode off and
 * ZA either off or dormant, which means that a caller's caller left its ZA there, and in TPIDR2_EL0 the address of a block that
 * says where it wants it saved. Such a save is done here, as __arm_tpidr2_save would: code that is made at run time links to
 * nobody's library. Streaming mode begins and ends with all vectors zero, so the low halves of v8 to v15 are always saved
 * (encode.c). On return both are off.
 *
 * The code is made for one streaming length, that of the machine it is made on, like SVE's. Nothing in it is unknown to streaming
 * mode: loads and stores of whole vectors, ZA. */
#include "target/arm64/arm64.h"

enum { ALL = 0, BLOCK_SLICES = 8, GREATER_EQUAL = 10 };
enum { SLICE = 12, COUNTER = 15, BUFFER = 17, SLICE_BASE = 12 }; /* w12 to w15 count slices of ZA */

bool arm64_has_tiles(const VectorFunction *f) {
    for (int v = 0; v < f->value_count; v++)
        if (f->values[v].class == CLASS_TILE)
            return true;
    return false;
}

Target arm64_unit(const Target *target) {
    Target unit = *target;
    unit.bytes = target->tiles.bytes;
    unit.registers[CLASS_TILE] = target->tiles.count;
    unit.registers[CLASS_MASK] = target->features & FEATURE(SME) ? 6 : 0;
    return unit;
}

/* What a dormant ZA holds goes where its owner wants it: a block of {buffer, count of slices as u16}; no buffer: nowhere. */
static void save_dormant(Arm64Encoder *e) {
    Arm64Code *code = e->code;
    arm64_emit(code, MRS_TPIDR2, ARM64_TEMPORARY);
    size_t none = code->size;
    arm64_emit(code, CBZ_X, ARM64_TEMPORARY, 0);
    arm64_emit(code, LDR_X, BUFFER, ARM64_TEMPORARY, 0);
    size_t unwanted = code->size;
    arm64_emit(code, CBZ_X, BUFFER, 0);
    arm64_emit(code, LDRH_W, COUNTER, ARM64_TEMPORARY, BLOCK_SLICES);
    arm64_emit(code, MOVZ, SLICE, 0, 0);
    size_t head = code->size;
    arm64_emit(code, CMP_REG, SLICE, COUNTER);
    size_t exit = code->size;
    arm64_emit(code, B_COND, GREATER_EQUAL, 0);
    arm64_emit(code, SME_STR, SLICE - SLICE_BASE, BUFFER);
    arm64_emit(code, ADD_IMM, BUFFER, BUFFER, e->target->bytes);
    arm64_emit(code, ADD_IMM, SLICE, SLICE, 1);
    size_t again = code->size;
    arm64_emit(code, B, 0);
    arm64_patch_jump(code, again, head);
    arm64_patch_jump(code, exit, code->size);
    arm64_patch_jump(code, unwanted, code->size);
    arm64_emit(code, MSR_TPIDR2, ARM64_ZERO);
    arm64_patch_jump(code, none, code->size);
}

void arm64_unit_begin(Arm64Encoder *e) {
    if (arm64_is_amx(e->target)) {
        arm64_amx_begin(e);
        return;
    }
    save_dormant(e);
    arm64_emit(e->code, SMSTART, 0);
}

void arm64_unit_end(Arm64Encoder *e) {
    if (arm64_is_amx(e->target))
        arm64_amx_end(e);
    else
        arm64_emit(e->code, SMSTOP, 0);
}

static int tile_of(const Arm64Encoder *e, int value) {
    return e->at->reg[value];
}

static void zero(Arm64Encoder *e, int tile) {
    static const Arm64Form forms[] = {ARM64_SME_ZERO_0, ARM64_SME_ZERO_1, ARM64_SME_ZERO_2, ARM64_SME_ZERO_3};
    arm64_put(e->code, forms[tile], (const int64_t[ARM64_MAX_OPERANDS]){0});
}

static void outer(Arm64Encoder *e, const VectorOp *op) {
    Arm64Form form = op->code == VECTOR_OUTER       ? ARM64_SME_FMOPA_S
                     : op->code == VECTOR_OUTER2    ? ARM64_SME_BFMOPA
                     : op->code == VECTOR_OUTER4_SS ? ARM64_SME_SMOPA
                     : op->code == VECTOR_OUTER4_US ? ARM64_SME_USMOPA
                     : op->code == VECTOR_OUTER4_SU ? ARM64_SME_SUMOPA
                                                    : ARM64_SME_UMOPA;
    int to = tile_of(e, op->result), a = arm64_vector_of(e, op->arg[0]), b = arm64_vector_of(e, op->arg[1]);
    if (to != tile_of(e, op->arg[2]))
        arm64_refuse(e, "tiles that change places");
    arm64_put(e->code, form, (const int64_t[ARM64_MAX_OPERANDS]){to, ALL, ALL, a, b});
}

/* Row `row` of a tile to a vector. w15 counts, four rows at a time: it is set for the first of them. */
static void take_row(Arm64Encoder *e, int to, int tile, int row, bool set) {
    if (set)
        arm64_emit(e->code, MOVZ, COUNTER, row / 4 * 4, 0);
    arm64_emit(e->code, SME_MOVA_FROM, to, ALL, tile, COUNTER - SLICE_BASE, row % 4);
}

/* By way of vectors, in turn: measured on M4, that is several times as fast as stores of ZA (Hello SME!, arXiv 2409.18779). */
static void store(Arm64Encoder *e, const VectorOp *op, int at) {
    int bytes = e->target->bytes;
    for (int row = 0; row < bytes / 4; row++) {
        int t = arm64_scratch(e, at, row % 2);
        VectorAddress to = vector_offset(op->address, row * (int64_t)op->number);
        int64_t offset;
        int base = arm64_address(e, &to, -256 * (int64_t)bytes, 255 * (int64_t)bytes, bytes, &offset);
        take_row(e, t, tile_of(e, op->arg[0]), row, row % 4 == 0);
        arm64_emit(e->code, SVE_STR, t, base, offset / bytes);
    }
}

bool arm64_unit_op(Arm64Encoder *e, const VectorOp *op, int at) {
    if (arm64_is_amx(e->target))
        return arm64_amx_op(e, op);
    switch (op->code) {
    case VECTOR_TILE_ZERO: zero(e, tile_of(e, op->result)); return true;
    case VECTOR_OUTER:
    case VECTOR_OUTER2:
    case VECTOR_OUTER4_SS:
    case VECTOR_OUTER4_US:
    case VECTOR_OUTER4_SU:
    case VECTOR_OUTER4_UU: outer(e, op); return true;
    case VECTOR_TILE_STORE: store(e, op, at); return true;
    case VECTOR_TILE_ROW: take_row(e, arm64_vector_of(e, op->result), tile_of(e, op->arg[0]), (int)op->number, true); return true;
    default: return false;
    }
}
