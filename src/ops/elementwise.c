/* Elementwise operators: one value in, one value out, broadcast NumPy's way. Nearly all are a line of notation. */
#include <string.h>

#include "ops/native.h"
#include "ops/ops.h"

/* "f(f(x0[..], x1[..]), x2[..])" or, for an infix symbol, "x0[..] + x1[..] + ..." */
static void put_fold(const OpCall *call, Text *out, const char *function, const char *symbol) {
    for (int i = 1; *function && i < call->in_count; i++)
        text_printf(out, "%s(", function);
    for (int i = 0; i < call->in_count; i++)
        text_printf(out, "%sx%d[..]%s", i ? symbol : "", i, i && *function ? ")" : "");
}

static whet_status check_operands(OpCall *call) {
    if (call->in_count >= KERNEL_MAX_TENSORS)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%d inputs are not supported; at most %d are", call->in_count,
                        KERNEL_MAX_TENSORS - 1);
    return WHET_OK;
}

static whet_status build_fold(OpCall *call, Text *out, const char *function, const char *symbol) {
    whet_status status = check_operands(call);
    text_put(out, "y[..] = ");
    put_fold(call, out, function, symbol);
    return status;
}

static whet_status build_max(OpCall *call, Text *out) {
    return build_fold(call, out, "max", ", ");
}

static whet_status build_min(OpCall *call, Text *out) {
    return build_fold(call, out, "min", ", ");
}

static whet_status build_sum(OpCall *call, Text *out) {
    return build_fold(call, out, "", " + ");
}

static whet_status build_mean(OpCall *call, Text *out) {
    whet_status status = check_operands(call);
    text_put(out, "y[..] = (");
    put_fold(call, out, "", " + ");
    text_printf(out, ") / %d", call->in_count);
    return status;
}

/* Limits as attributes, until version 11. */
static whet_status build_clip_6(OpCall *call, Text *out) {
    text_put(out, "y[..] = min(max(x[..], ");
    text_float(out, (float)op_float(call, "min"));
    text_put(out, "), ");
    text_float(out, (float)op_float(call, "max"));
    text_char(out, ')');
    return WHET_OK;
}

/* Limits as inputs, either of which may be missing; where the lower is above the upper, the upper holds. */
static whet_status build_clip(OpCall *call, Text *out) {
    bool low = op_has(call, 1), high = op_has(call, 2);
    text_printf(out, "y[..] = %s%sx[..]%s%s", high ? "min(" : "", low ? "max(" : "", low ? ", low[..])" : "",
                high ? ", high[..])" : "");
    return WHET_OK;
}

/* fmod=1 is C's fmod, with the sign of the dividend; otherwise the sign is the divisor's. */
static whet_status build_mod(OpCall *call, Text *out) {
    text_put(out, op_int(call, "fmod") ? "y[..] = fmod(a[..], b[..])" : "y[..] = a[..] % b[..]");
    return WHET_OK;
}

/* The result has the base's type. Where the types differ, the power is taken in one that holds both. */
static whet_status build_pow(OpCall *call, Text *out) {
    DType base = call->in[0]->type, exponent = call->in[1]->type;
    bool base_float = dtype_kind(base) == KIND_FLOAT, exponent_float = dtype_kind(exponent) == KIND_FLOAT;
    if (base == exponent)
        text_put(out, "y[..] = pow(x[..], exponent[..])");
    else if (!base_float && !exponent_float)
        text_printf(out, "y[..] = pow(x[..], %s(exponent[..]))", dtype_name(base));
    else {
        bool wide = base == DT_F64 || exponent == DT_F64 || !base_float;
        const char *type = wide ? "f64" : "f32";
        text_printf(out, "y[..] = %s(pow(%s(x[..]), %s(exponent[..])))", dtype_name(base), type, type);
    }
    return WHET_OK;
}

static whet_status build_equal(OpCall *call, Text *out) {
    if (call->in[0]->type != DT_STRING)
        text_put(out, "y[..] = a[..] == b[..]");
    return WHET_OK;
}

