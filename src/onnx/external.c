/* External data: a tensor names a file beside the model, an offset and a length. The file is mapped once, whoever uses it. */
#include "onnx/tensor.h"

#include <string.h>

typedef struct Place {
    Str location, offset, length;
} Place;

static bool is_key(Str key, const char *text) {
    return key.length == strlen(text) && memcmp(key.data, text, key.length) == 0;
}

/* Keys that we do not know say nothing about where the data is: "checksum" and whatever a tool adds. */
static bool read_place(const Wire *wire, Many entries, Place *out) {
    for (Str bytes; many_next(&entries, &bytes);) {
        EntryProto entry;
        if (!READ(wire, EntryProto, bytes, &entry))
            return false;
        Str *member = is_key(entry.key, "location") ? &out->location
                      : is_key(entry.key, "offset") ? &out->offset
                      : is_key(entry.key, "length") ? &out->length
                                                    : NULL;
        if (!member)
            continue;
        if (member->data)
            return wire_fail(wire, WHET_ERROR_FORMAT, "external_data gives \"%.*s\" twice", SHOWN(entry.key));
        *member = entry.value.data ? entry.value : (Str){"", 0};
    }
    if (!out->location.data)
        return wire_fail(wire, WHET_ERROR_FORMAT, "external_data has no location");
    return true;
}

/* Decimal digits alone. */
static bool parse_size(Str text, size_t *out) {
    size_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = (unsigned char)text.data[i] - (unsigned)'0';
        if (digit > 9 || !checked_size_mul(value, 10, &value) || !checked_size_add(value, digit, &value))
            return false;
    }
    *out = value;
    return text.length > 0;
}

static FileMap *find_file(Store *store, Str location) {
    FileMap *map = map_get(&store->files, location.data, location.length);
    if (map)
        return map;
    map = map_beneath(&store->folder, location, store->arena, store->maps, store->wire.err);
    if (map && !map_put(&store->files, location.data, location.length, map)) {
        error_memory(store->wire.err);
        return NULL;
    }
    return map;
}

bool external_find(Store *store, const TensorProto *proto, size_t bytes, Str *out) {
    const Wire *wire = &store->wire;
    Place place = {0};
    if (!read_place(wire, proto->external_data, &place))
        return false;
    size_t offset = 0, length = bytes;
    if (place.offset.data && !parse_size(place.offset, &offset))
        return wire_fail(wire, WHET_ERROR_FORMAT, "external_data's offset \"%.*s\" is not a size", SHOWN(place.offset));
    if (place.length.data && !parse_size(place.length, &length))
        return wire_fail(wire, WHET_ERROR_FORMAT, "external_data's length \"%.*s\" is not a size", SHOWN(place.length));
    if (length != bytes)
        return wire_fail(wire, WHET_ERROR_FORMAT, "external_data has %zu bytes, type and dims want %zu", length, bytes);
    const FileMap *map = find_file(store, place.location);
    if (!map)
        return false;
    if (offset > map->bytes || length > map->bytes - offset)
        return wire_fail(wire, WHET_ERROR_FORMAT, "external_data at offset %zu, %zu bytes, ends beyond \"%.*s\" (%zu bytes)",
                         offset, length, SHOWN(place.location), map->bytes);
    *out = (Str){(const char *)map->data + offset, length};
    return true;
}
