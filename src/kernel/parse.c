/* Kernel text to a Kernel: recursive descent, one definition or head line a statement.
 *
 *     text   = { line (newline | ";") }
 *     head   = ("in" | "tmp" | "out") name ":" type "[" [ extent { "," extent } ] "]"
 *     line   = head | [ "out" ] name "[" indices "]" [ ":" type ] "=" expression
 *
 * The first error ends it. Nothing here knows types or extents: that is kernel_bind's. */
#include "kernel/parse.h"

#include <string.h>

/* ---- Tokens ---- */

void *parse_error(Parser *p, size_t at, const char *format, ...) {
    const Parser *shown = p->caller ? p->caller : p;
    va_list args;
    va_start(args, format);
    kernel_verror_at(shown->text, shown->length, p->caller ? p->call_at : at, p->err, WHET_ERROR_FORMAT, format, args);
    va_end(args);
    return NULL;
}

void parse_skip_newlines(Parser *p) {
    while (p->token.kind == TOKEN_NEWLINE)
        p->token = lex_token(p->text, p->length, p->token.at + 1);
}

void parse_advance(Parser *p) {
    p->token = lex_token(p->text, p->length, p->token.at + p->token.length);
    if (p->nesting > 0)
        parse_skip_newlines(p);
}

bool parse_at(const Parser *p, const char *symbol) {
    return p->token.kind == TOKEN_PUNCTUATION && token_is(p->text, p->token, symbol);
}

bool parse_take(Parser *p, const char *symbol) {
    bool there = parse_at(p, symbol);
    if (there)
        parse_advance(p);
    return there;
}

/* What stands where something else is wanted, for messages. */
static bool unexpected(Parser *p, const char *wanted) {
    Token t = p->token;
    if (t.kind == TOKEN_END || t.kind == TOKEN_NEWLINE)
        return parse_error(p, t.at, "%s is wanted before the end of the %s", wanted, t.kind == TOKEN_END ? "text" : "line"),
               false;
    return parse_error(p, t.at, "%s is wanted, not '%.*s'", wanted, t.length > 40 ? 40 : (int)t.length, p->text + t.at), false;
}

static bool expect(Parser *p, const char *symbol) {
    char wanted[8] = {'\'', symbol[0], '\''};
    return parse_take(p, symbol) || unexpected(p, wanted);
}

void parse_open(Parser *p) {
    p->nesting++;
    parse_advance(p);
}

bool parse_close(Parser *p, const char *bracket) {
    char wanted[8] = {'\'', bracket[0], '\''};
    if (!parse_at(p, bracket))
        return unexpected(p, wanted);
    p->nesting--;
    parse_advance(p);
    return true;
}

const char *parse_name(Parser *p, const char *what) {
    if (p->token.kind != TOKEN_NAME) {
        unexpected(p, what);
        return NULL;
    }
    if (p->token.length > 255)
        return parse_error(p, p->token.at, "name longer than 255 characters");
    const char *name = arena_string(p->arena, p->text + p->token.at, p->token.length);
    if (!name)
        error_memory(p->err);
    parse_advance(p);
    return name;
}

/* A whole number that an extent may be; -1: error. */
static int64_t parse_count(Parser *p) {
    Literal literal;
    if (p->token.kind != TOKEN_NUMBER)
        return unexpected(p, "an extent"), -1;
    if (!lex_number(p->text, p->token, &literal) || literal.is_float || literal.integer > INT64_MAX) {
        parse_error(p, p->token.at, "an extent is a whole number below 2^63");
        return -1;
    }
    parse_advance(p);
    return (int64_t)literal.integer;
}

/* ---- Names ---- */

int parse_tensor(Parser *p, const char *name, size_t at) {
    Kernel *kernel = p->kernel;
    const KernelTensor *known = map_get(p->names, name, strlen(name));
    if (known)
        return (int)(known - kernel->tensors);
    if (kernel->tensor_count == KERNEL_MAX_TENSORS)
        return parse_error(p, at, "more than %d tensors", KERNEL_MAX_TENSORS), -1;
    KernelTensor *tensor = &kernel->tensors[kernel->tensor_count];
    *tensor = (KernelTensor){.name = name, .rank = -1, .column = (int)at};
    if (!map_put(p->names, name, strlen(name), tensor))
        return error_memory(p->err), -1;
    return kernel->tensor_count++;
}

int parse_find_axis(const Parser *p, const char *name, uint32_t among) {
    for (int i = 0; i < p->definition->axis_count; i++)
        if ((among >> i & 1) && strcmp(p->definition->axes[i].name, name) == 0)
            return i;
    return -1;
}

