/* SPDX-License-Identifier: Apache-2.0
 * vbmi narrow — AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later).
 *
 * Codes of any width become bytes with three instructions for 64 of them: a permute gives each
 * 64-bit lane the bytes of its 8 codes, a multishift takes 8 bits from where each code starts, a
 * mask leaves the code. */
#include "tensor/kernels/avx512/avx512_lanes.h"

struct spreader {
    __m512i bytes, bits, mask, table;
    bool fp4;
};

static struct spreader spreader_of(const struct ig_matrix *w)
{
    uint8_t bytes[64], bits[64];
    for (int i = 0; i < 64; i++) {
        int in = i % 8 < w->bits ? i % 8 : w->bits - 1;
        bytes[i] = (uint8_t)(i / 8 * w->bits + in);
        bits[i] = (uint8_t)(i % 8 * w->bits);
    }
    struct spreader s = {
        .bytes = _mm512_loadu_si512(bytes),
        .bits = _mm512_loadu_si512(bits),
        .mask = _mm512_set1_epi8((char)((1 << w->bits) - 1)),
        .table = fp4_table(),
        .fp4 = w->packing == IG_PACK_FP4,
    };
    return s;
}

INLINE __m512i codes_at(const struct spreader *s, const int bits, const uint8_t *p)
{
    if (bits == 8) return _mm512_loadu_si512(p);
    __m512i v = _mm512_permutexvar_epi8(s->bytes, load_bytes(8 * bits, p));
    v = _mm512_and_si512(_mm512_multishift_epi64_epi8(s->bits, v), s->mask);
    return s->fp4 ? _mm512_shuffle_epi8(s->table, v) : v;
}

#include "tensor/kernels/vnni/vnni_panels.h"

void ig_narrow_vbmi(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
