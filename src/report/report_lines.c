/* SPDX-License-Identifier: Apache-2.0
 * report_lines — small line plots. The drawing is stretched to its box, strokes are not; what a
 * colour says is said by a pattern of dashes too. */
#include "report/report_internal.h"

#include <math.h>

#define WIDTH  100
#define HEIGHT 84

struct drawing {
    const struct ig_report_line_axes *axes;
    const double *values;
};

static double x_of(const struct drawing *d, int point)
{
    return d->axes->points > 1 ? (double)WIDTH * point / (d->axes->points - 1) : WIDTH / 2.0;
}

static double y_of(const struct drawing *d, double value)
{
    double at = (value - d->axes->low) / (d->axes->high - d->axes->low);
    return HEIGHT * (1 - fmax(0, fmin(1, at)));
}

/* One stroke for each run of numbers; a number alone is a dot. */
static void put_series(struct ig_buf *out, const struct drawing *d, int series)
{
    const double *values = d->values + (size_t)series * (size_t)d->axes->points;
    for (int start = 0; start < d->axes->points;) {
        int end = start;
        while (end < d->axes->points && isfinite(values[end]))
            end++;
        if (end == start) {
            start++;
            continue;
        }
        ig_buf_printf(out, "<path class=\"line s%d%s\" d=\"M", series,
                      end == start + 1 ? " dot" : "");
        for (int i = start; i < end; i++)
            ig_buf_printf(out, "%s%.4g %.4g", i > start ? "L" : "", x_of(d, i), y_of(d, values[i]));
        ig_buf_text(out, end == start + 1 ? "h.01\"/>" : "\"/>");
        start = end;
    }
}

static void put_plot(struct ig_buf *out, const struct ig_report_line_axes *axes,
                     const struct ig_report_line *plot)
{
    struct drawing d = {axes, plot->values};
    ig_buf_text(out, "<figure class=\"small\"><figcaption><b>");
    report__text(out, plot->label);
    ig_buf_text(out, "</b> ");
    report__text(out, plot->note);
    ig_buf_printf(out, "</figcaption><svg height=\"%d\" aria-hidden=\"true\">", HEIGHT + 20);
    for (int i = 0; i <= 2; i++)
        ig_buf_printf(out, "<text x=\"100%%\" y=\"%d\" text-anchor=\"end\">%.3g</text>",
                      HEIGHT * i / 2 + (i ? 4 : 9), axes->high - (axes->high - axes->low) * i / 2);
    ig_buf_printf(out,
                  "<svg class=\"in\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                  "preserveAspectRatio=\"none\">",
                  HEIGHT, WIDTH, HEIGHT);
    for (int i = 0; i <= 2; i++)
        ig_buf_printf(out,
                      "<path class=\"grid\" vector-effect=\"non-scaling-stroke\" d=\"M0 %dH%d\"/>",
                      HEIGHT * i / 2, WIDTH);
    for (int i = 0; i < axes->series_count; i++)
        put_series(out, &d, i);
    ig_buf_printf(out, "</svg><text x=\"0\" y=\"%d\">", HEIGHT + 15);
    report__text(out, axes->first);
    ig_buf_printf(out, "</text><text x=\"100%%\" y=\"%d\" text-anchor=\"end\">", HEIGHT + 15);
    report__text(out, axes->last);
    ig_buf_text(out, "</text></svg></figure>\n");
}

void ig_report_lines(struct ig_report *report, const char *caption,
                     const struct ig_report_line_axes *axes, const struct ig_report_line *plots,
                     int count)
{
    struct ig_buf *out = &report->body;
    if (count == 0 || axes->points == 0 || !(axes->high > axes->low)) return;
    ig_buf_text(out, "<figure class=\"plot\"><figcaption>");
    report__text(out, caption);
    for (int i = 0; i < axes->series_count; i++) {
        ig_buf_printf(out,
                      " <span class=\"key\"><svg width=\"28\" height=\"12\" aria-hidden=\"true\" "
                      "class=\"long\"><path class=\"line s%d\" d=\"M0 6H28\"/></svg> ",
                      i);
        report__text(out, axes->series[i]);
        ig_buf_text(out, "</span>");
    }
    ig_buf_text(out, "</figcaption>\n<div class=\"many\">\n");
    for (int i = 0; i < count; i++)
        put_plot(out, axes, &plots[i]);
    ig_buf_text(out, "</div>\n</figure>\n");
}
