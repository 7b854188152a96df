/* SPDX-License-Identifier: Apache-2.0
 * adapter_scratch — OUT.factors: what was found of each tensor, until it is known which of them
 * have a place in the adapter. A model folder of the store's writer, so that a run that was killed
 * goes on with the tensors that are whole there, and says when something has changed since.
 *
 *     factors.safetensors: a tensor for each entry, of bytes
 *     | 0  magic, rank, changed, rank_90, rank_99                     int64
 *     | 40 |base|^2, |D|^2, |B A|^2, kept, effective, first and last sigma     double
 *     | 96 A, then B, as they will be in the adapter; zeros where the rank came out smaller
 *
 * It goes before OUT gets its name: when OUT is there, nothing beside it is unfinished. */
#include "merge/adapter/adapter_internal.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAGIC     0x316c746f676e69 /* "ingotl1" */
#define FILE_NAME "factors.safetensors"

struct record {
    int64_t magic, rank, changed, rank_90, rank_99;
    double first, energy, kept_energy, kept, effective, sigma_first, sigma_last;
};
_Static_assert(sizeof(struct record) == 96, "as it is drawn");

struct adapter_scratch {
    struct ig_buf path; /* OUT.factors */
    struct ig_buf origins;
    struct ig_tensor *tensors; /* one for each entry */
    struct ig_writer *writer;
    struct ig_store *store;
};

/* ---- what a run is made of ---- */

static void put_texts(struct ig_buf *out, const struct ig_adapter_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        ig_buf_char(out, ' ');
        ig_json_quote(out, ig_slice_of(texts->items[i]), false);
    }
}

static void put_text(struct ig_buf *out, const char *text)
{
    ig_buf_char(out, ' ');
    ig_json_quote(out, ig_slice_of(text ? text : ""), false);
}

bool adapter__put_origins(const struct ig_adapter *a, struct ig_buf *out, struct ig_err *err)
{
    const struct ig_adapter_job *job = &a->job;
    ig_buf_printf(out, "the set of options\trank %" PRId64 " %.17g %.17g %d %d %d %d", job->rank,
                  job->alpha, job->epsilon, job->together, job->embed, job->skip,
                  job->has_dtype ? (int)job->dtype : -1);
    put_text(out, job->include);
    put_text(out, job->exclude);
    put_text(out, job->save);
    put_texts(out, &job->include_regex);
    ig_buf_text(out, " not");
    put_texts(out, &job->exclude_regex);
    ig_buf_char(out, '\n');
    return merge__input_put_origins(a->in[ADAPTER_TUNED], out, err) &&
           merge__input_put_origins(a->in[ADAPTER_BASE], out, err) && ig_buf_ok(out, err);
}

/* ---- writing ---- */

static bool list_tensors(struct ig_adapter *a, struct adapter_scratch *s, struct ig_err *err)
{
    s->tensors = ig_arena_array(&a->arena, (size_t)a->count, sizeof *s->tensors);
    if (!s->tensors) return ig_err_nomem(err);
    for (int64_t i = 0; i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        struct ig_slice name = merge__name(&a->arena, "%lld %.*s", (long long)i,
                                           (int)e->tuned->name.len, e->tuned->name.ptr);
        int64_t bytes = (int64_t)(sizeof(struct record) + e->bytes);
        if (!name.ptr) return ig_err_nomem(err);
        s->tensors[i] = (struct ig_tensor){
            .name = name, .dtype = IG_U8, .rank = 1, .shape = {bytes}, .elems = bytes};
    }
    return true;
}

static bool open_writer(struct ig_adapter *a, bool removing, struct ig_err *err)
{
    struct adapter_scratch *s = a->scratch;
    const struct ig_writer_plan plan = {.out = s->path.data,
                                        .tensors = s->tensors,
                                        .count = a->count,
                                        .file = FILE_NAME,
                                        .total_parameters = -1,
                                        .origins = ig_buf_view(&s->origins),
                                        .resume = a->job.resume || removing,
                                        .keep_journal = !removing,
                                        .force = a->job.force && !removing};
    return ig_writer_open(&plan, &s->writer, err);
}

