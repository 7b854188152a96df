/* SPDX-License-Identifier: Apache-2.0
 * compare — runs that may be compared and runs that may not; what is counted; broken files. */
#include "eval/compare/compare_internal.h"
#include "scratch.h"

#include <math.h>

static struct ig_err err;

/* ---- making runs ---- */

struct made { /* one samples file of `items` items */
    const char *run, *task, *time;
    int items;
    const char *right;   /* one a item, repeated: '1' or '0' */
    const char *doc;     /* members of doc, with one %d */
    const char *context; /* with one %d */
    const char *metric, *shots, *style, *more;
};

static void make_line(FILE *file, const struct made *m, int i)
{
    bool right = m->right[(size_t)i % strlen(m->right)] == '1';
    fprintf(file, "{\"doc_id\": %d, \"doc\": {", i);
    fprintf(file, m->doc ? m->doc : "\"q\": %d", i); /* NOLINT */
    fprintf(file, "}, \"target\": \"%d\", \"arguments\": {", i % 2);
    for (int k = 0; k < 2; k++) {
        fprintf(file, "%s\"gen_args_%d\": {\"arg_0\": \"", k ? ", " : "", k);
        fprintf(file, m->context ? m->context : "Question %d", i);
        fprintf(file, "\", \"arg_1\": \" %s\"}", k ? "yes" : "no");
    }
    /* The gold choice has -1 when right, -3 when wrong, the other -2. */
    fprintf(file, "}, \"filtered_resps\": [[\"%s\", \"False\"], [\"%s\", \"False\"]], ",
            i % 2 == 0 ? right ? "-1.0" : "-3.0" : "-2.0",
            i % 2 == 1 ? right ? "-1.0" : "-3.0" : "-2.0");
    fprintf(file, "\"filter\": \"none\", \"%s\": %s%s}\n", m->metric ? m->metric : "acc",
            right ? "1.0" : "0.0", m->more ? m->more : "");
}

static void make_run(struct made m)
{
    char path[1024];
    if (!m.time) m.time = "2026-01-01T00-00-00.000000";
    if (!m.task) m.task = "piqa";
    check_ok(ig_dir_make(scratch(m.run), &err), &err);
    snprintf(path, sizeof path, "%s/%s/samples_%s_%s.jsonl", scratch_dir, m.run, m.task, m.time);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < m.items; i++)
        make_line(file, &m, i);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s/results_%s.json", scratch_dir, m.run, m.time);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "{\"results\": {}, \"n-shot\": {\"%s\": %s}, \"model_name\": \"x/%s\", ", m.task,
            m.shots ? m.shots : "0", m.run);
    fprintf(file, "\"ingot\": {\"style\": \"%s\"}}", m.style ? m.style : "lm-eval");
    fclose(file);
}

static void make_file(const char *run, const char *name, const char *text)
{
    char path[512];
    check_ok(ig_dir_make(scratch(run), &err), &err);
    snprintf(path, sizeof path, "%s/%s", run, name);
    scratch_write(path, text, strlen(text));
}

static bool compare(const char *a, const char *b, struct ig_comparison **out)
{
    char paths[2][2048];
    const char *list[2] = {paths[0], paths[1]};
    snprintf(paths[0], sizeof paths[0], "%s/%s", scratch_dir, a);
    snprintf(paths[1], sizeof paths[1], "%s/%s", scratch_dir, b ? b : "");
    const struct ig_compare_job job = {
        .paths = list, .path_count = b ? 2 : 1, .rounds = 500, .threads = 2, .plan = 0.01};
    return ig_compare_open(&job, out, &err);
}

#define refused(a, b, text)                                                                        \
    do {                                                                                           \
        struct ig_comparison *none;                                                                \
        check_fails(compare(a, b, &none), &err, IG_ERR_DATA, text);                                \
    } while (0)

/* ---- what is counted ---- */

