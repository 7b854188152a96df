/* SPDX-License-Identifier: Apache-2.0
 * diff — two models, tensor by tensor. */
#include "cli.h"
#include "ingot/merge.h"

#include <math.h>

struct args {
    struct cli_common common;
    const char *a, *b;
    int64_t threads;
    bool all;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, a, "A", "folder of a model, or a .safetensors file"),
    IG_OPT_ARG(struct args, b, "B", "another; either may be quantised, float8 or MODEL+LORA"),
    IG_OPT_FLAG(struct args, all, "all", 'a', "print equal tensors too"),
    IG_OPT_INT(struct args, threads, "threads", 'j', "N", "0", 0, 1024, "0: one for each core"),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void write_json(const struct ig_diff_row *rows, int64_t count, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out};
    bool equal = true;
    ig_json_open(&w, '{');
    ig_json_key(&w, "tensors");
    ig_json_open(&w, '[');
    for (int64_t i = 0; i < count; i++) {
        const struct ig_diff_row *r = rows + i;
        const char side[2] = {r->only, '\0'};
        equal = equal && r->equal;
        ig_json_open(&w, '{');
        ig_json_key(&w, "name");
        ig_json_put_text(&w, r->name);
        if (!r->only && !r->reshaped) {
            ig_json_key(&w, "relative_l2");
            ig_json_put_real(&w, r->relative_l2);
            ig_json_key(&w, "cosine");
            ig_json_put_real(&w, r->cosine);
            ig_json_key(&w, "max_abs");
            ig_json_put_real(&w, r->max_abs);
        } else {
            ig_json_key(&w, r->only ? "only" : "shapes_differ");
            if (r->only)
                ig_json_put_text(&w, ig_slice_of(side));
            else
                ig_json_put_bool(&w, true);
        }
        ig_json_key(&w, "equal");
        ig_json_put_bool(&w, r->equal);
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, ']');
    ig_json_key(&w, "equal");
    ig_json_put_bool(&w, equal);
    ig_json_close(&w, '}');
}

static void print_text(const struct ig_diff_row *rows, int64_t count, bool all)
{
    int64_t equal = 0;
    double apart = 0, elems = 0;
    printf("%12s %12s %12s  %s\n", "relative L2", "cosine", "max abs", "tensor");
    for (int64_t i = 0; i < count; i++) {
        const struct ig_diff_row *r = rows + i;
        equal += r->equal;
        apart += r->relative_l2 * r->relative_l2 * (double)r->elems;
        elems += (double)r->elems;
        if (r->only || r->reshaped)
            printf("%38s  " IG_SLICE_FMT "\n",
                   r->only == 'a' ? "only in A"
                   : r->only      ? "only in B"
                                  : "of another shape",
                   IG_SLICE_ARG(r->name));
        else if (!r->equal || all)
            printf("%12.6g %12.9f %12.6g  " IG_SLICE_FMT "\n", r->relative_l2, r->cosine,
                   r->max_abs, IG_SLICE_ARG(r->name));
    }
    printf("%lld tensors, %lld equal; root mean square of relative L2 %.6g\n", (long long)count,
           (long long)equal, elems > 0 ? sqrt(apart / elems) : 0);
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    const struct args *args = arguments;
    struct ig_diff *diff;
    struct ig_buf text = {0};
    int64_t count;
    if (!ig_diff_open(args->a, args->b, (int)args->threads, watch, &diff, err)) return false;
    const struct ig_diff_row *rows = ig_diff_rows(diff, &count);
    bool ok = true;
    if (args->common.json) {
        write_json(rows, count, &text);
        ok = cli_print_json(&text, err);
    } else {
        print_text(rows, count, args->all);
    }
    ig_buf_release(&text);
    ig_diff_close(diff);
    return ok;
}

const struct cli_command cli_diff = {
    "diff",
    "compare two models tensor by tensor",
    "ingot diff fused/none fused/qx86-hi",
    options,
    sizeof(struct args),
    run,
};
