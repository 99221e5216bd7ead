/* Loads, splats, stores and gathers, widened and narrowed on the way. Memory types that differ from the register's:
 *
 *     f32 <-> f16 bf16 (written where subnormals may be lost; else rewrite.c makes integers of it), s32 <-> u8 s8 u16 s16 bool,
 * f64 <-> f32, s32 -> f64, s16 <- u8 s8, s64 <-> u8 s8 u16 s16 u32 s32 bool
 *
 * AVX-512 has all of them under masks. AVX2 has masks for lanes of 32 and 64 bits alone: elsewhere lanes are asked for one by
 * one, which only the edges of a tensor pay. */
#include "target/x86/encode.h"

/* What makes lanes of `type` from elements of `from`. */
static const struct {
    DType type, from;
    ZydisMnemonic widen;
} widenings[] = {
    {DT_F32, DT_F16, ZYDIS_MNEMONIC_VCVTPH2PS},  {DT_F32, DT_BF16, ZYDIS_MNEMONIC_VPMOVZXWD},
    {DT_S32, DT_S8, ZYDIS_MNEMONIC_VPMOVSXBD},   {DT_S32, DT_U8, ZYDIS_MNEMONIC_VPMOVZXBD},
    {DT_S32, DT_BOOL, ZYDIS_MNEMONIC_VPMOVZXBD}, {DT_S32, DT_S16, ZYDIS_MNEMONIC_VPMOVSXWD},
    {DT_S32, DT_U16, ZYDIS_MNEMONIC_VPMOVZXWD},  {DT_S16, DT_S8, ZYDIS_MNEMONIC_VPMOVSXBW},
    {DT_S16, DT_U8, ZYDIS_MNEMONIC_VPMOVZXBW},   {DT_F64, DT_F32, ZYDIS_MNEMONIC_VCVTPS2PD},
    {DT_F64, DT_S32, ZYDIS_MNEMONIC_VCVTDQ2PD},  {DT_S64, DT_S8, ZYDIS_MNEMONIC_VPMOVSXBQ},
    {DT_S64, DT_U8, ZYDIS_MNEMONIC_VPMOVZXBQ},   {DT_S64, DT_BOOL, ZYDIS_MNEMONIC_VPMOVZXBQ},
    {DT_S64, DT_S16, ZYDIS_MNEMONIC_VPMOVSXWQ},  {DT_S64, DT_U16, ZYDIS_MNEMONIC_VPMOVZXWQ},
    {DT_S64, DT_S32, ZYDIS_MNEMONIC_VPMOVSXDQ},  {DT_S64, DT_U32, ZYDIS_MNEMONIC_VPMOVZXDQ},
};

static ZydisMnemonic widening(const VectorOp *op) {
    for (size_t i = 0; i < COUNT(widenings); i++)
        if (widenings[i].type == op->type && widenings[i].from == op->from)
            return widenings[i].widen;
    return ZYDIS_MNEMONIC_INVALID;
}

static bool refuse(Encoder *e, const char *what) {
    e->code->failed = what;
    return false;
}

/* `number` lanes behind an address. */
static X86Operand element(Encoder *e, const VectorOp *op, int lane, int size) {
    X86Operand o = encode_address(e, &op->address, size);
    o.number += (int64_t)lane * size;
    return o;
}

/* What comes behind the widening instruction: bf16 are the upper halves of floats. */
static void finish_widening(Encoder *e, const VectorOp *op, X86Operand to) {
    if (op->type == DT_F32 && op->from == DT_BF16)
        encode_vector(e, ZYDIS_MNEMONIC_VPSLLD, to, to, number_operand(16), nothing);
}

static X86Operand al(void) {
    return register_operand(ZYDIS_REGISTER_AL);
}

static X86Operand eax(void) {
    return register_operand(ZYDIS_REGISTER_EAX);
}

/* EAX: the mask's bits. */
static void mask_to_eax(Encoder *e, const VectorOp *op) {
    if (e->wide)
        encode_plain(e, ZYDIS_MNEMONIC_KMOVD, eax(), register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->mask)), nothing);
    else
        encode_vector(e, bytes_of(op->type) == 8 ? ZYDIS_MNEMONIC_VMOVMSKPD : ZYDIS_MNEMONIC_VMOVMSKPS, eax(),
                      vector_operand(e, reg_of(e, op->mask)), nothing, nothing);
}

