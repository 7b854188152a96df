/* SPDX-License-Identifier: Apache-2.0
 * narrow — which narrow arithmetic this machine has. */
#include "tensor/kernels/narrow.h"

#if IG_ISA_HAS_NEON && defined(__linux__)
#include <sys/auxv.h>
#elif IG_ISA_HAS_NEON && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#if IG_ISA_HAS_NEON
static bool has_dotprod(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has;
#else
    return false;
#endif
}
#endif

/* An AVX-512 without VNNI takes the kernels of 256 bits. */
enum ig_narrow_set ig_narrow_choose(enum ig_isa isa, struct ig_narrow_cpu cpu)
{
    if (isa >= IG_ISA_AVX512 && cpu.avx512vnni && cpu.avx512vbmi) return IG_NARROW_VBMI;
    if (isa >= IG_ISA_AVX512VNNI && cpu.avx512vnni) return IG_NARROW_VNNI;
    if (isa >= IG_ISA_AVXVNNI && cpu.avxvnni) return IG_NARROW_AVXVNNI;
    return isa >= IG_ISA_AVX2 ? IG_NARROW_AVX2 : IG_NARROW_SET_NONE;
}

void ig_narrow_fill(struct ig_narrow_ops *ops, enum ig_isa isa)
{
    *ops = (struct ig_narrow_ops){0};
#if defined(__x86_64__)
    struct ig_narrow_cpu cpu = {.avxvnni = ig_isa_available(IG_ISA_AVXVNNI),
                                .avx512vnni = __builtin_cpu_supports("avx512vnni"),
                                .avx512vbmi = __builtin_cpu_supports("avx512vbmi"),
                                .avx512bf16 = __builtin_cpu_supports("avx512bf16")};
    switch (ig_narrow_choose(isa, cpu)) {
    case IG_NARROW_SET_NONE: return;
    case IG_NARROW_AVX2: ig_narrow_avx2(ops); return;
    case IG_NARROW_AVXVNNI: ig_narrow_avxvnni(ops); return;
    case IG_NARROW_VNNI: ig_narrow_vnni(ops); break;
    case IG_NARROW_VBMI: ig_narrow_vbmi(ops);
    }
    ops->bf16 = cpu.avx512bf16;
#elif IG_ISA_HAS_NEON
    if (isa == IG_ISA_NEON && has_dotprod()) ig_narrow_dotprod(ops);
#else
    (void)isa;
#endif
}
