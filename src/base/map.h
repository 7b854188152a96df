/* SPDX-License-Identifier: Apache-2.0
 * map — from names to int64_t: open addressing, XXH3. Keys are borrowed. Zero is a valid empty map.
 * The only file that hashes names; digests of data are digest.h's. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"
#include <stdint.h>

struct ig_map_slot;
struct ig_map {
    struct ig_map_slot *slots;
    size_t cap, count;
};
/* Adds or replaces. False when memory runs out. */
IG_MUST_CHECK bool ig_map_put(struct ig_map *map, struct ig_slice key, int64_t value,
                              struct ig_err *err);
/* The value, or `absent`. */
int64_t ig_map_get(const struct ig_map *map, struct ig_slice key, int64_t absent);
void ig_map_release(struct ig_map *map);