bool adapter__scratch_open(struct ig_adapter *a, struct ig_err *err)
{
    struct adapter_scratch *s = a->scratch = ig_arena_new(&a->arena, sizeof *s);
    if (!s) return ig_err_nomem(err);
    ig_buf_text(&s->path, a->job.out);
    while (s->path.len > 1 && s->path.data[s->path.len - 1] == '/')
        s->path.data[--s->path.len] = '\0';
    ig_buf_text(&s->path, ".factors");
    if (!ig_buf_ok(&s->path, err) || !adapter__put_origins(a, &s->origins, err) ||
        !list_tensors(a, s, err) || !open_writer(a, false, err))
        return false;
    for (int64_t i = 0; i < a->count; i++)
        a->entries[i].known = ig_writer_has(s->writer, i);
    return true;
}

bool adapter__scratch_put(struct ig_adapter *a, const struct adapter_entry *e, size_t at,
                          const void *data, size_t bytes, struct ig_err *err)
{
    return ig_writer_put(a->scratch->writer, e - a->entries, sizeof(struct record) + at, data,
                         bytes, err);
}

bool adapter__scratch_mark(struct ig_adapter *a, const struct adapter_entry *e, struct ig_err *err)
{
    const struct ig_adapter_row *row = &e->row;
    const struct record r = {MAGIC,        e->rank,        e->changed,       row->rank_90,
                             row->rank_99, e->first,       e->energy,        e->kept_energy,
                             row->kept,    row->effective, row->sigma_first, row->sigma_last};
    struct ig_writer *w = a->scratch->writer;
    return ig_writer_put(w, e - a->entries, 0, &r, sizeof r, err) &&
           ig_writer_mark(w, e - a->entries, err);
}

/* ---- reading ---- */

static bool load(struct ig_adapter *a, struct adapter_entry *e, struct ig_err *err)
{
    struct record r;
    const struct ig_store *store = a->scratch->store;
    const struct ig_tensor *t = ig_store_find(store, a->scratch->tensors[e - a->entries].name);
    if (!t || t->bytes != sizeof r + e->bytes || !ig_store_read(store, t, 0, sizeof r, &r, err) ||
        r.magic != MAGIC || r.rank < 0 || r.rank > e->rank)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' is not what a run of this left: start over with --force",
                          a->scratch->path.data);
    e->rank = r.rank;
    e->changed = r.changed;
    e->first = r.first;
    e->energy = r.energy;
    e->kept_energy = r.kept_energy;
    e->row = (struct ig_adapter_row){.kept = r.kept,
                                     .effective = r.effective,
                                     .rank_90 = r.rank_90,
                                     .rank_99 = r.rank_99,
                                     .sigma_first = r.sigma_first,
                                     .sigma_last = r.sigma_last};
    return true;
}

bool adapter__scratch_turn(struct ig_adapter *a, struct ig_err *err)
{
    struct adapter_scratch *s = a->scratch;
    char path[IG_PATH_MAX];
    if (!ig_writer_finish(s->writer, err)) return false;
    ig_writer_close(s->writer);
    s->writer = NULL;
    if (!ig_path_join(path, s->path.data, FILE_NAME, err) || !ig_store_open(path, &s->store, err))
        return false;
    for (int64_t i = 0; i < a->count; i++)
        if (a->entries[i].known && !load(a, &a->entries[i], err)) return false;
    return true;
}

bool adapter__scratch_read(const struct ig_adapter *a, const struct adapter_entry *e, size_t at,
                           void *to, size_t bytes, struct ig_err *err)
{
    const struct adapter_scratch *s = a->scratch;
    const struct ig_tensor *t = ig_store_find(s->store, s->tensors[e - a->entries].name);
    return ig_store_read(s->store, t, sizeof(struct record) + at, bytes, to, err);
}

bool adapter__scratch_remove(struct ig_adapter *a, struct ig_err *err)
{
    struct adapter_scratch *s = a->scratch;
    ig_store_close(s->store);
    s->store = NULL;
    return open_writer(a, true, err) && ig_writer_discard(s->writer, err);
}

void adapter__scratch_close(struct ig_adapter *a)
{
    struct adapter_scratch *s = a->scratch;
    if (!s) return;
    ig_writer_close(s->writer);
    ig_store_close(s->store);
    ig_buf_release(&s->origins);
    ig_buf_release(&s->path);
}
