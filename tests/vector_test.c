/* Vector code: the text form, the passes, and the oracle chain: what the interpreter computes, machine code computes, in
 * registers of every length there is, whatever registers were chosen. Programs are random; a failure prints the seed and the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "here.h"
#include "target/target.h"
#include "vector/vector.h"

/* ---- random programs ---- */

enum { INPUTS = 3, INPUT_BYTES = 8192, OUTPUT_BYTES = 16384, GUARD = 128, MAX_LIVE = 10 };

typedef struct Random {
    uint64_t state;
} Random;

static uint32_t next(Random *r) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->state >> 33);
}

static int below(Random *r, int n) {
    return (int)(next(r) % (uint32_t)n);
}

typedef struct Program {
    VectorFunction *f;
    Random r;
    int input[INPUTS], output, limit;
    int floats[MAX_LIVE], ints[MAX_LIVE], masks[MAX_LIVE], longs[MAX_LIVE], doubles[MAX_LIVE], long_masks[MAX_LIVE];
    int float_count, int_count, mask_count, long_count, double_count, long_mask_count;
    int counters[3], counter_count;
    int64_t at; /* of the next store */
    bool wide_ok;
} Program;

static int pick(Program *p, const int *from, int count) {
    return from[below(&p->r, count)];
}

static void keep(Program *p, int *to, int *count, int value) {
    if (*count < MAX_LIVE)
        to[(*count)++] = value;
    else
        to[below(&p->r, MAX_LIVE)] = value;
}

static VectorAddress some_address(Program *p) {
    VectorAddress a = vector_at(p->input[below(&p->r, INPUTS)], 4 * below(&p->r, 64));
    for (int i = 0; i < p->counter_count; i++)
        if (below(&p->r, 2))
            a = vector_plus(a, p->counters[i], 4 * below(&p->r, 20));
    return a;
}

#define F         pick(p, p->floats, p->float_count)
#define S         pick(p, p->ints, p->int_count)
#define M         pick(p, p->masks, p->mask_count)
#define FLOAT(x)  keep(p, p->floats, &p->float_count, x)
#define INT(x)    keep(p, p->ints, &p->int_count, x)
#define MASK(x)   keep(p, p->masks, &p->mask_count, x)
#define L         pick(p, p->longs, p->long_count)
#define D         pick(p, p->doubles, p->double_count)
#define LM        pick(p, p->long_masks, p->long_mask_count)
#define LONG(x)   keep(p, p->longs, &p->long_count, x)
#define DOUBLE(x) keep(p, p->doubles, &p->double_count, x)
#define LMASK(x)  keep(p, p->long_masks, &p->long_mask_count, x)

/* Lanes of 64 bits. */
static void add_long_value(Program *p) {
    static const VectorCode binary[] = {VECTOR_ADD, VECTOR_SUB, VECTOR_MUL_LONG, VECTOR_MUL_LOWER,
                                        VECTOR_AND, VECTOR_OR,  VECTOR_XOR,      VECTOR_AND_NOT};
    static const VectorCode double_binary[] = {VECTOR_ADD, VECTOR_SUB, VECTOR_MUL, VECTOR_DIV};
    static const VectorCode rounding[] = {VECTOR_FLOOR, VECTOR_TRUNC};
    static const VectorCode compare[] = {VECTOR_EQ, VECTOR_NE, VECTOR_LT, VECTOR_LE};
    static const DType memory[] = {DT_S64, DT_S32, DT_U32, DT_S16, DT_U16, DT_S8, DT_U8, DT_BOOL};
    VectorFunction *f = p->f;
    Random *r = &p->r;
    int a, b;
    switch (below(r, 15)) {
    case 0: LONG(vector_load(f, DT_S64, memory[below(r, 8)], some_address(p), below(r, 2) ? LM : -1)); break;
    case 1: LONG(vector_splat(f, DT_S64, memory[below(r, 8)], some_address(p))); break;
    case 2: LONG(vector_const(f, DT_S64, below(r, 3) ? below(r, 9) - 4 : ldexp(below(r, 9) - 4, below(r, 61)))); break;
    case 3:
    case 4: a = L, b = L, LONG(vector_binary(f, binary[below(r, COUNT(binary))], a, b)); break;
    case 5: LONG(vector_immediate(f, below(r, 2) ? VECTOR_SHL : VECTOR_SHR, L, below(r, 64))); break;
    case 6:
        a = L, b = vector_binary(f, VECTOR_AND, L, vector_const(f, DT_S64, 63));
        LONG(vector_binary(f, below(r, 2) ? VECTOR_SHL_BY : VECTOR_SHR_BY, a, b));
        break;
    case 7: a = L, b = L, LMASK(vector_binary(f, compare[below(r, 4)], a, b)); break;
    case 8: a = D, b = D, LMASK(vector_binary(f, compare[below(r, 4)], a, b)); break;
    case 9: a = LM, b = L, LONG(vector_ternary(f, VECTOR_SELECT, a, b, L)); break;
    case 10: a = D, b = D, DOUBLE(vector_binary(f, double_binary[below(r, 4)], a, b)); break;
    case 11: DOUBLE(vector_unary(f, rounding[below(r, 2)], D)); break;
    case 12: DOUBLE(vector_convert(f, VECTOR_CVT, DT_F64, F)); break;
    case 13: FLOAT(vector_convert(f, VECTOR_CVT, DT_F32, D)); break;
    default:
        if (below(r, 2))
            INT(vector_convert(f, VECTOR_BITS, DT_S32, L));
        else
            LONG(vector_convert(f, VECTOR_BITS, DT_S64, S));
    }
}

