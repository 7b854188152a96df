/* SPDX-License-Identifier: Apache-2.0
 * weights — random matrices in every packing, ending where a page that cannot be read begins. */
#pragma once
#include "check.h"
#include "tensor/kernels/matmul.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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
