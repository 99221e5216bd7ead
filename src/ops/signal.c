/* Operators of signal processing: DFT, STFT, MelWeightMatrix.
 *
 * Transforms are mixed-radix (4, 2, then odd factors), pass by pass as FFTPACK and NumPy's pocketfft do it: length n costs n
 * times the sum of its factors, for any n. Forward transforms are computed in f64, inverse ones of f32 signals in f32 (each
 * operation in f64, then rounded, which is the same): this is what NumPy does, and the specification's recorded answers hold its
 * rounding errors where the exact answer is 0.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

typedef struct Complex {
    double re, im;
} Complex;

/* ---- The transform
 * ------------------------------------------------------------------------------------------------------------------------ */

#define MOST_FACTORS 64

typedef struct Fourier {
    int64_t n;
    bool inverse, single; /* single: rounded to f32 after each operation */
    int64_t factor[MOST_FACTORS];
    int factors;
    const Complex *roots; /* exp(2 pi i k / n) */
    Complex *ping, *pong; /* room for n elements each */
    Complex *part;        /* room for the largest factor */
    OpRun *run;
} Fourier;

/* Through memory: GCC 12's vectoriser drops a plain (double)(float). */
static double rounded(const Fourier *f, double x) {
    volatile float narrow = (float)x;
    return f->single ? (double)narrow : x;
}

static Complex add(const Fourier *f, Complex a, Complex b) {
    return (Complex){rounded(f, a.re + b.re), rounded(f, a.im + b.im)};
}

static Complex subtract(const Fourier *f, Complex a, Complex b) {
    return (Complex){rounded(f, a.re - b.re), rounded(f, a.im - b.im)};
}

/* By the k-th root, or its conjugate in the forward direction. */
static Complex turn(const Fourier *f, Complex a, int64_t k) {
    Complex w = f->roots[k];
    double im = f->inverse ? w.im : -w.im;
    return (Complex){rounded(f, rounded(f, a.re * w.re) - rounded(f, a.im * im)),
                     rounded(f, rounded(f, a.re * im) + rounded(f, a.im * w.re))};
}

/* By i, or -i in the forward direction. */
static Complex quarter(const Fourier *f, Complex a) {
    return f->inverse ? (Complex){-a.im, a.re} : (Complex){a.im, -a.re};
}

/* The transform of part[0 .. 4), in place. */
static void butterfly_4(const Fourier *f) {
    Complex *p = f->part, t2 = add(f, p[0], p[2]), t1 = subtract(f, p[0], p[2]), t3 = add(f, p[1], p[3]);
    Complex t4 = quarter(f, subtract(f, p[1], p[3]));
    p[0] = add(f, t2, t3);
    p[2] = subtract(f, t2, t3);
    p[1] = add(f, t1, t4);
    p[3] = subtract(f, t1, t4);
}

/* The transform of part[0 .. p) for odd p, in place: elements k and p - k share their products. `made` has room for p. */
static void butterfly_odd(const Fourier *f, int64_t p, Complex *made) {
    Complex *x = f->part;
    int64_t half = (p - 1) / 2, step = f->n / p;
    made[0] = x[0];
    for (int64_t k = 1; k <= half; k++) {
        Complex sum = add(f, x[k], x[p - k]), difference = subtract(f, x[k], x[p - k]);
        x[k] = sum;
        x[p - k] = difference;
        made[0] = add(f, made[0], sum);
    }
    for (int64_t j = 1; j <= half; j++) {
        Complex even = x[0], odd = {0, 0};
        for (int64_t k = 1, at = j; k <= half; k++, at = (at + j) % p) {
            double c = f->roots[at * step].re, s = f->inverse ? f->roots[at * step].im : -f->roots[at * step].im;
            even.re = rounded(f, even.re + rounded(f, c * x[k].re));
            even.im = rounded(f, even.im + rounded(f, c * x[k].im));
            odd.re = rounded(f, odd.re - rounded(f, s * x[p - k].im));
            odd.im = rounded(f, odd.im + rounded(f, s * x[p - k].re));
        }
        made[j] = add(f, even, odd);
        made[p - j] = subtract(f, even, odd);
    }
    memcpy(x, made, (size_t)p * sizeof *x);
}

