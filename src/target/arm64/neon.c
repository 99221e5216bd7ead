/* NEON: 16 bytes a register, masks as lanes of ones, no loads under a mask: a lane at a time, jumping over those that are off. */
#include "target/arm64/arm64.h"

#include <string.h>

static void emit3(Arm64Encoder *e, Arm64Form form, int to, int a, int b) {
    arm64_put(e->code, form, (const int64_t[ARM64_MAX_OPERANDS]){to, a, b});
}

static void emit2(Arm64Encoder *e, Arm64Form form, int to, int a) {
    emit3(e, form, to, a, 0);
}

static int reg(const Arm64Encoder *e, int value) {
    return arm64_vector_of(e, value);
}

static int result(const Arm64Encoder *e, const VectorOp *op) {
    return arm64_vector_of(e, op->result);
}

static int bytes_of(DType type) {
    return dtype_bits(type) / 8;
}

void arm64_neon_move(Arm64Encoder *e, int to, int from) {
    if (to != from)
        emit3(e, ARM64_ORR_16B, to, from, from);
}

/* The form of a row for an element type; 0: none. Integers by their size; what differs for unsigned ones has a row of its own. */
typedef struct Row {
    VectorCode code;
    Arm64Form f32, f64, i8, i16, i32, i64;
    bool swapped;     /* operands change places */
    bool is_unsigned; /* for u8, u16 and u32 alone */
} Row;

#define BITS(form)                                                                                                               \
    ARM64_##form##_16B, ARM64_##form##_16B, ARM64_##form##_16B, ARM64_##form##_16B, ARM64_##form##_16B, ARM64_##form##_16B
#define LANES(form)                                                                                                              \
    ARM64_##form##_4S, ARM64_##form##_2D, ARM64_##form##_16B, ARM64_##form##_8H, ARM64_##form##_4S, ARM64_##form##_2D
#define FLOATS(form) ARM64_F##form##_4S, ARM64_F##form##_2D
#define INTS(form)   ARM64_##form##_16B, ARM64_##form##_8H, ARM64_##form##_4S, 0
#define LONGS(form)  ARM64_##form##_16B, ARM64_##form##_8H, ARM64_##form##_4S, ARM64_##form##_2D
// clang-format off
static const Row rows[] = {
    {VECTOR_ADD, FLOATS(ADD), LONGS(ADD), false, false},
    {VECTOR_SUB, FLOATS(SUB), LONGS(SUB), false, false},
    {VECTOR_MUL, FLOATS(MUL), INTS(MUL), false, false},
    {VECTOR_DIV, FLOATS(DIV), 0, 0, 0, 0, false, false},
    {VECTOR_MIN, FLOATS(MIN), INTS(UMIN), false, true},
    {VECTOR_MAX, FLOATS(MAX), INTS(UMAX), false, true},
    {VECTOR_MIN, FLOATS(MIN), INTS(SMIN), false, false},
    {VECTOR_MAX, FLOATS(MAX), INTS(SMAX), false, false},
    {VECTOR_FMA, FLOATS(MLA), 0, 0, 0, 0, false, false},
    {VECTOR_FNMA, FLOATS(MLS), 0, 0, 0, 0, false, false},
    {VECTOR_AND, BITS(AND), false, false},
    {VECTOR_OR, BITS(ORR), false, false},
    {VECTOR_XOR, BITS(EOR), false, false},
    {VECTOR_AND_NOT, BITS(BIC), true, false},
    {VECTOR_EQ, FLOATS(CMEQ), LONGS(CMEQ), false, false},
    {VECTOR_NE, FLOATS(CMEQ), LONGS(CMEQ), false, false},
    {VECTOR_LT, FLOATS(CMGT), LONGS(CMHI), true, true},
    {VECTOR_LE, FLOATS(CMGE), INTS(CMHS), true, true},
    {VECTOR_LT, FLOATS(CMGT), LONGS(CMGT), true, false},
    {VECTOR_LE, FLOATS(CMGE), LONGS(CMGE), true, false},
    {VECTOR_MASK_AND, BITS(AND), false, false},
    {VECTOR_MASK_OR, BITS(ORR), false, false},
    {VECTOR_MASK_XOR, BITS(EOR), false, false},
    {VECTOR_EVEN, LANES(UZP1), false, false},
    {VECTOR_ODD, LANES(UZP2), false, false},
    {VECTOR_ZIP_LOW, LANES(ZIP1), false, false},
    {VECTOR_ZIP_HIGH, LANES(ZIP2), false, false},
    {VECTOR_SQRT, FLOATS(SQRT), 0, 0, 0, 0, false, false},
    {VECTOR_FLOOR, FLOATS(RINTM), 0, 0, 0, 0, false, false},
    {VECTOR_CEIL, FLOATS(RINTP), 0, 0, 0, 0, false, false},
    {VECTOR_TRUNC, FLOATS(RINTZ), 0, 0, 0, 0, false, false},
    {VECTOR_ROUND, FLOATS(RINTN), 0, 0, 0, 0, false, false},
};
// clang-format on

