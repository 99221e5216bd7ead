/* What is multiplied in a contraction: element types, zero points, and the operation that serves them.
 *
 * A factor is a read, converted to the type of the sum and perhaps less its zero point: `s32(a[m, k]) - s32(za[])`. It may also
 * be a temporary that says just this, `d[..] = s32(x[..]) - s32(z[])`; read with `?`, its zero outside is the zero point in x.
 *
 * Integers: with A' and B' as the machine multiplies them (one of them unsigned, the other signed, so that a factor may be off
 * by 128: its bytes are flipped, and 128 joins its zero point),
 *
 *     sum (a - za)(b - zb) = sum (A' - Za)(B' - Zb) = sum A' B' - Za * sum B' - Zb * sum (A' - Za)
 *
 * Sums of columns of B' lie behind its packed panel, sums of rows of A' - Za are made by the driver. A zero point that is known
 * to be 0 costs nothing.
 *
 * Floats: f16 and bf16 are stored so and multiplied as f32; B is widened when it is packed. Two factors of bf16 stay bf16 and are
 * multiplied by pairs: products are exact; where the machine has an instruction for it, subnormal numbers count as zero. B may be
 * f32 that is rounded, `f32(bf16(b[k, n]))`, when it is packed; round.c sees to it that A is not. */
#include "schedule/contract.h"

#include <string.h>

#include "kernel/rewrite.h"

/* ---- one factor ---- */

static const Definition *definition_of(const Kernel *kernel, int tensor) {
    for (int i = 0; i < kernel->definition_count - 1; i++)
        if (kernel->definitions[i].tensor == tensor && kernel->tensors[tensor].role == ROLE_TEMPORARY)
            return &kernel->definitions[i];
    return NULL;
}

/* The value that all elements of a known tensor have. */
static bool known_everywhere(const Contract *k, int tensor, int64_t *out) {
    const void *data = k->known ? k->known[tensor] : NULL;
    const KernelTensor *t = &k->nest.kernel->tensors[tensor];
    if (!data || t->count < 1)
        return false;
    *out = contract_integer(t->type, data, 0);
    for (int64_t i = 1; i < t->count; i++)
        if (contract_integer(t->type, data, i) != *out)
            return false;
    return true;
}

