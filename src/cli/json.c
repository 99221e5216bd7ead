/* JSON to a stream, key by key. */
#include <math.h>

#include "cli.h"

static void put_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_key(Json *json, const char *key) {
    if (!json->open)
        fputs(", ", json->out);
    json->open = false;
    if (!key)
        return;
    put_string(json->out, key);
    fputs(": ", json->out);
}

void json_open(Json *json, const char *key, char bracket) {
    put_key(json, key);
    fputc(bracket, json->out);
    json->open = true;
}

void json_close(Json *json, char bracket) {
    fputc(bracket, json->out);
    json->open = false;
}

void json_number(Json *json, const char *key, double value) {
    put_key(json, key);
    if (isfinite(value))
        fprintf(json->out, "%.*g", value == floor(value) ? 17 : 6, value);
    else
        fputs("null", json->out);
}

void json_string(Json *json, const char *key, const char *value) {
    put_key(json, key);
    put_string(json->out, value);
}
