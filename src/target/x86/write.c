/* Instructions to bytes, by a table: the forms that code is made of, a few nanoseconds each. What it does not list goes the long
 * way, through Zydis (emit.c), against which emit_test holds every row byte for byte.
 *
 * A vector instruction is a prefix (VEX, or EVEX where it says more), an opcode and ModRM. The prefix names the opcode's map, a
 * legacy prefix it stands for (pp), a bit W, the vector's length and the upper bits of register numbers. */
#include "target/x86/x86.h"

#include <Zydis/Zydis.h>
#include <string.h>

/* One row a mnemonic:
 *   order   where each operand goes: r ModRM's reg, b ModRM's r/m (the only one that may be memory), v the prefix, 4 the last
 * byte map     of opcodes: 1 0F, 2 0F38, 3 0F3A pp      0 none, 1 66, 2 F3, 3 F2 store   the opcode where the first operand is
 * memory and the order begins with r: r and b change places then ext     what stands in ModRM's reg where no operand does vex_w,
 * evex_w  W in either prefix; -1: the instruction has no such encoding An immediate comes last. */
// clang-format off
/*      mnemonic        order  map pp opcode store ext vex_w evex_w */
#define X86_FORMS(ROW) \
    ROW(VADDPS,         "rvb",  1, 0, 0x58,    0, 0,  0,  0)                   \
    ROW(VADDPD,         "rvb",  1, 1, 0x58,    0, 0,  0,  1)                   \
    ROW(VSUBPS,         "rvb",  1, 0, 0x5c,    0, 0,  0,  0)                   \
    ROW(VSUBPD,         "rvb",  1, 1, 0x5c,    0, 0,  0,  1)                   \
    ROW(VMULPS,         "rvb",  1, 0, 0x59,    0, 0,  0,  0)                   \
    ROW(VMULPD,         "rvb",  1, 1, 0x59,    0, 0,  0,  1)                   \
    ROW(VDIVPS,         "rvb",  1, 0, 0x5e,    0, 0,  0,  0)                   \
    ROW(VDIVPD,         "rvb",  1, 1, 0x5e,    0, 0,  0,  1)                   \
    ROW(VMINPS,         "rvb",  1, 0, 0x5d,    0, 0,  0,  0)                   \
    ROW(VMINPD,         "rvb",  1, 1, 0x5d,    0, 0,  0,  1)                   \
    ROW(VMAXPS,         "rvb",  1, 0, 0x5f,    0, 0,  0,  0)                   \
    ROW(VMAXPD,         "rvb",  1, 1, 0x5f,    0, 0,  0,  1)                   \
    ROW(VSCALEFPS,      "rvb",  2, 1, 0x2c,    0, 0, -1,  0)                   \
    ROW(VSCALEFPD,      "rvb",  2, 1, 0x2c,    0, 0, -1,  1)                   \
    ROW(VANDPS,         "rvb",  1, 0, 0x54,    0, 0,  0,  0)                   \
    ROW(VANDPD,         "rvb",  1, 1, 0x54,    0, 0,  0,  1)                   \
    ROW(VORPS,          "rvb",  1, 0, 0x56,    0, 0,  0,  0)                   \
    ROW(VORPD,          "rvb",  1, 1, 0x56,    0, 0,  0,  1)                   \
    ROW(VXORPS,         "rvb",  1, 0, 0x57,    0, 0,  0,  0)                   \
    ROW(VXORPD,         "rvb",  1, 1, 0x57,    0, 0,  0,  1)                   \
    ROW(VANDNPS,        "rvb",  1, 0, 0x55,    0, 0,  0,  0)                   \
    ROW(VANDNPD,        "rvb",  1, 1, 0x55,    0, 0,  0,  1)                   \
    ROW(VPADDD,         "rvb",  1, 1, 0xfe,    0, 0,  0,  0)                   \
    ROW(VPADDW,         "rvb",  1, 1, 0xfd,    0, 0,  0,  0)                   \
    ROW(VPADDB,         "rvb",  1, 1, 0xfc,    0, 0,  0,  0)                   \
    ROW(VPSUBD,         "rvb",  1, 1, 0xfa,    0, 0,  0,  0)                   \
    ROW(VPSUBW,         "rvb",  1, 1, 0xf9,    0, 0,  0,  0)                   \
    ROW(VPSUBB,         "rvb",  1, 1, 0xf8,    0, 0,  0,  0)                   \
    ROW(VPMULLD,        "rvb",  2, 1, 0x40,    0, 0,  0,  0)                   \
    ROW(VPMULLW,        "rvb",  1, 1, 0xd5,    0, 0,  0,  0)                   \
    ROW(VPMINSD,        "rvb",  2, 1, 0x39,    0, 0,  0,  0)                   \
    ROW(VPMINSW,        "rvb",  1, 1, 0xea,    0, 0,  0,  0)                   \
    ROW(VPMINUW,        "rvb",  2, 1, 0x3a,    0, 0,  0,  0)                   \
    ROW(VPMINSB,        "rvb",  2, 1, 0x38,    0, 0,  0,  0)                   \
    ROW(VPMINUB,        "rvb",  1, 1, 0xda,    0, 0,  0,  0)                   \
    ROW(VPMAXSD,        "rvb",  2, 1, 0x3d,    0, 0,  0,  0)                   \
    ROW(VPMAXSW,        "rvb",  1, 1, 0xee,    0, 0,  0,  0)                   \
    ROW(VPMAXUW,        "rvb",  2, 1, 0x3e,    0, 0,  0,  0)                   \
    ROW(VPMAXSB,        "rvb",  2, 1, 0x3c,    0, 0,  0,  0)                   \
    ROW(VPMAXUB,        "rvb",  1, 1, 0xde,    0, 0,  0,  0)                   \
    ROW(VPAND,          "rvb",  1, 1, 0xdb,    0, 0,  0, -1)                   \
    ROW(VPANDD,         "rvb",  1, 1, 0xdb,    0, 0, -1,  0)                   \
    ROW(VPOR,           "rvb",  1, 1, 0xeb,    0, 0,  0, -1)                   \
    ROW(VPORD,          "rvb",  1, 1, 0xeb,    0, 0, -1,  0)                   \
    ROW(VPXOR,          "rvb",  1, 1, 0xef,    0, 0,  0, -1)                   \
    ROW(VPXORD,         "rvb",  1, 1, 0xef,    0, 0, -1,  0)                   \
    ROW(VPANDN,         "rvb",  1, 1, 0xdf,    0, 0,  0, -1)                   \
    ROW(VPANDND,        "rvb",  1, 1, 0xdf,    0, 0, -1,  0)                   \
    ROW(VPSLLVD,        "rvb",  2, 1, 0x47,    0, 0,  0,  0)                   \
    ROW(VPSRLVD,        "rvb",  2, 1, 0x45,    0, 0,  0,  0)                   \
    ROW(VPSRAVD,        "rvb",  2, 1, 0x46,    0, 0,  0,  0)                   \
    ROW(VFMADD132PS,    "rvb",  2, 1, 0x98,    0, 0,  0,  0)                   \
    ROW(VFMADD213PS,    "rvb",  2, 1, 0xa8,    0, 0,  0,  0)                   \
    ROW(VFMADD231PS,    "rvb",  2, 1, 0xb8,    0, 0,  0,  0)                   \
    ROW(VFNMADD132PS,   "rvb",  2, 1, 0x9c,    0, 0,  0,  0)                   \
    ROW(VFNMADD213PS,   "rvb",  2, 1, 0xac,    0, 0,  0,  0)                   \
    ROW(VFNMADD231PS,   "rvb",  2, 1, 0xbc,    0, 0,  0,  0)                   \
    ROW(VFMADD132PD,    "rvb",  2, 1, 0x98,    0, 0,  1,  1)                   \
    ROW(VFMADD213PD,    "rvb",  2, 1, 0xa8,    0, 0,  1,  1)                   \
    ROW(VFMADD231PD,    "rvb",  2, 1, 0xb8,    0, 0,  1,  1)                   \
    ROW(VFNMADD132PD,   "rvb",  2, 1, 0x9c,    0, 0,  1,  1)                   \
    ROW(VFNMADD213PD,   "rvb",  2, 1, 0xac,    0, 0,  1,  1)                   \
    ROW(VFNMADD231PD,   "rvb",  2, 1, 0xbc,    0, 0,  1,  1)                   \
    ROW(VSQRTPS,        "rb",   1, 0, 0x51,    0, 0,  0,  0)                   \
    ROW(VSQRTPD,        "rb",   1, 1, 0x51,    0, 0,  0,  1)                   \
    ROW(VROUNDPS,       "rb",   3, 1, 0x08,    0, 0,  0, -1)                   \
    ROW(VROUNDPD,       "rb",   3, 1, 0x09,    0, 0,  0, -1)                   \
    ROW(VRNDSCALEPS,    "rb",   3, 1, 0x08,    0, 0, -1,  0)                   \
    ROW(VRNDSCALEPD,    "rb",   3, 1, 0x09,    0, 0, -1,  1)                   \
    ROW(VPSLLD,         "vb",   1, 1, 0x72,    0, 6,  0,  0)                   \
    ROW(VPSRLD,         "vb",   1, 1, 0x72,    0, 2,  0,  0)                   \
    ROW(VPSRAD,         "vb",   1, 1, 0x72,    0, 4,  0,  0)                   \
    ROW(VPSLLW,         "vb",   1, 1, 0x71,    0, 6,  0,  0)                   \
    ROW(VPSRLW,         "vb",   1, 1, 0x71,    0, 2,  0,  0)                   \
    ROW(VPSRAW,         "vb",   1, 1, 0x71,    0, 4,  0,  0)                   \
    ROW(VCVTDQ2PS,      "rb",   1, 0, 0x5b,    0, 0,  0,  0)                   \
    ROW(VCVTTPS2DQ,     "rb",   1, 2, 0x5b,    0, 0,  0,  0)                   \
    ROW(VCVTPS2DQ,      "rb",   1, 1, 0x5b,    0, 0,  0,  0)                   \
    ROW(VCVTPS2PD,      "rb",   1, 0, 0x5a,    0, 0,  0,  0)                   \
    ROW(VCVTPD2PS,      "rb",   1, 1, 0x5a,    0, 0,  0,  1)                   \
    ROW(VCVTDQ2PD,      "rb",   1, 2, 0xe6,    0, 0,  0,  0)                   \
    ROW(VCVTNEPS2BF16,  "rb",   2, 2, 0x72,    0, 0, -1,  0)                   \
    ROW(VCVTPH2PS,      "rb",   2, 1, 0x13,    0, 0,  0,  0)                   \
    ROW(VCVTPS2PH,      "br",   3, 1, 0x1d,    0, 0,  0,  0)                   \
    ROW(VMOVAPS,        "rb",   1, 0, 0x28, 0x29, 0,  0,  0)                   \
    ROW(VMOVUPS,        "rb",   1, 0, 0x10, 0x11, 0,  0,  0)                   \
    ROW(VMOVUPD,        "rb",   1, 1, 0x10, 0x11, 0,  0,  1)                   \
    ROW(VMOVDQU8,       "rb",   1, 3, 0x6f, 0x7f, 0, -1,  0)                   \
    ROW(VMOVDQU16,      "rb",   1, 3, 0x6f, 0x7f, 0, -1,  1)                   \
    ROW(VMOVSS,         "br",   1, 2, 0x11,    0, 0,  0,  0)                   \
    ROW(VMOVSD,         "br",   1, 3, 0x11,    0, 0,  0,  1)                   \
    ROW(VMASKMOVPS,     "rvb",  2, 1, 0x2c, 0x2e, 0,  0, -1)                   \
    ROW(VMASKMOVPD,     "rvb",  2, 1, 0x2d, 0x2f, 0,  0, -1)                   \
    ROW(VBROADCASTSS,   "rb",   2, 1, 0x18,    0, 0,  0,  0)                   \
    ROW(VBROADCASTSD,   "rb",   2, 1, 0x19,    0, 0,  0,  1)                   \
    ROW(VPBROADCASTB,   "rb",   2, 1, 0x78,    0, 0,  0,  0)                   \
    ROW(VPBROADCASTW,   "rb",   2, 1, 0x79,    0, 0,  0,  0)                   \
    ROW(VPBROADCASTD,   "rb",   2, 1, 0x58,    0, 0,  0,  0)                   \
    ROW(VPBROADCASTQ,   "rb",   2, 1, 0x59,    0, 0,  0,  1)                   \
    ROW(VPMOVSXBD,      "rb",   2, 1, 0x21,    0, 0,  0,  0)                   \
    ROW(VPMOVZXBD,      "rb",   2, 1, 0x31,    0, 0,  0,  0)                   \
    ROW(VPMOVSXWD,      "rb",   2, 1, 0x23,    0, 0,  0,  0)                   \
    ROW(VPMOVZXWD,      "rb",   2, 1, 0x33,    0, 0,  0,  0)                   \
    ROW(VPMOVSXBW,      "rb",   2, 1, 0x20,    0, 0,  0,  0)                   \
    ROW(VPMOVZXBW,      "rb",   2, 1, 0x30,    0, 0,  0,  0)                   \
    ROW(VPMOVSDB,       "br",   2, 2, 0x21,    0, 0, -1,  0)                   \
    ROW(VPMOVUSDB,      "br",   2, 2, 0x11,    0, 0, -1,  0)                   \
    ROW(VPMOVSDW,       "br",   2, 2, 0x23,    0, 0, -1,  0)                   \
    ROW(VPMOVUSDW,      "br",   2, 2, 0x13,    0, 0, -1,  0)                   \
    ROW(VCMPPS,         "rvb",  1, 0, 0xc2,    0, 0,  0,  0)                   \
    ROW(VCMPPD,         "rvb",  1, 1, 0xc2,    0, 0,  0,  1)                   \
    ROW(VPCMPD,         "rvb",  3, 1, 0x1f,    0, 0, -1,  0)                   \
    ROW(VPCMPEQD,       "rvb",  1, 1, 0x76,    0, 0,  0,  0)                   \
    ROW(VPCMPGTD,       "rvb",  1, 1, 0x66,    0, 0,  0,  0)                   \
    ROW(VPCMPGTQ,       "rvb",  2, 1, 0x37,    0, 0,  0,  1)                   \
    ROW(VBLENDMPS,      "rvb",  2, 1, 0x65,    0, 0, -1,  0)                   \
    ROW(VBLENDMPD,      "rvb",  2, 1, 0x65,    0, 0, -1,  1)                   \
    ROW(VBLENDVPS,      "rvb4", 3, 1, 0x4a,    0, 0,  0, -1)                   \
    ROW(VBLENDVPD,      "rvb4", 3, 1, 0x4b,    0, 0,  0, -1)                   \
    ROW(VSHUFPS,        "rvb",  1, 0, 0xc6,    0, 0,  0,  0)                   \
    ROW(VSHUFF32X4,     "rvb",  3, 1, 0x23,    0, 0, -1,  0)                   \
    ROW(VSHUFF64X2,     "rvb",  3, 1, 0x23,    0, 0, -1,  1)                   \
    ROW(VPERM2F128,     "rvb",  3, 1, 0x06,    0, 0,  0, -1)                   \
    ROW(VPERMILPS,      "rb",   3, 1, 0x04,    0, 0,  0,  0)                   \
    ROW(VPERMILPD,      "rb",   3, 1, 0x05,    0, 0,  0,  1)                   \
    ROW(VPERMPD,        "rb",   3, 1, 0x01,    0, 0,  1,  1)                   \
    ROW(VPERMQ,         "rb",   3, 1, 0x00,    0, 0,  1,  1)                   \
    ROW(VPERMPS,        "rvb",  2, 1, 0x16,    0, 0,  0,  0)                   \
    ROW(VPERMI2PS,      "rvb",  2, 1, 0x77,    0, 0, -1,  0)                   \
    ROW(VPERMI2PD,      "rvb",  2, 1, 0x77,    0, 0, -1,  1)                   \
    ROW(VUNPCKLPS,      "rvb",  1, 0, 0x14,    0, 0,  0,  0)                   \
    ROW(VUNPCKHPS,      "rvb",  1, 0, 0x15,    0, 0,  0,  0)                   \
    ROW(VUNPCKLPD,      "rvb",  1, 1, 0x14,    0, 0,  0,  1)                   \
    ROW(VUNPCKHPD,      "rvb",  1, 1, 0x15,    0, 0,  0,  1)                   \
    ROW(VPUNPCKLBW,     "rvb",  1, 1, 0x60,    0, 0,  0,  0)                   \
    ROW(VPUNPCKHBW,     "rvb",  1, 1, 0x68,    0, 0,  0,  0)                   \
    ROW(VPUNPCKLWD,     "rvb",  1, 1, 0x61,    0, 0,  0,  0)                   \
    ROW(VPUNPCKHWD,     "rvb",  1, 1, 0x69,    0, 0,  0,  0)                   \
    ROW(VEXTRACTI32X4,  "br",   3, 1, 0x39,    0, 0, -1,  0)                   \
    ROW(VEXTRACTI128,   "br",   3, 1, 0x39,    0, 0,  0, -1)                   \
    ROW(VINSERTI32X4,   "rvb",  3, 1, 0x38,    0, 0, -1,  0)                   \
    ROW(VPACKSSDW,      "rvb",  1, 1, 0x6b,    0, 0,  0,  0)                   \
    ROW(VPACKUSDW,      "rvb",  2, 1, 0x2b,    0, 0,  0,  0)                   \
    ROW(VPACKSSWB,      "rvb",  1, 1, 0x63,    0, 0,  0,  0)                   \
    ROW(VPACKUSWB,      "rvb",  1, 1, 0x67,    0, 0,  0,  0)                   \
    ROW(VPINSRB,        "rvb",  3, 1, 0x20,    0, 0,  0,  0)                   \
    ROW(VPINSRW,        "rvb",  1, 1, 0xc4,    0, 0,  0,  0)                   \
    ROW(VPINSRD,        "rvb",  3, 1, 0x22,    0, 0,  0,  0)                   \
    ROW(VPEXTRB,        "br",   3, 1, 0x14,    0, 0,  0,  0)                   \
    ROW(VPEXTRW,        "br",   3, 1, 0x15,    0, 0,  0,  0)                   \
    ROW(VPEXTRD,        "br",   3, 1, 0x16,    0, 0,  0,  0)                   \
    ROW(VPMADDWD,       "rvb",  1, 1, 0xf5,    0, 0,  0,  0)                   \
    ROW(VPDPBUSD,       "rvb",  2, 1, 0x50,    0, 0,  0,  0)                   \
    ROW(VPDPWSSD,       "rvb",  2, 1, 0x52,    0, 0,  0,  0)                   \
    ROW(VDPBF16PS,      "rvb",  2, 2, 0x52,    0, 0, -1,  0)
