/* The driver: vector code in, code out. The pipeline is drawn in arm64.h. */
#include "target/arm64/arm64.h"

static whet_status add_lowered(const Target *target, const VectorFunction *f, int index, uint64_t seed, Arm64Code *code,
                               RegisterClass *missing, whet_error *err) {
    Arm64Selection selection;
    VectorAllocation allocation;
    if (!arm64_select(f, target, &selection, err))
        return err->status;
    VectorRegisters registers = {
        .none = selection.none, .tie = selection.tie, .scratch = selection.scratch, .late = selection.late, .seed = seed};
    for (int c = 0; c < CLASS_COUNT; c++) {
        registers.count[c] = target->registers[c];
        registers.same[c] = (RegisterClass)c;
    }
    registers.same[CLASS_POINTER] = CLASS_INDEX;
    if (!arm64_scalable(target))
        registers.same[CLASS_MASK] = CLASS_VECTOR;
    if (!vector_allocate(f, &registers, f->arena, &allocation, err)) {
        *missing = registers.same[allocation.missing];
        return err->status;
    }
    arm64_align(code, 64);
    arm64_encode(f, target, &selection, &allocation, index, code);
    if (code->failed)
        return error_set(err, code->arena->failed || f->arena->failed ? WHET_ERROR_MEMORY : WHET_ERROR_UNSUPPORTED,
                         "arm64 code for '%s' cannot be made: %s", f->name, code->failed);
    return WHET_OK;
}

/* Constants of innermost loops stay in registers where there are enough. Where general registers run out, counters stay in
 * addresses, at an addition each. */
static whet_status add_function(const Target *target, const VectorFunction *f, int index, uint64_t seed, Arm64Code *code,
                                whet_error *err) {
    enum { HOISTED = 14 };
    bool native[VECTOR_OP_COUNT], indexed = false, hoist = true;
    Target unit;
    if (target->tiles.count && arm64_has_tiles(f)) {
        unit = arm64_unit(target);
        target = &unit;
    }
    arm64_native(target, native);
    f = vector_rewrite(f, native, err);
    if (!f)
        return err->status;
    for (;;) {
        RegisterClass missing = CLASS_NONE;
        const VectorFunction *ready = hoist ? vector_hoist_constants(f, HOISTED, target->registers[CLASS_VECTOR], err) : f;
        bool hoisted = ready != f;
        ready = ready ? vector_lower_addresses(ready, indexed, err) : NULL;
        whet_status status = ready ? add_lowered(target, ready, index, seed, code, &missing, err) : err->status;
        if (missing == CLASS_VECTOR && hoisted)
            hoist = false;
        else if (missing == CLASS_INDEX && !indexed)
            indexed = true;
        else
            return status;
        error_clear(err);
    }
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
