/* Vector code: what a kernel does with registers, on no CPU in particular. docs/internals/vector.md specifies it.
 *
 *     schedule/ --build--> function --rewrite (what a target lacks)--> lower addresses --> allocate registers --> target/ encodes
 *                              `--- print, parse, check, interpret at every step
 *
 * A function is a list of operations in structured loops. Every operation defines at most one value, once (SSA inside a body);
 * what a loop carries from one round to the next is said at its head and at its end, and nowhere else. There are no jumps.
 * Memory is reached by a pointer plus an affine form of loop counters plus a constant, all in bytes.
 */
#ifndef WHET_VECTOR_H
#define WHET_VECTOR_H

#include "base/base.h"

#define VECTOR_MAX_ARGS       3
#define VECTOR_MAX_TERMS      6  /* loop counters in one address */
#define VECTOR_MAX_BYTES      64 /* of a register, where the length is a constant */
#define VECTOR_MAX_PARAMETERS 48
#define VECTOR_SCRATCH        2 /* registers an operation may want for itself */

/* Where a value lives. */
typedef enum RegisterClass {
    CLASS_NONE,
    CLASS_INDEX,   /* a 64-bit number: counters, bounds */
    CLASS_POINTER, /* an address */
    CLASS_VECTOR,  /* a full register of one element type */
    CLASS_MASK,    /* a truth value for each lane */
    CLASS_TILE,    /* a square of accumulators (SME's ZA, AMX's tmm) */
    CLASS_COUNT
} RegisterClass;

/* One row an operation:
 *   name     enum name VECTOR_name
 *   text     its name in text
 *   result   V vector, M mask, P pointer, I index, T tile, - none
 *   args     operands in order: V vector of the operation's type, W vector of its `from` type, M mask, P pointer, I index, T tile
 *   more     then A an address, # an immediate number, * an optional number of rows of a tile (all, if there is none),
 *            ? an optional mask (lanes that are off are not touched in memory and read as zero)
 *   types    F f32 f64; I s32 s16; S s32; L s64; K I and L; W S and L; N F and K, s8 u8 u16; B any element; X the pairs the
 *            legend names; - no element type
 *   tie      the operand whose register the result takes over when it can, -1: none
 *   flops    of one lane
 * The meaning of each is in docs/internals/vector.md and, exactly, in interpret.c. */
