/* SPDX-License-Identifier: Apache-2.0
 * jinja_filters_seq — the filters that walk something. What jinja2 gives as a generator is one
 * here: it can be walked once, and has no length. */
#include "chat/chat_internal.h"

static bool copy_all(struct run *r, struct value from, enum kind kind, struct value *out)
{
    struct seq *seq;
    if (!chat__iterate(r, from, &seq) || !chat__new_seq(r, kind, seq->count, out)) return false;
    if (seq->count) memcpy(out->seq->items, seq->items, seq->count * sizeof *seq->items);
    out->seq->count = seq->count;
    return true;
}

static bool filter_list(struct run *r, const struct in *in, struct value *out)
{
    return copy_all(r, in->self, V_LIST, out);
}

static bool filter_first(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    if (!chat__iterate(r, in->self, &seq)) return false;
    *out = seq->count ? seq->items[0] : chat__undefined(ig_slice_of("the first of nothing"));
    return true;
}

static bool filter_last(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    if (in->self.kind == V_GEN) return chat__fail(r, "a generator cannot be reversed");
    if (!chat__iterate(r, in->self, &seq)) return false;
    *out = seq->count ? seq->items[seq->count - 1]
                      : chat__undefined(ig_slice_of("the last of nothing"));
    return true;
}

static bool filter_join(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    struct value by = chat__given(in->arg[0]) ? in->arg[0] : chat__literal(""), path = in->arg[1];
    if (!chat__iterate(r, in->self, &seq) || !chat__to_str(r, by, &by)) return false;
    size_t mark = chat__begin(r);
    for (size_t i = 0; i < seq->count; i++) {
        struct value item;
        if (!chat__path(r, seq->items[i], path, &item)) return false;
        if (i) ig_buf_slice(&r->out, chat__text(by));
        if (!chat__put_str(r, item)) return false;
    }
    return chat__end(r, mark, out);
}

static bool filter_items(struct run *r, const struct in *in, struct value *out)
{
    if (in->self.kind == V_UNDEFINED) return chat__new_seq(r, V_GEN, 0, out);
    if (in->self.kind != V_DICT)
        return chat__fail(r, "items needs a dict, not '%s'", chat__type_name(in->self));
    struct value view = {.kind = V_VIEW, .flags = VIEW_ITEMS, .dict = in->self.dict};
    return copy_all(r, view, V_GEN, out);
}

static bool filter_reverse(struct run *r, const struct in *in, struct value *out)
{
    if (in->self.kind == V_STR) {
        struct bounds all = {chat__none(), chat__none(), chat__int(-1)};
        return chat__slice(r, in->self, &all, out);
    }
    if (!copy_all(r, in->self, V_GEN, out)) return false;
    struct seq *seq = out->seq;
    for (size_t i = 0; i < seq->count / 2; i++) {
        struct value v = seq->items[i];
        seq->items[i] = seq->items[seq->count - 1 - i];
        seq->items[seq->count - 1 - i] = v;
    }
    return true;
}

/* ---- map, select, reject ---- */

/* A filter or test by name with the arguments from the place `used` on. */
struct applied {
    const struct builtin *builtin;
    struct call call;
};

static bool named_builtin(struct run *r, const struct call *call, uint32_t at, bool test,
                          struct applied *out)
{
    struct value name = call->list[at];
    if (name.kind != V_STR)
        return chat__fail(r, "the name of a %s must be a text", test ? "test" : "filter");
    out->builtin = test ? chat__find_test(chat__text(name)) : chat__find_filter(chat__text(name));
    if (!out->builtin)
        return chat__fail(r, "there is no %s named '" IG_SLICE_FMT "'", test ? "test" : "filter",
                          IG_SLICE_ARG(chat__text(name)));
    out->call = *call;
    out->call.list += at + 1;
    out->call.count -= at + 1;
    return true;
}

static const struct value *named_arg(const struct call *call, const char *name)
{
    for (uint32_t i = 0; i < call->named_count; i++)
        if (ig_slice_is(call->named[i].name, name)) return &call->named[i].value;
    return NULL;
}

static bool map_attribute(struct run *r, const struct in *in, const struct seq *seq,
                          struct value *out)
{
    const struct value *path = named_arg(in->call, "attribute");
    const struct value *fallback = named_arg(in->call, "default");
    if (in->call->named_count != 1u + (fallback != NULL))
        return chat__fail(r, "map takes 'attribute' and 'default' only");
    for (size_t i = 0; i < seq->count; i++) {
        struct value item;
        if (!chat__path(r, seq->items[i], *path, &item)) return false;
        if (item.kind == V_UNDEFINED && fallback && fallback->kind != V_NONE) item = *fallback;
        if (!chat__append(r, out->seq, item)) return false;
    }
    return true;
}

