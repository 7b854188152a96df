/* SPDX-License-Identifier: Apache-2.0
 * json — yajl checks the grammar and decodes strings; the tree is ours, because yajl's own turns
 * numbers into doubles. (The only file that includes yajl.)
 *
 * A container is closed by copying its items off the top of one stack into the arena, so that items
 * are contiguous and nothing is moved twice. UTF-8 is checked beforehand: yajl's own check lets
 * overlong forms and surrogates pass. */
#include "ingot/json.h"

#include "base/arena.h"
#include "text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#define JSON_DEPTH_MAX 127 /* as serde_json, which reads safetensors' headers */

struct builder {
    struct ig_arena *arena;
    struct ig_json *stack; /* containers still open, each followed by its items so far */
    size_t count, cap;
    size_t open[JSON_DEPTH_MAX]; /* stack index of each open container */
    int depth;
    struct ig_slice key; /* of the next value */
    const char *trouble; /* why a callback stopped, or NULL */
};

static struct ig_json *push(struct builder *b, enum ig_json_type type)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct ig_json *stack = realloc(b->stack, cap * sizeof(*stack));
        if (!stack) {
            b->trouble = "out of memory";
            return NULL;
        }
        b->stack = stack;
        b->cap = cap;
    }
    struct ig_json *node = &b->stack[b->count++];
    *node = (struct ig_json){.type = type, .key = b->key};
    b->key = (struct ig_slice){0};
    return node;
}

static bool keep_text(struct builder *b, const void *text, size_t len, struct ig_slice *out)
{
    *out = ig_arena_copy(b->arena, ig_slice_make(text, len));
    if (!out->ptr) b->trouble = "out of memory";
    return out->ptr != NULL;
}

static int on_null(void *ctx)
{
    return push(ctx, IG_JSON_NULL) != NULL;
}

static int on_bool(void *ctx, int value)
{
    return push(ctx, value ? IG_JSON_TRUE : IG_JSON_FALSE) != NULL;
}

static int on_number(void *ctx, const char *text, size_t len)
{
    struct ig_json *node = push(ctx, IG_JSON_NUMBER);
    return node && keep_text(ctx, text, len, &node->text);
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    struct ig_json *node = push(ctx, IG_JSON_STRING);
    return node && keep_text(ctx, text, len, &node->text);
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    struct builder *b = ctx;
    return keep_text(b, text, len, &b->key);
}

static int on_open(struct builder *b, enum ig_json_type type)
{
    if (b->depth == JSON_DEPTH_MAX) {
        b->trouble = "nested too deeply";
        return 0;
    }
    b->open[b->depth++] = b->count;
    return push(b, type) != NULL;
}

static int on_close(void *ctx)
{
    struct builder *b = ctx;
    size_t container = b->open[--b->depth];
    size_t items = b->count - container - 1;
    if (items > UINT32_MAX) {
        b->trouble = "too many items";
        return 0;
    }
    struct ig_json *copy = ig_arena_array(b->arena, items, sizeof(*copy));
    if (!copy) {
        b->trouble = "out of memory";
        return 0;
    }
    struct ig_json *node = &b->stack[container];
    if (items) memcpy(copy, node + 1, items * sizeof(*copy));
    node->items = copy;
    node->count = (uint32_t)items;
    b->count = container + 1;
    return 1;
}

static int on_open_map(void *ctx)
{
    return on_open(ctx, IG_JSON_OBJECT);
}

static int on_open_array(void *ctx)
{
    return on_open(ctx, IG_JSON_ARRAY);
}

/* "line L, column C: what", the place being that of byte `at`. */
static void fail_at(struct ig_slice text, size_t at, const char *what, struct ig_err *err)
{
    size_t line = 1, start = 0;
    if (at > text.len) at = text.len;
    for (size_t i = 0; i < at; i++) {
        if (text.ptr[i] != '\n') continue;
        line++;
        start = i + 1;
    }
    ig_err_set(err, IG_ERR_DATA, "JSON, line %zu, column %zu: %s", line, at - start + 1, what);
}

/* yajl says "parse error: trailing garbage\n"; the words after the colon, on one line. */
static void fail_as_yajl_says(yajl_handle handle, struct ig_slice text, struct ig_err *err)
{
    size_t at = yajl_get_bytes_consumed(handle);
    unsigned char *said = yajl_get_error(handle, 0, (const unsigned char *)text.ptr, text.len);
    char what[160] = "out of memory";
    if (said) {
        const char *colon = strstr((const char *)said, ": ");
        snprintf(what, sizeof what, "%s", colon ? colon + 2 : (const char *)said);
        what[strcspn(what, "\n")] = '\0';
        size_t len = strlen(what);
        if (len && what[len - 1] == '.') what[len - 1] = '\0';
    }
    if (strcmp(what, "premature EOF") == 0) at = text.len; /* yajl names the last token's start */
    fail_at(text, at, what, err);
    yajl_free_error(handle, said);
}

