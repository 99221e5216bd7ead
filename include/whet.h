/* Whet: neural networks sharpened to the CPU they run on. The one public header.
 *
 * Conventions
 *   - Every handle is opaque, made by whet_X_..., released by whet_X_free (which takes NULL).
 *   - A fallible function returns whet_status and takes a whet_error * (NULL allowed) that receives status and message.
 *   - Strings are UTF-8. Strings returned as const char * belong to the handle they came from and live as long as it;
 *     strings returned as char * are released with whet_string_free.
 *   - Tensors are dense, row-major (the last dimension is contiguous).
 *   - The library never prints, exits or aborts, and has no global mutable state.
 *   - Threads: models and compiled kernels are immutable and may be used from any number of threads at once. A session belongs
 *     to one thread at a time.
 */
#ifndef WHET_H
#define WHET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WHET_VERSION_MAJOR 0
#define WHET_VERSION_MINOR 1
#define WHET_VERSION_PATCH 0

#if defined(__GNUC__)
#define WHET_API __attribute__((visibility("default")))
#else
#define WHET_API
#endif

WHET_API const char *whet_version(void); /* "0.1.0" */

/* ---- Status and errors ------------------------------------------------------------------------------------------------- */

typedef enum whet_status {
    WHET_OK = 0,
    WHET_ERROR_MEMORY,      /* out of memory, or beyond the memory limit that was set */
    WHET_ERROR_FILE,        /* a file cannot be opened, read or written */
    WHET_ERROR_FORMAT,      /* bytes or text that break the rules of their format */
    WHET_ERROR_UNSUPPORTED, /* valid, and not supported: the message names the operator, version, type or attribute */
    WHET_ERROR_ARGUMENT,    /* the caller's argument is wrong: unknown name, wrong type, wrong shape */
    WHET_ERROR_DATA,        /* the model meets data it cannot work on: shapes that do not fit, an index out of range */
    WHET_ERROR_LIMIT,       /* the time limit that was set has passed */
    WHET_ERROR_INTERNAL     /* a bug in Whet; please report it */
} whet_status;

#define WHET_MESSAGE_BYTES 2048

typedef struct whet_error {
    whet_status status;
    char message[WHET_MESSAGE_BYTES]; /* NUL-terminated; cut if longer */
} whet_error;

WHET_API const char *whet_status_name(whet_status status); /* "out of memory", "bad format" ... never NULL */

/* ---- Memory -------------------------------------------------------------------------------------------------------------- */

/* Where large memory comes from; NULL anywhere means the C library's. Both functions must be thread-safe. */
typedef struct whet_allocator {
    void *context;
    void *(*allocate)(void *context, size_t bytes, size_t alignment); /* NULL: none left */
    void (*release)(void *context, void *pointer, size_t bytes);
} whet_allocator;

WHET_API void whet_string_free(char *string);

/* ---- Tensors --------------------------------------------------------------------------------------------------------------- */

#define WHET_MAX_RANK 16

/* Element types; the numbers are ONNX's. Types below a byte are packed, the first element in the low bits. */
typedef enum whet_type {
    // clang-format off
    WHET_NONE = 0, WHET_F32 = 1, WHET_U8 = 2, WHET_S8 = 3, WHET_U16 = 4, WHET_S16 = 5, WHET_S32 = 6, WHET_S64 = 7,
    WHET_STRING = 8, WHET_BOOL = 9, WHET_F16 = 10, WHET_F64 = 11, WHET_U32 = 12, WHET_U64 = 13, WHET_C64 = 14, WHET_C128 = 15,
    WHET_BF16 = 16, WHET_F8E4M3FN = 17, WHET_F8E4M3FNUZ = 18, WHET_F8E5M2 = 19, WHET_F8E5M2FNUZ = 20, WHET_U4 = 21,
    WHET_S4 = 22, WHET_F4E2M1 = 23, WHET_F8E8M0 = 24, WHET_U2 = 25, WHET_S2 = 26
    // clang-format on
} whet_type;

WHET_API const char *whet_type_name(whet_type type); /* "f32"; "none" for unknown numbers */
WHET_API size_t whet_type_bits(whet_type type);

/* A view of data that somebody else owns. A string element is { const char *data; size_t length; }. */
typedef struct whet_tensor {
    whet_type type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    void *data;
    size_t bytes; /* of data */
} whet_tensor;

