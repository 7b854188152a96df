/* SPDX-License-Identifier: Apache-2.0
 * score — all items through a model, in order, and the metrics of their tasks.
 *
 * What an item scores depends on nothing but the item, so values that an earlier, killed run left
 * in its log are as good as new ones. */
#include "eval/score.h"
#include "base/clock.h"
#include "eval/log.h"
#include "eval/until.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Tokens that go to the engine in one call: some of its batches, so that these and the head's are
 * full and items share what they can, and few enough that a kill or Ctrl-C loses seconds. Results
 * do not depend on it. */
#define BATCH_ROWS 2048
#define RANK_ITEMS 8

struct run {
    const struct ig_eval_set *set;
    const struct ig_eval_scoring *how;
    const struct ig_model *model;
    struct eval_batch batch;
    double *logprobs; /* of all pairs, as greedy */
    bool *greedy;
    bool *known;             /* of all items: its values are there */
    bool *logged;            /* because the log had them */
    bool *acc, *acc_norm;    /* of the part's items */
    bool sharing;            /* items among ranks */
    int64_t next;            /* number of the item that is reported next */
    int64_t right;           /* of the part so far, by its headline metric */
    struct eval_until until; /* of the part, with a baseline */
    double started;          /* the part */
    int64_t fed;             /* tokens of the part */
    int64_t *rows;           /* fed for each item */
};

static void run_release(struct run *run)
{
    eval__batch_release(&run->batch);
    free(run->logprobs);
    free(run->greedy);
    free(run->known);
    free(run->logged);
    free(run->acc);
    free(run->acc_norm);
    free(run->rows);
}

static bool run_open(struct run *run, struct ig_model *model, struct ig_err *err)
{
    const struct ig_eval_tokens *tokens = run->how->tokens;
    size_t pairs = (size_t)tokens->firsts[tokens->items], items = (size_t)tokens->items;
    run->logprobs = calloc(pairs + 1, sizeof *run->logprobs);
    run->greedy = calloc(pairs + 1, sizeof *run->greedy);
    run->known = calloc(items + 1, sizeof *run->known);
    run->logged = calloc(items + 1, sizeof *run->logged);
    run->acc = calloc(items + 1, sizeof *run->acc);
    run->acc_norm = calloc(items + 1, sizeof *run->acc_norm);
    run->rows = calloc(items + 1, sizeof *run->rows);
    return ((run->logprobs && run->greedy && run->known && run->logged && run->acc &&
             run->acc_norm && run->rows) ||
            ig_err_nomem(err)) &&
           eval__batch_open(&run->batch, model, tokens, err);
}

/* ---- the log ---- */

/* A digest of all that an item's values depend on. */
static bool item_key(const struct run *run, int64_t number, char hex[IG_DIGEST_HEX],
                     struct ig_err *err)
{
    const struct ig_eval_tokens *tokens = run->how->tokens;
    struct ig_buf text = {0};
    const struct ig_model_shape *shape = ig_model_shape(run->model);
    const struct ig_rope *ropes[] = {&shape->rope, &shape->rope_sliding};
    ig_buf_printf(&text, "ingot %s; %s; %s", INGOT_VERSION, ig_model_arithmetic(run->model),
                  run->how->identity->model);
    for (int i = 0; i < 2; i++) /* a reader's choice, not the model's bytes, may change these */
        ig_buf_printf(&text, "; %d %.17g %.17g", (int)ropes[i]->kind, ropes[i]->factor,
                      ropes[i]->attention);
    for (int64_t k = tokens->firsts[number]; k < tokens->firsts[number + 1]; k++) {
        const struct eval_pair *pair = &tokens->pairs[k];
        uint64_t sizes[2] = {pair->count, pair->scored};
        ig_buf_append(&text, sizes, sizeof sizes);
        ig_buf_append(&text, tokens->pool.items + pair->first, pair->count * sizeof(int32_t));
    }
    bool ok = ig_buf_ok(&text, err);
    if (ok) ig_digest_hex(ig_digest_of(text.data, text.len), hex);
    ig_buf_release(&text);
    return ok;
}

