/* What plans of one model have in common: a form is all of a plan but its sizes, with the sizes of a few plans that had it.
 *
 * Every size in a plan (dims of values, extents, strides and offsets in kernels) is made of the dims of what comes in by sums,
 * products and exact divisions, as long as the planner decides in the same way. So where three plans of one form differ in one
 * symbol, the sizes of a fourth between them follow: polynomials of the second degree, the product of a length with itself being
 * the most that attention makes. That they do is not taken for granted: scale.c has the shapes of all values inferred anew and
 * checks that the kernels stay inside of their tensors. */
#include "run/form.h"

#include <math.h>
#include <string.h>

/* ---- Recording ---- */

void record_init(Record *record, const whet_allocator *allocator) {
    *record = (Record){.failed = false};
    arena_init(&record->arena, allocator);
    record->sizes.arena = &record->arena;
    text_init(&record->structure);
}

void record_free(Record *record) {
    text_free(&record->structure);
    arena_free(&record->arena);
}

static void put(Record *r, const void *data, size_t bytes) {
    if (bytes)
        text_put_n(&r->structure, data, bytes);
}

static void put_number(Record *r, int64_t number) {
    KernelSizes *s = &r->sizes;
    if (arena_grow(s->arena, &s->at, &s->capacity, s->count + 1, sizeof *s->at))
        s->at[s->count++] = number;
    else
        r->failed = true;
}

/* What decides shapes, and single numbers, which kernels may hold: as sizes where they are whole. */
static void record_content(Record *r, const Tensor *known, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        Tensor element = *known;
        int64_t aligned = 0;
        size_t bytes = (size_t)whet_type_bits(known->type) / 8;
        element.rank = 0;
        element.data = memcpy(&aligned, (const char *)known->data + (size_t)i * bytes, bytes);
        double number = whet_tensor_get(&element, 0);
        if (known->type == WHET_S64)
            put_number(r, aligned);
        else if (number == floor(number) && fabs(number) < 1e15)
            put_number(r, (int64_t)number);
        else
            put(r, &number, sizeof number);
    }
}

/* That can be recorded. */
static bool has_content(const PlanTensor *root) {
    return dtype_bits(root->type) >= 8 && dtype_bits(root->type) <= 64;
}

static void record_value(Record *r, const Segment *s, const Value *value, bool decides) {
    const PlanTensor *t = &s->plan.tensors[s->of[value->id]], *root = &s->plan.tensors[t->root];
    const int head[] = {value->id,           (int)t->type,  t->rank, root->value ? root->value->id : -1,
                        root->known != NULL, root->constant};
    put(r, head, sizeof head);
    for (int d = 0; d < t->rank; d++)
        put_number(r, t->dims[d]);
    if (root->known && (decides || root->count == 1) && has_content(root))
        record_content(r, root->known, root->count);
}

/* Which values decide shapes, by id; NULL: out of memory. */
static bool *deciding(Record *r, const Segment *s) {
    bool *decides = ARENA_ARRAY(&r->arena, bool, s->program->graph->value_count);
    for (size_t k = 0; decides && k < s->out->steps; k++) {
        const Step *step = &s->program->steps[s->at + k];
        const Node *node = step->node;
        for (int i = 0; i < node->input_count; i++)
            if (step->decides[i] && node->inputs[i] && node->inputs[i]->graph == s->program->graph)
                decides[node->inputs[i]->id] = true;
    }
    return decides;
}

/* Its outputs have the types and shapes that those of a step before it have, whatever the sizes: what both read is not known
 * before it runs, or is among the numbers that are predicted. */
static bool follows(const Segment *s, size_t k) {
    const Node *node = s->program->steps[s->at + k].node;
    bool computed = false;
    for (int i = 0; i < node->input_count; i++) {
        const Value *value = node->inputs[i];
        if (!value || value->type.constant)
            continue;
        const PlanTensor *root = &s->plan.tensors[s->plan.tensors[segment_tensor(s, value)].root];
        computed = computed || !root->known;
        if (root->known && !(s->program->steps[s->at + k].decides[i] && has_content(root)))
            return false;
    }
    for (int o = 0; o < node->output_count; o++) {
        if (!node->outputs[o])
            continue;
        const PlanTensor *root = &s->plan.tensors[s->plan.tensors[segment_tensor(s, node->outputs[o])].root];
        if (root->known || !root->value)
            return false;
    }
    return computed && s->alike[k] >= 0;
}

