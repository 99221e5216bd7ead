/* Operators of signal processing: DFT, STFT, MelWeightMatrix.
 *
 * Transforms are mixed-radix in f64: length n costs n times the sum of its prime factors, for any n.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

typedef struct Complex {
    double re, im;
} Complex;

/* ---- The transform ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Fourier {
    int64_t n;
    const Complex *roots; /* exp(-+ 2 pi i k / n) */
    Complex *part;        /* room for the largest factor of n */
    OpRun *run;
} Fourier;

static int64_t smallest_factor(int64_t n) {
    for (int64_t p = 2; p <= n / p; p++)
        if (n % p == 0)
            return p;
    return n;
}

/* y = transform of the n elements of x that lie `stride` apart. The recursion is as deep as n has prime factors. */
static whet_status transform(const Fourier *f, const Complex *x, int64_t n, int64_t stride, Complex *y) {
    if (n < 2) { /* none: the inverse of a one-sided spectrum of one number */
        if (n == 1)
            y[0] = x[0];
        return WHET_OK;
    }
    int64_t p = smallest_factor(n), m = n / p, step = f->n / n;
    for (int64_t r = 0; r < p; r++) {
        whet_status status = transform(f, x + r * stride, m, stride * p, y + r * m);
        if (status != WHET_OK)
            return status;
    }
    for (int64_t k = 0; k < m; k++) {
        for (int64_t r = 0; r < p; r++)
            f->part[r] = y[r * m + k];
        for (int64_t q = 0; q < p; q++) {
            Complex sum = {0, 0};
            int64_t at = k + q * m, turn = 0;
            for (int64_t r = 0; r < p; r++) {
                Complex root = f->roots[turn * step], value = f->part[r];
                sum.re += value.re * root.re - value.im * root.im;
                sum.im += value.re * root.im + value.im * root.re;
                turn = turn + at < n ? turn + at : turn + at - n;
            }
            y[at] = sum;
            if (p > 1024 && (q & 63) == 63 && op_interrupted(f->run) != WHET_OK)
                return native_failed(f->run);
        }
    }
    return WHET_OK;
}

/* Tables for length n and, behind them, room for one input (*x) and one output (*y) of it. */
static whet_status prepare(OpRun *run, int64_t n, bool inverse, Fourier *f, Complex **x, Complex **y) {
    size_t bytes;
    if (!checked_size_mul((size_t)n, 4 * sizeof(Complex), &bytes))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    Complex *memory = op_scratch(run, bytes + 1);
    if (!memory)
        return native_failed(run);
    for (int64_t k = 0; k < n; k++) {
        double angle = 6.283185307179586 * (double)k / (double)n;
        memory[k] = (Complex){cos(angle), inverse ? sin(angle) : -sin(angle)};
    }
    *f = (Fourier){n, memory, memory + n, run};
    *x = memory + 2 * n;
    *y = memory + 3 * n;
    return WHET_OK;
}

/* ---- DFT ---------------------------------------------------------------------------------------------------------------------------------- */

static whet_status dft_axis(OpCall *call, int *axis, bool *known) {
    const Type *x = call->in[0];
    const int64_t *given;
    int64_t count, value = call->row->since < 20 ? op_int(call, "axis") : -2;
    *known = true;
    if (call->row->since >= 20 && op_has(call, 2)) {
        *known = op_content_ints(call, 2, &given, &count);
        if (*known && count != 1)
            return op_error(call, WHET_ERROR_DATA, "the axis must be one number");
        value = *known ? given[0] : 0;
    }
    if (!*known)
        return WHET_OK;
    *axis = op_axis(call, value, x->rank);
    if (*axis < 0)
        return WHET_ERROR_FORMAT;
    return *axis == x->rank - 1 ? op_error(call, WHET_ERROR_FORMAT, "the axis is that of real and imaginary parts") : WHET_OK;
}

