/* What a function means to a target, as bytes: equal bytes, equal code. Names are not in it, and of every operation only what
 * its row in the table says it has.
 *
 * There are a thousand operations in a kernel, and this is done whenever one is looked for: so all is in words of eight bytes,
 * written to where they stay. */
#include <string.h>

#include "vector/vector.h"

enum {
    OP_WORDS = 1 + 4 + 2 + VECTOR_MAX_TERMS + 1 + 3, /* at most: head, operands, address, number, loop or rows */
    OPS_AT_ONCE = 64
};

/* What the table says of each operation. */
typedef struct Parts {
    unsigned char args;
    bool mask, address, number, rows;
} Parts;

static void set_parts(Parts parts[VECTOR_OP_COUNT]) {
    for (int code = 0; code < VECTOR_OP_COUNT; code++)
        parts[code] = (Parts){.args = (unsigned char)vector_arg_count((VectorCode)code),
                              .mask = vector_has((VectorCode)code, '?'),
                              .address = vector_has((VectorCode)code, 'A'),
                              .number = vector_has((VectorCode)code, '#'),
                              .rows = vector_has((VectorCode)code, '*')};
}

static uint64_t pair(int low, int high) {
    return (uint32_t)low | (uint64_t)(uint32_t)high << 32;
}

static uint64_t *put_address(const VectorAddress *address, uint64_t *to) {
    *to++ = pair(address->base, address->scaled * 256 + address->terms);
    *to++ = (uint64_t)address->offset;
    for (int t = 0; t < address->terms; t++)
        *to++ = (uint64_t)address->term[t].coef << 20 | ((uint64_t)address->term[t].index & 0xfffff);
    return to;
}

static uint64_t *put_op(const VectorOp *op, Parts parts, uint64_t *to) {
    *to++ = pair((int)op->code | (int)op->type << 8 | (int)op->from << 16, op->result);
    for (int a = 0; a < parts.args; a += 2)
        *to++ = pair(op->arg[a], a + 1 < parts.args ? op->arg[a + 1] : 0);
    if (parts.mask)
        *to++ = (uint64_t)op->mask;
    if (parts.address)
        to = put_address(&op->address, to);
    if (parts.number)
        memcpy(to++, &op->number, sizeof op->number);
    if (parts.rows)
        *to++ = (uint64_t)op->step;
    if (op->code == VECTOR_LOOP || op->code == VECTOR_END) {
        *to++ = (uint64_t)op->limit;
        *to++ = (uint64_t)op->step;
        *to++ = (uint64_t)op->carry_count;
    }
    return to;
}

void vector_identity(const VectorFunction *f, Text *out) {
    Parts parts[VECTOR_OP_COUNT];
    uint64_t words[OPS_AT_ONCE * OP_WORDS];
    const int head[] = {f->bytes, f->parameter_count, f->op_count};
    set_parts(parts);
    text_put_n(out, (const char *)head, sizeof head);
    for (int i = 0; i < f->parameter_count; i++)
        text_char(out, (char)f->values[i].class);
    for (int i = 0; i < f->op_count;) {
        uint64_t *to = words;
        int end = i + OPS_AT_ONCE < f->op_count ? i + OPS_AT_ONCE : f->op_count;
        for (; i < end; i++)
            to = put_op(&f->ops[i], parts[f->ops[i].code], to);
        text_put_n(out, (const char *)words, (size_t)(to - words) * sizeof *words);
    }
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if ((op->code == VECTOR_LOOP || op->code == VECTOR_END) && op->carry_count)
            text_put_n(out, (const char *)(f->ids + op->carried), 2 * (size_t)op->carry_count * sizeof *f->ids);
    }
}
