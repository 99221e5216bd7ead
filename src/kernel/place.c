/* Errors in kernel text show the place: line and column, the line itself, and a caret. */
#include <stdio.h>

#include "kernel/internal.h"

enum { WINDOW = 96 }; /* bytes of a long line that are shown */

static void put_line(Text *out, const char *text, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        unsigned char c = (unsigned char)text[i];
        text_char(out, c < ' ' || c == 127 ? ' ' : (char)c);
    }
}

whet_status kernel_verror_at(const char *text, size_t length, size_t at, whet_error *err, whet_status status, const char *format,
                             va_list args) {
    if (at > length)
        at = length;
    size_t line = 1, start = 0;
    for (size_t i = 0; i < at; i++)
        if (text[i] == '\n')
            line++, start = i + 1;
    size_t end = at;
    while (end < length && text[end] != '\n')
        end++;
    size_t column = at - start + 1;
    size_t from = at - start > WINDOW / 2 ? at - WINDOW / 2 : start;
    size_t to = end - from > WINDOW ? from + WINDOW : end;

    Text message;
    text_init(&message);
    text_printf(&message, "line %zu, column %zu: ", line, column);
    text_vprintf(&message, format, args);
    text_put(&message, "\n    ");
    put_line(&message, text, from, to);
    text_printf(&message, "\n    %*s^", (int)(at - from), "");
    whet_status result = error_set(err, status, "%s", message.data);
    text_free(&message);
    return result;
}
