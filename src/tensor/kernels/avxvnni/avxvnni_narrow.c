/* SPDX-License-Identifier: Apache-2.0
 * avxvnni narrow — INT8 with vpdpbusd in 256 bits: Alder Lake and later without AVX-512.
 *
 * 6 rows x 16 features: 12 registers of integers, so many as its latency wants; sums in f32 go to
 * the stack once a group. */
#include "tensor/kernels/avx2/avx2_codes.h"

// clang-format off
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

#define START(r)                                                                                   \
    __m256i a##r = fp4 ? _mm256_set1_epi32(starts[r]) : _mm256_setzero_si256(), b##r = a##r;
#define MULTIPLY(r) {                                                                              \
        __m256i v = _mm256_set1_epi32(x[r]);                                                       \
        a##r = _mm256_dpbusd_avx_epi32(a##r, w0, v);                                               \
        b##r = _mm256_dpbusd_avx_epi32(b##r, w1, v);                                               \
    }
#define SCALE(r) {                                                                                 \
        __m256 v = _mm256_set1_ps(x_scales[r]), u = _mm256_set1_ps(x_sums[r]);                     \
        __m256 A = _mm256_mul_ps(_mm256_cvtepi32_ps(a##r), s0);                                    \
        __m256 B = _mm256_mul_ps(_mm256_cvtepi32_ps(b##r), s1);                                    \
        A = _mm256_fmadd_ps(A, v, sums[2 * r]);                                                    \
        B = _mm256_fmadd_ps(B, v, sums[2 * r + 1]);                                                \
        sums[2 * r] = fp4 ? A : _mm256_fmadd_ps(u, bias0, A);                                      \
        sums[2 * r + 1] = fp4 ? B : _mm256_fmadd_ps(u, bias1, B);                                  \
    }
// clang-format on

/* Groups have runs x steps x 4 columns. */
INLINE void multiply(const struct panel *p, const bool fp4, const int steps, const int runs)
{
    const float *x_scales = p->x_scales, *x_sums = p->x_sums;
    const float *scales = p->scales, *biases = p->biases;
    const int32_t *x = p->x, *starts = p->starts;
    const uint8_t *w = p->w;
    __m256 sums[2 * R];
    for (int i = 0; i < 2 * R; i++)
        sums[i] = _mm256_setzero_ps();
    for (int64_t g = 0; g < p->groups; g++) {
        EACH(START)
        for (int i = 0; i < runs; i++) {
            UNROLL
            for (int j = 0; j < steps; j++, x += R, w += 4 * PANEL) {
                __m256i w0 = _mm256_loadu_si256((const void *)w);
                __m256i w1 = _mm256_loadu_si256((const void *)(w + 32));
                EACH(MULTIPLY)
            }
        }
        __m256 s0 = _mm256_loadu_ps(scales), s1 = _mm256_loadu_ps(scales + 8);
        __m256 bias0 = _mm256_loadu_ps(biases), bias1 = _mm256_loadu_ps(biases + 8);
        EACH(SCALE)
        x_scales += R, x_sums += R, starts += R, scales += PANEL, biases += PANEL;
    }
    for (int r = 0; r < p->rows; r++) {
        store_8(p->y + r * p->step, sums[2 * r], p->features);
        store_8(p->y + r * p->step + 8, sums[2 * r + 1], p->features - 8);
    }
}

__attribute__((noinline)) static void mxfp4(const struct panel *p)
{
    multiply(p, true, 8, 1);
}

__attribute__((noinline)) static void nvfp4(const struct panel *p)
{
    multiply(p, true, 4, 1);
}

__attribute__((noinline)) static void affine_32(const struct panel *p)
{
    multiply(p, false, 8, 1);
}

__attribute__((noinline)) static void affine(const struct panel *p)
{
    multiply(p, false, 4, p->steps / 4);
}

static void tile(const struct ig_narrow_tile *t)
{
    for (int n = 0; n < t->features; n += PANEL)
        for (int r = 0; r < t->rows; r += R) {
            struct panel p = panel_of(t, r, n);
            if (t->bits == IG_NARROW_FP4 && t->group == 32)
                mxfp4(&p);
            else if (t->bits == IG_NARROW_FP4)
                nvfp4(&p);
            else if (t->group == 32)
                affine_32(&p);
            else
                affine(&p);
        }
}

void ig_narrow_avxvnni(struct ig_narrow_ops *ops)
{
    *ops = (struct ig_narrow_ops){false, true, pack_x, pack_w, tile, prepare, matvec};
}
