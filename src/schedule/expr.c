/* Expressions of the notation as vector code. Every operation rounds by itself, as in the evaluator.
 *
 * All lanes have 32 bits, whatever the element type, so that expressions of mixed types walk in step:
 *
 *     f32 f16 bf16                 a vector of f32; halves are rounded to their type after each operation
 *     s32 u32 s16 u16 s8 u8        a vector of s32: the number itself, extended by its sign or by zeros; u32: its bits
 *     bool                         a mask
 *     s64 u64                      as s32, where every value is known to fit: axes, literals, what is computed of them
 *
 * Where that does not do, lanes have 64 bits: wide.h.
 *
 * convert.c goes from one to the other; math.c has the functions. */
#include "schedule/wide.h"

#include <math.h>
#include <string.h>

DType expr_register(DType type) {
    return type == DT_BOOL ? DT_NONE : dtype_kind(type) == KIND_FLOAT ? DT_F32 : DT_S32;
}

int expr_refuse(ExprEmitter *e, const char *why) {
    if (!e->refused)
        e->refused = why;
    return -1;
}

static int number(ExprEmitter *e, double value) {
    return vector_const(e->f, DT_F32, value);
}

static int integer(ExprEmitter *e, int64_t value) {
    return vector_const(e->f, DT_S32, (double)(int32_t)(uint32_t)(uint64_t)value);
}

static int absolute(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_AND_NOT, number(e, -0.0), x);
}

static int all_lanes(ExprEmitter *e, bool value) {
    return vector_mask_first(e->f, DT_F32, value ? vector_lanes(e->f, DT_F32) : 0);
}

static int negate(ExprEmitter *e, int mask) {
    return vector_binary(e->f, VECTOR_MASK_XOR, mask, all_lanes(e, true));
}

/* ---- ranges of integers ---- */

static ExprRange range_of_type(DType type) {
    int bits = dtype_bits(type) > 62 ? 62 : dtype_bits(type);
    if (type == DT_BOOL)
        return (ExprRange){0, 1};
    return dtype_kind(type) == KIND_SIGNED ? (ExprRange){-(INT64_C(1) << (bits - 1)), (INT64_C(1) << (bits - 1)) - 1}
                                           : (ExprRange){0, (INT64_C(1) << bits) - 1};
}

static bool fits_32(ExprRange r) {
    return r.low >= INT32_MIN && r.high <= INT32_MAX;
}

static ExprRange range_of_product(ExprRange a, ExprRange b) {
    int64_t p[] = {a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high};
    return (ExprRange){least(least(p[0], p[1]), least(p[2], p[3])), most(most(p[0], p[1]), most(p[2], p[3]))};
}

/* Of operands that fit 32 bits, so that nothing overflows here. */
static bool range_of_operation(const Expr *expr, ExprRange a, ExprRange b, ExprRange *out) {
    switch (expr->op) {
    case EXPR_ADD: *out = (ExprRange){a.low + b.low, a.high + b.high}; break;
    case EXPR_SUB: *out = (ExprRange){a.low - b.high, a.high - b.low}; break;
    case EXPR_MUL: *out = range_of_product(a, b); break;
    case EXPR_MIN: *out = (ExprRange){least(a.low, b.low), least(a.high, b.high)}; break;
    case EXPR_MAX: *out = (ExprRange){most(a.low, b.low), most(a.high, b.high)}; break;
    case EXPR_NEG: *out = (ExprRange){-a.high, -a.low}; break;
    case EXPR_ABS: *out = (ExprRange){0, most(most(a.high, -a.low), 0)}; break;
    case EXPR_SIGN: *out = (ExprRange){-1, 1}; break;
    case EXPR_MOD: *out = (ExprRange){least(b.low, 0), most(b.high, 0)}; break;
    case EXPR_DIV:
    case EXPR_FMOD:
    case EXPR_FLOORDIV: *out = (ExprRange){least(a.low, -a.high) - 1, most(a.high, -a.low) + 1}; break;
    default: return false;
    }
    return true;
}

