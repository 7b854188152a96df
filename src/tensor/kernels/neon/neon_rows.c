/* SPDX-License-Identifier: Apache-2.0
 * rows with NEON: the 16 virtual lanes are four vectors. Up to three rows keep all their pairs in
 * registers; four take the lanes in two halves, more go in tiles of three by three, in halves too.
 */
#include "tensor/kernels/rows.h"

#include <arm_neon.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define LANES 16
#define HALF  8
#define SMALL 4
#define TILE  3

/* A pair's lanes into its f64 lanes: l and l + 8 into l. */
static ALWAYS_INLINE void pour(const float *lanes, double *sums)
{
    for (int l = 0; l < HALF; l += 4) {
        float32x4_t first = vld1q_f32(lanes + l), second = vld1q_f32(lanes + l + HALF);
        float64x2_t low =
            vaddq_f64(vcvt_f64_f32(vget_low_f32(first)), vcvt_f64_f32(vget_low_f32(second)));
        float64x2_t high = vaddq_f64(vcvt_high_f64_f32(first), vcvt_high_f64_f32(second));
        vst1q_f64(sums + l, vaddq_f64(vld1q_f64(sums + l), low));
        vst1q_f64(sums + l + 2, vaddq_f64(vld1q_f64(sums + l + 2), high));
    }
}

/* `vectors` vectors of the lanes, from rows' element `at` on. */
static ALWAYS_INLINE void lanes_small(const float *const *rows, int k, int64_t at, int64_t end,
                                      int vectors, float (*out)[LANES])
{
    float32x4_t acc[IG_ROWS_PAIRS(SMALL)][4], v[SMALL];
    UNROLL
    for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
        UNROLL
    for (int q = 0; q < vectors; q++)
        acc[p][q] = vdupq_n_f32(0);
    for (int64_t e = at; e < end; e += LANES)
        UNROLL
    for (int q = 0; q < vectors; q++)
        UNROLL
    for (int i = 0; i < k; i++) {
        v[i] = vld1q_f32(rows[i] + e + 4 * q);
        UNROLL
        for (int j = 0; j <= i; j++)
            acc[IG_ROWS_PAIR(i, j)][q] = vfmaq_f32(acc[IG_ROWS_PAIR(i, j)][q], v[i], v[j]);
    }
    UNROLL
    for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
        UNROLL
    for (int q = 0; q < vectors; q++)
        vst1q_f32(out[p] + 4 * q, acc[p][q]);
}

static ALWAYS_INLINE void gram_small(const float *const *rows, int k, int vectors, int64_t count,
                                     double (*sums)[IG_ROWS_LANES])
{
    float lanes[IG_ROWS_PAIRS(SMALL)][LANES];
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        lanes_small(rows, k, at, end, vectors, lanes);
        if (vectors < 4)
            lanes_small(rows, k, at + HALF, end, vectors, (float(*)[LANES])(lanes[0] + HALF));
        for (int p = 0; p < IG_ROWS_PAIRS(k); p++)
            pour(lanes[p], sums[p]);
    }
}

static ALWAYS_INLINE void half_tile(const float *const *ri, const float *const *rj, int64_t at,
                                    int64_t end, float (*out)[TILE][HALF])
{
    float32x4_t acc[TILE][TILE][2], b[TILE][2];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            acc[i][j][0] = acc[i][j][1] = vdupq_n_f32(0);
    for (int64_t e = at; e < end; e += LANES) {
        for (int j = 0; j < TILE; j++) {
            b[j][0] = vld1q_f32(rj[j] + e);
            b[j][1] = vld1q_f32(rj[j] + e + 4);
        }
        for (int i = 0; i < TILE; i++) {
            float32x4_t first = vld1q_f32(ri[i] + e), second = vld1q_f32(ri[i] + e + 4);
            for (int j = 0; j < TILE; j++) {
                acc[i][j][0] = vfmaq_f32(acc[i][j][0], first, b[j][0]);
                acc[i][j][1] = vfmaq_f32(acc[i][j][1], second, b[j][1]);
            }
        }
    }
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++) {
            vst1q_f32(out[i][j], acc[i][j][0]);
            vst1q_f32(out[i][j] + 4, acc[i][j][1]);
        }
}

static void gram_tile(const float *const *rows, int k, const int corner[2], int64_t at, int64_t end,
                      double (*sums)[IG_ROWS_LANES])
{
    const float *ri[TILE], *rj[TILE];
    float half[2][TILE][TILE][HALF], lanes[LANES];
    for (int t = 0; t < TILE; t++) {
        ri[t] = rows[corner[0] + t < k ? corner[0] + t : k - 1];
        rj[t] = rows[corner[1] + t < k ? corner[1] + t : k - 1];
    }
    half_tile(ri, rj, at, end, half[0]);
    half_tile(ri, rj, at + HALF, end, half[1]);
    for (int i = 0; i < TILE && corner[0] + i < k; i++)
        for (int j = 0; j < TILE && corner[1] + j <= corner[0] + i; j++) {
            memcpy(lanes, half[0][i][j], sizeof half[0][i][j]);
            memcpy(lanes + HALF, half[1][i][j], sizeof half[1][i][j]);
            pour(lanes, sums[IG_ROWS_PAIR(corner[0] + i, corner[1] + j)]);
        }
}

