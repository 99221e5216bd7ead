/* The ONNX reader's lower half on bytes written here: the wire, tensors in every encoding, external data. Bytes are given to it
 * in blocks of their exact size, so that a sanitizer sees every read beyond. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/schema.h"
#include "onnx/tensor.h"
#include "onnx_expect.h"

/* ---- the wire ------------------------------------------------------------------------------------------------------------ */

static bool read_tensor_proto(Bytes bytes, TensorProto *out, whet_error *err) {
    Wire wire = {(const char *)bytes.data, bytes.length, err};
    return READ(&wire, TensorProto, ((Str){(const char *)bytes.data, bytes.length}), out);
}

static void test_wire_lists(void **state) {
    (void)state;
    const unsigned char packed[] = {1, 0x80, 1, 3};
    Bytes bytes = {0};
    put_int(&bytes, 1, 7); /* unpacked, packed, an unknown field between, empty, unpacked again */
    put_bytes(&bytes, 1, packed, sizeof packed);
    put_text(&bytes, 1000, "unknown");
    put_bytes(&bytes, 1, "", 0);
    put_int(&bytes, 1, -9);
    put_float(&bytes, 4, 0.5f);
    TensorProto proto;
    whet_error err = {0};
    assert_true(read_tensor_proto(bytes, &proto, &err));
    assert_int_equal(proto.dims.count, 5);
    int64_t dims[5];
    many_ints(&proto.dims, dims);
    const int64_t want[] = {7, 1, 128, 3, -9};
    assert_memory_equal(dims, want, sizeof want);
    float value;
    assert_int_equal(proto.float_data.count, 1);
    many_floats(&proto.float_data, &value);
    assert_true(value == 0.5f);
    free(bytes.data);
}

static void test_wire_last_wins(void **state) {
    (void)state;
    Bytes bytes = {0};
    put_int(&bytes, 2, 1);
    put_text(&bytes, 8, "first");
    put_int(&bytes, 2, 11);
    put_text(&bytes, 8, "last");
    TensorProto proto;
    whet_error err = {0};
    assert_true(read_tensor_proto(bytes, &proto, &err));
    assert_int_equal(proto.data_type.value, 11);
    assert_int_equal(proto.name.length, 4);
    assert_memory_equal(proto.name.data, "last", 4);
    free(bytes.data);
}

static void test_wire_refusals(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        size_t length;
        const char *part;
    } cases[] = {
        {"\x0b\x0c", 2, "a group"},                                           /* field 1, start of a group */
        {"\x00\x01", 2, "field number is out of range"},                      /* field 0 */
        {"\x0e", 1, "unknown wire type"},                                     /* wire type 6 */
        {"\x80", 1, "tag of a field is cut off"},                             /* half a tag */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "too long"},     /* 65 bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "too long"}, /* 11 bytes */
        {"\x42\x05"
         "abcd",
         6, "field 8 name, at byte 0: it runs past the end"}, /* 4 of 5 bytes */
        {"\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
         "abcd",
         15, "runs past the end"}, /* 2^64 - 1 bytes */
        {"\x42\x02"
         "a\x00",
         4, "a NUL"},                                    /* name */
        {"\x42\x02\xc0\x80", 4, "not a UTF-8 text"},     /* an overlong NUL */
        {"\x42\x03\xed\xa0\x80", 5, "not a UTF-8 text"}, /* a surrogate */
        {"\x22\x03"
         "abc",
         5, "not whole elements"},                 /* 3 bytes of floats */
        {"\x0a\x01\x80", 3, "not whole elements"}, /* half a number, packed */
        {"\x25"
         "abc",
         4, "runs past the end"}, /* 3 bytes of one float */
        {"\x4d"
         "abcd",
         5, "wire type is not the field's"},    /* raw_data as 4 bytes */
        {"\x1a\x00\x1a\x00", 4, "given twice"}, /* two segments */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Bytes bytes = {0};
        put_raw(&bytes, cases[i].bytes, cases[i].length);
        TensorProto proto;
        whet_error err = {0};
        assert_false(read_tensor_proto(bytes, &proto, &err));
        if (!strstr(err.message, cases[i].part))
            fail_msg("case %zu: \"%s\" should say \"%s\"", i, err.message, cases[i].part);
        free(bytes.data);
    }
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------- */

