/* Fuzz target: any bytes as a model, from memory and without a folder. They are read or refused; nothing else may happen. What
 * is read is also printed, and its constants are brought to where their elements are aligned, which walks all of it. */
// Seeds: examples/doodles/doodles.onnx ../shared/onnx-node/*/model.onnx
#include "onnx/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    whet_error err = {0};
    Model *model = onnx_read_memory(data, size, NULL, NULL, &err);
    if (!model)
        return 0;
    Text text;
    text_init(&text);
    for (size_t v = 0; v < model->graph->value_count; v++)
        if (model->graph->values[v]->type.constant)
            onnx_aligned(model->graph->values[v]->type.constant, &model->arena);
    if (size < 65536)
        graph_print(model->graph, &text);
    text_free(&text);
    model_free(model);
    return 0;
}
