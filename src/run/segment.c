/* Makes plans: lists steps as long as their shapes are known, evaluates what is known already, has the rest fused, and places
 * what is left in memory.
 *
 *     steps --list--> Plan (groups) --plan_fuse--> fewer groups --items--> executables --homes--> offsets
 *
 * The segment ends before the first step whose output shapes depend on data, that owns a subgraph, or that cannot be lowered (it
 * then runs, or fails, by itself, as it would without plans). */
#include <stdlib.h>
#include <string.h>

#include "onnx/reader.h"
#include "run/form.h"

enum {
    KNOWN_BYTES = 1 << 20, /* larger content is not computed ahead */
    MOST_STEPS = 4096      /* of a segment, so that planning takes bounded memory */
};

bool segment_fail(Segment *s) {
    if (!s->err->status)
        error_memory(s->err);
    s->failed = true;
    return false;
}

/* ---- What schedules say ---- */

/* Takes over the reference. */
static bool hold_code(Segment *s, Code *code) {
    if (!arena_grow(&s->arena, &s->codes, &s->code_capacity, s->code_count + 1, sizeof *s->codes)) {
        shared_drop_code(s->runner->shared_model, code);
        return error_memory(s->err), false;
    }
    s->codes[s->code_count++] = code;
    return true;
}

bool segment_code(Segment *s, const Kernel *kernel, const void *const *constant, Code **out) {
    Shared *shared = s->runner->shared_model;
    ScheduleOptions options = shared_options(shared, &s->runner->target, constant);
    return shared_code(shared, kernel, true, &s->runner->target, &options, out, s->err) == WHET_OK && hold_code(s, *out);
}

static bool ask(void *self, const Kernel *kernel, const void *const *constant, Verdict *out, whet_error *err) {
    Segment *s = self;
    Shared *shared = s->runner->shared_model;
    ScheduleOptions options = shared_options(shared, &s->runner->target, constant);
    Code *code;
    (void)err; /* the segment's own */
    if (shared_ask(shared, kernel, &s->runner->target, &options, &code, s->err) || !hold_code(s, code))
        return false;
    out->template = code_template(shared, code, &out->why);
    return true;
}

/* Large constants are joined where they are packed; what is small, here and now. */
static const Tensor *join(void *self, const Tensor *const *part, int count, int dim, bool *constant, whet_error *err) {
    enum { SMALL_BYTES = 1 << 10 };
    Segment *s = self;
    Tensor *whole = arena_copy(&s->out->arena, part[0], sizeof *part[0]);
    if (!whole)
        return error_memory(err), NULL;
    for (int i = 1; i < count; i++) {
        whole->dims[dim] += part[i]->dims[dim];
        whole->bytes += part[i]->bytes;
    }
    *constant = whole->bytes > SMALL_BYTES;
    if (*constant)
        return shared_join(s->runner->shared_model, whole, part, count, dim, err);
    whole->data = arena_alloc(&s->out->arena, whole->bytes, 1);
    if (!whole->data)
        return error_memory(err), NULL;
    tensor_join(whole, part, count, dim, NULL);
    return whole;
}

static const Tensor *spread(void *self, const Tensor *const *element, const int64_t *times, int count, whet_error *err) {
    Segment *s = self;
    size_t size = element[0]->bytes;
    int64_t all = 0;
    for (int i = 0; i < count; i++)
        all += times[i];
    Tensor *whole = arena_copy(&s->out->arena, element[0], sizeof *element[0]);
    char *to = arena_take(&s->out->arena, (size_t)all, size);
    if (!whole || !to)
        return error_memory(err), NULL;
    whole->rank = 1;
    whole->dims[0] = all;
    whole->bytes = (size_t)all * size;
    whole->data = to;
    for (int i = 0; i < count; i++)
        for (int64_t k = 0; k < times[i]; k++, to += size)
            memcpy(to, element[i]->data, size);
    return whole;
}

static void drop_codes(Segment *s) {
    for (size_t i = 0; i < s->code_count; i++)
        shared_drop_code(s->runner->shared_model, s->codes[i]);
}

/* ---- Tensors ---- */

