/* SPDX-License-Identifier: Apache-2.0
 * parquet_schema — the flat list of elements as a tree with the levels of each node.
 *
 * A level of definition is added by each optional or repeated element, one of repetition by each
 * repeated one. A list is a group LIST > repeated group > element; older writers leave the middle
 * or the inner one out, and the rules that tell which are LogicalTypes.md's
 * ("Backward-compatibility rules"). A repeated element outside of LIST is a list of what it holds,
 * as pyarrow reads it. */
#include "table/parquet_internal.h"

#include <stdio.h>

struct build {
    const struct pq_footer *footer;
    size_t next; /* element */
    struct ig_arena *arena;
    int leaves;
    struct ig_err *err;
};

/* ---- what a leaf holds ---- */

static const char *const type_names[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                         "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
enum {
    LOGICAL_STRING = 1,
    LOGICAL_INTEGER = 10,
    LOGICAL_UNKNOWN = 11,
    LOGICAL_JSON = 12,
    LOGICAL_COUNT = 19
};
static const char *const logical_names[LOGICAL_COUNT] = {
    "none", "STRING",    "MAP",      "LIST",     "ENUM",     "DECIMAL", "DATE",
    "TIME", "TIMESTAMP", "INTERVAL", "INTEGER",  "NULL",     "JSON",    "BSON",
    "UUID", "FLOAT16",   "VARIANT",  "GEOMETRY", "GEOGRAPHY"};
/* The older annotation, ConvertedType, in the numbers of the newer one. */
enum { CONVERTED_COUNT = 22, CONVERTED_UINT_8 = 11, CONVERTED_INT_8 = 15, CONVERTED_INT_64 = 18 };
static const int converted_logical[CONVERTED_COUNT] = {1,  2,  2,  3,  4,  5,  6,  7,  7,  8,  8,
                                                       10, 10, 10, 10, 10, 10, 10, 10, 12, 13, 9};

static int logical_of(const struct pq_element *e)
{
    if (e->logical) return e->logical;
    if (e->converted < 0) return 0;
    return e->converted < CONVERTED_COUNT ? converted_logical[e->converted] : LOGICAL_COUNT;
}

static bool refuse_leaf(const struct build *b, const struct pq_element *e,
                        const struct pq_node *node)
{
    int logical = logical_of(e);
    char type[80];
    if (e->type > PQ_FIXED)
        snprintf(type, sizeof type, "type %d", e->type);
    else if (logical == 0)
        snprintf(type, sizeof type, "%s", type_names[e->type]);
    else if (logical < 0 || logical >= LOGICAL_COUNT)
        snprintf(type, sizeof type, "%s (%s type %d)", type_names[e->type],
                 e->logical ? "logical" : "converted", e->logical ? logical : e->converted);
    else
        snprintf(type, sizeof type, "%s (%s)", type_names[e->type], logical_names[logical]);
    return ig_err_set(b->err, IG_ERR_UNSUPPORTED,
                      "column '" IG_SLICE_FMT "' is %s; only booleans, integers, floats, strings, "
                      "lists and structs are read",
                      IG_SLICE_ARG(node->path), type);
}

/* The width of an integer, negative when unsigned; 0: not one that the type can hold. */
static int integer_bits(const struct pq_element *e)
{
    int stored = e->type == PQ_INT32 ? 32 : 64, bits = stored;
    bool is_signed = true;
    if (e->logical == LOGICAL_INTEGER) {
        bits = e->bits;
        is_signed = e->is_signed;
    } else if (e->logical == 0 && e->converted >= CONVERTED_UINT_8) {
        is_signed = e->converted >= CONVERTED_INT_8;
        bits = 8 << (e->converted - (is_signed ? CONVERTED_INT_8 : CONVERTED_UINT_8));
    }
    bool known = bits == 8 || bits == 16 || bits == 32 || bits == 64;
    return !known || bits > stored ? 0 : is_signed ? bits : -bits;
}

static bool build_leaf(struct build *b, const struct pq_element *e, int def, int rep,
                       struct pq_node *node)
{
    int logical = logical_of(e);
    bool plain = logical == 0;
    bool integer = e->type == PQ_INT32 || e->type == PQ_INT64;
    int bits = integer && (plain || logical == LOGICAL_INTEGER) ? integer_bits(e) : 0;
    node->kind = PQ_LEAF;
    if (e->type >= 0 && e->type <= PQ_BYTES && logical == LOGICAL_UNKNOWN)
        node->value = PQ_NULL;
    else if (e->type == PQ_BOOLEAN && plain)
        node->value = PQ_BOOL;
    else if (bits)
        node->value = bits < 0 ? PQ_UINT : PQ_INT;
    else if ((e->type == PQ_FLOAT || e->type == PQ_DOUBLE) && plain)
        node->value = PQ_REAL;
    else if (e->type == PQ_BYTES && (logical == LOGICAL_STRING || logical == LOGICAL_JSON))
        node->value = PQ_TEXT;
    else
        return refuse_leaf(b, e, node);
    node->type = (enum pq_type)e->type;
    node->bits = bits < 0 ? -bits : bits;
    node->def = node->def_max = def;
    node->rep_max = rep;
    node->leaf = b->leaves++;
    node->leaves = 1;
    return true;
}

/* ---- the tree ---- */

static const struct pq_element *take_element(struct build *b)
{
    if (b->next < b->footer->element_count) return &b->footer->elements[b->next++];
    ig_err_set(b->err, IG_ERR_DATA, "the schema is cut off: a group lacks members");
    return NULL;
}

static bool build_body(struct build *b, const struct pq_element *e, int def, int rep, int depth,
                       struct pq_node *node);

/* An element as a node, its own repetition included. */
static bool build_node(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                       const struct pq_element *e, int def, int rep, int depth,
                       struct pq_node *node)
{
    if (e->repetition != PQ_REPEATED)
        return build_body(b, e, def + (e->repetition == PQ_OPTIONAL), rep, depth, node);
    struct pq_node *item = ig_arena_array(b->arena, 1, sizeof *item);
    if (!item) return ig_err_nomem(b->err);
    item->path = node->path;
    *node = (struct pq_node){.kind = PQ_LIST,
                             .path = node->path,
                             .member = node->member,
                             .def = def,
                             .def_item = def + 1,
                             .rep = rep + 1,
                             .leaf = b->leaves,
                             .children = item,
                             .count = 1};
    if (!build_body(b, e, def + 1, rep + 1, depth + 1, item)) return false;
    node->leaves = b->leaves - node->leaf;
    return true;
}

/* The repeated group of a list stands for the item itself, and not for a wrapping of it. */
static bool is_item(const struct build *b, const struct pq_element *list,
                    const struct pq_element *repeated)
{
    if (repeated->type >= 0 || repeated->children != 1) return true;
    if (b->next < b->footer->element_count &&
        b->footer->elements[b->next].repetition == PQ_REPEATED)
        return true;
    struct ig_slice name = repeated->name;
    return ig_slice_is(name, "array") ||
           (name.len == list->name.len + 6 && ig_slice_ends(name, "_tuple") &&
            memcmp(name.ptr, list->name.ptr, list->name.len) == 0);
}

static bool build_list(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                       const struct pq_element *e, int def, int rep, int depth,
                       struct pq_node *node)
{
    const struct pq_element *repeated = take_element(b);
    if (!repeated) return false;
    if (e->children != 1 || repeated->repetition != PQ_REPEATED)
        return ig_err_set(b->err, IG_ERR_DATA, "list '" IG_SLICE_FMT "' is not one repeated member",
                          IG_SLICE_ARG(node->path));
    struct pq_node *item = ig_arena_array(b->arena, 1, sizeof *item);
    if (!item) return ig_err_nomem(b->err);
    item->path = node->path;
    node->kind = PQ_LIST;
    node->def = def;
    node->def_item = def + 1;
    node->rep = rep + 1;
    node->children = item;
    node->count = 1;
    if (is_item(b, e, repeated)) return build_body(b, repeated, def + 1, rep + 1, depth + 1, item);
    const struct pq_element *inner = take_element(b);
    return inner && build_node(b, inner, def + 1, rep + 1, depth + 1, item);
}

static bool build_struct(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                         const struct pq_element *e, int def, int rep, int depth,
                         struct pq_node *node)
{
    if (e->children < 0 || (uint64_t)e->children > b->footer->element_count - b->next)
        return ig_err_set(b->err, IG_ERR_DATA, "the schema is cut off: a group lacks members");
    node->kind = PQ_STRUCT;
    node->def = def;
    node->count = (int)e->children;
    node->children = ig_arena_array(b->arena, (size_t)node->count, sizeof *node->children);
    if (!node->children) return ig_err_nomem(b->err);
    for (int i = 0; i < node->count; i++) {
        struct pq_node *child = &node->children[i];
        const struct pq_element *member = take_element(b);
        if (!member || !table__path(b->arena, node->path, member->name, &child->path, b->err) ||
            !table__member(b->arena, member->name, &child->member, b->err) ||
            !build_node(b, member, def, rep, depth + 1, child))
            return false;
    }
    return true;
}

/* An element without its repetition: the levels already count it. */
static bool build_body(struct build *b, /* NOLINT(misc-no-recursion): TABLE_DEPTH_MAX */
                       const struct pq_element *e, int def, int rep, int depth,
                       struct pq_node *node)
{
    enum { MAP = 2, LIST = 3 };
    if (depth > TABLE_DEPTH_MAX)
        return ig_err_set(b->err, IG_ERR_UNSUPPORTED,
                          "column '" IG_SLICE_FMT "' is nested deeper "
                          "than %d",
                          IG_SLICE_ARG(node->path), TABLE_DEPTH_MAX);
    if (e->type >= 0) return build_leaf(b, e, def, rep, node);
    if (e->children < 1)
        return ig_err_set(b->err, IG_ERR_DATA,
                          "column '" IG_SLICE_FMT "' has neither a type nor "
                          "members",
                          IG_SLICE_ARG(node->path));
    int logical = logical_of(e);
    if (logical != 0 && logical != LIST)
        return ig_err_set(b->err, IG_ERR_UNSUPPORTED,
                          "column '" IG_SLICE_FMT "' is a %s; only lists and structs are read",
                          IG_SLICE_ARG(node->path),
                          logical == MAP ? "MAP" : "group of an unknown kind");
    int first = b->leaves;
    bool ok = logical == LIST ? build_list(b, e, def, rep, depth, node)
                              : build_struct(b, e, def, rep, depth, node);
    node->leaf = first;
    node->leaves = b->leaves - first;
    return ok;
}

bool pq_schema_build(const struct pq_footer *footer, struct ig_arena *arena, struct pq_node *root,
                     struct ig_err *err)
{
    struct build b = {.footer = footer, .arena = arena, .err = err};
    *root = (struct pq_node){0};
    const struct pq_element *e = take_element(&b);
    if (!e || !build_struct(&b, e, 0, 0, 0, root)) return false;
    root->leaves = b.leaves;
    if (b.leaves == 0 && footer->rows > 0) /* rows that nothing in the file stands for */
        return ig_err_set(err, IG_ERR_DATA, "%lld rows without a column", (long long)footer->rows);
    if (b.next != footer->element_count)
        return ig_err_set(err, IG_ERR_DATA, "the schema has %zu elements too many",
                          footer->element_count - b.next);
    return true;
}
