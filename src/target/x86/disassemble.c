/* Assembly text of compiled code, each operation's instructions under its number. */
#include "target/x86/x86.h"

#include <Zydis/Zydis.h>

static size_t code_end(const TargetCode *code) {
    size_t end = 0;
    for (int i = 0; i < code->line_count; i++)
        if (code->lines[i].offset > end)
            end = code->lines[i].offset;
    return end;
}

void x86_print(const TargetCode *code, Text *out) {
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    size_t at = 0, last = code_end(code);
    int line = 0;
    bool returned = false;
    while (at < code->size && !(at > last && returned)) {
        for (; line < code->line_count && code->lines[line].offset <= at; line++)
            if (code->lines[line].op < 0)
                text_printf(out, "function %d:\n", code->lines[line].function);
        ZydisDecodedInstruction instruction;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code->bytes + at, code->size - at, &instruction, operands)))
            break;
        char buffer[160];
        ZydisFormatterFormatInstruction(&formatter, &instruction, operands, instruction.operand_count_visible, buffer,
                                        sizeof buffer, at, NULL);
        text_printf(out, "%6zx  %s\n", at, buffer);
        returned = instruction.mnemonic == ZYDIS_MNEMONIC_RET;
        at += instruction.length;
    }
}
