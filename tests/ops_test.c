/* Operators: that the tables are in order, and what single nodes infer and compute.
 *
 * tests/ops/NAME.txt holds cases of this form. Inputs are constants, so that inference folds the node with the kernel that would
 * run; or symbolic, where only the shape is asked for.
 *
 *     # what it shows
 *     opset 13
 *     constant %x: f32[2, 2] = {1.0, 2.0, 3.0, 4.0}
 *     %y: ? = Softmax(%x)
 *     => f32[2, 2] {0.268941, 0.731059, 0.268941, 0.731059}     or   => f32[batch, 2]     or   => error: a part of the message
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
#include "graph/text.h"
#include "ops/ops.h"

#define FOLDER "tests/ops"

/* ---- The tables ------------------------------------------------------------------------------------------------------------ */

static void test_sorted(void **state) {
    (void)state;
    const char *name = op_table_unsorted();
    if (name)
        fail_msg("the rows of a family are sorted by name, domain and version; '%s' is not in its place", name);
}

static void check_attrs(const OpRow *row) {
    AttrSpec spec;
    const char *at = row->attrs;
    while (signature_next_attr(&at, &spec))
        if (spec.has_preset && spec.required)
            fail_msg("%s-%d: attribute '%.*s' has a default and is required", row->name, row->since, (int)spec.name.length,
                     spec.name.data);
    if (*at)
        fail_msg("%s-%d: attributes are not written right from '%s' on", row->name, row->since, at);
}

/* An optional input may not stand before one that is not: nodes could not leave it out by position. */
static void check_signature(const OpRow *row) {
    Signature signature;
    if (!signature_parse(row->signature, &signature))
        fail_msg("%s-%d: the signature '%s' is not written right", row->name, row->since, row->signature);
    for (int i = 0; i + 1 < signature.in_count; i++)
        if (signature.in[i].variadic)
            fail_msg("%s-%d: only the last input may be variadic", row->name, row->since);
}

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < op_row_count(); i++) {
        const OpRow *row = op_row(i);
        if (row->refused)
            continue;
        check_signature(row);
        check_attrs(row);
        if (!row->text && !row->build && !row->run && !row->view)
            fail_msg("%s-%d: nothing says what it computes", row->name, row->since);
        if (row->view && (row->text || row->build || row->run))
            fail_msg("%s-%d: a view computes nothing", row->name, row->since);
    }
}

static void test_find(void **state) {
    (void)state;
    whet_error err = {0};
    for (size_t i = 0; i < op_row_count(); i++) {
        const OpRow *row = op_row(i);
        const OpRow *found = op_find(row->domain, row->name, row->since, &err);
        if (row->refused ? found != NULL || strcmp(err.message, row->refused) != 0 : found != row)
            fail_msg("%s:%s-%d is not found", row->domain, row->name, row->since);
    }
    assert_null(op_find("", "NoSuchOperator", 13, &err));
    assert_string_equal(err.message, "operator not supported");
    assert_null(op_find("com.example", "Add", 13, &err));
    assert_null(op_find("", "Gelu", 7, &err));
    assert_string_equal(err.message, "operator of an old version; 20 and later are supported");
    assert_int_equal(op_find("", "Softmax", 12, NULL)->since, 1);
    assert_int_equal(op_find("", "Softmax", 99, NULL)->since, 13);
}

static void test_types(void **state) {
    (void)state;
    const char set[] = "float|s32";
    assert_true(signature_type_in(set, strlen(set), DT_BF16));
    assert_true(signature_type_in(set, strlen(set), DT_S32));
    assert_false(signature_type_in(set, strlen(set), DT_S64));
    assert_false(signature_type_in("any", 3, DT_STRING));
    assert_true(signature_type_in("all", 3, DT_STRING));
    assert_false(signature_type_in("num", 3, DT_BOOL));
    assert_false(signature_type_in("float", 5, DT_F8E5M2));
    assert_false(signature_type_in("int", 3, DT_S4));
}

/* ---- Cases
 * ---------------------------------------------------------------------------------------------------------------------- */

/* "f32[2] {1, 2}" or "f32[batch, 2]" */
static char *print_result(const Model *model) {
    const Value *y = model->graph->outputs[0];
    Text text;
    text_init(&text);
    Type type = y->type;
    type.content = NULL;
    const Tensor *constant = type.constant;
    type.constant = NULL;
    type_print(model->symbols, &type, &text);
    if (constant && (type.type == DT_S64 || dtype_kind(type.type) == KIND_COMPLEX)) { /* no double holds them */
        text_char(&text, ' ');
        tensor_print_content(constant, &text);
    } else if (constant) {
        text_put(&text, " {");
        for (int64_t i = 0; i < whet_tensor_count(constant); i++)
            text_printf(&text, "%s%.6g", i ? ", " : "", whet_tensor_get(constant, i));
        text_char(&text, '}');
    }
    return text_steal(&text);
}

/* `body` without its first line ("opset N") as a graph whose output is %y. */
static char *make_graph(const char *body, size_t length) {
    int opset = 0, used = 0;
    assert_int_equal(sscanf(body, "opset %d\n%n", &opset, &used), 1);
    Text text;
    text_init(&text);
    text_printf(&text, "ir 8\nopset %d\ngraph \"test\" {\n%.*s  out %%y\n}\n", opset, (int)(length - (size_t)used), body + used);
    return text_steal(&text);
}

static void run_case(const char *file, const char *title, const char *body, size_t length, const char *wanted) {
    whet_error err = {0};
    char *text = make_graph(body, length);
    Model *model = graph_parse(text, strlen(text), NULL, &err);
    if (!model)
        fail_msg("%s: %s: the case does not parse: %s\n%s", file, title, err.message, text);
    whet_status status = graph_sort(model->graph, &err);
    if (!status)
        status = graph_resolve(model, &err);
    if (!status)
        status = graph_infer(model, &err);
    bool error = strncmp(wanted, "error: ", 7) == 0;
    if (status && !error)
        fail_msg("%s: %s: %s", file, title, err.message);
    char *seen = status ? strdup(err.message) : print_result(model);
    if (error ? !status || !strstr(seen, wanted + 7) : strcmp(seen, wanted) != 0)
        fail_msg("%s: %s:\nwanted %s\ngot    %s", file, title, wanted, seen);
    free(seen);
    free(text);
    model_free(model);
}

static int run_file(const char *file) {
    char path[512], title[256], wanted[4096];
    snprintf(path, sizeof path, "%s/%s", FOLDER, file);
    char *text = file_read(path, NULL);
    assert_non_null(text);
    int count = 0;
    for (char *at = strstr(text, "# "); at;) {
        char *body = strchr(at, '\n'), *end = body ? strstr(body, "\n=> ") : NULL;
        if (!end)
            fail_msg("%s: a case without a line '=> '", file);
        snprintf(title, sizeof title, "%.*s", (int)(body - at - 2), at + 2);
        char *line = end + 4;
        snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(line, "\n"), line);
        run_case(file, title, body + 1, (size_t)(end - body), wanted);
        count++;
        at = strstr(line, "\n# ");
        at = at ? at + 1 : NULL;
    }
    free(text);
    return count;
}

static void test_cases(void **state) {
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strstr(entry->d_name, ".txt"))
            count += run_file(entry->d_name);
    closedir(folder);
    assert_true(count > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted), cmocka_unit_test(test_rows),  cmocka_unit_test(test_find),
        cmocka_unit_test(test_types),  cmocka_unit_test(test_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
