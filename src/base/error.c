/* Errors: a status and a sentence. Each layer that knows more (file, node, operator) puts its words in front. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

whet_status error_set(whet_error *err, whet_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

whet_status error_prefix(whet_error *err, const char *format, ...) {
    if (!err)
        return WHET_ERROR_INTERNAL;
    char front[512];
    va_list args;
    va_start(args, format);
    vsnprintf(front, sizeof front, format, args);
    va_end(args);
    size_t length = strlen(front), room = sizeof err->message - 1;
    size_t rest = strlen(err->message);
    if (length + 2 > room)
        return err->status;
    if (rest > room - length - 2)
        rest = room - length - 2;
    memmove(err->message + length + 2, err->message, rest);
    memcpy(err->message, front, length);
    memcpy(err->message + length, ": ", 2);
    err->message[length + 2 + rest] = '\0';
    return err->status;
}

whet_status error_memory(whet_error *err) {
    return error_set(err, WHET_ERROR_MEMORY, "out of memory");
}

whet_status error_late(whet_error *err) {
    return error_set(err, WHET_ERROR_LIMIT, "the time limit has passed");
}

void error_clear(whet_error *err) {
    if (err) {
        err->status = WHET_OK;
        err->message[0] = '\0';
    }
}

const char *whet_status_name(whet_status status) {
    static const char *const names[] = {"ok",           "out of memory", "file error", "bad format",    "not supported",
                                        "bad argument", "bad data",      "time is up", "internal error"};
    return (size_t)status < COUNT(names) ? names[status] : "unknown status";
}

#define TEXT_OF(x)                   #x
#define VERSION(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *whet_version(void) {
    return VERSION(WHET_VERSION_MAJOR, WHET_VERSION_MINOR, WHET_VERSION_PATCH);
}
