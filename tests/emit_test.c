/* Instructions by our table against Zydis, byte for byte: every row of the table, and the forms of general registers, with random
 * operands. Zydis itself is held against the GNU assembler in encode_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>
#include <string.h>

#include "target/x86/x86.h"

typedef struct Random {
    uint64_t state;
} Random;

static int below(Random *r, int n) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (int)((r->state >> 33) % (unsigned)n);
}

static int64_t some_number(Random *r) {
    static const int64_t numbers[] = {0, 1, -1, 4, 64, 127, 128, -128, -129, 4096, 8128, 1 << 20, INT32_MAX, INT32_MIN};
    return below(r, 3) ? numbers[below(r, COUNT(numbers))] : 4 * (int64_t)below(r, 3000) - 6000;
}

static int some_general(Random *r) {
    return ZYDIS_REGISTER_RAX + below(r, 16);
}

static X86Operand some_memory(Random *r, bool vector) {
    static const unsigned char sizes[] = {1, 2, 4, 8, 16, 32, 64};
    X86Operand o = {.kind = X86_MEMORY, .reg = (short)some_general(r), .number = some_number(r), .scale = 1};
    o.size = vector ? sizes[below(r, 7)] : 8;
    if (below(r, 3) == 0) {
        o.index = (short)some_general(r);
        if (o.index == ZYDIS_REGISTER_RSP)
            o.index = ZYDIS_REGISTER_RBP;
        o.scale = (unsigned char)(1 << below(r, 4));
    }
    if (vector && (o.size == 4 || o.size == 8) && below(r, 2))
        o.broadcast = (unsigned char)(64 / o.size);
    if (vector && below(r, 6) == 0)
        o = (X86Operand){.kind = X86_POOL, .size = o.size, .broadcast = o.broadcast, .number = 3};
    return o;
}

static X86Operand some_register(Random *r, int bytes, bool evex) {
    int first = bytes == 64 ? ZYDIS_REGISTER_ZMM0 : bytes == 32 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0;
    return (X86Operand){.kind = X86_REGISTER, .reg = (short)(first + below(r, evex ? 32 : 16))};
}

static X86Instruction some_vector(Random *r, int mnemonic) {
    static const int lengths[] = {16, 32, 64};
    X86Instruction i = {.mnemonic = mnemonic, .evex = below(r, 2)};
    int length = lengths[below(r, i.evex ? 3 : 2)], operands = 2 + below(r, 3), memory = below(r, 2) ? below(r, 3) : -1;
    for (int k = 0; k < operands; k++) {
        i.operand[k] = some_register(r, below(r, 5) ? length : lengths[below(r, 2)], i.evex);
        if (k == memory)
            i.operand[k] = some_memory(r, true);
        if (!i.evex)
            i.operand[k].broadcast = 0;
    }
    if (below(r, 4) == 0 && i.evex)
        i.operand[0] = (X86Operand){.kind = X86_REGISTER, .reg = (short)(ZYDIS_REGISTER_K0 + below(r, 8))};
    if (operands < 4 && below(r, 2))
        i.operand[operands] = (X86Operand){.kind = X86_IMMEDIATE, .number = below(r, 128)};
    i.bare = i.evex && below(r, 4) == 0;
    i.mask = i.evex && !i.bare ? below(r, 8) : 0;
    if (mnemonic == ZYDIS_MNEMONIC_VBROADCASTSD && i.operand[0].reg < ZYDIS_REGISTER_YMM0)
        i.operand[0].reg += 32; /* there is none of 16 bytes; Zydis takes it and writes 32 */
    bool lanes = i.operand[0].kind == X86_REGISTER && i.operand[0].reg < ZYDIS_REGISTER_K0;
    i.zeroing = i.mask && lanes && below(r, 2); /* of vectors alone */
    return i;
}

