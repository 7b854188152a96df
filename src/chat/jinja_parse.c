/* SPDX-License-Identifier: Apache-2.0
 * jinja_parse — statements: the tags of jinja2 3.1.6 (parser.py) with transformers' `generation`,
 * `break` and `continue`. Tags that load other templates are refused. */
#include "chat/chat_internal.h"

#include <stdio.h>

struct node *chat__node(struct parser *p, enum node_kind kind, uint32_t at)
{
    struct node *n = ig_arena_new(&p->tmpl->arena, sizeof *n);
    if (!n) {
        ig_err_nomem(p->err);
        return NULL;
    }
    n->kind = (uint8_t)kind;
    n->at = at;
    return n;
}

/* node NULL: passes a failure on. */
bool chat__push(struct parser *p, struct node_list *list, struct node *node)
{
    if (!node) return false;
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        struct node **items = ig_arena_array(&p->tmpl->arena, cap, sizeof *items);
        if (!items) return ig_err_nomem(p->err);
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = node;
    return true;
}

bool chat__intern(struct parser *p, struct ig_slice text, uint32_t *out)
{
    struct ig_template *t = p->tmpl;
    int64_t known = ig_map_get(&t->name_map, text, -1);
    if (known >= 0) {
        *out = (uint32_t)known;
        return true;
    }
    if (t->name_count == t->name_cap) {
        uint32_t cap = t->name_cap ? t->name_cap * 2 : 64;
        struct ig_slice *names = ig_arena_array(&t->arena, cap, sizeof *names);
        const struct builtin **globals = ig_arena_array(&t->arena, cap, sizeof *globals);
        if (!names || !globals) return ig_err_nomem(p->err);
        if (t->name_count) {
            memcpy(names, t->names, t->name_count * sizeof *names);
            memcpy(globals, t->globals, t->name_count * sizeof *globals);
        }
        t->names = names;
        t->globals = globals;
        t->name_cap = cap;
    }
    if (!ig_map_put(&t->name_map, text, t->name_count, p->err)) return false;
    t->names[t->name_count] = text;
    t->globals[t->name_count] = chat__find_global(text);
    *out = t->name_count++;
    return true;
}

bool chat__fail_token(struct parser *p, const char *wanted)
{
    const struct token *t = p->at;
    const char *what = t->kind == T_END         ? "the template ends"
                       : t->kind == T_DATA      ? "text begins"
                       : t->kind == T_PRINT_END ? "'}}' comes"
                       : t->kind == T_BLOCK_END ? "'%}' comes"
                                                : NULL;
    if (what)
        return chat__fail_at(p->tmpl, t->at, p->err, "%s is needed here, but %s", wanted, what);
    return chat__fail_at(p->tmpl, t->at, p->err, "%s is needed here, not '" IG_SLICE_FMT "'",
                         wanted, IG_SLICE_ARG(t->text));
}

bool chat__expect(struct parser *p, enum token_kind kind, const char *wanted)
{
    return chat__skip(p, kind) || chat__fail_token(p, wanted);
}

static bool parse_body(struct parser *p, struct node_list *body, const char *const *ends,
                       const struct token *tag);

static bool is_end(const struct token *t, const char *const *ends)
{
    for (; *ends; ends++)
        if (chat__is_word(t, *ends)) return true;
    return false;
}

/* The rest of a tag, its body, and the end tag `end`. */
static bool parse_block(struct parser *p, struct node_list *body, const char *end,
                        const struct token *tag)
{
    const char *const ends[] = {end, NULL};
    if (!chat__expect(p, T_BLOCK_END, "'%}'") || !parse_body(p, body, ends, tag)) return false;
    p->at++;
    return true;
}

static struct node *parse_if(struct parser *p, const struct token *tag)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node *first = chat__node(p, N_IF, tag->at), *n = first;
    for (; n;) {
        if (!(n->a = chat__parse_tuple(p, TUPLE_NO_COND))) return NULL;
        if (!chat__expect(p, T_BLOCK_END, "'%}'")) return NULL;
        if (!parse_body(p, &n->list, ends, tag)) return NULL;
        const struct token *end = p->at++;
        if (chat__is_word(end, "endif")) return first;
        if (chat__is_word(end, "else"))
            return parse_block(p, &n->other, "endif", tag) ? first : NULL;
        struct node *next = chat__node(p, N_IF, end->at);
        if (!chat__push(p, &n->other, next)) return NULL;
        n = next;
    }
    return NULL;
}

