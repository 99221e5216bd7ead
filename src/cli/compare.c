/* Is an output what was recorded? Type, shape and texts exactly; numbers by one of three rules:
 *
 *   element   |a - b| <= atol + rtol |b|       each element by itself: what ONNX's own runner does
 *   range     |a - b| <= atol + rtol max |b|   differences against the output's range: long chains of float rounding
 *   l2        |a - b|_2 <= rtol |b|_2          the whole: quantized models, where single elements may jump a step
 *
 * NaN equals NaN, and an infinity only itself, under every rule.
 */
#include <math.h>
#include <string.h>

#include "cli.h"

typedef struct Difference {
    int64_t count, worst;  /* elements out of bounds; where the largest excess is */
    double most;           /* |a - b| there */
    double squares, scale; /* of l2: the sums of (a - b)^2 and b^2 */
} Difference;

static bool same_shape(const whet_tensor *a, const whet_tensor *b) {
    if (a->type != b->type || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

static void describe(const whet_tensor *tensor, char *text, size_t size) {
    int used = snprintf(text, size, "%s [", whet_type_name(tensor->type));
    for (int i = 0; i < tensor->rank && used > 0 && (size_t)used < size; i++)
        used += snprintf(text + used, size - (size_t)used, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
    if (used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, "]");
}

/* Element `flat` as [i, j, k]. */
static void describe_place(const whet_tensor *tensor, int64_t flat, char *text, size_t size) {
    int64_t at[WHET_MAX_RANK];
    for (int i = tensor->rank - 1; i >= 0; i--) {
        at[i] = flat % tensor->dims[i];
        flat /= tensor->dims[i];
    }
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < tensor->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)at[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

static bool compare_strings(const whet_tensor *got, const whet_tensor *want, int64_t count, char *reason, size_t size) {
    const StringElement *a = got->data, *b = want->data;
    for (int64_t i = 0; i < count; i++) {
        if (a[i].length == b[i].length && (a[i].length == 0 || memcmp(a[i].data, b[i].data, a[i].length) == 0))
            continue;
        char place[128];
        describe_place(want, i, place, sizeof place);
        snprintf(reason, size, "at %s: \"%.*s\" instead of \"%.*s\"", place, (int)(a[i].length > 80 ? 80 : a[i].length),
                 a[i].data, (int)(b[i].length > 80 ? 80 : b[i].length), b[i].data);
        return false;
    }
    return true;
}

static double largest(const whet_tensor *tensor, int64_t count) {
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = fabs(whet_tensor_get(tensor, i));
        if (isfinite(x) && x > most)
            most = x;
    }
    return most;
}

static void add_bad(Difference *difference, int64_t index, double apart) {
    if (difference->count++ == 0 || apart > difference->most) {
        difference->most = apart;
        difference->worst = index;
    }
}

static Difference measure(const whet_tensor *got, const whet_tensor *want, int64_t count, const Rule *rule) {
    Difference difference = {0};
    double range = rule->metric == METRIC_RANGE ? largest(want, count) : 0;
    for (int64_t i = 0; i < count; i++) {
        double a = whet_tensor_get(got, i), b = whet_tensor_get(want, i);
        if (a == b || (isnan(a) && isnan(b))) {
            if (isfinite(b))
                difference.scale += b * b;
            continue;
        }
        if (!isfinite(a) || !isfinite(b)) {
            add_bad(&difference, i, INFINITY);
            continue;
        }
        double apart = fabs(a - b);
        difference.squares += apart * apart;
        difference.scale += b * b;
        double bound = rule->atol + rule->rtol * (rule->metric == METRIC_RANGE ? range : fabs(b));
        if (rule->metric != METRIC_L2 && !(apart <= bound))
            add_bad(&difference, i, apart);
    }
    return difference;
}

static bool judge(const whet_tensor *got, const whet_tensor *want, const Rule *rule, char *reason, size_t size) {
    int64_t count = whet_tensor_count(want);
    Difference difference = measure(got, want, count, rule);
    if (rule->metric == METRIC_L2 && difference.count == 0) {
        double apart = sqrt(difference.squares), norm = sqrt(difference.scale);
        if (norm > 0 ? apart <= rule->rtol * norm : apart <= rule->atol)
            return true;
        snprintf(reason, size, "relative L2 difference %.3g, at most %g wanted", norm > 0 ? apart / norm : apart, rule->rtol);
        return false;
    }
    if (difference.count == 0)
        return true;
    char place[128];
    describe_place(want, difference.worst, place, sizeof place);
    double a = whet_tensor_get(got, difference.worst), b = whet_tensor_get(want, difference.worst);
    snprintf(reason, size, "%lld of %lld elements differ, most at %s: %.9g instead of %.9g (by %.3g)",
             (long long)difference.count, (long long)count, place, a, b, fabs(a - b));
    return false;
}

/* Complex numbers as pairs of real ones, in a further dimension. */
static whet_tensor as_pairs(const whet_tensor *tensor) {
    whet_tensor pairs = *tensor;
    pairs.type = tensor->type == WHET_C64 ? WHET_F32 : WHET_F64;
    pairs.dims[pairs.rank++] = 2;
    return pairs;
}

bool compare_tensors(const whet_tensor *got, const whet_tensor *want, const Rule *rule, char *reason, size_t size) {
    if (!same_shape(got, want)) {
        char a[192], b[192];
        describe(got, a, sizeof a);
        describe(want, b, sizeof b);
        snprintf(reason, size, "%s instead of %s", a, b);
        return false;
    }
    if (rule->shape_only)
        return true;
    if (want->type == WHET_STRING)
        return compare_strings(got, want, whet_tensor_count(want), reason, size);
    if ((want->type == WHET_C64 || want->type == WHET_C128) && want->rank < WHET_MAX_RANK) {
        whet_tensor a = as_pairs(got), b = as_pairs(want);
        return judge(&a, &b, rule, reason, size);
    }
    return judge(got, want, rule, reason, size);
}
