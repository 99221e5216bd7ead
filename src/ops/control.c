/* If, Loop and Scan: subgraphs run through the executor.
 *
 * What a loop stacks up is appended to a buffer that doubles, so that any number of iterations costs linear time. Trip counts
 * are the model's word: nothing is allocated by them, and every iteration asks whether time is up.
 */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

static const Graph *body_of(const OpCall *call, const char *name) {
    const Attr *attr = op_attr(call, name);
    return attr && attr->kind == ATTR_GRAPH ? attr->graph : NULL;
}

static whet_status check_arity(OpCall *call, const char *name, int inputs, int least_outputs) {
    const Graph *body = body_of(call, name);
    if (!body)
        return op_error(call, WHET_ERROR_FORMAT, "wanted a graph as attribute %s", name);
    if (body->input_count != inputs)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d inputs; %d are wanted", name, body->input_count, inputs);
    if (body->output_count < least_outputs)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d outputs; at least %d are wanted", name, body->output_count,
                        least_outputs);
    return WHET_OK;
}

/* ---- Values -------------------------------------------------------------------------------------------------------------- */

static void release_all(OpRun *run, OpValue **values, int count) {
    for (int i = 0; i < count; i++) {
        op_value_release(run, values[i]);
        values[i] = NULL;
    }
}

static OpValue **value_array(OpRun *run, int count) {
    OpValue **values = op_scratch(run, ((size_t)count + 1) * sizeof *values);
    if (values)
        memset(values, 0, ((size_t)count + 1) * sizeof *values);
    return values;
}

static whet_status truth_of(OpRun *run, const Tensor *tensor, bool *out) {
    if (!tensor || tensor->type != WHET_BOOL || whet_tensor_count(tensor) != 1)
        return native_error(run, WHET_ERROR_DATA, "the condition must be one bool");
    *out = *(const uint8_t *)tensor->data != 0;
    return WHET_OK;
}

/* ---- Stacks: what an iteration gives, one after another ------------------------------------------------------------------ */

typedef struct Stack {
    OpValue *memory; /* bytes */
    size_t capacity, item;
    int64_t count;
    DType type;
    int rank;
    int64_t dims[WHET_MAX_RANK]; /* of one item */
} Stack;

static whet_status stack_grow(OpRun *run, Stack *stack) {
    size_t wanted, used = (size_t)stack->count * stack->item;
    if (!checked_size_mul((size_t)stack->count + 1, stack->item, &wanted))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    if (wanted <= stack->capacity)
        return WHET_OK;
    size_t capacity = wanted > SIZE_MAX / 4 ? wanted : wanted < 128 ? 256 : wanted * 2;
    void *data;
    OpValue *memory = op_value_new(run, DT_U8, 1, (const int64_t[]){(int64_t)capacity}, &data);
    if (!memory)
        return native_failed(run);
    if (used)
        memcpy(data, op_value_tensor(stack->memory)->data, used);
    op_value_release(run, stack->memory);
    stack->memory = memory;
    stack->capacity = capacity;
    return WHET_OK;
}

static whet_status stack_shape(OpRun *run, Stack *stack, const Tensor *item) {
    if (stack->count == 0) {
        stack->type = (DType)item->type;
        stack->rank = item->rank;
        memcpy(stack->dims, item->dims, sizeof stack->dims);
        stack->item = item->bytes;
        if (dtype_bits(stack->type) < 8 || stack->rank == WHET_MAX_RANK)
            return native_error(run, WHET_ERROR_UNSUPPORTED, "values of type %s and rank %d cannot be stacked",
                                dtype_name(stack->type), stack->rank);
        return WHET_OK;
    }
    bool same = stack->type == (DType)item->type && stack->rank == item->rank;
    for (int d = 0; same && d < item->rank; d++)
        same = stack->dims[d] == item->dims[d];
    return same ? WHET_OK : native_error(run, WHET_ERROR_DATA, "values to be stacked change their type or shape");
}

static whet_status stack_push(OpRun *run, Stack *stack, const Tensor *item) {
    whet_status status = stack_shape(run, stack, item);
    if (status == WHET_OK)
        status = stack_grow(run, stack);
    if (status != WHET_OK)
        return status;
    if (stack->item)
        memcpy((char *)op_value_tensor(stack->memory)->data + (size_t)stack->count * stack->item, item->data, stack->item);
    stack->count++;
    return WHET_OK;
}

