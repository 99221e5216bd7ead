/* The door: tries templates in order, makes code of what the first that fits wrote, and keeps it all together. */
#include "schedule/schedule.h"

#include <assert.h>
#include <string.h>

/* What a template takes is seen at a glance to be there; otherwise it would plan long before it says no. */
enum {
    ANY = 0,
    WINDOWS = 1,   /* reads of windows */
    REDUCES = 2,   /* a reduction */
    PRODUCTS = 4,  /* two sums of products */
    POINTWISE = 8, /* no reduction */
};

// clang-format off
static const struct {
    const char *name;
    ScheduleTemplate *template;
    int wants;
} templates[] = {
    {"reorder", schedule_reorder, REDUCES}, /* results as others make them fastest */
    {"window", schedule_window, WINDOWS}, /* before contractions, which would take a depthwise one as many small products */
    {"round", schedule_round, ANY}, /* before those that read what is rounded */
    {"relayout", schedule_relayout, ANY}, /* channels first, as the next two would have it */
    {"winograd", schedule_winograd, WINDOWS},
    {"contract", schedule_contract, REDUCES},
    {"round", schedule_round_all, ANY},
    {"map", schedule_map, POINTWISE},
    {"rows", schedule_rows, ANY},
    {"attend", schedule_attend, PRODUCTS},
    {"map", schedule_map_chain, POINTWISE}, /* by way of memory, where rows do not have it */
};
// clang-format on

/* A dimension along which two axes move, or a read that may lie outside. */
static bool read_is_window(const Definition *d, const Expr *read) {
    for (int i = 0; i < read->index_count; i++) {
        int moving = 0;
        for (int a = 0; read->index[i].affine && a < d->axis_count; a++)
            moving += read->index[i].coef[a] && d->axes[a].extent > 1;
        if (moving > 1)
            return true;
    }
    return read->guarded;
}

/* Which of the above the kernel has. */
static int sight(const Kernel *kernel) {
    int seen = 0, products = 0;
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        for (int k = 0; k < d->expr_count; k++) {
            const Expr *e = d->exprs[k];
            if (e->op == EXPR_READ && !(seen & WINDOWS) && read_is_window(d, e))
                seen |= WINDOWS;
            if (e->op == EXPR_REDUCE)
                seen |= REDUCES;
            products += e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && e->arg[0]->op == EXPR_MUL;
        }
    }
    return seen | (products > 1 ? PRODUCTS : 0) | (seen & REDUCES ? 0 : POINTWISE);
}

/* The template whose refusal says most: by the kind of kernel. */
static size_t most_fitting(const Kernel *kernel, int seen) {
    enum { REORDER, WINDOW, ROUND, RELAYOUT, WINOGRAD, CONTRACT, ROUND_ALL, MAP, ROWS, ATTEND, CHAIN };
    static_assert(COUNT(templates) == CHAIN + 1, "the templates, in their order");
    const Definition *d = &kernel->definitions[0];
    if (kernel->definition_count != 1)
        return seen & POINTWISE ? CHAIN : seen & PRODUCTS ? ATTEND : ROWS;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE)
            return d->exprs[i]->reduce == REDUCE_SUM && d->exprs[i]->arg[0]->op == EXPR_MUL ? CONTRACT : ROWS;
    return MAP;
}

static whet_status pack_now(Compiled *c, const ScheduleOptions *options, whet_error *err) {
    if (!c->packing.bytes)
        return WHET_OK;
    whet_status status = c->codes ? codes_seal(c->codes, err) : WHET_OK; /* code may be what packs */
    if (status)
        return status;
    c->packed = memory_alloc_large(c->allocator, c->packing.bytes);
    if (!c->packed)
        return error_memory(err);
    for (size_t piece = 0; piece < c->packing.pieces; piece++)
        c->pack(c, options->constant[c->packing.tensor], piece, c->packed);
    return WHET_OK;
}

const Packing *compiled_packing(const Compiled *compiled) {
    return compiled->packing.bytes && !compiled->packed ? &compiled->packing : NULL;
}

void compiled_pack(const Compiled *compiled, const void *constant, size_t piece, void *to) {
    compiled->pack(compiled, constant, piece, to);
}

bool compiled_takes_unpacked(const Compiled *compiled) {
    return compiled->takes_unpacked;
}

bool schedule_try(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    bool fits = false;
    int seen = sight(c->kernel);
    for (size_t i = 0; i < COUNT(templates) && !fits; i++) {
        const char *reason = NULL;
        if ((templates[i].wants & seen) != templates[i].wants)
            continue;
        ArenaMark mark = arena_mark(&c->arena);
        fits = templates[i].template(c, options, &reason, err);
        if (!fits && (c->arena.failed || c->vectors->failed)) /* whatever the template made of it */
            error_memory(err);
        if (!fits && err->status != WHET_OK)
            return false;
        if (!fits) {
            c->recall = NULL;
            arena_release(&c->arena, mark); /* what it had planned: the next one's memory is still in the cache */
            c->function_count = 0;
            if (i == most_fitting(c->kernel, seen))
                *why = reason;
        }
    }
    return fits;
}

static whet_status make_code(Compiled *c, const ScheduleOptions *options, whet_error *err) {
    if (!options->codes)
        return c->target.compile(&c->target, c->functions, c->function_count, options->seed, &c->code, err);
    c->codes = options->codes;
    c->made = ARENA_ARRAY(&c->arena, MadeCode *, (size_t)c->function_count);
    if (!c->made)
        return error_memory(err);
    c->made_count = c->function_count;
    if (c->recall)
        recall_take(c);
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < c->function_count; i++)
        if (!c->made[i])
            status = codes_take(c->codes, &c->target, c->functions[i], options->seed, &c->made[i], err);
    if (!status && c->recall)
        recall_keep(c);
    return status;
}

