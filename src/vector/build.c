/* The builder: appends operations to a function. The first thing that goes wrong is kept in `failed` and everything after it is
 * ignored, so that a schedule is written without an `if` a line and asks once, at the end. */
#include "vector/vector.h"

#include <string.h>

enum { USUAL_OPS = 512, USUAL_VALUES = 256 }; /* growing leaves the old copies in the arena */

VectorFunction *vector_new_sized(Arena *arena, const char *name, int bytes, int ops, int values) {
    VectorFunction *f = ARENA_NEW(arena, VectorFunction);
    if (!f)
        return NULL;
    f->arena = arena;
    f->name = arena_string(arena, name, strlen(name));
    f->bytes = bytes;
    f->op_capacity = (size_t)ops;
    f->value_capacity = (size_t)values;
    f->ops = arena_take(arena, f->op_capacity, sizeof *f->ops); /* not cleared: most functions are short */
    f->values = arena_take(arena, f->value_capacity, sizeof *f->values);
    arena_grow(arena, &f->ids, &f->id_capacity, 8, sizeof *f->ids); /* never NULL: loops that carry nothing point into it */
    return arena->failed ? NULL : f;
}

VectorFunction *vector_new(Arena *arena, const char *name, int bytes) {
    return vector_new_sized(arena, name, bytes, USUAL_OPS, USUAL_VALUES);
}

static int fail(VectorFunction *f, const char *why) {
    if (!f->failed)
        f->failed = why;
    return -1;
}

/* Room for one more, not cleared: it is written at once. */
static bool grow(VectorFunction *f, void *array, size_t *capacity, size_t size) {
    char *old, *grown = arena_take(f->arena, 2 * *capacity, size);
    if (!grown)
        return fail(f, "out of memory"), false;
    memcpy(&old, array, sizeof old);
    memcpy(grown, old, *capacity * size);
    memcpy(array, &grown, sizeof grown);
    *capacity *= 2;
    return true;
}

