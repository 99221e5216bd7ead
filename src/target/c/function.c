/* A vector function as a C function: every operation a statement, every loop a loop. What a loop carries is a variable before
 * it, which the end of its body sets. */
#include <string.h>

#include "target/c/c.h"

typedef struct Printer {
    const VectorFunction *f;
    Text *out;
    int *name;     /* by value: the value whose C variable it is in */
    bool *used;    /* by value: anything that stays reads it */
    bool *written; /* by value, of pointers: something is stored through it */
    int depth;
    const char *refused;
} Printer;

static void put_value(const Printer *p, Text *out, int value) {
    value = p->name[value];
    if (value < p->f->parameter_count)
        text_put(out, p->f->values[value].name);
    else
        text_printf(out, "%c%d", p->f->values[value].class == CLASS_INDEX ? 'i' : 'v', value);
}

static void put_class(const Printer *p, Text *out, int value) {
    const VectorValue *v = &p->f->values[value];
    switch (v->class) {
    case CLASS_INDEX: text_put(out, "int64_t"); break;
    case CLASS_POINTER: text_put(out, p->written[value] ? "char *" : "const char *"); break;
    case CLASS_MASK: text_printf(out, "s%dv", dtype_bits(v->type)); break;
    default: text_printf(out, "%sv", dtype_name(v->type)); break;
    }
}

/* ---- what is used ---- */

static void use(Printer *p, int value) {
    if (value >= 0)
        p->used[value] = true;
}

static void use_op(Printer *p, const VectorOp *op) {
    int args = op->code == VECTOR_LOOP || op->code == VECTOR_END ? 0 : vector_arg_count(op->code);
    for (int a = 0; a < args; a++)
        use(p, op->arg[a]);
    use(p, op->mask);
    if (op->code == VECTOR_LOOP)
        use(p, op->limit);
    for (int c = 0; c < op->carry_count; c++)
        use(p, p->f->ids[op->carried + c]);
    if (!vector_has(op->code, 'A'))
        return;
    use(p, op->address.base);
    for (int t = 0; t < op->address.terms; t++)
        use(p, op->address.term[t].index);
}

static bool is_prefetch(const VectorOp *op) {
    return op->code == VECTOR_PREFETCH || op->code == VECTOR_PREFETCH_L2;
}

/* Backwards: what stores and loops need, and what that needs. */
static void find_uses(Printer *p) {
    for (int i = p->f->op_count - 1; i >= 0; i--) {
        const VectorOp *op = &p->f->ops[i];
        bool stays = op->result < 0 || op->code == VECTOR_LOOP || p->used[op->result];
        if (!stays || is_prefetch(op))
            continue;
        use_op(p, op);
        if (op->code == VECTOR_STORE || op->code == VECTOR_STORE_FIRST)
            p->written[op->address.base] = true;
        if ((op->code == VECTOR_POINTER_ADD || op->code == VECTOR_POINTER_INDEX) && p->written[op->result])
            p->written[op->arg[0]] = true;
    }
}

/* ---- operations ---- */

static void indent(const Printer *p) {
    text_printf(p->out, "%*s", 4 * p->depth, "");
}

static void put_address(Printer *p, const VectorAddress *a) {
    put_value(p, p->out, a->base);
    if (a->scaled)
        p->refused = "an address in registers of unknown length";
    for (int t = 0; t < a->terms; t++) {
        text_printf(p->out, " + %lld * ", (long long)a->term[t].coef);
        put_value(p, p->out, a->term[t].index);
    }
    if (a->offset)
        text_printf(p->out, " %c %lld", a->offset < 0 ? '-' : '+', (long long)(a->offset < 0 ? -a->offset : a->offset));
}

/* "f32v_add", the row's name in ops.c. */
static void put_name(const Printer *p, const VectorOp *op) {
    const char *text = op->code == VECTOR_CONST        ? "all"
                       : op->code == VECTOR_MASK_BELOW ? "mask_first"
                                                       : vector_info[op->code].name;
    text_printf(p->out, "%sv_%s", dtype_name(op->type), text);
    if (op->from != DT_NONE && (op->from != op->type || op->code == VECTOR_BITS))
        text_printf(p->out, "_%s", dtype_name(op->from));
    if (op->mask >= 0)
        text_put(p->out, "_if");
}

