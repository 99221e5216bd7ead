/* Registers for vector code.
 *
 * Requires lowered addresses. There are no spills: what does not fit is refused,
 * and a schedule then takes a smaller tile.
 *
 * Time is 2 i for the reading and 2 i + 1 for the writing of operation i; intervals are half open. Loops are structured, so
 * one interval says all about a value: from its definition to its last use, where a use inside a loop that does not hold the
 * definition counts until that loop's end. A carried name also lives during the instant [2 end, 2 end + 1) in which the next
 * round's value is moved into its register.
 *
 * Values that should share a register (what a loop carries in, on and out; an FMA and its accumulator) are merged first
 * into groups where their intervals allow; then groups get registers in order of their start, each the first that is free
 * for all its intervals. That leaves no move in any loop a schedule writes. */
#include "vector/vector.h"

#include <string.h>

typedef struct Interval {
    int from, to; /* to <= from: never needed */
    int again;    /* carried names: 2 end of their loop; -1: none */
} Interval;

typedef struct Lifetime { /* of a value */
    Interval live;
    int leader; /* union-find */
    int next;   /* ring of a group */
    int end;    /* of leaders: where the group ends */
    int filled; /* of leaders: the length of the group's intervals together, which do not meet */
    int holder; /* the loop that holds its definition */
} Lifetime;

typedef struct Allocator {
    const VectorFunction *f;
    const VectorRegisters *r;
    Lifetime *of; /* by value */
    int *loop;    /* by operation: the loop it stands in, -1: none; LOOP and END stand outside of themselves */
} Allocator;

static void use_operands(Allocator *a, const VectorOp *op, int time, int late, int tie, int where);

static bool needs_register(const Allocator *a, int value) {
    return !a->r->none[value];
}

/* `value` is read at time `time` by something in loop `where`. */
static void use(Allocator *a, int value, int time, int where) {
    Lifetime *v = &a->of[value];
    int end = time + 1;
    for (int l = where; l != -1 && l != v->holder; l = a->loop[l])
        end = 2 * a->f->ops[l].other + 1;
    if (end > v->live.to)
        v->live.to = end;
    if (!needs_register(a, value)) /* folded: its user reads its operands */
        use_operands(a, &a->f->ops[a->f->values[value].op], time, time, -1, where);
}

/* All of an operation's but what loops carry: at `time`, and `late` all operands but the tied one. */
static void use_operands(Allocator *a, const VectorOp *op, int time, int late, int tie, int where) {
    if (op->address.base >= 0) {
        use(a, op->address.base, time, where);
        for (int t = 0; t < op->address.terms; t++)
            use(a, op->address.term[t].index, time, where);
    }
    if (op->mask >= 0)
        use(a, op->mask, late, where);
    for (int k = 0, args = vector_arg_count(op->code); k < args; k++)
        use(a, op->arg[k], k == tie ? time : late, where);
}

/* The next round's value: read at the loop's end, just before the carried names are written. */
static void use_next(Allocator *a, int value, int end) {
    int loop = a->f->ops[end].other;
    if (a->of[value].holder == loop) {
        if (2 * end > a->of[value].live.to)
            a->of[value].live.to = 2 * end;
    } else
        use(a, value, 2 * end, loop);
}

static void define(Allocator *a, int value, int time, int holder) {
    a->of[value].live = (Interval){time, time + 1, -1};
    a->of[value].holder = holder;
}

static void find_intervals(Allocator *a) {
    const VectorFunction *f = a->f;
    for (int v = 0; v < f->parameter_count; v++) {
        define(a, v, 0, -1);
        a->of[v].live.to = 0;
    }
    int open = -1;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        const int *ids = f->ids + op->carried;
        if (op->code == VECTOR_END)
            open = a->loop[op->other];
        a->loop[i] = open;
        if (op->code == VECTOR_LOOP) {
            for (int c = 0; c < op->carry_count; c++)
                use(a, ids[c], 2 * i, open);
            if (op->limit >= 0)
                use(a, op->limit, 2 * i, i);
            define(a, op->result, 2 * i + 1, i);
            a->of[op->result].live.to = 2 * op->other + 1;
            for (int c = 0; c < op->carry_count; c++) {
                define(a, ids[op->carry_count + c], 2 * i + 1, i);
                a->of[ids[op->carry_count + c]].live.again = 2 * op->other;
            }
            open = i;
        } else if (op->code == VECTOR_END) {
            for (int c = 0; c < op->carry_count; c++) {
                use_next(a, ids[c], i);
                define(a, ids[op->carry_count + c], 2 * i + 1, open);
            }
        } else {
            if (op->result < 0 || needs_register(a, op->result))
                use_operands(a, op, 2 * i, 2 * i + a->r->late[i], a->r->tie[i], open);
            if (op->result >= 0)
                define(a, op->result, 2 * i + 1, open);
        }
    }
}

static bool spans_meet(int from, int to, int from2, int to2) {
    return from < to2 && from2 < to;
}

