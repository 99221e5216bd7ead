/* Functions as expressions in vector code, f32. */
#include "schedule/schedule.h"

int math_emit(VectorFunction *f, ExprOp op, int x) {
    (void)f;
    (void)op;
    (void)x;
    return -1;
}
