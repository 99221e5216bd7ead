/* The items of a plan: its groups as executables, what lies between them in one block of memory, and what values each item makes
 * sure of or lets go. */
#include <string.h>

#include "run/segment.h"

typedef struct Homes {
    int *first, *last; /* by root: items that touch it; -1: none */
    int *owner, *end;  /* of those in the arena: whose memory they have; until when an owner's is needed */
    size_t *offset;
} Homes;

static bool is_placed(const Segment *s, int root) {
    const PlanTensor *t = &s->plan.tensors[root];
    return !t->kept && !t->known;
}

static void touch(const Segment *s, Homes *h, int tensor, int item) {
    int root = s->plan.tensors[tensor].root;
    if (h->first[root] < 0)
        h->first[root] = item;
    h->last[root] = item;
}

static bool homes_init(Segment *s, Homes *h) {
    size_t count = (size_t)s->plan.tensor_count;
    h->first = ARENA_ARRAY(&s->arena, int, count);
    h->last = ARENA_ARRAY(&s->arena, int, count);
    h->offset = ARENA_ARRAY(&s->arena, size_t, count);
    if (!h->first || !h->last || !h->offset)
        return segment_fail(s);
    for (size_t t = 0; t < count; t++)
        h->first[t] = h->last[t] = -1;
    return true;
}

static void touch_all(Segment *s, Homes *h, Group *const *groups, const Built *built, int count) {
    for (int i = 0; i < count; i++) {
        const Kernel *kernel = built[i].kernel;
        for (int t = 0; kernel && t < kernel->tensor_count; t++)
            if (kernel->tensors[t].role != ROLE_TEMPORARY)
                touch(s, h, built[i].tensor[t], i);
        const Node *node = groups[i]->step >= 0 ? groups[i]->nodes[0] : NULL;
        for (int k = 0; node && k < node->input_count; k++)
            if (node->inputs[k])
                touch(s, h, segment_tensor(s, node->inputs[k]), i);
        for (int k = 0; node && k < node->output_count; k++)
            if (node->outputs[k])
                touch(s, h, segment_tensor(s, node->outputs[k]), i);
    }
    for (size_t v = 0; v < s->program->graph->value_count; v++)
        if (s->of[v] >= 0 && !s->dead[v]) /* views of it are made at the end */
            touch(s, h, s->of[v], count);
}

static const char *template_of(Segment *s, Group *group, const Built *built) {
    const char *why;
    if (built->code) {
        const Compiled *compiled = code_compiled(built->code, &why);
        return compiled ? compiled->template : NULL;
    }
    const Verdict *verdict = group_verdict(&s->plan, group);
    return verdict ? verdict->template : NULL;
}

/* The tensor whose memory the result of an item takes over; -1: none. */
static int taken_over(Segment *s, const Homes *h, Group *group, const Built *built, int item) {
    const Kernel *kernel = built->kernel;
    bool dies[KERNEL_MAX_TENSORS] = {false}, any = false;
    for (int t = 0; kernel && !group->partial && t < kernel->input_count; t++) {
        int root = s->plan.tensors[built->tensor[t]].root;
        dies[t] = is_placed(s, root) && h->last[root] == item && h->first[root] < item;
        for (int u = 0; u < kernel->input_count; u++) /* under two shapes */
            dies[t] = dies[t] && (u == t || s->plan.tensors[built->tensor[u]].root != root);
        any = any || dies[t];
    }
    int over = any ? planned_over(kernel, template_of(s, group, built), dies) : -1;
    return over < 0 ? -1 : s->plan.tensors[built->tensor[over]].root;
}

/* What takes over another's memory lives on in its interval. */
static bool find_owners(Segment *s, Homes *h, Group *const *groups, const Built *built, int count) {
    h->owner = ARENA_ARRAY(&s->arena, int, (size_t)s->plan.tensor_count);
    h->end = arena_copy(&s->arena, h->last, (size_t)s->plan.tensor_count * sizeof *h->last);
    if (!h->owner || !h->end)
        return segment_fail(s);
    for (int t = 0; t < s->plan.tensor_count; t++)
        h->owner[t] = t;
    for (int i = 0; i < count; i++) {
        int over = taken_over(s, h, groups[i], &built[i], i);
        int out = over < 0 ? -1 : s->plan.tensors[built[i].tensor[built[i].kernel->definitions[0].tensor]].root;
        if (out < 0 || !is_placed(s, out) || h->first[out] != i)
            continue;
        h->owner[out] = h->owner[over];
        if (h->last[out] > h->end[h->owner[over]])
            h->end[h->owner[over]] = h->last[out];
    }
    return !s->err->status || segment_fail(s);
}

