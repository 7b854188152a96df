/* SPDX-License-Identifier: Apache-2.0
 * joins — pairs of characters that some merge brings together.
 *
 * A merge can only reach over a place in a text when its left part ends in the character before the
 * place and its right part begins with the one after it. Where no merge has that pair, nothing ever
 * crosses: the text may be cut there, and what were words of whole lines become words of a few
 * characters, which the vocabulary mostly has. */
#include "token/token_internal.h"

#define NEAR_CODES 129 /* ASCII, and U+2581, which stands for a space */
#define NEAR_SPACE 0x2581u

static uint32_t near_index(uint32_t code)
{
    return code < 128 ? code : code == NEAR_SPACE ? 128 : UINT32_MAX;
}

static size_t slot_of(const struct token__joins *joins, uint64_t key)
{
    return (size_t)((key * 0x9E3779B97F4A7C15ull) >> (64 - joins->bits));
}

bool token__joins_init(struct token__joins *joins, uint32_t count, struct ig_arena *arena,
                       struct ig_err *err)
{
    joins->bits = 6;
    while ((uint64_t)1 << joins->bits < (uint64_t)count * 2)
        joins->bits++;
    joins->slots = ig_arena_array(arena, (size_t)1 << joins->bits, sizeof(*joins->slots));
    joins->near = ig_arena_array(arena, NEAR_CODES * NEAR_CODES / 64 + 1, sizeof(*joins->near));
    return (joins->slots && joins->near) || ig_err_nomem(err);
}

void token__joins_put(struct token__joins *joins, uint32_t left, uint32_t right)
{
    uint32_t l = near_index(left), r = near_index(right);
    uint64_t key = ((uint64_t)left << 32 | right) + 1;
    size_t mask = ((size_t)1 << joins->bits) - 1, i = slot_of(joins, key);
    if (l != UINT32_MAX && r != UINT32_MAX) {
        joins->near[(l * NEAR_CODES + r) / 64] |= (uint64_t)1 << (l * NEAR_CODES + r) % 64;
        return;
    }
    while (joins->slots[i] && joins->slots[i] != key)
        i = (i + 1) & mask;
    joins->slots[i] = key;
}

bool token__joins_has(const struct token__joins *joins, uint32_t left, uint32_t right)
{
    uint32_t l = near_index(left), r = near_index(right);
    if (l != UINT32_MAX && r != UINT32_MAX)
        return joins->near[(l * NEAR_CODES + r) / 64] >> (l * NEAR_CODES + r) % 64 & 1;
    uint64_t key = ((uint64_t)left << 32 | right) + 1;
    size_t mask = ((size_t)1 << joins->bits) - 1, i = slot_of(joins, key);
    for (; joins->slots[i]; i = (i + 1) & mask)
        if (joins->slots[i] == key) return true;
    return false;
}
