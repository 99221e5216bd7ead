/* Instructions for vector code whose registers are known: one function an operation's shape, tables where rows differ in their
 * mnemonic alone. VEX for 32-byte registers, EVEX for 64-byte ones.
 *
 * Any result may share its register with any operand that ends there (unless select.c marked the operation late), so each
 * function reads what it needs before it writes. */
#include "target/x86/x86.h"

#include <Zydis/Zydis.h>
#include <string.h>

typedef struct Encoder {
    X86Code *code;
    const VectorFunction *f;
    const X86Selection *selection;
    const VectorAllocation *at;
    bool wide;
    int function;      /* its number, for listings */
    size_t *exit_jump; /* by operation: where a loop jumps over itself; 0: it does not */
    size_t *head;      /* by operation: the first byte of a loop's body */
} Encoder;

/* General registers in order of preference: those a call may destroy come first. RAX is the encoder's own, RSP the stack's. */
static const ZydisRegister general[] = {
    ZYDIS_REGISTER_RCX, ZYDIS_REGISTER_RDX, ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_R8,
    ZYDIS_REGISTER_R9,  ZYDIS_REGISTER_R10, ZYDIS_REGISTER_R11, ZYDIS_REGISTER_RBX, ZYDIS_REGISTER_RBP,
    ZYDIS_REGISTER_R12, ZYDIS_REGISTER_R13, ZYDIS_REGISTER_R14, ZYDIS_REGISTER_R15,
};
enum { FIRST_SAVED = 8, ARGUMENTS = 3 /* RDI */ };

static X86Operand register_operand(int reg) {
    return (X86Operand){.kind = X86_REGISTER, .reg = reg, .constant = -1};
}

static X86Operand number_operand(int64_t number) {
    return (X86Operand){.kind = X86_IMMEDIATE, .number = number, .constant = -1};
}

static X86Operand memory_operand(int base, int64_t displacement, int size) {
    return (X86Operand){.kind = X86_MEMORY, .reg = base, .number = displacement, .size = size, .constant = -1};
}

static X86Operand pool_operand(Encoder *e, const void *data, size_t size) {
    return (X86Operand){.kind = X86_MEMORY, .size = (int)size, .constant = x86_constant(e->code, data, size)};
}

static X86Operand vector_operand(const Encoder *e, int reg) {
    return register_operand((e->wide ? ZYDIS_REGISTER_ZMM0 : ZYDIS_REGISTER_YMM0) + reg);
}

/* Instructions on general registers and the few vector ones that take no mask. */
static void plain(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c) {
    X86Instruction i = {.mnemonic = mnemonic, .operand = {a, b, c}};
    x86_emit(e->code, &i);
}

static const X86Operand nothing = {.kind = X86_NONE};

static void masked(Encoder *e, int mnemonic, int mask, bool zeroing, X86Operand a, X86Operand b, X86Operand c, X86Operand d) {
    X86Instruction i = {.mnemonic = mnemonic, .operand = {a, b, c, d}, .evex = e->wide, .mask = mask, .zeroing = zeroing};
    x86_emit(e->code, &i);
}

static void vector(Encoder *e, int mnemonic, X86Operand a, X86Operand b, X86Operand c, X86Operand d) {
    masked(e, mnemonic, 0, false, a, b, c, d);
}

/* Where values are. */

static int reg_of(const Encoder *e, int value) {
    return e->at->reg[value];
}

static ZydisRegister general_of(const Encoder *e, int value) {
    return general[reg_of(e, value)];
}

static int mask_of(const Encoder *e, int value) {
    return reg_of(e, value) + 1; /* k0 stands for "all" */
}

static X86Operand scratch(const Encoder *e, int op) {
    return vector_operand(e, e->at->scratch[VECTOR_SCRATCH * op]);
}

static int bytes_of(DType type) {
    return dtype_bits(type) / 8;
}

static int address_displacement(Encoder *e, const VectorAddress *a) {
    if (a->offset < INT32_MIN || a->offset > INT32_MAX)
        e->code->failed = "an address too far from its pointer";
    return (int)a->offset;
}

static X86Operand address_operand(Encoder *e, const VectorAddress *a, int size) {
    X86Operand o = memory_operand(general_of(e, a->base), address_displacement(e, a), size);
    if (a->terms) {
        o.index = general_of(e, a->term[0].index);
        o.scale = (int)a->term[0].coef;
    }
    return o;
}

/* The bits of a constant's element. */
static size_t element_bits(DType type, double number, unsigned char out[8]) {
    float f = (float)number;
    int32_t i = type == DT_F32 || type == DT_F64 ? 0 : (int32_t)number;
    if (type == DT_F64)
        memcpy(out, &number, 8);
    else if (type == DT_F32)
        memcpy(out, &f, 4);
    else
        memcpy(out, &i, 4);
    return type == DT_F64 ? 8 : 4;
}

static X86Operand constant_operand(Encoder *e, DType type, double number) {
    unsigned char data[VECTOR_MAX_BYTES];
    size_t size = element_bits(type, number, data);
    if (e->wide) {
        X86Operand o = pool_operand(e, data, size);
        o.broadcast = (int)(64 / size);
        return o;
    }
    for (size_t at = size; at < 32; at += size)
        memcpy(data + at, data, size);
    return pool_operand(e, data, 32);
}

