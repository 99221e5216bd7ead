/* Instructions for vector code whose registers are known: one function an operation's shape, tables where rows differ in their
 * mnemonic alone. VEX for 32-byte registers, EVEX for 64-byte ones.
 *
 * Any result may share its register with any operand that ends there (unless select.c marked the operation late), so each
 * function reads what it needs before it writes. */
#include "target/x86/encode.h"

#include <string.h>

/* General registers in order of preference: those a call may destroy come first. RAX is the encoder's own, RSP the stack's. */
static const ZydisRegister general[] = {
    ZYDIS_REGISTER_RCX, ZYDIS_REGISTER_RDX, ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_R8,
    ZYDIS_REGISTER_R9,  ZYDIS_REGISTER_R10, ZYDIS_REGISTER_R11, ZYDIS_REGISTER_RBX, ZYDIS_REGISTER_RBP,
    ZYDIS_REGISTER_R12, ZYDIS_REGISTER_R13, ZYDIS_REGISTER_R14, ZYDIS_REGISTER_R15,
};
enum { FIRST_SAVED = 8, ARGUMENTS = 3 /* RDI */ };

X86Operand encode_pool(Encoder *e, const void *data, size_t size) {
    return (X86Operand){.kind = X86_POOL, .size = (unsigned char)size, .number = x86_constant(e->code, data, size)};
}

/* Instructions on general registers and the few vector ones that take no mask. */
void encode_plain(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c) {
    X86Instruction i = {.mnemonic = mnemonic, .operand = {a, b, c}};
    x86_emit(e->code, &i);
}

/* What only EVEX says: masks, 64 bytes, the upper sixteen registers. All else is shorter without. */
static bool needs_evex(const Encoder *e, const X86Instruction *i) {
    bool evex = i->mask;
    for (int k = 0; e->wide && !evex && k < 4; k++) {
        const unsigned vector = (unsigned)i->operand[k].reg - ZYDIS_REGISTER_XMM0; /* then those of 32 bytes, and of 64 */
        const unsigned mask = (unsigned)i->operand[k].reg - ZYDIS_REGISTER_K0;
        evex = i->operand[k].kind == X86_REGISTER && ((vector < 96 && (vector >= 64 || vector & 16)) || mask < 8);
    }
    return e->wide && evex;
}

void encode_masked(Encoder *e, int mnemonic, int mask, bool zeroing, X86Operand a, X86Operand b, X86Operand c, X86Operand d) {
    X86Instruction i = {.mnemonic = mnemonic, .operand = {a, b, c, d}, .mask = mask, .zeroing = zeroing};
    i.evex = needs_evex(e, &i);
    x86_emit(e->code, &i);
}

void encode_bare(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c, X86Operand d) {
    X86Instruction i = {.mnemonic = mnemonic, .operand = {a, b, c, d}, .bare = true};
    i.evex = needs_evex(e, &i);
    x86_emit(e->code, &i);
}

void encode_vector(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c, X86Operand d) {
    encode_masked(e, mnemonic, 0, false, a, b, c, d);
}

/* Where values are. */

/* The general register a value is in. */
static ZydisRegister general_of(const Encoder *e, int value) {
    return general[reg_of(e, value)];
}

static int address_displacement(Encoder *e, const VectorAddress *a) {
    if (a->offset < INT32_MIN || a->offset > INT32_MAX)
        e->code->failed = "an address too far from its pointer";
    return (int)a->offset;
}

X86Operand encode_address(Encoder *e, const VectorAddress *a, int size) {
    X86Operand o = memory_operand(general_of(e, a->base), address_displacement(e, a), size);
    if (a->terms) {
        o.index = (short)general_of(e, a->term[0].index);
        o.scale = (unsigned char)a->term[0].coef;
    }
    return o;
}

/* The bits of a constant's element. */
static size_t element_bits(DType type, double number, unsigned char out[8]) {
    float f = (float)number;
    int64_t i = type == DT_F32 || type == DT_F64 ? 0 : (int64_t)number;
    size_t size = (size_t)bytes_of(type);
    if (type == DT_F64)
        memcpy(out, &number, 8);
    else if (type == DT_F32)
        memcpy(out, &f, 4);
    else
        memcpy(out, &i, size); /* little-endian, like the code */
    return size;
}

static X86Operand constant_operand(Encoder *e, DType type, double number) {
    unsigned char data[VECTOR_MAX_BYTES] = {0};
    size_t size = element_bits(type, number, data);
    if (e->wide) {
        X86Operand o = encode_pool(e, data, size);
        o.broadcast = (unsigned char)(64 / size);
        return o;
    }
    for (size_t at = size; at < 32; at += size)
        memcpy(data + at, data, size);
    return encode_pool(e, data, 32);
}

/* A vector operand: its register, or the memory it is folded from. */
X86Operand encode_operand(Encoder *e, int value) {
    if (!e->selection->none[value])
        return vector_operand(e, reg_of(e, value));
    const VectorOp *op = &e->f->ops[e->f->values[value].op];
    if (op->code == VECTOR_CONST)
        return constant_operand(e, op->type, op->number);
    if (op->code == VECTOR_LOAD)
        return encode_address(e, &op->address, e->f->bytes);
    X86Operand o = encode_address(e, &op->address, bytes_of(op->type));
    o.broadcast = (unsigned char)(e->f->bytes / bytes_of(op->type));
    return o;
}

