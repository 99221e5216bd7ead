/* Sessions: a model's program, the inputs given, and the outputs of the last run. */
#include <stdlib.h>
#include <string.h>

#include "run/handles.h"

struct whet_session {
    const whet_model *model;
    whet_options options;
    Runner runner;
    Tensor *given; /* one an input of the graph; data NULL and rank -1: not given */
    OpValue **inputs, **outputs;
    bool ran; /* outputs are there */
};

whet_status whet_session_new(const whet_model *model, const whet_options *options, whet_session **out, whet_error *err) {
    error_clear(err);
    *out = NULL;
    const Graph *graph = model->model->graph;
    whet_session *s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(err);
    s->model = model;
    s->options = options ? *options : model->options;
    s->given = calloc((size_t)graph->input_count + 1, sizeof *s->given);
    s->inputs = calloc((size_t)graph->input_count + 1, sizeof *s->inputs);
    s->outputs = calloc((size_t)graph->output_count + 1, sizeof *s->outputs);
    whet_status status = runner_init(&s->runner, model->program, model->shared, &s->options, err);
    if (!status && (!s->given || !s->inputs || !s->outputs))
        status = error_memory(err);
    if (status) {
        whet_session_free(s);
        return status;
    }
    for (int i = 0; i < graph->input_count; i++)
        s->given[i].rank = -1;
    *out = s;
    return WHET_OK;
}

static void drop_values(OpValue **values, int count) {
    for (int i = 0; values && i < count; i++) {
        value_drop(values[i]);
        values[i] = NULL;
    }
}

void whet_session_free(whet_session *session) {
    if (!session)
        return;
    drop_values(session->outputs, session->model->model->graph->output_count);
    runner_free(&session->runner);
    free(session->given);
    free(session->inputs);
    free(session->outputs);
    free(session);
}

/* Type and shape of what is given against what the model declares. */
static whet_status check_input(const Model *model, const Value *value, const whet_tensor *tensor, whet_error *err) {
    const Type *want = &value->type;
    Text seen, wanted;
    text_init(&seen);
    text_init(&wanted);
    int64_t count;
    size_t bytes;
    whet_status status = WHET_OK;
    if (!dtype_known((int64_t)tensor->type) || tensor->rank < 0 || tensor->rank > WHET_MAX_RANK ||
        !checked_count(tensor->dims, tensor->rank, &count) || !dtype_bytes((DType)tensor->type, count, &bytes))
        status = error_set(err, WHET_ERROR_ARGUMENT, "input '%s': the tensor given has no valid type and shape", value->name);
    else if (tensor->bytes < bytes || (bytes && !tensor->data))
        status =
            error_set(err, WHET_ERROR_ARGUMENT, "input '%s': %zu bytes of data; wanted: %zu", value->name, tensor->bytes, bytes);
    bool fits = status || want->type == DT_NONE || (int)want->type == (int)tensor->type;
    if (!status && want->rank >= 0) {
        fits = fits && want->rank == tensor->rank;
        for (int i = 0; fits && i < want->rank; i++)
            fits = !dim_is_extent(want->dims[i]) || want->dims[i] == tensor->dims[i];
    }
    if (!fits) {
        Type given = {.type = (DType)tensor->type, .rank = tensor->rank};
        memcpy(given.dims, tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims);
        type_print(model->symbols, &given, &seen);
        type_print(model->symbols, want, &wanted);
        status = error_set(err, WHET_ERROR_ARGUMENT, "input '%s' is %s; wanted: %s", value->name, seen.data, wanted.data);
    }
    text_free(&seen);
    text_free(&wanted);
    return status;
}

static whet_status no_input(const Graph *graph, const char *name, whet_error *err) {
    Text has;
    text_init(&has);
    for (int i = 0; i < graph->input_count; i++)
        text_printf(&has, "%s%s", i ? ", " : "", graph->inputs[i]->name);
    error_set(err, WHET_ERROR_ARGUMENT, "the model has no input '%s'; it has: %s", name, graph->input_count ? has.data : "none");
    text_free(&has);
    return WHET_ERROR_ARGUMENT;
}

whet_status whet_session_set_input(whet_session *session, const char *name, const whet_tensor *tensor, whet_error *err) {
    error_clear(err);
    const Graph *graph = session->model->model->graph;
    int i = 0;
    while (i < graph->input_count && strcmp(graph->inputs[i]->name, name) != 0)
        i++;
    if (i == graph->input_count)
        return no_input(graph, name, err);
    if (!model_input_given(graph->inputs[i]))
        return error_set(err, WHET_ERROR_ARGUMENT, "input '%s' has its value in the model, and it is compiled in", name);
    whet_status status = check_input(session->model->model, graph->inputs[i], tensor, err);
    if (!status)
        session->given[i] = *tensor;
    return status;
}

