/* SPDX-License-Identifier: Apache-2.0
 * clock — monotonic seconds, and the process's peak resident memory. */
#pragma once
#include <stdint.h>

double ig_clock_seconds(void);
uint64_t ig_peak_bytes(void);
