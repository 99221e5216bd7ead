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
    Arm64Form f32, f64, s32;
    bool swapped;
} Row;

// clang-format off
static const Row rows[] = {
    {VECTOR_ADD, THREE, ARM64_SVE_FADD_S, ARM64_SVE_FADD_D, ARM64_SVE_ADD_S, false},
    {VECTOR_SUB, THREE, ARM64_SVE_FSUB_S, ARM64_SVE_FSUB_D, ARM64_SVE_SUB_S, false},
    {VECTOR_MUL, THREE, ARM64_SVE_FMUL_S, ARM64_SVE_FMUL_D, 0, false},
    {VECTOR_MUL, OVERWRITES, 0, 0, ARM64_SVE_MUL_S, false},
    {VECTOR_DIV, DIVIDES, ARM64_SVE_FDIV_S, ARM64_SVE_FDIV_D, 0, false},
    {VECTOR_MIN, OVERWRITES, ARM64_SVE_FMIN_S, ARM64_SVE_FMIN_D, ARM64_SVE_SMIN_S, false},
    {VECTOR_MAX, OVERWRITES, ARM64_SVE_FMAX_S, ARM64_SVE_FMAX_D, ARM64_SVE_SMAX_S, false},
    {VECTOR_FMA, ACCUMULATES, ARM64_SVE_FMLA_S, ARM64_SVE_FMLA_D, 0, false},
    {VECTOR_FNMA, ACCUMULATES, ARM64_SVE_FMLS_S, ARM64_SVE_FMLS_D, 0, false},
    {VECTOR_AND, THREE, ARM64_SVE_AND, ARM64_SVE_AND, ARM64_SVE_AND, false},
    {VECTOR_OR, THREE, ARM64_SVE_ORR, ARM64_SVE_ORR, ARM64_SVE_ORR, false},
    {VECTOR_XOR, THREE, ARM64_SVE_EOR, ARM64_SVE_EOR, ARM64_SVE_EOR, false},
    {VECTOR_AND_NOT, THREE, ARM64_SVE_BIC, ARM64_SVE_BIC, ARM64_SVE_BIC, true},
    {VECTOR_EQ, COMPARES, ARM64_SVE_FCMEQ_S, ARM64_SVE_FCMEQ_D, ARM64_SVE_CMPEQ_S, false},
    {VECTOR_NE, COMPARES, ARM64_SVE_FCMNE_S, ARM64_SVE_FCMNE_D, ARM64_SVE_CMPNE_S, false},
    {VECTOR_LT, COMPARES, ARM64_SVE_FCMGT_S, ARM64_SVE_FCMGT_D, ARM64_SVE_CMPGT_S, true},
    {VECTOR_LE, COMPARES, ARM64_SVE_FCMGE_S, ARM64_SVE_FCMGE_D, ARM64_SVE_CMPGE_S, true},
    {VECTOR_UNORDERED, COMPARES, ARM64_SVE_FCMUO_S, ARM64_SVE_FCMUO_D, 0, false},
    {VECTOR_MASK_AND, MASKS, ARM64_SVE_PAND, ARM64_SVE_PAND, ARM64_SVE_PAND, false},
    {VECTOR_MASK_OR, MASKS, ARM64_SVE_PORR, ARM64_SVE_PORR, ARM64_SVE_PORR, false},
    {VECTOR_MASK_XOR, MASKS, ARM64_SVE_PEOR, ARM64_SVE_PEOR, ARM64_SVE_PEOR, false},
    {VECTOR_EVEN, THREE, ARM64_SVE_UZP1_S, ARM64_SVE_UZP1_D, ARM64_SVE_UZP1_S, false},
    {VECTOR_ODD, THREE, ARM64_SVE_UZP2_S, ARM64_SVE_UZP2_D, ARM64_SVE_UZP2_S, false},
    {VECTOR_SQRT, UNARY, ARM64_SVE_FSQRT_S, ARM64_SVE_FSQRT_D, 0, false},
    {VECTOR_FLOOR, UNARY, ARM64_SVE_FRINTM_S, ARM64_SVE_FRINTM_D, 0, false},
    {VECTOR_CEIL, UNARY, ARM64_SVE_FRINTP_S, ARM64_SVE_FRINTP_D, 0, false},
    {VECTOR_TRUNC, UNARY, ARM64_SVE_FRINTZ_S, ARM64_SVE_FRINTZ_D, 0, false},
    {VECTOR_ROUND, UNARY, ARM64_SVE_FRINTN_S, ARM64_SVE_FRINTN_D, 0, false},
};
// clang-format on

