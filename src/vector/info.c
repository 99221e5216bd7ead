/* The table of operations as data, for the builder, printer, parser, checker and interpreter. */
#include "vector/vector.h"

const VectorInfo vector_info[VECTOR_OP_COUNT] = {
#define X(name, text, result, args, types, tie, flops) [VECTOR_##name] = {text, result, args, types, tie, flops},
    VECTOR_OPS(X)
#undef X
};

_Static_assert('#' < 'B' && '?' < 'B' && 'A' < 'B' && '\0' < 'B', "vector_arg_count stops at these");

int vector_lanes(const VectorFunction *f, DType type) {
    return f->bytes * 8 / dtype_bits(type);
}

bool vector_is_innermost(const VectorFunction *f, int loop) {
    for (int i = loop + 1; i < f->ops[loop].other; i++)
        if (f->ops[i].code == VECTOR_LOOP)
            return false;
    return true;
}
