/* Files of one tensor: a TensorProto, as ONNX's test cases have them. */
#include <string.h>

#include "onnx/tensor.h"

struct whet_tensor_file {
    Arena arena;
    FileMap *maps;
    const Tensor *tensor;
    const char *name;
};

static bool read_file(whet_tensor_file *file, const char *path, whet_error *err) {
    const FileMap *map = map_file(path, &file->arena, &file->maps, err);
    if (!map) {
        error_prefix(err, "%s", path);
        return false;
    }
    Store store = {.wire = {map->data, map->bytes, err},
                   .arena = &file->arena,
                   .maps = &file->maps,
                   .folder = {.fd = -1},
                   .copy_below = SIZE_MAX};
    map_init(&store.files, &file->arena);
    TensorProto proto;
    if (!READ(&store.wire, TensorProto, ((Str){map->data, map->bytes}), &proto) || !(file->tensor = tensor_read(&store, &proto)))
        return wire_fail_in(&store.wire, "%s", path);
    file->name = arena_string(&file->arena, proto.name.data ? proto.name.data : "", proto.name.length);
    return file->name || wire_fail_memory(&store.wire);
}

whet_status whet_tensor_file_load(const char *path, whet_tensor_file **out, whet_error *err) {
    whet_error own = {0};
    *out = NULL;
    whet_tensor_file *file = memory_alloc(NULL, sizeof *file);
    if (!file)
        return error_memory(err);
    memset(file, 0, sizeof *file);
    arena_init(&file->arena, NULL);
    if (!read_file(file, path, &own)) {
        whet_tensor_file_free(file);
        if (err)
            *err = own;
        return own.status;
    }
    *out = file;
    return WHET_OK;
}

const char *whet_tensor_file_name(const whet_tensor_file *file) {
    return file->name;
}

const whet_tensor *whet_tensor_file_tensor(const whet_tensor_file *file) {
    return file->tensor;
}

void whet_tensor_file_free(whet_tensor_file *file) {
    if (!file)
        return;
    map_release(file->maps);
    arena_free(&file->arena);
    memory_free(NULL, file, sizeof *file);
}
