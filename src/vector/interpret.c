/* The interpreter: what vector code means, lane by lane, on real memory. Slow and plain; every target is tested against it. */
#include "vector/vector.h"

#include <math.h>
#include <string.h>

enum { LARGEST = 256 }; /* bytes of a register: SVE's 2048 bits */

typedef union Lanes Lanes;
union Lanes {
    float f32[LARGEST / 4];
    double f64[LARGEST / 8];
    int32_t s32[LARGEST / 4];
    uint32_t u32[LARGEST / 4];
    uint64_t u64[LARGEST / 8];
    uint16_t u16[LARGEST / 2];
    uint8_t u8[LARGEST];
    int8_t s8[LARGEST];
    int64_t number; /* index and pointer values */
    Lanes *row;     /* tiles: as many rows as a row has lanes of 32 bits, which are the value's own */
};

typedef struct Machine {
    const VectorFunction *f;
    Lanes *value;
    int bytes;
    whet_error *err;
    bool failed;
} Machine;

static int lanes_of(const Machine *m, DType type) {
    return m->bytes * 8 / dtype_bits(type);
}

static bool refuse(Machine *m, const VectorOp *op) {
    error_set(m->err, WHET_ERROR_UNSUPPORTED, "vector code '%s': the interpreter has no '%s %s'", m->f->name,
              vector_info[op->code].name, dtype_name(op->type));
    m->failed = true;
    return false;
}

static char *address_of(const Machine *m, const VectorAddress *a) {
    int64_t at = m->value[a->base].number + a->offset + a->scaled * m->bytes;
    for (int t = 0; t < a->terms; t++)
        at += a->term[t].coef * m->value[a->term[t].index].number;
    return (char *)(intptr_t)at;
}

/* ---- memory ---- */

/* An element of memory, as the widest of its kind. */
static double load_float(DType from, const char *at) {
    uint16_t half;
    float single;
    double value;
    memcpy(&half, at, 2);
    if (dtype_is_half(from))
        return from == DT_F16 ? f16_to_f32(half) : bf16_to_f32(half);
    if (from == DT_F32)
        return memcpy(&single, at, 4), single;
    return memcpy(&value, at, 8), value;
}

static int64_t load_int(DType from, const char *at) {
    uint64_t bits = 0;
    int size = dtype_bits(from) / 8, gap = 64 - 8 * size;
    for (int i = 0; i < size; i++)
        bits |= (uint64_t)(uint8_t)at[i] << 8 * i;
    return dtype_kind(from) == KIND_SIGNED ? (int64_t)(bits << gap) >> gap : (int64_t)bits;
}

static void put_int(Lanes *to, int lane, DType type, int64_t value) {
    switch (dtype_bits(type)) {
    case 8: to->u8[lane] = (uint8_t)value; break;
    case 16: to->u16[lane] = (uint16_t)value; break;
    case 32: to->u32[lane] = (uint32_t)value; break;
    default: to->u64[lane] = (uint64_t)value; break;
    }
}

static void load_lane(Lanes *to, int lane, DType type, DType from, const char *at) {
    bool is_float = dtype_kind(from) == KIND_FLOAT;
    if (type == from)
        memcpy(&to->u8[lane * (dtype_bits(type) / 8)], at, (size_t)dtype_bits(type) / 8);
    else if (type == DT_F64)
        to->f64[lane] = is_float ? load_float(from, at) : (double)load_int(from, at);
    else if (type == DT_F32)
        to->f32[lane] = is_float ? (float)load_float(from, at) : (float)load_int(from, at);
    else
        put_int(to, lane, type, load_int(from, at));
}

static void store_lane(const Lanes *from, int lane, DType type, DType to, char *at) {
    uint16_t half = 0;
    if (type == to) {
        memcpy(at, &from->u8[lane * (dtype_bits(type) / 8)], (size_t)dtype_bits(type) / 8);
        return;
    }
    if (type == DT_S64) { /* the lowest bytes */
        for (int i = 0; i < dtype_bits(to) / 8; i++)
            at[i] = (char)(uint8_t)(from->u64[lane] >> 8 * i);
        return;
    }
    if (to == DT_F32) {
        float single = (float)from->f64[lane];
        memcpy(at, &single, 4);
    } else if (to == DT_F16)
        half = f32_to_f16(from->f32[lane]);
    else if (to == DT_BF16)
        half = f32_to_bf16(from->f32[lane]);
    else if (to == DT_S16)
        half = (uint16_t)within(from->s32[lane], INT16_MIN, INT16_MAX);
    else if (to == DT_U16)
        half = (uint16_t)within(from->s32[lane], 0, UINT16_MAX);
    else if (to == DT_S8)
        *at = (char)within(from->s32[lane], INT8_MIN, INT8_MAX);
    else
        *at = (char)(uint8_t)within(from->s32[lane], 0, UINT8_MAX);
    if (dtype_bits(to) == 16)
        memcpy(at, &half, 2);
}

