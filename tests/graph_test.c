/* Graphs as text files: tests/graph/NAME.txt holds "# print", "# sort" or "# infer", a graph, a line "=== wanted", and what comes
 * out: the text after that step, or "error: " and a part of the message. Whatever parses must also come back from its own text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "graph/graph.h"

#define FOLDER "tests/graph"

static char *print(const Graph *graph) {
    Text text;
    text_init(&text);
    graph_print(graph, &text);
    return text_steal(&text);
}

static char *print_report(Model *model) {
    Text text;
    text_init(&text);
    whet_error err;
    whet_status status = graph_report(model, &text, &err);
    text_printf(&text, "=> %s\n", whet_status_name(status));
    return text_steal(&text);
}

static whet_status run_step(const char *step, Model *model, whet_error *err) {
    if (strcmp(step, "print") == 0 || strcmp(step, "report") == 0)
        return WHET_OK;
    if (strcmp(step, "sort") == 0)
        return graph_sort(model->graph, err);
    whet_status status = strcmp(step, "widen") == 0 ? graph_widen(model, err) : WHET_OK;
    if (!status)
        status = graph_resolve(model, err);
    bool simplify = strcmp(step, "simplify") == 0;
    if (!status)
        status = simplify ? graph_infer_loosely(model, err) : graph_infer(model, err);
    if (!status && simplify)
        status = graph_simplify(model, err);
    return status;
}

static void expect_round_trip(const char *name, const char *text) {
    whet_error err;
    Model *model = graph_parse(text, strlen(text), NULL, &err);
    if (!model)
        fail_msg("%s: what was printed does not parse: %s\n%s", name, err.message, text);
    char *again = print(model->graph);
    if (strcmp(text, again) != 0)
        fail_msg("%s: printed\n%s\nread back and printed\n%s", name, text, again);
    free(again);
    model_free(model);
}

/* WHET_ACCEPT=1: what comes out becomes what is wanted. Look at the difference before you commit it. */
static void accept(const char *name, const char *printed) {
    char path[512];
    snprintf(path, sizeof path, FOLDER "/%s", name);
    size_t length;
    char *text = file_read(path, &length);
    assert_non_null(text);
    size_t head = (size_t)(strstr(text, "\n=== wanted\n") + strlen("\n=== wanted\n") - text);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(text, 1, head, file);
    fputs(printed, file);
    fclose(file);
    free(text);
}

static void expect(const char *name, const char *step, const char *text, size_t length, const char *wanted) {
    whet_error err = {0};
    Model *model = graph_parse(text, length, NULL, &err);
    whet_status status = model ? run_step(step, model, &err) : err.status;
    if (strncmp(wanted, "error: ", 7) == 0) {
        char part[512];
        snprintf(part, sizeof part, "%.*s", (int)strcspn(wanted + 7, "\n"), wanted + 7);
        if (!status || !strstr(err.message, part))
            fail_msg("%s: wanted the error '%s', got '%s'", name, part, status ? err.message : "none");
    } else {
        if (status)
            fail_msg("%s: %s", name, err.message);
        bool report = strcmp(step, "report") == 0;
        char *printed = report ? print_report(model) : print(model->graph);
        if (strcmp(printed, wanted) != 0 && getenv("WHET_ACCEPT"))
            accept(name, printed);
        else if (strcmp(printed, wanted) != 0)
            fail_msg("%s: got\n%s\nwanted\n%s", name, printed, wanted);
        if (!report)
            expect_round_trip(name, printed);
        free(printed);
    }
    model_free(model);
}

static void run_case(const char *name) {
    char path[512], step[16];
    snprintf(path, sizeof path, FOLDER "/%s", name);
    size_t length;
    char *text = file_read(path, &length);
    assert_non_null(text);
    char *split = strstr(text, "\n=== wanted\n");
    if (!split || sscanf(text, "# %15s", step) != 1)
        fail_msg("%s: needs a first line '# step' and a line '=== wanted'", name);
    expect(name, step, text, (size_t)(split + 1 - text), split + strlen("\n=== wanted\n"));
    free(text);
}

static void test_files(void **state) {
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (length < 4 || strcmp(entry->d_name + length - 4, ".txt") != 0)
            continue;
        run_case(entry->d_name);
        count++;
    }
    closedir(folder);
    print_message("%d files\n", count);
    assert_true(count > 0);
}

/* A chain of 50,000 nodes, written backwards, sorts without recursion. */
static void test_long_chain(void **state) {
    (void)state;
    enum { LENGTH = 50000 };
    Text text;
    text_init(&text);
    text_put(&text, "ir 8\nopset 17\ngraph \"chain\" {\n  in %v0: f32[n]\n");
    for (int i = LENGTH; i > 0; i--)
        text_printf(&text, "  %%v%d: f32[n] = Relu(%%v%d)\n", i, i - 1);
    text_printf(&text, "  out %%v%d\n}\n", LENGTH);
    whet_error err;
    Model *model = graph_parse(text.data, text.length, NULL, &err);
    assert_non_null(model);
    assert_int_equal(graph_sort(model->graph, &err), WHET_OK);
    for (int i = 0; i < LENGTH; i++)
        assert_int_equal(model->graph->nodes[i]->number, LENGTH - 1 - i);
    model_free(model);
    text_free(&text);
}

/* Every prefix of a text is refused or read, never more. */
static void test_prefixes(void **state) {
    (void)state;
    size_t length;
    char *text = file_read(FOLDER "/print_everything.txt", &length);
    assert_non_null(text);
    for (size_t i = 0; i < length; i++) {
        char *copy = malloc(i ? i : 1); /* so that reading behind the end shows */
        memcpy(copy, text, i);
        whet_error err;
        Model *model = graph_parse(copy, i, NULL, &err);
        model_free(model);
        free(copy);
    }
    free(text);
}

/* Memory of which only so many pieces are to be had. */
static void *give(void *context, size_t bytes, size_t alignment) {
    int *left = context;
    return *left > 0 ? ((*left)--, aligned_alloc(alignment, bytes)) : NULL;
}

static void take_back(void *context, void *pointer, size_t bytes) {
    (void)context;
    (void)bytes;
    free(pointer);
}

/* Out of memory at every allocation in turn: an error that says so, nothing leaked (under ASan), nothing touched that is not
 * there. */
static void test_memory(void **state) {
    (void)state;
    static const char *const files[] = {"infer_reshape.txt", "infer_if_constant.txt", "infer_constants.txt", "infer_if_open.txt"};
    for (size_t f = 0; f < COUNT(files); f++) {
        char path[512];
        snprintf(path, sizeof path, FOLDER "/%s", files[f]);
        size_t length;
        char *text = file_read(path, &length);
        assert_non_null(text);
        length = (size_t)(strstr(text, "\n=== wanted\n") + 1 - text);
        whet_status status = WHET_ERROR_MEMORY;
        for (int pieces = 0; status; pieces++) {
            int left = pieces;
            whet_allocator allocator = {&left, give, take_back};
            whet_error err = {0};
            Model *model = graph_parse(text, length, &allocator, &err);
            status = model ? graph_resolve(model, &err) : err.status;
            if (!status)
                status = graph_infer(model, &err);
            if (status && (err.status != WHET_ERROR_MEMORY || status != err.status) && !strstr(err.message, "out of memory"))
                fail_msg("%s, %d allocations: %s", files[f], pieces, err.message);
            model_free(model);
            assert_true(pieces < 10000);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
