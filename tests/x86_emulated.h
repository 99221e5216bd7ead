/* An emulator of instructions that x86 code is made of and that this machine may lack: Intel's AMX, and the VEX forms of VNNI.
 * They are undefined where they are missing, so a handler of SIGILL catches them, does what Intel's manual says they do (Software
 * Developer's Manual, volume 2), and goes on behind them. What is not emulated, or breaks a rule of theirs, ends the program as
 * it would. Zydis says what stands there; that our bytes are those of an assembler is encode_test's business. */
#ifndef WHET_TESTS_X86_EMULATED_H
#define WHET_TESTS_X86_EMULATED_H

#include <stdbool.h>

#if defined(__x86_64__) && defined(__linux__)
#include <Zydis/Zydis.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "base/base.h"

enum { EMULATED_RIP = 16 }; /* of gregs; <ucontext.h> has names for GNU alone */
enum { EMULATED_TILES = 8, EMULATED_ROWS = 16, EMULATED_BYTES = 64 };

/* Of a thread. Rows and bytes of a row that are not configured are zero, as after each instruction that writes a tile. */
typedef struct EmulatedTiles {
    bool on;
    int rows[EMULATED_TILES], bytes[EMULATED_TILES];
    unsigned char tile[EMULATED_TILES][EMULATED_ROWS][EMULATED_BYTES];
} EmulatedTiles;

/* An instruction where it stands. */
typedef struct Emulated {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    ucontext_t *context;
    EmulatedTiles *tiles;
} Emulated;

/* ---- where operands are ---- */

static inline uint64_t emulated_general(const Emulated *e, ZydisRegister reg) {
    static const int order[] = {13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7}; /* rax, rcx, rdx, rbx ... */
    if (reg == ZYDIS_REGISTER_RIP)
        return (uint64_t)e->context->uc_mcontext.gregs[EMULATED_RIP] + e->instruction.length;
    return reg == ZYDIS_REGISTER_NONE ? 0 : (uint64_t)e->context->uc_mcontext.gregs[order[reg - ZYDIS_REGISTER_RAX]];
}

/* Without the index, which for tiles is the distance of rows. */
static inline unsigned char *emulated_base(const Emulated *e, const ZydisDecodedOperand *o) {
    return (unsigned char *)(uintptr_t)(emulated_general(e, o->mem.base) + (uint64_t)o->mem.disp.value);
}

static inline int64_t emulated_index(const Emulated *e, const ZydisDecodedOperand *o) {
    return (int64_t)(emulated_general(e, o->mem.index) * o->mem.scale);
}

/* ---- tiles ---- */

static inline int emulated_tile(const ZydisDecodedOperand *o) {
    return o->reg.value - ZYDIS_REGISTER_TMM0;
}

static inline bool emulated_configure(EmulatedTiles *t, const unsigned char *from) {
    memset(t, 0, sizeof *t);
    if (from[0] != 1 || from[1])
        return false;
    for (int i = 2; i < 64; i++)
        if ((i < 16 || (i >= 32 && i < 48) || i >= 56) && from[i])
            return false; /* reserved */
    for (int i = 0; i < EMULATED_TILES; i++) {
        t->bytes[i] = from[16 + 2 * i] | from[17 + 2 * i] << 8;
        t->rows[i] = from[48 + i];
        if (t->bytes[i] > EMULATED_BYTES || t->rows[i] > EMULATED_ROWS || !t->bytes[i] != !t->rows[i])
            return false;
    }
    return t->on = true;
}

static inline bool emulated_move(const Emulated *e, int tile, const ZydisDecodedOperand *memory, bool store) {
    EmulatedTiles *t = e->tiles;
    unsigned char *at = emulated_base(e, memory);
    if (!t->on || !t->rows[tile])
        return false;
    if (!store)
        memset(t->tile[tile], 0, sizeof t->tile[tile]);
    for (int row = 0; row < t->rows[tile]; row++, at += emulated_index(e, memory))
        memcpy(store ? at : t->tile[tile][row], store ? t->tile[tile][row] : at, (size_t)t->bytes[tile]);
    return true;
}

