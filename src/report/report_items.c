/* SPDX-License-Identifier: Apache-2.0
 * report_items — the browser of items. Each is a <details> element, so that the list works without
 * the script; the form that filters it is shown by the script. */
#include "report/report_internal.h"

#include <stdlib.h>

static int name_index(struct ig_report *report, struct report_names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0) return i;
    if (names->count == REPORT_NAMES_MAX) return REPORT_NAMES_MAX - 1;
    names->items[names->count] = strdup(name);
    if (!names->items[names->count]) {
        report->failed = true;
        return 0;
    }
    return names->count++;
}

static void put_choice(struct ig_buf *out, const struct ig_report_choice *choice)
{
    ig_buf_printf(out, "<li%s><span class=\"said\">", choice->gold ? " class=\"gold\"" : "");
    if (choice->context.len) {
        ig_buf_text(out, "<span class=\"given\">");
        report__escape(out, choice->context);
        ig_buf_text(out, "</span>");
    }
    report__escape(out, choice->text);
    ig_buf_text(out, "</span>");
    if (choice->gold) ig_buf_text(out, " <span class=\"tag right\">right answer</span>");
    if (*choice->by) {
        ig_buf_text(out, " <span class=\"tag\">picked by ");
        report__text(out, choice->by);
        ig_buf_text(out, "</span>");
    }
    ig_buf_text(out, "</li>\n");
}

void ig_report_item(struct ig_report *report, const struct ig_report_item *item)
{
    struct ig_buf *out = &report->items;
    int model = name_index(report, &report->models, item->model);
    int task = name_index(report, &report->tasks, item->task);
    int side = name_index(report, &report->sides, item->side);
    report->item_count++;
    ig_buf_printf(out,
                  "<details class=\"item %s\" data-m=\"%d\" data-t=\"%d\" data-s=\"%d\"><summary>",
                  report__tone(item->tone), model, task, side);
    ig_buf_printf(out, "<span class=\"mark\" aria-hidden=\"true\">%s</span> ",
                  item->tone == IG_REPORT_GOOD ? "+" : "\xE2\x88\x92");
    report__text(out, item->title);
    ig_buf_text(out, " <span class=\"note\">");
    report__text(out, item->note);
    ig_buf_text(out, "</span></summary>\n");
    if (item->context.len) {
        ig_buf_text(out, "<p class=\"said\">");
        report__escape(out, item->context);
        ig_buf_text(out, "</p>\n");
    }
    ig_buf_text(out, "<ol>\n");
    for (int i = 0; i < item->count; i++)
        put_choice(out, &item->choices[i]);
    ig_buf_text(out, "</ol>\n</details>\n");
}

static void put_filter(struct ig_buf *out, const char *id, const char *label,
                       const struct report_names *names)
{
    ig_buf_printf(out, "<label>%s <select id=\"%s\"><option value=\"\">all</option>", label, id);
    for (int i = 0; i < names->count; i++) {
        ig_buf_printf(out, "<option value=\"%d\">", i);
        report__text(out, names->items[i]);
        ig_buf_text(out, "</option>");
    }
    ig_buf_text(out, "</select></label>\n");
}

void ig_report_items(struct ig_report *report)
{
    struct ig_buf *out = &report->body;
    ig_buf_text(out, "<form id=\"filter\" class=\"filter\" hidden>\n");
    put_filter(out, "m", "Model", &report->models);
    put_filter(out, "t", "Task", &report->tasks);
    put_filter(out, "s", "Side", &report->sides);
    ig_buf_text(out, "<label>Text <input id=\"q\" type=\"search\" autocomplete=\"off\"></label>\n"
                     "</form>\n<p id=\"count\" class=\"count\" role=\"status\">");
    ig_buf_printf(out, "%lld items</p>\n<div id=\"items\">\n", (long long)report->item_count);
    ig_buf_slice(out, ig_buf_view(&report->items));
    ig_buf_text(out,
                "</div>\n<p id=\"more\" hidden><button type=\"button\">Show more</button></p>\n");
}
