/* Drives a contraction: cuts the work into tasks, packs panels that could not be packed before, walks blocks and calls tiles. */
#include "schedule/contract.h"

#include <string.h>

/* ---- tiles ---- */

typedef struct Work {
    const Compiled *c;
    const Contract *k;
    void *const *data;
    const EvalOptions *options;
    bool packed;                                            /* B was, before the run: */
    int64_t first_panel;                                    /* from this one on */
    int64_t row_tasks, panel_tasks, rows_each, panels_each; /* the grid of one outer index, rows in tiles */
    Stop stop;
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

/* In place, and no more of it than there is: small products are as short as a few such moves. */
static void find_corner(const Contract *k, int64_t outer, Corner *corner) {
    const Access *a = &k->nest.access[k->a];
    corner->batch = 0;
    for (int i = 0; i < k->nest.access_count; i++)
        corner->offset[i] = k->nest.access[i].offset;
    for (int g = 0; g < a->guard_count; g++)
        corner->position[g] = a->guard[g].offset;
    int64_t each = 1;
    for (int i = k->outer_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->outer[i]].extent, digit = outer % extent;
        move(k, corner, k->outer[i], digit);
        outer /= extent;
        if (contract_b_moves(k, k->outer[i])) {
            corner->batch += digit * each;
            each *= extent;
        }
    }
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

/* One block of depth of one panel, as tiles are called with it. */
typedef struct Part {
    int64_t block, panel;
    const char *packed;   /* the panel from the block's first step */
    const char *gathered; /* rows of A (on tiles: their sums), from row `first` of all lines; NULL: A as it lies */
    int64_t first;
    const char *strips; /* on tiles: A's rows as they are multiplied, from tile `first_tile` of all lines; NULL: as they lie */
    int64_t first_tile;
    const int32_t *row_sums; /* of rows from `first_sum` of all lines on; NULL: nobody asks */
    int64_t first_sum;
} Part;

/* Where the taps of this line begin, in elements of A and bytes of B (of the block, where it is packed); counts of those inside,
 * by level. */
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
        *b += (k->direct ? from : from - begin) * contract_b_step(k, level);
    }
    return count;
}

/* What tiles of a line are called with, in the order of parameters (contract_emit.c): those that move with the rows first. */
typedef struct Call {
    int64_t base[NEST_MAX_ACCESSES + 3];
    int64_t row[NEST_MAX_ACCESSES + 3], panel[NEST_MAX_ACCESSES + 3]; /* bytes from a row or a panel to the next */
    int count, a, b;                                                  /* a, b: which of them those are */
    const char *strips;                                               /* of the line's first tile */
    int64_t taps[CONTRACT_MAX_DEPTH];
    int tap_count;
    char scalars[NEST_MAX_ACCESSES][CONTRACT_SCALAR_BYTES];
    _Alignas(VECTOR_MAX_BYTES) char sums[CONTRACT_MAX_SUMS * VECTOR_MAX_BYTES]; /* see Contract.apart */
} Call;

static void add_pointer(Call *call, const void *base, int64_t row, int64_t panel) {
    call->base[call->count] = (int64_t)(intptr_t)base;
    call->panel[call->count] = panel;
    call->row[call->count++] = row;
}