/* Different bytes fail; forms that either side refuses do not count. */
static bool same(const X86Instruction *i) {
    unsigned char ours[32], theirs[32];
    size_t displacement, length = x86_write(i, ours, &displacement), wanted = x86_emit_slowly(i, theirs);
    if (!length || !wanted)
        return false;
    if (length == wanted && memcmp(ours, theirs, length) == 0)
        return true;
    print_error("%s: ours", ZydisMnemonicGetString((ZydisMnemonic)i->mnemonic));
    for (size_t b = 0; b < length; b++)
        print_error(" %02x", ours[b]);
    print_error(", Zydis");
    for (size_t b = 0; b < wanted; b++)
        print_error(" %02x", theirs[b]);
    print_error("\n");
    fail();
    return false;
}

static void every_row(void **state) {
    (void)state;
    enum { TRIES = 200000, FEWEST = 30 };
    int rows = 0, compared = 0;
    for (int mnemonic = x86_next_form(0); mnemonic; mnemonic = x86_next_form(mnemonic), rows++) {
        Random r = {(uint64_t)mnemonic};
        int agreed = 0;
        for (int n = 0; n < TRIES && agreed < 300; n++) {
            X86Instruction i = some_vector(&r, mnemonic);
            agreed += same(&i);
        }
        if (agreed < FEWEST)
            fail_msg("%s: only %d forms to compare", ZydisMnemonicGetString((ZydisMnemonic)mnemonic), agreed);
        compared += agreed;
    }
    print_message("%d rows, %d instructions\n", rows, compared);
    assert_true(rows > 100);
}

static void general_registers(void **state) {
    (void)state;
    static const ZydisMnemonic mnemonics[] = {ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_LEA, ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_CMP};
    Random r = {1};
    for (size_t m = 0; m < COUNT(mnemonics); m++) {
        int agreed = 0;
        for (int n = 0; n < 5000; n++) {
            X86Instruction i = {.mnemonic = (int)mnemonics[m]};
            i.operand[0] = (X86Operand){.kind = X86_REGISTER, .reg = (short)some_general(&r)};
            int kind = below(&r, 3);
            i.operand[1] = kind == 0   ? (X86Operand){.kind = X86_REGISTER, .reg = (short)some_general(&r)}
                           : kind == 1 ? some_memory(&r, false)
                                       : (X86Operand){.kind = X86_IMMEDIATE, .number = some_number(&r)};
            agreed += same(&i);
        }
        assert_true(agreed > 500);
    }
}

/* Prefetches, the stack, zeros, and what ends a function. */
static void other_operands(void **state) {
    (void)state;
    static const struct {
        ZydisMnemonic mnemonic;
        int operands; /* -1: memory; otherwise so many registers, of 32 bits if there are two */
    } forms[] = {{ZYDIS_MNEMONIC_PREFETCHT0, -1}, {ZYDIS_MNEMONIC_PREFETCHT1, -1}, {ZYDIS_MNEMONIC_PUSH, 1},
                 {ZYDIS_MNEMONIC_POP, 1},         {ZYDIS_MNEMONIC_XOR, 2},         {ZYDIS_MNEMONIC_RET, 0},
                 {ZYDIS_MNEMONIC_VZEROUPPER, 0}};
    enum { TRIES = 2000 };
    Random r = {1};
    for (size_t m = 0; m < COUNT(forms); m++) {
        int agreed = 0;
        for (int n = 0; n < TRIES; n++) {
            X86Instruction i = {.mnemonic = (int)forms[m].mnemonic};
            if (forms[m].operands < 0) {
                i.operand[0] = some_memory(&r, false);
                i.operand[0].size = 1;
            }
            for (int k = 0; k < forms[m].operands; k++) {
                int reg = some_general(&r) + (forms[m].operands == 2 ? ZYDIS_REGISTER_EAX - ZYDIS_REGISTER_RAX : 0);
                i.operand[k] = (X86Operand){.kind = X86_REGISTER, .reg = (short)reg};
            }
            agreed += same(&i);
        }
        if (agreed < TRIES / 4) /* Zydis refuses many a random address */
            fail_msg("%s: %d of %d", ZydisMnemonicGetString(forms[m].mnemonic), agreed, TRIES);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row), cmocka_unit_test(general_registers),
                                       cmocka_unit_test(other_operands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
