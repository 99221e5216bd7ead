/* What the operators of domain ai.onnx.ml share: rows of features, class labels, what is done to scores at the end. */
#ifndef WHET_OPS_ML_H
#define WHET_OPS_ML_H

#include "ops/native.h"

#define ML_DOMAIN "ai.onnx.ml"

/* Rows and columns of the input as a matrix: one row where its rank is 1. */
whet_status ml_matrix_shape(OpCall *call, Dim *rows, Dim *columns);
/* The number of targets, an attribute of this name; an output of as many columns. */
whet_status ml_target_count(OpCall *call, const char *name, int64_t *out);
whet_status ml_targets_shape(OpCall *call, const char *name);

/* What attribute post_transform says, in the order of its words, which are TreeEnsemble's numbers. */
typedef enum MlPost { ML_NONE, ML_SOFTMAX, ML_LOGISTIC, ML_SOFTMAX_ZERO, ML_PROBIT } MlPost;
#define ML_POST "post_transform:s=NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT"
MlPost ml_post(const OpCall *call);
void ml_transform(MlPost post, double *scores, int64_t count); /* of one row, 2 or more */
double ml_probit(double score);
double ml_logistic(double score);

/* Labels of classes: integers or strings, from the attributes of these names. */
typedef struct MlLabels {
    int64_t count;
    const int64_t *ints;
    const Str *strings;
} MlLabels;
whet_status ml_labels(OpCall *call, const char *ints, const char *strings, MlLabels *out);
void ml_put_label(const MlLabels *labels, int64_t class_index, void *out, int64_t row);

/* A list of numbers in one of two attributes: `name`, or `name`_as_tensor. NULL: no memory. */
const double *ml_numbers(OpRun *run, const char *name, int64_t *count);

#endif
