/* The content of constants as text: "{1.0, 2.5}" in full when there are few elements, a hash of the bytes otherwise. */
#include "graph/text.h"

#include <string.h>

static void print_complex(double real, double imaginary, Text *out) {
    text_char(out, '(');
    text_double(out, real);
    text_put(out, ", ");
    text_double(out, imaginary);
    text_char(out, ')');
}

static void print_element(const Tensor *tensor, int64_t i, Text *out) {
    DType type = (DType)tensor->type;
    switch (type) {
    case DT_S64: text_printf(out, "%lld", (long long)((const int64_t *)tensor->data)[i]); return;
    case DT_U64: text_printf(out, "%llu", (unsigned long long)((const uint64_t *)tensor->data)[i]); return;
    case DT_STRING: {
        const Str *s = &((const Str *)tensor->data)[i];
        text_quoted(out, s->data, s->length);
        return;
    }
    case DT_C64: {
        const float *c = (const float *)tensor->data + 2 * i;
        print_complex((double)c[0], (double)c[1], out);
        return;
    }
    case DT_C128: {
        const double *c = (const double *)tensor->data + 2 * i;
        print_complex(c[0], c[1], out);
        return;
    }
    case DT_F64: text_double(out, ((const double *)tensor->data)[i]); return;
    default: break;
    }
    double value = whet_tensor_get(tensor, i);
    if (dtype_kind(type) == KIND_BOOL)
        text_put(out, value != 0 ? "true" : "false");
    else if (dtype_kind(type) == KIND_FLOAT)
        text_float(out, (float)value);
    else
        text_printf(out, "%lld", (long long)value);
}

static uint64_t content_hash(const Tensor *tensor) {
    if (tensor->type != WHET_STRING)
        return hash_bytes(tensor->data, tensor->bytes, (uint64_t)tensor->type);
    uint64_t hash = (uint64_t)tensor->type;
    const Str *strings = tensor->data;
    for (int64_t i = 0, count = whet_tensor_count(tensor); i < count; i++)
        hash = hash_bytes(strings[i].data, strings[i].length, hash);
    return hash;
}

void tensor_print_content(const Tensor *tensor, Text *out) {
    int64_t count = whet_tensor_count(tensor);
    if (count < 0 || count > TEXT_MAX_ELEMENTS) {
        text_printf(out, "hash %016llx", (unsigned long long)content_hash(tensor));
        return;
    }
    text_char(out, '{');
    for (int64_t i = 0; i < count; i++) {
        text_put(out, i ? ", " : "");
        print_element(tensor, i, out);
    }
    text_char(out, '}');
}

static bool parse_complex(Scanner *scan, double *real, double *imaginary) {
    return scan_want(scan, "(") && scan_float(scan, real) && scan_want(scan, ",") && scan_float(scan, imaginary) &&
           scan_want(scan, ")");
}

static bool parse_integer(Scanner *scan, const Tensor *tensor, int64_t i) {
    int64_t value;
    int bits = dtype_bits((DType)tensor->type);
    if (!scan_integer(scan, &value))
        return false;
    bool is_signed = dtype_kind((DType)tensor->type) == KIND_SIGNED;
    int64_t low = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
    int64_t high = is_signed ? ((int64_t)1 << (bits - 1)) - 1 : ((int64_t)1 << bits) - 1;
    if (value < low || value > high)
        return scan_fail(scan, "%lld is out of the range of %s", (long long)value, dtype_name((DType)tensor->type));
    whet_tensor_set(tensor, i, (double)value);
    return true;
}

static bool parse_element(Scanner *scan, const Tensor *tensor, int64_t i) {
    DType type = (DType)tensor->type;
    double value, imaginary;
    switch (type) {
    case DT_S64: return scan_integer(scan, (int64_t *)tensor->data + i);
    case DT_U64: return scan_unsigned(scan, (uint64_t *)tensor->data + i);
    case DT_STRING: return scan_string(scan, (Str *)tensor->data + i);
    case DT_C64:
        if (!parse_complex(scan, &value, &imaginary))
            return false;
        ((float *)tensor->data)[2 * i] = (float)value;
        ((float *)tensor->data)[2 * i + 1] = (float)imaginary;
        return true;
    case DT_C128:
        if (!parse_complex(scan, &value, &imaginary))
            return false;
        ((double *)tensor->data)[2 * i] = value;
        ((double *)tensor->data)[2 * i + 1] = imaginary;
        return true;
    case DT_BOOL:
        ((uint8_t *)tensor->data)[i] = scan_take(scan, "true");
        return ((uint8_t *)tensor->data)[i] || scan_take(scan, "false") || scan_fail(scan, "wanted true or false");
    default: break;
    }
    if (dtype_kind(type) != KIND_FLOAT)
        return parse_integer(scan, tensor, i);
    if (!scan_float(scan, &value))
        return false;
    if (dtype_bits(type) == 8) /* whet_tensor_set saturates: an infinity would not come back */
        ((uint8_t *)tensor->data)[i] = f32_to_small(type, (float)value, false);
    else
        whet_tensor_set(tensor, i, value);
    return true;
}

bool tensor_parse_content(Scanner *scan, Tensor *tensor) {
    int64_t count = whet_tensor_count(tensor);
    if (count < 0 || count > TEXT_MAX_ELEMENTS)
        return scan_fail(scan, "more than %d elements are given by their hash", TEXT_MAX_ELEMENTS);
    if (!dtype_bytes((DType)tensor->type, count, &tensor->bytes))
        return scan_fail(scan, "the tensor is too large");
    tensor->data = arena_alloc(scan->arena, tensor->bytes, 1);
    if (!tensor->data)
        return scan_fail(scan, "out of memory");
    if (!scan_want(scan, "{"))
        return false;
    for (int64_t i = 0; i < count; i++) {
        if ((i && !scan_want(scan, ",")) || !parse_element(scan, tensor, i))
            return false;
    }
    return scan_want(scan, "}");
}
