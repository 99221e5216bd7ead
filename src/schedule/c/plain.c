/* Kernels that no template takes, as C: loops just as the notation has them, one definition after another. Every expression is a
 * variable of its own, set in the innermost loop around it; a reduction is a loop, and stands as far out as its axes allow.
 * What each operation means is in target/c/ops.c, the same as the evaluator's. */
#include <stdio.h>
#include <string.h>

#include "schedule/c/c_kernel.h"

typedef struct Plain {
    const Kernel *kernel;
    const CNames *names;
    const Definition *d;
    Text *out;
    Arena *arena;
    const char *axis[KERNEL_MAX_AXES];
    uint32_t *depends;  /* by expression: axes it is computed from */
    const char **value; /* by expression: its text; NULL: not computed here */
    uint32_t bound;     /* axes whose loops are open */
    int depth;
    bool faults, empty; /* empty: some loop has no rounds */
} Plain;

static void indent(const Plain *p) {
    text_printf(p->out, "%*s", 4 * p->depth, "");
}

/* ---- what depends on which axes ---- */

static uint32_t axes_of_index(const Plain *p, const Index *index) {
    uint32_t set = 0;
    if (!index->affine)
        return p->depends[index->expr->id];
    for (int a = 0; a < p->d->axis_count; a++)
        if (index->coef[a])
            set |= UINT32_C(1) << a;
    return set;
}

static void find_depends(Plain *p) {
    for (int i = 0; i < p->d->expr_count; i++) {
        const Expr *e = p->d->exprs[i];
        uint32_t set = e->op == EXPR_AXIS ? UINT32_C(1) << e->axis : 0;
        for (int k = 0; e->op == EXPR_READ && k < e->index_count; k++)
            set |= axes_of_index(p, &e->index[k]);
        for (int k = 0; k < 3; k++)
            if (e->arg[k] && e->op != EXPR_READ)
                set |= p->depends[e->arg[k]->id];
        for (int k = 0; e->op == EXPR_REDUCE && k < e->axis_count; k++)
            set &= ~(UINT32_C(1) << e->axes[k]);
        p->depends[i] = set;
    }
}

/* ---- indices ---- */

static const char *emit(Plain *p, const Expr *e);

static void put_affine(const Plain *p, Text *out, const Index *index) {
    bool first = true;
    for (int a = 0; a < p->d->axis_count; a++) {
        int64_t coef = index->coef[a];
        if (!coef)
            continue;
        bool minus = coef < 0 && !first;
        text_put(out, first ? "" : minus ? " - " : " + ");
        if (minus && coef != INT64_MIN)
            coef = -coef;
        if (coef != 1) {
            c_number(out, DT_S64, 0, coef);
            text_put(out, " * ");
        }
        text_put(out, p->axis[a]);
        first = false;
    }
    if (first)
        c_number(out, DT_S64, 0, index->offset);
    else if (index->offset)
        text_printf(out, " %c %llu", index->offset < 0 ? '-' : '+',
                    index->offset < 0 ? 0 - (unsigned long long)index->offset : (unsigned long long)index->offset);
}

static const char *index_text(Plain *p, const Index *index) {
    if (!index->affine)
        return emit(p, index->expr);
    Text text;
    text_init(&text);
    put_affine(p, &text, index);
    const char *copy = arena_string(p->arena, text.data, text.length);
    text_free(&text);
    return copy ? copy : "";
}

/* "name[(i * 5 + j) * 3 + k]" */
static void put_element(const Plain *p, Text *out, int tensor, const char *const *index, int count) {
    const KernelTensor *t = &p->kernel->tensors[tensor];
    text_printf(out, "%s[%s", p->names->tensor[tensor], count ? "" : "0");
    for (int k = 0; k < count - 2; k++)
        text_char(out, '(');
    for (int k = 0; k < count; k++) {
        bool sum = count > 1 && (k ? index[k][0] == '-' : strchr(index[k], ' ') != NULL);
        if (k)
            text_printf(out, "%s * %lld + ", k > 1 ? ")" : "", (long long)t->dims[k]);
        text_printf(out, sum ? "(%s)" : "%s", index[k]);
    }
    text_char(out, ']');
}

/* On which sides an index can leave its dimension: by its axes, or by its type. (Compilers say of tests that cannot fail that
 * they cannot.) */
