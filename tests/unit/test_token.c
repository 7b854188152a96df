/* SPDX-License-Identifier: Apache-2.0
 * token — small tokenizers written out here, each for one rule. Expected ids were got from Hugging
 * Face's tokenizers 0.23.3 with the same JSON. */
#include "check.h"
#include "ingot/token.h"

#include <stdio.h>
#include <stdlib.h>

/* A byte-level tokenizer with the 256 bytes as ids 0-255 in the alphabet's order, then `more`. */
static char *make_json(const char *more_vocab, const char *merges, const char *rest)
{
    struct ig_buf buf = {0};
    int extra = 256;
    ig_buf_printf(&buf, "{\"version\":\"1.0\",%s,\"model\":{\"type\":\"BPE\",\"vocab\":{", rest);
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        ig_buf_printf(&buf, "%s\"\\u%04x\":%d", b ? "," : "", plain ? b : extra++, b);
    }
    ig_buf_printf(&buf, "%s%s},\"merges\":[%s]}}", *more_vocab ? "," : "", more_vocab, merges);
    return buf.data;
}

#define BYTE_LEVEL                                                                                 \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"decoder\":{\"type\":\"ByteLevel\"}"

static struct ig_tokenizer *open_json(char *json)
{
    struct ig_err err = {0};
    struct ig_tokenizer *t = NULL;
    check_ok(ig_tokenizer_parse(ig_slice_of(json), "test", &t, &err), &err);
    free(json);
    return t;
}

/* Ids as "1 2 3". */
static const char *encode(const struct ig_tokenizer *t, const char *text, bool special)
{
    static char out[1000];
    struct ig_err err = {0};
    struct ig_ids ids = {0};
    int len = 0;
    out[0] = '\0';
    check_ok(ig_tokenizer_encode(t, ig_slice_of(text), special, &ids, &err), &err);
    for (size_t i = 0; i < ids.count; i++)
        len += snprintf(out + len, sizeof out - (size_t)len, "%s%d", i ? " " : "", ids.items[i]);
    ig_ids_release(&ids);
    return out;
}

static const char *decode(const struct ig_tokenizer *t, const int32_t *ids, size_t count, bool skip)
{
    static char out[1000];
    struct ig_err err = {0};
    struct ig_buf buf = {0};
    check_ok(ig_tokenizer_decode(t, ids, count, skip, &buf, &err), &err);
    snprintf(out, sizeof out, "%s", buf.len ? buf.data : "");
    ig_buf_release(&buf);
    return out;
}

static void merges_go_by_rank_then_from_the_left(void **state)
{
    (void)state;
    struct ig_tokenizer *t =
        open_json(make_json("\"ab\":256,\"bc\":257,\"abc\":258,\"aa\":259",
                            "\"b c\",\"a b\",[\"a\",\"bc\"],\"a a\"", BYTE_LEVEL));
    assert_string_equal(encode(t, "abc", false), "258");
    assert_string_equal(encode(t, "ab", false), "256");
    assert_string_equal(encode(t, "aaa", false), "259 97");
    assert_string_equal(encode(t, "aaab", false), "259 256");
    assert_string_equal(encode(t, "", false), "");
    assert_int_equal(ig_tokenizer_size(t), 260);
    ig_tokenizer_close(t);
}

/* "abc" is in the vocabulary, but no merge leads to it. */
static void a_token_that_merges_do_not_reach_is_not_taken_whole(void **state)
{
    (void)state;
    const char *vocab = "\"ab\":256,\"bc\":257,\"abc\":258";
    const char *merges = "\"b c\",\"a b\",\"ab c\"";
    struct ig_tokenizer *t = open_json(make_json(vocab, merges, BYTE_LEVEL));
    assert_string_equal(encode(t, "abc", false), "97 257");
    ig_tokenizer_close(t);
    char *json = make_json(vocab, merges, BYTE_LEVEL);
    char *at = strstr(json, "\"merges\"");
    struct ig_buf whole = {0};
    ig_buf_append(&whole, json, (size_t)(at - json));
    ig_buf_printf(&whole, "\"ignore_merges\":true,%s", at);
    free(json);
    t = open_json(whole.data);
    assert_string_equal(encode(t, "abc", false), "258");
    ig_tokenizer_close(t);
}

static void long_words_merge_like_short_ones(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_tokenizer *t = open_json(
        make_json("\"aa\":256,\"aaaa\":257,\"ba\":258", "\"b a\",\"a a\",\"aa aa\"", BYTE_LEVEL));
    for (size_t len = 1; len < 300; len++) {
        char text[300];
        struct ig_ids ids = {0};
        memset(text, 'a', len);
        text[0] = 'b';
        check_ok(ig_tokenizer_encode(t, ig_slice_make(text, len), false, &ids, &err), &err);
        size_t rest = len > 1 ? len - 2 : 0;
        assert_int_equal(ids.count, 1 + rest / 4 + rest % 4 / 2 + rest % 2);
        assert_int_equal(ids.items[0], len > 1 ? 258 : 'b');
        ig_ids_release(&ids);
    }
    ig_tokenizer_close(t);
}

#define ADDED(content, flags) "{\"id\":0,\"content\":\"" content "\"" flags "}"

