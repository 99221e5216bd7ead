/* The list that fusion starts from: tensors, and one group of definitions a node, or several where parts of a node have nothing
 * to do with each other. */
#include <string.h>

#include "plan/plan.h"

static Shape tensor_shape(void *context, int tensor) {
    const PlanTensor *t = &((Plan *)context)->tensors[tensor];
    return (Shape){t->rank, t->dims};
}

static int tensor_root(void *context, int tensor) {
    return ((Plan *)context)->tensors[tensor].root;
}

void plan_init(Plan *plan, Arena *arena, Schedules schedules, whet_error *err) {
    *plan = (Plan){.arena = arena, .schedules = schedules, .err = err};
    arena_init(&plan->scratch, arena->allocator);
    plan->rewrite = (RewriteTensors){plan, tensor_shape, tensor_root};
}

void plan_free(Plan *plan) {
    for (int g = 0; g < plan->group_count; g++)
        if (plan->groups[g]->notes)
            text_free(plan->groups[g]->notes);
    arena_free(&plan->scratch);
}

int plan_tensor(Plan *plan, DType type, int rank, const int64_t *dims, const Value *value) {
    int64_t count;
    if (rank < 0 || rank > WHET_MAX_RANK || !checked_count(dims, rank, &count) ||
        !arena_grow(plan->arena, &plan->tensors, &plan->tensor_capacity, (size_t)plan->tensor_count + 1, sizeof(PlanTensor)))
        return -1;
    PlanTensor *t = &plan->tensors[plan->tensor_count];
    *t = (PlanTensor){.type = type, .rank = rank, .count = count, .root = plan->tensor_count, .value = value, .writer = -1};
    if (rank)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    return plan->tensor_count++;
}

int plan_view(Plan *plan, int of, int rank, const int64_t *dims, const Value *value) {
    int t = plan_tensor(plan, plan->tensors[of].type, rank, dims, value);
    if (t >= 0)
        plan->tensors[t].root = plan->tensors[of].root;
    return t;
}

int64_t plan_stride(const Plan *plan, int tensor, const Index *index, int axis) {
    const PlanTensor *t = &plan->tensors[tensor];
    return index_stride(t->dims, t->rank, index, axis);
}

/* ---- Readers and writers ---- */

bool plan_add_reader(Plan *plan, int tensor, int group) {
    PlanTensor *t = &plan->tensors[plan->tensors[tensor].root];
    for (int i = 0; i < t->reader_count; i++)
        if (t->readers[i] == group)
            return true;
    if (!arena_grow(plan->arena, &t->readers, &t->reader_capacity, (size_t)t->reader_count + 1, sizeof *t->readers))
        return false;
    t->readers[t->reader_count++] = group;
    return true;
}

void plan_drop_reader(Plan *plan, int tensor, int group) {
    PlanTensor *t = &plan->tensors[plan->tensors[tensor].root];
    for (int i = 0; i < t->reader_count; i++)
        if (t->readers[i] == group) {
            t->readers[i] = t->readers[--t->reader_count];
            return;
        }
}

static void add_writer(Plan *plan, int tensor, int group) {
    PlanTensor *t = &plan->tensors[plan->tensors[tensor].root];
    if (t->writer == group)
        return;
    t->writer = group;
    t->writer_count++;
}

/* ---- Groups ---- */

Definition *plan_copy_of(Plan *plan, int tensor) {
    const PlanTensor *t = &plan->tensors[tensor];
    Definition *out = ARENA_NEW(plan->arena, Definition);
    Expr *read = ARENA_NEW(plan->arena, Expr);
    if (!out || !read)
        return NULL;
    *out = (Definition){.tensor = tensor, .left_count = t->rank, .axis_count = t->rank, .parallel_count = t->rank, .value = read};
    out->axes = ARENA_ARRAY(plan->arena, Axis, (size_t)t->rank);
    out->left = ARENA_ARRAY(plan->arena, Index, (size_t)t->rank);
    out->exprs = ARENA_ARRAY(plan->arena, Expr *, 1);
    for (int i = 0; i < t->rank; i++) {
        if (!out->axes || !out->left || !(out->left[i].coef = ARENA_ARRAY(plan->arena, int64_t, KERNEL_MAX_AXES)))
            return NULL;
        out->axes[i] = (Axis){.name = "i", .extent = t->dims[i]};
        out->left[i].affine = true;
        out->left[i].coef[i] = 1;
    }
    *read = (Expr){.op = EXPR_READ,
                   .type = t->type,
                   .tensor = tensor,
                   .index = out->left,
                   .index_count = t->rank,
                   .axis = -1,
                   .depth = 1,
                   .weight = 1};
    if (!out->exprs)
        return NULL;
    out->exprs[0] = read;
    out->expr_count = 1;
    return out;
}

