/* Tensors that the command itself owns: zeroed, random, or from files.
 *
 * Random numbers depend on the seed and the input's name alone, so that an input stays the same when others are given.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { ALIGNMENT = 64 };

void array_free(Array *value) {
    free(value->memory);
    whet_tensor_file_free(value->file);
    *value = (Array){0};
}

/* Systems promise memory that they do not have, and end a program that then uses it; so what is large is looked at first. */
static bool fits_memory(const char *what, size_t bytes) {
    whet_cpu cpu;
    if (bytes < (size_t)1 << 30 || whet_cpu_query(&cpu, NULL) != WHET_OK || cpu.memory_bytes == 0 || bytes < cpu.memory_bytes)
        return true;
    return complain("%s: its %zu bytes are more than this machine has, %zu", what, bytes, cpu.memory_bytes);
}

bool array_new(Array *value, const char *what, whet_type type, int rank, const int64_t *dims) {
    *value = (Array){.tensor = {.type = type, .rank = rank}};
    if (rank > WHET_MAX_RANK)
        return complain("%s: has %d dimensions; at most %d are supported", what, rank, WHET_MAX_RANK);
    for (int i = 0; i < rank; i++)
        value->tensor.dims[i] = dims[i];
    int64_t count = whet_tensor_count(&value->tensor);
    size_t bits = whet_type_bits(type);
    if (count < 0 || (uint64_t)count > (SIZE_MAX / 2 - ALIGNMENT) / (bits ? bits : 1))
        return complain("%s: its dimensions make more elements than memory can hold", what);
    value->tensor.bytes = ((size_t)count * bits + 7) / 8;
    size_t size = (value->tensor.bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    if (!fits_memory(what, value->tensor.bytes))
        return false;
    value->memory = value->tensor.data = aligned_alloc(ALIGNMENT, size);
    if (!value->memory)
        return complain("%s: out of memory: %zu bytes wanted", what, size);
    memset(value->memory, 0, size);
    return true;
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double next_unit(uint64_t *state) { /* in (0, 1] */
    return ((double)(next_random(state) >> 11) + 1) * 0x1p-53;
}

static double next_normal(uint64_t *state) { /* Box and Muller */
    double radius = sqrt(-2 * log(next_unit(state)));
    return radius * cos(6.283185307179586 * next_unit(state));
}

/* What a random element may be: whole numbers from `low` on, `count` of them; count 0: normal floats. */
typedef struct Span {
    double low;
    uint64_t count;
} Span;

static Span span_of(whet_type type) {
    switch (type) {
    case WHET_BOOL: return (Span){0, 2};
    case WHET_U8: return (Span){0, 256}; /* as pictures have it */
    case WHET_S8: return (Span){-128, 256};
    case WHET_U4: return (Span){0, 16};
    case WHET_S4: return (Span){-8, 16};
    case WHET_U2: return (Span){0, 4};
    case WHET_S2: return (Span){-2, 4};
    case WHET_U16:
    case WHET_S16:
    case WHET_S32:
    case WHET_S64:
    case WHET_U32:
    case WHET_U64: return (Span){0, 10}; /* often indices: small ones are valid anywhere */
    default: return (Span){0, 0};
    }
}

bool array_random(Array *value, const char *name, whet_type type, int rank, const int64_t *dims, uint64_t seed) {
    if (type == WHET_STRING || type == WHET_C64 || type == WHET_C128 || whet_type_bits(type) == 0)
        return complain("input '%s' has the type %s, which has no random values: give it with -i", name, whet_type_name(type));
    if (!array_new(value, name, type, rank, dims))
        return false;
    uint64_t state = 0xcbf29ce484222325u; /* FNV-1a of the name */
    for (const char *c = name; *c; c++)
        state = (state ^ (unsigned char)*c) * 0x100000001b3u;
    state += seed;
    Span span = span_of(type);
    bool ones = strstr(name, "mask") != NULL;
    int64_t count = whet_tensor_count(&value->tensor);
    float *floats = type == WHET_F32 ? value->tensor.data : NULL;
    for (int64_t i = 0; i < count; i++) {
        double x = 1;
        if (!ones)
            x = span.count ? span.low + (double)(next_random(&state) % span.count) : next_normal(&state);
        if (floats)
            floats[i] = (float)x;
        else
            whet_tensor_set(&value->tensor, i, x);
    }
    return true;
}

static bool load_pb(Array *value, const char *path) {
    whet_error error = {0};
    if (whet_tensor_file_load(path, &value->file, &error) != WHET_OK)
        return complain("%s", error.message);
    value->tensor = *whet_tensor_file_tensor(value->file);
    return true;
}

/* Types that NumPy lacks come as the type that npy_write writes them as. */
static bool convert(Array *value, const char *path, whet_type want) {
    Array converted;
    if (!array_new(&converted, path, want, value->tensor.rank, value->tensor.dims))
        return false;
    int64_t count = whet_tensor_count(&value->tensor);
    for (int64_t i = 0; i < count; i++)
        whet_tensor_set(&converted.tensor, i, whet_tensor_get(&value->tensor, i));
    array_free(value);
    *value = converted;
    return true;
}

bool array_load(Array *value, const char *path, const char *name, whet_type want) {
    *value = (Array){0};
    if (ends_with(path, ".pb"))
        return load_pb(value, path);
    uint8_t *data;
    size_t size;
    if (!file_read(path, &data, &size))
        return false;
    bool fine;
    if (ends_with(path, ".npz")) {
        const uint8_t *member;
        size_t member_size;
        fine = npz_find(data, size, path, name, &member, &member_size) && npy_parse(member, member_size, path, want, value);
    } else {
        fine = npy_parse(data, size, path, want, value);
    }
    free(data);
    if (fine && value->tensor.type != want && value->tensor.type == npy_type(want))
        return convert(value, path, want);
    return fine;
}

void print_shape(FILE *out, const whet_tensor *tensor) {
    fputc('[', out);
    for (int i = 0; i < tensor->rank; i++)
        fprintf(out, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
    fputc(']', out);
}

whet_type type_parse(const char *text, size_t length) {
    for (int type = WHET_F32; type <= WHET_S2; type++) {
        const char *name = whet_type_name((whet_type)type);
        if (strlen(name) == length && strncmp(name, text, length) == 0)
            return (whet_type)type;
    }
    return WHET_NONE;
}
