/* SPDX-License-Identifier: Apache-2.0
 * token_golden — records of Hugging Face's tokenizers (tools/golden/token_golden.py describes
 * them).
 *
 *     test_token_golden                               those of tests/golden/token
 *     test_token_golden TOKENIZER.json RECORDS.jsonl  any other, made with the script's --of */
#include "base/arena.h"
#include "base/file.h"
#include "check.h"
#include "ingot/json.h"
#include "text/utf8.h"
#include "token/token_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX ((size_t)1 << 28)
#define NAME_BYTES     1000

static char names[16][NAME_BYTES]; /* paths without .json; or one tokenizer and its records */
static int name_count;
static const char *given_records;

static void check_ids(const struct ig_tokenizer *t, struct ig_slice text, bool special,
                      const struct ig_json *want, const char *place)
{
    struct ig_err err = {0};
    struct ig_ids got = {0};
    check_ok(ig_tokenizer_encode(t, text, special, &got, &err), &err);
    bool same = got.count == want->count;
    for (uint32_t i = 0; same && i < want->count; i++) {
        int64_t id;
        assert_true(ig_json_int(&want->items[i], &id));
        same = got.items[i] == id;
    }
    if (!same) fail_msg("%s: other ids for '" IG_SLICE_FMT "'", place, IG_SLICE_ARG(text));
    ig_ids_release(&got);
}

/* At once, and as a stream, whose chunks must add up to the same; but not those of a run of <0xNN>
 * that turns out broken when good characters of it have been written. */
static void check_decoded(const struct ig_tokenizer *t, const struct ig_json *record, bool skip,
                          struct ig_slice want, const char *place)
{
    struct ig_err err = {0};
    struct ig_buf got = {0}, chunks = {0};
    struct ig_stream_decoder *stream = NULL;
    const struct ig_json *list = ig_json_get(record, "ids");
    int32_t *ids = calloc((size_t)list->count + 1, sizeof(*ids));
    assert_non_null(ids);
    check_ok(ig_stream_new(t, skip, &stream, &err), &err);
    for (uint32_t i = 0; i < list->count; i++) {
        int64_t id;
        assert_true(ig_json_int(&list->items[i], &id));
        ids[i] = (int32_t)id;
        check_ok(ig_stream_push(stream, ids[i], &chunks, &err), &err);
    }
    check_ok(ig_stream_flush(stream, &chunks, &err), &err);
    check_ok(ig_tokenizer_decode(t, ids, list->count, skip, &got, &err), &err);
    bool broken = t->decode == DECODE_PIECES && ig_slice_find(want, ig_slice_of("\xEF\xBF\xBD"));
    if (!ig_slice_equal(ig_buf_view(&got), want) ||
        (!broken && !ig_slice_equal(ig_buf_view(&chunks), want)))
        fail_msg("%s: decodes to '" IG_SLICE_FMT "', want '" IG_SLICE_FMT "'", place,
                 IG_SLICE_ARG(ig_buf_view(&got)), IG_SLICE_ARG(want));
    ig_stream_free(stream);
    free(ids);
    ig_buf_release(&got);
    ig_buf_release(&chunks);
}

static uint64_t mixed(uint64_t value, uint64_t word)
{
    return (value ^ word) * 0x100000001B3u;
}

/* The pieces of the whole text, as encode would cut them; for byte-level tokenizers of one step. */
static void hash_pieces(const struct ig_tokenizer *t, struct ig_slice text, int64_t *count,
                        uint64_t *hash)
{
    struct ig_err err = {0};
    struct token__norm_room room = {0};
    struct ig_buf prefixed = {0};
    *hash = 0xCBF29CE484222325u;
    *count = 0;
    check_ok(token__normalize(t->norms, t->norm_count, text, &room, &text, &err), &err);
    if (t->prefix_space) ig_buf_char(&prefixed, ' ');
    ig_buf_slice(&prefixed, text);
    const char *end = prefixed.data + prefixed.len;
    const struct token__step *step = &t->steps[0];
    for (const char *p = prefixed.data; p < end; ++*count) {
        struct ig_slice piece = ig_slice_make(p, 0);
        if (step->next)
            piece.len = (size_t)(step->next(step, p, end) - p);
        else
            check_ok(token__split_next(step, prefixed.data, p, end, &piece, &err), &err);
        *hash = mixed(*hash, piece.len);
        p = piece.ptr + piece.len;
    }
    token__norm_room_release(&room);
    ig_buf_release(&prefixed);
}

static void check_hash(const struct ig_json *record, const char *counted, int64_t count,
                       uint64_t hash, const char *place)
{
    char key[32], hex[32];
    int64_t want = 0;
    snprintf(key, sizeof key, "%s_hash", counted);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash);
    assert_true(ig_json_int(ig_json_get(record, counted), &want));
    if (want != count || !ig_slice_is(ig_json_text(ig_json_get(record, key)), hex))
        fail_msg("%s: other %s: %lld, want %lld", place, counted, (long long)count,
                 (long long)want);
}

