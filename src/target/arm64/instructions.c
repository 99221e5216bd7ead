/* The table of instructions at work: words from operands, operands from words, and text. */
#include "target/arm64/arm64.h"

#include <string.h>

/* How an operand is written. */
typedef enum Style {
    GENERAL, /* x3; 31 is xzr */
    WORD,    /* w3; 31 is wzr */
    ADDRESS, /* x3; 31 is sp */
    WORD_SP, /* w3; 31 is wsp */
    VECTOR,  /* v3 */
    QUAD,    /* q3, d3, s3, h3, b3: a part of a vector register */
    DOUBLE,
    SINGLE,
    HALF,
    BYTE,
    SCALABLE,  /* z3 */
    PREDICATE, /* p3 */
    TILE,      /* za3 */
    SLICE,     /* w12 to w15, by 0 to 3 */
    NUMBER,
    CONDITION, /* eq, ne ... */
    FLOAT,     /* a number of 8 bits: sign, exponent, four bits of fraction */
} Style;

/* A field: its bits lie in up to three parts, the highest first. What is stored is number / scale, or `from` - number. */
typedef struct Field {
    Style style;
    struct {
        int low, width;
    } part[3];
    int scale, from;
    bool is_signed;
} Field;

/* Registers are named by where their five bits begin, U and S are numbers of so many bits, E, L lanes; xN: multiples. */
// clang-format off
enum {
    NONE, X0, X5, X16, X10, W0, W5, W16, W5s, X5s, A0, A5, Q0, Q10, D0, D10, S0, H0, B0, V0, V5, V16, Z0, Z5, Z16, V16x4, Z16x3,
    Z16x4, P0, P5, P16, P10, P13, P10x4, T0_2, T0_3, T7_2, T2_2, WS13, U12, U12x2, U12x4, U12x8, U12x16, S9, S7x8, S7x16,
    U16, HW, U6_10, COND0, COND12, REL26, REL19, L1B, L1H, L1S, L1D, SHL3, SHR3, SHL4, SHR4, SHL5, SHR5, SHL6, SHR6, U4_11,
    E_B, E_H, E_S, E_D, I8, F8, F8S, LS, LD, LH, LZ_S, LZ_D, S4, S4x16, S9V, U6, U6x2, U6x4, U6x8, S8, U8_5, S5_5, S5_16,
    S6_5, SE_S, SE_D, X8, U2_5, U2_0
};
static const Field fields[] = {
    [X0] = {.style = GENERAL, .part = {{0, 5}}, .scale = 1},
    [X5] = {.style = GENERAL, .part = {{5, 5}}, .scale = 1},
    [X16] = {.style = GENERAL, .part = {{16, 5}}, .scale = 1},
    [X10] = {.style = GENERAL, .part = {{10, 5}}, .scale = 1},
    [W0] = {.style = WORD, .part = {{0, 5}}, .scale = 1},
    [W16] = {.style = WORD, .part = {{16, 5}}, .scale = 1},
    [W5] = {.style = WORD, .part = {{5, 5}}, .scale = 1},
    [W5s] = {.style = WORD_SP, .part = {{5, 5}}, .scale = 1},
    [X5s] = {.style = ADDRESS, .part = {{5, 5}}, .scale = 1},
    [A0] = {.style = ADDRESS, .part = {{0, 5}}, .scale = 1},
    [A5] = {.style = ADDRESS, .part = {{5, 5}}, .scale = 1},
    [Q0] = {.style = QUAD, .part = {{0, 5}}, .scale = 1},
    [Q10] = {.style = QUAD, .part = {{10, 5}}, .scale = 1},
    [D0] = {.style = DOUBLE, .part = {{0, 5}}, .scale = 1},
    [D10] = {.style = DOUBLE, .part = {{10, 5}}, .scale = 1},
    [S0] = {.style = SINGLE, .part = {{0, 5}}, .scale = 1},
    [H0] = {.style = HALF, .part = {{0, 5}}, .scale = 1},
    [B0] = {.style = BYTE, .part = {{0, 5}}, .scale = 1},
    [V0] = {.style = VECTOR, .part = {{0, 5}}, .scale = 1},
    [V5] = {.style = VECTOR, .part = {{5, 5}}, .scale = 1},
    [V16] = {.style = VECTOR, .part = {{16, 5}}, .scale = 1},
    [Z0] = {.style = SCALABLE, .part = {{0, 5}}, .scale = 1},
    [Z5] = {.style = SCALABLE, .part = {{5, 5}}, .scale = 1},
    [Z16] = {.style = SCALABLE, .part = {{16, 5}}, .scale = 1},
    [V16x4] = {.style = VECTOR, .part = {{16, 4}}, .scale = 1},
    [Z16x3] = {.style = SCALABLE, .part = {{16, 3}}, .scale = 1},
    [Z16x4] = {.style = SCALABLE, .part = {{16, 4}}, .scale = 1},
    [P0] = {.style = PREDICATE, .part = {{0, 4}}, .scale = 1},
    [P5] = {.style = PREDICATE, .part = {{5, 4}}, .scale = 1},
    [P16] = {.style = PREDICATE, .part = {{16, 4}}, .scale = 1},
    [P10] = {.style = PREDICATE, .part = {{10, 3}}, .scale = 1},
    [P13] = {.style = PREDICATE, .part = {{13, 3}}, .scale = 1},
    [P10x4] = {.style = PREDICATE, .part = {{10, 4}}, .scale = 1},
    [T0_2] = {.style = TILE, .part = {{0, 2}}, .scale = 1},
    [T0_3] = {.style = TILE, .part = {{0, 3}}, .scale = 1},
    [T7_2] = {.style = TILE, .part = {{7, 2}}, .scale = 1},
    [T2_2] = {.style = TILE, .part = {{2, 2}}, .scale = 1},
    [WS13] = {.style = SLICE, .part = {{13, 2}}, .scale = 1},
    [U12] = {.style = NUMBER, .part = {{10, 12}}, .scale = 1},
    [U12x2] = {.style = NUMBER, .part = {{10, 12}}, .scale = 2},
    [U12x4] = {.style = NUMBER, .part = {{10, 12}}, .scale = 4},
    [U12x8] = {.style = NUMBER, .part = {{10, 12}}, .scale = 8},
    [U12x16] = {.style = NUMBER, .part = {{10, 12}}, .scale = 16},
    [S9] = {.style = NUMBER, .part = {{12, 9}}, .scale = 1, .is_signed = true},
    [S7x8] = {.style = NUMBER, .part = {{15, 7}}, .scale = 8, .is_signed = true},
    [S7x16] = {.style = NUMBER, .part = {{15, 7}}, .scale = 16, .is_signed = true},
    [U16] = {.style = NUMBER, .part = {{5, 16}}, .scale = 1},
    [HW] = {.style = NUMBER, .part = {{21, 2}}, .scale = 16},
    [U6_10] = {.style = NUMBER, .part = {{10, 6}}, .scale = 1},
    [COND0] = {.style = CONDITION, .part = {{0, 4}}, .scale = 1},
    [COND12] = {.style = CONDITION, .part = {{12, 4}}, .scale = 1},
    [REL26] = {.style = NUMBER, .part = {{0, 26}}, .scale = 4, .is_signed = true},
    [REL19] = {.style = NUMBER, .part = {{5, 19}}, .scale = 4, .is_signed = true},
    [L1B] = {.style = NUMBER, .part = {{30, 1}, {12, 1}, {10, 2}}, .scale = 1},
    [L1H] = {.style = NUMBER, .part = {{30, 1}, {12, 1}, {11, 1}}, .scale = 1},
    [L1S] = {.style = NUMBER, .part = {{30, 1}, {12, 1}}, .scale = 1},
    [L1D] = {.style = NUMBER, .part = {{30, 1}}, .scale = 1},
    [SHL3] = {.style = NUMBER, .part = {{16, 3}}, .scale = 1},
    [SHR3] = {.style = NUMBER, .part = {{16, 3}}, .scale = 1, .from = 8},
    [SHL4] = {.style = NUMBER, .part = {{16, 4}}, .scale = 1},
    [SHR4] = {.style = NUMBER, .part = {{16, 4}}, .scale = 1, .from = 16},
    [SHL5] = {.style = NUMBER, .part = {{16, 5}}, .scale = 1},
    [SHR5] = {.style = NUMBER, .part = {{16, 5}}, .scale = 1, .from = 32},
    [SHL6] = {.style = NUMBER, .part = {{16, 6}}, .scale = 1},
    [SHR6] = {.style = NUMBER, .part = {{16, 6}}, .scale = 1, .from = 64},
    [U4_11] = {.style = NUMBER, .part = {{11, 4}}, .scale = 1},
    [E_B] = {.style = NUMBER, .part = {{17, 4}}, .scale = 1},
    [E_H] = {.style = NUMBER, .part = {{18, 3}}, .scale = 1},
    [E_S] = {.style = NUMBER, .part = {{19, 2}}, .scale = 1},
    [E_D] = {.style = NUMBER, .part = {{20, 1}}, .scale = 1},
    [I8] = {.style = NUMBER, .part = {{16, 3}, {5, 5}}, .scale = 1},
    [F8] = {.style = FLOAT, .part = {{16, 3}, {5, 5}}, .scale = 1},
    [F8S] = {.style = FLOAT, .part = {{5, 8}}, .scale = 1},
    [LS] = {.style = NUMBER, .part = {{11, 1}, {21, 1}}, .scale = 1},
    [LD] = {.style = NUMBER, .part = {{11, 1}}, .scale = 1},
    [LH] = {.style = NUMBER, .part = {{11, 1}, {21, 1}, {20, 1}}, .scale = 1},
    [LZ_S] = {.style = NUMBER, .part = {{19, 2}}, .scale = 1},
    [LZ_D] = {.style = NUMBER, .part = {{20, 1}}, .scale = 1},
    [S4] = {.style = NUMBER, .part = {{16, 4}}, .scale = 1, .is_signed = true},
    [S4x16] = {.style = NUMBER, .part = {{16, 4}}, .scale = 16, .is_signed = true},
    [S9V] = {.style = NUMBER, .part = {{16, 6}, {10, 3}}, .scale = 1, .is_signed = true},
    [U6] = {.style = NUMBER, .part = {{16, 6}}, .scale = 1},
    [U6x2] = {.style = NUMBER, .part = {{16, 6}}, .scale = 2},
    [U6x4] = {.style = NUMBER, .part = {{16, 6}}, .scale = 4},
    [U6x8] = {.style = NUMBER, .part = {{16, 6}}, .scale = 8},
    [S8] = {.style = NUMBER, .part = {{5, 8}}, .scale = 1, .is_signed = true},
    [U8_5] = {.style = NUMBER, .part = {{5, 8}}, .scale = 1},
    [S5_5] = {.style = NUMBER, .part = {{5, 5}}, .scale = 1, .is_signed = true},
    [S5_16] = {.style = NUMBER, .part = {{16, 5}}, .scale = 1, .is_signed = true},
    [S6_5] = {.style = NUMBER, .part = {{5, 6}}, .scale = 1, .is_signed = true},
    [SE_S] = {.style = NUMBER, .part = {{22, 2}, {19, 2}}, .scale = 1},
    [SE_D] = {.style = NUMBER, .part = {{22, 2}, {20, 1}}, .scale = 1},
    [X8] = {.style = NUMBER, .part = {{16, 5}, {10, 3}}, .scale = 1},
    [U2_5] = {.style = NUMBER, .part = {{5, 2}}, .scale = 1},
    [U2_0] = {.style = NUMBER, .part = {{0, 2}}, .scale = 1},
};

