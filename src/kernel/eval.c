/* kernel_eval: what a kernel means. Definition by definition; temporaries live as long as the call. */
#include <string.h>

#include "kernel/eval.h"

typedef struct Evaluation {
    const Kernel *kernel;
    const EvalOptions *options;
    Arena arena;
    void *data[KERNEL_MAX_TENSORS];
    whet_error *err;
} Evaluation;

/* ---- Contexts ---- */

static bool context_init(Context *c, const Program *program, Evaluation *e) {
    c->program = program;
    c->data = e->data;
    c->deadline = e->options->deadline;
    c->at_value = ARENA_ARRAY(&e->arena, void *, program->value_count);
    /* Arena memory is aligned to 16 only; strips begin on cache lines. */
    char *raw = ARENA_ARRAY(&e->arena, char, program->buffer_bytes + 64);
    if (!raw || !c->at_value)
        return false;
    c->buffers = raw + (64 - (uintptr_t)raw % 64) % 64;
    for (size_t v = 0; v < program->value_count; v++)
        c->at_value[v] = c->buffers + program->values[v].offset;
    return true;
}

typedef struct Share {
    Context *contexts;
    int64_t total;
    size_t count;
} Share;

static void run_share(void *context, size_t i) {
    const Share *share = context;
    int64_t each = share->total / (int64_t)share->count, more = share->total % (int64_t)share->count;
    int64_t k = (int64_t)i, begin = k * each + (k < more ? k : more);
    eval_program_run(&share->contexts[i], begin, begin + each + (k < more));
}

/* The first error in the order of the work is told, whatever the threads did. */
static whet_status tell_fault(Evaluation *e, const Share *share) {
    for (size_t i = 0; i < share->count; i++) {
        const Fault *fault = &share->contexts[i].fault;
        if (fault->status == WHET_ERROR_LIMIT)
            return error_late(e->err);
        if (fault->status == WHET_OK)
            continue;
        const KernelTensor *tensor = &e->kernel->tensors[fault->tensor];
        return error_set(e->err, fault->status, "index %lld is outside dimension %d of '%s', which is %lld long",
                         (long long)fault->index, fault->dim, tensor->name, (long long)tensor->dims[fault->dim]);
    }
    return WHET_OK;
}

enum { SHARES_PER_THREAD = 4 };
static const double worth_sharing = 50e3; /* nanoseconds */

static whet_status run_program(Evaluation *e, const Program *program) {
    const Parallel *parallel = e->options->parallel;
    int64_t counts[KERNEL_MAX_AXES + 2];
    Share share = {.total = eval_nest_count(program->work, program->top, counts), .count = 1};
    if (share.total == 0)
        return WHET_OK;
    if (parallel && parallel->threads > 1 && eval_program_cost(program) > worth_sharing)
        share.count = (size_t)parallel->threads * SHARES_PER_THREAD;
    if (share.count > (uint64_t)share.total)
        share.count = (size_t)share.total;
    share.contexts = ARENA_ARRAY(&e->arena, Context, share.count);
    for (size_t i = 0; share.contexts && i < share.count; i++)
        if (!context_init(&share.contexts[i], program, e))
            return error_memory(e->err);
    if (!share.contexts)
        return error_memory(e->err);
    if (share.count > 1)
        parallel->run(parallel->self, share.count, run_share, &share);
    else
        run_share(&share, 0);
    return tell_fault(e, &share);
}

/* ---- Definitions ---- */

/* Does one definition write every element? Then nothing need be cleared. */
static bool covers(const Kernel *kernel, const Definition *d) {
    const KernelTensor *tensor = &kernel->tensors[d->tensor];
    int64_t written = 1;
    for (int a = 0; a < d->parallel_count; a++)
        if (!checked_mul(written, d->axes[a].extent, &written))
            return false;
    return written == tensor->count; /* no element is written twice: kernel_bind has made sure */
}

static whet_status clear_tensors(Evaluation *e) {
    bool covered[KERNEL_MAX_TENSORS] = {false};
    for (int d = 0; d < e->kernel->definition_count; d++)
        covered[e->kernel->definitions[d].tensor] |= covers(e->kernel, &e->kernel->definitions[d]);
    for (int t = e->kernel->input_count; t < e->kernel->tensor_count; t++) {
        const KernelTensor *tensor = &e->kernel->tensors[t];
        size_t bytes;
        if (!dtype_bytes(tensor->type, tensor->count, &bytes))
            return error_memory(e->err);
        bool keep =
            tensor->role == ROLE_INPUT || (e->options->keep && tensor->role == ROLE_OUTPUT); /* a part reads what others made */
        if (!covered[t] && !keep && bytes > 0)
            memset(e->data[t], 0, bytes);
    }
    return WHET_OK;
}

static whet_status run_definition(Evaluation *e, const Definition *definition) {
    Work work;
    if (!eval_work_init(&work, e->kernel, definition, &e->arena))
        return error_memory(e->err);
    const Program *program = eval_program_new(&work, &e->arena);
    return program ? run_program(e, program) : error_memory(e->err);
}

/* ---- Temporaries ---- */

static size_t temporary_bytes(const Kernel *kernel, int t) {
    size_t bytes = 0;
    bool fine = dtype_bytes(kernel->tensors[t].type, kernel->tensors[t].count, &bytes);
    return fine ? bytes : SIZE_MAX;
}

static void free_temporaries(Evaluation *e) {
    for (int t = 0; t < e->kernel->tensor_count; t++)
        if (e->kernel->tensors[t].role == ROLE_TEMPORARY && e->data[t])
            memory_free(e->options->allocator, e->data[t], temporary_bytes(e->kernel, t));
}

static whet_status new_temporaries(Evaluation *e) {
    for (int t = 0; t < e->kernel->tensor_count; t++) {
        if (e->kernel->tensors[t].role != ROLE_TEMPORARY)
            continue;
        e->data[t] = memory_alloc(e->options->allocator, temporary_bytes(e->kernel, t));
        if (!e->data[t])
            return error_memory(e->err);
    }
    return WHET_OK;
}

whet_status kernel_eval(const Kernel *kernel, void *const *data, const EvalOptions *options, whet_error *err) {
    static const EvalOptions none = {0};
    Evaluation e = {.kernel = kernel, .options = options ? options : &none, .err = err};
    if (!kernel->bound)
        return error_set(err, WHET_ERROR_INTERNAL, "the kernel is not bound");
    for (int t = 0; t < kernel->tensor_count; t++)
        e.data[t] = kernel->tensors[t].role == ROLE_TEMPORARY ? NULL : data[t];
    arena_init(&e.arena, e.options->allocator);
    whet_status status = new_temporaries(&e);
    if (!status)
        status = clear_tensors(&e);
    for (int d = 0; !status && d < kernel->definition_count; d++)
        status = run_definition(&e, &kernel->definitions[d]);
    free_temporaries(&e);
    arena_free(&e.arena);
    return status;
}