static const Row *row_of(VectorCode code, DType type) {
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].code == code && (!rows[i].is_unsigned || dtype_kind(type) == KIND_UNSIGNED))
            return &rows[i];
    return NULL;
}

/* 0: there is none, which is refused by the operation's name. */
static Arm64Form form_of(Arm64Encoder *e, VectorCode code, DType type) {
    const Row *row = row_of(code, type);
    int size = bytes_of(type);
    Arm64Form form = !row             ? 0
                     : type == DT_F32 ? row->f32
                     : type == DT_F64 ? row->f64
                     : size == 1      ? row->i8
                     : size == 2      ? row->i16
                     : size == 4      ? row->i32
                                      : row->i64;
    if (!form)
        arm64_refuse(e, vector_info[code].name);
    return form;
}

static void encode_row(Arm64Encoder *e, const VectorOp *op) {
    const Row *row = row_of(op->code, op->type);
    Arm64Form form = form_of(e, op->code, op->type);
    int a = reg(e, op->arg[0]), b = vector_arg_count(op->code) > 1 ? reg(e, op->arg[1]) : 0;
    if (form)
        emit3(e, form, result(e, op), row->swapped ? b : a, row->swapped ? a : b);
    if (form && op->code == VECTOR_NE)
        emit2(e, ARM64_MVN_16B, result(e, op), result(e, op));
}

static void encode_unordered(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), t = arm64_scratch(e, at, 0);
    Arm64Form equal = form_of(e, VECTOR_EQ, op->type);
    emit3(e, equal, to, reg(e, op->arg[0]), reg(e, op->arg[0]));
    if (op->arg[1] != op->arg[0]) {
        emit3(e, equal, t, reg(e, op->arg[1]), reg(e, op->arg[1]));
        emit3(e, ARM64_AND_16B, to, to, t);
    }
    emit2(e, ARM64_MVN_16B, to, to);
}

/* a < b ? a : b, or a > b ? a : b, into a register that is neither. */
static void pick(Arm64Encoder *e, VectorCode code, DType type, int to, int a, int b) {
    bool least = code == VECTOR_MIN_OR || code == VECTOR_REDUCE_MIN;
    emit3(e, form_of(e, VECTOR_LT, type), to, least ? b : a, least ? a : b);
    emit3(e, ARM64_BSL_16B, to, a, b);
}

/* The accumulator's register is the result's, or becomes it. */
static void encode_accumulate(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op), a = reg(e, op->arg[0]), b = reg(e, op->arg[1]);
    arm64_neon_move(e, to, reg(e, op->arg[2]));
    if (vector_has(op->code, '#')) { /* by lane */
        Arm64Form form = op->type == DT_F64                ? ARM64_FMLA_2D_LANE
                         : op->type == DT_F32              ? ARM64_FMLA_4S_LANE
                         : op->code == VECTOR_DOT4_UU_LANE ? ARM64_UDOT_4S_LANE
                                                           : ARM64_SDOT_4S_LANE;
        arm64_put(e->code, form, (const int64_t[ARM64_MAX_OPERANDS]){to, a, b, (int64_t)op->number});
    } else
        emit3(e, form_of(e, op->code, op->type), to, a, b);
}

static void encode_select(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op), mask = arm64_mask_of(e, op->arg[0]), yes = reg(e, op->arg[1]), no = reg(e, op->arg[2]);
    arm64_neon_move(e, to, no);
    emit3(e, ARM64_BIT_16B, to, yes, mask);
}

