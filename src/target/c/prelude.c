/* The head of a C file: includes, vector types, and those functions of the tables in ops.c that the file calls. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "target/c/c.h"

const char *c_type(DType type) {
    switch (type) {
    case DT_F32: return "float";
    case DT_F64: return "double";
    case DT_S8: return "int8_t";
    case DT_S16: return "int16_t";
    case DT_S32: return "int32_t";
    case DT_S64: return "int64_t";
    case DT_U32: return "uint32_t";
    case DT_U64: return "uint64_t";
    case DT_U16:
    case DT_F16:
    case DT_BF16: return "uint16_t";
    default: return "uint8_t"; /* u8 and bool */
    }
}

static char letter_of(DType type) {
    return type == DT_F32 ? 'f' : type == DT_F64 ? 'd' : type == DT_BOOL ? 'b' : dtype_kind(type) == KIND_SIGNED ? 's' : 'u';
}

void c_expand(Text *out, const char *row, DType type, DType memory, int bytes) {
    int bits = dtype_bits(type);
    for (const char *at = row; *at; at++) {
        if (*at != '$') {
            text_char(out, *at);
            continue;
        }
        switch (*++at) {
        case 'T': text_put(out, c_type(type)); break;
        case 'U': text_printf(out, "uint%d_t", bits); break;
        case 'V': text_printf(out, "%sv", dtype_name(type)); break;
        case 'S': text_printf(out, "s%dv", bits); break;
        case 'X': text_printf(out, "u%dv", bits); break;
        case 'F': text_put(out, type == DT_F32 ? "f" : ""); break;
        case 'W': text_printf(out, "%d", bits); break;
        case 'L': text_printf(out, "%d", bytes * 8 / bits); break;
        case 'M': text_put(out, dtype_name(memory)); break;
        default: text_put(out, dtype_name(type)); break; /* N */
        }
    }
}

static bool in_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

bool c_mentions(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += length)
        if ((at == text || !in_word(at[-1])) && !in_word(at[length]))
            return true;
    return false;
}

/* ---- one function ---- */

/* "{ a; b; }" with a statement a line. */
static void put_body(Text *out, const char *body) {
    int depth = 0, parens = 0;
    for (const char *at = body; *at; at++) {
        if (*at == '{' && at > body && at[-2] == '=') { /* an initializer */
            text_put(out, "{0}");
            at = strchr(at, '}');
        } else if (*at == '{') {
            text_printf(out, "{\n%*s", 4 * ++depth, "");
        } else if (*at == '}') {
            out->length -= 4; /* of the indentation that is there */
            out->data[out->length] = 0;
            text_char(out, '}');
            if (--depth)
                text_printf(out, "\n%*s", 4 * depth, "");
        } else {
            parens += (*at == '(') - (*at == ')');
            text_char(out, *at);
            if (*at != ';' || parens)
                continue;
            text_printf(out, "\n%*s", 4 * depth, "");
        }
        while (at[1] == ' ')
            at++;
    }
    text_char(out, '\n');
}

/* What a lane of a vector parameter is. */
static const char *scalar_of(const char *vector) {
    static const char *const pairs[][2] = {
        {"f32v", "float"}, {"f64v", "double"}, {"s32v", "int32_t"}, {"s64v", "int64_t"}, {"u32v", "uint32_t"}};
    for (size_t i = 0; i < COUNT(pairs); i++)
        if (strncmp(vector, pairs[i][0], 4) == 0)
            return pairs[i][1];
    return NULL;
}

