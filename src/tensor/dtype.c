/* SPDX-License-Identifier: Apache-2.0
 * dtype — one table of what is known about each element type. */
#include "base/check.h"
#include "ingot/tensor.h"

struct dtype_facts {
    const char *name;       /* safetensors */
    const char *torch_name; /* what recipes and config.json say */
    size_t bytes;
    bool is_float;
};

static const struct dtype_facts facts[IG_DTYPE_COUNT] = {
    [IG_BOOL] = {"BOOL", "bool", 1, false},
    [IG_U8] = {"U8", "uint8", 1, false},
    [IG_I8] = {"I8", "int8", 1, false},
    [IG_F8_E5M2] = {"F8_E5M2", "float8_e5m2", 1, true},
    [IG_F8_E4M3] = {"F8_E4M3", "float8_e4m3fn", 1, true},
    [IG_F8_E8M0] = {"F8_E8M0", "float8_e8m0fnu", 1, false},
    [IG_U16] = {"U16", "uint16", 2, false},
    [IG_I16] = {"I16", "int16", 2, false},
    [IG_F16] = {"F16", "float16", 2, true},
    [IG_BF16] = {"BF16", "bfloat16", 2, true},
    [IG_U32] = {"U32", "uint32", 4, false},
    [IG_I32] = {"I32", "int32", 4, false},
    [IG_F32] = {"F32", "float32", 4, true},
    [IG_U64] = {"U64", "uint64", 8, false},
    [IG_I64] = {"I64", "int64", 8, false},
    [IG_F64] = {"F64", "float64", 8, true},
};

static const struct dtype_facts *facts_of(enum ig_dtype dtype)
{
    IG_ASSERT((unsigned)dtype < IG_DTYPE_COUNT);
    return &facts[dtype];
}

size_t ig_dtype_bytes(enum ig_dtype dtype)
{
    return facts_of(dtype)->bytes;
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