static void added_tokens_follow_their_flags(void **state)
{
    (void)state;
    char *json = make_json(
        "", "",
        BYTE_LEVEL ",\"added_tokens\":[" ADDED("<s>", ",\"special\":true") "," ADDED(
            "<sx>",
            ",\"normalized\":"
            "false") "," ADDED("<l>",
                               ",\"lstrip\":true,\"normalized\":"
                               "false") "," ADDED("<r>", ",\"rstrip\":true,"
                                                         "\"normalized\":"
                                                         "false") "," ADDED("<w>", ",\"single_"
                                                                                   "word\":true,"
                                                                                   "\"normalized\":"
                                                                                   "false") "]");
    struct ig_tokenizer *t = open_json(json);
    assert_string_equal(encode(t, "a<s>b", false), "97 256 98");
    assert_string_equal(encode(t, "<sx><s", false), "257 60 115");
    assert_string_equal(encode(t, "a \t<l> b", false), "97 258 32 98");
    assert_string_equal(encode(t,
                               "a <r> \n\xE3\x80\x80"
                               "b",
                               false),
                        "97 32 259 98");
    assert_string_equal(encode(t, "a<w>", false), "97 60 119 62");
    assert_string_equal(encode(t, "a <w>,<w>", false), "97 32 260 44 260");
    assert_string_equal(encode(t, "\xC3\xA9<w>", false), "195 169 60 119 62");
    const int32_t ids[] = {97, 256, 258, 98, 999, -1};
    assert_string_equal(decode(t, ids, 6, false), "a<s><l>b");
    assert_string_equal(decode(t, ids, 6, true), "a<l>b");
    assert_int_equal(ig_tokenizer_id(t, ig_slice_of("<w>")), 260);
    assert_int_equal(ig_tokenizer_id(t, ig_slice_of("<none>")), -1);
    assert_int_equal(ig_tokenizer_id(t, ig_slice_of("\xC4\xA0")), ' ');
    assert_true(ig_slice_is(ig_tokenizer_token(t, ' '), "\xC4\xA0"));
    assert_null(ig_tokenizer_token(t, 261).ptr);
    assert_true(ig_tokenizer_is_special(t, 256));
    assert_false(ig_tokenizer_is_special(t, 257));
    assert_string_equal(ig_tokenizer_warning(t, 0),
                        "added_tokens[0]: '<s>' has the id 256, not 0 as declared");
    ig_tokenizer_close(t);
}

static void post_processor_adds_its_ids(void **state)
{
    (void)state;
    char *json = make_json(
        "\"<s>\":256,\"</s>\":257", "",
        BYTE_LEVEL
        ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\",\"type_id\":"
        "0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}"
        "}],"
        "\"pair\":[],\"special_tokens\":{\"B\":{\"id\":\"B\",\"ids\":[256],\"tokens\":[\"<s>\"]},"
        "\"E\":{\"id\":\"E\",\"ids\":[257,257],\"tokens\":[\"</s>\",\"</s>\"]}}}]}");
    struct ig_tokenizer *t = open_json(json);
    assert_string_equal(encode(t, "a", false), "97");
    assert_string_equal(encode(t, "a", true), "256 97 257 257");
    assert_string_equal(encode(t, "", true), "256 257 257");
    ig_tokenizer_close(t);
}

static void broken_utf8_becomes_replacement_characters(void **state)
{
    (void)state;
    struct ig_tokenizer *t = open_json(make_json("", "", BYTE_LEVEL));
    assert_string_equal(encode(t, "a\xE4\xBD", false), "97 239 191 189");
    const int32_t ids[] = {'a', 0xE4, 0xBD, 'b', 0xF0, 0x9F};
    assert_string_equal(decode(t, ids, 6, false), "a\xEF\xBF\xBD"
                                                  "b\xEF\xBF\xBD");
    ig_tokenizer_close(t);
}

static void stream_holds_back_what_may_become_a_character(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_tokenizer *t = open_json(make_json("", "", BYTE_LEVEL));
    struct ig_stream_decoder *stream = NULL;
    struct ig_buf out = {0};
    const int32_t ids[] = {'a', 0xF0, 0x9F, 0x98, 0x80, 0xE4, 0x80,
                           'b', 0xC3, 0xC3, 0xA9, 0xE2, 0x82};
    const size_t lengths[] = {1, 1, 1, 1, 5, 5, 5, 9, 9, 12, 14, 14, 14};
    check_ok(ig_stream_new(t, false, &stream, &err), &err);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        check_ok(ig_stream_push(stream, ids[i], &out, &err), &err);
        assert_int_equal(out.len, lengths[i]);
    }
    check_ok(ig_stream_flush(stream, &out, &err), &err);
    assert_string_equal(out.data, decode(t, ids, sizeof ids / sizeof *ids, false));
    ig_stream_free(stream);
    ig_buf_release(&out);
    ig_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank_then_from_the_left),
        cmocka_unit_test(a_token_that_merges_do_not_reach_is_not_taken_whole),
        cmocka_unit_test(long_words_merge_like_short_ones),
        cmocka_unit_test(added_tokens_follow_their_flags),
        cmocka_unit_test(post_processor_adds_its_ids),
        cmocka_unit_test(broken_utf8_becomes_replacement_characters),
        cmocka_unit_test(stream_holds_back_what_may_become_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
