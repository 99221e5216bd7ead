/* What lies between the two products, where it is a softmax, however it is spelled:
 *
 *     top = max(j) x    e = exp(x - f(top))    total = sum(j) e    weights = e, or e / g(total)
 *
 * The division is left to the end: it is one of the result's elements instead of one of the weights'. And as sums of exponentials
 * below one maximum become those below another by a factor, keys can be taken a block at a time (Milakov and Gimelshein's online
 * softmax):
 *
 *     top' = max(top, max(j) x)    factor = exp(f(top) - f(top'))    e = exp(x - f(top'))
 *     total' = total * factor + sum(j) e      result' = result * factor + sum(j) e * v
 *
 * The maximum starts from the least finite number, not from -inf: a block of keys that are all masked then gives weights of zero.
 */
#include "schedule/attend.h"

/* ---- the division ---- */

/* Reads nothing but values of one a row. */
static bool of_rows(const Kernel *kernel, const Expr *e) {
    if (e->op == EXPR_AXIS || e->op == EXPR_REDUCE || e->type == DT_S64)
        return false;
    if (e->op == EXPR_READ) {
        int source = attend_definition_of(kernel, e->tensor);
        bool sum = source >= 0 && kernel->definitions[source].value->op == EXPR_REDUCE;
        return sum && e->type == DT_F32 && !e->guarded;
    }
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !of_rows(kernel, e->arg[i]))
            return false;
    return true;
}

/* `read`, in definition `d`, walks its tensor as `d` its own, and so does the definition of it. */
static bool same_place(const Definition *d, const Expr *read, const Definition *source) {
    if (read->guarded || read->index_count != d->left_count || source->left_count != d->left_count)
        return false;
    for (int i = 0; i < d->left_count; i++) {
        int mine = index_plain_axis(d, &d->left[i]), theirs = index_plain_axis(source, &source->left[i]);
        int64_t extent = mine < 0 ? 1 : d->axes[mine].extent, other = theirs < 0 ? 1 : source->axes[theirs].extent;
        if (mine < -1 || theirs < -1 || extent != other || index_plain_axis(d, &read->index[i]) != mine)
            return false;
    }
    return true;
}

bool attend_find_division(Attend *t, const Kernel *kernel, Arena *arena) {
    int at = attend_definition_of(kernel, t->weights);
    const Definition *weights = &kernel->definitions[at];
    const Expr *value = weights->value;
    t->divided = -1;
    if (t->weights_type != DT_F32 || value->op != EXPR_DIV || value->type != DT_F32 || value->arg[0]->op != EXPR_READ)
        return true;
    int source = attend_definition_of(kernel, value->arg[0]->tensor);
    if (source < 0 || kernel->definitions[source].value->type != DT_F32 ||
        !same_place(weights, value->arg[0], &kernel->definitions[source]) || !of_rows(kernel, value->arg[1]))
        return true;
    Expr *read = ARENA_NEW(arena, Expr);
    if (!read)
        return false;
    *read = *t->weights_read;
    read->tensor = t->weights = value->arg[0]->tensor;
    t->weights_read = read;
    t->divided = at;
    return true;
}

/* ---- the maximum ---- */

static bool is_sum_of(const Expr *e, int tensor) {
    return e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && e->arg[0]->op == EXPR_READ && e->arg[0]->tensor == tensor &&
           !e->arg[0]->guarded;
}

/* The only tensor that an expression reads, if it does nothing else; -1: it does, or reads several. */
static int only_tensor(const Expr *e, int found) {
    if (e->op == EXPR_READ)
        return e->guarded || e->type != DT_F32 || (found >= 0 && found != e->tensor) ? -2 : e->tensor;
    if (e->op == EXPR_AXIS || e->op == EXPR_REDUCE)
        return -2;
    for (int i = 0; i < 3 && found != -2; i++)
        if (e->arg[i])
            found = only_tensor(e->arg[i], found);
    return found;
}

