/* What people read: complaints, notes and progress on stderr.
 *
 * Progress is drawn from a timer signal, so that one long call into the library needs no thread of ours to be seen alive.
 * The handler only formats digits and calls write(2), which signals may do.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static char progress_text[160]; /* what is under way, without its seconds */
static volatile sig_atomic_t progress_seconds, progress_on;

static void say(const char *kind, const char *format, va_list args) {
    progress_stop();
    fprintf(stderr, "whet: %s", kind);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

bool complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
    return false;
}

void note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("note: ", format, args);
    va_end(args);
}

void *need(void *pointer) {
    if (!pointer) {
        complain("out of memory");
        exit(STATUS_FAILED);
    }
    return pointer;
}

static void tick(int signal_number) {
    (void)signal_number;
    if (!progress_on)
        return;
    char line[192], digits[12];
    int seconds = ++progress_seconds, count = 0;
    size_t length = strlen(progress_text);
    line[0] = '\r';
    memcpy(line + 1, progress_text, length++);
    do {
        digits[count++] = (char)('0' + seconds % 10);
    } while ((seconds /= 10) != 0);
    line[length++] = ' ';
    while (count > 0)
        line[length++] = digits[--count];
    for (const char *end = " s\033[K"; *end; end++)
        line[length++] = *end;
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
}

void progress_start(const char *format, ...) {
    if (!isatty(STDERR_FILENO))
        return;
    bool was_on = progress_on;
    progress_on = 0; /* the handler keeps off the text while it changes */
    va_list args;
    va_start(args, format);
    vsnprintf(progress_text, sizeof progress_text, format, args);
    va_end(args);
    progress_on = 1;
    if (was_on)
        return;
    progress_seconds = 0;
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_interval = {1, 0}, .it_value = {1, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

void progress_clear(void) {
    if (progress_on && progress_seconds > 0)
        fputs("\r\033[K", stderr);
}

void progress_stop(void) {
    if (!progress_on)
        return;
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    progress_clear();
    progress_on = 0;
}

void progress_forget(void) {
    progress_on = 0;
}

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
