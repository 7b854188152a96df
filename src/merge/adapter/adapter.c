/* SPDX-License-Identifier: Apache-2.0
 * adapter — the steps of an extraction, and what there is to tell of it. */
#include "merge/adapter/adapter_internal.h"

#include "base/clock.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>

#define RANK 128 /* mergekit's */

bool adapter__advance(struct ig_adapter *a, int64_t items, int64_t bytes, struct ig_err *err)
{
    bool go = true;
    pthread_mutex_lock(&a->lock);
    a->progress.items_done += items;
    a->progress.bytes_done += bytes;
    if (a->watch && a->watch->progress) go = a->watch->progress(a->watch->user, &a->progress);
    pthread_mutex_unlock(&a->lock);
    return go || ig_err_set(err, IG_ERR_CANCELLED, "stopped");
}

/* ---- what there is to tell ---- */

static enum ig_adapter_kind kind_of(const struct adapter_entry *e)
{
    if (e->part == ADAPTER_NONE) return IG_ADAPTER_LEFT;
    if (!e->kept) return IG_ADAPTER_EQUAL;
    return e->part == ADAPTER_FACTORS ? IG_ADAPTER_LORA : IG_ADAPTER_SAVED;
}

static bool make_rows(struct ig_adapter *a, struct ig_err *err)
{
    a->rows = ig_arena_array(&a->arena, (size_t)a->count, sizeof *a->rows);
    if (!a->rows) return ig_err_nomem(err);
    for (int64_t i = 0; i < a->count; i++) {
        struct adapter_entry *e = &a->entries[i];
        struct ig_adapter_row row = e->row;
        if (e->part == ADAPTER_NONE && !e->changed) continue;
        row.module = e->module;
        if (e->part == ADAPTER_NONE || ig_slice_is(e->tail, ".bias")) row.module = e->tuned->name;
        row.kind = kind_of(e);
        row.rows = e->tuned->rank > 0 ? e->tuned->shape[0] : 1;
        row.cols = row.rows ? e->tuned->elems / row.rows : 0;
        row.rank = e->part == ADAPTER_FACTORS ? e->rank : 0;
        row.relative = e->first > 0 ? sqrt(e->energy / e->first) : e->changed ? 1 : 0;
        if (row.kind == IG_ADAPTER_LEFT)
            ig_watch_warn(a->watch,
                          "'" IG_SLICE_FMT "' differs from the base's and has no place in an "
                          "adapter: it is left out",
                          IG_SLICE_ARG(row.module));
        if (row.kind == IG_ADAPTER_SAVED && e->base && e->tuned->rank == 2 && e->base->rank == 2 &&
            e->tuned->shape[0] != e->base->shape[0])
            ig_watch_warn(a->watch,
                          "'" IG_SLICE_FMT "' has %lld rows, %lld in the base: PEFT needs "
                          "model.resize_token_embeddings(%lld) before it loads the adapter",
                          IG_SLICE_ARG(row.module), (long long)e->tuned->shape[0],
                          (long long)e->base->shape[0], (long long)e->tuned->shape[0]);
        a->rows[a->row_count++] = row;
    }
    return true;
}

static const char *kind_name(enum ig_adapter_kind kind)
{
    static const char *const names[] = {"lora", "saved", "equal", "left"};
    return names[kind];
}

