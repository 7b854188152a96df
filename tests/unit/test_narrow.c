/* SPDX-License-Identifier: Apache-2.0
 * narrow — what the machine has of narrow arithmetic against ref: all packings, odd shapes, weights
 * that are unaligned or end at a page that must not be touched; and ref against f32. */
#include "weights.h"

#include "tensor/kernels/narrow.h"

#include <math.h>
#include <stdio.h>

enum { COLS_MAX = 640, ROWS_MAX = 15 };

struct results {
    float y[ROWS_MAX * IG_NARROW_FEATURES];
};

static void *bytes_of(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xA5, bytes);
    return p;
}

static void multiply(const struct ig_narrow_ops *ops, enum ig_narrow kind,
                     const struct ig_matrix *w, const float *x, int rows, struct results *out)
{
    size_t each = ig_narrow_x_bytes(w->cols);
    unsigned char *xs = bytes_of(3 * each), *ws = bytes_of(ig_narrow_w_bytes(w->cols));
    for (size_t i = 0; i < sizeof out->y / sizeof *out->y; i++)
        out->y[i] = 77.0F;
    for (int r = 0, t = 0; r < rows; r += IG_NARROW_ROWS, t++) {
        int some = rows - r < IG_NARROW_ROWS ? rows - r : IG_NARROW_ROWS;
        ops->pack_x(kind, w->group, x + r * w->cols, w->cols, some, xs + (size_t)t * each);
    }
    ops->pack_w(kind, w, 0, w->rows, ws);
    ops->tile(&(struct ig_narrow_tile){kind, xs, ws, out->y, w->cols, IG_NARROW_FEATURES, w->group,
                                       rows, (int)w->rows, ig_narrow_bits(w)});
    free(xs), free(ws);
}

/* The sum of |w x| of one result, and the result in f64. */
static double exact(const struct ig_matrix *w, const float *x, int64_t n, double *size)
{
    struct ig_matmul_ops ops;
    float row[COLS_MAX];
    double sum = 0;
    ig_matmul_ref(&ops);
    ops.unpack(w, n, 0, w->cols, row);
    *size = 0;
    for (int64_t c = 0; c < w->cols; c++) {
        sum += (double)row[c] * (double)x[c];
        *size += fabs((double)row[c] * (double)x[c]);
    }
    return sum;
}

/* INT8 agrees to the bit, BF16 up to the rounding of sums; what lies outside stays. */
static void check_tile(const struct ig_narrow_ops *ops, enum ig_narrow kind,
                       const struct ig_matrix *w, const float *x, int rows, const char *what)
{
    struct ig_narrow_ops ref;
    struct results want, got;
    ig_narrow_ref(&ref);
    multiply(&ref, kind, w, x, rows, &want);
    multiply(ops, kind, w, x, rows, &got);
    for (int i = 0; i < ROWS_MAX * IG_NARROW_FEATURES; i++) {
        int r = i / IG_NARROW_FEATURES, n = i % IG_NARROW_FEATURES;
        double size = 0, slack = 0, true_sum = 0;
        bool used = r < rows && n < w->rows;
        if (used) true_sum = exact(w, x + r * w->cols, n, &size);
        if (used && kind == IG_NARROW_BF16)
            slack = 2e-6 * size + 1e-37; /* vdpbf16ps takes subnormals as zeros */
        if (!(fabs((double)got.y[i] - (double)want.y[i]) <= slack))
            fail_msg("%s: %ld x %ld, row %d of %d, feature %d: %.9g, want %.9g", what,
                     (long)w->rows, (long)w->cols, r, rows, n, (double)got.y[i], (double)want.y[i]);
        /* Half a step of bf16 is 2^-9 of x; of int8, 1 / 254 of the group's largest. */
        if (used && !(fabs((double)want.y[i] - true_sum) <= 0.02 * size + 1e-6))
            fail_msg("%s: ref gives %.9g, in f64 it is %.9g", what, (double)want.y[i], true_sum);
    }
}