static bool place_arena(Segment *s, Homes *h) {
    int count = 0;
    Interval *intervals = ARENA_ARRAY(&s->arena, Interval, (size_t)s->plan.tensor_count);
    int *root = ARENA_ARRAY(&s->arena, int, (size_t)s->plan.tensor_count);
    if (!intervals || !root)
        return segment_fail(s);
    for (int t = 0; t < s->plan.tensor_count; t++) {
        const PlanTensor *tensor = &s->plan.tensors[t];
        size_t bytes;
        if (tensor->root != t || h->first[t] < 0 || !is_placed(s, t) || !dtype_bytes(tensor->type, tensor->count, &bytes))
            continue;
        s->placed_bytes += bytes;
        if (h->owner[t] != t)
            continue;
        root[count] = t;
        intervals[count++] = (Interval){h->first[t], h->end[t], bytes, 0};
    }
    s->out->arena_bytes = place_intervals(intervals, count, &s->arena);
    for (int i = 0; i < count; i++)
        h->offset[root[i]] = intervals[i].offset;
    for (int t = 0; t < s->plan.tensor_count; t++)
        h->offset[t] = h->offset[h->owner[t]];
    return !s->arena.failed || segment_fail(s);
}

static Place place_of(const Segment *s, const Homes *h, int tensor) {
    int root = s->plan.tensors[tensor].root;
    const PlanTensor *t = &s->plan.tensors[root];
    if (t->known)
        return (Place){.home = HOME_FIXED, .fixed = t->known->data};
    if (t->kept)
        return (Place){.home = HOME_VALUE, .value = t->value};
    return (Place){.home = HOME_ARENA, .offset = h->offset[root]};
}

static bool add_made(Segment *s, Made **list, int *count, size_t *capacity, Made made) {
    if (!arena_grow(&s->out->arena, list, capacity, (size_t)*count + 1, sizeof made))
        return segment_fail(s);
    (*list)[(*count)++] = made;
    return true;
}

/* The value in its slot, however that comes about: its root first. */
static bool want_value(Segment *s, const Value *value, Made **list, int *count, size_t *capacity) {
    int tensor = segment_tensor(s, value);
    const PlanTensor *t = &s->plan.tensors[tensor], *root = &s->plan.tensors[t->root];
    Made made = {.value = value, .type = t->type, .rank = t->rank};
    memcpy(made.dims, t->dims, sizeof made.dims);
    if (value->graph != s->program->graph || (root->constant && root->value == value))
        return true; /* it is there, or comes at its first reading */
    if (root->known)
        made.known = root->known;
    else if (t->root != tensor) {
        made.of = root->value;
    } else
        return true; /* comes from outside, or its writer makes it */
    return add_made(s, list, count, capacity, made);
}

/* Code reads at any alignment, but not what has no content of its own. */
static bool needs_copy(const Segment *s, const Item *item, const Tensor *constant) {
    return !item->executable.compiled || shared_is_joined(s->runner->shared_model, constant);
}

static whet_status share(Segment *s, const Kernel *kernel, Code *code, const Tensor *const *constant, Executable *out) {
    Runner *runner = s->runner;
    if (!code)
        return executable_share(out, runner->shared_model, kernel, runner->has_target ? &runner->target : NULL, constant, s->err);
    shared_keep_code(runner->shared_model, code);
    return executable_share_code(out, runner->shared_model, kernel, code, constant, s->err);
}

/* `taken`: the plan counts on a template for it. */
static bool set_kernel(Segment *s, const Homes *h, const Built *built, bool taken, Item *item) {
    Runner *runner = s->runner;
    const Tensor *constant[KERNEL_MAX_TENSORS] = {0};
    const Kernel *kernel = built->kernel;
    size_t capacity = 0;
    item->place = ARENA_ARRAY(&s->out->arena, Place, (size_t)kernel->tensor_count);
    if (!item->place)
        return segment_fail(s);
    for (int t = 0; t < kernel->tensor_count; t++) {
        const PlanTensor *root = &s->plan.tensors[s->plan.tensors[built->tensor[t]].root];
        if (t < kernel->input_count)
            constant[t] = plan_constant(&s->plan, built->tensor[t]);
        if (kernel->tensors[t].role == ROLE_TEMPORARY)
            continue;
        item->place[t] = place_of(s, h, built->tensor[t]);
        if (kernel->tensors[t].role != ROLE_OUTPUT || !root->kept)
            continue;
        Made made = {.value = root->value, .type = root->type, .rank = root->rank};
        memcpy(made.dims, root->dims, sizeof made.dims);
        if (!add_made(s, &item->before, &item->before_count, &capacity, made))
            return false;
    }
    if (share(s, kernel, built->code, constant, &item->executable))
        return segment_fail(s);
    if (taken && !item->executable.compiled)
        s->refused = true;
    const Packing *packing = item->executable.weight ? compiled_packing(item->executable.compiled) : NULL;
    int packed = packing ? packing->tensor : -1;
    for (int t = 0; t < kernel->input_count; t++) {
        const PlanTensor *root = &s->plan.tensors[s->plan.tensors[built->tensor[t]].root];
        if (root->constant && t != packed && needs_copy(s, item, root->known) &&
            !(item->place[t].fixed = shared_aligned(runner->shared_model, root->known, s->err)))
            return segment_fail(s);
    }
    return true;
}

