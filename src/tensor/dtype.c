/* SPDX-License-Identifier: Apache-2.0
 * dtype — one table of what is known about each element type. */
#include "base/check.h"
#include "ingot/tensor.h"

struct dtype_facts {
    const char *name;       /* safetensors */
    const char *torch_name; /* what recipes and config.json say */
    size_t bits;
    bool is_float; /* merge and quantise can read it */
};

static const struct dtype_facts facts[IG_DTYPE_COUNT] = {
    [IG_BOOL] = {"BOOL", "bool", 8, false},
    [IG_F4] = {"F4", "float4_e2m1fn", 4, false},
    [IG_F6_E2M3] = {"F6_E2M3", "float6_e2m3fn", 6, false},
    [IG_F6_E3M2] = {"F6_E3M2", "float6_e3m2fn", 6, false},
    [IG_U8] = {"U8", "uint8", 8, false},
    [IG_I8] = {"I8", "int8", 8, false},
    [IG_F8_E5M2] = {"F8_E5M2", "float8_e5m2", 8, true},
    [IG_F8_E4M3] = {"F8_E4M3", "float8_e4m3fn", 8, true},
    [IG_F8_E8M0] = {"F8_E8M0", "float8_e8m0fnu", 8, false},
    [IG_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", "float8_e4m3fnuz", 8, false},
    [IG_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", "float8_e5m2fnuz", 8, false},
    [IG_I16] = {"I16", "int16", 16, false},
    [IG_U16] = {"U16", "uint16", 16, false},
    [IG_F16] = {"F16", "float16", 16, true},
    [IG_BF16] = {"BF16", "bfloat16", 16, true},
    [IG_I32] = {"I32", "int32", 32, false},
    [IG_U32] = {"U32", "uint32", 32, false},
    [IG_F32] = {"F32", "float32", 32, true},
    [IG_C64] = {"C64", "complex64", 64, false},
    [IG_F64] = {"F64", "float64", 64, true},
    [IG_I64] = {"I64", "int64", 64, false},
    [IG_U64] = {"U64", "uint64", 64, false},
};

static const struct dtype_facts *facts_of(enum ig_dtype dtype)
{
    IG_ASSERT((unsigned)dtype < IG_DTYPE_COUNT);
    return &facts[dtype];
}

size_t ig_dtype_bytes(enum ig_dtype dtype)
{
    return facts_of(dtype)->bits / 8; /* 6 and 4 bits give 0 */
}

size_t ig_dtype_bits(enum ig_dtype dtype)
{
    return facts_of(dtype)->bits;
}

const char *ig_dtype_name(enum ig_dtype dtype)
{
    return facts_of(dtype)->name;
}

const char *ig_dtype_torch_name(enum ig_dtype dtype)
{
    return facts_of(dtype)->torch_name;
}

bool ig_dtype_is_float(enum ig_dtype dtype)
{
    return facts_of(dtype)->is_float;
}

bool ig_dtype_find(struct ig_slice name, enum ig_dtype *out)
{
    for (int i = 0; i < IG_DTYPE_COUNT; i++) {
        if (!ig_slice_is(name, facts[i].name) && !ig_slice_is(name, facts[i].torch_name)) continue;
        *out = (enum ig_dtype)i;
        return true;
    }
    return false;
}
