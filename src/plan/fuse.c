/* Fusion: which definitions become a kernel together. Every rule substitutes, asks a schedule for its word on the result, and
 * takes it back where the schedule refuses what it would have taken apart.
 *
 *   merging    products of one input with constants as one: merge.c
 *   halves     what products take rounded to bf16 is kept so: halve.c
 *   maps       what does not reduce goes where it is read: moved data always, what is computed when it is not computed more often
 *   parts      of a concatenation that move data evenly are one movement: concat.c
 *   epilogues  a reduction goes to the one elementwise definition that reads it: biases, activations, residuals, placement
 *   rows       reductions over the same rows, with all that lies between them, become one kernel of several definitions
 *   attention  a product, rows over its result and a product of these become one kernel
 *
 * Before the first: the list as the nodes gave it. Rules keep groups in an order in which they can run: what is joined takes the
 * place of the later one. */
#include <string.h>

#include "plan/plan.h"

enum { CHEAP_WORK = 2, LARGE_EXPRESSION = 200, MANY_NODES = 24, ROWS_MOST = 16, ROWS_ENOUGH = 16, SMALL_VOLUME = 1 << 15 };

/* ---- What definitions are ---- */

static bool reduces(const Definition *d) {
    return d->axis_count > d->parallel_count;
}

static bool is_map(const Group *g) {
    return g->step < 0 && g->count == 1 && !reduces(g->definitions[0]);
}

static bool moves_only(const Definition *d) {
    return d->value->op == EXPR_READ || d->value->op == EXPR_NUMBER;
}

static double volume(const Definition *d, int axes) {
    double product = 1;
    for (int a = 0; a < axes; a++)
        product *= (double)d->axes[a].extent;
    return product;
}

/* Rough operations an element; functions count as 16. */
static int work_of(const Definition *d) {
    int work = 0;
    for (int i = 0; i < d->expr_count; i++) {
        ExprOp op = d->exprs[i]->op;
        if (op < EXPR_OP_COUNT)
            work += op >= EXPR_SQRT && op <= EXPR_ERF                                       ? 16
                    : op == EXPR_DIV || op == EXPR_POW || op == EXPR_FMOD || op == EXPR_MOD ? 8
                                                                                            : 1;
    }
    return work;
}

static int root_of(const Plan *plan, int tensor) {
    return plan->tensors[tensor].root;
}

/* A sum that uses its operands many times: a product of matrices, a convolution. */
static bool is_heavy(const Plan *plan, const Definition *d) {
    double all = volume(d, d->axis_count), most = (double)plan->tensors[d->tensor].count;
    if (!reduces(d))
        return false;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && (double)plan->tensors[d->exprs[i]->tensor].count > most)
            most = (double)plan->tensors[d->exprs[i]->tensor].count;
    return all > 2 * most;
}

static bool reads_root(const Plan *plan, const Definition *d, int root) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && root_of(plan, d->exprs[i]->tensor) == root)
            return true;
    return false;
}

static bool below(const Plan *plan, const Expr *e, int root) {
    if (e->op == EXPR_READ && root_of(plan, e->tensor) == root)
        return true;
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && below(plan, e->arg[i], root))
            return true;
    return false;
}

static bool read_in_reduction(const Plan *plan, const Definition *d, int root) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE && below(plan, d->exprs[i]->arg[0], root))
            return true;
    return false;
}

static int unit_axis(const Plan *plan, const Definition *d) {
    for (int a = 0; a < d->parallel_count; a++)
        if (d->axes[a].extent > 1 && plan_stride(plan, d->tensor, d->left, a) == 1)
            return a;
    return -1;
}

/* What is contiguous in the result is so in every read of `root`. */
static bool keeps_direction(const Plan *plan, const Definition *d, int root) {
    int axis = unit_axis(plan, d);
    for (int i = 0; axis >= 0 && i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && root_of(plan, d->exprs[i]->tensor) == root &&
            plan_stride(plan, d->exprs[i]->tensor, d->exprs[i]->index, axis) != 1)
            return false;
    return true;
}

