/* SPDX-License-Identifier: Apache-2.0
 * digest — XXH3-128 of data, for journals and provenance. Not against forgery: that is SHA-256's.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define IG_DIGEST_HEX 33 /* 32 hex digits and NUL */

struct ig_digest {
    uint64_t low, high;
};
struct ig_digest ig_digest_of(const void *bytes, size_t count);
/* A running digest: what ig_digest_of gives for all bytes fed, in order. */
struct ig_digest_state;
struct ig_digest_state *ig_digest_new(void); /* NULL when memory runs out */
void ig_digest_feed(struct ig_digest_state *state, const void *bytes, size_t count);
struct ig_digest ig_digest_end(const struct ig_digest_state *state);
void ig_digest_free(struct ig_digest_state *state);
void ig_digest_hex(struct ig_digest digest, char out[IG_DIGEST_HEX]);
