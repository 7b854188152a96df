/* SPDX-License-Identifier: Apache-2.0
 * matmul — every packing on every instruction set against ref: odd sizes, unaligned weights, and
 * the last row ending at a page that must not be touched. */
#include "check.h"
#include "tensor/kernels/matmul.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Rounding only: packed sums are of codes times x, whose magnitude is a few times that of w x. */
#define TOLERANCE 1.5e-6

struct format {
    const char *name;
    enum ig_packing packing;
    int bits, group;
    enum ig_dtype scales;
};

static const struct format formats[] = {
    {"f32", IG_PACK_F32, 0, 1, IG_F32},          {"f16", IG_PACK_F16, 0, 1, IG_F32},
    {"bf16", IG_PACK_BF16, 0, 1, IG_F32},        {"q2 g32", IG_PACK_AFFINE, 2, 32, IG_BF16},
    {"q2 g128", IG_PACK_AFFINE, 2, 128, IG_F16}, {"q3 g32", IG_PACK_AFFINE, 3, 32, IG_F16},
    {"q3 g64", IG_PACK_AFFINE, 3, 64, IG_F32},   {"q4 g32", IG_PACK_AFFINE, 4, 32, IG_BF16},
    {"q4 g64", IG_PACK_AFFINE, 4, 64, IG_BF16},  {"q4 g128", IG_PACK_AFFINE, 4, 128, IG_BF16},
    {"q5 g32", IG_PACK_AFFINE, 5, 32, IG_F32},   {"q5 g64", IG_PACK_AFFINE, 5, 64, IG_BF16},
    {"q5 g128", IG_PACK_AFFINE, 5, 128, IG_F16}, {"q6 g32", IG_PACK_AFFINE, 6, 32, IG_BF16},
    {"q6 g64", IG_PACK_AFFINE, 6, 64, IG_F16},   {"q6 g128", IG_PACK_AFFINE, 6, 128, IG_F32},
    {"q8 g32", IG_PACK_AFFINE, 8, 32, IG_BF16},  {"q8 g64", IG_PACK_AFFINE, 8, 64, IG_F32},
    {"q8 g128", IG_PACK_AFFINE, 8, 128, IG_F16}, {"mxfp4", IG_PACK_FP4, 4, 32, IG_U8},
    {"nvfp4", IG_PACK_FP4, 4, 16, IG_U8},        {"mxfp8", IG_PACK_FP8, 8, 32, IG_U8},
};
#define FORMATS (sizeof formats / sizeof *formats)

static uint64_t seed = 1;

static uint32_t draw(void)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(seed >> 33);
}

static float draw_float(void)
{
    return (float)((int32_t)draw() - (1 << 30)) / (float)(1 << 30);
}

/* Bytes that end where a page that cannot be read begins. */
struct guarded {
    unsigned char *map, *data;
    size_t bytes, whole;
};

static struct guarded guarded_new(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = bytes / page * page + 2 * page;
    struct guarded g = {NULL, NULL, bytes, whole};
    g.map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map + whole - page, page, PROT_NONE), 0);
    g.data = g.map + whole - page - bytes;
    for (size_t i = 0; i < bytes; i++)
        g.data[i] = (unsigned char)draw();
    return g;
}

static void put_float(unsigned char *p, enum ig_dtype dtype, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == IG_BF16) bits >>= 16;
    if (dtype == IG_F16) { /* normal values only */
        uint32_t exponent = (bits >> 23 & 255) < 113 ? 0 : (bits >> 23 & 255) - 112;
        bits = (bits >> 16 & 0x8000) | exponent << 10 | (exponent ? bits >> 13 & 1023 : 0);
    }
    memcpy(p, &bits, ig_dtype_bytes(dtype));
}

struct weights {
    struct ig_matrix m;
    struct guarded data, scales, biases;
};

static void fill_plain(struct weights *w, enum ig_dtype dtype)
{
    for (size_t i = 0; i < w->data.bytes; i += ig_dtype_bytes(dtype))
        put_float(w->data.data + i, dtype, draw_float());
}

static void fill_scales(struct weights *w, const struct format *f)
{
    size_t size = ig_dtype_bytes(f->scales);
    for (size_t i = 0; i < w->scales.bytes; i += size) {
        if (f->packing != IG_PACK_AFFINE) {
            w->scales.data[i] = (unsigned char)(f->group == 16 ? draw() % 127 : 110 + draw() % 20);
            continue;
        }
        float scale = draw_float() * 0.1F;
        put_float(w->scales.data + i, f->scales, scale);
        put_float(w->biases.data + i, f->scales, -scale * (float)(1 << (f->bits - 1)));
    }
}

static void weights_init(struct weights *w, const struct format *f, int64_t rows, int64_t cols)
{
    memset(w, 0, sizeof *w);
    w->m = (struct ig_matrix){.packing = f->packing,
                              .bits = f->bits,
                              .group = f->group,
                              .scale_dtype = f->scales,
                              .rows = rows,
                              .cols = cols};
    size_t groups = (size_t)(rows * cols / f->group);
    w->data = guarded_new(ig_matmul_row_bytes(&w->m) * (size_t)rows);
    w->scales = guarded_new(groups * ig_dtype_bytes(f->scales));
    w->biases = guarded_new(groups * ig_dtype_bytes(f->scales));
    if (f->packing == IG_PACK_F32) fill_plain(w, IG_F32);
    if (f->packing == IG_PACK_F16) fill_plain(w, IG_F16);
    if (f->packing == IG_PACK_BF16) fill_plain(w, IG_BF16);
    if (f->bits) fill_scales(w, f);
    w->m.data = w->data.data;
    w->m.scales = w->scales.data;
    w->m.biases = w->biases.data;
}

static void weights_release(struct weights *w)
{
    munmap(w->data.map, w->data.whole);
    munmap(w->scales.map, w->scales.whole);
    munmap(w->biases.map, w->biases.whole);
}

/* Moves the weights off their alignment, away from the guard. */
static void weights_misalign(struct weights *w)
{
    memmove(w->data.data - 1, w->data.data, w->data.bytes);
    memmove(w->scales.data - 1, w->scales.data, w->scales.bytes);
    memmove(w->biases.data - 1, w->biases.data, w->biases.bytes);
    w->m.data = w->data.data - 1;
    w->m.scales = w->scales.data - 1;
    w->m.biases = w->biases.data - 1;
}

static float *floats(int64_t count)
{
    float *p = aligned_alloc(64, (size_t)(count + 15) / 16 * 64);
    assert_non_null(p);
    for (int64_t i = 0; i < count; i++)
        p[i] = draw_float();
    return p;
}

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
