/* Tokens of the graph's text form. */
#include "graph/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool scan_fail(Scanner *scan, const char *format, ...) {
    if (scan->failed)
        return false;
    scan->failed = true;
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    int line = 1, column = 1;
    for (const char *c = scan->start; c < scan->at; c++) {
        line += *c == '\n';
        column = *c == '\n' ? 1 : column + 1;
    }
    error_set(scan->err, WHET_ERROR_FORMAT, "graph text, line %d, column %d: %s", line, column, message);
    return false;
}

static void skip_blanks(Scanner *scan) {
    while (scan->at < scan->end) {
        if (isspace((unsigned char)*scan->at)) {
            scan->at++;
        } else if (*scan->at == '#') {
            while (scan->at < scan->end && *scan->at != '\n')
                scan->at++;
        } else {
            return;
        }
    }
}

bool scan_done(Scanner *scan) {
    skip_blanks(scan);
    return scan->at == scan->end;
}

bool scan_at(Scanner *scan, char c) {
    skip_blanks(scan);
    return !scan->failed && scan->at < scan->end && *scan->at == c;
}

static bool is_name_char(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '/' || c == '-';
}

bool scan_is_name(const char *text) {
    const char *c = text;
    while (*c && is_name_char(*c))
        c++;
    return c > text && *c == 0;
}

bool scan_take(Scanner *scan, const char *token) {
    skip_blanks(scan);
    size_t length = strlen(token);
    if (scan->failed || (size_t)(scan->end - scan->at) < length || memcmp(scan->at, token, length) != 0)
        return false;
    const char *after = scan->at + length;
    if (is_name_char(token[length - 1]) && after < scan->end && is_name_char(*after))
        return false; /* the start of a longer word */
    scan->at = after;
    return true;
}

bool scan_want(Scanner *scan, const char *token) {
    return scan_take(scan, token) || scan_fail(scan, "wanted '%s'", token);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character after a backslash; false: none, or a bad one. */
static bool read_escape(Scanner *scan, char *out) {
    if (scan->at == scan->end)
        return false;
    char c = *scan->at++;
    *out = c == 'n' ? '\n' : c;
    if (c != 'x')
        return c == 'n' || c == '"' || c == '\\';
    int high = scan->end - scan->at >= 2 ? hex_digit(scan->at[0]) : -1, low = high < 0 ? -1 : hex_digit(scan->at[1]);
    if (low < 0)
        return false;
    *out = (char)(high * 16 + low);
    scan->at += 2;
    return true;
}

bool scan_string(Scanner *scan, Str *out) {
    if (!scan_at(scan, '"'))
        return scan_fail(scan, "wanted a quoted string");
    scan->at++;
    const char *close = scan->at; /* no string is longer than its quoted form */
    while (close < scan->end && *close != '"')
        close += *close == '\\' && close + 1 < scan->end ? 2 : 1;
    char *text = arena_alloc(scan->arena, (size_t)(close - scan->at) + 1, 1);
    if (!text)
        return scan_fail(scan, "out of memory");
    size_t length = 0;
    while (scan->at < scan->end && *scan->at != '"') {
        char c = *scan->at++;
        if (c == '\\' && !read_escape(scan, &c))
            return scan_fail(scan, "bad escape in a string");
        text[length++] = c;
    }
    if (scan->at == scan->end)
        return scan_fail(scan, "a string has no end");
    scan->at++;
    *out = (Str){text, length};
    return true;
}

char *scan_name(Scanner *scan) {
    if (scan_at(scan, '"')) {
        Str text;
        if (!scan_string(scan, &text))
            return NULL;
        if (memchr(text.data, 0, text.length)) {
            scan_fail(scan, "a name holds a zero byte");
            return NULL;
        }
        return (char *)text.data;
    }
    const char *from = scan->at;
    while (scan->at < scan->end && is_name_char(*scan->at))
        scan->at++;
    char *name = scan->failed || from == scan->at ? NULL : arena_string(scan->arena, from, (size_t)(scan->at - from));
    if (!name)
        scan_fail(scan, "wanted a name");
    return name;
}

/* The next number's characters, for strtod and friends; false: none. */
static bool number_text(Scanner *scan, char *out, size_t size) {
    skip_blanks(scan);
    size_t length = 0;
    while (scan->at + length < scan->end && length + 1 < size) {
        char c = scan->at[length];
        bool exponent_sign = c == '+' && length && out[length - 1] == 'e';
        if (!isalnum((unsigned char)c) && c != '.' && c != '-' && !exponent_sign)
            break;
        out[length++] = c;
    }
    out[length] = 0;
    return length && !scan->failed;
}

bool scan_integer(Scanner *scan, int64_t *out) {
    char text[64], *end = text;
    errno = 0;
    if (number_text(scan, text, sizeof text))
        *out = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return scan_fail(scan, "wanted an integer");
    scan->at += end - text;
    return true;
}

bool scan_unsigned(Scanner *scan, uint64_t *out) {
    char text[64], *end = text;
    errno = 0;
    if (number_text(scan, text, sizeof text) && text[0] != '-')
        *out = strtoull(text, &end, 10);
    if (end == text || *end || errno)
        return scan_fail(scan, "wanted an integer >= 0");
    scan->at += end - text;
    return true;
}

bool scan_float(Scanner *scan, double *out) {
    char text[64], *end = text;
    if (number_text(scan, text, sizeof text))
        *out = strtod(text, &end);
    if (end == text || *end)
        return scan_fail(scan, "wanted a number");
    scan->at += end - text;
    return true;
}

bool scan_hex(Scanner *scan, uint64_t *out) {
    char text[64], *end = text;
    errno = 0;
    if (number_text(scan, text, sizeof text) && text[0] != '-')
        *out = strtoull(text, &end, 16);
    if (end == text || *end || errno)
        return scan_fail(scan, "wanted a hexadecimal number");
    scan->at += end - text;
    return true;
}
