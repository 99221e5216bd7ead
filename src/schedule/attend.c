/* Attention: y = softmax(q k^T ...) v without the scores ever being whole in memory. For a block of queries of one head
 *
 *     scores[i, t]  = sum(d) q[i, d] * k[d, t]       a product, keys packed once a head
 *     weights[i, t] = ...                            the rows between, by the code of the row template: masks, scale, softmax
 *     y[i, e]       = f(sum(t) weights[i, t] * v[t, e])
 *
 * scores and weights of a block lie in L1 or L2. Where the rows between are a softmax, keys come in blocks too
 * (attend_softmax.c); otherwise whole rows are kept. attend_split.c takes the kernel apart; this file finds its axes and cuts
 * blocks. */
#include "schedule/attend.h"
#include "schedule/cost.h"

#include <string.h>

/* ---- axes ---- */

static int rows_item(const Attend *t, int tensor) {
    return rows_source(t->rows, tensor);
}

/* The first definition is one of the rows', but for the depth. */
static void map_first(Attend *t, const Kernel *kernel) {
    AttendDefinition *first = &t->definition[t->first];
    const RowDefinition *item = &t->rows->item[rows_item(t, kernel->definitions[t->first].tensor)];
    for (int a = 0; a < KERNEL_MAX_AXES; a++)
        first->map[a] = a < first->definition->parallel_count ? item->map[a] : -1;
    first->map[t->dot->axes[0]] = t->depth_axis;
}

/* The result's axes, by how it reads the weights. */
static bool map_result(Attend *t, const char **why) {
    AttendDefinition *result = &t->definition[t->result];
    const Definition *d = result->definition;
    const Expr *weights = t->weights_read;
    const RowDefinition *item = &t->rows->item[rows_item(t, t->weights)];
    for (int a = 0; a < KERNEL_MAX_AXES; a++)
        result->map[a] = -1;
    for (int i = 0; i < weights->index_count; i++) {
        int mine = index_plain_axis(item->definition, &item->definition->left[i]),
            theirs = index_plain_axis(d, &weights->index[i]);
        if (mine >= 0 ? item->definition->axes[mine].extent == 1 : mine == -1)
            continue; /* a dimension of one element */
        if (mine < 0 || theirs < 0) {
            *why = "weights that are read at other rows than their own";
            return false;
        }
        result->map[theirs] = item->map[mine];
    }
    for (int a = 0; a < d->parallel_count; a++)
        if (result->map[a] < 0 && d->axes[a].extent != 1)
            result->map[a] = t->width_axis;
    int summed = t->mix->axes[0];
    bool one = d->axes[summed].extent == 1 && t->nest.axis[t->key_axis].extent == 1; /* axes of one element are not tied */
    if (result->map[summed] != t->key_axis && !one) {
        *why = "a sum over something else than the keys";
        return false;
    }
    return true;
}

/* A definition that is computed where it is read stands at its reader's axes. */
static bool map_source(Attend *t, int source, const AttendDefinition *reader, const Expr *read, const char **why) {
    AttendDefinition *item = &t->definition[source];
    for (int a = 0; a < KERNEL_MAX_AXES; a++)
        item->map[a] = -1;
    for (int i = 0; i < read->index_count; i++) {
        int mine = index_plain_axis(item->definition, &item->definition->left[i]),
            theirs = index_plain_axis(reader->definition, &read->index[i]);
        if (mine >= 0 && item->definition->axes[mine].extent == 1)
            continue;
        if (mine < 0 || theirs < 0) {
            *why = "an operand that is read at other places than its own";
            return false;
        }
        item->map[mine] = reader->map[theirs];
    }
    return true;
}

/* Reads below an expression, those of definitions computed there too. */
static bool add_reads(Attend *t, int definition, const Expr *e, const char **why) {
    const AttendDefinition *at = &t->definition[definition];
    if (e->op == EXPR_AXIS || e->op == EXPR_REDUCE) {
        *why = "an axis used as a number";
        return false;
    }
    for (int i = 0; i < 3 && e->op != EXPR_READ; i++)
        if (e->arg[i] && !add_reads(t, definition, e->arg[i], why))
            return false;
    if (e->op != EXPR_READ || nest_find(&t->nest, e) >= 0)
        return true;
    int source = attend_source(t, e->tensor);
    if (source >= 0)
        return map_source(t, source, at, e, why) && add_reads(t, source, t->definition[source].definition->value, why);
    if (!nest_add(&t->nest, at->definition, at->map, e, why))
        return false;
    const Access *access = &t->nest.access[t->nest.access_count - 1];
    if (access->guard_count)
        *why = "a guarded read";
    else if (dtype_bits(access->type) > 32 || dtype_bits(access->type) < 8)
        *why = "an element type of other than 8 to 32 bits";
    return *why == NULL;
}