static bool filter_map(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    struct applied f;
    if (!chat__new_seq(r, V_GEN, 0, out)) return false;
    if (!chat__truth(in->self)) return true;
    if (!chat__iterate(r, in->self, &seq)) return false;
    if (!in->call->count && named_arg(in->call, "attribute")) return map_attribute(r, in, seq, out);
    if (!in->call->count) return chat__fail(r, "map needs a filter's name");
    if (!named_builtin(r, in->call, 0, false, &f)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        struct value item;
        if (!chat__call_builtin(r, f.builtin, seq->items[i], &f.call, &item) ||
            !chat__append(r, out->seq, item))
            return false;
    }
    return true;
}

static bool select_items(struct run *r, const struct in *in, bool wanted, bool attr,
                         struct value *out)
{
    struct seq *seq;
    struct applied t = {0};
    const struct call *call = in->call;
    uint32_t used = attr ? 1 : 0;
    if (!chat__new_seq(r, V_GEN, 0, out)) return false;
    if (!chat__truth(in->self)) return true;
    if (!chat__iterate(r, in->self, &seq)) return false;
    if (call->count < used) return chat__fail(r, "the name of an attribute is missing");
    if (call->count > used && !named_builtin(r, call, used, true, &t)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        struct value item = seq->items[i], truth;
        if (attr && !chat__path(r, item, call->list[0], &item)) return false;
        truth = item;
        if (t.builtin && !chat__call_builtin(r, t.builtin, item, &t.call, &truth)) return false;
        if (chat__truth(truth) == wanted && !chat__append(r, out->seq, seq->items[i])) return false;
    }
    return true;
}
static bool filter_select(struct run *r, const struct in *in, struct value *out)
{
    return select_items(r, in, true, false, out);
}
static bool filter_reject(struct run *r, const struct in *in, struct value *out)
{
    return select_items(r, in, false, false, out);
}
static bool filter_selectattr(struct run *r, const struct in *in, struct value *out)
{
    return select_items(r, in, true, true, out);
}
static bool filter_rejectattr(struct run *r, const struct in *in, struct value *out)
{
    return select_items(r, in, false, true, out);
}

/* ---- order ---- */

/* Texts compare without case unless asked otherwise. */
static bool fold(struct run *r, bool case_sensitive, struct value *v)
{
    return case_sensitive || v->kind != V_STR || chat__recase(r, *v, CASE_LOWER, v);
}

struct keyed {
    struct value item, key;
};

/* Stable merge sort; `reverse` keeps equals in their order, as Python does. */
static bool merge_sort(struct run *r, struct keyed *a, struct keyed *spare, size_t count,
                       bool reverse)
{
    if (count < 2) return true;
    size_t half = count / 2, i = 0, j = half, k = 0;
    if (!merge_sort(r, a, spare, half, reverse) ||
        !merge_sort(r, a + half, spare, count - half, reverse))
        return false;
    memcpy(spare, a, count * sizeof *a);
    while (i < half && j < count) {
        int o;
        bool ok = reverse ? chat__order(r, spare[i].key, spare[j].key, &o)
                          : chat__order(r, spare[j].key, spare[i].key, &o);
        if (!ok || !chat__charge(r, 0)) return false;
        a[k++] = o < 0 ? spare[j++] : spare[i++];
    }
    while (i < half)
        a[k++] = spare[i++];
    while (j < count)
        a[k++] = spare[j++];
    return true;
}

static bool sort_keyed(struct run *r, struct keyed *rows, size_t count, bool reverse,
                       struct value *out)
{
    struct keyed *spare = chat__new(r, count, sizeof *spare);
    if (!spare || !merge_sort(r, rows, spare, count, reverse)) return false;
    if (!chat__new_seq(r, V_LIST, count, out)) return false;
    for (size_t i = 0; i < count; i++)
        out->seq->items[out->seq->count++] = rows[i].item;
    return true;
}

/* "a,b.c": the attributes at several paths, as a list. */
static bool multi_path(struct run *r, struct value of, struct value path, bool case_sensitive,
                       struct value *out)
{
    struct value parts = {0}, comma = chat__literal(","), item;
    if (path.kind == V_STR) {
        if (!chat__split(r, path, &comma, -1, false, &parts)) return false;
    } else {
        if (!chat__new_seq(r, V_LIST, 1, &parts)) return false;
        parts.seq->items[parts.seq->count++] = path;
    }
    if (!chat__new_seq(r, V_LIST, parts.seq->count, out)) return false;
    for (size_t i = 0; i < parts.seq->count; i++) {
        if (!chat__path(r, of, parts.seq->items[i], &item) || !fold(r, case_sensitive, &item))
            return false;
        out->seq->items[out->seq->count++] = item;
    }
    return true;
}