static void encode_shift(Arm64Encoder *e, const VectorOp *op) {
    static const Arm64Form shifts[3][3] = {{ARM64_SHL_8H, ARM64_USHR_8H, ARM64_SSHR_8H},
                                           {ARM64_SHL_4S, ARM64_USHR_4S, ARM64_SSHR_4S},
                                           {ARM64_SHL_2D, ARM64_USHR_2D, ARM64_SSHR_2D}};
    int by = (int)op->number;
    if (by)
        emit3(e, shifts[bytes_of(op->type) / 4][op->code - VECTOR_SHL], result(e, op), reg(e, op->arg[0]), by);
    else
        arm64_neon_move(e, result(e, op), reg(e, op->arg[0]));
}

/* By a vector: the low byte of each lane, signed, to the left; 63 and more are one. */
static void encode_shift_by(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0);
    if (op->type == DT_S64) { /* never that far */
        int by = op->code == VECTOR_SHL_BY ? reg(e, op->arg[1]) : t;
        if (by == t)
            emit2(e, ARM64_NEG_2D, t, reg(e, op->arg[1]));
        emit3(e, ARM64_USHL_2D, result(e, op), reg(e, op->arg[0]), by);
        return;
    }
    arm64_emit(e->code, MOVI_4S_0, t, 63);
    emit3(e, ARM64_UMIN_4S, t, t, reg(e, op->arg[1]));
    if (op->code != VECTOR_SHL_BY)
        emit2(e, ARM64_NEG_4S, t, t);
    emit3(e, op->code == VECTOR_SAR_BY ? ARM64_SSHL_4S : ARM64_USHL_4S, result(e, op), reg(e, op->arg[0]), t);
}

/* Of the lower halves. */
static void encode_mul_lower(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1);
    emit2(e, ARM64_XTN_2S, t, reg(e, op->arg[0]));
    emit2(e, ARM64_XTN_2S, u, reg(e, op->arg[1]));
    emit3(e, ARM64_UMULL_2D, result(e, op), t, u);
}

/* Even lanes side by side, then twice as wide; and the other way round. */
static void encode_convert_f64(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op);
    emit2(e, op->type == DT_F64 ? ARM64_XTN_2S : ARM64_FCVTN_2S, to, reg(e, op->arg[0]));
    emit2(e, op->type == DT_F64 ? ARM64_FCVTL_2D : ARM64_UXTL_2D, to, to);
}

/* Arm's conversions saturate and give 0 for NaN: what is not below 2^31 becomes INT32_MIN, which the others give themselves. */
static void encode_convert(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), from = reg(e, op->arg[0]);
    if (op->type == DT_F64 || op->from == DT_F64) {
        encode_convert_f64(e, op);
        return;
    }
    if (op->type == DT_F32) {
        emit2(e, ARM64_SCVTF_4S, to, from);
        return;
    }
    int t = arm64_scratch(e, at, 0), least = arm64_scratch(e, at, 1);
    emit2(e, op->code == VECTOR_CVT ? ARM64_FCVTZS_4S : ARM64_FCVTNS_4S, t, from);
    emit2(e, ARM64_MOVI_4S_24, to, 0x4f); /* 2^31 as a float */
    emit3(e, ARM64_FCMGT_4S, to, to, from);
    emit2(e, ARM64_MOVI_4S_24, least, 0x80);
    emit3(e, ARM64_BSL_16B, to, t, least);
}

/* ---- constants ---- */

static void load_bytes(Arm64Encoder *e, int to, const unsigned char data[16]) {
    static const unsigned char zeros[16];
    if (memcmp(data, zeros, 16) == 0)
        arm64_emit(e->code, MOVI_2D_0, to);
    else
        arm64_load_constant(e->code, to, data);
}

/* One byte of a word alone. */
static bool move_byte(Arm64Encoder *e, int to, uint32_t word) {
    static const Arm64Form forms[] = {ARM64_MOVI_4S_0, ARM64_MOVI_4S_8, ARM64_MOVI_4S_16, ARM64_MOVI_4S_24};
    static const Arm64Form inverted[] = {ARM64_MVNI_4S_0, ARM64_MVNI_4S_8, ARM64_MVNI_4S_16, ARM64_MVNI_4S_24};
    for (int i = 0; i < 4; i++) {
        if (!(word & ~(UINT32_C(0xff) << 8 * i))) {
            emit2(e, forms[i], to, (int)(word >> 8 * i));
            return true;
        }
        if (!(~word & ~(UINT32_C(0xff) << 8 * i))) {
            emit2(e, inverted[i], to, (int)(~word >> 8 * i));
            return true;
        }
    }
    return false;
}

