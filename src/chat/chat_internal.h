/* SPDX-License-Identifier: Apache-2.0
 * chat_internal — the parts of the Jinja interpreter, for src/chat only.
 *
 * source -> lex (tokens) -> parse (nodes, in the template's arena) -> exec/eval (values, in the
 * render's arena). Semantics are those of jinja2 3.1 in the sandbox of transformers 5: where
 * Python's own types shine through (str, repr, slices, sorting) they do so here as well. Values
 * never change once made; only namespaces, loops and generators have state. So values are shared
 * without counts, and a render's memory is freed at once. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "ingot/chat.h"

/* Limits on foreign code. A Jinja that loops or nests deeper than any real template is stopped. */
#define CHAT_SOURCE_BYTES_MAX ((size_t)4 << 20)
#define CHAT_OUTPUT_BYTES_MAX ((size_t)64 << 20)
#define CHAT_ARENA_BYTES_MAX  ((size_t)1 << 30) /* values of one render */
#define CHAT_STEPS_MAX        10000000 /* nodes evaluated; long texts and lists cost more */
#define CHAT_PARSE_DEPTH_MAX  200
#define CHAT_CALL_DEPTH_MAX   200    /* macros that call macros */
#define CHAT_EVAL_DEPTH_MAX   1200   /* C recursion while rendering: below 512 KiB of stack */
#define CHAT_VALUE_DEPTH_MAX  200    /* lists in lists, when printed or compared */
#define CHAT_RANGE_MAX        100000 /* jinja2.sandbox.MAX_RANGE */
#define CHAT_ARGS_MAX         5
#define CHAT_NAMED_MAX        1000 /* arguments by name in a call, parameters of a macro */

/* ---- values ---- */

enum kind {
    V_ABSENT, /* an argument that was not given; never seen by templates */
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_BIG, /* an integer beyond 64 bits: its decimal digits, '-' before them when negative */
    V_REAL,
    V_STR,
    V_BYTES,
    V_LIST,
    V_TUPLE,
    V_RANGE,
    V_GEN, /* Python's generators: can be walked once, have no length, cannot be indexed */
    V_DICT,
    V_VIEW, /* dict.keys(), values(), items() */
    V_SPACE,
    V_LOOP,
    V_MACRO,
    V_METHOD,  /* a method with its object */
    V_BUILTIN, /* a global function */
    V_CYCLER,
    V_JOINER,
    V_KINDS
};

