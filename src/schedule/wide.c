/* Lanes of 64 bits: memory, masks and arithmetic. wide.h says what lies where. */
#include "schedule/wide.h"

#include <math.h>
#include <string.h>

enum { HALF = 32 };

/* ---- which definitions ---- */

static bool whole_beyond(const ExprEmitter *e, const Expr *expr) {
    ExprRange r = e->range[expr->id];
    return r.low < INT32_MIN || r.high > INT32_MAX;
}

static bool divides(ExprOp op) {
    return op == EXPR_DIV || op == EXPR_FLOORDIV || op == EXPR_MOD || op == EXPR_FMOD;
}

static bool wants_wide(const ExprEmitter *e, const Expr *expr, bool *seen) {
    if (seen[expr->id])
        return false;
    seen[expr->id] = true;
    bool is_float = dtype_kind(expr->type) == KIND_FLOAT;
    if (wide_type(expr->type) && (is_float || expr->op == EXPR_READ || whole_beyond(e, expr)))
        return true;
    if (is_float && (expr->op == EXPR_MOD || expr->op == EXPR_FMOD))
        return true;
    if (!is_float && divides(expr->op) && !(expr_exact_in_f32(e, expr->arg[0]) && expr_exact_in_f32(e, expr->arg[1])))
        return true;
    if (expr->op == EXPR_READ || expr->op == EXPR_REDUCE)
        return false;
    for (int k = 0; k < 3; k++)
        if (expr->arg[k] && wants_wide(e, expr->arg[k], seen))
            return true;
    return false;
}

bool wide_find(const ExprEmitter *e, Arena *scratch, bool *needed) {
    bool *seen = ARENA_ARRAY(scratch, bool, (size_t)e->definition->expr_count + 1);
    if (!seen)
        return false;
    *needed = wide_type(e->kernel->tensors[e->definition->tensor].type) || wants_wide(e, e->definition->value, seen);
    return true;
}

/* ---- memory ---- */

/* As it is loaded: of 32 bits with zeros above; f16 as its bits. */
static DType memory_of(DType type) {
    switch (type) {
    case DT_BOOL: return DT_U8;
    case DT_F16:
    case DT_BF16: return DT_U16;
    case DT_S32:
    case DT_F32: return DT_U32;
    case DT_U64: return DT_S64;
    default: return type;
    }
}

static int word(VectorFunction *f, int64_t value) {
    return vector_const(f, DT_S32, (double)value);
}

/* Exponents are moved by a product, which makes normal numbers of subnormal ones; infinities and NaN keep theirs. */
static int from_f16_bits(VectorFunction *f, int bits) {
    int magnitude = vector_immediate(f, VECTOR_SHL, vector_binary(f, VECTOR_AND, bits, word(f, 0x7fff)), 13);
    int scaled =
        vector_binary(f, VECTOR_MUL, vector_convert(f, VECTOR_BITS, DT_F32, magnitude), vector_const(f, DT_F32, 0x1p112));
    int special = vector_binary(f, VECTOR_LE, word(f, 0x7c00 << 13), magnitude);
    int value = vector_ternary(f, VECTOR_SELECT, special, vector_binary(f, VECTOR_OR, magnitude, word(f, 0x7f800000)),
                               vector_convert(f, VECTOR_BITS, DT_S32, scaled));
    int sign = vector_immediate(f, VECTOR_SHL, vector_immediate(f, VECTOR_SHR, bits, 15), 31);
    return vector_convert(f, VECTOR_BITS, DT_F32, vector_binary(f, VECTOR_OR, value, sign));
}