/* The 8 bits of a float that has no more: sign, exponent from -3 to 4, four bits of fraction. */
static int short_float(uint32_t word) {
    uint32_t exponent = word >> 25 & 0x3f;
    if (word & 0x7ffff || (exponent != 0x20 && exponent != 0x1f))
        return -1;
    return (int)(word >> 24 & 0x80) | (int)(word >> 19 & 0x7f);
}

static void encode_const(Arm64Encoder *e, const VectorOp *op) {
    unsigned char data[16];
    uint32_t word = 0;
    int to = result(e, op);
    arm64_element_bits(op->type, op->number, data);
    memcpy(data + 8, data, 8);
    memcpy(&word, data, 4);
    bool same_bytes = word == (word & 0xff) * 0x01010101u;
    bool narrow = bytes_of(op->type) < 8;
    if (narrow && move_byte(e, to, word))
        return;
    int bits = op->type == DT_F32 ? short_float(word) : -1;
    if (bits >= 0)
        emit2(e, ARM64_FMOV_4S, to, bits);
    else if (narrow && same_bytes)
        emit2(e, ARM64_MOVI_16B, to, (int)(word & 0xff));
    else
        load_bytes(e, to, data);
}

static void encode_iota(Arm64Encoder *e, const VectorOp *op) {
    unsigned char data[16];
    for (int i = 0; i < 4; i++) {
        int32_t lane = (int32_t)(uint32_t)((uint64_t)i * (uint64_t)(int64_t)op->number);
        memcpy(data + 4 * i, &lane, 4);
    }
    load_bytes(e, result(e, op), data);
}

/* ---- memory ---- */

/* Forms by the logarithm of their bytes: aligned and near, unaligned and near, one lane. */
static const struct {
    Arm64Form load, load_near, store, store_near, load_lane, store_lane;
} memory[] = {
    {ARM64_LDR_B, ARM64_LDUR_B, ARM64_STR_B, ARM64_STUR_B, ARM64_LD1_B, ARM64_ST1_B},
    {ARM64_LDR_H, ARM64_LDUR_H, ARM64_STR_H, ARM64_STUR_H, ARM64_LD1_H, ARM64_ST1_H},
    {ARM64_LDR_S, ARM64_LDUR_S, ARM64_STR_S, ARM64_STUR_S, ARM64_LD1_S, ARM64_ST1_S},
    {ARM64_LDR_D, ARM64_LDUR_D, ARM64_STR_D, ARM64_STUR_D, ARM64_LD1_D, ARM64_ST1_D},
    {ARM64_LDR_Q, ARM64_LDUR_Q, ARM64_STR_Q, ARM64_STUR_Q, 0, 0},
};

static void move_memory(Arm64Encoder *e, int vector, const VectorAddress *a, int bytes, bool store) {
    int log = whole_log2(bytes);
    int64_t offset;
    if (a->offset >= -256 && a->offset < 256 && (a->offset < 0 || a->offset % bytes)) {
        int base = arm64_address(e, a, -256, 255, 1, &offset);
        emit3(e, store ? memory[log].store_near : memory[log].load_near, vector, base, (int)offset);
        return;
    }
    int base = arm64_address(e, a, 0, 4095 * (int64_t)bytes, bytes, &offset);
    emit3(e, store ? memory[log].store : memory[log].load, vector, base, (int)offset);
}

/* Lanes one after the other: a known number of them, or those whose mask is not zero. */
static void move_lanes(Arm64Encoder *e, const VectorOp *op, int vector, int bytes, bool store) {
    const VectorOp *mask = &e->f->ops[e->f->values[op->mask].op];
    int lanes = e->f->bytes / bytes_of(op->type), size = bytes_of(op->type);
    bool known = e->f->values[op->mask].op >= 0 && mask->code == VECTOR_MASK_FIRST;
    if (known)
        lanes = mask->number < lanes ? (int)mask->number : lanes;
    if (known && lanes * bytes == 16) {
        move_memory(e, vector, &op->address, 16, store);
        return;
    }
    if (!store)
        arm64_emit(e->code, MOVI_2D_0, vector);
    for (int i = 0; i < lanes; i++) {
        VectorAddress at = op->address;
        int64_t offset;
        at.offset += (int64_t)i * bytes;
        int base = arm64_address(e, &at, 0, 0, 1, &offset);
        size_t jump = 0;
        if (!known) {
            static const Arm64Form lane_of[] = {ARM64_UMOV_B, ARM64_UMOV_H, ARM64_UMOV_S, ARM64_UMOV_D};
            arm64_put(e->code, lane_of[whole_log2(size)],
                      (const int64_t[ARM64_MAX_OPERANDS]){ARM64_TEMPORARY, arm64_mask_of(e, op->mask), i});
            jump = e->code->size;
            arm64_emit(e->code, CBZ_W, ARM64_TEMPORARY, 0);
        }
        emit3(e, store ? memory[whole_log2(bytes)].store_lane : memory[whole_log2(bytes)].load_lane, vector, i, base);
        if (!known)
            arm64_patch_jump(e->code, jump, e->code->size);
    }
}

