/* oneDNN's matrix product, where the library (3.x) is installed, as the benchmarks' peer. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct Onednn Onednn;

/* Loads libdnnl.so.3; NULL: not installed. Nothing of it is needed to build. */
Onednn *onednn_load(void);
void onednn_free(Onednn *library);

/* Makes ready c[m, n] = a[m, k] * b[k, n] in f32, with b packed once as oneDNN likes it best; the last one made is forgotten.
 * The three arrays must stay until the next call. false: oneDNN refused. */
bool onednn_product(Onednn *library, const int64_t m, const int64_t n, const int64_t k, float *a, float *b, float *c);
void onednn_run(Onednn *library);