/* Of a float that is an f16. */
static int to_f16_bits(VectorFunction *f, int x) {
    int bits = vector_convert(f, VECTOR_BITS, DT_S32, x), magnitude = vector_binary(f, VECTOR_AND, bits, word(f, INT32_MAX));
    int number = vector_convert(f, VECTOR_BITS, DT_F32, magnitude);
    int scaled = vector_binary(f, VECTOR_MUL, number, vector_const(f, DT_F32, 0x1p-112));
    int finite = vector_immediate(f, VECTOR_SHR, vector_convert(f, VECTOR_BITS, DT_S32, scaled), 13);
    int other = vector_immediate(f, VECTOR_SHR, magnitude, 13);
    other = vector_binary(f, VECTOR_OR, vector_binary(f, VECTOR_AND, other, word(f, 0x3ff)), word(f, 0x7c00));
    int special = vector_binary(f, VECTOR_LE, word(f, 0x7f800000), magnitude);
    int value = vector_ternary(f, VECTOR_SELECT, special, other, finite);
    int sign = vector_immediate(f, VECTOR_SHL, vector_immediate(f, VECTOR_SHR, bits, 31), 15);
    return vector_binary(f, VECTOR_OR, value, sign);
}

/* What was loaded as s64, as expressions have it. */
static int from_memory(VectorFunction *f, DType type, int x) {
    if (wide_type(type))
        return x;
    int low = vector_convert(f, VECTOR_BITS, DT_S32, x);
    switch (type) {
    case DT_BOOL: return vector_binary(f, VECTOR_NE, low, word(f, 0));
    case DT_F32: return vector_convert(f, VECTOR_BITS, DT_F32, low);
    case DT_BF16: return vector_convert(f, VECTOR_BITS, DT_F32, vector_immediate(f, VECTOR_SHL, low, 16));
    case DT_F16: return from_f16_bits(f, low);
    default: return low;
    }
}

static DType lane_of(DType type) {
    return type == DT_F64 ? DT_F64 : DT_S64;
}

int wide_load(VectorFunction *f, DType type, VectorAddress address, int mask) {
    return from_memory(f, type, vector_load(f, lane_of(type), memory_of(type), address, mask));
}

int wide_splat(VectorFunction *f, DType type, VectorAddress address) {
    return from_memory(f, type, vector_splat(f, lane_of(type), memory_of(type), address));
}

static int to_memory(VectorFunction *f, DType type, int x) {
    if (wide_type(type))
        return x;
    switch (type) {
    case DT_BOOL: x = vector_ternary(f, VECTOR_SELECT, x, word(f, 1), word(f, 0)); break;
    case DT_BF16: x = vector_immediate(f, VECTOR_SHR, vector_convert(f, VECTOR_BITS, DT_S32, x), 16); break;
    case DT_F16: x = to_f16_bits(f, x); break;
    default: break;
    }
    return vector_convert(f, VECTOR_BITS, DT_S64, x);
}

void wide_store(VectorFunction *f, DType type, int value, VectorAddress address, int mask) {
    vector_store(f, memory_of(type), to_memory(f, type, value), address, mask);
}

void wide_store_first(VectorFunction *f, DType type, int value, VectorAddress address) {
    vector_store_first(f, memory_of(type), to_memory(f, type, value), address);
}

int wide_twice(VectorFunction *f, int x) {
    int low = vector_binary(f, VECTOR_AND, x, vector_const(f, DT_S64, (double)UINT32_MAX));
    return vector_convert(f, VECTOR_BITS, DT_S32, vector_binary(f, VECTOR_OR, low, vector_immediate(f, VECTOR_SHL, x, HALF)));
}

int wide_steps(VectorFunction *f, int64_t step) {
    int number = vector_immediate(f, VECTOR_SHR, vector_iota(f, DT_S32, 1), 1);
    return vector_binary(f, VECTOR_MUL, number, word(f, step));
}