/* Integers of `from` bytes in the low end become those of `to` bytes. */
static void widen_ints(Arm64Encoder *e, int v, int to, DType from) {
    static const Arm64Form forms[2][3] = {{ARM64_UXTL_8H, ARM64_UXTL_4S, ARM64_UXTL_2D},
                                          {ARM64_SXTL_8H, ARM64_SXTL_4S, ARM64_SXTL_2D}};
    for (int size = bytes_of(from), step = size / 2; size < to; size *= 2, step++)
        emit2(e, forms[dtype_kind(from) == KIND_SIGNED][step], v, v);
}

/* What is narrower in memory fills the register from its low end. */
static void widen(Arm64Encoder *e, int v, DType type, DType from) {
    bool to_float = dtype_kind(type) == KIND_FLOAT, from_float = dtype_kind(from) == KIND_FLOAT;
    if (type == from || (bytes_of(type) == bytes_of(from) && !to_float && !from_float))
        return;
    if (type == DT_F32 && from == DT_F16)
        emit2(e, ARM64_FCVTL_4S, v, v);
    else if (type == DT_F32 && from == DT_BF16)
        emit2(e, ARM64_SHLL_4S, v, v);
    else if (type == DT_F64 && from == DT_F32)
        emit2(e, ARM64_FCVTL_2D, v, v);
    else if (from_float || (to_float && bytes_of(type) < 4) || bytes_of(from) > bytes_of(type))
        arm64_refuse(e, "load of this memory type");
    else {
        widen_ints(e, v, bytes_of(type), from);
        if (to_float)
            emit2(e, bytes_of(type) == 8 ? ARM64_SCVTF_2D : ARM64_SCVTF_4S, v, v);
    }
}

static void encode_load(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op), bytes = bytes_of(op->from);
    if (op->mask >= 0)
        move_lanes(e, op, to, bytes, false);
    else
        move_memory(e, to, &op->address, bytes * (16 / bytes_of(op->type)), false);
    widen(e, to, op->type, op->from);
}

/* An element at a time: base + index * scale. x16 holds a mask's lane, then the index; x17 the scale, then nothing. */
static void encode_gather(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op), index = reg(e, op->arg[0]), bytes = bytes_of(op->from), lanes = 16 / bytes_of(op->type);
    int64_t offset;
    if (bytes_of(op->type) != 4) {
        arm64_refuse(e, "gather of this type");
        return;
    }
    int base = arm64_address(e, &op->address, 0, 0, 1, &offset), scale = arm64_second_temporary(e, base);
    arm64_emit(e->code, MOVI_2D_0, to);
    arm64_move_number(e, scale, (int64_t)op->number);
    for (int i = 0; i < lanes; i++) {
        size_t jump = 0;
        if (op->mask >= 0) {
            arm64_put(e->code, ARM64_UMOV_S, (const int64_t[ARM64_MAX_OPERANDS]){ARM64_TEMPORARY, arm64_mask_of(e, op->mask), i});
            jump = e->code->size;
            arm64_emit(e->code, CBZ_W, ARM64_TEMPORARY, 0);
        }
        emit3(e, ARM64_SMOV_S, ARM64_TEMPORARY, index, i);
        arm64_emit(e->code, MADD, ARM64_TEMPORARY, ARM64_TEMPORARY, scale, base);
        emit3(e, memory[whole_log2(bytes)].load_lane, to, i, ARM64_TEMPORARY);
        if (op->mask >= 0)
            arm64_patch_jump(e->code, jump, e->code->size);
    }
    widen(e, to, op->type, op->from);
}

