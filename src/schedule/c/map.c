/* The driver of map kernels as C text; map_run.c is what it says, for one thread. Gathers, and axes that are used as numbers,
 * have none: such kernels become plain loops. */
#include "schedule/map.h"
#include "schedule/c/c_kernel.h"

static void put_call(const Compiled *c, const CDriver *d, const MapPass *m, const MapBox *box, int64_t row, int64_t rows,
                     int depth) {
    c_indent(d->body, depth);
    c_put_name(d, c, box->function);
    for (int i = 0; i < m->nest.access_count; i++) {
        text_printf(d->body, "%sp%d", i ? ", " : "(", i);
        c_put_offset(d->body, map_bytes(m->nest.access[i].type) * row * map_row_stride(m, box, i));
    }
    text_printf(d->body, ", %lld);\n", (long long)rows);
}

static void put_box(const Compiled *c, const CDriver *d, const MapPass *m, const MapBox *box) {
    int depth = 1, lanes = map_square(m, c->target.bytes);
    for (int k = 0; k < box->outer_count; k++) {
        int x = box->outer[k];
        c_indent(d->body, depth++);
        text_printf(d->body, "for (int64_t x%d = %lld; x%d < %lld; x%d++) {\n", x, (long long)box->begin[x], x,
                    (long long)(box->begin[x] + box->extent[x]), x);
    }
    if (!box->outer_count) {
        c_indent(d->body, depth++);
        text_put(d->body, "{\n");
    }
    for (int i = 0; i < m->nest.access_count; i++) {
        c_open_place(d, &m->nest, i, box->outer, box->outer_count, depth);
        c_close_place(d);
    }
    int64_t first = map_begin(box, box->row), rows = map_extent(box, box->row), whole = box->tiled ? rows / lanes * lanes : rows;
    put_call(c, d, m, box, first, whole, depth);
    if (whole < rows) /* the last square begins earlier */
        put_call(c, d, m, box, first + rows - lanes, lanes, depth);
    c_close(d->body, box->outer_count ? box->outer_count : 1, depth);
}

bool map_has_c(const Compiled *c) {
    const MapPlan *plan = c->state;
    for (int p = 0; p < plan->pass_count; p++)
        if (plan->passes[p].gather_count || plan->passes[p].numbers || plan->passes[p].permutes)
            return false;
    for (int t = 0; t < c->kernel->tensor_count; t++)
        if (c->kernel->tensors[t].role == ROLE_TEMPORARY)
            return false;
    return true;
}

void map_print_c(const Compiled *c, const CDriver *d) {
    const MapPlan *plan = c->state;
    for (int p = 0; p < plan->pass_count; p++) {
        const KernelTensor *tensor = &c->kernel->tensors[plan->passes[p].nest.definition->tensor];
        if (plan->passes[p].clears && tensor->count)
            text_printf(d->body, "    memset(%s, 0, %lld);\n", d->tensor[plan->passes[p].nest.definition->tensor],
                        (long long)tensor->count * map_bytes(tensor->type));
    }
    for (int p = 0; p < plan->pass_count; p++)
        for (int b = 0; b < plan->passes[p].box_count; b++)
            put_box(c, d, &plan->passes[p], &plan->passes[p].boxes[b]);
    c_release(d, NULL);
}
