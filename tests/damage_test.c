/* Real models, cut off at every byte and with bits flipped, through the whole way: read, inferred, run. Whatever happens is an
 * answer or an error with a message; a sanitizer watches. Half of the damage goes to the first and last KiB, where shapes, names
 * and nodes are rather than weights.
 *
 * WHET_SEED=N repeats a run, WHET_ROUNDS=N makes it longer. The demo's model is always there; those of ../shared only where that
 * folder is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file.h"
#include "whet.h"

enum { RIM = 1024, MOST_ELEMENTS = 1 << 20, PATH_BYTES = 4096 };

static const whet_options options = {.threads = 1, .memory_limit = (size_t)64 << 20, .time_limit = 0.5};

typedef struct Tally {
    int refused, failed, answered; /* at load, at run */
} Tally;

/* A tensor of zeros for an input, symbols being 1. NULL: too large. */
static void *zeros(const whet_value_info *info, whet_tensor *out) {
    *out = (whet_tensor){.type = info->type, .rank = info->rank < 0 ? 0 : info->rank};
    for (int d = 0; d < out->rank; d++)
        out->dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
    int64_t count = whet_tensor_count(out);
    if (count < 0 || count > MOST_ELEMENTS || info->type == WHET_STRING)
        return NULL;
    out->bytes = ((size_t)count * whet_type_bits(info->type) + 7) / 8;
    return out->data = calloc(1, out->bytes + 1);
}

static whet_status run(const whet_model *model, whet_error *err) {
    enum { INPUTS = 8 };
    void *data[INPUTS] = {0};
    whet_session *session = NULL;
    whet_status status = whet_session_new(model, &options, &session, err);
    for (int i = 0; status == WHET_OK && i < INPUTS && i < whet_model_input_count(model); i++) {
        whet_value_info info;
        whet_tensor tensor;
        status = whet_model_input(model, i, &info);
        data[i] = zeros(&info, &tensor);
        if (status == WHET_OK && data[i])
            status = whet_session_set_input(session, info.name, &tensor, err);
    }
    if (status == WHET_OK)
        status = whet_session_run(session, err);
    whet_session_free(session);
    for (int i = 0; i < INPUTS; i++)
        free(data[i]);
    return status;
}

/* In a block of its exact size, so that reading beyond it shows. */
static void try_bytes(const unsigned char *bytes, size_t length, Tally *tally) {
    unsigned char *copy = malloc(length ? length : 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, length);
    whet_error err = {0};
    whet_model *model = NULL;
    if (whet_model_load_memory(copy, length, NULL, &options, &model, &err) != WHET_OK)
        tally->refused++;
    else if (run(model, &err) != WHET_OK)
        tally->failed++;
    else
        tally->answered++;
    if (!model && (err.status == WHET_OK || !err.message[0])) {
        printf("an error without a message, at length %zu\n", length);
        abort();
    }
    whet_model_free(model);
    free(copy);
}

static size_t place(size_t length) {
    size_t at = (size_t)rand() * 32768u + (size_t)rand();
    if (length <= 2 * RIM || rand() % 2)
        return at % length;
    at %= 2 * RIM;
    return at < RIM ? at : length - (at - RIM) - 1;
}

static void damage(unsigned char *bytes, size_t length, int rounds, Tally *tally) {
    size_t step = length > 2 * RIM ? length / (2 * RIM) : 1;
    for (size_t cut = 0; cut < length; cut += cut < RIM || cut > length - RIM ? 1 : step)
        try_bytes(bytes, cut, tally);
    for (int i = 0; i < rounds; i++) {
        size_t at[4];
        unsigned char old[4];
        int flips = 1 + rand() % 4;
        for (int f = 0; f < flips; f++) {
            at[f] = place(length);
            old[f] = bytes[at[f]];
            bytes[at[f]] = rand() % 2 ? (unsigned char)rand() : (unsigned char)(old[f] ^ 1 << rand() % 8);
        }
        try_bytes(bytes, length, tally);
        while (flips--)
            bytes[at[flips]] = old[flips];
    }
}

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int run_file(const char *path, int rounds) {
    size_t length;
    unsigned char *bytes = (unsigned char *)file_read(path, &length);
    if (!bytes)
        return 0;
    Tally tally = {0};
    damage(bytes, length, rounds, &tally);
    printf("%s: %d refused, %d failed when run, %d answered\n", path, tally.refused, tally.failed, tally.answered);
    free(bytes);
    return 1;
}

int main(void) {
    static const char *const shared_models[] = {"onnx-node/test_if/model.onnx", "onnx-node/test_loop11/model.onnx",
                                                "onnx-node/test_resize_upsample_sizes_cubic/model.onnx",
                                                "onnx-node/test_lstm_with_peepholes/model.onnx",
                                                "onnx-node/test_gelu_tanh_1_expanded/model.onnx"};
    const char *shared = getenv("WHET_SHARED");
    int rounds = number("WHET_ROUNDS", 1000), passed = 0, skipped = 0;
    unsigned seed = (unsigned)number("WHET_SEED", (int)time(NULL));
    printf("WHET_SEED=%u\n", seed);
    srand(seed);
    passed += run_file("examples/doodles/doodles.onnx", rounds);
    for (size_t i = 0; i < sizeof shared_models / sizeof *shared_models; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", shared ? shared : "../shared", shared_models[i]);
        int here = run_file(path, rounds);
        passed += here;
        skipped += !here;
    }
    if (skipped)
        printf("%s is not here\n", shared ? shared : "../shared");
    printf("%d passed, %d failed, %d skipped\n", passed, passed ? 0 : 1, skipped);
    return passed == 0;
}
