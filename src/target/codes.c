/* Machine code, found by the vector function that it is made from: kernels that differ in their shapes alone, and kernels that
 * are tried and made again, share what is the same of them. What cannot be made is remembered as well.
 *
 * Code that nobody uses any more stays until there is too much of it: the next shape most likely wants it. So do sets of
 * code: what a template has planned tells whether its functions would be the same, and then they need not be made. */
#include <string.h>

#include "target/memory.h"

enum { BUCKETS = 256, MOST_IDLE = 8 << 20 /* bytes, of idle code and of sets */, REGION_BYTES = 64 << 10, SETS = 4096 };

struct MadeCode {
    MadeCode *next;            /* in its bucket */
    MadeCode *older, *younger; /* of those without a user */
    unsigned char *key;
    size_t key_bytes, bytes; /* bytes: of all of it, roughly */
    int users, sets;         /* sets: how many of the users are */
    TargetCode *code;        /* NULL: refused, */
    whet_error why;          /* for this reason */
    void (*release)(TargetCode *code);
};

struct TargetCodes {
    const whet_allocator *allocator;
    MadeCode *buckets[BUCKETS];
    MadeCode *oldest, *youngest; /* without a user */
    size_t idle_bytes, made, asked;
    CodeMemory *memory;
    Text key; /* of what is being looked for */
    Text set_key;
    CodeSet *sets[SETS]; /* by the hash of their keys, a few of each */
    size_t set_bytes;    /* of sets, and of the code that is in any */
    int drop_next;       /* of these, where there is too much */
    uint64_t numbers;    /* of keys, so far */
};

TargetCodes *codes_new(const whet_allocator *allocator) {
    TargetCodes *codes = memory_alloc(allocator, sizeof *codes);
    if (!codes)
        return NULL;
    *codes = (TargetCodes){.allocator = allocator, .memory = code_memory_new(allocator, REGION_BYTES)};
    if (!codes->memory) {
        memory_free(allocator, codes, sizeof *codes);
        return NULL;
    }
    text_init(&codes->key);
    text_init(&codes->set_key);
    return codes;
}

static MadeCode **bucket(TargetCodes *codes, const void *key, size_t bytes) {
    return &codes->buckets[hash_bytes(key, bytes, 0) % BUCKETS];
}

static void free_made(TargetCodes *codes, MadeCode *made) {
    if (made->code)
        made->release(made->code);
    memory_free(codes->allocator, made->key, made->key_bytes);
    memory_free(codes->allocator, made, sizeof *made);
}

/* ---- Code without a user ---- */

static void leave_idle(TargetCodes *codes, MadeCode *made) {
    *(made->older ? &made->older->younger : &codes->oldest) = made->younger;
    *(made->younger ? &made->younger->older : &codes->youngest) = made->older;
    made->older = made->younger = NULL;
    codes->idle_bytes -= made->bytes;
}

static void join_idle(TargetCodes *codes, MadeCode *made) {
    made->older = codes->youngest;
    *(made->older ? &made->older->younger : &codes->oldest) = made;
    codes->youngest = made;
    codes->idle_bytes += made->bytes;
}

static void drop_oldest(TargetCodes *codes) {
    MadeCode *made = codes->oldest;
    MadeCode **at = bucket(codes, made->key, made->key_bytes);
    leave_idle(codes, made);
    while (*at != made)
        at = &(*at)->next;
    *at = made->next;
    free_made(codes, made);
}

/* ---- Sets ---- */

/* Its place, or one that it may take: a free one, or the first of its few. */
static CodeSet **set_of(TargetCodes *codes) {
    enum { WAYS = 4 };
    const Text *key = &codes->set_key;
    CodeSet **first = &codes->sets[hash_bytes(key->data, key->length, 0) % (SETS / WAYS) * WAYS], **place = first;
    for (int way = 0; way < WAYS; way++) {
        const CodeSet *set = first[way];
        if (set && set->key_bytes == key->length && memcmp(set->key, key->data, key->length) == 0)
            return &first[way];
        place = !set && *place ? &first[way] : place;
    }
    return place;
}

