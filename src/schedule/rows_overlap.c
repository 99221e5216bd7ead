/* The passes over a row side by side, each over other rows: while the last pass finishes some rows, the one before it has the
 * next rows, and the first the rows after those.
 *
 *     rows 0 1     pass 0
 *     rows 2 3     pass 0   pass 1
 *     rows 4 5     pass 0   pass 1   pass 2      <- the loop over rows
 *     rows 6 7              pass 1   pass 2
 *                                    pass 2
 *
 * One pass waits for memory, another computes, and the ends of rows wait for nothing that is near. Where passes are two rounds
 * `apart`, each line above is two rounds of two rows. What a pass leaves to the next are reductions, in one register each. */
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
static size_t bytes_in_use(const Rows *r, const RowsFunction *f) {
    size_t bytes = 0, passes = (size_t)((f->stages - 1) * f->apart + 1), copies = (size_t)f->copies;
    for (int i = 0; i < r->nest.access_count; i++) {
        size_t row = (size_t)(r->columns * rows_element_bytes(r, i));
        if (r->leader[i] == i && rows_lane_stride(r, i))
            bytes += row * (!rows_row_stride(r, i) ? 1 : r->nest.access[i].read ? copies * passes : copies);
    }
    return bytes;
}

/* Whether all that is read and written comes from memory: lines of one row after the other come twice as fast from there. */
static bool is_far(const Rows *r) {
    const size_t *cache = r->target.cache_bytes, largest = cache[2] > cache[1] ? cache[2] : cache[1];
    double bytes = 0;
    for (int i = 0; i < r->nest.access_count; i++)
        if (r->leader[i] == i && r->nest.access[i].tensor >= 0)
            bytes += (double)r->nest.kernel->tensors[r->nest.access[i].tensor].count * (double)rows_element_bytes(r, i);
    return largest && bytes > (double)largest;
}

/* Rows a round, and rounds apart. Passes with functions leave time for what comes from further away, and where they do not need
 * it, two rounds apart what is known of a row is never waited for; without functions the lines in use until then cost more.
 * False: rows are too long. */
static bool rows_a_round(const Rows *r, bool heavy, RowsFunction *f) {
    enum { TYPICAL_BYTES = 32768, MOST = 2 };
    size_t cache = (r->target.cache_bytes[0] ? r->target.cache_bytes[0] : TYPICAL_BYTES) / 16 * 15;
    bool far = is_far(r);
    f->copies = far ? 1 : MOST;
    for (f->apart = heavy && !far ? MOST : 1; f->apart > 1 && bytes_in_use(r, f) > cache; f->apart--)
        ;
    while (!heavy && f->copies && bytes_in_use(r, f) > cache)
        f->copies--;
    return f->copies > 0;
}

/* Rows of the first pass before the last begins. */
static int64_t rows_ahead(const RowsFunction *f) {
    return (int64_t)(f->stages - 1) * f->apart * f->copies;
}

RowsFunction rows_overlapped(const Rows *r, bool heavy, RowsFunction otherwise) {
    RowsFunction f = {.last_lanes = r->lanes, .stages = r->pass_count};
    if (!rows_a_round(r, heavy, &f) || f.copies * f.stages > MAX_COPIES) /* every pass has copies of its own */
        return otherwise;
    int64_t rows = least(r->rows, rows_of_task(r, f.copies)) / f.copies * f.copies;
    f.apart = rows - rows_ahead(&f) < 2 * f.copies ? 1 : f.apart;
    return rows - rows_ahead(&f) >= 2 * f.copies ? f : otherwise;
}

bool rows_leave_some(const Rows *r, const RowsFunction *many) {
    int64_t each = rows_of_task(r, many->copies), last = r->rows % each;
    return r->rows % many->copies || (r->rows >= each && rows_taken(many, each) != each) || rows_taken(many, last) != last;
}

int64_t rows_taken(const RowsFunction *f, int64_t rows) {
    rows = rows / f->copies * f->copies;
    return rows < rows_ahead(f) + f->copies ? 0 : rows;
}

int64_t rows_argument(const RowsFunction *f, int64_t rows) {
    return rows - rows_ahead(f);
}

/* ---- their code ---- */

