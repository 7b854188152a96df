/* SPDX-License-Identifier: Apache-2.0
 * align — embeddings and heads with the rows of the output's vocabulary, as views.
 *
 * A model's row of token T is its own row where it has the token (and the recipe does not force
 * another); else the token's default: what the recipe lists, the only owner's row, zeros where
 * nobody has it, the base's row, the mean of those that have it. Rows past the vocabulary are the
 * mean row. Rows are gathered as they are read. */
#include "merge/vocabulary/tokens.h"

#include <stdlib.h>

struct aligned {
    struct merge_alignment *a;
    int model;                                    /* whose view it is */
    const struct ig_tensor *of[MERGE_MODELS_MAX]; /* by model; NULL: it has none */
    const struct token_row *defaults;             /* one for each row of the output */
    const float *mean;                            /* or NULL: no rows past the vocabulary */
    int64_t width;
};

/* Where a row of the view is from. */
static struct token_row row_of(const struct aligned *v, int64_t row)
{
    const struct merge_alignment *a = v->a;
    int32_t own = row < a->used ? a->own[v->model][row] : -1;
    if (row >= a->used) return (struct token_row){.kind = TOKEN_ROW_MEAN};
    if (own >= 0 && !a->forced[row])
        return (struct token_row){.kind = TOKEN_ROW_MODEL, .model = v->model, .row = own};
    return v->defaults[row];
}

static bool read_part(const struct aligned *v, int model, int64_t row, int64_t at, int64_t count,
                      float *to, struct ig_err *err)
{
    return merge__input_read_f32(&v->a->inputs[model], v->of[model], row * v->width + at, count, to,
                                 err);
}

/* The mean of the models that have the token. */
static bool read_average(const struct aligned *v, int64_t row, int64_t at, int64_t count, float *to,
                         struct ig_err *err)
{
    float part[MERGE_VIEW_PART / 4];
    int owners = 0;
    memset(to, 0, (size_t)count * sizeof *to);
    for (int k = 0; k < v->a->models; k++) {
        int32_t own = v->of[k] ? v->a->own[k][row] : -1;
        if (own < 0) continue;
        owners++;
        for (int64_t i = 0; i < count; i += MERGE_VIEW_PART / 4) {
            int64_t n = count - i < MERGE_VIEW_PART / 4 ? count - i : MERGE_VIEW_PART / 4;
            if (!read_part(v, k, own, at + i, n, part, err)) return false;
            for (int64_t j = 0; j < n; j++)
                to[i + j] += part[j];
        }
    }
    for (int64_t i = 0; owners && i < count; i++)
        to[i] /= (float)owners;
    return true;
}

/* How many rows from here on follow each other in the same model. */
static int64_t run_of(const struct aligned *v, int64_t row, struct token_row first, int64_t most)
{
    int64_t n = 1;
    for (; n < most; n++) {
        struct token_row next = row_of(v, row + n);
        if (next.kind != TOKEN_ROW_MODEL || next.model != first.model || next.row != first.row + n)
            break;
    }
    return n;
}

static bool read_aligned(const struct merge_input *in, const struct merge_view *view, int64_t first,
                         int64_t count, void *to, struct ig_err *err)
{
    (void)in;
    const struct aligned *v = view->own;
    float *out = to;
    bool ok = true;
    while (ok && count > 0) {
        int64_t row = first / v->width, at = first % v->width, n = v->width - at;
        struct token_row from = row_of(v, row);
        if (at == 0 && count >= v->width && from.kind == TOKEN_ROW_MODEL)
            n = v->width * run_of(v, row, from, count / v->width);
        if (n > count) n = count;
        if (from.kind == TOKEN_ROW_MODEL)
            ok = read_part(v, from.model, from.row, at, n, out, err);
        else if (from.kind == TOKEN_ROW_AVERAGE)
            ok = read_average(v, row, at, n, out, err);
        else if (from.kind == TOKEN_ROW_MEAN && v->mean)
            memcpy(out, v->mean + at, (size_t)n * sizeof *out);
        else
            memset(out, 0, (size_t)n * sizeof *out);
        out += n;
        first += n;
        count -= n;
    }
    return ok;
}

/* ---- defaults ---- */

static bool fail_token(const struct merge_alignment *a, int64_t row, const char *why,
                       struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_DATA, "tokenizer: token '" IG_SLICE_FMT "' %s",
                      IG_SLICE_ARG(a->tokens[row]), why);
}

static bool listed_row(const struct merge_alignment *a, const struct aligned *v, int64_t row,
                       struct token_row *out, struct ig_err *err)
{
    struct token_row listed = a->listed[row];
    *out = listed;
    if (listed.kind != TOKEN_ROW_MODEL) return true;
    if (!v->of[listed.model])
        return fail_token(a, row, "is to come from a model that lacks the tensor", err);
    if (listed.row < 0) out->row = a->own[listed.model][row];
    if (out->row >= 0 && out->row < v->of[listed.model]->shape[0]) return true;
    return fail_token(a, row, "is to come from a model that does not have it", err);
}

static bool default_row(const struct merge_alignment *a, const struct aligned *v, int64_t row,
                        struct token_row *out, struct ig_err *err)
{
    int owners = 0, owner = -1;
    if (a->listed[row].kind != TOKEN_ROW_NONE) return listed_row(a, v, row, out, err);
    for (int k = 0; k < a->models; k++) {
        if (!v->of[k] || a->own[k][row] < 0) continue;
        if (!owners++ || k == a->base) owner = k;
    }
    *out = (struct token_row){.kind = TOKEN_ROW_ZERO};
    if (owners == 0) return true;
    bool base = a->base >= 0 && v->of[a->base] && a->own[a->base][row] >= 0;
    if (owners > 1 && !base)
        out->kind = TOKEN_ROW_AVERAGE;
    else
        *out =
            (struct token_row){.kind = TOKEN_ROW_MODEL, .model = owner, .row = a->own[owner][row]};
    return true;
}

