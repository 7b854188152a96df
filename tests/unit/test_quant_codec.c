/* SPDX-License-Identifier: Apache-2.0
 * quant_codec — MLX's layouts, on every instruction set, against bytes that mlx made
 * (tools/golden/mlx_quant.py). INGOT_GOLDEN_QUANT names a folder with larger files of the same
 * form. */
#include "base/file.h"
#include "check.h"
#include "ingot/buf.h"
#include "tensor/codecs/codec.h"
#include "tensor/kernels/scalar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct golden {
    struct ig_buf file;
    enum ig_dtype dtype;
    int64_t elems;
    const char *input, *at, *end;
};

/* Reads the line at *at and steps over it. */
static void take_line(struct golden *g, char line[128])
{
    const char *end = memchr(g->at, '\n', (size_t)(g->end - g->at));
    assert_non_null(end);
    assert_true(end - g->at < 128);
    snprintf(line, 128, "%.*s", (int)(end - g->at), g->at);
    g->at = end + 1;
}

static void golden_open(struct golden *g, const char *dir, const char *dtype)
{
    struct ig_err err = {0};
    char path[1024], line[128], name[32];
    snprintf(path, sizeof path, "%s/mlx_%s.bin", dir, dtype);
    *g = (struct golden){0};
    check_ok(ig_file_read(path, (size_t)1 << 32, &g->file, &err), &err);
    g->at = g->file.data;
    g->end = g->at + g->file.len;
    take_line(g, line);
    assert_int_equal(sscanf(line, "%31s %" SCNd64, name, &g->elems), 2);
    assert_true(ig_dtype_find(ig_slice_of(name), &g->dtype));
    g->input = g->at;
    g->at += (size_t)g->elems * ig_dtype_bytes(g->dtype);
}

static void same_bytes(const char *what, const char *part, const void *got, const void *want,
                       size_t n)
{
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            fail_msg("%s: %s: byte %zu is %02x, mlx's %02x", what, part, i, a[i], b[i]);
}

/* FNV-1a over values with one NaN. */
static uint64_t hash_values(enum ig_dtype dtype, const char *data, int64_t elems)
{
    uint64_t h = 0xCBF29CE484222325u;
    size_t size = ig_dtype_bytes(dtype);
    uint32_t infinite = dtype == IG_F32 ? 0x7F800000u : dtype == IG_F16 ? 0x7C00u : 0x7F80u;
    uint32_t nan = dtype == IG_F32 ? 0x7FC00000u : dtype == IG_F16 ? 0x7E00u : 0x7FC0u;
    uint32_t sign = dtype == IG_F32 ? 0x80000000u : 0x8000u;
    for (int64_t i = 0; i < elems; i++) {
        uint32_t bits = 0;
        memcpy(&bits, data + (size_t)i * size, size);
        if ((bits & ~sign) > infinite) bits = nan;
        for (size_t j = 0; j < size; j++)
            h = (h ^ (bits >> (8 * j) & 0xFF)) * 0x100000001B3u;
    }
    return h;
}

static void check_codec(const struct golden *g, const char *line, struct ig_codec codec,
                        uint64_t hash, const char *want)
{
    struct ig_packed_bytes n = ig_codec_bytes(codec, g->dtype, g->elems);
    struct ig_packed got = {malloc(n.weight), malloc(n.scales), malloc(n.biases + 1)};
    char *back = malloc((size_t)g->elems * ig_dtype_bytes(g->dtype));
    assert_true(got.weight && got.scales && got.biases && back);
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        char what[200];
        struct ig_coder coder;
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        snprintf(what, sizeof what, "%s %s %s", ig_isa_name((enum ig_isa)isa),
                 ig_dtype_name(g->dtype), line);
        ig_coder_init(&coder, codec, g->dtype, IG_ROUND_CPU, (enum ig_isa)isa);
        memset(got.weight, 0xEE, n.weight);
        ig_encode(&coder, g->input, g->elems, &got);
        same_bytes(what, "scales", got.scales, want + n.weight, n.scales);
        same_bytes(what, "biases", got.biases, want + n.weight + n.scales, n.biases);
        same_bytes(what, "weight", got.weight, want, n.weight);
        ig_decode(&coder, &got, g->elems, back);
        if (hash_values(g->dtype, back, g->elems) != hash)
            fail_msg("%s: dequantised differs", what);
    }
    free(got.weight);
    free(got.scales);
    free(got.biases);
    free(back);
}