void record_values(Record *r, const Segment *s) {
    const Graph *graph = s->program->graph;
    const bool *decides = deciding(r, s);
    r->values = ARENA_ARRAY(&r->arena, FormValue, graph->value_count);
    r->follows = ARENA_ARRAY(&r->arena, bool, s->out->steps);
    r->failed = r->failed || !decides || !r->values || !r->follows || s->outer_count > 0;
    for (size_t v = 0; !r->failed && v < graph->value_count; v++) {
        FormValue *value = &r->values[v];
        *value = (FormValue){.rank = -1, .at = r->structure.length, .number = r->sizes.count, .decides = decides[v]};
        if (s->of[v] < 0 || graph->values[v]->type.constant)
            continue;
        const PlanTensor *t = &s->plan.tensors[s->of[v]], *root = &s->plan.tensors[t->root];
        value->type = t->type;
        value->rank = root->value ? t->rank : -1;
        value->root = root->value ? root->value->id : -1;
        record_value(r, s, graph->values[v], decides[v]);
        value->bytes = r->structure.length - value->at;
        value->numbers = r->sizes.count - value->number;
    }
    for (size_t k = 0; !r->failed && k < s->out->steps; k++)
        r->follows[k] = follows(s, k);
    for (int i = 0; i < s->out->live_in_count; i++)
        r->failed = r->failed || s->out->live_in[i].content;
    r->value_bytes = r->structure.length;
    r->value_numbers = r->sizes.count;
}

bool form_agrees(const Form *form, const int64_t *numbers, const Segment *s) {
    const Graph *graph = s->program->graph;
    Record r;
    bool same = true;
    record_init(&r, form->allocator);
    for (size_t v = 0; same && v < graph->value_count; v++) {
        const FormValue *value = &form->values[v];
        if (s->of[v] < 0 || graph->values[v]->type.constant)
            continue;
        text_clear(&r.structure);
        r.sizes.count = 0;
        record_value(&r, s, graph->values[v], value->decides);
        same = !r.failed && !r.structure.failed && r.structure.length == value->bytes && r.sizes.count == value->numbers &&
               memcmp(r.structure.data, form->structure + value->at, value->bytes) == 0 &&
               memcmp(r.sizes.at, numbers + value->number, value->numbers * sizeof *numbers) == 0;
    }
    record_free(&r);
    return same;
}

/* ---- Forms ---- */

/* A form in the making. */
typedef struct Learning {
    Form *form;
    Record *record;
    const Segment *segment;
    int *tensors; /* plan tensors that no value is */
    size_t tensor_capacity, form_capacity;
    Code **codes; /* of the form's kernels */
    size_t code_capacity;
} Learning;

/* Constants of several nodes side by side: as they are (run/shared.c), or, small ones, by their content. */
static const Tensor *record_known(Learning *l, const PlanTensor *t) {
    if (!t->known || t->constant) {
        put(l->record, &t->known, sizeof t->known);
        return t->known;
    }
    put(l->record, t->known->data, t->known->bytes);
    Tensor *copy = arena_copy(&l->form->arena, t->known, sizeof *t->known);
    if (copy)
        copy->data = arena_copy(&l->form->arena, t->known->data, t->known->bytes);
    return copy;
}

static int other_tensor(Learning *l, int tensor) {
    Form *form = l->form;
    const PlanTensor *t = &l->segment->plan.tensors[tensor];
    for (int i = 0; i < form->tensor_count; i++)
        if (l->tensors[i] == tensor)
            return -1 - i;
    size_t count = (size_t)form->tensor_count + 1;
    if (t->root != tensor || !arena_grow(&l->record->arena, &l->tensors, &l->tensor_capacity, count, sizeof *l->tensors) ||
        !arena_grow(&form->arena, &form->tensors, &l->form_capacity, count, sizeof *form->tensors)) {
        l->record->failed = true;
        return 0;
    }
    const int head[] = {(int)t->type, t->rank, t->known != NULL, t->constant};
    put(l->record, head, sizeof head);
    for (int d = 0; d < t->rank; d++)
        put_number(l->record, t->dims[d]);
    form->tensors[form->tensor_count] = (FormTensor){t->type, t->rank, record_known(l, t), t->constant};
    l->tensors[form->tensor_count] = tensor;
    return -1 - form->tensor_count++;
}

