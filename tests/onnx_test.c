/* The ONNX reader on models written here, byte by byte (onnx_tensor_test.c has their tensors): what it makes of good ones, in the
 * graph's text form, and why it refuses bad ones. Bytes are given to it in blocks of their exact size, so that a sanitizer sees
 * every read beyond. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "onnx_expect.h"

/* ---- graphs -------------------------------------------------------------------------------------------------------------- */

static void test_graph_control(void **state) {
    (void)state;
    Bytes nodes = {0}, attr = make_attr("axis", 2), node = make_node("", "Relu", "m", "y"), graph;
    put_int(&attr, 3, -1);
    put_message(&node, 5, attr);
    put_text(&node, 3, "last");
    put_message(&nodes, 1, node); /* before the node it needs */
    put_message(&nodes, 1, make_node("ai.onnx", "MatMul", "x w -", "m -"));
    graph = graph_of(nodes);
    put_message(&graph, 5, make_floats("w", (float[]){3}, 1));
    put_message(&graph, 13, make_value("m", 2, (int64_t[]){-1, 4}));
    put_message(&graph, 13, make_value("nobody", 0, NULL));
    reads_as(make_model(graph), "graph \"g\" {\n  in %x: f32[2]\n  constant %w: f32[1] = {3.0}\n"
                                "  %m: f32[n, 4], _ = MatMul(%x, %w)\n"
                                "  %y: ? = Relu(%m) {axis = -1} name \"last\"\n  out %y\n}\n");
}

static void test_graph_types(void **state) {
    (void)state;
    Bytes graph = {0}, value = {0}, type = {0}, tensor = {0}, shape = {0}, dim = {0};
    put_text(&graph, 2, "g");
    put_int(&dim, 1, -1); /* how some exporters write "unknown" */
    put_message(&shape, 1, dim);
    put_message(&shape, 1, (Bytes){0});
    put_message(&tensor, 2, shape);
    put_int(&tensor, 1, DT_F16);
    put_message(&type, 1, tensor);
    put_text(&value, 1, "in put");
    put_message(&value, 2, type);
    put_message(&graph, 11, value);
    put_message(&graph, 11, make_value("b", -1, NULL));
    put_message(&graph, 11, make_value("c", 2, (int64_t[]){-1, 0}));
    put_message(&graph, 12, make_value("b", -2, NULL));
    reads_as(make_model(graph), "graph \"g\" {\n  in %\"in put\": f16[\"in put_0\", \"in put_1\"]\n  in %b: f32\n"
                                "  in %c: f32[n, 0]\n  out %b\n}\n");
}

static Bytes odd_input(int kind, int64_t dim, int type_number) {
    Bytes graph = {0}, value = {0}, type = {0}, tensor = {0}, shape = {0}, one = {0};
    put_int(&one, 1, dim);
    put_message(&shape, 1, one);
    put_int(&tensor, 1, type_number);
    put_message(&tensor, 2, shape);
    put_message(&type, kind, tensor);
    put_text(&value, 1, "x");
    put_message(&value, 2, type);
    put_message(&graph, 11, value);
    return make_model(graph);
}

static void test_graph_type_refusals(void **state) {
    (void)state;
    refuses(odd_input(4, 1, 1), WHET_ERROR_UNSUPPORTED, "model: input 0 'x': its type is a sequence");
    refuses(odd_input(5, 1, 1), WHET_ERROR_UNSUPPORTED, "its type is a map");
    refuses(odd_input(9, 1, 1), WHET_ERROR_UNSUPPORTED, "its type is an optional");
    refuses(odd_input(8, 1, 1), WHET_ERROR_UNSUPPORTED, "its type is a sparse tensor");
    refuses(odd_input(1, -2, 1), WHET_ERROR_FORMAT, "a dimension of its type is -2");
    refuses(odd_input(1, 1, 77), WHET_ERROR_FORMAT, "its element type, 77, is unknown");
    refuses(odd_input(1, 1, 0), WHET_ERROR_FORMAT, "it has no element type");
    Bytes graph = {0};
    int64_t dims[17] = {0};
    put_message(&graph, 11, make_value("x", 17, dims));
    refuses(make_model(graph), WHET_ERROR_UNSUPPORTED, "its rank is 17, at most 16 is supported");
}

