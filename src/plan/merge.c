/* Products of one input as one: y_i[m, n] = sum(k) x[m, k] * w_i[k, n] + b_i[n] become
 *
 *     t[m, n] = sum(k) x[m, k] * w[k, n] + b[n]        w, b: w_i and b_i side by side
 *     y_i[m, n] = t[m, n + so many columns]            which go where they are read, as all that only moves data
 *
 * So the queries, keys and values of an attention are one product, whose panels pass once, by all threads. Content of w is needed
 * where it is packed and nowhere else, so no copy of it is kept.
 *
 * Not where it costs more than it saves: a result that an elementwise node or something outside of the plan reads is better
 * finished by its own product, while it is in registers, than read again from a common one.
 *
 * Requires groups as nodes gave them; before the rules of fuse.c. */
#include <string.h>

#include "plan/plan.h"

enum { MOST_MEMBERS = 8, MOST_PARTS = 4, MOVES_FOLLOWED = 4 };

/* A product with its columns. */
typedef struct Member {
    int group;
    const Definition *definition; /* its own, scalars made of constants written out */
    int axis, dim;                /* axis: of the columns; dim: of the result, along which they lie */
    int part[MOST_PARTS];         /* constants of its own, in the order in which the first member reads its */
} Member;

typedef struct Merge {
    Plan *plan;
    Member member[MOST_MEMBERS];
    int count, part_count;
    int part_dim[MOST_PARTS]; /* along which columns lie; -1: one element serves all of them */
} Merge;

/* ---- Products ---- */

static bool is_plain(const Index *index, const Definition *d, int axis) {
    if (!index->affine || index->offset || index->coef[axis] != 1)
        return false;
    for (int a = 0; a < d->axis_count; a++)
        if (a != axis && index->coef[a])
            return false;
    return true;
}

static bool moves_along(const Expr *read, int axis) {
    for (int i = 0; i < read->index_count; i++)
        if (!read->index[i].affine || read->index[i].coef[axis])
            return true;
    return false;
}

/* The axis that only constants and the result move along. */
static int find_columns(const Plan *plan, const Definition *d) {
    for (int a = 0; a < d->parallel_count; a++) {
        bool any = false, fits = d->axes[a].extent > 1;
        for (int i = 0; i < d->expr_count && fits; i++) {
            const Expr *e = d->exprs[i];
            if (e->op == EXPR_AXIS && e->axis == a)
                fits = false;
            if (e->op != EXPR_READ || !moves_along(e, a))
                continue;
            any = true;
            fits = plan->tensors[e->tensor].known && plan->tensors[e->tensor].root == e->tensor && !e->guarded;
        }
        if (any && fits)
            return a;
    }
    return -1;
}

/* How a scalar is made of constants and other scalars, as the scale behind an integer product is; NULL: otherwise. */
static const Definition *scalar_source(const Plan *plan, const Expr *read) {
    const PlanTensor *t = read->op == EXPR_READ ? &plan->tensors[plan->tensors[read->tensor].root] : NULL;
    if (!t || t->count != 1 || t->known || t->writer_count != 1)
        return NULL;
    const Group *g = plan->groups[t->writer];
    if (g->gone || g->step >= 0 || g->partial || g->count != 1 || g->definitions[0]->axis_count)
        return NULL;
    const Definition *d = g->definitions[0];
    bool any = false;
    for (int i = 0; i < d->expr_count; i++)
        any |= d->exprs[i]->op == EXPR_READ && plan->tensors[d->exprs[i]->tensor].known;
    return any ? d : NULL;
}

/* So that products whose scalars differ in a constant alone are the same but for constants. NULL: out of memory. */
static const Definition *with_scalars(Plan *plan, const Definition *d) {
    for (int i = 0; i < d->expr_count; i++) {
        const char *why = NULL;
        const Definition *source = scalar_source(plan, d->exprs[i]);
        Definition *written = source ? rewrite_inline(plan->arena, &plan->rewrite, d, source, &why) : NULL;
        if (source && !written && !why)
            return NULL;
        if (written) {
            d = written;
            i = -1;
        }
    }
    return d;
}

