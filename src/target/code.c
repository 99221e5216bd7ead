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

/* In the target's memory, or in pages of its own, ready to be called. */
static bool place(const Target *target, TargetCode *code, whet_error *err) {
    code->owned = !target->memory;
    code->owner = code->owned ? code_memory_new(code->allocator, 0) : target->memory;
    if (!code->owner)
        return error_memory(err), false;
    code->memory = code_memory_put(code->owner, code->bytes, code->size, err);
    return code->memory && (!code->owned || !code_memory_seal(code->owner, err));
}

TargetCode *code_keep(const Target *target, const TargetCode *parts, size_t line_bytes, size_t role_bytes, whet_error *err) {
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
    if (!target->runs_here || place(target, kept, err))
        return kept;
    code_free(kept);
    return NULL;
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
    if (!code)
        return;
    if (code->owned)
        code_memory_free(code->owner);
    else if (code->owner)
        code_memory_drop(code->owner, code->memory);
    memory_free(code->allocator, code, code->whole_bytes);
}
