/* Growing texts, for messages, text forms and generated source. */
#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an empty text points at: a NUL that is never written to. */
static const char nothing[1];

void text_init(Text *text) {
    *text = (Text){.data = (char *)(uintptr_t)nothing};
}

void text_free(Text *text) {
    if (text->capacity)
        free(text->data);
    text_init(text);
}

void text_clear(Text *text) {
    text->length = 0;
    text->failed = false;
    if (text->capacity)
        text->data[0] = '\0';
}

static bool reserve(Text *text, size_t more) {
    size_t need;
    if (text->failed || !checked_size_add(text->length + 1, more, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity : 128;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    char *grown = realloc(text->capacity ? text->data : NULL, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    if (!text->capacity)
        grown[0] = '\0';
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void text_put_n(Text *text, const char *string, size_t length) {
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, string, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_put(Text *text, const char *string) {
    text_put_n(text, string, strlen(string));
}

void text_char(Text *text, char c) {
    text_put_n(text, &c, 1);
}

void text_vprintf(Text *text, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length >= 0 && reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void text_printf(Text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

/* Prints with as few digits as read back the same, and so that nobody takes it for an integer. */
static void put_number(Text *text, double value, bool single) {
    if (isnan(value)) {
        text_put(text, "nan");
        return;
    }
    if (isinf(value)) {
        text_put(text, value < 0 ? "-inf" : "inf");
        return;
    }
    char digits[64];
    for (int precision = single ? 6 : 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (single ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value)
            break;
    }
    text_put(text, digits);
    if (!strpbrk(digits, ".e"))
        text_put(text, ".0");
}

void text_float(Text *text, float value) {
    put_number(text, value, true);
}

void text_double(Text *text, double value) {
    put_number(text, value, false);
}

void text_quoted(Text *text, const char *string, size_t length) {
    text_char(text, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)string[i];
        if (c == '"' || c == '\\')
            text_printf(text, "\\%c", c);
        else if (c == '\n')
            text_put(text, "\\n");
        else if (c < 32 || c == 127)
            text_printf(text, "\\x%02x", c);
        else
            text_char(text, (char)c);
    }
    text_char(text, '"');
}

char *text_steal(Text *text) {
    bool fine = !text->failed && reserve(text, 0);
    char *out = fine ? text->data : NULL;
    if (!fine && text->capacity)
        free(text->data);
    text_init(text);
    return out;
}

void whet_string_free(char *string) {
    free(string);
}