static void test_tensor_typed(void **state) {
    (void)state;
    Bytes floats = tensor_1d(DT_F32, 2);
    put_float(&floats, 4, 1.5f);
    put_float(&floats, 4, -2);
    tensor_reads_as(floats, "f32[2] = {1.5, -2.0}");
    const struct {
        int type, field;
        int64_t values[2];
        const char *want;
    } cases[] = {
        {DT_S32, 5, {-1, 7}, "s32[2] = {-1, 7}"},
        {DT_S8, 5, {-128, 127}, "s8[2] = {-128, 127}"},
        {DT_U8, 5, {0, 255}, "u8[2] = {0, 255}"},
        {DT_U16, 5, {0, 65535}, "u16[2] = {0, 65535}"},
        {DT_BOOL, 5, {0, 1}, "bool[2] = {false, true}"},
        {DT_F16, 5, {0x3C00, 0xC000}, "f16[2] = {1.0, -2.0}"},
        {DT_BF16, 5, {0x3F80, 0xC000}, "bf16[2] = {1.0, -2.0}"},
        {DT_F8E5M2, 5, {0x3C, 0xC0}, "f8e5m2[2] = {1.0, -2.0}"},
        {DT_S64, 7, {INT64_MIN, 3}, "s64[2] = {-9223372036854775808, 3}"},
        {DT_U64, 11, {-1, 3}, "u64[2] = {18446744073709551615, 3}"},
        {DT_U32, 11, {4294967295, 3}, "u32[2] = {4294967295, 3}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Bytes tensor = tensor_1d(cases[i].type, 2);
        put_int(&tensor, cases[i].field, cases[i].values[0]);
        put_int(&tensor, cases[i].field, cases[i].values[1]);
        tensor_reads_as(tensor, cases[i].want);
    }
}

static void test_tensor_packed(void **state) {
    (void)state;
    Bytes nibbles = tensor_1d(DT_S4, 3);
    put_int(&nibbles, 5, 0x78);
    put_int(&nibbles, 5, 0x0F);
    tensor_reads_as(nibbles, "s4[3] = {-8, 7, -1}");
    Bytes raw = tensor_1d(DT_U4, 3);
    put_bytes(&raw, 9, "\x21\x03", 2);
    tensor_reads_as(raw, "u4[3] = {1, 2, 3}");
    const double doubles[] = {0.25, -4};
    Bytes packed = tensor_1d(DT_F64, 2);
    put_bytes(&packed, 10, doubles, sizeof doubles);
    tensor_reads_as(packed, "f64[2] = {0.25, -4.0}");
    const float parts[] = {1, -2};
    Bytes complex = tensor_1d(DT_C64, 1);
    put_bytes(&complex, 4, parts, sizeof parts);
    tensor_reads_as(complex, "c64[1] = {(1.0, -2.0)}");
    Bytes words = tensor_1d(DT_STRING, 2);
    put_text(&words, 6, "a b");
    put_bytes(&words, 6, "\x01\0", 2);
    tensor_reads_as(words, "string[2] = {\"a b\", \"\\x01\\x00\"}");
    tensor_reads_as(tensor_1d(DT_F32, 0), "f32[0] = {}");
    Bytes scalar = make_tensor("w", DT_S64, 0, NULL);
    put_int(&scalar, 7, 5);
    tensor_reads_as(scalar, "s64[] = {5}");
}

static void test_tensor_refusals(void **state) {
    (void)state;
    const int64_t negative[] = {-4}, wraps[] = {1ll << 32, 1ll << 32}, hidden[] = {0, 1ll << 62, 1ll << 62},
                  bytes[] = {1ll << 62};
    const int64_t ones[17] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    tensor_refused(make_tensor("w", DT_F32, 1, negative), "initializer 'w': dims[0] is -4");
    tensor_refused(make_tensor("w", DT_F32, 2, wraps), "product of its dims is too large");
    tensor_refused(make_tensor("w", DT_F32, 3, hidden), "product of its dims is too large");
    tensor_refused(make_tensor("w", DT_F32, 1, bytes), "product of its dims is too large");
    tensor_refused(make_tensor("w", DT_F32, 17, ones), "rank 17, at most 16 is supported");
    tensor_refused(tensor_1d(0, 1), "data_type 0 is UNDEFINED");
    tensor_refused(tensor_1d(99, 1), "data_type 99 is unknown");
    tensor_refused(tensor_1d(DT_F32, 4), "float_data has 0 elements, type float32 and dims want 4");
    Bytes range = tensor_1d(DT_U8, 1);
    put_int(&range, 5, 256);
    tensor_refused(range, "element 0, 256, does not fit 8 bits");
    Bytes truth = tensor_1d(DT_BOOL, 1);
    put_bytes(&truth, 9, "\x02", 1);
    tensor_refused(truth, "element 0, a bool, is 2");
    Bytes both = tensor_1d(DT_F32, 1);
    put_float(&both, 4, 1);
    put_bytes(&both, 9, "abcd", 4);
    tensor_refused(both, "both raw_data and float_data hold data");
    Bytes wrong = tensor_1d(DT_F32, 1);
    put_int(&wrong, 7, 1);
    tensor_refused(wrong, "int64_data holds data, elements of type float32 belong into float_data");
    Bytes segment = tensor_1d(DT_F32, 1);
    put_bytes(&segment, 3, "", 0);
    tensor_refused(segment, "segments, which is not supported");
    Bytes location = tensor_1d(DT_F32, 1);
    put_int(&location, 14, 2);
    tensor_refused(location, "data_location is 2");
}

/* Wherever a tensor's data comes to lie in the file, small tensors are aligned at once, large ones by onnx_align. */
static void test_tensor_alignment(void **state) {
    (void)state;
    const size_t large = 1 << 17;
    double *values = calloc(large, sizeof *values);
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t i = 0; i < large; i++)
            values[i] = (double)(i + shift);
        Bytes graph = {0}, tensor = tensor_1d(DT_F64, (int64_t)large), small = make_tensor("v", DT_S64, 1, (int64_t[]){1});
        put_bytes(&graph, 2, "12345678", shift); /* the graph's name moves what follows */
        put_bytes(&tensor, 9, values, large * 8);
        put_bytes(&small, 9, values + 1, 8);
        put_message(&graph, 5, tensor);
        put_message(&graph, 5, small);
        Bytes model = make_model(graph);
        whet_error err = {0};
        Model *read = read_in(model, NULL, &err);
        assert_non_null(read);
        assert_true(tensor_is_aligned(graph_find(read->graph, "v")->type.constant));
        const Tensor *constant = graph_find(read->graph, "w")->type.constant;
        const unsigned char *data = constant->data;
        assert_true(data > model.data && data < model.data + model.length); /* where it lies */
        Arena arena;
        arena_init(&arena, NULL);
        const Tensor *aligned = onnx_aligned(constant, &arena);
        assert_non_null(aligned);
        assert_true(tensor_is_aligned(aligned) && (aligned == constant) == tensor_is_aligned(constant));
        assert_memory_equal(aligned->data, values, large * 8);
        onnx_forget(read, constant); /* of no file: nothing happens */
        assert_memory_equal(constant->data, values, large * 8);
        arena_free(&arena);
        model_free(read);
        free(model.data);
    }
    free(values);
}

