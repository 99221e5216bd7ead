/* Conversions of float types that are storage only. Every narrow format is described by one row and converted by the same two
 * functions; f16 and bf16, which are hot, have code of their own.
 *
 * Formats: IEEE 754-2019 (f16), ONNX documentation "Float stored in 8 bits" (f8), OCP Microscaling 1.0 (f4e2m1, f8e8m0).
 */
#include "base/base.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float bf16_to_f32(uint16_t bits) {
    return float_of((uint32_t)bits << 16);
}

uint16_t f32_to_bf16(float value) {
    uint32_t bits = bits_of(value);
    if (isnan(value))
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    if (rest >= 0x7c00) /* infinities and NaN */
        return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    if (rest < 0x400) /* subnormal: a multiple of 2^-24 */
        return float_of(sign | bits_of((float)rest * 0x1p-24f));
    return float_of(sign | ((rest << 13) + ((127 - 15) << 23)));
}

uint16_t f32_to_f16(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) /* subnormal: adding 0.5 puts 2^-24 at the last bit, and the addition rounds */
        return (uint16_t)(sign | (bits_of(float_of(rest) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((rest + 0xfff + (rest >> 13 & 1) - ((127 - 15) << 23)) >> 13));
}

uint16_t f64_to_f16(double value) {
    float single = (float)value;
    if (isnan(value) || isinf(single) || (double)single == value)
        return f32_to_f16(single);
    /* Round to odd in f32, so that the second rounding cannot meet a tie that was not there. */
    uint32_t bits = bits_of(single);
    bool away = fabs((double)single) > fabs(value);
    if (away)
        bits--; /* truncate towards zero */
    return f32_to_f16(float_of(bits | 1));
}

/* Narrow formats: exponent and mantissa bits, bias, and what the top codes mean. */
typedef enum Specials {
    IEEE,      /* top exponent: infinities and NaN */
    ONE_NAN,   /* all ones is NaN, no infinity */
    UNSIGNED0, /* "fnuz": 0x80 is the only NaN, no infinity, no -0 */
    FINITE     /* every code is a number */
} Specials;

typedef struct Format {
    int exponent, mantissa, bias;
    Specials specials;
} Format;

static Format format_of(DType type) {
    switch (type) {
    case DT_F8E4M3FN: return (Format){4, 3, 7, ONE_NAN};
    case DT_F8E4M3FNUZ: return (Format){4, 3, 8, UNSIGNED0};
    case DT_F8E5M2: return (Format){5, 2, 15, IEEE};
    case DT_F8E5M2FNUZ: return (Format){5, 2, 16, UNSIGNED0};
    default: return (Format){2, 1, 1, FINITE}; /* F4E2M1 */
    }
}

/* A power of two: code 255 is NaN, 0 is 2^-127. */
static float e8m0_to_f32(uint8_t code) {
    return code == 255 ? NAN : ldexpf(1, code - 127);
}

float small_to_f32(DType type, uint8_t code) {
    if (type == DT_F8E8M0)
        return e8m0_to_f32(code);
    Format f = format_of(type);
    int width = f.exponent + f.mantissa, magnitude = code & ((1 << width) - 1), top = (1 << width) - 1;
    bool negative = code >> width & 1;
    int exponent = magnitude >> f.mantissa, mantissa = magnitude & ((1 << f.mantissa) - 1);
    if (f.specials == UNSIGNED0 && negative && magnitude == 0)
        return NAN;
    if (f.specials == ONE_NAN && magnitude == top)
        return NAN;
    if (f.specials == IEEE && exponent == (1 << f.exponent) - 1)
        return mantissa ? NAN : (negative ? -INFINITY : INFINITY);
    float value = exponent ? ldexpf((float)(mantissa + (1 << f.mantissa)), exponent - f.bias - f.mantissa)
                           : ldexpf((float)mantissa, 1 - f.bias - f.mantissa);
    return negative ? -value : value;
}

/* Rounded to the nearest power of two, ties up, as ONNX's reference does; what is below the smallest becomes it. */
static uint8_t f32_to_e8m0(float value, bool saturate) {
    uint32_t bits = bits_of(value) & 0x7fffffff;
    if (bits > 0x7f800000 || value < 0)
        return 255;
    if (bits == 0x7f800000)
        return saturate ? 254 : 255;
    uint32_t code = (bits >> 23) + ((bits >> 22 & 1) && (bits >> 23 || bits & 0x3fffff));
    return code > 254 ? (saturate ? 254 : 255) : (uint8_t)code;
}

uint8_t f32_to_small(DType type, float value, bool saturate) {
    if (type == DT_F8E8M0)
        return f32_to_e8m0(value, saturate);
    Format f = format_of(type);
    int width = f.exponent + f.mantissa, all = (1 << width) - 1;
    uint8_t sign = signbit(value) ? (uint8_t)(1 << width) : 0;
    int infinity = f.specials == IEEE ? ((1 << f.exponent) - 1) << f.mantissa : -1;
    int largest = f.specials == IEEE ? infinity - 1 : f.specials == ONE_NAN ? all - 1 : all;
    uint8_t not_a_number = f.specials == UNSIGNED0 ? (uint8_t)(1 << width) : (uint8_t)(sign | all);
    if (isnan(value))
        return f.specials == FINITE ? sign : not_a_number;
    /* The spacing of codes around the value, then the nearest code. */
    int exponent = 1 - f.bias;
    if (value != 0 && !isinf(value))
        frexpf(value, &exponent);
    exponent = exponent - 1 < 1 - f.bias ? 1 - f.bias : exponent - 1;
    double steps = isinf(value) ? INFINITY : nearbyint(ldexp(fabs((double)value), f.mantissa - exponent));
    double code = steps + (double)(exponent + f.bias - 1) * (1 << f.mantissa);
    if (code > largest) {
        if (saturate || f.specials == FINITE)
            return isinf(value) && f.specials == IEEE && !saturate ? (uint8_t)(sign | infinity) : (uint8_t)(sign | largest);
        return f.specials == IEEE ? (uint8_t)(sign | infinity) : not_a_number;
    }
    if (f.specials == UNSIGNED0 && code == 0)
        return 0;
    return (uint8_t)(sign | (int)code);
}
