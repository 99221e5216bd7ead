/* Loop shapes shared by strip_float.c and strip_int.c. A macro makes a function over strips of C type T with results of type R;
 * the expression is in x and y. */
#ifndef WHET_KERNEL_STRIP_LOOPS_H
#define WHET_KERNEL_STRIP_LOOPS_H

#include "kernel/strip.h"

#define UNARY(function, R, T, expression)                                                                                        \
    static void function(void *out, const void *a, size_t n) {                                                                   \
        R *restrict r = out;                                                                                                     \
        const T *restrict p = a;                                                                                                 \
        for (size_t i = 0; i < n; i++) {                                                                                         \
            T x = p[i];                                                                                                          \
            r[i] = (R)(expression);                                                                                              \
        }                                                                                                                        \
    }

#define BINARY(function, R, T, expression)                                                                                       \
    static void function(void *out, const void *a, const void *b, size_t n, StripForm form) {                                    \
        R *restrict r = out;                                                                                                     \
        const T *p = a, *q = b;                                                                                                  \
        if (form == FORM_SV) {                                                                                                   \
            T x = *p;                                                                                                            \
            for (size_t i = 0; i < n; i++) {                                                                                     \
                T y = q[i];                                                                                                      \
                r[i] = (R)(expression);                                                                                          \
            }                                                                                                                    \
        } else if (form == FORM_VS) {                                                                                            \
            T y = *q;                                                                                                            \
            for (size_t i = 0; i < n; i++) {                                                                                     \
                T x = p[i];                                                                                                      \
                r[i] = (R)(expression);                                                                                          \
            }                                                                                                                    \
        } else {                                                                                                                 \
            for (size_t i = 0; i < n; i++) {                                                                                     \
                T x = p[i], y = q[i];                                                                                            \
                r[i] = (R)(expression);                                                                                          \
            }                                                                                                                    \
        }                                                                                                                        \
    }

#endif