/* One product of something with constants, written in order. */
static bool find_member(Plan *plan, int group, Member *out) {
    const Group *g = plan->groups[group];
    if (g->gone || g->step >= 0 || g->partial || g->count != 1)
        return false;
    const Definition *d = g->definitions[0];
    const PlanTensor *t = &plan->tensors[d->tensor];
    if (d->axis_count == d->parallel_count || t->root != d->tensor || t->kept || t->writer_count != 1)
        return false;
    *out = (Member){.group = group, .axis = find_columns(plan, d), .dim = -1};
    if (out->axis < 0 || !(d = out->definition = with_scalars(plan, d)))
        return false;
    for (int i = 0; i < d->left_count; i++) {
        if (!d->left[i].affine)
            return false;
        if (d->left[i].coef[out->axis] && (out->dim >= 0 || !is_plain(&d->left[i], d, out->axis)))
            return false;
        if (d->left[i].coef[out->axis])
            out->dim = i;
    }
    return out->dim >= 0 && t->dims[out->dim] == d->axes[out->axis].extent;
}

/* ---- Equality but for constants ---- */

/* Dims of constants that may lie side by side. */
static bool same_but(const PlanTensor *x, const PlanTensor *y, int dim) {
    if (x->type != y->type || x->rank != y->rank || x->constant != y->constant)
        return false;
    for (int i = 0; i < x->rank; i++)
        if (i != dim && x->dims[i] != y->dims[i])
            return false;
    return true;
}

/* The place of a constant of the first member among its parts; -1: it is none, or one too many. */
static int part_of(Merge *m, const Definition *d, const Expr *read) {
    const PlanTensor *t = &m->plan->tensors[read->tensor];
    int dim = -1, p = 0;
    for (int i = 0; i < read->index_count; i++)
        if (read->index[i].coef[m->member[0].axis]) {
            if (dim >= 0 || !is_plain(&read->index[i], d, m->member[0].axis))
                return -1;
            dim = i;
        }
    while (p < m->part_count && m->member[0].part[p] != read->tensor)
        p++;
    if (p == MOST_PARTS || (p < m->part_count && m->part_dim[p] != dim) ||
        (dim < 0 ? t->count != 1 : t->dims[dim] != d->axes[m->member[0].axis].extent))
        return -1;
    if (p == m->part_count) {
        m->member[0].part[m->part_count] = read->tensor;
        m->part_dim[m->part_count++] = dim;
    }
    return p;
}

typedef struct Pair {
    Merge *merge;
    const Definition *x, *y; /* of the first member, of the one in question */
    Member *member;
} Pair;

static bool same_read(const Pair *p, const Expr *x, const Expr *y) {
    const Plan *plan = p->merge->plan;
    if (x->guarded || y->guarded || x->index_count != y->index_count)
        return false;
    for (int i = 0; i < x->index_count; i++)
        if (!index_equals(p->x, &x->index[i], &y->index[i]))
            return false;
    const PlanTensor *of_x = &plan->tensors[x->tensor], *of_y = &plan->tensors[y->tensor];
    bool moves = moves_along(x, p->member->axis), scalar = of_x->known && of_y->known && of_x->count == 1;
    if (!moves && !scalar)
        return x->tensor == y->tensor;
    int part = part_of(p->merge, p->x, x), dim = part < 0 ? -1 : p->merge->part_dim[part];
    if (part < 0 || !same_but(of_x, of_y, dim) || (moves && of_y->dims[dim] != p->y->axes[p->member->axis].extent))
        return false;
    int *known = &p->member->part[part];
    if (*known >= 0 && *known != y->tensor)
        return false;
    *known = y->tensor;
    return true;
}

static bool same_expr(const Pair *p, const Expr *x, const Expr *y);

/* Operands in turn; `swapped`: of two, each with the other one. */
static bool same_args(const Pair *p, const Expr *x, const Expr *y, bool swapped) {
    for (int i = 0; i < 3; i++) {
        const Expr *of_x = x->arg[i], *of_y = y->arg[swapped && i < 2 ? 1 - i : i];
        if (!of_x != !of_y || (of_x && !same_expr(p, of_x, of_y)))
            return false;
    }
    return true;
}

