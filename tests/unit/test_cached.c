/* SPDX-License-Identifier: Apache-2.0
 * cached — stored keys and values: as close as their codes allow, and every instruction set against
 * ref, on rows that end where memory ends. */
#include "check.h"
#include "tensor/kernels/cached.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROWS = 37, DIM_MAX = 256 };

static uint64_t seed = 1;

static float draw(float scale)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return ((float)(seed >> 40) / (float)(1 << 23) - 1.0F) * scale;
}

static const struct ig_cached kinds[] = {
    {16, 0, 16}, {16, 0, 48},  {16, 0, 128},  {8, 32, 32},   {8, 64, 128}, {8, 32, 96},
    {4, 32, 32}, {4, 64, 128}, {4, 128, 256}, {8, 128, 128}, {4, 32, 160}, {8, 64, 64},
};

/* Memory that ends at a page which must not be touched. */
static uint8_t *guarded(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    uint8_t *at =
        mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    assert_int_equal(mprotect(at + whole, page, PROT_NONE), 0);
    return at + whole - bytes;
}

static void guarded_free(uint8_t *at, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    munmap(at + bytes - whole, whole + page);
}

static void store_rows(const struct ig_cached *as, enum ig_isa isa, const float *x, uint8_t *rows)
{
    struct ig_convert_ops convert;
    struct ig_quantize_ops quantize;
    IG_OPS_FILL(convert, &convert, isa);
    IG_OPS_FILL(quantize, &quantize, isa);
    for (int i = 0; i < ROWS; i++)
        ig_cached_store(as, &convert, &quantize, x + i * as->dim,
                        rows + (size_t)i * ig_cached_row_bytes(as));
}

/* Half a step of the group's grid, or half a unit of f16's last place. */
static void check_stored(const struct ig_cached *as, const float *x, const float *got)
{
    for (int64_t at = 0, group; at < ROWS * as->dim; at += group) {
        group = as->bits == IG_CACHED_F16 ? 1 : as->group;
        float lo = INFINITY, hi = -INFINITY;
        for (int64_t j = at; j < at + group; j++) {
            lo = fminf(lo, x[j]);
            hi = fmaxf(hi, x[j]);
        }
        /* a grid that starts at one end and holds 0 may miss the other end by half a step */
        float step = as->bits == IG_CACHED_F16 ? fabsf(x[at]) / 1024
                                               : (hi - lo) / (float)((1 << as->bits) - 2);
        for (int64_t j = at; j < at + group; j++)
            if (!(fabsf(got[j] - x[j]) <= step * 1.01F + 1e-7F))
                fail_msg("%d bits, group %d: %.7g for %.7g, step %.3g", as->bits, as->group,
                         (double)got[j], (double)x[j], (double)step);
    }
}

static void check_near(const char *what, const float *got, const float *want, int64_t n,
                       const float *size)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 2e-6F * size[i]))
            fail_msg("%s: %.9g at %ld, want %.9g", what, (double)got[i], (long)i, (double)want[i]);
}

static void check_kind(const struct ig_cached *as)
{
    static float x[ROWS * DIM_MAX], want[ROWS * DIM_MAX], got[ROWS * DIM_MAX], size[DIM_MAX];
    float q[DIM_MAX], p[ROWS], mixed[2][DIM_MAX], scores[2][ROWS];
    struct ig_cached_ops ref, ops;
    size_t bytes = ROWS * ig_cached_row_bytes(as);
    uint8_t *rows = guarded(bytes), *other = guarded(bytes);
    ig_cached_ref(&ref);
    for (int i = 0; i < ROWS * as->dim; i++)
        x[i] = draw(3) + 1;
    for (int i = 0; i < as->dim; i++)
        q[i] = draw(1);
    for (int i = 0; i < ROWS; i++)
        p[i] = fabsf(draw(1));
    store_rows(as, IG_ISA_REF, x, rows);
    ref.load(as, rows, ROWS, want);
    check_stored(as, x, want);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(cached, &ops, (enum ig_isa)isa);
        store_rows(as, (enum ig_isa)isa, x, other);
        assert_memory_equal(other, rows, bytes);
        ops.load(as, rows, ROWS, got);
        for (int i = 0; i < DIM_MAX; i++)
            size[i] = 64;
        for (int i = 0; i < ROWS; i++)
            check_near("load", got + i * as->dim, want + i * as->dim, as->dim, size);
        for (int i = 0; i < DIM_MAX; i++)
            size[i] = 8 * (float)(i < ROWS ? as->dim : 0);
        ref.dots(as, q, rows, ROWS, 0.3F, scores[0]);
        ops.dots(as, q, rows, ROWS, 0.3F, scores[1]);
        check_near("dots", scores[1], scores[0], ROWS, size);
        for (int i = 0; i < DIM_MAX; i++) {
            size[i] = 8 * ROWS;
            mixed[0][i] = mixed[1][i] = (float)i;
        }
        ref.mix(as, p, rows, ROWS, mixed[0]);
        ops.mix(as, p, rows, ROWS, mixed[1]);
        check_near("mix", mixed[1], mixed[0], as->dim, size);
    }
    guarded_free(rows, bytes);
    guarded_free(other, bytes);
}

static void every_kind_on_every_isa(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        check_kind(&kinds[k]);
}

static void extremes_stay_finite(void **state)
{
    (void)state;
    struct ig_convert_ops convert;
    struct ig_quantize_ops quantize;
    struct ig_cached_ops ops;
    const float x[32] = {1e30F, -1e30F, 65504, -65504, 1e-30F, 0};
    float got[32];
    _Alignas(4) uint8_t row[64];
    ig_convert_ref(&convert);
    ig_quantize_ref(&quantize);
    ig_cached_ref(&ops);
    for (int bits = 4; bits <= 16; bits *= 2) {
        struct ig_cached as = {bits, 32, 32};
        ig_cached_store(&as, &convert, &quantize, x, row);
        ops.load(&as, row, 1, got);
        for (int i = 0; i < 32; i++)
            assert_true(isfinite(got[i]));
        assert_true(got[0] > 6e4F && got[1] < -6e4F);
    }
    const float zeros[32] = {0};
    struct ig_cached as = {8, 32, 32};
    ig_cached_store(&as, &convert, &quantize, zeros, row);
    ops.load(&as, row, 1, got);
    assert_memory_equal(got, zeros, sizeof zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_on_every_isa),
        cmocka_unit_test(extremes_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
