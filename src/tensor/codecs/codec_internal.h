/* SPDX-License-Identifier: Apache-2.0
 * codecs: what codec.c and metal.c share. */
#pragma once
#include "tensor/codecs/codec.h"
#include "tensor/kernels/scalar.h"

#define CODEC_BLOCK      4096 /* elements at a time: 16 KiB of f32 stay in the first cache */
#define CODEC_GROUPS_MAX (CODEC_BLOCK / 16)

/* One block on its way. */
struct codec_block {
    float x[CODEC_BLOCK];
    uint8_t codes[CODEC_BLOCK];
    float scale[CODEC_GROUPS_MAX], bias[CODEC_GROUPS_MAX];
    uint8_t exponent[CODEC_GROUPS_MAX]; /* the fp modes' scales as stored */
    int64_t elems, groups;              /* groups: of the codec at work */
    /* What codecs with equal groups share; group 0: not known yet. */
    float lo[CODEC_GROUPS_MAX], hi[CODEC_GROUPS_MAX], largest[CODEC_GROUPS_MAX];
    int range_group, largest_group;
};

/* Fills codes and scales from x by mlx's Metal kernels' rules. */
void codec__encode_metal(const struct ig_coder *coder, struct codec_block *block);
