/* Vector code of Winograd's transforms: one tile, in a loop over channels.
 *
 * A tile is a square of n x n vectors, more than there are registers. So a few of its columns at a time (`group`) are transformed
 * along the rows, all of them, then along the columns, and stored: loads are repeated for each group, operations are not. */
#include "schedule/winograd.h"

typedef struct Tile {
    const Winograd *w;
    VectorFunction *f;
    int lane; /* the counter */
    int pointer[NEST_MAX_ACCESSES];
    int row, column; /* the place whose epilogue is emitted */
    struct {
        int access, value;
        int64_t offset;
    } loaded[NEST_MAX_ACCESSES];
    int loaded_count;
} Tile;

static VectorAddress at_lane(const Tile *t, int pointer, int64_t offset, bool moves) {
    VectorAddress address = vector_at(pointer, 4 * offset);
    return moves ? vector_plus(address, t->lane, 4) : address;
}

/* ---- the input ---- */

static int group_end(const Winograd *w, int from, int rows) {
    return from + w->group < rows ? from + w->group : rows;
}

/* Columns [from, to) of B^T d B. */
static void emit_columns(const Tile *t, int x, int v, int64_t row, int64_t pixel, int from, int to) {
    const Linear *l = &t->w->matrices.input;
    int n = l->inputs, half[LINEAR_MAX][LINEAR_MAX], in[LINEAR_MAX], out[LINEAR_MAX];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            in[j] = vector_load(t->f, DT_F32, DT_F32, at_lane(t, x, i * row + j * pixel, true), -1);
        linear_emit(l, t->f, in, from, to, half[i]);
    }
    for (int j = from; j < to; j++) {
        for (int i = 0; i < n; i++)
            in[i] = half[i][j];
        linear_emit(l, t->f, in, 0, n, out);
        for (int i = 0; i < n; i++)
            vector_store(t->f, DT_F32, out[i], at_lane(t, v, (i * n + j) * t->w->v_plane, true), -1);
    }
}

const VectorFunction *winograd_emit_input(const Winograd *w, Compiled *c, bool patch, whet_error *err) {
    VectorFunction *f = schedule_function(c->vectors, patch ? "winograd_patch" : "winograd_input", &c->target);
    if (!f)
        return error_memory(err), NULL;
    int x = vector_parameter(f, CLASS_POINTER, "x"), v = vector_parameter(f, CLASS_POINTER, "v"), n = w->matrices.n;
    int count = vector_parameter(f, CLASS_INDEX, "lanes");
    const Access *access = &w->nest.access[w->x];
    int64_t pixel = patch ? w->channels : access->stride[w->p], row = patch ? n * w->channels : access->stride[w->h];
    Tile t = {.w = w, .f = f, .lane = vector_loop(f, count, 0, w->lanes, NULL, NULL, 0)};
    for (int from = 0; from < n; from = group_end(w, from, n))
        emit_columns(&t, x, v, row, pixel, from, group_end(w, from, n));
    vector_end(f, NULL, NULL);
    return vector_finish(f, err) ? f : NULL;
}

/* ---- the output ---- */

static int read_operand(ExprEmitter *e, const Expr *read) {
    Tile *t = e->context;
    int access = nest_find(&t->w->nest, read);
    const Access *a = &t->w->nest.access[access];
    int64_t offset = t->row * a->stride[t->w->h] + t->column * a->stride[t->w->p];
    for (int i = 0; i < t->loaded_count; i++)
        if (t->loaded[i].access == access && t->loaded[i].offset == offset)
            return t->loaded[i].value;
    bool moves = a->stride[t->w->v] != 0;
    VectorAddress place = at_lane(t, t->pointer[access], offset, moves);
    int value = moves ? vector_load(t->f, DT_F32, DT_F32, place, -1) : vector_splat(t->f, DT_F32, DT_F32, place);
    bool stays = !a->stride[t->w->h] && !a->stride[t->w->p]; /* the same in all pixels */
    if (stays) {
        t->loaded[t->loaded_count].access = access;
        t->loaded[t->loaded_count].offset = offset;
        t->loaded[t->loaded_count++].value = value;
    }
    return value;
}