static void find_sides(const Plain *p, const Index *index, int64_t extent, bool *below, bool *above) {
    int64_t low = index->offset, high = index->offset;
    *below = *above = true;
    if (!index->affine) {
        DType type = index->expr->type;
        int bits = dtype_bits(type) - (dtype_kind(type) == KIND_SIGNED);
        *below = dtype_kind(type) == KIND_SIGNED;
        *above = type == DT_BOOL ? extent < 2 : bits > 32 || extent < INT64_C(1) << bits;
        return;
    }
    for (int a = 0; a < p->d->axis_count; a++) {
        int64_t reach;
        if (!checked_mul(index->coef[a], p->d->axes[a].extent - 1, &reach) ||
            !checked_add(reach < 0 ? low : high, reach, reach < 0 ? &low : &high))
            return;
    }
    *below = low < 0;
    *above = high >= extent;
}

static void put_outside_test(Text *out, const char *index, int64_t extent, bool below, bool above) {
    if (below)
        text_printf(out, "%s < 0%s", index, above ? " || " : "");
    if (above)
        text_printf(out, "%s >= %lld", index, (long long)extent);
}

/* ---- reads ---- */

static const char *temporary(Plain *p, const Expr *e) {
    const char *name = arena_printf(p->arena, "v%d", e->id);
    return name ? name : "";
}

static const char *local_type(DType type) {
    return dtype_is_half(type) ? "float" : c_type(type);
}

static void put_load(const Plain *p, const Expr *e, const char *const *index) {
    if (dtype_is_half(e->type))
        text_printf(p->out, "%s_load(", dtype_name(e->type));
    put_element(p, p->out, e->tensor, index, e->index_count);
    text_put(p->out, dtype_is_half(e->type) ? ")" : "");
}

static void put_number(Text *out, DType type, const Expr *number) {
    double x = number->number;
    if (dtype_is_half(type))
        x = (double)(type == DT_F16 ? f16_to_f32(f64_to_f16(x)) : bf16_to_f32(f32_to_bf16((float)x)));
    c_number(out, dtype_is_half(type) ? DT_F32 : type, x, number->integer);
}

static void put_outside(const Plain *p, const Expr *e) {
    if (e->arg[0])
        put_number(p->out, e->type, e->arg[0]);
    else
        text_put(p->out, "0");
}

static const char *emit_read(Plain *p, const Expr *e) {
    const KernelTensor *t = &p->kernel->tensors[e->tensor];
    const char *index[WHET_MAX_RANK];
    for (int k = 0; k < e->index_count; k++)
        index[k] = index_text(p, &e->index[k]);
    for (int k = 0; !e->guarded && k < e->index_count; k++) {
        bool below, above;
        find_sides(p, &e->index[k], t->dims[k], &below, &above);
        if (e->index[k].affine || (!below && !above))
            continue;
        p->faults = true;
        indent(p);
        text_put(p->out, "if (");
        put_outside_test(p->out, index[k], t->dims[k], below, above);
        text_put(p->out, ") {\n");
        text_printf(p->out, "%*sstatus = 2;\n%*sgoto end;\n", 4 * p->depth + 4, "", 4 * p->depth + 4, "");
        indent(p);
        text_put(p->out, "}\n");
    }
    const char *name = temporary(p, e), *separator = "";
    indent(p);
    text_printf(p->out, "const %s %s = ", local_type(e->type), name);
    for (int k = 0; e->guarded && k < e->index_count; k++) {
        bool below, above;
        find_sides(p, &e->index[k], t->dims[k], &below, &above);
        if (!below && !above)
            continue;
        text_printf(p->out, "%s", separator);
        if (below)
            text_printf(p->out, "%s >= 0%s", index[k], above ? " && " : "");
        if (above)
            text_printf(p->out, "%s < %lld", index[k], (long long)t->dims[k]);
        separator = " && ";
    }
    bool guard = *separator != 0;
    text_put(p->out, guard ? " ? " : "");
    put_load(p, e, index);
    if (guard) {
        text_put(p->out, " : ");
        put_outside(p, e);
    }
    text_put(p->out, ";\n");
    return name;
}

/* ---- operations ---- */

/* A half is rounded after every operation. */
static void put_rounded(const Plain *p, DType type, const char *text) {
    text_printf(p->out, dtype_is_half(type) ? "%s_round(%s)" : "%.0s%s", dtype_name(type), text);
}

static bool is_infix(const Expr *e) {
    bool floats = dtype_kind(e->arg[0]->type) == KIND_FLOAT;
    switch (e->op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
    case EXPR_DIV: return floats;
    case EXPR_EQ:
    case EXPR_NE:
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_GT:
    case EXPR_GE: return true;
    default: return false;
    }
}