/* The notation has no strings. */
static whet_status run_equal(OpRun *run) {
    const Tensor *a = op_input(run, 0), *b = op_input(run, 1);
    const Type *out = &run->call->out[0];
    int64_t strides_a[WHET_MAX_RANK], strides_b[WHET_MAX_RANK], count = native_count(out->rank, out->dims);
    native_broadcast_strides(a, out->rank, strides_a);
    native_broadcast_strides(b, out->rank, strides_b);
    uint8_t *y = native_output(run, 0);
    if (!y)
        return native_failed(run);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at_a = 0, at_b = 0;
        for (int d = out->rank - 1; d >= 0; d--) {
            at_a += rest % out->dims[d] * strides_a[d];
            at_b += rest % out->dims[d] * strides_b[d];
            rest /= out->dims[d];
        }
        const Str *x = (const Str *)a->data + at_a, *z = (const Str *)b->data + at_b;
        y[i] = x->length == z->length && (!x->length || !memcmp(x->data, z->data, x->length));
    }
    return WHET_OK;
}

static whet_status build_isinf(OpCall *call, Text *out) {
    bool negative = op_int(call, "detect_negative") != 0, positive = op_int(call, "detect_positive") != 0;
    text_put(out, "y[..] = isinf(x[..]) & ");
    if (negative && positive)
        text_put(out, "true");
    else if (negative || positive)
        text_printf(out, "x[..] %c 0", positive ? '>' : '<');
    else
        text_put(out, "false");
    return WHET_OK;
}

/* The limits are floats even for integers, so integers are shrunk as doubles. */
static whet_status build_shrink(OpCall *call, Text *out) {
    DType type = call->in[0]->type;
    bool is_float = dtype_kind(type) == KIND_FLOAT;
    const char *x = is_float ? "x[..]" : "f64(x[..])";
    if (!is_float)
        text_printf(out, "y[..] = %s(", dtype_name(type));
    else
        text_put(out, "y[..] = ");
    text_printf(out, "select(%s < -lambd, %s + bias, select(%s > lambd, %s - bias, 0))%s", x, x, x, x, is_float ? "" : ")");
    return WHET_OK;
}

/* A shift by the width or more, or by a negative amount (from version 28), gives what shifting out every bit gives. */
static whet_status build_shift(OpCall *call, Text *out) {
    text_printf(out, "y[..] = x[..] %s n[..]", op_choice(call, "direction") ? ">>" : "<<");
    return WHET_OK;
}

static whet_status build_gelu(OpCall *call, Text *out) {
    text_put(out, op_choice(call, "approximate") ? "y[..] = gelu_tanh(x[..])" : "y[..] = gelu(x[..])");
    return WHET_OK;
}

// clang-format off
#define UNARY(name, types, value)                                                                                                \
    {"", name, 1, "x:T -> y:T", "T=" types, "", shape_same, .text = "y[..] = " value}
#define UNARY_WITH(name, attrs, value)                                                                                           \
    {"", name, 1, "x:T -> y:T", "T=float", attrs, shape_same, .text = "y[..] = " value}
#define BINARY(name, types, symbol)                                                                                              \
    {"", name, 7, "a:T, b:T -> y:T", "T=" types, "", shape_broadcast, .text = "y[..] = a[..] " symbol " b[..]"}
#define COMPARE(name, types, symbol)                                                                                             \
    {"", name, 7, "a:T, b:T -> y:bool", "T=" types, "", shape_broadcast, .text = "y[..] = a[..] " symbol " b[..]"}
#define VARIADIC(name, types, function)                                                                                          \
    {"", name, 6, "x...:T -> y:T", "T=" types, "", shape_broadcast, .build = function}