/* What an integer expression may be; the whole type where little is known. */
static ExprRange range_of(const ExprEmitter *e, const Expr *expr) {
    ExprRange whole = range_of_type(expr->type), a, b, found;
    if (expr->op == EXPR_NUMBER)
        return expr->integer > whole.high || expr->integer < whole.low ? whole : (ExprRange){expr->integer, expr->integer};
    if (expr->op == EXPR_AXIS)
        return (ExprRange){0, e->definition->axes[expr->axis].extent - 1};
    if (expr->op == EXPR_REDUCE && (expr->reduce == REDUCE_ARGMAX || expr->reduce == REDUCE_ARGMIN))
        return (ExprRange){0, most(e->definition->axes[expr->axes[0]].extent - 1, 0)};
    if (expr->op == EXPR_READ || expr->op == EXPR_REDUCE || !expr->arg[0] || dtype_kind(expr->arg[0]->type) == KIND_FLOAT)
        return whole;
    a = e->range[expr->arg[0]->id];
    b = expr->op < EXPR_OP_COUNT && expr->arg[1] ? e->range[expr->arg[1]->id] : a;
    if (expr->op == EXPR_CAST)
        return a.low >= whole.low && a.high <= whole.high ? a : whole;
    if (expr->op == EXPR_SELECT) {
        a = e->range[expr->arg[2]->id];
        return (ExprRange){least(a.low, b.low), most(a.high, b.high)};
    }
    if (!fits_32(a) || !fits_32(b) || !range_of_operation(expr, a, b, &found))
        return whole;
    return found.low < whole.low || found.high > whole.high ? whole : found;
}

bool expr_start(ExprEmitter *e, Arena *arena) {
    e->known = ARENA_ARRAY(arena, int, (size_t)e->definition->expr_count + 1);
    e->range = ARENA_ARRAY(arena, ExprRange, (size_t)e->definition->expr_count + 1);
    if (!e->known || !e->range)
        return false;
    expr_forget(e);
    for (int i = 0; i < e->definition->expr_count; i++) {
        const Expr *expr = e->definition->exprs[i];
        if (dtype_kind(expr->type) != KIND_FLOAT && expr->type != DT_NONE)
            e->range[i] = range_of(e, expr);
    }
    return true;
}

void expr_forget(ExprEmitter *e) {
    for (int i = 0; i < e->definition->expr_count; i++)
        e->known[i] = -1;
}

void expr_know(ExprEmitter *e, const Expr *expr, int value) {
    e->known[expr->id] = value;
}

/* ---- memory ---- */

int expr_load(VectorFunction *f, DType type, VectorAddress address, int mask) {
    if (type == DT_BOOL) {
        int x = vector_load(f, DT_S32, DT_U8, address, mask);
        return vector_binary(f, VECTOR_NE, x, vector_const(f, DT_S32, 0));
    }
    return vector_load(f, expr_register(type), type == DT_U32 ? DT_S32 : type, address, mask);
}

int expr_splat(VectorFunction *f, DType type, VectorAddress address) {
    if (type == DT_BOOL) {
        int x = vector_splat(f, DT_S32, DT_U8, address);
        return vector_binary(f, VECTOR_NE, x, vector_const(f, DT_S32, 0));
    }
    return vector_splat(f, expr_register(type), type == DT_U32 ? DT_S32 : type, address);
}

/* Bools as 0 and 1. */
static int storable(VectorFunction *f, DType type, int value) {
    return type == DT_BOOL ? vector_ternary(f, VECTOR_SELECT, value, vector_const(f, DT_S32, 1), vector_const(f, DT_S32, 0))
                           : value;
}

static DType stored_type(DType type) {
    return type == DT_BOOL ? DT_U8 : type == DT_U32 ? DT_S32 : type;
}

void expr_store(VectorFunction *f, DType type, int value, VectorAddress address, int mask) {
    vector_store(f, stored_type(type), storable(f, type, value), address, mask);
}

void expr_store_first(VectorFunction *f, DType type, int value, VectorAddress address) {
    vector_store_first(f, stored_type(type), storable(f, type, value), address);
}

/* ---- numbers ---- */

