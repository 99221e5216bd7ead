/* Assembly text of compiled code, for people: functions, loops as indented blocks with labels, and behind the first instruction
 * of each operation what it does in the vector code. */
#include "target/x86/x86.h"

#include <Zydis/Zydis.h>

typedef struct Printer {
    const TargetCode *code;
    Text *out;
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    int line, depth;
} Printer;

static bool decode(const Printer *p, size_t at, ZydisDecodedInstruction *instruction, ZydisDecodedOperand *operands) {
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&p->decoder, p->code->bytes + at, p->code->size - at, instruction, operands));
}

static bool is_jump(const ZydisDecodedInstruction *instruction) {
    return instruction->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && instruction->mnemonic != ZYDIS_MNEMONIC_RET;
}

static size_t jump_target(size_t at, const ZydisDecodedInstruction *instruction, const ZydisDecodedOperand *operands) {
    return at + instruction->length + (size_t)operands[0].imm.value.s;
}

/* Says what begins at `at`; the comment for its first instruction is returned. */
static const X86Line *begin_lines(Printer *p, size_t at) {
    const X86Line *said = NULL;
    for (; p->line < p->code->line_count && ((const X86Line *)p->code->lines)[p->line].offset <= at; p->line++) {
        const X86Line *line = (const X86Line *)p->code->lines + p->line;
        said = line;
        if (line->kind == X86_LINE_FUNCTION) {
            text_printf(p->out, "%sfunction %d:\n", line->number ? "\n" : "", (int)line->number);
            p->depth = 1;
        }
        p->depth -= line->kind == X86_LINE_OPERATION && line->code == VECTOR_END && p->depth > 1;
    }
    return said;
}

static void put_comment(Printer *p, const X86Line *line) {
    if (!line || (line->kind != X86_LINE_PARAMETER && line->kind != X86_LINE_OPERATION))
        return;
    text_put(p->out, "  ; ");
    if (line->kind == X86_LINE_PARAMETER)
        text_printf(p->out, "parameter %s", ((const X86Role *)p->code->roles)[line->number]);
    else if (line->code == VECTOR_LOOP && line->number >= 0)
        text_printf(p->out, "loop of %d rounds", (int)line->number);
    else if (line->code == VECTOR_LOOP)
        text_put(p->out, "loop");
    else
        text_printf(p->out, "%s%s%s", vector_info[line->code].name, line->type != DT_NONE ? " " : "",
                    line->type != DT_NONE ? dtype_name(line->type) : "");
}

static void put_instruction(Printer *p, size_t at, const ZydisDecodedInstruction *instruction,
                            const ZydisDecodedOperand *operands) {
    char buffer[160];
    ZydisFormatterFormatInstruction(&p->formatter, instruction, operands, instruction->operand_count_visible, buffer,
                                    sizeof buffer, ZYDIS_RUNTIME_ADDRESS_NONE, NULL);
    text_printf(p->out, "%6zx ", at);
    for (int d = 0; d < p->depth; d++)
        text_put(p->out, "  ");
    if (is_jump(instruction))
        text_printf(p->out, "%s %zx", ZydisMnemonicGetString(instruction->mnemonic), jump_target(at, instruction, operands));
    else
        text_put(p->out, buffer);
}

void x86_print(const TargetCode *code, Text *out) {
    Printer p = {.code = code, .out = out, .depth = 1};
    ZydisDecoderInit(&p.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&p.formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    size_t last = code->line_count ? ((const X86Line *)code->lines)[code->line_count - 1].offset : 0;
    bool returned = false;
    for (size_t at = 0; at < code->size && !(at > last && returned);) { /* constants follow the last return */
        ZydisDecodedInstruction instruction;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        if (!decode(&p, at, &instruction, operands))
            break;
        const X86Line *line = begin_lines(&p, at);
        bool filler = instruction.mnemonic == ZYDIS_MNEMONIC_NOP;
        if (!filler) {
            put_instruction(&p, at, &instruction, operands);
            put_comment(&p, line);
            text_put(out, "\n");
        }
        p.depth += line && line->kind == X86_LINE_OPERATION && line->code == VECTOR_LOOP;
        returned = instruction.mnemonic == ZYDIS_MNEMONIC_RET;
        at += instruction.length;
    }
}
