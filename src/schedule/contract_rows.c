/* The rows of a contraction's tiles: which axes they are, how A lies along them, and what guards leave of its taps.
 *
 * A is read where it lies if it can be: rows at a constant distance along one axis (a line), and guards of one tap axis each.
 * A tap that falls outside reads zero and adds nothing, so it is left out:
 *   - a guard that does not move along the line leaves a range of its taps, the same for a whole line: bounds of a loop;
 *   - a guard that moves along the line leaves out rows of the tiles at its ends: tiles fall into a few patterns (left edge,
 * inside, right edge), each with code of its own. So a convolution with padding copies nothing and multiplies nothing by padding.
 * What does not fit this (other values outside, guards of several axes, too many patterns) is gathered: a block of rows is copied
 * to [row][depth] and is a plain matrix then. */
#include "schedule/contract.h"

#include <string.h>

/* ---- lines ---- */

typedef struct Line {
    int m, joined[NEST_MAX_AXES], joined_count; /* axes that continue m, outermost first */
    int64_t extent;
    double slots;
    bool rejected;
} Line;

static bool continues(const Contract *k, int axis, const Line *line, bool gathered) {
    for (int i = 0; i < k->nest.access_count; i++)
        if (i != k->b && !(gathered && i == k->a) && !access_merges(&k->nest.access[i], axis, line->m, line->extent))
            return false;
    return true;
}

static Line line_along(const Contract *k, int m, const int *axis, int count, bool gathered) {
    Line line = {.m = m, .extent = m < 0 ? 1 : k->nest.axis[m].extent};
    bool taken[NEST_MAX_AXES] = {false};
    for (int i = count - 1; m >= 0 && i >= 0; i--) {
        if (axis[i] == m || taken[i] || !continues(k, axis[i], &line, gathered))
            continue;
        taken[i] = true;
        memmove(&line.joined[1], line.joined, (size_t)line.joined_count++ * sizeof(int));
        line.joined[0] = axis[i];
        line.extent *= k->nest.axis[axis[i]].extent;
        i = count;
    }
    return line;
}

static void take_line(Contract *k, const Line *line, const int *axis, int count) {
    k->m_axis = line->m;
    k->line = line->extent;
    k->line_count = k->row_count = 0;
    k->lines = 1;
    for (int i = 0; i < count; i++) {
        bool in_line = axis[i] == line->m;
        for (int j = 0; j < line->joined_count; j++)
            in_line = in_line || line->joined[j] == axis[i];
        if (in_line)
            continue;
        k->line_axis[k->line_count++] = axis[i];
        k->lines *= k->nest.axis[axis[i]].extent;
    }
    memcpy(k->row_axis, k->line_axis, (size_t)k->line_count * sizeof(int));
    memcpy(k->row_axis + k->line_count, line->joined, (size_t)line->joined_count * sizeof(int));
    k->row_count = k->line_count + line->joined_count;
    if (line->m >= 0)
        k->row_axis[k->row_count++] = line->m;
    k->rows = k->lines * k->line;
}

/* ---- depth ---- */

static void add_level(Contract *k, ContractLevel level) {
    ContractLevel *last = k->level_count ? &k->level[k->level_count - 1] : NULL;
    if (last && last->guard < 0 && level.guard < 0 && contract_levels_join(k, last, &level)) {
        level.extent *= last->extent;
        *last = level;
        return;
    }
    k->level[k->level_count++] = level;
}

