/* What a function means to a target, as bytes: equal bytes, equal code. Names are not in it, and of every operation only what
 * its row in the table says it has. */
#include <string.h>

#include "vector/vector.h"

/* One operation's bytes, put into the text at once: there are a thousand in a kernel. */
typedef struct Bytes {
    unsigned char data[192];
    size_t count;
} Bytes;

_Static_assert(3 + 5 * sizeof(int) + 3 * sizeof(int) + (2 + 2 * VECTOR_MAX_TERMS) * sizeof(int64_t) + 3 * sizeof(int64_t) <= 192,
               "an operation has room");

static void add(Bytes *b, const void *data, size_t bytes) {
    memcpy(b->data + b->count, data, bytes);
    b->count += bytes;
}

static void add_address(const VectorAddress *address, Bytes *b) {
    const int head[] = {address->base, address->terms, address->scaled};
    add(b, head, sizeof head);
    add(b, &address->offset, sizeof address->offset);
    for (int t = 0; t < address->terms; t++) {
        const int64_t term[] = {address->term[t].coef, address->term[t].index};
        add(b, term, sizeof term);
    }
}

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

static void put_op(const VectorFunction *f, const VectorOp *op, Parts parts, Text *out) {
    Bytes b;
    const unsigned char head[] = {(unsigned char)op->code, (unsigned char)op->type, (unsigned char)op->from};
    b.count = 0;
    add(&b, head, sizeof head);
    add(&b, &op->result, sizeof op->result);
    add(&b, op->arg, parts.args * sizeof *op->arg);
    if (parts.mask)
        add(&b, &op->mask, sizeof op->mask);
    if (parts.address)
        add_address(&op->address, &b);
    if (parts.number)
        add(&b, &op->number, sizeof op->number);
    if (parts.rows)
        add(&b, &op->step, sizeof op->step);
    bool loops = op->code == VECTOR_LOOP || op->code == VECTOR_END;
    if (loops) {
        const int64_t loop[] = {op->limit, op->step, op->carry_count};
        add(&b, loop, sizeof loop);
    }
    text_put_n(out, (const char *)b.data, b.count);
    if (loops)
        text_put_n(out, (const char *)(f->ids + op->carried), 2 * (size_t)op->carry_count * sizeof *f->ids);
}

void vector_identity(const VectorFunction *f, Text *out) {
    Parts parts[VECTOR_OP_COUNT];
    const int head[] = {f->bytes, f->parameter_count, f->op_count};
    set_parts(parts);
    text_put_n(out, (const char *)head, sizeof head);
    for (int i = 0; i < f->parameter_count; i++)
        text_char(out, (char)f->values[i].class);
    for (int i = 0; i < f->op_count; i++)
        put_op(f, &f->ops[i], parts[f->ops[i].code], out);
}
