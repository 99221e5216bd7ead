/* The rewrites of a graph before it is lowered: what they make rounds otherwise than what the file says, within the stated
 * tolerance, or not at all. A flat list of calls. */
#include "graph/passes/pass.h"

whet_status graph_simplify(Model *model, whet_error *err) {
    bool changed = false;
    bool fine = pass_nbits(model, &changed) && pass_integer(model, &changed);
    if (fine && changed) { /* what comes next asks for types */
        whet_status status = graph_sort(model->graph, err);
        if (!status)
            status = graph_infer_loosely(model, err);
        if (status)
            return status;
    }
    fine = fine && pass_affine(model, &changed);
    if (fine && changed) { /* types of what it has made */
        whet_status status = graph_sort(model->graph, err);
        if (!status)
            status = graph_infer_loosely(model, err);
        if (status)
            return status;
    }
    fine = fine && pass_rescale(model, &changed);
    whet_status status = fine && changed ? graph_sort(model->graph, err) : WHET_OK; /* repetitions are found in order */
    if (status)
        return status;
    if (!fine || !pass_repeat(model, &changed))
        return error_memory(err);
    return changed ? graph_infer(model, err) : WHET_OK;
}