static int tensor_reference(Learning *l, int tensor) {
    const Segment *s = l->segment;
    const Value *value = s->plan.tensors[tensor].value;
    if (value && value->graph == s->program->graph && s->of[value->id] == tensor)
        return value->id;
    return other_tensor(l, tensor);
}

/* The kernel without its sizes, and these. */
static void record_kernel(Learning *l, const Kernel *kernel, const char *template) {
    Record *r = l->record;
    Kernel *bare = kernel_copy(&r->arena, kernel);
    if (!bare || !kernel_sizes(bare, &r->sizes)) {
        r->failed = true;
        return;
    }
    kernel_clear_sizes(bare);
    kernel_identity(bare, &r->structure);
    put(r, template, strlen(template) + 1);
}

static int kernel_of(Learning *l, const Executable *executable) {
    Form *form = l->form;
    for (int i = 0; i < form->kernel_count; i++)
        if (l->codes[i] == executable->code)
            return i;
    if (!arena_grow(&l->record->arena, &l->codes, &l->code_capacity, (size_t)form->kernel_count + 1, sizeof *l->codes)) {
        l->record->failed = true;
        return 0;
    }
    const Kernel *kernel = code_kernel(executable->code);
    const char *template = executable->compiled ? executable->compiled->template : "";
    form->kernels[form->kernel_count] = kernel_copy(&form->arena, kernel);
    form->templates[form->kernel_count] = template; /* static */
    record_kernel(l, kernel, template);
    l->codes[form->kernel_count] = executable->code;
    return form->kernel_count++;
}

static void learn_group(Learning *l, const Group *group, const Built *built, const Item *item) {
    Form *form = l->form;
    FormGroup *g = &form->groups[form->group_count++];
    *g = (FormGroup){.kernel = -1, .step = group->step, .partial = group->partial, .node_count = group->node_count};
    g->nodes = arena_copy(&form->arena, group->nodes, (size_t)group->node_count * sizeof *group->nodes);
    int count = built->kernel ? built->kernel->tensor_count : 0;
    g->tensor = ARENA_ARRAY(&form->arena, int, (size_t)count);
    if (!g->nodes || !g->tensor) {
        l->record->failed = true;
        return;
    }
    if (built->kernel)
        g->kernel = kernel_of(l, &item->executable);
    for (int t = 0; t < count; t++)
        g->tensor[t] = built->kernel->tensors[t].role == ROLE_TEMPORARY ? 0 : tensor_reference(l, built->tensor[t]);
    const int head[] = {g->kernel, g->step, g->partial, g->node_count, count};
    put(l->record, head, sizeof head);
    put(l->record, g->nodes, (size_t)g->node_count * sizeof *g->nodes);
    put(l->record, g->tensor, (size_t)count * sizeof *g->tensor);
}

/* What comes in: which values, of which types; their dims are samples. */
static void learn_live_in(Learning *l) {
    Form *form = l->form;
    const Planned *planned = l->segment->out;
    form->live_in_count = planned->live_in_count;
    form->live_in = arena_copy(&form->arena, planned->live_in, (size_t)planned->live_in_count * sizeof *planned->live_in);
    for (int i = 0; i < planned->live_in_count; i++)
        form->dim_count += planned->live_in[i].rank;
    form->declared = ARENA_ARRAY(&form->arena, int64_t, (size_t)form->dim_count);
    if (!form->live_in || !form->declared) {
        l->record->failed = true;
        return;
    }
    for (int i = 0, at = 0; i < planned->live_in_count; i++) {
        const LiveIn *in = &planned->live_in[i];
        for (int d = 0; d < in->rank; d++)
            form->declared[at++] = in->value->type.rank == in->rank ? in->value->type.dims[d] : in->dims[d];
        const int head[] = {in->value->id, (int)in->type, in->rank};
        put(l->record, head, sizeof head);
    }
}