static bool has_empty(const Plan *plan, const Group *g) {
    for (int i = 0; i < g->count; i++)
        if (plan->tensors[g->definitions[i]->tensor].count == 0)
            return true;
    return false;
}

static Definition *last_of(const Group *g) {
    return g->definitions[g->count - 1];
}

/* ---- Joining ---- */

static void each_read(Plan *plan, const Group *g, int group, bool add) {
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < g->definitions[i]->expr_count; k++)
            if (g->definitions[i]->exprs[k]->op == EXPR_READ) {
                if (add)
                    plan_add_reader(plan, g->definitions[i]->exprs[k]->tensor, group);
                else
                    plan_drop_reader(plan, g->definitions[i]->exprs[k]->tensor, group);
            }
}

/* A group nobody needs goes, and with it what only it needed. */
static void drop_dead(Plan *plan, int group) {
    Group *g = plan->groups[group];
    if (g->gone || g->step >= 0)
        return;
    for (int i = 0; i < g->count; i++) {
        const PlanTensor *t = &plan->tensors[root_of(plan, g->definitions[i]->tensor)];
        for (int k = 0; k < t->reader_count; k++)
            if (t->readers[k] != group)
                return;
        if (t->kept)
            return;
    }
    g->gone = true;
    each_read(plan, g, group, false);
}

/* One template has all of it: nothing goes by way of memory. */
static bool as_one(const Verdict *verdict) {
    return verdict->template && strcmp(verdict->template, "stages") != 0;
}

/* A reduction that was one template's and would now be another's: slower, most likely. Definitions that went by way of memory
 * have nothing to lose; a single one in stages was put so by its template. */
static bool changes_template(const Verdict *now, const Verdict *was, int definitions) {
    bool lost = was->template && (as_one(was) || definitions == 1);
    return now->template && lost && strcmp(now->template, was->template) != 0;
}

static const char *in_stages(const Plan *plan, const Verdict *verdict) {
    return arena_printf(plan->arena, "no one template takes them together, they would go by way of memory%s%s",
                        verdict->why ? "; " : "", verdict->why ? verdict->why : "");
}

/* Is `now` at least as good as its parts were? What is moved and then read once by a product (keys, turned for one query) is
 * read where it lies, whatever template that takes: the move alone costs as much. -1: error. */
static int is_taken(Plan *plan, Group *now, Group *before, Group *part, const char **why) {
    const Verdict *verdict = group_verdict(plan, now);
    if (!verdict)
        return -1;
    *why = verdict->template ? in_stages(plan, verdict) : verdict->why;
    Group *reduction = reduces(last_of(before)) ? before : now->partial ? part : NULL;
    const Verdict *was = reduction ? group_verdict(plan, reduction) : verdict;
    if (!was)
        return -1;
    bool moved_once = reduction == before && last_of(part)->value->op == EXPR_READ && !is_heavy(plan, last_of(before));
    if (changes_template(verdict, was, reduction ? reduction->count : 0) && !(moved_once && as_one(verdict))) {
        *why =
            arena_printf(plan->arena, "'%s' would run both, '%s' runs it alone and is faster", verdict->template, was->template);
        return 0;
    }
    if (as_one(verdict) || verdict->impossible)
        return as_one(verdict);
    const Verdict *x = group_verdict(plan, before), *y = group_verdict(plan, part);
    return !x || !y ? -1 : !as_one(x) && !as_one(y);
}

