/* SPDX-License-Identifier: Apache-2.0
 * jinja_value — making values and asking them: text, sequences, ordered dicts. */
#include "base/size.h"
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define DICT_INDEX_MIN 9 /* up to 8 pairs are compared one by one */

void *chat__new(struct run *r, size_t count, size_t size)
{
    void *p = ig_arena_array(&r->arena, count, size);
    if (!p)
        chat__fail(r, "the template needs more than %zu bytes, or memory ran out",
                   CHAT_ARENA_BYTES_MAX);
    return p;
}

/* ---- text ---- */

static bool is_ascii(struct ig_slice text)
{
    size_t i = 0;
    for (; i + 8 <= text.len; i += 8) {
        uint64_t word;
        memcpy(&word, text.ptr + i, 8);
        if (word & 0x8080808080808080u) return false;
    }
    for (; i < text.len; i++)
        if (text.ptr[i] & 0x80) return false;
    return true;
}

struct value chat__str(struct ig_slice text)
{
    return (struct value){.kind = V_STR,
                          .flags = is_ascii(text) ? STR_ASCII : 0,
                          .ptr = text.ptr ? text.ptr : "",
                          .len = text.len};
}

struct value chat__literal(const char *text)
{
    return chat__str(ig_slice_of(text));
}

bool chat__copy_str(struct run *r, struct ig_slice text, struct value *out)
{
    char *copy = chat__new(r, text.len + 1, 1);
    if (!copy) return false;
    if (text.len) memcpy(copy, text.ptr, text.len);
    *out = chat__str(ig_slice_make(copy, text.len));
    return true;
}

size_t chat__begin(const struct run *r)
{
    return r->out.len;
}

bool chat__end(struct run *r, size_t mark, struct value *out)
{
    if (r->out.failed)
        return chat__fail(r, "the text is longer than %zu bytes, or memory ran out",
                          CHAT_OUTPUT_BYTES_MAX);
    struct ig_slice text = {r->out.len ? r->out.data + mark : "", r->out.len - mark};
    if (!chat__charge(r, text.len) || !chat__copy_str(r, text, out)) return false;
    r->out.len = mark;
    return true;
}

/* Joins two texts. A template that builds a long text piece by piece appends to the newest one each
 * time, so when a is the newest and there is room behind it, b goes there and nothing is copied:
 * a keeps its own length and never sees b. */
bool chat__concat(struct run *r, struct ig_slice a, struct ig_slice b, uint8_t flags,
                  struct value *out)
{
    size_t len;
    if (!ig_size_add(a.len, b.len, &len) || len > CHAT_OUTPUT_BYTES_MAX)
        return chat__fail(r, "the text is longer than %zu bytes", CHAT_OUTPUT_BYTES_MAX);
    if (!chat__charge(r, b.len)) return false;
    char *joined;
    if (a.len && a.ptr + a.len == r->tail && (size_t)(r->tail_end - r->tail) >= b.len) {
        joined = r->tail - a.len;
    } else {
        size_t room = len < 128 ? len : len * 2;
        joined = chat__new(r, room + 1, 1);
        if (!joined || !chat__charge(r, a.len)) return false;
        if (a.len) memcpy(joined, a.ptr, a.len);
        r->tail_end = joined + room;
    }
    if (b.len) memcpy(joined + a.len, b.ptr, b.len);
    r->tail = joined + len;
    *out = (struct value){.kind = V_STR, .flags = flags, .ptr = joined, .len = len};
    return true;
}

struct value chat__markup(struct value v, bool on)
{
    v.flags = (uint8_t)(on ? v.flags | STR_MARKUP : v.flags & ~STR_MARKUP);
    return v;
}

size_t chat__count(struct value str)
{
    return str.flags & STR_ASCII ? str.len : ig_utf8_count(chat__text(str));
}

size_t chat__offset(struct value str, size_t index)
{
    if (str.flags & STR_ASCII) return index;
    const char *p = str.ptr, *end = p + str.len;
    for (int length; index && p < end; index--, p += length)
        (void)ig_utf8_next(p, end, &length);
    return (size_t)(p - str.ptr);
}

/* ---- asking ---- */