/* Gathers, lanes that change places, elements that are narrower in memory. */
static void add_moved_value(Program *p, int kind) {
    static const VectorCode shift_by[] = {VECTOR_SHL_BY, VECTOR_SHR_BY, VECTOR_SAR_BY};
    static const VectorCode lanes[] = {VECTOR_ZIP_LOW,   VECTOR_ZIP_HIGH, VECTOR_BLOCK_EVEN,
                                       VECTOR_BLOCK_ODD, VECTOR_EVEN,     VECTOR_ODD};
    static const DType int_memory[] = {DT_S32, DT_S8, DT_U8, DT_S16, DT_U16, DT_BOOL}, float_memory[] = {DT_F32, DT_F16, DT_BF16};
    VectorFunction *f = p->f;
    Random *r = &p->r;
    int a, b;
    switch (kind) {
    case 23: INT(vector_splat(f, DT_S32, int_memory[below(r, 6)], some_address(p))); break;
    case 24: FLOAT(vector_load(f, DT_F32, float_memory[below(r, 3)], some_address(p), below(r, 2) ? M : -1)); break;
    case 25: INT(vector_load(f, DT_S32, int_memory[below(r, 6)], some_address(p), M)); break;
    case 26:
    case 27: { /* indices stay inside the inputs */
        a = vector_binary(f, VECTOR_AND, S, vector_const(f, DT_S32, 255));
        int scale = (int[]){1, 2, 4, 8, 12}[below(r, 5)];
        b = below(r, 2) ? M : -1;
        if (below(r, 2))
            INT(vector_gather(f, DT_S32, int_memory[below(r, 6)], some_address(p), scale, a, b));
        else
            FLOAT(vector_gather(f, DT_F32, float_memory[below(r, 3)], some_address(p), scale, a, b));
        break;
    }
    case 28: a = S, b = S, INT(vector_binary(f, shift_by[below(r, 3)], a, b)); break;
    case 29: a = F, b = F, FLOAT(vector_binary(f, lanes[below(r, COUNT(lanes))], a, b)); break;
    case 30: a = F, b = S, FLOAT(vector_binary(f, VECTOR_PERMUTE, a, b)); break;
    default: INT(vector_iota(f, DT_S32, below(r, 5) - 2)); break;
    }
}

static void add_value(Program *p) {
    static const VectorCode float_binary[] = {VECTOR_ADD,    VECTOR_SUB,    VECTOR_MUL, VECTOR_DIV, VECTOR_MIN, VECTOR_MAX,
                                              VECTOR_MIN_OR, VECTOR_MAX_OR, VECTOR_AND, VECTOR_OR,  VECTOR_XOR, VECTOR_AND_NOT};
    static const VectorCode int_binary[] = {VECTOR_ADD, VECTOR_SUB, VECTOR_MUL, VECTOR_MIN,
                                            VECTOR_MAX, VECTOR_AND, VECTOR_OR,  VECTOR_XOR};
    static const VectorCode unary[] = {VECTOR_SQRT, VECTOR_FLOOR, VECTOR_CEIL, VECTOR_TRUNC, VECTOR_ROUND};
    static const VectorCode compare[] = {VECTOR_EQ, VECTOR_NE, VECTOR_LT, VECTOR_LE, VECTOR_UNORDERED};
    static const VectorCode shift[] = {VECTOR_SHL, VECTOR_SHR, VECTOR_SAR};
    static const VectorCode logic[] = {VECTOR_MASK_AND, VECTOR_MASK_OR, VECTOR_MASK_XOR};
    static const VectorCode reduce[] = {VECTOR_REDUCE_ADD, VECTOR_REDUCE_MIN, VECTOR_REDUCE_MAX};
    VectorFunction *f = p->f;
    Random *r = &p->r;
    int a, b;
    int kind = below(r, 40);
    if (kind >= 32) {
        add_long_value(p);
        return;
    }
    if (kind >= 23) {
        add_moved_value(p, kind);
        return;
    }
    switch (kind) {
    case 0: FLOAT(vector_load(f, DT_F32, DT_F32, some_address(p), -1)); break;
    case 1: FLOAT(vector_splat(f, DT_F32, (DType[]){DT_F32, DT_F16, DT_BF16}[below(r, 3)], some_address(p))); break;
    case 2: FLOAT(vector_const(f, DT_F32, below(r, 9) - 4)); break;
    case 3: {
        VectorCode code = float_binary[below(r, COUNT(float_binary))];
        a = F, b = F, a = vector_binary(f, code, a, b);
        /* Which of two zeros MIN and MAX give is not said: added to zero, both are one. */
        FLOAT(code == VECTOR_MIN || code == VECTOR_MAX ? vector_binary(f, VECTOR_ADD, a, vector_const(f, DT_F32, 0)) : a);
        break;
    }
    case 4:
    case 5: a = F, b = F, FLOAT(vector_ternary(f, below(r, 2) ? VECTOR_FMA : VECTOR_FNMA, a, b, F)); break;
    case 6: FLOAT(vector_unary(f, unary[below(r, COUNT(unary))], F)); break;
    case 7: a = S, b = S, INT(vector_binary(f, int_binary[below(r, COUNT(int_binary))], a, b)); break;
    case 8: INT(vector_immediate(f, shift[below(r, 3)], S, below(r, 32))); break;
    case 9: INT(vector_convert(f, below(r, 2) ? VECTOR_CVT : VECTOR_CVT_ROUND, DT_S32, F)); break;
    case 10: FLOAT(vector_convert(f, VECTOR_CVT, DT_F32, S)); break;
    case 11: INT(vector_convert(f, VECTOR_BITS, DT_S32, F)); break;
    case 12: a = F, b = F, MASK(vector_binary(f, compare[below(r, 5)], a, b)); break;
    case 13: a = S, b = S, MASK(vector_binary(f, compare[below(r, 4)], a, b)); break;
    case 14: a = M, b = M, MASK(vector_binary(f, logic[below(r, 3)], a, b)); break;
    case 15: a = M, b = F, FLOAT(vector_ternary(f, VECTOR_SELECT, a, b, F)); break;
    case 21: a = F, b = F, FLOAT(vector_binary(f, below(r, 2) ? VECTOR_EVEN : VECTOR_ODD, a, b)); break;
    case 22: a = S, b = S, INT(vector_binary(f, below(r, 2) ? VECTOR_EVEN : VECTOR_ODD, a, b)); break;
    case 16: a = M, b = S, INT(vector_ternary(f, VECTOR_SELECT, a, b, S)); break;
    case 17:
        if (below(r, 2))
            FLOAT(vector_unary(f, reduce[below(r, 3)], F));
        else
            INT(vector_unary(f, reduce[below(r, 3)], S));
        break;
    case 18: FLOAT(vector_load(f, DT_F32, DT_F32, some_address(p), M)); break;
    case 19:
        MASK(vector_mask_below(f, DT_F32, below(r, 2) || !p->counter_count ? p->limit : pick(p, p->counters, p->counter_count)));
        break;
    default:
        INT(vector_load(f, DT_S32, (DType[]){DT_S32, DT_S8, DT_U8, DT_S16, DT_U16}[below(r, 5)], some_address(p), -1));
        break;
    }
}

