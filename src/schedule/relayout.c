/* Convolutions of images channels first, in one of three ways. As they lie, with pixels over the lanes: contractions read an
 * unpadded image where it is. Padded: the same from a copy with its border written out,
 *
 *     t[n, c, h, w] = x[n, c, h - 1, w - 1]?     map
 *     y[n, o, h, w] = sum(...) t[n, c, h + i, w + j] * f[o, c, i, j]
 *
 * Or transposed: the convolution runs channels last, and its result is transposed back. Each element is moved twice at the speed
 * of a cache, where the sum reads it taps times outputs often; lanes are lost where pixels or outputs are no whole vectors.
 *
 *     t[n, h, w, c] = x[n, c, h, w]              map
 *     u[n, h, w, o] = sum(...) t[...]? * f[...]  whatever template is best, Winograd's too; a definition a phase, if transposed
 *     y[n, o, h, w] = u[n, h, w, o]              map
 *
 * What its epilogue reads of the result's shape (a residual) is transposed too. All of it is a rewritten kernel that runs in
 * stages (parts.c). The cost model decides: few outputs are padded, many are transposed, products without taps (1x1) stay as
 * they are unless images are small.
 */
#include "kernel/rewrite.h"
#include "schedule/cost.h"
#include "schedule/schedule.h"
#include "schedule/winograd.h"

#include <string.h>

/* An index of the image where it is padded: step * i<place> + tap_step * i<tap> + least. */
typedef struct Source {
    int place, tap; /* dimensions of the padded image; tap: -1 for none */
    int64_t step, tap_step, least;
} Source;

typedef struct Relayout {
    const Kernel *kernel;
    int image, weights, result; /* tensors */
    bool placed[KERNEL_MAX_TENSORS];
    int last[KERNEL_MAX_TENSORS];  /* of tensors that are placed: the dimension that shall be the last one; -1: as it is */
    int other[KERNEL_MAX_TENSORS]; /* the transposed tensor; itself where there is none */
    bool turns;                    /* it can be transposed */
    double direct, relaid, padded; /* slots; padded: 0 where that cannot be */
    const Expr *read;              /* of the image that is padded */
    Index *index;                  /* as the padded one is read, */
    int64_t *dims;                 /* which has these dims, */
    int rank;
    Source *source;   /* and its elements from there, by dimension of the image */
    bool apart, gaps; /* pixels that are apart are put side by side; some are */
} Relayout;

/* ---- recognition ---- */

static bool moves(const Index *index, int count, int axis) {
    for (int i = 0; i < count; i++)
        if (index[i].coef[axis])
            return true;
    return false;
}

typedef struct Product {
    const Definition *d;
    const Expr *image, *weights;
    int lane; /* the axis along which the result is contiguous */
} Product;

static const Expr *find_sum(const Definition *d, const char **why) {
    const Expr *sum = NULL;
    *why = "not one sum of products of two tensors";
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (expr_gathers(e))
            return NULL;
        if (e->op == EXPR_REDUCE && (sum || e->reduce != REDUCE_SUM))
            return NULL;
        if (e->op == EXPR_REDUCE)
            sum = e;
    }
    if (!sum || sum->arg[0]->op != EXPR_MUL)
        return NULL;
    Expr *const *factor = sum->arg[0]->arg;
    return expr_without_cast(factor[0])->op == EXPR_READ && expr_without_cast(factor[1])->op == EXPR_READ ? sum : NULL;
}