/* A vector operand: its register, or the memory it is folded from. */
static X86Operand operand(Encoder *e, int value) {
    if (!e->selection->folded[value])
        return vector_operand(e, reg_of(e, value));
    const VectorOp *op = &e->f->ops[e->f->values[value].op];
    if (op->code == VECTOR_CONST)
        return constant_operand(e, op->type, op->number);
    if (op->code == VECTOR_LOAD)
        return address_operand(e, &op->address, e->f->bytes);
    X86Operand o = address_operand(e, &op->address, bytes_of(op->type));
    o.broadcast = e->f->bytes / bytes_of(op->type);
    return o;
}

static X86Operand result(const Encoder *e, const VectorOp *op) {
    return vector_operand(e, reg_of(e, op->result));
}

static bool same_register(const Encoder *e, int value, const VectorOp *op) {
    return !e->selection->folded[value] && reg_of(e, value) == reg_of(e, op->result);
}

static void move_vector(Encoder *e, X86Operand to, X86Operand from) {
    if (from.kind == X86_REGISTER && from.reg == to.reg)
        return;
    vector(e, from.kind == X86_REGISTER ? ZYDIS_MNEMONIC_VMOVAPS : ZYDIS_MNEMONIC_VMOVUPS, to, from, nothing, nothing);
}

/* Operations whose rows differ in the mnemonic alone: f32, f64, s32, and s32 under EVEX. */
static const struct {
    VectorCode code;
    ZydisMnemonic f32, f64, s32, s32_wide;
    bool commutes;
} binaries[] = {
    // clang-format off
    {VECTOR_ADD, ZYDIS_MNEMONIC_VADDPS, ZYDIS_MNEMONIC_VADDPD, ZYDIS_MNEMONIC_VPADDD, ZYDIS_MNEMONIC_VPADDD, true},
    {VECTOR_SUB, ZYDIS_MNEMONIC_VSUBPS, ZYDIS_MNEMONIC_VSUBPD, ZYDIS_MNEMONIC_VPSUBD, ZYDIS_MNEMONIC_VPSUBD, false},
    {VECTOR_MUL, ZYDIS_MNEMONIC_VMULPS, ZYDIS_MNEMONIC_VMULPD, ZYDIS_MNEMONIC_VPMULLD, ZYDIS_MNEMONIC_VPMULLD, true},
    {VECTOR_DIV, ZYDIS_MNEMONIC_VDIVPS, ZYDIS_MNEMONIC_VDIVPD, 0, 0, false},
    {VECTOR_MIN, 0, 0, ZYDIS_MNEMONIC_VPMINSD, ZYDIS_MNEMONIC_VPMINSD, true},
    {VECTOR_MAX, 0, 0, ZYDIS_MNEMONIC_VPMAXSD, ZYDIS_MNEMONIC_VPMAXSD, true},
    {VECTOR_MIN_OR, ZYDIS_MNEMONIC_VMINPS, ZYDIS_MNEMONIC_VMINPD, 0, 0, false},
    {VECTOR_MAX_OR, ZYDIS_MNEMONIC_VMAXPS, ZYDIS_MNEMONIC_VMAXPD, 0, 0, false},
    {VECTOR_SCALE, ZYDIS_MNEMONIC_VSCALEFPS, ZYDIS_MNEMONIC_VSCALEFPD, 0, 0, false},
    {VECTOR_AND, ZYDIS_MNEMONIC_VANDPS, ZYDIS_MNEMONIC_VANDPD, ZYDIS_MNEMONIC_VPAND, ZYDIS_MNEMONIC_VPANDD, true},
    {VECTOR_OR, ZYDIS_MNEMONIC_VORPS, ZYDIS_MNEMONIC_VORPD, ZYDIS_MNEMONIC_VPOR, ZYDIS_MNEMONIC_VPORD, true},
    {VECTOR_XOR, ZYDIS_MNEMONIC_VXORPS, ZYDIS_MNEMONIC_VXORPD, ZYDIS_MNEMONIC_VPXOR, ZYDIS_MNEMONIC_VPXORD, true},
    {VECTOR_AND_NOT, ZYDIS_MNEMONIC_VANDNPS, ZYDIS_MNEMONIC_VANDNPD, ZYDIS_MNEMONIC_VPANDN, ZYDIS_MNEMONIC_VPANDND, false},
    // clang-format on
};

static int binary_row(VectorCode code) {
    for (size_t i = 0; i < COUNT(binaries); i++)
        if (binaries[i].code == code)
            return (int)i;
    return -1;
}

static int binary_mnemonic(const Encoder *e, VectorCode code, DType type) {
    int row = binary_row(code);
    return type == DT_F32   ? binaries[row].f32
           : type == DT_F64 ? binaries[row].f64
           : e->wide        ? binaries[row].s32_wide
                            : binaries[row].s32;
}

