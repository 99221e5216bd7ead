/* Fuzz target: any text as a kernel of the notation. It parses or is refused; what parses prints, and what was printed parses to
 * what prints the same. Small extents are then bound: that gives an error, or a kernel that passes its checker and prints what
 * binds, with nothing else given, to what prints the same.
 */
// Seeds: tests/kernel/*.txt
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every name a kernel could take its extent from is one letter here or stays unknown. */
static whet_status bind(Kernel *kernel) {
    static const char *const letters[] = {"a", "b", "c", "d", "h", "i", "j", "k", "m", "n", "o", "r", "s", "w", "x", "y"};
    KernelConst consts[COUNT(letters)];
    whet_error err = {0};
    for (size_t i = 0; i < COUNT(letters); i++)
        consts[i] = (KernelConst){.name = letters[i], .number = (double)(2 + i % 3), .integer = (int64_t)(2 + i % 3)};
    return kernel_bind(kernel, NULL, 0, consts, (int)COUNT(letters), &err);
}

static void check_round_trip(const Kernel *kernel) {
    whet_error err = {0};
    Arena arena;
    Text printed, again;
    arena_init(&arena, NULL);
    text_init(&printed);
    text_init(&again);
    kernel_print(kernel, &printed);
    Kernel *read = kernel_parse(&arena, printed.data, printed.length, &err);
    if (!read || (kernel->bound && kernel_bind(read, NULL, 0, NULL, 0, &err) != WHET_OK))
        abort();
    kernel_print(read, &again);
    if (!printed.failed && !again.failed && strcmp(again.data, printed.data) != 0)
        abort();
    text_free(&again);
    text_free(&printed);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    whet_error err = {0};
    Arena arena;
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, (const char *)data, size, &err);
    if (kernel && kernel_check(kernel, "parse", &err) != WHET_OK)
        abort();
    if (kernel) {
        check_round_trip(kernel);
        if (bind(kernel) == WHET_OK) {
            if (kernel_check(kernel, "bind", &err) != WHET_OK)
                abort();
            check_round_trip(kernel);
        }
    }
    arena_free(&arena);
    return 0;
}
