/* What the parts of the contraction template share: contract.c recognises and plans, contract_emit.c makes vector code,
 * contract_run.c drives it. */
#ifndef WHET_SCHEDULE_CONTRACT_H
#define WHET_SCHEDULE_CONTRACT_H

#include "schedule/cost.h"
#include "schedule/schedule.h"

enum { CONTRACT_MAX_DEPTH = 4, CONTRACT_VARIANTS = 16, CONTRACT_MAX_SUMS = 64 };

typedef struct ContractVariant {
    int mr, nv;
    int edge_lanes; /* of the last vector; 0: all */
    int64_t depth;
    bool first, last; /* block of depth: sums start from zero; the epilogue is applied */
} ContractVariant;

typedef struct Contract {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;
    const Expr *reduction;
    int a, b;                              /* accesses */
    int m_axis;                            /* -1: extent 1 */
    int n_axis[NEST_MAX_AXES], n_count;    /* outermost first; one axis to all accesses but B */
    int outer[NEST_MAX_AXES], outer_count; /* walked by the driver */
    int k_axis[NEST_MAX_AXES], k_count;    /* outermost first, as B is packed */
    struct {
        int64_t extent, a_stride;
    } level[CONTRACT_MAX_DEPTH]; /* the same steps as A walks them: neighbours merged */
    int level_count;
    int epilogue[NEST_MAX_ACCESSES], epilogue_count;
    int64_t rows, columns, depth, inner_depth;
    int lanes, nr;
    ContractKnobs knobs;
    int64_t blocks, panels, batches;
    size_t panel_bytes, packed_bytes;
    bool constant;         /* B was packed when compiling */
    int function[4][2][2]; /* first, middle, last, only block; rows left over; edge of the columns */
} Contract;

/* The stride of an access along N. */
static inline int64_t contract_n_stride(const Contract *k, int access) {
    return k->n_count ? k->nest.access[access].stride[k->n_axis[k->n_count - 1]] : 0;
}

static inline int64_t contract_m_stride(const Contract *k, int access) {
    return k->m_axis < 0 ? 0 : k->nest.access[access].stride[k->m_axis];
}

/* contract_emit.c: all functions that the shape needs, into c->functions and k->function. */
bool contract_emit(Contract *k, Compiled *c, const char **why, whet_error *err);
/* contract_pack.c: steps [from, end) of depth of panel `panel` of batch `batch`, from B as it lies to [end - from][nr] floats. */
void contract_pack_panel(const Contract *k, const void *b, int64_t batch, int64_t panel, int64_t from, int64_t end, float *to);
/* contract_run.c */
whet_status contract_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