static Arm64Form form_of_row(const Row *row, DType type) {
    Arm64Form form = type == DT_F64 ? row->f64 : type == DT_F32 ? row->f32 : type == DT_S32 ? row->s32 : 0;
    return !form && bytes_of(type) == 4 && row->f32 == row->s32 ? row->s32 : form; /* of bits, whatever the type */
}

static const Row *row_of(VectorCode code, DType type) {
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].code == code && form_of_row(&rows[i], type))
            return &rows[i];
    return NULL;
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
    Arm64Form reversed = row->shape != DIVIDES ? form : op->type == DT_F64 ? ARM64_SVE_FDIVR_D : ARM64_SVE_FDIVR_S;
    switch (row->shape) {
    case THREE: emit3(e, form, to, a, b); break;
    case OVERWRITES:
    case DIVIDES: overwrite(e, form, reversed, to, a, b); break;
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
    emit4(e, bytes_of(op->type) == 8 ? ARM64_SVE_SEL_D : ARM64_SVE_SEL_S, result(e, op), arm64_mask_of(e, op->arg[0]),
          reg(e, op->arg[1]), reg(e, op->arg[2]));
}

static void encode_shift(Arm64Encoder *e, const VectorOp *op) {
    static const Arm64Form shifts[] = {ARM64_SVE_LSL_S, ARM64_SVE_LSR_S, ARM64_SVE_ASR_S};
    int by = (int)op->number;
    if (by)
        emit3(e, shifts[op->code - VECTOR_SHL], result(e, op), reg(e, op->arg[0]), by);
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
    emit3(e, is64 ? ARM64_SVE_FCVTZS_D : ARM64_SVE_FCVTZS_S, t, ALL, reg(e, op->arg[1]));
    arm64_sve_move(e, to, reg(e, op->arg[0]));
    emit3(e, is64 ? ARM64_SVE_FSCALE_D : ARM64_SVE_FSCALE_S, to, ALL, t);
}

