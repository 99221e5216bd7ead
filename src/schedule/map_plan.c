/* Which axis runs over the lanes, which over the rows of a call; and boxes.
 *
 * Lanes run along the axis on which the result is contiguous. A read that is contiguous along another axis is transposed in
 * registers: that axis becomes the rows, walked in squares of as many rows as a vector has lanes.
 *
 * A guarded read is inside of its tensor or outside, and where that changes the iteration space is cut: into boxes, and into
 * segments of columns within a box. So no code asks a guard, and the interior is as fast as if there were none. */
#include "schedule/map.h"
#include "schedule/wide.h"

#include <math.h>
#include <string.h>

/* ---- axes ---- */

/* The rows where nothing asks for an axis: those that follow each other in the result, so that it is written from its beginning
 * to its end; but where these are few, the longest axis. */
static int other_axis(const MapPass *m) {
    enum { FEW = 16 };
    const NestAxis *axis = m->nest.axis;
    const int64_t *stride = m->nest.access[0].stride;
    int next = -1, longest = -1;
    for (int x = 0; x < m->nest.axis_count; x++) {
        if (x == m->column)
            continue;
        if (longest < 0 || axis[x].extent > axis[longest].extent)
            longest = x;
        if (axis[x].extent >= FEW && (next < 0 || stride[x] < stride[next]))
            next = x;
    }
    return next >= 0 ? next : longest;
}

/* The axis along which reads are contiguous that are not so along the columns; -1: there is none that all agree on. */
static int transposed_axis(MapPass *m, int lanes) {
    int axis = -1;
    m->transposed = 0;
    for (int i = 1; i < m->nest.access_count; i++) {
        const Access *a = &m->nest.access[i];
        int64_t stride = map_column_stride(m, i);
        if (a->source != ACCESS_TENSOR || a->offsets[0] || stride == 0 || stride == 1 || stride == -1 || m->lanes[i].split > 1)
            continue; /* of two axes that are the columns together squares would know one */
        for (int x = 0; x < m->nest.axis_count; x++)
            if (x != m->column && a->stride[x] == 1 && m->nest.axis[x].extent >= lanes && (axis < 0 || axis == x)) {
                axis = x;
                m->transposed |= UINT32_C(1) << i;
            }
    }
    return axis;
}

/* Several gathers go from row to row, and rows are long: the driver does that, for code wants more pointers. */
static bool moves_much(const MapPass *m, int lanes) {
    int count = 0;
    for (int i = 1; i < m->nest.access_count; i++)
        count += map_row_offsets(m, i) != 0;
    return count > 1 && m->nest.axis[m->column].extent > (int64_t)MAP_MOST_APART * lanes;
}

static void find_axes(MapPass *m, const Target *target, bool tiles) {
    int lanes = target->bytes / 4;
    const Nest *nest = &m->nest;
    m->column = -1;
    for (int x = 0; x < nest->axis_count; x++)
        if (nest->access[0].stride[x] == 1)
            m->column = x;
    m->scattered = m->column < 0 && nest->axis_count;
    if (m->scattered)
        m->column = nest->axis_count - 1;
    map_merge_columns(m, target);
    bool squares = tiles && !m->scattered && (!m->bits || m->bits == DT_F64);
    m->row = squares ? transposed_axis(m, map_square(m, target->bytes)) : -1;
    if (m->row < 0) {
        m->transposed = 0;
        m->row = other_axis(m);
    }
    if (moves_much(m, lanes))
        m->row = -1;
}

/* A long run of columns becomes rows of MAP_CHUNK columns; what is left over is a box of its own. */
static int64_t cut_columns(MapPass *m) {
    Nest *nest = &m->nest;
    if (m->column < 0 || m->transposed || m->scattered || nest->axis_count == NEST_MAX_AXES)
        return 0;
    int64_t columns = nest->axis[m->column].extent;
    for (int i = 0; i < nest->access_count; i++)
        for (int g = 0; g < nest->access[i].guard_count; g++)
            if (nest->access[i].guard[g].coef[m->column])
                return 0;
    int64_t chunk = MAP_CHUNK - (m->split ? MAP_CHUNK % m->split : 0);
    if (columns < 2 * MAP_CHUNK)
        return 0;
    m->row = nest->axis_count++;
    nest->parallel_count++;
    nest->axis[m->row] = (NestAxis){.extent = columns / chunk};
    nest->axis[m->column].extent = chunk;
    for (int i = 0; i < nest->access_count; i++) {
        Access *a = &nest->access[i];
        a->stride[m->row] = a->stride[m->column] * (chunk / (m->lanes[i].split ? m->lanes[i].split : 1));
        for (int g = 0; g < a->guard_count; g++)
            a->guard[g].coef[m->row] = 0;
    }
    return columns % chunk;
}

/* ---- boxes ---- */

