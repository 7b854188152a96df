/* SPDX-License-Identifier: Apache-2.0
 * jinja_call — calling things: macros, methods, globals, filters and tests. A builtin is one row of
 * a table, and its parameters' names are in the row: arguments are matched to them here, as Python
 * would, so that no builtin does it itself. */
#include "chat/chat_internal.h"

/* ---- arguments ---- */

static bool add_star(struct run *r, const struct args *args, struct call *out)
{
    struct value star;
    struct seq *seq;
    if (!chat__eval(r, args->star, &star) || !chat__iterate(r, star, &seq)) return false;
    struct value *list = chat__new(r, out->count + seq->count, sizeof *list);
    if (!list) return false;
    if (out->count) memcpy(list, out->list, out->count * sizeof *list);
    if (seq->count) memcpy(list + out->count, seq->items, seq->count * sizeof *list);
    out->list = list;
    out->count += (uint32_t)seq->count;
    return true;
}

static bool add_star_star(struct run *r, const struct args *args, struct call *out)
{
    struct value star;
    if (!chat__eval(r, args->star_star, &star)) return false;
    if (star.kind != V_DICT) return chat__fail(r, "'**' needs a dict");
    const struct dict *d = star.dict;
    struct named *named = chat__new(r, (size_t)out->named_count + d->count, sizeof *named);
    if (!named) return false;
    if (out->named_count) memcpy(named, out->named, out->named_count * sizeof *named);
    for (uint32_t i = 0; i < d->count; i++) {
        if (d->pairs[i].key.kind != V_STR) return chat__fail(r, "'**' needs keys that are texts");
        named[out->named_count++] = (struct named){chat__text(d->pairs[i].key), d->pairs[i].value};
    }
    out->named = named;
    return true;
}

bool chat__make_call(struct run *r, const struct args *args, struct call *out)
{
    *out = (struct call){.count = args->list.count, .named_count = args->named.count};
    if (out->count && !(out->list = chat__new(r, out->count, sizeof *out->list))) return false;
    if (out->named_count && !(out->named = chat__new(r, out->named_count, sizeof *out->named)))
        return false;
    for (uint32_t i = 0; i < out->count; i++)
        if (!chat__eval(r, args->list.items[i], &out->list[i])) return false;
    for (uint32_t i = 0; i < out->named_count; i++) {
        out->named[i].name = r->tmpl->names[args->keys[i]];
        if (!chat__eval(r, args->named.items[i], &out->named[i].value)) return false;
    }
    if (args->star && !add_star(r, args, out)) return false;
    return !args->star_star || add_star_star(r, args, out);
}

/* ---- builtins ---- */

/* A parameter that is written "/name" can be given by place only, as many of Python's own. */
static const char *param_name(const struct builtin *b, int at)
{
    return b->params[at] + (b->params[at][0] == '/');
}

static int find_param(const struct builtin *b, struct ig_slice name)
{
    for (int i = 0; i < CHAT_ARGS_MAX && b->params[i]; i++)
        if (ig_slice_is(name, b->params[i])) return i;
    return -1;
}

static bool bind(struct run *r, const struct builtin *b, const struct call *call, struct in *in)
{
    uint32_t cap = 0;
    while (cap < CHAT_ARGS_MAX && b->params[cap])
        cap++;
    if (call->count > cap)
        return chat__fail(r, "'%s' takes at most %u arguments, not %u", b->name, cap, call->count);
    for (uint32_t i = 0; i < call->count; i++)
        in->arg[i] = call->list[i];
    for (uint32_t i = 0; i < call->named_count; i++) {
        int at = find_param(b, call->named[i].name);
        if (at < 0)
            return chat__fail(r, "'%s' has no argument '" IG_SLICE_FMT "'", b->name,
                              IG_SLICE_ARG(call->named[i].name));
        if (chat__given(in->arg[at]))
            return chat__fail(r, "'%s' gets argument '%s' twice", b->name, param_name(b, at));
        in->arg[at] = call->named[i].value;
    }
    for (uint32_t i = 0; i < b->required; i++)
        if (!chat__given(in->arg[i]))
            return chat__fail(r, "'%s' needs argument '%s'", b->name, param_name(b, (int)i));
    return true;
}

bool chat__call_builtin(struct run *r, const struct builtin *b, struct value self,
                        const struct call *call, struct value *out)
{
    struct in in = {.self = self, .call = call};
    if (!b->run) return chat__fail(r, "'%s' is not supported", b->name);
    if (b->required != CHAT_VARIADIC && !bind(r, b, call, &in)) return false;
    return b->run(r, &in, out);
}

const struct builtin *chat__find_row(const struct builtin *rows, struct ig_slice name)
{
    for (; rows->name; rows++)
        if (ig_slice_is(name, rows->name)) return rows;
    return NULL;
}

/* ---- macros ---- */

/* The keyword argument of that name, marked as used; NULL: not given. */
static const struct value *take_named(const struct call *call, bool *used, struct ig_slice name)
{
    for (uint32_t i = 0; i < call->named_count; i++) {
        if (used[i] || !ig_slice_equal(call->named[i].name, name)) continue;
        used[i] = true;
        return &call->named[i].value;
    }
    return NULL;
}

