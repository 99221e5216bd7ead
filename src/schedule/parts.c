/* Kernels of several definitions that no template takes as a whole: each definition, or as many of them as one template takes,
 * is a kernel of its own, and they run one after the other. Definitions that do not read each other are "parts": that is what a
 * transposed convolution is (a definition a phase), or a concatenation. Where they do, what lies between them is written to
 * memory: "stages", the last resort.
 *
 * All parts' functions lie in one piece of code; a part knows where its own begin. Parts that pack the same constant share one
 * packing, one behind the other; a constant that another part would pack besides is read as it lies. */
#include "kernel/rewrite.h"
#include "schedule/schedule.h"

#include <stdlib.h>
#include <string.h>

enum { PACKING_ALIGNMENT = 64 };

typedef struct Parts {
    Compiled *part;
    size_t *offset, *piece; /* of a part's packing: bytes before it, pieces before it */
    int count;
    bool single;                      /* each definition is a part */
    bool clear[KERNEL_MAX_TENSORS];   /* what parts write, with elements that none does */
    bool between[KERNEL_MAX_TENSORS]; /* temporaries that one part writes and another reads */
    size_t place[KERNEL_MAX_TENSORS]; /* where they are, */
    size_t bytes;                     /* of so many */
} Parts;

/* ---- what is written ---- */

static void range_of(const Definition *d, const Index *index, int64_t *least, int64_t *most, int64_t *step) {
    *least = *most = index->offset;
    for (int a = 0; a < d->axis_count; a++) {
        int64_t reach = index->coef[a] * (d->axes[a].extent - 1);
        *(reach < 0 ? least : most) += reach;
        *step = common_divisor(*step, index->coef[a]);
    }
}

/* In some dimension their ranges are apart, or their offsets within a common step: elements that both write there are none. */
static bool apart(const Definition *d, const Definition *e) {
    for (int k = 0; k < d->left_count; k++) {
        int64_t least[2], most[2], step = 0;
        range_of(d, &d->left[k], &least[0], &most[0], &step);
        range_of(e, &e->left[k], &least[1], &most[1], &step);
        if (most[0] < least[1] || most[1] < least[0] || (step && (d->left[k].offset - e->left[k].offset) % step != 0))
            return true;
    }
    return false;
}

/* No definition writes an element twice, so those that are pairwise apart cover a tensor if they write as many as it has. */
static bool covered(const Kernel *kernel, int tensor) {
    int64_t left = kernel->tensors[tensor].count;
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        int64_t writes = 1;
        if (d->tensor != tensor)
            continue;
        for (int a = 0; a < d->parallel_count; a++)
            writes *= d->axes[a].extent; /* no more than the tensor has */
        left -= writes;
        for (int j = 0; j < i; j++)
            if (kernel->definitions[j].tensor == tensor && !apart(d, &kernel->definitions[j]))
                return false;
    }
    return left == 0;
}

static bool reads_own(const Kernel *kernel) {
    for (int i = 0; i < kernel->definition_count; i++)
        for (int e = 0; e < kernel->definitions[i].expr_count; e++) {
            const Expr *expr = kernel->definitions[i].exprs[e];
            if (expr->op == EXPR_READ && kernel->tensors[expr->tensor].role != ROLE_INPUT)
                return true;
        }
    return false;
}

bool schedule_has_parts(const Kernel *kernel) {
    return kernel->definition_count > 1;
}

/* ---- making ---- */

static bool reads(const Definition *d, int tensor) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && d->exprs[i]->tensor == tensor)
            return true;
    return false;
}

/* What definitions behind `end` read of it is an output of a part. */
static Role role_of(const Kernel *whole, int tensor, int first, int end) {
    bool written = false, later = false;
    if (whole->tensors[tensor].role != ROLE_TEMPORARY && whole->tensors[tensor].role != ROLE_OUTPUT)
        return ROLE_INPUT;
    for (int i = 0; i < whole->definition_count; i++) {
        written = written || (i >= first && i < end && whole->definitions[i].tensor == tensor);
        later = later || (i >= end && (reads(&whole->definitions[i], tensor) || whole->definitions[i].tensor == tensor));
    }
    return !written ? ROLE_INPUT : later || whole->tensors[tensor].role == ROLE_OUTPUT ? ROLE_OUTPUT : ROLE_TEMPORARY;
}

