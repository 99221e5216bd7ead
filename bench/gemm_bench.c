/* f32 matrix products through the notation, beside the BLAS libraries and the oneDNN found on this machine and the measured peak
 * of one core. As a network has constant weights, b is packed before the clock starts, by whet and by oneDNN; a BLAS packs it
 * each time.
 *
 *     gemm_bench [-s SECONDS] [-e EPILOGUE] [-p] [-k KNOBS] [-b] [-c COPIES] [M N K]...
 *
 * Each figure is the best of many short runs; whet, the peers and the peak loop take turns, so that a busy machine disturbs all
 * of them alike. `make` is the time from text to callable code, without packing the weights. -p leaves the peers out; -k takes
 * knobs as `whet bench --schedule` does; -b multiplies bf16, without peers; -c takes so many copies of the weights in turn, as a
 * model has them: enough of them come from memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "onednn.h"
#include "schedule/schedule.h"
#include "target/peak.h"

typedef void (*Sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static const int shapes[][3] = {{512, 512, 512},  {1024, 1024, 1024}, {128, 2048, 512}, {2048, 128, 512},
                                {128, 3072, 768}, {128, 768, 3072},   {128, 768, 768},  {32, 3072, 768},
                                {8, 3072, 768},   {1, 3072, 768},     {64, 64, 64},     {50, 1000, 333}};

enum { ONEDNN, OPENBLAS, BLIS, PEERS };
static const struct {
    const char *name, *library;
} peer_names[PEERS] = {
    [ONEDNN] = {"oneDNN", NULL}, [OPENBLAS] = {"OpenBLAS", "libopenblas.so.0"}, [BLIS] = {"BLIS", "libblis.so.4"}};

/* What of them is installed; the others stay NULL. */
typedef struct Peers {
    Onednn *onednn;
    Sgemm sgemm[PEERS];
    bool here[PEERS];
} Peers;

/* Time that this thread has run: what other processes take on a busy machine is no part of it. */
static double spent(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *filled(size_t n, int mod) {
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)((int)(i % (size_t)mod) - (int)(mod / 2)) * .1f;
    return p;
}

enum { MOST_COPIES = 256 };

typedef struct Case {
    Arena arena;
    Compiled *compiled[MOST_COPIES];
    float *a, *b, *c, *bias, *residual;
    double make_seconds;
    void *data[KERNEL_MAX_TENSORS];
} Case;

static ScheduleKnobs knobs; /* of -k */
static bool bf16;           /* -b: a is bf16, b is f32 and rounded to bf16 where it is packed, as models have it */
static int copies = 1;      /* -c */

static bool make_kernel(Case *x, const Target *target, const char *epilogue, const int *mnk, const void *weights,
                        whet_error *err) {
    char text[512];
    const char *why = NULL;
    snprintf(text, sizeof text, "%s", epilogue);
    int64_t m = mnk[0], n = mnk[1], k = mnk[2];
    KernelArg args[] = {{"a", bf16 ? DT_BF16 : DT_F32, 2, (int64_t[]){m, k}}, {"b", DT_F32, 2, (int64_t[]){k, n}}};
    double start = clock_now();
    Kernel *kernel = kernel_parse(&x->arena, text, strlen(text), err);
    const KernelConst consts[] = {{.name = "m", .integer = m}, {.name = "n", .integer = n}};
    if (!kernel || kernel_bind(kernel, args, 2, consts, 2, err) != WHET_OK)
        return false;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    constant[kernel_find_tensor(kernel, "b")] = weights;
    ScheduleOptions options = {
        .constant = constant, .mr = knobs.mr, .nv = knobs.nv, .kc = knobs.kc, .mc = knobs.mc, .unroll = knobs.unroll};
    for (int i = 0; i < (weights ? copies : 1); i++)
        if (schedule_compile(kernel, target, &options, &x->compiled[i], &why, err) != WHET_OK)
            return false;
    x->make_seconds = clock_now() - start;
    for (int t = 0; t < kernel->tensor_count; t++) {
        const char *name = kernel->tensors[t].name;
        x->data[t] = !strcmp(name, "a")      ? x->a
                     : !strcmp(name, "b")    ? x->b
                     : !strcmp(name, "c")    ? x->c
                     : !strcmp(name, "bias") ? x->bias
                                             : x->residual;
    }
    return true;
}

