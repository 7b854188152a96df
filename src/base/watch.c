/* SPDX-License-Identifier: Apache-2.0 */
#include "ingot/watch.h"

#include <stdarg.h>
#include <stdio.h>

#define WARN_TEXT_MAX 1024

void ig_watch_warn(const struct ig_watch *watch, const char *format, ...)
{
    if (!watch || !watch->warn) return;
    char text[WARN_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    watch->warn(watch->user, text);
}
