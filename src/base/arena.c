/* Arenas: bump allocation from a list of chunks, freed whole. Chunks grow up to a large page, which the system gives in a tenth
 * of the time that it takes for as much in small ones: so a small kernel costs one page and a large model a few hundred
 * allocations. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise */
#endif
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 16, FIRST_CHUNK = 4096, LARGE_PAGE = 2 << 20, MOST_KEPT = LARGE_PAGE, HEAP_ALIGNMENT = 64 };

typedef struct ArenaChunk {
    struct ArenaChunk *next;
    size_t size;
    size_t padding[6]; /* the chunk's first allocation starts on a cache line */
} ArenaChunk;

_Static_assert(sizeof(ArenaChunk) % ALIGNMENT == 0, "allocations keep their alignment behind the chunk's head");

void *memory_alloc(const whet_allocator *allocator, size_t size) {
    if (size > SIZE_MAX - HEAP_ALIGNMENT)
        return NULL;
    size_t rounded = (size + HEAP_ALIGNMENT - 1) / HEAP_ALIGNMENT * HEAP_ALIGNMENT;
    if (rounded == 0)
        rounded = HEAP_ALIGNMENT;
    return allocator ? allocator->allocate(allocator->context, rounded, HEAP_ALIGNMENT) : aligned_alloc(HEAP_ALIGNMENT, rounded);
}

/* Only whole large pages: the rest would take memory that nobody asked for. */
void *memory_alloc_large(const whet_allocator *allocator, size_t size) {
#ifdef MADV_HUGEPAGE
    if (!allocator && size >= LARGE_PAGE && size <= SIZE_MAX - LARGE_PAGE) {
        size_t whole = size / LARGE_PAGE * LARGE_PAGE;
        void *data = NULL; /* aligned_alloc wants sizes that are multiples of the alignment */
        if (posix_memalign(&data, LARGE_PAGE, (size + HEAP_ALIGNMENT - 1) / HEAP_ALIGNMENT * HEAP_ALIGNMENT) != 0)
            return NULL;
        madvise(data, whole, MADV_HUGEPAGE);
        return data;
    }
#endif
    return memory_alloc(allocator, size);
}

void memory_free(const whet_allocator *allocator, void *pointer, size_t size) {
    if (!pointer)
        return;
    if (!allocator) {
        free(pointer);
        return;
    }
    size_t rounded = (size + HEAP_ALIGNMENT - 1) / HEAP_ALIGNMENT * HEAP_ALIGNMENT;
    allocator->release(allocator->context, pointer, rounded ? rounded : HEAP_ALIGNMENT);
}

void arena_init(Arena *arena, const whet_allocator *allocator) {
    memset(arena, 0, sizeof *arena);
    arena->allocator = allocator;
}

static void drop_spare(Arena *arena) {
    if (arena->spare)
        memory_free(arena->allocator, arena->spare, arena->spare->size);
    arena->spare = NULL;
}

void arena_free(Arena *arena) {
    for (ArenaChunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        memory_free(arena->allocator, chunk, chunk->size);
    }
    drop_spare(arena);
    size_t limit = arena->limit;
    arena_init(arena, arena->allocator);
    arena->limit = limit;
}

ArenaMark arena_mark(const Arena *arena) {
    return (ArenaMark){arena->chunks, arena->at};
}

void arena_release(Arena *arena, ArenaMark mark) {
    while (arena->chunks != mark.chunk) {
        ArenaChunk *chunk = arena->chunks, *smaller = chunk;
        arena->chunks = chunk->next;
        if (!arena->spare || arena->spare->size < chunk->size) {
            smaller = arena->spare;
            arena->spare = chunk;
        }
        if (smaller) {
            arena->total -= smaller->size;
            memory_free(arena->allocator, smaller, smaller->size);
        }
    }
    arena->at = mark.at;
    arena->end = mark.chunk ? (char *)mark.chunk + mark.chunk->size : NULL;
}

static void use_chunk(Arena *arena, ArenaChunk *chunk) {
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->at = (char *)(chunk + 1);
    arena->end = (char *)chunk + chunk->size;
}

