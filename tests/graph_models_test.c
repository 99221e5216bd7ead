/* Real models through reader, inference and text form: what is printed must come back. Skipped where they are missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "graph/graph.h"
#include "onnx/reader.h"

static const char *shared(void) {
    const char *folder = getenv("WHET_SHARED");
    return folder ? folder : "../shared";
}

static void expect_round_trip(const char *path, const Graph *graph) {
    Text once, twice;
    text_init(&once);
    text_init(&twice);
    graph_print(graph, &once);
    whet_error err;
    Model *read = graph_parse(once.data, once.length, NULL, &err);
    if (!read)
        fail_msg("%s: what was printed does not parse: %s", path, err.message);
    graph_print(read->graph, &twice);
    size_t same = 0;
    while (once.data[same] && once.data[same] == twice.data[same])
        same++;
    if (once.length != twice.length || same != once.length)
        fail_msg("%s: printed\n%.300s\nread back and printed\n%.300s", path, once.data + same, twice.data + same);
    model_free(read);
    text_free(&once);
    text_free(&twice);
}

/* Values of the main graph of which type or shape is not known. */
static size_t count_unknown(const Graph *graph) {
    size_t unknown = 0;
    for (size_t i = 0; i < graph->value_count; i++) {
        const Type *type = &graph->values[i]->type;
        bool known = type->type != DT_NONE && type->rank >= 0;
        for (int d = 0; d < type->rank; d++)
            known = known && type->dims[d] != DIM_UNKNOWN;
        unknown += !known;
    }
    return unknown;
}

static void run_model(const char *path, bool verbose) {
    whet_error err;
    Model *model = onnx_read(path, NULL, &err);
    if (!model)
        fail_msg("%s: %s", path, err.message);
    expect_round_trip(path, model->graph);
    clock_t start = clock();
    whet_status status = graph_resolve(model, &err);
    if (!status)
        status = graph_infer(model, &err);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (verbose)
        printf("%-60s %-12s %5.0f ms, %zu nodes, %zu of %zu values open%s%s\n", path, whet_status_name(status), seconds * 1e3,
               model->graph->node_count, count_unknown(model->graph), model->graph->value_count, status ? ": " : "",
               status ? err.message : "");
    if (status && status != WHET_ERROR_UNSUPPORTED)
        fail_msg("%s: %s", path, err.message);
    expect_round_trip(path, model->graph);
    if (!status)
        assert_int_equal(graph_check(model->graph, "infer", &err), WHET_OK);
    model_free(model);
}

static void test_models(void **state) {
    (void)state;
    char pattern[1024];
    snprintf(pattern, sizeof pattern, "%s/models/real/*/*/model.onnx", shared());
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) {
        print_message("skipped: no models at %s\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        run_model(found.gl_pathv[i], getenv("WHET_VERBOSE") != NULL);
    print_message("%zu models\n", found.gl_pathc);
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
