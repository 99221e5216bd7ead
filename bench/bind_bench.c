/* What a session pays for sizes that it has not met: a model's symbolic dimensions take random extents, no two alike, and each is
 * run twice.
 *
 *     bind_bench [-t THREADS] [-n SIZES] [-w WARM] [-r SEED] [-v] MODEL SYMBOL=LOW-HIGH|SYMBOL=EXTENT|INPUT.DIM=...
 *
 * A dimension without a name is INPUT.DIM (x.2). Others are 1. The first WARM sizes teach the session (plan.md, new sizes) and
 * are left out of the table, and it ends early where all sizes have come: one that comes again costs nothing. `bind` is the time
 * from sizes to a plan that can run, `code` its part in which templates plan and make machine code; the rest is shapes and
 * putting the plan together. `felt` is the first run less the second: what memory that is touched for the first time costs is in
 * it, and the machine's noise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

enum { MOST_SYMBOLS = 16, MOST_SIZES = 4096, MOST_INPUTS = 16, RUNS = 2 };

typedef struct Symbol {
    const char *name;
    int64_t low, high, now;
} Symbol;

typedef struct Bench {
    whet_options options;
    int sizes, warm;
    unsigned seed;
    bool prints;
    Symbol symbol[MOST_SYMBOLS];
    int symbol_count;
    whet_model *model;
    whet_session *session;
    void *data[MOST_INPUTS];
    size_t bytes[MOST_INPUTS];
    whet_error err;
} Bench;

typedef struct Sample {
    double bind, code, felt, run; /* seconds */
    double made;                  /* kernels asked of templates */
} Sample;

static bool fail(const Bench *b) {
    fprintf(stderr, "bind_bench: %s\n", b->err.message);
    return false;
}

/* NAME=LOW-HIGH or NAME=EXTENT. */
static bool read_symbol(Bench *b, char *text) {
    char *value = strchr(text, '='), *end;
    if (!value || b->symbol_count == MOST_SYMBOLS)
        return false;
    *value++ = 0;
    Symbol *s = &b->symbol[b->symbol_count++];
    *s = (Symbol){.name = text, .low = strtoll(value, &end, 10)};
    s->high = *end == '-' ? strtoll(end + 1, &end, 10) : s->low;
    return !*end && s->low > 0 && s->high >= s->low;
}

static int64_t extent_of(const Bench *b, const whet_value_info *input, int dim) {
    char own[256];
    snprintf(own, sizeof own, "%s.%d", input->name, dim);
    for (int i = 0; i < b->symbol_count; i++)
        if (strcmp(b->symbol[i].name, own) == 0 || strcmp(b->symbol[i].name, input->symbols[dim]) == 0)
            return b->symbol[i].now;
    return 1;
}

static bool give_inputs(Bench *b) {
    for (int i = 0; i < whet_model_input_count(b->model); i++) {
        whet_value_info info;
        if (i == MOST_INPUTS || whet_model_input(b->model, i, &info))
            return fail(b);
        whet_tensor t = {.type = info.type, .rank = info.rank};
        for (int d = 0; d < info.rank; d++)
            t.dims[d] = info.dims[d] >= 0 ? info.dims[d] : extent_of(b, &info, d);
        t.bytes = (size_t)whet_tensor_count(&t) * (whet_type_bits(t.type) / 8);
        if (t.bytes > b->bytes[i]) {
            free(b->data[i]);
            b->data[i] = calloc(1, b->bytes[i] = t.bytes);
        }
        t.data = b->data[i];
        if (!t.data || whet_session_set_input(b->session, info.name, &t, &b->err))
            return fail(b);
    }
    return true;
}

/* What getting ready of one kind has taken up to now. */
static whet_event startup(const Bench *b, const char *kind) {
    whet_event e = {0};
    for (int i = 0; whet_model_startup(b->model, i, &e) == WHET_OK; i++)
        if (strcmp(e.kind, kind) == 0)
            return e;
    return (whet_event){0};
}

static bool measure(Bench *b, Sample *out) {
    double took[RUNS];
    whet_event plan = startup(b, "plan"), code = startup(b, "compile");
    if (!give_inputs(b))
        return false;
    for (int k = 0; k < RUNS; k++) {
        double start = clock_now();
        if (whet_session_run(b->session, &b->err))
            return fail(b);
        took[k] = clock_now() - start;
    }
    whet_event code_now = startup(b, "compile");
    *out = (Sample){.bind = startup(b, "plan").seconds - plan.seconds,
                    .code = code_now.seconds - code.seconds,
                    .made = code_now.flops - code.flops,
                    .felt = took[0] - took[RUNS - 1],
                    .run = took[RUNS - 1]};
    return true;
}