static void counts_and_words(void **state)
{
    (void)state;
    struct ig_comparison *c;
    int64_t count;
    make_run((struct made){.run = "base", .items = 100, .right = "1010"});
    make_run((struct made){.run = "up", .items = 100, .right = "1110"});
    check_ok(compare("base", "up", &c), &err);
    const struct ig_compare_pair *p = &c->models[1].pairs[0];
    assert_int_equal(c->model_count, 2);
    assert_int_equal(p->gained, 25);
    assert_int_equal(p->lost, 0);
    assert_true(fabs(p->difference - 0.25) < 1e-12 && p->low > 0.1 && p->high < 0.4);
    assert_int_equal(p->verdict, IG_VERDICT_BETTER);
    assert_true(p->has_margin && fabs(p->margin_change - 0.5) < 1e-12); /* -1 to +1 on a quarter */
    assert_true(p->margin_p < 0.01);
    assert_string_equal(c->models[1].name, "up");
    assert_string_equal(c->models[1].profile, "better on piqa (+25.0)");
    assert_true(c->models[0].scores[0].right == 50 && c->models[1].scores[0].right == 75);
    const double *margins = ig_compare_margins(c, 0, 0, &count);
    assert_true(count == 100 && margins[0] == 1 && margins[1] == -1);
    ig_compare_close(c);
    check_ok(compare("up", "base", &c), &err); /* swapped: mirrored */
    const struct ig_compare_pair *q = &c->models[1].pairs[0];
    assert_true(q->lost == 25 && q->gained == 0 && q->verdict == IG_VERDICT_WORSE);
    assert_true(fabs(q->low + 0.25) < 0.15 && q->p < 0.001);
    ig_compare_close(c);
}

static void the_same_run_is_the_same(void **state)
{
    (void)state;
    struct ig_comparison *c;
    struct ig_buf words = {0};
    make_run((struct made){.run = "one", .items = 40, .right = "110"});
    make_run((struct made){.run = "two", .items = 40, .right = "110"});
    check_ok(compare("one", "two", &c), &err);
    const struct ig_compare_pair *p = &c->models[1].pairs[0];
    assert_true(p->verdict == IG_VERDICT_SAME && p->p == 1 && p->margin_p == 1);
    assert_true(p->low < -0.05 && p->high > 0.05); /* 40 items allow no certainty */
    assert_true(c->models[1].mean.low < -0.05 && c->models[1].mean.high > 0.05);
    ig_compare_verdict(c, 1, 0, &words);
    assert_string_equal(words.data, "not distinguishable (the same on all 40 items)");
    ig_buf_release(&words);
    ig_compare_close(c);
}

/* Three items, all gained: drawn again and again they are all gained; that is no p of 0.0002. */
static void few_items_are_no_certainty(void **state)
{
    (void)state;
    struct ig_comparison *c;
    make_run((struct made){.run = "none", .items = 3, .right = "0"});
    make_run((struct made){.run = "all", .items = 3, .right = "1"});
    check_ok(compare("none", "all", &c), &err);
    const struct ig_compare_mean *mean = &c->models[1].mean;
    assert_true(mean->difference == 1 && mean->verdict == IG_VERDICT_SAME);
    assert_true((mean->p < 0.05) == (mean->low > 0));
    ig_compare_close(c);
}

struct seen {
    int gained, lost;
    char last[256];
};
static bool see(void *user, const struct ig_compare_flip *flip)
{
    struct seen *seen = user;
    seen->gained += flip->gained;
    seen->lost += !flip->gained;
    snprintf(seen->last, sizeof seen->last, "%s #%lld " IG_SLICE_FMT " |" IG_SLICE_FMT " %d %d %d",
             flip->task, (long long)flip->doc, IG_SLICE_ARG(flip->contexts[0]),
             IG_SLICE_ARG(flip->choices[1]), flip->gold, flip->pick, flip->pick_base);
    return true;
}

static void flips_have_their_texts(void **state)
{
    (void)state;
    struct ig_comparison *c;
    struct seen seen = {0};
    make_run((struct made){.run = "base", .items = 8, .right = "1010"});
    make_run((struct made){.run = "up", .items = 8, .right = "1100"});
    check_ok(compare("base", "up", &c), &err);
    check_ok(ig_compare_flips(c, 1, -1, see, &seen, &err), &err);
    assert_true(seen.gained == 2 && seen.lost == 2);
    assert_string_equal(seen.last, "piqa #6 Question 6 | yes 0 1 0");
    ig_compare_close(c);
}

