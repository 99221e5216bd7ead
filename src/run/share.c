/* Sharing lowerings between steps. A lowering depends on the inputs (the step's key, lowering.c), the operator, its attributes,
 * which outputs are wanted, and the constants that it packs. Steps that agree in all of these keep one lowering together, so
 * that a deep network of equal layers is lowered once. The table owns nothing: a lowering leaves it with its last step.
 */
#include <string.h>

#include "run/run.h"

typedef struct Key {
    Runner *runner;
    size_t *length;
} Key;

static bool put(void *context, const void *data, size_t bytes) {
    const Key *key = context;
    return lowering_key_put(key->runner, key->length, data, bytes);
}

bool share_key_node(Runner *runner, const Node *node, size_t *length) {
    const int64_t head[] = {node->opset, node->input_count, node->output_count, node->attr_count, node->rounds, node->rounded};
    bool fine =
        lowering_key_put(runner, length, &node->row, sizeof node->row) && lowering_key_put(runner, length, head, sizeof head);
    for (int i = 0; fine && i < node->output_count; i++) {
        bool wanted = node->outputs[i] != NULL;
        fine = lowering_key_put(runner, length, &wanted, sizeof wanted);
    }
    for (int i = 0; fine && i < node->attr_count; i++)
        fine = attr_put(&node->attrs[i], put, &(Key){runner, length});
    return fine;
}

bool share_key(Runner *runner, const Node *node, size_t *length) {
    const size_t own = *length;
    bool fine = share_key_node(runner, node, length);
    for (int i = 0; fine && i < node->input_count; i++) {
        const Tensor *constant = node->inputs[i] ? node->inputs[i]->type.constant : NULL;
        fine = lowering_key_put(runner, length, &constant, sizeof constant);
    }
    return fine && lowering_key_put(runner, length, &own, sizeof own); /* where the two keys meet */
}

static Lowering **bucket(const Runner *runner, const unsigned char *key, size_t length) {
    return &runner->shared[hash_bytes(key, length, 0) % SHARE_BUCKETS];
}

Lowering *share_find(const Runner *runner, size_t length) {
    Lowering *l = runner->shared ? *bucket(runner, runner->key, length) : NULL;
    while (l && (l->whole_length != length || memcmp(l->key, runner->key, length) != 0))
        l = l->next_shared;
    return l;
}

void share_add(Runner *runner, Lowering *l) {
    if (!runner->shared)
        return;
    Lowering **head = bucket(runner, l->key, l->whole_length);
    l->next_shared = *head;
    l->shared = true;
    *head = l;
}

void share_remove(Runner *runner, Lowering *l) {
    if (!l->shared)
        return;
    Lowering **at = bucket(runner, l->key, l->whole_length);
    while (*at != l)
        at = &(*at)->next_shared;
    *at = l->next_shared;
}