static void form_drop(Form *form) {
    for (int i = 0; i < form->sample_count; i++) {
        memory_free(form->allocator, form->samples[i].dims, (size_t)form->dim_count * sizeof(int64_t));
        memory_free(form->allocator, form->samples[i].numbers, form->number_count * sizeof(int64_t));
    }
    arena_free(&form->arena);
    memory_free(form->allocator, form, sizeof *form);
}

void form_free(Form *form) {
    for (Form *next; form; form = next) {
        next = form->next;
        form_drop(form);
    }
}

static Form *form_new(Record *record, const Segment *s) {
    Form *form = memory_alloc(record->arena.allocator, sizeof *form);
    if (!form)
        return NULL;
    *form = (Form){.allocator = record->arena.allocator, .steps = s->out->steps, .value_bytes = record->value_bytes};
    form->value_numbers = record->value_numbers;
    arena_init(&form->arena, form->allocator);
    form->groups = ARENA_ARRAY(&form->arena, FormGroup, (size_t)s->built_count);
    form->kernels = ARENA_ARRAY(&form->arena, Kernel *, (size_t)s->built_count);
    form->alike = arena_copy(&form->arena, s->alike, s->out->steps * sizeof *s->alike);
    form->follows = arena_copy(&form->arena, record->follows, s->out->steps * sizeof *record->follows);
    form->dead = arena_copy(&form->arena, s->dead, s->program->graph->value_count * sizeof *s->dead);
    form->values = arena_copy(&form->arena, record->values, s->program->graph->value_count * sizeof *record->values);
    form->templates = ARENA_ARRAY(&form->arena, const char *, (size_t)s->built_count);
    Learning l = {.form = form, .record = record, .segment = s};
    learn_live_in(&l);
    for (int i = 0; !record->failed && !form->arena.failed && i < s->built_count; i++)
        learn_group(&l, s->groups[i], &s->built[i], &s->out->items[i]);
    form->number_count = record->sizes.count;
    if (record->failed || record->arena.failed || record->structure.failed || form->arena.failed) {
        form_drop(form);
        return NULL;
    }
    return form;
}

static void now_dims(const Segment *s, int64_t *dims) {
    for (int i = 0; i < s->out->live_in_count; i++) {
        const LiveIn *in = &s->out->live_in[i];
        memcpy(dims, in->dims, (size_t)in->rank * sizeof *dims);
        dims += in->rank;
    }
}

/* Where there is no room the one goes that was not used for longest. */
static bool add_sample(Form *form, const Record *record, const Segment *s) {
    size_t dims_bytes = (size_t)form->dim_count * sizeof(int64_t), number_bytes = form->number_count * sizeof(int64_t);
    FormSample *to = &form->samples[0];
    for (int i = 0; i < form->sample_count; i++)
        to = form->samples[i].used < to->used ? &form->samples[i] : to;
    if (form->sample_count < FORM_SAMPLES) {
        to = &form->samples[form->sample_count];
        to->dims = memory_alloc(form->allocator, dims_bytes);
        to->numbers = memory_alloc(form->allocator, number_bytes);
        if (!to->dims || !to->numbers) {
            memory_free(form->allocator, to->dims, dims_bytes);
            memory_free(form->allocator, to->numbers, number_bytes);
            return false;
        }
        form->sample_count++;
    }
    to->used = ++form->clock;
    form->latest = to;
    now_dims(s, to->dims);
    if (number_bytes)
        memcpy(to->numbers, record->sizes.at, number_bytes);
    return true;
}

