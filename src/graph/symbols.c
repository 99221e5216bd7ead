/* Symbolic dimensions: sums of products in one normal form.
 *
 * An expression is a list of terms, coefficient times a product of atoms; an atom is a symbol, or a floor division, maximum or
 * minimum that does not fold. Terms are ordered by degree (highest first), then by their atoms, which are ordered by structure
 * and not by when they were made: so equal expressions are equal lists, print the same in every table, and are found again by
 * their bytes. That order is a monomial order, which makes division of sums by sums the schoolbook's.
 *
 * Every expression is bounded (terms, degree, and the size of the whole tree), and so is the table: what would grow beyond is
 * DIM_UNKNOWN, which is always a right answer.
 */
#include "graph/symbols.h"

#include <assert.h>
#include <string.h>

#define HANDLE_BASE (INT64_MIN + 1)

/* ---- The table --------------------------------------------------------------------------------------------------------- */

Symbols *symbols_new(Arena *arena) {
    Symbols *symbols = ARENA_NEW(arena, Symbols);
    if (!symbols)
        return NULL;
    symbols->arena = arena;
    map_init(&symbols->by_name, arena);
    map_init(&symbols->by_operands, arena);
    map_init(&symbols->by_terms, arena);
    map_init(&symbols->stems, arena);
    return symbols;
}

const Sum *symbols_sum(const Symbols *symbols, Dim d) {
    assert(d != DIM_UNKNOWN && !dim_is_number(d));
    size_t index = (size_t)(d - HANDLE_BASE);
    assert(symbols && index < symbols->sum_count);
    return &symbols->sums[index];
}

/* Structural order: -1, 0, 1. Recursion is bounded by DIM_MAX_SIZE. */
static int compare_dims(const Symbols *symbols, Dim a, Dim b);

static int compare_atoms(const Symbols *symbols, uint32_t a, uint32_t b) {
    if (a == b)
        return 0;
    const Atom *x = &symbols->atoms[a], *y = &symbols->atoms[b];
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->kind == ATOM_SYMBOL)
        return strcmp(x->name, y->name) < 0 ? -1 : 1;
    int first = compare_dims(symbols, x->a, y->a);
    return first ? first : compare_dims(symbols, x->b, y->b);
}

/* Higher degree first, then by atoms. 0: the same product. */
static int compare_products(const Symbols *symbols, const Term *a, const Term *b) {
    if (a->degree != b->degree)
        return a->degree > b->degree ? -1 : 1;
    for (int i = 0; i < a->degree; i++) {
        int order = compare_atoms(symbols, a->atom[i], b->atom[i]);
        if (order)
            return order;
    }
    return 0;
}

static int compare_dims(const Symbols *symbols, Dim a, Dim b) {
    if (a == b)
        return 0;
    if (dim_is_number(a) || dim_is_number(b))
        return dim_is_number(a) && (!dim_is_number(b) || a < b) ? -1 : 1;
    const Sum *x = symbols_sum(symbols, a), *y = symbols_sum(symbols, b);
    for (int i = 0; i < x->count && i < y->count; i++) {
        int order = compare_products(symbols, &x->terms[i], &y->terms[i]);
        if (order)
            return order;
        if (x->terms[i].coef != y->terms[i].coef)
            return x->terms[i].coef < y->terms[i].coef ? -1 : 1;
    }
    return x->count < y->count ? -1 : 1;
}

/* Working form of a sum; `bad` is sticky. */
typedef struct Builder {
    Term terms[DIM_MAX_TERMS];
    int count;
    bool bad;
} Builder;

static void add_term(const Symbols *symbols, Builder *sum, const Term *term) {
    if (sum->bad || term->coef == 0)
        return;
    int at = 0, order = 1;
    while (at < sum->count && (order = compare_products(symbols, &sum->terms[at], term)) < 0)
        at++;
    if (at < sum->count && order == 0) {
        if (!checked_add(sum->terms[at].coef, term->coef, &sum->terms[at].coef)) {
            sum->bad = true;
        } else if (sum->terms[at].coef == 0) {
            sum->count--;
            memmove(&sum->terms[at], &sum->terms[at + 1], (size_t)(sum->count - at) * sizeof *term);
        }
        return;
    }
    if (sum->count == DIM_MAX_TERMS) {
        sum->bad = true;
        return;
    }
    memmove(&sum->terms[at + 1], &sum->terms[at], (size_t)(sum->count - at) * sizeof *term);
    sum->terms[at] = *term;
    sum->count++;
}