static size_t own_bytes(const CodeSet *set) {
    return sizeof *set + set->key_bytes + (size_t)set->count * sizeof *set->made;
}

static void free_set(TargetCodes *codes, CodeSet *set) {
    memory_free(codes->allocator, set->key, set->key_bytes);
    memory_free(codes->allocator, set->made, (size_t)set->count * sizeof *set->made);
    memory_free(codes->allocator, set, sizeof *set);
}

static void add_set(TargetCodes *codes, CodeSet **at, CodeSet *set) {
    *at = set;
    codes->set_bytes += own_bytes(set);
    for (int i = 0; i < set->count; i++)
        codes->set_bytes += set->made[i]->sets++ ? 0 : set->made[i]->bytes;
}

static void drop_set(TargetCodes *codes, CodeSet **at) {
    CodeSet *set = *at;
    if (!set)
        return;
    *at = NULL;
    codes->set_bytes -= own_bytes(set);
    for (int i = 0; i < set->count; i++) {
        codes->set_bytes -= --set->made[i]->sets ? 0 : set->made[i]->bytes;
        codes_give(codes, set->made[i]);
    }
    free_set(codes, set);
}

Text *codes_set_key(TargetCodes *codes) {
    text_clear(&codes->set_key);
    return &codes->set_key;
}

const CodeSet *codes_find_set(TargetCodes *codes) {
    const Text *key = &codes->set_key;
    const CodeSet *set = key->failed ? NULL : *set_of(codes);
    return set && set->key_bytes == key->length && memcmp(set->key, key->data, key->length) == 0 ? set : NULL;
}

/* NULL: out of memory. */
static CodeSet *new_set(TargetCodes *codes, MadeCode *const *made, int count) {
    const Text *key = &codes->set_key;
    CodeSet *set = memory_alloc(codes->allocator, sizeof *set);
    if (!set)
        return NULL;
    *set = (CodeSet){.key_bytes = key->length, .count = count};
    set->key = memory_alloc(codes->allocator, set->key_bytes);
    set->made = memory_alloc(codes->allocator, (size_t)count * sizeof(MadeCode *));
    if (!set->key || (count && !set->made)) {
        free_set(codes, set);
        return NULL;
    }
    memcpy(set->key, key->data, key->length);
    for (int i = 0; i < count; i++)
        codes_hold(set->made[i] = made[i]);
    return set;
}

/* Where there is too much, whatever comes next in their table goes: what is missed is kept again. */
static void keep_room(TargetCodes *codes) {
    for (int i = 0; i < SETS && codes->set_bytes > MOST_IDLE; i++, codes->drop_next = (codes->drop_next + 1) % SETS)
        drop_set(codes, &codes->sets[codes->drop_next]);
}

/* Without memory for it there is no set. */
void codes_keep_set(TargetCodes *codes, MadeCode *const *made, int count) {
    CodeSet *set = codes->set_key.failed || !count ? NULL : new_set(codes, made, count);
    if (!set)
        return;
    CodeSet **at = set_of(codes);
    drop_set(codes, at);
    add_set(codes, at, set);
    keep_room(codes);
}

uint64_t codes_number(TargetCodes *codes) {
    const CodeSet *found = codes_find_set(codes);
    if (found)
        return found->number;
    uint64_t number = ++codes->numbers;
    CodeSet *set = codes->set_key.failed ? NULL : new_set(codes, NULL, 0);
    if (!set)
        return number;
    set->number = number;
    CodeSet **at = set_of(codes);
    drop_set(codes, at);
    add_set(codes, at, set);
    return number;
}

void codes_hold(MadeCode *made) {
    made->users++;
}

