/* What becomes one kernel: small graphs as exporters write them, and the templates of the kernels that are left. A graph's line
 * after `wanted` is the list of templates in the order in which they run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "text_model.h"

#define HEAD "ir 8\nopset 17\ngraph \"g\" {\n"

typedef struct Case {
    const char *name, *graph, *wanted;
} Case;

/* The content of constants does not matter: zeros. */
static double scale(void *context, const char *name, const Type *type) {
    return (void)context, (void)name, (void)type, 0;
}

/* The first word of the line behind each "## nodes". */
static void put_templates(const char *plan, Text *out) {
    for (const char *at = plan; (at = strstr(at, "## ")); at++) {
        if (at != plan && at[-1] != '\n')
            continue;
        const char *line = strchr(at, '\n') + 3;
        text_put(out, out->length ? " " : "");
        text_put_n(out, line, strcspn(line, " \n"));
    }
}

/* `arena`: its line; NULL: not looked at. */
static void check(const Case *c, const char *arena) {
    whet_error err = {0};
    whet_model model = {.model = graph_parse(c->graph, strlen(c->graph), NULL, &err)};
    char *plan = NULL;
    Text templates;
    text_init(&templates);
    if (!model.model)
        fail_msg("%s: %s", c->name, err.message);
    assert_true(text_model_fill_constants(model.model, scale, NULL, 1));
    if (graph_resolve(model.model, &err) || graph_infer(model.model, &err))
        fail_msg("%s: %s", c->name, err.message);
    model.program = program_new(&model.model->arena, model.model->graph, &err);
    model.shared = shared_new(model.model, NULL, true, false);
    assert_non_null(model.program);
    assert_non_null(model.shared);
    if (whet_model_show(&model, "fused", NULL, 0, &plan, &err))
        fail_msg("%s: %s", c->name, err.message);
    put_templates(plan, &templates);
    if (strcmp(templates.data, c->wanted) != 0) {
        print_message("%s\n", plan);
        fail_msg("%s: %s; wanted: %s", c->name, templates.data, c->wanted);
    }
    if (arena && !strstr(plan, arena)) {
        print_message("%s\n", plan);
        fail_msg("%s: wanted: %s", c->name, arena);
    }
    text_free(&templates);
    whet_string_free(plan);
    shared_free(model.shared);
    model_free(model.model);
}