Group *plan_group(Plan *plan) {
    Group *group = ARENA_NEW(plan->arena, Group);
    if (!group ||
        !arena_grow(plan->arena, &plan->groups, &plan->group_capacity, (size_t)plan->group_count + 1, sizeof *plan->groups))
        return NULL;
    group->step = -1;
    plan->groups[plan->group_count++] = group;
    return group;
}

/* Groups from `at` on move up, and with them what names them. */
Group *plan_insert_group(Plan *plan, int at) {
    Group *group = plan_group(plan);
    if (!group)
        return NULL;
    memmove(&plan->groups[at + 1], &plan->groups[at], (size_t)(plan->group_count - 1 - at) * sizeof(Group *));
    plan->groups[at] = group;
    for (int t = 0; t < plan->tensor_count; t++) {
        PlanTensor *tensor = &plan->tensors[t];
        tensor->writer += tensor->writer >= at;
        for (int i = 0; i < tensor->reader_count; i++)
            tensor->readers[i] += tensor->readers[i] >= at;
    }
    return group;
}

static Group *group_of_node(Plan *plan, const Node *node) {
    Group *group = plan_group(plan);
    if (!group || !(group->nodes = ARENA_ARRAY(plan->arena, const Node *, 1)))
        return NULL;
    group->nodes[0] = node;
    group->node_count = 1;
    return group;
}

bool plan_add_step(Plan *plan, int step, const Node *node, const int *reads, int read_count, const int *writes, int write_count) {
    int at = plan->group_count;
    Group *group = group_of_node(plan, node);
    if (!group)
        return false;
    group->step = step;
    for (int i = 0; i < read_count; i++) {
        plan->tensors[plan->tensors[reads[i]].root].kept = true;
        if (!plan_add_reader(plan, reads[i], at))
            return false;
    }
    for (int i = 0; i < write_count; i++) {
        plan->tensors[writes[i]].kept = true;
        add_writer(plan, writes[i], at);
    }
    return true;
}

/* A constant of one element as a number. False: it stays a read, as zero points of bytes do, which templates look for. */
static bool number_of(const PlanTensor *t, Expr *out) {
    if (!t->known || t->count != 1 || dtype_bits(t->type) < 16)
        return false;
    *out = (Expr){.op = EXPR_NUMBER, .type = t->type, .axis = -1, .tensor = -1, .depth = 1, .weight = 1};
    if (t->type == DT_S32 || t->type == DT_S64) {
        int32_t narrow;
        memcpy(t->type == DT_S32 ? (void *)&narrow : &out->integer, t->known->data, (size_t)dtype_bits(t->type) / 8);
        if (t->type == DT_S32)
            out->integer = narrow;
        out->number = (double)out->integer;
        return true;
    }
    double aligned = 0;
    Tensor one = *t->known;
    memcpy(&aligned, t->known->data, (size_t)dtype_bits(t->type) / 8);
    one.data = &aligned;
    out->is_float = dtype_kind(t->type) == KIND_FLOAT;
    out->number = whet_tensor_get(&one, 0);
    return out->is_float;
}

/* Constants of one element become numbers: so an element that is picked out by one is a slice. Not where a float alone is made of
 * them, as the scale behind a product is, a layer its own: so the kernels of all layers are the same. */
static Definition *with_numbers(Plan *plan, Definition *d) {
    if (plan->tensors[d->tensor].rank == 0 && dtype_kind(plan->tensors[d->tensor].type) == KIND_FLOAT)
        return d;
    for (int i = 0; d && i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        Expr number;
        if (e->op != EXPR_READ || e->guarded || !number_of(&plan->tensors[plan->tensors[e->tensor].root], &number))
            continue;
        d = rewrite_number(plan->arena, &plan->rewrite, d, e->tensor, &number);
        i = -1;
    }
    return d;
}

/* parts[d]: which group of its own definition d belongs to. */
static int join(int *parts, int i) {
    while (parts[i] != i)
        i = parts[i];
    return i;
}