static bool set_tensor(Segment *s, const Value *value, int tensor) {
    if (tensor < 0)
        return segment_fail(s);
    if (value->graph == s->program->graph) {
        s->of[value->id] = tensor;
        return true;
    }
    if (!arena_grow(&s->arena, &s->outer, &s->outer_capacity, s->outer_count + 1, sizeof *s->outer))
        return segment_fail(s);
    s->outer[s->outer_count++] = (struct Outer){value, tensor};
    return true;
}

int segment_tensor(const Segment *s, const Value *value) {
    if (value->graph == s->program->graph)
        return s->of[value->id];
    for (size_t i = 0; i < s->outer_count; i++)
        if (s->outer[i].value == value)
            return s->outer[i].tensor;
    return -1;
}

const Tensor *segment_keep(Segment *s, const Tensor *t) {
    Tensor *copy = arena_copy(&s->out->arena, t, sizeof *t);
    if (copy)
        copy->data = arena_copy(&s->out->arena, t->data, t->bytes);
    return copy && copy->data ? copy : NULL;
}

static int known_tensor(Segment *s, const Tensor *t, const Value *value) {
    int tensor = plan_tensor(&s->plan, (DType)t->type, t->rank, t->dims, value);
    if (tensor >= 0)
        s->plan.tensors[tensor].known = t;
    return tensor;
}

static bool add_live_in(Segment *s, const Value *value, const Tensor *t) {
    Planned *out = s->out;
    if (!arena_grow(&out->arena, &out->live_in, &s->live_in_capacity, (size_t)out->live_in_count + 1, sizeof *out->live_in))
        return segment_fail(s);
    LiveIn *in = &out->live_in[out->live_in_count++];
    *in = (LiveIn){.value = value, .type = (DType)t->type, .rank = t->rank};
    memcpy(in->dims, t->dims, (size_t)t->rank * sizeof *t->dims);
    return true;
}

/* The tensor as it comes in, or would come in if a symbol of its dims had another size. */
static Tensor coming_in(const Segment *s, const Value *value, const Tensor *now) {
    Tensor t = *now;
    for (int d = 0; s->symbol && d < t.rank; d++)
        if (value->type.rank == t.rank && value->type.dims[d] == s->symbol)
            t.dims[d] = s->size;
    return t;
}

/* A value of a step that was not listed. */
static int predicted_tensor(Segment *s, const Value *value) {
    const FormValue *f = &s->form->values[value->id];
    const Value *root = s->program->graph->values[f->root];
    int of = root == value ? -1 : segment_read(s, root), tensor;
    if (root == value)
        tensor = plan_tensor(&s->plan, f->type, f->rank, s->numbers + f->number, value);
    else
        tensor = of < 0 ? -1 : plan_view(&s->plan, of, f->rank, s->numbers + f->number, value);
    return set_tensor(s, value, tensor) ? tensor : -1;
}

int segment_read(Segment *s, const Value *value) {
    int tensor = segment_tensor(s, value);
    if (tensor >= 0)
        return tensor;
    if (value->type.constant) {
        tensor = known_tensor(s, value->type.constant, value);
        if (tensor >= 0)
            s->plan.tensors[tensor].constant = true;
        return set_tensor(s, value, tensor) ? tensor : -1;
    }
    if (s->form && !form_has_input(s->form, value) && s->form->values[value->id].rank >= 0)
        return predicted_tensor(s, value);
    const OpValue *now = runner_value(s->runner, s->activation, value, s->err);
    if (!now)
        return segment_fail(s), -1;
    const Tensor t = coming_in(s, value, &now->tensor);
    tensor = plan_tensor(&s->plan, (DType)t.type, t.rank, t.dims, value);
    if (tensor < 0 || !add_live_in(s, value, &t) || !set_tensor(s, value, tensor))
        return segment_fail(s), -1;
    s->plan.tensors[tensor].kept = true;
    return tensor;
}

