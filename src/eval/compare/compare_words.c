/* SPDX-License-Identifier: Apache-2.0
 * compare_words — verdicts and profiles: only what holds is said. */
#include "eval/compare/compare_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTES_MAX 4096

bool eval__note(struct compare *c, struct ig_err *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (int i = 0; i < c->shown.note_count; i++) /* said once is enough */
        if (strcmp(c->notes[i], text) == 0) return true;
    if (c->shown.note_count == NOTES_MAX) return true;
    if (c->shown.note_count == c->note_room) {
        int room = c->note_room ? c->note_room * 2 : 16;
        const char **notes = realloc(c->notes, (size_t)room * sizeof *notes);
        if (!notes) return ig_err_nomem(err);
        c->notes = notes;
        c->note_room = room;
    }
    const char *copy = ig_arena_copy(&c->arena, ig_slice_of(text)).ptr;
    if (!copy) return ig_err_nomem(err);
    c->notes[c->shown.note_count++] = copy;
    return true;
}

const char *eval__clean_copy(struct ig_arena *arena, struct ig_slice name)
{
    char *copy = ig_arena_new(arena, name.len + 1);
    for (size_t i = 0; copy && i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        /* C2 80 to C2 9F in UTF-8 are the other control characters. */
        bool high = c == 0xC2 && i + 1 < name.len && (unsigned char)name.ptr[i + 1] < 0xA0;
        copy[i] = c < 0x20 || c == 0x7F || high ? '?' : (char)c;
        if (high) copy[++i] = '?';
    }
    return copy;
}

/* ---- verdicts ---- */

static void same_words(const struct ig_comparison *s, int model, int task, struct ig_buf *out)
{
    const struct ig_compare_pair *pair = &s->models[model].pairs[task];
    long long n = (long long)s->tasks[task].items, differ = (long long)(pair->gained + pair->lost);
    int tests = 0;
    for (int t = 0; t < s->task_count; t++)
        tests += s->models[model].pairs[t].verdict != IG_VERDICT_NONE;
    ig_buf_text(out, "not distinguishable (");
    if (differ == 0)
        ig_buf_printf(out, "the same on all %lld items)", n);
    else if (pair->p < 0.05)
        ig_buf_printf(out, "p = %.2g alone, not among %d tasks)", pair->p, tests);
    else if (isnan(pair->detectable))
        ig_buf_printf(out, "only %lld of %lld items differ%s)", differ, n, differ == 1 ? "s" : "");
    else
        ig_buf_printf(out, "n = %lld finds differences from %.1f points)", n,
                      100 * pair->detectable);
}

void ig_compare_verdict(const struct ig_comparison *comparison, int model, int task,
                        struct ig_buf *out)
{
    switch (comparison->models[model].pairs[task].verdict) {
    case IG_VERDICT_NONE: ig_buf_text(out, "not run on both"); break;
    case IG_VERDICT_SAME: same_words(comparison, model, task, out); break;
    case IG_VERDICT_BETTER: ig_buf_text(out, "better"); break;
    case IG_VERDICT_WORSE: ig_buf_text(out, "worse"); break;
    }
}

void ig_compare_mean_verdict(const struct ig_comparison *comparison, int model, struct ig_buf *out)
{
    const struct ig_compare_mean *mean = &comparison->models[model].mean;
    switch (mean->verdict) {
    case IG_VERDICT_NONE: ig_buf_text(out, "no task in common"); break;
    case IG_VERDICT_SAME:
        ig_buf_printf(out, "not distinguishable (finds differences from %.1f points)",
                      50 * (mean->high - mean->low));
        break;
    case IG_VERDICT_BETTER: ig_buf_text(out, "better"); break;
    case IG_VERDICT_WORSE: ig_buf_text(out, "worse"); break;
    }
}

/* ---- profiles ---- */

/* "better on boolq (+32.9), piqa (+1.0)", the largest first. Returns how many. */
static int list_tasks(const struct ig_comparison *s, const struct ig_compare_model *model,
                      enum ig_verdict verdict, const char *head, struct ig_buf *out)
{
    int said = 0;
    double last = (double)INFINITY;
    for (;;) {
        int next = -1;
        double size = -1;
        for (int t = 0; t < s->task_count; t++) {
            const struct ig_compare_pair *p = &model->pairs[t];
            double d = fabs(p->difference) - 1e-9 * t; /* equal ones by name */
            if (p->verdict != verdict || d >= last || d <= size) continue;
            size = d;
            next = t;
        }
        if (next < 0) return said;
        last = size;
        ig_buf_text(out, said++ ? ", " : head);
        ig_buf_text(out, s->tasks[next].name);
        ig_buf_printf(out, " (%+.1f)", 100 * model->pairs[next].difference);
    }
}