static struct node *parse_target(struct parser *p, enum tuple_mode mode)
{
    struct node *n = chat__parse_tuple(p, mode);
    if (!n) return NULL;
    bool tuple = n->kind == N_TUPLE;
    uint32_t count = tuple ? n->list.count : 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct node *part = tuple ? n->list.items[i] : n;
        if (part->kind == N_NAME || part->kind == N_SPACE_REF || part->kind == N_TUPLE) continue;
        chat__fail_at(p->tmpl, part->at, p->err, "this cannot be assigned to");
        return NULL;
    }
    return n;
}

static struct node *parse_for(struct parser *p, const struct token *tag)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct node *n = chat__node(p, N_FOR, tag->at);
    if (!n || !(n->a = parse_target(p, TUPLE_TARGET))) return NULL;
    if (!chat__skip_word(p, "in")) {
        chat__fail_token(p, "'in'");
        return NULL;
    }
    if (!(n->b = chat__parse_tuple(p, TUPLE_NO_COND))) return NULL;
    if (chat__skip_word(p, "if") && !(n->c = chat__parse_expr(p))) return NULL;
    n->op = chat__skip_word(p, "recursive");
    if (!chat__expect(p, T_BLOCK_END, "'%}'")) return NULL;
    p->loops++;
    bool ok = parse_body(p, &n->list, ends, tag);
    p->loops--;
    if (!ok) return NULL;
    if (chat__is_word(p->at++, "else") && !parse_block(p, &n->other, "endfor", tag)) return NULL;
    return n;
}

static struct node *parse_set(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_SET, tag->at);
    if (!n || !(n->a = parse_target(p, TUPLE_SET_TARGET))) return NULL;
    if (chat__skip(p, T_ASSIGN)) {
        n->b = chat__parse_tuple(p, TUPLE_PLAIN);
        return n->b ? n : NULL;
    }
    n->kind = N_SET_BLOCK;
    if (chat__is(p, T_PIPE) && !(n->b = chat__parse_filter(p, NULL, false))) return NULL;
    return parse_block(p, &n->list, "endset", tag) ? n : NULL;
}

static bool parse_signature(struct parser *p, struct params *params)
{
    if (!chat__expect(p, T_LPAREN, "'('")) return false;
    bool has_default = false;
    while (!chat__is(p, T_RPAREN)) {
        if (params->count && !chat__expect(p, T_COMMA, "',' or ')'")) return false;
        uint32_t i = params->count;
        if (i == CHAT_NAMED_MAX)
            return chat__fail_at(p->tmpl, p->at->at, p->err, "more than %d parameters",
                                 CHAT_NAMED_MAX);
        if ((i & (i - 1)) == 0) { /* full: its size is a power of two */
            uint32_t cap = i ? i * 2 : 1;
            uint32_t *names = ig_arena_array(&p->tmpl->arena, cap, sizeof *names);
            struct node **defaults = ig_arena_array(&p->tmpl->arena, cap, sizeof(struct node *));
            if (!names || !defaults) return ig_err_nomem(p->err);
            if (i) memcpy(names, params->names, i * sizeof *names);
            if (i) memcpy(defaults, params->defaults, i * sizeof(struct node *));
            params->names = names;
            params->defaults = defaults;
        }
        if (!chat__is(p, T_NAME)) return chat__fail_token(p, "a parameter's name");
        uint32_t at = p->at->at;
        if (!chat__intern(p, p->at++->text, &params->names[i])) return false;
        if (chat__skip(p, T_ASSIGN)) {
            has_default = true;
            if (!(params->defaults[i] = chat__parse_expr(p))) return false;
        } else if (has_default) {
            return chat__fail_at(p->tmpl, at, p->err, "a parameter without default after one with");
        }
        params->count++;
    }
    p->at++;
    return true;
}

