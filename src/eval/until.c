/* SPDX-License-Identifier: Apache-2.0
 * until — a sequential test on paired outcomes, as a bet against chance.
 *
 * Of items that exactly one of two equal models has right, each has the same chance to be its: a
 * fair coin, whatever came before. Somebody who starts with 1 and bets on the next one by Laplace's
 * rule multiplies what they have, after b of one kind and w of the other, by
 *     2 (b + 1) / (b + w + 2)   or   2 (w + 1) / (b + w + 2).
 * Against a fair coin that is a fair game: the chance that it ever reaches 1 / alpha is at most
 * alpha (Ville 1939), however often one looks. It is the mixture of likelihood ratios over all
 * coins, 2^n B(b + 1, w + 1) (Robbins 1970); both directions share the one alpha.
 * Items with equal outcomes say nothing about which is better and are passed over. */
#include "eval/until.h"

#include "eval/compare/compare_internal.h"

#include <stdlib.h>

bool eval__until_add(struct eval_until *until, bool better)
{
    int64_t *kind = better ? &until->better : &until->worse;
    until->e *= 2 * (double)(*kind + 1) / (double)(until->better + until->worse + 2);
    ++*kind;
    return until->e >= IG_EVAL_CLEAR;
}

/* ---- the other run ---- */

struct ig_eval_baseline {
    struct compare runs;
    const struct compare_part **parts; /* one for each of the set's */
};

void ig_eval_baseline_close(struct ig_eval_baseline *baseline)
{
    if (!baseline) return;
    eval__runs_release(&baseline->runs);
    ig_arena_release(&baseline->runs.arena);
    free(baseline->runs.notes);
    free(baseline->parts);
    free(baseline);
}

static bool read_part(struct ig_eval_baseline *b, const struct eval_task *task,
                      const struct compare_part **out, struct ig_err *err)
{
    struct compare_run *run = b->runs.runs;
    struct compare_part *part = NULL;
    for (int k = 0; k < run->count; k++)
        if (strcmp(run->parts[k].task, task->name) == 0) part = &run->parts[k];
    if (!part) return ig_err_set(err, IG_ERR_DATA, "it has no samples of task '%s'", task->name);
    if (!eval__samples_read(part, err)) return ig_err_within(err, "'%s'", part->path);
    if (part->metric.norm != task->has_norm)
        return ig_err_set(err, IG_ERR_DATA, "'%s' was judged by %s there", task->name,
                          part->metric.name);
    *out = part;
    return true;
}

bool ig_eval_baseline_open(const struct ig_eval_set *set, const char *path,
                           struct ig_eval_baseline **out, struct ig_err *err)
{
    struct ig_eval_baseline *b = calloc(1, sizeof *b);
    if (!b) return ig_err_nomem(err);
    b->parts = calloc((size_t)set->count + 1, sizeof *b->parts);
    b->runs.run_room = COMPARE_MODELS_MAX;
    b->runs.runs = ig_arena_array(&b->runs.arena, COMPARE_MODELS_MAX, sizeof *b->runs.runs);
    bool ok = ((b->parts && b->runs.runs) || ig_err_nomem(err)) &&
              eval__runs_find(&b->runs, path, NULL, err);
    if (ok && b->runs.run_count != 1)
        ok = ig_err_set(err, IG_ERR_USAGE,
                        "'%s' has the results of %d models: name the folder of "
                        "one",
                        path, b->runs.run_count);
    for (int t = 0; ok && t < set->count; t++)
        ok = read_part(b, set->parts[t].task, &b->parts[t], err);
    if (!ok) {
        ig_eval_baseline_close(b);
        return ig_err_within(err, "baseline '%s'", path);
    }
    *out = b;
    return true;
}

/* As compare_samples.c digests the arguments of a line. */
static bool digest_item(const struct ig_eval_item *item, struct ig_digest *out, struct ig_err *err)
{
    struct ig_digest_state *state = ig_digest_new();
    if (!state) return ig_err_nomem(err);
    for (int i = 0; i < item->count; i++) {
        struct ig_slice texts[] = {item->requests[i].context, item->requests[i].continuation};
        for (int k = 0; k < 2; k++) {
            uint64_t len = texts[k].len;
            ig_digest_feed(state, &len, sizeof len);
            if (len) ig_digest_feed(state, texts[k].ptr, len);
        }
    }
    *out = ig_digest_end(state);
    ig_digest_free(state);
    return true;
}

static int by_doc(const void *key, const void *item)
{
    int64_t doc = *(const int64_t *)key, other = ((const struct compare_item *)item)->doc;
    return (doc > other) - (doc < other);
}

bool eval__baseline_find(const struct ig_eval_baseline *baseline, int part,
                         const struct ig_eval_item *item, bool *found, bool *right,
                         struct ig_err *err)
{
    const struct compare_part *p = baseline->parts[part];
    const struct compare_item *other =
        p->count ? bsearch(&item->doc, p->items, (size_t)p->count, sizeof *p->items, by_doc) : NULL;
    struct ig_digest prompt;
    *found = other != NULL;
    if (!other) return true;
    if (!digest_item(item, &prompt, err)) return false;
    if (prompt.low != other->prompt.low || prompt.high != other->prompt.high)
        return ig_err_set(err, IG_ERR_DATA,
                          "baseline: item %lld of task '%s' has another prompt there (other rows, "
                          "template or examples?)",
                          (long long)item->doc, item->task);
    *right = other->right;
    return true;
}