// clang-format off
/*    name           text             result args more types tie flops */
#define VECTOR_OPS(X)                                                                                                            \
    X(CONST,         "const",         'V', "",     "#",   "B", -1, 0) /* the number in every lane */                             \
    X(IOTA,          "iota",          'V', "",     "#",   "S", -1, 0) /* lane i is i * # */                                      \
    X(LOAD,          "load",          'V', "",     "A?",  "B", -1, 0) /* `from` in memory, widened to the type */                \
    X(SPLAT,         "splat",         'V', "",     "A",   "B", -1, 0) /* one element of memory in every lane */                  \
    X(LOAD_BLOCK,    "load_block",    'V', "",     "A",   "B", -1, 0) /* 128 bits of memory in every 128 bits */                 \
    X(GATHER,        "gather",        'V', "W",    "A#?", "B", -1, 0) /* lane i from address + # * index i; indices are s32 */   \
    X(STORE,         "store",         '-', "V",    "A?",  "B", -1, 0) /* narrowed to `from` in memory: floats round to even, integers saturate, s64 is cut off */\
    X(STORE_FIRST,   "store_first",   '-', "V",    "A",   "B", -1, 0) /* lane 0 alone */                                         \
    X(PREFETCH,      "prefetch",      '-', "",     "A",   "-", -1, 0)                                                            \
    X(PREFETCH_L2,   "prefetch_l2",   '-', "",     "A",   "-", -1, 0) /* as far as the second cache */                           \
    X(ADD,           "add",           'V', "VV",   "",    "N",  0, 1)                                                            \
    X(SUB,           "sub",           'V', "VV",   "",    "N",  0, 1)                                                            \
    X(MUL,           "mul",           'V', "VV",   "",    "N",  0, 1)                                                            \
    X(MUL_LONG,      "mul_long",      'V', "VV",   "",    "L",  0, 1) /* MUL of s64 */                                           \
    X(MUL_LOWER,     "mul_lower",     'V', "VV",   "",    "L",  0, 1) /* of the lower 32 bits of each lane, unsigned */          \
    X(DIV,           "div",           'V', "VV",   "",    "F",  0, 1)                                                            \
    X(MIN,           "min",           'V', "VV",   "",    "N",  0, 1) /* NaN if either is */                                     \
    X(MAX,           "max",           'V', "VV",   "",    "N",  0, 1)                                                            \
    X(MIN_OR,        "min_or",        'V', "VV",   "",    "F",  0, 1) /* a < b ? a : b, so b if either is NaN */                 \
    X(MAX_OR,        "max_or",        'V', "VV",   "",    "F",  0, 1) /* a > b ? a : b */                                        \
    X(FMA,           "fma",           'V', "VVV",  "",    "F",  2, 2) /* a * b + c, rounded once */                              \
    X(FNMA,          "fnma",          'V', "VVV",  "",    "F",  2, 2) /* c - a * b, rounded once */                              \
    X(FMA_LANE,      "fma_lane",      'V', "VVV",  "#",   "F",  2, 2) /* a * b[lane of each 128 bits] + c: NEON, SVE */          \
    X(SCALE,         "scale",         'V', "VV",   "",    "F",  0, 1) /* a * 2^floor(b), b in [-252, 255); rounded once where |a| is in [2^-24, 2^24] */\
    X(SQRT,          "sqrt",          'V', "V",    "",    "F",  0, 1)                                                            \
    X(FLOOR,         "floor",         'V', "V",    "",    "F",  0, 1)                                                            \
    X(CEIL,          "ceil",          'V', "V",    "",    "F",  0, 1)                                                            \
    X(TRUNC,         "trunc",         'V', "V",    "",    "F",  0, 1)                                                            \
    X(ROUND,         "round",         'V', "V",    "",    "F",  0, 1) /* ties to even */                                         \
    X(ROUND_TO,      "round_to",      'V', "V",    "",    "X",  0, 1) /* f32: the nearest f16 (`from`), ties to even, as f32 */  \
    X(AND,           "and",           'V', "VV",   "",    "B",  0, 1) /* of the bits, whatever the type */                       \
    X(OR,            "or",            'V', "VV",   "",    "B",  0, 1)                                                            \
    X(XOR,           "xor",           'V', "VV",   "",    "B",  0, 1)                                                            \
    X(AND_NOT,       "and_not",       'V', "VV",   "",    "B",  1, 1) /* ~a & b */                                               \
    X(SHL,           "shl",           'V', "V",    "#",   "K",  0, 1)                                                            \
    X(SHR,           "shr",           'V', "V",    "#",   "K",  0, 1) /* zeros come in */                                        \
    X(SAR,           "sar",           'V', "V",    "#",   "I",  0, 1) /* copies of the sign come in */                           \
    X(SHL_BY,        "shl_by",        'V', "VV",   "",    "W",  0, 1) /* by a number of each lane, unsigned; by the width or more: 0; of s64 below 64 alone */\
    X(SHR_BY,        "shr_by",        'V', "VV",   "",    "W",  0, 1)                                                            \
    X(SAR_BY,        "sar_by",        'V', "VV",   "",    "S",  0, 1) /* by the width or more: copies of the sign */             \
    X(CVT,           "cvt",           'V', "W",    "",    "X",  0, 1) /* s32 <-> f32; to s32 towards zero, out of range and NaN: INT32_MIN; f64 <-> f32 of even lanes, zeros in odd ones; s64 -> f64 and f32, so */\
    X(CVT_ROUND,     "cvt_round",     'V', "W",    "",    "X",  0, 1) /* f32 -> s32, ties to even; out of range and NaN: INT32_MIN */\
    X(BITS,          "bits",          'V', "W",    "",    "B",  0, 0) /* the same bits as another type */                        \
    X(EQ,            "eq",            'M', "VV",   "",    "N", -1, 1)                                                            \
    X(NE,            "ne",            'M', "VV",   "",    "N", -1, 1) /* true on NaN */                                          \
    X(LT,            "lt",            'M', "VV",   "",    "N", -1, 1)                                                            \
    X(LE,            "le",            'M', "VV",   "",    "N", -1, 1)                                                            \
    X(UNORDERED,     "unordered",     'M', "VV",   "",    "F", -1, 1) /* either is NaN */                                        \
    X(MASK_FIRST,    "mask_first",    'M', "",     "#",   "B", -1, 0) /* the first so many lanes */                              \
    X(MASK_BELOW,    "mask_below",    'M', "I",    "",    "B", -1, 0) /* the first min(index, lanes) lanes */                    \
    X(MASK_AND,      "mask_and",      'M', "MM",   "",    "B", -1, 0)                                                            \
    X(MASK_OR,       "mask_or",       'M', "MM",   "",    "B", -1, 0)                                                            \
    X(MASK_XOR,      "mask_xor",      'M', "MM",   "",    "B", -1, 0)                                                            \
    X(SELECT,        "select",        'V', "MVV",  "",    "B",  2, 1) /* a where true, else b */                                 \
    X(EVEN,          "even",          'V', "VV",   "",    "B", -1, 0) /* lanes 0, 2, 4 ... of one operand behind the other */    \
    X(ODD,           "odd",           'V', "VV",   "",    "B", -1, 0) /* lanes 1, 3, 5 ... */                                    \
    X(ZIP_LOW,       "zip_low",       'V', "VV",   "",    "B", -1, 0) /* of each 128 bits: the first half of a and of b, lane by lane: a0 b0 a1 b1 */\
    X(ZIP_HIGH,      "zip_high",      'V', "VV",   "",    "B", -1, 0) /* the second half: a2 b2 a3 b3 */                         \
    X(BLOCK_EVEN,    "block_even",    'V', "VV",   "",    "B", -1, 0) /* blocks of 128 bits 0, 2 ... of one operand behind the other */\
    X(BLOCK_ODD,     "block_odd",     'V', "VV",   "",    "B", -1, 0) /* blocks 1, 3 ... */                                      \
    X(PERMUTE,       "permute",       'V', "VW",   "",    "B", -1, 0) /* lane i is lane b[i] of a, b of s32, modulo the lanes */ \
    X(PICK,          "pick",          'V', "VVW",  "",    "B",  0, 0) /* lane i is lane c[i] of a and behind it b, c of s32, modulo twice the lanes; lanes of 32 bits */\
    X(LOOKUP,        "lookup",        'V', "W",    "#",   "X", -1, 0) /* f32: lane i is element a[i] modulo 16, a of s32, of table # (tables.c) */\
    X(LOOKUP_PAIR,   "lookup_pair",   'V', "W",    "#",   "X", -1, 0) /* f32: element a[i] modulo 32 of table # and the one behind it */\
    X(REDUCE_ADD,    "reduce_add",    'V', "V",    "",    "N", -1, 1) /* over the lanes, in every lane; halves are folded onto each other */\
    X(REDUCE_MIN,    "reduce_min",    'V', "V",    "",    "N", -1, 1) /* as MIN_OR over the lanes */                             \
    X(REDUCE_MAX,    "reduce_max",    'V', "V",    "",    "N", -1, 1)                                                            \
    X(DOT4_US,       "dot4_us",       'V', "WWV",  "",    "X",  2, 8) /* s32 += four products u8 * s8, exact: VNNI, i8mm's usdot */\
    X(DOT4_SS,       "dot4_ss",       'V', "WWV",  "",    "X",  2, 8) /* s32 += four products s8 * s8: sdot, AVX-VNNI-INT8 */    \
    X(DOT4_UU,       "dot4_uu",       'V', "WWV",  "",    "X",  2, 8) /* s32 += four products u8 * u8: udot */                   \
    X(DOT2,          "dot2",          'V', "WWV",  "",    "X",  2, 4) /* f32 += two products bf16 * bf16, each rounded: vdpbf16ps, bfdot */\
    X(DOT2_SS,       "dot2_ss",       'V', "WWV",  "",    "X",  2, 4) /* s32 += two products s16 * s16, exact: vpmaddwd, vpdpwssd */\
    X(DOT4_SS_LANE,  "dot4_ss_lane",  'V', "WWV",  "#",   "X",  2, 8) /* DOT4_SS with the four bytes of lane # of b, of each 128 bits: sdot by element */\
    X(DOT4_UU_LANE,  "dot4_uu_lane",  'V', "WWV",  "#",   "X",  2, 8)                                                            \
    X(MMLA,          "mmla",          'V', "WWV",  "",    "X",  2, 16) /* 2x2 += 2x8 * 8x2 of each 128 bits, s8: smmla; 2x4 * 4x2 of bf16: bfmmla */\
    X(MMLA_US,       "mmla_us",       'V', "WWV",  "",    "X",  2, 16) /* the same, u8 * s8: usmmla */                           \
    X(TILE_ZERO,     "tile_zero",     'T', "",     "*",   "B", -1, 0)                                                            \
    X(OUTER,         "outer",         'T', "VVT",  "",    "X",  2, 2) /* tile[i][j] += a[i] * b[j] of f32: fmopa, Apple AMX */   \
    X(OUTER2,        "outer2",        'T', "WWT",  "",    "X",  2, 4) /* tile[i][j] += two products of bf16, lanes i of a and j of b: bfmopa */\
    X(OUTER4_SS,     "outer4_ss",     'T', "WWT",  "",    "X",  2, 8) /* four products of bytes, s8 * s8: smopa */               \
    X(OUTER4_US,     "outer4_us",     'T', "WWT",  "",    "X",  2, 8) /* u8 * s8: usmopa */                                      \
    X(OUTER4_SU,     "outer4_su",     'T', "WWT",  "",    "X",  2, 8) /* s8 * u8: sumopa */                                      \
    X(OUTER4_UU,     "outer4_uu",     'T', "WWT",  "",    "X",  2, 8) /* u8 * u8: umopa */                                       \
    X(TILE_DOT2,     "tile_dot2",     'T', "TTT",  "",    "X",  2, 4) /* tile[i][j] += a[i][k] * b[k][j] of pairs of bf16, k over the rows of b: tdpbf16ps */\
    X(TILE_DOT4_SS,  "tile_dot4_ss",  'T', "TTT",  "",    "X",  2, 8) /* of bytes by fours, s8 * s8: tdpbssd */                  \
    X(TILE_DOT4_US,  "tile_dot4_us",  'T', "TTT",  "",    "X",  2, 8) /* u8 * s8: tdpbusd */                                     \
    X(TILE_DOT4_SU,  "tile_dot4_su",  'T', "TTT",  "",    "X",  2, 8) /* s8 * u8: tdpbsud */                                     \
    X(TILE_DOT4_UU,  "tile_dot4_uu",  'T', "TTT",  "",    "X",  2, 8) /* u8 * u8: tdpbuud */                                     \
    X(TILE_LOAD,     "tile_load",     'T', "",     "A#*", "B", -1, 0) /* rows at a distance of # bytes */                        \
    X(TILE_STORE,    "tile_store",    '-', "T",    "A#*", "B", -1, 0)                                                            \
    X(TILE_ROW,      "tile_row",      'V', "T",    "#",   "B", -1, 0) /* row # of a tile */                                      \
    X(POINTER_ADD,   "pointer_add",   'P', "P",    "#",   "-",  0, 0) /* bytes */                                                \
    X(POINTER_INDEX, "pointer_index", 'P', "PI",   "#",   "-",  0, 0) /* pointer + index * # bytes */                            \
    X(LOAD_INDEX,    "load_index",    'I', "",     "A",   "-", -1, 0) /* a number of 64 bits in memory */                        \
    X(LOOP,          "loop",          'I', "",     "#",   "-", -1, 0) /* printed and parsed by hand, like END */                 \
    X(END,           "end",           '-', "",     "",    "-", -1, 0)
