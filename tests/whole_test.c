/* Whole models (tests/whole/NAME.txt: a transformer, convolutions, recurrent, quantized) through the public interface: the same
 * bits for any number of threads and any batch, fused or not, in first and later runs; memory flat over thousands of shapes; two
 * sessions at once; memory and code memory that fail. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "child.h"
#include "countdown.h"
#include "file.h"
#include "target/target.h"
#include "text_model.h"

/* Sanitizers, and emulators (tools/test-arm64.sh). */
static bool is_slow(void) {
#ifdef SANITIZED
    return true;
#else
    return getenv("WHET_TEST_HERE_ALONE") != NULL;
#endif
}

static const char *const models[] = {"attention", "transformer", "convolutions", "recurrent", "quantized"};

/* ---- Models and runs ---- */

static double scale_of(void *context, const char *name, const Type *type) {
    (void)context, (void)name;
    double terms = 1; /* matrices and filters keep the size of what passes through */
    for (int d = 1; d < type->rank; d++)
        terms *= (double)type->dims[d];
    return type->rank > 1 ? 1.7 / sqrt(terms) : 1;
}

static whet_model *load(const char *name, const whet_options *options, whet_error *err) {
    char path[256];
    snprintf(path, sizeof path, "tests/whole/%s.txt", name);
    size_t length;
    char *text = file_read(path, &length);
    if (!text)
        fail_msg("%s cannot be read", path);
    whet_model *model = text_model_load(text, length, scale_of, NULL, 7, options, err);
    free(text);
    return model;
}

static whet_model *must_load(const char *name, const whet_options *options) {
    whet_error err = {0};
    whet_model *model = load(name, options, &err);
    if (!model)
        fail_msg("%s: %s", name, err.message);
    return model;
}

/* Input `i` with these extents for the symbols, the first for the batch; row b of it is drawn by seed + b. */
static whet_tensor make_input(const whet_model *model, int i, int64_t batch, int64_t other, uint64_t seed) {
    whet_value_info info;
    assert_int_equal(whet_model_input(model, i, &info), WHET_OK);
    whet_tensor t = {.type = info.type, .rank = info.rank};
    for (int d = 0; d < t.rank; d++)
        t.dims[d] = info.dims[d] >= 0 ? info.dims[d] : d == 0 ? batch : other;
    t.bytes = (size_t)whet_tensor_count(&t) * whet_type_bits(t.type) / 8;
    t.data = malloc(t.bytes + 1);
    assert_non_null(t.data);
    for (int64_t b = 0; b < batch; b++) {
        whet_tensor row = t;
        row.dims[0] = 1;
        row.bytes = t.bytes / (size_t)batch;
        row.data = (char *)t.data + (size_t)b * row.bytes;
        text_model_fill(&row, 1, (seed + (uint64_t)b) * 1000 + (uint64_t)i);
    }
    return t;
}

static whet_status feed_and_run(whet_session *session, const whet_model *model, int64_t batch, int64_t other, uint64_t seed,
                                whet_error *err) {
    enum { INPUTS = 4 };
    whet_status status = WHET_OK;
    void *data[INPUTS] = {NULL}; /* which a session borrows */
    assert_true(whet_model_input_count(model) <= INPUTS);
    for (int i = 0; !status && i < whet_model_input_count(model); i++) {
        whet_value_info info;
        whet_tensor input = make_input(model, i, batch, other, seed);
        data[i] = input.data;
        whet_model_input(model, i, &info);
        status = whet_session_set_input(session, info.name, &input, err);
    }
    if (!status)
        status = whet_session_run(session, err);
    for (int i = 0; i < INPUTS; i++)
        free(data[i]);
    return status;
}

/* Copies of all outputs, one behind the other, and the bytes of a row of each. */
typedef struct Answer {
    char *data;
    size_t bytes, row[4], start[4];
    int count;
} Answer;

static Answer answer_of(whet_session *session, const whet_model *model) {
    Answer a = {.count = whet_model_output_count(model)};
    whet_tensor out[4];
    whet_error err;
    assert_true(a.count <= 4);
    for (int o = 0; o < a.count; o++) {
        assert_int_equal(whet_session_output(session, o, &out[o], &err), WHET_OK);
        a.start[o] = a.bytes;
        a.row[o] = out[o].dims[0] ? out[o].bytes / (size_t)out[o].dims[0] : 0;
        a.bytes += out[o].bytes;
    }
    a.data = malloc(a.bytes + 1);
    assert_non_null(a.data);
    for (int o = 0; o < a.count; o++)
        memcpy(a.data + a.start[o], out[o].data, out[o].bytes);
    return a;
}

