/* SPDX-License-Identifier: Apache-2.0
 * jinja_tests — what follows `is`, and the global functions. A new one is one row. */
#include "chat/chat_internal.h"

/* ---- tests ---- */

#define TEST(name, condition)                                                                      \
    static bool name(struct run *r, const struct in *in, struct value *out)                        \
    {                                                                                              \
        struct value v = in->self;                                                                 \
        *out = chat__bool(condition);                                                              \
        return chat__charge(r, 0);                                                                 \
    }
TEST(test_defined, v.kind != V_UNDEFINED)
TEST(test_undefined, v.kind == V_UNDEFINED)
TEST(test_none, v.kind == V_NONE)
TEST(test_string, v.kind == V_STR)
TEST(test_boolean, v.kind == V_BOOL)
TEST(test_true, v.kind == V_BOOL && v.integer)
TEST(test_false, v.kind == V_BOOL && !v.integer)
TEST(test_integer, v.kind == V_INT || v.kind == V_BIG)
TEST(test_float, v.kind == V_REAL)
TEST(test_number, chat__is_number(v))
TEST(test_mapping, v.kind == V_DICT)
TEST(test_escaped, v.kind == V_STR && v.flags & STR_MARKUP)
TEST(test_sequence, v.kind == V_UNDEFINED || v.kind == V_STR || v.kind == V_BYTES ||
                        v.kind == V_LIST || v.kind == V_TUPLE || v.kind == V_RANGE ||
                        v.kind == V_DICT)
TEST(test_iterable, v.kind == V_UNDEFINED || v.kind == V_STR || v.kind == V_BYTES ||
                        (v.kind >= V_LIST && v.kind <= V_VIEW) || v.kind == V_LOOP)
TEST(test_callable, v.kind == V_UNDEFINED || v.kind == V_LOOP || v.kind == V_MACRO ||
                        v.kind == V_METHOD || v.kind == V_BUILTIN || v.kind == V_JOINER)
TEST(test_filter, v.kind == V_STR && chat__find_filter(chat__text(v)))
TEST(test_test, v.kind == V_STR && chat__find_test(chat__text(v)))

static bool compare(struct run *r, const struct in *in, int op, struct value *out)
{
    bool truth;
    if (!chat__compare(r, op, in->self, in->arg[0], &truth)) return false;
    *out = chat__bool(truth);
    return true;
}
#define COMPARE(name, op)                                                                          \
    static bool name(struct run *r, const struct in *in, struct value *out)                        \
    {                                                                                              \
        return compare(r, in, op, out);                                                            \
    }
COMPARE(test_eq, T_EQ)
COMPARE(test_ne, T_NE)
COMPARE(test_lt, T_LT)
COMPARE(test_le, T_LE)
COMPARE(test_gt, T_GT)
COMPARE(test_ge, T_GE)
COMPARE(test_in, T_IN)

static bool remainder_is(struct run *r, struct value v, struct value by, int64_t wanted,
                         struct value *out)
{
    struct value rest;
    bool same;
    if (!chat__binary(r, T_MOD, v, by, &rest)) return false;
    if (!chat__equal(r, rest, chat__int(wanted), &same)) return false;
    *out = chat__bool(same);
    return true;
}
static bool test_odd(struct run *r, const struct in *in, struct value *out)
{
    return remainder_is(r, in->self, chat__int(2), 1, out);
}
static bool test_even(struct run *r, const struct in *in, struct value *out)
{
    return remainder_is(r, in->self, chat__int(2), 0, out);
}
static bool test_divisibleby(struct run *r, const struct in *in, struct value *out)
{
    return remainder_is(r, in->self, in->arg[0], 0, out);
}

/* `is`: the same object. Of texts and numbers, which Python shares at will, equal ones. */
static bool test_sameas(struct run *r, const struct in *in, struct value *out)
{
    struct value a = in->self, b = in->arg[0];
    bool same = a.kind == b.kind && a.kind != V_UNDEFINED;
    if (same && a.kind > V_NONE && a.kind <= V_BYTES) {
        if (!chat__equal(r, a, b, &same)) return false;
    } else if (same && a.kind > V_BYTES) {
        same = a.ptr == b.ptr;
    }
    *out = chat__bool(same);
    return true;
}

