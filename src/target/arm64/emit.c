/* Words: single instructions by the table, the pool of constants behind the code, and jumps. */
#include "target/arm64/arm64.h"

#include <string.h>

static bool reserve(Arm64Code *code, size_t bytes) {
    if (!arena_grow(code->arena, &code->data, &code->capacity, code->size + bytes, 1))
        code->failed = "out of memory";
    return !code->failed;
}

/* Code is little-endian on every Arm, whatever the host that makes it. */
static void write_word(Arm64Code *code, size_t at, uint32_t word) {
    for (int i = 0; i < 4; i++)
        code->data[at + (size_t)i] = (unsigned char)(word >> 8 * i);
}

static uint32_t read_word(const Arm64Code *code, size_t at) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)code->data[at + (size_t)i] << 8 * i;
    return word;
}

void arm64_put(Arm64Code *code, Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS]) {
    uint32_t word;
    if (!arm64_word(form, operand, &word)) {
        if (!code->failed)
            code->failed = arm64_form_name(form);
        return;
    }
    if (!reserve(code, 4))
        return;
    write_word(code, code->size, word);
    code->size += 4;
}

void arm64_align(Arm64Code *code, size_t alignment) {
    while (!code->failed && code->size % alignment)
        arm64_emit(code, NOP, 0);
}

/* The branch is there with a distance of 0. */
static void set_distance(Arm64Code *code, size_t at, size_t target) {
    int64_t operand[ARM64_MAX_OPERANDS];
    Arm64Form form = arm64_form_of(read_word(code, at), operand);
    int last = form == ARM64_B ? 0 : 1;
    uint32_t word;
    operand[last] = (int64_t)target - (int64_t)at;
    if (arm64_word(form, operand, &word))
        write_word(code, at, word);
    else
        code->failed = "a jump too far";
}

void arm64_patch_jump(Arm64Code *code, size_t at, size_t target) {
    if (!code->failed)
        set_distance(code, at, target);
}

static size_t constant_of(Arm64Code *code, const unsigned char data[16]) {
    for (size_t i = 0; i < code->constant_count; i++)
        if (!memcmp(code->constants[i].data, data, 16))
            return i;
    if (!arena_grow(code->arena, &code->constants, &code->constant_capacity, code->constant_count + 1, sizeof *code->constants)) {
        code->failed = "out of memory";
        return 0;
    }
    memcpy(code->constants[code->constant_count].data, data, 16);
    return code->constant_count++;
}

void arm64_load_constant(Arm64Code *code, int reg, const unsigned char data[16]) {
    size_t constant = constant_of(code, data);
    if (!arena_grow(code->arena, &code->fixups, &code->fixup_capacity, code->fixup_count + 1, sizeof *code->fixups))
        code->failed = "out of memory";
    if (code->failed)
        return;
    code->fixups[code->fixup_count++] = (Arm64Fixup){code->size, constant};
    arm64_emit(code, LDR_Q_POOL, reg, 0);
}

void arm64_place_pool(Arm64Code *code) {
    if (code->constant_count)
        arm64_align(code, 16);
    for (size_t i = 0; i < code->constant_count; i++) {
        if (!reserve(code, 16))
            return;
        code->constants[i].at = code->size;
        memcpy(code->data + code->size, code->constants[i].data, 16);
        code->size += 16;
    }
    for (size_t i = 0; i < code->fixup_count && !code->failed; i++)
        set_distance(code, code->fixups[i].at, code->constants[code->fixups[i].constant].at);
}