static void run_memory(Machine *m, const VectorOp *op, Lanes *result) {
    char *at = address_of(m, &op->address);
    int lanes = op->code == VECTOR_STORE_FIRST ? 1 : lanes_of(m, op->type), step = dtype_bits(op->from) / 8;
    if (result)
        memset(result, 0, sizeof *result);
    for (int i = 0; i < lanes; i++) {
        if (op->mask >= 0 && !m->value[op->mask].u8[i])
            continue;
        int64_t from = op->code == VECTOR_SPLAT        ? 0
                       : op->code == VECTOR_GATHER     ? m->value[op->arg[0]].s32[i] * (int64_t)op->number
                       : op->code == VECTOR_LOAD_BLOCK ? i * step % 16
                                                       : i * step;
        if (result)
            load_lane(result, i, op->type, op->from, at + from);
        else
            store_lane(&m->value[op->arg[0]], i, op->type, op->from, at + i * step);
    }
}

/* ---- arithmetic ---- */

static int32_t wrap(int64_t x) {
    return (int32_t)(uint32_t)(uint64_t)x;
}

static int32_t to_int(float x) {
    return x >= -2147483648.f && x < 2147483648.f ? (int32_t)x : INT32_MIN;
}

/* Of SCALE, whose bounds hold for lanes that matter; the others may hold anything. */
static int power_of(double x) {
    const double far = 4096; /* zero or infinity, of any float */
    return (int)(x < -far ? -far : x > far ? far : x);
}

/* One lane of an operation on floats of either width, computed in `T`; comparisons give 0 or 1. */
#define FLOAT_LANE(T, NAME, FMA, SCALE, SQRT, FLOOR, CEIL, TRUNC, ROUND)                                                         \
    static bool NAME(VectorCode code, T a, T b, T c, T *out, bool *truth) {                                                      \
        switch (code) {                                                                                                          \
        case VECTOR_ADD: *out = a + b; break;                                                                                    \
        case VECTOR_SUB: *out = a - b; break;                                                                                    \
        case VECTOR_MUL: *out = a * b; break;                                                                                    \
        case VECTOR_DIV: *out = a / b; break;                                                                                    \
        case VECTOR_MIN: *out = isnan(a) ? a : isnan(b) ? b : a < b ? a : b; break;                                              \
        case VECTOR_MAX: *out = isnan(a) ? a : isnan(b) ? b : a > b ? a : b; break;                                              \
        case VECTOR_MIN_OR: *out = a < b ? a : b; break;                                                                         \
        case VECTOR_MAX_OR: *out = a > b ? a : b; break;                                                                         \
        case VECTOR_FMA: *out = FMA(a, b, c); break;                                                                             \
        case VECTOR_FNMA: *out = FMA(-a, b, c); break;                                                                           \
        case VECTOR_SCALE: *out = isnan(b) ? b : SCALE(a, power_of((double)FLOOR(b))); break;                                    \
        case VECTOR_SQRT: *out = SQRT(a); break;                                                                                 \
        case VECTOR_FLOOR: *out = FLOOR(a); break;                                                                               \
        case VECTOR_CEIL: *out = CEIL(a); break;                                                                                 \
        case VECTOR_TRUNC: *out = TRUNC(a); break;                                                                               \
        case VECTOR_ROUND: *out = ROUND(a); break;                                                                               \
        case VECTOR_EQ: *truth = a == b; break;                                                                                  \
        case VECTOR_NE: *truth = a != b; break;                                                                                  \
        case VECTOR_LT: *truth = a < b; break;                                                                                   \
        case VECTOR_LE: *truth = a <= b; break;                                                                                  \
        case VECTOR_UNORDERED: *truth = isnan(a) || isnan(b); break;                                                             \
        default: return false;                                                                                                   \
        }                                                                                                                        \
        return true;                                                                                                             \
    }
FLOAT_LANE(float, lane_f32, fmaf, ldexpf, sqrtf, floorf, ceilf, truncf, rintf)
FLOAT_LANE(double, lane_f64, fma, ldexp, sqrt, floor, ceil, trunc, rint)

