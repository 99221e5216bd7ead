/* An allocator that fails when it is told to, and counts what is out. Any thread may ask. To be included behind cmocka.h. */
#ifndef COUNTDOWN_H
#define COUNTDOWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "whet.h"

/* Sanitizers are slow, and keep what was freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

typedef struct Countdown {
    atomic_long left;              /* so many allocations pass, then one fails; negative: all pass */
    bool rest;                     /* all that come after it fail too */
    atomic_long taken, out, bytes; /* asked for in all; not given back, and their bytes */
} Countdown;

static inline void *countdown_allocate(void *context, size_t bytes, size_t alignment) {
    Countdown *c = context;
    long left = atomic_fetch_sub(&c->left, 1);
    atomic_fetch_add(&c->taken, 1);
    if (left == 0 || (left < 0 && c->rest))
        return NULL;
    void *pointer = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (pointer) {
        atomic_fetch_add(&c->out, 1);
        atomic_fetch_add(&c->bytes, (long)bytes);
    }
    return pointer;
}

static inline void countdown_release(void *context, void *pointer, size_t bytes) {
    Countdown *c = context;
    atomic_fetch_sub(&c->out, 1);
    atomic_fetch_sub(&c->bytes, (long)bytes);
    free(pointer);
}

static inline whet_allocator countdown_allocator(Countdown *countdown) {
    return (whet_allocator){countdown, countdown_allocate, countdown_release};
}

#endif