static bool is_float(DType type) {
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

static bool is_whole(DType type) {
    return type == DT_U8 || type == DT_U4 || type == DT_U2;
}

static bool find_zero(Contract *k, const Definition *temporary, const Expr *outer, const Expr *zero, ContractFactor *f,
                      const char **why) {
    const Definition *main = k->nest.definition;
    const Expr *read = expr_without_cast(zero);
    if (zero->op == EXPR_NUMBER) {
        f->zero_known = true;
        f->zero_value = zero->integer;
        return true;
    }
    if (read->op != EXPR_READ || read->guarded || (!dtype_is_byte(read->type) && read->type != DT_S32))
        return refuse(why, "a factor less something that is no zero point");
    f->zero_known = known_everywhere(k, read->tensor, &f->zero_value);
    f->zero = nest_find(&k->nest, read);
    if (f->zero >= 0)
        return true;
    int map[NEST_MAX_AXES];
    for (int a = 0; a < main->axis_count; a++)
        map[a] = a;
    Index *index = temporary ? nest_composed(k->nest.kernel, temporary, main, read, outer) : NULL;
    if (!index)
        return refuse(why, "a zero point that is not read directly");
    f->zero = k->nest.access_count;
    return nest_add_at(&k->nest, main, map, read, index, why);
}

/* What a factor of f32 reads beside its whole numbers: an access of its own. */
static bool find_beside(Contract *k, const Definition *temporary, const Expr *outer, const Expr *read, int *access,
                        const char **why) {
    const Definition *main = k->nest.definition;
    int map[NEST_MAX_AXES];
    if (read->op != EXPR_READ || read->guarded || read->type != DT_F32 || definition_of(k->nest.kernel, read->tensor))
        return refuse(why, "a scale that is no tensor of f32");
    for (int a = 0; a < main->axis_count; a++)
        map[a] = a;
    Index *index = nest_composed(k->nest.kernel, temporary, main, read, outer);
    *access = k->nest.access_count;
    return index && nest_add_at(&k->nest, main, map, read, index, why);
}

static bool is_number(const Expr *e, int64_t value) {
    return e->op == EXPR_NUMBER && (e->is_float ? e->number == (double)value : e->integer == value);
}

/* e is `op` of the axis and a number. */
static bool is_of_axis(const Expr *e, ExprOp op, int axis, int64_t value) {
    return e->op == op && e->arg[0]->op == EXPR_AXIS && e->arg[0]->axis == axis && is_number(e->arg[1], value);
}

/* (b[.., j // 2] >> 4 * (j % 2)) & 15, j the last dimension of the temporary: parts of bytes, in the order of the temporary, of
 * four bits, or likewise of two. Gives the read and the type of the parts; NULL: it is something else. */
static const Expr *find_parts(const Kernel *kernel, const Definition *d, const Expr *e, DType *type) {
    bool halves = e->op == EXPR_AND && is_number(e->arg[1], 15);
    int64_t bits = halves ? 4 : 2, each = 8 / bits;
    if (e->op != EXPR_AND || (!halves && !is_number(e->arg[1], 3)) || e->arg[0]->op != EXPR_SHR ||
        d->parallel_count != d->axis_count)
        return NULL;
    const Expr *read = expr_without_cast(e->arg[0]->arg[0]), *by = e->arg[0]->arg[1];
    int last = d->left_count - 1, axis = last < 0 ? -1 : index_plain_axis(d, &d->left[last]);
    if (axis < 0 || by->op != EXPR_MUL || !is_number(by->arg[0], bits) || !is_of_axis(by->arg[1], EXPR_MOD, axis, each) ||
        read->op != EXPR_READ || read->guarded || read->type != DT_U8 || read->index_count != d->left_count ||
        read->index[last].affine || !is_of_axis(read->index[last].expr, EXPR_FLOORDIV, axis, each))
        return NULL;
    const int64_t *to = kernel->tensors[d->tensor].dims, *from = kernel->tensors[read->tensor].dims;
    for (int i = 0; i < last; i++)
        if (index_plain_axis(d, &d->left[i]) == -2 || index_plain_axis(d, &d->left[i]) != index_plain_axis(d, &read->index[i]) ||
            from[i] != to[i])
            return NULL;
    *type = halves ? DT_U4 : DT_U2;
    return from[last] * each == to[last] ? read : NULL;
}

/* (f32(b[..]) - zero) * scale[..] in a temporary: what is left of it is the conversion. */
static const Expr *find_scale(Contract *k, const Definition *temporary, const Expr *outer, const Expr *e, ContractFactor *f,
                              const char **why) {
    if (k->sum != DT_F32 || e->op != EXPR_MUL || e->arg[0]->op != EXPR_SUB || e->arg[0]->arg[0]->op != EXPR_CAST)
        return e;
    f->scaled = true;
    if (!find_beside(k, temporary, outer, e->arg[1], &f->scale, why) ||
        !find_beside(k, temporary, outer, e->arg[0]->arg[1], &f->zero, why))
        return NULL;
    return e->arg[0]->arg[0];
}

static bool find_factor(Contract *k, const Expr *e, ContractFactor *f, int *absorbed, const char **why) {
    const Kernel *kernel = k->nest.kernel;
    const Expr *exact = expr_rounded_read(e), *outer = expr_without_cast(e)->op == EXPR_READ ? expr_without_cast(e) : NULL;
    const Definition *temporary = outer ? definition_of(kernel, outer->tensor) : NULL;
    *f = (ContractFactor){.zero = -1, .zero_known = true, .rounded = exact != NULL};
    if (exact)
        e = exact;
    if (temporary) {
        if (e != outer)
            return refuse(why, "a factor that converts a temporary");
        e = find_scale(k, temporary, outer, temporary->value, f, why);
        if (!e)
            return refuse(why, *why ? *why : "out of memory");
    }
    const Expr *zero = e->op == EXPR_SUB ? e->arg[1] : NULL, *read = expr_without_cast(zero ? e->arg[0] : e);
    const Expr *parts = f->scaled ? find_parts(kernel, temporary, read, &f->type) : NULL;
    if (parts) { /* of which there are as many as the temporary has elements, in its order */
        f->access = nest_find(&k->nest, outer);
        k->nest.access[f->access].tensor = parts->tensor;
        k->nest.access[f->access].type = f->type;
        ++*absorbed;
        return !k->nest.access[f->access].guard_count || refuse(why, "a guarded read of parts of bytes");
    }
    if (read->op != EXPR_READ)
        return refuse(why, "not a sum of products of two tensors");
    if (definition_of(kernel, read->tensor) || (temporary && !nest_copies(kernel, temporary, read)))
        return refuse(why, "a temporary that is more than a conversion");
    f->access = nest_find(&k->nest, temporary ? outer : read);
    f->type = kernel->tensors[read->tensor].type;
    if (zero && (k->reduction->type != DT_S32 || !find_zero(k, temporary, outer, zero, f, why)))
        return refuse(why, *why ? *why : "a difference of floats");
    Access *access = &k->nest.access[f->access];
    if (temporary) {
        Index *index = nest_copied_index(kernel, temporary, read, outer);
        if (!index || !nest_read_instead(&k->nest, f->access, read->tensor, index, why))
            return refuse(why, *why ? *why : "out of memory");
    }
    if (temporary) {
        f->centred = access->guard_count && zero;
        if (access->guard_count && access->outside != 0 && zero)
            return refuse(why, "a value outside beside a zero point");
        ++*absorbed;
    }
    return true;
}

/* ---- the product ---- */

static const Expr *find_sum(const Definition *d) {
    const Expr *found = NULL;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE) {
            if (found || d->exprs[i]->reduce != REDUCE_SUM)
                return NULL;
            found = d->exprs[i];
        }
    return found;
}

