/* Pieces that the drivers of all templates have in C: loops over the axes that vector code does not walk, and places in tensors.
 * The variable of axis x of a nest is x<x>, the place of access i is p<i>. */
#include "schedule/c/c_kernel.h"

void c_indent(Text *out, int depth) {
    text_printf(out, "%*s", 4 * depth, "");
}

int c_open_axes(const CDriver *d, const Nest *nest, const int *axes, int count, int depth) {
    for (int i = 0; i < count; i++) {
        c_indent(d->body, depth++);
        text_printf(d->body, "for (int64_t x%d = 0; x%d < %lld; x%d++) {\n", axes[i], axes[i],
                    (long long)nest->axis[axes[i]].extent, axes[i]);
    }
    return depth;
}

void c_close(Text *out, int count, int depth) {
    while (count--) {
        c_indent(out, --depth);
        text_put(out, "}\n");
    }
}

void c_put_term(Text *out, int64_t factor, const char *variable, int number) {
    if (!factor)
        return;
    text_put(out, factor < 0 ? " - " : " + ");
    if (factor != 1 && factor != -1)
        text_printf(out, "%llu * ", factor < 0 ? 0 - (unsigned long long)factor : (unsigned long long)factor);
    if (number < 0)
        text_put(out, variable);
    else
        text_printf(out, "%s%d", variable, number);
}

void c_put_offset(Text *out, int64_t offset) {
    if (offset)
        text_printf(out, " %c %llu", offset < 0 ? '-' : '+',
                    offset < 0 ? 0 - (unsigned long long)offset : (unsigned long long)offset);
}

void c_open_place(const CDriver *d, const Nest *nest, int access, const int *axes, int count, int depth) {
    const Access *a = &nest->access[access];
    const char *type = a->read ? "const char *" : "char *";
    c_indent(d->body, depth);
    text_printf(d->body, "%sconst p%d = (%s)(%s", type, access, type, d->tensor[a->tensor]);
    c_put_offset(d->body, a->offset);
    for (int i = 0; i < count; i++)
        c_put_term(d->body, a->stride[axes[i]], "x", axes[i]);
}

void c_close_place(const CDriver *d) {
    text_put(d->body, ");\n");
}

void c_put_name(const CDriver *d, const Compiled *c, int function) {
    text_printf(d->body, "%s_%s_%d", d->name, c->functions[function]->name, function);
}

void c_clear_gaps(const CDriver *d, const Nest *nest) {
    const KernelTensor *tensor = &nest->kernel->tensors[nest->access[0].tensor];
    if (!nest->covers && tensor->count)
        text_printf(d->body, "    memset(%s, 0, %lld);\n", d->tensor[nest->access[0].tensor],
                    (long long)tensor->count * (dtype_bits(tensor->type) / 8));
}

void c_allocate(const CDriver *d, const char *name, int64_t bytes) {
    text_printf(d->body, "    float *%s = malloc(%lld);\n    if (!%s)\n        return 1;\n", name, (long long)(bytes ? bytes : 1),
                name);
}

void c_release(const CDriver *d, const char *name) {
    if (name)
        text_printf(d->body, "    free(%s);\n", name);
    text_put(d->body, "    return 0;\n");
}
