/* SPDX-License-Identifier: Apache-2.0
 * bench matmul — one thread's kernels on every instruction set: matvec and unpack over a matrix
 * that fits the second-level cache (what the arithmetic can do; memory is bench_infer's subject),
 * tile and transpose as the engine calls them; and the same of narrow arithmetic. Processor time,
 * the fastest of many: it hardly depends on what else runs. One JSON line a case. */
#include "tensor/kernels/narrow.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 128, COLS = 1024, DEPTH = 256, ROUNDS = 300, TILE_ROWS = 48 };

static const struct {
    const char *name;
    enum ig_packing packing;
    int bits, group;
} formats[] = {
    {"f32", IG_PACK_F32, 0, 1},        {"f16", IG_PACK_F16, 0, 1},
    {"bf16", IG_PACK_BF16, 0, 1},      {"q2 g64", IG_PACK_AFFINE, 2, 64},
    {"q3 g64", IG_PACK_AFFINE, 3, 64}, {"q4 g64", IG_PACK_AFFINE, 4, 64},
    {"q5 g64", IG_PACK_AFFINE, 5, 64}, {"q6 g64", IG_PACK_AFFINE, 6, 64},
    {"q6 g32", IG_PACK_AFFINE, 6, 32}, {"q8 g64", IG_PACK_AFFINE, 8, 64},
    {"mxfp4", IG_PACK_FP4, 4, 32},     {"nvfp4", IG_PACK_FP4, 4, 16},
    {"mxfp8", IG_PACK_FP8, 8, 32},
};

struct bench {
    struct ig_matmul_ops ops;
    struct ig_matrix w;
    struct ig_tile tile;
    struct ig_narrow_ops narrow;
    struct ig_narrow_tile narrow_tile;
    float *x, *operand, *out;
    void *packed_x, *packed_w;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_matvec(const struct bench *b)
{
    b->ops.matvec(&b->w, b->operand, 0, ROWS, b->out);
}

static void run_prepare(const struct bench *b)
{
    b->ops.prepare(&b->w, b->x, b->operand);
}

static void run_unpack(const struct bench *b)
{
    for (int64_t r = 0; r < ROWS; r++)
        b->ops.unpack(&b->w, r, 0, COLS, b->out);
}

static void run_tile(const struct bench *b)
{
    b->ops.tile(&b->tile);
}

static void run_narrow_matvec(const struct bench *b)
{
    b->narrow.matvec(&b->w, b->operand, 0, ROWS, b->out);
}

static void run_narrow_tile(const struct bench *b)
{
    b->narrow.tile(&b->narrow_tile);
}

static void run_pack_w(const struct bench *b)
{
    b->narrow.pack_w(b->narrow_tile.kind, &b->w, 0, IG_NARROW_FEATURES, b->packed_w);
}

static void run_pack_x(const struct bench *b)
{
    b->narrow.pack_x(b->narrow_tile.kind, b->w.group, b->x, COLS, IG_NARROW_ROWS, b->packed_x);
}

static void run_transpose(const struct bench *b)
{
    b->ops.transpose(b->x, COLS, b->ops.lanes, COLS, b->out, b->ops.lanes);
}

static void measure(const struct bench *b, enum ig_isa isa, const char *name, const char *format,
                    double elements, double flops, void (*run)(const struct bench *b))
{
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double start = cpu_seconds();
        run(b);
        double seconds = cpu_seconds() - start;
        if (seconds < best) best = seconds;
    }
    printf("{\"case\": \"%s\", \"format\": \"%s\", \"isa\": \"%s\", \"ns_min\": %.0f, "
           "\"Gelements_per_s\": %.2f, \"GFLOP_per_s\": %.1f}\n",
           name, format, ig_isa_name(isa), best * 1e9, elements / best * 1e-9, flops / best * 1e-9);
}

static float *floats(size_t count)
{
    float *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64);
    if (!p) exit(1);
    for (size_t i = 0; i < count; i++)
        p[i] = (float)(i % 17) * 0.1F - 0.8F;
    return p;
}