static const char *operation_text(Plain *p, const Expr *e) {
    const char *arg[3] = {NULL, NULL, NULL};
    for (int k = 0; k < expr_info[e->op].arity; k++)
        arg[k] = emit(p, e->arg[k]);
    DType type = dtype_is_half(e->arg[0]->type) ? DT_F32 : e->arg[0]->type;
    if (e->op == EXPR_SELECT)
        return arena_printf(p->arena, "%s ? %s : %s", arg[0], arg[1], arg[2]);
    if (is_infix(e))
        return arena_printf(p->arena, "%s %s %s", arg[0], expr_info[e->op].symbol, arg[1]);
    if (e->op == EXPR_NEG && dtype_kind(type) == KIND_FLOAT)
        return arena_printf(p->arena, "-(%s)", arg[0]);
    if (arg[1])
        return arena_printf(p->arena, "%s_%s(%s, %s)", dtype_name(type), expr_info[e->op].name, arg[0], arg[1]);
    return arena_printf(p->arena, "%s_%s(%s)", dtype_name(type), expr_info[e->op].name, arg[0]);
}

static const char *cast_text(Plain *p, const Expr *e) {
    const char *arg = emit(p, e->arg[0]);
    DType from = e->arg[0]->type, to = e->type;
    if (to == DT_BOOL)
        return arena_printf(p->arena, "%s != 0", arg);
    if (dtype_kind(from) == KIND_FLOAT && dtype_kind(to) != KIND_FLOAT)
        return arena_printf(p->arena, "%s_from_float(%s)", dtype_name(to), arg);
    return arena_printf(p->arena, "(%s)%s", dtype_is_half(to) ? "double" : local_type(to), arg);
}

/* ---- reductions ---- */

static void open_axis(Plain *p, int axis) {
    const char *name = p->axis[axis];
    indent(p);
    text_printf(p->out, "for (int64_t %s = 0; %s < %lld; %s++) {\n", name, name, (long long)p->d->axes[axis].extent, name);
    p->depth++;
    p->bound |= UINT32_C(1) << axis;
}

static void close_axis(Plain *p, int axis) {
    p->depth--;
    indent(p);
    text_put(p->out, "}\n");
    p->bound &= ~(UINT32_C(1) << axis);
}

/* Reductions below `e` that stand still in the loops still to be opened; emitted here, they run once. */
static void emit_still(Plain *p, const Expr *e) {
    if (p->empty)
        return;
    if (e->op == EXPR_REDUCE && !(p->depends[e->id] & ~p->bound)) {
        emit(p, e);
        return;
    }
    for (int k = 0; e->op == EXPR_READ && k < e->index_count; k++)
        if (!e->index[k].affine)
            emit_still(p, e->index[k].expr);
    for (int k = 0; e->op != EXPR_READ && k < 3; k++)
        if (e->arg[k])
            emit_still(p, e->arg[k]);
}

static void put_first(const Plain *p, const Expr *e, DType sum) {
    bool most = e->reduce == REDUCE_MIN || e->reduce == REDUCE_ARGMIN;
    int bits = dtype_bits(sum);
    if (e->reduce <= REDUCE_PROD || e->reduce == REDUCE_ANY || e->reduce == REDUCE_ALL)
        text_put(p->out, e->reduce == REDUCE_PROD || e->reduce == REDUCE_ALL ? "1" : "0");
    else if (dtype_kind(sum) == KIND_FLOAT)
        text_put(p->out, most ? "INFINITY" : "-INFINITY");
    else if (dtype_kind(sum) == KIND_SIGNED)
        text_printf(p->out, "INT%d_%s", bits, most ? "MAX" : "MIN");
    else if (most)
        text_printf(p->out, "UINT%d_MAX", bits);
    else
        text_put(p->out, "0");
}

