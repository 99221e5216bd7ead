/* SVE: registers of a length that the CPU has, known when code is made; masks are predicates. p0 is all lanes, p7 the encoder's
 * own, p1 to p6 are the allocator's. Whatever overwrites its first operand gets it moved there first; the allocator saw to it
 * that this is rare. */
#include "target/arm64/arm64.h"

#include <string.h>

enum { ALL = 0, OWN = 7 };

static void emit4(Arm64Encoder *e, Arm64Form form, int a, int b, int c, int64_t d) {
    arm64_put(e->code, form, (const int64_t[ARM64_MAX_OPERANDS]){a, b, c, d});
}

static void emit3(Arm64Encoder *e, Arm64Form form, int a, int b, int64_t c) {
    emit4(e, form, a, b, (int)c, 0);
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

void arm64_sve_move(Arm64Encoder *e, int to, int from) {
    if (to != from)
        emit3(e, ARM64_SVE_ORR, to, from, from);
}

void arm64_sve_move_mask(Arm64Encoder *e, int to, int from) {
    if (to != from)
        emit4(e, ARM64_SVE_PORR, to, ALL, from, from);
}

void arm64_sve_begin(Arm64Encoder *e) {
    arm64_emit(e->code, PTRUE_B, ALL);
}

/* How a form takes its operands. */
typedef enum Shape {
    THREE,       /* to, a, b */
    OVERWRITES,  /* to, p0, to, b: a is in `to`; operands may change places */
    DIVIDES,     /* the same; they may not, but there is a form the other way round */
    ACCUMULATES, /* to, p0, a, b: c is in `to` */
    UNARY,       /* to, p0, a */
    COMPARES,    /* predicate, p0, a, b */
    MASKS,       /* predicates: to, p0, a, b */
} Shape;

typedef struct Row {
    VectorCode code;
    Shape shape;
    Arm64Form f32, f64, i8, i16, i32, i64; /* integers by their size */
    bool swapped;                          /* operands change places */
    bool is_unsigned;                      /* for u8, u16 and u32 alone */
} Row;

#define FLOATS(form)  ARM64_SVE_F##form##_S, ARM64_SVE_F##form##_D
#define INTS(form)    ARM64_SVE_##form##_B, ARM64_SVE_##form##_H, ARM64_SVE_##form##_S, ARM64_SVE_##form##_D
#define NO_FLOATS     0, 0
#define NO_INTS       0, 0, 0, 0
#define ANY(form)     ARM64_SVE_##form, ARM64_SVE_##form, ARM64_SVE_##form, ARM64_SVE_##form, ARM64_SVE_##form, ARM64_SVE_##form
#define BY_SIZE(form) ARM64_SVE_##form##_S, ARM64_SVE_##form##_D, INTS(form)
// clang-format off
static const Row rows[] = {
    {VECTOR_ADD, THREE, FLOATS(ADD), INTS(ADD), false, false},
    {VECTOR_SUB, THREE, FLOATS(SUB), INTS(SUB), false, false},
    {VECTOR_MUL, THREE, FLOATS(MUL), NO_INTS, false, false},
    {VECTOR_MUL, OVERWRITES, NO_FLOATS, INTS(MUL), false, false},
    {VECTOR_MUL_LONG, OVERWRITES, NO_FLOATS, INTS(MUL), false, false},
    {VECTOR_DIV, DIVIDES, FLOATS(DIV), NO_INTS, false, false},
    {VECTOR_MIN, OVERWRITES, NO_FLOATS, INTS(UMIN), false, true},
    {VECTOR_MAX, OVERWRITES, NO_FLOATS, INTS(UMAX), false, true},
    {VECTOR_MIN, OVERWRITES, FLOATS(MIN), INTS(SMIN), false, false},
    {VECTOR_MAX, OVERWRITES, FLOATS(MAX), INTS(SMAX), false, false},
    {VECTOR_FMA, ACCUMULATES, FLOATS(MLA), NO_INTS, false, false},
    {VECTOR_FNMA, ACCUMULATES, FLOATS(MLS), NO_INTS, false, false},
    {VECTOR_AND, THREE, ANY(AND), false, false},
    {VECTOR_OR, THREE, ANY(ORR), false, false},
    {VECTOR_XOR, THREE, ANY(EOR), false, false},
    {VECTOR_AND_NOT, THREE, ANY(BIC), true, false},
    {VECTOR_EQ, COMPARES, FLOATS(CMEQ), INTS(CMPEQ), false, false},
    {VECTOR_NE, COMPARES, FLOATS(CMNE), INTS(CMPNE), false, false},
    {VECTOR_LT, COMPARES, NO_FLOATS, ARM64_SVE_CMPHI_B, ARM64_SVE_CMPHI_H, 0, 0, true, true},
    {VECTOR_LE, COMPARES, NO_FLOATS, ARM64_SVE_CMPHS_B, ARM64_SVE_CMPHS_H, 0, 0, true, true},
    {VECTOR_LT, COMPARES, FLOATS(CMGT), INTS(CMPGT), true, false},
    {VECTOR_LE, COMPARES, FLOATS(CMGE), INTS(CMPGE), true, false},
    {VECTOR_UNORDERED, COMPARES, FLOATS(CMUO), NO_INTS, false, false},
    {VECTOR_MASK_AND, MASKS, ANY(PAND), false, false},
    {VECTOR_MASK_OR, MASKS, ANY(PORR), false, false},
    {VECTOR_MASK_XOR, MASKS, ANY(PEOR), false, false},
    {VECTOR_EVEN, THREE, BY_SIZE(UZP1), false, false},
    {VECTOR_ODD, THREE, BY_SIZE(UZP2), false, false},
    {VECTOR_SHL_BY, DIVIDES, NO_FLOATS, 0, 0, ARM64_SVE_LSL_S_BY, ARM64_SVE_LSL_D_BY, false, false},
    {VECTOR_SHR_BY, DIVIDES, NO_FLOATS, 0, 0, ARM64_SVE_LSR_S_BY, ARM64_SVE_LSR_D_BY, false, false},
    {VECTOR_SAR_BY, DIVIDES, NO_FLOATS, 0, 0, ARM64_SVE_ASR_S_BY, 0, false, false},
    {VECTOR_SQRT, UNARY, FLOATS(SQRT), NO_INTS, false, false},
    {VECTOR_FLOOR, UNARY, FLOATS(RINTM), NO_INTS, false, false},
    {VECTOR_CEIL, UNARY, FLOATS(RINTP), NO_INTS, false, false},
    {VECTOR_TRUNC, UNARY, FLOATS(RINTZ), NO_INTS, false, false},
    {VECTOR_ROUND, UNARY, FLOATS(RINTN), NO_INTS, false, false},
};
// clang-format on

static Arm64Form form_of_row(const Row *row, DType type) {
    int size = bytes_of(type);
    if (row->is_unsigned && dtype_kind(type) != KIND_UNSIGNED)
        return 0;
    return type == DT_F32   ? row->f32
           : type == DT_F64 ? row->f64
           : size == 1      ? row->i8
           : size == 2      ? row->i16
           : size == 4      ? row->i32
                            : row->i64;
}

static const Row *row_of(VectorCode code, DType type) {
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].code == code && form_of_row(&rows[i], type))
            return &rows[i];
    return NULL;
}