static int new_value(VectorFunction *f, RegisterClass class, DType type, int op) {
    if ((size_t)f->value_count == f->value_capacity && !grow(f, &f->values, &f->value_capacity, sizeof *f->values))
        return -1;
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

static VectorOp *grow_ops(VectorFunction *f) {
    if (f->failed || ((size_t)f->op_count == f->op_capacity && !grow(f, &f->ops, &f->op_capacity, sizeof *f->ops)))
        return NULL;
    return &f->ops[f->op_count++];
}

/* Gives the last operation its result. */
static int define(VectorFunction *f) {
    int at = f->op_count - 1;
    VectorOp *op = &f->ops[at];
    RegisterClass class = vector_info[op->code].class;
    op->result = -1;
    if (class != CLASS_NONE)
        op->result = new_value(f, class, class == CLASS_INDEX || class == CLASS_POINTER ? DT_NONE : op->type, at);
    return op->result;
}

int vector_append(VectorFunction *f, const VectorOp *op) {
    VectorOp *mine = grow_ops(f);
    if (!mine)
        return -1;
    *mine = *op;
    return define(f);
}

/* Copied: compilers clear a structure of this size by an instruction that takes longer. */
static const VectorOp blank = {
    .from = DT_NONE, .result = -1, .arg = {-1, -1, -1}, .mask = -1, .address.base = -1, .limit = -1, .other = -1};

/* An operation with nothing in it yet, in its place; NULL: it is too late. */
static VectorOp *begin(VectorFunction *f, VectorCode code, DType type) {
    VectorOp *op = grow_ops(f);
    if (!op)
        return NULL;
    *op = blank;
    op->code = code;
    op->type = type;
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

static int memory_op(VectorFunction *f, VectorCode code, DType type, DType memory, const VectorAddress *address, int arg,
                     int mask) {
    if (address->base < 0)
        return fail(f, "an address of too many terms, or of too large ones");
    VectorOp *op = begin(f, code, type);
    if (!op)
        return -1;
    op->from = memory;
    op->address = *address;
    op->arg[0] = arg;
    op->mask = mask;
    return define(f);
}

int vector_load(VectorFunction *f, DType type, DType memory, VectorAddress address, int mask) {
    return memory_op(f, VECTOR_LOAD, type, memory, &address, -1, mask);
}

int vector_splat(VectorFunction *f, DType type, DType memory, VectorAddress address) {
    return memory_op(f, VECTOR_SPLAT, type, memory, &address, -1, -1);
}

int vector_load_block(VectorFunction *f, DType type, VectorAddress address) {
    return memory_op(f, VECTOR_LOAD_BLOCK, type, type, &address, -1, -1);
}

int vector_gather(VectorFunction *f, DType type, DType memory, VectorAddress address, int scale, int index, int mask) {
    int result = memory_op(f, VECTOR_GATHER, type, memory, &address, index, mask);
    if (result >= 0)
        f->ops[f->op_count - 1].number = scale;
    return result;
}

void vector_store(VectorFunction *f, DType memory, int value, VectorAddress address, int mask) {
    memory_op(f, VECTOR_STORE, type_of(f, value), memory, &address, value, mask);
}

void vector_store_first(VectorFunction *f, DType memory, int value, VectorAddress address) {
    memory_op(f, VECTOR_STORE_FIRST, type_of(f, value), memory, &address, value, -1);
}

/* Operations of registers and a number alone. */
static int plain_op(VectorFunction *f, VectorCode code, DType type, DType from, int a, int b, int c, double number) {
    VectorOp *op = begin(f, code, type);
    if (!op)
        return -1;
    op->from = from;
    op->arg[0] = a;
    op->arg[1] = b;
    op->arg[2] = c;
    op->number = number;
    return define(f);
}

int vector_const(VectorFunction *f, DType type, double number) {
    return plain_op(f, VECTOR_CONST, type, DT_NONE, -1, -1, -1, number);
}

int vector_iota(VectorFunction *f, DType type, int64_t step) {
    return plain_op(f, VECTOR_IOTA, type, DT_NONE, -1, -1, -1, (double)step);
}

void vector_prefetch(VectorFunction *f, VectorAddress address) {
    memory_op(f, VECTOR_PREFETCH, DT_NONE, DT_NONE, &address, -1, -1);
}

void vector_prefetch_l2(VectorFunction *f, VectorAddress address) {
    memory_op(f, VECTOR_PREFETCH_L2, DT_NONE, DT_NONE, &address, -1, -1);
}

int vector_pick(VectorFunction *f, int a, int b, int lanes) {
    return plain_op(f, VECTOR_PICK, type_of(f, a), DT_S32, a, b, lanes, 0);
}

int vector_load_index(VectorFunction *f, VectorAddress address) {
    return memory_op(f, VECTOR_LOAD_INDEX, DT_NONE, DT_NONE, &address, -1, -1);
}

int vector_pointer_index(VectorFunction *f, int pointer, int index, int64_t bytes) {
    return plain_op(f, VECTOR_POINTER_INDEX, DT_NONE, DT_NONE, pointer, index, -1, (double)bytes);
}

int vector_lookup(VectorFunction *f, int table, int index) {
    return plain_op(f, VECTOR_LOOKUP, DT_F32, DT_S32, index, -1, -1, table);
}

int vector_lookup_pair(VectorFunction *f, int table, int index) {
    return plain_op(f, VECTOR_LOOKUP_PAIR, DT_F32, DT_S32, index, -1, -1, table);
}

int vector_unary(VectorFunction *f, VectorCode code, int a) {
    return plain_op(f, code, type_of(f, a), DT_NONE, a, -1, -1, 0);
}

int vector_binary(VectorFunction *f, VectorCode code, int a, int b) {
    return plain_op(f, code, type_of(f, a), code == VECTOR_PERMUTE ? DT_S32 : DT_NONE, a, b, -1, 0);
}

int vector_ternary(VectorFunction *f, VectorCode code, int a, int b, int c) {
    DType type = type_of(f, c); /* of the accumulator, or of what is selected */
    return plain_op(f, code, type, strchr(vector_info[code].args, 'W') ? type_of(f, a) : DT_NONE, a, b, c, 0);
}

int vector_by_lane(VectorFunction *f, VectorCode code, int a, int b, int c, int lane) {
    return plain_op(f, code, type_of(f, c), code == VECTOR_FMA_LANE ? DT_NONE : type_of(f, a), a, b, c, lane);
}

int vector_immediate(VectorFunction *f, VectorCode code, int a, double number) {
    return plain_op(f, code, type_of(f, a), DT_NONE, a, -1, -1, number);
}

int vector_convert(VectorFunction *f, VectorCode code, DType type, int a) {
    return plain_op(f, code, type, type_of(f, a), a, -1, -1, 0);
}

int vector_round_to(VectorFunction *f, DType type, int a) {
    return plain_op(f, VECTOR_ROUND_TO, type_of(f, a), type, a, -1, -1, 0);
}

int vector_bf16_bits(VectorFunction *f, int x) {
    int bits = vector_convert(f, VECTOR_BITS, DT_S32, x);
    int odd = vector_binary(f, VECTOR_AND, vector_immediate(f, VECTOR_SHR, bits, 16), vector_const(f, DT_S32, 1));
    int sum = vector_binary(f, VECTOR_ADD, vector_binary(f, VECTOR_ADD, bits, vector_const(f, DT_S32, 0x7fff)), odd);
    int quiet = vector_binary(f, VECTOR_OR, bits, vector_const(f, DT_S32, 0x400000));
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_UNORDERED, x, x), quiet, sum);
}

int vector_mask_first(VectorFunction *f, DType type, int lanes) {
    return plain_op(f, VECTOR_MASK_FIRST, type, DT_NONE, -1, -1, -1, lanes);
}

int vector_mask_below(VectorFunction *f, DType type, int index) {
    return plain_op(f, VECTOR_MASK_BELOW, type, DT_NONE, index, -1, -1, 0);
}

static void shape_tile(VectorFunction *f, int64_t pitch, int rows) {
    if (f->failed)
        return;
    f->ops[f->op_count - 1].number = (double)pitch;
    f->ops[f->op_count - 1].step = rows;
}