/* As it is multiplied. */
static bool is_bf16(const ContractFactor *f) {
    return f->rounded || f->type == DT_BF16;
}

static bool served(const Contract *k, const char **why) {
    DType a = k->fa.type, b = k->fb.type;
    if ((k->fa.rounded && !is_bf16(&k->fb)) || (k->fb.rounded && !is_bf16(&k->fa)))
        return refuse(why, "one factor of two that is rounded");
    if (k->sum == DT_F32 && is_float(a) && is_float(b))
        return true;
    if (k->sum == DT_F32 && k->fa.scaled != k->fb.scaled && (k->fa.scaled ? is_float(b) : is_float(a)))
        return is_whole(k->fa.scaled ? a : b) || refuse(why, "scaled numbers of more than a byte");
    if (k->sum == DT_S32 && dtype_is_byte(a) && dtype_is_byte(b))
        return true;
    return refuse(why, "a contraction of these types");
}

bool contract_find_factors(Contract *k, const Kernel *kernel, const char **why) {
    const Definition *main = &kernel->definitions[kernel->definition_count - 1];
    k->reduction = find_sum(main);
    if (!k->reduction)
        return refuse(why, kernel->definition_count > 1 ? "more than one definition" : "not one sum");
    const Expr *product = k->reduction->arg[0];
    if (product->op != EXPR_MUL)
        return refuse(why, "not a sum of products of two tensors");
    if (!nest_begin(kernel, main, &k->nest, why))
        return false;
    int absorbed = 0;
    k->sum = k->reduction->type;
    if (!find_factor(k, product->arg[0], &k->fa, &absorbed, why) || !find_factor(k, product->arg[1], &k->fb, &absorbed, why))
        return false;
    if (product->arg[0] == product->arg[1])
        return refuse(why, "a sum of squares");
    if (absorbed != kernel->definition_count - 1)
        return refuse(why, "more than one definition");
    nest_end(&k->nest);
    k->a = k->fa.access;
    k->b = k->fb.access;
    return served(k, why);
}

/* ---- how it is computed ---- */

/* A zero point stands still along the sum, and along what its factor does not know. */
static bool zero_fits(const Contract *k, const ContractFactor *f, const char **why) {
    if (f->zero < 0 || f->zero_known || k->steps == 0)
        return true;
    const Access *zero = &k->nest.access[f->zero], *factor = &k->nest.access[f->access];
    for (int x = 0; x < k->nest.axis_count; x++)
        if (zero->stride[x] && (x >= k->nest.parallel_count || !factor->stride[x]))
            return refuse(why, "a zero point that moves with the sum");
    if (f->centred)
        for (int x = 0; x < k->nest.axis_count; x++)
            if (zero->stride[x])
                return refuse(why, "a zero point that moves, outside of its factor");
    return true;
}