typedef struct Cutter {
    MapPass *m;
    Arena *arena;
    MapBox *boxes;
    size_t capacity;
    const char **why;
} Cutter;

typedef enum Side { INSIDE, OUTSIDE, BOTH } Side;

static Side side_of(const Guard *guard, const MapBox *box, int axes) {
    int64_t least = guard->offset, most = guard->offset;
    for (int x = 0; x < axes; x++) {
        int64_t first = guard->coef[x] * box->begin[x], last = guard->coef[x] * (box->begin[x] + box->extent[x] - 1);
        least += first < last ? first : last;
        most += first < last ? last : first;
    }
    return least >= 0 && most < guard->extent ? INSIDE : most < 0 || least >= guard->extent ? OUTSIDE : BOTH;
}

/* An access is outside if one of its guards says so, and inside if all do. */
static Side access_side(const Access *a, const MapBox *box, int axes, const Guard **open) {
    Side side = INSIDE;
    for (int g = 0; g < a->guard_count; g++) {
        Side one = side_of(&a->guard[g], box, axes);
        if (one == OUTSIDE)
            return OUTSIDE;
        if (one == BOTH) {
            side = BOTH;
            *open = &a->guard[g];
        }
    }
    return side;
}

/* Where along `axis`, from `begin` on, the guard first changes, other axes being fixed. */
static int64_t first_change(const Guard *guard, const MapBox *box, int axis, int axes) {
    int64_t base = guard->offset, coef = guard->coef[axis], begin = box->begin[axis];
    for (int x = 0; x < axes; x++)
        base += x == axis ? 0 : guard->coef[x] * box->begin[x];
    int64_t now = base + coef * begin;
    bool inside = now >= 0 && now < guard->extent;
    int64_t distance; /* to the nearest value on the other side, in the direction of the coefficient */
    if (coef > 0)
        distance = inside || now >= guard->extent ? guard->extent - now : -now;
    else
        distance = inside || now < 0 ? now + 1 : now - guard->extent + 1;
    int64_t step = coef > 0 ? coef : -coef;
    return begin + (distance + step - 1) / step;
}

/* The axis to cut for this guard: a short one where several are in it, for then the other guards it alone. -1: none. */
static int axis_to_cut(const Guard *guard, const MapBox *box, int axes, int column, int *count) {
    int found = -1;
    *count = 0;
    for (int x = 0; x < axes; x++) {
        if (!guard->coef[x] || box->extent[x] == 1)
            continue;
        (*count)++;
        bool better = found < 0 || found == column || (x != column && box->extent[x] < box->extent[found]);
        if (better)
            found = x;
    }
    return found;
}

static bool add_box(Cutter *cutter, const MapBox *box) {
    size_t count = (size_t)cutter->m->box_count;
    if (count == MAP_MOST_BOXES || !arena_grow(cutter->arena, &cutter->boxes, &cutter->capacity, count + 1, sizeof *box)) {
        *cutter->why = count == MAP_MOST_BOXES ? "guards that cut the work into too many pieces" : "out of memory";
        return false;
    }
    cutter->boxes[cutter->m->box_count++] = *box;
    return true;
}

/* Segments of the columns: the box's other axes leave only these open. */
static bool add_segments(Cutter *cutter, MapBox *box) {
    const MapPass *m = cutter->m;
    int axes = m->nest.axis_count;
    MapBox part = *box;
    int64_t end = map_begin(box, m->column) + map_extent(box, m->column);
    size_t capacity = 0;
    for (int64_t at = map_begin(box, m->column); at < end;) {
        int64_t next = end;
        MapSegment segment = {.begin = at};
        if (m->column >= 0) {
            part.begin[m->column] = at;
            part.extent[m->column] = 1;
        }
        for (int i = 1; i < m->nest.access_count; i++) {
            const Access *a = &m->nest.access[i];
            const Guard *open;
            if (access_side(a, &part, axes, &open) == OUTSIDE)
                segment.outside |= UINT32_C(1) << i;
            for (int g = 0; g < a->guard_count; g++)
                if (m->column >= 0 && a->guard[g].coef[m->column]) {
                    int64_t change = first_change(&a->guard[g], &part, m->column, axes);
                    next = change > at && change < next ? change : next;
                }
        }
        segment.extent = next - at;
        if (!arena_grow(cutter->arena, &box->segments, &capacity, (size_t)box->segment_count + 1, sizeof segment))
            return false;
        if (box->segment_count && box->segments[box->segment_count - 1].outside == segment.outside)
            box->segments[box->segment_count - 1].extent += segment.extent;
        else
            box->segments[box->segment_count++] = segment;
        at = next;
    }
    return true;
}

static bool cut(Cutter *cutter, MapBox *box);

