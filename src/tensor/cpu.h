/* SPDX-License-Identifier: Apache-2.0
 * cpu — how a kernel family is chosen.
 *
 * A family FOO has kernels/foo.h with
 *     struct ig_foo_ops { void (*slot)(...); ... };
 *     void ig_foo_ref(struct ig_foo_ops *ops);      fills every slot (kernels/ref/ref_foo.c)
 *     void ig_foo_avx2(struct ig_foo_ops *ops);     overrides slots  (kernels/avx2/avx2_foo.c)
 *     void ig_foo_avx512(struct ig_foo_ops *ops);
 *     void ig_foo_neon(struct ig_foo_ops *ops);     on 64-bit ARM (kernels/neon/neon_foo.c)
 * and its users take a filled copy with IG_OPS_FILL(foo, &ops, isa), where isa comes from
 * ig_isa_pick (or from a test that walks all of them). */
#pragma once
#include "ingot/tensor.h"

#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define IG_ISA_HAS_NEON 1
#else
#define IG_ISA_HAS_NEON 0
#endif

/* Each architecture has its own ladder. */
#if defined(__x86_64__)
#define IG_OPS_FILL(family, ops, isa)                                                              \
    do {                                                                                           \
        ig_##family##_ref(ops);                                                                    \
        if ((isa) >= IG_ISA_AVX2 && (isa) <= IG_ISA_AVX512) ig_##family##_avx2(ops);               \
        if ((isa) >= IG_ISA_AVX512VNNI && (isa) <= IG_ISA_AVX512) ig_##family##_avx512(ops);       \
    } while (0)
#elif IG_ISA_HAS_NEON
#define IG_OPS_FILL(family, ops, isa)                                                              \
    do {                                                                                           \
        ig_##family##_ref(ops);                                                                    \
        if ((isa) == IG_ISA_NEON) ig_##family##_neon(ops);                                         \
    } while (0)
#else
#define IG_OPS_FILL(family, ops, isa) ((void)(isa), ig_##family##_ref(ops))
#endif
