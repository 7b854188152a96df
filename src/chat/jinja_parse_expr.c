/* SPDX-License-Identifier: Apache-2.0
 * jinja_parse_expr — expressions, by recursive descent with jinja2's precedences (parser.py):
 * a if c else b < or < and < not < comparisons and `in` < + - < ~ < * / // % < ** < unary <
 * filters, tests and calls. Depth is capped by enter(). */
#include "chat/chat_internal.h"

#include <errno.h>
#include <stdlib.h>

static bool enter(struct parser *p)
{
    if (p->depth >= CHAT_PARSE_DEPTH_MAX)
        return chat__fail_at(p->tmpl, p->at->at, p->err, "the template is nested too deeply");
    p->depth++;
    return true;
}

static struct node *parse_and(struct parser *p);
static struct node *parse_not(struct parser *p);
static struct node *parse_compare(struct parser *p);
static struct node *parse_unary(struct parser *p, bool with_filter);

static struct node *binary(struct parser *p, enum node_kind kind, const struct token *op,
                           struct node *a, struct node *b)
{
    struct node *n = a && b ? chat__node(p, kind, op->at) : NULL;
    if (!n) return NULL;
    n->op = op->kind;
    n->a = a;
    n->b = b;
    return n;
}

struct node *chat__parse_expr(struct parser *p)
{
    if (!enter(p)) return NULL;
    struct node *value = chat__parse_or(p);
    while (value && chat__is_word(p->at, "if")) {
        struct node *n = chat__node(p, N_COND, p->at++->at);
        if (!n) return NULL;
        n->b = value;
        n->a = chat__parse_or(p);
        if (!n->a) return NULL;
        if (chat__skip_word(p, "else") && !(n->c = chat__parse_expr(p))) return NULL;
        value = n;
    }
    p->depth--;
    return value;
}

struct node *chat__parse_or(struct parser *p)
{
    struct node *left = parse_and(p);
    while (left && chat__is_word(p->at, "or")) {
        struct token *op = p->at++;
        left = binary(p, N_OR, op, left, parse_and(p));
    }
    return left;
}

static struct node *parse_and(struct parser *p)
{
    struct node *left = parse_not(p);
    while (left && chat__is_word(p->at, "and")) {
        struct token *op = p->at++;
        left = binary(p, N_AND, op, left, parse_not(p));
    }
    return left;
}

static struct node *parse_not(struct parser *p)
{
    if (!chat__is_word(p->at, "not")) return parse_compare(p);
    if (!enter(p)) return NULL;
    struct node *n = chat__node(p, N_NOT, p->at++->at);
    if (n && !(n->a = parse_not(p))) return NULL;
    p->depth--;
    return n;
}

static struct node *parse_pow(struct parser *p)
{
    struct node *left = parse_unary(p, true);
    while (left && chat__is(p, T_POW)) {
        struct token *op = p->at++;
        left = binary(p, N_BINARY, op, left, parse_unary(p, true));
    }
    return left;
}

static struct node *parse_product(struct parser *p)
{
    struct node *left = parse_pow(p);
    while (left && p->at->kind >= T_MUL && p->at->kind <= T_MOD) {
        struct token *op = p->at++;
        left = binary(p, N_BINARY, op, left, parse_pow(p));
    }
    return left;
}

static struct node *parse_concat(struct parser *p)
{
    struct node *first = parse_product(p);
    if (!first || !chat__is(p, T_TILDE)) return first;
    struct node *n = chat__node(p, N_CONCAT, p->at->at);
    if (!n || !chat__push(p, &n->list, first)) return NULL;
    while (chat__skip(p, T_TILDE))
        if (!chat__push(p, &n->list, parse_product(p))) return NULL;
    return n;
}

static struct node *parse_sum(struct parser *p)
{
    struct node *left = parse_concat(p);
    while (left && (chat__is(p, T_ADD) || chat__is(p, T_SUB))) {
        struct token *op = p->at++;
        left = binary(p, N_BINARY, op, left, parse_concat(p));
    }
    return left;
}

