/* Code as it is kept: what all targets that make instructions share. */
#include "target/code.h"

#include <string.h>

enum { PIECE = 16 };

static size_t padded(size_t bytes) {
    return (bytes + PIECE - 1) / PIECE * PIECE;
}

/* Takes `bytes` from what is left of a piece of memory. */
static void *cut(char **at, const void *from, size_t bytes) {
    void *piece = *at;
    if (bytes)
        memcpy(piece, from, bytes);
    *at += padded(bytes);
    return piece;
}

TargetCode *code_keep(const TargetCode *parts, size_t line_bytes, size_t role_bytes, whet_error *err) {
    size_t entry_bytes = (size_t)parts->entry_count * sizeof *parts->entries;
    size_t whole =
        padded(sizeof(TargetCode)) + padded(parts->size) + padded(entry_bytes) + padded(line_bytes) + padded(role_bytes);
    TargetCode *kept = memory_alloc(parts->allocator, whole);
    if (!kept) {
        error_memory(err);
        return NULL;
    }
    char *at = (char *)kept + padded(sizeof *kept);
    *kept = *parts;
    kept->whole_bytes = whole;
    kept->bytes = cut(&at, parts->bytes, parts->size);
    kept->entries = cut(&at, parts->entries, entry_bytes);
    kept->lines = cut(&at, parts->lines, line_bytes);
    kept->roles = cut(&at, parts->roles, role_bytes);
    return kept;
}

TargetEntry code_entry(const TargetCode *code, int function) {
    if (!code->memory)
        return NULL;
    void *at = (char *)code->memory + code->entries[function];
    TargetEntry entry;
    memcpy(&entry, &at, sizeof entry); /* ISO C has no conversion from data to functions */
    return entry;
}

size_t code_size(const TargetCode *code) {
    return code->size;
}

void code_free(TargetCode *code) {
    memory_free(code->allocator, code, code->whole_bytes);
}
