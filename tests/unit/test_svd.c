/* SPDX-License-Identifier: Apache-2.0
 * svd — singular values against a one-sided Jacobi, vectors by what they must be, kernels bit by
 * bit. */
#include "check.h"
#include "tensor/kernels/spectral.h"
#include "tensor/spectral/svd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 7;
static double draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53 - 0.5;
}

static void near(double got, double want, double apart)
{
    if (!(fabs(got - want) <= apart)) fail_msg("%.17g, want %.17g", got, want);
}

static int upwards(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows of a turned in pairs until all are at right angles; their lengths, the largest first. */
static void jacobi(const float *d, int64_t rows, int64_t cols, double *sigma)
{
    double *a = malloc((size_t)(rows * cols) * sizeof *a);
    for (int64_t i = 0; i < rows * cols; i++)
        a[i] = (double)d[i];
    for (int sweep = 0; sweep < 40; sweep++)
        for (int64_t p = 0; p < rows; p++)
            for (int64_t q = p + 1; q < rows; q++) {
                double pp = 0, qq = 0, pq = 0;
                for (int64_t j = 0; j < cols; j++) {
                    pp += a[p * cols + j] * a[p * cols + j];
                    qq += a[q * cols + j] * a[q * cols + j];
                    pq += a[p * cols + j] * a[q * cols + j];
                }
                if (fabs(pq) <= 1e-16 * sqrt(pp * qq) || pq == 0) continue;
                double z = (qq - pp) / (2 * pq), t = copysign(1, z) / (fabs(z) + sqrt(1 + z * z));
                double c = 1 / sqrt(1 + t * t), s = c * t;
                for (int64_t j = 0; j < cols; j++) {
                    double x = a[p * cols + j], y = a[q * cols + j];
                    a[p * cols + j] = c * x - s * y;
                    a[q * cols + j] = s * x + c * y;
                }
            }
    for (int64_t i = 0; i < rows; i++) {
        sigma[i] = 0;
        for (int64_t j = 0; j < cols; j++)
            sigma[i] += a[i * cols + j] * a[i * cols + j];
        sigma[i] = -sqrt(sigma[i]);
    }
    qsort(sigma, (size_t)rows, sizeof *sigma, upwards);
    for (int64_t i = 0; i < rows; i++)
        sigma[i] = -sigma[i];
    free(a);
}

static void check_units(const double *v, int64_t step, int64_t count, int64_t n)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += v[i * step + k] * v[j * step + k];
            near(sum, i == j ? 1 : 0, 1e-12);
        }
}

/* Vectors of unit length at right angles, D v = sigma u, signs by the rule, and what is left of D
 * is what the other singular values say (Eckart, Young). */
static void check(const float *d, int64_t rows, int64_t cols, int64_t rank, int64_t want_rank)
{
    struct ig_err err = {0};
    struct ig_svd x;
    int64_t small = rows < cols ? rows : cols;
    size_t bytes = ig_svd_bytes(rows, cols, rank);
    void *memory = aligned_alloc(64, bytes);
    memset(memory, 0x7f, bytes); /* what it holds before does not count */
    check_ok(ig_svd_find(d, rows, cols, rank, memory, &x, &err), &err);
    assert_int_equal(x.rank, want_rank);
    double *want = malloc((size_t)small * sizeof *want), rest = 0, left = 0;
    float *turned = malloc((size_t)(rows * cols) * sizeof *turned);
    for (int64_t i = 0; i < rows * cols; i++)
        turned[i % cols * rows + i / cols] = d[i];
    jacobi(rows < cols ? d : turned, small, rows < cols ? cols : rows, want);
    for (int64_t i = 0; i < small; i++)
        near(x.sigma[i], want[i], 1e-7 * want[0]);
    for (int64_t i = 0; i < x.rank; i++)
        near(x.sigma[i], want[i], 1e-13 * want[0]);
    check_units(x.left, x.left_step, x.rank, rows);
    check_units(x.right, x.right_step, x.rank, cols);
    for (int64_t i = x.rank; i < small; i++)
        rest += want[i] * want[i];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double gap = (double)d[r * cols + c];
            for (int64_t i = 0; i < x.rank; i++)
                gap -= x.sigma[i] * x.left[i * x.left_step + r] * x.right[i * x.right_step + c];
            left += gap * gap;
        }
    near(sqrt(left), sqrt(rest), 1e-12 * want[0]);
    for (int64_t i = 0; i < x.rank; i++) {
        double most = 0;
        for (int64_t c = 0; c < cols; c++)
            if (fabs(x.right[i * x.right_step + c]) > fabs(most))
                most = x.right[i * x.right_step + c];
        assert_true(most > 0);
    }
    free(want), free(turned), free(memory);
}

