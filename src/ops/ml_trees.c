/* Forests of decision trees: TreeEnsembleClassifier, TreeEnsembleRegressor and TreeEnsemble of ai.onnx.ml.
 *
 * Whatever the operator calls its arrays, they become one Forest: nodes with a feature to look at, a comparison, and two
 * children; leaves with weights for targets (or classes). Each row of the input walks each tree from its root. Node numbers come
 * from the file, so each is looked up and checked, and a walk that takes more steps than there are nodes has met a cycle.
 *
 * Where the specification says little (two classes with one score, base values) ONNX Runtime's answers hold.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ml.h"

typedef enum Mode { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF } Mode; /* TreeEnsemble's numbers */

typedef struct Span {
    int64_t first, count;
} Span;

typedef struct Forest {
    int64_t count, roots, targets;
    uint8_t *mode, *missing; /* missing: NaN goes the way of true */
    int64_t *feature, *yes, *no, *root;
    double *split;
    Span *weights, *members; /* of a leaf; of a node that asks for membership */
    int64_t weight_count;
    int64_t *target;
    double *weight;
    const double *member;
    bool narrow; /* sums are rounded to f32 after each addition */
} Forest;

static whet_status allocate(OpRun *run, Forest *f, int64_t nodes, int64_t weights) {
    size_t n = (size_t)nodes + 1, w = (size_t)weights + 1; /* none is memory, too */
    f->count = nodes;
    f->weight_count = weights;
    f->mode = op_scratch(run, n);
    f->missing = op_scratch(run, n);
    f->feature = op_scratch(run, n * sizeof *f->feature);
    f->yes = op_scratch(run, n * sizeof *f->yes);
    f->no = op_scratch(run, n * sizeof *f->no);
    f->root = op_scratch(run, n * sizeof *f->root);
    f->split = op_scratch(run, n * sizeof *f->split);
    f->weights = op_scratch(run, n * sizeof *f->weights);
    f->members = op_scratch(run, n * sizeof *f->members);
    f->target = op_scratch(run, w * sizeof *f->target);
    f->weight = op_scratch(run, w * sizeof *f->weight);
    if (!f->mode || !f->missing || !f->feature || !f->yes || !f->no || !f->root || !f->split || !f->weights || !f->members ||
        !f->target || !f->weight)
        return native_failed(run);
    memset(f->missing, 0, n);
    memset(f->weights, 0, n * sizeof *f->weights);
    memset(f->members, 0, n * sizeof *f->members);
    return WHET_OK;
}

/* A list of exactly `wanted` integers; where it is optional, none is fine, too, and NULL. */
static whet_status ints_of(OpRun *run, const char *name, int64_t wanted, bool optional, const int64_t **out) {
    int count;
    *out = op_ints(run->call, name, &count);
    if (count == wanted || (optional && count == 0))
        return WHET_OK;
    return native_error(run, WHET_ERROR_FORMAT, "%s has %d elements; wanted %lld", name, count, (long long)wanted);
}

static whet_status numbers_of(OpRun *run, const char *name, int64_t wanted, const double **out) {
    int64_t count;
    *out = ml_numbers(run, name, &count);
    if (!*out)
        return native_failed(run);
    return count == wanted ? WHET_OK
                           : native_error(run, WHET_ERROR_FORMAT, "%s has %lld elements; wanted %lld", name, (long long)count,
                                          (long long)wanted);
}

/* ---- Nodes by tree and number (versions before 5) ------------------------------------------------------------------------ */

typedef struct Key {
    int64_t tree, node, index;
} Key;

