/* SPDX-License-Identifier: Apache-2.0
 * vocabulary — one vocabulary out of several: the tokens and their rows are mergekit's
 * (tools/golden/tokenizer_golden.py). Ids of new tokens are compared by token: mergekit numbers
 * them in the order of a hash table. */
#include "merge_models.h"

#include <math.h>

static char golden_dir[1024];

static struct ig_json_doc *json_of(const char *path)
{
    struct ig_err err = {0};
    struct ig_json_doc *doc;
    struct ig_buf text = {0};
    check_ok(ig_file_read(path, 1 << 20, &text, &err), &err);
    check_ok(ig_json_doc_new(ig_buf_view(&text), &doc, &err), &err);
    ig_buf_release(&text);
    return doc;
}

static const char *golden_path(const char *form, int number)
{
    static char path[1100];
    char name[64];
    snprintf(name, sizeof name, form, number);
    snprintf(path, sizeof path, "%s/%s", golden_dir, name);
    return path;
}

/* The id by the file's model.vocab and added_tokens; -1: none. */
static int64_t id_of(const struct ig_json *file, struct ig_slice token)
{
    int64_t id = -1;
    const struct ig_json *vocab = ig_json_get(ig_json_get(file, "model"), "vocab");
    const struct ig_json *added = ig_json_get(file, "added_tokens");
    for (uint32_t i = 0; i < vocab->count; i++)
        if (ig_slice_equal(vocab->items[i].key, token)) ig_json_int(&vocab->items[i], &id);
    for (uint32_t i = 0; i < added->count; i++)
        if (ig_slice_equal(ig_json_text(ig_json_get(&added->items[i], "content")), token))
            ig_json_int(ig_json_get(&added->items[i], "id"), &id);
    return id;
}

static void compare_rows(const float *want, const float *got, int64_t width, const char *what,
                         struct ig_slice token)
{
    for (int64_t i = 0; i < width; i++)
        if (!(fabsf(want[i] - got[i]) <= 1e-6f))
            fail_msg("%s of '%.*s', %lld: %.9g, want %.9g", what, IG_SLICE_ARG(token), (long long)i,
                     (double)got[i], (double)want[i]);
}

static void compare_case(int number)
{
    static const char *const names[] = {"model.embed_tokens.weight", "lm_head.weight"};
    struct ig_err err = {0};
    struct ig_store *want, *got;
    struct ig_json_doc *expected = json_of(golden_path("out%d.json", number));
    struct ig_json_doc *file = json_of(scratch("out/tokenizer.json"));
    const struct ig_json *vocab = ig_json_get(ig_json_doc_root(expected), "vocab");
    int64_t rows, said;
    check_ok(ig_store_open(golden_path("out%d.safetensors", number), &want, &err), &err);
    check_ok(ig_store_open(scratch("out"), &got, &err), &err);
    assert_true(ig_json_int(ig_json_get(ig_json_doc_root(expected), "vocab_size"), &rows));
    assert_true(ig_json_int(ig_json_get(ig_store_config(got), "vocab_size"), &said));
    assert_int_equal(said, rows);
    for (int t = 0; t < 2; t++) {
        const struct ig_tensor *a = ig_store_find(want, ig_slice_of(names[t]));
        const struct ig_tensor *b = ig_store_find(got, ig_slice_of(names[t]));
        int64_t width = a->shape[1], id;
        float *x = bytes_of(want, names[t]), *y = bytes_of(got, names[t]);
        assert_int_equal(a->shape[0], b->shape[0]);
        assert_int_equal(b->shape[0], rows);
        for (uint32_t i = 0; i < vocab->count; i++) {
            struct ig_slice token = vocab->items[i].key;
            int64_t own = id_of(ig_json_doc_root(file), token);
            if (own < 0) fail_msg("case %d: no token '%.*s'", number, IG_SLICE_ARG(token));
            assert_true(ig_json_int(&vocab->items[i], &id));
            compare_rows(x + id * width, y + own * width, width, names[t], token);
        }
        for (int64_t r = vocab->count; r < rows; r++)
            compare_rows(x + r * width, y + r * width, width, names[t], ig_slice_of("padding"));
        free(x);
        free(y);
    }
    ig_store_close(want);
    ig_store_close(got);
    ig_json_doc_free(expected);
    ig_json_doc_free(file);
}