static void encode_splat(Arm64Encoder *e, const VectorOp *op) {
    static const Arm64Form forms[] = {ARM64_LD1R_16B, ARM64_LD1R_8H, ARM64_LD1R_4S, ARM64_LD1R_2D};
    int64_t offset;
    int base = arm64_address(e, &op->address, 0, 0, 1, &offset);
    emit2(e, forms[whole_log2(bytes_of(op->from))], result(e, op), base);
    widen(e, result(e, op), op->type, op->from);
}

/* The vector in the low end of `t`, narrower; false: there is no such type. */
static bool narrow(Arm64Encoder *e, const VectorOp *op, int from, int t) {
    DType to = op->from;
    if (op->type == DT_F32 && to == DT_F16)
        emit2(e, ARM64_FCVTN_4H, t, from);
    else if (op->type == DT_F32 && to == DT_BF16)
        emit2(e, ARM64_BFCVTN_4H, t, from);
    else if (op->type == DT_S32 && (to == DT_S16 || to == DT_S8)) {
        emit2(e, ARM64_SQXTN_4H, t, from);
        if (to == DT_S8)
            emit2(e, ARM64_SQXTN_8B, t, t);
    } else if (op->type == DT_S32 && (to == DT_U16 || to == DT_U8 || to == DT_BOOL)) {
        emit2(e, ARM64_SQXTUN_4H, t, from);
        if (to != DT_U16)
            emit2(e, ARM64_UQXTN_8B, t, t);
    } else if (op->type == DT_S64 && dtype_kind(to) != KIND_FLOAT) {
        static const Arm64Form halves[] = {ARM64_XTN_2S, ARM64_XTN_4H, ARM64_XTN_8B};
        for (int step = 0, size = 8; size > bytes_of(to); size /= 2, step++)
            emit2(e, halves[step], t, step ? t : from);
    } else if (bytes_of(op->type) == 2 && bytes_of(to) == 1)
        emit2(e,
              dtype_kind(op->type) == KIND_UNSIGNED ? ARM64_UQXTN_8B
              : to == DT_S8                         ? ARM64_SQXTN_8B
                                                    : ARM64_SQXTUN_8B,
              t, from);
    else if (op->type == DT_F64 && to == DT_F32)
        emit2(e, ARM64_FCVTN_2S, t, from);
    else {
        arm64_refuse(e, "store of this memory type");
        return false;
    }
    return true;
}

static void encode_store(Arm64Encoder *e, const VectorOp *op, int at) {
    int value = reg(e, op->arg[0]), bytes = bytes_of(op->from);
    if (bytes_of(op->from) != bytes_of(op->type)) {
        int t = arm64_scratch(e, at, 0);
        if (!narrow(e, op, value, t))
            return;
        value = t;
    }
    if (op->code == VECTOR_STORE_FIRST)
        move_memory(e, value, &op->address, bytes, true);
    else if (op->mask >= 0)
        move_lanes(e, op, value, bytes, true);
    else
        move_memory(e, value, &op->address, bytes * (16 / bytes_of(op->type)), true);
}

/* ---- masks and reductions ---- */

static void encode_mask_first(Arm64Encoder *e, const VectorOp *op) {
    unsigned char data[16] = {0};
    memset(data, 0xff, (size_t)op->number * (size_t)bytes_of(op->type));
    load_bytes(e, result(e, op), data);
}

static void encode_mask_below(Arm64Encoder *e, const VectorOp *op, int at) {
    enum { LESS = 11 };
    unsigned char data[16] = {0};
    int size = bytes_of(op->type), lanes = 16 / size, t = arm64_scratch(e, at, 0), to = result(e, op);
    for (int i = 0; i < lanes; i++)
        data[i * size] = (unsigned char)i;
    int index = arm64_general_of(e, op->arg[0]);
    static const struct {
        Arm64Form splat, greater;
    } forms[] = {{ARM64_DUP_16B_GENERAL, ARM64_CMGT_16B},
                 {ARM64_DUP_8H_GENERAL, ARM64_CMGT_8H},
                 {ARM64_DUP_4S_GENERAL, ARM64_CMGT_4S},
                 {ARM64_DUP_2D_GENERAL, ARM64_CMGT_2D}};
    arm64_move_number(e, ARM64_TEMPORARY, lanes);
    arm64_emit(e->code, CMP_REG, index, ARM64_TEMPORARY);
    arm64_emit(e->code, CSEL, ARM64_TEMPORARY, index, ARM64_TEMPORARY, LESS);
    emit2(e, forms[whole_log2(size)].splat, to, ARM64_TEMPORARY);
    load_bytes(e, t, data);
    emit3(e, forms[whole_log2(size)].greater, to, to, t);
}

