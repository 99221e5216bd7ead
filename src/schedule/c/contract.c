/* The driver of contractions as C text: what contract_run.c and contract_pack.c do for one thread, with every number in its
 * place. A panel of B is packed, a block of depth at a time, and is used for all rows before the next is made. */
#include "schedule/contract.h"
#include "schedule/c/c_kernel.h"

/* ---- packing ---- */

/* Axis numbers out of a column or a step, the last axis running fastest. */
static void put_digits(const Contract *k, Text *out, const int *axes, int count, const char *of, int depth) {
    int64_t below = 1;
    for (int i = count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[axes[i]].extent;
        if (contract_b_moves(k, axes[i])) {
            c_indent(out, depth);
            text_printf(out, "const int64_t x%d = %s", axes[i], of);
            if (below > 1)
                text_printf(out, " / %lld", (long long)below);
            if (i)
                text_printf(out, " %% %lld", (long long)extent);
            text_put(out, ";\n");
        }
        below *= extent > 0 ? extent : 1;
    }
}

static void put_sum(const Contract *k, Text *out, int64_t offset, const int64_t *factor) {
    text_printf(out, "%lld", (long long)offset);
    for (int x = 0; x < k->nest.axis_count; x++)
        if (x != k->m_axis)
            c_put_term(out, factor[x], "x", x);
}

static void put_element(const Contract *k, Text *out) {
    const Access *b = &k->nest.access[k->b];
    c_indent(out, 4);
    for (int g = 0; g < b->guard_count; g++) {
        text_printf(out, "const int64_t at%d = ", g);
        put_sum(k, out, b->guard[g].offset, b->guard[g].coef);
        text_put(out, ";\n");
        c_indent(out, 4);
    }
    text_put(out, "value = ");
    for (int g = 0; g < b->guard_count; g++)
        text_printf(out, "%sat%d >= 0 && at%d < %lld", g ? " && " : "", g, g, (long long)b->guard[g].extent);
    text_put(out, b->guard_count ? " ? source[" : "source[");
    put_sum(k, out, b->offset, b->stride);
    text_char(out, ']');
    if (b->guard_count && k->group > 1)
        text_put(out, " : outside");
    else if (b->guard_count) {
        text_put(out, " : ");
        c_number(out, b->type, b->outside, 0);
    }
    text_put(out, ";\n");
}

/* "[const type *source, int64_t x0, ": what packing takes before it says which panel. */
static void put_pack_head(const Contract *k, const CDriver *d, const char *comment) {
    text_printf(d->helpers, "%sstatic void %s_pack(const %s *source", comment, d->name, c_type(k->fb.type));
    for (int i = 0; i < k->outer_count; i++)
        if (contract_b_moves(k, k->outer[i]))
            text_printf(d->helpers, ", int64_t x%d", k->outer[i]);
}

static void put_pack(const Contract *k, const CDriver *d) {
    Text *out = d->helpers;
    put_pack_head(k, d, "/* Steps [from, end) of a panel, a row of the panel each; zeros behind the last column. */\n");
    text_printf(out,
                ", int64_t panel, int64_t from, int64_t end, float *to) {\n"
                "    for (int64_t step = from; step < end; step++)\n"
                "        for (int64_t column = panel * %d; column < panel * %d + %d; column++) {\n"
                "            float value = 0;\n"
                "            if (column < %lld) {\n",
                k->nr, k->nr, k->nr, (long long)k->columns);
    put_digits(k, out, k->n_axis, k->n_count, "column", 4);
    put_digits(k, out, k->k_axis, k->k_count, "step", 4);
    put_element(k, out);
    text_put(out, "            }\n            *to++ = value;\n        }\n}\n\n");
}

