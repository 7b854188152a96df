/* SPDX-License-Identifier: Apache-2.0
 * jinja_ops — Python's operators on values: arithmetic, comparison, membership. */
#include "base/size.h"
#include "chat/chat_internal.h"

#include <math.h>

static const char *op_text(int op)
{
    switch (op) {
    case T_ADD: return "+";
    case T_SUB: return "-";
    case T_MUL: return "*";
    case T_DIV: return "/";
    case T_FLOORDIV: return "//";
    case T_MOD: return "%";
    case T_POW: return "**";
    case T_LT: return "<";
    case T_LE: return "<=";
    case T_GT: return ">";
    case T_GE: return ">=";
    default: return "==";
    }
}

static bool fail_types(struct run *r, int op, struct value a, struct value b)
{
    if (a.kind == V_UNDEFINED) return chat__fail_undefined(r, a);
    if (b.kind == V_UNDEFINED) return chat__fail_undefined(r, b);
    return chat__fail(r, "'%s' does not work on '%s' and '%s'", op_text(op), chat__type_name(a),
                      chat__type_name(b));
}

/* ---- numbers ---- */

/* As CPython's float_divmod: floor(a / b) would round a / b up to the next integer at times. */
static double floor_divide(double a, double b)
{
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static bool real_op(struct run *r, int op, double a, double b, struct value *out)
{
    double x = 0;
    bool divides = op == T_DIV || op == T_FLOORDIV || op == T_MOD;
    if (divides && b == 0) return chat__fail(r, "division by zero");
    switch (op) {
    case T_ADD: x = a + b; break;
    case T_SUB: x = a - b; break;
    case T_MUL: x = a * b; break;
    case T_DIV: x = a / b; break;
    case T_FLOORDIV: x = floor_divide(a, b); break;
    case T_MOD:
        x = fmod(a, b);
        if (x != 0 && (x < 0) != (b < 0)) x += b; /* the sign of b, as Python */
        if (x == 0) x = copysign(0, b);
        break;
    default: /* T_POW */
        if (a == 0 && b < 0) return chat__fail(r, "0 cannot be raised to a negative power");
        x = pow(a, b);
        if (isnan(x) && !isnan(a) && !isnan(b)) return chat__fail(r, "a complex number results");
    }
    if (!isfinite(x) && isfinite(a) && isfinite(b) && op == T_POW)
        return chat__fail(r, "the result is too large");
    *out = chat__real(x);
    return true;
}

static bool int_pow(struct run *r, struct value base, int64_t times, struct value *out)
{
    struct value power = chat__int(1);
    if (times > 100000) return chat__fail(r, "the exponent is too large");
    for (; times; times >>= 1) {
        if ((times & 1) && !chat__big(r, T_MUL, power, base, &power)) return false;
        if (times > 1 && !chat__big(r, T_MUL, base, base, &base)) return false;
    }
    *out = power;
    return true;
}

static bool int_divide(struct run *r, int op, int64_t a, int64_t b, struct value *out)
{
    if (b == 0) return chat__fail(r, "division by zero");
    if (b == -1) { /* INT64_MIN / -1 does not fit */
        if (op == T_FLOORDIV) return chat__negate(r, chat__int(a), out);
        *out = chat__int(0);
        return true;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) { /* round down, not towards zero */
        quotient--;
        rest += b;
    }
    *out = chat__int(op == T_FLOORDIV ? quotient : rest);
    return true;
}

static bool int_op(struct run *r, int op, struct value a, struct value b, struct value *out)
{
    double x, y;
    bool small = a.kind != V_BIG && b.kind != V_BIG;
    a.kind = a.kind == V_BOOL ? V_INT : a.kind;
    b.kind = b.kind == V_BOOL ? V_INT : b.kind;
    switch (op) {
    case T_ADD:
    case T_SUB:
    case T_MUL: return chat__big(r, op, a, b, out);
    case T_POW:
        if (small && b.integer >= 0) return int_pow(r, a, b.integer, out);
        break;
    case T_FLOORDIV:
    case T_MOD:
        if (small) return int_divide(r, op, a.integer, b.integer, out);
        return chat__fail(r, "'%s' does not work on integers beyond 64 bits", op_text(op));
    default: break;
    }
    if (!chat__as_real(a, &x) || !chat__as_real(b, &y)) return fail_types(r, op, a, b);
    return real_op(r, op, x, y, out);
}

bool chat__negate(struct run *r, struct value v, struct value *out)
{
    if (v.kind == V_REAL) {
        *out = chat__real(-v.real);
        return true;
    }
    if (v.kind == V_UNDEFINED) return chat__fail_undefined(r, v);
    if (!chat__is_number(v)) return chat__fail(r, "'-' does not work on '%s'", chat__type_name(v));
    if (v.kind == V_BOOL) v.kind = V_INT;
    return chat__big(r, T_SUB, chat__int(0), v, out);
}

/* ---- joining and repeating ---- */

static bool add_text(struct run *r, struct value a, struct value b, struct value *out)
{
    uint8_t markup = (a.flags | b.flags) & STR_MARKUP;
    if (markup && !(a.flags & STR_MARKUP) && !chat__escape(r, a, &a)) return false;
    if (markup && !(b.flags & STR_MARKUP) && !chat__escape(r, b, &b)) return false;
    uint8_t flags = (uint8_t)((a.flags & b.flags & STR_ASCII) | markup);
    return chat__concat(r, chat__text(a), chat__text(b), flags, out);
}

/* Room for count items, the first of them a's: the array that a is in when a is its longest list
 * and there is room behind it, so that a list that grows item by item is not copied each time. */
static bool extend_seq(struct run *r, const struct seq *a, size_t count, struct seq *out)
{
    if (a->used && *a->used == a->count && count <= a->cap) {
        out->items = a->items;
        out->cap = a->cap;
        out->used = a->used;
        return true;
    }
    out->cap = count < 8 ? count : count * 2;
    out->items = chat__new(r, out->cap, sizeof *out->items);
    out->used = chat__new(r, 1, sizeof *out->used);
    if (!out->items || !out->used || !chat__charge(r, count)) return false;
    if (a->count) memcpy(out->items, a->items, a->count * sizeof *out->items);
    return true;
}

static bool add_seq(struct run *r, struct value a, struct value b, struct value *out)
{
    size_t count = a.seq->count + b.seq->count;
    if (!chat__charge(r, b.seq->count) || !chat__new_seq(r, a.kind, 0, out)) return false;
    if (!extend_seq(r, a.seq, count, out->seq)) return false;
    if (b.seq->count) memcpy(out->seq->items + a.seq->count, b.seq->items, b.seq->count * sizeof b);
    out->seq->count = *out->seq->used = count;
    return true;
}

static bool repeat(struct run *r, struct value what, int64_t times, struct value *out)
{
    size_t unit = what.kind == V_STR ? what.len : what.seq->count, total;
    if (times < 0) times = 0;
    if (!ig_size_mul(unit, (size_t)times, &total) || total > CHAT_OUTPUT_BYTES_MAX)
        return chat__fail(r, "a repeated '%s' is too long", chat__type_name(what));
    if (what.kind != V_STR) {
        if (!chat__new_seq(r, what.kind, total, out)) return false;
        for (size_t done = 0; done < total; done += unit)
            memcpy(out->seq->items + done, what.seq->items, unit * sizeof what);
        out->seq->count = total;
        return true;
    }
    size_t mark = chat__begin(r);
    for (size_t done = 0; done < total; done += unit)
        ig_buf_slice(&r->out, chat__text(what));
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, what.flags & STR_MARKUP);
    return true;
}

