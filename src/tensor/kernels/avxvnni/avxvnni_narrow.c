/* SPDX-License-Identifier: Apache-2.0
 * avxvnni narrow — INT8 with vpdpbusd in 256 bits: Alder Lake and later without AVX-512.
 *
 * 6 rows x 16 features: 12 registers of integers, so many as its latency wants; sums in f32 go to
 * the stack once a group. */
#include "tensor/kernels/avx2/avx2_codes.h"

// clang-format off
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

#define CLEAR(r)    __m256i a##r = _mm256_setzero_si256(), b##r = a##r;
#define MULTIPLY(r) {                                                                              \
        __m256i v = _mm256_set1_epi32(x[r]);                                                       \
        a##r = _mm256_dpbusd_avx_epi32(a##r, w0, v);                                               \
        b##r = _mm256_dpbusd_avx_epi32(b##r, w1, v);                                               \
    }
#define SCALE(r)                                                                                   \
    add_scaled(&sums[2 * r], a##r, x_scales[r], s0, x_sums[r], bias0);                             \
    add_scaled(&sums[2 * r + 1], b##r, x_scales[r], s1, x_sums[r], bias1);
// clang-format on

INLINE void add_scaled(__m256 *sum, __m256i dot, float x_scale, __m256 scale, float x_sum,
                       __m256 bias)
{
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(x_scale));
    *sum = _mm256_fmadd_ps(_mm256_set1_ps(x_sum), bias, _mm256_fmadd_ps(v, scale, *sum));
}

static void multiply(const struct panel *p)
{
    const float *x_scales = p->x_scales, *x_sums = p->x_sums;
    const float *scales = p->scales, *biases = p->biases;
    const int32_t *x = p->x;
    const uint8_t *w = p->w;
    __m256 sums[2 * R];
    for (int i = 0; i < 2 * R; i++)
        sums[i] = _mm256_setzero_ps();
    for (int64_t g = 0; g < p->groups; g++) {
        EACH(CLEAR)
        for (int i = 0; i < p->steps; i += 4) {
            UNROLL
            for (int j = 0; j < 4; j++, x += R, w += 4 * PANEL) {
                __m256i w0 = _mm256_loadu_si256((const void *)w);
                __m256i w1 = _mm256_loadu_si256((const void *)(w + 32));
                EACH(MULTIPLY)
            }
        }
        __m256 s0 = _mm256_loadu_ps(scales), s1 = _mm256_loadu_ps(scales + 8);
        __m256 bias0 = _mm256_loadu_ps(biases), bias1 = _mm256_loadu_ps(biases + 8);
        EACH(SCALE)
        x_scales += R, x_sums += R, scales += PANEL, biases += PANEL;
    }
    for (int r = 0; r < p->rows; r++) {
        store_8(p->y + r * p->step, sums[2 * r], p->features);
        store_8(p->y + r * p->step + 8, sums[2 * r + 1], p->features - 8);
    }
}

static void tile(const struct ig_narrow_tile *t)
{
    for (int n = 0; n < t->features; n += PANEL)
        for (int r = 0; r < t->rows; r += R) {
            struct panel p = panel_of(t, r, n);
            multiply(&p);
        }
}

void ig_narrow_avxvnni(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