static double element(DType type, const void *at) {
    union {
        uint8_t u8;
        int8_t s8;
        uint16_t u16;
        int16_t s16;
        uint32_t u32;
        int32_t s32;
        float f32;
    } u;
    memcpy(&u, at, (size_t)dtype_bits(type) / 8);
    switch (type) {
    case DT_F32: return (double)u.f32;
    case DT_F16: return (double)f16_to_f32(u.u16);
    case DT_BF16: return (double)bf16_to_f32(u.u16);
    case DT_S8: return u.s8;
    case DT_S16: return u.s16;
    case DT_U16: return u.u16;
    case DT_S32: return u.s32;
    case DT_U32: return u.u32;
    default: return u.u8;
    }
}

bool expr_known_number(const ExprEmitter *e, const Expr *expr, double *out) {
    const Expr *from = expr->op == EXPR_CAST ? expr->arg[0] : NULL;
    if (from && (expr->type == DT_F32 || expr->type == DT_S32)) /* they hold these numbers as they are */
        return dtype_kind(from->type) != KIND_FLOAT && dtype_bits(from->type) <= 16 && expr_known_number(e, from, out);
    bool is_float = dtype_kind(expr->type) == KIND_FLOAT;
    if (expr->op == EXPR_NUMBER) {
        *out = is_float ? expr->number : (double)expr->integer;
        return true;
    }
    if (expr->op != EXPR_READ || dtype_bits(expr->type) > 32 || expr->guarded || !e->constant || !e->constant[expr->tensor] ||
        e->kernel->tensors[expr->tensor].count != 1)
        return false;
    *out = element(expr->type, e->constant[expr->tensor]);
    return true;
}

static int emit_number(ExprEmitter *e, DType type, double value) {
    if (type == DT_BOOL)
        return all_lanes(e, value != 0);
    if (dtype_kind(type) != KIND_FLOAT)
        return integer(e, (int64_t)value);
    return number(e, type == DT_F16    ? (double)f16_to_f32(f64_to_f16(value))
                     : type == DT_BF16 ? (double)bf16_to_f32(f32_to_bf16((float)value))
                                       : value);
}

/* ---- operations ---- */

typedef struct Row {
    ExprOp op;
    VectorCode code;
    bool swapped;
} Row;

static const Row arithmetic[] = {
    {EXPR_ADD, VECTOR_ADD, false}, {EXPR_SUB, VECTOR_SUB, false}, {EXPR_MUL, VECTOR_MUL, false},
    {EXPR_DIV, VECTOR_DIV, false}, {EXPR_MIN, VECTOR_MIN, false}, {EXPR_MAX, VECTOR_MAX, false},
};
static const Row bitwise[] = {
    {EXPR_AND, VECTOR_AND, false},
    {EXPR_OR, VECTOR_OR, false},
    {EXPR_XOR, VECTOR_XOR, false},
};
static const Row comparisons[] = {
    {EXPR_EQ, VECTOR_EQ, false}, {EXPR_NE, VECTOR_NE, false}, {EXPR_LT, VECTOR_LT, false},
    {EXPR_LE, VECTOR_LE, false}, {EXPR_GT, VECTOR_LT, true},  {EXPR_GE, VECTOR_LE, true},
};
/* Of masks; x < y is !x & y: the first operand is negated, after the exchange. */
static const struct {
    Row row;
    bool negated;
} logic[] = {
    {{EXPR_AND, VECTOR_MASK_AND, false}, false}, {{EXPR_OR, VECTOR_MASK_OR, false}, false},
    {{EXPR_XOR, VECTOR_MASK_XOR, false}, false}, {{EXPR_NE, VECTOR_MASK_XOR, false}, false},
    {{EXPR_EQ, VECTOR_MASK_XOR, false}, true},   {{EXPR_LT, VECTOR_MASK_AND, false}, true},
    {{EXPR_GT, VECTOR_MASK_AND, true}, true},    {{EXPR_LE, VECTOR_MASK_OR, false}, true},
    {{EXPR_GE, VECTOR_MASK_OR, true}, true},
};
static const Row roundings[] = {
    {EXPR_FLOOR, VECTOR_FLOOR, false},
    {EXPR_CEIL, VECTOR_CEIL, false},
    {EXPR_TRUNC, VECTOR_TRUNC, false},
    {EXPR_ROUND, VECTOR_ROUND, false},
};