static Bytes sparse_model(int64_t index, int64_t rank, int64_t extent) {
    const int64_t indices[] = {1, index};
    const int64_t dims[] = {extent, 2};
    Bytes graph = {0}, sparse = {0}, where = make_tensor("", DT_S64, 1, (int64_t[]){2});
    put_bytes(&where, 9, indices, sizeof indices);
    put_message(&sparse, 1, make_floats("w", (float[]){5, 6}, 2));
    put_message(&sparse, 2, where);
    for (int64_t i = 0; i < rank; i++)
        put_int(&sparse, 3, dims[i]);
    put_text(&graph, 2, "g");
    put_message(&graph, 15, sparse);
    put_message(&graph, 12, make_value("w", -2, NULL));
    return make_model(graph);
}

static void test_tensor_sparse(void **state) {
    (void)state;
    reads_as(sparse_model(3, 1, 4), "graph \"g\" {\n  constant %w: f32[4] = {0.0, 5.0, 0.0, 6.0}\n  out %w\n}\n");
    reads_as(sparse_model(3, 2, 2), "graph \"g\" {\n  constant %w: f32[2, 2] = {0.0, 5.0, 0.0, 6.0}\n  out %w\n}\n");
    refuses(sparse_model(4, 1, 4), WHET_ERROR_FORMAT, "index 1 of a sparse tensor is out of range");
    refuses(sparse_model(-1, 1, 4), WHET_ERROR_FORMAT, "index 1 of a sparse tensor is out of range");
    refuses(sparse_model(0, 1, 4), WHET_ERROR_FORMAT, "do not ascend at 1");
    refuses(sparse_model(3, 1, 1ll << 40), WHET_ERROR_UNSUPPORTED, "expand to more than");
    refuses(sparse_model(3, 1, -4), WHET_ERROR_FORMAT, "dims are negative or too large");
    refuses(sparse_model(3, 0, 0), WHET_ERROR_UNSUPPORTED, "rank 0");
}