/* The content of an input that decides shapes. What comes in from outside is looked at, and the plan holds for that content. */
static const Tensor *content_of(Segment *s, const Value *value, int tensor) {
    const PlanTensor *t = &s->plan.tensors[tensor];
    const Tensor *known = s->plan.tensors[t->root].known;
    if (known) {
        Tensor view = *known;
        view.rank = t->rank;
        memcpy(view.dims, t->dims, sizeof view.dims);
        return arena_copy(&s->out->arena, &view, sizeof view);
    }
    for (int i = 0; i < s->out->live_in_count; i++) {
        LiveIn *in = &s->out->live_in[i];
        if (in->value != value || in->type == DT_STRING)
            continue;
        const OpValue *now = runner_value(s->runner, s->activation, value, NULL);
        if (!in->content && now && now->tensor.bytes <= KNOWN_BYTES && !s->symbol)
            in->content = segment_keep(s, &now->tensor);
        return in->content;
    }
    return NULL;
}

/* ---- Listing ---- */

typedef struct Listed {
    const Node *node;
    int *in, *out; /* plan tensors; -1: omitted */
    const Tensor **known;
    OpCall call;
    Lowered lowered;
    bool counts; /* all inputs are known, and few whole numbers: arithmetic on shapes */
} Listed;

static bool is_counts(const Tensor *t) {
    return t && t->rank <= 1 && t->bytes <= 64 * sizeof(int64_t) && (t->type == WHET_S64 || t->type == WHET_S32);
}

static bool listed_init(Segment *s, Listed *l, const Step *step) {
    const Node *node = step->node;
    Arena *arena = &s->arena;
    *l = (Listed){.node = node,
                  .in = ARENA_ARRAY(arena, int, (size_t)node->input_count),
                  .out = ARENA_ARRAY(arena, int, (size_t)node->output_count),
                  .known = ARENA_ARRAY(arena, const Tensor *, (size_t)node->input_count)};
    Type *in = ARENA_ARRAY(arena, Type, (size_t)node->input_count);
    l->call = (OpCall){.node = node,
                       .row = node->row,
                       .arena = arena,
                       .symbols = s->runner->symbols,
                       .err = s->err,
                       .opset = node->opset,
                       .in_count = node->input_count,
                       .out_count = node->output_count,
                       .in = ARENA_ARRAY(arena, const Type *, (size_t)node->input_count),
                       .out = ARENA_ARRAY(arena, Type, (size_t)node->output_count)};
    if (arena->failed)
        return segment_fail(s);
    for (int o = 0; o < node->output_count; o++) {
        l->out[o] = -1;
        l->call.out[o].rank = -1;
    }
    for (int i = 0; i < node->input_count; i++) {
        l->in[i] = -1;
        if (!node->inputs[i])
            continue;
        l->in[i] = segment_read(s, node->inputs[i]);
        if (l->in[i] < 0)
            return false;
        const PlanTensor *t = &s->plan.tensors[l->in[i]];
        in[i] = (Type){.type = t->type, .rank = t->rank};
        memcpy(in[i].dims, t->dims, sizeof t->dims);
        l->call.in[i] = &in[i];
        bool decides = step->decides[i];
        if (decides || s->plan.tensors[t->root].known)
            l->known[i] = content_of(s, node->inputs[i], l->in[i]);
        if (decides && !l->known[i])
            return false;
        if (decides)
            in[i].constant = l->known[i];
    }
    l->counts = node->input_count > 0;
    for (int i = 0; i < node->input_count; i++)
        l->counts = l->counts && (!node->inputs[i] || is_counts(l->known[i]));
    for (int i = 0; l->counts && i < node->input_count; i++)
        in[i].constant = l->known[i];
    return true;
}

/* Outputs that follow from shapes: their content, as a constant of the plan. */
static const Tensor *tensor_of_content(Segment *s, const Type *type) {
    int64_t count;
    if (!type->content || type->rank < 0 || type->rank > 1 || (type->type != DT_S64 && type->type != DT_S32) ||
        !checked_count(type->dims, type->rank, &count) || count != type->content_count)
        return NULL;
    Tensor t = {.type = (whet_type)type->type, .rank = type->rank, .dims = {type->dims[0]}};
    if (!dtype_bytes(type->type, count, &t.bytes) || !(t.data = arena_alloc(&s->out->arena, (size_t)count, 8)))
        return NULL;
    for (int64_t i = 0; i < count; i++) {
        if (!dim_is_number(type->content[i]))
            return NULL;
        if (type->type == DT_S64)
            ((int64_t *)t.data)[i] = type->content[i];
        else
            ((int32_t *)t.data)[i] = (int32_t)type->content[i];
    }
    return arena_copy(&s->out->arena, &t, sizeof t);
}

