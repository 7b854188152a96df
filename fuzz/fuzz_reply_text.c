/* SPDX-License-Identifier: Apache-2.0
 * fuzz_reply_text — any bytes as a reply, whole and in pieces, which give the same thoughts,
 * content and calls; no stop string shows. The first byte tells how large the pieces are. */
#include "base/check.h"
#include "fuzz_target.h"
#include "ingot/reply.h"

struct heard {
    struct ig_buf content, reasoning, calls;
};

static void collect(struct ig_reply_text *text, struct heard *to)
{
    ig_buf_slice(&to->content, ig_buf_view(&text->content));
    ig_buf_slice(&to->reasoning, ig_buf_view(&text->reasoning));
    for (size_t i = 0; i < text->call_count; i++) {
        ig_buf_slice(&to->calls, ig_buf_view(&text->calls[i].name));
        ig_buf_slice(&to->calls, ig_buf_view(&text->calls[i].arguments));
    }
    ig_reply_text_clear(text);
}

static void hear(struct ig_slice said, size_t piece, bool tools, struct heard *to)
{
    const struct ig_slice stops[] = {ig_slice_of("STOP"), ig_slice_of("TOP")};
    struct ig_reply_text text = {.stops = stops, .stop_count = 2, .tools = tools};
    for (size_t at = 0; at < said.len; at += piece) {
        size_t n = said.len - at < piece ? said.len - at : piece;
        ig_reply_text_push(&text, ig_slice_make(said.ptr + at, n), false);
        collect(&text, to);
    }
    ig_reply_text_push(&text, ig_slice_of(""), true);
    collect(&text, to);
    IG_ASSERT(tools || text.call_count == 0);
    ig_reply_text_release(&text);
}

static void release(struct heard *h)
{
    ig_buf_release(&h->content);
    ig_buf_release(&h->reasoning);
    ig_buf_release(&h->calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct ig_slice said = ig_slice_make(data + 1, size - 1);
    for (int tools = 0; tools < 2; tools++) {
        struct heard whole = {0}, pieces = {0};
        hear(said, said.len + 1, tools, &whole);
        hear(said, data[0] % 7U + 1, tools, &pieces);
        IG_ASSERT(ig_slice_equal(ig_buf_view(&whole.content), ig_buf_view(&pieces.content)));
        IG_ASSERT(ig_slice_equal(ig_buf_view(&whole.reasoning), ig_buf_view(&pieces.reasoning)));
        IG_ASSERT(ig_slice_equal(ig_buf_view(&whole.calls), ig_buf_view(&pieces.calls)));
        IG_ASSERT(!ig_slice_find(ig_buf_view(&pieces.content), ig_slice_of("TOP")) || tools);
        release(&whole);
        release(&pieces);
    }
    return 0;
}
