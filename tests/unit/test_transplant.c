/* SPDX-License-Identifier: Apache-2.0
 * transplant — a model with another one's tokenizer: rows are mergekit-tokensurgeon's
 * (tools/golden/transplant_golden.py); what text spelling finds beyond it; pursuit against itself;
 * what is refused. */
#include "merge/transplant/graft.h"
#include "merge_models.h"

#include <math.h>

static char golden_dir[1024];

static const char *golden_path(const char *form, int number)
{
    static char path[1100];
    char name[64];
    snprintf(name, sizeof name, form, number);
    snprintf(path, sizeof path, "%s/%s", golden_dir, name);
    return path;
}

/* ---- mergekit's ---- */

/* "-a omp -k 5 -c" as a recipe's lines. */
static void put_options(struct ig_buf *out, struct ig_slice options)
{
    static const char *const names[][2] = {{"-a", "approximation"},
                                           {"-k", "k"},
                                           {"-w", "weight_scheme"},
                                           {"-s", "subword_method"},
                                           {"--prefix-match", "prefix_match"},
                                           {"--byte-match", "byte_match"},
                                           {"--new-vocab-scale", "new_vocab_scale"}};
    char text[256];
    snprintf(text, sizeof text, "%.*s", IG_SLICE_ARG(options));
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        if (strcmp(word, "-c") == 0) {
            ig_buf_text(out, ", cosine_similarity: true");
            continue;
        }
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strcmp(names[i][0], word) == 0)
                ig_buf_printf(out, ", %s: %s", names[i][1], strtok(NULL, " "));
    }
}

static void compare_tensor(const struct ig_store *want, const struct ig_store *got,
                           const char *name, const char *what)
{
    const struct ig_tensor *a = ig_store_find(want, ig_slice_of(name));
    const struct ig_tensor *b = ig_store_find(got, ig_slice_of(name));
    if (!a != !b) fail_msg("%s: %s is in one only", what, name);
    if (!a) return;
    assert_int_equal(a->shape[0], b->shape[0]);
    assert_int_equal(a->shape[1], b->shape[1]);
    float *x = bytes_of(want, name), *y = bytes_of(got, name);
    for (int64_t i = 0; i < a->elems; i++)
        if (!(fabsf(x[i] - y[i]) <= 1e-6f))
            fail_msg("%s: %s[%lld, %lld]: %.9g, want %.9g", what, name,
                     (long long)(i / a->shape[1]), (long long)(i % a->shape[1]), (double)y[i],
                     (double)x[i]);
    free(x);
    free(y);
}

static int64_t number_of(const struct ig_json *config, const char *key)
{
    int64_t value;
    return ig_json_int(ig_json_get(config, key), &value) ? value : -1;
}

static void compare_case(int number, const struct ig_json *row)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_store *want, *donor, *got;
    int64_t model = number_of(row, "model"), from = number_of(row, "donor");
    ig_buf_printf(&text, "merge_method: passthrough\nmodels: [{model: '%s/m%d'}]\n", golden_dir,
                  (int)model);
    ig_buf_printf(&text, "transplant: {donor: '%s/m%d', spelling: mergekit", golden_dir, (int)from);
    put_options(&text, ig_json_text(ig_json_get(row, "options")));
    ig_buf_text(&text, "}\n");
    got = merged(text.data);
    check_ok(ig_store_open(golden_path("out%d.safetensors", number), &want, &err), &err);
    check_ok(ig_store_open(golden_path("m%d", (int)from), &donor, &err), &err);
    compare_tensor(want, got, "model.embed_tokens.weight", text.data);
    compare_tensor(want, got, "lm_head.weight", text.data);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(number_of(ig_store_config(got), keys[i]),
                         number_of(ig_store_config(donor), keys[i]));
    assert_int_equal(number_of(ig_store_config(got), "vocab_size"),
                     ig_store_find(got, ig_slice_of("model.embed_tokens.weight"))->shape[0]);
    ig_store_close(want);
    ig_store_close(donor);
    ig_store_close(got);
    ig_buf_release(&text);
}

static void rows_are_those_of_mergekit(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_json_doc *doc;
    struct ig_buf text = {0};
    check_ok(ig_file_read(golden_path("cases.json", 0), 1 << 20, &text, &err), &err);
    check_ok(ig_json_doc_new(ig_buf_view(&text), &doc, &err), &err);
    const struct ig_json *list = ig_json_doc_root(doc);
    assert_true(list->count > 10);
    for (uint32_t i = 0; i < list->count; i++)
        compare_case((int)i, &list->items[i]);
    ig_json_doc_free(doc);
    ig_buf_release(&text);
}

/* ---- spelling ---- */

