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

static void expand(Text *out, const char *row, DType type, DType memory, int bytes) {
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

/* "a; b; }" with a statement a line. */
static void put_body(Text *out, const char *body) {
    int depth = 1, parens = 0;
    bool fresh = true; /* a line */
    for (const char *at = body; *at; at++) {
        if (fresh && *at == ' ')
            continue;
        if (*at == '}')
            depth--;
        if (fresh)
            text_printf(out, "%*s", 4 * depth, "");
        fresh = false;
        if (*at == '{' && at[1] == '0') { /* an initializer */
            text_put(out, "{0}");
            at += 2;
            continue;
        }
        text_char(out, *at);
        parens += (*at == '(') - (*at == ')');
        depth += *at == '{';
        fresh = *at == '{' || *at == '}' || (*at == ';' && !parens);
        text_put(out, fresh ? "\n" : "");
    }
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

/* Calls visit(context, type, type's length, name, name's length) for each of "const char *p, f32v x". */
typedef void Visit(void *context, const char *type, int type_length, const char *name, int name_length);

static void each_parameter(const char *parameters, Visit *visit, void *context) {
    while (*parameters) {
        int length = (int)strcspn(parameters, ","), type = length;
        while (in_word(parameters[type - 1]))
            type--;
        visit(context, parameters, type, parameters + type, length - type);
        parameters += length + (parameters[length] ? 2 : 0);
    }
}

typedef struct Head {
    Text *out;
    int count;
} Head;

static void separate(Head *h) {
    text_put(h->out, h->count++ ? ", " : "");
}

static void put_bare(void *context, const char *type, int type_length, const char *name, int name_length) {
    (void)type;
    (void)type_length;
    separate(context);
    text_printf(((Head *)context)->out, "%.*s", name_length, name);
}

static void put_address(void *context, const char *type, int type_length, const char *name, int name_length) {
    (void)type_length;
    separate(context);
    text_printf(((Head *)context)->out, scalar_of(type) ? "&(%.*s)" : "%.*s", name_length, name);
}

static void put_pointer(void *context, const char *type, int type_length, const char *name, int name_length) {
    Text *out = ((Head *)context)->out;
    separate(context);
    if (scalar_of(type))
        text_printf(out, "const %.*s*%.*s_at", type_length, type, name_length, name);
    else
        text_printf(out, "%.*s%.*s", type_length, type, name_length, name);
}

static void put_copy(void *context, const char *type, int type_length, const char *name, int name_length) {
    if (scalar_of(type))
        text_printf(((Head *)context)->out, "    %.*s%.*s = *%.*s_at;\n", type_length, type, name_length, name, name_length,
                    name);
}

typedef struct Lanes {
    Text *out;
    const char *lane;
} Lanes;

/* a, b, c are lanes of the parameters x, y, z. */
static void put_lane(void *context, const char *type, int type_length, const char *name, int name_length) {
    const Lanes *l = context;
    char word[2] = {(char)(*name - 'x' + 'a'), 0};
    (void)type_length;
    if (scalar_of(type) && name_length == 1 && c_mentions(l->lane, word))
        text_printf(l->out, "        const %s %s = AT(%c, i);\n", scalar_of(type), word, *name);
}

static void put_lanes(Text *out, const char *result, const char *parameters, const char *lane, int lanes) {
    text_printf(out, "    %s r = {0};\n    for (int i = 0; i < %d; i++) {\n", result, lanes);
    each_parameter(parameters, put_lane, &(Lanes){out, lane});
    text_printf(out, "        AT(r, i) = %s;\n    }\n    return r;\n}\n", lane);
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

typedef struct Parts { /* of a row, expanded */
    const char *name, *result, *parameters, *lane, *gnu;
} Parts;

/* By extensions a macro, otherwise a function that gets vectors by address: passing them by value would make GCC talk of ABIs. */
static void put_vector_function(Text *out, const Parts *p, int lanes) {
    bool vectors = false;
    for (const char *at = p->parameters; at; at = strchr(at, ',')) {
        at += *at == ',' ? 2 : 0;
        vectors = vectors || scalar_of(at);
    }
    if (*p->gnu) {
        text_printf(out, "#ifdef VECTORS\n#define %s(", p->name);
        each_parameter(p->parameters, put_bare, &(Head){out, 0});
        text_printf(out, ") (%s)\n#else\n", p->gnu);
    }
    if (vectors) {
        text_printf(out, "#define %s(", p->name);
        each_parameter(p->parameters, put_bare, &(Head){out, 0});
        text_printf(out, ") %s_at(", p->name);
        each_parameter(p->parameters, put_address, &(Head){out, 0});
        text_put(out, ")\n");
    }
    text_printf(out, "INLINE %s %s%s(", p->result, p->name, vectors ? "_at" : "");
    each_parameter(p->parameters, put_pointer, &(Head){out, 0});
    text_put(out, ") {\n");
    each_parameter(p->parameters, put_copy, &(Head){out, 0});
    if (*p->lane == '{')
        put_body(out, p->lane + 2);
    else
        put_lanes(out, p->result, p->parameters, p->lane, lanes);
    text_put(out, *p->gnu ? "#endif\n" : "");
}

static void put_scalar_function(Text *out, const Parts *p) {
    text_printf(out, "INLINE %s %s(%s) {\n", p->result, p->name, p->parameters);
    if (starts(p->lane, "FMA: "))
        text_printf(out, "#ifdef FUSED\n    return %s;\n#else\n    return a * b + c;\n#endif\n}\n", p->lane + 5);
    else if (*p->lane == '{')
        put_body(out, p->lane + 2);
    else
        text_printf(out, "    return %s;\n}\n", p->lane);
}

static void put_function(Text *out, const CRow *row, DType type, DType memory, int bytes, bool vector) {
    Text part[5];
    const char *const from[] = {row->name, row->result, row->parameters, row->lane, row->gnu ? row->gnu : ""};
    for (int i = 0; i < 5; i++) {
        text_init(&part[i]);
        expand(&part[i], from[i], type, memory, bytes);
        out->failed = out->failed || part[i].failed;
    }
    Parts p = {part[0].data, part[1].data, part[2].data, part[3].data, part[4].data};
    if (vector)
        put_vector_function(out, &p, bytes * 8 / dtype_bits(type));
    else
        put_scalar_function(out, &p);
    text_char(out, '\n');
    for (int i = 0; i < 5; i++)
        text_free(&part[i]);
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
    expand(&name, row->name, type, memory, p->bytes);
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
    static const DType memory[] = {DT_F16, DT_BF16, DT_S8, DT_U8, DT_S16, DT_U16, DT_F32, DT_S32, DT_F64, DT_S64, DT_BOOL};
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
             "#pragma GCC diagnostic ignored \"-Wpsabi\"\n");
    for (int plain = 0; plain < 2; plain++) {
        if (plain)
            text_put(out, "#else\n#define AT(v, i) (v).at[i]\n");
        for (size_t i = 0; i < COUNT(types); i++) {
            if (!c_mentions(used, types[i].name) && !c_mentions(body, types[i].name))
                continue;
            if (plain)
                text_printf(out, "typedef struct %s {\n    %s at[%d];\n} %s;\n", types[i].name, types[i].type,
                            bytes / types[i].bytes, types[i].name);
            else
                text_printf(out, "typedef %s %s __attribute__((vector_size(%d), aligned(%d)));\n", types[i].type, types[i].name,
                            bytes, types[i].bytes);
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
    if (*p.text.data)
        text_put(out, "#if defined(__GNUC__)\n#define INLINE static inline __attribute__((always_inline, unused))\n#else\n"
                      "#define INLINE static inline\n#endif\n\n");
    if (vectors)
        put_vector_types(out, p.text.data, body, bytes);
    if (c_mentions(p.text.data, "FUSED"))
        text_put(out, "/* a * b + c is rounded once where machine and compiler fuse it (GCC: not with -std=c17 alone; "
                      "-ffp-contract=fast), else twice. */\n"
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