/* The image is the factor that moves along the lanes. */
static bool find_product(const Definition *d, Product *out, const char **why) {
    const Expr *sum = find_sum(d, why);
    if (!sum)
        return false;
    *out = (Product){
        .d = d, .image = expr_without_cast(sum->arg[0]->arg[0]), .weights = expr_without_cast(sum->arg[0]->arg[1]), .lane = -1};
    for (int a = 0; a < d->parallel_count; a++)
        if (d->axes[a].extent > 1 && d->left[d->left_count - 1].coef[a])
            out->lane = a;
    if (out->lane < 0)
        return refuse(why, "one column");
    if (moves(out->weights->index, out->weights->index_count, out->lane)) {
        const Expr *swap = out->image;
        out->image = out->weights;
        out->weights = swap;
    }
    if (moves(out->weights->index, out->weights->index_count, out->lane) ||
        !moves(out->image->index, out->image->index_count, out->lane))
        return refuse(why, "no pixels along the lanes");
    return true;
}

/* An axis along which one of the two moves. */
static bool is_output(const Product *p, int axis) {
    return axis < p->d->parallel_count && p->d->axes[axis].extent > 1 && !moves(p->image->index, p->image->index_count, axis) &&
           moves(p->weights->index, p->weights->index_count, axis);
}

static bool is_pixel(const Product *p, int axis) {
    return axis < p->d->parallel_count && p->d->axes[axis].extent > 1 && moves(p->image->index, p->image->index_count, axis) &&
           !moves(p->weights->index, p->weights->index_count, axis);
}

/* The last dimension that output channels move along; -1: none. */
static int output_dim(const Product *p, const Index *index, int count) {
    for (int i = count - 1; i >= 0; i--)
        for (int a = 0; a < p->d->parallel_count; a++)
            if (index[i].coef[a] && is_output(p, a))
                return i;
    return -1;
}

/* The dimension of an image that is summed over and has no pixels in it. */
static int channel_dim(const Product *p) {
    int best = -1;
    int64_t most = 1;
    for (int i = 0; i < p->image->index_count; i++) {
        int64_t extent = 1;
        bool pixels = false;
        for (int a = 0; a < p->d->axis_count; a++) {
            if (!p->image->index[i].coef[a])
                continue;
            pixels = pixels || is_pixel(p, a);
            extent *= a >= p->d->parallel_count ? p->d->axes[a].extent : 1;
        }
        if (!pixels && extent > most) {
            best = i;
            most = extent;
        }
    }
    return best;
}

static bool place(Relayout *r, int tensor, int dim, const char **why) {
    const KernelTensor *t = &r->kernel->tensors[tensor];
    int64_t behind = 1;
    for (int i = dim + 1; dim >= 0 && i < t->rank; i++)
        behind *= t->dims[i];
    dim = behind == 1 ? -1 : dim;
    if (r->placed[tensor] && r->last[tensor] != dim)
        return refuse(why, "a tensor that is read in two ways");
    r->placed[tensor] = true;
    r->last[tensor] = dim;
    return true;
}

static bool place_operands(Relayout *r, const Product *p, const char **why) {
    for (int i = 0; i < p->d->expr_count; i++) {
        const Expr *e = p->d->exprs[i];
        if (e->op == EXPR_READ && e != p->image && e != p->weights &&
            !place(r, e->tensor, output_dim(p, e->index, e->index_count), why))
            return false;
    }
    return place(r, r->weights, -1, why);
}

/* ---- the choice ---- */

static const double UNALIGNED = 1.08; /* taps of a line begin anywhere in it */

/* The result is contiguous along no axis. */
static bool is_strided(const Product *p) {
    return p->d->left[p->d->left_count - 1].coef[p->lane] != 1;
}

/* The packed image would hold elements once a tap. */
static bool has_taps(const Relayout *r, const Product *p) {
    double elements = 1;
    for (int a = 0; a < p->d->axis_count; a++)
        if (moves(p->image->index, p->image->index_count, a))
            elements *= (double)p->d->axes[a].extent;
    return elements > (double)r->kernel->tensors[r->image].count;
}

