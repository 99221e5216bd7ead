/* Plans for new sizes, without planning: where three plans of one form are known (form.c), one for sizes between theirs is put
 * together from the form.
 *
 *     sizes --predict--> numbers of the plan --> kernels of the form with these sizes --items.c--> Planned
 *                             ^--- compared with the shapes of all values, inferred anew, and with what is computed of shapes
 *
 * Whatever does not fit is no error: the plan is then made from the start, and is one more sample. So that a model whose inputs
 * grow from run to run is not planned anew each time, plans are made ahead: for eight times the greatest length that came, and
 * for the least there is. */
#include <string.h>

#include "run/form.h"

typedef struct Scaling {
    Form *form;
    int64_t *numbers;
    Kernel **kernels;
    Code **codes;
} Scaling;

static int other_tensor(Segment *s, const FormTensor *from, KernelSizes *sizes) {
    int tensor = plan_tensor(&s->plan, from->type, from->rank, sizes->at + sizes->next, NULL);
    sizes->next += (size_t)from->rank;
    if (tensor < 0 || !from->known)
        return tensor;
    const Tensor *known = from->constant ? from->known : segment_keep(s, from->known);
    s->plan.tensors[tensor].known = known;
    s->plan.tensors[tensor].constant = from->constant;
    return known ? tensor : -1;
}

/* Tensors that no value is, and kernels, in the order in which they were recorded. */
static bool take_group(Segment *s, Scaling *z, const FormGroup *g, KernelSizes *sizes, int *tensors, int *tensor_count) {
    const Form *form = z->form;
    Group *group = plan_group(&s->plan);
    if (!group)
        return segment_fail(s);
    group->step = g->step;
    group->partial = g->partial;
    group->nodes = g->nodes;
    group->node_count = g->node_count;
    if (g->kernel < 0)
        return true;
    Kernel **kernel = &z->kernels[g->kernel];
    if (!*kernel) {
        *kernel = kernel_copy(&s->out->arena, form->kernels[g->kernel]);
        if (!*kernel)
            return segment_fail(s);
        if (!kernel_set_sizes(*kernel, sizes, s->err))
            return false;
    }
    group->given = *kernel;
    group->given_tensor = ARENA_ARRAY(&s->arena, int, (size_t)(*kernel)->tensor_count);
    for (int t = 0; group->given_tensor && t < (*kernel)->tensor_count; t++) {
        int at = g->tensor[t];
        if ((*kernel)->tensors[t].role == ROLE_TEMPORARY)
            continue;
        if (at < 0 && -1 - at == *tensor_count &&
            (tensors[(*tensor_count)++] = other_tensor(s, &form->tensors[-1 - at], sizes)) < 0)
            return segment_fail(s);
        group->given_tensor[t] = at < 0 ? tensors[-1 - at] : segment_read(s, s->program->graph->values[at]);
        if (group->given_tensor[t] < 0)
            return false;
    }
    return group->given_tensor || segment_fail(s);
}

static bool keep(Segment *s, const Value *value) {
    int tensor = segment_read(s, value);
    if (tensor >= 0)
        s->plan.tensors[s->plan.tensors[tensor].root].kept = true;
    return tensor >= 0;
}

/* What C reads and writes is there while the plan runs. */
static bool keep_operands(Segment *s, const FormGroup *g) {
    const Node *node = g->nodes[0];
    for (int i = 0; i < node->input_count + node->output_count; i++) {
        const Value *value = i < node->input_count ? node->inputs[i] : node->outputs[i - node->input_count];
        if (value && !keep(s, value))
            return false;
    }
    return true;
}

/* The values of all steps whose shapes do not follow from others', and what lives on. */
static bool list(Segment *s) {
    const Form *form = s->form;
    const Graph *graph = s->program->graph;
    bool fine = true;
    if (!segment_list(s, form->steps) || s->out->steps != form->steps || !form_agrees(form, s->numbers, s))
        return false;
    s->dead = form->dead;
    for (size_t v = 0; fine && v < graph->value_count; v++)
        fine = s->dead[v] || (form->values[v].rank < 0 && s->of[v] < 0) || keep(s, graph->values[v]);
    return fine;
}