static bool set_known(Segment *s, Listed *l, const Tensor **known) {
    for (int o = 0; o < l->node->output_count; o++)
        if (l->node->outputs[o] && !set_tensor(s, l->node->outputs[o], known_tensor(s, known[o], l->node->outputs[o])))
            return false;
    return true;
}

/* 1: all outputs follow from shapes and are set. */
static int fold_by_shape(Segment *s, Listed *l) {
    const Tensor **known = ARENA_ARRAY(&s->arena, const Tensor *, (size_t)l->node->output_count);
    for (int o = 0; known && o < l->node->output_count; o++)
        if (l->node->outputs[o] && !(known[o] = tensor_of_content(s, &l->call.out[o])))
            return 0;
    return known ? (set_known(s, l, known) ? 1 : -1) : (segment_fail(s), -1);
}

static bool is_small(const Segment *s, const Listed *l) {
    size_t bytes = 0;
    for (int i = 0; i < l->node->input_count; i++) {
        if (l->node->inputs[i] && (!l->known[i] || (DType)l->known[i]->type == DT_STRING))
            return false;
        bytes += l->known[i] ? l->known[i]->bytes : 0;
    }
    for (int o = 0; o < l->node->output_count; o++) {
        const Type *type = &l->call.out[o];
        int64_t count;
        size_t more;
        if (type->rank < 0)
            bytes *= 16; /* not known before: a few times what goes in */
        else if (type->type == DT_STRING || !checked_count(type->dims, type->rank, &count) ||
                 !dtype_bytes(type->type, count, &more) || more > KNOWN_BYTES)
            return false;
        else
            bytes += more;
    }
    (void)s;
    return bytes <= KNOWN_BYTES;
}

/* Runs a node on what is known. 1: done, 0: it cannot be done now, -1: an error. */
static int fold_by_running(Segment *s, Listed *l) {
    size_t outputs = (size_t)l->node->output_count;
    OpValue **values = ARENA_ARRAY(&s->arena, OpValue *, outputs);
    const Tensor **known = ARENA_ARRAY(&s->arena, const Tensor *, outputs);
    if (!values || !known)
        return segment_fail(s), -1;
    if (runner_node(s->runner, l->node, l->known, values, s->err)) {
        error_clear(s->err);
        return 0;
    }
    bool fits = true;
    for (size_t o = 0; o < outputs; o++)
        if (values[o] && l->node->outputs[o]) {
            fits = fits && values[o]->tensor.bytes <= KNOWN_BYTES && (DType)values[o]->tensor.type != DT_STRING;
            known[o] = fits ? segment_keep(s, &values[o]->tensor) : NULL;
        }
    for (size_t o = 0; o < outputs; o++) {
        fits = fits && (!l->node->outputs[o] || known[o]);
        value_drop(values[o]);
    }
    return fits ? (set_known(s, l, known) ? 1 : -1) : 0;
}

static bool shapes_known(const Listed *l) {
    for (int o = 0; o < l->node->output_count; o++) {
        const Type *type = &l->call.out[o];
        int64_t count;
        size_t bytes;
        if (!l->node->outputs[o])
            continue;
        if (type->type == DT_NONE || type->rank < 0)
            return false;
        for (int d = 0; d < type->rank; d++)
            if (!dim_is_extent(type->dims[d]))
                return false;
        if (!checked_count(type->dims, type->rank, &count) || !dtype_bytes(type->type, count, &bytes))
            return false;
    }
    return true;
}

static bool list_view(Segment *s, Listed *l) {
    const Type *type = &l->call.out[0];
    int64_t count;
    if (l->in[0] < 0 || !shapes_known(l) || !checked_count(type->dims, type->rank, &count) ||
        count != s->plan.tensors[l->in[0]].count)
        return false;
    return set_tensor(s, l->node->outputs[0], plan_view(&s->plan, l->in[0], type->rank, type->dims, l->node->outputs[0]));
}

