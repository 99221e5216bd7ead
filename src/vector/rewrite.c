/* Replaces operations a target lacks by those it has, as rules of a few lines each.
 *
 * Requires: any function. Recreates: only operations that `native` lists (or a refusal that names the one without a rule).
 * Breaks: nothing. */
#include "vector/copy.h"

#include <math.h>
#include <string.h>

static bool number_not_nan(const VectorFunction *f, int value) {
    int at = f->values[value].op;
    return at >= 0 && f->ops[at].code == VECTOR_CONST && !isnan(f->ops[at].number);
}

/* MIN and MAX give NaN if either is; MIN_OR and MAX_OR give their second operand then, which is enough beside a number. */
static int extreme(VectorFunction *to, const VectorOp *op) {
    VectorCode native = op->code == VECTOR_MIN ? VECTOR_MIN_OR : VECTOR_MAX_OR;
    int a = op->arg[0], b = op->arg[1];
    if (to->failed)
        return -1;
    if (number_not_nan(to, a))
        return vector_binary(to, native, a, b);
    if (number_not_nan(to, b))
        return vector_binary(to, native, b, a);
    int picked = vector_binary(to, native, a, b);
    return vector_ternary(to, VECTOR_SELECT, vector_binary(to, VECTOR_UNORDERED, a, a), a, picked);
}

/* The lanes of x are whole numbers, as far as a few operations tell. */
static bool is_whole(const VectorFunction *f, int x) {
    const VectorOp *op = f->values[x].op >= 0 ? &f->ops[f->values[x].op] : NULL;
    if (!op || op->result != x)
        return false;
    if (op->code == VECTOR_ADD || op->code == VECTOR_SUB)
        return is_whole(f, op->arg[0]) && is_whole(f, op->arg[1]);
    if (op->code == VECTOR_CONST)
        return op->number == floor(op->number);
    return op->code == VECTOR_CVT || (op->code >= VECTOR_FLOOR && op->code <= VECTOR_ROUND);
}

/* 2^b in two factors, so that results reach down to the subnormals and up to infinity. */
static int scale(VectorFunction *to, const VectorOp *op) {
    int b = is_whole(to, op->arg[1]) ? op->arg[1] : vector_unary(to, VECTOR_FLOOR, op->arg[1]);
    int whole = vector_convert(to, VECTOR_CVT, DT_S32, b), y = op->arg[0];
    int half = vector_immediate(to, VECTOR_SAR, whole, 1);
    int power[2] = {half, vector_binary(to, VECTOR_SUB, whole, half)};
    for (int i = 0; i < 2; i++) {
        int biased = vector_binary(to, VECTOR_ADD, power[i], vector_const(to, DT_S32, 127));
        int factor = vector_convert(to, VECTOR_BITS, DT_F32, vector_immediate(to, VECTOR_SHL, biased, 23));
        y = vector_binary(to, VECTOR_MUL, y, factor);
    }
    return y;
}

/* Products of halves; that of the upper ones is beyond the lane. */
static int mul_long(VectorFunction *to, const VectorOp *op) {
    int a = op->arg[0], b = op->arg[1];
    int left = vector_binary(to, VECTOR_MUL_LOWER, vector_immediate(to, VECTOR_SHR, a, 32), b);
    int right = vector_binary(to, VECTOR_MUL_LOWER, a, vector_immediate(to, VECTOR_SHR, b, 32));
    int upper = vector_immediate(to, VECTOR_SHL, vector_binary(to, VECTOR_ADD, left, right), 32);
    return vector_binary(to, VECTOR_ADD, vector_binary(to, VECTOR_MUL_LOWER, a, b), upper);
}

/* The lanes of both, one or the other by the next higher bit of the number. */
static int pick(VectorFunction *to, const VectorOp *op) {
    int lanes = vector_lanes(to, op->type), index = op->arg[2];
    int bit = vector_binary(to, VECTOR_AND, index, vector_const(to, DT_S32, lanes));
    int second = vector_binary(to, VECTOR_EQ, bit, vector_const(to, DT_S32, lanes));
    int a = vector_binary(to, VECTOR_PERMUTE, op->arg[0], index), b = vector_binary(to, VECTOR_PERMUTE, op->arg[1], index);
    return vector_ternary(to, VECTOR_SELECT, second, b, a);
}

/* From both tables; bit 4 of the index says which. */
static int lookup_pair(VectorFunction *f, const VectorOp *op) {
    int table = (int)op->number, high = vector_immediate(f, VECTOR_SHL, op->arg[0], 27);
    int second = vector_binary(f, VECTOR_LT, high, vector_const(f, DT_S32, 0));
    return vector_ternary(f, VECTOR_SELECT, second, vector_lookup(f, table + 1, op->arg[0]), vector_lookup(f, table, op->arg[0]));
}