static whet_status stack_push_zeros(OpRun *run, Stack *stack, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        whet_status status = stack_grow(run, stack);
        if (status != WHET_OK)
            return status;
        if (stack->item)
            memset((char *)op_value_tensor(stack->memory)->data + (size_t)stack->count * stack->item, 0, stack->item);
        stack->count++;
    }
    return WHET_OK;
}

/* Without an iteration the shape of an item is what the graph declares, unknown extents 0. */
static whet_status stack_declared(OpRun *run, Stack *stack, const Value *declared) {
    const Type *type = &declared->type;
    stack->type = type->type;
    stack->rank = type->rank < 0 ? 0 : type->rank;
    for (int d = 0; d < stack->rank; d++)
        stack->dims[d] = dim_is_extent(type->dims[d]) ? type->dims[d] : 0;
    if (stack->type == DT_NONE || dtype_bits(stack->type) < 8 || stack->rank == WHET_MAX_RANK)
        return native_error(run, WHET_ERROR_DATA, "no iteration ran, and the type of '%s' is not known", declared->name);
    return WHET_OK;
}

/* Output `index`: the items along a new axis, in order or backwards. */
static whet_status stack_output(OpRun *run, const Stack *stack, int index, int axis, bool reverse) {
    int64_t dims[WHET_MAX_RANK], to[WHET_MAX_RANK], from[WHET_MAX_RANK], item = 1;
    int rank = stack->rank + 1;
    for (int d = 0; d < rank; d++)
        dims[d] = d < axis ? stack->dims[d] : d == axis ? stack->count : stack->dims[d - 1];
    char *data = op_output(run, index, stack->type, rank, dims);
    if (!data)
        return native_failed(run);
    if (!stack->count || !stack->item)
        return WHET_OK;
    native_strides(rank, dims, to);
    for (int d = rank - 1; d >= 0; d--)
        if (d != axis) {
            from[d] = item;
            item *= dims[d];
        }
    from[axis] = reverse ? -item : item;
    size_t size = native_size(stack->type);
    const char *source = op_value_tensor(stack->memory)->data;
    native_copy(size, rank, dims, data, to, source + (reverse ? (size_t)(stack->count - 1) * stack->item : 0), from);
    return WHET_OK;
}

/* ---- If ------------------------------------------------------------------------------------------------------------------ */

static whet_status if_shape(OpCall *call) {
    whet_status status = check_arity(call, "then_branch", 0, call->out_count);
    if (status == WHET_OK)
        status = check_arity(call, "else_branch", 0, call->out_count);
    for (int i = 0; status == WHET_OK && i < call->out_count; i++) {
        DType yes = body_of(call, "then_branch")->outputs[i]->type.type, no = body_of(call, "else_branch")->outputs[i]->type.type;
        if (yes != no && yes != DT_NONE && no != DT_NONE)
            status = op_error(call, WHET_ERROR_DATA, "output %d is %s in one branch and %s in the other", i, dtype_name(yes),
                              dtype_name(no));
    }
    return status;
}

static whet_status if_run(OpRun *run) {
    bool taken = false;
    whet_status status = truth_of(run, op_input(run, 0), &taken);
    if (status != WHET_OK)
        return status;
    const Graph *branch = body_of(run->call, taken ? "then_branch" : "else_branch");
    OpValue **values = value_array(run, branch->output_count);
    if (!values)
        return native_failed(run);
    status = op_subgraph(run, branch, NULL, 0, values);
    for (int i = 0; status == WHET_OK && i < run->call->out_count; i++) {
        status = op_output_value(run, i, values[i]);
        values[i] = NULL;
    }
    release_all(run, values, branch->output_count);
    return status;
}

/* ---- Loop ---------------------------------------------------------------------------------------------------------------- */

static int loop_carried(const OpCall *call) {
    return call->in_count > 2 ? call->in_count - 2 : 0;
}

