/* What a program would take, in rough nanoseconds: enough to choose between strips, and whether threads are worth it. */
#include "kernel/eval.h"

typedef struct Coster {
    const Work *work;
    double elements; /* of the strip in force, on average */
    double rows;
    int row, col;
} Coster;

static double nest_cost(Coster strip, const Nest *nest);

/* By operation, an element. */
static double operation_cost(ExprOp op) {
    switch (op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
    case EXPR_MIN:
    case EXPR_MAX:
    case EXPR_NEG:
    case EXPR_ABS:
    case EXPR_SELECT:
    case EXPR_CAST: return 0.3;
    case EXPR_DIV:
    case EXPR_SQRT: return 0.8;
    case EXPR_POW:
    case EXPR_FMOD:
    case EXPR_MOD: return 15;
    default: return expr_info[op].types[0] == 'F' ? 8 : 0.5;
    }
}

static uint64_t stride_of(const Access *access, int axis) {
    return axis < 0 ? 0 : access->stride[axis];
}

static double load_cost(const Coster *strip, const Step *step) {
    const Access *access = step->access;
    uint64_t col = stride_of(access, strip->col), row = stride_of(access, strip->row);
    double price = 6 + 2.0 * access->check_count;
    bool converts = strip_type(access->type) != access->type;
    if (!step->vector)
        return price;
    if (access->gather_count)
        return price + 3 * strip->elements;
    bool one_piece =
        access->check_count == 0 && col == 1 && (strip->rows <= 1 || row == (uint64_t)strip->work->extent[strip->col]);
    if (converts)
        price += 2.5 * strip->elements;
    else if (one_piece)
        return price;
    price += (access->check_count ? 8 : 3) * strip->rows;
    if (col > 1)
        price += (col + 1 <= 2 ? 0.5 : col < 16 ? 1.0 : 2.5) * strip->elements;
    else
        price += 0.15 * strip->elements;
    return price;
}

static double step_cost(const Coster *strip, const Step *step) {
    double elements = step->vector ? strip->elements : 1;
    switch (step->kind) {
    case STEP_CONST: return 1;
    case STEP_AXIS: return 5 + 0.3 * elements;
    case STEP_LOAD: return load_cost(strip, step);
    case STEP_REDUCE: return 25 + (step->vector ? 0.8 * elements : 0) + nest_cost(*strip, step->nest);
    default: return 5 + operation_cost(step->op) * elements + (step->round ? 4 * elements : 0);
    }
}

static double finish_cost(const Coster *strip, const Nest *nest) {
    if (nest->finish != FINISH_STORE)
        return 6 + (nest->vector ? 0.6 : 0.5) * strip->elements;
    const Access *out = &strip->work->output;
    uint64_t stride = stride_of(out, strip->col);
    return 6 + 2 * strip->rows + (stride == 1 ? 0.1 : 1.5) * strip->elements;
}

static double nest_cost(Coster strip, const Nest *nest) {
    int64_t counts[KERNEL_MAX_AXES + 2];
    double total = (double)eval_nest_count(strip.work, nest, counts), times = 1, cost = 0;
    if (nest->owns_strip) {
        double rows = nest->row < 0 ? 1 : (double)strip.work->extent[nest->row];
        double cols = nest->col < 0 ? 1 : (double)strip.work->extent[nest->col];
        double blocks = (double)counts[nest->loop_count] * (double)counts[nest->loop_count + 1];
        strip.rows = counts[nest->loop_count] ? rows / (double)counts[nest->loop_count] : 0;
        strip.elements = blocks > 0 ? rows * cols / blocks : 0;
        strip.row = nest->row;
        strip.col = nest->col;
    }
    for (int l = 0; l < nest->loop_count + 2; l++) {
        if (l == nest->loop_count + 1)
            times = total;
        else if (l > 0)
            times *= (double)counts[l - 1];
        for (size_t i = 0; i < nest->levels[l].count; i++)
            cost += times * step_cost(&strip, &nest->levels[l].steps[i]);
    }
    return cost + total * (4 + finish_cost(&strip, nest));
}

double eval_program_cost(const Program *program) {
    Coster strip = {program->work, 1, 1, -1, -1};
    return nest_cost(strip, program->top);
}
