/* oneDNN is opened when the program runs, so that no benchmark needs it to build. Names, argument orders and numbers are those
 * of its C interface, version 3 (oneapi-src.github.io/oneDNN): an object is an opaque pointer, a call gives 0 for success. */
#include "onednn.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum {
    CPU = 1,          /* dnnl_cpu */
    IN_ORDER = 1,     /* dnnl_stream_in_order */
    F32 = 3,          /* dnnl_f32 */
    TAG_ANY = 1,      /* dnnl_format_tag_any: the primitive chooses */
    TAG_ROWS = 3,     /* dnnl_ab */
    WEIGHTS_MD = 131, /* dnnl_query_weights_md */
    ARG_SRC = 1,
    ARG_DST = 17,
    ARG_WEIGHTS = 33
};

typedef struct Argument {
    int what;
    void *memory;
} Argument;

/* One row a function of the library: its member and its name. */
#define FUNCTIONS(F)                                                                                                             \
    F(int, engine_create, (void **, int, size_t))                                                                                \
    F(int, stream_create, (void **, void *, unsigned))                                                                           \
    F(int, stream_wait, (void *))                                                                                                \
    F(int, memory_desc_create_with_tag, (void **, int, const int64_t *, int, int))                                               \
    F(int, memory_desc_destroy, (void *))                                                                                        \
    F(int, memory_create, (void **, const void *, void *, void *))                                                               \
    F(int, memory_destroy, (void *))                                                                                             \
    F(int, matmul_primitive_desc_create,                                                                                         \
      (void **, void *, const void *, const void *, const void *, const void *, const void *))                                   \
    F(int, reorder_primitive_desc_create, (void **, const void *, void *, const void *, void *, const void *))                   \
    F(const void *, primitive_desc_query_md, (const void *, int, int))                                                           \
    F(int, primitive_desc_destroy, (void *))                                                                                     \
    F(int, primitive_create, (void **, const void *))                                                                            \
    F(int, primitive_destroy, (void *))                                                                                          \
    F(int, primitive_execute, (const void *, void *, int, const Argument *))

struct Onednn {
#define F(type, name, arguments) type(*name) arguments;
    FUNCTIONS(F)
#undef F
    void *library, *engine, *stream, *product;
    void *a, *b, *c; /* memory objects; b holds the packed weights */
};

Onednn *onednn_load(void) {
    void *library = dlopen("libdnnl.so.3", RTLD_NOW | RTLD_LOCAL), *symbol;
    Onednn *d = library ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    d->library = library;
    bool fine = true;
#define F(type, name, arguments)                                                                                                 \
    symbol = dlsym(library, "dnnl_" #name);                                                                                      \
    fine = fine && symbol;                                                                                                       \
    memcpy(&d->name, &symbol, sizeof symbol);
    FUNCTIONS(F)
#undef F
    if (fine && d->engine_create(&d->engine, CPU, 0) == 0 && d->stream_create(&d->stream, d->engine, IN_ORDER) == 0)
        return d;
    free(d);
    return NULL;
}

static void forget(Onednn *d) {
    void **memories[] = {&d->a, &d->b, &d->c};
    for (size_t i = 0; i < 3; i++) {
        d->memory_destroy(*memories[i]);
        *memories[i] = NULL;
    }
    d->primitive_destroy(d->product);
    d->product = NULL;
}

/* The library stays open: it has threads and exit handlers of its own. */
void onednn_free(Onednn *d) {
    if (d)
        forget(d);
    free(d);
}

static bool run_two(Onednn *d, const void *primitive, Argument from, Argument to) {
    return d->primitive_execute(primitive, d->stream, 2, (Argument[]){from, to}) == 0 && d->stream_wait(d->stream) == 0;
}

/* b as it is given, brought into the form that the product wants. */
static bool pack(Onednn *d, const void *given, const void *wanted, float *b) {
    void *as_given = NULL, *description = NULL, *reorder = NULL, *allocate = (void *)(size_t)-1; /* DNNL_MEMORY_ALLOCATE */
    bool fine = d->memory_create(&as_given, given, d->engine, b) == 0 &&
                d->memory_create(&d->b, wanted, d->engine, allocate) == 0 &&
                d->reorder_primitive_desc_create(&description, given, d->engine, wanted, d->engine, NULL) == 0 &&
                d->primitive_create(&reorder, description) == 0 &&
                run_two(d, reorder, (Argument){ARG_SRC, as_given}, (Argument){ARG_DST, d->b});
    d->primitive_destroy(reorder);
    d->primitive_desc_destroy(description);
    d->memory_destroy(as_given);
    return fine;
}

bool onednn_product(Onednn *d, const int64_t m, const int64_t n, const int64_t k, float *a, float *b, float *c) {
    const int64_t dims[3][2] = {{m, k}, {k, n}, {m, n}};
    void *rows[3] = {NULL}, *any = NULL, *description = NULL;
    forget(d);
    bool fine = d->memory_desc_create_with_tag(&any, 2, dims[1], F32, TAG_ANY) == 0;
    for (int i = 0; i < 3; i++)
        fine = fine && d->memory_desc_create_with_tag(&rows[i], 2, dims[i], F32, TAG_ROWS) == 0;
    fine = fine && d->matmul_primitive_desc_create(&description, d->engine, rows[0], any, NULL, rows[2], NULL) == 0 &&
           d->primitive_create(&d->product, description) == 0 &&
           pack(d, rows[1], d->primitive_desc_query_md(description, WEIGHTS_MD, 0), b) &&
           d->memory_create(&d->a, rows[0], d->engine, a) == 0 && d->memory_create(&d->c, rows[2], d->engine, c) == 0;
    d->primitive_desc_destroy(description);
    d->memory_desc_destroy(any);
    for (int i = 0; i < 3; i++)
        d->memory_desc_destroy(rows[i]);
    return fine;
}

void onednn_run(Onednn *d) {
    const Argument arguments[] = {{ARG_SRC, d->a}, {ARG_WEIGHTS, d->b}, {ARG_DST, d->c}};
    d->primitive_execute(d->product, d->stream, 3, arguments);
    d->stream_wait(d->stream);
}
