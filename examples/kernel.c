/* One line of notation, compiled and run: no model needed.
 *
 *     kernel
 *
 * A linear layer with bias and ReLU on small matrices, printed. docs/notation.md describes the notation.
 *
 *     cc kernel.c $(pkg-config --cflags --libs whet)
 */
#include <stdio.h>

#include "whet.h"

int main(void) {
    static const char text[] = "c[m, n] = max(sum(k) a[m, k] * b[k, n] + bias[n], 0)";
    const whet_dim dims[] = {{"m", 2}, {"n", 3}, {"k", 4}};
    whet_error err = {0};
    whet_kernel *kernel = NULL;
    char *canonical = NULL;

    float a[2][4] = {{1, 2, 3, 4}, {-1, -2, -3, -4}};
    float b[4][3] = {{1, 0, 1}, {0, 1, 1}, {1, 0, 1}, {0, 1, 1}};
    float bias[3] = {0.5f, 0.25f, 12};
    float c[2][3];
    void *data[] = {a, NULL, bias, c}; /* tensors read, in order of first appearance, then outputs; b is known already */
    const whet_kernel_arg weights = {.name = "b", .type = WHET_F32, .rank = 2, .dims = {4, 3}, .constant = b}; /* packed once */

    whet_status status = whet_kernel_compile(text, dims, 3, &weights, 1, NULL, &kernel, &err);
    if (!status)
        status = whet_kernel_show(kernel, "kernel", &canonical, &err);
    if (!status)
        status = whet_kernel_run(kernel, data, &err);
    if (!status) {
        printf("%s\n%g operations\n", canonical, whet_kernel_flops(kernel));
        for (int m = 0; m < 2; m++)
            printf("%6g %6g %6g\n", (double)c[m][0], (double)c[m][1], (double)c[m][2]);
    } else {
        fprintf(stderr, "kernel: %s: %s\n", whet_status_name(status), err.message);
    }
    whet_string_free(canonical);
    whet_kernel_free(kernel);
    return status != WHET_OK;
}