/* The length of the transform; DIM_UNKNOWN if it is not known yet, or too large. */
static whet_status dft_length(OpCall *call, int axis, Dim *length) {
    const int64_t *given;
    int64_t count;
    Dim extent = call->in[0]->dims[axis];
    bool half = op_int(call, "onesided") && op_int(call, "inverse");
    *length = half ? dim_mul(call->symbols, dim_sub(call->symbols, extent, 1), 2) : extent;
    if (!op_has(call, 1))
        return half && extent == 0 ? op_error(call, WHET_ERROR_DATA, "there is nothing to transform") : WHET_OK;
    *length = DIM_UNKNOWN;
    if (!op_content_ints(call, 1, &given, &count))
        return WHET_OK;
    if (count != 1 || given[0] < 1)
        return op_error(call, WHET_ERROR_DATA, "dft_length must be one number >= 1");
    *length = given[0];
    return WHET_OK;
}

static whet_status dft_shape(OpCall *call) {
    const Type *x = call->in[0];
    int axis;
    bool known, inverse = op_int(call, "inverse") != 0, onesided = op_int(call, "onesided") != 0;
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 2 is wanted", x->rank);
    Dim last = x->dims[x->rank - 1], length;
    if (dim_is_extent(last) && last != 1 && last != 2)
        return op_error(call, WHET_ERROR_DATA, "the last dimension is %lld; 1 (real) or 2 (complex) is wanted", (long long)last);
    whet_status status = dft_axis(call, &axis, &known);
    if (status == WHET_OK && known)
        status = dft_length(call, axis, &length);
    if (status != WHET_OK || !known)
        return status;
    op_set_shape(call, 0, x->rank, x->dims);
    Dim made = onesided && !inverse && length != DIM_UNKNOWN
                   ? dim_add(call->symbols, dim_floordiv(call->symbols, length, 2), 1)
                   : length;
    call->out[0].dims[axis] = made;
    call->out[0].dims[x->rank - 1] = onesided && inverse ? 1 : 2;
    return WHET_OK;
}

typedef struct Line {
    const double *x;
    int64_t extent, stride; /* of the input's axis, in elements of 1 or 2 numbers */
    int parts;              /* 1 real, 2 complex */
} Line;

/* The signal cut or padded with zeros to n; one side of a symmetric spectrum is completed. */
static void load_line(const Line *line, int64_t n, bool mirrored, Complex *to) {
    int64_t given = mirrored ? n / 2 + 1 : n;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i < given ? i : n - i;
        to[i] = (Complex){0, 0};
        if (at >= line->extent)
            continue;
        const double *from = line->x + at * line->stride * line->parts;
        to[i] = (Complex){from[0], line->parts == 2 ? (i < given ? from[1] : -from[1]) : 0};
    }
}

static whet_status dft_run(OpRun *run) {
    OpCall *call = run->call;
    const Tensor *in = op_input(run, 0);
    const Type *out = &call->out[0];
    bool inverse = op_int(call, "inverse") != 0, onesided = op_int(call, "onesided") != 0, known;
    int axis = 0, parts = (int)in->dims[in->rank - 1];
    Dim n = 0;
    NativeArena arena;
    native_arena_enter(run, &arena);
    whet_status status = dft_axis(call, &axis, &known);
    if (status == WHET_OK)
        status = dft_length(call, axis, &n);
    native_arena_leave(run, &arena);
    const double *x = status == WHET_OK ? native_f64(run, 0) : NULL;
    char *to = x ? native_output(run, 0) : NULL;
    Fourier f;
    Complex *line, *made;
    if (!to || (n && prepare(run, n, inverse, &f, &line, &made) != WHET_OK))
        return native_failed(run);
    int64_t inner = native_count(in->rank - axis - 2, in->dims + axis + 1), outer = native_count(axis, in->dims);
    int64_t bins = out->dims[axis];
    int out_parts = (int)out->dims[out->rank - 1];
    size_t size = native_size(out->type);
    double scale = inverse ? 1 / (double)n : 1;
    for (int64_t l = 0; bins && l < outer * inner; l++) {
        int64_t o = l / inner, i = l % inner;
        Line from = {x + (o * in->dims[axis] * inner + i) * parts, in->dims[axis], inner, parts};
        load_line(&from, n, inverse && onesided, line);
        status = transform(&f, line, n, 1, made);
        for (int64_t k = 0; status == WHET_OK && k < bins; k++) {
            double value[2] = {made[k].re * scale, made[k].im * scale};
            native_from_f64(out->type, value, out_parts, to + (size_t)(((o * bins + k) * inner + i) * out_parts) * size);
        }
        if (status == WHET_OK && (l & 15) == 15)
            status = op_interrupted(run);
        if (status != WHET_OK)
            return status;
    }
    return WHET_OK;
}

