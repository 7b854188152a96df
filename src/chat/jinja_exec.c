/* SPDX-License-Identifier: Apache-2.0
 * jinja_exec — statements and scopes. As in jinja2, `if` opens no scope; for, macro, call, filter,
 * set blocks and with do, and a loop's is new for every round. A macro sees the scope it was
 * defined in, as that is when it is called. */
#include "chat/chat_internal.h"

/* ---- scopes ---- */

bool chat__push_scope(struct run *r, struct scope *outer, struct scope **saved)
{
    struct scope *s = r->free_scopes;
    if (s) {
        r->free_scopes = s->outer;
        s->count = 0;
    } else {
        s = chat__new(r, 1, sizeof *s);
        if (!s) return false;
        s->slots = s->first;
        s->cap = sizeof s->first / sizeof s->first[0];
    }
    s->outer = outer;
    *saved = r->scope;
    r->scope = s;
    return true;
}

void chat__pop_scope(struct run *r, struct scope *saved)
{
    struct scope *s = r->scope;
    r->scope = saved;
    if (s->captured) return;
    s->outer = r->free_scopes;
    r->free_scopes = s;
}

static void capture_scopes(struct scope *s)
{
    for (; s && !s->captured; s = s->outer)
        s->captured = true;
}

static struct slot *find_slot(struct scope *s, uint32_t name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->slots[i].name == name) return &s->slots[i];
    return NULL;
}

void chat__get(struct run *r, uint32_t name, struct value *out)
{
    for (struct scope *s = r->scope; s; s = s->outer) {
        const struct slot *slot = find_slot(s, name);
        r->steps += s->count / 64; /* as chat__charge, which asks next time */
        if (!slot) continue;
        *out = slot->value;
        return;
    }
    const struct builtin *global = r->tmpl->globals[name];
    *out = global ? (struct value){.kind = V_BUILTIN, .builtin = global}
                  : chat__undefined(r->tmpl->names[name]);
}

bool chat__set(struct run *r, uint32_t name, struct value value)
{
    struct scope *s = r->scope;
    struct slot *slot = find_slot(s, name);
    if (s->count >= 64 && !chat__charge(r, s->count)) return false;
    if (!slot && s->count == s->cap) {
        struct slot *slots = chat__new(r, (size_t)s->cap * 2, sizeof *slots);
        if (!slots) return false;
        memcpy(slots, s->slots, s->count * sizeof *slots);
        s->slots = slots;
        s->cap *= 2;
    }
    if (!slot) slot = &s->slots[s->count++];
    *slot = (struct slot){name, value};
    return true;
}

static bool assign_space(struct run *r, const struct node *target, struct value value)
{
    struct value space;
    struct ig_slice name = r->tmpl->names[target->name];
    chat__get(r, target->a->name, &space);
    if (space.kind != V_SPACE)
        return chat__fail(
            r, "'" IG_SLICE_FMT "' is not a namespace: its '" IG_SLICE_FMT "' cannot be set",
            IG_SLICE_ARG(r->tmpl->names[target->a->name]), IG_SLICE_ARG(name));
    if (ig_slice_starts(name, "_"))
        return chat__fail(r, "a namespace takes no name that starts with '_'");
    return chat__put(r, &space.space->dict, chat__str(name), value);
}

static bool assign_tuple(struct run *r, const struct node *target, struct value value)
{
    struct seq *seq;
    if (!chat__iterate(r, value, &seq)) return false;
    if (seq->count != target->list.count)
        return chat__fail(r, "%zu values cannot be unpacked into %u names", seq->count,
                          target->list.count);
    if (++r->depth > CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "targets are nested too deeply");
    for (uint32_t i = 0; i < target->list.count; i++)
        if (!chat__assign(r, target->list.items[i], seq->items[i])) return false;
    r->depth--;
    return true;
}

bool chat__assign(struct run *r, const struct node *target, struct value value)
{
    switch (target->kind) {
    case N_NAME: return chat__set(r, target->name, value);
    case N_SPACE_REF: return assign_space(r, target, value);
    case N_TUPLE: return assign_tuple(r, target, value);
    default: return chat__fail(r, "this cannot be assigned to");
    }
}

/* ---- statements ---- */

static bool exec_print(struct run *r, const struct node *n)
{
    for (uint32_t i = 0; i < n->list.count; i++) {
        struct value v;
        if (!chat__eval(r, n->list.items[i], &v) || !chat__put_str(r, v)) return false;
    }
    return true;
}

