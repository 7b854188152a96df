/* SPDX-License-Identifier: Apache-2.0
 * hybrid — see hybrid.h. Source: "Run Length Encoding / Bit-Packing Hybrid" in Encodings.md of
 * apache/parquet-format. */
#include "table/hybrid.h"

/* Reads the head of the next run; false at the end. */
static bool next_run(struct table_hybrid *h)
{
    uint64_t head = 0;
    unsigned shift = 0;
    for (;; shift += 7) {
        if (h->p == h->end || shift > 28) return false;
        head |= (uint64_t)(*h->p & 0x7F) << shift;
        if (*h->p++ < 0x80) break;
    }
    if (head & 1) {
        h->packed = (head >> 1) * 8;
        h->bits = 0;
        h->ahead = 0;
        return true;
    }
    unsigned bytes = (h->width + 7) / 8;
    if ((size_t)(h->end - h->p) < bytes) return false;
    h->value = 0;
    for (unsigned i = 0; i < bytes; i++)
        h->value |= (uint32_t)*h->p++ << 8 * i;
    if (h->width < 32 && h->value >> h->width) return false;
    h->run = head >> 1;
    return true;
}

bool table__hybrid_next(struct table_hybrid *h, uint32_t *out)
{
    while (h->run == 0 && h->packed == 0)
        if (!next_run(h)) return false;
    if (h->run) {
        h->run--;
        *out = h->value;
        return true;
    }
    for (; h->bits < h->width; h->bits += 8) {
        if (h->p == h->end) return false;
        h->ahead |= (uint64_t)*h->p++ << h->bits;
    }
    *out = (uint32_t)(h->ahead & ((UINT64_C(1) << h->width) - 1));
    h->ahead >>= h->width;
    h->bits -= h->width;
    h->packed--;
    return true;
}