/* ---- STFT --------------------------------------------------------------------------------------------------------------------------------- */

/* Frame step and length; *known false if not known yet. */
static whet_status stft_numbers(OpCall *call, int64_t *step, int64_t *length, bool *known) {
    const int64_t *values;
    int64_t count;
    const Type *x = call->in[0], *window = op_has(call, 2) ? call->in[2] : NULL;
    *known = op_content_ints(call, 1, &values, &count);
    if (*known && (count != 1 || values[0] < 1))
        return op_error(call, WHET_ERROR_DATA, "frame_step must be one number >= 1");
    *step = *known ? values[0] : 1;
    *length = x->rank == 3 && dim_is_extent(x->dims[1]) ? x->dims[1] : 0;
    if (op_has(call, 3)) {
        bool length_known = op_content_ints(call, 3, &values, &count);
        if (length_known && (count != 1 || values[0] < 1))
            return op_error(call, WHET_ERROR_DATA, "frame_length must be one number >= 1");
        *known = *known && length_known;
        *length = length_known ? values[0] : 1;
    } else if (window) {
        *known = *known && window->rank == 1 && dim_is_extent(window->dims[0]);
        *length = *known ? window->dims[0] : 1;
    }
    if (*known && window && window->rank >= 0 && (window->rank != 1 || (dim_is_extent(window->dims[0]) && window->dims[0] != *length)))
        return op_error(call, WHET_ERROR_DATA, "the window has not frame_length, %lld, elements", (long long)*length);
    return WHET_OK;
}

static whet_status stft_shape(OpCall *call) {
    const Type *x = call->in[0];
    int64_t step, length;
    bool known;
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank != 3 || (dim_is_extent(x->dims[2]) && x->dims[2] != 1 && x->dims[2] != 2))
        return op_error(call, WHET_ERROR_DATA, "the signal must have rank 3 and a last dimension of 1 or 2");
    whet_status status = stft_numbers(call, &step, &length, &known);
    if (status != WHET_OK)
        return status;
    Dim frames = DIM_UNKNOWN, bins = DIM_UNKNOWN;
    if (known && dim_is_extent(x->dims[1])) {
        if (length < 1 || length > x->dims[1])
            return op_error(call, WHET_ERROR_DATA, "frames of %lld do not fit a signal of %lld", (long long)length,
                            (long long)x->dims[1]);
        frames = (x->dims[1] - length) / step + 1;
    }
    if (known && length > 0)
        bins = op_int(call, "onesided") ? length / 2 + 1 : length;
    op_set_shape(call, 0, 4, (const Dim[]){x->dims[0], frames, bins, 2});
    return WHET_OK;
}

static whet_status stft_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    const Type *out = &run->call->out[0];
    int64_t step, n;
    bool known;
    NativeArena arena;
    native_arena_enter(run, &arena);
    whet_status status = stft_numbers(run->call, &step, &n, &known);
    native_arena_leave(run, &arena);
    const double *signal = status == WHET_OK ? native_f64(run, 0) : NULL;
    const double *window = signal && op_input(run, 2) ? native_f64(run, 2) : NULL;
    char *to = signal ? native_output(run, 0) : NULL;
    Fourier f;
    Complex *line, *made;
    if (!to || prepare(run, n, false, &f, &line, &made) != WHET_OK)
        return native_failed(run);
    int64_t parts = x->dims[2], frames = out->dims[1], bins = out->dims[2];
    for (int64_t l = 0; l < out->dims[0] * frames; l++) {
        Line from = {signal + (l / frames * x->dims[1] + l % frames * step) * parts, n, 1, (int)parts};
        load_line(&from, n, false, line);
        for (int64_t i = 0; window && i < n; i++)
            line[i] = (Complex){line[i].re * window[i], line[i].im * window[i]};
        status = transform(&f, line, n, 1, made);
        for (int64_t k = 0; status == WHET_OK && k < bins; k++)
            native_from_f64(out->type, (const double[2]){made[k].re, made[k].im}, 2,
                            to + (size_t)((l * bins + k) * 2) * native_size(out->type));
        if (status == WHET_OK && (l & 15) == 15)
            status = op_interrupted(run);
        if (status != WHET_OK)
            return status;
    }
    return WHET_OK;
}

