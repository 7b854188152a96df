/* SPDX-License-Identifier: Apache-2.0
 * hellaswag — which ending follows.
 *
 *     {"activity_label", "ctx_a", "ctx_b", "endings": [4 texts], "label": "0" .. "3", ..}
 * Zellers et al. 2019, arXiv:1905.07830. The texts from WikiHow carry marks in brackets, which the
 * harness removes in four steps; an ending may keep a leading space, which is then scored. */
#include "eval/eval_internal.h"

/* Appends text with every needle replaced, in one pass from the left. */
static void replace(struct ig_buf *out, struct ig_slice text, const char *needle, const char *with)
{
    struct ig_slice find = ig_slice_of(needle);
    for (;;) {
        const char *at = ig_slice_find(text, find);
        size_t before = at ? (size_t)(at - text.ptr) : text.len;
        ig_buf_append(out, text.ptr, before);
        if (!at) return;
        ig_buf_text(out, with);
        text = ig_slice_make(at + find.len, text.len - before - find.len);
    }
}

/* Bytes of the mark that starts at text.ptr[i] with '[': up to the first ']', with no newline
 * between. 0 when there is none; then *dead is where a mark may start again: without that memory
 * "[[[[..." would take quadratic time. */
static size_t mark_bytes(struct ig_slice text, size_t i, size_t *dead)
{
    if (text.ptr[i] != '[' || i < *dead) return 0;
    for (size_t k = i; k < text.len && text.ptr[k] != '\n'; k++) {
        if (text.ptr[k] == ']') return k + 1 - i;
        *dead = k + 1;
    }
    return 0;
}

static void drop_marks(struct ig_buf *out, struct ig_slice text)
{
    size_t dead = 0;
    for (size_t i = 0; i < text.len;) {
        size_t mark = mark_bytes(text, i, &dead);
        if (!mark) ig_buf_char(out, text.ptr[i]);
        i += mark ? mark : 1;
    }
}

static bool clean(struct ig_slice text, struct ig_arena *arena, struct ig_slice *out,
                  struct ig_err *err)
{
    struct ig_buf titles = {0}, marks = {0}, spaces = {0};
    replace(&titles, eval__strip(text), " [title]", ". ");
    drop_marks(&marks, ig_buf_view(&titles));
    replace(&spaces, ig_buf_view(&marks), "  ", " ");
    bool ok = ig_buf_ok(&titles, err) && ig_buf_ok(&marks, err) && ig_buf_ok(&spaces, err);
    if (ok) {
        *out = ig_arena_copy(arena, ig_buf_view(&spaces));
        ok = out->ptr || ig_err_nomem(err);
    }
    ig_buf_release(&titles);
    ig_buf_release(&marks);
    ig_buf_release(&spaces);
    return ok;
}

static bool read_endings(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                         struct ig_err *err)
{
    const struct ig_json *endings = ig_json_get(row, "endings");
    if (!endings || endings->type != IG_JSON_ARRAY || endings->count == 0 ||
        endings->count > EVAL_CHOICES_MAX)
        return ig_err_set(err, IG_ERR_DATA, "'endings' is not a list of 1 to %d texts",
                          EVAL_CHOICES_MAX);
    for (uint32_t i = 0; i < endings->count; i++) {
        struct ig_slice ending = ig_json_text(&endings->items[i]);
        if (!ending.ptr) return ig_err_set(err, IG_ERR_DATA, "endings[%u] is not a text", i);
        if (!clean(ending, arena, &out->choices[i], err)) return false;
    }
    out->count = (int)endings->count;
    return true;
}

static bool read_row(const struct ig_json *row, struct ig_arena *arena, struct eval_doc *out,
                     struct ig_err *err)
{
    struct ig_slice activity, first, second;
    if (!eval__text(row, "activity_label", &activity, err) ||
        !eval__text(row, "ctx_a", &first, err) || !eval__text(row, "ctx_b", &second, err))
        return false;
    struct ig_buf query = {0};
    ig_buf_slice(&query, activity);
    ig_buf_text(&query, ": ");
    ig_buf_slice(&query, first);
    ig_buf_char(&query, ' ');
    eval__capitalize(&query, second);
    bool ok = ig_buf_ok(&query, err) && clean(ig_buf_view(&query), arena, &out->context, err) &&
              read_endings(row, arena, out, err) &&
              eval__gold(row, "label", out->count, &out->gold, err);
    ig_buf_release(&query);
    return ok;
}

const struct eval_task eval__hellaswag[] = {
    {.name = "hellaswag",
     .summary = "which ending follows",
     .hub = "Rowan/hellaswag",
     .split = "validation",
     .version = "1.0",
     .has_norm = true,
     .draws_spare = true,
     .adds_fields = true,
     .read = read_row},
    {0},
};
