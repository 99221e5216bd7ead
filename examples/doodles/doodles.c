/* The demo: a small network that this project trained names the things in drawings that it has never seen.
 *
 *     doodles doodles.onnx PICTURE.pgm...
 *
 * Each picture is shown with the network's two best answers. What a picture shows is its file's name up to the first '.' or '-',
 * so your own drawings (PGM, 32 x 32, dark on white) can join. Written against whet.h alone: an example of loading a model,
 * reading its metadata, and running it with one picture and with many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "whet.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE, PER_ROW = 4, WIDTH = SIDE / 2 + 3, CLASSES = 64, NAME = 32, ROUNDS = 5 };

typedef struct Answer {
    char truth[NAME];
    char text[2][NAME]; /* the best answers with their probabilities */
    int right;
} Answer;

typedef struct Labels {
    char name[CLASSES][NAME];
    int count;
} Labels;

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int failed(const char *what, const whet_error *err) {
    fprintf(stderr, "%s: %s: %s\n", what, whet_status_name(err->status), err->message);
    return 1;
}

/* A binary PGM of 32 x 32 as ink: 0 for white, 1 for black. */
static int read_picture(const char *path, float ink[PIXELS]) {
    unsigned char bytes[PIXELS];
    int width = 0, height = 0, white = 0;
    FILE *file = fopen(path, "rb");
    int fine = file && fscanf(file, "P5 %d %d %d", &width, &height, &white) == 3 && width == SIDE && height == SIDE &&
               white == 255 && fgetc(file) != EOF && fread(bytes, 1, PIXELS, file) == PIXELS;
    if (file)
        fclose(file);
    if (!fine) {
        fprintf(stderr, "%s: not a binary PGM of %d x %d with 255 for white\n", path, SIDE, SIDE);
        return 1;
    }
    for (int i = 0; i < PIXELS; i++)
        ink[i] = 1.0f - (float)bytes[i] / 255.0f;
    return 0;
}

/* The labels are in the model itself, as metadata: names with commas between them. */
static void read_labels(const whet_model *model, Labels *labels) {
    const char *text = whet_model_metadata(model, "labels");
    labels->count = 0;
    while (text && *text && labels->count < CLASSES) {
        int length = (int)strcspn(text, ",");
        snprintf(labels->name[labels->count++], NAME, "%.*s", length, text);
        text += length + (text[length] == ',');
    }
}

/* The session reads `ink` in place; the answer is one probability a label and picture. `*least` is the time of the fastest round.
 */
static whet_status run(whet_session *session, float *ink, int count, whet_tensor *probabilities, double *least, whet_error *err) {
    whet_tensor picture = {WHET_F32, 4, {count, 1, SIDE, SIDE}, ink, (size_t)count * PIXELS * sizeof *ink};
    whet_status status = whet_session_set_input(session, "picture", &picture, err);
    for (int round = 0; status == WHET_OK && round < ROUNDS; round++) {
        double start = milliseconds();
        status = whet_session_run(session, err);
        double took = milliseconds() - start;
        *least = round == 0 || took < *least ? took : *least;
    }
    if (status == WHET_OK)
        status = whet_session_output(session, 0, probabilities, err);
    return status;
}

static void judge(const whet_tensor *probabilities, const Labels *labels, Answer *answer) {
    const float *p = probabilities->data;
    int best = 0, second = labels->count > 1;
    for (int i = 1; i < labels->count; i++) {
        if (p[i] > p[best]) {
            second = best;
            best = i;
        } else if (p[i] > p[second] || second == best) {
            second = i;
        }
    }
    snprintf(answer->text[0], NAME, "%.10s %.1f %%", labels->name[best], 100 * (double)p[best]);
    snprintf(answer->text[1], NAME, "%.10s %.1f %%", labels->name[second], 100 * (double)p[second]);
    answer->right = strcmp(labels->name[best], answer->truth) == 0;
}

