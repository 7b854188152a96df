/* SPDX-License-Identifier: Apache-2.0
 * random — numbers that depend on seed, tensor, model and element alone: the same whatever the
 * threads, the order of the work, or a resume. SplitMix64's output function (Steele, Lea and Flood
 * 2014) of a counter; an element takes half of one. */
#pragma once
#include <stdint.h>

#define MERGE_RANDOM_STEP 0x9E3779B97F4A7C15u /* 2^64 over the golden ratio: SplitMix64's */

static inline uint64_t merge__random_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The stream of one model's part of a tensor. */
static inline uint64_t merge__random_stream(uint64_t seed, int model)
{
    return merge__random_mix(seed + (uint64_t)(model + 1) * MERGE_RANDOM_STEP);
}

/* Uniform over all 2^32 values. */
static inline uint32_t merge__random_at(uint64_t stream, uint64_t element)
{
    uint64_t z = merge__random_mix(stream + (element / 2 + 1) * MERGE_RANDOM_STEP);
    return (uint32_t)(element & 1 ? z >> 32 : z);
}
