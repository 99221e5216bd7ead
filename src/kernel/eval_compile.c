/* From Work to a Program: every expression becomes a step in the outermost loop that binds all it depends on, and is computed
 * once there however often it is used. Several choices of the strip's axes are compiled and the cheapest by estimate is kept. */
#include <string.h>

#include "kernel/eval.h"

/* Where an expression has been computed already: an open hash of (nest, expression). */
typedef struct Memo {
    const Nest *nest; /* NULL: free */
    const Expr *expr;
    int value;
} Memo;

typedef struct Compiler {
    const Work *work;
    Program *program;
    Arena *arena;
    int row, col; /* of the outermost strip */
} Compiler;

static int compile(Compiler *c, Nest *nest, const Expr *e);

static AxisSet bit(int axis) {
    return axis < 0 ? 0 : (AxisSet)1 << axis;
}

/* ---- Memo ---- */

static Memo *memo_slot(Program *p, const Nest *nest, const Expr *e) {
    size_t slot = ((size_t)nest->id * 40503u + (size_t)e->id * 2654435761u) & (p->memo_capacity - 1);
    while (p->memo[slot].nest && (p->memo[slot].nest != nest || p->memo[slot].expr != e))
        slot = (slot + 1) & (p->memo_capacity - 1);
    return &p->memo[slot];
}

static bool memo_put(Compiler *c, const Nest *nest, const Expr *e, int value) {
    Program *p = c->program;
    if (p->memo_count * 2 >= p->memo_capacity) {
        Memo *old = p->memo;
        size_t count = p->memo_capacity;
        p->memo_capacity = count ? count * 2 : 64;
        p->memo = ARENA_ARRAY(c->arena, Memo, p->memo_capacity);
        if (!p->memo)
            return false;
        for (size_t i = 0; i < count; i++)
            if (old[i].nest)
                *memo_slot(p, old[i].nest, old[i].expr) = old[i];
    }
    *memo_slot(p, nest, e) = (Memo){nest, e, value};
    p->memo_count++;
    return true;
}

/* ---- Nests ---- */

static Nest *new_nest(Compiler *c, Nest *parent, AxisSet axes) {
    Nest *nest = ARENA_NEW(c->arena, Nest);
    if (!nest)
        return NULL;
    *nest =
        (Nest){.parent = parent, .id = c->program->nest_count++, .bound = axes, .row = -1, .col = -1, .result = -1, .sums = -1};
    nest->reach = axes | (parent ? parent->reach : 0);
    if (parent) { /* until it gets a strip of its own */
        nest->strip = parent->strip;
        nest->row = parent->row;
        nest->col = parent->col;
    }
    nest->row = parent ? parent->row : -1; /* of the strip in force, until the nest gets its own */
    nest->col = parent ? parent->col : -1;
    return nest;
}

/* Gives the nest a strip of its own (col < 0: of one element) and loops over its other axes. */
static bool lay_out(Compiler *c, Nest *nest, bool owns_strip, int row, int col) {
    const int64_t *extent = c->work->extent;
    nest->owns_strip = owns_strip;
    nest->owner = owns_strip ? nest : nest->parent->owner;
    if (owns_strip) {
        nest->row = row;
        nest->col = col;
        nest->strip = bit(row) | bit(col);
        int64_t cols = col < 0 ? 1 : extent[col];
        int64_t blocks = (cols + STRIP - 1) / STRIP;
        nest->col_block = blocks > 0 ? (cols + blocks - 1) / blocks : 1;
        nest->row_block = row < 0 ? 1 : STRIP / nest->col_block;
        if (row >= 0 && nest->row_block > extent[row])
            nest->row_block = extent[row] > 0 ? extent[row] : 1;
    }
    for (int a = 0; a < c->work->definition->axis_count; a++)
        if (nest->bound & bit(a) & ~(owns_strip ? nest->strip : 0))
            nest->loop[nest->loop_count++] = a;
    nest->levels = ARENA_ARRAY(c->arena, Level, (size_t)nest->loop_count + 2);
    return nest->levels != NULL;
}

