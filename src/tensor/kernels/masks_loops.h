/* SPDX-License-Identifier: Apache-2.0
 * masks_loops — the loops of masks.h, as the compiler makes vectors of them best: no branches, no
 * aliasing. Included by one file for each instruction set. */
#pragma once
#include "tensor/kernels/masks.h"

#include <string.h>

#define LANES 16
#define POUR  256 /* rows.h */

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void magnitudes(const float *restrict row, int64_t count, uint32_t *restrict keys)
{
    memcpy(keys, row, (size_t)count * sizeof *keys);
    for (int64_t i = 0; i < count; i++)
        keys[i] &= 0x7FFFFFFFu;
}

static void tally(const uint32_t *restrict keys, int64_t count, uint32_t bucket,
                  uint64_t *restrict tallies)
{
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        uint32_t hits = 0; /* most groups have none */
        for (int l = 0; l < 4 * LANES; l++)
            hits |= keys[i + l] >> 16 == bucket;
        for (int l = 0; hits && l < 4 * LANES; l++)
            if (keys[i + l] >> 16 == bucket) tallies[keys[i + l] & 0xFFFF]++;
    }
    for (; i < count; i++)
        if (keys[i] >> 16 == bucket) tallies[keys[i] & 0xFFFF]++;
}

static void above(const uint32_t *restrict keys, int64_t count, uint32_t least,
                  uint32_t *restrict keep)
{
    for (int64_t i = 0; i < count; i++)
        keep[i] = keys[i] >= least ? UINT32_MAX : 0;
}

static void between(const uint32_t *restrict keys, int64_t count, uint32_t least, uint32_t most,
                    uint32_t *restrict keep)
{
    uint32_t width = most > least ? most - least : 0;
    for (int64_t i = 0; i < count; i++)
        keep[i] = keys[i] - least < width ? UINT32_MAX : 0;
}

static int64_t equal(const uint32_t *restrict keys, int64_t count, uint32_t key)
{
    int64_t found = 0;
    for (int64_t at = 0; at < count; at += POUR) {
        int64_t end = count - at < POUR ? count : at + POUR;
        uint32_t here = 0;
        for (int64_t i = at; i < end; i++)
            here += keys[i] == key;
        found += here;
    }
    return found;
}

/* SplitMix64's output function; see merge/random.h, which says what the stream is. */
static inline uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void draw(uint64_t stream, uint64_t first, int64_t count, uint64_t least,
                 uint32_t *restrict keep)
{
    const uint64_t step = 0x9E3779B97F4A7C15u;
    int64_t i = 0;
    if (first & 1 && count > 0) {
        keep[0] = mix(stream + (first / 2 + 1) * step) >> 32 < least ? UINT32_MAX : 0;
        i = 1;
    }
    uint64_t pair = (first + (uint64_t)i) / 2 + 1;
    int64_t pairs = (count - i) / 2;
    for (int64_t p = 0; p < pairs; p++) {
        uint64_t z = mix(stream + (pair + (uint64_t)p) * step);
        uint64_t low = (z & UINT32_MAX) < least ? UINT32_MAX : 0;
        uint64_t high = z >> 32 < least ? (uint64_t)UINT32_MAX << 32 : 0;
        uint64_t both = low | high;
        memcpy(&keep[i + 2 * p], &both, sizeof both);
    }
    i += 2 * pairs;
    if (i < count)
        keep[i] =
            (mix(stream + (pair + (uint64_t)pairs) * step) & UINT32_MAX) < least ? UINT32_MAX : 0;
}

static void numbers(uint64_t stream, uint64_t first, int64_t count, uint32_t *restrict out)
{
    const uint64_t step = 0x9E3779B97F4A7C15u;
    int64_t i = 0;
    if (first & 1 && count > 0) out[i++] = (uint32_t)(mix(stream + (first / 2 + 1) * step) >> 32);
    uint64_t pair = (first + (uint64_t)i) / 2 + 1;
    int64_t pairs = (count - i) / 2;
    for (int64_t p = 0; p < pairs; p++) {
        uint64_t z = mix(stream + (pair + (uint64_t)p) * step);
        out[i + 2 * p] = (uint32_t)z;
        out[i + 2 * p + 1] = (uint32_t)(z >> 32);
    }
    i += 2 * pairs;
    if (i < count) out[i] = (uint32_t)mix(stream + (pair + (uint64_t)pairs) * step);
}

static uint32_t largest(const uint32_t *restrict keys, int64_t count)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < count; i++)
        most = keys[i] > most ? keys[i] : most;
    return most;
}

