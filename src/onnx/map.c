/* Opening and mapping files; see map.h.
 *
 * On Linux the kernel itself resolves a location beneath the folder (openat2): links may point anywhere inside it. Elsewhere, or
 * where openat2 is missing, the path is walked component by component and no link at all is followed. Both leave no moment
 * between a check and its use.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH */
#endif
#include "onnx/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif
#if defined(SYS_openat2) && __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define HAVE_OPENAT2 1
#endif

enum { LOCATION_LIMIT = 4096, FILE_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

#if defined(O_PATH)
enum { FOLDER_FLAGS = O_PATH | O_DIRECTORY | O_CLOEXEC };
#else
enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
#endif

/* Takes over `fd`. */
static FileMap *map_open_file(int fd, Arena *arena, FileMap **maps, whet_error *err) {
    struct stat info;
    FileMap *map = NULL;
    if (fstat(fd, &info) != 0)
        error_set(err, WHET_ERROR_FILE, "it cannot be examined: %s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        error_set(err, WHET_ERROR_FILE, S_ISDIR(info.st_mode) ? "it is a folder, not a file" : "it is not a regular file");
    else if (info.st_size <= 0 || (uintmax_t)info.st_size > SIZE_MAX)
        error_set(err, WHET_ERROR_FORMAT, "it is empty");
    else if (!(map = ARENA_NEW(arena, FileMap)))
        error_memory(err);
    if (map) {
        map->bytes = (size_t)info.st_size;
        map->data = mmap(NULL, map->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map->data == MAP_FAILED) {
            error_set(err, WHET_ERROR_FILE, "it cannot be mapped: %s", strerror(errno));
            map = NULL;
        } else {
            map->next = *maps;
            *maps = map;
        }
    }
    close(fd);
    return map;
}

FileMap *map_file(const char *path, Arena *arena, FileMap **maps, whet_error *err) {
    int fd = open(path, FILE_FLAGS);
    if (fd < 0) {
        error_set(err, WHET_ERROR_FILE, "it cannot be opened: %s", strerror(errno));
        return NULL;
    }
    return map_open_file(fd, arena, maps, err);
}

/* One component of a path, cut off its front; "." and empty ones are skipped. False: none left. */
static bool next_component(const char **at, Str *out) {
    for (;;) {
        while (**at == '/')
            ++*at;
        out->data = *at;
        out->length = strcspn(*at, "/");
        *at += out->length;
        if (out->length == 0)
            return false;
        if (out->length != 1 || out->data[0] != '.')
            return true;
    }
}

/* NULL: a path that may be looked up beneath a folder; otherwise what is wrong with it. */
static const char *location_flaw(Str location, const char *text) {
    if (location.length == 0)
        return "it is empty";
    if (location.length >= LOCATION_LIMIT)
        return "it is too long";
    if (memchr(location.data, 0, location.length))
        return "it holds a NUL";
    if (memchr(location.data, '\\', location.length))
        return "it holds a backslash";
    if (location.data[0] == '/')
        return "it is absolute";
    Str part;
    while (next_component(&text, &part))
        if (part.length == 2 && part.data[0] == '.' && part.data[1] == '.')
            return "it holds \"..\"";
    return NULL;
}

#if defined(HAVE_OPENAT2)
static int open_resolved(int folder, const char *location) {
    struct open_how how = {.flags = FILE_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, folder, location, &how, sizeof how);
}
#else
static int open_resolved(int folder, const char *location) {
    (void)folder, (void)location;
    errno = ENOSYS;
    return -1;
}
#endif

/* Opens component by component, following no links. -1: see errno. */
static int open_walking(int folder, const char *location) {
    int at = folder;
    Str part, next;
    bool more = next_component(&location, &part);
    while (more) {
        more = next_component(&location, &next);
        char name[LOCATION_LIMIT];
        memcpy(name, part.data, part.length);
        name[part.length] = '\0';
        int below = openat(at, name, (more ? FOLDER_FLAGS : FILE_FLAGS) | O_NOFOLLOW);
        int why = errno;
        if (at != folder)
            close(at);
        errno = why;
        if (below < 0)
            return -1;
        at = below;
        part = next;
    }
    if (at == folder)
        errno = EISDIR;
    return at == folder ? -1 : at;
}

/* -1: error set */
static int open_beneath(Folder *folder, Str location, const char *text, whet_error *err) {
    const char *flaw = folder->path ? location_flaw(location, text) : "the model has no folder";
    if (flaw) {
        error_set(err, WHET_ERROR_FORMAT, "it is refused: %s", flaw);
        return -1;
    }
    if (folder->fd < 0)
        folder->fd = open(folder->path[0] ? folder->path : ".", FOLDER_FLAGS);
    int fd = folder->fd < 0 || folder->walk ? -1 : open_resolved(folder->fd, text);
    if (fd < 0 && folder->fd >= 0 && (folder->walk || errno == ENOSYS || errno == EPERM))
        fd = open_walking(folder->fd, text);
    bool out = errno == EXDEV || errno == ELOOP;
    if (fd < 0)
        error_set(err, WHET_ERROR_FILE, "it cannot be opened: %s",
                  out ? "a link leads out of the model's folder" : strerror(errno));
    return fd;
}

FileMap *map_beneath(Folder *folder, Str location, Arena *arena, FileMap **maps, whet_error *err) {
    char *text = arena_string(arena, location.data, location.length < LOCATION_LIMIT ? location.length : 0);
    if (!text) {
        error_memory(err);
        return NULL;
    }
    int fd = open_beneath(folder, location, text, err);
    FileMap *map = fd < 0 ? NULL : map_open_file(fd, arena, maps, err);
    if (!map)
        error_prefix(err, "external data at \"%.*s\"", SHOWN(location));
    return map;
}

void map_release(FileMap *maps) {
    for (; maps; maps = maps->next)
        munmap(maps->data, maps->bytes);
}

void folder_close(Folder *folder) {
    if (folder->fd >= 0)
        close(folder->fd);
    folder->fd = -1;
}
