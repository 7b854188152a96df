/* SPDX-License-Identifier: Apache-2.0
 * jinja_eval — expressions: walks the tree. Steps and depth are counted in chat__eval, which also
 * notes the place of the innermost node that failed. */
#include "chat/chat_internal.h"

#include <stdarg.h>
#include <stdio.h>

bool chat__fail(struct run *r, const char *format, ...)
{
    char text[IG_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ig_err_set(r->err, IG_ERR_DATA, "%s", text);
}

bool chat__fail_undefined(struct run *r, struct value v)
{
    struct value of = {.kind = v.flags};
    if (!v.ptr) return chat__fail(r, "an undefined value is used");
    if (v.flags == V_ABSENT)
        return chat__fail(r, "'" IG_SLICE_FMT "' is undefined", IG_SLICE_ARG(chat__text(v)));
    const struct builtin *hidden = chat__find_method(of, chat__text(v));
    if (hidden && !hidden->run)
        return chat__fail(r, "'%s' would change the %s: values in a template stay as they are",
                          hidden->name, chat__type_name(of));
    return chat__fail(r, "a value of type '%s' has no '" IG_SLICE_FMT "'", chat__type_name(of),
                      IG_SLICE_ARG(chat__text(v)));
}

bool chat__charge(struct run *r, size_t n)
{
    r->steps += 1 + n / 64; /* 64 bytes or items are about as much work as a node */
    return r->steps <= CHAT_STEPS_MAX ||
           chat__fail(r, "the template takes more than %d steps", CHAT_STEPS_MAX);
}

static bool eval_seq(struct run *r, const struct node *n, enum kind kind, struct value *out)
{
    if (!chat__new_seq(r, kind, n->list.count, out)) return false;
    for (uint32_t i = 0; i < n->list.count; i++)
        if (!chat__eval(r, n->list.items[i], &out->seq->items[out->seq->count++])) return false;
    return true;
}

static bool eval_dict(struct run *r, const struct node *n, struct value *out)
{
    if (!chat__new_dict(r, out)) return false;
    for (uint32_t i = 0; i < n->list.count; i += 2) {
        struct value key, value;
        if (!chat__eval(r, n->list.items[i], &key) ||
            !chat__eval(r, n->list.items[i + 1], &value) || !chat__put(r, out->dict, key, value))
            return false;
    }
    return true;
}

static bool eval_item(struct run *r, const struct node *n, struct value *out)
{
    struct value of, key;
    if (!chat__eval(r, n->a, &of)) return false;
    if (n->b->kind != N_SLICE) return chat__eval(r, n->b, &key) && chat__item(r, of, key, out);
    struct bounds b;
    return chat__eval(r, n->b->a, &b.start) && chat__eval(r, n->b->b, &b.stop) &&
           chat__eval(r, n->b->c, &b.step) && chat__slice(r, of, &b, out);
}

static bool eval_logic(struct run *r, const struct node *n, struct value *out)
{
    if (!chat__eval(r, n->a, out)) return false;
    return chat__truth(*out) == (n->kind == N_OR) || chat__eval(r, n->b, out);
}

static bool eval_cond(struct run *r, const struct node *n, struct value *out)
{
    struct value test;
    if (!chat__eval(r, n->a, &test)) return false;
    if (chat__truth(test)) return chat__eval(r, n->b, out);
    if (n->c) return chat__eval(r, n->c, out);
    *out = chat__undefined(ig_slice_of("an 'if' without 'else'"));
    return true;
}

/* a ~ b ~ c: the texts of all, never escaped. */
static bool eval_concat(struct run *r, const struct node *n, struct value *out)
{
    struct value part, text;
    *out = chat__literal("");
    for (uint32_t i = 0; i < n->list.count; i++) {
        if (!chat__eval(r, n->list.items[i], &part) || !chat__to_str(r, part, &text)) return false;
        uint8_t flags = out->flags & text.flags & STR_ASCII;
        if (i == 0)
            *out = chat__markup(text, false);
        else if (!chat__concat(r, chat__text(*out), chat__text(text), flags, out))
            return false;
    }
    return true;
}

/* a < b <= c: each operand once, until one comparison is false. */
static bool eval_compare(struct run *r, const struct node *n, struct value *out)
{
    struct value left, right;
    bool truth = true;
    if (!chat__eval(r, n->list.items[0], &left)) return false;
    for (uint32_t i = 1; truth && i < n->list.count; i++) {
        if (!chat__eval(r, n->list.items[i], &right)) return false;
        if (!chat__compare(r, n->ops[i - 1], left, right, &truth)) return false;
        left = right;
    }
    *out = chat__bool(truth);
    return true;
}

static bool eval_binary(struct run *r, const struct node *n, struct value *out)
{
    struct value a, b;
    return chat__eval(r, n->a, &a) && chat__eval(r, n->b, &b) && chat__binary(r, n->op, a, b, out);
}

static bool eval_unary(struct run *r, const struct node *n, struct value *out)
{
    struct value v;
    if (!chat__eval(r, n->a, &v)) return false;
    if (n->kind == N_NOT) {
        *out = chat__bool(!chat__truth(v));
        return true;
    }
    if (n->kind == N_NEGATE) return chat__negate(r, v, out);
    if (v.kind == V_UNDEFINED) return chat__fail_undefined(r, v);
    if (!chat__is_number(v)) return chat__fail(r, "'+' does not work on '%s'", chat__type_name(v));
    *out = v.kind == V_BOOL ? chat__int(v.integer) : v;
    return true;
}

static bool eval_call(struct run *r, const struct node *n, struct value *out)
{
    struct value callee;
    struct call call;
    return chat__eval(r, n->a, &callee) && chat__make_call(r, n->args, &call) &&
           chat__call(r, callee, &call, out);
}

/* Tests and filters whose subject need not be there, in jinja2's StrictUndefined too. */
static bool asks_for_undefined(const char *name)
{
    return strcmp(name, "defined") == 0 || strcmp(name, "undefined") == 0 ||
           strcmp(name, "default") == 0 || strcmp(name, "d") == 0;
}

static bool eval_filter(struct run *r, const struct node *n, struct value *out)
{
    struct value self;
    struct call call;
    bool test = n->kind == N_TEST;
    if (!n->builtin)
        return chat__fail(r, "there is no %s named '" IG_SLICE_FMT "'", test ? "test" : "filter",
                          IG_SLICE_ARG(r->tmpl->names[n->name]));
    if (r->tmpl->strict) {
        if (!test && strcmp(n->builtin->name, "tojson") == 0)
            return chat__fail(r, "the filter 'tojson' is not supported here");
        if (asks_for_undefined(n->builtin->name)) r->may_lack = n->a;
    }
    return chat__eval(r, n->a, &self) && chat__make_call(r, n->args, &call) &&
           chat__call_builtin(r, n->builtin, self, &call, out);
}

static bool eval_node(struct run *r, const struct node *n, struct value *out)
{
    struct value of;
    switch (n->kind) {
    case N_CONST: *out = n->value; return true;
    case N_NAME: chat__get(r, n->name, out); return true;
    case N_LIST: return eval_seq(r, n, V_LIST, out);
    case N_TUPLE: return eval_seq(r, n, V_TUPLE, out);
    case N_DICT: return eval_dict(r, n, out);
    case N_ATTR: return chat__eval(r, n->a, &of) && chat__attr(r, of, r->tmpl->names[n->name], out);
    case N_ITEM: return eval_item(r, n, out);
    case N_CALL: return eval_call(r, n, out);
    case N_FILTER:
    case N_TEST: return eval_filter(r, n, out);
    case N_NOT:
    case N_NEGATE:
    case N_PLUS: return eval_unary(r, n, out);
    case N_AND:
    case N_OR: return eval_logic(r, n, out);
    case N_COND: return eval_cond(r, n, out);
    case N_BINARY: return eval_binary(r, n, out);
    case N_CONCAT: return eval_concat(r, n, out);
    case N_COMPARE: return eval_compare(r, n, out);
    default: return chat__fail(r, "a slice stands alone");
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): depth is capped here */
bool chat__eval(struct run *r, const struct node *n, struct value *out)
{
    bool ok = r->depth < CHAT_EVAL_DEPTH_MAX || chat__fail(r, "the template recurses too deeply");
    r->depth++;
    ok = ok && chat__charge(r, 0) && eval_node(r, n, out);
    if (ok && r->tmpl->strict && out->kind == V_UNDEFINED && r->may_lack != n)
        ok = chat__fail_undefined(r, *out);
    r->depth--;
    if (!ok && !r->placed) {
        r->placed = true;
        r->failed_at = n->at;
    }
    return ok;
}
