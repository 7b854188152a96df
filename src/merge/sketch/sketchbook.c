/* SPDX-License-Identifier: Apache-2.0
 * sketchbook — one JSON line for each tensor (docs/formats/sketchbook.md).
 *
 * Tensors finish in any order, so lines go to a working file in the partial folder first, each with
 * the tensor's number before it; an interrupted run finds them there. At the end they are put in
 * order: the same bytes whatever the threads. A line is written before the tensor is journalled. */
#include "merge/merge_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SKETCH_BYTES_MAX ((size_t)4 << 30)
#define WORKING_NAME     "sketchbook.partial"

void merge__put_reals(struct ig_json_writer *w, const char *key, const double *values, int count)
{
    ig_json_key(w, key);
    ig_json_open(w, '[');
    for (int i = 0; i < count; i++)
        ig_json_put_real(w, values[i]);
    ig_json_close(w, ']');
}

struct merge_sketch {
    const struct ig_merge *m;
    pthread_mutex_t lock;
    char folder[IG_PATH_MAX], path[IG_PATH_MAX];
    int fd;
    uint64_t end; /* of the whole lines */
    bool *has;
};

/* "123 {...}\n": the number, and the line without it. False when nothing whole is left. */
static bool next_line(struct ig_slice text, int64_t count, int64_t *index, struct ig_slice *line,
                      size_t *whole)
{
    const char *end = memchr(text.ptr, '\n', text.len);
    if (!end) return false;
    size_t at = 0, n = (size_t)(end - text.ptr);
    int64_t value = 0;
    while (at < n && text.ptr[at] >= '0' && text.ptr[at] <= '9' && value < count)
        value = value * 10 + (text.ptr[at++] - '0');
    if (at == 0 || at == n || text.ptr[at] != ' ' || value >= count) return false;
    *index = value;
    *line = ig_slice_make(text.ptr + at + 1, n - at); /* with the newline */
    *whole = n + 1;
    return true;
}

/* Each rank has a file of its own. */
static bool rank_path(const struct merge_sketch *s, int rank, char out[IG_PATH_MAX],
                      struct ig_err *err)
{
    char name[sizeof WORKING_NAME + 16] = WORKING_NAME;
    if (rank) snprintf(name, sizeof name, WORKING_NAME ".%d", rank);
    return ig_path_join(out, s->folder, name, err);
}

/* The whole lines of a rank's file, if it has one. lines: NULL, or where to note them; they lie in
 * text. */
static bool read_lines(struct merge_sketch *s, int rank, struct ig_buf *text,
                       struct ig_slice *lines, size_t *end, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_slice line, rest;
    size_t whole;
    int64_t index;
    *end = 0;
    if (!rank_path(s, rank, path, err)) return false;
    if (!ig_path_exists(path)) return true;
    if (!ig_file_read(path, SKETCH_BYTES_MAX, text, err)) return false;
    rest = ig_buf_view(text);
    while (next_line(rest, s->m->count, &index, &line, &whole)) {
        s->has[index] = true;
        if (lines) lines[index] = line;
        *end += whole;
        rest = ig_slice_make(rest.ptr + whole, rest.len - whole);
    }
    return true;
}

/* What earlier runs, of any number of ranks, have left; this rank goes on behind its own lines. */
static bool go_on(struct merge_sketch *s, struct ig_err *err)
{
    int own = ig_dist_rank(s->m->job.dist);
    bool ok = true;
    for (int rank = 0; ok && rank < IG_RANKS_MAX; rank++) {
        struct ig_buf text = {.len_max = SKETCH_BYTES_MAX};
        size_t end;
        ok = read_lines(s, rank, &text, NULL, &end, err);
        if (rank == own) s->end = end;
        ig_buf_release(&text);
    }
    return ok;
}

bool merge__sketch_open(const struct ig_merge *m, struct merge_sketch **out, struct ig_err *err)
{
    const char *output = merge__unfinished_output(m);
    *out = NULL;
    if (!output) return true;
    struct merge_sketch *s = calloc(1, sizeof *s);
    if (!s) return ig_err_nomem(err);
    s->m = m;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->has = calloc((size_t)m->count, sizeof *s->has);
    bool ok = s->has || ig_err_nomem(err);
    if (ok && snprintf(s->folder, sizeof s->folder, "%s.partial", output) >= (int)sizeof s->folder)
        ok = ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", output);
    ok = ok && rank_path(s, ig_dist_rank(m->job.dist), s->path, err) && go_on(s, err);
    if (ok) {
        s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (s->fd < 0) ok = ig_err_errno(err, errno, "cannot create '%s'", s->path);
    }
    if (!ok) {
        merge__sketch_close(s);
        return false;
    }
    *out = s;
    return true;
}