/* The levels of A as it lies. */
static bool lay_levels(Contract *k, const char **why) {
    const Access *a = &k->nest.access[k->a];
    k->level_count = 0;
    for (int i = 0; i < k->k_count; i++) {
        int x = k->k_axis[i];
        ContractLevel level = {
            .extent = k->nest.axis[x].extent, .a_stride = a->stride[x], .b_stride = k->nest.access[k->b].stride[x], .guard = -1};
        level.scale_stride = k->fb.scaled ? k->nest.access[k->fb.scale].stride[x] : 0;
        for (int g = 0; g < a->guard_count; g++)
            if (a->guard[g].coef[x]) {
                if (level.guard >= 0) {
                    *why = "an axis of depth in two guarded indices";
                    return false;
                }
                level.guard = g;
                level.coef = a->guard[g].coef[x];
            }
        if (k->level_count == CONTRACT_MAX_DEPTH) {
            *why = "more axes of depth than a contraction takes";
            return false;
        }
        add_level(k, level);
    }
    if (!k->level_count) /* one step */
        k->level[k->level_count++] = (ContractLevel){.extent = 1, .guard = -1};
    ContractLevel *last = &k->level[k->level_count - 1];
    if (k->group > 1 && (last->a_stride != 1 || last->extent % k->group || last->guard >= 0)) {
        *why = "groups of depth that do not lie side by side";
        return false;
    }
    if (k->fb.scaled && last->scale_stride) {
        *why = "a scale a step of depth";
        return false;
    }
    last->extent /= k->group;
    last->a_stride *= k->group;
    return true;
}

static void count_steps(Contract *k) {
    int64_t steps = 1;
    for (int l = k->level_count - 1; l >= 0; l--) {
        k->level[l].steps = steps;
        steps *= k->level[l].extent;
    }
}