static void test_graph_refusals(void **state) {
    (void)state;
    const whet_status bad = WHET_ERROR_FORMAT;
    refuses(make_model(one_node(make_node("", "Relu", "nope", "y"))), bad, "Relu '' (#0): value 'nope' is read");
    refuses(make_model(one_node(make_node("", "Relu", "x", "x"))), bad,
            "Relu '' (#0): value 'x' is defined twice: it is an input");
    refuses(make_model(one_node(make_node("", "Relu", "x", "z"))), bad, "output 0 'y': value 'y' is read");
    refuses(make_model(one_node(make_node("", "Add", "x y", "y"))), bad, "cycle");
    refuses(make_model(one_node(make_node("", "", "x", "y"))), bad, "it has no op_type");
    refuses(make_model(one_node(make_node("nowhere", "Relu", "x", "y"))), bad,
            "opset_import does not name its domain \"nowhere\"");
    Bytes graph = one_node(make_node("", "Neg", "x", "w y"));
    put_message(&graph, 5, make_floats("w", (float[]){3}, 1));
    refuses(make_model(graph), bad, "value 'w' is defined twice: it is an initializer");
    graph = one_node(make_node("", "Neg", "x", "y"));
    put_message(&graph, 11, make_value("x", -1, NULL));
    refuses(make_model(graph), bad, "input 1 'x': value 'x' is defined twice");
    graph = one_node(make_node("", "Neg", "x", "y"));
    put_message(&graph, 5, tensor_1d(DT_F32, 0));
    put_message(&graph, 11, make_value("", -1, NULL));
    refuses(make_model(graph), bad, "input 1 '': it has no name");
    graph = one_node(make_node("", "Neg", "x", "y"));
    Bytes doubles = make_tensor("x", DT_F64, 1, (int64_t[]){0});
    put_message(&graph, 5, doubles);
    refuses(make_model(graph), bad, "its type is float64, the input of that name has float32");
}

static Bytes constant_node(const char *name, float value) {
    Bytes node = make_node("", "Constant", "", name), attr = make_attr("value_float", 1);
    put_float(&attr, 2, value);
    put_message(&node, 5, attr);
    return node;
}

static void test_graph_constant_twice(void **state) {
    (void)state;
    Bytes nodes = {0};
    put_message(&nodes, 1, constant_node("c", 1));
    put_message(&nodes, 1, make_node("", "Add", "x c", "y"));
    put_message(&nodes, 1, constant_node("c", 2));
    reads_as(make_model(graph_of(nodes)), "graph \"g\" {\n  in %x: f32[2]\n  %c: ? = Constant() {value_float = 2.0}\n"
                                          "  %y: ? = Add(%x, %c)\n  out %y\n}\n");
    nodes = (Bytes){0};
    put_message(&nodes, 1, constant_node("y", 1));
    put_message(&nodes, 1, make_node("", "Neg", "x", "y"));
    refuses(make_model(graph_of(nodes)), WHET_ERROR_FORMAT, "Neg '' (#1): value 'y' is defined twice");
    nodes = (Bytes){0};
    put_message(&nodes, 1, make_node("", "Neg", "x", "y"));
    put_message(&nodes, 1, constant_node("y", 1));
    refuses(make_model(graph_of(nodes)), WHET_ERROR_FORMAT, "Constant '' (#1): value 'y' is defined twice");
}

/* An If whose branches read x of the graph around, hide it, put it out. */
static Bytes branch(Bytes node, const char *output) {
    Bytes graph = {0};
    if (node.data)
        put_message(&graph, 1, node);
    put_text(&graph, 2, "b");
    put_message(&graph, 12, make_value(output, -2, NULL));
    return graph;
}

static Bytes if_node(Bytes then_branch, Bytes else_branch) {
    Bytes node = make_node("", "If", "x", "y"), then_attr = make_attr("then_branch", 5), else_attr = make_attr("else_branch", 5);
    put_message(&then_attr, 6, then_branch);
    put_message(&else_attr, 6, else_branch);
    put_message(&node, 5, then_attr);
    put_message(&node, 5, else_attr);
    return node;
}

