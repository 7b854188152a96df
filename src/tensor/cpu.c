/* SPDX-License-Identifier: Apache-2.0
 * cpu — which instruction sets this machine runs. AVX-512 here means F, BW, VL and DQ, which every
 * server part since Skylake-SP and Zen 4 has. NEON is part of every 64-bit ARM. */
#include "tensor/cpu.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const isa_names[IG_ISA_COUNT] = {"ref",        "avx2",   "avxvnni",
                                                    "avx512vnni", "avx512", "neon"};

const char *ig_isa_name(enum ig_isa isa)
{
    return isa_names[isa];
}

#if defined(__x86_64__)
/* Compilers of 2022 do not all know this word in __builtin_cpu_supports. */
static bool has_avxvnni(void)
{
    unsigned a = 0, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & bit_AVXVNNI;
}

static bool has(enum ig_isa isa)
{
    /* F16C came before AVX2 in every maker's parts, and clang 14 cannot ask for it. */
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi2");
    if (isa == IG_ISA_AVX2) return avx2;
    if (isa == IG_ISA_AVXVNNI) return avx2 && has_avxvnni();
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (isa == IG_ISA_AVX512VNNI) return avx512 && __builtin_cpu_supports("avx512vnni");
    return isa == IG_ISA_AVX512 && avx512;
}
#else
static bool has(enum ig_isa isa)
{
    return isa == IG_ISA_NEON && IG_ISA_HAS_NEON;
}
#endif

bool ig_isa_available(enum ig_isa isa)
{
    return isa == IG_ISA_REF || has(isa);
}

bool ig_isa_pick(enum ig_isa *out, struct ig_err *err)
{
    const char *wish = getenv("IG_KERNELS");
    if (wish && *wish) {
        for (int i = 0; i < IG_ISA_COUNT; i++) {
            if (strcmp(wish, isa_names[i]) != 0) continue;
            if (!ig_isa_available((enum ig_isa)i))
                return ig_err_set(err, IG_ERR_USAGE, "IG_KERNELS=%s: this machine does not have it",
                                  wish);
            *out = (enum ig_isa)i;
            return true;
        }
        return ig_err_set(err, IG_ERR_USAGE,
                          "IG_KERNELS='%s' is unknown; it may be ref, avx2, avxvnni, "
                          "avx512vnni, avx512 or neon",
                          wish);
    }
    enum ig_isa best = IG_ISA_REF;
    for (int i = 0; i < IG_ISA_COUNT; i++)
        if (ig_isa_available((enum ig_isa)i)) best = (enum ig_isa)i;
    *out = best;
    return true;
}