static int check_file(const char *dir, const char *dtype)
{
    struct golden g;
    int codecs = 0;
    golden_open(&g, dir, dtype);
    while (g.at < g.end) {
        char line[128], mode[32];
        struct ig_codec codec;
        struct ig_err err = {0};
        uint64_t hash;
        size_t w, s, b;
        take_line(&g, line);
        assert_int_equal(sscanf(line, "%31s %d %d %" SCNx64 " %zu %zu %zu", mode, &codec.bits,
                                &codec.group_size, &hash, &w, &s, &b),
                         7);
        assert_true(ig_quant_mode_find(ig_slice_of(mode), &codec.mode));
        check_ok(ig_codec_check(codec, &err), &err);
        struct ig_packed_bytes n = ig_codec_bytes(codec, g.dtype, g.elems);
        assert_true(n.weight == w && n.scales == s && n.biases == b);
        check_codec(&g, line, codec, hash, g.at);
        g.at += w + s + b;
        codecs++;
    }
    ig_buf_release(&g.file);
    return codecs;
}

static void bytes_are_mlxs(void **state)
{
    (void)state;
    char dir[512];
    const char *tests = getenv("INGOT_TESTS"), *more = getenv("INGOT_GOLDEN_QUANT");
    static const char *const dtypes[] = {"float32", "float16", "bfloat16"};
    snprintf(dir, sizeof dir, "%s/golden/quant", tests ? tests : "tests");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check_file(dir, dtypes[i]), 24);
        if (more) assert_int_equal(check_file(more, dtypes[i]), 24);
    }
}

/* Every slot of every path against ref: random bits, misaligned, ending where the buffer ends (the
 * sanitizer build sees a byte too many). */
static void paths_agree_on_any_bits(void **state)
{
    (void)state;
    enum { COUNT = 32 * 67 };
    static const int groups[] = {16, 32, 96};
    struct ig_quantize_ops ref, ops;
    ig_quantize_ref(&ref);
    float *x = malloc(COUNT * sizeof *x), *a = malloc(COUNT * sizeof *a),
          *b = malloc(COUNT * sizeof *b);
    float *c = malloc(COUNT * sizeof *c), *d = malloc(COUNT * sizeof *d);
    uint8_t *p = malloc(COUNT), *q = malloc(COUNT);
    assert_true(x && a && b && c && d && p && q);
    srand(5);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < COUNT; i++) {
            uint32_t bits = (uint32_t)rand() << 1 ^ (uint32_t)rand() << 17;
            if (round % 2) bits = (bits & 0x83FFFFFFu) | 0x3C000000u;
            x[i] = ig_f32_of_bits(bits);
        }
        int group = groups[round % 3];
        int64_t n = COUNT / group;
        for (int isa = 1; isa < IG_ISA_COUNT; isa++) {
            if (!ig_isa_available((enum ig_isa)isa)) continue;
            IG_OPS_FILL(quantize, &ops, (enum ig_isa)isa);
            ref.largest(x, n, group, a);
            ops.largest(x, n, group, b);
            same_bytes("largest", ig_isa_name((enum ig_isa)isa), b, a, (size_t)n * 4);
            ref.fp4(x, n, group, a, 0x8000, p);
            ops.fp4(x, n, group, a, 0x8000, q);
            same_bytes("fp4", ig_isa_name((enum ig_isa)isa), q, p, (size_t)(n * group));
            ref.fp8(x, n, group, a, p);
            ops.fp8(x, n, group, a, q);
            same_bytes("fp8", ig_isa_name((enum ig_isa)isa), q, p, (size_t)(n * group));
            ref.range(x, n, group, a, b);
            ops.range(x, n, group, c, d);
            same_bytes("lo", ig_isa_name((enum ig_isa)isa), c, a, (size_t)n * 4);
            same_bytes("hi", ig_isa_name((enum ig_isa)isa), d, b, (size_t)n * 4);
            ref.grid(c, d, n, 15, a, b);
            ops.grid(c, d, n, 15, c, d);
            if (group % 32 == 0) {
                ref.codes(x, n, group, a, b, 15, p);
                ops.codes(x, n, group, a, b, 15, q);
                same_bytes("codes", ig_isa_name((enum ig_isa)isa), q, p, (size_t)(n * group));
            }
            for (int64_t i = 0; i < n; i++)
                if (!(isnan(a[i]) && isnan(c[i]))) same_bytes("scale", "grid", &c[i], &a[i], 4);
            same_bytes("bias", ig_isa_name((enum ig_isa)isa), d, b, (size_t)n * 4);
        }
    }
    free(x), free(a), free(b), free(c), free(d), free(p), free(q);
}