/* Every lane's partner at a distance of half the lanes, then of a quarter. */
static void partner(Arm64Encoder *e, int to, int from, int step) {
    if (step == 0)
        arm64_emit(e->code, EXT_16B, to, from, from, 8);
    else
        emit2(e, ARM64_REV64_4S, to, from);
}

static void encode_reduce(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), from = reg(e, op->arg[0]), t = arm64_scratch(e, at, 0);
    int steps = bytes_of(op->type) == 8 ? 1 : 2;
    bool plain = op->code == VECTOR_REDUCE_ADD || op->type == DT_S32;
    if (bytes_of(op->type) < 4) {
        arm64_refuse(e, "a reduction of narrow lanes");
        return;
    }
    VectorCode code = op->code == VECTOR_REDUCE_ADD ? VECTOR_ADD : op->code == VECTOR_REDUCE_MIN ? VECTOR_MIN : VECTOR_MAX;
    for (int step = 0; step < steps; step++) {
        int picked = plain || step == steps - 1 ? to : arm64_scratch(e, at, 1);
        partner(e, t, from, step);
        if (plain)
            emit3(e, form_of(e, code, op->type), to, from, t);
        else if (picked == from) { /* the result may have its operand's register */
            int u = arm64_scratch(e, at, 1);
            pick(e, op->code, op->type, u, from, t);
            arm64_neon_move(e, to, u);
        } else
            pick(e, op->code, op->type, picked, from, t);
        from = picked;
    }
}

/* Lane i is lane b[i]: its four bytes are looked up. */
static void encode_permute(Arm64Encoder *e, const VectorOp *op, int at) {
    static const unsigned char four[16] = {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4};
    static const unsigned char bytes[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1);
    if (bytes_of(op->type) != 4) {
        arm64_refuse(e, "permute of this type");
        return;
    }
    arm64_emit(e->code, MOVI_4S_0, t, 3);
    emit3(e, ARM64_AND_16B, t, t, reg(e, op->arg[1]));
    load_bytes(e, u, four);
    emit3(e, ARM64_MUL_4S, t, t, u);
    load_bytes(e, u, bytes);
    emit3(e, ARM64_ADD_4S, t, t, u);
    emit3(e, ARM64_TBL_16B, result(e, op), reg(e, op->arg[0]), t);
}

static void encode_round_to(Arm64Encoder *e, const VectorOp *op) {
    if (op->from != DT_F16) {
        arm64_refuse(e, "round_to of this type");
        return;
    }
    emit2(e, ARM64_FCVTN_4H, result(e, op), reg(e, op->arg[0]));
    emit2(e, ARM64_FCVTL_4S, result(e, op), result(e, op));
}

/* ---- products of bytes ---- */

/* Without dot products: 16-bit products, added by pairs, twice. */
static void dot_by_products(Arm64Encoder *e, int to, int a, int b, int t, int u) {
    emit3(e, ARM64_SMULL_8H, t, a, b);
    emit3(e, ARM64_SMULL2_8H, u, a, b);
    emit2(e, ARM64_SADDLP_4S, t, t);
    emit2(e, ARM64_SADDLP_4S, u, u);
    emit3(e, ARM64_ADDP_4S, t, t, u);
    emit3(e, ARM64_ADD_4S, to, to, t);
}