static int item_choices(const struct run *run, int64_t number)
{
    const int64_t *firsts = run->how->tokens->firsts;
    return (int)(firsts[number + 1] - firsts[number]);
}

/* Takes over what the log has. */
static bool look_up(struct run *run, struct ig_err *err)
{
    const struct ig_eval_tokens *tokens = run->how->tokens;
    for (int64_t i = 0; run->how->log && i < tokens->items; i++) {
        char key[IG_DIGEST_HEX];
        if (!item_key(run, i, key, err)) return false;
        run->known[i] = run->logged[i] =
            eval__log_find(run->how->log, key, item_choices(run, i),
                           run->logprobs + tokens->firsts[i], run->greedy + tokens->firsts[i]);
    }
    return true;
}

/* ---- items ---- */

/* While ranks share the items, each has every so many in a row: none gets all of a long task. */
static bool is_mine(const struct run *run, int64_t i)
{
    const struct ig_dist *dist = run->how->dist;
    return !run->sharing || i / RANK_ITEMS % ig_dist_size(dist) == ig_dist_rank(dist);
}

/* What was scored goes to the log in the order of the items. */
static bool keep_items(struct run *run, int64_t first, int64_t end, struct ig_err *err)
{
    const int64_t *firsts = run->how->tokens->firsts;
    for (int64_t i = first; i < end; i++) {
        char key[IG_DIGEST_HEX];
        if (run->known[i] || !is_mine(run, i)) continue;
        run->known[i] = true;
        if (run->how->log &&
            (!item_key(run, i, key, err) ||
             !eval__log_add(run->how->log, key, item_choices(run, i), run->logprobs + firsts[i],
                            run->greedy + firsts[i], err)))
            return false;
    }
    return true;
}

/* The next items that are not known, of whatever tasks, until they fill a batch. */
static bool score_batch(struct run *run, int64_t *end, struct ig_err *err)
{
    const struct ig_eval_tokens *tokens = run->how->tokens;
    int64_t i = run->next, rows_full = run->how->batch ? run->how->batch : BATCH_ROWS;
    for (bool held = false; i < tokens->items && run->batch.rows < rows_full; i++) {
        if (run->known[i] || !is_mine(run, i)) continue;
        if (!eval__batch_add(&run->batch, i, &run->rows[i], &held, err)) return false;
        if (held) break;
        for (int64_t pair = tokens->firsts[i]; pair < tokens->firsts[i + 1]; pair++) {
            run->greedy[pair] = tokens->pairs[pair].scored > 0;
            run->logprobs[pair] = run->greedy[pair] ? 0 : -(double)INFINITY;
        }
    }
    if (!eval__batch_run(&run->batch, run->logprobs, run->greedy, err) ||
        !ig_model_unchanged(run->model, err) || /* before the log believes it */
        !keep_items(run, run->next, i, err))
        return false;
    *end = i;
    return true;
}

/* done: items of this part, whose running accuracy is told. */
static bool report(const struct run *run, const struct eval_part *part, int64_t done,
                   struct ig_err *err)
{
    const struct ig_watch *watch = run->set->job.watch;
    char note[128] = "";
    if (done)
        snprintf(note, sizeof note, "%s %s %.3f", part->task->name,
                 part->task->has_norm ? "acc_norm" : "acc", (double)run->right / (double)done);
    struct ig_progress progress = {.phase = "eval",
                                   .items_done = run->next,
                                   .items_total = run->how->tokens->items,
                                   .note = note};
    if (watch && watch->progress && !watch->progress(watch->user, &progress))
        return ig_err_set(err, IG_ERR_CANCELLED, "stopped after %lld of %lld items%s",
                          (long long)run->next, (long long)run->how->tokens->items,
                          run->how->log ? "; the same command goes on from there" : "");
    return true;
}

