/* Constant folding, by the evaluator's own operations on strips of one element. */
#include <math.h>
#include <string.h>

#include "kernel/bind.h"
#include "kernel/strip.h"

typedef union Element {
    float f32;
    double f64;
    uint64_t bits;
    int8_t s8;
    int16_t s16;
    int32_t s32;
    int64_t s64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
} Element;

static Element to_element(const Expr *number) {
    Element e = {.bits = 0};
    switch (strip_type(number->type)) {
    case DT_F32: e.f32 = (float)number->number; break;
    case DT_F64: e.f64 = number->number; break;
    case DT_S8:
    case DT_U8:
    case DT_BOOL: e.u8 = (uint8_t)number->integer; break;
    case DT_S16:
    case DT_U16: e.u16 = (uint16_t)number->integer; break;
    case DT_S32:
    case DT_U32: e.u32 = (uint32_t)number->integer; break;
    default: e.s64 = number->integer; break;
    }
    return e;
}

static void from_element(Expr *number, Element e) {
    switch (strip_type(number->type)) {
    case DT_F32: number->number = (double)e.f32; break;
    case DT_F64: number->number = e.f64; break;
    case DT_S8: number->integer = e.s8; break;
    case DT_S16: number->integer = e.s16; break;
    case DT_S32: number->integer = e.s32; break;
    case DT_U8:
    case DT_BOOL: number->integer = e.u8; break;
    case DT_U16: number->integer = e.u16; break;
    case DT_U32: number->integer = e.u32; break;
    default: number->integer = e.s64; break;
    }
    number->is_float = dtype_kind(number->type) == KIND_FLOAT;
    if (!number->is_float)
        number->number = number->type == DT_U64 ? (double)(uint64_t)number->integer : (double)number->integer;
    else
        number->integer = 0;
}

Expr *fold_operation(Arena *arena, const Expr *expr) {
    Expr *number = expr_new(arena, EXPR_NUMBER, expr->column);
    if (!number)
        return NULL;
    number->type = expr->type;
    Element in[3] = {{0}}, out = {0};
    for (int i = 0; i < 3 && expr->arg[i]; i++)
        in[i] = to_element(expr->arg[i]);
    DType type = expr->arg[0]->type;
    if (expr->op == EXPR_CAST)
        strip_cast(type, expr->type)(&out, &in[0], 1);
    else if (expr->op == EXPR_SELECT)
        out = in[0].u8 ? in[1] : in[2];
    else if (expr_info[expr->op].arity == 1)
        strip_unary(expr->op, type)(&out, &in[0], 1);
    else
        strip_binary(expr->op, type)(&out, &in[0], &in[1], 1, FORM_VV);
    strip_round(expr->type, &out, 1);
    from_element(number, out);
    return number;
}

/* ---- Literals take a type ---- */

static bool integer_fits(const Expr *number, DType type) {
    int bits = dtype_bits(type);
    bool negative = number->number < 0;
    uint64_t size = negative ? 0 - (uint64_t)number->integer : (uint64_t)number->integer;
    if (dtype_kind(type) == KIND_UNSIGNED)
        return !negative && (bits == 64 || size >> bits == 0);
    return size <= ((uint64_t)1 << (bits - 1)) - !negative;
}

/* A float literal of integral value may stand for an integer: operators' attributes are often floats. */
static bool make_integer(Expr *number) {
    if (!number->is_float)
        return true;
    if (number->number != floor(number->number) || fabs(number->number) >= 9.2e18)
        return false;
    number->integer = (int64_t)number->number;
    number->number = (double)number->integer;
    number->is_float = false;
    return true;
}

bool number_set_type(Expr *number, DType type) {
    if (dtype_kind(type) == KIND_BOOL)
        return false;
    number->type = type;
    if (dtype_kind(type) != KIND_FLOAT)
        return make_integer(number) && integer_fits(number, type);
    Expr source = *number;
    if (!number->is_float) { /* a large integer is rounded once */
        source.type = number->number < 0 ? DT_S64 : DT_U64;
    } else {
        source.type = DT_F64;
    }
    Element in = to_element(&source), out = {0};
    strip_cast(source.type, type)(&out, &in, 1);
    from_element(number, out);
    return true;
}
