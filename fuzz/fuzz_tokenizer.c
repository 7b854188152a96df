/* SPDX-License-Identifier: Apache-2.0
 * A tokenizer.json, a NUL, a text. What loads must encode any text, or say that its regex takes too
 * long; what the ids decode to must not depend on whether they come at once or one by one, unless a
 * run of <0xNN> is broken. */
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data, *nul = size ? memchr(data, 0, size) : NULL;
    struct ig_slice json = {bytes, nul ? (size_t)(nul - bytes) : size};
    struct ig_slice text = nul ? ig_slice_make(nul + 1, size - json.len - 1) : json;
    struct ig_err err;
    struct ig_tokenizer *t = NULL;
    struct ig_ids ids = {0};
    struct ig_buf at_once = {0}, by_one = {0};
    struct ig_stream_decoder *stream = NULL;
    if (!ig_tokenizer_parse(json, "fuzz", &t, &err)) return 0;
    if (!ig_tokenizer_encode(t, text, true, &ids, &err)) {
        IG_ASSERT(err.code == IG_ERR_DATA && strstr(err.text, "regex"));
        ig_ids_release(&ids);
        ig_tokenizer_close(t);
        return 0;
    }
    IG_ASSERT(ig_tokenizer_decode(t, ids.items, ids.count, false, &at_once, &err));
    IG_ASSERT(ig_stream_new(t, false, &stream, &err));
    for (size_t i = 0; i < ids.count; i++)
        IG_ASSERT(ig_stream_push(stream, ids.items[i], &by_one, &err));
    IG_ASSERT(ig_stream_flush(stream, &by_one, &err));
    IG_ASSERT(ig_slice_equal(ig_buf_view(&at_once), ig_buf_view(&by_one)) ||
              ig_slice_find(ig_buf_view(&at_once), ig_slice_of("\xEF\xBF\xBD")));
    ig_stream_free(stream);
    ig_buf_release(&at_once);
    ig_buf_release(&by_one);
    ig_ids_release(&ids);
    ig_tokenizer_close(t);
    return 0;
}