static const Definition *exponentials(const Attend *t, const Kernel *kernel) {
    const Definition *e = &kernel->definitions[attend_definition_of(kernel, t->weights)];
    bool fits = t->weights_type == DT_F32 && e->value->op == EXPR_EXP && e->value->arg[0]->op == EXPR_SUB;
    return fits ? e : NULL;
}

/* ---- hidden keys ---- */

/* An integer expression as a sum of axes. */
static bool add_linear(const Expr *e, int64_t times, AttendHidden *to) {
    if (e->op == EXPR_AXIS) {
        to->coef[e->axis] += times;
        return true;
    }
    if (e->op == EXPR_NUMBER && dtype_kind(e->type) == KIND_SIGNED && e->integer > -INT32_MAX && e->integer < INT32_MAX) {
        to->offset += times * e->integer;
        return true;
    }
    bool sum = e->op == EXPR_ADD || e->op == EXPR_SUB;
    return sum && add_linear(e->arg[0], times, to) && add_linear(e->arg[1], e->op == EXPR_SUB ? -times : times, to);
}

/* A comparison that is `holds` where the expression it gives is above zero. */
static bool above_zero(const Expr *e, bool holds, AttendHidden *to) {
    ExprOp op = e->op;
    if (op < EXPR_EQ || op > EXPR_GE || dtype_kind(e->arg[0]->type) != KIND_SIGNED)
        return false;
    bool greater = (op == EXPR_GT || op == EXPR_GE) == holds, or_equal = (op == EXPR_LE || op == EXPR_GE) == holds;
    if (op == EXPR_EQ || op == EXPR_NE)
        return false;
    *to = (AttendHidden){.tensor = -1, .offset = or_equal};
    return add_linear(e->arg[0], greater ? 1 : -1, to) && add_linear(e->arg[1], greater ? -1 : 1, to);
}

/* One of the conditions under which a score is seen. */
static bool find_condition(const Expr *e, AttendHidden *to) {
    if (e->op == EXPR_AND)
        return find_condition(e->arg[0], to) || find_condition(e->arg[1], to);
    return above_zero(e, false, to);
}

/* exp(select(seen, score, number) - ...): the number has a weight of zero beside any score that is much larger. */
static void find_hidden(Attend *t, const Kernel *kernel, const Definition *d) {
    const double LOW = -1e30;
    const Expr *x = d->value->arg[0]->arg[0];
    for (int source; x->op == EXPR_READ && !x->guarded && (source = attend_definition_of(kernel, x->tensor)) >= 0;) {
        d = &kernel->definitions[source];
        x = d->value;
    }
    if (x->op != EXPR_SELECT)
        return;
    AttendHidden hidden;
    for (int i = 1; i < 3; i++)
        if (x->arg[i]->op == EXPR_NUMBER && x->arg[i]->number <= LOW &&
            (i == 2 ? find_condition(x->arg[0], &hidden) : above_zero(x->arg[0], true, &hidden))) {
            t->hidden = hidden;
            t->hidden.tensor = d->tensor;
            t->hidden.score = x->arg[i]->number;
        }
}

void attend_map_hidden(Attend *t) {
    AttendHidden *h = &t->hidden;
    int source = t->before < 0 || h->tensor < 0 ? -1 : rows_source(t->rows, h->tensor);
    const RowDefinition *item = source < 0 ? NULL : &t->rows->item[source];
    for (int a = 0; item && a < item->definition->axis_count; a++) {
        int axis = item->map[a];
        if (!h->coef[a] || item->definition->axes[a].extent == 1)
            continue;
        if (axis != t->key_axis && (axis != t->query_axis || axis < 0))
            item = NULL;
        else
            *(axis == t->key_axis ? &h->key : &h->query) += h->coef[a];
    }
    if (!item || h->key <= 0)
        h->tensor = -1;
}

/* ---- what it takes ---- */