static bool lane_int(const VectorOp *op, int64_t a, int64_t b, int64_t *out, bool *truth) {
    int shift = (int)op->number, bits = dtype_bits(op->type);
    bool far = b < 0 || b >= bits; /* shifts by a vector take it as unsigned */
    uint64_t unsigned_a = (uint64_t)a & (~UINT64_C(0) >> (64 - bits));
    switch (op->code) {
    case VECTOR_ADD: *out = (int64_t)((uint64_t)a + (uint64_t)b); break;
    case VECTOR_SUB: *out = (int64_t)((uint64_t)a - (uint64_t)b); break;
    case VECTOR_MUL:
    case VECTOR_MUL_LONG: *out = (int64_t)((uint64_t)a * (uint64_t)b); break;
    case VECTOR_MUL_LOWER: *out = (int64_t)((uint64_t)(uint32_t)a * (uint64_t)(uint32_t)b); break;
    case VECTOR_MIN: *out = a < b ? a : b; break;
    case VECTOR_MAX: *out = a > b ? a : b; break;
    case VECTOR_SHL: *out = (int64_t)((uint64_t)a << shift); break;
    case VECTOR_SHR: *out = (int64_t)(unsigned_a >> shift); break;
    case VECTOR_SAR: *out = a >> shift; break;
    case VECTOR_SHL_BY: *out = far ? 0 : (int64_t)((uint64_t)a << b); break;
    case VECTOR_SHR_BY: *out = far ? 0 : (int64_t)(unsigned_a >> b); break;
    case VECTOR_SAR_BY: *out = a >> (far ? bits - 1 : b); break;
    case VECTOR_EQ: *truth = a == b; break;
    case VECTOR_NE: *truth = a != b; break;
    case VECTOR_LT: *truth = a < b; break;
    case VECTOR_LE: *truth = a <= b; break;
    default: return false;
    }
    return true;
}

static bool lane_of_ints(const VectorOp *op, const Lanes *a, const Lanes *b, int lane, Lanes *out, bool *truth) {
    int size = dtype_bits(op->type) / 8;
    int64_t value = 0;
    bool known = lane_int(op, load_int(op->type, (const char *)&a->u8[lane * size]),
                          load_int(op->type, (const char *)&b->u8[lane * size]), &value, truth);
    if (known && vector_info[op->code].result == 'V')
        put_int(out, lane, op->type, value);
    return known;
}

static bool run_bits(const Machine *m, VectorCode code, const Lanes *a, const Lanes *b, Lanes *out) {
    for (int i = 0; i < m->bytes; i++)
        switch (code) {
        case VECTOR_AND: out->u8[i] = a->u8[i] & b->u8[i]; break;
        case VECTOR_OR: out->u8[i] = a->u8[i] | b->u8[i]; break;
        case VECTOR_XOR: out->u8[i] = a->u8[i] ^ b->u8[i]; break;
        case VECTOR_AND_NOT: out->u8[i] = (uint8_t)(~a->u8[i] & b->u8[i]); break;
        default: return false;
        }
    return true;
}

static const Lanes zero_lanes;

static bool run_arithmetic(Machine *m, const VectorOp *op, Lanes *out) {
    const Lanes *arg[3];
    for (int k = 0; k < 3; k++)
        arg[k] = k < vector_arg_count(op->code) && op->arg[k] >= 0 ? &m->value[op->arg[k]] : &zero_lanes;
    if (run_bits(m, op->code, arg[0], arg[1], out))
        return true;
    for (int i = 0; i < lanes_of(m, op->type); i++) {
        bool truth = false, known;
        if (op->type == DT_F32)
            known = lane_f32(op->code, arg[0]->f32[i], arg[1]->f32[i], arg[2]->f32[i], &out->f32[i], &truth);
        else if (op->type == DT_F64)
            known = lane_f64(op->code, arg[0]->f64[i], arg[1]->f64[i], arg[2]->f64[i], &out->f64[i], &truth);
        else
            known = lane_of_ints(op, arg[0], arg[1], i, out, &truth);
        if (!known)
            return refuse(m, op);
        if (vector_info[op->code].result == 'M')
            out->u8[i] = truth;
    }
    return true;
}

/* ---- the rest ---- */

/* Lanes `a` and `b` of the same integers. */
static void lane_pair(const VectorOp *op, const Lanes *x, int a, int b, Lanes *out) {
    int size = dtype_bits(op->type) / 8;
    int64_t value = 0;
    bool truth;
    lane_int(op, load_int(op->type, (const char *)&x->u8[a * size]), load_int(op->type, (const char *)&x->u8[b * size]), &value,
             &truth);
    put_int(out, a, op->type, value);
}