static int64_t blocks_of(int64_t extent, int64_t block) {
    return extent / block + (extent % block != 0);
}

int64_t eval_nest_count(const Work *work, const Nest *nest, int64_t counts[KERNEL_MAX_AXES + 2]) {
    int loops = nest->loop_count;
    for (int l = 0; l < loops; l++)
        counts[l] = work->extent[nest->loop[l]];
    counts[loops] = nest->owns_strip && nest->row >= 0 ? blocks_of(work->extent[nest->row], nest->row_block) : 1;
    counts[loops + 1] = nest->owns_strip && nest->col >= 0 ? blocks_of(work->extent[nest->col], nest->col_block) : 1;
    int64_t total = 1;
    for (int l = 0; l < loops + 2; l++)
        if (counts[l] == 0)
            return 0;
    for (int l = 0; l < loops + 2; l++)
        if (!checked_mul(total, counts[l], &total))
            return INT64_MAX; /* it would not end anyway, so the deadline does */
    return total;
}

/* The outermost nest from which all that the expression depends on is bound. */
static Nest *home_of(Nest *nest, AxisSet axes) {
    while (nest->parent && (axes & ~nest->parent->reach) == 0)
        nest = nest->parent;
    return nest;
}

static int level_of(const Nest *nest, AxisSet axes) {
    if (nest->owns_strip && (axes & nest->strip))
        return nest->loop_count + 1;
    for (int l = nest->loop_count; l > 0; l--)
        if (axes & bit(nest->loop[l - 1]))
            return l;
    return 0;
}

/* ---- Steps ---- */

static int new_value(Compiler *c, const Nest *nest, int level, DType type, bool vector) {
    Program *p = c->program;
    if (!arena_grow(c->arena, &p->values, &p->value_capacity, p->value_count + 1, sizeof *p->values))
        return -1;
    size_t bytes = strip_size(type) * (vector ? STRIP : 1);
    p->values[p->value_count] = (Value){.type = type, .bytes = bytes, .nest = nest, .level = level};
    return (int)p->value_count++;
}

/* A step of this nest and level reads the value. */
static void use(Compiler *c, int value, const Nest *nest, int level, size_t place) {
    Value *v = &c->program->values[value];
    if (v->nest == nest && v->level == level)
        v->last = place;
    else
        v->escapes = true;
}

static bool append(Compiler *c, Nest *nest, int level, Step *step) {
    Level *list = &nest->levels[level];
    if (!arena_grow(c->arena, &list->steps, &list->capacity, list->count + 1, sizeof *list->steps))
        return false;
    for (int i = 0; i < 3; i++)
        if (step->in[i] >= 0)
            use(c, step->in[i], nest, level, list->count);
    for (int i = 0; step->kind == STEP_LOAD && i < step->access->gather_count; i++)
        use(c, step->access->gathers[i].value, nest, level, list->count);
    c->program->values[step->out].last = list->count;
    list->steps[list->count++] = *step;
    return true;
}

static bool is_vector(const Compiler *c, const Nest *nest, const Expr *e) {
    return (c->work->axes[e->id] & nest->strip) != 0;
}

/* Gathered indices become s64, whatever they are; negative ones and huge ones stay outside. */
static int index_value(Compiler *c, Nest *nest, const Expr *index) {
    int value = compile(c, nest, index);
    if (value < 0 || index->type == DT_S64)
        return value;
    bool vector = is_vector(c, nest, index);
    int level = level_of(nest, c->work->axes[index->id]);
    Step step = {.kind = STEP_UNARY, .type = DT_S64, .in = {value, -1, -1}, .vector = vector};
    step.unary = strip_cast(index->type, DT_S64);
    step.out = new_value(c, nest, level, DT_S64, vector);
    return step.out >= 0 && append(c, nest, level, &step) ? step.out : -1;
}