/* The definitions of R with the last one of P inlined, behind the others of P. NULL: *why. */
static Definition **inlined(Plan *plan, const Group *r, const Group *producer, const char **why) {
    int before = producer->count - 1;
    Definition **out = ARENA_ARRAY(plan->arena, Definition *, (size_t)(before + r->count));
    const Definition *p = producer->definitions[before];
    int root = root_of(plan, p->tensor);
    for (int i = 0; out && i < before; i++)
        out[i] = producer->definitions[i];
    for (int i = 0; out && i < r->count; i++) {
        Definition *d = r->definitions[i];
        if (reads_root(plan, d, root))
            d = rewrite_inline(plan->arena, &plan->rewrite, d, p, why);
        if (d && d->expr_count > LARGE_EXPRESSION)
            *why = "the expression would grow too large";
        if (!d || *why)
            return NULL;
        out[before + i] = d;
    }
    return out;
}

static void note_refused(Plan *plan, int p, int r, const char *why) {
    char label[512];
    if (!plan->explain)
        return;
    group_label(plan->groups[r], label, sizeof label);
    group_note(plan, plan->groups[p], "not joined with %s: %s", label, why ? why : "out of memory");
}

/* Puts P into all of its readers, or into none. 1: done, 0: not, -1: error. */
static int inline_into_readers(Plan *plan, int p) {
    Group *producer = plan->groups[p];
    PlanTensor *t = &plan->tensors[root_of(plan, last_of(producer)->tensor)];
    int count = t->reader_count, done = 0, taken = 1;
    for (int i = 0; i < count; i++)
        if (plan->groups[t->readers[i]]->node_count + producer->node_count > MANY_NODES) {
            note_refused(plan, p, t->readers[i], "a kernel has so many nodes at most");
            return 0;
        }
    int *readers = arena_copy(plan->arena, t->readers, (size_t)count * sizeof *readers);
    Group *before = ARENA_ARRAY(plan->arena, Group, (size_t)count);
    if (!readers || !before)
        return -1;
    for (; taken > 0 && done < count; done++) {
        Group *r = plan->groups[readers[done]];
        const char *why = NULL;
        Definition **definitions = inlined(plan, r, producer, &why);
        before[done] = *r;
        taken = definitions != NULL;
        if (definitions) {
            group_change(r, definitions, r->count + producer->count - 1);
            taken = is_taken(plan, r, &before[done], producer, &why);
        }
        if (taken == 0)
            note_refused(plan, p, readers[done], why);
    }
    for (int i = 0; taken <= 0 && i < done; i++)
        *plan->groups[readers[i]] = before[i];
    for (int i = 0; taken > 0 && i < count; i++) {
        Group *r = plan->groups[readers[i]];
        plan_drop_reader(plan, t->root, readers[i]);
        each_read(plan, r, readers[i], true);
        if (!group_take_nodes(plan, r, producer))
            return -1;
    }
    if (taken > 0 && producer->count > 1) { /* all its definitions are the reader's now */
        producer->gone = true;
        each_read(plan, producer, p, false);
    } else if (taken > 0) {
        drop_dead(plan, p);
    }
    return taken;
}

/* ---- Maps ---- */

/* May P be computed wherever R's definition d reads it? */
static bool may_inline(const Plan *plan, const Definition *p, const Definition *d, int root, const char **why) {
    bool inside = read_in_reduction(plan, d, root);
    if (inside && is_heavy(plan, d)) {
        if (!moves_only(p))
            *why = "a product would compute it again for every tile";
        return moves_only(p);
    }
    if (moves_only(p))
        return true;
    double times = volume(d, inside ? d->axis_count : d->parallel_count);
    if (times > (double)plan->tensors[p->tensor].count)
        *why = "it would be computed more often there";
    return *why == NULL;
}

/* Does it make bytes of what a product gives in 32 bits? That is an end: where several products meet, as in the sum of a
 * residual, each is stored as bytes rather than all but one as they are. */
static bool ends_product(const Plan *plan, const Definition *d) {
    for (int i = 0; i < d->expr_count && dtype_bits(d->value->type) == 8; i++) {
        const Expr *e = d->exprs[i];
        const PlanTensor *t = e->op == EXPR_READ ? &plan->tensors[root_of(plan, e->tensor)] : NULL;
        if (!t || dtype_bits(t->type) <= 8 || t->writer_count != 1)
            continue;
        const Group *writer = plan->groups[t->writer];
        if (!writer->gone && writer->step < 0 && writer->count > 0 && is_heavy(plan, last_of(writer)))
            return true;
    }
    return false;
}

