/* Functions of tiles: the text form; what the interpreter computes against plain sums, of every type; machine code against the
 * interpreter bit for bit, where there is a matrix unit or an emulator of one; and that such code leaves its caller's registers,
 * and the ZA of a caller's caller, as the ABI asks. Programs are random; a failure prints the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "here.h"
#include "vector/vector.h"

enum { MOST_SIDE = 16, MOST_DEPTH = 9, MOST_TILES = 4, GUARD = 64 };
enum { MOST_ROW = MOST_SIDE * MOST_TILES, RESULT = MOST_ROW * MOST_ROW + GUARD };
enum { OPERAND = MOST_DEPTH * MOST_SIDE * MOST_ROW };

static uint64_t state_of_random;

static unsigned next(void) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state_of_random >> 33);
}

/* ---- products ---- */

typedef struct Product {
    VectorCode code;
    int bytes, r, c, depth, unroll; /* r x c tiles; `unroll` steps a round, the rest behind the loop */
    bool deep;                      /* products of tiles, of `rows` rows each: what `code` is of outer products */
    int rows;
} Product;

static const VectorCode codes[] = {VECTOR_OUTER,     VECTOR_OUTER2,    VECTOR_OUTER4_SS,
                                   VECTOR_OUTER4_US, VECTOR_OUTER4_SU, VECTOR_OUTER4_UU};

static DType sum_type(VectorCode code) {
    return code == VECTOR_OUTER || code == VECTOR_OUTER2 ? DT_F32 : DT_S32;
}

static void emit_steps(VectorFunction *f, const Product *p, VectorAddress a, VectorAddress b, int steps, int *tiles) {
    DType type = sum_type(p->code);
    for (int s = 0; s < steps; s++)
        for (int i = 0; i < p->r; i++) {
            int x = vector_load(f, type, type, vector_offset(a, (int64_t)p->bytes * (s * p->r + i)), -1);
            for (int j = 0; j < p->c; j++) {
                int y = vector_load(f, type, type, vector_offset(b, (int64_t)p->bytes * (s * p->c + j)), -1);
                tiles[i * p->c + j] = vector_ternary(f, p->code, x, y, tiles[i * p->c + j]);
            }
        }
}

/* The same of tiles. a: [r * rows][depth * side], b: [depth * side][c * side] words. */
static void emit_deep_steps(VectorFunction *f, const Product *p, VectorAddress a, VectorAddress b, int steps, int *tiles) {
    DType type = sum_type(p->code);
    VectorCode code =
        p->code == VECTOR_OUTER2 ? VECTOR_TILE_DOT2 : (VectorCode)(p->code - VECTOR_OUTER4_SS + VECTOR_TILE_DOT4_SS);
    int64_t row = (int64_t)p->depth * p->bytes, pitch = (int64_t)p->c * p->bytes, side = p->bytes / 4;
    for (int s = 0; s < steps; s++)
        for (int i = 0; i < p->r; i++) {
            int x = vector_tile_load(f, type, vector_offset(a, i * p->rows * row + (int64_t)s * p->bytes), row, p->rows);
            for (int j = 0; j < p->c; j++) {
                int y = vector_tile_load(f, type, vector_offset(b, s * side * pitch + (int64_t)j * p->bytes), pitch, 0);
                tiles[i * p->c + j] = vector_ternary(f, code, x, y, tiles[i * p->c + j]);
            }
        }
}

