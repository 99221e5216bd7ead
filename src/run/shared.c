/* What the sessions of a model share: machine code, weights as code reads them, and aligned copies of misaligned constants.
 *
 * Code is found by what it was made from: the kernel with types and extents (kernel_identity), which tensors are constant, and
 * the content of constants of one element, which it may hold as numbers. So equal layers of a network share code, and each packs
 * its own weights. Packed weights are found by the constant and the packing's key: one copy serves all shapes, threads and
 * sessions. Both go with their last user. One lock guards it all, while code is made and weights are packed too, so that nothing
 * is made twice; runs take no lock.
 */
#include "run/shared.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/rewrite.h"
#include "onnx/reader.h"
#include "run/regions.h"

/* An entry of any of the three kinds, in a list of its bucket. */
typedef struct Entry {
    struct Entry *next;
    void *key;
    size_t key_bytes;
    int references;
} Entry;

struct Code {
    Entry entry;
    Arena arena; /* of the kernel and of `why` */
    Kernel *kernel;
    const char *template; /* NULL: none takes it */
    const char *why;
    bool made;          /* otherwise it was only asked for: the kernel and the code are to come */
    Compiled *compiled; /* NULL: no template takes it */
};

struct Weight {
    Entry entry;
    _Atomic(void *) data;     /* NULL: not packed yet */
    atomic_uint_fast64_t run; /* the last that used it unpacked */
    size_t bytes;
};

typedef struct Aligned { /* stays as long as the model */
    Entry entry;
    void *data;
    size_t bytes;
} Aligned;

/* Constants side by side. `tensor.data` is this struct itself: an address of its own, which nobody reads. */
typedef struct Joined {
    Tensor tensor;
    struct Joined *next;
    const Tensor **part;
    int count, dim;
} Joined;

enum { BUCKETS = 1024 };

struct Shared {
    const whet_allocator *allocator;
    Model *model;
    bool exact, perf_map;
    pthread_mutex_t lock;
    Arena scratch;     /* of schedule_compile */
    Arena asked, room; /* of schedule_ask: the kernel, and what its template plans */
    TargetCodes *codes;
    atomic_uint_fast64_t runs;
    atomic_bool unsealed; /* code was made since it was last made executable */
    Entry *code[BUCKETS], *weight[BUCKETS], *aligned[BUCKETS];
    Joined *joined;
    void *content; /* where constants side by side are put together to be packed */
    size_t content_bytes;
    Regions packed;
    size_t constant_bytes; /* of the graph, as the file has them */
    whet_event noted[PHASE_COUNT];
};

static Entry **bucket(Entry **table, const void *key, size_t bytes) {
    return &table[hash_bytes(key, bytes, 0) % BUCKETS];
}

static void *find(Entry **table, const Text *key) {
    Entry *e = *bucket(table, key->data, key->length);
    while (e && (e->key_bytes != key->length || memcmp(e->key, key->data, key->length) != 0))
        e = e->next;
    if (e)
        e->references++;
    return e;
}

/* Takes a copy of the key. */
static bool add(Shared *s, Entry **table, Entry *e, const Text *key) {
    e->key = memory_alloc(s->allocator, key->length);
    if (!e->key)
        return false;
    memcpy(e->key, key->data, key->length);
    e->key_bytes = key->length;
    e->references = 1;
    Entry **head = bucket(table, e->key, e->key_bytes);
    e->next = *head;
    *head = e;
    return true;
}

/* True: that was the last reference, and the entry is out of the table. */
static bool let_go(Shared *s, Entry **table, Entry *e) {
    if (--e->references > 0)
        return false;
    Entry **at = bucket(table, e->key, e->key_bytes);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    memory_free(s->allocator, e->key, e->key_bytes);
    return true;
}

/* ---- phases ------------------------------------------------------------------------------------------------------------- */

static void note(Shared *s, Phase phase, double seconds, double bytes) {
    s->noted[phase].seconds += seconds;
    s->noted[phase].bytes += bytes;
    s->noted[phase].flops++;
}

void shared_note(Shared *s, Phase phase, double seconds, double bytes) {
    pthread_mutex_lock(&s->lock);
    note(s, phase, seconds, bytes);
    pthread_mutex_unlock(&s->lock);
}

