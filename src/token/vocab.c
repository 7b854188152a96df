/* SPDX-License-Identifier: Apache-2.0
 * vocab — the table from a token's bytes to its id.
 *
 * Nearly every word that is looked up is short, so texts up to 12 bytes sit in the slots
 * themselves: 16 bytes a slot, four to a cache line, no second place to look.
 *
 *     | bytes 0-7            | bytes 8-11 | id:26 flags:2 length:4 |
 *
 * Longer texts have slots of a hash and an id, and are compared with the text of that id. Both
 * tables probe linearly at a load of at most two thirds. */
#include "base/check.h"
#include "token/token_internal.h"

#include <stdlib.h>

#define SHORT_MAX 12
#define AHEAD     8 /* look-ups that are under way at once while a table is filled */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "keys are read as little-endian words");
_Static_assert(sizeof(struct token__short_slot) == 16, "four slots to a cache line");
_Static_assert(TOKEN_IDS_MAX <= 1 << (32 - TOKEN_TAIL_SHIFT), "ids fit beside the length");

struct key {
    uint64_t low;
    uint32_t high, length;
};

static const uint64_t low_mask[SHORT_MAX + 1] = {
    0,          0xFF,  0xFFFF, 0xFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF,
    ~0ull >> 8, ~0ull, ~0ull,  ~0ull,    ~0ull,      ~0ull,
};
static const uint32_t high_mask[SHORT_MAX + 1] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF,
};

/* text.len is 1 to SHORT_MAX. Reads 12 bytes where it may. */
static inline struct key key_of(struct ig_slice text, const char *readable_end)
{
    struct key key = {0, 0, (uint32_t)text.len};
    if (readable_end - text.ptr >= SHORT_MAX) {
        memcpy(&key.low, text.ptr, 8);
        memcpy(&key.high, text.ptr + 8, 4);
        key.low &= low_mask[text.len];
        key.high &= high_mask[text.len];
    } else {
        unsigned char room[SHORT_MAX] = {0};
        memcpy(room, text.ptr, text.len);
        memcpy(&key.low, room, 8);
        memcpy(&key.high, room + 8, 4);
    }
    return key;
}

/* Odd multipliers from the golden ratio and the plastic number; the top bits are the index. */
static inline size_t short_index(struct key key, unsigned bits)
{
    uint64_t high = (uint64_t)key.length << 32 | key.high;
    uint64_t mixed = (key.low ^ high * 0xC13FA9A902A6328Full) * 0x9E3779B97F4A7C15ull;
    mixed = (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15ull;
    return (size_t)(mixed >> (64 - bits));
}

static uint32_t long_hash(struct ig_slice text)
{
    uint64_t hash = text.len, word;
    size_t at = 0;
    for (; at + 8 <= text.len; at += 8) {
        memcpy(&word, text.ptr + at, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
        hash ^= hash >> 32;
    }
    memcpy(&word, text.ptr + text.len - 8, 8); /* the last 8 bytes, some of them again */
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
    return (uint32_t)(hash >> 32);
}

/* The slot with this text, or the free slot where it belongs; so too for long_slot. */
static struct token__short_slot *short_slot(const struct token__vocab *vocab, struct key key)
{
    size_t mask = ((size_t)1 << vocab->short_bits) - 1;
    for (size_t i = short_index(key, vocab->short_bits);; i = (i + 1) & mask) {
        struct token__short_slot *slot = &vocab->shorts[i];
        uint32_t tail = __atomic_load_n(&slot->tail, __ATOMIC_RELAXED);
        if (slot->low == key.low && slot->high == key.high && (tail & 15) == key.length)
            return slot;
        if (!tail) return slot;
    }
}

static struct token__long_slot *long_slot(const struct token__vocab *vocab, struct ig_slice text,
                                          uint32_t hash)
{
    size_t mask = ((size_t)1 << vocab->long_bits) - 1;
    for (size_t i = hash >> (32 - vocab->long_bits);; i = (i + 1) & mask) {
        struct token__long_slot *slot = &vocab->longs[i];
        uint32_t tail = __atomic_load_n(&slot->tail, __ATOMIC_RELAXED);
        if (!tail) return slot;
        if (slot->hash == hash && ig_slice_equal(vocab->texts[tail >> TOKEN_TAIL_SHIFT], text))
            return slot;
    }
}

static unsigned bits_for(size_t count)
{
    unsigned bits = 4;
    while (((size_t)1 << bits) * 2 / 3 < count)
        bits++;
    return bits;
}

bool token__vocab_init(struct token__vocab *vocab, const struct ig_slice *texts, int32_t count,
                       struct ig_err *err)
{
    size_t shorts = 0, longs = 0;
    for (int32_t id = 0; id < count; id++) {
        shorts += texts[id].len > 0 && texts[id].len <= SHORT_MAX;
        longs += texts[id].len > SHORT_MAX;
    }
    *vocab = (struct token__vocab){
        .short_bits = bits_for(shorts), .long_bits = bits_for(longs), .texts = texts};
    vocab->shorts = calloc((size_t)1 << vocab->short_bits, sizeof(*vocab->shorts));
    vocab->longs = calloc((size_t)1 << vocab->long_bits, sizeof(*vocab->longs));
    if (!vocab->shorts || !vocab->longs) return ig_err_nomem(err);
    for (int32_t id = 0; id < count; id++) {
        struct ig_slice text = texts[id];
        uint32_t tail = (uint32_t)id << TOKEN_TAIL_SHIFT;
        if (id + AHEAD < count) {
            struct ig_slice later = texts[id + AHEAD];
            if (later.len) token__vocab_prefetch(vocab, later, later.ptr + later.len);
        }
        if (text.len == 0) continue;
        if (text.len > SHORT_MAX) {
            uint32_t hash = long_hash(text);
            *long_slot(vocab, text, hash) = (struct token__long_slot){hash, tail | 1};
            continue;
        }
        struct key key = key_of(text, text.ptr + text.len);
        *short_slot(vocab, key) = (struct token__short_slot){key.low, key.high, tail | key.length};
    }
    return true;
}

void token__vocab_release(struct token__vocab *vocab)
{
    free(vocab->shorts);
    free(vocab->longs);
    *vocab = (struct token__vocab){0};
}

void token__vocab_prefetch(const struct token__vocab *vocab, struct ig_slice text,
                           const char *readable_end)
{
    if (text.len > SHORT_MAX)
        __builtin_prefetch(&vocab->longs[long_hash(text) >> (32 - vocab->long_bits)], 1);
    else if (text.len > 0)
        __builtin_prefetch(
            &vocab->shorts[short_index(key_of(text, readable_end), vocab->short_bits)], 1);
}

uint32_t *token__vocab_find(const struct token__vocab *vocab, struct ig_slice text,
                            const char *readable_end)
{
    if (text.len == 0) return NULL;
    uint32_t *tail = text.len > SHORT_MAX ? &long_slot(vocab, text, long_hash(text))->tail
                                          : &short_slot(vocab, key_of(text, readable_end))->tail;
    return __atomic_load_n(tail, __ATOMIC_RELAXED) ? tail : NULL;
}

int32_t token__vocab_id(const struct token__vocab *vocab, struct ig_slice text,
                        const char *readable_end)
{
    const uint32_t *tail = token__vocab_find(vocab, text, readable_end);
    return tail ? (int32_t)(__atomic_load_n(tail, __ATOMIC_RELAXED) >> TOKEN_TAIL_SHIFT) : -1;
}