static VectorFunction *emit_deep(Arena *arena, const Product *p) {
    int tiles[MOST_TILES], inside[MOST_TILES], count = p->r * p->c, whole = p->depth / p->unroll * p->unroll;
    VectorFunction *f = vector_new(arena, "deep", p->bytes);
    int a = vector_parameter(f, CLASS_POINTER, "a"), b = vector_parameter(f, CLASS_POINTER, "b");
    int to = vector_parameter(f, CLASS_POINTER, "to");
    int64_t pitch = (int64_t)p->c * p->bytes, side = p->bytes / 4;
    for (int i = 0; i < count; i++)
        tiles[i] = vector_tile_zero(f, sum_type(p->code), p->rows);
    int step = vector_loop(f, -1, whole, p->unroll, tiles, inside, count);
    emit_deep_steps(f, p, vector_plus(vector_at(a, 0), step, p->bytes), vector_plus(vector_at(b, 0), step, side * pitch),
                    p->unroll, inside);
    vector_end(f, inside, tiles);
    emit_deep_steps(f, p, vector_at(a, (int64_t)whole * p->bytes), vector_at(b, whole * side * pitch), p->depth - whole, tiles);
    for (int i = 0; i < count; i++)
        vector_tile_store(f, tiles[i], vector_at(to, i / p->c * p->rows * pitch + i % p->c * (int64_t)p->bytes), pitch, p->rows);
    whet_error err;
    if (!vector_finish(f, &err))
        fail_msg("%s", err.message);
    return f;
}

/* a: [depth][r * side], b: [depth][c * side] words; to: [r * side][c * side]. */
static VectorFunction *emit(Arena *arena, const Product *p) {
    int tiles[MOST_TILES], inside[MOST_TILES], count = p->r * p->c, whole = p->depth / p->unroll * p->unroll;
    if (p->deep)
        return emit_deep(arena, p);
    VectorFunction *f = vector_new(arena, "product", p->bytes);
    int a = vector_parameter(f, CLASS_POINTER, "a"), b = vector_parameter(f, CLASS_POINTER, "b");
    int to = vector_parameter(f, CLASS_POINTER, "to");
    int64_t pitch = (int64_t)p->c * p->bytes, side = p->bytes / 4;
    for (int i = 0; i < count; i++)
        tiles[i] = vector_tile_zero(f, sum_type(p->code), 0);
    int step = vector_loop(f, -1, whole, p->unroll, tiles, inside, count);
    emit_steps(f, p, vector_plus(vector_at(a, 0), step, (int64_t)p->r * p->bytes), vector_plus(vector_at(b, 0), step, pitch),
               p->unroll, inside);
    vector_end(f, inside, tiles);
    emit_steps(f, p, vector_at(a, (int64_t)whole * p->r * p->bytes), vector_at(b, whole * pitch), p->depth - whole, tiles);
    for (int i = 0; i < count; i++)
        vector_tile_store(f, tiles[i], vector_at(to, i / p->c * side * pitch + i % p->c * (int64_t)p->bytes), pitch, 0);
    whet_error err;
    if (!vector_finish(f, &err))
        fail_msg("%s", err.message);
    return f;
}

/* Small numbers, so that sums of floats are exact whatever the roundings between. */
static uint32_t draw_word(VectorCode code) {
    float f = (float)((int)(next() % 33) - 16) / 4;
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    if (code == VECTOR_OUTER2)
        return word >> 16 | (uint32_t)f32_to_bf16((float)(next() % 17) / 2) << 16;
    return code == VECTOR_OUTER ? word : next() << 16 ^ next();
}

static double lane(VectorCode code, uint32_t word, int k, bool b) {
    float f;
    memcpy(&f, &word, sizeof f);
    if (code == VECTOR_OUTER)
        return k ? 0 : f;
    if (code == VECTOR_OUTER2)
        return k < 2 ? bf16_to_f32((uint16_t)(word >> 16 * k)) : 0;
    bool is_unsigned = code == VECTOR_OUTER4_UU || code == (b ? VECTOR_OUTER4_SU : VECTOR_OUTER4_US);
    uint8_t byte = (uint8_t)(word >> 8 * k);
    return is_unsigned ? byte : (int8_t)byte;
}

static uint32_t wanted_word(const Product *p, const uint32_t *a, const uint32_t *b, int i, int j) {
    int rows = p->r * p->bytes / 4, columns = p->c * p->bytes / 4, depth = p->deep ? p->depth * p->bytes / 4 : p->depth;
    double sum = 0;
    for (int d = 0; d < depth; d++)
        for (int k = 0; k < 4; k++)
            sum +=
                lane(p->code, a[p->deep ? i * depth + d : d * rows + i], k, false) * lane(p->code, b[d * columns + j], k, true);
    float f = (float)sum;
    int32_t s = (int32_t)sum;
    uint32_t word;
    memcpy(&word, sum_type(p->code) == DT_F32 ? (void *)&f : (void *)&s, sizeof word);
    return word;
}

