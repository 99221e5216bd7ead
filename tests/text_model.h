/* Models for tests from the graph's text form: constants of floats and bytes that the text gives by a hash alone are filled from
 * a seed, inputs likewise. To be included behind cmocka.h. */
#ifndef TEXT_MODEL_H
#define TEXT_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "run/handles.h"

static inline uint64_t text_model_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Floats in [-scale, scale), integers of any value. */
static inline void text_model_fill(whet_tensor *t, double scale, uint64_t seed) {
    for (int64_t i = 0, count = whet_tensor_count(t); i < count; i++) {
        double part = (double)text_model_random(&seed) / (1 << 30) - 1; /* [-1, 1) */
        bool is_float = dtype_kind((DType)t->type) == KIND_FLOAT;
        whet_tensor_set(t, i, is_float ? part * scale : (double)(int64_t)((part + 1) * 127));
    }
}

/* The scale of the constant of this name, by which it is filled. */
typedef double TextModelScale(void *context, const char *name, const Type *type);

static inline bool text_model_fill_constants(Model *model, TextModelScale *scale, void *context, uint64_t seed) {
    for (size_t v = 0; v < model->graph->value_count; v++) {
        Value *value = model->graph->values[v];
        if (!value->is_initializer || value->type.constant)
            continue;
        Tensor *t = ARENA_NEW(&model->arena, Tensor);
        if (!t)
            return false;
        *t = (Tensor){.type = (whet_type)value->type.type, .rank = value->type.rank};
        memcpy(t->dims, value->type.dims, (size_t)t->rank * sizeof *t->dims);
        t->bytes = (size_t)whet_tensor_count(t) * whet_type_bits(t->type) / 8;
        t->data = arena_alloc(&model->arena, t->bytes, 1);
        if (!t->data)
            return false;
        text_model_fill(t, scale(context, value->name, &value->type), seed + v * 77);
        value->type.constant = t;
    }
    return true;
}

/* NULL: `err` says why. */
static inline whet_model *text_model_load(const char *text, size_t length, TextModelScale *scale, void *context, uint64_t seed,
                                          const whet_options *options, whet_error *err) {
    double start = clock_now();
    whet_model *out = NULL;
    Model *model = graph_parse(text, length, options ? options->allocator : NULL, err);
    if (model && !text_model_fill_constants(model, scale, context, seed)) {
        model_free(model);
        model = NULL;
        error_memory(err);
    }
    return model_finish(model, start, options, &out, err) == WHET_OK ? out : NULL;
}

#endif
