/* SPDX-License-Identifier: Apache-2.0
 * buf — see ingot/buf.h. */
#include "ingot/buf.h"

#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool reserve(struct ig_buf *buf, size_t more)
{
    size_t limit = buf->len_max ? buf->len_max : IG_BUF_BYTES_MAX;
    size_t need;
    if (buf->failed || !ig_size_add(buf->len, more, &need) || need >= limit) {
        buf->failed = true;
        return false;
    }
    if (need < buf->cap) return true;
    size_t cap = buf->cap ? buf->cap * 2 : 64;
    if (cap <= need) cap = need + 1;
    char *data = realloc(buf->data, cap);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void ig_buf_append(struct ig_buf *buf, const void *bytes, size_t count)
{
    if (!reserve(buf, count)) return;
    if (count) memcpy(buf->data + buf->len, bytes, count);
    buf->len += count;
    buf->data[buf->len] = '\0';
}

void ig_buf_text(struct ig_buf *buf, const char *text)
{
    ig_buf_append(buf, text, strlen(text));
}

void ig_buf_slice(struct ig_buf *buf, struct ig_slice text)
{
    ig_buf_append(buf, text.ptr, text.len);
}

void ig_buf_char(struct ig_buf *buf, char c)
{
    ig_buf_append(buf, &c, 1);
}

void ig_buf_printf(struct ig_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && reserve(buf, (size_t)n)) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, format, again);
        buf->len += (size_t)n;
    } else {
        buf->failed = true;
    }
    va_end(again);
}

void ig_buf_clear(struct ig_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = '\0';
}

void ig_buf_release(struct ig_buf *buf)
{
    free(buf->data);
    *buf = (struct ig_buf){.len_max = buf->len_max};
}

bool ig_buf_ok(const struct ig_buf *buf, struct ig_err *err)
{
    if (!buf->failed) return true;
    size_t limit = buf->len_max ? buf->len_max : IG_BUF_BYTES_MAX;
    return ig_err_set(err, IG_ERR_NOMEM, "text is longer than %zu bytes, or memory ran out", limit);
}

const char *ig_slice_find(struct ig_slice hay, struct ig_slice needle)
{
    if (needle.len == 0) return hay.ptr ? hay.ptr : "";
    return hay.len < needle.len ? NULL : memmem(hay.ptr, hay.len, needle.ptr, needle.len);
}
