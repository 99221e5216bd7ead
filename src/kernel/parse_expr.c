/* Expressions: precedence climbing over the table of operations.
 *
 * Names are resolved as far as the text alone allows: axes in scope, tensors with [], functions, macros (substituted here, their
 * operands shared by pointer). A bare name that is no axis stays EXPR_NAME until kernel_bind knows the constants. */
#include <math.h>
#include <string.h>

#include "kernel/parse.h"

enum { REDUCE_PRECEDENCE = 60, UNARY_PRECEDENCE = 70 };

static Expr *parse_binary(Parser *p, int least);
static Expr *parse_unary(Parser *p);

Expr *expr_new(Arena *arena, ExprOp op, int column) {
    Expr *expr = ARENA_NEW(arena, Expr);
    if (expr) {
        expr->op = op;
        expr->column = column;
        expr->axis = expr->tensor = -1;
        expr->depth = expr->weight = 1;
    }
    return expr;
}

static void add_measure(Expr *expr, const Expr *operand) {
    if (!operand)
        return;
    if (expr->depth <= operand->depth)
        expr->depth = operand->depth + 1;
    expr->weight += operand->weight; /* each is below the limit, so a sum of a few cannot overflow */
    if (expr->weight > KERNEL_MAX_WEIGHT)
        expr->weight = KERNEL_MAX_WEIGHT + 1;
}

bool expr_measure(Expr *expr) {
    expr->depth = expr->weight = 1;
    for (int i = 0; i < 3; i++)
        add_measure(expr, expr->arg[i]);
    for (int i = 0; i < expr->index_count; i++)
        add_measure(expr, expr->index[i].expr);
    return expr->depth <= KERNEL_MAX_DEPTH && expr->weight <= KERNEL_MAX_WEIGHT;
}

static size_t place(const Parser *p, size_t at) {
    return p->caller ? p->call_at : at;
}

static Expr *new_expr(Parser *p, ExprOp op, size_t at) {
    Expr *expr = expr_new(p->arena, op, (int)place(p, at));
    if (!expr)
        error_memory(p->err);
    return expr;
}

static Expr *measured(Parser *p, Expr *expr, size_t at) {
    if (expr_measure(expr))
        return expr;
    if (expr->depth > KERNEL_MAX_DEPTH)
        return parse_error(p, at, "expression nested deeper than %d", KERNEL_MAX_DEPTH);
    return parse_error(p, at, "expression of more than %d operations (functions written out)", KERNEL_MAX_WEIGHT);
}

/* False: no such integer. */
static bool negate(Expr *expr) {
    bool huge = !expr->is_float && expr->number >= 9223372036854775808.0; /* beyond s64 */
    if (huge && (uint64_t)expr->integer > (uint64_t)1 << 63)
        return false;
    expr->number = -expr->number;
    expr->integer = (int64_t)(0 - (uint64_t)expr->integer);
    if (!expr->is_float && expr->number == 0)
        expr->number = 0; /* integers have no -0 */
    return true;
}

static Expr *make(Parser *p, ExprOp op, size_t at, Expr *a, Expr *b, Expr *c) {
    if (op == EXPR_NEG && a->op == EXPR_NUMBER && a->type == DT_NONE) {
        Expr *copy = new_expr(p, EXPR_NUMBER, at); /* the operand of a macro may be shared */
        if (!copy)
            return NULL;
        int column = copy->column;
        *copy = *a;
        copy->column = column;
        return negate(copy) ? copy : parse_error(p, at, "integer below -2^63");
    }
    Expr *expr = new_expr(p, op, at);
    if (!expr)
        return NULL;
    expr->arg[0] = a, expr->arg[1] = b, expr->arg[2] = c;
    return measured(p, expr, at);
}

static Expr *parse_number(Parser *p) {
    Literal literal;
    if (!lex_number(p->text, p->token, &literal))
        return parse_error(p, p->token.at, "integer above 2^64 - 1");
    Expr *expr = new_expr(p, EXPR_NUMBER, p->token.at);
    if (expr) {
        expr->is_float = literal.is_float;
        expr->number = literal.number;
        expr->integer = (int64_t)literal.integer;
    }
    parse_advance(p);
    return expr;
}

/* ---- Reads ---- */

/* One index of a left side: a name that is new is an axis; `h:12` gives its extent. */
static bool left_axis(Parser *p, Expr **out) {
    size_t at = p->token.at;
    const char *name = parse_name(p, "an axis");
    if (!name)
        return false;
    int axis = parse_find_axis(p, name, UINT32_MAX);
    if (axis < 0)
        axis = parse_axis(p, name, at, false);
    if (axis < 0 || (parse_take(p, ":") && !parse_extent(p, axis)))
        return false;
    *out = new_expr(p, EXPR_AXIS, at);
    if (*out)
        (*out)->axis = axis;
    return *out != NULL;
}

