/* SPDX-License-Identifier: Apache-2.0
 * masks — each instruction set gives the bits of ref for every length; ref does what masks.h says.
 */
#include "check.h"
#include "merge/methods/random.h"
#include "tensor/kernels/masks.h"

#include <math.h>
#include <stdlib.h>

#define COUNT 1024

static float row[COUNT], sum[COUNT], counts[COUNT], got[2][COUNT], more[2][COUNT];
static uint32_t keys[COUNT], keep[COUNT], mask[2][COUNT];
static uint64_t tallies[2][65536];

static uint64_t seed = 7;
static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)seed / 9.3e18);
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        row[i] = i % 7 == 0 ? 0 : i % 11 == 0 ? -0.0f : noise() * (float)pow(10, i % 5 - 2);
        sum[i] = i % 5 == 0 ? -0.0f : noise();
        counts[i] = (float)(i % 4);
        keep[i] = noise() > 0 ? UINT32_MAX : 0;
        memcpy(&keys[i], &row[i], sizeof keys[i]);
        keys[i] &= 0x7FFFFFFFu;
    }
    row[100] = 1e-45f;
    sum[100] = 1e-45f;
    return 0;
}

static struct ig_masks_ops ops_of(int isa)
{
    struct ig_masks_ops ops;
    IG_OPS_FILL(masks, &ops, (enum ig_isa)isa);
    return ops;
}

static void check_masks(const struct ig_masks_ops *ops, int isa, int64_t n)
{
    uint32_t bucket = keys[5] >> 16;
    memset(tallies[isa > 0], 0, sizeof tallies[0]);
    ops->tally(keys, n, bucket, tallies[isa > 0]);
    assert_memory_equal(tallies[0], tallies[isa > 0], sizeof tallies[0]);
    for (int which = 0; which < 4; which++) {
        uint32_t *to = mask[isa > 0];
        memset(to, 1, sizeof mask[0]);
        if (which == 0) ops->magnitudes(row, n, to);
        if (which == 1) ops->above(keys, n, keys[9], to);
        if (which == 2) ops->between(keys, n, keys[9] < keys[3] ? keys[9] : keys[3], keys[4], to);
        if (which == 3) ops->draw(17, (uint64_t)n % 3, n, 1u << 30, to);
        static uint32_t want[4][COUNT];
        if (isa == 0) memcpy(want[which], to, sizeof want[0]);
        assert_memory_equal(want[which], to, sizeof want[0]);
    }
}

/* How a row is thinned out by rank (methods/sparsify.c), step by step. */
static void check_ranks(const struct ig_masks_ops *ops, int64_t n)
{
    enum { BUCKETS = 64 };
    static uint32_t number[COUNT], back[COUNT], filled[BUCKETS], list[IG_MASKS_LISTED];
    static uint32_t start[BUCKETS + 1], limits[BUCKETS];
    static uint16_t bucket[COUNT];
    static uint8_t bits[COUNT / 8];
    uint64_t base = (uint64_t)1 << 54, step = ((uint64_t)1 << 55) / COUNT;
    uint32_t largest = 0;
    ops->numbers(17, 3, n, number);
    memset(filled, 0, sizeof filled);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(number[i], merge__random_at(17, (uint64_t)i + 3));
        largest = keys[i] > largest ? keys[i] : largest;
    }
    assert_int_equal(ops->largest(keys, n), largest);
    uint32_t floor = largest > 63u << 20 ? largest - (63u << 20) : 0;
    ops->buckets(keys, n, floor, 20, bucket);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(bucket[i], keys[i] > floor ? (keys[i] - floor) >> 20 : 0);
        filled[bucket[i]]++;
    }
    ops->bounds(filled, BUCKETS, base, step, start, limits);
    int64_t open = ops->judge(number, bucket, limits, n, mask[1], list), found = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t rank = 0, b = bucket[i];
        for (int64_t j = 0; j < n; j++)
            rank += keys[j] < keys[i] || (keys[j] == keys[i] && j < i);
        assert_int_equal(ops->rank(keys, n, i), rank);
        assert_true(start[b] <= rank && rank < start[b + 1]);
        bool kept = number[i] < (base + (uint64_t)rank * step) >> 24;
        if (mask[1][i] != 1) assert_int_equal(mask[1][i], kept ? UINT32_MAX : 0);
        if (mask[1][i] == 1 && open <= IG_MASKS_LISTED) assert_int_equal(list[found], i);
        found += mask[1][i] == 1;
    }
    assert_int_equal(found, open);
    ops->pack(keep, n / 8 * 8, bits);
    ops->unpack(bits, n / 8 * 8, back);
    assert_memory_equal(keep, back, (size_t)(n / 8 * 8) * sizeof *keep);
}