/* Each guard is a range of one level's taps, or tells the rows of a line apart at one level. */
static bool guards_fit(Contract *k, const char **why) {
    const Access *a = &k->nest.access[k->a];
    if (a->guard_count && (k->column_sums || k->row_sums)) {
        *why = "a guarded read beside a zero point"; /* what is left out would have to be left out of sums too */
        return false;
    }
    *why = "a guarded index of several axes";
    k->patterned = -1;
    for (int g = 0; g < a->guard_count; g++) {
        const Guard *guard = &a->guard[g];
        int level = -1, parallel = 0;
        for (int l = 0; l < k->level_count; l++)
            if (k->level[l].guard == g) {
                if (level >= 0)
                    return false;
                level = l;
            }
        for (int x = 0; x < k->nest.parallel_count; x++)
            parallel += guard->coef[x] != 0;
        if (level < 0)
            return false;
        if (k->m_axis < 0 || !guard->coef[k->m_axis])
            continue;
        if (parallel > 1 || k->patterned >= 0 || k->level[level].extent > CONTRACT_MAX_TAPS)
            return false;
        k->patterned = level;
    }
    *why = "a guarded read with another value than zero outside";
    return !a->guard_count || a->outside == 0;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

void contract_taps_inside(const Contract *k, int level, int64_t position, int64_t *from, int64_t *end) {
    const ContractLevel *l = &k->level[level];
    int64_t last = k->nest.access[k->a].guard[l->guard].extent - 1;
    /* 0 <= position + coef * tap <= last */
    int64_t low = l->coef > 0 ? -floor_div(position, l->coef) : -floor_div(last - position, -l->coef);
    int64_t high = l->coef > 0 ? floor_div(last - position, l->coef) : floor_div(position, -l->coef);
    *from = low < 0 ? 0 : low > l->extent ? l->extent : low;
    *end = high + 1 > l->extent ? l->extent : high + 1 < *from ? *from : high + 1;
}

/* ---- patterns ---- */

/* Rows of the tile that begins at `row` for which a tap is inside. */
static void rows_inside(const Contract *k, int64_t row, int rows, int64_t tap, signed char *first, signed char *end) {
    const ContractLevel *l = &k->level[k->patterned];
    const Guard *guard = &k->nest.access[k->a].guard[l->guard];
    *first = *end = 0;
    bool any = false;
    for (int r = 0; r < rows; r++) {
        int64_t at = guard->offset + guard->coef[k->m_axis] * (row + r) + l->coef * tap;
        if (at < 0 || at >= guard->extent)
            continue;
        if (!any)
            *first = (signed char)r;
        any = true;
        *end = (signed char)(r + 1);
    }
}

static bool all_inside(const Contract *k, int64_t row, int rows) {
    signed char first, end;
    int64_t last = k->level[k->patterned].extent - 1;
    for (int corner = 0; corner < 4; corner++) {
        rows_inside(k, row + (corner & 1 ? rows - 1 : 0), 1, corner & 2 ? last : 0, &first, &end);
        if (first == end)
            return false;
    }
    return true;
}

static int pattern_of(Contract *k, int64_t row, int rows) {
    ContractPattern p;
    memset(&p, 0, sizeof p); /* compared byte by byte */
    p.rows = rows;
    p.inside = k->patterned < 0 || all_inside(k, row, rows);
    for (int64_t tap = 0; !p.inside && tap < k->level[k->patterned].extent; tap++)
        rows_inside(k, row, rows, tap, &p.first[tap], &p.end[tap]);
    for (int i = 0; i < k->pattern_count; i++)
        if (memcmp(&k->pattern[i], &p, sizeof p) == 0)
            return i;
    if (k->pattern_count == CONTRACT_MAX_PATTERNS)
        return -1;
    k->pattern[k->pattern_count] = p;
    return k->pattern_count++;
}

/* The pattern of tiles [tile, ...) of a line, and how many have it for certain. */
static int64_t same_pattern(const Contract *k, int64_t tile) {
    int64_t whole = k->line / k->knobs.mr;
    return k->patterned < 0 && tile < whole ? whole - tile : 1;
}

static bool find_patterns(Contract *k, const char **why) {
    int64_t mr = k->knobs.mr;
    *why = "more kinds of tiles at the borders than a contraction takes";
    k->pattern_count = k->piece_count = 0;
    for (int64_t tile = 0, count; tile < k->tiles; tile += count) {
        int64_t left = k->line - tile * mr;
        int pattern = pattern_of(k, tile * mr, (int)(left < mr ? left : mr));
        count = same_pattern(k, tile);
        if (pattern < 0)
            return false;
        if (k->piece_count && k->piece[k->piece_count - 1].pattern == pattern)
            k->piece[k->piece_count - 1].tiles += count;
        else if (k->piece_count == CONTRACT_MAX_PIECES)
            return false;
        else {
            k->piece[k->piece_count].tile = tile;
            k->piece[k->piece_count].tiles = count;
            k->piece[k->piece_count++].pattern = pattern;
        }
    }
    return true;
}

/* ---- the loops of a tile ---- */

int contract_tile_levels(const Contract *k, const ContractPattern *pattern, int64_t depth, ContractLevel out[CONTRACT_MAX_DEPTH],
                         int *patterned) {
    int count = 0;
    *patterned = -1;
    for (int l = 0; l < k->level_count; l++) {
        ContractLevel level = k->level[l], *last = count ? &out[count - 1] : NULL;
        if (l == 0 && level.steps)
            level.extent = depth / level.steps;
        if (l == k->patterned && pattern->inside)
            level.guard = -1;
        if (last && last->guard < 0 && level.guard < 0 && contract_levels_join(k, last, &level)) {
            level.extent *= last->extent;
            *last = level;
            continue;
        }
        if (l == k->patterned && level.guard >= 0)
            *patterned = count;
        out[count++] = level;
    }
    return count;
}

/* General registers: in each loop a counter and a pointer to A and to B, limits that are parameters, and a pointer an access. */
static bool registers_fit(Contract *k, const Target *target, const char **why) {
    int most = 0, runs = 0;
    for (int p = 0; p < k->pattern_count; p++) {
        ContractLevel level[CONTRACT_MAX_DEPTH];
        int patterned, count = contract_tile_levels(k, &k->pattern[p], k->knobs.kc, level, &patterned), loops = 0;
        for (int l = 0; l < count && !contract_written_out(&level[l], l); l++)
            loops += l != patterned;
        most = loops > most ? loops : most;
    }
    for (int l = 0; l < k->level_count; l++)
        runs += k->level[l].guard >= 0 && l != k->patterned;
    /* The write and the epilogue's, sums of rows, scalars; A and B are counted by loops. */
    int needed = 3 * most + runs + k->nest.access_count - 1 - k->scalar_count + (k->scalar_count > 0) + k->row_sums + k->apart;
    needed += k->fb.scaled ? most - 1 : 0; /* one pointer for scales and zero points, in each loop */
    k->single = needed + 4 > target->registers[CLASS_INDEX];
    *why = "more loops than there are general registers for";
    return needed <= target->registers[CLASS_INDEX];
}

/* ---- knobs ---- */

/* Blocks of depth are cut from the outermost level, none where its taps are told apart. */
static void cut_depth(Contract *k) {
    int64_t cut = k->level[0].steps, extent = k->level[0].extent, each = cut ? k->knobs.kc / cut : extent;
    if (each < 1)
        each = 1;
    /* Sums stay in the result between blocks, and sums of gathered rows are those of a block. */
    if (k->patterned == 0 || each > extent || contract_size(k, 0) != 4 || (k->gathered && k->row_sums) || k->fb.scaled)
        each = extent;
    if (k->level_count > 1 && each) { /* equal ones; a plain depth was cut with its unrolling in mind */
        int64_t blocks = (extent + each - 1) / each;
        each = blocks ? (extent + blocks - 1) / blocks : 1;
    }
    k->knobs.kc = each * cut > 0 ? each * cut : 1;
    k->blocks = k->depth ? (k->depth + k->knobs.kc - 1) / k->knobs.kc : 1;
}

/* How often an element of A is read along a row by different taps: that much smaller is what a block of rows needs of A. */
static int64_t taps_shared(const Contract *k, const int *axis, int count) {
    const Access *a = &k->nest.access[k->a];
    int64_t shared = 1;
    for (int i = 0; i < k->k_count; i++) {
        int64_t extent = k->nest.axis[k->k_axis[i]].extent, stride = a->stride[k->k_axis[i]];
        bool overlaps = false;
        stride = stride < 0 ? -stride : stride;
        for (int j = 0; j < count; j++) {
            int64_t row = a->stride[axis[j]] < 0 ? -a->stride[axis[j]] : a->stride[axis[j]];
            overlaps = overlaps || (row && stride < row * k->nest.axis[axis[j]].extent && stride * extent > row);
        }
        shared *= overlaps ? extent : 1;
    }
    return shared;
}

/* Rows of A lie one behind the other, and are so many that they come from far away: the first time, so for few panels alone. */
static bool is_stream(const Contract *k) {
    enum { LEAST = 128 << 10, PANELS = 8 };
    return k->columns <= (int64_t)PANELS * k->knobs.nv * k->lanes && !k->gathered && k->blocks == 1 && k->level_count == 1 &&
           k->level[0].guard < 0 && k->patterned < 0 && contract_m_stride(k, k->a) == k->steps && k->rows > k->knobs.mr &&
           k->rows * k->steps * contract_size(k, k->a) >= LEAST;
}

static ContractShape shape_of(const Contract *k, const Target *target, int m, int64_t rows, bool by_lane) {
    int64_t row = m < 0 || k->gathered ? 0 : k->nest.access[k->a].stride[m] * contract_size(k, k->a);
    int results = 0;
    for (int i = 0; i < k->nest.access_count; i++)
        results += m >= 0 && i != k->a && i != k->b && k->nest.access[i].stride[m] && contract_n_stride(k, i) == 1;
    return (ContractShape){.rows = rows,
                           .all_rows = k->rows,
                           .columns = k->columns,
                           .depth = k->depth,
                           .row_bytes = row,
                           .result_bytes = m < 0 ? 0 : k->nest.access[0].stride[m] * contract_size(k, 0),
                           .step_bytes = k->direct && k->level_count ? k->level[k->level_count - 1].b_stride * k->unit : 0,
                           .results = results,
                           .packed_once = k->constant,
                           .even_blocks = k->constant && k->column_sums,
                           .masked = k->direct && k->columns % k->lanes,
                           .first_spare = k->first_spare,
                           .by_lane = by_lane,
                           .apart = target->splats_apart && !by_lane && !k->paired,
                           .paired = k->paired};
}

static bool take(Contract *k, const Target *target, const ContractKnobs *given, int64_t panel_limit, int spare, const Line *line,
                 const int *axis, int count, const char **why) {
    take_line(k, line, axis, count);
    if (k->gathered) {
        k->level_count = 1;
        if (k->fb.scaled) {
            *why = "scales of a depth that is gathered";
            return false;
        }
        k->level[0] = (ContractLevel){.extent = k->depth, .a_stride = k->group * (k->paired ? 2 : 1), .guard = -1};
        k->patterned = -1;
    } else if (!lay_levels(k, why) || !guards_fit(k, why))
        return false;
    count_steps(k);
    k->knobs = *given;
    const ContractLevel *inner = &k->level[k->level_count - 1];
    bool multiplies = k->dot == VECTOR_DOT4_SS   ? target->dot4_ss
                      : k->dot == VECTOR_DOT4_UU ? target->dot4_uu
                                                 : k->dot == VECTOR_FMA && k->fa.type == DT_F32 && !k->fb.scaled;
    k->by_lane = target->by_lane && !k->on_tiles && multiplies && inner->a_stride == k->group && inner->extent >= CONTRACT_LANES;
    cost_contract(target, shape_of(k, target, k->m_axis, k->line, k->by_lane), k->unit, panel_limit, spare, &k->knobs);
    if (k->paired && k->line > k->knobs.mr)
        k->knobs.mr += k->knobs.mr % 2; /* tiles begin with whole pairs */
    if (((k->knobs.mr + k->paired) * k->knobs.nv > CONTRACT_MAX_SUMS && !k->on_tiles) ||
        k->knobs.nv * k->lanes > CONTRACT_MAX_WIDTH) {
        *why = "a tile too large";
        return false;
    }
    k->tiles = (k->line + k->knobs.mr - 1) / k->knobs.mr;
    cut_depth(k);
    k->streams = is_stream(k);
    if (!k->gathered)
        k->knobs.mc = least(k->knobs.mc * taps_shared(k, axis, count), k->rows);
    k->knobs.mc = (k->knobs.mc + k->knobs.mr - 1) / k->knobs.mr * k->knobs.mr;
    return find_patterns(k, why) && (k->gathered || k->on_tiles || registers_fit(k, target, why));
}

static int64_t distance(const Contract *k, const Line *line) {
    int64_t stride = line->m < 0 ? 0 : k->nest.access[k->a].stride[line->m];
    return stride < 0 ? -stride : stride;
}

/* The best line that is not rejected yet; the rows that are nearest to each other where two are as good. */
static Line *best_line(const Contract *k, Line *line, int count) {
    Line *best = NULL;
    for (int i = 0; i < count; i++)
        if (!line[i].rejected && (!best || line[i].slots < best->slots * 0.999 ||
                                  (line[i].slots < best->slots * 1.001 && distance(k, &line[i]) < distance(k, best))))
            best = &line[i];
    return best;
}

bool contract_plan_rows(Contract *k, const Target *target, const ContractKnobs *given, int64_t panel_limit, int spare,
                        const int *axis, int count, const char **why) {
    bool lie = !k->paired && (!k->on_tiles || contract_rows_may_lie(k, target));
    for (int gathered = !lie; gathered < (k->direct ? 1 : 2); gathered++) {
        Line line[NEST_MAX_AXES], *best;
        int lines = count ? count : 1;
        k->gathered = gathered;
        for (int i = 0; i < lines; i++) {
            line[i] = line_along(k, count ? axis[i] : -1, axis, count, gathered);
            ContractKnobs knobs = *given;
            double slots =
                cost_contract(target, shape_of(k, target, line[i].m, line[i].extent, false), k->unit, panel_limit, spare, &knobs);
            line[i].slots = slots / (double)line[i].extent;
        }
        while ((best = best_line(k, line, lines))) {
            if (take(k, target, given, panel_limit, spare, best, axis, count, why)) {
                k->rows_lie = k->on_tiles && !gathered;
                k->gathered = gathered || k->on_tiles; /* functions read sums of tiles in any case */
                return true;
            }
            best->rejected = true;
        }
    }
    return false;
}