static int64_t clusters_of(const char *doc, int items)
{
    struct ig_comparison *c;
    make_run((struct made){.run = "base", .items = items, .right = "1", .doc = doc});
    check_ok(compare("base", NULL, &c), &err);
    int64_t clusters = c->tasks[0].clusters;
    ig_compare_close(c);
    return clusters;
}

static void clusters_are_found(void **state)
{
    (void)state;
    assert_int_equal(clusters_of("\"q\": %d", 12), 12);
    assert_int_equal(clusters_of("\"q\": %d, \"source_id\": \"a~1\"", 12), 1);
    assert_int_equal(clusters_of("\"question\": \"%d\", \"passage\": \"Fox -- a fox\"", 12), 1);
    assert_int_equal(clusters_of("\"question\": \"a\", \"passage\": \"Fox %d -- a fox\"", 12), 12);
    assert_int_equal(
        clusters_of("\"sentence\": \"%d _\", \"option1\": \"Ann\", \"option2\": \"Bea\"", 13), 7);
}

static void folders_are_searched(void **state)
{
    (void)state;
    struct ig_comparison *c;
    char path[256];
    check_ok(ig_dir_make(scratch("many"), &err), &err);
    make_run((struct made){.run = "many/a", .items = 10, .right = "1"});
    make_run((struct made){.run = "many/b", .items = 10, .right = "10"});
    make_run((struct made){.run = "many/b", .task = "boolq", .items = 10, .right = "10"});
    make_run((struct made){
        .run = "many/b", .items = 10, .right = "0", .time = "2026-02-01T00-00-00.000000"});
    check_ok(compare("many", NULL, &c), &err);
    assert_int_equal(c->model_count, 2);
    assert_int_equal(c->task_count, 2);
    assert_int_equal(c->mean_tasks, 1);
    assert_int_equal(c->models[1].scores[1].right, 0); /* the later run counts */
    assert_int_equal(c->models[1].pairs[0].verdict, IG_VERDICT_NONE);
    assert_int_equal(c->note_count, 2);
    ig_compare_close(c);
    snprintf(path, sizeof path, "many/b/results_2026-01-01T00-00-00.000000.json");
    check_ok(compare(path, NULL, &c), &err); /* that time's run, and no other */
    assert_int_equal(c->models[0].scores[1].right, 5);
    ig_compare_close(c);
    check_ok(ig_dir_make(scratch("empty"), &err), &err);
    refused("empty", NULL, "made with --output");
    make_file("numbers", "results_1.json", "{}");
    refused("numbers", NULL, "--log_samples");
}

/* The last file of many decides; of two summaries that end alike one is the run's. */
static void crowded_folders_are_read_whole(void **state)
{
    (void)state;
    struct ig_comparison *c;
    char name[64];
    make_run((struct made){.run = "crowd", .items = 4, .right = "0"});
    for (int i = 0; i < 4200; i++) {
        snprintf(name, sizeof name, "crowd/a%d", i);
        scratch_write(name, "", 0);
    }
    make_run((struct made){
        .run = "crowd", .items = 4, .right = "1", .time = "2026-02-01T00-00-00.000000"});
    make_file("crowd", "results_old_2026-02-01T00-00-00.000000.json",
              "{\"results\": {\"piqa\": {\"acc,none\": 0.25}}}");
    check_ok(compare("crowd", NULL, &c), &err);
    assert_int_equal(c->models[0].scores[0].right, 4);
    ig_compare_close(c);
}

/* 48 tasks whose common summary has 300,000 numbers: 12 MB as a tree, once. */
static void one_summary_serves_many_tasks(void **state)
{
    (void)state;
    struct ig_comparison *c;
    struct ig_buf text = {0};
    char task[16];
    for (int t = 0; t < 48; t++) {
        snprintf(task, sizeof task, "t%02d", t);
        make_run((struct made){.run = "tasks", .task = task, .items = 2, .right = "1"});
    }
    ig_buf_text(&text, "{\"configs\": [0");
    for (int i = 0; i < 300000; i++)
        ig_buf_text(&text, ",1");
    ig_buf_text(&text, "], \"results\": {\"t47\": {\"acc,none\": 0.5}}}");
    scratch_write("tasks/results_2026-01-01T00-00-00.000000.json", text.data, text.len);
    ig_buf_release(&text);
    uint64_t before = ig_peak_bytes();
    check_fails(compare("tasks", NULL, &c), &err, IG_ERR_DATA, "gives acc 1.0000");
    if (before) assert_true(ig_peak_bytes() - before < 200000000);
}