/* One line of a picture in braille patterns, each of them 2 x 4 pixels: U+2800 + a bit a dot. */
static void show_line(const float *ink, int line) {
    static const unsigned char dot[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    for (int column = 0; column < SIDE / 2; column++) {
        unsigned dots = 0;
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 2; x++)
                if (ink[(line * 4 + y) * SIDE + column * 2 + x] > 0.5f)
                    dots |= dot[y][x];
        printf("\xE2%c%c", (int)(0xA0 | dots >> 6), (int)(0x80 | (dots & 0x3F)));
    }
    printf("%*s", WIDTH - SIDE / 2, "");
}

static void show_row(const float *ink, const Answer *answers, int count) {
    int colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    for (int line = 0; line < SIDE / 4; line++, putchar('\n'))
        for (int i = 0; i < count; i++)
            show_line(ink + i * PIXELS, line);
    for (int i = 0; i < count; i++) {
        const char *on = !colour ? "" : answers[i].right ? "\033[32m" : "\033[31m";
        printf("%s%s %-*s%s", on, answers[i].right ? "\xE2\x9C\x93" : "\xE2\x9C\x97", WIDTH - 2, answers[i].text[0],
               colour ? "\033[0m" : "");
    }
    putchar('\n');
    for (int i = 0; i < count; i++)
        printf("  %-*s", WIDTH - 2, answers[i].text[1]);
    printf("\n\n");
}

static int demo(const whet_model *model, float *ink, Answer *answers, char **paths, int count) {
    whet_error err = {0};
    whet_session *session = NULL;
    whet_tensor probabilities;
    Labels labels;
    double took, least = 1e30, all;
    int right = 0;

    read_labels(model, &labels);
    if (whet_session_new(model, NULL, &session, &err))
        return failed("doodles", &err);
    for (int i = 0; i < count; i++) {
        if (run(session, ink + i * PIXELS, 1, &probabilities, &took, &err))
            goto fail;
        if (probabilities.type != WHET_F32 || whet_tensor_count(&probabilities) != labels.count) {
            fprintf(stderr, "doodles: this model does not answer with one number a label\n");
            goto out;
        }
        const char *slash = strrchr(paths[i], '/');
        const char *name = slash ? slash + 1 : paths[i];
        snprintf(answers[i].truth, NAME, "%.*s", (int)strcspn(name, ".-"), name);
        judge(&probabilities, &labels, &answers[i]);
        right += answers[i].right;
        least = took < least ? took : least;
    }
    for (int i = 0; i < count; i += PER_ROW)
        show_row(ink + i * PIXELS, answers + i, count - i < PER_ROW ? count - i : PER_ROW);
    if (run(session, ink, count, &probabilities, &all, &err))
        goto fail;
    printf("%d of %d right. One picture: %.3f ms; all %d as one batch: %.3f ms.\n", right, count, least, count, all);
    whet_session_free(session);
    return 0;

fail:
    failed("doodles", &err);
out:
    whet_session_free(session);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: doodles doodles.onnx PICTURE.pgm...\n");
        return 2;
    }
    whet_error err = {0};
    whet_model *model = NULL;
    int count = argc - 2, status = 1;
    float *ink = calloc((size_t)count, PIXELS * sizeof *ink);
    Answer *answers = calloc((size_t)count, sizeof *answers);
    double start = milliseconds();

    if (!ink || !answers) {
        fprintf(stderr, "doodles: out of memory\n");
    } else if (whet_model_load(argv[1], NULL, &model, &err)) {
        failed("doodles", &err);
    } else {
        printf("%s: loaded in %.2f ms\n\n", argv[1], milliseconds() - start);
        status = 0;
        for (int i = 0; i < count && !status; i++)
            status = read_picture(argv[2 + i], ink + (size_t)i * PIXELS);
        if (!status)
            status = demo(model, ink, answers, argv + 2, count);
    }
    whet_model_free(model);
    free(answers);
    free(ink);
    return status;
}
