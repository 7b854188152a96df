/* SPDX-License-Identifier: Apache-2.0
 * jinja_big — integers of any size, as decimal digits: Python's have no limit, and ids in messages
 * can be longer than 64 bits. Schoolbook; the numbers are short. */
#include "base/size.h"
#include "chat/chat_internal.h"

#include <math.h>
#include <stdio.h>

#define HALF_LARGEST   INT64_C(5000000000000000000)
#define BIG_DIGITS_MAX 4300 /* CPython's own limit for int <-> str (sys.set_int_max_str_digits) */

struct digits { /* most significant first */
    const char *ptr;
    size_t len;
    bool negative;
};

static struct digits digits_of(struct value v, char buffer[24])
{
    struct digits d = {v.ptr, v.len, false};
    if (v.kind != V_BIG) {
        int n = snprintf(buffer, 24, "%lld", (long long)v.integer);
        d.ptr = buffer;
        d.len = (size_t)n;
    }
    if (d.len && d.ptr[0] == '-') {
        d.negative = true;
        d.ptr++;
        d.len--;
    }
    while (d.len > 1 && d.ptr[0] == '0') {
        d.ptr++;
        d.len--;
    }
    return d;
}

static int order_size(struct digits a, struct digits b)
{
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    int o = memcmp(a.ptr, b.ptr, a.len);
    return (o > 0) - (o < 0);
}

int chat__big_order(struct value a, struct value b)
{
    char x[24], y[24];
    struct digits p = digits_of(a, x), q = digits_of(b, y);
    if (p.negative != q.negative) return p.negative ? -1 : 1;
    return p.negative ? order_size(q, p) : order_size(p, q);
}

/* Digit i from the right. */
static int digit(struct digits d, size_t i)
{
    return i < d.len ? d.ptr[d.len - 1 - i] - '0' : 0;
}

/* |a| + |b|, or |a| - |b| where |a| >= |b|: len digits into out, which holds them. */
static void add_size(struct digits a, struct digits b, bool subtract, char *out, size_t len)
{
    int carry = 0;
    for (size_t i = 0; i < len; i++) {
        int sum = digit(a, i) + (subtract ? -digit(b, i) : digit(b, i)) + carry;
        carry = sum < 0 ? -1 : sum / 10;
        out[len - 1 - i] = (char)('0' + (sum + 10) % 10);
    }
}

static bool multiply_size(struct run *r, struct digits a, struct digits b, char *out, size_t len)
{
    memset(out, '0', len);
    if (!chat__charge(r, a.len * b.len)) return false;
    for (size_t i = 0; i < a.len; i++) {
        int carry = 0;
        for (size_t j = 0; i + j < len; j++) {
            char *place = &out[len - 1 - i - j];
            int sum = *place - '0' + digit(a, i) * digit(b, j) + carry;
            *place = (char)('0' + sum % 10);
            carry = sum / 10;
        }
    }
    return true;
}

/* Sign and digits to the smallest kind that holds them. */
static void settle(const char *text, size_t len, bool negative, struct value *out)
{
    const char *start = text + 1; /* room for the sign is before the digits */
    while (len > 1 && *start == '0') {
        start++;
        len--;
    }
    int64_t n = 0;
    bool fits = true;
    for (size_t i = 0; i < len && fits; i++)
        fits =
            ig_i64_mul(n, 10, &n) && ig_i64_add(n, negative ? '0' - start[i] : start[i] - '0', &n);
    *out = fits ? chat__int(n)
                : (struct value){.kind = V_BIG, .ptr = start - negative, .len = len + negative};
}

bool chat__big(struct run *r, int op, struct value a, struct value b, struct value *out)
{
    int64_t n;
    if (a.kind != V_BIG && b.kind != V_BIG) {
        bool fits = op == T_ADD   ? !__builtin_add_overflow(a.integer, b.integer, &n)
                    : op == T_SUB ? !__builtin_sub_overflow(a.integer, b.integer, &n)
                                  : !__builtin_mul_overflow(a.integer, b.integer, &n);
        if (fits) {
            *out = chat__int(n);
            return true;
        }
    }
    char x[24], y[24];
    struct digits p = digits_of(a, x), q = digits_of(b, y);
    size_t len = op == T_MUL ? p.len + q.len : (p.len > q.len ? p.len : q.len) + 1;
    if (len > BIG_DIGITS_MAX) return chat__fail(r, "an integer has more than 4300 digits");
    char *text = chat__new(r, len + 2, 1);
    if (!text) return false;
    bool negative = p.negative;
    if (op == T_SUB) q.negative = !q.negative;
    if (op == T_MUL) {
        negative = p.negative != q.negative;
        if (!multiply_size(r, p, q, text + 1, len)) return false;
    } else if (p.negative == q.negative) {
        add_size(p, q, false, text + 1, len);
    } else if (order_size(p, q) >= 0) {
        add_size(p, q, true, text + 1, len);
    } else {
        negative = q.negative;
        add_size(q, p, true, text + 1, len);
    }
    if (negative) { /* the sign goes before the first digit that counts */
        char *first = text + 1;
        size_t left = len;
        while (left > 1 && *first == '0') {
            first++;
            left--;
        }
        first[-1] = '-';
        settle(first - 1, left, true, out);
        return true;
    }
    settle(text, len, false, out);
    return true;
}

bool chat__truncate(struct run *r, double x, struct value *out)
{
    if (!isfinite(x)) return chat__fail(r, "an infinite number has no whole part");
    if (fabs(x) < 9.2e18) {
        *out = chat__int((int64_t)x);
        return true;
    }
    size_t mark = chat__begin(r);
    ig_buf_printf(&r->out, "%.0f", x); /* exact: doubles of this size are whole */
    if (!chat__end(r, mark, out)) return false;
    out->kind = V_BIG;
    return true;
}

/* To the nearest multiple of 10^-places, ties to even ones. */
bool chat__round_whole(struct run *r, struct value v, int64_t places, struct value *out)
{
    int64_t unit = 1;
    if (v.kind == V_BIG)
        return chat__fail(r, "round does not work on integers beyond 64 bits in tens");
    for (; places < 0 && unit <= INT64_MAX / 10; places++)
        unit *= 10;
    if (places < 0) { /* 10^19: more than half of it fits */
        bool far = places == -1 && (v.integer > HALF_LARGEST || v.integer < -HALF_LARGEST);
        return chat__truncate(r, !far ? 0 : v.integer < 0 ? -1e19 : 1e19, out);
    }
    int64_t rest = v.integer % unit, size = rest < 0 ? -rest : rest;
    bool odd = v.integer / unit % 2 != 0, up = size > unit - size || (size == unit - size && odd);
    struct value step = chat__int(!up ? 0 : v.integer < 0 ? -unit : unit);
    return chat__big(r, T_ADD, chat__int(v.integer - rest), step, out);
}
