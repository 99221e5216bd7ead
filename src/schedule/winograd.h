/* What the parts of the Winograd template share: winograd.c recognises, chooses and packs, winograd_linear.c holds the algebra,
 * winograd_emit.c makes vector code, winograd_run.c drives it. winograd.c opens with how they work together. */
#ifndef WHET_SCHEDULE_WINOGRAD_H
#define WHET_SCHEDULE_WINOGRAD_H

#include "schedule/contract.h"
#include "schedule/schedule.h"

/* ---- winograd_linear.c ---- */

enum { LINEAR_MAX = 8, LINEAR_STEPS = 16 };

/* A small matrix times a vector, with what its rows share computed once: terms are the inputs, then the steps. */
typedef struct Linear {
    int rows, inputs, step_count;
    struct {
        int a, b; /* terms */
        double ratio;
    } step[LINEAR_STEPS];                               /* a + ratio * b */
    double coef[LINEAR_MAX][LINEAR_MAX + LINEAR_STEPS]; /* of terms, by row */
} Linear;

typedef struct WinogradMatrices {
    int m, r, n;                            /* outputs, taps, inputs of a tile in one direction: n = m + r - 1 */
    Linear input, output;                   /* B^T (n x n), A^T (m x n) */
    double weights[LINEAR_MAX][LINEAR_MAX]; /* G (n x r) */
} WinogradMatrices;

/* False: there are no points for this size. */
bool winograd_matrices(int m, int r, WinogradMatrices *out);
/* Rows [from, to) as vector code. */
void linear_emit(const Linear *l, VectorFunction *f, const int *inputs, int from, int to, int *outputs);

/* The slots of an image of rows x columns outputs beside those of the sum as it is written, by the tile that is best: at most 1.
 */
double winograd_share(int taps, int64_t rows, int64_t columns, int64_t channels, int64_t outputs, int lanes);

/* ---- the template ---- */

typedef struct Winograd {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;                /* axes as the definition has them */
    const Expr *reduction;
    int x, w;                                   /* accesses */
    int h, p, v, c, i, j;                       /* axes: rows, pixels, channels out; channels in, taps */
    int outer[NEST_MAX_AXES], outer_count;      /* images */
    int64_t rows, columns, in_rows, in_columns; /* of the images */
    int64_t top, left;                          /* offsets of the first tap: -padding */
    int64_t channels, outputs, images;
    int64_t tile_rows, tile_columns, tiles; /* tiles: of all images */
    int64_t block, blocks;                  /* tiles of a block */
    WinogradMatrices matrices;
    int lanes, points, group; /* points: n * n; group: rows that are transformed at once in registers */
    Kernel *product;          /* one point: m[p, o] = sum(c) v[p, c] * u[c, o] */
    Contract *contract;
    size_t point_bytes;             /* packed weights of one point */
    int64_t v_plane, m_plane;       /* floats from one point to the next */
    int input, patch, output[2][2]; /* functions: from the image, from a copy with its border; last rows, last columns, */
    int weights;                    /* of weights */
} Winograd;

/* winograd_emit.c. The input's parameters: where the tile lies, where its first point goes, lanes. The output's: a pointer an
 * access (the window's: the tile's first point; the weights': nothing), lanes. The weights': taps of channels,
 * [channels][taps][nr], where their points go, [channels][nr] of each, how many channels, bytes from a point to the next. */
const VectorFunction *winograd_emit_input(const Winograd *w, Compiled *c, bool patch, whet_error *err);
const VectorFunction *winograd_emit_output(const Winograd *w, Compiled *c, int rows, int columns, const char **why,
                                           whet_error *err);
/* Weights of panel `panel`, transformed: those of each point `step` bytes behind the one before. */
void winograd_pack(const Compiled *c, const void *constant, int64_t panel, char *to, size_t step);
const VectorFunction *winograd_emit_weights(const Winograd *w, Compiled *c, whet_error *err);
/* winograd_run.c */
whet_status winograd_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
