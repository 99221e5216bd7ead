/* What the subcommands of `whet` share. The command stands on whet.h and the C library alone: what it can do, any program
 * that links the library can do.
 *
 * A function that returns bool (true: fine) has already said on stderr why it failed.
 */
#ifndef WHET_CLI_H
#define WHET_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "whet.h"

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

#define CLI_COUNT(array) (sizeof(array) / sizeof *(array))

enum { STATUS_FINE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* message.c: what people read. */

/* "whet: MESSAGE" on stderr; returns false, so that a failing function can end in `return complain(...)`. */
bool complain(const char *format, ...) CLI_PRINTF(1, 2);
/* The same for what is worth knowing and stops nothing. */
void note(const char *format, ...) CLI_PRINTF(1, 2);
/* Ends the process with status 1 when `pointer` is NULL: a command cannot go on without memory. Returns `pointer`. */
void *need(void *pointer);
/* From now until progress_stop, where stderr is a terminal and a second has passed: one line "what 3 s". Where one is on
 * already, its text changes and its time goes on. */
void progress_start(const char *format, ...) CLI_PRINTF(1, 2);
void progress_stop(void);
void progress_clear(void);  /* before printing a line: it is drawn again with the next second */
void progress_forget(void); /* in a forked child: the line is its parent's */
double seconds_now(void);   /* a clock that only goes forward */

/* args.c: the command line, driven by tables. */

typedef struct Option {
    int id;            /* its letter, or a number from 256 on for an option that has none */
    const char *name;  /* "threads" for --threads */
    const char *value; /* what help calls its value; NULL: it takes none */
    const char *help;
} Option;

typedef struct Args Args;

typedef struct Command {
    const char *name, *operands, *summary;
    const char *details; /* of its help, examples included */
    const Option *options;
    int (*run)(Args *args); /* returns the exit status */
} Command;

struct Args {
    const Command *command;
    int count, at;
    char **words;
    bool operands_only; /* after "--" */
};

enum { ARGS_END = 0, ARGS_OPERAND = -1, ARGS_BAD = -2 };

/* The next option's id with its value, ARGS_OPERAND with the word, ARGS_END, or ARGS_BAD when it has complained. */
int args_next(Args *args, const char **value);
/* Complains about wrong usage and names the help; returns STATUS_USAGE. */
int usage_error(const Args *args, const char *format, ...) CLI_PRINTF(2, 3);
void print_help(const Command *command);

bool parse_count(const char *text, int64_t least, int64_t *out); /* a decimal number >= least that fits; says nothing */
bool parse_number(const char *text, double *out);                /* finite and >= 0; says nothing */

/* Options that more than one subcommand takes, with their rows for the tables. */
typedef struct Common {
    whet_options options;
    whet_dim *dims; /* -d, in order; the names are owned */
    int dim_count;
    uint64_t seed;
    bool json;
} Common;

enum {
    OPTION_SEED = 256,
    OPTION_TIME_LIMIT,
    OPTION_MEMORY_LIMIT,
    OPTION_TARGET,
    OPTION_SCHEDULE,
    OPTION_EXACT,
    OPTION_PERF,
    OPTION_JSON,
    OPTION_NO_FUSE,
    OPTION_PRECISION,
    OPTION_OWN
};

#define OPTION_ROW_DIM                                                                                                           \
    { 'd', "dim", "DIM=N", "the extent of a symbolic dimension (INPUT.K: of input INPUT's dimension K)" }
#define OPTION_ROW_THREADS                                                                                                       \
    { 't', "threads", "N", "threads to use; default: as many as cpuset and cgroup allow" }
#define OPTION_ROW_SEED                                                                                                          \
    { OPTION_SEED, "seed", "S", "where random inputs start; default 0" }
#define OPTION_ROW_TIME_LIMIT                                                                                                    \
    { OPTION_TIME_LIMIT, "time-limit", "SECONDS", "give up when one run takes longer" }
#define OPTION_ROW_MEMORY_LIMIT                                                                                                  \
    { OPTION_MEMORY_LIMIT, "memory-limit", "BYTES", "what tensors may take: 1000000, 512M, 2G" }
#define OPTION_ROW_TARGET                                                                                                        \
    {                                                                                                                            \
        OPTION_TARGET, "target", "NAME",                                                                                         \
            "what runs kernels: evaluator, x86-avx2, x86-avx512, arm64+sve256 ...; default: the best here"                       \
    }
#define OPTION_ROW_SCHEDULE                                                                                                      \
    { OPTION_SCHEDULE, "schedule", "KNOBS", "of a kernel: knobs as 'mr=8 nv=3 kc=256', in place of those that are chosen" }
#define OPTION_ROW_EXACT                                                                                                         \
    { OPTION_EXACT, "exact", NULL, "compute sums of products as they are written: no Winograd" }
#define OPTION_ROW_PRECISION                                                                                                     \
    { OPTION_PRECISION, "precision", "TYPE", "f32 or bf16: what products of a model take; default: as its weights are stored" }
#define OPTION_ROW_PERF                                                                                                          \
    { OPTION_PERF, "perf", NULL, "write the names of kernels to /tmp/perf-PID.map, for perf report" }
#define OPTION_ROW_NO_FUSE                                                                                                       \
    { OPTION_NO_FUSE, "no-fuse", NULL, "run a model node by node: no kernel does the work of several nodes" }
#define OPTION_ROW_JSON                                                                                                          \
    { OPTION_JSON, "json", NULL, "print JSON" }
#define OPTION_ROW_END                                                                                                           \
    { 0, NULL, NULL, NULL }

/* Takes option `id` into `common`; false when it has complained. */
bool common_option(const Args *args, Common *common, int id, const char *value);
void common_free(Common *common);
int common_threads(const Common *common); /* that -t or the machine says */

/* tensors.c: tensors that the command itself owns. */

/* How whet.h stores an element of type WHET_STRING. */
typedef struct StringElement {
    const char *data;
    size_t length;
} StringElement;

typedef struct Array {
    whet_tensor tensor;
    void *memory;           /* of the data and, for strings, of their bytes; NULL: the file's */
    whet_tensor_file *file; /* when it came from a .pb */
} Array;

/* Zeroed elements; complains, as of `what`, about a shape that is too large. */
bool array_new(Array *value, const char *what, whet_type type, int rank, const int64_t *dims);
void array_free(Array *value);
/* Standard normal floats, small integers, ones where the name has "mask" in it: the same for the same seed and name. */
bool array_random(Array *value, const char *name, whet_type type, int rank, const int64_t *dims, uint64_t seed);
/* From FILE.npy, FILE.npz (member `name`, or the only one) or FILE.pb; `want` is the type that the input has. */
bool array_load(Array *value, const char *path, const char *name, whet_type want);
void print_shape(FILE *out, const whet_tensor *tensor); /* [1, 3, 224, 224] */
whet_type type_parse(const char *text, size_t length);  /* WHET_NONE: unknown */

/* npy.c: NumPy's array files. */

/* An array from the bytes of a .npy; `label` names it in complaints, `want` decides what raw ("V2") elements are. */
bool npy_parse(const uint8_t *data, size_t size, const char *label, whet_type want, Array *out);
/* Types that NumPy lacks are written as the nearest that holds them: small floats as f4, 2- and 4-bit integers as 1 byte. */
bool npy_write(const char *path, const whet_tensor *tensor);
whet_type npy_type(whet_type type); /* what `type` is written as */

/* npz.c: NumPy's archives: zip files of .npy members. */
bool npz_find(const uint8_t *data, size_t size, const char *label, const char *name, const uint8_t **member, size_t *member_size);

/* file.c: whole files and paths. Results are malloc'ed. */
bool file_read(const char *path, uint8_t **data, size_t *size);
char *path_join(const char *folder, const char *name);
bool is_file(const char *path);
bool is_folder(const char *path);
bool folder_make(const char *path); /* with its parents; fine if it is there */
bool ends_with(const char *text, const char *end);

/* load.c: models from files. */
bool load_model(const char *path, const whet_options *options, whet_model **out);
/* Says why `path` could not be loaded, and what it is instead where that is plain to see; returns false. */
bool explain_load(const char *path, const whet_error *error);

/* inputs.c: inputs of a model as the command line asks for them. */

typedef struct Inputs {
    Array *values; /* one an input of the model */
    bool *random;
    int count;
} Inputs;

/* `given` are words NAME=FILE or NAME=random. STATUS_FINE, or the exit status when it has complained. */
int inputs_make(Inputs *inputs, const Args *args, const whet_model *model, const Common *common, char **given, int given_count);
void inputs_free(Inputs *inputs);
/* Complains about a -d that names no dimension of any input; the exit status. */
int check_dims(const Args *args, const whet_model *model, const Common *common);
/* Adds to `common` what -d leaves open: symbols with the extent 1, which is said. */
void fill_dims(const whet_model *model, Common *common);
void common_add_dim(Common *common, const char *name, size_t length, int64_t extent);
bool inputs_set(const Inputs *inputs, const whet_model *model, whet_session *session);

/* kernel_args.c: -a, the types and shapes of a kernel's tensors. */

typedef struct KernelArgs {
    whet_kernel_arg *items; /* the names are owned */
    int count;
} KernelArgs;

#define OPTION_ROW_ARG                                                                                                           \
    { 'a', "arg", "NAME=TYPE", "the type of a kernel's tensor, f32 otherwise; with dims: NAME=TYPE[2, 3]" }

int kernel_args_add(KernelArgs *types, const Args *args, const char *word); /* the exit status */
/* The kernel, or the exit status when it has complained: of an extent, too, that the text does not name, or of --precision. */
int kernel_compile(const Args *args, const char *text, const Common *common, const KernelArgs *types, whet_kernel **out);
void kernel_args_free(KernelArgs *types);

/* compare.c: is an output what was recorded? */

typedef enum Metric { METRIC_ELEMENT, METRIC_RANGE, METRIC_L2 } Metric;

typedef struct Rule {
    Metric metric;
    double rtol, atol;
    bool shape_only; /* for outputs that are random by definition */
} Rule;

/* True: within the rule. Otherwise `reason` says by how much not. */
bool compare_tensors(const whet_tensor *got, const whet_tensor *want, const Rule *rule, char *reason, size_t size);

/* test_case.c: one recorded case. */

typedef enum Outcome { OUTCOME_PASSED, OUTCOME_FAILED, OUTCOME_SKIPPED } Outcome;

typedef struct Verdict {
    Outcome outcome;
    char reason[1200]; /* of a failure or a skip */
} Verdict;

/* Runs every data set of the case in `folder`; says nothing itself. */
void test_case(const char *folder, const Rule *rule, const whet_options *options, Verdict *verdict);

/* json.c: an object to stdout, key by key. */

typedef struct Json {
    FILE *out;
    bool open; /* nothing yet since the last bracket */
} Json;

void json_open(Json *json, const char *key, char bracket); /* '{' or '['; key NULL: none */
void json_close(Json *json, char bracket);
void json_number(Json *json, const char *key, double value); /* null for NaN and infinities */
void json_string(Json *json, const char *key, const char *value);

/* profile.c: where time went. Complain and return false where the machine cannot be measured or the file not written. */
bool profile_print(const whet_session *session, int threads);                   /* a table, slowest first */
bool profile_write(const char *path, const whet_session *session, int threads); /* Chrome's trace events, which Perfetto reads */
double profile_packed(const whet_model *model);                                 /* how many weights up to now */
void profile_print_startup(const whet_model *model);

/* One file a subcommand. */
extern const Command command_run, command_check, command_show, command_test, command_bench, command_compile, command_cpu;

/* Kernel texts have '=' in them and are no files. */
bool is_kernel_text(const char *word);

#endif