static void encode_binary(Encoder *e, const VectorOp *op) {
    int a = op->arg[0], b = op->arg[1];
    if (binaries[binary_row(op->code)].commutes && e->selection->folded[a]) {
        int swap = a;
        a = b;
        b = swap;
    }
    vector(e, binary_mnemonic(e, op->code, op->type), result(e, op), operand(e, a), operand(e, b), nothing);
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
    if (e->selection->folded[a] || same_register(e, b, op)) { /* products commute: memory is b, the overwritten factor is a */
        int swap = a;
        a = b;
        b = swap;
    }
    X86Operand to = result(e, op);
    if (e->selection->folded[c]) { /* 213: to = to * b + memory */
        if (same_register(e, a, op)) {
            vector(e, form[1], to, operand(e, b), operand(e, c), nothing);
            return;
        }
        move_vector(e, to, operand(e, a));
        vector(e, form[1], to, operand(e, b), operand(e, c), nothing);
    } else if (same_register(e, c, op)) { /* 231: to = a * b + to */
        vector(e, form[2], to, operand(e, a), operand(e, b), nothing);
    } else if (same_register(e, a, op)) {
        if (e->selection->folded[b]) /* 132: to = to * memory + c */
            vector(e, form[0], to, operand(e, c), operand(e, b), nothing);
        else /* 213: to = b * to + c */
            vector(e, form[1], to, operand(e, b), operand(e, c), nothing);
    } else {
        move_vector(e, to, operand(e, c));
        vector(e, form[2], to, operand(e, a), operand(e, b), nothing);
    }
}

static void encode_unary(Encoder *e, const VectorOp *op) {
    static const int rounding[] = {9, 10, 11, 8}; /* down, up, towards zero, to even; each without the inexact exception */
    bool is64 = op->type == DT_F64;
    X86Operand from = operand(e, op->arg[0]);
    if (op->code == VECTOR_SQRT) {
        vector(e, is64 ? ZYDIS_MNEMONIC_VSQRTPD : ZYDIS_MNEMONIC_VSQRTPS, result(e, op), from, nothing, nothing);
        return;
    }
    int mnemonic = e->wide ? is64 ? ZYDIS_MNEMONIC_VRNDSCALEPD : ZYDIS_MNEMONIC_VRNDSCALEPS
                   : is64  ? ZYDIS_MNEMONIC_VROUNDPD
                           : ZYDIS_MNEMONIC_VROUNDPS;
    vector(e, mnemonic, result(e, op), from, number_operand(rounding[op->code - VECTOR_FLOOR]), nothing);
}

static void encode_shift(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic shifts[] = {ZYDIS_MNEMONIC_VPSLLD, ZYDIS_MNEMONIC_VPSRLD, ZYDIS_MNEMONIC_VPSRAD};
    vector(e, shifts[op->code - VECTOR_SHL], result(e, op), operand(e, op->arg[0]), number_operand((int64_t)op->number), nothing);
}

static void encode_convert(Encoder *e, const VectorOp *op) {
    int mnemonic = op->type == DT_F32             ? ZYDIS_MNEMONIC_VCVTDQ2PS
                   : op->code == VECTOR_CVT_ROUND ? ZYDIS_MNEMONIC_VCVTPS2DQ
                                                  : ZYDIS_MNEMONIC_VCVTTPS2DQ;
    vector(e, mnemonic, result(e, op), operand(e, op->arg[0]), nothing, nothing);
}

/* To halves and back. */
static void encode_round_to(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op),
               half = register_operand((e->wide ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0) + reg_of(e, op->result));
    vector(e, ZYDIS_MNEMONIC_VCVTPS2PH, half, operand(e, op->arg[0]), number_operand(0), nothing);
    vector(e, ZYDIS_MNEMONIC_VCVTPH2PS, to, half, nothing, nothing);
}

static void encode_const(Encoder *e, const VectorOp *op) {
    unsigned char bits[8] = {0};
    X86Operand to = result(e, op);
    element_bits(op->type, op->number, bits);
    if (!memcmp(bits, "\0\0\0\0\0\0\0", 8)) {
        vector(e, e->wide ? ZYDIS_MNEMONIC_VPXORD : ZYDIS_MNEMONIC_VXORPS, to, to, to, nothing);
        return;
    }
    X86Operand from = constant_operand(e, op->type, op->number);
    from.broadcast = 0;
    int splat = op->type == DT_F64 ? ZYDIS_MNEMONIC_VBROADCASTSD : ZYDIS_MNEMONIC_VBROADCASTSS;
    vector(e, e->wide ? splat : ZYDIS_MNEMONIC_VMOVUPS, to, from, nothing, nothing);
}

/* Memory. */

