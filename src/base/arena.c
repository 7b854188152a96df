/* SPDX-License-Identifier: Apache-2.0
 * arena — a chain of blocks, the newest first; a value is bumped off the newest block. */
#include "base/arena.h"

#include "base/size.h"

#include <stdlib.h>

#define ARENA_ALIGN     16
#define ARENA_BLOCK_MIN ((size_t)16 << 10)
#define ARENA_BLOCK_MAX ((size_t)4 << 20) /* blocks double up to this, so waste stays bounded */

struct ig_arena_block {
    struct ig_arena_block *older;
    size_t used, cap; /* of the bytes after this header */
    size_t pad;       /* keeps the header a multiple of ARENA_ALIGN */
};
_Static_assert(sizeof(struct ig_arena_block) % ARENA_ALIGN == 0, "values must stay aligned");

static struct ig_arena_block *block_new(struct ig_arena *arena, size_t need)
{
    size_t cap = arena->last ? arena->last->cap * 2 : ARENA_BLOCK_MIN;
    if (cap > ARENA_BLOCK_MAX) cap = ARENA_BLOCK_MAX;
    if (cap < need) cap = need;
    size_t bytes;
    if (!ig_size_add(cap, sizeof(struct ig_arena_block), &bytes)) return NULL;
    if (arena->bytes_max && bytes > arena->bytes_max - arena->bytes) return NULL;
    struct ig_arena_block *block = calloc(1, bytes);
    if (!block) return NULL;
    block->cap = cap;
    block->older = arena->last;
    arena->last = block;
    arena->bytes += bytes;
    return block;
}

void *ig_arena_new(struct ig_arena *arena, size_t bytes)
{
    size_t need;
    if (!ig_size_add(bytes ? bytes : 1, ARENA_ALIGN - 1, &need)) return NULL;
    need &= ~(size_t)(ARENA_ALIGN - 1);
    struct ig_arena_block *block = arena->last;
    if (!block || block->cap - block->used < need) block = block_new(arena, need);
    if (!block) return NULL;
    void *value = (char *)(block + 1) + block->used;
    block->used += need;
    return value;
}

void *ig_arena_array(struct ig_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return ig_size_mul(count, size, &bytes) ? ig_arena_new(arena, bytes) : NULL;
}

struct ig_slice ig_arena_copy(struct ig_arena *arena, struct ig_slice text)
{
    char *copy = text.len == SIZE_MAX ? NULL : ig_arena_new(arena, text.len + 1);
    if (!copy) return (struct ig_slice){NULL, 0};
    if (text.len) memcpy(copy, text.ptr, text.len);
    return (struct ig_slice){copy, text.len};
}

void ig_arena_join(struct ig_arena *to, struct ig_arena *from)
{
    struct ig_arena_block *oldest = from->last;
    if (!oldest) return;
    while (oldest->older)
        oldest = oldest->older;
    oldest->older = to->last;
    to->last = from->last;
    to->bytes += from->bytes;
    *from = (struct ig_arena){0};
}

void ig_arena_release(struct ig_arena *arena)
{
    for (struct ig_arena_block *block = arena->last, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    size_t bytes_max = arena->bytes_max;
    *arena = (struct ig_arena){.bytes_max = bytes_max};
}