static void test_graph_subgraphs(void **state) {
    (void)state;
    Bytes model = make_model(one_node(if_node(branch(make_node("", "Neg", "x", "z"), "z"), branch((Bytes){0}, "x"))));
    reads_as(model, "graph \"g\" {\n  in %x: f32[2]\n  %y: ? = If(%x) {then_branch = graph \"b\" {\n    %z: ? = Neg(%x)\n"
                    "    out %z\n  }, else_branch = graph \"b\" {\n    %x: ? = Identity(%x)\n    out %x\n  }}\n  out %y\n}\n");
    refuses(make_model(one_node(if_node(branch((Bytes){0}, "y"), branch((Bytes){0}, "x")))), WHET_ERROR_FORMAT, "cycle");
    refuses(make_model(one_node(if_node(branch((Bytes){0}, "x"), branch((Bytes){0}, "z")))), WHET_ERROR_FORMAT,
            "If '' (#0): attribute 'else_branch': output 0 'z': value 'z' is read");
}

static void test_graph_depth(void **state) {
    (void)state;
    for (int depth = 1; depth <= 2000; depth += depth == 1 ? 49 : 1950) {
        Bytes inner = branch(make_node("", "Neg", "x", "y"), "y");
        for (int i = 0; i < depth; i++) {
            Bytes node = make_node("", "Loop", "x", "y"), attr = make_attr("body", 5);
            put_message(&attr, 6, inner);
            put_message(&node, 5, attr);
            inner = branch(node, "y");
        }
        put_message(&inner, 11, make_value("x", -1, NULL));
        Bytes model = make_model(inner);
        if (depth > 64) {
            refuses(model, WHET_ERROR_UNSUPPORTED, "nested deeper than 64");
            continue;
        }
        whet_error err = {0};
        Model *read = read_in(model, NULL, &err);
        assert_non_null(read);
        model_free(read);
        free(model.data);
    }
}

/* ---- attributes ---------------------------------------------------------------------------------------------------------- */

static Bytes attr_model(Bytes attr) {
    Bytes node = make_node("", "Op", "x", "y");
    put_message(&node, 5, attr);
    return make_model(one_node(node));
}

static void attr_reads_as(Bytes attr, const char *want) {
    char whole[512];
    snprintf(whole, sizeof whole, "graph \"g\" {\n  in %%x: f32[2]\n  %%y: ? = Op(%%x) {a = %s}\n  out %%y\n}\n", want);
    reads_as(attr_model(attr), whole);
}

static void test_attrs(void **state) {
    (void)state;
    Bytes attr = make_attr("a", 7);
    put_int(&attr, 8, 1);
    put_bytes(&attr, 8, "\x02\x03", 2);
    attr_reads_as(attr, "[1, 2, 3]");
    attr = make_attr("a", 6);
    put_float(&attr, 7, 0.5f);
    put_float(&attr, 7, 2);
    attr_reads_as(attr, "[0.5, 2.0]");
    attr = make_attr("a", 8);
    put_text(&attr, 9, "p");
    put_text(&attr, 9, "");
    attr_reads_as(attr, "[\"p\", \"\"]");
    attr = make_attr("a", 0); /* a file older than the field `type` */
    put_text(&attr, 4, "SAME");
    attr_reads_as(attr, "\"SAME\"");
    attr_reads_as(make_attr("a", 2), "0"); /* zero is not written by newer protobuf */
    attr_reads_as(make_attr("a", 7), "[]");
    attr = make_attr("a", 4);
    put_message(&attr, 5, make_floats("", (float[]){4}, 1));
    attr_reads_as(attr, "f32[1] {4.0}");
}

