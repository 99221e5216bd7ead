/* Functions of tiles on Intel's AMX: eight registers of up to 16 rows of 64 bytes, and products of a tile of A by a tile of B, as
 * many groups of depth at once as B has rows. What a register holds is configured by one instruction, which also clears all of
 * them; so that is done once a call, and each register keeps its part and its rows:
 *
 *     tmm0 to tmm3   sums, as allocated: as many rows as the function's tiles have (TILE_ZERO)
 *     tmm4, tmm5     tiles of A, of as many rows
 *     tmm6, tmm7     tiles of B, of 16 rows
 *
 * Tiles that are loaded never get registers from the allocator, which knows nothing of rows: products load what tmm4 to tmm7 do
 * not hold. Rows that are left out are neither read nor written, so the last rows of a matrix need no copy. */
#include "target/x86/encode.h"

#include <string.h>

enum { A_FIRST = X86_SUM_TILES, B_FIRST = A_FIRST + ENCODER_TILES, TILES = B_FIRST + ENCODER_TILES };
enum { PALETTE = 1, COLUMNS_AT = 16, ROWS_AT = 48, ROW_BYTES = 64, MOST_ROWS = 16 };

static X86Operand tile_operand(int number) {
    return register_operand(ZYDIS_REGISTER_TMM0 + number);
}

static int rows_of(const VectorOp *op) {
    return op->step ? (int)op->step : MOST_ROWS;
}

void encode_tiles_forget(Encoder *e) {
    memset(e->held, 0, sizeof e->held);
    memset(e->held_next, 0, sizeof e->held_next);
}

void encode_tiles_begin(Encoder *e) {
    unsigned char config[ROW_BYTES] = {PALETTE};
    for (int i = 0; i < e->f->op_count && !e->tile_rows; i++)
        if (e->f->ops[i].code == VECTOR_TILE_ZERO)
            e->tile_rows = rows_of(&e->f->ops[i]);
    if (!e->tile_rows)
        return;
    for (int i = 0; i < TILES; i++) {
        config[COLUMNS_AT + 2 * i] = ROW_BYTES;
        config[ROWS_AT + i] = (unsigned char)(i < B_FIRST ? e->tile_rows : MOST_ROWS);
    }
    encode_plain(e, ZYDIS_MNEMONIC_LDTILECFG, encode_pool(e, config, sizeof config), nothing, nothing);
}

void encode_tiles_end(Encoder *e) {
    if (e->tile_rows)
        encode_plain(e, ZYDIS_MNEMONIC_TILERELEASE, nothing, nothing, nothing);
}

/* The rows of an operation in memory, their distance in RAX. */
static X86Operand rows_in_memory(Encoder *e, const VectorOp *op, int wanted) {
    X86Operand rax = register_operand(ZYDIS_REGISTER_RAX), at = encode_address(e, &op->address, 0);
    if (rows_of(op) != wanted || at.index)
        e->code->failed = "tiles of different rows, or at an index";
    encode_plain(e, ZYDIS_MNEMONIC_MOV, rax, number_operand((int64_t)op->number), nothing);
    at.index = rax.reg;
    at.scale = 1;
    return at;
}

/* The register that holds a tile of A (side 0) or B (1), loaded if none does. */
static X86Operand loaded(Encoder *e, int side, int value) {
    const VectorOp *op = &e->f->ops[e->f->values[value].op];
    int first = side ? B_FIRST : A_FIRST;
    for (int i = 0; i < ENCODER_TILES; i++)
        if (e->held[side][i] == value + 1)
            return tile_operand(first + i);
    if (op->code != VECTOR_TILE_LOAD) {
        e->code->failed = "a product of tiles that are not loaded";
        return nothing;
    }
    int to = e->held_next[side]++ % ENCODER_TILES;
    e->held[side][to] = value + 1;
    X86Operand from = rows_in_memory(e, op, side ? MOST_ROWS : e->tile_rows);
    encode_plain(e, ZYDIS_MNEMONIC_TILELOADD, tile_operand(first + to), from, nothing);
    return tile_operand(first + to);
}

static void encode_tile_dot(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic products[] = {ZYDIS_MNEMONIC_TDPBF16PS, ZYDIS_MNEMONIC_TDPBSSD, ZYDIS_MNEMONIC_TDPBUSD,
                                             ZYDIS_MNEMONIC_TDPBSUD, ZYDIS_MNEMONIC_TDPBUUD}; /* from TILE_DOT2 on */
    if (reg_of(e, op->result) != reg_of(e, op->arg[2]))
        e->code->failed = "tiles that change places";
    X86Operand a = loaded(e, 0, op->arg[0]), b = loaded(e, 1, op->arg[1]);
    encode_plain(e, products[op->code - VECTOR_TILE_DOT2], tile_operand(reg_of(e, op->result)), a, b);
}

void encode_tile(Encoder *e, const VectorOp *op) {
    if (op->code == VECTOR_TILE_ZERO && rows_of(op) == e->tile_rows)
        encode_plain(e, ZYDIS_MNEMONIC_TILEZERO, tile_operand(reg_of(e, op->result)), nothing, nothing);
    else if (op->code == VECTOR_TILE_STORE)
        encode_plain(e, ZYDIS_MNEMONIC_TILESTORED, rows_in_memory(e, op, e->tile_rows), tile_operand(reg_of(e, op->arg[0])),
                     nothing);
    else if (op->code >= VECTOR_TILE_DOT2 && op->code <= VECTOR_TILE_DOT4_UU)
        encode_tile_dot(e, op);
    else
        e->code->failed = vector_info[op->code].name;
}
