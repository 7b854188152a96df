/* SPDX-License-Identifier: Apache-2.0
 * matmul — every packing on every instruction set against ref: odd sizes, unaligned weights, and
 * the last row ending at a page that must not be touched. */
#include "weights.h"

#include <math.h>
#include <stdio.h>

/* Rounding only: packed sums are of codes times x, whose magnitude is a few times that of w x. */
#define TOLERANCE 1.5e-6

static void check_matvec(const struct ig_matmul_ops *ref, const struct ig_matmul_ops *ops,
                         const struct weights *w, const char *what)
{
    int64_t rows = w->m.rows, cols = w->m.cols;
    float *x = floats(cols), *row = floats(cols), *want = floats(rows), *got = floats(rows);
    float *operand = floats(ig_matmul_operand_floats(cols));
    ref->prepare(&w->m, x, operand);
    ref->matvec(&w->m, operand, 0, rows, want);
    ops->prepare(&w->m, x, operand);
    ops->matvec(&w->m, operand, 0, 1, got);
    ops->matvec(&w->m, operand, 1, rows - 1, got + 1);
    for (int64_t r = 0; r < rows; r++) {
        double size = 0;
        ref->unpack(&w->m, r, 0, cols, row);
        for (int64_t c = 0; c < cols; c++)
            size += fabs((double)row[c] * (double)x[c]);
        if (!(fabs((double)want[r] - (double)got[r]) <= TOLERANCE * size))
            fail_msg("%s: %ld x %ld, row %ld: %.9g, want %.9g", what, (long)rows, (long)cols,
                     (long)r, (double)got[r], (double)want[r]);
    }
    free(x), free(row), free(want), free(got), free(operand);
}

static void check_unpack(const struct ig_matmul_ops *ref, const struct ig_matmul_ops *ops,
                         const struct weights *w, const char *what)
{
    int64_t cols = w->m.cols;
    float *want = floats(cols), *got = floats(cols + 1);
    for (int64_t r = 0; r < w->m.rows; r++)
        for (int64_t first = 0; first < cols; first += 128) {
            int64_t count = cols - first;
            if (first == 0 && count > 128) count = 128;
            got[count] = 77.0F;
            ref->unpack(&w->m, r, first, count, want);
            ops->unpack(&w->m, r, first, count, got);
            assert_true(got[count] == 77.0F);
            for (int64_t c = 0; c < count; c++)
                if (!(fabsf(got[c] - want[c]) <= 1e-6F * fabsf(want[c]) + 1e-7F))
                    fail_msg("%s: row %ld, column %ld: %.9g, want %.9g", what, (long)r,
                             (long)(first + c), (double)got[c], (double)want[c]);
        }
    free(want), free(got);
}

static void each_isa(void (*check)(const struct ig_matmul_ops *ref, const struct ig_matmul_ops *ops,
                                   const struct weights *w, const char *what))
{
    struct ig_matmul_ops ref, ops;
    ig_matmul_ref(&ref);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(matmul, &ops, (enum ig_isa)isa);
        for (size_t f = 0; f < FORMATS; f++) {
            static const int64_t cols[] = {1, 3, 5, 8, 33, 64};
            for (int i = 0; i < 6; i++) {
                char what[64];
                snprintf(what, sizeof what, "%s on %s", formats[f].name,
                         ig_isa_name((enum ig_isa)isa));
                int64_t wide = cols[i] * formats[f].group;
                if (formats[f].packing < IG_PACK_AFFINE) wide = cols[i] * cols[i];
                struct weights w;
                weights_init(&w, &formats[f], 3, wide);
                check(&ref, &ops, &w, what);
                weights_misalign(&w);
                check(&ref, &ops, &w, what);
                weights_release(&w);
            }
        }
    }
}

static void matvec_is_ref_on_every_isa(void **state)
{
    (void)state;
    each_isa(check_matvec);
}

static void unpack_is_ref_on_every_isa(void **state)
{
    (void)state;
    each_isa(check_unpack);
}

/* One tile of n rows of weights, `lanes` of the lanes in use, against sums taken one by one. */
static void check_tile(const struct ig_matmul_ops *ops, int n, int lanes)
{
    int64_t depth = 1 + draw() % 70, step = ops->lanes;
    float *x = floats(depth * step), *w = floats(n * (depth + 3)), *y = floats(n * step);
    float *old = floats(n * step);
    memcpy(old, y, (size_t)(n * step) * sizeof *y);
    bool add = n % 2;
    int64_t row = add ? depth + 3 : 1, col = add ? 1 : n; /* w as rows, or as columns */
    ops->tile(&(struct ig_tile){x, w, y, row, col, depth, ops->lanes, lanes, n, add});
    for (int i = 0; i < n; i++) {
        for (int l = 0; l < ops->lanes; l++) {
            float sum = add ? old[i * step + l] : 0.0F;
            for (int64_t k = 0; k < depth; k++)
                sum = fmaf(x[k * step + l], w[i * row + k * col], sum);
            if (l >= lanes) sum = old[i * step + l];
            assert_true(sum == y[i * step + l]);
        }
    }
    free(x), free(w), free(y), free(old);
}

static void tile_sums_in_order(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_matmul_ops ops;
        IG_OPS_FILL(matmul, &ops, (enum ig_isa)isa);
        for (int lanes = 16; lanes <= ops.lanes; lanes += 16)
            for (int n = 1; n <= 19; n += 3)
                check_tile(&ops, n, lanes);
    }
}

static void transpose_moves_every_element(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_matmul_ops ops;
        IG_OPS_FILL(matmul, &ops, (enum ig_isa)isa);
        for (int rows = 1; rows < 70; rows += 5)
            for (int cols = 1; cols < 70; cols += 3) {
                float *in = floats(rows * 71), *out = floats(cols * 73);
                ops.transpose(in, 71, rows, cols, out, 73);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < cols; c++)
                        assert_true(out[c * 73 + r] == in[r * 71 + c]);
                free(in), free(out);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matvec_is_ref_on_every_isa),
        cmocka_unit_test(unpack_is_ref_on_every_isa),
        cmocka_unit_test(tile_sums_in_order),
        cmocka_unit_test(transpose_moves_every_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