// clang-format on

typedef enum VectorCode {
#define X(name, text, result, args, more, types, tie, flops) VECTOR_##name,
    VECTOR_OPS(X)
#undef X
        VECTOR_OP_COUNT
} VectorCode;

typedef struct VectorInfo {
    const char *name; /* in text */
    char result, args[VECTOR_MAX_ARGS + 1], more[VECTOR_MAX_ARGS + 1];
    unsigned char arg_count; /* operands in registers, an optional mask not counted */
    RegisterClass class : 8; /* of the result */
    signed char tie, flops;
    const char *types;
} VectorInfo;
extern const VectorInfo vector_info[VECTOR_OP_COUNT];
static inline int vector_arg_count(VectorCode code) {
    return vector_info[code].arg_count;
}
/* A: an address, #: a number, *: an optional number of rows, ?: an optional mask. */
static inline bool vector_has(VectorCode code, char letter) {
    const char *more = vector_info[code].more;
    return more[0] == letter || more[1] == letter || more[2] == letter;
}
#define VECTOR_CLASS(letter) /* of V, W, M, P, I, T */                                                                           \
    ((letter) == 'V' || (letter) == 'W' ? CLASS_VECTOR                                                                           \
     : (letter) == 'M'                  ? CLASS_MASK                                                                             \
     : (letter) == 'P'                  ? CLASS_POINTER                                                                          \
     : (letter) == 'I'                  ? CLASS_INDEX                                                                            \
     : (letter) == 'T'                  ? CLASS_TILE                                                                             \
                                        : CLASS_NONE)

