/* SPDX-License-Identifier: Apache-2.0
 * jinja_methods — the methods of Python's str, list, tuple, dict, bytes, and of loop and cycler. A
 * new one is one row. Rows without a function are methods that would change the value: the sandbox
 * hides those, so they are undefined. */
#include "chat/chat_internal.h"
#include "text/utf8.h"

static bool need_str(struct run *r, struct value v, const char *what)
{
    if (v.kind == V_UNDEFINED) return chat__fail_undefined(r, v);
    return v.kind == V_STR ||
           chat__fail(r, "'%s' needs a text, not '%s'", what, chat__type_name(v));
}

/* An optional whole number. */
static bool int_arg(struct run *r, struct value v, int64_t absent, int64_t *out)
{
    *out = absent;
    if (!chat__given(v)) return true;
    return chat__as_int(v, out) ||
           chat__fail(r, "a whole number is needed, not '%s'", chat__type_name(v));
}

/* ---- str: case and space ---- */

static bool str_upper(struct run *r, const struct in *in, struct value *out)
{
    return chat__recase(r, in->self, CASE_UPPER, out);
}
static bool str_lower(struct run *r, const struct in *in, struct value *out)
{
    return chat__recase(r, in->self, CASE_LOWER, out);
}
static bool str_title(struct run *r, const struct in *in, struct value *out)
{
    return chat__recase(r, in->self, CASE_TITLE, out);
}
static bool str_capitalize(struct run *r, const struct in *in, struct value *out)
{
    return chat__recase(r, in->self, CASE_CAPITAL, out);
}
static bool str_swapcase(struct run *r, const struct in *in, struct value *out)
{
    return chat__recase(r, in->self, CASE_SWAP, out);
}

static bool strip(struct run *r, const struct in *in, enum side side, struct value *out)
{
    bool chars = chat__given(in->arg[0]) && in->arg[0].kind != V_NONE;
    if (chars && !need_str(r, in->arg[0], "strip")) return false;
    const struct value *set = chars ? &in->arg[0] : NULL;
    if (!chat__charge_strip(r, in->self, set)) return false;
    *out = chat__strip(in->self, set, side);
    return true;
}
static bool str_strip(struct run *r, const struct in *in, struct value *out)
{
    return strip(r, in, SIDE_BOTH, out);
}
static bool str_lstrip(struct run *r, const struct in *in, struct value *out)
{
    return strip(r, in, SIDE_LEFT, out);
}
static bool str_rstrip(struct run *r, const struct in *in, struct value *out)
{
    return strip(r, in, SIDE_RIGHT, out);
}

static bool has_at_end(struct ig_slice text, struct ig_slice fix, bool start)
{
    if (!text.ptr || fix.len > text.len) return false;
    return memcmp(start ? text.ptr : text.ptr + (text.len - fix.len), fix.ptr, fix.len) == 0;
}

static bool remove_fix(struct run *r, const struct in *in, bool prefix, struct value *out)
{
    struct ig_slice text = chat__text(in->self), fix = chat__text(in->arg[0]);
    if (!need_str(r, in->arg[0], "removeprefix")) return false;
    *out = in->self;
    if (!has_at_end(text, fix, prefix)) return true;
    *out = chat__str(ig_slice_make(prefix ? text.ptr + fix.len : text.ptr, text.len - fix.len));
    *out = chat__markup(*out, in->self.flags & STR_MARKUP);
    return true;
}
static bool str_removeprefix(struct run *r, const struct in *in, struct value *out)
{
    return remove_fix(r, in, true, out);
}
static bool str_removesuffix(struct run *r, const struct in *in, struct value *out)
{
    return remove_fix(r, in, false, out);
}

static bool pad(struct run *r, const struct in *in, enum side side, struct value *out)
{
    int64_t width;
    struct value fill = chat__given(in->arg[1]) ? in->arg[1] : chat__literal(" ");
    if (!int_arg(r, in->arg[0], 0, &width) || !need_str(r, fill, "fillchar")) return false;
    if (chat__count(fill) != 1) return chat__fail(r, "the fill must be one character");
    if (in->self.flags & STR_MARKUP && !chat__escape(r, fill, &fill)) return false;
    return chat__pad(r, in->self, width, side, chat__text(fill), out);
}
static bool str_center(struct run *r, const struct in *in, struct value *out)
{
    return pad(r, in, SIDE_BOTH, out);
}
static bool str_ljust(struct run *r, const struct in *in, struct value *out)
{
    return pad(r, in, SIDE_RIGHT, out);
}
static bool str_rjust(struct run *r, const struct in *in, struct value *out)
{
    return pad(r, in, SIDE_LEFT, out);
}