static const Case cases[] = {
    {"queries, keys and values picked out of one product by a constant each: slices, so no copies",
     HEAD
     "  in %x: f32[1, 32, 48]\n  constant %w: f32[48, 144] = hash 1\n  constant %s: s64[5] = {1, 32, 3, 3, 16}\n"
     "  constant %i: s64[] = {0}\n  constant %j: s64[] = {-2}\n  %m: f32[1, 32, 144] = MatMul(%x, %w)\n"
     "  %r: f32[1, 32, 3, 3, 16] = Reshape(%m, %s)\n  %t: f32[3, 1, 3, 32, 16] = Transpose(%r) {perm = [2, 0, 3, 1, 4]}\n"
     "  %q: f32[1, 3, 32, 16] = Gather(%t, %i)\n  %k: f32[1, 3, 32, 16] = Gather(%t, %j)\n"
     "  %u: f32[1, 3, 16, 32] = Transpose(%k) {perm = [0, 1, 3, 2]}\n  %y: f32[1, 3, 32, 32] = MatMul(%q, %u)\n  out %y\n}\n",
     "contract contract"},
    {"a channel shuffle between convolutions: one interleaving copy, all channels last; pixels flattened for a head are a view",
     HEAD "  in %x: f32[1, 16, 8, 8]\n  constant %w: f32[32, 16, 3, 3] = hash 1\n  constant %v: f32[32, 1, 3, 3] = hash 2\n"
          "  constant %p: f32[24, 32, 1, 1] = hash 3\n  constant %g: s64[5] = {1, 2, 16, 8, 8}\n"
          "  constant %i: s64[4] = {1, 32, 8, 8}\n  constant %f: s64[3] = {1, 24, 64}\n"
          "  %c: f32[1, 32, 8, 8] = Conv(%x, %w) {pads = [1, 1, 1, 1]}\n  %r: f32[1, 2, 16, 8, 8] = Reshape(%c, %g)\n"
          "  %t: f32[1, 16, 2, 8, 8] = Transpose(%r) {perm = [0, 2, 1, 3, 4]}\n  %s: f32[1, 32, 8, 8] = Reshape(%t, %i)\n"
          "  %d: f32[1, 32, 8, 8] = Conv(%s, %v) {group = 32, pads = [1, 1, 1, 1]}\n  %e: f32[1, 24, 8, 8] = Conv(%d, %p)\n"
          "  %h: f32[1, 24, 64] = Reshape(%e, %f)\n  %y: f32[1, 64, 24] = Transpose(%h) {perm = [0, 2, 1]}\n  out %y\n}\n",
     "contract map window contract"},
    {"a depthwise convolution of images of one pixel",
     HEAD "  in %x: f32[1, 64, 1, 1]\n  constant %w: f32[64, 1, 3, 3] = hash 1\n  constant %b: f32[64] = hash 2\n"
          "  %c: f32[1, 64, 1, 1] = Conv(%x, %w, %b) {group = 64, pads = [1, 1, 1, 1]}\n"
          "  %y: f32[1, 64, 1, 1] = Relu(%c)\n  out %y\n}\n",
     "window"},
    {"a dense layer: bias, GELU by erf",
     HEAD "  in %x: f32[1, 32, 64]\n  constant %w: f32[64, 128] = hash 1\n  constant %b: f32[128] = hash 2\n"
          "  constant %r: f32[] = {1.4142135}\n  constant %one: f32[] = {1.0}\n  constant %half: f32[] = {0.5}\n"
          "  %m: f32[1, 32, 128] = MatMul(%x, %w)\n  %a: f32[1, 32, 128] = Add(%b, %m)\n  %d: f32[1, 32, 128] = Div(%a, %r)\n"
          "  %e: f32[1, 32, 128] = Erf(%d)\n  %f: f32[1, 32, 128] = Add(%e, %one)\n  %g: f32[1, 32, 128] = Mul(%a, %f)\n"
          "  %y: f32[1, 32, 128] = Mul(%g, %half)\n  out %y\n}\n",
     "contract"},
    {"a product, bias and residual, then LayerNorm in nine nodes",
     HEAD
     "  in %x: f32[1, 32, 64]\n  in %z: f32[1, 32, 64]\n  constant %w: f32[64, 64] = hash 1\n  constant %b: f32[64] = hash 2\n"
     "  constant %two: f32[] = {2.0}\n  constant %eps: f32[] = {0.00001}\n  constant %s: f32[64] = hash 3\n"
     "  %m: f32[1, 32, 64] = MatMul(%x, %w)\n  %a: f32[1, 32, 64] = Add(%m, %b)\n  %r: f32[1, 32, 64] = Add(%a, %z)\n"
     "  %mean: f32[1, 32, 1] = ReduceMean(%r) {axes = [-1]}\n  %d: f32[1, 32, 64] = Sub(%r, %mean)\n"
     "  %q: f32[1, 32, 64] = Pow(%d, %two)\n  %v: f32[1, 32, 1] = ReduceMean(%q) {axes = [-1]}\n"
     "  %e: f32[1, 32, 1] = Add(%v, %eps)\n  %t: f32[1, 32, 1] = Sqrt(%e)\n  %n: f32[1, 32, 64] = Div(%d, %t)\n"
     "  %g: f32[1, 32, 64] = Mul(%n, %s)\n  %y: f32[1, 32, 64] = Add(%g, %b)\n  out %y\n}\n",
     "contract rows"},
    {"heads are split by placement",
     HEAD "  in %x: f32[1, 32, 64]\n  constant %w: f32[64, 64] = hash 1\n  constant %shape: s64[4] = {1, 32, 4, 16}\n"
          "  %m: f32[1, 32, 64] = MatMul(%x, %w)\n  %r: f32[1, 32, 4, 16] = Reshape(%m, %shape)\n"
          "  %y: f32[1, 4, 32, 16] = Transpose(%r) {perm = [0, 2, 1, 3]}\n  out %y\n}\n",
     "contract"},
    {"attention with scale and mask",
     HEAD
     "  in %q: f32[1, 4, 32, 16]\n  in %k: f32[1, 4, 32, 16]\n  in %v: f32[1, 4, 32, 16]\n  in %mask: f32[1, 1, 1, 32]\n"
     "  constant %c: f32[] = {4.0}\n  constant %shape: s64[3] = {1, 32, 64}\n"
     "  %t: f32[1, 4, 16, 32] = Transpose(%k) {perm = [0, 1, 3, 2]}\n  %s: f32[1, 4, 32, 32] = MatMul(%q, %t)\n"
     "  %d: f32[1, 4, 32, 32] = Div(%s, %c)\n  %a: f32[1, 4, 32, 32] = Add(%d, %mask)\n"
     "  %p: f32[1, 4, 32, 32] = Softmax(%a) {axis = -1}\n  %o: f32[1, 4, 32, 16] = MatMul(%p, %v)\n"
     "  %h: f32[1, 32, 4, 16] = Transpose(%o) {perm = [0, 2, 1, 3]}\n  %y: f32[1, 32, 64] = Reshape(%h, %shape)\n  out %y\n}\n",
     "attend"},
    {"keys that are turned for one query: read where they lie",
     HEAD "  in %q: f32[1, 4, 1, 32]\n  in %p: f32[1, 4, 47, 32]\n  in %k: f32[1, 4, 1, 32]\n"
          "  %c: f32[1, 4, 48, 32] = Concat(%p, %k) {axis = 2}\n  %t: f32[1, 4, 32, 48] = Transpose(%c) {perm = [0, 1, 3, 2]}\n"
          "  %y: f32[1, 4, 1, 48] = MatMul(%q, %t)\n  out %c\n  out %y\n}\n",
     "map map rows"},
    {"attention of heads that share keys and values, which are expanded",
     HEAD
     "  in %q: f32[1, 32, 64]\n  in %k: f32[1, 2, 32, 16]\n  in %v: f32[1, 2, 32, 16]\n  in %mask: f32[1, 1, 32, 32]\n"
     "  constant %c: f32[] = {0.25}\n  constant %heads: s64[4] = {1, 32, 4, 16}\n  constant %two: s64[1] = {2}\n"
     "  constant %wide: s64[5] = {1, 2, 2, 32, 16}\n  constant %flat: s64[4] = {1, 4, 32, 16}\n  constant %shape: s64[3] = {1, "
     "32, 64}\n"
     "  %a: f32[1, 32, 4, 16] = Reshape(%q, %heads)\n  %b: f32[1, 4, 32, 16] = Transpose(%a) {perm = [0, 2, 1, 3]}\n"
     "  %d: f32[1, 2, 1, 32, 16] = Unsqueeze(%k, %two)\n  %e: f32[1, 2, 2, 32, 16] = Expand(%d, %wide)\n"
     "  %f: f32[1, 4, 32, 16] = Reshape(%e, %flat)\n  %t: f32[1, 4, 16, 32] = Transpose(%f) {perm = [0, 1, 3, 2]}\n"
     "  %g: f32[1, 2, 1, 32, 16] = Unsqueeze(%v, %two)\n  %h: f32[1, 2, 2, 32, 16] = Expand(%g, %wide)\n"
     "  %w: f32[1, 4, 32, 16] = Reshape(%h, %flat)\n  %s: f32[1, 4, 32, 32] = MatMul(%b, %t)\n"
     "  %l: f32[1, 4, 32, 32] = Mul(%s, %c)\n  %m: f32[1, 4, 32, 32] = Add(%l, %mask)\n"
     "  %p: f32[1, 4, 32, 32] = Softmax(%m) {axis = -1}\n  %o: f32[1, 4, 32, 16] = MatMul(%p, %w)\n"
     "  %i: f32[1, 32, 4, 16] = Transpose(%o) {perm = [0, 2, 1, 3]}\n  %y: f32[1, 32, 64] = Reshape(%i, %shape)\n  out %y\n}\n",
     "attend"},
    {"what is gathered for several readers is gathered once, and its RMSNorm is one kernel",
     HEAD "  in %i: s64[1, 32]\n  constant %w: f32[100, 64] = hash 1\n  constant %s: f32[64] = hash 2\n  constant %v: f32[64, "
          "64] = hash 3\n"
          "  constant %eps: f32[] = {0.00001}\n  %x: f32[1, 32, 64] = Gather(%w, %i)\n  %q: f32[1, 32, 64] = Mul(%x, %x)\n"
          "  %m: f32[1, 32, 1] = ReduceMean(%q) {axes = [-1]}\n  %e: f32[1, 32, 1] = Add(%m, %eps)\n"
          "  %r: f32[1, 32, 1] = Sqrt(%e)\n  %d: f32[1, 32, 64] = Div(%x, %r)\n  %n: f32[1, 32, 64] = Mul(%d, %s)\n"
          "  %p: f32[1, 32, 64] = MatMul(%n, %v)\n  %y: f32[1, 32, 64] = Add(%p, %x)\n  out %y\n}\n",
     "map rows contract"},
    {"a residual block of convolutions, channels last inside",
     HEAD "  in %x: f32[1, 32, 14, 14]\n  constant %w: f32[32, 32, 3, 3] = hash 1\n  constant %b: f32[32] = hash 2\n"
          "  %c: f32[1, 32, 14, 14] = Conv(%x, %w, %b) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]}\n"
          "  %r: f32[1, 32, 14, 14] = Relu(%c)\n"
          "  %d: f32[1, 32, 14, 14] = Conv(%r, %w, %b) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]}\n"
          "  %a: f32[1, 32, 14, 14] = Add(%d, %r)\n  %s: f32[1, 32, 14, 14] = Relu(%a)\n"
          "  %y: f32[1, 32, 1, 1] = GlobalAveragePool(%s)\n  out %y\n}\n",
     "contract contract rows"},
    {"an integer convolution with its zero points, scales and the quantization of its result",
     HEAD
     "  in %x: u8[1, 2, 8, 8]\n  constant %w: s8[2, 2, 1, 1] = {1, 2, 3, 4}\n  constant %zx: u8[] = {3}\n  constant %zw: s8[] = "
     "{0}\n"
     "  constant %s: f32[2, 1, 1] = {0.5, 0.25}\n  constant %t: f32[] = {0.125}\n  constant %zt: u8[] = {7}\n"
     "  %c: s32[1, 2, 8, 8] = ConvInteger(%x, %w, %zx, %zw) {kernel_shape = [1, 1]}\n  %f: f32[1, 2, 8, 8] = Cast(%c) {to = 1}\n"
     "  %m: f32[1, 2, 8, 8] = Mul(%f, %s)\n  %y: u8[1, 2, 8, 8] = QuantizeLinear(%m, %t, %zt)\n  out %y\n}\n",
     "contract"},
    {"parts of a concatenation are written in place",
     HEAD "  in %x: f32[32, 64]\n  constant %w: f32[64, 32] = hash 1\n  %a: f32[32, 32] = MatMul(%x, %w)\n"
          "  %b: f32[32, 64] = Relu(%x)\n  %y: f32[32, 96] = Concat(%a, %b) {axis = 1}\n  out %y\n}\n",
     "contract map"},
    {"the pixels of every square of an image as channels, by slices: one transpose",
     HEAD
     "  in %x: f32[1, 3, 32, 32]\n  constant %w: f32[16, 12, 3, 3] = hash 1\n  constant %zero: s64[1] = {0}\n"
     "  constant %one: s64[1] = {1}\n  constant %two: s64[1] = {2}\n  constant %far: s64[1] = {32}\n"
     "  constant %h: s64[1] = {2}\n  constant %v: s64[1] = {3}\n"
     "  %a: f32[1, 3, 16, 32] = Slice(%x, %zero, %far, %h, %two)\n  %b: f32[1, 3, 16, 32] = Slice(%x, %one, %far, %h, %two)\n"
     "  %c: f32[1, 3, 16, 16] = Slice(%a, %zero, %far, %v, %two)\n  %d: f32[1, 3, 16, 16] = Slice(%b, %zero, %far, %v, %two)\n"
     "  %e: f32[1, 3, 16, 16] = Slice(%a, %one, %far, %v, %two)\n  %f: f32[1, 3, 16, 16] = Slice(%b, %one, %far, %v, %two)\n"
     "  %g: f32[1, 12, 16, 16] = Concat(%c, %d, %e, %f) {axis = 1}\n"
     "  %y: f32[1, 16, 16, 16] = Conv(%g, %w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]}\n  out %y\n}\n",
     "map stages"},
    {"a product reads what is expensive from memory",
     HEAD "  in %x: f32[32, 64]\n  constant %w: f32[64, 128] = hash 1\n  %e: f32[32, 64] = Exp(%x)\n"
          "  %y: f32[32, 128] = MatMul(%e, %w)\n  out %y\n}\n",
     "map contract"},
    {"queries, keys and values are one product",
     HEAD "  in %x: f32[1, 32, 64]\n  constant %wq: f32[64, 64] = hash 1\n  constant %wk: f32[64, 64] = hash 2\n"
          "  constant %wv: f32[64, 64] = hash 3\n  constant %bq: f32[64] = hash 4\n  constant %bk: f32[64] = hash 5\n"
          "  constant %bv: f32[64] = hash 6\n  constant %four: s64[4] = {1, 32, 4, 16}\n"
          "  %mq: f32[1, 32, 64] = MatMul(%x, %wq)\n  %aq: f32[1, 32, 64] = Add(%bq, %mq)\n"
          "  %rq: f32[1, 32, 4, 16] = Reshape(%aq, %four)\n  %q: f32[1, 4, 32, 16] = Transpose(%rq) {perm = [0, 2, 1, 3]}\n"
          "  %mk: f32[1, 32, 64] = MatMul(%x, %wk)\n  %ak: f32[1, 32, 64] = Add(%mk, %bk)\n"
          "  %rk: f32[1, 32, 4, 16] = Reshape(%ak, %four)\n  %k: f32[1, 4, 16, 32] = Transpose(%rk) {perm = [0, 2, 3, 1]}\n"
          "  %mv: f32[1, 32, 64] = MatMul(%x, %wv)\n  %av: f32[1, 32, 64] = Add(%bv, %mv)\n"
          "  %rv: f32[1, 32, 4, 16] = Reshape(%av, %four)\n  %v: f32[1, 4, 32, 16] = Transpose(%rv) {perm = [0, 2, 1, 3]}\n"
          "  %s: f32[1, 4, 32, 32] = MatMul(%q, %k)\n  %p: f32[1, 4, 32, 32] = Softmax(%s) {axis = -1}\n"
          "  %y: f32[1, 4, 32, 16] = MatMul(%p, %v)\n  out %y\n}\n",
     "contract attend"},
    {"of bytes too, each with a scale and a zero point of its own",
     HEAD "  in %x: f32[1, 32, 64]\n  constant %wq: u8[64, 64] = hash 1\n  constant %wk: u8[64, 64] = hash 2\n"
          "  constant %wv: u8[64, 64] = hash 3\n  constant %sq: f32[] = {0.5}\n  constant %sk: f32[] = {0.25}\n"
          "  constant %sv: f32[] = {0.125}\n  constant %zq: u8[] = {1}\n  constant %zk: u8[] = {2}\n  constant %zv: u8[] = {3}\n"
          "  constant %bq: f32[64] = hash 4\n  constant %bk: f32[64] = hash 5\n  constant %bv: f32[64] = hash 6\n"
          "  constant %four: s64[4] = {1, 32, 4, 16}\n"
          "  %u: u8[1, 32, 64], %su: f32[], %zu: u8[] = DynamicQuantizeLinear(%x)\n"
          "  %tq: f32[] = Mul(%su, %sq)\n  %tk: f32[] = Mul(%su, %sk)\n  %tv: f32[] = Mul(%su, %sv)\n"
          "  %iq: s32[1, 32, 64] = MatMulInteger(%u, %wq, %zu, %zq)\n  %fq: f32[1, 32, 64] = Cast(%iq) {to = 1}\n"
          "  %mq: f32[1, 32, 64] = Mul(%fq, %tq)\n  %aq: f32[1, 32, 64] = Add(%bq, %mq)\n"
          "  %rq: f32[1, 32, 4, 16] = Reshape(%aq, %four)\n  %q: f32[1, 4, 32, 16] = Transpose(%rq) {perm = [0, 2, 1, 3]}\n"
          "  %ik: s32[1, 32, 64] = MatMulInteger(%u, %wk, %zu, %zk)\n  %fk: f32[1, 32, 64] = Cast(%ik) {to = 1}\n"
          "  %mk: f32[1, 32, 64] = Mul(%fk, %tk)\n  %ak: f32[1, 32, 64] = Add(%mk, %bk)\n"
          "  %rk: f32[1, 32, 4, 16] = Reshape(%ak, %four)\n  %k: f32[1, 4, 16, 32] = Transpose(%rk) {perm = [0, 2, 3, 1]}\n"
          "  %iv: s32[1, 32, 64] = MatMulInteger(%u, %wv, %zu, %zv)\n  %fv: f32[1, 32, 64] = Cast(%iv) {to = 1}\n"
          "  %mv: f32[1, 32, 64] = Mul(%fv, %tv)\n  %av: f32[1, 32, 64] = Add(%bv, %mv)\n"
          "  %rv: f32[1, 32, 4, 16] = Reshape(%av, %four)\n  %v: f32[1, 4, 32, 16] = Transpose(%rv) {perm = [0, 2, 1, 3]}\n"
          "  %s: f32[1, 4, 32, 32] = MatMul(%q, %k)\n  %p: f32[1, 4, 32, 32] = Softmax(%s) {axis = -1}\n"
          "  %y: f32[1, 4, 32, 16] = MatMul(%p, %v)\n  out %y\n}\n",
     "rows contract attend"},
    {"a tensor of many rows quantized as one, and the scales of what is multiplied by it, which are no kernels of their own",
     HEAD "  in %x: f32[1, 128, 512]\n  constant %w: s8[512, 64] = hash 1\n  constant %v: s8[512, 32] = hash 2\n"
          "  constant %sw: f32[] = {0.5}\n  constant %sv: f32[] = {0.25}\n  constant %zw: s8[] = {0}\n"
          "  %q: u8[1, 128, 512], %sx: f32[], %zx: u8[] = DynamicQuantizeLinear(%x)\n  %s: f32[] = Mul(%sx, %sw)\n"
          "  %t: f32[] = Mul(%sx, %sv)\n  %a: s32[1, 128, 64] = MatMulInteger(%q, %w, %zx, %zw)\n"
          "  %b: s32[1, 128, 32] = MatMulInteger(%q, %v, %zx, %zw)\n  %f: f32[1, 128, 64] = Cast(%a) {to = 1}\n"
          "  %g: f32[1, 128, 32] = Cast(%b) {to = 1}\n  %y: f32[1, 128, 64] = Mul(%f, %s)\n"
          "  %z: f32[1, 128, 32] = Mul(%g, %t)\n  out %y\n  out %z\n}\n",
     "rows contract contract"},
    {"a gate and what it opens are finished by their own products",
     HEAD "  in %x: f32[1, 32, 64]\n  constant %w: f32[64, 128] = hash 1\n  constant %u: f32[64, 128] = hash 2\n"
          "  %g: f32[1, 32, 128] = MatMul(%x, %w)\n  %s: f32[1, 32, 128] = Sigmoid(%g)\n  %h: f32[1, 32, 128] = Mul(%g, %s)\n"
          "  %m: f32[1, 32, 128] = MatMul(%x, %u)\n  %y: f32[1, 32, 128] = Mul(%h, %m)\n  out %y\n}\n",
     "contract contract"},
    {"so are those of one row by large weights, which rows would read as they lie",
     HEAD "  in %x: f32[1, 256]\n  constant %w: f32[256, 512] = hash 1\n  constant %u: f32[256, 512] = hash 2\n"
          "  %g: f32[1, 512] = MatMul(%x, %w)\n  %s: f32[1, 512] = Sigmoid(%g)\n  %h: f32[1, 512] = Mul(%g, %s)\n"
          "  %m: f32[1, 512] = MatMul(%x, %u)\n  %y: f32[1, 512] = Mul(%h, %m)\n  out %y\n}\n",
     "contract contract"},
};