static void encode_splat(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op);
    if (op->from == op->type) {
        vector(e, op->type == DT_F64 ? ZYDIS_MNEMONIC_VBROADCASTSD : ZYDIS_MNEMONIC_VBROADCASTSS, to,
               address_operand(e, &op->address, bytes_of(op->type)), nothing, nothing);
        return;
    }
    X86Operand from = address_operand(e, &op->address, bytes_of(op->from));
    if (op->type == DT_F32 && op->from == DT_BF16) {
        vector(e, ZYDIS_MNEMONIC_VPBROADCASTW, to, from, nothing, nothing);
        vector(e, ZYDIS_MNEMONIC_VPSLLD, to, to, number_operand(16), nothing);
        return;
    }
    X86Operand wide = register_operand(ZYDIS_REGISTER_EAX);
    bool byte = bytes_of(op->from) == 1, is_signed = dtype_kind(op->from) == KIND_SIGNED;
    if (op->type != DT_S32 || bytes_of(op->from) > 2) {
        e->code->failed = "splat of this memory type";
        return;
    }
    (void)byte;
    plain(e, is_signed ? ZYDIS_MNEMONIC_MOVSX : ZYDIS_MNEMONIC_MOVZX, wide, from, nothing);
    X86Operand low = register_operand(ZYDIS_REGISTER_XMM0 + reg_of(e, op->result));
    X86Instruction move = {.mnemonic = ZYDIS_MNEMONIC_VMOVD, .operand = {low, wide}};
    if (e->wide && reg_of(e, op->result) > 15) {
        vector(e, ZYDIS_MNEMONIC_VPBROADCASTD, to, wide, nothing, nothing);
        return;
    }
    x86_emit(e->code, &move);
    vector(e, ZYDIS_MNEMONIC_VPBROADCASTD, to, low, nothing, nothing);
}

/* Widening loads: what fills a register of `type` is narrower in memory. */
static int widening(DType type, DType from) {
    if (type == DT_F32 && from == DT_F16)
        return ZYDIS_MNEMONIC_VCVTPH2PS;
    if (type == DT_F32 && from == DT_BF16)
        return ZYDIS_MNEMONIC_VPMOVZXWD;
    if (type != DT_S32)
        return 0;
    switch (from) {
    case DT_S8: return ZYDIS_MNEMONIC_VPMOVSXBD;
    case DT_U8:
    case DT_BOOL: return ZYDIS_MNEMONIC_VPMOVZXBD;
    case DT_S16: return ZYDIS_MNEMONIC_VPMOVSXWD;
    case DT_U16: return ZYDIS_MNEMONIC_VPMOVZXWD;
    default: return 0;
    }
}

static void encode_load(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op);
    bool same = bytes_of(op->from) == bytes_of(op->type);
    int mnemonic = same ? ZYDIS_MNEMONIC_VMOVUPS : widening(op->type, op->from);
    X86Operand from = address_operand(e, &op->address, e->f->bytes * bytes_of(op->from) / bytes_of(op->type));
    if (same && bytes_of(op->type) == 8)
        mnemonic = ZYDIS_MNEMONIC_VMOVUPD; /* masks count elements */
    if (!mnemonic || (!e->wide && op->mask >= 0 && !same)) {
        e->code->failed = "load of this memory type";
        return;
    }
    if (op->mask >= 0 && !e->wide)
        vector(e, bytes_of(op->type) == 8 ? ZYDIS_MNEMONIC_VMASKMOVPD : ZYDIS_MNEMONIC_VMASKMOVPS, to,
               vector_operand(e, reg_of(e, op->mask)), from, nothing);
    else
        masked(e, mnemonic, op->mask >= 0 ? mask_of(e, op->mask) : 0, op->mask >= 0, to, from, nothing, nothing);
    if (op->type == DT_F32 && op->from == DT_BF16)
        vector(e, ZYDIS_MNEMONIC_VPSLLD, to, to, number_operand(16), nothing);
}

static void encode_store(Encoder *e, const VectorOp *op) {
    if (op->from != op->type) {
        e->code->failed = "store of this memory type";
        return;
    }
    X86Operand to = address_operand(e, &op->address, e->f->bytes), value = vector_operand(e, reg_of(e, op->arg[0]));
    bool is64 = bytes_of(op->type) == 8;
    if (op->mask >= 0 && !e->wide)
        vector(e, is64 ? ZYDIS_MNEMONIC_VMASKMOVPD : ZYDIS_MNEMONIC_VMASKMOVPS, to, vector_operand(e, reg_of(e, op->mask)), value,
               nothing);
    else
        masked(e, is64 ? ZYDIS_MNEMONIC_VMOVUPD : ZYDIS_MNEMONIC_VMOVUPS, op->mask >= 0 ? mask_of(e, op->mask) : 0, false, to,
               value, nothing, nothing);
}

static void encode_store_first(Encoder *e, const VectorOp *op) {
    bool is64 = bytes_of(op->type) == 8;
    if (op->from != op->type) {
        e->code->failed = "store of this memory type";
        return;
    }
    X86Instruction store = {.mnemonic = is64 ? ZYDIS_MNEMONIC_VMOVSD : ZYDIS_MNEMONIC_VMOVSS,
                            .operand = {address_operand(e, &op->address, bytes_of(op->type)),
                                        register_operand(ZYDIS_REGISTER_XMM0 + reg_of(e, op->arg[0]))},
                            .evex = reg_of(e, op->arg[0]) > 15}; /* the short form reaches sixteen registers */
    x86_emit(e->code, &store);
}

/* Masks: k registers under AVX-512, all-ones lanes in vector registers under AVX2. */