static void buckets(const uint32_t *restrict keys, int64_t count, uint32_t floor, int shift,
                    uint16_t *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t key = keys[i] > floor ? keys[i] : floor;
        out[i] = (uint16_t)((key - floor) >> shift);
    }
}

static void bounds(const uint32_t *restrict counts, int64_t buckets, uint64_t base, uint64_t step,
                   uint32_t *restrict start, uint32_t *restrict limits)
{
    uint32_t before = 0;
    for (int64_t b = 0; b < buckets; b++) {
        start[b] = before;
        before += counts[b];
    }
    start[buckets] = before;
    for (int64_t b = 0; b < buckets; b++) { /* of an empty one whatever: nothing asks */
        uint64_t least = base + start[b] * step, more = counts[b] - (counts[b] > 0);
        uint64_t most = least + more * step;
        limits[b] = (uint32_t)(least >> 40 | (most >> 40) << 16);
    }
}

static int64_t judge(const uint32_t *restrict number, const uint16_t *restrict bucket,
                     const uint32_t *restrict limits, int64_t count, uint32_t *restrict keep,
                     uint32_t *restrict list)
{
    int64_t found = 0;
    for (int64_t at = 0; at < count; at += 4 * LANES) {
        int64_t end = count - at < 4 * LANES ? count : at + 4 * LANES;
        uint32_t open = 0;
        for (int64_t i = at; i < end; i++) {
            uint32_t limit = limits[bucket[i]], high = number[i] >> 16;
            uint32_t sure = high < (limit & 0xFFFF) ? UINT32_MAX : 0;
            uint32_t maybe = high <= limit >> 16 ? 1 : 0;
            keep[i] = sure | maybe;
            open |= maybe & ~sure;
        }
        for (int64_t i = at; open && i < end; i++) {
            if (keep[i] != 1) continue;
            if (found < IG_MASKS_LISTED) list[found] = (uint32_t)i;
            found++;
        }
    }
    return found;
}

static int64_t rank(const uint32_t *restrict keys, int64_t count, int64_t at)
{
    uint32_t key = keys[at], under = 0, like = 0;
    for (int64_t i = 0; i < at; i++)
        like += keys[i] == key;
    for (int64_t i = 0; i < count; i++)
        under += keys[i] < key;
    return (int64_t)under + like;
}

static void pack(const uint32_t *restrict keep, int64_t count, uint8_t *restrict bits)
{
    for (int64_t i = 0; i < count; i += 8) {
        uint32_t byte = 0;
        for (int l = 0; l < 8; l++)
            byte |= keep[i + l] & 1u << l;
        bits[i / 8] = (uint8_t)byte;
    }
}

static void unpack(const uint8_t *restrict bits, int64_t count, uint32_t *restrict keep)
{
    for (int64_t i = 0; i < count; i += 8)
        for (int l = 0; l < 8; l++)
            keep[i + l] = bits[i / 8] & 1u << l ? UINT32_MAX : 0;
}

static void scale(const float *row, const uint32_t *keep, float factor, int64_t count, float *out)
{
    for (int64_t i = 0; !keep && i < count; i++)
        out[i] = factor * row[i];
    for (int64_t i = 0; keep && i < count; i++)
        out[i] = factor * of_bits(bits_of(row[i]) & keep[i]);
}

static void sizes(const float *restrict row, const uint32_t *restrict keep, int64_t count,
                  double *restrict all, double *restrict kept)
{
    for (int64_t at = 0; at < count; at += POUR) {
        int64_t end = count - at < POUR ? count : at + POUR;
        float a[LANES] = {0}, k[LANES] = {0};
        for (int64_t i = at; i < end; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                float size = __builtin_fabsf(row[i + l]);
                a[l] += size;
                k[l] += of_bits(bits_of(size) & keep[i + l]);
            }
        }
        for (int l = 0; l < IG_MASKS_LANES; l++) {
            all[l] += (double)a[l] + (double)a[l + IG_MASKS_LANES];
            kept[l] += (double)k[l] + (double)k[l + IG_MASKS_LANES];
        }
    }
}

static void add(const float *restrict row, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] += row[i];
}

/* By bits: comparisons of floats keep some compilers from making vectors. + 0 turns -0 into 0. */
static void agree(const float *restrict sum, const float *restrict row, float weight, int64_t count,
                  float *restrict mixed, float *restrict weights)
{
    uint32_t weight_bits = bits_of(weight);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(row[i]);
        uint32_t differ = (bits ^ bits_of(sum[i] + 0.0f)) >> 31, zero = bits << 1 == 0;
        uint32_t part = (differ | zero) - 1;
        mixed[i] += of_bits(bits & part);
        weights[i] += of_bits(weight_bits & part);
    }
}