static const Row *row_of(const Row *rows, size_t count, ExprOp op) {
    for (size_t i = 0; i < count; i++)
        if (rows[i].op == op)
            return &rows[i];
    return NULL;
}

static int apply(ExprEmitter *e, const Row *row, int a, int b) {
    return row->swapped ? vector_binary(e->f, row->code, b, a) : vector_binary(e->f, row->code, a, b);
}

static int emit_logic(ExprEmitter *e, const Expr *expr, int a, int b) {
    for (size_t i = 0; i < COUNT(logic); i++)
        if (logic[i].row.op == expr->op) {
            int first = logic[i].row.swapped ? b : a, second = logic[i].row.swapped ? a : b;
            return vector_binary(e->f, logic[i].row.code, logic[i].negated ? negate(e, first) : first, second);
        }
    return expr_refuse(e, "an operation on booleans");
}

/* Unsigned numbers of 32 bits compare as signed ones when their highest bits are turned. */
static int emit_compare(ExprEmitter *e, const Expr *expr, int a, int b) {
    bool order = expr->op != EXPR_EQ && expr->op != EXPR_NE;
    if (expr->arg[0]->type == DT_U32 && order) {
        a = vector_binary(e->f, VECTOR_XOR, a, integer(e, INT32_MIN));
        b = vector_binary(e->f, VECTOR_XOR, b, integer(e, INT32_MIN));
    }
    return apply(e, row_of(comparisons, COUNT(comparisons), expr->op), a, b);
}

/* ---- integers ---- */

bool expr_exact_in_f32(const ExprEmitter *e, const Expr *expr) {
    ExprRange r = e->range[expr->id];
    return r.low > -(1 << 24) && r.high < 1 << 24;
}

/* The quotient in f32 is rounded to the nearest, which cannot reach the next whole number for operands of 24 bits. By zero: 0. */
static int emit_quotient(ExprEmitter *e, const Expr *expr, int a, int b) {
    ExprRange divisor = e->range[expr->arg[1]->id];
    bool floored = expr->op == EXPR_FLOORDIV || expr->op == EXPR_MOD;
    if (!expr_exact_in_f32(e, expr->arg[0]) || !expr_exact_in_f32(e, expr->arg[1]))
        return e->wide ? wide_divide_32(e, expr, a, b) : expr_refuse(e, "a division of integers of 32 or 64 bits");
    int x = vector_convert(e->f, VECTOR_CVT, DT_F32, a), y = vector_convert(e->f, VECTOR_CVT, DT_F32, b);
    int q = vector_unary(e->f, floored ? VECTOR_FLOOR : VECTOR_TRUNC, vector_binary(e->f, VECTOR_DIV, x, y));
    q = vector_convert(e->f, VECTOR_CVT, DT_S32, q);
    if (expr->op == EXPR_MOD || expr->op == EXPR_FMOD)
        q = vector_binary(e->f, VECTOR_SUB, a, vector_binary(e->f, VECTOR_MUL, q, b));
    if (divisor.low > 0 || divisor.high < 0)
        return q;
    int zero = integer(e, 0);
    return vector_ternary(e->f, VECTOR_SELECT, vector_binary(e->f, VECTOR_EQ, b, zero), zero, q);
}

static int emit_shift(ExprEmitter *e, const Expr *expr, int a) {
    bool left = expr->op == EXPR_SHL, is_signed = dtype_kind(expr->type) == KIND_SIGNED;
    double count;
    if (!expr_known_number(e, expr->arg[1], &count)) {
        int b = expr_emit(e, expr->arg[1]);
        return e->refused ? -1 : vector_binary(e->f, left ? VECTOR_SHL_BY : is_signed ? VECTOR_SAR_BY : VECTOR_SHR_BY, a, b);
    }
    if (count < 0 || count > 31) {
        if (left || !is_signed)
            return integer(e, 0);
        count = 31;
    }
    return vector_immediate(e->f, left ? VECTOR_SHL : is_signed ? VECTOR_SAR : VECTOR_SHR, a, count);
}

