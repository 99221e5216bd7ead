/* Drives attention: packs keys and values of a head, then takes its queries a block at a time.
 *
 * Where there are heads enough, a task is a head, whose packed keys stay in the core's own cache. Otherwise all heads are packed
 * first, and a task is a block of queries. Where a row of scores is cut does not depend on tasks, so results are the same either
 * way. */
#include "schedule/attend.h"

#include <float.h>
#include <string.h>

enum { ALIGN_FLOATS = 16 };

typedef struct Work {
    const Compiled *c;
    const Attend *t;
    void *const *data;
    const EvalOptions *options;
    size_t key_floats, value_floats, block_floats;
    int64_t blocks;
    float *packed; /* of all heads; NULL: a task packs for itself, */
    bool streams;  /* a block of keys at a time */
    Stop stop;
} Work;

/* Where in the nest. */
typedef struct At {
    int64_t digit[NEST_MAX_AXES];
} At;

static size_t aligned(size_t floats) {
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static void set_digits(const Attend *t, const int *axes, int count, int64_t number, At *at) {
    for (int k = count - 1; k >= 0; k--) {
        at->digit[axes[k]] = number % t->nest.axis[axes[k]].extent;
        number /= t->nest.axis[axes[k]].extent;
    }
}

static int64_t offset_at(const Access *access, const At *at, int axes) {
    int64_t offset = access->offset;
    for (int x = 0; x < axes; x++)
        offset += at->digit[x] * access->stride[x];
    return offset * (dtype_bits(access->type) / 8);
}

/* The pointers that every function has first; returns how many. */
static int put_places(const Work *w, const At *at, int64_t *arguments) {
    const Nest *nest = &w->t->nest;
    for (int i = 0; i < nest->access_count; i++)
        arguments[i] =
            (int64_t)(intptr_t)((char *)w->data[nest->access[i].tensor] + offset_at(&nest->access[i], at, nest->axis_count));
    return nest->access_count;
}

/* ---- packing ---- */

/* Rows of packed keys. */
static int64_t key_steps(const Attend *t) {
    return t->depth / t->key.group;
}

/* Lanes of a factor from `first` on: as many as one of its functions packs; returns how many vectors. */
static int64_t pack_lanes(const Work *w, const AttendFactor *f, At at, int64_t first, int64_t rows, float *to) {
    int64_t arguments[NEST_MAX_ACCESSES + 2], lanes = f->together * w->t->lanes;
    bool whole = w->t->nest.axis[f->lanes].extent - first >= lanes;
    at.digit[f->lanes] = first;
    int n = put_places(w, &at, arguments);
    arguments[n++] = (int64_t)(intptr_t)to;
    arguments[n] = rows;
    schedule_call(w->c, whole ? f->whole : f->part, arguments);
    return f->together;
}

/* The last row of an odd number, beside zeros. */
static void pack_odd_value(const Work *w, At at, int64_t key, float *to) {
    const Attend *t = w->t;
    const Access *a = &t->nest.access[t->values.from];
    at.digit[t->key_axis] = key;
    const char *from = (const char *)w->data[a->tensor] + offset_at(a, &at, t->nest.axis_count);
    for (int64_t j = 0; j < t->value_pitch; j++) {
        uint16_t bits = 0;
        if (j < t->width)
            memcpy(&bits, from + 2 * j, sizeof bits);
        const uint32_t pair = bits;
        memcpy(to + j, &pair, sizeof pair);
    }
}

/* Keys [key, key + count) of a head, which begin with a panel. */
static void pack_keys(const Work *w, At at, int64_t key, int64_t count, float *to) {
    const Attend *t = w->t;
    float *values = to + w->key_floats;
    for (int64_t v = 0; v < (count + t->lanes - 1) / t->lanes;) {
        float *panel = to + v / t->tile_vectors * key_steps(t) * t->tile_vectors * t->lanes;
        v += pack_lanes(w, &t->key, at, key + v * t->lanes, t->depth, panel + v % t->tile_vectors * t->lanes);
    }
    at.digit[t->key_axis] = key;
    int64_t whole = count / t->values.group * t->values.group;
    for (int64_t v = 0; v < t->value_pitch / t->lanes && whole;)
        v += pack_lanes(w, &t->values, at, v * t->lanes, whole, values + v * t->lanes);
    if (whole < count)
        pack_odd_value(w, at, key + whole, values + whole / t->values.group * t->value_pitch);
}

static void pack_head(const Work *w, int64_t head, float *to) {
    At at = {{0}};
    set_digits(w->t, w->t->outer, w->t->outer_count, head, &at);
    pack_keys(w, at, 0, w->t->keys, to);
}

/* ---- a block of queries ---- */

/* Of the next head, where its keys and values lie, and how many of both one behind the other are fetched: tiles of scores fetch
 * them, so that packing finds them near. */
typedef struct Ahead {
    const char *keys, *values;
    int64_t fetched;
} Ahead;

typedef struct Block {
    At at;
    int64_t rows;
    int64_t key, keys; /* those at hand */
    int64_t packed_from;
    const float *packed_keys, *packed_values;
    float *query, *scores, *weights, *sums, *rows_scratch;
    float *row_values, *slots; /* of all keys so far; ATTEND_ROW_SLOTS */
    Ahead *ahead;              /* NULL: there is no next head */
} Block;

/* An argument that steps on from row to row. */
typedef struct Stepped {
    int argument;
    int64_t bytes;
} Stepped;

static void call_tiles(const Work *w, const int function[2], int64_t *arguments, const Stepped stepped[2], int count,
                       int64_t rows, bool by_rows) {
    int64_t tile = w->t->tile_rows, tiles = rows / tile, rest = rows % tile;
    if (tiles) {
        arguments[count] = by_rows ? tiles * tile : tiles;
        schedule_call(w->c, function[0], arguments);
    }
    if (rest) {
        for (int i = 0; i < 2; i++)
            arguments[stepped[i].argument] += tiles * tile * stepped[i].bytes;
        arguments[count] = by_rows ? rest : 1;
        schedule_call(w->c, function[1], arguments);
        for (int i = 0; i < 2; i++)
            arguments[stepped[i].argument] -= tiles * tile * stepped[i].bytes;
    }
}

/* Where tiles of scores find what they fetch, and how many rows each. */
static void put_ahead(const Attend *t, Ahead *ahead, int64_t tiles, int64_t arguments[2]) {
    arguments[0] = arguments[1] = 0;
    if (!ahead || ahead->fetched >= 2 * t->keys)
        return;
    bool values = ahead->fetched >= t->keys;
    int64_t row = ahead->fetched % t->keys, rows = least(tiles * ATTEND_ROWS_AHEAD, t->keys - row);
    arguments[0] = (int64_t)(intptr_t)((values ? ahead->values : ahead->keys) + row * t->ahead_step);
    arguments[1] = ATTEND_ROWS_AHEAD;
    ahead->fetched += rows;
}

static void score(const Work *w, const Block *b) {
    const Attend *t = w->t;
    int64_t arguments[NEST_MAX_ACCESSES + 6], row;
    int64_t depth = t->depth + (t->lanes - t->depth % t->lanes) % t->lanes;
    int n = put_places(w, &b->at, arguments);
    if (t->query.access < 0) {
        for (int64_t v = 0; v < depth / t->lanes && b->key == 0;)
            v += pack_lanes(w, &t->query, b->at, v * t->lanes, b->rows, b->query + v * t->lanes);
        arguments[n] = (int64_t)(intptr_t)b->query;
        row = depth;
    } else {
        arguments[n] = arguments[t->query.access];
        row = t->query_axis < 0 ? 0 : t->nest.access[t->query.access].stride[t->query_axis];
    }
    int64_t vectors = (b->keys + t->lanes - 1) / t->lanes;
    const float *keys = b->packed_keys + (b->key - b->packed_from) * key_steps(t);
    for (int64_t v = 0; v < vectors; v += t->tile_vectors) {
        bool part = vectors - v < t->tile_vectors;
        int function[2] = {t->scores_function[0][part], t->scores_function[1][part]};
        arguments[n + 1] = (int64_t)(intptr_t)(keys + v * t->lanes * key_steps(t));
        arguments[n + 2] = (int64_t)(intptr_t)(b->scores + v * t->lanes);
        put_ahead(t, b->ahead, b->rows / t->tile_rows, arguments + n + 3);
        call_tiles(w, function, arguments, (const Stepped[]){{n, 4 / t->query.group * row}, {n + 2, 4 * t->pitch}}, n + 5,
                   b->rows, false);
    }
}

/* What the rows' access is: one of ours, the table, or a tensor. */
static const char *rows_base(const Work *w, const Block *b, const Access *access) {
    const Attend *t = w->t;
    if (access->tensor == ROWS_TABLE)
        return (const char *)t->rows->table + offset_at(access, &b->at, t->rows->nest.axis_count);
    if (access->tensor == ATTEND_ROW_VALUES)
        return (const char *)(b->slots + access->offset);
    if (access->tensor == t->scores || access->tensor == t->weights)
        return (const char *)(access->tensor == t->scores ? b->scores : b->weights);
    return (const char *)w->data[access->tensor] + offset_at(access, &b->at, t->rows->nest.axis_count);
}

/* Beside the last weight of an odd number of keys, which are multiplied by pairs. */
static void clear_odd_weights(const Work *w, const Block *b) {
    for (int64_t i = 0; i < b->rows; i++)
        memset((char *)b->weights + 2 * (i * w->t->pitch + b->keys), 0, 2);
}

static void weigh(const Work *w, const Block *b) {
    const Rows *r = w->t->rows;
    int64_t row = 0;
    for (int f = r->function_count - 1; f >= 0; f--) { /* the one of many rows first */
        int64_t arguments[NEST_MAX_ACCESSES + ROWS_MAX_DEFINITIONS + 3], rows = (b->rows - row) / r->function[f].copies;
        int n = 0;
        rows *= r->function[f].copies;
        for (int i = 0; i < r->nest.access_count; i++)
            if (r->leader[i] == i)
                arguments[n++] = (int64_t)(intptr_t)(rows_base(w, b, &r->nest.access[i]) +
                                                     row * rows_row_stride(r, i) * rows_element_bytes(r, i));
        for (int s = 0; s < r->scratch_count; s++)
            arguments[n++] = (int64_t)(intptr_t)(b->rows_scratch + (size_t)s * r->scratch_floats);
        arguments[n++] = rows;
        arguments[n++] = 0;
        arguments[n++] = b->keys / w->t->lanes * w->t->lanes;
        arguments[n] = b->keys % w->t->lanes;
        if (rows)
            schedule_call(w->c, w->t->rows_function + f, arguments);
        row += rows;
    }
}

/* What earlier keys and these give together. */
static void merge(const Attend *t, const Block *b) {
    const float *factor = b->slots + ATTEND_FACTOR * t->slot;
    for (int v = 0; v < t->value_count; v++) {
        float *all = b->row_values + v * t->slot;
        const float *here = b->slots + (ATTEND_HERE + v) * t->slot;
        for (int64_t i = 0; i < b->rows; i++)
            all[i] = b->key ? all[i] * factor[i] + here[i] : here[i];
    }
    if (t->before >= 0)
        memcpy(b->slots + ATTEND_BEFORE * t->slot, b->slots + ATTEND_TOP * t->slot, (size_t)b->rows * sizeof(float));
}

static void mix(const Work *w, const Block *b, int kind) {
    const Attend *t = w->t;
    for (int64_t v = 0; v < t->value_pitch / t->lanes; v += t->tile_vectors) {
        int64_t arguments[NEST_MAX_ACCESSES + ATTEND_MAX_ROW_VALUES + 6], tile = t->tile_rows;
        bool part = v / t->tile_vectors >= t->width_panels;
        for (int rest = 0; rest < 2; rest++) {
            int64_t first = rest ? b->rows / tile * tile : 0, rows = rest ? b->rows % tile : b->rows / tile * tile;
            At at = b->at;
            at.digit[t->width_axis] = v * t->lanes;
            if (t->query_axis >= 0)
                at.digit[t->query_axis] += first;
            int n = put_places(w, &at, arguments);
            arguments[n++] = (int64_t)(intptr_t)((char *)b->weights + first * t->pitch * (dtype_bits(t->weights_type) / 8));
            arguments[n++] = (int64_t)(intptr_t)(b->packed_values + (b->key - b->packed_from) / t->values.group * t->value_pitch +
                                                 v * t->lanes);
            arguments[n++] = (int64_t)(intptr_t)(b->sums + first * t->value_pitch + v * t->lanes);
            arguments[n++] = (int64_t)(intptr_t)(b->slots + ATTEND_FACTOR * t->slot + first);
            for (int i = 0; i < t->value_count; i++)
                arguments[n++] = (int64_t)(intptr_t)(b->row_values + i * t->slot + first);
            arguments[n++] = (b->keys + t->values.group - 1) / t->values.group;
            arguments[n] = rows;
            if (rows)
                schedule_call(w->c, t->values_function[kind][rest][part], arguments);
        }
    }
}

static float *cut(float *memory, size_t *at, int64_t floats) {
    float *piece = memory ? memory + *at : NULL;
    *at += aligned((size_t)floats);
    return piece;
}

/* A block's pieces of `memory`, if there is any; how many floats that takes. */
static size_t lay_out(const Attend *t, Block *b, float *memory) {
    size_t at = 0;
    b->scores = cut(memory, &at, t->block * t->pitch);
    b->weights = cut(memory, &at, t->block * t->pitch);
    b->sums = cut(memory, &at, t->block * t->value_pitch);
    b->query = cut(memory, &at, t->block * (t->depth + t->lanes));
    b->row_values = cut(memory, &at, ATTEND_MAX_ROW_VALUES * t->slot);
    b->slots = cut(memory, &at, ATTEND_ROW_SLOTS * t->slot);
    b->rows_scratch = cut(memory, &at, (int64_t)t->rows->scratch_floats * t->rows->scratch_count);
    return at;
}

/* The first key that no query of a whole block sees, nor any key behind it: how keys are cut does not depend on how many queries
 * there are. */
static int64_t seen_by(const Attend *t, int64_t first) {
    const AttendHidden *h = &t->hidden;
    if (h->tensor < 0)
        return t->keys;
    int64_t least = h->offset + h->query * (h->query < 0 ? first + t->block - 1 : first); /* hidden: key * j + least > 0 */
    int64_t end = least > 0 ? 0 : -least / h->key + 1;
    return end < t->keys ? end : t->keys;
}

/* Next to the maximum of each row so far, a hidden key has no weight. */
static bool may_skip(const Attend *t, const Block *b) {
    const double NO_WEIGHT = 200; /* exp(-200) is zero */
    const float *top = b->slots + ATTEND_TOP * t->slot;
    bool all = true;
    for (int64_t i = 0; i < b->rows; i++)
        all = all && (double)top[i] - t->hidden.score > NO_WEIGHT;
    return all;
}

/* `packed`: the head's, or room for one block of keys, if it is the only one to want them. */
static void run_block(const Work *w, int64_t head, int64_t shared, int64_t block, float *packed, float *scratch, Ahead *ahead) {
    const Attend *t = w->t;
    int64_t first = block * t->block;
    Block b = {.packed_keys = packed, .packed_values = packed + w->key_floats, .ahead = ahead};
    lay_out(t, &b, scratch);
    b.rows = t->queries - first < t->block ? t->queries - first : t->block;
    set_digits(t, t->outer, t->outer_count, head, &b.at);
    set_digits(t, t->inner, t->inner_count, shared, &b.at);
    if (t->query_axis >= 0)
        b.at.digit[t->query_axis] = first;
    for (int64_t i = 0; i < b.rows; i++)
        b.slots[ATTEND_BEFORE * t->slot + i] = -FLT_MAX;
    int64_t panel = (int64_t)t->tile_vectors * t->lanes, seen = seen_by(t, first);
    bool last = false;
    for (; !last; b.key += b.keys) {
        int64_t left = seen > b.key ? (seen - b.key + panel - 1) / panel * panel : t->key_block;
        b.keys = t->keys - b.key < t->key_block ? t->keys - b.key : t->key_block;
        b.keys = left < b.keys ? left : b.keys;
        if (w->streams) {
            b.at.digit[t->key_axis] = 0;
            pack_keys(w, b.at, b.key, b.keys, packed);
            b.packed_from = b.key;
        }
        b.at.digit[t->key_axis] = b.key;
        score(w, &b);
        weigh(w, &b);
        if (b.keys % t->values.group)
            clear_odd_weights(w, &b);
        merge(t, &b);
        last = b.key + b.keys == t->keys || (b.key + b.keys >= seen && may_skip(t, &b));
        mix(w, &b, (b.key == 0 ? ATTEND_FIRST : 0) | (last ? ATTEND_LAST : 0));
    }
}

/* ---- tasks ---- */

static float *take(Work *w, size_t floats) {
    float *scratch = memory_alloc(w->options->allocator, floats * sizeof *scratch);
    if (!scratch)
        stop_no_memory(&w->stop);
    return scratch;
}

/* Of the head behind this one, which mostly is this thread's too. */
static bool find_ahead(const Work *w, int64_t head, Ahead *ahead) {
    const Attend *t = w->t;
    if (!t->ahead_step || w->streams || head + 1 >= t->heads)
        return false;
    int64_t places[NEST_MAX_ACCESSES];
    At at = {{0}};
    set_digits(t, t->outer, t->outer_count, head + 1, &at);
    put_places(w, &at, places);
    *ahead = (Ahead){(const char *)(intptr_t)places[t->key.from], (const char *)(intptr_t)places[t->values.from], 0};
    return true;
}

static void head_task(void *context, size_t head) {
    Work *w = context;
    size_t packed = w->key_floats + w->value_floats, floats = packed + w->block_floats;
    float *scratch = stop_look(&w->stop, w->options) ? NULL : take(w, floats);
    if (!scratch)
        return;
    if (!w->streams)
        pack_head(w, (int64_t)head, scratch);
    Ahead ahead;
    bool fetches = find_ahead(w, (int64_t)head, &ahead);
    for (int64_t i = 0; i < w->t->shared * w->blocks && !stop_look(&w->stop, w->options); i++)
        run_block(w, (int64_t)head, i / w->blocks, i % w->blocks, scratch, scratch + packed, fetches ? &ahead : NULL);
    memory_free(w->options->allocator, scratch, floats * sizeof *scratch);
}

static void pack_task(void *context, size_t head) {
    Work *w = context;
    if (!stop_look(&w->stop, w->options))
        pack_head(w, (int64_t)head, w->packed + head * (w->key_floats + w->value_floats));
}

static void block_task(void *context, size_t i) {
    Work *w = context;
    int64_t blocks = w->t->shared * w->blocks, head = (int64_t)i / blocks, at = (int64_t)i % blocks;
    float *scratch = stop_look(&w->stop, w->options) ? NULL : take(w, w->block_floats);
    if (!scratch)
        return;
    run_block(w, head, at / w->blocks, at % w->blocks, w->packed + (size_t)head * (w->key_floats + w->value_floats), scratch,
              NULL);
    memory_free(w->options->allocator, scratch, w->block_floats * sizeof *scratch);
}

static void run_in_blocks(Work *w, double work) {
    const Attend *t = w->t;
    size_t floats = (size_t)t->heads * (w->key_floats + w->value_floats);
    w->packed = take(w, floats);
    if (!w->packed)
        return;
    schedule_parallel(w->options, work, (size_t)t->heads, pack_task, w);
    schedule_parallel(w->options, work, (size_t)(t->heads * t->shared * w->blocks), block_task, w);
    memory_free(w->options->allocator, w->packed, floats * sizeof *w->packed);
}

whet_status attend_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    enum { HEADS_A_THREAD = 3 };
    const Attend *t = c->state;
    Work w = {.c = c, .t = t, .data = data, .options = options};
    w.block_floats = lay_out(t, &(Block){.rows = 0}, NULL);
    w.blocks = (t->queries + t->block - 1) / t->block;
    w.streams = t->shared * w.blocks == 1 && !t->values.turned;
    int64_t panel = (int64_t)t->tile_vectors * t->lanes, panels = w.streams ? t->key_block / panel : t->panels;
    int64_t values = ((w.streams ? t->key_block : t->keys) + t->values.group - 1) / t->values.group;
    w.key_floats = aligned((size_t)(panels * panel * key_steps(t)));
    w.value_floats = aligned((size_t)(values * t->value_pitch));
    int threads = schedule_threads(options);
    double work =
        (double)t->heads * (double)t->shared * (double)t->queries * (double)t->keys * (double)(t->depth + t->width) / 50;
    if (threads == 1 || w.streams || t->heads >= (int64_t)threads * HEADS_A_THREAD)
        schedule_parallel(options, work, (size_t)t->heads, head_task, &w);
    else
        run_in_blocks(&w, work);
    return stop_status(&w.stop, err);
}