/* Bytes: groups of steps side by side, as the sum multiplies them, and what their columns sum up to behind them. */
static void put_pack_bytes(const Contract *k, const CDriver *d) {
    Text *out = d->helpers;
    int64_t offset = contract_zero_offset(&k->fb);
    put_pack_head(k, d, "/* Groups [from, end) of four steps of a panel; zeros behind the last step and column. */\n");
    text_put(out, k->nest.access[k->b].guard_count ? ", int outside" : "");
    text_printf(out, ", int64_t panel, int64_t from, int64_t end, char *to) {\n");
    if (k->column_sums)
        text_printf(out, "    uint32_t sums[%d] = {0};\n", k->nr);
    text_printf(out,
                "    for (int64_t group = from; group < end; group++)\n"
                "        for (int64_t column = panel * %d; column < panel * %d + %d; column++)\n"
                "            for (int64_t step = %d * group; step < %d * group + %d; step++) {\n"
                "                int value = 0;\n"
                "                if (column < %lld && step < %lld) {\n",
                k->nr, k->nr, k->nr, k->group, k->group, k->group, (long long)k->columns, (long long)k->steps);
    put_digits(k, out, k->n_axis, k->n_count, "column", 5);
    put_digits(k, out, k->k_axis, k->k_count, "step", 5);
    put_element(k, out);
    if (offset)
        text_printf(out, "                    value %c= 128;\n", offset < 0 ? '-' : '+');
    text_put(out, "                }\n");
    if (k->column_sums)
        text_printf(out, "                sums[column - panel * %d] += (uint32_t)value;\n", k->nr);
    text_put(out, "                *to++ = (char)(unsigned char)value;\n            }\n");
    text_put(out, k->column_sums ? "    memcpy(to, sums, sizeof sums);\n}\n\n" : "}\n\n");
}

static void put_zero(const Contract *k, const CDriver *d, const ContractFactor *f) {
    const Access *zero = f->zero < 0 ? NULL : &k->nest.access[f->zero];
    if (f->zero_known)
        text_printf(d->body, "%lld", (long long)f->zero_value);
    else
        text_printf(d->body, "%s[%lld]", d->tensor[zero->tensor], (long long)zero->offset);
}

static void put_pack_call(const Contract *k, const CDriver *d, int depth) {
    int64_t each = k->blocks == 1 ? k->depth : k->knobs.kc;
    c_indent(d->body, depth);
    text_printf(d->body, "%s_pack(%s", d->name, d->tensor[k->nest.access[k->b].tensor]);
    for (int i = 0; i < k->outer_count; i++)
        if (contract_b_moves(k, k->outer[i]))
            text_printf(d->body, ", x%d", k->outer[i]);
    const char *to = k->group > 1 ? "(char *)packed" : "packed";
    if (k->group > 1 && k->nest.access[k->b].guard_count) {
        text_put(d->body, ", ");
        if (k->fb.centred)
            put_zero(k, d, &k->fb);
        else
            text_printf(d->body, "%.0f", k->nest.access[k->b].outside);
    }
    if (k->blocks == 1)
        text_printf(d->body, ", panel, 0, %lld, %s);\n", (long long)k->depth, to);
    else
        text_printf(d->body, ", panel, block * %lld, block < %lld ? block * %lld + %lld : %lld, %s);\n", (long long)each,
                    (long long)k->blocks - 1, (long long)each, (long long)each, (long long)k->depth, to);
}

/* ---- tiles ---- */

/* A level with bounds of its own in each line: its taps from<l> to end<l> are inside. */
static bool bounded(const Contract *k, int level) {
    return k->level[level].guard >= 0 && level != k->patterned;
}

static void put_call(const Compiled *c, const CDriver *d, int function, int64_t row, int64_t count, int depth) {
    const Contract *k = c->state;
    c_indent(d->body, depth);
    c_put_name(d, c, function);
    for (int a = 0; a < k->nest.access_count; a++) {
        if (k->scalar[a] >= 0)
            continue;
        text_printf(d->body, "%sp%d", a ? ", " : "(", a);
        if (a != k->b)
            c_put_offset(d->body, contract_size(k, a) * row * contract_m_stride(k, a));
    }
    text_put(d->body, k->scalar_count ? ", scalars" : "");
    if (k->row_sums)
        text_printf(d->body, ", (const char *)(row_sums + %lld)", (long long)row);
    text_put(d->body, k->apart ? ", sums" : "");
    text_printf(d->body, ", %lld", (long long)count);
    for (int l = 0; l < k->level_count; l++)
        if (bounded(k, l))
            text_printf(d->body, ", end%d - from%d", l, l);
    text_put(d->body, ");\n");
}

/* "0 <= position + coef * tap < extent", negated. */
static void put_outside(const Contract *k, const CDriver *d, int level, const char *tap) {
    const Guard *guard = &k->nest.access[k->a].guard[k->level[level].guard];
    for (int side = 0; side < 2; side++) {
        text_printf(d->body, side ? " || at%d" : "at%d", level);
        c_put_term(d->body, k->level[level].coef, tap, level);
        if (side)
            text_printf(d->body, " >= %lld", (long long)guard->extent);
        else
            text_put(d->body, " < 0");
    }
}