/* base + sum(counter * coef) + offset + scaled * (bytes of a register). `scaled` is for lengths not known when compiling (SVE);
 * where the length is known the builder folds it into `offset`. */
typedef struct VectorAddress {
    int base; /* a pointer value; -1: no address */
    int terms : 8, scaled : 24;
    int64_t offset;
    struct { /* packed: time goes into copying operations; vector_plus keeps numbers within their bits */
        int64_t coef : 44, index : 20; /* of an index value */
    } term[VECTOR_MAX_TERMS];
} VectorAddress;
enum { VECTOR_MAX_VALUES = 1 << 19 };
#define VECTOR_MAX_COEF (INT64_C(1) << 43)

typedef struct VectorOp {
    VectorCode code : 8;
    DType type : 8, from : 8; /* element types; DT_NONE where the table says so. `from`: in memory, or of W operands */
    int result;               /* -1: none */
    int arg[VECTOR_MAX_ARGS];
    int mask; /* of LOAD and STORE; -1: none */
    VectorAddress address;
    double number; /* immediate */
    /* LOOP and END: the counter (result of LOOP) runs from 0 below `limit` (the number, or an index value) in steps. What is
     * carried: at LOOP carried[0, n) are the values that come in and carried[n, 2n) their names inside; at END carried[0, n)
     * are what the next round gets and carried[n, 2n) the names after the loop. */
    int limit;                /* -1: the number */
    int64_t step;             /* of TILE_ZERO, TILE_LOAD, TILE_STORE: how many rows; 0: all */
    int carry_count, carried; /* `carried` is an offset into VectorFunction.ids */
    int other;                /* LOOP: the position of its END, and the other way round */
} VectorOp;