/* A body that becomes a function: loops outside it cannot be left from within. */
static bool parse_function(struct parser *p, struct node *n, const char *end,
                           const struct token *tag)
{
    int loops = p->loops, macros = p->macro_count;
    p->loops = 0;
    if (macros < (int)(sizeof p->macros / sizeof p->macros[0]))
        p->macros[p->macro_count++] = n->params;
    bool ok = parse_block(p, &n->list, end, tag);
    p->loops = loops;
    p->macro_count = macros;
    const struct params *params = n->params;
    for (uint32_t i = 0; ok && params->wants_caller && i < params->count; i++)
        if (params->names[i] == NAME_CALLER && !params->defaults[i])
            return chat__fail_at(p->tmpl, n->at, p->err, "a parameter 'caller' needs a default");
    return ok;
}

static struct node *parse_macro(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_MACRO, tag->at);
    if (!n || !(n->params = ig_arena_new(&p->tmpl->arena, sizeof *n->params))) return NULL;
    if (!chat__is(p, T_NAME)) {
        chat__fail_token(p, "the macro's name");
        return NULL;
    }
    if (!chat__intern(p, p->at++->text, &n->name) || !parse_signature(p, n->params)) return NULL;
    return parse_function(p, n, "endmacro", tag) ? n : NULL;
}

static struct node *parse_call_block(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_CALL_BLOCK, tag->at);
    if (!n || !(n->params = ig_arena_new(&p->tmpl->arena, sizeof *n->params))) return NULL;
    if (chat__is(p, T_LPAREN) && !parse_signature(p, n->params)) return NULL;
    if (!(n->a = chat__parse_expr(p))) return NULL;
    if (n->a->kind != N_CALL) {
        chat__fail_at(p->tmpl, n->a->at, p->err, "a call is needed here");
        return NULL;
    }
    return parse_function(p, n, "endcall", tag) ? n : NULL;
}

static struct node *parse_filter_block(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_FILTER_BLOCK, tag->at);
    if (!n || !(n->b = chat__parse_filter(p, NULL, true))) return NULL;
    return parse_block(p, &n->list, "endfilter", tag) ? n : NULL;
}

/* {% with a = 1, b = 2 %}: targets in other, values in the tuple a. */
static struct node *parse_with(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_WITH, tag->at);
    if (!n || !(n->a = chat__node(p, N_TUPLE, tag->at))) return NULL;
    while (!chat__is(p, T_BLOCK_END)) {
        if (n->other.count && !chat__expect(p, T_COMMA, "',' or '%}'")) return NULL;
        struct node *target = chat__parse_primary(p, false);
        if (target && target->kind != N_NAME) {
            chat__fail_at(p->tmpl, target->at, p->err, "this cannot be assigned to");
            return NULL;
        }
        if (!chat__push(p, &n->other, target) || !chat__expect(p, T_ASSIGN, "'='")) return NULL;
        if (!chat__push(p, &n->a->list, chat__parse_expr(p))) return NULL;
    }
    return parse_block(p, &n->list, "endwith", tag) ? n : NULL;
}

/* {% generation %} marks what a model wrote, for training; {% block x %} could be overridden by
 * templates that we do not load. Both only open a scope here. */
static struct node *parse_generation(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_SCOPE, tag->at);
    return n && parse_block(p, &n->list, "endgeneration", tag) ? n : NULL;
}

static struct node *parse_named_block(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_SCOPE, tag->at);
    if (!n || !chat__expect(p, T_NAME, "the block's name")) return NULL;
    while (chat__skip_word(p, "scoped") || chat__skip_word(p, "required"))
        continue;
    if (!parse_block(p, &n->list, "endblock", tag)) return NULL;
    chat__skip(p, T_NAME);
    return n;
}

static struct node *parse_print(struct parser *p, const struct token *tag)
{
    struct node *n = chat__node(p, N_PRINT, tag->at);
    while (n && !chat__is(p, T_BLOCK_END)) {
        if (n->list.count && !chat__expect(p, T_COMMA, "',' or '%}'")) return NULL;
        if (!chat__push(p, &n->list, chat__parse_expr(p))) return NULL;
    }
    return n;
}