/* The comparison operator here, passed over; T_END: none. */
static enum token_kind compare_op(struct parser *p)
{
    if (p->at->kind >= T_EQ && p->at->kind <= T_LE) return p->at++->kind;
    if (chat__skip_word(p, "in")) return T_IN;
    if (chat__is_word(p->at, "not") && chat__is_word(p->at + 1, "in")) {
        p->at += 2;
        return T_NOT_IN;
    }
    return T_END;
}

static struct node *parse_compare(struct parser *p)
{
    struct node *first = parse_sum(p);
    uint32_t at = p->at->at;
    enum token_kind op = first ? compare_op(p) : T_END;
    if (op == T_END) return first;
    struct node *n = chat__node(p, N_COMPARE, at);
    if (!n || !chat__push(p, &n->list, first)) return NULL;
    struct ig_buf ops = {0};
    while (op != T_END) {
        ig_buf_char(&ops, (char)op);
        if (!chat__push(p, &n->list, parse_sum(p))) break;
        op = compare_op(p);
    }
    bool ok = op == T_END;
    if (ok) {
        struct ig_slice copy = ig_arena_copy(&p->tmpl->arena, ig_buf_view(&ops));
        n->ops = (const uint8_t *)copy.ptr;
        ok = copy.ptr && ig_buf_ok(&ops, p->err);
        if (!ok) ig_err_nomem(p->err);
    }
    ig_buf_release(&ops);
    return ok ? n : NULL;
}

/* ---- calls ---- */

static bool parse_arg(struct parser *p, struct args *args)
{
    const char *message = "this argument cannot follow those before it";
    uint32_t at = p->at->at;
    if (chat__is(p, T_MUL) || chat__is(p, T_POW)) {
        bool twice = p->at++->kind == T_POW;
        if (args->star_star || (!twice && args->star))
            return chat__fail_at(p->tmpl, at, p->err, "%s", message);
        struct node *value = chat__parse_expr(p);
        *(twice ? &args->star_star : &args->star) = value;
        return value != NULL;
    }
    if (!chat__is(p, T_NAME) || p->at[1].kind != T_ASSIGN) {
        if (args->star || args->star_star || args->named.count)
            return chat__fail_at(p->tmpl, at, p->err, "%s", message);
        return chat__push(p, &args->list, chat__parse_expr(p));
    }
    if (args->star_star) return chat__fail_at(p->tmpl, at, p->err, "%s", message);
    uint32_t count = args->named.count;
    if (count == CHAT_NAMED_MAX)
        return chat__fail_at(p->tmpl, at, p->err, "more than %d arguments", CHAT_NAMED_MAX);
    if ((count & (count - 1)) == 0) { /* full: its size is a power of two */
        uint32_t *keys = ig_arena_array(&p->tmpl->arena, count ? count * 2 : 1, sizeof *keys);
        if (!keys) return ig_err_nomem(p->err);
        if (count) memcpy(keys, args->keys, count * sizeof *keys);
        args->keys = keys;
    }
    if (!chat__intern(p, p->at->text, &args->keys[count])) return false;
    for (uint32_t i = 0; i < count; i++)
        if (args->keys[i] == args->keys[count])
            return chat__fail_at(p->tmpl, at, p->err, "this argument is given twice");
    p->at += 2;
    return chat__push(p, &args->named, chat__parse_expr(p));
}

/* "(...)"; without parentheses here, no arguments. NULL: failed. */
static struct args *parse_args(struct parser *p, bool optional)
{
    struct args *args = ig_arena_new(&p->tmpl->arena, sizeof *args);
    if (!args) {
        ig_err_nomem(p->err);
        return NULL;
    }
    if (optional && !chat__is(p, T_LPAREN)) return args;
    if (!chat__expect(p, T_LPAREN, "'('")) return NULL;
    while (!chat__is(p, T_RPAREN)) {
        if (!parse_arg(p, args)) return NULL;
        if (!chat__skip(p, T_COMMA)) break;
    }
    return chat__expect(p, T_RPAREN, "',' or ')'") ? args : NULL;
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *n = chat__node(p, N_CALL, p->at->at);
    if (!n) return NULL;
    n->a = callee;
    n->args = parse_args(p, false);
    return n->args ? n : NULL;
}

