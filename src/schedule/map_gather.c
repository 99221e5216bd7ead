/* Gathers: where the index of a read is itself computed.
 *
 * Offsets, in elements, are computed and checked before the pass: for all the axes that the indices depend on, and for no others,
 * so once a row where rows are gathered. The evaluator computes them, whatever the expression; the usual one,
 * ids[i] and select(ids[i] < 0, ids[i] + n, ids[i]) of integers, has a loop here. What depends on no data is computed once, when
 * compiling. */
#include "schedule/map.h"

#include <string.h>

/* The kernel, with memory of its own for one definition and `more` tensors; what it had to write is given now. NULL: no memory.
 */
static Kernel *one_definition(const Kernel *kernel, const Definition *d, int more, Arena *arena) {
    int count = kernel->tensor_count;
    Kernel *made = arena_copy(arena, kernel, sizeof *kernel);
    KernelTensor *tensors = ARENA_ARRAY(arena, KernelTensor, (size_t)count + (size_t)more);
    Definition *one = arena_copy(arena, d, sizeof *d);
    if (arena->failed)
        return NULL;
    memcpy(tensors, kernel->tensors, (size_t)count * sizeof *tensors);
    for (int t = 0; t < count; t++)
        if (tensors[t].role != ROLE_INPUT) { /* nobody writes it here; if it is read, it is given */
            tensors[t].role = ROLE_INPUT;
            tensors[t].count = 0;
        }
    made->tensors = tensors;
    made->definitions = one;
    made->definition_count = 1;
    return made;
}

/* A kernel that fills a tensor over the gather's axes with one index. */
static const Kernel *index_kernel(const MapPass *m, const MapGather *g, const Index *index, Arena *arena) {
    const Kernel *kernel = m->nest.kernel;
    const Definition *d = m->nest.definition;
    const Access *offsets = &m->nest.access[g->offsets];
    int count = kernel->tensor_count, rank = offsets->dense_count;
    Kernel *made = one_definition(kernel, d, 1, arena);
    Index *left = ARENA_ARRAY(arena, Index, (size_t)rank + 1);
    int64_t *dims = ARENA_ARRAY(arena, int64_t, (size_t)rank + 1);
    int64_t *coef = ARENA_ARRAY(arena, int64_t, (size_t)(rank + 1) * (size_t)d->axis_count + 1);
    Axis *axes = ARENA_ARRAY(arena, Axis, (size_t)d->axis_count + 1);
    if (arena->failed)
        return NULL;
    memcpy(axes, d->axes, (size_t)d->axis_count * sizeof *axes);
    for (int a = 0; a < d->parallel_count; a++)
        axes[a].extent = 1;
    for (int k = 0; k < rank; k++) {
        int axis = offsets->dense[rank - 1 - k];
        axes[axis].extent = dims[k] = d->axes[axis].extent;
        left[k] = (Index){.affine = true, .coef = coef + k * d->axis_count};
        left[k].coef[axis] = 1;
    }
    made->tensors[count] = (KernelTensor){
        .name = "index", .role = ROLE_OUTPUT, .type = index->expr->type, .rank = rank, .dims = dims, .count = g->total};
    made->definitions[0] = (Definition){.tensor = count,
                                        .left = left,
                                        .left_count = rank,
                                        .axes = axes,
                                        .axis_count = d->axis_count,
                                        .parallel_count = d->parallel_count,
                                        .value = index->expr,
                                        .exprs = d->exprs,
                                        .expr_count = d->expr_count};
    made->tensor_count = count + 1;
    return made;
}

/* Is there a read, also of an index, of what is not known? */
static bool reads_data(const Expr *expr, const void *const *known) {
    for (int k = 0; k < 3; k++)
        if (expr->arg[k] && reads_data(expr->arg[k], known))
            return true;
    for (int k = 0; expr->op == EXPR_READ && k < expr->index_count; k++)
        if (!expr->index[k].affine && reads_data(expr->index[k].expr, known))
            return true;
    return expr->op == EXPR_READ && !(known && known[expr->tensor]);
}

/* ---- what is known ---- */

static bool written_once(const Kernel *kernel, int tensor) {
    int count = 0;
    for (int i = 0; i < kernel->definition_count; i++)
        count += kernel->definitions[i].tensor == tensor;
    return count == 1;
}