/* Places that are read themselves. */
static bool gathers(const Definition *d) {
    for (int i = 0; i < d->expr_count; i++)
        if (expr_gathers(d->exprs[i]))
            return true;
    return false;
}

/* `early`: before reductions have found their epilogues, maps go into maps alone, and only to one reader. */
static bool may_inline_all(Plan *plan, int g, bool early) {
    const Group *p = plan->groups[g];
    const Definition *d = p->definitions[0];
    int root = root_of(plan, d->tensor);
    const PlanTensor *t = &plan->tensors[root];
    if (t->reader_count > 1 && !moves_only(d) && (early || work_of(d) > CHEAP_WORK || t->reader_count > 3))
        return false;
    if (early && ends_product(plan, d))
        return false;
    if (t->reader_count > 1 && gathers(d)) /* and no template of rows has it */
        return false;
    for (int i = 0; i < t->reader_count; i++) {
        Group *r = plan->groups[t->readers[i]];
        if (r->step >= 0 || has_empty(plan, r) || (early && !is_map(r)))
            return false;
        if (early && !moves_only(d) && moves_only(r->definitions[0]) && !keeps_direction(plan, r->definitions[0], root))
            return false; /* a transpose may yet go on to its own readers */
        for (int k = 0; k < r->count; k++) {
            const char *why = NULL;
            if (reads_root(plan, r->definitions[k], root) && !may_inline(plan, d, r->definitions[k], root, &why)) {
                note_refused(plan, g, t->readers[i], why);
                return false;
            }
        }
    }
    return true;
}

static bool fuse_maps(Plan *plan, bool early) {
    for (int g = 0; g < plan->group_count; g++) {
        Group *p = plan->groups[g];
        if (p->gone || !is_map(p) || p->partial || has_empty(plan, p))
            continue;
        const PlanTensor *t = &plan->tensors[root_of(plan, p->definitions[0]->tensor)];
        if (t->kept || t->writer_count != 1)
            continue;
        if (t->reader_count == 0)
            drop_dead(plan, g);
        else if (may_inline_all(plan, g, early) && inline_into_readers(plan, g) < 0)
            return false;
    }
    return true;
}

/* ---- Epilogues ---- */

/* A reduction, perhaps with definitions in front that only it reads. */
static bool is_reduction(const Plan *plan, int group) {
    const Group *g = plan->groups[group];
    if (g->gone || g->step >= 0 || g->partial || g->count < 1 || !reduces(last_of(g)) || has_empty(plan, g))
        return false;
    for (int i = 0; i < g->count - 1; i++) {
        const PlanTensor *t = &plan->tensors[root_of(plan, g->definitions[i]->tensor)];
        if (reduces(g->definitions[i]) || t->kept || t->reader_count != 1 || t->readers[0] != group)
            return false;
    }
    return true;
}

static int only_reader(const Plan *plan, const Group *p) {
    const PlanTensor *t = &plan->tensors[root_of(plan, last_of(p)->tensor)];
    return !t->kept && t->writer_count == 1 && t->reader_count == 1 ? t->readers[0] : -1;
}

static bool may_be_epilogue(Plan *plan, int p, int r) {
    const Definition *d = last_of(plan->groups[p]), *reader = plan->groups[r]->definitions[0];
    int root = root_of(plan, d->tensor);
    const char *why = NULL;
    if (volume(reader, reader->parallel_count) > (double)plan->tensors[root].count)
        why = "it would be computed more often there";
    else if (is_heavy(plan, d) && !keeps_direction(plan, reader, root))
        why = "it reads the result transposed, and products write along their columns";
    else if (is_heavy(plan, d) && unit_axis(plan, d) >= 0 && unit_axis(plan, reader) < 0)
        why = "the elements of the result would lie apart, and products write vectors";
    if (why)
        note_refused(plan, p, r, why);
    return why == NULL;
}