static void add_store(Program *p) {
    VectorAddress a = vector_at(p->output, p->at);
    for (int i = 0; i < p->counter_count; i++)
        a = vector_plus(a, p->counters[i], 64 * (1 + below(&p->r, 3)));
    if (p->at < 2048)
        p->at += 4 * below(&p->r, 20);
    static const DType memory[] = {DT_S64, DT_S32, DT_U32, DT_S16, DT_U16, DT_S8, DT_U8, DT_BOOL};
    int kind = below(&p->r, 4);
    int value = below(&p->r, 3) == 0 ? L : below(&p->r, 2) ? F : S;
    DType type = p->f->failed ? DT_F32 : p->f->values[value].type;
    if (type == DT_S64)
        type = memory[below(&p->r, 8)];
    else if (below(&p->r, 2)) /* narrower in memory; other NaNs there would not be told from numbers */
        type = type == DT_S32 ? (DType[]){DT_S8, DT_U8, DT_S16, DT_U16}[below(&p->r, 4)] : type;
    if (kind == 0)
        vector_store_first(p->f, type, value, a);
    else
        vector_store(p->f, type, value, a, kind != 1 ? -1 : !p->f->failed && p->f->values[value].type == DT_S64 ? LM : M);
}

static void add_body(Program *p, int depth);

static void add_loop(Program *p, int depth) {
    int initial[4], inside[4], after[4], count = below(&p->r, 4);
    Program saved = *p;
    for (int i = 0; i < count; i++)
        initial[i] = F;
    int step = 1 + below(&p->r, 3);
    int counter = vector_loop(p->f, below(&p->r, 3) ? -1 : p->limit, below(&p->r, 6), step, initial, inside, count);
    p->counters[p->counter_count++] = counter;
    for (int i = 0; i < count; i++)
        FLOAT(inside[i]);
    add_body(p, depth + 1);
    for (int i = 0; i < count; i++)
        inside[i] = F;
    vector_end(p->f, inside, after);
    saved.r = p->r; /* what the body made is gone */
    saved.at = p->at;
    *p = saved;
    for (int i = 0; i < count; i++)
        FLOAT(after[i]);
}

static void add_body(Program *p, int depth) {
    int statements = 3 + below(&p->r, 12);
    for (int i = 0; i < statements; i++) {
        int what = below(&p->r, 10);
        if (what == 0 && depth < 3)
            add_loop(p, depth);
        else if (what <= 2)
            add_store(p);
        else
            add_value(p);
    }
    add_store(p);
}

