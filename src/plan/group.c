/* Groups as kernels: put together from the group's definitions, in canonical names, and shown to the schedules. */
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"

/* ---- Kernels ---- */

static bool defines(const Group *group, int tensor) {
    for (int i = 0; i < group->count; i++)
        if (group->definitions[i]->tensor == tensor)
            return true;
    return false;
}

/* Is the tensor read by somebody else, or wanted by the caller? A group that makes it too is the one that is just being joined.
 */
static bool is_wanted(const Plan *plan, const Group *group, int tensor) {
    const PlanTensor *t = &plan->tensors[plan->tensors[tensor].root];
    if (t->kept)
        return true;
    for (int i = 0; i < t->reader_count; i++)
        if (plan->groups[t->readers[i]] != group && !defines(plan->groups[t->readers[i]], tensor))
            return true;
    return false;
}

typedef struct Build {
    Plan *plan;
    const Group *group;
    Kernel *kernel;
    Arena *arena;
    int tensor[KERNEL_MAX_TENSORS];
} Build;

static int find_local(const Build *b, int tensor) {
    for (int t = 0; t < b->kernel->tensor_count; t++)
        if (b->tensor[t] == tensor)
            return t;
    return -1;
}

static bool add_tensor(Build *b, int tensor, Role role) {
    if (find_local(b, tensor) >= 0)
        return true;
    if (b->kernel->tensor_count == KERNEL_MAX_TENSORS)
        return false;
    int at = b->kernel->tensor_count++;
    const PlanTensor *t = &b->plan->tensors[tensor];
    b->tensor[at] = tensor;
    b->kernel->tensors[at] = (KernelTensor){.name = arena_printf(b->arena, "%c%d", role == ROLE_INPUT ? 'x' : 'y', at),
                                            .role = role,
                                            .type = t->type,
                                            .rank = t->rank,
                                            .dims = arena_copy(b->arena, t->dims, (size_t)t->rank * sizeof *t->dims),
                                            .count = t->count};
    b->kernel->input_count += role == ROLE_INPUT;
    return true;
}

static bool reads(const Group *group, int tensor) {
    for (int i = 0; i < group->count; i++)
        for (int k = 0; k < group->definitions[i]->expr_count; k++)
            if (group->definitions[i]->exprs[k]->op == EXPR_READ && group->definitions[i]->exprs[k]->tensor == tensor)
                return true;
    return false;
}

static bool add_tensors(Build *b) {
    const Group *g = b->group;
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < g->definitions[i]->expr_count; k++) {
            const Expr *e = g->definitions[i]->exprs[k];
            if (e->op == EXPR_READ && !defines(g, e->tensor) && !add_tensor(b, e->tensor, ROLE_INPUT))
                return false;
        }
    for (int i = 0; i < g->count; i++) {
        int t = g->definitions[i]->tensor;
        bool read = reads(g, t), wanted = !read || is_wanted(b->plan, g, t);
        if (!add_tensor(b, t, wanted ? ROLE_OUTPUT : ROLE_TEMPORARY))
            return false;
        b->kernel->tensors[find_local(b, t)].exported = wanted && read;
    }
    return true;
}

static bool name_axes(Arena *arena, Definition *d) {
    for (int a = 0; a < d->axis_count; a++) {
        bool reduced = a >= d->parallel_count;
        d->axes[a].name = arena_printf(arena, "%c%d", reduced ? 'k' : 'i', reduced ? a - d->parallel_count : a);
        d->axes[a].reduced = reduced;
    }
    return !arena->failed;
}

/* By plan tensor, the kernel's: room that kernel after kernel uses. NULL: out of memory. */
static int *local_of(Plan *plan) {
    bool there = arena_grow(plan->arena, &plan->local, &plan->local_capacity, (size_t)plan->tensor_count, sizeof *plan->local);
    return there ? plan->local : NULL;
}

static Kernel *build(Build *b, const char **why) {
    const Group *group = b->group;
    Arena *arena = b->arena;
    b->kernel = ARENA_NEW(arena, Kernel);
    int *local = local_of(b->plan);
    if (!b->kernel || !local || !(b->kernel->tensors = arena_take(arena, KERNEL_MAX_TENSORS, sizeof(KernelTensor))))
        return NULL;
    *b->kernel = (Kernel){.arena = arena, .text = "", .tensors = b->kernel->tensors, .bound = true};
    if (!add_tensors(b)) {
        *why = "more tensors than a kernel takes";
        return NULL;
    }
    b->kernel->definitions = ARENA_ARRAY(arena, Definition, (size_t)group->count);
    for (int t = 0; t < b->kernel->tensor_count; t++)
        local[b->tensor[t]] = t;
    for (int i = 0; b->kernel->definitions && i < group->count; i++) {
        Definition *d = rewrite_rename(arena, group->definitions[i], local);
        if (!d || !name_axes(arena, d))
            return NULL;
        b->kernel->definitions[b->kernel->definition_count++] = *d;
    }
    return arena->failed || kernel_seal(b->kernel, "fusion", b->plan->err) ? NULL : b->kernel;
}