int parse_axis(Parser *p, const char *name, size_t at, bool reduced) {
    Definition *definition = p->definition;
    if (definition->axis_count == KERNEL_MAX_AXES)
        return parse_error(p, at, "more than %d axes in one definition", KERNEL_MAX_AXES), -1;
    int axis = definition->axis_count++;
    definition->axes[axis] = (Axis){.name = name, .extent = -1, .reduced = reduced, .column = (int)at};
    if (!reduced) {
        definition->parallel_count++;
        p->scope |= (uint32_t)1 << axis;
        p->active = p->scope;
    }
    return axis;
}

bool parse_extent(Parser *p, int axis) {
    Axis *a = &p->definition->axes[axis];
    size_t at = p->token.at;
    const char *name = NULL;
    int64_t extent = -1;
    if (p->token.kind == TOKEN_NAME)
        name = parse_name(p, "an extent");
    else
        extent = parse_count(p);
    if (!name && extent < 0)
        return false;
    bool again = a->extent >= 0 || a->extent_name;
    bool same = a->extent == extent && !a->extent_name == !name && (!name || strcmp(name, a->extent_name) == 0);
    if (again && !same)
        return parse_error(p, at, "axis '%s' has two extents", a->name), false;
    a->extent = extent;
    a->extent_name = name;
    a->source = extent >= 0 ? "written at the axis" : NULL;
    return true;
}

/* ---- Statements ---- */

/* size(k) may stand before the reduction that brings k, so it is resolved when the definition is complete; so is the use of a
 * reduction's axis outside of it, which would otherwise become a constant's name. */
static bool resolve_late(Parser *p, const Definition *definition) {
    for (int i = 0; i < definition->expr_count; i++) {
        Expr *expr = definition->exprs[i];
        if (expr->op == EXPR_EXTENT && expr->axis < 0 && (expr->axis = parse_find_axis(p, expr->name, UINT32_MAX)) < 0)
            return parse_error(p, (size_t)expr->column, "no axis '%s'", expr->name), false;
        if (expr->op == EXPR_NAME && parse_find_axis(p, expr->name, UINT32_MAX) >= 0)
            return parse_error(p, (size_t)expr->column, "axis '%s' is used outside its reduction", expr->name), false;
    }
    return true;
}

static DType parse_type(Parser *p) {
    size_t at = p->token.at;
    const char *name = parse_name(p, "a type");
    DType type = name ? dtype_parse(name, strlen(name)) : DT_NONE;
    if (name && (type == DT_NONE || strcmp(dtype_name(type), name) != 0)) {
        parse_error(p, at, "no type '%s'", name);
        return DT_NONE;
    }
    return type;
}

static bool parse_dims(Parser *p, KernelTensor *tensor) {
    int64_t dims[WHET_MAX_RANK];
    int rank = 0;
    if (!parse_at(p, "["))
        return unexpected(p, "'['");
    parse_open(p);
    while (!parse_at(p, "]")) {
        if (rank == WHET_MAX_RANK)
            return parse_error(p, p->token.at, "more than %d dimensions", WHET_MAX_RANK), false;
        dims[rank] = parse_count(p);
        if (dims[rank++] < 0)
            return false;
        if (!parse_take(p, ","))
            break;
    }
    tensor->rank = rank;
    tensor->dims = arena_copy(p->arena, dims, (size_t)rank * sizeof *dims);
    if (!tensor->dims)
        return error_memory(p->err), false;
    return parse_close(p, "]");
}

/* `in x: f32[2, 3]`, from the name on. */
static bool parse_head(Parser *p, Role role, const char *name, size_t at) {
    int count = p->kernel->tensor_count;
    int t = parse_tensor(p, name, at);
    if (t < 0)
        return false;
    if (t < count)
        return parse_error(p, at, "'%s' is declared after it is used, or twice", name), false;
    KernelTensor *tensor = &p->kernel->tensors[t];
    tensor->role = role;
    tensor->exported = role == ROLE_OUTPUT;
    parse_advance(p); /* : */
    tensor->type = parse_type(p);
    return tensor->type != DT_NONE && parse_dims(p, tensor);
}

static bool finish_definition(Parser *p, Definition *definition) {
    definition->axes = arena_copy(p->arena, definition->axes, (size_t)definition->axis_count * sizeof *definition->axes);
    size_t capacity = (size_t)p->kernel->definition_count;
    /* Grown by doubling: the capacity is the next power of two of the count. */
    if ((capacity & (capacity - 1)) == 0) {
        size_t room = capacity ? capacity * 2 : 1;
        Definition *grown = ARENA_ARRAY(p->arena, Definition, room);
        if (!grown)
            return error_memory(p->err), false;
        if (capacity)
            memcpy(grown, p->kernel->definitions, capacity * sizeof *grown);
        p->kernel->definitions = grown;
    }
    p->kernel->definitions[p->kernel->definition_count++] = *definition;
    return definition->axes || (error_memory(p->err), false);
}

