/* The cost model: default knobs from registers, lanes and caches alone. */
#ifndef WHET_SCHEDULE_COST_H
#define WHET_SCHEDULE_COST_H

#include "target/target.h"

typedef struct ContractShape {
    int64_t rows, columns, depth;
    int64_t all_rows;     /* of all lines that one panel serves; `rows` are those of a line */
    int64_t row_bytes;    /* from a row of A to the next; 0: nearby */
    int64_t result_bytes; /* the same of the result */
    int64_t step_bytes;   /* from a step of depth to the next in B as it lies; 0: it is packed */
    int results;          /* and of so many operands: itself and what is read beside it */
    bool packed_once;     /* B serves any number of rows */
    bool even_blocks;     /* and how its depth is cut shows in it */
    bool masked;          /* columns that are left over are masked while B is read */
    int first_spare;      /* what `spare` was before code did not fit, which many rows' may not where one row's does */
    bool by_lane;         /* a vector of each row of A is kept over several steps, and two of B */
    bool paired;          /* two rows by two columns at once: a vector of each pair of rows of A is kept, and two of B */
    bool apart;           /* an element of A is spread over a vector by an instruction of its own */
} ContractShape;

typedef struct ContractKnobs {
    int mr, nv; /* rows and vectors of a tile */
    int unroll; /* of the depth */
    int64_t kc; /* depth of a block */
    int64_t mc; /* rows of a block, a multiple of mr */
} ContractKnobs;

/* Knobs that are set (not 0) are kept. `panel_limit`: most bytes of a block of a panel, 0: what the caches suggest. `spare`:
 * vector registers that a tile leaves to its epilogue. Gives the issue slots of the whole product. */
double cost_contract(const Target *target, ContractShape shape, int element_bytes, int64_t panel_limit, int spare,
                     ContractKnobs *knobs);

/* Vectors of half the length are better: of columns that fill them, where they are as fast. What is packed once decides by its
 * columns alone. */
bool cost_prefers_half(const Target *target, const Target *half, ContractShape shape);

/* Slots of packing `depth` rows of B, whose columns are `step` elements apart, in a run; of transposing or copying so many
 * elements. */
double cost_pack(const Target *target, int64_t depth, int64_t columns, int64_t step);
double cost_transpose(const Target *target, int64_t elements);
double cost_copy(const Target *target, int64_t elements, bool apart); /* with a border around them; from apart */

/* Keys of attention that are taken at once. */
int64_t cost_attend_keys(const Target *target);

#endif
