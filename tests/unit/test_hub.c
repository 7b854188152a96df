/* SPDX-License-Identifier: Apache-2.0
 * The Hub's names, variables and cache; what needs a server is tests/hub/pull.py's. */
#include "hub/hub_internal.h"
#include "scratch.h"

#include <sys/stat.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void set(const char *name, const char *value)
{
    if (value)
        assert_int_equal(setenv(name, value, 1), 0);
    else
        assert_int_equal(unsetenv(name), 0);
}

static void forget_variables(void)
{
    static const char *const names[] = {"HF_HOME",        "HF_HUB_CACHE",   "HUGGINGFACE_HUB_CACHE",
                                        "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        set(names[i], NULL);
}

static void names_are_as_huggingface_hub_takes_them(void **state)
{
    (void)state;
    static const char *const good[] = {
        "Qwen/Qwen3-0.6B",      "a/b",        "a_b/c.d-e", "org/name@main",
        "org/name@refs/pr/12",  "org/n@v1.0", "0/1",       "org/name@feature/x-y",
        "org/name@0123456789a",
    };
    static const char *const bad[] = {
        "",        "name",   "/a/b",     "a/b/c",         "./a",        "../a",     "a/..",
        "a/b--c",  "a/b..c", "a/b.git",  "-a/b",          "a/b-",       "a/",       "/b",
        "a b/c",   "a/b@",   "a/b@../x", "a/b@/x",        "a/b@x/../y", "a/b@x//y", "a/b@x/",
        "a/b@x y", "a/b@..", "a/b@.x",   "caf\xC3\xA9/b", "a/b\n",      "~/models", "a/b@x\\y",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!ig_hub_is_name(good[i])) fail_msg("'%s' is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ig_hub_is_name(bad[i])) fail_msg("'%s' is taken", bad[i]);
    char longest[120];
    memset(longest, 'x', sizeof longest);
    longest[1] = '/';
    longest[96] = '\0';
    assert_true(ig_hub_is_name(longest));
    longest[96] = 'x';
    longest[97] = '\0';
    assert_false(ig_hub_is_name(longest));
}

static void check_cache(const char *want)
{
    struct ig_err err = {0};
    char cache[IG_PATH_MAX];
    check_ok(hub__cache(cache, &err), &err);
    assert_string_equal(cache, want);
}

static void variables_say_where_the_cache_is(void **state)
{
    (void)state;
    forget_variables();
    set("HOME", "/home/me");
    check_cache("/home/me/.cache/huggingface/hub");
    set("XDG_CACHE_HOME", "/xdg");
    check_cache("/xdg/huggingface/hub");
    set("HF_HOME", "~/hf");
    check_cache("/home/me/hf/hub");
    set("DISK_7", "/disk7");
    set("HF_HOME", "$DISK_7/hf");
    check_cache("/disk7/hf/hub");
    set("HF_HOME", "${DISK_7}x$NOT_SET_AT_ALL/$");
    check_cache("/disk7x$NOT_SET_AT_ALL/$/hub");
    set("HUGGINGFACE_HUB_CACHE", "/old");
    check_cache("/old");
    set("HF_HUB_CACHE", "/new/");
    check_cache("/new/");
    set("HF_HUB_CACHE", ""); /* as if it were not set */
    check_cache("/old");
    assert_false(hub__is_offline());
    set("TRANSFORMERS_OFFLINE", "yes");
    assert_true(hub__is_offline());
    set("HF_HUB_OFFLINE", "0");
    assert_false(hub__is_offline());
    set("HF_HUB_OFFLINE", "On");
    assert_true(hub__is_offline());
    forget_variables();
}

static void write_ref(const char *name, const char *text)
{
    struct ig_err err = {0};
    check_ok(ig_file_write(scratch(name), ig_slice_of(text), &err), &err);
}

static void a_snapshot_is_found_by_name_and_revision(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf out = {0};
    set("HF_HUB_CACHE", scratch("hub"));
    check_fails(ig_hub_find_model("org/name", &out, &err), &err, IG_ERR_IO,
                "`ingot pull org/name`");
    check_ok(hub__make_folders(scratch("hub/models--org--name/refs/pr"), &err), &err);
    check_fails(ig_hub_find_model("org/name", &out, &err), &err, IG_ERR_IO, "its revision 'main'");
    write_ref("hub/models--org--name/refs/main", COMMIT);
    check_fails(ig_hub_find_model("org/name", &out, &err), &err, IG_ERR_IO, "as a whole");
    check_ok(hub__make_folders(scratch("hub/models--org--name/snapshots/" COMMIT), &err), &err);
    check_ok(ig_hub_find_model("org/name", &out, &err), &err);
    assert_string_equal(out.data, scratch("hub/models--org--name/snapshots/" COMMIT));
    check_ok(ig_hub_find_model("org/name@" COMMIT, &out, &err), &err);
    write_ref("hub/models--org--name/refs/pr/1", COMMIT "\n");
    check_ok(ig_hub_find_model("org/name@pr/1", &out, &err), &err);
    check_fails(ig_hub_find_model("org/name@v2", &out, &err), &err, IG_ERR_IO, "org/name@v2");
    write_ref("hub/models--org--name/refs/main", "../../../../etc");
    check_fails(ig_hub_find_model("org/name", &out, &err), &err, IG_ERR_DATA, "holds no commit");
    check_fails(ig_hub_find_dataset("org/name", &out, &err), &err, IG_ERR_IO,
                "pull datasets/org/name");
    check_fails(ig_hub_find_dataset("name", &out, &err), &err, IG_ERR_USAGE, "ORG/NAME");
    check_ok(ig_hub_find_model("anything else", &out, &err), &err);
    assert_string_equal(out.data, "anything else");
    ig_buf_release(&out);
    forget_variables();
}

static void a_folder_of_the_cache_has_its_name_back(void **state)
{
    (void)state;
    struct ig_buf out = {0};
    assert_true(ig_hub_name_of("/x/hub/models--org--my-name/snapshots/" COMMIT "/", &out));
    assert_string_equal(out.data, "org/my-name");
    assert_true(ig_hub_name_of("datasets--a--b/snapshots/" COMMIT, &out));
    assert_string_equal(out.data, "a/b");
    assert_false(ig_hub_name_of("/x/models--org--name/snapshots/main", &out));
    assert_false(ig_hub_name_of("/x/models--name/snapshots/" COMMIT, &out));
    assert_false(ig_hub_name_of("/x/name/snapshots/" COMMIT, &out));
    assert_false(ig_hub_name_of("/snapshots/" COMMIT, &out));
    assert_false(ig_hub_name_of("fixtures/models/base", &out));
    ig_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_as_huggingface_hub_takes_them),
        cmocka_unit_test(variables_say_where_the_cache_is),
        cmocka_unit_test(a_snapshot_is_found_by_name_and_revision),
        cmocka_unit_test(a_folder_of_the_cache_has_its_name_back),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
