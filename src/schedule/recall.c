/* Code of earlier kernels: where a kernel differs from one that was compiled before in lengths alone, which code takes as
 * arguments, making its vector functions anew would only show that their code is there. So templates say beforehand what the
 * functions would be made of: the kernel but for its lengths, and what was planned. It must be all of it: two kernels that say
 * the same have the same code. Builds with WHET_CHECK_PASSES make the functions all the same, and compare.
 *
 * A kernel is found in parts, each by what all have in common and what it has of its own: whole tiles, and what is left of
 * lengths, of which there are more together than a session will ever see. What they have in common is long, so it is looked up
 * once, and has a number.
 *
 * Code of a model that meets lengths it has not seen is found so in a tenth of the time. */
#include <assert.h>
#include <string.h>

#include "schedule/schedule.h"

typedef struct Part {
    const CodeSet *found; /* NULL: made anew */
    const char *own;      /* what its functions have besides what all have */
    size_t own_bytes;
    int first, end; /* its functions */
} Part;

struct Recall {
    TargetCodes *codes;
    Text *key;
    uint64_t common;       /* the number of what all parts have in common; 0: no part was asked for yet */
    KernelExtents extents; /* names of lengths */
    Part part[RECALL_MOST_PARTS];
    int part_count;
};

/* What functions may hold of lengths themselves: an axis, or the place of an extreme, as a number. */
static bool tells_lengths(const Kernel *kernel) {
    for (int i = 0; i < kernel->definition_count; i++)
        for (int k = 0; k < kernel->definitions[i].expr_count; k++) {
            const Expr *e = kernel->definitions[i].exprs[k];
            if (e->op == EXPR_AXIS || (e->op == EXPR_REDUCE && (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN)))
                return true;
        }
    return false;
}

/* Which tensors are constant, and numbers that code may hold. */
static void put_constants(Compiled *c, const ScheduleOptions *options) {
    for (int t = 0; t < c->kernel->input_count; t++) {
        const void *constant = options->constant ? options->constant[t] : NULL;
        const KernelTensor *tensor = &c->kernel->tensors[t];
        size_t bytes;
        recall_put_number(c, constant != NULL);
        if (constant && tensor->count == 1 && dtype_bytes(tensor->type, 1, &bytes))
            recall_put(c, constant, bytes);
    }
}

bool recall_begin(Compiled *c, const ScheduleOptions *options, const char *template) {
    c->recall = NULL;
    if (!c->recalls || !options->codes || options->perf_map || c->function_count || !c->target.runs_here ||
        c->vectors == &c->own_vectors || tells_lengths(c->kernel))
        return false;
    Recall *r = c->recall = ARENA_NEW(c->vectors, Recall);
    if (!r)
        return false;
    r->codes = options->codes;
    r->key = codes_set_key(options->codes);
    const int64_t head[] = {
        (int64_t)c->target.features, c->target.bytes, c->target.flushes, (int64_t)options->seed, options->unroll,
        options->spare_registers,    options->exact,  options->far};
    recall_put(c, &c->target.compile, sizeof c->target.compile);
    recall_put(c, head, sizeof head);
    recall_put(c, template, strlen(template) + 1);
    recall_put_kernel(c, c->kernel);
    put_constants(c, options);
    return true;
}

void recall_put(Compiled *c, const void *data, size_t bytes) {
    if (bytes)
        text_put_n(c->recall->key, data, bytes);
}

void recall_put_number(Compiled *c, int64_t number) {
    recall_put(c, &number, sizeof number);
}

void recall_put_expr(Compiled *c, const Expr *e) {
    recall_put_number(c, e ? e->id : -1);
}

void recall_put_definition(Compiled *c, const Definition *d) {
    kernel_definition_identity(d, &c->recall->extents, c->recall->key);
}

void recall_put_kernel(Compiled *c, const Kernel *kernel) {
    kernel_identity_but(kernel, &c->recall->extents, c->recall->key);
}

/* The key of a part. */
static void put_own(Recall *r, const Part *part) {
    text_clear(r->key);
    text_put_n(r->key, (const char *)&r->common, sizeof r->common);
    text_put_n(r->key, part->own, part->own_bytes);
}

bool recall_part(Compiled *c, const void *own, size_t bytes) {
    Recall *r = c->recall;
    assert(r->part_count < RECALL_MOST_PARTS);
    Part *part = &r->part[r->part_count++];
    r->common = r->common ? r->common : codes_number(r->codes);
    *part = (Part){.own = arena_copy(c->vectors, own, bytes), .own_bytes = bytes, .first = c->function_count};
    if (!part->own)
        return false; /* the arena's failure is sticky */
    put_own(r, part);
    part->found = codes_find_set(r->codes);
#if WHET_CHECK_PASSES
    return false;
#endif
    for (int i = 0; part->found && i < part->found->count; i++)
        c->functions[c->function_count++] = NULL;
    return part->found != NULL;
}

void recall_take(Compiled *c) {
    Recall *r = c->recall;
    for (int p = 0; p < r->part_count; p++) {
        Part *part = &r->part[p];
        part->end = p + 1 < r->part_count ? part[1].first : c->function_count;
        for (int i = part->first; i < part->end && !c->functions[i]; i++)
            codes_hold(c->made[i] = part->found->made[i - part->first]);
    }
}

/* What was found is what was made. */
static void check(const Compiled *c, const Part *part) {
    const CodeSet *set = part->found;
    assert(set->count == part->end - part->first);
    for (int i = 0; i < set->count; i++)
        assert(set->made[i] == c->made[part->first + i]);
    (void)set, (void)c;
}

void recall_keep(Compiled *c) {
    Recall *r = c->recall;
    for (int p = 0; p < r->part_count; p++)
        if (r->part[p].found && c->functions[r->part[p].first])
            check(c, &r->part[p]);
    for (int p = 0; p < r->part_count; p++) { /* another set may go for one that is kept */
        const Part *part = &r->part[p];
        if (part->found)
            continue;
        put_own(r, part);
        codes_keep_set(r->codes, c->made + part->first, part->end - part->first);
    }
}