static whet_status loop_shape(OpCall *call) {
    int carried = loop_carried(call);
    int least = call->out_count > carried ? call->out_count : carried;
    for (int i = 2; i < call->in_count; i++)
        if (!op_has(call, i))
            return op_error(call, WHET_ERROR_FORMAT, "input %d is missing", i);
    return check_arity(call, "body", carried + 2, least + 1);
}

typedef struct Loop {
    const Graph *body;
    int carried, stacks;
    OpValue **in, **out; /* of the body */
    Stack *stack;
} Loop;

static whet_status loop_iteration(OpRun *run, Loop *loop, int64_t i, bool *condition) {
    void *data;
    release_all(run, loop->in, 2);
    loop->in[0] = op_value_new(run, DT_S64, 0, NULL, &data);
    if (!loop->in[0])
        return native_failed(run);
    *(int64_t *)data = i;
    loop->in[1] = op_value_new(run, DT_BOOL, 0, NULL, &data);
    if (!loop->in[1])
        return native_failed(run);
    *(uint8_t *)data = *condition;
    whet_status status = op_subgraph(run, loop->body, loop->in, loop->carried + 2, loop->out);
    if (status == WHET_OK)
        status = truth_of(run, op_value_tensor(loop->out[0]), condition);
    for (int v = 0; status == WHET_OK && v < loop->carried; v++) {
        op_value_release(run, loop->in[2 + v]);
        loop->in[2 + v] = loop->out[1 + v];
        loop->out[1 + v] = NULL;
    }
    for (int s = 0; status == WHET_OK && s < loop->stacks; s++)
        status = stack_push(run, &loop->stack[s], op_value_tensor(loop->out[1 + loop->carried + s]));
    release_all(run, loop->out, loop->body->output_count);
    return status;
}

static whet_status loop_outputs(OpRun *run, Loop *loop) {
    whet_status status = WHET_OK;
    for (int v = 0; status == WHET_OK && v < loop->carried && v < run->call->out_count; v++) {
        status = op_output_value(run, v, loop->in[2 + v]);
        loop->in[2 + v] = NULL;
    }
    for (int s = 0; status == WHET_OK && s < loop->stacks && loop->carried + s < run->call->out_count; s++) {
        if (!loop->stack[s].count)
            status = stack_declared(run, &loop->stack[s], loop->body->outputs[1 + loop->carried + s]);
        if (status == WHET_OK)
            status = stack_output(run, &loop->stack[s], loop->carried + s, 0, false);
    }
    return status;
}

static whet_status loop_all(OpRun *run, Loop *loop) {
    const Tensor *most = op_input(run, 0), *start = op_input(run, 1);
    bool condition = true;
    whet_status status = start ? truth_of(run, start, &condition) : WHET_OK;
    if (status == WHET_OK && most && whet_tensor_count(most) != 1)
        status = native_error(run, WHET_ERROR_DATA, "the trip count must be one number");
    int64_t trips = status == WHET_OK && most ? *(const int64_t *)most->data : INT64_MAX;
    for (int v = 0; status == WHET_OK && v < loop->carried; v++) {
        loop->in[2 + v] = op_value_of_input(run, 2 + v);
        if (!loop->in[2 + v])
            status = native_failed(run);
    }
    for (int64_t i = 0; status == WHET_OK && condition && i < trips; i++) {
        status = loop_iteration(run, loop, i, &condition);
        if (status == WHET_OK)
            status = op_interrupted(run);
    }
    return status == WHET_OK ? loop_outputs(run, loop) : status;
}

static Stack *stack_array(OpRun *run, int count) {
    Stack *stacks = op_scratch(run, ((size_t)count + 1) * sizeof *stacks);
    if (stacks)
        memset(stacks, 0, ((size_t)count + 1) * sizeof *stacks);
    return stacks;
}

static whet_status loop_run(OpRun *run) {
    Loop loop = {.body = body_of(run->call, "body"), .carried = loop_carried(run->call)};
    loop.stacks = loop.body->output_count - 1 - loop.carried;
    loop.in = value_array(run, loop.carried + 2);
    loop.out = loop.in ? value_array(run, loop.body->output_count) : NULL;
    loop.stack = loop.out ? stack_array(run, loop.stacks) : NULL;
    if (!loop.stack)
        return native_failed(run);
    whet_status status = loop_all(run, &loop);
    release_all(run, loop.in, loop.carried + 2);
    for (int s = 0; s < loop.stacks; s++)
        op_value_release(run, loop.stack[s].memory);
    return status;
}