static const struct {
    Case graph;
    const char *arena;
} placed[] = {
    {{"what is elementwise writes over what nobody reads any more",
      HEAD "  in %x: f32[32, 64]\n  constant %w: f32[64, 64] = hash 1\n  constant %u: f32[64, 64] = hash 2\n"
           "  constant %v: f32[64, 64] = hash 3\n  %c: f32[32, 64] = MatMul(%x, %w)\n  %b: f32[32, 64] = MatMul(%c, %u)\n"
           "  %a: f32[32, 64] = Exp(%c)\n  %m: f32[32, 64] = MatMul(%a, %v)\n  %y: f32[32, 64] = Add(%m, %b)\n  out %y\n}\n",
      "contract contract map contract"},
     "# 16384 bytes in the arena, of 24576 in tensors"},
    {{"but not where its rows are no whole vectors",
      HEAD "  in %x: f32[32, 60]\n  constant %w: f32[60, 60] = hash 1\n  constant %u: f32[60, 60] = hash 2\n"
           "  constant %v: f32[60, 60] = hash 3\n  %c: f32[32, 60] = MatMul(%x, %w)\n  %b: f32[32, 60] = MatMul(%c, %u)\n"
           "  %a: f32[32, 60] = Exp(%c)\n  %m: f32[32, 60] = MatMul(%a, %v)\n  %y: f32[32, 60] = Add(%m, %b)\n  out %y\n}\n",
      "contract contract map contract"},
     "# 23040 bytes in the arena, of 23040 in tensors"},
};

static void test_templates(void **state) {
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no target runs here\n");
        return;
    }
    for (size_t i = 0; i < COUNT(cases); i++)
        check(&cases[i], NULL);
    for (size_t i = 0; i < COUNT(placed); i++)
        check(&placed[i].graph, placed[i].arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
