/* SPDX-License-Identifier: Apache-2.0
 * print — results on stdout: tables for people, JSON for machines. */
#include "cli.h"
#include "ingot/quant.h"

#include <stdlib.h>
#include <unistd.h>

const char *cli_bytes(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32,
             unit == 0       ? "%.0f %s"
             : value < 9.995 ? "%.2f %s"
                             : "%.1f %s",
             value, units[unit]);
    return out;
}

bool cli_print_json(const struct ig_buf *text, struct ig_err *err)
{
    if (!ig_buf_ok(text, err)) return false;
    fwrite(text->data, 1, text->len, stdout);
    fputc('\n', stdout);
    return true;
}

/* Columns on a terminal: code points, for our own text needs no more. */
static int width_of(const char *cell)
{
    int width = 0;
    for (; *cell; cell++)
        width += (*cell & 0xC0) != 0x80;
    return width;
}

static bool is_number(const char *cell)
{
    return *cell == '\0' || (*cell >= '0' && *cell <= '9') ||
           ((*cell == '-' || *cell == '+' || *cell == '.') && cell[1] >= '0' && cell[1] <= '9') ||
           strcmp(cell, "-") == 0;
}

struct column {
    int width;
    bool right; /* numbers below its head */
};

void cli_print_table(const char *const *cells, int rows, int columns)
{
    /* Without memory for the widths a table is printed unaligned. */
    struct column *shape = calloc((size_t)columns + 1, sizeof *shape), none = {0, false};
    for (int column = 0; shape && column < columns; column++) {
        shape[column].right = rows > 1;
        for (int r = 0; r < rows; r++) {
            const char *cell = cells[r * columns + column];
            int w = width_of(cell);
            if (w > shape[column].width) shape[column].width = w;
            if (r && !is_number(cell)) shape[column].right = false;
        }
    }
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            const struct column *c = shape ? &shape[column] : &none;
            const char *cell = cells[row * columns + column];
            int pad = c->width - width_of(cell);
            bool last = column == columns - 1;
            if (column) fputs("  ", stdout);
            if (pad < 0) pad = 0;
            printf("%*s%s%*s", c->right ? pad : 0, "", cell, c->right || last ? 0 : pad, "");
        }
        fputc('\n', stdout);
    }
    free(shape);
}

bool cli_colours(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}

const char *cli_fixtures(void)
{
    const char *wish = getenv("INGOT_FIXTURES");
    if (wish && *wish) return wish;
    return access(INGOT_FIXTURES_SOURCE "/models", R_OK) == 0 ? INGOT_FIXTURES_SOURCE
                                                              : INGOT_FIXTURES_INSTALLED;
}

static void put_report_json(struct ig_json_writer *w, const struct ig_job_report *report,
                            const char *out)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "output", out);
    ig_json_add_int(w, "tensors", report->tensors);
    ig_json_add_int(w, "input_bytes", (int64_t)report->input_bytes);
    ig_json_add_int(w, "output_bytes", (int64_t)report->output_bytes);
    ig_json_add_real(w, "seconds", report->seconds);
    ig_json_add_int(w, "peak_bytes", (int64_t)report->peak_bytes);
    ig_json_key(w, "outputs");
    ig_json_open(w, '[');
    for (int i = 0; i < report->output_count; i++) {
        const struct ig_output_report *o = &report->outputs[i];
        ig_json_open(w, '{');
        ig_json_add_text(w, "recipe", o->recipe);
        ig_json_add_text(w, "path", o->path);
        ig_json_add_int(w, "bytes", (int64_t)o->bytes);
        ig_json_add_real(w, "bits_per_weight", o->bits_per_weight);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
    ig_json_close(w, '}');
}

bool cli_print_report(const struct ig_job_report *report, const char *out, bool json,
                      struct ig_err *err)
{
    if (json) {
        struct ig_buf text = {0};
        struct ig_json_writer w = {.out = &text};
        put_report_json(&w, report, out);
        bool ok = cli_print_json(&text, err);
        ig_buf_release(&text);
        return ok;
    }
    char in[32], size[32], peak[32];
    for (int i = 0; i < report->output_count; i++) {
        const struct ig_output_report *o = &report->outputs[i];
        printf("%s: %s, %.3f bits per weight (%s)\n", o->path, cli_bytes(o->bytes, size),
               o->bits_per_weight, o->recipe);
    }
    double rate = report->seconds > 0 ? (double)report->input_bytes / report->seconds / 1e9 : 0;
    printf("%lld tensors, %s in, %s out, %.2f s, %.2f GB/s in, peak memory %s\n",
           (long long)report->tensors, cli_bytes(report->input_bytes, in),
           cli_bytes(report->output_bytes, size), report->seconds, rate,
           cli_bytes(report->peak_bytes, peak));
    return true;
}

/* C0, DEL, and C1, which is C2 80 to C2 9F. */
static size_t control_bytes(const char *at, size_t left)
{
    unsigned char c = (unsigned char)at[0], next = left > 1 ? (unsigned char)at[1] : 0;
    if (c == '\n' || c == '\t') return 0;
    if (c < ' ' || c == 0x7F) return 1;
    return c == 0xC2 && next >= 0x80 && next < 0xA0 ? 2 : 0;
}

void cli_put_text(FILE *to, const char *text, size_t count, bool terminal)
{
    size_t from = 0;
    for (size_t i = 0; terminal && i < count; i++) {
        size_t control = control_bytes(text + i, count - i);
        if (control == 0) continue;
        fwrite(text + from, 1, i - from, to);
        fputs("\xEF\xBF\xBD", to);
        i += control - 1;
        from = i + 1;
    }
    if (count > from) fwrite(text + from, 1, count - from, to);
}
