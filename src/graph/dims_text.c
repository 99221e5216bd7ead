/* Symbolic dimensions as text: "2*sequence + 1", "(h + 1)//2", "max(n, 8)", "?".
 *
 *     sum      = [-] product { (+ | -) product }
 *     product  = primary { (* | //) primary }
 *     primary  = number | identifier | "quoted name" | (max | min) ( sum , sum ) | ( sum ) | ?
 */
#include <ctype.h>
#include <string.h>

#include "graph/symbols.h"

#define MAX_PARENTHESES 64

/* ---- Printing ---------------------------------------------------------------------------------------------------------- */

static bool is_word(const char *name) {
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.')
            return false;
    }
    return strcmp(name, "max") != 0 && strcmp(name, "min") != 0;
}

/* A number or a bare symbol stands alone, everything else in parentheses. */
static void print_operand(const Symbols *symbols, Dim d, Text *out) {
    bool bare = dim_is_extent(d) || dim_symbol_name(symbols, d);
    text_put(out, bare ? "" : "(");
    dim_print(symbols, d, out);
    text_put(out, bare ? "" : ")");
}

static void print_atom(const Symbols *symbols, const Atom *atom, bool alone, Text *out) {
    switch (atom->kind) {
    case ATOM_SYMBOL:
        if (is_word(atom->name))
            text_put(out, atom->name);
        else
            text_quoted(out, atom->name, strlen(atom->name));
        return;
    case ATOM_FLOORDIV:
        text_put(out, alone ? "" : "(");
        print_operand(symbols, atom->a, out);
        text_put(out, "//");
        print_operand(symbols, atom->b, out);
        text_put(out, alone ? "" : ")");
        return;
    case ATOM_MAX:
    case ATOM_MIN:
        text_put(out, atom->kind == ATOM_MAX ? "max(" : "min(");
        dim_print(symbols, atom->a, out);
        text_put(out, ", ");
        dim_print(symbols, atom->b, out);
        text_char(out, ')');
        return;
    }
}

static void print_term(const Symbols *symbols, const Term *term, bool first, Text *out) {
    text_put(out, term->coef < 0 ? (first ? "-" : " - ") : (first ? "" : " + "));
    uint64_t size = term->coef < 0 ? 0 - (uint64_t)term->coef : (uint64_t)term->coef;
    if (size != 1 || term->degree == 0)
        text_printf(out, "%llu%s", (unsigned long long)size, term->degree ? "*" : "");
    bool alone = term->degree == 1 && term->coef == 1;
    for (int i = 0; i < term->degree; i++) {
        text_put(out, i ? "*" : "");
        print_atom(symbols, &symbols->atoms[term->atom[i]], alone, out);
    }
}

void dim_print(const Symbols *symbols, Dim d, Text *out) {
    if (d == DIM_UNKNOWN) {
        text_char(out, '?');
        return;
    }
    if (dim_is_number(d)) {
        text_printf(out, "%lld", (long long)d);
        return;
    }
    const Sum *sum = symbols_sum(symbols, d);
    for (int i = 0; i < sum->count; i++)
        print_term(symbols, &sum->terms[i], i == 0, out);
}

/* ---- Parsing ----------------------------------------------------------------------------------------------------------- */

typedef struct Reader {
    Symbols *symbols;
    const char *at, *end;
    int depth;
    bool bad;
} Reader;

static Dim fail(Reader *in) {
    in->bad = true;
    return DIM_UNKNOWN;
}

static void skip_spaces(Reader *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t'))
        in->at++;
}

static bool take(Reader *in, const char *token) {
    skip_spaces(in);
    size_t length = strlen(token);
    if ((size_t)(in->end - in->at) < length || memcmp(in->at, token, length) != 0)
        return false;
    in->at += length;
    return true;
}

static Dim read_sum(Reader *in);

static Dim read_number(Reader *in) {
    int64_t value = 0;
    while (in->at < in->end && isdigit((unsigned char)*in->at)) {
        if (!checked_mul(value, 10, &value) || !checked_add(value, *in->at - '0', &value))
            return fail(in);
        in->at++;
    }
    return value;
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef";
    const char *found = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return found ? (int)(found - digits) : -1;
}

static Dim read_quoted(Reader *in) {
    char name[DIM_MAX_NAME];
    size_t length = 0;
    in->at++;
    while (in->at < in->end && *in->at != '"') {
        char c = *in->at++;
        if (c == '\\') {
            if (in->at == in->end)
                return fail(in);
            c = *in->at++;
            if (c == 'x') {
                int high = in->end - in->at >= 2 ? hex_digit(in->at[0]) : -1, low = high < 0 ? -1 : hex_digit(in->at[1]);
                if (low < 0)
                    return fail(in);
                c = (char)(high * 16 + low);
                in->at += 2;
            } else {
                c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
            }
        }
        if (length == sizeof name || c == 0)
            return fail(in);
        name[length++] = c;
    }
    if (in->at == in->end || length == 0)
        return fail(in);
    in->at++;
    return dim_symbol(in->symbols, name, length);
}

static Dim read_call(Reader *in, bool max) {
    Dim a = read_sum(in);
    if (in->bad || !take(in, ","))
        return fail(in);
    Dim b = read_sum(in);
    if (in->bad || !take(in, ")"))
        return fail(in);
    return max ? dim_max(in->symbols, a, b) : dim_min(in->symbols, a, b);
}

static Dim read_word(Reader *in) {
    const char *start = in->at;
    while (in->at < in->end && (isalnum((unsigned char)*in->at) || *in->at == '_' || *in->at == '.'))
        in->at++;
    size_t length = (size_t)(in->at - start);
    bool max = length == 3 && memcmp(start, "max", 3) == 0, min = length == 3 && memcmp(start, "min", 3) == 0;
    if (max || min)
        return take(in, "(") ? read_call(in, max) : fail(in);
    return length <= DIM_MAX_NAME ? dim_symbol(in->symbols, start, length) : fail(in);
}

static Dim read_primary(Reader *in) {
    skip_spaces(in);
    if (in->at == in->end)
        return fail(in);
    char c = *in->at;
    if (isdigit((unsigned char)c))
        return read_number(in);
    if (c == '"')
        return read_quoted(in);
    if (isalpha((unsigned char)c) || c == '_')
        return read_word(in);
    if (take(in, "(")) {
        Dim inner = read_sum(in);
        return !in->bad && take(in, ")") ? inner : fail(in);
    }
    return take(in, "?") ? DIM_UNKNOWN : fail(in);
}

static Dim read_product(Reader *in) {
    Dim product = read_primary(in);
    while (!in->bad) {
        if (take(in, "//"))
            product = dim_floordiv(in->symbols, product, read_primary(in));
        else if (take(in, "*"))
            product = dim_mul(in->symbols, product, read_primary(in));
        else
            break;
    }
    return product;
}

static Dim read_sum(Reader *in) {
    if (++in->depth > MAX_PARENTHESES)
        return fail(in);
    Dim sum = take(in, "-") ? dim_mul(in->symbols, read_product(in), -1) : read_product(in);
    while (!in->bad) {
        if (take(in, "+"))
            sum = dim_add(in->symbols, sum, read_product(in));
        else if (take(in, "-"))
            sum = dim_sub(in->symbols, sum, read_product(in));
        else
            break;
    }
    in->depth--;
    return sum;
}

bool dim_parse(Symbols *symbols, const char **at, const char *end, Dim *out) {
    Reader in = {.symbols = symbols, .at = *at, .end = end};
    *out = read_sum(&in);
    *at = in.at;
    return !in.bad;
}