static void run_reduce(const Machine *m, const VectorOp *op, Lanes *out) {
    VectorCode code = op->code == VECTOR_REDUCE_ADD ? VECTOR_ADD : op->code == VECTOR_REDUCE_MIN ? VECTOR_MIN_OR : VECTOR_MAX_OR;
    VectorOp step = *op;
    bool is_float = dtype_kind(op->type) == KIND_FLOAT;
    step.code = !is_float && code == VECTOR_MIN_OR ? VECTOR_MIN : !is_float && code == VECTOR_MAX_OR ? VECTOR_MAX : code;
    Lanes now = m->value[op->arg[0]];
    for (int half = lanes_of(m, op->type) / 2; half; half /= 2) {
        *out = now;
        for (int i = 0; i < lanes_of(m, op->type); i++) {
            bool truth;
            if (op->type == DT_F32)
                lane_f32(step.code, now.f32[i], now.f32[i ^ half], 0, &out->f32[i], &truth);
            else if (op->type == DT_F64)
                lane_f64(step.code, now.f64[i], now.f64[i ^ half], 0, &out->f64[i], &truth);
            else
                lane_pair(&step, &now, i, i ^ half, out);
        }
        now = *out;
    }
}

static void copy_lane(Lanes *to, int lane, const Lanes *from, int at, int size) {
    memcpy(&to->u8[lane * size], &from->u8[at * size], (size_t)size);
}

static void run_halves(const Machine *m, const VectorOp *op, Lanes *out) {
    bool blocks = op->code == VECTOR_BLOCK_EVEN || op->code == VECTOR_BLOCK_ODD;
    int odd = op->code == VECTOR_ODD || op->code == VECTOR_BLOCK_ODD, size = blocks ? 16 : dtype_bits(op->type) / 8;
    int lanes = m->bytes / size;
    for (int i = 0; i < lanes; i++)
        copy_lane(out, i, &m->value[op->arg[2 * i + odd >= lanes]], (2 * i + odd) % lanes, size);
}

static void run_zip(const Machine *m, const VectorOp *op, Lanes *out) {
    int size = dtype_bits(op->type) / 8, block = 16 / size, from = op->code == VECTOR_ZIP_HIGH ? block / 2 : 0;
    for (int i = 0; i < m->bytes / size; i++)
        copy_lane(out, i, &m->value[op->arg[i % 2]], i / block * block + from + i % block / 2, size);
}

static void run_permute(const Machine *m, const VectorOp *op, Lanes *out) {
    int size = dtype_bits(op->type) / 8, lanes = m->bytes / size;
    for (int i = 0; i < lanes; i++)
        copy_lane(out, i, &m->value[op->arg[0]], (int)(m->value[op->arg[1]].u32[i] % (uint32_t)lanes), size);
}

static void run_pick(const Machine *m, const VectorOp *op, Lanes *out) {
    int size = dtype_bits(op->type) / 8, lanes = m->bytes / size;
    for (int i = 0; i < lanes; i++) {
        int from = (int)(m->value[op->arg[2]].u32[i] % (uint32_t)(2 * lanes));
        copy_lane(out, i, &m->value[op->arg[from >= lanes]], from % lanes, size);
    }
}

static bool run_dot(Machine *m, const VectorOp *op, Lanes *out) {
    const Lanes *a = &m->value[op->arg[0]], *b = &m->value[op->arg[1]], *c = &m->value[op->arg[2]];
    for (int i = 0; i < m->bytes / 4; i++) {
        if (op->code == VECTOR_DOT2) {
            float sum = c->f32[i]; /* vdpbf16ps adds the odd product first */
            sum = fmaf(bf16_to_f32(a->u16[2 * i + 1]), bf16_to_f32(b->u16[2 * i + 1]), sum);
            out->f32[i] = fmaf(bf16_to_f32(a->u16[2 * i]), bf16_to_f32(b->u16[2 * i]), sum);
        } else if (op->code == VECTOR_DOT2_SS) {
            int64_t sum = c->s32[i];
            for (int j = 2 * i; j < 2 * i + 2; j++)
                sum += (int16_t)a->u16[j] * (int16_t)b->u16[j];
            out->s32[i] = wrap(sum);
        } else {
            int64_t sum = c->s32[i];
            bool by_lane = op->code == VECTOR_DOT4_SS_LANE || op->code == VECTOR_DOT4_UU_LANE;
            bool b_unsigned = op->code == VECTOR_DOT4_UU || op->code == VECTOR_DOT4_UU_LANE;
            bool a_unsigned = op->code == VECTOR_DOT4_US || b_unsigned;
            int lane = by_lane ? i / 4 * 4 + (int)op->number : i;
            for (int j = 0; j < 4; j++)
                sum +=
                    (a_unsigned ? a->u8[4 * i + j] : a->s8[4 * i + j]) * (b_unsigned ? b->u8[4 * lane + j] : b->s8[4 * lane + j]);
            out->s32[i] = wrap(sum);
        }
    }
    return true;
}