typedef struct Data {
    uint32_t a[OPERAND], b[OPERAND], wanted[RESULT], got[RESULT];
} Data;

static Product draw(const TargetTiles *tiles, Data *data) {
    Product p = {.code = tiles->quads   ? codes[next() % COUNT(codes)]
                         : tiles->pairs ? codes[next() % 2]
                                        : VECTOR_OUTER,
                 .bytes = tiles->bytes,
                 .deep = tiles->deep,
                 .rows = tiles->bytes / 4,
                 .r = 1 + (int)(next() % (unsigned)tiles->count),
                 .depth = (int)(next() % (MOST_DEPTH + 1)),
                 .unroll = 1 + (int)(next() % 3)};
    p.c = 1 + (int)(next() % (unsigned)(tiles->count / p.r));
    if (p.deep)
        p.rows = 1 + (int)(next() % (unsigned)p.rows);
    if (p.deep && p.code == VECTOR_OUTER)
        p.code = VECTOR_OUTER2;
    for (int i = 0; i < OPERAND; i++) {
        data->a[i] = draw_word(p.code);
        data->b[i] = draw_word(p.code);
    }
    memset(data->wanted, 0x5a, sizeof data->wanted);
    memset(data->got, 0x5a, sizeof data->got);
    int rows = p.r * p.rows, columns = p.c * p.bytes / 4;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            data->wanted[i * columns + j] = wanted_word(&p, data->a, data->b, i, j);
    return p;
}

static void compare(const Product *p, const Data *data, uint64_t seed, const char *by) {
    for (int i = 0; i < RESULT; i++)
        if (data->got[i] != data->wanted[i])
            fail_msg("%s by %s, %d x %d tiles of %d bytes, depth %d, seed %llu: word %d is %08x, wanted %08x",
                     vector_info[p->code].name, by, p->r, p->c, p->bytes, p->depth, (unsigned long long)seed, i, data->got[i],
                     data->wanted[i]);
}

static int64_t number_of(const void *pointer) {
    return (int64_t)(intptr_t)pointer;
}

/* ---- tests ---- */

/* Text and back, and the interpreter. */
static void interpreted(void **state) {
    (void)state;
    static Data data;
    for (int round = 0; round < 60; round++) {
        uint64_t seed = state_of_random;
        TargetTiles tiles = {.count = 4, .bytes = 16 << round % 3, .pairs = true, .quads = true, .deep = round % 2};
        Product p = draw(&tiles, &data);
        Arena arena;
        Text first, second;
        whet_error err;
        arena_init(&arena, NULL);
        text_init(&first);
        text_init(&second);
        VectorFunction *f = emit(&arena, &p);
        assert_int_equal(vector_check(f, "emit", &err), WHET_OK);
        vector_print(f, &first);
        VectorFunction *again = vector_parse(&arena, first.data, first.length, &err);
        if (!again)
            fail_msg("%s:\n%s", err.message, first.data);
        vector_print(again, &second);
        assert_string_equal(first.data, second.data);
        int64_t arguments[] = {number_of(data.a), number_of(data.b), number_of(data.got)};
        assert_int_equal(vector_interpret(again, arguments, 0, &err), WHET_OK);
        compare(&p, &data, seed, "the interpreter");
        text_free(&first);
        text_free(&second);
        arena_free(&arena);
    }
}

