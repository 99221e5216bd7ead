/* Strip operations on the eight integer types and bool. Arithmetic wraps around, so it is done in unsigned types; what division
 * by zero and shifts too far give is in the table of kernel.h. */
#include "kernel/strip_loops.h"

/* Does T have a sign, and x a negative value? Written so that compilers do not wonder about unsigned T. */
#define SIGNED(T)      ((T)-1 < (T)1)
#define NEGATIVE(T, x) (SIGNED(T) && (uint64_t)(int64_t)(x) >> 63)

#define INT_POWER(suffix, T, U)                                                                                                  \
    static inline T power_##suffix(T x, T y) {                                                                                   \
        if (NEGATIVE(T, y)) /* 1 / x^-y, towards zero */                                                                         \
            return (T)(x == 1 ? 1 : x == (T)-1 ? (y & 1 ? (T)-1 : 1) : 0);                                                       \
        U result = 1, square = (U)x, left = (U)y;                                                                                \
        for (; left; left = (U)(left >> 1)) {                                                                                    \
            if (left & 1)                                                                                                        \
                result = (U)((uint64_t)result * square);                                                                         \
            square = (U)((uint64_t)square * square);                                                                             \
        }                                                                                                                        \
        return (T)result;                                                                                                        \
    }

#define DIVIDE(T, U, x, y)       ((y) == 0 ? (T)0 : (y) == (T)-1 && SIGNED(T) ? (T)(0 - (U)(x)) : (T)((x) / (y)))
#define REMAINDER(T, x, y)       ((y) == 0 || ((y) == (T)-1 && SIGNED(T)) ? (T)0 : (T)((x) % (y)))
#define FLOOR_DIVIDE(T, U, x, y) ((T)(DIVIDE(T, U, x, y) - (REMAINDER(T, x, y) != 0 && NEGATIVE(T, x) != NEGATIVE(T, y))))
#define FLOOR_REMAINDER(T, x, y)                                                                                                 \
    ((T)(REMAINDER(T, x, y) + (REMAINDER(T, x, y) != 0 && NEGATIVE(T, x) != NEGATIVE(T, y) ? (y) : 0)))

// clang-format off
#define INT_OPS(suffix, T, U)                                                                                                    \
    INT_POWER(suffix, T, U)                                                                                                      \
    BINARY(ADD_##suffix, T, T, (U)((uint64_t)x + (uint64_t)y))                                                                   \
    BINARY(SUB_##suffix, T, T, (U)((uint64_t)x - (uint64_t)y))                                                                   \
    BINARY(MUL_##suffix, T, T, (U)((uint64_t)x * (uint64_t)y))                                                                   \
    BINARY(DIV_##suffix, T, T, DIVIDE(T, U, x, y))                                                                               \
    BINARY(FLOORDIV_##suffix, T, T, FLOOR_DIVIDE(T, U, x, y))                                                                    \
    BINARY(MOD_##suffix, T, T, FLOOR_REMAINDER(T, x, y))                                                                         \
    BINARY(FMOD_##suffix, T, T, REMAINDER(T, x, y))                                                                              \
    BINARY(POW_##suffix, T, T, power_##suffix(x, y))                                                                             \
    BINARY(MIN_##suffix, T, T, x < y ? x : y)                                                                                    \
    BINARY(MAX_##suffix, T, T, x > y ? x : y)                                                                                    \
    BINARY(EQ_##suffix, uint8_t, T, x == y)                                                                                      \
    BINARY(NE_##suffix, uint8_t, T, x != y)                                                                                      \
    BINARY(LT_##suffix, uint8_t, T, x < y)                                                                                       \
    BINARY(LE_##suffix, uint8_t, T, x <= y)                                                                                      \
    BINARY(GT_##suffix, uint8_t, T, x > y)                                                                                       \
    BINARY(GE_##suffix, uint8_t, T, x >= y)                                                                                      \
    BINARY(AND_##suffix, T, T, x & y)                                                                                            \
    BINARY(XOR_##suffix, T, T, x ^ y)                                                                                            \
    BINARY(OR_##suffix, T, T, x | y)                                                                                             \
    BINARY(SHL_##suffix, T, T, (U)y >= 8 * sizeof(T) ? (U)0 : (U)((uint64_t)(U)x << (U)y))                                       \
    BINARY(SHR_##suffix, T, T, (U)y >= 8 * sizeof(T) ? (NEGATIVE(T, x) ? (T)-1 : (T)0) : (T)(x >> (U)y))                                  \
    UNARY(NEG_##suffix, T, T, (U)(0 - (uint64_t)x))                                                                              \
    UNARY(NOT_##suffix, T, T, (T)~x)                                                                                             \
    UNARY(ABS_##suffix, T, T, NEGATIVE(T, x) ? (T)(U)(0 - (uint64_t)x) : x)                                                               \
    UNARY(SIGN_##suffix, T, T, (x > 0) - NEGATIVE(T, x))

INT_OPS(s8, int8_t, uint8_t)
INT_OPS(s16, int16_t, uint16_t)
INT_OPS(s32, int32_t, uint32_t)
INT_OPS(s64, int64_t, uint64_t)
INT_OPS(u8, uint8_t, uint8_t)
INT_OPS(u16, uint16_t, uint16_t)
INT_OPS(u32, uint32_t, uint32_t)
INT_OPS(u64, uint64_t, uint64_t)
UNARY(not_bool, uint8_t, uint8_t, !x)

#define BINARY_NAMES(X)                                                                                                          \
    X(ADD) X(SUB) X(MUL) X(DIV) X(FLOORDIV) X(MOD) X(FMOD) X(POW) X(MIN) X(MAX) X(EQ) X(NE) X(LT) X(LE) X(GT) X(GE)              \
    X(AND) X(XOR) X(OR) X(SHL) X(SHR)
#define UNARY_NAMES(X) X(NEG) X(NOT) X(ABS) X(SIGN)
// clang-format on

enum { COLUMNS = 8 };

/* Columns of the tables below; bool shares u8's comparisons and bitwise operations, as its elements are 0 and 1. */
static int column(DType type) {
    switch (type) {
    case DT_S8: return 0;
    case DT_S16: return 1;
    case DT_S32: return 2;
    case DT_S64: return 3;
    case DT_U8:
    case DT_BOOL: return 4;
    case DT_U16: return 5;
    case DT_U32: return 6;
    default: return 7;
    }
}

#define X(op) [EXPR_##op] = {op##_s8, op##_s16, op##_s32, op##_s64, op##_u8, op##_u16, op##_u32, op##_u64},

StripUnary strip_int_unary(ExprOp op, DType type) {
    static const StripUnary table[EXPR_OP_COUNT][COLUMNS] = {UNARY_NAMES(X)};
    return type == DT_BOOL && op == EXPR_NOT ? not_bool : table[op][column(type)];
}

StripBinary strip_int_binary(ExprOp op, DType type) {
    static const StripBinary table[EXPR_OP_COUNT][COLUMNS] = {BINARY_NAMES(X)};
    return table[op][column(type)];
}
