/* A plan as text: every kernel with the nodes it came of, the template that takes it, and why it is not part of another; then the
 * nodes that are no kernels. */
#include "plan/plan.h"

#include <stdlib.h>

bool plan_name(Plan *plan, NodeNames *names, const Node *node) {
    if (!plan->explain)
        return true;
    if (!arena_grow(plan->arena, &names->nodes, &names->capacity, (size_t)names->count + 1, sizeof *names->nodes))
        return false;
    names->nodes[names->count++] = node;
    return true;
}

static int by_number(const void *x, const void *y) {
    const Node *a = *(const Node *const *)x, *b = *(const Node *const *)y;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* In the order of the model. */
static void print_nodes(const Node **nodes, int count, Text *out) {
    char label[256];
    if (count > 1)
        qsort(nodes, (size_t)count, sizeof *nodes, by_number);
    for (int i = 0; i < count; i++)
        text_printf(out, "%s%s", i ? ", " : "", node_label(nodes[i], label, sizeof label));
    text_char(out, '\n');
}

static void print_names(const NodeNames *names, const char *what, Text *out) {
    if (!names->count)
        return;
    text_printf(out, "# %s: ", what);
    print_nodes(names->nodes, names->count, out);
}

/* Who reads what the kernel makes decides most. */
static void print_readers(const Plan *plan, const Group *g, Text *out) {
    const PlanTensor *t = &plan->tensors[plan->tensors[g->definitions[g->count - 1]->tensor].root];
    if (t->kept)
        text_put(out, "# its result is wanted outside of these kernels\n");
    else if (t->reader_count > 1)
        text_printf(out, "# its result is read by %d kernels\n", t->reader_count);
    if (g->partial)
        text_put(out, "# it writes a part of a tensor, others write the rest\n");
}

static void print_group(Plan *plan, Group *g, Text *out) {
    text_put(out, "## ");
    print_nodes(g->nodes, g->node_count, out);
    if (g->step >= 0) {
        text_put(out, "# runs as C\n\n");
        return;
    }
    const Verdict *verdict = group_verdict(plan, g);
    if (verdict && verdict->template)
        text_printf(out, "# %s\n", verdict->template);
    else
        text_printf(out, "# the evaluator: %s\n", verdict ? verdict->why : plan->err->message);
    print_readers(plan, g, out);
    if (g->notes)
        text_put(out, g->notes->data);
    int *tensor;
    const char *why;
    const Kernel *kernel = group_kernel(plan, g, &plan->scratch, &tensor, &why);
    if (kernel)
        kernel_print(kernel, out);
    arena_reset(&plan->scratch);
    text_char(out, '\n');
}

void plan_print(Plan *plan, Text *out) {
    for (int i = 0; i < plan->group_count; i++)
        if (!plan->groups[i]->gone)
            print_group(plan, plan->groups[i], out);
    print_names(&plan->views, "only another shape of the same memory", out);
    print_names(&plan->ahead, "computed while planning, from shapes and constants", out);
}
