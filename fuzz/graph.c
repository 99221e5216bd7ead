/* Fuzz target: any text as a graph. It parses or is refused; what parses prints, and what was printed parses to what prints the
 * same. Resolving and inference then give an answer or an error, and leave a graph that keeps the rules. */
// Seeds: tests/graph/*.txt
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The body of a test file, between its first line and "=== wanted"; all of any other text. */
static size_t body(const char **text, size_t size) {
    const char *line = size && **text == '#' ? memchr(*text, '\n', size) : NULL;
    if (line) {
        size -= (size_t)(line + 1 - *text);
        *text = line + 1;
    }
    for (size_t i = 0; i + 4 <= size; i++)
        if (memcmp(*text + i, "\n===", 4) == 0)
            return i + 1;
    return size;
}

static void check_round_trip(const Text *printed) {
    whet_error err = {0};
    Text again;
    Model *model = graph_parse(printed->data, printed->length, NULL, &err);
    if (!model)
        abort();
    text_init(&again);
    graph_print(model->graph, &again);
    if (!again.failed && strcmp(again.data, printed->data) != 0)
        abort();
    text_free(&again);
    model_free(model);
}

static void check_inference(Model *model) {
    whet_error err = {0};
    if (graph_resolve(model, &err) || graph_infer(model, &err))
        return;
    if (graph_check(model->graph, "infer", &err))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    whet_error err = {0};
    const char *text = (const char *)data;
    size = body(&text, size);
    Model *model = graph_parse(text, size, NULL, &err);
    if (!model)
        return 0;
    Text printed;
    text_init(&printed);
    graph_print(model->graph, &printed);
    if (!printed.failed)
        check_round_trip(&printed);
    text_free(&printed);
    check_inference(model);
    model_free(model);
    return 0;
}