/* The taps of a level that are inside: from<l> to end<l>. */
static void put_bounds(const Contract *k, const CDriver *d, int l, int depth) {
    const Guard *guard = &k->nest.access[k->a].guard[k->level[l].guard];
    bool cut = l == 0 && k->blocks > 1;
    long long each = k->level[l].steps ? k->knobs.kc / k->level[l].steps : 0, extent = k->level[l].extent;
    c_indent(d->body, depth);
    text_printf(d->body, "const int64_t at%d = %lld", l, (long long)guard->offset);
    for (int x = 0; x < k->nest.parallel_count; x++)
        c_put_term(d->body, guard->coef[x], "x", x);
    text_put(d->body, ";\n");
    c_indent(d->body, depth);
    if (cut)
        text_printf(d->body, "int64_t from%d = block * %lld, end%d = block < %lld ? block * %lld + %lld : %lld;\n", l, each, l,
                    (long long)k->blocks - 1, each, each, extent);
    else
        text_printf(d->body, "int64_t from%d = 0, end%d = %lld;\n", l, l, extent);
    c_indent(d->body, depth);
    text_printf(d->body, "while (from%d < end%d && (", l, l);
    put_outside(k, d, l, "from");
    text_printf(d->body, "))\n%*sfrom%d++;\n", 4 * (depth + 1), "", l);
    c_indent(d->body, depth);
    text_printf(d->body, "for (int64_t last%d = end%d - 1; last%d >= from%d && (", l, l, l, l);
    put_outside(k, d, l, "last");
    text_printf(d->body, "); last%d--)\n%*send%d--;\n", l, 4 * (depth + 1), "", l);
}

static void put_panel_place(const Contract *k, const CDriver *d, int depth) {
    c_indent(d->body, depth);
    text_printf(d->body, "const char *const p%d = (const char *)(packed", k->b);
    for (int l = 0; l < k->level_count; l++) {
        if (!bounded(k, l))
            continue;
        long long step = k->level[l].steps * k->nr;
        if (l == 0 && k->blocks > 1)
            text_printf(d->body, " + %lld * (from%d - block * %lld)", step, l, (long long)(k->knobs.kc / k->level[l].steps));
        else
            c_put_term(d->body, step, "from", l);
    }
    text_put(d->body, ");\n");
}

/* Sums of the rows of a line, less their zero points. */
static void put_row_sums(const Contract *k, const CDriver *d, int depth) {
    Text *out = d->body;
    const ContractFactor *f = &k->fa;
    c_indent(out, depth);
    text_printf(out, "for (int64_t row = 0; row < %lld; row++) {\n", (long long)k->line);
    c_indent(out, depth + 1);
    text_put(out, "int64_t sum = 0;\n");
    for (int l = 0; l < k->level_count; l++) {
        bool last = l == k->level_count - 1;
        c_indent(out, depth + 1 + l);
        text_printf(out, "for (int64_t i%d = 0; i%d < %lld; i%d++)\n", l, l,
                    (long long)k->level[l].extent * (last ? k->group : 1), l);
    }
    c_indent(out, depth + 1 + k->level_count);
    text_printf(out, "sum += ((const %s *)p%d)[0", c_type(f->type), k->a);
    c_put_term(out, contract_m_stride(k, k->a), "row", -1);
    for (int l = 0; l < k->level_count; l++)
        c_put_term(out, l == k->level_count - 1 ? 1 : k->level[l].a_stride, "i", l);
    text_put(out, "];\n");
    c_indent(out, depth + 1);
    text_printf(out, "row_sums[row] = (int32_t)(uint32_t)(uint64_t)(sum - %lld * (int64_t)", (long long)k->steps);
    if (f->zero_known)
        text_printf(out, "%lld", (long long)f->zero_value);
    else {
        text_printf(out, "((const %s *)p%d)[0", c_type(k->nest.access[f->zero].type), f->zero);
        c_put_term(out, contract_m_stride(k, f->zero), "row", -1);
        text_put(out, "]");
    }
    text_put(out, ");\n");
    c_close(out, 1, depth + 1);
}

