/* ModelProto -> Model: the top of the reader. */
#include "onnx/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "onnx/build.h"

/* ---- metadata ---------------------------------------------------------------------------------------------------------------
 */

static bool add_metadata(Reader *reader, const char *key, const char *value) {
    Model *model = reader->model;
    if (!key || !value)
        return wire_fail_memory(reader->wire);
    model->metadata[model->metadata_count++] = (Metadata){key, value};
    return true;
}

static bool add_own(Reader *reader, const ModelProto *proto) {
    const struct {
        const char *key;
        Str value;
    } texts[] = {{"producer_name", proto->producer_name},
                 {"producer_version", proto->producer_version},
                 {"domain", proto->domain},
                 {"doc_string", proto->doc_string}};
    for (size_t i = 0; i < COUNT(texts); i++)
        if (texts[i].value.data && !add_metadata(reader, texts[i].key, reader_string(reader, texts[i].value)))
            return false;
    return add_metadata(reader, "ir_version", arena_printf(reader->arena, "%" PRId64, proto->ir_version.value)) &&
           add_metadata(reader, "model_version", arena_printf(reader->arena, "%" PRId64, proto->model_version.value));
}

/* "opset" is the version of ONNX's own domain, "opset.DOMAIN" that of another. */
static bool add_opsets(Reader *reader, Many imports) {
    for (Str bytes; many_next(&imports, &bytes);) {
        OperatorSetProto import;
        if (!READ(reader->wire, OperatorSetProto, bytes, &import))
            return false;
        Str domain = domain_canonical(import.domain);
        const char *key = "opset";
        if (domain.length) {
            char *name = reader_string(reader, domain);
            key = name ? arena_printf(reader->arena, "opset.%s", name) : NULL;
        }
        if (!add_metadata(reader, key, arena_printf(reader->arena, "%" PRId64, import.version.value)))
            return false;
    }
    return true;
}

static bool add_properties(Reader *reader, Many entries) {
    for (Str bytes; many_next(&entries, &bytes);) {
        EntryProto entry;
        if (!READ(reader->wire, EntryProto, bytes, &entry))
            return wire_fail_in(reader->wire, "metadata_props");
        const char *key = reader_string(reader, entry.key);
        if (!add_metadata(reader, key, key ? reader_string(reader, entry.value) : NULL))
            return false;
    }
    return true;
}

static bool read_metadata(Reader *reader, const ModelProto *proto) {
    size_t most = 6 + proto->opset_import.count + proto->metadata_props.count;
    reader->model->metadata = ARENA_ARRAY(reader->arena, Metadata, most);
    if (!reader->model->metadata)
        return wire_fail_memory(reader->wire);
    return add_own(reader, proto) && add_opsets(reader, proto->opset_import) && add_properties(reader, proto->metadata_props);
}

/* ---- the model --------------------------------------------------------------------------------------------------------------
 */

static bool check_versions(const Reader *reader, const ModelProto *proto) {
    int64_t version = proto->ir_version.value;
    if (!proto->graph.data)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it holds no graph, so it is no ONNX model");
    if (version >= OLDEST_IR && version <= NEWEST_IR)
        return true;
    bool absurd = version < 1;
    return wire_fail(reader->wire, absurd ? WHET_ERROR_FORMAT : WHET_ERROR_UNSUPPORTED,
                     "ir_version is %" PRId64 ", %d to %d are supported", version, OLDEST_IR, NEWEST_IR);
}

static bool read_model(Reader *reader, Str bytes) {
    Model *model = reader->model;
    ModelProto proto;
    if (!READ(reader->wire, ModelProto, bytes, &proto)) {
        error_prefix(reader->wire->err, "it is no ONNX model, or not a whole one");
        return false;
    }
    if (!check_versions(reader, &proto))
        return false;
    model->ir_version = proto.ir_version.value;
    if (!opsets_read(reader, proto.opset_import, &reader->opsets) || !read_metadata(reader, &proto))
        return false;
    if (!opsets_find(&reader->opsets, (Str){"", 0}, &model->opset))
        model->opset = 0;
    if (!functions_read(reader, proto.functions))
        return false;
    model->graph = graph_read(reader, proto.graph, NULL, NULL);
    return model->graph && graph_sort(model->graph, reader->wire->err) == WHET_OK;
}

static bool read_bytes(Model *model, const void *data, size_t size, const char *folder, whet_error *err) {
    if (size == 0) {
        error_set(err, WHET_ERROR_FORMAT, "it is empty");
        return false;
    }
    Reader reader = {.model = model, .arena = &model->arena};
    reader.store = (Store){.wire = {data, size, err},
                           .arena = &model->arena,
                           .maps = &model->maps,
                           .folder = {.path = folder, .fd = -1},
                           .sparse_left = SPARSE_LIMIT,
                           .copy_below = ALIGN_LATER};
    reader.wire = &reader.store.wire;
    map_init(&reader.store.files, reader.arena);
    bool fine = read_model(&reader, (Str){data, size});
    folder_close(&reader.store.folder);
    if (fine && model->arena.failed) {
        error_memory(err);
        fine = false;
    }
    return fine;
}

static size_t mapped_bytes(const FileMap *map) {
    size_t total = 0;
    for (; map; map = map->next)
        total += map->bytes;
    return total;
}

static Model *finish(Model *model, bool fine, const char *name, whet_error *own, whet_error *err) {
    if (fine)
        return model;
    error_prefix(own, "%s", name);
    if (err)
        *err = *own;
    model_free(model);
    return NULL;
}

Model *onnx_read_memory(const void *data, size_t size, const char *folder, const whet_allocator *allocator, whet_error *err) {
    whet_error own = {0};
    Model *model = model_new(allocator);
    if (!model) {
        error_memory(err);
        return NULL;
    }
    bool fine = read_bytes(model, data, size, folder, &own);
    size_t external = mapped_bytes(model->maps);
    model->file_bytes = size <= SIZE_MAX - external ? size + external : SIZE_MAX;
    return finish(model, fine, "model", &own, err);
}

static char *folder_of(Arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return arena_string(arena, ".", 1);
    return arena_string(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

Model *onnx_read(const char *path, const whet_allocator *allocator, whet_error *err) {
    whet_error own = {0};
    Model *model = model_new(allocator);
    if (!model) {
        error_memory(err);
        return NULL;
    }
    const char *copy = arena_string(&model->arena, path, strlen(path));
    const char *folder = folder_of(&model->arena, path);
    if (!copy || !folder) {
        error_memory(err);
        model_free(model);
        return NULL;
    }
    model->path = copy;
    const FileMap *map = map_file(path, &model->arena, &model->maps, &own);
    bool fine = map && read_bytes(model, map->data, map->bytes, folder, &own);
    model->file_bytes = mapped_bytes(model->maps);
    return finish(model, fine, copy, &own, err);
}

void onnx_unmap(Model *model) {
    map_release(model->maps);
    model->maps = NULL;
}