static void check_sums(const struct ig_masks_ops *ops, int isa, int64_t n)
{
    static float want[9][COUNT];
    const float *const rows[3] = {row, sum, counts};
    for (int which = 0; which < 9; which++) {
        float *to = got[0], *other = more[0];
        memcpy(to, sum, sizeof got[0]);
        memcpy(other, row, sizeof more[0]);
        if (which == 0) ops->scale(row, keep, 0.3f, n, to);
        if (which == 1) ops->scale(row, NULL, 0.3f, n, to);
        if (which == 2) ops->agree(sum, row, 0.7f, n, to, other);
        if (which == 3) ops->divide(row, n, to);
        if (which == 4) ops->divide_least(row, 1e-3f, n, to);
        if (which == 5) ops->variance(rows, 3, n, other, to);
        if (which == 6) ops->count_over(row, 0.01f, n, to);
        if (which == 7) ops->average(row, counts, 0.01f, n, to);
        if (which == 7) ops->boost(counts, 1.3f, n, to);
        if (which == 8) ops->approach(sum, row, 0.1f, 1e-6f, n, to);
        if (which < 3) ops->add(other, n, to);
        if (isa == 0) memcpy(want[which], to, sizeof want[0]);
        assert_memory_equal(want[which], to, sizeof want[0]);
    }
    static double all[2][8], kept[2][8];
    int at = isa > 0;
    memset(all[at], 0, sizeof all[0]);
    memset(kept[at], 0, sizeof kept[0]);
    ops->sizes(row, keep, n / 16 * 16, all[at], kept[at]);
    assert_memory_equal(all[0], all[at], sizeof all[0]);
    assert_memory_equal(kept[0], kept[at], sizeof kept[0]);
    static int64_t equal, shared[2], unique[2];
    if (isa == 0) equal = ops->equal(keys, n, 0);
    assert_int_equal(equal, ops->equal(keys, n, 0));
    shared[at] = unique[at] = 0;
    ops->shares(row, counts, 0.01f, n, &shared[at], &unique[at]);
    assert_int_equal(shared[0], shared[at]);
    assert_int_equal(unique[0], unique[at]);
}

/* exp and ln against the library's; each instruction set against ref. */
static void check_reals(const struct ig_masks_ops *ops, int isa, int64_t n)
{
    static double of[COUNT], to[COUNT], want[COUNT], sums[2][IG_MASKS_LANES];
    const double factors[2] = {0.3, 0.7};
    int at = isa > 0;
    float top = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmaxf(top, row[i]);
    memset(sums[at], 0, sizeof sums[0]);
    ops->exponentials(row, top, n, of, sums[at]);
    double total = 0, expected = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = exp((double)row[i] - (double)top);
        total += value;
        assert_true(fabs(of[i] - value) <= 4e-16 * value);
    }
    for (int l = 0; l < IG_MASKS_LANES; l++)
        expected += sums[at][l];
    assert_true(fabs(expected - total) <= 1e-12 * total);
    if (isa == 0) memcpy(want, of, sizeof want);
    assert_memory_equal(want, of, (size_t)n * sizeof *of);
    for (int64_t i = 0; i < n; i++)
        to[i] = of[n - 1 - i];
    ops->divergence(of, to, factors, 1e-8, n, sums[at]);
    for (int64_t i = 0; i < n; i++) {
        double p = want[i] * 0.3 + 1e-8, q = want[n - 1 - i] * 0.7 + 1e-8;
        assert_true(fabs(of[i] - p * log(p / q)) <= 1e-15 * p * (1 + fabs(log(p / q))));
    }
    assert_memory_equal(sums[0], sums[at], sizeof sums[0]);
    double far;
    float under = -800, none = 0;
    ops->exponentials(&under, none, 1, &far, sums[at]);
    assert_true(far == 0);
}

