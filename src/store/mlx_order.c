/* SPDX-License-Identifier: Apache-2.0
 * mlx_order — the payload order of a file that MLX writes.
 *
 * mx.save_safetensors iterates over a std::unordered_map<std::string, array>, so the order is that
 * of libstdc++'s hash table: a singly linked list with a bucket array of "the node before my
 * first". Source of the rules: libstdc++ hashtable.h (_M_insert_unique_node,
 * _M_insert_bucket_begin, _M_rehash_aux), hashtable_c++0x.cc (_Prime_rehash_policy), hash_bytes.cc
 * (64-bit Murmur2 variant). */
#include "base/size.h"
#include "store_internal.h"

#include <stdlib.h>

#define MURMUR_MUL  UINT64_C(0xc6a4a7935bd1e995)
#define MURMUR_SEED UINT64_C(0xc70f6907)
#define NONE        (-1)
#define HEAD        (-2) /* the node before the first one */

/* Bucket counts that an empty map grows through: each is the first prime of libstdc++'s table that
 * is at least twice the one before. */
static const int64_t bucket_counts[] = {13,    29,     59,     127,    257,     541,
                                        1109,  2357,   5087,   10273,  20753,   42043,
                                        85229, 172933, 351061, 712697, 1447153, 2938679};

struct table {
    const uint64_t *hashes;
    int64_t *next;    /* of each node, and of HEAD in next_head */
    int64_t *buckets; /* the node before the bucket's first: an index, HEAD, or NONE when empty */
    int64_t head, bucket_count;
};

static uint64_t shift_mix(uint64_t v)
{
    return v ^ v >> 47;
}

static uint64_t hash_name(struct ig_slice name)
{
    uint64_t hash = MURMUR_SEED ^ name.len * MURMUR_MUL, word;
    size_t i = 0;
    for (; i + 8 <= name.len; i += 8) {
        memcpy(&word, name.ptr + i, 8);
        hash = (hash ^ shift_mix(word * MURMUR_MUL) * MURMUR_MUL) * MURMUR_MUL;
    }
    if (i < name.len) {
        word = 0;
        for (size_t k = name.len; k-- > i;)
            word = word << 8 | (unsigned char)name.ptr[k];
        hash = (hash ^ word) * MURMUR_MUL;
    }
    return shift_mix(shift_mix(hash) * MURMUR_MUL);
}

static int64_t *after(struct table *t, int64_t node)
{
    return node == HEAD ? &t->head : &t->next[node];
}

static int64_t bucket_of(const struct table *t, int64_t node)
{
    return (int64_t)(t->hashes[node] % (uint64_t)t->bucket_count);
}

/* Puts a node at its bucket's front; a first node of a bucket goes to the front of the whole list.
 */
static void link_node(struct table *t, int64_t node)
{
    int64_t bucket = bucket_of(t, node);
    if (t->buckets[bucket] != NONE) {
        int64_t *before = after(t, t->buckets[bucket]);
        t->next[node] = *before;
        *before = node;
        return;
    }
    t->next[node] = t->head;
    t->head = node;
    if (t->next[node] != NONE) t->buckets[bucket_of(t, t->next[node])] = node;
    t->buckets[bucket] = HEAD;
}

static void rehash(struct table *t, int64_t bucket_count)
{
    int64_t node = t->head;
    t->head = NONE;
    t->bucket_count = bucket_count;
    for (int64_t b = 0; b < bucket_count; b++)
        t->buckets[b] = NONE;
    while (node != NONE) {
        int64_t following = t->next[node];
        link_node(t, node);
        node = following;
    }
}

bool store__mlx_order(const struct ig_slice *names, int64_t count, int64_t *order,
                      struct ig_err *err)
{
    const size_t sizes = sizeof bucket_counts / sizeof *bucket_counts;
    if (count >= bucket_counts[sizes - 1])
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%lld tensors in one MLX file",
                          (long long)count);
    size_t size = 0;
    while (bucket_counts[size] < count)
        size++;
    uint64_t *hashes = malloc(((size_t)count + 1) * sizeof(*hashes));
    int64_t *next = malloc(((size_t)count + 1) * sizeof(*next));
    int64_t *buckets = malloc((size_t)bucket_counts[size] * sizeof(*buckets));
    struct table t = {.hashes = hashes, .next = next, .buckets = buckets, .head = NONE};
    bool ok = hashes && next && buckets;
    if (!ok) ig_err_nomem(err);
    for (int64_t i = 0, grown = 0; ok && i < count; i++) {
        hashes[i] = hash_name(names[i]);
        if (t.bucket_count < i + 1) rehash(&t, bucket_counts[grown++]);
        link_node(&t, i);
    }
    for (int64_t node = t.head, i = 0; ok && node != NONE; node = next[node])
        order[i++] = node;
    free(hashes);
    free(next);
    free(buckets);
    return ok;
}
