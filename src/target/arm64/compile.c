/* The driver: vector code in, code out. The pipeline is drawn in arm64.h. */
#include "target/arm64/arm64.h"

static whet_status add_function(const Target *target, const VectorFunction *f, int index, uint64_t seed, Arm64Code *code,
                                whet_error *err) {
    bool native[VECTOR_OP_COUNT];
    CodeLowered lowered;
    Target unit;
    if (target->tiles.count && arm64_has_tiles(f)) {
        unit = arm64_unit(target);
        target = &unit;
    }
    arm64_native(target, native);
    if (!code_lower(f, target, native, arm64_select, true, seed, &lowered, err))
        return err->status;
    arm64_align(code, 64);
    arm64_encode(&lowered, target, index, code);
    if (code->failed)
        return error_set(err, code->arena->failed || f->arena->failed ? WHET_ERROR_MEMORY : WHET_ERROR_UNSUPPORTED,
                         "arm64 code for '%s' cannot be made: %s", f->name, code->failed);
    return WHET_OK;
}

static TargetCode *keep(const Target *target, const Arm64Code *code, size_t code_size, size_t *entries, int count,
                        whet_error *err) {
    TargetCode parts = {.allocator = code->arena->allocator,
                        .bytes = code->data,
                        .size = code->size,
                        .code_size = code_size,
                        .entries = entries,
                        .entry_count = count,
                        .lines = code->lines,
                        .line_count = (int)code->line_count};
    return code_keep(target, &parts, code->line_count * sizeof *code->lines, 0, err);
}

whet_status arm64_compile(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed,
                          TargetCode **out, whet_error *err) {
    whet_error mine; /* the steps' statuses are read back, so there must be one */
    if (!err)
        err = &mine;
    error_clear(err);
    *out = NULL;
    Arena arena;
    arena_init(&arena, count ? functions[0]->arena->allocator : NULL);
    Arm64Code code = {.arena = &arena};
    size_t *entries = ARENA_ARRAY(&arena, size_t, (size_t)count + 1);
    arena_grow(&arena, &code.data, &code.capacity, 8192, 1);
    whet_status status = arena.failed ? error_memory(err) : WHET_OK;
    for (int i = 0; i < count && status == WHET_OK; i++) {
        arm64_align(&code, 64);
        entries[i] = code.size;
        status = add_function(target, functions[i], i, seed, &code, err);
    }
    if (status == WHET_OK) {
        size_t code_size = code.size;
        arm64_place_pool(&code);
        if (code.failed)
            status = error_memory(err);
        else if (!(*out = keep(target, &code, code_size, entries, count, err)))
            status = err->status;
    }
    arena_free(&arena);
    return status;
}
