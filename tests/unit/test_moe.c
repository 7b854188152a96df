/* SPDX-License-Identifier: Apache-2.0
 * moe — dense models as experts of Qwen2-MoE and DeepSeek-MoE, against mergekit-moe's
 * (tools/golden/moe_golden.py): names, shapes, bytes, routers, config.json; and what is refused. */
#include "base/sha256.h"
#include "merge_models.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#define EXPERTS                                                                                    \
    "experts:\n"                                                                                   \
    "- {source_model: '{0}', positive_prompts: [prove that the anvil is heavy], "                  \
    "residual_scale: 2.0}\n"                                                                       \
    "- {source_model: '{0}', positive_prompts: [write a story], negative_prompts: [once upon a "   \
    "time], residual_scale: 0.5}\n"
#define HEAD "base_model: '{0}'\ngate_mode: cheap_embed\ndtype: float32\n"
#define GATED                                                                                      \
    "shared_experts: [{source_model: '{0}', positive_prompts: [It was late in the evening], "      \
    "residual_scale: 4.0}]\n"
#define PLAIN "shared_experts: [{source_model: '{0}', residual_scale: 4.0}]\n"

static void copy_file(const char *from_dir, const char *name)
{
    char buffer[4096], from[1100], to[1100];
    snprintf(from, sizeof from, "%s/%s", from_dir, name);
    snprintf(to, sizeof to, "%s/m0/%s", scratch_dir, name);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
    fclose(in);
}

/* The model at SCRATCH/m0, with anvil's tokenizer. */
static void take_model(const char *folder)
{
    char from[1024];
    assert_true(mkdir(scratch("m0"), 0777) == 0 || errno == EEXIST);
    snprintf(from, sizeof from, "%s/golden/merge/%s", getenv("INGOT_TESTS"), folder);
    copy_file(from, "config.json");
    copy_file(from, "model.safetensors");
    snprintf(from, sizeof from, "%s/models/anvil", getenv("INGOT_FIXTURES"));
    copy_file(from, "tokenizer.json");
    copy_file(from, "tokenizer_config.json");
}

static void compare_routers(const char *name, const struct ig_store *want,
                            const struct ig_store *got)
{
    const struct ig_tensor *t = ig_store_find(want, ig_slice_of(name));
    assert_non_null(t);
    float *x = bytes_of(want, name), *y = bytes_of(got, name);
    for (int64_t i = 0; i < t->elems; i++)
        if (!(fabs((double)x[i] - (double)y[i]) <= 1e-5))
            fail_msg("%s[%lld]: %.9g, want %.9g", name, (long long)i, (double)y[i], (double)x[i]);
    free(x), free(y);
}

/* A line "NAME SHAPE SHA256"; routers have a - for that. */
static void compare_tensor(char *line, const struct ig_store *want, const struct ig_store *got)
{
    char *name = strtok(line, " "), *shape = strtok(NULL, " "), *sha = strtok(NULL, " \n");
    char ours[64] = "", hex[IG_SHA256_HEX];
    const struct ig_tensor *t = ig_store_find(got, ig_slice_of(name));
    if (!t) fail_msg("no tensor '%s'", name);
    for (int d = 0; d < t->rank; d++)
        snprintf(ours + strlen(ours), sizeof ours - strlen(ours), "%s%lld", d ? "x" : "",
                 (long long)t->shape[d]);
    assert_string_equal(ours, shape);
    if (strcmp(sha, "-") == 0) {
        compare_routers(name, want, got);
        return;
    }
    void *bytes = bytes_of(got, name);
    ig_sha256_of(bytes, t->bytes, hex);
    free(bytes);
    if (strcmp(hex, sha) != 0) fail_msg("%s: other bytes", name);
}

/* A line "KEY = JSON". */
static void compare_key(const char *line, const struct ig_store *got)
{
    char key[64];
    const char *value = strstr(line, " = ");
    struct ig_buf text = {0};
    snprintf(key, sizeof key, "%.*s", (int)(value - line), line);
    const struct ig_json *node = ig_json_get(ig_store_config(got), key);
    struct ig_err err = {0};
    struct ig_json_doc *doc;
    if (!node) fail_msg("config.json has no '%s'", key);
    check_ok(ig_json_doc_new(ig_slice_of(value + 3), &doc, &err), &err);
    struct ig_buf want = {0};
    ig_json_write(&text, node, 0, false);
    ig_json_write(&want, ig_json_doc_root(doc), 0, false);
    assert_true(ig_buf_ok(&text, &err) && ig_buf_ok(&want, &err));
    if (!ig_slice_equal(ig_buf_view(&text), ig_buf_view(&want)))
        fail_msg("%s: %s, want %s", key, text.data, want.data);
    ig_json_doc_free(doc);
    ig_buf_release(&text);
    ig_buf_release(&want);
}

static void check_case(const char *name, const char *recipe)
{
    char path[1100], line[1024];
    struct ig_err err = {0};
    struct ig_store *want, *got = merged(recipe);
    int64_t tensors = 0;
    snprintf(path, sizeof path, "%s/golden/merge/moe/%s.safetensors", getenv("INGOT_TESTS"), name);
    check_ok(ig_store_open(path, &want, &err), &err);
    snprintf(path, sizeof path, "%s/golden/merge/moe/%s.txt", getenv("INGOT_TESTS"), name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strstr(line, " = "))
            compare_key(line, got);
        else
            compare_tensor(line, want, got), tensors++;
    }
    fclose(f);
    assert_int_equal(ig_store_count(got), tensors);
    ig_store_close(want);
    ig_store_close(got);
}

static void as_mergekit_does(void **state)
{
    (void)state;
    take_model("gates/llama");
    check_case("llama-deepseek", HEAD "architecture: deepseek\nexperts_per_token: 1\n" EXPERTS);
    check_case("llama-deepseek-shared", HEAD PLAIN EXPERTS);
    check_case("llama-qwen", HEAD GATED EXPERTS);
    take_model("moe/qwen2");
    check_case("qwen2-qwen", HEAD GATED EXPERTS);
}

static void refuses(const char *recipe, enum ig_code code, const char *message)
{
    struct ig_err err = {0};
    check_fails(try_merge(recipe, &(struct merge_setup){.out = "no", .force = true}, &err), &err,
                code, message);
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    take_model("moe/qwen2");
    refuses(HEAD EXPERTS, IG_ERR_UNSUPPORTED, "needs one model under shared_experts");
    refuses(HEAD PLAIN EXPERTS, IG_ERR_UNSUPPORTED, "give that positive_prompts");
    refuses(HEAD "architecture: mixtral\n" EXPERTS, IG_ERR_UNSUPPORTED, "not made of models");
    refuses(HEAD "architecture: mamba\n" EXPERTS, IG_ERR_DATA, "are known");
    take_model("gates/llama");
    refuses(HEAD "architecture: deepseek\n" GATED EXPERTS, IG_ERR_UNSUPPORTED,
            "leave its prompts out");
    refuses(HEAD "architecture: Mixtral\n" PLAIN EXPERTS, IG_ERR_UNSUPPORTED,
            "has no shared expert");
    refuses(HEAD "shared_experts: [{source_model: a}, {source_model: b}]\n" EXPERTS, IG_ERR_DATA,
            "a list of one expert");
    refuses(HEAD "shared_experts: [{source_model: a, negative_prompts: [x]}]\n" EXPERTS,
            IG_ERR_DATA, "without positive_prompts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_mergekit_does),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
