/* Winograd's convolutions: 3x3 and 5x5 of stride 1, f32, channels last, constant weights (of f16 and bf16, too).
 *
 * Tiles of m x m outputs come from n x n inputs, n = m + r - 1, by n * n multiplications for each pair of channels in place of
 * m * m * r * r: a quarter of them for m = 4, r = 3 (winograd_linear.c has the algebra). For a block of tiles, all in scratch of
 * L2's size:
 *
 *     input:    v[point][tile][c] = B^T d B          d: the tile's n x n inputs, zeros outside the image
 *     product:  m[point][tile][o] = sum(c) v[point][tile][c] * u[point][c][o]     a contraction a point, by its template's code
 *     output:   y = epilogue(A^T m A)
 *
 * u = G g G^T is made from the weights when they are packed. The first and the last are leaves of vector code, lanes along
 * channels; tiles that reach over the border of the image are read from a copy of n x n pixels with zeros around it, and at the
 * end of rows and columns fewer outputs are stored. What is left over of channels is one more vector, moved back to end with the
 * last channel.
 *
 * Answers differ from the sum in order: docs/internals/winograd.md says by how much. They are the same bits for any number of
 * threads and any batch. ScheduleOptions.exact refuses; otherwise it is taken where `choose` expects it to be faster. */
#include "schedule/winograd.h"

#include <assert.h>
#include <string.h>

enum { LEAST_CHANNELS = 16, MAX_TAPS = 5, MAX_PIXELS = 1 << 30, SCRATCH_SHARE = 2, STREAMED_BLOCK = 32, FALLBACK_L2 = 512 << 10 };

/* ---- recognition ---- */

static bool describe(Winograd *w, const Kernel *kernel, const char **why) {
    const Definition *d = &kernel->definitions[0];
    Nest simple, *nest = &w->nest;
    if (kernel->definition_count != 1 || !nest_of(kernel, d, &simple, why) || !simple.covers)
        return refuse(why, "not one definition that fills its tensor");
    if (!nest_begin(kernel, d, nest, why))
        return false;
    for (int i = 0; i < d->expr_count; i++) {
        if (d->exprs[i]->op == EXPR_REDUCE && w->reduction)
            return refuse(why, "more than one reduction");
        if (d->exprs[i]->op == EXPR_REDUCE)
            w->reduction = d->exprs[i];
    }
    return true;
}

/* Weights may be narrower: they are transformed in f64 and kept as f32. */
static bool check_types(const Winograd *w, const char **why) {
    for (int i = 0; i < w->nest.access_count; i++) {
        DType type = w->nest.access[i].type;
        if (type != DT_F32 && (i != w->w || (type != DT_F16 && type != DT_BF16)))
            return refuse(why, "a type other than f32");
    }
    return true;
}

static bool find_factors(Winograd *w, const char **why) {
    if (!w->reduction || w->reduction->reduce != REDUCE_SUM || w->reduction->arg[0]->op != EXPR_MUL)
        return refuse(why, "not a sum of products");
    const Expr *product = w->reduction->arg[0];
    const Expr *a = expr_without_cast(product->arg[0]), *b = expr_without_cast(product->arg[1]);
    if (a->op != EXPR_READ || b->op != EXPR_READ || product->type != DT_F32)
        return refuse(why, "not a sum of products of two tensors");
    w->x = nest_find(&w->nest, a);
    w->w = nest_find(&w->nest, b);
    if (w->nest.access[w->w].guard_count || w->nest.access[w->x].type != DT_F32) {
        int swap = w->x;
        w->x = w->w;
        w->w = swap;
    }
    if (w->x == w->w || w->nest.access[w->w].guard_count || w->nest.access[w->x].outside != 0)
        return refuse(why, "guarded weights, or another value than zero outside");
    return check_types(w, why);
}

/* The axes of one index; -1: none of that kind. False: more than one of a kind, or a factor. */
static bool axes_of(const Nest *nest, const Index *index, int *place, int *tap) {
    *place = *tap = -1;
    for (int a = 0; a < nest->axis_count; a++) {
        int *slot = nest->axis[a].reduced ? tap : place;
        if (!index->coef[a] || nest->axis[a].extent == 1)
            continue;
        if (index->coef[a] != 1 || *slot >= 0)
            return false;
        *slot = a;
    }
    return true;
}

