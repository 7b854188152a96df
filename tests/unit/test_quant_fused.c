/* SPDX-License-Identifier: Apache-2.0
 * quant_fused — stacks of experts out of a folder's fused tensors: every element from its place,
 * however the stack is cut, for both forms and all sizes of elements; and what is no such tensor.
 * That mlx-lm makes the same of them: tools/golden/logits_families.py, qwen3_vl_moe. */
#include "check.h"
#include "quant/quant_internal.h"

#include <stdlib.h>

enum { EXPERTS = 3, ROWS = 5, COLS = 7, STACK = EXPERTS * ROWS * COLS };

/* Element (e, r, c) of part `part` of two: where it is in the file. */
static int64_t place(bool turned, int part, int64_t e, int64_t r, int64_t c)
{
    int64_t in_expert = turned ? (part * ROWS + r) * COLS + c : c * 2 * ROWS + part * ROWS + r;
    return e * 2 * ROWS * COLS + in_expert;
}

static void check_reads(size_t size, bool turned, int part)
{
    unsigned char map[2 * STACK * 8], want[STACK * 8], got[STACK * 8 + 1];
    for (size_t i = 0; i < sizeof map; i++)
        map[i] = (unsigned char)(i * 37 + i / 251);
    const struct quant_fused f = {.map = map,
                                  .size = size,
                                  .rows = ROWS,
                                  .cols = COLS,
                                  .row_step = turned ? COLS : 1,
                                  .col_step = turned ? 1 : 2 * ROWS,
                                  .expert_step = 2 * ROWS * COLS,
                                  .first = part * ROWS * (turned ? COLS : 1)};
    for (int64_t i = 0; i < STACK; i++)
        memcpy(want + (size_t)i * size,
               map +
                   (size_t)place(turned, part, i / (ROWS * COLS), i / COLS % ROWS, i % COLS) * size,
               size);
    for (int64_t first = 0; first < STACK; first++)
        for (int64_t elems = 1; elems <= STACK - first; elems += 1 + elems / 5) {
            size_t bytes = (size_t)elems * size;
            got[bytes] = 0x5A;
            quant__fused_read(&f, first, elems, got);
            assert_memory_equal(got, want + (size_t)first * size, bytes);
            assert_int_equal(got[bytes], 0x5A);
        }
}

static void every_element_comes_from_its_place(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 4, 8};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int turned = 0; turned < 2; turned++)
            for (int part = 0; part < 2; part++)
                check_reads(sizes[s], turned, part);
}

static void others_are_no_stacks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rank, parts;
    } cases[] = {{"model.layers.0.mlp.experts.gate_up_proj", 3, 2},
                 {"model.layers.0.mlp.experts.down_proj", 3, 1},
                 {"model.layers.0.mlp.experts.gate_up_proj", 2, 0},
                 {"model.layers.0.mlp.experts.0.down_proj.weight", 2, 0},
                 {"model.layers.0.mlp.down_proj", 3, 0},
                 {"model.layers.0.mlp.experts.gate_up_proj_bias", 3, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ig_tensor t = {.name = ig_slice_of(cases[i].name), .rank = cases[i].rank};
        assert_int_equal(quant__fused_parts(&t), cases[i].parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_comes_from_its_place),
        cmocka_unit_test(others_are_no_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