static void encode_dot_ints(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), a = reg(e, op->arg[0]), b = reg(e, op->arg[1]);
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1);
    bool i8mm = e->target->features & FEATURE(I8MM), dots = e->target->features & FEATURE(DOTPROD);
    arm64_neon_move(e, to, reg(e, op->arg[2]));
    if (op->code == VECTOR_DOT2_SS) {
        emit3(e, ARM64_SMULL_4S, t, a, b);
        emit3(e, ARM64_SMULL2_4S, u, a, b);
        emit3(e, ARM64_ADDP_4S, t, t, u);
        emit3(e, ARM64_ADD_4S, to, to, t);
    } else if (op->code == VECTOR_DOT4_UU)
        emit3(e, ARM64_UDOT_4S, to, a, b);
    else if (op->code == VECTOR_DOT4_US && i8mm)
        emit3(e, ARM64_USDOT_4S, to, a, b);
    else if (op->code == VECTOR_DOT4_US) { /* a = (a - 128) + 64 + 64 */
        arm64_emit(e->code, MOVI_16B, t, 0x80);
        emit3(e, ARM64_EOR_16B, t, t, a);
        emit3(e, ARM64_SDOT_4S, to, t, b);
        arm64_emit(e->code, MOVI_16B, t, 0x40);
        emit3(e, ARM64_SDOT_4S, to, t, b);
        emit3(e, ARM64_SDOT_4S, to, t, b);
    } else if (dots)
        emit3(e, ARM64_SDOT_4S, to, a, b);
    else
        dot_by_products(e, to, a, b, t, u);
}

/* Sums of f32 are of bf16, sums of s32 of bytes. */
static void encode_pairs(Arm64Encoder *e, const VectorOp *op) {
    bool bf16 = op->type == DT_F32;
    if (!(e->target->features & (bf16 ? FEATURE(BF16) : FEATURE(I8MM)))) {
        arm64_refuse(e, vector_info[op->code].name);
        return;
    }
    arm64_neon_move(e, result(e, op), reg(e, op->arg[2]));
    Arm64Form form = op->code == VECTOR_DOT2      ? ARM64_BFDOT_4S
                     : bf16                       ? ARM64_BFMMLA_4S
                     : op->code == VECTOR_MMLA_US ? ARM64_USMMLA_4S
                                                  : ARM64_SMMLA_4S;
    emit3(e, form, result(e, op), reg(e, op->arg[0]), reg(e, op->arg[1]));
}

void arm64_neon_op(Arm64Encoder *e, const VectorOp *op, int at) {
    switch (op->code) {
    case VECTOR_CONST: encode_const(e, op); break;
    case VECTOR_LOAD:
    case VECTOR_LOAD_BLOCK: encode_load(e, op); break;
    case VECTOR_SPLAT: encode_splat(e, op); break;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: encode_store(e, op, at); break;
    case VECTOR_FMA:
    case VECTOR_FNMA:
    case VECTOR_FMA_LANE:
    case VECTOR_DOT4_SS_LANE:
    case VECTOR_DOT4_UU_LANE: encode_accumulate(e, op); break;
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR: pick(e, op->code, op->type, result(e, op), reg(e, op->arg[0]), reg(e, op->arg[1])); break;
    case VECTOR_SHL:
    case VECTOR_SHR:
    case VECTOR_SAR: encode_shift(e, op); break;
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND: encode_convert(e, op, at); break;
    case VECTOR_BITS: arm64_neon_move(e, result(e, op), reg(e, op->arg[0])); break;
    case VECTOR_UNORDERED: encode_unordered(e, op, at); break;
    case VECTOR_MASK_FIRST: encode_mask_first(e, op); break;
    case VECTOR_MASK_BELOW: encode_mask_below(e, op, at); break;
    case VECTOR_SELECT: encode_select(e, op); break;
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: encode_reduce(e, op, at); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS:
    case VECTOR_DOT4_UU:
    case VECTOR_DOT2_SS: encode_dot_ints(e, op, at); break;
    case VECTOR_GATHER: encode_gather(e, op); break;
    case VECTOR_IOTA: encode_iota(e, op); break;
    case VECTOR_SHL_BY:
    case VECTOR_SHR_BY:
    case VECTOR_SAR_BY: encode_shift_by(e, op, at); break;
    case VECTOR_MUL_LOWER: encode_mul_lower(e, op, at); break;
    case VECTOR_ROUND_TO: encode_round_to(e, op); break;
    case VECTOR_BLOCK_EVEN: arm64_neon_move(e, result(e, op), reg(e, op->arg[0])); break; /* one block a register */
    case VECTOR_BLOCK_ODD: arm64_neon_move(e, result(e, op), reg(e, op->arg[1])); break;
    case VECTOR_PERMUTE: encode_permute(e, op, at); break;
    case VECTOR_DOT2:
    case VECTOR_MMLA:
    case VECTOR_MMLA_US: encode_pairs(e, op); break;
    default:
        if (row_of(op->code, op->type))
            encode_row(e, op);
        else
            arm64_refuse(e, vector_info[op->code].name);
    }
}
