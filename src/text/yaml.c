/* SPDX-License-Identifier: Apache-2.0
 * yaml — libyaml's events composed into a tree. (The only file that includes yaml.h.)
 *
 * An alias shares its anchor's node; `size` counts what a walk would see, so that a document cannot
 * grow without bound by aliasing ("billion laughs"). */
#include "text/yaml.h"

#include "base/arena.h"
#include "base/map.h"
#include "ingot/buf.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 1000000

struct composer {
    yaml_parser_t parser;
    struct ig_arena *arena;
    struct ig_map anchors; /* name -> index into anchored */
    struct ig_yaml **anchored;
    uint32_t *anchored_size;
    size_t anchored_count, anchored_cap;
    struct ig_err *err;
};

/* A node and how many nodes a walk of it sees. */
struct composed {
    struct ig_yaml *node;
    uint32_t size;
};

bool ig_yaml_fail(struct ig_err *err, const struct ig_yaml *at, const char *format, ...)
{
    char what[IG_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!at) return ig_err_set(err, IG_ERR_DATA, "%.480s", what);
    return ig_err_set(err, IG_ERR_DATA, "line %d, column %d: %.440s", at->line, at->column, what);
}

static bool fail_mark(struct composer *c, yaml_mark_t mark, const char *what)
{
    return ig_err_set(c->err, IG_ERR_DATA, "line %zu, column %zu: %s", mark.line + 1,
                      mark.column + 1, what);
}

static bool next_event(struct composer *c, yaml_event_t *event)
{
    if (yaml_parser_parse(&c->parser, event)) return true;
    if (c->parser.error == YAML_MEMORY_ERROR) return ig_err_nomem(c->err);
    yaml_mark_t mark = c->parser.problem_mark;
    if (c->parser.error == YAML_READER_ERROR)
        return ig_err_set(c->err, IG_ERR_DATA, "byte %zu: %s", c->parser.problem_offset,
                          c->parser.problem ? c->parser.problem : "bad text");
    return fail_mark(c, mark, c->parser.problem ? c->parser.problem : "not YAML");
}

/* ---- scalars, by YAML 1.1 as PyYAML resolves them (sexagesimals and dates stay text) ---- */

static bool is_one_of(struct ig_slice text, const char *const *words)
{
    for (; *words; words++)
        if (ig_slice_is(text, *words)) return true;
    return false;
}

/* Digits of `text` without underscores, into copy; false when another byte, or nothing, is there.
 */
static bool plain_digits(struct ig_slice text, const char *allowed, char copy[72])
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '_') continue;
        if (n >= 70 || !strchr(allowed, text.ptr[i]) || text.ptr[i] == '\0') return false;
        copy[n++] = text.ptr[i];
    }
    copy[n] = '\0';
    return n > 0;
}

static bool resolve_int(struct ig_yaml *node)
{
    struct ig_slice t = node->text;
    bool negative = t.len && t.ptr[0] == '-';
    if (t.len && (t.ptr[0] == '-' || t.ptr[0] == '+')) t = ig_slice_make(t.ptr + 1, t.len - 1);
    char digits[72];
    int base = 10;
    if (t.len == 0 || t.ptr[0] == '_') return false;
    if (t.len > 2 && t.ptr[0] == '0' && (t.ptr[1] == 'x' || t.ptr[1] == 'b')) {
        base = t.ptr[1] == 'x' ? 16 : 2;
        t = ig_slice_make(t.ptr + 2, t.len - 2);
    } else if (t.len > 1 && t.ptr[0] == '0') {
        base = 8;
    }
    static const char all[] = "0123456789abcdefABCDEF";
    char allowed[24];
    snprintf(allowed, sizeof allowed, "%.*s", base == 16 ? 22 : base, all);
    if (!plain_digits(t, allowed, digits)) return false;
    errno = 0;
    long long value = strtoll(digits, NULL, base);
    if (errno) return false;
    node->type = IG_YAML_INT;
    node->integer = negative ? -value : value;
    node->real = (double)node->integer;
    return true;
}

/* [-+]?digits.digits?([eE][-+]digits)? — the dot and the exponent's sign are required: 1e-5 is
 * text. */