static bool known(const VectorOp *op) {
    switch (op->code) {
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS: return op->from == DT_S32; /* bytes are taken out of 32 bits */
    case VECTOR_DOT2:
    case VECTOR_DOT4_UU:
    case VECTOR_DOT4_SS_LANE:
    case VECTOR_DOT4_UU_LANE:
    case VECTOR_LOAD_BLOCK:
    case VECTOR_MMLA:
    case VECTOR_MMLA_US:
    case VECTOR_TILE_ZERO:
    case VECTOR_OUTER:
    case VECTOR_TILE_DOT2:
    case VECTOR_TILE_DOT4_SS:
    case VECTOR_TILE_DOT4_US:
    case VECTOR_TILE_DOT4_SU:
    case VECTOR_TILE_DOT4_UU:
    case VECTOR_TILE_LOAD:
    case VECTOR_TILE_STORE:
    case VECTOR_TILE_ROW: return false;
    default: return true;
    }
}

static void put_table(Printer *p, const float *table) {
    text_put(p->out, "(const float[]){");
    for (int i = 0; i < VECTOR_TABLE_LENGTH; i++) {
        text_put(p->out, i ? ", " : "");
        c_number(p->out, DT_F32, (double)table[i], 0);
    }
    text_char(p->out, '}');
}

static void put_arguments(Printer *p, const VectorOp *op) {
    const char *separator = "";
    if (vector_has(op->code, 'A')) {
        put_address(p, &op->address);
        separator = ", ";
    }
    for (int a = 0, args = vector_arg_count(op->code); a < args; a++) {
        text_put(p->out, separator);
        put_value(p, p->out, op->arg[a]);
        separator = ", ";
    }
    if (vector_has(op->code, '#')) {
        text_put(p->out, separator);
        if (op->code == VECTOR_CONST)
            c_number(p->out, op->type, op->number, dtype_kind(op->type) == KIND_FLOAT ? 0 : (int64_t)op->number);
        else if (op->code == VECTOR_LOOKUP)
            put_table(p, vector_table[(int)op->number]);
        else
            text_printf(p->out, "%lld", (long long)op->number);
        separator = ", ";
    }
    if (op->mask >= 0) {
        text_put(p->out, separator);
        put_value(p, p->out, op->mask);
    }
}

static void put_op(Printer *p, const VectorOp *op) {
    if (is_prefetch(op) || (op->result >= 0 && !p->used[op->result]))
        return;
    if (!known(op)) {
        p->refused = vector_info[op->code].name;
        return;
    }
    indent(p);
    if (op->result >= 0) {
        if (p->f->values[op->result].class != CLASS_POINTER)
            text_put(p->out, "const ");
        put_class(p, p->out, op->result);
        text_char(p->out, ' ');
        put_value(p, p->out, op->result);
        text_put(p->out, " = ");
    }
    if (op->code == VECTOR_POINTER_ADD) {
        put_value(p, p->out, op->arg[0]);
        text_printf(p->out, " + %lld;\n", (long long)op->number);
    } else if (op->code == VECTOR_LOAD_INDEX) {
        text_put(p->out, "*(const int64_t *)(const void *)(");
        put_address(p, &op->address);
        text_put(p->out, ");\n");
    } else if (op->code == VECTOR_POINTER_INDEX) {
        put_value(p, p->out, op->arg[0]);
        text_put(p->out, " + ");
        put_value(p, p->out, op->arg[1]);
        text_printf(p->out, " * %lld;\n", (long long)op->number);
    } else {
        put_name(p, op);
        text_char(p->out, '(');
        put_arguments(p, op);
        text_put(p->out, ");\n");
    }
}

/* ---- loops ---- */

static void open_loop(Printer *p, const VectorOp *op) {
    const int *first = p->f->ids + op->carried, *inside = first + op->carry_count;
    for (int c = 0; c < op->carry_count; c++) {
        indent(p);
        put_class(p, p->out, inside[c]);
        text_char(p->out, ' ');
        put_value(p, p->out, inside[c]);
        text_put(p->out, " = ");
        put_value(p, p->out, first[c]);
        text_put(p->out, ";\n");
    }
    indent(p);
    text_put(p->out, "for (int64_t ");
    put_value(p, p->out, op->result);
    text_put(p->out, " = 0; ");
    put_value(p, p->out, op->result);
    text_put(p->out, " < ");
    if (op->limit >= 0)
        put_value(p, p->out, op->limit);
    else
        text_printf(p->out, "%lld", (long long)op->number);
    text_put(p->out, "; ");
    put_value(p, p->out, op->result);
    text_printf(p->out, " += %lld) {\n", (long long)op->step);
    p->depth++;
}