static bool cased(struct run *r, const struct in *in, bool upper, struct value *out)
{
    struct value text;
    if (!chat__to_str(r, in->self, &text)) return false;
    *out = chat__bool(chat__all_cased(chat__text(text), upper));
    return chat__charge(r, text.len);
}
static bool test_upper(struct run *r, const struct in *in, struct value *out)
{
    return cased(r, in, true, out);
}
static bool test_lower(struct run *r, const struct in *in, struct value *out)
{
    return cased(r, in, false, out);
}

// clang-format off
const struct builtin chat__tests[] = {
    {"defined", test_defined, 0, {0}},
    {"undefined", test_undefined, 0, {0}},
    {"none", test_none, 0, {0}},
    {"string", test_string, 0, {0}},
    {"mapping", test_mapping, 0, {0}},
    {"iterable", test_iterable, 0, {0}},
    {"sequence", test_sequence, 0, {0}},
    {"boolean", test_boolean, 0, {0}},
    {"true", test_true, 0, {0}},
    {"false", test_false, 0, {0}},
    {"number", test_number, 0, {0}},
    {"integer", test_integer, 0, {0}},
    {"float", test_float, 0, {0}},
    {"odd", test_odd, 0, {0}},
    {"even", test_even, 0, {0}},
    {"divisibleby", test_divisibleby, 1, {"num"}},
    {"eq", test_eq, 1, {"other"}},
    {"equalto", test_eq, 1, {"other"}},
    {"==", test_eq, 1, {"other"}},
    {"ne", test_ne, 1, {"other"}},
    {"!=", test_ne, 1, {"other"}},
    {"lt", test_lt, 1, {"other"}},
    {"lessthan", test_lt, 1, {"other"}},
    {"<", test_lt, 1, {"other"}},
    {"le", test_le, 1, {"other"}},
    {"<=", test_le, 1, {"other"}},
    {"gt", test_gt, 1, {"other"}},
    {"greaterthan", test_gt, 1, {"other"}},
    {">", test_gt, 1, {"other"}},
    {"ge", test_ge, 1, {"other"}},
    {">=", test_ge, 1, {"other"}},
    {"in", test_in, 1, {"seq"}},
    {"sameas", test_sameas, 1, {"other"}},
    {"upper", test_upper, 0, {0}},
    {"lower", test_lower, 0, {0}},
    {"callable", test_callable, 0, {0}},
    {"escaped", test_escaped, 0, {0}},
    {"filter", test_filter, 0, {0}},
    {"test", test_test, 0, {0}},
    {0},
};
// clang-format on

const struct builtin *chat__find_test(struct ig_slice name)
{
    return chat__find_row(chat__tests, name);
}

/* ---- globals ---- */

static bool global_raise(struct run *r, const struct in *in, struct value *out)
{
    struct value text;
    *out = chat__none();
    if (!chat__to_str(r, in->arg[0], &text)) return false;
    return chat__fail(r, "%.*s", (int)(text.len > IG_ERR_TEXT_MAX ? IG_ERR_TEXT_MAX : text.len),
                      text.ptr);
}

static bool global_strftime_now(struct run *r, const struct in *in, struct value *out)
{
    if (in->arg[0].kind != V_STR) return chat__fail(r, "strftime_now needs a text");
    return chat__strftime(r, chat__text(in->arg[0]), out);
}

static bool global_range(struct run *r, const struct in *in, struct value *out)
{
    int64_t n[3] = {0, 0, 1};
    int given = 0;
    for (; given < 3 && chat__given(in->arg[given]); given++)
        if (!chat__as_int(in->arg[given], &n[given]))
            return chat__fail(r, "range needs whole numbers");
    int64_t start = given > 1 ? n[0] : 0, stop = given > 1 ? n[1] : n[0], step = n[2];
    if (step == 0) return chat__fail(r, "range: the step is 0");
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step, span = 0, count;
    if (step > 0 ? stop > start : stop < start)
        span = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    count = span ? (span - 1) / stride + 1 : 0;
    if (count > CHAT_RANGE_MAX) return chat__fail(r, "range: more than %d numbers", CHAT_RANGE_MAX);
    if (!chat__new_seq(r, V_RANGE, count, out)) return false;
    struct seq *seq = out->seq;
    for (; seq->count < count; seq->count++)
        seq->items[seq->count] = chat__int(start + (int64_t)seq->count * step);
    seq->start = start;
    seq->stop = stop;
    seq->step = step;
    return true;
}