static void drop_code(Compiled *c) {
    for (int i = 0; i < c->made_count; i++)
        codes_give(c->codes, c->made[i]);
    if (c->code)
        c->target.free(c->code);
    c->made = NULL;
    c->made_count = 0;
    c->code = NULL;
}

/* A template, or several for its parts, and then *why none takes them together, in an empty `c`. */
static whet_status take(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    bool fits = schedule_try(c, options, why, err);
    if (!fits && err->status == WHET_OK && schedule_has_parts(c->kernel)) {
        const char *refusal = *why, *nearest = templates[most_fitting(c->kernel, sight(c->kernel))].name;
        fits = schedule_parts(c, options, why, err);
        if (fits && refusal)
            *why = arena_printf(c->kernel->arena, "'%s' comes nearest and says: %s", nearest, refusal);
    }
    if (fits || err->status != WHET_OK)
        return err->status;
    return error_set(err, WHET_ERROR_UNSUPPORTED, "no schedule for this kernel: %s", *why ? *why : "no template");
}

/* One attempt, in an empty `c`. */
static whet_status make(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    whet_status status = take(c, options, why, err);
    if (!status)
        status = make_code(c, options, err);
    return status || options->pack_later ? status : pack_now(c, options, err);
}

static void clear(Compiled *c) {
    drop_code(c);
    memory_free(c->allocator, c->packed, c->packing.bytes);
    if (c->release)
        c->release(c);
    arena_free(&c->arena);
    if (c->vectors == &c->own_vectors)
        arena_free(c->vectors);
    else
        arena_reset(c->vectors);
    c->release = NULL;
    c->packed = NULL;
    c->functions = NULL;
    c->recall = NULL;
    c->function_count = 0;
    c->template = NULL;
    c->packing = (Packing){0};
    c->pack = NULL;
    c->takes_unpacked = false;
    c->print_c = NULL;
    c->knobs = (ScheduleKnobs){0};
}

/* Code that needs too many registers is tried again with smaller tiles, which leave more and more of the file free. */
static whet_status make_fitting(Compiled *c, ScheduleOptions options, const char **why, whet_error *err) {
    whet_status status = WHET_OK;
    const Kernel *kernel = c->kernel;
    int file = c->target.registers[CLASS_VECTOR], given = options.spare_registers;
    const int spares[] = {given, given + file / 4 + 2, given + file * 3 / 8 + 2, given + file / 2 + 2};
    for (size_t i = 0; i < COUNT(spares); i++) {
        options.spare_registers = spares[i];
        error_clear(err);
        status = make(c, &options, why, err);
        if (status != WHET_ERROR_UNSUPPORTED || !c->template)
            return status;
        clear(c);
        c->kernel = kernel; /* templates may have rewritten it */
    }
    char *copy = arena_string(c->kernel->arena, err->message, strlen(err->message));
    *why = copy ? copy : "code cannot be made";
    return status;
}

whet_status schedule_ask(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Arena *room,
                         const char **template, const char **why, whet_error *err) {
    Compiled c = {.kernel = kernel, .target = *target, .allocator = options->allocator, .arena = *room};
    arena_init(&c.own_vectors, options->allocator);
    c.vectors = options->scratch ? options->scratch : &c.own_vectors;
    *why = NULL;
    whet_status status = take(&c, options, why, err);
    *template = status ? NULL : c.template;
    if (c.release)
        c.release(&c);
    arena_reset(c.vectors);
    arena_free(&c.own_vectors);
    arena_reset(&c.arena);
    *room = c.arena;
    return status;
}

whet_status schedule_compile(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Compiled **out,
                             const char **why, whet_error *err) {
    static const ScheduleOptions defaults = {0};
    whet_error mine;
    const char *reason = NULL;
    err = err ? err : &mine;
    error_clear(err);
    options = options ? options : &defaults;
    *out = NULL;
    Compiled *c = memory_alloc(options->allocator, sizeof *c);
    if (!c)
        return error_memory(err);
    *c = (Compiled){0};
    c->kernel = kernel;
    c->target = *target;
    c->allocator = options->allocator;
    arena_init(&c->arena, options->allocator);
    arena_init(&c->own_vectors, options->allocator);
    c->vectors =
        options->scratch && target->runs_here ? options->scratch : &c->own_vectors; /* elsewhere the interpreter runs them */
    c->recalls = true;
    whet_status status = make_fitting(c, *options, &reason, err);
    if (status == WHET_OK && options->perf_map)
        status = schedule_perf_map(c, err);
    if (why)
        *why = reason;
    if (status != WHET_OK) {
        compiled_free(c);
        return status;
    }
    if (c->vectors != &c->own_vectors) {
        arena_reset(c->vectors);
        c->vectors = &c->own_vectors;
        c->function_count = 0;
        c->recall = NULL;
    }
    *out = c;
    return WHET_OK;
}

void compiled_free(Compiled *c) {
    if (!c)
        return;
    clear(c);
    memory_free(c->allocator, c, sizeof *c);
}

void compiled_print_schedule(const Compiled *c, Text *out) {
    schedule_print_knobs(&c->knobs, out);
    text_put(out, "# ");
    c->print(c, out);
}

void compiled_print_vector(const Compiled *c, Text *out) {
    for (int i = 0; i < c->function_count; i++)
        vector_print(c->functions[i], out);
}

void compiled_print_code(const Compiled *c, Text *out) {
    for (int i = 0; i < c->made_count; i++)
        c->target.print(made_code(c->made[i]), out);
    if (c->code)
        c->target.print(c->code, out);
}
