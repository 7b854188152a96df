/* SPDX-License-Identifier: Apache-2.0
 * yaml_row — a row to a doc, as the harness's ConfigurableTask makes one: doc_to_text,
 * doc_to_choice, doc_to_target. A field that a row has by that name is taken as it is; anything
 * else is a template over the row's members. A rendered text of digits is a number. */
#include "eval/yaml_task.h"

#include <stdio.h>

struct answer { /* what a field says of a row: a text, or an integer */
    struct ig_slice text;
    bool is_int;
    int64_t integer;
};

static const struct ig_json *member(const struct ig_json *row, struct ig_slice name)
{
    for (uint32_t i = row->count; i-- > 0;)
        if (ig_slice_equal(row->items[i].key, name)) return &row->items[i];
    return NULL;
}

static bool render(const struct eval_field *field, const struct ig_json *row,
                   struct ig_arena *arena, struct ig_slice *out, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = ig_template_render(field->tmpl, row, -1, &text, err) && ig_buf_ok(&text, err);
    if (ok) {
        *out = ig_arena_copy(arena, ig_buf_view(&text));
        ok = out->ptr || ig_err_nomem(err);
    }
    ig_buf_release(&text);
    return ok || ig_err_within(err, "%s", field->key);
}

static bool is_digits(struct ig_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    return text.len > 0;
}

/* Digits as Python reads a literal: no leading zeros but of zero itself. */
static bool to_integer(const struct eval_field *field, struct answer *answer, struct ig_err *err)
{
    int64_t value = 0;
    struct ig_slice text = answer->text;
    for (size_t i = 0; i < text.len && value < INT32_MAX; i++)
        value = value * 10 + (text.ptr[i] - '0');
    if (text.len > 1 && text.ptr[0] == '0' && value > 0)
        return ig_err_set(err, IG_ERR_DATA, "%s gives '" IG_SLICE_FMT "', which is no number",
                          field->key, IG_SLICE_ARG(text));
    answer->integer = value;
    answer->is_int = true;
    return true;
}

static bool ask(const struct eval_field *field, const struct ig_json *row, struct ig_arena *arena,
                struct answer *out, struct ig_err *err)
{
    *out = (struct answer){.is_int = field->kind == EVAL_FIELD_INT, .integer = field->integer};
    if (field->kind != EVAL_FIELD_TEXT) return true;
    const struct ig_json *value = member(row, field->name);
    if (!value)
        return render(field, row, arena, &out->text, err) &&
               (!is_digits(out->text) || to_integer(field, out, err));
    bool truth;
    if (ig_json_bool(value, &truth)) {
        out->integer = truth;
        out->is_int = true;
    } else if (value->type == IG_JSON_STRING) {
        out->text = ig_slice_make(value->text.ptr ? value->text.ptr : "", value->text.len);
    } else if (!(out->is_int = ig_json_int(value, &out->integer))) {
        return ig_err_set(err, IG_ERR_DATA,
                          "%s: '" IG_SLICE_FMT "' is neither a text nor an "
                          "integer",
                          field->key, IG_SLICE_ARG(field->name));
    }
    return true;
}

static bool read_choices(const struct eval_field *field, const struct ig_json *row,
                         struct ig_arena *arena, struct eval_doc *out, struct ig_err *err)
{
    if (field->kind == EVAL_FIELD_LIST) {
        memcpy(out->choices, field->items, (size_t)field->count * sizeof *field->items);
        out->count = field->count;
        return true;
    }
    const struct ig_json *list = member(row, field->name);
    if (list) {
        if (list->type != IG_JSON_ARRAY || list->count == 0 || list->count > EVAL_CHOICES_MAX)
            return ig_err_set(err, IG_ERR_DATA,
                              "%s: '" IG_SLICE_FMT "' is not a list of 1 to %d texts", field->key,
                              IG_SLICE_ARG(field->name), EVAL_CHOICES_MAX);
        for (uint32_t i = 0; i < list->count; i++) {
            if (list->items[i].type != IG_JSON_STRING)
                return ig_err_set(err, IG_ERR_DATA, "%s: choice %u is not a text", field->key, i);
            out->choices[i] = list->items[i].text;
        }
        out->count = (int)list->count;
        return true;
    }
    struct ig_slice text;
    if (!render(field, row, arena, &text, err)) return false;
    if (!eval__literal_texts(text, arena, out->choices, &out->count, err))
        return ig_err_within(err, "%s", field->key);
    return out->count > 0 || ig_err_set(err, IG_ERR_DATA, "%s gives no choice", field->key);
}

