/* SPDX-License-Identifier: Apache-2.0
 * err — see ingot/err.h. Text that does not fit is cut; the place in front is what is kept. */
#include "ingot/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(struct ig_err *err, enum ig_code code, const char *format, va_list args)
{
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
}

bool ig_err_set(struct ig_err *err, enum ig_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put(err, code, format, args);
    va_end(args);
    return false;
}

bool ig_err_errno(struct ig_err *err, int error_number, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put(err, error_number == ENOMEM ? IG_ERR_NOMEM : IG_ERR_IO, format, args);
    va_end(args);
    char reason[128] = "";
#if defined(__GLIBC__)
    const char *text = strerror_r(error_number, reason, sizeof reason); /* may not use reason */
#else
    const char *text =
        strerror_r(error_number, reason, sizeof reason) == 0 ? reason : "unknown error";
#endif
    size_t len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", text);
    return false;
}

bool ig_err_within(struct ig_err *err, const char *format, ...)
{
    char inner[IG_ERR_TEXT_MAX];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", inner);
    return false;
}

bool ig_err_nomem(struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_NOMEM, "out of memory");
}

const char *ig_code_name(enum ig_code code)
{
    static const char *const names[] = {"ok",    "usage",       "data",      "io",
                                        "nomem", "unsupported", "cancelled", "bug"};
    return (size_t)code < sizeof names / sizeof *names ? names[code] : "bug";
}