/* ---- MelWeightMatrix ----------------------------------------------------------------------------------------------------------------------- */

static whet_status mel_shape(OpCall *call) {
    const int64_t *bins, *length;
    int64_t count;
    Dim dims[2] = {DIM_UNKNOWN, DIM_UNKNOWN};
    if (op_content_ints(call, 0, &bins, &count)) {
        if (count != 1 || bins[0] < 1 || bins[0] > INT32_MAX)
            return op_error(call, WHET_ERROR_DATA, "num_mel_bins must be one number >= 1");
        dims[1] = bins[0];
    }
    if (op_content_ints(call, 1, &length, &count)) {
        if (count != 1 || length[0] < 1 || length[0] > INT32_MAX)
            return op_error(call, WHET_ERROR_DATA, "dft_length must be one number >= 1");
        dims[0] = length[0] / 2 + 1;
    }
    call->out[0].type = native_dtype(call, "output_datatype", op_int(call, "output_datatype"));
    if (!native_in_notation(call->out[0].type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "output_datatype %s is not supported", dtype_name(call->out[0].type));
    op_set_shape(call, 0, 2, dims);
    return WHET_OK;
}

/* The spectrum's bin at edge `i` of the triangles. */
static double mel_edge(OpRun *run, int64_t i, int64_t edges) {
    double low = 2595 * log1p(native_number(run, 3, 0) / 700) / log(10), high = 2595 * log1p(native_number(run, 4, 0) / 700) / log(10);
    double hertz = 700 * expm1(((double)i * (high - low) / (double)edges + low) / 2595 * log(10));
    return floor((native_number(run, 1, 1) + 1) * hertz / native_number(run, 2, 1));
}

static whet_status mel_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    int64_t rows = out->dims[0], columns = out->dims[1];
    char *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    for (int64_t c = 0; c < columns; c++) {
        double left = mel_edge(run, c, columns + 2), center = mel_edge(run, c + 1, columns + 2);
        double right = mel_edge(run, c + 2, columns + 2);
        if (!(left >= 0 && center >= left && right >= center && right < (double)rows + 1))
            return native_error(run, WHET_ERROR_DATA, "the edges %g, %g, %g of bin %lld are outside the spectrum of %lld", left,
                                center, right, (long long)c, (long long)rows);
        for (int64_t r = 0; r < rows; r++) {
            double at = (double)r, value = 0;
            if (at >= left && at <= center)
                value = center > left ? (at - left) / (center - left) : 1;
            if (at >= center && at < right)
                value = (right - at) / (right - center);
            native_from_f64(out->type, &value, 1, to + (size_t)(r * columns + c) * native_size(out->type));
        }
    }
    return WHET_OK;
}

#define MEL                                                                                                                      \
    "num_mel_bins#:I, dft_length#:I, sample_rate:I, lower_edge_hertz:F, upper_edge_hertz:F -> output:*"

// clang-format off
const OpRow ops_signal[] = {
    {"", "DFT", 17, "input:T, dft_length?#:I -> output:T", "T=float I=s32|s64", "axis:i=1 inverse:i=0 onesided:i=0", dft_shape, .run = dft_run},
    {"", "DFT", 20, "input:T, dft_length?#:I, axis?#:s64 -> output:T", "T=float I=s32|s64", "inverse:i=0 onesided:i=0", dft_shape, .run = dft_run},
    {"", "MelWeightMatrix", 17, MEL, "I=s32|s64 F=float", "output_datatype:i=1", mel_shape, .run = mel_run},
    {"", "STFT", 17, "signal:T, frame_step#:I, window?:T, frame_length?#:I -> output:T", "T=float I=s32|s64", "onesided:i=1", stft_shape, .run = stft_run},
};
// clang-format on
const size_t ops_signal_count = COUNT(ops_signal);