bool chat__truth(struct value v)
{
    switch (v.kind) {
    case V_ABSENT:
    case V_UNDEFINED:
    case V_NONE: return false;
    case V_BOOL:
    case V_INT: return v.integer != 0;
    case V_REAL: return v.real != 0;
    case V_STR:
    case V_BYTES: return v.len != 0;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE: return v.seq->count != 0;
    case V_DICT:
    case V_VIEW: return v.dict->count != 0;
    default: return true;
    }
}

const char *chat__type_name(struct value v)
{
    static const char *const names[V_KINDS] = {
        [V_ABSENT] = "nothing",   [V_UNDEFINED] = "Undefined",
        [V_NONE] = "NoneType",    [V_BOOL] = "bool",
        [V_INT] = "int",          [V_BIG] = "int",
        [V_REAL] = "float",       [V_STR] = "str",
        [V_BYTES] = "bytes",      [V_LIST] = "list",
        [V_TUPLE] = "tuple",      [V_RANGE] = "range",
        [V_GEN] = "generator",    [V_DICT] = "dict",
        [V_VIEW] = "dict view",   [V_SPACE] = "Namespace",
        [V_LOOP] = "LoopContext", [V_MACRO] = "Macro",
        [V_METHOD] = "method",    [V_BUILTIN] = "function",
        [V_CYCLER] = "Cycler",    [V_JOINER] = "Joiner",
    };
    return names[v.kind];
}

bool chat__length(struct run *r, struct value v, size_t *out)
{
    switch (v.kind) {
    case V_UNDEFINED: *out = 0; return true;
    case V_STR: *out = chat__count(v); return chat__charge(r, v.len);
    case V_BYTES: *out = v.len; return true;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE: *out = v.seq->count; return true;
    case V_DICT:
    case V_VIEW: *out = v.dict->count; return true;
    case V_LOOP:
        if (!chat__loop_fill(r, v.loop, SIZE_MAX)) return false;
        *out = v.loop->seq->count;
        return true;
    default: return chat__fail(r, "a value of type '%s' has no length", chat__type_name(v));
    }
}

bool chat__as_int(struct value v, int64_t *out)
{
    if (v.kind != V_INT && v.kind != V_BOOL) return false;
    *out = v.integer;
    return true;
}

bool chat__as_real(struct value v, double *out)
{
    if (v.kind == V_REAL)
        *out = v.real;
    else if (v.kind == V_INT || v.kind == V_BOOL)
        *out = (double)v.integer;
    else if (v.kind == V_BIG)
        *out = strtod(v.ptr, NULL);
    else
        return false;
    return true;
}

/* ---- sequences ---- */

bool chat__new_seq(struct run *r, enum kind kind, size_t count, struct value *out)
{
    struct seq *seq = chat__new(r, 1, sizeof *seq);
    if (!seq || !chat__charge(r, count)) return false;
    if (count && !(seq->items = chat__new(r, count, sizeof *seq->items))) return false;
    seq->cap = count;
    *out = (struct value){.kind = (uint8_t)kind, .seq = seq};
    return true;
}

bool chat__append(struct run *r, struct seq *seq, struct value v)
{
    if (seq->count == seq->cap) {
        size_t cap = seq->cap ? seq->cap * 2 : 4;
        struct value *items = chat__new(r, cap, sizeof *items);
        if (!items || !chat__charge(r, cap)) return false;
        if (seq->count) memcpy(items, seq->items, seq->count * sizeof *items);
        seq->items = items;
        seq->cap = cap;
    }
    seq->items[seq->count++] = v;
    return true;
}

static bool walk_text(struct run *r, struct value v, struct seq *seq)
{
    const char *p = v.ptr, *end = p + v.len;
    for (int length; p < end; p += length) {
        (void)ig_utf8_next(p, end, &length);
        if (!chat__append(r, seq, chat__str(ig_slice_make(p, (size_t)length)))) return false;
    }
    return true;
}

static bool walk_dict(struct run *r, const struct dict *d, enum view view, struct seq *seq)
{
    for (uint32_t i = 0; i < d->count; i++) {
        const struct pair *pair = &d->pairs[i];
        struct value item = view == VIEW_VALUES ? pair->value : pair->key;
        if (view == VIEW_ITEMS) {
            if (!chat__new_seq(r, V_TUPLE, 2, &item)) return false;
            item.seq->items[item.seq->count++] = pair->key;
            item.seq->items[item.seq->count++] = pair->value;
        }
        if (!chat__append(r, seq, item)) return false;
    }
    return true;
}

