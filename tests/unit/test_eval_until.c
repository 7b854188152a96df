/* SPDX-License-Identifier: Apache-2.0
 * eval_until — stopping when it is clear: how often chance alone would look clear, how soon a
 * difference does, and that a stopped run is the beginning of the whole one. */
#include "eval/eval_internal.h"
#include "eval/until.h"
#include "scratch.h"

#define RUNS  4000
#define FLIPS 3000
#define TASKS "arc_easy,piqa,boolq"
#define COUNT 3

static struct ig_err err;
static struct ig_tokenizer *tokenizer;
static char dirs[2][IG_PATH_MAX], task_dir[IG_PATH_MAX], out_dir[IG_PATH_MAX];

static int open_all(void **state)
{
    static const char *const names[] = {"models/base", "models/anvil"};
    const char *fixtures = getenv("INGOT_FIXTURES");
    for (int i = 0; fixtures && i < 2; i++)
        if (!ig_path_join(dirs[i], fixtures, names[i], &err)) return -1;
    if (!fixtures || !ig_path_join(task_dir, fixtures, "tasks", &err) ||
        !ig_tokenizer_open(dirs[0], &tokenizer, &err) || scratch_open(state))
        return -1;
    snprintf(out_dir, sizeof out_dir, "%s", scratch("out"));
    return 0;
}

static int close_all(void **state)
{
    ig_tokenizer_close(tokenizer);
    return scratch_close(state);
}

/* ---- the test itself ---- */

