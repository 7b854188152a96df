/* SPDX-License-Identifier: Apache-2.0
 * avx2 narrow — INT8 with vpmaddubsw, for processors without anything better: Haswell to Comet
 * Lake, Zen to Zen 3.
 *
 * Lanes are features, x comes by broadcast. vpmaddubsw gives sums of two products in 16 bits, which
 * are added there as long as they fit, a run, and then to 32 bits with vpmaddwd:
 *   up to 4 bits  8 x 2 x 15 x 127   5 bits, fp4  4 x 2 x 31 x 127   6 bits  2 x 2 x 63 x 127
 * 3 rows x 16 features: 6 registers of 16 bits, 6 of 32; the sums in f32 go to the stack once a
 * group. 8 bits do not fit: |q - 128| times x with the sign of q - 128, each to 32 bits at once, 6
 * rows x 8 features. */
#include "tensor/kernels/avx2/avx2_codes.h"

/* gcc 12 would add all products of a run as a tree, and keep them on the stack until then. */
#define IN_TURN(v) __asm__("" : "+x"(v))

// clang-format off
#define THREE(DO) DO(0) DO(1) DO(2)
#define SIX(DO)   DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

#define ZERO2(r)  __m256 A##r = _mm256_setzero_ps(), B##r = A##r;
#define START2(r)                                                                                  \
    __m256i a##r = fp4 ? _mm256_set1_epi32(starts[r]) : _mm256_setzero_si256(), b##r = a##r;
#define FIRST2(r) __m256i c##r, d##r; {                                                            \
        __m256i v = _mm256_set1_epi32(x[r]);                                                       \
        c##r = _mm256_maddubs_epi16(w0, v);                                                        \
        d##r = _mm256_maddubs_epi16(w1, v);                                                        \
    }
#define NEXT2(r) {                                                                                 \
        __m256i v = _mm256_set1_epi32(x[r]);                                                       \
        c##r = _mm256_add_epi16(c##r, _mm256_maddubs_epi16(w0, v));                                \
        d##r = _mm256_add_epi16(d##r, _mm256_maddubs_epi16(w1, v));                                \
        IN_TURN(c##r);                                                                             \
        IN_TURN(d##r);                                                                             \
    }
#define WIDEN2(r)                                                                                  \
    a##r = _mm256_add_epi32(a##r, _mm256_madd_epi16(c##r, ones));                                  \
    b##r = _mm256_add_epi32(b##r, _mm256_madd_epi16(d##r, ones));
#define SCALE2(r) {                                                                                \
        __m256 v = _mm256_set1_ps(x_scales[r]);                                                    \
        A##r = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(a##r), s0), v, A##r);              \
        B##r = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(b##r), s1), v, B##r);              \
    }
#define BIAS2(r) {                                                                                 \
        __m256 u = _mm256_set1_ps(x_sums[r]);                                                      \
        A##r = _mm256_fmadd_ps(u, bias0, A##r);                                                    \
        B##r = _mm256_fmadd_ps(u, bias1, B##r);                                                    \
    }