static bool filter_sort(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    bool case_sensitive = chat__truth(in->arg[1]);
    if (!chat__iterate(r, in->self, &seq)) return false;
    struct keyed *rows = chat__new(r, seq->count, sizeof *rows);
    if (!rows) return false;
    for (size_t i = 0; i < seq->count; i++) {
        rows[i].item = seq->items[i];
        if (!multi_path(r, seq->items[i], in->arg[2], case_sensitive, &rows[i].key)) return false;
    }
    return sort_keyed(r, rows, seq->count, chat__truth(in->arg[0]), out);
}

static bool filter_dictsort(struct run *r, const struct in *in, struct value *out)
{
    bool case_sensitive = chat__truth(in->arg[0]), by_value = false;
    if (chat__given(in->arg[1])) {
        by_value = in->arg[1].kind == V_STR && ig_slice_is(chat__text(in->arg[1]), "value");
        bool by_key = in->arg[1].kind == V_STR && ig_slice_is(chat__text(in->arg[1]), "key");
        if (!by_value && !by_key) return chat__fail(r, "dictsort: by must be 'key' or 'value'");
    }
    if (in->self.kind == V_UNDEFINED) return chat__fail_undefined(r, in->self);
    if (in->self.kind != V_DICT) return chat__fail(r, "dictsort needs a dict");
    struct value view = {.kind = V_VIEW, .flags = VIEW_ITEMS, .dict = in->self.dict};
    struct seq *seq;
    if (!chat__iterate(r, view, &seq)) return false;
    struct keyed *rows = chat__new(r, seq->count, sizeof *rows);
    if (!rows) return false;
    for (size_t i = 0; i < seq->count; i++) {
        rows[i] = (struct keyed){seq->items[i], seq->items[i].seq->items[by_value]};
        if (!fold(r, case_sensitive, &rows[i].key)) return false;
    }
    return sort_keyed(r, rows, seq->count, chat__truth(in->arg[2]), out);
}

static bool extreme(struct run *r, const struct in *in, int wanted, struct value *out)
{
    struct seq *seq;
    struct value best = {0}, key;
    bool case_sensitive = chat__truth(in->arg[0]);
    if (!chat__iterate(r, in->self, &seq)) return false;
    *out = chat__undefined(ig_slice_of("the extreme of nothing"));
    for (size_t i = 0; i < seq->count; i++) {
        int o = wanted;
        if (!chat__path(r, seq->items[i], in->arg[1], &key) || !fold(r, case_sensitive, &key))
            return false;
        if (i && !chat__order(r, key, best, &o)) return false;
        if (o != wanted) continue;
        best = key;
        *out = seq->items[i];
    }
    return true;
}
static bool filter_min(struct run *r, const struct in *in, struct value *out)
{
    return extreme(r, in, -1, out);
}
static bool filter_max(struct run *r, const struct in *in, struct value *out)
{
    return extreme(r, in, 1, out);
}

static bool filter_unique(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    struct value seen, key;
    bool case_sensitive = chat__truth(in->arg[0]);
    if (!chat__iterate(r, in->self, &seq) || !chat__new_dict(r, &seen)) return false;
    if (!chat__new_seq(r, V_GEN, 0, out)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        const struct value *found;
        if (!chat__path(r, seq->items[i], in->arg[1], &key) || !fold(r, case_sensitive, &key) ||
            !chat__find(r, seen.dict, key, &found))
            return false;
        if (found) continue;
        if (!chat__put(r, seen.dict, key, chat__none()) ||
            !chat__append(r, out->seq, seq->items[i]))
            return false;
    }
    return true;
}

static bool filter_sum(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    *out = chat__given(in->arg[1]) ? in->arg[1] : chat__int(0);
    if (out->kind == V_STR) return chat__fail(r, "sum cannot add texts: use join");
    if (!chat__iterate(r, in->self, &seq)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        struct value item;
        if (!chat__path(r, seq->items[i], in->arg[0], &item) ||
            !chat__binary(r, T_ADD, *out, item, out))
            return false;
    }
    return true;
}

/* ---- groups ---- */

static bool add_group(struct run *r, struct value name, struct value items, struct value *out)
{
    struct value group;
    if (!chat__new_seq(r, V_TUPLE, 2, &group)) return false;
    group.seq->items[group.seq->count++] = name;
    group.seq->items[group.seq->count++] = items;
    return chat__append(r, out->seq, group);
}