void encode_move(Encoder *e, X86Operand to, X86Operand from) {
    if (from.kind == X86_REGISTER && from.reg == to.reg)
        return;
    encode_vector(e, from.kind == X86_REGISTER ? ZYDIS_MNEMONIC_VMOVAPS : ZYDIS_MNEMONIC_VMOVUPS, to, from, nothing, nothing);
}

/* Operations whose rows differ in the mnemonic alone, by type. */
#define M(name) ZYDIS_MNEMONIC_##name
enum { OF_F32, OF_F64, OF_S32, OF_S32_WIDE, OF_S16, OF_U16, OF_S8, OF_U8, OF_S64, OF_S64_WIDE, OF_COUNT };
static const struct {
    short mnemonic[OF_COUNT]; /* ZydisMnemonic; 0: there is none */
    bool commutes;
} binaries[VECTOR_OP_COUNT] = {
    // clang-format off
    /* f32, f64, s32, s32 under EVEX, s16, u16, s8, u8, s64, s64 under EVEX */
    [VECTOR_ADD] = {{M(VADDPS), M(VADDPD), M(VPADDD), M(VPADDD), M(VPADDW), M(VPADDW), M(VPADDB), M(VPADDB), M(VPADDQ), M(VPADDQ)}, true},
    [VECTOR_SUB] = {{M(VSUBPS), M(VSUBPD), M(VPSUBD), M(VPSUBD), M(VPSUBW), M(VPSUBW), M(VPSUBB), M(VPSUBB), M(VPSUBQ), M(VPSUBQ)}, false},
    [VECTOR_MUL] = {{M(VMULPS), M(VMULPD), M(VPMULLD), M(VPMULLD), M(VPMULLW), M(VPMULLW), 0, 0}, true},
    [VECTOR_MUL_LONG] = {{0, 0, 0, 0, 0, 0, 0, 0, 0, M(VPMULLQ)}, true},
    [VECTOR_MUL_LOWER] = {{0, 0, 0, 0, 0, 0, 0, 0, M(VPMULUDQ), M(VPMULUDQ)}, true},
    [VECTOR_DIV] = {{M(VDIVPS), M(VDIVPD), 0, 0, 0, 0, 0, 0}, false},
    [VECTOR_MIN] = {{0, 0, M(VPMINSD), M(VPMINSD), M(VPMINSW), M(VPMINUW), M(VPMINSB), M(VPMINUB)}, true},
    [VECTOR_MAX] = {{0, 0, M(VPMAXSD), M(VPMAXSD), M(VPMAXSW), M(VPMAXUW), M(VPMAXSB), M(VPMAXUB)}, true},
    [VECTOR_MIN_OR] = {{M(VMINPS), M(VMINPD), 0, 0, 0, 0, 0, 0}, false},
    [VECTOR_MAX_OR] = {{M(VMAXPS), M(VMAXPD), 0, 0, 0, 0, 0, 0}, false},
    [VECTOR_SCALE] = {{M(VSCALEFPS), M(VSCALEFPD), 0, 0, 0, 0, 0, 0}, false},
    [VECTOR_AND] = {{M(VANDPS), M(VANDPD), M(VPAND), M(VPANDD), 0, 0, 0, 0, M(VPAND), M(VPANDQ)}, true},
    [VECTOR_OR] = {{M(VORPS), M(VORPD), M(VPOR), M(VPORD), 0, 0, 0, 0, M(VPOR), M(VPORQ)}, true},
    [VECTOR_XOR] = {{M(VXORPS), M(VXORPD), M(VPXOR), M(VPXORD), 0, 0, 0, 0, M(VPXOR), M(VPXORQ)}, true},
    [VECTOR_AND_NOT] = {{M(VANDNPS), M(VANDNPD), M(VPANDN), M(VPANDND), 0, 0, 0, 0, M(VPANDN), M(VPANDNQ)}, false},
    [VECTOR_SHL_BY] = {{0, 0, M(VPSLLVD), M(VPSLLVD), 0, 0, 0, 0, M(VPSLLVQ), M(VPSLLVQ)}, false},
    [VECTOR_SHR_BY] = {{0, 0, M(VPSRLVD), M(VPSRLVD), 0, 0, 0, 0, M(VPSRLVQ), M(VPSRLVQ)}, false},
    [VECTOR_SAR_BY] = {{0, 0, M(VPSRAVD), M(VPSRAVD), 0, 0, 0, 0}, false},
    // clang-format on
};
#undef M

static int type_column(const Encoder *e, VectorCode code, DType type) {
    bool bits = code == VECTOR_AND || code == VECTOR_OR || code == VECTOR_XOR || code == VECTOR_AND_NOT;
    if (type == DT_F32 || type == DT_F64)
        return type == DT_F32 ? OF_F32 : OF_F64;
    if (type == DT_S64)
        return e->wide ? OF_S64_WIDE : OF_S64;
    if (type == DT_S32 || bits)
        return e->wide ? OF_S32_WIDE : OF_S32;
    switch (type) {
    case DT_S16: return OF_S16;
    case DT_U16: return OF_U16;
    case DT_S8: return OF_S8;
    case DT_U8: return OF_U8;
    default: return -1;
    }
}