static bool fuse_epilogues(Plan *plan) {
    for (int g = plan->group_count - 1; g >= 0; g--) {
        int p = g;
        while (p >= 0) {
            int r = is_reduction(plan, p) ? only_reader(plan, plan->groups[p]) : -1;
            if (r < 0 || !is_map(plan->groups[r]) || has_empty(plan, plan->groups[r]) || !may_be_epilogue(plan, p, r))
                break;
            int taken = inline_into_readers(plan, p);
            if (taken < 0)
                return false;
            p = taken ? r : -1;
        }
    }
    return true;
}

/* What only scales, shifts or converts a product at its own place: by constants, and by what one element says. */
static bool finishes(const Plan *plan, const Definition *product, const Group *reader) {
    const Definition *d = reader->definitions[0];
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        const PlanTensor *t = e->op == EXPR_READ ? &plan->tensors[root_of(plan, e->tensor)] : NULL;
        if (t && e->tensor != product->tensor && !t->known && t->count > 1)
            return false;
        for (int k = 0; t && e->tensor == product->tensor && k < d->left_count; k++)
            if (e->guarded || !index_equals(d, &e->index[k], &d->left[k]))
                return false;
    }
    return work_of(d) <= CHEAP_WORK;
}

/* The map that finishes what the group makes; -1: none does. */
static int finisher(const Plan *plan, int group) {
    int r = only_reader(plan, plan->groups[group]);
    bool is = r >= 0 && is_map(plan->groups[r]) && !has_empty(plan, plan->groups[r]) &&
              finishes(plan, last_of(plan->groups[group]), plan->groups[r]);
    return is ? r : -1;
}

int plan_finished(const Plan *plan, int product) {
    int last = product;
    for (int r; (r = finisher(plan, last)) >= 0;)
        last = r;
    return last_of(plan->groups[last])->tensor;
}

bool plan_finish(Plan *plan, int product) {
    int taken = 1;
    for (int p = product, r; taken > 0 && is_reduction(plan, p) && (r = finisher(plan, p)) >= 0; p = r)
        taken = may_be_epilogue(plan, p, r) ? inline_into_readers(plan, p) : 0;
    return taken >= 0;
}

/* ---- Rows ---- */

/* One row by large weights: a template that packs them reads them faster, and by all threads. */
static bool packs_weights(Plan *plan, Group *g) {
    const Definition *d = last_of(g);
    bool large = false;
    for (int i = 0; reduces(d) && i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ) {
            const PlanTensor *t = &plan->tensors[root_of(plan, d->exprs[i]->tensor)];
            large |= t->constant && t->count > SMALL_VOLUME;
        }
    const Verdict *verdict = large ? group_verdict(plan, g) : NULL;
    return verdict && verdict->template && strcmp(verdict->template, "contract") == 0;
}

static bool may_be_row(Plan *plan, Group *g) {
    if (g->gone || g->step >= 0 || g->partial || g->count > ROWS_MOST || has_empty(plan, g))
        return false;
    for (int i = 0; i < g->count; i++)
        if (is_heavy(plan, g->definitions[i]))
            return false;
    return !packs_weights(plan, g);
}

static double most_volume(const Group *g) {
    double most = 0;
    for (int i = 0; i < g->count; i++) {
        double all = volume(g->definitions[i], g->definitions[i]->axis_count);
        most = all > most ? all : most;
    }
    return most;
}

typedef struct RowSet {
    int member[ROWS_MOST];
    int count, definitions;
    bool reduces;
    double rows, volume;     /* of its first member */
    double largest, besides; /* of the largest member, of all others together */
} RowSet;

