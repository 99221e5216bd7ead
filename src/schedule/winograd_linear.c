/* Winograd's matrices, from the points of a Toom-Cook product, and small linear maps as vector code.
 *
 * A product of polynomials of m and r coefficients is found by evaluating both at n - 1 points and at infinity, multiplying and
 * interpolating. Transposed, that gives m outputs of a filter of r taps from n = m + r - 1 inputs with n multiplications:
 *
 *     y = A^T ((G g) * (B^T d)):  A[k][i] = p_i^k,  G[i][k] = p_i^k / prod(j != i) (p_i - p_j),
 *                                 B^T row i: coefficients of prod(j != i) (x - p_j)
 *
 * Points decide the rounding errors. Powers of two keep A and B exact in binary. Largest errors seen, relative to the sum of the
 * products' magnitudes, 256 channels, uniform in [-1, 1]: for n = 6, (0, 1, -1, 2, -2) gives 6.5e-7, (0, 1, -1, 1/2, -1/2)
 * 6.0e-7 and (0, 1, -1, 1/2, -2) 2.8e-7 for m = 4, and 2.3e-7, 2.6e-7 and 1.2e-7 for m = 2; a point, its negative and its
 * reciprocals balance growing and shrinking powers. The last is used, though it takes half as many operations more. Weights are
 * transformed in f64 and rounded once. */
#include <math.h>

#include "schedule/winograd.h"

static const double points[] = {0, 1, -1, 0.5, -2};

/* Coefficients of prod(x - p_i) over the first `count` points but `skip`. */
static void polynomial(int count, int skip, double *out) {
    int degree = 0;
    out[0] = 1;
    for (int i = 0; i < count; i++) {
        if (i == skip)
            continue;
        out[degree + 1] = out[degree];
        for (int k = degree; k > 0; k--)
            out[k] = out[k - 1] - points[i] * out[k];
        out[0] *= -points[i];
        degree++;
    }
    for (int k = degree + 1; k <= count; k++)
        out[k] = 0;
}

static double power(double x, int n) {
    return n ? x * power(x, n - 1) : 1;
}

/* The pair of terms that most rows have in one ratio becomes a term of its own. False: no two rows share one. */
static bool share_pair(Linear *l) {
    int terms = l->inputs + l->step_count, best = 1, best_a = 0, best_b = 0;
    double best_ratio = 0;
    for (int a = 0; a < terms; a++)
        for (int b = 0; b < terms; b++)
            for (int r = 0; r < l->rows && a != b; r++) {
                if (l->coef[r][a] == 0 || l->coef[r][b] == 0)
                    continue;
                double ratio = l->coef[r][b] / l->coef[r][a];
                int count = 0;
                for (int s = 0; s < l->rows; s++)
                    count += l->coef[s][a] != 0 && l->coef[s][b] == ratio * l->coef[s][a];
                if (count > best || (count == best && best > 1 && fabs(ratio) == 1 && fabs(best_ratio) != 1)) {
                    best = count;
                    best_a = a, best_b = b, best_ratio = ratio;
                }
            }
    if (best < 2 || l->step_count == LINEAR_STEPS)
        return false;
    l->step[l->step_count].a = best_a;
    l->step[l->step_count].b = best_b;
    l->step[l->step_count++].ratio = best_ratio;
    for (int r = 0; r < l->rows; r++) {
        bool has = l->coef[r][best_a] != 0 && l->coef[r][best_b] == best_ratio * l->coef[r][best_a];
        l->coef[r][terms] = has ? l->coef[r][best_a] : 0;
        if (has)
            l->coef[r][best_a] = l->coef[r][best_b] = 0;
    }
    return true;
}

bool winograd_matrices(int m, int r, WinogradMatrices *out) {
    int n = m + r - 1;
    if (n - 1 > (int)COUNT(points) || n > LINEAR_MAX || m < 2 || r < 2)
        return false;
    *out = (WinogradMatrices){.m = m, .r = r, .n = n, .input = {.rows = n, .inputs = n}, .output = {.rows = m, .inputs = n}};
    for (int i = 0; i < n; i++) {
        bool infinite = i == n - 1;
        double scale = 1;
        for (int j = 0; j < n - 1; j++)
            scale *= infinite || j == i ? 1 : points[i] - points[j];
        for (int k = 0; k < r; k++)
            out->weights[i][k] = infinite ? k == r - 1 : power(points[i], k) / scale;
        for (int k = 0; k < m; k++)
            out->output.coef[k][i] = infinite ? k == m - 1 : power(points[i], k);
        polynomial(n - 1, infinite ? -1 : i, out->input.coef[i]);
    }
    while (share_pair(&out->input))
        ;
    while (share_pair(&out->output))
        ;
    return true;
}

/* ---- as vector code ---- */

/* sum + coef * x */
static int add_scaled(VectorFunction *f, int sum, double coef, int x) {
    if (coef == 1)
        return vector_binary(f, VECTOR_ADD, sum, x);
    if (coef == -1)
        return vector_binary(f, VECTOR_SUB, sum, x);
    return vector_ternary(f, VECTOR_FMA, x, vector_const(f, DT_F32, coef), sum);
}

typedef struct Terms {
    const Linear *l;
    VectorFunction *f;
    int value[LINEAR_MAX + LINEAR_STEPS]; /* -1: not computed yet */
} Terms;

static int term(Terms *t, int at) {
    if (t->value[at] < 0 && !t->f->failed) {
        int step = at - t->l->inputs, a = term(t, t->l->step[step].a), b = term(t, t->l->step[step].b);
        t->value[at] = add_scaled(t->f, a, t->l->step[step].ratio, b);
    }
    return t->value[at];
}

static int emit_row(Terms *t, const double *coef) {
    int count = t->l->inputs + t->l->step_count, first = -1;
    for (int i = 0; i < count; i++) /* begins with a term that need not be multiplied */
        if (coef[i] != 0 && (first < 0 || (coef[i] == 1 && coef[first] != 1)))
            first = i;
    int sum = term(t, first);
    if (coef[first] != 1)
        sum = vector_binary(t->f, VECTOR_MUL, sum, vector_const(t->f, DT_F32, coef[first]));
    for (int i = 0; i < count; i++)
        if (i != first && coef[i] != 0)
            sum = add_scaled(t->f, sum, coef[i], term(t, i));
    return sum;
}

void linear_emit(const Linear *l, VectorFunction *f, const int *inputs, int from, int to, int *outputs) {
    Terms t = {.l = l, .f = f};
    for (int i = 0; i < l->inputs + l->step_count; i++)
        t.value[i] = i < l->inputs ? inputs[i] : -1;
    for (int r = from; r < to; r++)
        outputs[r] = emit_row(&t, l->coef[r]);
}