static bool cut_at(Cutter *cutter, const MapBox *box, int axis, int64_t at) {
    MapBox low = *box, high = *box;
    low.extent[axis] = at - box->begin[axis];
    high.begin[axis] = at;
    high.extent[axis] = box->begin[axis] + box->extent[axis] - at;
    return cut(cutter, &low) && cut(cutter, &high);
}

static bool cut(Cutter *cutter, MapBox *box) {
    enum { MOST_CUTS = 64 };
    const MapPass *m = cutter->m;
    int axes = m->nest.axis_count;
    for (int i = 1; i < m->nest.access_count; i++) {
        const Access *a = &m->nest.access[i];
        const Guard *open;
        if (access_side(a, box, axes, &open) != BOTH)
            continue;
        for (int g = 0; g < a->guard_count; g++) {
            int count, axis = axis_to_cut(&a->guard[g], box, axes, m->column, &count);
            if (side_of(&a->guard[g], box, axes) != BOTH || axis == m->column)
                continue; /* segments */
            if (count > 1 && box->extent[axis] > MOST_CUTS) {
                *cutter->why = "a guard over several long axes";
                return false;
            }
            return cut_at(cutter, box, axis,
                          count > 1 ? box->begin[axis] + box->extent[axis] / 2 : first_change(&a->guard[g], box, axis, axes));
        }
    }
    if (box->segment_count == 0 && !add_segments(cutter, box))
        return false;
    return add_box(cutter, box);
}

static bool make_boxes(MapPass *m, int64_t rest, Arena *arena, const char **why) {
    Cutter cutter = {.m = m, .arena = arena, .why = why};
    MapBox box = {.function = -1};
    for (int x = 0; x < m->nest.axis_count; x++)
        box.extent[x] = m->nest.axis[x].extent;
    bool fine = cut(&cutter, &box);
    if (fine && rest) {
        box.segments = NULL;
        box.segment_count = 0;
        box.begin[m->row] = m->nest.axis[m->row].extent;
        box.extent[m->row] = 1;
        box.extent[m->column] = rest;
        fine = cut(&cutter, &box);
    }
    m->boxes = cutter.boxes;
    return fine;
}

/* What has one row, as the border of an image does, takes its longest axis for rows: calls would take longer than their work. */
static void find_rows(const MapPass *m, MapBox *box) {
    bool moved = false;
    for (int i = 1; i < m->nest.access_count; i++)
        moved = moved || m->nest.access[i].offsets[0];
    box->row = m->row;
    for (int x = 0; x < m->nest.axis_count && !moved && map_extent(box, m->row) == 1; x++)
        if (x != m->column && box->extent[x] > map_extent(box, box->row))
            box->row = x;
    for (int x = 0; x < m->nest.axis_count; x++)
        if (x != m->column && x != box->row)
            box->outer[box->outer_count++] = x;
}

/* Tasks: rows of about MAP_TASK elements together; squares take whole squares. */
static void plan_tasks(MapPass *m, MapBox *box, int lanes) {
    find_rows(m, box);
    int64_t rows = map_extent(box, box->row), columns = map_extent(box, m->column);
    box->tiled = m->transposed && rows >= lanes && box->row == m->row;
    box->outer_total = 1;
    for (int k = 0; k < box->outer_count; k++)
        box->outer_total *= box->extent[box->outer[k]];
    box->rows_each = MAP_TASK / columns > 0 ? MAP_TASK / columns : 1;
    if (box->tiled) {
        enum { MOST_ROWS = 256, LEAST_ROWS = 64 }; /* their lines stay in L1, and what is read comes in long runs */
        box->rows_each = box->rows_each < LEAST_ROWS ? LEAST_ROWS : box->rows_each > MOST_ROWS ? MOST_ROWS : box->rows_each;
        box->rows_each -= box->rows_each % lanes;
    }
    box->row_tasks = box->tiled ? rows / box->rows_each : (rows + box->rows_each - 1) / box->rows_each;
    if (!box->row_tasks)
        box->row_tasks = 1;
}

/* ---- types ---- */

/* Of a value that is moved as it is: its bits, whatever they mean. */
static DType bits_of(DType type) {
    switch (dtype_bits(type)) {
    case 8: return DT_U8;
    case 16: return DT_U16;
    case 32: return DT_S32;
    default: return DT_F64;
    }
}