static int store_bf16(VectorFunction *to, const VectorOp *op) {
    VectorOp store = *op;
    store.type = DT_S32;
    store.from = DT_U16;
    store.arg[0] = vector_immediate(to, VECTOR_SHR, vector_bf16_bits(to, op->arg[0]), 16);
    return vector_append(to, &store);
}

/* Narrow elements of a vector as two of wider ones: bytes as 16 bits (sign or zeros in front), bf16 as f32; those at even places,
 * and those at odd ones. A vector that many products read is taken apart once, until a loop begins or ends. */
typedef enum Wider { WIDER_UNSIGNED, WIDER_SIGNED, WIDER_FLOAT } Wider;
typedef struct Halves {
    int narrow;
    Wider wider;
    int part[2];
} Halves;
typedef struct Memory {
    Halves known[64];
    int count;
} Memory;

static const int *halves(VectorFunction *to, Memory *memory, int narrow, Wider wider) {
    for (int i = 0; i < memory->count; i++)
        if (memory->known[i].narrow == narrow && memory->known[i].wider == wider)
            return memory->known[i].part;
    Halves *new = &memory->known[memory->count < (int)COUNT(memory->known) ? memory->count++ : 0];
    int x = vector_convert(to, VECTOR_BITS, wider == WIDER_FLOAT ? DT_S32 : DT_S16, narrow), even, odd;
    if (wider == WIDER_FLOAT) {
        even = vector_convert(to, VECTOR_BITS, DT_F32, vector_immediate(to, VECTOR_SHL, x, 16));
        odd = vector_convert(to, VECTOR_BITS, DT_F32, vector_binary(to, VECTOR_AND, x, vector_const(to, DT_S32, -0x10000)));
    } else if (wider == WIDER_SIGNED) {
        even = vector_immediate(to, VECTOR_SAR, vector_immediate(to, VECTOR_SHL, x, 8), 8);
        odd = vector_immediate(to, VECTOR_SAR, x, 8);
    } else {
        int both = vector_convert(to, VECTOR_BITS, DT_S32, narrow);
        even = vector_convert(to, VECTOR_BITS, DT_S16, vector_binary(to, VECTOR_AND, both, vector_const(to, DT_S32, 0x00ff00ff)));
        odd = vector_immediate(to, VECTOR_SHR, x, 8);
    }
    *new = (Halves){narrow, wider, {even, odd}};
    return new->part;
}

/* Two products of bf16, which are exact in f32: the odd one first, as machines do. */
static int dot2(VectorFunction *to, Memory *memory, const VectorOp *op) {
    int sum = op->arg[2];
    Halves x, y;
    memcpy(x.part, halves(to, memory, op->arg[0], WIDER_FLOAT), sizeof x.part);
    memcpy(y.part, halves(to, memory, op->arg[1], WIDER_FLOAT), sizeof y.part);
    for (int odd = 1; odd >= 0; odd--)
        sum = vector_ternary(to, VECTOR_FMA, x.part[odd], y.part[odd], sum);
    return sum;
}

/* Four products of bytes: of u8 * s8 where that is native (s8 + 128 is u8, and what is too much is taken off again), else of
 * pairs of 16 bits. */
static int dot4(VectorFunction *to, Memory *memory, const VectorOp *op, const bool native[VECTOR_OP_COUNT]) {
    int a = op->arg[0], b = op->arg[1], sum = op->arg[2];
    if (op->code == VECTOR_DOT4_SS && native[VECTOR_DOT4_US]) {
        int offset = vector_convert(to, VECTOR_BITS, DT_U8, vector_const(to, DT_S32, (int32_t)0x80808080u));
        int shifted = vector_binary(to, VECTOR_XOR, vector_convert(to, VECTOR_BITS, DT_U8, a), offset);
        int more = vector_ternary(to, VECTOR_DOT4_US, offset, b, vector_const(to, DT_S32, 0));
        return vector_binary(to, VECTOR_SUB, vector_ternary(to, VECTOR_DOT4_US, shifted, b, sum), more);
    }
    Halves x, y;
    memcpy(x.part, halves(to, memory, a, op->code == VECTOR_DOT4_SS ? WIDER_SIGNED : WIDER_UNSIGNED), sizeof x.part);
    memcpy(y.part, halves(to, memory, b, WIDER_SIGNED), sizeof y.part);
    for (int odd = 0; odd < 2; odd++)
        sum = vector_ternary(to, VECTOR_DOT2_SS, x.part[odd], y.part[odd], sum);
    return sum;
}