/* The access is copied, since values are this program's. */
static bool prepare_load(Compiler *c, Nest *nest, const Expr *e, Step *step) {
    const Access *shared = c->work->access[e->id];
    step->kind = STEP_LOAD;
    step->access = shared;
    if (shared->gather_count == 0)
        return true;
    Access *access = arena_copy(c->arena, shared, sizeof *shared);
    if (!access || !(access->gathers = arena_copy(c->arena, shared->gathers, (size_t)shared->gather_count * sizeof(Gather))))
        return false;
    for (int i = 0; i < access->gather_count; i++) {
        access->gathers[i].value = index_value(c, nest, access->gathers[i].index);
        if (access->gathers[i].value < 0)
            return false;
    }
    step->access = access;
    return true;
}

static bool prepare_operation(Compiler *c, Nest *nest, const Expr *e, Step *step) {
    for (int i = 0; i < 3 && e->arg[i]; i++) {
        step->in[i] = compile(c, nest, e->arg[i]);
        if (step->in[i] < 0)
            return false;
        step->uniform[i] = !is_vector(c, nest, e->arg[i]);
    }
    DType type = e->arg[0]->type;
    step->round = strip_type(e->type) != e->type && e->op != EXPR_CAST && e->op != EXPR_SELECT;
    if (e->op == EXPR_CAST) {
        step->kind = STEP_UNARY;
        step->unary = strip_cast(type, e->type);
    } else if (e->op == EXPR_SELECT) {
        step->kind = STEP_SELECT;
    } else if (expr_info[e->op].arity == 1) {
        step->kind = STEP_UNARY;
        step->unary = strip_unary(e->op, type);
    } else {
        step->kind = STEP_BINARY;
        step->binary = strip_binary(e->op, type);
    }
    return true;
}

/* ---- Reductions ---- */

/* How well would the axis do as a strip for what is read below `e`? In rough picoseconds an element. */
static double axis_price(const Compiler *c, const Expr *e, AxisSet within, int axis) {
    double price = 100;
    for (int i = 0; i < c->work->definition->expr_count; i++) {
        const Access *access = c->work->access[i];
        if (!access || !(c->work->axes[i] & within & c->work->axes[e->id]))
            continue;
        uint64_t stride = access->stride[axis];
        if (stride > 1)
            price += access->gather_count ? 1500 : stride + 1 <= 2 ? 500 : stride < 16 ? 1000 : 2500;
    }
    double length = (double)(c->work->extent[axis] < STRIP ? c->work->extent[axis] : STRIP);
    return price + 30000 / length;
}

static int best_axis(const Compiler *c, const Expr *operand, AxisSet among) {
    int best = -1;
    double least = 0;
    for (int a = 0; a < c->work->definition->axis_count; a++) {
        if (!(among & bit(a)))
            continue;
        double price = axis_price(c, operand, among, a);
        if (best < 0 || price < least)
            best = a, least = price;
    }
    return best;
}

static bool reduce_layout(Compiler *c, Nest *nest, const Expr *e) {
    if (nest->vector)
        return lay_out(c, nest, false, -1, -1);
    AxisSet among = nest->bound & c->work->axes[e->arg[0]->id];
    int col = best_axis(c, e->arg[0], among), row = -1;
    if (col >= 0 && !reduce_is_arg(e->reduce) && c->work->extent[col] * 4 <= STRIP)
        row = best_axis(c, e->arg[0], among & ~bit(col));
    return lay_out(c, nest, true, row, col);
}

static bool reduce_operands(Compiler *c, Nest *nest, const Expr *e) {
    const Expr *x = e->arg[0], *y = NULL;
    nest->finish = FINISH_ACCUMULATE;
    if (x->op == EXPR_MUL && reduce_can_multiply(e->reduce, x->type)) {
        nest->finish = FINISH_MULTIPLY_ADD;
        y = x->arg[1];
        x = x->arg[0];
    }
    nest->operand[0] = compile(c, nest, x);
    nest->operand[1] = y ? compile(c, nest, y) : -1;
    if (nest->operand[0] < 0 || (y && nest->operand[1] < 0))
        return false;
    c->program->values[nest->operand[0]].escapes = true;
    if (!y)
        return true;
    c->program->values[nest->operand[1]].escapes = true;
    bool vector_x = is_vector(c, nest, x), vector_y = is_vector(c, nest, y);
    nest->form = !vector_x && vector_y ? FORM_SV : vector_x && !vector_y ? FORM_VS : FORM_VV;
    return true;
}