/* Skips what follows where lane `lane` of the bits in EAX is off; x86_patch_jump ends it. */
static size_t skip_lane(Encoder *e, int lane) {
    if (lane < 8)
        encode_plain(e, ZYDIS_MNEMONIC_TEST, al(), number_operand((int8_t)(1 << lane)), nothing);
    else
        encode_plain(e, ZYDIS_MNEMONIC_TEST, eax(), number_operand(1 << lane), nothing);
    return encode_jump(e->code, JUMP_ZERO);
}

static void end_skip(Encoder *e, size_t jump) {
    x86_patch_jump(e->code, jump, e->code->size);
}

/* One element into lane `lane` of 16 bytes, or out of it. */
static void insert(Encoder *e, X86Operand into, X86Operand from, int lane) {
    ZydisMnemonic m = from.size == 1 ? ZYDIS_MNEMONIC_VPINSRB : from.size == 2 ? ZYDIS_MNEMONIC_VPINSRW : ZYDIS_MNEMONIC_VPINSRD;
    encode_bare(e, m, into, into, from, number_operand(lane));
}

static void extract(Encoder *e, X86Operand to, X86Operand from, int lane) {
    ZydisMnemonic m = to.size == 1 ? ZYDIS_MNEMONIC_VPEXTRB : to.size == 2 ? ZYDIS_MNEMONIC_VPEXTRW : ZYDIS_MNEMONIC_VPEXTRD;
    encode_bare(e, m, to, from, number_operand(lane), nothing);
}

static void clear(Encoder *e, int reg) {
    X86Operand to = vector_operand(e, reg);
    encode_vector(e, e->wide ? ZYDIS_MNEMONIC_VPXORD : ZYDIS_MNEMONIC_VXORPS, to, to, to, nothing);
}

/* ---- loads ---- */

static ZydisMnemonic broadcast(int size) {
    switch (size) {
    case 1: return ZYDIS_MNEMONIC_VPBROADCASTB;
    case 2: return ZYDIS_MNEMONIC_VPBROADCASTW;
    case 4: return ZYDIS_MNEMONIC_VBROADCASTSS;
    default: return ZYDIS_MNEMONIC_VBROADCASTSD;
    }
}

/* The element fills as many bytes as widening reads. */
void encode_splat(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op), from = encode_address(e, &op->address, bytes_of(op->from));
    int bytes = e->f->bytes * bytes_of(op->from) / bytes_of(op->type);
    if (op->from == op->type || op->from == DT_BF16) {
        encode_vector(e, broadcast(bytes_of(op->from)), to, from, nothing, nothing);
        if (op->from != op->type)
            finish_widening(e, op, to);
        return;
    }
    ZydisMnemonic widen = widening(op);
    X86Operand narrow = vector_of(reg_of(e, op->result), bytes < 16 ? 16 : bytes);
    if (!widen) {
        refuse(e, "splat of this memory type");
        return;
    }
    encode_vector(e, broadcast(bytes_of(op->from)), narrow, from, nothing, nothing);
    encode_vector(e, widen, to, narrow, nothing, nothing);
}

static void load_lanes(Encoder *e, const VectorOp *op, ZydisMnemonic widen) {
    X86Operand to = result(e, op), low = vector_of(reg_of(e, op->result), 16);
    int size = bytes_of(op->from);
    mask_to_eax(e, op);
    clear(e, reg_of(e, op->result));
    for (int lane = 0; lane < e->f->bytes / bytes_of(op->type); lane++) {
        size_t skip = skip_lane(e, lane);
        insert(e, low, element(e, op, lane, size), lane);
        end_skip(e, skip);
    }
    encode_vector(e, widen, to, low, nothing, nothing);
    finish_widening(e, op, to);
}