/* The larger or the smaller of unsigned numbers of 32 bits. */
static int emit_extreme_u32(ExprEmitter *e, const Expr *expr, int a, int b) {
    int flip = integer(e, INT32_MIN);
    int x = vector_binary(e->f, VECTOR_XOR, a, flip), y = vector_binary(e->f, VECTOR_XOR, b, flip);
    return vector_binary(e->f, VECTOR_XOR, vector_binary(e->f, expr->op == EXPR_MIN ? VECTOR_MIN : VECTOR_MAX, x, y), flip);
}

static int emit_integer(ExprEmitter *e, const Expr *expr, int a, int b) {
    switch (expr->op) {
    case EXPR_DIV:
    case EXPR_FLOORDIV:
    case EXPR_MOD:
    case EXPR_FMOD: return emit_quotient(e, expr, a, b);
    case EXPR_MIN:
    case EXPR_MAX:
        if (expr->type == DT_U32)
            return emit_extreme_u32(e, expr, a, b);
        break;
    default: break;
    }
    const Row *row = row_of(arithmetic, COUNT(arithmetic), expr->op);
    row = row ? row : row_of(bitwise, COUNT(bitwise), expr->op);
    return row ? apply(e, row, a, b) : expr_refuse(e, expr_info[expr->op].name);
}

static int emit_integer_unary(ExprEmitter *e, const Expr *expr, int x) {
    bool is_signed = dtype_kind(expr->type) == KIND_SIGNED;
    int zero = integer(e, 0);
    switch (expr->op) {
    case EXPR_NEG: return vector_binary(e->f, VECTOR_SUB, zero, x);
    case EXPR_NOT: return vector_binary(e->f, VECTOR_XOR, x, integer(e, -1));
    case EXPR_ABS: return is_signed ? vector_binary(e->f, VECTOR_MAX, x, vector_binary(e->f, VECTOR_SUB, zero, x)) : x;
    case EXPR_SIGN: {
        int one = integer(e, 1);
        if (!is_signed)
            return vector_ternary(e->f, VECTOR_SELECT, vector_binary(e->f, VECTOR_EQ, x, zero), zero, one);
        return vector_binary(e->f, VECTOR_MAX, vector_binary(e->f, VECTOR_MIN, x, one), integer(e, -1));
    }
    default: return expr_refuse(e, expr_info[expr->op].name);
    }
}

/* ---- floats ---- */

static int emit_float_unary(ExprEmitter *e, const Expr *expr, int x) {
    const Row *row = row_of(roundings, COUNT(roundings), expr->op);
    if (row)
        return vector_unary(e->f, row->code, x);
    switch (expr->op) {
    case EXPR_SQRT: return vector_unary(e->f, VECTOR_SQRT, x);
    case EXPR_NEG: return vector_binary(e->f, VECTOR_XOR, x, number(e, -0.0));
    case EXPR_ABS: return absolute(e, x);
    case EXPR_ISNAN: return vector_binary(e->f, VECTOR_UNORDERED, x, x);
    case EXPR_ISINF: return vector_binary(e->f, VECTOR_EQ, absolute(e, x), number(e, INFINITY));
    default: break;
    }
    int y = math_emit(e->f, expr->op, x);
    return y >= 0 || e->f->failed ? y : expr_refuse(e, expr_info[expr->op].name);
}

/* Powers that are written for what they are; others of floats by logarithms. */
static int emit_power(ExprEmitter *e, const Expr *expr) {
    double power;
    bool is_float = dtype_kind(expr->type) == KIND_FLOAT, known = expr_known_number(e, expr->arg[1], &power);
    bool plain = known && (power == 1 || power == 2 || power == 3 || (is_float && power == -1));
    if (!plain && (!is_float || wide_type(expr->type)))
        return expr_refuse(e, is_float ? "a function of f64" : "a power of integers");
    int x = expr_emit(e, expr->arg[0]);
    if (e->refused)
        return -1;
    if (!plain) {
        int y = expr_emit(e, expr->arg[1]);
        return e->refused ? -1 : math_pow(e->f, x, y);
    }
    if (power == 1)
        return x;
    if (power == -1)
        return vector_binary(e->f, VECTOR_DIV, vector_const(e->f, wide_type(expr->type) ? DT_F64 : DT_F32, 1), x);
    VectorCode product = e->wide && wide_type(expr->type) && !is_float ? VECTOR_MUL_LONG : VECTOR_MUL;
    int square = vector_binary(e->f, product, x, x);
    return power == 2 ? square : vector_binary(e->f, product, square, x);
}