/* From the `[` of the left side on. */
static bool parse_definition(Parser *p, const char *name, size_t at, bool exported) {
    Axis axes[KERNEL_MAX_AXES];
    Definition definition = {.axes = axes, .column = (int)at};
    p->definition = &definition;
    p->scope = p->active = 0;
    if (p->kernel->definition_count == KERNEL_MAX_DEFINITIONS)
        return parse_error(p, at, "more than %d definitions", KERNEL_MAX_DEFINITIONS), false;
    definition.tensor = parse_tensor(p, name, at);
    if (definition.tensor < 0)
        return false;
    KernelTensor *tensor = &p->kernel->tensors[definition.tensor];
    tensor->exported |= exported;
    tensor->maybe = false;
    if (!parse_at(p, "["))
        return unexpected(p, "'['");
    if (!parse_indices(p, true, &definition.left, &definition.left_count, &definition.leading))
        return false;
    if (parse_take(p, ":") && (definition.declared = parse_type(p)) == DT_NONE)
        return false;
    if (!expect(p, "="))
        return false;
    definition.value = parse_expr(p);
    if (!definition.value)
        return false;
    if (!definition_collect(p->arena, &definition))
        return error_memory(p->err), false;
    return resolve_late(p, &definition) && finish_definition(p, &definition);
}

static bool parse_statement(Parser *p) {
    size_t at = p->token.at;
    Token second = lex_token(p->text, p->length, at + p->token.length);
    static const char *const words[] = {"in", "tmp", "out"}; /* in the order of Role */
    for (int role = 0; second.kind == TOKEN_NAME && role < 3; role++) {
        if (!token_is(p->text, p->token, words[role]))
            continue;
        parse_advance(p);
        at = p->token.at;
        const char *name = parse_name(p, "a name");
        if (!name)
            return false;
        if (parse_at(p, ":"))
            return parse_head(p, (Role)role, name, at);
        if (role == ROLE_OUTPUT)
            return parse_definition(p, name, at, true);
        return unexpected(p, "':'");
    }
    const char *name = parse_name(p, "a definition");
    return name && parse_definition(p, name, at, false);
}

static bool parse_statements(Parser *p) {
    for (;;) {
        parse_skip_newlines(p);
        if (p->token.kind == TOKEN_END)
            break;
        if (!parse_statement(p))
            return false;
        if (p->token.kind != TOKEN_NEWLINE && p->token.kind != TOKEN_END)
            return unexpected(p, "an operator or the end of the line");
    }
    return p->kernel->definition_count > 0 || parse_error(p, p->token.at, "a kernel has at least one definition");
}

/* ---- Roles ---- */

typedef struct Use {
    bool defined, read;
} Use;

static bool check_role(Parser *p, KernelTensor *tensor, Use use) {
    Role role = !use.defined ? ROLE_INPUT : use.read && !tensor->exported ? ROLE_TEMPORARY : ROLE_OUTPUT;
    static const char *const words[] = {"read and never defined", "defined and read", "an output"};
    bool declared = tensor->type != DT_NONE; /* in a head */
    if (declared && role != tensor->role && !(tensor->role == ROLE_TEMPORARY && use.defined))
        return parse_error(p, (size_t)tensor->column, "the head does not fit: '%s' is %s", tensor->name, words[role]), false;
    if (!use.defined && !use.read)
        return parse_error(p, (size_t)tensor->column, "'%s' is declared and not used", tensor->name), false;
    tensor->role = role;
    return true;
}

static bool set_roles(Parser *p) {
    Kernel *kernel = p->kernel;
    Use uses[KERNEL_MAX_TENSORS] = {0};
    for (int d = 0; d < kernel->definition_count; d++) {
        const Definition *definition = &kernel->definitions[d];
        uses[definition->tensor].defined = true;
        for (int i = 0; i < definition->expr_count; i++)
            if (definition->exprs[i]->tensor >= 0)
                uses[definition->exprs[i]->tensor].read = true;
    }
    for (int t = 0; t < kernel->tensor_count; t++)
        if (!check_role(p, &kernel->tensors[t], uses[t]))
            return false;
    kernel_sort_tensors(kernel);
    return true;
}

Kernel *kernel_parse(Arena *arena, const char *text, size_t length, whet_error *err) {
    Kernel *kernel = ARENA_NEW(arena, Kernel);
    char *copy = length < INT32_MAX ? arena_string(arena, text, length) : NULL;
    if (length >= INT32_MAX)
        return error_set(err, WHET_ERROR_FORMAT, "kernel text of %zu bytes is too long", length), NULL;
    if (!kernel || !copy || !(kernel->tensors = ARENA_ARRAY(arena, KernelTensor, KERNEL_MAX_TENSORS)))
        return error_memory(err), NULL;
    kernel->arena = arena;
    kernel->text = copy;
    Map names;
    map_init(&names, arena);
    Parser parser = {.arena = arena, .err = err, .text = copy, .length = length, .kernel = kernel, .names = &names};
    parser.token = lex_token(copy, length, 0);
    if (!parse_statements(&parser) || !set_roles(&parser))
        return NULL;
    return kernel;
}