enum value_flag {
    STR_ASCII = 1,  /* one byte a code point */
    STR_MARKUP = 2, /* |safe: adding plain text to it escapes that text */
};
enum view { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct value {
    uint8_t kind;
    uint8_t
        flags; /* STR: value_flag. VIEW: enum view. UNDEFINED: kind of the object that lacks it */
    union {
        int64_t integer; /* INT, BOOL */
        double real;
        const char *ptr;   /* STR, BYTES, BIG; UNDEFINED: the name that was looked for */
        struct seq *seq;   /* LIST, TUPLE, RANGE, GEN */
        struct dict *dict; /* DICT, VIEW */
        struct space *space;
        struct loop *loop;
        const struct macro *macro;
        const struct method *method;
        const struct builtin *builtin;
        struct cycler *cycler; /* CYCLER, JOINER */
    };
    size_t len; /* of ptr */
};

struct seq {
    struct value *items;
    size_t count, cap;         /* cap: of items */
    size_t *used;              /* of cap, by the longest list that shares items; NULL: not shared */
    bool spent;                /* GEN: already walked */
    int64_t start, stop, step; /* RANGE: for its repr */
};
struct pair {
    struct value key, value;
    uint64_t hash;
};
struct dict {
    struct pair *pairs; /* in order of insertion */
    uint32_t count, cap;
    uint32_t *index; /* open addressing, 1 + place in pairs; NULL while the dict is small */
    uint32_t mask;
};
struct space { /* namespace(): few names, looked up by walking */
    struct dict dict;
};
struct macro {
    const struct node *node; /* N_MACRO or N_CALL_BLOCK */
    struct scope *scope;     /* where it was defined */
};
struct method {
    struct value self;
    const struct builtin *builtin;
};
struct cycler {
    struct value *items;
    size_t count, at;
    struct value text; /* JOINER: the separator; at: whether it was used */
};
struct loop {
    struct seq *seq; /* the items for which the loop's `if` holds, as far as it was asked */
    const struct seq *source;
    size_t index0, source_at;
    int depth0;
    const struct node *node; /* N_FOR */
    struct scope *scope;     /* around the loop */
    struct value changed;    /* what changed() saw last: a tuple, or ABSENT */
};

/* ---- the tree ---- */

enum node_kind {
    N_CONST,
    N_NAME,
    N_LIST,
    N_TUPLE,
    N_DICT,
    N_ATTR,
    N_ITEM,
    N_SLICE,
    N_CALL,
    N_FILTER,
    N_TEST,
    N_NOT,
    N_NEGATE,
    N_PLUS,
    N_AND,
    N_OR,
    N_COND,
    N_BINARY,
    N_CONCAT,
    N_COMPARE,
    /* statements */
    N_TEXT,
    N_PRINT,
    N_IF,
    N_FOR,
    N_SET,
    N_SET_BLOCK,
    N_MACRO,
    N_CALL_BLOCK,
    N_FILTER_BLOCK,
    N_WITH,
    N_SCOPE,
    N_BREAK,
    N_CONTINUE,
    N_SPACE_REF, /* the target of {% set ns.x = ... %} */
};

enum token_kind {
    T_END,
    T_DATA,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_NAME,
    T_STRING,
    T_INTEGER,
    T_REAL,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_IN,
    T_NOT_IN, /* the last two only as operators in nodes */
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_COMMA,
    T_PIPE,
    T_SEMICOLON,
    T_LPAREN,
    T_RPAREN,
    T_LBRACKET,
    T_RBRACKET,
    T_LBRACE,
    T_RBRACE,
};

struct node_list {
    struct node **items;
    uint32_t count, cap;
};
struct params { /* of a macro or call block */
    uint32_t *names;
    struct node **defaults; /* NULL: none */
    uint32_t count;
    bool wants_varargs, wants_kwargs, wants_caller;
};
struct args { /* of a call, filter or test */
    struct node_list list;
    uint32_t *keys;         /* names of the keyword arguments */
    struct node_list named; /* their values */
    struct node *star, *star_star;
};
struct node {
    uint8_t kind;
    uint8_t op;    /* token_kind of an operator; a flag of some statements */
    uint32_t at;   /* byte offset in the source */
    uint32_t name; /* index into the template's names */
    struct node *a, *b, *c;
    struct node_list list, other; /* items; a body, and the else body */
    union {
        struct args *args;
        struct params *params;
        const uint8_t *ops; /* COMPARE: one for each of list but the first */
    };
    const struct builtin *builtin; /* FILTER, TEST: NULL when there is none of that name */
    struct value value;            /* CONST, TEXT */
};

struct ig_template {
    struct ig_arena arena;
    struct ig_slice source; /* newlines normalised */
    struct node_list body;
    struct ig_slice *names;
    const struct builtin **globals; /* for each name: the global function, or NULL */
    uint32_t name_count, name_cap;
    struct ig_map name_map;
    const struct ig_json *special; /* bos_token and so on: an object of strings, or NULL */
    bool strict;                   /* ig_template_parse_strict made it */
};

struct token {
    uint8_t kind;
    uint32_t at;
    struct ig_slice text; /* NAME, STRING and DATA: decoded; numbers: as written */
};
struct lexed {
    struct token *items;
    uint32_t count, cap;
};
/* All tokens of the template's source, a T_END last. */
IG_MUST_CHECK bool chat__lex(struct ig_template *tmpl, struct lexed *out, struct ig_err *err);
/* Sets err to "chat template, line L, column C: message". False. */
bool chat__fail_at(const struct ig_template *tmpl, uint32_t at, struct ig_err *err,
                   const char *format, ...) IG_PRINTF(4, 5);
/* Bytes of the white-space character at p, as Python's str.isspace sees it; 0: it is none. */
int chat__space(const char *p, const char *end);

struct parser {
    struct ig_template *tmpl;
    struct token *at, *last;
    struct ig_err *err;
    int depth, loops;
    struct params *macros[8]; /* those being parsed, innermost last; deeper ones are not recorded */
    int macro_count;
};
IG_MUST_CHECK bool chat__parse(struct ig_template *tmpl, struct ig_err *err);
struct node *chat__node(struct parser *p, enum node_kind kind, uint32_t at);
IG_MUST_CHECK bool chat__push(struct parser *p, struct node_list *list, struct node *node);
IG_MUST_CHECK bool chat__intern(struct parser *p, struct ig_slice text, uint32_t *out);
bool chat__fail_token(struct parser *p, const char *wanted);
IG_MUST_CHECK bool chat__expect(struct parser *p, enum token_kind kind, const char *wanted);
static inline bool chat__is(const struct parser *p, enum token_kind kind)
{
    return p->at->kind == kind;
}
static inline bool chat__is_word(const struct token *t, const char *word)
{
    return t->kind == T_NAME && ig_slice_is(t->text, word);
}
static inline bool chat__skip(struct parser *p, enum token_kind kind)
{
    if (p->at->kind != kind) return false;
    p->at++;
    return true;
}
static inline bool chat__skip_word(struct parser *p, const char *word)
{
    if (!chat__is_word(p->at, word)) return false;
    p->at++;
    return true;
}
/* Expressions. NULL: failed. */
struct node *chat__parse_expr(struct parser *p);
struct node *chat__parse_or(struct parser *p);
struct node *chat__parse_primary(struct parser *p, bool with_space_ref);
struct node *chat__parse_filter(struct parser *p, struct node *node, bool start_inline);
enum tuple_mode { TUPLE_PLAIN, TUPLE_NO_COND, TUPLE_TARGET, TUPLE_SET_TARGET, TUPLE_PAREN };
struct node *chat__parse_tuple(struct parser *p, enum tuple_mode mode);

/* ---- a render ---- */

/* Names that the interpreter itself sets; chat__parse interns them first. */
enum known_name { NAME_LOOP, NAME_CALLER, NAME_VARARGS, NAME_KWARGS };
struct slot {
    uint32_t name;
    struct value value;
};
struct scope {
    struct scope *outer;
    struct slot *slots;
    uint32_t count, cap;
    bool captured; /* a macro or loop may come back to it: not to be used again for another */
    struct slot first[3];
};
enum jump { JUMP_NONE, JUMP_BREAK, JUMP_CONTINUE };
struct run {
    const struct ig_template *tmpl;
    struct ig_arena arena;
    struct ig_buf out; /* the text so far; a text being built is its tail, cut off when done */
    struct scope *scope, *free_scopes;
    struct ig_err *err;
    int64_t now; /* < 0: the clock */
    uint64_t steps;
    int depth, calls;
    uint8_t jump;
    bool placed;                 /* the failure's place is known */
    const struct node *may_lack; /* strict: this node may be undefined, a test or filter asks */
    uint32_t failed_at;
    char *tail, *tail_end; /* free room after the newest joined text: see chat__concat */
};

IG_MUST_CHECK bool chat__exec(struct run *r, const struct node_list *body);
IG_MUST_CHECK bool chat__eval(struct run *r, const struct node *node, struct value *out);
IG_MUST_CHECK bool chat__assign(struct run *r, const struct node *target, struct value value);
IG_MUST_CHECK bool chat__set(struct run *r, uint32_t name, struct value value);
void chat__get(struct run *r, uint32_t name, struct value *out);
/* Fails the render: false. */
bool chat__fail(struct run *r, const char *format, ...) IG_PRINTF(2, 3);
/* Fails because the value is undefined: says what is. */
bool chat__fail_undefined(struct run *r, struct value v);
/* Counts work: n bytes or items beyond the node itself. */
IG_MUST_CHECK bool chat__charge(struct run *r, size_t n);
IG_MUST_CHECK bool chat__push_scope(struct run *r, struct scope *outer, struct scope **saved);
void chat__pop_scope(struct run *r, struct scope *saved);
void *chat__new(struct run *r, size_t count, size_t size);

/* calls */
struct named {
    struct ig_slice name;
    struct value value;
};
struct call {
    struct value *list;
    struct named *named;
    uint32_t count, named_count;
};
struct in { /* what a builtin sees; arg[i] is ABSENT when not given */
    struct value self;
    struct value arg[CHAT_ARGS_MAX];
    const struct call *call;
};
struct builtin { /* one row: a filter, test, method or global */
    const char *name;
    bool (*run)(struct run *r, const struct in *in, struct value *out);
    uint8_t required; /* arguments; VARIADIC: it reads in->call itself */
    const char *params[CHAT_ARGS_MAX];
};
#define CHAT_VARIADIC 255
IG_MUST_CHECK bool chat__make_call(struct run *r, const struct args *args, struct call *out);
IG_MUST_CHECK bool chat__call_builtin(struct run *r, const struct builtin *b, struct value self,
                                      const struct call *call, struct value *out);
IG_MUST_CHECK bool chat__call(struct run *r, struct value callee, const struct call *call,
                              struct value *out);
/* Makes sure that item `index` is in loop->seq, when there is one. SIZE_MAX: all. */
IG_MUST_CHECK bool chat__loop_fill(struct run *r, struct loop *loop, size_t index);
IG_MUST_CHECK bool chat__loop_body(struct run *r, const struct node *node, struct scope *scope,
                                   struct value iterable, int depth0);
const struct builtin *chat__find_filter(struct ig_slice name);
const struct builtin *chat__find_test(struct ig_slice name);
const struct builtin *chat__find_global(struct ig_slice name);
const struct builtin *chat__find_method(struct value self, struct ig_slice name);
const struct builtin *chat__find_row(const struct builtin *rows, struct ig_slice name);
extern const struct builtin chat__filters[], chat__seq_filters[], chat__str_methods[],
    chat__dict_type_methods[], chat__tests[];

/* attributes: a.b prefers methods, a["b"] prefers keys */
IG_MUST_CHECK bool chat__attr(struct run *r, struct value of, struct ig_slice name,
                              struct value *out);
IG_MUST_CHECK bool chat__item(struct run *r, struct value of, struct value key, struct value *out);
/* jinja2's make_attrgetter: "a.b.0", an integer, or NONE for the thing itself. */
IG_MUST_CHECK bool chat__path(struct run *r, struct value of, struct value path, struct value *out);
IG_MUST_CHECK bool chat__loop_attr(struct run *r, struct loop *loop, struct ig_slice name,
                                   struct value *out);
struct bounds {
    struct value start, stop, step;
};
IG_MUST_CHECK bool chat__slice(struct run *r, struct value of, const struct bounds *b,
                               struct value *out);

/* ---- values: making, asking, walking ---- */

static inline struct value chat__none(void)
{
    return (struct value){.kind = V_NONE};
}
static inline struct value chat__bool(bool truth)
{
    return (struct value){.kind = V_BOOL, .integer = truth};
}
static inline struct value chat__int(int64_t n)
{
    return (struct value){.kind = V_INT, .integer = n};
}
static inline struct value chat__real(double x)
{
    return (struct value){.kind = V_REAL, .real = x};
}
static inline struct value chat__undefined(struct ig_slice name)
{
    return (struct value){.kind = V_UNDEFINED, .ptr = name.ptr, .len = name.len};
}
static inline struct ig_slice chat__text(struct value v)
{
    return (struct ig_slice){v.ptr, v.len};
}
static inline bool chat__is_str(struct value v)
{
    return v.kind == V_STR;
}
static inline bool chat__given(struct value v)
{
    return v.kind != V_ABSENT;
}
/* Borrows text, which must live as long as the render. */
struct value chat__str(struct ig_slice text);
struct value chat__literal(const char *text);
IG_MUST_CHECK bool chat__copy_str(struct run *r, struct ig_slice text, struct value *out);
/* Builds a text at the end of r->out: mark = chat__begin(r); append; chat__end(r, mark, &v). */
size_t chat__begin(const struct run *r);
IG_MUST_CHECK bool chat__end(struct run *r, size_t mark, struct value *out);
IG_MUST_CHECK bool chat__concat(struct run *r, struct ig_slice a, struct ig_slice b, uint8_t flags,
                                struct value *out);
struct value chat__markup(struct value v, bool on);
bool chat__truth(struct value v);
const char *chat__type_name(struct value v); /* Python's name of the type */
size_t chat__count(struct value str);        /* code points */
/* The byte offset of code point `index`, which is at most the count. */
size_t chat__offset(struct value str, size_t index);
IG_MUST_CHECK bool chat__length(struct run *r, struct value v, size_t *out);
/* As an int: INT and BOOL. */
bool chat__as_int(struct value v, int64_t *out);
bool chat__as_real(struct value v, double *out);
static inline bool chat__is_number(struct value v)
{
    return v.kind >= V_BOOL && v.kind <= V_REAL;
}

IG_MUST_CHECK bool chat__new_seq(struct run *r, enum kind kind, size_t count, struct value *out);
IG_MUST_CHECK bool chat__append(struct run *r, struct seq *seq, struct value v);
/* The items of anything that can be walked, as a sequence (shared, not to be changed). */
IG_MUST_CHECK bool chat__iterate(struct run *r, struct value v, struct seq **out);
IG_MUST_CHECK bool chat__new_dict(struct run *r, struct value *out);
IG_MUST_CHECK bool chat__put(struct run *r, struct dict *d, struct value key, struct value value);
/* NULL in *out when absent; fails when the key cannot be hashed. */
IG_MUST_CHECK bool chat__find(struct run *r, const struct dict *d, struct value key,
                              const struct value **out);
const struct value *chat__find_text(const struct dict *d, struct ig_slice key);
IG_MUST_CHECK bool chat__from_json(struct run *r, const struct ig_json *json, struct value *out);

/* ---- operators ---- */

IG_MUST_CHECK bool chat__binary(struct run *r, int op, struct value a, struct value b,
                                struct value *out);
IG_MUST_CHECK bool chat__compare(struct run *r, int op, struct value a, struct value b, bool *out);
IG_MUST_CHECK bool chat__equal(struct run *r, struct value a, struct value b, bool *out);
/* <0, 0, >0; fails for types that have no order. */
IG_MUST_CHECK bool chat__order(struct run *r, struct value a, struct value b, int *out);
IG_MUST_CHECK bool chat__contains(struct run *r, struct value all, struct value one, bool *out);
IG_MUST_CHECK bool chat__negate(struct run *r, struct value v, struct value *out);
/* Decimal integers of any size: a op b for + - and *; the result is INT when it fits. */
IG_MUST_CHECK bool chat__big(struct run *r, int op, struct value a, struct value b,
                             struct value *out);
int chat__big_order(struct value a, struct value b);
/* The whole part of a finite number. */
IG_MUST_CHECK bool chat__round_whole(struct run *r, struct value v, int64_t places,
                                     struct value *out);
IG_MUST_CHECK bool chat__truncate(struct run *r, double x, struct value *out);

/* ---- text ---- */

/* Append to r->out what Python's str(), repr() and json.dumps() give. */
IG_MUST_CHECK bool chat__put_str(struct run *r, struct value v);
IG_MUST_CHECK bool chat__put_repr(struct run *r, struct value v);
struct json_style {
    bool ensure_ascii, sort_keys, has_indent;
    struct ig_slice indent, comma, colon;
};
IG_MUST_CHECK bool chat__put_json(struct run *r, struct value v, const struct json_style *style,
                                  int depth);
void chat__put_real(struct ig_buf *out, double x);
void chat__put_escaped(struct ig_buf *out, struct ig_slice text); /* & < > " ' as HTML */
/* str(v): a V_STR (itself when it is one). */
IG_MUST_CHECK bool chat__to_str(struct run *r, struct value v, struct value *out);
IG_MUST_CHECK bool chat__to_repr(struct run *r, struct value v, struct value *out);
IG_MUST_CHECK bool chat__escape(struct run *r, struct value v, struct value *out);
/* text % args, and text.format(...) */
IG_MUST_CHECK bool chat__printf(struct run *r, struct value format, struct value args,
                                struct value *out);
IG_MUST_CHECK bool chat__format(struct run *r, struct value format, const struct call *call,
                                struct value *out);
IG_MUST_CHECK bool chat__strftime(struct run *r, struct ig_slice format, struct value *out);

enum side { SIDE_LEFT = 1, SIDE_RIGHT = 2, SIDE_BOTH = 3 };
/* str.strip: NULL chars for white space. Keeps the markup flag. Whoever gives chars asks first
 * whether there are steps left for it. */
struct value chat__strip(struct value text, const struct value *chars, enum side side);
IG_MUST_CHECK bool chat__charge_strip(struct run *r, struct value text, const struct value *chars);
IG_MUST_CHECK bool chat__replace(struct run *r, struct value text, struct ig_slice old,
                                 struct ig_slice fresh, int64_t count, struct value *out);
/* The last place of needle in hay, or NULL. */
IG_MUST_CHECK bool chat__find_last(struct run *r, struct ig_slice hay, struct ig_slice needle,
                                   const char **out);
IG_MUST_CHECK bool chat__pad(struct run *r, struct value text, int64_t width, enum side side,
                             struct ig_slice fill, struct value *out);
IG_MUST_CHECK bool chat__split(struct run *r, struct value text, const struct value *by,
                               int64_t times, bool from_right, struct value *out);
IG_MUST_CHECK bool chat__split_lines(struct run *r, struct value text, bool keep_ends,
                                     struct value *out);
enum casing { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP };
IG_MUST_CHECK bool chat__recase(struct run *r, struct value text, enum casing casing,
                                struct value *out);
enum char_class {
    CHAR_ALPHA,
    CHAR_DIGIT,
    CHAR_DECIMAL,
    CHAR_NUMERIC,
    CHAR_ALNUM,
    CHAR_SPACE,
    CHAR_PRINTABLE
};
bool chat__char_is(uint32_t code, enum char_class what);
/* 1: all cased characters are upper (lower) case, and there is one. */
bool chat__all_cased(struct ig_slice text, bool upper);