static void free_kernel(Case *x) {
    for (int i = 0; i < copies; i++)
        compiled_free(x->compiled[i]);
    arena_free(&x->arena);
}

static double time_make(const Target *target, const char *epilogue, const int *mnk) {
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        Case x = {0};
        whet_error err;
        arena_init(&x.arena, NULL);
        if (make_kernel(&x, target, epilogue, mnk, NULL, &err) && x.make_seconds < best)
            best = x.make_seconds;
        free_kernel(&x);
    }
    return best;
}

static void load_peers(Peers *peers) {
    peers->onednn = onednn_load();
    peers->here[ONEDNN] = peers->onednn != NULL;
    for (int i = 0; i < PEERS; i++) {
        const char *name = peer_names[i].library;
        void *library = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : NULL,
             *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
        if (symbol)
            memcpy(&peers->sgemm[i], &symbol, sizeof symbol), peers->here[i] = true;
    }
}

typedef struct Best {
    double whet, peer[PEERS]; /* seconds of the fastest run */
    double peak;              /* GFLOP/s */
} Best;

static void run_peer(const Peers *peers, int i, const int *mnk, const Case *x) {
    if (i == ONEDNN)
        onednn_run(peers->onednn);
    else
        peers->sgemm[i](101, 111, 111, mnk[0], mnk[1], mnk[2], 1, x->a, mnk[2], x->b, mnk[1], 0, x->c, mnk[1]);
}

/* Small products many times between two looks at the clock, which costs about as much as one; each copy as often. */
static int times_of(const int *mnk) {
    double flops = 2.0 * mnk[0] * mnk[1] * mnk[2] * copies;
    return (flops < 2e7 ? (int)(2e7 / flops) + 1 : 1) * copies;
}

static void time_whet(Case *x, int times, Best *best) {
    whet_error err;
    double start = spent();
    for (int i = 0; i < times; i++)
        compiled_run(x->compiled[i % copies], x->data, NULL, &err);
    double took = (spent() - start) / times;
    best->whet = took < best->whet ? took : best->whet;
}

static void time_peer(const Peers *peers, int i, const int *mnk, const Case *x, int times, double *best) {
    double start = spent();
    for (int t = 0; t < times; t++)
        run_peer(peers, i, mnk, x);
    double took = (spent() - start) / times;
    *best = took < *best ? took : *best;
}

/* All take turns in stretches of 5 ms, of which each first run only brings its data into the caches. */
static void race(Case *x, const Peers *peers, const int *mnk, Peak *peak, double seconds, Best *best) {
    whet_error err;
    int times = times_of(mnk);
    *best = (Best){.whet = 1e9};
    for (double start = clock_now(); clock_now() - start < seconds;) {
        double gflops = peak_run(peak), stretch = clock_now();
        best->peak = gflops > best->peak ? gflops : best->peak;
        compiled_run(x->compiled[0], x->data, NULL, &err);
        do
            time_whet(x, times, best);
        while (clock_now() - stretch < 5e-3);
        for (int i = 0; i < PEERS; i++) {
            if (!peers->here[i])
                continue;
            stretch = clock_now();
            run_peer(peers, i, mnk, x);
            best->peer[i] = best->peer[i] > 0 ? best->peer[i] : 1e9;
            do
                time_peer(peers, i, mnk, x, times, &best->peer[i]);
            while (clock_now() - stretch < 5e-3);
        }
    }
}