int vector_tile_zero(VectorFunction *f, DType type, int rows) {
    int tile = plain_op(f, VECTOR_TILE_ZERO, type, DT_NONE, -1, -1, -1, 0);
    shape_tile(f, 0, rows);
    return tile;
}

int vector_tile_load(VectorFunction *f, DType type, VectorAddress address, int64_t pitch, int rows) {
    int tile = memory_op(f, VECTOR_TILE_LOAD, type, type, &address, -1, -1);
    shape_tile(f, pitch, rows);
    return tile;
}

void vector_tile_store(VectorFunction *f, int tile, VectorAddress address, int64_t pitch, int rows) {
    DType type = type_of(f, tile);
    memory_op(f, VECTOR_TILE_STORE, type, type, &address, tile, -1);
    shape_tile(f, pitch, rows);
}

/* Squares of as many lanes as 128 bits hold. */
static void transpose_blocks(VectorFunction *f, const int *rows, int lanes, int *to) {
    for (int i = 0; i < lanes; i += 4) {
        int pair[4];
        for (int j = 0; j < 4; j++) {
            int zipped = vector_binary(f, j % 2 ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, rows[i + j / 2 * 2], rows[i + j / 2 * 2 + 1]);
            pair[j] = vector_convert(f, VECTOR_BITS, DT_F64, zipped);
        }
        for (int j = 0; j < 4; j++)
            to[i + j] = vector_binary(f, j % 2 ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, pair[j / 2], pair[2 + j / 2]);
    }
}

/* Within 128 bits first; then blocks of these change places, halves of a register at a time. */
void vector_transpose(VectorFunction *f, int *rows) {
    enum { MOST = VECTOR_MAX_BYTES / 4 };
    if (f->failed) /* rows are no values then, and have no type */
        return;
    DType type = type_of(f, rows[0]);
    int lanes = vector_lanes(f, type), each = 128 / (int)dtype_bits(type), groups = lanes / each, next[MOST];
    if (!lanes || lanes > MOST) {
        fail(f, "a transpose in registers of unknown length");
        return;
    }
    if (each == 4)
        transpose_blocks(f, rows, lanes, next);
    for (int i = 0; each == 2 && i < lanes; i++)
        next[i] = vector_binary(f, i % 2 ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, rows[i / 2 * 2], rows[i / 2 * 2 + 1]);
    for (int i = 0; i < lanes; i++)
        next[i] = vector_convert(f, VECTOR_BITS, DT_S32, next[i]);
    /* next[each * g + j] holds, for each block b, rows each * g ... at column each * b + j */
    for (int blocks = groups; blocks > 1; blocks /= 2) {
        memcpy(rows, next, (size_t)lanes * sizeof *rows);
        for (int g = 0; g < groups; g += 2)
            for (int j = 0; j < each; j++)
                for (int odd = 0; odd < 2; odd++) {
                    int at = groups == 2 ? odd : blocks == 4 ? odd * 2 + g / 2 : g / 2 + odd * 2;
                    next[each * at + j] = vector_binary(f, odd ? VECTOR_BLOCK_ODD : VECTOR_BLOCK_EVEN, rows[each * g + j],
                                                        rows[each * (g + 1) + j]);
                }
    }
    for (int i = 0; i < lanes; i++)
        rows[i] = type == DT_S32 ? next[i] : vector_convert(f, VECTOR_BITS, type, next[i]);
}

int vector_loop(VectorFunction *f, int limit, int64_t count, int64_t step, const int *initial, int *inside, int carry_count) {
    if (f->failed)
        return -1;
    if (f->depth == (int)COUNT(f->open))
        return fail(f, "loops nested too deep");
    int first;
    if (!new_ids(f, 2 * carry_count, &first))
        return -1;
    VectorOp *op = begin(f, VECTOR_LOOP, DT_NONE);
    if (!op)
        return -1;
    op->limit = limit;
    op->number = (double)count;
    op->step = step;
    op->carry_count = carry_count;
    op->carried = first;
    int counter = define(f), at = f->op_count - 1;
    for (int i = 0; i < carry_count; i++) {
        DType type = type_of(f, initial[i]);
        if (f->failed)
            return -1;
        inside[i] = new_value(f, f->values[initial[i]].class, type, at);
        f->ids[first + i] = initial[i];
        f->ids[first + carry_count + i] = inside[i];
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
    int head = f->open[--f->depth], count = f->ops[head].carry_count, first;
    if (count && !next) { /* a template that gave up inside left its loop open */
        fail(f, "the end of a loop that carries values, without them");
        return;
    }
    if (!new_ids(f, 2 * count, &first))
        return;
    VectorOp *op = begin(f, VECTOR_END, DT_NONE);
    if (!op)
        return;
    op->carry_count = count;
    op->carried = first;
    op->other = head;
    int at = f->op_count - 1;
    f->ops[head].other = at;
    for (int i = 0; i < count; i++) {
        DType type = type_of(f, next[i]);
        if (f->failed)
            return;
        after[i] = new_value(f, f->values[next[i]].class, type, at);
        f->ids[first + i] = next[i];
        f->ids[first + count + i] = after[i];
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