/* a.b.c, as a filter's or a test's name */
static bool parse_dotted(struct parser *p, struct node *n)
{
    if (!chat__is(p, T_NAME)) return chat__fail_token(p, "a name");
    struct ig_slice name = p->at++->text;
    while (chat__is(p, T_DOT) && p->at[1].kind == T_NAME) {
        name.len = (size_t)(p->at[1].text.ptr + p->at[1].text.len - name.ptr);
        p->at += 2;
    }
    return chat__intern(p, name, &n->name);
}

struct node *chat__parse_filter(struct parser *p, struct node *node, bool start_inline)
{
    while (chat__is(p, T_PIPE) || start_inline) {
        struct node *n = chat__node(p, N_FILTER, p->at->at);
        if (!start_inline) p->at++;
        start_inline = false;
        if (!n || !parse_dotted(p, n)) return NULL;
        n->a = node;
        n->builtin = chat__find_filter(p->tmpl->names[n->name]);
        if (!(n->args = parse_args(p, true))) return NULL;
        node = n;
    }
    return node;
}

static struct node *parse_postfix(struct parser *p, struct node *node);

/* After `is`: a name, then arguments in parentheses or one value without. */
static struct node *parse_test(struct parser *p, struct node *node)
{
    struct node *n = chat__node(p, N_TEST, p->at++->at);
    bool negated = chat__skip_word(p, "not");
    if (!n || !parse_dotted(p, n)) return NULL;
    n->a = node;
    n->builtin = chat__find_test(p->tmpl->names[n->name]);
    if (!(n->args = parse_args(p, true))) return NULL;
    const struct token *t = p->at;
    bool value = t->kind == T_NAME || t->kind == T_STRING || t->kind == T_INTEGER ||
                 t->kind == T_REAL || t->kind == T_LBRACKET || t->kind == T_LBRACE;
    value = value && t[-1].kind != T_RPAREN && !chat__is_word(t, "else") &&
            !chat__is_word(t, "or") && !chat__is_word(t, "and");
    if (value && chat__is_word(t, "is")) {
        chat__fail_at(p->tmpl, t->at, p->err, "tests cannot be chained with 'is'");
        return NULL;
    }
    if (value) {
        struct node *arg = chat__parse_primary(p, false);
        if (!arg || !chat__push(p, &n->args->list, parse_postfix(p, arg))) return NULL;
    }
    if (!negated) return n;
    struct node *not = chat__node(p, N_NOT, n->at);
    if (not ) not ->a = n;
    return not ;
}

/* ---- subscripts ---- */

static struct node *none_node(struct parser *p)
{
    struct node *n = chat__node(p, N_CONST, p->at->at);
    if (n) n->value = chat__none();
    return n;
}

/* One of a:b:c, or an index. */
static struct node *parse_subscript(struct parser *p)
{
    uint32_t at = p->at->at;
    struct node *start = NULL;
    if (!chat__is(p, T_COLON)) {
        start = chat__parse_expr(p);
        if (!start || !chat__is(p, T_COLON)) return start;
    }
    struct node *n = chat__node(p, N_SLICE, at);
    if (!n) return NULL;
    n->a = start ? start : none_node(p);
    struct node **part[2] = {&n->b, &n->c};
    for (int i = 0; i < 2; i++) {
        bool colon = chat__skip(p, T_COLON);
        bool empty =
            !colon || chat__is(p, T_COLON) || chat__is(p, T_RBRACKET) || chat__is(p, T_COMMA);
        if (!(*part[i] = empty ? none_node(p) : chat__parse_expr(p))) return NULL;
    }
    return n->a ? n : NULL;
}

static struct node *parse_brackets(struct parser *p, struct node *of)
{
    struct node *n = chat__node(p, N_ITEM, p->at++->at);
    struct node *tuple = n ? chat__node(p, N_TUPLE, n->at) : NULL;
    if (!tuple) return NULL;
    n->a = of;
    while (!chat__is(p, T_RBRACKET)) {
        if (tuple->list.count && !chat__expect(p, T_COMMA, "',' or ']'")) return NULL;
        if (!chat__push(p, &tuple->list, parse_subscript(p))) return NULL;
    }
    p->at++;
    n->b = tuple->list.count == 1 ? tuple->list.items[0] : tuple;
    return n;
}

