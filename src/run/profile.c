/* What a session's last run spent its time on, and what was spent on getting ready for it. Off unless whet_options.profile asks:
 * texts are made as events are noted, outside of what is timed. */
#include "run/profile.h"

#include <string.h>

#include "run/run.h"

struct Profile {
    const whet_allocator *allocator;
    Arena arena; /* of this run's events */
    whet_event *events;
    size_t count, capacity;
    double origin;
    bool failed; /* out of memory: events are missing */
};

Profile *profile_new(const whet_allocator *allocator) {
    Profile *p = memory_alloc(allocator, sizeof *p);
    if (!p)
        return NULL;
    *p = (Profile){.allocator = allocator};
    arena_init(&p->arena, allocator);
    return p;
}

void profile_free(Profile *p) {
    if (!p)
        return;
    arena_free(&p->arena);
    memory_free(p->allocator, p, sizeof *p);
}

void profile_start(Profile *p) {
    if (!p)
        return;
    arena_free(&p->arena);
    arena_init(&p->arena, p->allocator);
    p->events = NULL;
    p->count = p->capacity = 0;
    p->failed = false;
    p->origin = clock_now();
}

static whet_event *add(Profile *p, const char *kind, const char *name, double start, double end) {
    if (!arena_grow(&p->arena, &p->events, &p->capacity, p->count + 1, sizeof *p->events)) {
        p->failed = true;
        return NULL;
    }
    whet_event *event = &p->events[p->count];
    *event = (whet_event){.kind = kind,
                          .name = arena_string(&p->arena, name, strlen(name)),
                          .kernel = "",
                          .shape = "",
                          .schedule = "",
                          .start = start - p->origin,
                          .seconds = end - start};
    if (!event->name) {
        p->failed = true;
        return NULL;
    }
    p->count++;
    return event;
}

void profile_note(Profile *p, const char *kind, const char *name, double start) {
    if (p)
        add(p, kind, name, start, clock_now());
}

static const char *keep(Profile *p, Text *text) {
    const char *copy = text->failed ? NULL : arena_string(&p->arena, text->data, text->length);
    p->failed |= !copy;
    text_clear(text);
    return copy ? copy : "";
}

static void put_tensors(const Kernel *kernel, Role role, Text *out) {
    bool first = true;
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        if (tensor->role != role)
            continue;
        text_printf(out, "%s%s[", first ? "" : ", ", dtype_name(tensor->type));
        for (int d = 0; d < tensor->rank; d++)
            text_printf(out, "%s%lld", d ? ", " : "", (long long)tensor->dims[d]);
        text_char(out, ']');
        first = false;
    }
}

static bool is_gathered(const Kernel *kernel, int tensor) {
    for (int d = 0; d < kernel->definition_count; d++)
        for (int e = 0; e < kernel->definitions[d].expr_count; e++) {
            const Expr *read = kernel->definitions[d].exprs[e];
            if (expr_gathers(read) && read->tensor == tensor)
                return true;
        }
    return false;
}

static double bytes_of(const Kernel *kernel, Role role, double most_gathered) {
    double total = 0;
    for (int t = 0; t < kernel->tensor_count; t++) {
        size_t bytes = 0;
        if (kernel->tensors[t].role != role || !dtype_bytes(kernel->tensors[t].type, kernel->tensors[t].count, &bytes))
            continue;
        total += is_gathered(kernel, t) && (double)bytes > most_gathered ? most_gathered : (double)bytes;
    }
    return total;
}

/* Of a table that is gathered from, as much as the outputs hold. */
static double kernel_bytes(const Kernel *kernel) {
    double written = bytes_of(kernel, ROLE_OUTPUT, 0);
    return written + bytes_of(kernel, ROLE_INPUT, written);
}

void profile_note_kernel(Profile *p, const char *name, const Executable *executable, double start) {
    whet_event *event = p ? add(p, "kernel", name, start, clock_now()) : NULL;
    if (!event)
        return;
    const Kernel *kernel = executable->kernel;
    Text text;
    text_init(&text);
    kernel_print(kernel, &text);
    event->kernel = keep(p, &text);
    put_tensors(kernel, ROLE_INPUT, &text);
    text_put(&text, " -> ");
    put_tensors(kernel, ROLE_OUTPUT, &text);
    event->shape = keep(p, &text);
    if (executable->compiled)
        compiled_print_schedule(executable->compiled, &text);
    else
        text_printf(&text, "evaluator: %s", executable->why);
    event->schedule = keep(p, &text);
    event->flops = kernel->flops;
    event->bytes = kernel_bytes(kernel);
    text_free(&text);
}

int profile_count(const Profile *p) {
    return p ? (int)p->count : 0;
}

const whet_event *profile_event(const Profile *p, int index) {
    return &p->events[index];
}
