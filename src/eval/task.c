/* SPDX-License-Identifier: Apache-2.0
 * task — the registry, and how tasks read the fields of a row. */
#include "eval/eval_internal.h"
#include "eval/eval_tasks.h"
#include "ingot/opt.h"

#define TASKS_MAX 64
/* An integer label as text has one or two digits: EVAL_CHOICES_MAX is 32. */
#define LABEL_DIGITS_MAX 4

#define X(word) extern const struct eval_task eval__##word[];
EVAL_TASKS(X)
#undef X

#define X(word) eval__##word,
static const struct eval_task *const files[] = {EVAL_TASKS(X) NULL};
#undef X

const char *const *ig_eval_task_list(void)
{
    static const char *list[2 * TASKS_MAX + 2];
    /* Filled the same way by every caller: a race writes equal pointers. */
    int n = 0;
    for (int i = 0; files[i]; i++)
        for (const struct eval_task *t = files[i]; t->name && n < 2 * TASKS_MAX; t++) {
            list[n++] = t->name;
            list[n++] = t->summary;
        }
    return list;
}

const struct eval_task *eval__task_find(struct ig_slice name, struct ig_err *err)
{
    const char *names[TASKS_MAX + 1] = {0};
    int n = 0;
    for (int i = 0; files[i]; i++)
        for (const struct eval_task *t = files[i]; t->name && n < TASKS_MAX; t++) {
            if (ig_slice_is(name, t->name)) return t;
            names[n++] = t->name;
        }
    const char *near = ig_opt_nearest(name, names);
    ig_err_set(err, IG_ERR_USAGE, "unknown task '" IG_SLICE_FMT "'%s%s%s", IG_SLICE_ARG(name),
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

bool eval__text(const struct ig_json *row, const char *key, struct ig_slice *out,
                struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(row, key);
    if (!node) return ig_err_set(err, IG_ERR_DATA, "the row has no '%s'", key);
    if (node->type != IG_JSON_STRING)
        return ig_err_set(err, IG_ERR_DATA, "'%s' is not a text", key);
    *out = ig_slice_make(node->text.ptr ? node->text.ptr : "", node->text.len);
    return true;
}

bool eval__join(struct ig_arena *arena, const struct ig_slice *parts, int count,
                struct ig_slice *out, struct ig_err *err)
{
    size_t bytes = 0; /* cannot overflow: every part is in memory */
    for (int i = 0; i < count; i++)
        bytes += parts[i].len;
    char *text = ig_arena_new(arena, bytes + 1);
    if (!text) return ig_err_nomem(err);
    *out = ig_slice_make(text, bytes);
    for (int i = 0; i < count; i++) {
        if (parts[i].len) memcpy(text, parts[i].ptr, parts[i].len);
        text += parts[i].len;
    }
    return true;
}

/* The integer that a short text holds, as Python's int() reads it, but for signs and '_'. */
static bool text_integer(struct ig_slice text, int64_t *out)
{
    text = eval__strip(text);
    if (text.len == 0 || text.len > LABEL_DIGITS_MAX) return false;
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *out = value;
    return true;
}

bool eval__gold(const struct ig_json *row, const char *key, int count, int *out, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(row, key);
    if (!node) return ig_err_set(err, IG_ERR_DATA, "the row has no '%s'", key);
    struct ig_slice text = node->type == IG_JSON_NUMBER ? node->text : ig_json_text(node);
    int64_t value = -1;
    bool found = ig_json_int(node, &value) || text_integer(ig_json_text(node), &value);
    if (!found && node->type != IG_JSON_NUMBER && node->type != IG_JSON_STRING)
        return ig_err_set(err, IG_ERR_DATA, "'%s' is not a number%s", key,
                          node->type == IG_JSON_NULL ? ": an unlabelled split?" : "");
    bool unlabelled = found ? value == -1 : text.len == 0;
    if (!found || value < 0 || value >= count)
        return ig_err_set(err, IG_ERR_DATA, "'%s' is '" IG_SLICE_FMT "', not 0 to %d%s", key,
                          IG_SLICE_ARG(text), count - 1,
                          unlabelled ? ": an unlabelled split?" : "");
    *out = (int)value;
    return true;
}

bool eval__labelled(const struct ig_json *row, struct ig_slice answer, struct eval_doc *out,
                    struct ig_err *err)
{
    const struct ig_json *choices = ig_json_get(row, "choices");
    const struct ig_json *texts = ig_json_get(choices, "text");
    const struct ig_json *labels = ig_json_get(choices, "label");
    if (!texts || !labels || texts->type != IG_JSON_ARRAY || labels->type != IG_JSON_ARRAY ||
        texts->count != labels->count || texts->count == 0 || texts->count > EVAL_CHOICES_MAX)
        return ig_err_set(err, IG_ERR_DATA,
                          "'choices' is not {\"text\": [..], \"label\": [..]} with 1 to %d of each",
                          EVAL_CHOICES_MAX);
    int gold = -1;
    for (uint32_t i = 0; i < texts->count; i++) {
        if (texts->items[i].type != IG_JSON_STRING || labels->items[i].type != IG_JSON_STRING)
            return ig_err_set(err, IG_ERR_DATA, "choice %u has no text or no label", i);
        out->choices[i] = texts->items[i].text;
        if (gold < 0 && ig_slice_equal(labels->items[i].text, answer)) gold = (int)i;
    }
    if (gold < 0)
        return ig_err_set(err, IG_ERR_DATA, "the answer '" IG_SLICE_FMT "' is none of the labels%s",
                          IG_SLICE_ARG(answer), answer.len ? "" : ": an unlabelled split?");
    out->count = (int)texts->count;
    out->gold = gold;
    return true;
}