/* The kernel's code; it is to be of the template that the form had. */
static bool take_code(Segment *s, Scaling *z, int g) {
    const Group *group = s->plan.groups[g];
    int kernel = z->form->groups[g].kernel;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    const char *why;
    if (kernel < 0)
        return true;
    if (!z->codes[kernel]) {
        for (int t = 0; t < group->given->input_count; t++) {
            const Tensor *known = plan_constant(&s->plan, group->given_tensor[t]);
            constant[t] = known ? known->data : NULL;
        }
        if (!segment_code(s, group->given, constant, &z->codes[kernel]))
            return segment_fail(s);
        const Compiled *compiled = code_compiled(z->codes[kernel], &why);
        if (strcmp(compiled ? compiled->template : "", z->form->templates[kernel]) != 0)
            return false;
    }
    s->group_codes[g] = z->codes[kernel];
    return true;
}

static bool scale(Segment *s, void *context) {
    Scaling *z = context;
    const Form *form = z->form;
    KernelSizes sizes = {.at = z->numbers, .count = form->number_count, .next = form->value_numbers};
    z->kernels = ARENA_ARRAY(&s->arena, Kernel *, (size_t)form->kernel_count);
    z->codes = ARENA_ARRAY(&s->arena, Code *, (size_t)form->kernel_count);
    s->group_codes = ARENA_ARRAY(&s->arena, Code *, (size_t)form->group_count);
    int *tensors = ARENA_ARRAY(&s->arena, int, (size_t)form->tensor_count), count = 0;
    if (!z->kernels || !z->codes || !s->group_codes || !tensors)
        return segment_fail(s);
    if (!list(s))
        return false;
    for (int g = 0; g < form->group_count; g++) {
        if (!take_group(s, z, &form->groups[g], &sizes, tensors, &count))
            return false;
        if (form->groups[g].kernel < 0 && !keep_operands(s, &form->groups[g]))
            return false;
    }
    for (int g = 0; g < form->group_count; g++)
        if (!take_code(s, z, g))
            return false;
    return sizes.next == sizes.count && segment_items(s);
}

static Planned *scale_form(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, Form *form) {
    Arena arena;
    whet_error err = {0};
    arena_init(&arena, runner->pool.allocator);
    int64_t *dims = ARENA_ARRAY(&arena, int64_t, (size_t)form->dim_count);
    Scaling z = {.form = form, .numbers = ARENA_ARRAY(&arena, int64_t, form->number_count)};
    Planned *planned = NULL;
    if (dims && z.numbers && form_dims(form, runner, activation, dims) && form_predict(form, dims, z.numbers)) {
        Segment s = {.runner = runner, .program = program, .at = at, .activation = activation, .err = &err};
        s.form = form;
        s.numbers = z.numbers;
        s.alike = form->alike;
        planned = segment_plan(&s, scale, &z);
        segment_free(&s);
    }
    arena_free(&arena);
    return planned;
}

Planned *scale_plan(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, PlanCache *cache) {
    for (Form **f = &cache->forms; *f; f = &(*f)->next) {
        Planned *planned = runner->explain ? NULL : scale_form(runner, program, at, activation, *f);
        if (!planned)
            continue;
        Form *form = *f; /* the next one is most likely of this form too */
        *f = form->next;
        form->next = cache->forms;
        cache->forms = form;
        cache->scaled++;
        return planned;
    }
    return NULL;
}

static bool is_kept(const PlanCache *cache, const Form *form) {
    const Form *f = cache->forms;
    while (f && f != form)
        f = f->next;
    return f;
}

/* Plans that nobody asked for: for the samples alone, until one is of the form that wants it. */
static void plan_ahead(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, PlanCache *cache) {
    const Form *form = cache->forms;
    bool taken = false;
    for (int attempt = 0; !taken && is_kept(cache, form) && cache->ahead < MOST_AHEAD; attempt++) {
        int64_t symbol, size = form_wants(form, attempt, &symbol);
        whet_error err = {0};
        if (!size)
            return;
        cache->ahead++;
        Segment s = {.runner = runner, .program = program, .at = at, .activation = activation, .err = &err};
        s.symbol = symbol;
        s.size = size;
        size_t steps = form->steps;
        Planned *planned = planned_learn(&s, cache, steps);
        taken = planned && planned->steps >= steps && cache->forms == form;
        planned_free(runner, planned);
    }
}

Planned *scale_learn(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, PlanCache *cache,
                     whet_error *err) {
    Segment s = {.runner = runner, .program = program, .at = at, .activation = activation, .err = err};
    const Form *first = cache->forms;
    size_t learned = first ? first->clock : 0;
    Planned *planned = planned_learn(&s, cache, 1);
    cache->planned++;
    if (planned && cache->forms && (cache->forms != first || first->clock != learned))
        plan_ahead(runner, program, at, activation, cache);
    return planned;
}
