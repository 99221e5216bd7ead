/* Tests of sessions through the public interface, on the demo's network: shapes that change, wrong inputs, limits, threads,
 * failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "countdown.h"

static const char *const MODEL = "examples/doodles/doodles.onnx";

/* The model's first input with `batch` in place of every symbol, filled from a seed. Free data. */
static whet_tensor make_input(const whet_model *model, int64_t batch, uint32_t seed) {
    whet_value_info info;
    assert_int_equal(whet_model_input(model, 0, &info), WHET_OK);
    whet_tensor t = {.type = info.type, .rank = info.rank};
    for (int d = 0; d < t.rank; d++)
        t.dims[d] = info.dims[d] < 0 ? batch : info.dims[d];
    int64_t count = whet_tensor_count(&t);
    t.bytes = (size_t)count * whet_type_bits(t.type) / 8;
    t.data = malloc(t.bytes + 1);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        whet_tensor_set(&t, i, (double)(seed >> 8) / (1 << 24));
    }
    return t;
}

static const char *input_name(const whet_model *model) {
    whet_value_info info;
    assert_int_equal(whet_model_input(model, 0, &info), WHET_OK);
    return info.name;
}

static whet_model *load(const whet_options *options) {
    whet_error err;
    whet_model *model;
    if (whet_model_load(MODEL, options, &model, &err) != WHET_OK)
        fail_msg("%s", err.message);
    return model;
}

static whet_session *open_session(const whet_model *model, const whet_options *options) {
    whet_error err;
    whet_session *session;
    if (whet_session_new(model, options, &session, &err) != WHET_OK)
        fail_msg("%s", err.message);
    return session;
}

/* Runs on `input`; the first output's rows go to `out` (caller frees). */
static float *run(whet_session *session, const whet_model *model, const whet_tensor *input, whet_tensor *shape) {
    whet_error err;
    if (whet_session_set_input(session, input_name(model), input, &err) != WHET_OK ||
        whet_session_run(session, &err) != WHET_OK || whet_session_output(session, 0, shape, &err) != WHET_OK)
        fail_msg("%s", err.message);
    float *out = malloc(shape->bytes + 1);
    memcpy(out, shape->data, shape->bytes);
    return out;
}

static void the_answer_of_a_picture_does_not_depend_on_its_neighbours(void **state) {
    (void)state;
    whet_model *model = load(NULL);
    whet_session *session = open_session(model, NULL);
    whet_tensor many = make_input(model, 5, 7), shape;
    float *all = run(session, model, &many, &shape);
    assert_int_equal(shape.dims[0], 5);
    size_t row = shape.bytes / 5, picture = many.bytes / 5;
    for (int i = 0; i < 5; i++) {
        whet_tensor one = many;
        one.dims[0] = 1;
        one.bytes = picture;
        one.data = (char *)many.data + (size_t)i * picture;
        float *alone = run(session, model, &one, &shape);
        assert_memory_equal(alone, (char *)all + (size_t)i * row, row);
        free(alone);
    }
    free(all);
    free(many.data);
    whet_session_free(session);
    whet_model_free(model);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    whet_model *model = load(NULL);
    whet_tensor input = make_input(model, 9, 3), shape;
    float *reference = NULL;
    for (int threads = 1; threads <= 4; threads++) {
        whet_options options = {.threads = threads};
        whet_session *session = open_session(model, &options);
        float *out = run(session, model, &input, &shape);
        if (!reference)
            reference = out;
        else {
            assert_memory_equal(out, reference, shape.bytes);
            free(out);
        }
        whet_session_free(session);
    }
    free(reference);
    free(input.data);
    whet_model_free(model);
}

static void memory_stays_flat_over_many_shapes(void **state) {
    (void)state;
    whet_model *model = load(NULL);
    whet_session *session = open_session(model, NULL);
    size_t peak_of_nine = 0;
    uint32_t seed = 99;
    for (int i = 0; i < 200; i++) {
        seed = seed * 1664525u + 1013904223u;
        int64_t batch = i < 2 ? 9 : 1 + (int64_t)(seed >> 28);
        batch = batch > 9 ? 9 : batch;
        whet_tensor input = make_input(model, batch, seed), shape;
        free(run(session, model, &input, &shape));
        if (i == 1)
            peak_of_nine = whet_session_peak_bytes(session);
        else if (i > 1)
            assert_true(whet_session_peak_bytes(session) <= peak_of_nine);
        free(input.data);
    }
    whet_session_free(session);
    whet_model_free(model);
}

