/* The table of operators: the families side by side, and how a node finds its row.
 *
 * Each family keeps its rows sorted by name, domain and version, so a row is found by halving each family in turn: no index
 * has to be made, and nothing global is ever written. A test asserts the order. */
#include <string.h>

#include "ops/ops.h"

// clang-format off
#define FAMILIES(X) \
    X(attention) \
    X(cast) \
    X(constant) \
    X(contrib) \
    X(contrib_attention) \
    X(contrib_quantized) \
    X(contrib_rotary) \
    X(control) \
    X(convolve) \
    X(deform) \
    X(detection) \
    X(elementwise) \
    X(experimental) \
    X(index) \
    X(linear_attention) \
    X(loss) \
    X(matrix) \
    X(ml) \
    X(ml_trees) \
    X(movement) \
    X(normalize) \
    X(pad) \
    X(pick) \
    X(pool) \
    X(quantize) \
    X(rearrange) \
    X(recurrent) \
    X(reduce) \
    X(resize) \
    X(sample) \
    X(scatter) \
    X(signal) \
    X(slice) \
    X(unfold) \
    X(view)

#define X(name) \
    extern const OpRow ops_##name[]; \
    extern const size_t ops_##name##_count;
FAMILIES(X)
#undef X
// clang-format on

static const struct Family {
    const OpRow *rows;
    const size_t *count;
} families[] = {
#define X(name) {ops_##name, &ops_##name##_count},
    FAMILIES(X)
#undef X
};

static int compare(const OpRow *row, const char *name, const char *domain, int since) {
    int order = strcmp(row->name, name);
    if (!order)
        order = strcmp(row->domain, domain);
    return order ? order : (row->since > since) - (row->since < since);
}

static bool is_of(const OpRow *row, const char *name, const char *domain) {
    return !strcmp(row->name, name) && !strcmp(row->domain, domain);
}

/* How many rows of the family are not after (name, domain, opset). */
static size_t count_not_after(const struct Family *family, const char *name, const char *domain, int opset) {
    size_t low = 0, high = *family->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&family->rows[middle], name, domain, opset) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const OpRow *op_find(const char *domain, const char *name, int opset, whet_error *err) {
    for (size_t i = 0; i < COUNT(families); i++) {
        size_t next = count_not_after(&families[i], name, domain, opset);
        const OpRow *row = next ? &families[i].rows[next - 1] : NULL;
        if (row && is_of(row, name, domain)) {
            if (!row->refused)
                return row;
            return error_set(err, WHET_ERROR_UNSUPPORTED, "%s", row->refused), NULL;
        }
        row = next < *families[i].count ? &families[i].rows[next] : NULL;
        if (row && !row->refused && is_of(row, name, domain)) /* a later version */
            return error_set(err, WHET_ERROR_UNSUPPORTED, "operator of an old version; %d and later are supported", row->since),
                   NULL;
    }
    return error_set(err, WHET_ERROR_UNSUPPORTED, "operator not supported"), NULL;
}

size_t op_row_count(void) {
    size_t count = 0;
    for (size_t i = 0; i < COUNT(families); i++)
        count += *families[i].count;
    return count;
}

const OpRow *op_row(size_t index) {
    for (size_t i = 0; i < COUNT(families); i++) {
        if (index < *families[i].count)
            return &families[i].rows[index];
        index -= *families[i].count;
    }
    return NULL;
}

const char *op_table_unsorted(void) {
    for (size_t i = 0; i < COUNT(families); i++)
        for (size_t r = 1; r < *families[i].count; r++) {
            const OpRow *row = &families[i].rows[r];
            if (compare(row - 1, row->name, row->domain, row->since) >= 0)
                return row->name;
        }
    return NULL;
}