bool parse_indices(Parser *p, bool left, Index **index, int *count, bool *leading) {
    size_t capacity = 0, used = 0;
    p->left = left;
    parse_open(p);
    *leading = parse_take(p, "..");
    bool more = *leading ? parse_take(p, ",") : !parse_at(p, "]");
    while (more) {
        if (parse_at(p, ".."))
            return parse_error(p, p->token.at, "'..' must come first"), false;
        if (used == WHET_MAX_RANK)
            return parse_error(p, p->token.at, "more than %d indices", WHET_MAX_RANK), false;
        if (!arena_grow(p->arena, index, &capacity, used + 1, sizeof **index))
            return error_memory(p->err), false;
        (*index)[used] = (Index){.expr = left ? parse_binary(p, 45) : parse_expr(p)};
        if (!(*index)[used++].expr)
            return false;
        more = parse_take(p, ",");
    }
    *count = (int)used;
    p->left = false;
    return parse_close(p, "]");
}

static Expr *parse_read(Parser *p, const char *name, size_t at) {
    Expr *expr = new_expr(p, EXPR_READ, at);
    if (!expr)
        return NULL;
    if (p->macro)
        return parse_error(p, at, "function '%s' reads a tensor", p->macro->name);
    expr->tensor = parse_tensor(p, name, at);
    if (expr->tensor >= 0)
        p->kernel->tensors[expr->tensor].maybe = false;
    if (expr->tensor < 0 || !parse_indices(p, false, &expr->index, &expr->index_count, &expr->leading))
        return NULL;
    expr->guarded = parse_take(p, "?");
    if (expr->guarded && parse_at(p, "(")) {
        parse_open(p);
        expr->arg[0] = parse_expr(p);
        if (!expr->arg[0] || !parse_close(p, ")"))
            return NULL;
    }
    return measured(p, expr, at);
}

/* ---- Reductions ---- */

/* Is what follows, from `at` (just behind the name), a reduction's list of axes and its operand? Only max and min are functions
 * too, so only they need the operand to begin as nothing else could. */
static bool looks_like_reduction(const Parser *p, size_t at, bool function_too) {
    Token token = lex_token(p->text, p->length, at);
    if (!token_is(p->text, token, "("))
        return false;
    if (!function_too)
        return true;
    do {
        token = lex_token(p->text, p->length, token.at + token.length);
        if (token.kind != TOKEN_NAME)
            return false;
        token = lex_token(p->text, p->length, token.at + token.length);
        if (token_is(p->text, token, ":")) {
            token = lex_token(p->text, p->length, token.at + token.length);
            token = lex_token(p->text, p->length, token.at + token.length);
        }
    } while (token_is(p->text, token, ","));
    if (!token_is(p->text, token, ")"))
        return false;
    token = lex_token(p->text, p->length, token.at + token.length);
    return token.kind == TOKEN_NAME || token.kind == TOKEN_NUMBER || token_is(p->text, token, "(");
}

/* Reductions of one definition that do not enclose each other share axes of the same name. */
static int reduce_axis(Parser *p) {
    size_t at = p->token.at;
    const char *name = parse_name(p, "an axis");
    if (!name)
        return -1;
    int parallel = p->definition->parallel_count;
    uint32_t reduced = parallel < KERNEL_MAX_AXES ? ~(((uint32_t)1 << parallel) - 1) : 0;
    int axis = parse_find_axis(p, name, reduced & ~p->active);
    if (axis < 0)
        axis = parse_axis(p, name, at, true);
    if (axis >= 0 && parse_take(p, ":") && !parse_extent(p, axis))
        return -1;
    return axis;
}

static Expr *parse_reduction(Parser *p, ReduceOp reduce, size_t at) {
    Expr *expr = new_expr(p, EXPR_REDUCE, at);
    if (!expr)
        return NULL;
    if (p->macro)
        return parse_error(p, at, "function '%s' reduces", p->macro->name);
    expr->reduce = reduce;
    uint32_t scope = p->scope, active = p->active, bound = 0;
    int axes[KERNEL_MAX_AXES];
    parse_open(p);
    do {
        int axis = reduce_axis(p);
        if (axis < 0)
            return NULL;
        if (bound >> axis & 1)
            return parse_error(p, at, "'%s' twice in one reduction", p->definition->axes[axis].name);
        bound |= (uint32_t)1 << axis;
        int hidden = parse_find_axis(p, p->definition->axes[axis].name, p->scope);
        if (hidden >= 0)
            p->scope &= ~((uint32_t)1 << hidden);
        axes[expr->axis_count++] = axis;
    } while (parse_take(p, ","));
    if (!parse_close(p, ")"))
        return NULL;
    if (reduce >= REDUCE_ARGMAX && expr->axis_count != 1)
        return parse_error(p, at, "%s takes one axis, not %d", reduce_name[reduce], expr->axis_count);
    expr->axes = arena_copy(p->arena, axes, (size_t)expr->axis_count * sizeof *axes);
    p->scope |= bound;
    p->active |= bound;
    expr->arg[0] = expr->axes ? parse_binary(p, REDUCE_PRECEDENCE) : NULL;
    p->scope = scope;
    p->active = active;
    return expr->arg[0] ? measured(p, expr, at) : NULL;
}