/* ---- external data ------------------------------------------------------------------------------------------------------- */

typedef struct Place {
    const char *location, *offset, *length; /* NULL: not given */
} Place;

static Bytes external_model(Place place) {
    Bytes tensor = tensor_1d(DT_S32, 2);
    put_int(&tensor, 14, 1);
    const char *const keys[] = {"location", "offset", "length"};
    const char *const values[] = {place.location, place.offset, place.length};
    for (int i = 0; i < 3; i++)
        if (values[i])
            put_message(&tensor, 13, make_entry(keys[i], values[i]));
    put_message(&tensor, 13, make_entry("checksum", "whatever"));
    return tensor_model(tensor);
}

static void external_case(const char *folder, Place place, const char *part) {
    Bytes model = external_model(place);
    whet_error err = {0};
    Model *read = read_in(model, folder, &err);
    if (!part) {
        if (!read)
            fail_msg("%s: %s", place.location, err.message);
        const int32_t want[] = {7, 8};
        const Tensor *tensor = graph_find(read->graph, "w")->type.constant;
        assert_memory_equal(tensor->data, want, sizeof want);
        assert_true(tensor_is_aligned(tensor));
        assert_true(read->file_bytes >= model.length + 12);
    } else if (read || !strstr(err.message, part)) {
        fail_msg("%s: \"%s\" should say \"%s\"", place.location, err.message, part);
    }
    model_free(read);
    free(model.data);
}