/* A loop over lanes: a, b, c are those of the parameters x, y, z. */
static void put_lanes(Text *out, const char *result, const char *parameters, const char *lane, int lanes) {
    text_printf(out, "    %s r = {0};\n    for (int i = 0; i < %d; i++) {\n", result, lanes);
    for (const char *at = parameters; at; at = strchr(at, ',')) {
        at += at[0] == ',' ? 2 : 0;
        const char *scalar = scalar_of(at), *name = strchr(at, ' ') + 1;
        if (scalar && *name >= 'x' && *name <= 'z' && !in_word(name[1])) {
            char word[2] = {(char)(*name - 'x' + 'a'), 0};
            if (c_mentions(lane, word))
                text_printf(out, "        const %s %s = AT(%c, i);\n", scalar, word, *name);
        }
    }
    text_printf(out, "        AT(r, i) = %s;\n    }\n    return r;\n", lane);
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static void put_function(Text *out, const CRow *row, DType type, DType memory, int bytes, bool vector) {
    Text part[5];
    const char *const from[] = {row->name, row->result, row->parameters, row->lane, row->gnu ? row->gnu : ""};
    for (int i = 0; i < 5; i++) {
        text_init(&part[i]);
        c_expand(&part[i], from[i], type, memory, bytes);
    }
    const char *result = part[1].data, *lane = part[3].data, *gnu = part[4].data;
    text_printf(out, "%s %s %s(%s) ", vector ? "INLINE" : "static inline", result, part[0].data, part[2].data);
    if (starts(lane, "FMA: ")) {
        text_printf(out, "{\n#ifdef FUSED\n    return %s;\n#else\n    return a * b + c;\n#endif\n}\n", lane + 5);
    } else if (*lane == '{' && !*gnu) {
        put_body(out, lane);
    } else if (!vector) {
        text_printf(out, "{\n    return %s;\n}\n", lane);
    } else {
        text_put(out, "{\n");
        if (starts(gnu, "FUSED: "))
            text_printf(out, "#if defined(VECTORS) && !defined(FUSED)\n    return %s;\n#else\n", gnu + 7);
        else if (*gnu)
            text_printf(out, "#ifdef VECTORS\n    return %s;\n#else\n", gnu);
        if (*lane == '{')
            text_printf(out, "    %.*s\n", (int)strlen(lane) - 4, lane + 2);
        else
            put_lanes(out, result, part[2].data, lane, bytes * 8 / dtype_bits(type));
        text_put(out, *gnu ? "#endif\n}\n" : "}\n");
    }
    text_char(out, '\n');
    for (int i = 0; i < 5; i++) {
        out->failed = out->failed || part[i].failed;
        text_free(&part[i]);
    }
}

/* ---- which functions ---- */

typedef struct Prelude {
    Text text; /* functions; each new one before those that call it */
    const char *body;
    int bytes;
} Prelude;

static void consider(Prelude *p, const CRow *row, DType type, DType memory, bool vector) {
    Text name, function;
    text_init(&name);
    c_expand(&name, row->name, type, memory, p->bytes);
    if (c_mentions(p->body, name.data) || c_mentions(p->text.data, name.data)) {
        text_init(&function);
        put_function(&function, row, type, memory, p->bytes, vector);
        text_put(&function, p->text.data);
        function.failed = function.failed || p->text.failed;
        text_free(&p->text);
        p->text = function;
    }
    p->text.failed = p->text.failed || name.failed;
    text_free(&name);
}

static void consider_rows(Prelude *p, const CRow *rows, int count, bool vector) {
    static const DType types[] = {DT_F32, DT_F64, DT_S8, DT_S16, DT_S32, DT_S64, DT_U8, DT_U16, DT_U32, DT_U64, DT_BOOL};
    static const DType memory[] = {DT_F16, DT_BF16, DT_S8, DT_U8, DT_S16, DT_U16, DT_F32, DT_S32, DT_F64, DT_S64};
    for (int r = 0; r < count; r++)
        for (size_t t = 0; t < COUNT(types); t++) {
            bool listed = strchr(rows[r].types, letter_of(types[t])) || (types[t] == DT_S32 && strchr(rows[r].types, 'i'));
            for (size_t m = 0; listed && m < (strstr(rows[r].name, "$M") ? COUNT(memory) : 1); m++)
                consider(p, &rows[r], types[t], memory[m], vector);
        }
}

/* ---- the file ---- */

static void put_vector_types(Text *out, const char *used, const char *body, int bytes) {
    static const struct {
        const char *name, *type;
        int bytes;
    } types[] = {
        {"f32v", "float", 4},  {"s32v", "int32_t", 4}, {"u32v", "uint32_t", 4},
        {"f64v", "double", 8}, {"s64v", "int64_t", 8}, {"u64v", "uint64_t", 8},
    };
    text_put(out,
             "/* Vectors: GNU C's where the compiler has them, and loops over lanes elsewhere or where PLAIN_C is defined. */\n"
             "#if defined(__GNUC__) && !defined(PLAIN_C)\n#define VECTORS\n#define AT(v, i) (v)[i]\n"
             "#define INLINE static inline __attribute__((always_inline))\n");
    for (int plain = 0; plain < 2; plain++) {
        if (plain)
            text_put(out, "#else\n#define AT(v, i) (v).at[i]\n#define INLINE static inline\n");
        for (size_t i = 0; i < COUNT(types); i++) {
            if (!c_mentions(used, types[i].name) && !c_mentions(body, types[i].name))
                continue;
            if (plain)
                text_printf(out, "typedef struct %s {\n    %s at[%d];\n} %s;\n", types[i].name, types[i].type,
                            bytes / types[i].bytes, types[i].name);
            else
                text_printf(out, "typedef %s %s __attribute__((vector_size(%d)));\n", types[i].type, types[i].name, bytes);
        }
    }
    text_put(out, "#endif\n\n");
}

void c_print_file(Text *out, const char *body, int bytes) {
    Prelude p = {.body = body, .bytes = bytes};
    text_init(&p.text);
    consider_rows(&p, c_vector_rows, c_vector_row_count, true);
    bool vectors = c_mentions(body, "f32v") || c_mentions(body, "s32v") || c_mentions(body, "f64v");
    consider_rows(&p, c_scalar_rows, c_scalar_row_count, false);
    consider_rows(&p, c_helper_rows, c_helper_row_count, false);
    text_put(out, "#include <math.h>\n#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n\n");
    if (vectors)
        put_vector_types(out, p.text.data, body, bytes);
    if (c_mentions(p.text.data, "FUSED"))
        text_put(out, "/* a * b + c is rounded once where the machine has that, and twice elsewhere. */\n"
                      "#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(FP_FAST_FMAF)\n#define FUSED\n#endif\n\n");
    text_put(out, p.text.data);
    text_put(out, body);
    out->failed = out->failed || p.text.failed;
    text_free(&p.text);
}

/* ---- numbers ---- */

static void put_float(Text *out, DType type, double number) {
    if (isnan(number))
        text_printf(out, "%sNAN", type == DT_F64 ? "(double)" : "");
    else if (isinf(number))
        text_printf(out, "%s%sINFINITY", number < 0 ? "-" : "", type == DT_F64 ? "(double)" : "");
    else if (type == DT_F64)
        text_double(out, number);
    else {
        text_float(out, (float)number);
        text_char(out, 'f');
    }
}

void c_number(Text *out, DType type, double number, int64_t integer) {
    if (dtype_kind(type) == KIND_FLOAT)
        put_float(out, type, number);
    else if (type == DT_U64)
        text_printf(out, "UINT64_C(%llu)", (unsigned long long)(uint64_t)integer);
    else if (integer == INT64_MIN)
        text_put(out, "INT64_MIN");
    else if (integer > INT32_MAX || integer <= INT32_MIN)
        text_printf(out, "INT64_C(%lld)", (long long)integer);
    else
        text_printf(out, "%lld", (long long)integer);
}
