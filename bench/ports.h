/* What limits the operations of vector code on a core: the pipes that run them, and those that load and store. A table for Zen 4;
 * other cores differ. */
#ifndef WHET_BENCH_PORTS_H
#define WHET_BENCH_PORTS_H

#include "vector/vector.h"

enum { MULTIPLY, ADD, SHUFFLE, ANY, LOAD, STORE, DIVIDE, PORTS };
/* Pipes of Zen 4, by what goes beside what (two FMAs and a maximum take no longer than two FMAs, two sums and a maximum do): 0
 * and 1 multiply and compare; 2 and 3 add, choose extremes, shift and round; 1 and 2 shuffle. 4 and 5 load half a register each,
 * 6 stores half of one: as with arithmetic, whole registers take two turns. 7 divides, beside the others. */
static const int pipes[PORTS] = {3, 12, 6, 15, 48, 64, 128};

static inline int port_of(const VectorOp *op, int *times) {
    *times = 1;
    switch (op->code) {
    case VECTOR_MUL:
    case VECTOR_FMA:
    case VECTOR_FNMA:
    case VECTOR_EQ:
    case VECTOR_NE:
    case VECTOR_LT:
    case VECTOR_LE:
    case VECTOR_UNORDERED: return MULTIPLY;
    case VECTOR_DIV: *times = 3; return DIVIDE;
    case VECTOR_SQRT: *times = 5; return DIVIDE;
    case VECTOR_SCALE: *times = 2; return ADD;
    case VECTOR_MIN:
    case VECTOR_MAX:
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR: return op->type == DT_F32 ? ADD : ANY;
    case VECTOR_ADD:
    case VECTOR_SUB: return op->type == DT_F32 ? ADD : ANY;
    case VECTOR_SHL:
    case VECTOR_SHR:
    case VECTOR_SAR:
    case VECTOR_FLOOR:
    case VECTOR_ROUND:
    case VECTOR_CVT: return ADD;
    case VECTOR_PERMUTE:
    case VECTOR_PICK:
    case VECTOR_EVEN:
    case VECTOR_ODD:
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH:
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD:
    case VECTOR_LOOKUP:
    case VECTOR_LOOKUP_PAIR: return SHUFFLE;
    case VECTOR_LOAD: return LOAD;
    case VECTOR_GATHER: *times = 22; return LOAD; /* measured, from L1, in any order of elements; one by one takes as long */
    case VECTOR_STORE: return STORE;
    case VECTOR_AND:
    case VECTOR_OR:
    case VECTOR_XOR:
    case VECTOR_AND_NOT:
    case VECTOR_SELECT: return ANY;
    default: *times = 0; return ANY;
    }
}

/* As many multiplications of whole registers as would take the same time: each takes two pipes, and no set of pipes does more
 * than it has. */
static inline double multiplications(const double *work, bool *memory) {
    double most = 0;
    for (int set = 1; set < 256; set++) {
        double inside = 0;
        for (int k = 0; k < PORTS; k++)
            inside += pipes[k] & ~set ? 0 : work[k];
        double share = 2 * inside / __builtin_popcount((unsigned)set);
        *memory = share > most ? (set & 112) != 0 : *memory;
        most = share > most ? share : most;
    }
    return most;
}

#endif
