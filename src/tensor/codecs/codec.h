/* SPDX-License-Identifier: Apache-2.0
 * codec — plain numbers to MLX's quantised layouts and back, bit for bit as mx.quantize and
 * mx.dequantize on the CPU (wheel 0.32.4). Groups run along the last axis, whose length is a
 * multiple of the group, so a tensor is one flat run of groups: any multiple of CODEC_ALIGN
 * elements may be encoded alone.
 *
 * Use:   ig_coder_init -> ig_encode, ig_decode any number of times, from any thread. */
#pragma once
#include "tensor/kernels/convert.h"
#include "tensor/kernels/quantize.h"

/* The largest group; also makes every width end on a byte. */
#define CODEC_ALIGN 128

struct ig_coder {
    struct ig_codec codec;
    enum ig_dtype dtype; /* of plain numbers: F32, F16 or BF16; and of affine's scales and biases */
    enum ig_rounding rounding;
    struct ig_convert_ops convert;
    struct ig_quantize_ops ops;
};

/* Where codes, scales and biases of a run go or come from. biases is unused but for affine. */
struct ig_packed {
    void *weight, *scales, *biases;
};

/* The three parts' sizes for a run of `elems`, a multiple of the group. */
struct ig_packed_bytes {
    size_t weight, scales, biases;
};
struct ig_packed_bytes ig_codec_bytes(struct ig_codec codec, enum ig_dtype dtype, int64_t elems);
/* Type of `scales`: dtype for affine, U8 for the others. */
enum ig_dtype ig_codec_scale_dtype(struct ig_codec codec, enum ig_dtype dtype);
/* F32, F16 or BF16. */
bool ig_codec_takes(enum ig_dtype dtype);

/* codec has passed ig_codec_check, dtype ig_codec_takes. */
void ig_coder_init(struct ig_coder *coder, struct ig_codec codec, enum ig_dtype dtype,
                   enum ig_rounding rounding, enum ig_isa isa);
/* elems is a multiple of the group, and of 32. */
void ig_encode(const struct ig_coder *coder, const void *src, int64_t elems,
               const struct ig_packed *out);
/* The same for several codecs at once: all coders are of one dtype. What they have in common is
 * done once, while the block is in the first cache. */
struct ig_encoding {
    const struct ig_coder *coder;
    struct ig_packed out;
};
void ig_encode_many(const struct ig_encoding *encodings, int count, const void *src, int64_t elems);
/* Product and sum are each rounded to dtype, as mlx does. */
void ig_decode(const struct ig_coder *coder, const struct ig_packed *in, int64_t elems, void *out);