static bool same_expr(const Pair *p, const Expr *x, const Expr *y) {
    if (x->op != y->op || x->type != y->type)
        return false;
    switch (x->op) {
    case EXPR_READ: return same_read(p, x, y);
    case EXPR_NUMBER: return x->is_float == y->is_float && x->number == y->number && x->integer == y->integer;
    case EXPR_AXIS: return x->axis == y->axis;
    case EXPR_REDUCE:
        if (x->reduce != y->reduce || x->axis_count != y->axis_count ||
            memcmp(x->axes, y->axes, (size_t)x->axis_count * sizeof *x->axes) != 0)
            return false;
        break;
    default: break;
    }
    if (x->op != EXPR_ADD && x->op != EXPR_MUL)
        return same_args(p, x, y, false);
    const Member before = *p->member;
    int parts = p->merge->part_count;
    if (same_args(p, x, y, false))
        return true;
    *p->member = before;
    p->merge->part_count = parts;
    return same_args(p, x, y, true);
}

static bool same_product(Merge *m, Member *member) {
    const Member *first = &m->member[0];
    const Pair p = {m, first->definition, member->definition, member};
    if (member->axis != first->axis || member->dim != first->dim || p.x->axis_count != p.y->axis_count ||
        p.x->parallel_count != p.y->parallel_count || p.x->left_count != p.y->left_count ||
        !same_but(&m->plan->tensors[p.x->tensor], &m->plan->tensors[p.y->tensor], first->dim))
        return false;
    for (int a = 0; a < p.x->axis_count; a++)
        if (a != first->axis && p.x->axes[a].extent != p.y->axes[a].extent)
            return false;
    for (int i = 0; i < p.x->left_count; i++)
        if (!index_equals(p.x, &p.x->left[i], &p.y->left[i]))
            return false;
    for (int i = 0; i < MOST_PARTS; i++)
        member->part[i] = -1;
    return same_expr(&p, p.x->value, p.y->value);
}

/* ---- What it would cost ---- */

static bool moves_only(const Definition *d) {
    return d->value->op == EXPR_READ;
}

/* Data is only moved, and rounded on its way into a product (halve.c). */
static bool moves_into_product(const Definition *d) {
    return moves_only(d) || (d->value->op == EXPR_CAST && d->value->type == DT_BF16 && d->value->arg[0]->op == EXPR_READ);
}

/* Who reads the tensor takes a slice as well as the whole: what moves data into a product, products. */
static bool takes_slices(const Plan *plan, int tensor, int followed) {
    const PlanTensor *t = &plan->tensors[plan->tensors[tensor].root];
    if (t->kept || !t->reader_count || followed > MOVES_FOLLOWED)
        return false;
    for (int i = 0; i < t->reader_count; i++) {
        const Group *g = plan->groups[t->readers[i]];
        if (g->step >= 0 || g->partial || g->count != 1)
            return false;
        const Definition *d = g->definitions[0];
        bool product = d->axis_count > d->parallel_count;
        if (!product && (!moves_into_product(d) || !takes_slices(plan, d->tensor, followed + 1)))
            return false;
    }
    return true;
}

static void note_members(const Merge *m, const char *why) {
    char label[512];
    group_label(m->plan->groups[m->member[0].group], label, sizeof label);
    for (int i = 1; i < m->count; i++)
        group_note(m->plan, m->plan->groups[m->member[i].group], "not one product with %s: %s", label, why);
}

/* ---- Merging ---- */

static bool all_equal(const Tensor *const *constant, int count) {
    for (int i = 1; i < count; i++)
        if (constant[i]->bytes != constant[0]->bytes || memcmp(constant[i]->data, constant[0]->data, constant[0]->bytes) != 0)
            return false;
    return true;
}