static bool resolve_real(struct ig_yaml *node)
{
    struct ig_slice t = node->text;
    double sign = t.len && t.ptr[0] == '-' ? -1 : 1;
    if (t.len && (t.ptr[0] == '-' || t.ptr[0] == '+')) t = ig_slice_make(t.ptr + 1, t.len - 1);
    static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    bool infinite = is_one_of(t, infinities), nan = is_one_of(node->text, nans);
    const char *dot = t.len ? memchr(t.ptr, '.', t.len) : NULL;
    char digits[72];
    if (!infinite && !nan) {
        if (!dot || !plain_digits(t, "0123456789.eE+-", digits)) return false;
        size_t whole = strspn(digits, "0123456789");
        if (digits[whole] != '.') return false;
        size_t part = strspn(digits + whole + 1, "0123456789");
        const char *rest = digits + whole + 1 + part;
        if (whole + part == 0) return false;
        if (*rest) {
            if ((*rest != 'e' && *rest != 'E') || (rest[1] != '+' && rest[1] != '-')) return false;
            if (!rest[2] || rest[2 + strspn(rest + 2, "0123456789")]) return false;
        }
    }
    node->type = IG_YAML_REAL;
    node->real = infinite ? sign * HUGE_VAL : nan ? (double)NAN : sign * strtod(digits, NULL);
    return true;
}

static void resolve_plain(struct ig_yaml *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"yes",  "Yes", "YES", "true", "True",
                                      "TRUE", "on",  "On",  "ON",   NULL};
    static const char *const no[] = {"no",    "No",  "NO",  "false", "False",
                                     "FALSE", "off", "Off", "OFF",   NULL};
    node->type = IG_YAML_TEXT;
    if (is_one_of(node->text, nulls))
        node->type = IG_YAML_NULL;
    else if (is_one_of(node->text, yes) || is_one_of(node->text, no)) {
        node->type = IG_YAML_BOOL;
        node->truth = is_one_of(node->text, yes);
    } else if (!resolve_int(node)) {
        (void)resolve_real(node);
    }
}

bool ig_yaml_number(const struct ig_yaml *node, double *out)
{
    if (node->type == IG_YAML_INT || node->type == IG_YAML_REAL) {
        *out = node->real;
        return true;
    }
    if (node->type != IG_YAML_TEXT || node->text.len == 0) return false;
    if (strspn(node->text.ptr, "0123456789+-.eE") != node->text.len) return false;
    char *end;
    double value = strtod(node->text.ptr, &end);
    if (*end) return false;
    *out = value;
    return true;
}

/* ---- composing ---- */

static struct ig_yaml *new_node(struct composer *c, yaml_mark_t mark)
{
    struct ig_yaml *node = ig_arena_new(c->arena, sizeof(*node));
    if (!node) {
        ig_err_nomem(c->err);
        return NULL;
    }
    node->line = (int)mark.line + 1;
    node->column = (int)mark.column + 1;
    return node;
}

static bool remember(struct composer *c, const yaml_char_t *anchor, struct composed value)
{
    if (!anchor) return true;
    if (c->anchored_count == c->anchored_cap) {
        size_t cap = c->anchored_cap ? c->anchored_cap * 2 : 16;
        struct ig_yaml **nodes = realloc(c->anchored, cap * sizeof(*nodes));
        if (nodes) c->anchored = nodes;
        uint32_t *sizes = realloc(c->anchored_size, cap * sizeof(*sizes));
        if (sizes) c->anchored_size = sizes;
        if (!nodes || !sizes) return ig_err_nomem(c->err);
        c->anchored_cap = cap;
    }
    struct ig_slice name = ig_arena_copy(c->arena, ig_slice_of((const char *)anchor));
    if (!name.ptr) return ig_err_nomem(c->err);
    c->anchored[c->anchored_count] = value.node;
    c->anchored_size[c->anchored_count] = value.size;
    return ig_map_put(&c->anchors, name, (int64_t)c->anchored_count++, c->err);
}