/* Weights, but not the image, move along it: what is summed over in one index of the image. -1: none. */
static int tap_of(const Product *p, const Index *index) {
    int tap = -1, place = -1;
    for (int a = 0; a < p->d->axis_count; a++) {
        if (!index->coef[a] || p->d->axes[a].extent == 1)
            continue;
        int *slot = a < p->d->parallel_count ? &place : &tap;
        if (*slot >= 0 || index->coef[a] != 1)
            return -1;
        *slot = a;
    }
    return place >= 0 ? tap : -1;
}

/* What Winograd's tiles leave of the sum once it is transposed. */
static double share_of_tiles(const Product *p, const Target *target, int64_t outputs) {
    int64_t taps[2] = {0, 0}, places[2] = {1, 1}, channels = 1;
    int found = 0;
    for (int i = 0; i < p->image->index_count; i++) {
        int tap = tap_of(p, &p->image->index[i]);
        if (tap < 0)
            continue;
        if (found == 2)
            return 1;
        taps[found] = p->d->axes[tap].extent;
        for (int a = 0; a < p->d->parallel_count; a++)
            places[found] *= p->image->index[i].coef[a] ? p->d->axes[a].extent : 1;
        found++;
    }
    for (int a = p->d->parallel_count; a < p->d->axis_count; a++)
        channels *= p->d->axes[a].extent;
    if (found < 2 || taps[0] != taps[1] || (taps[0] != 3 && taps[0] != 5))
        return 1;
    return winograd_share((int)taps[0], places[0], places[1], channels / (taps[0] * taps[1]), outputs, target->bytes / 4);
}

/* Loops of a product, as the image is read. */
typedef struct Sizes {
    int64_t columns, images, outputs, groups, depth;
    int64_t step; /* elements of the image from a column to the next */
} Sizes;

static Sizes sizes_of(const Product *p) {
    const Definition *d = p->d;
    Sizes s = {1, 1, 1, 1, 1, p->image->index[p->image->index_count - 1].coef[p->lane]};
    int y_dim = output_dim(p, d->left, d->left_count);
    for (int a = 0; a < d->axis_count; a++) {
        bool ahead = y_dim > 0 && moves(d->left, y_dim, a); /* of the channels: no column */
        *(a >= d->parallel_count ? &s.depth
          : is_output(p, a)      ? &s.outputs
          : !is_pixel(p, a)      ? &s.groups
          : ahead                ? &s.images
                                 : &s.columns) *= d->axes[a].extent;
    }
    return s;
}

/* One output whose pixels are apart: each sum lies side by side in the image, as the template of rows takes it. */
static bool are_rows(const Product *p, Sizes s) {
    int64_t side_by_side = 1;
    for (int a = p->d->parallel_count; a < p->d->axis_count; a++)
        side_by_side *= p->image->index[p->image->index_count - 1].coef[a] == 1 ? p->d->axes[a].extent : 1;
    return s.outputs == 1 && s.step > 1 && side_by_side > 1;
}

/* The sum with pixels over the lanes, nothing packed: a line of the image at a time, all of them where there are no taps. */
static double slots_of_lines(const Relayout *r, const Product *p, const Target *target, Sizes s) {
    enum { ROW_SLOTS = 10, LINE_SLOTS = 150 }; /* of a line beside its call: 75 ns in all */
    int lanes = target->bytes / 4;
    if (are_rows(p, s))
        return (double)(s.groups * s.images * s.columns) * (ROW_SLOTS + 2 * (double)s.depth / lanes);
    int64_t line = has_taps(r, p) || p->image->guarded ? p->d->axes[p->lane].extent : s.columns;
    ContractKnobs knobs = {0};
    ContractShape shape = {.rows = s.outputs, .columns = line, .depth = s.depth};
    double unaligned = p->image->guarded || has_taps(r, p) ? UNALIGNED : 1;
    int64_t lines = s.columns / line;
    return (double)(s.groups * s.images * lines) * (unaligned * cost_contract(target, shape, 4, 0, 0, &knobs) + LINE_SLOTS);
}