static void make_folder(char *folder) {
    const int32_t data[] = {0, 7, 8};
    char path[256];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("sub", 0700), 0);
    FILE *file = fopen("sub/w.bin", "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, sizeof data, file), sizeof data);
    fclose(file);
    assert_int_equal(fclose(fopen("empty", "wb")), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    snprintf(path, sizeof path, "%s/sub/w.bin", folder);
    assert_int_equal(symlink("sub/w.bin", "inside"), 0);
    assert_int_equal(symlink(path, "absolute"), 0);
    assert_int_equal(symlink("/etc/passwd", "outside"), 0);
    assert_int_equal(symlink("/etc", "etc"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
}

static void remove_folder(const char *folder) {
    const char *const names[] = {"sub/w.bin", "empty", "fifo", "inside", "absolute", "outside", "etc", "loop"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(unlink(names[i]), 0);
    assert_int_equal(rmdir("sub"), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Both ways of looking a location up: by the kernel, and component by component, which follows no link at all. */
static void walks_as_the_kernel_does(const char *path, bool walk) {
    const struct {
        const char *location;
        bool opens, opens_walking;
    } cases[] = {{"sub/w.bin", true, true},     {"./sub//w.bin", true, true}, {"inside", true, false},
                 {"outside", false, false},     {"etc/passwd", false, false}, {"absolute", false, false},
                 {"nothing", false, false},     {"sub", false, false},        {"fifo", false, false},
                 {"sub/w.bin/x", false, false}, {".", false, false}};
    Arena arena;
    arena_init(&arena, NULL);
    Folder folder = {.path = path, .fd = -1, .walk = walk};
    FileMap *maps = NULL;
    for (size_t i = 0; i < COUNT(cases); i++) {
        whet_error err = {0};
        bool opened = map_beneath(&folder, (Str){cases[i].location, strlen(cases[i].location)}, &arena, &maps, &err) != NULL;
        bool want = walk ? cases[i].opens_walking : cases[i].opens;
        if (!walk && strcmp(cases[i].location, "inside") == 0)
            want = opened; /* a kernel without openat2 walks, too */
        if (opened != want)
            fail_msg("%s, %s: %s", cases[i].location, walk ? "walking" : "resolved", opened ? "opened" : err.message);
    }
    map_release(maps);
    folder_close(&folder);
    arena_free(&arena);
}

static void test_external(void **state) {
    (void)state;
    char back[4096], folder[] = "/tmp/whet_onnx_XXXXXX";
    assert_non_null(getcwd(back, sizeof back));
    make_folder(folder);
    external_case(folder, (Place){"sub/w.bin", "4", "8"}, NULL);
    external_case(folder, (Place){"./sub//./w.bin", "4", NULL}, NULL);
    external_case(".", (Place){"sub/w.bin", "4", "8"}, NULL);
    external_case(NULL, (Place){"sub/w.bin", "4", "8"}, "the model has no folder");
    external_case(folder, (Place){"sub/w.bin", "5", "8"}, "ends beyond");
    external_case(folder, (Place){"sub/w.bin", "18446744073709551612", "8"}, "ends beyond");
    external_case(folder, (Place){"sub/w.bin", "18446744073709551616", "8"}, "is not a size");
    external_case(folder, (Place){"sub/w.bin", "-4", "8"}, "is not a size");
    external_case(folder, (Place){"sub/w.bin", "", "8"}, "is not a size");
    external_case(folder, (Place){"sub/w.bin", "4", "12"}, "has 12 bytes, type and dims want 8");
    external_case(folder, (Place){NULL, "4", "8"}, "has no location");
    external_case(folder, (Place){"", "4", "8"}, "it is empty");
    external_case(folder, (Place){"sub/../sub/w.bin", "4", "8"}, "\"..\"");
    external_case(folder, (Place){"..", "4", "8"}, "\"..\"");
    external_case(folder, (Place){"sub\\w.bin", "4", "8"}, "backslash");
    external_case(folder, (Place){"/etc/passwd", "0", "8"}, "absolute");
    external_case(folder, (Place){"outside", "0", "8"}, "a link leads out");
    external_case(folder, (Place){"etc/passwd", "0", "8"}, "a link leads out");
    external_case(folder, (Place){"absolute", "0", "8"}, "a link leads out");
    external_case(folder, (Place){"loop", "0", "8"}, "cannot be opened");
    external_case(folder, (Place){"nothing", "0", "8"}, "cannot be opened");
    external_case(folder, (Place){"empty", "0", "8"}, "it is empty");
    external_case(folder, (Place){"sub", "0", "8"}, "a folder, not a file");
    external_case(folder, (Place){".", "0", "8"}, "external data at \".\"");
    external_case(folder, (Place){"fifo", "0", "8"}, "not a regular file"); /* and does not wait for a writer */
    for (int walk = 0; walk < 2; walk++)
        walks_as_the_kernel_does(folder, walk);
    remove_folder(folder);
    assert_int_equal(chdir(back), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_lists),       cmocka_unit_test(test_wire_last_wins), cmocka_unit_test(test_wire_refusals),
        cmocka_unit_test(test_tensor_typed),     cmocka_unit_test(test_tensor_packed),  cmocka_unit_test(test_tensor_refusals),
        cmocka_unit_test(test_tensor_alignment), cmocka_unit_test(test_tensor_sparse),  cmocka_unit_test(test_external),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