static bool bind_params(struct run *r, const struct params *params, const struct call *call,
                        bool *used)
{
    if (!chat__charge(r, (size_t)params->count * call->named_count)) return false;
    for (uint32_t i = 0; i < params->count; i++) {
        struct ig_slice name = r->tmpl->names[params->names[i]];
        const struct value *given = i < call->count ? &call->list[i] : take_named(call, used, name);
        struct value value = chat__undefined(name);
        if (given)
            value = *given;
        else if (params->defaults[i] && !chat__eval(r, params->defaults[i], &value))
            return false;
        if (!chat__set(r, params->names[i], value)) return false;
    }
    return true;
}

static bool bind_caller(struct run *r, const struct params *params, const struct call *call,
                        bool *used)
{
    for (uint32_t i = 0; i < params->count; i++)
        if (params->names[i] == NAME_CALLER) return true;
    if (!params->wants_caller) return true;
    struct ig_slice name = ig_slice_of("caller");
    const struct value *given = take_named(call, used, name);
    return chat__set(r, NAME_CALLER, given ? *given : chat__undefined(name));
}

/* varargs and kwargs: what is left over. Without them, nothing may be. */
static bool bind_rest(struct run *r, const struct node *n, const struct call *call,
                      const bool *used)
{
    const struct params *params = n->params;
    struct ig_slice macro = n->kind == N_MACRO ? r->tmpl->names[n->name] : ig_slice_of("caller");
    struct value kwargs, varargs;
    if (!chat__new_dict(r, &kwargs)) return false;
    for (uint32_t i = 0; i < call->named_count; i++) {
        if (used[i]) continue;
        if (!params->wants_kwargs)
            return chat__fail(r, "macro '" IG_SLICE_FMT "' has no argument '" IG_SLICE_FMT "'",
                              IG_SLICE_ARG(macro), IG_SLICE_ARG(call->named[i].name));
        if (!chat__put(r, kwargs.dict, chat__str(call->named[i].name), call->named[i].value))
            return false;
    }
    if (params->wants_kwargs && !chat__set(r, NAME_KWARGS, kwargs)) return false;
    uint32_t more = call->count > params->count ? call->count - params->count : 0;
    if (!params->wants_varargs)
        return more == 0 ||
               chat__fail(r, "macro '" IG_SLICE_FMT "' takes at most %u arguments, not %u",
                          IG_SLICE_ARG(macro), params->count, call->count);
    if (!chat__new_seq(r, V_TUPLE, more, &varargs)) return false;
    for (uint32_t i = 0; i < more; i++)
        varargs.seq->items[varargs.seq->count++] = call->list[params->count + i];
    return chat__set(r, NAME_VARARGS, varargs);
}

static bool call_macro(struct run *r, const struct macro *m, const struct call *call,
                       struct value *out)
{
    struct scope *saved;
    bool *used = chat__new(r, call->named_count, sizeof *used);
    if (!used) return false;
    if (r->calls >= CHAT_CALL_DEPTH_MAX)
        return chat__fail(r, "macros call each other more than %d deep", CHAT_CALL_DEPTH_MAX);
    if (!chat__push_scope(r, m->scope, &saved)) return false;
    r->calls++;
    size_t mark = chat__begin(r);
    bool ok = bind_params(r, m->node->params, call, used) &&
              bind_caller(r, m->node->params, call, used) && bind_rest(r, m->node, call, used) &&
              chat__exec(r, &m->node->list) && chat__end(r, mark, out);
    r->calls--;
    chat__pop_scope(r, saved);
    return ok;
}

/* loop(items) in a recursive loop: the text of its body over those items. */
static bool call_loop(struct run *r, const struct loop *loop, const struct call *call,
                      struct value *out)
{
    if (!loop->node->op) return chat__fail(r, "only a loop marked 'recursive' can be called");
    if (call->count != 1 || call->named_count) return chat__fail(r, "a loop takes one argument");
    if (r->calls >= CHAT_CALL_DEPTH_MAX)
        return chat__fail(r, "loops call each other more than %d deep", CHAT_CALL_DEPTH_MAX);
    r->calls++;
    size_t mark = chat__begin(r);
    bool ok = chat__loop_body(r, loop->node, loop->scope, call->list[0], loop->depth0 + 1) &&
              chat__end(r, mark, out);
    r->calls--;
    return ok;
}

bool chat__call(struct run *r, struct value callee, const struct call *call, struct value *out)
{
    switch (callee.kind) {
    case V_MACRO: return call_macro(r, callee.macro, call, out);
    case V_METHOD:
        return chat__call_builtin(r, callee.method->builtin, callee.method->self, call, out);
    case V_BUILTIN: return chat__call_builtin(r, callee.builtin, chat__none(), call, out);
    case V_LOOP: return call_loop(r, callee.loop, call, out);
    case V_JOINER:
        *out = callee.cycler->at ? callee.cycler->text : chat__literal("");
        callee.cycler->at = 1;
        return true;
    case V_UNDEFINED: return chat__fail_undefined(r, callee);
    default: return chat__fail(r, "a value of type '%s' cannot be called", chat__type_name(callee));
    }
}
