/* The text form of vector code, one operation a line:
 *
 *     function gemm_8x48, 64 bytes a register, pointer %a, pointer %b, pointer %c, index %rows
 *       loop %4 = 0 to %rows step 8
 *         %5 = const f32 0
 *         loop %6 = 0 to 768 step 1 (%7 = %5)
 *           %8 = load f32 [%b + 192*%6 + 64]
 *           %9 = splat f32 [%a + 3072*%4 + 4*%6]
 *           %10 = fma f32 %9, %8, %7
 *         end %10 -> %11
 *         store f32 [%c + 192*%4] %11 if %3
 *       end
 *
 * A memory type that differs from the register's follows it: `load f32 from bf16`. Values are numbered in the order in which
 * they are defined, so equal functions print the same. */
#include "vector/vector.h"

static void put_value(const VectorFunction *f, int id, Text *out) {
    if (id >= 0 && id < f->parameter_count)
        text_printf(out, "%%%s", f->values[id].name);
    else
        text_printf(out, "%%%d", id);
}

static void put_values(const VectorFunction *f, const int *ids, int count, Text *out) {
    for (int i = 0; i < count; i++) {
        text_put(out, i ? ", " : " ");
        put_value(f, ids[i], out);
    }
}

static void put_address(const VectorFunction *f, const VectorAddress *a, Text *out) {
    text_put(out, "[");
    put_value(f, a->base, out);
    for (int t = 0; t < a->terms; t++) {
        text_printf(out, " + %lld*", (long long)a->term[t].coef);
        put_value(f, a->term[t].index, out);
    }
    if (a->scaled)
        text_printf(out, " + %lld*vl", (long long)a->scaled);
    if (a->offset)
        text_printf(out, " + %lld", (long long)a->offset);
    text_put(out, "]");
}

static void put_loop(const VectorFunction *f, const VectorOp *op, Text *out) {
    text_put(out, "loop ");
    put_value(f, op->result, out);
    text_put(out, " = 0 to ");
    if (op->limit >= 0)
        put_value(f, op->limit, out);
    else
        text_printf(out, "%lld", (long long)op->number);
    text_printf(out, " step %lld", (long long)op->step);
    const int *ids = f->ids + op->carried;
    for (int i = 0; i < op->carry_count; i++) {
        text_put(out, i ? ", " : " (");
        put_value(f, ids[op->carry_count + i], out);
        text_put(out, " = ");
        put_value(f, ids[i], out);
    }
    if (op->carry_count)
        text_put(out, ")");
}

static void put_plain(const VectorFunction *f, const VectorOp *op, Text *out) {
    if (op->result >= 0) {
        put_value(f, op->result, out);
        text_put(out, " = ");
    }
    text_put(out, vector_info[op->code].name);
    if (op->type != DT_NONE)
        text_printf(out, " %s", dtype_name(op->type));
    if (op->from != DT_NONE && op->from != op->type)
        text_printf(out, " from %s", dtype_name(op->from));
    if (vector_has(op->code, 'A')) {
        text_put(out, " ");
        put_address(f, &op->address, out);
    }
    put_values(f, op->arg, vector_arg_count(op->code), out);
    if (vector_has(op->code, '#')) {
        text_put(out, vector_arg_count(op->code) ? ", " : " ");
        text_double(out, op->number);
    }
    if (vector_has(op->code, '*') && op->step)
        text_printf(out, " rows %lld", (long long)op->step);
    if (op->mask >= 0) {
        text_put(out, " if ");
        put_value(f, op->mask, out);
    }
}

static void put_end(const VectorFunction *f, const VectorOp *op, Text *out) {
    text_put(out, "end");
    put_values(f, f->ids + op->carried, op->carry_count, out);
    if (op->carry_count)
        text_put(out, " ->");
    put_values(f, f->ids + op->carried + op->carry_count, op->carry_count, out);
}

void vector_print(const VectorFunction *f, Text *out) {
    text_printf(out, "function %s, %d bytes a register", f->name, f->bytes);
    for (int i = 0; i < f->parameter_count; i++)
        text_printf(out, ", %s %%%s", f->values[i].class == CLASS_POINTER ? "pointer" : "index", f->values[i].name);
    text_put(out, "\n");
    int depth = 1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        depth -= op->code == VECTOR_END;
        for (int d = 0; d < depth; d++)
            text_put(out, "  ");
        if (op->code == VECTOR_LOOP)
            put_loop(f, op, out);
        else if (op->code == VECTOR_END)
            put_end(f, op, out);
        else
            put_plain(f, op, out);
        text_put(out, "\n");
        depth += op->code == VECTOR_LOOP;
    }
}
