/* SPDX-License-Identifier: Apache-2.0
 * jinja_attr — a.b, a["b"], a[1], a[1:2]. What is absent is undefined, which fails only when used.
 */
#include "chat/chat_internal.h"
#include "text/utf8.h"

static struct value missing(struct value of, struct ig_slice name)
{
    struct value v = chat__undefined(name);
    v.flags = of.kind;
    return v;
}

static bool bind_method(struct run *r, struct value self, const struct builtin *row,
                        struct ig_slice name, struct value *out)
{
    if (!row || !row->run) { /* rows without a function: those that would change the value */
        *out = missing(self, name);
        return true;
    }
    struct method *m = chat__new(r, 1, sizeof *m);
    if (!m) return false;
    *m = (struct method){self, row};
    *out = (struct value){.kind = V_METHOD, .method = m};
    return true;
}

/* Attributes proper: without the keys of a dict. */
static bool own_attr(struct run *r, struct value of, struct ig_slice name, struct value *out)
{
    const struct value *found = NULL;
    switch (of.kind) {
    case V_UNDEFINED: return chat__fail_undefined(r, of);
    case V_SPACE: found = chat__find_text(&of.space->dict, name); break;
    case V_LOOP: return chat__loop_attr(r, of.loop, name, out);
    case V_CYCLER:
        if (ig_slice_is(name, "current")) found = &of.cycler->items[of.cycler->at];
        break;
    case V_MACRO:
        if (!ig_slice_is(name, "name") || of.macro->node->kind != N_MACRO) break;
        *out = chat__str(r->tmpl->names[of.macro->node->name]);
        return true;
    default: break;
    }
    if (found) {
        *out = *found;
        return true;
    }
    bool hidden = ig_slice_starts(name, "_");
    return bind_method(r, of, hidden ? NULL : chat__find_method(of, name), name, out);
}

bool chat__attr(struct run *r, struct value of, struct ig_slice name, struct value *out)
{
    if (of.kind == V_DICT && (ig_slice_starts(name, "_") || !chat__find_method(of, name))) {
        const struct value *found = chat__find_text(of.dict, name);
        *out = found ? *found : missing(of, name);
        return true;
    }
    return own_attr(r, of, name, out);
}

static bool at_index(struct run *r, struct value of, int64_t index, struct value *out)
{
    size_t count;
    struct value name;
    if (!chat__length(r, of, &count)) return false;
    if (index < 0) index += (int64_t)count;
    if (index < 0 || (uint64_t)index >= count) {
        if (!chat__to_str(r, chat__int(index), &name)) return false;
        *out = missing(of, chat__text(name));
    } else if (of.kind == V_STR) {
        size_t at = chat__offset(of, (size_t)index);
        int length;
        (void)ig_utf8_next(of.ptr + at, of.ptr + of.len, &length);
        *out = chat__str(ig_slice_make(of.ptr + at, (size_t)length));
        *out = chat__markup(*out, of.flags & STR_MARKUP);
    } else {
        *out = of.seq->items[index];
    }
    return true;
}

bool chat__item(struct run *r, struct value of, struct value key, struct value *out)
{
    int64_t index;
    const struct value *found;
    bool indexed =
        of.kind == V_STR || of.kind == V_LIST || of.kind == V_TUPLE || of.kind == V_RANGE;
    if (of.kind == V_UNDEFINED) return chat__fail_undefined(r, of);
    if (indexed && chat__as_int(key, &index)) return at_index(r, of, index, out);
    if (of.kind == V_DICT && key.kind != V_LIST && key.kind != V_DICT) {
        if (!chat__find(r, of.dict, key, &found)) return false;
        if (found) {
            *out = *found;
            return true;
        }
    }
    if (key.kind == V_STR) return own_attr(r, of, chat__text(key), out);
    struct value name;
    if (!chat__to_str(r, key, &name)) return false;
    *out = missing(of, chat__text(name));
    return true;
}

static bool all_digits(struct ig_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    return text.len > 0 && text.len < 10;
}

bool chat__path(struct run *r, struct value of, struct value path, struct value *out)
{
    *out = of;
    if (path.kind == V_NONE || path.kind == V_ABSENT) return true;
    if (path.kind != V_STR) return chat__item(r, of, path, out);
    struct ig_slice rest = chat__text(path);
    for (bool more = true; more;) {
        const char *dot = memchr(rest.ptr, '.', rest.len);
        struct ig_slice part = {rest.ptr, dot ? (size_t)(dot - rest.ptr) : rest.len};
        struct value key = chat__str(part);
        if (all_digits(part)) {
            int64_t n = 0;
            for (size_t i = 0; i < part.len; i++)
                n = n * 10 + (part.ptr[i] - '0');
            key = chat__int(n);
        }
        if (!chat__item(r, *out, key, out)) return false;
        more = dot != NULL;
        if (more) rest = ig_slice_make(dot + 1, rest.len - part.len - 1);
    }
    return true;
}

/* ---- slices ---- */

struct span {
    int64_t start, stop, step;
    size_t count;
};

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* A bound of a slice; beyond 64 bits is beyond any length. */
static bool bound(struct value v, int64_t *out)
{
    if (v.kind == V_BIG) *out = v.ptr[0] == '-' ? -INT64_MAX : INT64_MAX;
    return v.kind == V_NONE || v.kind == V_BIG || chat__as_int(v, out);
}