static bool make_outputs(Segment *s, Listed *l) {
    for (int o = 0; o < l->node->output_count; o++) {
        const Type *type = &l->call.out[o];
        if (!l->node->outputs[o])
            continue;
        l->out[o] = plan_tensor(&s->plan, type->type, type->rank, type->dims, l->node->outputs[o]);
        if (!set_tensor(s, l->node->outputs[o], l->out[o]))
            return false;
    }
    return true;
}

static bool list_kernel(Segment *s, Listed *l) {
    int tensor[KERNEL_MAX_TENSORS];
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        tensor[t] = -1;
    if (!shapes_known(l) || !make_outputs(s, l))
        return false;
    for (int i = 0; i < l->node->input_count; i++)
        if (l->in[i] >= 0 && l->lowered.in_tensor[i] >= 0)
            tensor[l->lowered.in_tensor[i]] = l->in[i];
    for (int o = 0; o < l->node->output_count; o++)
        if (l->out[o] >= 0 && l->lowered.out_tensor[o] >= 0)
            tensor[l->lowered.out_tensor[o]] = l->out[o];
    return plan_add_kernel(&s->plan, l->lowered.kernel, tensor, l->node, true) || segment_fail(s);
}

static bool list_c(Segment *s, Listed *l, size_t step) {
    int *reads = ARENA_ARRAY(&s->arena, int, (size_t)l->node->input_count);
    int *writes = ARENA_ARRAY(&s->arena, int, (size_t)l->node->output_count), read_count = 0, write_count = 0;
    if (!l->node->row->run || !shapes_known(l))
        return false;
    if (!reads || !writes || !make_outputs(s, l))
        return segment_fail(s);
    for (int i = 0; i < l->node->input_count; i++)
        if (l->in[i] >= 0)
            reads[read_count++] = l->in[i];
    for (int o = 0; o < l->node->output_count; o++)
        if (l->out[o] >= 0)
            writes[write_count++] = l->out[o];
    return plan_add_step(&s->plan, (int)step, l->node, reads, read_count, writes, write_count) || segment_fail(s);
}

/* What lowering depends on, in the runner's key. */
static bool put_key(Segment *s, const Listed *l, size_t *length) {
    Runner *runner = s->runner;
    *length = 0;
    for (int i = 0; i < l->node->input_count; i++) {
        const Type *type = l->call.in[i];
        int64_t head[] = {type ? (int64_t)type->type : -1, type ? type->rank : 0, type && type->constant};
        if (!lowering_key_put(runner, length, head, sizeof head))
            return false;
        if (type && !lowering_key_put(runner, length, type->dims, (size_t)type->rank * sizeof *type->dims))
            return false;
        if (type && type->constant && !lowering_key_put(runner, length, type->constant->data, type->constant->bytes))
            return false;
    }
    return share_key_node(runner, l->node, length);
}

typedef struct Remembered {
    const Type *out;
    Lowered lowered;
    size_t step;
} Remembered;

/* Equal nodes are lowered once. False: it cannot be, or s->failed. */
static bool lower(Segment *s, Listed *l, size_t step) {
    const OpRow *row = l->node->row;
    size_t length;
    if (!put_key(s, l, &length))
        return segment_fail(s);
    const char *key = (const char *)s->runner->key;
    const Remembered *known = map_get(&s->lowered, key, length);
    if (known) {
        memcpy(l->call.out, known->out, (size_t)l->node->output_count * sizeof *known->out);
        l->lowered = known->lowered;
        if (!s->form)
            s->alike[step] = (int)known->step;
        return true;
    }
    char *own = arena_copy(&s->arena, key, length);
    whet_status status = WHET_OK;
    if (s->form || !(row->text || row->build))
        status = op_infer(&l->call);
    if (!status && (row->text || row->build) && (!s->form || !shapes_known(l))) /* kernels know what rules leave open */
        status = op_lower(&l->call, &l->lowered);
    if (status) {
        if (s->arena.failed)
            return segment_fail(s);
        error_clear(s->err);
        return false;
    }
    if (l->counts)
        graph_fold_content(&l->call);
    Remembered *now = ARENA_NEW(&s->arena, Remembered);
    if (!own || !now)
        return segment_fail(s);
    *now = (Remembered){l->call.out, l->lowered, step};
    return map_put(&s->lowered, own, length, now) || segment_fail(s);
}

