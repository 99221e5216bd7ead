/* Every row of arm64's table of instructions, with random operands: our words and our text against what LLVM's assembler makes of
 * that text. Where llvm-mc is missing, against tests/arm64_encodings.txt, which it made: one line an instruction, its word and
 * its text. `arm64_encode_test --print SEED N` prints N instructions of each row as text alone, to make that file of
 * (tools/arm64-encodings.sh). */
#define _DEFAULT_SOURCE /* mkdtemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "target/arm64/arm64.h"

static uint32_t next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Pairs are two registers, and an index is not xzr. */
static bool is_fine(Arm64Form form, const int64_t operand[ARM64_MAX_OPERANDS]) {
    bool pair = form == ARM64_LDP_X || form == ARM64_STP_X || form == ARM64_LDP_D || form == ARM64_STP_D || form == ARM64_LDP_Q ||
                form == ARM64_STP_Q;
    bool indexed = form == ARM64_SVE_LD1W_S_REG || form == ARM64_SVE_ST1W_S_REG;
    return !(pair && operand[0] == operand[1]) && !(indexed && operand[3] == 31);
}

/* Apple's AMX, which no assembler knows: checked against what is published of it below. */
static bool is_known(Arm64Form form) {
    return form < ARM64_AMX_LDX || form > ARM64_AMX_CLR;
}

static uint32_t random_word(Arm64Form form, uint64_t *state, int64_t operand[ARM64_MAX_OPERANDS]) {
    uint32_t mask, bits = arm64_fixed_bits(form, &mask), word;
    do {
        word = bits | (next(state) & ~mask);
        arm64_form_of(word, operand);
    } while (!is_fine(form, operand));
    return word;
}

static void text_of(uint32_t word, Text *out) {
    int64_t operand[ARM64_MAX_OPERANDS];
    Arm64Form form = arm64_form_of(word, operand);
    text_init(out);
    if (form < ARM64_FORM_COUNT)
        arm64_print_word(form, operand, out);
    else
        text_put(out, "unknown");
}

/* What is taken apart must give the same word put together. */
static void rows_are_distinct(void **state) {
    (void)state;
    uint64_t seed = 7;
    for (Arm64Form form = 0; form < ARM64_FORM_COUNT; form++)
        for (int i = 0; i < 50; i++) {
            int64_t operand[ARM64_MAX_OPERANDS];
            uint32_t word = random_word(form, &seed, operand), again;
            Arm64Form found = arm64_form_of(word, operand);
            if (found != form)
                fail_msg("%08x is %s and %s", word, arm64_form_name(form), arm64_form_name(found));
            if (!arm64_word(form, operand, &again) || again != word)
                fail_msg("%s: %08x put together again is %08x", arm64_form_name(form), word, again);
        }
}

static void operands_have_limits(void **state) {
    (void)state;
    uint32_t word;
    assert_true(arm64_word(ARM64_ADD_IMM, (int64_t[6]){1, 2, 4095}, &word));
    assert_false(arm64_word(ARM64_ADD_IMM, (int64_t[6]){1, 2, 4096}, &word));
    assert_false(arm64_word(ARM64_ADD_IMM, (int64_t[6]){1, 2, -1}, &word));
    assert_false(arm64_word(ARM64_LDR_Q, (int64_t[6]){1, 2, 8}, &word));
    assert_true(arm64_word(ARM64_LDR_Q, (int64_t[6]){1, 2, 65520}, &word));
    assert_false(arm64_word(ARM64_LDUR_Q, (int64_t[6]){1, 2, 256}, &word));
    assert_true(arm64_word(ARM64_LDUR_Q, (int64_t[6]){1, 2, -256}, &word));
    assert_true(arm64_word(ARM64_USHR_4S, (int64_t[6]){1, 2, 32}, &word));
    assert_false(arm64_word(ARM64_USHR_4S, (int64_t[6]){1, 2, 0}, &word));
    assert_false(arm64_word(ARM64_USHR_4S, (int64_t[6]){1, 2, 33}, &word));
    assert_false(arm64_word(ARM64_FADD_4S, (int64_t[6]){1, 2, 32}, &word));
}

static void as_recorded(void **state) {
    (void)state;
    FILE *file = fopen("tests/arm64_encodings.txt", "r");
    assert_non_null(file);
    bool *seen = calloc(ARM64_FORM_COUNT, 1);
    char line[160];
    int count = 0;
    while (fgets(line, sizeof line, file)) {
        unsigned word;
        int at = 0;
        if (sscanf(line, "%8x %n", &word, &at) != 1 || !at)
            continue; /* the comment */
        line[strcspn(line, "\n")] = 0;
        Text text;
        text_of(word, &text);
        if (strcmp(text.data, line + at) != 0)
            fail_msg("%08x is '%s'; ours: '%s'", word, line + at, text.data);
        text_free(&text);
        int64_t operand[ARM64_MAX_OPERANDS];
        uint32_t again;
        Arm64Form form = arm64_form_of(word, operand);
        assert_true(arm64_word(form, operand, &again) && again == word);
        seen[form] = true;
        count++;
    }
    fclose(file);
    for (Arm64Form form = 0; form < ARM64_FORM_COUNT; form++)
        if (!seen[form] && is_known(form))
            fail_msg("%s is not in tests/arm64_encodings.txt; tools/arm64-encodings.sh adds it", arm64_form_name(form));
    free(seen);
    print_message("%d recorded instructions agree\n", count);
}

