/* SPDX-License-Identifier: Apache-2.0
 * test_jinja — templates of our own, one feature each, and the exact message of each failure. The
 * broad comparison with jinja2 is test_jinja_golden. */
#include "base/arena.h"
#include "check.h"
#include "ingot/chat.h"

static struct ig_err err;

/* Renders source with the JSON object `variables`; the text is in *out, which the caller releases.
 */
static bool render(const char *source, const char *variables, struct ig_buf *out)
{
    struct ig_arena arena = {0};
    struct ig_template *t = NULL;
    struct ig_json *json = ig_json_parse(ig_slice_of(variables), &arena, &err);
    bool ok = json && ig_template_parse(ig_slice_of(source), NULL, &t, &err) &&
              ig_template_render(t, json, 0, out, &err);
    ig_template_close(t);
    ig_arena_release(&arena);
    return ok;
}

static void check_text(const char *source, const char *variables, const char *want)
{
    struct ig_buf out = {0};
    check_ok(render(source, variables, &out), &err);
    assert_string_equal(out.len ? out.data : "", want);
    ig_buf_release(&out);
}

static void check_error(const char *source, const char *want)
{
    struct ig_buf out = {0};
    if (render(source, "{}", &out)) fail_msg("rendered: %s", source);
    assert_string_equal(err.text, want);
    ig_buf_release(&out);
}