static const struct {
    const char *name;
    uint32_t bits;
    const char *text;
    unsigned char field[ARM64_MAX_OPERANDS];
} rows[ARM64_FORM_COUNT] = {
#define X(name, bits, text, ...) {#name, bits, text, {__VA_ARGS__}},
#include "target/arm64/instructions.inc"
#undef X
};
// clang-format on

static uint32_t field_mask(const Field *f) {
    uint32_t mask = 0;
    for (int p = 0; p < 3; p++)
        mask |= ((UINT32_C(1) << f->part[p].width) - 1) << f->part[p].low;
    return mask;
}

static int field_width(const Field *f) {
    return f->part[0].width + f->part[1].width + f->part[2].width;
}

/* False: the number cannot be said. */
static bool field_put(const Field *f, int64_t number, uint32_t *word) {
    int width = field_width(f);
    if (f->from)
        number = f->from - number;
    if (number % f->scale)
        return false;
    number /= f->scale;
    int64_t low = f->is_signed ? -(INT64_C(1) << (width - 1)) : 0, high = low + (INT64_C(1) << width) - 1;
    if (number < low || number > high)
        return false;
    for (int p = 0; p < 3; p++) {
        width -= f->part[p].width;
        uint32_t part = (uint32_t)((uint64_t)number >> width) & ((UINT32_C(1) << f->part[p].width) - 1);
        *word |= part << f->part[p].low;
        if (!width)
            break;
    }
    return true;
}