/* The parts of all members, side by side, as a tensor of the plan; -1: an error. */
static int join_constants(const Merge *m, int part) {
    Plan *plan = m->plan;
    const Tensor *constant[MOST_MEMBERS], *whole;
    int64_t columns[MOST_MEMBERS];
    bool kept = false;
    for (int i = 0; i < m->count; i++) {
        constant[i] = plan->tensors[m->member[i].part[part]].known;
        columns[i] = m->member[i].definition->axes[m->member[i].axis].extent;
    }
    if (m->part_dim[part] >= 0)
        whole = plan->schedules.join(plan->schedules.self, constant, m->count, m->part_dim[part], &kept, plan->err);
    else if (all_equal(constant, m->count))
        return m->member[0].part[part];
    else
        whole = plan->schedules.spread(plan->schedules.self, constant, columns, m->count, plan->err);
    int tensor = whole ? plan_tensor(plan, (DType)whole->type, whole->rank, whole->dims, NULL) : -1;
    if (tensor < 0)
        return -1;
    plan->tensors[tensor].known = whole;
    plan->tensors[tensor].constant = kept;
    return tensor;
}

/* What was one element is now one a column. */
static bool read_columns(Plan *plan, Definition *d, int tensor, int axis) {
    Index *index = ARENA_ARRAY(plan->arena, Index, 1);
    if (!index || !(index->coef = ARENA_ARRAY(plan->arena, int64_t, KERNEL_MAX_AXES)))
        return false;
    index->affine = true;
    index->coef[axis] = 1;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && d->exprs[i]->tensor == tensor) {
            d->exprs[i]->index = index;
            d->exprs[i]->index_count = 1;
        }
    return true;
}

/* The common product. NULL: out of memory or an error. */
static Definition *common_product(const Merge *m, int64_t columns) {
    Plan *plan = m->plan;
    const Member *first = &m->member[0];
    const Definition *d = first->definition;
    PlanTensor y = plan->tensors[d->tensor];
    y.dims[first->dim] = columns;
    int whole = plan_tensor(plan, y.type, y.rank, y.dims, NULL), joined[MOST_PARTS];
    if (whole < 0)
        return NULL;
    for (int p = 0; p < m->part_count; p++)
        if ((joined[p] = join_constants(m, p)) < 0)
            return NULL;
    int *names = ARENA_ARRAY(plan->arena, int, (size_t)plan->tensor_count);
    for (int t = 0; names && t < plan->tensor_count; t++)
        names[t] = t == d->tensor ? whole : t;
    for (int p = 0; names && p < m->part_count; p++)
        names[first->part[p]] = joined[p];
    Definition *out = names ? rewrite_rename(plan->arena, d, names) : NULL;
    if (!out)
        return NULL;
    for (int p = 0; p < m->part_count; p++)
        if (m->part_dim[p] < 0 && joined[p] != first->part[p] && !read_columns(plan, out, joined[p], first->axis))
            return NULL;
    out->axes[first->axis].extent = columns;
    return out;
}

/* Columns [at, at + its own) of the whole as what the member made. NULL: out of memory. */
static Definition *slice_of(Plan *plan, const Member *member, const Definition *whole, int64_t at) {
    Definition *out = plan_copy_of(plan, member->definition->tensor);
    if (!out)
        return NULL;
    Expr *read = out->value;
    read->tensor = whole->tensor;
    read->index = arena_copy(plan->arena, out->left, (size_t)out->left_count * sizeof *out->left);
    if (!read->index)
        return NULL;
    read->index[member->dim].offset = at;
    return out;
}

static bool set_group(Plan *plan, int at, Definition *definition) {
    Group *g = plan->groups[at];
    g->definitions = ARENA_ARRAY(plan->arena, Definition *, 1);
    if (!g->definitions)
        return error_memory(plan->err), false;
    g->definitions[0] = definition;
    g->count = 1;
    g->given = NULL;
    g->verdict = NULL;
    return true;
}

static bool put_all_nodes(const Merge *m, Group *to) {
    int count = 0;
    for (int i = 0; i < m->count; i++)
        count += m->plan->groups[m->member[i].group]->node_count;
    to->nodes = ARENA_ARRAY(m->plan->arena, const Node *, (size_t)count);
    for (int i = 0; to->nodes && i < m->count; i++) {
        const Group *g = m->plan->groups[m->member[i].group];
        for (int k = 0; k < g->node_count; k++)
            to->nodes[to->node_count++] = g->nodes[k];
    }
    return to->nodes || (error_memory(m->plan->err), false);
}