/* splitmix64 (Steele, Lea and Flood 2014): the same flips on every machine. */
static double uniform(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

struct verdicts {
    int better, worse;
    int64_t flips; /* of those that became clear, all together */
};

static struct verdicts simulate(double chance, uint64_t seed)
{
    struct verdicts v = {0};
    for (int r = 0; r < RUNS; r++) {
        struct eval_until u = {.e = 1};
        bool clear = false;
        for (int i = 0; i < FLIPS && !clear; i++)
            clear = eval__until_add(&u, uniform(&seed) < chance);
        if (!clear) continue;
        v.flips += u.better + u.worse;
        *(u.better > u.worse ? &v.better : &v.worse) += 1;
    }
    return v;
}

static void chance_is_seldom_clear(void **state)
{
    (void)state;
    struct verdicts v = simulate(0.5, 1);
    int both = v.better + v.worse;
    assert_true(both > 0);
    if (both > RUNS / 20) fail_msg("%d of %d runs of a fair coin became clear", both, RUNS);
    assert_true(v.better > both / 3 && v.worse > both / 3); /* neither side is favoured */
}

static void a_difference_becomes_clear(void **state)
{
    (void)state;
    struct verdicts up = simulate(0.65, 2), down = simulate(0.35, 3);
    assert_true(up.better > RUNS * 99 / 100 && up.worse < RUNS / 40);
    assert_true(down.worse > RUNS * 99 / 100 - RUNS / 40 && down.better < RUNS / 40);
    assert_true(up.flips / RUNS < 200); /* discordant items; a fixed test needs 85 for 80 % */
}

static void the_bet_is_the_mixture(void **state)
{
    (void)state;
    /* 2^n B(b + 1, w + 1): 8 of one kind are 2^8 / 9, and order does not matter */
    struct eval_until u = {.e = 1}, v = {.e = 1};
    for (int i = 0; i < 8; i++)
        assert_true(eval__until_add(&u, true) == (i == 7));
    assert_true(u.e > 28.44 && u.e < 28.45);
    static const bool one[] = {true, false, true, true}, other[] = {true, true, true, false};
    u = v;
    for (int i = 0; i < 4; i++) {
        eval__until_add(&u, one[i]);
        eval__until_add(&v, other[i]);
    }
    assert_true(u.e > 0.799 && u.e < 0.801 && v.e > 0.799 && v.e < 0.801); /* 16 / 20 */
}

/* ---- with models ---- */

struct seen {
    int64_t items[COUNT];
    struct ig_eval_record *record;
};

static bool count_item(void *user, const struct ig_eval_item *item,
                       const struct ig_eval_score *score)
{
    struct seen *seen = user;
    seen->items[strcmp(item->task, "piqa") == 0 ? 1 : strcmp(item->task, "boolq") == 0 ? 2 : 0]++;
    return !seen->record || ig_eval_record_item(seen->record, item, score);
}

struct ask {
    const char *model, *baseline, *name; /* name: of the files; NULL: none */
    int64_t shots, batch;
};

static bool ask(const struct ask *a, struct seen *seen, struct ig_eval_result *results)
{
    struct ig_eval_job job = {.data = task_dir, .tasks = TASKS, .limit = 120, .shots = a->shots};
    struct ig_eval_record_job files = {
        .dir = out_dir, .model = a->name, .now = 1000000000, .until = a->baseline};
    struct ig_eval_set *set = NULL;
    struct ig_eval_baseline *baseline = NULL;
    struct ig_eval_tokens *tokens = NULL;
    struct ig_model *model = NULL;
    bool ok = ig_eval_open(&job, &set, &err) &&
              (!a->baseline || ig_eval_baseline_open(set, a->baseline, &baseline, &err)) &&
              ig_model_open(a->model, 1, &model, &err) &&
              ig_eval_tokens_new(set, tokenizer, 512, &tokens, &err) &&
              (!a->name || ig_eval_record_open(set, &files, &seen->record, &err));
    struct ig_eval_scoring how = {.tokens = tokens,
                                  .until = baseline,
                                  .batch = a->batch,
                                  .on_item = count_item,
                                  .user = seen};
    ok = ok && ig_eval_score_as(set, model, &how, results, &err) &&
         (!a->name || ig_eval_record_finish(seen->record, model, tokenizer, results, &err));
    ig_eval_record_close(seen->record);
    ig_eval_tokens_free(tokens);
    ig_eval_baseline_close(baseline);
    ig_model_close(model);
    ig_eval_close(set);
    return ok;
}

static void a_stopped_run_is_the_start_of_the_whole(void **state)
{
    (void)state;
    struct ig_eval_result whole[COUNT], part[COUNT], again[COUNT];
    struct seen base = {0}, one = {0}, other = {0};
    char path[2 * IG_PATH_MAX];
    check_ok(ask(&(struct ask){.model = dirs[0], .name = "base"}, &base, whole), &err);
    snprintf(path, sizeof path, "%s/base", out_dir);
    check_ok(ask(&(struct ask){.model = dirs[1], .baseline = path, .batch = 100}, &one, part),
             &err);
    check_ok(ask(&(struct ask){.model = dirs[1], .baseline = path, .name = "anvil"}, &other, again),
             &err);
    bool stopped = false;
    for (int t = 0; t < COUNT; t++) {
        assert_int_equal(part[t].items, one.items[t]);
        assert_int_equal(again[t].items, one.items[t]); /* whatever the batch */
        assert_int_equal(part[t].stopped, part[t].items < 120);
        assert_true(part[t].stopped ? part[t].evidence >= IG_EVAL_CLEAR : part[t].evidence > 0);
        assert_int_equal(whole[t].items, 120);
        assert_true(whole[t].evidence <= 0);
        stopped = stopped || part[t].stopped;
    }
    assert_true(stopped); /* anvil is much better at piqa */
    struct ig_buf text = scratch_read("out/anvil/results_2001-09-09T01-46-40.000000.json");
    assert_non_null(strstr(text.data, "\"until_clear\""));
    assert_non_null(strstr(text.data, "\"stopped\": true"));
    ig_buf_release(&text);
}

static void other_prompts_are_refused(void **state)
{
    (void)state;
    struct ig_eval_result results[COUNT];
    struct seen seen = {0};
    char path[2 * IG_PATH_MAX];
    snprintf(path, sizeof path, "%s/base", out_dir);
    check_fails(ask(&(struct ask){.model = dirs[1], .baseline = path, .shots = 2}, &seen, results),
                &err, IG_ERR_DATA, "has another prompt there");
    check_fails(ask(&(struct ask){.model = dirs[1], .baseline = out_dir}, &seen, results), &err,
                IG_ERR_USAGE, "has the results of 2 models");
    check_fails(ask(&(struct ask){.model = dirs[1], .baseline = "/nowhere"}, &seen, results), &err,
                IG_ERR_IO, "baseline '/nowhere'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_is_seldom_clear),
        cmocka_unit_test(a_difference_becomes_clear),
        cmocka_unit_test(the_bet_is_the_mixture),
        cmocka_unit_test(a_stopped_run_is_the_start_of_the_whole),
        cmocka_unit_test(other_prompts_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
