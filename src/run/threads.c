/* Threads: a pool behind the interface the kernels know. The caller takes part in the work.
 *
 * Tasks are dealt out in equal runs, one a thread, in the same way each time, so that what a thread wrote it finds in its cache
 * again. Whoever is done takes from the ends of the others' runs, one task at a time. The caller waits for tasks that somebody
 * has begun, never for threads: one that is asleep, or has no processor, holds up nothing.
 *
 * Tasks may also be left to the workers while the caller does something else (threads_meanwhile): they are hints, and the next
 * region ends them.
 *
 * Between the kernels of a run workers spin, for the next one comes within microseconds; after it they spin a little longer, for
 * runs that follow each other, and then sleep (threads_rest): an idle session uses no processor. */
#include "run/run.h"
#include "target/target.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static const double SPIN_SECONDS = 5e-3, REST_SECONDS = 50e-6; /* within a run; after it */

/* What is left of a run of tasks: its first in the upper half, the one behind its last in the lower one. */
typedef struct Slot {
    _Alignas(64) _Atomic uint64_t left;
} Slot;

typedef struct Worker {
    Threads *threads;
    int slot;
    pthread_t thread;
} Worker;

struct Threads {
    Slot *slots; /* the caller's first; NULL: one thread */
    Worker *workers;
    int count, started; /* threads, with the caller; workers */
    Parallel parallel;
    pthread_mutex_t region; /* one at a time */
    bool meanwhile;         /* the caller takes no part in the one under way */
    void (*task)(void *context, size_t i);
    void *context;
    _Alignas(64) atomic_size_t unfinished;
    _Alignas(64) atomic_uint call; /* counts regions, and the end */
    atomic_int sleepers;
    atomic_bool resting, stopped;
    pthread_mutex_t sleep;
    pthread_cond_t wake;
};

/* ---- Tasks ---- */

/* A task of the slot, the first or the last. Whoever takes one, however late he comes, takes it of the region that is under way:
 * its task and context were there before its slots, and stay until what was taken is done. */
static bool take(Slot *slot, bool first, size_t *out) {
    uint64_t left = atomic_load_explicit(&slot->left, memory_order_acquire);
    while (left >> 32 < (uint32_t)left) {
        const uint64_t rest = first ? left + (UINT64_C(1) << 32) : left - 1;
        if (atomic_compare_exchange_weak_explicit(&slot->left, &left, rest, memory_order_acq_rel, memory_order_acquire)) {
            *out = first ? left >> 32 : (uint32_t)left - 1;
            return true;
        }
    }
    return false;
}

static void work(Threads *threads, int own) {
    for (int k = 0; k < threads->count; k++) {
        Slot *slot = &threads->slots[(own + k) % threads->count];
        for (size_t i; take(slot, k == 0, &i);) {
            threads->task(threads->context, i);
            atomic_fetch_sub_explicit(&threads->unfinished, 1, memory_order_release);
        }
    }
}

/* ---- Workers ---- */

static bool is_called(Threads *threads, unsigned *seen) {
    unsigned call = atomic_load(&threads->call);
    bool called = call != *seen;
    *seen = call;
    return called;
}

/* Whoever else wants the processor has it in between: a worker may have been woken on the caller's own. */
static bool spin(Threads *threads, unsigned *seen) {
    enum { LOOKS = 200 }; /* from one look at the clock to the next */
    const double start = clock_now();
    double spent = 0;
    while (spent < (atomic_load_explicit(&threads->resting, memory_order_relaxed) ? REST_SECONDS : SPIN_SECONDS)) {
        for (int i = 0; i < LOOKS; i++, target_pause())
            if (is_called(threads, seen))
                return true;
        sched_yield();
        spent = clock_now() - start;
    }
    return false;
}

static void wait_for_call(Threads *threads, unsigned *seen) {
    if (spin(threads, seen))
        return;
    pthread_mutex_lock(&threads->sleep);
    atomic_fetch_add(&threads->sleepers, 1); /* before the last look: who calls looks at it afterwards */
    while (!is_called(threads, seen))
        pthread_cond_wait(&threads->wake, &threads->sleep);
    atomic_fetch_sub(&threads->sleepers, 1);
    pthread_mutex_unlock(&threads->sleep);
}

static void call(Threads *threads) {
    atomic_fetch_add(&threads->call, 1);
    if (!atomic_load(&threads->sleepers))
        return;
    pthread_mutex_lock(&threads->sleep); /* whoever was about to sleep has looked again, or sleeps */
    pthread_mutex_unlock(&threads->sleep);
    pthread_cond_broadcast(&threads->wake);
}

static void *worker_main(void *self) {
    const Worker *worker = self;
    Threads *threads = worker->threads;
    for (unsigned seen = 0;;) {
        wait_for_call(threads, &seen);
        if (atomic_load(&threads->stopped))
            return NULL;
        work(threads, worker->slot);
    }
}

/* ---- Regions ---- */