static bool set_step(Segment *s, const Group *group, Item *item) {
    const Node *node = group->nodes[0];
    size_t before = 0, after = 0;
    item->step = group->step;
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !want_value(s, node->inputs[i], &item->before, &item->before_count, &before))
            return false;
    for (int o = 0; o < node->output_count; o++) {
        if (!node->outputs[o])
            continue;
        const PlanTensor *t = &s->plan.tensors[segment_tensor(s, node->outputs[o])];
        Made made = {.value = node->outputs[o], .type = t->type, .rank = t->rank};
        memcpy(made.dims, t->dims, sizeof made.dims);
        if (!add_made(s, &item->after, &item->after_count, &after, made))
            return false;
    }
    return true;
}

/* The last item makes sure of all values that live on. */
static bool set_live_out(Segment *s, Item *item) {
    size_t capacity = 0;
    const Graph *graph = s->program->graph;
    for (size_t v = 0; v < graph->value_count; v++)
        if (s->of[v] >= 0 && !s->dead[v] && !want_value(s, graph->values[v], &item->before, &item->before_count, &capacity))
            return false;
    return true;
}

/* After which item each value goes that the segment ends: when nothing reads its memory any more. */
static bool set_dead(Segment *s, const Homes *h, int items) {
    Planned *out = s->out;
    size_t *capacity = ARENA_ARRAY(&s->arena, size_t, (size_t)items);
    if (!capacity)
        return segment_fail(s);
    for (size_t k = 0; k < out->steps; k++)
        for (int d = 0; d < s->program->steps[s->at + k].dead_count; d++) {
            const Value *value = s->program->steps[s->at + k].dead[d];
            int tensor = s->of[value->id], root = tensor < 0 ? -1 : s->plan.tensors[tensor].root;
            if (root < 0 || is_placed(s, root)) /* it never is in a slot */
                continue;
            int at = h->last[root];
            Item *item = &out->items[at < 0 ? items - 1 : at];
            size_t *room = &capacity[at < 0 ? items - 1 : at];
            if (!arena_grow(&out->arena, &item->dead, room, (size_t)item->dead_count + 1, sizeof *item->dead))
                return segment_fail(s);
            item->dead[item->dead_count++] = value;
        }
    return true;
}

bool segment_items(Segment *s) {
    Planned *out = s->out;
    Plan *plan = &s->plan;
    Homes homes;
    Group **groups = s->groups = ARENA_ARRAY(&s->arena, Group *, (size_t)plan->group_count);
    Built *built = s->built = ARENA_ARRAY(&s->arena, Built, (size_t)plan->group_count);
    int count = 0;
    if (!groups || !built)
        return segment_fail(s);
    for (int g = 0; g < plan->group_count; g++) {
        if (plan->groups[g]->gone)
            continue;
        const char *why;
        Built *b = &built[count];
        b->code = s->group_codes ? s->group_codes[g] : NULL;
        groups[count++] = plan->groups[g];
        if (plan->groups[g]->step < 0 && !(b->kernel = group_kernel(plan, plan->groups[g], &out->arena, &b->tensor, &why)))
            return segment_fail(s);
    }
    s->built_count = count;
    out->items = ARENA_ARRAY(&out->arena, Item, (size_t)count + 1);
    if (!out->items)
        return segment_fail(s);
    if (!homes_init(s, &homes))
        return false;
    touch_all(s, &homes, groups, built, count);
    if (!find_owners(s, &homes, groups, built, count) || !place_arena(s, &homes))
        return false;
    for (int i = 0; i < count; i++) {
        Item *item = &out->items[out->item_count++];
        *item = (Item){.step = ITEM_KERNEL, .partial = groups[i]->partial, .node_count = groups[i]->node_count};
        item->nodes = arena_copy(&out->arena, groups[i]->nodes, (size_t)groups[i]->node_count * sizeof *item->nodes);
        if (!item->nodes)
            return segment_fail(s);
        const Verdict *verdict = groups[i]->verdict;
        if (groups[i]->step >= 0 ? !set_step(s, groups[i], item)
                                 : !set_kernel(s, &homes, &built[i], verdict && verdict->template, item))
            return false;
    }
    out->items[out->item_count] = (Item){.step = ITEM_END};
    return set_live_out(s, &out->items[out->item_count]) && set_dead(s, &homes, ++out->item_count);
}