/* One symbol has one extent in all inputs. Inputs were checked one by one when they were given. */
static whet_status check_symbols(const whet_session *s, whet_error *err) {
    const Model *model = s->model->model;
    const Graph *graph = model->graph;
    for (int i = 0; i < graph->input_count; i++)
        for (int d = 0; s->given[i].rank >= 0 && d < graph->inputs[i]->type.rank; d++) {
            Dim dim = graph->inputs[i]->type.dims[d];
            if (dim_is_extent(dim) || dim == DIM_UNKNOWN)
                continue;
            for (int j = 0; j <= i; j++)
                for (int e = 0; s->given[j].rank >= 0 && e < graph->inputs[j]->type.rank; e++)
                    if (graph->inputs[j]->type.dims[e] == dim && s->given[j].dims[e] != s->given[i].dims[d])
                        return error_set(err, WHET_ERROR_ARGUMENT,
                                         "dimension '%s' is %lld in input '%s' and %lld in input '%s'; wanted: the same",
                                         dim_symbol_name(model->symbols, dim), (long long)s->given[j].dims[e],
                                         graph->inputs[j]->name, (long long)s->given[i].dims[d], graph->inputs[i]->name);
        }
    return WHET_OK;
}

static whet_status take_inputs(whet_session *s, whet_error *err) {
    const Graph *graph = s->model->model->graph;
    for (int i = 0; i < graph->input_count; i++) {
        if (!model_input_given(graph->inputs[i]))
            continue;
        if (s->given[i].rank < 0)
            return error_set(err, WHET_ERROR_ARGUMENT, "input '%s' was not given", graph->inputs[i]->name);
        s->inputs[i] = value_borrow(&s->runner.pool, &s->given[i], err);
        if (!s->inputs[i])
            return WHET_ERROR_MEMORY;
    }
    return check_symbols(s, err);
}

whet_status whet_session_run(whet_session *session, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    whet_session *s = session;
    const Graph *graph = s->model->model->graph;
    drop_values(s->outputs, graph->output_count);
    s->ran = false;
    s->runner.flops = 0;
    s->runner.deadline = s->options.time_limit > 0 ? clock_now() + s->options.time_limit : 0;
    pool_mark(&s->runner.pool);
    profile_start(s->runner.profile);
    const double start = clock_now(), spare = s->runner.took; /* packing may double the time of a run */
    s->runner.spare = (Spare){spare, shared_next_run(s->model->shared)};
    whet_status status = take_inputs(s, err);
    if (!status && s->runner.spare.run == 1)
        runner_touch(&s->runner, graph);
    if (!status)
        status = runner_run(&s->runner, graph, NULL, s->inputs, s->outputs, err);
    runner_rest(&s->runner);
    shared_settle(s->model->shared);
    s->runner.took = clock_now() - start - (spare - s->runner.spare.seconds);
    drop_values(s->inputs, graph->input_count);
    s->ran = !status;
    if (status == WHET_ERROR_LIMIT)
        error_prefix(err, "stopped after %.3g s, of %.3g s allowed", clock_now() - start, s->options.time_limit);
    return status;
}

whet_status whet_session_output(const whet_session *session, int index, whet_tensor *out, whet_error *err) {
    error_clear(err);
    int count = session->model->model->graph->output_count;
    if (index < 0 || index >= count)
        return error_set(err, WHET_ERROR_ARGUMENT, "output %d of a model with %d", index, count);
    if (!session->ran)
        return error_set(err, WHET_ERROR_ARGUMENT, "there are no outputs: the session has not run, or its last run failed");
    *out = session->outputs[index]->tensor;
    return WHET_OK;
}

int whet_session_event_count(const whet_session *session) {
    return profile_count(session->runner.profile);
}

whet_status whet_session_event(const whet_session *session, int index, whet_event *out) {
    if (index < 0 || index >= profile_count(session->runner.profile))
        return WHET_ERROR_ARGUMENT;
    *out = *profile_event(session->runner.profile, index);
    return WHET_OK;
}

double whet_session_flops(const whet_session *session) {
    return session->runner.flops;
}

size_t whet_session_peak_bytes(const whet_session *session) {
    return session->runner.pool.peak;
}
