/* The passes over a row side by side, each over other rows: while the last pass finishes some rows, the one before it has the
 * next rows, and the first the rows after those.
 *
 *     rows 0 1     pass 0
 *     rows 2 3     pass 0   pass 1
 *     rows 4 5     pass 0   pass 1   pass 2      <- the loop over rows
 *     rows 6 7              pass 1   pass 2
 *                                    pass 2
 *
 * One pass waits for memory, another computes, and the ends of rows wait for nothing that is near: softmax takes 10.5 to 11.5
 * cycles a vector instead of 13 to 14. What a pass leaves to the next are reductions, in one register each. */
#include "schedule/rows_emit.h"

#include <string.h>

/* ---- which kernels ---- */

/* What is known of a row is used by the pass behind the one that finds it, and by no other. */
static bool is_used_at_once(const Rows *r, const Expr *e, int pass) {
    int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
    if (source >= 0)
        return r->item[source].columnwise || r->item[source].pass == pass;
    if (e->op == EXPR_REDUCE) {
        bool packs = (e->reduce == REDUCE_SUM || e->reduce == REDUCE_MAX || e->reduce == REDUCE_MIN) && e->type != DT_BOOL;
        return packs && rows_pass_of(r, e) == pass && is_used_at_once(r, rows_reduced(r, e), pass - 1);
    }
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !is_used_at_once(r, e->arg[i], pass))
            return false;
    return true;
}

bool rows_may_overlap(const Rows *r) {
    enum { FEW = 5 }; /* vectors, which are soon done */
    if (r->across || r->fixed || r->counted || r->pass_count < 2 || r->columns != r->lane_extent || r->shrunk ||
        r->columns <= (int64_t)FEW * r->lanes)
        return false;
    for (int i = 0; i < r->count; i++) {
        const RowDefinition *item = &r->item[i];
        int last = item->columnwise && item->again ? r->pass_count - 1 : item->pass;
        for (int pass = item->pass; pass <= last; pass++)
            if (!is_used_at_once(r, item->definition->value, pass))
                return false;
    }
    return true;
}

/* What lies in the first cache until it is used again: a row for each pass that reads it, what is written, and what all rows
 * read. Rows of a power of two of bytes need no less of it than others, and no more. */
static size_t bytes_in_use(const Rows *r, int copies) {
    size_t bytes = 0;
    for (int i = 0; i < r->nest.access_count; i++) {
        size_t row = (size_t)(r->columns * rows_element_bytes(r, i));
        if (r->leader[i] == i && rows_lane_stride(r, i))
            bytes += row * (size_t)(!rows_row_stride(r, i) ? 1 : r->nest.access[i].read ? copies * r->pass_count : copies);
    }
    return bytes;
}

static int rows_a_round(const Rows *r, bool heavy) {
    enum { TYPICAL_BYTES = 32768, MOST = 2 };
    size_t cache = r->target.cache_bytes[0] ? r->target.cache_bytes[0] : TYPICAL_BYTES;
    if (heavy) /* which leave time for what comes from further away */
        return MOST;
    for (int copies = MOST; copies > 0; copies--)
        if (bytes_in_use(r, copies) <= cache / 16 * 15)
            return copies;
    return 0;
}

RowsFunction rows_overlapped(const Rows *r, bool heavy, RowsFunction otherwise) {
    int copies = rows_a_round(r, heavy);
    RowsFunction f = {copies, r->lanes, r->pass_count};
    int64_t rounds = copies ? least(r->rows, rows_of_task(r, copies)) / copies - r->pass_count + 1 : 0;
    return rounds >= 2 && f.copies * f.stages <= MAX_COPIES ? f : otherwise; /* every pass has copies of its own */
}

bool rows_leave_some(const Rows *r, const RowsFunction *many) {
    int64_t each = rows_of_task(r, many->copies), last = r->rows % each;
    return r->rows % many->copies || (r->rows >= each && rows_taken(many, each) != each) || rows_taken(many, last) != last;
}

int64_t rows_taken(const RowsFunction *f, int64_t rows) {
    rows = rows / f->copies * f->copies;
    return rows < (int64_t)f->stages * f->copies ? 0 : rows;
}

int64_t rows_argument(const RowsFunction *f, int64_t rows) {
    return rows - (int64_t)(f->stages - 1) * f->copies;
}

/* ---- their code ---- */

enum { MAX_CARRIED = MAX_REDUCTIONS + ROWS_MAX_MOMENTS + 1 };

/* Reductions that go from a round over rows to the next: where their values are. */
static int find_carried(Emitting *p, int **value) {
    int count = 0;
    for (int i = 0; i < p->r->count; i++) {
        const Definition *d = p->r->item[i].definition;
        for (int k = 0; k < d->expr_count; k++) {
            const Expr *e = d->exprs[k];
            if (e->op != EXPR_REDUCE || rows_pass_of(p->r, e) >= p->shape->stages)
                continue;
            if (count >= MAX_CARRIED - 1) {
                p->refused = "more reductions of a row than may overlap";
                return 0;
            }
            value[count++] = rows_at_copy(p->slot[i].reduced, e, TOGETHER);
            const RowMoments *m = rows_moments(p->r, e);
            if (m && m->sum == e && p->mean[m - p->r->moment] >= 0)
                value[count++] = &p->mean[m - p->r->moment];
        }
    }
    return count;
}

bool rows_emit_overlapped(Emitting *p, Arena *arena, int rows) {
    int last = p->shape->stages - 1, copies = p->shape->copies, *value[MAX_CARRIED], now[MAX_CARRIED], next[MAX_CARRIED];
    for (int pass = 0; pass < last && !p->refused; pass++) {
        p->behind = (int64_t)(last - pass) * copies;
        if (!rows_emit_passes(p, arena, 0, pass))
            return false;
    }
    int count = p->refused ? 0 : find_carried(p, value);
    if (p->refused)
        return true;
    for (int i = 0; i < count; i++)
        now[i] = *value[i];
    p->behind = 0;
    p->row = vector_loop(p->f, rows, 0, copies, now, next, count);
    for (int i = 0; i < count; i++)
        *value[i] = next[i];
    if (!rows_emit_passes(p, arena, 0, last) || (!p->refused && !rows_emit_values(p, arena, last + 1)))
        return false;
    for (int i = 0; i < count; i++)
        now[i] = *value[i];
    vector_end(p->f, now, next);
    for (int i = 0; i < count; i++)
        *value[i] = next[i];
    p->row = rows;
    for (int pass = 1; pass <= last && !p->refused; pass++) {
        p->behind = -(int64_t)(pass - 1) * copies;
        if (!rows_emit_passes(p, arena, pass, last) || (!p->refused && !rows_emit_values(p, arena, last + 1)))
            return false;
    }
    return true;
}