static void encode_const(Arm64Encoder *e, const VectorOp *op) {
    unsigned char data[8];
    uint32_t word;
    int to = result(e, op);
    arm64_element_bits(op->type, op->number, data);
    memcpy(&word, data, 4);
    if (op->type == DT_F64) {
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

/* Forms that widen and narrow between memory and 32-bit lanes, and those that do not. */
static const struct {
    DType memory;
    Arm64Form load, splat, store;
} memory[] = {
    {DT_F32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {DT_S32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {DT_U32, ARM64_SVE_LD1W_S, ARM64_SVE_LD1RW_S, ARM64_SVE_ST1W_S},
    {DT_F64, ARM64_SVE_LD1D_D, ARM64_SVE_LD1RD_D, ARM64_SVE_ST1D_D},
    {DT_F16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {DT_BF16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {DT_U16, ARM64_SVE_LD1H_S, ARM64_SVE_LD1RH_S, ARM64_SVE_ST1H_S},
    {DT_S16, ARM64_SVE_LD1SH_S, ARM64_SVE_LD1RSH_S, ARM64_SVE_ST1H_S},
    {DT_U8, ARM64_SVE_LD1B_S, ARM64_SVE_LD1RB_S, ARM64_SVE_ST1B_S},
    {DT_BOOL, ARM64_SVE_LD1B_S, ARM64_SVE_LD1RB_S, ARM64_SVE_ST1B_S},
    {DT_S8, ARM64_SVE_LD1SB_S, ARM64_SVE_LD1RSB_S, ARM64_SVE_ST1B_S},
};

static int memory_row(Arm64Encoder *e, const VectorOp *op) {
    for (size_t i = 0; i < COUNT(memory); i++) {
        bool fits = op->type == op->from || (bytes_of(op->type) == 4 && bytes_of(op->from) < 4) ||
                    (bytes_of(op->type) == bytes_of(op->from) && bytes_of(op->type) == 4);
        if (memory[i].memory == op->from && fits)
            return (int)i;
    }
    if (op->type == op->from && bytes_of(op->type) < 4)
        return 0; /* words of smaller elements */
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

static void widen(Arm64Encoder *e, const VectorOp *op) {
    int to = result(e, op);
    if (op->type == DT_F32 && op->from == DT_F16)
        emit3(e, ARM64_SVE_FCVT_S_H, to, ALL, to);
    else if (op->type == DT_F32 && op->from == DT_BF16)
        emit3(e, ARM64_SVE_LSL_S, to, to, 16);
}

static void encode_load(Arm64Encoder *e, const VectorOp *op) {
    int row = memory_row(e, op);
    if (row < 0)
        return;
    move_memory(e, op, row, result(e, op), false);
    widen(e, op);
}

static void encode_splat(Arm64Encoder *e, const VectorOp *op) {
    int row = memory_row(e, op), unit = bytes_of(op->from);
    int64_t offset;
    if (row < 0)
        return;
    int base = arm64_address(e, &op->address, 0, 63 * unit, unit, &offset);
    emit4(e, memory[row].splat, result(e, op), ALL, base, offset);
    widen(e, op);
}

static void round_to_bf16(Arm64Encoder *e, int t, int u, int from) {
    emit3(e, ARM64_SVE_LSR_S, t, from, 16);
    arm64_emit(e->code, SVE_DUP_S, u, 1);
    emit3(e, ARM64_SVE_AND, t, t, u);
    splat_word(e, u, 0x7fff);
    emit3(e, ARM64_SVE_ADD_S, t, t, u);
    emit3(e, ARM64_SVE_ADD_S, t, t, from);
    emit4(e, ARM64_SVE_FCMUO_S, OWN, ALL, from, from);
    splat_word(e, u, 0x7fc00000);
    emit4(e, ARM64_SVE_SEL_S, t, OWN, u, t);
    emit3(e, ARM64_SVE_LSR_S, t, t, 16);
}

/* The value in the low part of each lane of `t`; stores of smaller elements take that part. */
static void narrow(Arm64Encoder *e, const VectorOp *op, int at, int from, int t) {
    int low = op->from == DT_S16 ? INT16_MIN : op->from == DT_S8 ? INT8_MIN : 0;
    int high = op->from == DT_S16 ? INT16_MAX : op->from == DT_S8 ? INT8_MAX : op->from == DT_U16 ? UINT16_MAX : UINT8_MAX;
    int u = arm64_scratch(e, at, 1);
    if (op->from == DT_F16)
        emit3(e, ARM64_SVE_FCVT_H_S, t, ALL, from);
    else if (op->from == DT_BF16 && e->target->features & FEATURE(BF16))
        emit3(e, ARM64_SVE_BFCVT, t, ALL, from);
    else if (op->from == DT_BF16)
        round_to_bf16(e, t, u, from);
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
    int size = bytes_of(op->from), log = size == 8 ? 3 : size / 2;
    int64_t offset;
    int base = arm64_address(e, &op->address, 0, 4095 * (int64_t)size, size, &offset);
    emit3(e, aligned[log], vector, base, offset); /* the low end of z3 is s3 */
}

static void encode_store(Arm64Encoder *e, const VectorOp *op, int at) {
    int value = reg(e, op->arg[0]), row = memory_row(e, op);
    if (row < 0)
        return;
    if (op->from != op->type && bytes_of(op->from) < bytes_of(op->type)) {
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
    emit3(e, bytes_of(op->type) == 8 ? ARM64_SVE_WHILELT_D : ARM64_SVE_WHILELT_S, arm64_mask_of(e, op->result), ARM64_ZERO,
          index);
}

static void encode_mask_first(Arm64Encoder *e, const VectorOp *op) {
    arm64_move_number(e, ARM64_TEMPORARY, (int64_t)op->number);
    below(e, op, ARM64_TEMPORARY);
}

/* Sums of halves repeat, so a rotation finds every lane's partner; what is not symmetric in NaN and zeros looks them up. */
static void encode_reduce(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), from = reg(e, op->arg[0]), t = arm64_scratch(e, at, 0), size = bytes_of(op->type);
    bool sum = op->code == VECTOR_REDUCE_ADD, least = op->code == VECTOR_REDUCE_MIN;
    for (int half = e->f->bytes / size / 2; half; half /= 2) {
        if (sum || op->type == DT_S32) {
            arm64_sve_move(e, t, from);
            emit3(e, ARM64_SVE_EXT, t, t, half * size);
            if (sum)
                emit3(e, size == 8 ? ARM64_SVE_FADD_D : op->type == DT_S32 ? ARM64_SVE_ADD_S : ARM64_SVE_FADD_S, to, from, t);
            else
                overwrite(e, least ? ARM64_SVE_SMIN_S : ARM64_SVE_SMAX_S, ARM64_SVE_SMIN_S, to, from, t);
        } else if (size == 8) {
            arm64_refuse(e, "the least or greatest of 64-bit lanes");
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

/* ---- dot products ---- */

static void encode_dot(Arm64Encoder *e, const VectorOp *op, int at) {
    int to = result(e, op), a = reg(e, op->arg[0]), b = reg(e, op->arg[1]);
    bool i8mm = e->target->features & FEATURE(I8MM), bf16 = e->target->features & FEATURE(BF16);
    bool from_bf16 = op->from == DT_BF16;
    Arm64Form form = op->code == VECTOR_DOT4_SS                      ? ARM64_SVE_SDOT_S
                     : op->code == VECTOR_DOT4_US && i8mm            ? ARM64_SVE_USDOT_S
                     : op->code == VECTOR_DOT2 && bf16               ? ARM64_SVE_BFDOT_S
                     : op->code == VECTOR_MMLA && from_bf16 && bf16  ? ARM64_SVE_BFMMLA_S
                     : op->code == VECTOR_MMLA && !from_bf16 && i8mm ? ARM64_SVE_SMMLA_S
                                                                     : 0;
    arm64_sve_move(e, to, reg(e, op->arg[2]));
    if (form) {
        emit3(e, form, to, a, b);
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
    case VECTOR_SPLAT: encode_splat(e, op); break;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: encode_store(e, op, at); break;
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR: pick(e, op->code, op->type, result(e, op), reg(e, op->arg[0]), reg(e, op->arg[1])); break;
    case VECTOR_SCALE: encode_scale(e, op, at); break;
    case VECTOR_SHL:
    case VECTOR_SHR:
    case VECTOR_SAR: encode_shift(e, op); break;
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND: encode_convert(e, op, at); break;
    case VECTOR_BITS: arm64_sve_move(e, result(e, op), reg(e, op->arg[0])); break;
    case VECTOR_MASK_FIRST: encode_mask_first(e, op); break;
    case VECTOR_MASK_BELOW: below(e, op, arm64_general_of(e, op->arg[0])); break;
    case VECTOR_SELECT: encode_select(e, op); break;
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: encode_reduce(e, op, at); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS:
    case VECTOR_DOT2:
    case VECTOR_MMLA: encode_dot(e, op, at); break;
    default:
        if (row)
            encode_row(e, op, row);
        else
            arm64_refuse(e, vector_info[op->code].name);
    }
}