static int64_t field_get(const Field *f, uint32_t word) {
    int64_t number = 0;
    int width = field_width(f);
    for (int p = 0; p < 3; p++)
        number = number << f->part[p].width | (word >> f->part[p].low & ((UINT32_C(1) << f->part[p].width) - 1));
    if (f->is_signed && number >> (width - 1) & 1)
        number -= INT64_C(1) << width;
    number *= f->scale;
    return f->from ? f->from - number : number;
}

bool arm64_word(Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS], uint32_t *word) {
    *word = rows[form].bits;
    for (int i = 0; i < ARM64_MAX_OPERANDS && rows[form].field[i] != NONE; i++)
        if (!field_put(&fields[rows[form].field[i]], operand[i], word))
            return false;
    return true;
}

uint32_t arm64_fixed_bits(Arm64Form form, uint32_t *mask) {
    *mask = ~UINT32_C(0);
    for (int i = 0; i < ARM64_MAX_OPERANDS && rows[form].field[i] != NONE; i++)
        *mask &= ~field_mask(&fields[rows[form].field[i]]);
    return rows[form].bits;
}

const char *arm64_form_name(Arm64Form form) {
    return rows[form].name;
}

Arm64Form arm64_form_of(uint32_t word, int64_t operand[ARM64_MAX_OPERANDS]) {
    for (Arm64Form form = 0; form < ARM64_FORM_COUNT; form++) {
        uint32_t mask, bits = arm64_fixed_bits(form, &mask);
        if ((word & mask) != bits)
            continue;
        memset(operand, 0, ARM64_MAX_OPERANDS * sizeof *operand);
        for (int i = 0; i < ARM64_MAX_OPERANDS && rows[form].field[i] != NONE; i++)
            operand[i] = field_get(&fields[rows[form].field[i]], word);
        return form;
    }
    return ARM64_FORM_COUNT;
}