/* ---- what may not be compared ---- */

static void other_tasks_are_said(void **state)
{
    (void)state;
    struct ig_comparison *c;
    make_run((struct made){.run = "lone", .items = 4, .right = "0"});
    make_run((struct made){.run = "alone", .task = "boolq", .items = 4, .right = "0"});
    check_ok(compare("lone", "alone", &c), &err);
    assert_string_equal(c->models[1].profile, "no task in common");
    assert_int_equal(c->note_count, 2);
    ig_compare_close(c);
}

static void other_items_are_refused(void **state)
{
    (void)state;
    make_run((struct made){.run = "base", .items = 20, .right = "10"});
    make_run((struct made){.run = "x", .items = 20, .right = "1", .doc = "\"q\": 1%d"});
    refused("base", "x", "'x' cannot be compared with 'base': piqa: 20 of 20 rows differ");
    make_run((struct made){.run = "x", .items = 20, .right = "1", .context = "Q %d"});
    refused("base", "x", "20 of 20 prompts differ (prompt_hash; doc_ids 0, 1, 2, ..)");
    make_run((struct made){.run = "x", .items = 17, .right = "1"});
    refused("base", "x", "17 items against 20; doc_ids that only one has: 17, 18, 19");
    make_run((struct made){.run = "x", .items = 20, .right = "1", .shots = "5"});
    refused("base", "x", "one has 0 examples before the question, the other 5");
    make_run((struct made){.run = "x", .items = 20, .right = "1", .style = "mlx"});
    refused("base", "x", "--style lm-eval, the other with mlx");
    make_run((struct made){.run = "x", .items = 20, .right = "1", .metric = "exact_match"});
    refused("base", "x", "the metric acc, the other exact_match");
    make_run(
        (struct made){.run = "x", .items = 20, .right = "1", .more = ", \"doc_hash\": \"00\""});
    refused("base", "x", "only one has doc_hash");
}

static void summaries_must_fit(void **state)
{
    (void)state;
    make_run((struct made){.run = "base", .items = 20, .right = "10"});
    make_file("base", "results_2026-01-01T00-00-00.000000.json",
              "{\"results\": {\"piqa\": {\"acc,none\": 0.55}}}");
    refused("base", NULL, "gives acc 0.5000, its results_TIME.json says 0.5500");
}

/* ---- broken files ---- */

static void broken(const char *line, const char *text)
{
    char name[] = "broken/samples_piqa_1.jsonl", file[4096];
    check_ok(ig_dir_make(scratch("broken"), &err), &err);
    snprintf(file, sizeof file,
             "{\"doc_id\": 4, \"doc\": {}, \"acc\": 1, \"target\": \"0\"}\n\n%s\n", line);
    scratch_write(name, file, strlen(file));
    refused("broken", NULL, text);
    assert_non_null(strstr(err.text, "samples_piqa_1.jsonl', line 3: "));
}

static void broken_lines_are_named(void **state)
{
    (void)state;
    broken("{\"doc_id\": 1, ", "");
    broken("[1]", "not an object");
    broken("{\"acc\": 1}", "no 'doc_id'");
    broken("{\"doc_id\": -3, \"acc\": 1}", "no 'doc_id' that is a number of a row");
    broken("{\"doc_id\": 1, \"doc\": {}}", "no member 'acc'");
    broken("{\"doc_id\": 1, \"doc\": {}, \"acc\": 0.37}", "'acc' is 0.37: only answers that are");
    broken("{\"doc_id\": 1, \"doc\": {}, \"acc\": NaN}", "");
    broken("{\"doc_id\": 1, \"acc\": 1}", "neither 'doc' nor 'doc_hash'");
    broken("{\"doc_id\": 4, \"doc\": {}, \"acc\": 1}", "doc_id 4 is there twice, also in line 1");
#define ARGS "\"arguments\": [[\"a\", \" b\"], [\"a\", \" c\"]]"
    broken("{\"doc_id\": 1, \"doc\": {}, \"acc\": 1, " ARGS
           ", \"filtered_resps\": [[\"nan\", \"False\"], [\"-1\", \"False\"]]}",
           "log-likelihood 'nan' is no finite number");
    broken("{\"doc_id\": 1, \"doc\": {}, \"acc\": 1, " ARGS
           ", \"filtered_resps\": [[\"-1\", \"False\"]]}",
           "1 scores in 'filtered_resps', 2 in 'arguments'");
}