static bool prepare_reduce(Compiler *c, Nest *home, int level, const Expr *e, Step *step) {
    AxisSet axes = 0;
    for (int i = 0; i < e->axis_count; i++)
        axes |= c->work->extent[e->axes[i]] != 1 ? bit(e->axes[i]) : 0;
    Nest *nest = step->nest = new_nest(c, home, axes);
    step->kind = STEP_REDUCE;
    if (!nest)
        return false;
    nest->reduce = e->reduce;
    nest->type = e->arg[0]->type;
    nest->vector = step->vector;
    nest->axis = e->axes[0];
    if (!reduce_layout(c, nest, e) || !reduce_operands(c, nest, e))
        return false;
    if (!reduce_is_arg(e->reduce) && reduce_sum_type(e->reduce, nest->type) == e->type)
        return true; /* the result's own buffer serves */
    nest->sums = new_value(c, home, level, reduce_sum_type(e->reduce, nest->type), step->vector);
    if (nest->sums >= 0)
        c->program->values[nest->sums].escapes = true;
    return nest->sums >= 0;
}

/* ---- Expressions ---- */

static bool prepare(Compiler *c, Nest *home, int level, const Expr *e, Step *step) {
    switch (e->op) {
    case EXPR_NUMBER:
        step->kind = STEP_CONST;
        step->number = eval_number_bits(e, e->type);
        return true;
    case EXPR_AXIS:
        step->kind = STEP_AXIS;
        step->axis = e->axis;
        return true;
    case EXPR_READ: return prepare_load(c, home, e, step);
    case EXPR_REDUCE: return prepare_reduce(c, home, level, e, step);
    default: return prepare_operation(c, home, e, step);
    }
}

/* The value of an expression used in `nest`; -1: out of memory. */
static int compile(Compiler *c, Nest *nest, const Expr *e) {
    Nest *home = home_of(nest, c->work->axes[e->id]);
    if (c->program->memo_capacity) {
        const Memo *known = memo_slot(c->program, home, e);
        if (known->nest)
            return known->value;
    }
    int level = level_of(home, c->work->axes[e->id]);
    Step step = {.type = e->type, .op = e->op, .in = {-1, -1, -1}, .axis = -1, .vector = is_vector(c, home, e)};
    if (!prepare(c, home, level, e, &step))
        return -1;
    step.out = new_value(c, home, level, e->type, step.vector);
    if (step.nest) {
        step.nest->result = step.out;
        if (step.nest->sums < 0)
            step.nest->sums = step.out;
    }
    return step.out >= 0 && append(c, home, level, &step) && memo_put(c, home, e, step.out) ? step.out : -1;
}

/* ---- Buffers ---- */

/* Steps of one level run one after another, so a buffer that nothing outside reads is used again after its last reader. */
static bool share_buffers(Compiler *c, const Nest *nest, const Level *list) {
    Program *p = c->program;
    size_t *owner = ARENA_ARRAY(c->arena, size_t, list->count + 1); /* slots: the last step that reads what is there */
    size_t slots = 0;
    size_t base[64];
    (void)nest;
    if (!owner)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        Value *v = &p->values[list->steps[i].out];
        size_t slot = 0;
        if (v->bytes <= 8 || v->escapes || list->steps[i].kind == STEP_REDUCE)
            slot = COUNT(base);
        while (slot < slots && owner[slot] >= i)
            slot++;
        if (slot >= COUNT(base)) {
            v->offset = p->buffer_bytes;
            p->buffer_bytes += (v->bytes + 63) / 64 * 64;
            continue;
        }
        if (slot == slots) {
            base[slots++] = p->buffer_bytes;
            p->buffer_bytes += STRIP * 8;
        }
        owner[slot] = v->last;
        v->offset = base[slot];
    }
    return true;
}