/* ---- tiles ---- */

static int tile_rows(const Machine *m) {
    return m->bytes / 4;
}

static void copy_tile(const Machine *m, Lanes *to, const Lanes *from) {
    if (to->row != from->row)
        memcpy(to->row, from->row, (size_t)tile_rows(m) * sizeof *to->row);
}

static float outer_f32(VectorCode code, const Lanes *a, int i, const Lanes *b, int j, float sum) {
    if (code == VECTOR_OUTER)
        return fmaf(a->f32[i], b->f32[j], sum);
    sum = fmaf(bf16_to_f32(a->u16[2 * i + 1]), bf16_to_f32(b->u16[2 * j + 1]), sum); /* as DOT2 */
    return fmaf(bf16_to_f32(a->u16[2 * i]), bf16_to_f32(b->u16[2 * j]), sum);
}

static int32_t outer_s32(VectorCode code, const Lanes *a, int i, const Lanes *b, int j, int64_t sum) {
    bool a_unsigned = code == VECTOR_OUTER4_US || code == VECTOR_OUTER4_UU;
    bool b_unsigned = code == VECTOR_OUTER4_SU || code == VECTOR_OUTER4_UU;
    for (int k = 0; k < 4; k++)
        sum += (a_unsigned ? a->u8[4 * i + k] : a->s8[4 * i + k]) * (b_unsigned ? b->u8[4 * j + k] : b->s8[4 * j + k]);
    return wrap(sum);
}

static void run_outer(const Machine *m, const VectorOp *op) {
    const Lanes *a = &m->value[op->arg[0]], *b = &m->value[op->arg[1]];
    Lanes *out = &m->value[op->result];
    copy_tile(m, out, &m->value[op->arg[2]]);
    for (int i = 0; i < tile_rows(m); i++)
        for (int j = 0; j < tile_rows(m); j++)
            if (op->type == DT_F32)
                out->row[i].f32[j] = outer_f32(op->code, a, i, b, j, out->row[i].f32[j]);
            else
                out->row[i].s32[j] = outer_s32(op->code, a, i, b, j, out->row[i].s32[j]);
}

/* As TDPBF16PS: sums of even and of odd products from zero, which are then added to each other and to what was there. */
static float dot_f32(const Machine *m, const Lanes *a, const Lanes *b, int j, float sum) {
    float even = 0, odd = 0;
    for (int k = 0; k < tile_rows(m); k++) {
        even = fmaf(bf16_to_f32(a->u16[2 * k]), bf16_to_f32(b->row[k].u16[2 * j]), even);
        odd = fmaf(bf16_to_f32(a->u16[2 * k + 1]), bf16_to_f32(b->row[k].u16[2 * j + 1]), odd);
    }
    return sum + (even + odd);
}

static void run_tile_dot(const Machine *m, const VectorOp *op) {
    const Lanes *a = &m->value[op->arg[0]], *b = &m->value[op->arg[1]];
    const VectorCode outer = (VectorCode)(op->code - VECTOR_TILE_DOT4_SS + VECTOR_OUTER4_SS);
    Lanes *out = &m->value[op->result];
    copy_tile(m, out, &m->value[op->arg[2]]);
    for (int i = 0; i < tile_rows(m); i++)
        for (int j = 0; j < tile_rows(m); j++)
            if (op->code == VECTOR_TILE_DOT2)
                out->row[i].f32[j] = dot_f32(m, &a->row[i], b, j, out->row[i].f32[j]);
            else
                for (int k = 0; k < tile_rows(m); k++)
                    out->row[i].s32[j] = outer_s32(outer, &a->row[i], k, &b->row[k], j, out->row[i].s32[j]);
}