void codes_free(TargetCodes *codes) {
    if (!codes)
        return;
    for (int i = 0; i < SETS; i++)
        drop_set(codes, &codes->sets[i]);
    for (int i = 0; i < BUCKETS; i++)
        for (MadeCode *made = codes->buckets[i], *next; made; made = next) {
            next = made->next;
            free_made(codes, made);
        }
    code_memory_free(codes->memory);
    text_free(&codes->key);
    text_free(&codes->set_key);
    memory_free(codes->allocator, codes, sizeof *codes);
}

/* ---- Finding and making ---- */

static void put_key(const Target *target, const VectorFunction *function, uint64_t seed, Text *key) {
    const uint64_t head[] = {target->features, (uint64_t)target->bytes, target->flushes, seed};
    text_clear(key);
    text_put_n(key, (const char *)&target->compile, sizeof target->compile);
    text_put_n(key, (const char *)head, sizeof head);
    vector_identity(function, key);
}

static MadeCode *find(TargetCodes *codes) {
    const Text *key = &codes->key;
    MadeCode *made = *bucket(codes, key->data, key->length);
    while (made && (made->key_bytes != key->length || memcmp(made->key, key->data, key->length) != 0))
        made = made->next;
    return made;
}

/* An entry for the key without its code. NULL: out of memory. */
static MadeCode *new_made(TargetCodes *codes, const Target *target) {
    MadeCode *made = memory_alloc(codes->allocator, sizeof *made);
    unsigned char *key = memory_alloc(codes->allocator, codes->key.length);
    if (!made || !key) {
        memory_free(codes->allocator, made, sizeof *made);
        memory_free(codes->allocator, key, codes->key.length);
        return NULL;
    }
    memcpy(key, codes->key.data, codes->key.length);
    *made = (MadeCode){.key = key, .key_bytes = codes->key.length, .release = target->free};
    return made;
}

static whet_status make(TargetCodes *codes, const Target *target, const VectorFunction *function, uint64_t seed, MadeCode **out,
                        whet_error *err) {
    MadeCode *made = new_made(codes, target);
    if (!made)
        return error_memory(err);
    Target own = *target;
    own.memory = codes->memory;
    whet_status status = own.compile(&own, &function, 1, seed, &made->code, &made->why);
    codes->made++;
    if (status && status != WHET_ERROR_UNSUPPORTED) {
        if (err)
            *err = made->why;
        free_made(codes, made);
        return status;
    }
    made->bytes = sizeof *made + made->key_bytes + (made->code ? 2 * target->size(made->code) : 0);
    MadeCode **head = bucket(codes, made->key, made->key_bytes);
    made->next = *head;
    *head = *out = made;
    return WHET_OK;
}

whet_status codes_take(TargetCodes *codes, const Target *target, const VectorFunction *function, uint64_t seed, MadeCode **out,
                       whet_error *err) {
    *out = NULL;
    codes->asked++;
    put_key(target, function, seed, &codes->key);
    if (codes->key.failed)
        return error_memory(err);
    MadeCode *made = find(codes);
    if (made && !made->users)
        leave_idle(codes, made);
    whet_status status = made ? WHET_OK : make(codes, target, function, seed, &made, err);
    if (status)
        return status;
    made->users++;
    if (made->code) {
        *out = made;
        return WHET_OK;
    }
    if (err)
        *err = made->why;
    status = made->why.status;
    codes_give(codes, made);
    return status;
}

void codes_give(TargetCodes *codes, MadeCode *made) {
    if (!made || --made->users > 0)
        return;
    join_idle(codes, made);
    while (codes->idle_bytes > MOST_IDLE)
        drop_oldest(codes);
}

TargetCode *made_code(const MadeCode *made) {
    return made->code;
}

whet_status codes_seal(TargetCodes *codes, whet_error *err) {
    return code_memory_seal(codes->memory, err);
}

size_t codes_made(const TargetCodes *codes) {
    return codes->made;
}

size_t codes_asked(const TargetCodes *codes) {
    return codes->asked;
}
