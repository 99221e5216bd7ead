/* Shared by parse.c (definitions) and parse_expr.c (expressions). */
#ifndef WHET_KERNEL_PARSE_H
#define WHET_KERNEL_PARSE_H

#include "kernel/lex.h"

typedef struct Parser {
    Arena *arena;
    whet_error *err;
    const char *text;
    size_t length;
    Token token; /* the next one */
    int nesting; /* of brackets; inside them newlines are blanks */
    int level;   /* of recursion */
    Kernel *kernel;
    Map *names; /* tensor names to their number + 1 */
    Definition *definition;
    bool left;       /* inside the brackets of a left side */
    uint32_t scope;  /* the axes that names mean here, one bit each; no two of one name */
    uint32_t active; /* all that are bound here, those too that an inner axis of the same name hides */
    /* Inside the body of a macro: */
    const Macro *macro;
    Expr **macro_args;
    const struct Parser *caller; /* where errors are shown */
    size_t call_at;
} Parser;

/* parse.c */
void *parse_error(Parser *p, size_t at, const char *format, ...) PRINTF_LIKE(3, 4); /* NULL, so that parsers may return it */
void parse_advance(Parser *p);
bool parse_at(const Parser *p, const char *symbol);
bool parse_take(Parser *p, const char *symbol);
void parse_skip_newlines(Parser *p);
void parse_open(Parser *p); /* passes over an opening bracket */
bool parse_close(Parser *p, const char *bracket);
const char *parse_name(Parser *p, const char *what);                    /* NULL: error */
int parse_tensor(Parser *p, const char *name, size_t at);               /* the number of a tensor, new or not; -1: error */
int parse_axis(Parser *p, const char *name, size_t at, bool reduced);   /* a new axis of the definition; -1: error */
int parse_find_axis(const Parser *p, const char *name, uint32_t among); /* -1: none */
bool parse_extent(Parser *p, int axis);                                 /* after `:` */

/* parse_expr.c */
Expr *parse_expr(Parser *p);
/* `[` indices `]`, the `[` being next. New names in a left side become axes. */
bool parse_indices(Parser *p, bool left, Index **index, int *count, bool *leading);

#endif
