/* Element types: what the rows of DTYPES say, and single elements as doubles. */
#include "base/base.h"

#include <math.h>
#include <string.h>

typedef struct DTypeInfo {
    int bits;
    Kind kind;
    const char *name, *onnx;
} DTypeInfo;

static const DTypeInfo info[DT_COUNT] = {
#define X(name, number, bits, kind, text, onnx) [number] = {bits, KIND_##kind, text, onnx},
    DTYPES(X)
#undef X
};

_Static_assert(sizeof(Str) == 16 || sizeof(void *) != 8, "a string element is stored in 128 bits");

bool dtype_known(int64_t number) {
    return number > 0 && number < DT_COUNT;
}

int dtype_bits(DType type) {
    return info[type].bits;
}

Kind dtype_kind(DType type) {
    return info[type].kind;
}

const char *dtype_name(DType type) {
    return (unsigned)type < DT_COUNT ? info[type].name : "none";
}

const char *dtype_onnx_name(DType type) {
    return (unsigned)type < DT_COUNT ? info[type].onnx : "undefined";
}

DType dtype_parse(const char *name, size_t length) {
    for (int i = 1; i < DT_COUNT; i++)
        for (int form = 0; form < 2; form++) {
            const char *known = form ? info[i].onnx : info[i].name;
            if (strlen(known) == length && memcmp(known, name, length) == 0)
                return (DType)i;
        }
    return DT_NONE;
}

bool dtype_bytes(DType type, int64_t count, size_t *out) {
    size_t bits;
    if (count < 0 || (uint64_t)count > SIZE_MAX || !checked_size_mul((size_t)count, (size_t)info[type].bits, &bits) ||
        bits > SIZE_MAX - 7)
        return false;
    *out = (bits + 7) / 8;
    return *out <= PTRDIFF_MAX;
}

const char *whet_type_name(whet_type type) {
    return dtype_name((DType)type);
}

size_t whet_type_bits(whet_type type) {
    return (unsigned)type < DT_COUNT ? (size_t)info[type].bits : 0;
}

int64_t whet_tensor_count(const whet_tensor *tensor) {
    int64_t count;
    return checked_count(tensor->dims, tensor->rank, &count) ? count : -1;
}

/* The `bits`-wide field of element `index` in packed storage. */
static uint8_t packed_get(const uint8_t *data, int64_t index, int bits) {
    int64_t at = index * bits;
    return (uint8_t)((data[at / 8] >> (at % 8)) & ((1 << bits) - 1));
}

static void packed_set(uint8_t *data, int64_t index, int bits, uint8_t value) {
    int64_t at = index * bits;
    int mask = ((1 << bits) - 1) << (at % 8);
    data[at / 8] = (uint8_t)((data[at / 8] & ~mask) | ((value << (at % 8)) & mask));
}

double whet_tensor_get(const whet_tensor *tensor, int64_t index) {
    const void *data = tensor->data;
    DType type = (DType)tensor->type;
    switch (type) {
    case DT_F32: return ((const float *)data)[index];
    case DT_F64: return ((const double *)data)[index];
    case DT_F16: return f16_to_f32(((const uint16_t *)data)[index]);
    case DT_BF16: return bf16_to_f32(((const uint16_t *)data)[index]);
    case DT_BOOL: return ((const uint8_t *)data)[index] != 0;
    case DT_U8: return ((const uint8_t *)data)[index];
    case DT_S8: return ((const int8_t *)data)[index];
    case DT_U16: return ((const uint16_t *)data)[index];
    case DT_S16: return ((const int16_t *)data)[index];
    case DT_U32: return ((const uint32_t *)data)[index];
    case DT_S32: return ((const int32_t *)data)[index];
    case DT_U64: return (double)((const uint64_t *)data)[index];
    case DT_S64: return (double)((const int64_t *)data)[index];
    case DT_F8E4M3FN:
    case DT_F8E4M3FNUZ:
    case DT_F8E5M2:
    case DT_F8E5M2FNUZ:
    case DT_F8E8M0: return small_to_f32(type, ((const uint8_t *)data)[index]);
    case DT_F4E2M1: return small_to_f32(type, packed_get(data, index, 4));
    case DT_U4: return packed_get(data, index, 4);
    case DT_S4: return (packed_get(data, index, 4) ^ 8) - 8;
    case DT_U2: return packed_get(data, index, 2);
    case DT_S2: return (packed_get(data, index, 2) ^ 2) - 2;
    default: return NAN;
    }
}

/* `value` rounded to the nearest integer and kept within [low, high]; NaN gives 0. */
static double clamp(double value, double low, double high) {
    value = nearbyint(value);
    return value >= low ? (value <= high ? value : high) : (isnan(value) ? 0 : low);
}

static int64_t to_s64(double value) {
    return value >= 0x1p63 ? INT64_MAX : (int64_t)clamp(value, -0x1p63, 0x1p63);
}

static uint64_t to_u64(double value) {
    return value >= 0x1p64 ? UINT64_MAX : (uint64_t)clamp(value, 0, 0x1p64);
}

void whet_tensor_set(const whet_tensor *tensor, int64_t index, double value) {
    void *data = tensor->data;
    DType type = (DType)tensor->type;
    switch (type) {
    case DT_F32: ((float *)data)[index] = (float)value; break;
    case DT_F64: ((double *)data)[index] = value; break;
    case DT_F16: ((uint16_t *)data)[index] = f64_to_f16(value); break;
    case DT_BF16: ((uint16_t *)data)[index] = f32_to_bf16((float)value); break;
    case DT_BOOL: ((uint8_t *)data)[index] = value != 0; break;
    case DT_U8: ((uint8_t *)data)[index] = (uint8_t)clamp(value, 0, UINT8_MAX); break;
    case DT_S8: ((int8_t *)data)[index] = (int8_t)clamp(value, INT8_MIN, INT8_MAX); break;
    case DT_U16: ((uint16_t *)data)[index] = (uint16_t)clamp(value, 0, UINT16_MAX); break;
    case DT_S16: ((int16_t *)data)[index] = (int16_t)clamp(value, INT16_MIN, INT16_MAX); break;
    case DT_U32: ((uint32_t *)data)[index] = (uint32_t)clamp(value, 0, UINT32_MAX); break;
    case DT_S32: ((int32_t *)data)[index] = (int32_t)clamp(value, INT32_MIN, INT32_MAX); break;
    case DT_U64: ((uint64_t *)data)[index] = to_u64(value); break;
    case DT_S64: ((int64_t *)data)[index] = to_s64(value); break;
    case DT_F8E4M3FN:
    case DT_F8E4M3FNUZ:
    case DT_F8E5M2:
    case DT_F8E5M2FNUZ:
    case DT_F8E8M0: ((uint8_t *)data)[index] = f32_to_small(type, (float)value, true); break;
    case DT_F4E2M1: packed_set(data, index, 4, f32_to_small(type, (float)value, true)); break;
    case DT_U4: packed_set(data, index, 4, (uint8_t)clamp(value, 0, 15)); break;
    case DT_S4: packed_set(data, index, 4, (uint8_t)((int)clamp(value, -8, 7) & 15)); break;
    case DT_U2: packed_set(data, index, 2, (uint8_t)clamp(value, 0, 3)); break;
    case DT_S2: packed_set(data, index, 2, (uint8_t)((int)clamp(value, -2, 1) & 3)); break;
    default: break;
    }
}
