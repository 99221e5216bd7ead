/* whet check: will a model run here? If not, everything that stands in the way. */
#include <string.h>

#include "cli.h"

static int check_model(const char *path, const Common *common) {
    whet_error error = {0};
    char *report = NULL;
    progress_start("checking %s", path);
    whet_status status = whet_model_check(path, &common->options, &report, &error);
    progress_stop();
    if (report) {
        fputs(report, stdout);
        size_t length = strlen(report);
        if (length > 0 && report[length - 1] != '\n')
            putchar('\n');
    } else if (status != WHET_OK) {
        explain_load(path, &error);
    }
    whet_string_free(report);
    return status == WHET_OK ? STATUS_FINE : STATUS_FAILED;
}

static int check_main(Args *args) {
    Common common = {0};
    const char *value, *path = NULL;
    int status = STATUS_FINE;
    for (int id; status == STATUS_FINE && (id = args_next(args, &value)) != ARGS_END;) {
        if (id == ARGS_OPERAND && path)
            status = usage_error(args, "one model, please: '%s' is too much", value);
        else if (id == ARGS_OPERAND)
            path = value;
        else if (!common_option(args, &common, id, value))
            status = STATUS_USAGE;
    }
    if (status == STATUS_FINE)
        status = path ? check_model(path, &common) : usage_error(args, "which model?");
    common_free(&common);
    return status;
}

static const Option options[] = {OPTION_ROW_MEMORY_LIMIT, OPTION_ROW_END};

const Command command_check = {
    .name = "check",
    .operands = "MODEL",
    .summary = "tell what a model is, and everything in it that is not supported",
    .details = "Prints the model's inputs, outputs, opset and size, and every operator, version, type or attribute that is not\n"
               "supported, with its nodes. Exit status 1 if the model will not run.\n"
               "\n"
               "examples:\n"
               "  whet check model.onnx\n"
               "  for m in *.onnx; do whet check \"$m\" > /dev/null || echo \"$m\"; done\n",
    .options = options,
    .run = check_main,
};
