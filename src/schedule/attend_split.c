/* Takes an attention kernel apart: the definition whose sum is queries times keys, the last one, whose sum is weights times
 * values, and the rows between them, which become a kernel of their own. There the first sum is a tensor that is read, and the
 * weights, with what else the result reads, are outputs.
 *
 * Definitions of inputs alone, without reductions, are computed where they are read. */
#include "schedule/attend.h"

#include <string.h>

int attend_source(const Attend *t, int tensor) {
    for (int i = 0; i < ATTEND_MAX_DEFINITIONS && t->definition[i].definition; i++)
        if (t->definition[i].here && t->definition[i].definition->tensor == tensor)
            return i;
    return -1;
}

/* ---- which definition is what ---- */

int attend_definition_of(const Kernel *kernel, int tensor) {
    for (int i = 0; i < kernel->definition_count; i++)
        if (kernel->definitions[i].tensor == tensor)
            return i;
    return -1;
}

static bool is_product(const Expr *e) {
    return e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && e->axis_count == 1 && e->arg[0]->op == EXPR_MUL &&
           e->arg[0]->type == DT_F32;
}

/* The only sum of a product, if there is one. */
static const Expr *product_of(const Definition *d) {
    const Expr *found = NULL;
    for (int i = 0; i < d->expr_count; i++)
        if (is_product(d->exprs[i])) {
            if (found)
                return NULL;
            found = d->exprs[i];
        }
    return found;
}

static bool reduces(const Definition *d) {
    return d->axis_count > d->parallel_count;
}

/* Reads of an expression reach no definition that reduces. */
static bool from_inputs(const Kernel *kernel, const Expr *e, int *left) {
    if ((*left)-- <= 0 || e->op == EXPR_REDUCE)
        return false;
    int source = e->op == EXPR_READ ? attend_definition_of(kernel, e->tensor) : -1;
    if (source >= 0)
        return !reduces(&kernel->definitions[source]) && from_inputs(kernel, kernel->definitions[source].value, left);
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !from_inputs(kernel, e->arg[i], left))
            return false;
    return true;
}

static bool depends_on_inputs(const Kernel *kernel, const Expr *e) {
    int left = 100;
    return from_inputs(kernel, e, &left);
}

static int find_first(const Kernel *kernel) {
    for (int i = 0; i < kernel->definition_count - 1; i++) {
        const Expr *product = product_of(&kernel->definitions[i]);
        if (product && depends_on_inputs(kernel, product->arg[0]))
            return i;
    }
    return -1;
}

/* ---- the kernel of the rows ---- */

static Expr *copy_expr(AttendCopy *c, const Expr *e) {
    if (c->made[e->id])
        return c->made[e->id];
    Expr *to = ARENA_NEW(c->arena, Expr);
    if (!to)
        return NULL;
    *to = *e;
    if (e == c->cut) {
        *to = (Expr){.op = EXPR_READ, .type = e->type, .tensor = c->tensor};
        to->index = c->from->left;
        to->index_count = c->from->left_count;
    }
    for (int i = 0; i < 3; i++)
        if (to->arg[i] && !(to->arg[i] = copy_expr(c, to->arg[i])))
            return NULL;
    to->id = c->to->expr_count;
    c->to->exprs[c->to->expr_count++] = to;
    return c->made[e->id] = to;
}

bool attend_copy_definition(AttendCopy *c, const Expr *value) {
    enum { ROOM = 4 }; /* for expressions around the value */
    size_t count = (size_t)c->from->expr_count + ROOM;
    *c->to = *c->from;
    c->made = ARENA_ARRAY(c->arena, Expr *, count);
    c->to->exprs = ARENA_ARRAY(c->arena, Expr *, count);
    c->to->expr_count = 0;
    return c->made && c->to->exprs && (c->to->value = copy_expr(c, value)) != NULL;
}

int attend_add_tensor(Kernel *k, const char *name, Role role, const KernelTensor *like) {
    KernelTensor *tensor = &k->tensors[k->tensor_count];
    *tensor = *like;
    tensor->name = name;
    tensor->type = DT_F32;
    tensor->role = role;
    return k->tensor_count++;
}

/* The scores: the first definition, its sum read from a tensor. */
static bool add_scores(Attend *t, const Definition *first, Arena *arena) {
    Kernel *k = &t->rows_kernel;
    t->scores = attend_add_tensor(k, "scores", ROLE_INPUT, &k->tensors[first->tensor]);
    AttendCopy c = {
        .arena = arena, .from = first, .to = &k->definitions[k->definition_count++], .cut = t->dot, .tensor = t->scores};
    if (!attend_copy_definition(&c, first->value))
        return false;
    c.to->axis_count = first->parallel_count;
    return true;
}

