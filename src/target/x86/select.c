/* Selection: loads, splats and constants that their one user can take as a memory operand need no register and no instruction.
 *
 * Requires lowered addresses. A load may move down to its user only where nothing is stored and no loop begins or ends between
 * the two; a constant may move anywhere, to all of its users or to none. */
#include "target/x86/x86.h"

/* The operands an operation can take from memory, as bits. */
static unsigned memory_operands(VectorCode code) {
    switch (code) {
    case VECTOR_ADD:
    case VECTOR_MUL:
    case VECTOR_MUL_LONG:
    case VECTOR_MUL_LOWER:
    case VECTOR_MIN:
    case VECTOR_MAX:
    case VECTOR_AND:
    case VECTOR_OR:
    case VECTOR_XOR:
    case VECTOR_EQ:
    case VECTOR_NE:
    case VECTOR_UNORDERED: return 3; /* commutative: either */
    case VECTOR_SUB:
    case VECTOR_DIV:
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR:
    case VECTOR_SCALE:
    case VECTOR_AND_NOT:
    case VECTOR_LT:
    case VECTOR_LE: return 2;
    case VECTOR_FMA:
    case VECTOR_FNMA: return 7;
    case VECTOR_SQRT:
    case VECTOR_FLOOR:
    case VECTOR_CEIL:
    case VECTOR_TRUNC:
    case VECTOR_ROUND:
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND: return 1;
    case VECTOR_SELECT:
    case VECTOR_SHL_BY:
    case VECTOR_SHR_BY:
    case VECTOR_SAR_BY:
    case VECTOR_DOT4_US:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT2: return 2;
    default: return 0;
    }
}

/* AVX2 compares integers for "equal" and "greater" alone, by two registers where the result is turned round. */
static bool integer_compare(const VectorOp *op) {
    return (op->code == VECTOR_NE || op->code == VECTOR_LT || op->code == VECTOR_LE) && dtype_kind(op->type) != KIND_FLOAT;
}

static unsigned may_take(const Target *target, const VectorOp *user) {
    if (target->bytes < 64 && integer_compare(user))
        return 0;
    if (user->code == VECTOR_CVT &&
        (user->type == DT_F64 || user->from == DT_F64 || user->from == DT_S64)) /* lanes move in registers */
        return 0;
    return memory_operands(user->code);
}

static bool plain_memory(const Target *target, const VectorOp *op) {
    if (op->code == VECTOR_CONST) /* one element of memory can fill a register where it has 32 bits or more */
        return target->bytes < 64 || dtype_bits(op->type) >= 32;
    if (op->code == VECTOR_LOAD)
        return op->from == op->type && op->mask < 0;
    return op->code == VECTOR_SPLAT && op->from == op->type && target->bytes == 64 && dtype_bits(op->type) >= 32;
}

static bool nothing_between(const VectorFunction *f, int from, int to) {
    for (int i = from + 1; i < to; i++)
        if (f->ops[i].code == VECTOR_STORE || f->ops[i].code == VECTOR_STORE_FIRST || f->ops[i].code == VECTOR_LOOP ||
            f->ops[i].code == VECTOR_END)
            return false;
    return true;
}

_Static_assert(VECTOR_MAX_ARGS == 3, "count_uses compares an operand with two others");

typedef struct Uses { /* of a value */
    int count;
    bool blocked; /* one of them cannot take memory */
} Uses;

static void count_uses(const VectorFunction *f, const Target *target, Uses *uses) {
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        const unsigned takes = may_take(target, op);
        for (int k = 0, args = vector_arg_count(op->code); k < args; k++) {
            int v = op->arg[k];
            bool twice =
                v == op->arg[(k + 1) % VECTOR_MAX_ARGS] || v == op->arg[(k + 2) % VECTOR_MAX_ARGS]; /* -1: there is none */
            uses[v].count++;
            uses[v].blocked |= twice || !(takes >> k & 1);
        }
        for (int c = 0; c < op->carry_count; c++) {
            uses[f->ids[op->carried + c]].count++;
            uses[f->ids[op->carried + c]].blocked = true;
        }
    }
}

/* Constants before every loop are there to stay in registers. */
static int first_loop(const VectorFunction *f) {
    int i = 0;
    while (i < f->op_count && f->ops[i].code != VECTOR_LOOP)
        i++;
    return i < f->op_count ? i : -1;
}

/* A constant folds only where each of its users is left with a register for the rest: one memory operand an instruction. So
 * every user is asked in order, and takes the first of its operands that wants to fold; constants that lose get a register. */
