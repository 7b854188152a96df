/* SPDX-License-Identifier: Apache-2.0
 * sha256 — what other programs' files name things by: lm-eval's samples, the Hub's large files. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define IG_SHA256_HEX 65 /* 64 hex digits and NUL */

struct ig_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
};
void ig_sha256_init(struct ig_sha256 *sha);
void ig_sha256_feed(struct ig_sha256 *sha, const void *bytes, size_t count);
/* The digest of all bytes fed, as hex. Afterwards sha must be initialised again. */
void ig_sha256_end(struct ig_sha256 *sha, char hex[IG_SHA256_HEX]);
void ig_sha256_of(const void *bytes, size_t count, char hex[IG_SHA256_HEX]);
