/* SPDX-License-Identifier: Apache-2.0
 * bench_jinja TEMPLATE.. — reading each template, and rendering a conversation of 25 messages
 * (about 13 kB) with it: the fastest of many runs, as JSON lines. bench_jinja.py does the same with
 * jinja2 in transformers' environment. */
#include "base/arena.h"
#include "base/clock.h"
#include "ingot/chat.h"

#include <math.h>
#include <stdio.h>

#define RUNS     200
#define MESSAGES 25
#define REPEATS  20 /* of a sentence of 26 bytes: the length of a message */

static void make_variables(struct ig_buf *out)
{
    ig_buf_text(out, "{\"add_generation_prompt\": true, \"messages\": [");
    for (int i = 0; i < MESSAGES; i++) {
        ig_buf_printf(out, "%s{\"role\": \"%s\", \"content\": \"", i ? ", " : "",
                      i % 2 ? "assistant" : "user");
        for (int k = 0; k < REPEATS; k++)
            ig_buf_text(out, "Gold melts at 1064 \\u00b0C. ");
        ig_buf_text(out, "\"}");
    }
    ig_buf_text(out, "]}");
}

static bool bench(const char *path, const struct ig_json *variables, struct ig_err *err)
{
    double parse = HUGE_VAL, render = HUGE_VAL;
    struct ig_buf out = {0};
    bool ok = true;
    for (int run = 0; run < RUNS && ok; run++) {
        struct ig_template *t = NULL;
        double start = ig_clock_seconds();
        ok = ig_template_open(path, false, &t, err);
        double middle = ig_clock_seconds();
        ig_buf_clear(&out);
        ok = ok && ig_template_render(t, variables, 0, &out, err);
        parse = fmin(parse, middle - start);
        render = fmin(render, ig_clock_seconds() - middle);
        ig_template_close(t);
    }
    if (ok)
        printf("{\"case\": \"%s\", \"open_us\": %.1f, \"render_us\": %.1f, \"bytes\": %zu}\n", path,
               parse * 1e6, render * 1e6, out.len);
    ig_buf_release(&out);
    return ok;
}

int main(int argc, char **argv)
{
    struct ig_err err;
    struct ig_arena arena = {0};
    struct ig_buf text = {0};
    int failed = 0;
    make_variables(&text);
    const struct ig_json *variables = ig_json_parse(ig_buf_view(&text), &arena, &err);
    if (!variables) return 1;
    for (int i = 1; i < argc; i++) {
        if (bench(argv[i], variables, &err)) continue;
        fprintf(stderr, "%s: %s\n", argv[i], err.text);
        failed = 1;
    }
    ig_buf_release(&text);
    ig_arena_release(&arena);
    return failed;
}