/* Short ones: the evaluator computes them. */
static bool is_known(const Kernel *kernel, const Definition *d, const void *const *known) {
    enum { MOST = 1 << 14 };
    const KernelTensor *tensor = &kernel->tensors[d->tensor];
    return tensor->role == ROLE_TEMPORARY && tensor->count <= MOST && d->axis_count == d->parallel_count &&
           written_once(kernel, d->tensor) && !reads_data(d->value, known);
}

bool map_plan_known(MapPlan *plan, const Kernel *kernel, Arena *arena) {
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        whet_error err;
        void *all[KERNEL_MAX_TENSORS];
        if (!is_known(kernel, d, plan->known))
            continue;
        if (!plan->known)
            plan->known = ARENA_ARRAY(arena, const void *, (size_t)kernel->tensor_count);
        Kernel *alone = one_definition(kernel, d, 1, arena);
        void *data = arena_alloc(arena, (size_t)kernel->tensors[d->tensor].count + 1, 8);
        if (!plan->known || !alone || !data)
            return false;
        for (int t = 0; t < kernel->tensor_count; t++)
            all[t] = (void *)(uintptr_t)plan->known[t];
        alone->tensors[d->tensor] = kernel->tensors[d->tensor];
        alone->tensors[d->tensor].role = ROLE_OUTPUT;
        all[d->tensor] = data;
        if (kernel_eval(alone, all, NULL, &err) == WHET_OK)
            plan->known[d->tensor] = data;
    }
    return true;
}

/* ---- one index ---- */

static int64_t load_index(DType type, const char *data, int64_t at) {
    int64_t s64;
    int32_t s32;
    if (type == DT_S64)
        return memcpy(&s64, data + 8 * at, 8), s64;
    return memcpy(&s32, data + 4 * at, 4), s32;
}

/* select(x < 0, x + n, x), or x alone: then n is 0. NULL: something else. */
static const Expr *wrapped_read(const Expr *index, int64_t *n) {
    *n = 0;
    while (index->op == EXPR_CAST && index->type == DT_S64 && (index->arg[0]->type == DT_S32 || index->arg[0]->type == DT_S64))
        index = index->arg[0];
    if (index->op == EXPR_SELECT) {
        const Expr *test = index->arg[0], *sum = index->arg[1], *x = index->arg[2];
        bool usual = test->op == EXPR_LT && test->arg[0] == x && test->arg[1]->op == EXPR_NUMBER && !test->arg[1]->integer &&
                     sum->op == EXPR_ADD && sum->arg[0] == x && sum->arg[1]->op == EXPR_NUMBER;
        if (!usual)
            return NULL;
        *n = sum->arg[1]->integer;
        index = x;
    }
    bool fits = index->op == EXPR_READ && !index->guarded && (index->type == DT_S32 || index->type == DT_S64);
    for (int d = 0; fits && d < index->index_count; d++)
        fits = index->index[d].affine;
    return fits ? index : NULL;
}

/* Is the read dense over the gather's axes, as the offsets are? Then they are walked together. */
static bool walks_densely(const MapPass *m, const MapGather *g, const Expr *read, int64_t *first) {
    const Definition *d = m->nest.definition;
    const KernelTensor *tensor = &m->nest.kernel->tensors[read->tensor];
    const Access *offsets = &m->nest.access[g->offsets];
    int64_t stride[KERNEL_MAX_AXES] = {0}, step = 1, next = 1;
    *first = 0;
    for (int k = tensor->rank - 1; k >= 0; k--) {
        *first += read->index[k].offset * step;
        for (int a = 0; a < d->axis_count; a++)
            stride[a] += read->index[k].coef[a] * step;
        step *= tensor->dims[k];
    }
    for (int k = 0; k < offsets->dense_count; k++) {
        int axis = offsets->dense[k];
        if (d->axes[axis].extent != 1 && stride[axis] != next)
            return false;
        next *= d->axes[axis].extent;
    }
    return true;
}

static whet_status outside(const MapPass *m, const MapGather *g, int dim, int64_t index, whet_error *err) {
    const KernelTensor *tensor = &m->nest.kernel->tensors[m->nest.access[g->access].tensor];
    return error_set(err, WHET_ERROR_DATA, "index %lld is outside dimension %d of '%s', which is %lld long", (long long)index,
                     dim, tensor->name, (long long)tensor->dims[dim]);
}