/* Gold's index: the number itself, or where the text stands among the choices. */
static bool read_gold(const struct eval_field *field, const struct answer *answer,
                      struct eval_doc *out, struct ig_err *err)
{
    out->gold = -1;
    if (answer->is_int) {
        if (answer->integer < 0 || answer->integer >= out->count)
            return ig_err_set(err, IG_ERR_DATA, "%s is %lld, not 0 to %d%s", field->key,
                              (long long)answer->integer, out->count - 1,
                              answer->integer == -1 ? ": an unlabelled split?" : "");
        out->gold = (int)answer->integer;
        return true;
    }
    for (int i = 0; i < out->count && out->gold < 0; i++)
        if (ig_slice_equal(out->choices[i], answer->text)) out->gold = i;
    return out->gold >= 0 ||
           ig_err_set(err, IG_ERR_DATA, "%s is '" IG_SLICE_FMT "', which is none of the choices",
                      field->key, IG_SLICE_ARG(answer->text));
}

/* str() of the target, as it stands in prompts and samples files. */
static bool target_text(const struct answer *answer, struct ig_arena *arena, struct ig_slice *out,
                        struct ig_err *err)
{
    char digits[24];
    *out = answer->text;
    if (!answer->is_int) return true;
    snprintf(digits, sizeof digits, "%lld", (long long)answer->integer);
    *out = ig_arena_copy(arena, ig_slice_of(digits));
    return out->ptr || ig_err_nomem(err);
}

static bool read_description(const struct eval_yaml *yaml, const struct ig_json *row,
                             struct ig_arena *arena, struct eval_doc *out, struct ig_err *err)
{
    struct answer answer;
    if (yaml->description.kind == EVAL_FIELD_NONE) return true;
    const struct ig_json *value = member(row, yaml->description.name);
    if (!value) return render(&yaml->description, row, arena, &out->description, err);
    if (!ask(&yaml->description, row, arena, &answer, err)) return false;
    if (answer.is_int) return ig_err_set(err, IG_ERR_DATA, "description is not a text");
    out->description = answer.text;
    return true;
}

bool eval__yaml_read(const struct eval_yaml *yaml, const struct ig_json *row,
                     struct ig_arena *arena, struct eval_doc *out, struct ig_err *err)
{
    struct answer text, target;
    if (!read_choices(&yaml->choice, row, arena, out, err) ||
        !read_description(yaml, row, arena, out, err) ||
        !ask(&yaml->text, row, arena, &text, err) || !ask(&yaml->target, row, arena, &target, err))
        return false;
    if (!target.is_int && target.text.len > 1 && target.text.ptr[0] == '[' &&
        target.text.ptr[target.text.len - 1] == ']' && !member(row, yaml->target.name))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "doc_to_target gives a list: several targets "
                          "of one row are not supported");
    if (!target_text(&target, arena, &out->target, err)) return false;
    out->context = text.text;
    out->text_target = !target.is_int;
    out->partial = text.is_int;
    out->rest = out->target;
    if (!text.is_int) return read_gold(&yaml->target, &target, out, err);
    if (target.is_int)
        return ig_err_set(err, IG_ERR_DATA,
                          "doc_to_text is a number, so each choice is a context, "
                          "and doc_to_target must be a text");
    return read_gold(&yaml->text, &text, out, err);
}