void shared_noted(Shared *s, Phase phase, whet_event *out) {
    static const char *const kinds[] = {"read", "analyse", "plan", "lower", "compile", "pack"};
    pthread_mutex_lock(&s->lock);
    *out = s->noted[phase];
    pthread_mutex_unlock(&s->lock);
    out->kind = kinds[phase];
    out->name = out->kernel = out->shape = out->schedule = "";
}

/* ---- code --------------------------------------------------------------------------------------------------------------- */

static void put_code_key(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Text *key) {
    const int knobs[] = {options->mr,     options->nv,       options->kc,    options->mc,
                         options->unroll, options->winograd, options->exact, target->bytes};
    kernel_identity(kernel, key);
    text_put_n(key, target->name, strlen(target->name) + 1);
    text_put_n(key, (const char *)knobs, sizeof knobs);
    for (int t = 0; t < kernel->input_count; t++) {
        const void *constant = options->constant ? options->constant[t] : NULL;
        const KernelTensor *tensor = &kernel->tensors[t];
        size_t bytes = 0;
        text_char(key, constant ? 'c' : '.');
        if (constant && tensor->count == 1 && dtype_bytes(tensor->type, 1, &bytes))
            text_put_n(key, constant, bytes);
    }
}

/* From the text, which finds what fusion left of numbers among numbers. */
static Kernel *parsed_copy(Arena *arena, const Kernel *kernel, whet_error *err) {
    Text text;
    text_init(&text);
    kernel_print(kernel, &text);
    char *own = text.failed ? NULL : arena_string(arena, text.data, text.length);
    size_t length = text.length;
    text_free(&text);
    if (!own) {
        error_memory(err);
        return NULL;
    }
    Kernel *copy = kernel_parse(arena, own, length, err);
    return copy && kernel_bind(copy, NULL, 0, NULL, 0, err) == WHET_OK ? copy : NULL;
}

static void code_free(Shared *s, Code *code) {
    if (code->compiled)
        compiled_free(code->compiled);
    arena_free(&code->arena);
    memory_free(s->allocator, code, sizeof *code);
}

static ScheduleOptions code_options(Shared *s, const ScheduleOptions *given) {
    ScheduleOptions options = *given;
    options.pack_later = true;
    options.scratch = &s->scratch;
    options.codes = s->codes;
    options.perf_map = s->perf_map;
    return options;
}

/* No template: no error. */
static whet_status settle(Code *code, whet_status status, whet_error *err) {
    if (status == WHET_ERROR_UNSUPPORTED) {
        error_clear(err);
        status = WHET_OK;
    }
    if (!status && code->why) {
        code->why = arena_string(&code->arena, code->why, strlen(code->why));
        status = code->why ? WHET_OK : error_memory(err);
    }
    return status;
}

typedef struct Wanted {
    const Kernel *kernel;
    const Target *target;
    ScheduleOptions options;
    bool asked, ready; /* no code; shared.h */
} Wanted;

static whet_status ask_template(Shared *s, Code *code, const Wanted *want, whet_error *err) {
    const Kernel *kernel = kernel_is_settled(want->kernel) ? want->kernel : parsed_copy(&s->asked, want->kernel, err);
    whet_status status = !kernel ? err->status ? err->status : error_memory(err)
                                 : schedule_ask(kernel, want->target, &want->options, &s->room, &code->template, &code->why, err);
    status = settle(code, status, err);
    arena_reset(&s->asked);
    return status;
}

static whet_status make_code(Shared *s, Code *code, const Wanted *want, whet_error *err) {
    Kernel *own = want->ready || kernel_is_settled(want->kernel) ? kernel_copy(&code->arena, want->kernel)
                                                                 : parsed_copy(&code->arena, want->kernel, err);
    if (!own)
        return err->status ? err->status : error_memory(err);
    code->kernel = own;
    whet_status status = schedule_compile(own, want->target, &want->options, &code->compiled, &code->why, err);
    code->template = status ? NULL : code->compiled->template;
    atomic_store(&s->unsealed, true);
    status = settle(code, status, err);
    code->made = !status;
    return status;
}

