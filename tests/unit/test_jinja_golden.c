/* SPDX-License-Identifier: Apache-2.0
 * test_jinja_golden — templates of our own against what transformers' renderer made of them
 * (tools/golden/jinja_golden.py): the same text, or a failure where the reference fails, with the
 * template's own message. */
#include "base/arena.h"
#include "base/file.h"
#include "chat/chat_internal.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW 1767323045 /* 2026-01-02 03:04:05 UTC, as in jinja_golden.py */

static struct ig_err err;
static struct ig_arena arena;

/* The records of a file, one JSON object a line. */
static struct ig_json *read_records(const char *name)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0}, list = {0};
    check_ok(ig_path_join(path, getenv("INGOT_TESTS"), name, &err), &err);
    check_ok(ig_file_read(path, 1 << 20, &text, &err), &err);
    ig_buf_char(&list, '[');
    for (size_t i = 0; i + 1 < text.len; i++)
        ig_buf_char(&list, text.data[i] == '\n' ? ',' : text.data[i]);
    ig_buf_char(&list, ']');
    struct ig_json *root = ig_json_parse(ig_buf_view(&list), &arena, &err);
    check_ok(root, &err);
    ig_buf_release(&text);
    ig_buf_release(&list);
    return root;
}

static void compare(const struct ig_json *record, const char *label, bool ok,
                    const struct ig_buf *out)
{
    struct ig_slice want = ig_json_text(ig_json_get(record, "text"));
    struct ig_slice message = ig_json_text(ig_json_get(record, "message"));
    bool fails = ig_json_get(record, "error") != NULL;
    if (!ok && !fails)
        fail_msg("%s\nfails: %s\nwant: %.*s", label, err.text, (int)want.len, want.ptr);
    if (ok && fails) fail_msg("%s\nmust fail; got: %s", label, out->len ? out->data : "");
    if (ok && !ig_slice_equal(want, ig_buf_view(out)))
        fail_msg("%s\nwant: %.*s\ngot:  %s", label, (int)want.len, want.ptr,
                 out->len ? out->data : "");
    if (!ok && !ig_slice_find(ig_slice_of(err.text), message))
        fail_msg("%s\nwant: %.*s\ngot:  %s", label, (int)message.len, message.ptr, err.text);
}

static void snippets(void **state)
{
    (void)state;
    const struct ig_json *records = read_records("golden/chat/snippets.jsonl");
    const struct ig_json *vars = ig_json_get(&records->items[0], "vars");
    for (uint32_t i = 1; i < records->count; i++) {
        struct ig_template *t = NULL;
        struct ig_buf out = {0};
        struct ig_slice source = ig_json_text(ig_json_get(&records->items[i], "source"));
        bool ok = ig_template_parse(source, NULL, &t, &err) &&
                  ig_template_render(t, vars, NOW, &out, &err);
        compare(&records->items[i], source.ptr, ok, &out);
        ig_template_close(t);
        ig_buf_release(&out);
    }
    ig_arena_release(&arena);
}

/* The members of both objects; the second's win, as they come later. */
static struct ig_json *join(const struct ig_json *a, const struct ig_json *b)
{
    struct ig_json *all = ig_arena_array(&arena, 1 + a->count + b->count, sizeof *all);
    assert_non_null(all);
    *all = (struct ig_json){.type = IG_JSON_OBJECT, .count = a->count + b->count, .items = all + 1};
    memcpy(all->items, a->items, a->count * sizeof *all);
    memcpy(all->items + a->count, b->items, b->count * sizeof *all);
    return all;
}

static void renders(void **state)
{
    (void)state;
    const struct ig_json *records = read_records("golden/chat/renders.jsonl"),
                         *head = records->items;
    const struct ig_json *special = ig_json_get(head, "special");
    for (uint32_t i = 1; i < records->count; i++) {
        const struct ig_json *record = &records->items[i];
        const struct ig_json *context = ig_json_get(record, "context");
        const struct ig_json *vars = ig_json_get(ig_json_get(head, "contexts"), context->text.ptr);
        char path[IG_PATH_MAX], root[IG_PATH_MAX], label[IG_PATH_MAX];
        struct ig_template *t;
        struct ig_buf out = {0};
        check_ok(ig_path_join(root, getenv("INGOT_TESTS"), "..", &err), &err);
        check_ok(ig_path_join(path, root, ig_json_get(record, "template")->text.ptr, &err), &err);
        check_ok(ig_path_join(label, path, context->text.ptr, &err), &err);
        check_ok(ig_template_open(path, false, &t, &err), &err);
        bool ok = ig_template_render(t, join(special, vars), NOW, &out, &err);
        compare(record, label, ok, &out);
        ig_template_close(t);
        ig_buf_release(&out);
    }
    ig_arena_release(&arena);
}

/* Every row of a registry has a name of its own and is used in a golden snippet. */
static void check_rows(const struct builtin *rows, const char *before,
                       const struct ig_json *records)
{
    for (const struct builtin *row = rows; row->name; row++) {
        assert_ptr_equal(chat__find_row(rows, ig_slice_of(row->name)), row);
        char use[64];
        snprintf(use, sizeof use, "%s%s", before, row->name);
        bool used = !row->run || strchr("=!<>", *row->name); /* operators: for selectattr only */
        for (uint32_t i = 1; i < records->count && !used; i++) {
            struct ig_slice source = ig_json_text(ig_json_get(&records->items[i], "source"));
            used = ig_slice_find(source, ig_slice_of(use)) != NULL;
        }
        if (!used) fail_msg("no golden snippet uses '%s'", use);
    }
}

static void every_builtin_has_a_golden(void **state)
{
    (void)state;
    const struct ig_json *records = read_records("golden/chat/snippets.jsonl");
    check_rows(chat__filters, "| ", records);
    check_rows(chat__seq_filters, "| ", records);
    check_rows(chat__str_methods, ".", records);
    check_rows(chat__tests, "is ", records);
    ig_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snippets),
        cmocka_unit_test(renders),
        cmocka_unit_test(every_builtin_has_a_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
