/* What the vector code of windows over pixels (window_pixels_emit.c) and along lines (window_lines.c) share. */
#ifndef WHET_SCHEDULE_WINDOW_PIXELS_EMIT_H
#define WHET_SCHEDULE_WINDOW_PIXELS_EMIT_H

#include "schedule/window_pixels.h"

enum { MAX_LOADED = 256, MAX_STEPS = 512, LINE_MASKS = 3 };

/* What is in a register: an expression that moves with one access alone, at a place of that access. */
typedef enum Form {
    FORM_VALUE, /* itself */
    FORM_NAN,   /* where it is NaN */
    FORM_F32,   /* an integer as f32 */
    FORM_LOW,
    FORM_HIGH /* of a line of stride 2: vectors whose even, or odd, lanes it is */
} Form;

typedef struct Loaded {
    const Expr *expr;
    Form form;
    int64_t offset;
    int value;
} Loaded;

/* One column at one tap of the pixel axis. */
typedef struct Step {
    int column, tap;
    int64_t at; /* of the window's read */
} Step;

/* The lanes [from, to). */
typedef struct LineMask {
    int from, to, value;
} LineMask;

typedef struct Code {
    const Pixels *p;
    const Nest *nest;
    VectorFunction *f;
    const PixelTile *kind;
    int pointer[NEST_MAX_ACCESSES];
    int row_counter, lane_counter, column_counter, tap_counter[NEST_MAX_AXES]; /* -1: no loop is open */
    int64_t column_at, lane_at;                                                /* of lines: where a tile begins, loops aside */
    int64_t digit[NEST_MAX_AXES];                                              /* of reduced axes that are written out */
    int column, mask;
    int still[NEST_MAX_ACCESSES]; /* the value of a zero point, which a view reads everywhere; -1: it is read in place */
    int turned[PIXELS_MAX_GROUP]; /* which lane each lane reads that is turned in its group, by lanes */
    const Expr *busy;             /* being emitted */
    ExprEmitter *view;            /* by tensor; NULL: none */
    const Expr *viewed;           /* the read whose view is being emitted */
    bool in_f32;                  /* sums of integers small enough to be exact in f32 */
    bool far;                     /* images are larger than L2 */
    Loaded loaded[MAX_LOADED];
    int loaded_count;
    Step steps[MAX_STEPS];
    int step_count;
    LineMask line_mask[LINE_MASKS];
    int line_mask_count;
} Code;

/* window_pixels_emit.c */
int64_t pixels_offset(const Code *t, int access); /* of the place, loops aside: elements */
VectorAddress pixels_place(const Code *t, int access);
int pixels_find_loaded(const Code *t, const Expr *expr, Form form, int64_t offset);
void pixels_keep(Code *t, const Expr *expr, Form form, int64_t offset, int value);
void pixels_drop(Code *t, int kept); /* what was loaded for another place of the window */
int pixels_accumulate(Code *t, ExprEmitter *e, int sum);
void pixels_order_steps(Code *t);
void pixels_emit_tile(Code *t, ExprEmitter *e, const int *limits);

/* window_lines.c */
int lines_read(Code *t, int access);                         /* the window, as it lies in memory */
int lines_outside(Code *t, int value);                       /* with what a read outside gives in lanes that are outside */
void lines_emit_taps(Code *t, ExprEmitter *e, int *sums);    /* of the lanes and of a tile's columns */
void lines_emit(Code *t, ExprEmitter *e, const int *limits); /* the tiles of all rows, of all lines */

#endif