/* One round: `x` joins s<id>. */
static void put_round(const Plain *p, const Expr *e, const char *x) {
    bool floats = dtype_kind(e->arg[0]->type) == KIND_FLOAT;
    const char *type = dtype_name(dtype_is_half(e->arg[0]->type) ? DT_F32 : e->arg[0]->type);
    int s = e->id;
    indent(p);
    switch (e->reduce) {
    case REDUCE_SUM:
    case REDUCE_PROD:
        if (floats)
            text_printf(p->out, "s%d %c= %s;\n", s, e->reduce == REDUCE_SUM ? '+' : '*', x);
        else
            text_printf(p->out, "s%d = %s_%s(s%d, %s);\n", s, type, e->reduce == REDUCE_SUM ? "add" : "mul", s, x);
        break;
    case REDUCE_MAX:
    case REDUCE_MIN:
        text_printf(p->out, "s%d = %s_%s(s%d, %s);\n", s, type, e->reduce == REDUCE_MAX ? "max" : "min", s, x);
        break;
    case REDUCE_ANY: text_printf(p->out, "s%d |= %s;\n", s, x); break;
    case REDUCE_ALL: text_printf(p->out, "s%d &= %s;\n", s, x); break;
    default: {
        char better = e->reduce == REDUCE_ARGMAX ? '>' : '<';
        text_printf(p->out, "if (%s %c s%d", x, better, s);
        if (floats) /* the first NaN is the best */
            text_printf(p->out, " || (%s != %s && s%d == s%d)", x, x, s, s);
        text_printf(p->out, ") {\n%*ss%d = %s;\n%*si%d = %s;\n", 4 * p->depth + 4, "", s, x, 4 * p->depth + 4, "", s,
                    p->axis[e->axes[0]]);
        indent(p);
        text_put(p->out, "}\n");
    }
    }
}

static const char *emit_reduce(Plain *p, const Expr *e) {
    DType type = e->arg[0]->type;
    bool wide = dtype_kind(type) == KIND_FLOAT && e->reduce <= REDUCE_PROD;
    bool arg = e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN;
    DType sum = wide ? DT_F64 : dtype_is_half(type) ? DT_F32 : type;
    indent(p);
    text_printf(p->out, "%s s%d = ", c_type(sum), e->id);
    put_first(p, e, sum);
    text_put(p->out, ";\n");
    if (arg) {
        indent(p);
        text_printf(p->out, "int64_t i%d = 0;\n", e->id);
    }
    const size_t bytes = (size_t)p->d->expr_count * sizeof *p->value;
    const char **before = arena_copy(p->arena, p->value, bytes); /* what is computed in the loops is not known behind them */
    if (!before)
        return "";
    for (int k = 0; k < e->axis_count; k++) {
        open_axis(p, e->axes[k]);
        emit_still(p, e->arg[0]);
    }
    put_round(p, e, emit(p, e->arg[0]));
    for (int k = e->axis_count - 1; k >= 0; k--)
        close_axis(p, e->axes[k]);
    memcpy(p->value, before, bytes);
    const char *name = temporary(p, e);
    char got[24];
    snprintf(got, sizeof got, "%c%d", arg ? 'i' : 's', e->id);
    indent(p);
    text_printf(p->out, "const %s %s = ", local_type(e->type), name);
    if (wide && dtype_is_half(type))
        put_rounded(p, type, got);
    else
        text_printf(p->out, "%s%s", wide && type == DT_F32 ? "(float)" : "", got);
    text_put(p->out, ";\n");
    return name;
}

/* ---- expressions and definitions ---- */

static const char *emit_number(Plain *p, const Expr *e) {
    Text text;
    text_init(&text);
    put_number(&text, e->type, e);
    const char *copy = arena_printf(p->arena, text.data[0] == '-' ? "(%s)" : "%s", text.data);
    text_free(&text);
    return copy ? copy : "";
}

static const char *emit(Plain *p, const Expr *e) {
    if (e->op == EXPR_AXIS)
        return p->axis[e->axis];
    if (e->op == EXPR_NUMBER)
        return emit_number(p, e);
    if (p->value[e->id])
        return p->value[e->id];
    const char *name;
    if (e->op == EXPR_READ) {
        name = emit_read(p, e);
    } else if (e->op == EXPR_REDUCE) {
        name = emit_reduce(p, e);
    } else {
        const char *text = e->op == EXPR_CAST ? cast_text(p, e) : operation_text(p, e);
        name = temporary(p, e);
        indent(p);
        text_printf(p->out, "const %s %s = ", local_type(e->type), name);
        put_rounded(p, e->type, text ? text : "");
        text_put(p->out, ";\n");
    }
    p->value[e->id] = name;
    return name;
}

