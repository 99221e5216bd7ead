/* The table of operations as data, for the builder, printer, parser, checker and interpreter. */
#include "vector/vector.h"

const VectorInfo vector_info[VECTOR_OP_COUNT] = {
#define X(name, text, result, args, more, types, tie, flops)                                                                     \
    [VECTOR_##name] = {text, result, args, more, sizeof args - 1, VECTOR_CLASS(result), tie, flops, types},
    VECTOR_OPS(X)
#undef X
};

int vector_lanes(const VectorFunction *f, DType type) {
    return f->bytes * 8 / dtype_bits(type);
}

bool vector_is_innermost(const VectorFunction *f, int loop) {
    for (int i = loop + 1; i < f->ops[loop].other; i++)
        if (f->ops[i].code == VECTOR_LOOP)
            return false;
    return true;
}
