/* NumPy's archives (.npz): zip files. Members that np.savez wrote are stored as they are, and found through the central
 * directory, also beyond 4 GB (zip64). Compressed ones (np.savez_compressed) are refused: inflating needs a library that
 * nothing else here needs.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30, LOCATOR_SIZE = 20, END64_SIZE = 56 };

static uint64_t little(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static bool has_signature(const uint8_t *at, uint8_t third, uint8_t fourth) {
    return at[0] == 'P' && at[1] == 'K' && at[2] == third && at[3] == fourth;
}

typedef struct Directory {
    uint64_t offset, size, count;
} Directory;

static bool find_directory(const uint8_t *data, size_t size, Directory *out) {
    if (size < END_SIZE)
        return false;
    size_t lowest = size > END_SIZE + 65535 ? size - END_SIZE - 65535 : 0; /* a comment may follow */
    size_t at = size - END_SIZE;
    while (!has_signature(data + at, 5, 6))
        if (at-- == lowest)
            return false;
    *out = (Directory){little(data + at + 16, 4), little(data + at + 12, 4), little(data + at + 10, 2)};
    if (at >= LOCATOR_SIZE && has_signature(data + at - LOCATOR_SIZE, 6, 7)) {
        uint64_t end64 = little(data + at - LOCATOR_SIZE + 8, 8);
        if (end64 > size || size - end64 < END64_SIZE || !has_signature(data + end64, 6, 6))
            return false;
        *out = (Directory){little(data + end64 + 48, 8), little(data + end64 + 40, 8), little(data + end64 + 32, 8)};
    }
    return out->offset <= size && out->size <= size - out->offset;
}

typedef struct Entry {
    const char *name; /* not terminated */
    size_t name_length;
    uint64_t method, stored, plain, offset; /* bytes in the file, bytes unpacked, where its local header is */
} Entry;

/* Sizes and offsets of 0xffffffff stand in the zip64 field, in this order. */
static void read_zip64(Entry *entry, const uint8_t *extra, size_t length) {
    uint64_t *wide[] = {&entry->plain, &entry->stored, &entry->offset};
    while (length >= 4) {
        size_t id = little(extra, 2), field = little(extra + 2, 2);
        if (field > length - 4)
            return;
        const uint8_t *at = extra + 4;
        size_t left = id == 1 ? field : 0;
        for (size_t i = 0; i < CLI_COUNT(wide) && left >= 8; i++) {
            if (*wide[i] != 0xffffffff)
                continue;
            *wide[i] = little(at, 8);
            at += 8;
            left -= 8;
        }
        extra += 4 + field;
        length -= 4 + field;
    }
}

/* Reads the entry at *at and moves on; false at a broken one. */
static bool read_entry(const uint8_t **at, const uint8_t *end, Entry *entry) {
    const uint8_t *p = *at;
    if (end - p < ENTRY_SIZE || !has_signature(p, 1, 2))
        return false;
    size_t name = little(p + 28, 2), extra = little(p + 30, 2), comment = little(p + 32, 2);
    if ((size_t)(end - p) < ENTRY_SIZE + name + extra + comment)
        return false;
    *entry = (Entry){.name = (const char *)p + ENTRY_SIZE,
                     .name_length = name,
                     .method = little(p + 10, 2),
                     .stored = little(p + 20, 4),
                     .plain = little(p + 24, 4),
                     .offset = little(p + 42, 4)};
    read_zip64(entry, p + ENTRY_SIZE + name, extra);
    *at = p + ENTRY_SIZE + name + extra + comment;
    return true;
}

static bool open_entry(const uint8_t *data, size_t size, const char *label, const Entry *entry, const uint8_t **member,
                       size_t *member_size) {
    if (entry->method != 0)
        return complain("%s: '%.*s' is compressed, which is not supported: save it with np.savez, not np.savez_compressed", label,
                        (int)entry->name_length, entry->name);
    if (entry->offset > size || size - entry->offset < LOCAL_SIZE || !has_signature(data + entry->offset, 3, 4))
        return complain("%s: broken archive: no member at byte %llu", label, (unsigned long long)entry->offset);
    const uint8_t *local = data + entry->offset;
    uint64_t skip = entry->offset + LOCAL_SIZE + little(local + 26, 2) + little(local + 28, 2);
    if (skip > size || entry->plain > size - skip || entry->plain != entry->stored)
        return complain("%s: broken archive: a member of %llu bytes does not fit", label, (unsigned long long)entry->plain);
    *member = data + skip;
    *member_size = entry->plain;
    return true;
}

static bool is_named(const Entry *entry, const char *name) {
    size_t length = strlen(name);
    return entry->name_length == length + 4 && memcmp(entry->name, name, length) == 0 &&
           memcmp(entry->name + length, ".npy", 4) == 0;
}

static bool complain_missing(const char *label, const char *name, const uint8_t *at, const uint8_t *end, uint64_t count) {
    char list[512] = "";
    Entry entry;
    for (uint64_t i = 0; i < count && read_entry(&at, end, &entry); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%.*s", i ? ", " : "", (int)entry.name_length, entry.name);
    }
    return complain("%s: has no member '%s.npy'; it has: %s", label, name, *list ? list : "nothing");
}

bool npz_find(const uint8_t *data, size_t size, const char *label, const char *name, const uint8_t **member,
              size_t *member_size) {
    Directory directory;
    if (!find_directory(data, size, &directory))
        return complain("%s: is not a zip archive (.npz)", label);
    const uint8_t *start = data + directory.offset, *end = start + directory.size, *at = start;
    Entry entry;
    for (uint64_t i = 0; i < directory.count; i++) {
        if (!read_entry(&at, end, &entry))
            return complain("%s: broken archive: member %llu of its directory", label, (unsigned long long)i);
        if (directory.count == 1 || is_named(&entry, name))
            return open_entry(data, size, label, &entry, member, member_size);
    }
    return complain_missing(label, name, start, end, directory.count);
}
