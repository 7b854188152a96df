/* SPDX-License-Identifier: Apache-2.0
 * utf8 — decoding and checking. Invalid input counts one U+FFFD for each maximal invalid subpart,
 * as Python's "replace" and the WHATWG decoder do. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

#define IG_UTF8_INVALID 0xFFFFFFFFu

/* Decodes one code point at p (p < end); *length is the bytes it takes. Invalid: IG_UTF8_INVALID,
 * and *length is the maximal invalid subpart (at least 1). */
uint32_t ig_utf8_next(const char *p, const char *end, int *length);
/* Bytes of the first invalid sequence's offset, or text.len when all is valid. */
size_t ig_utf8_check(struct ig_slice text);
/* Writes 1 to 4 bytes; returns how many. code must be a scalar value. */
int ig_utf8_put(uint32_t code, char out[4]);
/* Code points in text (invalid subparts count one). */
size_t ig_utf8_count(struct ig_slice text);
/* Appends text with every invalid subpart replaced by U+FFFD. */
void ig_utf8_repair(struct ig_buf *out, struct ig_slice text);
