/* Named functions that are compositions of others: one row each, substituted where they are called. */
#include <string.h>

#include "kernel/internal.h"

// clang-format off
static const Macro macros[] = {
    /* name             parameters   body */
    {"relu",            "x",         "max(x, 0)"},
    {"relu6",           "x",         "min(max(x, 0), 6)"},
    {"clip",            "x lo hi",   "min(max(x, lo), hi)"},
    {"leaky_relu",      "x alpha",   "select(x < 0, alpha * x, x)"},
    {"thresholded_relu","x alpha",   "select(x > alpha, x, 0)"},
    {"elu",             "x alpha",   "select(x < 0, alpha * expm1(x), x)"},
    {"celu",            "x alpha",   "max(x, 0) + min(alpha * expm1(x / alpha), 0)"},
    {"selu",            "x alpha gamma", "gamma * select(x > 0, x, alpha * expm1(x))"},
    {"sigmoid",         "x",         "1 / (1 + exp(-x))"},
    {"log_sigmoid",     "x",         "min(x, 0) - log1p(exp(-abs(x)))"},
    {"silu",            "x",         "x / (1 + exp(-x))"},
    {"swish",           "x alpha",   "x / (1 + exp(-(alpha * x)))"},
    {"hard_sigmoid",    "x alpha beta", "max(min(alpha * x + beta, 1), 0)"},
    {"hard_swish",      "x",         "x * max(min(x / 6 + 0.5, 1), 0)"},
    {"softplus",        "x",         "max(x, 0) + log1p(exp(-abs(x)))"},
    {"softsign",        "x",         "x / (1 + abs(x))"},
    {"mish",            "x",         "x * tanh(softplus(x))"},
    {"gelu",            "x",         "0.5 * x * (1 + erf(x * 0.7071067811865476))"},
    {"gelu_tanh",       "x",         "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"},
    {"quick_gelu",      "x alpha",   "x / (1 + exp(-(alpha * x)))"},
    {"square",          "x",         "x * x"},
    {"rsqrt",           "x",         "1 / sqrt(x)"},
    {"reciprocal",      "x",         "1 / x"},
};
// clang-format on

const Macro *macro_find(const char *name, size_t length) {
    for (size_t i = 0; i < COUNT(macros); i++)
        if (strlen(macros[i].name) == length && memcmp(macros[i].name, name, length) == 0)
            return &macros[i];
    return NULL;
}
