/* Pieces of the text form shared by text.c (printing), scan.c (tokens), tensor_text.c (literals) and parse.c.
 * docs/internals/graph.md defines the form. */
#ifndef WHET_GRAPH_TEXT_H
#define WHET_GRAPH_TEXT_H

#include "graph/graph.h"

/* scan.c: tokens. The first error is kept, with line and column, and everything after it fails too. */
typedef struct Scanner {
    const char *start, *at, *end;
    Arena *arena;
    whet_error *err;
    bool failed;
} Scanner;

bool scan_fail(Scanner *scan, const char *format, ...) PRINTF_LIKE(2, 3); /* always false */
bool scan_done(Scanner *scan);                                            /* nothing but blanks and comments is left */
bool scan_take(Scanner *scan, const char *token);                         /* a word or a sign, if it is next */
bool scan_want(Scanner *scan, const char *token);                         /* the same, or an error */
bool scan_at(Scanner *scan, char c);                                      /* is `c` next? */
char *scan_name(Scanner *scan);                                           /* a bare or quoted name; NULL: error */
bool scan_string(Scanner *scan, Str *out);                                /* quoted */
bool scan_integer(Scanner *scan, int64_t *out);
bool scan_unsigned(Scanner *scan, uint64_t *out);
bool scan_float(Scanner *scan, double *out); /* also inf, -inf, nan, and integers */
bool scan_hex(Scanner *scan, uint64_t *out);
bool scan_is_name(const char *text); /* needs no quotes */

/* tensor_text.c: "{1.0, 2.5}", or "hash 0123456789abcdef" where there are more than TEXT_MAX_ELEMENTS. */
#define TEXT_MAX_ELEMENTS 16

void tensor_print_content(const Tensor *tensor, Text *out);
/* Reads "{...}" for a tensor whose type and dims are set; makes its data. */
bool tensor_parse_content(Scanner *scan, Tensor *tensor);

#endif