/* A sum over the keys that the result spells out: a definition of its own, of the result's rows. */
static bool add_row_sum(Attend *t, const Definition *result, const Expr *reduce, int width, Arena *arena) {
    Kernel *k = &t->rows_kernel;
    Definition *d = &k->definitions[k->definition_count++];
    int rank = result->parallel_count - (width >= 0), n = 0;
    KernelTensor like = {.rank = rank, .dims = ARENA_ARRAY(arena, int64_t, (size_t)rank + 1), .count = 1};
    AttendCopy c = {.arena = arena, .from = result, .to = d};
    if (!like.dims || !attend_copy_definition(&c, reduce))
        return false;
    d->left = ARENA_ARRAY(arena, Index, (size_t)rank + 1);
    d->axes = ARENA_ARRAY(arena, Axis, (size_t)result->axis_count + 1);
    if (!d->left || !d->axes)
        return false;
    memcpy(d->axes, result->axes, (size_t)result->axis_count * sizeof *d->axes);
    if (width >= 0)
        d->axes[width].extent = 1;
    for (int a = 0; a < result->parallel_count; a++) {
        if (a == width)
            continue;
        d->left[n] = (Index){.affine = true, .coef = ARENA_ARRAY(arena, int64_t, (size_t)result->axis_count + 1)};
        if (!d->left[n].coef)
            return false;
        d->left[n].coef[a] = 1;
        like.dims[n++] = result->axes[a].extent;
        like.count *= result->axes[a].extent;
    }
    d->left_count = rank;
    d->tensor = attend_add_tensor(k, "sum", ROLE_OUTPUT, &like);
    t->value[t->value_count++] = (AttendRowValue){.tensor = d->tensor, .reduce = reduce};
    return true;
}

/* ---- what the result reads ---- */

/* The axis of the result that the weights do not have; -1: none; -2: several. */
static int find_width(const Definition *result, const Expr *weights) {
    int width = -1;
    for (int a = 0; a < result->parallel_count; a++) {
        bool read = result->axes[a].extent == 1;
        for (int i = 0; i < weights->index_count; i++)
            read = read || (weights->index[i].affine && weights->index[i].coef[a]);
        if (!read && width >= 0)
            return -2;
        width = read ? width : a;
    }
    return width;
}

/* A value that another definition gives a row. */
static bool add_row_read(Attend *t, const Expr *read, const char **why) {
    for (int i = 0; i < t->value_count; i++)
        if (!t->value[i].reduce && t->value[i].tensor == read->tensor)
            return true;
    if (t->value_count == ATTEND_MAX_ROW_VALUES || read->type != DT_F32 || read->guarded) {
        *why = "more values of rows than attention takes";
        return false;
    }
    t->rows_kernel.tensors[read->tensor].role = ROLE_OUTPUT;
    t->value[t->value_count++] = (AttendRowValue){.tensor = read->tensor};
    return true;
}

/* Those that sums are divided by. */
static bool add_divisor_reads(Attend *t, const Expr *e, const char **why) {
    if (e->op == EXPR_READ)
        return add_row_read(t, e, why);
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !add_divisor_reads(t, e->arg[i], why))
            return false;
    return true;
}

static bool add_divisor_values(Attend *t, const Kernel *kernel, const char **why) {
    return t->divided < 0 || add_divisor_reads(t, kernel->definitions[t->divided].value->arg[1], why);
}

static bool add_row_values(Attend *t, const Definition *result, const Expr *weights, Arena *arena, const char **why) {
    const Kernel *kernel = t->rows->nest.kernel;
    int width = find_width(result, weights);
    if (width < -1) {
        *why = "a result with more than one axis of its own";
        return false;
    }
    for (int i = 0; i < result->expr_count; i++) {
        const Expr *e = result->exprs[i];
        bool sum = e->op == EXPR_REDUCE && e != t->mix;
        int source = e->op == EXPR_READ && e->tensor != t->multiplied ? attend_definition_of(kernel, e->tensor) : -1;
        bool row = source >= 0 && attend_source(t, e->tensor) < 0;
        if (row && !add_row_read(t, e, why))
            return false;
        if (sum && t->value_count == ATTEND_MAX_ROW_VALUES)
            *why = "more values of rows than attention takes";
        if (sum && (*why || !add_row_sum(t, result, e, width, arena)))
            return false;
    }
    return true;
}

/* The read of a factor that is the weights; NULL: it is not. */
static const Expr *weights_of(const Kernel *kernel, const Expr *e) {
    if (e->op == EXPR_CAST && (e->arg[0]->type == DT_F16 || e->arg[0]->type == DT_BF16))
        e = e->arg[0];
    bool fits = e->type == DT_F32 || e->type == DT_F16 || e->type == DT_BF16;
    return e->op == EXPR_READ && fits && !e->guarded && !depends_on_inputs(kernel, e) ? e : NULL;
}