/* What the result reads besides the product and values of rows. */
static bool add_result_reads(Attend *t, const Expr *e, const char **why) {
    if (e == t->mix)
        return true;
    for (int i = 0; i < t->value_count; i++)
        if (e == t->value[i].reduce || (!t->value[i].reduce && e->op == EXPR_READ && e->tensor == t->value[i].tensor))
            return true;
    if (e->op == EXPR_READ || e->op == EXPR_AXIS)
        return add_reads(t, t->result, e, why);
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !add_result_reads(t, e->arg[i], why))
            return false;
    return true;
}

static bool moves(const Attend *t, int from, int to, int axis) {
    for (int i = from; i < to; i++)
        if (t->nest.access[i].stride[axis])
            return true;
    return false;
}

/* The longest axis that keys and values do not know, the heads they know, and the others. */
static void sort_axes(Attend *t) {
    t->query_axis = -1;
    for (int x = 0; x < t->rows->nest.axis_count; x++)
        if (x != t->key_axis && t->nest.axis[x].extent != 1 && !moves(t, t->query_end, t->values_end, x) &&
            (t->query_axis < 0 || t->nest.axis[x].extent > t->nest.axis[t->query_axis].extent))
            t->query_axis = x;
    t->heads = t->shared = 1;
    for (int x = 0; x < t->rows->nest.axis_count; x++) {
        if (x == t->key_axis || x == t->query_axis || t->nest.axis[x].extent == 1)
            continue;
        if (moves(t, t->query_end, t->values_end, x)) {
            t->outer[t->outer_count++] = x;
            t->heads *= t->nest.axis[x].extent;
        } else {
            t->inner[t->inner_count++] = x;
            t->shared *= t->nest.axis[x].extent;
        }
    }
    t->queries = t->query_axis < 0 ? 1 : t->nest.axis[t->query_axis].extent;
    t->keys = t->nest.axis[t->key_axis].extent;
}

/* The query's accesses first, then the key's, then the values', then the result's. Of the factors of the first sum the key is
 * the one that moves along the keys. */
static bool add_accesses(Attend *t, const char **why) {
    if (!add_reads(t, t->first, t->query.expr, why))
        return false;
    if (moves(t, 0, t->nest.access_count, t->key_axis)) {
        AttendFactor other = t->query;
        t->query = t->key;
        t->key = other;
        t->nest.access_count = 0;
        if (!add_reads(t, t->first, t->query.expr, why))
            return false;
    }
    t->query_end = t->nest.access_count;
    if (!add_reads(t, t->first, t->key.expr, why))
        return false;
    t->key_end = t->nest.access_count;
    if (!add_reads(t, t->result, t->values.expr, why))
        return false;
    t->values_end = t->write = t->nest.access_count;
    if (moves(t, 0, t->query_end, t->key_axis)) {
        *why = "queries that depend on keys";
        return false;
    }
    const AttendDefinition *result = &t->definition[t->result];
    return nest_add(&t->nest, result->definition, result->map, NULL, why) && add_result_reads(t, result->definition->value, why);
}

static bool find_axes(Attend *t, const Kernel *kernel, const char **why) {
    const Nest *rows = &t->rows->nest;
    t->key_axis = -1;
    for (int x = 0; x < rows->axis_count; x++)
        if (rows->axis[x].reduced) {
            if (t->key_axis >= 0)
                *why = "more than one axis of keys";
            t->key_axis = x;
        }
    if (t->key_axis < 0 || rows->axis_count + 2 > NEST_MAX_AXES)
        *why = "no axis of keys";
    if (*why)
        return false;
    t->depth_axis = rows->axis_count;
    t->width_axis = rows->axis_count + 1;
    t->nest.kernel = kernel;
    memcpy(t->nest.axis, rows->axis, sizeof t->nest.axis);
    t->nest.axis_count = rows->axis_count + 2;
    map_first(t, kernel);
    if (!map_result(t, why))
        return false;
    const Definition *first = t->definition[t->first].definition, *result = t->definition[t->result].definition;
    t->depth = first->axes[t->dot->axes[0]].extent;
    t->width = 1;
    for (int a = 0; a < result->parallel_count; a++)
        if (t->definition[t->result].map[a] == t->width_axis)
            t->width = result->axes[a].extent;
    t->nest.axis[t->depth_axis] = (NestAxis){t->depth, true};
    t->nest.axis[t->width_axis] = (NestAxis){t->width, false};
    if (!add_accesses(t, why))
        return false;
    sort_axes(t);
    return true;
}