Form *form_learn(Form **forms, Record *record, const Segment *s) {
    if (record->failed || !s->out->steps || !s->out->live_in_count)
        return NULL;
    Form *form = form_new(record, s), **at = forms;
    if (!form)
        return NULL;
    int count = 0;
    while (*at && ((*at)->structure_bytes != record->structure.length || (*at)->number_count != record->sizes.count ||
                   memcmp((*at)->structure, record->structure.data, record->structure.length) != 0)) {
        at = &(*at)->next;
        count++;
    }
    if (*at) {
        form_drop(form);
        form = *at;
        *at = form->next;
        for (size_t k = 0; k < form->steps && k < s->out->steps;
             k++) /* alike in all samples, so in what is predicted from them */
            form->follows[k] = form->follows[k] && record->follows[k] && form->alike[k] == s->alike[k];
    } else {
        form->structure = arena_copy(&form->arena, record->structure.data, record->structure.length);
        form->structure_bytes = record->structure.length;
        if (!form->structure) {
            form_drop(form);
            return NULL;
        }
        for (at = forms; count >= FORMS_KEPT; count--) { /* the last ones go */
            while ((*at)->next)
                at = &(*at)->next;
            form_drop(*at);
            *at = NULL;
            at = forms;
        }
    }
    form->next = *forms;
    *forms = form;
    return add_sample(form, record, s) ? form : NULL;
}

/* ---- Predicting ---- */

bool form_has_input(const Form *form, const Value *value) {
    for (int i = 0; i < form->live_in_count; i++)
        if (form->live_in[i].value == value)
            return true;
    return false;
}

bool form_dims(const Form *form, Runner *runner, Activation *activation, int64_t *dims) {
    for (int i = 0; i < form->live_in_count; i++) {
        const LiveIn *in = &form->live_in[i];
        const OpValue *value = runner_value(runner, activation, in->value, NULL);
        if (!value || (DType)value->tensor.type != in->type || value->tensor.rank != in->rank)
            return false;
        memcpy(dims, value->tensor.dims, (size_t)in->rank * sizeof *dims);
        dims += in->rank;
    }
    return true;
}

/* Do the dims differ in one symbol alone? Then it, and its extent in the sample; 0: they are equal; -1: in more. */
static int64_t difference(const Form *form, const FormSample *sample, const int64_t *dims, int64_t *extent, int64_t *wanted) {
    int64_t symbol = 0;
    for (int i = 0; i < form->dim_count; i++) {
        if (sample->dims[i] == dims[i])
            continue;
        if (dim_is_number(form->declared[i]) || form->declared[i] == DIM_UNKNOWN ||
            (symbol && (symbol != form->declared[i] || *extent != sample->dims[i] || *wanted != dims[i])))
            return -1;
        symbol = form->declared[i];
        *extent = sample->dims[i];
        *wanted = dims[i];
    }
    for (int i = 0; symbol && i < form->dim_count; i++) /* a symbol is one number everywhere */
        if (form->declared[i] == symbol && (sample->dims[i] != *extent || dims[i] != *wanted))
            return -1;
    return symbol;
}

typedef struct Points {
    int64_t x[3], symbol, wanted;
    const int64_t *y[3];
    FormSample *sample[3];
    int count;
} Points;

/* A sample of the same extent is there. */
static bool has_point(const Points *p, int64_t x) {
    for (int i = 0; i < p->count; i++)
        if (p->x[i] == x)
            return true;
    return false;
}

static void take_point(Points *p, int at, FormSample *sample, int64_t x) {
    p->x[at] = x;
    p->y[at] = sample->numbers;
    p->sample[at] = sample;
}

/* Three samples of the symbol, the wanted extent between the least and the greatest. */
static bool find_points(Form *form, const int64_t *dims, int64_t symbol, Points *out) {
    *out = (Points){.symbol = symbol};
    for (int i = 0; i < form->sample_count; i++) {
        int64_t x, wanted;
        FormSample *sample = &form->samples[i];
        if (difference(form, sample, dims, &x, &wanted) != symbol || x < 2 || wanted < 2 || has_point(out, x))
            continue;
        out->wanted = wanted;
        bool there = false; /* a size may be planned for again, once its plan is gone */
        for (int k = 0; k < out->count; k++)
            there = there || out->x[k] == x;
        if (there)
            continue;
        if (out->count < 3)
            take_point(out, out->count++, sample, x);
        else if (x < out->x[0] && x < out->x[1] && x < out->x[2])
            take_point(out, out->x[0] < out->x[1] ? (out->x[0] < out->x[2] ? 0 : 2) : (out->x[1] < out->x[2] ? 1 : 2), sample, x);
        else if (x > out->x[0] && x > out->x[1] && x > out->x[2])
            take_point(out, out->x[0] > out->x[1] ? (out->x[0] > out->x[2] ? 0 : 2) : (out->x[1] > out->x[2] ? 1 : 2), sample, x);
    }
    bool below = false, above = false;
    for (int i = 0; i < out->count; i++) {
        below = below || out->x[i] < out->wanted;
        above = above || out->x[i] > out->wanted;
    }
    return out->count == 3 && below && above;
}