static void odd_files_are_read(void **state)
{
    (void)state;
    struct ig_comparison *c;
    make_file("empty", "samples_piqa_1.jsonl", "\n \n");
    refused("empty", NULL, "has no items");
    /* As before 0.4.3: pairs, numbers; no hashes; no newline at the end; another filter between. */
    make_file("old", "samples_gsm_1.jsonl",
              "{\"doc_id\": 1, \"doc\": {}, \"target\": 0, " ARGS
              ", \"filtered_resps\": [[-1.5, false], [-2, false]], \"acc\": 1}\r\n"
              "{\"doc_id\": 0, \"doc\": {}, \"filter\": \"other\", \"acc\": 1}\n"
              "{\"doc_id\": 0, \"doc\": {}, \"target\": 1, " ARGS
              ", \"filtered_resps\": [[-1, false], [-2, false]], \"acc\": false}");
    check_ok(compare("old", NULL, &c), &err);
    int64_t count;
    const double *margins = ig_compare_margins(c, 0, 0, &count);
    assert_true(count == 2 && margins[0] == -1 && margins[1] == 0.5);
    assert_int_equal(c->note_count, 1);
    ig_compare_close(c);
}

/* acc_norm: whether the choices were scored with a blank before them is found from the verdicts. */
static void lengths_with_and_without_a_blank(void **state)
{
    (void)state;
    static const char *const blanks[] = {" ", ""};
    for (int k = 0; k < 2; k++) {
        struct ig_comparison *c;
        char line[1024];
        int64_t count;
        /* Lengths 1 and 5: -2 and -8.5 a choice, or (-10 / 5) -2 and -1.7. */
        snprintf(line, sizeof line,
                 "{\"doc_id\": 0, \"doc\": {}, \"target\": \"0\", \"arguments\": [[\"a\", "
                 "\"%sb\"], [\"a\", \"%scdefg\"]], \"filtered_resps\": [[\"-2\", 0], [\"-8.5\", "
                 "0]], \"acc_norm\": 0, \"acc\": 1}\n",
                 blanks[k], blanks[k]);
        make_file("norm", "samples_x_1.jsonl", line);
        check_ok(compare("norm", NULL, &c), &err);
        const double *margins = ig_compare_margins(c, 0, 0, &count);
        assert_non_null(margins);
        assert_true(fabs(margins[0] + 0.3) < 1e-12);
        ig_compare_close(c);
    }
}

/* ---- the harness's own files ---- */

static void the_harness_is_read(void **state)
{
    (void)state;
    struct ig_comparison *c;
    char path[IG_PATH_MAX];
    const char *list[1] = {path};
    check_ok(ig_path_join(path, getenv("INGOT_TESTS"), "golden/compare/lm-eval", &err), &err);
    const struct ig_compare_job job = {.paths = list, .path_count = 1, .rounds = 100};
    check_ok(ig_compare_open(&job, &c, &err), &err);
    assert_int_equal(c->task_count, 7);
    assert_int_equal(c->mean_tasks, 7);
    for (int t = 0; t < 7; t++) {
        int64_t count;
        assert_int_equal(c->tasks[t].items, 6);
        assert_int_equal(c->tasks[t].shots, 0);
        assert_non_null(ig_compare_margins(c, 0, t, &count)); /* verdicts and scores agree */
    }
    assert_string_equal(c->tasks[0].metric, "acc_norm");
    assert_string_equal(c->tasks[6].metric, "acc");
    ig_compare_close(c);
}

/* ---- published tables ---- */

static void check_profile(const struct ig_published *p, int row, const char *want)
{
    struct ig_buf text = {0};
    ig_published_profile(p, row, &text);
    assert_string_equal(text.data ? text.data : "", want);
    ig_buf_release(&text);
}