static void add_offset(const MapGather *g, void *out, int64_t at, int64_t offset, bool first) {
    if (g->lanes)
        ((int32_t *)out)[at] = (int32_t)(offset + (first ? 0 : ((int32_t *)out)[at]));
    else
        ((int64_t *)out)[at] = offset + (first ? 0 : ((int64_t *)out)[at]);
}

typedef struct Indices { /* of one dimension */
    const char *data;
    DType type;
    int64_t wrap; /* is added to what is negative */
    int64_t stride, extent;
    int dim;
    bool first;
} Indices;

static whet_status add_indices(const MapPass *m, const MapGather *g, const Indices *x, int64_t begin, void *out,
                               whet_error *err) {
    for (int64_t i = begin; i < g->total; i++) {
        int64_t index = load_index(x->type, x->data, i);
        index = index < 0 ? (int64_t)((uint64_t)index + (uint64_t)x->wrap) : index;
        if (x->type == DT_S32)
            index = (int32_t)(uint32_t)(uint64_t)index;
        if (index < 0 || index >= x->extent)
            return outside(m, g, x->dim, index, err);
        add_offset(g, out, i, index * x->stride, x->first);
    }
    return WHET_OK;
}

/* As many as make whole vectors; 0 where one of them is outside, which is then looked for one by one. */
static int64_t run_code(const Compiled *c, const MapGather *g, int function, const Indices *x, void *out) {
    int lanes = c->target.bytes / 4;
    uint32_t bad[2][VECTOR_MAX_BYTES / 4] = {{0}};
    int64_t arguments[] = {(int64_t)(intptr_t)x->data, (int64_t)(intptr_t)out, (int64_t)(intptr_t)bad, g->total / lanes};
    if (g->total < lanes)
        return 0;
    schedule_call(c, function, arguments);
    for (int l = 0; l < lanes; l++)
        if (bad[0][l] || bad[1][l] >> 31)
            return 0;
    return g->total / lanes * lanes;
}

static whet_status add_dimension(const Compiled *c, const MapPass *m, const MapGather *g, int dim, void *const *data,
                                 const EvalOptions *options, Indices x, void *out, whet_error *err) {
    const Expr *read = m->nest.access[g->access].read;
    int64_t first;
    const Expr *plain = wrapped_read(read->index[dim].expr, &x.wrap);
    if (plain && walks_densely(m, g, plain, &first)) {
        x.type = plain->type;
        x.data = (const char *)data[plain->tensor] + first * map_bytes(x.type);
        int64_t done = c && g->function[dim] >= 0 ? run_code(c, g, g->function[dim], &x, out) : 0;
        return add_indices(m, g, &x, done, out, err);
    }
    const Kernel *kernel = g->index[dim];
    const EvalOptions none = {0};
    options = options ? options : &none;
    size_t bytes = (size_t)g->total * 8 + 8;
    void *all[KERNEL_MAX_TENSORS + 1] = {0}, *memory = memory_alloc(options->allocator, bytes);
    if (!memory)
        return error_memory(err);
    for (int t = 0; t + 1 < kernel->tensor_count; t++)
        all[t] = data ? data[t] : NULL;
    all[kernel->tensor_count - 1] = memory;
    whet_status status = kernel_eval(kernel, all, options, err);
    x.data = memory;
    x.type = read->index[dim].expr->type;
    x.wrap = 0;
    if (!status)
        status = add_indices(m, g, &x, 0, out, err);
    memory_free(options->allocator, memory, bytes);
    return status;
}

whet_status map_offsets(const Compiled *c, const MapPass *m, const MapGather *g, void *const *data, const EvalOptions *options,
                        void *out, whet_error *err) {
    const Expr *read = m->nest.access[g->access].read;
    const KernelTensor *tensor = &m->nest.kernel->tensors[read->tensor];
    Indices x = {.stride = 1, .first = true};
    int64_t stride = 1;
    for (int k = tensor->rank - 1; k >= 0; k--) {
        x.stride = stride;
        x.extent = tensor->dims[k];
        x.dim = k;
        stride *= tensor->dims[k];
        if (!g->index[k])
            continue;
        whet_status status = add_dimension(c, m, g, k, data, options, x, out, err);
        if (status)
            return status;
        x.first = false;
    }
    return WHET_OK;
}

/* ---- indices as vector code ---- */

