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

static bool refuse(const char **why, const char *reason) {
    *why = reason;
    return false;
}

static const Definition *definition_of(const Kernel *kernel, int tensor) {
    for (int i = 0; i < kernel->definition_count - 1; i++)
        if (kernel->definitions[i].tensor == tensor && kernel->tensors[tensor].role == ROLE_TEMPORARY)
            return &kernel->definitions[i];
    return NULL;
}

static const Expr *without_cast(const Expr *e) {
    return e->op == EXPR_CAST ? e->arg[0] : e;
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

static bool is_byte(DType type) {
    return type == DT_U8 || type == DT_S8;
}

static bool is_float(DType type) {
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

static bool find_zero(Contract *k, const Definition *temporary, const Expr *outer, const Expr *zero, ContractFactor *f,
                      const char **why) {
    const Definition *main = k->nest.definition;
    const Expr *read = without_cast(zero);
    if (zero->op == EXPR_NUMBER) {
        f->zero_known = true;
        f->zero_value = zero->integer;
        return true;
    }
    if (read->op != EXPR_READ || read->guarded || (!is_byte(read->type) && read->type != DT_S32))
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

static bool find_factor(Contract *k, const Expr *e, ContractFactor *f, int *absorbed, const char **why) {
    const Kernel *kernel = k->nest.kernel;
    const Expr *exact = expr_rounded_read(e), *outer = without_cast(e)->op == EXPR_READ ? without_cast(e) : NULL;
    const Definition *temporary = outer ? definition_of(kernel, outer->tensor) : NULL;
    *f = (ContractFactor){.zero = -1, .zero_known = true, .rounded = exact != NULL};
    if (exact)
        e = exact;
    if (temporary) {
        if (e != outer)
            return refuse(why, "a factor that converts a temporary");
        e = temporary->value;
    }
    const Expr *zero = e->op == EXPR_SUB ? e->arg[1] : NULL, *read = without_cast(zero ? e->arg[0] : e);
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
    if (k->sum == DT_S32 && is_byte(a) && is_byte(b))
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
    if (!zero_fits(k, &k->fa, why) || !zero_fits(k, &k->fb, why))
        return false;
    k->column_sums = k->sum == DT_S32 && !(k->fa.zero_known && contract_zero_offset(&k->fa) + k->fa.zero_value == 0);
    k->row_sums = k->sum == DT_S32 && !(k->fb.zero_known && contract_zero_offset(&k->fb) + k->fb.zero_value == 0);
    return true;
}
