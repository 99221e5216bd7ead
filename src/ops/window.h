/* Sliding windows: what convolution and pooling share. Every number from the model is checked here, once. */
#ifndef WHET_OPS_WINDOW_H
#define WHET_OPS_WINDOW_H

#include "ops/ops.h"

#define WINDOW_MAX_AXES 8 /* spatial dimensions */

typedef struct Window {
    int axes;   /* spatial ones: rank - 2 */
    bool known; /* kernel, pads and outputs are numbers */
    int64_t kernel[WINDOW_MAX_AXES], stride[WINDOW_MAX_AXES], dilation[WINDOW_MAX_AXES];
    int64_t begin[WINDOW_MAX_AXES], end[WINDOW_MAX_AXES]; /* padding */
    int64_t in[WINDOW_MAX_AXES];                          /* extents of the input, if known */
    Dim out[WINDOW_MAX_AXES];
} Window;

#define AUTO_PAD "auto_pad:s=NOTSET|VALID|SAME_UPPER|SAME_LOWER"
typedef enum AutoPad { AUTO_NOT, AUTO_VALID, AUTO_UPPER, AUTO_LOWER } AutoPad;

/* Checks kernel_shape, strides, dilations (where the row has it), pads and auto_pad for a `spatial`-dimensional window.
 * `weights` (NULL: kernel_shape is required) gives the kernel's extents from its third dimension on. */
whet_status window_read(OpCall *call, int spatial, const Type *weights, Window *out);
/* Output extents (and pads where auto_pad asks) for input `x`, whose spatial dimensions start at 2. */
whet_status window_forward(OpCall *call, const Type *x, bool ceil, Window *window);
/* Writes the index of tap k<axis> of output o<axis>: "2*o0 + k0 - 3". */
void window_put_index(Text *out, const Window *window, int axis);
/* May the window reach beyond the input? Then reads are guarded. */
bool window_leaves(const Window *window);
/* $O ", o0, o1"; $M ", o0:8, o1:8"; $K "k0, k1"; $Z "k0:3, k1:3"; $X ", 2*o0 + k0 - 3, o1 + k1", which $G guards: "", or "?" and
 * `outside`, which is what is read outside ("": zero). */
void window_holes(OpHoles *holes, const Window *window, const char *outside);

/* $N: how many taps count at an output, as a number where that is the same for all, else by definitions that go to `out`. With
 * padding counted, those are the taps in the padded input: a window of ceil_mode may reach even beyond that. */
void window_put_counts(Text *out, OpHoles *holes, const Window *window, bool padding, DType wide);

#endif
