/* What the parts of the window template share: window.c recognises and plans, window_emit.c makes vector code, window_run.c
 * drives it. window.c opens with how they work together. */
#ifndef WHET_SCHEDULE_WINDOW_H
#define WHET_SCHEDULE_WINDOW_H

#include "schedule/schedule.h"

enum { WINDOW_MAX_DIMS = 8, WINDOW_MAX_EXTRA = 2, WINDOW_MAX_LOOPS = 2, WINDOW_MAX_TAPS = 128, WINDOW_MAX_SUMS = 32 };

/* One dimension of the tensor that is read through the buffer, and of the box of it that a unit needs. */
typedef struct WindowDim {
    int64_t offset, coef[NEST_MAX_AXES]; /* the index */
    int64_t extent, stride;              /* of the tensor; elements */
    int64_t low;                         /* the box starts at the index of a unit's first element + low */
    int64_t length, pitch;               /* of the box; floats in the buffer from one index to the next (not of lines) */
} WindowDim;

/* A definition that says the elements of one tensor in another way. */
typedef struct WindowView {
    const Definition *definition; /* NULL: there is none */
    const Expr *main;             /* its read of that tensor */
} WindowView;

typedef struct Window {
    WindowView view[KERNEL_MAX_TENSORS];
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;                /* of the last definition, axes as it has them */
    bool covers;
    const Expr *reduction;
    float *temporary[KERNEL_MAX_TENSORS]; /* what definitions without inputs give, computed when compiling */

    int mixed;     /* the reduced axis over a group's channels, see window_merge_groups; -1: none */
    int64_t group; /* its channels */

    int v, t;                                          /* axes: of the lanes, of the rows of a tile; -1: none */
    int extra[WINDOW_MAX_EXTRA], extra_count;          /* axes walked in vector code around them, innermost first */
    int outer[NEST_MAX_AXES], outer_count;             /* axes walked by the driver */
    int band_axis;                                     /* of those in vector code, the one that is cut; -1: none */
    int64_t band, bands;                               /* its extent in a unit, and how many */
    int64_t extent[NEST_MAX_AXES];                     /* of all axes in a unit; 1: the driver's */
    int loop[WINDOW_MAX_LOOPS], loop_count;            /* reduced axes that are loops, outermost first */
    int tap_axis[NEST_MAX_AXES], tap_axis_count, taps; /* reduced axes that are written out */

    int x;                              /* the access that goes through the buffer; -1: none */
    WindowDim dim[WINDOW_MAX_DIMS];     /* in the buffer's order: the line is the last */
    int dim_count;                      /* 0 without buffer */
    int64_t phases, phase_pitch, shift; /* a line: lines[index % phases][shift + index / phases] */
    int64_t line_from, line_to;         /* indices of the box that are inside, if `line_fixed` */
    bool line_fixed;                    /* the same in every unit */
    int64_t step[NEST_MAX_AXES];        /* floats in the buffer from one place of an axis to the next */
    int64_t buffer_floats;              /* 0 without buffer */

    int lanes, rows, vectors; /* of a tile */
    bool columns_first;       /* rows are the inner loop, for factors that move with the lanes alone */
    bool hoisted;             /* factors that stand still are loaded before the rows */
    int function[2], copy;    /* whole bands and the last one; lines into the buffer, -1: C does it */
} Window;

/* Elements (of the buffer, for what goes through it) from one place of an axis to the next. */
static inline int64_t window_step(const Window *w, int access, int axis) {
    return axis < 0 ? 0 : access == w->x ? w->step[axis] : w->nest.access[access].stride[axis];
}
/* The same from the first tap to tap `tap`. */
int64_t window_tap_offset(const Window *w, int access, int tap);

/* window_views.c: accesses of a view are of the tensor below it; what else it reads gets accesses of its own. */
void window_find_views(Window *w, const Kernel *kernel);
bool window_add_views(Window *w, const char **why);

/* window_groups.c */
bool window_merge_groups(Window *w, int window);

/* window_emit.c: parameters are a pointer an access, the buffer's for the access that goes through it; `band` is the extent of
 * the cut axis. The copy takes pointers to the first element inside and to a line of the buffer, and a number of lines. */
const VectorFunction *window_emit(const Window *w, Compiled *c, int64_t band, const char **why, whet_error *err);
const VectorFunction *window_emit_copy(const Window *w, Compiled *c, whet_error *err);
/* window_run.c */
whet_status window_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