void encode_load(Encoder *e, const VectorOp *op) {
    X86Operand to = result(e, op);
    bool same = op->from == op->type;
    int size = bytes_of(op->type), mask = op->mask;
    X86Operand from = encode_address(e, &op->address, e->f->bytes * bytes_of(op->from) / size);
    ZydisMnemonic m = !same || (mask >= 0 && size < 4) ? widening(op)
                      : size == 8                      ? ZYDIS_MNEMONIC_VMOVUPD
                                                       : ZYDIS_MNEMONIC_VMOVUPS;
    if (same && mask >= 0 && size < 4 && e->wide)
        m = size == 1 ? ZYDIS_MNEMONIC_VMOVDQU8 : ZYDIS_MNEMONIC_VMOVDQU16;
    if (!m || (!e->wide && mask >= 0 && size < 4))
        refuse(e, "load of this memory type");
    else if (e->wide)
        encode_masked(e, m, mask >= 0 ? mask_of(e, mask) : 0, mask >= 0, to, from, nothing, nothing);
    else if (mask < 0)
        encode_vector(e, m, to, from, nothing, nothing);
    else if (same)
        encode_vector(e, size == 8 ? ZYDIS_MNEMONIC_VMASKMOVPD : ZYDIS_MNEMONIC_VMASKMOVPS, to,
                      vector_operand(e, reg_of(e, mask)), from, nothing);
    else {
        load_lanes(e, op, m);
        return;
    }
    finish_widening(e, op, to);
}

/* ---- stores ---- */

/* Under AVX-512 one instruction narrows, into memory too. Those that saturate to unsigned take their operand for unsigned:
 * what is negative must be zero before. */
static ZydisMnemonic narrowing(const VectorOp *op) {
    if (op->type == DT_F32 && op->from == DT_F16)
        return ZYDIS_MNEMONIC_VCVTPS2PH;
    if (op->type == DT_F32 && op->from == DT_BF16)
        return ZYDIS_MNEMONIC_VCVTNEPS2BF16;
    if (op->type == DT_F64 && op->from == DT_F32)
        return ZYDIS_MNEMONIC_VCVTPD2PS;
    if (op->type == DT_S64 && dtype_kind(op->from) != KIND_FLOAT) {
        int size = bytes_of(op->from);
        return size == 1 ? ZYDIS_MNEMONIC_VPMOVQB : size == 2 ? ZYDIS_MNEMONIC_VPMOVQW : ZYDIS_MNEMONIC_VPMOVQD;
    }
    if (op->type != DT_S32)
        return ZYDIS_MNEMONIC_INVALID;
    switch (op->from) {
    case DT_S8: return ZYDIS_MNEMONIC_VPMOVSDB;
    case DT_BOOL:
    case DT_U8: return ZYDIS_MNEMONIC_VPMOVUSDB;
    case DT_S16: return ZYDIS_MNEMONIC_VPMOVSDW;
    case DT_U16: return ZYDIS_MNEMONIC_VPMOVUSDW;
    default: return ZYDIS_MNEMONIC_INVALID;
    }
}

static X86Operand stored(const Encoder *e, const VectorOp *op) {
    return vector_operand(e, reg_of(e, op->arg[0]));
}

/* The value, not negative. */
static X86Operand clamped(Encoder *e, const VectorOp *op, int at) {
    bool is_unsigned = op->type == DT_S32 && (op->from == DT_U8 || op->from == DT_U16 || op->from == DT_BOOL);
    X86Operand value = stored(e, op), t = scratch(e, at);
    if (!is_unsigned)
        return value;
    clear(e, scratch_register(e, at, 0));
    encode_vector(e, ZYDIS_MNEMONIC_VPMAXSD, t, value, t, nothing);
    return t;
}

static X86Operand rounding_operand(const VectorOp *op) {
    return op->from == DT_F16 ? number_operand(0) : nothing; /* to even, whatever the CPU's mode */
}

/* The lower halves of s64, then the lowest bytes of these. */
static void pack_long(Encoder *e, const VectorOp *op, int reg) {
    X86Operand value = stored(e, op), t = vector_of(reg, 32), low = vector_of(reg, 16);
    unsigned char lowest[16] = {0};
    int size = bytes_of(op->from);
    encode_vector(e, ZYDIS_MNEMONIC_VSHUFPS, t, value, value, number_operand(0x88));
    encode_vector(e, ZYDIS_MNEMONIC_VPERMPD, t, t, number_operand(0xd8), nothing);
    if (size == 4)
        return;
    for (int i = 0; i < 4 * size; i++)
        lowest[i] = (unsigned char)(i / size * 4 + i % size);
    encode_vector(e, ZYDIS_MNEMONIC_VPSHUFB, low, low, encode_pool(e, lowest, 16), nothing);
}

