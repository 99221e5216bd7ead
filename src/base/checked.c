/* Arithmetic on numbers from outside: sizes, offsets and products of dimensions that a file made up. */
#include "base/base.h"

bool checked_add(int64_t a, int64_t b, int64_t *out) {
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b)
        return false;
    *out = a + b;
    return true;
}

bool checked_sub(int64_t a, int64_t b, int64_t *out) {
    if (b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b)
        return false;
    *out = a - b;
    return true;
}

bool checked_mul(int64_t a, int64_t b, int64_t *out) {
    if (a == 0 || b == 0) {
        *out = 0;
        return true;
    }
    if ((a == -1 && b == INT64_MIN) || (b == -1 && a == INT64_MIN))
        return false;
    if (a > 0 ? (b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a) : (b > 0 ? a < INT64_MIN / b : a < INT64_MAX / b))
        return false;
    *out = a * b;
    return true;
}

bool checked_size_add(size_t a, size_t b, size_t *out) {
    *out = a + b;
    return a <= SIZE_MAX - b;
}

bool checked_size_mul(size_t a, size_t b, size_t *out) {
    *out = a * b;
    return b == 0 || a <= SIZE_MAX / b;
}

bool checked_count(const int64_t *dims, int rank, int64_t *out) {
    int64_t count = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        if (dims[i] == 0)
            empty = true;
        else if (!checked_mul(count, dims[i], &count))
            return false;
    }
    *out = empty ? 0 : count;
    return true;
}

int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a < 0 ? -a : a;
}
