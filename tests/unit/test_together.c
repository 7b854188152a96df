/* SPDX-License-Identifier: Apache-2.0
 * together — sessions that step together give what each gives alone; a copied prefix is as good as
 * a computed one, and so is one out of a file; biases, penalties and XTC on logits that are known.
 */
#include "base/file.h"
#include "check.h"
#include "ingot/infer.h"
#include "ingot/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { VOCAB = 64, SESSIONS = 5, STEPS = 12 };
#define TOLERANCE 1e-4F

static const char *const folders[] = {"plain", "mixed", "qwen3_moe", "qwen3_next", "gemma3_text"};

static struct ig_model *open_model(const char *name)
{
    struct ig_err err = {0};
    struct ig_model *model = NULL;
    char dir[4096];
    const char *tests = getenv("INGOT_TESTS");
    snprintf(dir, sizeof dir, "%s/golden/infer/%s", tests ? tests : "tests", name);
    check_ok(ig_model_open(dir, 2, &model, &err), &err);
    return model;
}

static int32_t token_at(int session, int64_t position)
{
    return (int32_t)((session * 31 + position * 7 + position * position) % VOCAB);
}

static void feed(struct ig_session *s, int session, int64_t from, int64_t count)
{
    struct ig_err err = {0};
    int32_t tokens[256];
    for (int64_t i = 0; i < count; i++)
        tokens[i] = token_at(session, from + i);
    check_ok(ig_session_feed(s, tokens, (size_t)count, &err), &err);
}

static void check_near(const float *got, const float *want, const char *what, int session)
{
    for (int i = 0; i < VOCAB; i++)
        if (!(fabsf(got[i] - want[i]) <= TOLERANCE))
            fail_msg("%s, session %d, token %d: %.7g, want %.7g", what, session, i, (double)got[i],
                     (double)want[i]);
}

static void check_folder(const char *name)
{
    struct ig_err err = {0};
    struct ig_model *model = open_model(name);
    struct ig_session *all[SESSIONS] = {0}, *alone;
    float logits[SESSIONS * VOCAB];
    check_ok(ig_session_new(model, 0, &alone, &err), &err);
    check_ok(ig_session_new(model, 128, &all[0], &err), &err);
    for (int i = 1; i < SESSIONS; i++)
        check_ok(ig_session_new_beside(all[0], 100 + i, &all[i], &err), &err);
    for (int i = 0; i < SESSIONS; i++)
        feed(all[i], i, 0, 3 + 11 * i);
    for (int step = 0; step < STEPS; step++) {
        struct ig_session *now[SESSIONS];
        int32_t tokens[SESSIONS];
        size_t count = 0;
        for (int i = step % 3; i < SESSIONS; i++) { /* 5, 4 or 3 together */
            tokens[count] = token_at(i, ig_session_length(all[i]));
            now[count++] = all[i];
        }
        check_ok(ig_sessions_step(now, tokens, count, logits, &err), &err);
    }
    for (int i = 2; i < SESSIONS; i++) { /* those were in every step */
        assert_int_equal(ig_session_length(all[i]), 3 + 11 * i + STEPS);
        ig_session_trim(alone, 0);
        feed(alone, i, 0, 3 + 11 * i + STEPS);
        check_near(logits + (i - 2) * VOCAB, ig_session_logits(alone), name, i);
    }
    if (ig_session_copy(all[0], all[4], 20)) {
        feed(all[0], 4, 20, 10);
        ig_session_trim(alone, 0);
        feed(alone, 4, 0, 30);
        check_near(ig_session_logits(all[0]), ig_session_logits(alone), "copied", 0);
    } else {
        assert_string_equal(name, "qwen3_next");
    }
    assert_false(ig_session_copy(all[0], all[4], 1000));
    for (int i = SESSIONS; i-- > 0;)
        ig_session_free(all[i]);
    ig_session_free(alone);
    ig_model_close(model);
}

static void steps_together_are_steps_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        check_folder(folders[i]);
}

static void a_full_context_takes_no_step(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_model("plain");
    struct ig_session *two[2];
    float logits[2 * VOCAB];
    check_ok(ig_session_new(model, 16, &two[0], &err), &err);
    check_ok(ig_session_new_beside(two[0], 16, &two[1], &err), &err);
    feed(two[0], 0, 0, 15);
    feed(two[1], 1, 0, 16);
    const int32_t tokens[] = {1, 1}, beyond[] = {1, VOCAB};
    check_fails(ig_sessions_step(two, tokens, 2, logits, &err), &err, IG_ERR_DATA, "is full");
    ig_session_trim(two[1], 3);
    check_fails(ig_sessions_step(two, beyond, 2, logits, &err), &err, IG_ERR_DATA, "vocabulary");
    assert_int_equal(ig_session_length(two[0]), 15);
    assert_int_equal(ig_session_length(two[1]), 3);
    ig_session_free(two[1]);
    ig_session_free(two[0]);
    ig_model_close(model);
}

