/* SPDX-License-Identifier: Apache-2.0
 * clock — monotonic seconds. */
#pragma once
double ig_clock_seconds(void);