/* A loop that gives its tiles each other's names, and a row of a tile as a vector. */
static void tiles_change_names(void **state) {
    (void)state;
    static const char text[] = "function swap, 16 bytes a register, pointer %a, pointer %to\n"
                               "  %x = load f32 [%a]\n"
                               "  %y = load f32 [%a + 16]\n"
                               "  %x2 = add f32 %x, %x\n"
                               "  %s = tile_zero f32\n"
                               "  %t = tile_zero f32\n"
                               "  loop %i = 0 to 3 step 1 (%u = %s, %v = %t)\n"
                               "    %w = outer f32 %x, %y, %u\n"
                               "    %z = outer f32 %x2, %y, %v\n"
                               "  end %z, %w -> %g, %h\n"
                               "  %r = tile_row f32 %g, 2\n"
                               "  store f32 [%to] %r\n"
                               "  %q = tile_row f32 %h, 2\n"
                               "  store f32 [%to + 16] %q\n";
    Arena arena;
    whet_error err;
    arena_init(&arena, NULL);
    VectorFunction *f = vector_parse(&arena, text, strlen(text), &err);
    if (!f)
        fail_msg("%s", err.message);
    float a[8] = {1, 2, 3, 4, 10, 20, 30, 40}, to[8];
    int64_t arguments[] = {number_of(a), number_of(to)};
    assert_int_equal(vector_interpret(f, arguments, 0, &err), WHET_OK);
    for (int j = 0; j < 4; j++) { /* (0, 0), (2, 1), (3, 3), (5, 4) times x y */
        float unit = a[2] * a[4 + j];
        assert_true(to[j] == 5 * unit && to[4 + j] == 4 * unit);
    }
    arena_free(&arena);
}

/* Code of the target for `f`; NULL: it is not one that runs. */
static TargetCode *make(const Target *target, const VectorFunction *f, uint64_t seed) {
    TargetCode *code = NULL;
    whet_error err;
    if (target->compile(target, &f, 1, seed, &code, &err) != WHET_OK)
        fail_msg("%s", err.message);
    return code;
}

/* Code can be made for every unit anywhere. */
static void made(void **state) {
    (void)state;
    static Data data;
    static const char *const names[] = {"arm64+sme128", "arm64+sme256", "arm64+sve512+sme512", "arm64+amx", "x86-avx512+amx"};
    for (size_t i = 0; i < COUNT(names); i++)
        for (int round = 0; round < 20; round++) {
            Target target;
            Arena arena;
            assert_true(target_named(names[i], &target));
            target.runs_here = false;
            arena_init(&arena, NULL);
            Product p = draw(&target.tiles, &data);
            TargetCode *code = make(&target, emit(&arena, &p), next());
            assert_true(target.size(code) > 0);
            target.free(code);
            arena_free(&arena);
        }
}

static bool unit_here(Target *out) {
    if (target_here(out) && out->tiles.count)
        return true;
    if (!getenv("WHET_TEST_TARGET") && target_named("x86-avx512+amx", out) && (out->runs_here = here_emulated(out)))
        return true;
    print_message("skipped: no matrix unit here\n");
    return false;
}

static void computed(void **state) {
    (void)state;
    static Data data;
    Target target;
    if (!unit_here(&target))
        skip();
    for (int round = 0; round < 100; round++) {
        uint64_t seed = state_of_random;
        Arena arena;
        arena_init(&arena, NULL);
        Product p = draw(&target.tiles, &data);
        TargetCode *code = make(&target, emit(&arena, &p), next());
        int64_t arguments[] = {number_of(data.a), number_of(data.b), number_of(data.got)};
        target.entry(code, 0)(arguments);
        compare(&p, &data, seed, target.name);
        target.free(code);
        arena_free(&arena);
    }
}

#if defined(__aarch64__) && defined(__linux__)
/* Calls `entry` as from a function whose own caller left ZA dormant: `pattern` in it, TPIDR2_EL0 at `block`. out: d8 to d15
 * behind the call, which were 8.0 to 15.0 before it, SVCR and TPIDR2_EL0. */
