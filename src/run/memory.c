/* The memory of a run: counted against a limit, and kept for reuse. */
#include "run/cgroup.h"
#include "run/run.h"

#include <string.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    KEPT_SHARE = 2 /* what is in use and what is kept for reuse take at most so many times the most ever in use: blocks are of
                      many sizes, and one that does not fit is a block of fresh pages, each a fault */
};

void pool_init(Pool *pool, const whet_allocator *allocator, size_t limit) {
    *pool = (Pool){.allocator = allocator, .limit = limit ? limit : machine_memory()};
}

static void forget(Pool *pool, int index) {
    memory_free(pool->allocator, pool->kept[index].data, pool->kept[index].bytes);
    pool->kept_bytes -= pool->kept[index].bytes;
    pool->kept_count--;
    memmove(&pool->kept[index], &pool->kept[index + 1], (size_t)(pool->kept_count - index) * sizeof *pool->kept);
}

void pool_free(Pool *pool) {
    while (pool->kept_count)
        forget(pool, pool->kept_count - 1);
}

/* The smallest kept block that fits without wasting more than a quarter; -1: none. */
static int best_kept(const Pool *pool, size_t bytes) {
    int best = -1;
    for (int i = 0; i < pool->kept_count; i++) {
        size_t size = pool->kept[i].bytes;
        if (size >= bytes && size - bytes <= bytes / 4 + 256 && (best < 0 || size < pool->kept[best].bytes))
            best = i;
    }
    return best;
}

/* What used and kept blocks may take together. */
static size_t allowed(const Pool *pool) {
    return pool->most < pool->limit / KEPT_SHARE ? KEPT_SHARE * pool->most : pool->limit;
}

whet_status pool_take(Pool *pool, size_t bytes, Block *out, whet_error *err) {
    if (bytes > pool->limit || pool->used > pool->limit - bytes)
        return error_set(err, WHET_ERROR_MEMORY, "%zu bytes more than the %zu in use are beyond the memory limit of %zu", bytes,
                         pool->used, pool->limit);
    int kept = best_kept(pool, bytes);
    if (kept >= 0) {
        *out = pool->kept[kept];
        pool->kept_bytes -= out->bytes;
        pool->kept_count--;
        memmove(&pool->kept[kept], &pool->kept[kept + 1], (size_t)(pool->kept_count - kept) * sizeof *pool->kept);
    } else {
        size_t size = bytes < PAGE ? (bytes + 63) / 64 * 64 : (bytes + PAGE - 1) / PAGE * PAGE;
        if (size < 64)
            size = 64;
        while (pool->kept_count && pool->kept_bytes + pool->used + size > allowed(pool))
            forget(pool, 0);
        *out = (Block){memory_alloc_large(pool->allocator, size), size};
        if (!out->data)
            return error_set(err, WHET_ERROR_MEMORY, "out of memory: %zu bytes", bytes);
    }
    pool->used += out->bytes;
    if (pool->used > pool->peak)
        pool->peak = pool->used;
    if (pool->used > pool->most)
        pool->most = pool->used;
    return WHET_OK;
}

void pool_give(Pool *pool, Block block) {
    pool->used -= block.bytes;
    if (pool->kept_count == POOL_KEPT)
        forget(pool, 0);
    pool->kept[pool->kept_count++] = block;
    pool->kept_bytes += block.bytes;
}

void pool_mark(Pool *pool) {
    pool->peak = pool->used;
    while (pool->kept_count && pool->kept_bytes > pool->limit)
        forget(pool, 0);
}

size_t machine_memory(void) {
    size_t pages = (size_t)sysconf(_SC_PHYS_PAGES), bytes = pages * (size_t)sysconf(_SC_PAGESIZE);
    size_t limit = cgroup_memory("");
    return limit && limit < bytes ? limit : bytes;
}