/* One chunk with room for what several had been needed for: who resets an arena will want as much again, and the system takes its
 * time over memory that comes and goes. */
static ArenaChunk *join(Arena *arena, ArenaChunk *chunk, size_t total) {
    total = total < MOST_KEPT ? total : MOST_KEPT;
    ArenaChunk *whole = chunk->size < total ? memory_alloc_large(arena->allocator, total) : NULL;
    if (!whole)
        return chunk;
    memory_free(arena->allocator, chunk, chunk->size);
    whole->size = total;
    return whole;
}

void arena_reset(Arena *arena) {
    ArenaMark empty = {NULL, NULL};
    size_t total = arena->total;
    arena_release(arena, empty); /* leaves the largest chunk */
    ArenaChunk *kept = arena->spare ? join(arena, arena->spare, total) : NULL;
    arena->spare = NULL;
    if (!kept || kept->size > MOST_KEPT) {
        arena->spare = kept;
        arena_free(arena);
        return;
    }
    size_t limit = arena->limit;
    arena_init(arena, arena->allocator);
    arena->limit = limit;
    arena->total = kept->size;
    use_chunk(arena, kept);
}

/* A chunk with room for `need` bytes becomes the one allocated from. */
static bool add_chunk(Arena *arena, size_t need) {
    size_t size = arena->chunks ? arena->total : FIRST_CHUNK; /* with each chunk the whole doubles */
    if (size >= LARGE_PAGE / 2)
        size = LARGE_PAGE;
    size_t whole;
    if (!checked_size_add(need, sizeof(ArenaChunk), &whole))
        return false;
    if (size < whole)
        size = whole;
    if (arena->spare && arena->spare->size >= whole) {
        use_chunk(arena, arena->spare);
        arena->spare = NULL;
        return true;
    }
    if (arena->limit && (size > arena->limit || arena->total > arena->limit - size))
        return false;
    ArenaChunk *chunk = memory_alloc_large(arena->allocator, size);
    if (!chunk)
        return false;
    chunk->size = size;
    arena->total += size;
    use_chunk(arena, chunk);
    return true;
}

/* As the memory was left. */
static void *take(Arena *arena, size_t count, size_t size, size_t *taken) {
    size_t bytes;
    if (arena->failed || !checked_size_mul(count, size, &bytes) || bytes > SIZE_MAX - 2 * ALIGNMENT) {
        arena->failed = true;
        return NULL;
    }
    bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    if ((size_t)(arena->end - arena->at) < bytes && !add_chunk(arena, bytes)) {
        arena->failed = true;
        return NULL;
    }
    void *out = arena->at;
    arena->at += bytes;
    *taken = bytes;
    return out;
}

void *arena_alloc(Arena *arena, size_t count, size_t size) {
    size_t taken;
    void *out = take(arena, count, size, &taken);
    return out ? memset(out, 0, taken) : NULL;
}

void *arena_take(Arena *arena, size_t count, size_t size) {
    size_t taken;
    return take(arena, count, size, &taken);
}

void *arena_copy(Arena *arena, const void *data, size_t size) {
    size_t taken;
    void *out = take(arena, size, 1, &taken);
    if (out && size)
        memcpy(out, data, size);
    return out;
}

char *arena_string(Arena *arena, const char *text, size_t length) {
    char *out = arena_alloc(arena, length + 1, 1);
    if (out && length)
        memcpy(out, text, length);
    return out;
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *out = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1, 1);
    if (out)
        vsnprintf(out, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return out;
}

bool arena_grow(Arena *arena, void *array, size_t *capacity, size_t need, size_t element_size) {
    if (need <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    if (wanted < need)
        wanted = need;
    char *old, *grown = arena_take(arena, wanted, element_size);
    if (!grown)
        return false;
    size_t bytes = *capacity * element_size;
    memcpy(&old, array, sizeof old);
    if (bytes)
        memcpy(grown, old, bytes);
    memset(grown + bytes, 0, wanted * element_size - bytes);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}
