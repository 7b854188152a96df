/* SPDX-License-Identifier: Apache-2.0
 * check — what every cmocka file includes, in the order that cmocka wants. */
#pragma once
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "ingot/err.h"
#include <stdlib.h>
#include <string.h>

/* Whether a foreign processor is emulated: slowly. */
static inline bool check_emulated(void)
{
    return getenv("MESON_EXE_WRAPPER") != NULL;
}

/* Fails the test with the library's message when done is false. */
#define check_ok(done, err)                                                                        \
    do {                                                                                           \
        if (!(done)) fail_msg("%s", (err)->text);                                                  \
    } while (0)
/* The call must have failed, with this code, and this text somewhere in its message. */
#define check_fails(done, err, want_code, want_text)                                               \
    do {                                                                                           \
        if (done) fail_msg("succeeded; expected: %s", want_text);                                  \
        if (!strstr((err)->text, want_text))                                                       \
            fail_msg("got '%s', want '%s'", (err)->text, want_text);                               \
        assert_int_equal((err)->code, want_code);                                                  \
    } while (0)
