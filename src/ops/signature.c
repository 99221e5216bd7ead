/* Signatures: what a row says of operands, types and attributes, as data; and nodes held against it.
 *
 * The texts in rows are ours, so a mistake in one is a bug (a test parses them all); what a node brings comes from a file, so a
 * mistake there is an error that names operand, type seen and types wanted. */
#include <assert.h>
#include <string.h>

#include "ops/ops.h"

/* ---- The texts of a row ------------------------------------------------------------------------------------------ */

static void skip_spaces(const char **at) {
    while (**at == ' ' || **at == ',')
        ++*at;
}

static Str take_until(const char **at, const char *stops) {
    Str word = {*at, strcspn(*at, stops)};
    *at += word.length;
    return word;
}

/* Takes what is before the first `|` off the list. */
static Str take_word(Str *list) {
    const char *bar = memchr(list->data, '|', list->length);
    Str word = {list->data, bar ? (size_t)(bar - list->data) : list->length};
    size_t taken = word.length + (bar != NULL);
    *list = (Str){list->data + taken, list->length - taken};
    return word;
}

/* "name[?|...][#]:type" */
static bool parse_operand(const char **at, Operand *out) {
    *out = (Operand){0};
    out->name = take_until(at, "?.#:, ");
    if (**at == '?')
        out->optional = true, ++*at;
    if (!strncmp(*at, "...", 3))
        out->variadic = true, *at += 3;
    if (**at == '#')
        out->content = true, ++*at;
    if (**at != ':')
        return false;
    ++*at;
    out->type = take_until(at, ", ");
    return out->name.length && out->type.length;
}

static bool parse_operands(const char **at, Operand *operands, int *count) {
    *count = 0;
    for (skip_spaces(at); **at && strncmp(*at, "->", 2); skip_spaces(at))
        if (*count == OP_MAX_OPERANDS || !parse_operand(at, &operands[(*count)++]))
            return false;
    return true;
}

bool signature_parse(const char *text, Signature *out) {
    if (!parse_operands(&text, out->in, &out->in_count) || strncmp(text, "->", 2))
        return false;
    text += 2;
    return parse_operands(&text, out->out, &out->out_count) && !*text && out->out_count > 0;
}

bool signature_next_attr(const char **text, AttrSpec *out) {
    *out = (AttrSpec){0};
    if (!*text)
        return false;
    skip_spaces(text);
    out->name = take_until(text, ":");
    if (**text != ':' || !(*text)[1])
        return false;
    out->kind = (*text)[1];
    *text += 2;
    if (**text == '!')
        out->required = true, ++*text;
    if (**text == '=') {
        ++*text;
        out->has_preset = true;
    }
    Str words = take_until(text, " ");
    if (out->kind == 's' && memchr(words.data, '|', words.length))
        out->choices = words;
    if (out->has_preset)
        out->preset = take_word(&words);
    return out->name.length && strchr("ifstgIFS", out->kind) && (**text == ' ' || !**text);
}

static bool str_is(Str s, const char *text) {
    return s.length == strlen(text) && !memcmp(s.data, text, s.length);
}

static bool str_equal(Str a, Str b) {
    return a.length == b.length && !memcmp(a.data, b.data, a.length);
}

bool signature_find_attr(const char *text, const char *name, AttrSpec *out) {
    while (signature_next_attr(&text, out))
        if (str_is(out->name, name))
            return true;
    return false;
}

int signature_choice(Str choices, Str word) {
    for (int i = 0; choices.length; i++)
        if (str_equal(take_word(&choices), word) || !word.length)
            return i;
    return -1;
}

/* ---- Sets of types ----------------------------------------------------------------------------------------------- */

