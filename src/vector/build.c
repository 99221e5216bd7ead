/* The builder: appends operations to a function. The first thing that goes wrong is kept in `failed` and everything after it is
 * ignored, so that a schedule is written without an `if` a line and asks once, at the end. */
#include "vector/vector.h"

#include <string.h>

VectorFunction *vector_new_empty(Arena *arena, const char *name, int bytes) {
    VectorFunction *f = ARENA_NEW(arena, VectorFunction);
    if (!f)
        return NULL;
    f->arena = arena;
    f->name = arena_string(arena, name, strlen(name));
    f->bytes = bytes;
    arena_grow(arena, &f->ids, &f->id_capacity, 8, sizeof *f->ids); /* never NULL: loops that carry nothing point into it */
    return arena->failed ? NULL : f;
}

VectorFunction *vector_new(Arena *arena, const char *name, int bytes) {
    VectorFunction *f = vector_new_empty(arena, name, bytes);
    if (!f)
        return NULL;
    /* Room for a usual kernel at once: growing leaves the old copies in the arena. */
    arena_grow(arena, &f->ops, &f->op_capacity, 256, sizeof *f->ops);
    arena_grow(arena, &f->values, &f->value_capacity, 256, sizeof *f->values);
    return arena->failed ? NULL : f;
}

static int fail(VectorFunction *f, const char *why) {
    if (!f->failed)
        f->failed = why;
    return -1;
}

static int new_value(VectorFunction *f, RegisterClass class, DType type, int op) {
    if (!arena_grow(f->arena, &f->values, &f->value_capacity, (size_t)f->value_count + 1, sizeof *f->values))
        return fail(f, "out of memory");
    if (f->value_count == VECTOR_MAX_VALUES)
        return fail(f, "more values than a function holds");
    f->values[f->value_count] = (VectorValue){.class = class, .type = type, .op = op};
    return f->value_count++;
}

static bool new_ids(VectorFunction *f, int count, int *first) {
    if (!arena_grow(f->arena, &f->ids, &f->id_capacity, (size_t)f->id_count + (size_t)count, sizeof *f->ids))
        return fail(f, "out of memory"), false;
    *first = f->id_count;
    f->id_count += count;
    return true;
}

int vector_parameter(VectorFunction *f, RegisterClass class, const char *name) {
    if (f->failed)
        return -1;
    if (f->op_count || f->parameter_count == VECTOR_MAX_PARAMETERS)
        return fail(f, "too many parameters, or one after the first operation");
    int id = new_value(f, class, DT_NONE, -1);
    if (id >= 0) {
        f->values[id].name = arena_string(f->arena, name, strlen(name));
        f->parameter_count++;
    }
    return id;
}

int vector_append(VectorFunction *f, const VectorOp *op) {
    if (f->failed)
        return -1;
    if (!arena_grow(f->arena, &f->ops, &f->op_capacity, (size_t)f->op_count + 1, sizeof *f->ops))
        return fail(f, "out of memory");
    int at = f->op_count++;
    VectorOp *mine = &f->ops[at];
    *mine = *op;
    mine->result = -1;
    RegisterClass class = vector_class(vector_info[op->code].result);
    if (class != CLASS_NONE) {
        DType type = class == CLASS_INDEX || class == CLASS_POINTER ? DT_NONE : op->type;
        int result = new_value(f, class, type, at);
        f->ops[at].result = result;
        return result;
    }
    return -1;
}

/* An operation with nothing in it yet. */
static VectorOp blank(VectorCode code, DType type) {
    VectorOp op = {.code = code, .type = type, .from = DT_NONE, .result = -1, .mask = -1, .limit = -1, .other = -1};
    for (int i = 0; i < VECTOR_MAX_ARGS; i++)
        op.arg[i] = -1;
    op.address.base = -1;
    return op;
}

static DType type_of(VectorFunction *f, int value) {
    if (value < 0 || value >= f->value_count)
        return fail(f, "an operand that does not exist"), DT_NONE;
    return f->values[value].type;
}

VectorAddress vector_at(int base, int64_t offset) {
    return (VectorAddress){.base = base, .offset = offset};
}

VectorAddress vector_plus(VectorAddress address, int index, int64_t coef) {
    if (!coef)
        return address;
    int t = 0;
    while (t < address.terms && address.term[t].index != index)
        t++;
    int64_t sum = t < address.terms ? address.term[t].coef : 0;
    if (t == VECTOR_MAX_TERMS || !checked_add(sum, coef, &sum) || sum >= VECTOR_MAX_COEF || sum < -VECTOR_MAX_COEF) {
        address.base = -1; /* the checker and the builder refuse it */
        return address;
    }
    if (t == address.terms)
        address.terms++;
    address.term[t].index = index;
    address.term[t].coef = sum;
    return address;
}

