/* SPDX-License-Identifier: Apache-2.0
 * test_chat — where a model folder's template comes from, and what is defined besides the
 * variables. */
#include "base/arena.h"
#include "base/file.h"
#include "check.h"
#include "ingot/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct ig_err err;
static char dir[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/ingot-chat-%ld", (long)getpid());
    return ig_dir_make(dir, &err) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return ig_dir_remove(dir, &err) ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    char path[IG_PATH_MAX];
    check_ok(ig_path_join(path, dir, name, &err), &err);
    check_ok(ig_file_write(path, ig_slice_of(text), &err), &err);
}

static void check_render(const char *path, bool with_tools, const char *want)
{
    struct ig_template *t;
    struct ig_buf out = {0};
    struct ig_arena arena = {0};
    const char *vars = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}";
    const struct ig_json *json = ig_json_parse(ig_slice_of(vars), &arena, &err);
    check_ok(json, &err);
    check_ok(ig_template_open(path, with_tools, &t, &err), &err);
    check_ok(ig_template_render(t, json, 0, &out, &err), &err);
    assert_string_equal(out.data, want);
    ig_template_close(t);
    ig_buf_release(&out);
    ig_arena_release(&arena);
}

static void check_refused(const char *path, enum ig_code code, const char *want)
{
    struct ig_template *t = NULL;
    check_fails(ig_template_open(path, false, &t, &err), &err, code, want);
}

static void folder_without_template(void **state)
{
    (void)state;
    assert_false(ig_template_exists(dir));
    check_refused(dir, IG_ERR_DATA,
                  "has no chat template: neither chat_template.jinja nor a chat_template in "
                  "tokenizer_config.json");
    put("tokenizer_config.json", "{\"chat_template\": null}");
    assert_false(ig_template_exists(dir));
    check_refused("/nonexistent.jinja", IG_ERR_IO, "/nonexistent.jinja");
}

static void config_has_one(void **state)
{
    (void)state;
    put("tokenizer_config.json",
        "{\"chat_template\": \"{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ "
        "messages[0].content }}\","
        " \"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\", \"lstrip\": false},"
        " \"pad_token\": null}");
    assert_true(ig_template_exists(dir));
    check_render(dir, false, "<s>|</s>||Hi");
}

static void config_has_several(void **state)
{
    (void)state;
    put("tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"plain\"},"
        " {\"name\": \"tool_use\", \"template\": \"tools\"}]}");
    check_render(dir, false, "plain");
    check_render(dir, true, "tools");
    put("tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"plain\"}]}");
    check_render(dir, true, "plain");
}

static void jinja_file_wins(void **state)
{
    (void)state;
    char path[IG_PATH_MAX];
    put("tokenizer_config.json", "{\"chat_template\": \"config\", \"bos_token\": \"<s>\"}");
    put("chat_template.jinja", "file {{ bos_token }}\n");
    assert_true(ig_template_exists(dir));
    check_render(dir, false, "file <s>");
    check_ok(ig_path_join(path, dir, "chat_template.jinja", &err), &err);
    check_render(path, false, "file ");
}

static void broken_files(void **state)
{
    (void)state;
    char want[256];
    put("chat_template.jinja", "a\n{{ 1 + }}");
    snprintf(
        want, sizeof want,
        "%s/chat_template.jinja: chat template, line 2, column 8: an expression is needed here, "
        "but '}}' comes",
        dir);
    check_refused(dir, IG_ERR_DATA, want);
    put("chat_template.jinja", "fine");
    put("tokenizer_config.json", "{\"chat_template\": ");
    snprintf(want, sizeof want, "%s/tokenizer_config.json: ", dir);
    check_refused(dir, IG_ERR_DATA, want);
}

/* A fixture's template, with thinking switched off. */
static void fixture_renders(void **state)
{
    (void)state;
    char path[IG_PATH_MAX];
    struct ig_template *t;
    struct ig_buf out = {0};
    struct ig_arena arena = {0};
    const char *vars = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}],"
                       " \"add_generation_prompt\": true}";
    check_ok(ig_path_join(path, getenv("INGOT_FIXTURES"), "models/base", &err), &err);
    check_ok(ig_template_open(path, false, &t, &err), &err);
    const struct ig_json *json = ig_json_parse(ig_slice_of(vars), &arena, &err);
    check_ok(json && ig_template_render(t, json, 0, &out, &err), &err);
    assert_true(ig_slice_starts(ig_buf_view(&out),
                                "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    ig_template_close(t);
    ig_buf_release(&out);
    ig_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(folder_without_template, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(config_has_one, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(config_has_several, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(jinja_file_wins, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(broken_files, make_folder, remove_folder),
        cmocka_unit_test(fixture_renders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
