/* SPDX-License-Identifier: Apache-2.0
 * serve_answer — what clients read of replies that no fixture gives: thoughts, calls, failures. */
#include "check.h"
#include "serve/serve_internal.h"

#include <stdlib.h>

static struct ig_server server = {.name = "m"};

static void say(struct serve_reply *r, const char *text, const char *finish)
{
    *r = (struct serve_reply){.server = &server, .id = "chatcmpl-0123", .created = 7};
    r->request.chat = true;
    r->request.top_logprobs = -1;
    r->text.tools = true;
    ig_reply_text_push(&r->text, ig_slice_of(text), finish != NULL);
    r->finish = finish;
}

/* Asserts that the text holds all of these in this order. */
static void check_parts(struct ig_buf *out, const char *const *parts)
{
    const char *at = out->data;
    assert_non_null(at);
    for (; *parts; parts++) {
        const char *found = strstr(at, *parts);
        if (!found) fail_msg("no '%s' in '%s'", *parts, at);
        at = found + strlen(*parts);
    }
    ig_buf_release(out);
}

static const char called[] = "<think>Rain?</think>Let me see.<tool_call>{\"name\": \"weather\", "
                             "\"arguments\": {\"city\": \"Emberfold\"}}</tool_call>"
                             "<tool_call>{\"name\": \"time\"}</tool_call>";

static void whole_answers(void **state)
{
    (void)state;
    struct serve_reply r;
    struct ig_buf out = {0};
    say(&r, called, "tool_calls");
    serve__write_answer(&r, &out);
    struct ig_json_doc *doc;
    struct ig_err err = {0};
    check_ok(ig_json_doc_new(ig_buf_view(&out), &doc, &err), &err);
    ig_json_doc_free(doc);
    check_parts(
        &out,
        (const char *const[]){
            "\"object\":\"chat.completion\"",
            "\"message\":{\"role\":\"assistant\",\"content\":\"Let me see.\",",
            "\"reasoning_content\":\"Rain?\",\"tool_calls\":[{\"id\":\"call_0123_0\",\"type\":"
            "\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":"
            "\\\"Emberfold\\\"}\"}},{\"id\":\"call_0123_1\",",
            "\"name\":\"time\",\"arguments\":\"{}\"", "\"finish_reason\":\"tool_calls\"", NULL});
    ig_reply_text_release(&r.text);
    say(&r, "<tool_call>{\"name\": \"time\"}</tool_call>", "tool_calls");
    serve__write_answer(&r, &out);
    check_parts(&out, (const char *const[]){"\"content\":null,\"tool_calls\":", NULL});
    ig_reply_text_release(&r.text);
}

static void streamed_answers(void **state)
{
    (void)state;
    struct serve_reply r;
    struct ig_buf out = {0};
    say(&r, called, NULL);
    serve__write_opening(&r, &out);
    serve__write_delta(&r, &out);
    r.finish = "tool_calls";
    serve__write_ending(&r, &out);
    check_parts(&out, (const char *const[]){
                          "data: {", "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}",
                          "\n\ndata: {", "\"delta\":{\"reasoning_content\":\"Rain?\"}",
                          "\n\ndata: {", "\"delta\":{\"content\":\"Let me see.\"}", "\n\ndata: {",
                          "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_0123_0\",",
                          "{\"index\":1,\"id\":\"call_0123_1\",", "\"finish_reason\":null",
                          "\n\ndata: {", "\"delta\":{}", "\"finish_reason\":\"tool_calls\"",
                          "\n\ndata: [DONE]\n\n", NULL});
    ig_reply_text_release(&r.text);
    say(&r, "Let me", "error");
    r.failed = true;
    serve__refuse(&r.error, 503, NULL, "the request took \"too\" long");
    serve__write_ending(&r, &out);
    assert_null(strstr(out.data, "[DONE]"));
    check_parts(&out, (const char *const[]){"data: {\"error\":{\"message\":\"the request took "
                                            "\\\"too\\\" long\",\"type\":\"server_error\",",
                                            NULL});
    ig_reply_text_release(&r.text);
}

static void errors_are_mapped(void **state)
{
    (void)state;
    static const struct {
        enum ig_code code;
        int status;
    } rows[] = {{IG_ERR_USAGE, 400}, {IG_ERR_DATA, 400}, {IG_ERR_UNSUPPORTED, 422},
                {IG_ERR_NOMEM, 503}, {IG_ERR_IO, 500},   {IG_ERR_BUG, 500}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct serve_error error;
        struct ig_err err = {.code = rows[i].code, .text = "why"};
        assert_false(serve__refuse_err(&error, &err));
        assert_int_equal(error.status, rows[i].status);
        assert_string_equal(error.text, "why");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streamed_answers),
        cmocka_unit_test(errors_are_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