static void compare_wide(Encoder *e, const VectorOp *op) {
    static const int floats[] = {0x00, 0x04, 0x11, 0x12, 0x03}; /* EQ ordered, NE unordered, LT, LE quiet, UNORDERED */
    static const int ints[] = {0, 4, 1, 2, 3};
    int a = op->arg[0], b = op->arg[1];
    if (e->selection->folded[a]) { /* only what commutes folds its first */
        int swap = a;
        a = b;
        b = swap;
    }
    int which = (int)op->code - VECTOR_EQ;
    int mnemonic = op->type == DT_F32   ? ZYDIS_MNEMONIC_VCMPPS
                   : op->type == DT_F64 ? ZYDIS_MNEMONIC_VCMPPD
                                        : ZYDIS_MNEMONIC_VPCMPD;
    X86Operand to = e->wide ? register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)) : result(e, op);
    vector(e, mnemonic, to, operand(e, a), operand(e, b), number_operand(op->type == DT_S32 ? ints[which] : floats[which]));
}

static void compare_integers(Encoder *e, const VectorOp *op, int at) {
    X86Operand to = result(e, op), a = operand(e, op->arg[0]), b = operand(e, op->arg[1]);
    if (op->code == VECTOR_EQ) {
        if (e->selection->folded[op->arg[0]]) {
            X86Operand swap = a;
            a = b;
            b = swap;
        }
        vector(e, ZYDIS_MNEMONIC_VPCMPEQD, to, a, b, nothing);
        return;
    }
    if (op->code == VECTOR_LT) {
        vector(e, ZYDIS_MNEMONIC_VPCMPGTD, to, b, a, nothing);
        return;
    }
    X86Operand ones = scratch(e, at); /* NE and LE are the opposite of EQ and "greater" */
    vector(e, op->code == VECTOR_NE ? ZYDIS_MNEMONIC_VPCMPEQD : ZYDIS_MNEMONIC_VPCMPGTD, to, a, b, nothing);
    vector(e, ZYDIS_MNEMONIC_VPCMPEQD, ones, ones, ones, nothing);
    vector(e, ZYDIS_MNEMONIC_VPXOR, to, to, ones, nothing);
}

static void encode_compare(Encoder *e, const VectorOp *op, int at) {
    if (!e->wide && op->type == DT_S32)
        compare_integers(e, op, at);
    else
        compare_wide(e, op);
}

static void encode_mask_first(Encoder *e, const VectorOp *op) {
    int lanes = (int)op->number, size = bytes_of(op->type);
    if (e->wide) {
        X86Operand eax = register_operand(ZYDIS_REGISTER_EAX);
        plain(e, ZYDIS_MNEMONIC_MOV, eax, number_operand((int64_t)((UINT64_C(1) << lanes) - 1)), nothing);
        plain(e, ZYDIS_MNEMONIC_KMOVD, register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)), eax, nothing);
        return;
    }
    unsigned char bits[32] = {0};
    memset(bits, 0xff, (size_t)lanes * (size_t)size);
    vector(e, ZYDIS_MNEMONIC_VMOVUPS, result(e, op), pool_operand(e, bits, 32), nothing, nothing);
}

static void encode_mask_below(Encoder *e, const VectorOp *op, int at) {
    int lanes = e->f->bytes / bytes_of(op->type);
    if (bytes_of(op->type) != 4) {
        e->code->failed = "mask_below of 64-bit lanes";
        return;
    }
    int32_t iota[16];
    for (int i = 0; i < 16; i++)
        iota[i] = i;
    X86Operand rax = register_operand(ZYDIS_REGISTER_RAX), eax = register_operand(ZYDIS_REGISTER_EAX);
    X86Operand index = register_operand(general_of(e, op->arg[0])), t = scratch(e, at);
    plain(e, ZYDIS_MNEMONIC_MOV, rax, number_operand(lanes), nothing);
    plain(e, ZYDIS_MNEMONIC_CMP, index, rax, nothing);
    plain(e, ZYDIS_MNEMONIC_CMOVL, rax, index, nothing);
    X86Operand counts = pool_operand(e, iota, (size_t)lanes * 4);
    if (e->wide) {
        vector(e, ZYDIS_MNEMONIC_VPBROADCASTD, t, eax, nothing, nothing);
        vector(e, ZYDIS_MNEMONIC_VPCMPGTD, register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)), t, counts, nothing);
        return;
    }
    X86Operand low = register_operand(t.reg - ZYDIS_REGISTER_YMM0 + ZYDIS_REGISTER_XMM0);
    vector(e, ZYDIS_MNEMONIC_VMOVD, low, eax, nothing, nothing);
    vector(e, ZYDIS_MNEMONIC_VPBROADCASTD, t, low, nothing, nothing);
    vector(e, ZYDIS_MNEMONIC_VPCMPGTD, result(e, op), t, counts, nothing);
}

static void encode_mask_logic(Encoder *e, const VectorOp *op) {
    static const ZydisMnemonic k[] = {ZYDIS_MNEMONIC_KANDD, ZYDIS_MNEMONIC_KORD, ZYDIS_MNEMONIC_KXORD};
    static const ZydisMnemonic v[] = {ZYDIS_MNEMONIC_VANDPS, ZYDIS_MNEMONIC_VORPS, ZYDIS_MNEMONIC_VXORPS};
    int which = (int)op->code - VECTOR_MASK_AND;
    if (e->wide)
        plain(e, k[which], register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->result)),
              register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->arg[0])),
              register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->arg[1])));
    else
        vector(e, v[which], result(e, op), operand(e, op->arg[0]), operand(e, op->arg[1]), nothing);
}

