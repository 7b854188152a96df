/* SPDX-License-Identifier: Apache-2.0
 * slots — which session a job gets. Each holds what its last job left, and a prompt that begins
 * with that, as the next turn of a talk does, goes on from there. Where a busy session, or one that
 * holds much more, has the longest common beginning, that is copied: many requests with one
 * system prompt compute it once. */
#include "serve/engine_internal.h"

/* Tokens that a session holds of a prompt. The last one is always fed: its logits are needed. */
static size_t common(const struct serve_slot *slot, const struct serve_job *job)
{
    size_t n = 0, limit = (size_t)ig_session_length(slot->session);
    if (limit > job->prompt_count - 1) limit = job->prompt_count - 1;
    while (n < limit && slot->ids[n] == job->prompt[n])
        n++;
    return n;
}

/* Going on in place loses what is behind the common beginning: not when that is most of it. */
static bool in_place(const struct serve_slot *slot, size_t shared)
{
    return !slot->job && shared * 2 >= (size_t)ig_session_length(slot->session);
}

struct serve_slot *serve__slot_take(struct serve_engine *engine, struct serve_job *job)
{
    struct serve_slot *best = NULL, *oldest = NULL;
    size_t shared = 0;
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct serve_slot *slot = &engine->slots[i];
        size_t n = common(slot, job);
        if (n > shared || (n == shared && n > 0 && best && best->job && !slot->job)) {
            best = slot;
            shared = n;
        }
        if (!slot->job && (!oldest || slot->used < oldest->used)) oldest = slot;
    }
    if (!oldest) return NULL;
    struct serve_slot *slot = best && in_place(best, shared) ? best : oldest;
    if (slot == best || !best || common(slot, job) >= shared ||
        !ig_session_copy(slot->session, best->session, (int64_t)shared)) {
        shared = (size_t)ig_session_trim(slot->session, (int64_t)common(slot, job));
    }
    memcpy(slot->ids, job->prompt, shared * sizeof *slot->ids);
    slot->job = job;
    slot->used = ++engine->stats.jobs;
    job->slot = slot;
    job->fed = job->cached = shared;
    return slot;
}