static whet_status fill_code(Shared *s, Code *code, const Wanted *want, whet_error *err) {
    double start = clock_now();
    whet_status status = want->asked ? ask_template(s, code, want, err) : make_code(s, code, want, err);
    note(s, PHASE_COMPILE, clock_now() - start, 0);
    return status;
}

/* An entry for the key, a reference; NULL: out of memory. */
static Code *new_code(Shared *s, const Text *key) {
    Code *code = memory_alloc(s->allocator, sizeof *code);
    if (!code)
        return NULL;
    *code = (Code){0};
    arena_init(&code->arena, s->allocator);
    if (add(s, s->code, &code->entry, key))
        return code;
    memory_free(s->allocator, code, sizeof *code);
    return NULL;
}

static void drop_code(Shared *s, Code *code) {
    if (let_go(s, s->code, &code->entry))
        code_free(s, code);
}

static whet_status find_code(Shared *s, const Wanted *want, const Text *key, Code **out, whet_error *err) {
    Code *code = find(s->code, key);
    bool fresh = !code;
    if (fresh && !(code = new_code(s, key)))
        return error_memory(err);
    whet_status status = fresh || (!code->made && !want->asked) ? fill_code(s, code, want, err) : WHET_OK;
    if (status)
        drop_code(s, code);
    else
        *out = code;
    return status;
}

static whet_status want_code(Shared *s, const Wanted *want, Code **out, whet_error *err) {
    Text key;
    text_init(&key);
    put_code_key(want->kernel, want->target, &want->options, &key);
    whet_error local;
    err = err ? err : &local;
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    whet_status status = key.failed ? error_memory(err) : find_code(s, want, &key, out, err);
    pthread_mutex_unlock(&s->lock);
    text_free(&key);
    return status;
}

whet_status shared_code(Shared *s, const Kernel *kernel, bool ready, const Target *target, const ScheduleOptions *options,
                        Code **out, whet_error *err) {
    const Wanted want = {kernel, target, code_options(s, options), .ready = ready};
    return want_code(s, &want, out, err);
}

whet_status shared_ask(Shared *s, const Kernel *kernel, const Target *target, const ScheduleOptions *options, Code **out,
                       whet_error *err) {
    const Wanted want = {kernel, target, code_options(s, options), .asked = true};
    return want_code(s, &want, out, err);
}

const char *code_template(Shared *s, const Code *code, const char **why) {
    pthread_mutex_lock(&s->lock); /* another session may be making the code */
    *why = code->why;
    const char *template = code->template;
    pthread_mutex_unlock(&s->lock);
    return template;
}

whet_status shared_seal(Shared *s, whet_error *err) {
    if (!atomic_load_explicit(&s->unsealed, memory_order_acquire))
        return WHET_OK;
    pthread_mutex_lock(&s->lock);
    whet_status status = codes_seal(s->codes, err);
    if (!status)
        atomic_store(&s->unsealed, false);
    pthread_mutex_unlock(&s->lock);
    return status;
}

const Compiled *code_compiled(const Code *code, const char **why) {
    *why = code->why;
    return code->compiled;
}

const Kernel *code_kernel(const Code *code) {
    return code->kernel;
}

void shared_keep_code(Shared *s, Code *code) {
    pthread_mutex_lock(&s->lock);
    code->entry.references++;
    pthread_mutex_unlock(&s->lock);
}

size_t shared_code_made(Shared *s) {
    pthread_mutex_lock(&s->lock);
    size_t made = codes_made(s->codes);
    pthread_mutex_unlock(&s->lock);
    return made;
}

void shared_drop_code(Shared *s, Code *code) {
    if (!code)
        return;
    pthread_mutex_lock(&s->lock);
    drop_code(s, code);
    pthread_mutex_unlock(&s->lock);
}

/* ---- constants side by side --------------------------------------------------------------------------------------------- */

typedef struct JoinWork {
    const Tensor *whole, *const *part;
    int count;
    size_t rows, each; /* of all parts; of a task */
} JoinWork;

static void join_rows(void *context, size_t task) {
    const JoinWork *w = context;
    size_t first = task * w->each, end = first + w->each < w->rows ? first + w->each : w->rows;
    char *to = (char *)w->whole->data + first * (w->whole->bytes / w->rows);
    for (size_t row = first; row < end; row++)
        for (int i = 0; i < w->count; i++) {
            size_t bytes = w->part[i]->bytes / w->rows;
            memcpy(to, (const char *)w->part[i]->data + row * bytes, bytes);
            to += bytes;
        }
}