/* Four hex digits, or -1. */
static int hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The first escape of half a surrogate pair, which yajl would turn into '?'; text.len if none. */
static size_t find_half_pair(struct ig_slice text)
{
    const char *end = text.ptr + text.len, *p = text.ptr;
    while (p < end && (p = memchr(p, '\\', (size_t)(end - p)))) {
        int code = end - p >= 2 && p[1] == 'u' ? hex4(p + 2, end) : 0;
        if (code < 0xD800 || code > 0xDFFF) {
            p += 2;
            continue;
        }
        int low =
            code < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : 0;
        if (low < 0xDC00 || low > 0xDFFF) return (size_t)(p - text.ptr);
        p += 12;
    }
    return text.len;
}

/* What yajl lets pass and the grammar does not; false with the error set. */
static bool check_bytes(struct ig_slice text, struct ig_err *err)
{
    size_t bad = ig_utf8_check(text);
    if (bad < text.len) {
        fail_at(text, bad, "invalid UTF-8", err);
        return false;
    }
    for (const char *space = "\v\f"; *space && text.len; space++) {
        const char *found = memchr(text.ptr, *space, text.len);
        if (!found) continue;
        fail_at(text, (size_t)(found - text.ptr), "invalid character", err);
        return false;
    }
    bad = text.len ? find_half_pair(text) : 0;
    if (bad < text.len) fail_at(text, bad, "half of a surrogate pair", err);
    return bad == text.len;
}

struct ig_json *ig_json_parse(struct ig_slice text, struct ig_arena *arena, struct ig_err *err)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_bool,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close,
    };
    if (!check_bytes(text, err)) return NULL;
    struct builder b = {.arena = arena};
    struct ig_json *root = NULL;
    yajl_handle handle = yajl_alloc(&callbacks, NULL, &b);
    if (!handle) {
        ig_err_nomem(err);
        return NULL;
    }
    yajl_config(handle, yajl_dont_validate_strings, 1);
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    yajl_status status = yajl_parse(handle, bytes, text.len);
    size_t at = yajl_get_bytes_consumed(handle);
    if (status == yajl_status_ok) status = yajl_complete_parse(handle);
    if (b.trouble) {
        fail_at(text, at, b.trouble, err);
        if (strcmp(b.trouble, "out of memory") == 0) ig_err_nomem(err);
    } else if (status != yajl_status_ok) {
        fail_as_yajl_says(handle, text, err);
    } else if (b.count != 1 || b.depth != 0) {
        fail_at(text, text.len, "the text ends too early", err);
    } else {
        root = ig_arena_new(arena, sizeof(*root));
        if (root)
            *root = b.stack[0];
        else
            ig_err_nomem(err);
    }
    yajl_free(handle);
    free(b.stack);
    return root;
}

struct ig_json_doc {
    struct ig_arena arena;
    const struct ig_json *root;
};

bool ig_json_doc_new(struct ig_slice text, struct ig_json_doc **out, struct ig_err *err)
{
    struct ig_json_doc *doc = calloc(1, sizeof(*doc));
    if (!doc) return ig_err_nomem(err);
    doc->root = ig_json_parse(text, &doc->arena, err);
    if (!doc->root) {
        ig_json_doc_free(doc);
        return false;
    }
    *out = doc;
    return true;
}

const struct ig_json *ig_json_doc_root(const struct ig_json_doc *doc)
{
    return doc->root;
}

void ig_json_doc_free(struct ig_json_doc *doc)
{
    if (!doc) return;
    ig_arena_release(&doc->arena);
    free(doc);
}

const struct ig_json *ig_json_get(const struct ig_json *node, const char *key)
{
    const struct ig_json *found = NULL;
    if (!node || node->type != IG_JSON_OBJECT) return NULL;
    for (uint32_t i = 0; i < node->count; i++)
        if (ig_slice_is(node->items[i].key, key)) found = &node->items[i];
    return found;
}

/* Number text is NUL-terminated: the arena's copies are. */
bool ig_json_int(const struct ig_json *node, int64_t *out)
{
    if (!node || node->type != IG_JSON_NUMBER) return false;
    char *end;
    errno = 0;
    long long value = strtoll(node->text.ptr, &end, 10);
    if (errno || end != node->text.ptr + node->text.len) return false;
    *out = value;
    return true;
}

bool ig_json_real(const struct ig_json *node, double *out)
{
    if (!node || node->type != IG_JSON_NUMBER) return false;
    *out = strtod(node->text.ptr, NULL);
    return true;
}

bool ig_json_bool(const struct ig_json *node, bool *out)
{
    if (!node || (node->type != IG_JSON_TRUE && node->type != IG_JSON_FALSE)) return false;
    *out = node->type == IG_JSON_TRUE;
    return true;
}

struct ig_slice ig_json_text(const struct ig_json *node)
{
    return node && node->type == IG_JSON_STRING ? node->text : (struct ig_slice){NULL, 0};
}
