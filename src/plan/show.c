/* A plan as text: every kernel with the nodes it came of, the template that takes it, and why it is not part of another. */
#include "plan/plan.h"

static void print_nodes(const Group *g, Text *out) {
    char label[256];
    text_put(out, "## ");
    for (int i = 0; i < g->node_count; i++)
        text_printf(out, "%s%s", i ? ", " : "", node_label(g->nodes[i], label, sizeof label));
    text_char(out, '\n');
}

void plan_print(Plan *plan, Text *out) {
    for (int i = 0; i < plan->group_count; i++) {
        Group *g = plan->groups[i];
        if (g->gone)
            continue;
        print_nodes(g, out);
        if (g->step >= 0) {
            text_put(out, "# runs as C\n\n");
            continue;
        }
        const Verdict *verdict = group_verdict(plan, g);
        if (verdict && verdict->template)
            text_printf(out, "# %s\n", verdict->template);
        else
            text_printf(out, "# the evaluator: %s\n", verdict ? verdict->why : plan->err->message);
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
}
