/* SPDX-License-Identifier: Apache-2.0
 * rows in plain C: the truth that the other instruction sets are checked against, bit for bit. */
#include "tensor/kernels/rows.h"

#include <math.h>
#include <string.h>

#define LANES 16

/* One pair over one pour: 16 f32 lanes, then lane l and l + 8 into f64 lane l. */
static void pair(const float *a, const float *b, int64_t count, double *sums)
{
    float acc[LANES] = {0};
    for (int64_t i = 0; i < count; i += LANES)
        for (int l = 0; l < LANES; l++)
            acc[l] = fmaf(a[i + l], b[i + l], acc[l]);
    for (int l = 0; l < IG_ROWS_LANES; l++)
        sums[l] += (double)acc[l] + (double)acc[l + IG_ROWS_LANES];
}

static void gram(const float *const *rows, int k, int64_t count, double (*sums)[IG_ROWS_LANES])
{
    for (int64_t at = 0; at < count; at += IG_ROWS_POUR) {
        int64_t n = count - at < IG_ROWS_POUR ? count - at : IG_ROWS_POUR;
        for (int i = 0; i < k; i++)
            for (int j = 0; j <= i; j++)
                pair(rows[i] + at, rows[j] + at, n, sums[IG_ROWS_PAIR(i, j)]);
    }
}

static void combine(const float *const *rows, const float *c, int k, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        float sum = c[0] * rows[0][i];
        for (int r = 1; r < k; r++)
            sum = fmaf(c[r], rows[r][i], sum);
        out[i] = sum;
    }
}

static void widen(const void *src, const float *base, int64_t count, float *out)
{
    const unsigned char *in = src;
    int64_t i = 0;
    for (; i < count; i++) {
        uint32_t bits = ((uint32_t)in[2 * i] << 16) | ((uint32_t)in[2 * i + 1] << 24);
        memcpy(&out[i], &bits, sizeof bits);
        if (base) out[i] -= base[i];
    }
    for (; i % LANES; i++)
        out[i] = 0;
}

static void subtract(float *row, const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        row[i] -= base[i];
}

/* As the instructions do it: the second operand when neither is smaller. */
static float least(float a, float b)
{
    return a < b ? a : b;
}

static float most(float a, float b)
{
    return a > b ? a : b;
}

/* Odd-even transposition: a network of the same comparisons whatever the values. */
static void sort(float *v, int k)
{
    for (int round = 0; round < k; round++) {
        for (int r = round & 1; r + 1 < k; r += 2) {
            float low = least(v[r], v[r + 1]);
            v[r + 1] = most(v[r], v[r + 1]);
            v[r] = low;
        }
    }
}

static void median(const float *const *rows, const float *scale, int k, bool midpoint,
                   int64_t count, float *out)
{
    float v[IG_ROWS_MAX];
    bool mean = midpoint && k % 2 == 0;
    for (int64_t i = 0; i < count; i++) {
        for (int r = 0; r < k; r++)
            v[r] = scale[r] * rows[r][i];
        sort(v, k);
        out[i] = mean ? 0.5f * (v[k / 2 - 1] + v[k / 2]) : v[(k - 1) / 2];
    }
}

static void residual(const float *row, float scale, const float *center, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = scale * row[i] - center[i];
}

static void align(float *row, const float *ref, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if ((ref[i] < 0 && row[i] > 0) || (ref[i] > 0 && row[i] < 0)) row[i] = -row[i];
}

static bool odd(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

static void cleanse(float *row, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (odd(row[i])) row[i] = 0;
}

static int64_t nonfinite(const float *row, int64_t count)
{
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found += odd(row[i]);
    return found;
}

void ig_rows_ref(struct ig_rows_ops *ops)
{
    *ops = (struct ig_rows_ops){.gram = gram,
                                .combine = combine,
                                .widen = widen,
                                .subtract = subtract,
                                .median = median,
                                .residual = residual,
                                .align = align,
                                .cleanse = cleanse,
                                .nonfinite = nonfinite};
}
