/* Drives a contraction: cuts the work into tasks, packs panels that could not be packed before, walks blocks and calls tiles. */
#include "schedule/contract.h"

#include <stdatomic.h>
#include <string.h>

/* ---- tiles ---- */

typedef struct Work {
    const Compiled *c;
    const Contract *k;
    void *const *data;
    const EvalOptions *options;
    const whet_allocator *allocator;
    int64_t row_tasks, panel_tasks, rows_each, panels_each; /* the grid of one outer index, rows in tiles */
    atomic_bool late, no_memory;
} Work;

/* One outer index, or one line of its rows: where every access is, in elements, and A's guarded indices. */
typedef struct Corner {
    int64_t offset[NEST_MAX_ACCESSES], position[NEST_MAX_GUARDS];
    int64_t batch;
} Corner;

static void move(const Contract *k, Corner *corner, int axis, int64_t by) {
    const Access *a = &k->nest.access[k->a];
    for (int i = 0; i < k->nest.access_count; i++)
        corner->offset[i] += by * k->nest.access[i].stride[axis];
    for (int g = 0; g < a->guard_count; g++)
        corner->position[g] += by * a->guard[g].coef[axis];
}

static Corner corner_of(const Contract *k, int64_t outer) {
    const Access *a = &k->nest.access[k->a];
    Corner corner = {.batch = 0};
    for (int i = 0; i < k->nest.access_count; i++)
        corner.offset[i] = k->nest.access[i].offset;
    for (int g = 0; g < a->guard_count; g++)
        corner.position[g] = a->guard[g].offset;
    int64_t each = 1;
    for (int i = k->outer_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->outer[i]].extent, digit = outer % extent;
        move(k, &corner, k->outer[i], digit);
        outer /= extent;
        if (contract_b_moves(k, k->outer[i])) {
            corner.batch += digit * each;
            each *= extent;
        }
    }
    return corner;
}

static Corner line_of(const Contract *k, const Corner *corner, int64_t line) {
    Corner out = *corner;
    for (int i = k->line_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->line_axis[i]].extent;
        move(k, &out, k->line_axis[i], line % extent);
        line /= extent;
    }
    return out;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* One block of depth of one panel, as tiles are called with it. */
typedef struct Part {
    int64_t block, panel;
    const float *packed;   /* the panel from the block's first step */
    const float *gathered; /* rows of A, from tile `first` of all lines; NULL: A as it lies */
    int64_t first;
} Part;

/* Where the taps of this line begin, in elements of A and of the panel; counts of those inside, by level. */
static int find_taps(const Contract *k, const Corner *line, int64_t block, int64_t *a, int64_t *b, int64_t *counts) {
    int count = 0;
    for (int l = 0; l < k->level_count; l++) {
        const ContractLevel *level = &k->level[l];
        int64_t begin = l == 0 && level->steps ? block * (k->knobs.kc / level->steps) : 0, from = begin;
        if (level->guard >= 0 && l != k->patterned) {
            int64_t end, most = l == 0 && level->steps ? begin + k->knobs.kc / level->steps : level->extent;
            contract_taps_inside(k, l, line->position[level->guard], &from, &end);
            from = from < begin ? begin : from;
            end = least(end, most);
            counts[count++] = end > from ? end - from : 0;
        }
        *a += from * level->a_stride;
        *b += (from - begin) * level->steps * k->nr;
    }
    return count;
}

