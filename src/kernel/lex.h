/* Tokens of kernel text. */
#ifndef WHET_KERNEL_LEX_H
#define WHET_KERNEL_LEX_H

#include "kernel/internal.h"

typedef enum TokenKind { TOKEN_END, TOKEN_NEWLINE, TOKEN_NAME, TOKEN_NUMBER, TOKEN_PUNCTUATION, TOKEN_BAD } TokenKind;

typedef struct Token {
    TokenKind kind;
    size_t at, length;
} Token;

/* The token that starts at or after `at`; blanks and comments are skipped, `;` is a newline. */
Token lex_token(const char *text, size_t length, size_t at);
bool token_is(const char *text, Token token, const char *symbol);

/* The value of a number token. False: an integer beyond 64 bits. */
typedef struct Literal {
    bool is_float;
    double number;
    uint64_t integer;
} Literal;
bool lex_number(const char *text, Token token, Literal *out);

#endif
