/* NumPy's array files (.npy, versions 1 to 3): read in any numeric type, byte order and element order, and texts; written
 * little-endian in C order. The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* A NumPy type character and size, and what it is here. The first row of a type is how it is written. */
static const struct {
    char kind;
    int bytes;
    whet_type type;
} rows[] = {
    {'f', 4, WHET_F32}, {'f', 2, WHET_F16},  {'f', 8, WHET_F64}, {'i', 1, WHET_S8},    {'i', 2, WHET_S16},
    {'i', 4, WHET_S32}, {'i', 8, WHET_S64},  {'u', 1, WHET_U8},  {'u', 2, WHET_U16},   {'u', 4, WHET_U32},
    {'u', 8, WHET_U64}, {'b', 1, WHET_BOOL}, {'c', 8, WHET_C64}, {'c', 16, WHET_C128},
};

typedef struct Header {
    char order, kind; /* '<', '>', '|' or '='; 'f', 'i', ... */
    int64_t bytes;    /* of an element */
    bool fortran;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    const uint8_t *data;
    size_t size;
} Header;

static const char *skip_spaces(const char *at) {
    while (*at == ' ' || *at == '\t' || *at == '\n')
        at++;
    return at;
}

/* The value of `key` in the header's Python dictionary; NULL: none. */
static const char *find_key(const char *text, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *at = strstr(text, quoted);
    if (!at)
        return NULL;
    at = skip_spaces(at + strlen(quoted));
    return *at == ':' ? skip_spaces(at + 1) : NULL;
}

static bool parse_shape(const char *at, Header *header) {
    if (!at || *at++ != '(')
        return false;
    for (header->rank = 0;; header->rank++) {
        at = skip_spaces(at);
        if (*at == ')')
            return true;
        if (header->rank == WHET_MAX_RANK || *at < '0' || *at > '9')
            return false;
        char *end;
        errno = 0;
        header->dims[header->rank] = strtoll(at, &end, 10);
        at = skip_spaces(end);
        if (errno || (*at != ',' && *at != ')'))
            return false;
        if (*at == ',')
            at++;
    }
}

static bool parse_type(const char *at, Header *header) {
    if (!at || (*at != '\'' && *at != '"') || !strchr("<>|=", at[1]) || !at[1] || !at[2])
        return false;
    char *end;
    header->order = at[1];
    header->kind = at[2];
    errno = 0;
    header->bytes = strtoll(at + 3, &end, 10);
    bool fine = !errno && end != at + 3 && *end == *at && header->bytes >= 0 && header->bytes <= INT32_MAX;
    if (fine && header->kind == 'U') /* counted in code points of four bytes */
        header->bytes *= 4;
    return fine;
}

/* Of a type as the header writes it, for people: '|O' or [('x', '<f4')]. */
static int type_length(const char *type) {
    size_t end = *type == '[' ? strcspn(type, "]") + 1 : strcspn(type, ",");
    return end > 60 ? 60 : (int)end;
}

static bool parse_header(const uint8_t *data, size_t size, const char *label, Header *header) {
    if (size < 12 || memcmp(data, "\x93NUMPY", 6) != 0)
        return complain("%s: is not a NumPy array (.npy)", label);
    size_t start = data[6] == 1 ? 10 : 12;
    size_t length = data[6] == 1 ? (size_t)(data[8] | data[9] << 8)
                                 : (data[8] | (size_t)data[9] << 8 | (size_t)data[10] << 16 | (size_t)data[11] << 24);
    if (data[6] < 1 || data[6] > 3)
        return complain("%s: is of the .npy version %d; 1 to 3 are supported", label, data[6]);
    if (length > size - start)
        return complain("%s: ends within its header", label);
    header->data = data + start + length;
    header->size = size - start - length;
    char *text = need(calloc(length + 1, 1));
    memcpy(text, data + start, length);
    const char *type = find_key(text, "descr"), *order = find_key(text, "fortran_order");
    bool fine = parse_type(type, header);
    if (!fine)
        complain("%s: its elements (%.*s) are not of a plain NumPy type; wanted: numbers, bool or text, as <f4", label,
                 type ? type_length(type) : 0, type ? type : "");
    else if (!order || !parse_shape(find_key(text, "shape"), header))
        fine = complain("%s: its header is broken, or its shape has more than %d dimensions", label, WHET_MAX_RANK);
    header->fortran = fine && strncmp(order, "True", 4) == 0;
    free(text);
    return fine;
}