/* Tiles [from, end) of a line, piece by piece. */
static void call_line(const Work *w, const Part *part, const Corner *line, int64_t at_line, int64_t from, int64_t end) {
    const Contract *k = w->k;
    int64_t arguments[NEST_MAX_ACCESSES + 1 + CONTRACT_MAX_DEPTH], base[NEST_MAX_ACCESSES], b = 0, a = 0, mr = k->knobs.mr;
    int n = k->nest.access_count;
    find_taps(k, line, part->block, &a, &b, arguments + n + !k->single);
    for (int i = 0; i < n; i++)
        base[i] = (int64_t)(intptr_t)w->data[k->nest.access[i].tensor] +
                  4 * (line->offset[i] + contract_n_stride(k, i) * part->panel * k->nr);
    base[k->a] += 4 * a;
    if (part->gathered)
        base[k->a] = (int64_t)(intptr_t)(part->gathered + (at_line * k->line - part->first) * k->a_pitch);
    base[k->b] = (int64_t)(intptr_t)(part->packed + b);
    int kind = k->blocks == 1 ? 3 : part->block == 0 ? 0 : part->block == k->blocks - 1 ? 2 : 1;
    bool edge = (part->panel + 1) * k->nr > k->columns;
    for (int p = 0; p < k->piece_count; p++) {
        int64_t first = k->piece[p].tile > from ? k->piece[p].tile : from;
        int64_t last = least(end, k->piece[p].tile + k->piece[p].tiles);
        if (first >= last)
            continue;
        for (int64_t tile = first, count; tile < last; tile += count) {
            count = k->single ? 1 : last - tile;
            for (int i = 0; i < n; i++)
                arguments[i] = base[i] + (i == k->b ? 0 : 4 * contract_m_stride(k, i) * tile * mr);
            if (!k->single)
                arguments[n] = least(last * mr, k->line) - tile * mr;
            schedule_call(w->c, k->function[kind][k->piece[p].pattern][edge], arguments);
        }
    }
}

static bool stopped(Work *w) {
    if (schedule_late(w->options))
        atomic_store(&w->late, true);
    return atomic_load_explicit(&w->late, memory_order_relaxed) || atomic_load_explicit(&w->no_memory, memory_order_relaxed);
}

/* From and to: tiles, of all lines behind each other. */
typedef struct Range {
    int64_t from, to;
} Range;

static void call_tiles(const Work *w, const Part *part, const Corner *corner, Range tiles) {
    const Contract *k = w->k;
    for (int64_t tile = tiles.from; tile < tiles.to;) {
        int64_t line = tile / k->tiles, from = tile % k->tiles, count = least(k->tiles - from, tiles.to - tile);
        if (k->lines == 1)
            call_line(w, part, corner, 0, from, from + count);
        else {
            Corner at = line_of(k, corner, line);
            call_line(w, part, &at, line, from, from + count);
        }
        tile += count;
    }
}

/* The row at which a tile begins. */
static int64_t row_of(const Contract *k, int64_t tile) {
    return tile / k->tiles * k->line + least(tile % k->tiles * k->knobs.mr, k->line);
}

static void gather(const Work *w, const Corner *corner, Part *part, Range tiles, float *to) {
    const Contract *k = w->k;
    if (!k->gathered)
        return;
    int64_t step = part->block * k->knobs.kc;
    part->first = row_of(k, tiles.from);
    part->gathered = to;
    contract_gather_rows(k, w->data[k->nest.access[k->a].tensor], corner->offset[k->a], corner->position, part->first,
                         row_of(k, tiles.to) - part->first, step, least(step + k->knobs.kc, k->depth), to);
}

/* A block of rows: as many tiles as stay in L2, whole lines if there are several. */
static Range next_block(const Contract *k, Range all, int64_t from) {
    int64_t tiles = k->knobs.mc / k->knobs.mr;
    if (tiles > k->tiles && k->lines > 1)
        tiles = tiles / k->tiles * k->tiles;
    return (Range){from, least(all.to, from + (tiles > 0 ? tiles : 1))};
}

/* Panels that lie packed: a block of A stays in L2 while all panels pass. */
static void walk_packed(Work *w, const Corner *corner, Range rows, Range panels, float *gathered) {
    const Contract *k = w->k;
    const float *packed = w->c->packed ? w->c->packed : w->data[k->nest.access[k->b].tensor];
    packed += (size_t)(corner->batch * k->panels) * k->panel_bytes / 4;
    for (int64_t block = 0; block < k->blocks; block++)
        for (Range tiles = next_block(k, rows, rows.from); tiles.from < rows.to; tiles = next_block(k, rows, tiles.to)) {
            Part part = {.block = block};
            gather(w, corner, &part, tiles, gathered);
            for (part.panel = panels.from; part.panel < panels.to; part.panel++) {
                part.packed = packed + (size_t)part.panel * k->panel_bytes / 4 + block * k->knobs.kc * k->nr;
                call_tiles(w, &part, corner, tiles);
            }
            if (stopped(w))
                return;
        }
}

