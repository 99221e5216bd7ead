/* Matrix products: MatMul, Gemm, Einsum, their integer forms, and the determinant.
 *
 * Axes: i<d> leading (batch) dimensions, m rows, j columns, k what is summed over. */
#include <math.h>
#include <string.h>

#include "ops/native.h"
#include "ops/ops.h"

/* ---- MatMul: NumPy's rules --------------------------------------------------------------------------------------- */

/* The batch dimensions: all but the last two (the last, for a vector). */
static Type batch_of(const Type *type) {
    Type batch = {.rank = type->rank > 2 ? type->rank - 2 : 0};
    memcpy(batch.dims, type->dims, (size_t)batch.rank * sizeof *batch.dims);
    return batch;
}

static Dim rows_of(const Type *a) {
    return a->dims[a->rank - 2];
}

static Dim columns_of(const Type *b) {
    return b->dims[b->rank - 1];
}

static whet_status matmul_shape_of(OpCall *call, int a_at, int b_at) {
    const Type *a = call->in[a_at], *b = call->in[b_at];
    if (a->rank < 0 || b->rank < 0)
        return WHET_OK;
    if (a->rank == 0 || b->rank == 0)
        return op_error(call, WHET_ERROR_DATA, "a matrix product of a scalar; wanted rank 1 or more");
    Dim inner_a = a->dims[a->rank - 1], inner_b = b->dims[b->rank > 1 ? b->rank - 2 : 0];
    if (dim_is_extent(inner_a) && dim_is_extent(inner_b) && inner_a != inner_b)
        return op_error(call, WHET_ERROR_DATA, "columns of A: %lld, rows of B: %lld; wanted the same", (long long)inner_a,
                        (long long)inner_b);
    Type all = {0}, batch_a = batch_of(a), batch_b = batch_of(b);
    whet_status status = op_broadcast(call, &all, &batch_a, &batch_b);
    if (status)
        return status;
    if (a->rank > 1)
        all.dims[all.rank++] = rows_of(a);
    if (b->rank > 1)
        all.dims[all.rank++] = columns_of(b);
    op_set_shape(call, 0, all.rank, all.dims);
    return WHET_OK;
}

static whet_status shape_matmul(OpCall *call) {
    return matmul_shape_of(call, 0, 1);
}

/* The batch indices of an operand of a product with `rank` batch dimensions: "i0, 0, ", where extents of 1 are broadcast. */
static void put_batch(Text *out, const Type *operand, int rank) {
    Type batch = batch_of(operand);
    for (int d = 0; d < batch.rank; d++)
        if (batch.dims[d] == 1)
            text_put(out, "0, ");
        else
            text_printf(out, "i%d, ", rank - batch.rank + d);
}

typedef struct Product {
    const Type *a, *b;
    int batch; /* dimensions */
} Product;

static Product get_product(const OpCall *call, int a_at, int b_at) {
    const Type *a = call->in[a_at], *b = call->in[b_at];
    int batch_a = batch_of(a).rank, batch_b = batch_of(b).rank;
    return (Product){a, b, batch_a > batch_b ? batch_a : batch_b};
}

/* $a "a[i0, m, k]"; $b "b[i0, k, j]"; $y "y[i0, m, j]" */
static OpHoles product_holes(const OpCall *call, const Product *p) {
    OpHoles holes = op_holes(call);
    bool rows = p->a->rank > 1, columns = p->b->rank > 1;
    Text a, b, y;
    text_init(&a);
    text_init(&b);
    text_init(&y);
    text_put(&a, "a[");
    put_batch(&a, p->a, p->batch);
    text_put(&a, rows ? "m, k]" : "k]");
    op_hole_text(&holes, 'a', &a);
    text_put(&b, "b[");
    put_batch(&b, p->b, p->batch);
    text_put(&b, columns ? "k, j]" : "k]");
    op_hole_text(&holes, 'b', &b);
    text_put(&y, "y[");
    for (int d = 0; d < p->batch; d++)
        text_printf(&y, "i%d%s", d, d + 1 < p->batch || rows || columns ? ", " : "");
    text_put(&y, rows && columns ? "m, j]" : rows ? "m]" : columns ? "j]" : "]");
    op_hole_text(&holes, 'y', &y);
    return holes;
}