static VectorFunction *random_program(Arena *arena, uint64_t seed, int bytes) {
    Program p = {.r = {seed * 2654435761u + 12345}};
    p.f = vector_new(arena, "random", bytes);
    for (int i = 0; i < INPUTS; i++)
        p.input[i] = vector_parameter(p.f, CLASS_POINTER, (const char *[]){"x", "y", "z"}[i]);
    p.output = vector_parameter(p.f, CLASS_POINTER, "out");
    p.limit = vector_parameter(p.f, CLASS_INDEX, "limit");
    for (int i = 0; i < 3; i++) {
        keep(&p, p.floats, &p.float_count, vector_load(p.f, DT_F32, DT_F32, vector_at(p.input[i], 64 * i), -1));
        keep(&p, p.ints, &p.int_count, vector_load(p.f, DT_S32, DT_S32, vector_at(p.input[i], 64 * i), -1));
    }
    for (int i = 0; i < 2; i++) {
        keep(&p, p.longs, &p.long_count, vector_load(p.f, DT_S64, i ? DT_S64 : DT_S32, vector_at(p.input[i], 64 * i), -1));
        keep(&p, p.doubles, &p.double_count, vector_load(p.f, DT_F64, DT_F32, vector_at(p.input[i], 64 * i), -1));
    }
    keep(&p, p.long_masks, &p.long_mask_count, vector_mask_first(p.f, DT_F64, below(&p.r, bytes / 8 + 1)));
    keep(&p, p.masks, &p.mask_count, vector_mask_first(p.f, DT_F32, below(&p.r, bytes / 4 + 1)));
    keep(&p, p.masks, &p.mask_count, vector_mask_below(p.f, DT_F32, p.limit));
    add_body(&p, 0);
    return p.f;
}

/* ---- running and comparing ---- */

typedef struct Memory {
    unsigned char input[INPUTS][INPUT_BYTES + GUARD], output[OUTPUT_BYTES + GUARD];
} Memory;

static void fill(Memory *m, uint64_t seed) {
    Random r = {seed + 99};
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < (INPUT_BYTES + GUARD) / 4; j++) {
            static const float special[] = {0.f, -0.f, INFINITY, -INFINITY, NAN, 1e-40f, 3e9f, -3e9f};
            float x = below(&r, 16) ? (float)(below(&r, 2001) - 1000) / 64 : special[below(&r, 8)];
            memcpy(&m->input[i][4 * j], &x, 4);
        }
    memset(m->output, 0xab, sizeof m->output);
}

static void arguments_of(Memory *m, int64_t limit, int64_t out[INPUTS + 2]) {
    for (int i = 0; i < INPUTS; i++)
        out[i] = (int64_t)(intptr_t)m->input[i];
    out[INPUTS] = (int64_t)(intptr_t)m->output;
    out[INPUTS + 1] = limit;
}

/* Bits, but any NaN equals any other: their payloads are nobody's promise. A NaN read as an integer shows its payload, so
 * words that differ are compared as floats. */
static bool same_output(const Memory *a, const Memory *b) {
    for (size_t i = 0; i < sizeof a->output; i += 4) {
        float x, y;
        memcpy(&x, &a->output[i], 4);
        memcpy(&y, &b->output[i], 4);
        if (memcmp(&x, &y, 4) && !(isnan(x) && isnan(y)))
            return false;
    }
    return true;
}

static void show(const VectorFunction *f, uint64_t seed, const char *what) {
    Text text;
    text_init(&text);
    vector_print(f, &text);
    print_error("seed %llu, %s:\n%s", (unsigned long long)seed, what, text.data);
    text_free(&text);
}

static void interpret_into(const VectorFunction *f, uint64_t seed, int64_t limit, Memory *m) {
    int64_t arguments[INPUTS + 2];
    whet_error err;
    fill(m, seed);
    arguments_of(m, limit, arguments);
    if (vector_interpret(f, arguments, 0, &err) != WHET_OK) {
        show(f, seed, err.message);
        fail();
    }
}

static void text_round_trip(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Arena arena;
        arena_init(&arena, NULL);
        whet_error err;
        VectorFunction *f = random_program(&arena, seed, seed % 2 ? 64 : 32);
        if (!vector_finish(f, &err) || vector_check(f, "building", &err) != WHET_OK) {
            show(f, seed, err.message);
            fail();
        }
        Text once, twice;
        text_init(&once);
        text_init(&twice);
        vector_print(f, &once);
        VectorFunction *g = vector_parse(&arena, once.data, once.length, &err);
        if (!g) {
            show(f, seed, err.message);
            fail();
        }
        vector_print(g, &twice);
        assert_string_equal(once.data, twice.data);
        text_free(&once);
        text_free(&twice);
        arena_free(&arena);
    }
}

static void malformed_text(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "function",
        "function f, 48 bytes a register",
        "function f, 64 bytes a register, pointer %a\n  %1 = load f32 [%b]",
        "function f, 64 bytes a register, pointer %a\n  %1 = load f99 [%a]",
        "function f, 64 bytes a register, pointer %a\n  %1 = frobnicate f32 %a",
        "function f, 64 bytes a register, pointer %a\n  loop %1 = 0 to 4 step 1\n",
        "function f, 64 bytes a register, pointer %a\n  end",
        "function f, 64 bytes a register, pointer %a\n  %1 = add f32 %a, %a",
        "function f, 64 bytes a register, pointer %a\n  loop %1 = 0 to 4 step 1\n  %2 = const f32 1\n  end\n  store f32 [%a] %2",
        "function f, 64 bytes a register, pointer %a\n  loop %1 = 0 to 4 step 0\n  end",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        Arena arena;
        whet_error err = {WHET_OK, ""};
        arena_init(&arena, NULL);
        assert_null(vector_parse(&arena, texts[i], strlen(texts[i]), &err));
        assert_int_not_equal(err.status, WHET_OK);
        assert_true(strlen(err.message) > 0);
        arena_free(&arena);
    }
}

