/* Kernels without reductions: elementwise, broadcasts, transposes, slices, padding, gathers, concatenation. map.h has the parts.
 *
 * Definitions are passes over memory, one after the other. A chain of them, each reading what the one before wrote, is better
 * kept in L1 (rows.c): the door asks for that first. */
#include "schedule/map.h"

static void map_print(const Compiled *c, Text *out) {
    const MapPlan *plan = c->state;
    for (int p = 0; p < plan->pass_count; p++) {
        const MapPass *m = &plan->passes[p];
        const MapBox *box = &m->boxes[0];
        text_printf(out, "%smap %lld x %lld x %lld: %d vectors a round", p ? "# " : "", (long long)box->outer_total,
                    (long long)map_extent(box, box->row), (long long)map_extent(box, m->column), plan->unroll);
        text_put(out, m->wide ? ", lanes of 64 bits" : "");
        text_put(out, m->boxes[0].tiled ? ", transposed in registers" : m->scattered ? ", one by one" : "");
        if (m->bits)
            text_printf(out, ", %s %s", m->moves ? "moved as" : "in lanes of", dtype_name(m->bits));
        if (m->gather_count)
            text_printf(out, ", %d gathered", m->gather_count);
        text_put(out, m->permutes ? ", lanes permuted" : "");
        if (m->box_count > 1)
            text_printf(out, ", in %d boxes", m->box_count);
        text_char(out, '\n');
    }
}

static bool same_code(const MapPass *m, const MapBox *a, const MapBox *b) {
    bool same = a->segment_count == b->segment_count && a->tiled == b->tiled && a->counted == b->counted && a->row == b->row;
    for (int s = 0; same && s < a->segment_count; s++)
        same = a->segments[s].begin == b->segments[s].begin && a->segments[s].extent == b->segments[s].extent &&
               a->segments[s].outside == b->segments[s].outside;
    (void)m;
    return same;
}

static bool emit_boxes(MapPass *m, Compiled *c, const ScheduleOptions *options, int unroll, const char **why, whet_error *err) {
    ScheduleOptions known = *options;
    if (m->moves)
        known.constant = NULL;
    for (int b = 0; b < m->box_count; b++) {
        MapBox *box = &m->boxes[b];
        for (int other = 0; other < b && box->function < 0; other++)
            if (same_code(m, box, &m->boxes[other])) {
                box->function = m->boxes[other].function;
                box->lanes = m->boxes[other].lanes;
            }
        if (box->function >= 0)
            continue;
        box->function = c->function_count;
        c->functions[c->function_count] = map_emit(m, box, &known, c, unroll, why, err);
        if (!c->functions[c->function_count++])
            return false;
    }
    return true;
}

/* Does a definition read what another one gives, and is not known? */
static bool is_chain(const Kernel *kernel, const void *const *known) {
    for (int i = 0; i < kernel->definition_count; i++)
        for (int e = 0; e < kernel->definitions[i].expr_count; e++) {
            const Expr *expr = kernel->definitions[i].exprs[e];
            bool written = expr->op == EXPR_READ && expr->tensor >= kernel->input_count;
            if (written && !(known && known[expr->tensor]) && !(known && known[kernel->definitions[i].tensor]))
                return true;
        }
    return false;
}

/* One row of any length, so that a new length finds its code: three loops, each with pointers of its own, and five more values.
 */
static bool is_counted(const MapPass *m, const MapBox *box, const Target *target) {
    bool plain = m->column >= 0 && !m->scattered && !m->permutes && !m->transposed && m->split <= 1 && !m->gather_count;
    return plain && box->segment_count == 1 && box->outer_total == 1 && box->row < 0 &&
           3 * m->nest.access_count + 5 <= target->registers[CLASS_INDEX] &&
           box->extent[m->column] >= map_lanes(m, target->bytes);
}

static bool plan_passes(Compiled *c, MapPlan *plan, const ScheduleOptions *options, const char **why, whet_error *err) {
    const Kernel *kernel = c->kernel;
    int most = 0; /* functions */
    bool tiles = !options->spare_registers;
    for (int d = 0; d < kernel->definition_count; d++) {
        MapPass *m = nest_plan(&plan->passes[plan->pass_count], sizeof *m, offsetof(MapPass, nest));
        bool empty = false;
        for (int a = 0; a < kernel->definitions[d].parallel_count; a++)
            empty = empty || kernel->definitions[d].axes[a].extent == 0;
        if ((empty && kernel->definition_count > 1) || (plan->known && plan->known[kernel->definitions[d].tensor]))
            continue;
        if (!map_plan_pass(m, kernel, d, &c->target, tiles, &c->arena, why) ||
            !map_plan_gathers(m, plan->known, &c->arena, why, err))
            return false;
        map_plan_lanes(m, &c->target);
        bool counts = !options->whole && !options->spare_registers; /* C text has no counts, and counts want registers */
        for (int b = 0; b < m->box_count && counts; b++)
            m->boxes[b].counted = is_counted(m, &m->boxes[b], &c->target);
        most += m->box_count;
        for (int g = 0; g < m->gather_count; g++)
            most += m->nest.access[m->gathers[g].access].read->index_count;
        plan->pass_count++;
    }
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, (size_t)most + 1);
    if (!c->functions)
        return error_memory(err), false;
    map_plan_order(plan, kernel);
    return true;
}

static bool schedule(Compiled *c, const ScheduleOptions *options, bool chain, const char **why, whet_error *err) {
    enum { MOST_PASSES = 64 };
    MapPlan *plan = ARENA_NEW(&c->arena, MapPlan);
    if (c->kernel->definition_count > MOST_PASSES) {
        *why = "more than 64 definitions";
        return false;
    }
    if (plan)
        plan->passes = arena_take(&c->arena, (size_t)c->kernel->definition_count + 1, sizeof *plan->passes);
    if (!plan || !plan->passes)
        return error_memory(err), false;
    if (!map_plan_known(plan, c->kernel, &c->arena))
        return error_memory(err), false;
    if (!chain && is_chain(c->kernel, plan->known)) {
        *why = "definitions that read each other";
        return false;
    }
    plan->unroll = options->unroll ? options->unroll : options->spare_registers ? 1 : 4;
    if (!plan_passes(c, plan, options, why, err))
        return c->arena.failed && err->status == WHET_OK ? (error_memory(err), false) : false;
    for (int p = 0; p < plan->pass_count; p++)
        if (!emit_boxes(&plan->passes[p], c, options, plan->unroll, why, err) || !map_emit_offsets(&plan->passes[p], c, err))
            return false;
    c->knobs.unroll = plan->unroll;
    c->template = "map";
    c->state = plan;
    c->run = map_run;
    c->print = map_print;
    c->print_c = map_has_c(c) ? map_print_c : NULL;
    return true;
}

bool schedule_map(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    return schedule(c, options, false, why, err);
}

bool schedule_map_chain(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    return schedule(c, options, true, why, err);
}
