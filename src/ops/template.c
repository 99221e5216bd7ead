/* Kernel text with holes, for builders: "y[$K] = sum(k) x[$I, k]" shows a kernel as a whole, where axes, types and attributes
 * make of it what it is. */
#include <assert.h>
#include <string.h>

#include "ops/ops.h"

void op_hole_text(OpHoles *holes, char name, Text *text) {
    holes->arena->failed |= text->failed;
    holes->text[name - '@'] = arena_string(holes->arena, text->data, text->length);
    text_free(text);
}

void op_hole(OpHoles *holes, char name, const char *format, ...) {
    Text text;
    text_init(&text);
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    op_hole_text(holes, name, &text);
}

void op_hole_number(OpHoles *holes, char name, int64_t number) {
    op_hole(holes, name, "%lld", (long long)number);
}

void op_hole_float(OpHoles *holes, char name, float number) {
    Text text;
    text_init(&text);
    text_float(&text, number);
    op_hole_text(holes, name, &text);
}

void op_hole_filled(OpHoles *holes, char name, const char *text) {
    Text filled;
    text_init(&filled);
    op_put_filled(&filled, holes, text);
    op_hole_text(holes, name, &filled);
}

void op_hole_read(OpHoles *holes, char name, const char *tensor, const Type *type, int rank) {
    Text text;
    text_init(&text);
    op_put_read(&text, tensor, type, "i", rank);
    op_hole_text(holes, name, &text);
}

void op_hole_more(OpHoles *holes, char name, char stem, int from, int to) {
    Text text;
    text_init(&text);
    for (int d = from; d < to; d++)
        text_printf(&text, ", %c%d", stem, d);
    op_hole_text(holes, name, &text);
}

/* "i0, j1, i2"; '0' in place of 'j': "i0, 0, i2"; nothing: "i0, i2" */
void op_hole_indices(OpHoles *holes, char name, int rank, const bool *reduced, char instead) {
    Text text;
    text_init(&text);
    for (int d = 0; d < rank; d++) {
        bool is = reduced && reduced[d];
        if (is && !instead)
            continue;
        text_put(&text, text.length ? ", " : "");
        text_char(&text, is ? instead : 'i');
        if (!is || instead != '0')
            text_printf(&text, "%d", d);
    }
    op_hole_text(holes, name, &text);
}

OpHoles op_holes(const OpCall *call) {
    OpHoles holes = {.arena = call->arena};
    op_hole(&holes, 'T', "%s", dtype_name(call->out[0].type));
    op_hole(&holes, 'W', "%s", dtype_name(op_wide(call->in[0]->type)));
    return holes;
}

OpHoles op_holes_reduced(const OpCall *call, const bool *reduced) {
    const Type *x = call->in[0];
    OpHoles holes = op_holes(call);
    op_hole_indices(&holes, 'I', x->rank, NULL, 0);
    op_hole_indices(&holes, 'J', x->rank, reduced, 'j');
    op_hole_indices(&holes, 'K', x->rank, reduced, '0');
    double elements = 1;
    Text axes;
    text_init(&axes);
    for (int d = 0; d < x->rank; d++)
        if (reduced[d]) {
            text_printf(&axes, "%sj%d", axes.length ? ", " : "(", d);
            elements *= (double)x->dims[d];
        }
    bool any = axes.length > 0, logic = x->type == DT_BOOL;
    text_put(&axes, any ? ") " : "");
    op_hole(&holes, 'S', "%s%s", any ? "sum" : "", axes.data);
    op_hole(&holes, 'P', "%s%s", any ? "prod" : "", axes.data);
    op_hole(&holes, 'M', "%s%s", !any ? "" : logic ? "any" : "max", axes.data);
    op_hole(&holes, 'L', "%s%s", !any ? "" : logic ? "all" : "min", axes.data);
    holes.arena->failed |= axes.failed;
    text_free(&axes);
    op_hole(&holes, 'N', "%.0f%s", elements, dtype_kind(x->type) == KIND_FLOAT ? ".0" : "");
    return holes;
}

const char *op_filling(const OpHoles *holes, char name) {
    const char *text = holes->text[name - '@'];
    assert((text || holes->arena->failed) && "a hole that nothing was given for");
    return text ? text : "";
}

void op_put_filled(Text *out, const OpHoles *holes, const char *text) {
    for (const char *hole; (hole = strchr(text, '$')); text = hole + 2) {
        text_put_n(out, text, (size_t)(hole - text));
        text_put(out, op_filling(holes, hole[1]));
    }
    text_put(out, text);
    out->failed |= holes->arena->failed;
}