static void lowering_keeps_meaning(void **state) {
    (void)state;
    static Memory before, after;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Arena arena;
        arena_init(&arena, NULL);
        whet_error err;
        VectorFunction *f = random_program(&arena, seed, 64);
        VectorHoisted hoisted;
        vector_hoist_constants(f, (int)(seed % 5) * 4, 32, &hoisted);
        VectorFunction *lowered = vector_lower_addresses(f, seed % 2, seed % 3 ? &hoisted : NULL, &err);
        assert_non_null(lowered);
        if (vector_check(lowered, "lowering", &err) != WHET_OK) {
            show(lowered, seed, err.message);
            fail();
        }
        int64_t limit = (int64_t)(seed % 9);
        interpret_into(f, seed, limit, &before);
        interpret_into(lowered, seed, limit, &after);
        if (!same_output(&before, &after)) {
            show(f, seed, "lowering addresses changed the result");
            fail();
        }
        arena_free(&arena);
    }
}

/* False: this machine cannot run it. */
static bool target_of(int bytes, Target *out) {
    uint64_t features = target_features_here();
    if (bytes == 32)
        features &= ~FEATURE(AVX512F);
    if (!target_x86(features, out) && !target_here(out))
        return false;
    out->runs_here = true;
    return out->bytes == bytes;
}

static void code_as_interpreted(int bytes) {
    static Memory wanted, got;
    Target target;
    int refused = 0, runs = 0;
    if (!target_of(bytes, &target)) {
        print_message("skipped: this machine has no registers of %d bytes\n", bytes);
        skip();
    }
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        Arena arena;
        arena_init(&arena, NULL);
        whet_error err;
        VectorFunction *f = random_program(&arena, seed, bytes);
        const VectorFunction *functions[] = {f};
        TargetCode *code = NULL;
        int64_t limit = (int64_t)(seed % 21), arguments[INPUTS + 2];
        whet_status status = target.compile(&target, functions, 1, seed % 3 ? seed : 0, &code, &err);
        if (status == WHET_ERROR_UNSUPPORTED && (strstr(err.message, "registers") || strstr(err.message, "addresses"))) {
            refused++;
            arena_free(&arena);
            continue;
        }
        if (status != WHET_OK) {
            show(f, seed, err.message);
            fail();
        }
        interpret_into(f, seed, limit, &wanted);
        fill(&got, seed);
        arguments_of(&got, limit, arguments);
        target.entry(code, 0)(arguments);
        if (!same_output(&wanted, &got)) {
            show(f, seed, "code and interpreter differ");
            Text text;
            text_init(&text);
            target.print(code, &text);
            print_error("%s", text.data);
            text_free(&text);
            fail();
        }
        runs++;
        target.free(code);
        arena_free(&arena);
    }
    print_message("%d-byte registers: %d programs agree, %d need too many registers\n", bytes, runs, refused);
    assert_true(runs > 500);
}

/* Text through interpreter and code: what the random programs do not say. `has`: a target that is known not to have it refuses;
 * NULL: every one does. */
static void same_as_interpreted(const char *format, int bytes, bool (*has)(const Target *target)) {
    static Memory wanted, got;
    char text[4096];
    Target target;
    if (!target_of(bytes, &target))
        return;
    bool refused = has && !has(&target);
    snprintf(text, sizeof text, format, bytes);
    for (uint64_t seed = 0; seed < 10; seed++) {
        Arena arena;
        arena_init(&arena, NULL);
        whet_error err;
        VectorFunction *f = vector_parse(&arena, text, strlen(text), &err);
        const VectorFunction *functions[] = {f};
        TargetCode *code = NULL;
        int64_t arguments[INPUTS + 2];
        whet_status status = f ? target.compile(&target, functions, 1, seed, &code, &err) : err.status;
        if (status != (refused ? WHET_ERROR_UNSUPPORTED : WHET_OK)) {
            print_error("%s", status == WHET_OK ? "not refused" : err.message);
            fail();
        }
        if (refused) {
            arena_free(&arena);
            return;
        }
        interpret_into(f, seed, 5, &wanted);
        fill(&got, seed);
        arguments_of(&got, 5, arguments);
        target.entry(code, 0)(arguments);
        if (!same_output(&wanted, &got)) {
            show(f, seed, "code and interpreter differ");
            fail();
        }
        target.free(code);
        arena_free(&arena);
    }
}

#define HEAD "function f, %d bytes a register, pointer %%x, pointer %%y, pointer %%z, pointer %%out, index %%limit\n"

