/* Runs a program: loops around steps on strips. */
#include <string.h>

#include "kernel/eval.h"

static bool run_strips(Context *c, const Nest *nest, int64_t begin, int64_t end);

/* ---- The time limit ---- */

enum { BUDGET = 1 << 18 };

static bool look_at_clock(Context *c) {
    c->budget = BUDGET;
    if (c->deadline <= 0 || clock_now() < c->deadline)
        return true;
    c->fault = (Fault){.status = WHET_ERROR_LIMIT};
    return false;
}

/* ---- Steps ---- */

static void run_axis(Context *c, const Step *step, const Nest *nest) {
    int64_t *out = c->at_value[step->out], first = c->at[step->axis];
    if (!step->vector) {
        *out = first;
        return;
    }
    bool along_row = step->axis == nest->col;
    for (size_t r = 0, i = 0; r < c->strip.rows; r++)
        for (size_t col = 0; col < c->strip.cols; col++)
            out[i++] = first + (int64_t)(along_row ? col : r);
}

static void run_select(Context *c, const Step *step, size_t n) {
    const uint8_t *condition = c->at_value[step->in[0]];
    const void *a = c->at_value[step->in[1]], *b = c->at_value[step->in[2]];
    size_t size = strip_size(step->type);
    bool one_a = step->uniform[1], one_b = step->uniform[2];
    if (!step->uniform[0]) {
        strip_select(size, c->at_value[step->out], condition, a, b, n, one_a, one_b);
        return;
    }
    const void *chosen = *condition ? a : b;
    if (*condition ? one_a : one_b)
        strip_fill(size, c->at_value[step->out], chosen, n);
    else
        memcpy(c->at_value[step->out], chosen, n * size);
}

static bool run_reduce(Context *c, const Step *step) {
    const Nest *nest = step->nest;
    int64_t counts[KERNEL_MAX_AXES + 2];
    int64_t total = eval_nest_count(c->program->work, nest, counts);
    size_t n = step->vector ? c->strip.count : 1;
    void *out = c->at_value[step->out];
    void *sums = c->at_value[nest->sums];
    Strip strip = c->strip;
    reduce_begin(nest->reduce, nest->type, sums, n);
    if (reduce_is_arg(nest->reduce))
        strip_zero(DT_S64, out, n);
    bool fine = run_strips(c, nest, 0, total);
    c->strip = strip;
    if (sums != out && !reduce_is_arg(nest->reduce))
        reduce_end(nest->reduce, nest->type, out, sums, n);
    return fine;
}

static bool run_step(Context *c, const Step *step, const Nest *nest) {
    size_t n = step->vector ? c->strip.count : 1;
    void *out = c->at_value[step->out];
    switch (step->kind) {
    case STEP_CONST: memcpy(out, &step->number, strip_size(step->type)); break;
    case STEP_AXIS: run_axis(c, step, nest); break;
    case STEP_LOAD: return step->vector ? eval_load_strip(c, step, nest) : eval_load_one(c, step);
    case STEP_UNARY: step->unary(out, c->at_value[step->in[0]], n); break;
    case STEP_BINARY: {
        StripForm form = !step->vector ? FORM_VV : step->uniform[0] ? FORM_SV : step->uniform[1] ? FORM_VS : FORM_VV;
        step->binary(out, c->at_value[step->in[0]], c->at_value[step->in[1]], n, form);
        break;
    }
    case STEP_SELECT: run_select(c, step, n); break;
    case STEP_REDUCE: return run_reduce(c, step);
    }
    if (step->round)
        strip_round(step->type, out, n);
    return true;
}

static bool run_level(Context *c, const Nest *nest, int level) {
    const Level *list = &nest->levels[level];
    for (size_t i = 0; i < list->count; i++)
        if (!run_step(c, &list->steps[i], nest->owner))
            return false;
    return true;
}

/* ---- Innermost ---- */

static void accumulate_arg(Context *c, const Nest *nest) {
    void *best = c->at_value[nest->sums];
    int64_t *index = c->at_value[nest->result];
    (nest->vector ? reduce_arg_strip : reduce_arg_across)(nest->reduce, nest->type, best, index, c->at_value[nest->operand[0]],
                                                          c->strip.count, c->at[nest->axis]);
}

static void finish(Context *c, const Nest *nest) {
    if (nest->finish == FINISH_STORE) {
        if (!c->program->direct)
            eval_store_strip(c, &c->program->work->output, nest, c->program->root, !nest->vector);
        return;
    }
    if (reduce_is_arg(nest->reduce)) {
        accumulate_arg(c, nest);
        return;
    }
    const void *x = c->at_value[nest->operand[0]];
    void *sums = c->at_value[nest->sums];
    size_t n = c->strip.count;
    if (nest->finish == FINISH_ACCUMULATE)
        (nest->vector ? reduce_strip : reduce_across)(nest->reduce, nest->type, sums, x, n);
    else
        (nest->vector ? reduce_multiply_strip : reduce_multiply_across)(nest->type, sums, x, c->at_value[nest->operand[1]], n,
                                                                        nest->form);
}

/* ---- Loops ---- */

static size_t block_length(int64_t extent, int64_t block, int64_t index) {
    int64_t left = extent - index * block;
    return (size_t)(left < block ? left : block);
}

static void set_strip(Context *c, const Nest *nest, int64_t row, int64_t col) {
    const int64_t *extent = c->program->work->extent;
    c->strip = (Strip){1, 1, 1};
    if (nest->row >= 0) {
        c->at[nest->row] = row * nest->row_block;
        c->strip.rows = block_length(extent[nest->row], nest->row_block, row);
    }
    if (nest->col >= 0) {
        c->at[nest->col] = col * nest->col_block;
        c->strip.cols = block_length(extent[nest->col], nest->col_block, col);
    }
    c->strip.count = c->strip.rows * c->strip.cols;
}

/* Runs the levels from `level` in, after loop `level` - 1 has moved on. */
static bool run_levels(Context *c, const Nest *nest, int level, const int64_t *index) {
    for (; level <= nest->loop_count; level++) {
        if (level > 0)
            c->at[nest->loop[level - 1]] = index[level - 1];
        if (!run_level(c, nest, level))
            return false;
    }
    if (!nest->owns_strip)
        return true;
    set_strip(c, nest, index[nest->loop_count], index[nest->loop_count + 1]);
    if (c->program->direct && nest == c->program->top)
        c->at_value[c->program->root] = eval_output_address(c, &c->program->work->output);
    return run_level(c, nest, nest->loop_count + 1);
}

static bool run_strips(Context *c, const Nest *nest, int64_t begin, int64_t end) {
    int64_t counts[KERNEL_MAX_AXES + 2], index[KERNEL_MAX_AXES + 2];
    int loops = nest->loop_count + 2;
    if (begin >= end)
        return true;
    eval_nest_count(c->program->work, nest, counts);
    for (int64_t l = loops - 1, rest = begin; l >= 0; l--) {
        index[l] = rest % counts[l];
        rest /= counts[l];
    }
    for (int level = 0;; begin++) {
        if (!run_levels(c, nest, level, index))
            return false;
        finish(c, nest);
        c->budget -= (int64_t)c->strip.count + 32;
        if (c->budget < 0 && !look_at_clock(c))
            return false;
        if (begin + 1 == end)
            return true;
        int l = loops - 1;
        while (++index[l] == counts[l])
            index[l--] = 0;
        level = l < nest->loop_count ? l + 1 : nest->loop_count + 1;
    }
}

bool eval_program_run(Context *context, int64_t begin, int64_t end) {
    return run_strips(context, context->program->top, begin, end);
}
