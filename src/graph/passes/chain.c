/* Constant factors and terms along one axis, whatever they were written as: base * s + t. */
#include "graph/passes/pass.h"

void pass_chain_start(PassChain *chain, Arena *arena, int rank, int axis, int64_t channels) {
    *chain = (PassChain){.arena = arena, .channels = channels, .rank = rank, .axis = axis};
    chain->s = ARENA_ARRAY(arena, double, (size_t)channels);
    chain->t = ARENA_ARRAY(arena, double, (size_t)channels);
    for (int64_t c = 0; chain->s && chain->t && c < channels; c++) {
        chain->s[c] = 1;
        chain->t[c] = 0;
    }
}

/* What was the same for all varies along `axis` from now on. */
static bool spread(PassChain *chain, int axis, int64_t channels) {
    PassChain wide;
    pass_chain_start(&wide, chain->arena, chain->rank, axis, channels);
    if (!wide.s || !wide.t)
        return false;
    for (int64_t c = 0; c < channels; c++) {
        wide.s[c] = chain->s[0];
        wide.t[c] = chain->t[0];
    }
    *chain = wide;
    return true;
}

/* A constant that varies along the chain's axis alone: a step of it is *stride elements. False: it does not fit. */
static bool fits(PassChain *chain, const Value *value, int64_t *stride) {
    const Tensor *tensor = pass_known(value, DT_F32);
    if (!tensor || tensor->rank > chain->rank)
        return false;
    int before = chain->rank - tensor->rank, axis = -1;
    for (int d = 0; d < tensor->rank; d++) {
        if (tensor->dims[d] == 1)
            continue;
        if (tensor->dims[d] < 1 || axis >= 0)
            return false;
        axis = d + before;
    }
    *stride = axis >= 0;
    if (axis < 0)
        return true;
    int64_t channels = tensor->dims[axis - before];
    if (chain->axis < 0)
        return spread(chain, axis, channels);
    return axis == chain->axis && channels == chain->channels;
}

/* Would the constants broadcast a value of this type? */
static bool same_extent(const PassChain *chain, const Type *type) {
    return type->rank == chain->rank && (chain->axis < 0 || type->dims[chain->axis] == chain->channels);
}

/* What `node` multiplies or adds is absorbed. The base it leaves; NULL: it is something else. */
static Value *absorb(PassChain *chain, const Node *node) {
    bool mul = pass_is(node, "Mul");
    if ((!mul && !pass_is(node, "Add")) || node->opset < 7)
        return NULL;
    for (int i = 0; i < 2; i++) {
        Value *base = node->inputs[1 - i];
        int64_t stride;
        if (!base || !node->inputs[i] || !fits(chain, node->inputs[i], &stride) || !same_extent(chain, &base->type))
            continue;
        const Tensor *constant = node->inputs[i]->type.constant;
        for (int64_t c = 0; c < chain->channels; c++) {
            double value = pass_f32(constant, c * stride);
            if (mul)
                chain->s[c] *= value;
            else
                chain->t[c] += value * chain->s[c];
        }
        return base;
    }
    return NULL;
}

Value *pass_chain_absorb(PassChain *chain, const Graph *graph, Value *base) {
    while (base->mark == 1 && base->producer && base->graph == graph && chain->s && chain->t) {
        Value *next = absorb(chain, base->producer);
        if (!next)
            break;
        base = next;
    }
    return base;
}

static Node *operation(const PassChain *chain, const char *op, Value *x, const double *values, const Node *after) {
    float *data;
    int rank = chain->axis < 0 ? 0 : chain->rank - chain->axis;
    Value *constant = pass_channels(after->graph, after->outputs[0]->name, chain->channels, rank, &data);
    Node *node = constant ? pass_node(after->graph, op, 2, 0, after) : NULL;
    if (!node)
        return NULL;
    for (int64_t c = 0; c < chain->channels; c++)
        data[c] = (float)values[c];
    node->inputs[0] = x;
    node->inputs[1] = constant;
    return node;
}

Node *pass_chain_end(const PassChain *chain, Value *base, const Node *after) {
    if (!chain->s || !chain->t)
        return NULL;
    bool shifted = false;
    for (int64_t c = 0; c < chain->channels; c++)
        shifted |= chain->t[c] != 0;
    Node *last = operation(chain, "Mul", base, chain->s, after);
    return last && shifted ? operation(chain, "Add", last->outputs[0], chain->t, after) : last;
}