static bool exec_if(struct run *r, const struct node *n)
{
    for (;;) {
        struct value test;
        if (!chat__eval(r, n->a, &test)) return false;
        if (chat__truth(test)) return chat__exec(r, &n->list);
        bool chain = n->other.count == 1 && n->other.items[0]->kind == N_IF;
        if (!chain) return chat__exec(r, &n->other);
        n = n->other.items[0];
    }
}

/* Runs a body in a scope of its own and takes its text. The scope must have been pushed. */
static bool capture(struct run *r, const struct node_list *body, struct value *out)
{
    size_t mark = chat__begin(r);
    if (!chat__exec(r, body)) return false;
    if (r->jump) r->out.len = mark; /* left by break or continue */
    return chat__end(r, mark, out);
}

/* Applies the chain of filters whose innermost input is missing. */
static bool filter_text(struct run *r, /* NOLINT(misc-no-recursion): depth is capped here */
                        const struct node *filter, struct value *text)
{
    struct call call;
    if (!filter) return true;
    if (r->depth >= CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "the template recurses too deeply");
    r->depth++;
    if (!filter_text(r, filter->a, text)) return false;
    r->depth--;
    if (!filter->builtin)
        return chat__fail(r, "there is no filter named '" IG_SLICE_FMT "'",
                          IG_SLICE_ARG(r->tmpl->names[filter->name]));
    return chat__make_call(r, filter->args, &call) &&
           chat__call_builtin(r, filter->builtin, *text, &call, text);
}

static bool exec_text_block(struct run *r, const struct node *n)
{
    struct scope *saved;
    struct value text;
    if (!chat__push_scope(r, r->scope, &saved)) return false;
    bool ok = capture(r, &n->list, &text) && filter_text(r, n->b, &text);
    chat__pop_scope(r, saved);
    if (!ok) return false;
    if (r->jump) return true;
    return n->kind == N_SET_BLOCK ? chat__assign(r, n->a, text) : chat__put_str(r, text);
}

static bool exec_scope(struct run *r, const struct node *n)
{
    struct scope *saved;
    if (!chat__push_scope(r, r->scope, &saved)) return false;
    bool ok = chat__exec(r, &n->list);
    chat__pop_scope(r, saved);
    return ok;
}

static bool exec_with(struct run *r, const struct node *n)
{
    struct scope *saved;
    struct value values;
    if (!chat__eval(r, n->a, &values) || !chat__push_scope(r, r->scope, &saved)) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < n->other.count; i++)
        ok = chat__assign(r, n->other.items[i], values.seq->items[i]);
    ok = ok && chat__exec(r, &n->list);
    chat__pop_scope(r, saved);
    return ok;
}

static bool make_macro(struct run *r, const struct node *n, struct value *out)
{
    struct macro *m = chat__new(r, 1, sizeof *m);
    if (!m) return false;
    capture_scopes(r->scope);
    *m = (struct macro){n, r->scope};
    *out = (struct value){.kind = V_MACRO, .macro = m};
    return true;
}

static bool exec_macro(struct run *r, const struct node *n)
{
    struct value macro;
    return make_macro(r, n, &macro) && chat__set(r, n->name, macro);
}

/* {% call f(x) %}body{% endcall %}: f(x, caller=a macro of the body) */
static bool exec_call_block(struct run *r, const struct node *n)
{
    struct value callee, result;
    struct call call;
    const struct node *target = n->a;
    if (!chat__eval(r, target->a, &callee) || !chat__make_call(r, target->args, &call))
        return false;
    struct named *named = chat__new(r, call.named_count + 1, sizeof *named);
    if (!named) return false;
    if (call.named_count) memcpy(named, call.named, call.named_count * sizeof *named);
    named[call.named_count].name = ig_slice_of("caller");
    if (!make_macro(r, n, &named[call.named_count].value)) return false;
    call.named = named;
    call.named_count++;
    return chat__call(r, callee, &call, &result) && chat__put_str(r, result);
}

/* ---- loops ---- */