/* A read that is moved keeps its bits. Where lanes of its own width will do, so many go at once. */
static void find_bits(MapPass *m, const Target *target) {
    const Expr *value = m->nest.definition->value;
    m->bits = target->wide ? map_narrow_type(m) : DT_NONE; /* C text has lanes of 32 bits alone */
    if (value->op != EXPR_READ || m->nest.access_count < 2)
        return;
    Access *write = &m->nest.access[0], *read = &m->nest.access[1];
    DType type = bits_of(write->type);
    int64_t stride = 0, contiguous = 0;
    for (int x = 0; x < m->nest.axis_count; x++)
        if (write->stride[x] == 1) {
            stride = read->stride[x];
            contiguous = 1;
        }
    bool by_lane = false;
    for (int k = 0; k < 2; k++)
        for (int x = 0; read->offsets[k] && x < m->nest.axis_count; x++)
            by_lane = by_lane || (write->stride[x] == 1 && m->nest.access[read->offsets[k]].stride[x]);
    if (type == DT_F64 && by_lane)
        return; /* in lanes of 64 bits */
    if (read->guard_count && (read->outside != 0 || signbit(read->outside)) && type != DT_F64 && write->type != type)
        return; /* what is outside has a meaning */
    m->moves = true;
    write->type = read->type = type;
    bool narrow = contiguous && stride == 1 && !by_lane && type != DT_S32 && target->wide;
    m->bits = type == DT_F64 || narrow ? type : DT_NONE;
    if (type == DT_F64 && contiguous && (stride != 1 || by_lane) && m->nest.axis_count)
        m->scattered = true;
}

/* What is computed, not moved, may want lanes of 64 bits. */
static bool find_width(MapPass *m, const Kernel *kernel, const Target *target, Arena *arena, const char **why) {
    ExprEmitter e = {.definition = m->nest.definition, .kernel = kernel};
    if (m->moves)
        return true;
    if (!expr_start(&e, arena) || !wide_find(&e, arena, &m->wide)) {
        *why = "out of memory";
        return false;
    }
    if (m->wide && !target->wide)
        *why = "an element type of 64 bits";
    return *why == NULL;
}

bool map_plan_pass(MapPass *m, const Kernel *kernel, int definition, const Target *target, bool tiles, Arena *arena,
                   const char **why) {
    memset(m, 0, sizeof *m);
    if (!nest_of_map(kernel, &kernel->definitions[definition], &m->nest, why))
        return false;
    find_bits(m, target);
    if (!find_width(m, kernel, target, arena, why))
        return false;
    bool scattered = m->scattered;
    find_axes(m, target, tiles && !m->wide);
    m->scattered = m->scattered || (scattered && !m->transposed);
    for (int i = 0; i < m->nest.access_count; i++)
        if (map_row_offsets(m, i))
            m->transposed = 0;
    if (!make_boxes(m, cut_columns(m), arena, why))
        return false;
    for (int b = 0; b < m->box_count; b++)
        plan_tasks(m, &m->boxes[b], map_square(m, target->bytes));
    return true;
}

/* ---- several passes ---- */

static bool reads(const Definition *d, int tensor) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && d->exprs[i]->tensor == tensor)
            return true;
    return false;
}

/* Along dimension k both left sides are axes plus a number, in ranges that do not meet. */
static bool apart(const Definition *a, const Definition *b) {
    for (int k = 0; k < a->left_count; k++) {
        int64_t begin[2], end[2];
        const Definition *d[2] = {a, b};
        for (int i = 0; i < 2; i++) {
            const Index *index = &d[i]->left[k];
            begin[i] = end[i] = index->offset;
            for (int x = 0; x < d[i]->axis_count; x++) {
                int64_t reach = index->coef[x] * (d[i]->axes[x].extent - 1);
                *(reach < 0 ? &begin[i] : &end[i]) += reach;
            }
        }
        if (end[0] < begin[1] || end[1] < begin[0])
            return true;
    }
    return false;
}

/* Do definitions that stay apart from each other fill the tensor? */
static bool filled(const Kernel *kernel, int tensor) {
    int64_t written = 0;
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        if (d->tensor != tensor)
            continue;
        int64_t count = 1;
        for (int x = 0; x < d->parallel_count; x++)
            count *= d->axes[x].extent; /* within the tensor, each element once: no overflow */
        written += count;
        for (int j = 0; j < i; j++)
            if (kernel->definitions[j].tensor == tensor && !apart(d, &kernel->definitions[j]))
                return false;
    }
    return written == kernel->tensors[tensor].count;
}

void map_plan_order(MapPlan *plan, const Kernel *kernel) {
    int first = 0; /* of the passes that run beside each other */
    for (int p = 0; p < plan->pass_count; p++) {
        MapPass *pass = &plan->passes[p];
        const Definition *d = pass->nest.definition;
        bool begun = false, waits = p == 0;
        for (int q = 0; q < p; q++) {
            const Definition *before = plan->passes[q].nest.definition;
            begun = begun || before->tensor == d->tensor;
            if (q >= first)
                waits = waits || reads(d, before->tensor) || (before->tensor == d->tensor && !apart(d, before));
        }
        pass->clears = !begun && !kernel->partial && !filled(kernel, d->tensor);
        pass->joins = !waits;
        if (waits)
            first = p;
    }
}
