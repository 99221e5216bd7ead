/* Every instruction of many random functions, byte for byte against the GNU assembler: our bytes are disassembled to text, the
 * text is assembled by `as`, and the bytes must come out the same. Skipped where `as` or `objcopy` is missing, or is one that
 * does not know x86. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "schedule/schedule.h"
#include "target/x86/x86.h"

enum { MAX_INSTRUCTIONS = 16000 };

typedef struct Listing {
    struct {
        unsigned char bytes[16];
        size_t length;
        char text[120];
    } * item;
    size_t count;
} Listing;

/* Each instruction once, however often and at whatever jump distance it occurs. */
static void add(Listing *list, const TargetCode *code) {
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    size_t end = ((const X86Line *)code->lines)[code->line_count - 1].offset, at = 0;
    while (at < end && list->count < MAX_INSTRUCTIONS) {
        ZydisDecodedInstruction instruction;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code->bytes + at, code->size - at, &instruction, operands)));
        bool jump = instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || instruction.mnemonic == ZYDIS_MNEMONIC_NOP;
        bool known = false;
        for (size_t i = 0; i < list->count && !known; i++)
            known =
                list->item[i].length == instruction.length && !memcmp(list->item[i].bytes, code->bytes + at, instruction.length);
        if (!jump && !known) {
            list->item[list->count].length = instruction.length;
            memcpy(list->item[list->count].bytes, code->bytes + at, instruction.length);
            char *text = list->item[list->count++].text; /* where there are both forms, assemblers take the longer one of VNNI */
            const char *form =
                instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && instruction.meta.isa_set == ZYDIS_ISA_SET_AVX_VNNI
                    ? "{vex} "
                    : "";
            ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_FORCE_SIZE,
                                      instruction.mnemonic != ZYDIS_MNEMONIC_LDTILECFG); /* `as` knows it without alone */
            size_t written = (size_t)snprintf(text, sizeof list->item[0].text, "%s", form);
            ZydisFormatterFormatInstruction(&formatter, &instruction, operands, instruction.operand_count_visible, text + written,
                                            sizeof list->item[0].text - written, ZYDIS_RUNTIME_ADDRESS_NONE, NULL);
        }
        at += instruction.length;
    }
}

static const char *const kernels[] = {
    "c[m:67, n:99] = max(sum(k:37) a[m, k] * b[k, n] + r[n], 0)",
    "y[n:3, o:20, h:9, w:11] = clip(sum(c:5, i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j] + b[o], 0, 6)",
    "y[n:3, c:4, h:20, w:70] = sum(i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[c, i, j]",
    "y[n:3, c:4, h:20, w:70] = max(i:3, j:3) x[n, c, 2 * h + i - 1, 2 * w + j - 1]?(-inf)",
    "y[i:1000] = gelu(x[i]) + tanh(x[i]) * log1p(abs(z[i]))",
    /* clang-format off */
    "y[i:77] = select(x[i] >= z[i] & !isnan(z[i]), floor(x[i]), ceil(z[i])) + sign(x[i]) + sqrt(x[i]) - trunc(z[i]) / round(x[i])",
    /* clang-format on */
    "y[i:77] = min(x[i], z[i]) + max(x[i], z[i]) + expm1(x[i]) + sigmoid(z[i])",
    "t[i:5] = max(j:100) x[i, j]\ne[i, j] = exp(x[i, j] - t[i])\ns[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / s[i]",
};

