/* The driver of row kernels as C text; rows_run.c is what it says, for one thread. */
#include "schedule/rows.h"
#include "schedule/c/c_kernel.h"

/* Rows [row, row + rows), and (across) lanes [lane, lane + lanes). */
static void put_call(const Compiled *c, const CDriver *d, int function, int64_t row, int64_t rows, int64_t lane, int64_t lanes,
                     int depth) {
    const Rows *r = c->state;
    c_indent(d->body, depth);
    c_put_name(d, c, function);
    for (int i = 0; i < r->nest.access_count; i++) {
        if (r->leader[i] != i)
            continue;
        text_printf(d->body, "%sp%d", i ? ", " : "(", i);
        c_put_offset(d->body,
                     rows_element_bytes(r, i) * (row * rows_row_stride(r, i) + (r->across ? lane * rows_lane_stride(r, i) : 0)));
    }
    for (int s = 0; s < r->scratch_count; s++) {
        text_put(d->body, ", (char *)scratch");
        c_put_offset(d->body, 4 * s * (int64_t)r->scratch_floats);
    }
    text_printf(d->body, ", %lld, %lld);\n", (long long)rows, (long long)lanes);
}

static void put_along(const Compiled *c, const CDriver *d, int depth) {
    const Rows *r = c->state;
    int64_t row = 0;
    for (int f = r->function_count - 1; f >= 0; f--) { /* the one of many rows first */
        int64_t rows = rows_taken(&r->function[f], r->rows - row);
        if (rows)
            put_call(c, d, f, row, rows_argument(&r->function[f], rows), 0, 0, depth);
        row += rows;
    }
}

static void put_across(const Compiled *c, const CDriver *d, int depth) {
    const Rows *r = c->state;
    int64_t width = (int64_t)r->function[0].copies * r->lanes, lanes = r->whole >= 0 ? r->lane_extent / width * width : 0;
    if (lanes)
        put_call(c, d, r->whole, 0, r->rows, 0, lanes, depth);
    if (r->tail >= 0)
        put_call(c, d, r->tail, 0, r->rows, lanes, 0, depth);
}

void rows_print_c(const Compiled *c, const CDriver *d) {
    const Rows *r = c->state;
    if (r->scratch_count)
        c_allocate(d, "scratch", 4 * (int64_t)r->scratch_floats * r->scratch_count);
    if (r->rows && r->outer_total && (!r->across || r->lane_extent)) {
        int depth = c_open_axes(d, &r->nest, r->outer, r->outer_count, 1);
        for (int i = 0; i < r->nest.access_count; i++) {
            if (r->leader[i] != i)
                continue;
            c_open_place(d, &r->nest, i, r->outer, r->outer_count, depth);
            c_close_place(d);
        }
        if (r->across)
            put_across(c, d, depth);
        else
            put_along(c, d, depth);
        c_close(d->body, r->outer_count, depth);
    }
    c_release(d, r->scratch_count ? "scratch" : NULL);
}