VectorAddress vector_offset(VectorAddress address, int64_t offset) {
    address.offset += offset;
    return address;
}

int vector_const(VectorFunction *f, DType type, double number) {
    VectorOp op = blank(VECTOR_CONST, type);
    op.number = number;
    return vector_append(f, &op);
}

int vector_load(VectorFunction *f, DType type, DType memory, VectorAddress address, int mask) {
    VectorOp op = blank(VECTOR_LOAD, type);
    op.from = memory;
    op.address = address;
    op.mask = mask;
    return address.base < 0 ? fail(f, "an address of too many terms, or of too large ones") : vector_append(f, &op);
}

int vector_splat(VectorFunction *f, DType type, DType memory, VectorAddress address) {
    VectorOp op = blank(VECTOR_SPLAT, type);
    op.from = memory;
    op.address = address;
    return address.base < 0 ? fail(f, "an address of too many terms, or of too large ones") : vector_append(f, &op);
}

int vector_gather(VectorFunction *f, DType type, DType memory, VectorAddress address, int scale, int index, int mask) {
    VectorOp op = blank(VECTOR_GATHER, type);
    op.from = memory;
    op.address = address;
    op.arg[0] = index;
    op.number = scale;
    op.mask = mask;
    return address.base < 0 ? fail(f, "an address of too many terms, or of too large ones") : vector_append(f, &op);
}

int vector_iota(VectorFunction *f, DType type, int64_t step) {
    VectorOp op = blank(VECTOR_IOTA, type);
    op.number = (double)step;
    return vector_append(f, &op);
}

static void store(VectorFunction *f, VectorCode code, DType memory, int value, VectorAddress address, int mask) {
    VectorOp op = blank(code, type_of(f, value));
    op.from = memory;
    op.address = address;
    op.arg[0] = value;
    op.mask = mask;
    if (address.base < 0)
        fail(f, "an address of too many terms, or of too large ones");
    else
        vector_append(f, &op);
}

void vector_store(VectorFunction *f, DType memory, int value, VectorAddress address, int mask) {
    store(f, VECTOR_STORE, memory, value, address, mask);
}

void vector_store_first(VectorFunction *f, DType memory, int value, VectorAddress address) {
    store(f, VECTOR_STORE_FIRST, memory, value, address, -1);
}

void vector_prefetch(VectorFunction *f, VectorAddress address) {
    VectorOp op = blank(VECTOR_PREFETCH, DT_NONE);
    op.address = address;
    vector_append(f, &op);
}

int vector_unary(VectorFunction *f, VectorCode code, int a) {
    VectorOp op = blank(code, type_of(f, a));
    op.arg[0] = a;
    return vector_append(f, &op);
}

int vector_binary(VectorFunction *f, VectorCode code, int a, int b) {
    VectorOp op = blank(code, type_of(f, a));
    op.arg[0] = a;
    op.arg[1] = b;
    if (code == VECTOR_PERMUTE)
        op.from = DT_S32;
    return vector_append(f, &op);
}

int vector_ternary(VectorFunction *f, VectorCode code, int a, int b, int c) {
    VectorOp op = blank(code, type_of(f, c)); /* of the accumulator, or of what is selected */
    op.arg[0] = a;
    op.arg[1] = b;
    op.arg[2] = c;
    if (strchr(vector_info[code].args, 'W'))
        op.from = type_of(f, a);
    return vector_append(f, &op);
}

int vector_fma_lane(VectorFunction *f, int a, int b, int c, int lane) {
    VectorOp op = blank(VECTOR_FMA_LANE, type_of(f, c));
    op.arg[0] = a;
    op.arg[1] = b;
    op.arg[2] = c;
    op.number = lane;
    return vector_append(f, &op);
}

int vector_immediate(VectorFunction *f, VectorCode code, int a, double number) {
    VectorOp op = blank(code, type_of(f, a));
    op.arg[0] = a;
    op.number = number;
    return vector_append(f, &op);
}

int vector_convert(VectorFunction *f, VectorCode code, DType type, int a) {
    VectorOp op = blank(code, type);
    op.from = type_of(f, a);
    op.arg[0] = a;
    return vector_append(f, &op);
}

int vector_round_to(VectorFunction *f, DType type, int a) {
    VectorOp op = blank(VECTOR_ROUND_TO, type_of(f, a));
    op.from = type;
    op.arg[0] = a;
    return vector_append(f, &op);
}