static struct node *parse_jump(struct parser *p, const struct token *tag)
{
    bool stop = ig_slice_is(tag->text, "break");
    if (p->loops == 0) {
        chat__fail_at(p->tmpl, tag->at, p->err, "'%s' outside of a loop",
                      stop ? "break" : "continue");
        return NULL;
    }
    return chat__node(p, stop ? N_BREAK : N_CONTINUE, tag->at);
}

static struct node *refuse(struct parser *p, const struct token *tag)
{
    chat__fail_at(p->tmpl, tag->at, p->err,
                  "'" IG_SLICE_FMT "' is not supported: a chat template stands alone",
                  IG_SLICE_ARG(tag->text));
    p->err->code = IG_ERR_UNSUPPORTED;
    return NULL;
}

static struct node *parse_statement(struct parser *p)
{
    static const struct {
        const char *word;
        struct node *(*parse)(struct parser *p, const struct token *tag);
    } rows[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"generation", parse_generation},
        {"block", parse_named_block},
        {"print", parse_print},
        {"break", parse_jump},
        {"continue", parse_jump},
        {"include", refuse},
        {"import", refuse},
        {"from", refuse},
        {"extends", refuse},
    };
    const struct token *tag = p->at;
    if (tag->kind != T_NAME) {
        chat__fail_token(p, "a tag's name");
        return NULL;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!ig_slice_is(tag->text, rows[i].word)) continue;
        p->at++;
        return rows[i].parse(p, tag);
    }
    chat__fail_at(p->tmpl, tag->at, p->err, "unknown tag '" IG_SLICE_FMT "'",
                  IG_SLICE_ARG(tag->text));
    return NULL;
}

static struct node *parse_text(struct parser *p)
{
    struct node *n = chat__node(p, N_TEXT, p->at->at);
    if (n) n->value = chat__str(p->at->text);
    p->at++;
    return n;
}

static struct node *parse_output(struct parser *p)
{
    struct node *n = chat__node(p, N_PRINT, p->at++->at);
    if (!n || !chat__push(p, &n->list, chat__parse_tuple(p, TUPLE_PLAIN))) return NULL;
    return chat__expect(p, T_PRINT_END, "an operator or '}}'") ? n : NULL;
}

static struct node *parse_tag(struct parser *p)
{
    struct node *n = parse_statement(p);
    return n && chat__expect(p, T_BLOCK_END, "'%}'") ? n : NULL;
}

/* Stops at the name of an end tag. ends NULL: the whole template. */
static bool parse_body(struct parser *p, struct node_list *body, const char *const *ends,
                       const struct token *tag)
{
    if (p->depth >= CHAT_PARSE_DEPTH_MAX)
        return chat__fail_at(p->tmpl, p->at->at, p->err, "the template is nested too deeply");
    p->depth++;
    while (!chat__is(p, T_END)) {
        struct node *n;
        if (chat__is(p, T_DATA)) {
            n = parse_text(p);
        } else if (chat__is(p, T_PRINT_BEGIN)) {
            n = parse_output(p);
        } else {
            p->at++;
            if (ends && is_end(p->at, ends)) {
                p->depth--;
                return true;
            }
            n = parse_tag(p);
        }
        if (!chat__push(p, body, n)) return false;
    }
    p->depth--;
    if (!ends) return true;
    char list[64];
    size_t used = 0;
    list[0] = '\0';
    for (const char *const *end = ends; *end; end++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s'%s'", used ? " or " : "", *end);
    return chat__fail_at(p->tmpl, tag->at, p->err,
                         "'" IG_SLICE_FMT "' is never closed: %s is missing",
                         IG_SLICE_ARG(tag->text), list);
}

bool chat__parse(struct ig_template *tmpl, struct ig_err *err)
{
    struct lexed tokens = {0};
    if (!chat__lex(tmpl, &tokens, err)) return false;
    static const char *const known[] = {[NAME_LOOP] = "loop",
                                        [NAME_CALLER] = "caller",
                                        [NAME_VARARGS] = "varargs",
                                        [NAME_KWARGS] = "kwargs"};
    struct parser p = {.tmpl = tmpl, .at = tokens.items, .err = err};
    uint32_t name;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!chat__intern(&p, ig_slice_of(known[i]), &name)) return false;
    return parse_body(&p, &tmpl->body, NULL, NULL);
}
