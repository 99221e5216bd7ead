/* Threads: pthreadpool behind the interface the kernels know. The caller takes part in the work.
 *
 * Between the kernels of a run workers spin, for the next one comes within microseconds; at its end they are told to sleep
 * (threads_rest), so that an idle session uses no processor.
 */
#include "run/run.h"

#include <pthreadpool.h>
#include <stdatomic.h>
#include <stdlib.h>

struct Threads {
    pthreadpool_t pool; /* NULL: one thread */
    atomic_bool awake;  /* workers may be spinning */
    Parallel parallel;
};

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER
#endif

#ifdef UNDER_THREAD_SANITIZER
/* The system's pthreadpool is not built for ThreadSanitizer, which therefore does not see that work is handed over before it is
 * done, and back after it: it is told here. */
#include <sanitizer/tsan_interface.h>

typedef struct Handover {
    void (*task)(void *context, size_t i);
    void *context;
    char back;
} Handover;

static void handed_task(void *self, size_t i) {
    Handover *handover = self;
    __tsan_acquire(handover);
    handover->task(handover->context, i);
    __tsan_release(&handover->back);
}

static void run_in_pool(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    Threads *threads = self;
    atomic_store_explicit(&threads->awake, true, memory_order_relaxed);
    Handover handover = {task, context, 0};
    __tsan_release(&handover);
    pthreadpool_parallelize_1d(threads->pool, handed_task, &handover, count, 0);
    __tsan_acquire(&handover.back);
}
#else
static void run_in_pool(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    Threads *threads = self;
    atomic_store_explicit(&threads->awake, true, memory_order_relaxed);
    pthreadpool_parallelize_1d(threads->pool, task, context, count, 0);
}
#endif

Threads *threads_new(int count, whet_error *err) {
    if (count < 0 || count > 4096) {
        error_set(err, WHET_ERROR_ARGUMENT, "%d threads; wanted: 0 (all) to 4096", count);
        return NULL;
    }
    if (count == 0) {
        whet_cpu cpu;
        count = whet_cpu_query(&cpu, NULL) == WHET_OK ? cpu.threads : 1;
    }
    Threads *threads = calloc(1, sizeof *threads);
    if (!threads) {
        error_memory(err);
        return NULL;
    }
    threads->pool = count > 1 ? pthreadpool_create((size_t)count) : NULL;
    if (count > 1 && !threads->pool) {
        error_set(err, WHET_ERROR_MEMORY, "%d threads cannot be started", count);
        free(threads);
        return NULL;
    }
    threads->parallel = (Parallel){.self = threads, .threads = count, .run = run_in_pool};
    return threads;
}

void threads_free(Threads *threads) {
    if (!threads)
        return;
    pthreadpool_destroy(threads->pool);
    free(threads);
}

static void nothing(void *context, size_t i) {
    (void)context, (void)i;
}

void threads_rest(Threads *threads) {
    if (!threads || !atomic_exchange(&threads->awake, false))
        return;
    pthreadpool_parallelize_1d(threads->pool, nothing, NULL, (size_t)threads->parallel.threads, PTHREADPOOL_FLAG_YIELD_WORKERS);
}

const Parallel *threads_parallel(const Threads *threads) {
    return threads && threads->pool ? &threads->parallel : NULL;
}