static whet_status build_matmul(OpCall *call, Text *out) {
    Product p = get_product(call, 0, 1);
    OpHoles holes = product_holes(call, &p);
    op_put_filled(out, &holes, "$y = $T(sum(k) $W($a) * $W($b))");
    return WHET_OK;
}

/* ---- Integer products -------------------------------------------------------------------------------------------- */

/* A scale or zero point: one number, or one a row of A (a column of B). As a vector its only dimension is that one; with the
 * operand's rank, the dimension of `k` is 1: "a_zero[]", "a_zero[m]", "a_zero[i0, m, 0]". */
static whet_status hole_parameter(OpCall *call, OpHoles *holes, char hole, const char *name, int input, const Product *p,
                                  bool of_a) {
    const Type *type = call->in[input], *operand = of_a ? p->a : p->b;
    const char *axis = of_a ? "m" : "j";
    Dim extent = operand->rank < 2 ? 1 : of_a ? rows_of(operand) : columns_of(operand);
    if (type->rank == 0) {
        op_hole(holes, hole, "%s[]", name);
    } else if (type->rank == 1 && type->dims[0] == 1) {
        op_hole(holes, hole, "%s[0]", name);
    } else if (type->rank == 1 && type->dims[0] == extent) {
        op_hole(holes, hole, "%s[%s]", name, axis);
    } else if (type->rank == operand->rank && type->rank >= 2 && type->dims[type->rank - (of_a ? 1 : 2)] == 1) {
        Text text;
        text_init(&text);
        text_printf(&text, "%s[", name);
        put_batch(&text, type, p->batch);
        bool one = (of_a ? rows_of(type) : columns_of(type)) == 1;
        text_printf(&text, of_a ? "%s, 0]" : "0, %s]", one ? "0" : axis);
        op_hole_text(holes, hole, &text);
    } else {
        return op_error(call, WHET_ERROR_DATA, "input %d '%s' has a wrong shape; wanted a scalar or an element a %s", input, name,
                        of_a ? "row of A" : "column of B");
    }
    return WHET_OK;
}

/* $A and $B: the operands as s32, without their zero points. */
static whet_status hole_centred(OpCall *call, OpHoles *holes, const Product *p, int a_zero, int b_zero) {
    whet_status status = WHET_OK;
    if (op_has(call, a_zero))
        status = hole_parameter(call, holes, 'p', "a_zero", a_zero, p, true);
    if (!status && op_has(call, b_zero))
        status = hole_parameter(call, holes, 'q', "b_zero", b_zero, p, false);
    if (status)
        return status;
    op_hole_filled(holes, 'A', op_has(call, a_zero) ? "(s32($a) - s32($p))" : "s32($a)");
    op_hole_filled(holes, 'B', op_has(call, b_zero) ? "(s32($b) - s32($q))" : "s32($b)");
    return WHET_OK;
}

static whet_status build_matmul_integer(OpCall *call, Text *out) {
    Product p = get_product(call, 0, 1);
    OpHoles holes = product_holes(call, &p);
    whet_status status = hole_centred(call, &holes, &p, 2, 3);
    if (!status)
        op_put_filled(out, &holes, "$y = sum(k) $A * $B");
    return status;
}

static whet_status shape_qlinear_matmul(OpCall *call) {
    return matmul_shape_of(call, 0, 3);
}

/* In f32; the cast saturates. Scale and zero point of the result may be one a row. */
static whet_status build_qlinear_matmul(OpCall *call, Text *out) {
    Product p = get_product(call, 0, 3);
    OpHoles holes = product_holes(call, &p);
    whet_status status = hole_centred(call, &holes, &p, 2, 5);
    if (!status)
        status = hole_parameter(call, &holes, 's', "a_scale", 1, &p, true);
    if (!status)
        status = hole_parameter(call, &holes, 't', "b_scale", 4, &p, false);
    if (!status)
        status = hole_parameter(call, &holes, 'u', "y_scale", 6, &p, true);
    if (!status)
        status = hole_parameter(call, &holes, 'z', "y_zero", 7, &p, true);
    if (!status)
        op_put_filled(out, &holes, "$y = $T(round(f32(sum(k) $A * $B) * (f32($s) * f32($t) / f32($u))) + f32($z))");
    return status;
}