static double packed_weights(const whet_model *model) {
    whet_event event;
    double count = 0;
    for (int i = 0; whet_model_startup(model, i, &event) == WHET_OK; i++)
        count += strcmp(event.kind, "pack") == 0 ? event.flops : 0;
    return count;
}

static Answer run(const whet_model *model, const whet_options *options, int64_t batch, int64_t other, uint64_t seed) {
    whet_session *session = NULL;
    whet_error err = {0};
    if (whet_session_new(model, options, &session, &err) != WHET_OK ||
        feed_and_run(session, model, batch, other, seed, &err) != WHET_OK)
        fail_msg("%s", err.message);
    Answer a = answer_of(session, model);
    int runs = 1;
    for (double packed = -1; packed != packed_weights(model); runs++) { /* now with more and more packed weights */
        packed = packed_weights(model);
        if (feed_and_run(session, model, batch, other, seed, &err) != WHET_OK)
            fail_msg("%s", err.message);
        Answer again = answer_of(session, model);
        if (again.bytes != a.bytes || memcmp(again.data, a.data, a.bytes) != 0)
            fail_msg("batch %lld: other bits in run %d", (long long)batch, runs + 1);
        free(again.data);
    }
    whet_session_free(session);
    return a;
}

/* ---- The same bits ---- */

static void check_bits(const char *name, const whet_model *model, whet_options *options) {
    enum { BATCH = 5, OTHER = 19 };
    options->threads = 1;
    Answer all = run(model, options, BATCH, OTHER, 100);
    for (int threads = 2; threads <= 5; threads++) {
        options->threads = threads;
        Answer again = run(model, options, BATCH, OTHER, 100);
        assert_int_equal(again.bytes, all.bytes);
        if (memcmp(again.data, all.data, all.bytes) != 0)
            fail_msg("%s%s: other bits with %d threads", name, options->no_fuse ? ", node by node" : "", threads);
        free(again.data);
    }
    for (int b = 0; b < BATCH; b++) {
        options->threads = 1 + b % 3;
        Answer alone = run(model, options, 1, OTHER, 100 + (uint64_t)b);
        for (int o = 0; o < all.count; o++)
            if (memcmp(alone.data + alone.start[o], all.data + all.start[o] + (size_t)b * all.row[o], all.row[o]) != 0)
                fail_msg("%s%s: output %d of row %d has other bits alone than among %d", name,
                         options->no_fuse ? ", node by node" : "", o, b, BATCH);
        free(alone.data);
    }
    free(all.data);
}

static void threads_and_neighbours_change_no_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++)
        for (int no_fuse = 0; no_fuse < 2; no_fuse++) {
            whet_options options = {.no_fuse = no_fuse};
            whet_model *model = must_load(models[i], &options);
            check_bits(models[i], model, &options);
            whet_model_free(model);
        }
}

/* ---- No elements ---- */

/* Whatever one kernel hands to the next is empty: no arena is taken, and what sums over nothing is 0. */
static void a_sum_over_nothing_is_zero(void **state) {
    static const char text[] = "ir 8\nopset 18\ngraph \"empty\" {\n  in %x: f32[batch, other, 4]\n"
                               "  constant %axes: s64[1] = {1}\n"
                               "  %z: ? = Abs(%x)\n  %y: ? = ReduceSum(%z, %axes)\n  out %y\n}\n";
    (void)state;
    for (int no_fuse = 0; no_fuse < 2; no_fuse++) {
        whet_options options = {.no_fuse = no_fuse};
        whet_error err = {0};
        whet_model *model = text_model_load(text, strlen(text), scale_of, NULL, 7, &options, &err);
        if (!model)
            fail_msg("%s", err.message);
        Answer a = run(model, &options, 2, 0, 100);
        assert_int_equal(a.bytes, 2 * 4 * sizeof(float));
        for (size_t i = 0; i < 2 * 4; i++)
            assert_true(((const float *)(const void *)a.data)[i] == 0);
        free(a.data);
        whet_model_free(model);
    }
}