/* 64 bits are two elements of 32 beside each other. */
int wide_gather(VectorFunction *f, DType type, VectorAddress address, int index, int mask) {
    if (wide_type(type)) {
        int odd = vector_binary(f, VECTOR_AND, vector_iota(f, DT_S32, 1), word(f, 1));
        int half = vector_binary(f, VECTOR_ADD, vector_immediate(f, VECTOR_SHL, index, 1), odd);
        int x = vector_gather(f, DT_S32, DT_S32, address, 4, half, mask);
        return vector_convert(f, VECTOR_BITS, lane_of(type), x);
    }
    DType lane = type == DT_BOOL ? DT_S32 : expr_register(type), memory = type == DT_BOOL  ? DT_U8
                                                                          : type == DT_U32 ? DT_S32
                                                                                           : type;
    int x = vector_gather(f, lane, memory, address, dtype_bits(type) / 8, index, mask);
    return type == DT_BOOL ? vector_binary(f, VECTOR_NE, x, word(f, 0)) : x;
}

/* ---- numbers and masks ---- */

/* Numbers of vector code are doubles: what has more bits is put together. */
int wide_long(ExprEmitter *e, int64_t value) {
    if ((double)value < 0x1p63 && (int64_t)(double)value == value)
        return vector_const(e->f, DT_S64, (double)value);
    int upper = vector_const(e->f, DT_S64, (double)(value >> HALF)), lower = vector_const(e->f, DT_S64, (double)(uint32_t)value);
    return vector_binary(e->f, VECTOR_OR, vector_immediate(e->f, VECTOR_SHL, upper, HALF), lower);
}

int wide_double(ExprEmitter *e, double value) {
    return vector_const(e->f, DT_F64, value);
}

int wide_number(ExprEmitter *e, const Expr *number) {
    return number->type == DT_F64 ? wide_double(e, number->number) : wide_long(e, number->integer);
}

/* Of a bool's mask, one of 64-bit lanes, and back. */
static int mask_in(ExprEmitter *e, int mask) {
    int x = vector_ternary(e->f, VECTOR_SELECT, mask, word(e->f, 1), word(e->f, 0));
    x = vector_immediate(e->f, VECTOR_SHL, vector_convert(e->f, VECTOR_BITS, DT_S64, x), HALF);
    return vector_binary(e->f, VECTOR_NE, x, wide_long(e, 0));
}

int wide_mask_out(ExprEmitter *e, int mask) {
    int x = wide_pick(e, mask, wide_long(e, 1), wide_long(e, 0));
    return vector_binary(e->f, VECTOR_NE, vector_convert(e->f, VECTOR_BITS, DT_S32, x), word(e->f, 0));
}

int wide_pick(ExprEmitter *e, int mask, int yes, int no) {
    return vector_ternary(e->f, VECTOR_SELECT, mask, yes, no);
}

int wide_select(ExprEmitter *e, int mask, int yes, int no) {
    return wide_pick(e, mask_in(e, mask), yes, no);
}

/* ---- comparisons ---- */

/* Unsigned numbers compare as signed ones when their highest bits are turned. */
static int turned(ExprEmitter *e, DType type, int x) {
    return type == DT_U64 ? vector_binary(e->f, VECTOR_XOR, x, wide_long(e, INT64_MIN)) : x;
}

int wide_less(ExprEmitter *e, DType type, int a, int b) {
    return vector_binary(e->f, VECTOR_LT, turned(e, type, a), turned(e, type, b));
}

static int compare(ExprEmitter *e, const Expr *expr, int a, int b) {
    static const struct {
        ExprOp op;
        VectorCode code;
        bool swapped;
    } rows[] = {
        {EXPR_EQ, VECTOR_EQ, false}, {EXPR_NE, VECTOR_NE, false}, {EXPR_LT, VECTOR_LT, false},
        {EXPR_LE, VECTOR_LE, false}, {EXPR_GT, VECTOR_LT, true},  {EXPR_GE, VECTOR_LE, true},
    };
    DType type = expr->arg[0]->type;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].op == expr->op) {
            int x = turned(e, type, rows[i].swapped ? b : a), y = turned(e, type, rows[i].swapped ? a : b);
            return wide_mask_out(e, vector_binary(e->f, rows[i].code, x, y));
        }
    return -1;
}

