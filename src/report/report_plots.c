/* SPDX-License-Identifier: Apache-2.0
 * report_plots — SVG whose places are per cent of its width and whose heights are pixels, so that a
 * plot fits any screen and its text keeps its size. */
#include "report/report_internal.h"

#include <math.h>
#include <stdlib.h>

#define TICKS_MAX 9
#define BINS      36
#define HEIGHT    84 /* of a histogram's bars, in pixels */

/* ---- axes ---- */

struct axis {
    double low, high, step;
};

/* 1, 2 or 5 times a power of ten, so that a span has at most `ticks` steps. */
static double round_step(double span, int ticks)
{
    static const double factors[] = {1, 2, 5, 10};
    double base = pow(10, floor(log10(span / ticks)));
    for (int i = 0; i < 4; i++)
        if (span / (base * factors[i]) <= ticks) return base * factors[i];
    return base * 10;
}

/* Holds low, high and 0, and ends at ticks. */
static struct axis make_axis(double low, double high, int ticks)
{
    low = fmin(low, 0);
    high = fmax(high, 0);
    if (!(high - low > 1e-12)) high = low + 1;
    double step = round_step(high - low, ticks);
    return (struct axis){floor(low / step) * step, ceil(high / step) * step, step};
}

static double place(const struct axis *axis, double value)
{
    return 100 * (value - axis->low) / (axis->high - axis->low);
}

static void put_grid(struct ig_buf *out, const struct axis *axis, int height)
{
    for (int i = 0; axis->low + i * axis->step <= axis->high + axis->step / 2; i++) {
        double value = axis->low + i * axis->step, x = place(axis, value);
        bool zero = fabs(value) < axis->step / 2;
        ig_buf_printf(out, "<line class=\"%s\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"0\" y2=\"%d\"/>",
                      zero ? "zero" : "grid", x, x, height);
    }
}

