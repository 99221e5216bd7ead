/* Profiles: where a run's time went, as a table for people and as a trace for Perfetto and chrome://tracing.
 *
 * Each kernel is held against the time that this machine would need at best: its operations at the measured peak, or its bytes at
 * the measured bandwidth of the smallest cache that holds them, whichever takes longer.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct Limits {
    whet_cpu_limits rate;
    whet_cpu cpu;
    int threads;
} Limits;

/* Equal kernels of one run, together. */
typedef struct Line {
    whet_event event; /* the first of them; times are sums */
    int count;
} Line;

static bool learn_limits(Limits *limits, int threads) {
    whet_error error = {0};
    limits->threads = threads;
    progress_start("measuring the machine's peak");
    bool fine = whet_cpu_query(&limits->cpu, &error) == WHET_OK && whet_cpu_measure(&limits->rate, &error) == WHET_OK;
    progress_stop();
    return fine || complain("%s", error.message);
}

static double peak_of(const Limits *limits, const char *shape) {
    const whet_cpu_limits *rate = &limits->rate;
    double peak = rate->peak_f32;
    if ((strncmp(shape, "u8", 2) == 0 || strncmp(shape, "s8", 2) == 0) && rate->peak_int8 > 0)
        peak = rate->peak_int8;
    if (strncmp(shape, "bf16", 4) == 0 && rate->peak_bf16 > 0)
        peak = rate->peak_bf16;
    return 1e9 * peak * limits->threads;
}

static double bandwidth_for(const Limits *limits, double bytes) {
    for (int level = 0; level < WHET_CACHE_LEVELS; level++) {
        int copies = limits->cpu.cache_shared_by[level] > 1 ? 1 : limits->threads;
        if (limits->rate.read_gbs[level] > 0 && bytes <= (double)limits->cpu.cache_bytes[level] * copies)
            return 1e9 * limits->rate.read_gbs[level] * limits->threads;
    }
    return 1e9 * limits->rate.read_gbs[WHET_CACHE_LEVELS];
}

/* Of the limit, 0 where there is none to tell. */
static double share_of_limit(const Limits *limits, const whet_event *event) {
    double peak = peak_of(limits, event->shape), bandwidth = bandwidth_for(limits, event->bytes);
    double least = peak > 0 ? event->flops / peak : 0;
    if (bandwidth > 0 && event->bytes / bandwidth > least)
        least = event->bytes / bandwidth;
    return event->seconds > 0 ? least / event->seconds : 0;
}

static bool same_work(const whet_event *a, const whet_event *b) {
    if (strcmp(a->kind, b->kind) != 0)
        return false;
    if (!*a->kernel)
        return strcmp(a->name, b->name) == 0;
    return strcmp(a->kernel, b->kernel) == 0 && strcmp(a->schedule, b->schedule) == 0;
}

static int slowest_first(const void *a, const void *b) {
    double first = ((const Line *)a)->event.seconds, second = ((const Line *)b)->event.seconds;
    return (first < second) - (first > second);
}

static Line *gather(const whet_session *session, int *count) {
    int events = whet_session_event_count(session);
    Line *lines = need(calloc((size_t)events + 1, sizeof *lines));
    *count = 0;
    for (int i = 0; i < events; i++) {
        whet_event event;
        if (whet_session_event(session, i, &event) != WHET_OK)
            continue;
        int at = 0;
        while (at < *count && !same_work(&lines[at].event, &event))
            at++;
        if (at == *count) {
            lines[(*count)++] = (Line){.event = event, .count = 1};
            continue;
        }
        lines[at].count++;
        lines[at].event.seconds += event.seconds;
        lines[at].event.flops += event.flops;
    }
    qsort(lines, (size_t)*count, sizeof *lines, slowest_first);
    return lines;
}

/* In one line, cut. */
static void print_cut(const char *text, int width) {
    for (; *text && width > 0; text++, width--)
        if (*text != '\n')
            putchar(*text);
        else if (text[1])
            putchar(' ');
    printf("%s", *text ? "..." : "");
}

