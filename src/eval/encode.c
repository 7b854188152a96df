/* SPDX-License-Identifier: Apache-2.0
 * encode — a request in tokens, as lm-eval or mlx_lm.evaluate cut it.
 *
 *     lm-eval  context without its trailing white space | the white space and the continuation
 *     mlx      context                                  | continuation
 * Both encode the left part alone and the whole, and take the tokens of the whole after as many as
 * the left part has: a token merged over the border is cut by count. */
#include "eval/eval_internal.h"

#include <stdlib.h>

#define MLX_TOKENS_MAX 8192 /* mlx_lm.evaluate's default of --max-tokens */

/* lm-eval's prefix token: BOS, or EOS where the tokenizer has no BOS. */
static struct ig_slice prefix_token(const struct ig_tokenizer *tokenizer)
{
    struct ig_slice bos = ig_tokenizer_named(tokenizer, "bos");
    return bos.ptr ? bos : ig_tokenizer_named(tokenizer, "eos");
}

static bool starts_with(struct ig_slice text, struct ig_slice prefix)
{
    return prefix.len <= text.len && memcmp(text.ptr, prefix.ptr, prefix.len) == 0;
}

static bool encode(const struct eval_encoder *e, struct ig_slice text, struct ig_ids *out,
                   struct ig_err *err)
{
    bool special = !e->chat;
    if (e->style == IG_EVAL_LM_EVAL) {
        struct ig_slice prefix = prefix_token(e->tokenizer);
        special = !prefix.len || !starts_with(text, prefix);
    }
    return ig_tokenizer_encode(e->tokenizer, text, special, out, err);
}

static bool append(struct ig_ids *out, const int32_t *ids, size_t count, struct ig_err *err)
{
    if (out->cap - out->count < count) {
        size_t cap = (out->count + count) * 2;
        int32_t *items = realloc(out->items, cap * sizeof *items);
        if (!items) return ig_err_nomem(err);
        out->items = items;
        out->cap = cap;
    }
    if (count) memcpy(out->items + out->count, ids, count * sizeof *ids);
    out->count += count;
    return true;
}

/* An empty context: the prefix token stands for it, unless the continuation starts with it. */
static bool encode_alone(const struct eval_encoder *e, struct ig_slice text, struct ig_ids *pool,
                         struct eval_pair *pair, struct ig_err *err)
{
    struct ig_ids ids = {0};
    int32_t prefix = ig_tokenizer_id(e->tokenizer, prefix_token(e->tokenizer));
    bool ok = prefix >= 0 || ig_err_set(err, IG_ERR_DATA,
                                        "the context is empty and the tokenizer has no BOS or EOS");
    ok = ok && ig_tokenizer_encode(e->tokenizer, text, false, &ids, err);
    pair->first = pool->count;
    if (ok && (ids.count == 0 || ids.items[0] != prefix)) ok = append(pool, &prefix, 1, err);
    ok = ok && append(pool, ids.items, ids.count, err);
    pair->count = pool->count - pair->first;
    pair->scored = pair->count ? pair->count - 1 : 0;
    ig_ids_release(&ids);
    return ok;
}

/* context: the tokens of the left part. */
static bool encode_after(const struct eval_encoder *e, const struct ig_eval_request *request,
                         const struct ig_ids *context, struct ig_ids *pool, struct eval_pair *pair,
                         struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_ids whole = {0};
    ig_buf_slice(&text, request->context);
    ig_buf_slice(&text, request->continuation);
    bool ok = ig_buf_ok(&text, err) && encode(e, ig_buf_view(&text), &whole, err);
    size_t n = context->count;
    pair->first = pool->count;
    pair->scored = ok && whole.count > n ? whole.count - n : 0;
    pair->count = n + pair->scored;
    ok = ok && append(pool, context->items, n, err) &&
         append(pool, whole.items + n, pair->scored, err);
    ig_ids_release(&whole);
    ig_buf_release(&text);
    return ok;
}

static bool encode_untruncated(const struct eval_encoder *e, const struct ig_eval_item *item,
                               struct ig_ids *pool, struct eval_pair *pairs, struct ig_err *err)
{
    struct ig_ids context = {0};
    struct ig_slice done = {0};
    bool ok = true;
    for (int i = 0; ok && i < item->count; i++) {
        const struct ig_eval_request *request = &item->requests[i];
        struct ig_slice left = request->context;
        if (e->style == IG_EVAL_LM_EVAL && left.len == 0) {
            ok = encode_alone(e, request->continuation, pool, &pairs[i], err);
        } else {
            if (e->style == IG_EVAL_LM_EVAL) left = eval__strip_right(left);
            if (left.ptr != done.ptr || left.len != done.len) {
                context.count = 0;
                ok = encode(e, left, &context, err);
                done = left;
            }
            ok = ok && encode_after(e, request, &context, pool, &pairs[i], err);
        }
        if (ok && pairs[i].scored == 0)
            ok = ig_err_set(err, IG_ERR_DATA, "choice %d has no token of its own", i);
    }
    ig_ids_release(&context);
    return ok;
}

/* Each request by itself. What is fed is all but the last token. */
static bool cut_lm_eval(const struct eval_encoder *e, struct eval_pair *pair, bool *truncated,
                        struct ig_err *err)
{
    size_t max = (size_t)e->context_max;
    if (pair->count == pair->scored)
        return ig_err_set(err, IG_ERR_DATA, "the context is only white space: it has no token");
    if (pair->scored > max)
        return ig_err_set(err, IG_ERR_DATA,
                          "a choice has %zu tokens, more than the model's context of %zu",
                          pair->scored, max);
    if (pair->count <= max + 1) return true;
    pair->first += pair->count - (max + 1);
    pair->count = max + 1;
    *truncated = true;
    return true;
}

/* Requests with one context are cut by the same number of tokens, which the longest decides. */
static void cut_mlx(const struct eval_encoder *e, const struct ig_eval_item *item,
                    struct eval_pair *pairs, bool *truncated)
{
    size_t max = e->context_max < MLX_TOKENS_MAX ? (size_t)e->context_max : MLX_TOKENS_MAX;
    for (int i = 0, last; i < item->count; i = last) {
        size_t longest = 0;
        for (last = i; last < item->count; last++) {
            if (item->requests[last].context.ptr != item->requests[i].context.ptr) break;
            if (pairs[last].count > longest) longest = pairs[last].count;
        }
        size_t cut = longest > max + 1 ? longest - (max + 1) : 0;
        bool gone = pairs[i].count - pairs[i].scored <= cut;
        *truncated = *truncated || cut > 0;
        for (int k = i; k < last; k++) {
            pairs[k].first += gone ? 0 : cut;
            pairs[k].count = gone ? 0 : pairs[k].count - cut;
            pairs[k].scored = gone ? 0 : pairs[k].scored;
        }
    }
}

bool eval__encode(const struct eval_encoder *encoder, const struct ig_eval_item *item,
                  struct ig_ids *pool, struct eval_pair *pairs, bool *truncated, struct ig_err *err)
{
    *truncated = false;
    if (!encode_untruncated(encoder, item, pool, pairs, err)) return false;
    if (encoder->style == IG_EVAL_MLX) {
        cut_mlx(encoder, item, pairs, truncated);
        return true;
    }
    for (int i = 0; i < item->count; i++)
        if (!cut_lm_eval(encoder, &pairs[i], truncated, err)) return false;
    return true;
}
