/* What every other folder stands on: errors, arenas, text buffers, element types, checked arithmetic.
 *
 * Nothing here knows of networks, kernels or CPUs.
 */
#ifndef WHET_BASE_H
#define WHET_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "whet.h"

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* error.c: errors for data, asserts for our own bugs.
 *
 * A fallible function returns a whet_status (or NULL / false) and fills `err`, which may be NULL. Messages name file, node,
 * operator, the value seen and the value wanted, in the caller's words; each layer may add its own in front. */

whet_status error_set(whet_error *err, whet_status status, const char *format, ...) PRINTF_LIKE(3, 4);
/* Puts "context: " before the message that is there; returns the status that is there. */
whet_status error_prefix(whet_error *err, const char *format, ...) PRINTF_LIKE(2, 3);
whet_status error_memory(whet_error *err); /* "out of memory" */
whet_status error_late(whet_error *err);   /* "the time limit has passed" */
void error_clear(whet_error *err);

/* arena.c: memory of one lifetime, freed whole. Everything compiled lives in one.
 *
 * An allocation that fails returns NULL and sets `failed` for good, so that a builder may check once at its end. */

typedef struct Arena {
    const whet_allocator *allocator;   /* NULL: the C library's */
    struct ArenaChunk *chunks, *spare; /* spare: what arena_release kept; at most one */
    char *at, *end;
    size_t total; /* bytes taken from the allocator */
    size_t limit; /* 0: none; beyond it allocations fail */
    bool failed;
} Arena;

