/* What the drivers of templates (`*_run.c`) share: calling machine code, tasks on several threads, and ending early. */
#include "schedule/schedule.h"

whet_status compiled_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    EvalOptions all = options ? *options : (EvalOptions){0};
    if (!all.allocator)
        all.allocator = c->allocator;
    return c->run(c, data, &all, err);
}

TargetEntry schedule_entry(const Compiled *c, int function) {
    int at = c->first_function + function;
    return c->made ? c->target.entry(made_code(c->made[at]), 0) : c->target.entry(c->code, at);
}

void schedule_call(const Compiled *c, int function, const int64_t *arguments) {
    TargetEntry entry = schedule_entry(c, function);
    if (entry)
        entry(arguments);
    else
        vector_interpret(c->functions[function], arguments, 0, NULL);
}

int schedule_threads(const EvalOptions *options) {
    return options && options->parallel ? options->parallel->threads : 1;
}

bool schedule_divides(const EvalOptions *options, double work) {
    enum { WORTH_WAKING = 6000 };
    return work > WORTH_WAKING && schedule_threads(options) > 1;
}

void schedule_parallel(const EvalOptions *options, double work, size_t count, void (*task)(void *context, size_t i),
                       void *context) {
    if (count > 1 && schedule_divides(options, work)) {
        options->parallel->run(options->parallel->self, count, task, context);
        return;
    }
    for (size_t i = 0; i < count; i++)
        task(context, i);
}

bool stop_asked(const Stop *stop) {
    return atomic_load_explicit(&stop->late, memory_order_relaxed) ||
           atomic_load_explicit(&stop->no_memory, memory_order_relaxed);
}

bool stop_look(Stop *stop, const EvalOptions *options) {
    if (options->deadline > 0 && clock_now() > options->deadline)
        atomic_store(&stop->late, true);
    return stop_asked(stop);
}

void stop_no_memory(Stop *stop) {
    atomic_store(&stop->no_memory, true);
}

whet_status stop_status(const Stop *stop, whet_error *err) {
    if (atomic_load(&stop->no_memory))
        return error_memory(err);
    return atomic_load(&stop->late) ? error_late(err) : WHET_OK;
}