/* AVX2 packs within halves: their lower quarters are brought together. */
static void pack(Encoder *e, const VectorOp *op, int reg) {
    X86Operand value = stored(e, op), t = vector_of(reg, 32), low = vector_of(reg, 16);
    if (op->type == DT_S64) {
        pack_long(e, op, reg);
        return;
    }
    if (op->type != DT_S32) {
        encode_vector(e, narrowing(op), low, value, rounding_operand(op), nothing);
        return;
    }
    encode_vector(e, op->from == DT_U16 ? ZYDIS_MNEMONIC_VPACKUSDW : ZYDIS_MNEMONIC_VPACKSSDW, t, value, value, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VPERMQ, t, t, number_operand(8), nothing);
    if (bytes_of(op->from) == 1)
        encode_vector(e, op->from == DT_S8 ? ZYDIS_MNEMONIC_VPACKSSWB : ZYDIS_MNEMONIC_VPACKUSWB, low, low, low, nothing);
}

/* The narrowed lanes side by side in the low bytes of the scratch register. */
static void narrow(Encoder *e, const VectorOp *op, int at) {
    int reg = scratch_register(e, at, 0), bytes = e->f->bytes * bytes_of(op->from) / bytes_of(op->type);
    if (e->wide)
        encode_vector(e, narrowing(op), vector_of(reg, bytes), clamped(e, op, at), rounding_operand(op), nothing);
    else
        pack(e, op, reg);
}

static void store_lanes(Encoder *e, const VectorOp *op, int at) {
    int size = bytes_of(op->from);
    narrow(e, op, at);
    mask_to_eax(e, op);
    for (int lane = 0; lane < e->f->bytes / bytes_of(op->type); lane++) {
        size_t skip = skip_lane(e, lane);
        extract(e, element(e, op, lane, size), vector_of(scratch_register(e, at, 0), 16), lane);
        end_skip(e, skip);
    }
}

static void store_narrow(Encoder *e, const VectorOp *op, int at) {
    int bytes = e->f->bytes * bytes_of(op->from) / bytes_of(op->type), mask = op->mask >= 0 ? mask_of(e, op->mask) : 0;
    X86Operand to = encode_address(e, &op->address, bytes);
    if (!e->wide && op->mask >= 0) {
        store_lanes(e, op, at);
    } else if (op->type == DT_F64 || op->from == DT_BF16) {
        narrow(e, op, at);
        encode_masked(e, op->from == DT_BF16 && mask ? ZYDIS_MNEMONIC_VMOVDQU16 : ZYDIS_MNEMONIC_VMOVUPS, mask, false, to,
                      vector_of(scratch_register(e, at, 0), bytes), nothing, nothing);
    } else if (e->wide || op->from == DT_F16) {
        X86Operand value = e->wide ? clamped(e, op, at) : stored(e, op);
        encode_masked(e, narrowing(op), mask, false, to, value, rounding_operand(op), nothing);
    } else {
        narrow(e, op, at);
        encode_vector(e,
                      bytes == 4   ? ZYDIS_MNEMONIC_VMOVSS
                      : bytes == 8 ? ZYDIS_MNEMONIC_VMOVQ
                                   : ZYDIS_MNEMONIC_VMOVUPS,
                      to, vector_of(scratch_register(e, at, 0), 16), nothing, nothing);
    }
}

/* Lanes that are known to be the first, 16 bytes at most, in pieces: some CPUs take 40 operations for a store under a mask in a
 * vector register. False: the mask is another. */
