/* SPDX-License-Identifier: Apache-2.0
 * digest — XXH3-128, printed high half first as xxhsum -H2 does. */
#include "base/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct ig_digest_state {
    XXH3_state_t xxh;
};

struct ig_digest ig_digest_of(const void *bytes, size_t count)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (struct ig_digest){hash.low64, hash.high64};
}

struct ig_digest_state *ig_digest_new(void)
{
    struct ig_digest_state *state = aligned_alloc(64, sizeof(*state));
    if (state) XXH3_128bits_reset(&state->xxh);
    return state;
}

void ig_digest_feed(struct ig_digest_state *state, const void *bytes, size_t count)
{
    XXH3_128bits_update(&state->xxh, bytes, count);
}

struct ig_digest ig_digest_end(const struct ig_digest_state *state)
{
    XXH128_hash_t hash = XXH3_128bits_digest(&state->xxh);
    return (struct ig_digest){hash.low64, hash.high64};
}

void ig_digest_free(struct ig_digest_state *state)
{
    free(state);
}

void ig_digest_hex(struct ig_digest digest, char out[IG_DIGEST_HEX])
{
    snprintf(out, IG_DIGEST_HEX, "%016" PRIx64 "%016" PRIx64, digest.high, digest.low);
}
