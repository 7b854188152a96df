/* SPDX-License-Identifier: Apache-2.0
 * parquet — rows out of columns: Dremel's assembly, without an automaton.
 *
 * Every leaf has a cursor on its next entry. A node looks at its first leaf's: below the node's
 * level of definition it is null, and all its leaves give up that one entry; a list goes on for as
 * long as the next entry repeats at the list's own level. That all leaves below a node tell the
 * same story is checked, since nothing in the format makes them. Source: Melnik et al., Dremel,
 * section 4.3. Drawing: docs/formats/parquet.md. */
#include "table/parquet_internal.h"

#include <stdlib.h>

struct parquet {
    struct ig_slice file;
    struct ig_arena arena;
    struct table_budget budget;
    struct pq_footer footer;
    struct pq_node root;
    const struct pq_node **leaves;
    struct pq_cursor *cursors; /* one a leaf */
    size_t group;              /* that is begun, from 1 */
    int64_t group_rows;        /* left of it */
    int64_t row;               /* begun, from 1 */
};

static bool at_column(const struct parquet *p, int leaf, struct ig_err *err)
{
    return ig_err_within(err, "row %lld, column '" IG_SLICE_FMT "' in row group %zu",
                         (long long)p->row, IG_SLICE_ARG(p->leaves[leaf]->path), p->group);
}

/* The entry of a leaf, which must repeat at `rep` and be defined up to `floor`. */
static bool entry_at(struct parquet *p, int leaf, int floor, int rep, struct ig_err *err)
{
    struct pq_cursor *c = &p->cursors[leaf];
    if (!pq_cursor_peek(c, err)) return at_column(p, leaf, err);
    if (!c->ended && c->rep_now == rep && c->def_now >= floor) return true;
    ig_err_set(err, IG_ERR_DATA,
               c->ended ? "it has fewer values than its neighbours or the row group"
                        : "its lists or nulls do not fit its neighbours'");
    return at_column(p, leaf, err);
}

/* All leaves of a node that is null, or of a list that is empty, give up one entry. */
static bool skip_entries(struct parquet *p, const struct pq_node *node, int rep, struct ig_err *err)
{
    int def = p->cursors[node->leaf].def_now;
    for (int i = node->leaf; i < node->leaf + node->leaves; i++) {
        if (!entry_at(p, i, def, rep, err)) return false;
        if (p->cursors[i].def_now > def) {
            ig_err_set(err, IG_ERR_DATA, "it has a value where its neighbours have none");
            return at_column(p, i, err);
        }
        p->cursors[i].loaded = false;
    }
    return true;
}

static bool put_value(const struct pq_node *leaf, const struct pq_value *value, struct ig_buf *out,
                      struct ig_err *err)
{
    unsigned unused = 64u - (unsigned)leaf->bits; /* bits above a narrow integer's */
    uint32_t low = (uint32_t)value->bits;
    float single;
    double real;
    switch (leaf->value) {
    case PQ_NULL: return ig_err_set(err, IG_ERR_DATA, "a column of nulls has a value");
    case PQ_BOOL: ig_buf_text(out, value->bits ? "true" : "false"); return true;
    case PQ_INT: table__put_int(out, (int64_t)(value->bits << unused) >> unused); return true;
    case PQ_UINT: table__put_uint(out, value->bits << unused >> unused); return true;
    case PQ_REAL:
        memcpy(&single, &low, sizeof single);
        memcpy(&real, &value->bits, sizeof real);
        return table__put_real(out, leaf->type == PQ_FLOAT ? (double)single : real, err);
    case PQ_TEXT: return table__put_text(out, value->text, err);
    }
    return true;
}

static bool put_leaf(struct parquet *p, const struct pq_node *leaf, struct ig_buf *out,
                     struct ig_err *err)
{
    struct pq_cursor *c = &p->cursors[leaf->leaf];
    struct pq_value value;
    if (!pq_cursor_value(c, &value, err) || !put_value(leaf, &value, out, err))
        return at_column(p, leaf->leaf, err);
    c->loaded = false;
    return true;
}

