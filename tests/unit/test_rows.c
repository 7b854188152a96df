/* SPDX-License-Identifier: Apache-2.0
 * rows — each instruction set gives the bits of ref, for every number of rows; ref against f64. */
#include "check.h"
#include "tensor/kernels/rows.h"

#include <math.h>
#include <stdlib.h>

#define K_TRIED 13

struct fixture {
    float *rows[IG_ROWS_MAX];
    float *want, *got;
    float c[IG_ROWS_MAX];
};

static uint64_t seed = 7;
static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)seed / 9.3e18);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    size_t bytes = IG_ROWS_BLOCK * sizeof(float);
    for (int k = 0; k < K_TRIED; k++) {
        f->rows[k] = aligned_alloc(64, bytes);
        f->c[k] = noise();
        for (int i = 0; i < IG_ROWS_BLOCK; i++)
            f->rows[k][i] = i % 11 == 0   ? -0.0f
                            : i % 13 == 0 ? 0
                                          : noise() * (float)pow(10, i % 5 - 2);
    }
    f->want = aligned_alloc(64, bytes);
    f->got = aligned_alloc(64, bytes);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (int k = 0; k < K_TRIED; k++)
        free(f->rows[k]);
    free(f->want);
    free(f->got);
    free(f);
    return 0;
}

static struct ig_rows_ops ops_of(int isa)
{
    struct ig_rows_ops ops;
    IG_OPS_FILL(rows, &ops, (enum ig_isa)isa);
    return ops;
}

static void gram_has_the_same_bits_everywhere(void **state)
{
    struct fixture *f = *state;
    const float *const *rows = (const float *const *)f->rows;
    struct ig_rows_ops ref = ops_of(IG_ISA_REF);
    static double want[IG_ROWS_PAIRS(K_TRIED)][IG_ROWS_LANES],
        got[IG_ROWS_PAIRS(K_TRIED)][IG_ROWS_LANES];
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_rows_ops ops = ops_of(isa);
        for (int k = 1; k <= K_TRIED; k++) {
            for (int64_t count = 16; count <= IG_ROWS_BLOCK; count += 336) {
                memset(want, 0, sizeof want);
                memset(got, 0, sizeof got);
                for (int turn = 0; turn < 2; turn++) {
                    ref.gram(rows, k, count, want);
                    ops.gram(rows, k, count, got);
                }
                assert_memory_equal(want, got, sizeof want);
            }
        }
    }
}

static void gram_is_the_sum_of_products(void **state)
{
    struct fixture *f = *state;
    double lanes[IG_ROWS_PAIRS(3)][IG_ROWS_LANES] = {{0}};
    ops_of(IG_ISA_REF).gram((const float *const *)f->rows, 3, IG_ROWS_BLOCK, lanes);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j <= i; j++) {
            double want = 0, got = 0, size = 0;
            for (int e = 0; e < IG_ROWS_BLOCK; e++) {
                want += (double)f->rows[i][e] * (double)f->rows[j][e];
                size += fabs((double)f->rows[i][e] * (double)f->rows[j][e]);
            }
            for (int l = 0; l < IG_ROWS_LANES; l++)
                got += lanes[IG_ROWS_PAIR(i, j)][l];
            if (fabs(got - want) > 1e-7 * size)
                fail_msg("%d %d: %.17g, want %.17g", i, j, got, want);
        }
    }
}