/* The lower halves of numbers of 64 bits; *upper gets what is wrong with the others: 0 where they are copies of the sign. */
static int load_indices(VectorFunction *f, DType type, VectorAddress at, int *upper) {
    int x = vector_load(f, DT_S32, DT_S32, at, -1);
    if (type == DT_S32)
        return x;
    int y = vector_load(f, DT_S32, DT_S32, vector_offset(at, f->bytes), -1);
    int low = vector_binary(f, VECTOR_EVEN, x, y), high = vector_binary(f, VECTOR_ODD, x, y);
    *upper = vector_binary(f, VECTOR_OR, *upper, vector_binary(f, VECTOR_XOR, high, vector_immediate(f, VECTOR_SAR, low, 31)));
    return low;
}

/* Parameters: indices, offsets, where what is wrong goes, vectors. An index is inside if neither it nor extent - 1 less it is
 * negative. */
static const VectorFunction *emit_indices(Arena *arena, const Target *target, const Indices *x, whet_error *err) {
    VectorFunction *f = schedule_function(arena, "map_offsets", target);
    if (!f)
        return error_memory(err), NULL;
    int from = vector_parameter(f, CLASS_POINTER, "x0"), to = vector_parameter(f, CLASS_POINTER, "y1");
    int wrong = vector_parameter(f, CLASS_POINTER, "bad"), vectors = vector_parameter(f, CLASS_INDEX, "vectors");
    int zero = vector_const(f, DT_S32, 0), initial[] = {zero, zero}, bad[2], after[2];
    int v = vector_loop(f, vectors, 0, 1, initial, bad, 2);
    VectorAddress at = vector_plus(vector_at(from, 0), v, f->bytes * (x->type == DT_S64 ? 2 : 1));
    VectorAddress out = vector_plus(vector_at(to, 0), v, f->bytes);
    int index = load_indices(f, x->type, at, &bad[0]);
    if (x->wrap) {
        int sign = vector_immediate(f, VECTOR_SAR, index, 31), wrap = vector_const(f, DT_S32, (double)x->wrap);
        index = vector_binary(f, VECTOR_ADD, index, vector_binary(f, VECTOR_AND, sign, wrap));
    }
    int rest = vector_binary(f, VECTOR_SUB, vector_const(f, DT_S32, (double)(x->extent - 1)), index);
    bad[1] = vector_binary(f, VECTOR_OR, bad[1], vector_binary(f, VECTOR_OR, index, rest));
    if (x->stride != 1)
        index = vector_binary(f, VECTOR_MUL, index, vector_const(f, DT_S32, (double)x->stride));
    if (!x->first)
        index = vector_binary(f, VECTOR_ADD, index, vector_load(f, DT_S32, DT_S32, out, -1));
    vector_store(f, DT_S32, index, out, -1);
    vector_end(f, bad, after);
    for (int k = 0; k < 2; k++)
        vector_store(f, DT_S32, after[k], vector_at(wrong, k * VECTOR_MAX_BYTES), -1);
    return vector_finish(f, err) ? f : NULL;
}

/* Of one gather whose offsets differ between columns. */
static bool emit_gather(const MapPass *m, MapGather *g, Compiled *c, whet_error *err) {
    const Expr *read = m->nest.access[g->access].read;
    const KernelTensor *tensor = &m->nest.kernel->tensors[read->tensor];
    Indices x = {.stride = 1, .first = true};
    int64_t stride = 1, ignored;
    for (int k = tensor->rank - 1; k >= 0; k--) {
        const Expr *plain = g->index[k] ? wrapped_read(read->index[k].expr, &x.wrap) : NULL;
        x.stride = stride;
        x.extent = tensor->dims[k];
        stride *= tensor->dims[k];
        g->function[k] = -1;
        if (plain && walks_densely(m, g, plain, &ignored) && x.wrap >= 0 && x.wrap <= INT32_MAX) {
            x.type = plain->type;
            g->function[k] = c->function_count;
            c->functions[c->function_count] = emit_indices(c->vectors, &c->target, &x, err);
            if (!c->functions[c->function_count++])
                return false;
        }
        x.first = x.first && !g->index[k];
    }
    return true;
}

bool map_emit_offsets(MapPass *m, Compiled *c, whet_error *err) {
    enum { LEAST = 256 };
    for (int i = 0; i < m->gather_count; i++) {
        MapGather *g = &m->gathers[i];
        bool many = g->lanes && !g->fixed && g->total >= LEAST;
        for (int k = 0; k < m->nest.access[g->access].read->index_count; k++)
            g->function[k] = -1;
        if (many && !emit_gather(m, g, c, err))
            return false;
    }
    return true;
}