static void add_member(const Plan *plan, RowSet *s, int g) {
    const Group *group = plan->groups[g];
    double all = most_volume(group);
    s->member[s->count++] = g;
    s->definitions += group->count;
    s->besides += all < s->largest ? all : s->largest;
    s->largest = all > s->largest ? all : s->largest;
    for (int i = 0; i < group->count; i++)
        if (reduces(group->definitions[i])) {
            double rows = volume(group->definitions[i], group->definitions[i]->parallel_count);
            s->rows = s->reduces && s->rows < rows ? s->rows : rows;
            s->reduces = true;
        }
}

/* The first group behind the last member that reads a member and walks as much. */
static int next_member(Plan *plan, const RowSet *s) {
    int next = -1, last = s->member[s->count - 1];
    for (int m = 0; m < s->count; m++) {
        const Group *g = plan->groups[s->member[m]];
        for (int i = 0; i < g->count; i++) {
            const PlanTensor *t = &plan->tensors[root_of(plan, g->definitions[i]->tensor)];
            for (int k = 0; t->writer_count == 1 && k < t->reader_count; k++) {
                int r = t->readers[k];
                if (r > last && (next < 0 || r < next) && may_be_row(plan, plan->groups[r]) &&
                    s->definitions + plan->groups[r]->count <= ROWS_MOST && most_volume(plan->groups[r]) <= s->volume)
                    next = r;
            }
        }
    }
    return next;
}

/* Whoever else reads a member comes after the last one. */
static bool in_order(const Plan *plan, const RowSet *s) {
    int last = s->member[s->count - 1];
    for (int m = 0; m < s->count; m++) {
        const Group *g = plan->groups[s->member[m]];
        for (int i = 0; i < g->count; i++) {
            const PlanTensor *t = &plan->tensors[root_of(plan, g->definitions[i]->tensor)];
            for (int k = 0; k < t->reader_count; k++) {
                bool member = false;
                for (int x = 0; x < s->count; x++)
                    member |= s->member[x] == t->readers[k];
                if (!member && t->readers[k] < last)
                    return false;
            }
        }
    }
    return true;
}

/* The axis that moves along a dimension with the largest step below `under`; -1: none does. */
static int next_digit(const Definition *d, const Index *index, int64_t under) {
    int best = -1;
    for (int a = 0; a < d->axis_count; a++)
        if (d->axes[a].extent > 1 && index->coef[a] > 0 && index->coef[a] < under &&
            (best < 0 || index->coef[a] > index->coef[best]))
            best = a;
    return best;
}

/* The axes that make up dimension `dim` of the left side as digits make up a number; 0: it is no such thing. */
static int find_digits(const Definition *d, int64_t extent, const Index *index, int *digit) {
    int count = 0;
    int64_t under = extent;
    for (int a; (a = next_digit(d, index, under)) >= 0 && count < WHET_MAX_RANK; count++) {
        if (index->coef[a] * d->axes[a].extent != under)
            return 0;
        under = index->coef[a];
        digit[count] = a;
    }
    return under == 1 && !index->offset ? count : 0;
}

/* `y[2*g:4 + r:2, j]` as y[g, r, j], over a view of y: so the heads that share keys are apart from those that do not. Itself, if
 * nothing of its left side is made up so. NULL: out of memory. */