int vector_mask_first(VectorFunction *f, DType type, int lanes) {
    VectorOp op = blank(VECTOR_MASK_FIRST, type);
    op.number = lanes;
    return vector_append(f, &op);
}

int vector_mask_below(VectorFunction *f, DType type, int index) {
    VectorOp op = blank(VECTOR_MASK_BELOW, type);
    op.arg[0] = index;
    return vector_append(f, &op);
}

/* In blocks of 4 x 4 within 128 bits first; then blocks change places, halves of a register at a time. */
void vector_transpose(VectorFunction *f, int *rows) {
    enum { MOST = VECTOR_MAX_BYTES / 4 };
    int lanes = f->bytes / 4, next[MOST];
    if (!lanes || lanes > MOST) {
        fail(f, "a transpose in registers of unknown length");
        return;
    }
    DType type = type_of(f, rows[0]);
    for (int i = 0; i < lanes; i += 4) {
        int pair[4];
        for (int j = 0; j < 4; j++) {
            int zipped = vector_binary(f, j % 2 ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, rows[i + j / 2 * 2], rows[i + j / 2 * 2 + 1]);
            pair[j] = vector_convert(f, VECTOR_BITS, DT_F64, zipped);
        }
        for (int j = 0; j < 4; j++) {
            int column = vector_binary(f, j % 2 ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, pair[j / 2], pair[2 + j / 2]);
            next[i + j] = vector_convert(f, VECTOR_BITS, type, column);
        }
    }
    /* next[4 * g + j] holds, for each block b, rows 4 * g ... at column 4 * b + j */
    for (int blocks = lanes / 4; blocks > 1; blocks /= 2) {
        memcpy(rows, next, (size_t)lanes * sizeof *rows);
        for (int g = 0; g < lanes / 4; g += 2)
            for (int j = 0; j < 4; j++)
                for (int odd = 0; odd < 2; odd++) {
                    int at = lanes / 4 == 2 ? odd : blocks == 4 ? odd * 2 + g / 2 : g / 2 + odd * 2;
                    next[4 * at + j] =
                        vector_binary(f, odd ? VECTOR_BLOCK_ODD : VECTOR_BLOCK_EVEN, rows[4 * g + j], rows[4 * (g + 1) + j]);
                }
    }
    memcpy(rows, next, (size_t)lanes * sizeof *rows);
}

int vector_loop(VectorFunction *f, int limit, int64_t count, int64_t step, const int *initial, int *inside, int carry_count) {
    if (f->failed)
        return -1;
    if (f->depth == (int)COUNT(f->open))
        return fail(f, "loops nested too deep");
    VectorOp op = blank(VECTOR_LOOP, DT_NONE);
    op.limit = limit;
    op.number = (double)count;
    op.step = step;
    op.carry_count = carry_count;
    if (!new_ids(f, 2 * carry_count, &op.carried))
        return -1;
    int counter = vector_append(f, &op), at = f->op_count - 1;
    for (int i = 0; i < carry_count; i++) {
        DType type = type_of(f, initial[i]);
        if (f->failed)
            return -1;
        inside[i] = new_value(f, f->values[initial[i]].class, type, at);
        f->ids[op.carried + i] = initial[i];
        f->ids[op.carried + carry_count + i] = inside[i];
    }
    if (counter >= 0)
        f->open[f->depth++] = at;
    return counter;
}

void vector_end(VectorFunction *f, const int *next, int *after) {
    if (f->failed)
        return;
    if (!f->depth) {
        fail(f, "the end of a loop that was never opened");
        return;
    }
    int head = f->open[--f->depth], count = f->ops[head].carry_count;
    VectorOp op = blank(VECTOR_END, DT_NONE);
    op.carry_count = count;
    op.other = head;
    if (!new_ids(f, 2 * count, &op.carried))
        return;
    vector_append(f, &op);
    int at = f->op_count - 1;
    f->ops[head].other = at;
    for (int i = 0; i < count; i++) {
        DType type = type_of(f, next[i]);
        if (f->failed)
            return;
        after[i] = new_value(f, f->values[next[i]].class, type, at);
        f->ids[op.carried + i] = next[i];
        f->ids[op.carried + count + i] = after[i];
    }
}

bool vector_finish(VectorFunction *f, whet_error *err) {
    if (!f->failed && f->depth)
        fail(f, "a loop is left open");
    if (!f->failed)
        return true;
    if (f->arena->failed)
        error_memory(err);
    else
        error_set(err, WHET_ERROR_INTERNAL, "vector code '%s': %s", f->name, f->failed);
    return false;
}
