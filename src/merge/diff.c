/* SPDX-License-Identifier: Apache-2.0
 * diff — two models, tensor by tensor: how far apart, in which direction, where most. Folders may
 * be quantised, float8 or have a LoRA on them; experts are compared one by one, in whatever layout
 * they are stored. */
#include "merge/merge_internal.h"

#include "base/thread.h"

#include <math.h>
#include <stdlib.h>

#define PART 65536 /* elements that are compared at once */

struct ig_diff {
    struct ig_arena arena;
    struct ig_recipe *recipes[2];
    struct ig_merge *sides[2];
    struct ig_diff_row *rows;
    const struct ig_tensor *(*pairs)[2];
    int64_t count;
    float **parts; /* two for each thread */
    int threads;
};

static bool open_side(struct ig_diff *d, int side, const char *path, const struct ig_watch *watch,
                      struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_merge *m = d->sides[side] = calloc(1, sizeof *m);
    ig_buf_text(&text, "merge_method: passthrough\nexperts: single\nmodels:\n  - model: ");
    ig_json_quote(&text, ig_slice_of(path), false);
    bool ok = (m || ig_err_nomem(err)) && ig_buf_ok(&text, err) &&
              ig_recipe_parse(ig_buf_view(&text), "diff", &d->recipes[side], err);
    ig_buf_release(&text);
    if (!ok) return false;
    d->recipes[side]->made = true;
    m->recipe = d->recipes[side];
    return merge__inputs_open(m, watch, err);
}

/* ".language_model." is taken out, as when models are merged. */
static bool add_side(struct ig_diff *d, int side, struct ig_map *seen, struct ig_err *err)
{
    const struct merge_input *in = &d->sides[side]->inputs[0];
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_slice key = merge__key(&d->arena, in->tensors[i]->name);
        if (!key.ptr) return ig_err_nomem(err);
        int64_t at = ig_map_get(seen, key, -1);
        if (at < 0) {
            at = d->count++;
            if (!ig_map_put(seen, key, at, err)) return false;
            d->rows[at].name = in->tensors[i]->name;
        }
        d->pairs[at][side] = in->tensors[i];
    }
    return true;
}

static int in_order(const void *a, const void *b)
{
    const struct ig_tensor *const *x = a, *const *y = b;
    return ig_arch_compare(ig_arch_find(NULL), x[0] ? x[0]->name : x[1]->name,
                           y[0] ? y[0]->name : y[1]->name);
}

static bool pair_up(struct ig_diff *d, struct ig_err *err)
{
    struct ig_map seen = {0};
    size_t room = (size_t)(d->sides[0]->inputs[0].count + d->sides[1]->inputs[0].count);
    d->rows = ig_arena_array(&d->arena, room, sizeof *d->rows);
    d->pairs = ig_arena_array(&d->arena, room, sizeof *d->pairs);
    bool ok = (d->rows && d->pairs) || ig_err_nomem(err);
    ok = ok && add_side(d, 0, &seen, err) && add_side(d, 1, &seen, err);
    ig_map_release(&seen);
    if (ok && d->count) qsort(d->pairs, (size_t)d->count, sizeof *d->pairs, in_order);
    for (int64_t i = 0; ok && i < d->count; i++)
        d->rows[i].name = d->pairs[i][0] ? d->pairs[i][0]->name : d->pairs[i][1]->name;
    return ok;
}

struct sums {
    double apart, first, second, both, most;
    bool equal;
};

static void add_part(struct sums *s, const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double x = (double)a[i], y = (double)b[i], gap = fabs(x - y);
        s->apart += gap * gap;
        s->first += x * x;
        s->second += y * y;
        s->both += x * y;
        s->most = fmax(s->most, gap);
    }
    s->equal = s->equal && memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static bool compare_pair(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct ig_diff *d = user;
    const struct ig_tensor *a = d->pairs[index][0], *b = d->pairs[index][1];
    struct ig_diff_row *row = &d->rows[index];
    struct sums s = {.equal = true};
    row->only = !b ? 'a' : !a ? 'b' : '\0';
    row->reshaped = a && b && a->rank != b->rank;
    for (int i = 0; a && b && !row->reshaped && i < a->rank; i++)
        row->reshaped = a->shape[i] != b->shape[i];
    if (row->only || row->reshaped) return true;
    row->elems = a->elems;
    for (int64_t at = 0; at < a->elems; at += PART) {
        int64_t n = a->elems - at < PART ? a->elems - at : PART;
        float *x = d->parts[2 * thread], *y = d->parts[2 * thread + 1];
        if (!merge__input_read_f32(&d->sides[0]->inputs[0], a, at, n, x, err) ||
            !merge__input_read_f32(&d->sides[1]->inputs[0], b, at, n, y, err))
            return ig_err_within(err, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(row->name));
        add_part(&s, x, y, n);
    }
    row->equal = s.equal;
    row->cosine = 1;
    if (s.equal) return true; /* NaNs too */
    row->max_abs = s.most;
    row->relative_l2 = s.apart == 0 ? 0 : s.first == 0 ? (double)INFINITY : sqrt(s.apart / s.first);
    bool nothing = s.first == 0 && s.second == 0, one = s.first == 0 || s.second == 0;
    row->cosine = nothing ? 1 : one ? 0 : s.both / (sqrt(s.first) * sqrt(s.second));
    if (isnan(s.apart)) row->max_abs = row->relative_l2 = row->cosine = (double)NAN; /* no sign */
    return true;
}

bool ig_diff_open(const char *a, const char *b, int threads, const struct ig_watch *watch,
                  struct ig_diff **out, struct ig_err *err)
{
    struct ig_pool *pool = NULL;
    struct ig_diff *d = calloc(1, sizeof *d);
    if (!d) return ig_err_nomem(err);
    d->threads = threads > 0 ? threads : ig_core_count();
    bool ok = open_side(d, 0, a, watch, err) && open_side(d, 1, b, watch, err) && pair_up(d, err);
    if (ok) {
        d->parts = calloc(2 * (size_t)d->threads, sizeof *d->parts);
        ok = d->parts || ig_err_nomem(err);
    }
    for (int i = 0; ok && i < 2 * d->threads; i++) {
        d->parts[i] = malloc(PART * sizeof(float));
        ok = d->parts[i] || ig_err_nomem(err);
    }
    if (ok) pool = ig_pool_new(d->threads, err);
    ok = ok && pool && ig_pool_each(pool, d->count, compare_pair, d, err);
    ig_pool_free(pool);
    if (!ok) {
        ig_diff_close(d);
        return false;
    }
    *out = d;
    return true;
}

const struct ig_diff_row *ig_diff_rows(const struct ig_diff *diff, int64_t *count)
{
    *count = diff->count;
    return diff->rows;
}

void ig_diff_close(struct ig_diff *d)
{
    if (!d) return;
    for (int i = 0; i < 2; i++) {
        ig_merge_close(d->sides[i]);
        ig_recipe_free(d->recipes[i]);
    }
    for (int i = 0; d->parts && i < 2 * d->threads; i++)
        free(d->parts[i]);
    free(d->parts);
    ig_arena_release(&d->arena);
    free(d);
}