static void emit_definition(Plain *p) {
    const Definition *d = p->d;
    const char *index[WHET_MAX_RANK];
    bool block = p->kernel->definition_count > 1;
    if (block) {
        indent(p);
        text_printf(p->out, "{ /* %s */\n", p->names->tensor[d->tensor]);
        p->depth++;
    }
    emit_still(p, d->value);
    for (int a = 0; a < d->parallel_count; a++) {
        open_axis(p, a);
        emit_still(p, d->value);
    }
    const char *value = emit(p, d->value);
    DType type = p->kernel->tensors[d->tensor].type;
    for (int k = 0; k < d->left_count; k++)
        index[k] = index_text(p, &d->left[k]);
    indent(p);
    put_element(p, p->out, d->tensor, index, d->left_count);
    text_printf(p->out, dtype_is_half(type) ? " = %s_store(%s);\n" : "%.0s = %s;\n", dtype_name(type), value);
    for (int a = d->parallel_count - 1; a >= 0; a--)
        close_axis(p, a);
    if (block) {
        p->depth--;
        indent(p);
        text_put(p->out, "}\n");
    }
}

/* One definition fills the tensor, so that no zeros are left in it. */
static bool covered(const Kernel *kernel, int tensor) {
    const Definition *only = NULL;
    for (int i = 0; i < kernel->definition_count; i++)
        if (kernel->definitions[i].tensor == tensor) {
            if (only)
                return false;
            only = &kernel->definitions[i];
        }
    int64_t elements = 1; /* none is written twice */
    for (int a = 0; only && a < only->parallel_count; a++)
        if (!checked_mul(elements, only->axes[a].extent, &elements))
            return false;
    return only && elements == kernel->tensors[tensor].count;
}

/* Temporaries are allocated, and what is not filled is cleared. */
static bool open_body(Plain *p, bool *allocates) {
    const Kernel *kernel = p->kernel;
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        size_t bytes;
        if (!dtype_bytes(tensor->type, tensor->count, &bytes))
            return false;
        if (tensor->role == ROLE_TEMPORARY) {
            *allocates = true;
            text_printf(p->out, "    %s *%s = malloc(%zu);\n", c_type(tensor->type), p->names->tensor[t], bytes ? bytes : 1);
        }
    }
    if (*allocates) {
        const char *separator = "    if (!";
        for (int t = kernel->input_count; t < kernel->tensor_count; t++)
            if (kernel->tensors[t].role == ROLE_TEMPORARY) {
                text_printf(p->out, "%s%s", separator, p->names->tensor[t]);
                separator = " || !";
            }
        text_put(p->out, ") {\n        status = 1;\n        goto end;\n    }\n");
    }
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        if (tensor->count && !covered(kernel, t))
            text_printf(p->out, "    memset(%s, 0, %lld);\n", p->names->tensor[t],
                        (long long)tensor->count * (dtype_bits(tensor->type) / 8));
    }
    return true;
}

static void close_body(Plain *p, bool allocates) {
    if (p->faults || allocates)
        text_put(p->out, "end:\n");
    for (int t = p->kernel->tensor_count - 1; t >= p->kernel->input_count; t--)
        if (p->kernel->tensors[t].role == ROLE_TEMPORARY)
            text_printf(p->out, "    free(%s);\n", p->names->tensor[t]);
    text_put(p->out, p->faults || allocates ? "    return status;\n" : "    return 0;\n");
}

static bool start_definition(Plain *p, const Definition *d) {
    bool nothing = false;
    p->d = d;
    p->empty = false;
    p->depends = ARENA_ARRAY(p->arena, uint32_t, d->expr_count + 1);
    p->value = ARENA_ARRAY(p->arena, const char *, d->expr_count + 1);
    for (int a = 0; a < d->axis_count; a++) {
        p->axis[a] = c_axis_name(p->kernel, d, p->names, a, p->arena);
        p->empty = p->empty || d->axes[a].extent == 0;
        nothing = nothing || (a < d->parallel_count && d->axes[a].extent == 0);
    }
    if (!p->arena->failed)
        find_depends(p);
    return !nothing && !p->arena->failed;
}

whet_status c_print_plain(const Kernel *kernel, const CNames *names, Text *out, whet_error *err) {
    Arena arena;
    Text body;
    arena_init(&arena, NULL);
    text_init(&body);
    Plain p = {.kernel = kernel, .names = names, .out = &body, .arena = &arena, .depth = 1};
    bool allocates = false, fits = open_body(&p, &allocates);
    for (int i = 0; fits && i < kernel->definition_count; i++)
        if (start_definition(&p, &kernel->definitions[i]))
            emit_definition(&p);
    close_body(&p, allocates);
    if (p.faults || allocates)
        text_put(out, "    int status = 0;\n");
    text_put(out, body.data);
    bool failed = arena.failed || body.failed || out->failed;
    text_free(&body);
    arena_free(&arena);
    if (!fits)
        return error_set(err, WHET_ERROR_DATA, "a temporary larger than memory");
    return failed ? error_memory(err) : WHET_OK;
}
