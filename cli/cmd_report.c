/* SPDX-License-Identifier: Apache-2.0
 * report — what a merge did, for people: from its sketchbook. */
#include "cli.h"
#include "sketch.h"

struct args {
    struct cli_common common;
    const char *out, *html;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, out, "OUT", "folder of a merge, or its sketchbook.jsonl"),
    IG_OPT_TEXT(struct args, html, "html", 0, "FILE", NULL,
                "write a page: maps by layer and module, spectra, what stands out"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_sketch_summary *summary;
    if (!ig_sketch_sum(args->out, watch, &summary, err)) return false;
    bool ok = !args->html || cli_sketch_page(summary, args->html, err);
    if (ok && args->common.json) {
        struct ig_buf text = {0};
        struct ig_json_writer w = {.out = &text};
        cli_sketch_json(summary, &w);
        ok = cli_print_json(&text, err);
        ig_buf_release(&text);
    } else if (ok) {
        cli_sketch_print(summary);
    }
    ig_sketch_free(summary);
    return ok;
}

const struct cli_command cli_report = {
    "report",
    "show what a merge did: shares, distances, what stands out",
    "ingot report merged --html merged.html",
    options,
    sizeof(struct args),
    run,
};
