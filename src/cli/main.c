/* whet: the command. Finds the subcommand, gives help, and makes sure that what was printed arrived.
 *
 * Exit status: 0 fine, 1 failed, 2 wrong usage.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const Command *const commands[] = {&command_run,   &command_check,   &command_show, &command_test,
                                          &command_bench, &command_compile, &command_cpu};

static void print_overview(FILE *out) {
    fputs("usage: whet COMMAND [ARGUMENT]...\n\n"
          "Whet runs ONNX models through kernels that it makes for the CPU at hand.\n\ncommands:\n",
          out);
    for (size_t i = 0; i < CLI_COUNT(commands); i++)
        fprintf(out, "  %-7s  %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nwhet COMMAND --help tells all of it; whet --version the version.\n\n"
          "examples:\n"
          "  whet check model.onnx\n"
          "  whet run model.onnx -i image=cat.npy -o results\n"
          "  whet bench model.onnx -d batch=8 -t 4\n",
          out);
}

static bool asks_help(int count, char **words) {
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0)
            return true;
    return false;
}

static int run_command(const Command *command, int count, char **words) {
    if (asks_help(count, words)) {
        print_help(command);
        return STATUS_FINE;
    }
    Args args = {.command = command, .count = count, .words = words};
    return command->run(&args);
}

static int dispatch(int count, char **words) {
    if (count == 0) {
        print_overview(stderr);
        return STATUS_USAGE;
    }
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0) {
        print_overview(stdout);
        return STATUS_FINE;
    }
    if (strcmp(words[0], "--version") == 0) {
        printf("whet %s\n", whet_version());
        return STATUS_FINE;
    }
    bool help = strcmp(words[0], "help") == 0;
    const char *name = help && count > 1 ? words[1] : words[0];
    for (size_t i = 0; i < CLI_COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        if (!help)
            return run_command(commands[i], count - 1, words + 1);
        print_help(commands[i]);
        return STATUS_FINE;
    }
    if (help && count == 1) {
        print_overview(stdout);
        return STATUS_FINE;
    }
    complain("unknown command '%s' (see: whet --help)", name);
    return STATUS_USAGE;
}

int main(int argc, char **argv) {
    int status = dispatch(argc - 1, argv + 1);
    progress_stop();
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == STATUS_FINE) {
        if (errno != EPIPE) /* a reader that has seen enough is no failure to report */
            complain("the output could not be written%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
        status = STATUS_FAILED;
    }
    return status;
}
