/* SPDX-License-Identifier: Apache-2.0
 * tensor — what a tensor is (type, shape, name), and which kernels this machine can run.
 *
 * No arithmetic here. int64_t counts elements, size_t counts bytes. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"
#include <stdint.h>

#define IG_RANK_MAX 8

/* The element types of safetensors, by its names, in the order in which its writer sorts them.
 * Types below a byte and complex ones can be listed, not written. */
enum ig_dtype {
    IG_BOOL,
    IG_F4,
    IG_F6_E2M3,
    IG_F6_E3M2,
    IG_U8,
    IG_I8,
    IG_F8_E5M2,
    IG_F8_E4M3,
    IG_F8_E8M0,
    IG_F8_E4M3FNUZ,
    IG_F8_E5M2FNUZ,
    IG_I16,
    IG_U16,
    IG_F16,
    IG_BF16,
    IG_I32,
    IG_U32,
    IG_F32,
    IG_C64,
    IG_F64,
    IG_I64,
    IG_U64,
    IG_DTYPE_COUNT,
};

struct ig_tensor {
    struct ig_slice name;
    enum ig_dtype dtype;
    int rank;                   /* 0: a scalar, one element */
    int64_t shape[IG_RANK_MAX]; /* outermost first */
    int64_t elems;              /* product of shape, checked */
    size_t bytes;               /* elems * bits of dtype / 8, checked */
    int file;                   /* index of the shard */
    uint64_t offset;            /* of the first byte in that file; may be unaligned */
};

/* Of one element; 0 for types below a byte. */
size_t ig_dtype_bytes(enum ig_dtype dtype);
size_t ig_dtype_bits(enum ig_dtype dtype);
/* safetensors' name: "BF16". */
const char *ig_dtype_name(enum ig_dtype dtype);
/* torch's name: "bfloat16"; what recipes and config.json say. */
const char *ig_dtype_torch_name(enum ig_dtype dtype);
/* By either name; false when unknown. */
bool ig_dtype_find(struct ig_slice name, enum ig_dtype *out);
/* Floating types that merge and quantise can read. */
bool ig_dtype_is_float(enum ig_dtype dtype);

/* MLX's quantised layouts. A row of K numbers becomes K * bits / 8 bytes of codes and, for each
 * group_size consecutive ones, a scale (and of affine a bias). docs/formats/mlx.md draws them. */
enum ig_quant_mode { IG_AFFINE, IG_MXFP4, IG_MXFP8, IG_NVFP4, IG_QUANT_MODE_COUNT };

/* How one tensor is stored. bits 0: kept as it is. */
struct ig_codec {
    enum ig_quant_mode mode;
    int bits;
    int group_size;
};

/* Which of mlx's backends to follow where they differ (ties, the range of one-sided groups). */
enum ig_rounding { IG_ROUND_CPU, IG_ROUND_METAL };

/* "affine", "mxfp4", ...: what config.json says. */
const char *ig_quant_mode_name(enum ig_quant_mode mode);
bool ig_quant_mode_find(struct ig_slice name, enum ig_quant_mode *out);
/* Puts the mode's own bits and group_size where they are 0. */
void ig_codec_default(struct ig_codec *codec);
/* Whether mlx has that layout: USAGE, with what it may be, when not. */
bool ig_codec_check(struct ig_codec codec, struct ig_err *err);

/* Instruction sets: ref for any machine, then those of each architecture, worst first. The choice
 * is made once: the best that the CPU has, or what the environment's IG_KERNELS (ref, avx2,
 * avxvnni, avx512vnni, avx512, neon) asks for. AVXVNNI is AVX2 with vpdpbusd; AVX512VNNI is AVX-512
 * with it and without VBMI, even where that is there. */
enum ig_isa {
    IG_ISA_REF,
    IG_ISA_AVX2,
    IG_ISA_AVXVNNI,
    IG_ISA_AVX512VNNI,
    IG_ISA_AVX512,
    IG_ISA_NEON,
    IG_ISA_COUNT
};
const char *ig_isa_name(enum ig_isa isa);
/* Whether this CPU, and this build, can run it. IG_ISA_REF is always true. */
bool ig_isa_available(enum ig_isa isa);
/* What kernels are to be taken from. An IG_KERNELS that is unknown or not available is a usage
 * error, so a program calls this first. */
bool ig_isa_pick(enum ig_isa *out, struct ig_err *err);