static bool type_in_word(Str word, DType type) {
    Kind kind = dtype_kind(type);
    int bits = dtype_bits(type);
    bool is_float = kind == KIND_FLOAT && bits >= 16;
    bool is_int = (kind == KIND_SIGNED || kind == KIND_UNSIGNED) && bits >= 8;
    if (str_is(word, "float"))
        return is_float;
    if (str_is(word, "int"))
        return is_int;
    if (str_is(word, "signed"))
        return is_int && kind == KIND_SIGNED;
    if (str_is(word, "unsigned"))
        return is_int && kind == KIND_UNSIGNED;
    if (str_is(word, "num"))
        return is_float || is_int;
    if (str_is(word, "any"))
        return kind != KIND_NONE && kind != KIND_STRING;
    if (str_is(word, "all"))
        return kind != KIND_NONE;
    return dtype_parse(word.data, word.length) == type;
}

bool signature_type_in(const char *set, size_t length, DType type) {
    for (Str words = {set, length}; words.length;)
        if (type_in_word(take_word(&words), type))
            return true;
    return false;
}

/* The set that `types` ("T=num U=s32|s64") binds to a letter; a type that is no letter there is a set itself. */
static Str set_of(const char *types, Str letter) {
    for (const char *at = types; at && *at;) {
        skip_spaces(&at);
        Str name = take_until(&at, "=");
        if (*at == '=')
            ++at;
        Str set = take_until(&at, " ");
        if (str_equal(name, letter))
            return set;
    }
    return letter;
}

/* ---- A node against its row -------------------------------------------------------------------------------------- */

static const Operand *formal(const Operand *operands, int count, int index) {
    if (index < count)
        return &operands[index];
    return count && operands[count - 1].variadic ? &operands[count - 1] : NULL;
}

static whet_status check_counts(OpCall *call, const Signature *signature) {
    int needed = 0;
    for (int i = 0; i < signature->in_count; i++)
        if (!signature->in[i].optional)
            needed = i + 1;
    bool open = signature->in_count && signature->in[signature->in_count - 1].variadic;
    if (call->in_count < needed || (!open && call->in_count > signature->in_count))
        return op_error(call, WHET_ERROR_FORMAT, "has %d inputs; wanted %s%d", call->in_count,
                        call->in_count < needed ? "at least " : "at most ",
                        call->in_count < needed ? needed : signature->in_count);
    open = signature->out[signature->out_count - 1].variadic;
    if (!open && call->out_count > signature->out_count)
        return op_error(call, WHET_ERROR_FORMAT, "has %d outputs; wanted at most %d", call->out_count, signature->out_count);
    for (int i = 0; i < call->in_count; i++) {
        const Operand *operand = formal(signature->in, signature->in_count, i);
        if (!call->in[i] && !operand->optional)
            return op_error(call, WHET_ERROR_FORMAT, "input %d '%.*s' is missing", i, (int)operand->name.length,
                            operand->name.data);
    }
    return WHET_OK;
}

static const struct {
    char letter;
    AttrKind kind;
    const char *name;
} attr_kinds[] = {{'i', ATTR_INT, "an integer"},  {'f', ATTR_FLOAT, "a float"},  {'s', ATTR_STRING, "a string"},
                  {'t', ATTR_TENSOR, "a tensor"}, {'g', ATTR_GRAPH, "a graph"},  {'I', ATTR_INTS, "integers"},
                  {'F', ATTR_FLOATS, "floats"},   {'S', ATTR_STRINGS, "strings"}};

static const char *kind_name(AttrKind kind) {
    for (size_t i = 0; i < COUNT(attr_kinds); i++)
        if (attr_kinds[i].kind == kind)
            return attr_kinds[i].name;
    return "of a kind that no operator has";
}

static AttrKind attr_kind(char letter) {
    for (size_t i = 0; i < COUNT(attr_kinds); i++)
        if (attr_kinds[i].letter == letter)
            return attr_kinds[i].kind;
    assert(!"a row's attribute has an unknown kind");
    return ATTR_INT;
}