static void print_line(const Line *line, const Limits *limits, double total) {
    const whet_event *e = &line->event;
    printf("%5.1f%% %10.1f us", 100 * e->seconds / total, 1e6 * e->seconds);
    if (*e->kernel) {
        whet_event one = *e;
        one.seconds /= line->count;
        one.flops /= line->count;
        printf(" %8.1f GFLOP/s %7.1f GB/s %4.0f%%", 1e-9 * e->flops / e->seconds, 1e-9 * e->bytes * line->count / e->seconds,
               100 * share_of_limit(limits, &one));
    } else {
        printf(" %8s         %7s      %5s", "", "", "");
    }
    printf("  %3d x  ", line->count);
    print_cut(e->name, 60);
    printf("\n%21s", "");
    if (*e->kernel) {
        print_cut(e->shape, 100);
        printf("\n%21s", "");
        print_cut(e->schedule, 160);
        putchar('\n');
    } else {
        printf("%s\n", strcmp(e->kind, "view") == 0 ? "a view: nothing is computed" : "runs as C");
    }
}

bool profile_print(const whet_session *session, int threads) {
    Limits limits = {0};
    if (!learn_limits(&limits, threads))
        return false;
    int count;
    Line *lines = gather(session, &count);
    double total = 0;
    for (int i = 0; i < count; i++)
        total += lines[i].event.seconds;
    printf("share         time       speed       bytes     limit  times  what\n");
    for (int i = 0; i < count; i++)
        print_line(&lines[i], &limits, total);
    printf("in all  %11.1f us; the limit is the measured peak of %d thread%s (%.1f GFLOP/s f32) or the bandwidth\n"
           "of the cache that holds a kernel's tensors, whichever takes longer\n",
           1e6 * total, threads, threads == 1 ? "" : "s", limits.rate.peak_f32 * threads);
    free(lines);
    return true;
}

double profile_packed(const whet_model *model) {
    whet_event event;
    for (int i = 0; whet_model_startup(model, i, &event) == WHET_OK; i++)
        if (strcmp(event.kind, "pack") == 0)
            return event.flops;
    return 0;
}

void profile_print_startup(const whet_model *model) {
    static const char *const unit[] = {"", "", "plans", "nodes", "kernels", "weights"};
    whet_event event;
    puts("getting ready");
    for (int i = 0; whet_model_startup(model, i, &event) == WHET_OK; i++) {
        printf("  %-10s %10.3f ms", event.kind, 1e3 * event.seconds);
        if (i < (int)(sizeof unit / sizeof *unit) && *unit[i])
            printf("  %.0f %s", event.flops, unit[i]);
        if (event.bytes > 0)
            printf(", %.1f MiB", event.bytes / 0x1p20);
        putchar('\n');
    }
}

static void write_event(Json *json, const whet_event *event, const Limits *limits) {
    json_open(json, NULL, '{');
    json_string(json, "name", event->name);
    json_string(json, "cat", event->kind);
    json_string(json, "ph", "X");
    json_number(json, "ts", 1e6 * event->start);
    json_number(json, "dur", 1e6 * event->seconds);
    json_number(json, "pid", 1);
    json_number(json, "tid", 1);
    if (*event->kernel) {
        json_open(json, "args", '{');
        json_string(json, "kernel", event->kernel);
        json_string(json, "shape", event->shape);
        json_string(json, "schedule", event->schedule);
        json_number(json, "GFLOP/s", 1e-9 * event->flops / event->seconds);
        json_number(json, "GB/s", 1e-9 * event->bytes / event->seconds);
        json_number(json, "percent of limit", 100 * share_of_limit(limits, event));
        json_close(json, '}');
    }
    json_close(json, '}');
}

bool profile_write(const char *path, const whet_session *session, int threads) {
    FILE *file = fopen(path, "w");
    Limits limits = {0};
    if (!file)
        return complain("cannot write '%s'", path);
    bool fine = learn_limits(&limits, threads);
    if (fine) {
        Json json = {file, true};
        json_open(&json, NULL, '{');
        json_string(&json, "displayTimeUnit", "ms");
        json_open(&json, "traceEvents", '[');
        for (int i = 0; i < whet_session_event_count(session); i++) {
            whet_event event;
            if (whet_session_event(session, i, &event) == WHET_OK)
                write_event(&json, &event, &limits);
        }
        json_close(&json, ']');
        json_close(&json, '}');
        fputc('\n', file);
    }
    if (fclose(file) != 0 && fine)
        return complain("cannot write '%s'", path);
    return fine;
}