/* ---- sessions in files ---- */

static void write_all(const char *path, struct ig_slice bytes)
{
    struct ig_err err = {0};
    check_ok(ig_file_write(path, bytes, &err), &err);
}

static void check_damage(struct ig_session *s, const char *path, struct ig_slice bytes)
{
    struct ig_err err = {0};
    int32_t tokens[256];
    for (size_t cut = 0; cut < bytes.len; cut += bytes.len / 50 + 1) {
        write_all(path, ig_slice_make(bytes.ptr, cut));
        check_fails(ig_session_load(s, path, tokens, &err), &err, IG_ERR_DATA, path);
        assert_int_equal(ig_session_length(s), 0);
    }
    for (size_t at = 0; at < bytes.len; at += bytes.len / 50 + 1) {
        char *copy = malloc(bytes.len);
        assert_non_null(copy);
        memcpy(copy, bytes.ptr, bytes.len);
        copy[at] = (char)(copy[at] ^ 1);
        write_all(path, ig_slice_make(copy, bytes.len));
        check_fails(ig_session_load(s, path, tokens, &err), &err, IG_ERR_DATA, path);
        free(copy);
    }
    check_fails(ig_session_load(s, "/nowhere/x", tokens, &err), &err, IG_ERR_IO, "/nowhere/x");
}

static void saved_and_loaded(const char *name, const char *path)
{
    struct ig_err err = {0};
    struct ig_model *model = open_model(name), *other = open_model("mixed");
    struct ig_session *s, *t, *foreign;
    struct ig_buf bytes = {0};
    int32_t tokens[128], back[128];
    check_ok(ig_session_new(model, 64, &s, &err), &err);
    check_ok(ig_session_new(model, 100, &t, &err), &err);
    check_ok(ig_session_new(other, 64, &foreign, &err), &err);
    for (int i = 0; i < 41; i++)
        tokens[i] = token_at(3, i);
    feed(s, 3, 0, 41);
    check_ok(ig_session_save(s, tokens, path, &err), &err);
    check_ok(ig_session_load(t, path, back, &err), &err);
    assert_int_equal(ig_session_length(t), 41);
    assert_memory_equal(back, tokens, 41 * sizeof *back);
    feed(s, 3, 41, 5);
    feed(t, 3, 41, 5);
    assert_memory_equal(ig_session_logits(s), ig_session_logits(t), VOCAB * sizeof(float));
    if (strcmp(name, "mixed") != 0)
        check_fails(ig_session_load(foreign, path, back, &err), &err, IG_ERR_DATA, "another model");
    check_ok(ig_file_read(path, 1 << 24, &bytes, &err), &err);
    check_damage(t, path, ig_buf_view(&bytes));
    feed(t, 3, 0, 64);
    for (int i = 0; i < 64; i++)
        tokens[i] = token_at(3, i);
    feed(t, 3, 64, 10);
    for (int i = 64; i < 74; i++)
        tokens[i] = token_at(3, i);
    check_ok(ig_session_save(t, tokens, path, &err), &err);
    check_fails(ig_session_load(s, path, back, &err), &err, IG_ERR_DATA, "the context is 64");
    check_fails(ig_session_save(t, tokens, "/nowhere/x", &err), &err, IG_ERR_IO, "/nowhere/x");
    ig_buf_release(&bytes);
    ig_session_free(s);
    ig_session_free(t);
    ig_session_free(foreign);
    ig_model_close(model);
    ig_model_close(other);
}

static void what_a_session_holds_goes_to_a_file_and_back(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char dir[] = "/tmp/ingot-session-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.kv", dir);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        saved_and_loaded(folders[i], path);
    check_ok(ig_dir_remove(dir, &err), &err);
}

/* ---- the sampler on logits that are known ---- */

static const struct ig_sampling greedy = {
    .top_p = 1, .repetition_penalty = 1, .repetition_window = 20};

/* Token i has logit -i / 4 but for those given. */
static void fill(float *logits)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -0.25F * (float)i;
}

static int32_t pick(struct ig_model *model, const struct ig_sampling *how, const int32_t *history,
                    size_t count, int64_t position)
{
    struct ig_err err = {0};
    struct ig_sampler *sampler;
    float logits[VOCAB];
    double logprob;
    fill(logits);
    check_ok(ig_sampler_new(model, how, &sampler, &err), &err);
    ig_sampler_note(sampler, history, count);
    int32_t token = ig_sampler_pick(sampler, logits, position, NULL, 0, &logprob);
    ig_sampler_free(sampler);
    return token;
}