/* ---- planning ---- */

static bool plan_gather(MapPass *m, int access, int which, const void *const *known, Arena *arena, const char **why,
                        whet_error *err) {
    const int64_t most = INT64_C(1) << 48, most_kept = 1 << 26; /* the latter are kept with the code, whatever a run may take */
    const Access *a = &m->nest.access[access], *offsets = &m->nest.access[which];
    MapGather *g = &m->gathers[m->gather_count++];
    *g = (MapGather){.access = access, .offsets = which, .total = 1, .fixed = true};
    const Definition *d = m->nest.definition;
    for (int k = 0; k < offsets->dense_count; k++)
        g->total *= d->axes[offsets->dense[k]].extent;
    g->lanes = map_column_stride(m, which) != 0;
    m->nest.access[which].type = g->lanes ? DT_S32 : DT_S64;
    if (g->lanes && (m->nest.kernel->tensors[a->tensor].count > INT32_MAX / 8 || map_column_stride(m, which) != 1))
        *why = "a gather along the lanes of a tensor of more than 2^28 elements";
    g->index = ARENA_ARRAY(arena, const Kernel *, (size_t)a->read->index_count + 1);
    g->function = ARENA_ARRAY(arena, int, (size_t)a->read->index_count + 1);
    if (*why || !g->index || !g->function)
        return false;
    for (int k = 0; k < a->read->index_count; k++) {
        const Index *index = &a->read->index[k];
        if (!(offsets->dims >> k & 1))
            continue;
        if (index->expr->type != DT_S64 && index->expr->type != DT_S32) {
            *why = "a gather by indices that are not of s32 or s64";
            return false;
        }
        g->fixed = g->fixed && !reads_data(index->expr, known);
        g->index[k] = index_kernel(m, g, index, arena);
        if (!g->index[k])
            return false;
    }
    if (g->total > (g->fixed ? most_kept : most)) {
        *why = g->fixed ? "a gather by more than 2^26 offsets that no data changes" : "a gather by more than 2^48 offsets";
        return false;
    }
    if (!g->fixed) {
        g->place = m->table_bytes;
        m->table_bytes += (g->total + 1) * 8;
        return true;
    }
    void *table = arena_alloc(arena, (size_t)g->total + 1, g->lanes ? 4 : 8);
    whet_error mine;
    error_clear(&mine);
    whet_status status = table ? map_offsets(NULL, m, g, (void *const *)(uintptr_t)known, NULL, table, &mine) : error_memory(err);
    g->table = table;
    if (status == WHET_ERROR_DATA)
        *why = "a gather that leaves its tensor"; /* the evaluator says where */
    else if (status && table)
        error_memory(err);
    return !status;
}

static bool plan_numbers(MapPass *m, Arena *arena, const char **why) {
    enum { MOST = 1 << 20 };
    int64_t most = 0;
    for (int i = 0; i < m->nest.access_count; i++)
        if (m->nest.access[i].source == ACCESS_NUMBERS) {
            int64_t extent = m->nest.definition->axes[m->nest.access[i].read->axis].extent;
            most = extent > most ? extent : most;
        }
    if (most > MOST) {
        *why = "an axis used as a number that is longer than 2^20";
        return false;
    }
    if (!most)
        return true;
    int32_t *numbers = ARENA_ARRAY(arena, int32_t, (size_t)most + 1);
    for (int64_t i = 0; numbers && i < most; i++)
        numbers[i] = (int32_t)i;
    m->numbers = numbers;
    return numbers != NULL;
}

static bool is_planned(const MapPass *m, int offsets) {
    for (int g = 0; g < m->gather_count; g++)
        if (m->gathers[g].offsets == offsets)
            return true;
    return false;
}

bool map_plan_gathers(MapPass *m, const void *const *known, Arena *arena, const char **why, whet_error *err) {
    for (int i = 1; i < m->nest.access_count; i++)
        for (int k = 0; k < 2; k++)
            if (m->nest.access[i].offsets[k] && !is_planned(m, m->nest.access[i].offsets[k]) &&
                !plan_gather(m, i, m->nest.access[i].offsets[k], known, arena, why, err))
                return arena->failed ? (error_memory(err), false) : false;
    if (!plan_numbers(m, arena, why))
        return arena->failed ? (error_memory(err), false) : false;
    return true;
}