/* Panels that are packed here, a block of depth at a time: each is used for all rows before the next is made. */
static void walk_unpacked(Work *w, const Corner *corner, Range rows, Range panels, float *packed, float *gathered) {
    const Contract *k = w->k;
    Part part = {.packed = packed};
    for (part.panel = panels.from; part.panel < panels.to && !stopped(w); part.panel++)
        for (part.block = 0; part.block < k->blocks; part.block++) {
            int64_t from = part.block * k->knobs.kc, end = least(from + k->knobs.kc, k->depth);
            contract_pack_panel(k, w->data[k->nest.access[k->b].tensor], corner->batch, part.panel, from, end, packed);
            for (Range tiles = next_block(k, rows, rows.from); tiles.from < rows.to; tiles = next_block(k, rows, tiles.to)) {
                gather(w, corner, &part, tiles, gathered);
                call_tiles(w, &part, corner, tiles);
            }
        }
}

/* Floats of scratch: a block of a panel, then a block of rows. */
static int64_t panel_floats(const Contract *k) {
    return k->constant ? 0 : k->knobs.kc * k->nr;
}

static int64_t gathered_floats(const Contract *k) {
    int64_t rows = k->knobs.mc < k->rows ? k->knobs.mc : k->rows;
    return k->gathered ? rows * k->a_pitch : 0;
}

static void work_task(void *context, size_t i) {
    Work *w = context;
    const Contract *k = w->k;
    int64_t each = w->row_tasks * w->panel_tasks, in = (int64_t)i % each;
    if (stopped(w))
        return;
    size_t bytes = (size_t)(panel_floats(k) + gathered_floats(k)) * sizeof(float);
    float *scratch = bytes ? memory_alloc(w->allocator, bytes) : NULL;
    if (bytes && !scratch) {
        atomic_store(&w->no_memory, true);
        return;
    }
    float *gathered = scratch ? scratch + panel_floats(k) : NULL;
    Corner corner = corner_of(k, (int64_t)i / each);
    int64_t row = in / w->panel_tasks * w->rows_each, panel = in % w->panel_tasks * w->panels_each;
    Range rows = {row, least(row + w->rows_each, k->lines * k->tiles)},
          panels = {panel, least(panel + w->panels_each, k->panels)};
    if (k->constant)
        walk_packed(w, &corner, rows, panels, gathered);
    else
        walk_unpacked(w, &corner, rows, panels, scratch, gathered);
    memory_free(w->allocator, scratch, bytes);
}

static int64_t ceiling(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* A grid over rows and panels: enough tasks for all threads to end together, few enough that blocks stay whole. */
static int64_t make_grid(Work *w, int64_t outer) {
    const Contract *k = w->k;
    int64_t threads = w->options && w->options->parallel ? w->options->parallel->threads : 1;
    double flops = 2.0 * (double)outer * (double)k->rows * (double)k->columns * (double)k->depth;
    int64_t wanted = threads < 2 || flops < 1e6 ? 1 : ceiling(threads * 4, outer);
    w->panel_tasks = least(wanted, k->panels);
    w->panels_each = ceiling(k->panels, w->panel_tasks);
    w->panel_tasks = ceiling(k->panels, w->panels_each);
    int64_t tiles = k->lines * k->tiles, row_tasks = least(ceiling(wanted, w->panel_tasks), tiles);
    if (!k->constant && w->panel_tasks > 1) /* each would pack the same panels again */
        row_tasks = 1;
    w->rows_each = ceiling(tiles, row_tasks);
    w->row_tasks = ceiling(tiles, w->rows_each);
    return outer * w->row_tasks * w->panel_tasks;
}

static void clear_gaps(const Contract *k, void *const *data) {
    const KernelTensor *tensor = &k->nest.kernel->tensors[k->nest.access[0].tensor];
    if (!k->nest.covers)
        memset(data[k->nest.access[0].tensor], 0, (size_t)tensor->count * 4);
}

whet_status contract_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Contract *k = c->state;
    Work w = {.c = c, .k = k, .data = data, .options = options};
    w.allocator = options && options->allocator ? options->allocator : c->allocator;
    int64_t outer = 1;
    for (int i = 0; i < k->outer_count; i++)
        outer *= k->nest.axis[k->outer[i]].extent;
    clear_gaps(k, data);
    double macs = (double)outer * (double)k->rows * (double)k->columns * (double)k->depth;
    schedule_parallel(options, macs / 32, (size_t)make_grid(&w, outer), work_task, &w); /* 32 a nanosecond, or so */
    if (atomic_load(&w.no_memory))
        return error_memory(err);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}