/* Python's slice.indices. */
static bool make_span(struct run *r, const struct bounds *b, size_t count, struct span *span)
{
    int64_t n = (int64_t)count, start = 0, stop = 0, step = 1;
    bool whole = bound(b->step, &step) && bound(b->start, &start) && bound(b->stop, &stop);
    if (!whole) return chat__fail(r, "a slice needs whole numbers");
    if (step == 0) return chat__fail(r, "a slice's step is 0");
    step = clamp(step, -INT32_MAX, INT32_MAX);
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (b->start.kind == V_NONE)
        start = step < 0 ? high : low;
    else
        start = clamp(start < 0 ? clamp(start, -n - 1, 0) + n : start, low, high);
    if (b->stop.kind == V_NONE)
        stop = step < 0 ? low : high;
    else
        stop = clamp(stop < 0 ? clamp(stop, -n - 1, 0) + n : stop, low, high);
    int64_t length = step < 0 ? start - stop : stop - start, stride = step < 0 ? -step : step;
    *span = (struct span){start, stop, step, length > 0 ? (size_t)((length - 1) / stride + 1) : 0};
    return true;
}

static bool slice_text(struct run *r, struct value of, struct span span, struct value *out)
{
    if (span.step == 1 || span.count == 0) {
        size_t from = span.count ? chat__offset(of, (size_t)span.start) : 0;
        struct value rest = of;
        rest.ptr += from;
        rest.len -= from;
        *out = chat__str(ig_slice_make(rest.ptr, chat__offset(rest, span.count)));
    } else {
        struct seq *chars;
        if (!chat__iterate(r, of, &chars)) return false;
        size_t mark = chat__begin(r);
        for (size_t i = 0; i < span.count; i++)
            ig_buf_slice(&r->out, chat__text(chars->items[span.start + (int64_t)i * span.step]));
        if (!chat__end(r, mark, out)) return false;
    }
    *out = chat__markup(*out, of.flags & STR_MARKUP);
    return chat__charge(r, of.len);
}

bool chat__slice(struct run *r, struct value of, const struct bounds *b, struct value *out)
{
    struct span span = {0};
    size_t count;
    if (of.kind == V_UNDEFINED) return chat__fail_undefined(r, of);
    if (of.kind != V_STR && of.kind != V_LIST && of.kind != V_TUPLE && of.kind != V_RANGE)
        return chat__fail(r, "a value of type '%s' has no slices", chat__type_name(of));
    if (!chat__length(r, of, &count) || !make_span(r, b, count, &span)) return false;
    if (of.kind == V_STR) return slice_text(r, of, span, out);
    if (!chat__new_seq(r, of.kind, span.count, out)) return false;
    struct seq *seq = out->seq;
    for (; seq->count < span.count; seq->count++)
        seq->items[seq->count] = of.seq->items[span.start + (int64_t)seq->count * span.step];
    if (of.kind != V_RANGE) return true;
    seq->start = of.seq->start + span.start * of.seq->step;
    seq->stop = of.seq->start + span.stop * of.seq->step;
    seq->step = of.seq->step * span.step;
    return true;
}

/* ---- loop ---- */

static bool loop_number(struct run *r, struct loop *loop, struct ig_slice name, struct value *out)
{
    int64_t at = (int64_t)loop->index0;
    if (ig_slice_is(name, "index")) {
        *out = chat__int(at + 1);
    } else if (ig_slice_is(name, "index0")) {
        *out = chat__int(at);
    } else if (ig_slice_is(name, "first")) {
        *out = chat__bool(at == 0);
    } else if (ig_slice_is(name, "depth")) {
        *out = chat__int(loop->depth0 + 1);
    } else if (ig_slice_is(name, "depth0")) {
        *out = chat__int(loop->depth0);
    } else {
        if (!chat__loop_fill(r, loop, SIZE_MAX)) return false;
        int64_t count = (int64_t)loop->seq->count;
        *out = ig_slice_is(name, "length")     ? chat__int(count)
               : ig_slice_is(name, "revindex") ? chat__int(count - at)
                                               : chat__int(count - at - 1);
    }
    return true;
}

bool chat__loop_attr(struct run *r, struct loop *loop, struct ig_slice name, struct value *out)
{
    static const char *const numbers[] = {"index",  "index0", "first",    "depth",
                                          "depth0", "length", "revindex", "revindex0"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (ig_slice_is(name, numbers[i])) return loop_number(r, loop, name, out);
    struct value self = {.kind = V_LOOP, .loop = loop};
    size_t next = loop->index0 + 1;
    if (ig_slice_is(name, "last") || ig_slice_is(name, "nextitem")) {
        if (!chat__loop_fill(r, loop, next)) return false;
        bool more = next < loop->seq->count;
        *out = ig_slice_is(name, "last") ? chat__bool(!more)
               : more                    ? loop->seq->items[next]
                                         : missing(self, name);
        return true;
    }
    if (ig_slice_is(name, "previtem")) {
        bool any = loop->index0 > 0 && loop->index0 <= loop->seq->count;
        *out = any ? loop->seq->items[loop->index0 - 1] : missing(self, name);
        return true;
    }
    return bind_method(r, self, chat__find_method(self, name), name, out);
}