/* Bytes and halves as lanes, dot products (rewritten where the CPU has none), doubles. */
static const char *const programs[] = {
    HEAD
    "  %%a = load s32 [%%x]\n  %%b = load s32 [%%y]\n  %%c = load s32 [%%z]\n"
    "  %%d = bits u8 from s32 %%a\n  %%e = bits s8 from s32 %%b\n  %%f = dot4_us s32 from u8 %%d, %%e, %%c\n"
    "  %%g = bits s8 from s32 %%a\n  %%h = dot4_ss s32 from s8 %%g, %%e, %%f\n  store s32 [%%out] %%f\n"
    "  store s32 [%%out + 64] %%h\n  %%i = load s16 from s8 [%%x + 100]\n  %%j = load s16 from u8 [%%y + 100]\n"
    "  %%k = dot2_ss s32 from s16 %%i, %%j, %%h\n  store s32 [%%out + 128] %%k\n"
    "  %%l = mul s16 %%i, %%j\n  %%m = sar s16 %%l, 3\n  %%n = min s16 %%m, %%i\n  store s16 [%%out + 192] %%n\n"
    "  %%o = splat s8 [%%y + 3]\n  %%p = load s8 [%%x + 5]\n  %%q = max s8 %%o, %%p\n  %%r = const s8 7\n"
    "  %%s = add s8 %%q, %%r\n  store s8 [%%out + 256] %%s\n  %%t = load u8 [%%x + 9]\n  %%u = min u8 %%t, %%d\n"
    "  %%v = zip_low u8 %%u, %%t\n  %%w = zip_high u8 %%u, %%t\n  store u8 [%%out + 320] %%v\n  store u8 [%%out + 384] %%w\n",
    HEAD
    "  %%a = load f64 from f32 [%%x]\n  %%b = load f64 from s32 [%%y]\n  %%c = splat f64 from f32 [%%z + 4]\n"
    "  %%d = fma f64 %%a, %%b, %%c\n  store f64 from f32 [%%out] %%d\n  store f64 [%%out + 64] %%d\n"
    "  %%m = mask_below f64 %%limit\n  store f64 from f32 [%%out + 128] %%d if %%m\n  %%e = load f64 from f32 [%%x + 8] if %%m\n"
    "  store f64 [%%out + 192] %%e\n  %%f = even f64 %%a, %%e\n  %%g = odd f64 %%a, %%e\n  store f64 [%%out + 256] %%f\n"
    "  store f64 [%%out + 320] %%g\n  store_first f64 from f32 [%%out + 384] %%g\n  %%h = block_odd f64 %%f, %%g\n"
    "  store f64 [%%out + 448] %%h\n",
    HEAD
    "  %%a = load f32 [%%x]\n  %%m = mask_below f32 %%limit\n  %%c = const f32 -1000.75\n  %%d = max f32 %%a, %%c\n"
    "  %%e = const f32 2000\n  %%f = min f32 %%d, %%e\n  %%n = unordered f32 %%f, %%f\n  %%g = select f32 %%n, %%e, %%f\n"
    "  store f32 from f16 [%%out] %%g\n  store f32 from bf16 [%%out + 64] %%g\n  store f32 from f16 [%%out + 128] %%g if %%m\n"
    "  store f32 from bf16 [%%out + 192] %%g if %%m\n  store_first f32 from f16 [%%out + 256] %%g\n"
    "  store_first f32 from bf16 [%%out + 260] %%g\n",
};

static void programs_as_interpreted(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(programs); i++)
        for (int bytes = 16; bytes <= 64; bytes *= 2)
            same_as_interpreted(programs[i], bytes, NULL);
}

static bool has_lanes(const Target *target) {
    return target->by_lane;
}

static bool has_dot_lanes(const Target *target) {
    return target->by_lane && target->dot4_ss;
}

static bool has_narrow_masks(const Target *target) { /* AVX2 has none */
    return target->registers[CLASS_MASK] > 0 || target->by_lane;
}

static bool has_narrow_limits(const Target *target) { /* nor has x86 those that are counted */
    return strncmp(target->name, "arm64", 5) == 0;
}

static bool has_uu(const Target *target) {
    return target->dot4_uu;
}

static bool has_mmla_bytes(const Target *target) {
    return target->mmla_bytes;
}

static bool has_mmla_bf16(const Target *target) {
    return target->mmla_bf16;
}

static bool has_tables(const Target *target) {
    return strncmp(target->name, "x86", 3) == 0;
}