static bool str_zfill(struct run *r, const struct in *in, struct value *out)
{
    int64_t width;
    struct value rest = in->self;
    if (!int_arg(r, in->arg[0], 0, &width)) return false;
    bool sign = rest.len && (rest.ptr[0] == '-' || rest.ptr[0] == '+');
    rest.ptr += sign;
    rest.len -= sign;
    if (!chat__pad(r, rest, width - sign, SIDE_LEFT, ig_slice_of("0"), out) || !sign)
        return sign == 0;
    return chat__concat(r, ig_slice_make(in->self.ptr, 1), chat__text(*out), out->flags, out);
}

static bool str_expandtabs(struct run *r, const struct in *in, struct value *out)
{
    int64_t size, column = 0;
    if (!int_arg(r, in->arg[0], 8, &size)) return false;
    if (size > 1000) return chat__fail(r, "the tab size is too large");
    size_t mark = chat__begin(r);
    const char *p = in->self.ptr, *end = p + in->self.len;
    for (int length; p < end && !r->out.failed; p += length) {
        (void)ig_utf8_next(p, end, &length);
        if (*p != '\t') {
            ig_buf_append(&r->out, p, (size_t)length);
            column = *p == '\n' || *p == '\r' ? 0 : column + 1;
            continue;
        }
        for (int64_t i = size > 0 ? size - column % size : 0; i > 0; i--, column++)
            ig_buf_char(&r->out, ' ');
    }
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, in->self.flags & STR_MARKUP);
    return true;
}

/* ---- str: finding ---- */

/* The part between two places in code points, as str.find(x, start, end) takes them. */
static bool window(struct run *r, const struct in *in, struct ig_slice *out, int64_t *first)
{
    int64_t count = (int64_t)chat__count(in->self), start, stop;
    bool none = in->arg[1].kind == V_NONE, open = in->arg[2].kind == V_NONE;
    if (!int_arg(r, none ? (struct value){0} : in->arg[1], 0, &start)) return false;
    if (!int_arg(r, open ? (struct value){0} : in->arg[2], count, &stop)) return false;
    if (start < 0) start = start + count < 0 ? 0 : start + count;
    if (stop < 0) stop = stop + count < 0 ? 0 : stop + count;
    if (stop > count) stop = count;
    *first = start;
    *out = (struct ig_slice){NULL, 0};
    if (start > stop) return true;
    size_t from = chat__offset(in->self, (size_t)start), to = chat__offset(in->self, (size_t)stop);
    *out = ig_slice_make(in->self.ptr + from, to - from);
    return chat__charge(r, in->self.len);
}

static bool find(struct run *r, const struct in *in, bool last, bool must, struct value *out)
{
    struct ig_slice text;
    int64_t first;
    if (!need_str(r, in->arg[0], "find") || !window(r, in, &text, &first)) return false;
    struct ig_slice what = chat__text(in->arg[0]);
    const char *hit = NULL;
    if (last && !chat__find_last(r, text, what, &hit)) return false;
    if (text.ptr && !last) hit = ig_slice_find(text, what);
    if (!hit && must) return chat__fail(r, "the text is not found");
    struct value before = chat__str(ig_slice_make(text.ptr, hit ? (size_t)(hit - text.ptr) : 0));
    *out = chat__int(hit ? first + (int64_t)chat__count(before) : -1);
    return true;
}
static bool str_find(struct run *r, const struct in *in, struct value *out)
{
    return find(r, in, false, false, out);
}
static bool str_rfind(struct run *r, const struct in *in, struct value *out)
{
    return find(r, in, true, false, out);
}
static bool str_index(struct run *r, const struct in *in, struct value *out)
{
    return find(r, in, false, true, out);
}
static bool str_rindex(struct run *r, const struct in *in, struct value *out)
{
    return find(r, in, true, true, out);
}