void merge__sketch_close(struct merge_sketch *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->has);
    free(s);
}

bool merge__sketch_has(const struct merge_sketch *s, int64_t index)
{
    return s->has[index];
}

static void write_line(const struct merge_sketch *s, int64_t index, const void *state,
                       struct ig_buf *out)
{
    const struct merge_task *task = &s->m->tasks[index];
    const struct ig_tensor *t = task->job.tensor;
    const struct merge_method *method = s->m->recipe->method;
    struct ig_json_writer w = {.out = out};
    ig_json_open(&w, '{');
    ig_json_key(&w, "tensor");
    ig_json_put_text(&w, t->name);
    ig_json_key(&w, "shape");
    ig_json_open(&w, '[');
    for (int d = 0; d < t->rank; d++)
        ig_json_put_int(&w, t->shape[d]);
    ig_json_close(&w, ']');
    ig_json_key(&w, "role");
    ig_json_put_text(&w, ig_slice_of(ig_role_name(task->job.place.role)));
    ig_json_key(&w, "layer");
    if (task->job.place.layer >= 0)
        ig_json_put_int(&w, task->job.place.layer);
    else
        ig_json_put_null(&w);
    if (task->action == MERGE_TWIN) {
        ig_json_key(&w, "copy_of");
        ig_json_put_text(&w, s->m->tensors[task->twin].name);
    } else if (!state) {
        ig_json_key(&w, "copied");
        ig_json_put_text(&w, s->m->recipe->models[task->models[task->source]].path);
    } else if (method->trace) {
        method->trace(&task->job, state, &w);
    }
    const struct merge_task *own = task->action == MERGE_TWIN ? &s->m->tasks[task->twin] : task;
    for (int i = 0; i < own->target_count; i++) {
        if (own->targets[i].index != index || own->targets[i].scale == 1) continue;
        ig_json_key(&w, "expand_scale");
        ig_json_put_real(&w, (double)own->targets[i].scale);
    }
    ig_json_close(&w, '}');
}

bool merge__sketch_add(struct merge_sketch *s, int64_t index, const void *state, struct ig_err *err)
{
    struct ig_buf line = {0};
    ig_buf_printf(&line, "%lld ", (long long)index);
    write_line(s, index, state, &line);
    ig_buf_char(&line, '\n');
    bool ok = ig_buf_ok(&line, err);
    pthread_mutex_lock(&s->lock);
    ok = ok && ig_file_pwrite(s->fd, s->path, s->end, line.data, line.len, err);
    if (ok) {
        s->end += line.len;
        s->has[index] = true;
    }
    pthread_mutex_unlock(&s->lock);
    ig_buf_release(&line);
    return ok;
}

bool merge__sketch_sync(const struct merge_sketch *s, struct ig_err *err)
{
    return fsync(s->fd) == 0 || ig_err_errno(err, errno, "cannot write '%s'", s->path);
}

static bool remove_files(const struct merge_sketch *s, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    for (int rank = 0; rank < IG_RANKS_MAX; rank++) {
        if (!rank_path(s, rank, path, err)) return false;
        if (unlink(path) != 0 && errno != ENOENT)
            return ig_err_errno(err, errno, "cannot remove '%s'", path);
    }
    return true;
}

bool merge__sketch_take(struct merge_sketch *s, struct ig_buf *out, struct ig_err *err)
{
    struct ig_buf *texts = calloc(IG_RANKS_MAX, sizeof *texts);
    struct ig_slice *lines = calloc((size_t)s->m->count + 1, sizeof *lines);
    size_t end;
    bool ok = (texts && lines) || ig_err_nomem(err);
    for (int rank = 0; ok && rank < IG_RANKS_MAX; rank++) {
        texts[rank].len_max = SKETCH_BYTES_MAX;
        ok = read_lines(s, rank, &texts[rank], lines, &end, err);
    }
    if (ok) {
        merge__write_sketch_head(s->m, out);
        for (int64_t i = 0; i < s->m->count; i++)
            ig_buf_slice(out, lines[i]);
        ok = ig_buf_ok(out, err) && remove_files(s, err);
    }
    for (int rank = 0; texts && rank < IG_RANKS_MAX; rank++)
        ig_buf_release(&texts[rank]);
    free(lines);
    free(texts);
    return ok;
}