static void bench_narrow(struct bench *b, enum ig_isa isa, enum ig_narrow kind, const char *format)
{
    const double block = (double)IG_NARROW_FEATURES * COLS, elements = (double)ROWS * COLS;
    const bool bytes = kind == IG_NARROW_INT8;
    char what[48];
    if (!ig_narrow_can(&b->w, kind) || !(bytes ? b->narrow.int8 : b->narrow.bf16)) return;
    snprintf(what, sizeof what, "%s as %s", format, bytes ? "int8" : "bf16");
    b->narrow_tile = (struct ig_narrow_tile){kind,
                                             b->packed_x,
                                             b->packed_w,
                                             b->out,
                                             COLS,
                                             IG_NARROW_FEATURES,
                                             b->w.group,
                                             TILE_ROWS,
                                             IG_NARROW_FEATURES,
                                             ig_narrow_bits(&b->w)};
    measure(b, isa, "narrow pack_x", what, (double)IG_NARROW_ROWS * COLS, 0, run_pack_x);
    measure(b, isa, "narrow pack_w", what, block, 0, run_pack_w);
    measure(b, isa, "narrow tile", what, block, 2 * block * TILE_ROWS, run_narrow_tile);
    if (!bytes) return;
    b->narrow.prepare(&b->w, b->x, b->operand);
    measure(b, isa, "narrow matvec", what, elements, 2 * elements, run_narrow_matvec);
}

static void bench_isa(struct bench *b, enum ig_isa isa)
{
    IG_OPS_FILL(matmul, &b->ops, isa);
    ig_narrow_fill(&b->narrow, isa);
    const double elements = (double)ROWS * COLS;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        b->w.packing = formats[f].packing;
        b->w.bits = formats[f].bits;
        b->w.group = formats[f].group;
        b->ops.prepare(&b->w, b->x, b->operand);
        measure(b, isa, "prepare", formats[f].name, COLS, 0, run_prepare);
        measure(b, isa, "matvec", formats[f].name, elements, 2 * elements, run_matvec);
        measure(b, isa, "unpack", formats[f].name, elements, 0, run_unpack);
        bench_narrow(b, isa, IG_NARROW_BF16, formats[f].name);
        bench_narrow(b, isa, IG_NARROW_INT8, formats[f].name);
    }
    for (int lanes = 16; lanes <= b->ops.lanes; lanes += 16) {
        char what[32];
        snprintf(what, sizeof what, "%d lanes", lanes);
        b->tile = (struct ig_tile){b->x,  b->x,         b->out, DEPTH + 16, 1,
                                   DEPTH, b->ops.lanes, lanes,  64,         true};
        measure(b, isa, "tile", what, 64.0 * DEPTH, 2.0 * 64 * DEPTH * lanes, run_tile);
    }
    measure(b, isa, "transpose", "f32", (double)b->ops.lanes * COLS, 0, run_transpose);
}

int main(void)
{
    struct bench b = {.x = floats(64 * COLS), .out = floats(64 * COLS)};
    b.operand = floats((size_t)ig_matmul_operand_floats(COLS));
    b.packed_x = floats(TILE_ROWS / IG_NARROW_ROWS * ig_narrow_x_bytes(COLS) / sizeof(float));
    b.packed_w = floats(ig_narrow_w_bytes(COLS) / sizeof(float));
    unsigned char *bytes = calloc(ROWS * COLS, 4 + 1 + 1);
    if (!bytes) return 1;
    for (size_t i = 0; i < (size_t)ROWS * COLS * 4; i++)
        bytes[i] = (unsigned char)(i * 7 % 61);
    memset(bytes + (size_t)ROWS * COLS * 4, 60, (size_t)ROWS * COLS * 2);
    b.w = (struct ig_matrix){.scale_dtype = IG_BF16,
                             .rows = ROWS,
                             .cols = COLS,
                             .data = bytes,
                             .scales = bytes + (size_t)ROWS * COLS * 4,
                             .biases = bytes + (size_t)ROWS * COLS * 5};
    for (int isa = IG_ISA_AVX2; isa < IG_ISA_COUNT; isa++)
        if (ig_isa_available((enum ig_isa)isa)) bench_isa(&b, (enum ig_isa)isa);
    free(b.packed_x), free(b.packed_w);
    free(b.x), free(b.out), free(b.operand), free(bytes);
    return 0;
}