/* One row of the table; false: no kernel, and `err` says why. */
static bool measure(const int *mnk, const char *text, const Target *target, Peers *peers, Peak *peak, double seconds,
                    whet_error *err) {
    size_t m = (size_t)mnk[0], n = (size_t)mnk[1], k = (size_t)mnk[2];
    Case x = {.a = filled(m * k, 13),
              .b = filled(k * n, 7),
              .c = filled(m * n, 3),
              .bias = filled(n, 5),
              .residual = filled(m * n, 11)};
    arena_init(&x.arena, NULL);
    for (size_t i = 0; bf16 && i < m * k; i++) { /* half of the memory */
        uint16_t half = f32_to_bf16(x.a[i]);
        memcpy((char *)x.a + 2 * i, &half, sizeof half);
    }
    bool fine = make_kernel(&x, target, text, mnk, x.b, err);
    peers->here[ONEDNN] = peers->onednn && onednn_product(peers->onednn, mnk[0], mnk[1], mnk[2], x.a, x.b, x.c);
    if (fine) {
        Best best;
        char name[40];
        double flops = 2.0 * (double)m * (double)n * (double)k;
        race(&x, peers, mnk, peak, seconds, &best);
        snprintf(name, sizeof name, "%zu x %zu x %zu", m, n, k);
        printf("%-20s %8.1f %5.1f%% %8.1f", name, flops / best.whet * 1e-9, flops / best.whet * 1e-7 / best.peak,
               1e6 * time_make(target, text, mnk));
        for (int i = 0; i < PEERS; i++)
            if (peers->here[i])
                printf(" %9.1f", flops / best.peer[i] * 1e-9);
            else if (i == ONEDNN && peers->onednn)
                printf(" %9s", "refused");
        printf("  %5.1f\n", best.peak);
        fflush(stdout);
    }
    free_kernel(&x);
    free(x.a), free(x.b), free(x.c), free(x.bias), free(x.residual);
    return fine;
}

int main(int argc, char **argv) {
    double seconds = .3;
    bool with_peers = true;
    whet_error err = {0};
    const char *text = "c[m, n] = sum(k) a[m, k] * b[k, n]";
    for (int option; (option = getopt(argc, argv, "s:e:pk:bc:")) != -1;) {
        if (option == 's')
            seconds = atof(optarg);
        else if (option == 'e')
            text = optarg;
        else if (option == 'p')
            with_peers = false;
        else if (option == 'b') {
            bf16 = true;
            with_peers = false;
            text = "c[m, n] = sum(k) f32(a[m, k]) * f32(bf16(b[k, n]))";
        } else if (option == 'c') {
            copies = atoi(optarg);
            if (copies < 1 || copies > MOST_COPIES)
                return fprintf(stderr, "gemm_bench: copies from 1 to %d, not %s\n", MOST_COPIES, optarg), 2;
            with_peers = false;
        } else if (option == 'k') {
            if (schedule_parse_knobs(optarg, &knobs, &err) != WHET_OK)
                return fprintf(stderr, "gemm_bench: %s\n", err.message), 2;
        } else
            return 2;
    }
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    setenv("BLIS_NUM_THREADS", "1", 1);
    Target target;
    Peers peers = {0};
    if (!target_host(~UINT64_C(0), &target))
        return fprintf(stderr, "gemm: no code generator for this machine\n"), 1;
    if (with_peers)
        load_peers(&peers);
    Peak *peak = peak_new(&target, bf16 && target.dot2 ? PEAK_BF16 : PEAK_F32, NULL);
    printf("%s\n%-20s %8s %6s %8s", text, "m x n x k", "whet", "%peak", "make us");
    for (int i = 0; i < PEERS; i++)
        if (peers.here[i])
            printf(" %9s", peer_names[i].name);
    printf("   peak\n");
    bool fine = true;
    for (int i = optind; fine && i + 2 < argc; i += 3) {
        int mnk[] = {atoi(argv[i]), atoi(argv[i + 1]), atoi(argv[i + 2])};
        fine = measure(mnk, text, &target, &peers, peak, seconds * (with_peers ? 3 : 1), &err);
    }
    for (size_t s = 0; optind == argc && fine && s < COUNT(shapes); s++)
        fine = measure(shapes[s], text, &target, &peers, peak, seconds * (with_peers ? 3 : 1), &err);
    if (!fine)
        fprintf(stderr, "gemm: %s\n", err.message);
    onednn_free(peers.onednn);
    peak_free(peak);
    return !fine;
}
