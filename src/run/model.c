/* Models, as the public header shows them: read, resolve, infer, and the program that sessions run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/reader.h"
#include "run/handles.h"

static whet_status prepare(whet_model *out, double reading, whet_error *err) {
    Model *model = out->model;
    double start = clock_now();
    whet_status status = graph_widen(model, err);
    if (!status)
        status = graph_resolve(model, err);
    if (!status)
        status = graph_infer_loosely(model, err);
    if (!status)
        status = graph_simplify(model, err);
    if (status)
        return *model->path ? error_prefix(err, "%s", model->path) : status;
    whet_precision precision = out->options.precision;
    graph_set_precision(model, precision == WHET_PRECISION_BF16 || (precision == WHET_PRECISION_MODEL && model->bf16_weights));
    out->program = program_new(&model->arena, model->graph, err);
    out->shared = shared_new(model, out->options.allocator, out->options.exact != 0, out->options.perf_map != 0);
    if (!out->program || !out->shared)
        return error_memory(err);
    shared_note(out->shared, PHASE_READ, reading, 0);
    shared_note(out->shared, PHASE_ANALYSE, clock_now() - start, 0);
    return WHET_OK;
}

whet_status model_finish(Model *model, double start, const whet_options *options, whet_model **out, whet_error *err) {
    double reading = clock_now() - start;
    if (!model)
        return err->status;
    whet_model *made = calloc(1, sizeof *made);
    if (!made) {
        model_free(model);
        return error_memory(err);
    }
    made->model = model;
    made->options = options ? *options : (whet_options){0};
    whet_status status = prepare(made, reading, err);
    if (status) {
        whet_model_free(made);
        return status;
    }
    *out = made;
    return WHET_OK;
}

whet_status whet_model_load(const char *path, const whet_options *options, whet_model **out, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    *out = NULL;
    double start = clock_now();
    return model_finish(onnx_read(path, options ? options->allocator : NULL, err), start, options, out, err);
}

whet_status whet_model_load_memory(const void *data, size_t size, const char *folder, const whet_options *options,
                                   whet_model **out, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    *out = NULL;
    double start = clock_now();
    return model_finish(onnx_read_memory(data, size, folder, options ? options->allocator : NULL, err), start, options, out, err);
}

void whet_model_free(whet_model *model) {
    if (!model)
        return;
    shared_free(model->shared);
    model_free(model->model);
    free(model);
}

whet_status whet_model_check(const char *path, const whet_options *options, char **report, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    *report = NULL;
    Model *model = onnx_read(path, options ? options->allocator : NULL, err);
    if (!model)
        return err->status;
    Text text;
    text_init(&text);
    whet_status status = graph_report(model, &text, err);
    model_free(model);
    if (status == WHET_OK || status == WHET_ERROR_UNSUPPORTED) {
        *report = text_steal(&text);
        return *report ? status : error_memory(err);
    }
    text_free(&text);
    return status;
}

/* An input that a constant stands for is not asked for. */
bool model_input_given(const Value *value) {
    return !value->type.constant && !value->is_initializer;
}

static const Value *given_input(const whet_model *model, int index) {
    const Graph *graph = model->model->graph;
    for (int i = 0; i < graph->input_count; i++)
        if (model_input_given(graph->inputs[i]) && index-- == 0)
            return graph->inputs[i];
    return NULL;
}

int whet_model_input_count(const whet_model *model) {
    const Graph *graph = model->model->graph;
    int count = 0;
    for (int i = 0; i < graph->input_count; i++)
        count += model_input_given(graph->inputs[i]);
    return count;
}

int whet_model_output_count(const whet_model *model) {
    return model->model->graph->output_count;
}

static void describe(const whet_model *model, const Value *value, whet_value_info *out) {
    const Type *type = &value->type;
    *out = (whet_value_info){.name = value->name, .type = (whet_type)type->type, .rank = type->rank};
    for (int i = 0; i < type->rank; i++) {
        bool known = dim_is_extent(type->dims[i]);
        const char *symbol = known || type->dims[i] == DIM_UNKNOWN ? NULL : dim_symbol_name(model->model->symbols, type->dims[i]);
        out->dims[i] = known ? type->dims[i] : -1;
        out->symbols[i] = symbol ? symbol : "";
    }
}

whet_status whet_model_input(const whet_model *model, int index, whet_value_info *out) {
    const Value *value = index < 0 ? NULL : given_input(model, index);
    if (!value)
        return WHET_ERROR_ARGUMENT;
    describe(model, value, out);
    return WHET_OK;
}

whet_status whet_model_output(const whet_model *model, int index, whet_value_info *out) {
    if (index < 0 || index >= model->model->graph->output_count)
        return WHET_ERROR_ARGUMENT;
    describe(model, model->model->graph->outputs[index], out);
    return WHET_OK;
}

whet_status whet_model_startup(const whet_model *model, int index, whet_event *out) {
    if (index < 0 || index >= PHASE_COUNT)
        return WHET_ERROR_ARGUMENT;
    shared_noted(model->shared, (Phase)index, out);
    out->name = model->model->path;
    return WHET_OK;
}

const char *whet_model_metadata(const whet_model *model, const char *key) {
    for (int i = 0; i < model->model->metadata_count; i++)
        if (strcmp(model->model->metadata[i].key, key) == 0)
            return model->model->metadata[i].value;
    return NULL;
}
