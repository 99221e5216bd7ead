/* Instructions that move lanes: every other lane, interleaving, blocks, permutes, and folding a register onto itself. */
#include "target/x86/encode.h"

/* AVX-512 has permutes of two registers by a third, which the result takes the place of. In AVX2 a shuffle of each half leaves
 * pairs of lanes in the order 0, 2, 1, 3. */
void encode_halves(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), a = encode_operand(e, op->arg[0]), b = encode_operand(e, op->arg[1]);
    int odd = op->code == VECTOR_ODD, size = bytes_of(op->type);
    if (size < 4) {
        e->code->failed = "every other lane of less than 32 bits";
    } else if (e->wide) {
        int32_t lanes[16] = {0};
        for (int i = 0; i < 64 / size; i++)
            lanes[i * size / 4] = 2 * i + odd;
        encode_vector(e, ZYDIS_MNEMONIC_VMOVUPS, to, encode_pool(e, lanes, sizeof lanes), nothing, nothing);
        encode_vector(e, size == 8 ? ZYDIS_MNEMONIC_VPERMI2PD : ZYDIS_MNEMONIC_VPERMI2PS, to, a, b, nothing);
    } else {
        if (size == 8)
            encode_vector(e, odd ? ZYDIS_MNEMONIC_VUNPCKHPD : ZYDIS_MNEMONIC_VUNPCKLPD, to, a, b, nothing);
        else
            encode_vector(e, ZYDIS_MNEMONIC_VSHUFPS, to, a, b, number_operand(odd ? 0xdd : 0x88));
        encode_vector(e, ZYDIS_MNEMONIC_VPERMPD, to, to, number_operand(0xd8), nothing);
    }
}

void encode_zip(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic zips[2][4] = {
        {ZYDIS_MNEMONIC_VPUNPCKLBW, ZYDIS_MNEMONIC_VPUNPCKLWD, ZYDIS_MNEMONIC_VUNPCKLPS, ZYDIS_MNEMONIC_VUNPCKLPD},
        {ZYDIS_MNEMONIC_VPUNPCKHBW, ZYDIS_MNEMONIC_VPUNPCKHWD, ZYDIS_MNEMONIC_VUNPCKHPS, ZYDIS_MNEMONIC_VUNPCKHPD},
    };
    int size = bytes_of(op->type), width = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    encode_vector(e, zips[op->code == VECTOR_ZIP_HIGH][width], result(e, op), encode_operand(e, op->arg[0]),
                  encode_operand(e, op->arg[1]), nothing);
}

void encode_blocks(Encoder *e, const VectorOp *op) {
    bool odd = op->code == VECTOR_BLOCK_ODD;
    X86Operand pick = number_operand(e->wide ? (odd ? 0xdd : 0x88) : (odd ? 0x31 : 0x20));
    encode_vector(e, e->wide ? ZYDIS_MNEMONIC_VSHUFF32X4 : ZYDIS_MNEMONIC_VPERM2F128, result(e, op),
                  encode_operand(e, op->arg[0]), encode_operand(e, op->arg[1]), pick);
}

void encode_permute(Encoder *e, const VectorOp *op) {
    if (bytes_of(op->type) != 4) {
        e->code->failed = "permute of lanes of other than 32 bits";
        return;
    }
    encode_vector(e, ZYDIS_MNEMONIC_VPERMPS, result(e, op), encode_operand(e, op->arg[1]), encode_operand(e, op->arg[0]),
                  nothing);
}

/* The first register is what the result takes the place of. */
void encode_pick(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op);
    if (bytes_of(op->type) != 4) {
        e->code->failed = "pick of lanes of other than 32 bits";
        return;
    }
    if (!same_register(e, op->arg[0], op))
        encode_move(e, to, encode_operand(e, op->arg[0]));
    encode_vector(e, ZYDIS_MNEMONIC_VPERMT2PS, to, encode_operand(e, op->arg[2]), encode_operand(e, op->arg[1]), nothing);
}

/* Sixteen elements are one register of AVX-512, and two of AVX2: the index's bit 3 says which. */
void encode_lookup(Encoder *e, const VectorOp *op, int at) {
    const float *table = vector_table[(int)op->number];
    X86Operand to = result(e, op), index = encode_operand(e, op->arg[0]);
    if (e->wide) {
        encode_vector(e, ZYDIS_MNEMONIC_VPERMPS, to, index, encode_pool(e, table, 64), nothing);
        return;
    }
    X86Operand low = scratch(e, at), high = vector_operand(e, scratch_register(e, at, 1));
    encode_vector(e, ZYDIS_MNEMONIC_VPERMPS, low, index, encode_pool(e, table, 32), nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPERMPS, high, index, encode_pool(e, table + 8, 32), nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPSLLD, to, index, number_operand(28), nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VBLENDVPS, to, low, high, to);
}

void encode_lookup_pair(Encoder *e, const VectorOp *op) {
    const float *table = vector_table[(int)op->number];
    X86Operand to = result(e, op), second = encode_pool(e, table + VECTOR_TABLE_LENGTH, 64);
    encode_vector(e, ZYDIS_MNEMONIC_VMOVUPS, to, encode_pool(e, table, 64), nothing, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPERMT2PS, to, encode_operand(e, op->arg[0]), second, nothing);
}

void encode_iota(Encoder *e, const VectorOp *op) {
    int32_t lanes[16];
    for (int i = 0; i < 16; i++)
        lanes[i] = (int32_t)((uint32_t)i * (uint32_t)(int64_t)op->number);
    X86Operand from = encode_pool(e, lanes, (size_t)e->f->bytes);
    encode_vector(e, ZYDIS_MNEMONIC_VMOVUPS, result(e, op), from, nothing, nothing);
}

/* Folds halves onto each other: lane i meets lane i ^ 8, then 4, 2, 1; so every lane ends with the result. */
void encode_reduce(Encoder *e, const VectorOp *op, int at) {
    VectorCode code = op->code == VECTOR_REDUCE_ADD ? VECTOR_ADD : op->code == VECTOR_REDUCE_MIN ? VECTOR_MIN_OR : VECTOR_MAX_OR;
    if (op->type == DT_S32 && code != VECTOR_ADD)
        code = code == VECTOR_MIN_OR ? VECTOR_MIN : VECTOR_MAX;
    if (bytes_of(op->type) < 4) {
        e->code->failed = "a reduction of lanes of less than 32 bits";
        return;
    }
    int mnemonic = encode_binary_mnemonic(e, code, op->type);
    X86Operand to = result(e, op), from = encode_operand(e, op->arg[0]), t = scratch(e, at);
    if (e->wide) {
        encode_vector(e, ZYDIS_MNEMONIC_VSHUFF64X2, t, from, from, number_operand(0x4e));
        encode_vector(e, mnemonic, to, from, t, nothing);
        encode_vector(e, ZYDIS_MNEMONIC_VSHUFF64X2, t, to, to, number_operand(0xb1));
    } else
        encode_vector(e, ZYDIS_MNEMONIC_VPERM2F128, t, from, from, number_operand(1));
    encode_vector(e, mnemonic, to, e->wide ? to : from, t, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPERMILPD, t, to, number_operand(0x55), nothing);
    encode_vector(e, mnemonic, to, to, t, nothing);
    if (bytes_of(op->type) == 8)
        return;
    encode_vector(e, ZYDIS_MNEMONIC_VPERMILPS, t, to, number_operand(0xb1), nothing);
    encode_vector(e, mnemonic, to, to, t, nothing);
}
