/* From a node and the shapes it meets to what runs: a kernel, a view, or C.
 *
 * The key of a lowering is all its outcome depends on: types and shapes of the inputs, and the content of those that decide
 * shapes (marked `#` in the row).
 */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

bool lowering_key_put(Runner *runner, size_t *length, const void *data, size_t bytes) {
    size_t need;
    if (!checked_size_add(*length, bytes, &need))
        return false;
    if (need > runner->key_capacity) {
        size_t capacity = need * 2;
        unsigned char *grown = realloc(runner->key, capacity);
        if (!grown)
            return false;
        runner->key = grown;
        runner->key_capacity = capacity;
    }
    if (bytes)
        memcpy(runner->key + *length, data, bytes);
    *length = need;
    return true;
}

/* Writes the key of the call to runner->key. */
static bool make_key(Runner *runner, const Node *node, const Tensor *const *inputs, size_t *length) {
    *length = 0;
    for (int i = 0; i < node->input_count; i++) {
        const Tensor *t = inputs[i];
        int64_t head[2] = {t ? (int64_t)t->type : -1, t ? t->rank : 0};
        if (!lowering_key_put(runner, length, head, sizeof head))
            return false;
        if (!t)
            continue;
        if (!lowering_key_put(runner, length, t->dims, (size_t)t->rank * sizeof *t->dims))
            return false;
        if (op_input_is_content(node->row, i) && !lowering_key_put(runner, length, t->data, t->bytes))
            return false;
    }
    return true;
}

/* The lowering's own copy of what is known of input `t`. The content that decides shapes is kept with it. */
static bool set_type(Lowering *l, int i, const Tensor *t) {
    Type *type = &l->in[i];
    *type = (Type){.type = (DType)t->type, .rank = t->rank};
    memcpy(type->dims, t->dims, (size_t)t->rank * sizeof *t->dims);
    l->call.in[i] = type;
    if (!op_input_is_content(l->call.row, i))
        return true;
    Tensor *copy = arena_copy(&l->arena, t, sizeof *t);
    if (!copy)
        return false;
    copy->data = arena_copy(&l->arena, t->data, t->bytes);
    type->constant = copy;
    return copy->data != NULL;
}

static bool set_types(Lowering *l, const Node *node, const Tensor *const *inputs) {
    l->in = ARENA_ARRAY(&l->arena, Type, node->input_count);
    l->call.in = ARENA_ARRAY(&l->arena, const Type *, node->input_count);
    l->call.out = ARENA_ARRAY(&l->arena, Type, node->output_count);
    if (!l->in || !l->call.in || !l->call.out)
        return false;
    for (int o = 0; o < node->output_count; o++)
        l->call.out[o].rank = -1;
    for (int i = 0; i < node->input_count; i++)
        if (inputs[i] && !set_type(l, i, inputs[i]))
            return false;
    return true;
}

/* What runs once, a node being folded, does so by the evaluator: making code would take longer. */
static whet_status make_executable(Runner *runner, Lowering *l) {
    const Tensor *constant[KERNEL_MAX_TENSORS] = {0};
    const Node *node = l->call.node;
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] && l->lowered.in_tensor[i] >= 0)
            constant[l->lowered.in_tensor[i]] = node->inputs[i]->type.constant;
    return executable_share(&l->executable, runner->shared_model, l->lowered.kernel,
                            runner->has_target && !l->once ? &runner->target : NULL, constant, l->call.err);
}

static whet_status lower(Runner *runner, Lowering *l) {
    const OpRow *row = l->call.row;
    bool may_be_kernel = row->text || row->build;
    double start = clock_now();
    whet_status status = may_be_kernel ? op_lower(&l->call, &l->lowered) : op_infer(&l->call);
    if (runner->shared_model)
        shared_note(runner->shared_model, PHASE_LOWER, clock_now() - start, 0);
    if (status)
        return status;
    l->kind = row->view ? STEP_VIEW : l->lowered.kernel ? STEP_KERNEL : STEP_C;
    if (l->kind == STEP_KERNEL)
        return make_executable(runner, l);
    if (l->kind == STEP_C && !row->run)
        return error_set(l->call.err, WHET_ERROR_UNSUPPORTED, "no kernel for these types and shapes");
    return WHET_OK;
}

/* The first key_length bytes of the key in runner->key, whole_length long, are the step's own; without more no step keeps it. */
static Lowering *lowering_new(Runner *runner, const Node *node, const Tensor *const *inputs, size_t key_length,
                              size_t whole_length, whet_error *err) {
    Lowering *l = memory_alloc(runner->pool.allocator, sizeof *l);
    if (!l) {
        error_memory(err);
        return NULL;
    }
    *l = (Lowering){.key_length = key_length, .whole_length = whole_length, .references = 1, .once = whole_length == key_length};
    arena_init(&l->arena, runner->pool.allocator);
    l->key = arena_copy(&l->arena, runner->key, whole_length);
    l->call = (OpCall){.node = node,
                       .row = node->row,
                       .arena = &l->arena,
                       .symbols = runner->symbols,
                       .err = err,
                       .opset = node->opset,
                       .in_count = node->input_count,
                       .out_count = node->output_count};
    if (!l->key || !set_types(l, node, inputs)) {
        error_memory(err);
    } else if (lower(runner, l) == WHET_OK) {
        return l;
    }
    lowering_free(runner, l);
    return NULL;
}

void lowering_free(Runner *runner, Lowering *l) {
    if (!l || --l->references > 0)
        return;
    share_remove(runner, l);
    executable_free(&l->executable);
    for (int k = 0; k < OP_KERNELS; k++)
        if (l->kernels[k])
            executable_free(&l->kernels[k]->executable);
    arena_free(&l->arena);
    memory_free(runner->pool.allocator, l, sizeof *l);
}

/* Only kernels are shared: what C computes may depend on the node itself. */
static Lowering *lowering_find_or_new(Runner *runner, const Node *node, const Tensor *const *inputs, size_t key_length,
                                      whet_error *err) {
    size_t whole_length = key_length;
    if (!share_key(runner, node, &whole_length)) {
        error_memory(err);
        return NULL;
    }
    Lowering *l = share_find(runner, whole_length);
    if (l) {
        l->references++;
        return l;
    }
    l = lowering_new(runner, node, inputs, key_length, whole_length, err);
    if (l && l->kind == STEP_KERNEL)
        share_add(runner, l);
    return l;
}

Lowering *lowering_get(Runner *runner, StepCache *cache, const Node *node, const Tensor *const *inputs, whet_error *err) {
    size_t key_length;
    if (!make_key(runner, node, inputs, &key_length)) {
        error_memory(err);
        return NULL;
    }
    int at = 0;
    for (; cache && at < LOWERINGS_KEPT && cache->kept[at]; at++) {
        Lowering *l = cache->kept[at];
        if (l->key_length == key_length && memcmp(l->key, runner->key, key_length) == 0) {
            memmove(&cache->kept[1], &cache->kept[0], (size_t)at * sizeof *cache->kept);
            return cache->kept[0] = l;
        }
    }
    if (!cache)
        return lowering_new(runner, node, inputs, key_length, key_length, err);
    Lowering *l = lowering_find_or_new(runner, node, inputs, key_length, err);
    if (!l)
        return NULL;
    if (at == LOWERINGS_KEPT)
        lowering_free(runner, cache->kept[--at]);
    memmove(&cache->kept[1], &cache->kept[0], (size_t)at * sizeof *cache->kept);
    return cache->kept[0] = l;
}
