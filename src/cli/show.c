/* whet show: the text form of a stage, of a model or of a kernel written on the command line. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int print_text(whet_status status, char *text, const whet_error *error) {
    if (status != WHET_OK)
        return complain("%s", error->message), STATUS_FAILED;
    fputs(text, stdout);
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] != '\n')
        putchar('\n');
    whet_string_free(text);
    return STATUS_FINE;
}

static int show_kernel(const Args *args, const char *text, const char *stage, const Common *common, const KernelArgs *types) {
    whet_error error = {0};
    whet_kernel *kernel = NULL;
    char *shown = NULL;
    int result = kernel_compile(args, text, common, types, &kernel);
    if (result == STATUS_FINE) {
        whet_status status = whet_kernel_show(kernel, stage, &shown, &error);
        result = print_text(status, shown, &error);
    }
    whet_kernel_free(kernel);
    return result;
}

static int show_model(const Args *args, const char *path, const char *stage, Common *common) {
    whet_error error = {0};
    whet_model *model = NULL;
    char *shown = NULL;
    if (!load_model(path, &common->options, &model))
        return STATUS_FAILED;
    int result = check_dims(args, model, common);
    if (result == STATUS_FINE) {
        if (strcmp(stage, "graph") != 0) /* kernels have extents, where the graph has symbols */
            fill_dims(model, common);
        whet_status status = whet_model_show(model, stage, common->dims, common->dim_count, &shown, &error);
        result = print_text(status, shown, &error);
    }
    whet_model_free(model);
    return result;
}

static int show_main(Args *args) {
    Common common = {0};
    KernelArgs types = {0};
    const char *value, *subject = NULL, *stage = NULL;
    int status = STATUS_FINE;
    for (int id; status == STATUS_FINE && (id = args_next(args, &value)) != ARGS_END;) {
        if (id == ARGS_OPERAND && subject)
            status = usage_error(args, "one model or kernel, please: '%s' is too much", value);
        else if (id == ARGS_OPERAND)
            subject = value;
        else if (id == 's')
            stage = value;
        else if (id == 'a')
            status = kernel_args_add(&types, args, value);
        else if (!common_option(args, &common, id, value))
            status = STATUS_USAGE;
    }
    if (status == STATUS_FINE && !subject)
        status = usage_error(args, "which model or kernel?");
    if (status == STATUS_FINE && common.options.schedule && !is_kernel_text(subject))
        status = usage_error(args, "--schedule is for kernels; '%s' is none", subject);
    if (status == STATUS_FINE)
        status = is_kernel_text(subject) ? show_kernel(args, subject, stage ? stage : "kernel", &common, &types)
                                         : show_model(args, subject, stage ? stage : "graph", &common);
    kernel_args_free(&types);
    common_free(&common);
    return status;
}

static const Option options[] = {
    {'s', "stage", "STAGE",
     "of a model: graph (default), kernels or fused; of a kernel: kernel (default), schedule, vector, asm or c"},
    OPTION_ROW_DIM,
    OPTION_ROW_ARG,
    OPTION_ROW_THREADS,
    OPTION_ROW_TARGET,
    OPTION_ROW_PRECISION,
    OPTION_ROW_NO_FUSE,
    OPTION_ROW_SCHEDULE,
    OPTION_ROW_END,
};

const Command command_show = {
    .name = "show",
    .operands = "MODEL|KERNEL",
    .summary = "print a stage of a model or kernel on its way to machine code",
    .details =
        "An argument with '=' in it that is no file is a kernel, written in Whet's notation. Its tensors are f32 unless -a\n"
        "says otherwise, and its axes have the extents that -d gives.\n"
        "\n"
        "examples:\n"
        "  whet show model.onnx\n"
        "  whet show model.onnx --stage kernels -d batch=8\n"
        "  whet show 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=64 -d n=64 -d k=64 --stage asm\n"
        "  whet show 'y[i] = f32(x[i]) * 0.1' -d i=1000 -a x=u8 --stage vector\n",
    .options = options,
    .run = show_main,
};