/* tables.c: what LOOKUP reads. */
enum { VECTOR_TABLE_LENGTH = 16 };
typedef enum VectorTable {
    VECTOR_TABLE_ERF,
    VECTOR_TABLE_EXP2 = VECTOR_TABLE_ERF + 6,
    VECTOR_TABLE_TANH = VECTOR_TABLE_EXP2 + 2,
    VECTOR_TABLE_EXP2_PAIR = VECTOR_TABLE_TANH + 8,
    VECTOR_TABLE_COUNT = VECTOR_TABLE_EXP2_PAIR + 2
} VectorTable;
extern const float vector_table[VECTOR_TABLE_COUNT][VECTOR_TABLE_LENGTH];

typedef struct VectorValue {
    RegisterClass class : 8;
    DType type : 8;   /* element type of vectors, masks and tiles */
    int op;           /* that defines it; -1: a parameter */
    const char *name; /* parameters */
} VectorValue;

typedef struct VectorFunction {
    Arena *arena;
    const char *name;
    int bytes;           /* of a vector register; 0: known at run time alone (SVE) */
    int parameter_count; /* values 0 .. parameter_count - 1 */
    VectorValue *values;
    int value_count;
    VectorOp *ops;
    int op_count;
    int *ids;
    int id_count;
    size_t value_capacity, op_capacity, id_capacity;
    /* while it is being built */
    bool lookup; /* the target has LOOKUP, and it is fast */
    bool longs;  /* the target has CVT of s64 */
    bool roomy;  /* 32 vector registers, and constants need none of them: chains may go side by side */
    int open[16], depth;
    const char *failed; /* the first thing that went wrong; NULL: nothing */
} VectorFunction;

int vector_lanes(const VectorFunction *f, DType type);
bool vector_is_innermost(const VectorFunction *f, int loop); /* the operation LOOP that is number `loop` */

/* build.c: appends operations. Errors are sticky in `failed`; vector_finish says whether all went well. Ids are returned as -1
 * after an error, and -1 is accepted as an operand then. */
