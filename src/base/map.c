/* SPDX-License-Identifier: Apache-2.0
 * map — linear probing at a load of at most a half. */
#include "base/map.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct ig_map_slot {
    struct ig_slice key; /* ptr NULL: free */
    uint64_t hash;
    int64_t value;
};

static struct ig_map_slot *slot_of(const struct ig_map *map, struct ig_slice key, uint64_t hash)
{
    size_t mask = map->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct ig_map_slot *slot = &map->slots[i];
        if (!slot->key.ptr || (slot->hash == hash && ig_slice_equal(slot->key, key))) return slot;
    }
}

static bool grow(struct ig_map *map)
{
    struct ig_map bigger = {.cap = map->cap ? map->cap * 2 : 16, .count = map->count};
    bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
    if (!bigger.slots) return false;
    for (size_t i = 0; i < map->cap; i++) {
        const struct ig_map_slot *old = &map->slots[i];
        if (old->key.ptr) *slot_of(&bigger, old->key, old->hash) = *old;
    }
    free(map->slots);
    *map = bigger;
    return true;
}

bool ig_map_put(struct ig_map *map, struct ig_slice key, int64_t value, struct ig_err *err)
{
    if (!key.ptr) key.ptr = "";
    if ((map->count + 1) * 2 > map->cap && !grow(map)) return ig_err_nomem(err);
    uint64_t hash = XXH3_64bits(key.ptr, key.len);
    struct ig_map_slot *slot = slot_of(map, key, hash);
    map->count += slot->key.ptr == NULL;
    *slot = (struct ig_map_slot){key, hash, value};
    return true;
}

int64_t ig_map_get(const struct ig_map *map, struct ig_slice key, int64_t absent)
{
    if (!map->cap) return absent;
    if (!key.ptr) key.ptr = "";
    const struct ig_map_slot *slot = slot_of(map, key, XXH3_64bits(key.ptr, key.len));
    return slot->key.ptr ? slot->value : absent;
}

void ig_map_release(struct ig_map *map)
{
    free(map->slots);
    *map = (struct ig_map){0};
}
