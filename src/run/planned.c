/* Runs plans, and keeps the last few of each step that one began at. */
#include "run/planned.h"

#include <string.h>

/* ---- Finding ---- */

static bool same_content(const Tensor *known, const Tensor *now) {
    return known->bytes == now->bytes && memcmp(known->data, now->data, now->bytes) == 0;
}

static bool fits(Runner *runner, const Planned *p, Activation *activation) {
    for (int i = 0; i < p->live_in_count; i++) {
        const LiveIn *in = &p->live_in[i];
        const OpValue *value = runner_value(runner, activation, in->value, NULL);
        const Tensor *t = value ? &value->tensor : NULL;
        if (!t || (DType)t->type != in->type || t->rank != in->rank ||
            memcmp(t->dims, in->dims, (size_t)in->rank * sizeof *t->dims) != 0 || (in->content && !same_content(in->content, t)))
            return false;
    }
    return true;
}

/* The latest first, as many as there is room for. */
static void keep(Runner *runner, PlanCache *cache, Planned *made) {
    size_t bytes = made->arena.total;
    int count = 0;
    while (count < PLANS_KEPT - 1 && cache->kept[count] && bytes + cache->kept[count]->arena.total <= PLAN_BYTES)
        bytes += cache->kept[count++]->arena.total;
    for (int k = count; k < PLANS_KEPT && cache->kept[k]; k++) {
        planned_free(runner, cache->kept[k]);
        cache->kept[k] = NULL;
    }
    memmove(&cache->kept[1], &cache->kept[0], (size_t)count * sizeof *cache->kept);
    cache->kept[0] = made;
}

static Planned *find_or_make(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, whet_error *err) {
    PlanCache *cache = &runner->plans[program->steps[at].cache];
    int k = 0;
    for (; k < PLANS_KEPT && cache->kept[k]; k++)
        if (fits(runner, cache->kept[k], activation)) {
            Planned *found = cache->kept[k];
            memmove(&cache->kept[1], &cache->kept[0], (size_t)k * sizeof *cache->kept);
            return cache->kept[0] = found;
        }
    double start = clock_now();
    Planned *made = scale_plan(runner, program, at, activation, cache);
    if (!made)
        made = scale_learn(runner, program, at, activation, cache, err);
    shared_note(runner->shared_model, PHASE_PLAN, clock_now() - start, 0);
    if (!made)
        return NULL;
    keep(runner, cache, made);
    return made;
}

/* ---- Running ---- */

static whet_status make(Runner *runner, Activation *activation, const Made *m, whet_error *err) {
    OpValue **slot = &activation->slots[m->value->id];
    if (*slot)
        return WHET_OK;
    if (m->of) {
        OpValue *of = runner_value(runner, activation, m->of, err);
        *slot = of ? value_view(of, m->rank, m->dims, err) : NULL;
    } else {
        *slot = value_new(&runner->pool, m->type, m->rank, m->dims, err);
        if (*slot && m->known && m->known->bytes) /* a copy: values may outlive the plan */
            memcpy((*slot)->tensor.data, m->known->data, m->known->bytes);
    }
    return *slot ? WHET_OK : err ? err->status : WHET_ERROR_MEMORY;
}

static void label_of(const Item *item, char *label, size_t size) {
    const Group group = {.nodes = item->nodes, .node_count = item->node_count};
    group_label(&group, label, size);
}

static whet_status run_kernel(Runner *runner, const Item *item, char *arena, Activation *activation, whet_error *err) {
    void *data[KERNEL_MAX_TENSORS] = {0};
    const Kernel *kernel = item->executable.kernel;
    for (int t = 0; t < kernel->tensor_count; t++) {
        const Place *place = &item->place[t];
        if (place->home == HOME_ARENA)
            data[t] = arena + place->offset;
        else if (place->home == HOME_FIXED)
            data[t] = (void *)(uintptr_t)place->fixed; /* kernels do not write to inputs */
        else if (place->home == HOME_VALUE) {
            OpValue *value = runner_value(runner, activation, place->value, err);
            if (!value || (!item->executable.compiled && runner_align(runner, value, err)))
                return err ? err->status : WHET_ERROR_INTERNAL;
            data[t] = value->tensor.data;
        }
    }
    EvalOptions options = {.parallel = threads_parallel(runner->threads),
                           .deadline = runner->deadline,
                           .allocator = runner->pool.allocator,
                           .keep = item->partial};
    whet_status status = executable_ready(&item->executable, options.parallel, &runner->spare, err);
    if (status)
        return status;
    runner->flops += kernel->flops;
    double start = runner->profile ? clock_now() : 0;
    status = executable_run(&item->executable, data, &options, err);
    if (runner->profile && !status) {
        char label[768];
        label_of(item, label, sizeof label);
        profile_note_kernel(runner->profile, label, &item->executable, start);
    }
    return status;
}

/* What C made is what the plan was made for. */
static whet_status check_made(Activation *activation, const Made *m, whet_error *err) {
    const OpValue *value = activation->slots[m->value->id];
    bool same = value && (DType)value->tensor.type == m->type && value->tensor.rank == m->rank &&
                memcmp(value->tensor.dims, m->dims, (size_t)m->rank * sizeof *m->dims) == 0;
    return same ? WHET_OK
                : error_set(err, WHET_ERROR_INTERNAL, "output '%s' has another type or shape than its rule says", m->value->name);
}

static whet_status run_item(Runner *runner, const GraphProgram *program, size_t at, const Item *item, char *arena,
                            Activation *activation, whet_error *err) {
    whet_status status = runner_interrupted(runner, err);
    for (int i = 0; !status && i < item->before_count; i++)
        status = make(runner, activation, &item->before[i], err);
    if (!status && item->step == ITEM_KERNEL)
        status = run_kernel(runner, item, arena, activation, err);
    else if (!status && item->step >= 0)
        status = runner_step(runner, &program->steps[at + (size_t)item->step], activation, err);
    for (int i = 0; !status && i < item->after_count; i++)
        status = check_made(activation, &item->after[i], err);
    for (int i = 0; !status && i < item->dead_count; i++) {
        OpValue **slot = &activation->slots[item->dead[i]->id];
        value_drop(*slot);
        *slot = NULL;
    }
    return status;
}

static whet_status name_nodes(const Item *item, whet_error *err) {
    char label[768];
    label_of(item, label, sizeof label);
    return *label ? error_prefix(err, "%s", label) : err->status;
}

whet_status planned_run(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, size_t *steps,
                        whet_error *err) {
    Block block = {0};
    _Alignas(64) char nothing[64]; /* the arena, where no tensor in it has elements: kernels are given no null */
    *steps = 0;
    Planned *p = find_or_make(runner, program, at, activation, err);
    if (!p)
        return err->status ? err->status : WHET_ERROR_INTERNAL;
    if (!p->steps)
        return WHET_OK;
    whet_status status = p->arena_bytes ? pool_take(&runner->pool, p->arena_bytes, &block, err) : WHET_OK;
    char *arena = p->arena_bytes ? block.data : nothing;
    for (int i = 0; !status && i < p->item_count; i++) {
        status = run_item(runner, program, at, &p->items[i], arena, activation, err);
        if (status)
            name_nodes(&p->items[i], err);
    }
    if (block.data)
        pool_give(&runner->pool, block);
    *steps = p->steps;
    return status;
}