/* ---- Gemm -------------------------------------------------------------------------------------------------------- */

static whet_status shape_gemm(OpCall *call) {
    const Type *a = call->in[0], *b = call->in[1];
    if (a->rank < 0 || b->rank < 0)
        return WHET_OK;
    if (a->rank != 2 || b->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "A has rank %d, B has rank %d; wanted 2 and 2", a->rank, b->rank);
    int ta = op_int(call, "transA") != 0, tb = op_int(call, "transB") != 0;
    Dim inner_a = a->dims[1 - ta], inner_b = b->dims[tb];
    if (dim_is_extent(inner_a) && dim_is_extent(inner_b) && inner_a != inner_b)
        return op_error(call, WHET_ERROR_DATA, "columns of A: %lld, rows of B: %lld; wanted the same", (long long)inner_a,
                        (long long)inner_b);
    if (op_has(call, 2) && call->in[2]->rank > 2)
        return op_error(call, WHET_ERROR_DATA, "C has rank %d; wanted 2 or less", call->in[2]->rank);
    const Dim dims[] = {a->dims[ta], b->dims[1 - tb]};
    op_set_shape(call, 0, 2, dims);
    return WHET_OK;
}

/* "0.5 * ", nothing for 1; integers take integers alone. */
static whet_status hole_factor(OpCall *call, OpHoles *holes, char hole, const char *name) {
    double factor = op_float(call, name);
    bool is_float = dtype_kind(call->in[0]->type) == KIND_FLOAT;
    if (!is_float && (factor != trunc(factor) || fabs(factor) >= 1e9))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%s is %g; of integers, a whole number below 1e9 is supported", name,
                        factor);
    Text text;
    text_init(&text);
    if (factor != 1 && is_float)
        text_float(&text, (float)factor);
    else if (factor != 1)
        text_printf(&text, "(%.0f)", factor);
    text_put(&text, factor != 1 ? " * " : "");
    op_hole_text(holes, hole, &text);
    return WHET_OK;
}

static whet_status build_gemm(OpCall *call, Text *out) {
    OpHoles holes = op_holes(call);
    op_hole(&holes, 'a', op_int(call, "transA") ? "k, m" : "m, k");
    op_hole(&holes, 'b', op_int(call, "transB") ? "j, k" : "k, j");
    whet_status status = hole_factor(call, &holes, 'p', "alpha");
    if (!status)
        status = hole_factor(call, &holes, 'q', "beta");
    if (status)
        return status;
    op_put_filled(out, &holes, "y[m, j] = $T($p(sum(k) $W(a[$a]) * $W(b[$b]))");
    if (op_has(call, 2) && op_float(call, "beta") != 0) {
        const Type *c = call->in[2];
        const char *const row = c->rank == 2 ? (c->dims[0] == 1 ? "0, " : "m, ") : "";
        const char *const column = !c->rank ? "" : c->dims[c->rank - 1] == 1 ? "0" : "j";
        op_hole(&holes, 'c', "%s%s", row, column);
        op_put_filled(out, &holes, " + $q$W(c[$c])");
    }
    text_char(out, ')');
    return WHET_OK;
}

/* ---- Einsum ---------------------------------------------------------------------------------------------------------
 *
 * A label is an axis: `a` for "a" is named la, "A" is uA; the dimensions of an ellipsis are e0, e1, ..., numbered from the
 * first of the longest. */

#define LABELS 52

typedef struct Term {
    signed char axes[WHET_MAX_RANK]; /* a label's number, or -1 - i for ellipsis dimension i */
    int rank;
} Term;

typedef struct Einsum {
    Term terms[KERNEL_MAX_TENSORS], result;
    int ellipsis; /* dimensions of the longest */
    Dim labels[LABELS], dots[WHET_MAX_RANK];
    int uses[LABELS];
} Einsum;

static int label_of(char c) {
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? 26 + c - 'A' : -1;
}