static void divide(const float *restrict divisors, int64_t count, float *restrict row)
{
    for (int64_t i = 0; i < count; i++)
        row[i] /= divisors[i] == 0 ? 1 : divisors[i];
}

static void divide_least(const float *restrict divisors, float least, int64_t count,
                         float *restrict row)
{
    for (int64_t i = 0; i < count; i++)
        row[i] /= divisors[i] > least ? divisors[i] : least;
}

static void variance(const float *const *rows, int n, int64_t count, float *restrict mean,
                     float *restrict out)
{
    memset(mean, 0, (size_t)count * sizeof *mean);
    memset(out, 0, (size_t)count * sizeof *out);
    for (int m = 0; m < n; m++)
        add(rows[m], count, mean);
    for (int64_t i = 0; i < count; i++)
        mean[i] /= (float)n;
    for (int m = 0; m < n; m++) {
        const float *restrict row = rows[m];
        for (int64_t i = 0; i < count; i++) {
            float apart = row[i] - mean[i];
            out[i] += apart * apart;
        }
    }
    for (int64_t i = 0; i < count; i++)
        out[i] /= (float)n;
}

/* All ones where the magnitude is over epsilon, else 0. As integers: what is not negative compares
 * as its bits do. */
static inline uint32_t over(float value, int32_t epsilon)
{
    return (int32_t)(bits_of(value) & 0x7FFFFFFFu) > epsilon ? UINT32_MAX : 0;
}

static inline int32_t bound_of(float epsilon)
{
    return epsilon < 0 ? -1 : (int32_t)bits_of(epsilon + 0.0f);
}

static void count_over(const float *restrict row, float epsilon, int64_t count,
                       float *restrict counts)
{
    int32_t bound = bound_of(epsilon);
    for (int64_t i = 0; i < count; i++)
        counts[i] += of_bits(bits_of(1.0f) & over(row[i], bound));
}

static void shares(const float *restrict row, const float *restrict counts, float epsilon,
                   int64_t count, int64_t *shared, int64_t *unique)
{
    int32_t bound = bound_of(epsilon), single = (int32_t)bits_of(1.0f);
    for (int64_t at = 0; at < count; at += POUR) {
        int64_t end = count - at < POUR ? count : at + POUR;
        int32_t several = 0, one = 0;
        for (int64_t i = at; i < end; i++) {
            int32_t has = (int32_t)over(row[i], bound), models = (int32_t)bits_of(counts[i]);
            several -= has & -(models > single);
            one -= has & -(models == single);
        }
        *shared += several;
        *unique += one;
    }
}

static void average(const float *restrict row, const float *restrict counts, float epsilon,
                    int64_t count, float *restrict out)
{
    int32_t bound = bound_of(epsilon);
    for (int64_t i = 0; i < count; i++) {
        float part = row[i] / (counts[i] > 1 ? counts[i] : 1);
        out[i] = of_bits(bits_of(part) & over(row[i], bound));
    }
}

static void boost(const float *restrict counts, float factor, int64_t count, float *restrict row)
{
    for (int64_t i = 0; i < count; i++)
        row[i] *= counts[i] == 1 ? factor : 1;
}

static void approach(const float *restrict base, const float *restrict delta, float t, float least,
                     int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        float apart = __builtin_fabsf(delta[i]);
        float w = t / (apart > least ? apart : least);
        w = w < 0 ? 0 : w;
        w = w > 1 ? 1 : w;
        out[i] = base[i] + w * delta[i];
    }
}

static void value_keys(const float *restrict values, int64_t count, uint32_t *restrict keys)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(values[i]), sign = -(bits >> 31);
        keys[i] = bits ^ (sign | 0x80000000u);
    }
}