void arena_init(Arena *arena, const whet_allocator *allocator);
void arena_free(Arena *arena); /* frees everything; the arena may be used again */
/* What is allocated from here on goes with arena_release; one chunk of it is kept for what comes next. */
typedef struct ArenaMark {
    struct ArenaChunk *chunk;
    char *at;
} ArenaMark;
ArenaMark arena_mark(const Arena *arena);
void arena_release(Arena *arena, ArenaMark mark);
void arena_reset(Arena *arena); /* the same, but keeps a chunk to start with: for scratch memory that is wanted again and again */
/* `count * size` zeroed bytes aligned to 16; the product is checked. Zero bytes give a unique non-NULL pointer. */
void *arena_alloc(Arena *arena, size_t count, size_t size);
void *arena_take(Arena *arena, size_t count, size_t size); /* the same, not cleared: what is not touched costs no memory */
void *arena_copy(Arena *arena, const void *data, size_t size);
char *arena_string(Arena *arena, const char *text, size_t length); /* NUL-terminated copy */
char *arena_printf(Arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
#define ARENA_NEW(arena, type)          ((type *)arena_alloc(arena, 1, sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc(arena, count, sizeof(type)))

/* Grows an arena array by doubling: `*array` has room for `*capacity` elements and must hold `need`. False: out of memory.
 * Old copies stay in the arena until it is freed. */
bool arena_grow(Arena *arena, void *array, size_t *capacity, size_t need, size_t element_size);

/* Plain heap memory from a whet_allocator (NULL: the C library's), aligned to 64 bytes, not cleared. */
void *memory_alloc(const whet_allocator *allocator, size_t size);
void *memory_alloc_large(const whet_allocator *allocator, size_t size); /* the same, in large pages where there are any */
void memory_free(const whet_allocator *allocator, void *pointer, size_t size);

/* text.c: a growing text. Out of memory is sticky in `failed`; the text then stays as it was. */

typedef struct Text {
    char *data; /* always NUL-terminated, never NULL after text_init */
    size_t length, capacity;
    bool failed;
} Text;

void text_init(Text *text);
void text_free(Text *text);
void text_clear(Text *text); /* keeps the memory */
void text_put(Text *text, const char *string);
void text_put_n(Text *text, const char *string, size_t length);
void text_char(Text *text, char c);
void text_printf(Text *text, const char *format, ...) PRINTF_LIKE(2, 3);
void text_vprintf(Text *text, const char *format, va_list args);
void text_float(Text *text, float value); /* shortest form that reads back the same; always with '.', 'e', inf or nan */
void text_double(Text *text, double value);
void text_quoted(Text *text, const char *string, size_t length); /* "..." with \n \" \\ \xNN */
char *text_steal(Text *text); /* the malloc'ed string; the text is empty again. NULL if it failed */

/* checked.c: arithmetic on numbers from outside. True: fine, `*out` is set; false: overflow. */

bool checked_add(int64_t a, int64_t b, int64_t *out);
bool checked_sub(int64_t a, int64_t b, int64_t *out);
bool checked_mul(int64_t a, int64_t b, int64_t *out);
bool checked_size_add(size_t a, size_t b, size_t *out);
bool checked_size_mul(size_t a, size_t b, size_t *out);
/* The product of `rank` extents, each >= 0; also refuses an overflow hidden behind a zero extent. */
bool checked_count(const int64_t *dims, int rank, int64_t *out);

/* Arithmetic on numbers that are known to be small; `unit` is positive. */

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t within(int64_t n, int64_t low, int64_t high) { /* the nearest number to n there */
    return n < low ? low : n > high ? high : n;
}
static inline int whole_log2(int64_t n) { /* n is positive */
    int log = 0;
    while (n >> (log + 1))
        log++;
    return log;
}
static inline int64_t ceiling(int64_t n, int64_t unit) { /* of n / unit */
    return (n + unit - 1) / unit;
}
static inline int64_t round_up(int64_t n, int64_t unit) {
    return ceiling(n, unit) * unit;
}
int64_t common_divisor(int64_t a, int64_t b); /* the greatest; of 0 and b: |b| */

/* dtype.c: element types. The numbers are ONNX's TensorProto.DataType. One row a type:
 *   name, ONNX number, bits, kind, name in notation and text forms, name in ONNX's and NumPy's words */

typedef enum Kind { KIND_NONE, KIND_FLOAT, KIND_SIGNED, KIND_UNSIGNED, KIND_BOOL, KIND_COMPLEX, KIND_STRING } Kind;

#define DTYPES(X)                                                                                                                \
    X(NONE, 0, 0, NONE, "none", "undefined")                                                                                     \
    X(F32, 1, 32, FLOAT, "f32", "float32")                                                                                       \
    X(U8, 2, 8, UNSIGNED, "u8", "uint8")                                                                                         \
    X(S8, 3, 8, SIGNED, "s8", "int8")                                                                                            \
    X(U16, 4, 16, UNSIGNED, "u16", "uint16")                                                                                     \
    X(S16, 5, 16, SIGNED, "s16", "int16")                                                                                        \
    X(S32, 6, 32, SIGNED, "s32", "int32")                                                                                        \
    X(S64, 7, 64, SIGNED, "s64", "int64")                                                                                        \
    X(STRING, 8, 128, STRING, "string", "string")                                                                                \
    X(BOOL, 9, 8, BOOL, "bool", "bool")                                                                                          \
    X(F16, 10, 16, FLOAT, "f16", "float16")                                                                                      \
    X(F64, 11, 64, FLOAT, "f64", "float64")                                                                                      \
    X(U32, 12, 32, UNSIGNED, "u32", "uint32")                                                                                    \
    X(U64, 13, 64, UNSIGNED, "u64", "uint64")                                                                                    \
    X(C64, 14, 64, COMPLEX, "c64", "complex64")                                                                                  \
    X(C128, 15, 128, COMPLEX, "c128", "complex128")                                                                              \
    X(BF16, 16, 16, FLOAT, "bf16", "bfloat16")                                                                                   \
    X(F8E4M3FN, 17, 8, FLOAT, "f8e4m3fn", "float8e4m3fn")                                                                        \
    X(F8E4M3FNUZ, 18, 8, FLOAT, "f8e4m3fnuz", "float8e4m3fnuz")                                                                  \
    X(F8E5M2, 19, 8, FLOAT, "f8e5m2", "float8e5m2")                                                                              \
    X(F8E5M2FNUZ, 20, 8, FLOAT, "f8e5m2fnuz", "float8e5m2fnuz")                                                                  \
    X(U4, 21, 4, UNSIGNED, "u4", "uint4")                                                                                        \
    X(S4, 22, 4, SIGNED, "s4", "int4")                                                                                           \
    X(F4E2M1, 23, 4, FLOAT, "f4e2m1", "float4e2m1")                                                                              \
    X(F8E8M0, 24, 8, FLOAT, "f8e8m0", "float8e8m0")                                                                              \
    X(U2, 25, 2, UNSIGNED, "u2", "uint2")                                                                                        \
    X(S2, 26, 2, SIGNED, "s2", "int2")

typedef enum DType {
#define X(name, number, bits, kind, text, onnx) DT_##name = number,
    DTYPES(X)
#undef X
        DT_COUNT
} DType;

bool dtype_known(int64_t number); /* a number from outside: one of the rows, DT_NONE not among them */
int dtype_bits(DType type);
Kind dtype_kind(DType type);
static inline bool dtype_is_half(DType type) {
    return type == DT_F16 || type == DT_BF16;
}
static inline bool dtype_is_byte(DType type) {
    return type == DT_U8 || type == DT_S8;
}
static inline bool dtype_is_integer(DType type) {
    return dtype_kind(type) == KIND_SIGNED || dtype_kind(type) == KIND_UNSIGNED;
}
const char *dtype_name(DType type);                 /* "f32" */
const char *dtype_onnx_name(DType type);            /* "float32" */
DType dtype_parse(const char *name, size_t length); /* either name; DT_NONE: unknown */
/* Bytes of `count` elements as stored (sub-byte types packed, the first element in the low bits). False: overflow.
 * A string element is stored as a Str (pointer and length), 16 bytes. */
bool dtype_bytes(DType type, int64_t count, size_t *out);

/* A string element: not NUL-terminated. */
typedef struct Str {
    const char *data;
    size_t length;
} Str;

/* half.c: conversions of the storage-only float types; round to nearest, ties to even. */

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);
uint16_t f64_to_f16(double value); /* one rounding */
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);
/* 8- and 4-bit floats by element type (the F8* types and F4E2M1); `saturate` as in ONNX's Cast. */
float small_to_f32(DType type, uint8_t bits);
uint8_t f32_to_small(DType type, float value, bool saturate);

/* clock.c */

double clock_now(void); /* seconds of CLOCK_MONOTONIC */

/* hash.c: names to pointers. Keys are not copied. */

typedef struct Map {
    struct MapSlot *slots;
    size_t count, capacity;
    Arena *arena;
} Map;

void map_init(Map *map, Arena *arena);
void *map_get(const Map *map, const char *key, size_t length);       /* NULL: absent */
bool map_put(Map *map, const char *key, size_t length, void *value); /* replaces; false: out of memory */
uint64_t hash_bytes(const void *data, size_t length, uint64_t seed);

#endif
