/* Executable memory: written first, made executable after, never both at a time.
 *
 * Asking the system for pages, and then to make them executable, takes longer than many a kernel takes to compile. So code lies
 * in regions: pieces are put one behind the other into pages that can be written, and sealed together when one of them is about
 * to be called; what comes after begins on a new page. A region that is full goes when its last piece does; the one being filled
 * begins anew then.
 *
 * Whether memory may become executable at all is tried on the first page of the first region, so that a system which refuses is
 * noticed while there is still another way to compute. macOS gives such memory on request alone (MAP_JIT) and switches it between
 * the two for each thread; there a piece can be called as soon as it is put. */
#define _DEFAULT_SOURCE
#include "target/memory.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__APPLE__) && defined(__aarch64__)
#include <libkern/OSCacheControl.h>
#include <pthread.h>
#define SWITCHES 1
#define FIRST    (PROT_READ | PROT_WRITE | PROT_EXEC)
#define FLAGS    MAP_JIT
#else
#define SWITCHES 0
#define FIRST    (PROT_READ | PROT_WRITE)
#ifdef MAP_POPULATE
#define FLAGS MAP_POPULATE /* all pages are about to be written: one call instead of a fault each */
#else
#define FLAGS 0
#endif
#endif

enum { PIECE = 64 };

typedef struct Region {
    struct Region *next;
    char *base;
    size_t bytes, used, sealed;
    int pieces;
} Region;

struct CodeMemory {
    const whet_allocator *allocator;
    Region *regions; /* the one being filled comes first */
    size_t region, page;
    bool tried; /* this memory may run */
};

CodeMemory *code_memory_new(const whet_allocator *allocator, size_t region) {
    CodeMemory *memory = memory_alloc(allocator, sizeof *memory);
    if (memory)
        *memory = (CodeMemory){.allocator = allocator, .region = region, .page = (size_t)sysconf(_SC_PAGESIZE)};
    return memory;
}

static size_t padded(size_t bytes, size_t to) {
    return (bytes + to - 1) / to * to;
}

static void free_region(CodeMemory *memory, Region **at) {
    Region *region = *at;
    *at = region->next;
    munmap(region->base, region->bytes);
    memory_free(memory->allocator, region, sizeof *region);
}

void code_memory_free(CodeMemory *memory) {
    if (!memory)
        return;
    while (memory->regions)
        free_region(memory, &memory->regions);
    memory_free(memory->allocator, memory, sizeof *memory);
}

static whet_status refuse(whet_error *err) {
    return error_set(err, WHET_ERROR_UNSUPPORTED,
                     "this system does not let memory become executable: %s; kernels can be compiled ahead of time: --target c",
                     strerror(errno));
}

static bool may_run(char *page, size_t bytes) {
    return SWITCHES || (!mprotect(page, bytes, PROT_READ | PROT_EXEC) && !mprotect(page, bytes, FIRST));
}

/* In front of all others. */
static whet_status add_region(CodeMemory *memory, size_t size, whet_error *err) {
    size_t bytes = padded(size > memory->region ? size : memory->region, memory->page);
    Region *region = memory_alloc(memory->allocator, sizeof *region);
    if (!region)
        return error_memory(err);
    char *base = mmap(NULL, bytes, FIRST, MAP_PRIVATE | MAP_ANONYMOUS | FLAGS, -1, 0);
    whet_status status = WHET_OK;
    if (base == MAP_FAILED)
        status = SWITCHES && errno != ENOMEM
                     ? refuse(err)
                     : error_set(err, WHET_ERROR_MEMORY, "no memory for %zu bytes of code: %s", size, strerror(errno));
    else if (!memory->tried && !may_run(base, memory->page)) {
        status = refuse(err);
        munmap(base, bytes);
    }
    if (status) {
        memory_free(memory->allocator, region, sizeof *region);
        return status;
    }
    memory->tried = true;
    *region = (Region){.next = memory->regions, .base = base, .bytes = bytes};
    memory->regions = region;
    return WHET_OK;
}

whet_status code_memory_allowed(whet_error *err) {
    CodeMemory *memory = code_memory_new(NULL, 1);
    whet_status status = memory ? add_region(memory, 1, err) : error_memory(err);
    code_memory_free(memory);
    return status;
}

static void write_code(char *to, const void *bytes, size_t size) {
#if SWITCHES
    pthread_jit_write_protect_np(0); /* this thread may write, and not run */
    memcpy(to, bytes, size);
    pthread_jit_write_protect_np(1);
    sys_icache_invalidate(to, size);
#else
    memcpy(to, bytes, size);
    __builtin___clear_cache(to, to + size);
#endif
}

/* Of one region. */
static whet_status seal(const CodeMemory *memory, Region *region, whet_error *err) {
    size_t end = padded(region->used, memory->page);
    if (end > region->sealed && !SWITCHES && mprotect(region->base + region->sealed, end - region->sealed, PROT_READ | PROT_EXEC))
        return refuse(err);
    region->sealed = region->used = SWITCHES ? region->used : end;
    return WHET_OK;
}

/* A region whose pieces are all gone is filled again: its pages are there. */
static bool reopen(Region *region) {
    if (!SWITCHES && region->sealed && mprotect(region->base, region->sealed, FIRST))
        return false;
    region->used = region->sealed = 0;
    return true;
}

/* The first region becomes one with room for `size` bytes. */
static whet_status make_room(CodeMemory *memory, size_t size, whet_error *err) {
    Region *full = memory->regions;
    if (full && !full->pieces && full->bytes >= size && reopen(full))
        return WHET_OK;
    whet_status status = full ? seal(memory, full, err) : WHET_OK; /* the first one alone has pages that are not */
    if (!status)
        status = add_region(memory, size, err);
    if (!status && full && !full->pieces)
        free_region(memory, &memory->regions->next);
    return status;
}

void *code_memory_put(CodeMemory *memory, const void *bytes, size_t size, whet_error *err) {
    Region *region = memory->regions;
    if ((!region || region->bytes - region->used < size) && make_room(memory, size, err))
        return NULL;
    region = memory->regions;
    char *at = region->base + region->used;
    write_code(at, bytes, size);
    region->used += padded(size, PIECE) < region->bytes - region->used ? padded(size, PIECE) : region->bytes - region->used;
    region->pieces++;
    return at;
}

whet_status code_memory_seal(CodeMemory *memory, whet_error *err) {
    return memory->regions ? seal(memory, memory->regions, err) : WHET_OK;
}

void code_memory_drop(CodeMemory *memory, const void *code) {
    uintptr_t address = (uintptr_t)code;
    for (Region **at = &memory->regions; code && *at; at = &(*at)->next) {
        uintptr_t base = (uintptr_t)(*at)->base;
        if (address < base || address >= base + (*at)->bytes)
            continue;
        if (--(*at)->pieces == 0 && at != &memory->regions) /* the first one is still being filled */
            free_region(memory, at);
        return;
    }
}