static bool set_factors(Attend *t, const Kernel *kernel, const char **why) {
    const Expr *product = t->mix->arg[0];
    int weights = -1;
    for (int i = 0; i < 2; i++)
        if (weights_of(kernel, product->arg[i]) && depends_on_inputs(kernel, product->arg[1 - i]))
            weights = i;
    if (weights < 0) {
        *why = "weights that are no definition of floats";
        return false;
    }
    t->weights_read = weights_of(kernel, product->arg[weights]);
    t->weights_type = t->weights_read->type;
    t->weights = t->multiplied = t->weights_read->tensor;
    t->values = (AttendFactor){.definition = t->result, .expr = product->arg[1 - weights], .access = -1};
    t->query = (AttendFactor){.definition = t->first, .expr = t->dot->arg[0]->arg[0], .access = -1};
    t->key = (AttendFactor){.definition = t->first, .expr = t->dot->arg[0]->arg[1], .access = -1};
    return true;
}

/* Definitions that no output of the rows needs go: what only the products read. */
static void drop_unread(Kernel *k) {
    bool wanted[ATTEND_MAX_DEFINITIONS] = {false};
    int kept = 0;
    for (int i = k->definition_count - 1; i >= 0; i--) {
        wanted[i] = wanted[i] || k->tensors[k->definitions[i].tensor].role == ROLE_OUTPUT;
        for (int n = 0; wanted[i] && n < k->definitions[i].expr_count; n++) {
            const Expr *e = k->definitions[i].exprs[n];
            for (int j = 0; j < i && e->op == EXPR_READ; j++)
                wanted[j] = wanted[j] || k->definitions[j].tensor == e->tensor;
        }
    }
    for (int i = 0; i < k->definition_count; i++)
        if (wanted[i])
            k->definitions[kept++] = k->definitions[i];
    k->definition_count = kept;
}

/* ---- the whole ---- */

static bool check(const Kernel *kernel, const char **why) {
    if (kernel->definition_count < 3)
        *why = "fewer definitions than attention has";
    else if (kernel->definition_count > ROWS_MAX_DEFINITIONS)
        *why = "more definitions than attention takes";
    for (int i = 0; !*why && i < kernel->definition_count; i++) {
        bool last = i == kernel->definition_count - 1;
        if ((kernel->tensors[kernel->definitions[i].tensor].role == ROLE_OUTPUT) != last)
            *why = "outputs besides the result";
        if (attend_definition_of(kernel, kernel->definitions[i].tensor) != i)
            *why = "a tensor that several definitions write";
    }
    return *why == NULL;
}

bool attend_split(Attend *t, const Kernel *kernel, Arena *arena, const char **why) {
    if (!check(kernel, why))
        return false;
    int last = kernel->definition_count - 1;
    t->first = find_first(kernel);
    t->result = last;
    t->mix = product_of(&kernel->definitions[last]);
    if (t->first < 0 || !t->mix) {
        *why = "no two products";
        return false;
    }
    t->dot = product_of(&kernel->definitions[t->first]);
    t->rows->nest.kernel = kernel;
    if (!set_factors(t, kernel, why) || !attend_find_division(t, kernel, arena))
        return false;
    Kernel *k = &t->rows_kernel;
    *k = *kernel;
    k->tensors = ARENA_ARRAY(arena, KernelTensor, (size_t)kernel->tensor_count + 4 + ATTEND_MAX_ROW_VALUES);
    k->definitions = ARENA_ARRAY(arena, Definition, (size_t)kernel->definition_count + 2 + ATTEND_MAX_ROW_VALUES);
    if (!k->tensors || !k->definitions)
        return false;
    memcpy(k->tensors, kernel->tensors, (size_t)kernel->tensor_count * sizeof *k->tensors);
    k->definition_count = 0;
    for (int i = 0; i <= last; i++) {
        const Definition *d = &kernel->definitions[i];
        t->definition[i] = (AttendDefinition){
            .definition = d, .here = i != last && i != t->first && !reduces(d) && depends_on_inputs(kernel, d->value)};
        if (i == t->first && !add_scores(t, d, arena))
            return false;
        if (i != t->first && i != last)
            k->definitions[k->definition_count++] = *d;
    }
    k->tensors[t->weights].role = ROLE_OUTPUT;
    if (!add_divisor_values(t, kernel, why) || !add_row_values(t, &kernel->definitions[last], t->weights_read, arena, why))
        return false;
    attend_find_maximum(t, kernel);
    drop_unread(k);
    return true;
}