static void gram_large(const float *const *rows, int k, int64_t count,
                       double (*sums)[IG_ROWS_LANES])
{
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t end = count - at < IG_ROWS_POUR ? count : at + IG_ROWS_POUR;
        for (int i = 0; i < k; i += TILE)
            for (int j = 0; j <= i; j += TILE)
                gram_tile(rows, k, (int[2]){i, j}, at, end, sums);
    }
}

static void gram(const float *const *rows, int k, int64_t count, double (*sums)[IG_ROWS_LANES])
{
    switch (k) {
    case 1: gram_small(rows, 1, 4, count, sums); break;
    case 2: gram_small(rows, 2, 4, count, sums); break;
    case 3: gram_small(rows, 3, 4, count, sums); break;
    case 4: gram_small(rows, 4, 2, count, sums); break;
    default: gram_large(rows, k, count, sums); break;
    }
}

static void combine(const float *const *rows, const float *c, int k, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += LANES) {
        float32x4_t sum[4];
        for (int q = 0; q < 4; q++)
            sum[q] = vmulq_n_f32(vld1q_f32(rows[0] + i + 4 * q), c[0]);
        for (int r = 1; r < k; r++)
            for (int q = 0; q < 4; q++)
                sum[q] = vfmaq_n_f32(sum[q], vld1q_f32(rows[r] + i + 4 * q), c[r]);
        for (int q = 0; q < 4; q++)
            vst1q_f32(out + i + 4 * q, sum[q]);
    }
}

static void widen(const void *src, const float *base, int64_t count, float *out)
{
    const uint8_t *in = src;
    const uint16x8_t zero = vdupq_n_u16(0);
    int64_t i = 0;
    for (; i + HALF <= count; i += HALF) {
        uint16x8_t words = vreinterpretq_u16_u8(vld1q_u8(in + 2 * i));
        float32x4_t low = vreinterpretq_f32_u16(vzip1q_u16(zero, words));
        float32x4_t high = vreinterpretq_f32_u16(vzip2q_u16(zero, words));
        if (base) {
            low = vsubq_f32(low, vld1q_f32(base + i));
            high = vsubq_f32(high, vld1q_f32(base + i + 4));
        }
        vst1q_f32(out + i, low);
        vst1q_f32(out + i + 4, high);
    }
    for (; i < count; i++) {
        uint32_t bits = (uint32_t)in[2 * i] << 16 | (uint32_t)in[2 * i + 1] << 24;
        memcpy(&out[i], &bits, sizeof bits);
        if (base) out[i] -= base[i];
    }
    for (; i % LANES; i++)
        out[i] = 0;
}

static void subtract(float *row, const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i += 4)
        vst1q_f32(row + i, vsubq_f32(vld1q_f32(row + i), vld1q_f32(base + i)));
}

/* By comparison, not fmin and fmax, which order zeros and spread NaN: as ref does it. */
static ALWAYS_INLINE void order(float32x4_t *low, float32x4_t *high)
{
    float32x4_t a = *low, b = *high;
    *low = vbslq_f32(vcltq_f32(a, b), a, b);
    *high = vbslq_f32(vcgtq_f32(a, b), a, b);
}

static void median(const float *const *rows, const float *scale, int k, bool midpoint,
                   int64_t count, float *out)
{
    float32x4_t v[IG_ROWS_MAX];
    bool mean = midpoint && k % 2 == 0;
    for (int64_t i = 0; i < count; i += 4) {
        for (int r = 0; r < k; r++)
            v[r] = vmulq_n_f32(vld1q_f32(rows[r] + i), scale[r]);
        for (int round = 0; round < k; round++)
            for (int r = round & 1; r + 1 < k; r += 2)
                order(&v[r], &v[r + 1]);
        float32x4_t middle = v[(k - 1) / 2];
        if (mean) middle = vmulq_n_f32(vaddq_f32(v[k / 2 - 1], v[k / 2]), 0.5F);
        vst1q_f32(out + i, middle);
    }
}

static void residual(const float *row, float scale, const float *center, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += 4)
        vst1q_f32(out + i,
                  vsubq_f32(vmulq_n_f32(vld1q_f32(row + i), scale), vld1q_f32(center + i)));
}

static int64_t nonfinite(const float *row, int64_t count)
{
    const uint32x4_t exponent = vdupq_n_u32(0x7F800000);
    uint32x4_t found = vdupq_n_u32(0);
    for (int64_t i = 0; i < count; i += 4) {
        uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(vld1q_f32(row + i)), exponent);
        found = vsubq_u32(found, vceqq_u32(bits, exponent));
    }
    return vaddvq_u32(found);
}

void ig_rows_neon(struct ig_rows_ops *ops)
{
    ops->gram = gram;
    ops->combine = combine;
    ops->widen = widen;
    ops->subtract = subtract;
    ops->median = median;
    ops->residual = residual;
    ops->nonfinite = nonfinite;
}