/* Definitions [first, end) as a kernel. */
static const Kernel *kernel_of(const Kernel *whole, int first, int end, Arena *arena) {
    Kernel *kernel = ARENA_NEW(arena, Kernel);
    KernelTensor *tensors = ARENA_ARRAY(arena, KernelTensor, (size_t)whole->tensor_count + 1);
    if (!kernel || !tensors)
        return NULL;
    *kernel = *whole;
    kernel->tensors = tensors;
    for (int t = 0; t < whole->tensor_count; t++) {
        tensors[t] = whole->tensors[t];
        tensors[t].role = role_of(whole, t, first, end);
    }
    kernel->definitions = &whole->definitions[first];
    kernel->definition_count = end - first;
    kernel->partial = true;
    return kernel;
}

static void start(Compiled *part, const Compiled *whole, const Kernel *kernel) {
    *part = (Compiled){.kernel = kernel, .target = whole->target, .allocator = whole->allocator, .vectors = whole->vectors};
    arena_init(&part->arena, whole->allocator);
}

static void discard(Compiled *part) {
    if (part->release)
        part->release(part);
    arena_free(&part->arena);
}

/* Makes one part of definitions [first, end); one packing of another tensor than the first part's is done without. */
static bool make_part(Compiled *c, Parts *parts, int first, int end, const ScheduleOptions *options, const char **why,
                      whet_error *err) {
    Compiled *part = &parts->part[parts->count];
    const Kernel *kernel = kernel_of(c->kernel, first, end, &c->arena);
    if (!kernel)
        return error_memory(err), false;
    start(part, c, kernel);
    if (!schedule_try(part, options, why, err)) {
        discard(part);
        return false;
    }
    parts->count++;
    if (!part->packing.bytes || !c->packing.bytes || c->packing.tensor == part->packing.tensor)
        return true;
    ScheduleOptions other = *options;
    const void **constant = ARENA_ARRAY(&c->arena, const void *, KERNEL_MAX_TENSORS);
    if (!constant)
        return error_memory(err), false;
    memcpy(constant, options->constant, (size_t)c->kernel->tensor_count * sizeof *constant);
    constant[part->packing.tensor] = NULL;
    other.constant = constant;
    discard(part);
    start(part, c, kernel);
    return schedule_try(part, &other, why, err);
}

static void take_packing(Compiled *c, Parts *parts, int i, Text *key) {
    const Packing *packing = &parts->part[i].packing;
    parts->offset[i] = c->packing.bytes;
    parts->piece[i] = c->packing.pieces;
    if (!packing->bytes)
        return;
    c->takes_unpacked = parts->part[i].takes_unpacked && (c->takes_unpacked || !c->packing.bytes);
    c->packing.tensor = packing->tensor;
    c->packing.bytes += (packing->bytes + PACKING_ALIGNMENT - 1) / PACKING_ALIGNMENT * PACKING_ALIGNMENT;
    c->packing.pieces += packing->pieces;
    text_put_n(key, (const char *)packing->key, packing->key_bytes);
}

/* A part, with the code of the whole. */
static Compiled part_of(const Compiled *c, int i) {
    Compiled part = ((const Parts *)c->state)->part[i];
    part.code = c->code;
    part.made = c->made;
    part.first_function += c->first_function; /* it may be a part itself */
    return part;
}

static void pack(const Compiled *c, const void *constant, size_t piece, void *to) {
    const Parts *parts = c->state;
    int i = parts->count - 1;
    while (piece < parts->piece[i] || !parts->part[i].packing.bytes)
        i--;
    const Compiled part = part_of(c, i);
    part.pack(&part, constant, piece - parts->piece[i], (char *)to + parts->offset[i]);
}

static bool join_functions(Compiled *c, Parts *parts) {
    int count = 0;
    for (int i = 0; i < parts->count; i++)
        count += parts->part[i].function_count;
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, (size_t)count + 1);
    for (int i = 0; c->functions && i < parts->count; i++) {
        Compiled *part = &parts->part[i];
        part->first_function = c->function_count;
        for (int f = 0; f < part->function_count; f++)
            c->functions[c->function_count++] = part->functions[f];
    }
    return c->functions != NULL;
}