static bool place_buffers(Compiler *c, const Nest *nest) {
    int levels = nest->loop_count + 2;
    for (int l = 0; l < levels; l++) {
        if (!share_buffers(c, nest, &nest->levels[l]))
            return false;
        for (size_t i = 0; i < nest->levels[l].count; i++) {
            const Nest *inner = nest->levels[l].steps[i].nest;
            if (!inner)
                continue;
            if (inner->sums != inner->result) {
                c->program->values[inner->sums].offset = c->program->buffer_bytes;
                c->program->buffer_bytes += (c->program->values[inner->sums].bytes + 63) / 64 * 64;
            }
            if (!place_buffers(c, inner))
                return false;
        }
    }
    return true;
}

/* ---- Choosing the strip ---- */

/* The last step may write to the output itself if that is one piece of memory for every strip. */
static bool can_be_direct(const Compiler *c, const Nest *top) {
    const Work *work = c->work;
    const Expr *value = work->definition->value;
    const Access *out = &work->output;
    bool computed = value->op != EXPR_READ && value->op != EXPR_AXIS && value->op != EXPR_NUMBER;
    if (!computed || top->col < 0 || !is_vector(c, top, value) || strip_type(out->type) != out->type)
        return false;
    bool rows = top->row < 0 || out->stride[top->row] == (uint64_t)work->extent[top->col];
    return out->stride[top->col] == 1 && rows;
}

static Program *build(const Work *work, Arena *arena, int row, int col) {
    Program *p = ARENA_NEW(arena, Program);
    if (!p)
        return NULL;
    *p = (Program){.work = work, .arena = arena};
    Compiler c = {work, p, arena, row, col};
    p->top = new_nest(&c, NULL, work->parallel);
    if (!p->top || !lay_out(&c, p->top, true, row, col))
        return NULL;
    p->top->finish = FINISH_STORE;
    p->root = compile(&c, p->top, work->definition->value);
    if (p->root < 0)
        return NULL;
    p->values[p->root].escapes = true;
    p->top->vector = is_vector(&c, p->top, work->definition->value);
    p->direct = can_be_direct(&c, p->top);
    return place_buffers(&c, p->top) ? p : NULL;
}

enum { MAX_CHOICES = 24, LARGE = 200 };

typedef struct Choice {
    int row, col;
} Choice;

static bool unit_stride(const Work *work, int axis) {
    bool found = work->output.stride[axis] == 1;
    for (int i = 0; !found && i < work->definition->expr_count; i++)
        found = work->access[i] && work->access[i]->stride[axis] == 1;
    return found;
}

/* The natural one first: rows and columns of the output. */
static int list_choices(const Work *work, Choice *out) {
    int axes[KERNEL_MAX_AXES], count = 0, choices = 0;
    for (int a = work->definition->parallel_count - 1; a >= 0; a--)
        if (work->parallel & bit(a))
            axes[count++] = a;
    for (int i = 0; i < count; i++) {
        int col = axes[i];
        if (i > 0 && !unit_stride(work, col) && work->extent[col] < 8)
            continue;
        bool row_first = work->extent[col] * 4 <= STRIP;
        for (int k = 0; row_first && k < count && choices < MAX_CHOICES - 2; k++)
            if (k != i)
                out[choices++] = (Choice){axes[k], col};
        if (choices < MAX_CHOICES - 1)
            out[choices++] = (Choice){-1, col};
    }
    out[choices++] = (Choice){-1, -1};
    return choices;
}

Program *eval_program_new(const Work *work, Arena *arena) {
    Choice choices[MAX_CHOICES];
    int count = list_choices(work, choices);
    if (work->definition->expr_count > LARGE)
        count = 1;
    Program *best = NULL;
    double least = 0;
    for (int i = 0; i < count; i++) {
        Program *program = build(work, arena, choices[i].row, choices[i].col);
        if (!program)
            return NULL;
        double cost = count > 1 ? eval_program_cost(program) : 0;
        if (!best || cost < least)
            best = program, least = cost;
    }
    return best;
}