static bool is_list(struct value v)
{
    return v.kind == V_LIST || v.kind == V_TUPLE;
}

bool chat__binary(struct run *r, int op, struct value a, struct value b, struct value *out)
{
    int64_t times;
    if (op == T_ADD && a.kind == V_STR && b.kind == V_STR) return add_text(r, a, b, out);
    if (op == T_ADD && is_list(a) && a.kind == b.kind) return add_seq(r, a, b, out);
    if (op == T_MOD && a.kind == V_STR) return chat__printf(r, a, b, out);
    if (op == T_MUL && (a.kind == V_STR || is_list(a)) && chat__as_int(b, &times))
        return repeat(r, a, times, out);
    if (op == T_MUL && (b.kind == V_STR || is_list(b)) && chat__as_int(a, &times))
        return repeat(r, b, times, out);
    if (!chat__is_number(a) || !chat__is_number(b)) return fail_types(r, op, a, b);
    if (a.kind != V_REAL && b.kind != V_REAL) return int_op(r, op, a, b, out);
    double x, y;
    return chat__as_real(a, &x) && chat__as_real(b, &y) && real_op(r, op, x, y, out);
}

/* ---- comparing ---- */

static int sign(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* NaN compares as neither: 2. */
static int number_order(struct value a, struct value b)
{
    double x = 0, y = 0;
    if (a.kind != V_REAL && b.kind != V_REAL) {
        if (a.kind == V_BIG || b.kind == V_BIG) return chat__big_order(a, b);
        return sign(a.integer, b.integer);
    }
    (void)chat__as_real(a, &x);
    (void)chat__as_real(b, &y);
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

static bool equal_seq(struct run *r, const struct seq *a, const struct seq *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++)
        if (!chat__equal(r, a->items[i], b->items[i], out)) return false;
    return true;
}

static bool equal_dict(struct run *r, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (uint32_t i = 0; *out && i < a->count; i++) {
        const struct value *other;
        if (!chat__find(r, b, a->pairs[i].key, &other)) return false;
        *out = other != NULL;
        if (other && !chat__equal(r, a->pairs[i].value, *other, out)) return false;
    }
    return true;
}

static bool equal_deep(struct run *r, struct value a, struct value b, bool *out)
{
    *out = false;
    if (a.kind != b.kind) return true;
    switch (a.kind) {
    case V_UNDEFINED:
    case V_NONE: *out = true; return true;
    case V_STR:
    case V_BYTES:
        *out = ig_slice_equal(chat__text(a), chat__text(b));
        return chat__charge(r, a.len);
    case V_LIST:
    case V_TUPLE:
    case V_RANGE: return equal_seq(r, a.seq, b.seq, out);
    case V_DICT: return equal_dict(r, a.dict, b.dict, out);
    default: *out = a.ptr == b.ptr; return true; /* the same object */
    }
}

bool chat__equal(struct run *r, struct value a, struct value b, bool *out)
{
    if (chat__is_number(a) && chat__is_number(b)) {
        *out = number_order(a, b) == 0;
        return true;
    }
    if (r->depth >= CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "values are nested too deeply");
    r->depth++;
    bool ok = chat__charge(r, 0) && equal_deep(r, a, b, out);
    r->depth--;
    return ok;
}

static bool order(struct run *r, int op, struct value a, struct value b, int *out)
{
    if (chat__is_number(a) && chat__is_number(b)) {
        *out = number_order(a, b);
        return true;
    }
    if (a.kind == V_STR && b.kind == V_STR) {
        *out = sign(ig_slice_compare(chat__text(a), chat__text(b)), 0); /* as code points sort */
        return chat__charge(r, a.len < b.len ? a.len : b.len);
    }
    if (a.kind != b.kind || !is_list(a)) return fail_types(r, op, a, b);
    for (size_t i = 0; i < a.seq->count && i < b.seq->count; i++) {
        bool same;
        if (!chat__equal(r, a.seq->items[i], b.seq->items[i], &same)) return false;
        if (same) continue;
        if (r->depth >= CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "values are nested too deeply");
        r->depth++;
        bool ok = order(r, op, a.seq->items[i], b.seq->items[i], out);
        r->depth--;
        return ok;
    }
    *out = sign((int64_t)a.seq->count, (int64_t)b.seq->count);
    return true;
}

bool chat__order(struct run *r, struct value a, struct value b, int *out)
{
    return order(r, T_LT, a, b, out);
}

bool chat__compare(struct run *r, int op, struct value a, struct value b, bool *out)
{
    int o;
    switch (op) {
    case T_EQ: return chat__equal(r, a, b, out);
    case T_NE:
        if (!chat__equal(r, a, b, out)) return false;
        *out = !*out;
        return true;
    case T_IN: return chat__contains(r, b, a, out);
    case T_NOT_IN:
        if (!chat__contains(r, b, a, out)) return false;
        *out = !*out;
        return true;
    default: break;
    }
    if (!order(r, op, a, b, &o)) return false;
    *out = o != 2 && (op == T_LT ? o < 0 : op == T_LE ? o <= 0 : op == T_GT ? o > 0 : o >= 0);
    return true;
}

bool chat__contains(struct run *r, struct value all, struct value one, bool *out)
{
    if (all.kind == V_STR) {
        if (one.kind != V_STR)
            return chat__fail(r, "'in' a text needs a text on its left, not '%s'",
                              chat__type_name(one));
        *out = ig_slice_find(chat__text(all), chat__text(one)) != NULL;
        return chat__charge(r, all.len);
    }
    if (all.kind == V_DICT || (all.kind == V_VIEW && all.flags == VIEW_KEYS)) {
        const struct value *found;
        if (!chat__find(r, all.dict, one, &found)) return false;
        *out = found != NULL;
        return true;
    }
    struct seq *seq;
    *out = false;
    if (!chat__iterate(r, all, &seq)) return false;
    for (size_t i = 0; !*out && i < seq->count; i++)
        if (!chat__equal(r, seq->items[i], one, out)) return false;
    return true;
}