const OpRow ops_elementwise[] = {
    UNARY("Abs", "num", "abs(x[..])"),
    UNARY("Acos", "float", "acos(x[..])"),
    UNARY("Acosh", "float", "acosh(x[..])"),
    BINARY("Add", "num", "+"),
    BINARY("And", "bool", "&"),
    UNARY("Asin", "float", "asin(x[..])"),
    UNARY("Asinh", "float", "asinh(x[..])"),
    UNARY("Atan", "float", "atan(x[..])"),
    UNARY("Atanh", "float", "atanh(x[..])"),
    {"", "BitShift", 11, "x:T, n:T -> y:T", "T=int", "direction:s!LEFT|RIGHT", shape_broadcast, .build = build_shift},
    BINARY("BitwiseAnd", "int", "&"),
    UNARY("BitwiseNot", "int", "!x[..]"),
    BINARY("BitwiseOr", "int", "|"),
    BINARY("BitwiseXor", "int", "^"),
    UNARY("Ceil", "float", "ceil(x[..])"),
    UNARY_WITH("Celu", "alpha:f=1", "celu(x[..], alpha)"),
    {"", "Clip", 6, "x:T -> y:T", "T=float", "min:f=-3.4028234663852886e38 max:f=3.4028234663852886e38", shape_same,
     .build = build_clip_6},
    {"", "Clip", 11, "x:T, low?:T, high?:T -> y:T", "T=num", "", shape_same, .build = build_clip},
    UNARY("Cos", "float", "cos(x[..])"),
    UNARY("Cosh", "float", "cosh(x[..])"),
    BINARY("Div", "num", "/"),
    UNARY_WITH("Elu", "alpha:f=1", "elu(x[..], alpha)"),
    {"", "Equal", 7, "a:T, b:T -> y:bool", "T=num|bool|string", "", shape_broadcast, .build = build_equal, .run = run_equal},
    UNARY("Erf", "float", "erf(x[..])"),
    UNARY("Exp", "float", "exp(x[..])"),
    UNARY("Floor", "float", "floor(x[..])"),
    {"", "Gelu", 20, "x:T -> y:T", "T=float", "approximate:s=none|tanh", shape_same, .build = build_gelu},
    COMPARE("Greater", "num", ">"),
    COMPARE("GreaterOrEqual", "num", ">="),
    UNARY_WITH("HardSigmoid", "alpha:f=0.2 beta:f=0.5", "hard_sigmoid(x[..], alpha, beta)"),
    UNARY("HardSwish", "float", "hard_swish(x[..])"),
    {"", "IsInf", 10, "x:T -> y:bool", "T=float",
     "detect_negative:i=1 detect_positive:i=1", shape_same, .build = build_isinf},
    {"", "IsNaN", 9, "x:T -> y:bool", "T=float", "", shape_same, .text = "y[..] = isnan(x[..])"},
    UNARY_WITH("LeakyRelu", "alpha:f=0.01", "leaky_relu(x[..], alpha)"),
    COMPARE("Less", "num", "<"),
    COMPARE("LessOrEqual", "num", "<="),
    UNARY("Log", "float", "log(x[..])"),
    VARIADIC("Max", "num", build_max),
    VARIADIC("Mean", "float", build_mean),
    VARIADIC("Min", "num", build_min),
    UNARY("Mish", "float", "mish(x[..])"),
    {"", "Mod", 10, "a:T, b:T -> y:T", "T=num", "fmod:i=0", shape_broadcast, .build = build_mod},
    BINARY("Mul", "num", "*"),
    UNARY("Neg", "num", "-x[..]"),
    UNARY("Not", "bool", "!x[..]"),
    BINARY("Or", "bool", "|"),
    {"", "PRelu", 7, "x:T, slope:T -> y:T", "T=num", "", shape_same, .text = "y[..] = leaky_relu(x[..], slope[..])"},
    {"", "Pow", 7, "x:T, exponent:U -> y:T", "T=num U=num", "", shape_broadcast, .build = build_pow},
    UNARY("Reciprocal", "float", "1 / x[..]"),
    UNARY("Relu", "num", "relu(x[..])"),
    UNARY("Round", "float", "round(x[..])"),
    UNARY_WITH("Selu", "alpha:f=1.6732631921768188 gamma:f=1.0507010221481323",
               "selu(x[..], alpha, gamma)"),
    {"", "Shrink", 9, "x:T -> y:T", "T=num", "bias:f=0 lambd:f=0.5", shape_same, .build = build_shrink},
    UNARY("Sigmoid", "float", "sigmoid(x[..])"),
    UNARY("Sign", "num", "sign(x[..])"),
    UNARY("Sin", "float", "sin(x[..])"),
    UNARY("Sinh", "float", "sinh(x[..])"),
    UNARY("Softplus", "float", "softplus(x[..])"),
    UNARY("Softsign", "float", "softsign(x[..])"),
    UNARY("Sqrt", "float", "sqrt(x[..])"),
    BINARY("Sub", "num", "-"),
    VARIADIC("Sum", "num", build_sum),
    {"", "SwiGLU", 28, "a:T, b:T -> y:T", "T=float", "alpha:f=1", shape_broadcast,
     .text = "y[..] = swish(a[..], alpha) * b[..]"},
    UNARY_WITH("Swish", "alpha:f=1", "swish(x[..], alpha)"),
    UNARY("Tan", "float", "tan(x[..])"),
    UNARY("Tanh", "float", "tanh(x[..])"),
    UNARY_WITH("ThresholdedRelu", "alpha:f=1", "thresholded_relu(x[..], alpha)"),
    BINARY("Xor", "bool", "^"),
};
// clang-format on
const size_t ops_elementwise_count = COUNT(ops_elementwise);