static struct node *int_node(struct parser *p, const struct token *t);

static struct node *parse_dot(struct parser *p, struct node *of)
{
    uint32_t at = p->at++->at;
    if (chat__is(p, T_INTEGER)) {
        struct node *n = chat__node(p, N_ITEM, at);
        if (!n) return NULL;
        n->a = of;
        n->b = int_node(p, p->at++);
        return n->b ? n : NULL;
    }
    if (!chat__is(p, T_NAME)) {
        chat__fail_token(p, "a name or a number");
        return NULL;
    }
    struct node *n = chat__node(p, N_ATTR, at);
    if (!n || !chat__intern(p, p->at++->text, &n->name)) return NULL;
    n->a = of;
    return n;
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
    while (node) {
        if (chat__is(p, T_DOT))
            node = parse_dot(p, node);
        else if (chat__is(p, T_LBRACKET))
            node = parse_brackets(p, node);
        else if (chat__is(p, T_LPAREN))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

static struct node *parse_unary(struct parser *p, bool with_filter)
{
    struct node *node;
    if (chat__is(p, T_SUB) || chat__is(p, T_ADD)) {
        if (!enter(p)) return NULL;
        node = chat__node(p, chat__is(p, T_SUB) ? N_NEGATE : N_PLUS, p->at->at);
        p->at++;
        if (!node || !(node->a = parse_unary(p, false))) return NULL;
        p->depth--;
    } else {
        node = chat__parse_primary(p, false);
    }
    node = parse_postfix(p, node);
    while (node && with_filter) {
        if (chat__is(p, T_PIPE))
            node = chat__parse_filter(p, node, false);
        else if (chat__is_word(p->at, "is"))
            node = parse_test(p, node);
        else if (chat__is(p, T_LPAREN))
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

/* ---- primaries ---- */

static struct node *const_node(struct parser *p, uint32_t at, struct value value)
{
    struct node *n = chat__node(p, N_CONST, at);
    if (n) n->value = value;
    return n;
}

static struct node *int_node(struct parser *p, const struct token *t)
{
    const char *text = t->text.ptr; /* NUL-terminated by the lexer */
    int base = 10;
    if (t->text.len > 2 && text[0] == '0') {
        char c = (char)(text[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : c == 'o' ? 8 : 10;
    }
    errno = 0;
    long long n = strtoll(base == 10 ? text : text + 2, NULL, base);
    if (!errno) return const_node(p, t->at, chat__int(n));
    if (base == 10)
        return const_node(p, t->at, (struct value){.kind = V_BIG, .ptr = text, .len = t->text.len});
    chat__fail_at(p->tmpl, t->at, p->err, "this number is too large");
    return NULL;
}

static struct node *parse_string(struct parser *p)
{
    struct token *t = p->at;
    struct ig_slice text = p->at++->text;
    if (chat__is(p, T_STRING)) { /* adjacent literals join */
        struct ig_buf joined = {0};
        ig_buf_slice(&joined, text);
        while (chat__is(p, T_STRING))
            ig_buf_slice(&joined, p->at++->text);
        text = ig_arena_copy(&p->tmpl->arena, ig_buf_view(&joined));
        bool ok = text.ptr && ig_buf_ok(&joined, p->err);
        ig_buf_release(&joined);
        if (!ok) {
            ig_err_nomem(p->err);
            return NULL;
        }
    }
    return const_node(p, t->at, chat__str(text));
}

static struct node *parse_name(struct parser *p, bool with_space_ref)
{
    struct token *t = p->at++;
    if (ig_slice_is(t->text, "true") || ig_slice_is(t->text, "True"))
        return const_node(p, t->at, chat__bool(true));
    if (ig_slice_is(t->text, "false") || ig_slice_is(t->text, "False"))
        return const_node(p, t->at, chat__bool(false));
    if (ig_slice_is(t->text, "none") || ig_slice_is(t->text, "None"))
        return const_node(p, t->at, chat__none());
    struct node *n = chat__node(p, N_NAME, t->at);
    if (!n || !chat__intern(p, t->text, &n->name)) return NULL;
    for (int i = 0; i < p->macro_count; i++) {
        struct params *m = p->macros[i];
        m->wants_varargs |= n->name == NAME_VARARGS;
        m->wants_kwargs |= n->name == NAME_KWARGS;
        m->wants_caller |= n->name == NAME_CALLER;
    }
    if (!with_space_ref || !chat__skip(p, T_DOT)) return n;
    struct node *ref = chat__node(p, N_SPACE_REF, t->at);
    if (!ref || !chat__is(p, T_NAME)) {
        if (ref) chat__fail_token(p, "a name");
        return NULL;
    }
    ref->a = n;
    return chat__intern(p, p->at++->text, &ref->name) ? ref : NULL;
}

static struct node *parse_list(struct parser *p)
{
    struct node *n = chat__node(p, N_LIST, p->at++->at);
    while (n && !chat__is(p, T_RBRACKET)) {
        if (!chat__push(p, &n->list, chat__parse_expr(p))) return NULL;
        if (!chat__skip(p, T_COMMA)) break;
    }
    return n && chat__expect(p, T_RBRACKET, "',' or ']'") ? n : NULL;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *n = chat__node(p, N_DICT, p->at++->at);
    while (n && !chat__is(p, T_RBRACE)) {
        if (!chat__push(p, &n->list, chat__parse_expr(p))) return NULL;
        if (!chat__expect(p, T_COLON, "':'")) return NULL;
        if (!chat__push(p, &n->list, chat__parse_expr(p))) return NULL;
        if (!chat__skip(p, T_COMMA)) break;
    }
    return n && chat__expect(p, T_RBRACE, "',' or '}'") ? n : NULL;
}

static struct node *parse_paren(struct parser *p)
{
    p->at++;
    struct node *n = chat__parse_tuple(p, TUPLE_PAREN);
    return n && chat__expect(p, T_RPAREN, "')'") ? n : NULL;
}

struct node *chat__parse_primary(struct parser *p, bool with_space_ref)
{
    struct token *t = p->at;
    switch (t->kind) {
    case T_NAME: return parse_name(p, with_space_ref);
    case T_STRING: return parse_string(p);
    case T_INTEGER: return int_node(p, p->at++);
    case T_REAL: p->at++; return const_node(p, t->at, chat__real(strtod(t->text.ptr, NULL)));
    case T_LPAREN: return parse_paren(p);
    case T_LBRACKET: return parse_list(p);
    case T_LBRACE: return parse_dict(p);
    default: chat__fail_token(p, "an expression"); return NULL;
    }
}

static struct node *parse_tuple_part(struct parser *p, enum tuple_mode mode)
{
    if (mode == TUPLE_TARGET || mode == TUPLE_SET_TARGET) {
        if (!enter(p)) return NULL;
        struct node *n = chat__parse_primary(p, mode == TUPLE_SET_TARGET);
        p->depth--;
        return n;
    }
    if (mode != TUPLE_NO_COND) return chat__parse_expr(p);
    if (!enter(p)) return NULL;
    struct node *n = chat__parse_or(p);
    p->depth--;
    return n;
}

struct node *chat__parse_tuple(struct parser *p, enum tuple_mode mode)
{
    struct node *tuple = chat__node(p, N_TUPLE, p->at->at);
    bool comma = false;
    while (tuple) {
        enum token_kind kind = p->at->kind;
        bool end = kind == T_PRINT_END || kind == T_BLOCK_END || kind == T_RPAREN ||
                   (mode == TUPLE_TARGET && chat__is_word(p->at, "in"));
        if (end) break;
        if (!chat__push(p, &tuple->list, parse_tuple_part(p, mode))) return NULL;
        if (!chat__skip(p, T_COMMA)) {
            if (!comma) return tuple->list.items[0];
            break;
        }
        comma = true;
    }
    if (tuple && !comma && mode != TUPLE_PAREN) {
        chat__fail_token(p, "an expression");
        return NULL;
    }
    return tuple;
}