void attend_find_maximum(Attend *t, const Kernel *kernel) {
    const Definition *e = exponentials(t, kernel);
    t->top = t->before = t->factor = t->hidden.tensor = -1;
    int top = e ? only_tensor(e->value->arg[0]->arg[1], -1) : -1, at = top < 0 ? -1 : attend_definition_of(kernel, top);
    const Expr *most = at < 0 ? NULL : kernel->definitions[at].value;
    if (!most || most->op != EXPR_REDUCE || most->reduce != REDUCE_MAX || most->type != DT_F32 || t->value_count == 0)
        return;
    for (int i = 0; i < t->value_count; i++) {
        const Expr *sum = t->value[i].reduce;
        if (!is_sum_of(sum ? sum : kernel->definitions[attend_definition_of(kernel, t->value[i].tensor)].value, t->weights))
            return;
    }
    t->merges = true;
    t->top = top;
    find_hidden(t, kernel, &kernel->definitions[attend_definition_of(kernel, t->weights)]);
    t->rows->nan_summed = true; /* by all values there are */
}

/* ---- blocks of keys ---- */

static Expr *add_expr(AttendCopy *c, const Expr *e) {
    Expr *to = arena_copy(c->arena, e, sizeof *e);
    if (!to)
        return NULL;
    to->id = c->to->expr_count;
    return c->to->exprs[c->to->expr_count++] = to;
}

static Expr *add_read(AttendCopy *c, int tensor) {
    return add_expr(
        c,
        &(Expr){.op = EXPR_READ, .type = DT_F32, .tensor = tensor, .index = c->from->left, .index_count = c->from->left_count});
}

static Expr *add_pair(AttendCopy *c, ExprOp op, Expr *a, Expr *b) {
    return a ? add_expr(c, &(Expr){.op = op, .type = DT_F32, .arg = {a, b}}) : NULL;
}

/* f(tensor), where f(top) is what exponents are taken below. */
static Expr *add_level(AttendCopy *c, const Expr *level, int tensor) {
    Expr to = *level;
    if (level->op == EXPR_READ)
        return add_read(c, tensor);
    for (int i = 0; i < 3; i++)
        if (level->arg[i] && !(to.arg[i] = add_level(c, level->arg[i], tensor)))
            return NULL;
    return add_expr(c, &to);
}

bool attend_merge(Attend *t, Arena *arena) {
    Kernel *k = &t->rows_kernel;
    int at = attend_definition_of(k, t->top);
    Definition from = k->definitions[at];
    const Expr *level = k->definitions[attend_definition_of(k, t->weights)].value->arg[0]->arg[1];
    int room = 2 * k->definitions[attend_definition_of(k, t->weights)].expr_count + 4;
    t->before = attend_add_tensor(k, "before", ROLE_INPUT, &k->tensors[t->top]);
    t->factor = attend_add_tensor(k, "factor", ROLE_OUTPUT, &k->tensors[t->top]);
    k->tensors[t->top].role = ROLE_OUTPUT;
    AttendCopy c = {.arena = arena, .from = &from, .to = &k->definitions[at], .tensor = -1};
    if (!attend_copy_definition(&c, from.value))
        return false;
    Expr *before = add_read(&c, t->before);
    if (!before || !(c.to->value = add_pair(&c, EXPR_MAX, c.to->value, before)))
        return false;
    for (int i = k->definition_count++; i > at + 1; i--)
        k->definitions[i] = k->definitions[i - 1];
    c.to = &k->definitions[at + 1];
    *c.to = from;
    c.to->tensor = t->factor;
    c.to->axis_count = from.parallel_count;
    c.to->expr_count = 0;
    c.to->exprs = ARENA_ARRAY(arena, Expr *, (size_t)room + 4);
    Expr *old = c.to->exprs ? add_level(&c, level, t->before) : NULL, *now = old ? add_level(&c, level, t->top) : NULL;
    Expr *less = now ? add_pair(&c, EXPR_SUB, old, now) : NULL;
    c.to->value = less ? add_pair(&c, EXPR_EXP, less, NULL) : NULL;
    return c.to->value != NULL;
}