/* The schedule's word on the common product: 1, 0, -1: error. */
static int is_taken(const Merge *m, Definition *whole) {
    Group probe = {.definitions = &whole, .count = 1, .step = -1};
    const Verdict *now = group_verdict(m->plan, &probe), *was = group_verdict(m->plan, m->plan->groups[m->member[0].group]);
    if (!now || !was)
        return -1;
    bool same = now->template && was->template && strcmp(now->template, was->template) == 0;
    if (!same)
        note_members(m, now->template ? "the common one is no 'contract' as they are" : now->why);
    return same && strcmp(now->template, "contract") == 0;
}

/* 1: merged, 0: not, -1: an error. */
static int merge(Merge *m) {
    Plan *plan = m->plan;
    int64_t columns = 0, at = 0;
    for (int i = 0; i < m->count; i++) {
        const Definition *d = m->member[i].definition;
        if (!checked_add(columns, d->axes[m->member[i].axis].extent, &columns))
            return 0;
    }
    Definition *whole = common_product(m, columns);
    int taken = whole ? is_taken(m, whole) : -1;
    if (taken <= 0)
        return taken;
    int first = m->member[0].group;
    Group *common = plan_insert_group(plan, first);
    for (int i = 0; i < m->count; i++)
        m->member[i].group++;
    if (!common || !put_all_nodes(m, common) || !set_group(plan, first, whole))
        return -1;
    plan->tensors[whole->tensor].writer = first;
    plan->tensors[whole->tensor].writer_count = 1;
    for (int i = 0; i < whole->expr_count; i++)
        if (whole->exprs[i]->op == EXPR_READ && !plan_add_reader(plan, whole->exprs[i]->tensor, first))
            return -1;
    for (int i = 0; i < m->count; i++) {
        const Definition *d = plan->groups[m->member[i].group]->definitions[0];
        Definition *slice = slice_of(plan, &m->member[i], whole, at);
        at += d->axes[m->member[i].axis].extent;
        for (int k = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_READ)
                plan_drop_reader(plan, d->exprs[k]->tensor, m->member[i].group);
        if (!slice || !plan_add_reader(plan, whole->tensor, m->member[i].group) || !set_group(plan, m->member[i].group, slice))
            return -1;
        plan->groups[m->member[i].group]->node_count = 0; /* they are the common one's */
    }
    return 1;
}

/* All products that are as the one at `group` but for their constants. */
static void find_members(Merge *m, int group) {
    Member other;
    m->count = m->part_count = 0;
    if (!find_member(m->plan, group, &m->member[0]))
        return;
    m->count = 1;
    for (int g = group + 1; g < m->plan->group_count && m->count < MOST_MEMBERS; g++)
        if (find_member(m->plan, g, &other) && same_product(m, &other))
            m->member[m->count++] = other;
}

/* What is read of the results are slices as good as the whole. */
static bool is_worth(const Merge *m) {
    for (int i = 0; i < m->count; i++)
        if (!takes_slices(m->plan, plan_finished(m->plan, m->member[i].group), 0)) {
            note_members(m, "what reads a result would read it from memory again");
            return false;
        }
    return true;
}

/* What finishes a product goes behind it first: it is another group then, which comes later. */
static bool finish_members(const Merge *m) {
    for (int i = 0; i < m->count; i++)
        if (!plan_finish(m->plan, m->member[i].group))
            return false;
    return true;
}

bool plan_merge_products(Plan *plan) {
    Merge m = {.plan = plan};
    for (int g = 0; plan->schedules.join && g < plan->group_count; g++) {
        find_members(&m, g);
        if (m.count < 2 || !is_worth(&m))
            continue;
        if (!finish_members(&m))
            return false;
        find_members(&m, g);
        int done = m.count > 1 ? merge(&m) : 0;
        if (done < 0)
            return plan->err->status || (error_memory(plan->err), false);
        g += done > 0;
    }
    return true;
}