/* ---- factors ---- */

/* Reads along an axis that are neither contiguous nor still. */
static int strided(const Attend *t, int from, int to, int axis) {
    int count = 0;
    for (int i = from; i < to; i++)
        count += t->nest.access[i].stride[axis] != 0 && t->nest.access[i].stride[axis] != 1;
    return count;
}

static void set_factor(Attend *t, AttendFactor *f, int from, int to, int lanes, int rows) {
    f->from = from;
    f->end = to;
    f->lanes = lanes;
    f->rows = rows;
    f->turned = rows >= 0 && strided(t, from, to, lanes) && !strided(t, from, to, rows);
    f->whole = f->part = -1;
    f->group = 1;
}

/* bf16 as it lies, contiguous along `axis`. */
static bool lies_in_halves(const Attend *t, const AttendFactor *f, int axis) {
    const Access *a = &t->nest.access[f->from];
    bool half = f->expr->op == EXPR_CAST && f->expr->type == DT_F32 && f->expr->arg[0]->type == DT_BF16;
    return half && f->end == f->from + 1 && a->read == f->expr->arg[0] && !a->read->guarded && a->stride[axis] == 1;
}

/* Where all is bf16 and the machine multiplies pairs of it: of depth, where queries and keys have them side by side, and of keys.
 */
static void set_pairs(Attend *t, const Target *target) {
    if (!target->dot2)
        return;
    if (lies_in_halves(t, &t->query, t->depth_axis) && lies_in_halves(t, &t->key, t->depth_axis) && t->key.turned &&
        t->depth % 2 == 0) {
        t->query.group = t->key.group = 2;
        t->query.access = 0;
    }
    if (t->weights_type == DT_BF16 && lies_in_halves(t, &t->values, t->width_axis) && !t->values.turned)
        t->values.group = 2;
}

static void set_factors(Attend *t) {
    set_factor(t, &t->query, 0, t->query_end, t->depth_axis, t->query_axis);
    set_factor(t, &t->key, t->query_end, t->key_end, t->key_axis, t->depth_axis);
    set_factor(t, &t->values, t->key_end, t->values_end, t->width_axis, t->key_axis);
    t->query.turned = false; /* gathered at worst: it is read once a key and depth */
    if (t->query_end == 1 && t->query.expr->op == EXPR_READ && t->nest.access[0].type == DT_F32 &&
        t->nest.access[0].read == t->query.expr)
        t->query.access = 0;
}

/* Bytes from row to row of what is packed as it lies, each row in one piece; 0: it is something else. */
static int64_t row_bytes(const Attend *t, const AttendFactor *f, int along, int rows, int *lines) {
    enum { LINE = 64, MOST = 8 };
    const Access *a = &t->nest.access[f->from];
    int64_t size = dtype_bits(a->type) / 8, row = t->nest.axis[along].extent * size, step = a->stride[rows] * size;
    if (f->end != f->from + 1 || a->stride[along] != 1 || step < row || row > MOST * LINE)
        return 0;
    *lines = (int)((row + LINE - 1) / LINE);
    return step;
}

/* Keys and values of a head are packed in less time than they take from far away, so that those of the next head are fetched
 * meanwhile. */
static void set_ahead(Attend *t) {
    int keys = 0, values = 0;
    int64_t step = row_bytes(t, &t->key, t->depth_axis, t->key_axis, &keys);
    if (t->heads > 1 && step == row_bytes(t, &t->values, t->width_axis, t->key_axis, &values))
        t->ahead_step = step;
    t->ahead_lines = keys > values ? keys : values;
}

static bool check(const Attend *t, const char **why) {
    const Access *write = &t->nest.access[t->write];
    if (t->queries == 0 || t->keys == 0 || t->depth == 0 || t->width == 0 || t->heads == 0 || t->shared == 0)
        *why = "nothing to do";
    else if (t->width > 1 && write->stride[t->width_axis] != 1)
        *why = "a result that is not contiguous along its width";
    else if (t->queries * t->heads * t->shared * t->width != t->nest.kernel->tensors[write->tensor].count)
        *why = "a result that is written in parts";
    else if (dtype_bits(write->type) > 32 || dtype_bits(write->type) < 8)
        *why = "an element type of other than 8 to 32 bits";
    return *why == NULL;
}

/* ---- blocks ---- */

