/* Whole files, for tests that read their cases from them. */
#ifndef FILE_H
#define FILE_H

#include <stdio.h>
#include <stdlib.h>

/* The bytes of a file and a 0 behind them; `length` may be NULL. NULL: it cannot be read. Free it. */
static inline char *file_read(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (length)
        *length = 0;
    if (!file)
        return NULL;
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
    rewind(file);
    if (text && fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    fclose(file);
    if (text)
        text[size] = '\0';
    if (text && length)
        *length = (size_t)size;
    return text;
}

#endif