int encode_binary_mnemonic(const Encoder *e, VectorCode code, DType type) {
    int column = type_column(e, code, type);
    return column < 0 ? 0 : binaries[code].mnemonic[column];
}

static void encode_binary(Encoder *e, const VectorOp *op) {
    int a = op->arg[0], b = op->arg[1];
    if (binaries[op->code].commutes && e->selection->none[a]) {
        int swap = a;
        a = b;
        b = swap;
    }
    int mnemonic = encode_binary_mnemonic(e, op->code, op->type);
    if (!mnemonic)
        e->code->failed = vector_info[op->code].name;
    else
        encode_vector(e, mnemonic, result(e, op), encode_operand(e, a), encode_operand(e, b), nothing);
}

/* The three forms of an FMA differ in which operand is overwritten and which may be memory. */
static void encode_fma(Encoder *e, const VectorOp *op) {
    bool negative = op->code == VECTOR_FNMA, is64 = op->type == DT_F64;
    static const ZydisMnemonic forms[2][2][3] = {
        {{ZYDIS_MNEMONIC_VFMADD132PS, ZYDIS_MNEMONIC_VFMADD213PS, ZYDIS_MNEMONIC_VFMADD231PS},
         {ZYDIS_MNEMONIC_VFMADD132PD, ZYDIS_MNEMONIC_VFMADD213PD, ZYDIS_MNEMONIC_VFMADD231PD}},
        {{ZYDIS_MNEMONIC_VFNMADD132PS, ZYDIS_MNEMONIC_VFNMADD213PS, ZYDIS_MNEMONIC_VFNMADD231PS},
         {ZYDIS_MNEMONIC_VFNMADD132PD, ZYDIS_MNEMONIC_VFNMADD213PD, ZYDIS_MNEMONIC_VFNMADD231PD}},
    };
    const ZydisMnemonic *form = forms[negative][is64];
    int a = op->arg[0], b = op->arg[1], c = op->arg[2];
    if (e->selection->none[a] || same_register(e, b, op)) { /* products commute: memory is b, the overwritten factor is a */
        int swap = a;
        a = b;
        b = swap;
    }
    X86Operand to = result(e, op);
    if (e->selection->none[c]) { /* 213: to = to * b + memory */
        if (same_register(e, a, op)) {
            encode_vector(e, form[1], to, encode_operand(e, b), encode_operand(e, c), nothing);
            return;
        }
        encode_move(e, to, encode_operand(e, a));
        encode_vector(e, form[1], to, encode_operand(e, b), encode_operand(e, c), nothing);
    } else if (same_register(e, c, op)) { /* 231: to = a * b + to */
        encode_vector(e, form[2], to, encode_operand(e, a), encode_operand(e, b), nothing);
    } else if (same_register(e, a, op)) {
        if (e->selection->none[b]) /* 132: to = to * memory + c */
            encode_vector(e, form[0], to, encode_operand(e, c), encode_operand(e, b), nothing);
        else /* 213: to = b * to + c */
            encode_vector(e, form[1], to, encode_operand(e, b), encode_operand(e, c), nothing);
    } else {
        encode_move(e, to, encode_operand(e, c));
        encode_vector(e, form[2], to, encode_operand(e, a), encode_operand(e, b), nothing);
    }
}

static void encode_unary(Encoder *e, const VectorOp *op) {
    static const int rounding[] = {9, 10, 11, 8}; /* down, up, towards zero, to even; each without the inexact exception */
    bool is64 = op->type == DT_F64;
    X86Operand from = encode_operand(e, op->arg[0]);
    if (op->code == VECTOR_SQRT) {
        encode_vector(e, is64 ? ZYDIS_MNEMONIC_VSQRTPD : ZYDIS_MNEMONIC_VSQRTPS, result(e, op), from, nothing, nothing);
        return;
    }
    int mnemonic = e->wide ? is64 ? ZYDIS_MNEMONIC_VRNDSCALEPD : ZYDIS_MNEMONIC_VRNDSCALEPS
                   : is64  ? ZYDIS_MNEMONIC_VROUNDPD
                           : ZYDIS_MNEMONIC_VROUNDPS;
    encode_vector(e, mnemonic, result(e, op), from, number_operand(rounding[op->code - VECTOR_FLOOR]), nothing);
}

static void encode_shift(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic shifts[3][3] = {{ZYDIS_MNEMONIC_VPSLLW, ZYDIS_MNEMONIC_VPSRLW, ZYDIS_MNEMONIC_VPSRAW},
                                               {ZYDIS_MNEMONIC_VPSLLD, ZYDIS_MNEMONIC_VPSRLD, ZYDIS_MNEMONIC_VPSRAD},
                                               {ZYDIS_MNEMONIC_VPSLLQ, ZYDIS_MNEMONIC_VPSRLQ}};
    encode_vector(e, shifts[bytes_of(op->type) / 4][op->code - VECTOR_SHL], result(e, op), encode_operand(e, op->arg[0]),
                  number_operand((int64_t)op->number), nothing);
}