static void encode_select(Encoder *e, const VectorOp *op) {
    X86Operand yes = operand(e, op->arg[1]), no = operand(e, op->arg[2]);
    bool is64 = bytes_of(op->type) == 8;
    if (e->wide)
        masked(e, is64 ? ZYDIS_MNEMONIC_VBLENDMPD : ZYDIS_MNEMONIC_VBLENDMPS, mask_of(e, op->arg[0]), false, result(e, op), no,
               yes, nothing);
    else
        vector(e, is64 ? ZYDIS_MNEMONIC_VBLENDVPD : ZYDIS_MNEMONIC_VBLENDVPS, result(e, op), no, yes,
               vector_operand(e, reg_of(e, op->arg[0])));
}

/* AVX-512 has permutes of two registers by a third, which the result takes the place of. In AVX2 a shuffle of each half leaves
 * pairs of lanes in the order 0, 2, 1, 3. */
static void encode_halves(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), a = operand(e, op->arg[0]), b = operand(e, op->arg[1]);
    int odd = op->code == VECTOR_ODD;
    if (bytes_of(op->type) != 4) {
        e->code->failed = "every other lane of 64 bits";
    } else if (e->wide) {
        int32_t lanes[16];
        for (int i = 0; i < 16; i++)
            lanes[i] = 2 * i + odd;
        vector(e, ZYDIS_MNEMONIC_VMOVUPS, to, pool_operand(e, lanes, sizeof lanes), nothing, nothing);
        vector(e, ZYDIS_MNEMONIC_VPERMI2PS, to, a, b, nothing);
    } else {
        vector(e, ZYDIS_MNEMONIC_VSHUFPS, to, a, b, number_operand(odd ? 0xdd : 0x88));
        vector(e, ZYDIS_MNEMONIC_VPERMPD, to, to, number_operand(0xd8), nothing);
    }
}

/* Folds halves onto each other: lane i meets lane i ^ 8, then 4, 2, 1; so every lane ends with the result. */
static void encode_reduce(Encoder *e, const VectorOp *op, int at) {
    VectorCode code = op->code == VECTOR_REDUCE_ADD ? VECTOR_ADD : op->code == VECTOR_REDUCE_MIN ? VECTOR_MIN_OR : VECTOR_MAX_OR;
    if (op->type == DT_S32 && code != VECTOR_ADD)
        code = code == VECTOR_MIN_OR ? VECTOR_MIN : VECTOR_MAX;
    int mnemonic = binary_mnemonic(e, code, op->type);
    X86Operand to = result(e, op), from = operand(e, op->arg[0]), t = scratch(e, at);
    if (e->wide) {
        vector(e, ZYDIS_MNEMONIC_VSHUFF64X2, t, from, from, number_operand(0x4e));
        vector(e, mnemonic, to, from, t, nothing);
        vector(e, ZYDIS_MNEMONIC_VSHUFF64X2, t, to, to, number_operand(0xb1));
    } else
        vector(e, ZYDIS_MNEMONIC_VPERM2F128, t, from, from, number_operand(1));
    vector(e, mnemonic, to, e->wide ? to : from, t, nothing);
    vector(e, ZYDIS_MNEMONIC_VPERMILPD, t, to, number_operand(0x55), nothing);
    vector(e, mnemonic, to, to, t, nothing);
    if (bytes_of(op->type) == 8)
        return;
    vector(e, ZYDIS_MNEMONIC_VPERMILPS, t, to, number_operand(0xb1), nothing);
    vector(e, mnemonic, to, to, t, nothing);
}

static void encode_dot(Encoder *e, const VectorOp *op) {
    int a = op->arg[0], b = op->arg[1];
    X86Operand to = result(e, op);
    if (!same_register(e, op->arg[2], op))
        move_vector(e, to, operand(e, op->arg[2]));
    vector(e, op->code == VECTOR_DOT2 ? ZYDIS_MNEMONIC_VDPBF16PS : ZYDIS_MNEMONIC_VPDPBUSD, to, operand(e, a), operand(e, b),
           nothing);
}

/* Pointers. */

static void encode_pointer_add(Encoder *e, const VectorOp *op) {
    X86Operand to = register_operand(general_of(e, op->result)), from = register_operand(general_of(e, op->arg[0]));
    int64_t bytes = (int64_t)op->number;
    if (bytes < INT32_MIN || bytes > INT32_MAX) {
        plain(e, ZYDIS_MNEMONIC_MOV, register_operand(ZYDIS_REGISTER_RAX), number_operand(bytes), nothing);
        if (to.reg != from.reg)
            plain(e, ZYDIS_MNEMONIC_MOV, to, from, nothing);
        plain(e, ZYDIS_MNEMONIC_ADD, to, register_operand(ZYDIS_REGISTER_RAX), nothing);
    } else if (to.reg == from.reg)
        plain(e, ZYDIS_MNEMONIC_ADD, to, number_operand(bytes), nothing);
    else
        plain(e, ZYDIS_MNEMONIC_LEA, to, memory_operand(from.reg, bytes, 8), nothing);
}

