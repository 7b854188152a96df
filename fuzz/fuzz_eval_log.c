/* SPDX-License-Identifier: Apache-2.0
 * fuzz_eval_log — any bytes as a log of scored items: refused, or every place lies in the text. */
#include "base/check.h"
#include "eval/log.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_map items = {0};
    struct ig_err err;
    struct ig_slice text = ig_slice_make(data, size);
    size_t whole = 0;
    double logprobs[32];
    bool greedy[32];
    if (eval__log_read(text, &items, &whole, &err)) IG_ASSERT(whole <= size);
    for (int count = 0; count <= 32; count++)
        (void)eval__log_values(text, count, logprobs, greedy);
    ig_map_release(&items);
    return 0;
}