/* ---- shifts ---- */

static int shift_right(ExprEmitter *e, DType type, int x, double count) {
    if (type == DT_U64 || count == 0)
        return vector_immediate(e->f, VECTOR_SHR, x, count);
    int up = vector_binary(e->f, VECTOR_XOR, x, wide_long(e, INT64_MIN)); /* x + 2^63, which is not negative */
    return vector_binary(e->f, VECTOR_SUB, vector_immediate(e->f, VECTOR_SHR, up, count),
                         vector_const(e->f, DT_S64, ldexp(1, 63 - (int)count)));
}

static int sign_of_lanes(ExprEmitter *e, int x) {
    return wide_pick(e, vector_binary(e->f, VECTOR_LT, x, wide_long(e, 0)), wide_long(e, -1), wide_long(e, 0));
}

static int shift_by(ExprEmitter *e, const Expr *expr, int x, int count) {
    int below = vector_binary(e->f, VECTOR_AND, count, wide_long(e, 63)), far = wide_less(e, DT_U64, wide_long(e, 63), count), y;
    bool keeps_sign = expr->op == EXPR_SHR && expr->type == DT_S64;
    if (keeps_sign) {
        int least = wide_long(e, INT64_MIN), up = vector_binary(e->f, VECTOR_XOR, x, least);
        y = vector_binary(e->f, VECTOR_SUB, vector_binary(e->f, VECTOR_SHR_BY, up, below),
                          vector_binary(e->f, VECTOR_SHR_BY, least, below));
    } else
        y = vector_binary(e->f, expr->op == EXPR_SHL ? VECTOR_SHL_BY : VECTOR_SHR_BY, x, below);
    return wide_pick(e, far, keeps_sign ? sign_of_lanes(e, x) : wide_long(e, 0), y);
}

int wide_shift(ExprEmitter *e, const Expr *expr, int a) {
    double count;
    if (!expr_known_number(e, expr->arg[1], &count)) {
        int b = expr_emit(e, expr->arg[1]);
        return e->refused ? -1 : shift_by(e, expr, a, b);
    }
    if (count < 0 || count > 63)
        return expr->op == EXPR_SHR && expr->type == DT_S64 ? sign_of_lanes(e, a) : wide_long(e, 0);
    return expr->op == EXPR_SHL ? vector_immediate(e->f, VECTOR_SHL, a, count) : shift_right(e, expr->type, a, count);
}

/* ---- arithmetic ---- */

static int whole_unary(ExprEmitter *e, const Expr *expr, int x) {
    VectorFunction *f = e->f;
    int zero = wide_long(e, 0), negated;
    bool is_signed = expr->type == DT_S64;
    switch (expr->op) {
    case EXPR_NEG: return vector_binary(f, VECTOR_SUB, zero, x);
    case EXPR_NOT: return vector_binary(f, VECTOR_XOR, x, wide_long(e, -1));
    case EXPR_ABS:
        if (!is_signed)
            return x;
        negated = vector_binary(f, VECTOR_SUB, zero, x);
        return wide_pick(e, vector_binary(f, VECTOR_LT, x, zero), negated, x);
    case EXPR_SIGN: {
        int one = wide_pick(e, vector_binary(f, VECTOR_NE, x, zero), wide_long(e, 1), zero);
        return is_signed ? vector_binary(f, VECTOR_OR, one, sign_of_lanes(e, x)) : one;
    }
    default: return expr_refuse(e, expr_info[expr->op].name);
    }
}

