/* SPDX-License-Identifier: Apache-2.0
 * err — the one error idiom.
 *
 * A function that can fail returns bool (true = done) or a new pointer (NULL = failed), must be
 * checked, and takes `struct ig_err *err` last. A function without that parameter cannot fail.
 * err is never NULL. Out-parameters are written only on success. The message is written once, where
 * the cause is known; each layer adds its place with ig_err_within:
 *     "cannot open model 'x': index ends at byte 8".
 * Messages are lower-case, without a full stop, and quote names 'so'. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define IG_ERR_TEXT_MAX 512
#define IG_MUST_CHECK   __attribute__((warn_unused_result))
#define IG_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* One code for each thing that a caller can do about it. */
enum ig_code {
    IG_OK = 0,
    IG_ERR_USAGE, /* the caller asked for something that has no meaning: fix the request */
    IG_ERR_DATA,  /* a file or input is bad: fix the input */
    IG_ERR_IO,    /* the system refused a read or write: disk full, no such file, permission */
    IG_ERR_NOMEM, /* out of memory */
    IG_ERR_UNSUPPORTED, /* the input is fine, this program does not do it */
    IG_ERR_CANCELLED,   /* the caller's watch asked to stop */
    IG_ERR_BUG,         /* our mistake: report it */
};

struct ig_err {
    enum ig_code code;
    char text[IG_ERR_TEXT_MAX];
};

/* Sets code and text. Always returns false, so that `return ig_err_set(...)` reads well. */
bool ig_err_set(struct ig_err *err, enum ig_code code, const char *format, ...) IG_PRINTF(3, 4);
/* Like ig_err_set with code IG_ERR_IO, or NOMEM for ENOMEM, and ": strerror(error_number)" after
 * it. */
bool ig_err_errno(struct ig_err *err, int error_number, const char *format, ...) IG_PRINTF(3, 4);
/* Puts "place: " before the text. Always returns false. */
bool ig_err_within(struct ig_err *err, const char *format, ...) IG_PRINTF(2, 3);
/* Out of memory. Always returns false. */
bool ig_err_nomem(struct ig_err *err);
/* "usage", "data", ...: the word that --json prints. */
const char *ig_code_name(enum ig_code code);