/* One pass: `done` is the product of the factors before it. */
static whet_status fourier_pass(const Fourier *f, int64_t p, int64_t done, const Complex *from, Complex *to) {
    int64_t left = f->n / done / p;
    for (int64_t k = 0; k < done; k++)
        for (int64_t i = 0; i < left; i++) {
            for (int64_t r = 0; r < p; r++)
                f->part[r] = from[i + left * (r + p * k)];
            if (p == 4) {
                butterfly_4(f);
            } else if (p == 2) {
                Complex second = subtract(f, f->part[0], f->part[1]);
                f->part[0] = add(f, f->part[0], f->part[1]);
                f->part[1] = second;
            } else {
                butterfly_odd(f, p, f->part + p);
            }
            for (int64_t r = 0; r < p; r++)
                to[i + left * (k + done * r)] = i && r ? turn(f, f->part[r], r * i * done) : f->part[r];
            if (p > 1024 && op_interrupted(f->run) != WHET_OK)
                return native_failed(f->run);
        }
    return WHET_OK;
}

/* The transform of what is in f->ping; *y is where it is. */
static whet_status transform(const Fourier *f, const Complex **y) {
    Complex *from = f->ping, *to = f->pong;
    int64_t done = 1;
    for (int i = 0; i < f->factors; i++) {
        whet_status status = fourier_pass(f, f->factor[i], done, from, to);
        if (status != WHET_OK)
            return status;
        done *= f->factor[i];
        Complex *kept = from;
        from = to;
        to = kept;
    }
    *y = from;
    return WHET_OK;
}

/* 4 as often as it goes, a 2 that is left to the front, then odd factors. */
static void find_factors(Fourier *f) {
    int64_t n = f->n;
    for (; n % 4 == 0; n /= 4)
        f->factor[f->factors++] = 4;
    if (n % 2 == 0) {
        n /= 2;
        f->factor[f->factors++] = 2;
        int64_t first = f->factor[0];
        f->factor[0] = 2;
        f->factor[f->factors - 1] = first;
    }
    for (int64_t p = 3; p <= n / p; p += 2)
        for (; n % p == 0; n /= p)
            f->factor[f->factors++] = p;
    if (n > 1)
        f->factor[f->factors++] = n;
}

/* Tables and room for transforms of length n. */
static whet_status prepare(OpRun *run, int64_t n, bool inverse, DType type, Fourier *f) {
    size_t bytes;
    if (!checked_size_mul((size_t)n, 5 * sizeof(Complex), &bytes) || !checked_size_add(bytes, 16 * sizeof(Complex), &bytes))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    Complex *memory = op_scratch(run, bytes);
    if (!memory)
        return native_failed(run);
    *f = (Fourier){.n = n, .inverse = inverse, .single = inverse && type != DT_F64, .run = run, .roots = memory};
    for (int64_t k = 0; k < n; k++) {
        double angle = 6.283185307179586 * (double)k / (double)n;
        memory[k] = (Complex){rounded(f, cos(angle)), rounded(f, sin(angle))};
    }
    f->ping = memory + n;
    f->pong = memory + 2 * n;
    f->part = memory + 3 * n; /* and as much behind it */
    find_factors(f);
    return WHET_OK;
}

/* ---- DFT
 * ----------------------------------------------------------------------------------------------------------------------------------
 */

