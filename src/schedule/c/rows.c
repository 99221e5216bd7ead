/* The driver of row kernels as C text; rows.c is what it says. */
#include "schedule/rows.h"
#include "schedule/c/c_kernel.h"

void rows_print_c(const Compiled *c, const CDriver *d) {
    const Rows *r = c->state;
    int64_t scratch_row = (r->columns + 63) / 64 * 64; /* floats */
    if (r->scratch_count)
        c_allocate(d, "scratch", 4 * scratch_row * r->scratch_count);
    int depth = c_open_axes(d, &r->nest, r->outer, r->outer_count, 1);
    for (int i = 0; i < r->nest.access_count; i++) {
        c_open_place(d, &r->nest, i, r->outer, r->outer_count, depth);
        c_close_place(d);
    }
    c_indent(d->body, depth);
    c_put_name(d, c, 0);
    for (int i = 0; i < r->nest.access_count; i++)
        text_printf(d->body, "%sp%d", i ? ", " : "(", i);
    for (int s = 0; s < r->scratch_count; s++)
        text_printf(d->body, ", (char *)(scratch + %lld)", (long long)(s * scratch_row));
    text_printf(d->body, ", %lld);\n", (long long)r->rows);
    c_close(d->body, r->outer_count, depth);
    c_release(d, r->scratch_count ? "scratch" : NULL);
}