/* Forms that no schedule uses yet. */
static const char forms[] = "function forms, %d bytes a register, pointer %%a, pointer %%b, index %%n\n"
                            "  loop %%i = 0 to %%n step 1\n"
                            "    %%x = load f64 [%%a + 64*%%i]\n"
                            "    %%m = mask_first f64 3\n"
                            "    %%y = load f64 [%%a + 64*%%i + 8192] if %%m\n"
                            "    %%z = splat f64 [%%a + 8*%%i]\n"
                            "    %%s = fma f64 %%x, %%y, %%z\n"
                            "    %%t = div f64 %%s, %%y\n"
                            "    %%u = reduce_add f64 %%t\n"
                            "    %%l = lt f64 %%u, %%t\n"
                            "    %%v = select f64 %%l, %%u, %%t\n"
                            "    %%w = sqrt f64 %%v\n"
                            "    store f64 [%%b + 64*%%i] %%w if %%m\n"
                            "    store_first f64 [%%b + 8*%%i + 4096] %%u\n"
                            "    %%h = load s32 from s8 [%%a + 16*%%i]\n"
                            "    %%j = load s32 from u16 [%%a + 32*%%i]\n"
                            "    %%k = mul s32 %%h, %%j\n"
                            "    %%c = sar s32 %%k, 3\n"
                            "    %%d = cvt f32 from s32 %%c\n"
                            "    %%e = load f32 from bf16 [%%a + 32*%%i]\n"
                            "    %%f = load f32 from f16 [%%a + 32*%%i + 64]\n"
                            "    %%g = mul f32 %%e, %%f\n"
                            "    %%o = splat s32 from u8 [%%a + 1*%%i]\n";

/* Lanes, narrow memory, gathers: with a mask and without. */
static const char more[] =
    "    %mb = mask_below f32 %n\n    %iota = iota s32 3\n"
    "    %ga = gather f32 [%a + 64*%i] %iota, 4\n    %gb = gather f32 from bf16 [%a + 64*%i] %iota, 2 if %mb\n"
    "    %gc = gather s32 [%a + 64*%i] %c, 12 if %mb\n    %gd = gather s32 from u8 [%a + 64*%i] %c, 1\n"
    "    %ge = gather s32 from s16 [%a + 64*%i] %c, 24\n    %za = zip_low f32 %ga, %gb\n"
    "    %zb = zip_high f32 %ga, %gb\n    %zc = block_even f32 %za, %zb\n    %zd = block_odd f32 %zc, %zb\n"
    "    %pe = permute f32 from s32 %zd, %iota\n    store f32 from f16 [%b + 32*%i] %pe\n"
    "    %pi = pick f32 from s32 %zc, %zd, %iota\n    store f32 [%b + 32*%i] %pi\n"
    "    %li = load_index [%a + 64*%i + 8]\n    %lp = pointer_index %a, %li, 4\n    %lf = load f32 [%lp + 64]\n"
    "    store f32 [%b + 32*%i] %lf\n"
    "    store f32 from f16 [%b + 32*%i + 32] %pe if %mb\n    store f32 from bf16 [%b + 32*%i + 64] %pe\n"
    "    store s32 from u8 [%b + 16*%i] %gc\n    store s32 from s8 [%b + 16*%i] %gd if %mb\n"
    "    store s32 from u16 [%b + 16*%i] %ge\n    store s32 from s16 [%b + 16*%i] %gc if %mb\n"
    "    store_first s32 from u8 [%b + 1*%i] %gc\n    store_first f32 from f16 [%b + 2*%i] %pe\n"
    "    store_first s32 from s16 [%b + 2*%i] %ge\n    %sa = shl_by s32 %gc, %gd\n    %sb = shr_by s32 %sa, %ge\n"
    "    %sc = sar_by s32 %sb, %gd\n    store s32 [%b + 64*%i + 512] %sc\n    %l8 = load s32 from s8 [%a + 16*%i] if %mb\n"
    "    store s32 [%b + 64*%i + 576] %l8\n    %lf = load f32 from f16 [%a + 32*%i] if %mb\n"
    "    store f32 [%b + 64*%i + 640] %lf\n    %ld = load f64 from f32 [%a + 32*%i] if %m\n"
    "    store f64 from f32 [%b + 32*%i + 704] %ld\n    store f64 from f32 [%b + 32*%i + 768] %ld if %m\n"
    "    %m8 = load s16 from s8 [%a + 32*%i]\n    %n8 = load s16 from u8 [%a + 32*%i + 32]\n"
    "    %o8 = dot2_ss s32 from s16 %m8, %n8, %sc\n    store s32 [%b + 64*%i + 832] %o8\n"
    "    %p8 = load u8 [%a + 64*%i]\n    %q8 = splat u8 [%a + 1*%i]\n    %r8 = max u8 %p8, %q8\n"
    "    %s8 = zip_low u8 %r8, %q8\n    store u8 [%b + 64*%i + 896] %s8\n    %e8 = even f64 %ld, %x\n"
    "    store f64 [%b + 64*%i + 960] %e8\n";

