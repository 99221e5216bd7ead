/* Shape rules and builders on calls that no sane model makes: random ranks, extents, attributes and contents for every row. An
 * error is an answer; what is looked for is a crash, an assertion, or a message of our own bugs (WHET_ERROR_INTERNAL).
 *
 * OPS_RANDOM_SEED gives the seed, OPS_RANDOM_CALLS the number of calls a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

enum { MOST = 10, LIST = 9 }; /* operands and attributes; elements of a list */

typedef struct Random {
    uint64_t state;
} Random;

static uint64_t next(Random *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state;
}

static int below(Random *r, int n) {
    return (int)(next(r) % (uint64_t)n);
}

/* Mostly small, sometimes what a hostile file would write. */
static int64_t random_number(Random *r) {
    static const int64_t extremes[] = {INT64_MIN, INT64_MAX, -1, 0, 2147483647, -2147483648LL, (int64_t)1 << 40, INT64_MAX - 1};
    return below(r, 8) ? below(r, 6) - (below(r, 4) == 0) : extremes[below(r, (int)COUNT(extremes))];
}

/* ---- A random call ------------------------------------------------------------------------------------------------------------
 */

typedef struct Case {
    Arena *arena;
    Random *random;
    Symbols *symbols;
    Node node;
    Value value; /* stands for every operand */
    Value *inputs[MOST], *outputs[MOST];
    Attr attrs[MOST];
    Type in[MOST], out[MOST];
    const Type *in_list[MOST];
} Case;

static void random_attr(Case *c, const AttrSpec *spec, Attr *attr) {
    static const char *const words[] = {"", "none", "ij,jk->ik", "...i,...i", "->", "i,,j", "tanh"};
    Random *r = c->random;
    *attr = (Attr){.name = arena_string(c->arena, spec->name.data, spec->name.length)};
    int64_t *ints = ARENA_ARRAY(c->arena, int64_t, LIST);
    float *floats = ARENA_ARRAY(c->arena, float, LIST);
    Str *strings = ARENA_ARRAY(c->arena, Str, LIST);
    for (int i = 0; i < LIST; i++) {
        const char *word = words[below(r, (int)COUNT(words))];
        ints[i] = random_number(r);
        floats[i] = (float)ints[i] / 2;
        strings[i] = (Str){word, strlen(word)};
    }
    attr->i = ints[0];
    attr->f = floats[0];
    attr->s = strings[0];
    for (Str choices = spec->choices; choices.length && below(r, 8);) { /* mostly one of the row's words */
        const char *bar = memchr(choices.data, '|', choices.length);
        attr->s = (Str){choices.data, bar ? (size_t)(bar - choices.data) : choices.length};
        if (!bar || !below(r, 3))
            break;
        choices = (Str){bar + 1, choices.length - attr->s.length - 1};
    }
    attr->count = (size_t)below(r, LIST);
    attr->ints = ints;
    attr->floats = floats;
    attr->strings = strings;
    static const char letters[] = "fistgIFS";
    static const AttrKind kinds[] = {ATTR_FLOAT, ATTR_INT,  ATTR_STRING, ATTR_TENSOR,
                                     ATTR_GRAPH, ATTR_INTS, ATTR_FLOATS, ATTR_STRINGS};
    attr->kind = kinds[strchr(letters, spec->kind) - letters];
}

static Dim random_dim(Case *c, bool symbolic) {
    Random *r = c->random;
    if (symbolic && !below(r, 4))
        return below(r, 2) ? DIM_UNKNOWN : dim_symbol(c->symbols, below(r, 2) ? "m" : "n", 1);
    static const int64_t large[] = {1 << 20, (int64_t)1 << 40, INT64_MAX};
    return symbolic && !below(r, 20) ? large[below(r, 3)] : below(r, 5);
}

/* A content that may be as long as the shape says; small shapes alone have one. */
static void random_content(Case *c, Type *type) {
    int64_t count;
    size_t bytes;
    if (type->rank < 0 || !checked_count(type->dims, type->rank, &count) || count > 64 || !dtype_bytes(type->type, count, &bytes))
        return;
    Tensor *tensor = ARENA_NEW(c->arena, Tensor);
    *tensor = (Tensor){.type = (whet_type)type->type, .rank = type->rank, .bytes = bytes};
    memcpy(tensor->dims, type->dims, sizeof type->dims);
    tensor->data = arena_alloc(c->arena, 1, bytes + 1);
    for (int64_t i = 0; i < count && type->type != DT_STRING; i++)
        if (type->type == DT_S64)
            ((int64_t *)tensor->data)[i] = random_number(c->random);
        else
            whet_tensor_set(tensor, i, below(c->random, 6) - 1);
    type->constant = tensor;
}