static bool put_node(struct parquet *p, const struct pq_node *node, int floor, int rep,
                     struct ig_buf *out, struct ig_err *err);

static bool put_struct(struct parquet *p, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                       const struct pq_node *node, int rep, struct ig_buf *out, struct ig_err *err)
{
    ig_buf_char(out, '{');
    for (int i = 0; i < node->count; i++) {
        if (i) ig_buf_char(out, ',');
        ig_buf_slice(out, node->children[i].member);
        if (!put_node(p, &node->children[i], node->def, rep, out, err)) return false;
    }
    ig_buf_char(out, '}');
    return ig_buf_ok(out, err);
}

static bool put_list(struct parquet *p, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                     const struct pq_node *node, int rep, struct ig_buf *out, struct ig_err *err)
{
    struct pq_cursor *first = &p->cursors[node->leaf];
    ig_buf_char(out, '[');
    for (int at = rep;; at = node->rep) {
        if (!put_node(p, node->children, node->def_item, at, out, err) || !ig_buf_ok(out, err))
            return false;
        if (!pq_cursor_peek(first, err)) return at_column(p, node->leaf, err);
        if (first->ended || first->rep_now < node->rep) break;
        ig_buf_char(out, ',');
    }
    ig_buf_char(out, ']');
    return true;
}

static bool put_node(struct parquet *p, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                     const struct pq_node *node, int floor, int rep, struct ig_buf *out,
                     struct ig_err *err)
{
    if (!entry_at(p, node->leaf, floor, rep, err)) return false;
    int def = p->cursors[node->leaf].def_now;
    if (def < node->def || (node->kind == PQ_LIST && def < node->def_item)) {
        ig_buf_text(out, def < node->def ? "null" : "[]");
        return skip_entries(p, node, rep, err);
    }
    if (node->kind == PQ_STRUCT) return put_struct(p, node, rep, out, err);
    if (node->kind == PQ_LIST) return put_list(p, node, rep, out, err);
    return put_leaf(p, node, out, err);
}

/* ---- row groups ---- */

/* The row group at hand must be used up. */
static bool check_ends(struct parquet *p, struct ig_err *err)
{
    for (int i = 0; p->group > 0 && i < p->root.leaves; i++) {
        if (!pq_cursor_peek(&p->cursors[i], err)) return at_column(p, i, err);
        if (p->cursors[i].ended) continue;
        ig_err_set(err, IG_ERR_DATA, "it has more values than the row group has rows");
        return at_column(p, i, err);
    }
    return true;
}

static bool parquet_next(void *state, struct ig_buf *out, int64_t *place, bool *done,
                         struct ig_err *err)
{
    struct parquet *p = state;
    while (p->group_rows == 0) {
        if (!check_ends(p, err)) return false;
        *done = p->group == p->footer.group_count;
        if (*done) return true;
        const struct pq_group *group = &p->footer.groups[p->group++];
        for (int i = 0; i < p->root.leaves; i++)
            pq_cursor_start(&p->cursors[i], p->leaves[i], &group->chunks[i], p->file, &p->budget);
        p->group_rows = group->rows;
    }
    p->group_rows--;
    *place = ++p->row;
    *done = false;
    return put_struct(p, &p->root, 0, out, err);
}

static void parquet_close(void *state)
{
    struct parquet *p = state;
    for (int i = 0; p->cursors && i < p->root.leaves; i++)
        pq_cursor_release(&p->cursors[i]);
    free(p->cursors);
    ig_arena_release(&p->arena);
    free(p);
}

/* ---- opening ---- */