static bool store_first_lanes(Encoder *e, const VectorOp *op) {
    const int mask = e->f->values[op->mask].op, reg = reg_of(e, op->arg[0]);
    const bool first = mask >= 0 && e->f->ops[mask].code == VECTOR_MASK_FIRST;
    const int64_t bytes = first ? (int64_t)e->f->ops[mask].number * bytes_of(op->type) : 0;
    X86Operand to = encode_address(e, &op->address, bytes == 16 ? 16 : 8);
    if (!bytes || bytes > 16)
        return false;
    if (bytes >= 8)
        encode_vector(e, bytes == 16 ? ZYDIS_MNEMONIC_VMOVUPS : ZYDIS_MNEMONIC_VMOVSD, to, vector_of(reg, 16), nothing, nothing);
    to.size = 4;
    if (bytes == 4)
        encode_vector(e, ZYDIS_MNEMONIC_VMOVSS, to, vector_of(reg, 16), nothing, nothing);
    if (bytes == 12) {
        to.number += 8;
        extract(e, to, vector_of(reg, 16), 2);
    }
    return true;
}

void encode_store(Encoder *e, const VectorOp *op, int at) {
    X86Operand to = encode_address(e, &op->address, e->f->bytes), value = stored(e, op);
    int size = bytes_of(op->type), mask = op->mask;
    if (op->from != op->type && !narrowing(op))
        refuse(e, "store of this memory type");
    else if (op->from != op->type)
        store_narrow(e, op, at);
    else if (mask >= 0 && size < 4 && !e->wide)
        refuse(e, "store of lanes of less than 32 bits under a mask");
    else if (mask >= 0 && size < 4)
        encode_masked(e, size == 1 ? ZYDIS_MNEMONIC_VMOVDQU8 : ZYDIS_MNEMONIC_VMOVDQU16, mask_of(e, mask), false, to, value,
                      nothing, nothing);
    else if (mask >= 0 && !e->wide && store_first_lanes(e, op))
        return;
    else if (mask >= 0 && !e->wide)
        encode_vector(e, size == 8 ? ZYDIS_MNEMONIC_VMASKMOVPD : ZYDIS_MNEMONIC_VMASKMOVPS, to,
                      vector_operand(e, reg_of(e, mask)), value, nothing);
    else
        encode_masked(e, size == 8 ? ZYDIS_MNEMONIC_VMOVUPD : ZYDIS_MNEMONIC_VMOVUPS, mask >= 0 ? mask_of(e, mask) : 0, false, to,
                      value, nothing, nothing);
}

void encode_store_first(Encoder *e, const VectorOp *op, int at) {
    X86Operand to = encode_address(e, &op->address, bytes_of(op->from));
    int reg = reg_of(e, op->arg[0]);
    if (op->from != op->type && !narrowing(op)) {
        refuse(e, "store of this memory type");
        return;
    }
    if (op->from != op->type) {
        narrow(e, op, at);
        reg = scratch_register(e, at, 0);
    }
    if (to.size < 4)
        extract(e, to, vector_of(reg, 16), 0);
    else
        encode_vector(e, to.size == 8 ? ZYDIS_MNEMONIC_VMOVSD : ZYDIS_MNEMONIC_VMOVSS, to, vector_of(reg, 16), nothing, nothing);
}

/* ---- gathers ---- */

enum { GATHER_MASK = 7 /* k7: gathers clear the mask they are given */ };

static bool is_scale(int64_t scale) {
    return scale == 1 || scale == 2 || scale == 4 || scale == 8;
}

/* Lanes of 32 bits: one instruction, with the index times 1, 2, 4 or 8. */
static void gather_words(Encoder *e, const VectorOp *op, int at) {
    X86Operand to = result(e, op), index = vector_operand(e, reg_of(e, op->arg[0]));
    X86Operand from = encode_address(e, &op->address, 4), all = scratch(e, at);
    int64_t scale = (int64_t)op->number;
    if (!is_scale(scale)) {
        X86Operand scaled = vector_operand(e, scratch_register(e, at, 1));
        int32_t factor[16];
        for (int i = 0; i < 16; i++)
            factor[i] = (int32_t)scale;
        encode_vector(e, ZYDIS_MNEMONIC_VPMULLD, scaled, index, encode_pool(e, factor, (size_t)e->f->bytes), nothing);
        index = scaled;
        scale = 1;
    }
    from.index = index.reg;
    from.scale = (unsigned char)scale;
    clear(e, reg_of(e, op->result));
    if (e->wide) {
        X86Operand k = register_operand(ZYDIS_REGISTER_K0 + GATHER_MASK);
        if (op->mask >= 0)
            encode_plain(e, ZYDIS_MNEMONIC_KMOVQ, k, register_operand(ZYDIS_REGISTER_K0 + mask_of(e, op->mask)), nothing);
        else
            encode_plain(e, ZYDIS_MNEMONIC_KXNORW, k, k, k);
        encode_masked(e, ZYDIS_MNEMONIC_VGATHERDPS, GATHER_MASK, false, to, from, nothing, nothing);
        return;
    }
    if (op->mask >= 0)
        encode_move(e, all, vector_operand(e, reg_of(e, op->mask)));
    else
        encode_vector(e, ZYDIS_MNEMONIC_VPCMPEQD, all, all, all, nothing);
    encode_vector(e, ZYDIS_MNEMONIC_VGATHERDPS, to, from, all, nothing);
}