/* Images are x[n, h + i - top, w + j - left, c]. */
static bool find_image(Winograd *w, const char **why) {
    const Nest *nest = &w->nest;
    const Expr *read = nest->access[w->x].read;
    const KernelTensor *tensor = &nest->kernel->tensors[read->tensor];
    w->h = w->p = w->c = -1;
    for (int d = 0; d < read->index_count; d++) {
        int place, tap;
        if (!axes_of(nest, &read->index[d], &place, &tap))
            return refuse(why, "strides or dilations");
        if (tap >= 0 && place >= 0 && w->h < 0) {
            w->h = place, w->i = tap, w->top = read->index[d].offset, w->in_rows = tensor->dims[d];
        } else if (tap >= 0 && place >= 0 && w->p < 0) {
            w->p = place, w->j = tap, w->left = read->index[d].offset, w->in_columns = tensor->dims[d];
        } else if (tap >= 0 && place < 0 && w->c < 0 && read->index[d].offset == 0 && nest->access[w->x].stride[tap] == 1) {
            w->c = tap;
        } else if (tap >= 0 || read->index[d].offset < 0 ||
                   read->index[d].offset + (place < 0 ? 1 : nest->axis[place].extent) > tensor->dims[d])
            return refuse(why, "no image with its channels last");
    }
    if (w->h < 0 || w->p < 0 || w->c < 0 || w->top < -MAX_PIXELS || w->top > MAX_PIXELS || w->left < -MAX_PIXELS ||
        w->left > MAX_PIXELS)
        return refuse(why, "no image with its channels last");
    for (int a = nest->parallel_count; a < nest->axis_count; a++)
        if (a != w->i && a != w->j && a != w->c && nest->axis[a].extent > 1)
            return refuse(why, "a sum over more than channels and taps");
    return true;
}

static bool find_outputs(Winograd *w, const char **why) {
    const Nest *nest = &w->nest;
    const Access *weights = &nest->access[w->w];
    w->v = -1;
    w->images = 1;
    for (int a = 0; a < nest->parallel_count; a++) {
        if (nest->axis[a].extent == 1 || a == w->h || a == w->p)
            continue;
        if (nest->access[0].stride[a] == 1)
            w->v = a;
        else {
            w->outer[w->outer_count++] = a;
            w->images *= nest->axis[a].extent;
            if (weights->stride[a])
                return refuse(why, "groups");
        }
    }
    if (w->v < 0 || nest->access[w->x].stride[w->v] || weights->stride[w->h] || weights->stride[w->p])
        return refuse(why, "channels that are not last in the result");
    for (int i = 1; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        bool epilogue = i != w->x && i != w->w;
        if (epilogue && (access->guard_count || (access->stride[w->v] != 0 && access->stride[w->v] != 1)))
            return refuse(why, "an operand of the epilogue with guards or strides");
    }
    return true;
}

/* ---- the choice ---- */

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* Slots of vector multiply-adds, of which a core issues one (of 64 bytes) or two (of 32) a cycle: about 7 bytes from memory in
 * the time of one. Weights are cold: between two runs of a layer lies the rest of the model. A point's products are short, and
 * each loads its weights for fewer rows: a tenth is lost. Of one image: an answer must not depend on how many there are. */
static double direct_slots(const Winograd *w, int r) {
    double macs = (double)(w->rows * w->columns) * (double)(r * r) * (double)w->channels * (double)w->outputs;
    double bytes = 4.0 * r * r * (double)w->channels * (double)w->outputs;
    return larger(macs / w->lanes, bytes / 7) + bytes / 28;
}

static double tile_slots(const Winograd *w, int m, int r) {
    int n = m + r - 1;
    double tiles = (double)(ceiling(w->rows, m) * ceiling(w->columns, m)), points = n * n;
    double product = 1.1 * points * tiles * (double)w->channels * (double)w->outputs / w->lanes;
    double bytes = 4 * points * (double)w->channels * (double)w->outputs;
    double transforms = tiles * points / w->lanes * (9.0 * (double)w->channels + 7.0 * (double)w->outputs);
    return larger(product, bytes / 7) + bytes / 28 + transforms;
}

