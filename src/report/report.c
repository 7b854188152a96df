/* SPDX-License-Identifier: Apache-2.0
 * report — the page: head, escaping, headings, tables. */
#include "report/report_internal.h"

#include "base/file.h"
#include "base/sha256.h"
#include "text/utf8.h"
#include <stdlib.h>

/* ---- escaping ---- */

static const char *entity(uint32_t code)
{
    switch (code) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

static bool is_control(uint32_t code)
{
    return code == IG_UTF8_INVALID || (code < 0x20 && code != '\n' && code != '\t') ||
           (code >= 0x7F && code < 0xA0);
}

void report__escape(struct ig_buf *out, struct ig_slice text)
{
    const char *at = text.len ? text.ptr : "", *end = at + text.len;
    while (at < end) {
        int length;
        uint32_t code = ig_utf8_next(at, end, &length);
        const char *name = entity(code);
        if (name)
            ig_buf_text(out, name);
        else if (is_control(code))
            ig_buf_text(out, "\xEF\xBF\xBD");
        else
            ig_buf_append(out, at, (size_t)length);
        at += length;
    }
}

void report__text(struct ig_buf *out, const char *text)
{
    report__escape(out, ig_slice_of(text));
}

const char *report__tone(enum ig_report_tone tone)
{
    static const char *const names[] = {"", "best", "good", "bad", "even"};
    return names[tone];
}

/* ---- life ---- */

struct ig_report *ig_report_new(const char *title, struct ig_err *err)
{
    struct ig_report *report = calloc(1, sizeof *report);
    if (report) report->title = strdup(title);
    if (!report || !report->title) {
        ig_report_free(report);
        ig_err_nomem(err);
        return NULL;
    }
    report->body.len_max = report->items.len_max = report->details.len_max = REPORT_BYTES_MAX;
    return report;
}

static void names_release(struct report_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->items[i]);
}

void ig_report_free(struct ig_report *report)
{
    if (!report) return;
    free(report->title);
    ig_buf_release(&report->body);
    ig_buf_release(&report->items);
    ig_buf_release(&report->details);
    names_release(&report->models);
    names_release(&report->tasks);
    names_release(&report->sides);
    free(report);
}

/* ---- the page ---- */

static void put_base64(struct ig_buf *out, const char *hex)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int held = 0;
    for (; *hex; hex++) {
        bits = bits << 4 | (uint32_t)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);
        held += 4;
        if (held < 6) continue;
        held -= 6;
        ig_buf_char(out, digits[bits >> held & 63]);
    }
    /* 256 bits are 42 digits and 4 bits more: one digit and one sign of filling. */
    ig_buf_char(out, digits[bits << (6 - held) & 63]);
    ig_buf_char(out, '=');
}

bool ig_report_text(struct ig_report *report, struct ig_buf *out, struct ig_err *err)
{
    char hex[IG_SHA256_HEX];
    struct ig_buf script = {0};
    for (int i = 0; report__script[i]; i++)
        ig_buf_text(&script, report__script[i]);
    ig_sha256_of(script.len ? script.data : "", script.len, hex);
    ig_buf_text(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
                     "script-src 'sha256-");
    put_base64(out, hex);
    ig_buf_text(out, "'\">\n<title>");
    report__text(out, report->title);
    ig_buf_text(out, "</title>\n<style>");
    for (int i = 0; report__style[i]; i++)
        ig_buf_text(out, report__style[i]);
    ig_buf_text(out, "</style>\n</head>\n<body>\n<main>\n<h1>");
    report__text(out, report->title);
    ig_buf_text(out, "</h1>\n");
    ig_buf_slice(out, ig_buf_view(&report->body));
    ig_buf_slice(out, ig_buf_view(&report->details));
    ig_buf_text(out, "</main>\n<script>");
    ig_buf_slice(out, ig_buf_view(&script));
    ig_buf_text(out, "</script>\n</body>\n</html>\n");
    bool ok = ig_buf_ok(&script, err) && ig_buf_ok(&report->body, err) &&
              ig_buf_ok(&report->items, err) && ig_buf_ok(&report->details, err) &&
              ig_buf_ok(out, err);
    ig_buf_release(&script);
    return ok && (!report->failed || ig_err_nomem(err));
}

