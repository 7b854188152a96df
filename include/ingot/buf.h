/* SPDX-License-Identifier: Apache-2.0
 * buf — growing bytes, always NUL-terminated after the last one.
 *
 * Use:  struct ig_buf b = {0}; ... ig_buf_release(&b). Zero is a valid empty buffer.
 * Errors are sticky: when memory or the cap runs out the buffer stops growing and `failed` is set;
 * append many times, check once with ig_buf_ok. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"

#define IG_BUF_BYTES_MAX ((size_t)1 << 32) /* the default cap: nothing textual is larger */

struct ig_buf {
    char *data; /* NULL while empty */
    size_t len;
    size_t cap;
    size_t len_max; /* 0 means IG_BUF_BYTES_MAX */
    bool failed;
};

void ig_buf_append(struct ig_buf *buf, const void *bytes, size_t count);
void ig_buf_text(struct ig_buf *buf, const char *text);
void ig_buf_slice(struct ig_buf *buf, struct ig_slice text);
void ig_buf_char(struct ig_buf *buf, char c);
void ig_buf_printf(struct ig_buf *buf, const char *format, ...) IG_PRINTF(2, 3);
/* Keeps the memory, forgets the bytes and the failure. */
void ig_buf_clear(struct ig_buf *buf);
void ig_buf_release(struct ig_buf *buf);
/* False, with err set, when an append failed. */
IG_MUST_CHECK bool ig_buf_ok(const struct ig_buf *buf, struct ig_err *err);
static inline struct ig_slice ig_buf_view(const struct ig_buf *buf)
{
    return (struct ig_slice){buf->len ? buf->data : "", buf->len};
}