static void encode_pointer_index(Encoder *e, const VectorOp *op) {
    X86Operand to = register_operand(general_of(e, op->result)), rax = register_operand(ZYDIS_REGISTER_RAX);
    int64_t bytes = (int64_t)op->number;
    if (bytes < INT32_MIN || bytes > INT32_MAX) {
        e->code->failed = "an index scaled too far";
        return;
    }
    plain(e, ZYDIS_MNEMONIC_IMUL, rax, register_operand(general_of(e, op->arg[1])), number_operand(bytes));
    plain(e, ZYDIS_MNEMONIC_ADD, rax, register_operand(general_of(e, op->arg[0])), nothing);
    plain(e, ZYDIS_MNEMONIC_MOV, to, rax, nothing);
}

static void encode_prefetch(Encoder *e, const VectorOp *op) {
    plain(e, ZYDIS_MNEMONIC_PREFETCHT0, address_operand(e, &op->address, 1), nothing, nothing);
}

/* Loops. */

typedef struct Move {
    int to, from;
    RegisterClass class;
} Move;

static RegisterClass file_of(const Encoder *e, int value) {
    RegisterClass class = e->f->values[value].class;
    return class == CLASS_POINTER ? CLASS_INDEX : class == CLASS_MASK && !e->wide ? CLASS_VECTOR : class;
}

static void emit_move(Encoder *e, Move m) {
    if (m.class == CLASS_INDEX)
        plain(e, ZYDIS_MNEMONIC_MOV, register_operand(general[m.to]), register_operand(general[m.from]), nothing);
    else if (m.class == CLASS_VECTOR)
        move_vector(e, vector_operand(e, m.to), vector_operand(e, m.from));
    else
        plain(e, ZYDIS_MNEMONIC_KMOVQ, register_operand(ZYDIS_REGISTER_K1 + m.to), register_operand(ZYDIS_REGISTER_K1 + m.from),
              nothing);
}

static void emit_swap(Encoder *e, Move m) {
    if (m.class == CLASS_INDEX) {
        plain(e, ZYDIS_MNEMONIC_XCHG, register_operand(general[m.to]), register_operand(general[m.from]), nothing);
        return;
    }
    for (int i = 0; i < 3; i++) { /* a ^= b, b ^= a, a ^= b */
        int to = i == 1 ? m.from : m.to, from = i == 1 ? m.to : m.from;
        X86Operand x = vector_operand(e, to), y = vector_operand(e, from);
        if (m.class == CLASS_VECTOR)
            vector(e, ZYDIS_MNEMONIC_VXORPS, x, x, y, nothing);
        else
            plain(e, ZYDIS_MNEMONIC_KXORQ, register_operand(ZYDIS_REGISTER_K1 + to), register_operand(ZYDIS_REGISTER_K1 + to),
                  register_operand(ZYDIS_REGISTER_K1 + from));
    }
}

static bool is_source(const Move *moves, int count, Move m) {
    for (int i = 0; i < count; i++)
        if (moves[i].class == m.class && moves[i].from == m.to)
            return true;
    return false;
}

/* All at once: no move may destroy what another still reads. */
static void parallel_moves(Encoder *e, const int *to, const int *from, int count) {
    Move *moves = ARENA_ARRAY(e->f->arena, Move, (size_t)count + 1);
    if (!moves) {
        e->code->failed = "out of memory";
        return;
    }
    int left = 0;
    for (int i = 0; i < count; i++)
        if (reg_of(e, to[i]) >= 0 && reg_of(e, to[i]) != reg_of(e, from[i]))
            moves[left++] = (Move){reg_of(e, to[i]), reg_of(e, from[i]), file_of(e, to[i])};
    while (left) {
        int pick = 0;
        while (pick < left && is_source(moves, left, moves[pick]))
            pick++;
        Move m = moves[pick < left ? pick : 0];
        if (pick < left)
            emit_move(e, m);
        else { /* only cycles are left: swap, and whoever wanted either finds it in the other */
            pick = 0;
            emit_swap(e, m);
            for (int i = 0; i < left; i++) {
                if (moves[i].class == m.class && moves[i].from == m.to)
                    moves[i].from = m.from;
                else if (moves[i].class == m.class && moves[i].from == m.from)
                    moves[i].from = m.to;
            }
        }
        moves[pick] = moves[--left];
        for (int i = 0; i < left; i++)
            if (moves[i].to == moves[i].from)
                moves[i--] = moves[--left];
    }
}

