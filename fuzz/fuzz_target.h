/* SPDX-License-Identifier: Apache-2.0
 * fuzz_target — what libFuzzer calls; replay.c calls the same. */
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