Kernel *group_kernel(Plan *plan, const Group *group, Arena *arena, int **tensor, const char **why) {
    Build b = {.plan = plan, .group = group, .arena = arena};
    *why = NULL;
    bool there = group->given && group->given->arena == arena;
    Kernel *kernel = there ? group->given : group->given ? kernel_copy(arena, group->given) : build(&b, why);
    const int *from = group->given ? group->given_tensor : b.tensor;
    *tensor = kernel ? arena_copy(arena, from, (size_t)kernel->tensor_count * sizeof *from) : NULL;
    if (!*tensor && !*why && !plan->err->status)
        error_memory(plan->err);
    return *tensor ? kernel : NULL;
}

/* ---- Verdicts ---- */

const Tensor *plan_constant(const Plan *plan, int tensor) {
    const PlanTensor *root = &plan->tensors[plan->tensors[tensor].root];
    bool number = root->count == 1 && dtype_kind(root->type) == KIND_FLOAT;
    return root->constant && !number ? root->known : NULL;
}

static bool ask(Plan *plan, const Group *group, Verdict *out) {
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    int *tensor;
    const Kernel *kernel = group_kernel(plan, group, &plan->scratch, &tensor, &out->why);
    out->impossible = !kernel;
    if (!kernel)
        return out->why != NULL;
    if (!plan->schedules.ask) {
        out->why = "no target";
        return true;
    }
    for (int t = 0; t < kernel->input_count; t++) {
        const Tensor *known = plan_constant(plan, tensor[t]);
        constant[t] = known ? known->data : NULL;
    }
    return plan->schedules.ask(plan->schedules.self, kernel, constant, out, plan->err);
}

const Verdict *group_verdict(Plan *plan, Group *group) {
    if (group->verdict)
        return group->verdict;
    Verdict *verdict = ARENA_NEW(plan->arena, Verdict);
    if (!verdict)
        return error_memory(plan->err), NULL;
    bool fine = ask(plan, group, verdict);
    arena_reset(&plan->scratch);
    return fine ? (group->verdict = verdict) : NULL;
}

/* ---- Joining ---- */

bool group_take_nodes(Plan *plan, Group *to, const Group *from) {
    const Node **nodes = ARENA_ARRAY(plan->arena, const Node *, (size_t)(to->node_count + from->node_count));
    int count = 0;
    if (!nodes)
        return false;
    for (int i = 0; i < from->node_count; i++)
        nodes[count++] = from->nodes[i];
    for (int i = 0; i < to->node_count; i++) {
        bool there = false;
        for (int k = 0; k < from->node_count; k++)
            there |= from->nodes[k] == to->nodes[i];
        if (!there)
            nodes[count++] = to->nodes[i];
    }
    to->nodes = nodes;
    to->node_count = count;
    return true;
}

void group_change(Group *g, Definition **definitions, int count) {
    g->definitions = definitions;
    g->count = count;
    g->given = NULL;
    g->verdict = NULL;
}

/* ---- Words ---- */

bool group_note(Plan *plan, Group *group, const char *format, ...) {
    if (!plan->explain)
        return true;
    if (!group->notes) {
        group->notes = ARENA_NEW(plan->arena, Text);
        if (!group->notes)
            return false;
        text_init(group->notes);
    }
    size_t start = group->notes->length;
    text_put(group->notes, "# ");
    va_list args;
    va_start(args, format);
    text_vprintf(group->notes, format, args);
    va_end(args);
    text_char(group->notes, '\n');
    if (group->notes->failed)
        return false;
    const char *line = group->notes->data + start, *same = strstr(group->notes->data, line);
    if (same != line) { /* a rule that came twice */
        group->notes->length = start;
        group->notes->data[start] = '\0';
    }
    return true;
}

void group_label(const Group *group, char *buffer, size_t size) {
    enum { NAMED = 3 };
    char label[256];
    size_t at = 0;
    buffer[0] = 0;
    for (int i = 0; i < group->node_count && i < NAMED && at < size; i++)
        at += (size_t)snprintf(buffer + at, size - at, "%s%s", i ? ", " : "", node_label(group->nodes[i], label, sizeof label));
    if (group->node_count > NAMED && at < size)
        snprintf(buffer + at, size - at, " and %d more", group->node_count - NAMED);
}