static void penalties_and_biases_act(void **state)
{
    (void)state;
    struct ig_model *model = open_model("plain");
    struct ig_sampling how = greedy;
    const int32_t history[] = {0, 0, 0, 1};
    assert_int_equal(pick(model, &how, history, 4, 4), 0);
    how.presence_penalty = 0.3; /* 0: -0.3, 1: -0.55, 2: -0.5 */
    assert_int_equal(pick(model, &how, history, 4, 4), 0);
    how.presence_penalty = 0.6; /* 0: -0.6, 2: -0.5 */
    assert_int_equal(pick(model, &how, history, 4, 4), 2);
    how.presence_penalty = 0;
    how.frequency_penalty = 0.1; /* 0: -0.3, 1: -0.35 */
    assert_int_equal(pick(model, &how, history, 4, 4), 0);
    how.frequency_penalty = 0.15; /* 0: -0.45, 1: -0.4 */
    assert_int_equal(pick(model, &how, history, 4, 4), 1);
    how.frequency_penalty = 0;
    const struct ig_bias biases[] = {{0, -100.0F}, {7, 100.0F}, {VOCAB + 3, 100.0F}};
    how.biases = biases;
    how.bias_count = 3;
    assert_int_equal(pick(model, &how, history, 4, 4), 7);
    ig_model_close(model);
}

static void xtc_leaves_out_the_likeliest(void **state)
{
    (void)state;
    struct ig_model *model = open_model("plain");
    struct ig_sampling how = greedy;
    /* Probabilities .221, .172, .134, .105, .081 ..: above .1 are the first four. */
    how.temperature = 0.01; /* as good as greedy */
    how.xtc_probability = 1;
    how.xtc_threshold = 0.1;
    assert_int_equal(pick(model, &how, NULL, 0, 0), 3);
    how.top_k = 1;
    assert_int_equal(pick(model, &how, NULL, 0, 0), 3);
    how.top_k = 0;
    how.top_p = 0.35; /* keeps .221 and .172, .56 and .44 of what is left */
    assert_int_equal(pick(model, &how, NULL, 0, 0), 1);
    how.top_p = 1;
    const int32_t spared[] = {1, 2};
    how.xtc_spared = spared;
    how.xtc_spared_count = 2;
    assert_int_equal(pick(model, &how, NULL, 0, 0), 1);
    how.xtc_threshold = 0.5; /* nothing is above */
    assert_int_equal(pick(model, &how, NULL, 0, 0), 0);
    how.xtc_threshold = 0.1;
    how.xtc_spared_count = 0;
    how.xtc_probability = 0.5;
    int left_out = 0;
    for (int64_t position = 0; position < 1000; position++) {
        int32_t token = pick(model, &how, NULL, 0, position);
        assert_true(token == 0 || token == 3);
        left_out += token == 3;
    }
    if (left_out < 440 || left_out > 560) fail_msg("%d of 1000", left_out);
    struct ig_err err = {0};
    how.xtc_threshold = 0.6;
    check_fails(ig_sampling_check(&how, &err), &err, IG_ERR_USAGE, "the threshold of XTC is 0.6");
    ig_model_close(model);
}

static void the_likeliest_are_told(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_model *model = open_model("plain");
    struct ig_sampler *sampler;
    struct ig_choice top[VOCAB];
    float logits[VOCAB];
    double logprob, sum = 0;
    fill(logits);
    logits[9] = 0.5F;
    check_ok(ig_sampler_new(model, &greedy, &sampler, &err), &err);
    assert_int_equal(ig_sampler_pick(sampler, logits, 0, top, 5, &logprob), 9);
    const int32_t want[] = {9, 0, 1, 2, 3};
    for (int i = 0; i < 5; i++)
        assert_int_equal(top[i].token, want[i]);
    assert_true(fabs(logprob - (double)top[0].logprob) < 1e-6);
    ig_sampler_pick(sampler, logits, 0, top, VOCAB, &logprob);
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)top[i].logprob);
    assert_true(fabs(sum - 1) < 1e-5);
    ig_sampler_free(sampler);
    ig_model_close(model);
}

/* ---- and as mlx-lm has it: tools/golden/sampling_mlx.py ---- */

enum { DRAWS = 3000, LIST_MAX = 64 };

static size_t read_list(const struct ig_json *list, int32_t out[LIST_MAX])
{
    int64_t value = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        assert_true(i < LIST_MAX && ig_json_int(&list->items[i], &value));
        out[i] = (int32_t)value;
    }
    return list ? list->count : 0;
}

static void read_real(const struct ig_json *row, const char *name, double *out)
{
    if (ig_json_get(row, name)) assert_true(ig_json_real(ig_json_get(row, name), out));
}