void adapter__put_rows(const struct ig_adapter *a, struct ig_json_writer *w)
{
    ig_json_open(w, '[');
    for (int64_t i = 0; i < a->row_count; i++) {
        const struct ig_adapter_row *r = &a->rows[i];
        ig_json_open(w, '{');
        ig_json_key(w, "module");
        ig_json_put_text(w, r->module);
        ig_json_add_text(w, "kind", kind_name(r->kind));
        if (!a->job.plan_only) ig_json_add_real(w, "relative", r->relative);
        if (r->kind == IG_ADAPTER_LORA) {
            ig_json_key(w, "shape");
            ig_json_open(w, '[');
            ig_json_put_int(w, r->rows);
            ig_json_put_int(w, r->cols);
            ig_json_close(w, ']');
            ig_json_add_int(w, "rank", r->rank);
        }
        if (r->kind == IG_ADAPTER_LORA && !a->job.plan_only) {
            ig_json_add_real(w, "kept", r->kept);
            ig_json_add_real(w, "effective_rank", r->effective);
            ig_json_add_int(w, "rank_90", r->rank_90);
            ig_json_add_int(w, "rank_99", r->rank_99);
            ig_json_add_real(w, "sigma_first", r->sigma_first);
            ig_json_add_real(w, "sigma_last", r->sigma_last);
        }
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

bool ig_adapter_describe(const struct ig_adapter *a, struct ig_buf *out, struct ig_err *err)
{
    struct ig_json_writer w = {.out = out};
    ig_json_open(&w, '{');
    ig_json_key(&w, "output");
    ig_json_put_text(&w, ig_slice_of(a->job.out));
    ig_json_add_int(&w, "rank", a->rank);
    ig_json_add_real(&w, "alpha", (double)a->rank * a->scale);
    if (!a->job.plan_only) ig_json_add_real(&w, "kept", ig_adapter_kept(a));
    ig_json_add_int(&w, a->job.plan_only ? "output_bytes_max" : "output_bytes", (int64_t)a->bytes);
    ig_json_add_real(&w, "seconds", a->seconds);
    ig_json_add_int(&w, "peak_bytes", (int64_t)ig_peak_bytes());
    ig_json_key(&w, "modules");
    adapter__put_rows(a, &w);
    ig_json_close(&w, '}');
    return ig_buf_ok(out, err);
}

const struct ig_adapter_row *ig_adapter_rows(const struct ig_adapter *adapter, int64_t *count)
{
    *count = adapter->row_count;
    return adapter->rows;
}

double ig_adapter_kept(const struct ig_adapter *adapter)
{
    double kept = 0, all = 0;
    for (int64_t i = 0; i < adapter->count; i++) {
        if (adapter->entries[i].part != ADAPTER_FACTORS) continue;
        kept += adapter->entries[i].kept_energy;
        all += adapter->entries[i].energy;
    }
    return all > 0 ? kept / all : 1;
}

uint64_t ig_adapter_bytes(const struct ig_adapter *adapter)
{
    return adapter->bytes;
}

/* ---- the steps ---- */

static bool extract(struct ig_adapter *a, struct ig_err *err)
{
    double start = ig_clock_seconds();
    a->job.dry_run = a->job.dry_run || a->job.plan_only;
    if (!a->job.dry_run && !a->job.force && ig_path_exists(a->job.out) &&
        !(a->job.resume && ig_writer_left(a->job.out)))
        return ig_err_set(err, IG_ERR_USAGE, "'%s' exists already; --force replaces it",
                          a->job.out);
    if (!adapter__plan(a, err)) return false;
    a->progress = (struct ig_progress){.phase = "extract", .items_total = a->count};
    for (int64_t i = 0; i < a->count; i++)
        a->progress.bytes_total += (int64_t)a->entries[i].tuned->bytes;
    if (!a->job.dry_run && !adapter__scratch_open(a, err)) return false;
    if (a->job.plan_only) adapter__expect(a);
    if (a->job.plan_only) return make_rows(a, err);
    if (!adapter__factor(a, err) || !adapter__choose(a, err) || !make_rows(a, err) ||
        (!a->job.dry_run && !adapter__write(a, err)))
        return false;
    a->seconds = ig_clock_seconds() - start;
    return true;
}

bool ig_adapter_extract(const struct ig_adapter_job *job, const struct ig_watch *watch,
                        struct ig_adapter **out, struct ig_err *err)
{
    struct ig_adapter *a = calloc(1, sizeof *a);
    if (!a) return ig_err_nomem(err);
    a->job = *job;
    a->watch = watch;
    if (a->job.rank == 0) a->job.rank = RANK;
    a->scale = job->alpha > 0 ? job->alpha / (double)a->job.rank : 1;
    pthread_mutex_init(&a->lock, NULL);
    if (!extract(a, err)) {
        ig_adapter_close(a);
        return false;
    }
    *out = a;
    return true;
}

void ig_adapter_close(struct ig_adapter *a)
{
    if (!a) return;
    adapter__scratch_close(a);
    adapter__select_close(a);
    if (a->models) ig_merge_close(a->models);
    ig_recipe_free(a->recipe);
    ig_arena_release(&a->arena);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