/* The metrics of one item, and word to the caller. */
static bool finish_item(struct run *run, const struct eval_part *part, int64_t i,
                        struct ig_err *err)
{
    const struct ig_eval_item *item = &part->items[i];
    int64_t first = run->how->tokens->firsts[run->next];
    const double *logprobs = run->logprobs + first;
    run->acc[i] = eval__best(logprobs, item->count) == item->gold;
    run->acc_norm[i] = eval__best_norm(logprobs, item->choices, item->count) == item->gold;
    struct ig_eval_score score = {logprobs, run->greedy + first, run->acc[i], run->acc_norm[i]};
    if (run->how->on_item && !run->how->on_item(run->how->user, item, &score))
        return ig_err_set(err, IG_ERR_CANCELLED, "stopped at item %lld of task %s", (long long)i,
                          part->task->name);
    run->fed += run->rows[run->next];
    run->right += part->task->has_norm ? run->acc_norm[i] : run->acc[i];
    run->next++;
    return true;
}

/* *clear: with a baseline, the item has made it clear which is better. */
static bool weigh_item(struct run *run, int t, int64_t i, bool *clear, struct ig_err *err)
{
    const struct eval_part *part = &run->set->parts[t];
    bool found, theirs, mine = part->task->has_norm ? run->acc_norm[i] : run->acc[i];
    *clear = false;
    if (!run->how->until) return true;
    if (!eval__baseline_find(run->how->until, t, &part->items[i], &found, &theirs, err))
        return false;
    if (found && mine != theirs) *clear = eval__until_add(&run->until, mine);
    return true;
}

static void finish_part(const struct run *run, const struct eval_part *part, int64_t count,
                        struct ig_eval_result *result)
{
    snprintf(result->task, sizeof result->task, "%s", part->task->name);
    result->items = count;
    result->rows = part->rows.count;
    result->has_norm = part->task->has_norm;
    eval__mean(run->acc, count, &result->acc, &result->acc_stderr);
    eval__mean(run->acc_norm, count, &result->acc_norm, &result->acc_norm_stderr);
    result->seconds = ig_clock_seconds() - run->started;
    result->tokens = run->fed;
    result->better = run->until.better;
    result->worse = run->until.worse;
    result->evidence = run->how->until ? run->until.e : 0;
}

static bool score_part(struct run *run, int t, struct ig_eval_result *result, struct ig_err *err)
{
    const struct eval_part *part = &run->set->parts[t];
    *result = (struct ig_eval_result){.truncated = run->how->tokens->truncated[t]};
    run->started = ig_clock_seconds();
    run->fed = 0;
    run->right = 0;
    run->until = (struct eval_until){.e = 1};
    int64_t end = run->next + part->count, i = 0, scored;
    for (bool clear = false; i < part->count && !clear; i++) {
        if (!report(run, part, i, err)) return false;
        result->resumed += run->logged[run->next];
        if (!run->known[run->next] && !score_batch(run, &scored, err))
            return ig_err_within(err, "'%s', line %lld and on", part->rows.path,
                                 (long long)part->items[i].line);
        if (!finish_item(run, part, i, err) || !weigh_item(run, t, i, &clear, err)) return false;
    }
    result->stopped = i < part->count;
    run->next = end;
    finish_part(run, part, i, result);
    return true;
}