/* Boxes that fill the tensor and do not meet: then its definitions are independent. */
static bool is_tiled(const Kernel *kernel, int tensor) {
    int64_t written = 0;
    enum { MOST = 64 };
    const Definition *boxes[MOST];
    int count = 0;
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        int64_t elements = 1;
        if (d->tensor != tensor)
            continue;
        if (count == MOST)
            return false;
        boxes[count++] = d;
        for (int a = 0; a < d->parallel_count; a++)
            elements *= d->axes[a].extent;
        for (int k = 0; k < d->left_count; k++)
            for (int a = 0; a < d->axis_count; a++)
                if (d->left[k].coef[a] != 0 && (d->left[k].coef[a] != 1 || a != k))
                    return false;
        if (d->left_count != d->parallel_count)
            return false;
        written += elements;
    }
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) {
            bool apart = false;
            for (int k = 0; k < boxes[i]->left_count; k++)
                apart |= boxes[i]->left[k].offset >= boxes[j]->left[k].offset + boxes[j]->axes[k].extent ||
                         boxes[j]->left[k].offset >= boxes[i]->left[k].offset + boxes[i]->axes[k].extent;
            if (!apart)
                return false;
        }
    return written == kernel->tensors[tensor].count;
}

/* Definitions hang together through temporaries, and through a tensor that they write together unless it is tiled. */
static void find_parts(const Kernel *kernel, int *parts, bool *tiled) {
    int last[KERNEL_MAX_TENSORS];
    for (int t = 0; t < kernel->tensor_count; t++) {
        int writers = 0;
        last[t] = -1;
        for (int i = 0; i < kernel->definition_count; i++)
            writers += kernel->definitions[i].tensor == t;
        tiled[t] = writers > 1 && kernel->tensors[t].role == ROLE_OUTPUT && !kernel->tensors[t].exported && is_tiled(kernel, t);
    }
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        parts[i] = i;
        for (int k = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_READ && last[d->exprs[k]->tensor] >= 0)
                parts[join(parts, last[d->exprs[k]->tensor])] = i;
        if (last[d->tensor] >= 0 && !tiled[d->tensor])
            parts[join(parts, last[d->tensor])] = i;
        last[d->tensor] = i;
    }
    for (int i = 0; i < kernel->definition_count; i++)
        parts[i] = join(parts, i);
}

/* Plan tensors of all of the kernel's: those that live inside it are made here. */
static int *all_tensors(Plan *plan, const Kernel *kernel, const int *tensor) {
    int *all = ARENA_ARRAY(plan->arena, int, (size_t)kernel->tensor_count);
    for (int t = 0; all && t < kernel->tensor_count; t++) {
        const KernelTensor *k = &kernel->tensors[t];
        all[t] = k->role != ROLE_TEMPORARY && tensor[t] >= 0 ? tensor[t] : plan_tensor(plan, k->type, k->rank, k->dims, NULL);
        if (all[t] < 0)
            return NULL;
    }
    return all;
}

static bool add_part(Plan *plan, Kernel *kernel, const int *tensor, const int *parts, int part, bool whole, const Node *node) {
    int at = plan->group_count;
    Group *group = group_of_node(plan, node);
    if (!group || !(group->definitions = ARENA_ARRAY(plan->arena, Definition *, (size_t)kernel->definition_count)))
        return false;
    bool changed = false;
    for (int i = 0; i < kernel->definition_count; i++) {
        if (parts[i] != part)
            continue;
        Definition *d = rewrite_rename(plan->arena, &kernel->definitions[i], tensor);
        d = d ? rewrite_drop_units(plan->arena, d) : NULL;
        Definition *numbered = d ? with_numbers(plan, d) : NULL;
        if (!numbered)
            return false;
        changed |= numbered != d;
        group->definitions[group->count++] = numbered;
        add_writer(plan, numbered->tensor, at);
        for (int k = 0; k < numbered->expr_count; k++)
            if (numbered->exprs[k]->op == EXPR_READ && !plan_add_reader(plan, numbered->exprs[k]->tensor, at))
                return false;
    }
    if (whole && !changed) {
        group->given = kernel;
        group->given_tensor = arena_copy(plan->arena, tensor, (size_t)kernel->tensor_count * sizeof *tensor);
    }
    return true;
}

bool plan_add_kernel(Plan *plan, Kernel *kernel, const int *tensor, const Node *node, bool split) {
    int *parts = ARENA_ARRAY(plan->arena, int, (size_t)kernel->definition_count);
    int *all = all_tensors(plan, kernel, tensor);
    bool tiled[KERNEL_MAX_TENSORS] = {false};
    if (!parts || !all)
        return false;
    if (split)
        find_parts(kernel, parts, tiled);
    int count = 0;
    for (int i = 0; i < kernel->definition_count; i++)
        count += parts[i] == (split ? i : 0) && (split || i == 0);
    for (int i = 0; i < (split ? kernel->definition_count : 1); i++) {
        if (parts[i] != i)
            continue;
        if (!add_part(plan, kernel, all, parts, i, count == 1, node))
            return false;
        Group *group = plan->groups[plan->group_count - 1];
        group->partial = tiled[kernel->definitions[i].tensor];
    }
    return true;
}