static void packing_is_a_bit_stream(void **state)
{
    (void)state;
    static const int widths[] = {1, 2, 3, 4, 5, 6, 8};
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        struct ig_quantize_ops ops;
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        IG_OPS_FILL(quantize, &ops, (enum ig_isa)isa);
        for (int w = 0; w < 7; w++) {
            int bits = widths[w];
            for (int count = 16; count <= 16 * 13; count += 16) {
                uint8_t *codes = malloc((size_t)count), *out = malloc((size_t)(count * bits / 8));
                assert_true(codes && out);
                for (int i = 0; i < count; i++)
                    codes[i] = (uint8_t)(rand() & ((1 << bits) - 1));
                ops.pack(codes, count, bits, out);
                for (int i = 0; i < count * bits; i++)
                    assert_int_equal(out[i / 8] >> (i % 8) & 1, codes[i / bits] >> (i % bits) & 1);
                free(codes);
                free(out);
            }
        }
    }
}

/* There is no Metal here: these are the consequences of the rule as mlx's kernels state it. */
static void metal_rule_is_as_read(void **state)
{
    (void)state;
    float x[32] = {0};
    uint32_t codes[4];
    uint8_t scale;
    float s, b;
    struct ig_coder coder;
    for (int i = 0; i < 32; i++)
        x[i] = -1 - (float)i; /* all negative: the range reaches up to 0 */
    ig_coder_init(&coder, (struct ig_codec){IG_AFFINE, 4, 32}, IG_F32, IG_ROUND_METAL, IG_ISA_REF);
    ig_encode(&coder, x, 32, &(struct ig_packed){codes, &s, &b});
    assert_true(b == -32 && s == -32.0f / -15);
    assert_int_equal(codes[0] & 0xF, 15); /* -1: (31 / 2.133) is 14.53 */
    memset(x, 0, sizeof x);
    ig_coder_init(&coder, (struct ig_codec){IG_MXFP4, 4, 32}, IG_F32, IG_ROUND_METAL, IG_ISA_REF);
    ig_encode(&coder, x, 32, &(struct ig_packed){codes, &scale, NULL});
    assert_int_equal(scale, 0);
    x[0] = 6, x[1] = 0.75f, x[2] = 2.5f, x[3] = -0.0f, x[4] = 5, x[5] = 1.25f;
    ig_encode(&coder, x, 32, &(struct ig_packed){codes, &scale, NULL});
    assert_int_equal(scale, 127);
    assert_int_equal(codes[0], 0x00268427); /* 6; .75 to 1; 2.5 to 2; -0; 5 to 4; 1.25 to 1 */
}

static void impossible_codecs_are_refused(void **state)
{
    (void)state;
    struct ig_err err = {0};
    check_fails(ig_codec_check((struct ig_codec){IG_AFFINE, 7, 64}, &err), &err, IG_ERR_USAGE,
                "affine has no 7 bits (1, 2, 3, 4, 5, 6 and 8)");
    check_fails(ig_codec_check((struct ig_codec){IG_AFFINE, 4, 16}, &err), &err, IG_ERR_USAGE,
                "affine has no group size 16 (32, 64 and 128)");
    check_fails(ig_codec_check((struct ig_codec){IG_NVFP4, 4, 32}, &err), &err, IG_ERR_USAGE,
                "nvfp4 has 4 bits in groups of 16, not 4 in groups of 32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_mlxs),
        cmocka_unit_test(paths_agree_on_any_bits),
        cmocka_unit_test(packing_is_a_bit_stream),
        cmocka_unit_test(metal_rule_is_as_read),
        cmocka_unit_test(impossible_codecs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