/* Groups whose outputs, as many as their channels, fill half a vector at most: several lie side by side (window_groups.c). */
static bool share_vectors(const Product *p, const Target *target, const Sizes *s) {
    int dim = channel_dim(p);
    int64_t channels = 1;
    for (int a = p->d->parallel_count; dim >= 0 && a < p->d->axis_count; a++)
        channels *= p->image->index[dim].coef[a] ? p->d->axes[a].extent : 1;
    return s->groups > 1 && s->outputs > 1 && channels == s->outputs && 8 * channels <= target->bytes &&
           target->bytes % (4 * channels) == 0;
}

/* The sum channels last. */
static double slots_last(const Product *p, const Target *target, const Sizes *s, bool constant) {
    static const double SHARED = 1.15; /* of multiply-adds alone */
    const int lanes = target->bytes / 4;
    ContractKnobs knobs = {0};
    ContractShape shape = {.rows = s->columns * s->images, .columns = s->outputs, .depth = s->depth, .packed_once = constant};
    if (share_vectors(p, target, s))
        return SHARED * (double)(s->groups * s->outputs * s->images) * (double)(s->columns * s->depth) / lanes;
    return (double)s->groups * cost_contract(target, shape, 4, 0, 0, &knobs);
}

static void count_slots(Relayout *r, const Product *p, const Target *target, const ScheduleOptions *options) {
    const bool constant = options->constant && options->constant[r->weights], strided = is_strided(p);
    const Sizes s = sizes_of(p);
    const double pieces = (double)(s.groups * s.images);
    ContractKnobs knobs = {0};
    ContractShape first = {.rows = s.outputs, .columns = strided ? 1 : s.columns, .depth = s.depth};
    double direct = pieces * (double)(strided ? s.columns : 1) * cost_contract(target, first, 4, 0, 0, &knobs) +
                    pieces * cost_pack(target, s.depth, s.columns, s.step);
    double lines = slots_of_lines(r, p, target, s);
    if (!strided && r->read)
        r->padded = lines;
    else if (!strided && !p->image->guarded && (s.step == 1 || are_rows(p, s)) && lines < direct)
        direct = lines;
    bool winograd = constant && s.groups == 1 && !options->exact && options->winograd >= 0 && p->image->type == DT_F32;
    double tiles = winograd ? share_of_tiles(p, target, s.outputs) : 1;
    r->direct += direct;
    r->relaid += tiles * slots_last(p, target, &s, constant) +
                 (constant ? 0 : (double)s.groups * cost_pack(target, s.depth, s.outputs, s.depth));
}

/* A dimension more of the padded image, along which the read moves by `axis` (-1: by what `index` says, from `least` on). */
static bool add_dim(Relayout *r, Arena *arena, const Product *p, const Index *index, int axis, int64_t least, int64_t extent) {
    Index *to = &r->index[r->rank];
    *to = *index;
    to->offset = axis < 0 ? index->offset - least : 0;
    r->dims[r->rank++] = extent;
    if (axis < 0)
        return true;
    to->coef = ARENA_ARRAY(arena, int64_t, (size_t)p->d->axis_count);
    if (to->coef)
        to->coef[axis] = 1;
    return to->coef != NULL;
}

/* One dimension of the image. Where only a pixel moves, by more than one element, what lies between is left out; so it is along
 * the lanes, once for each tap. False: out of memory. */
