/* SPDX-License-Identifier: Apache-2.0
 * bench_codec — encoding and decoding 2^18 bf16 numbers that lie in the cache, on every instruction
 * set: the fastest of many runs, as JSON lines. */
#include "base/clock.h"
#include "tensor/codecs/codec.h"
#include "tensor/kernels/scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMS ((int64_t)1 << 18)
#define RUNS  200

static uint16_t source[1 << 18], back[1 << 18];
static unsigned char codes[3][1 << 20];

static void bench(enum ig_isa isa, struct ig_codec codec)
{
    struct ig_coder coder;
    struct ig_packed out = {codes[0], codes[1], codes[2]};
    double encode = 1e9, decode = 1e9;
    ig_coder_init(&coder, codec, IG_BF16, IG_ROUND_CPU, isa);
    for (int run = 0; run < RUNS; run++) {
        double start = ig_clock_seconds();
        ig_encode(&coder, source, ELEMS, &out);
        double middle = ig_clock_seconds();
        encode = fmin(encode, middle - start);
        if (run % 8) continue;
        ig_decode(&coder, &out, ELEMS, back);
        decode = fmin(decode, ig_clock_seconds() - middle);
    }
    printf("{\"case\": \"%s\", \"bits\": %d, \"group\": %d, \"isa\": \"%s\", \"threads\": 1, "
           "\"encode_ns\": %.3f, \"encode_GB/s\": %.2f, \"decode_ns\": %.3f}\n",
           ig_quant_mode_name(codec.mode), codec.bits, codec.group_size, ig_isa_name(isa),
           encode / (double)ELEMS * 1e9, 2.0 * (double)ELEMS / encode / 1e9,
           decode / (double)ELEMS * 1e9);
}

int main(void)
{
    static const struct ig_codec codecs[] = {
        {IG_AFFINE, 2, 64}, {IG_AFFINE, 3, 64}, {IG_AFFINE, 4, 64},  {IG_AFFINE, 5, 32},
        {IG_AFFINE, 6, 32}, {IG_AFFINE, 8, 32}, {IG_AFFINE, 4, 128}, {IG_MXFP4, 4, 32},
        {IG_MXFP8, 8, 32},  {IG_NVFP4, 4, 16}};
    srand(1);
    for (int64_t i = 0; i < ELEMS; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++)
            sum += (float)rand() / (float)RAND_MAX - 0.5f;
        source[i] = ig_bf16_bits(sum * 0.04f);
    }
    const char *only = getenv("IG_KERNELS");
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        if (only && strcmp(only, ig_isa_name((enum ig_isa)isa)) != 0) continue;
        for (size_t c = 0; c < sizeof codecs / sizeof *codecs; c++)
            bench((enum ig_isa)isa, codecs[c]);
    }
    return 0;
}