static float *matrix(int64_t rows, int64_t cols, int64_t rank)
{
    float *d = calloc((size_t)(rows * cols) + 1, sizeof *d);
    for (int64_t k = 0; k < rank; k++) {
        double *row = malloc((size_t)cols * sizeof *row);
        for (int64_t c = 0; c < cols; c++)
            row[c] = draw();
        for (int64_t r = 0; r < rows; r++) {
            double f = draw();
            for (int64_t c = 0; c < cols; c++)
                d[r * cols + c] += (float)(f * row[c]);
        }
        free(row);
    }
    for (int64_t i = 0; rank == 0 && i < rows * cols; i++)
        d[i] = (float)draw();
    return d;
}

static void shapes(void **unused)
{
    (void)unused;
    static const int64_t list[][3] = {{1, 1, 1},    {1, 9, 3},    {9, 1, 3},    {5, 3, 2},
                                      {8, 16, 8},   {17, 33, 17}, {40, 70, 11}, {75, 38, 38},
                                      {100, 66, 5}, {2, 300, 2},  {70, 70, 70}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int64_t small = list[i][0] < list[i][1] ? list[i][0] : list[i][1];
        float *d = matrix(list[i][0], list[i][1], 0);
        check(d, list[i][0], list[i][1], list[i][2], list[i][2] < small ? list[i][2] : small);
        free(d);
    }
}

/* Fewer vectors than asked for when there is nothing more; equal singular values; nothing at all.
 */
static void degenerate(void **unused)
{
    (void)unused;
    float *d = matrix(48, 40, 3);
    check(d, 48, 40, 12, 3);
    memset(d, 0, 48 * 40 * sizeof *d);
    check(d, 48, 40, 12, 0);
    for (int i = 0; i < 40; i++)
        d[i * 40 + (i * 7 + 3) % 40] = i % 2 ? 2.0F : -3.0F;
    check(d, 48, 40, 30, 30);
    memset(d, 0, 48 * 40 * sizeof *d);
    for (int i = 0; i < 40; i++)
        d[i * 40 + i] = i < 20 ? 1e-30F : 1e-33F;
    check(d, 40, 40, 40, 40);
    for (int i = 0; i < 40; i++)
        d[i * 40 + i] = 1e30F;
    check(d, 40, 40, 7, 7);
    free(d);
}

static void broken_numbers(void **unused)
{
    (void)unused;
    struct ig_err err = {0};
    struct ig_svd x;
    float d[12] = {1, 2, 3, 4, 5, NAN, 7, 8, 9, 10, 11, 12};
    void *memory = aligned_alloc(64, ig_svd_bytes(3, 4, 2));
    assert_false(ig_svd_find(d, 3, 4, 2, memory, &x, &err));
    assert_int_equal(err.code, IG_ERR_DATA);
    d[5] = INFINITY;
    assert_false(ig_svd_find(d, 3, 4, 2, memory, &x, &err));
    assert_int_equal(err.code, IG_ERR_DATA);
    assert_int_equal(ig_svd_bytes(INT64_MAX / 2, INT64_MAX / 2, 2), 0);
    free(memory);
}

static void kernels_are_ref_to_the_bit(void **unused)
{
    (void)unused;
    enum { N = 83, STEP = 96 };
    static double a[16 * STEP] __attribute__((aligned(64))),
        b[16 * STEP] __attribute__((aligned(64)));
    double x[N], v[4], want[16 * STEP], got[16 * STEP], sums[8] = {0};
    struct ig_spectral_ops ref, ops;
    ig_spectral_ref(&ref);
    for (int i = 0; i < 16 * STEP; i++)
        a[i] = draw(), b[i] = draw();
    for (int i = 0; i < N; i++)
        x[i] = draw();
    for (int i = 0; i < 4; i++)
        v[i] = draw();
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(spectral, &ops, (enum ig_isa)isa);
        for (int n = 0; n <= N; n += n < 20 ? 1 : 21)
            for (int rows = 1; rows <= 4; rows++) {
                memcpy(want, b, sizeof want), memcpy(got, b, sizeof got);
                ref.sweep(a, STEP, n, x, v, want, sums);
                ops.sweep(a, STEP, n, x, v, got, sums + 4);
                ref.spread(want + STEP, STEP, rows, n, v, x);
                ops.spread(got + STEP, STEP, rows, n, v, x);
                ref.combine(a, STEP, rows, n, v, want + 9 * STEP);
                ops.combine(a, STEP, rows, n, v, got + 9 * STEP);
                assert_memory_equal(want, got, sizeof want);
                assert_memory_equal(sums, sums + 4, 4 * sizeof *sums);
                ref.dots(a, STEP, rows, n, x, sums);
                assert_memory_equal(sums, sums + 4, (size_t)rows * sizeof *sums);
                ops.dots(a, STEP, rows, n, x, sums + 4);
                assert_memory_equal(sums, sums + 4, (size_t)rows * sizeof *sums);
            }
        memcpy(want, b, sizeof want), memcpy(got, b, sizeof got);
        ref.tile(a, b, N, want + 1, STEP);
        ops.tile(a, b, N, got + 1, STEP);
        assert_memory_equal(want, got, sizeof want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(degenerate),
        cmocka_unit_test(broken_numbers),
        cmocka_unit_test(kernels_are_ref_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
