/* SPDX-License-Identifier: Apache-2.0
 * check — assertions about our own code, on in release too. Files and users are input, never
 * asserted: those get an ig_err. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#define IG_ASSERT(condition)                                                                       \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : (fprintf(stderr, "ingot: bug: %s:%d: %s\n", __FILE__, __LINE__, #condition), abort()))
