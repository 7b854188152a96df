/* SPDX-License-Identifier: Apache-2.0
 * random — CPython's random.Random(seed).sample, so that few-shot examples are those that the
 * harness draws.
 *
 * The generator is MT19937 (Matsumoto and Nishimura 1998, doi:10.1145/272991.272995) with its
 * init_by_array; an integer below n comes from the top bits of one output, drawn again while it is
 * too large; sample is as CPython's Lib/random.py states it (the same since 3.2). */
#include "eval/eval_internal.h"

#include <math.h>
#include <stdlib.h>

#define WORDS 624
#define SHIFT 397

static void seed_word(struct eval_random *random, uint32_t seed)
{
    uint32_t *s = random->state;
    s[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++)
        s[i] = 1812433253u * (s[i - 1] ^ s[i - 1] >> 30) + i;
    random->next = WORDS;
}

void eval__random_seed(struct eval_random *random, uint64_t seed)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words = key[1] ? 2 : 1, i = 1, j = 0;
    uint32_t *s = random->state;
    seed_word(random, 19650218u);
    for (int k = WORDS; k > 0; k--) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1664525u) + key[j] + j;
        if (++i >= WORDS) {
            s[0] = s[WORDS - 1];
            i = 1;
        }
        if (++j >= words) j = 0;
    }
    for (int k = WORDS - 1; k > 0; k--) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * 1566083941u) - i;
        if (++i >= WORDS) {
            s[0] = s[WORDS - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
}

static uint32_t next_word(struct eval_random *random)
{
    uint32_t *s = random->state;
    if (random->next >= WORDS) {
        for (int i = 0; i < WORDS; i++) {
            uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % WORDS] & 0x7FFFFFFFu);
            s[i] = s[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908B0DFu : 0);
        }
        random->next = 0;
    }
    uint32_t y = s[random->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9D2C5680u;
    y ^= y << 15 & 0xEFC60000u;
    return y ^ y >> 18;
}

/* n from 1 to 2^31: a pool of rows is never larger (EVAL_FILE_BYTES_MAX). */
static int64_t below(struct eval_random *random, int64_t n)
{
    int bits = 64 - __builtin_clzll((unsigned long long)n);
    int64_t value;
    do
        value = next_word(random) >> (32 - bits);
    while (value >= n);
    return value;
}

/* Up to this n CPython's sample shuffles a list; above, it keeps a set of what it has drawn. */
static double list_size_max(int64_t k)
{
    double size = 21;
    if (k > 5) size += pow(4, ceil(log((double)k * 3) / log(4)));
    return size;
}

static bool drawn(const int64_t *out, int64_t count, int64_t value)
{
    for (int64_t i = 0; i < count; i++)
        if (out[i] == value) return true;
    return false;
}

bool eval__random_sample(struct eval_random *random, int64_t n, int64_t k, int64_t *out,
                         struct ig_err *err)
{
    if ((double)n > list_size_max(k)) {
        for (int64_t i = 0; i < k; i++) {
            int64_t value = below(random, n);
            while (drawn(out, i, value))
                value = below(random, n);
            out[i] = value;
        }
        return true;
    }
    int64_t *pool = calloc((size_t)n + 1, sizeof *pool);
    if (!pool) return ig_err_nomem(err);
    for (int64_t i = 0; i < n; i++)
        pool[i] = i;
    for (int64_t i = 0; i < k; i++) {
        int64_t j = below(random, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    free(pool);
    return true;
}