/* ---- Scan ---------------------------------------------------------------------------------------------------------------- */

/* In version 8 a first input gives sequence lengths, and everything has a batch dimension in front. */
static bool is_batched(const OpCall *call) {
    return call->row->since < 9;
}

static int scan_values(const OpCall *call) {
    return call->in_count - is_batched(call);
}

/* An element of a list of ints, one an operand; 0 where the list is not given. */
static int64_t listed(OpCall *call, const char *name, int index) {
    int count;
    const int64_t *values = op_ints(call, name, &count);
    return values && index < count ? values[index] : 0;
}

static whet_status check_list(OpCall *call, const char *name, int wanted, bool is_direction) {
    int count;
    const int64_t *values = op_ints(call, name, &count);
    if (values && count != wanted)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d elements; %d are wanted", name, count, wanted);
    for (int i = 0; values && is_direction && i < count; i++)
        if (values[i] != 0 && values[i] != 1)
            return op_error(call, WHET_ERROR_FORMAT, "%s[%d] is %lld; wanted 0 or 1", name, i, (long long)values[i]);
    return WHET_OK;
}

static whet_status scan_shape(OpCall *call) {
    int values = scan_values(call);
    int64_t scanned = op_int(call, "num_scan_inputs");
    if (scanned < 1 || scanned > values)
        return op_error(call, WHET_ERROR_FORMAT, "num_scan_inputs is %lld; wanted 1 to %d", (long long)scanned, values);
    int states = values - (int)scanned;
    whet_status status = check_arity(call, "body", values, call->out_count > states ? call->out_count : states);
    int stacks = status == WHET_OK ? body_of(call, "body")->output_count - states : 0;
    if (status == WHET_OK && is_batched(call))
        return check_list(call, "directions", (int)scanned, true);
    if (status == WHET_OK)
        status = check_list(call, "scan_input_directions", (int)scanned, true);
    if (status == WHET_OK)
        status = check_list(call, "scan_output_directions", stacks, true);
    if (status == WHET_OK)
        status = check_list(call, "scan_input_axes", (int)scanned, false);
    return status == WHET_OK ? check_list(call, "scan_output_axes", stacks, false) : status;
}

typedef struct Scan {
    const Graph *body;
    int first, states, scanned, stacks; /* first: input where states begin */
    int64_t steps, batches;
    OpValue **in, **out;
    Stack *stack;  /* of scan outputs */
    Stack *finals; /* of final states, one a batch */
    const int64_t *lens;
} Scan;

/* A copy of `tensor` at place `at` of `axis`, the axis dropped. */
static OpValue *slice_of(OpRun *run, const Tensor *tensor, int axis, int64_t at, const int64_t *batch) {
    int64_t strides[WHET_MAX_RANK], from[WHET_MAX_RANK], dims[WHET_MAX_RANK], offset = 0;
    int rank = 0;
    native_strides(tensor->rank, tensor->dims, strides);
    for (int d = 0; d < tensor->rank; d++) {
        if (batch && d == 0) {
            offset += *batch * strides[0];
        } else if (d == axis) {
            offset += at * strides[d];
        } else {
            dims[rank] = tensor->dims[d];
            from[rank++] = strides[d];
        }
    }
    void *data;
    OpValue *value = op_value_new(run, (DType)tensor->type, rank, dims, &data);
    if (!value)
        return NULL;
    size_t size = native_size((DType)tensor->type);
    native_copy_dense(size, rank, dims, data, (const char *)tensor->data + offset * (int64_t)size, from);
    return value;
}