/* Products and tables that some targets have. bf16 are small whole numbers: CPUs round sums of pairs differently. */
static const struct {
    bool (*has)(const Target *target);
    const char *text;
} products[] = {
    {has_lanes, HEAD "  %%a = load f32 [%%x]\n  %%b = load f32 [%%y]\n  %%c = load f32 [%%z]\n"
                     "  %%d = fma_lane f32 %%a, %%b, %%c, 0\n  %%e = fma_lane f32 %%b, %%a, %%d, 3\n"
                     "  %%f = fma_lane f32 %%a, %%b, %%c, 1\n  store f32 [%%out] %%d\n  store f32 [%%out + 64] %%e\n"
                     "  store f32 [%%out + 128] %%f\n"},
    {has_tables, HEAD "  %%a = load s32 [%%x]\n  %%b = lookup f32 from s32 %%a, 0\n  %%c = lookup f32 from s32 %%a, 7\n"
                      "  %%d = add f32 %%b, %%c\n  store f32 [%%out] %%d\n  store f32 [%%out + 64] %%c\n"},
    {has_tables,
     HEAD "  %%a = load s32 [%%x]\n  %%b = lookup_pair f32 from s32 %%a, 0\n  %%c = lookup_pair f32 from s32 %%a, 16\n"
          "  %%d = add f32 %%b, %%c\n  store f32 [%%out] %%d\n  store f32 [%%out + 64] %%c\n"},
    {has_dot_lanes,
     HEAD "  %%a = load s32 [%%x]\n  %%b = load s32 [%%y]\n  %%c = load s32 [%%z]\n"
          "  %%d = dot4_ss_lane s32 from s32 %%a, %%b, %%c, 2\n  %%e = dot4_ss_lane s32 from s32 %%b, %%a, %%d, 1\n"
          "  store s32 [%%out] %%d\n  store s32 [%%out + 64] %%e\n"
          "  %%f = dot4_uu_lane s32 from s32 %%a, %%b, %%c, 3\n  store s32 [%%out + 128] %%f\n"},
    {has_uu, HEAD "  %%a = load s32 [%%x]\n  %%b = load s32 [%%y]\n  %%c = load s32 [%%z]\n"
                  "  %%d = dot4_uu s32 from s32 %%a, %%b, %%c\n  store s32 [%%out] %%d\n"},
    {has_narrow_masks,
     HEAD "  %%m = mask_first u8 11\n  %%o = mask_first f16 5\n  %%a = load u8 [%%x + 1] if %%m\n  %%c = load f16 [%%z] if %%o\n"
          "  %%b = load u8 [%%y]\n  store u8 [%%out] %%a\n  store f16 [%%out + 128] %%c\n  store u8 [%%out + 257] %%b if %%m\n"
          "  store f16 [%%out + 322] %%c if %%o\n"},
    {has_narrow_limits, HEAD "  %%n = mask_below u8 %%limit\n  %%p = mask_below s16 %%limit\n  %%b = load u8 [%%y + 3] if %%n\n"
                             "  %%d = load s16 [%%x + 2] if %%p\n  store u8 [%%out + 64] %%b\n  store s16 [%%out + 192] %%d\n"
                             "  store u8 [%%out + 257] %%b if %%n\n  store s16 [%%out + 322] %%d if %%p\n"},
    {has_mmla_bytes, HEAD "  %%a = load_block s32 [%%x + 48]\n  %%b = load s32 [%%y]\n  %%c = load s32 [%%z]\n"
                          "  %%d = mmla s32 from s32 %%a, %%b, %%c\n  %%e = mmla_us s32 from s32 %%b, %%a, %%d\n"
                          "  %%f = load_block s32 [%%x + 1004]\n  %%g = mmla_us s32 from s32 %%f, %%b, %%c\n"
                          "  store s32 [%%out] %%d\n  store s32 [%%out + 64] %%e\n  store s32 [%%out + 128] %%g\n"},
    {has_mmla_bf16, HEAD "  %%a = load f32 from s8 [%%x]\n  %%b = load f32 from s8 [%%x + 100]\n  %%h = const s32 -65536\n"
                         "  %%c = bits s32 from f32 %%a\n  %%d = shr s32 %%c, 16\n  %%e = bits s32 from f32 %%b\n"
                         "  %%f = and s32 %%e, %%h\n  %%g = or s32 %%d, %%f\n  %%i = bits f32 from s32 %%g\n"
                         "  %%j = load f32 from u8 [%%y]\n  %%k = bits s32 from f32 %%j\n  %%l = or s32 %%d, %%k\n"
                         "  %%m = bits f32 from s32 %%l\n  %%n = load f32 from s16 [%%z]\n"
                         "  %%o = mmla f32 from f32 %%i, %%m, %%n\n  %%p = dot2 f32 from f32 %%m, %%i, %%n\n"
                         "  store f32 [%%out] %%o\n  store f32 [%%out + 64] %%p\n"},
};

static void products_as_interpreted(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(products); i++)
        for (int bytes = 16; bytes <= 64; bytes *= 2)
            same_as_interpreted(products[i].text, bytes, products[i].has);
}

static void transposes(void **state) {
    (void)state;
    for (int bytes = 16; bytes <= 64; bytes *= 2) {
        Arena arena;
        whet_error err;
        Target target;
        arena_init(&arena, NULL);
        int32_t from[16][16], to[16][16], again[16][16];
        int rows[16], lanes = bytes / 4;
        for (int i = 0; i < 256; i++)
            from[i / 16][i % 16] = i;
        VectorFunction *f = vector_new(&arena, "transpose", bytes);
        int x = vector_parameter(f, CLASS_POINTER, "x"), y = vector_parameter(f, CLASS_POINTER, "y");
        for (int i = 0; i < lanes; i++)
            rows[i] = vector_load(f, DT_S32, DT_S32, vector_at(x, 64 * i), -1);
        vector_transpose(f, rows);
        for (int i = 0; i < lanes; i++)
            vector_store(f, DT_S32, rows[i], vector_at(y, 64 * i), -1);
        assert_true(vector_finish(f, &err));
        assert_int_equal(vector_check(f, "building", &err), WHET_OK);
        assert_int_equal(vector_interpret(f, (int64_t[]){(intptr_t)from, (intptr_t)to}, 0, &err), WHET_OK);
        for (int i = 0; i < lanes; i++)
            for (int j = 0; j < lanes; j++)
                assert_int_equal(to[i][j], from[j][i]);
        if (target_of(bytes, &target)) {
            TargetCode *code = NULL;
            const VectorFunction *functions[] = {f};
            assert_int_equal(target.compile(&target, functions, 1, 0, &code, &err), WHET_OK);
            target.entry(code, 0)((int64_t[]){(intptr_t)from, (intptr_t)again});
            for (int i = 0; i < lanes; i++)
                assert_memory_equal(again[i], to[i], (size_t)bytes);
            target.free(code);
        }
        arena_free(&arena);
    }
}