/* ---- Calls ---- */

/* `(` operands `)`; -1: error. */
static int parse_operands(Parser *p, Expr **operands, int most, const char *name, size_t at) {
    int count = 0;
    parse_open(p);
    if (!parse_at(p, ")")) {
        do {
            if (count == most)
                return parse_error(p, at, "%s takes %d operand%s, not more", name, most, most == 1 ? "" : "s"), -1;
            operands[count] = parse_expr(p);
            if (!operands[count++])
                return -1;
        } while (parse_take(p, ","));
    }
    if (!parse_close(p, ")"))
        return -1;
    if (count != most)
        return parse_error(p, at, "%s takes %d operand%s, not %d", name, most, most == 1 ? "" : "s", count), -1;
    return count;
}

static Expr *parse_cast(Parser *p, DType type, size_t at) {
    Expr *operand[1];
    if (parse_operands(p, operand, 1, dtype_name(type), at) < 0)
        return NULL;
    Expr *expr = make(p, EXPR_CAST, at, operand[0], NULL, NULL);
    if (expr)
        expr->type = type;
    return expr;
}

static int word_count(const char *words) {
    int count = *words != 0;
    for (; *words; words++)
        count += *words == ' ';
    return count;
}

static Expr *parse_macro(Parser *p, const Macro *macro, size_t at) {
    Expr *operands[4];
    if (parse_operands(p, operands, word_count(macro->params), macro->name, at) < 0)
        return NULL;
    Parser body = *p;
    body.text = macro->body;
    body.length = strlen(macro->body);
    body.nesting = 1;
    body.macro = macro;
    body.macro_args = operands;
    body.call_at = place(p, at);
    body.caller = p->caller ? p->caller : p;
    body.token = lex_token(body.text, body.length, 0);
    return parse_expr(&body);
}

static Expr *parse_size(Parser *p, size_t at) {
    parse_open(p);
    const char *name = parse_name(p, "an axis");
    if (!name || !parse_close(p, ")"))
        return NULL;
    Expr *expr = new_expr(p, EXPR_EXTENT, at);
    if (expr) {
        expr->name = name;
        expr->axis = parse_find_axis(p, name, p->scope);
    }
    return expr;
}

static ExprOp find_function(const char *name) {
    for (int op = 0; op < EXPR_OP_COUNT; op++)
        if (!*expr_info[op].symbol && strcmp(expr_info[op].name, name) == 0)
            return (ExprOp)op;
    return EXPR_OP_COUNT;
}

/* `name(`, which is next. */
static Expr *parse_call(Parser *p, const char *name, size_t at) {
    DType type = dtype_parse(name, strlen(name));
    if (type != DT_NONE && strcmp(dtype_name(type), name) == 0)
        return parse_cast(p, type, at);
    ExprOp op = find_function(name);
    if (op != EXPR_OP_COUNT) {
        Expr *operands[3] = {NULL, NULL, NULL};
        if (parse_operands(p, operands, expr_info[op].arity, name, at) < 0)
            return NULL;
        return make(p, op, at, operands[0], operands[1], operands[2]);
    }
    if (strcmp(name, "size") == 0)
        return parse_size(p, at);
    const Macro *macro = macro_find(name, strlen(name));
    return macro ? parse_macro(p, macro, at) : parse_error(p, at, "no function '%s'", name);
}

/* ---- Names ---- */

static Expr *macro_parameter(const Parser *p, const char *name) {
    const char *word = p->macro->params;
    size_t length = strlen(name);
    for (int i = 0; *word; i++) {
        size_t end = strcspn(word, " ");
        if (end == length && memcmp(word, name, length) == 0)
            return p->macro_args[i];
        word += end + (word[end] == ' ');
    }
    return NULL;
}