static void test_attr_refusals(void **state) {
    (void)state;
    refuses(attr_model(make_attr("a", 0)), WHET_ERROR_FORMAT, "Op '' (#0): attribute 'a': it has neither type nor value");
    refuses(attr_model(make_attr("a", 15)), WHET_ERROR_FORMAT, "attribute 'a': type 15 is unknown");
    refuses(attr_model(make_attr("", 2)), WHET_ERROR_FORMAT, "it has no name");
    refuses(attr_model(make_attr("a", 4)), WHET_ERROR_FORMAT, "it has no tensor");
    refuses(attr_model(make_attr("a", 5)), WHET_ERROR_FORMAT, "it has no graph");
    refuses(attr_model(make_ref("a", "b", 2)), WHET_ERROR_FORMAT, "ref_attr_name \"b\" outside of a function");
    Bytes attr = make_attr("a", 7);
    put_float(&attr, 7, 1);
    refuses(attr_model(attr), WHET_ERROR_FORMAT, "type ints wants field ints, the value is in floats");
    Bytes node = make_node("", "Op", "x", "y");
    put_message(&node, 5, make_attr("a", 2));
    put_message(&node, 5, make_attr("a", 2));
    refuses(make_model(one_node(node)), WHET_ERROR_FORMAT, "attribute 'a' is given twice");
    node = make_node("", "Op", "x", "y");
    for (int i = 0; i < 257; i++)
        put_message(&node, 5, make_attr("a", 2));
    refuses(make_model(one_node(node)), WHET_ERROR_UNSUPPORTED, "257 attributes");
}

/* ---- functions ----------------------------------------------------------------------------------------------------------- */

static Bytes with_function(Bytes model, Bytes function, int opset) {
    put_message(&function, 9, make_opset("", opset));
    put_message(&function, 9, make_opset("local", 1));
    put_message(&model, 25, function);
    return model;
}

static void test_function_inlining(void **state) {
    (void)state;
    Bytes nodes = {0}, call = make_node("local", "F", "x - m", "y"), given = make_attr("alpha", 1);
    put_float(&given, 2, 0.5f);
    put_message(&call, 5, given);
    put_message(&nodes, 1, call);
    put_message(&nodes, 1, make_node("local", "F", "x", "m"));
    Bytes function = make_function("F", "a b c", "r s"), elu = make_node("", "Elu", "a b", "t"), fallback = make_attr("alpha", 1);
    put_message(&elu, 5, make_ref("slope", "alpha", 1));
    put_message(&elu, 5, make_ref("absent", "beta", 1));
    put_message(&function, 7, elu);
    put_message(&function, 7, make_node("", "Sum", "t c", "r"));
    put_float(&fallback, 2, 2);
    put_message(&function, 11, fallback);
    reads_as(with_function(make_model(graph_of(nodes)), function, 18),
             "graph \"g\" {\n  in %x: f32[2]\n  %\"t:1\": ? = Elu(%x) {slope = 0.5}\n"
             "  %\"t:2\": ? = Elu(%x) {slope = 2.0}\n  %m: ? = Sum(%\"t:2\")\n  %y: ? = Sum(%\"t:1\", %m)\n  out %y\n}\n");
}

/* Outputs that are inputs, or twice the same value; a subgraph inside; another opset than the model's; a taken name. */
static void test_function_corners(void **state) {
    (void)state;
    Bytes nodes = {0}, function = make_function("F", "x", "x r r");
    put_message(&nodes, 1, make_node("local", "F", "x", "y p q"));
    put_message(&nodes, 1, make_node("", "Neg", "x", "t:1"));
    put_message(&function, 7, if_node(branch(make_node("", "Neg", "x", "z"), "z"), branch((Bytes){0}, "t")));
    put_message(&function, 7, make_node("", "Abs", "x", "t"));
    put_message(&function, 7, make_node("", "Neg", "y", "r"));
    Bytes model = make_model(graph_of(nodes));
    reads_as(with_function(model, function, 11),
             "graph \"g\" {\n  in %x: f32[2]\n  %\"t:2\": ? = Abs@11(%x)\n"
             "  %\"y:1\": ? = If@11(%x) {then_branch = graph \"b\" {\n    %z: ? = Neg@11(%x)\n    out %z\n"
             "  }, else_branch = graph \"b\" {\n    %t: ? = Identity(%\"t:2\")\n    out %t\n  }}\n"
             "  %p: ? = Neg@11(%\"y:1\")\n  %y: ? = Identity(%x)\n  %q: ? = Identity(%p)\n  %\"t:1\": ? = Neg(%x)\n"
             "  out %y\n}\n");
}