static void add_dim(const Symbols *symbols, Builder *sum, Dim d, int64_t factor) {
    if (dim_is_number(d)) {
        Term term = {0};
        if (!checked_mul(d, factor, &term.coef))
            sum->bad = true;
        add_term(symbols, sum, &term);
        return;
    }
    const Sum *other = symbols_sum(symbols, d);
    for (int i = 0; i < other->count; i++) {
        Term term = other->terms[i];
        if (!checked_mul(term.coef, factor, &term.coef))
            sum->bad = true;
        add_term(symbols, sum, &term);
    }
}

static int product_size(const Symbols *symbols, const Term *term) {
    int size = 1;
    for (int i = 0; i < term->degree; i++)
        size += symbols->atoms[term->atom[i]].size;
    return size;
}

/* The one handle of a sum. */
static Dim intern(Symbols *symbols, const Builder *sum) {
    if (sum->bad)
        return DIM_UNKNOWN;
    if (sum->count == 0)
        return 0;
    if (sum->count == 1 && sum->terms[0].degree == 0)
        return dim_const(symbols, sum->terms[0].coef);
    int size = 0;
    for (int i = 0; i < sum->count; i++)
        size += product_size(symbols, &sum->terms[i]);
    if (size > DIM_MAX_SIZE)
        return DIM_UNKNOWN;
    size_t bytes = (size_t)sum->count * sizeof *sum->terms;
    Sum *found = map_get(&symbols->by_terms, (const char *)sum->terms, bytes);
    if (found)
        return found->handle;
    if (symbols->sum_count == DIM_MAX_SUMS)
        return DIM_UNKNOWN;
    const Term *terms = arena_copy(symbols->arena, sum->terms, bytes);
    Sum *stored = ARENA_NEW(symbols->arena, Sum);
    if (!terms || !stored)
        return DIM_UNKNOWN;
    if (!arena_grow(symbols->arena, &symbols->sums, &symbols->sum_capacity, symbols->sum_count + 1, sizeof *symbols->sums))
        return DIM_UNKNOWN;
    *stored = (Sum){.terms = terms, .count = sum->count, .size = size, .handle = HANDLE_BASE + (Dim)symbols->sum_count};
    if (!map_put(&symbols->by_terms, (const char *)terms, bytes, stored))
        return DIM_UNKNOWN;
    symbols->sums[symbols->sum_count++] = *stored;
    return stored->handle;
}

/* ---- Atoms ------------------------------------------------------------------------------------------------------------- */

static Dim atom_dim(Symbols *symbols, uint32_t atom) {
    Builder sum;
    memset(&sum, 0, sizeof sum);
    sum.count = 1;
    sum.terms[0].coef = 1;
    sum.terms[0].degree = 1;
    sum.terms[0].atom[0] = atom;
    return intern(symbols, &sum);
}

/* A new atom's place; NULL: the table is full or memory is out. */
static Atom *new_atom(Symbols *symbols) {
    if (symbols->atom_count == DIM_MAX_SUMS)
        return NULL;
    if (!arena_grow(symbols->arena, &symbols->atoms, &symbols->atom_capacity, symbols->atom_count + 1, sizeof *symbols->atoms))
        return NULL;
    Atom *atom = &symbols->atoms[symbols->atom_count];
    memset(atom, 0, sizeof *atom);
    return atom;
}

Dim dim_symbol(Symbols *symbols, const char *name, size_t length) {
    if (length == 0 || length > DIM_MAX_NAME || memchr(name, 0, length))
        return DIM_UNKNOWN;
    uintptr_t found = (uintptr_t)map_get(&symbols->by_name, name, length);
    if (found)
        return atom_dim(symbols, (uint32_t)(found - 1));
    Atom *atom = new_atom(symbols);
    char *copy = arena_string(symbols->arena, name, length);
    if (!atom || !copy)
        return DIM_UNKNOWN;
    *atom = (Atom){.kind = ATOM_SYMBOL, .name = copy, .size = 1};
    if (!map_put(&symbols->by_name, copy, length, (void *)(symbols->atom_count + 1)))
        return DIM_UNKNOWN;
    return atom_dim(symbols, (uint32_t)symbols->atom_count++);
}

