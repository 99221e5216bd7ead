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

bool model_input_given(const Value *value); /* the caller must give it: no constant stands for it */

#endif