// clang-format on

typedef struct Form {
    char order[5];
    unsigned char map, pp, opcode, store, ext;
    signed char vex_w, evex_w;
} Form;

static const Form forms[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define ROW(mnemonic, order, map, pp, opcode, store, ext, vex_w, evex_w)                                                         \
    [ZYDIS_MNEMONIC_##mnemonic] = {order, map, pp, opcode, store, ext, vex_w, evex_w},
    X86_FORMS(ROW)
#undef ROW
};

_Static_assert(ZYDIS_REGISTER_YMM0 == ZYDIS_REGISTER_XMM0 + 32 && ZYDIS_REGISTER_ZMM0 == ZYDIS_REGISTER_YMM0 + 32 &&
                   ZYDIS_REGISTER_R15 == ZYDIS_REGISTER_RAX + 15 && ZYDIS_REGISTER_R15D == ZYDIS_REGISTER_EAX + 15,
               "numbers of registers follow from their order");

static bool is_general(int reg) {
    return reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15;
}

/* ---- ModRM and what belongs to it ---- */

static unsigned char *put_u32(unsigned char *to, int64_t number) {
    uint32_t bits = (uint32_t)number;
    memcpy(to, &bits, sizeof bits);
    return to + sizeof bits;
}

static bool is_byte(int64_t number) {
    return number >= INT8_MIN && number <= INT8_MAX;
}

/* `unit`: EVEX counts short displacements in units of the memory read. */
static unsigned char *put_memory(unsigned char *to, int reg, const X86Operand *m, int unit, unsigned char **displacement) {
    int low = (reg & 7) << 3;
    *displacement = NULL;
    if (m->kind == X86_POOL) { /* relative to the next instruction; patched when the pool is placed */
        *to++ = (unsigned char)(low | 5);
        *displacement = to;
        return put_u32(to, 0);
    }
    int base = (m->reg - ZYDIS_REGISTER_RAX) & 7;
    bool none = m->number == 0 && base != 5, brief = !none && m->number % unit == 0 && is_byte(m->number / unit);
    int mod = none ? 0 : brief ? 0x40 : 0x80;
    if (m->index) {
        int scale = m->scale == 8 ? 3 : m->scale / 2;
        *to++ = (unsigned char)(mod | low | 4);
        *to++ = (unsigned char)(scale << 6 | ((m->index - ZYDIS_REGISTER_RAX) & 7) << 3 | base);
    } else {
        *to++ = (unsigned char)(mod | low | base);
        if (base == 4)
            *to++ = 0x24;
    }
    if (brief)
        *to++ = (unsigned char)(m->number / unit);
    return none || brief ? to : put_u32(to, m->number);
}

/* ---- vector instructions ---- */

typedef struct Parts {
    int r, v, b, fourth; /* numbers of registers; -1: none */
    const X86Operand *memory, *immediate;
    int length; /* 0, 1, 2: 16, 32, 64 bytes */
    int opcode;
} Parts;

static int length_of(const X86Operand *memory) {
    int bytes = memory->broadcast ? memory->size * memory->broadcast : memory->size;
    return bytes > 32 ? 2 : bytes > 16;
}

/* A move between registers that VEX says in two bytes only if the upper one is in ModRM's reg. */
static bool shorter_swapped(const X86Instruction *i, const char *order) {
    const X86Operand *a = &i->operand[0], *b = &i->operand[1];
    return !i->evex && order[1] == 'b' && a->kind == X86_REGISTER && b->kind == X86_REGISTER &&
           (a->reg - ZYDIS_REGISTER_XMM0) % 32 < 8 && (b->reg - ZYDIS_REGISTER_XMM0) % 32 >= 8;
}

/* False: an operand that rows do not cover. */
static bool split(const X86Instruction *i, const Form *form, Parts *out) {
    const char *order = form->order;
    *out = (Parts){.r = -1, .v = -1, .b = -1, .fourth = -1, .opcode = form->opcode};
    if (form->store && (i->operand[0].kind >= X86_MEMORY || shorter_swapped(i, order))) {
        out->opcode = form->store;
        order = order[1] == 'v' ? "bvr" : "br";
    }
    int k = 0, number, length;
    for (; k < 4 && i->operand[k].kind != X86_NONE && i->operand[k].kind != X86_IMMEDIATE; k++) {
        const X86Operand *o = &i->operand[k];
        const unsigned vector = (unsigned)o->reg - ZYDIS_REGISTER_XMM0, mask = (unsigned)o->reg - ZYDIS_REGISTER_K0;
        if (o->kind >= X86_MEMORY) {
            if (order[k] != 'b' || o->index > ZYDIS_REGISTER_R15)
                return false;
            out->memory = o;
            number = 0;
            length = length_of(o);
        } else if (vector < 96) {
            number = vector & 31;
            length = (int)(vector >> 5);
        } else if (mask < 8) {
            number = (int)mask;
            length = 0;
        } else {
            return false;
        }
        out->length = length > out->length ? length : out->length;
        switch (order[k]) {
        case 'r': out->r = number; break;
        case 'v': out->v = number; break;
        case 'b': out->b = number; break;
        case '4': out->fourth = number; break;
        default: return false;
        }
    }
    if (order[k])
        return false;
    if (k < 4 && i->operand[k].kind == X86_IMMEDIATE)
        out->immediate = &i->operand[k++];
    if (k < 4 && i->operand[k].kind != X86_NONE)
        return false;
    if (out->r < 0)
        out->r = form->ext;
    return true;
}

static int bit(int number, int at) {
    return number >> at & 1;
}

/* Upper bits of r/m: of a register its bits 3 and 4, of memory those of base and index. */
static void upper_bits(const Parts *p, int *x, int *b) {
    const X86Operand *m = p->memory;
    *b = !m ? bit(p->b, 3) : m->kind == X86_POOL ? 0 : bit(m->reg - ZYDIS_REGISTER_RAX, 3);
    *x = !m ? bit(p->b, 4) : m->kind != X86_POOL && m->index ? bit(m->index - ZYDIS_REGISTER_RAX, 3) : 0;
}

static unsigned char *put_vex(unsigned char *to, const Form *form, const Parts *p) {
    int x, b, v = p->v < 0 ? 0 : p->v;
    upper_bits(p, &x, &b);
    if (!p->memory)
        x = 0; /* bit 4 is EVEX's alone */
    int last = (~v & 15) << 3 | p->length << 2 | form->pp;
    if (!x && !b && !form->vex_w && form->map == 1) {
        *to++ = 0xc5;
        *to++ = (unsigned char)(!bit(p->r, 3) << 7 | last);
        return to;
    }
    *to++ = 0xc4;
    *to++ = (unsigned char)(!bit(p->r, 3) << 7 | !x << 6 | !b << 5 | form->map);
    *to++ = (unsigned char)(form->vex_w << 7 | last);
    return to;
}

static unsigned char *put_evex(unsigned char *to, const X86Instruction *i, const Form *form, const Parts *p) {
    int x, b, v = p->v < 0 ? 0 : p->v;
    upper_bits(p, &x, &b);
    *to++ = 0x62;
    *to++ = (unsigned char)(!bit(p->r, 3) << 7 | !x << 6 | !b << 5 | !bit(p->r, 4) << 4 | form->map);
    *to++ = (unsigned char)(form->evex_w << 7 | (~v & 15) << 3 | 4 | form->pp);
    *to++ = (unsigned char)(i->zeroing << 7 | p->length << 5 | (p->memory && p->memory->broadcast ? 1 : 0) << 4 |
                            !bit(v, 4) << 3 | i->mask);
    return to;
}

static size_t write_vector(const X86Instruction *i, const Form *form, unsigned char *to, unsigned char **displacement) {
    Parts p;
    unsigned char *start = to;
    if ((i->evex ? form->evex_w : form->vex_w) < 0 || !split(i, form, &p))
        return 0;
    to = i->evex ? put_evex(to, i, form, &p) : put_vex(to, form, &p);
    *to++ = (unsigned char)p.opcode;
    if (p.memory)
        to = put_memory(to, p.r, p.memory, i->evex ? p.memory->size : 1, displacement);
    else
        *to++ = (unsigned char)(0xc0 | (p.r & 7) << 3 | (p.b & 7));
    if (p.immediate)
        *to++ = (unsigned char)p.immediate->number;
    else if (p.fourth >= 0)
        *to++ = (unsigned char)(p.fourth << 4);
    return (size_t)(to - start);
}

/* ---- general registers, of 64 bits ---- */

static int number_of(const X86Operand *o) {
    return o->reg - ZYDIS_REGISTER_RAX;
}

static bool is_reg(const X86Operand *o) {
    return o->kind == X86_REGISTER && is_general(o->reg);
}

static unsigned char *put_rex(unsigned char *to, int reg, int rm, int index) {
    *to++ = (unsigned char)(0x48 | bit(reg, 3) << 2 | bit(index, 3) << 1 | bit(rm, 3));
    return to;
}

static size_t write_pair(int opcode, const X86Operand *rm, const X86Operand *reg, unsigned char *to) {
    unsigned char *start = to;
    to = put_rex(to, number_of(reg), number_of(rm), 0);
    *to++ = (unsigned char)opcode;
    *to++ = (unsigned char)(0xc0 | (number_of(reg) & 7) << 3 | (number_of(rm) & 7));
    return (size_t)(to - start);
}

static size_t write_load(int opcode, const X86Operand *reg, const X86Operand *m, unsigned char *to) {
    unsigned char *start = to, *displacement;
    if (m->kind == X86_POOL)
        return 0;
    to = put_rex(to, number_of(reg), number_of(m), m->index ? m->index - ZYDIS_REGISTER_RAX : 0);
    *to++ = (unsigned char)opcode;
    to = put_memory(to, number_of(reg), m, 1, &displacement);
    return (size_t)(to - start);
}

/* 83 /ext ib, 81 /ext id; RAX has a shorter form of its own, which is left to Zydis. */
static size_t write_with_number(int ext, const X86Operand *reg, int64_t number, unsigned char *to) {
    unsigned char *start = to;
    if (reg->reg == ZYDIS_REGISTER_RAX || number < INT32_MIN || number > INT32_MAX)
        return 0;
    to = put_rex(to, 0, number_of(reg), 0);
    *to++ = is_byte(number) ? 0x83 : 0x81;
    *to++ = (unsigned char)(0xc0 | ext << 3 | (number_of(reg) & 7));
    if (is_byte(number))
        *to++ = (unsigned char)number;
    else
        to = put_u32(to, number);
    return (size_t)(to - start);
}

/* Where 64 bits need not be asked for there is a prefix only if a register's number has an upper bit. */
static unsigned char *put_short_rex(unsigned char *to, int reg, int rm, int index) {
    const int rex = bit(reg, 3) << 2 | bit(index, 3) << 1 | bit(rm, 3);
    if (rex)
        *to++ = (unsigned char)(0x40 | rex);
    return to;
}

static size_t write_prefetch(int hint, const X86Operand *m, unsigned char *to) {
    unsigned char *start = to, *displacement;
    if (m->kind != X86_MEMORY)
        return 0;
    to = put_short_rex(to, 0, number_of(m), m->index ? m->index - ZYDIS_REGISTER_RAX : 0);
    *to++ = 0x0f;
    *to++ = 0x18;
    to = put_memory(to, hint, m, 1, &displacement);
    return (size_t)(to - start);
}

static size_t write_stack(int opcode, const X86Operand *reg, unsigned char *to) {
    if (!is_reg(reg))
        return 0;
    unsigned char *start = to;
    to = put_short_rex(to, 0, number_of(reg), 0);
    *to++ = (unsigned char)(opcode | (number_of(reg) & 7));
    return (size_t)(to - start);
}

/* Of registers of 32 bits. */
static size_t write_xor(const X86Operand *a, const X86Operand *b, unsigned char *to) {
    unsigned char *start = to;
    const int rm = a->reg - ZYDIS_REGISTER_EAX, reg = b->reg - ZYDIS_REGISTER_EAX;
    if (a->kind != X86_REGISTER || b->kind != X86_REGISTER || rm < 0 || rm > 15 || reg < 0 || reg > 15)
        return 0;
    to = put_short_rex(to, reg, rm, 0);
    *to++ = 0x31;
    *to++ = (unsigned char)(0xc0 | (reg & 7) << 3 | (rm & 7));
    return (size_t)(to - start);
}

/* Of other operands than general registers of 64 bits, or of one or none. */
static size_t write_other(const X86Instruction *i, unsigned char *to) {
    static const unsigned char zero_upper[] = {0xc5, 0xf8, 0x77};
    const X86Operand *a = &i->operand[0], *b = &i->operand[1];
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_PREFETCHT0: return write_prefetch(1, a, to);
    case ZYDIS_MNEMONIC_PREFETCHT1: return write_prefetch(2, a, to);
    case ZYDIS_MNEMONIC_PUSH: return write_stack(0x50, a, to);
    case ZYDIS_MNEMONIC_POP: return write_stack(0x58, a, to);
    case ZYDIS_MNEMONIC_XOR: return write_xor(a, b, to);
    case ZYDIS_MNEMONIC_RET: *to = 0xc3; return 1;
    case ZYDIS_MNEMONIC_VZEROUPPER: memcpy(to, zero_upper, sizeof zero_upper); return sizeof zero_upper;
    default: return 0;
    }
}