/* Sizes that did not come yet. False: there are hardly any left. */
static bool next_sizes(Bench *b, char *seen, int64_t seen_count) {
    enum { ATTEMPTS = 1000 };
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int64_t place = 0;
        for (int i = 0; i < b->symbol_count; i++) {
            Symbol *s = &b->symbol[i];
            b->seed = b->seed * 1103515245u + 12345u;
            s->now = s->low + (int64_t)(b->seed >> 8) % (s->high - s->low + 1);
            place = place * (s->high - s->low + 1) + s->now - s->low;
        }
        if (!seen[place % seen_count]) {
            seen[place % seen_count] = 1;
            return true;
        }
    }
    return false;
}

static int by_bind(const void *a, const void *b) {
    double x = ((const Sample *)a)->bind, y = ((const Sample *)b)->bind;
    return (x > y) - (x < y);
}

static int by_felt(const void *a, const void *b) {
    double x = ((const Sample *)a)->felt, y = ((const Sample *)b)->felt;
    return (x > y) - (x < y);
}

static void print_table(Sample *all, int count) {
    static const struct {
        const char *name;
        double at;
    } rows[] = {{"first decile", .1}, {"median", .5}, {"ninth decile", .9}, {"worst", 1}};
    int below = 0;
    Sample sum = {0}, *felt = malloc((size_t)count * sizeof *felt);
    if (!felt || !count)
        return;
    memcpy(felt, all, (size_t)count * sizeof *felt);
    qsort(all, (size_t)count, sizeof *all, by_bind);
    qsort(felt, (size_t)count, sizeof *felt, by_felt);
    for (int i = 0; i < count; i++) {
        below += all[i].bind < 1e-3;
        sum.bind += all[i].bind;
        sum.code += all[i].code;
        sum.made += all[i].made;
    }
    printf("| ms | bind | felt |\n|---|---|---|\n");
    for (size_t r = 0; r < COUNT(rows); r++) {
        int at = (int)(rows[r].at * (count - 1) + .5);
        printf("| %s | %.3f | %.3f |\n", rows[r].name, all[at].bind * 1e3, felt[at].felt * 1e3);
    }
    printf("%d sizes, %d %% below 1 ms; mean %.3f ms, of it code %.3f, of %.1f kernels\n", count, below * 100 / count,
           sum.bind / count * 1e3, sum.code / count * 1e3, sum.made / count);
    free(felt);
}

static bool run_all(Bench *b) {
    int64_t places = 1;
    for (int i = 0; i < b->symbol_count && places < 1 << 20; i++)
        places *= b->symbol[i].high - b->symbol[i].low + 1;
    char *seen = calloc(1, (size_t)places);
    Sample *all = calloc(MOST_SIZES, sizeof *all);
    bool fine = seen && all;
    int count = 0;
    for (int i = 0; fine && i < b->warm + b->sizes && next_sizes(b, seen, places); i++) {
        Sample s = {0};
        fine = measure(b, &s);
        if (b->prints)
            printf("%s %4lld: bind %.3f, code %.3f of %.0f, felt %.3f, run %.2f ms\n", i < b->warm ? "warm" : "new ",
                   (long long)b->symbol[0].now, s.bind * 1e3, s.code * 1e3, s.made, s.felt * 1e3, s.run * 1e3);
        if (i >= b->warm)
            all[count++] = s;
    }
    if (fine)
        print_table(all, count);
    free(seen);
    free(all);
    return fine;
}

int main(int argc, char **argv) {
    static Bench b = {.options = {.threads = 1}, .sizes = 100, .warm = 20, .seed = 1};
    for (int option; (option = getopt(argc, argv, "t:n:w:r:v")) != -1;) {
        switch (option) {
        case 't': b.options.threads = atoi(optarg); break;
        case 'n': b.sizes = atoi(optarg); break;
        case 'w': b.warm = atoi(optarg); break;
        case 'r': b.seed = (unsigned)atoi(optarg); break;
        case 'v': b.prints = true; break;
        default: return 2;
        }
    }
    const char *path = optind < argc ? argv[optind++] : NULL;
    bool fine = path && b.sizes > 0 && b.sizes <= MOST_SIZES && b.warm >= 0;
    for (; fine && optind < argc; optind++)
        fine = read_symbol(&b, argv[optind]);
    if (!fine)
        return fprintf(stderr, "usage: bind_bench [-t THREADS] [-n SIZES] [-w WARM] [-r SEED] [-v] MODEL SYMBOL=LOW-HIGH...\n"),
               2;
    if (whet_model_load(path, &b.options, &b.model, &b.err) || whet_session_new(b.model, &b.options, &b.session, &b.err))
        return fail(&b), 1;
    fine = run_all(&b);
    whet_session_free(b.session);
    whet_model_free(b.model);
    for (int i = 0; i < MOST_INPUTS; i++)
        free(b.data[i]);
    return fine ? 0 : 1;
}
