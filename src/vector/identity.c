/* What a function means to a target, as bytes: equal bytes, equal code. Names are not in it, and of every operation only what
 * its row in the table says it has. */
#include "vector/vector.h"

static void put(Text *out, const void *data, size_t bytes) {
    text_put_n(out, data, bytes);
}

static void put_address(const VectorAddress *address, Text *out) {
    put(out, &(int[]){address->base, address->terms, address->scaled}, 3 * sizeof(int));
    put(out, &address->offset, sizeof address->offset);
    for (int t = 0; t < address->terms; t++)
        put(out, &(int64_t[]){address->term[t].coef, address->term[t].index}, 2 * sizeof(int64_t));
}

static void put_loop(const VectorFunction *f, const VectorOp *op, Text *out) {
    put(out, &(int64_t[]){op->limit, op->step, op->carry_count}, 3 * sizeof(int64_t));
    put(out, f->ids + op->carried, 2 * (size_t)op->carry_count * sizeof *f->ids);
}

static void put_op(const VectorFunction *f, const VectorOp *op, Text *out) {
    const unsigned char head[] = {(unsigned char)op->code, (unsigned char)op->type, (unsigned char)op->from};
    put(out, head, sizeof head);
    put(out, &op->result, sizeof op->result);
    put(out, op->arg, (size_t)vector_arg_count(op->code) * sizeof *op->arg);
    if (vector_has(op->code, '?'))
        put(out, &op->mask, sizeof op->mask);
    if (vector_has(op->code, 'A'))
        put_address(&op->address, out);
    if (vector_has(op->code, '#'))
        put(out, &op->number, sizeof op->number);
    if (op->code == VECTOR_LOOP || op->code == VECTOR_END)
        put_loop(f, op, out);
}

void vector_identity(const VectorFunction *f, Text *out) {
    put(out, &(int[]){f->bytes, f->parameter_count, f->op_count}, 3 * sizeof(int));
    for (int i = 0; i < f->parameter_count; i++)
        text_char(out, (char)f->values[i].class);
    for (int i = 0; i < f->op_count; i++)
        put_op(f, &f->ops[i], out);
}