static int emit_select(ExprEmitter *e, const Expr *expr) {
    int mask = expr_emit(e, expr->arg[0]), yes = expr_emit(e, expr->arg[1]), no = expr_emit(e, expr->arg[2]);
    if (e->refused)
        return -1;
    if (e->wide && wide_type(expr->type))
        return wide_select(e, mask, yes, no);
    if (expr->type != DT_BOOL)
        return vector_ternary(e->f, VECTOR_SELECT, mask, yes, no);
    yes = vector_binary(e->f, VECTOR_MASK_AND, mask, yes);
    return vector_binary(e->f, VECTOR_MASK_OR, yes, vector_binary(e->f, VECTOR_MASK_AND, negate(e, mask), no));
}

/* ---- the whole ---- */

static bool type_served(const ExprEmitter *e, const Expr *expr) {
    switch (expr->type) {
    case DT_F32:
    case DT_F16:
    case DT_BF16:
    case DT_BOOL:
    case DT_S8:
    case DT_U8:
    case DT_S16:
    case DT_U16:
    case DT_S32:
    case DT_U32: return true;
    case DT_S64:
    case DT_U64: return e->wide || fits_32(e->range[expr->id]);
    default: return e->wide && expr->type == DT_F64;
    }
}

/* `1 + exp(x)`, the divisor of sigmoid and its like: x, where nothing else reads the exponential. Rounding it and the sum would
 * cost a ULP more. */
static const Expr *one_and_exp(const ExprEmitter *e, const Expr *expr) {
    double one;
    if (expr->op != EXPR_ADD || expr->type != DT_F32)
        return NULL;
    const Expr *power = expr->arg[expr->arg[0]->op != EXPR_EXP];
    if (power->op != EXPR_EXP || !expr_known_number(e, expr->arg[power == expr->arg[0]], &one) || one != 1)
        return NULL;
    int readers = 0;
    for (int i = 0; i < e->definition->expr_count; i++)
        for (int a = 0; a < 3; a++)
            readers += e->definition->exprs[i]->arg[a] == power;
    return readers == 1 && e->known[power->id] < 0 ? power->arg[0] : NULL;
}

/* Whether 1 / x is a float: then a product with it is the quotient, to the bit. */
static bool is_power_of_two(double x) {
    int exponent;
    return fabs(frexp(x, &exponent)) == 0.5 && exponent > -120 && exponent < 120;
}

static int emit_operation(ExprEmitter *e, const Expr *expr) {
    const Expr *exponent = one_and_exp(e, expr);
    if (exponent) {
        bool negated = exponent->op == EXPR_NEG;
        int x = expr_emit(e, negated ? exponent->arg[0] : exponent);
        return e->refused ? -1 : math_one_and_exp(e->f, x, negated);
    }
    DType type = expr->arg[0]->type;
    int a = expr_emit(e, expr->arg[0]);
    if (e->refused)
        return -1;
    bool wide = e->wide && wide_type(type);
    if (expr->op == EXPR_SHL || expr->op == EXPR_SHR)
        return wide ? wide_shift(e, expr, a) : emit_shift(e, expr, a);
    if (expr_info[expr->op].arity == 1) {
        if (wide)
            return wide_operation(e, expr, a, -1);
        if (type == DT_BOOL)
            return expr->op == EXPR_NOT ? negate(e, a) : expr_refuse(e, "an operation on booleans");
        return dtype_kind(type) == KIND_FLOAT ? emit_float_unary(e, expr, a) : emit_integer_unary(e, expr, a);
    }
    double known;
    bool term = (expr->op == EXPR_ADD || expr->op == EXPR_SUB) && dtype_kind(type) != KIND_FLOAT;
    if (term && expr_known_number(e, expr->arg[1], &known) && known == 0)
        return a;
    if (expr->op == EXPR_DIV && dtype_kind(type) == KIND_FLOAT && !wide && expr_known_number(e, expr->arg[1], &known) &&
        is_power_of_two(known))
        return vector_binary(e->f, VECTOR_MUL, a, number(e, 1 / known));
    int b = expr_emit(e, expr->arg[1]);
    if (e->refused)
        return -1;
    if (wide)
        return wide_operation(e, expr, a, b);
    if (type == DT_BOOL)
        return emit_logic(e, expr, a, b);
    if (row_of(comparisons, COUNT(comparisons), expr->op))
        return emit_compare(e, expr, a, b);
    if (dtype_kind(type) != KIND_FLOAT)
        return emit_integer(e, expr, a, b);
    if (expr->op == EXPR_ATAN2)
        return math_atan2(e->f, a, b);
    if ((expr->op == EXPR_MOD || expr->op == EXPR_FMOD) && e->wide)
        return wide_remainder(e, expr, a, b);
    if (expr->op == EXPR_FLOORDIV)
        return vector_unary(e->f, VECTOR_FLOOR, vector_binary(e->f, VECTOR_DIV, a, b));
    const Row *row = row_of(arithmetic, COUNT(arithmetic), expr->op);
    return row ? apply(e, row, a, b) : expr_refuse(e, expr_info[expr->op].name);
}