/* Even lanes side by side, then twice as wide; and the other way round. */
static void encode_convert_f64(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), half = vector_of(reg_of(e, op->result), e->f->bytes / 2), from = encode_operand(e, op->arg[0]);
    if (op->type == DT_F32) {
        encode_vector(e, ZYDIS_MNEMONIC_VCVTPD2PS, half, from, nothing, nothing);
        encode_vector(e, ZYDIS_MNEMONIC_VPMOVZXDQ, to, half, nothing, nothing);
        return;
    }
    if (e->wide)
        encode_vector(e, ZYDIS_MNEMONIC_VPMOVQD, half, from, nothing, nothing);
    else {
        encode_vector(e, ZYDIS_MNEMONIC_VSHUFPS, to, from, from, number_operand(0x88));
        encode_vector(e, ZYDIS_MNEMONIC_VPERMPD, to, to, number_operand(0xd8), nothing);
    }
    encode_vector(e, ZYDIS_MNEMONIC_VCVTPS2PD, to, half, nothing, nothing);
}

/* AVX-512 alone. */
static void encode_convert_s64(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), half = vector_of(reg_of(e, op->result), e->f->bytes / 2), from = encode_operand(e, op->arg[0]);
    if (!e->wide) {
        e->code->failed = "a conversion of s64";
    } else if (op->type == DT_F64) {
        encode_vector(e, ZYDIS_MNEMONIC_VCVTQQ2PD, to, from, nothing, nothing);
    } else {
        encode_vector(e, ZYDIS_MNEMONIC_VCVTQQ2PS, half, from, nothing, nothing);
        encode_vector(e, ZYDIS_MNEMONIC_VPMOVZXDQ, to, half, nothing, nothing);
    }
}

static void encode_convert(Encoder *e, const VectorOp *op) {
    if (op->from == DT_S64) {
        encode_convert_s64(e, op);
        return;
    }
    if (op->type == DT_F64 || op->from == DT_F64) {
        encode_convert_f64(e, op);
        return;
    }
    int mnemonic = op->type == DT_F32             ? ZYDIS_MNEMONIC_VCVTDQ2PS
                   : op->code == VECTOR_CVT_ROUND ? ZYDIS_MNEMONIC_VCVTPS2DQ
                                                  : ZYDIS_MNEMONIC_VCVTTPS2DQ;
    encode_vector(e, mnemonic, result(e, op), encode_operand(e, op->arg[0]), nothing, nothing);
}

/* To halves and back. */
static void encode_round_to(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), half = vector_of(reg_of(e, op->result), e->wide ? 32 : 16);
    encode_vector(e, ZYDIS_MNEMONIC_VCVTPS2PH, half, encode_operand(e, op->arg[0]), number_operand(0), nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VCVTPH2PS, to, half, nothing, nothing);
}

static void encode_const(Encoder *e, const VectorOp *op) {
    unsigned char bits[8] = {0};
    X86Operand to = result(e, op);
    element_bits(op->type, op->number, bits);
    if (!memcmp(bits, "\0\0\0\0\0\0\0", 8)) {
        encode_vector(e, e->wide ? ZYDIS_MNEMONIC_VPXORD : ZYDIS_MNEMONIC_VXORPS, to, to, to, nothing);
        return;
    }
    X86Operand from = constant_operand(e, op->type, op->number);
    from.broadcast = 0;
    static const ZydisMnemonic splats[] = {ZYDIS_MNEMONIC_VPBROADCASTB, ZYDIS_MNEMONIC_VPBROADCASTW, ZYDIS_MNEMONIC_VBROADCASTSS,
                                           ZYDIS_MNEMONIC_VBROADCASTSD};
    int size = bytes_of(op->type), splat = splats[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
    encode_vector(e, e->wide ? splat : ZYDIS_MNEMONIC_VMOVUPS, to, from, nothing, nothing);
}

/* Masks: k registers under AVX-512, all-ones lanes in vector registers under AVX2. */

static void compare_wide(Encoder *e, const VectorOp *op) {
    static const int floats[] = {0x00, 0x04, 0x11, 0x12, 0x03}; /* EQ ordered, NE unordered, LT, LE quiet, UNORDERED */
    static const int ints[] = {0, 4, 1, 2, 3};
    int a = op->arg[0], b = op->arg[1];
    if (e->selection->none[a]) { /* only what commutes folds its first */
        int swap = a;
        a = b;
        b = swap;
    }
    int which = (int)op->code - VECTOR_EQ;
    int mnemonic = op->type == DT_F32   ? ZYDIS_MNEMONIC_VCMPPS
                   : op->type == DT_F64 ? ZYDIS_MNEMONIC_VCMPPD
                   : op->type == DT_S64 ? ZYDIS_MNEMONIC_VPCMPQ
                                        : ZYDIS_MNEMONIC_VPCMPD;
    X86Operand to = e->wide ? register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)) : result(e, op);
    encode_vector(e, mnemonic, to, encode_operand(e, a), encode_operand(e, b),
                  number_operand(dtype_kind(op->type) != KIND_FLOAT ? ints[which] : floats[which]));
}

