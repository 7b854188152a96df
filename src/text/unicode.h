/* SPDX-License-Identifier: Apache-2.0
 * unicode — case and classes of code points, as Python's str methods see them, and the parts of
 * NFC.
 *
 * Full case mappings (SpecialCasing.txt's unconditional ones): one character may become three. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many code points are in out: 1 to 3. */
int ig_unicode_upper(uint32_t code, uint32_t out[3]);
int ig_unicode_lower(uint32_t code, uint32_t out[3]);
int ig_unicode_title(uint32_t code, uint32_t out[3]);

enum ig_unicode_class {
    IG_UNICODE_ALPHA,
    IG_UNICODE_DECIMAL,
    IG_UNICODE_DIGIT, /* DECIMAL, superscripts, circled digits and the like */
    IG_UNICODE_NUMERIC,
    IG_UNICODE_UPPER,
    IG_UNICODE_LOWER,
    IG_UNICODE_CASED,
    IG_UNICODE_CASE_IGNORABLE,
    IG_UNICODE_PRINTABLE, /* str.isprintable: what repr() shows as it is */
};
bool ig_unicode_is(uint32_t code, enum ig_unicode_class what);

/* NFC. Unicode never changes these for a character that exists (normalization stability policy). */
#define IG_UNICODE_DECOMPOSED_MAX 4 /* code points of one character, canonical: U+1F82 has 4 */
int ig_unicode_combining_class(int32_t code);
/* Its full canonical decomposition; how many are in out. */
int ig_unicode_decompose(int32_t code, int32_t out[IG_UNICODE_DECOMPOSED_MAX]);
/* Composes decomposed and ordered codes in place; how many remain. */
size_t ig_unicode_compose(int32_t *codes, size_t count);
