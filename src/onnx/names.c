/* Names and operator sets. */
#include "onnx/build.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

char *reader_string(Reader *reader, Str text) {
    char *out = arena_string(reader->arena, text.data ? text.data : "", text.length);
    if (!out)
        wire_error_memory(reader->wire);
    return out;
}

Str domain_canonical(Str domain) {
    bool onnx = domain.length == 7 && memcmp(domain.data, "ai.onnx", 7) == 0;
    return onnx || !domain.data ? (Str){"", 0} : domain;
}

static bool check_version(const Wire *wire, Str domain, int64_t version) {
    if (version < 1 || version > INT_MAX)
        return wire_fail(wire, WHET_ERROR_FORMAT, "opset_import of domain \"%.*s\" has version %" PRId64, SHOWN(domain), version);
    if (domain.length == 0 && version > NEWEST_OPSET)
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "opset %" PRId64 " is not supported, %d is the newest that is", version,
                         NEWEST_OPSET);
    return true;
}

bool opsets_read(Reader *reader, Many imports, Opsets *out) {
    const Wire *wire = reader->wire;
    map_init(&out->versions, reader->arena);
    for (Str bytes; many_next(&imports, &bytes);) {
        OperatorSetProto import;
        if (!READ(wire, OperatorSetProto, bytes, &import))
            return false;
        Str domain = domain_canonical(import.domain);
        if (!check_version(wire, domain, import.version.value))
            return false;
        const Int *before = map_get(&out->versions, domain.data, domain.length);
        if (before && before->value != import.version.value)
            return wire_fail(wire, WHET_ERROR_FORMAT, "opset_import of domain \"%.*s\" is given as %" PRId64 " and as %" PRId64,
                             SHOWN(domain), before->value, import.version.value);
        Int *version = arena_copy(reader->arena, &import.version, sizeof import.version);
        if (!version || !map_put(&out->versions, domain.data, domain.length, version))
            return wire_fail_memory(wire);
    }
    return true;
}

bool opsets_find(const Opsets *opsets, Str domain, int *version) {
    const Int *found = map_get(&opsets->versions, domain.data, domain.length);
    if (found)
        *version = (int)found->value;
    return found != NULL;
}