static whet_type type_of(const Header *header, whet_type want) {
    if (header->kind == 'U' || header->kind == 'S')
        return WHET_STRING;
    if (header->kind == 'V' && whet_type_bits(want) == (size_t)header->bytes * 8)
        return want; /* what ml_dtypes writes for bfloat16 and the 8-bit floats */
    for (size_t i = 0; i < CLI_COUNT(rows); i++)
        if (rows[i].kind == header->kind && rows[i].bytes == header->bytes)
            return rows[i].type;
    return WHET_NONE;
}

static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | (c >> (6 * more) & 0x3f));
    for (int i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
    return (size_t)more + 1;
}

static uint32_t read_code(const uint8_t *at, bool swapped) {
    return swapped ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
                   : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* Texts of a fixed width, filled up with zeros. A code point takes 4 bytes there and at most 4 as UTF-8, so the bytes fit
 * behind the elements in `count * (16 + bytes)`. */
static bool read_strings(const Header *header, int64_t count, Array *out) {
    size_t width = (size_t)header->bytes;
    size_t table = (size_t)count * sizeof(StringElement);
    StringElement *elements = need(malloc(table + (size_t)count * width + 1));
    char *at = (char *)(elements + count);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *from = header->data + (size_t)i * width;
        elements[i].data = at;
        if (header->kind == 'S') {
            size_t length = width;
            while (length > 0 && from[length - 1] == 0)
                length--;
            memcpy(at, from, length);
            at += length;
        } else {
            for (size_t j = 0; j + 4 <= width && read_code(from + j, header->order == '>') != 0; j += 4)
                at += put_utf8(at, read_code(from + j, header->order == '>') & 0x1fffff);
        }
        elements[i].length = (size_t)(at - elements[i].data);
    }
    *out = (Array){.tensor = {.type = WHET_STRING, .data = elements, .bytes = table}, .memory = elements};
    return true;
}

static void copy_element(uint8_t *to, const uint8_t *from, size_t bytes, size_t unit, bool swap) {
    if (!swap) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t start = 0; start < bytes; start += unit) /* the two halves of a complex number each */
        for (size_t i = 0; i < unit; i++)
            to[start + i] = from[start + unit - 1 - i];
}

/* In row-major order, whatever the file's: `at` counts the dimensions up while `from` follows their strides. */
static void read_elements(const Header *header, int64_t count, uint8_t *to) {
    size_t bytes = (size_t)header->bytes, unit = header->kind == 'c' ? bytes / 2 : bytes;
    bool swap = header->order == '>' && unit > 1;
    if (!swap && (!header->fortran || header->rank < 2)) {
        memcpy(to, header->data, (size_t)count * bytes);
        return;
    }
    size_t strides[WHET_MAX_RANK];
    int64_t at[WHET_MAX_RANK] = {0};
    size_t stride = bytes;
    for (int k = 0; k < header->rank; k++) {
        int axis = header->fortran ? k : header->rank - 1 - k;
        strides[axis] = stride;
        stride *= (size_t)header->dims[axis];
    }
    const uint8_t *from = header->data;
    for (int64_t i = 0; i < count; i++) {
        copy_element(to + (size_t)i * bytes, from, bytes, unit, swap);
        for (int axis = header->rank - 1; axis >= 0; axis--) {
            from += strides[axis];
            if (++at[axis] < header->dims[axis])
                break;
            from -= strides[axis] * (size_t)header->dims[axis];
            at[axis] = 0;
        }
    }
}

bool npy_parse(const uint8_t *data, size_t size, const char *label, whet_type want, Array *out) {
    Header header = {0};
    if (!parse_header(data, size, label, &header))
        return false;
    assert(header.data);
    whet_type type = type_of(&header, want);
    if (type == WHET_NONE)
        return complain("%s: elements of NumPy's kind '%c%lld' are not supported", label, header.kind, (long long)header.bytes);
    whet_tensor shape = {.type = type, .rank = header.rank};
    memcpy(shape.dims, header.dims, sizeof header.dims);
    int64_t count = whet_tensor_count(&shape);
    size_t room = header.bytes ? header.size / (size_t)header.bytes : SIZE_MAX / 64;
    if (count < 0 || (uint64_t)count > room)
        return complain("%s: its shape needs %lld elements of %lld bytes; the file has %zu bytes of them", label,
                        (long long)count, (long long)header.bytes, header.size);
    if (type == WHET_STRING) {
        if (header.fortran && header.rank > 1)
            return complain("%s: texts in Fortran order are not supported", label);
        if (!read_strings(&header, count, out))
            return false;
        out->tensor.rank = header.rank;
        memcpy(out->tensor.dims, header.dims, sizeof header.dims);
        return true;
    }
    if (!array_new(out, label, type, header.rank, header.dims))
        return false;
    read_elements(&header, count, out->tensor.data);
    return true;
}

