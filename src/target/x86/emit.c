/* Bytes: single instructions through Zydis' encoder, the pool of constants behind the code, and jumps. */
#include "target/x86/x86.h"

#include <Zydis/Zydis.h>
#include <string.h>

static bool reserve(X86Code *code, size_t bytes) {
    if (code->capacity - code->size < bytes && !arena_grow(code->arena, &code->data, &code->capacity, code->size + bytes, 1))
        code->failed = "out of memory";
    return !code->failed;
}

void x86_byte(X86Code *code, int byte) {
    if (reserve(code, 1))
        code->data[code->size++] = (unsigned char)byte;
}

void x86_align(X86Code *code, size_t alignment) {
    size_t gap = (alignment - code->size % alignment) % alignment;
    if (gap && reserve(code, gap)) {
        ZydisEncoderNopFill(code->data + code->size, gap);
        code->size += gap;
    }
}

void x86_patch_jump(X86Code *code, size_t at, size_t target) {
    int32_t distance = (int32_t)((int64_t)target - (int64_t)(at + 4));
    if (!code->failed)
        memcpy(code->data + at, &distance, sizeof distance);
}

int x86_constant(X86Code *code, const void *data, size_t size) {
    for (size_t i = 0; i < code->constant_count; i++)
        if (code->constants[i].size == size && !memcmp(code->constants[i].data, data, size))
            return (int)i;
    if (!arena_grow(code->arena, &code->constants, &code->constant_capacity, code->constant_count + 1, sizeof *code->constants)) {
        code->failed = "out of memory";
        return 0;
    }
    X86Constant *c = &code->constants[code->constant_count];
    memcpy(c->data, data, size);
    c->size = size;
    return (int)code->constant_count++;
}

void x86_place_pool(X86Code *code) {
    for (size_t size = VECTOR_MAX_BYTES; size >= 1; size /= 2) /* the widest first, so that all are aligned */
        for (size_t i = 0; i < code->constant_count; i++) {
            X86Constant *c = &code->constants[i];
            if (c->size != size)
                continue;
            x86_align(code, size);
            c->at = code->size;
            if (!reserve(code, size))
                return;
            memcpy(code->data + code->size, c->data, size);
            code->size += size;
        }
    for (size_t i = 0; i < code->fixup_count; i++) {
        const X86Fixup *fixup = &code->fixups[i];
        int32_t distance = (int32_t)((int64_t)code->constants[fixup->constant].at - (int64_t)fixup->end);
        memcpy(code->data + fixup->at, &distance, sizeof distance);
    }
}

static ZydisBroadcastMode broadcast_mode(int elements) {
    switch (elements) {
    case 2: return ZYDIS_BROADCAST_MODE_1_TO_2;
    case 4: return ZYDIS_BROADCAST_MODE_1_TO_4;
    case 8: return ZYDIS_BROADCAST_MODE_1_TO_8;
    case 16: return ZYDIS_BROADCAST_MODE_1_TO_16;
    default: return ZYDIS_BROADCAST_MODE_INVALID;
    }
}

static void put_operand(ZydisEncoderRequest *request, const X86Operand *operand) {
    ZydisEncoderOperand *o = &request->operands[request->operand_count++];
    if (operand->kind == X86_REGISTER) {
        o->type = ZYDIS_OPERAND_TYPE_REGISTER;
        o->reg.value = (ZydisRegister)operand->reg;
        if (request->mnemonic == ZYDIS_MNEMONIC_VBLENDVPS || request->mnemonic == ZYDIS_MNEMONIC_VBLENDVPD)
            o->reg.is4 = request->operand_count == 4;
    } else if (operand->kind >= X86_MEMORY) {
        o->type = ZYDIS_OPERAND_TYPE_MEMORY;
        o->mem.base = operand->kind == X86_POOL ? ZYDIS_REGISTER_RIP : (ZydisRegister)operand->reg;
        o->mem.index = (ZydisRegister)operand->index;
        o->mem.scale = (ZyanU8)operand->scale;
        o->mem.displacement = operand->kind == X86_POOL ? 0 : operand->number;
        o->mem.size = (ZyanU16)operand->size;
        if (operand->broadcast)
            request->evex.broadcast = broadcast_mode(operand->broadcast);
    } else {
        o->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
        o->imm.s = operand->number;
    }
}

size_t x86_emit_slowly(const X86Instruction *instruction, unsigned char *to) {
    ZydisEncoderRequest request;
    memset(&request, 0, sizeof request);
    request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
    request.mnemonic = (ZydisMnemonic)instruction->mnemonic;
    request.allowed_encodings =
        instruction->evex ? ZYDIS_ENCODABLE_ENCODING_EVEX : ZYDIS_ENCODABLE_ENCODING_VEX | ZYDIS_ENCODABLE_ENCODING_LEGACY;
    for (int i = 0; i < 4 && instruction->operand[i].kind != X86_NONE; i++) {
        put_operand(&request, &instruction->operand[i]);
        if (i == 0 && instruction->evex && !instruction->bare) {
            X86Operand mask = {.kind = X86_REGISTER, .reg = (short)(ZYDIS_REGISTER_K0 + instruction->mask)};
            put_operand(&request, &mask);
        }
    }
    request.evex.zeroing_mask = instruction->zeroing;
    ZyanUSize length = ZYDIS_MAX_INSTRUCTION_LENGTH;
    return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, to, &length)) ? length : 0;
}

/* Bytes behind the displacement, which is the last part but for these. */
static size_t bytes_behind(const X86Instruction *instruction) {
    for (int i = 0; i < 4; i++)
        if (instruction->operand[i].kind == X86_IMMEDIATE)
            return 1;
    return instruction->operand[3].kind == X86_REGISTER; /* the fourth register of a blend */
}

/* The displacement at `at` is the distance to a constant, if the instruction has one in the pool. */
static void add_fixup(X86Code *code, const X86Instruction *instruction, size_t at) {
    int i = 0;
    while (i < 4 && instruction->operand[i].kind != X86_POOL)
        i++;
    if (i == 4)
        return;
    if (arena_grow(code->arena, &code->fixups, &code->fixup_capacity, code->fixup_count + 1, sizeof *code->fixups))
        code->fixups[code->fixup_count++] = (X86Fixup){at, code->size, (size_t)instruction->operand[i].number};
    else
        code->failed = "out of memory";
}

static void emit_slowly(X86Code *code, const X86Instruction *instruction) {
    size_t length = x86_emit_slowly(instruction, code->data + code->size);
    if (!length) {
        code->failed = ZydisMnemonicGetString((ZydisMnemonic)instruction->mnemonic);
        return;
    }
    code->size += length;
    add_fixup(code, instruction, code->size - 4 - bytes_behind(instruction));
}

void x86_emit(X86Code *code, const X86Instruction *instruction) {
    if (!reserve(code, ZYDIS_MAX_INSTRUCTION_LENGTH))
        return;
    const size_t start = code->size;
    size_t displacement, length = x86_write(instruction, code->data + start, &displacement);
    if (!length) {
        emit_slowly(code, instruction);
        return;
    }
    code->size += length;
    if (displacement)
        add_fixup(code, instruction, start + displacement);
}
