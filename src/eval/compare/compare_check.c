/* SPDX-License-Identifier: Apache-2.0
 * compare_check — two runs may be compared item by item when they had the same items.
 *
 * Rows are compared by doc_hash (or their text where a file has none), prompts by all contexts and
 * continuations, targets by their text: differences are found before a number is computed. */
#include "eval/compare/compare_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define DOCS_SHOWN 3

static bool same(struct ig_digest a, struct ig_digest b)
{
    return a.low == b.low && a.high == b.high;
}

/* The docs that differ in one thing: how many, and the first few by number. */
struct differing {
    int64_t count;
    char docs[96];
};

static void add_doc(struct differing *d, int64_t doc)
{
    size_t used = strlen(d->docs);
    if (d->count++ < DOCS_SHOWN)
        snprintf(d->docs + used, sizeof d->docs - used, "%s%lld", used ? ", " : "", (long long)doc);
    else if (d->count == DOCS_SHOWN + 1)
        snprintf(d->docs + used, sizeof d->docs - used, ", ..");
}

static bool check_settings(const struct compare_part *a, const struct compare_part *b,
                           struct ig_err *err)
{
    if (strcmp(a->metric.name, b->metric.name) != 0)
        return ig_err_set(err, IG_ERR_DATA, "one has the metric %s, the other %s", a->metric.name,
                          b->metric.name);
    if (strcmp(a->filter, b->filter) != 0)
        return ig_err_set(err, IG_ERR_DATA, "one has the filter '%s', the other '%s'", a->filter,
                          b->filter);
    if (a->shots >= 0 && b->shots >= 0 && a->shots != b->shots)
        return ig_err_set(err, IG_ERR_DATA,
                          "one has %lld examples before the question, the other "
                          "%lld (--shots, --num_fewshot)",
                          (long long)a->shots, (long long)b->shots);
    if (a->version[0] && b->version[0] && strtod(a->version, NULL) != strtod(b->version, NULL))
        return ig_err_set(err, IG_ERR_DATA, "one is the task's version %s, the other %s",
                          a->version, b->version);
    if (a->style[0] && b->style[0] && strcmp(a->style, b->style) != 0)
        return ig_err_set(err, IG_ERR_DATA, "one was scored with --style %s, the other with %s",
                          a->style, b->style);
    if (a->hashed != b->hashed)
        return ig_err_set(err, IG_ERR_DATA,
                          "only one has doc_hash: made by releases too far apart");
    return true;
}

/* Both are sorted by doc. */
static bool check_docs(const struct compare_part *a, const struct compare_part *b,
                       struct ig_err *err)
{
    struct differing missing = {0};
    int64_t i = 0, k = 0;
    while (i < a->count || k < b->count) {
        bool in_a = i < a->count && (k == b->count || a->items[i].doc <= b->items[k].doc);
        bool in_b = k < b->count && (i == a->count || b->items[k].doc <= a->items[i].doc);
        if (!in_a || !in_b) add_doc(&missing, in_a ? a->items[i].doc : b->items[k].doc);
        i += in_a;
        k += in_b;
    }
    if (missing.count)
        return ig_err_set(err, IG_ERR_DATA,
                          "%lld items against %lld; doc_ids that only one has: %s (--limit?)",
                          (long long)b->count, (long long)a->count, missing.docs);
    return true;
}

static bool check_items(const struct compare_part *a, const struct compare_part *b,
                        struct ig_err *err)
{
    struct differing rows = {0}, prompts = {0}, targets = {0};
    for (int64_t i = 0; i < a->count; i++) {
        const struct compare_item *x = &a->items[i], *y = &b->items[i];
        if (!same(x->row, y->row))
            add_doc(&rows, x->doc);
        else if (!same(x->target, y->target))
            add_doc(&targets, x->doc);
        else if (!same(x->prompt, y->prompt))
            add_doc(&prompts, x->doc);
    }
    const struct differing *d = rows.count ? &rows : targets.count ? &targets : &prompts;
    const char *what = rows.count ? "rows" : targets.count ? "targets" : "prompts";
    const char *hash = rows.count ? "doc" : targets.count ? "target" : "prompt";
    const char *why = rows.count      ? ": other data, or another order"
                      : targets.count ? ""
                                      : ": another chat template, other examples or release?";
    if (d->count == 0) return true;
    return ig_err_set(err, IG_ERR_DATA, "%lld of %lld %s differ (%s_hash; doc_ids %s)%s",
                      (long long)d->count, (long long)a->count, what, hash, d->docs, why);
}

bool eval__parts_match(const struct compare_run *base, const struct compare_part *a,
                       const struct compare_run *model, const struct compare_part *b,
                       struct ig_err *err)
{
    if (check_settings(a, b, err) && check_docs(a, b, err) && check_items(a, b, err)) return true;
    return ig_err_within(err, "'%s' cannot be compared with '%s': %s", model->name, base->name,
                         a->task);
}

/* ---- clusters ---- */

struct place {
    struct ig_digest key;
    int64_t index;
};

static int by_key(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->key.high != y->key.high) return x->key.high < y->key.high ? -1 : 1;
    if (x->key.low != y->key.low) return x->key.low < y->key.low ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Each pair of neighbours with the same options; a third one begins anew. */
static int64_t number_twins(const struct compare_part *part, int32_t *ids)
{
    int32_t next = 0;
    for (int64_t i = 0; i < part->count; i++) {
        const struct compare_item *item = &part->items[i];
        ids[i] = next++;
        if (i + 1 < part->count && part->items[i + 1].doc == item->doc + 1 &&
            same(item->cluster, part->items[i + 1].cluster)) {
            ids[i + 1] = ids[i];
            i++;
        }
    }
    return next;
}

static bool number_keys(const struct compare_part *part, int32_t *ids, int64_t *count,
                        struct ig_err *err)
{
    struct place *places = calloc((size_t)part->count + 1, sizeof *places);
    int32_t next = 0;
    if (!places) return ig_err_nomem(err);
    for (int64_t i = 0; i < part->count; i++)
        places[i] = (struct place){part->items[i].cluster, i};
    qsort(places, (size_t)part->count, sizeof *places, by_key);
    for (int64_t i = 0; i < part->count; i++) {
        next += i > 0 && !same(places[i].key, places[i - 1].key);
        ids[places[i].index] = next;
    }
    *count = next + 1;
    free(places);
    return true;
}

bool eval__clusters(const struct compare_part *part, struct ig_arena *arena, int32_t **ids,
                    int64_t *count, struct ig_err *err)
{
    int32_t *out = ig_arena_array(arena, (size_t)part->count + 1, sizeof *out);
    if (!out) return ig_err_nomem(err);
    *ids = out;
    if (part->cluster == COMPARE_TWIN) {
        *count = number_twins(part, out);
        return true;
    }
    if (part->cluster != COMPARE_SINGLE) return number_keys(part, out, count, err);
    for (int64_t i = 0; i < part->count; i++)
        out[i] = (int32_t)i;
    *count = part->count;
    return true;
}