static bool meet(const Interval *x, const Interval *y) {
    return spans_meet(x->from, x->to, y->from, y->to) || (x->again >= 0 && spans_meet(x->again, x->again + 1, y->from, y->to)) ||
           (y->again >= 0 && spans_meet(x->from, x->to, y->again, y->again + 1)) || (x->again >= 0 && x->again == y->again);
}

/* From its beginning to its end without a gap, as sums are: one interval. */
static bool is_solid(const Allocator *a, int leader) {
    return a->of[leader].filled == a->of[leader].end - a->of[leader].live.from;
}

static bool span_meets_group(const Allocator *a, int from, int to, int group) {
    int i = group;
    if (is_solid(a, group))
        return spans_meet(from, to, a->of[group].live.from, a->of[group].end);
    do {
        const Interval *v = &a->of[i].live;
        if (spans_meet(from, to, v->from, v->to) || (v->again >= 0 && spans_meet(from, to, v->again, v->again + 1)))
            return true;
        i = a->of[i].next;
    } while (i != group);
    return false;
}

/* Of two leaders, who start first in their groups. */
static bool groups_meet(const Allocator *a, int x, int y) {
    int i = x;
    if (a->of[x].end <= a->of[y].live.from || a->of[y].end <= a->of[x].live.from)
        return false;
    if (is_solid(a, x))
        return span_meets_group(a, a->of[x].live.from, a->of[x].end, y);
    if (is_solid(a, y))
        return span_meets_group(a, a->of[y].live.from, a->of[y].end, x);
    do {
        int j = y;
        do {
            if (meet(&a->of[i].live, &a->of[j].live))
                return true;
            j = a->of[j].next;
        } while (j != y);
        i = a->of[i].next;
    } while (i != x);
    return false;
}

static int leader_of(Allocator *a, int value) {
    while (a->of[value].leader != value)
        value = a->of[value].leader = a->of[a->of[value].leader].leader;
    return value;
}

static RegisterClass file_of(const Allocator *a, int value) {
    return a->r->same[a->f->values[value].class];
}

static void merge(Allocator *a, int x, int y) {
    x = leader_of(a, x);
    y = leader_of(a, y);
    if (x == y || !needs_register(a, x) || !needs_register(a, y) || file_of(a, x) != file_of(a, y) || groups_meet(a, x, y))
        return;
    a->of[y].leader = x;
    int swap = a->of[x].next;
    a->of[x].next = a->of[y].next;
    a->of[y].next = swap;
    a->of[x].end = a->of[y].end = a->of[x].end > a->of[y].end ? a->of[x].end : a->of[y].end;
    a->of[x].filled = a->of[y].filled = a->of[x].filled + a->of[y].filled;
    if (a->of[y].live.from < a->of[x].live.from) /* the leader is who starts first */
        a->of[x].leader = a->of[y].leader = y;
}

static void merge_all(Allocator *a) {
    const VectorFunction *f = a->f;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        if (op->code != VECTOR_LOOP)
            continue;
        const int *head = f->ids + op->carried, *end = f->ids + f->ops[op->other].carried;
        int n = op->carry_count;
        for (int c = 0; c < n; c++) {
            merge(a, head[n + c], end[c]);
            merge(a, head[n + c], end[n + c]);
            merge(a, head[n + c], head[c]);
        }
    }
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        int tie = a->r->tie[i];
        if (op->result >= 0 && tie >= 0 && op->code != VECTOR_LOOP && op->arg[tie] >= 0)
            merge(a, op->result, op->arg[tie]);
    }
}

/* What is in the registers of one class: the groups and scratch uses, as chains of entries. */
typedef struct Entry {
    int group;    /* a leader, or -1 */
    int from, to; /* of a scratch use */
    int next;
} Entry;

typedef struct File {
    int first[64], busy_until[64];
    int solid_until[64]; /* in use without a gap until then */
    int order[64];
    int count;
} File;

typedef struct Assignment {
    Allocator *a;
    File file[CLASS_COUNT];
    Entry *entries;
    int entry_count;
} Assignment;

static bool register_free(Assignment *s, File *file, int reg, int group, int from, int to) {
    if (from >= file->busy_until[reg])
        return true;
    for (int *link = &file->first[reg], e = *link; e >= 0; e = *link) {
        const Entry *entry = &s->entries[e];
        if (entry->to <= from) { /* asked for in order of time: this one will not be met again */
            *link = entry->next;
            continue;
        }
        bool clash;
        if (group >= 0 && entry->group >= 0)
            clash = groups_meet(s->a, group, entry->group);
        else if (entry->group >= 0)
            clash = span_meets_group(s->a, from, to, entry->group);
        else if (group >= 0)
            clash = span_meets_group(s->a, entry->from, entry->to, group);
        else
            clash = spans_meet(from, to, entry->from, entry->to);
        if (clash)
            return false;
        link = &s->entries[e].next;
    }
    return true;
}