bool chat__iterate(struct run *r, struct value v, struct seq **out)
{
    struct value list;
    switch (v.kind) {
    case V_LIST:
    case V_TUPLE:
    case V_RANGE: *out = v.seq; return chat__charge(r, v.seq->count);
    case V_GEN:
        if (v.seq->spent && !chat__new_seq(r, V_GEN, 0, &v)) return false;
        v.seq->spent = true;
        *out = v.seq;
        return chat__charge(r, v.seq->count);
    case V_UNDEFINED:
    case V_STR:
    case V_DICT:
    case V_VIEW:
        if (!chat__new_seq(r, V_LIST, 0, &list)) return false;
        *out = list.seq;
        if (v.kind == V_UNDEFINED) return true;
        if (v.kind == V_STR) return walk_text(r, v, list.seq);
        return walk_dict(r, v.dict, v.kind == V_VIEW ? v.flags : VIEW_KEYS, list.seq);
    default: return chat__fail(r, "a value of type '%s' cannot be iterated", chat__type_name(v));
    }
}

/* ---- dicts ---- */

/* Equal keys hash alike: 1, 1.0 and true are one key in Python. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu; /* the finaliser of MurmurHash3 */
    return h ^ h >> 29;
}

static uint64_t hash_text(struct ig_slice text)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.ptr[i]) * 0x100000001B3u;
    return mix(h);
}

static bool hash_value(struct run *r, struct value v, uint64_t *out)
{
    uint64_t bits, h = v.kind;
    double real;
    switch (v.kind) {
    case V_STR:
    case V_BYTES: *out = hash_text(chat__text(v)); return v.len < 64 || chat__charge(r, v.len);
    case V_LIST:
    case V_DICT: return chat__fail(r, "a %s cannot be a key", chat__type_name(v));
    case V_TUPLE:
        if (++r->depth > CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "values are nested too deeply");
        for (size_t i = 0; i < v.seq->count; i++) {
            if (!chat__charge(r, 64) || !hash_value(r, v.seq->items[i], &bits)) return false;
            h = mix(h * 31 + bits);
        }
        r->depth--;
        *out = h;
        return true;
    default:
        if (!chat__as_real(v, &real)) real = 0;
        memcpy(&bits, &real, sizeof bits);
        *out = mix(real == 0 ? (chat__is_number(v) ? 1 : v.kind) : bits);
        return true;
    }
}

bool chat__new_dict(struct run *r, struct value *out)
{
    struct dict *d = chat__new(r, 1, sizeof *d);
    *out = (struct value){.kind = V_DICT, .dict = d};
    return d != NULL;
}

static bool index_rebuild(struct run *r, struct dict *d)
{
    uint32_t size = 32;
    while (size < d->cap * 2)
        size *= 2;
    d->index = chat__new(r, size, sizeof *d->index);
    if (!d->index) return false;
    d->mask = size - 1;
    for (uint32_t i = 0; i < d->count; i++) {
        uint32_t at = (uint32_t)d->pairs[i].hash & d->mask;
        while (d->index[at])
            at = (at + 1) & d->mask;
        d->index[at] = i + 1;
    }
    return true;
}

static bool same_key(struct run *r, const struct pair *pair, struct value key, uint64_t hash,
                     bool *same)
{
    *same = false;
    if (pair->hash != hash) return true;
    if (pair->key.kind == V_STR && key.kind == V_STR) {
        *same = ig_slice_equal(chat__text(pair->key), chat__text(key));
        return true;
    }
    return chat__equal(r, pair->key, key, same);
}

static bool find_pair(struct run *r, const struct dict *d, struct value key, uint64_t hash,
                      struct pair **out)
{
    bool same;
    *out = NULL;
    if (!d->index) {
        for (uint32_t i = 0; i < d->count; i++) {
            if (!same_key(r, &d->pairs[i], key, hash, &same)) return false;
            if (same) {
                *out = &d->pairs[i];
                return true;
            }
        }
        return true;
    }
    for (uint32_t at = (uint32_t)hash & d->mask; d->index[at]; at = (at + 1) & d->mask) {
        struct pair *pair = &d->pairs[d->index[at] - 1];
        if (!chat__charge(r, 16) || !same_key(r, pair, key, hash, &same)) return false;
        if (same) {
            *out = pair;
            return true;
        }
    }
    return true;
}

