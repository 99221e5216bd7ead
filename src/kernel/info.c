/* The table of operations and the names of reductions, as data. */
#include "kernel/kernel.h"

/* EXPR_OPS has the names in upper case, for the enum. Here they are in lower case; a test checks that none is missing. */
// clang-format off
#define LOWER_NAMES(X)                                                                                                           \
    X(ADD, add) X(SUB, sub) X(MUL, mul) X(DIV, div) X(FLOORDIV, floordiv) X(MOD, mod) X(FMOD, fmod) X(POW, pow) X(MIN, min)      \
    X(MAX, max) X(ATAN2, atan2) X(EQ, eq) X(NE, ne) X(LT, lt) X(LE, le) X(GT, gt) X(GE, ge) X(AND, and) X(XOR, xor) X(OR, or)    \
    X(SHL, shl) X(SHR, shr) X(NEG, neg) X(NOT, not) X(ABS, abs) X(SIGN, sign) X(FLOOR, floor) X(CEIL, ceil) X(TRUNC, trunc)      \
    X(ROUND, round) X(SQRT, sqrt) X(EXP, exp) X(LOG, log) X(LOG1P, log1p) X(EXPM1, expm1) X(SIN, sin) X(COS, cos) X(TAN, tan)    \
    X(ASIN, asin) X(ACOS, acos) X(ATAN, atan) X(SINH, sinh) X(COSH, cosh) X(TANH, tanh) X(ASINH, asinh) X(ACOSH, acosh)          \
    X(ATANH, atanh) X(ERF, erf) X(ISNAN, isnan) X(ISINF, isinf) X(SELECT, select)
// clang-format on

const ExprInfo expr_info[EXPR_OP_COUNT] = {
#define X(op, text_symbol, text_precedence, text_arity, text_types, text_result, text_flops)                                     \
    [EXPR_##op].symbol = text_symbol, [EXPR_##op].precedence = text_precedence, [EXPR_##op].arity = text_arity,                  \
    [EXPR_##op].types = text_types, [EXPR_##op].result = text_result, [EXPR_##op].flops = text_flops,
    EXPR_OPS(X)
#undef X
#define X(op, text) [EXPR_##op].name = #text,
        LOWER_NAMES(X)
#undef X
};

const char *const reduce_name[REDUCE_COUNT] = {"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"};
