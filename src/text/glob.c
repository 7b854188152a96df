/* SPDX-License-Identifier: Apache-2.0
 * glob — see glob.h. Only the last `*` needs to be retried: an earlier one cannot do better. */
#include "text/glob.h"

bool ig_glob_match(const char *pattern, struct ig_slice text)
{
    const char *star = NULL;
    size_t i = 0, star_at = 0;
    while (i < text.len) {
        if (*pattern == '*') {
            star = pattern++;
            star_at = i;
        } else if (*pattern && (*pattern == '?' || *pattern == text.ptr[i])) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star + 1;
            i = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