static DType random_type(Case *c, Str letter) {
    static const DType usual[] = {DT_F32, DT_S64, DT_BOOL, DT_U8, DT_F16, DT_S32, DT_F64, DT_S8, DT_STRING, DT_BF16};
    DType named = dtype_parse(letter.data, letter.length);
    if (named != DT_NONE)
        return named;
    return usual[below(c->random, below(c->random, 4) ? 2 : (int)COUNT(usual))];
}

static void random_inputs(Case *c, const Signature *s, bool symbolic) {
    int most = s->in_count && s->in[s->in_count - 1].variadic ? s->in_count + 2 : s->in_count;
    int count = most > MOST ? MOST : most, rank = below(c->random, 5);
    bool same_type = below(c->random, 8) != 0;
    DType shared = random_type(c, (Str){"?", 1});
    for (int i = 0; i < count; i++) {
        const Operand *operand = &s->in[i < s->in_count ? i : s->in_count - 1];
        bool omitted = operand->optional && !below(c->random, 3);
        Type *type = &c->in[i];
        *type = (Type){.type = random_type(c, operand->type), .rank = below(c->random, 3) ? rank : below(c->random, 6)};
        if (same_type && dtype_parse(operand->type.data, operand->type.length) == DT_NONE)
            type->type = shared;
        for (int d = 0; d < type->rank; d++)
            type->dims[d] = random_dim(c, symbolic);
        if (symbolic && !below(c->random, 10))
            type->rank = -1;
        else if (operand->content ? !symbolic || below(c->random, 2) : false)
            random_content(c, type);
        c->in_list[i] = omitted ? NULL : type;
        c->inputs[i] = omitted ? NULL : &c->value;
    }
    c->node.input_count = count;
}

static void random_call(Arena *arena, Random *random, const OpRow *row, const Signature *s, bool symbolic) {
    Case *c = ARENA_NEW(arena, Case);
    assert_non_null(c);
    *c = (Case){.arena = arena, .random = random, .symbols = symbols_new(arena)};
    c->value.name = "v";
    c->node = (Node){.name = "", .op = row->name, .domain = row->domain, .opset = row->since, .row = row};
    random_inputs(c, s, symbolic);
    AttrSpec spec;
    for (const char *at = row->attrs; signature_next_attr(&at, &spec) && c->node.attr_count < MOST;)
        if (!strchr("tg", spec.kind) && (spec.required || below(random, 2)))
            random_attr(c, &spec, &c->attrs[c->node.attr_count++]);
    c->node.output_count = s->out_count > MOST ? MOST : s->out_count;
    for (int i = 0; i < c->node.output_count; i++)
        c->outputs[i] = &c->value;
    c->node.inputs = c->inputs;
    c->node.outputs = c->outputs;
    c->node.attrs = c->attrs;
    whet_error err = {0};
    OpCall call = {.node = &c->node, .row = row, .arena = arena, .symbols = c->symbols, .err = &err, .opset = row->since};
    call.in_count = c->node.input_count;
    call.out_count = c->node.output_count;
    call.in = c->in_list;
    call.out = c->out;
    Lowered lowered;
    whet_status status = symbolic ? op_infer(&call) : op_lower(&call, &lowered);
    if (status == WHET_ERROR_INTERNAL)
        fail_msg("%s-%d: %s", row->name, row->since, err.message);
    for (int i = 0; !status && i < call.out_count; i++)
        assert_in_range(call.out[i].rank + 1, 0, WHET_MAX_RANK + 1);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_random(void **state) {
    (void)state;
    uint64_t seed = setting("OPS_RANDOM_SEED", 20240229), calls = setting("OPS_RANDOM_CALLS", 200);
    print_message("OPS_RANDOM_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < op_row_count(); i++) {
        const OpRow *row = op_row(i);
        static Signature signature;
        if (row->refused || !signature_parse(row->signature, &signature))
            continue;
        Random random = {seed * 2654435761u + i + 1};
        for (uint64_t n = 0; n < calls; n++) {
            Arena arena;
            arena_init(&arena, NULL);
            random_call(&arena, &random, row, &signature, n % 2 == 0);
            arena_free(&arena);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