bool chat__put(struct run *r, struct dict *d, struct value key, struct value value)
{
    uint64_t hash = 0;
    struct pair *pair;
    if (!hash_value(r, key, &hash) || !find_pair(r, d, key, hash, &pair)) return false;
    if (pair) {
        pair->value = value;
        return true;
    }
    if (d->count == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 4;
        struct pair *pairs = chat__new(r, cap, sizeof *pairs);
        if (!pairs || !chat__charge(r, cap)) return false;
        if (d->count) memcpy(pairs, d->pairs, d->count * sizeof *pairs);
        d->pairs = pairs;
        d->cap = cap;
        d->index = NULL;
    }
    d->pairs[d->count++] = (struct pair){key, value, hash};
    if (d->count < DICT_INDEX_MIN) return true;
    if (!d->index) return index_rebuild(r, d);
    uint32_t at = (uint32_t)hash & d->mask;
    while (d->index[at])
        at = (at + 1) & d->mask;
    d->index[at] = d->count;
    return true;
}

bool chat__find(struct run *r, const struct dict *d, struct value key, const struct value **out)
{
    uint64_t hash = 0;
    struct pair *pair;
    *out = NULL;
    if (!hash_value(r, key, &hash) || !find_pair(r, d, key, hash, &pair)) return false;
    if (pair) *out = &pair->value;
    return true;
}

const struct value *chat__find_text(const struct dict *d, struct ig_slice key)
{
    uint64_t hash = hash_text(key);
    uint32_t at = d->index ? (uint32_t)hash & d->mask : 0;
    for (;;) {
        if (d->index ? !d->index[at] : at >= d->count) return NULL;
        const struct pair *pair = &d->pairs[d->index ? d->index[at] - 1 : at];
        if (pair->hash == hash && pair->key.kind == V_STR &&
            ig_slice_equal(chat__text(pair->key), key))
            return &pair->value;
        at = d->index ? (at + 1) & d->mask : at + 1;
    }
}

/* ---- from JSON ---- */

static bool number_from_json(struct run *r, struct ig_slice text, struct value *out)
{
    if (memchr(text.ptr, '.', text.len) || memchr(text.ptr, 'e', text.len) ||
        memchr(text.ptr, 'E', text.len)) {
        char buffer[64];
        if (text.len < sizeof buffer) {
            memcpy(buffer, text.ptr, text.len);
            buffer[text.len] = '\0';
            *out = chat__real(strtod(buffer, NULL));
            return true;
        }
        if (!chat__copy_str(r, text, out)) return false;
        *out = chat__real(strtod(out->ptr, NULL));
        return true;
    }
    bool negative = text.ptr[0] == '-', fits = true;
    int64_t n = 0;
    for (size_t i = negative; i < text.len && fits; i++)
        fits = ig_i64_mul(n, 10, &n) &&
               ig_i64_add(n, negative ? '0' - text.ptr[i] : text.ptr[i] - '0', &n);
    if (!fits) {
        if (!chat__copy_str(r, text, out)) return false;
        out->kind = V_BIG;
        return true;
    }
    *out = chat__int(n);
    return true;
}

/* Recursion is as deep as the JSON, whose reader caps it. */
bool chat__from_json(struct run *r, const struct ig_json *json, struct value *out)
{
    if (!chat__charge(r, 16)) return false;
    switch (json->type) {
    case IG_JSON_NULL: *out = chat__none(); return true;
    case IG_JSON_FALSE:
    case IG_JSON_TRUE: *out = chat__bool(json->type == IG_JSON_TRUE); return true;
    case IG_JSON_NUMBER: return number_from_json(r, json->text, out);
    case IG_JSON_STRING: *out = chat__str(json->text); return true;
    case IG_JSON_ARRAY:
        if (!chat__new_seq(r, V_LIST, json->count, out)) return false;
        for (uint32_t i = 0; i < json->count; i++)
            if (!chat__from_json(r, &json->items[i], &out->seq->items[out->seq->count++]))
                return false;
        return true;
    case IG_JSON_OBJECT:
        if (!chat__new_dict(r, out)) return false;
        for (uint32_t i = 0; i < json->count; i++) {
            struct value value;
            if (!chat__from_json(r, &json->items[i], &value) ||
                !chat__put(r, out->dict, chat__str(json->items[i].key), value))
                return false;
        }
        return true;
    }
    return true;
}