static const char tail[] = "    %p = reduce_max s32 %o\n    %q = cvt f32 from s32 %p\n    %r = fma f32 %g, %d, %q\n"
                           "    store f32 [%b + 64*%i + 1024] %r\n  end\n";
static const char dots[] =
    "    %ab = bits u8 from s32 %c\n    %ac = bits s8 from s32 %h\n    %ad = dot4_us s32 from u8 %ab, %ac, %k\n"
    "    store s32 [%b + 64*%i + 2048] %ad\n";
static const char pairs[] = "    %ae = bits bf16 from f32 %e\n"
                            "    %af = dot2 f32 from bf16 %ae, %ae, %g\n    store f32 [%b + 64*%i + 3072] %af\n";

static const char tiles[] = "function tiles, 64 bytes a register, pointer %a, pointer %b, pointer %c, index %n\n"
                            "  loop %i = 0 to %n step 1\n"
                            "    %s = tile_zero s32 rows 9\n    %t = tile_zero s32 rows 9\n    %f = tile_zero f32 rows 9\n"
                            "    %x = tile_load s32 [%a + 64*%i] 4096 rows 9\n    %y = tile_load s32 [%b + 128*%i + 1024] 64\n"
                            "    %z = tile_load f32 [%b + 128*%i] 128\n    %w = tile_load f32 [%a + 64*%i + 64] 100 rows 9\n"
                            "    %s1 = tile_dot4_ss s32 %x, %y, %s\n    %t1 = tile_dot4_us s32 %x, %y, %t\n"
                            "    %s2 = tile_dot4_su s32 %x, %y, %s1\n    %t2 = tile_dot4_uu s32 %x, %y, %t1\n"
                            "    %f1 = tile_dot2 f32 %w, %z, %f\n    tile_store s32 [%c + 1024*%i] %s2, 64 rows 9\n"
                            "    tile_store s32 [%c + 1024*%i + 8192] %t2, 4096 rows 9\n"
                            "    tile_store f32 [%c + 1024*%i + 64] %f1, -64 rows 9\n  end\n";

static void add_function(Listing *list, const Target *target, const char *text, uint64_t seed) {
    Arena arena;
    whet_error err;
    TargetCode *code = NULL;
    arena_init(&arena, NULL);
    const VectorFunction *functions[] = {vector_parse(&arena, text, strlen(text), &err)};
    if (!functions[0] || target->compile(target, functions, 1, seed, &code, &err) != WHET_OK)
        fail_msg("%s", err.message);
    add(list, code);
    target->free(code);
    arena_free(&arena);
}

static void add_forms(Listing *list, const Target *target) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        Text text;
        text_init(&text);
        char head[sizeof forms + 16];
        snprintf(head, sizeof head, forms, target->bytes);
        text_put(&text, head);
        if (target->dot4_us)
            text_put(&text, dots);
        if (target->dot2)
            text_put(&text, pairs);
        text_put(&text, more);
        text_put(&text, tail);
        add_function(list, target, text.data, seed);
        if (target->tiles.count)
            add_function(list, target, tiles, seed);
        text_free(&text);
    }
}