static void put_ticks(struct ig_buf *out, const struct axis *axis, int y, bool sign)
{
    for (int i = 0; axis->low + i * axis->step <= axis->high + axis->step / 2; i++) {
        double value = axis->low + i * axis->step, x = place(axis, value);
        const char *anchor = x < 1 ? "start" : x > 99 ? "end" : "middle";
        if (fabs(value) < axis->step / 2) value = 0;
        ig_buf_printf(out, "<text x=\"%.3f%%\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
        ig_buf_printf(out, sign && value > 0 ? "+%g</text>" : "%g</text>", value);
    }
}

/* ---- intervals ---- */

static void put_mark(struct ig_buf *out, double x, enum ig_report_tone tone)
{
    if (tone == IG_REPORT_GOOD || tone == IG_REPORT_BAD)
        ig_buf_printf(out, "<svg x=\"%.3f%%\" y=\"15\" overflow=\"visible\"><path d=\"%s\"/></svg>",
                      x, tone == IG_REPORT_GOOD ? "M-7 5L0 -8L7 5Z" : "M-7 -5L0 8L7 -5Z");
    else
        ig_buf_printf(out, "<circle cx=\"%.3f%%\" cy=\"15\" r=\"5\"/>", x);
}

static void put_interval(struct ig_buf *out, const struct axis *axis,
                         const struct ig_report_interval *row)
{
    double low = place(axis, row->low), high = place(axis, row->high);
    ig_buf_printf(out, "<div class=\"row %s\" role=\"listitem\"><span class=\"name\">",
                  report__tone(row->tone));
    report__text(out, row->label);
    ig_buf_text(out, "</span><span class=\"value\">");
    report__text(out, row->text);
    ig_buf_text(out, "</span><svg class=\"bar\" height=\"30\" aria-hidden=\"true\">");
    put_grid(out, axis, 30);
    ig_buf_printf(out, "<line class=\"span\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"15\" y2=\"15\"/>",
                  low, high);
    for (int side = 0; side < 2; side++) {
        double x = side ? high : low;
        ig_buf_printf(out, "<line class=\"end\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"9\" y2=\"21\"/>",
                      x, x);
    }
    put_mark(out, place(axis, row->middle), row->tone);
    ig_buf_text(out, "</svg></div>\n");
}

void ig_report_intervals(struct ig_report *report, const char *caption, const char *unit,
                         const struct ig_report_interval *rows, int count)
{
    struct ig_buf *out = &report->body;
    double low = 0, high = 0;
    if (count == 0) return;
    for (int i = 0; i < count; i++) {
        low = fmin(low, rows[i].low);
        high = fmax(high, rows[i].high);
    }
    struct axis axis = make_axis(low, high, TICKS_MAX - 2);
    ig_buf_text(out, "<figure class=\"plot\"><figcaption>");
    report__text(out, caption);
    ig_buf_text(out, "</figcaption>\n<div class=\"rows\" role=\"list\">\n");
    for (int i = 0; i < count; i++)
        put_interval(out, &axis, &rows[i]);
    ig_buf_text(out, "</div>\n<div class=\"row axis\" aria-hidden=\"true\"><span class=\"name\">");
    report__text(out, unit);
    ig_buf_text(out, "</span><span class=\"value\"></span><svg class=\"bar\" height=\"18\">");
    put_ticks(out, &axis, 13, true);
    ig_buf_text(out, "</svg></div>\n</figure>\n");
}

/* ---- histograms ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The 1st and the 99th of a hundred of both sets together, so that one far value does not press
 * all others together. */
static bool middle_span(const struct ig_report_histogram *plot, double *low, double *high)
{
    int64_t count = 2 * plot->count;
    double *all = calloc((size_t)count + 1, sizeof *all);
    if (!all) return false;
    for (int64_t i = 0; i < plot->count; i++) {
        all[2 * i] = plot->before[i];
        all[2 * i + 1] = plot->after[i];
    }
    qsort(all, (size_t)count, sizeof *all, by_value);
    *low = all[count / 100];
    *high = all[count - 1 - count / 100];
    free(all);
    return true;
}

static void count_bins(const double *values, int64_t count, const struct axis *axis, int64_t *bins)
{
    for (int64_t i = 0; i < count; i++) {
        double at = (values[i] - axis->low) / (axis->high - axis->low) * BINS;
        bins[at < 0 ? 0 : at >= BINS ? BINS - 1 : (int)at]++;
    }
}

static void put_bars(struct ig_buf *out, const int64_t *bins, int64_t most, const char *class)
{
    for (int i = 0; i < BINS; i++) {
        double height = HEIGHT * (double)bins[i] / (double)most;
        if (bins[i])
            ig_buf_printf(out,
                          "<rect class=\"%s\" x=\"%.3f%%\" width=\"%.3f%%\" y=\"%.1f\" "
                          "height=\"%.1f\"/>",
                          class, 100.0 * i / BINS, 100.0 / BINS, HEIGHT - height, height);
    }
}

/* The upper edge only: both sets stay visible where they overlap. */
static void put_outline(struct ig_buf *out, const int64_t *bins, int64_t most)
{
    double last = HEIGHT;
    for (int i = 0; i <= BINS; i++) {
        double y = i < BINS ? HEIGHT - HEIGHT * (double)bins[i] / (double)most : HEIGHT;
        double x = 100.0 * i / BINS;
        if (y != last)
            ig_buf_printf(out,
                          "<line class=\"after\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%.1f\" "
                          "y2=\"%.1f\"/>",
                          x, x, last, y);
        if (i < BINS && bins[i])
            ig_buf_printf(out,
                          "<line class=\"after\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%.1f\" "
                          "y2=\"%.1f\"/>",
                          x, x + 100.0 / BINS, y, y);
        last = y;
    }
}

static void put_histogram(struct ig_report *report, const struct ig_report_histogram *plot)
{
    struct ig_buf *out = &report->body;
    int64_t before[BINS] = {0}, after[BINS] = {0}, most = 1;
    double low, high;
    if (!middle_span(plot, &low, &high)) {
        report->failed = true;
        return;
    }
    struct axis axis = make_axis(low, high, 4);
    count_bins(plot->before, plot->count, &axis, before);
    count_bins(plot->after, plot->count, &axis, after);
    for (int i = 0; i < BINS; i++) {
        most = before[i] > most ? before[i] : most;
        most = after[i] > most ? after[i] : most;
    }
    ig_buf_text(out, "<figure class=\"small\"><figcaption><b>");
    report__text(out, plot->label);
    ig_buf_text(out, "</b> ");
    report__text(out, plot->note);
    ig_buf_printf(out, "</figcaption><svg height=\"%d\" aria-hidden=\"true\">", HEIGHT + 20);
    put_grid(out, &axis, HEIGHT);
    put_bars(out, before, most, "before");
    put_outline(out, after, most);
    put_ticks(out, &axis, HEIGHT + 15, true);
    ig_buf_text(out, "</svg></figure>\n");
}

void ig_report_histograms(struct ig_report *report, const char *caption, const char *before,
                          const char *after, const struct ig_report_histogram *plots, int count)
{
    struct ig_buf *out = &report->body;
    if (count == 0) return;
    ig_buf_text(out, "<figure class=\"plot\"><figcaption>");
    report__text(out, caption);
    ig_buf_text(out, " <span class=\"key\"><svg width=\"14\" height=\"12\" aria-hidden=\"true\">"
                     "<rect class=\"before\" width=\"14\" height=\"12\"/></svg> ");
    report__text(out, before);
    ig_buf_text(out, "</span> <span class=\"key\"><svg width=\"14\" height=\"12\" "
                     "aria-hidden=\"true\"><line class=\"after\" x1=\"0\" x2=\"14\" y1=\"6\" "
                     "y2=\"6\"/></svg> ");
    report__text(out, after);
    ig_buf_text(out, "</span></figcaption>\n<div class=\"many\">\n");
    for (int i = 0; i < count; i++)
        if (plots[i].count > 0) put_histogram(report, &plots[i]);
    ig_buf_text(out, "</div>\n</figure>\n");
}
