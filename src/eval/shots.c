/* SPDX-License-Identifier: Apache-2.0
 * shots — few-shot examples, drawn as the harness draws them.
 *
 * One generator a task, whose state goes on from row to row. A task without a test split draws one
 * example more than asked for and drops those that equal the row itself: the harness then takes the
 * pool for the split that is scored. */
#include "eval/eval_internal.h"

#include <stdlib.h>

#define SEED_LM_EVAL 1234 /* lm-eval's --seed, its fourth number */
#define SEED_MLX     123  /* mlx_lm.evaluate's --seed */

uint64_t eval__seed(const struct ig_eval_job *job)
{
    if (job->seed) return job->seed;
    return job->style == IG_EVAL_MLX ? SEED_MLX : SEED_LM_EVAL;
}

bool eval__shots_open(const struct ig_eval_job *job, const struct eval_task *task, int64_t count,
                      struct eval_shots *out, struct ig_err *err)
{
    *out = (struct eval_shots){.task = task, .count = count};
    if (count == 0) return true;
    eval__random_seed(&out->random, eval__seed(job));
    if (!eval__rows_open(job->data, task, true, &out->pool, err)) return false;
    int64_t want = count + (task->draws_spare && !task->first_shots ? 1 : 0);
    if (out->pool.count < want) {
        ig_err_set(err, IG_ERR_USAGE, "'%s' has %lld rows: too few to draw %lld examples from",
                   out->pool.path, (long long)out->pool.count, (long long)want);
        eval__shots_release(out);
        return false;
    }
    return true;
}

void eval__shots_release(struct eval_shots *shots)
{
    eval__rows_release(&shots->pool);
}

static bool numbers_equal(const struct ig_json *a, const struct ig_json *b)
{
    double x, y;
    return ig_slice_equal(a->text, b->text) ||
           (ig_json_real(a, &x) && ig_json_real(b, &y) && x >= y && x <= y);
}

static const struct ig_json *member(const struct ig_json *object, struct ig_slice key)
{
    for (uint32_t i = object->count; i-- > 0;)
        if (ig_slice_equal(object->items[i].key, key)) return &object->items[i];
    return NULL;
}

/* As Python's ==: the order of an object's members does not matter. Depth is the parser's. */
static bool rows_equal(const struct ig_json *a, /* NOLINT(misc-no-recursion) */
                       const struct ig_json *b)
{
    if (a->type != b->type) return false;
    if (a->type == IG_JSON_NUMBER) return numbers_equal(a, b);
    if (a->type == IG_JSON_STRING) return ig_slice_equal(a->text, b->text);
    if (a->type != IG_JSON_ARRAY && a->type != IG_JSON_OBJECT) return true;
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct ig_json *other =
            a->type == IG_JSON_ARRAY ? &b->items[i] : member(b, a->items[i].key);
        if (!other || !rows_equal(&a->items[i], other)) return false;
    }
    return true;
}

static bool too_few(const struct eval_shots *shots, int64_t rows, struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_USAGE,
                      "'%s' has %lld rows that differ from the one asked: too few for %lld "
                      "examples",
                      shots->pool.path, (long long)rows, (long long)shots->count);
}

/* Rows of the pool at the drawn places into docs, without those that equal row, as many as are
 * wanted at most. Returns how many, or -1. */
static int64_t take(struct eval_shots *shots, const int64_t *drawn, int64_t count,
                    const struct ig_json *row, struct ig_arena *arena, struct eval_doc *docs,
                    struct ig_err *err)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count && n < shots->count; i++) {
        struct ig_json *tree;
        if (!eval__rows_read(&shots->pool, shots->task, drawn[i], arena, &tree, &docs[n], err))
            return -1;
        if (!row || !rows_equal(tree, row)) n++;
    }
    return n;
}

/* The first rows of the pool; where the pool is the scored split, without the row itself. */
static bool take_first(struct eval_shots *shots, const struct ig_json *row, struct ig_arena *arena,
                       struct eval_doc *docs, struct ig_err *err)
{
    int64_t n = 0;
    for (int64_t i = 0; i < shots->pool.count && n < shots->count; i++) {
        int64_t taken = take(shots, &i, 1, row, arena, docs + n, err);
        if (taken < 0) return false;
        n += taken;
    }
    return n == shots->count || too_few(shots, n, err);
}

/* More than one copy of the row was drawn: draw again from the pool without any copy. */
static bool draw_again(struct eval_shots *shots, const struct ig_json *row, struct ig_arena *arena,
                       int64_t *drawn, struct ig_err *err)
{
    int64_t *others = ig_arena_array(arena, (size_t)shots->pool.count, sizeof *others);
    if (!others) return ig_err_nomem(err);
    int64_t n = 0;
    for (int64_t i = 0; i < shots->pool.count; i++) {
        struct ig_arena scratch = {0};
        struct ig_json *tree = ig_json_parse(shots->pool.lines[i], &scratch, err);
        if (tree && !rows_equal(tree, row)) others[n++] = i;
        ig_arena_release(&scratch);
        if (!tree)
            return ig_err_within(err, "'%s', line %lld", shots->pool.path,
                                 (long long)shots->pool.numbers[i]);
    }
    if (n < shots->count) return too_few(shots, n, err);
    if (!eval__random_sample(&shots->random, n, shots->count, drawn, err)) return false;
    for (int64_t i = 0; i < shots->count; i++)
        drawn[i] = others[drawn[i]];
    return true;
}

bool eval__shots_draw(struct eval_shots *shots, const struct ig_json *row, struct ig_arena *arena,
                      struct eval_doc *docs, struct ig_err *err)
{
    if (shots->count == 0) return true;
    bool spare = shots->task->draws_spare;
    if (shots->task->first_shots) return take_first(shots, spare ? row : NULL, arena, docs, err);
    int64_t want = shots->count + (spare ? 1 : 0);
    int64_t *drawn = ig_arena_array(arena, (size_t)want, sizeof *drawn);
    if (!drawn) return ig_err_nomem(err);
    if (!eval__random_sample(&shots->random, shots->pool.count, want, drawn, err)) return false;
    int64_t kept = take(shots, drawn, want, spare ? row : NULL, arena, docs, err);
    if (kept < 0) return false;
    if (kept == shots->count) return true;
    return draw_again(shots, row, arena, drawn, err) &&
           take(shots, drawn, shots->count, NULL, arena, docs, err) >= 0;
}
