/* Fuzz target: any bytes as a model, from memory and without a folder. They are read or refused; nothing else may happen. What
 * is read is also printed and aligned, which walks all of it. */
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
    if (onnx_align(model, &err) == WHET_OK && size < 65536)
        graph_print(model->graph, &text);
    text_free(&text);
    model_free(model);
    return 0;
}
