/* SPDX-License-Identifier: Apache-2.0
 * gemm — each instruction set gives the bits of ref, at every depth; what is outside a tile stays.
 */
#include "check.h"
#include "tensor/kernels/gemm.h"

enum { DEPTH = 37, STEP = IG_GEMM_COLS + 5 };

static uint64_t seed = 3;
static float noise(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(seed >> 32) / (float)(1 << 24);
}

static void tiles_have_the_same_bits_everywhere(void **state)
{
    (void)state;
    static _Alignas(64) float a[DEPTH * IG_GEMM_ROWS], b[DEPTH * IG_GEMM_COLS];
    static float start[IG_GEMM_ROWS * STEP + 1], want[IG_GEMM_ROWS * STEP + 1],
        got[IG_GEMM_ROWS * STEP + 1];
    struct ig_gemm_ops ref, ops;
    ig_gemm_ref(&ref);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = noise();
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = noise();
    for (size_t i = 0; i < sizeof start / sizeof *start; i++)
        start[i] = noise();
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(gemm, &ops, (enum ig_isa)isa);
        for (int64_t inner = 0; inner <= DEPTH; inner++) {
            memcpy(want, start, sizeof start);
            memcpy(got, start, sizeof start);
            ref.tile(a, b, inner, want + 1, STEP);
            ops.tile(a, b, inner, got + 1, STEP);
            assert_memory_equal(want, got, sizeof want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_have_the_same_bits_everywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
