/* SPDX-License-Identifier: Apache-2.0
 * store_folder — folders that are wrong, with the exact messages; which files make a model; what is
 * carried over. */
#include "ingot/store.h"
#include "scratch.h"

#include <sys/stat.h>

/* A file of one F32 tensor of two elements. */
static void put_file(const char *path, const char *tensor)
{
    char header[256], bytes[300] = {0};
    int n = snprintf(header, sizeof header,
                     "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    bytes[0] = (char)n;
    memcpy(bytes + 8, header, (size_t)n);
    scratch_write(path, bytes, (size_t)n + 16);
}

static void put_index(const char *map)
{
    char text[512];
    int n = snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":%s}", map);
    scratch_write("m/model.safetensors.index.json", text, (size_t)n);
}

static void start_folder(void)
{
    struct ig_err err = {0};
    check_ok(ig_dir_remove(scratch("m"), &err), &err);
    check_ok(ig_dir_make(scratch("m"), &err), &err);
}

/* Opening scratch/m must fail with "cannot open model 'm': MESSAGE". */
static void refuses(enum ig_code code, const char *message)
{
    struct ig_err err = {0};
    struct ig_store *store = NULL;
    char want[1024];
    bool opened = ig_store_open(scratch("m"), &store, &err);
    if (opened) fail_msg("opened; expected: %s", message);
    snprintf(want, sizeof want, "cannot open model '%s': %s", scratch("m"), message);
    assert_string_equal(err.text, want);
    assert_int_equal(err.code, code);
}

static struct ig_store *opens(int64_t tensors)
{
    struct ig_err err = {0};
    struct ig_store *store;
    check_ok(ig_store_open(scratch("m"), &store, &err), &err);
    assert_int_equal(ig_store_count(store), tensors);
    return store;
}

static void missing_things_are_named(void **state)
{
    (void)state;
    struct ig_err err = {0};
    check_ok(ig_dir_remove(scratch("m"), &err), &err);
    refuses(IG_ERR_IO, "no such file or folder");
    start_folder();
    scratch_write("m/pytorch_model.bin", "x", 1);
    refuses(IG_ERR_DATA, "no *.safetensors file in it (.bin, .pt and .gguf are not read)");
    put_file("m/model-00001-of-00003.safetensors", "a");
    put_file("m/model-00003-of-00003.safetensors", "c");
    refuses(IG_ERR_DATA,
            "shard 2 of 3 is missing before 'model-00003-of-00003.safetensors': download it again");
    put_file("m/model-00002-of-00003.safetensors", "b");
    ig_store_close(opens(3));
    unlink(scratch("m/model-00003-of-00003.safetensors"));
    refuses(IG_ERR_DATA,
            "shard 3 of 3 is missing after 'model-00002-of-00003.safetensors': download it again");
    put_index(
        "{\"a\":\"model-00001-of-00003.safetensors\",\"c\":\"model-00003-of-00003.safetensors\"}");
    refuses(IG_ERR_DATA, "shard 'model-00003-of-00003.safetensors' named by the index is missing: "
                         "download it again");
}

static void index_and_shards_must_agree(void **state)
{
    (void)state;
    start_folder();
    put_file("m/x.safetensors", "a");
    put_file("m/y.safetensors", "b");
    put_index("{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}");
    struct ig_store *store = opens(2);
    assert_null(ig_store_warning(store, 0));
    ig_store_close(store);
    put_index("{\"a\":\"x.safetensors\",\"c\":\"y.safetensors\"}");
    refuses(IG_ERR_DATA, "the index says tensor 'c' is in 'y.safetensors', but it is not");
    put_index("{\"a\":\"y.safetensors\",\"b\":\"x.safetensors\"}");
    refuses(IG_ERR_DATA,
            "the index says tensor 'a' is in 'y.safetensors', but it is in 'x.safetensors'");
    put_index("{\"a\":\"../x.safetensors\"}");
    refuses(IG_ERR_DATA,
            "'model.safetensors.index.json': weight_map: tensor 'a' has no plain file name");
    put_index("{\"a\":1}");
    refuses(IG_ERR_DATA,
            "'model.safetensors.index.json': weight_map: tensor 'a' has no plain file name");
    put_index("{}");
    refuses(IG_ERR_DATA, "'model.safetensors.index.json': no weight_map that names a tensor");
    put_index("{");
    refuses(IG_ERR_DATA, "'model.safetensors.index.json': JSON, line 1, column 31: premature EOF");
}

