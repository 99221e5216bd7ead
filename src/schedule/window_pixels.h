/* What the parts of windows over pixels share: window_pixels.c plans, window_pixels_emit.c and window_lines.c make vector code,
 * window_pixels_run.c drives it. window_pixels.c opens with how they work together. */
#ifndef WHET_SCHEDULE_WINDOW_PIXELS_H
#define WHET_SCHEDULE_WINDOW_PIXELS_H

#include "schedule/window.h"

enum { PIXELS_MAX_GROUP = 8, PIXELS_MAX_COLUMNS = 8, PIXELS_MAX_SUMS = 32, PIXELS_MAX_KINDS = 12, PIXELS_MAX_LOOPS = 3 };

/* A dimension of the window's read in which a reduced axis moves: index = offset + step * place + dilation * tap. */
typedef struct Slide {
    int place, tap; /* axes; place -1: none */
    int64_t offset, step, dilation, extent, taps;
    bool guarded; /* may leave its dimension */
} Slide;

/* Tiles whose columns have the same taps inside are of one kind. */
typedef struct PixelTile {
    int columns;
    int from[PIXELS_MAX_COLUMNS], to[PIXELS_MAX_COLUMNS]; /* taps of the pixel axis that are inside */
} PixelTile;

/* Of lines: so many tiles of one kind, one behind the other. */
typedef struct LineRun {
    int64_t start, count;
} LineRun;

typedef struct Pixels {
    const Window *w;      /* reduction, temporaries */
    Nest nest;            /* its own, but for what is packed */
    int x;                /* the access of the window */
    int packed;           /* an access that is read from [taps][lanes], packed when compiling or running; -1: none */
    Access unpacked;      /* as it lies */
    bool constant;        /* packed when compiling */
    const Target *target; /* of vectors of this length */
    bool lines;           /* the lanes slide too: window_lines.c */
    bool line_first;      /* taps along a line are taken together first, which serves all rows that need the line */
    Slide lane;           /* of the lanes */
    int lane_group;       /* most taps of the lanes that are met at each row of the image before the next row */
    int v, p, h;          /* axes: of the lanes, of a tile's columns, of the rows that vector code walks; h -1: none */
    Slide slide[NEST_MAX_AXES];
    int slide_count, pixel, row;                 /* slides of p and h; row -1: h does not slide */
    int outer[NEST_MAX_AXES], outer_count;       /* axes that the driver walks */
    int loop[PIXELS_MAX_LOOPS], loop_count;      /* slides but `pixel`: loops at the borders */
    int rest[NEST_MAX_AXES], rest_count;         /* reduced axes that do not slide: written out everywhere */
    int lanes, columns;                          /* of a tile */
    int sums;                                    /* of a column: 1, or of groups as many as window_groups.c says */
    int64_t tiles, vectors, edge, block, blocks; /* of the lanes: whole vectors, elements left over, vectors of a block */
    bool inner_loop;                             /* the code for borders walks vectors itself */
    bool spelled;                                /* all taps are written out where all are inside */
    bool keeps;                                  /* a row's factors stay in registers */
    unsigned char *kind_of;                      /* by tile */
    PixelTile kind[PIXELS_MAX_KINDS];
    int kind_count;
    LineRun run[PIXELS_MAX_KINDS];                         /* of lines, by kind */
    int whole[PIXELS_MAX_KINDS], border[PIXELS_MAX_KINDS]; /* functions; -1: none */
} Pixels;

/* The taps [*from, *to) of a slide that are inside at a place. */
void pixels_inside(const Slide *s, int64_t place, int64_t *from, int64_t *to);

/* window_pixels_emit.c: parameters are a pointer an access at the tile's first column, row, tap and lane; then, where all taps
 * are written out, the number of rows; else one number of taps for each loop; then the number of lanes, a multiple of a
 * vector's. */
const VectorFunction *pixels_emit(const Pixels *p, Compiled *c, const PixelTile *kind, bool border, const char **why,
                                  whet_error *err);
/* window_pixels_pack.c: what the access reads, as [taps][lanes]. It is an access that moves
 * with taps and lanes alone, but whose lanes are apart. */
void pixels_find_packed(Pixels *p, const ScheduleOptions *options);
bool pixels_describe_packing(const Pixels *p, Compiled *c);
size_t pixels_packed_bytes(const Pixels *p);
void pixels_pack(const Pixels *p, const void *from, void *to);
/* window_pixels_run.c */
whet_status pixels_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

/* window_pixels.c: takes a window whose lanes do not slide, and whose taps outside do not matter, or says why not. */
bool window_pixels(const Window *w, int window, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err);

#endif
