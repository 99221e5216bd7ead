/* Reading one message by its schema, and walking its repeated fields. See wire.h. */
#include "onnx/wire.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX files are little-endian and used where they lie: this reader needs a little-endian machine"
#endif

typedef enum WireType { WIRE_VARINT = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5, WIRE_END = 8 } WireType;

/* One field as it stands in the bytes. */
typedef struct Item {
    uint64_t number;
    WireType type;
    uint64_t varint;
    Str bytes; /* of WIRE_8, WIRE_BYTES and WIRE_4 */
} Item;

void wire_error(const Wire *wire, whet_status status, const char *format, ...) {
    char message[WHET_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    error_set(wire->err, status, "%s", message);
}

/* Where things nest deeply, the middle of the way to them is left out, so that the end of the message is not cut off. */
void wire_error_in(const Wire *wire, const char *format, ...) {
    static const char gap[] = "...: ";
    if (strncmp(wire->err->message, gap, sizeof gap - 1) == 0)
        return;
    char front[256] = "...";
    if (strlen(wire->err->message) < WHET_MESSAGE_BYTES / 4) {
        va_list args;
        va_start(args, format);
        vsnprintf(front, sizeof front, format, args);
        va_end(args);
    }
    error_prefix(wire->err, "%s", front);
}

void wire_error_memory(const Wire *wire) {
    error_memory(wire->err);
}

/* Takes a varint from the front of `bytes`; false if it is cut off or does not fit 64 bits. */
static bool take_varint(Str *bytes, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && bytes->length; shift += 7) {
        unsigned char byte = (unsigned char)*bytes->data++;
        bytes->length--;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static Str take_bytes(Str *bytes, size_t length) {
    Str out = {bytes->data, length};
    bytes->data += length;
    bytes->length -= length;
    return out;
}

/* Takes one field; NULL, or what is wrong with it. */
static const char *take_item(Str *bytes, Item *item) {
    uint64_t tag, length;
    if (!take_varint(bytes, &tag))
        return "the tag of a field is cut off or too long";
    item->number = tag >> 3;
    item->type = (WireType)(tag & 7);
    if (item->number == 0 || item->number >= 1u << 29)
        return "a field number is out of range";
    switch (item->type) {
    case WIRE_VARINT: return take_varint(bytes, &item->varint) ? NULL : "a number is cut off or too long";
    case WIRE_BYTES:
        if (!take_varint(bytes, &length))
            return "a length is cut off or too long";
        break;
    case WIRE_4: length = 4; break;
    case WIRE_8: length = 8; break;
    default: return "an unknown wire type, or a group";
    }
    if (length > bytes->length)
        return "it runs past the end of its message";
    item->bytes = take_bytes(bytes, (size_t)length);
    return NULL;
}

/* Varints in packed bytes: one ends at each byte below 0x80. SIZE_MAX: the bytes are not a list of varints. */
static size_t count_varints(Str bytes) {
    size_t count = 0;
    uint64_t ignored;
    while (bytes.length) {
        if (!take_varint(&bytes, &ignored))
            return SIZE_MAX;
        count++;
    }
    return count;
}

static WireType native_type(FieldKind kind) {
    switch (kind) {
    case FIELD_INT:
    case FIELD_INTS: return WIRE_VARINT;
    case FIELD_FLOAT:
    case FIELD_FLOATS: return WIRE_4;
    case FIELD_DOUBLES: return WIRE_8;
    default: return WIRE_BYTES;
    }
}

/* Elements of a list that one field holds; SIZE_MAX: its bytes are not whole elements. */
static size_t count_elements(FieldKind kind, const Item *item) {
    if (item->type != WIRE_BYTES || kind == FIELD_TEXTS || kind == FIELD_MANY)
        return 1;
    if (kind == FIELD_INTS)
        return count_varints(item->bytes);
    size_t size = kind == FIELD_FLOATS ? 4 : 8;
    return item->bytes.length % size ? SIZE_MAX : item->bytes.length / size;
}

/* Enters one field into the struct; NULL, or what is wrong. `before` is the message from this field on. */
static const char *put_item(const Field *field, const Item *item, Str before, void *member) {
    bool packed = item->type == WIRE_BYTES && field->kind >= FIELD_INTS && field->kind <= FIELD_DOUBLES;
    if (!packed && item->type != native_type(field->kind))
        return "its wire type is not the field's";
    if ((field->kind == FIELD_TEXT || field->kind == FIELD_TEXTS) && !text_is_name(item->bytes))
        return "not a UTF-8 text, or a text with a NUL";
    switch (field->kind) {
    case FIELD_INT: *(Int *)member = (Int){(int64_t)item->varint, true}; return NULL;
    case FIELD_FLOAT: {
        Float *out = member;
        memcpy(&out->value, item->bytes.data, 4);
        out->given = true;
        return NULL;
    }
    case FIELD_ONE:
        if (((Str *)member)->data)
            return "given twice";
        *(Str *)member = item->bytes;
        return NULL;
    case FIELD_TEXT:
    case FIELD_BYTES: *(Str *)member = item->bytes; return NULL;
    default: break;
    }
    Many *many = member;
    size_t more = count_elements(field->kind, item);
    if (more == SIZE_MAX)
        return "its packed bytes are not whole elements";
    if (!many->rest.data)
        *many = (Many){.rest = before, .number = (uint32_t)item->number, .kind = field->kind};
    many->count += more; /* cannot overflow: an element takes at least a byte of the file */
    return NULL;
}

bool wire_read(const Wire *wire, const Schema *schema, Str message, void *out) {
    memset(out, 0, schema->size);
    while (message.length) {
        Str before = message;
        Item item = {0};
        const char *wrong = take_item(&message, &item);
        const Field *field = item.number < FIELD_LIMIT ? &schema->fields[item.number] : &schema->fields[0];
        if (!wrong && field->kind != FIELD_NONE)
            wrong = put_item(field, &item, before, (char *)out + field->offset);
        if (wrong)
            return wire_fail(wire, WHET_ERROR_FORMAT, "%s, field %llu%s%s, at byte %zu: %s", schema->name,
                             (unsigned long long)item.number, field->kind == FIELD_NONE ? "" : " ",
                             field->kind == FIELD_NONE ? "" : field->name, (size_t)(before.data - wire->start), wrong);
    }
    return true;
}

/* The next field of a list that wire_read has checked. */
static Item next_item(Many *list) {
    Item item = {0};
    do {
        const char *wrong = take_item(&list->rest, &item);
        assert(!wrong);
        (void)wrong;
    } while (item.number != list->number);
    return item;
}

bool many_next(Many *list, Str *out) {
    assert(list->kind == FIELD_NONE || list->kind == FIELD_TEXTS || list->kind == FIELD_MANY);
    if (list->count == 0)
        return false;
    list->count--;
    *out = next_item(list).bytes;
    return true;
}

void many_ints(const Many *list, int64_t *out) {
    Many it = *list;
    for (size_t i = 0; i < it.count;) {
        Item item = next_item(&it);
        if (item.type == WIRE_VARINT) {
            out[i++] = (int64_t)item.varint;
            continue;
        }
        for (uint64_t value; item.bytes.length && take_varint(&item.bytes, &value);)
            out[i++] = (int64_t)value;
    }
}

static void copy_elements(const Many *list, char *out, size_t size) {
    Many it = *list;
    for (size_t left = it.count * size; left;) {
        Item item = next_item(&it);
        memcpy(out, item.bytes.data, item.bytes.length);
        out += item.bytes.length;
        left -= item.bytes.length;
    }
}

void many_floats(const Many *list, float *out) {
    copy_elements(list, (char *)out, sizeof *out);
}

void many_doubles(const Many *list, double *out) {
    copy_elements(list, (char *)out, sizeof *out);
}

bool many_in_place(const Many *list, Str *out) {
    if (list->count == 0 || (list->kind != FIELD_FLOATS && list->kind != FIELD_DOUBLES))
        return false;
    Many it = *list;
    Item item = next_item(&it);
    *out = item.bytes;
    return item.bytes.length == list->count * (list->kind == FIELD_FLOATS ? 4 : 8);
}
