/* SPDX-License-Identifier: Apache-2.0
 * token_errors — broken and unsupported tokenizer.json files, each with its exact message. */
#include "check.h"
#include "ingot/token.h"

static const struct bad {
    const char *json;
    enum ig_code code;
    const char *message; /* after "cannot read tokenizer 'x': " */
} bad_files[] = {
#define MODEL    "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define WITH(s)  "{\"version\":\"1.0\"," s "," MODEL "}"
#define VOCAB(s) "{\"version\":\"1.0\",\"model\":{\"merges\":[],\"vocab\":" s "}}"
#define MERGES(s)                                                                                  \
    "{\"version\":\"1.0\",\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":" s "}}"
#define OPTION(s) "{\"version\":\"1.0\",\"model\":{\"vocab\":{\"a\":0},\"merges\":[]," s "}}"
    /* the text */
    {"", IG_ERR_DATA, "JSON, line 1, column 1: premature EOF"},
    {"{\"version\":\"1.0\",\n \"model\":{\"vocab\":{\"a\":0,\"b", IG_ERR_DATA,
     "JSON, line 2, column 28: premature EOF"},
    {"{\"version\":\"1.0\",}", IG_ERR_DATA,
     "JSON, line 1, column 19: invalid object key (must be a string)"},
    {"[]", IG_ERR_DATA, "version: '' instead of '1.0'"},
    {"{\"version\":\"2.0\"}", IG_ERR_DATA, "version: '2.0' instead of '1.0'"},
    {"{\"version\":\"1.0\"}", IG_ERR_DATA, "model: missing, or not an object"},
    /* vocabulary and merges */
    {OPTION("\"type\":\"Unigram\""), IG_ERR_UNSUPPORTED,
     "model.type: 'Unigram' is not supported (only BPE is)"},
    {VOCAB("[]"), IG_ERR_DATA, "model.vocab: missing, or not an object"},
    {VOCAB("{\"a\":-1}"), IG_ERR_DATA,
     "model.vocab: the id of 'a' is not an integer from 0 to 2097151"},
    {VOCAB("{\"a\":2097152}"), IG_ERR_DATA,
     "model.vocab: the id of 'a' is not an integer from 0 to 2097151"},
    {VOCAB("{\"a\":1.5}"), IG_ERR_DATA,
     "model.vocab: the id of 'a' is not an integer from 0 to 2097151"},
    {MERGES("{}"), IG_ERR_DATA, "model.merges: missing, or not an array"},
    {MERGES("[\"a b\",\"a b b\"]"), IG_ERR_DATA, "model.merges[1]: not two tokens"},
    {MERGES("[\"ab\"]"), IG_ERR_DATA, "model.merges[0]: not two tokens"},
    {MERGES("[[\"a\",\"b\",\"b\"]]"), IG_ERR_DATA, "model.merges[0]: not two tokens"},
    {MERGES("[[\"a\",5]]"), IG_ERR_DATA, "model.merges[0]: not two tokens"},
    {MERGES("[\"a b\",\"x b\"]"), IG_ERR_DATA, "model.merges[1]: 'x' is not in the vocabulary"},
    {MERGES("[\"#version: 0.2\",\"a y\"]"), IG_ERR_DATA,
     "model.merges[1]: 'y' is not in the vocabulary"},
    {MERGES("[\"b a\"]"), IG_ERR_DATA, "model.merges[0]: 'ba' is not in the vocabulary"},
    {OPTION("\"dropout\":0.1"), IG_ERR_UNSUPPORTED, "model.dropout: 0.1 is not supported"},
    {OPTION("\"end_of_word_suffix\":\"</w>\""), IG_ERR_UNSUPPORTED,
     "model.end_of_word_suffix: '</w>' is not supported"},
    {OPTION("\"fuse_unk\":1"), IG_ERR_DATA, "model.fuse_unk: not true or false"},
    {OPTION("\"unk_token\":1"), IG_ERR_DATA, "model.unk_token: not a string"},
    /* the pipeline */
    {WITH("\"normalizer\":{\"type\":\"Lowercase\"}"), IG_ERR_UNSUPPORTED,
     "normalizer: type 'Lowercase' is not supported"},
    {WITH("\"normalizer\":{}"), IG_ERR_DATA, "normalizer.type: missing, or not a string"},
    {WITH("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
          "{\"type\":\"StripAccents\"}]}"),
     IG_ERR_UNSUPPORTED, "normalizer.normalizers[1]: type 'StripAccents' is not supported"},
    {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), IG_ERR_DATA,
     "normalizer.normalizers: missing, no array, or too deep"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a\"},\"content\":\"\"}"),
     IG_ERR_UNSUPPORTED, "normalizer.pattern: '(a': regex, byte 2: ( is never closed"},
    {WITH("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}"), IG_ERR_UNSUPPORTED,
     "pre_tokenizer: type 'UnicodeScripts' is not supported"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
          "\"pattern\":{\"Regex\":\"(a)\\\\1\"},\"behavior\":\"Isolated\",\"invert\":false}]}"),
     IG_ERR_UNSUPPORTED,
     "pre_tokenizer.pretokenizers[0].pattern: '(a)\\1': regex, byte 4: unknown escape, or a "
     "back-reference"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{N}\"},"
          "\"behavior\":\"Dropped\",\"invert\":true}"),
     IG_ERR_DATA, "pre_tokenizer.behavior: 'Dropped' is unknown"},
    {WITH("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex\":\"yes\"}"), IG_ERR_DATA,
     "pre_tokenizer.use_regex: not true or false"},
    {WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), IG_ERR_UNSUPPORTED,
     "post_processor: type 'BertProcessing' is not supported"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
          "{\"id\":\"<s>\"}}],\"special_tokens\":{}}"),
     IG_ERR_DATA,
     "post_processor.single[0]: neither the first sequence A nor one of special_tokens"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), IG_ERR_DATA,
     "post_processor.single: has no sequence A"},
    {WITH("\"decoder\":{\"type\":\"WordPiece\"}"), IG_ERR_UNSUPPORTED,
     "decoder: type 'WordPiece' is not supported"},
    {WITH("\"added_tokens\":{}"), IG_ERR_DATA, "added_tokens: not an array"},
    {WITH("\"added_tokens\":[{\"id\":3}]"), IG_ERR_DATA,
     "added_tokens[0].content: missing, or not a string"},
    {WITH("\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"special\":0}]"), IG_ERR_DATA,
     "added_tokens[0]: special is not true or false"},
};