static bool filter_groupby(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    struct value sorted, name, group = {0};
    bool case_sensitive = chat__truth(in->arg[2]);
    if (!chat__iterate(r, in->self, &seq)) return false;
    struct keyed *rows = chat__new(r, seq->count, sizeof *rows);
    if (!rows || !chat__new_seq(r, V_LIST, 0, out)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        rows[i].item = seq->items[i];
        if (!chat__path(r, rows[i].item, in->arg[0], &rows[i].key)) return false;
        if (rows[i].key.kind == V_UNDEFINED && chat__given(in->arg[1])) rows[i].key = in->arg[1];
        if (!fold(r, case_sensitive, &rows[i].key)) return false;
    }
    if (!sort_keyed(r, rows, seq->count, false, &sorted)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        bool same = false;
        if (i && !chat__equal(r, rows[i].key, rows[i - 1].key, &same)) return false;
        if (!same) {
            /* the name has the case of the group's first item */
            if (!chat__path(r, rows[i].item, in->arg[0], &name)) return false;
            if (name.kind == V_UNDEFINED && chat__given(in->arg[1])) name = in->arg[1];
            if (!chat__new_seq(r, V_LIST, 0, &group) || !add_group(r, name, group, out))
                return false;
        }
        if (!chat__append(r, group.seq, rows[i].item)) return false;
    }
    return true;
}

static bool count_arg(struct run *r, struct value v, int64_t *out)
{
    return (chat__as_int(v, out) && *out > 0) || chat__fail(r, "a count above 0 is needed");
}

static bool filter_batch(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    int64_t size;
    struct value batch = {0};
    bool fill = chat__given(in->arg[1]) && in->arg[1].kind != V_NONE;
    if (!count_arg(r, in->arg[0], &size) || !chat__iterate(r, in->self, &seq)) return false;
    if (!chat__new_seq(r, V_GEN, 0, out)) return false;
    for (size_t i = 0; i < seq->count; i++) {
        if (i % (size_t)size == 0 &&
            (!chat__new_seq(r, V_LIST, 0, &batch) || !chat__append(r, out->seq, batch)))
            return false;
        if (!chat__append(r, batch.seq, seq->items[i])) return false;
    }
    while (fill && seq->count && batch.seq->count < (size_t)size)
        if (!chat__append(r, batch.seq, in->arg[1]) || !chat__charge(r, 0)) return false;
    return true;
}

static bool filter_slice(struct run *r, const struct in *in, struct value *out)
{
    struct seq *seq;
    int64_t slices;
    bool fill = chat__given(in->arg[1]) && in->arg[1].kind != V_NONE;
    if (!count_arg(r, in->arg[0], &slices) || !chat__iterate(r, in->self, &seq)) return false;
    if (!chat__new_seq(r, V_GEN, 0, out)) return false;
    size_t each = seq->count / (size_t)slices, more = seq->count % (size_t)slices, at = 0;
    for (size_t i = 0; i < (size_t)slices; i++) {
        struct value part;
        size_t count = each + (i < more);
        if (!chat__charge(r, 0) || !chat__new_seq(r, V_LIST, count, &part)) return false;
        while (part.seq->count < count)
            part.seq->items[part.seq->count++] = seq->items[at++];
        if (fill && i >= more && !chat__append(r, part.seq, in->arg[1])) return false;
        if (!chat__append(r, out->seq, part)) return false;
    }
    return true;
}

// clang-format off
const struct builtin chat__seq_filters[] = {
    {"list", filter_list, 0, {0}},
    {"first", filter_first, 0, {0}},
    {"last", filter_last, 0, {0}},
    {"join", filter_join, 0, {"d", "attribute"}},
    {"items", filter_items, 0, {0}},
    {"map", filter_map, CHAT_VARIADIC, {0}},
    {"select", filter_select, CHAT_VARIADIC, {0}},
    {"reject", filter_reject, CHAT_VARIADIC, {0}},
    {"selectattr", filter_selectattr, CHAT_VARIADIC, {0}},
    {"rejectattr", filter_rejectattr, CHAT_VARIADIC, {0}},
    {"dictsort", filter_dictsort, 0, {"case_sensitive", "by", "reverse"}},
    {"sort", filter_sort, 0, {"reverse", "case_sensitive", "attribute"}},
    {"unique", filter_unique, 0, {"case_sensitive", "attribute"}},
    {"min", filter_min, 0, {"case_sensitive", "attribute"}},
    {"max", filter_max, 0, {"case_sensitive", "attribute"}},
    {"sum", filter_sum, 0, {"attribute", "start"}},
    {"reverse", filter_reverse, 0, {0}},
    {"groupby", filter_groupby, 1, {"attribute", "default", "case_sensitive"}},
    {"batch", filter_batch, 1, {"linecount", "fill_with"}},
    {"slice", filter_slice, 1, {"slices", "fill_with"}},
    {0},
};
// clang-format on