static whet_status check_attrs(OpCall *call) {
    const Node *node = call->node;
    AttrSpec spec;
    for (int i = 0; i < node->attr_count; i++) {
        const Attr *attr = &node->attrs[i];
        if (!signature_find_attr(call->row->attrs, attr->name, &spec))
            return op_error(call, WHET_ERROR_UNSUPPORTED, "attribute '%s' is not supported", attr->name);
        if (attr->kind != attr_kind(spec.kind))
            return op_error(call, WHET_ERROR_FORMAT, "attribute '%s' is %s; wanted %s", attr->name, kind_name(attr->kind),
                            kind_name(attr_kind(spec.kind)));
        if (spec.choices.length && signature_choice(spec.choices, attr->s) < 0)
            return op_error(call, WHET_ERROR_FORMAT, "attribute '%s' is '%.*s'; wanted %.*s", attr->name, (int)attr->s.length,
                            attr->s.data, (int)spec.choices.length, spec.choices.data);
    }
    for (const char *at = call->row->attrs; signature_next_attr(&at, &spec);)
        if (spec.required) {
            char name[64];
            assert(spec.name.length < sizeof name);
            memcpy(name, spec.name.data, spec.name.length);
            name[spec.name.length] = 0;
            if (!node_attr(node, name))
                return op_error(call, WHET_ERROR_FORMAT, "attribute '%s' is missing", name);
        }
    return WHET_OK;
}

/* What the letters met so far stand for. */
typedef struct Binding {
    Str letter;
    DType type;
    int input;
} Binding;

static Binding *find_binding(Binding *bindings, int count, Str letter) {
    for (int i = 0; i < count; i++)
        if (str_equal(bindings[i].letter, letter))
            return &bindings[i];
    return NULL;
}

static whet_status check_type(OpCall *call, const Operand *operand, int input, Binding *bindings, int *count) {
    DType type = call->in[input]->type;
    Str set = set_of(call->row->types, operand->type);
    bool any = str_is(operand->type, "*");
    if (!any && !signature_type_in(set.data, set.length, type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "input %d '%.*s' is %s; wanted %.*s", input, (int)operand->name.length,
                        operand->name.data, dtype_name(type), (int)set.length, set.data);
    if (any || set.data == operand->type.data)
        return WHET_OK;
    Binding *bound = find_binding(bindings, *count, operand->type);
    if (bound && bound->type != type)
        return op_error(call, WHET_ERROR_FORMAT, "input %d '%.*s' is %s; wanted %s, as input %d is", input,
                        (int)operand->name.length, operand->name.data, dtype_name(type), dtype_name(bound->type), bound->input);
    if (!bound)
        bindings[(*count)++] = (Binding){operand->type, type, input};
    return WHET_OK;
}

whet_status op_check_call(OpCall *call) {
    Signature signature;
    bool parsed = signature_parse(call->row->signature, &signature);
    assert(parsed);
    (void)parsed;
    whet_status status = check_counts(call, &signature);
    if (!status)
        status = check_attrs(call);
    Binding bindings[OP_MAX_OPERANDS];
    int count = 0;
    for (int i = 0; !status && i < call->in_count; i++)
        if (call->in[i] && call->in[i]->type != DT_NONE)
            status = check_type(call, formal(signature.in, signature.in_count, i), i, bindings, &count);
    for (int i = 0; !status && i < call->out_count; i++) {
        Str type = formal(signature.out, signature.out_count, i)->type;
        const Binding *bound = find_binding(bindings, count, type);
        call->out[i] = (Type){.type = bound ? bound->type : dtype_parse(type.data, type.length), .rank = -1};
    }
    return status;
}

bool op_input_is_content(const OpRow *row, int input) {
    Signature signature;
    if (!row->signature || !strchr(row->signature, '#') || !signature_parse(row->signature, &signature))
        return false;
    const Operand *operand = formal(signature.in, signature.in_count, input);
    return operand && operand->content;
}
