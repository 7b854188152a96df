/* SPDX-License-Identifier: Apache-2.0
 * bpe — merging a word's symbols: always the pair of lowest rank, leftmost on a tie, until no pair
 * has a rank. (Sennrich et al. 2016; order as in Hugging Face's tokenizers.)
 *
 * Short words, nearly all of them, look for the minimum in an array. Long ones keep a heap of
 * (rank, position) and a linked list of symbols, so that no input takes quadratic time; an entry of
 * the heap is stale when its rank is not the one that its position has now. */
#include "token/token_internal.h"

#include <stdlib.h>

#define SHORT_WORD 64 /* above it the heap is faster */
#define NO_PAIR    UINT64_MAX

/* Looking up pairs is what BPE does, and most pairs are none: a filter of a few bits for each merge
 * stays in the second-level cache and answers four of five of those. Behind it, a slot is one word,
 * left:21 right:21 rank:22, so that a look-up touches one line of the large table. */
#define RANK_BITS 22
#define ID_BITS   21

_Static_assert(TOKEN_IDS_MAX <= 1 << ID_BITS && TOKEN_MERGES_MAX < 1 << RANK_BITS, "slots");

static inline uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << ID_BITS | (uint32_t)right;
}

static inline uint64_t mix(uint64_t pair)
{
    return (pair ^ pair >> 23) * 0x9E3779B97F4A7C15ull; /* 2^64 / the golden ratio */
}

bool token__merges_init(struct token__merges *merges, uint32_t count, struct ig_err *err)
{
    *merges = (struct token__merges){.bits = 4, .count = count};
    while (((size_t)1 << merges->bits) * 5 / 8 < count)
        merges->bits++;
    merges->filter_bits = merges->bits + 2; /* at least 6.4 bits a merge */
    size_t cap = (size_t)1 << merges->bits;
    merges->slots = malloc(cap * sizeof(*merges->slots));
    merges->filter = calloc((size_t)1 << (merges->filter_bits - 6), sizeof(*merges->filter));
    merges->products = calloc((size_t)count + 1, sizeof(*merges->products));
    if (!merges->slots || !merges->filter || !merges->products) return ig_err_nomem(err);
    memset(merges->slots, 0xFF, cap * sizeof(*merges->slots));
    return true;
}

void token__merges_release(struct token__merges *merges)
{
    free(merges->slots);
    free(merges->filter);
    free(merges->products);
    *merges = (struct token__merges){0};
}

/* The slot of the pair, or the free one where it belongs. */
static inline uint64_t *slot_of(const struct token__merges *merges, uint64_t pair, uint64_t mixed)
{
    size_t mask = ((size_t)1 << merges->bits) - 1;
    size_t i = (size_t)(mixed >> (64 - merges->bits));
    while (merges->slots[i] >> RANK_BITS != pair && merges->slots[i] != NO_PAIR)
        i = (i + 1) & mask;
    return &merges->slots[i];
}

void token__merges_prefetch(const struct token__merges *merges, int32_t left, int32_t right)
{
    uint64_t mixed = mix(pair_of(left, right));
    __builtin_prefetch(&merges->slots[mixed >> (64 - merges->bits)], 1);
}

void token__merges_put(struct token__merges *merges, int32_t left, int32_t right, uint32_t rank,
                       int32_t product)
{
    uint64_t pair = pair_of(left, right), mixed = mix(pair);
    uint64_t bit = mixed >> (64 - merges->filter_bits);
    *slot_of(merges, pair, mixed) = pair << RANK_BITS | rank;
    merges->filter[bit / 64] |= 1ull << bit % 64;
    merges->products[rank] = product;
}

static inline uint32_t rank_of(const struct token__merges *merges, int32_t left, int32_t right)
{
    uint64_t pair = pair_of(left, right), mixed = mix(pair);
    uint64_t bit = mixed >> (64 - merges->filter_bits);
    if (!(merges->filter[bit / 64] >> bit % 64 & 1)) return TOKEN_NO_RANK;
    uint64_t slot = *slot_of(merges, pair, mixed);
    if (slot == NO_PAIR) return TOKEN_NO_RANK;
    uint32_t rank = (uint32_t)slot & ((1u << RANK_BITS) - 1);
    __builtin_prefetch(&merges->products[rank]); /* most pairs that can merge do */
    return rank;
}

uint32_t token__merges_rank(const struct token__merges *merges, int32_t left, int32_t right)
{
    return rank_of(merges, left, right);
}

