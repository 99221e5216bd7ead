/* What the halves of the row template share: rows.c recognises and drives, rows_emit.c makes vector code. */
#ifndef WHET_SCHEDULE_ROWS_H
#define WHET_SCHEDULE_ROWS_H

#include "schedule/schedule.h"

enum { ROWS_MAX_DEFINITIONS = 16 };

typedef struct RowDefinition {
    const Definition *definition;
    int map[KERNEL_MAX_AXES]; /* its axes -> axes of the nest before merging; -1: not known yet */
    bool columnwise;          /* has a value for every column; otherwise one a row */
    bool temporary;
    int write;   /* access; -1: a temporary */
    int scratch; /* columnwise temporaries: which row of scratch; -1: none */
} RowDefinition;

typedef struct Rows {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;                /* rows, then columns (marked `reduced`), over all definitions; temporaries have no access */
    RowDefinition item[ROWS_MAX_DEFINITIONS];
    int count, scratch_count;
    int row_axis; /* -1: extent 1 */
    int outer[NEST_MAX_AXES], outer_count;
    int column_axis; /* -1: extent 1 */
    int64_t rows, columns, outer_total;
    int unroll;
} Rows;

int64_t rows_column_stride(const Rows *r, int access);
int64_t rows_row_stride(const Rows *r, int access);
/* The definition that makes a temporary that is read; -1: an input or an output in memory. */
int rows_source(const Rows *r, int tensor);
/* Parameters: a pointer an access, a pointer a scratch row, the number of rows. */
const VectorFunction *rows_emit(const Rows *r, Compiled *c, const char **why, whet_error *err);

#endif
