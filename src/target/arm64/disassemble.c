/* Assembly text of compiled code, for people: functions, loops as indented blocks, and behind the first instruction of each
 * operation what it does in the vector code. The text is what assemblers read, but for branches, which show where they go. */
#include "target/arm64/arm64.h"

typedef struct Printer {
    const TargetCode *code;
    Text *out;
    int line, depth;
} Printer;

static uint32_t word_at(const TargetCode *code, size_t at) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)code->bytes[at + (size_t)i] << 8 * i;
    return word;
}

/* Says what begins at `at`; the comment for its first instruction is returned. */
static const Arm64Line *begin_lines(Printer *p, size_t at) {
    const Arm64Line *said = NULL;
    for (; p->line < p->code->line_count && ((const Arm64Line *)p->code->lines)[p->line].offset <= at; p->line++) {
        const Arm64Line *line = (const Arm64Line *)p->code->lines + p->line;
        said = line;
        if (line->op < 0 && !line->role[0]) {
            text_printf(p->out, "%sfunction %d:\n", line->function ? "\n" : "", line->function);
            p->depth = 1;
        }
        p->depth -= line->op >= 0 && line->code == VECTOR_END && p->depth > 1;
    }
    return said;
}

static void put_comment(Printer *p, const Arm64Line *line) {
    if (!line || (line->op < 0 && !line->role[0]) || line->code == VECTOR_OP_COUNT)
        return;
    text_put(p->out, "  ; ");
    if (line->op < 0)
        text_printf(p->out, "parameter %s", line->role);
    else if (line->code == VECTOR_LOOP && line->rounds >= 0)
        text_printf(p->out, "loop of %lld rounds", (long long)line->rounds);
    else if (line->code == VECTOR_LOOP)
        text_put(p->out, "loop");
    else
        text_printf(p->out, "%s%s%s", vector_info[line->code].name, line->type != DT_NONE ? " " : "",
                    line->type != DT_NONE ? dtype_name(line->type) : "");
}

static void put_instruction(Printer *p, size_t at, Arm64Form form, int64_t operand[ARM64_MAX_OPERANDS]) {
    text_printf(p->out, "%6zx ", at);
    for (int d = 0; d < p->depth; d++)
        text_put(p->out, "  ");
    arm64_print_word(form, operand, p->out);
    int distance = form == ARM64_B ? 0 : form == ARM64_B_COND || form == ARM64_CBZ_W || form == ARM64_LDR_Q_POOL ? 1 : -1;
    if (distance >= 0)
        text_printf(p->out, " <%zx>", (size_t)((int64_t)at + operand[distance]));
}

void arm64_print(const TargetCode *code, Text *out) {
    Printer p = {.code = code, .out = out, .depth = 1};
    for (size_t at = 0; at < code->code_size; at += 4) {
        int64_t operand[ARM64_MAX_OPERANDS];
        Arm64Form form = arm64_form_of(word_at(code, at), operand);
        const Arm64Line *line = begin_lines(&p, at);
        if (form != ARM64_NOP && form < ARM64_FORM_COUNT) {
            put_instruction(&p, at, form, operand);
            put_comment(&p, line);
            text_put(out, "\n");
        }
        p.depth += line && line->op >= 0 && line->code == VECTOR_LOOP;
    }
}
