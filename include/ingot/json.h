/* SPDX-License-Identifier: Apache-2.0
 * json — read JSON into a tree, write JSON as a stream.
 *
 * Reading is strict RFC 8259 in UTF-8: no comments, no trailing commas, no bytes after the value
 * but white space. Numbers keep their text, so integers of any size pass through unchanged.
 * Owns:  a tree lives in the arena it was parsed into; strings are decoded copies there.
 * Limits: depth JSON_DEPTH_MAX (json.c). Errors name line and column.
 * Member order and duplicate keys are kept; ig_json_get returns the last duplicate (as Python). */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

struct ig_arena;

enum ig_json_type {
    IG_JSON_NULL,
    IG_JSON_FALSE,
    IG_JSON_TRUE,
    IG_JSON_NUMBER, /* text holds the literal as written */
    IG_JSON_STRING, /* text holds the decoded bytes; may contain NUL */
    IG_JSON_ARRAY,
    IG_JSON_OBJECT,
};

struct ig_json {
    enum ig_json_type type;
    uint32_t count;      /* items of an array or object */
    struct ig_slice key; /* set when the parent is an object */
    union {
        struct ig_slice text;  /* number, string */
        struct ig_json *items; /* array, object: count of them, contiguous */
    };
};

/* Parses the whole text. NULL on failure. */
IG_MUST_CHECK struct ig_json *ig_json_parse(struct ig_slice text, struct ig_arena *arena,
                                            struct ig_err *err);
/* The same with memory of its own, for callers without an arena: free it, and the tree goes. */
struct ig_json_doc;
IG_MUST_CHECK bool ig_json_doc_new(struct ig_slice text, struct ig_json_doc **out,
                                   struct ig_err *err);
const struct ig_json *ig_json_doc_root(const struct ig_json_doc *doc);
void ig_json_doc_free(struct ig_json_doc *doc);
/* Member of an object by key; NULL when absent or when node is NULL or no object. Linear: for large
 * objects walk items once. */
const struct ig_json *ig_json_get(const struct ig_json *node, const char *key);
/* True, and the value, when node is a number that is an integer in range; accepts NULL. */
bool ig_json_int(const struct ig_json *node, int64_t *out);
/* True, and the value, when node is a number; accepts NULL. */
bool ig_json_real(const struct ig_json *node, double *out);
/* True, and the value, when node is true or false; accepts NULL. */
bool ig_json_bool(const struct ig_json *node, bool *out);
/* The string's bytes, or {NULL, 0} when node is NULL or no string. */
struct ig_slice ig_json_text(const struct ig_json *node);
/* Writes a tree. indent 0: compact with ',' and ':'; n > 0: as Python's json.dumps(indent=n), whose
 * separators are "," + newline and ": ", and whose empty containers stay short. */
void ig_json_write(struct ig_buf *out, const struct ig_json *node, int indent, bool ensure_ascii);
/* Appends a quoted, escaped string. */
void ig_json_quote(struct ig_buf *out, struct ig_slice text, bool ensure_ascii);

/* A writer that puts commas, colons and newlines itself. Zero-initialise, set out (and indent). */
struct ig_json_writer {
    struct ig_buf *out;
    int indent; /* 0: one line */
    int depth;
    bool started[64]; /* at each depth: an item has been written */
    bool after_key;
};
void ig_json_open(struct ig_json_writer *w, char bracket);  /* '{' or '[' */
void ig_json_close(struct ig_json_writer *w, char bracket); /* '}' or ']' */
void ig_json_key(struct ig_json_writer *w, const char *key);
void ig_json_put_text(struct ig_json_writer *w, struct ig_slice text);
void ig_json_put_int(struct ig_json_writer *w, int64_t value);
/* Shortest text that reads back as the same double; null when not finite. */
void ig_json_put_real(struct ig_json_writer *w, double value);
void ig_json_put_bool(struct ig_json_writer *w, bool value);
void ig_json_put_null(struct ig_json_writer *w);
/* A key and its value. text NULL: null. */
void ig_json_add_text(struct ig_json_writer *w, const char *key, const char *text);
void ig_json_add_int(struct ig_json_writer *w, const char *key, int64_t value);
void ig_json_add_real(struct ig_json_writer *w, const char *key, double value);
void ig_json_add_bool(struct ig_json_writer *w, const char *key, bool value);
void ig_json_put_tree(struct ig_json_writer *w, const struct ig_json *node);