static size_t merge_short(const struct token__merges *merges, int32_t *symbols, size_t count)
{
    uint32_t ranks[SHORT_WORD]; /* ranks[i]: of symbols i and i + 1 */
    for (size_t i = 0; i + 1 < count; i++)
        ranks[i] = rank_of(merges, symbols[i], symbols[i + 1]);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            best = ranks[i] < ranks[best] ? i : best;
        if (ranks[best] == TOKEN_NO_RANK) break;
        symbols[best] = merges->products[ranks[best]];
        count--;
        for (size_t i = best + 1; i < count; i++) {
            symbols[i] = symbols[i + 1];
            ranks[i - 1] = ranks[i];
        }
        if (best + 1 < count) ranks[best] = rank_of(merges, symbols[best], symbols[best + 1]);
        if (best > 0) ranks[best - 1] = rank_of(merges, symbols[best - 1], symbols[best]);
    }
    return count;
}

/* A binary heap of rank << 32 | position: the least item is the next merge. */
static void heap_push(uint64_t *heap, size_t *count, uint64_t item)
{
    size_t at = (*count)++;
    for (size_t parent; at > 0 && heap[parent = (at - 1) / 2] > item; at = parent)
        heap[at] = heap[parent];
    heap[at] = item;
}

static void heap_sink(uint64_t *heap, size_t count, size_t at)
{
    uint64_t item = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= item) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static bool heap_reserve(struct token__heap *room, size_t count, struct ig_err *err)
{
    if (count <= room->cap) return true;
    token__heap_release(room);
    /* Each symbol brings one entry, and each of the fewer merges two more. */
    room->items = malloc(3 * count * sizeof(*room->items));
    room->prev = malloc(count * sizeof(*room->prev));
    room->next = malloc(count * sizeof(*room->next));
    room->ranks = malloc(count * sizeof(*room->ranks));
    if (!room->items || !room->prev || !room->next || !room->ranks) return ig_err_nomem(err);
    room->cap = count;
    return true;
}

void token__heap_release(struct token__heap *room)
{
    free(room->items);
    free(room->prev);
    free(room->next);
    free(room->ranks);
    *room = (struct token__heap){0};
}

/* The pair at `left` has changed: notes its rank, and queues it when it can merge. */
static void queue_pair(const struct token__merges *merges, struct token__heap *room,
                       const int32_t *symbols, uint32_t left, size_t *queued)
{
    uint32_t right = room->next[left];
    room->ranks[left] =
        right == UINT32_MAX ? TOKEN_NO_RANK : rank_of(merges, symbols[left], symbols[right]);
    if (room->ranks[left] == TOKEN_NO_RANK) return;
    heap_push(room->items, queued, (uint64_t)room->ranks[left] << 32 | left);
}

static size_t merge_long(const struct token__merges *merges, struct token__heap *room,
                         int32_t *symbols, uint32_t count)
{
    size_t queued = 0;
    for (uint32_t i = 0; i < count; i++) {
        room->prev[i] = i - 1; /* UINT32_MAX at the ends */
        room->next[i] = i + 1 < count ? i + 1 : UINT32_MAX;
    }
    for (uint32_t i = 0; i < count; i++)
        queue_pair(merges, room, symbols, i, &queued);
    while (queued) {
        uint64_t top = room->items[0];
        room->items[0] = room->items[--queued];
        if (queued) heap_sink(room->items, queued, 0);
        uint32_t rank = (uint32_t)(top >> 32), left = (uint32_t)top;
        if (room->ranks[left] != rank) continue;
        uint32_t right = room->next[left], after = room->next[right], before = room->prev[left];
        symbols[left] = merges->products[rank];
        room->next[left] = after;
        room->ranks[right] = TOKEN_NO_RANK;
        if (after != UINT32_MAX) room->prev[after] = left;
        queue_pair(merges, room, symbols, left, &queued);
        if (before != UINT32_MAX) queue_pair(merges, room, symbols, before, &queued);
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != UINT32_MAX; i = room->next[i])
        symbols[kept++] = symbols[i];
    return kept;
}

bool token__bpe_merge(const struct token__merges *merges, struct token__heap *room,
                      int32_t *symbols, size_t *count, struct ig_err *err)
{
    if (*count <= SHORT_WORD) {
        *count = merge_short(merges, symbols, *count);
        return true;
    }
    if (!heap_reserve(room, *count, err)) return false;
    *count = merge_long(merges, room, symbols, (uint32_t)*count);
    return true;
}