/* The outputs of a tile in each direction; 0: sums as they are written are as fast. Of one image: the bits of an answer do not
 * depend on how many are asked for at once. */
static int best_tile(const Winograd *w, int r, double *slots) {
    static const int sizes[] = {4, 2};
    int chosen = 0;
    *slots = 0.9 * direct_slots(w, r);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        WinogradMatrices matrices;
        if (!winograd_matrices(sizes[i], r, &matrices) || tile_slots(w, sizes[i], r) >= *slots)
            continue;
        *slots = tile_slots(w, sizes[i], r);
        chosen = sizes[i];
    }
    return chosen;
}

static int choose(const Winograd *w, const ScheduleOptions *options, int r) {
    double slots;
    return options->winograd ? options->winograd : best_tile(w, r, &slots);
}

double winograd_share(int taps, int64_t rows, int64_t columns, int64_t channels, int64_t outputs, int lanes) {
    const Winograd w = {.rows = rows, .columns = columns, .channels = channels, .outputs = outputs, .lanes = lanes};
    double slots;
    return channels >= LEAST_CHANNELS && outputs >= LEAST_CHANNELS && best_tile(&w, taps, &slots) ? slots / direct_slots(&w, taps)
                                                                                                  : 1;
}

/* Tiles of a block: what their points fill stays in L2; but weights that do not are read again for each block. */
static void choose_block(Winograd *w, const Target *target) {
    int64_t l2 = (int64_t)target->cache_bytes[1] > 0 ? (int64_t)target->cache_bytes[1] : FALLBACK_L2;
    int64_t each = 4 * w->points * (w->channels + w->outputs), weights = 4 * w->points * w->channels * w->outputs;
    int64_t most = l2 / SCRATCH_SHARE / each;
    if (weights > l2 / 2 && most < STREAMED_BLOCK)
        most = STREAMED_BLOCK;
    most = least(most < 8 ? 8 : most, 256);
    w->blocks = ceiling(w->tiles, most);
    w->block = ceiling(w->tiles, w->blocks);
    w->blocks = ceiling(w->tiles, w->block);
}

/* Planes an odd number of lines apart do not fall on the same sets of a cache. */
static int64_t plane_of(int64_t floats) {
    int64_t lines = ceiling(floats, 16);
    return 16 * (lines + (lines % 2 == 0));
}

static bool plan(Winograd *w, Compiled *c, const ScheduleOptions *options, const char **why) {
    const Nest *nest = &w->nest;
    int64_t r = nest->axis[w->i].extent;
    int most = c->target.registers[CLASS_VECTOR] >= 32 ? 3 : 1;
    w->rows = nest->axis[w->h].extent, w->columns = nest->axis[w->p].extent;
    w->channels = nest->axis[w->c].extent, w->outputs = nest->axis[w->v].extent;
    w->lanes = c->target.bytes / 4;
    if (r != nest->axis[w->j].extent || (r != 3 && r != 5))
        return refuse(why, "taps other than 3x3 and 5x5");
    if (w->channels < LEAST_CHANNELS || w->outputs < LEAST_CHANNELS || w->images * w->rows * w->columns > MAX_PIXELS)
        return refuse(why, "too few channels, or too many pixels");
    int m = choose(w, options, (int)r);
    if (m < 2)
        return refuse(why, "a convolution that is faster as it is written");
    if (!winograd_matrices(m, (int)r, &w->matrices))
        return refuse(why, "a tile for which there are no points");
    w->points = w->matrices.n * w->matrices.n;
    w->group = options->spare_registers ? 1 : w->matrices.n == 4 && most > 1 ? 4 : most;
    w->tile_rows = ceiling(w->rows, m), w->tile_columns = ceiling(w->columns, m);
    w->tiles = w->images * w->tile_rows * w->tile_columns;
    choose_block(w, &c->target);
    w->v_plane = plane_of(w->block * w->channels);
    w->m_plane = plane_of(w->block * w->outputs);
    return true;
}