/* A loop's `if` is asked item by item, as late as jinja2 does: the body may change what it says. */
bool chat__loop_fill(struct run *r, struct loop *loop, size_t index)
{
    while (loop->seq->count <= index && loop->source_at < loop->source->count) {
        struct value item = loop->source->items[loop->source_at++], test;
        struct scope *saved;
        if (!chat__push_scope(r, loop->scope, &saved)) return false;
        bool ok = chat__assign(r, loop->node->a, item) && chat__eval(r, loop->node->c, &test);
        chat__pop_scope(r, saved);
        if (!ok || (chat__truth(test) && !chat__append(r, loop->seq, item))) return false;
    }
    return true;
}

static bool new_loop(struct run *r, const struct node *n, struct scope *scope,
                     struct value iterable, struct loop **out)
{
    struct seq *seq;
    struct value kept;
    struct loop *loop = chat__new(r, 1, sizeof *loop);
    if (!loop || !chat__iterate(r, iterable, &seq)) return false;
    *loop = (struct loop){.seq = seq, .source = seq, .node = n, .scope = scope};
    loop->source_at = seq->count; /* without an `if`, all are kept already */
    if (n->c) {
        if (!chat__new_seq(r, V_LIST, 0, &kept)) return false;
        loop->seq = kept.seq;
        loop->source_at = 0;
    }
    if (n->c || n->op) capture_scopes(scope); /* the loop asks its `if`, or is called, later */
    *out = loop;
    return true;
}

static bool loop_round(struct run *r, const struct node *n, struct loop *loop)
{
    struct scope *saved;
    if (!chat__charge(r, 0) || !chat__push_scope(r, loop->scope, &saved)) return false;
    bool ok = chat__set(r, NAME_LOOP, (struct value){.kind = V_LOOP, .loop = loop}) &&
              chat__assign(r, n->a, loop->seq->items[loop->index0]) && chat__exec(r, &n->list);
    chat__pop_scope(r, saved);
    return ok;
}

bool chat__loop_body(struct run *r, const struct node *n, struct scope *scope,
                     struct value iterable, int depth0)
{
    struct loop *loop;
    struct scope *saved = r->scope;
    if (!new_loop(r, n, scope, iterable, &loop)) return false;
    loop->depth0 = depth0;
    for (;; loop->index0++) {
        if (!chat__loop_fill(r, loop, loop->index0)) return false;
        if (loop->index0 >= loop->seq->count) break;
        if (!loop_round(r, n, loop)) return false;
        if (r->jump == JUMP_BREAK) break;
        r->jump = JUMP_NONE;
    }
    r->jump = JUMP_NONE;
    if (loop->seq->count == 0 && n->other.count) {
        struct scope *around;
        if (!chat__push_scope(r, scope, &around) || !chat__exec(r, &n->other)) return false;
        chat__pop_scope(r, around);
    }
    r->scope = saved;
    return true;
}

static bool exec_for(struct run *r, const struct node *n)
{
    struct value iterable;
    return chat__eval(r, n->b, &iterable) && chat__loop_body(r, n, r->scope, iterable, 0);
}

static bool exec_node(struct run *r, const struct node *n)
{
    struct value v;
    switch (n->kind) {
    case N_TEXT:
        ig_buf_slice(&r->out, chat__text(n->value));
        return !r->out.failed ||
               chat__fail(r, "the text is longer than %zu bytes", CHAT_OUTPUT_BYTES_MAX);
    case N_PRINT: return exec_print(r, n);
    case N_IF: return exec_if(r, n);
    case N_FOR: return exec_for(r, n);
    case N_SET: return chat__eval(r, n->b, &v) && chat__assign(r, n->a, v);
    case N_SET_BLOCK:
    case N_FILTER_BLOCK: return exec_text_block(r, n);
    case N_MACRO: return exec_macro(r, n);
    case N_CALL_BLOCK: return exec_call_block(r, n);
    case N_WITH: return exec_with(r, n);
    case N_SCOPE: return exec_scope(r, n);
    case N_BREAK: r->jump = JUMP_BREAK; return true;
    default: r->jump = JUMP_CONTINUE; return true;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): depth is capped here */
bool chat__exec(struct run *r, const struct node_list *body)
{
    if (r->depth >= CHAT_EVAL_DEPTH_MAX) return chat__fail(r, "the template recurses too deeply");
    r->depth++;
    for (uint32_t i = 0; i < body->count && !r->jump; i++) {
        const struct node *n = body->items[i];
        if (chat__charge(r, 0) && exec_node(r, n)) continue;
        if (!r->placed) {
            r->placed = true;
            r->failed_at = n->at;
        }
        return false;
    }
    r->depth--;
    return true;
}
