/* The machine's limits, measured by code made for it: multiply-add peaks and read bandwidths of one core. */
#ifndef WHET_TARGET_PEAK_H
#define WHET_TARGET_PEAK_H

#include "target/target.h"

typedef enum PeakKind { PEAK_F32, PEAK_F64, PEAK_BF16, PEAK_INT8 } PeakKind;
typedef struct Peak Peak;

Peak *peak_new(const Target *target, PeakKind kind, whet_error *err); /* NULL: the target has no such instructions, or an error */
double peak_run(const Peak *peak); /* GFLOP/s of one short run (about 0.1 ms): take the best of many */
void peak_free(Peak *peak);

/* GB/s of reading `bytes` of memory over and over, best of runs within `seconds`. 0: could not be measured. */
double peak_read_bandwidth(const Target *target, size_t bytes, double seconds);

#endif