static bool str_count(struct run *r, const struct in *in, struct value *out)
{
    struct ig_slice text;
    int64_t first, count = 0;
    if (!need_str(r, in->arg[0], "count") || !window(r, in, &text, &first)) return false;
    struct ig_slice what = chat__text(in->arg[0]);
    if (text.ptr && !what.len) count = (int64_t)chat__count(chat__str(text)) + 1;
    for (const char *hit; text.ptr && what.len && (hit = ig_slice_find(text, what)); count++) {
        size_t used = (size_t)(hit - text.ptr) + what.len;
        text = ig_slice_make(text.ptr + used, text.len - used);
    }
    *out = chat__int(count);
    return true;
}

static bool has_fix(struct run *r, const struct in *in, bool start, struct value *out)
{
    struct ig_slice text;
    int64_t first;
    struct value one = in->arg[0], *list = &one;
    size_t count = 1;
    if (one.kind == V_TUPLE) {
        list = one.seq->items;
        count = one.seq->count;
    }
    if (!window(r, in, &text, &first)) return false;
    bool found = false;
    for (size_t i = 0; i < count && !found; i++) {
        if (!need_str(r, list[i], start ? "startswith" : "endswith")) return false;
        if (!chat__charge(r, list[i].len)) return false;
        found = has_at_end(text, chat__text(list[i]), start);
    }
    *out = chat__bool(found);
    return true;
}
static bool str_startswith(struct run *r, const struct in *in, struct value *out)
{
    return has_fix(r, in, true, out);
}
static bool str_endswith(struct run *r, const struct in *in, struct value *out)
{
    return has_fix(r, in, false, out);
}

/* ---- str: cutting and joining ---- */

static bool split(struct run *r, const struct in *in, bool from_right, struct value *out)
{
    int64_t times;
    bool by = chat__given(in->arg[0]) && in->arg[0].kind != V_NONE;
    if (by && !need_str(r, in->arg[0], "split")) return false;
    if (!int_arg(r, in->arg[1], -1, &times)) return false;
    return chat__split(r, in->self, by ? &in->arg[0] : NULL, times, from_right, out);
}
static bool str_split(struct run *r, const struct in *in, struct value *out)
{
    return split(r, in, false, out);
}
static bool str_rsplit(struct run *r, const struct in *in, struct value *out)
{
    return split(r, in, true, out);
}
static bool str_splitlines(struct run *r, const struct in *in, struct value *out)
{
    return chat__split_lines(r, in->self, chat__truth(in->arg[0]), out);
}

static bool partition(struct run *r, const struct in *in, bool last, struct value *out)
{
    struct ig_slice text = chat__text(in->self), by = chat__text(in->arg[0]);
    if (!need_str(r, in->arg[0], "partition")) return false;
    if (!by.len) return chat__fail(r, "partition: the separator is empty");
    const char *hit = last ? NULL : ig_slice_find(text, by);
    if (last && !chat__find_last(r, text, by, &hit)) return false;
    size_t before = hit ? (size_t)(hit - text.ptr) : last ? 0 : text.len;
    size_t middle = hit ? by.len : 0;
    if (!chat__new_seq(r, V_TUPLE, 3, out)) return false;
    const size_t cuts[] = {0, before, before + middle, text.len};
    for (int i = 0; i < 3; i++) {
        struct value part = chat__str(ig_slice_make(text.ptr + cuts[i], cuts[i + 1] - cuts[i]));
        out->seq->items[out->seq->count++] = chat__markup(part, in->self.flags & STR_MARKUP);
    }
    return chat__charge(r, text.len);
}
static bool str_partition(struct run *r, const struct in *in, struct value *out)
{
    return partition(r, in, false, out);
}
static bool str_rpartition(struct run *r, const struct in *in, struct value *out)
{
    return partition(r, in, true, out);
}

static bool str_replace(struct run *r, const struct in *in, struct value *out)
{
    int64_t count;
    struct value fresh = in->arg[1];
    if (!need_str(r, in->arg[0], "replace") || !need_str(r, fresh, "replace")) return false;
    if (!int_arg(r, in->arg[2], -1, &count)) return false;
    if (in->self.flags & STR_MARKUP && !chat__escape(r, fresh, &fresh)) return false;
    return chat__replace(r, in->self, chat__text(in->arg[0]), chat__text(fresh), count, out);
}

