/* Loading models, and what people give for a model by mistake: known by its first bytes, it is called by its name. */
#include <string.h>

#include "cli.h"

static const struct {
    size_t offset;
    const char *bytes, *what;
} kinds[] = {
    {0, "version https://git-lfs", "a Git LFS pointer: 'git lfs pull' fetches the model itself"},
    {0, "<!DOCTYPE", "a web page: the download went wrong"},
    {0, "<!doctype", "a web page: the download went wrong"},
    {0, "<html", "a web page: the download went wrong"},
    {0, "PK\003\004", "a zip archive; PyTorch's .pt files are such, and torch.onnx.export turns a model into ONNX"},
    {0, "\037\213", "a file packed by gzip: unpack it first"},
    {0, "\x28\xb5\x2f\xfd", "a file packed by zstd: unpack it first"},
    {0, "\xfd\x37zXZ", "a file packed by xz: unpack it first"},
    {0, "\x89HDF", "an HDF5 file, as Keras writes; tf2onnx turns a model into ONNX"},
    {0, "GGUF", "a GGUF file; whet reads ONNX models"},
    {0, "\x93NUMPY", "a NumPy array: inputs are given as -i NAME=FILE.npy"},
    {4, "TFL3", "a TensorFlow Lite model; tf2onnx turns it into ONNX"},
    {4, "ORTM", "a model in onnxruntime's own format; whet reads the ONNX model that it was made from"},
};

bool explain_load(const char *path, const whet_error *error) {
    char start[64] = {0};
    FILE *file = error->status == WHET_ERROR_FORMAT ? fopen(path, "rb") : NULL;
    if (file) {
        size_t got = fread(start, 1, sizeof start - 1, file);
        fclose(file);
        for (size_t i = 0; i < CLI_COUNT(kinds); i++) {
            size_t length = strlen(kinds[i].bytes);
            if (got >= kinds[i].offset + length && memcmp(start + kinds[i].offset, kinds[i].bytes, length) == 0)
                return complain("%s: is no ONNX model, but %s", path, kinds[i].what);
        }
    }
    return complain("%s", error->message);
}

/* Where the library falls back on the evaluator, people should not have to guess why everything is slow. */
static void note_evaluator(const whet_options *options) {
    whet_cpu cpu;
    if (!options->target && whet_cpu_query(&cpu, NULL) == WHET_OK && *cpu.no_code)
        note("the evaluator runs all kernels, which is slow: %s", cpu.no_code);
}

bool load_model(const char *path, const whet_options *options, whet_model **out) {
    whet_error error = {0};
    progress_start("loading %s", path);
    whet_status status = whet_model_load(path, options, out, &error);
    progress_stop();
    if (status != WHET_OK)
        return explain_load(path, &error);
    note_evaluator(options);
    return true;
}
