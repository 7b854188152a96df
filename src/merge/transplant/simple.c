/* SPDX-License-Identifier: Apache-2.0
 * simple — rows for new tokens that need nothing of the donor but their names.
 *
 *     subword   of the model's tokens that the text of the new one is split into
 *     mean      of all of the model's rows      zero      randn: standard normal numbers
 *
 * weighted_mean follows mergekit's numbers: for the embedding the first part weighs most, for the
 * head the last one. */
#include "merge/transplant/graft.h"

#include <math.h>
#include <stdlib.h>

/* Box and Muller's. */
double transplant__normal(uint64_t stream, uint64_t at)
{
    double a = ((double)merge__random_at(stream, 2 * at) + 1) * 0x1p-32;
    double b = (double)merge__random_at(stream, 2 * at + 1) * 0x1p-32;
    return sqrt(-2 * log(a)) * cos(2 * 3.14159265358979323846 * b);
}

bool transplant__needs_donor(const struct recipe_transplant *ask)
{
    return ask->approximation == APPROX_OMP || ask->approximation == APPROX_INTERPOLATION;
}

/* ---- mean ---- */

bool transplant__simple_open(struct graft *g, struct ig_err *err)
{
    int64_t rows = g->own->shape[0];
    if (g->t->ask->approximation != APPROX_MEAN || g->mean) return true;
    float *mean = ig_arena_array(&g->t->arena, (size_t)g->width, sizeof *mean);
    double *sum = calloc((size_t)g->width, sizeof *sum);
    float *row = calloc((size_t)g->width, sizeof *row);
    bool ok = (mean && sum && row) || ig_err_nomem(err);
    for (int64_t r = 0; ok && r < rows; r++) {
        ok = merge__input_read_f32(g->model, g->own, r * g->width, g->width, row, err);
        for (int64_t i = 0; ok && i < g->width; i++)
            sum[i] += (double)row[i];
    }
    for (int64_t i = 0; ok && i < g->width; i++)
        mean[i] = (float)(sum[i] / (double)rows);
    if (ok) g->mean = mean;
    free(sum);
    free(row);
    return ok;
}

/* ---- subword ---- */

/* Bytes that are no text by themselves: the tokens of the single bytes. */
static bool split_bytes(const struct graft *g, struct ig_slice text, int32_t *ids, size_t *count)
{
    for (size_t i = 0; i < text.len; i++) {
        const char key[2] = {'t', text.ptr[i]};
        ids[i] = transplant__same(&g->t->model, ig_slice_make(key, 2), g->own->shape[0]);
        if (ids[i] < 0) return false;
    }
    *count = text.len;
    return true;
}

static bool split(const struct graft *g, struct ig_slice key, struct ig_ids *ids,
                  struct ig_err *err)
{
    struct ig_buf text = {0};
    bool whole = transplant__text(key, &text), done = false;
    bool ok = ig_buf_ok(&text, err);
    if (ok && !whole && key.ptr[0] == 't') {
        ids->items = malloc((text.len + 1) * sizeof *ids->items);
        ids->cap = text.len + 1;
        ok = ids->items || ig_err_nomem(err);
        done = ok && split_bytes(g, ig_buf_view(&text), ids->items, &ids->count);
        if (ok && !done) ids->count = 0;
    }
    if (ok && !done) ok = ig_tokenizer_encode(g->t->tokenizer, ig_buf_view(&text), false, ids, err);
    ig_buf_release(&text);
    return ok;
}

static double weight_of(const struct graft *g, size_t i, size_t count)
{
    switch (g->t->ask->subword) {
    case SUBWORD_MEAN: return 1 / (double)count;
    case SUBWORD_SUM: return 1;
    case SUBWORD_WEIGHTED:
        return (double)(g->head ? i + 1 : count - i) / ((double)count * (double)(count + 1) / 2);
    default: return i == (g->head ? 0 : count - 1);
    }
}

static bool add_subwords(const struct graft *g, const struct ig_ids *ids, float *row, double *sum,
                         struct ig_err *err)
{
    memset(sum, 0, (size_t)g->width * sizeof *sum);
    for (size_t i = 0; i < ids->count; i++) {
        double weight = weight_of(g, i, ids->count);
        if (ids->items[i] >= g->own->shape[0]) continue;
        if (!merge__input_read_f32(g->model, g->own, ids->items[i] * g->width, g->width, row, err))
            return false;
        for (int64_t j = 0; j < g->width; j++)
            sum[j] += weight * (double)row[j];
    }
    return true;
}

static bool put_subwords(const struct graft *g, int64_t token, float *row, double *sum, float *to,
                         struct ig_err *err)
{
    struct ig_ids ids = {0};
    bool ok = split(g, g->fresh[token].key, &ids, err) && add_subwords(g, &ids, row, sum, err);
    for (int64_t j = 0; ok && j < g->width; j++)
        to[j] = (float)sum[j];
    ig_ids_release(&ids);
    return ok;
}

static bool put_all_subwords(const struct graft *g, int64_t first, int count, float *to,
                             struct ig_err *err)
{
    float *row = calloc((size_t)g->width, sizeof *row);
    double *sum = calloc((size_t)g->width, sizeof *sum);
    bool ok = (row && sum) || ig_err_nomem(err);
    for (int t = 0; ok && t < count; t++)
        ok = put_subwords(g, first + t, row, sum, to + t * g->width, err);
    free(row);
    free(sum);
    return ok;
}

/* ---- all ---- */

bool transplant__simple(struct graft *g, int64_t first, int count, float *to, struct ig_err *err)
{
    if (g->t->ask->approximation == APPROX_SUBWORD)
        return put_all_subwords(g, first, count, to, err);
    for (int t = 0; t < count; t++) {
        float *row = to + t * g->width;
        uint64_t at = (uint64_t)(g->fresh[first + t].id * g->width);
        for (int64_t i = 0; i < g->width; i++) {
            row[i] = 0;
            if (g->t->ask->approximation == APPROX_MEAN) row[i] = g->mean[i];
            if (g->t->ask->approximation == APPROX_RANDN)
                row[i] = (float)transplant__normal(g->stream, at + (uint64_t)i);
        }
    }
    return true;
}