static bool run_tile(Machine *m, const VectorOp *op) {
    Lanes *tile = &m->value[op->result >= 0 ? op->result : op->arg[0]];
    char *at = vector_has(op->code, 'A') ? address_of(m, &op->address) : NULL;
    int rows = op->step ? (int)op->step : tile_rows(m);
    switch (op->code) {
    case VECTOR_OUTER:
    case VECTOR_OUTER2:
    case VECTOR_OUTER4_SS:
    case VECTOR_OUTER4_US:
    case VECTOR_OUTER4_SU:
    case VECTOR_OUTER4_UU: run_outer(m, op); return true;
    case VECTOR_TILE_ZERO: memset(tile->row, 0, (size_t)tile_rows(m) * sizeof *tile->row); return true;
    case VECTOR_TILE_DOT2:
    case VECTOR_TILE_DOT4_SS:
    case VECTOR_TILE_DOT4_US:
    case VECTOR_TILE_DOT4_SU:
    case VECTOR_TILE_DOT4_UU: run_tile_dot(m, op); return true;
    case VECTOR_TILE_LOAD:
        memset(tile->row, 0, (size_t)tile_rows(m) * sizeof *tile->row);
        for (int i = 0; i < rows; i++)
            memcpy(&tile->row[i], at + i * (int64_t)op->number, (size_t)m->bytes);
        return true;
    case VECTOR_TILE_STORE:
        for (int i = 0; i < rows; i++)
            memcpy(at + i * (int64_t)op->number, &tile->row[i], (size_t)m->bytes);
        return true;
    default: return refuse(m, op);
    }
}

/* 2 x 2 of each 128 bits: out[r][c] += sum over 8 of a[r][k] * b[c][k]; bf16: over 4. */
static bool run_mmla(Machine *m, const VectorOp *op, Lanes *out) {
    const Lanes *a = &m->value[op->arg[0]], *b = &m->value[op->arg[1]], *c = &m->value[op->arg[2]];
    for (int i = 0; i < m->bytes / 4; i++) {
        int block = i / 4, r = i % 4 / 2, col = i % 2;
        if (op->type == DT_S32) {
            int64_t sum = c->s32[i];
            for (int k = 16 * block + 8 * r, l = 16 * block + 8 * col; l < 16 * block + 8 * col + 8; k++, l++)
                sum += (op->code == VECTOR_MMLA_US ? a->u8[k] : a->s8[k]) * b->s8[l];
            out->s32[i] = wrap(sum);
        } else {
            float sum = c->f32[i];
            for (int k = 0; k < 4; k++)
                sum += bf16_to_f32(a->u16[8 * block + 4 * r + k]) * bf16_to_f32(b->u16[8 * block + 4 * col + k]);
            out->f32[i] = sum;
        }
    }
    return true;
}

static void run_const(const Machine *m, const VectorOp *op, Lanes *out) {
    for (int i = 0; i < lanes_of(m, op->type); i++)
        if (op->type == DT_F64)
            out->f64[i] = op->number;
        else if (op->type == DT_F32)
            out->f32[i] = (float)op->number;
        else
            put_int(out, i, op->type, (int64_t)op->number);
}

static bool run_convert(Machine *m, const VectorOp *op, Lanes *out) {
    const Lanes *a = &m->value[op->arg[0]];
    if (op->code == VECTOR_CVT && op->from == DT_S64) {
        for (int i = 0; i < m->bytes / 8; i++)
            if (op->type == DT_F32)
                out->f32[2 * i] = (float)(int64_t)a->u64[i];
            else
                out->f64[i] = (double)(int64_t)a->u64[i];
        return op->type == DT_F32 || op->type == DT_F64 || refuse(m, op);
    }
    if (op->code == VECTOR_CVT && (op->type == DT_F64 || op->from == DT_F64)) {
        bool narrows = op->type == DT_F32;
        for (int i = 0; i < m->bytes / 8; i++)
            if (narrows)
                out->f32[2 * i] = (float)a->f64[i];
            else
                out->f64[i] = (double)a->f32[2 * i];
        return (narrows ? op->from == DT_F64 : op->from == DT_F32) || refuse(m, op);
    }
    if (op->code != VECTOR_BITS && !(op->type == DT_F32 && op->from == DT_S32) && !(op->type == DT_S32 && op->from == DT_F32))
        return refuse(m, op);
    for (int i = 0; i < m->bytes / 4; i++)
        if (op->code == VECTOR_BITS)
            out->u32[i] = a->u32[i];
        else if (op->type == DT_F32)
            out->f32[i] = (float)a->s32[i];
        else
            out->s32[i] = to_int(op->code == VECTOR_CVT_ROUND ? rintf(a->f32[i]) : a->f32[i]);
    return true;
}

static void run_mask(const Machine *m, const VectorOp *op, Lanes *out) {
    int64_t below = op->code == VECTOR_MASK_FIRST   ? (int64_t)op->number
                    : op->code == VECTOR_MASK_BELOW ? m->value[op->arg[0]].number
                                                    : 0;
    for (int i = 0; i < lanes_of(m, op->type); i++) {
        if (op->code == VECTOR_MASK_FIRST || op->code == VECTOR_MASK_BELOW) {
            out->u8[i] = i < below;
            continue;
        }
        uint8_t a = m->value[op->arg[0]].u8[i], b = m->value[op->arg[1]].u8[i];
        out->u8[i] = op->code == VECTOR_MASK_AND ? a & b : op->code == VECTOR_MASK_OR ? a | b : a ^ b;
    }
}