/* Reads one term up to `stop`. dots: dimensions its ellipsis stands for, the last of `all`; -1: not to be known from outside. */
static whet_status read_term(OpCall *call, Str *text, int rank, int all, Term *term) {
    int labels = 0, dots = 0;
    bool seen = false;
    size_t end = 0;
    while (end < text->length && text->data[end] != ',' && text->data[end] != '-') {
        char c = text->data[end++];
        labels += label_of(c) >= 0;
        dots += c == '.';
        if (label_of(c) < 0 && c != '.' && c != ' ')
            return op_error(call, WHET_ERROR_FORMAT, "character '%c' in the equation; wanted letters, commas, '...' and '->'", c);
    }
    int wide = rank < 0 ? all : rank - labels;
    if ((dots && dots != 3) || (!dots && rank >= 0 && rank != labels) || wide < 0 || labels + (dots ? wide : 0) > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_DATA, "the term '%.*s' does not fit an operand of rank %d", (int)end, text->data, rank);
    term->rank = 0;
    for (size_t i = 0; i < end; i++) {
        char c = text->data[i];
        if (c == '.' && !seen) {
            seen = true;
            if (i + 3 > end || memcmp(text->data + i, "...", 3) != 0)
                return op_error(call, WHET_ERROR_FORMAT, "the equation has dots; wanted three in a row");
            for (int d = 0; d < wide; d++)
                term->axes[term->rank++] = (signed char)(-1 - (all - wide + d));
        } else if (c != '.' && c != ' ') {
            term->axes[term->rank++] = (signed char)label_of(c);
        }
    }
    *text = (Str){text->data + end, text->length - end};
    return WHET_OK;
}

/* Dimensions an ellipsis of operand `i` stands for; 0 without one. */
static int ellipsis_of(const char *term, size_t length, int rank) {
    int labels = 0, dots = 0;
    for (size_t i = 0; i < length; i++) {
        labels += label_of(term[i]) >= 0;
        dots += term[i] == '.';
    }
    return dots ? rank - labels : 0;
}

static int longest_ellipsis(const OpCall *call, Str equation) {
    int longest = 0;
    const char *at = equation.data, *stop = at + equation.length;
    for (int i = 0; i < call->in_count; i++) {
        const char *end = at;
        while (end < stop && *end != ',' && *end != '-')
            end++;
        int dots = ellipsis_of(at, (size_t)(end - at), call->in[i]->rank);
        longest = dots > longest ? dots : longest;
        at = end < stop ? end + 1 : end;
    }
    return longest;
}

static whet_status join_extent(OpCall *call, Dim *known, Dim seen) {
    Type a = {.rank = 1, .dims = {*known}}, b = {.rank = 1, .dims = {seen}}, both = {0};
    whet_status status = op_broadcast(call, &both, &a, &b);
    *known = both.dims[0];
    return status;
}

static whet_status join_operand(OpCall *call, Einsum *e, int i) {
    const Term *term = &e->terms[i];
    whet_status status = WHET_OK;
    for (int d = 0; !status && d < term->rank; d++) {
        int axis = term->axes[d];
        if (axis >= 0)
            e->uses[axis]++;
        status = join_extent(call, axis >= 0 ? &e->labels[axis] : &e->dots[-1 - axis], call->in[i]->dims[d]);
    }
    return status;
}

/* Without "->": the ellipsis, then the labels that appear once, in alphabetical order (capitals first, as in ASCII). */
static whet_status implied_result(OpCall *call, Einsum *e) {
    e->result.rank = 0;
    for (int i = 0; i < e->ellipsis; i++)
        e->result.axes[e->result.rank++] = (signed char)(-1 - i);
    for (int i = 0; i < LABELS; i++) {
        int label = (i + 26) % LABELS;
        if (e->uses[label] != 1)
            continue;
        if (e->result.rank == WHET_MAX_RANK)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "the result has more than %d dimensions", WHET_MAX_RANK);
        e->result.axes[e->result.rank++] = (signed char)label;
    }
    return WHET_OK;
}

static whet_status check_result(OpCall *call, const Einsum *e) {
    for (int d = 0; d < e->result.rank; d++) {
        int axis = e->result.axes[d];
        if (axis >= 0 && !e->uses[axis])
            return op_error(call, WHET_ERROR_FORMAT, "the result has a label that no operand has; wanted theirs");
        for (int b = 0; b < d; b++)
            if (e->result.axes[b] == axis)
                return op_error(call, WHET_ERROR_FORMAT, "the result has a label twice; wanted each once");
    }
    return WHET_OK;
}

