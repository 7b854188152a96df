/* SPDX-License-Identifier: Apache-2.0
 * sketch_read — a sketchbook line by line: one line is in memory, whatever the file's size. */
#include "base/file.h"
#include "ingot/sketch.h"
#include "merge/sketch/sketch_line.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SKETCH_LINE_BYTES_MAX  ((size_t)16 << 20) /* 64 models fill 0.3 MB; recipes are longer */
#define SKETCH_ARENA_BYTES_MAX ((size_t)1 << 30)
#define STEP                   ((size_t)1 << 18)

struct ig_sketch {
    struct ig_sketch_head head;
    struct ig_arena kept, spent; /* the head's, the last line's */
    char *path, *data;
    size_t at, len, cap; /* data[at..len] is what was read ahead */
    int fd;
    bool ended;
    int64_t number, tensors; /* lines, and tensors, read so far */
};

/* Reads on; what was used makes room. */
static bool fill(struct ig_sketch *s, struct ig_err *err)
{
    if (s->at) memmove(s->data, s->data + s->at, s->len - s->at);
    s->len -= s->at;
    s->at = 0;
    if (s->len > SKETCH_LINE_BYTES_MAX)
        return ig_err_set(err, IG_ERR_DATA, "'%s': line %lld has more than %zu bytes", s->path,
                          (long long)s->number + 1, SKETCH_LINE_BYTES_MAX);
    if (s->cap < s->len + STEP) {
        size_t cap = s->cap * 2 > s->len + STEP ? s->cap * 2 : s->len + STEP;
        char *data = realloc(s->data, cap);
        if (!data) return ig_err_nomem(err);
        s->data = data;
        s->cap = cap;
    }
    ssize_t got;
    do
        got = read(s->fd, s->data + s->len, s->cap - s->len);
    while (got < 0 && errno == EINTR);
    if (got < 0) return ig_err_errno(err, errno, "cannot read '%s'", s->path);
    s->ended = got == 0;
    s->len += (size_t)got;
    return true;
}

/* The next line without its end. more false: there is none. */
static bool next_text(struct ig_sketch *s, struct ig_slice *out, bool *more, struct ig_err *err)
{
    size_t looked = 0;
    const char *end = NULL;
    for (;;) {
        size_t held = s->len - s->at;
        if (held > looked) end = memchr(s->data + s->at + looked, '\n', held - looked);
        if (end || s->ended) break;
        looked = held;
        if (!fill(s, err)) return false;
    }
    size_t len = end ? (size_t)(end - (s->data + s->at)) : s->len - s->at;
    *more = end || len;
    *out = ig_slice_make(*more ? s->data + s->at : "", len);
    s->at += len + (end != NULL);
    s->number += *more;
    return true;
}

static bool within_line(const struct ig_sketch *s, struct ig_err *err)
{
    return ig_err_within(err, "'%s' line %lld", s->path, (long long)s->number);
}

bool ig_sketch_open(const char *path, struct ig_sketch **out, struct ig_err *err)
{
    struct ig_slice text;
    bool more, ok = false;
    struct ig_sketch *s = calloc(1, sizeof *s);
    if (!s) return ig_err_nomem(err);
    s->kept.bytes_max = SKETCH_ARENA_BYTES_MAX;
    s->path = strdup(path);
    s->fd = s->path ? ig_file_open(path, err) : -1;
    if (!s->path) ig_err_nomem(err);
    if (s->fd < 0 || !next_text(s, &text, &more, err)) goto done;
    if (!more) {
        ig_err_set(err, IG_ERR_DATA, "'%s' is empty", path);
        goto done;
    }
    ok = merge__sketch_head_read(text, &s->kept, &s->head, err) || within_line(s, err);
    if (!ok) goto done;
    *out = s;
    s = NULL;
done:
    ig_sketch_close(s);
    return ok;
}

const struct ig_sketch_head *ig_sketch_head(const struct ig_sketch *sketch)
{
    return &sketch->head;
}

bool ig_sketch_next(struct ig_sketch *s, struct ig_sketch_line *line, bool *more,
                    struct ig_err *err)
{
    struct ig_slice text;
    ig_arena_release(&s->spent);
    s->spent = (struct ig_arena){.bytes_max = SKETCH_ARENA_BYTES_MAX};
    if (!next_text(s, &text, more, err)) return false;
    if (!*more)
        return s->tensors == s->head.tensors ||
               ig_err_set(err, IG_ERR_DATA,
                          "'%s' ends after line %lld: %lld of %lld tensors are there; was it cut "
                          "short?",
                          s->path, (long long)s->number, (long long)s->tensors,
                          (long long)s->head.tensors);
    s->tensors++;
    return merge__sketch_line_read(text, s->head.model_count, &s->spent, line, err) ||
           within_line(s, err);
}

void ig_sketch_close(struct ig_sketch *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    ig_arena_release(&s->kept);
    ig_arena_release(&s->spent);
    free(s->path);
    free(s->data);
    free(s);
}
