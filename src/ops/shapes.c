/* Shape rules that many rows share. */
#include "ops/ops.h"

whet_status shape_same(OpCall *call) {
    for (int i = 0; i < call->out_count; i++)
        op_same_shape(call, i, 0);
    return WHET_OK;
}

whet_status shape_broadcast(OpCall *call) {
    Type all = {.rank = 0};
    for (int i = 0; i < call->in_count; i++) {
        if (!call->in[i])
            continue;
        whet_status status = op_broadcast(call, &all, &all, call->in[i]);
        if (status)
            return status;
        if (all.rank < 0)
            return WHET_OK;
    }
    op_set_shape(call, 0, all.rank, all.dims);
    return WHET_OK;
}
