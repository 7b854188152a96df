/* SPDX-License-Identifier: Apache-2.0
 * dequantize — a quantised folder back to plain weights. */
#include "cli.h"
#include "ingot/quant.h"

static const char *const dtypes[] = {"bfloat16", "float16", "float32", NULL};

struct args {
    struct cli_common common;
    const char *model, *out;
    int dtype;
    int64_t threads;
    bool resume, force;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a folder in MLX's quantised form"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; must not exist"),
    IG_OPT_CHOICE(struct args, dtype, "dtype", 0, dtypes, "bfloat16", "of the weights written"),
    IG_OPT_FLAG(struct args, resume, "resume", 0, "go on where an interrupted run stopped"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "replace OUT if it exists"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    static const enum ig_dtype dtype_of[] = {IG_BF16, IG_F16, IG_F32};
    const struct args *args = arguments;
    struct ig_job_report report = {0};
    const struct ig_dequant_job job = {.model = args->model,
                                       .out = args->out,
                                       .dtype = dtype_of[args->dtype],
                                       .threads = (int)args->threads,
                                       .resume = args->resume,
                                       .force = args->force};
    return ig_dequantize(&job, watch, &report, err) &&
           cli_print_report(&report, args->out, args->common.json, err);
}

const struct cli_command cli_dequantize = {
    "dequantize",
    "turn a quantised model back into plain weights",
    "ingot dequantize MODEL-qx86-hi OUT --dtype bfloat16",
    options,
    sizeof(struct args),
    run,
};
