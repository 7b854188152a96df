/* SPDX-License-Identifier: Apache-2.0
 * fuzz_chat_request — any bytes as the body of a request: refused with a status of HTTP, or within
 * the limits that the engine relies on. */
#include "base/check.h"
#include "fuzz_target.h"
#include "serve/serve_internal.h"

static void check_read(const struct serve_request *r)
{
    struct ig_err err = {0};
    struct serve_error error = {0};
    const struct ig_json *variables = NULL;
    IG_ASSERT(ig_sampling_check(&r->sampling, &err));
    IG_ASSERT(r->stop_count <= SERVE_STOPS_MAX && r->top_logprobs <= SERVE_TOP_MAX);
    for (size_t i = 0; i < r->stop_count; i++)
        IG_ASSERT(r->stops[i].len > 0 && r->stops[i].len <= SERVE_STOP_BYTES);
    if (!r->chat) {
        IG_ASSERT(r->prompt->type == IG_JSON_STRING || r->prompt->type == IG_JSON_ARRAY);
        return;
    }
    if (serve__request_variables(r, true, "system", &variables, &error))
        IG_ASSERT(ig_json_get(variables, "messages")->type != IG_JSON_NULL || r->kwargs);
    else
        IG_ASSERT(error.status >= 400 && error.status < 600);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ig_serve_defaults defaults = {.top_p = 1};
    for (int chat = 0; chat < 2; chat++) {
        struct serve_request r;
        struct serve_error error = {0};
        if (serve__request_read(ig_slice_make(data, size), chat, &defaults, &r, &error))
            check_read(&r);
        else
            IG_ASSERT(error.status >= 400 && error.status < 600 && error.text[0]);
        serve__request_release(&r);
    }
    return 0;
}