static const char byte_tokenizer[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"\\u0120a\": 1, \"\\u010a\": 2, "
    "\"\\u0120\\u00c3\\u00a9\": 3, \"\\u00c3\": 4, \"z\": 5}, \"merges\": []}, "
    "\"decoder\": {\"type\": \"ByteLevel\"}, "
    "\"added_tokens\": [{\"id\": 6, \"content\": \"<end>\"}, {\"id\": 7, \"content\": \"<t>\"}]}";
static const char piece_tokenizer[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"</s>\": 0, \"<0x0A>\": 1, \"<0xC3>\": 2, "
    "\"\\u2581\\u00e9\": 3, \"\\u2581a\": 4, \"a\": 5, \"<0x61>\": 6, \"<t>\": 7, \"ab\": 8, "
    "\"b\": 9}, \"merges\": []}, \"decoder\": {\"type\": \"Replace\"}, "
    "\"added_tokens\": [{\"id\": 0, \"content\": \"</s>\"}]}";

static void put_tokenizer(const char *folder, const char *text, const char *eos)
{
    struct ig_err err = {0};
    char name[64], config[64];
    check_ok(ig_dir_make(scratch(folder), &err), &err);
    snprintf(name, sizeof name, "%s/tokenizer.json", folder);
    scratch_write(name, text, strlen(text));
    snprintf(name, sizeof name, "%s/tokenizer_config.json", folder);
    snprintf(config, sizeof config, "{\"eos_token\": {\"content\": \"%s\"}}", eos);
    scratch_write(name, config, strlen(config));
}

static int32_t same(const struct spelled *model, const struct spelled *donor, int64_t id)
{
    for (int64_t i = 0; i < donor->vocab.count; i++)
        if (donor->vocab.ids[i] == id) return transplant__same(model, donor->keys[i], model->rows);
    fail_msg("no token %d", (int)id);
    return -1;
}

static void tokens_are_the_same_when_their_text_is(void **state)
{
    /* by the donor's id: </s>, newline, byte C3, " é", " a", "a", a byte that is text, <t>, ab, b
     */
    static const int32_t by_text[] = {6, 2, 4, 3, 1, 0, -1, 7, -1, -1};
    static const int32_t by_mergekit[] = {6, -1, -1, -1, 1, 0, -1, 7, -1, -1};
    (void)state;
    put_tokenizer("bytes", byte_tokenizer, "<end>");
    put_tokenizer("pieces", piece_tokenizer, "</s>");
    for (int spelling = SPELLING_TEXT; spelling <= SPELLING_MERGEKIT; spelling++) {
        struct ig_err err = {0};
        struct ig_arena arena = {0};
        struct spelled model = {0}, donor = {0};
        check_ok(transplant__spell(scratch("bytes"), spelling, &arena, &model, &err), &err);
        check_ok(transplant__spell(scratch("pieces"), spelling, &arena, &donor, &err), &err);
        for (int id = 0; id < 10; id++) {
            int32_t want = (spelling == SPELLING_TEXT ? by_text : by_mergekit)[id];
            if (same(&model, &donor, id) != want)
                fail_msg("spelling %d, token %d: %d, want %d", spelling, id,
                         same(&model, &donor, id), want);
        }
        assert_int_equal(transplant__same_prefix(&model, donor.keys[8], model.rows), 0);
        assert_int_equal(transplant__same_prefix(&model, donor.keys[9], model.rows), -1);
        assert_int_equal(transplant__same_byte(&model, donor.keys[6], model.rows), 0);
        assert_int_equal(transplant__same_byte(&donor, model.keys[0], donor.rows), 6);
        assert_int_equal(transplant__same(&model, donor.keys[7], 7), -1); /* it has no row 7 */
        struct ig_slice literal = {"t<end>", 6};                          /* of a special token */
        assert_int_equal(transplant__same(&model, literal, model.rows),
                         spelling == SPELLING_TEXT ? 6 : -1);
        transplant__spelled_release(&model);
        transplant__spelled_release(&donor);
        ig_arena_release(&arena);
    }
}

/* ---- pursuit ---- */

#define WIDTH 128
#define ATOMS 300
#define PICKS 20

static float values[ATOMS * WIDTH];

static void fill_atoms(struct atoms *a, bool coarse)
{
    struct ig_err err = {0};
    uint32_t seed = 5;
    *a = (struct atoms){.count = ATOMS, .width = WIDTH, .dtype = IG_F32};
    for (int i = 0; i < ATOMS * WIDTH; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) * 0x1p-24f - 0.45f;
    }
    memcpy(values + 290 * WIDTH, values + 7 * WIDTH, WIDTH * sizeof *values); /* one twice */
    check_ok(transplant__atoms_way(a, coarse, &err), &err);
    check_ok(transplant__atoms_new(a, &err), &err);
    for (int i = 0; i * ATOMS_BLOCK < ATOMS; i++)
        check_ok(transplant__atoms_put(a, i, values + i * ATOMS_BLOCK * WIDTH, &err), &err);
}

/* What pursuit must choose, by f64 and nothing else. */
static int32_t largest_product(const double *left, const int32_t *used, int count)
{
    double most = 0;
    int32_t best = -1;
    for (int32_t i = 0; i < ATOMS; i++) {
        double sum = 0;
        bool taken = false;
        for (int j = 0; j < count; j++)
            taken = taken || used[j] == i;
        for (int j = 0; j < WIDTH; j++)
            sum += left[j] * (double)values[i * WIDTH + j];
        if (taken || fabs(sum) <= most * (1 + 1e-9)) continue;
        most = fabs(sum);
        best = i;
    }
    return best;
}

/* Each choice is the largest product with what the choices before it leave. */
static void check_choices(const float *x, const int32_t *atoms, int count)
{
    double basis[PICKS][WIDTH], left[WIDTH];
    for (int j = 0; j < WIDTH; j++)
        left[j] = (double)x[j];
    for (int i = 0; i < count; i++) {
        assert_int_equal(atoms[i], largest_product(left, atoms, i));
        double square = 0, part = 0;
        for (int j = 0; j < WIDTH; j++)
            basis[i][j] = (double)values[atoms[i] * WIDTH + j];
        for (int twice = 0; twice < 2 * i; twice++) {
            double along = 0;
            for (int j = 0; j < WIDTH; j++)
                along += basis[twice % i][j] * basis[i][j];
            for (int j = 0; j < WIDTH; j++)
                basis[i][j] -= along * basis[twice % i][j];
        }
        for (int j = 0; j < WIDTH; j++)
            square += basis[i][j] * basis[i][j];
        for (int j = 0; j < WIDTH; j++) {
            basis[i][j] /= sqrt(square);
            part += basis[i][j] * left[j];
        }
        for (int j = 0; j < WIDTH; j++)
            left[j] -= part * basis[i][j];
    }
}

/* By whatever products are taken: f32 or 8-bit codes. None for 0; an atom itself is one; a sum of
 * three is found; of two that are equal the first. */
static void pursuit_chooses_the_largest_products(void **state)
{
    (void)state;
    for (int coarse = 0; coarse < 2; coarse++) {
        struct ig_err err = {0};
        struct atoms a;
        struct pursuer *p;
        static float x[11 * WIDTH];
        static int32_t atoms[11 * PICKS], used[11];
        static double weights[11 * PICKS];
        struct picks picks = {atoms, weights, used, PICKS};
        fill_atoms(&a, coarse);
        for (int j = 0; j < WIDTH; j++) {
            x[j] = 3 * values[7 * WIDTH + j] - 2 * values[40 * WIDTH + j] + values[69 * WIDTH + j];
            x[WIDTH + j] = 0;
            x[2 * WIDTH + j] = values[33 * WIDTH + j];
            for (int t = 3; t < 11; t++)
                x[t * WIDTH + j] = sinf((float)(t * 1000 + j * t * t)) + (j == 5 ? 20 : 0);
        }
        check_ok(transplant__pursuer_new(&a, PICKS, &p, &err), &err);
        transplant__pursue(p, x, 11, &picks);
        assert_int_equal(used[1], 0);
        assert_int_equal(used[2], 1);
        assert_int_equal(atoms[2 * PICKS], 33);
        for (int32_t i = 0; i < used[0]; i++) {
            int atom = atoms[i];
            assert_int_not_equal(atom, 290);
            double want = atom == 7 ? 3 : atom == 40 ? -2 : atom == 69 ? 1 : 0;
            if (used[0] < PICKS) assert_true(fabs(weights[i] - want) < 1e-4);
        }
        for (int t = 3; t < 11; t++) {
            assert_int_equal(used[t], PICKS);
            check_choices(x + t * WIDTH, atoms + t * PICKS, PICKS);
        }
        transplant__pursuer_free(p);
        transplant__atoms_release(&a);
    }
}

/* ---- what is refused, what is kept ---- */

static void put_donor(const char *name, const char *tokenizer, const char *config)
{
    static float numbers[12 * 3];
    char file[64];
    for (int i = 0; i < 36; i++)
        numbers[i] = (float)(i % 7) - 3 + (float)(i % 5) * 0.25f;
    const struct test_tensor list[] = {
        {"model.embed_tokens.weight", IG_F32, 2, {strcmp(name, "short") ? 12 : 8, 3}, numbers}};
    write_model(name, list, 1, config);
    if (!tokenizer) return;
    snprintf(file, sizeof file, "%s/tokenizer.json", name);
    scratch_write(file, tokenizer, strlen(tokenizer));
}

static void bad_requests_are_refused(void **state)
{
    static const char config[] = "{\"model_type\": \"qwen3\", \"tie_word_embeddings\": true}";
    static const char alien[] = "{\"model\": {\"vocab\": {\"q\": 0}}}";
    static const char *const cases[][2] = {
        {"{donor: '{1}'}", "m1' has no tokenizer.json"},
        {"{donor: '{2}'}", "no token in common"},
        {"{donor: '{3}'}", "model '"},
        {"{approximation: omp}", "line 3, column 13: transplant needs 'donor'"},
        {"{donor: '{2}', kk: 3}", "unknown key 'kk'; did you mean 'k'?"},
        {"{donor: '{2}', k: 0}", "line 3, column"},
        {"{donor: '{2}', approximation: best}", "omp"},
        {"{donor: '{2}'}\ntokenizer_source: base", "exclude each other"},
    };
    (void)state;
    put_donor("m0", byte_tokenizer, config);
    put_donor("m1", NULL, config);
    put_donor("m2", alien, config);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_err err = {0};
        char text[1024];
        const struct merge_setup setup = {.out = "bad"};
        snprintf(text, sizeof text,
                 "merge_method: passthrough\nmodels: [{model: '{0}'}]\ntransplant: %s\n",
                 cases[i][0]);
        if (try_merge(text, &setup, &err)) fail_msg("%s succeeded", cases[i][0]);
        if (!strstr(err.text, cases[i][1])) fail_msg("got '%s', want '%s'", err.text, cases[i][1]);
        assert_false(ig_path_exists(scratch("bad")));
    }
    struct ig_err err = {0};
    const struct merge_setup setup = {.out = "bad"};
    assert_false(
        try_merge("merge_method: linear\nmodels: [{model: '{0}', parameters: {weight: 1}},"
                  " {model: '{1}', parameters: {weight: 1}}]\ntransplant: {donor: '{2}'}\n",
                  &setup, &err));
    assert_non_null(strstr(err.text, "merge them first"));
}

