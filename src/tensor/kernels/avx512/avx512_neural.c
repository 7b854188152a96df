/* SPDX-License-Identifier: Apache-2.0
 * avx512 neural — exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2, exp(r) by its Taylor
 * series to r^7 (next term: 5e-9 relative). Clamping x leaves 0 and infinity where they belong, and
 * the order of its operands lets NaN through. */
#include "tensor/kernels/delta.h"

#include <immintrin.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m512 exp_ps(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-110.0F), _mm512_min_ps(_mm512_set1_ps(89.0F), x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p0F)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    /* ln 2 in two parts; the first has 9 significant bits, so that n times it is exact. */
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.63p-1F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-0x1.bd0106p-13F), r);
    __m512 p = _mm512_set1_ps(1.0F / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_scalef_ps(p, n);
}

/* The lanes of a vector at i that are inside n. */
INLINE __mmask16 inside(int64_t i, int64_t n)
{
    return n - i >= 16 ? 0xFFFF : (__mmask16)((1U << (n - i)) - 1);
}

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(inside(i, n), x + i);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    double mean = (double)_mm512_reduce_add_ps(sum) / (double)n;
    __m512 factor = _mm512_set1_ps((float)(1.0 / sqrt(mean + (double)eps)));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = inside(i, n);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), factor);
        _mm512_mask_storeu_ps(out + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, weight + i)));
    }
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    __m512 one = _mm512_set1_ps(1.0F);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = inside(i, n);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);
        __m512 e = exp_ps(_mm512_sub_ps(_mm512_setzero_ps(), g));
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(out + i, m, _mm512_mul_ps(silu, u));
    }
}

static void dots(const float *q, const float *k, int64_t step, int64_t count, int64_t n,
                 float scale, float *out)
{
    int64_t i = 0;
    for (; i + 4 <= count; i += 4, k += 4 * step) { /* four keys share the loads of q */
        __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
        for (int64_t j = 0; j < n; j += 16) {
            __mmask16 m = inside(j, n);
            __m512 v = _mm512_maskz_loadu_ps(m, q + j);
            s0 = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, k + j), s0);
            s1 = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, k + step + j), s1);
            s2 = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, k + 2 * step + j), s2);
            s3 = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(m, k + 3 * step + j), s3);
        }
        out[i] = _mm512_reduce_add_ps(s0) * scale;
        out[i + 1] = _mm512_reduce_add_ps(s1) * scale;
        out[i + 2] = _mm512_reduce_add_ps(s2) * scale;
        out[i + 3] = _mm512_reduce_add_ps(s3) * scale;
    }
    for (; i < count; i++, k += step) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t j = 0; j < n; j += 16) {
            __mmask16 m = inside(j, n);
            sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, q + j), _mm512_maskz_loadu_ps(m, k + j),
                                  sum);
        }
        out[i] = _mm512_reduce_add_ps(sum) * scale;
    }
}

static void mix(const float *p, const float *v, int64_t step, int64_t count, int64_t n, float *out)
{
    for (int64_t j = 0; j < n; j += 64) { /* four vectors of out stay in registers */
        __mmask16 m[4];
        __m512 sum[4];
        for (int c = 0; c < 4; c++) {
            int64_t at = j + 16 * c;
            m[c] = at < n ? inside(at, n) : 0;
            sum[c] = _mm512_maskz_loadu_ps(m[c], out + at);
        }
        for (int64_t i = 0; i < count; i++) {
            __m512 weight = _mm512_set1_ps(p[i]);
            for (int c = 0; c < 4; c++)
                sum[c] = _mm512_fmadd_ps(
                    weight, _mm512_maskz_loadu_ps(m[c], v + i * step + j + 16 * c), sum[c]);
        }
        for (int c = 0; c < 4; c++)
            _mm512_mask_storeu_ps(out + j + 16 * c, m[c], sum[c]);
    }
}

static float exp_sum(float *x, int64_t n, float max)
{
    __m512 sum = _mm512_setzero_ps(), top = _mm512_set1_ps(max);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = inside(i, n);
        __m512 e = exp_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), top));
        _mm512_mask_storeu_ps(x + i, m, e);
        sum = _mm512_mask_add_ps(sum, m, sum, e);
    }
    return _mm512_reduce_add_ps(sum);
}

static float max_of(const float *x, int64_t n)
{
    __m512 best = _mm512_set1_ps(x[0]);
    __mmask16 nan = 0;
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_mask_loadu_ps(best, inside(i, n), x + i);
        nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        best = _mm512_max_ps(best, v);
    }
    return nan ? NAN : _mm512_reduce_max_ps(best);
}

static void softmax_lanes(const struct ig_softmax *s)
{
    __m512 scale = _mm512_set1_ps(s->scale);
    for (int l = 0; l < s->lanes; l += 16) {
        __m512i last = _mm512_loadu_si512(s->last + l);
        __m512 before = _mm512_loadu_ps(s->max + l), max = before, sum = _mm512_setzero_ps();
        for (int64_t k = 0; k < s->keys; k++) {
            __mmask16 seen = _mm512_cmpge_epi32_mask(last, _mm512_set1_epi32((int)k));
            __m512 v = _mm512_mul_ps(_mm512_load_ps(s->scores + k * s->step + l), scale);
            max = _mm512_mask_max_ps(max, seen, max, v);
        }
        for (int64_t k = 0; k < s->keys; k++) {
            float *at = s->scores + k * s->step + l;
            __mmask16 seen = _mm512_cmpge_epi32_mask(last, _mm512_set1_epi32((int)k));
            __m512 v = _mm512_fmsub_ps(_mm512_load_ps(at), scale, max);
            v = _mm512_maskz_mov_ps(seen, exp_ps(v));
            _mm512_store_ps(at, v);
            sum = _mm512_add_ps(sum, v);
        }
        __m512 rescale = exp_ps(_mm512_sub_ps(before, max));
        _mm512_storeu_ps(s->rescale + l, rescale);
        _mm512_storeu_ps(s->sum + l, _mm512_fmadd_ps(_mm512_loadu_ps(s->sum + l), rescale, sum));
        _mm512_storeu_ps(s->max + l, max);
    }
}

static void delta(const struct ig_delta *job)
{
    delta_step(job);
}

void ig_neural_avx512(struct ig_neural_ops *ops)
{
    *ops = (struct ig_neural_ops){rms_norm, silu_mul, dots,          mix,
                                  exp_sum,  max_of,   softmax_lanes, delta};
}