static Definition *unfolded(Plan *plan, Definition *d) {
    int64_t dims[WHET_MAX_RANK];
    int axis[WHET_MAX_RANK], rank = 0;
    for (int i = 0; i < d->left_count; i++) {
        int digit[WHET_MAX_RANK] = {-1};
        int64_t extent = plan->tensors[d->tensor].dims[i];
        int count = extent > 1 ? find_digits(d, extent, &d->left[i], digit) : 1;
        if (!count || rank + count > WHET_MAX_RANK)
            return d;
        for (int k = 0; k < count; k++, rank++) {
            axis[rank] = digit[k];
            dims[rank] = digit[k] < 0 ? 1 : d->axes[digit[k]].extent;
        }
    }
    if (rank == d->left_count)
        return d;
    Definition *out = arena_copy(plan->arena, d, sizeof *d);
    int view = plan_view(plan, d->tensor, rank, dims, NULL);
    if (!out || view < 0 || !(out->left = ARENA_ARRAY(plan->arena, Index, (size_t)rank)))
        return NULL;
    for (int i = 0; i < rank; i++) {
        out->left[i] = (Index){.affine = true, .coef = ARENA_ARRAY(plan->arena, int64_t, KERNEL_MAX_AXES)};
        if (!out->left[i].coef)
            return NULL;
        if (axis[i] >= 0)
            out->left[i].coef[axis[i]] = 1;
    }
    out->left_count = rank;
    out->tensor = view;
    return out;
}

/* All definitions of the set; reads of members' views are brought to the members' own dims, and those are such that axes move
 * along one each, but for the last one's. NULL: *why. */
static Definition **row_definitions(Plan *plan, const RowSet *s, const char **why) {
    Definition **out = ARENA_ARRAY(plan->arena, Definition *, (size_t)s->definitions);
    int count = 0;
    for (int m = 0; out && m < s->count; m++) {
        const Group *g = plan->groups[s->member[m]];
        for (int i = 0; i < g->count; i++) {
            Definition *d = g->definitions[i];
            for (int j = 0; j < count; j++) {
                bool view = false, guarded = false;
                for (int k = 0; k < d->expr_count; k++) {
                    const Expr *e = d->exprs[k];
                    bool read = e->op == EXPR_READ && root_of(plan, e->tensor) == root_of(plan, out[j]->tensor);
                    view |= read && e->tensor != out[j]->tensor;
                    guarded |= read && e->guarded;
                }
                if (guarded) {
                    *why = "it is read outside of its range, where it has another value";
                    return NULL;
                }
                Definition *own = view ? plan_copy_of(plan, out[j]->tensor) : NULL;
                if (view && (!own || !(d = rewrite_inline(plan->arena, &plan->rewrite, d, own, why))))
                    return NULL;
            }
            bool last = m == s->count - 1 && i == g->count - 1;
            if (!last && !(d = unfolded(plan, d)))
                return NULL;
            out[count++] = d;
        }
    }
    return out;
}

/* As one kernel of the template. 1: joined, 0: refused, -1: error. */
static int join_rows(Plan *plan, const RowSet *s, const char *template) {
    const char *why = NULL;
    int last = s->member[s->count - 1];
    Group *to = plan->groups[last], before = *to;
    if (!in_order(plan, s))
        why = "what runs between them needs one and makes what the other needs";
    Definition **definitions = why ? NULL : row_definitions(plan, s, &why);
    if (definitions) {
        for (int m = 0; m < s->count - 1; m++) { /* so that what they make for each other is nobody else's */
            each_read(plan, plan->groups[s->member[m]], s->member[m], false);
            each_read(plan, plan->groups[s->member[m]], last, true);
        }
        group_change(to, definitions, s->definitions);
        const Verdict *verdict = group_verdict(plan, to);
        if (!verdict)
            return -1;
        if (verdict->template && strcmp(verdict->template, template) == 0) {
            for (int m = 0; m < s->count - 1; m++) {
                plan->groups[s->member[m]]->gone = true;
                if (!group_take_nodes(plan, to, plan->groups[s->member[m]]))
                    return -1;
            }
            return 1;
        }
        why = !verdict->template ? verdict->why
              : as_one(verdict)  ? arena_printf(plan->arena, "'%s' would run all, not '%s'", verdict->template, template)
                                 : in_stages(plan, verdict);
        each_read(plan, to, last, false);
        *to = before;
        for (int m = 0; m < s->count; m++)
            each_read(plan, plan->groups[s->member[m]], s->member[m], true);
    }
    note_refused(plan, s->member[0], last, why);
    return 0;
}