/* Ranks that would give other values, or keep them under other keys, say so. */
static bool agree(const struct run *run, struct ig_err *err)
{
    const struct ig_eval_tokens *tokens = run->how->tokens;
    char key[IG_DIGEST_HEX] = "";
    struct ig_buf lines = {0};
    struct ig_digest_state *state = ig_digest_new();
    bool ok = state || ig_err_nomem(err);
    for (int64_t i = 0; ok && i < tokens->items; i++) {
        ok = item_key(run, i, key, err);
        if (ok) ig_digest_feed(state, key, sizeof key);
    }
    if (ok) ig_digest_hex(ig_digest_end(state), key);
    ig_digest_free(state);
    ig_buf_printf(&lines,
                  "the arithmetic (IG_KERNELS sets it)\t%s\nthe model's content\t%s\n"
                  "the number of items\t%lld\nthe items' text\t%s\n",
                  ig_model_arithmetic(run->model), run->how->identity->model,
                  (long long)tokens->items, key);
    ok = ok && ig_buf_ok(&lines, err);
    ok = ig_dist_agree(run->how->dist, ok, ig_buf_view(&lines), err);
    ig_buf_release(&lines);
    return ok;
}

/* Each rank scores its share into its log; then rank 0 has them all in its own. */
static bool share_items(struct run *run, struct ig_err *err)
{
    struct ig_dist *dist = run->how->dist;
    if (ig_dist_size(dist) == 1) return true;
    if (!run->how->log)
        return ig_err_set(err, IG_ERR_USAGE,
                          "ranks hand over what they scored through a log: give --output DIR");
    if (!agree(run, err)) return false;
    run->sharing = true;
    while (run->next < run->how->tokens->items)
        if (!report(run, NULL, 0, err) || !score_batch(run, &run->next, err)) return false;
    run->sharing = false;
    run->next = 0;
    bool ok = ig_dist_rank(dist) == 0 || eval__log_hand_over(run->how->log, err);
    if (!ig_dist_meet(dist, ok, err)) return false;
    if (ig_dist_rank(dist) > 0) return true;
    memset(run->rows, 0, (size_t)run->how->tokens->items * sizeof(*run->rows));
    return eval__log_gather(run->how->log, err) && look_up(run, err);
}

bool ig_eval_score_as(const struct ig_eval_set *set, struct ig_model *model,
                      const struct ig_eval_scoring *how, struct ig_eval_result *results,
                      struct ig_err *err)
{
    struct run run = {.set = set, .how = how, .model = model};
    if (how->log && !how->identity)
        return ig_err_set(err, IG_ERR_USAGE, "a log needs the model's identity");
    bool ok = run_open(&run, model, err) && look_up(&run, err) && share_items(&run, err);
    for (int t = 0; ok && t < set->count && ig_dist_rank(how->dist) == 0; t++)
        ok = score_part(&run, t, &results[t], err);
    ok = ok && report(&run, NULL, 0, err);
    run_release(&run);
    return ok;
}

bool ig_eval_score(const struct ig_eval_set *set, struct ig_model *model,
                   const struct ig_tokenizer *tokenizer, ig_eval_on_item *on_item, void *user,
                   struct ig_eval_result *results, struct ig_err *err)
{
    struct ig_eval_tokens *tokens;
    if (!ig_eval_tokens_new(set, tokenizer, ig_model_shape(model)->context, &tokens, err))
        return false;
    struct ig_eval_scoring how = {.tokens = tokens, .on_item = on_item, .user = user};
    bool ok = ig_eval_score_as(set, model, &how, results, err);
    ig_eval_tokens_free(tokens);
    return ok;
}

bool ig_eval_run(const struct ig_eval_job *job, struct ig_model *model,
                 const struct ig_tokenizer *tokenizer, struct ig_eval_result *results,
                 int results_max, int *count, struct ig_err *err)
{
    struct ig_eval_set *set;
    if (!ig_eval_open(job, &set, err)) return false;
    int tasks = ig_eval_task_count(set);
    bool ok = tasks <= results_max ||
              ig_err_set(err, IG_ERR_USAGE, "%d tasks, room for %d", tasks, results_max);
    ok = ok && ig_eval_score(set, model, tokenizer, NULL, NULL, results, err);
    if (ok) *count = tasks;
    ig_eval_close(set);
    return ok;
}