/* Elements of a tensor: the product of its dims; -1 if it overflows or a dimension is negative. */
WHET_API int64_t whet_tensor_count(const whet_tensor *tensor);
/* Element `index` as a double, whatever the numeric type; NaN for strings and complex types. */
WHET_API double whet_tensor_get(const whet_tensor *tensor, int64_t index);
/* Sets element `index` from a double (rounded, saturated). */
WHET_API void whet_tensor_set(const whet_tensor *tensor, int64_t index, double value);

/* A tensor from a file in ONNX's TensorProto form (.pb) or from its bytes, in memory of its own. */
typedef struct whet_tensor_file whet_tensor_file;
WHET_API whet_status whet_tensor_file_load(const char *path, whet_tensor_file **out, whet_error *err);
WHET_API const char *whet_tensor_file_name(const whet_tensor_file *file); /* the name inside, "" if none */
WHET_API const whet_tensor *whet_tensor_file_tensor(const whet_tensor_file *file);
WHET_API void whet_tensor_file_free(whet_tensor_file *file);

/* ---- Options --------------------------------------------------------------------------------------------------------------- */

/* In what matrix products, convolutions, attention and recurrent layers take f32 factors. BF16: rounded to bf16 (nearest, ties to
 * even), products summed in f32; everything between them stays f32. So on every CPU: twice as fast as f32 where there are dot
 * products of bf16, and with half the weights everywhere. docs/precision.md */
typedef enum whet_precision {
    WHET_PRECISION_MODEL = 0, /* as the model is stored: BF16 if its weights are bf16, else F32 */
    WHET_PRECISION_F32,
    WHET_PRECISION_BF16
} whet_precision;

/* Zero-initialise ({0}) for the defaults. */
typedef struct whet_options {
    const whet_allocator *allocator; /* must outlive every handle made with it */
    int threads;                     /* 0: as many as the cpuset and the cgroup quota allow */
    size_t memory_limit;             /* bytes that tensors at run time may take; 0: the memory of the machine or cgroup */
    double time_limit;               /* seconds one run may take; 0: none. Checked between kernels and inside loops. */
    const char *target;              /* what runs kernels: "evaluator" (plain, slow, and the meaning of the notation), "x86-avx2",
                                        "x86-avx512", "arm64", "arm64+i8mm+sve256" ...; NULL: the best that runs here, or the
                                        evaluator. An unknown name, or one that this machine cannot run, is refused
                                        (WHET_ERROR_ARGUMENT; _UNSUPPORTED, where memory may not become executable);
                                        kernels alone are compiled for any target, to be shown, and refuse to run. Must
                                        outlive the handle. */
    const char *schedule;            /* of whet_kernel_compile: knobs, as "mr=8 nv=3 kc=256", in place of those that would be
                                        chosen; stage "schedule" prints them. What does not fit is refused. NULL: none */
    int profile;  /* not 0: sessions note what their last run spent its time on (whet_session_event). Costs some
                     microseconds a kernel, between kernels, not inside them */
    int exact;    /* not 0: sums of products are computed as they are written. Otherwise f32 convolutions may be computed by
                     Winograd's algorithm, which rounds more: docs/internals/winograd.md says how much */
    int perf_map; /* not 0: the names of kernels are added to /tmp/perf-PID.map, where Linux' `perf report` looks for them: the
                     vector function and the beginning of the kernel. A file that cannot be written is an error
                     (WHET_ERROR_FILE). It is left when the process ends */
    whet_precision precision; /* of a model, when it is loaded */
    int no_fuse; /* not 0: sessions run node by node as the model has them: no kernel does the work of several nodes */
} whet_options;

/* ---- Models ---------------------------------------------------------------------------------------------------------------- */

typedef struct whet_model whet_model;

/* Reads an ONNX model. The file stays mapped and weights are used where they lie: do not write to it while the model lives.
 * External data is read from the folder of `path` and nowhere else. A model with anything unsupported in it is refused with
 * WHET_ERROR_UNSUPPORTED; whet_model_check gives the whole list. */
WHET_API whet_status whet_model_load(const char *path, const whet_options *options, whet_model **out, whet_error *err);
/* The same from memory, which must outlive the model. External data is looked for in `folder`; NULL: refused. */
WHET_API whet_status whet_model_load_memory(const void *data, size_t size, const char *folder, const whet_options *options,
                                            whet_model **out, whet_error *err);