static bool fuse_rows(Plan *plan) {
    for (int g = 0; g < plan->group_count; g++) {
        if (!may_be_row(plan, plan->groups[g]))
            continue;
        RowSet s = {.volume = 0};
        add_member(plan, &s, g);
        s.volume = most_volume(plan->groups[g]);
        for (int next; s.count < ROWS_MOST && (next = next_member(plan, &s)) >= 0;)
            add_member(plan, &s, next);
        while (s.count > 1) {
            bool worth = s.reduces && (s.rows >= ROWS_ENOUGH || s.volume <= SMALL_VOLUME || s.besides <= SMALL_VOLUME);
            int joined = worth ? join_rows(plan, &s, "rows") : 0;
            if (joined < 0)
                return false;
            if (joined)
                break;
            RowSet fewer = {.volume = s.volume};
            for (int m = 0; m < s.count - 1; m++)
                add_member(plan, &fewer, s.member[m]);
            s = fewer;
        }
    }
    return true;
}

/* ---- Attention ---- */

/* The group that writes the tensor, if `reader` alone reads it; -1: there is none. */
static int sole_source(const Plan *plan, const int *writer, int tensor, int reader) {
    const PlanTensor *t = &plan->tensors[root_of(plan, tensor)];
    int w = writer[t->root];
    bool sole = w >= 0 && w != reader && !t->kept && t->writer_count == 1 && t->reader_count == 1 && t->readers[0] == reader;
    return sole && !plan->groups[w]->partial ? w : -1;
}

/* A group that makes what `reader` reads: a product of its own, or (`heavy` false) rows between products. */
static int source_of(Plan *plan, const int *writer, int reader, bool heavy) {
    const Group *g = plan->groups[reader];
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < g->definitions[i]->expr_count; k++) {
            const Expr *e = g->definitions[i]->exprs[k];
            int w = e->op == EXPR_READ ? sole_source(plan, writer, e->tensor, reader) : -1;
            if (w < 0 || plan->groups[w]->step >= 0)
                continue;
            if (heavy ? plan->groups[w]->count == 1 && is_heavy(plan, last_of(plan->groups[w]))
                      : may_be_row(plan, plan->groups[w]))
                return w;
        }
    return -1;
}

static bool fuse_attention(Plan *plan) {
    int *writer = ARENA_ARRAY(plan->arena, int, (size_t)plan->tensor_count);
    if (!writer)
        return error_memory(plan->err), false;
    for (int t = 0; t < plan->tensor_count; t++)
        writer[t] = -1;
    for (int g = 0; g < plan->group_count; g++)
        for (int i = 0; !plan->groups[g]->gone && i < plan->groups[g]->count; i++)
            writer[root_of(plan, plan->groups[g]->definitions[i]->tensor)] = g;
    for (int g = 0; g < plan->group_count; g++) {
        const Group *mix = plan->groups[g];
        if (mix->gone || mix->step >= 0 || mix->partial || mix->count != 1 || !is_heavy(plan, mix->definitions[0]))
            continue;
        int rows = source_of(plan, writer, g, false), scores = rows < 0 ? -1 : source_of(plan, writer, rows, true);
        if (scores < 0)
            continue;
        RowSet s = {0};
        add_member(plan, &s, scores);
        add_member(plan, &s, rows);
        add_member(plan, &s, g);
        if (s.definitions <= ROWS_MOST && join_rows(plan, &s, "attend") < 0)
            return false;
    }
    return true;
}

bool plan_fuse(Plan *plan) {
    for (int g = plan->group_count - 1; g >= 0; g--)
        drop_dead(plan, g);
    return plan_halve(plan) && plan_merge_products(plan) && fuse_maps(plan, true) && plan_join_parts(plan) &&
           plan_lift_halves(plan) && fuse_epilogues(plan) && fuse_maps(plan, false) && fuse_epilogues(plan) && fuse_rows(plan) &&
           fuse_attention(plan);
}
