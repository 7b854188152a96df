/* SPDX-License-Identifier: Apache-2.0
 * starve — allocations that fail on request. The linker wraps the allocators of the tests that are
 * named in meson.build's `starved`. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* The count of allocations that still succeed; negative: all do. */
static long budget = -1;
static _Atomic long taken; /* by any thread */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

static bool refuse(void)
{
    long now = ++taken;
    return budget >= 0 && now > budget;
}

void *__wrap_malloc(size_t bytes)
{
    return refuse() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return refuse() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return refuse() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return refuse() ? NULL : __real_aligned_alloc(align, bytes);
}