/* `native` says no to STORE where it means stores to bf16 alone. */
static bool is_native(const VectorOp *op, const bool native[VECTOR_OP_COUNT]) {
    if (op->code == VECTOR_STORE || op->code == VECTOR_STORE_FIRST)
        return native[VECTOR_STORE] || op->from != DT_BF16 || op->type != DT_F32;
    bool integer_extreme = (op->code == VECTOR_MIN || op->code == VECTOR_MAX) && dtype_kind(op->type) != KIND_FLOAT;
    return native[op->code] || integer_extreme;
}

/* A MIN or MAX beside a number, which becomes one operation in its place. */
static bool is_exchange(const VectorFunction *f, const VectorOp *op) {
    return (op->code == VECTOR_MIN || op->code == VECTOR_MAX) && (number_not_nan(f, op->arg[0]) || number_not_nan(f, op->arg[1]));
}

/* The same function with operations exchanged in their places: all else is shared with `f`, which no one changes. */
static const VectorFunction *exchange(const VectorFunction *f, const bool native[VECTOR_OP_COUNT], whet_error *err) {
    VectorFunction *to = arena_copy(f->arena, f, sizeof *f);
    if (to)
        to->ops = arena_copy(f->arena, f->ops, (size_t)f->op_count * sizeof *f->ops);
    if (!to || !to->ops)
        return error_memory(err), NULL;
    to->op_capacity = (size_t)f->op_count;
    for (int i = 0; i < f->op_count; i++) {
        VectorOp *op = &to->ops[i];
        if (is_native(op, native))
            continue;
        op->code = op->code == VECTOR_MIN ? VECTOR_MIN_OR : VECTOR_MAX_OR;
        if (!number_not_nan(f, op->arg[0])) { /* the number comes first */
            int number = op->arg[1];
            op->arg[1] = op->arg[0];
            op->arg[0] = number;
        }
    }
    return to;
}

const VectorFunction *vector_rewrite(const VectorFunction *f, const bool native[VECTOR_OP_COUNT], whet_error *err) {
    bool all = true, exchanges = true;
    for (int i = 0; i < f->op_count && exchanges; i++) {
        bool fine = is_native(&f->ops[i], native);
        all = all && fine;
        exchanges = fine || is_exchange(f, &f->ops[i]);
    }
    if (all)
        return f;
    if (exchanges)
        return exchange(f, native, err);
    VectorCopy copy;
    Memory memory = {.count = 0};
    if (!vector_copy_start(&copy, f, err))
        return NULL;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *old = &f->ops[i];
        if (old->code == VECTOR_LOOP || old->code == VECTOR_END)
            memory.count = 0;
        if (old->code == VECTOR_LOOP) {
            vector_copy_loop(&copy, i, NULL, NULL, 0);
            continue;
        }
        if (old->code == VECTOR_END) {
            vector_copy_end(&copy, i, NULL, 0);
            continue;
        }
        if (is_native(old, native)) {
            vector_copy_whole(&copy, i);
            continue;
        }
        VectorOp op = vector_copy_op(&copy, i);
        int result = -1;
        if (op.code == VECTOR_MIN || op.code == VECTOR_MAX)
            result = extreme(copy.to, &op);
        else if (op.code == VECTOR_STORE || op.code == VECTOR_STORE_FIRST)
            result = store_bf16(copy.to, &op);
        else if ((op.code == VECTOR_DOT4_US || op.code == VECTOR_DOT4_SS) && native[VECTOR_DOT2_SS])
            result = dot4(copy.to, &memory, &op, native);
        else if (op.code == VECTOR_DOT2)
            result = dot2(copy.to, &memory, &op);
        else if (op.code == VECTOR_MUL_LONG)
            result = mul_long(copy.to, &op);
        else if (op.code == VECTOR_PICK && copy.to->bytes)
            result = pick(copy.to, &op);
        else if (op.code == VECTOR_LOOKUP_PAIR)
            result = lookup_pair(copy.to, &op);
        else if (op.code == VECTOR_SCALE && op.type == DT_F32)
            result = scale(copy.to, &op);
        else {
            error_set(err, WHET_ERROR_UNSUPPORTED, "this target has no '%s %s'", vector_info[op.code].name, dtype_name(op.type));
            return NULL;
        }
        if (old->result >= 0)
            copy.map[old->result] = result;
    }
    return vector_finish(copy.to, err) ? copy.to : NULL;
}