WHET_API void whet_model_free(whet_model *model);

/* A report on the model at `path` for people: inputs, outputs, opset, size, and every operator, version, type or attribute
 * that is not supported, with its nodes. WHET_OK: it will run. WHET_ERROR_UNSUPPORTED: it will not, and `*report` says why.
 * Other errors: it could not be read; `*report` is NULL. Release the report with whet_string_free. */
WHET_API whet_status whet_model_check(const char *path, const whet_options *options, char **report, whet_error *err);

/* One input or output. A dimension that is not fixed is -1 and its symbol is its name ("batch"; "" if it has none). */
typedef struct whet_value_info {
    const char *name;
    whet_type type;
    int rank; /* -1: unknown */
    int64_t dims[WHET_MAX_RANK];
    const char *symbols[WHET_MAX_RANK];
} whet_value_info;

WHET_API int whet_model_input_count(const whet_model *model); /* those that must be given: no initializer stands for them */
WHET_API int whet_model_output_count(const whet_model *model);
WHET_API whet_status whet_model_input(const whet_model *model, int index, whet_value_info *out);
WHET_API whet_status whet_model_output(const whet_model *model, int index, whet_value_info *out);
/* Metadata by key ("producer_name", "ir_version", "opset", "domain", or a key of the model's own); NULL: absent. */
WHET_API const char *whet_model_metadata(const whet_model *model, const char *key);

/* The text form of a stage: "graph" (after inference and folding), "kernels" (what each node runs), ... `dims` names symbolic
 * dimensions. Release with whet_string_free. */
typedef struct whet_dim {
    const char *name;
    int64_t extent;
} whet_dim;
WHET_API whet_status whet_model_show(const whet_model *model, const char *stage, const whet_dim *dims, int dim_count, char **out,
                                     whet_error *err);

/* ---- Sessions -------------------------------------------------------------------------------------------------------------- */

typedef struct whet_session whet_session;

/* `options` may differ from the model's in threads, limits and allocator. The model must outlive the session. */
WHET_API whet_status whet_session_new(const whet_model *model, const whet_options *options, whet_session **out, whet_error *err);
WHET_API void whet_session_free(whet_session *session);
/* Gives input `name` for the runs to come. The data is not copied: it must stay until the last run that uses it. */
WHET_API whet_status whet_session_set_input(whet_session *session, const char *name, const whet_tensor *tensor, whet_error *err);
/* Runs once. Shapes may differ from run to run. On an error there are no outputs, and the session can be used again. */
WHET_API whet_status whet_session_run(whet_session *session, whet_error *err);
/* Output `index` of the last run; it belongs to the session and lives until the next run. */
WHET_API whet_status whet_session_output(const whet_session *session, int index, whet_tensor *out, whet_error *err);
/* Multiply-adds (counted as two operations each) of the last run, and the most bytes its tensors took at one time. */
WHET_API double whet_session_flops(const whet_session *session);
WHET_API size_t whet_session_peak_bytes(const whet_session *session);

/* Something that took time. Strings belong to the handle that gave them. */
typedef struct whet_event {
    const char *kind;     /* of a run: "kernel", "view", "operator" (one that runs as C). Of getting ready: "read", "analyse",
                             "plan" (with the code it needs), "lower", "compile", "pack" */
    const char *name;     /* the nodes it computes; of getting ready: the model's file */
    const char *kernel;   /* canonical notation, with types and shapes in its head; "" if it is no kernel, like the next two */
    const char *shape;    /* "f32[128, 768], f32[768, 768] -> f32[128, 768]" */
    const char *schedule; /* template and knobs, or why the evaluator runs it */
    double start;         /* seconds after the run began; of getting ready: 0 */
    double seconds;       /* it took */
    double flops, bytes;  /* operations; bytes of the tensors read and written, each once */
} whet_event;

/* The events of the last run, in order of time, where the session was made with whet_options.profile. They live until the next
 * run. Beyond the last: WHET_ERROR_ARGUMENT. */
WHET_API int whet_session_event_count(const whet_session *session);
WHET_API whet_status whet_session_event(const whet_session *session, int index, whet_event *out);
/* What getting ready has taken up to now, all sessions of the model together: an event a kind; `flops` is how often it was done
 * (kernels compiled, weights packed). Beyond the last: WHET_ERROR_ARGUMENT. */