static bool add_source(Relayout *r, Arena *arena, const Product *p, int dim) {
    const Index *index = &p->image->index[dim];
    int64_t least = index->offset, most = least;
    int place = -1, tap = -1, places = 0, taps = 0;
    for (int a = 0; a < p->d->axis_count; a++) {
        int64_t reach = index->coef[a] * (p->d->axes[a].extent - 1);
        *(reach < 0 ? &least : &most) += reach;
        if (reach && a < p->d->parallel_count)
            place = a, places++;
        else if (reach)
            tap = a, taps++;
    }
    bool lanes = place == p->lane, apart = places == 1 && index->coef[place] > 1 && taps <= lanes && r->apart;
    if (apart && (taps == 0 || index->coef[tap] > 0)) {
        r->gaps = true;
        r->source[dim] =
            (Source){.place = r->rank + taps, .tap = taps ? r->rank : -1, .step = index->coef[place], .least = index->offset};
        if (taps)
            r->source[dim].tap_step = index->coef[tap];
        return (!taps || add_dim(r, arena, p, index, tap, 0, p->d->axes[tap].extent)) &&
               add_dim(r, arena, p, index, place, 0, p->d->axes[place].extent);
    }
    bool leaves = least < 0 || most >= r->kernel->tensors[r->image].dims[dim];
    least = leaves ? least : 0;
    r->source[dim] = (Source){.place = r->rank, .tap = -1, .step = 1, .least = least};
    return add_dim(r, arena, p, index, -1, least, leaves ? most + 1 - least : r->kernel->tensors[r->image].dims[dim]);
}

/* What is read of the image, with zeros around it. False: out of memory. */
static bool find_borders(Relayout *r, const Product *p, Arena *arena) {
    const KernelTensor *t = &r->kernel->tensors[r->image];
    const size_t count = (size_t)p->image->index_count;
    r->apart = !are_rows(p, sizes_of(p));
    if (p->image->arg[0] || t->type != DT_F32)
        return true;
    r->index = ARENA_ARRAY(arena, Index, 2 * count);
    r->dims = ARENA_ARRAY(arena, int64_t, 2 * count);
    r->source = ARENA_ARRAY(arena, Source, count);
    for (size_t i = 0; i < count; i++)
        if (arena->failed || !add_source(r, arena, p, (int)i))
            return false;
    bool lies = r->index[r->rank - 1].coef[p->lane] == 1 || !r->apart;
    if (lies && (p->image->guarded || r->gaps))
        r->read = p->image;
    return true;
}

static bool find_all(Relayout *r, const Target *target, const ScheduleOptions *options, Arena *arena, const char **why) {
    int64_t writes = 0;
    r->result = r->kernel->definitions[0].tensor;
    for (int i = 0; i < r->kernel->definition_count; i++) {
        const Definition *d = &r->kernel->definitions[i];
        int64_t each = 1;
        Product p;
        if (!d->left_count || !find_product(d, &p, why))
            return false;
        if (i == 0) {
            r->image = p.image->tensor;
            r->weights = p.weights->tensor;
        }
        if (options->constant && options->constant[r->image])
            return refuse(why, "columns that are packed once");
        for (int a = 0; a < d->parallel_count; a++)
            each *= d->axes[a].extent; /* no more than the tensor has */
        writes += each;
        if (d->tensor != r->result || p.image->tensor != r->image || p.weights->tensor != r->weights)
            return refuse(why, "definitions of several tensors");
        int from = channel_dim(&p), to = output_dim(&p, d->left, d->left_count);
        r->turns =
            r->turns && to >= 0 && place(r, r->image, from, why) && place(r, r->result, to, why) && place_operands(r, &p, why);
        bool constant = options->constant && options->constant[r->weights];
        if (!constant && !has_taps(r, &p) && !is_strided(&p))
            return refuse(why, "a product of two matrices");
        if (r->kernel->definition_count == 1 && !find_borders(r, &p, arena))
            return refuse(why, "out of memory"); /* the arena's failure is sticky */
        count_slots(r, &p, target, options);
    }
    if (r->kernel->partial || writes != r->kernel->tensors[r->result].count)
        return refuse(why, "a part of a tensor");
    return true;
}

typedef enum Way { AS_IT_IS, PADDED, TRANSPOSED } Way;