/* A float whose exponent says that it is subnormal counts as zero. */
static inline float emulated_flush(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static inline float emulated_bf16(const unsigned char *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return emulated_flush(bf16_to_f32(bits));
}

/* Sums of even and odd products from zero, then both, then with what was there. */
static inline void emulated_dot_f32(const unsigned char *a, const unsigned char (*b)[EMULATED_BYTES], int depth,
                                    unsigned char *to) {
    float part[2] = {0, 0}, sum;
    memcpy(&sum, to, sizeof sum);
    for (int k = 0; k < depth; k++)
        for (int i = 0; i < 2; i++)
            part[i] = emulated_flush(fmaf(emulated_bf16(a + 4 * k + 2 * i), emulated_bf16(b[k] + 2 * i), part[i]));
    sum = emulated_flush(emulated_flush(sum) + emulated_flush(part[0] + part[1]));
    memcpy(to, &sum, sizeof sum);
}

static inline uint32_t emulated_dot_bytes(const unsigned char *a, bool a_signed, const unsigned char *b, bool b_signed,
                                          uint32_t sum) {
    for (int i = 0; i < 4; i++)
        sum += (uint32_t)((a_signed ? (int8_t)a[i] : a[i]) * (b_signed ? (int8_t)b[i] : b[i]));
    return sum;
}

static inline bool emulated_product(const Emulated *e) {
    EmulatedTiles *t = e->tiles;
    int c = emulated_tile(&e->operand[0]), a = emulated_tile(&e->operand[1]), b = emulated_tile(&e->operand[2]);
    ZydisMnemonic code = e->instruction.mnemonic;
    bool a_signed = code == ZYDIS_MNEMONIC_TDPBSSD || code == ZYDIS_MNEMONIC_TDPBSUD;
    bool b_signed = code == ZYDIS_MNEMONIC_TDPBSSD || code == ZYDIS_MNEMONIC_TDPBUSD;
    if (!t->on || c == a || c == b || a == b || t->rows[c] != t->rows[a] || t->bytes[c] != t->bytes[b] ||
        t->bytes[a] != 4 * t->rows[b] || !t->rows[c] || !t->rows[b])
        return false;
    for (int i = 0; i < t->rows[c]; i++)
        for (int j = 0; j < t->bytes[c]; j += 4) {
            unsigned char *to = t->tile[c][i] + j;
            uint32_t sum;
            if (code == ZYDIS_MNEMONIC_TDPBF16PS) {
                unsigned char column[EMULATED_ROWS][EMULATED_BYTES];
                for (int k = 0; k < t->rows[b]; k++)
                    memcpy(column[k], t->tile[b][k] + j, 4);
                emulated_dot_f32(t->tile[a][i], (const unsigned char(*)[EMULATED_BYTES])column, t->rows[b], to);
                continue;
            }
            memcpy(&sum, to, sizeof sum);
            for (int k = 0; k < t->rows[b]; k++)
                sum = emulated_dot_bytes(t->tile[a][i] + 4 * k, a_signed, t->tile[b][k] + j, b_signed, sum);
            memcpy(to, &sum, sizeof sum);
        }
    return true;
}

/* ---- vectors ---- */

/* A vector register of 32 bytes, in the frame that the kernel restores: its lower half among the old registers, the upper one
 * where XSAVE puts it, which counts where bit 2 behind the old part says so. */
static inline void emulated_vector(const Emulated *e, int reg, unsigned char data[32], bool write) {
    enum { OLD = 160, HEADER = 512, UPPER = 576, UPPER_BIT = 4 };
    unsigned char *frame = (unsigned char *)e->context->uc_mcontext.fpregs;
    unsigned char *low = frame + OLD + 16 * reg, *high = frame + UPPER + 16 * reg, *header = frame + HEADER;
    if (!(*header & UPPER_BIT)) { /* all upper halves are zero */
        memset(frame + UPPER, 0, 256);
        *header |= UPPER_BIT;
    }
    memcpy(write ? low : data, write ? data : low, 16);
    memcpy(write ? high : data + 16, write ? data + 16 : high, 16);
}

static inline void emulated_operand(const Emulated *e, const ZydisDecodedOperand *o, unsigned char data[32]) {
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
        memcpy(data, emulated_base(e, o) + emulated_index(e, o), o->size / 8);
    else
        emulated_vector(e, o->reg.value - (o->size == 256 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0), data, false);
}

/* to += four products of bytes, or two of 16 bits, of each lane; above 128 bits zero where that is the vector's length. */
static inline bool emulated_vnni(const Emulated *e) {
    unsigned char to[32] = {0}, a[32] = {0}, b[32] = {0};
    emulated_operand(e, &e->operand[0], to);
    emulated_operand(e, &e->operand[1], a);
    emulated_operand(e, &e->operand[2], b);
    int bytes = e->operand[0].size / 8;
    for (int i = 0; i < bytes; i += 4) {
        uint32_t sum;
        int16_t x[2], y[2];
        memcpy(&sum, to + i, sizeof sum);
        memcpy(x, a + i, sizeof x);
        memcpy(y, b + i, sizeof y);
        sum = e->instruction.mnemonic == ZYDIS_MNEMONIC_VPDPBUSD ? emulated_dot_bytes(a + i, false, b + i, true, sum)
                                                                 : sum + (uint32_t)(x[0] * y[0]) + (uint32_t)(x[1] * y[1]);
        memcpy(to + i, &sum, sizeof sum);
    }
    memset(to + bytes, 0, sizeof to - (size_t)bytes);
    emulated_vector(e, e->operand[0].reg.value - (bytes == 32 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0), to, true);
    return true;
}

/* ---- the whole ---- */

static inline bool emulated_run(const Emulated *e) {
    switch (e->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_LDTILECFG:
        return emulated_configure(e->tiles, emulated_base(e, &e->operand[0]) + emulated_index(e, &e->operand[0]));
    case ZYDIS_MNEMONIC_TILERELEASE: memset(e->tiles, 0, sizeof *e->tiles); return true;
    case ZYDIS_MNEMONIC_TILEZERO: {
        int tile = emulated_tile(&e->operand[0]);
        memset(e->tiles->tile[tile], 0, sizeof e->tiles->tile[tile]);
        return e->tiles->on && e->tiles->rows[tile];
    }
    case ZYDIS_MNEMONIC_TILELOADD: return emulated_move(e, emulated_tile(&e->operand[0]), &e->operand[1], false);
    case ZYDIS_MNEMONIC_TILESTORED: return emulated_move(e, emulated_tile(&e->operand[1]), &e->operand[0], true);
    case ZYDIS_MNEMONIC_TDPBF16PS:
    case ZYDIS_MNEMONIC_TDPBSSD:
    case ZYDIS_MNEMONIC_TDPBSUD:
    case ZYDIS_MNEMONIC_TDPBUSD:
    case ZYDIS_MNEMONIC_TDPBUUD: return emulated_product(e);
    case ZYDIS_MNEMONIC_VPDPBUSD:
    case ZYDIS_MNEMONIC_VPDPWSSD: return e->instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && emulated_vnni(e);
    default: return false;
    }
}

static inline void emulated_caught(int signal_number, siginfo_t *info, void *context) {
    static _Thread_local EmulatedTiles tiles;
    Emulated e = {.context = context, .tiles = &tiles};
    ZydisDecoder decoder;
    (void)info;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    const void *at = (const void *)(uintptr_t)e.context->uc_mcontext.gregs[EMULATED_RIP];
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, at, ZYDIS_MAX_INSTRUCTION_LENGTH, &e.instruction, e.operand)) &&
        emulated_run(&e))
        e.context->uc_mcontext.gregs[EMULATED_RIP] += e.instruction.length;
    else
        signal(signal_number, SIG_DFL); /* the same again, and the end */
}

/* True: these instructions work in this process from now on. */
static inline bool x86_emulate(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = emulated_caught;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGILL, &action, NULL) == 0;
}
#else
static inline bool x86_emulate(void) {
    return false;
}
#endif

#endif