static void tensors_outside_the_index_are_read_and_told(void **state)
{
    (void)state;
    start_folder();
    static const char two[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                              "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    char bytes[300] = {(char)(sizeof two - 1)};
    memcpy(bytes + 8, two, sizeof two - 1);
    scratch_write("m/x.safetensors", bytes, sizeof two - 1 + 10);
    put_index("{\"a\":\"x.safetensors\"}");
    struct ig_store *store = opens(2);
    assert_string_equal(ig_store_warning(store, 0),
                        "1 tensors of the shards are not in the index; they are read too");
    assert_null(ig_store_warning(store, 1));
    ig_store_close(store);
}

static void a_name_in_two_shards_needs_an_index(void **state)
{
    (void)state;
    start_folder();
    put_file("m/x.safetensors", "a");
    put_file("m/y.safetensors", "a");
    refuses(IG_ERR_DATA, "tensor 'a' is in 'x.safetensors' and in 'y.safetensors'");
    put_file("m/z.safetensors", "b");
    put_index("{\"a\":\"y.safetensors\",\"b\":\"z.safetensors\"}");
    ig_store_close(opens(2));
    put_index("{\"b\":\"z.safetensors\",\"a\":\"y.safetensors\"}");
    ig_store_close(opens(2));
    put_index("{\"a\":\"y.safetensors\"}");
    ig_store_close(opens(1));
}

static void which_files_make_a_model(void **state)
{
    (void)state;
    start_folder();
    put_file("m/adapter.safetensors", "lora");
    ig_store_close(opens(1));
    put_file("m/model-a.safetensors", "a");
    put_file("m/model-b.safetensors", "b");
    put_file("m/.hidden.safetensors", "h");
    struct ig_store *store = opens(2); /* mlx-lm's model*.safetensors */
    assert_null(ig_store_find(store, ig_slice_of("lora")));
    ig_store_close(store);
    put_file("m/model.safetensors", "whole");
    store = opens(1);
    assert_string_equal(ig_store_file(store, 0), "model.safetensors");
    ig_store_close(store);
    put_index("{\"a\":\"model-a.safetensors\"}");
    store = opens(1);
    assert_non_null(ig_store_find(store, ig_slice_of("whole")));
    assert_string_equal(
        ig_store_warning(store, 0),
        "'model.safetensors.index.json' does not name 'model.safetensors', which is "
        "there: the index is ignored");
    ig_store_close(store);
    scratch_write("m/config.json", "{\"a\":}", 6);
    refuses(IG_ERR_DATA,
            "'config.json': JSON, line 1, column 7: unallowed token at this point in JSON text");
}

static void headers_are_placed_in_their_file(void **state)
{
    (void)state;
    start_folder();
    put_file("m/model-a.safetensors", "a");
    scratch_write("m/model-b.safetensors", "\3\0\0", 3);
    refuses(IG_ERR_DATA,
            "'model-b.safetensors': the file has 3 bytes, a safetensors file starts with 8 bytes "
            "of header length");
    assert_int_equal(unlink(scratch("m/model-b.safetensors")), 0);
    assert_int_equal(mkdir(scratch("m/model-b.safetensors"), 0777), 0);
    struct ig_err err = {0};
    struct ig_store *store;
    check_fails(ig_store_open(scratch("m"), &store, &err), &err, IG_ERR_IO, "not a regular file");
    assert_int_equal(rmdir(scratch("m/model-b.safetensors")), 0);
    assert_int_equal(mkfifo(scratch("m/model-b.safetensors"), 0666), 0);
    check_fails(ig_store_open(scratch("m"), &store, &err), &err, IG_ERR_IO, "not a regular file");
}

static void origins_tell_inputs_apart(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf first = {0}, second = {0};
    start_folder();
    put_file("m/model.safetensors", "a");
    for (int round = 0; round < 3; round++) {
        if (round == 2) scratch_write("m/tokenizer.json", "{}", 2);
        struct ig_store *store = opens(1);
        ig_buf_clear(&second);
        check_ok(ig_store_put_origins(store, round ? &second : &first, &err), &err);
        ig_store_close(store);
        if (round) assert_int_equal(strcmp(first.data, second.data) == 0, round == 1);
    }
    assert_non_null(strstr(first.data, "/m/model.safetensors\tbytes "));
    assert_non_null(strstr(first.data, "/m/tokenizer.json\tabsent\n"));
    assert_non_null(strstr(second.data, "/m/tokenizer.json\tcontent "));
    ig_buf_release(&first);
    ig_buf_release(&second);
}

static void a_short_read_is_told(void **state)
{
    (void)state;
    struct ig_err err = {0};
    char bytes[8];
    start_folder();
    put_file("m/model.safetensors", "a");
    struct ig_store *store = opens(1);
    assert_int_equal(truncate(scratch("m/model.safetensors"), 65),
                     0); /* after the headers were checked */
    const struct ig_tensor *a = ig_store_at(store, 0);
    check_fails(ig_store_read(store, a, 0, 8, bytes, &err), &err, IG_ERR_DATA, "tensor 'a': '");
    check_fails(false, &err, IG_ERR_DATA, "model.safetensors' ends at byte 65, before byte 70");
    ig_store_close(store);
}

static void other_files_are_carried(void **state)
{
    (void)state;
    static const char *const carried[] = {"tokenizer.json",
                                          "merges.txt",
                                          "vocab.json",
                                          "LICENSE",
                                          "chat_template.jinja",
                                          "generation_config.json",
                                          "additional_chat_templates/tool.jinja",
                                          "linked.txt"};
    static const char *const left[] = {"model.safetensors.index.json",
                                       "x.safetensors",
                                       "pytorch_model.bin",
                                       "w.gguf",
                                       ".gitattributes",
                                       "config.json",
                                       "README.md",
                                       "ingot.json",
                                       "sketchbook.jsonl",
                                       "ingot.journal",
                                       "ingot.journal.1",
                                       "original/params.json"};
    struct ig_err err = {0};
    char path[300];
    start_folder();
    check_ok(ig_dir_make(scratch("m/additional_chat_templates"), &err), &err);
    check_ok(ig_dir_make(scratch("m/original"), &err), &err);
    scratch_write("blob", "linked.txt", 10); /* the Hub's cache is made of links */
    assert_int_equal(symlink("../blob", scratch("m/linked.txt")), 0);
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        snprintf(path, sizeof path, "m/%s", carried[i]);
        scratch_write(path, carried[i], strlen(carried[i]));
    }
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "m/%s", left[i]);
        scratch_write(path, "x", 1);
    }
    struct ig_writer *writer;
    struct ig_writer_plan plan = {.out = scratch("out/"), .total_parameters = -1};
    check_ok(ig_writer_open(&plan, &writer, &err), &err);
    check_ok(ig_writer_carry(writer, scratch("m"), &err), &err);
    struct ig_buf journal = scratch_read("out.partial/ingot.journal"); /* its own still */
    assert_true(ig_slice_starts(ig_buf_view(&journal), "ingot journal 1 "));
    ig_buf_release(&journal);
    check_ok(ig_writer_finish(writer, &err), &err);
    ig_writer_close(writer);
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        snprintf(path, sizeof path, "out/%s", carried[i]);
        struct ig_buf text = scratch_read(path);
        assert_string_equal(text.data, carried[i]);
        ig_buf_release(&text);
    }
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "out/%s", left[i]);
        if (ig_path_exists(scratch(path))) fail_msg("%s was carried", left[i]);
    }
    struct stat st;
    assert_int_equal(lstat(scratch("out/linked.txt"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_things_are_named),
        cmocka_unit_test(index_and_shards_must_agree),
        cmocka_unit_test(tensors_outside_the_index_are_read_and_told),
        cmocka_unit_test(a_name_in_two_shards_needs_an_index),
        cmocka_unit_test(which_files_make_a_model),
        cmocka_unit_test(headers_are_placed_in_their_file),
        cmocka_unit_test(origins_tell_inputs_apart),
        cmocka_unit_test(a_short_read_is_told),
        cmocka_unit_test(other_files_are_carried),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