static bool owns_graph(const Node *node) {
    for (int a = 0; a < node->attr_count; a++)
        if (node->attrs[a].kind == ATTR_GRAPH)
            return true;
    return false;
}

/* ---- Steps that are listed like earlier ones ---- */

static bool same_known(const Segment *s, int a, int b, bool content) {
    const PlanTensor *tensors = s->plan.tensors;
    const Tensor *x = tensors[tensors[a].root].known, *y = tensors[tensors[b].root].known;
    if (!x || !y || x == y || !content)
        return !x == !y;
    return x->type != WHET_STRING && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
}

/* In other sizes the step was lowered like an earlier one. Is it now? What it reads must have the same types and shapes, and the
 * same content where shapes follow from that. */
static bool is_alike(Segment *s, const Step *step, const Node *other) {
    const Node *node = step->node;
    bool all_known = true; /* then what it gives may be known as well */
    for (int i = 0; i < node->input_count; i++) {
        if (!node->inputs[i])
            continue;
        int tensor = segment_read(s, node->inputs[i]);
        if (tensor < 0)
            return false;
        const PlanTensor *a = &s->plan.tensors[tensor], *b = &s->plan.tensors[segment_tensor(s, other->inputs[i])];
        all_known = all_known && s->plan.tensors[a->root].known;
        if (a->type != b->type || a->rank != b->rank || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) != 0)
            return false;
    }
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !same_known(s, segment_tensor(s, node->inputs[i]), segment_tensor(s, other->inputs[i]),
                                           all_known || step->decides[i]))
            return false;
    return true;
}

static bool list_alike(Segment *s, const Node *node, const Node *other) {
    for (int o = 0; o < node->output_count; o++) {
        const Value *value = node->outputs[o];
        if (!value)
            continue;
        const PlanTensor t = s->plan.tensors[segment_tensor(s, other->outputs[o])];
        int tensor = node->row->view ? plan_view(&s->plan, segment_tensor(s, node->inputs[0]), t.rank, t.dims, value)
                                     : plan_tensor(&s->plan, t.type, t.rank, t.dims, value);
        if (!set_tensor(s, value, tensor))
            return false;
        if (!node->row->view)
            s->plan.tensors[tensor].known = t.known;
    }
    return true;
}

/* False: the segment ends before this step, or s->failed. */
static bool list_step(Segment *s, size_t step) {
    Listed l;
    const Node *node = s->program->steps[s->at + step].node;
    if (s->form && s->form->follows[step])
        return true;
    const Node *other = s->alike[step] < 0 ? NULL : s->program->steps[s->at + (size_t)s->alike[step]].node;
    if (other && is_alike(s, &s->program->steps[s->at + step], other))
        return list_alike(s, node, other);
    if (owns_graph(node) || !listed_init(s, &l, &s->program->steps[s->at + step]))
        return false;
    const OpRow *row = node->row;
    if (!lower(s, &l, step))
        return false;
    int folded = row->view ? 0 : fold_by_shape(s, &l);
    if (!folded && !row->view && node->input_count && is_small(s, &l))
        folded = fold_by_running(s, &l);
    if (folded)
        return folded > 0 && (plan_name(&s->plan, &s->plan.ahead, node) || segment_fail(s));
    if (row->view && !plan_name(&s->plan, &s->plan.views, node))
        return segment_fail(s);
    if (s->form && !row->view)
        return shapes_known(&l) && make_outputs(s, &l);
    return row->view ? list_view(s, &l) : l.lowered.kernel ? list_kernel(s, &l) : list_c(s, &l, step);
}

/* What somebody reads behind the segment must be there. */
static bool keep_live_out(Segment *s) {
    const Graph *graph = s->program->graph;
    bool *dead = ARENA_ARRAY(&s->arena, bool, graph->value_count);
    if (!dead)
        return segment_fail(s);
    s->dead = dead;
    for (size_t k = 0; k < s->out->steps; k++)
        for (int d = 0; d < s->program->steps[s->at + k].dead_count; d++)
            dead[s->program->steps[s->at + k].dead[d]->id] = true;
    for (size_t v = 0; v < graph->value_count; v++)
        if (s->of[v] >= 0 && !s->dead[v])
            s->plan.tensors[s->plan.tensors[s->of[v]].root].kept = true;
    return true;
}