/* Does the operation give what its type cannot hold? */
static bool leaves_type(const Expr *expr) {
    switch (expr->op) {
    case EXPR_READ:
    case EXPR_NUMBER:
    case EXPR_SELECT:
    case EXPR_MIN:
    case EXPR_MAX:
    case EXPR_AND:
    case EXPR_OR:
    case EXPR_XOR:
    case EXPR_SIGN:
    case EXPR_FLOOR:
    case EXPR_CEIL:
    case EXPR_TRUNC:
    case EXPR_ROUND:
    case EXPR_FMOD:
    case EXPR_AXIS:
    case EXPR_CAST: return false;
    case EXPR_MOD: return dtype_kind(expr->type) == KIND_FLOAT;
    case EXPR_NEG:
    case EXPR_ABS: return dtype_kind(expr->type) != KIND_FLOAT;
    default: return true;
    }
}

static int emit(ExprEmitter *e, const Expr *expr) {
    double value;
    bool wide = e->wide && wide_type(expr->type);
    switch (expr->op) {
    case EXPR_NUMBER:
        if (wide)
            return wide_number(e, expr);
        return expr_known_number(e, expr, &value) ? emit_number(e, expr->type, value) : -1;
    case EXPR_READ: return expr_known_number(e, expr, &value) ? emit_number(e, expr->type, value) : e->read(e, expr);
    case EXPR_SELECT: return emit_select(e, expr);
    case EXPR_POW: return emit_power(e, expr);
    case EXPR_REDUCE: return expr_refuse(e, "more than one reduction");
    case EXPR_AXIS: return e->axis ? e->axis(e, expr) : expr_refuse(e, "an axis used as a number");
    case EXPR_EXTENT: return expr_refuse(e, "an axis used as a number");
    case EXPR_CAST: {
        if (expr_known_number(e, expr, &value))
            return emit_number(e, expr->type, value);
        int x = e->wide ? -1 : quantize_emit(e, expr);
        if (x >= 0 || e->refused)
            return e->refused ? -1 : x;
        x = expr_emit(e, expr->arg[0]);
        if (e->refused)
            return -1;
        return wide || (e->wide && wide_type(expr->arg[0]->type)) ? wide_cast(e, expr, x) : convert_emit(e, expr, x);
    }
    default: return emit_operation(e, expr);
    }
}

int expr_emit(ExprEmitter *e, const Expr *expr) {
    if (e->refused)
        return -1;
    int *known = &e->known[expr->id];
    if (*known < 0 && e->special)
        *known = e->special(e, expr);
    if (*known < 0 && !e->refused && !type_served(e, expr))
        return expr_refuse(e, "an element type of 64 bits");
    if (*known < 0 && !e->refused) {
        *known = emit(e, expr);
        if (!e->refused && leaves_type(expr) && expr != e->unrounded)
            *known = convert_fit(e, expr->type, *known);
    }
    return *known;
}

int expr_emit_to_store(ExprEmitter *e, const Expr *expr) {
    e->unrounded = !e->wide && (dtype_kind(expr->type) == KIND_FLOAT || expr->op == EXPR_CAST) ? expr : NULL;
    return expr_emit(e, expr);
}