/* A register of `file` for a group (or for the span alone, group -1); -1: none is free. */
static int take(Assignment *s, File *file, int group, int from, int to) {
    for (int k = 0; k < file->count; k++) {
        int reg = file->order[k];
        if (from < file->solid_until[reg] || !register_free(s, file, reg, group, from, to))
            continue;
        if (group < 0 || is_solid(s->a, group))
            file->solid_until[reg] = to;
        s->entries[s->entry_count] = (Entry){group, from, to, file->first[reg]};
        file->first[reg] = s->entry_count++;
        if (to > file->busy_until[reg])
            file->busy_until[reg] = to;
        return reg;
    }
    return -1;
}

static void init_files(Assignment *s) {
    uint64_t random = s->a->r->seed;
    for (int c = 0; c < CLASS_COUNT; c++) {
        File *file = &s->file[c];
        file->count = s->a->r->count[c];
        for (int i = 0; i < file->count; i++) {
            file->first[i] = -1;
            file->busy_until[i] = file->solid_until[i] = 0;
            file->order[i] = i;
        }
        for (int i = file->count - 1; s->a->r->seed && i > 0; i--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            int j = (int)((random >> 33) % (unsigned)(i + 1)), swap = file->order[i];
            file->order[i] = file->order[j];
            file->order[j] = swap;
        }
    }
}

static bool refuse(const Allocator *a, RegisterClass class, VectorAllocation *out, whet_error *err) {
    static const char *const names[CLASS_COUNT] = {"", "general", "general", "vector", "mask", "tile"};
    out->missing = class;
    error_set(err, WHET_ERROR_UNSUPPORTED, "vector code '%s' needs more than the %d %s registers there are", a->f->name,
              a->r->count[class], names[class]);
    return false;
}

/* Groups in order of their start (values are numbered by their definition, so a leader's number is that order), scratch
 * registers among them. */
static bool assign(Assignment *s, VectorAllocation *out, whet_error *err) {
    Allocator *a = s->a;
    const VectorFunction *f = a->f;
    int value = 0;
    for (int i = -1; i < f->op_count; i++) {
        int scratch = i >= 0 ? a->r->scratch[i] : 0;
        for (int k = 0; k < scratch; k++) {
            int reg = take(s, &s->file[CLASS_VECTOR], -1, 2 * i, 2 * i + 2);
            if (reg < 0)
                return refuse(a, CLASS_VECTOR, out, err);
            out->scratch[VECTOR_SCRATCH * i + k] = (signed char)reg;
            if (reg >= out->used[CLASS_VECTOR])
                out->used[CLASS_VECTOR] = reg + 1;
        }
        for (; value < f->value_count && f->values[value].op == i; value++) {
            const Interval *live = &a->of[value].live;
            if (a->of[value].leader != value || !needs_register(a, value) || live->to <= live->from)
                continue;
            RegisterClass class = file_of(a, value);
            int reg = take(s, &s->file[class], value, live->from, a->of[value].end);
            if (reg < 0)
                return refuse(a, class, out, err);
            int m = value;
            do {
                out->reg[m] = (signed char)reg;
                m = a->of[m].next;
            } while (m != value);
            if (reg >= out->used[class])
                out->used[class] = reg + 1;
        }
    }
    return true;
}

/* Where groups of one value end, and how long they are. */
static void start_groups(Allocator *a) {
    for (int i = 0; i < a->f->value_count; i++) {
        Lifetime *v = &a->of[i];
        bool later = v->live.again >= v->live.to;
        v->leader = v->next = i;
        v->end = later ? v->live.again + 1 : v->live.to;
        v->filled = v->live.to - v->live.from + later;
    }
}

bool vector_allocate(const VectorFunction *f, const VectorRegisters *registers, Arena *arena, VectorAllocation *out,
                     whet_error *err) {
    size_t values = (size_t)f->value_count + 1, ops = (size_t)f->op_count + 1, scratch = 0;
    for (int i = 0; i < f->op_count; i++)
        scratch += registers->scratch[i];
    /* All of these are written before they are read. */
    Allocator a = {
        .f = f, .r = registers, .of = arena_take(arena, values, sizeof *a.of), .loop = arena_take(arena, ops, sizeof *a.loop)};
    Assignment *s = arena_take(arena, 1, sizeof *s);
    Entry *entries = arena_take(arena, values + scratch, sizeof *entries);
    memset(out, 0, sizeof *out);
    memcpy(out->same, registers->same, sizeof out->same);
    out->reg = arena_take(arena, values, sizeof *out->reg);
    out->scratch = arena_take(arena, VECTOR_SCRATCH * ops, sizeof *out->scratch);
    if (arena->failed)
        return error_memory(err), false;
    memset(out->reg, -1, values);
    memset(out->scratch, -1, VECTOR_SCRATCH * ops);
    find_intervals(&a);
    start_groups(&a);
    merge_all(&a);
    s->a = &a;
    s->entries = entries;
    s->entry_count = 0;
    init_files(s);
    return assign(s, out, err);
}
