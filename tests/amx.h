/* An emulator of the instructions of Apple's AMX that arm64 code for it is made of, from what is published of their meaning
 * (github.com/corsix/amx). They are undefined on every other Arm CPU, and under qemu, so a handler of SIGILL catches them, does
 * what they would do, and goes on behind them. What is not emulated, or is used while the unit is off, ends the program as it
 * would. */
#ifndef WHET_TESTS_AMX_H
#define WHET_TESTS_AMX_H

#include <stdbool.h>

#if defined(__aarch64__) && defined(__linux__)
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum { AMX_BYTES = 64, AMX_FLOATS = 16, AMX_POOL = 512 };

typedef struct AmxState {
    bool on;
    unsigned char x[AMX_POOL], y[AMX_POOL], z[64][AMX_BYTES];
} AmxState;

/* `count` bits of an operand from bit `low` on. */
static inline unsigned amx_bits(uint64_t operand, int low, int count) {
    return (unsigned)(operand >> low & ((UINT64_C(1) << count) - 1));
}

static inline void amx_vector(const unsigned char pool[AMX_POOL], unsigned at, float out[AMX_FLOATS]) {
    unsigned char bytes[AMX_BYTES];
    for (unsigned i = 0; i < AMX_BYTES; i++)
        bytes[i] = pool[(at + i) % AMX_POOL];
    memcpy(out, bytes, sizeof bytes);
}

/* z[4 j + tile][i] = x[i] * y[j] + z; all lanes, f32. */
static inline bool amx_fma32(AmxState *s, uint64_t operand) {
    float x[AMX_FLOATS], y[AMX_FLOATS], z[AMX_FLOATS];
    unsigned left_out = amx_bits(operand, 27, 3), tile = amx_bits(operand, 20, 6) & 3;
    if (operand >> 30 || (left_out && left_out != 7))
        return false; /* vectors, halves, some lanes */
    amx_vector(s->x, amx_bits(operand, 10, 9), x);
    amx_vector(s->y, amx_bits(operand, 0, 9), y);
    for (int j = 0; j < AMX_FLOATS; j++) {
        memcpy(z, s->z[4 * j + (int)tile], sizeof z);
        for (int i = 0; i < AMX_FLOATS; i++)
            z[i] = left_out ? 0 : fmaf(x[i], y[j], z[i]);
        memcpy(s->z[4 * j + (int)tile], z, sizeof z);
    }
    return true;
}

static inline bool amx_run(AmxState *s, unsigned what, unsigned reg, uint64_t operand) {
    void *memory = (void *)(uintptr_t)(operand & ((UINT64_C(1) << 56) - 1));
    if (what == 17) { /* turns on with 0, off with 1 */
        bool fine = s->on == (reg == 1) && reg <= 1;
        memset(s, 0, sizeof *s);
        s->on = reg == 0;
        return fine;
    }
    if (!s->on || (what <= 5 && operand >> 62))
        return false;
    switch (what) {
    case 0: memcpy(s->x + AMX_BYTES * (size_t)amx_bits(operand, 56, 3), memory, AMX_BYTES); return true;
    case 1: memcpy(s->y + AMX_BYTES * (size_t)amx_bits(operand, 56, 3), memory, AMX_BYTES); return true;
    case 5: memcpy(memory, s->z[amx_bits(operand, 56, 6)], AMX_BYTES); return true;
    case 12: return amx_fma32(s, operand);
    default: return false;
    }
}

static inline void amx_caught(int signal_number, siginfo_t *info, void *context) {
    static _Thread_local AmxState state;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    uint32_t word;
    (void)info;
    memcpy(&word, (const void *)(uintptr_t)machine->pc, sizeof word);
    unsigned what = word >> 5 & 31, reg = word & 31;
    if ((word & 0xfffffc00) == 0x00201000 && amx_run(&state, what, reg, reg < 31 ? machine->regs[reg] : 0))
        machine->pc += 4;
    else
        signal(signal_number, SIG_DFL); /* the same again, and the end */
}

/* True: AMX instructions work in this process from now on. */
static inline bool amx_emulate(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = amx_caught;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGILL, &action, NULL) == 0;
}
#else
static inline bool amx_emulate(void) {
    return false;
}
#endif

#endif