/* Does a carried variable get another's value, which may be set before it? */
static bool crosses(const Printer *p, const int *next, const int *inside, int count) {
    for (int c = 0; c < count; c++)
        for (int d = 0; d < count; d++)
            if (d != c && p->name[next[c]] == inside[d])
                return true;
    return false;
}

static void close_loop(Printer *p, const VectorOp *end) {
    const VectorOp *head = &p->f->ops[end->other];
    const int *inside = p->f->ids + head->carried + head->carry_count, *next = p->f->ids + end->carried;
    int count = head->carry_count;
    bool cross = crosses(p, next, inside, count);
    for (int pass = cross ? 0 : 1; pass < 2; pass++)
        for (int c = 0; c < count; c++) {
            if (p->name[next[c]] == inside[c])
                continue;
            indent(p);
            if (pass == 0) {
                text_put(p->out, "const ");
                put_class(p, p->out, inside[c]);
                text_char(p->out, ' ');
            }
            if (pass == 0 || !cross) {
                put_value(p, p->out, inside[c]);
                text_put(p->out, pass ? " = " : "next = ");
                put_value(p, p->out, next[c]);
            } else {
                put_value(p, p->out, inside[c]);
                text_put(p->out, " = ");
                put_value(p, p->out, inside[c]);
                text_put(p->out, "next");
            }
            text_put(p->out, ";\n");
        }
    for (int c = 0; c < count; c++) /* the variable keeps what it had at the end */
        p->name[next[count + c]] = p->name[inside[c]];
    p->depth--;
    indent(p);
    text_put(p->out, "}\n");
}

static void put_head(Printer *p, const char *prefix, int index) {
    const VectorFunction *f = p->f;
    text_printf(p->out, "static void %s_%s_%d(", prefix, f->name, index);
    for (int i = 0; i < f->parameter_count; i++) {
        text_put(p->out, i ? ", " : "");
        put_class(p, p->out, i);
        text_printf(p->out, "%s%s", f->values[i].class == CLASS_POINTER ? "" : " ", f->values[i].name);
    }
    text_put(p->out, ") {\n");
    for (int i = 0; i < f->parameter_count; i++)
        if (!p->used[i])
            text_printf(p->out, "    (void)%s;\n", f->values[i].name);
}

whet_status c_print_function(const VectorFunction *f, const char *prefix, int index, Text *out, whet_error *err) {
    Arena arena;
    bool native[VECTOR_OP_COUNT];
    for (int code = 0; code < VECTOR_OP_COUNT; code++)
        native[code] = code != VECTOR_SCALE /* ldexp is slow */ && code != VECTOR_PICK && code != VECTOR_LOOKUP_PAIR;
    if (!(f = vector_rewrite(f, native, err)))
        return err && err->status ? err->status : WHET_ERROR_UNSUPPORTED;
    arena_init(&arena, NULL);
    size_t count = (size_t)f->value_count + 1;
    Printer p = {.f = f, .out = out, .depth = 1};
    p.name = ARENA_ARRAY(&arena, int, count);
    p.used = ARENA_ARRAY(&arena, bool, count);
    p.written = ARENA_ARRAY(&arena, bool, count);
    whet_status status = arena.failed ? error_memory(err) : WHET_OK;
    if (!status) {
        for (int v = 0; v < f->value_count; v++)
            p.name[v] = v;
        find_uses(&p);
        put_head(&p, prefix, index);
        for (int i = 0; i < f->op_count && !p.refused; i++)
            if (f->ops[i].code == VECTOR_LOOP)
                open_loop(&p, &f->ops[i]);
            else if (f->ops[i].code == VECTOR_END)
                close_loop(&p, &f->ops[i]);
            else
                put_op(&p, &f->ops[i]);
        text_put(out, "}\n\n");
        if (p.refused)
            status = error_set(err, WHET_ERROR_UNSUPPORTED, "'%s' in C: no '%s'", f->name, p.refused);
        else if (out->failed)
            status = error_memory(err);
    }
    arena_free(&arena);
    return status;
}