static void test_function_refusals(void **state) {
    (void)state;
    const whet_status bad = WHET_ERROR_FORMAT;
    Bytes function = make_function("F", "a", "r");
    put_message(&function, 7, make_node("local", "F", "a", "r"));
    Bytes model = make_model(one_node(make_node("local", "F", "x", "y")));
    refuses(with_function(model, function, 18), bad, "function local.F calls itself");
    model = make_model(one_node(make_node("local", "F", "x x", "y")));
    refuses(with_function(model, make_function("F", "a", "r"), 18), bad, "2 inputs, function local.F has 1");
    model = make_model(one_node(make_node("local", "F", "x", "y z")));
    refuses(with_function(model, make_function("F", "a", "r"), 18), bad, "2 outputs, function local.F has 1");
    model = make_model(one_node(make_node("local", "F", "x", "y")));
    refuses(with_function(model, make_function("F", "a", "r"), 18), bad, "value 'r' is read, but nothing defines it");
    model = make_model(one_node(make_node("local", "F", "", "y")));
    refuses(with_function(model, make_function("F", "a", "a"), 18), bad, "output 'a' is an input that the call omits");
    model = make_model(one_node(make_node("local", "F", "x", "y")));
    function = make_function("F", "a", "r");
    put_message(&function, 7, make_node("", "Neg", "x", "r")); /* sees its own names alone */
    refuses(with_function(model, function, 18), bad, "function local.F: Neg '' (#0): value 'x' is read");
    model = make_model(one_node(make_node("local", "F", "x", "y")));
    model = with_function(model, make_function("F", "a", "a"), 18);
    refuses(with_function(model, make_function("F", "a", "a"), 18), bad, "function local.F is defined twice");
}

/* Each function calls the one before `width` times. */
static Bytes tower(int height, int width) {
    Bytes model = make_model(one_node(make_node("local", "F0", "x", "y")));
    for (int i = 0; i < height; i++) {
        char name[16], below[16], value[16];
        snprintf(name, sizeof name, "F%d", i);
        snprintf(below, sizeof below, "F%d", i + 1);
        Bytes function = make_function(name, "a", "v0");
        for (int j = 0; j < width; j++) {
            snprintf(value, sizeof value, "v%d", j);
            put_message(&function, 7, i + 1 < height ? make_node("local", below, "a", value) : make_node("", "Neg", "a", value));
        }
        model = with_function(model, function, 18);
    }
    return model;
}

static void test_function_bombs(void **state) {
    (void)state;
    refuses(tower(30, 10), WHET_ERROR_UNSUPPORTED, "expands to more than");
    refuses(tower(5000, 1), WHET_ERROR_UNSUPPORTED, "nested deeper than 64");
    Bytes nodes = {0}, function = make_function("F", "a", "r"); /* each call is small, all of them are not */
    for (int i = 0; i < 3000; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i);
        put_message(&nodes, 1, make_node("local", "F", "x", value));
        put_message(&function, 7, make_node("", "Neg", "a", i ? value : "r"));
    }
    refuses(with_function(make_model(graph_of(nodes)), function, 18), WHET_ERROR_UNSUPPORTED,
            "function calls expand to more than");
    Bytes model = tower(40, 1);
    whet_error err = {0};
    Model *read = read_in(model, NULL, &err);
    assert_non_null(read);
    assert_int_equal(read->graph->node_count, 1);
    model_free(read);
    free(model.data);
}

/* ---- the model ----------------------------------------------------------------------------------------------------------- */

static Bytes versions(int64_t ir, int64_t opset, int64_t alias) {
    Bytes model = {0};
    put_int(&model, 1, ir);
    put_message(&model, 7, one_node(make_node("", "Neg", "x", "y")));
    if (opset)
        put_message(&model, 8, make_opset("", opset));
    if (alias)
        put_message(&model, 8, make_opset("ai.onnx", alias));
    return model;
}