/* The dot takes u8 and s8; where the machine has none for bytes, also s8 and s8, for it is made of 16 bits there anyway. Where it
 * has one for s8 and s8 alone, everything becomes that. */
static void choose_bytes(Contract *k, const Target *target) {
    bool a_unsigned = k->fa.type == DT_U8, b_unsigned = k->fb.type == DT_U8;
    bool b_has_zero = !(k->fb.zero_known && k->fb.zero_value == 0);
    k->group = 4;
    k->dot = VECTOR_DOT4_US;
    if (target->mmla_bytes && !target->tiles.quads) { /* rows and columns two by two: of either sign times signed */
        k->paired = true;
        k->group = k->unit = 8;
        k->dot = a_unsigned ? VECTOR_MMLA_US : VECTOR_MMLA;
        k->fb.flip = b_unsigned;
    } else if (target->dot4_ss && !target->dot4_us) { /* all of A's sign: B is flipped when it is packed */
        bool both_unsigned = a_unsigned && target->dot4_uu;
        k->dot = both_unsigned ? VECTOR_DOT4_UU : VECTOR_DOT4_SS;
        k->fa.flip = a_unsigned && !both_unsigned;
        k->fb.flip = b_unsigned != both_unsigned;
    } else if (!a_unsigned && !b_unsigned && (target->dot4_ss || !target->dot4_us))
        k->dot = VECTOR_DOT4_SS;
    else if (!a_unsigned && (b_unsigned || b_has_zero)) { /* sums of rows are made anyway */
        k->b_first = true;
        k->fb.flip = !b_unsigned;
    } else {
        k->fa.flip = !a_unsigned;
        k->fb.flip = b_unsigned;
    }
}

/* Scales, and zero points like them, move with the columns, side by side, and with the depth: for every row the same. */
static bool scale_fits(const Contract *k, const char **why) {
    const Access *scale = &k->nest.access[k->fb.scale], *zero = &k->nest.access[k->fb.zero];
    const Access *b = &k->nest.access[k->b];
    if (contract_n_stride(k, k->fb.scale) != 1 || b->guard_count || scale->tensor != zero->tensor)
        return refuse(why, "scales that do not lie along the columns, zero points beside them");
    for (int x = 0; x < k->nest.axis_count; x++)
        if (scale->stride[x] != zero->stride[x] || (scale->stride[x] && !b->stride[x]))
            return refuse(why, "scales that do not move as their factor does");
    const int inner = k->k_count ? k->k_axis[k->k_count - 1] : -1;
    if (k->fb.type == DT_U8)
        return true;
    for (int x = 0; x < k->nest.axis_count; x++)
        if (x != inner && b->stride[x] % k->group)
            return refuse(why, "parts of bytes that are not together along the depth");
    return (inner >= 0 && b->stride[inner] == 1 && b->offset % k->group == 0) ||
           refuse(why, "parts of bytes that are apart along the depth");
}

bool contract_choose_types(Contract *k, const Target *target, const char **why) {
    bool bf16 = is_bf16(&k->fa) && is_bf16(&k->fb);
    if (k->fa.rounded)
        return refuse(why, "rows that are rounded where they are read");
    k->group = 1;
    k->unit = 4;
    k->dot = VECTOR_FMA;
    if (k->sum == DT_S32)
        choose_bytes(k, target);
    else if (bf16 && target->mmla_bf16 && !target->tiles.pairs) {
        k->paired = true;
        k->group = 4;
        k->unit = 8;
        k->dot = VECTOR_MMLA;
    } else if (bf16) { /* where the machine has none, two multiply-adds: vector/rewrite.c */
        k->group = 2;
        k->dot = VECTOR_DOT2;
    }
    if (k->fa.scaled || k->fb.scaled) { /* panels of bytes, whole or of parts */
        k->group = 8 / dtype_bits(k->fb.type);
        k->unit = 1;
        return k->fa.scaled ? refuse(why, "scales of rows") : scale_fits(k, why);
    }
    if (!zero_fits(k, &k->fa, why) || !zero_fits(k, &k->fb, why))
        return false;
    k->column_sums = k->sum == DT_S32 && !contract_no_zero(&k->fa);
    k->row_sums = k->sum == DT_S32 && !contract_no_zero(&k->fb);
    return true;
}