Dim dim_fresh(Symbols *symbols, const char *stem) {
    size_t length = strlen(stem);
    if (length == 0 || length > DIM_MAX_NAME - 24)
        return DIM_UNKNOWN;
    uintptr_t tried = (uintptr_t)map_get(&symbols->stems, stem, length); /* the number to try; 0: the bare stem */
    const char *name = tried ? NULL : stem;
    while (!name || map_get(&symbols->by_name, name, strlen(name))) {
        tried = tried ? tried : 1;
        name = arena_printf(symbols->arena, "%s_%zu", stem, (size_t)tried++);
        if (!name)
            return DIM_UNKNOWN;
    }
    char *key = arena_string(symbols->arena, stem, length);
    if (!key || !map_put(&symbols->stems, key, length, (void *)(tried ? tried : 1)))
        return DIM_UNKNOWN;
    return dim_symbol(symbols, name, strlen(name));
}

static int dim_size(const Symbols *symbols, Dim d) {
    return dim_is_number(d) ? 1 : symbols_sum(symbols, d)->size;
}

/* floor(a / b), max(a, b) or min(a, b) as an atom of its own. */
static Dim composite(Symbols *symbols, AtomKind kind, Dim a, Dim b) {
    if (kind != ATOM_FLOORDIV && compare_dims(symbols, a, b) > 0) { /* one order of the two */
        Dim swap = a;
        a = b;
        b = swap;
    }
    int64_t key[3] = {kind, a, b};
    uintptr_t found = (uintptr_t)map_get(&symbols->by_operands, (const char *)key, sizeof key);
    if (found)
        return atom_dim(symbols, (uint32_t)(found - 1));
    int size = 1 + dim_size(symbols, a) + dim_size(symbols, b);
    if (size >= DIM_MAX_SIZE)
        return DIM_UNKNOWN;
    Atom *atom = new_atom(symbols);
    const char *copy = arena_copy(symbols->arena, key, sizeof key);
    if (!atom || !copy)
        return DIM_UNKNOWN;
    *atom = (Atom){.kind = kind, .a = a, .b = b, .size = size};
    if (!map_put(&symbols->by_operands, copy, sizeof key, (void *)(symbols->atom_count + 1)))
        return DIM_UNKNOWN;
    return atom_dim(symbols, (uint32_t)symbols->atom_count++);
}

/* ---- Arithmetic -------------------------------------------------------------------------------------------------------- */

Dim dim_const(Symbols *symbols, int64_t value) {
    (void)symbols;
    return value < DIM_LOWEST ? DIM_LOWEST : value;
}

bool dim_number(const Symbols *symbols, Dim d, int64_t *out) {
    (void)symbols;
    if (!dim_is_number(d))
        return false;
    *out = d;
    return true;
}

static Dim combine(Symbols *symbols, Dim a, Dim b, int64_t factor) {
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    if (b == 0)
        return a;
    Builder sum;
    sum.count = 0;
    sum.bad = false;
    add_dim(symbols, &sum, a, 1);
    add_dim(symbols, &sum, b, factor);
    return intern(symbols, &sum);
}

Dim dim_add(Symbols *symbols, Dim a, Dim b) {
    int64_t sum;
    if (dim_is_number(a) && dim_is_number(b))
        return checked_add(a, b, &sum) ? dim_const(symbols, sum) : DIM_UNKNOWN;
    return combine(symbols, a, b, 1);
}

Dim dim_sub(Symbols *symbols, Dim a, Dim b) {
    int64_t difference;
    if (dim_is_number(a) && dim_is_number(b))
        return checked_sub(a, b, &difference) ? dim_const(symbols, difference) : DIM_UNKNOWN;
    return combine(symbols, a, b, -1);
}

/* a * b; false: too many atoms, or overflow. */
static bool multiply_terms(const Symbols *symbols, const Term *a, const Term *b, Term *out) {
    memset(out, 0, sizeof *out);
    if (a->degree + b->degree > DIM_MAX_DEGREE || !checked_mul(a->coef, b->coef, &out->coef))
        return false;
    int i = 0, j = 0;
    while (i < a->degree || j < b->degree) {
        bool from_a = j == b->degree || (i < a->degree && compare_atoms(symbols, a->atom[i], b->atom[j]) <= 0);
        out->atom[out->degree++] = from_a ? a->atom[i++] : b->atom[j++];
    }
    return true;
}