/* 0x00201000, five bits that say what, five for a register (of SET and CLR: 0 and 1). */
static void amx_as_published(void **state) {
    (void)state;
    static const struct {
        Arm64Form form;
        int number;
    } published[] = {{ARM64_AMX_LDX, 0}, {ARM64_AMX_LDY, 1},    {ARM64_AMX_STX, 2},    {ARM64_AMX_STY, 3},   {ARM64_AMX_LDZ, 4},
                     {ARM64_AMX_STZ, 5}, {ARM64_AMX_FMA32, 12}, {ARM64_AMX_MAC16, 14}, {ARM64_AMX_FMA16, 15}};
    uint32_t word;
    for (size_t i = 0; i < COUNT(published); i++)
        for (int reg = 0; reg < 31; reg++) {
            assert_true(arm64_word(published[i].form, (int64_t[6]){reg}, &word));
            assert_int_equal(word, 0x00201000u + (unsigned)(published[i].number * 32 + reg));
        }
    assert_true(arm64_word(ARM64_AMX_SET, (int64_t[6]){0}, &word));
    assert_int_equal(word, 0x00201000u + 17 * 32);
    assert_true(arm64_word(ARM64_AMX_CLR, (int64_t[6]){0}, &word));
    assert_int_equal(word, 0x00201000u + 17 * 32 + 1);
}

static const char *assembler(void) {
    static const char *const names[] = {"llvm-mc-21", "llvm-mc-20", "llvm-mc-19", "llvm-mc-18", "llvm-mc-17", "llvm-mc"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char command[200];
        snprintf(command, sizeof command,
                 "echo 'smopa za0.s, p0/m, p1/m, z0.b, z1.b' | %s -triple=aarch64 -mattr=+all 2>&1 | grep -q smopa", names[i]);
        if (system(command) == 0)
            return names[i];
    }
    return NULL;
}

/* Text in, words out. */
static void as_assembled(void **state) {
    (void)state;
    enum { EACH = 40 };
    const char *name = assembler();
    if (!name) {
        print_message("skipped: no llvm-mc that knows SME here\n");
        skip();
    }
    uint64_t seed = (uint64_t)time(NULL), random = seed;
    char folder[] = "/tmp/whet-encode-XXXXXX", path[60], command[300];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.s", folder);
    FILE *file = fopen(path, "w");
    uint32_t *words = calloc((size_t)ARM64_FORM_COUNT * EACH, sizeof *words);
    size_t count = 0, wrong = 0;
    assert_true(file && words);
    for (Arm64Form form = 0; form < ARM64_FORM_COUNT; form++)
        for (int i = 0; i < EACH && is_known(form); i++) {
            int64_t operand[ARM64_MAX_OPERANDS];
            Text text;
            words[count] = random_word(form, &random, operand);
            text_of(words[count++], &text);
            fprintf(file, "%s\n", text.data);
            text_free(&text);
        }
    fclose(file);
    snprintf(command, sizeof command,
             "cd %s && %s -triple=aarch64 -mattr=+all -show-encoding a.s 2>log >a.out || { head -3 log >&2; false; }", folder,
             name);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/a.out", folder);
    file = fopen(path, "r");
    assert_non_null(file);
    char line[300];
    size_t at = 0;
    while (fgets(line, sizeof line, file) && at < count) {
        unsigned b[4];
        const char *encoding = strstr(line, "encoding: [");
        if (!encoding || sscanf(encoding, "encoding: [%x,%x,%x,%x", &b[0], &b[1], &b[2], &b[3]) != 4)
            continue;
        uint32_t word = b[0] | b[1] << 8 | b[2] << 16 | b[3] << 24;
        if (word != words[at]) {
            Text text;
            text_of(words[at], &text);
            print_error("%s: ours %08x, %s: %08x\n", text.data, words[at], name, word);
            text_free(&text);
            wrong++;
        }
        at++;
    }
    fclose(file);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(words);
    print_message("seed %llu: %zu instructions of %d rows through %s, %zu wrong\n", (unsigned long long)seed, count,
                  ARM64_FORM_COUNT, name, wrong);
    assert_int_equal(at, count);
    assert_int_equal(wrong, 0);
}

static int print_instructions(uint64_t seed, int each) {
    for (Arm64Form form = 0; form < ARM64_FORM_COUNT; form++)
        for (int i = 0; i < each && is_known(form); i++) {
            int64_t operand[ARM64_MAX_OPERANDS];
            Text text;
            text_of(random_word(form, &seed, operand), &text);
            puts(text.data);
            text_free(&text);
        }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--print") == 0)
        return print_instructions(strtoull(argv[2], NULL, 10), atoi(argv[3]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_distinct), cmocka_unit_test(operands_have_limits), cmocka_unit_test(as_recorded),
        cmocka_unit_test(amx_as_published),  cmocka_unit_test(as_assembled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