static void set_call(const Work *w, const Part *part, const Corner *line, int64_t at_line, Call *call) {
    const Contract *k = w->k;
    int64_t a = 0, b = 0, first = at_line * k->line;
    call->count = 0;
    call->strips = part->strips
                       ? part->strips + (at_line * k->tiles - part->first_tile) * k->strip_bytes
                       : (const char *)w->data[k->nest.access[k->a].tensor] + contract_size(k, k->a) * line->offset[k->a];
    call->tap_count = find_taps(k, line, part->block, &a, &b, call->taps);
    for (int i = 0; i < k->nest.access_count; i++) {
        int64_t size = contract_size(k, i), row = size * contract_m_stride(k, i);
        call->a = i == k->a ? call->count : call->a;
        call->b = i == k->b ? call->count : call->b;
        if (i == k->b && !k->direct) { /* its tensor itself may not be there */
            add_pointer(call, part->packed + b, 0, (int64_t)k->panel_bytes);
            continue;
        }
        const char *at = w->data[k->nest.access[i].tensor];
        at += size * (line->offset[i] + contract_n_stride(k, i) * part->panel * k->nr + (i == k->a ? a : 0));
        if (i == k->a && part->gathered)
            at =
                part->gathered + (k->on_tiles ? (first - part->first) * row : size * contract_gathered_at(k, part->first, first));
        if (k->scalar[i] >= 0)
            memcpy(call->scalars[k->scalar[i]], at, (size_t)size);
        else if (i == k->b)
            add_pointer(call, at + b, 0, size * k->nr);
        else
            add_pointer(call, at, row, size * contract_n_stride(k, i) * k->nr);
    }
    if (k->scalar_count)
        add_pointer(call, call->scalars, 0, 0);
    if (k->row_sums)
        add_pointer(call, part->row_sums + (first - part->first_sum), sizeof *part->row_sums, 0);
    if (k->apart)
        add_pointer(call, call->sums, 0, 0);
}

static void call_tile(const Work *w, const Call *call, int function, int64_t row, int64_t rows) {
    int64_t arguments[NEST_MAX_ACCESSES + 4 + CONTRACT_MAX_DEPTH];
    int n = call->count;
    for (int i = 0; i < n; i++)
        arguments[i] = call->base[i] + call->row[i] * row;
    if (!w->k->single)
        arguments[n++] = rows;
    memcpy(arguments + n, call->taps, (size_t)call->tap_count * sizeof *arguments);
    schedule_call(w->c, function, arguments);
}

static void *address(int64_t number) {
    return (void *)(intptr_t)number;
}

/* Tiles [from, end) of a line, piece by piece. */
static void call_pieces(const Work *w, const Part *part, const Call *call, int64_t from, int64_t end) {
    const Contract *k = w->k;
    int64_t mr = k->knobs.mr;
    int kind = k->blocks == 1 ? 3 : part->block == 0 ? 0 : part->block == k->blocks - 1 ? 2 : 1;
    bool edge = (part->panel + 1) * k->nr > k->columns;
    for (int p = 0; p < k->piece_count; p++) {
        int64_t first = k->piece[p].tile > from ? k->piece[p].tile : from;
        int64_t last = least(end, k->piece[p].tile + k->piece[p].tiles);
        for (int64_t tile = first, count; tile < last; tile += count) {
            count = k->single ? 1 : last - tile;
            if (k->on_tiles)
                contract_multiply(w->c, k->piece[p].pattern, edge, call->strips + tile * k->strip_bytes,
                                  address(call->base[call->b]), address(call->base[call->a] + call->row[call->a] * tile * mr),
                                  count);
            call_tile(w, call, k->function[kind][k->piece[p].pattern][edge], tile * mr,
                      least((tile + count) * mr, k->line) - tile * mr);
        }
    }
}