static void release(Compiled *c) {
    Parts *parts = c->state;
    for (int i = 0; i < parts->count; i++)
        discard(&parts->part[i]);
}

/* ---- running ---- */

static whet_status run_parts(const Compiled *c, void **own, void *const *data, const EvalOptions *options, whet_error *err) {
    const Parts *parts = c->state;
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < parts->count; i++) {
        const Compiled part = part_of(c, i);
        if (part.packing.bytes) {
            char *packed = c->packed ? c->packed : data[part.packing.tensor];
            own[part.packing.tensor] = packed + (options->unpacked ? 0 : parts->offset[i]);
        }
        status = part.run(&part, own, options, err);
        if (part.packing.bytes)
            own[part.packing.tensor] = data[part.packing.tensor];
    }
    return status;
}

static whet_status run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    enum { LITTLE_BYTES = 1 << 13 }; /* on the stack */
    const Parts *parts = c->state;
    const whet_allocator *allocator = options->allocator;
    void *own[KERNEL_MAX_TENSORS];
    _Alignas(PACKING_ALIGNMENT) char little[LITTLE_BYTES];
    char *memory = parts->bytes <= LITTLE_BYTES ? little : memory_alloc(allocator, parts->bytes);
    if (!memory)
        return error_memory(err);
    for (int t = 0; t < c->kernel->tensor_count; t++) {
        own[t] = parts->between[t] ? memory + parts->place[t] : data[t];
        if (parts->clear[t])
            memset(own[t], 0, (size_t)c->kernel->tensors[t].count * dtype_bits(c->kernel->tensors[t].type) / 8);
    }
    whet_status status = run_parts(c, own, data, options, err);
    if (memory != little)
        memory_free(allocator, memory, parts->bytes);
    return status;
}

static void print(const Compiled *c, Text *out) {
    const Parts *parts = c->state;
    text_printf(out, "%d %s\n", parts->count, c->template);
    for (int i = 0; i < parts->count; i++) {
        text_put(out, "#   ");
        parts->part[i].print(&parts->part[i], out);
    }
}

static Parts *parts_new(Compiled *c, size_t count) {
    Parts *parts = ARENA_NEW(&c->arena, Parts);
    if (!parts)
        return NULL;
    parts->part = ARENA_ARRAY(&c->arena, Compiled, count);
    parts->offset = ARENA_ARRAY(&c->arena, size_t, count);
    parts->piece = ARENA_ARRAY(&c->arena, size_t, count);
    return parts->part && parts->offset && parts->piece ? parts : NULL;
}

static bool make_parts(Compiled *c, Parts *parts, const ScheduleOptions *options, const char **why, whet_error *err) {
    Text key;
    text_init(&key);
    text_put(&key, "parts");
    bool fine = true, staged = !parts->single && reads_own(c->kernel);
    for (int first = 0, end; fine && first < c->kernel->definition_count; first = end) {
        end = staged ? c->kernel->definition_count - (first == 0) : first + 1; /* not all of them: that was refused */
        while (!(fine = make_part(c, parts, first, end, options, why, err)) && end > first + 1 && err->status == WHET_OK)
            end--;
        if (fine)
            take_packing(c, parts, parts->count - 1, &key);
    }
    c->packing.key = arena_copy(&c->arena, key.data, key.length);
    c->packing.key_bytes = key.length;
    bool memory = !key.failed && c->packing.key && (!fine || join_functions(c, parts));
    text_free(&key);
    return memory ? fine : (error_memory(err), false);
}

/* Temporaries that some part has for an output lie one behind the other. */
static bool place_temporaries(const Compiled *c, Parts *parts) {
    for (int t = c->kernel->input_count; t < c->kernel->tensor_count; t++) {
        bool output = c->kernel->tensors[t].role == ROLE_OUTPUT;
        for (int i = 0; i < parts->count && !output; i++)
            parts->between[t] = parts->between[t] || parts->part[i].kernel->tensors[t].role == ROLE_OUTPUT;
        parts->clear[t] = (output || parts->between[t]) && !covered(c->kernel, t);
        size_t bytes = 0;
        if (!parts->between[t])
            continue;
        if (!dtype_bytes(c->kernel->tensors[t].type, c->kernel->tensors[t].count, &bytes) || bytes > SIZE_MAX / 4 - parts->bytes)
            return false;
        parts->place[t] = parts->bytes;
        parts->bytes += (bytes + PACKING_ALIGNMENT - 1) / PACKING_ALIGNMENT * PACKING_ALIGNMENT;
    }
    return true;
}

