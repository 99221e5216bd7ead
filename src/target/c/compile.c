/* The C target as a Target: its code is text. */
#include <stdlib.h>
#include <string.h>

#include "target/c/c.h"

struct TargetCode {
    Text text; /* of all functions */
};

static void c_free(TargetCode *code) {
    if (!code)
        return;
    text_free(&code->text);
    free(code);
}

static whet_status c_compile(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed,
                             TargetCode **out, whet_error *err) {
    (void)target;
    (void)seed; /* C has no registers to choose */
    *out = NULL;
    TargetCode *code = calloc(1, sizeof *code);
    if (!code)
        return error_memory(err);
    text_init(&code->text);
    whet_status status = WHET_OK;
    for (int i = 0; i < count && !status; i++)
        status = c_print_function(functions[i], "kernel", i, &code->text, err);
    if (status)
        c_free(code);
    else
        *out = code;
    return status;
}

/* None: drivers interpret the vector code. */
static TargetEntry c_entry(const TargetCode *code, int function) {
    (void)code;
    (void)function;
    return NULL;
}

static void c_print(const TargetCode *code, Text *out) {
    text_put(out, code->text.data);
}

static size_t c_size(const TargetCode *code) {
    return code->text.length;
}

bool target_c(int bytes, Target *out) {
    if (bytes != 32 && bytes != 64)
        return false;
    *out = (Target){.name = bytes == 32 ? "c" : "c64", /* caches stay unknown: the text is the same on every machine */
                    .bytes = bytes,
                    .dot4_us = true,
                    .lookup = bytes == 64,
                    .dot4_ss = true,
                    .compile = c_compile,
                    .entry = c_entry,
                    .print = c_print,
                    .size = c_size,
                    .free = c_free};
    out->registers[CLASS_VECTOR] = bytes == 32 ? 16 : 32;
    out->registers[CLASS_MASK] = 7;
    out->registers[CLASS_INDEX] = 64; /* C has as many as it likes */
    return true;
}

static uint64_t no_features(void) {
    return 0;
}

static bool no_host(uint64_t features, Target *out) {
    (void)features;
    (void)out;
    return false;
}

static bool by_name(const char *name, Target *out) {
    return strcmp(name, "c") == 0 ? target_c(32, out) : strcmp(name, "c64") == 0 && target_c(64, out);
}

const TargetFamily c_family = {.names = "c, c64", .features = no_features, .host = no_host, .named = by_name};
