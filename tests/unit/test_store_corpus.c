/* SPDX-License-Identifier: Apache-2.0
 * store_corpus — every file of tests/golden/store/safetensors.jsonl is read as the official package
 * reads it, and refused where it refuses it, with the message in safetensors_messages.txt.
 * INGOT_UPDATE=1 rewrites that list: read the difference before committing it. */
#include "base/arena.h"
#include "base/file.h"
#include "check.h"
#include "ingot/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_BYTES_MAX 4096

/* Files that the package lists and ingot does not: nobody has made one but for a test. */
static const char *const unsupported[] = {"9 dimensions", "70 dimensions", "0 times 2^64-1"};

static bool is_unsupported(struct ig_slice name)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (ig_slice_is(name, unsupported[i])) return true;
    return false;
}

static size_t decode_base64(struct ig_slice text, unsigned char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        const char *digit = strchr(digits, text.ptr[i]);
        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4) out[count++] = (unsigned char)(bits >> (6 - i % 4 * 2));
    }
    return count;
}

static void write_case(const struct ig_json *row, const char *path)
{
    unsigned char bytes[FILE_BYTES_MAX] = {0};
    int64_t zeros = 0;
    struct ig_slice start = ig_json_text(ig_json_get(row, "start"));
    assert_true(start.len / 4 * 3 <= sizeof bytes);
    size_t count = decode_base64(start, bytes);
    assert_true(ig_json_int(ig_json_get(row, "zeros"), &zeros));
    memset(bytes + count, 0, sizeof bytes - count);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count + (size_t)zeros, file), count + (size_t)zeros);
    assert_int_equal(fclose(file), 0);
}

/* The tensors must be those that the package lists: [name, dtype, shape, bytes], sorted by name. */
static void check_tensors(const struct ig_store *store, const struct ig_json *want,
                          const char *name)
{
    if (ig_store_count(store) != (int64_t)want->count)
        fail_msg("%s: %d tensors, the package has %d", name, (int)ig_store_count(store),
                 (int)want->count);
    for (uint32_t i = 0; i < want->count; i++) {
        const struct ig_json *w = want->items[i].items;
        const struct ig_tensor *t = ig_store_at(store, i);
        int64_t size;
        assert_true(ig_slice_equal(t->name, ig_json_text(&w[0])));
        assert_ptr_equal(ig_store_find(store, t->name), t);
        assert_true(ig_slice_is(ig_json_text(&w[1]), ig_dtype_name(t->dtype)));
        assert_int_equal(t->rank, w[2].count);
        for (int d = 0; d < t->rank; d++) {
            assert_true(ig_json_int(&w[2].items[d], &size));
            assert_int_equal(t->shape[d], size);
        }
        assert_true(ig_json_int(&w[3], &size));
        assert_int_equal(t->bytes, size);
    }
}

/* Opens one file; appends "name: message" to messages when it is refused. */
static void check_case(const struct ig_json *row, const char *path, struct ig_buf *messages)
{
    struct ig_err err = {0};
    struct ig_store *store = NULL;
    struct ig_slice name = ig_json_text(ig_json_get(row, "name"));
    const struct ig_json *tensors = ig_json_get(row, "tensors");
    write_case(row, path);
    bool opened = ig_store_open(path, &store, &err);
    if (opened) {
        if (!tensors) fail_msg("%s: opened, the package refuses it", name.ptr);
        check_tensors(store, tensors, name.ptr);
        ig_store_close(store);
        return;
    }
    bool want_unsupported = tensors && is_unsupported(name);
    if (tensors && !want_unsupported) fail_msg("%s: %s", name.ptr, err.text);
    assert_int_equal(err.code, want_unsupported ? IG_ERR_UNSUPPORTED : IG_ERR_DATA);
    const char *place = strstr(err.text, "': '"); /* "cannot open model 'PATH': 'FILE': ..." */
    const char *rest = place ? strstr(place + 4, "': ") : NULL;
    if (!rest) fail_msg("%s: no file is named in: %s", name.ptr, err.text);
    ig_buf_printf(messages, "%s: %s\n", name.ptr, rest + 3);
}

static void corpus_is_read_as_the_package_reads_it(void **state)
{
    (void)state;
    char path[IG_PATH_MAX], golden[IG_PATH_MAX], dir[] = "/tmp/ingot-corpus-XXXXXX";
    struct ig_err err = {0};
    struct ig_buf rows = {0}, messages = {0}, want = {0};
    struct ig_arena arena = {0};
    int count = 0;
    assert_non_null(mkdtemp(dir));
    check_ok(ig_path_join(path, dir, "case.safetensors", &err), &err);
    check_ok(ig_path_join(golden, getenv("INGOT_TESTS"), "golden/store/safetensors.jsonl", &err),
             &err);
    check_ok(ig_file_read(golden, SIZE_MAX, &rows, &err), &err);
    for (char *line = rows.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct ig_json *row =
            ig_json_parse(ig_slice_make(line, (size_t)(end - line)), &arena, &err);
        check_ok(row != NULL, &err);
        check_case(row, path, &messages);
        count++;
    }
    assert_true(count >= 60);
    check_ok(
        ig_path_join(golden, getenv("INGOT_TESTS"), "golden/store/safetensors_messages.txt", &err),
        &err);
    if (getenv("INGOT_UPDATE")) check_ok(ig_file_write(golden, ig_buf_view(&messages), &err), &err);
    check_ok(ig_file_read(golden, SIZE_MAX, &want, &err), &err);
    assert_string_equal(messages.data, want.data);
    ig_buf_release(&rows);
    ig_buf_release(&messages);
    ig_buf_release(&want);
    ig_arena_release(&arena);
    check_ok(ig_dir_remove(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_is_read_as_the_package_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