/* So many queries that their scores and weights stay in L2 beside the packed keys, and that heads make enough tasks. What code is
 * made for does not depend on how many keys there are, up to a block. A pitch of no power of two spreads rows over L1's sets. */
static void set_blocks(Attend *t) {
    enum { MOST = 32, FLOATS = 1 << 16 };
    t->tile_rows = 4;
    t->key_blocks = t->before < 0 ? 1 : (t->keys + t->key_block - 1) / t->key_block;
    if (t->key_blocks == 1 && t->keys > t->key_block)
        t->key_block = round_up(t->keys, (int64_t)t->tile_vectors * t->lanes);
    t->pitch = t->key_block + t->lanes;
    t->block = least(MOST, FLOATS / (2 * t->pitch)) / t->tile_rows * t->tile_rows;
    t->block = t->block < t->tile_rows ? t->tile_rows : t->block;
    t->slot = round_up(t->block, VECTOR_MAX_BYTES / 4);
    t->panels = (t->keys + t->tile_vectors * t->lanes - 1) / (t->tile_vectors * t->lanes);
    t->value_pitch = round_up(t->width, t->lanes);
    t->width_panels = t->width / (t->tile_vectors * t->lanes);
    t->divides = true;
    const Definition *result = t->definition[t->result].definition;
    for (int i = 0; i < result->expr_count; i++) {
        ExprOp op = result->exprs[i]->op;
        bool whole = op == EXPR_CAST && dtype_kind(result->exprs[i]->type) != KIND_FLOAT;
        if (whole || (op >= EXPR_EQ && op <= EXPR_GE) || (op >= EXPR_FLOOR && op <= EXPR_ROUND))
            t->divides = false;
    }
}

/* Which of the slots a tensor of the rows has; -1: none. */
static int slot_of(const Attend *t, int tensor) {
    for (int v = 0; v < t->value_count; v++)
        if (tensor == t->value[v].tensor)
            return ATTEND_HERE + v;
    if (t->before < 0)
        return -1;
    return tensor == t->top ? ATTEND_TOP : tensor == t->before ? ATTEND_BEFORE : tensor == t->factor ? ATTEND_FACTOR : -1;
}

/* What the rows' code reads and writes of ours is in scratch: rows at a pitch, or one element a row. */
static void place_rows(Attend *t) {
    Nest *nest = &t->rows->nest;
    for (int i = 0; i < nest->access_count; i++) {
        Access *access = &nest->access[i];
        bool cells = access->tensor == t->scores || access->tensor == t->weights;
        int slot = slot_of(t, access->tensor);
        if (!cells && slot < 0)
            continue;
        memset(access->stride, 0, sizeof access->stride);
        access->offset = cells ? 0 : slot * t->slot;
        access->tensor = cells ? access->tensor : ATTEND_ROW_VALUES;
        if (t->query_axis >= 0)
            access->stride[t->query_axis] = cells ? t->pitch : 1;
        if (cells)
            access->stride[t->key_axis] = 1;
    }
    t->rows->fixed = true;
    t->rows->counted = t->key_block;
    t->rows->row_axis = t->query_axis;
}

static void attend_print(const Compiled *c, Text *out) {
    const Attend *t = c->state;
    text_printf(
        out,
        "attend %lld heads, shared by %lld: %lld queries x %lld keys, depth %lld, width %lld: %lld queries at once, tiles of "
        "%d x %d, query %s, key %s, values %s%s\n",
        (long long)t->heads, (long long)t->shared, (long long)t->queries, (long long)t->keys, (long long)t->depth,
        (long long)t->width, (long long)t->block, t->tile_rows, t->tile_vectors * t->lanes,
        t->query.access >= 0 ? "as it lies" : "packed", t->key.turned ? "turned" : "packed",
        t->values.turned ? "turned" : "packed",
        t->key.group > 1 && t->values.group > 1   ? ", pairs of bf16"
        : t->key.group > 1 || t->values.group > 1 ? ", one product of pairs of bf16"
                                                  : "");
}

static int64_t keys_of(const Attend *t) {
    return t->definition[t->result].definition->axes[t->mix->axes[0]].extent;
}

/* Hidden keys are left out block by block. */
static bool comes_in_blocks(const Attend *t) {
    int64_t panel = (int64_t)t->tile_vectors * t->lanes;
    return t->merges && keys_of(t) > (t->hidden.tensor < 0 ? t->key_block : panel);
}

/* ---- code ---- */