VectorFunction *vector_new(Arena *arena, const char *name, int bytes);
VectorFunction *vector_new_sized(Arena *arena, const char *name, int bytes, int ops, int values); /* with room for so many */
int vector_parameter(VectorFunction *f, RegisterClass class, const char *name);                   /* before any operation */
VectorAddress vector_at(int base, int64_t offset);
VectorAddress vector_plus(VectorAddress address, int index, int64_t coef); /* + index * coef */
VectorAddress vector_offset(VectorAddress address, int64_t offset);        /* + offset */
int vector_const(VectorFunction *f, DType type, double number);
int vector_load(VectorFunction *f, DType type, DType memory, VectorAddress address, int mask);
int vector_splat(VectorFunction *f, DType type, DType memory, VectorAddress address);
/* Lane i from address + scale * index[i]; `index` of s32, `scale` bytes. The type has 32 bits, its memory at most as many. */
int vector_gather(VectorFunction *f, DType type, DType memory, VectorAddress address, int scale, int index, int mask);
int vector_iota(VectorFunction *f, DType type, int64_t step); /* 0, step, 2 * step ... */
void vector_store(VectorFunction *f, DType memory, int value, VectorAddress address, int mask);
void vector_prefetch(VectorFunction *f, VectorAddress address);
void vector_prefetch_l2(VectorFunction *f, VectorAddress address);
void vector_store_first(VectorFunction *f, DType memory, int value, VectorAddress address);
int vector_unary(VectorFunction *f, VectorCode code, int a);
int vector_binary(VectorFunction *f, VectorCode code, int a, int b);                   /* comparisons too */
int vector_ternary(VectorFunction *f, VectorCode code, int a, int b, int c);           /* FMA, SELECT, DOT */
int vector_by_lane(VectorFunction *f, VectorCode code, int a, int b, int c, int lane); /* a * b[lane] + c: FMA_LANE and its kin */
int vector_load_block(VectorFunction *f, DType type, VectorAddress address);
int vector_immediate(VectorFunction *f, VectorCode code, int a, double number); /* shifts, POINTER_ADD */
int vector_convert(VectorFunction *f, VectorCode code, DType type, int a);
int vector_pick(VectorFunction *f, int a, int b, int lanes); /* PICK */
int vector_load_index(VectorFunction *f, VectorAddress address);
int vector_pointer_index(VectorFunction *f, int pointer, int index, int64_t bytes);
int vector_lookup(VectorFunction *f, int table, int index);
int vector_lookup_pair(VectorFunction *f, int table, int index);
int vector_round_to(VectorFunction *f, DType type, int a); /* f32 to the nearest of a narrower type, which stays in f32 */
/* f32 rounded to the nearest bf16, ties to even, in the upper halves of lanes of s32; the lower halves are not cleared. NaNs keep
 * their upper bits and become quiet. */
int vector_bf16_bits(VectorFunction *f, int x);
int vector_mask_first(VectorFunction *f, DType type, int lanes);
int vector_mask_below(VectorFunction *f, DType type, int index);
/* Then OUTER and TILE_DOT by vector_ternary, TILE_ROW by vector_immediate. `rows`: of the tile, 0 all; `pitch` bytes apart. */
int vector_tile_zero(VectorFunction *f, DType type, int rows);
int vector_tile_load(VectorFunction *f, DType type, VectorAddress address, int64_t pitch, int rows);
void vector_tile_store(VectorFunction *f, int tile, VectorAddress address, int64_t pitch, int rows);
/* rows[i] lane j becomes rows[j] lane i: as many vectors, of lanes of 32 or 64 bits, as a vector has lanes. */
void vector_transpose(VectorFunction *f, int *rows);
/* Opens a loop; `limit` an index value, or -1 for `count`. `inside` receives the carried values' names inside the loop. */
int vector_loop(VectorFunction *f, int limit, int64_t count, int64_t step, const int *initial, int *inside, int carry_count);
void vector_end(VectorFunction *f, const int *next, int *after);
/* Any operation by its row, for parsers and passes. `op` is copied but for result and `other`, which are set. */
int vector_append(VectorFunction *f, const VectorOp *op);
bool vector_finish(VectorFunction *f, whet_error *err);

/* interleave.c: operations from start[0] on, in ranges that do not wait for each other, one of each in turn. */
void vector_interleave(VectorFunction *f, const int *start, int count);