static void check_values(const struct ig_masks_ops *ops, int isa, int64_t n)
{
    static float want[2][COUNT];
    ops->apart(row, sum, 0.3f, n, got[0]);
    ops->choose(row, 0.01f, sum, row, n, got[1]);
    ops->value_keys(row, n, mask[1]);
    for (int64_t i = 1; i < n; i++)
        if (row[i] != row[i - 1])
            assert_true((row[i] < row[i - 1]) == (mask[1][i] < mask[1][i - 1]));
    for (int64_t i = 0; i < n; i++)
        assert_true(got[1][i] == (row[i] >= 0.01f ? row[i] : sum[i]));
    if (isa == 0) memcpy(want, got, sizeof want);
    for (int w = 0; w < 2; w++)
        assert_memory_equal(want[w], got[w], (size_t)n * sizeof(float));
}

static void every_set_has_the_same_bits(void **state)
{
    (void)state;
    for (int64_t n = 0; n <= COUNT; n += n < 70 ? 1 : 159) {
        for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
            if (!ig_isa_available((enum ig_isa)isa)) continue;
            struct ig_masks_ops ops = ops_of(isa);
            check_masks(&ops, isa, n);
            check_sums(&ops, isa, n);
            check_ranks(&ops, n);
            check_reals(&ops, isa, n);
            check_values(&ops, isa, n);
        }
    }
}

static void ref_does_what_it_says(void **state)
{
    (void)state;
    struct ig_masks_ops ops = ops_of(IG_ISA_REF);
    memset(got, 0, sizeof got);
    ops.agree(sum, row, 0.5f, COUNT, got[0], got[1]);
    ops.between(keys, COUNT, 0x3C000000u, 0x3F000000u, mask[0]);
    ops.draw(42, 3, COUNT - 3, 1u << 31, mask[1]);
    for (int i = 0; i < COUNT; i++) {
        bool part = sum[i] >= 0 ? row[i] > 0 : row[i] < 0;
        assert_true(got[0][i] == (part ? row[i] : 0));
        assert_true(got[1][i] == (part ? 0.5f : 0));
        float size = fabsf(row[i]);
        assert_int_equal(mask[0][i], size >= 0x1p-7f && size < 0.5f ? UINT32_MAX : 0);
        if (i < COUNT - 3)
            assert_int_equal(mask[1][i],
                             merge__random_at(42, (uint64_t)i + 3) < 1u << 31 ? UINT32_MAX : 0);
    }
    int64_t shared = 0, unique = 0, over[2] = {0};
    ops.shares(row, counts, 0.01f, COUNT, &shared, &unique);
    ops.average(row, counts, 0.01f, COUNT, got[0]);
    for (int i = 0; i < COUNT; i++) {
        bool has = fabsf(row[i]) > 0.01f;
        over[0] += has && counts[i] > 1;
        over[1] += has && counts[i] == 1;
        assert_true(got[0][i] == (has ? row[i] / fmaxf(counts[i], 1) : 0));
    }
    assert_int_equal(shared, over[0]);
    assert_int_equal(unique, over[1]);
    ops.shares(row, counts, -1.0f, COUNT, &shared, &unique);
    assert_int_equal(unique, over[1] + COUNT / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_has_the_same_bits),
        cmocka_unit_test(ref_does_what_it_says),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
