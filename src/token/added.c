/* SPDX-License-Identifier: Apache-2.0
 * added — finding added tokens in text: leftmost, then longest, as the reference's Aho-Corasick.
 *
 * The patterns are few and start with few different bytes, so a search for a first byte and a walk
 * down a trie do it. A pattern that is found counts as consumed even when its single_word rule then
 * refuses it, and the search goes on behind the pattern, not behind the white space that rstrip
 * took: both as the reference does. */
#include "text/utf8.h"
#include "token/char_class.h"
#include "token/token_internal.h"

#include <stdlib.h>

static bool new_node(struct token__matcher *matcher, unsigned char byte, uint32_t *out)
{
    if (matcher->count == matcher->cap) {
        uint32_t cap = matcher->cap ? matcher->cap * 2 : 64;
        struct token__trie_node *nodes = realloc(matcher->nodes, cap * sizeof(*nodes));
        if (!nodes) return false;
        matcher->nodes = nodes;
        matcher->cap = cap;
    }
    *out = matcher->count++;
    matcher->nodes[*out] = (struct token__trie_node){.added = -1, .byte = byte};
    return true;
}

static uint32_t child_of(const struct token__matcher *matcher, uint32_t node, unsigned char byte)
{
    uint32_t child = node ? matcher->nodes[node].child : matcher->first[byte];
    while (child && matcher->nodes[child].byte != byte)
        child = matcher->nodes[child].sibling;
    return child;
}

bool token__matcher_add(struct token__matcher *matcher, struct ig_slice pattern, int32_t added,
                        struct ig_err *err)
{
    uint32_t node = 0;
    if (pattern.len == 0) return true;
    if (!matcher->any) {
        if (!new_node(matcher, 0, &node)) return ig_err_nomem(err);
        matcher->first_only = (unsigned char)pattern.ptr[0];
        matcher->any = true;
    }
    if (matcher->first_only != (unsigned char)pattern.ptr[0]) matcher->first_only = -1;
    for (size_t i = 0; i < pattern.len; i++) {
        unsigned char byte = (unsigned char)pattern.ptr[i];
        uint32_t child = child_of(matcher, node, byte);
        if (!child) {
            if (!new_node(matcher, byte, &child)) return ig_err_nomem(err);
            if (node) {
                matcher->nodes[child].sibling = matcher->nodes[node].child;
                matcher->nodes[node].child = child;
            } else {
                matcher->first[byte] = child;
            }
        }
        node = child;
    }
    matcher->nodes[node].added = added;
    return true;
}

void token__matcher_release(struct token__matcher *matcher)
{
    free(matcher->nodes);
    *matcher = (struct token__matcher){0};
}

/* The next byte in [p, end) that a pattern starts with, or end. */
static const char *first_byte(const struct token__matcher *matcher, const char *p, const char *end)
{
    if (matcher->first_only >= 0) {
        const char *found = memchr(p, matcher->first_only, (size_t)(end - p));
        return found ? found : end;
    }
    while (p < end && !matcher->first[(unsigned char)*p])
        p++;
    return p;
}

/* The longest pattern at p, or -1. */
static int32_t longest_at(const struct token__matcher *matcher, const char *p, const char *end,
                          const char **stop)
{
    int32_t added = -1;
    uint32_t node = 0;
    while (p < end && (node = child_of(matcher, node, (unsigned char)*p))) {
        p++;
        if (matcher->nodes[node].added < 0) continue;
        added = matcher->nodes[node].added;
        *stop = p;
    }
    return added;
}

/* The class of the character that ends at p; p is not the start of the text. */
static uint32_t class_before(const char *p, int *length)
{
    *length = 1;
    while (((unsigned char)p[-*length] & 0xC0) == 0x80)
        ++*length;
    int same;
    return token__class_at(p - *length, &same);
}

static bool touches_word(struct ig_slice segment, const char *start, const char *end)
{
    int length;
    if (start > segment.ptr && class_before(start, &length) & CLASS_WORD) return true;
    return end < segment.ptr + segment.len && token__class_at(end, &length) & CLASS_WORD;
}

bool token__matcher_next(const struct token__matcher *matcher, const struct token__added *added,
                         struct ig_slice segment, const char *from, const char *taken,
                         struct token__match *out)
{
    const char *end = segment.ptr + segment.len;
    if (!matcher->any) return false;
    for (const char *p = first_byte(matcher, from, end); p < end; p = first_byte(matcher, p, end)) {
        const char *stop = p;
        int32_t index = longest_at(matcher, p, end, &stop);
        if (index < 0) {
            p++;
            continue;
        }
        unsigned flags = added[index].flags;
        if (flags & ADDED_SINGLE_WORD && touches_word(segment, p, stop)) {
            p = stop;
            continue;
        }
        *out = (struct token__match){.start = p, .end = stop, .resume = stop, .added = index};
        int length;
        if (flags & ADDED_LSTRIP)
            while (out->start > taken && class_before(out->start, &length) & CLASS_SPACE)
                out->start -= length;
        if (flags & ADDED_RSTRIP)
            while (out->end < end && token__class_at(out->end, &length) & CLASS_SPACE)
                out->end += length;
        return true;
    }
    return false;
}
