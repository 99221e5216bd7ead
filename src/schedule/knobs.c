/* Knobs as text: "mr=8 nv=3 kc=256", as the command takes and prints them. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/schedule.h"

static const struct {
    const char *name;
    size_t offset;   /* in ScheduleKnobs */
    int least, most; /* 0 is kept as -1: nothing of that kind */
} rows[] = {
    {"mr", offsetof(ScheduleKnobs, mr), 1, 32},         {"nv", offsetof(ScheduleKnobs, nv), 1, 8},
    {"kc", offsetof(ScheduleKnobs, kc), 1, KNOB_MOST},  {"mc", offsetof(ScheduleKnobs, mc), 1, KNOB_MOST},
    {"unroll", offsetof(ScheduleKnobs, unroll), 1, 16}, {"winograd", offsetof(ScheduleKnobs, winograd), 0, 4},
};

static int *place(ScheduleKnobs *knobs, size_t row) {
    return (int *)((char *)knobs + rows[row].offset);
}

static whet_status parse_knob(const char *word, size_t length, ScheduleKnobs *out, whet_error *err) {
    size_t name = 0, row = 0;
    while (name < length && word[name] != '=')
        name++;
    while (row < COUNT(rows) && (strlen(rows[row].name) != name || memcmp(rows[row].name, word, name) != 0))
        row++;
    if (row == COUNT(rows) || name == length)
        return error_set(err, WHET_ERROR_ARGUMENT,
                         "schedule: '%.*s' is no knob; wanted: mr, nv, kc, mc, unroll or winograd, as mr=8", (int)length, word);
    char *end;
    long long value = strtoll(word + name + 1, &end, 10);
    if (end != word + length || name + 1 == length || value < rows[row].least || value > rows[row].most)
        return error_set(err, WHET_ERROR_ARGUMENT, "schedule: '%.*s'; wanted: a number from %d to %d", (int)length, word,
                         rows[row].least, rows[row].most);
    *place(out, row) = value ? (int)value : -1;
    return WHET_OK;
}

whet_status schedule_parse_knobs(const char *text, ScheduleKnobs *out, whet_error *err) {
    static const char *const space = " \t\n,";
    *out = (ScheduleKnobs){0};
    for (const char *at = text + strspn(text, space); *at; at += strspn(at, space)) {
        size_t length = strcspn(at, " \t\n,#");
        if (*at == '#') { /* a comment, as the print has one */
            at += strcspn(at, "\n");
            continue;
        }
        whet_status status = parse_knob(at, length, out, err);
        if (status)
            return status;
        at += length;
    }
    return WHET_OK;
}

void schedule_print_knobs(const ScheduleKnobs *knobs, Text *out) {
    ScheduleKnobs copy = *knobs;
    const char *separator = "";
    for (size_t row = 0; row < COUNT(rows); row++)
        if (*place(&copy, row)) {
            text_printf(out, "%s%s=%d", separator, rows[row].name, *place(&copy, row) < 0 ? 0 : *place(&copy, row));
            separator = " ";
        }
    text_put(out, *separator ? "\n" : "");
}