/* Rows [from, to) of A^T m A, the first `columns` of each, through the epilogue. */
static void emit_rows(Tile *t, ExprEmitter *e, int columns, int from, int to) {
    const Winograd *w = t->w;
    const Linear *l = &w->matrices.output;
    int n = l->inputs, half[LINEAR_MAX][LINEAR_MAX], in[LINEAR_MAX], out[LINEAR_MAX];
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < n; i++)
            in[i] = vector_load(t->f, DT_F32, DT_F32, at_lane(t, t->pointer[w->x], (i * n + j) * w->m_plane, true), -1);
        linear_emit(l, t->f, in, from, to, out);
        for (int a = from; a < to; a++)
            half[a][j] = out[a];
    }
    for (t->row = from; t->row < to; t->row++) {
        linear_emit(l, t->f, half[t->row], 0, columns, out);
        for (t->column = 0; t->column < columns && !e->refused; t->column++) {
            expr_forget(e);
            expr_know(e, w->reduction, out[t->column]);
            int value = expr_emit(e, w->nest.definition->value);
            const Access *y = &w->nest.access[0];
            int64_t offset = t->row * y->stride[w->h] + t->column * y->stride[w->p];
            if (!e->refused)
                vector_store(t->f, DT_F32, value, at_lane(t, t->pointer[0], offset, true), -1);
        }
    }
}

const VectorFunction *winograd_emit_output(const Winograd *w, Compiled *c, int rows, int columns, const char **why,
                                           whet_error *err) {
    VectorFunction *f =
        schedule_function(c->vectors, arena_printf(c->vectors, "winograd_output_%dx%d", rows, columns), &c->target);
    if (!f)
        return error_memory(err), NULL;
    Tile t = {.w = w, .f = f};
    ExprEmitter e = {.f = f,
                     .definition = w->nest.definition,
                     .kernel = w->nest.kernel,
                     .constant = w->known,
                     .read = read_operand,
                     .context = &t};
    if (!expr_start(&e, c->vectors))
        return error_memory(err), NULL;
    for (int i = 0; i < w->nest.access_count; i++)
        t.pointer[i] = vector_parameter(f, CLASS_POINTER,
                                        arena_printf(c->vectors, "%s%d",
                                                     i == 0      ? "y"
                                                     : i == w->x ? "m"
                                                                 : "e",
                                                     i));
    t.lane = vector_loop(f, vector_parameter(f, CLASS_INDEX, "lanes"), 0, w->lanes, NULL, NULL, 0);
    for (int from = 0; from < rows; from = group_end(w, from, rows))
        emit_rows(&t, &e, columns, from, group_end(w, from, rows));
    vector_end(f, NULL, NULL);
    *why = e.refused;
    return !e.refused && vector_finish(f, err) ? f : NULL;
}

/* ---- weights ---- */

/* sum(k) coef[k] * x[k]; most of the first and last rows of G are zeros. */
static int combine(VectorFunction *f, const double *coef, int count, const int *x) {
    int sum = -1;
    for (int k = 0; k < count; k++) {
        if (coef[k] == 0)
            continue;
        int c = vector_const(f, DT_F64, coef[k]);
        sum = sum < 0 ? vector_binary(f, VECTOR_MUL, x[k], c) : vector_ternary(f, VECTOR_FMA, x[k], c, sum);
    }
    return sum;
}

/* u = G g G^T of some channels, in f64. */
const VectorFunction *winograd_emit_weights(const Winograd *w, Compiled *c, whet_error *err) {
    const WinogradMatrices *m = &w->matrices;
    VectorFunction *f = schedule_function(c->vectors, "winograd_weights", &c->target);
    if (!f)
        return error_memory(err), NULL;
    int taps = vector_parameter(f, CLASS_POINTER, "taps"), u = vector_parameter(f, CLASS_POINTER, "u");
    int channels = vector_parameter(f, CLASS_INDEX, "channels"), step = vector_parameter(f, CLASS_INDEX, "step");
    int64_t nr = w->contract->nr;
    int channel = vector_loop(f, channels, 0, 1, NULL, NULL, 0), lane = vector_loop(f, -1, nr, w->lanes / 2, NULL, NULL, 0);
    int point = vector_pointer_index(f, vector_pointer_index(f, u, channel, 4 * nr), lane, 4);
    for (int i = 0; i < m->n; i++) {
        int half[LINEAR_MAX], column[LINEAR_MAX];
        for (int b = 0; b < m->r; b++) {
            for (int a = 0; a < m->r; a++)
                if (m->weights[i][a] != 0) {
                    VectorAddress tap = vector_plus(vector_at(taps, 4 * (a * m->r + b) * nr), channel, 4 * m->r * m->r * nr);
                    column[a] = vector_load(f, DT_F64, DT_F32, vector_plus(tap, lane, 4), -1);
                }
            half[b] = combine(f, m->weights[i], m->r, column);
        }
        for (int j = 0; j < m->n; j++) {
            vector_store(f, DT_F32, combine(f, m->weights[j], m->r, half), vector_at(point, 0), -1);
            point = vector_pointer_index(f, point, step, 1);
        }
    }
    vector_end(f, NULL, NULL);
    vector_end(f, NULL, NULL);
    return vector_finish(f, err) ? f : NULL;
}