/* Of a form that does it the other way round: b op a. */
static Arm64Form reversed_form(Arm64Form form) {
    static const Arm64Form pairs[][2] = {{ARM64_SVE_FDIV_S, ARM64_SVE_FDIVR_S},     {ARM64_SVE_FDIV_D, ARM64_SVE_FDIVR_D},
                                         {ARM64_SVE_LSL_S_BY, ARM64_SVE_LSLR_S_BY}, {ARM64_SVE_LSR_S_BY, ARM64_SVE_LSRR_S_BY},
                                         {ARM64_SVE_ASR_S_BY, ARM64_SVE_ASRR_S_BY}, {ARM64_SVE_LSL_D_BY, ARM64_SVE_LSLR_D_BY},
                                         {ARM64_SVE_LSR_D_BY, ARM64_SVE_LSRR_D_BY}};
    for (size_t i = 0; i < COUNT(pairs); i++)
        if (pairs[i][0] == form)
            return pairs[i][1];
    return form; /* it commutes */
}

/* `form` overwrites a with what it makes of a and b. */
static void overwrite(Arm64Encoder *e, Arm64Form form, Arm64Form reversed, int to, int a, int b) {
    if (to == b && a != b) {
        emit3(e, reversed, to, ALL, a);
        return;
    }
    arm64_sve_move(e, to, a);
    emit3(e, form, to, ALL, b);
}

static void encode_row(Arm64Encoder *e, const VectorOp *op, const Row *row) {
    Arm64Form form = form_of_row(row, op->type);
    bool masks = row->shape == MASKS, predicate = vector_info[op->code].result == 'M';
    int to = predicate ? arm64_mask_of(e, op->result) : result(e, op);
    int a = masks ? arm64_mask_of(e, op->arg[0]) : reg(e, op->arg[0]);
    int b = vector_arg_count(op->code) < 2 ? 0 : masks ? arm64_mask_of(e, op->arg[1]) : reg(e, op->arg[1]);
    if (row->swapped) {
        int swap = a;
        a = b;
        b = swap;
    }
    switch (row->shape) {
    case THREE: emit3(e, form, to, a, b); break;
    case OVERWRITES:
    case DIVIDES: overwrite(e, form, reversed_form(form), to, a, b); break;
    case ACCUMULATES:
        arm64_sve_move(e, to, reg(e, op->arg[2]));
        emit4(e, form, to, ALL, a, b);
        break;
    case UNARY: emit3(e, form, to, ALL, a); break;
    case COMPARES:
    case MASKS: emit4(e, form, to, ALL, a, b); break;
    }
}