void tensor_join(const Tensor *whole, const Tensor *const *part, int count, int dim, const Parallel *parallel) {
    enum { TASKS = 16 };
    JoinWork w = {.whole = whole, .part = part, .count = count, .rows = 1};
    for (int d = 0; d < dim; d++)
        w.rows *= (size_t)whole->dims[d];
    w.each = parallel ? (w.rows + TASKS - 1) / TASKS : w.rows;
    if (!w.rows)
        return;
    if (parallel)
        parallel->run(parallel->self, (w.rows + w.each - 1) / w.each, join_rows, &w);
    else
        join_rows(&w, 0);
}

static Joined *find_joined(const Shared *s, const Tensor *constant) {
    Joined *j = s->joined;
    while (j && &j->tensor != constant)
        j = j->next;
    return j;
}

static bool same_parts(const Joined *j, const Tensor *const *part, int count, int dim) {
    if (j->count != count || j->dim != dim)
        return false;
    for (int i = 0; i < count; i++)
        if (j->part[i]->data != part[i]->data)
            return false;
    return true;
}

static Joined *joined_new(Shared *s, const Tensor *whole, const Tensor *const *part, int count, int dim) {
    Joined *j = memory_alloc(s->allocator, sizeof *j);
    const Tensor **parts = memory_alloc(s->allocator, (size_t)count * sizeof *parts);
    if (!j || !parts) {
        memory_free(s->allocator, j, sizeof *j);
        memory_free(s->allocator, parts, (size_t)count * sizeof *parts);
        return NULL;
    }
    memcpy(parts, part, (size_t)count * sizeof *parts);
    *j = (Joined){.tensor = *whole, .next = s->joined, .part = parts, .count = count, .dim = dim};
    j->tensor.data = j;
    return s->joined = j;
}

static void joined_free(Shared *s, Joined *j) {
    memory_free(s->allocator, j->part, (size_t)j->count * sizeof *j->part);
    memory_free(s->allocator, j, sizeof *j);
}

const Tensor *shared_join(Shared *s, const Tensor *whole, const Tensor *const *part, int count, int dim, whet_error *err) {
    pthread_mutex_lock(&s->lock);
    Joined *j = s->joined;
    while (j && !same_parts(j, part, count, dim))
        j = j->next;
    if (!j)
        j = joined_new(s, whole, part, count, dim);
    pthread_mutex_unlock(&s->lock);
    if (!j)
        error_memory(err);
    return j ? &j->tensor : NULL;
}

bool shared_is_joined(Shared *s, const Tensor *constant) {
    pthread_mutex_lock(&s->lock);
    bool is = find_joined(s, constant) != NULL;
    pthread_mutex_unlock(&s->lock);
    return is;
}

/* The content of a constant in memory of its own, and the pages it came from given back. */
static void copy_content(Shared *s, const Tensor *constant, void *to, const Parallel *parallel) {
    const Joined *j = find_joined(s, constant);
    if (!j) {
        memcpy(to, constant->data, constant->bytes);
        onnx_forget(s->model, constant);
        return;
    }
    Tensor whole = *constant;
    whole.data = to;
    tensor_join(&whole, j->part, j->count, j->dim, parallel);
    for (int i = 0; i < j->count; i++)
        onnx_forget(s->model, j->part[i]);
}

/* ---- weights ------------------------------------------------------------------------------------------------------------ */

typedef struct PackWork {
    const Compiled *compiled;
    const void *constant;
    void *to;
} PackWork;

static void pack_piece(void *context, size_t piece) {
    const PackWork *w = context;
    compiled_pack(w->compiled, w->constant, piece, w->to);
}

/* NULL: out of memory */
static void *pack(Shared *s, const Compiled *compiled, const void *constant, const Parallel *parallel) {
    const Packing *packing = compiled_packing(compiled);
    PackWork work = {.compiled = compiled, .constant = constant, .to = regions_take(&s->packed, packing->bytes)};
    if (work.to && parallel && packing->bytes > 1 << 16)
        parallel->run(parallel->self, packing->pieces, pack_piece, &work);
    else
        for (size_t i = 0; work.to && i < packing->pieces; i++)
            pack_piece(&work, i);
    return work.to;
}