Dim dim_mul(Symbols *symbols, Dim a, Dim b) {
    int64_t product;
    if (dim_is_number(a) && dim_is_number(b))
        return checked_mul(a, b, &product) ? dim_const(symbols, product) : DIM_UNKNOWN;
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    Builder sum;
    sum.count = 0;
    sum.bad = false;
    if (dim_is_number(a) || dim_is_number(b)) {
        add_dim(symbols, &sum, dim_is_number(a) ? b : a, dim_is_number(a) ? a : b);
        return intern(symbols, &sum);
    }
    const Sum *x = symbols_sum(symbols, a), *y = symbols_sum(symbols, b);
    for (int i = 0; i < x->count; i++) {
        for (int j = 0; j < y->count && !sum.bad; j++) {
            Term term;
            if (!multiply_terms(symbols, &x->terms[i], &y->terms[j], &term))
                return DIM_UNKNOWN;
            add_term(symbols, &sum, &term);
        }
    }
    return intern(symbols, &sum);
}

static int64_t floor_divide(int64_t a, int64_t b) { /* b > 0 */
    int64_t quotient = a / b;
    return a % b < 0 ? quotient - 1 : quotient;
}

/* a // n for a number n > 1: what n divides comes out, floor((n*q + r) / n) = q + floor(r / n). */
static Dim divide_by_number(Symbols *symbols, Dim a, int64_t n) {
    const Sum *sum = symbols_sum(symbols, a);
    Builder quotient, rest;
    quotient.count = rest.count = 0;
    quotient.bad = rest.bad = false;
    for (int i = 0; i < sum->count; i++) {
        Term term = sum->terms[i];
        int64_t whole = floor_divide(term.coef, n), left = term.coef - whole * n;
        term.coef = whole;
        add_term(symbols, &quotient, &term);
        term.coef = left;
        add_term(symbols, &rest, &term);
    }
    Dim r = intern(symbols, &rest);
    if (r == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    Dim q = intern(symbols, &quotient);
    if (dim_is_number(r))
        return q; /* 0 <= r < n */
    const Sum *tail = symbols_sum(symbols, r);
    const Atom *inner = &symbols->atoms[tail->terms[0].atom[0]];
    int64_t product;
    bool nested = tail->count == 1 && tail->terms[0].coef == 1 && tail->terms[0].degree == 1 && inner->kind == ATOM_FLOORDIV &&
                  dim_is_number(inner->b) && inner->b > 0 && checked_mul(inner->b, n, &product);
    if (nested) /* (x // m) // n = x // (m * n) */
        return dim_add(symbols, q, dim_floordiv(symbols, inner->a, product));
    return dim_add(symbols, q, composite(symbols, ATOM_FLOORDIV, r, n));
}

/* a / b if it is exact. */
static bool divide_terms(const Term *a, const Term *b, Term *out) {
    if (b->degree > a->degree || a->coef == INT64_MIN || b->coef == INT64_MIN || a->coef % b->coef != 0)
        return false;
    memset(out, 0, sizeof *out);
    out->coef = a->coef / b->coef;
    int j = 0;
    for (int i = 0; i < a->degree; i++) {
        if (j < b->degree && a->atom[i] == b->atom[j])
            j++;
        else
            out->atom[out->degree++] = a->atom[i];
        if (out->degree > a->degree - b->degree)
            return false;
    }
    return j == b->degree;
}

/* a / b where the division of sums leaves no rest; DIM_UNKNOWN where it does. */
static Dim divide_exactly(Symbols *symbols, Dim a, Dim b) {
    const Sum *divisor = symbols_sum(symbols, b);
    Builder rest, quotient;
    rest.count = quotient.count = 0;
    rest.bad = quotient.bad = false;
    add_dim(symbols, &rest, a, 1);
    while (rest.count && !rest.bad) {
        Term factor, product;
        if (!divide_terms(&rest.terms[0], &divisor->terms[0], &factor))
            return DIM_UNKNOWN;
        add_term(symbols, &quotient, &factor);
        for (int i = 0; i < divisor->count; i++) {
            if (!multiply_terms(symbols, &factor, &divisor->terms[i], &product) || !checked_sub(0, product.coef, &product.coef))
                return DIM_UNKNOWN;
            add_term(symbols, &rest, &product);
        }
    }
    return rest.bad ? DIM_UNKNOWN : intern(symbols, &quotient);
}

Dim dim_floordiv(Symbols *symbols, Dim a, Dim b) {
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN || b == 0)
        return DIM_UNKNOWN;
    if (dim_is_number(b) && b < 0)
        return dim_floordiv(symbols, dim_mul(symbols, a, -1), -b);
    if (b == 1)
        return a;
    if (dim_is_number(b))
        return dim_is_number(a) ? floor_divide(a, b) : divide_by_number(symbols, a, b);
    if (a == 0)
        return 0;
    if (!dim_is_number(a)) {
        Dim exact = divide_exactly(symbols, a, b);
        if (exact != DIM_UNKNOWN)
            return exact;
    }
    return composite(symbols, ATOM_FLOORDIV, a, b);
}