/* Where accuracy tells nothing, the margins may: they see every item. */
static int list_margins(const struct ig_comparison *s, const struct ig_compare_model *model,
                        int sign, const char *head, struct ig_buf *out)
{
    int said = 0;
    for (int t = 0; t < s->task_count; t++) {
        const struct ig_compare_pair *p = &model->pairs[t];
        bool moved = p->verdict == IG_VERDICT_SAME && p->has_margin && p->margin_p_holm < 0.05 &&
                     p->margin_change * sign > 0;
        if (!moved) continue;
        ig_buf_text(out, said++ ? ", " : head);
        ig_buf_text(out, s->tasks[t].name);
    }
    return said;
}

static void describe(const struct ig_comparison *s, int index, struct ig_buf *out)
{
    const struct ig_compare_model *model = &s->models[index];
    int same = 0;
    for (int t = 0; t < s->task_count; t++)
        same += model->pairs[t].verdict == IG_VERDICT_SAME;
    int better = list_tasks(s, model, IG_VERDICT_BETTER, "better on ", out);
    int worse = list_tasks(s, model, IG_VERDICT_WORSE, better ? "; worse on " : "worse on ", out);
    if (same) {
        ig_buf_text(out, better + worse ? "; not distinguishable on " : "not distinguishable on ");
        if (same == 1)
            ig_buf_text(out, better + worse ? "the other task" : "the only task");
        else
            ig_buf_printf(out, better + worse ? "the other %d tasks" : "any of %d tasks", same);
    }
    if (better + worse + same == 0) ig_buf_text(out, "no task in common");
    int up = list_margins(s, model, 1, ", though gold answers gain margin on ", out);
    list_margins(s, model, -1, up ? " and lose it on " : ", though gold answers lose margin on ",
                 out);
    if (s->mean_tasks > 1) {
        ig_buf_printf(out, "; mean of %d %+.1f points: ", s->mean_tasks,
                      100 * model->mean.difference);
        ig_compare_mean_verdict(s, index, out);
    }
}

bool eval__profiles(struct compare *c, struct ig_err *err)
{
    for (int i = 0; i < c->run_count; i++) {
        struct ig_buf text = {0};
        if (i == c->shown.baseline) continue;
        describe(&c->shown, i, &text);
        bool ok = ig_buf_ok(&text, err);
        if (ok) c->models[i].profile = ig_arena_copy(&c->arena, ig_buf_view(&text)).ptr;
        ig_buf_release(&text);
        if (!ok) return false;
        if (!c->models[i].profile) return ig_err_nomem(err);
    }
    return true;
}

/* ---- published numbers ---- */

/* `paired` grows with the root of the share of discordant items, and no fewer items can change side
 * than the difference itself. */
double ig_published_share(const struct ig_published_pair *pair)
{
    double d = fabs(pair->difference), ratio = d / pair->paired[0], share = 0.03 * ratio * ratio;
    return share < d || share < 0.005 ? 0 : fmin(share, 1);
}

void ig_published_verdict(const struct ig_published_pair *pair, struct ig_buf *out)
{
    double share = ig_published_share(pair);
    switch (pair->verdict) {
    case IG_VERDICT_NONE: ig_buf_text(out, "not in both"); break;
    case IG_VERDICT_BETTER: ig_buf_text(out, "better"); break;
    case IG_VERDICT_WORSE: ig_buf_text(out, "worse"); break;
    case IG_VERDICT_SAME:
        if (share > 0)
            ig_buf_printf(out, "cannot be told; paired: if at most %.0f %% changed side",
                          100 * share);
        else
            ig_buf_text(out, "cannot be told, paired or not");
    }
}

/* "better on boolq (+32.9), piqa (+1.0)", in the table's order. Returns how many. */
static int list_published(const struct ig_published *p, const struct ig_published_row *row,
                          enum ig_verdict verdict, const char *head, struct ig_buf *out)
{
    int said = 0;
    for (int t = 0; t < p->task_count; t++) {
        if (row->pairs[t].verdict != verdict) continue;
        ig_buf_printf(out, "%s%s (%+.1f)", said++ ? ", " : head, p->tasks[t],
                      100 * row->pairs[t].difference);
    }
    return said;
}

void ig_published_profile(const struct ig_published *p, int index, struct ig_buf *out)
{
    const struct ig_published_row *row = &p->rows[index];
    int same = 0;
    for (int t = 0; t < p->task_count; t++)
        same += row->pairs[t].verdict == IG_VERDICT_SAME;
    int better = list_published(p, row, IG_VERDICT_BETTER, "better on ", out);
    int worse = list_published(p, row, IG_VERDICT_WORSE, better ? "; worse on " : "worse on ", out);
    bool first = better + worse == 0;
    if (same == 1)
        ig_buf_text(out, first ? "from numbers alone it cannot be told on the only task"
                               : "; from numbers alone it cannot be told on the other task");
    else if (same)
        ig_buf_printf(out,
                      first ? "from numbers alone it cannot be told on any of %d tasks"
                            : "; from numbers alone it cannot be told on the other %d tasks",
                      same);
    if (row->mean_pair.verdict == IG_VERDICT_NONE || p->task_count < 2) return;
    ig_buf_printf(out, "; mean of %d %+.1f points: ", p->task_count,
                  100 * row->mean_pair.difference);
    ig_published_verdict(&row->mean_pair, out);
}
