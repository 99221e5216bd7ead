/* Reads the text form that print.c writes. Names are free (%anything); values get numbers in the order of their definition. */
#include "vector/vector.h"

#include <stdlib.h>
#include <string.h>

typedef struct Parser {
    const char *at, *end;
    int line;
    Arena *arena;
    VectorFunction *f;
    Map names; /* name -> value + 1 */
    whet_error *err;
    bool failed;
} Parser;

static bool fail(Parser *p, const char *wanted) {
    if (!p->failed)
        error_set(p->err, WHET_ERROR_FORMAT, "vector code, line %d: expected %s, found '%.*s'", p->line, wanted,
                  (int)strcspn(p->at < p->end ? p->at : "", "\n") % 40, p->at < p->end ? p->at : "");
    p->failed = true;
    return false;
}

static void skip_spaces(Parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t'))
        p->at++;
}

static bool take(Parser *p, const char *text) {
    skip_spaces(p);
    size_t n = strlen(text);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, text, n) != 0)
        return false;
    p->at += n;
    return true;
}

static bool expect(Parser *p, const char *text) {
    return !p->failed && (take(p, text) || fail(p, text));
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static Str word(Parser *p) {
    skip_spaces(p);
    Str s = {p->at, 0};
    while (p->at < p->end && is_word(*p->at))
        p->at++, s.length++;
    if (!s.length)
        fail(p, "a word");
    return s;
}

static bool is(Str s, const char *text) {
    return s.length == strlen(text) && !memcmp(s.data, text, s.length);
}

static double number(Parser *p) {
    skip_spaces(p);
    char copy[64];
    size_t n = 0;
    while (p->at + n < p->end && n < sizeof copy - 1 && (is_word(p->at[n]) || strchr("+-.", p->at[n])))
        copy[n] = p->at[n], n++;
    copy[n] = 0;
    char *stop;
    double value = strtod(copy, &stop);
    if (stop == copy)
        fail(p, "a number");
    p->at += stop - copy;
    return value;
}

static void define(Parser *p, Str name, int value) {
    if (!p->failed && !map_put(&p->names, name.data, name.length, (void *)(intptr_t)(value + 1)))
        p->failed = true, error_memory(p->err);
}

static Str value_name(Parser *p) {
    expect(p, "%");
    return p->failed ? (Str){"", 0} : word(p);
}

static int value(Parser *p) {
    Str name = value_name(p);
    int found = p->failed ? 0 : (int)(intptr_t)map_get(&p->names, name.data, name.length);
    if (!found) {
        fail(p, "a value defined before");
        return -1;
    }
    return found - 1;
}

static DType type_name(Parser *p) {
    Str s = word(p);
    DType type = dtype_parse(s.data, s.length);
    if (type == DT_NONE)
        fail(p, "an element type");
    return type;
}

static VectorAddress address(Parser *p) {
    expect(p, "[");
    VectorAddress a = vector_at(value(p), 0);
    while (!p->failed && take(p, "+")) {
        int64_t n = (int64_t)number(p);
        if (!take(p, "*"))
            a.offset += n;
        else if (take(p, "vl")) {
            if (n < -1000000 || n > 1000000 || a.scaled)
                fail(p, "one distance in registers, of less than a million");
            else
                a.scaled = (int)n;
        } else
            a = vector_plus(a, value(p), n);
    }
    expect(p, "]");
    return a;
}

static VectorOp blank(VectorCode code) {
    VectorOp op = {.code = code, .result = -1, .mask = -1, .limit = -1, .other = -1};
    memset(op.arg, -1, sizeof op.arg);
    op.address.base = -1;
    return op;
}

static void parse_loop(Parser *p) {
    enum { MOST = 128 };
    int initial[MOST], inside[MOST], count = 0;
    Str names[MOST], counter = value_name(p);
    expect(p, "=");
    expect(p, "0");
    expect(p, "to");
    skip_spaces(p);
    int limit = -1;
    int64_t rounds = 0;
    if (p->at < p->end && *p->at == '%')
        limit = value(p);
    else
        rounds = (int64_t)number(p);
    expect(p, "step");
    int64_t step = (int64_t)number(p);
    if (take(p, "("))
        do {
            if (count == MOST) {
                fail(p, "fewer carried values");
                return;
            }
            names[count] = value_name(p);
            expect(p, "=");
            initial[count++] = value(p);
        } while (!p->failed && take(p, ","));
    if (count)
        expect(p, ")");
    if (p->failed)
        return;
    int id = vector_loop(p->f, limit, rounds, step, initial, inside, count);
    define(p, counter, id);
    for (int i = 0; i < count; i++)
        define(p, names[i], inside[i]);
}

static void parse_end(Parser *p) {
    enum { MOST = 128 };
    int next[MOST] = {0}, after[MOST], count = 0;
    if (!p->f->depth) {
        fail(p, "an operation: no loop is open");
        return;
    }
    int wanted = p->f->ops[p->f->open[p->f->depth - 1]].carry_count;
    for (; count < wanted && !p->failed; count++) {
        if (count)
            expect(p, ",");
        next[count] = value(p);
    }
    if (p->failed)
        return;
    vector_end(p->f, next, after);
    if (count)
        expect(p, "->");
    for (int i = 0; i < count && !p->failed; i++) {
        if (i)
            expect(p, ",");
        define(p, value_name(p), after[i]);
    }
}

static int find_code(Str name) {
    for (int i = 0; i < VECTOR_LOOP; i++)
        if (is(name, vector_info[i].name))
            return i;
    return -1;
}

static void parse_plain(Parser *p, Str name, bool has_result, Str result) {
    int code = find_code(name);
    if (code < 0 || has_result != (vector_info[code].result != '-')) {
        fail(p, "an operation");
        return;
    }
    VectorOp op = blank((VectorCode)code);
    if (vector_info[code].types[0] != '-')
        op.type = type_name(p);
    bool memory = vector_has(op.code, 'A') && op.code != VECTOR_PREFETCH && op.code != VECTOR_PREFETCH_L2;
    op.from = memory ? op.type : DT_NONE;
    if (take(p, "from"))
        op.from = type_name(p);
    if (vector_has(op.code, 'A'))
        op.address = address(p);
    for (int k = 0; k < vector_arg_count(op.code) && !p->failed; k++) {
        if (k)
            expect(p, ",");
        op.arg[k] = value(p);
    }
    if (vector_has(op.code, '#')) {
        if (vector_arg_count(op.code))
            expect(p, ",");
        op.number = number(p);
    }
    if (vector_has(op.code, '*') && take(p, "rows"))
        op.step = (int64_t)number(p);
    if (vector_has(op.code, '?') && take(p, "if"))
        op.mask = value(p);
    if (p->failed)
        return;
    int id = vector_append(p->f, &op);
    if (has_result)
        define(p, result, id);
}

static void parse_line(Parser *p) {
    skip_spaces(p);
    if (*p->at == '%') {
        Str result = value_name(p);
        expect(p, "=");
        if (!p->failed)
            parse_plain(p, word(p), true, result);
        return;
    }
    Str name = word(p);
    if (is(name, "loop"))
        parse_loop(p);
    else if (is(name, "end"))
        parse_end(p);
    else
        parse_plain(p, name, false, (Str){"", 0});
}

static void parse_head(Parser *p) {
    expect(p, "function");
    Str name = p->failed ? (Str){"", 0} : word(p);
    expect(p, ",");
    int bytes = p->failed ? 0 : (int)number(p);
    expect(p, "bytes a register");
    if (bytes != 0 && bytes != 16 && bytes != 32 && bytes != 64)
        fail(p, "16, 32 or 64 bytes, or 0 for a length known when it runs");
    if (p->failed)
        return;
    p->f = vector_new(p->arena, arena_string(p->arena, name.data, name.length), bytes);
    while (p->f && !p->failed && take(p, ",")) {
        bool pointer = take(p, "pointer");
        if (!pointer)
            expect(p, "index");
        Str parameter = value_name(p);
        if (!p->failed)
            define(p, parameter,
                   vector_parameter(p->f, pointer ? CLASS_POINTER : CLASS_INDEX,
                                    arena_string(p->arena, parameter.data, parameter.length)));
    }
}

static bool end_of_line(Parser *p) {
    skip_spaces(p);
    if (p->at < p->end && *p->at != '\n')
        return fail(p, "the end of the line");
    while (p->at < p->end && (*p->at == '\n' || *p->at == ' ')) {
        p->line += *p->at == '\n';
        p->at++;
    }
    return !p->failed;
}

VectorFunction *vector_parse(Arena *arena, const char *text, size_t length, whet_error *err) {
    Parser p = {.at = text, .end = text + length, .line = 1, .arena = arena, .err = err};
    map_init(&p.names, arena);
    parse_head(&p);
    while (!p.failed && p.f && end_of_line(&p) && p.at < p.end)
        parse_line(&p);
    if (p.failed)
        return NULL;
    if (!p.f)
        return error_memory(err), NULL;
    if (p.f->failed || p.f->depth) {
        error_set(err, WHET_ERROR_FORMAT, "vector code, line %d: %s", p.line, p.f->failed ? p.f->failed : "a loop is left open");
        return NULL;
    }
    return vector_check(p.f, "parsing", err) == WHET_OK ? p.f : NULL;
}
