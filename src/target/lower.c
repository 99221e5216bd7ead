/* Vector code as encoders take it: the passes in their order, again with less where registers run out. */
#include "target/lower.h"

enum { HOISTED = 14 };

bool code_select_new(const VectorFunction *f, CodeSelection *out, whet_error *err) {
    size_t values = (size_t)f->value_count + 1, ops = (size_t)f->op_count + 1;
    *out = (CodeSelection){ARENA_ARRAY(f->arena, bool, values), ARENA_ARRAY(f->arena, signed char, ops),
                           ARENA_ARRAY(f->arena, unsigned char, ops), ARENA_ARRAY(f->arena, bool, ops)};
    return !f->arena->failed || (error_memory(err), false);
}

bool code_allocate(const Target *target, uint64_t seed, CodeLowered *out, whet_error *err) {
    const CodeSelection *s = &out->selection;
    VectorRegisters registers = {.none = s->none, .tie = s->tie, .scratch = s->scratch, .late = s->late, .seed = seed};
    for (int c = 0; c < CLASS_COUNT; c++) {
        registers.count[c] = target->registers[c];
        registers.same[c] = (RegisterClass)c;
    }
    registers.same[CLASS_POINTER] = CLASS_INDEX;
    if (!target->registers[CLASS_MASK])
        registers.same[CLASS_MASK] = CLASS_VECTOR;
    return vector_allocate(out->f, &registers, out->f->arena, &out->at, err);
}

bool code_lower(const VectorFunction *f, const Target *target, const bool native[VECTOR_OP_COUNT], CodeSelect *select, bool hoist,
                uint64_t seed, CodeLowered *out, whet_error *err) {
    f = vector_rewrite(f, native, err);
    for (bool indexed = false; f;) {
        VectorHoisted hoisted = {0};
        if (hoist)
            vector_hoist_constants(f, HOISTED, target->registers[CLASS_VECTOR], &hoisted);
        out->f = vector_lower_addresses(f, indexed, &hoisted, err);
        if (!out->f || !select(out->f, target, &out->selection, err))
            return false;
        if (code_allocate(target, seed, out, err))
            return true;
        RegisterClass missing = out->at.same[out->at.missing];
        if (missing == CLASS_VECTOR && hoisted.count)
            hoist = false;
        else if (missing == CLASS_INDEX && !indexed)
            indexed = true;
        else
            return false;
        error_clear(err);
    }
    return false;
}