WHET_API whet_status whet_model_startup(const whet_model *model, int index, whet_event *out);

/* ---- Kernels: the notation without a model ------------------------------------------------------------------------------- */

typedef struct whet_kernel whet_kernel;

/* One tensor of a kernel: its type, and its dims where they are fixed. */
typedef struct whet_kernel_arg {
    const char *name;
    whet_type type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    int is_output;
    const void *constant; /* to whet_kernel_compile: the data of an input that never changes (weights). It is packed then, once,
                             in the order in which code reads it; runs ignore data[i] for it. It must stay as it is for as
                             long as the kernel lives, and wants its shape from dims or the axes. NULL: none */
} whet_kernel_arg;

/* Compiles kernel text (docs/notation.md). `dims` gives the extents of axes by name; `args` gives the types (and with rank
 * >= 0 and no negative dims the shapes) of tensors by name: a tensor not listed is f32. What neither fixes must follow from
 * what is fixed, or the error names the axis. The order of arguments is: tensors read, in order of first appearance, then
 * outputs. */
WHET_API whet_status whet_kernel_compile(const char *text, const whet_dim *dims, int dim_count, const whet_kernel_arg *args,
                                         int arg_count, const whet_options *options, whet_kernel **out, whet_error *err);
WHET_API void whet_kernel_free(whet_kernel *kernel);
WHET_API int whet_kernel_arg_count(const whet_kernel *kernel);
WHET_API whet_status whet_kernel_arg_info(const whet_kernel *kernel, int index, whet_kernel_arg *out);
/* Runs on data[i] for argument i, each dense and row-major with the shape whet_kernel_arg_info tells; NULL will do for those
 * that were given as constants. May be called from any number of threads at once, on different outputs. */
WHET_API whet_status whet_kernel_run(const whet_kernel *kernel, void *const *data, whet_error *err);
WHET_API double whet_kernel_flops(const whet_kernel *kernel); /* of one run */
/* The text form of a stage: "kernel" (canonical notation), "schedule", "vector", "asm", "c" (whet_kernel_print_c with the name
 * "kernel"). Release with whet_string_free. */
WHET_API whet_status whet_kernel_show(const whet_kernel *kernel, const char *stage, char **out, whet_error *err);
/* The kernel as a C file of its own, which needs libc and libm alone: `int NAME(const float *a, ..., float *c)`, with the
 * arguments in the order of whet_kernel_arg_info; a comment in it says shapes and what is returned. The same text on every
 * machine. Vectors are 32 bytes long, or 64 where the kernel was compiled for the target "c64". Release with whet_string_free. */
WHET_API whet_status whet_kernel_print_c(const whet_kernel *kernel, const char *name, char **out, whet_error *err);

/* ---- The machine ----------------------------------------------------------------------------------------------------------- */

#define WHET_CACHE_LEVELS 3

typedef struct whet_cpu {
    char name[96];
    char features[512];                     /* names, separated by spaces */
    char no_code[256];                      /* why no machine code may run here, so that the evaluator does; "": it may */
    int cores_online, cores_allowed;        /* allowed: by affinity (cpuset) */
    double quota;                           /* cores' worth of the cgroup quota; 0: none */
    int threads;                            /* what threads = 0 means here */
    size_t cache_bytes[WHET_CACHE_LEVELS];  /* per core for private levels; 0: absent */
    int cache_shared_by[WHET_CACHE_LEVELS]; /* logical processors that share it */
    size_t line_bytes, memory_bytes;
} whet_cpu;

WHET_API whet_status whet_cpu_query(whet_cpu *out, whet_error *err);

/* Measured limits of one core, in about a second: multiply-add peaks in GFLOP/s (two operations each; 0: no such
 * instructions) and read bandwidths in GB/s from caches 1-3 and memory (index 3). */
typedef struct whet_cpu_limits {
    double peak_f32, peak_f64, peak_bf16, peak_int8;
    double read_gbs[WHET_CACHE_LEVELS + 1];
} whet_cpu_limits;
WHET_API whet_status whet_cpu_measure(whet_cpu_limits *out, whet_error *err);

#ifdef __cplusplus
}
#endif
#endif