static void chatml(void **state)
{
    (void)state;
    check_text("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m['content'] + "
               "'<|im_end|>\\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
               "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}],"
               " \"add_generation_prompt\": true}",
               "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

static void messages_are_prepared(void **state)
{
    (void)state;
    const char *show = "{% for m in messages %}{{ m | tojson }}\n{% endfor %}";
    check_text(show, "{\"messages\": [{\"role\": \"user\", \"content\": null, \"n\": 1}]}",
               "{\"role\": \"user\", \"n\": 1}\n");
    check_text(show, "{\"messages\": [{\"role\": \"a\", \"reasoning\": \"r\"}]}",
               "{\"thinking\": \"r\", \"role\": \"a\", \"reasoning\": \"r\", "
               "\"reasoning_content\": \"r\"}\n");
    check_text(show, "{\"messages\": [{\"thinking\": \"t\", \"reasoning_content\": \"r\"}]}",
               "{\"thinking\": \"t\", \"reasoning_content\": \"r\"}\n");
    check_text("{{ tools is none }} {{ documents }} {{ add_generation_prompt }}{{ bos_token }}",
               "{}", "True None False");
}

static void continues_the_last_message(void **state)
{
    (void)state;
    check_text("{% for m in messages %}<{{ m.content }}>\n{% endfor %}",
               "{\"messages\": [{\"content\": \"a\"}, {\"content\": \"so far \"}],"
               " \"continue_final_message\": true}",
               "<a>\n<so far ");
    check_text("{% for m in messages %}<{{ m.content | trim }}>\n{% endfor %}",
               "{\"messages\": [{\"content\": \"so far \"}], \"continue_final_message\": true}",
               "<so far");
}

/* Building one long text, piece by piece, takes linear time and memory. */
static void joins_in_place(void **state)
{
    (void)state;
    check_text("{% set ns = namespace(s='') %}{% for i in range(50000) %}"
               "{% set ns.s = ns.s + 'abcdefghijklmnopqrst' %}{% endfor %}{{ ns.s | length }}",
               "{}", "1000000");
    check_text("{% set a = 'x' %}{% set b = a + 'y' %}{% set c = a + 'z' %}{{ a }} {{ b }} {{ c }}",
               "{}", "x xy xz");
    check_text("{% set ns = namespace(l=[]) %}{% for i in range(50000) %}"
               "{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l | length }} {{ ns.l[-1] }}",
               "{}", "50000 49999");
    check_text(
        "{% set a = [1] + [2] %}{% set b = a + [3] %}{% set c = a + [4] %}{{ a }} {{ b }} {{ c }}",
        "{}", "[1, 2] [1, 2, 3] [1, 2, 4]");
}

static void clock_can_be_fixed(void **state)
{
    (void)state;
    check_text("{{ strftime_now('%Y-%m-%d %H:%M:%S %A %-d %B') }}", "{}",
               "1970-01-01 00:00:00 Thursday 1 January");
}

static void broken_templates(void **state)
{
    (void)state;
    check_error("a\n  {% if x %}b", "chat template, line 2, column 6: 'if' is never closed: 'elif' "
                                    "or 'else' or 'endif' is missing");
    check_error("{{ 'a' ", "chat template, line 1, column 1: this tag is never closed: '}}' is "
                           "missing");
    check_error("{{ 1 + }}", "chat template, line 1, column 8: an expression is needed here, but "
                             "'}}' comes");
    check_error("{% endif %}", "chat template, line 1, column 4: unknown tag 'endif'");
    check_error("{% include 'x' %}",
                "chat template, line 1, column 4: 'include' is not supported: a "
                "chat template stands alone");
    check_error("{{ (1] }}", "chat template, line 1, column 6: unexpected ']'");
    check_error("{{ \"a }}", "chat template, line 1, column 4: this text is never closed: a quote "
                             "is missing");
    check_error("{# x", "chat template, line 1, column 1: this comment is never closed: '#}' is "
                        "missing");
    check_error("\xFFz", "chat template, line 1, column 1: this is not UTF-8");
    check_error("{% break %}", "chat template, line 1, column 4: 'break' outside of a loop");
}

static void failing_templates(void **state)
{
    (void)state;
    check_error("\xC3\xA9 {{ raise_exception('roles must ' ~ 'alternate') }}",
                "chat template, line 1, column 21: roles must alternate");
    check_error("{{ message.content }}",
                "chat template, line 1, column 11: 'message' is undefined");
    check_error("{{ {'a': 1}.b.c }}",
                "chat template, line 1, column 14: a value of type 'dict' has no "
                "'b'");
    check_error("{{ 1 + 'a' }}", "chat template, line 1, column 6: '+' does not work on 'int' and "
                                 "'str'");
    check_error("{{ 'a' | from_json }}",
                "chat template, line 1, column 8: there is no filter named "
                "'from_json'");
    check_error("{{ [1].append(2) }}",
                "chat template, line 1, column 14: 'append' would change the "
                "list: values in a template stay as they are");
    check_error("{{ x | tojson }}", "chat template, line 1, column 6: tojson: a value of type "
                                    "'Undefined'");
}

static void limits_hold(void **state)
{
    (void)state;
    check_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
                "chat template, line 1, column 20: macros call each other more than 200 deep");
    check_error("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
                "chat template, line 1, column 32: the template takes more than 10000000 steps");
    check_error("{{ range(100001) }}", "chat template, line 1, column 9: range: more than 100000 "
                                       "numbers");
    check_error("{{ 'abcdefgh' * 10000000 }}",
                "chat template, line 1, column 15: a repeated 'str' is too long");
    check_error("{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}"
                "{% endfor %}{{ ns.l }}",
                "chat template, line 1, column 92: values are nested too deeply");
    check_error(
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
        "{% endfor %}{{ ns.l == [ns.l] }}{{ ns.l }}",
        "chat template, line 1, column 117: the template takes more than 10000000 steps");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    struct ig_buf source = {0}, out = {0};
    ig_buf_text(&source, "{{ ");
    for (int i = 0; i < 100000; i++)
        ig_buf_text(&source, "- ");
    ig_buf_text(&source, "1 }}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "nested too deeply");
    ig_buf_clear(&source);
    for (int i = 0; i < 100000; i++)
        ig_buf_text(&source, "{% if 1 %}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "nested too deeply");
    ig_buf_clear(&source);
    ig_buf_text(&source, "{{ 1");
    for (int i = 0; i < 100000; i++)
        ig_buf_text(&source, " + 1");
    ig_buf_text(&source, " }}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "recurses too deeply");
    ig_buf_clear(&source);
    ig_buf_text(&source, "{% filter e");
    for (int i = 0; i < 500000; i++)
        ig_buf_text(&source, "|e");
    ig_buf_text(&source, " %}<{% endfilter %}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "recurses too deeply");
    ig_buf_release(&source);
    ig_buf_release(&out);
}

/* As Python has it; and nothing here is undefined in C. */
static void numbers_and_places_at_their_ends(void **state)
{
    (void)state;
    check_text("{{ 'abc'.startswith('x', 5) }} {{ 'abc'.endswith('x', 5) }} "
               "{{ ''.endswith('x') }} {{ 'a'.removesuffix('long') }} {{ 'abab'.rfind('ab') }} "
               "{{ 'a'.rfind('b') }} {{ 'a'.rfind('', 3) }} {{ 'xaxb'.rpartition('x') }}",
               "{}", "False False False a 2 -1 -1 ('xa', 'x', 'b')");
    check_text("{{ 9223372036854775807 | round(-1) }} {{ 9223372036854775807 | round(-19) }} "
               "{{ 9223372036854775807 | round(-20) }} {{ 1250 | round(-2) }} "
               "{{ -25 | round(-1) }} {{ -35 | round(-1) }} {{ true | round(-1) }}",
               "{}", "9223372036854775810 10000000000000000000 0 1200 -20 -40 0");
    check_error("{{ (10**30) | round(-1) }}",
                "chat template, line 1, column 13: round does not work on integers beyond 64 bits "
                "in tens");
    check_text("{{ (-1e30) | filesizeformat }} {{ -0.5 | filesizeformat }} "
               "{{ 999 | filesizeformat }}",
               "{}", "-1000000000000000019884624838656 Bytes 0 Bytes 999 Bytes");
    check_text("{{ '%*d' % (5, 1) }}{{ '%-*.*f|' % (5, 1, 2.25) }}", "{}", "    12.2  |");
    check_error("{{ '%*1d' % (9223372036854775807, 1) }}",
                "chat template, line 1, column 11: a width is too large");
}

/* Work that a small template can ask for without many nodes is counted too. */
static void long_work_is_counted(void **state)
{
    (void)state;
    struct ig_buf source = {0}, out = {0};
    const char *const works[] = {
        "{% set a = 'a' * 1000000 %}{% set b = 'a' * 500000 + 'b' %}{% for i in range(99) %}"
        "{{ a.rfind(b) }}{% endfor %}",
        "{% set a = 'a' * 1000000 %}{% set b = 'a' * 500000 + 'b' %}{% for i in range(99) %}"
        "{{ a.rsplit(b) | length }}{% endfor %}",
        "{% set a = 'a' * 1000000 %}{% set b = 'b' * 1000000 + 'a' %}{{ a.strip(b) }}",
        "{% set a = 'a' * 1000000 %}{% set b = 'b' * 1000000 + 'a' %}{{ a | trim(b) }}",
        "{% set a = 'a' * 1000000 %}{% set d = {a: 1} %}{% for i in range(99999) %}"
        "{{ d[a] }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        check_fails(render(works[i], "{}", &out), &err, IG_ERR_DATA,
                    "the template takes more than 10000000 steps");
    for (int i = 0; i < 60000; i++)
        ig_buf_printf(&source, "{%% set a%d = 1 %%}", i);
    ig_buf_text(&source, "{% for i in range(99999) %}{{ a59999 }}{% endfor %}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA,
                "the template takes more than 10000000 steps");
    ig_buf_clear(&source);
    ig_buf_text(&source, "{{ f(");
    for (int i = 0; i < 1001; i++)
        ig_buf_printf(&source, "%sa%d=1", i ? "," : "", i);
    ig_buf_text(&source, ") }}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "more than 1000 arguments");
    ig_buf_clear(&source);
    ig_buf_text(&source, "{% macro f(");
    for (int i = 0; i < 1001; i++)
        ig_buf_printf(&source, "%sa%d", i ? "," : "", i);
    ig_buf_text(&source, ") %}{% endmacro %}");
    check_fails(render(source.data, "{}", &out), &err, IG_ERR_DATA, "more than 1000 parameters");
    ig_buf_release(&source);
    ig_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chatml),
        cmocka_unit_test(messages_are_prepared),
        cmocka_unit_test(continues_the_last_message),
        cmocka_unit_test(joins_in_place),
        cmocka_unit_test(clock_can_be_fixed),
        cmocka_unit_test(broken_templates),
        cmocka_unit_test(failing_templates),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(numbers_and_places_at_their_ends),
        cmocka_unit_test(long_work_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
