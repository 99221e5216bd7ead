/* The table of schema.h as data: a Schema for each message, its fields indexed by their numbers. */
#include "onnx/schema.h"

#define ROW(message, number, kind, name) [number] = {FIELD_##kind, offsetof(message, name), #name},
#define SCHEMA(message, table)                                                                                                   \
    static const Field fields_##message[FIELD_LIMIT] = {table(ROW, message)};                                                    \
    const Schema schema_##message = {#message, sizeof(message), fields_##message};

MESSAGES(SCHEMA)