static void check_elementwise(struct fixture *f, const struct ig_rows_ops *ref,
                              const struct ig_rows_ops *ops, int k)
{
    const float *const *rows = (const float *const *)f->rows;
    size_t bytes = IG_ROWS_BLOCK * sizeof(float);
    ref->combine(rows, f->c, k, IG_ROWS_BLOCK, f->want);
    ops->combine(rows, f->c, k, IG_ROWS_BLOCK, f->got);
    assert_memory_equal(f->want, f->got, bytes);
    for (int midpoint = 0; midpoint < 2; midpoint++) {
        ref->median(rows, f->c, k, midpoint, IG_ROWS_BLOCK, f->want);
        ops->median(rows, f->c, k, midpoint, IG_ROWS_BLOCK, f->got);
        assert_memory_equal(f->want, f->got, bytes);
    }
    ref->residual(rows[0], f->c[1], rows[k - 1], IG_ROWS_BLOCK, f->want);
    ops->residual(rows[0], f->c[1], rows[k - 1], IG_ROWS_BLOCK, f->got);
    assert_memory_equal(f->want, f->got, bytes);
    memcpy(f->want, rows[0], bytes);
    memcpy(f->got, rows[0], bytes);
    ref->subtract(f->want, rows[k - 1], IG_ROWS_BLOCK);
    ops->subtract(f->got, rows[k - 1], IG_ROWS_BLOCK);
    assert_memory_equal(f->want, f->got, bytes);
    ref->align(f->want, rows[k - 1], IG_ROWS_BLOCK);
    ops->align(f->got, rows[k - 1], IG_ROWS_BLOCK);
    assert_memory_equal(f->want, f->got, bytes);
}

static void the_others_have_the_same_bits_everywhere(void **state)
{
    struct fixture *f = *state;
    struct ig_rows_ops ref = ops_of(IG_ISA_REF);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_rows_ops ops = ops_of(isa);
        for (int k = 1; k <= K_TRIED; k++)
            check_elementwise(f, &ref, &ops, k);
    }
}

static void nonfinite_values_are_counted_and_cleansed(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_rows_ops ops = ops_of(isa);
        _Alignas(64) float row[32] = {[0] = NAN, [5] = INFINITY, [17] = -INFINITY, [31] = -NAN};
        row[3] = 3e38f;
        row[4] = 1e-45f;
        assert_int_equal(ops.nonfinite(row, 32), 4);
        ops.cleanse(row, 32);
        assert_int_equal(ops.nonfinite(row, 32), 0);
        assert_true(row[0] == 0 && row[17] == 0 && row[3] == 3e38f && row[4] == 1e-45f);
    }
}

static void signs_follow_the_reference(void **state)
{
    (void)state;
    _Alignas(64) float ref[16] = {1, -1, 0, 1, -1, 1}, row[16] = {-2, -2, -2, 2, 2, 0};
    const float want[16] = {2, -2, -2, 2, -2, 0};
    ops_of(IG_ISA_REF).align(row, ref, 16);
    assert_memory_equal(row, want, sizeof want);
}

static void medians_of_even_counts(void **state)
{
    (void)state;
    _Alignas(64) float rows[4][16] = {{4}, {1}, {3}, {2}}, out[16];
    const float *const at[4] = {rows[0], rows[1], rows[2], rows[3]};
    const float ones[4] = {1, 1, 1, 1};
    struct ig_rows_ops ops = ops_of(IG_ISA_REF);
    ops.median(at, ones, 4, false, 16, out);
    assert_true(out[0] == 2);
    ops.median(at, ones, 4, true, 16, out);
    assert_true(out[0] == 2.5f);
    ops.median(at, ones, 3, true, 16, out);
    assert_true(out[0] == 3);
}

static void bf16_widens_at_any_place_and_count(void **state)
{
    struct fixture *f = *state;
    unsigned char raw[2 * 100 + 1];
    struct ig_rows_ops ref = ops_of(IG_ISA_REF);
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (unsigned char)(i * 37 + 11) & 0xBF; /* no exponent of all ones */
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_rows_ops ops = ops_of(isa);
        for (int64_t count = 1; count <= 100; count++) {
            for (int based = 0; based < 2; based++) {
                size_t bytes = (size_t)(count + 15) / 16 * 16 * sizeof(float);
                ref.widen(raw + 1, based ? f->rows[1] : NULL, count, f->want);
                ops.widen(raw + 1, based ? f->rows[1] : NULL, count, f->got);
                assert_memory_equal(f->want, f->got, bytes);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gram_has_the_same_bits_everywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gram_is_the_sum_of_products, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_others_have_the_same_bits_everywhere, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bf16_widens_at_any_place_and_count, set_up, tear_down),
        cmocka_unit_test(nonfinite_values_are_counted_and_cleansed),
        cmocka_unit_test(signs_follow_the_reference),
        cmocka_unit_test(medians_of_even_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