/* Where it may be so (Target.flushes), subnormals that are stored as bf16 are zero with their sign; all else is rounded as ever.
 */
static void stores_that_flush(void **state) {
    (void)state;
    enum { LANES = 16 };
    static const uint32_t bits[LANES] = {0x3f800000, 0xbf808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0xff800000,
                                         0x7f800001, 0x80000000, 0x00000001, 0x807fffff, 0x00800000, 0x80808000,
                                         0x00400000, 0x477fe001, 0xffc12345, 0x00000000};
    for (int bytes = 16; bytes <= 64; bytes *= 2) {
        Target target;
        Arena arena;
        whet_error err;
        uint16_t to[3 * LANES] = {0};
        if (!target_of(bytes, &target))
            continue;
        target.flushes = true;
        arena_init(&arena, NULL);
        VectorFunction *f = vector_new(&arena, "flush", bytes);
        int x = vector_parameter(f, CLASS_POINTER, "x"), y = vector_parameter(f, CLASS_POINTER, "y"), lanes = bytes / 4;
        for (int i = 0; i < LANES; i += lanes) {
            int value = vector_load(f, DT_F32, DT_F32, vector_at(x, 4 * i), -1);
            vector_store(f, DT_BF16, value, vector_at(y, 2 * i), -1);
            vector_store(f, DT_BF16, value, vector_at(y, 2 * (LANES + i)), vector_mask_first(f, DT_F32, lanes - 1));
            vector_store_first(f, DT_BF16, value, vector_at(y, 2 * (2 * LANES + i)));
        }
        assert_true(vector_finish(f, &err));
        TargetCode *code = NULL;
        const VectorFunction *functions[] = {f};
        assert_int_equal(target.compile(&target, functions, 1, 0, &code, &err), WHET_OK);
        target.entry(code, 0)((int64_t[]){(intptr_t)bits, (intptr_t)to});
        for (int i = 0; i < LANES; i++) {
            float value;
            memcpy(&value, &bits[i], sizeof value);
            uint16_t whole = f32_to_bf16(value), zero = whole & 0x8000;
            bool small = fabsf(value) < 0x1p-126f, last = i % lanes == lanes - 1, first = i % lanes == 0;
            assert_true(to[i] == whole || (small && to[i] == zero));
            assert_int_equal(to[LANES + i], last ? 0 : to[i]);
            assert_int_equal(to[2 * LANES + i], first ? to[i] : 0);
        }
        target.free(code);
        arena_free(&arena);
    }
}

static void code_of_16_bytes(void **state) {
    (void)state;
    code_as_interpreted(16);
}

static void code_of_32_bytes(void **state) {
    (void)state;
    code_as_interpreted(32);
}

static void code_of_64_bytes(void **state) {
    (void)state;
    code_as_interpreted(64);
}

/* Each place ends with what the place that it wanted held, in any number of chains and circles. */
static void moves_all_at_once(void **state) {
    (void)state;
    enum { PLACES = 12 };
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        Random random = {seed};
        VectorMove moves[2 * PLACES];
        int held[2][PLACES], wanted[2][PLACES], count = 0;
        for (int class = 0; class < 2; class ++)
            for (int to = 0; to < PLACES; to++) {
                held[class][to] = wanted[class][to] = to;
                if (next(&random) % 4 == 0)
                    continue;
                int from = (int)(next(&random) % PLACES);
                moves[count++] = (VectorMove){.to = to, .from = from, .class = class ? CLASS_VECTOR : CLASS_INDEX};
                wanted[class][to] = from;
            }
        count = vector_order_moves(moves, count);
        for (int i = 0; i < count; i++) {
            int *places = held[moves[i].class == CLASS_VECTOR], was = places[moves[i].to];
            places[moves[i].to] = places[moves[i].from];
            if (moves[i].swap)
                places[moves[i].from] = was;
        }
        for (int class = 0; class < 2; class ++)
            for (int to = 0; to < PLACES; to++)
                if (held[class][to] != wanted[class][to])
                    fail_msg("seed %llu: place %d holds what %d held, not %d", (unsigned long long)seed, to, held[class][to],
                             wanted[class][to]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_round_trip),         cmocka_unit_test(malformed_text),
        cmocka_unit_test(lowering_keeps_meaning),  cmocka_unit_test(programs_as_interpreted),
        cmocka_unit_test(products_as_interpreted), cmocka_unit_test(transposes),
        cmocka_unit_test(stores_that_flush),       cmocka_unit_test(code_of_16_bytes),
        cmocka_unit_test(code_of_32_bytes),        cmocka_unit_test(code_of_64_bytes),
        cmocka_unit_test(moves_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