static size_t jump(X86Code *code, int condition) {
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

enum { JUMP_LESS = 0x8c, JUMP_LESS_EQUAL = 0x8e, JUMP_ALWAYS = 0 };

static bool is_innermost(const Encoder *e, int at) {
    for (int i = at + 1; i < e->f->ops[at].other; i++)
        if (e->f->ops[i].code == VECTOR_LOOP)
            return false;
    return true;
}

static void encode_loop(Encoder *e, const VectorOp *op, int at) {
    const int *ids = e->f->ids + op->carried;
    parallel_moves(e, ids + op->carry_count, ids, op->carry_count);
    X86Operand counter = register_operand(general_of(e, op->result));
    int low = (int)counter.reg - ZYDIS_REGISTER_RAX + ZYDIS_REGISTER_EAX;
    if (op->limit >= 0) {
        plain(e, ZYDIS_MNEMONIC_CMP, register_operand(general_of(e, op->limit)), number_operand(0), nothing);
        e->exit_jump[at] = jump(e->code, JUMP_LESS_EQUAL);
    } else if (op->number <= 0)
        e->exit_jump[at] = jump(e->code, JUMP_ALWAYS);
    plain(e, ZYDIS_MNEMONIC_XOR, register_operand(low), register_operand(low), nothing);
    if (is_innermost(e, at))
        x86_align(e->code, 32);
    e->head[at] = e->code->size;
}

static void encode_end(Encoder *e, const VectorOp *op) {
    const VectorOp *head = &e->f->ops[op->other];
    const int *ids = e->f->ids + op->carried, *inside = e->f->ids + head->carried + head->carry_count;
    int count = op->carry_count;
    parallel_moves(e, inside, ids, count);
    X86Operand counter = register_operand(general_of(e, head->result));
    X86Operand limit = head->limit >= 0 ? register_operand(general_of(e, head->limit)) : number_operand((int64_t)head->number);
    if (head->limit < 0 && (head->number > INT32_MAX || head->step > INT32_MAX))
        e->code->failed = "a loop of more than 2^31 rounds";
    if (head->limit >= 0 || head->number > (double)head->step) { /* a single round needs no jump */
        plain(e, ZYDIS_MNEMONIC_ADD, counter, number_operand(head->step), nothing);
        plain(e, ZYDIS_MNEMONIC_CMP, counter, limit, nothing);
        x86_patch_jump(e->code, jump(e->code, JUMP_LESS), e->head[op->other]);
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
    case VECTOR_STORE: encode_store(e, op); break;
    case VECTOR_STORE_FIRST: encode_store_first(e, op); break;
    case VECTOR_PREFETCH: encode_prefetch(e, op); break;
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
    case VECTOR_BITS: move_vector(e, result(e, op), operand(e, op->arg[0])); break;
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
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: encode_reduce(e, op, at); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT2: encode_dot(e, op); break;
    case VECTOR_POINTER_ADD: encode_pointer_add(e, op); break;
    case VECTOR_POINTER_INDEX: encode_pointer_index(e, op); break;
    case VECTOR_LOOP: encode_loop(e, op, at); break;
    case VECTOR_END: encode_end(e, op); break;
    default:
        if (binary_row(op->code) >= 0)
            encode_binary(e, op);
        else
            e->code->failed = vector_info[op->code].name;
    }
}

static void note_line(Encoder *e, X86Line line) {
    X86Code *code = e->code;
    if (!arena_grow(code->arena, &code->lines, &code->line_capacity, code->line_count + 1, sizeof *code->lines)) {
        code->failed = "out of memory";
        return;
    }
    line.offset = (uint32_t)code->size;
    line.function = e->function;
    code->lines[code->line_count++] = line;
}

static void note_op(Encoder *e, const VectorOp *op, int at) {
    X86Line line = {.op = at, .code = op->code, .type = op->type};
    line.rounds = op->limit >= 0 || !op->step ? -1 : ((int64_t)op->number + op->step - 1) / op->step;
    note_line(e, line);
}

static void note_parameter(Encoder *e, int value) {
    X86Line line = {.op = -1};
    strncat(line.role, e->f->values[value].name, sizeof line.role - 1);
    note_line(e, line);
}

static void load_parameter(Encoder *e, int value) {
    note_parameter(e, value);
    plain(e, ZYDIS_MNEMONIC_MOV, register_operand(general_of(e, value)), memory_operand(ZYDIS_REGISTER_RDI, 8 * value, 8),
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

void x86_encode(const VectorFunction *f, const Target *target, const X86Selection *selection, const VectorAllocation *registers,
                int function, X86Code *code) {
    Encoder e = {
        .code = code, .f = f, .selection = selection, .at = registers, .wide = target->bytes == 64, .function = function};
    e.exit_jump = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    e.head = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    if (f->arena->failed) {
        code->failed = "out of memory";
        return;
    }
    note_line(&e, (X86Line){.op = -1});
    for (int i = FIRST_SAVED; i < registers->used[CLASS_INDEX]; i++)
        plain(&e, ZYDIS_MNEMONIC_PUSH, register_operand(general[i]), nothing, nothing);
    load_parameters(&e);
    for (int i = 0; i < f->op_count && !code->failed; i++) {
        const VectorOp *op = &f->ops[i];
        bool folded = op->result >= 0 && selection->folded[op->result];
        bool unused = op->result >= 0 && reg_of(&e, op->result) < 0 && op->code != VECTOR_LOOP;
        if (folded || unused)
            continue;
        note_op(&e, op, i);
        encode_op(&e, op, i);
    }
    note_line(&e, (X86Line){.op = f->op_count, .code = VECTOR_OP_COUNT});
    plain(&e, ZYDIS_MNEMONIC_VZEROUPPER, nothing, nothing, nothing);
    for (int i = registers->used[CLASS_INDEX] - 1; i >= FIRST_SAVED; i--)
        plain(&e, ZYDIS_MNEMONIC_POP, register_operand(general[i]), nothing, nothing);
    plain(&e, ZYDIS_MNEMONIC_RET, nothing, nothing, nothing);
}