static void fold(const VectorFunction *f, const Target *target, const Uses *uses, bool *folded) {
    int loop = first_loop(f);
    for (int v = 0; v < f->value_count; v++) {
        int at = f->values[v].op;
        bool constant = at >= 0 && f->ops[at].code == VECTOR_CONST;
        folded[v] = at >= 0 && uses[v].count && !uses[v].blocked && plain_memory(target, &f->ops[at]) &&
                    (constant ? at >= loop : uses[v].count == 1);
        if (at >= 0 && f->ops[at].code == VECTOR_TILE_LOAD)
            folded[v] = true; /* tiles.c loads it where it is multiplied */
    }
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        int taken = -1;
        for (int k = 0, args = vector_arg_count(op->code); k < args; k++) {
            int v = op->arg[k];
            if (!folded[v] || f->values[v].class != CLASS_VECTOR)
                continue;
            bool constant = f->ops[f->values[v].op].code == VECTOR_CONST;
            if (!constant && !nothing_between(f, f->values[v].op, i))
                folded[v] = false;
            else if (taken < 0)
                taken = v;
            else
                folded[v] = false; /* an earlier user may have counted on it: it then finds a register, which is fine */
        }
    }
}

static int folded_operand(const bool *folded, const VectorOp *op) {
    for (int k = 0, args = vector_arg_count(op->code); k < args; k++)
        if (folded[op->arg[k]])
            return k;
    return -1;
}

static unsigned char scratch_of(const Target *target, const VectorOp *op) {
    switch (op->code) {
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX:
    case VECTOR_MASK_BELOW: return 1;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: return op->from != op->type;
    case VECTOR_GATHER: return 2;
    case VECTOR_LOOKUP: return target->bytes < 64 ? 2 : 0;
    case VECTOR_DOT2_SS: return !(target->features & (target->bytes < 64 ? FEATURE(AVX_VNNI) : FEATURE(AVX512_VNNI)));
    default: return target->bytes < 64 && integer_compare(op) && op->code != VECTOR_LT;
    }
}

bool x86_select(const VectorFunction *f, const Target *target, CodeSelection *out, whet_error *err) {
    size_t values = (size_t)f->value_count + 1;
    Uses *uses = ARENA_ARRAY(f->arena, Uses, values);
    if (!code_select_new(f, out, err))
        return false;
    count_uses(f, target, uses);
    fold(f, target, uses, out->none);
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        out->tie[i] = (signed char)vector_info[op->code].tie;
        out->scratch[i] = scratch_of(target, op);
        out->late[i] = op->code == VECTOR_EVEN || op->code == VECTOR_ODD || op->code == VECTOR_DOT4_US ||
                       op->code == VECTOR_DOT2_SS || op->code == VECTOR_DOT2 || op->code == VECTOR_GATHER ||
                       op->code == VECTOR_PICK || op->code == VECTOR_LOOKUP_PAIR;
        int memory = folded_operand(out->none, op);
        if (memory >= 0 && memory == out->tie[i]) /* take over another operand that is in a register */
            out->tie[i] = op->code == VECTOR_FMA || op->code == VECTOR_FNMA ? 0 : vector_arg_count(op->code) > 1 ? 1 : -1;
    }
    return true;
}

void x86_native(const Target *target, bool native[VECTOR_OP_COUNT]) {
    static const VectorCode missing[] = {
        VECTOR_MIN,      VECTOR_MAX,          VECTOR_FMA_LANE,     VECTOR_MMLA,    VECTOR_OUTER,
        VECTOR_TILE_ROW, VECTOR_DOT4_SS,      VECTOR_DOT4_US,      VECTOR_DOT2,    VECTOR_STORE /* to bf16 */,
        VECTOR_DOT4_UU,  VECTOR_DOT4_SS_LANE, VECTOR_DOT4_UU_LANE, VECTOR_MMLA_US, VECTOR_LOAD_BLOCK};
    const uint64_t vnni = target->bytes == 64 ? FEATURE(AVX512_VNNI) : FEATURE(AVX_VNNI);
    for (int i = 0; i < VECTOR_OP_COUNT; i++)
        native[i] = true;
    for (int i = VECTOR_TILE_DOT2; i <= VECTOR_TILE_STORE; i++)
        native[i] = target->tiles.count;
    native[VECTOR_TILE_ZERO] = target->tiles.count;
    for (size_t i = 0; i < COUNT(missing); i++)
        native[missing[i]] = false;
    if (target->bytes < 64)
        native[VECTOR_SCALE] = native[VECTOR_MUL_LONG] = native[VECTOR_PICK] = native[VECTOR_LOOKUP_PAIR] = false;
    if (target->features & vnni)
        native[VECTOR_DOT4_US] = true;
    if (target->bytes == 64 && target->features & FEATURE(AVX512_BF16))
        native[VECTOR_DOT2] = true, native[VECTOR_STORE] = target->flushes;
}