static void put_access(const Attend *t, int access, Compiled *c) {
    const Access *a = &t->nest.access[access];
    const int64_t of[] = {a->source, a->tensor, a->type, a->offset, a->guard_count};
    recall_put(c, of, sizeof of);
    recall_put_expr(c, a->read);
    const int axes[] = {t->query_axis, t->key_axis, t->depth_axis, t->width_axis};
    for (size_t i = 0; i < COUNT(axes); i++)
        recall_put_number(c, axes[i] < 0 ? 0 : a->stride[axes[i]]);
}

static void put_factor(const Attend *t, const AttendFactor *f, Compiled *c) {
    recall_put_expr(c, f->expr);
    RECALL_PUT_FIELDS(c, f, access, together);
    recall_put_number(c, f->definition);
    if (f->rows == t->key_axis && f->turned) /* code goes through them by itself */
        recall_put_number(c, t->keys);
}

/* All that functions have in common: of lengths of queries and keys and of heads nothing. attend_emit.c has what each has for
 * itself. */
static void put_plan(const Attend *t, Compiled *c) {
    if (!rows_put_plan(t->rows, c))
        return;
    recall_put_kernel(c, &t->rows_kernel);
    for (int i = 0; i < t->nest.access_count; i++)
        put_access(t, i, c);
    for (int i = 0; i < ATTEND_MAX_DEFINITIONS && t->definition[i].definition; i++) {
        recall_put_definition(c, t->definition[i].definition);
        recall_put_number(c, t->definition[i].here);
        recall_put(c, t->definition[i].map, sizeof t->definition[i].map);
    }
    for (int i = 0; i < t->value_count; i++) {
        recall_put_number(c, t->value[i].tensor);
        recall_put_expr(c, t->value[i].reduce);
    }
    RECALL_PUT_FIELDS(c, t, value_count, hidden);
    recall_put_number(c, t->hidden.tensor >= 0);
    RECALL_PUT_FIELDS(c, t, first, dot);
    recall_put_expr(c, t->dot);
    recall_put_expr(c, t->mix);
    recall_put_expr(c, t->weights_read);
    recall_put_number(c, t->weights_type);
    put_factor(t, &t->query, c);
    put_factor(t, &t->key, c);
    put_factor(t, &t->values, c);
    RECALL_PUT_FIELDS(c, t, query_end, outer);
    const int64_t of[] = {t->rows_function, t->scores,     t->weights,    t->multiplied,  t->depth,
                          t->width,         t->key_block,  t->pitch,      t->value_pitch, t->width_panels,
                          t->divides,       t->ahead_step, t->ahead_lines};
    recall_put(c, of, sizeof of);
    RECALL_PUT_FIELDS(c, t, lanes, block);
}

static bool make_functions(Attend *t, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    if (recall_begin(c, options, "attend"))
        put_plan(t, c);
    return rows_make(t->rows, c, why, err) && attend_emit(t, c, why, err);
}

bool schedule_attend(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Attend *t = NEST_PLAN(&c->arena, Attend);
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, ATTEND_MAX_FUNCTIONS);
    if (!t || !c->functions || !(t->rows = NEST_PLAN(&c->arena, Rows)))
        return error_memory(err), false;
    t->lanes = c->target.bytes / 4;
    t->tile_vectors = c->target.registers[CLASS_VECTOR] >= 32 ? 4 : 2;
    t->key_block = options->kc ? round_up(options->kc, (int64_t)t->tile_vectors * t->lanes) : cost_attend_keys(&c->target);
    if (!attend_split(t, c->kernel, &c->arena, why) || (comes_in_blocks(t) && !attend_merge(t, &c->arena))) {
        if (!*why)
            error_memory(err);
        return false;
    }
    const void **known = ARENA_ARRAY(&c->arena, const void *, (size_t)t->rows_kernel.tensor_count + 1);
    if (!known)
        return error_memory(err), false;
    if (options->constant)
        memcpy(known, options->constant, (size_t)c->kernel->tensor_count * sizeof *known);
    t->known = t->rows->known = known;
    if (!rows_recognize(t->rows, &t->rows_kernel, why) || !find_axes(t, c->kernel, why) || !check(t, why))
        return false;
    attend_map_hidden(t);
    set_factors(t);
    set_pairs(t, &c->target);
    set_ahead(t);
    set_blocks(t);
    place_rows(t);
    t->rows_function = c->function_count;
    if (!rows_prepare(t->rows, c, options, why, err) || !make_functions(t, c, options, why, err))
        return false;
    c->template = "attend";
    c->state = t;
    c->run = attend_run;
    c->print = attend_print;
    return true;
}