enum { MAX_CARRIED = MAX_REDUCTIONS + ROWS_MAX_MOMENTS + 1, MAX_APART = 2 };

/* What goes from a round over rows to those behind it: reductions, and means beside them. */
typedef struct Carried {
    int *value[MAX_CARRIED]; /* where the round in question has it */
    DType type[MAX_CARRIED];
    int count;
    int held[MAX_APART * MAX_CARRIED]; /* [k * count + i]: value i for the round after k others; -1: none yet */
} Carried;

static bool carry(Emitting *p, Carried *c, int *value, DType type) {
    if (c->count == MAX_CARRIED) {
        p->refused = "more reductions of a row than may overlap";
        return false;
    }
    c->value[c->count] = value;
    c->type[c->count++] = type;
    return true;
}

static void find_carried(Emitting *p, Carried *c) {
    for (int i = 0; i < p->r->count; i++) {
        const Definition *d = p->r->item[i].definition;
        for (int k = 0; k < d->expr_count; k++) {
            const Expr *e = d->exprs[k];
            if (e->op != EXPR_REDUCE || rows_pass_of(p->r, e) >= p->shape->stages)
                continue;
            if (!carry(p, c, rows_at_copy(p->slot[i].reduced, e, TOGETHER), expr_register(e->type)))
                return;
            const RowMoments *m = rows_moments(p->r, e);
            if (m && m->sum == e && rows_is_mean(p->r, m) && !carry(p, c, &p->mean[m - p->r->moment], DT_F32))
                return;
        }
    }
    for (int i = 0; i < MAX_APART * MAX_CARRIED; i++)
        c->held[i] = -1;
}

/* One round of passes [from, to]: `now` is what is held at its beginning and, afterwards, at its end. False: no memory. */
static bool emit_round(Emitting *p, Arena *arena, const Carried *c, int from, int to, int *now) {
    int last = p->shape->stages - 1, behind = (p->shape->apart - 1) * c->count;
    for (int i = 0; i < c->count; i++)
        *c->value[i] = now[i];
    if (!rows_emit_passes(p, arena, from, to) || (to == last && !p->refused && !rows_emit_values(p, arena, last + 1)))
        return false;
    memmove(now, now + c->count, (size_t)behind * sizeof *now);
    for (int i = 0; i < c->count; i++)
        now[behind + i] = *c->value[i];
    return true;
}

/* As many rounds as passes are apart, or (`rows` an index) as there are rows for. */
static bool emit_rounds(Emitting *p, Arena *arena, Carried *c, int from, int to, int rows) {
    int apart = p->shape->apart, copies = p->shape->copies, count = apart * c->count, now[MAX_APART * MAX_CARRIED];
    if (rows < 0 && apart == 1)
        return emit_round(p, arena, c, from, to, c->held);
    for (int i = 0; i < count; i++)
        c->held[i] = c->held[i] < 0 ? vector_const(p->f, c->type[i % c->count], 0) : c->held[i];
    int counter = vector_loop(p->f, rows, (int64_t)apart * copies, copies, c->held, now, count);
    int *index = p->row < 0 ? &p->row : &p->turn;
    *index = counter;
    if (!emit_round(p, arena, c, from, to, now))
        return false;
    vector_end(p->f, now, c->held);
    *index = -1;
    return true;
}

bool rows_emit_overlapped(Emitting *p, Arena *arena, int rows) {
    int last = p->shape->stages - 1;
    int64_t ahead = (int64_t)p->shape->apart * p->shape->copies; /* a pass of the next */
    Carried carried = {0};
    find_carried(p, &carried);
    for (int pass = 0; pass < last && !p->refused; pass++) {
        p->behind = (last - pass) * ahead;
        if (!emit_rounds(p, arena, &carried, 0, pass, -1))
            return false;
    }
    p->behind = 0;
    if (!p->refused && !emit_rounds(p, arena, &carried, 0, last, rows))
        return false;
    p->row = rows;
    for (int pass = 1; pass <= last && !p->refused; pass++) {
        p->behind = -(pass - 1) * ahead;
        if (!emit_rounds(p, arena, &carried, pass, last, -1))
            return false;
    }
    return true;
}