/* {N} of the golden file's recipes is the golden folder's mN. */
static void write_recipe(struct ig_slice text, char *out, size_t room)
{
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool mark = i + 2 < text.len && text.ptr[i] == '{' && text.ptr[i + 1] >= '0' &&
                    text.ptr[i + 1] <= '9' && text.ptr[i + 2] == '}';
        int n = mark ? snprintf(out + at, room - at, "'%s/m%c'", golden_dir, text.ptr[i + 1])
                     : snprintf(out + at, room - at, "%c", text.ptr[i]);
        at += (size_t)n;
        assert_true(at < room);
        if (mark) i += 2;
    }
}

static void vocabularies_are_those_of_mergekit(void **state)
{
    (void)state;
    struct ig_json_doc *cases = json_of(golden_path("cases.json", 0));
    const struct ig_json *list = ig_json_doc_root(cases);
    assert_true(list->count > 0);
    for (uint32_t c = 0; c < list->count; c++) {
        char recipe[8192] = "";
        write_recipe(ig_json_text(&list->items[c]), recipe, sizeof recipe);
        ig_store_close(merged(recipe));
        compare_case((int)c);
    }
    ig_json_doc_free(cases);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"tokenizer: {source: union, tokens: {a: {force: true}}}", "force needs a source"},
        {"tokenizer: {tokens: {a: {source: nowhere}}}", "none of the recipe's models"},
        {"tokenizer: {tokens: {a: {source: {kind: one}}}}", "kind is model_token or zero"},
        {"tokenizer: {pad_to_multiple_of: 0}", "pad_to_multiple_of is a number from 1"},
        {"tokenizer: {}\ntokenizer_source: base", "exclude each other"},
        {"tokenizer_source: nowhere", "model 'nowhere' does not exist"},
        {"tokenizer: {tokens: {zz: {source: '%s/m0'}}}", "token 'zz' is to come from a model that"},
        {"chat_template: nonsense", "line 3, column 16: chat_template is auto"},
        {"chat_template: '{% for message in messages %}'", "line 3, column 16: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ig_err err = {0};
        char text[4096], last[2048];
        const struct merge_setup setup = {.out = "bad"};
        const char *marked = strstr(cases[i][0], "%s");
        snprintf(last, sizeof last, "%.*s%s%s",
                 marked ? (int)(marked - cases[i][0]) : (int)strlen(cases[i][0]), cases[i][0],
                 marked ? golden_dir : "", marked ? marked + 2 : "");
        snprintf(text, sizeof text, "merge_method: passthrough\nmodels: [{model: '%s/m0'}]\n%s\n",
                 golden_dir, last);
        assert_false(try_merge(text, &setup, &err));
        if (!strstr(err.text, cases[i][1])) fail_msg("got '%s', want '%s'", err.text, cases[i][1]);
        assert_false(ig_path_exists(scratch("bad")));
    }
}

static void templates_are_chosen(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '%s/m0'}]\nchat_template: chatml\n",
             golden_dir);
    ig_store_close(merged(text));
    struct ig_buf got = scratch_read("out/chat_template.jinja");
    assert_non_null(strstr(got.data, "<|im_start|>"));
    ig_buf_release(&got);
    snprintf(text, sizeof text,
             "merge_method: passthrough\nmodels: [{model: '%s'}]\nchat_template: auto\n",
             scratch("out2"));
    struct ig_err err = {0};
    struct merge_setup setup = {.out = "out2", .force = true};
    char first[4096];
    snprintf(first, sizeof first,
             "merge_method: passthrough\nmodels: [{model: '%s/m0'}]\nchat_template: llama3\n",
             golden_dir);
    check_ok(try_merge(first, &setup, &err), &err);
    ig_store_close(merged(text));
    got = scratch_read("out/chat_template.jinja");
    assert_non_null(strstr(got.data, "<|eot_id|>"));
    ig_buf_release(&got);
}

int main(void)
{
    const char *tests_dir = getenv("INGOT_TESTS");
    snprintf(golden_dir, sizeof golden_dir, "%s/golden/merge/tokenizer",
             tests_dir ? tests_dir : "tests");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vocabularies_are_those_of_mergekit),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(templates_are_chosen),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
