/* SPDX-License-Identifier: Apache-2.0
 * bench_merge RECIPE OUT [THREADS [MEMORY_MIB]] — plans and runs one merge, prints what it took as
 * a line of JSON. bench_merge.py makes the models and compares. */
#include "ingot/merge.h"

#include <stdio.h>
#include <stdlib.h>

static void warn(void *user, const char *text)
{
    (void)user;
    fprintf(stderr, "warning: %s\n", text);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_merge RECIPE OUT [THREADS [MEMORY_MIB]]\n");
        return 2;
    }
    struct ig_err err = {0};
    struct ig_recipe *recipe = NULL;
    struct ig_merge *merge = NULL;
    struct ig_job_report report;
    struct ig_watch watch = {.warn = warn};
    bool ok = ig_recipe_open(argv[1], &recipe, &err);
    if (ok) {
        struct ig_merge_job job = {.recipe = recipe,
                                   .out = argv[2],
                                   .threads = argc > 3 ? atoi(argv[3]) : 0,
                                   .memory_bytes = argc > 4 ? (int64_t)atoi(argv[4]) << 20 : 0,
                                   .trace = true,
                                   .force = true,
                                   .resume = getenv("BENCH_RESUME") != NULL};
        ok =
            ig_merge_plan(&job, &watch, &merge, &err) && ig_merge_run(merge, &watch, &report, &err);
    }
    if (ok)
        printf(
            "{\"tensors\": %lld, \"input_bytes\": %llu, \"seconds\": %.4f, \"peak_bytes\": %llu}\n",
            (long long)report.tensors, (unsigned long long)report.input_bytes, report.seconds,
            (unsigned long long)report.peak_bytes);
    else
        fprintf(stderr, "error: %s\n", err.text);
    ig_merge_close(merge);
    ig_recipe_free(recipe);
    return ok ? 0 : 1;
}
