/* Whole files and paths. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

bool is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool is_kernel_text(const char *word) {
    return strchr(word, '=') && !is_file(word);
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder), size = length + strlen(name) + 2;
    char *path = need(malloc(size));
    snprintf(path, size, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
    return path;
}

bool file_read(const char *path, uint8_t **data, size_t *size) {
    *data = NULL;
    *size = 0;
    if (is_folder(path))
        return complain("%s: is a folder, not a file", path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return complain("%s: %s", path, strerror(errno));
    size_t capacity = 0, got;
    do {
        capacity = capacity ? 2 * capacity : 65536;
        *data = need(realloc(*data, capacity));
        got = fread(*data + *size, 1, capacity - *size, file);
        *size += got;
    } while (*size == capacity);
    bool fine = !ferror(file);
    int reason = errno;
    fclose(file);
    if (fine)
        return true;
    free(*data);
    *data = NULL;
    return complain("%s: cannot be read: %s", path, strerror(reason));
}

bool folder_make(const char *path) {
    char *part = need(strdup(path));
    bool fine = true;
    for (char *at = part; fine && *at; at++) {
        if (at == part || *at != '/')
            continue;
        *at = 0;
        fine = mkdir(part, 0777) == 0 || errno == EEXIST;
        *at = '/';
    }
    fine = fine && (mkdir(path, 0777) == 0 || errno == EEXIST);
    int reason = errno;
    free(part);
    if (!fine)
        return complain("%s: cannot make this folder: %s", path, strerror(reason));
    return is_folder(path) || complain("%s: is a file, not a folder", path);
}
