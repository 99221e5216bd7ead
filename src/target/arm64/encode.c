/* Functions: parameters, loops, pointers and addresses. What is done with vectors is in neon.c and sve.c.
 *
 * Loads and stores reach little further than their pointer. An address beyond that is added up in a general register that nobody
 * else wants, and stays there until its pointer moves on: the rows of a tile cost one addition each a round. */
#include "target/arm64/arm64.h"

#include <string.h>

/* Registers in order of preference: those a call may destroy come first. x15 to x17 are the encoder's own, x18 is the system's.
 */
static const signed char general[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
static const signed char vectors[] = {0,  1,  2,  3,  4,  5,  6,  7,  16, 17, 18, 19, 20, 21, 22, 23,
                                      24, 25, 26, 27, 28, 29, 30, 31, 8,  9,  10, 11, 12, 13, 14, 15};
enum { FIRST_SAVED = 15, FIRST_SAVED_VECTOR = 24, ARGUMENTS = 0, SECOND_TEMPORARY = 17, THIRD_TEMPORARY = 15, STACK = 31 };
enum { LESS = 11, LESS_EQUAL = 13 };

/* ---- where values are ---- */

static int reg_of(const Arm64Encoder *e, int value) {
    return e->at->reg[value];
}

int arm64_vector_of(const Arm64Encoder *e, int value) {
    return vectors[reg_of(e, value)];
}

int arm64_general_of(const Arm64Encoder *e, int value) {
    return general[reg_of(e, value)];
}

/* p0 stands for "all"; NEON's masks are vectors. */
int arm64_mask_of(const Arm64Encoder *e, int value) {
    return arm64_scalable(e->target) ? reg_of(e, value) + 1 : vectors[reg_of(e, value)];
}

int arm64_scratch(const Arm64Encoder *e, int op, int which) {
    int reg = e->at->scratch[VECTOR_SCRATCH * op + which];
    return reg < 0 ? -1 : vectors[reg]; /* none was asked for */
}

void arm64_refuse(Arm64Encoder *e, const char *why) {
    if (!e->code->failed)
        e->code->failed = why;
}

void arm64_element_bits(DType type, double number, unsigned char out[8]) {
    float f = (float)number;
    int64_t i = type == DT_F32 || type == DT_F64 ? 0 : (int64_t)number; /* of narrower floats the bits are given */
    if (type == DT_F64)
        memcpy(out, &number, 8);
    else if (type == DT_F32)
        memcpy(out, &f, 4);
    else
        memcpy(out, &i, 8); /* little-endian, like the code */
    for (int size = dtype_bits(type) / 8; size < 8; size *= 2)
        memcpy(out + size, out, (size_t)size);
}

/* ---- numbers and addresses ---- */

void arm64_move_number(Arm64Encoder *e, int reg, int64_t number) {
    uint64_t bits = (uint64_t)number, flip = number < 0 ? ~UINT64_C(0) : 0;
    bool first = true;
    for (int shift = 0; shift < 64; shift += 16) {
        uint64_t part = (bits ^ flip) >> shift & 0xffff;
        if (!part && (shift || (bits ^ flip) >> 16))
            continue; /* as it is after the first */
        if (first && flip)
            arm64_emit(e->code, MOVN, reg, (int64_t)part, shift);
        else if (first)
            arm64_emit(e->code, MOVZ, reg, (int64_t)part, shift);
        else
            arm64_emit(e->code, MOVK, reg, (int64_t)(bits >> shift & 0xffff), shift);
        first = false;
    }
}

/* to = from + number. */
static void add_number(Arm64Encoder *e, int to, int from, int64_t number) {
    int64_t size = number < 0 ? -number : number, low = size & 0xfff, high = size >> 12;
    if (high > 0xfff) {
        arm64_move_number(e, ARM64_TEMPORARY, number);
        arm64_emit(e->code, ADD_REG, to, from, ARM64_TEMPORARY, 0);
        return;
    }
    if (high && number < 0)
        arm64_emit(e->code, SUB_IMM_HIGH, to, from, high);
    else if (high)
        arm64_emit(e->code, ADD_IMM_HIGH, to, from, high);
    if (low && number < 0)
        arm64_emit(e->code, SUB_IMM, to, high ? to : from, low);
    else if (low)
        arm64_emit(e->code, ADD_IMM, to, high ? to : from, low);
    if (!size && to != from)
        arm64_emit(e->code, MOV_REG, to, from);
}

/* Registers that keep addresses: x17, x15 (which counts rows of tiles in sme.c), and what the allocator left of those a call may
 * destroy. */
static void find_places(Arm64Encoder *e) {
    e->place[0].reg = SECOND_TEMPORARY;
    e->place[1].reg = THIRD_TEMPORARY;
    e->place_count = arm64_is_unit(e->target) ? 1 : 2;
    for (int i = FIRST_SAVED - 1; i >= e->at->used[CLASS_INDEX] && e->place_count < ARM64_PLACES; i--)
        e->place[e->place_count++].reg = general[i];
}

static void forget_places(Arm64Encoder *e, int base) {
    for (int i = 0; i < e->place_count; i++)
        if (base < 0 || e->place[i].base == base)
            e->place[i].base = -1;
}

static int far_address(Arm64Encoder *e, int base, int64_t offset) {
    for (int i = 0; i < e->place_count; i++)
        if (e->place[i].base == base && e->place[i].offset == offset)
            return e->place[i].reg;
    Arm64Place *place = &e->place[e->next_place++ % e->place_count];
    add_number(e, place->reg, base, offset);
    place->base = base;
    place->offset = offset;
    return place->reg;
}

int arm64_address(Arm64Encoder *e, const VectorAddress *a, int64_t low, int64_t high, int64_t unit, int64_t *offset) {
    int base = arm64_general_of(e, a->base);
    if (a->terms) { /* a counter that stays in the address */
        arm64_emit(e->code, ADD_REG, SECOND_TEMPORARY, base, arm64_general_of(e, a->term[0].index), whole_log2(a->term[0].coef));
        base = SECOND_TEMPORARY;
        e->place[0].base = -1;
    }
    bool near = a->offset >= low && a->offset <= high && a->offset % unit == 0;
    *offset = near ? a->offset : 0;
    if (near)
        return base;
    if (a->terms) {
        add_number(e, base, base, a->offset);
        return base;
    }
    /* In steps of what instructions reach, so that neighbours share one. */
    int64_t reach = high + unit >= 256 && low >= 0 ? (high + unit) / 2 : 0;
    if (reach && a->offset % unit == 0 && a->offset > 0) {
        *offset = a->offset % reach;
        return far_address(e, base, a->offset - *offset);
    }
    return far_address(e, base, a->offset);
}

int arm64_second_temporary(Arm64Encoder *e, int taken) {
    int which = e->place[0].reg == taken;
    e->place[which].base = -1;
    return e->place[which].reg;
}

static void encode_pointer_add(Arm64Encoder *e, const VectorOp *op) {
    int to = arm64_general_of(e, op->result);
    add_number(e, to, arm64_general_of(e, op->arg[0]), (int64_t)op->number);
    forget_places(e, to);
}

static void encode_pointer_index(Arm64Encoder *e, const VectorOp *op) {
    int to = arm64_general_of(e, op->result);
    arm64_move_number(e, ARM64_TEMPORARY, (int64_t)op->number);
    arm64_emit(e->code, MADD, to, arm64_general_of(e, op->arg[1]), ARM64_TEMPORARY, arm64_general_of(e, op->arg[0]));
    forget_places(e, to);
}

static void encode_load_index(Arm64Encoder *e, const VectorOp *op) {
    int64_t offset;
    int base = arm64_address(e, &op->address, 0, 32760, 8, &offset), to = arm64_general_of(e, op->result);
    arm64_emit(e->code, LDR_X, to, base, offset);
    forget_places(e, to);
}

static void encode_prefetch(Arm64Encoder *e, const VectorOp *op) {
    int64_t offset;
    int base = arm64_address(e, &op->address, 0, 32760, 8, &offset);
    if (op->code == VECTOR_PREFETCH_L2)
        arm64_emit(e->code, PRFM_L2, base, offset);
    else
        arm64_emit(e->code, PRFM, base, offset);
}

/* ---- loops ---- */

/* Moves know registers by their place in the order of preference; `spare` stands for one that nobody has. */
enum { SPARE = 100 };

static void emit_move(Arm64Encoder *e, VectorMove m) {
    if (m.class == CLASS_TILE)
        arm64_refuse(e, "tiles that change places");
    else if (m.class == CLASS_INDEX) {
        int to = m.to == SPARE ? ARM64_TEMPORARY : general[m.to], from = m.from == SPARE ? ARM64_TEMPORARY : general[m.from];
        arm64_emit(e->code, MOV_REG, to, from);
    } else if (m.class == CLASS_MASK)
        arm64_sve_move_mask(e, m.to == SPARE ? 7 : m.to + 1, m.from == SPARE ? 7 : m.from + 1);
    else if (arm64_scalable(e->target))
        arm64_sve_move(e, vectors[m.to], vectors[m.from]);
    else
        arm64_neon_move(e, vectors[m.to], vectors[m.from]);
}

/* No vector register is spare: a ^= b, b ^= a, a ^= b. */
static void swap_vectors(Arm64Encoder *e, VectorMove m) {
    for (int i = 0; i < 3; i++) {
        int to = vectors[i == 1 ? m.from : m.to], from = vectors[i == 1 ? m.to : m.from];
        if (arm64_scalable(e->target))
            arm64_emit(e->code, SVE_EOR, to, to, from);
        else
            arm64_emit(e->code, EOR_16B, to, to, from);
    }
}

static void emit_swap(Arm64Encoder *e, VectorMove m) {
    if (m.class == CLASS_VECTOR) {
        swap_vectors(e, m);
        return;
    }
    emit_move(e, (VectorMove){.to = SPARE, .from = m.to, .class = m.class});
    emit_move(e, m);
    emit_move(e, (VectorMove){.to = m.from, .from = SPARE, .class = m.class});
}

/* All at once. */
static void parallel_moves(Arm64Encoder *e, const int *to, const int *from, int count) {
    int left;
    VectorMove *moves = vector_moves(e->f, e->at, to, from, count, &left);
    if (!moves)
        arm64_refuse(e, "out of memory");
    for (int i = 0; i < left; i++)
        (moves[i].swap ? emit_swap : emit_move)(e, moves[i]);
}

static void compare_number(Arm64Encoder *e, int reg, int64_t number) {
    if (number >= 0 && number < 4096)
        arm64_emit(e->code, CMP_IMM, reg, number);
    else if (number >= 0 && number % 4096 == 0 && number / 4096 < 4096)
        arm64_emit(e->code, CMP_IMM_HIGH, reg, number / 4096);
    else {
        arm64_move_number(e, ARM64_TEMPORARY, number);
        arm64_emit(e->code, CMP_REG, reg, ARM64_TEMPORARY);
    }
}

static void encode_loop(Arm64Encoder *e, const VectorOp *op, int at) {
    const int *ids = e->f->ids + op->carried;
    parallel_moves(e, ids + op->carry_count, ids, op->carry_count);
    if (op->limit >= 0) {
        compare_number(e, arm64_general_of(e, op->limit), 0);
        e->exit_jump[at] = e->code->size;
        arm64_emit(e->code, B_COND, LESS_EQUAL, 0);
    } else if (op->number <= 0) {
        e->exit_jump[at] = e->code->size;
        arm64_emit(e->code, B, 0);
    }
    arm64_emit(e->code, MOVZ, arm64_general_of(e, op->result), 0, 0);
    if (vector_is_innermost(e->f, at))
        arm64_align(e->code, 16);
    e->head[at] = e->code->size;
    forget_places(e, -1);
}

static void encode_end(Arm64Encoder *e, const VectorOp *op) {
    const VectorOp *head = &e->f->ops[op->other];
    const int *ids = e->f->ids + op->carried, *inside = e->f->ids + head->carried + head->carry_count;
    int count = op->carry_count;
    parallel_moves(e, inside, ids, count);
    int counter = arm64_general_of(e, head->result);
    if (head->limit >= 0 || head->number > (double)head->step) { /* a single round needs no jump */
        add_number(e, counter, counter, head->step);
        if (head->limit >= 0)
            arm64_emit(e->code, CMP_REG, counter, arm64_general_of(e, head->limit));
        else
            compare_number(e, counter, (int64_t)head->number);
        size_t at = e->code->size;
        arm64_emit(e->code, B_COND, LESS, 0);
        arm64_patch_jump(e->code, at, e->head[op->other]);
    }
    if (e->exit_jump[op->other])
        arm64_patch_jump(e->code, e->exit_jump[op->other], e->code->size);
    forget_places(e, -1);
    parallel_moves(e, ids + count, inside, count);
}

/* ---- the whole ---- */

static void encode_op(Arm64Encoder *e, const VectorOp *op, int at) {
    if (arm64_is_unit(e->target) && arm64_unit_op(e, op, at))
        return;
    switch (op->code) {
    case VECTOR_PREFETCH:
    case VECTOR_PREFETCH_L2: encode_prefetch(e, op); break;
    case VECTOR_POINTER_ADD: encode_pointer_add(e, op); break;
    case VECTOR_POINTER_INDEX: encode_pointer_index(e, op); break;
    case VECTOR_LOAD_INDEX: encode_load_index(e, op); break;
    case VECTOR_LOOP: encode_loop(e, op, at); break;
    case VECTOR_END: encode_end(e, op); break;
    default:
        if (arm64_scalable(e->target))
            arm64_sve_op(e, op, at);
        else
            arm64_neon_op(e, op, at);
    }
}

static void note_line(Arm64Encoder *e, Arm64Line line) {
    Arm64Code *code = e->code;
    if (!arena_grow(code->arena, &code->lines, &code->line_capacity, code->line_count + 1, sizeof *code->lines)) {
        code->failed = "out of memory";
        return;
    }
    line.offset = (uint32_t)code->size;
    line.function = e->function;
    code->lines[code->line_count++] = line;
}

static void note_op(Arm64Encoder *e, const VectorOp *op, int at) {
    Arm64Line line = {.op = at, .code = op->code, .type = op->type};
    line.rounds = op->limit >= 0 || !op->step ? -1 : ((int64_t)op->number + op->step - 1) / op->step;
    note_line(e, line);
}

static void load_parameter(Arm64Encoder *e, int value) {
    Arm64Line line = {.op = -1};
    strncat(line.role, e->f->values[value].name, sizeof line.role - 1);
    note_line(e, line);
    arm64_emit(e->code, LDR_X, arm64_general_of(e, value), ARGUMENTS, 8 * value);
}

static void load_parameters(Arm64Encoder *e) {
    int last = -1; /* whoever gets x0 itself */
    for (int v = 0; v < e->f->parameter_count; v++) {
        if (reg_of(e, v) < 0)
            continue;
        if (arm64_general_of(e, v) == ARGUMENTS)
            last = v;
        else
            load_parameter(e, v);
    }
    if (last >= 0)
        load_parameter(e, last);
}

/* The registers a call must keep: x19 and on, and the low halves of v8 and on. In pairs; an odd one takes its neighbour along. */
static void save_registers(Arm64Encoder *e, bool restore) {
    int generals = (e->at->used[CLASS_INDEX] - FIRST_SAVED + 1) / 2,
        halves = (e->at->used[CLASS_VECTOR] - FIRST_SAVED_VECTOR + 1) / 2;
    if (arm64_is_unit(e->target) && !arm64_is_amx(e->target))
        halves = ((int)COUNT(vectors) - FIRST_SAVED_VECTOR) / 2; /* streaming mode begins and ends with all vectors zero */
    generals = generals > 0 ? generals : 0;
    halves = halves > 0 ? halves : 0;
    int bytes = 16 * (generals + halves);
    if (!bytes)
        return;
    if (!restore)
        arm64_emit(e->code, SUB_IMM, STACK, STACK, bytes);
    for (int i = 0; i < generals + halves; i++) {
        int x = i < generals ? general[FIRST_SAVED + 2 * i] : vectors[FIRST_SAVED_VECTOR + 2 * (i - generals)];
        Arm64Form form = i < generals ? restore ? ARM64_LDP_X : ARM64_STP_X : restore ? ARM64_LDP_D : ARM64_STP_D;
        arm64_put(e->code, form, (const int64_t[ARM64_MAX_OPERANDS]){x, x + 1, STACK, 16 * i});
    }
    if (restore)
        arm64_emit(e->code, ADD_IMM, STACK, STACK, bytes);
}

void arm64_encode(const CodeLowered *lowered, const Target *target, int function, Arm64Code *code) {
    const VectorFunction *f = lowered->f;
    Arm64Encoder e = {.code = code, .f = f, .target = target, .at = &lowered->at, .function = function};
    e.exit_jump = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    e.head = ARENA_ARRAY(f->arena, size_t, (size_t)f->op_count + 1);
    if (f->arena->failed) {
        code->failed = "out of memory";
        return;
    }
    find_places(&e);
    forget_places(&e, -1);
    note_line(&e, (Arm64Line){.op = -1});
    save_registers(&e, false);
    if (arm64_is_unit(target))
        arm64_unit_begin(&e);
    load_parameters(&e);
    if (arm64_scalable(target))
        arm64_sve_begin(&e);
    for (int i = 0; i < f->op_count && !code->failed; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->result >= 0 && reg_of(&e, op->result) < 0 && op->code != VECTOR_LOOP)
            continue; /* nobody reads it, or its users know it */
        note_op(&e, op, i);
        encode_op(&e, op, i);
    }
    note_line(&e, (Arm64Line){.op = f->op_count, .code = VECTOR_OP_COUNT});
    if (arm64_is_unit(target))
        arm64_unit_end(&e);
    save_registers(&e, true);
    arm64_emit(code, RET, 0);
}