/* dict(x, **named): x is a dict or a list of pairs. */
static bool fill_dict(struct run *r, const struct call *call, struct value *out)
{
    struct value from;
    struct seq *items, *pair;
    if (!chat__new_dict(r, out)) return false;
    if (call->count > 1) return chat__fail(r, "at most one value is taken by place");
    if (call->count) {
        from = call->list[0];
        if (from.kind == V_UNDEFINED) return chat__fail_undefined(r, from);
        if (from.kind == V_DICT)
            from = (struct value){.kind = V_VIEW, .flags = VIEW_ITEMS, .dict = from.dict};
        if (!chat__iterate(r, from, &items)) return false;
        for (size_t i = 0; i < items->count; i++) {
            if (!chat__iterate(r, items->items[i], &pair)) return false;
            if (pair->count != 2) return chat__fail(r, "pairs of key and value are needed");
            if (!chat__put(r, out->dict, pair->items[0], pair->items[1])) return false;
        }
    }
    for (uint32_t i = 0; i < call->named_count; i++)
        if (!chat__put(r, out->dict, chat__str(call->named[i].name), call->named[i].value))
            return false;
    return true;
}

static bool global_dict(struct run *r, const struct in *in, struct value *out)
{
    return fill_dict(r, in->call, out);
}

static bool dict_fromkeys(struct run *r, const struct in *in, struct value *out)
{
    struct seq *keys;
    struct value value = chat__given(in->arg[1]) ? in->arg[1] : chat__none();
    if (!chat__iterate(r, in->arg[0], &keys) || !chat__new_dict(r, out)) return false;
    for (size_t i = 0; i < keys->count; i++)
        if (!chat__put(r, out->dict, keys->items[i], value)) return false;
    return true;
}
const struct builtin chat__dict_type_methods[] = {
    {"fromkeys", dict_fromkeys, 1, {"/iterable", "/value"}},
    {0},
};

static bool global_namespace(struct run *r, const struct in *in, struct value *out)
{
    struct value names;
    struct space *space = chat__new(r, 1, sizeof *space);
    if (!space || !fill_dict(r, in->call, &names)) return false;
    for (uint32_t i = 0; i < names.dict->count; i++) {
        struct value key = names.dict->pairs[i].key;
        if (key.kind == V_STR && ig_slice_starts(chat__text(key), "_"))
            return chat__fail(r, "a namespace takes no name that starts with '_'");
    }
    space->dict = *names.dict;
    *out = (struct value){.kind = V_SPACE, .space = space};
    return true;
}

static bool global_cycler(struct run *r, const struct in *in, struct value *out)
{
    struct cycler *c = chat__new(r, 1, sizeof *c);
    if (!in->call->count) return chat__fail(r, "cycler needs items");
    if (!c) return false;
    *c = (struct cycler){.items = in->call->list, .count = in->call->count};
    *out = (struct value){.kind = V_CYCLER, .cycler = c};
    return true;
}

static bool global_joiner(struct run *r, const struct in *in, struct value *out)
{
    struct cycler *c = chat__new(r, 1, sizeof *c);
    if (!c) return false;
    c->text = chat__given(in->arg[0]) ? in->arg[0] : chat__literal(", ");
    *out = (struct value){.kind = V_JOINER, .cycler = c};
    return true;
}

// clang-format off
static const struct builtin globals[] = {
    {"namespace", global_namespace, CHAT_VARIADIC, {0}},
    {"raise_exception", global_raise, 1, {"message"}},
    {"strftime_now", global_strftime_now, 1, {"format"}},
    {"range", global_range, 1, {"/start", "/stop", "/step"}},
    {"dict", global_dict, CHAT_VARIADIC, {0}},
    {"cycler", global_cycler, CHAT_VARIADIC, {0}},
    {"joiner", global_joiner, 0, {"sep"}},
    {"lipsum", NULL, 0, {0}}, /* random text: defined, but not for calling */
    {0},
};
// clang-format on

const struct builtin *chat__find_global(struct ig_slice name)
{
    return chat__find_row(globals, name);
}