static inline uint64_t bits_of_real(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double real_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Added to a small number, leaves its nearest integer in the lowest bits. exp and ln are our own: a
 * library's last digit differs from machine to machine. */
#define TO_INTEGER 0x1.8p52

/* e^x for x <= 0: 2^n e^r with |r| <= ln 2 / 2, Taylor to the 13th term (3e-17 relative). */
static inline double exponential(double x)
{
    static const double low = -700;
    double shifted = x * 0x1.71547652b82fep0 + TO_INTEGER, n = shifted - TO_INTEGER;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double sum = 1.0 / 6227020800;
    sum = sum * r + 1.0 / 479001600;
    sum = sum * r + 1.0 / 39916800;
    sum = sum * r + 1.0 / 3628800;
    sum = sum * r + 1.0 / 362880;
    sum = sum * r + 1.0 / 40320;
    sum = sum * r + 1.0 / 5040;
    sum = sum * r + 1.0 / 720;
    sum = sum * r + 1.0 / 120;
    sum = sum * r + 1.0 / 24;
    sum = sum * r + 1.0 / 6;
    sum = sum * r + 0.5;
    sum = sum * r + 1;
    sum = sum * r + 1;
    double power = real_of_bits((bits_of_real(shifted) << 52) + ((uint64_t)1023 << 52));
    return x < low ? 0 : sum * power;
}

/* ln x for x > 0 and normal: n ln 2 + 2 artanh((m - 1) / (m + 1)), m between 0.7 and 1.4. */
static inline double logarithm(double x)
{
    const uint64_t least = 0x3FE6A09E667F3BCDu;                        /* of sqrt(1/2) */
    uint64_t above = bits_of_real(x) - least + ((uint64_t)1024 << 52); /* so that it is positive */
    uint64_t n = above >> 52;
    double m = real_of_bits((above & 0xFFFFFFFFFFFFFu) + least);
    double s = (m - 1) / (m + 1), square = s * s;
    double sum = 1.0 / 21;
    sum = sum * square + 1.0 / 19;
    sum = sum * square + 1.0 / 17;
    sum = sum * square + 1.0 / 15;
    sum = sum * square + 1.0 / 13;
    sum = sum * square + 1.0 / 11;
    sum = sum * square + 1.0 / 9;
    sum = sum * square + 1.0 / 7;
    sum = sum * square + 1.0 / 5;
    sum = sum * square + 1.0 / 3;
    sum = sum * square + 1;
    double power = real_of_bits(n + bits_of_real(TO_INTEGER)) - (TO_INTEGER + 1024);
    return power * 0x1.62e42fefa39efp-1 + 2 * s * sum;
}

static void add_lanes(const double *restrict values, int64_t count, double *restrict sums)
{
    double lanes[IG_MASKS_LANES] = {0};
    int64_t i = 0;
    for (; i + IG_MASKS_LANES <= count; i += IG_MASKS_LANES)
        for (int l = 0; l < IG_MASKS_LANES; l++)
            lanes[l] += values[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += values[i + l];
    for (int l = 0; l < IG_MASKS_LANES; l++)
        sums[l] += lanes[l];
}

static void exponentials(const float *restrict row, float top, int64_t count, double *restrict out,
                         double *restrict sums)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = exponential((double)row[i] - (double)top);
    add_lanes(out, count, sums);
}

static void divergence(double *restrict of, const double *restrict to, const double factors[2],
                       double eps, int64_t count, double *restrict sums)
{
    double of_factor = factors[0], to_factor = factors[1];
    for (int64_t i = 0; i < count; i++) {
        double p = of[i] * of_factor + eps, q = to[i] * to_factor + eps;
        of[i] = p * logarithm(p / q);
    }
    add_lanes(of, count, sums);
}

static void apart(const float *restrict a, const float *restrict b, float factor, int64_t count,
                  float *restrict out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = __builtin_fabsf(b[i] - a[i]) * factor + 0.0f;
}

static void choose(const float *restrict values, float least, const float *restrict a,
                   const float *restrict b, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = values[i] >= least ? b[i] : a[i];
}

static void fill(struct ig_masks_ops *ops)
{
    *ops = (struct ig_masks_ops){.magnitudes = magnitudes,
                                 .tally = tally,
                                 .above = above,
                                 .between = between,
                                 .equal = equal,
                                 .draw = draw,
                                 .numbers = numbers,
                                 .buckets = buckets,
                                 .bounds = bounds,
                                 .judge = judge,
                                 .rank = rank,
                                 .largest = largest,
                                 .pack = pack,
                                 .unpack = unpack,
                                 .scale = scale,
                                 .sizes = sizes,
                                 .add = add,
                                 .agree = agree,
                                 .divide = divide,
                                 .divide_least = divide_least,
                                 .variance = variance,
                                 .count_over = count_over,
                                 .shares = shares,
                                 .average = average,
                                 .boost = boost,
                                 .approach = approach,
                                 .value_keys = value_keys,
                                 .exponentials = exponentials,
                                 .divergence = divergence,
                                 .apart = apart,
                                 .choose = choose};
}