static bool compose_scalar(struct composer *c, const yaml_event_t *event, struct composed *out)
{
    struct ig_yaml *node = new_node(c, event->start_mark);
    if (!node) return false;
    node->text =
        ig_arena_copy(c->arena, ig_slice_make(event->data.scalar.value, event->data.scalar.length));
    if (!node->text.ptr) return ig_err_nomem(c->err);
    bool plain =
        event->data.scalar.plain_implicit && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->type = IG_YAML_TEXT;
    if (plain) resolve_plain(node);
    const yaml_char_t *tag = event->data.scalar.tag;
    if (tag && tag[0] == '!' && tag[1]) {
        node->tag = ig_arena_copy(c->arena, ig_slice_of((const char *)tag));
        if (!node->tag.ptr) return ig_err_nomem(c->err);
    }
    *out = (struct composed){node, 1};
    return remember(c, event->data.scalar.anchor, *out);
}

static bool compose_alias(struct composer *c, const yaml_event_t *event, struct composed *out)
{
    int64_t at = ig_map_get(&c->anchors, ig_slice_of((const char *)event->data.alias.anchor), -1);
    if (at < 0)
        return fail_mark(c, event->start_mark, "alias of an anchor that is not complete here");
    *out = (struct composed){c->anchored[at], c->anchored_size[at]};
    return true;
}

/* Keys and values of a map, or items of a list, while it is read. */
struct items {
    struct ig_yaml **list;
    size_t count, cap;
};

static bool add_item(struct items *items, struct ig_yaml *node, struct ig_err *err)
{
    if (items->count == items->cap) {
        size_t cap = items->cap * 2 + 16;
        struct ig_yaml **more = realloc(items->list, cap * sizeof(*more));
        if (!more) return ig_err_nomem(err);
        items->list = more;
        items->cap = cap;
    }
    items->list[items->count++] = node;
    return true;
}

static bool add_pair(struct items *items, struct ig_map *keys, struct ig_yaml *key,
                     struct ig_yaml *value, struct ig_err *err)
{
    return ig_map_put(keys, key->text, 1, err) && add_item(items, key, err) &&
           add_item(items, value, err);
}

static bool add_merged(struct items *items, struct ig_map *keys, const struct ig_yaml *from,
                       struct ig_err *err)
{
    if (from->type != IG_YAML_MAP)
        return ig_yaml_fail(err, from, "<< needs a map or a list of maps");
    for (uint32_t i = 0; i < 2 * from->count; i += 2) {
        if (ig_map_get(keys, from->items[i]->text, 0)) continue;
        if (!add_pair(items, keys, from->items[i], from->items[i + 1], err)) return false;
    }
    return true;
}

/* Applies the value of a `<<` key: the map's own keys win, then earlier sources. */
static bool apply_merge(struct items *items, struct ig_map *keys, const struct ig_yaml *source,
                        struct ig_err *err)
{
    if (source->type != IG_YAML_LIST) return add_merged(items, keys, source, err);
    for (uint32_t i = 0; i < source->count; i++)
        if (!add_merged(items, keys, source->items[i], err)) return false;
    return true;
}

/* Looks for doubles among the keys; keys: an empty map. */
static bool finish_pairs(struct items *items, struct ig_map *keys, struct ig_err *err)
{
    const struct ig_yaml *merged = NULL;
    size_t count = items->count;
    items->count = 0;
    for (size_t i = 0; i < count; i += 2) {
        struct ig_yaml *key = items->list[i], *value = items->list[i + 1];
        if (key->type == IG_YAML_LIST || key->type == IG_YAML_MAP)
            return ig_yaml_fail(err, key, "a key must be text");
        if (ig_slice_is(key->text, "<<") && !merged) {
            merged = value;
            continue;
        }
        if (ig_map_get(keys, key->text, 0))
            return ig_yaml_fail(err, key, "key '" IG_SLICE_FMT "' is here twice",
                                IG_SLICE_ARG(key->text));
        if (!add_pair(items, keys, key, value, err)) return false;
    }
    return !merged || apply_merge(items, keys, merged, err);
}

static bool finish_map(struct items *items, struct ig_err *err)
{
    struct ig_map keys = {0};
    bool ok = finish_pairs(items, &keys, err);
    ig_map_release(&keys);
    return ok;
}

static bool compose(struct composer *c, const yaml_event_t *event, int depth, struct composed *out);

