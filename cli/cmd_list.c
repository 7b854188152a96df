/* SPDX-License-Identifier: Apache-2.0
 * list — what this program knows: methods, recipes, tasks, architectures. */
#include "cli.h"
#include "ingot/eval.h"
#include "ingot/merge.h"

static const char *const subjects[] = {"methods", "recipes", "tasks", "architectures", NULL};

struct args {
    struct cli_common common;
    const char *subject;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, subject, "methods|recipes|tasks|architectures", "what to list"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void print_row(struct ig_json_writer *w, bool json, const char *name, const char *summary)
{
    if (!json) {
        printf("%-20s %s\n", name, summary);
        return;
    }
    ig_json_open(w, '{');
    ig_json_add_text(w, "name", name);
    ig_json_add_text(w, "summary", summary);
    ig_json_close(w, '}');
}

static void print_architecture(struct ig_json_writer *w, bool json, const struct ig_arch *arch)
{
    if (!json) {
        printf("%-20s %-5s %s\n", arch->name, arch->runs ? "runs" : "-", arch->summary);
        return;
    }
    ig_json_open(w, '{');
    ig_json_add_text(w, "name", arch->name);
    ig_json_add_text(w, "summary", arch->summary);
    ig_json_add_bool(w, "runs", arch->runs);
    ig_json_close(w, '}');
}

static void print_pairs(struct ig_json_writer *w, bool json, const char *const *pairs)
{
    for (; pairs[0]; pairs += 2)
        print_row(w, json, pairs[0], pairs[1]);
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    bool json = args->common.json, ok = true;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    struct ig_slice subject = ig_slice_of(args->subject);
    if (json) ig_json_open(&w, '[');
    if (ig_slice_is(subject, "methods")) {
        print_pairs(&w, json, ig_merge_method_list());
    } else if (ig_slice_is(subject, "recipes")) {
        print_pairs(&w, json, ig_quant_recipe_list());
    } else if (ig_slice_is(subject, "tasks")) {
        print_pairs(&w, json, ig_eval_task_list());
    } else if (ig_slice_is(subject, "architectures")) {
        for (const struct ig_arch *const *arch = ig_arch_all(); *arch; arch++)
            print_architecture(&w, json, *arch);
    } else {
        const char *near = ig_opt_nearest(subject, subjects);
        ok = ig_err_set(err, IG_ERR_USAGE, "cannot list '%s'%s%s%s", args->subject,
                        near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (json) ig_json_close(&w, ']');
    if (ok && json) ok = cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

const struct cli_command cli_list = {
    "list",
    "list methods, recipes, tasks or architectures",
    "ingot list recipes",
    options,
    sizeof(struct args),
    run,
};