/* The shapes of inputs follow from the indices only where those are plain; the two images are given. */
static Kernel *bind(Arena *arena, const char *text, whet_error *err) {
    static const int64_t image[] = {3, 5, 9, 11}, deep[] = {3, 4, 40, 140}, wide[] = {3, 4, 20, 70};
    Kernel *kernel = kernel_parse(arena, text, strlen(text), err);
    bool stride = strstr(text, "2 * h"), contraction = strstr(text, "sum(c:5");
    KernelArg arg = {"x", DT_F32, 4, contraction ? image : stride ? deep : wide};
    int count = strstr(text, "x[n, c") ? 1 : 0;
    return kernel && kernel_bind(kernel, &arg, count, NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static void collect(Listing *list, const Target *target) {
    for (size_t k = 0; k < COUNT(kernels); k++)
        for (uint64_t seed = 0; seed < 3; seed++) { /* other registers each time: other prefixes */
            Arena arena;
            whet_error err;
            const char *why;
            Compiled *compiled = NULL;
            ScheduleOptions options = {.seed = seed};
            arena_init(&arena, NULL);
            Kernel *kernel = bind(&arena, kernels[k], &err);
            if (!kernel || schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
                fail_msg("%s: %s", kernels[k], err.message);
            add(list, compiled->code);
            compiled_free(compiled);
            arena_free(&arena);
        }
}

/* The assembler's bytes of one instruction start where a label is; labels are read back from the symbol table's listing. */
static size_t assemble(const Listing *list, unsigned char *out, size_t capacity, const char *folder) {
    char path[200], command[700];
    snprintf(path, sizeof path, "%s/a.s", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, ".intel_syntax noprefix\n.text\n");
    for (size_t i = 0; i < list->count; i++) /* each in its own 16 bytes, so that one that differs in length shows alone */
        fprintf(file, ".balign 16, 0xcc\n%s\n", list->item[i].text);
    fclose(file);
    snprintf(command, sizeof command, "cd %s && as --64 -o a.o a.s 2>as.log && objcopy -O binary -j .text a.o a.bin 2>>as.log",
             folder);
    if (system(command) != 0) {
        snprintf(command, sizeof command, "head -5 %s/as.log >&2", folder);
        if (system(command))
            return 0;
        return 0;
    }
    snprintf(path, sizeof path, "%s/a.bin", folder);
    file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(out, 1, capacity, file);
    fclose(file);
    return size;
}

static void check_target(uint64_t features) {
    Target target;
    if (system(
            "as --version >/dev/null 2>&1 && objcopy --version >/dev/null 2>&1 && echo 'vaddps %zmm1,%zmm2,%zmm3' | as --64 -o "
            "/dev/null - 2>/dev/null")) {
        print_message("skipped: no assembler for x86 here\n");
        skip();
    }
    assert_true(target_x86(features, &target)); /* code for a machine that need not be this one */
    target.flushes = true;
    char folder[] = "/tmp/whet-encode-XXXXXX";
    assert_non_null(mkdtemp(folder));
    Listing list = {.item = calloc(MAX_INSTRUCTIONS, sizeof *list.item)};
    assert_non_null(list.item);
    collect(&list, &target);
    add_forms(&list, &target);
    unsigned char *bytes = malloc(16 * MAX_INSTRUCTIONS + 64);
    size_t size = assemble(&list, bytes, 16 * MAX_INSTRUCTIONS + 64, folder), wrong = 0;
    assert_true(size > 16 * (list.count - 1));
    for (size_t i = 0; i < list.count; i++) {
        if (!memcmp(bytes + 16 * i, list.item[i].bytes, list.item[i].length))
            continue;
        print_error("%s: ours", list.item[i].text);
        for (size_t b = 0; b < list.item[i].length; b++)
            print_error(" %02x", list.item[i].bytes[b]);
        print_error(", as");
        for (size_t b = 0; b < list.item[i].length + 1; b++)
            print_error(" %02x", bytes[16 * i + b]);
        print_error("\n");
        wrong++;
    }
    print_message("%s: %zu different instructions, %zu wrong\n", target.name, list.count, wrong);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(bytes);
    free(list.item);
    assert_int_equal(wrong, 0);
}

static void avx2(void **state) {
    (void)state;
    check_target(FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C));
}

static void avx_vnni(void **state) {
    (void)state;
    check_target(FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C) | FEATURE(AVX_VNNI));
}

static void avx512(void **state) {
    (void)state;
    check_target(~UINT64_C(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(avx2), cmocka_unit_test(avx_vnni), cmocka_unit_test(avx512)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
