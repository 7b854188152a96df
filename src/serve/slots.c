/* SPDX-License-Identifier: Apache-2.0
 * slots — which session a job gets. Each holds what its last job left, and a prompt that begins
 * with that, as the next turn of a talk does, goes on from there. Where a busy session, or one that
 * holds much more, has the longest common beginning, that is copied: many requests with one
 * system prompt compute it once.
 *
 * Where memory is bounded, a job runs when there is room for all that it may come to hold, beside
 * what the running ones may; idle sessions give theirs back, the oldest first. */
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

/* ---- memory ---- */

/* What all slots may come to take, `slot` with `need` of them. */
static size_t bytes_with(const struct serve_engine *e, const struct serve_slot *slot, size_t need)
{
    size_t sum = need;
    for (size_t i = 0; i < e->slot_count; i++) {
        const struct serve_slot *other = &e->slots[i];
        if (other != slot) sum += other->job ? other->bytes : ig_session_bytes(other->session);
    }
    return sum;
}

static struct serve_slot *oldest_idle(const struct serve_engine *e, const struct serve_slot *but,
                                      const struct serve_slot *nor)
{
    struct serve_slot *oldest = NULL;
    for (size_t i = 0; i < e->slot_count; i++) {
        struct serve_slot *slot = &e->slots[i];
        if (slot->job || slot == but || slot == nor || ig_session_length(slot->session) == 0)
            continue;
        if (!oldest || slot->used < oldest->used) oldest = slot;
    }
    return oldest;
}

static void forget(struct serve_slot *slot)
{
    ig_session_trim(slot->session, 0);
    ig_session_shrink(slot->session);
}

/* Room for what the job may come to hold in `slot`, at others' cost: that of `source`, which has
 * its beginning, last. */
static bool make_room(struct serve_engine *e, struct serve_slot *slot, struct serve_slot *source,
                      const struct serve_job *job)
{
    if (e->bytes_max == 0) return true;
    int64_t tokens = (int64_t)job->prompt_count + job->tokens_max;
    if (tokens > e->context) tokens = e->context;
    ig_session_shrink(slot->session);
    size_t running = ig_session_bytes_for(slot->session, tokens);
    for (size_t i = 0; i < e->slot_count; i++)
        if (e->slots[i].job) running += e->slots[i].bytes;
    if (running > e->bytes_max) return false; /* whatever is forgotten */
    for (;;) {
        slot->bytes = ig_session_bytes_for(slot->session, tokens);
        if (bytes_with(e, slot, slot->bytes) <= e->bytes_max) return true;
        struct serve_slot *victim = oldest_idle(e, slot, source);
        if (!victim) victim = oldest_idle(e, slot, NULL);
        if (!victim && ig_session_length(slot->session) > 0) victim = slot;
        if (!victim) return false;
        forget(victim);
    }
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
    if (!make_room(engine, slot, best, job)) return NULL;
    if (best && (size_t)ig_session_length(best->session) < shared) best = NULL; /* forgotten */
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