static void check_sweep(const struct ig_tokenizer *t, const struct ig_json *record,
                        const char *place)
{
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_ids ids = {0};
    int64_t first = 0, last = 0;
    assert_true(ig_json_int(ig_json_get(record, "first"), &first));
    assert_true(ig_json_int(ig_json_get(record, "last"), &last));
    for (int64_t c = first; c <= last; c++) {
        char bytes[5] = "";
        if (c >= 0xD800 && c < 0xE000) continue;
        size_t len = (size_t)ig_utf8_put((uint32_t)c, bytes);
        ig_buf_char(&text, 'k');
        ig_buf_append(&text, bytes, len);
        ig_buf_char(&text, '5');
        ig_buf_append(&text, bytes, len);
        ig_buf_char(&text, ' ');
    }
    check_ok(ig_tokenizer_encode(t, ig_buf_view(&text), false, &ids, &err), &err);
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < ids.count; i++)
        hash = mixed(hash, (uint64_t)ids.items[i]);
    check_hash(record, "ids", (int64_t)ids.count, hash, place);
    int64_t pieces;
    if (t->step_count == 1 && t->byte_level) {
        hash_pieces(t, ig_buf_view(&text), &pieces, &hash);
        check_hash(record, "pieces", pieces, hash, place);
    }
    ig_ids_release(&ids);
    ig_buf_release(&text);
}

static void check_record(const struct ig_tokenizer *t, const struct ig_json *record,
                         const char *place)
{
    struct ig_slice kind = ig_json_text(ig_json_get(record, "kind"));
    const struct ig_json *ids = ig_json_get(record, "ids"),
                         *special = ig_json_get(record, "special");
    const struct ig_json *skipped = ig_json_get(record, "skipped");
    struct ig_slice decoded = ig_json_text(ig_json_get(record, "decoded"));
    if (ig_slice_is(kind, "sweep")) check_sweep(t, record, place);
    if (ig_slice_is(kind, "text")) {
        struct ig_slice text = ig_json_text(ig_json_get(record, "text"));
        check_ids(t, text, false, ids, place);
        check_ids(t, text, true, special ? special : ids, place);
    }
    if (ig_slice_is(kind, "bytes")) {
        struct ig_slice hex = ig_json_text(ig_json_get(record, "hex"));
        char bytes[512];
        assert_true(hex.len / 2 <= sizeof bytes);
        for (size_t i = 0; i < hex.len / 2; i++)
            bytes[i] = (char)strtol((char[]){hex.ptr[2 * i], hex.ptr[2 * i + 1], 0}, NULL, 16);
        check_ids(t, ig_slice_make(bytes, hex.len / 2), false, ids, place);
    }
    if (!decoded.ptr) return;
    check_decoded(t, record, false, decoded, place);
    check_decoded(t, record, true, skipped ? ig_json_text(skipped) : decoded, place);
}

static void check_file(const char *tokenizer, const char *records)
{
    struct ig_err err = {0};
    struct ig_buf text = {0};
    struct ig_tokenizer *t = NULL;
    int line = 0;
    check_ok(ig_tokenizer_open(tokenizer, &t, &err), &err);
    check_ok(ig_file_read(records, FILE_BYTES_MAX, &text, &err), &err);
    for (const char *p = text.data, *end; *p; p = end + 1) {
        struct ig_arena arena = {0};
        char place[NAME_BYTES + 24];
        end = strchr(p, '\n');
        snprintf(place, sizeof place, "%.*s:%d", NAME_BYTES, records, ++line);
        const struct ig_json *record =
            ig_json_parse(ig_slice_make(p, (size_t)(end - p)), &arena, &err);
        check_ok(record != NULL, &err);
        check_record(t, record, place);
        ig_arena_release(&arena);
    }
    assert_true(line > 100);
    ig_tokenizer_close(t);
    ig_buf_release(&text);
}

static void records_of_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < name_count; i++) {
        char tokenizer[NAME_BYTES + 8], records[NAME_BYTES + 8];
        snprintf(tokenizer, sizeof tokenizer, "%.*s%s", NAME_BYTES, names[i],
                 given_records ? "" : ".json");
        snprintf(records, sizeof records, "%.*s.jsonl", NAME_BYTES, names[i]);
        check_file(tokenizer, given_records ? given_records : records);
    }
}

static bool note_name(void *folder, const char *name)
{
    size_t len = strlen(name);
    if (len < 6 || strcmp(name + len - 5, ".json") != 0) return true;
    assert_true(name_count < 16);
    snprintf(names[name_count++], NAME_BYTES, "%s/%.*s", (const char *)folder, (int)len - 5, name);
    return true;
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    char folder[IG_PATH_MAX];
    const char *tests_dir = getenv("INGOT_TESTS");
    if (argc == 3) {
        snprintf(names[name_count++], NAME_BYTES, "%s", argv[1]);
        given_records = argv[2];
    } else if (!ig_path_join(folder, tests_dir ? tests_dir : "tests", "golden/token", &err) ||
               !ig_dir_list(folder, note_name, folder, &err) || name_count == 0) {
        fprintf(stderr, "no goldens: %s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(records_of_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
