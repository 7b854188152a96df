/* SPDX-License-Identifier: Apache-2.0
 * cell — values as JSON text, as Python's json.dumps(ensure_ascii=False) writes them. */
#include "ingot/json.h"
#include "table/table_internal.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define REAL_DIGITS_MAX 17 /* that name every double */

void table__put_int(struct ig_buf *out, int64_t value)
{
    ig_buf_printf(out, "%lld", (long long)value);
}

void table__put_uint(struct ig_buf *out, uint64_t value)
{
    ig_buf_printf(out, "%llu", (unsigned long long)value);
}

/* "d.dddde+xx" plus one in its last digit; false when that would carry into a new digit. */
static bool step_up(char *text)
{
    for (char *p = strchr(text, 'e') - 1; p >= text; p--) {
        if (*p == '.') continue;
        if (*p != '9') {
            ++*p;
            return true;
        }
        *p = '0';
    }
    return false;
}

/* The fewest digits that read back as value (> 0), as "d.ddde+xx". At powers of two the gap below
 * is half the gap above, so that the next number up may read back where the nearest one does not.
 */
static void shortest(double value, char text[40])
{
    for (int digits = 1; digits <= REAL_DIGITS_MAX; digits++) {
        snprintf(text, 40, "%.*e", digits - 1, value);
        double back = strtod(text, NULL);
        if (back == value) return;
        if (back < value && step_up(text) && strtod(text, NULL) == value) return;
    }
}

bool table__put_real(struct ig_buf *out, double value, struct ig_err *err)
{
    char text[40], digits[40];
    if (!isfinite(value))
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%s has no place in JSON",
                          isnan(value) ? "NaN" : "infinity");
    if (signbit(value)) ig_buf_char(out, '-');
    if (value == 0) {
        ig_buf_text(out, "0.0");
        return true;
    }
    shortest(fabs(value), text);
    int count = 0, exponent = atoi(strchr(text, 'e') + 1);
    for (const char *p = text; *p != 'e'; p++)
        if (*p != '.') digits[count++] = *p;
    digits[count] = '\0';
    if (exponent < -4 || exponent >= 16)
        ig_buf_printf(out, "%c%s%se%c%02d", digits[0], count > 1 ? "." : "", digits + 1,
                      exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        ig_buf_printf(out, "0.%.*s%s", -exponent - 1, "000", digits);
    else if (count <= exponent + 1)
        ig_buf_printf(out, "%s%.*s.0", digits, exponent + 1 - count, "0000000000000000");
    else
        ig_buf_printf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    return true;
}

bool table__put_text(struct ig_buf *out, struct ig_slice text, struct ig_err *err)
{
    size_t bad = ig_utf8_check(text);
    if (bad < text.len)
        return ig_err_set(err, IG_ERR_DATA, "the text is not UTF-8 at its byte %zu", bad);
    ig_json_quote(out, text, false);
    return ig_buf_ok(out, err);
}

bool table__member(struct ig_arena *arena, struct ig_slice name, struct ig_slice *out,
                   struct ig_err *err)
{
    struct ig_buf text = {0};
    if (name.len > TABLE_NAME_BYTES_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "a column has a name of %zu bytes; at most %zu are read", name.len,
                          TABLE_NAME_BYTES_MAX);
    bool ok = table__put_text(&text, name, err);
    if (!ok)
        ig_err_within(err, "the name of a column");
    else
        ig_buf_char(&text, ':');
    ok = ok && ig_buf_ok(&text, err);
    if (ok) *out = ig_arena_copy(arena, ig_buf_view(&text));
    if (ok && !out->ptr) ok = ig_err_nomem(err);
    ig_buf_release(&text);
    return ok;
}

bool table__path(struct ig_arena *arena, struct ig_slice parent, struct ig_slice name,
                 struct ig_slice *out, struct ig_err *err)
{
    size_t dot = parent.len ? 1 : 0, room = TABLE_PATH_BYTES_MAX - (parent.len + dot);
    if (parent.len + dot > TABLE_PATH_BYTES_MAX) {
        *out = parent;
        return true;
    }
    if (name.len > room) name.len = room;
    char *path = ig_arena_new(arena, parent.len + dot + name.len + 1);
    if (!path) return ig_err_nomem(err);
    if (parent.len) memcpy(path, parent.ptr, parent.len);
    if (dot) path[parent.len] = '.';
    if (name.len) memcpy(path + parent.len + dot, name.ptr, name.len);
    *out = ig_slice_make(path, parent.len + dot + name.len);
    return true;
}
