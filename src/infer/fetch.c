/* SPDX-License-Identifier: Apache-2.0
 * fetch — experts of a model that is larger than memory. Their pages come from the disk when they
 * are touched, and the system reads ahead of that: up to megabytes of other experts, which nobody
 * asks for and which push useful pages out. So reading ahead is turned off for experts, and those
 * that the router has chosen are asked for at once, all of them, before the first is used. */
#include "infer/infer_internal.h"

#include <sys/mman.h>
#include <unistd.h>

bool infer__outgrows(const struct ig_store *store)
{
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && bytes > 0 && ig_store_bytes(store) / (uint64_t)bytes > (uint64_t)pages;
}

/* A wish, which may be refused. */
static void advise(const void *at, size_t bytes, int advice)
{
    size_t skew = (uintptr_t)at % (size_t)sysconf(_SC_PAGESIZE);
    if (bytes > 0) madvise((void *)((uintptr_t)at - skew), bytes + skew, advice);
}

void infer__scattered(const void *at, size_t bytes)
{
    advise(at, bytes, MADV_RANDOM);
}

static void fetch_matrix(const struct ig_matrix *w)
{
    advise(w->data, (size_t)w->rows * ig_matmul_row_bytes(w), MADV_WILLNEED);
    if (w->group == 0 || !w->scales) return;
    size_t each = w->packing == IG_PACK_AFFINE ? ig_dtype_bytes(w->scale_dtype) : 1;
    size_t bytes = (size_t)(w->rows * (w->cols / w->group)) * each;
    advise(w->scales, bytes, MADV_WILLNEED);
    if (w->biases) advise(w->biases, bytes, MADV_WILLNEED);
}

void infer__fetch(const struct infer_expert *expert)
{
    fetch_matrix(&expert->gate);
    fetch_matrix(&expert->up);
    fetch_matrix(&expert->down);
}