static Expr *literal_name(Parser *p, const char *name, size_t at) {
    Expr *expr = new_expr(p, EXPR_NUMBER, at);
    if (!expr)
        return NULL;
    if (name[0] == 't' || name[0] == 'f') {
        expr->type = DT_BOOL;
        expr->integer = name[0] == 't';
        expr->number = (double)expr->integer;
    } else {
        expr->is_float = true;
        expr->number = name[0] == 'i' ? (double)INFINITY : (double)NAN;
    }
    return expr;
}

static Expr *bare_name(Parser *p, const char *name, size_t at) {
    if (p->macro) {
        Expr *operand = macro_parameter(p, name);
        return operand ? operand : parse_error(p, at, "function '%s' has no parameter '%s'", p->macro->name, name);
    }
    int axis = parse_find_axis(p, name, p->scope);
    if (axis >= 0) {
        Expr *expr = new_expr(p, EXPR_AXIS, at);
        if (expr)
            expr->axis = axis;
        return expr;
    }
    static const char *const literals[] = {"inf", "nan", "true", "false"};
    for (size_t i = 0; i < COUNT(literals); i++)
        if (strcmp(name, literals[i]) == 0)
            return literal_name(p, name, at);
    Expr *expr = new_expr(p, EXPR_NAME, at);
    if (!expr)
        return NULL;
    int count = p->kernel->tensor_count;
    expr->name = name;
    expr->tensor = parse_tensor(p, name, at);
    if (expr->tensor == count)
        p->kernel->tensors[count].maybe = true;
    return expr->tensor < 0 ? NULL : expr;
}

static Expr *parse_named(Parser *p) {
    size_t at = p->token.at;
    const char *name = parse_name(p, "a name");
    if (!name)
        return NULL;
    size_t behind = at + strlen(name);
    for (int r = 0; r < REDUCE_COUNT; r++)
        if (strcmp(name, reduce_name[r]) == 0 && looks_like_reduction(p, behind, r == REDUCE_MAX || r == REDUCE_MIN))
            return parse_reduction(p, (ReduceOp)r, at);
    if (parse_at(p, "("))
        return parse_call(p, name, at);
    if (parse_at(p, "["))
        return parse_read(p, name, at);
    return bare_name(p, name, at);
}

static Expr *parse_primary(Parser *p) {
    if (p->token.kind == TOKEN_NUMBER)
        return parse_number(p);
    if (p->token.kind == TOKEN_NAME) {
        Expr *axis;
        if (!p->left)
            return parse_named(p);
        return left_axis(p, &axis) ? axis : NULL;
    }
    if (parse_at(p, "(")) {
        parse_open(p);
        Expr *expr = parse_expr(p);
        return expr && parse_close(p, ")") ? expr : NULL;
    }
    bool foreign = p->token.kind == TOKEN_BAD && (p->text[p->token.at] & 0x80);
    return parse_error(p, p->token.at,
                       foreign ? "an operand is wanted here: names are of ASCII letters, digits and '_'"
                               : "an operand is wanted here");
}

static Expr *parse_prefixed(Parser *p) {
    parse_skip_newlines(p);
    size_t at = p->token.at;
    if (!parse_at(p, "-") && !parse_at(p, "!"))
        return parse_primary(p);
    ExprOp op = parse_at(p, "-") ? EXPR_NEG : EXPR_NOT;
    parse_advance(p);
    Expr *operand = parse_unary(p);
    return operand ? make(p, op, at, operand, NULL, NULL) : NULL;
}

static Expr *parse_unary(Parser *p) {
    if (p->level >= 2 * KERNEL_MAX_DEPTH) /* brackets count here, and the text that is printed has more of them */
        return parse_error(p, p->token.at, "expression nested deeper than %d", KERNEL_MAX_DEPTH);
    p->level++;
    Expr *expr = parse_prefixed(p);
    p->level--;
    return expr;
}

static ExprOp infix_operator(const Parser *p) {
    for (int op = 0; p->token.kind == TOKEN_PUNCTUATION && op < EXPR_OP_COUNT; op++)
        if (expr_info[op].arity == 2 && *expr_info[op].symbol && parse_at(p, expr_info[op].symbol))
            return (ExprOp)op;
    return EXPR_OP_COUNT;
}

static Expr *parse_binary(Parser *p, int least) {
    Expr *left = parse_unary(p);
    while (left) {
        ExprOp op = infix_operator(p);
        if (op == EXPR_OP_COUNT || expr_info[op].precedence < least)
            return left;
        size_t at = p->token.at;
        parse_advance(p);
        Expr *right = parse_binary(p, expr_info[op].precedence + 1);
        left = right ? make(p, op, at, left, right, NULL) : NULL;
    }
    return NULL;
}

Expr *parse_expr(Parser *p) {
    return parse_binary(p, 0);
}