static bool str_join(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    bool markup = in->self.flags & STR_MARKUP;
    if (!chat__iterate(r, in->arg[0], &seq)) return false;
    for (size_t i = 0; i < seq->count && !markup; i++)
        if (!need_str(r, seq->items[i], "join")) return false;
    size_t mark = chat__begin(r);
    for (size_t i = 0; i < seq->count; i++) {
        struct value part = seq->items[i];
        if (markup && !chat__escape(r, part, &part)) return false;
        if (i) ig_buf_slice(&r->out, chat__text(in->self));
        ig_buf_slice(&r->out, chat__text(part));
    }
    if (!chat__end(r, mark, out)) return false;
    *out = chat__markup(*out, markup);
    return true;
}

static bool str_format(struct run *r, const struct in *in, struct value *out)
{
    return chat__format(r, in->self, in->call, out);
}
static bool str_format_map(struct run *r, const struct in *in, struct value *out)
{
    if (in->arg[0].kind != V_DICT) return chat__fail(r, "format_map needs a dict");
    const struct dict *d = in->arg[0].dict;
    struct call call = {.named = chat__new(r, d->count, sizeof *call.named)};
    if (!call.named) return false;
    for (uint32_t i = 0; i < d->count; i++)
        if (d->pairs[i].key.kind == V_STR)
            call.named[call.named_count++] =
                (struct named){chat__text(d->pairs[i].key), d->pairs[i].value};
    return chat__format(r, in->self, &call, out);
}

static bool str_encode(struct run *r, const struct in *in, struct value *out)
{
    struct ig_slice name = chat__given(in->arg[0]) ? chat__text(in->arg[0]) : ig_slice_of("utf-8");
    if (chat__given(in->arg[0]) && !need_str(r, in->arg[0], "encode")) return false;
    if (!ig_slice_is(name, "utf-8") && !ig_slice_is(name, "utf8") && !ig_slice_is(name, "UTF-8"))
        return chat__fail(r, "encode: only UTF-8 is supported");
    *out = (struct value){.kind = V_BYTES, .ptr = in->self.ptr, .len = in->self.len};
    return true;
}
static bool bytes_decode(struct run *r, const struct in *in, struct value *out)
{
    (void)r;
    *out = chat__str(chat__text(in->self)); /* bytes come from encode(): valid UTF-8 */
    return true;
}

/* ---- str: classes ---- */

static void all_are(const struct in *in, enum char_class what, struct value *out)
{
    const char *p = in->self.ptr, *end = p + in->self.len;
    bool all = p < end || what == CHAR_PRINTABLE;
    for (int length; all && p < end; p += length)
        all = chat__char_is(ig_utf8_next(p, end, &length), what);
    *out = chat__bool(all);
}
#define CLASS(name, what)                                                                          \
    static bool name(struct run *r, const struct in *in, struct value *out)                        \
    {                                                                                              \
        all_are(in, what, out);                                                                    \
        return chat__charge(r, in->self.len);                                                      \
    }
CLASS(str_isalpha, CHAR_ALPHA)
CLASS(str_isdigit, CHAR_DIGIT)
CLASS(str_isdecimal, CHAR_DECIMAL)
CLASS(str_isnumeric, CHAR_NUMERIC)
CLASS(str_isalnum, CHAR_ALNUM)
CLASS(str_isspace, CHAR_SPACE)
CLASS(str_isprintable, CHAR_PRINTABLE)

static bool str_isascii(struct run *r, const struct in *in, struct value *out)
{
    *out = chat__bool(in->self.flags & STR_ASCII);
    return chat__charge(r, 0);
}
static bool str_isupper(struct run *r, const struct in *in, struct value *out)
{
    *out = chat__bool(chat__all_cased(chat__text(in->self), true));
    return chat__charge(r, in->self.len);
}
static bool str_islower(struct run *r, const struct in *in, struct value *out)
{
    *out = chat__bool(chat__all_cased(chat__text(in->self), false));
    return chat__charge(r, in->self.len);
}

/* ---- list, tuple, dict ---- */