static void list_leaves(const struct pq_node *node, /* NOLINT(misc-no-recursion): as the schema's */
                        const struct pq_node **leaves)
{
    if (node->kind == PQ_LEAF) leaves[node->leaf] = node;
    for (int i = 0; i < node->count; i++)
        list_leaves(&node->children[i], leaves);
}

/* A column's bytes lie before the footer; *sum is those of all columns so far, which together
 * cannot be more than the file unless they overlap. */
static bool check_chunk(const struct parquet *p, const struct pq_chunk *c, int leaf, int64_t *sum,
                        struct ig_err *err)
{
    const char *what = NULL;
    int64_t end, length = (int64_t)p->file.len;
    bool dictionary_first = c->dictionary > 0 && c->dictionary < c->first_page;
    int64_t start = dictionary_first ? c->dictionary : c->first_page;
    if (c->external)
        what = "its bytes are in another file";
    else if (c->encrypted)
        what = "it is encrypted";
    if (what) return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s", what);
    if (!c->described)
        what = "it is not described";
    else if (c->type != (int)p->leaves[leaf]->type)
        what = "its type is not the schema's";
    else if (c->values < 0)
        what = "it has less than no values";
    else if (start < PQ_MAGIC_BYTES || c->bytes < 0 ||
             __builtin_add_overflow(start, c->bytes, &end) || end > length)
        what = "its pages are not in the file";
    else if (__builtin_add_overflow(*sum, c->bytes, sum) || *sum > length)
        what = "its pages overlap others";
    return what ? ig_err_set(err, IG_ERR_DATA, "%s", what) : true;
}

static bool check_groups(const struct parquet *p, struct ig_err *err)
{
    int64_t rows = 0, sum = 0;
    for (size_t g = 0; g < p->footer.group_count; g++) {
        const struct pq_group *group = &p->footer.groups[g];
        if (group->count != (size_t)p->root.leaves)
            return ig_err_set(err, IG_ERR_DATA, "row group %zu has %zu columns; the schema has %d",
                              g + 1, group->count, p->root.leaves);
        if (group->rows < 0 || __builtin_add_overflow(rows, group->rows, &rows))
            return ig_err_set(err, IG_ERR_DATA, "row group %zu has %lld rows", g + 1,
                              (long long)group->rows);
        for (int i = 0; i < p->root.leaves; i++)
            if (!check_chunk(p, &group->chunks[i], i, &sum, err))
                return ig_err_within(err, "column '" IG_SLICE_FMT "' in row group %zu",
                                     IG_SLICE_ARG(p->leaves[i]->path), g + 1);
    }
    if (rows != p->footer.rows)
        return ig_err_set(err, IG_ERR_DATA,
                          "the file says it has %lld rows; its row groups have %lld",
                          (long long)p->footer.rows, (long long)rows);
    return true;
}

static bool open_footer(struct parquet *p, struct ig_err *err)
{
    if (!pq_footer_read(p->file, &p->arena, &p->footer, err) ||
        !pq_schema_build(&p->footer, &p->arena, &p->root, err))
        return false;
    size_t count = (size_t)p->root.leaves;
    p->leaves = ig_arena_array(&p->arena, count, sizeof *p->leaves);
    p->cursors = calloc(count + 1, sizeof *p->cursors);
    if (!p->leaves || !p->cursors) return ig_err_nomem(err);
    list_leaves(&p->root, p->leaves);
    return check_groups(p, err);
}

bool table__parquet_open(struct ig_slice bytes, uint64_t unpacked_max, struct table_reader *out,
                         struct ig_err *err)
{
    struct parquet *p = calloc(1, sizeof *p);
    if (!p) return ig_err_nomem(err);
    p->file = bytes;
    p->budget.left = unpacked_max;
    if (!open_footer(p, err)) {
        parquet_close(p);
        return false;
    }
    *out = (struct table_reader){.format = "Parquet",
                                 .count = p->footer.rows,
                                 .state = p,
                                 .next = parquet_next,
                                 .close = parquet_close};
    return true;
}
