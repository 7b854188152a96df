/* SPDX-License-Identifier: Apache-2.0
 * bench_quantize MODEL OUT RECIPE.. — one timed ig_quantize, as a JSON line. bench_quantize.py runs
 * it beside mlx_lm.convert, `cat` and `cp`. RECIPE: a name, a file, or MODE:BITS:GROUP; or one
 * DTYPE, to dequantise. */
#include "ingot/quant.h"

#include <stdio.h>
#include <stdlib.h>

static bool open_recipe(const char *text, struct ig_quant_recipe **out, struct ig_err *err)
{
    char mode[16];
    struct ig_codec codec;
    if (sscanf(text, "%15[a-z0-9]:%d:%d", mode, &codec.bits, &codec.group_size) != 3 ||
        !ig_quant_mode_find(ig_slice_of(mode), &codec.mode))
        return ig_quant_recipe_open(text, out, err);
    return ig_quant_recipe_uniform(codec, out, err);
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    struct ig_quant_recipe *recipes[IG_OUTPUTS_MAX] = {0};
    struct ig_job_report report;
    int count = argc - 3;
    if (count < 1 || count > IG_OUTPUTS_MAX) {
        fprintf(stderr, "usage: bench_quantize MODEL OUT RECIPE..\n");
        return 2;
    }
    bool ok = true;
    enum ig_dtype dtype = IG_BF16;
    int threads = getenv("THREADS") ? atoi(getenv("THREADS")) : 0;
    bool back = count == 1 && ig_dtype_find(ig_slice_of(argv[3]), &dtype);
    for (int i = 0; ok && !back && i < count; i++)
        ok = open_recipe(argv[3 + i], &recipes[i], &err);
    const struct ig_quant_job job = {
        .model = argv[1],
        .out = argv[2],
        .recipes = (const struct ig_quant_recipe *const *)recipes,
        .recipe_count = count,
        .threads = threads,
        .force = true,
    };
    const struct ig_dequant_job plain = {argv[1], argv[2], dtype, threads, false, true};
    ok = ok && (back ? ig_dequantize(&plain, NULL, &report, &err)
                     : ig_quantize(&job, NULL, &report, &err));
    if (ok)
        printf("{\"case\": \"%s%s\", \"seconds\": %.3f, \"input_bytes\": %llu, \"output_bytes\": "
               "%llu, "
               "\"peak_bytes\": %llu, \"bits_per_weight\": %.4f}\n",
               argv[3], count > 1 ? ",..." : "", report.seconds,
               (unsigned long long)report.input_bytes, (unsigned long long)report.output_bytes,
               (unsigned long long)report.peak_bytes, report.outputs[0].bits_per_weight);
    else
        fprintf(stderr, "%s\n", err.text);
    for (int i = 0; i < count; i++)
        ig_quant_recipe_free(recipes[i]);
    return ok ? 0 : 1;
}