static void broken_files_are_refused_with_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        const struct bad *bad = &bad_files[i];
        struct ig_err err = {0};
        struct ig_buf want = {0};
        struct ig_tokenizer *t = NULL;
        bool ok = ig_tokenizer_parse(ig_slice_of(bad->json), "x", &t, &err);
        if (ok) fail_msg("accepted: %s", bad->json);
        ig_buf_printf(&want, "cannot read tokenizer 'x': %s", bad->message);
        assert_string_equal(err.text, want.data);
        assert_int_equal(err.code, bad->code);
        assert_null(t);
        ig_buf_release(&want);
    }
}

/* Every prefix of a good file is a broken file, and none of them is accepted or crashes. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    const char *json = WITH("\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":"
                            "\"ByteLevel\"},\"added_tokens\":[{\"id\":3,\"content\":\"<x>\"}]");
    struct ig_err err = {0};
    struct ig_tokenizer *t = NULL;
    for (size_t len = 0; len < strlen(json); len++)
        assert_false(ig_tokenizer_parse(ig_slice_make(json, len), "x", &t, &err));
    check_ok(ig_tokenizer_parse(ig_slice_of(json), "x", &t, &err), &err);
    ig_tokenizer_close(t);
}

static void a_missing_file_is_an_io_error(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_tokenizer *t = NULL;
    check_fails(ig_tokenizer_open("/nonexistent/model", &t, &err), &err, IG_ERR_IO,
                "/nonexistent/model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_are_refused_with_their_place),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(a_missing_file_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