/* ---- Memory over many shapes ---- */

/* Bytes that the process has in memory; 0: not known here. */
static long resident(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages[2] = {0, 0};
    if (file && fscanf(file, "%ld %ld", &pages[0], &pages[1]) != 2)
        pages[1] = 0;
    if (file)
        fclose(file);
    return pages[1] * sysconf(_SC_PAGESIZE);
}

/* Many runs of random shapes, of 512 possible ones; then the 16 largest, so that the plans that are kept are not smaller by
 * chance. */
static void run_many_shapes(whet_session *session, const whet_model *model, int count, uint64_t *random) {
    enum { LARGEST = 16 };
    whet_error err = {0};
    for (int i = 0; i < count; i++) {
        bool settle = i >= count - LARGEST;
        int64_t batch = settle ? 8 : 1 + (int64_t)(text_model_random(random) % 8);
        int64_t sequence = settle ? 64 - LARGEST + 1 + i % LARGEST : 1 + (int64_t)(text_model_random(random) % 64);
        if (feed_and_run(session, model, batch, sequence, *random, &err) != WHET_OK)
            fail_msg("%lld x %lld: %s", (long long)batch, (long long)sequence, err.message);
    }
}

/* After 10,000 shapes as much is held as after the first tenth: a kilobyte lost a shape would be nine megabytes. */
static void memory_is_flat_over_ten_thousand_shapes(void **state) {
    (void)state;
    Countdown counted = {.left = -1};
    whet_allocator allocator = countdown_allocator(&counted);
    whet_options options = {.allocator = &allocator, .threads = 1};
    whet_error err = {0};
    whet_session *session = NULL;
    whet_model *model = must_load("attention", &options);
    assert_int_equal(whet_session_new(model, &options, &session, &err), WHET_OK);
    uint64_t random = 1;
    int shapes = is_slow() ? 320 : 10000;
    run_many_shapes(session, model, shapes / 10, &random);
    long held = counted.bytes, resident_then = resident();
    run_many_shapes(session, model, shapes - shapes / 10, &random);
    print_message("held %ld KiB, then %ld; resident %ld KiB, then %ld\n", held >> 10, (long)counted.bytes >> 10,
                  resident_then >> 10, resident() >> 10);
    if (!is_slow()) { /* sanitizers keep what was freed, and few shapes do not fill what is kept */
        assert_true(counted.bytes <= held + held / 10);
        assert_true(resident() <= resident_then + (2 << 20));
    }
    whet_session_free(session);
    whet_model_free(model);
    assert_int_equal(counted.out, 0);
}

/* ---- Sessions at once ---- */

typedef struct Worker {
    const whet_model *model;
    int which;
    const char *wrong;
} Worker;

enum { ROUNDS = 12, WORKERS = 2 };

static int64_t batch_of(int round) {
    return 1 + round % 3;
}

static int64_t other_of(int round) {
    return 9 + 5 * (round % 4);
}

static void *work(void *context) {
    Worker *w = context;
    whet_options options = {.threads = 1 + w->which};
    whet_session *session = NULL;
    whet_error err = {0};
    if (whet_session_new(w->model, &options, &session, &err) != WHET_OK)
        return NULL;
    w->wrong = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        int own = (round + 5 * w->which) % ROUNDS; /* in another order than the other */
        if (feed_and_run(session, w->model, batch_of(own), other_of(own), (uint64_t)own, &err) != WHET_OK) {
            w->wrong = "a run failed";
            break;
        }
        Answer got = answer_of(session, w->model), alone = run(w->model, &options, batch_of(own), other_of(own), (uint64_t)own);
        if (got.bytes != alone.bytes || memcmp(got.data, alone.data, got.bytes) != 0)
            w->wrong = "two sessions give other bits than one";
        free(got.data);
        free(alone.data);
    }
    whet_session_free(session);
    return NULL;
}

static void sessions_in_two_threads_share_a_model(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++) {
        whet_model *model = must_load(models[i], NULL);
        Worker workers[WORKERS];
        pthread_t threads[WORKERS];
        for (int w = 0; w < WORKERS; w++) {
            workers[w] = (Worker){.model = model, .which = w, .wrong = "it did not begin"};
            assert_int_equal(pthread_create(&threads[w], NULL, work, &workers[w]), 0);
        }
        for (int w = 0; w < WORKERS; w++)
            pthread_join(threads[w], NULL);
        for (int w = 0; w < WORKERS; w++)
            if (workers[w].wrong)
                fail_msg("%s: %s", models[i], workers[w].wrong);
        whet_model_free(model);
    }
}

