/* The lexer of the notation. It keeps no state: a token is found from a position, so looking ahead is asking again. */
#include "kernel/lex.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t skip_blanks(const char *text, size_t length, size_t at) {
    while (at < length) {
        if (text[at] == '#')
            while (at < length && text[at] != '\n')
                at++;
        else if (text[at] == ' ' || text[at] == '\t' || text[at] == '\r')
            at++;
        else
            break;
    }
    return at;
}

static size_t skip_digits(const char *text, size_t length, size_t at) {
    while (at < length && is_digit(text[at]))
        at++;
    return at;
}

/* 12, 1.5, 2., 1e-3. `1..` is the number 1 and `..`. */
static Token number_token(const char *text, size_t length, size_t at) {
    size_t end = skip_digits(text, length, at);
    if (end < length && text[end] == '.' && !(end + 1 < length && text[end + 1] == '.'))
        end = skip_digits(text, length, end + 1);
    if (end < length && (text[end] == 'e' || text[end] == 'E')) {
        size_t digits = end + 1 + (end + 1 < length && (text[end + 1] == '+' || text[end + 1] == '-'));
        size_t after = skip_digits(text, length, digits);
        if (after > digits)
            end = after;
    }
    bool glued = end < length && (is_letter(text[end]) || is_digit(text[end]));
    return (Token){glued ? TOKEN_BAD : TOKEN_NUMBER, at, end - at};
}

static Token punctuation_token(const char *text, size_t length, size_t at) {
    static const char *const pairs[] = {"//", "==", "!=", "<=", ">=", "<<", ">>", ".."};
    for (size_t i = 0; i < COUNT(pairs); i++)
        if (at + 1 < length && memcmp(text + at, pairs[i], 2) == 0)
            return (Token){TOKEN_PUNCTUATION, at, 2};
    bool known = text[at] != 0 && strchr("[](),=:?+-*/%<>&^|!", text[at]);
    return (Token){known ? TOKEN_PUNCTUATION : TOKEN_BAD, at, 1};
}

Token lex_token(const char *text, size_t length, size_t at) {
    at = skip_blanks(text, length, at);
    if (at >= length)
        return (Token){TOKEN_END, length, 0};
    char c = text[at];
    if (c == '\n' || c == ';')
        return (Token){TOKEN_NEWLINE, at, 1};
    if (is_digit(c) || (c == '.' && at + 1 < length && is_digit(text[at + 1])))
        return number_token(text, length, at);
    if (is_letter(c)) {
        size_t end = at;
        while (end < length && (is_letter(text[end]) || is_digit(text[end])))
            end++;
        return (Token){TOKEN_NAME, at, end - at};
    }
    return punctuation_token(text, length, at);
}

bool token_is(const char *text, Token token, const char *symbol) {
    return token.kind != TOKEN_END && strlen(symbol) == token.length && memcmp(text + token.at, symbol, token.length) == 0;
}

/* strtod reads the decimal point of the current locale, so it is given digits and an exponent alone: 1.25e3 as 125e1. */
static double read_float(const char *digits, size_t length) {
    char plain[1100]; /* more significant digits than any double needs to be rounded correctly */
    size_t count = 0;
    long exponent = 0, after_point = 0, dropped = 0;
    bool point = false;
    size_t i = 0;
    for (; i < length && (is_digit(digits[i]) || digits[i] == '.'); i++) {
        if (digits[i] == '.')
            point = true;
        else if (count < sizeof plain - 32)
            after_point += point, plain[count++] = digits[i];
        else
            dropped += !point;
    }
    if (i < length) {
        bool minus = digits[i + 1] == '-';
        for (i += 1 + (minus || digits[i + 1] == '+'); i < length; i++)
            if (exponent < 1000000)
                exponent = exponent * 10 + (digits[i] - '0');
        exponent = minus ? -exponent : exponent;
    }
    char *end = plain + count;
    *end++ = 'e';
    long total = exponent - after_point + dropped;
    if (total < 0)
        *end++ = '-', total = -total;
    char reversed[24];
    int figures = 0;
    do
        reversed[figures++] = (char)('0' + total % 10), total /= 10;
    while (total > 0);
    while (figures > 0)
        *end++ = reversed[--figures];
    *end = 0;
    return strtod(plain, NULL);
}

bool lex_number(const char *text, Token token, Literal *out) {
    const char *digits = text + token.at;
    *out = (Literal){0};
    for (size_t i = 0; i < token.length; i++)
        if (!is_digit(digits[i]))
            out->is_float = true;
    if (out->is_float) {
        out->number = read_float(digits, token.length);
        out->integer = out->number > -9.2e18 && out->number < 9.2e18 ? (uint64_t)(int64_t)out->number : 0;
        return true;
    }
    for (size_t i = 0; i < token.length; i++) {
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (out->integer > (UINT64_MAX - digit) / 10)
            return false;
        out->integer = out->integer * 10 + digit;
    }
    out->number = (double)out->integer;
    return true;
}