static void check_matvec(const struct ig_narrow_ops *ops, const struct ig_matrix *w, const float *x,
                         const char *what)
{
    struct ig_narrow_ops ref;
    float want[IG_NARROW_FEATURES], got[IG_NARROW_FEATURES + 1];
    void *operand = bytes_of(4 * (size_t)ig_matmul_operand_floats(w->cols));
    ig_narrow_ref(&ref);
    ref.prepare(w, x, operand);
    ref.matvec(w, operand, 0, w->rows, want);
    memset(operand, 0xA5, 4 * (size_t)ig_matmul_operand_floats(w->cols));
    ops->prepare(w, x, operand);
    got[w->rows] = 77.0F;
    ops->matvec(w, operand, 0, 1, got);
    ops->matvec(w, operand, 1, w->rows - 1, got + 1);
    assert_true(got[w->rows] == 77.0F);
    for (int64_t n = 0; n < w->rows; n++) {
        double size;
        exact(w, x, n, &size);
        /* s q x and b x, which are summed apart, nearly cancel */
        double slack = 1.5e-6 * size * (w->packing == IG_PACK_AFFINE ? 8 : 2);
        if (!(fabs((double)got[n] - (double)want[n]) <= slack))
            fail_msg("%s: matvec, %ld columns, row %ld: %.9g, want %.9g", what, (long)w->cols,
                     (long)n, (double)got[n], (double)want[n]);
    }
    free(operand);
}

static void check_format(const struct ig_narrow_ops *ops, const struct format *f, int rows)
{
    static const int64_t features[] = {64, 1 + 1, 33, 47, 16};
    static const int64_t cols[] = {640, 64, 128, 384, 192};
    for (int i = 0; i < 5; i++) {
        struct weights w;
        if (cols[i] % (f->group > 1 ? f->group : 1)) continue;
        weights_init(&w, f, features[i], cols[i]);
        float *x = floats(rows * cols[i]);
        for (int c = 0; c < 64; c++) /* a group of zeros, and one that is too small */
            x[c] = c < 32 ? 0.0F : x[c] * 1e-36F;
        for (int twice = 0; twice < 2; twice++) {
            bool bytes = ops->int8 && ig_narrow_can(&w.m, IG_NARROW_INT8);
            if (ops->bf16 && ig_narrow_can(&w.m, IG_NARROW_BF16))
                check_tile(ops, IG_NARROW_BF16, &w.m, x, rows, f->name);
            if (bytes) check_tile(ops, IG_NARROW_INT8, &w.m, x, rows, f->name);
            if (bytes) check_matvec(ops, &w.m, x, f->name);
            weights_misalign(&w);
        }
        free(x);
        weights_release(&w);
    }
}

static void every_packing_is_ref(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        struct ig_narrow_ops ops;
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        ig_narrow_fill(&ops, (enum ig_isa)isa);
        for (size_t f = 0; f < FORMATS; f++)
            check_format(&ops, &formats[f], 1 + (int)(f * 4 % ROWS_MAX));
    }
}

/* Every product at its largest, all of one sign and of both: sums must not overflow on the way. */
static void check_largest(const struct ig_narrow_ops *ops, const struct format *f)
{
    static const unsigned char codes[] = {0x00, 0xFF, 0x77};
    enum { ROWS = 4, COLS = 256 };
    float x[ROWS * COLS];
    for (int c = 0; c < COLS; c++) {
        x[c] = 3.0F;
        x[COLS + c] = -3.0F;
        x[2 * COLS + c] = c % 2 ? 3.0F : -3.0F;
        x[3 * COLS + c] = c / 2 % 2 ? 3.0F : -3.0F;
    }
    for (size_t i = 0; i < sizeof codes; i++) {
        struct weights w;
        if (f->packing == IG_PACK_FP4 && !codes[i]) continue; /* nothing to compare errors with */
        weights_init(&w, f, 16, COLS);
        memset(w.data.data, codes[i], w.data.bytes);
        if (ops->int8 && ig_narrow_can(&w.m, IG_NARROW_INT8)) {
            check_tile(ops, IG_NARROW_INT8, &w.m, x, ROWS, f->name);
            for (int r = 0; r < ROWS; r++)
                check_matvec(ops, &w.m, x + r * COLS, f->name);
        }
        weights_release(&w);
    }
}

