/* The program of a model: its nodes as steps, and after which step each value goes.
 *
 * A value read inside a subgraph is read by the node that owns the subgraph. Constants are nobody's to free.
 */
#include "run/run.h"

#include <string.h>

/* What one pass over all graphs gathers. */
typedef struct Builder {
    Arena *arena;
    Program *program;
    size_t graph_capacity;
    whet_error *err;
} Builder;

static bool collect_graphs(Builder *b, const Graph *graph) {
    Program *p = b->program;
    if (!arena_grow(b->arena, &p->graphs, &b->graph_capacity, p->graph_count + 1, sizeof *p->graphs))
        return false;
    p->graphs[p->graph_count++] = (GraphProgram){.graph = graph};
    for (size_t n = 0; n < graph->node_count; n++)
        for (int a = 0; a < graph->nodes[n]->attr_count; a++)
            if (graph->nodes[n]->attrs[a].kind == ATTR_GRAPH && !collect_graphs(b, graph->nodes[n]->attrs[a].graph))
                return false;
    return true;
}

/* Marks in last[value id] the step `at` for every value of `home` that the node reads, itself or in its subgraphs. */
static void mark_reads(const Node *node, const Graph *home, size_t at, size_t *last) {
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] && node->inputs[i]->graph == home)
            last[node->inputs[i]->id] = at;
    for (int a = 0; a < node->attr_count; a++) {
        const Graph *inner = node->attrs[a].kind == ATTR_GRAPH ? node->attrs[a].graph : NULL;
        if (!inner)
            continue;
        for (size_t n = 0; n < inner->node_count; n++)
            mark_reads(inner->nodes[n], home, at, last);
        for (int o = 0; o < inner->output_count; o++)
            if (inner->outputs[o]->graph == home)
                last[inner->outputs[o]->id] = at;
    }
}

static const size_t NEVER = SIZE_MAX, UNREAD = SIZE_MAX - 1;

/* The last step that touches each value; NEVER: it stays (outputs and constants). */
static size_t *last_touches(Builder *b, const Graph *graph) {
    size_t *last = ARENA_ARRAY(b->arena, size_t, graph->value_count + 1);
    if (!last)
        return NULL;
    for (size_t v = 0; v < graph->value_count; v++)
        last[v] = UNREAD;
    for (size_t n = 0; n < graph->node_count; n++) {
        const Node *node = graph->nodes[n];
        for (int o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                last[node->outputs[o]->id] = n;
        mark_reads(node, graph, n, last);
    }
    for (int o = 0; o < graph->output_count; o++)
        if (graph->outputs[o]->graph == graph)
            last[graph->outputs[o]->id] = NEVER;
    return last;
}

static bool build_steps(Builder *b, GraphProgram *gp) {
    const Graph *graph = gp->graph;
    gp->step_count = graph->node_count;
    gp->steps = ARENA_ARRAY(b->arena, Step, gp->step_count);
    size_t *last = last_touches(b, graph);
    if (!gp->steps || !last)
        return false;
    for (size_t n = 0; n < gp->step_count; n++) {
        const Node *node = graph->nodes[n];
        bool *decides = ARENA_ARRAY(b->arena, bool, (size_t)node->input_count);
        if (!decides)
            return false;
        for (int i = 0; i < node->input_count; i++)
            decides[i] = op_input_is_content(node->row, i);
        gp->steps[n] = (Step){.node = node, .cache = b->program->cache_count++, .decides = decides};
    }
    for (size_t v = 0; v < graph->value_count; v++)
        if (last[v] < gp->step_count)
            gp->steps[last[v]].dead_count++;
    for (size_t n = 0; n < gp->step_count; n++) {
        gp->steps[n].dead = ARENA_ARRAY(b->arena, const Value *, gp->steps[n].dead_count);
        if (!gp->steps[n].dead)
            return false;
        gp->steps[n].dead_count = 0;
    }
    for (size_t v = 0; v < graph->value_count; v++)
        if (last[v] < gp->step_count) {
            Step *step = &gp->steps[last[v]];
            step->dead[step->dead_count++] = graph->values[v];
        }
    return true;
}

Program *program_new(Arena *arena, const Graph *graph, whet_error *err) {
    Builder b = {.arena = arena, .program = ARENA_NEW(arena, Program), .err = err};
    bool fine = b.program && collect_graphs(&b, graph);
    for (size_t g = 0; fine && g < b.program->graph_count; g++)
        fine = build_steps(&b, &b.program->graphs[g]);
    if (!fine) {
        error_memory(err);
        return NULL;
    }
    return b.program;
}

const GraphProgram *program_find(const Program *program, const Graph *graph) {
    for (size_t g = 0; g < program->graph_count; g++)
        if (program->graphs[g].graph == graph)
            return &program->graphs[g];
    return NULL;
}