/* One code point of UTF-8 at text[*at]; a broken byte stands for itself. */
static uint32_t next_code(const StringElement *text, size_t *at) {
    const unsigned char *bytes = (const unsigned char *)text->data;
    uint32_t c = bytes[(*at)++];
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if ((size_t)more > text->length - *at)
        return c;
    uint32_t code = more ? c & (0x3fu >> more) : c;
    for (int i = 0; i < more; i++) {
        if ((bytes[*at + (size_t)i] & 0xc0) != 0x80)
            return c;
        code = code << 6 | (bytes[*at + (size_t)i] & 0x3fu);
    }
    *at += (size_t)more;
    return code;
}

static size_t count_codes(const StringElement *text) {
    size_t count = 0, at = 0;
    while (at < text->length) {
        next_code(text, &at);
        count++;
    }
    return count;
}

static void write_strings(FILE *file, const StringElement *texts, int64_t count, size_t width) {
    for (int64_t i = 0; i < count; i++) {
        size_t at = 0;
        for (size_t j = 0; j < width; j++) {
            uint32_t c = at < texts[i].length ? next_code(&texts[i], &at) : 0;
            uint8_t bytes[4] = {(uint8_t)c, (uint8_t)(c >> 8), (uint8_t)(c >> 16), (uint8_t)(c >> 24)};
            fwrite(bytes, 1, sizeof bytes, file);
        }
    }
}

whet_type npy_type(whet_type type) {
    switch (type) {
    case WHET_BF16:
    case WHET_F8E4M3FN:
    case WHET_F8E4M3FNUZ:
    case WHET_F8E5M2:
    case WHET_F8E5M2FNUZ:
    case WHET_F8E8M0:
    case WHET_F4E2M1: return WHET_F32;
    case WHET_U4:
    case WHET_U2: return WHET_U8;
    case WHET_S4:
    case WHET_S2: return WHET_S8;
    default: return type;
    }
}

static bool write_converted(FILE *file, const char *path, const whet_tensor *tensor, whet_type type) {
    Array value;
    if (!array_new(&value, path, type, tensor->rank, tensor->dims))
        return false;
    int64_t count = whet_tensor_count(tensor);
    for (int64_t i = 0; i < count; i++)
        whet_tensor_set(&value.tensor, i, whet_tensor_get(tensor, i));
    fwrite(value.tensor.data, 1, value.tensor.bytes, file);
    array_free(&value);
    return true;
}

static void write_header(FILE *file, const whet_tensor *tensor, char kind, size_t bytes) {
    char text[512];
    int used = snprintf(text, sizeof text, "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (",
                        kind == 'b' || bytes == 1 ? '|' : '<', kind, bytes);
    for (int i = 0; i < tensor->rank; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld, ", (long long)tensor->dims[i]);
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    size_t total = ((size_t)used + 11 + 63) / 64 * 64, padded = total - 10; /* data starts at a multiple of 64 */
    uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)padded, (uint8_t)(padded >> 8)};
    fwrite(start, 1, sizeof start, file);
    fprintf(file, "%s%*s\n", text, (int)(padded - (size_t)used - 1), "");
}

static bool write_array(FILE *file, const char *path, const whet_tensor *tensor) {
    int64_t count = whet_tensor_count(tensor);
    if (tensor->type == WHET_STRING) {
        const StringElement *texts = tensor->data;
        size_t width = 0;
        for (int64_t i = 0; i < count; i++) {
            size_t length = count_codes(&texts[i]);
            width = length > width ? length : width;
        }
        write_header(file, tensor, 'U', width); /* NumPy counts code points, not bytes */
        write_strings(file, texts, count, width);
        return true;
    }
    whet_type type = npy_type(tensor->type);
    for (size_t i = 0; i < CLI_COUNT(rows); i++) {
        if (rows[i].type != type)
            continue;
        write_header(file, tensor, rows[i].kind, (size_t)rows[i].bytes);
        if (type != tensor->type)
            return write_converted(file, path, tensor, type);
        fwrite(tensor->data, (size_t)rows[i].bytes, (size_t)count, file);
        return true;
    }
    return complain("%s: the type %s cannot be written as .npy", path, whet_type_name(tensor->type));
}

bool npy_write(const char *path, const whet_tensor *tensor) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return complain("%s: cannot be written: %s", path, strerror(errno));
    bool fine = write_array(file, path, tensor);
    bool written = !ferror(file);
    written = fclose(file) == 0 && written;
    if (fine && !written)
        return complain("%s: cannot be written: %s", path, strerror(errno));
    return fine;
}