/* ---- text ---- */

static double float_of(int64_t bits) {
    int exponent = (int)(bits >> 4 & 3) + (bits >> 6 & 1 ? -3 : 1);
    double fraction = (double)(16 + (bits & 15)) / 16,
           value = exponent < 0 ? fraction / (1 << -exponent) : fraction * (1 << exponent);
    return bits >> 7 & 1 ? -value : value;
}

static void print_operand(const Field *f, int64_t number, Text *out) {
    static const char *const conditions[] = {"eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc",
                                             "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};
    static const char *const prefix[] = {"x", "w", "x", "w", "v", "q", "d", "s", "h", "b", "z", "p", "za"};
    if (f->style <= WORD_SP && number == 31)
        text_put(out, f->style == GENERAL ? "xzr" : f->style == WORD ? "wzr" : f->style == ADDRESS ? "sp" : "wsp");
    else if (f->style <= TILE)
        text_printf(out, "%s%d", prefix[f->style], (int)number);
    else if (f->style == SLICE)
        text_printf(out, "w%d", (int)number + 12);
    else if (f->style == CONDITION)
        text_put(out, conditions[number & 15]);
    else if (f->style == FLOAT)
        text_printf(out, "%.8f", float_of(number));
    else
        text_printf(out, "%lld", (long long)number);
}

void arm64_print_word(Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS], Text *out) {
    for (const char *at = rows[form].text; *at; at++) {
        if (*at == '%') {
            int which = *++at - '0';
            print_operand(&fields[rows[form].field[which]], operand[which], out);
        } else
            text_printf(out, "%c", *at);
    }
}