/* ---- The whole ---- */

static int *no_steps(Segment *s, size_t count) {
    int *steps = ARENA_ARRAY(&s->arena, int, count);
    for (size_t k = 0; steps && k < count; k++)
        steps[k] = -1;
    return steps;
}

bool segment_list(Segment *s, size_t most) {
    const Graph *graph = s->program->graph;
    s->of = ARENA_ARRAY(&s->arena, int, graph->value_count);
    if (!s->of)
        return segment_fail(s);
    for (size_t v = 0; v < graph->value_count; v++)
        s->of[v] = -1;
    size_t steps = s->program->step_count - s->at;
    if (!s->alike && !(s->alike = no_steps(s, most < steps ? most : steps)))
        return segment_fail(s);
    size_t values = most < s->program->step_count ? most : s->program->step_count;
    if (!arena_grow(&s->arena, &s->plan.tensors, &s->plan.tensor_capacity, values + values / 2, sizeof *s->plan.tensors))
        return segment_fail(s);
    for (int i = 0; s->form && i < s->form->live_in_count; i++)
        if (segment_read(s, s->form->live_in[i].value) < 0)
            return false;
    while (s->out->steps < most && s->at + s->out->steps < s->program->step_count && list_step(s, s->out->steps))
        s->out->steps++;
    return !s->failed;
}

static bool build(Segment *s, void *context) {
    Text *out = context;
    s->plan.explain = out != NULL;
    if (!segment_list(s, MOST_STEPS) || !s->out->steps)
        return !s->failed;
    if (!keep_live_out(s))
        return false;
    if (s->record)
        record_values(s->record, s);
    if (!plan_layout(&s->plan) || !plan_fuse(&s->plan))
        return segment_fail(s);
    if (!segment_items(s) || s->refused)
        return false;
    if (out) {
        plan_print(&s->plan, out);
        text_printf(out, "# %zu bytes in the arena, of %zu in tensors\n\n", s->out->arena_bytes, s->placed_bytes);
    }
    return true;
}

void planned_free(Runner *runner, Planned *planned) {
    if (!planned)
        return;
    for (int i = 0; i < planned->item_count; i++)
        executable_free(&planned->items[i].executable);
    arena_free(&planned->arena);
    memory_free(runner->pool.allocator, planned, sizeof *planned);
}

Planned *segment_plan(Segment *s, bool (*make)(Segment *s, void *context), void *context) {
    Runner *runner = s->runner;
    Planned *planned = s->out = memory_alloc(runner->pool.allocator, sizeof *planned);
    if (!planned) {
        error_memory(s->err);
        return NULL;
    }
    *planned = (Planned){0};
    arena_init(&planned->arena, runner->pool.allocator);
    arena_init(&s->arena, runner->pool.allocator);
    map_init(&s->lowered, &s->arena);
    Schedules schedules = runner->has_target ? (Schedules){s, ask, join, spread} : (Schedules){.self = s};
    plan_init(&s->plan, &s->arena, schedules, s->err);
    bool fine = make(s, context);
    if (fine && planned->arena.failed)
        fine = segment_fail(s);
    return fine ? planned : (planned_free(runner, planned), NULL);
}

void segment_free(Segment *s) {
    drop_codes(s);
    plan_free(&s->plan);
    arena_free(&s->arena);
}

/* A kernel for whose code the registers were too few is refused when it is asked for again: as long as this segment lives. */
static Planned *learn_again(const Segment *given, PlanCache *cache, size_t least) {
    Segment s = *given;
    return planned_learn(&s, cache, least);
}

Planned *planned_learn(Segment *s, PlanCache *cache, size_t least) {
    const Segment given = *s;
    Record record;
    Runner *runner = s->runner;
    bool learns = runner->has_target && !runner->explain;
    if (learns) {
        record_init(&record, runner->pool.allocator);
        s->record = &record;
    }
    Planned *planned = segment_plan(s, build, runner->explain);
    if (planned && learns && planned->steps >= least)
        form_learn(&cache->forms, &record, s);
    if (s->refused && !s->failed)
        planned = learn_again(&given, cache, least);
    segment_free(s);
    if (learns)
        record_free(&record);
    return planned;
}