static void test_model_versions(void **state) {
    (void)state;
    const char *want = "graph \"g\" {\n  in %x: f32[2]\n  %y: ? = Neg(%x)\n  out %y\n}\n";
    reads_as(versions(3, 7, 0), want);
    reads_as(versions(13, 28, 0), want);
    reads_as(versions(8, 1, 1), want);
    reads_as(versions(8, 0, 9), want);
    refuses(versions(2, 7, 0), WHET_ERROR_UNSUPPORTED, "ir_version is 2, 3 to 31 are supported");
    refuses(versions(-1, 7, 0), WHET_ERROR_FORMAT, "ir_version is -1");
    refuses(versions(1ll << 62, 7, 0), WHET_ERROR_UNSUPPORTED, "ir_version is 4611686018427387904");
    refuses(versions(8, -5, 0), WHET_ERROR_FORMAT, "version -5");
    refuses(versions(8, 29, 0), WHET_ERROR_UNSUPPORTED, "opset 29 is not supported, 28 is the newest");
    refuses(versions(8, 0, 0), WHET_ERROR_FORMAT, "opset_import does not name its domain \"\"");
    refuses(versions(8, 7, 8), WHET_ERROR_FORMAT, "given as 7 and as 8");
    refuses((Bytes){0}, WHET_ERROR_FORMAT, "model: it is empty");
}

static const char *metadata(const Model *model, const char *key) {
    for (int i = 0; i < model->metadata_count; i++)
        if (strcmp(model->metadata[i].key, key) == 0)
            return model->metadata[i].value;
    return "";
}

static void test_model_metadata(void **state) {
    (void)state;
    Bytes model = make_model(one_node(make_node("", "Neg", "x", "y")));
    put_text(&model, 2, "maker");
    put_text(&model, 4, "org.example");
    put_int(&model, 5, 3);
    put_message(&model, 14, make_entry("classes", "cat,dog"));
    Model *read = read_in(model, NULL, NULL);
    assert_non_null(read);
    assert_string_equal(metadata(read, "producer_name"), "maker");
    assert_string_equal(metadata(read, "domain"), "org.example");
    assert_string_equal(metadata(read, "model_version"), "3");
    assert_string_equal(metadata(read, "ir_version"), "8");
    assert_string_equal(metadata(read, "opset"), "18");
    assert_string_equal(metadata(read, "opset.local"), "1");
    assert_string_equal(metadata(read, "classes"), "cat,dog");
    assert_int_equal(read->opset, 18);
    model_free(read);
    free(model.data);
}

/* Before IR version 4 every initializer is an input, too; since then that makes it a default. */
static void test_model_defaults(void **state) {
    (void)state;
    for (int ir = 3; ir <= 4; ir++) {
        Bytes model = {0}, graph = one_node(make_node("", "Add", "x w", "y"));
        put_message(&graph, 11, make_value("w", 1, (int64_t[]){1}));
        put_message(&graph, 5, make_floats("w", (float[]){9}, 1));
        put_int(&model, 1, ir);
        put_message(&model, 8, make_opset("", 9));
        put_message(&model, 7, graph);
        Model *read = read_in(model, NULL, NULL);
        assert_non_null(read);
        const Value *w = graph_find(read->graph, "w");
        assert_int_equal(read->graph->input_count, ir == 3 ? 1 : 2);
        assert_int_equal(w->is_input, ir == 4);
        assert_true(w->is_initializer);
        assert_non_null(w->type.constant);
        model_free(read);
        free(model.data);
    }
}

/* ---- files --------------------------------------------------------------------------------------------------------------- */

static long anonymous_kib(void) {
    long found = -1;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "RssAnon: %ld", &found);
    if (file)
        fclose(file);
    return found;
}

/* A model of 3 GiB (a file with a hole) is read, and its weights are not copied, aligned or not. */
static void test_file_large(void **state) {
    (void)state;
    char path[] = "/tmp/whet_large_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const int64_t count = 3ll << 28;
    Bytes tail = {0}, tensor = make_tensor("w", DT_F32, 1, &count), head = {0}, model = {0};
    put_message(&tail, 12, make_value("w", -2, NULL));
    put_tag(&tensor, 9, 2);
    put_varint(&tensor, (uint64_t)count * 4);
    put_tag(&head, 5, 2);
    put_varint(&head, tensor.length + (uint64_t)count * 4);
    put_raw(&head, tensor.data, tensor.length);
    put_int(&model, 1, 8);
    put_message(&model, 8, make_opset("", 18));
    put_tag(&model, 7, 2);
    put_varint(&model, head.length + (uint64_t)count * 4 + tail.length);
    put_raw(&model, head.data, head.length);
    off_t end = (off_t)(model.length + (uint64_t)count * 4);
    if (ftruncate(fd, end) != 0 || pwrite(fd, model.data, model.length, 0) != (ssize_t)model.length ||
        pwrite(fd, tail.data, tail.length, end) != (ssize_t)tail.length) {
        unlink(path);
        skip(); /* no files with holes here */
    }
    long before = anonymous_kib();
    whet_error err = {0};
    Model *read = onnx_read(path, NULL, &err);
    if (!read)
        fail_msg("%s", err.message);
    assert_true(anonymous_kib() - before < 4096);
    assert_int_equal(read->file_bytes, (size_t)end + tail.length);
    assert_int_equal(graph_find(read->graph, "w")->type.constant->bytes, (size_t)count * 4);
    model_free(read);
    close(fd);
    unlink(path);
    free(tail.data), free(tensor.data), free(head.data), free(model.data);
}