static void run_select(const Machine *m, const VectorOp *op, Lanes *out) {
    int size = dtype_bits(op->type) / 8;
    for (int i = 0; i < lanes_of(m, op->type); i++)
        memcpy(&out->u8[i * size], &m->value[op->arg[m->value[op->arg[0]].u8[i] ? 1 : 2]].u8[i * size], (size_t)size);
}

static void run_fma_lane(const Machine *m, const VectorOp *op, Lanes *out) {
    for (int i = 0; i < m->bytes / 4; i++)
        out->f32[i] =
            fmaf(m->value[op->arg[0]].f32[i], m->value[op->arg[1]].f32[i / 4 * 4 + (int)op->number], m->value[op->arg[2]].f32[i]);
}

static void run_lookup(const Machine *m, const VectorOp *op, Lanes *out) {
    uint32_t entries = (op->code == VECTOR_LOOKUP_PAIR ? 2 : 1) * VECTOR_TABLE_LENGTH;
    for (int i = 0; i < m->bytes / 4; i++) {
        uint32_t at = m->value[op->arg[0]].u32[i] % entries;
        out->f32[i] = vector_table[(int)op->number + (int)(at / VECTOR_TABLE_LENGTH)][at % VECTOR_TABLE_LENGTH];
    }
}

static bool run_op(Machine *m, const VectorOp *op) {
    Lanes out = {.u64 = {0}};
    bool ok = true;
    switch (op->code) {
    case VECTOR_LOAD:
    case VECTOR_GATHER:
    case VECTOR_LOAD_BLOCK:
    case VECTOR_SPLAT: run_memory(m, op, &out); break;
    case VECTOR_IOTA:
        for (int i = 0; i < lanes_of(m, op->type); i++)
            out.s32[i] = wrap(i * (int64_t)op->number);
        break;
    case VECTOR_STORE:
    case VECTOR_STORE_FIRST: run_memory(m, op, NULL); break;
    case VECTOR_PREFETCH:
    case VECTOR_PREFETCH_L2: break;
    case VECTOR_CONST: run_const(m, op, &out); break;
    case VECTOR_CVT:
    case VECTOR_CVT_ROUND:
    case VECTOR_BITS: ok = run_convert(m, op, &out); break;
    case VECTOR_ROUND_TO:
        for (int i = 0; i < lanes_of(m, DT_F32); i++)
            out.f32[i] = f16_to_f32(f32_to_f16(m->value[op->arg[0]].f32[i]));
        break;
    case VECTOR_MASK_FIRST:
    case VECTOR_MASK_BELOW:
    case VECTOR_MASK_AND:
    case VECTOR_MASK_OR:
    case VECTOR_MASK_XOR: run_mask(m, op, &out); break;
    case VECTOR_SELECT: run_select(m, op, &out); break;
    case VECTOR_EVEN:
    case VECTOR_ODD:
    case VECTOR_BLOCK_EVEN:
    case VECTOR_BLOCK_ODD: run_halves(m, op, &out); break;
    case VECTOR_ZIP_LOW:
    case VECTOR_ZIP_HIGH: run_zip(m, op, &out); break;
    case VECTOR_PERMUTE: run_permute(m, op, &out); break;
    case VECTOR_PICK: run_pick(m, op, &out); break;
    case VECTOR_LOOKUP:
    case VECTOR_LOOKUP_PAIR: run_lookup(m, op, &out); break;
    case VECTOR_REDUCE_ADD:
    case VECTOR_REDUCE_MIN:
    case VECTOR_REDUCE_MAX: run_reduce(m, op, &out); break;
    case VECTOR_DOT4_US:
    case VECTOR_DOT4_SS:
    case VECTOR_DOT4_UU:
    case VECTOR_DOT4_SS_LANE:
    case VECTOR_DOT4_UU_LANE:
    case VECTOR_DOT2_SS:
    case VECTOR_DOT2: ok = run_dot(m, op, &out); break;
    case VECTOR_MMLA:
    case VECTOR_MMLA_US: ok = run_mmla(m, op, &out); break;
    case VECTOR_OUTER:
    case VECTOR_OUTER2:
    case VECTOR_OUTER4_SS:
    case VECTOR_OUTER4_US:
    case VECTOR_OUTER4_SU:
    case VECTOR_OUTER4_UU:
    case VECTOR_TILE_ZERO:
    case VECTOR_TILE_DOT2:
    case VECTOR_TILE_DOT4_SS:
    case VECTOR_TILE_DOT4_US:
    case VECTOR_TILE_DOT4_SU:
    case VECTOR_TILE_DOT4_UU:
    case VECTOR_TILE_LOAD:
    case VECTOR_TILE_STORE: return run_tile(m, op);
    case VECTOR_TILE_ROW: out = m->value[op->arg[0]].row[(int)op->number]; break;
    case VECTOR_FMA_LANE: run_fma_lane(m, op, &out); break;
    case VECTOR_LOAD_INDEX: memcpy(&out.number, address_of(m, &op->address), sizeof out.number); break;
    case VECTOR_POINTER_ADD: out.number = m->value[op->arg[0]].number + (int64_t)op->number; break;
    case VECTOR_POINTER_INDEX:
        out.number = m->value[op->arg[0]].number + m->value[op->arg[1]].number * (int64_t)op->number;
        break;
    default: ok = run_arithmetic(m, op, &out); break;
    }
    if (ok && op->result >= 0)
        m->value[op->result] = out;
    return ok;
}