/* Tokens past the donor's rows: the model's row where it has the token, else zeros. */
static void tokens_without_a_donors_row(void **state)
{
    static const char config[] = "{\"model_type\": \"qwen3\", \"tie_word_embeddings\": true, "
                                 "\"vocab_size\": 12}";
    static const char more[] =
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"q\": 1, \"b\": 9, \"z\": 8}, "
        "\"merges\": []}, \"decoder\": {\"type\": \"ByteLevel\"}}";
    (void)state;
    put_donor("m0", byte_tokenizer, config);
    put_donor("short", more, config);
    char text[1024];
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '{0}'}]\ntransplant: {donor: '%s'}\n",
             scratch("short"));
    struct ig_store *got = merged(text), *model;
    struct ig_err err = {0};
    check_ok(ig_store_open(scratch("m0"), &model, &err), &err);
    float *own = bytes_of(model, "model.embed_tokens.weight");
    float *rows = bytes_of(got, "model.embed_tokens.weight");
    assert_int_equal(ig_store_find(got, ig_slice_of("model.embed_tokens.weight"))->shape[0], 10);
    assert_memory_equal(rows, own, 3 * sizeof(float));           /* a */
    assert_memory_equal(rows + 24, own + 15, 3 * sizeof(float)); /* z */
    for (int i = 0; i < 3; i++)
        assert_true(rows[27 + i] == 0); /* b */
    assert_true(isfinite(rows[3]));
    assert_int_equal(number_of(ig_store_config(got), "vocab_size"), 10);
    free(own);
    free(rows);
    ig_store_close(got);
    ig_store_close(model);
}

/* The bytes do not depend on threads. */
static void threads_do_not_show(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '%s/m0'}]\n"
             "transplant: {donor: '%s/m1', k: 7, new_vocab_noise: 0.1}\n",
             golden_dir, golden_dir);
    for (int threads = 1; threads < 8; threads += 3) {
        struct ig_err err = {0};
        struct merge_setup setup = {.out = threads == 1 ? "one" : "many", .threads = threads};
        setup.force = true;
        check_ok(try_merge(text, &setup, &err), &err);
        struct ig_buf a = scratch_read("one/model.safetensors");
        struct ig_buf b =
            scratch_read(threads == 1 ? "one/model.safetensors" : "many/model.safetensors");
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        ig_buf_release(&a);
        ig_buf_release(&b);
    }
}

int main(void)
{
    const char *tests_dir = getenv("INGOT_TESTS");
    snprintf(golden_dir, sizeof golden_dir, "%s/golden/merge/transplant",
             tests_dir ? tests_dir : "tests");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_mergekit),
        cmocka_unit_test(tokens_are_the_same_when_their_text_is),
        cmocka_unit_test(pursuit_chooses_the_largest_products),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(tokens_without_a_donors_row),
        cmocka_unit_test(threads_do_not_show),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