/* Ids that a model's tensor has no row for. */
static bool check_rows(const struct merge_alignment *a, const struct aligned *v, struct ig_err *err)
{
    for (int k = 0; k < a->models; k++)
        for (int64_t row = 0; v->of[k] && row < a->used; row++)
            if (a->own[k][row] >= v->of[k]->shape[0])
                return ig_err_set(err, IG_ERR_DATA,
                                  "tokenizer: token '" IG_SLICE_FMT "' has id %d in '%s', whose "
                                  "'" IG_SLICE_FMT "' has %lld rows",
                                  IG_SLICE_ARG(a->tokens[row]), a->own[k][row],
                                  ig_store_path(a->inputs[k].store), IG_SLICE_ARG(v->of[k]->name),
                                  (long long)v->of[k]->shape[0]);
    return true;
}

/* The mean of the rows of the vocabulary, in f64. */
static bool take_mean(struct ig_merge *m, const struct merge_view *view, struct aligned *v,
                      struct ig_err *err)
{
    float *mean = ig_arena_array(&m->arena, (size_t)v->width, sizeof *mean);
    double *sum = calloc((size_t)v->width + 1, sizeof *sum);
    float *row = calloc((size_t)v->width + 1, sizeof *row);
    bool ok = (mean && sum && row) || ig_err_nomem(err);
    for (int64_t r = 0; ok && r < v->a->used; r++) {
        ok = read_aligned(NULL, view, r * v->width, v->width, row, err);
        for (int64_t i = 0; ok && i < v->width; i++)
            sum[i] += (double)row[i];
    }
    for (int64_t i = 0; ok && i < v->width; i++)
        mean[i] = (float)(sum[i] / (double)v->a->used);
    if (ok) v->mean = mean;
    free(sum);
    free(row);
    return ok;
}

/* ---- the tensors ---- */

int64_t merge__find_rows(const struct merge_input *in, enum ig_role role, const char *last)
{
    const struct ig_arch *arch = ig_arch_find(in->config);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_place place;
        ig_arch_place(arch, in->tensors[i]->name, &place);
        if (place.role == role && place.layer < 0 && in->tensors[i]->rank > 0 &&
            ig_slice_ends(in->tensors[i]->name, last))
            return i;
    }
    return -1;
}

static bool make_view(struct ig_merge *m, const struct aligned *group, int model, int64_t at,
                      struct ig_err *err)
{
    const struct ig_tensor *t = group->of[model];
    struct aligned *own = ig_arena_new(&m->arena, sizeof *own);
    struct merge_view *view = merge__view_new(&m->arena, t, t->name, err);
    if (!own || !view) return ig_err_nomem(err);
    *own = *group;
    own->model = model;
    own->width = t->shape[0] ? t->elems / t->shape[0] : 0;
    if (own->width == 0)
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is empty",
                          IG_SLICE_ARG(t->name));
    view->tensor.dtype = IG_F32;
    view->tensor.shape[0] = group->a->rows;
    view->own = own;
    view->read = read_aligned;
    if (!merge__view_size(view, err)) return false;
    if (group->a->rows > group->a->used && !take_mean(m, view, own, err)) return false;
    m->inputs[model].tensors[at] = &view->tensor;
    return true;
}

static bool align_group(struct ig_merge *m, struct merge_alignment *a, enum ig_role role,
                        const char *last, struct ig_err *err)
{
    struct aligned group = {.a = a};
    int64_t at[MERGE_MODELS_MAX], width = -1;
    for (int k = 0; k < a->models; k++) {
        at[k] = merge__find_rows(&m->inputs[k], role, last);
        if (at[k] < 0) continue;
        group.of[k] = m->inputs[k].tensors[at[k]];
        int64_t own = group.of[k]->shape[0] ? group.of[k]->elems / group.of[k]->shape[0] : 0;
        if (width >= 0 && own != width)
            return ig_err_set(err, IG_ERR_DATA,
                              "tokenizer: '" IG_SLICE_FMT "' is %lld wide in one model and %lld in "
                              "another",
                              IG_SLICE_ARG(group.of[k]->name), (long long)width, (long long)own);
        width = own;
    }
    if (width < 0) return true;
    struct token_row *defaults = ig_arena_array(&m->arena, (size_t)a->used, sizeof *defaults);
    if (!defaults) return ig_err_nomem(err);
    if (!check_rows(a, &group, err)) return false;
    for (int64_t row = 0; row < a->used; row++)
        if (!default_row(a, &group, row, defaults + row, err)) return false;
    group.defaults = defaults;
    for (int k = 0; k < a->models; k++)
        if (group.of[k] && !make_view(m, &group, k, at[k], err)) return false;
    return true;
}

bool merge__align(struct ig_merge *m, struct merge_alignment *a, struct ig_err *err)
{
    /* views read what stands in the inputs now, not each other */
    return align_group(m, a, IG_ROLE_EMBED, ".weight", err) &&
           align_group(m, a, IG_ROLE_LM_HEAD, ".weight", err) &&
           align_group(m, a, IG_ROLE_LM_HEAD, ".bias", err);
}