static size_t write_general(const X86Instruction *i, unsigned char *to) {
    const X86Operand *a = &i->operand[0], *b = &i->operand[1];
    if (i->operand[2].kind != X86_NONE || !is_reg(a) || b->kind == X86_NONE)
        return write_other(i, to);
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        return is_reg(b) ? write_pair(0x89, a, b, to) : b->kind >= X86_MEMORY ? write_load(0x8b, a, b, to) : 0;
    case ZYDIS_MNEMONIC_LEA: return write_load(0x8d, a, b, to);
    case ZYDIS_MNEMONIC_ADD:
        return is_reg(b) ? write_pair(0x01, a, b, to) : b->kind == X86_IMMEDIATE ? write_with_number(0, a, b->number, to) : 0;
    case ZYDIS_MNEMONIC_CMP:
        return is_reg(b) ? write_pair(0x39, a, b, to) : b->kind == X86_IMMEDIATE ? write_with_number(7, a, b->number, to) : 0;
    default: return 0;
    }
}

size_t x86_write(const X86Instruction *i, unsigned char *to, size_t *displacement) {
    const Form *form = &forms[i->mnemonic];
    unsigned char *at = NULL;
    size_t length = form->map ? write_vector(i, form, to, &at) : write_general(i, to);
    *displacement = at ? (size_t)(at - to) : 0;
    return length;
}

int x86_next_form(int mnemonic) {
    for (mnemonic++; mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE; mnemonic++)
        if (forms[mnemonic].map)
            return mnemonic;
    return 0;
}
