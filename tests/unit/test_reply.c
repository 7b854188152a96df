/* SPDX-License-Identifier: Apache-2.0
 * reply — replies as models write them: thoughts, calls and stop strings, in pieces of every
 * size. */
#include "check.h"
#include "ingot/reply.h"

#include <stdio.h>

/* calls: "name(arguments)" after one another. */
static const struct {
    const char *said, *stop, *content, *reasoning, *calls;
    bool thinks;
} replies[] = {
    {"Hello.", NULL, "Hello.", "", "", false},
    {"  Hello.\n", NULL, "  Hello.\n", "", "", false},
    {"<think>\nWhy?\n\nSo.\n</think>\n\nHello.", NULL, "Hello.", "Why?\n\nSo.", "", false},
    {"\n<think></think>Hello.", NULL, "Hello.", "", "", false},
    {"Why?\n</think>\n\nHello.", NULL, "Hello.", "Why?", "", true},
    {"Why? It goes on", NULL, "", "Why? It goes on", "", true},
    {"a < b <thin", NULL, "a < b <thin", "", "", false},
    {"Not first: <think>x</think>", NULL, "Not first: <think>x</think>", "", "", false},
    {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2.50]}}\n</tool_call>", NULL, "",
     "", "f({\"a\":[1,2.50]})", false},
    {"Let me see.\n\n<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\","
     "\"arguments\":\"{\\\"x\\\":1}\"}</tool_call>",
     NULL, "Let me see.", "", "f({})g({\"x\":1})", false},
    {"<think>I call.</think><tool_call>{\"name\":\"f\"}</tool_call>\nDone.", NULL, "Done.",
     "I call.", "f({})", false},
    {"<tool_call>\n<function=f>\n<parameter=n>\n7\n</parameter>\n<parameter=s>\ntwo\nlines\n"
     "</parameter>\n</function>\n</tool_call>",
     NULL, "", "", "f({\"n\":7,\"s\":\"two\\nlines\"})", false},
    {"<tool_call>{\"name\": f}</tool_call>", NULL, "<tool_call>{\"name\": f}</tool_call>", "", "",
     false},
    {"<tool_call>{\"name\":\"f\"}", NULL, "", "", "f({})", false},
    {"<tool_call>{\"name\":", NULL, "<tool_call>{\"name\":", "", "", false},
    {"One. Two. Three.", "Two", "One. ", "", "", false},
    {"One. Twigs. Tw", "Two", "One. Twigs. Tw", "", "", false},
    {"aaab", "aab", "a", "", "", false},
    {"<think>stop me</think>x", " me", "", "stop", "", false},
};

static void one_reply(size_t index, size_t piece)
{
    struct ig_slice said = ig_slice_of(replies[index].said);
    struct ig_slice stop = ig_slice_of(replies[index].stop);
    struct ig_reply_text text = {.stops = &stop,
                                 .stop_count = replies[index].stop ? 1 : 0,
                                 .tools = true,
                                 .thinks = replies[index].thinks};
    struct ig_buf calls = {0};
    for (size_t at = 0; at < said.len; at += piece) {
        size_t n = said.len - at < piece ? said.len - at : piece;
        ig_reply_text_push(&text, ig_slice_make(said.ptr + at, n), false);
    }
    ig_reply_text_push(&text, ig_slice_of(""), true);
    for (size_t i = 0; i < text.call_count; i++)
        ig_buf_printf(&calls, "%s(%s)", text.calls[i].name.data, text.calls[i].arguments.data);
    if (!ig_slice_is(ig_buf_view(&text.content), replies[index].content) ||
        !ig_slice_is(ig_buf_view(&text.reasoning), replies[index].reasoning) ||
        !ig_slice_is(ig_buf_view(&calls), replies[index].calls))
        fail_msg("'%s' by %zu: content '%s', reasoning '%s', calls '%s'", replies[index].said,
                 piece, ig_buf_view(&text.content).ptr, ig_buf_view(&text.reasoning).ptr,
                 ig_buf_view(&calls).ptr);
    assert_int_equal(text.stopped, replies[index].stop != NULL &&
                                       strstr(replies[index].said, replies[index].stop) != NULL);
    ig_buf_release(&calls);
    ig_reply_text_release(&text);
}

static void replies_are_sorted_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        for (size_t piece = 1; piece < 80; piece++)
            one_reply(i, piece);
}

static void stop_strings_are_the_earliest(void **state)
{
    (void)state;
    const struct ig_slice stops[] = {ig_slice_of("cde"), ig_slice_of("bcdef"), ig_slice_of("d")};
    struct ig_reply_text text = {.stops = stops, .stop_count = 3, .plain = true};
    ig_reply_text_push(&text, ig_slice_of("abc"), false);
    assert_string_equal(ig_buf_view(&text.content).ptr, "a"); /* "bc" may become one */
    ig_reply_text_push(&text, ig_slice_of("def"), false);
    assert_string_equal(ig_buf_view(&text.content).ptr, "a");
    assert_true(text.stopped);
    ig_reply_text_push(&text, ig_slice_of("more"), true);
    assert_string_equal(ig_buf_view(&text.content).ptr, "a");
    assert_int_equal(text.passed, 1);
    ig_reply_text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_sorted_out),
        cmocka_unit_test(stop_strings_are_the_earliest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