const void *shared_content(Shared *s, const Tensor *constant, const Parallel *parallel, void **own) {
    *own = NULL;
    pthread_mutex_lock(&s->lock);
    const Joined *j = find_joined(s, constant);
    pthread_mutex_unlock(&s->lock);
    if (!j)
        return constant->data;
    Tensor whole = *constant;
    whole.data = *own = memory_alloc(s->allocator, constant->bytes);
    if (*own)
        tensor_join(&whole, j->part, j->count, j->dim, parallel);
    return *own;
}

void shared_drop_content(Shared *s, const Tensor *constant, void *own) {
    memory_free(s->allocator, own, constant->bytes);
}

/* Of one constant side by side at a time. */
static bool content_room(Shared *s, size_t bytes) {
    if (s->content_bytes >= bytes)
        return true;
    memory_free(s->allocator, s->content, s->content_bytes);
    s->content = memory_alloc_large(s->allocator, bytes);
    s->content_bytes = s->content ? bytes : 0;
    return s->content != NULL;
}

void shared_settle(Shared *s) {
    pthread_mutex_lock(&s->lock);
    memory_free(s->allocator, s->content, s->content_bytes);
    s->content = NULL;
    s->content_bytes = 0;
    arena_free(&s->asked);
    arena_free(&s->room);
    pthread_mutex_unlock(&s->lock);
}

static void *pack_constant(Shared *s, const Compiled *compiled, const Tensor *constant, const Parallel *parallel) {
    bool joined = find_joined(s, constant) != NULL;
    if (joined && !content_room(s, constant->bytes))
        return NULL;
    if (joined)
        copy_content(s, constant, s->content, parallel);
    void *packed = pack(s, compiled, joined ? s->content : constant->data, parallel);
    if (packed && !joined)
        onnx_forget(s->model, constant);
    return packed;
}

whet_status shared_pack(Shared *s, Weight *weight, const Compiled *compiled, const Tensor *constant, const Parallel *parallel,
                        whet_error *err) {
    pthread_mutex_lock(&s->lock);
    void *packed = atomic_load(&weight->data);
    if (!packed) {
        double start = clock_now();
        packed = pack_constant(s, compiled, constant, parallel);
        atomic_store(&weight->data, packed);
        note(s, PHASE_PACK, clock_now() - start, (double)weight->bytes);
    }
    pthread_mutex_unlock(&s->lock);
    return packed ? WHET_OK : error_memory(err);
}

static void weight_free(Shared *s, Weight *w) {
    void *data = atomic_load(&w->data);
    regions_give(&s->packed, data, w->bytes);
    memory_free(s->allocator, w, sizeof *w);
}

/* What the packing depends on, and the constant by where it lies. */
static void put_weight_key(const Packing *packing, const void *constant, Text *key) {
    text_put_n(key, packing->key, packing->key_bytes);
    text_put_n(key, (const char *)&constant, sizeof(const void *));
}

/* NULL: out of memory */
static Weight *add_weight(Shared *s, size_t bytes, const Text *key) {
    Weight *w = memory_alloc(s->allocator, sizeof *w);
    if (!w)
        return NULL;
    *w = (Weight){.bytes = bytes};
    if (add(s, s->weight, &w->entry, key))
        return w;
    memory_free(s->allocator, w, sizeof *w);
    return NULL;
}

whet_status shared_weight(Shared *s, const Packing *packing, const Tensor *constant, Weight **out, whet_error *err) {
    Text key;
    text_init(&key);
    put_weight_key(packing, constant->data, &key);
    *out = NULL;
    if (!key.failed) {
        pthread_mutex_lock(&s->lock);
        *out = find(s->weight, &key);
        if (!*out)
            *out = add_weight(s, packing->bytes, &key);
        pthread_mutex_unlock(&s->lock);
    }
    text_free(&key);
    return *out ? WHET_OK : error_memory(err);
}

void *weight_data(const Weight *weight) {
    return atomic_load_explicit(&weight->data, memory_order_acquire);
}

bool weight_again(Weight *weight, uint64_t run) {
    return atomic_exchange_explicit(&weight->run, run, memory_order_relaxed) == run;
}

