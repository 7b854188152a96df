/* SPDX-License-Identifier: Apache-2.0
 * sketch_words — what numbers of a merge mean, in words. */
#include "sketch.h"

#include <stdio.h>

/* Where the words change; of cosines and shares as finetunes of one base have them. */
#define ALIKE     1e-4
#define CLOSE     0.02
#define DIFFERENT 0.2
#define EVENLY    0.05

const char *cli_sketch_number(double value, char out[24])
{
    double size = fabs(value);
    if (isnan(value)) return "-";
    snprintf(out, 24, size > 0 && size < 0.001 ? "%.1e" : "%.3f", value);
    return out;
}

bool cli_sketch_shows(const struct ig_sketch_summary *s, enum ig_sketch_measure measure)
{
    const struct ig_sketch_spread *all = &s->all.measure[measure];
    if (!all->count) return false;
    return measure != IG_SKETCH_ENERGY || all->low < 1 - 1e-9; /* nothing was dropped: no column */
}

void cli_sketch_headline(const struct ig_sketch_summary *s, struct ig_buf *out)
{
    long long copied = (long long)s->all.copied, all = (long long)s->all.tensors;
    ig_buf_printf(out, "%s of %d model%s, %lld tensor%s", s->head->method, s->head->model_count,
                  s->head->model_count == 1 ? "" : "s", all, all == 1 ? "" : "s");
    if (copied) ig_buf_printf(out, ": %lld merged, %lld copied", all - copied, copied);
    if (s->quantize) ig_buf_printf(out, "; quantised as %s", s->quantize);
}

static void say_shares(const struct ig_sketch_summary *s, const struct ig_sketch_cell *cell,
                       struct ig_buf *out)
{
    int most = 0, least = 0;
    double mean[IG_SKETCH_INPUTS_MAX] = {0};
    if (!s->input_count || !cell->pool.share[0].count) return;
    for (int i = 0; i < s->input_count; i++) {
        mean[i] = ig_sketch_mean(&cell->pool.share[i]);
        if (mean[i] > mean[most]) most = i;
        if (mean[i] < mean[least]) least = i;
    }
    if (cell->pool.center.count) {
        ig_buf_printf(out,
                      " The centre makes %.2f of it; beside that it is shifted towards %s (%+.2f).",
                      ig_sketch_mean(&cell->pool.center), s->inputs[most], mean[most]);
        return;
    }
    if (mean[most] - mean[least] < EVENLY)
        ig_buf_printf(out, " All went in about equally (%.2f to %.2f).", mean[least], mean[most]);
    else
        ig_buf_printf(out, " Most of it is %s (%.2f), least %s (%.2f).", s->inputs[most],
                      mean[most], s->inputs[least], mean[least]);
    for (int i = 0; i < s->input_count; i++) {
        if (cell->pool.share[i].low < -1e-6)
            ig_buf_printf(out, " A negative share: the output moves away from %s.", s->inputs[i]);
        if (cell->pool.share[i].high > 1 + 1e-6 && s->input_count > 1)
            ig_buf_printf(out, " A share above 1: the output goes beyond %s.", s->inputs[i]);
    }
}

void cli_sketch_words(const struct ig_sketch_summary *s, const struct ig_sketch_cell *cell,
                      struct ig_buf *out)
{
    const struct ig_sketch_pool *p = &cell->pool;
    double apart = ig_sketch_mean(&p->measure[IG_SKETCH_APART]);
    double rejected = ig_sketch_mean(&p->measure[IG_SKETCH_REJECTED]);
    double first = ig_sketch_mean(&p->measure[IG_SKETCH_FIRST]);
    double energy = ig_sketch_mean(&p->measure[IG_SKETCH_ENERGY]);
    if (p->copied == p->tensors) {
        for (int i = 0; i < s->input_count; i++)
            if (ig_sketch_mean(&p->share[i]) == 1) {
                ig_buf_printf(out, "Copied from %s, not merged.", s->inputs[i]);
                return;
            }
        ig_buf_text(out, "Copied, not merged.");
        return;
    }
    if (p->tensors > 1) ig_buf_printf(out, "Means of %lld tensors. ", (long long)p->tensors);
    if (!isnan(apart))
        ig_buf_printf(out, "The inputs %s here.",
                      apart < ALIKE       ? "are nearly the same"
                      : apart < CLOSE     ? "are close"
                      : apart < DIFFERENT ? "differ"
                                          : "lie far apart");
    say_shares(s, cell, out);
    if (rejected > 0)
        ig_buf_printf(out,
                      " %.0f %% of the weights were judged outliers and cut by more than half.",
                      100 * rejected);
    if (first > 0.8 && s->input_count > 2)
        ig_buf_text(out, " Nearly all of the difference lies along one direction.");
    if (energy < 1 - 1e-9) ig_buf_printf(out, " %.0f %% of the difference was kept.", 100 * energy);
    if (!out->len) ig_buf_text(out, "Merged; this method notes no more.");
}

const char *cli_sketch_list_title(const struct ig_sketch_summary *s, enum ig_sketch_list list)
{
    if (list == IG_SKETCH_DISAGREED) return "lowest agreement";
    if (list == IG_SKETCH_OUTSIDE) return "share below 0 or above 1";
    return s->all.measure[IG_SKETCH_DISTANCE].count ? "farthest from the centre"
                                                    : "inputs farthest apart";
}

const char *cli_sketch_whose(const struct ig_sketch_summary *s, const struct ig_sketch_mark *mark)
{
    return mark->input >= 0 && mark->input < s->input_count ? s->inputs[mark->input] : "";
}