bool ig_report_write(struct ig_report *report, const char *path, struct ig_err *err)
{
    struct ig_buf text = {.len_max = REPORT_BYTES_MAX};
    bool ok = ig_report_text(report, &text, err) && ig_file_write(path, ig_buf_view(&text), err);
    ig_buf_release(&text);
    return ok;
}

/* ---- text ---- */

static void element(struct ig_buf *out, const char *open, const char *text, const char *close)
{
    ig_buf_text(out, open);
    report__text(out, text);
    ig_buf_text(out, close);
}

void ig_report_heading(struct ig_report *report, int level, const char *text)
{
    element(&report->body, level == 2 ? "<h2>" : "<h3>", text, level == 2 ? "</h2>\n" : "</h3>\n");
}

void ig_report_paragraph(struct ig_report *report, const char *text)
{
    element(&report->body, "<p>", text, "</p>\n");
}

void ig_report_list(struct ig_report *report, const char *const *items, int count)
{
    if (count) ig_buf_text(&report->body, "<ul>\n");
    for (int i = 0; i < count; i++)
        element(&report->body, "<li>", items[i], "</li>\n");
    if (count) ig_buf_text(&report->body, "</ul>\n");
}

void ig_report_code(struct ig_report *report, const char *text)
{
    element(&report->body, "<pre>", text, "</pre>\n");
}

void ig_report_fold_open(struct ig_report *report, const char *summary)
{
    element(&report->body, "<details class=\"fold\"><summary>", summary, "</summary>\n");
}

void ig_report_fold_close(struct ig_report *report)
{
    ig_buf_text(&report->body, "</details>\n");
}

/* ---- tables ---- */

static void put_cell(struct ig_buf *out, const struct ig_report_cell *cell, const char *tag,
                     const char *scope)
{
    static const char *const marks[] = {"", "\xE2\x98\x85\xC2\xA0", "\xE2\x96\xB2\xC2\xA0",
                                        "\xE2\x96\xBC\xC2\xA0", ""}; /* star, triangles */
    ig_buf_printf(out, "<%s%s class=\"%s%s%s\">", tag, scope, report__tone(cell->tone),
                  cell->tone && cell->number ? " " : "", cell->number ? "n" : "");
    if (*marks[cell->tone])
        ig_buf_printf(out, "<span class=\"mark\" aria-hidden=\"true\">%s</span>",
                      marks[cell->tone]);
    report__text(out, cell->text);
    if (cell->tone == IG_REPORT_BEST) ig_buf_text(out, "<span class=\"unseen\"> (best)</span>");
    ig_buf_printf(out, "</%s>", tag);
}

void ig_report_table(struct ig_report *report, const char *caption,
                     const struct ig_report_cell *cells, int rows, int columns)
{
    struct ig_buf *out = &report->body;
    int id = ++report->tables;
    ig_buf_printf(out, "<p class=\"caption\" id=\"t%d\">", id);
    element(out, "", caption, "</p>\n");
    /* Wide tables scroll in a box of their own, which the keyboard can reach. */
    ig_buf_printf(out,
                  "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-labelledby=\"t%d\">\n"
                  "<table aria-labelledby=\"t%d\">\n<thead>\n<tr>",
                  id, id);
    for (int c = 0; c < columns; c++)
        put_cell(out, &cells[c], "th", " scope=\"col\"");
    ig_buf_text(out, "</tr>\n</thead>\n<tbody>\n");
    for (int r = 1; r < rows; r++) {
        ig_buf_text(out, "<tr>");
        for (int c = 0; c < columns; c++)
            put_cell(out, &cells[r * columns + c], c ? "td" : "th", c ? "" : " scope=\"row\"");
        ig_buf_text(out, "</tr>\n");
    }
    ig_buf_text(out, "</tbody>\n</table>\n</div>\n");
}
