/* Protobuf's wire format, read in place.
 *
 * wire_read turns the bytes of one message into a C struct, driven by the message's row in schema.h. Nothing is copied: texts,
 * byte strings and nested messages are spans of the file, repeated fields are walked where they lie. A nested message is read
 * when somebody asks for it, so nothing here recurses. wire_read has checked every tag and every length of its message (not of
 * those inside it); walking its repeated fields afterwards cannot fail.
 *
 * Semantics: unknown fields are skipped; the last of several scalars wins; packed and unpacked lists, even mixed, are one list.
 * Refused, where protobuf is laxer: groups, a known field with another wire type, a single message given twice (protobuf would
 * merge them), texts that are not UTF-8 or hold a NUL.
 */
#ifndef WHET_ONNX_WIRE_H
#define WHET_ONNX_WIRE_H

#include "base/base.h"

/* The file a message lies in, for messages that say at which byte, and the error to fill (never NULL). */
typedef struct Wire {
    const char *start;
    size_t size;
    whet_error *err;
} Wire;

/* How a field is encoded and held:
 *   INT      varint (int32, int64, uint64, enum)     Int
 *   FLOAT    4 bytes                                 Float
 *   TEXT     UTF-8 without NUL                       Str; data is NULL if not given
 *   BYTES    anything                                Str
 *   ONE      a message                               Str
 *   INTS, FLOATS, DOUBLES, TEXTS, MANY               Many: numbers, texts, byte strings or messages */
typedef enum FieldKind {
    FIELD_NONE, /* a number that is not in the table */
    FIELD_INT,
    FIELD_FLOAT,
    FIELD_TEXT,
    FIELD_BYTES,
    FIELD_ONE,
    FIELD_INTS,
    FIELD_FLOATS,
    FIELD_DOUBLES,
    FIELD_TEXTS,
    FIELD_MANY
} FieldKind;

typedef struct Int {
    int64_t value; /* 0 if not given */
    bool given;
} Int;

typedef struct Float {
    float value;
    bool given;
} Float;

typedef struct Many {
    size_t count; /* elements; of numbers, not of the fields they are packed in */
    Str rest;     /* the message from the first of the fields on */
    uint32_t number;
    FieldKind kind;
} Many;

typedef struct Field {
    FieldKind kind;
    size_t offset; /* in the struct */
    const char *name;
} Field;

enum { FIELD_LIMIT = 32 }; /* numbers in the table are below */

typedef struct Schema {
    const char *name;
    size_t size;         /* of the struct */
    const Field *fields; /* by number, FIELD_LIMIT of them */
} Schema;

/* Fills `out`, a struct of the schema. False: wire->err says what is wrong, and at which byte of the file. */
bool wire_read(const Wire *wire, const Schema *schema, Str message, void *out);

/* Takes the next element of a list of texts, byte strings or messages: for (Many it = list; many_next(&it, &element);) */
bool many_next(Many *list, Str *out);
void many_ints(const Many *list, int64_t *out); /* writes list->count elements; so the next two */
void many_floats(const Many *list, float *out);
void many_doubles(const Many *list, double *out);
/* True if all elements lie packed in one place, which little-endian machines can use as an array, if it is aligned. */
bool many_in_place(const Many *list, Str *out);

/* text.c: valid UTF-8 without NUL */
bool text_is_name(Str text);
/* At most 60 bytes of a name for a message, as "%.*s" wants them. */
#define SHOWN(text) (int)((text).length < 60 ? (text).length : 60), (text).data ? (text).data : ""

/* Set the error, or put words in front of it. */
void wire_error(const Wire *wire, whet_status status, const char *format, ...) PRINTF_LIKE(3, 4);
void wire_error_in(const Wire *wire, const char *format, ...) PRINTF_LIKE(2, 3);
void wire_error_memory(const Wire *wire);
/* The same as an expression that is false, so that a reader can end in `return wire_fail(...)`. */
#define wire_fail(...)         (wire_error(__VA_ARGS__), false)
#define wire_fail_in(...)      (wire_error_in(__VA_ARGS__), false)
#define wire_fail_memory(wire) (wire_error_memory(wire), false)

#endif