static bool run_range(Machine *m, int from, int to);

/* Gives the place of a value of `class` what another has; rows of tiles are the place's own. */
static void copy_value(const Machine *m, RegisterClass class, Lanes *to, const Lanes *from) {
    if (class == CLASS_TILE)
        copy_tile(m, to, from);
    else
        *to = *from;
}

/* Rows for a place of a tile. */
static bool make_tile(Machine *m, Lanes *place) {
    place->row = ARENA_ARRAY(m->f->arena, Lanes, (size_t)tile_rows(m));
    return place->row || (error_memory(m->err), false);
}

/* What a loop carries moves all at once: one value may be another's name. */
static void carry(const Machine *m, const int *to, const int *from, int count, Lanes *moved) {
    for (int c = 0; c < count; c++)
        copy_value(m, m->f->values[from[c]].class, &moved[c], &m->value[from[c]]);
    for (int c = 0; c < count; c++)
        copy_value(m, m->f->values[from[c]].class, &m->value[to[c]], &moved[c]);
}

static bool run_loop(Machine *m, int at) {
    const VectorOp *head = &m->f->ops[at], *end = &m->f->ops[head->other];
    const int *first = m->f->ids + head->carried, *next = m->f->ids + end->carried;
    int n = head->carry_count;
    Lanes *moved = ARENA_ARRAY(m->f->arena, Lanes, (size_t)n + 1);
    if (!moved)
        return error_memory(m->err), false;
    for (int c = 0; c < n; c++)
        if (m->f->values[first[c]].class == CLASS_TILE && !make_tile(m, &moved[c]))
            return false;
    carry(m, first + n, first, n, moved);
    int64_t limit = head->limit >= 0 ? m->value[head->limit].number : (int64_t)head->number;
    for (int64_t i = 0; i < limit; i += head->step) {
        m->value[head->result].number = i;
        if (!run_range(m, at + 1, head->other))
            return false;
        carry(m, first + n, next, n, moved);
    }
    carry(m, next + n, first + n, n, moved);
    return true;
}

static bool run_range(Machine *m, int from, int to) {
    for (int i = from; i < to; i++) {
        const VectorOp *op = &m->f->ops[i];
        if (op->code == VECTOR_LOOP) {
            if (!run_loop(m, i))
                return false;
            i = op->other;
        } else if (!run_op(m, op))
            return false;
    }
    return true;
}

whet_status vector_interpret(const VectorFunction *f, const int64_t *arguments, int bytes, whet_error *err) {
    Arena arena;
    whet_error mine;
    arena_init(&arena, NULL);
    VectorFunction local = *f; /* temporaries go to an arena of this run */
    local.arena = &arena;
    Machine m = {.f = &local, .bytes = f->bytes ? f->bytes : bytes, .err = err ? err : &mine};
    error_clear(m.err);
    m.value = ARENA_ARRAY(&arena, Lanes, (size_t)f->value_count + 1);
    if (!m.value || m.bytes > LARGEST) {
        arena_free(&arena);
        return error_memory(m.err);
    }
    for (int i = 0; i < f->parameter_count; i++)
        m.value[i].number = arguments[i];
    bool ok = true;
    for (int v = f->parameter_count; v < f->value_count && ok; v++)
        ok = f->values[v].class != CLASS_TILE || make_tile(&m, &m.value[v]);
    ok = ok && run_range(&m, 0, f->op_count);
    arena_free(&arena);
    return ok ? WHET_OK : m.err->status;
}
