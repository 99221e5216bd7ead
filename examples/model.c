/* Loads an ONNX model and runs it once: the least that takes.
 *
 *     model MODEL.onnx
 *
 * Every input gets ones; a dimension that the model leaves open is 1. Prints each output's name, shape and first elements.
 *
 *     cc model.c $(pkg-config --cflags --libs whet)
 */
#include <stdio.h>
#include <stdlib.h>

#include "whet.h"

/* A tensor of ones for input `index`; its memory is the caller's to free. */
static whet_status ones(const whet_model *model, int index, whet_tensor *tensor, const char **name, whet_error *err) {
    whet_value_info info;
    whet_status status = whet_model_input(model, index, &info);
    if (status)
        return status;
    *tensor = (whet_tensor){.type = info.type, .rank = info.rank < 0 ? 0 : info.rank};
    *name = info.name;
    for (int d = 0; d < tensor->rank; d++)
        tensor->dims[d] = info.dims[d] < 0 ? 1 : info.dims[d];
    int64_t count = whet_tensor_count(tensor);
    tensor->bytes = ((size_t)count * whet_type_bits(info.type) + 7) / 8;
    tensor->data = count < 0 || info.type == WHET_STRING ? NULL : calloc(tensor->bytes + 1, 1);
    if (!tensor->data) {
        snprintf(err->message, sizeof err->message, "cannot make input %s", info.name);
        return WHET_ERROR_MEMORY;
    }
    for (int64_t i = 0; i < count; i++)
        whet_tensor_set(tensor, i, 1.0);
    return WHET_OK;
}

static whet_status print_outputs(const whet_model *model, const whet_session *session, whet_error *err) {
    for (int i = 0; i < whet_model_output_count(model); i++) {
        whet_value_info info;
        whet_tensor tensor;
        whet_status status = whet_model_output(model, i, &info);
        if (!status)
            status = whet_session_output(session, i, &tensor, err);
        if (status)
            return status;
        printf("%s: %s[", info.name, whet_type_name(tensor.type));
        for (int d = 0; d < tensor.rank; d++)
            printf("%s%lld", d ? ", " : "", (long long)tensor.dims[d]);
        printf("] =");
        for (int64_t k = 0; k < whet_tensor_count(&tensor) && k < 8; k++)
            printf(" %.4g", whet_tensor_get(&tensor, k));
        printf("\n");
    }
    return WHET_OK;
}

int main(int argc, char **argv) {
    enum { INPUTS = 16 };
    whet_error err = {0};
    whet_model *model = NULL;
    whet_session *session = NULL;
    whet_tensor inputs[INPUTS] = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: model MODEL.onnx\n");
        return 2;
    }
    whet_status status = whet_model_load(argv[1], NULL, &model, &err);
    if (!status)
        status = whet_session_new(model, NULL, &session, &err);
    for (int i = 0; !status && i < whet_model_input_count(model) && i < INPUTS; i++) {
        const char *name;
        status = ones(model, i, &inputs[i], &name, &err);
        if (!status)
            status = whet_session_set_input(session, name, &inputs[i], &err);
    }
    if (!status)
        status = whet_session_run(session, &err);
    if (!status)
        status = print_outputs(model, session, &err);
    if (status)
        fprintf(stderr, "%s: %s: %s\n", argv[1], whet_status_name(status), err.message);

    whet_session_free(session);
    whet_model_free(model);
    for (int i = 0; i < INPUTS; i++)
        free(inputs[i].data);
    return status != WHET_OK;
}