/* Depth is capped by YAML_DEPTH_MAX. */
static bool compose_items(struct composer *c, int depth, /* NOLINT(misc-no-recursion) */
                          yaml_event_type_t end, struct items *items, uint32_t *size)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(c, &event)) return false;
        if (event.type == end) {
            yaml_event_delete(&event);
            return true;
        }
        struct composed child;
        bool ok = compose(c, &event, depth + 1, &child);
        if (ok && child.size > YAML_NODES_MAX - *size)
            ok = fail_mark(c, event.start_mark, "the document is too large, aliases counted");
        yaml_event_delete(&event);
        if (!ok || !add_item(items, child.node, c->err)) return false;
        *size += child.size;
    }
}

static bool compose_collection(struct composer *c, /* NOLINT(misc-no-recursion) */
                               const yaml_event_t *event, int depth, struct composed *out)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    struct ig_yaml *node = new_node(c, event->start_mark);
    if (!node) return false;
    node->type = map ? IG_YAML_MAP : IG_YAML_LIST;
    struct items items = {0};
    uint32_t size = 1;
    yaml_event_type_t end = map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    bool ok = compose_items(c, depth, end, &items, &size) && (!map || finish_map(&items, c->err));
    if (ok) {
        node->items = ig_arena_array(c->arena, items.count, sizeof(*items.list));
        ok = node->items || ig_err_nomem(c->err);
    }
    if (ok) {
        if (items.count) memcpy(node->items, items.list, items.count * sizeof(*items.list));
        node->count = (uint32_t)(map ? items.count / 2 : items.count);
        *out = (struct composed){node, size};
        const yaml_char_t *anchor =
            map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
        ok = remember(c, anchor, *out);
    }
    free(items.list);
    return ok;
}

static bool compose(struct composer *c, const yaml_event_t *event, /* NOLINT(misc-no-recursion) */
                    int depth, struct composed *out)
{
    if (depth > YAML_DEPTH_MAX) return fail_mark(c, event->start_mark, "nested too deeply");
    switch (event->type) {
    case YAML_SCALAR_EVENT: return compose_scalar(c, event, out);
    case YAML_ALIAS_EVENT: return compose_alias(c, event, out);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return compose_collection(c, event, depth, out);
    default: return fail_mark(c, event->start_mark, "unexpected content");
    }
}

/* Skips the stream's and the document's start; root is NULL for an empty text. */
static bool compose_document(struct composer *c, struct ig_yaml **root)
{
    for (*root = NULL;;) {
        yaml_event_t event;
        if (!next_event(c, &event)) return false;
        yaml_event_type_t type = event.type;
        bool ok = true;
        if (type == YAML_DOCUMENT_START_EVENT && *root) {
            ok = fail_mark(c, event.start_mark, "a second document is not supported here");
        } else if (type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                   type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT) {
            struct composed value;
            ok = compose(c, &event, 0, &value);
            if (ok) *root = value.node;
        }
        yaml_event_delete(&event);
        if (!ok) return false;
        if (type == YAML_STREAM_END_EVENT) break;
    }
    return *root || ig_err_set(c->err, IG_ERR_DATA, "the file is empty");
}

struct ig_yaml *ig_yaml_parse(struct ig_slice text, struct ig_arena *arena, struct ig_err *err)
{
    struct composer c = {.arena = arena, .err = err};
    if (ig_slice_starts(text, "\xEF\xBB\xBF")) text = ig_slice_make(text.ptr + 3, text.len - 3);
    if (!yaml_parser_initialize(&c.parser)) {
        ig_err_nomem(err);
        return NULL;
    }
    yaml_parser_set_input_string(&c.parser, (const unsigned char *)text.ptr, text.len);
    yaml_parser_set_encoding(&c.parser, YAML_UTF8_ENCODING);
    struct ig_yaml *root;
    bool ok = compose_document(&c, &root);
    yaml_parser_delete(&c.parser);
    ig_map_release(&c.anchors);
    free(c.anchored);
    free(c.anchored_size);
    return ok ? root : NULL;
}

const struct ig_yaml *ig_yaml_get(const struct ig_yaml *map, const char *key)
{
    if (!map || map->type != IG_YAML_MAP) return NULL;
    for (uint32_t i = 0; i < 2 * map->count; i += 2)
        if (ig_slice_is(map->items[i]->text, key)) return map->items[i + 1];
    return NULL;
}
