/* What the tests of the ONNX reader share: models of one node or tensor, and what must become of them. */
#ifndef ONNX_EXPECT_H
#define ONNX_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/reader.h"
#include "onnx_writer.h"

static inline Model *read_in(Bytes model, const char *folder, whet_error *err) {
    return onnx_read_memory(model.data, model.length, folder, NULL, err);
}

/* The graph's text form without its first two lines must be `want`. Uses up `model`. */
static inline void reads_as(Bytes model, const char *want) {
    whet_error err = {0};
    Model *read = read_in(model, NULL, &err);
    if (!read)
        fail_msg("refused: %s", err.message);
    Text text;
    text_init(&text);
    graph_print(read->graph, &text);
    const char *body = strstr(text.data, "graph ");
    assert_non_null(body);
    assert_string_equal(body, want);
    text_free(&text);
    model_free(read);
    free(model.data);
}

/* It must be refused, with `status` and a message that holds `part`. Uses up `model`. */
static inline void refuses(Bytes model, whet_status status, const char *part) {
    whet_error err = {0};
    Model *read = read_in(model, NULL, &err);
    if (read)
        fail_msg("read, and should have been refused: %s", part);
    if (!strstr(err.message, part))
        fail_msg("refused with \"%s\", which should say \"%s\"", err.message, part);
    assert_int_equal(err.status, status);
    assert_null(read_in(model, NULL, NULL)); /* without anybody to tell */
    free(model.data);
}

/* A graph "g" with nodes `nodes` (used up), input x[2] and output y. */
static inline Bytes graph_of(Bytes nodes) {
    Bytes graph = {0};
    put_raw(&graph, nodes.data, nodes.length);
    free(nodes.data);
    put_text(&graph, 2, "g");
    put_message(&graph, 11, make_value("x", 1, (int64_t[]){2}));
    put_message(&graph, 12, make_value("y", -2, NULL));
    return graph;
}

static inline Bytes one_node(Bytes node) {
    Bytes nodes = {0};
    put_message(&nodes, 1, node);
    return graph_of(nodes);
}

/* A graph that puts out its initializer `tensor`, which is called w. */
static inline Bytes tensor_model(Bytes tensor) {
    Bytes graph = {0};
    put_text(&graph, 2, "g");
    put_message(&graph, 5, tensor);
    put_message(&graph, 12, make_value("w", -2, NULL));
    return make_model(graph);
}

static inline void tensor_reads_as(Bytes tensor, const char *want) {
    char whole[1024];
    snprintf(whole, sizeof whole, "graph \"g\" {\n  constant %%w: %s\n  out %%w\n}\n", want);
    reads_as(tensor_model(tensor), whole);
}

static inline void tensor_refused(Bytes tensor, const char *part) {
    whet_status status = strstr(part, "support") ? WHET_ERROR_UNSUPPORTED : WHET_ERROR_FORMAT;
    refuses(tensor_model(tensor), status, part);
}

static inline Bytes tensor_1d(int type, int64_t count) {
    return make_tensor("w", type, 1, &count);
}

#endif
