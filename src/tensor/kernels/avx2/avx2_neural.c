/* SPDX-License-Identifier: Apache-2.0
 * avx2 neural — exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2, exp(r) by its Taylor
 * series to r^7 (next term: 5e-9 relative). Below -87 the result is 0 (it would be subnormal),
 * above 88.4 infinity; the order of operands lets NaN through. */
#include "tensor/kernels/delta.h"

#include <immintrin.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256 exp_ps(__m256 x)
{
    __m256 low = _mm256_set1_ps(-87.0F);
    __m256 zero = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
    x = _mm256_max_ps(low, _mm256_min_ps(_mm256_set1_ps(89.0F), x));
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p0F)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    /* ln 2 in two parts; the first has 9 significant bits, so that n times it is exact. */
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.63p-1F), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-0x1.bd0106p-13F), r);
    __m256 p = _mm256_set1_ps(1.0F / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    /* n is -126 to 128; the exponent of 2^128 is that of infinity. */
    __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(zero, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

INLINE float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* All ones in the lanes of a vector at i that are inside n. */
INLINE __m256i inside(int64_t i, int64_t n)
{
    int left = n - i >= 8 ? 8 : (int)(n - i);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    __m256 sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_maskload_ps(x + i, inside(i, n));
        sum = _mm256_fmadd_ps(v, v, sum);
    }
    double mean = (double)sum_of(sum) / (double)n;
    __m256 factor = _mm256_set1_ps((float)(1.0 / sqrt(mean + (double)eps)));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i m = inside(i, n);
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, m), factor);
        _mm256_maskstore_ps(out + i, m, _mm256_mul_ps(v, _mm256_maskload_ps(weight + i, m)));
    }
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    __m256 one = _mm256_set1_ps(1.0F);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i m = inside(i, n);
        __m256 g = _mm256_maskload_ps(gate + i, m), u = _mm256_maskload_ps(up + i, m);
        __m256 e = exp_ps(_mm256_sub_ps(_mm256_setzero_ps(), g));
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, e));
        _mm256_maskstore_ps(out + i, m, _mm256_mul_ps(silu, u));
    }
}

static void dots(const float *q, const float *k, int64_t step, int64_t count, int64_t n,
                 float scale, float *out)
{
    for (int64_t i = 0; i < count; i++, k += step) {
        __m256 even = _mm256_setzero_ps(), odd = even;
        int64_t j = 0;
        for (; j + 16 <= n; j += 16) {
            even = _mm256_fmadd_ps(_mm256_loadu_ps(q + j), _mm256_loadu_ps(k + j), even);
            odd = _mm256_fmadd_ps(_mm256_loadu_ps(q + j + 8), _mm256_loadu_ps(k + j + 8), odd);
        }
        for (; j < n; j += 8) {
            __m256i m = inside(j, n);
            even =
                _mm256_fmadd_ps(_mm256_maskload_ps(q + j, m), _mm256_maskload_ps(k + j, m), even);
        }
        out[i] = sum_of(_mm256_add_ps(even, odd)) * scale;
    }
}

static void mix(const float *p, const float *v, int64_t step, int64_t count, int64_t n, float *out)
{
    for (int64_t j = 0; j < n; j += 8) {
        __m256i m = inside(j, n);
        __m256 sum = _mm256_maskload_ps(out + j, m);
        for (int64_t i = 0; i < count; i++)
            sum =
                _mm256_fmadd_ps(_mm256_set1_ps(p[i]), _mm256_maskload_ps(v + i * step + j, m), sum);
        _mm256_maskstore_ps(out + j, m, sum);
    }
}

static float exp_sum(float *x, int64_t n, float max)
{
    __m256 sum = _mm256_setzero_ps(), top = _mm256_set1_ps(max);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i m = inside(i, n);
        __m256 e = exp_ps(_mm256_sub_ps(_mm256_maskload_ps(x + i, m), top));
        _mm256_maskstore_ps(x + i, m, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(m)));
    }
    return sum_of(sum);
}

static float max_of(const float *x, int64_t n)
{
    __m256 best = _mm256_set1_ps(x[0]), nan = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 8) {
        __m256i m = inside(i, n);
        __m256 v = _mm256_blendv_ps(best, _mm256_maskload_ps(x + i, m), _mm256_castsi256_ps(m));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        best = _mm256_max_ps(best, v);
    }
    if (_mm256_movemask_ps(nan)) return NAN;
    float eight[8], top;
    _mm256_storeu_ps(eight, best);
    top = eight[0];
    for (int i = 1; i < 8; i++)
        top = eight[i] > top ? eight[i] : top;
    return top;
}

static void softmax_lanes(const struct ig_softmax *s)
{
    __m256 scale = _mm256_set1_ps(s->scale), none = _mm256_set1_ps(-INFINITY);
    for (int l = 0; l < s->lanes; l += 8) {
        __m256i last = _mm256_loadu_si256((const void *)(s->last + l));
        __m256 before = _mm256_loadu_ps(s->max + l), max = before, sum = _mm256_setzero_ps();
        for (int64_t k = 0; k < s->keys; k++) {
            __m256i hidden = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)k), last);
            __m256 v = _mm256_mul_ps(_mm256_load_ps(s->scores + k * s->step + l), scale);
            v = _mm256_blendv_ps(v, none, _mm256_castsi256_ps(hidden));
            max = _mm256_max_ps(max, v);
        }
        for (int64_t k = 0; k < s->keys; k++) {
            float *at = s->scores + k * s->step + l;
            __m256i hidden = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)k), last);
            __m256 v = exp_ps(_mm256_fmsub_ps(_mm256_load_ps(at), scale, max));
            v = _mm256_andnot_ps(_mm256_castsi256_ps(hidden), v);
            _mm256_store_ps(at, v);
            sum = _mm256_add_ps(sum, v);
        }
        __m256 rescale = exp_ps(_mm256_sub_ps(before, max));
        _mm256_storeu_ps(s->rescale + l, rescale);
        _mm256_storeu_ps(s->sum + l, _mm256_fmadd_ps(_mm256_loadu_ps(s->sum + l), rescale, sum));
        _mm256_storeu_ps(s->max + l, max);
    }
}

static void delta(const struct ig_delta *job)
{
    delta_step(job);
}

void ig_neural_avx2(struct ig_neural_ops *ops)
{
    *ops = (struct ig_neural_ops){rms_norm, silu_mul, dots,          mix,
                                  exp_sum,  max_of,   softmax_lanes, delta};
}
