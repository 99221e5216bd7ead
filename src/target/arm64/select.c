/* Selection: what each operation asks of the register allocator. Arm computes on registers alone, so nothing is folded but masks
 * that loads and stores know as numbers. */
#include "target/arm64/arm64.h"

static bool is_reduce(VectorCode code) {
    return code == VECTOR_REDUCE_ADD || code == VECTOR_REDUCE_MIN || code == VECTOR_REDUCE_MAX;
}

static bool to_integer(const VectorOp *op) {
    return (op->code == VECTOR_CVT || op->code == VECTOR_CVT_ROUND) && op->type == DT_S32;
}

static bool accumulates(VectorCode code) {
    return code == VECTOR_FMA || code == VECTOR_FNMA || code == VECTOR_FMA_LANE || code == VECTOR_SELECT ||
           code == VECTOR_DOT4_US || code == VECTOR_DOT4_SS || code == VECTOR_DOT2 || code == VECTOR_DOT2_SS ||
           code == VECTOR_DOT4_UU || code == VECTOR_DOT4_SS_LANE || code == VECTOR_DOT4_UU_LANE || code == VECTOR_MMLA ||
           code == VECTOR_MMLA_US;
}

static unsigned char neon_scratch(const VectorOp *op) {
    bool floats = dtype_kind(op->type) == KIND_FLOAT;
    switch (op->code) {
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: return op->from != op->type;
    case VECTOR_SHL_BY:
    case VECTOR_SHR_BY:
    case VECTOR_SAR_BY:
    case VECTOR_UNORDERED:
    case VECTOR_MASK_BELOW:
    case VECTOR_REDUCE_ADD: return 1;
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: return floats ? 2 : 1;
    case VECTOR_PERMUTE:
    case VECTOR_MUL_LOWER:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS: return 2;
    default: return to_integer(op) ? 2 : 0;
    }
}

static unsigned char sve_scratch(const VectorOp *op) {
    switch (op->code) {
    case VECTOR_TILE_STORE: return 2;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: return op->from == op->type ? 0 : 2;
    case VECTOR_GATHER:
    case VECTOR_SCALE:
    case VECTOR_PERMUTE:
    case VECTOR_REDUCE_ADD: return 1;
    case VECTOR_SHL:
    case VECTOR_SHR: return op->type == DT_S64;
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH:
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX:
    case VECTOR_MUL_LOWER:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT4_US: return 2;
    default: return to_integer(op);
    }
}

/* Operations of several instructions that read an operand again after their result is begun. */
static bool is_late(const Target *target, const VectorOp *op) {
    switch (op->code) {
    case VECTOR_MIN_OR:
    case VECTOR_MAX_OR: return !arm64_scalable(target);
    case VECTOR_LOAD: return op->mask >= 0;
    case VECTOR_UNORDERED:
    case VECTOR_GATHER: return true;
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH:
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD: return arm64_scalable(target);
    default: return to_integer(op) || accumulates(op->code);
    }
}

/* NEON's loads and stores take a known number of lanes as so many instructions, not as a mask. */
static void find_numbers(const VectorFunction *f, bool *none) {
    for (int v = 0; v < f->value_count; v++)
        none[v] = f->values[v].op >= 0 && f->values[v].class == CLASS_MASK && f->ops[f->values[v].op].code == VECTOR_MASK_FIRST;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        for (int k = 0, args = vector_arg_count(op->code); k < args; k++)
            none[op->arg[k]] = false;
        if (op->code == VECTOR_GATHER && op->mask >= 0)
            none[op->mask] = false;
        for (int c = 0; c < op->carry_count; c++)
            none[f->ids[op->carried + c]] = false;
    }
}

/* AMX's products load their operands themselves. */
static void find_loads(const VectorFunction *f, bool *none) {
    for (int v = 0; v < f->value_count; v++)
        none[v] = f->values[v].class == CLASS_VECTOR;
}

bool arm64_select(const VectorFunction *f, const Target *target, CodeSelection *out, whet_error *err) {
    if (!code_select_new(f, out, err))
        return false;
    if (arm64_is_amx(target))
        find_loads(f, out->none);
    else if (!arm64_scalable(target))
        find_numbers(f, out->none);
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        out->scratch[i] = arm64_scalable(target) ? sve_scratch(op) : neon_scratch(op);
        out->late[i] = is_late(target, op);
        out->tie[i] = (signed char)(out->late[i] && !accumulates(op->code) ? -1 : vector_info[op->code].tie);
        if (is_reduce(op->code))
            out->tie[i] = 0;
    }
    return true;
}

void arm64_native(const Target *target, bool native[VECTOR_OP_COUNT]) {
    static const VectorCode missing[] = {VECTOR_TILE_DOT2,    VECTOR_TILE_DOT4_SS, VECTOR_TILE_DOT4_US, VECTOR_TILE_DOT4_SU,
                                         VECTOR_TILE_DOT4_UU, VECTOR_TILE_LOAD,    VECTOR_PICK,         VECTOR_LOOKUP_PAIR};
    static const VectorCode of_tiles[] = {VECTOR_TILE_ZERO, VECTOR_OUTER,     VECTOR_OUTER2,   VECTOR_OUTER4_SS, VECTOR_OUTER4_US,
                                          VECTOR_OUTER4_SU, VECTOR_OUTER4_UU, VECTOR_TILE_ROW, VECTOR_TILE_STORE};
    bool scalable = arm64_scalable(target), i8mm = target->features & FEATURE(I8MM), bf16 = target->features & FEATURE(BF16);
    for (int i = 0; i < VECTOR_OP_COUNT; i++)
        native[i] = true;
    for (size_t i = 0; i < COUNT(missing); i++)
        native[missing[i]] = false;
    for (size_t i = 0; i < COUNT(of_tiles); i++)
        native[of_tiles[i]] = arm64_is_unit(target);
    native[VECTOR_SCALE] = native[VECTOR_MUL_LONG] = scalable;
    native[VECTOR_FMA_LANE] = !scalable;
    native[VECTOR_STORE] = bf16; /* to bf16 */
    native[VECTOR_DOT4_US] = scalable || (target->features & (FEATURE(I8MM) | FEATURE(DOTPROD))) != 0;
    native[VECTOR_DOT4_UU] = target->dot4_uu;
    native[VECTOR_DOT4_SS_LANE] = native[VECTOR_DOT4_UU_LANE] = !scalable && target->dot4_ss;
    native[VECTOR_DOT2] = bf16;
    native[VECTOR_MMLA] = i8mm || bf16; /* by type: the encoder refuses the other */
    native[VECTOR_MMLA_US] = i8mm;
}