static void test_file_refusals(void **state) {
    (void)state;
    whet_error err = {0};
    assert_null(onnx_read("/nonexistent/model.onnx", NULL, &err));
    assert_int_equal(err.status, WHET_ERROR_FILE);
    assert_non_null(strstr(err.message, "/nonexistent/model.onnx: it cannot be opened"));
    assert_null(onnx_read("/", NULL, &err));
    assert_non_null(strstr(err.message, "a folder, not a file"));
    assert_null(onnx_read("/dev/zero", NULL, NULL));
}

static void test_tensor_file(void **state) {
    (void)state;
    char path[] = "/tmp/whet_tensor_XXXXXX";
    int fd = mkstemp(path);
    Bytes tensor = make_floats("named", (float[]){1, 2}, 2);
    assert_int_equal(write(fd, tensor.data, tensor.length), (ssize_t)tensor.length);
    whet_tensor_file *file;
    whet_error err = {0};
    assert_int_equal(whet_tensor_file_load(path, &file, &err), WHET_OK);
    assert_string_equal(whet_tensor_file_name(file), "named");
    const whet_tensor *view = whet_tensor_file_tensor(file);
    assert_int_equal(view->type, WHET_F32);
    assert_int_equal(view->rank, 1);
    assert_int_equal(view->dims[0], 2);
    assert_memory_equal(view->data, ((float[]){1, 2}), 8);
    whet_tensor_file_free(file);
    for (off_t length = 0; length < (off_t)tensor.length; length++) {
        assert_int_equal(ftruncate(fd, length), 0);
        whet_status status = whet_tensor_file_load(path, &file, &err);
        assert_int_equal(status, err.status);
        assert_true(status == WHET_OK ? length >= 6 : !file); /* without its name it is whole */
        whet_tensor_file_free(file);
        err = (whet_error){0};
    }
    assert_int_equal(whet_tensor_file_load("/nonexistent", &file, NULL), WHET_ERROR_FILE);
    close(fd);
    unlink(path);
    free(tensor.data);
}

/* ---- damage -------------------------------------------------------------------------------------------------------------- */

/* Something of everything. */
static Bytes rich_model(void) {
    Bytes nodes = {0}, function = make_function("F", "a", "r"), attr = make_attr("value", 4),
          node = make_node("", "Op", "x", "p");
    put_message(&attr, 5, make_floats("t", (float[]){1, 2, 3}, 3));
    put_message(&node, 5, attr);
    put_message(&nodes, 1, node);
    put_message(&nodes, 1, make_node("local", "F", "x", "q"));
    put_message(&nodes, 1, if_node(branch(make_node("", "Neg", "x", "z"), "z"), branch((Bytes){0}, "x")));
    put_message(&function, 7, make_node("", "Neg", "a", "r"));
    Bytes graph = graph_of(nodes), typed = tensor_1d(DT_U8, 3);
    for (int i = 0; i < 3; i++)
        put_int(&typed, 5, 100 + i);
    put_message(&graph, 5, typed);
    put_message(&graph, 13, make_value("q", 3, (int64_t[]){-1, 2, 300}));
    Bytes model = with_function(make_model(graph), function, 18);
    put_message(&model, 14, make_entry("key", "value"));
    return model;
}

static Bytes load_file(const char *path) {
    Bytes out = {0};
    FILE *file = fopen(path, "rb");
    unsigned char block[4096];
    for (size_t got; file && (got = fread(block, 1, sizeof block, file)) > 0;)
        put_raw(&out, block, got);
    if (file)
        fclose(file);
    return out;
}