/* y = y0 + a (x - x0) + b (x - x0) (x - x1), in whole numbers; false: they are none. `straight`: b must be 0. */
static bool interpolate(const Points *p, size_t k, bool straight, int64_t *out) {
    int64_t y0 = p->y[0][k], up1, up2, x = p->wanted;
    *out = y0;
    if (p->y[1][k] == y0 && p->y[2][k] == y0)
        return true;
    int64_t x10 = p->x[1] - p->x[0], x20 = p->x[2] - p->x[0], x21 = p->x[2] - p->x[1];
    if (!checked_sub(p->y[1][k], y0, &up1) || !checked_sub(p->y[2][k], p->y[1][k], &up2))
        return false;
    int64_t left, right, curve, sum, divisor; /* of the divided differences, times x10 x21 */
    if (!checked_mul(up1, x21, &left) || !checked_mul(up2, x10, &right) || !checked_sub(right, left, &curve))
        return false;
    if (curve == 0) {
        if (!checked_mul(up1, x - p->x[0], &sum) || sum % x10)
            return false;
        return checked_add(y0, sum / x10, out);
    }
    int64_t way; /* (x - x0) (x - x1) */
    if (straight || !checked_mul(x - p->x[0], x - p->x[1], &way) || !checked_mul(curve, way, &curve) ||
        !checked_mul(left, x20, &sum) || !checked_mul(sum, x - p->x[0], &sum) || !checked_add(sum, curve, &sum) ||
        !checked_mul(x10, x21, &divisor) || !checked_mul(divisor, x20, &divisor) || sum % divisor)
        return false;
    return checked_add(y0, sum / divisor, out);
}

/* Shapes of values are checked afterwards, so they may be squares of a size. What stands in kernels is checked by nothing:
 * through three points the half of a size, rounded (a crop), or a quotient (the scale of a resize) may pass as a parabola, but
 * never as a straight line with whole numbers. */
bool form_predict(Form *form, const int64_t *dims, int64_t *numbers) {
    for (int i = 0; i < form->sample_count; i++) {
        int64_t x, wanted, symbol = difference(form, &form->samples[i], dims, &x, &wanted);
        Points points;
        if (symbol == 0) { /* these very sizes: their plan is not kept any more */
            memcpy(numbers, form->samples[i].numbers, form->number_count * sizeof *numbers);
            return true;
        }
        if (symbol == -1 || !find_points(form, dims, symbol, &points))
            continue;
        for (int k = 0; k < 3; k++)
            points.sample[k]->used = ++form->clock;
        for (size_t k = 0; k < form->number_count; k++)
            if (!interpolate(&points, k, k >= form->value_numbers, &numbers[k]))
                return false;
        return true;
    }
    return false;
}

int64_t form_wants(const Form *form, int attempt, int64_t *symbol) {
    int64_t now = 0, least = INT64_MAX, most = 0;
    int others = 0;
    for (int i = 0; i < form->sample_count; i++) {
        int64_t x, wanted;
        const FormSample *sample = &form->samples[i];
        int64_t differs = sample == form->latest ? 0 : difference(form, sample, form->latest->dims, &x, &wanted);
        if (differs == 0 || differs == -1 || (others && differs != *symbol) || x < 2 || wanted < 2)
            continue;
        *symbol = differs;
        now = wanted;
        least = x < least ? x : least;
        most = x > most ? x : most;
        others++;
    }
    if (!others || (others > 1 && least < now && now < most))
        return 0;
    if (now < least)
        return attempt < 2 && now > 3 ? (attempt ? now / 2 : 2) : 0;
    int64_t top = now > most ? now : most;
    static const int eighths[] = {64, 16, 12, 10};
    return attempt < (int)COUNT(eighths) && top < INT32_MAX && eighths[attempt] * top / 8 > top ? eighths[attempt] * top / 8 : 0;
}
