/* SPDX-License-Identifier: Apache-2.0
 * report_maps — heat maps as tables of links. A link leads to the cell's numbers (:target), so that
 * a click works without the script; with it the focus is enough and arrows move. */
#include "report/report_internal.h"

#include <math.h>
#include <stdio.h>

#define LEVELS 10 /* .h0 to .h9 */

int ig_report_detail(struct ig_report *report, const struct ig_report_detail *detail)
{
    struct ig_buf *out = &report->details;
    int id = report->detail_count++;
    ig_buf_printf(out, "<div class=\"detail\" id=\"c%d\"><h4>", id);
    report__text(out, detail->title);
    ig_buf_text(out, "</h4><a class=\"close\" href=\"#maps\" aria-label=\"close\">&times;</a><p>");
    report__text(out, detail->text);
    ig_buf_text(out, "</p><dl>");
    for (int i = 0; i < detail->count; i++) {
        ig_buf_text(out, "<dt>");
        report__text(out, detail->facts[i].name);
        ig_buf_text(out, "</dt><dd>");
        report__text(out, detail->facts[i].value);
        ig_buf_text(out, "</dd>");
    }
    ig_buf_text(out, "</dl></div>\n");
    return id;
}

/* "0.34" as ".34": cells are narrow. */
static void put_number(struct ig_buf *out, double value, int decimals)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f", decimals, value);
    const char *digits = text + (*text == '-');
    bool is_zero = strspn(digits, "0.") == strlen(digits);
    if (digits[0] == '0' && digits[1] == '.') digits++;
    ig_buf_text(out, *text == '-' && !is_zero ? "\xE2\x88\x92" : "");
    ig_buf_text(out, digits);
}

static void put_heat_cell(struct ig_buf *out, const struct ig_report_heat *map, int at, int detail)
{
    double value = map->values[at], span = map->high - map->low;
    if (detail < 0) {
        ig_buf_text(out, "<td></td>");
        return;
    }
    if (!isfinite(value)) {
        ig_buf_printf(out, "<td><a href=\"#c%d\">\xC2\xB7</a></td>", detail);
        return;
    }
    double level = span > 0 ? (value - map->low) / span * LEVELS : 0;
    bool beyond = level < -1e-9 || level > LEVELS + 1e-9;
    int shade = level < 0 ? 0 : level >= LEVELS ? LEVELS - 1 : (int)level;
    if (beyond)
        ig_buf_printf(out, "<td><a class=\"hx\" href=\"#c%d\">", detail);
    else
        ig_buf_printf(out, "<td><a class=\"h%d\" href=\"#c%d\">", shade, detail);
    put_number(out, value / map->unit, map->decimals);
    ig_buf_text(out, "</a></td>");
}

static void put_ramp(struct ig_buf *out, const struct ig_report_heat *map)
{
    ig_buf_printf(out, " <span class=\"key\">%g<span class=\"ramp\" aria-hidden=\"true\">",
                  map->low / map->unit);
    for (int i = 0; i < LEVELS; i++)
        ig_buf_printf(out, "<i class=\"h%d\"></i>", i);
    ig_buf_printf(out, "</span>%.3g</span>", map->high / map->unit);
}

static void put_map(struct ig_report *report, const struct ig_report_grid *grid,
                    const struct ig_report_heat *map)
{
    struct ig_buf *out = &report->body;
    int id = ++report->tables;
    ig_buf_printf(out, "<figure><figcaption id=\"t%d\"><b>", id);
    report__text(out, map->label);
    ig_buf_text(out, "</b> ");
    report__text(out, map->note);
    put_ramp(out, map);
    ig_buf_printf(out,
                  "</figcaption><div class=\"wide\"><table class=\"heat\" aria-labelledby=\"t%d\">"
                  "<thead><tr><th>",
                  id);
    report__text(out, grid->row_name);
    ig_buf_text(out, "</th>");
    for (int c = 0; c < grid->column_count; c++) {
        ig_buf_text(out, "<th scope=\"col\"><span>");
        report__text(out, grid->columns[c]);
        ig_buf_text(out, "</span></th>");
    }
    ig_buf_text(out, "</tr></thead><tbody>\n");
    for (int r = 0; r < grid->row_count; r++) {
        ig_buf_text(out, "<tr><th scope=\"row\">");
        report__text(out, grid->rows[r]);
        ig_buf_text(out, "</th>");
        for (int c = 0; c < grid->column_count; c++) {
            int at = r * grid->column_count + c;
            put_heat_cell(out, map, at, grid->details[at]);
        }
        ig_buf_text(out, "</tr>\n");
    }
    ig_buf_text(out, "</tbody></table></div></figure>\n");
}

void ig_report_heats(struct ig_report *report, const char *caption,
                     const struct ig_report_grid *grid, const struct ig_report_heat *maps,
                     int count)
{
    struct ig_buf *out = &report->body;
    if (count == 0 || grid->row_count == 0 || grid->column_count == 0) return;
    ig_buf_text(out, "<figure><figcaption>");
    report__text(out, caption);
    ig_buf_text(out, "</figcaption>\n<div class=\"maps\">\n");
    for (int i = 0; i < count; i++)
        put_map(report, grid, &maps[i]);
    ig_buf_text(out, "</div></figure>\n");
}