/* The 16 bytes of indices that lane `lane` is in: the register's own, or a copy that is made when the first is asked for. */
static X86Operand index_part(Encoder *e, const VectorOp *op, int at, int lane) {
    X86Operand part = vector_of(scratch_register(e, at, 0), 16);
    if (lane < 4)
        return vector_of(reg_of(e, op->arg[0]), 16);
    if (lane % 4 == 0)
        encode_vector(e, e->wide ? ZYDIS_MNEMONIC_VEXTRACTI32X4 : ZYDIS_MNEMONIC_VEXTRACTI128, part,
                      vector_operand(e, reg_of(e, op->arg[0])), number_operand(lane / 4), nothing);
    return part;
}

/* RAX: lane `lane` of the indices, times the scale that addresses cannot say. */
static void index_to_rax(Encoder *e, const VectorOp *op, X86Operand part, int lane) {
    X86Operand rax = register_operand(ZYDIS_REGISTER_RAX);
    encode_bare(e, ZYDIS_MNEMONIC_VPEXTRD, eax(), part, number_operand(lane % 4), nothing);
    encode_plain(e, ZYDIS_MNEMONIC_MOVSXD, rax, eax(), nothing);
    if (!is_scale((int64_t)op->number))
        encode_plain(e, ZYDIS_MNEMONIC_IMUL, rax, rax, number_operand((int64_t)op->number));
}

/* Narrower elements one by one, 16 bytes in the result and 16 in a scratch register; then they are widened. */
static void gather_elements(Encoder *e, const VectorOp *op, int at, ZydisMnemonic widen) {
    int size = bytes_of(op->from), lanes = e->f->bytes / 4, each = 16 / size;
    X86Operand to = result(e, op), low = vector_of(reg_of(e, op->result), 16), high = vector_of(scratch_register(e, at, 1), 16);
    X86Operand from = encode_address(e, &op->address, size);
    from.index = ZYDIS_REGISTER_RAX;
    from.scale = is_scale((int64_t)op->number) ? (unsigned char)op->number : 1;
    clear(e, reg_of(e, op->result));
    if (lanes > each)
        clear(e, scratch_register(e, at, 1));
    for (int lane = 0; lane < lanes; lane++) {
        X86Operand part = index_part(e, op, at, lane);
        size_t skip = 0;
        if (op->mask >= 0) {
            mask_to_eax(e, op);
            skip = skip_lane(e, lane);
        }
        index_to_rax(e, op, part, lane);
        insert(e, lane < each ? low : high, from, lane % each);
        if (op->mask >= 0)
            end_skip(e, skip);
    }
    if (lanes > each)
        encode_vector(e, ZYDIS_MNEMONIC_VINSERTI32X4, to, to, high, number_operand(1));
    int bytes = lanes * size;
    encode_vector(e, widen, to, vector_of(reg_of(e, op->result), bytes < 16 ? 16 : bytes), nothing, nothing);
    finish_widening(e, op, to);
}

void encode_gather(Encoder *e, const VectorOp *op, int at) {
    ZydisMnemonic widen = widening(op);
    int64_t scale = (int64_t)op->number;
    if (bytes_of(op->type) != 4 || (!widen && op->from != op->type) || scale < INT32_MIN || scale > INT32_MAX)
        refuse(e, "gather of this type");
    else if (op->from == op->type)
        gather_words(e, op, at);
    else
        gather_elements(e, op, at, widen);
}