uint64_t shared_next_run(Shared *s) {
    return atomic_fetch_add_explicit(&s->runs, 1, memory_order_relaxed) + 1;
}

void shared_drop_weight(Shared *s, Weight *weight) {
    if (!weight)
        return;
    pthread_mutex_lock(&s->lock);
    if (let_go(s, s->weight, &weight->entry))
        weight_free(s, weight);
    pthread_mutex_unlock(&s->lock);
}

/* ---- alignment ---------------------------------------------------------------------------------------------------------- */

static Aligned *make_aligned(Shared *s, const Tensor *constant) {
    Aligned *copy = memory_alloc(s->allocator, sizeof *copy);
    if (!copy)
        return NULL;
    *copy = (Aligned){.bytes = constant->bytes, .data = memory_alloc_large(s->allocator, constant->bytes)};
    if (!copy->data) {
        memory_free(s->allocator, copy, sizeof *copy);
        return NULL;
    }
    copy_content(s, constant, copy->data, NULL);
    return copy;
}

static void aligned_free(Shared *s, Aligned *copy) {
    memory_free(s->allocator, copy->data, copy->bytes);
    memory_free(s->allocator, copy, sizeof *copy);
}

const void *shared_aligned(Shared *s, const Tensor *constant, whet_error *err) {
    if (onnx_is_aligned(constant) && !shared_is_joined(s, constant))
        return constant->data;
    Text key;
    text_init(&key);
    text_put_n(&key, (const char *)&constant->data, sizeof(const void *));
    pthread_mutex_lock(&s->lock);
    Aligned *copy = key.failed ? NULL : find(s->aligned, &key);
    if (!copy && !key.failed) {
        copy = make_aligned(s, constant);
        if (copy && !add(s, s->aligned, &copy->entry, &key)) {
            aligned_free(s, copy);
            copy = NULL;
        }
    }
    pthread_mutex_unlock(&s->lock);
    text_free(&key);
    if (!copy)
        error_memory(err);
    return copy ? copy->data : NULL;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

ScheduleOptions shared_options(const Shared *s, const Target *target, const void *const *constant) {
    return (ScheduleOptions){.constant = constant, .exact = s->exact, .far = s->constant_bytes > target->cache_bytes[2]};
}

bool shared_flushes(const Shared *s) {
    return s->model->rounds;
}

static size_t constant_bytes(const Graph *graph) {
    size_t bytes = 0;
    for (size_t v = 0; v < graph->value_count; v++) {
        const Tensor *constant = graph->values[v]->type.constant;
        if (constant && !checked_size_add(bytes, constant->bytes, &bytes))
            return SIZE_MAX;
    }
    return bytes;
}

Shared *shared_new(Model *model, const whet_allocator *allocator, bool exact, bool perf_map) {
    Shared *s = memory_alloc(allocator, sizeof *s);
    if (!s)
        return NULL;
    *s = (Shared){.allocator = allocator,
                  .model = model,
                  .exact = exact,
                  .perf_map = perf_map,
                  .constant_bytes = constant_bytes(model->graph)};
    s->packed = (Regions){.allocator = allocator, .expected = s->constant_bytes};
    arena_init(&s->scratch, allocator);
    arena_init(&s->asked, allocator);
    arena_init(&s->room, allocator);
    s->codes = codes_new(allocator);
    if (s->codes && pthread_mutex_init(&s->lock, NULL) == 0)
        return s;
    codes_free(s->codes);
    memory_free(allocator, s, sizeof *s);
    return NULL;
}

void shared_free(Shared *s) {
    if (!s)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (Entry *e = s->aligned[i], *next; e; e = next) {
            next = e->next;
            memory_free(s->allocator, e->key, e->key_bytes);
            aligned_free(s, (Aligned *)e);
        }
    memory_free(s->allocator, s->content, s->content_bytes);
    for (Joined *j = s->joined, *next; j; j = next) {
        next = j->next;
        joined_free(s, j);
    }
    pthread_mutex_destroy(&s->lock);
    codes_free(s->codes);
    arena_free(&s->scratch);
    arena_free(&s->asked);
    arena_free(&s->room);
    memory_free(s->allocator, s, sizeof *s);
}