static void compare_integers(Encoder *e, const VectorOp *op, int at) {
    X86Operand to = result(e, op), a = encode_operand(e, op->arg[0]), b = encode_operand(e, op->arg[1]);
    bool is64 = op->type == DT_S64;
    int equal = is64 ? ZYDIS_MNEMONIC_VPCMPEQQ : ZYDIS_MNEMONIC_VPCMPEQD;
    int greater = is64 ? ZYDIS_MNEMONIC_VPCMPGTQ : ZYDIS_MNEMONIC_VPCMPGTD;
    if (op->code == VECTOR_EQ) {
        if (e->selection->none[op->arg[0]]) {
            X86Operand swap = a;
            a = b;
            b = swap;
        }
        encode_vector(e, equal, to, a, b, nothing);
        return;
    }
    if (op->code == VECTOR_LT) {
        encode_vector(e, greater, to, b, a, nothing);
        return;
    }
    X86Operand ones = scratch(e, at); /* NE and LE are the opposite of EQ and "greater" */
    encode_vector(e, op->code == VECTOR_NE ? equal : greater, to, a, b, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPCMPEQD, ones, ones, ones, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPXOR, to, to, ones, nothing);
}

static void encode_compare(Encoder *e, const VectorOp *op, int at) {
    if (!e->wide && (op->type == DT_S32 || op->type == DT_S64))
        compare_integers(e, op, at);
    else
        compare_wide(e, op);
}

static void encode_mask_first(Encoder *e, const VectorOp *op) {
    int lanes = (int)op->number, size = bytes_of(op->type);
    if (e->wide) {
        bool many = lanes > 31;
        X86Operand bits = register_operand(many ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX);
        int64_t ones = lanes > 63 ? -1 : (int64_t)((UINT64_C(1) << lanes) - 1);
        encode_plain(e, ZYDIS_MNEMONIC_MOV, bits, number_operand(ones), nothing);
        encode_plain(e, many ? ZYDIS_MNEMONIC_KMOVQ : ZYDIS_MNEMONIC_KMOVD,
                     register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)), bits, nothing);
        return;
    }
    unsigned char bits[32] = {0};
    memset(bits, 0xff, (size_t)lanes * (size_t)size);
    encode_vector(e, ZYDIS_MNEMONIC_VMOVUPS, result(e, op), encode_pool(e, bits, 32), nothing, nothing);
}

static void encode_mask_below(Encoder *e, const VectorOp *op, int at) {
    int size = bytes_of(op->type), lanes = e->f->bytes / size;
    bool quad = size == 8;
    if (size < 4) {
        e->code->failed = "mask_below of lanes of less than 32 bits";
        return;
    }
    int32_t iota[16] = {0};
    for (int i = 0; i < lanes; i++)
        iota[i * size / 4] = i;
    X86Operand rax = register_operand(ZYDIS_REGISTER_RAX),
               count = register_operand(quad ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX);
    X86Operand index = register_operand(general_of(e, op->arg[0])), t = scratch(e, at);
    encode_plain(e, ZYDIS_MNEMONIC_MOV, rax, number_operand(lanes), nothing);
    encode_plain(e, ZYDIS_MNEMONIC_CMP, index, rax, nothing);
    encode_plain(e, ZYDIS_MNEMONIC_CMOVL, rax, index, nothing);
    X86Operand counts = encode_pool(e, iota, (size_t)e->f->bytes);
    int splat = quad ? ZYDIS_MNEMONIC_VPBROADCASTQ : ZYDIS_MNEMONIC_VPBROADCASTD;
    int greater = quad ? ZYDIS_MNEMONIC_VPCMPGTQ : ZYDIS_MNEMONIC_VPCMPGTD;
    if (e->wide) {
        encode_vector(e, splat, t, count, nothing, nothing);
        encode_vector(e, greater, register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)), t, counts, nothing);
        return;
    }
    X86Operand low = vector_of(scratch_register(e, at, 0), 16);
    encode_vector(e, quad ? ZYDIS_MNEMONIC_VMOVQ : ZYDIS_MNEMONIC_VMOVD, low, count, nothing, nothing);
    encode_vector(e, splat, t, low, nothing, nothing);
    encode_vector(e, greater, result(e, op), t, counts, nothing);
}

static void encode_mask_logic(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic k[] = {ZYDIS_MNEMONIC_KANDD, ZYDIS_MNEMONIC_KORD, ZYDIS_MNEMONIC_KXORD};
    static const ZydisMnemonic v[] = {ZYDIS_MNEMONIC_VANDPS, ZYDIS_MNEMONIC_VORPS, ZYDIS_MNEMONIC_VXORPS};
    int which = (int)op->code - VECTOR_MASK_AND;
    if (e->wide)
        encode_plain(e, k[which], register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)),
                     register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->arg[0])),
                     register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->arg[1])));
    else
        encode_vector(e, v[which], result(e, op), encode_operand(e, op->arg[0]), encode_operand(e, op->arg[1]), nothing);
}

static void encode_select(Encoder *e, const VectorOp *op) {
    X86Operand yes = encode_operand(e, op->arg[1]), no = encode_operand(e, op->arg[2]);
    bool is64 = bytes_of(op->type) == 8;
    if (e->wide)
        encode_masked(e, is64 ? ZYDIS_MNEMONIC_VBLENDMPD : ZYDIS_MNEMONIC_VBLENDMPS, mask_of(e, op->arg[0]), false, result(e, op),
                      no, yes, nothing);
    else
        encode_vector(e, is64 ? ZYDIS_MNEMONIC_VBLENDVPD : ZYDIS_MNEMONIC_VBLENDVPS, result(e, op), no, yes,
                      vector_operand(e, reg_of(e, op->arg[0])));
}