static whet_status read_einsum(OpCall *call, Einsum *e) {
    Str text = op_string(call, "equation");
    if (call->in_count >= KERNEL_MAX_TENSORS)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%d operands; at most %d are supported", call->in_count,
                        KERNEL_MAX_TENSORS - 1);
    memset(e, 0, sizeof *e);
    for (int i = 0; i < LABELS; i++)
        e->labels[i] = 1;
    for (int i = 0; i < WHET_MAX_RANK; i++)
        e->dots[i] = 1;
    e->ellipsis = longest_ellipsis(call, text);
    if (e->ellipsis < 0 || e->ellipsis > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_DATA, "the equation does not fit the operands");
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < call->in_count; i++) {
        if (i && (!text.length || *text.data != ','))
            return op_error(call, WHET_ERROR_FORMAT, "the equation has %d terms; the node has %d operands", i, call->in_count);
        if (i)
            text = (Str){text.data + 1, text.length - 1};
        status = read_term(call, &text, call->in[i]->rank, e->ellipsis, &e->terms[i]);
        if (!status)
            status = join_operand(call, e, i);
    }
    if (status)
        return status;
    if (!text.length)
        return implied_result(call, e);
    if (text.length < 2 || text.data[0] != '-' || text.data[1] != '>')
        return op_error(call, WHET_ERROR_FORMAT, "the equation has more terms than the node has operands (%d)", call->in_count);
    text = (Str){text.data + 2, text.length - 2};
    status = read_term(call, &text, -1, e->ellipsis, &e->result);
    if (!status && text.length)
        status = op_error(call, WHET_ERROR_FORMAT, "the equation goes on after its result; wanted its end");
    return status ? status : check_result(call, e);
}

static whet_status shape_einsum(OpCall *call) {
    if (!op_ranks_known(call))
        return WHET_OK;
    Einsum *e = ARENA_NEW(call->arena, Einsum);
    if (!e)
        return error_memory(call->err);
    whet_status status = read_einsum(call, e);
    if (status)
        return status;
    Dim dims[WHET_MAX_RANK];
    for (int d = 0; d < e->result.rank; d++) {
        int axis = e->result.axes[d];
        dims[d] = axis >= 0 ? e->labels[axis] : e->dots[-1 - axis];
    }
    op_set_shape(call, 0, e->result.rank, dims);
    return WHET_OK;
}

static void put_axis(Text *out, int axis) {
    if (axis < 0)
        text_printf(out, "e%d", -1 - axis);
    else
        text_printf(out, "%c%c", axis < 26 ? 'l' : 'u', axis < 26 ? 'a' + axis : 'A' + axis - 26);
}

/* "sum(lk, lq) ", the axes that the result lacks */
static int put_summed(Text *out, const Einsum *e) {
    bool kept[LABELS] = {0}, dots = false;
    for (int d = 0; d < e->result.rank; d++)
        if (e->result.axes[d] >= 0)
            kept[e->result.axes[d]] = true;
        else
            dots = true;
    int count = 0;
    for (int i = 0; i < LABELS + e->ellipsis; i++) {
        bool label = i < LABELS;
        if (label ? kept[i] || !e->uses[i] : dots)
            continue;
        Dim extent = label ? e->labels[i] : e->dots[i - LABELS];
        text_put(out, count++ ? ", " : "sum(");
        put_axis(out, label ? i : -1 - (i - LABELS));
        text_printf(out, ":%lld", (long long)extent);
    }
    text_put(out, count ? ") " : "");
    return count;
}

static whet_status build_einsum(OpCall *call, Text *out) {
    Einsum *e = ARENA_NEW(call->arena, Einsum);
    if (!e)
        return error_memory(call->err);
    whet_status status = read_einsum(call, e);
    if (status)
        return status;
    const char *wide = dtype_name(op_wide(call->in[0]->type));
    text_put(out, "y[");
    for (int d = 0; d < e->result.rank; d++) {
        text_put(out, d ? ", " : "");
        put_axis(out, e->result.axes[d]);
    }
    text_printf(out, "] = %s(", dtype_name(call->out[0].type));
    put_summed(out, e);
    for (int i = 0; i < call->in_count; i++) {
        text_printf(out, "%s%s(x%d[", i ? " * " : "", wide, i);
        for (int d = 0; d < e->terms[i].rank; d++) {
            text_put(out, d ? ", " : "");
            if (call->in[i]->dims[d] == 1)
                text_char(out, '0');
            else
                put_axis(out, e->terms[i].axes[d]);
        }
        text_put(out, "])");
    }
    text_char(out, ')');
    return WHET_OK;
}

