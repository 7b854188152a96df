/* SPDX-License-Identifier: Apache-2.0
 * convert — every 16-bit value, f32 at and around every rounding border, each instruction set
 * against ref; the scalar truth against the compiler's own _Float16 and against exact search for
 * f8. */
#include "check.h"
#include "tensor/kernels/scalar.h"

#include <stdio.h>
#include <stdlib.h>

#define EVERY 65536

static struct ig_convert_ops ops_of(enum ig_isa isa)
{
    struct ig_convert_ops ops;
    IG_OPS_FILL(convert, &ops, isa);
    return ops;
}

static void small_types_widen_the_same_everywhere(void **state)
{
    (void)state;
    static unsigned char raw[2 * EVERY + 1];
    static float want[EVERY], got[EVERY];
    for (int i = 0; i < EVERY; i++)
        ig_store_u16(raw + 1 + 2 * i, (uint16_t)i); /* from an odd address */
    struct ig_convert_ops ref = ops_of(IG_ISA_REF);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        struct ig_convert_ops ops = ops_of((enum ig_isa)isa);
        for (int64_t count = EVERY - 17; count <= EVERY; count++) {
            ref.bf16_to_f32(raw + 1, want, count);
            ops.bf16_to_f32(raw + 1, got, count);
            assert_memory_equal(want, got, (size_t)count * sizeof *want);
            ref.f16_to_f32(raw + 1, want, count);
            ops.f16_to_f32(raw + 1, got, count);
            assert_memory_equal(want, got, (size_t)count * sizeof *want);
        }
    }
}

/* Values just below, at and above every midpoint between neighbours of the 16-bit type, plus noise.
 */
static void fill_borders(float *values, int count, bool half)
{
    uint64_t seed = 1;
    for (int i = 0; i < count; i++) {
        uint16_t bits = (uint16_t)(i / 4);
        float low = half ? ig_f16_value(bits) : ig_bf16_value(bits);
        uint32_t step = half && (bits & 0x7C00) ? 0x1000 : 0x8000;
        uint32_t near = ig_f32_bits(low) + step + (uint32_t)(i % 4) - 1;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = ig_f32_of_bits(i % 4 == 3 ? (uint32_t)(seed >> 32) : near);
    }
}

static void narrowing_is_the_same_everywhere(void **state)
{
    (void)state;
    enum { COUNT = 4 * EVERY };
    float *values = malloc(COUNT * sizeof *values);
    uint16_t *want = malloc(COUNT * 2), *got = malloc(COUNT * 2);
    for (int half = 0; half < 2; half++) {
        fill_borders(values, COUNT, half);
        for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
            if (!ig_isa_available((enum ig_isa)isa)) continue;
            struct ig_convert_ops ref = ops_of(IG_ISA_REF), ops = ops_of((enum ig_isa)isa);
            for (int64_t count = COUNT - 5; count <= COUNT; count++) {
                (half ? ref.f32_to_f16 : ref.f32_to_bf16)(values, want, count);
                (half ? ops.f32_to_f16 : ops.f32_to_bf16)(values, got, count);
                assert_memory_equal(want, got, (size_t)count * 2);
            }
        }
    }
    free(values);
    free(want);
    free(got);
}

/* The nearest of all 256 values, ties to the even code: by search, so not by the code under test.
 */
static uint8_t nearest_f8(float value, bool e4m3)
{
    int best = -1;
    double best_gap = 0;
    for (int i = 0; i < 128; i++) {
        float v = e4m3 ? ig_f8_e4m3_value((uint8_t)i) : ig_f8_e5m2_value((uint8_t)i);
        if (!isfinite(v)) continue;
        double gap = fabs((double)fabsf(value) - (double)v);
        if (best < 0 || gap < best_gap || (gap == best_gap && i % 2 == 0)) {
            best = i;
            best_gap = gap;
        }
    }
    return (uint8_t)(best | (signbit(value) ? 0x80 : 0));
}

static void f8_rounds_to_the_nearest(void **state)
{
    (void)state;
    struct ig_convert_ops ops = ops_of(IG_ISA_REF);
    for (int e4m3 = 0; e4m3 < 2; e4m3++) {
        enum ig_dtype dtype = e4m3 ? IG_F8_E4M3 : IG_F8_E5M2;
        float limit = e4m3 ? 464.0f : 61440.0f;
        for (uint32_t bits = 0; bits < 0xFF000000u; bits += 40503) {
            float value = ig_f32_of_bits(bits);
            if (!(fabsf(value) < limit)) continue;
            uint8_t got;
            ig_convert_from_f32(&ops, dtype, &value, &got, 1);
            uint8_t want = nearest_f8(value, e4m3);
            if (got != want) fail_msg("%a: got %02x, want %02x", (double)value, got, want);
        }
        for (int i = 0; i < 256; i++) {
            uint8_t byte = (uint8_t)i, back;
            float value;
            ig_convert_to_f32(&ops, dtype, &byte, &value, 1);
            if (isnan(value)) continue;
            ig_convert_from_f32(&ops, dtype, &value, &back, 1);
            assert_int_equal(back, byte);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_types_widen_the_same_everywhere),
        cmocka_unit_test(narrowing_is_the_same_everywhere),
        cmocka_unit_test(f8_rounds_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