static void encode_dot(Encoder *e, const VectorOp *op, int at) {
    bool pairs = op->code == VECTOR_DOT2_SS, vnni = e->features & (e->wide ? FEATURE(AVX512_VNNI) : FEATURE(AVX_VNNI));
    X86Operand to = result(e, op), a = encode_operand(e, op->arg[0]), b = encode_operand(e, op->arg[1]);
    if (pairs && !vnni) {
        X86Operand t = scratch(e, at);
        encode_vector(e, ZYDIS_MNEMONIC_VPMADDWD, t, a, b, nothing);
        encode_vector(e, ZYDIS_MNEMONIC_VPADDD, to, encode_operand(e, op->arg[2]), t, nothing);
        return;
    }
    if (!same_register(e, op->arg[2], op))
        encode_move(e, to, encode_operand(e, op->arg[2]));
    encode_vector(e,
                  pairs                     ? ZYDIS_MNEMONIC_VPDPWSSD
                  : op->code == VECTOR_DOT2 ? ZYDIS_MNEMONIC_VDPBF16PS
                                            : ZYDIS_MNEMONIC_VPDPBUSD,
                  to, a, b, nothing);
}

/* Pointers. */

static void encode_pointer_add(Encoder *e, const VectorOp *op) {
    X86Operand to = register_operand(general_of(e, op->result)), from = register_operand(general_of(e, op->arg[0]));
    int64_t bytes = (int64_t)op->number;
    if (bytes < INT32_MIN || bytes > INT32_MAX) {
        encode_plain(e, ZYDIS_MNEMONIC_MOV, register_operand(ZYDIS_REGISTER_RAX), number_operand(bytes), nothing);
        if (to.reg != from.reg)
            encode_plain(e, ZYDIS_MNEMONIC_MOV, to, from, nothing);
        encode_plain(e, ZYDIS_MNEMONIC_ADD, to, register_operand(ZYDIS_REGISTER_RAX), nothing);
    } else if (to.reg == from.reg)
        encode_plain(e, ZYDIS_MNEMONIC_ADD, to, number_operand(bytes), nothing);
    else
        encode_plain(e, ZYDIS_MNEMONIC_LEA, to, memory_operand(from.reg, bytes, 8), nothing);
}

static void encode_pointer_index(Encoder *e, const VectorOp *op) {
    X86Operand to = register_operand(general_of(e, op->result)), rax = register_operand(ZYDIS_REGISTER_RAX);
    int64_t bytes = (int64_t)op->number;
    if (bytes < INT32_MIN || bytes > INT32_MAX) {
        e->code->failed = "an index scaled too far";
        return;
    }
    encode_plain(e, ZYDIS_MNEMONIC_IMUL, rax, register_operand(general_of(e, op->arg[1])), number_operand(bytes));
    encode_plain(e, ZYDIS_MNEMONIC_ADD, rax, register_operand(general_of(e, op->arg[0])), nothing);
    encode_plain(e, ZYDIS_MNEMONIC_MOV, to, rax, nothing);
}

static void encode_prefetch(Encoder *e, const VectorOp *op) {
    bool far = op->code == VECTOR_PREFETCH_L2;
    encode_plain(e, far ? ZYDIS_MNEMONIC_PREFETCHT1 : ZYDIS_MNEMONIC_PREFETCHT0, encode_address(e, &op->address, 1), nothing,
                 nothing);
}

/* Loops. */

static void emit_move(Encoder *e, VectorMove m) {
    if (m.class == CLASS_TILE)
        e->code->failed = "tiles that change places";
    else if (m.class == CLASS_INDEX)
        encode_plain(e, ZYDIS_MNEMONIC_MOV, register_operand(general[m.to]), register_operand(general[m.from]), nothing);
    else if (m.class == CLASS_VECTOR)
        encode_move(e, vector_operand(e, m.to), vector_operand(e, m.from));
    else
        encode_plain(e, ZYDIS_MNEMONIC_KMOVQ, register_operand(ZYDIS_REGISTER_K1 + m.to),
                     register_operand(ZYDIS_REGISTER_K1 + m.from), nothing);
}

static void emit_swap(Encoder *e, VectorMove m) {
    if (m.class == CLASS_INDEX) {
        encode_plain(e, ZYDIS_MNEMONIC_XCHG, register_operand(general[m.to]), register_operand(general[m.from]), nothing);
        return;
    }
    for (int i = 0; i < 3; i++) { /* a ^= b, b ^= a, a ^= b */
        int to = i == 1 ? m.from : m.to, from = i == 1 ? m.to : m.from;
        X86Operand x = vector_operand(e, to), y = vector_operand(e, from);
        if (m.class == CLASS_VECTOR)
            encode_vector(e, ZYDIS_MNEMONIC_VXORPS, x, x, y, nothing);
        else
            encode_plain(e, ZYDIS_MNEMONIC_KXORQ, register_operand(ZYDIS_REGISTER_K1 + to),
                         register_operand(ZYDIS_REGISTER_K1 + to), register_operand(ZYDIS_REGISTER_K1 + from));
    }
}