/* Does a part read as it lies what another reads packed? Whoever packs may hand over the packing alone. */
static bool read_both_ways(const Compiled *c, const Parts *parts) {
    for (int i = 0; c->packing.bytes && i < parts->count; i++) {
        const Kernel *kernel = parts->part[i].kernel;
        for (int d = 0; !parts->part[i].packing.bytes && d < kernel->definition_count; d++)
            if (reads(&kernel->definitions[d], c->packing.tensor))
                return true;
    }
    return false;
}

static bool schedule(Compiled *c, bool single, const ScheduleOptions *options, const char **why, whet_error *err);

/* Once more, with a constant that none packs. */
static bool schedule_unpacked(Compiled *c, bool single, const ScheduleOptions *options, const char **why, whet_error *err) {
    const void **constant = ARENA_ARRAY(&c->arena, const void *, KERNEL_MAX_TENSORS);
    if (!constant)
        return error_memory(err), false;
    memcpy(constant, options->constant, (size_t)c->kernel->tensor_count * sizeof *constant);
    constant[c->packing.tensor] = NULL;
    c->packing = (Packing){0};
    c->function_count = 0;
    ScheduleOptions other = *options;
    other.constant = constant;
    return schedule(c, single, &other, why, err);
}

static bool schedule(Compiled *c, bool single, const ScheduleOptions *options, const char **why, whet_error *err) {
    size_t count = (size_t)c->kernel->definition_count;
    Parts *parts = c->state = parts_new(c, count);
    if (!parts)
        return error_memory(err), false;
    parts->single = single;
    c->release = release;
    const char *reason = NULL;
    if (!make_parts(c, parts, options, &reason, err)) {
        if (!reads_own(c->kernel)) /* a part's refusal says more than the whole's, a stage's less */
            *why = reason;
        release(c);
        c->release = NULL;
        c->packing = (Packing){0};
        return false;
    }
    if (read_both_ways(c, parts)) {
        release(c);
        c->release = NULL;
        return schedule_unpacked(c, single, options, why, err);
    }
    if (!place_temporaries(c, parts))
        return error_set(err, WHET_ERROR_MEMORY, "temporaries beyond the address space"), false;
    c->template = reads_own(c->kernel) ? "stages" : "parts";
    c->pack = pack;
    c->run = run;
    c->print = print;
    return true;
}

bool schedule_parts(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    return schedule(c, false, options, why, err);
}

/* ---- kernels that shall run in stages ---- */

Kernel *schedule_begin_stages(const Kernel *from, int definitions, Arena *arena) {
    Kernel *to = arena_copy(arena, from, sizeof *from);
    if (!to)
        return NULL;
    to->arena = arena;
    to->tensors = ARENA_ARRAY(arena, KernelTensor, KERNEL_MAX_TENSORS);
    to->definitions = ARENA_ARRAY(arena, Definition, (size_t)definitions);
    to->definition_count = 0;
    if (!to->tensors || !to->definitions)
        return NULL;
    memcpy(to->tensors, from->tensors, (size_t)from->tensor_count * sizeof *from->tensors);
    return to;
}

bool schedule_add_stage(Kernel *kernel, const Text *text, const KernelArg args[2], const int numbers[2], whet_error *err) {
    Kernel *stage = text->failed ? NULL : kernel_parse(kernel->arena, text->data, text->length, err);
    bool fine = stage && kernel_bind(stage, args, 2, NULL, 0, err) == WHET_OK;
    const Definition *d = fine ? rewrite_rename(kernel->arena, &stage->definitions[0], numbers) : NULL;
    if (d)
        kernel->definitions[kernel->definition_count++] = *d;
    return d != NULL;
}

bool schedule_stages(Compiled *c, const Kernel *kernel, const ScheduleOptions *options, const char **why, whet_error *err) {
    const Kernel *whole = c->kernel;
    if (!kernel)
        return err->status ? false : (error_memory(err), false);
    c->kernel = kernel;
    if (schedule(c, true, options, why, err))
        return true;
    c->kernel = whole;
    return false;
}