/* ---- the product ---- */

static bool make_product(Winograd *w, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    static const char text[] = "m[p, o] = sum(c) v[p, c] * u[c, o]", known[] = "";
    KernelArg args[] = {{"m", DT_F32, 2, (int64_t[]){w->block, w->outputs}},
                        {"v", DT_F32, 2, (int64_t[]){w->block, w->channels}},
                        {"u", DT_F32, 2, (int64_t[]){w->channels, w->outputs}}};
    w->product = kernel_parse(&c->arena, text, sizeof text - 1, err);
    if (!w->product || kernel_bind(w->product, args, (int)COUNT(args), NULL, 0, err) != WHET_OK)
        return false;
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    constant[kernel_find_tensor(w->product, "u")] = known;
    ScheduleOptions mine = {.constant = constant, .pack_later = true, .mr = options->mr, .nv = options->nv};
    const Kernel *whole = c->kernel;
    c->kernel = w->product;
    bool fine = schedule_contract(c, &mine, why, err);
    c->kernel = whole;
    w->contract = c->state;
    w->point_bytes = c->packing.bytes;
    return fine;
}

/* ---- weights ---- */

static float weight_at(DType type, const char *from) {
    uint16_t half;
    float whole;
    if (type == DT_F32)
        return memcpy(&whole, from, sizeof whole), whole;
    memcpy(&half, from, sizeof half);
    return type == DT_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

/* The taps of channels from `first` on for a panel of outputs, [channels][taps][nr]; zeros behind the last output. */
static void gather_taps(const Winograd *w, const char *from, int64_t channels, int64_t count, float *taps) {
    const Access *access = &w->nest.access[w->w];
    int64_t nr = w->contract->nr, r = w->matrices.r, bytes = dtype_bits(access->type) / 8, column = bytes * access->stride[w->v];
    if (access->type == DT_F32 && access->stride[w->j] == 1 && access->stride[w->i] == r && access->stride[w->c] == r * r) {
        contract_turn(from, column, count, channels * r * r, nr, (char *)taps);
        return;
    }
    for (int64_t c = 0; c < channels; c++, from += bytes * access->stride[w->c])
        for (int64_t a = 0; a < r; a++)
            for (int64_t b = 0; b < r; b++, taps += nr)
                for (int64_t l = 0, at = bytes * (a * access->stride[w->i] + b * access->stride[w->j]); l < nr; l++)
                    taps[l] = l < count ? weight_at(access->type, from + at + l * column) : 0;
}

void winograd_pack(const Compiled *c, const void *constant, int64_t panel, char *to, size_t step) {
    enum { MOST = 6 << 10 }; /* taps: they stay in the first cache */
    const Winograd *w = c->state;
    const Access *access = &w->nest.access[w->w];
    int64_t nr = w->contract->nr, first = panel * nr, count = least(w->outputs - first, nr),
            each = nr * w->matrices.r * w->matrices.r;
    static_assert(MOST >= MAX_TAPS * MAX_TAPS * CONTRACT_MAX_WIDTH, "a channel at least");
    _Alignas(VECTOR_MAX_BYTES) float taps[MOST];
    for (int64_t channel = 0, channels; channel < w->channels; channel += channels, to += 4 * nr * channels) {
        int64_t offset = access->offset + channel * access->stride[w->c] + first * access->stride[w->v];
        channels = least(w->channels - channel, MOST / each);
        gather_taps(w, (const char *)constant + dtype_bits(access->type) / 8 * offset, channels, count, taps);
        int64_t arguments[] = {(int64_t)(intptr_t)taps, (int64_t)(intptr_t)to, channels, (int64_t)step};
        schedule_call(c, w->weights, arguments);
    }
}

/* A piece is a panel of all points. */
static void pack_piece(const Compiled *c, const void *constant, size_t piece, void *to) {
    const Winograd *w = c->state;
    winograd_pack(c, constant, (int64_t)piece, (char *)to + piece * w->contract->panel_bytes, w->point_bytes);
}

static bool describe_packing(const Winograd *w, Compiled *c) {
    const Access *access = &w->nest.access[w->w];
    static const int64_t magic = 0x64617267306e6977; /* no other template's keys begin so */
    const int64_t key[] = {magic,
                           w->matrices.m,
                           w->matrices.r,
                           w->channels,
                           w->outputs,
                           access->stride[w->c],
                           access->stride[w->i],
                           access->stride[w->j],
                           access->stride[w->v],
                           access->offset,
                           w->contract->nr,
                           access->type};
    char *copy = ARENA_ARRAY(&c->arena, char, sizeof key);
    if (!copy)
        return false;
    memcpy(copy, key, sizeof key);
    c->packing = (Packing){.tensor = access->tensor,
                           .bytes = w->point_bytes * (size_t)w->points,
                           .pieces = (size_t)w->contract->panels,
                           .key = copy,
                           .key_bytes = sizeof key};
    c->pack = pack_piece;
    return true;
}

/* ---- the door ---- */

static int add_function(Compiled *c, const VectorFunction *f) {
    c->functions[c->function_count] = f;
    return f ? c->function_count++ : -1;
}

static bool emit_all(Winograd *w, Compiled *c, const char **why, whet_error *err) {
    enum { MOST = 7 };
    const VectorFunction **more = ARENA_ARRAY(&c->arena, const VectorFunction *, (size_t)c->function_count + MOST);
    if (!more)
        return error_memory(err), false;
    memcpy(more, c->functions, (size_t)c->function_count * sizeof *more);
    c->functions = more;
    int m = w->matrices.m, rows = (int)(w->rows % m), columns = (int)(w->columns % m);
    w->input = add_function(c, winograd_emit_input(w, c, false, err));
    w->patch = w->input < 0 ? -1 : add_function(c, winograd_emit_input(w, c, true, err));
    w->weights = w->patch < 0 ? -1 : add_function(c, winograd_emit_weights(w, c, err));
    if (w->weights < 0)
        return false;
    for (int last_row = 0; last_row < 2; last_row++)
        for (int last = 0; last < 2; last++) {
            int high = last_row ? rows : m, wide = last ? columns : m;
            if (!high || !wide || (!last_row && w->rows < m) || (!last && w->columns < m))
                continue;
            w->output[last_row][last] = add_function(c, winograd_emit_output(w, c, high, wide, why, err));
            if (w->output[last_row][last] < 0)
                return false;
        }
    return true;
}

static void winograd_print(const Compiled *c, Text *out) {
    const Winograd *w = c->state;
    text_printf(out, "winograd F(%d, %d): %lld tiles in %lld blocks of %lld, products of tile %d x %d\n", w->matrices.m,
                w->matrices.r, (long long)w->tiles, (long long)w->blocks, (long long)w->block, w->contract->knobs.mr,
                w->contract->nr);
}

bool schedule_winograd(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Winograd *w = NEST_PLAN(&c->arena, Winograd);
    if (!w)
        return error_memory(err), false;
    if (options->exact || options->winograd < 0)
        return refuse(why, "no Winograd is wanted");
    if (options->spare_registers > c->target.registers[CLASS_VECTOR] * 3 / 8) /* the epilogue is too large for its tiles */
        return refuse(why, "an epilogue of too many registers");
    w->known = options->constant;
    if (!describe(w, c->kernel, why) || !find_factors(w, why) || !find_image(w, why) || !find_outputs(w, why))
        return false;
    if (!options->constant || !options->constant[w->nest.access[w->w].tensor])
        return refuse(why, "weights that are not constant");
    bool fine = plan(w, c, options, why) && make_product(w, c, options, why, err) && emit_all(w, c, why, err);
    c->packing = (Packing){0};          /* the product's own */
    c->takes_unpacked = w->blocks == 1; /* or weights would be transformed again for each block */
    c->print_c = NULL;
    if (fine && !describe_packing(w, c))
        return error_memory(err), false;
    if (!fine)
        return false;
    c->template = "winograd";
    c->knobs = (ScheduleKnobs){.mr = w->contract->knobs.mr, .nv = w->contract->knobs.nv, .winograd = w->matrices.m};
    c->state = w;
    c->run = winograd_run;
    c->print = winograd_print;
    return true;
}