/* print.c, parse.c: the text form; parsing a print gives the same function. */
void vector_print(const VectorFunction *f, Text *out);
VectorFunction *vector_parse(Arena *arena, const char *text, size_t length, whet_error *err);

/* identity.c: all of a function that its code depends on, appended as bytes. */
void vector_identity(const VectorFunction *f, Text *out);

/* check.c: the rules functions keep between passes. Our own bugs: WHET_ERROR_INTERNAL, naming `pass`. */
whet_status vector_check(const VectorFunction *f, const char *pass, whet_error *err);

/* interpret.c: what a function means: runs it on any host, on real memory. `bytes` is the register length where the function
 * does not fix it. arguments[i] is parameter i: an address, or a number. */
whet_status vector_interpret(const VectorFunction *f, const int64_t *arguments, int bytes, whet_error *err);

/* rewrite.c: replaces operations that `native` does not list by those it does: a new function in the arena, or `f` itself
 * where there is nothing to replace. STORE not listed: floats are rounded to bf16 by integer operations; other stores stay. */
const VectorFunction *vector_rewrite(const VectorFunction *f, const bool native[VECTOR_OP_COUNT], whet_error *err);

/* hoist.c: up to `most` constants of innermost loops that may stand at the top of the function, as far as `registers` are left
 * for them; which of them a constant is, -1: none. */
enum { VECTOR_MAX_HOISTED = 16 };
typedef struct VectorHoisted {
    int count, op[VECTOR_MAX_HOISTED]; /* operations of the function, each another constant */
} VectorHoisted;
void vector_hoist_constants(const VectorFunction *f, int most, int registers, VectorHoisted *out);
int vector_hoisted(const VectorFunction *f, const VectorHoisted *hoisted, const VectorOp *constant);

/* address.c: turns every address into pointer + constant: affine terms become pointers that loops carry and step. `indexed`:
 * the innermost loop's counter may stay as one term, times 1, 2, 4 or 8; that takes fewer registers. `hoisted`: constants that
 * move to the top; NULL: none. */
VectorFunction *vector_lower_addresses(const VectorFunction *f, bool indexed, const VectorHoisted *hoisted, whet_error *err);

/* allocate.c: registers by interval over structured loops. What does not fit is refused: there are no spills. */
typedef struct VectorRegisters {
    int count[CLASS_COUNT];          /* registers of each class; 0: shares another's, see `same` */
    RegisterClass same[CLASS_COUNT]; /* class whose registers it uses (AVX2 keeps masks in vectors); itself, usually */
    const bool *none;                /* by value: needs no register (folded into its user) */
    const signed char *tie;          /* by operation: the operand to share with; -1: none */
    const unsigned char *scratch;    /* by operation: vector registers it needs for itself, <= VECTOR_SCRATCH */
    const bool *late;                /* by operation: operands but the tied one are read after the result is written */
    uint64_t seed;                   /* not 0: a random order of registers, to find what depends on luck */
} VectorRegisters;
typedef struct VectorAllocation {
    signed char *reg;                /* by value; -1: none */
    signed char *scratch;            /* operation i has VECTOR_SCRATCH places from VECTOR_SCRATCH * i; -1: none */
    int used[CLASS_COUNT];           /* highest register used + 1 */
    RegisterClass missing;           /* of which there were too few, when it fails */
    RegisterClass same[CLASS_COUNT]; /* as in VectorRegisters */
} VectorAllocation;
bool vector_allocate(const VectorFunction *f, const VectorRegisters *registers, Arena *arena, VectorAllocation *out,
                     whet_error *err);

/* moves.c: moves between registers of a class, all meant at once: no `to` twice. Puts them in an order in which none destroys
 * what another still reads; where they go round in a circle, `swap` is set: the two registers change places. Returns how many are
 * left: a move to its own place is none. */
typedef struct VectorMove {
    int to, from;
    RegisterClass class;
    bool swap;
} VectorMove;
int vector_order_moves(VectorMove *moves, int count);
/* Those of values of a loop, `left` of them, in the function's arena; NULL: no memory. What has no register is left out. */
VectorMove *vector_moves(const VectorFunction *f, const VectorAllocation *at, const int *to, const int *from, int count,
                         int *left);

#endif