static bool seq_index(struct run *r, const struct in *in, struct value *out)
{
    const struct seq *seq = in->self.seq;
    for (size_t i = 0; i < seq->count; i++) {
        bool same;
        if (!chat__equal(r, seq->items[i], in->arg[0], &same)) return false;
        *out = chat__int((int64_t)i);
        if (same) return true;
    }
    return chat__fail(r, "index: the value is not in the %s", chat__type_name(in->self));
}

static bool seq_count(struct run *r, const struct in *in, struct value *out)
{
    int64_t count = 0;
    for (size_t i = 0; i < in->self.seq->count; i++) {
        bool same;
        if (!chat__equal(r, in->self.seq->items[i], in->arg[0], &same)) return false;
        count += same;
    }
    *out = chat__int(count);
    return true;
}

static bool same_value(struct run *r, const struct in *in, struct value *out)
{
    *out = in->self; /* a copy of what never changes */
    return chat__charge(r, 0);
}

static bool dict_get(struct run *r, const struct in *in, struct value *out)
{
    const struct value *found;
    if (!chat__find(r, in->self.dict, in->arg[0], &found)) return false;
    *out = found ? *found : chat__given(in->arg[1]) ? in->arg[1] : chat__none();
    return true;
}

static bool view(struct run *r, const struct in *in, enum view view, struct value *out)
{
    *out = (struct value){.kind = V_VIEW, .flags = (uint8_t)view, .dict = in->self.dict};
    return chat__charge(r, 0);
}
static bool dict_keys(struct run *r, const struct in *in, struct value *out)
{
    return view(r, in, VIEW_KEYS, out);
}
static bool dict_values(struct run *r, const struct in *in, struct value *out)
{
    return view(r, in, VIEW_VALUES, out);
}
static bool dict_items(struct run *r, const struct in *in, struct value *out)
{
    return view(r, in, VIEW_ITEMS, out);
}

/* ---- loop, cycler ---- */

static bool loop_cycle(struct run *r, const struct in *in, struct value *out)
{
    if (!in->call->count) return chat__fail(r, "cycle needs items");
    *out = in->call->list[in->self.loop->index0 % in->call->count];
    return true;
}

/* Whether its arguments differ from those of the call before. */
static bool loop_changed(struct run *r, const struct in *in, struct value *out)
{
    struct loop *loop = in->self.loop;
    struct value now;
    bool same = false;
    if (!chat__new_seq(r, V_TUPLE, in->call->count, &now)) return false;
    for (uint32_t i = 0; i < in->call->count; i++)
        now.seq->items[now.seq->count++] = in->call->list[i];
    if (chat__given(loop->changed) && !chat__equal(r, loop->changed, now, &same)) return false;
    loop->changed = now;
    *out = chat__bool(!same);
    return true;
}

static bool cycler_next(struct run *r, const struct in *in, struct value *out)
{
    struct cycler *c = in->self.cycler;
    *out = c->items[c->at];
    c->at = (c->at + 1) % c->count;
    return chat__charge(r, 0);
}

static bool cycler_reset(struct run *r, const struct in *in, struct value *out)
{
    in->self.cycler->at = 0;
    *out = chat__none();
    return chat__charge(r, 0);
}