static Way cheapest(Relayout *r, const Target *target) {
    int64_t padded = 1;
    for (int t = 0; t < r->kernel->tensor_count; t++)
        if (r->placed[t] && r->last[t] >= 0)
            r->relaid += cost_transpose(target, r->kernel->tensors[t].count);
    for (int i = 0; r->padded > 0 && i < r->rank; i++)
        if (!checked_mul(padded, r->dims[i], &padded))
            r->padded = 0;
    if (r->padded > 0)
        r->padded += cost_copy(target, padded, r->gaps);
    if (r->padded > 0 && r->padded < r->direct && (!r->turns || r->padded < r->relaid))
        return PADDED;
    return r->turns && r->relaid < r->direct ? TRANSPOSED : AS_IT_IS;
}

/* ---- the kernel ---- */

/* Dimension `last` behind all others. */
static void rotate(Index *index, int count, int last) {
    Index moved = index[last];
    memmove(&index[last], &index[last + 1], (size_t)(count - last - 1) * sizeof *index);
    index[count - 1] = moved;
}

static bool add_tensor(Relayout *r, Kernel *to, int of) {
    int last = r->last[of], at = to->tensor_count++;
    KernelTensor *t = &to->tensors[at];
    *t = to->tensors[of];
    t->name = arena_printf(to->arena, "%s_last", t->name);
    t->role = ROLE_TEMPORARY;
    t->dims = arena_copy(to->arena, t->dims, (size_t)t->rank * sizeof *t->dims);
    r->other[of] = at;
    if (!t->dims || !t->name)
        return false;
    int64_t extent = t->dims[last];
    memmove(&t->dims[last], &t->dims[last + 1], (size_t)(t->rank - last - 1) * sizeof *t->dims);
    t->dims[t->rank - 1] = extent;
    return true;
}

static void put_read(Text *text, const char *name, int rank, int last) {
    text_printf(text, "%s[", name);
    for (int i = 0; i < rank; i++)
        if (i != last)
            text_printf(text, "i%d%s", i, last < 0 && i + 1 == rank ? "" : ", ");
    text_printf(text, last < 0 ? "]" : "i%d]", last);
}

/* to[i0, i2, i3, i1] = from[i0, i1, i2, i3], or the way back. */
static bool add_copy(const Relayout *r, Kernel *kernel, int tensor, bool back, whet_error *err) {
    const KernelTensor *t = &kernel->tensors[tensor], *other = &kernel->tensors[r->other[tensor]];
    KernelArg args[] = {{"t", t->type, t->rank, t->dims}, {"u", t->type, other->rank, other->dims}};
    int numbers[2] = {back ? r->other[tensor] : tensor, back ? tensor : r->other[tensor]};
    Text text;
    text_init(&text);
    put_read(&text, back ? "t" : "u", t->rank, back ? -1 : r->last[tensor]);
    text_put(&text, " = ");
    put_read(&text, back ? "u" : "t", t->rank, back ? r->last[tensor] : -1);
    bool fine = schedule_add_stage(kernel, &text, args, numbers, err);
    text_free(&text);
    return fine;
}

static bool add_product(const Relayout *r, Kernel *kernel, const Definition *definition) {
    Definition *d = rewrite_rename(kernel->arena, definition, r->other);
    if (!d)
        return false;
    rotate(d->left, d->left_count, r->last[definition->tensor]);
    for (int i = 0; i < d->expr_count; i++) {
        Expr *e = d->exprs[i];
        for (int t = 0; e->op == EXPR_READ && t < r->kernel->tensor_count; t++)
            if (r->other[t] == e->tensor && r->other[t] != t)
                rotate(e->index, e->index_count, r->last[t]);
    }
    kernel->definitions[kernel->definition_count++] = *d;
    return true;
}

