/* The insides of a Symbols table, for symbols.c (arithmetic) and dims_text.c (printing and parsing). */
#ifndef WHET_GRAPH_SYMBOLS_H
#define WHET_GRAPH_SYMBOLS_H

#include "graph/graph.h"

#define DIM_MAX_TERMS  16    /* of one sum */
#define DIM_MAX_DEGREE 8     /* atoms of one product */
#define DIM_MAX_SIZE   128   /* terms and atoms of the whole tree of an expression */
#define DIM_MAX_SUMS   65536 /* of a table */
#define DIM_MAX_NAME   256   /* bytes of a symbol's name */

typedef enum AtomKind { ATOM_SYMBOL, ATOM_FLOORDIV, ATOM_MAX, ATOM_MIN } AtomKind;

typedef struct Atom {
    AtomKind kind;
    const char *name; /* of a symbol */
    Dim a, b;         /* operands of the others */
    int size;
} Atom;

/* coef * atom[0] * atom[1] ...; atoms in order, repeated for powers. Bytes that are not used are zero: terms are hashed. */
typedef struct Term {
    int64_t coef; /* not 0 */
    int32_t degree;
    uint32_t atom[DIM_MAX_DEGREE];
    uint32_t unused; /* no padding */
} Term;

typedef struct Sum {
    const Term *terms;
    int count;
    int size;
    Dim handle;
} Sum;

struct Symbols {
    Arena *arena;
    Atom *atoms;
    size_t atom_count, atom_capacity;
    Sum *sums;
    size_t sum_count, sum_capacity;
    Map by_name;     /* symbol's name -> index of its atom + 1 */
    Map by_operands; /* kind and operands -> index of the atom + 1 */
    Map by_terms;    /* terms -> Sum */
    Map stems;       /* of dim_fresh -> the next number to try */
};

const Sum *symbols_sum(const Symbols *symbols, Dim d); /* `d` is a handle */

#endif