/* ---- Failures ---- */

static whet_status load_and_run(const char *name, const whet_options *options, Answer *answer, whet_error *err) {
    whet_session *session = NULL;
    whet_model *model = load(name, options, err);
    whet_status status = model ? whet_session_new(model, options, &session, err) : err->status;
    for (int shape = 0; !status && shape < 2; shape++)
        status = feed_and_run(session, model, 2, 9 + 4 * shape, 3, err);
    if (!status)
        *answer = answer_of(session, model);
    whet_session_free(session);
    whet_model_free(model);
    return status;
}

static void every_failing_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    const long slower = is_slow() ? 10 : 1;
    for (size_t i = 0; i < COUNT(models); i++) {
        Answer right = {0};
        whet_error err = {0};
        assert_int_equal(load_and_run(models[i], &(whet_options){.threads = 2}, &right, &err), WHET_OK);
        long left = 0, failures = 0;
        for (bool done = false; !done; left += slower * (1 + left / 30)) {
            Countdown counted = {.left = left};
            whet_allocator allocator = countdown_allocator(&counted);
            whet_options options = {.allocator = &allocator, .threads = 2};
            Answer answer = {0};
            whet_status status = load_and_run(models[i], &options, &answer, &err);
            if (status && status != WHET_ERROR_MEMORY)
                fail_msg("%s, allocation %ld: %s: %s", models[i], left, whet_status_name(status), err.message);
            if (!status && (answer.bytes != right.bytes || memcmp(answer.data, right.data, right.bytes) != 0))
                fail_msg("%s, allocation %ld fails, and the answer is wrong", models[i], left);
            if (counted.out != 0)
                fail_msg("%s, allocation %ld: %ld blocks are not given back", models[i], left, (long)counted.out);
            failures += status != WHET_OK;
            done = counted.left >= 0; /* it never came to that */
            free(answer.data);
        }
        print_message("%s: %ld failures among %ld allocations\n", models[i], failures, left);
        assert_true(failures > 20 / slower);
        free(right.data);
    }
}

static bool close_enough(const Answer *a, const Answer *b) {
    for (size_t i = 0; a->bytes == b->bytes && i < a->bytes / sizeof(float); i++) {
        double x = (double)((const float *)(const void *)a->data)[i], y = (double)((const float *)(const void *)b->data)[i];
        if (!(fabs(x - y) <= 1e-4 * (1 + fabs(y))))
            return false;
    }
    return a->bytes == b->bytes;
}

/* Where no memory becomes executable: right answers without, and an error that says so where a target is asked for by name. */
static int refused(const void *context) {
    (void)context;
    Answer right = {0}, answer = {0};
    whet_error err = {0};
    whet_cpu cpu = {0};
    Target target;
    whet_options options = {.threads = 2};
    if (!target_host(~UINT64_C(0), &target) || load_and_run("transformer", &options, &right, &err) || !child_refuses_code())
        return CHILD_CANNOT;
    if (load_and_run("transformer", &options, &answer, &err) ||
        !close_enough(&answer, &right)) /* the evaluator rounds elsewhere */
        return 1;
    if (whet_cpu_query(&cpu, &err) || !strstr(cpu.no_code, "--target c"))
        return 2;
    options.target = target.name;
    whet_status status = load_and_run("transformer", &options, &answer, &err);
    print_message("%s: %s\n", whet_status_name(status), err.message);
    return status == WHET_ERROR_UNSUPPORTED && strstr(err.message, "executable") ? 0 : 3;
}

static void no_code_may_run(void **state) {
    (void)state;
    in_child(refused, NULL);
}

int main(void) {
    cmocka_set_test_filter(getenv("WHET_TEST")); /* a pattern of names: these alone */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_code_may_run), /* before there are threads: a child of an emulator with threads hangs */
        cmocka_unit_test(threads_and_neighbours_change_no_bit),
        cmocka_unit_test(a_sum_over_nothing_is_zero),
        cmocka_unit_test(memory_is_flat_over_ten_thousand_shapes),
        cmocka_unit_test(sessions_in_two_threads_share_a_model),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