/* ---- Det: in C, for elimination is no sum ------------------------------------------------------------------------ */

static whet_status shape_det(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 2 or more", x->rank);
    Dim rows = rows_of(x), columns = columns_of(x);
    if (dim_is_extent(rows) && dim_is_extent(columns) && rows != columns)
        return op_error(call, WHET_ERROR_DATA, "%lld rows and %lld columns; wanted a square", (long long)rows,
                        (long long)columns);
    op_set_shape(call, 0, x->rank - 2, x->dims);
    return WHET_OK;
}

static void swap_rows(double *m, int64_t n, int64_t a, int64_t b) {
    for (int64_t i = 0; i < n; i++) {
        double kept = m[a * n + i];
        m[a * n + i] = m[b * n + i];
        m[b * n + i] = kept;
    }
}

/* Gaussian elimination with partial pivoting; destroys m. */
static double determinant(double *m, int64_t n) {
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(m[i * n + k]) > fabs(m[pivot * n + k]))
                pivot = i;
        if (m[pivot * n + k] == 0)
            return 0;
        if (pivot != k) {
            swap_rows(m, n, pivot, k);
            det = -det;
        }
        det *= m[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            double factor = m[i * n + k] / m[k * n + k];
            for (int64_t j = k + 1; j < n; j++)
                m[i * n + j] -= factor * m[k * n + j];
        }
    }
    return det;
}

static whet_status run_det(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    int64_t n = x->dims[x->rank - 1], count = 1, square;
    for (int d = 0; d < x->rank - 2; d++)
        count *= x->dims[d];
    if (!checked_mul(n, n, &square) || square > (int64_t)1 << 40)
        return op_error(run->call, WHET_ERROR_DATA, "a matrix of %lld rows is too large", (long long)n);
    void *y = op_output(run, 0, (DType)x->type, x->rank - 2, x->dims);
    double *m = y ? op_scratch(run, (size_t)square * sizeof *m) : NULL;
    if (!m)
        return native_failed(run);
    Tensor result = {.type = x->type, .rank = 1, .dims = {count}, .data = y};
    dtype_bytes((DType)x->type, count, &result.bytes);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t e = 0; e < square; e++)
            m[e] = whet_tensor_get(x, i * square + e);
        whet_tensor_set(&result, i, determinant(m, n));
        whet_status status = op_interrupted(run);
        if (status)
            return status;
    }
    return WHET_OK;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define BYTES      "s8|u8"
#define GEMM_ATTRS "alpha:f=1 beta:f=1 transA:i=0 transB:i=0"

const OpRow ops_matrix[] = {
    {"", "Det", 11, "x:T -> y:T", "T=float", "", shape_det, .run = run_det},
    {"", "Einsum", 12, "x...:T -> y:T", "T=num", "equation:s!", shape_einsum, .build = build_einsum},
    {"", "Gemm", 7, "a:T, b:T, c?:T -> y:T", "T=num", GEMM_ATTRS, shape_gemm, .build = build_gemm},
    {"", "MatMul", 1, "a:T, b:T -> y:T", "T=num", "", shape_matmul, .build = build_matmul},
    {"", "MatMulInteger", 10, "a:T, b:U, a_zero?:T, b_zero?:U -> y:s32", "T=" BYTES " U=" BYTES, "", shape_matmul,
     .build = build_matmul_integer},
    {"", "QLinearMatMul", 10,
     "a:T, a_scale:S, a_zero:T, b:U, b_scale:S, b_zero:U, y_scale:S, y_zero:V -> y:V",
     "S=f32|f16|bf16 T=" BYTES " U=" BYTES " V=" BYTES, "", shape_qlinear_matmul, .build = build_qlinear_matmul},
};
// clang-format on
const size_t ops_matrix_count = COUNT(ops_matrix);