static void published_profiles(void **state)
{
    (void)state;
    struct ig_published *p;
    struct ig_buf words = {0};
    static const char text[] = "table\tmodel\topenbookqa\tpiqa\tboolq\n"
                               "s\ta\t0.424\t0.788\t0.80\n"
                               "t\ta\t0.424\t0.788\t-\n"
                               "s\tb\t0.432\t0.70\t0.85\n"
                               "t\tb\t0.424\t-\t0.1\n";
    check_ok(ig_published_parse(ig_slice_of(text), NULL, &p, &err), &err);
    check_profile(p, 0, "");
    check_profile(p, 2,
                  "better on boolq (+5.0); worse on piqa (-8.8); from numbers alone it cannot be "
                  "told on the other task; mean of 3 -1.0 points: cannot be told; paired: if at "
                  "most 8 % changed side");
    check_profile(p, 3, "from numbers alone it cannot be told on the only task");
    /* 0.8 points of 500 are significant up to (0.008 / 1.96)^2 500 of discordant items. */
    assert_true(fabs(ig_published_share(&p->rows[2].pairs[0]) - 0.00833) < 0.0001);
    assert_true(ig_published_share(&p->rows[3].pairs[0]) == 0);
    ig_published_verdict(&p->rows[3].pairs[0], &words);
    assert_string_equal(words.data, "cannot be told, paired or not");
    ig_buf_release(&words);
    ig_published_close(p);
}

static void published_tables(void **state)
{
    (void)state;
    struct ig_published *p;
    static const char text[] = "model\topenbookqa\tpiqa\tmine\n"
                               "a\t0.424\t0.788\t0.5\n"
                               "b\t0.433\t0.70\t-\n";
    check_ok(ig_published_parse(ig_slice_of(text), NULL, &p, &err), &err);
    assert_true(!p->rows[0].values[0].impossible && p->rows[1].values[0].impossible);
    assert_true(!p->rows[1].values[1].impossible); /* two digits: a wide net */
    assert_int_equal(p->rows[1].pairs[0].verdict, IG_VERDICT_SAME);
    assert_int_equal(p->rows[1].pairs[1].verdict, IG_VERDICT_WORSE);
    assert_int_equal(p->rows[1].pairs[2].verdict, IG_VERDICT_NONE);
    assert_true(fabs(p->rows[1].pairs[0].paired[1] - 0.0215) < 0.0001); /* 1.96 sqrt(.06 / 500) */
    ig_published_close(p);
    check_fails(ig_published_parse(ig_slice_of("model\tpiqa\na\t78.8\n"), NULL, &p, &err), &err,
                IG_ERR_DATA, "line 2: piqa: '78.8' is more than 1");
    check_fails(ig_published_parse(ig_slice_of("model\tpiqa\na\t0.1\t2\n"), NULL, &p, &err), &err,
                IG_ERR_DATA, "line 2: 3 cells, the head has 2");
    check_fails(ig_published_parse(ig_slice_of("model\tpiqa\na\tnan\n"), NULL, &p, &err), &err,
                IG_ERR_DATA, "'nan' is no accuracy");
    check_fails(ig_published_parse(ig_slice_of("piqa\n"), NULL, &p, &err), &err, IG_ERR_DATA,
                "the head must be");
    check_fails(ig_published_parse(ig_slice_of("model\tpiqa\na\t.5\n"), "z", &p, &err), &err,
                IG_ERR_USAGE, "no model 'z'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_words),
        cmocka_unit_test(the_same_run_is_the_same),
        cmocka_unit_test(few_items_are_no_certainty),
        cmocka_unit_test(flips_have_their_texts),
        cmocka_unit_test(clusters_are_found),
        cmocka_unit_test(folders_are_searched),
        cmocka_unit_test(crowded_folders_are_read_whole),
        cmocka_unit_test(one_summary_serves_many_tasks),
        cmocka_unit_test(other_tasks_are_said),
        cmocka_unit_test(other_items_are_refused),
        cmocka_unit_test(summaries_must_fit),
        cmocka_unit_test(broken_lines_are_named),
        cmocka_unit_test(odd_files_are_read),
        cmocka_unit_test(lengths_with_and_without_a_blank),
        cmocka_unit_test(the_harness_is_read),
        cmocka_unit_test(published_tables),
        cmocka_unit_test(published_profiles),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
