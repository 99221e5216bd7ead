/* The driver: vector code in, code out. The pipeline is drawn in x86.h. */
#include "target/x86/x86.h"

/* With 32 vector registers, constants of innermost loops stay in some of them. */
static whet_status add_function(const Target *target, const VectorFunction *f, int index, uint64_t seed, X86Code *code,
                                whet_error *err) {
    bool native[VECTOR_OP_COUNT];
    CodeLowered lowered;
    x86_native(target, native);
    if (!code_lower(f, target, native, x86_select, target->bytes == 64, seed, &lowered, err))
        return err->status;
    x86_align(code, 64);
    x86_encode(&lowered, target, index, code);
    if (code->failed)
        return error_set(err, code->arena->failed || f->arena->failed ? WHET_ERROR_MEMORY : WHET_ERROR_UNSUPPORTED,
                         "x86 code for '%s' cannot be made: %s", f->name, code->failed);
    return WHET_OK;
}

static TargetCode *keep(const Target *target, const X86Code *code, size_t *entries, int count, whet_error *err) {
    TargetCode parts = {.allocator = code->arena->allocator,
                        .bytes = code->data,
                        .size = code->size,
                        .code_size = code->size,
                        .entries = entries,
                        .entry_count = count,
                        .lines = code->lines,
                        .line_count = (int)code->line_count,
                        .roles = code->roles};
    return code_keep(target, &parts, code->line_count * sizeof *code->lines, code->role_count * sizeof *code->roles, err);
}

whet_status x86_compile(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed, TargetCode **out,
                        whet_error *err) {
    whet_error mine; /* the steps' statuses are read back, so there must be one */
    if (!err)
        err = &mine;
    error_clear(err);
    *out = NULL;
    Arena arena;
    arena_init(&arena, count ? functions[0]->arena->allocator : NULL);
    X86Code code = {.arena = &arena};
    size_t *entries = ARENA_ARRAY(&arena, size_t, (size_t)count + 1);
    size_t ops = 0; /* room at once for a usual operation's bytes and line: growing would touch twice the memory */
    for (int i = 0; i < count; i++)
        ops += (size_t)functions[i]->op_count;
    arena_grow(&arena, &code.lines, &code.line_capacity, ops + ops / 4 + 64, sizeof *code.lines);
    arena_grow(&arena, &code.data, &code.capacity, 10 * ops + 1024, 1);
    whet_status status = arena.failed ? error_memory(err) : WHET_OK;
    Target half;
    bool halves = x86_halve(target, &half);
    for (int i = 0; i < count && status == WHET_OK; i++) {
        x86_align(&code, 64);
        entries[i] = code.size;
        ArenaMark mark = arena_mark(functions[i]->arena);
        status = add_function(halves && functions[i]->bytes == half.bytes ? &half : target, functions[i], i, seed, &code, err);
        arena_release(functions[i]->arena, mark); /* what the passes made was wanted for this function alone */
    }
    if (status == WHET_OK) {
        x86_place_pool(&code);
        if (code.failed)
            status = error_memory(err);
        else if (!(*out = keep(target, &code, entries, count, err)))
            status = err->status;
    }
    arena_free(&arena);
    return status;
}