static bool atom_never_negative(const Symbols *symbols, uint32_t index) {
    const Atom *atom = &symbols->atoms[index];
    if (atom->kind == ATOM_SYMBOL)
        return true;
    bool a = dim_never_negative(symbols, atom->a), b = dim_never_negative(symbols, atom->b);
    return atom->kind == ATOM_MAX ? a || b : a && b;
}

bool dim_never_negative(const Symbols *symbols, Dim d) {
    if (d == DIM_UNKNOWN)
        return false;
    if (dim_is_number(d))
        return d >= 0;
    const Sum *sum = symbols_sum(symbols, d);
    for (int i = 0; i < sum->count; i++) {
        if (sum->terms[i].coef < 0)
            return false;
        for (int j = 0; j < sum->terms[i].degree; j++) {
            if (!atom_never_negative(symbols, sum->terms[i].atom[j]))
                return false;
        }
    }
    return true;
}

static Dim max_or_min(Symbols *symbols, AtomKind kind, Dim a, Dim b) {
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    bool max = kind == ATOM_MAX;
    if (dim_is_number(a) && dim_is_number(b))
        return (a > b) == max ? a : b;
    if (dim_never_negative(symbols, dim_sub(symbols, a, b)))
        return max ? a : b;
    if (dim_never_negative(symbols, dim_sub(symbols, b, a)))
        return max ? b : a;
    return composite(symbols, kind, a, b);
}

Dim dim_max(Symbols *symbols, Dim a, Dim b) {
    return max_or_min(symbols, ATOM_MAX, a, b);
}

Dim dim_min(Symbols *symbols, Dim a, Dim b) {
    return max_or_min(symbols, ATOM_MIN, a, b);
}

const char *dim_symbol_name(const Symbols *symbols, Dim d) {
    if (d == DIM_UNKNOWN || dim_is_number(d))
        return NULL;
    const Sum *sum = symbols_sum(symbols, d);
    if (sum->count != 1 || sum->terms[0].coef != 1 || sum->terms[0].degree != 1)
        return NULL;
    const Atom *atom = &symbols->atoms[sum->terms[0].atom[0]];
    return atom->kind == ATOM_SYMBOL ? atom->name : NULL;
}

/* ---- Values ------------------------------------------------------------------------------------------------------------ */

typedef struct Binding {
    const Symbols *symbols;
    const whet_dim *values;
    int count;
} Binding;

static bool evaluate(const Binding *binding, Dim d, int64_t *out);

static bool evaluate_atom(const Binding *binding, const Atom *atom, int64_t *out) {
    if (atom->kind == ATOM_SYMBOL) {
        for (int i = 0; i < binding->count; i++) {
            if (strcmp(binding->values[i].name, atom->name) == 0) {
                *out = binding->values[i].extent;
                return *out >= 0;
            }
        }
        return false;
    }
    int64_t a, b;
    if (!evaluate(binding, atom->a, &a) || !evaluate(binding, atom->b, &b))
        return false;
    Dim result = atom->kind == ATOM_FLOORDIV ? dim_floordiv(NULL, a, b)
                 : atom->kind == ATOM_MAX    ? dim_max(NULL, a, b)
                                             : dim_min(NULL, a, b);
    *out = result;
    return result != DIM_UNKNOWN;
}

static bool evaluate(const Binding *binding, Dim d, int64_t *out) {
    if (d == DIM_UNKNOWN)
        return false;
    if (dim_is_number(d)) {
        *out = d;
        return true;
    }
    const Sum *sum = symbols_sum(binding->symbols, d);
    int64_t total = 0;
    for (int i = 0; i < sum->count; i++) {
        const Term *term = &sum->terms[i];
        int64_t product = term->coef, factor;
        for (int j = 0; j < term->degree; j++) {
            if (!evaluate_atom(binding, &binding->symbols->atoms[term->atom[j]], &factor))
                return false;
            if (!checked_mul(product, factor, &product))
                return false;
        }
        if (!checked_add(total, product, &total))
            return false;
    }
    *out = total;
    return total >= DIM_LOWEST;
}

Dim dim_bind(Symbols *symbols, Dim d, const whet_dim *values, int count) {
    Binding binding = {symbols, values, count};
    int64_t value;
    return evaluate(&binding, d, &value) && value >= 0 ? value : DIM_UNKNOWN;
}
