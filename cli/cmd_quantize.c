/* SPDX-License-Identifier: Apache-2.0
 * quantize — cast a model to MLX's formats, several recipes in one pass. */
#include "cli.h"
#include "ingot/quant.h"
#include "recipes.h"

static const char *const modes[] = {"affine", "mxfp4", "mxfp8", "nvfp4", NULL};
static const char *const roundings[] = {"cpu", "metal", NULL};
static const char *const dtypes[] = {"keep", "bfloat16", "float16", "float32", NULL};

struct args {
    struct cli_common common;
    const char *model, *out, *recipe;
    int mode, rounding, dtype;
    int64_t bits, group_size, threads;
    bool dry_run, resume, force;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model folder in bf16, f16 or f32"),
    IG_OPT_ARG(struct args, out, "OUT", "folder to write; with several recipes one in it for each"),
    IG_OPT_TEXT(struct args, recipe, "recipe", 'r', "NAME|FILE[,..]", NULL,
                "'ingot list recipes' shows them"),
    IG_OPT_CHOICE(struct args, mode, "mode", 0, modes, "affine",
                  "without recipe: one codec for all"),
    IG_OPT_INT(struct args, bits, "bits", 'b', "B", "0", 0, 8,
               "2 3 4 5 6 8; 0: the mode's default"),
    IG_OPT_INT(struct args, group_size, "group-size", 'g', "G", "0", 0, 128,
               "32 64 128; 0: the mode's default"),
    IG_OPT_CHOICE(struct args, dtype, "dtype", 0, dtypes, "keep", "cast floats to it first"),
    IG_OPT_CHOICE(struct args, rounding, "rounding", 0, roundings, "cpu",
                  "whose rounding of ties; metal cannot be checked on this machine"),
    IG_OPT_FLAG(struct args, dry_run, "dry-run", 'n',
                "print the table tensor by tensor and the size"),
    IG_OPT_FLAG(struct args, resume, "resume", 0, "go on where an interrupted run stopped"),
    IG_OPT_FLAG(struct args, force, "force", 'f', "replace OUT if it exists"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static bool open_recipes(const struct args *args, struct cli_recipes *recipes, struct ig_err *err)
{
    if (args->recipe) {
        if (args->bits || args->group_size || args->mode)
            return ig_err_set(err, IG_ERR_USAGE,
                              "--recipe decides mode, bits and group size: leave those out");
        return cli_recipes_open(args->recipe, false, recipes, err);
    }
    struct ig_codec codec = {(enum ig_quant_mode)args->mode, (int)args->bits,
                             (int)args->group_size};
    if (!ig_quant_recipe_uniform(codec, &recipes->items[0], err)) return false;
    recipes->count = 1;
    return true;
}

static void print_row_json(struct ig_json_writer *w, const struct ig_quant_row *row)
{
    ig_json_open(w, '{');
    ig_json_key(w, "name");
    ig_json_put_text(w, row->module);
    ig_json_add_text(w, "role", ig_role_name(row->role));
    ig_json_add_int(w, "bits", row->codec.bits);
    ig_json_add_int(w, "group_size", row->codec.group_size);
    ig_json_add_text(w, "mode", row->codec.bits ? modes[row->codec.mode] : "keep");
    ig_json_add_int(w, "elements", row->elems);
    ig_json_add_int(w, "bytes", (int64_t)row->bytes);
    ig_json_close(w, '}');
}

static void print_row(const struct ig_quant_row *row)
{
    char size[32], codec[32];
    if (row->codec.bits)
        snprintf(codec, sizeof codec, "%s %d g%d", modes[row->codec.mode], row->codec.bits,
                 row->codec.group_size);
    else
        snprintf(codec, sizeof codec, "%s", ig_dtype_torch_name(row->dtype));
    printf("%-56.*s %-10s %-16s %7.3f  %9s  %s\n", (int)row->module.len, row->module.ptr,
           ig_role_name(row->role), codec, 8.0 * (double)row->bytes / (double)row->elems,
           cli_bytes(row->bytes, size), row->rule ? row->rule : "");
}

static bool print_plan(const struct ig_cast *cast, const char *name, bool json, struct ig_err *err)
{
    int64_t count;
    char size[32];
    const struct ig_quant_row *rows = ig_cast_rows(cast, &count);
    if (!json) {
        for (int64_t i = 0; i < count; i++)
            print_row(&rows[i]);
        printf("%s: %s, %.3f bits per weight\n", name, cli_bytes(ig_cast_bytes(cast), size),
               ig_cast_bits_per_weight(cast));
        return true;
    }
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    ig_json_open(&w, '{');
    ig_json_key(&w, "recipe");
    ig_json_put_text(&w, ig_slice_of(name));
    ig_json_key(&w, "bytes");
    ig_json_put_int(&w, (int64_t)ig_cast_bytes(cast));
    ig_json_key(&w, "bits_per_weight");
    ig_json_put_real(&w, ig_cast_bits_per_weight(cast));
    ig_json_key(&w, "tensors");
    ig_json_open(&w, '[');
    for (int64_t i = 0; i < count; i++)
        print_row_json(&w, &rows[i]);
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
    bool ok = cli_print_json(&text, err);
    ig_buf_release(&text);
    return ok;
}

static bool dry_run(const struct args *args, const struct ig_quant_job *job,
                    const struct ig_watch *watch, struct ig_err *err)
{
    bool ok = true;
    if (args->common.json && job->recipe_count > 1)
        return ig_err_set(err, IG_ERR_USAGE, "--dry-run --json takes one recipe at a time");
    for (int i = 0; ok && i < job->recipe_count; i++) {
        struct ig_cast *cast = NULL;
        const char *text;
        ok = ig_quantize_plan(job, i, &cast, err);
        for (int w = 0; ok && (text = ig_cast_warning(cast, w)) != NULL; w++)
            ig_watch_warn(watch, "%s", text);
        ok = ok && print_plan(cast, ig_quant_recipe_name(job->recipes[i]), args->common.json, err);
        ig_cast_close(cast);
    }
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    static const enum ig_dtype dtype_of[] = {IG_BF16, IG_BF16, IG_F16, IG_F32};
    const struct args *args = arguments;
    struct cli_recipes recipes = {0};
    struct ig_job_report report = {0};
    bool ok = open_recipes(args, &recipes, err);
    const struct ig_quant_job job = {.model = args->model,
                                     .out = args->out,
                                     .recipes = cli_recipes_view(&recipes),
                                     .recipe_count = recipes.count,
                                     .cast_dtype = args->dtype != 0,
                                     .dtype = dtype_of[args->dtype],
                                     .rounding = (enum ig_rounding)args->rounding,
                                     .threads = (int)args->threads,
                                     .resume = args->resume,
                                     .force = args->force,
                                     .dist = cli_dist()};
    if (ok && args->dry_run)
        ok = dry_run(args, &job, watch, err);
    else if (ok)
        ok = ig_quantize(&job, watch, &report, err) &&
             cli_print_report(&report, args->out, args->common.json, err);
    cli_recipes_release(&recipes);
    return ok;
}

const struct cli_command cli_quantize = {
    "quantize",
    "cast a model to MLX's quantised formats",
    "ingot quantize MODEL OUT --recipe qx86-hi,qx65-hi,mxfp4",
    options,
    sizeof(struct args),
    run,
};