static whet_status dft_axis(OpCall *call, int *axis, bool *known) {
    const Type *x = call->in[0];
    const int64_t *given;
    int64_t count, value = call->row->since < 20 ? op_int(call, "axis") : -2;
    *known = true;
    if (call->row->since >= 20 && op_has(call, 2)) {
        *known = op_content_ints(call, 2, &given, &count);
        if (*known && count != 1)
            return op_error(call, WHET_ERROR_DATA, "the axis has %lld elements; wanted one number", (long long)count);
        value = *known ? given[0] : 0;
    }
    if (!*known)
        return WHET_OK;
    *axis = op_axis(call, value, x->rank);
    if (*axis < 0)
        return WHET_ERROR_FORMAT;
    if (*axis == x->rank - 1)
        return op_error(call, WHET_ERROR_FORMAT, "axis %lld is that of real and imaginary parts; wanted another",
                        (long long)value);
    return WHET_OK;
}

/* The length of the transform; DIM_UNKNOWN if it is not known yet, or too large. */
static whet_status dft_length(OpCall *call, int axis, Dim *length) {
    Dim extent = call->in[0]->dims[axis];
    bool half = op_int(call, "onesided") && op_int(call, "inverse");
    *length = half ? dim_mul(call->symbols, dim_sub(call->symbols, extent, 1), 2) : extent;
    if (!op_has(call, 1))
        return half && extent == 0 ? op_error(call, WHET_ERROR_DATA, "axis %d is empty: there is nothing to transform", axis)
                                   : WHET_OK;
    return op_number(call, 1, 1, length);
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
    if (length == 0 && onesided && !inverse)
        return op_error(call, WHET_ERROR_DATA, "axis %d is empty: there is nothing to transform", axis);
    Dim made = onesided && !inverse && length != DIM_UNKNOWN ? dim_add(call->symbols, dim_floordiv(call->symbols, length, 2), 1)
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
    const Complex *made = NULL;
    if (!to || (n && prepare(run, n, inverse, out->type, &f) != WHET_OK))
        return native_failed(run);
    int64_t inner = native_count(in->rank - axis - 2, in->dims + axis + 1), outer = native_count(axis, in->dims);
    int64_t bins = out->dims[axis];
    int out_parts = (int)out->dims[out->rank - 1];
    size_t size = native_size(out->type);
    double scale = inverse ? 1 / (double)n : 1;
    scale = out->type == DT_F64 ? scale : (double)(float)scale;
    for (int64_t l = 0; n && bins && l < outer * inner; l++) {
        int64_t o = l / inner, i = l % inner;
        Line from = {x + (o * in->dims[axis] * inner + i) * parts, in->dims[axis], inner, parts};
        load_line(&from, n, inverse && onesided, f.ping);
        status = transform(&f, &made);
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

/* ---- STFT
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

/* Frame step and length; *known false if not known yet. */
static whet_status stft_numbers(OpCall *call, int64_t *step, int64_t *length, bool *known) {
    Dim given, given_length;
    const Type *x = call->in[0], *window = op_has(call, 2) ? call->in[2] : NULL;
    whet_status status = op_number(call, 1, 1, &given);
    if (status == WHET_OK)
        status = op_number(call, 3, 1, &given_length);
    if (status != WHET_OK)
        return status;
    *known = given != DIM_UNKNOWN;
    *step = *known ? given : 1;
    *length = x->rank >= 2 && dim_is_extent(x->dims[1]) ? x->dims[1] : 0;
    if (op_has(call, 3)) {
        *known = *known && given_length != DIM_UNKNOWN;
        *length = given_length != DIM_UNKNOWN ? given_length : 1;
    } else if (window) {
        *known = *known && window->rank == 1 && dim_is_extent(window->dims[0]);
        *length = *known ? window->dims[0] : 1;
    }
    if (*known && window && window->rank >= 0 &&
        (window->rank != 1 || (dim_is_extent(window->dims[0]) && window->dims[0] != *length)))
        return op_error(call, WHET_ERROR_DATA, "the window has a wrong shape; wanted [%lld], frame_length", (long long)*length);
    return WHET_OK;
}

static whet_status stft_shape(OpCall *call) {
    const Type *x = call->in[0];
    int64_t step, length;
    bool known;
    if (x->rank < 0)
        return WHET_OK;
    /* A real signal may lack its last dimension: exporters write it so, and onnxruntime takes it. */
    if (x->rank != 2 && (x->rank != 3 || (dim_is_extent(x->dims[2]) && x->dims[2] != 1 && x->dims[2] != 2)))
        return op_error(call, WHET_ERROR_DATA, "the signal must have rank 3 and a last dimension of 1 or 2, or rank 2");
    whet_status status = stft_numbers(call, &step, &length, &known);
    if (status != WHET_OK)
        return status;
    Dim frames = DIM_UNKNOWN, bins = DIM_UNKNOWN;
    if (known && dim_is_extent(x->dims[1])) {
        if (length < 1 || length > x->dims[1])
            return op_error(call, WHET_ERROR_DATA, "frames have %lld elements; wanted 1 to %lld, as the signal",
                            (long long)length, (long long)x->dims[1]);
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
    const Complex *made = NULL;
    if (!to || prepare(run, n, false, out->type, &f) != WHET_OK)
        return native_failed(run);
    int64_t parts = x->rank == 3 ? x->dims[2] : 1, frames = out->dims[1], bins = out->dims[2];
    for (int64_t l = 0; l < out->dims[0] * frames; l++) {
        Line from = {signal + (l / frames * x->dims[1] + l % frames * step) * parts, n, 1, (int)parts};
        load_line(&from, n, false, f.ping);
        for (int64_t i = 0; window && i < n; i++)
            f.ping[i] = (Complex){rounded(&f, f.ping[i].re * window[i]), rounded(&f, f.ping[i].im * window[i])};
        status = transform(&f, &made);
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

/* ---- MelWeightMatrix
 * ----------------------------------------------------------------------------------------------------------------------- */

static whet_status mel_shape(OpCall *call) {
    Dim bins, length;
    whet_status status = op_number(call, 0, 1, &bins);
    if (status == WHET_OK)
        status = op_number(call, 1, 1, &length);
    if (status != WHET_OK)
        return status;
    if ((bins != DIM_UNKNOWN && bins > INT32_MAX) || (length != DIM_UNKNOWN && length > INT32_MAX))
        return op_error(call, WHET_ERROR_DATA, "num_mel_bins or dft_length is too large; wanted below 2^31");
    Dim dims[2] = {length == DIM_UNKNOWN ? DIM_UNKNOWN : length / 2 + 1, bins};
    call->out[0].type = native_dtype(call, "output_datatype", op_int(call, "output_datatype"));
    if (!kernel_computes(call->out[0].type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "output_datatype %s is not supported", dtype_name(call->out[0].type));
    op_set_shape(call, 0, 2, dims);
    return WHET_OK;
}

/* The spectrum's bin at edge `i` of the triangles. */
static double mel_edge(OpRun *run, int64_t i, int64_t edges) {
    double low = 2595 * log1p(native_number(run, 3, 0) / 700) / log(10),
           high = 2595 * log1p(native_number(run, 4, 0) / 700) / log(10);
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

#define MEL "num_mel_bins#:I, dft_length#:I, sample_rate:I, lower_edge_hertz:F, upper_edge_hertz:F -> output:*"

// clang-format off
const OpRow ops_signal[] = {
    {"", "DFT", 17, "input:T, dft_length?#:I -> output:T", "T=float I=s32|s64", "axis:i=1 inverse:i=0 onesided:i=0", dft_shape, .run = dft_run},
    {"", "DFT", 20, "input:T, dft_length?#:I, axis?#:s64 -> output:T", "T=float I=s32|s64", "inverse:i=0 onesided:i=0", dft_shape, .run = dft_run},
    {"", "MelWeightMatrix", 17, MEL, "I=s32|s64 F=float", "output_datatype:i=1", mel_shape, .run = mel_run},
    {"", "STFT", 17, "signal:T, frame_step#:I, window?:T, frame_length?#:I -> output:T", "T=float I=s32|s64", "onesided:i=1", stft_shape, .run = stft_run},
};
// clang-format on
const size_t ops_signal_count = COUNT(ops_signal);