static size_t read_biases(const struct ig_json *object, struct ig_bias out[LIST_MAX])
{
    double add = 0;
    for (uint32_t i = 0; object && i < object->count; i++) {
        assert_true(ig_json_real(&object->items[i], &add));
        out[i] = (struct ig_bias){atoi(object->items[i].key.ptr), (float)add};
    }
    return object ? object->count : 0;
}

/* What is drawn when what may be drawn is as good as equally likely, is what may be drawn. */
static void check_kept(struct ig_sampler *sampler, const float *logits, const struct ig_json *row)
{
    int32_t want[LIST_MAX], got[LIST_MAX];
    bool seen[VOCAB] = {false};
    size_t count = read_list(ig_json_get(row, "kept"), want), drawn = 0;
    for (int64_t position = 0; position < DRAWS; position++) {
        float copy[VOCAB];
        double logprob;
        memcpy(copy, logits, sizeof copy);
        seen[ig_sampler_pick(sampler, copy, position, NULL, 0, &logprob)] = true;
    }
    for (int32_t i = 0; i < VOCAB; i++)
        if (seen[i]) got[drawn++] = i;
    assert_int_equal(drawn, count);
    assert_memory_equal(got, want, count * sizeof *got);
}

static void sample_row(struct ig_model *model, const struct ig_json *row)
{
    struct ig_err err = {0};
    struct ig_sampler *sampler;
    struct ig_sampling how = greedy;
    struct ig_bias biases[LIST_MAX];
    float logits[VOCAB], copy[VOCAB];
    int32_t history[LIST_MAX], spared[LIST_MAX];
    double value = 0, logprob, want_logprob = 0;
    int64_t want = -1;
    how.xtc_threshold = 0.1;
    read_real(row, "top_p", &how.top_p);
    read_real(row, "min_p", &how.min_p);
    read_real(row, "repetition_penalty", &how.repetition_penalty);
    read_real(row, "presence_penalty", &how.presence_penalty);
    read_real(row, "frequency_penalty", &how.frequency_penalty);
    read_real(row, "xtc_probability", &how.xtc_probability);
    read_real(row, "xtc_threshold", &how.xtc_threshold);
    read_real(row, "logprob", &want_logprob);
    if (ig_json_get(row, "top_k")) assert_true(ig_json_int(ig_json_get(row, "top_k"), &how.top_k));
    assert_true(ig_json_int(ig_json_get(row, "greedy"), &want));
    how.xtc_spared = spared;
    how.xtc_spared_count = read_list(ig_json_get(row, "xtc_spared"), spared);
    how.biases = biases;
    how.bias_count = read_biases(ig_json_get(row, "logit_bias"), biases);
    for (int i = 0; i < VOCAB; i++) {
        assert_true(ig_json_real(&ig_json_get(row, "logits")->items[i], &value));
        logits[i] = copy[i] = (float)value;
    }
    check_ok(ig_sampler_new(model, &how, &sampler, &err), &err);
    ig_sampler_note(sampler, history, read_list(ig_json_get(row, "history"), history));
    assert_int_equal(ig_sampler_pick(sampler, copy, 0, NULL, 0, &logprob), want);
    assert_true(fabs(logprob - want_logprob) < 2e-5);
    ig_sampler_free(sampler);
    how.temperature = 1e6;
    how.repetition_window = 0; /* the draws would be a history; their cases have no other options */
    bool penalises =
        how.repetition_penalty != 1 || how.presence_penalty != 0 || how.frequency_penalty != 0;
    if (penalises) return;
    check_ok(ig_sampler_new(model, &how, &sampler, &err), &err);
    check_kept(sampler, logits, row);
    ig_sampler_free(sampler);
}

static void samples_are_those_of_mlx(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_model *model = open_model("plain");
    const char *tests = getenv("INGOT_TESTS");
    char path[4096];
    int rows = 0;
    snprintf(path, sizeof path, "%s/golden/infer/sampling.jsonl", tests ? tests : "tests");
    check_ok(ig_file_read(path, 1 << 20, &text, &err), &err);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"), rows++) {
        struct ig_json_doc *doc;
        check_ok(ig_json_doc_new(ig_slice_of(line), &doc, &err), &err);
        sample_row(model, ig_json_doc_root(doc));
        ig_json_doc_free(doc);
    }
    assert_int_equal(rows, 34);
    ig_buf_release(&text);
    ig_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_together_are_steps_alone),
        cmocka_unit_test(a_full_context_takes_no_step),
        cmocka_unit_test(what_a_session_holds_goes_to_a_file_and_back),
        cmocka_unit_test(penalties_and_biases_act),
        cmocka_unit_test(xtc_leaves_out_the_likeliest),
        cmocka_unit_test(the_likeliest_are_told),
        cmocka_unit_test(samples_are_those_of_mlx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
