/* SPDX-License-Identifier: Apache-2.0
 * tokens — all requests of a set in tokens, once for every model with the same tokenizer. */
#include "eval/eval_internal.h"

#include <stdlib.h>

static int64_t part_choices(const struct eval_part *part)
{
    int64_t n = 0;
    for (int64_t i = 0; i < part->count; i++)
        n += part->items[i].count;
    return n;
}

/* Items of one task, the first of them numbered `number`. */
static bool encode_part(struct ig_eval_tokens *tokens, const struct eval_encoder *encoder,
                        const struct ig_eval_set *set, int t, int64_t number, struct ig_err *err)
{
    const struct eval_part *part = &set->parts[t];
    for (int64_t i = 0; i < part->count; i++, number++) {
        const struct ig_eval_item *item = &part->items[i];
        struct eval_pair *pairs = tokens->pairs + tokens->firsts[number];
        bool truncated;
        if (!eval__encode(encoder, item, &tokens->pool, pairs, &truncated, err))
            return ig_err_within(err, "'%s', line %lld", part->rows.path, (long long)item->line);
        for (int k = 0; k < item->count; k++)
            if (pairs[k].count > tokens->longest) tokens->longest = pairs[k].count;
        tokens->firsts[number + 1] = tokens->firsts[number] + item->count;
        tokens->truncated[t] += truncated;
    }
    if (tokens->truncated[t])
        ig_watch_warn(set->job.watch,
                      "%s: %lld of %lld items are longer than the context of %lld tokens; they "
                      "are cut on the left",
                      part->task->name, (long long)tokens->truncated[t], (long long)part->count,
                      (long long)encoder->context_max);
    return true;
}

static bool make(struct ig_eval_tokens *tokens, const struct ig_eval_set *set,
                 const struct eval_encoder *encoder, struct ig_err *err)
{
    int64_t choices = 0, items = 0;
    for (int t = 0; t < set->count; t++) {
        choices += part_choices(&set->parts[t]);
        items += set->parts[t].count;
    }
    tokens->items = items;
    tokens->pairs = calloc((size_t)choices + 1, sizeof *tokens->pairs);
    tokens->firsts = calloc((size_t)items + 1, sizeof *tokens->firsts);
    tokens->truncated = calloc((size_t)set->count + 1, sizeof *tokens->truncated);
    if (!tokens->pairs || !tokens->firsts || !tokens->truncated) return ig_err_nomem(err);
    const struct ig_watch *watch = set->job.watch;
    struct ig_progress progress = {.phase = "tokenize", .items_total = items};
    for (int t = 0; t < set->count; t++) {
        if (watch && watch->progress && !watch->progress(watch->user, &progress))
            return ig_err_set(err, IG_ERR_CANCELLED, "stopped before the first item");
        if (!encode_part(tokens, encoder, set, t, progress.items_done, err)) return false;
        progress.items_done += set->parts[t].count;
    }
    return true;
}

bool ig_eval_tokens_new(const struct ig_eval_set *set, const struct ig_tokenizer *tokenizer,
                        int64_t context, struct ig_eval_tokens **out, struct ig_err *err)
{
    struct eval_encoder encoder = {.tokenizer = tokenizer,
                                   .style = set->job.style,
                                   .chat = set->job.chat != NULL,
                                   .context_max = context};
    struct ig_eval_tokens *tokens = calloc(1, sizeof *tokens);
    if (!tokens) return ig_err_nomem(err);
    tokens->context = context;
    if (!make(tokens, set, &encoder, err)) {
        ig_eval_tokens_free(tokens);
        return false;
    }
    *out = tokens;
    return true;
}

void ig_eval_tokens_free(struct ig_eval_tokens *tokens)
{
    if (!tokens) return;
    ig_ids_release(&tokens->pool);
    free(tokens->pairs);
    free(tokens->firsts);
    free(tokens->truncated);
    free(tokens);
}
