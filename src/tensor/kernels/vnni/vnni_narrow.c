/* SPDX-License-Identifier: Apache-2.0
 * vnni narrow — AVX-512 with VNNI but without VBMI: Cascade Lake and Cooper Lake.
 *
 * Pairs of codes start at even bytes' multiples, so that words can be moved where bytes cannot:
 *   4 bits      each byte goes to a word, and its upper half to the upper byte
 *   the others  a permute of words gives each 128-bit lane the bytes of its 16 codes, a shuffle of
 *               bytes each word the two in which a pair of codes lies, a shift brings the pair to
 *               the word's end, another its second code to the upper byte */
#include "tensor/kernels/avx512/avx512_lanes.h"

struct spreader {
    __m512i words, bytes, shift, mask, table;
    bool fp4;
};

static struct spreader spreader_of(const struct ig_matrix *w)
{
    uint16_t words[32], shift[32];
    uint8_t bytes[64];
    for (int i = 0; i < 32; i++) { /* pair i, in lane i / 8 */
        int bit = 2 * w->bits * (i % 8);
        words[i] = (uint16_t)(i / 8 * w->bits + i % 8); /* past the last one nothing is used */
        bytes[2 * i] = (uint8_t)(bit / 8);
        bytes[2 * i + 1] = (uint8_t)(bit / 8 + 1);
        shift[i] = (uint16_t)(bit % 8);
    }
    struct spreader s = {
        .words = _mm512_loadu_si512(words),
        .bytes = _mm512_loadu_si512(bytes),
        .shift = _mm512_loadu_si512(shift),
        .mask = _mm512_set1_epi8((char)((1 << w->bits) - 1)),
        .table = fp4_table(),
        .fp4 = w->packing == IG_PACK_FP4,
    };
    return s;
}

INLINE __m512i codes_at(const struct spreader *s, const int bits, const uint8_t *p)
{
    if (bits == 8) return _mm512_loadu_si512(p);
    __m512i v;
    if (bits == 4) {
        v = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
    } else {
        v = _mm512_permutexvar_epi16(s->words, load_bytes(8 * bits, p));
        v = _mm512_srlv_epi16(_mm512_shuffle_epi8(v, s->bytes), s->shift);
    }
    const __m512i lower = _mm512_set1_epi16(0xFF);
    __m512i upper = _mm512_slli_epi16(v, 8 - bits);
    v = _mm512_ternarylogic_epi32(lower, v, upper, 0xCA); /* lower ? v : upper */
    v = _mm512_and_si512(v, s->mask);
    return s->fp4 ? _mm512_shuffle_epi8(s->table, v) : v;
}

#include "tensor/kernels/vnni/vnni_panels.h"

void ig_narrow_vnni(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