#define STORE2(r)                                                                                  \
    if (row + r < p->rows) {                                                                       \
        store_8(p->y + (row + r) * p->step, A##r, p->features);                                    \
        store_8(p->y + (row + r) * p->step + 8, B##r, p->features - 8);                            \
    }

#define ZERO(r)  __m256 A##r = _mm256_setzero_ps();
#define START(r) __m256i a##r = _mm256_set1_epi32(starts[r]);
#define MULTIPLY(r) {                                                                              \
        __m256i v = _mm256_sign_epi8(_mm256_set1_epi32(x[r]), q);                                  \
        a##r = _mm256_add_epi32(a##r, _mm256_madd_epi16(_mm256_maddubs_epi16(size, v), ones));     \
        IN_TURN(a##r);                                                                             \
    }
#define SCALE(r)                                                                                   \
    A##r = _mm256_fmadd_ps(                                                                        \
        _mm256_mul_ps(_mm256_cvtepi32_ps(a##r), s), _mm256_set1_ps(x_scales[r]), A##r);            \
    A##r = _mm256_fmadd_ps(_mm256_set1_ps(x_sums[r]), bias, A##r);
#define STORE(r)                                                                                   \
    if (r < p->rows) store_8(p->y + r * p->step + n, A##r, p->features - n);
// clang-format on

/* Rows row to row + 2 of the tile; `run` steps of 4 columns are summed in 16 bits. */
INLINE void few_bits(const struct panel *p, const int row, const int run, const bool fp4)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const float *x_scales = p->x_scales + row, *x_sums = p->x_sums + row;
    const float *scales = p->scales, *biases = p->biases;
    const int32_t *x = p->x + row, *starts = p->starts + row;
    const uint8_t *w = p->w;
    THREE(ZERO2)
    for (int64_t g = 0; g < p->groups; g++) {
        THREE(START2)
        for (int i = 0; i < p->steps; i += run) {
            __m256i w0 = _mm256_loadu_si256((const void *)w);
            __m256i w1 = _mm256_loadu_si256((const void *)(w + 32));
            THREE(FIRST2)
            x += R, w += 4 * PANEL;
            UNROLL
            for (int j = 1; j < run; j++, x += R, w += 4 * PANEL) {
                w0 = _mm256_loadu_si256((const void *)w);
                w1 = _mm256_loadu_si256((const void *)(w + 32));
                THREE(NEXT2)
            }
            THREE(WIDEN2)
        }
        __m256 s0 = _mm256_loadu_ps(scales), s1 = _mm256_loadu_ps(scales + 8);
        THREE(SCALE2)
        if (!fp4) {
            __m256 bias0 = _mm256_loadu_ps(biases), bias1 = _mm256_loadu_ps(biases + 8);
            THREE(BIAS2)
        }
        x_scales += R, x_sums += R, starts += R, scales += PANEL, biases += PANEL;
    }
    THREE(STORE2)
}

/* Features n to n + 7 of the panel. */
static void eight_bits(const struct panel *p, int n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const float *x_scales = p->x_scales, *x_sums = p->x_sums;
    const float *scales = p->scales + n, *biases = p->biases + n;
    const int32_t *x = p->x, *starts = p->starts;
    const uint8_t *w = p->w + 4 * n;
    SIX(ZERO)
    for (int64_t g = 0; g < p->groups; g++) {
        SIX(START)
        for (int i = 0; i < p->steps; i += 4) {
            UNROLL
            for (int j = 0; j < 4; j++, x += R, w += 4 * PANEL) {
                __m256i q = _mm256_loadu_si256((const void *)w), size = _mm256_abs_epi8(q);
                SIX(MULTIPLY)
            }
        }
        __m256 s = _mm256_loadu_ps(scales), bias = _mm256_loadu_ps(biases);
        SIX(SCALE)
        x_scales += R, x_sums += R, starts += R, scales += PANEL, biases += PANEL;
    }
    SIX(STORE)
}

__attribute__((noinline)) static void few_bits_4(const struct panel *p)
{
    few_bits(p, 0, 8, false);
    if (p->rows > 3) few_bits(p, 3, 8, false);
}

__attribute__((noinline)) static void few_bits_5(const struct panel *p)
{
    few_bits(p, 0, 4, false);
    if (p->rows > 3) few_bits(p, 3, 4, false);
}

__attribute__((noinline)) static void few_bits_6(const struct panel *p)
{
    few_bits(p, 0, 2, false);
    if (p->rows > 3) few_bits(p, 3, 2, false);
}

__attribute__((noinline)) static void few_bits_fp4(const struct panel *p)
{
    few_bits(p, 0, 4, true);
    if (p->rows > 3) few_bits(p, 3, 4, true);
}

/* A panel stays in the first-level cache for all rows, where it fits. */
static void tile(const struct ig_narrow_tile *t)
{
    for (int n = 0; n < t->features; n += PANEL)
        for (int r = 0; r < t->rows; r += R) {
            struct panel p = panel_of(t, r, n);
            if (t->bits == IG_NARROW_FP4)
                few_bits_fp4(&p);
            else if (t->bits <= 4)
                few_bits_4(&p);
            else if (t->bits == 5)
                few_bits_5(&p);
            else if (t->bits == 6)
                few_bits_6(&p);
            else
                eight_bits(&p, 0), eight_bits(&p, 8);
        }
}

void ig_narrow_avx2(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
