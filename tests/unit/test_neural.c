/* SPDX-License-Identifier: Apache-2.0
 * neural — every instruction set against ref: all sizes up to a few vectors, and the values where
 * an exponential turns into 0 or infinity. */
#include "check.h"
#include "tensor/kernels/neural.h"

#include <math.h>
#include <stdlib.h>

enum { SIZE = 150 };

static uint64_t seed = 1;

static float draw(float scale)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return ((float)(seed >> 40) / (float)(1 << 23) - 1.0F) * scale;
}

static void fill(float *x, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = draw(scale);
}

static void check_near(const char *what, const float *got, const float *want, int64_t n, float size,
                       float relative)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= relative * (fabsf(want[i]) + size)))
            fail_msg("%s: %.9g at %ld, want %.9g", what, (double)got[i], (long)i, (double)want[i]);
}

static void check_all(const struct ig_neural_ops *ref, const struct ig_neural_ops *ops, int64_t n)
{
    static float a[SIZE + 1], b[SIZE + 1], got[SIZE + 1], want[SIZE + 1], rows[9 * SIZE];
    fill(a, n, 10);
    fill(b, n, 1);
    fill(rows, 9 * n, 1);
    got[n] = want[n] = 77;
    ref->rms_norm(a, b, n, 1e-6F, want);
    ops->rms_norm(a, b, n, 1e-6F, got);
    check_near("rms_norm", got, want, n + 1, 0, 1e-6F);
    ref->silu_mul(a, b, n, want);
    ops->silu_mul(a, b, n, got);
    check_near("silu_mul", got, want, n + 1, 1e-6F, 1e-6F);
    ref->dots(a, rows, n, 9, n, 0.3F, want);
    ops->dots(a, rows, n, 9, n, 0.3F, got);
    check_near("dots", got, want, 9 < n ? 9 : n, (float)n, 2e-6F);
    memcpy(want, b, sizeof want);
    memcpy(got, b, sizeof got);
    ref->mix(a, rows, n, n < 9 ? n : 9, n, want);
    ops->mix(a, rows, n, n < 9 ? n : 9, n, got);
    check_near("mix", got, want, n + 1, 90, 2e-6F);
    memcpy(want, a, sizeof want);
    memcpy(got, a, sizeof got);
    float top = ref->max(a, n);
    assert_true(ops->max(a, n) == top);
    float sum = ref->exp_sum(want, n, top);
    assert_true(fabsf(ops->exp_sum(got, n, top) - sum) <= 2e-6F * sum);
    check_near("exp", got, want, n + 1, 0, 4e-7F);
    got[n / 2] = NAN;
    assert_true(isnan(ops->max(got, n)));
    assert_true(isnan(ops->exp_sum(got, n, 0)));
}

static void each_isa(void (*check)(const struct ig_neural_ops *ref,
                                   const struct ig_neural_ops *ops))
{
    struct ig_neural_ops ref, ops;
    ig_neural_ref(&ref);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(neural, &ops, (enum ig_isa)isa);
        check(&ref, &ops);
    }
}

static void check_sizes(const struct ig_neural_ops *ref, const struct ig_neural_ops *ops)
{
    for (int64_t n = 1; n < SIZE; n++)
        check_all(ref, ops, n);
}

static void every_slot_is_ref_on_every_isa(void **state)
{
    (void)state;
    each_isa(check_sizes);
}

static void check_exp(const struct ig_neural_ops *ref, const struct ig_neural_ops *ops)
{
    (void)ref;
    for (float x = -120; x < 89; x += 0.013F) {
        float got = x;
        ops->exp_sum(&got, 1, 0);
        double want = exp((double)x);
        if (want < 1.7e-38) /* the smallest numbers may be flushed */
            assert_true(got >= 0 && (double)got <= want * 1.001 + 1e-45);
        else if (x < 88.3F)
            assert_true(fabs((double)got / want - 1) < 3e-7);
        else
            assert_true((double)got > want * 0.999);
    }
    float ends[4] = {-INFINITY, INFINITY, -1e30F, 1e30F};
    ops->exp_sum(ends, 4, 0);
    assert_true(ends[0] == 0 && ends[1] > 1e38F && ends[2] == 0 && ends[3] > 1e38F);
    float one = 0;
    ops->exp_sum(&one, 1, 0);
    assert_true(one == 1.0F); /* a block without a new maximum changes nothing */
}

static void exponentials_are_right_at_the_ends(void **state)
{
    (void)state;
    each_isa(check_exp);
}

static void check_softmax(const struct ig_neural_ops *ref, const struct ig_neural_ops *ops)
{
    enum { LANES = 48, KEYS = 37, BLOCKS = 3 };
    _Alignas(64) static float a[KEYS * LANES], b[KEYS * LANES];
    float stats[2][3][LANES];
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 2; i++) {
            stats[i][0][l] = -INFINITY;
            stats[i][1][l] = 0;
        }
    for (int block = 0; block < BLOCKS; block++) {
        int32_t last[LANES];
        for (int l = 0; l < LANES; l++)
            last[l] = l * 2 - block * KEYS;
        fill(a, KEYS * LANES, 30);
        memcpy(b, a, sizeof b);
        for (int i = 0; i < 2; i++) {
            const struct ig_neural_ops *o = i ? ops : ref;
            o->softmax_lanes(&(struct ig_softmax){i ? b : a, KEYS, LANES, LANES, last, 0.25F,
                                                  stats[i][0], stats[i][1], stats[i][2]});
        }
        check_near("softmax", b, a, KEYS * LANES, 1e-6F, 2e-6F);
        for (int i = 0; i < 3; i++)
            check_near("stats", stats[1][i], stats[0][i], LANES, 0, 2e-6F);
        for (int k = 0; k < KEYS; k++)
            for (int l = 0; l < LANES; l++)
                if (k > last[l]) assert_true(b[k * LANES + l] == 0);
    }
}

static void softmax_goes_from_block_to_block(void **state)
{
    (void)state;
    each_isa(check_softmax);
}

/* To the bit: no instruction set sums values with each other. */
static void check_delta(const struct ig_neural_ops *ref, const struct ig_neural_ops *ops)
{
    enum { KEYS = 24, VALUES = 37 };
    float state[2][KEYS * VALUES], q[KEYS], k[KEYS], v[VALUES], out[2][VALUES], scratch[VALUES];
    fill(state[0], KEYS * VALUES, 2);
    memcpy(state[1], state[0], sizeof state[0]);
    for (int step = 0; step < 3; step++) {
        fill(q, KEYS, 1);
        fill(k, KEYS, 1);
        fill(v, VALUES, 3);
        for (int i = 0; i < 2; i++)
            (i ? ops : ref)
                ->delta(&(struct ig_delta){state[i], KEYS, VALUES, q, k, v, 0.75F, 0.25F, scratch,
                                           out[i]});
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_memory_equal(state[0], state[1], sizeof state[0]);
    }
    /* What was written at k is read at k: decay 1, beta 1, k of length 1. */
    memset(k, 0, sizeof k);
    k[3] = 1;
    ops->delta(&(struct ig_delta){state[0], KEYS, VALUES, k, k, v, 1, 1, scratch, out[0]});
    check_near("delta", out[0], v, VALUES, 0, 1e-6F);
}

static void delta_is_the_same_everywhere(void **state)
{
    (void)state;
    each_isa(check_delta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_is_ref_on_every_isa),
        cmocka_unit_test(exponentials_are_right_at_the_ends),
        cmocka_unit_test(softmax_goes_from_block_to_block),
        cmocka_unit_test(delta_is_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