static int compare_keys(const void *a, const void *b) {
    const Key *x = a, *y = b;
    if (x->tree != y->tree)
        return x->tree < y->tree ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static int64_t find_node(const Key *keys, int64_t count, int64_t tree, int64_t node) {
    Key wanted = {tree, node, 0};
    const Key *found = bsearch(&wanted, keys, (size_t)count, sizeof *keys, compare_keys);
    return found ? found->index : -1;
}

static whet_status sort_keys(OpRun *run, const int64_t *trees, const int64_t *nodes, Forest *f, Key **out) {
    Key *keys = *out = op_scratch(run, (size_t)(f->count + 1) * sizeof *keys);
    if (!keys)
        return native_failed(run);
    for (int64_t i = 0; i < f->count; i++)
        keys[i] = (Key){trees[i], nodes[i], i};
    qsort(keys, (size_t)f->count, sizeof *keys, compare_keys);
    /* A tree's root is the first of its nodes in the file. */
    int64_t first = 0;
    for (int64_t i = 0; i < f->count; i++) {
        if (i && keys[i].tree == keys[i - 1].tree && keys[i].node == keys[i - 1].node)
            return native_error(run, WHET_ERROR_FORMAT, "node %lld of tree %lld is there twice", (long long)keys[i].node,
                                (long long)keys[i].tree);
        first = i && keys[i].tree == keys[i - 1].tree && first < keys[i].index ? first : keys[i].index;
        if (i + 1 == f->count || keys[i + 1].tree != keys[i].tree)
            f->root[f->roots++] = first;
    }
    return WHET_OK;
}

static bool mode_named(Str name, uint8_t *out) {
    static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (i != MEMBER && name.length == strlen(names[i]) && !memcmp(name.data, names[i], name.length)) {
            *out = (uint8_t)i;
            return true;
        }
    return false;
}

static whet_status child_of(OpRun *run, const Key *keys, const Forest *f, int64_t tree, int64_t node, int64_t *out) {
    *out = find_node(keys, f->count, tree, node);
    return *out >= 0 ? WHET_OK
                     : native_error(run, WHET_ERROR_FORMAT, "tree %lld has no node %lld, which is named as a child",
                                    (long long)tree, (long long)node);
}

static whet_status read_nodes(OpRun *run, Forest *f, const int64_t *trees, Key **keys) {
    const int64_t *nodes, *features, *yes, *no, *missing;
    const double *values;
    const Attr *modes = op_attr(run->call, "nodes_modes");
    whet_status status = ints_of(run, "nodes_nodeids", f->count, false, &nodes);
    if (!status)
        status = ints_of(run, "nodes_featureids", f->count, false, &features);
    if (!status)
        status = ints_of(run, "nodes_truenodeids", f->count, false, &yes);
    if (!status)
        status = ints_of(run, "nodes_falsenodeids", f->count, false, &no);
    if (!status)
        status = ints_of(run, "nodes_missing_value_tracks_true", f->count, true, &missing);
    if (!status)
        status = numbers_of(run, "nodes_values", f->count, &values);
    if (!status && (!modes || (int64_t)modes->count != f->count))
        status = native_error(run, WHET_ERROR_FORMAT, "nodes_modes has %zu elements; wanted %lld", modes ? modes->count : 0,
                              (long long)f->count);
    if (!status)
        status = sort_keys(run, trees, nodes, f, keys);
    for (int64_t i = 0; !status && i < f->count; i++) {
        if (!mode_named(modes->strings[i], &f->mode[i]))
            return native_error(run, WHET_ERROR_UNSUPPORTED, "nodes_modes[%lld] is '%.*s', which is not supported", (long long)i,
                                (int)modes->strings[i].length, modes->strings[i].data);
        f->feature[i] = features[i];
        f->split[i] = values[i];
        f->missing[i] = missing && missing[i];
        if (f->mode[i] != LEAF)
            status = child_of(run, *keys, f, trees[i], yes[i], &f->yes[i]);
        if (!status && f->mode[i] != LEAF)
            status = child_of(run, *keys, f, trees[i], no[i], &f->no[i]);
    }
    return status;
}

/* Weights lie in any order: those of a leaf are brought together, in theirs. */
static whet_status gather_weights(OpRun *run, Forest *f, const int64_t *at, const int64_t *ids, const double *weights) {
    for (int64_t i = 0; i < f->weight_count; i++)
        f->weights[at[i]].count++;
    int64_t first = 0;
    for (int64_t i = 0; i < f->count; i++) {
        f->weights[i].first = first;
        first += f->weights[i].count;
        f->weights[i].count = 0;
    }
    for (int64_t i = 0; i < f->weight_count; i++) {
        Span *span = &f->weights[at[i]];
        int64_t place = span->first + span->count++;
        if (ids[i] < 0 || ids[i] >= f->targets)
            return native_error(run, WHET_ERROR_FORMAT, "a leaf's target is %lld; wanted 0 to %lld", (long long)ids[i],
                                (long long)f->targets - 1);
        f->target[place] = ids[i];
        f->weight[place] = weights[i];
    }
    return WHET_OK;
}

/* The names of a weight's attributes begin with "class" or "target". */
typedef struct Names {
    const char *trees, *nodes, *ids, *weights;
} Names;
static const Names class_names = {"class_treeids", "class_nodeids", "class_ids", "class_weights"};
static const Names target_names = {"target_treeids", "target_nodeids", "target_ids", "target_weights"};

static whet_status read_forest(OpRun *run, const Names *names, Forest *f) {
    int count, weights;
    const int64_t *trees = op_ints(run->call, "nodes_treeids", &count), *leaf_nodes, *ids;
    const int64_t *leaf_trees = op_ints(run->call, names->trees, &weights);
    const double *values;
    Key *keys;
    whet_status status = allocate(run, f, count, weights);
    if (!status)
        status = read_nodes(run, f, trees, &keys);
    if (!status)
        status = ints_of(run, names->nodes, weights, false, &leaf_nodes);
    if (!status)
        status = ints_of(run, names->ids, weights, false, &ids);
    if (!status)
        status = numbers_of(run, names->weights, weights, &values);
    if (status)
        return status;
    int64_t *at = op_scratch(run, (size_t)(weights + 1) * sizeof *at);
    if (!at)
        return native_failed(run);
    for (int64_t i = 0; i < weights; i++)
        if ((at[i] = find_node(keys, f->count, leaf_trees[i], leaf_nodes[i])) < 0)
            return native_error(run, WHET_ERROR_FORMAT, "%s[%lld] names node %lld of tree %lld, which is not there", names->nodes,
                                (long long)i, (long long)leaf_nodes[i], (long long)leaf_trees[i]);
    return gather_weights(run, f, at, ids, values);
}

/* ---- Nodes by index (version 5) ------------------------------------------------------------------------------------------ */

static whet_status place_of(OpRun *run, int64_t index, int64_t count, const char *what) {
    if (index >= 0 && index < count)
        return WHET_OK;
    return native_error(run, WHET_ERROR_FORMAT, "%s is %lld; wanted 0 to %lld", what, (long long)index, (long long)count - 1);
}

/* Sets of members stand one after another, each ended by a NaN, in the order of the nodes that ask for them. */
static whet_status read_members(OpRun *run, Forest *f, int64_t inner) {
    const Attr *attr = op_attr(run->call, "membership_values");
    int64_t count = attr && attr->tensor ? whet_tensor_count(attr->tensor) : 0, at = 0;
    double *members = op_scratch(run, (size_t)(count > 0 ? count : 1) * sizeof *members);
    if (!members)
        return native_failed(run);
    for (int64_t i = 0; i < count; i++)
        members[i] = whet_tensor_get(attr->tensor, i);
    f->member = members;
    for (int64_t i = 0; i < inner; i++) {
        if (f->mode[i] != MEMBER)
            continue;
        int64_t end = at;
        while (end < count && !isnan(members[end]))
            end++;
        if (at >= count)
            return native_error(run, WHET_ERROR_FORMAT, "membership_values has too few sets");
        f->members[i] = (Span){at, end - at};
        at = end + 1;
    }
    return WHET_OK;
}

static whet_status tensor_of(OpRun *run, const char *name, int64_t wanted, const Tensor **out) {
    const Attr *attr = op_attr(run->call, name);
    *out = attr ? attr->tensor : NULL;
    int64_t count = *out && (*out)->data ? whet_tensor_count(*out) : 0;
    return *out && count == wanted ? WHET_OK
                                   : native_error(run, WHET_ERROR_FORMAT, "%s has %lld elements; wanted %lld", name,
                                                  (long long)count, (long long)wanted);
}

static whet_status child_by_index(OpRun *run, int64_t child, bool leaf, int64_t inner, int64_t leaves, int64_t *out) {
    *out = leaf ? inner + child : child;
    return place_of(run, child, leaf ? leaves : inner, leaf ? "a leaf's index" : "a node's index");
}

static whet_status read_inner(OpRun *run, Forest *f, int64_t inner, int64_t leaves, const int64_t *features) {
    const int64_t *yes, *no, *yes_leaf, *no_leaf, *missing;
    const Tensor *modes, *splits;
    whet_status status = ints_of(run, "nodes_truenodeids", inner, false, &yes);
    if (!status)
        status = ints_of(run, "nodes_falsenodeids", inner, false, &no);
    if (!status)
        status = ints_of(run, "nodes_trueleafs", inner, false, &yes_leaf);
    if (!status)
        status = ints_of(run, "nodes_falseleafs", inner, false, &no_leaf);
    if (!status)
        status = ints_of(run, "nodes_missing_value_tracks_true", inner, true, &missing);
    if (!status)
        status = tensor_of(run, "nodes_modes", inner, &modes);
    if (!status)
        status = tensor_of(run, "nodes_splits", inner, &splits);
    for (int64_t i = 0; !status && i < inner; i++) {
        double mode = whet_tensor_get(modes, i);
        if (!(mode >= 0 && mode <= MEMBER))
            return native_error(run, WHET_ERROR_FORMAT, "nodes_modes[%lld] is %g; wanted 0 to 6", (long long)i, mode);
        f->mode[i] = (uint8_t)mode;
        f->split[i] = whet_tensor_get(splits, i);
        f->feature[i] = features[i];
        f->missing[i] = missing && missing[i];
        status = child_by_index(run, yes[i], yes_leaf[i] != 0, inner, leaves, &f->yes[i]);
        if (!status)
            status = child_by_index(run, no[i], no_leaf[i] != 0, inner, leaves, &f->no[i]);
    }
    return status ? status : read_members(run, f, inner);
}

/* Leaves follow the inner nodes. */
static whet_status read_indexed(OpRun *run, Forest *f) {
    int inner, leaves, roots;
    const int64_t *features = op_ints(run->call, "nodes_featureids", &inner);
    const int64_t *targets = op_ints(run->call, "leaf_targetids", &leaves), *root = op_ints(run->call, "tree_roots", &roots);
    const Tensor *weights;
    whet_status status = roots > inner + leaves ? native_error(run, WHET_ERROR_FORMAT, "%d roots of %d nodes", roots, inner)
                                                : allocate(run, f, (int64_t)inner + leaves, leaves);
    if (!status)
        status = read_inner(run, f, inner, leaves, features);
    if (!status)
        status = tensor_of(run, "leaf_weights", leaves, &weights);
    for (int64_t i = 0; !status && i < leaves; i++) {
        f->mode[inner + i] = LEAF;
        f->weights[inner + i] = (Span){i, 1};
        f->target[i] = targets[i];
        f->weight[i] = whet_tensor_get(weights, i);
        status = place_of(run, targets[i], f->targets, "a leaf's target");
    }
    for (int64_t i = 0; !status && i < roots; i++) {
        f->root[f->roots++] = root[i];
        status = place_of(run, root[i], inner, "a root's index");
    }
    return status;
}

/* ---- Walking ------------------------------------------------------------------------------------------------------------- */

static bool is_member(const Forest *f, int64_t node, double x) {
    for (int64_t i = 0; i < f->members[node].count; i++)
        if (f->member[f->members[node].first + i] == x)
            return true;
    return false;
}

static bool goes_yes(const Forest *f, int64_t node, double x) {
    double split = f->split[node];
    bool yes = false;
    switch ((Mode)f->mode[node]) {
    case LEQ: yes = x <= split; break;
    case LT: yes = x < split; break;
    case GTE: yes = x >= split; break;
    case GT: yes = x > split; break;
    case EQ: yes = x == split; break;
    case NEQ: yes = x != split; break;
    case MEMBER: yes = is_member(f, node, x); break;
    case LEAF: break;
    }
    return yes || (f->missing[node] && isnan(x));
}

/* The leaf that a row ends in; -1: there is a cycle. */
static int64_t walk(const Forest *f, int64_t node, const double *row) {
    for (int64_t steps = 0; steps <= f->count; steps++) {
        if (f->mode[node] == LEAF)
            return node;
        node = goes_yes(f, node, row[f->feature[node]]) ? f->yes[node] : f->no[node];
    }
    return -1;
}

typedef enum Aggregate { AVERAGE, SUM, MIN, MAX } Aggregate; /* TreeEnsemble's numbers */

static void add_weight(const Forest *f, Aggregate how, double weight, double *score, bool *seen) {
    if (how == MIN)
        *score = *seen && *score < weight ? *score : weight;
    else if (how == MAX)
        *score = *seen && *score > weight ? *score : weight;
    else
        *score = f->narrow ? (double)((float)*score + (float)weight) : *score + weight;
    *seen = true;
}

/* scores[targets] of one row; seen: which of them met a leaf. */
static whet_status score_row(OpRun *run, const Forest *f, Aggregate how, const double *row, double *scores, bool *seen) {
    for (int64_t t = 0; t < f->targets; t++) {
        scores[t] = 0;
        seen[t] = false;
    }
    for (int64_t r = 0; r < f->roots; r++) {
        int64_t leaf = walk(f, f->root[r], row);
        if (leaf < 0)
            return native_error(run, WHET_ERROR_FORMAT, "a tree has a cycle");
        for (int64_t i = 0; i < f->weights[leaf].count; i++) {
            int64_t at = f->weights[leaf].first + i, target = f->target[at];
            add_weight(f, how, f->weight[at], &scores[target], &seen[target]);
        }
    }
    for (int64_t t = 0; how == AVERAGE && f->roots && t < f->targets; t++)
        scores[t] /= (double)f->roots;
    return WHET_OK;
}

static whet_status check_features(OpRun *run, const Forest *f, int64_t columns) {
    for (int64_t i = 0; i < f->count; i++)
        if (f->mode[i] != LEAF && (f->feature[i] < 0 || f->feature[i] >= columns))
            return native_error(run, WHET_ERROR_DATA, "a node asks for feature %lld of %lld", (long long)f->feature[i],
                                (long long)columns);
    return WHET_OK;
}

typedef struct Rows {
    int64_t count, columns;
    const double *x;
    double *scores;
    bool *seen;
} Rows;

static whet_status open_rows(OpRun *run, const Forest *f, Rows *rows) {
    whet_status status = ml_matrix_shape(run->call, &rows->count, &rows->columns);
    if (!status)
        status = check_features(run, f, rows->columns);
    if (status)
        return status;
    rows->x = native_f64(run, 0);
    rows->scores = op_scratch(run, (size_t)(f->targets + 1) * sizeof *rows->scores);
    rows->seen = op_scratch(run, (size_t)(f->targets + 1) * sizeof *rows->seen);
    return rows->x && rows->scores && rows->seen ? WHET_OK : native_failed(run);
}

/* Base values: none, one, or one a target. */
static whet_status base_values(OpRun *run, const Forest *f, const double **base, int64_t *count) {
    *base = ml_numbers(run, "base_values", count);
    if (!*base)
        return native_failed(run);
    return *count == 0 || *count == 1 || *count == f->targets
               ? WHET_OK
               : native_error(run, WHET_ERROR_FORMAT, "base_values has %lld elements; wanted none, 1 or %lld", (long long)*count,
                              (long long)f->targets);
}

/* ---- Regression ---------------------------------------------------------------------------------------------------------- */

static whet_status regressor_shape(OpCall *call) {
    return ml_targets_shape(call, "n_targets");
}

static whet_status run_rows(OpRun *run, const Forest *f, Aggregate how, MlPost post, const double *base, int64_t bases) {
    Rows rows;
    whet_status status = open_rows(run, f, &rows);
    if (status)
        return status;
    const int64_t dims[] = {rows.count, f->targets};
    DType type = run->call->out[0].type;
    uint8_t *out = op_output(run, 0, type, 2, dims);
    if (!out)
        return native_failed(run);
    for (int64_t r = 0; !status && r < rows.count; r++) {
        status = score_row(run, f, how, rows.x + r * rows.columns, rows.scores, rows.seen);
        for (int64_t t = 0; t < f->targets && bases; t++)
            rows.scores[t] += base[bases == 1 ? 0 : t];
        if (f->targets > 1)
            ml_transform(post, rows.scores, f->targets);
        else if (post == ML_PROBIT)
            rows.scores[0] = ml_probit(rows.scores[0]);
        native_from_f64(type, rows.scores, f->targets, out + (size_t)(r * f->targets) * native_size(type));
        if (!status)
            status = op_interrupted(run);
    }
    return status;
}

static whet_status regressor_run(OpRun *run) {
    Forest f = {.narrow = run->call->in[0]->type != DT_F64};
    static const Aggregate aggregates[] = {SUM, AVERAGE, MIN, MAX}; /* in the order of the row */
    const double *base;
    int64_t bases;
    whet_status status = ml_target_count(run->call, "n_targets", &f.targets);
    if (!status)
        status = read_forest(run, &target_names, &f);
    if (!status)
        status = base_values(run, &f, &base, &bases);
    return status ? status
                  : run_rows(run, &f, aggregates[op_choice(run->call, "aggregate_function")], ml_post(run->call), base, bases);
}

static whet_status ensemble_run(OpRun *run) {
    Forest f = {.narrow = run->call->in[0]->type != DT_F64};
    int64_t how = op_int(run->call, "aggregate_function"), post = op_int(run->call, "post_transform");
    if (how < AVERAGE || how > MAX || post < ML_NONE || post > ML_PROBIT)
        return native_error(run, WHET_ERROR_FORMAT,
                            "aggregate_function is %lld and post_transform %lld; wanted 0 to 3 and 0 to 4", (long long)how,
                            (long long)post);
    whet_status status = ml_target_count(run->call, "n_targets", &f.targets);
    if (!status)
        status = read_indexed(run, &f);
    return status ? status : run_rows(run, &f, (Aggregate)how, (MlPost)post, NULL, 0);
}

/* ---- Classification ------------------------------------------------------------------------------------------------------ */

static whet_status classifier_labels(OpCall *call, MlLabels *labels) {
    return ml_labels(call, "classlabels_int64s", "classlabels_strings", labels);
}

static bool one_class_id(const Forest *f) {
    for (int64_t i = 1; i < f->weight_count; i++)
        if (f->target[i] != f->target[0])
            return false;
    return f->weight_count > 0;
}

static whet_status classifier_shape(OpCall *call) {
    Dim rows, columns;
    MlLabels labels;
    whet_status status = ml_matrix_shape(call, &rows, &columns);
    if (!status)
        status = classifier_labels(call, &labels);
    if (status)
        return status;
    call->out[0].type = labels.strings ? DT_STRING : DT_S64;
    if (call->in[0]->rank >= 0) {
        op_set_shape(call, 0, 1, (const Dim[]){rows});
        op_set_shape(call, 1, 2, (const Dim[]){rows, labels.count});
    }
    return WHET_OK;
}

typedef struct Classifier {
    Forest forest;
    MlLabels labels;
    MlPost post;
    const double *base;
    int64_t bases;
    bool one_id, positive; /* all weights are for one class; none is negative */
} Classifier;

static int64_t largest(const double *scores, const bool *seen, int64_t count) {
    int64_t best = -1;
    for (int64_t i = 0; i < count; i++)
        if (seen[i] && (best < 0 || scores[i] > scores[best]))
            best = i;
    return best < 0 ? 0 : best;
}

/* One score of two classes: what the other one's is. */
static void split_score(const Classifier *c, double score, double *scores) {
    if (c->post == ML_PROBIT) {
        scores[0] = ml_probit(1 - score);
        scores[1] = ml_probit(score);
    } else if (c->post == ML_LOGISTIC) {
        scores[0] = ml_logistic(-score);
        scores[1] = ml_logistic(score);
    } else {
        scores[0] = c->one_id && c->positive ? 1 - score : -score;
        scores[1] = score;
    }
}

/* The class of a row of at most two classes; its scores are made final. */
static int64_t finish_pair(const Classifier *c, double *scores, bool *seen) {
    int64_t classes = c->labels.count;
    bool both = classes == 2 && seen[1];
    if (classes == 2 && c->bases == 2) {
        scores[1] = both ? c->base[1] + scores[0] : scores[1] + c->base[1];
        scores[0] = both ? -scores[1] : scores[0] + c->base[0];
        seen[0] |= !both;
    } else if (c->bases) {
        scores[0] += c->base[0];
    }
    double weight = both ? scores[1] : scores[0];
    int64_t class_index = weight > (classes == 2 && c->one_id && c->positive ? 0.5 : 0);
    if (classes == 2 && (both || c->bases == 2)) {
        for (int i = 0; i < 2; i++)
            scores[i] = seen[i] ? scores[i] : 0;
        ml_transform(c->post, scores, 2);
    } else if (classes == 2) {
        split_score(c, scores[0], scores);
    } else if (c->post == ML_PROBIT) {
        scores[0] = ml_probit(scores[0]);
    }
    return class_index;
}

/* Without two classes for one id, the answer of a pair is 1 or 0 itself, whatever the labels are, as in ONNX Runtime. */
static void put_class(const Classifier *c, int64_t class_index, void *labels, int64_t row) {
    if (c->labels.strings || (c->labels.count == 2 && c->one_id) || c->labels.count > 2)
        ml_put_label(&c->labels, class_index < c->labels.count ? class_index : c->labels.count - 1, labels, row);
    else
        ((int64_t *)labels)[row] = class_index;
}

static whet_status classify_rows(OpRun *run, Classifier *c) {
    Rows rows;
    whet_status status = open_rows(run, &c->forest, &rows);
    if (status)
        return status;
    int64_t classes = c->labels.count;
    void *labels = op_output(run, 0, run->call->out[0].type, 1, (const int64_t[]){rows.count});
    float *out = op_output(run, 1, DT_F32, 2, (const int64_t[]){rows.count, classes});
    if (!labels || !out)
        return native_failed(run);
    for (int64_t r = 0; !status && r < rows.count; r++) {
        status = score_row(run, &c->forest, SUM, rows.x + r * rows.columns, rows.scores, rows.seen);
        int64_t class_index;
        if (classes > 2) {
            for (int64_t i = 0; i < classes && c->bases; i++) {
                rows.scores[i] += c->base[c->bases == 1 ? 0 : i];
                rows.seen[i] = true;
            }
            class_index = largest(rows.scores, rows.seen, classes);
            ml_transform(c->post, rows.scores, classes);
        } else {
            class_index = finish_pair(c, rows.scores, rows.seen);
        }
        put_class(c, class_index, labels, r);
        native_from_f64(DT_F32, rows.scores, classes, out + r * classes);
        if (!status)
            status = op_interrupted(run);
    }
    return status;
}

static whet_status classifier_run(OpRun *run) {
    Classifier c = {.forest.narrow = run->call->in[0]->type != DT_F64, .positive = true, .post = ml_post(run->call)};
    whet_status status = classifier_labels(run->call, &c.labels);
    c.forest.targets = c.labels.count;
    if (!status)
        status = read_forest(run, &class_names, &c.forest);
    if (!status)
        status = base_values(run, &c.forest, &c.base, &c.bases);
    if (status)
        return status;
    c.one_id = one_class_id(&c.forest);
    for (int64_t i = 0; i < c.forest.weight_count; i++)
        c.positive &= c.forest.weight[i] >= 0;
    return classify_rows(run, &c);
}

/* ---- Rows ---------------------------------------------------------------------------------------------------------------- */

#define NODES                                                                                                                    \
    "nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I "  \
    "nodes_treeids:I nodes_truenodeids:I nodes_values:F nodes_hitrates_as_tensor:t nodes_values_as_tensor:t "                    \
    "base_values:F base_values_as_tensor:t " ML_POST " "
#define CLASSES                                                                                                                  \
    "class_ids:I class_nodeids:I class_treeids:I class_weights:F class_weights_as_tensor:t classlabels_int64s:I "                \
    "classlabels_strings:S"
#define TARGETS                                                                                                                  \
    "aggregate_function:s=SUM|AVERAGE|MIN|MAX n_targets:i=1 target_ids:I target_nodeids:I target_treeids:I target_weights:F "    \
    "target_weights_as_tensor:t"
#define INDEXED                                                                                                                  \
    "aggregate_function:i=1 leaf_targetids:I! leaf_weights:t! membership_values:t n_targets:i=1 nodes_falseleafs:I! "            \
    "nodes_falsenodeids:I! nodes_featureids:I! nodes_hitrates:t nodes_missing_value_tracks_true:I nodes_modes:t! "               \
    "nodes_splits:t! nodes_trueleafs:I! nodes_truenodeids:I! post_transform:i=0 tree_roots:I!"

// clang-format off
const OpRow ops_ml_trees[] = {
    {ML_DOMAIN, "TreeEnsemble", 5, "X:T -> Y:T", "T=f16|f32|f64", INDEXED, regressor_shape, .run = ensemble_run},
    {ML_DOMAIN, "TreeEnsembleClassifier", 1, "X:T -> Y:*, Z?:f32", "T=f32|f64|s32|s64", NODES CLASSES, classifier_shape, .run = classifier_run},
    {ML_DOMAIN, "TreeEnsembleRegressor", 1, "X:T -> Y:f32", "T=f32|f64|s32|s64", NODES TARGETS, regressor_shape, .run = regressor_run},
};
// clang-format on
const size_t ops_ml_trees_count = COUNT(ops_ml_trees);