static Kernel *transpose(Relayout *r, Arena *arena, whet_error *err) {
    const Kernel *from = r->kernel;
    Kernel *to = schedule_begin_stages(from, from->definition_count + from->tensor_count, arena);
    if (!to)
        return NULL;
    for (int t = 0; t < from->tensor_count; t++) {
        r->other[t] = t;
        if (r->placed[t] && r->last[t] >= 0 && !add_tensor(r, to, t))
            return NULL;
        if (r->other[t] != t && t != r->result && !add_copy(r, to, t, false, err))
            return NULL;
    }
    for (int i = 0; i < from->definition_count; i++)
        if (!add_product(r, to, &from->definitions[i]))
            return NULL;
    return add_copy(r, to, r->result, true, err) ? to : NULL;
}

/* u[i0, i1, i2] = t[i0 - 1, i1 + 2 * i2 - 1]?, u the padded image. */
static bool add_border(const Relayout *r, Kernel *kernel, int padded, whet_error *err) {
    const KernelTensor *t = &kernel->tensors[r->image];
    KernelArg args[] = {{"t", t->type, t->rank, t->dims}, {"u", t->type, r->rank, r->dims}};
    int numbers[2] = {r->image, padded};
    Text text;
    text_init(&text);
    put_read(&text, "u", r->rank, -1);
    text_put(&text, " = t[");
    for (int i = 0; i < t->rank; i++) {
        const Source *s = &r->source[i];
        text_printf(&text, "%s%lld*i%d + %lld", i ? ", " : "", (long long)s->step, s->place, (long long)s->least);
        if (s->tap >= 0)
            text_printf(&text, " + %lld*i%d", (long long)s->tap_step, s->tap);
    }
    text_put(&text, r->read->guarded ? "]?" : "]");
    bool fine = schedule_add_stage(kernel, &text, args, numbers, err);
    text_free(&text);
    return fine;
}

static Kernel *pad(Relayout *r, Arena *arena, whet_error *err) {
    enum { BORDER_AND_SUM = 2 };
    Kernel *to = schedule_begin_stages(r->kernel, BORDER_AND_SUM, arena);
    if (!to)
        return NULL;
    int padded = to->tensor_count++;
    KernelTensor *t = &to->tensors[padded];
    for (int i = 0; i <= padded; i++)
        r->other[i] = i;
    *t = to->tensors[r->image];
    t->name = arena_printf(arena, "%s_padded", t->name);
    t->role = ROLE_TEMPORARY;
    t->rank = r->rank;
    t->dims = r->dims;
    t->count = 1;
    for (int i = 0; i < t->rank; i++)
        t->count *= t->dims[i];
    Definition *d = t->name ? rewrite_rename(arena, &r->kernel->definitions[0], r->other) : NULL;
    if (!d || !add_border(r, to, padded, err))
        return NULL;
    Expr *read = d->exprs[r->read->id];
    read->tensor = padded;
    read->index = r->index;
    read->index_count = r->rank;
    read->guarded = false;
    to->definitions[to->definition_count++] = *d;
    return to;
}

bool schedule_relayout(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    const Kernel *whole = c->kernel;
    Relayout *r = ARENA_NEW(&c->arena, Relayout);
    if (!r)
        return error_memory(err), false;
    r->kernel = whole;
    r->turns = true;
    if (options->whole)
        return refuse(why, "no stages are wanted");
    if (whole->definition_count + whole->tensor_count > KERNEL_MAX_TENSORS / 2)
        return refuse(why, "more tensors than are transposed");
    if (!find_all(r, &c->target, options, &c->arena, why))
        return false;
    r->turns = r->turns && r->last[r->result] >= 0;
    if (!r->turns && r->padded <= 0)
        return refuse(why, "channels that are last already, or none");
    Way way = cheapest(r, &c->target);
    if (way == AS_IT_IS)
        return refuse(why, "transposing would cost more than it saves");
    Kernel *kernel = way == PADDED ? pad(r, &c->arena, err) : transpose(r, &c->arena, err);
    return schedule_stages(c, kernel, options, why, err);
}
