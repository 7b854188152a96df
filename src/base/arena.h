/* SPDX-License-Identifier: Apache-2.0
 * arena — memory for values that live as long as their document. No per-value free.
 *
 * Use:   struct ig_arena a = {0}; p = ig_arena_new(&a, n); ... ig_arena_release(&a).
 * Limits: bytes_max (0: none) bounds what a hostile document can make it take. */
#pragma once
#include "ingot/err.h"
#include "ingot/slice.h"
#include <stdint.h>

struct ig_arena_block;
struct ig_arena {
    struct ig_arena_block *last;
    size_t bytes;     /* taken from the system */
    size_t bytes_max; /* 0: unbounded */
};

/* Zeroed memory, aligned to 16. NULL when memory or bytes_max runs out. bytes 0 gives a valid
 * pointer. */
void *ig_arena_new(struct ig_arena *arena, size_t bytes);
/* count * size, checked. */
void *ig_arena_array(struct ig_arena *arena, size_t count, size_t size);
/* A copy with a NUL after it; ptr is NULL when memory ran out. */
struct ig_slice ig_arena_copy(struct ig_arena *arena, struct ig_slice text);
/* Moves all blocks of `from` into `to`, so that they live as long as `to`. */
void ig_arena_join(struct ig_arena *to, struct ig_arena *from);
void ig_arena_release(struct ig_arena *arena);
