/* Copies of the constants that are misaligned for their type. In a file, a tensor's data begins wherever the message before it
 * ended; reading f32 through a float pointer wants a multiple of four. */
#include "onnx/reader.h"
#include "onnx/tensor.h"

#include <string.h>

static bool align_tensor(Model *model, const Tensor *constant) {
    Tensor *tensor = (Tensor *)(uintptr_t)constant; /* the model's own, const only to those who read it */
    if (!tensor || tensor_is_aligned(tensor))
        return true;
    void *copy = map_heap(tensor->bytes, &model->arena, &model->maps);
    if (!copy)
        return false;
    memcpy(copy, tensor->data, tensor->bytes);
    tensor->data = copy;
    return true;
}

/* Recursion is as deep as subgraphs nest, which the reader limits. */
static bool align_graph(Model *model, const Graph *graph) {
    for (size_t i = 0; i < graph->value_count; i++)
        if (!align_tensor(model, graph->values[i]->type.constant))
            return false;
    for (size_t i = 0; i < graph->node_count; i++)
        for (int j = 0; j < graph->nodes[i]->attr_count; j++) {
            const Attr *attr = &graph->nodes[i]->attrs[j];
            if (!align_tensor(model, attr->tensor) || (attr->graph && !align_graph(model, attr->graph)))
                return false;
        }
    return true;
}

whet_status onnx_align(Model *model, whet_error *err) {
    return align_graph(model, model->graph) ? WHET_OK : error_memory(err);
}

const Tensor *onnx_aligned(const Tensor *tensor, Arena *arena) {
    if (tensor_is_aligned(tensor))
        return tensor;
    Tensor *copy = arena_copy(arena, tensor, sizeof *tensor);
    if (copy)
        copy->data = arena_copy(arena, tensor->data, tensor->bytes);
    return copy && copy->data ? copy : NULL;
}
