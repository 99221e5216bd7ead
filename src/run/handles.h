/* What stands behind the public handles of models and sessions. */
#ifndef WHET_HANDLES_H
#define WHET_HANDLES_H

#include "run/run.h"

struct whet_model {
    Model *model;
    Program *program; /* in the model's arena */
    Shared *shared;
    whet_options options;
};

/* Takes `model` (NULL: the reader failed and `err` says why), which was read from `start` on: what every load ends with. */
whet_status model_finish(Model *model, double start, const whet_options *options, whet_model **out, whet_error *err);
bool model_input_given(const Value *value); /* the caller must give it: no constant stands for it */

#endif
