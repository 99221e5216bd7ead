/* Names in C files. */
#include <ctype.h>
#include <string.h>

#include "schedule/c/c_kernel.h"

static const char *const reserved[] = {
    // clang-format off
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for",
    "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
    "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "asm", "typeof", "bool", "true", "false", "nullptr",
    "alignas", "alignof", "constexpr", "static_assert", "thread_local", "typeof_unqual", "linux", "unix", "i386",
    "memcpy", "memset", "malloc", "calloc", "free", "isinf", "isnan", "math_errhandling", "errno",
    "status", "end", "packed", "scratch", "panel", "block", "rows", "from", "to", "step", "column", "value", "pack", "main"
    // clang-format on
};

/* Words that the file may use: of C, of its headers' macros (capitals), of types and operations ("f32_add", "int8_t"), and what
 * it calls its own ("v12", "s3"). */
static bool is_reserved(const char *name, size_t length) {
    for (size_t i = 0; i < COUNT(reserved); i++)
        if (strlen(reserved[i]) == length && memcmp(reserved[i], name, length) == 0)
            return true;
    bool lower = false, digits = length > 1;
    for (size_t i = 0; i < length; i++) {
        lower = lower || islower((unsigned char)name[i]);
        digits = digits && (i == 0 || isdigit((unsigned char)name[i]));
    }
    if ((!lower && length > 1) || name[0] == '_' || (digits && strchr("vsipx", name[0])))
        return true;
    if (length > 2 && memcmp(name + length - 2, "_t", 2) == 0)
        return true;
    for (size_t i = 1; i < length; i++)
        if (name[i] == '_' && (dtype_parse(name, i) || (i > 1 && name[i - 1] == 'v' && dtype_parse(name, i - 1))))
            return true;
    return false;
}

static bool taken(const Kernel *kernel, const CNames *names, const char *name, int before) {
    for (int t = 0; t < before && t < kernel->tensor_count; t++)
        if (strcmp(names->tensor[t], name) == 0)
            return true;
    return false;
}

static char *own_or_longer(const char *name, Arena *arena) {
    return arena_printf(arena, "%s%s", name, is_reserved(name, strlen(name)) ? "_" : "");
}

bool c_names(const Kernel *kernel, Arena *arena, CNames *out) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        char *name = own_or_longer(kernel->tensors[t].name, arena);
        while (name && taken(kernel, out, name, t))
            name = arena_printf(arena, "%s_", name);
        out->tensor[t] = name;
        if (!name)
            return false;
    }
    return true;
}

static bool axis_taken(const Definition *d, const char *name, int axis) {
    for (int a = 0; a < axis; a++)
        if (strcmp(d->axes[a].name, name) == 0)
            return true;
    return false;
}

const char *c_axis_name(const Kernel *kernel, const Definition *d, const CNames *names, int axis, Arena *arena) {
    char *name = own_or_longer(d->axes[axis].name, arena);
    if (name && axis_taken(d, d->axes[axis].name, axis)) /* one that hides another, or stands beside it */
        name = arena_printf(arena, "%s_axis%d", d->axes[axis].name, axis);
    while (name && taken(kernel, names, name, kernel->tensor_count))
        name = arena_printf(arena, "%s_", name);
    return name;
}
