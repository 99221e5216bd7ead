/* The table of operations as data, for the builder, printer, parser, checker and interpreter. */
#include "vector/vector.h"

const VectorInfo vector_info[VECTOR_OP_COUNT] = {
#define X(name, text, result, args, types, tie, flops) [VECTOR_##name] = {text, result, args, types, tie, flops},
    VECTOR_OPS(X)
#undef X
};

_Static_assert('#' < 'B' && '?' < 'B' && 'A' < 'B' && '\0' < 'B', "vector_arg_count stops at these");

RegisterClass vector_class(char letter) {
    switch (letter) {
    case 'V':
    case 'W': return CLASS_VECTOR;
    case 'M': return CLASS_MASK;
    case 'P': return CLASS_POINTER;
    case 'I': return CLASS_INDEX;
    case 'T': return CLASS_TILE;
    default: return CLASS_NONE;
    }
}

int vector_lanes(const VectorFunction *f, DType type) {
    return f->bytes * 8 / dtype_bits(type);
}
