/* SPDX-License-Identifier: Apache-2.0
 * jinja_time — strftime_now. Names are English whatever the locale, so that a prompt is the same
 * everywhere. A given time is UTC; the clock's is local, as in transformers. */
#include "chat/chat_internal.h"

#include <stdlib.h>
#include <time.h>

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

static bool read_clock(struct run *r, struct tm *out)
{
    time_t now = (time_t)r->now;
    const char *fixed = getenv("INGOT_NOW");
    bool utc = true;
    if (r->now < 0 && fixed && *fixed) {
        char *end;
        now = (time_t)strtoll(fixed, &end, 10);
        if (*end) return chat__fail(r, "INGOT_NOW is not a number of seconds: '%s'", fixed);
    } else if (r->now < 0) {
        now = time(NULL);
        utc = false;
    }
    if (utc ? gmtime_r(&now, out) : localtime_r(&now, out)) return true;
    return chat__fail(r, "this time is out of range");
}

/* ISO 8601 weeks start on Monday; week 1 has the year's first Thursday. */
static void iso_week(const struct tm *t, int *year, int *week)
{
    char text[16];
    strftime(text, sizeof text, "%G", t);
    *year = atoi(text);
    strftime(text, sizeof text, "%V", t);
    *week = atoi(text);
}

static void put_date(struct ig_buf *out, char c, const struct tm *t)
{
    int year, week;
    switch (c) {
    case 'Y': ig_buf_printf(out, "%d", t->tm_year + 1900); break;
    case 'C': ig_buf_printf(out, "%02d", (t->tm_year + 1900) / 100); break;
    case 'y': ig_buf_printf(out, "%02d", t->tm_year % 100); break;
    case 'm': ig_buf_printf(out, "%02d", t->tm_mon + 1); break;
    case 'd': ig_buf_printf(out, "%02d", t->tm_mday); break;
    case 'e': ig_buf_printf(out, "%2d", t->tm_mday); break;
    case 'j': ig_buf_printf(out, "%03d", t->tm_yday + 1); break;
    case 'B': ig_buf_text(out, months[t->tm_mon]); break;
    case 'b':
    case 'h': ig_buf_append(out, months[t->tm_mon], 3); break;
    case 'A': ig_buf_text(out, days[t->tm_wday]); break;
    case 'a': ig_buf_append(out, days[t->tm_wday], 3); break;
    case 'w': ig_buf_printf(out, "%d", t->tm_wday); break;
    case 'u': ig_buf_printf(out, "%d", t->tm_wday ? t->tm_wday : 7); break;
    case 'U': ig_buf_printf(out, "%02d", (t->tm_yday + 7 - t->tm_wday) / 7); break;
    case 'W': ig_buf_printf(out, "%02d", (t->tm_yday + 7 - (t->tm_wday + 6) % 7) / 7); break;
    default:
        iso_week(t, &year, &week);
        ig_buf_printf(out, c == 'G' ? "%d" : "%02d", c == 'G' ? year : week);
    }
}

static void put_clock(struct ig_buf *out, char c, const struct tm *t)
{
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (c) {
    case 'H': ig_buf_printf(out, "%02d", t->tm_hour); break;
    case 'k': ig_buf_printf(out, "%2d", t->tm_hour); break;
    case 'I': ig_buf_printf(out, "%02d", hour); break;
    case 'l': ig_buf_printf(out, "%2d", hour); break;
    case 'M': ig_buf_printf(out, "%02d", t->tm_min); break;
    case 'S': ig_buf_printf(out, "%02d", t->tm_sec); break;
    case 'f': ig_buf_text(out, "000000"); break;
    case 'p': ig_buf_text(out, t->tm_hour < 12 ? "AM" : "PM"); break;
    case 'P': ig_buf_text(out, t->tm_hour < 12 ? "am" : "pm"); break;
    default: break; /* %z and %Z: Python's naive datetime has none */
    }
}

static void put_field(struct ig_buf *out, char c, const struct tm *t)
{
    static const struct {
        char name;
        const char *means;
    } pairs[] = {{'D', "m/d/y"}, {'x', "m/d/y"}, {'F', "Y-m-d"},   {'T', "H:M:S"},
                 {'X', "H:M:S"}, {'R', "H:M"},   {'r', "I:M:S p"}, {'c', "a b e H:M:S Y"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].name != c) continue;
        for (const char *p = pairs[i].means; *p; p++) {
            if (strchr(" /:-", *p))
                ig_buf_char(out, *p);
            else
                put_field(out, *p, t);
        }
        return;
    }
    if (strchr("YCymdejBbhAawuUWGV", c))
        put_date(out, c, t);
    else
        put_clock(out, c, t);
}

bool chat__strftime(struct run *r, struct ig_slice format, struct value *out)
{
    struct tm t;
    if (!read_clock(r, &t)) return false;
    size_t mark = chat__begin(r);
    const char *p = format.ptr, *end = p + format.len;
    while (p < end) {
        char c = *p++, pad = 0;
        if (c == '%' && end - p >= 2 && *p && strchr("-_0^#", *p)) pad = *p++; /* glibc's flags */
        if (c != '%' || p == end) {
            ig_buf_char(&r->out, c);
            continue;
        }
        c = *p++;
        if (c == '%' || c == 'n' || c == 't') {
            ig_buf_char(&r->out, c == '%' ? '%' : c == 'n' ? '\n' : '\t');
        } else if (!c || !strchr("YCymdejBbhAawuUWGVHkIlMSfpPzZDxFTXRrc", c)) {
            ig_buf_char(&r->out, '%');
            ig_buf_char(&r->out, c);
        } else {
            size_t start = r->out.len;
            put_field(&r->out, c, &t);
            bool zero = pad == '-' && r->out.len > start + 1 && !r->out.failed;
            while (zero && r->out.len > start + 1 && strchr("0 ", r->out.data[start])) {
                memmove(r->out.data + start, r->out.data + start + 1, r->out.len - start);
                r->out.len--;
            }
        }
    }
    return chat__end(r, mark, out);
}