/* All at once. */
static void parallel_moves(Encoder *e, const int *to, const int *from, int count) {
    int left;
    VectorMove *moves = vector_moves(e->f, e->at, to, from, count, &left);
    if (!moves)
        e->code->failed = "out of memory";
    for (int i = 0; i < left; i++)
        (moves[i].swap ? emit_swap : emit_move)(e, moves[i]);
}

size_t encode_jump(X86Code *code, int condition) {
    if (condition) {
        x86_byte(code, 0x0f);
        x86_byte(code, condition);
    } else
        x86_byte(code, 0xe9);
    size_t at = code->size;
    for (int i = 0; i < 4; i++)
        x86_byte(code, 0);
    return at;
}

static void encode_loop(Encoder *e, const VectorOp *op, int at) {
    const int *ids = e->f->ids + op->carried;
    parallel_moves(e, ids + op->carry_count, ids, op->carry_count);
    encode_tiles_forget(e);
    X86Operand counter = register_operand(general_of(e, op->result));
    int low = (int)counter.reg - ZYDIS_REGISTER_RAX + ZYDIS_REGISTER_EAX;
    if (op->limit >= 0) {
        encode_plain(e, ZYDIS_MNEMONIC_CMP, register_operand(general_of(e, op->limit)), number_operand(0), nothing);
        e->exit_jump[at] = encode_jump(e->code, JUMP_LESS_EQUAL);
    } else if (op->number <= 0)
        e->exit_jump[at] = encode_jump(e->code, JUMP_ALWAYS);
    encode_plain(e, ZYDIS_MNEMONIC_XOR, register_operand(low), register_operand(low), nothing);
    if (vector_is_innermost(e->f, at))
        x86_align(e->code, 32);
    e->head[at] = e->code->size;
}

static void encode_end(Encoder *e, const VectorOp *op) {
    const VectorOp *head = &e->f->ops[op->other];
    const int *ids = e->f->ids + op->carried, *inside = e->f->ids + head->carried + head->carry_count;
    int count = op->carry_count;
    parallel_moves(e, inside, ids, count);
    encode_tiles_forget(e);
    X86Operand counter = register_operand(general_of(e, head->result));
    X86Operand limit = head->limit >= 0 ? register_operand(general_of(e, head->limit)) : number_operand((int64_t)head->number);
    if (head->limit < 0 && (head->number > INT32_MAX || head->step > INT32_MAX))
        e->code->failed = "a loop of more than 2^31 rounds";
    if (head->limit >= 0 || head->number > (double)head->step) { /* a single round needs no jump */
        encode_plain(e, ZYDIS_MNEMONIC_ADD, counter, number_operand(head->step), nothing);
        encode_plain(e, ZYDIS_MNEMONIC_CMP, counter, limit, nothing);
        x86_patch_jump(e->code, encode_jump(e->code, JUMP_LESS), e->head[op->other]);
    }
    if (e->exit_jump[op->other])
        x86_patch_jump(e->code, e->exit_jump[op->other], e->code->size);
    parallel_moves(e, ids + count, inside, count);
}

/* The whole. */

static void encode_op(Encoder *e, const VectorOp *op, int at) {
    switch (op->code) {
    case VECTOR_CONST: encode_const(e, op); break;
    case VECTOR_LOAD: encode_load(e, op); break;
    case VECTOR_SPLAT: encode_splat(e, op); break;
    case VECTOR_STORE: encode_store(e, op, at); break;
    case VECTOR_STORE_FIRST: encode_store_first(e, op, at); break;
    case VECTOR_GATHER: encode_gather(e, op, at); break;
    case VECTOR_IOTA: encode_iota(e, op); break;
    case VECTOR_PREFETCH:
    case VECTOR_PREFETCH_L2: encode_prefetch(e, op); break;
    case VECTOR_FMA:
    case VECTOR_FNMA: encode_fma(e, op); break;
    case VECTOR_SQRT:
    case VECTOR_FLOOR:
    case VECTOR_CEIL:
    case VECTOR_TRUNC:
    case VECTOR_ROUND: encode_unary(e, op); break;
    case VECTOR_SHL:
    case VECTOR_SHR:
    case VECTOR_SAR: encode_shift(e, op); break;
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND: encode_convert(e, op); break;
    case VECTOR_ROUND_TO: encode_round_to(e, op); break;
    case VECTOR_BITS: encode_move(e, result(e, op), encode_operand(e, op->arg[0])); break;
    case VECTOR_EQ:
    case VECTOR_NE:
    case VECTOR_LT:
    case VECTOR_LE:
    case VECTOR_UNORDERED: encode_compare(e, op, at); break;
    case VECTOR_MASK_FIRST: encode_mask_first(e, op); break;
    case VECTOR_MASK_BELOW: encode_mask_below(e, op, at); break;
    case VECTOR_MASK_AND:
    case VECTOR_MASK_OR:
    case VECTOR_MASK_XOR: encode_mask_logic(e, op); break;
    case VECTOR_SELECT: encode_select(e, op); break;
    case VECTOR_EVEN:
    case VECTOR_ODD: encode_halves(e, op); break;
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH: encode_zip(e, op); break;
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD: encode_blocks(e, op); break;
    case VECTOR_PERMUTE: encode_permute(e, op); break;
    case VECTOR_PICK: encode_pick(e, op); break;
    case VECTOR_LOOKUP: encode_lookup(e, op, at); break;
    case VECTOR_LOOKUP_PAIR: encode_lookup_pair(e, op); break;
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: encode_reduce(e, op, at); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT2: encode_dot(e, op, at); break;
    case VECTOR_TILE_ZERO:
    case VECTOR_TILE_STORE:
    case VECTOR_TILE_DOT2:
    case VECTOR_TILE_DOT4_SS:
    case VECTOR_TILE_DOT4_US:
    case VECTOR_TILE_DOT4_SU:
    case VECTOR_TILE_DOT4_UU: encode_tile(e, op); break;
    case VECTOR_POINTER_ADD: encode_pointer_add(e, op); break;
    case VECTOR_POINTER_INDEX: encode_pointer_index(e, op); break;
    case VECTOR_LOAD_INDEX:
        encode_plain(e, ZYDIS_MNEMONIC_MOV, register_operand(general_of(e, op->result)), encode_address(e, &op->address, 8),
                     nothing);
        break;
    case VECTOR_LOOP: encode_loop(e, op, at); break;
    case VECTOR_END: encode_end(e, op); break;
    default: encode_binary(e, op);
    }
}