static void call_line(const Work *w, const Part *part, const Corner *line, int64_t at_line, int64_t from, int64_t end) {
    Call call;
    set_call(w, part, line, at_line, &call);
    call_pieces(w, part, &call, from, end);
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

/* One task: what is made for it lies in one piece of memory. */
typedef struct Task {
    Work *w;
    Corner corner;
    Range rows, panels;                           /* rows in tiles */
    char *packed, *gathered, *strips, *tile_rows; /* the last two on tiles: see gather */
    int32_t *row_sums;
    size_t bytes;
} Task;

/* Sums of rows [from, end) of all lines, less their zero points; `gathered`: where row `from` was gathered, or NULL. */
static void sum_rows(const Task *t, int64_t from, int64_t end, const char *gathered) {
    const Contract *k = t->w->k;
    const ContractFactor *f = &k->fa;
    int32_t *to = t->row_sums + (from - row_of(k, t->rows.from));
    Corner line = t->corner;
    for (int64_t row = from; row < end; row++) {
        if (row == from || row % k->line == 0)
            line = line_of(k, &t->corner, row / k->line);
        int64_t zero = f->zero_value, in = row % k->line, at = line.offset[k->a] + in * contract_line_stride(k, k->a);
        if (!f->zero_known) {
            const Access *z = &k->nest.access[f->zero];
            zero = contract_integer(z->type, t->w->data[z->tensor], line.offset[f->zero] + in * contract_m_stride(k, f->zero));
        }
        const char *a =
            gathered ? gathered + contract_gathered_at(k, from, row) : (const char *)t->w->data[k->nest.access[k->a].tensor] + at;
        int64_t sum = contract_row_sum(k, a) - k->steps * zero; /* flipped or not, that is the same */
        *to++ = (int32_t)(uint32_t)(uint64_t)sum;
    }
}

/* On tiles: rows are gathered one tile at a time, and turned into columns if the unit wants them; `gathered` gets their sums. */
static void gather_strips(const Task *t, Part *part, const ContractSource *a, Range tiles) {
    const Contract *k = t->w->k;
    part->strips = t->strips;
    part->first_tile = tiles.from;
    for (int64_t tile = tiles.from; tile < tiles.to; tile++) {
        int64_t row = row_of(k, tile), end = row_of(k, tile + 1);
        char *strip = t->strips + (tile - tiles.from) * k->strip_bytes, *rows = k->interleave_function < 0 ? strip : t->tile_rows;
        contract_gather_rows(k, a, row, end - row, 0, k->tile_depth, rows);
        if (k->row_sums)
            sum_rows(t, row, end, rows);
        if (rows != strip)
            contract_interleave(t->w->c, rows, strip);
    }
}

static void gather(const Task *t, Part *part, Range tiles) {
    const Contract *k = t->w->k;
    if (!k->gathered)
        return;
    int64_t step = part->block * k->knobs.kc, end = row_of(k, tiles.to);
    char outside[4];
    contract_outside(k, &k->fa, t->w->data, outside);
    part->first = row_of(k, tiles.from);
    part->gathered = t->gathered;
    if (k->rows_lie)
        return;
    const ContractSource a = {t->w->data[k->nest.access[k->a].tensor], t->corner.offset[k->a], t->corner.position, outside};
    if (k->on_tiles) {
        gather_strips(t, part, &a, tiles);
        return;
    }
    contract_gather_rows(k, &a, part->first, end - part->first, step, least(step + k->knobs.kc, k->depth), t->gathered);
    if (k->row_sums)
        sum_rows(t, part->first, end, t->gathered);
}

/* A block of rows: as many tiles as stay in L2, whole lines if there are several. */
static Range next_block(const Contract *k, Range all, int64_t from) {
    int64_t tiles = k->knobs.mc / k->knobs.mr;
    if (tiles > k->tiles && k->lines > 1)
        tiles = tiles / k->tiles * k->tiles;
    return (Range){from, least(all.to, from + (tiles > 0 ? tiles : 1))};
}

/* All panels of rows of one line: from a panel to the next only pointers move. A single row has little more to do than that. */
static void walk_panels(const Task *t, Part *part, Range tiles) {
    Call call;
    part->panel = t->panels.from;
    set_call(t->w, part, &t->corner, 0, &call);
    for (; part->panel < t->panels.to; part->panel++) {
        call_pieces(t->w, part, &call, tiles.from, tiles.to);
        for (int i = 0; i < call.count; i++)
            call.base[i] += call.panel[i];
    }
}

/* Panels that lie packed, or need not be: a block of A stays in L2 while all panels pass. */
static void walk_packed(const Task *t, Part *part) {
    Work *w = t->w;
    const Contract *k = w->k;
    const char *packed = w->c->packed ? w->c->packed : w->data[k->nest.access[k->b].tensor];
    packed += (t->corner.batch * k->panels - w->first_panel) * (int64_t)k->panel_bytes;
    for (part->block = 0; part->block < k->blocks; part->block++)
        for (Range tiles = next_block(k, t->rows, t->rows.from); tiles.from < t->rows.to;
             tiles = next_block(k, t->rows, tiles.to)) {
            gather(t, part, tiles);
            part->packed = packed + (size_t)t->panels.from * k->panel_bytes + (size_t)part->block * contract_block_bytes(k);
            if (k->lines == 1)
                walk_panels(t, part, tiles);
            for (part->panel = t->panels.from; part->panel < t->panels.to && k->lines > 1; part->panel++) {
                call_tiles(w, part, &t->corner, tiles);
                part->packed += k->panel_bytes;
            }
            if (stop_look(&w->stop, w->options))
                return;
        }
}

/* Panels that are packed here, a block of depth at a time: each is used for all rows before the next is made. Rows that are
 * gathered, all of them in one block, are so once. */
static void walk_unpacked(const Task *t, Part *part) {
    Work *w = t->w;
    const Contract *k = w->k;
    bool once = k->blocks == 1 && next_block(k, t->rows, t->rows.from).to == t->rows.to;
    char outside[4];
    contract_outside(k, &k->fb, w->data, outside);
    part->packed = t->packed;
    for (part->panel = t->panels.from; part->panel < t->panels.to && !stop_look(&w->stop, w->options); part->panel++)
        for (part->block = 0; part->block < k->blocks; part->block++) {
            contract_pack_block(w->c, w->data[k->nest.access[k->b].tensor], t->corner.batch, part->panel, part->block, outside,
                                t->packed);
            for (Range tiles = next_block(k, t->rows, t->rows.from); tiles.from < t->rows.to;
                 tiles = next_block(k, t->rows, tiles.to)) {
                if (!once || part->panel == t->panels.from)
                    gather(t, part, tiles);
                call_tiles(w, part, &t->corner, tiles);
            }
        }
}

static size_t round64(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* A block of a panel, a block of rows, sums of all rows of the task. */
static bool task_memory(Task *t) {
    const Contract *k = t->w->k;
    int64_t rows = k->knobs.mc < k->rows ? k->knobs.mc : k->rows;
    if (k->paired) /* whole pairs in each line, and two rows on the way to them */
        rows = least(k->knobs.mc / k->knobs.mr, k->lines * k->tiles) * (k->knobs.mr + k->knobs.mr % 2) + 2;
    size_t panel = t->w->packed || k->direct ? 0 : contract_block_bytes(k) + contract_tail_bytes(k);
    size_t gathered = k->gathered ? (size_t)(rows * k->a_pitch) * (size_t)contract_size(k, k->a) : 0;
    size_t strips = 0, tile_rows = 0;
    if (k->on_tiles) { /* the last tile of a block stores all its rows */
        int64_t tiles = least(k->knobs.mc / k->knobs.mr, t->rows.to - t->rows.from);
        if (k->interleave_function >= 0)
            tile_rows = round64((size_t)(k->knobs.mr * k->a_pitch) * (size_t)contract_size(k, k->a));
        strips = k->rows_lie ? 0 : (size_t)(tiles * k->strip_bytes);
        gathered = (size_t)(tiles + 1) * (size_t)k->knobs.mr * 4 * (size_t)k->nr;
    }
    size_t sums = k->row_sums ? (size_t)(row_of(k, t->rows.to) - row_of(k, t->rows.from)) * sizeof(int32_t) : 0;
    gathered = round64(gathered);
    t->bytes = panel + gathered + strips + tile_rows + sums;
    t->packed = t->bytes ? memory_alloc(t->w->options->allocator, t->bytes) : NULL;
    if (!t->packed) {
        t->gathered = t->strips = t->tile_rows = NULL;
        t->row_sums = NULL;
        return !t->bytes;
    }
    t->gathered = t->packed + panel;
    t->strips = t->gathered + gathered;
    t->tile_rows = t->strips + strips;
    t->row_sums = (int32_t *)(t->tile_rows + tile_rows);
    return true;
}

static void run_tiles(Work *w, int64_t outer, Range rows, Range panels) {
    const Contract *k = w->k;
    Task t;
    t.w = w;
    t.rows = rows;
    t.panels = panels;
    find_corner(k, outer, &t.corner);
    if (!task_memory(&t)) {
        stop_no_memory(&w->stop);
        return;
    }
    Part part = {.row_sums = t.row_sums, .first_sum = k->row_sums ? row_of(k, t.rows.from) : 0};
    if (k->row_sums && (!k->gathered || k->rows_lie))
        sum_rows(&t, part.first_sum, row_of(k, t.rows.to), NULL);
    if (w->packed || k->direct)
        walk_packed(&t, &part);
    else
        walk_unpacked(&t, &part);
    memory_free(w->options->allocator, t.packed, t.bytes);
}

static void work_task(void *context, size_t i) {
    Work *w = context;
    const Contract *k = w->k;
    int64_t each = w->row_tasks * w->panel_tasks;
    if (stop_look(&w->stop, w->options))
        return;
    if (each == 1) { /* no division for what is small */
        run_tiles(w, (int64_t)i, (Range){0, k->lines * k->tiles}, (Range){0, k->panels});
        return;
    }
    int64_t in = (int64_t)i % each, row = in / w->panel_tasks * w->rows_each, panel = in % w->panel_tasks * w->panels_each;
    Range rows = {row, least(row + w->rows_each, k->lines * k->tiles)},
          panels = {panel, least(panel + w->panels_each, k->panels)};
    run_tiles(w, (int64_t)i / each, rows, panels);
}

/* A grid over rows and panels: enough tasks for all threads to end together, few enough that blocks stay whole. */
static int64_t make_grid(Work *w, double work, int64_t outer) {
    const Contract *k = w->k;
    int64_t threads = schedule_threads(w->options);
    if (!schedule_divides(w->options, work)) {
        w->row_tasks = w->panel_tasks = 1;
        return outer;
    }
    int64_t wanted = ceiling(threads * 4, outer);
    w->panel_tasks = least(wanted, k->panels);
    w->panels_each = ceiling(k->panels, w->panel_tasks);
    w->panel_tasks = ceiling(k->panels, w->panels_each);
    int64_t tiles = k->lines * k->tiles, row_tasks = least(ceiling(wanted, w->panel_tasks), tiles);
    if (!w->packed && !k->direct && w->panel_tasks > 1) /* each would pack the same panels again */
        row_tasks = 1;
    w->rows_each = ceiling(tiles, row_tasks);
    w->row_tasks = ceiling(tiles, w->rows_each);
    return outer * w->row_tasks * w->panel_tasks;
}

static void clear_gaps(const Contract *k, void *const *data, const EvalOptions *options) {
    const KernelTensor *tensor = &k->nest.kernel->tensors[k->nest.access[0].tensor];
    if (!k->nest.covers && !options->keep)
        memset(data[k->nest.access[0].tensor], 0, (size_t)tensor->count * (size_t)contract_size(k, 0));
}

whet_status contract_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Contract *k = c->state;
    Work w = {.c = c, .k = k, .data = data, .options = options};
    w.packed = k->constant && !options->unpacked;
    int64_t outer = 1;
    for (int i = 0; i < k->outer_count; i++)
        outer *= k->nest.axis[k->outer[i]].extent;
    clear_gaps(k, data, options);
    double macs = (double)outer * (double)k->rows * (double)k->columns * (double)k->depth;
    double products = macs / 32, weights = (double)k->packed_bytes / 24; /* so many a nanosecond, or so, of a core */
    double work = products > weights ? products : weights;
    schedule_parallel(options, work, (size_t)make_grid(&w, work, outer), work_task, &w);
    return stop_status(&w.stop, err);
}

whet_status contract_run_tiles(const Compiled *c, void *const *data, int64_t from, int64_t to, int64_t panel, int64_t panels,
                               const EvalOptions *options, whet_error *err) {
    const Contract *k = c->state;
    Work w = {.c = c, .k = k, .data = data, .options = options, .packed = true, .first_panel = panel};
    run_tiles(&w, 0, (Range){from, to}, (Range){panel, panel + panels});
    return stop_status(&w.stop, err);
}