static void pick(Arm64Encoder *e, VectorCode code, DType type, int to, int a, int b) {
    bool least = code == VECTOR_MIN_OR || code == VECTOR_REDUCE_MIN, is64 = bytes_of(type) == 8;
    Arm64Form greater = is64 ? ARM64_SVE_FCMGT_D : ARM64_SVE_FCMGT_S;
    emit4(e, greater, OWN, ALL, least ? b : a, least ? a : b);
    emit4(e, is64 ? ARM64_SVE_SEL_D : ARM64_SVE_SEL_S, to, OWN, a, b);
}

static void encode_select(Arm64Encoder *e, const VectorOp *op) {
    static const Arm64Form forms[] = {ARM64_SVE_SEL_B, ARM64_SVE_SEL_H, ARM64_SVE_SEL_S, ARM64_SVE_SEL_D};
    emit4(e, forms[whole_log2(bytes_of(op->type))], result(e, op), arm64_mask_of(e, op->arg[0]), reg(e, op->arg[1]),
          reg(e, op->arg[2]));
}

/* By a register of numbers: the forms with the number in them split it. */
static void shift_long(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0);
    Arm64Form form = op->code == VECTOR_SHL ? ARM64_SVE_LSL_D_BY : ARM64_SVE_LSR_D_BY;
    arm64_emit(e->code, SVE_DUP_D, t, (int64_t)op->number);
    overwrite(e, form, reversed_form(form), result(e, op), reg(e, op->arg[0]), t);
}

static void encode_mul_lower(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1);
    emit3(e, ARM64_SVE_UXTW_D, t, ALL, reg(e, op->arg[0]));
    emit3(e, ARM64_SVE_UXTW_D, u, ALL, reg(e, op->arg[1]));
    emit3(e, ARM64_SVE_MUL_D, t, ALL, u);
    arm64_sve_move(e, result(e, op), t);
}

static void encode_shift(Arm64Encoder *e, const VectorOp *op, int at) {
    static const Arm64Form shifts[2][3] = {{ARM64_SVE_LSL_H, ARM64_SVE_LSR_H, ARM64_SVE_ASR_H},
                                           {ARM64_SVE_LSL_S, ARM64_SVE_LSR_S, ARM64_SVE_ASR_S}};
    int by = (int)op->number;
    if (by && op->type == DT_S64)
        shift_long(e, op, at);
    else if (by)
        emit3(e, shifts[bytes_of(op->type) == 4][op->code - VECTOR_SHL], result(e, op), reg(e, op->arg[0]), by);
    else
        arm64_sve_move(e, result(e, op), reg(e, op->arg[0]));
}

static void splat_word(Arm64Encoder *e, int to, uint32_t word) {
    arm64_move_number(e, ARM64_TEMPORARY, (int64_t)word);
    arm64_emit(e->code, SVE_DUP_S_GENERAL, to, ARM64_TEMPORARY);
}

/* Arm's conversions saturate and give 0 for NaN: what is not below 2^31 becomes INT32_MIN, which the others give themselves. */
static void encode_convert(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), from = reg(e, op->arg[0]);
    if (op->type == DT_F64 || op->from == DT_F64) {
        emit3(e, op->type == DT_F64 ? ARM64_SVE_FCVT_D_S : ARM64_SVE_FCVT_S_D, to, ALL, from);
        return;
    }
    if (op->type == DT_F32) {
        emit3(e, ARM64_SVE_SCVTF_S, to, ALL, from);
        return;
    }
    int t = arm64_scratch(e, at, 0);
    splat_word(e, t, 0x4f000000); /* 2^31 as a float */
    emit4(e, ARM64_SVE_FCMGT_S, OWN, ALL, t, from);
    if (op->code == VECTOR_CVT_ROUND)
        emit3(e, ARM64_SVE_FRINTN_S, to, ALL, from);
    emit3(e, ARM64_SVE_FCVTZS_S, to, ALL, op->code == VECTOR_CVT_ROUND ? to : from);
    splat_word(e, t, 0x80000000);
    emit4(e, ARM64_SVE_SEL_S, to, OWN, to, t);
}

static void encode_scale(Arm64Encoder *e, const VectorOp *op, int at) {
    bool is64 = bytes_of(op->type) == 8;
    int to = result(e, op), t = arm64_scratch(e, at, 0);
    emit3(e, is64 ? ARM64_SVE_FRINTM_D : ARM64_SVE_FRINTM_S, t, ALL, reg(e, op->arg[1]));
    emit3(e, is64 ? ARM64_SVE_FCVTZS_D : ARM64_SVE_FCVTZS_S, t, ALL, t);
    arm64_sve_move(e, to, reg(e, op->arg[0]));
    emit3(e, is64 ? ARM64_SVE_FSCALE_D : ARM64_SVE_FSCALE_S, to, ALL, t);
}

