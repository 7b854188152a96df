/* SPDX-License-Identifier: Apache-2.0
 * dequantize — a folder in MLX's quantised formats back to plain weights, as mlx_lm.convert -d. */
#include "quant_internal.h"

bool ig_dequantize(const char *model, const char *out, enum ig_dtype dtype, bool force, int threads,
                   const struct ig_watch *watch, struct ig_job_report *report, struct ig_err *err)
{
    (void)model, (void)out, (void)dtype, (void)force, (void)threads, (void)watch, (void)report;
    return ig_err_set(err, IG_ERR_UNSUPPORTED, "not yet");
}