static void note(Encoder *e, X86LineKind kind, const VectorOp *op, int64_t number) {
    X86Code *code = e->code;
    if (code->line_count == code->line_capacity &&
        !arena_grow(code->arena, &code->lines, &code->line_capacity, code->line_count + 1, sizeof *code->lines)) {
        code->failed = "out of memory";
        return;
    }
    X86Line *line = &code->lines[code->line_count++];
    *line = (X86Line){.offset = (uint32_t)code->size, .kind = kind, .number = (int32_t)number};
    if (op) {
        line->code = op->code;
        line->type = op->type;
    }
}

static void note_op(Encoder *e, const VectorOp *op) {
    int64_t rounds = 0;
    if (op->code == VECTOR_LOOP)
        rounds = op->limit >= 0 ? -1 : ((int64_t)op->number + op->step - 1) / op->step;
    note(e, X86_LINE_OPERATION, op, rounds > INT32_MAX ? -1 : rounds);
}

static void note_parameter(Encoder *e, int value) {
    X86Code *code = e->code;
    note(e, X86_LINE_PARAMETER, NULL, (int64_t)code->role_count);
    if (!arena_grow(code->arena, &code->roles, &code->role_capacity, code->role_count + 1, sizeof *code->roles))
        code->failed = "out of memory";
    else
        strncat(code->roles[code->role_count++], e->f->values[value].name, sizeof *code->roles - 1);
}

static void load_parameter(Encoder *e, int value) {
    note_parameter(e, value);
    encode_plain(e, ZYDIS_MNEMONIC_MOV, register_operand(general_of(e, value)), memory_operand(ZYDIS_REGISTER_RDI, 8 * value, 8),
                 nothing);
}

static void load_parameters(Encoder *e) {
    int last = -1; /* whoever gets RDI itself */
    for (int v = 0; v < e->f->parameter_count; v++) {
        if (reg_of(e, v) == ARGUMENTS)
            last = v;
        else if (reg_of(e, v) >= 0)
            load_parameter(e, v);
    }
    if (last >= 0)
        load_parameter(e, last);
}

void x86_encode(const CodeLowered *lowered, const Target *target, int function, X86Code *code) {
    const VectorFunction *f = lowered->f;
    Encoder e = {
        .code = code,
        .f = f,
        .selection = &lowered->selection,
        .at = &lowered->at,
        .features = target->features,
        .wide = target->bytes == 64,
    };
    e.exit_jump = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    e.head = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    if (f->arena->failed) {
        code->failed = "out of memory";
        return;
    }
    note(&e, X86_LINE_FUNCTION, NULL, function);
    for (int i = FIRST_SAVED; i < lowered->at.used[CLASS_INDEX]; i++)
        encode_plain(&e, ZYDIS_MNEMONIC_PUSH, register_operand(general[i]), nothing, nothing);
    load_parameters(&e);
    encode_tiles_begin(&e);
    for (int i = 0; i < f->op_count && !code->failed; i++) {
        const VectorOp *op = &f->ops[i];
        bool folded = op->result >= 0 && lowered->selection.none[op->result];
        bool unused = op->result >= 0 && reg_of(&e, op->result) < 0 && op->code != VECTOR_LOOP;
        if (folded || unused)
            continue;
        note_op(&e, op);
        encode_op(&e, op, i);
    }
    note(&e, X86_LINE_RETURN, NULL, 0);
    encode_tiles_end(&e);
    encode_plain(&e, ZYDIS_MNEMONIC_VZEROUPPER, nothing, nothing, nothing);
    for (int i = lowered->at.used[CLASS_INDEX] - 1; i >= FIRST_SAVED; i--)
        encode_plain(&e, ZYDIS_MNEMONIC_POP, register_operand(general[i]), nothing, nothing);
    encode_plain(&e, ZYDIS_MNEMONIC_RET, nothing, nothing, nothing);
}
