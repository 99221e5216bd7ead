/* The pages of weights, touched by workers that have nothing to do while the first run is being planned: a mapped file's pages
 * are found by the system at their first reading, which takes a few milliseconds for 100 MiB even where the file is in memory,
 * and the disk's time where it is not. */
#include <string.h>

#include "run/run.h"

enum { PIECE = 256 << 10, LEAST = 64 << 10, PAGE = 4096 };

static void touch(void *context, size_t i) {
    const Block *piece = (const Block *)context + i;
    for (size_t at = 0; at < piece->bytes; at += PAGE)
        (void)((const volatile char *)piece->data)[at];
}

/* Rows that are chosen at run time are few of many: their pages would be memory that nobody asked for. */
static bool reads_all(const Node *node) {
    return strncmp(node->op, "Gather", 6) != 0;
}

static size_t cut(const Tensor *constant, Block *to) {
    size_t count = 0;
    for (size_t at = 0; at < constant->bytes; at += PIECE, count++)
        if (to)
            to[count] = (Block){(char *)constant->data + at, constant->bytes - at < PIECE ? constant->bytes - at : PIECE};
    return count;
}

/* In the order in which they will be read; how many there are. `to` NULL: counted alone. */
static size_t list(const Graph *graph, Block *to) {
    size_t count = 0;
    for (size_t n = 0; n < graph->node_count; n++) {
        const Node *node = graph->nodes[n];
        for (int i = 0; i < node->input_count && reads_all(node); i++) {
            const Tensor *constant = node->inputs[i] ? node->inputs[i]->type.constant : NULL;
            if (constant && constant->data && constant->type != WHET_STRING && constant->bytes >= LEAST)
                count += cut(constant, to ? to + count : NULL);
        }
    }
    return count;
}

/* Without memory for the list nothing is touched: it is read later all the same. */
void runner_touch(Runner *runner, const Graph *graph) {
    const size_t count = threads_parallel(runner->threads) ? list(graph, NULL) : 0;
    runner->touched = count ? memory_alloc(runner->pool.allocator, count * sizeof *runner->touched) : NULL;
    runner->touched_bytes = count * sizeof *runner->touched;
    if (!runner->touched)
        return;
    list(graph, runner->touched);
    threads_meanwhile(runner->threads, count, touch, runner->touched);
}

void runner_rest(Runner *runner) {
    threads_rest(runner->threads);
    memory_free(runner->pool.allocator, runner->touched, runner->touched_bytes);
    runner->touched = NULL;
}