static void wait_for_tasks(Threads *threads) {
    enum { PATIENCE = 1000 }; /* then whoever has the task may want this processor */
    for (int i = 0; atomic_load_explicit(&threads->unfinished, memory_order_acquire); i++)
        if (i < PATIENCE)
            target_pause();
        else
            sched_yield();
}

/* All tasks, cut up for workers `first` and on. */
static void deal(Threads *threads, int first, size_t count, void (*task)(void *context, size_t i), void *context) {
    const uint64_t n = (uint64_t)(threads->count - first);
    threads->task = task;
    threads->context = context;
    atomic_store_explicit(&threads->unfinished, count, memory_order_relaxed);
    for (uint64_t t = 0; t < n; t++)
        atomic_store_explicit(&threads->slots[(uint64_t)first + t].left, (count * t / n) << 32 | count * (t + 1) / n,
                              memory_order_release);
}

/* Takes back what nobody has begun. */
static void end_meanwhile(Threads *threads) {
    for (int t = 0; threads->meanwhile && t < threads->count; t++) {
        const uint64_t left = atomic_exchange_explicit(&threads->slots[t].left, 0, memory_order_acq_rel);
        if (left >> 32 < (uint32_t)left)
            atomic_fetch_sub_explicit(&threads->unfinished, (uint32_t)left - (left >> 32), memory_order_relaxed);
    }
    if (threads->meanwhile)
        wait_for_tasks(threads);
    threads->meanwhile = false;
}

static void run_in_pool(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    Threads *threads = self;
    if (count > UINT32_MAX) {
        for (size_t i = 0; i < count; i++)
            task(context, i);
        return;
    }
    pthread_mutex_lock(&threads->region);
    end_meanwhile(threads);
    atomic_store_explicit(&threads->resting, false, memory_order_relaxed);
    deal(threads, 0, count, task, context);
    call(threads);
    work(threads, 0);
    wait_for_tasks(threads);
    pthread_mutex_unlock(&threads->region);
}

void threads_meanwhile(Threads *threads, size_t count, void (*task)(void *context, size_t i), void *context) {
    if (!threads->slots || count > UINT32_MAX)
        return;
    pthread_mutex_lock(&threads->region);
    end_meanwhile(threads);
    threads->meanwhile = true;
    deal(threads, 1, count, task, context);
    call(threads);
    pthread_mutex_unlock(&threads->region);
}

void threads_rest(Threads *threads) {
    if (!threads)
        return;
    pthread_mutex_lock(&threads->region);
    end_meanwhile(threads);
    pthread_mutex_unlock(&threads->region);
    atomic_store_explicit(&threads->resting, true, memory_order_relaxed);
}

const Parallel *threads_parallel(const Threads *threads) {
    return threads && threads->slots ? &threads->parallel : NULL;
}

/* ---- The pool ---- */

static bool start_workers(Threads *threads) {
    const size_t count = (size_t)threads->count;
    threads->slots = memory_alloc(NULL, count * sizeof *threads->slots);
    threads->workers = calloc(count, sizeof *threads->workers);
    if (!threads->slots || !threads->workers)
        return false;
    for (size_t t = 0; t < count; t++)
        atomic_init(&threads->slots[t].left, 0);
    for (; threads->started + 1 < threads->count; threads->started++) {
        Worker *worker = &threads->workers[threads->started];
        *worker = (Worker){.threads = threads, .slot = threads->started + 1};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            return false;
    }
    return true;
}

Threads *threads_new(int count, whet_error *err) {
    if (count < 0 || count > 4096) {
        error_set(err, WHET_ERROR_ARGUMENT, "%d threads; wanted: 0 (all) to 4096", count);
        return NULL;
    }
    if (count == 0) {
        whet_cpu cpu;
        count = whet_cpu_query(&cpu, NULL) == WHET_OK ? cpu.threads : 1;
    }
    Threads *threads = memory_alloc(NULL, sizeof *threads);
    if (!threads) {
        error_memory(err);
        return NULL;
    }
    *threads = (Threads){.count = count, .parallel = {.self = threads, .threads = count, .run = run_in_pool}};
    pthread_mutex_init(&threads->region, NULL);
    pthread_mutex_init(&threads->sleep, NULL);
    pthread_cond_init(&threads->wake, NULL);
    atomic_init(&threads->resting, true); /* nothing runs yet */
    if (count == 1 || start_workers(threads))
        return threads;
    threads_free(threads);
    error_set(err, WHET_ERROR_MEMORY, "%d threads cannot be started", count);
    return NULL;
}

void threads_free(Threads *threads) {
    if (!threads)
        return;
    atomic_store(&threads->stopped, true);
    call(threads);
    for (int t = 0; t < threads->started; t++)
        pthread_join(threads->workers[t].thread, NULL);
    pthread_cond_destroy(&threads->wake);
    pthread_mutex_destroy(&threads->sleep);
    pthread_mutex_destroy(&threads->region);
    free(threads->workers);
    memory_free(NULL, threads->slots, 0);
    memory_free(NULL, threads, sizeof *threads);
}