static void largest_products_fit(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        struct ig_narrow_ops ops;
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        ig_narrow_fill(&ops, (enum ig_isa)isa);
        for (size_t f = 0; f < FORMATS; f++)
            check_largest(&ops, &formats[f]);
    }
}

static void check_broken(const struct ig_narrow_ops *ops, enum ig_narrow kind, size_t f)
{
    static const float broken[] = {NAN, -NAN, INFINITY};
    struct weights w;
    struct results got;
    weights_init(&w, &formats[f], 64, 128);
    float *x = floats(2 * 128);
    x[128 + f] = broken[f % 3];
    if (ig_narrow_can(&w.m, kind)) {
        multiply(ops, kind, &w.m, x, 2, &got);
        for (int n = 0; n < 64; n++)
            assert_true(isfinite(got.y[n]) && !isfinite(got.y[64 + n]));
    }
    free(x);
    weights_release(&w);
}

static void broken_numbers_stay_broken(void **state)
{
    (void)state;
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        struct ig_narrow_ops ops;
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        ig_narrow_fill(&ops, (enum ig_isa)isa);
        for (size_t f = 0; f < FORMATS; f++) {
            if (ops.bf16) check_broken(&ops, IG_NARROW_BF16, f);
            if (ops.int8) check_broken(&ops, IG_NARROW_INT8, f);
        }
    }
}

static void processors_take_what_they_have(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum ig_isa isa;
        struct ig_narrow_cpu cpu; /* AVX-VNNI; AVX-512's VNNI, VBMI, BF16 */
        enum ig_narrow_set want;
    } parts[] = {
        {"Nehalem", IG_ISA_REF, {false, false, false, false}, IG_NARROW_SET_NONE},
        {"Haswell, Zen 3", IG_ISA_AVX2, {false, false, false, false}, IG_NARROW_AVX2},
        {"Alder Lake", IG_ISA_AVXVNNI, {true, false, false, false}, IG_NARROW_AVXVNNI},
        {"Skylake-SP", IG_ISA_AVX512, {false, false, false, false}, IG_NARROW_AVX2},
        {"Cannon Lake", IG_ISA_AVX512, {false, false, true, false}, IG_NARROW_AVX2},
        {"Cascade Lake", IG_ISA_AVX512, {false, true, false, false}, IG_NARROW_VNNI},
        {"Cooper Lake", IG_ISA_AVX512, {false, true, false, true}, IG_NARROW_VNNI},
        {"Ice Lake", IG_ISA_AVX512, {false, true, true, false}, IG_NARROW_VBMI},
        {"Zen 4", IG_ISA_AVX512, {false, true, true, true}, IG_NARROW_VBMI},
        {"Zen 5", IG_ISA_AVX512, {true, true, true, true}, IG_NARROW_VBMI},
        {"Zen 5, IG_KERNELS=avx512vnni",
         IG_ISA_AVX512VNNI,
         {true, true, true, true},
         IG_NARROW_VNNI},
        {"Zen 5, IG_KERNELS=avxvnni", IG_ISA_AVXVNNI, {true, true, true, true}, IG_NARROW_AVXVNNI},
        {"Zen 5, IG_KERNELS=avx2", IG_ISA_AVX2, {true, true, true, true}, IG_NARROW_AVX2},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (ig_narrow_choose(parts[i].isa, parts[i].cpu) != parts[i].want)
            fail_msg("%s takes other kernels", parts[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_packing_is_ref),
        cmocka_unit_test(largest_products_fit),
        cmocka_unit_test(processors_take_what_they_have),
        cmocka_unit_test(broken_numbers_stay_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
