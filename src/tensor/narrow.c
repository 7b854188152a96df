/* SPDX-License-Identifier: Apache-2.0
 * narrow — which narrow arithmetic this machine has. */
#include "tensor/kernels/narrow.h"

void ig_narrow_fill(struct ig_narrow_ops *ops, enum ig_isa isa)
{
    *ops = (struct ig_narrow_ops){0};
#if defined(__x86_64__)
    if (isa >= IG_ISA_AVX512 && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512vbmi")) {
        ig_narrow_vnni(ops);
        ops->bf16 = __builtin_cpu_supports("avx512bf16");
    } else if (isa >= IG_ISA_AVXVNNI && ig_isa_available(IG_ISA_AVXVNNI)) {
        ig_narrow_avxvnni(ops);
    } else if (isa >= IG_ISA_AVX2) {
        ig_narrow_avx2(ops);
    }
#else
    (void)isa;
#endif
}
