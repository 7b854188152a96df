/* SPDX-License-Identifier: Apache-2.0
 * compare_cells — texts and cells of a page under way, kept until the report has copied them. */
#include "cli.h"
#include "compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

static char *keep(struct cli_cells *c, char *text)
{
    if (!text) c->failed = true;
    if (c->count == c->room) {
        int room = c->room ? c->room * 2 : 64;
        char **texts = realloc(c->texts, (size_t)room * sizeof *texts);
        struct ig_report_cell *cells = realloc(c->cells, (size_t)room * sizeof *cells);
        if (texts) c->texts = texts;
        if (cells) c->cells = cells;
        if (!texts || !cells) {
            c->failed = true;
            free(text);
            return NULL;
        }
        c->room = room;
    }
    c->texts[c->count++] = text;
    return text;
}

char *cli_cells_text(struct cli_cells *c, const char *pattern, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, pattern);
    if (vasprintf(&text, pattern, args) < 0) text = NULL;
    va_end(args);
    return keep(c, text);
}

void cli_cells_put(struct cli_cells *c, enum ig_report_tone tone, bool number, const char *text)
{
    char *copy = keep(c, strdup(text));
    if (copy) c->cells[c->count - 1] = (struct ig_report_cell){copy, tone, number};
}

void cli_cells_number(struct cli_cells *c, enum ig_report_tone tone, const char *pattern,
                      double value)
{
    char text[48];
    snprintf(text, sizeof text, pattern, value);
    cli_cells_put(c, tone, true, isnan(value) ? "\xE2\x80\x93" : text);
}

void cli_cells_forget(struct cli_cells *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->texts[i]);
    c->count = 0;
}

void cli_cells_table(struct cli_cells *c, const char *caption, int columns)
{
    if (!c->failed) ig_report_table(c->report, caption, c->cells, c->count / columns, columns);
    cli_cells_forget(c);
}

void cli_cells_release(struct cli_cells *c)
{
    cli_cells_forget(c);
    free(c->cells);
    free(c->texts);
}

enum ig_report_tone cli_cells_tone(enum ig_verdict verdict)
{
    return verdict == IG_VERDICT_BETTER  ? IG_REPORT_GOOD
           : verdict == IG_VERDICT_WORSE ? IG_REPORT_BAD
                                         : IG_REPORT_EVEN;
}
