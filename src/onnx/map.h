/* The files a model lies in, mapped read-only.
 *
 * External data may not leave the model's folder: no absolute path, no "..", no backslash, no symbolic link out of it, nothing
 * but regular files, and opening never blocks.
 */
#ifndef WHET_ONNX_MAP_H
#define WHET_ONNX_MAP_H

#include "onnx/wire.h"

/* One mapped file. A list, newest first; the entries are arena memory. */
typedef struct FileMap {
    struct FileMap *next;
    void *data;
    size_t bytes;
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
void map_release(FileMap *maps);
void folder_close(Folder *folder);

#endif
