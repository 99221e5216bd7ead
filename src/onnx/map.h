/* The files a model lies in, mapped read-only, and the memory of what could not be used where it lies.
 *
 * External data may not leave the model's folder: no absolute path, no "..", no backslash, no symbolic link out of it, nothing
 * but regular files, and opening never blocks.
 */
#ifndef WHET_ONNX_MAP_H
#define WHET_ONNX_MAP_H

#include "onnx/wire.h"

/* One mapped file or, for aligned copies, one piece of heap memory. A list, newest first; the entries are arena memory. */
typedef struct FileMap {
    struct FileMap *next;
    void *data;
    size_t bytes;
    bool heap; /* from memory_alloc, not from mmap */
} FileMap;

/* A folder that external data is read from. */
typedef struct Folder {
    const char *path; /* NULL: there is none */
    int fd;           /* -1: not open yet */
    bool walk;        /* never ask the kernel to resolve (for tests) */
} Folder;

/* Maps the regular file at `path` (which may be a link), and puts it in front of `*maps`. */
FileMap *map_file(const char *path, Arena *arena, FileMap **maps, whet_error *err);
/* Maps `location`, which must be beneath the folder. */
FileMap *map_beneath(Folder *folder, Str location, Arena *arena, FileMap **maps, whet_error *err);
/* `size` bytes of heap memory that live as long as the maps. */
void *map_heap(size_t size, Arena *arena, FileMap **maps);
void map_release(FileMap *maps, const whet_allocator *allocator);
void folder_close(Folder *folder);

#endif
