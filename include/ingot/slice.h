/* SPDX-License-Identifier: Apache-2.0
 * slice — a name: bytes that belong to somebody else, not NUL-terminated. Print with IG_SLICE_FMT.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct ig_slice {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

#define IG_SLICE_FMT    "%.*s"
#define IG_SLICE_ARG(s) (int)((s).len > 256 ? 256 : (s).len), ((s).ptr ? (s).ptr : "")

static inline struct ig_slice ig_slice_of(const char *text)
{
    return (struct ig_slice){text, text ? strlen(text) : 0};
}
static inline struct ig_slice ig_slice_make(const void *ptr, size_t len)
{
    return (struct ig_slice){(const char *)ptr, len};
}
static inline bool ig_slice_equal(struct ig_slice a, struct ig_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool ig_slice_is(struct ig_slice a, const char *text)
{
    return ig_slice_equal(a, ig_slice_of(text));
}
static inline bool ig_slice_starts(struct ig_slice a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.len >= n && memcmp(a.ptr, prefix, n) == 0;
}
static inline bool ig_slice_ends(struct ig_slice a, const char *suffix)
{
    size_t n = strlen(suffix);
    return a.len >= n && memcmp(a.ptr + a.len - n, suffix, n) == 0;
}
/* Byte order, shorter first on a tie: what sorts names in a header. <0, 0, >0. */
static inline int ig_slice_compare(struct ig_slice a, struct ig_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}
/* First place of needle in hay, or NULL. An empty needle is found at once. */
const char *ig_slice_find(struct ig_slice hay, struct ig_slice needle);
