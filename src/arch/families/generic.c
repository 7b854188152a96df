/* SPDX-License-Identifier: Apache-2.0
 * generic — any other model: roles from what tensors are called in most families (arch.c). */
#include "arch/arch_internal.h"

static const char *const model_types[] = {NULL};

const struct ig_arch arch__generic = {
    .name = "generic",
    .summary = "any other model: merged and quantised by tensor name",
    .model_types = model_types,
};