static void put_places(const Compiled *c, const CDriver *d, int depth) {
    const Contract *k = c->state;
    int axis[NEST_MAX_AXES], count = 0;
    for (int i = 0; i < k->outer_count; i++)
        axis[count++] = k->outer[i];
    for (int i = 0; i < k->line_count; i++)
        axis[count++] = k->line_axis[i];
    for (int l = 0; l < k->level_count; l++)
        if (bounded(k, l))
            put_bounds(k, d, l, depth);
    put_panel_place(k, d, depth);
    if (k->scalar_count) {
        c_indent(d->body, depth);
        text_printf(d->body, "char scalars[%d];\n", k->scalar_count * CONTRACT_SCALAR_BYTES);
    }
    if (k->apart) {
        c_indent(d->body, depth);
        text_printf(d->body, "char sums[%d];\n", CONTRACT_MAX_SUMS * VECTOR_MAX_BYTES);
    }
    for (int a = 0; a < k->nest.access_count; a++) {
        if (a == k->b)
            continue;
        c_open_place(d, &k->nest, a, axis, count, depth);
        if (k->scalar[a] >= 0) {
            c_close_place(d);
            c_indent(d->body, depth);
            text_printf(d->body, "memcpy(scalars + %d, p%d, %d);\n", k->scalar[a] * CONTRACT_SCALAR_BYTES, a,
                        contract_size(k, a));
            continue;
        }
        c_put_term(d->body, contract_n_stride(k, a) * k->nr, "panel", -1);
        for (int l = 0; a == k->a && l < k->level_count; l++)
            if (bounded(k, l))
                c_put_term(d->body, k->level[l].a_stride, "from", l);
        if (a == k->a && k->blocks > 1 && !bounded(k, 0))
            c_put_term(d->body, k->knobs.kc / k->level[0].steps * k->level[0].a_stride, "block", -1);
        c_close_place(d);
    }
    if (k->row_sums && k->blocks == 1)
        put_row_sums(k, d, depth);
    else if (k->row_sums) {
        c_indent(d->body, depth);
        text_put(d->body, "if (block == 0)\n");
        put_row_sums(k, d, depth + 1);
    }
}

/* The tiles of one kind: a block of depth that begins, goes on with or ends sums; whole panels or the edge. */
static void put_kind(const Compiled *c, const CDriver *d, int kind, bool edge, int depth) {
    const Contract *k = c->state;
    c_indent(d->body, depth);
    text_printf(d->body, "if (panel %s %lld", edge ? ">=" : "<", (long long)(k->columns / k->nr));
    if (kind == 0)
        text_put(d->body, " && block == 0");
    else if (kind == 1)
        text_printf(d->body, " && block > 0 && block < %lld", (long long)k->blocks - 1);
    else if (kind == 2)
        text_printf(d->body, " && block == %lld", (long long)k->blocks - 1);
    text_put(d->body, ") {\n");
    for (int p = 0; p < k->piece_count; p++) {
        int64_t row = k->piece[p].tile * k->knobs.mr, count = k->piece[p].tiles * k->knobs.mr;
        put_call(c, d, k->function[kind][k->piece[p].pattern][edge], row, count < k->line - row ? count : k->line - row,
                 depth + 1);
    }
    c_close(d->body, 1, depth + 1);
}

static int open_count(const CDriver *d, const char *name, int64_t count, int depth) {
    c_indent(d->body, depth);
    text_printf(d->body, "for (int64_t %s = 0; %s < %lld; %s++) {\n", name, name, (long long)count, name);
    return depth + 1;
}

void contract_print_c(const Compiled *c, const CDriver *d) {
    const Contract *k = c->state;
    if (k->group > 1)
        put_pack_bytes(k, d);
    else
        put_pack(k, d);
    c_allocate(d, "packed", (int64_t)contract_block_bytes(k));
    if (k->row_sums)
        text_printf(d->body,
                    "    int32_t *const row_sums = malloc(%lld);\n    if (!row_sums) {\n        free(packed);\n        return "
                    "1;\n    }\n",
                    (long long)(4 * k->line));
    c_clear_gaps(d, &k->nest);
    int depth = c_open_axes(d, &k->nest, k->outer, k->outer_count, 1);
    depth = open_count(d, "panel", k->panels, depth);
    if (k->blocks > 1)
        depth = open_count(d, "block", k->blocks, depth);
    put_pack_call(k, d, depth);
    depth = c_open_axes(d, &k->nest, k->line_axis, k->line_count, depth);
    put_places(c, d, depth);
    for (int kind = k->blocks > 1 ? 0 : 3; kind < (k->blocks > 1 ? 3 : 4); kind++)
        for (int edge = 0; edge < 2; edge++)
            if ((edge ? k->columns % k->nr != 0 : k->columns >= k->nr) && (kind != 1 || k->blocks > 2))
                put_kind(c, d, kind, edge, depth);
    c_close(d->body, k->outer_count + 1 + (k->blocks > 1) + k->line_count, depth);
    if (k->row_sums)
        text_put(d->body, "    free(row_sums);\n");
    c_release(d, "packed");
}