/* Reads `length` bytes of a copy of their exact size; whatever comes of it is walked once. */
static void read_damaged(const unsigned char *data, size_t length) {
    unsigned char *copy = malloc(length ? length : 1);
    memcpy(copy, data, length);
    whet_error err = {0};
    Model *model = onnx_read_memory(copy, length, NULL, NULL, &err);
    assert_true(model ? err.status == WHET_OK : err.status != WHET_OK && err.message[0]);
    model_free(model);
    free(copy);
}

static void damage(Bytes model, unsigned seed, int rounds) {
    assert_true(model.length > 0);
    if (model.length == 0) /* for the analyzer, to which assert_true says nothing */
        return;
    size_t step = model.length > 20000 ? model.length / 5000 : 1; /* every byte of a small model */
    for (size_t length = 0; length < model.length; length += step)
        read_damaged(model.data, length);
    srand(seed);
    Bytes copy = {0};
    put_raw(&copy, model.data, model.length);
    for (int i = 0; model.length && i < rounds; i++) {
        memcpy(copy.data, model.data, model.length);
        for (int flips = 1 + rand() % 4; flips; flips--) {
            size_t at = (size_t)rand() % model.length;
            copy.data[at] = rand() % 2 ? (unsigned char)rand() : (unsigned char)(copy.data[at] ^ 1 << rand() % 8);
        }
        read_damaged(copy.data, copy.length);
    }
    free(copy.data);
}

static void test_damage(void **state) {
    (void)state;
    unsigned seed = getenv("WHET_SEED") ? (unsigned)strtoul(getenv("WHET_SEED"), NULL, 10) : (unsigned)time(NULL);
    print_message("damage with WHET_SEED=%u\n", seed);
    Bytes rich = rich_model(), real = load_file("examples/doodles/doodles.onnx");
    whet_error err = {0};
    Model *whole = read_in(rich, NULL, &err);
    if (!whole)
        fail_msg("%s", err.message);
    model_free(whole);
    damage(rich, seed, 20000);
    assert_true(real.length > 0);
    damage(real, seed, 1000);
    free(rich.data);
    free(real.data);
}

/* Memory that runs out after any number of allocations gives an error and leaks nothing. */
typedef struct Budget {
    int left;
    size_t held;
} Budget;

static void *budget_take(void *context, size_t bytes, size_t alignment) {
    Budget *budget = context;
    if (budget->left-- <= 0)
        return NULL;
    budget->held += bytes;
    return aligned_alloc(alignment, bytes);
}

static void budget_release(void *context, void *pointer, size_t bytes) {
    ((Budget *)context)->held -= bytes;
    free(pointer);
}

static void test_memory(void **state) {
    (void)state;
    Bytes model = rich_model();
    bool done = false;
    for (int left = 0; !done && left < 1000; left++) {
        Budget budget = {left, 0};
        whet_allocator allocator = {&budget, budget_take, budget_release};
        whet_error err = {0};
        Model *read = onnx_read_memory(model.data, model.length, NULL, &allocator, &err);
        assert_true(read || err.status == WHET_ERROR_MEMORY);
        done = read != NULL;
        model_free(read);
        assert_int_equal(budget.held, 0);
    }
    assert_true(done);
    free(model.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_control),
        cmocka_unit_test(test_graph_types),
        cmocka_unit_test(test_graph_type_refusals),
        cmocka_unit_test(test_graph_refusals),
        cmocka_unit_test(test_graph_constant_twice),
        cmocka_unit_test(test_graph_subgraphs),
        cmocka_unit_test(test_graph_depth),
        cmocka_unit_test(test_attrs),
        cmocka_unit_test(test_attr_refusals),
        cmocka_unit_test(test_function_inlining),
        cmocka_unit_test(test_function_corners),
        cmocka_unit_test(test_function_refusals),
        cmocka_unit_test(test_function_bombs),
        cmocka_unit_test(test_model_versions),
        cmocka_unit_test(test_model_metadata),
        cmocka_unit_test(test_model_defaults),
        cmocka_unit_test(test_file_large),
        cmocka_unit_test(test_file_refusals),
        cmocka_unit_test(test_tensor_file),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
