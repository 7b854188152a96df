/* SPDX-License-Identifier: Apache-2.0 */
#include "merging.h"
#include "recipes.h"
#include "states.h"

static bool describe(const struct ig_merge *merge, bool check, bool json, struct ig_err *err)
{
    struct ig_buf text = {0};
    bool ok = check ? ig_merge_check(merge, json, &text, err)
                    : ig_merge_describe(merge, json, &text, err);
    ok = ok && ig_buf_ok(&text, err);
    if (ok) fwrite(text.data, 1, text.len, stdout);
    if (ok && text.len && text.data[text.len - 1] != '\n') fputc('\n', stdout);
    ig_buf_release(&text);
    return ok;
}

bool cli_merging_run(const struct cli_merging *args, const struct ig_recipe *recipe,
                     const char *out, bool json, const struct ig_watch *watch, struct ig_err *err)
{
    bool ok = false;
    struct cli_recipes quantize = {0};
    struct ig_merge *merge = NULL;
    struct ig_job_report report = {0};
    int64_t threads = args->threads;
    const struct ig_states_runner states = {&threads, cli_run_states};
    if (!cli_recipes_open(args->quantize, true, &quantize, err)) goto done;
    struct ig_merge_job job = {
        .recipe = recipe,
        .out = out,
        .quantize = cli_recipes_view(&quantize),
        .quantize_count = quantize.count,
        .threads = (int)args->threads,
        .memory_bytes = args->memory,
        .trace = args->trace,
        .resume = args->resume,
        .force = args->force,
        .dist = cli_dist(),
        .states = &states,
    };
    if (!ig_merge_plan(&job, watch, &merge, err)) goto done;
    if (args->dry_run || args->check)
        ok = describe(merge, args->check, json, err);
    else
        ok = ig_merge_run(merge, watch, &report, err) && cli_print_report(&report, out, json, err);
done:
    ig_merge_close(merge);
    cli_recipes_release(&quantize);
    return ok;
}

bool cli_merging_run_list(const struct cli_merging *args, struct ig_recipe_list *list,
                          const char *out, bool json, const struct ig_watch *watch,
                          struct ig_err *err)
{
    int64_t threads = args->threads;
    const struct ig_states_runner states = {&threads, cli_run_states};
    const struct ig_merge_job job = {.out = out,
                                     .threads = (int)args->threads,
                                     .memory_bytes = args->memory,
                                     .resume = args->resume,
                                     .dist = cli_dist(),
                                     .states = &states,
                                     .through_disk = args->through_disk,
                                     .plan_only = args->dry_run || args->check};
    return ig_merge_stages(list, &job, watch, err) &&
           cli_merging_run(args, ig_recipe_list_last(list), out, json, watch, err) &&
           (job.plan_only || ig_merge_stages_clear(list, &job, err));
}
