/* A tiny writer of protobuf, for tests that make models, good and bad: messages are byte strings that grow, and a message put
 * into another is used up. Field numbers are those of onnx.proto. */
#ifndef WHET_TESTS_ONNX_WRITER_H
#define WHET_TESTS_ONNX_WRITER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Bytes {
    unsigned char *data;
    size_t length;
} Bytes;

static inline void put_raw(Bytes *out, const void *data, size_t length) {
    unsigned char *grown = realloc(out->data, out->length + length + 1);
    if (!grown)
        abort();
    out->data = grown;
    if (length)
        memcpy(out->data + out->length, data, length);
    out->length += length;
}

static inline void put_varint(Bytes *out, uint64_t value) {
    do {
        unsigned char byte = (unsigned char)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        put_raw(out, &byte, 1);
        value >>= 7;
    } while (value);
}

static inline void put_tag(Bytes *out, int field, int wire_type) {
    put_varint(out, (uint64_t)field << 3 | (uint64_t)wire_type);
}

static inline void put_int(Bytes *out, int field, int64_t value) {
    put_tag(out, field, 0);
    put_varint(out, (uint64_t)value);
}

static inline void put_float(Bytes *out, int field, float value) {
    put_tag(out, field, 5);
    put_raw(out, &value, 4);
}

static inline void put_bytes(Bytes *out, int field, const void *data, size_t length) {
    put_tag(out, field, 2);
    put_varint(out, length);
    put_raw(out, data, length);
}

static inline void put_text(Bytes *out, int field, const char *text) {
    put_bytes(out, field, text, strlen(text));
}

static inline void put_message(Bytes *out, int field, Bytes message) {
    put_bytes(out, field, message.data, message.length);
    free(message.data);
}

/* ---- ONNX's messages ----------------------------------------------------------------------------------------------------------
 */

static inline Bytes make_entry(const char *key, const char *value) {
    Bytes out = {0};
    put_text(&out, 1, key);
    put_text(&out, 2, value);
    return out;
}

static inline Bytes make_opset(const char *domain, int64_t version) {
    Bytes out = {0};
    put_text(&out, 1, domain);
    put_int(&out, 2, version);
    return out;
}

/* A tensor's head: name, type and dims (`rank` of them); the caller puts data. */
static inline Bytes make_tensor(const char *name, int type, int rank, const int64_t *dims) {
    Bytes out = {0};
    for (int i = 0; i < rank; i++)
        put_int(&out, 1, dims[i]);
    put_int(&out, 2, type);
    put_text(&out, 8, name);
    return out;
}

static inline Bytes make_floats(const char *name, const float *values, int64_t count) {
    Bytes out = make_tensor(name, 1, 1, &count);
    put_bytes(&out, 9, values, (size_t)count * 4);
    return out;
}

/* A value of f32 with `rank` dims; a dim below zero is the symbol "n". rank -1: no shape; -2: no type. */
static inline Bytes make_value(const char *name, int rank, const int64_t *dims) {
    Bytes out = {0}, type = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        Bytes dim = {0};
        if (dims[i] < 0)
            put_text(&dim, 2, "n");
        else
            put_int(&dim, 1, dims[i]);
        put_message(&shape, 1, dim);
    }
    put_int(&tensor, 1, 1);
    if (rank >= 0)
        put_message(&tensor, 2, shape);
    put_message(&type, 1, tensor);
    put_text(&out, 1, name);
    if (rank > -2)
        put_message(&out, 2, type);
    else
        free(type.data);
    return out;
}

/* Names in one string, separated by spaces; "-" is the empty name. */
static inline void put_names(Bytes *out, int field, const char *names) {
    while (*names) {
        size_t length = strcspn(names, " ");
        put_bytes(out, field, names, length == 1 && *names == '-' ? 0 : length);
        names += length + (names[length] == ' ');
    }
}

/* A node's head; the caller may put attributes (field 5). */
static inline Bytes make_node(const char *domain, const char *op, const char *inputs, const char *outputs) {
    Bytes out = {0};
    put_names(&out, 1, inputs);
    put_names(&out, 2, outputs);
    put_text(&out, 4, op);
    if (*domain)
        put_text(&out, 7, domain);
    return out;
}

/* An attribute's head: name and type (AttributeProto.AttributeType); the caller puts the value. */
static inline Bytes make_attr(const char *name, int type) {
    Bytes out = {0};
    put_text(&out, 1, name);
    if (type)
        put_int(&out, 20, type);
    return out;
}

/* An attribute that is the function's attribute `of`. */
static inline Bytes make_ref(const char *name, const char *of, int type) {
    Bytes out = make_attr(name, type);
    put_text(&out, 21, of);
    return out;
}

/* A function's head; the caller puts nodes (7), attributes (6, 11) and opsets (9). */
static inline Bytes make_function(const char *name, const char *inputs, const char *outputs) {
    Bytes out = {0};
    put_text(&out, 1, name);
    put_text(&out, 10, "local");
    put_names(&out, 4, inputs);
    put_names(&out, 5, outputs);
    return out;
}

/* IR version 8, opset 18, the domain "local" 1; the caller may put functions (25) and metadata (14). */
static inline Bytes make_model(Bytes graph) {
    Bytes out = {0};
    put_int(&out, 1, 8);
    put_message(&out, 7, graph);
    put_message(&out, 8, make_opset("", 18));
    put_message(&out, 8, make_opset("local", 1));
    return out;
}

#endif