static whet_status scan_step(OpRun *run, Scan *scan, const int64_t *batch, int64_t t, int64_t length) {
    OpCall *call = run->call;
    for (int i = 0; i < scan->scanned; i++) {
        const Tensor *x = op_input(run, scan->first + scan->states + i);
        bool reverse = listed(call, batch ? "directions" : "scan_input_directions", i) != 0;
        int axis = batch ? 1 : op_axis(call, listed(call, "scan_input_axes", i), x->rank);
        OpValue **slot = &scan->in[scan->states + i];
        op_value_release(run, *slot);
        *slot = slice_of(run, x, axis, reverse ? length - 1 - t : t, batch);
        if (!*slot)
            return native_failed(run);
    }
    whet_status status = op_subgraph(run, scan->body, scan->in, scan->states + scan->scanned, scan->out);
    for (int v = 0; status == WHET_OK && v < scan->states; v++) {
        op_value_release(run, scan->in[v]);
        scan->in[v] = scan->out[v];
        scan->out[v] = NULL;
    }
    for (int s = 0; status == WHET_OK && s < scan->stacks; s++)
        status = stack_push(run, &scan->stack[s], op_value_tensor(scan->out[scan->states + s]));
    release_all(run, scan->out, scan->body->output_count);
    return status == WHET_OK ? op_interrupted(run) : status;
}

static whet_status scan_batch(OpRun *run, Scan *scan, int64_t b) {
    bool batched = is_batched(run->call);
    const int64_t *batch = batched ? &b : NULL;
    int64_t length = scan->lens ? scan->lens[b] : scan->steps;
    whet_status status = WHET_OK;
    if (length < 0 || length > scan->steps)
        return native_error(run, WHET_ERROR_DATA, "sequence length %lld is outside [0, %lld]", (long long)length,
                            (long long)scan->steps);
    release_all(run, scan->in, scan->states + scan->scanned);
    for (int v = 0; v < scan->states; v++) {
        const Tensor *x = op_input(run, scan->first + v);
        scan->in[v] = batched ? slice_of(run, x, -1, 0, batch) : op_value_of_input(run, scan->first + v);
        if (!scan->in[v])
            return native_failed(run);
    }
    for (int64_t t = 0; status == WHET_OK && t < length; t++)
        status = scan_step(run, scan, batch, t, length);
    for (int s = 0; status == WHET_OK && batched && length && s < scan->stacks; s++)
        status = stack_push_zeros(run, &scan->stack[s], scan->steps - length);
    for (int v = 0; status == WHET_OK && batched && v < scan->states; v++)
        status = stack_push(run, &scan->finals[v], op_value_tensor(scan->in[v]));
    return status;
}

/* The stacked steps of all batches as [batch, steps, ...]. */
static whet_status batched_output(OpRun *run, const Scan *scan, const Stack *stack, int index) {
    int64_t dims[WHET_MAX_RANK] = {scan->batches, scan->steps};
    if (stack->count != scan->batches * scan->steps || stack->rank > WHET_MAX_RANK - 2)
        return native_error(run, WHET_ERROR_UNSUPPORTED, "a batch without steps is not supported");
    memcpy(dims + 2, stack->dims, (size_t)stack->rank * sizeof *dims);
    void *data = op_output(run, index, stack->type, stack->rank + 2, dims);
    if (!data)
        return native_failed(run);
    if (stack->count && stack->item)
        memcpy(data, op_value_tensor(stack->memory)->data, (size_t)stack->count * stack->item);
    return WHET_OK;
}

static whet_status scan_stack_output(OpRun *run, const Scan *scan, int s) {
    OpCall *call = run->call;
    Stack *stack = &scan->stack[s];
    whet_status status = stack->count ? WHET_OK : stack_declared(run, stack, scan->body->outputs[scan->states + s]);
    if (status != WHET_OK)
        return status;
    if (is_batched(call))
        return batched_output(run, scan, stack, scan->states + s);
    int axis = op_axis(call, listed(call, "scan_output_axes", s), stack->rank + 1);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    return stack_output(run, stack, scan->states + s, axis, listed(call, "scan_output_directions", s) != 0);
}

static whet_status scan_outputs(OpRun *run, Scan *scan) {
    whet_status status = WHET_OK;
    for (int v = 0; status == WHET_OK && v < scan->states && v < run->call->out_count; v++) {
        if (is_batched(run->call)) {
            status = stack_output(run, &scan->finals[v], v, 0, false);
        } else {
            status = op_output_value(run, v, scan->in[v]);
            scan->in[v] = NULL;
        }
    }
    for (int s = 0; status == WHET_OK && s < scan->stacks && scan->states + s < run->call->out_count; s++)
        status = scan_stack_output(run, scan, s);
    return status;
}

