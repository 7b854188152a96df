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

#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA1   "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" /* of git's empty blob */

static void a_listing_gives_files_and_digests(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_arena arena = {0};
    struct hub_listing l = {0};
    const char *text = "{\"sha\": \"" COMMIT "\", \"siblings\": ["
                       "{\"rfilename\": \"b/c.bin\", \"size\": 9, \"blobId\": \"" SHA1
                       "\", \"lfs\": {\"sha256\": \"" SHA256 "\", \"size\": 7}},"
                       "{\"rfilename\": \"a.json\", \"size\": 5, \"blobId\": \"" SHA1 "\"},"
                       "{\"rfilename\": \"unknown\"}]}";
    check_ok(hub__listing_read(ig_slice_of(text), &arena, &l, &err), &err);
    assert_string_equal(l.commit, COMMIT);
    assert_int_equal(l.count, 3);
    assert_string_equal(l.files[0].path.ptr, "a.json");
    assert_int_equal(l.files[0].bytes, 5);
    assert_string_equal(l.files[0].digest, SHA1);
    assert_false(l.files[0].is_lfs);
    assert_int_equal(l.files[1].bytes, 7);
    assert_string_equal(l.files[1].digest, SHA256);
    assert_true(l.files[1].is_lfs);
    assert_string_equal(l.files[2].digest, "");
    assert_int_equal(hub__listing_select(&l, NULL, NULL), 3);
    assert_int_equal(hub__listing_select(&l, "*.bin", NULL), 1);
    assert_int_equal(hub__listing_select(&l, "[ab]*", "a*"), 1);
    assert_int_equal(hub__listing_select(&l, "x,b/", ""), 1);
    assert_int_equal(hub__listing_select(&l, "", NULL), 0);
    check_fails(hub__listing_read(ig_slice_of("{"), &arena, &l, &err), &err, IG_ERR_DATA, "JSON");
    ig_arena_release(&arena);
}

static void digests_are_git_s_and_sha256(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct hub_hash *hash = hub__hash_new(&err);
    assert_non_null(hash);
    struct hub_file file = {.bytes = 0, .digest = SHA1};
    check_ok(hub__hash_start(hash, &file, &err), &err);
    assert_true(hub__hash_agrees(hash, &file));
    file = (struct hub_file){.bytes = 0, .digest = SHA256, .is_lfs = true};
    check_ok(hub__hash_start(hash, &file, &err), &err);
    assert_true(hub__hash_agrees(hash, &file));
    /* git hash-object of "what is up, doc?", the book's example */
    file = (struct hub_file){.bytes = 16, .digest = "bd9dbf5aae1a3862dd1526723246b20206e5fc37"};
    check_ok(hub__hash_start(hash, &file, &err), &err);
    hub__hash_feed(hash, "what is ", 8);
    hub__hash_feed(hash, "up, doc?", 8);
    assert_true(hub__hash_agrees(hash, &file));
    check_ok(hub__hash_start(hash, &file, &err), &err);
    hub__hash_feed(hash, "what is up, Doc?", 16);
    assert_false(hub__hash_agrees(hash, &file));
    hub__hash_free(hash);
}

static void addresses_are_quoted(void **state)
{
    (void)state;
    struct ig_buf out = {0};
    hub__url_quote(&out, ig_slice_of("a b/c#?%\xC3\xA9~-._"), true);
    assert_string_equal(out.data, "a%20b/c%23%3F%25%C3%A9~-._");
    ig_buf_clear(&out);
    hub__url_quote(&out, ig_slice_of("refs/pr/1"), false);
    assert_string_equal(out.data, "refs%2Fpr%2F1");
    ig_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_as_huggingface_hub_takes_them),
        cmocka_unit_test(variables_say_where_the_cache_is),
        cmocka_unit_test(a_snapshot_is_found_by_name_and_revision),
        cmocka_unit_test(a_listing_gives_files_and_digests),
        cmocka_unit_test(digests_are_git_s_and_sha256),
        cmocka_unit_test(addresses_are_quoted),
        cmocka_unit_test(a_folder_of_the_cache_has_its_name_back),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