static void encode_const(Arm64Encoder *e, const VectorOp *op) {
    unsigned char data[8];
    uint32_t word;
    int to = result(e, op);
    arm64_element_bits(op->type, op->number, data);
    memcpy(&word, data, 4);
    if (bytes_of(op->type) == 1)
        arm64_emit(e->code, SVE_DUP_B, to, (int8_t)data[0]);
    else if (bytes_of(op->type) == 8) {
        int64_t both;
        memcpy(&both, data, 8);
        arm64_move_number(e, ARM64_TEMPORARY, both);
        arm64_emit(e->code, SVE_DUP_D_GENERAL, to, ARM64_TEMPORARY);
    } else if ((int32_t)word >= -128 && (int32_t)word < 128)
        arm64_emit(e->code, SVE_DUP_S, to, (int32_t)word);
    else if (!(word & 0x7ffff) && ((word >> 25 & 0x3f) == 0x20 || (word >> 25 & 0x3f) == 0x1f))
        arm64_emit(e->code, SVE_FDUP_S, to, (int64_t)(word >> 24 & 0x80) | (int64_t)(word >> 19 & 0x7f));
    else
        splat_word(e, to, word);
}

/* ---- memory ---- */

/* Forms between memory and lanes of so many bytes; loads extend as the memory's type says. */
static const struct {
    int lane;
    DType memory;
    Arm64Form load, splat, store;
} memory[] = {
    {8, DT_F64, ARM64_SVE_LD1D_D, ARM64_SVE_LD1RD_D, ARM64_SVE_ST1D_D},
    {8, DT_S64, ARM64_SVE_LD1D_D, ARM64_SVE_LD1RD_D, ARM64_SVE_ST1D_D},
    {8, DT_F32, ARM64_SVE_LD1W_D, ARM64_SVE_LD1RW_D, ARM64_SVE_ST1W_D},
    {8, DT_S32, ARM64_SVE_LD1SW_D, ARM64_SVE_LD1RSW_D, ARM64_SVE_ST1W_D},
    {8, DT_U32, ARM64_SVE_LD1W_D, ARM64_SVE_LD1RW_D, ARM64_SVE_ST1W_D},
    {8, DT_S16, ARM64_SVE_LD1SH_D, ARM64_SVE_LD1RSH_D, ARM64_SVE_ST1H_D},
    {8, DT_U16, ARM64_SVE_LD1H_D, ARM64_SVE_LD1RH_D, ARM64_SVE_ST1H_D},
    {8, DT_S8, ARM64_SVE_LD1SB_D, ARM64_SVE_LD1RSB_D, ARM64_SVE_ST1B_D},
    {8, DT_U8, ARM64_SVE_LD1B_D, ARM64_SVE_LD1RB_D, ARM64_SVE_ST1B_D},
    {8, DT_BOOL, ARM64_SVE_LD1B_D, ARM64_SVE_LD1RB_D, ARM64_SVE_ST1B_D},
    {4, DT_F32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {4, DT_S32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {4, DT_U32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {4, DT_F16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {4, DT_BF16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {4, DT_U16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {4, DT_S16, ARM64_SVE_LD1SH_S, ARM64_SVE_LD1RSH_S, ARM64_SVE_ST1H_S},
    {4, DT_U8, ARM64_SVE_LD1B_S, ARM64_SVE_LD1RB_S, ARM64_SVE_ST1B_S},
    {4, DT_BOOL, ARM64_SVE_LD1B_S, ARM64_SVE_LD1RB_S, ARM64_SVE_ST1B_S},
    {4, DT_S8, ARM64_SVE_LD1SB_S, ARM64_SVE_LD1RSB_S, ARM64_SVE_ST1B_S},
    {2, DT_S8, ARM64_SVE_LD1SB_H, 0, ARM64_SVE_ST1B_H},
    {2, DT_U8, ARM64_SVE_LD1B_H, 0, ARM64_SVE_ST1B_H},
    {2, DT_BOOL, ARM64_SVE_LD1B_H, 0, ARM64_SVE_ST1B_H},
    {2, DT_S16, ARM64_SVE_LD1H_H, ARM64_SVE_LD1RH_H, ARM64_SVE_ST1H_H},
    {2, DT_U16, ARM64_SVE_LD1H_H, ARM64_SVE_LD1RH_H, ARM64_SVE_ST1H_H},
    {2, DT_BF16, ARM64_SVE_LD1H_H, ARM64_SVE_LD1RH_H, ARM64_SVE_ST1H_H},
    {2, DT_F16, ARM64_SVE_LD1H_H, ARM64_SVE_LD1RH_H, ARM64_SVE_ST1H_H},
    {1, DT_S8, ARM64_SVE_LD1B_B, ARM64_SVE_LD1RB_B, ARM64_SVE_ST1B_B},
    {1, DT_U8, ARM64_SVE_LD1B_B, ARM64_SVE_LD1RB_B, ARM64_SVE_ST1B_B},
    {1, DT_BOOL, ARM64_SVE_LD1B_B, ARM64_SVE_LD1RB_B, ARM64_SVE_ST1B_B},
};

static int memory_row(Arm64Encoder *e, const VectorOp *op) {
    for (size_t i = 0; i < COUNT(memory); i++)
        if (memory[i].memory == op->from && memory[i].lane == bytes_of(op->type))
            return (int)i;
    arm64_refuse(e, op->code == VECTOR_STORE ? "store of this memory type" : "load of this memory type");
    return -1;
}

/* A whole register, or `mask` of it, at any address. */
static void move_memory(Arm64Encoder *e, const VectorOp *op, int row, int vector, bool store) {
    int lanes = e->f->bytes / bytes_of(op->type);
    int64_t bytes = (int64_t)lanes * bytes_of(op->from), offset;
    if (op->type == op->from && op->mask < 0 && op->code != VECTOR_STORE_FIRST) {
        int base = arm64_address(e, &op->address, -256 * bytes, 255 * bytes, bytes, &offset);
        emit3(e, store ? ARM64_SVE_STR : ARM64_SVE_LDR, vector, base, offset / bytes);
        return;
    }
    int base = arm64_address(e, &op->address, -8 * bytes, 7 * bytes, bytes, &offset);
    emit4(e, store ? memory[row].store : memory[row].load, vector, op->mask >= 0 ? arm64_mask_of(e, op->mask) : ALL, base,
          offset / bytes);
}

/* What loads bring lies in the low part of each lane. */
static void widen(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op);
    bool to_float = dtype_kind(op->type) == KIND_FLOAT, from_float = dtype_kind(op->from) == KIND_FLOAT;
    if (op->type == op->from)
        return;
    if (op->type == DT_F32 && op->from == DT_F16)
        emit3(e, ARM64_SVE_FCVT_S_H, to, ALL, to);
    else if (op->type == DT_F32 && op->from == DT_BF16)
        emit3(e, ARM64_SVE_LSL_S, to, to, 16);
    else if (op->type == DT_F64 && op->from == DT_F32)
        emit3(e, ARM64_SVE_FCVT_D_S, to, ALL, to);
    else if (from_float != to_float && from_float)
        arm64_refuse(e, "load of this memory type");
    else if (to_float && !from_float)
        emit3(e, op->type == DT_F64 ? ARM64_SVE_SCVTF_D : ARM64_SVE_SCVTF_S, to, ALL, to);
}

static void encode_load(Arm64Encoder *e, const VectorOp *op) {
    int row = memory_row(e, op);
    if (row < 0)
        return;
    move_memory(e, op, row, result(e, op), false);
    widen(e, op);
}

static void encode_load_block(Arm64Encoder *e, const VectorOp *op) {
    int64_t offset;
    int base = arm64_address(e, &op->address, -128, 112, 16, &offset);
    emit4(e, ARM64_SVE_LD1RQW, result(e, op), ALL, base, offset);
}

/* Lane i from base + scale * index i: forms that multiply by 4, or by what a scratch register multiplies by before. */
static void encode_gather(Arm64Encoder *e, const VectorOp *op, int at) {
    static const struct {
        DType memory;
        Arm64Form form;
    } forms[] = {{DT_F32, ARM64_SVE_LD1W_GATHER},  {DT_S32, ARM64_SVE_LD1W_GATHER},  {DT_U32, ARM64_SVE_LD1W_GATHER},
                 {DT_F16, ARM64_SVE_LD1H_GATHER},  {DT_BF16, ARM64_SVE_LD1H_GATHER}, {DT_U16, ARM64_SVE_LD1H_GATHER},
                 {DT_S16, ARM64_SVE_LD1SH_GATHER}, {DT_U8, ARM64_SVE_LD1B_GATHER},   {DT_BOOL, ARM64_SVE_LD1B_GATHER},
                 {DT_S8, ARM64_SVE_LD1SB_GATHER}};
    Arm64Form form = 0;
    for (size_t i = 0; i < COUNT(forms); i++)
        if (forms[i].memory == op->from && bytes_of(op->type) == 4)
            form = forms[i].form;
    if (!form) {
        arm64_refuse(e, "gather of this type");
        return;
    }
    int index = reg(e, op->arg[0]), t = arm64_scratch(e, at, 0), scale = (int)op->number;
    int64_t offset;
    if (scale == 4 && form == ARM64_SVE_LD1W_GATHER)
        form = ARM64_SVE_LD1W_GATHER4;
    else if (scale != 1) {
        splat_word(e, t, (uint32_t)scale);
        emit3(e, ARM64_SVE_MUL_S, t, ALL, index);
        index = t;
    }
    int base = arm64_address(e, &op->address, 0, 0, 1, &offset);
    emit4(e, form, result(e, op), op->mask >= 0 ? arm64_mask_of(e, op->mask) : ALL, base, index);
    widen(e, op);
}

static void encode_splat(Arm64Encoder *e, const VectorOp *op) {
    int row = memory_row(e, op), unit = bytes_of(op->from);
    int64_t offset;
    if (row < 0)
        return;
    int base = arm64_address(e, &op->address, 0, 63 * unit, unit, &offset);
    if (!memory[row].splat) {
        arm64_refuse(e, "splat of this memory type");
        return;
    }
    emit4(e, memory[row].splat, result(e, op), ALL, base, offset);
    widen(e, op);
}

/* The value in the low part of each lane of `t`; stores of smaller elements take that part. */
static void narrow(Arm64Encoder *e, const VectorOp *op, int at, int from, int t) {
    int low = op->from == DT_S16 ? INT16_MIN : op->from == DT_S8 ? INT8_MIN : 0;
    int high = op->from == DT_S16 ? INT16_MAX : op->from == DT_S8 ? INT8_MAX : op->from == DT_U16 ? UINT16_MAX : UINT8_MAX;
    int u = arm64_scratch(e, at, 1);
    if (op->from == DT_F16)
        emit3(e, ARM64_SVE_FCVT_H_S, t, ALL, from);
    else if (op->from == DT_BF16)
        emit3(e, ARM64_SVE_BFCVT, t, ALL, from);
    else if (op->type == DT_F64 && op->from == DT_F32)
        emit3(e, ARM64_SVE_FCVT_S_D, t, ALL, from);
    else if (op->type != DT_S32 || dtype_kind(op->from) == KIND_FLOAT)
        arm64_refuse(e, "store of this memory type");
    else {
        arm64_sve_move(e, t, from);
        splat_word(e, u, (uint32_t)low);
        emit3(e, ARM64_SVE_SMAX_S, t, ALL, u);
        splat_word(e, u, (uint32_t)high);
        emit3(e, ARM64_SVE_SMIN_S, t, ALL, u);
    }
}

static void store_first(Arm64Encoder *e, const VectorOp *op, int vector) {
    static const Arm64Form aligned[] = {ARM64_STR_B, ARM64_STR_H, ARM64_STR_S, ARM64_STR_D};
    int size = bytes_of(op->from), log = whole_log2(size);
    int64_t offset;
    int base = arm64_address(e, &op->address, 0, 4095 * (int64_t)size, size, &offset);
    emit3(e, aligned[log], vector, base, offset); /* the low end of z3 is s3 */
}

static void encode_store(Arm64Encoder *e, const VectorOp *op, int at) {
    int value = reg(e, op->arg[0]), row = memory_row(e, op);
    if (row < 0)
        return;
    if (op->type != DT_S64 && bytes_of(op->from) < bytes_of(op->type)) {
        int t = arm64_scratch(e, at, 0);
        narrow(e, op, at, value, t);
        value = t;
    }
    if (op->code == VECTOR_STORE_FIRST)
        store_first(e, op, value);
    else
        move_memory(e, op, row, value, true);
}

/* ---- masks and reductions ---- */

static void below(Arm64Encoder *e, const VectorOp *op, int index) {
    static const Arm64Form forms[] = {ARM64_SVE_WHILELT_B, ARM64_SVE_WHILELT_H, ARM64_SVE_WHILELT_S, ARM64_SVE_WHILELT_D};
    emit3(e, forms[whole_log2(bytes_of(op->type))], arm64_mask_of(e, op->result), ARM64_ZERO, index);
}

static void encode_mask_first(Arm64Encoder *e, const VectorOp *op) {
    arm64_move_number(e, ARM64_TEMPORARY, (int64_t)op->number);
    below(e, op, ARM64_TEMPORARY);
}

/* Sums of halves repeat, so a rotation finds every lane's partner; what is not symmetric in NaN and zeros looks them up. */
static void encode_reduce(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), from = reg(e, op->arg[0]), t = arm64_scratch(e, at, 0), size = bytes_of(op->type);
    bool sum = op->code == VECTOR_REDUCE_ADD, least = op->code == VECTOR_REDUCE_MIN;
    if (size < 4) {
        arm64_refuse(e, "a reduction of narrow lanes");
        return;
    }
    for (int half = e->f->bytes / size / 2; half; half /= 2) {
        if (sum || op->type == DT_S32) {
            arm64_sve_move(e, t, from);
            emit3(e, ARM64_SVE_EXT, t, t, half * size);
            if (sum)
                emit3(e, size == 8 ? ARM64_SVE_FADD_D : op->type == DT_S32 ? ARM64_SVE_ADD_S : ARM64_SVE_FADD_S, to, from, t);
            else
                overwrite(e, least ? ARM64_SVE_SMIN_S : ARM64_SVE_SMAX_S, ARM64_SVE_SMIN_S, to, from, t);
        } else if (size != 4) {
            arm64_refuse(e, "the least or greatest of lanes that are not 32 bits");
        } else {
            int lane = arm64_scratch(e, at, 1);
            arm64_emit(e->code, SVE_INDEX_S, lane, 0, 1);
            arm64_emit(e->code, SVE_DUP_S, t, half);
            emit3(e, ARM64_SVE_EOR, lane, lane, t);
            emit3(e, ARM64_SVE_TBL_S, t, from, lane);
            pick(e, op->code, op->type, to, from, t);
        }
        from = to;
    }
}

/* ---- lanes that move ---- */

static void encode_iota(Arm64Encoder *e, const VectorOp *op) {
    arm64_move_number(e, ARM64_TEMPORARY, (int64_t)op->number);
    arm64_emit(e->code, SVE_INDEX_S_BY, result(e, op), 0, ARM64_TEMPORARY);
}

static void encode_permute(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0);
    if (bytes_of(op->type) != 4) {
        arm64_refuse(e, "permute of this type");
        return;
    }
    arm64_emit(e->code, SVE_DUP_S, t, e->f->bytes / 4 - 1);
    emit3(e, ARM64_SVE_AND, t, t, reg(e, op->arg[1]));
    emit3(e, ARM64_SVE_TBL_S, result(e, op), reg(e, op->arg[0]), t);
}

/* zip1 and zip2 take whole registers; within 128 bits trn does it, in steps: neighbours of one lane, then of two, up to 64 bits.
 */
static void encode_zip(Arm64Encoder *e, const VectorOp *op, int at) {
    static const Arm64Form forms[][2] = {{ARM64_SVE_TRN1_B, ARM64_SVE_TRN2_B},
                                         {ARM64_SVE_TRN1_H, ARM64_SVE_TRN2_H},
                                         {ARM64_SVE_TRN1_S, ARM64_SVE_TRN2_S},
                                         {ARM64_SVE_TRN1_D, ARM64_SVE_TRN2_D}};
    int a = reg(e, op->arg[0]), b = reg(e, op->arg[1]), step = whole_log2(bytes_of(op->type));
    int to = result(e, op), second = arm64_scratch(e, at, 0);
    for (int first = to; step < 3; step++) {
        emit3(e, forms[step][0], first, a, b);
        emit3(e, forms[step][1], second, a, b);
        a = first;
        b = second;
        first = first == to ? arm64_scratch(e, at, 1) : to;
    }
    emit3(e, forms[3][op->code == VECTOR_ZIP_HIGH], to, a, b);
}

/* Whole 128 bits, of which SVE knows little: those wanted are moved together in each operand, then joined. */
static void encode_blocks(Arm64Encoder *e, const VectorOp *op, int at) {
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1), to = result(e, op);
    if (e->f->bytes == 16) {
        arm64_sve_move(e, to, reg(e, op->arg[op->code == VECTOR_BLOCK_ODD]));
        return;
    }
    arm64_emit(e->code, SVE_INDEX_D, t, 0, 1);
    arm64_emit(e->code, SVE_DUP_D, u, 2);
    emit3(e, ARM64_SVE_AND, t, t, u);
    emit3(e, op->code == VECTOR_BLOCK_ODD ? ARM64_SVE_CMPNE_D_0 : ARM64_SVE_CMPEQ_D_0, OWN, ALL, t);
    emit3(e, ARM64_SVE_COMPACT_D, t, OWN, reg(e, op->arg[0]));
    emit3(e, ARM64_SVE_COMPACT_D, u, OWN, reg(e, op->arg[1]));
    arm64_move_number(e, ARM64_TEMPORARY, e->f->bytes / 2);
    emit3(e, ARM64_SVE_WHILELT_B, OWN, ARM64_ZERO, ARM64_TEMPORARY);
    emit3(e, ARM64_SVE_SPLICE_B, t, OWN, u);
    arm64_sve_move(e, to, t);
}

static void encode_round_to(Arm64Encoder *e, const VectorOp *op) {
    if (op->from != DT_F16) {
        arm64_refuse(e, "round_to of this type");
        return;
    }
    emit3(e, ARM64_SVE_FCVT_H_S, result(e, op), ALL, reg(e, op->arg[0]));
    emit3(e, ARM64_SVE_FCVT_S_H, result(e, op), ALL, result(e, op));
}

/* ---- dot products ---- */

/* The low halves of 32-bit lanes, then the high ones. */
static void dot_halves(Arm64Encoder *e, int to, int a, int b, int t, int u) {
    emit3(e, ARM64_SVE_LSL_S, t, a, 16);
    emit3(e, ARM64_SVE_ASR_S, t, t, 16);
    emit3(e, ARM64_SVE_LSL_S, u, b, 16);
    emit3(e, ARM64_SVE_ASR_S, u, u, 16);
    emit4(e, ARM64_SVE_MLA_S, to, ALL, t, u);
    emit3(e, ARM64_SVE_ASR_S, t, a, 16);
    emit3(e, ARM64_SVE_ASR_S, u, b, 16);
    emit4(e, ARM64_SVE_MLA_S, to, ALL, t, u);
}

static void encode_dot(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), a = reg(e, op->arg[0]), b = reg(e, op->arg[1]);
    bool i8mm = e->target->features & FEATURE(I8MM), bf16 = e->target->features & FEATURE(BF16);
    bool floats = op->type == DT_F32; /* sums of f32 are of bf16 */
    Arm64Form form = op->code == VECTOR_DOT4_SS                   ? ARM64_SVE_SDOT_S
                     : op->code == VECTOR_DOT4_UU                 ? ARM64_SVE_UDOT_S
                     : op->code == VECTOR_DOT4_US && i8mm         ? ARM64_SVE_USDOT_S
                     : op->code == VECTOR_DOT2 && bf16            ? ARM64_SVE_BFDOT_S
                     : op->code == VECTOR_MMLA && floats && bf16  ? ARM64_SVE_BFMMLA_S
                     : op->code == VECTOR_MMLA && !floats && i8mm ? ARM64_SVE_SMMLA_S
                     : op->code == VECTOR_MMLA_US && i8mm         ? ARM64_SVE_USMMLA_S
                                                                  : 0;
    arm64_sve_move(e, to, reg(e, op->arg[2]));
    if (form) {
        emit3(e, form, to, a, b);
        return;
    }
    if (op->code == VECTOR_DOT2_SS) {
        dot_halves(e, to, a, b, arm64_scratch(e, at, 0), arm64_scratch(e, at, 1));
        return;
    }
    if (op->code != VECTOR_DOT4_US) {
        arm64_refuse(e, vector_info[op->code].name);
        return;
    }
    int t = arm64_scratch(e, at, 0), u = arm64_scratch(e, at, 1); /* a = (a - 128) + 64 + 64 */
    arm64_emit(e->code, SVE_DUP_B, t, -128);
    emit3(e, ARM64_SVE_EOR, t, t, a);
    arm64_emit(e->code, SVE_DUP_B, u, 64);
    emit3(e, ARM64_SVE_SDOT_S, to, t, b);
    emit3(e, ARM64_SVE_SDOT_S, to, u, b);
    emit3(e, ARM64_SVE_SDOT_S, to, u, b);
}

void arm64_sve_op(Arm64Encoder *e, const VectorOp *op, int at) {
    const Row *row = row_of(op->code, op->type);
    switch (op->code) {
    case VECTOR_CONST: encode_const(e, op); break;
    case VECTOR_LOAD: encode_load(e, op); break;
    case VECTOR_LOAD_BLOCK: encode_load_block(e, op); break;
    case VECTOR_SPLAT: encode_splat(e, op); break;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: encode_store(e, op, at); break;
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR: pick(e, op->code, op->type, result(e, op), reg(e, op->arg[0]), reg(e, op->arg[1])); break;
    case VECTOR_SCALE: encode_scale(e, op, at); break;
    case VECTOR_SHL:
    case VECTOR_SHR:
    case VECTOR_SAR: encode_shift(e, op, at); break;
    case VECTOR_MUL_LOWER: encode_mul_lower(e, op, at); break;
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND: encode_convert(e, op, at); break;
    case VECTOR_BITS: arm64_sve_move(e, result(e, op), reg(e, op->arg[0])); break;
    case VECTOR_GATHER: encode_gather(e, op, at); break;
    case VECTOR_IOTA: encode_iota(e, op); break;
    case VECTOR_PERMUTE: encode_permute(e, op, at); break;
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH: encode_zip(e, op, at); break;
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD: encode_blocks(e, op, at); break;
    case VECTOR_ROUND_TO: encode_round_to(e, op); break;
    case VECTOR_MASK_FIRST: encode_mask_first(e, op); break;
    case VECTOR_MASK_BELOW: below(e, op, arm64_general_of(e, op->arg[0])); break;
    case VECTOR_SELECT: encode_select(e, op); break;
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: encode_reduce(e, op, at); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS:
    case VECTOR_DOT4_UU:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT2:
    case VECTOR_MMLA:
    case VECTOR_MMLA_US: encode_dot(e, op, at); break;
    default:
        if (row)
            encode_row(e, op, row);
        else
            arm64_refuse(e, vector_info[op->code].name);
    }
}