static void call_dormant(TargetEntry entry, const int64_t *arguments, const void *pattern, int bytes, const void *block,
                         uint64_t out[10]) {
    register const void *x19 __asm__("x19") = pattern;
    register const void *x20 __asm__("x20") = block;
    register uint64_t *x21 __asm__("x21") = out;
    register const int64_t *x22 __asm__("x22") = arguments;
    register uint64_t x23 __asm__("x23") = (uint64_t)bytes;
    register TargetEntry x24 __asm__("x24") = entry;
    __asm__ volatile(".inst 0xd503457f\n\t" /* smstart za */
                     "mov w12, #0\n"
                     "1:\n\t"
                     ".inst 0xe1000260\n\t" /* ldr za[w12, 0], [x19] */
                     "add x19, x19, x23\n\t"
                     "add w12, w12, #1\n\t"
                     "cmp w12, w23\n\t"
                     "b.lt 1b\n\t"
                     ".inst 0xd51bd0b4\n\t" /* msr TPIDR2_EL0, x20 */
                     "fmov d8, #8.0\n\tfmov d9, #9.0\n\tfmov d10, #10.0\n\tfmov d11, #11.0\n\t"
                     "fmov d12, #12.0\n\tfmov d13, #13.0\n\tfmov d14, #14.0\n\tfmov d15, #15.0\n\t"
                     "mov x0, x22\n\t"
                     "blr x24\n\t"
                     "stp d8, d9, [x21]\n\tstp d10, d11, [x21, #16]\n\tstp d12, d13, [x21, #32]\n\tstp d14, d15, [x21, #48]\n\t"
                     ".inst 0xd53b4240\n\t" /* mrs x0, SVCR */
                     ".inst 0xd53bd0a1\n\t" /* mrs x1, TPIDR2_EL0 */
                     "stp x0, x1, [x21, #64]"
                     : "+r"(x19), "+r"(x20), "+r"(x21), "+r"(x22), "+r"(x23), "+r"(x24)
                     :
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
                       "x16", "x17", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
                       "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27",
                       "v28", "v29", "v30", "v31", "memory", "cc");
}

/* `buffer`: where the owner of the dormant ZA wants it, which holds `pattern`; NULL: nowhere. */
static void call_and_check(const Target *target, const unsigned char *pattern, unsigned char *buffer) {
    static Data data;
    struct {
        void *buffer;
        uint16_t slices;
        unsigned char reserved[6];
    } block = {buffer, (uint16_t)target->tiles.bytes, {0}};
    Arena arena;
    arena_init(&arena, NULL);
    uint64_t seed = state_of_random, out[10];
    Product p = draw(&target->tiles, &data);
    TargetCode *code = make(target, emit(&arena, &p), 0);
    int64_t arguments[] = {number_of(data.a), number_of(data.b), number_of(data.got)};
    call_dormant(target->entry(code, 0), arguments, pattern, target->tiles.bytes, &block, out);
    for (int d = 0; d < 8; d++) {
        double value;
        memcpy(&value, &out[d], sizeof value);
        assert_true(value == 8 + d);
    }
    assert_int_equal(out[8], 0); /* neither streaming mode nor ZA is on */
    assert_int_equal(out[9], 0); /* the save is done */
    compare(&p, &data, seed, target->name);
    target->free(code);
    arena_free(&arena);
}

static void callers_state_is_kept(void **state) {
    (void)state;
    static unsigned char pattern[64 * 64], saved[64 * 64];
    Target target;
    if (!unit_here(&target))
        skip();
    if (!(target.features & FEATURE(SME))) {
        print_message("skipped: the unit is not SME's\n");
        skip();
    }
    size_t size = (size_t)target.tiles.bytes * (size_t)target.tiles.bytes;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)next();
    call_and_check(&target, pattern, saved);
    assert_memory_equal(saved, pattern, size); /* as its owner asked */
    for (size_t i = size; i < sizeof saved; i++)
        assert_int_equal(saved[i], 0);
    call_and_check(&target, pattern, NULL);
}
#else
static void callers_state_is_kept(void **state) {
    (void)state;
    print_message("skipped: no Arm\n");
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interpreted), cmocka_unit_test(tiles_change_names),    cmocka_unit_test(made),
        cmocka_unit_test(computed),    cmocka_unit_test(callers_state_is_kept),
    };
    state_of_random = (uint64_t)time(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