static int whole_binary(ExprEmitter *e, const Expr *expr, int a, int b) {
    switch (expr->op) {
    case EXPR_ADD: return vector_binary(e->f, VECTOR_ADD, a, b);
    case EXPR_SUB: return vector_binary(e->f, VECTOR_SUB, a, b);
    case EXPR_MUL: return vector_binary(e->f, VECTOR_MUL_LONG, a, b);
    case EXPR_AND: return vector_binary(e->f, VECTOR_AND, a, b);
    case EXPR_OR: return vector_binary(e->f, VECTOR_OR, a, b);
    case EXPR_XOR: return vector_binary(e->f, VECTOR_XOR, a, b);
    case EXPR_MIN: return wide_pick(e, wide_less(e, expr->type, a, b), a, b);
    case EXPR_MAX: return wide_pick(e, wide_less(e, expr->type, a, b), b, a);
    default: return divides(expr->op) ? wide_divide(e, expr, a, b) : expr_refuse(e, expr_info[expr->op].name);
    }
}

static int float_sign(ExprEmitter *e, int x) {
    int zero = wide_double(e, 0);
    int y = wide_pick(e, vector_binary(e->f, VECTOR_LT, zero, x), wide_double(e, 1), zero);
    y = wide_pick(e, vector_binary(e->f, VECTOR_LT, x, zero), wide_double(e, -1), y);
    return wide_pick(e, vector_binary(e->f, VECTOR_UNORDERED, x, x), x, y);
}

static int float_unary(ExprEmitter *e, const Expr *expr, int x) {
    VectorFunction *f = e->f;
    switch (expr->op) {
    case EXPR_NEG: return vector_binary(f, VECTOR_XOR, x, wide_double(e, -0.0));
    case EXPR_ABS: return vector_binary(f, VECTOR_AND_NOT, wide_double(e, -0.0), x);
    case EXPR_SIGN: return float_sign(e, x);
    case EXPR_SQRT: return vector_unary(f, VECTOR_SQRT, x);
    case EXPR_FLOOR: return vector_unary(f, VECTOR_FLOOR, x);
    case EXPR_CEIL: return vector_unary(f, VECTOR_CEIL, x);
    case EXPR_TRUNC: return vector_unary(f, VECTOR_TRUNC, x);
    case EXPR_ROUND: return vector_unary(f, VECTOR_ROUND, x);
    case EXPR_ISNAN: return wide_mask_out(e, vector_binary(f, VECTOR_UNORDERED, x, x));
    case EXPR_ISINF:
        x = vector_binary(f, VECTOR_AND_NOT, wide_double(e, -0.0), x);
        return wide_mask_out(e, vector_binary(f, VECTOR_EQ, x, wide_double(e, INFINITY)));
    default: return expr_refuse(e, "a function of f64");
    }
}

static int float_binary(ExprEmitter *e, const Expr *expr, int a, int b) {
    switch (expr->op) {
    case EXPR_ADD: return vector_binary(e->f, VECTOR_ADD, a, b);
    case EXPR_SUB: return vector_binary(e->f, VECTOR_SUB, a, b);
    case EXPR_MUL: return vector_binary(e->f, VECTOR_MUL, a, b);
    case EXPR_DIV: return vector_binary(e->f, VECTOR_DIV, a, b);
    case EXPR_MIN: return vector_binary(e->f, VECTOR_MIN, a, b);
    case EXPR_MAX: return vector_binary(e->f, VECTOR_MAX, a, b);
    case EXPR_FLOORDIV: return vector_unary(e->f, VECTOR_FLOOR, vector_binary(e->f, VECTOR_DIV, a, b));
    default: return expr_refuse(e, "a function of f64");
    }
}

int wide_operation(ExprEmitter *e, const Expr *expr, int a, int b) {
    DType type = expr->arg[0]->type;
    if (b >= 0) {
        int compared = compare(e, expr, a, b);
        if (compared >= 0 || e->f->failed)
            return compared;
    }
    if (type == DT_F64)
        return b < 0 ? float_unary(e, expr, a) : float_binary(e, expr, a, b);
    return b < 0 ? whole_unary(e, expr, a) : whole_binary(e, expr, a, b);
}