static void wrong_inputs_are_refused_and_the_session_lives_on(void **state) {
    (void)state;
    whet_error err;
    whet_model *model = load(NULL);
    whet_session *session = open_session(model, NULL);
    whet_tensor input = make_input(model, 1, 1), wrong = input, shape;
    assert_int_equal(whet_session_run(session, &err), WHET_ERROR_ARGUMENT); /* nothing given */
    assert_int_equal(whet_session_output(session, 0, &shape, &err), WHET_ERROR_ARGUMENT);
    assert_int_equal(whet_session_set_input(session, "no such input", &input, &err), WHET_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "no input 'no such input'; it has: "));
    assert_non_null(strstr(err.message, "no such input"));
    wrong.type = WHET_F64;
    assert_int_equal(whet_session_set_input(session, input_name(model), &wrong, &err), WHET_ERROR_ARGUMENT);
    wrong = input;
    wrong.rank--;
    assert_int_equal(whet_session_set_input(session, input_name(model), &wrong, &err), WHET_ERROR_ARGUMENT);
    wrong = input;
    wrong.dims[wrong.rank - 1]++;
    assert_int_equal(whet_session_set_input(session, input_name(model), &wrong, &err), WHET_ERROR_ARGUMENT);
    wrong = input;
    wrong.bytes--;
    assert_int_equal(whet_session_set_input(session, input_name(model), &wrong, &err), WHET_ERROR_ARGUMENT);
    wrong = input;
    wrong.dims[0] = INT64_MAX;
    assert_int_equal(whet_session_set_input(session, input_name(model), &wrong, &err), WHET_ERROR_ARGUMENT);
    free(run(session, model, &input, &shape));
    free(input.data);
    whet_session_free(session);
    whet_model_free(model);
}

static void limits_end_a_run_with_their_status(void **state) {
    (void)state;
    whet_error err;
    whet_model *model = load(NULL);
    whet_tensor input = make_input(model, 4, 1), shape;
    whet_options little = {.memory_limit = 4096}, hurry = {.time_limit = 1e-9};
    whet_session *session = open_session(model, &little);
    assert_int_equal(whet_session_set_input(session, input_name(model), &input, &err), WHET_OK);
    assert_int_equal(whet_session_run(session, &err), WHET_ERROR_MEMORY);
    assert_non_null(strstr(err.message, "4096"));
    whet_session_free(session);
    session = open_session(model, &hurry);
    assert_int_equal(whet_session_set_input(session, input_name(model), &input, &err), WHET_OK);
    assert_int_equal(whet_session_run(session, &err), WHET_ERROR_LIMIT);
    assert_int_equal(whet_session_output(session, 0, &shape, &err), WHET_ERROR_ARGUMENT);
    whet_session_free(session);
    free(input.data);
    whet_model_free(model);
}

typedef struct Worker {
    const whet_model *model;
    whet_tensor input;
    float *out;
    whet_tensor shape;
} Worker;

static void *work(void *context) {
    Worker *w = context;
    whet_options one = {.threads = 1};
    whet_session *session = NULL;
    whet_error err;
    if (whet_session_new(w->model, &one, &session, &err))
        return NULL;
    for (int i = 0; i < 20; i++) {
        if (whet_session_set_input(session, input_name(w->model), &w->input, &err) || whet_session_run(session, &err) ||
            whet_session_output(session, 0, &w->shape, &err))
            break;
        if (i == 19) {
            w->out = malloc(w->shape.bytes);
            memcpy(w->out, w->shape.data, w->shape.bytes);
        }
    }
    whet_session_free(session);
    return NULL;
}

static void sessions_in_two_threads_share_a_model(void **state) {
    (void)state;
    whet_model *model = load(NULL);
    Worker workers[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = (Worker){.model = model, .input = make_input(model, 3, 11)};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_non_null(workers[0].out);
    assert_non_null(workers[1].out);
    assert_memory_equal(workers[0].out, workers[1].out, workers[0].shape.bytes);
    for (int i = 0; i < 2; i++) {
        free(workers[i].input.data);
        free(workers[i].out);
    }
    whet_model_free(model);
}

/* Every allocation of load and run fails once: an error, no crash, nothing left behind. */
static void every_failing_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    bool done = false;
    long left = 0;
    for (; !done && left < 100000; left += 1 + left / 50) {
        Countdown countdown = {.left = left, .rest = true};
        whet_allocator allocator = countdown_allocator(&countdown);
        whet_options options = {.allocator = &allocator, .threads = 1};
        whet_error err;
        whet_model *model = NULL;
        whet_session *session = NULL;
        whet_status status = whet_model_load(MODEL, &options, &model, &err);
        if (!status)
            status = whet_session_new(model, &options, &session, &err);
        if (!status) {
            whet_tensor input = make_input(model, 2, 5);
            status = whet_session_set_input(session, input_name(model), &input, &err);
            if (!status)
                status = whet_session_run(session, &err);
            free(input.data);
        }
        if (status && status != WHET_ERROR_MEMORY)
            fail_msg("after %ld allocations: %s: %s", left, whet_status_name(status), err.message);
        done = !status;
        whet_session_free(session);
        whet_model_free(model);
        assert_int_equal(countdown.out, 0);
    }
    assert_true(done);
    print_message("load and run take about %ld allocations\n", left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_of_a_picture_does_not_depend_on_its_neighbours),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(memory_stays_flat_over_many_shapes),
        cmocka_unit_test(wrong_inputs_are_refused_and_the_session_lives_on),
        cmocka_unit_test(limits_end_a_run_with_their_status),
        cmocka_unit_test(sessions_in_two_threads_share_a_model),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