// clang-format off
const struct builtin chat__str_methods[] = {
    {"split", str_split, 0, {"sep", "maxsplit"}},
    {"strip", str_strip, 0, {"/chars"}},
    {"lstrip", str_lstrip, 0, {"/chars"}},
    {"rstrip", str_rstrip, 0, {"/chars"}},
    {"startswith", str_startswith, 1, {"/prefix", "/start", "/end"}},
    {"endswith", str_endswith, 1, {"/suffix", "/start", "/end"}},
    {"replace", str_replace, 2, {"/old", "/new", "/count"}},
    {"upper", str_upper, 0, {0}},
    {"lower", str_lower, 0, {0}},
    {"title", str_title, 0, {0}},
    {"capitalize", str_capitalize, 0, {0}},
    {"swapcase", str_swapcase, 0, {0}},
    {"join", str_join, 1, {"/iterable"}},
    {"format", str_format, CHAT_VARIADIC, {0}},
    {"format_map", str_format_map, 1, {"/mapping"}},
    {"find", str_find, 1, {"/sub", "/start", "/end"}},
    {"rfind", str_rfind, 1, {"/sub", "/start", "/end"}},
    {"index", str_index, 1, {"/sub", "/start", "/end"}},
    {"rindex", str_rindex, 1, {"/sub", "/start", "/end"}},
    {"count", str_count, 1, {"/sub", "/start", "/end"}},
    {"rsplit", str_rsplit, 0, {"sep", "maxsplit"}},
    {"splitlines", str_splitlines, 0, {"keepends"}},
    {"partition", str_partition, 1, {"/sep"}},
    {"rpartition", str_rpartition, 1, {"/sep"}},
    {"removeprefix", str_removeprefix, 1, {"/prefix"}},
    {"removesuffix", str_removesuffix, 1, {"/suffix"}},
    {"center", str_center, 1, {"/width", "/fillchar"}},
    {"ljust", str_ljust, 1, {"/width", "/fillchar"}},
    {"rjust", str_rjust, 1, {"/width", "/fillchar"}},
    {"zfill", str_zfill, 1, {"/width"}},
    {"expandtabs", str_expandtabs, 0, {"tabsize"}},
    {"encode", str_encode, 0, {"encoding", "errors"}},
    {"isalpha", str_isalpha, 0, {0}},
    {"isdigit", str_isdigit, 0, {0}},
    {"isdecimal", str_isdecimal, 0, {0}},
    {"isnumeric", str_isnumeric, 0, {0}},
    {"isalnum", str_isalnum, 0, {0}},
    {"isspace", str_isspace, 0, {0}},
    {"isprintable", str_isprintable, 0, {0}},
    {"isascii", str_isascii, 0, {0}},
    {"isupper", str_isupper, 0, {0}},
    {"islower", str_islower, 0, {0}},
    {0},
};
static const struct builtin bytes_methods[] = {{"decode", bytes_decode, 0, {"encoding", "errors"}}, {0}};
static const struct builtin list_methods[] = {
    {"index", seq_index, 1, {"/value"}}, {"count", seq_count, 1, {"/value"}},
    {"copy", same_value, 0, {0}},       {"append", NULL, 0, {0}},
    {"extend", NULL, 0, {0}},           {"insert", NULL, 0, {0}},
    {"pop", NULL, 0, {0}},              {"remove", NULL, 0, {0}},
    {"clear", NULL, 0, {0}},            {"sort", NULL, 0, {0}},
    {"reverse", NULL, 0, {0}},          {0},
};
static const struct builtin tuple_methods[] = {
    {"index", seq_index, 1, {"/value"}}, {"count", seq_count, 1, {"/value"}}, {0},
};
static const struct builtin dict_methods[] = {
    {"get", dict_get, 1, {"/key", "/default"}}, {"items", dict_items, 0, {0}},
    {"keys", dict_keys, 0, {0}},              {"values", dict_values, 0, {0}},
    {"copy", same_value, 0, {0}},             {"clear", NULL, 0, {0}},
    {"pop", NULL, 0, {0}},                    {"popitem", NULL, 0, {0}},
    {"setdefault", NULL, 0, {0}},             {"update", NULL, 0, {0}},
    {0},
};
static const struct builtin loop_methods[] = {
    {"cycle", loop_cycle, CHAT_VARIADIC, {0}}, {"changed", loop_changed, CHAT_VARIADIC, {0}}, {0},
};
static const struct builtin cycler_methods[] = {
    {"next", cycler_next, 0, {0}}, {"reset", cycler_reset, 0, {0}}, {0},
};
// clang-format on

const struct builtin *chat__find_method(struct value self, struct ig_slice name)
{
    switch (self.kind) {
    case V_STR: return chat__find_row(chat__str_methods, name);
    case V_BYTES: return chat__find_row(bytes_methods, name);
    case V_LIST: return chat__find_row(list_methods, name);
    case V_TUPLE:
    case V_RANGE: return chat__find_row(tuple_methods, name);
    case V_DICT: return chat__find_row(dict_methods, name);
    case V_LOOP: return chat__find_row(loop_methods, name);
    case V_CYCLER: return chat__find_row(cycler_methods, name);
    case V_BUILTIN: /* dict.fromkeys */
        if (strcmp(self.builtin->name, "dict") != 0) return NULL;
        return chat__find_row(chat__dict_type_methods, name);
    default: return NULL;
    }
}