/* Steps and batches, from the scanned inputs, which must agree. */
static whet_status scan_extents(OpRun *run, Scan *scan) {
    OpCall *call = run->call;
    bool batched = is_batched(call);
    for (int i = 0; i < scan->states + scan->scanned; i++) {
        const Tensor *x = op_input(run, scan->first + i);
        bool scanned = i >= scan->states;
        if (dtype_bits((DType)x->type) < 8 || x->rank < batched + (batched && scanned))
            return native_error(run, WHET_ERROR_DATA, "input %d, %s of rank %d, cannot be scanned", scan->first + i,
                                dtype_name((DType)x->type), x->rank);
        if (batched && scan->batches >= 0 && x->dims[0] != scan->batches)
            return native_error(run, WHET_ERROR_DATA, "input %d has a batch of %lld; %lld is wanted", scan->first + i,
                                (long long)x->dims[0], (long long)scan->batches);
        scan->batches = batched ? x->dims[0] : 1;
        if (!scanned)
            continue;
        int axis = batched ? 1 : op_axis(call, listed(call, "scan_input_axes", i - scan->states), x->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (scan->steps >= 0 && x->dims[axis] != scan->steps)
            return native_error(run, WHET_ERROR_DATA, "input %d has %lld steps; %lld are wanted", scan->first + i,
                                (long long)x->dims[axis], (long long)scan->steps);
        scan->steps = x->dims[axis];
    }
    if (batched && op_input(run, 0)) {
        if (whet_tensor_count(op_input(run, 0)) != scan->batches)
            return native_error(run, WHET_ERROR_DATA, "there are %lld sequence lengths for a batch of %lld",
                                (long long)whet_tensor_count(op_input(run, 0)), (long long)scan->batches);
        scan->lens = op_input(run, 0)->data;
    }
    return WHET_OK;
}

static whet_status scan_run(OpRun *run) {
    OpCall *call = run->call;
    Scan scan = {.body = body_of(call, "body"), .first = is_batched(call), .steps = -1, .batches = -1};
    scan.scanned = (int)op_int(call, "num_scan_inputs");
    scan.states = scan_values(call) - scan.scanned;
    scan.stacks = scan.body->output_count - scan.states;
    whet_status status = scan_extents(run, &scan);
    if (status != WHET_OK)
        return status;
    scan.in = value_array(run, scan.states + scan.scanned);
    scan.out = scan.in ? value_array(run, scan.body->output_count) : NULL;
    scan.stack = scan.out ? stack_array(run, scan.stacks) : NULL;
    scan.finals = scan.stack ? stack_array(run, scan.states) : NULL;
    if (!scan.finals)
        return native_failed(run);
    for (int64_t b = 0; status == WHET_OK && b < scan.batches; b++)
        status = scan_batch(run, &scan, b);
    if (status == WHET_OK)
        status = scan_outputs(run, &scan);
    release_all(run, scan.in, scan.states + scan.scanned);
    for (int s = 0; s < scan.stacks; s++)
        op_value_release(run, scan.stack[s].memory);
    for (int v = 0; v < scan.states; v++)
        op_value_release(run, scan.finals[v].memory);
    return status;
}

#define SCAN_LISTS "scan_input_axes:I scan_input_directions:I scan_output_axes:I scan_output_directions:I"

// clang-format off
const OpRow ops_control[] = {
    {"", "If", 1, "cond:bool -> outputs...:*", "", "else_branch:g! then_branch:g!", if_shape, .run = if_run},
    {"", "Loop", 1, "M?:s64, cond?:bool, v?...:* -> outputs...:*", "", "body:g!", loop_shape, .run = loop_run},
    {"", "Scan", 8, "sequence_lens?:s64, values...:* -> outputs...:*", "", "body:g! directions:I num_scan_inputs:i!", scan_shape, .run = scan_run},
    {"", "Scan", 9, "values...:* -> outputs...:*", "", "body:g! num_scan_inputs:i! " SCAN_LISTS, scan_shape, .run = scan_run},
};
// clang-format on
const size_t ops_control_count = COUNT(ops_control);
