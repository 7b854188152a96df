/* SPDX-License-Identifier: Apache-2.0
 * template — finding a model's chat template, and rendering a conversation as transformers 5.23
 * does: apply_chat_template's preparation of messages, the variables that templates always see, and
 * continue_final_message. */
#include "base/file.h"
#include "chat/chat_internal.h"
#include "text/utf8.h"

#include <stdlib.h>

#define CONFIG_BYTES_MAX ((size_t)256 << 20) /* old tokenizer_config.json hold all added tokens */
#define CONTINUE_TAG     "CONTINUE_FINAL_MESSAGE_TAG " /* as transformers: it must survive trim */

/* CRLF and CR become LF, and one newline at the end goes (unless strict: lm-eval keeps it). */
static bool normalise(struct ig_template *t, struct ig_slice source, struct ig_err *err)
{
    char *copy = ig_arena_new(&t->arena, source.len + 1);
    if (!copy) return ig_err_nomem(err);
    size_t n = 0;
    for (size_t i = 0; i < source.len; i++) {
        char c = source.ptr[i];
        if (c == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n') continue;
        copy[n++] = c == '\r' ? '\n' : c;
    }
    if (!t->strict && n && copy[n - 1] == '\n') n--;
    t->source = ig_slice_make(copy, n);
    return true;
}

static bool parse(struct ig_slice source, const char *name, bool strict, struct ig_template **out,
                  struct ig_err *err)
{
    struct ig_template *t = calloc(1, sizeof *t);
    if (!t) return ig_err_nomem(err);
    t->strict = strict;
    t->arena.bytes_max = CHAT_ARENA_BYTES_MAX;
    size_t bad;
    if (source.len > CHAT_SOURCE_BYTES_MAX) {
        ig_err_set(err, IG_ERR_DATA, "chat template: larger than %zu bytes", CHAT_SOURCE_BYTES_MAX);
        goto fail;
    }
    if (!normalise(t, source, err)) goto fail;
    bad = ig_utf8_check(t->source);
    if (bad < t->source.len) {
        chat__fail_at(t, (uint32_t)bad, err, "this is not UTF-8");
        goto fail;
    }
    if (!chat__parse(t, err)) goto fail;
    *out = t;
    return true;
fail:
    if (name) ig_err_within(err, "%s", name);
    ig_template_close(t);
    return false;
}

bool ig_template_parse(struct ig_slice source, const char *name, struct ig_template **out,
                       struct ig_err *err)
{
    return parse(source, name, false, out, err);
}

bool ig_template_parse_strict(struct ig_slice source, const char *name, struct ig_template **out,
                              struct ig_err *err)
{
    return parse(source, name, true, out, err);
}

void ig_template_close(struct ig_template *t)
{
    if (!t) return;
    ig_map_release(&t->name_map);
    ig_arena_release(&t->arena);
    free(t);
}

struct ig_slice ig_template_source(const struct ig_template *tmpl)
{
    return tmpl->source;
}

/* ---- a model folder's ---- */

static const struct ig_json *pick_named(const struct ig_json *list, const char *wanted)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (ig_slice_is(ig_json_text(ig_json_get(&list->items[i], "name")), wanted))
            return ig_json_get(&list->items[i], "template");
    return NULL;
}

/* chat_template: a text, or a list of named ones. NULL: none that fits. */
static const struct ig_json *pick_template(const struct ig_json *config, bool with_tools)
{
    const struct ig_json *field = ig_json_get(config, "chat_template");
    if (field && field->type == IG_JSON_ARRAY) {
        const struct ig_json *found = with_tools ? pick_named(field, "tool_use") : NULL;
        field = found ? found : pick_named(field, "default");
    }
    return field && field->type == IG_JSON_STRING ? field : NULL;
}

/* The named special tokens of tokenizer_config.json: texts, or objects with `content`. */
static bool read_special(struct ig_template *t, const struct ig_json *config, struct ig_err *err)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    enum { COUNT = sizeof names / sizeof names[0] };
    struct ig_json *special = ig_arena_array(&t->arena, COUNT + 1, sizeof *special);
    if (!special) return ig_err_nomem(err);
    *special = (struct ig_json){.type = IG_JSON_OBJECT, .items = special + 1};
    for (int i = 0; i < COUNT; i++) {
        const struct ig_json *token = ig_json_get(config, names[i]);
        if (token && token->type == IG_JSON_OBJECT) token = ig_json_get(token, "content");
        if (!token || token->type != IG_JSON_STRING) continue;
        struct ig_json *item = &special->items[special->count++];
        *item = (struct ig_json){.type = IG_JSON_STRING, .key = ig_slice_of(names[i])};
        item->text = ig_arena_copy(&t->arena, token->text);
        if (!item->text.ptr) return ig_err_nomem(err);
    }
    t->special = special;
    return true;
}

struct sources { /* what a model folder says */
    struct ig_arena arena;
    struct ig_buf jinja, config;
    const struct ig_json *root; /* tokenizer_config.json, or NULL */
};

static bool read_folder(const char *dir, struct sources *s, bool *has_jinja, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, dir, "chat_template.jinja", err)) return false;
    *has_jinja = ig_path_exists(path);
    if (*has_jinja && !ig_file_read(path, CHAT_SOURCE_BYTES_MAX, &s->jinja, err)) return false;
    if (!ig_path_join(path, dir, "tokenizer_config.json", err)) return false;
    if (!ig_path_exists(path)) return true;
    if (!ig_file_read(path, CONFIG_BYTES_MAX, &s->config, err)) return false;
    s->root = ig_json_parse(ig_buf_view(&s->config), &s->arena, err);
    return s->root || ig_err_within(err, "%s", path);
}

static bool open_folder(const char *dir, bool with_tools, struct sources *s,
                        struct ig_template **out, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    bool has_jinja;
    if (!read_folder(dir, s, &has_jinja, err)) return false;
    const struct ig_json *field = has_jinja ? NULL : pick_template(s->root, with_tools);
    if (!has_jinja && !field)
        return ig_err_set(err, IG_ERR_DATA,
                          "model '%s' has no chat template: neither chat_template.jinja nor a "
                          "chat_template in tokenizer_config.json",
                          dir);
    if (!ig_path_join(path, dir, has_jinja ? "chat_template.jinja" : "tokenizer_config.json", err))
        return false;
    struct ig_template *t;
    if (!ig_template_parse(has_jinja ? ig_buf_view(&s->jinja) : field->text, path, &t, err))
        return false;
    if (s->root && !read_special(t, s->root, err)) {
        ig_template_close(t);
        return false;
    }
    *out = t;
    return true;
}

bool ig_template_open(const char *path, bool with_tools, struct ig_template **out,
                      struct ig_err *err)
{
    struct sources s = {0};
    bool ok;
    if (ig_path_is_dir(path))
        ok = open_folder(path, with_tools, &s, out, err);
    else
        ok = ig_file_read(path, CHAT_SOURCE_BYTES_MAX, &s.jinja, err) &&
             ig_template_parse(ig_buf_view(&s.jinja), path, out, err);
    ig_buf_release(&s.jinja);
    ig_buf_release(&s.config);
    ig_arena_release(&s.arena);
    return ok;
}

bool ig_template_exists(const char *model_dir)
{
    struct sources s = {0};
    struct ig_err err;
    bool has_jinja = false;
    bool ok =
        read_folder(model_dir, &s, &has_jinja, &err) && (has_jinja || pick_template(s.root, false));
    ig_buf_release(&s.jinja);
    ig_buf_release(&s.config);
    ig_arena_release(&s.arena);
    return ok;
}

/* ---- preparing messages ---- */

/* A message as templates see it: null members gone, and reasoning under every name it is read by.
 * reasoning_content, thinking and reasoning are one field to transformers; the first that is set
 * wins, reasoning_content gets it, and thinking (as gpt-oss reads it) unless it has its own. */
static bool prepare_message(struct run *r, struct value from, struct value *out)
{
    static const char *const aliases[] = {"reasoning_content", "thinking", "reasoning"};
    if (from.kind != V_DICT)
        return chat__fail(r, "a message must be an object, not '%s'", chat__type_name(from));
    const struct value *reasoning = NULL;
    for (int i = 0; i < 3 && !reasoning; i++) {
        reasoning = chat__find_text(from.dict, ig_slice_of(aliases[i]));
        if (reasoning && reasoning->kind == V_NONE) reasoning = NULL;
    }
    if (!chat__new_dict(r, out)) return false;
    if (reasoning && !chat__put(r, out->dict, chat__literal("thinking"), *reasoning)) return false;
    for (uint32_t i = 0; i < from.dict->count; i++) {
        const struct pair *pair = &from.dict->pairs[i];
        if (pair->value.kind != V_NONE && !chat__put(r, out->dict, pair->key, pair->value))
            return false;
    }
    return !reasoning || chat__put(r, out->dict, chat__literal("reasoning_content"), *reasoning);
}

static bool prepare_messages(struct run *r, struct value from, struct value *out)
{
    if (from.kind != V_LIST)
        return chat__fail(r, "'messages' must be a list, not '%s'", chat__type_name(from));
    if (!from.seq->count) return chat__fail(r, "'messages' is empty: at least one is needed");
    if (!chat__new_seq(r, V_LIST, from.seq->count, out)) return false;
    for (size_t i = 0; i < from.seq->count; i++)
        if (!prepare_message(r, from.seq->items[i], &out->seq->items[out->seq->count++]))
            return false;
    return true;
}

/* ---- continue_final_message ---- */

static bool is_reasoning(struct ig_slice name)
{
    return ig_slice_is(name, "reasoning_content") || ig_slice_is(name, "thinking") ||
           ig_slice_is(name, "reasoning");
}

/* A copy of the list with the last text part marked; its text in *final. */
static bool mark_parts(struct run *r, struct value parts, struct value *marked, struct value *final)
{
    const struct value *text = NULL;
    struct value copy, added;
    size_t at = parts.seq->count;
    while (at > 0 && !text) {
        at--;
        if (parts.seq->items[at].kind == V_DICT)
            text = chat__find_text(parts.seq->items[at].dict, ig_slice_of("text"));
    }
    if (!text || text->kind != V_STR)
        return chat__fail(r, "continue_final_message: the last message has no text");
    *final = *text;
    if (!chat__new_dict(r, &copy) || !chat__new_seq(r, V_LIST, parts.seq->count, marked))
        return false;
    const struct dict *from = parts.seq->items[at].dict;
    if (!chat__binary(r, T_ADD, *text, chat__literal(CONTINUE_TAG), &added)) return false;
    for (uint32_t i = 0; i < from->count; i++) {
        bool is_text = &from->pairs[i].value == text;
        if (!chat__put(r, copy.dict, from->pairs[i].key, is_text ? added : from->pairs[i].value))
            return false;
    }
    memcpy(marked->seq->items, parts.seq->items, parts.seq->count * sizeof parts);
    marked->seq->count = parts.seq->count;
    marked->seq->items[at] = copy;
    return true;
}

/* Marks the end of the last message's field, so that the text can be cut there. */
static bool mark_final(struct run *r, struct value messages, struct value how, struct value *final)
{
    struct value field = how.kind == V_STR ? how : chat__literal("content"), marked, same;
    struct dict *last = messages.seq->items[messages.seq->count - 1].dict;
    const struct value *found = chat__find_text(last, chat__text(field));
    if (!found)
        return chat__fail(r, "continue_final_message: the last message has no '" IG_SLICE_FMT "'",
                          IG_SLICE_ARG(chat__text(field)));
    if (found->kind == V_LIST)
        return mark_parts(r, *found, &marked, final) && chat__put(r, last, field, marked);
    if (found->kind != V_STR)
        return chat__fail(r, "continue_final_message: the last message is no text");
    *final = *found;
    if (!chat__binary(r, T_ADD, *final, chat__literal(CONTINUE_TAG), &marked)) return false;
    for (uint32_t i = 0; i < last->count; i++) {
        struct pair *pair = &last->pairs[i];
        bool copy = is_reasoning(chat__text(field)) && is_reasoning(chat__text(pair->key));
        bool equal = false;
        same = pair->value;
        if (copy && !chat__equal(r, same, *final, &equal)) return false;
        if (equal || ig_slice_equal(chat__text(pair->key), chat__text(field))) pair->value = marked;
    }
    return true;
}

static bool cut_final(struct run *r, struct value final)
{
    struct ig_slice text = {r->out.len ? r->out.data : "", r->out.len};
    struct ig_slice tag = {CONTINUE_TAG, sizeof CONTINUE_TAG - 2}; /* without its blank */
    struct value stripped = chat__strip(final, NULL, SIDE_BOTH);
    const char *at = NULL;
    if (ig_slice_find(text, chat__text(stripped)))
        for (const char *p = text.ptr, *end = p + text.len, *hit;
             (hit = ig_slice_find(ig_slice_make(p, (size_t)(end - p)), tag)); p = hit + 1)
            at = hit;
    if (!at)
        return chat__fail(r,
                          "continue_final_message: the last message does not appear in the text");
    size_t len = (size_t)(at - text.ptr);
    bool kept = len + tag.len < text.len && at[tag.len] == ' ';
    if (!kept) {
        struct value cut = chat__strip(chat__str(ig_slice_make(text.ptr, len)), NULL, SIDE_RIGHT);
        len = cut.len;
    }
    r->out.len = len;
    return true;
}

/* ---- rendering ---- */

static bool set_variable(struct run *r, struct ig_slice name, struct value value)
{
    int64_t known = ig_map_get(&r->tmpl->name_map, name, -1);
    return known < 0 || chat__set(r, (uint32_t)known, value);
}

static bool set_defaults(struct run *r)
{
    struct value text;
    if (!set_variable(r, ig_slice_of("tools"), chat__none()) ||
        !set_variable(r, ig_slice_of("documents"), chat__none()) ||
        !set_variable(r, ig_slice_of("add_generation_prompt"), chat__bool(false)))
        return false;
    const struct ig_json *special = r->tmpl->special;
    for (uint32_t i = 0; special && i < special->count; i++)
        if (!chat__from_json(r, &special->items[i], &text) ||
            !set_variable(r, special->items[i].key, text))
            return false;
    return true;
}

/* Defines every variable; *continues: the value of continue_final_message, or ABSENT. */
static bool set_variables(struct run *r, const struct ig_json *variables, struct value *continues,
                          struct value *messages)
{
    struct value value;
    *continues = (struct value){0};
    if (!chat__new_seq(r, V_LIST, 0, messages)) return false;
    for (uint32_t i = 0; i < variables->count; i++) {
        const struct ig_json *item = &variables->items[i];
        if (!chat__from_json(r, item, &value)) return false;
        if (ig_slice_is(item->key, "continue_final_message")) {
            *continues = chat__truth(value) ? value : *continues;
            continue;
        }
        if (ig_slice_is(item->key, "messages")) {
            if (!prepare_messages(r, value, messages)) return false;
            continue;
        }
        if (!set_variable(r, item->key, value)) return false;
    }
    return set_variable(r, ig_slice_of("messages"), *messages);
}

/* The members and nothing else. */
static bool render_strict(struct run *r, const struct ig_json *variables)
{
    struct scope *none;
    struct value value;
    if (!chat__push_scope(r, NULL, &none)) return false;
    for (uint32_t i = 0; i < variables->count; i++)
        if (!chat__from_json(r, &variables->items[i], &value) ||
            !set_variable(r, variables->items[i].key, value))
            return false;
    return chat__exec(r, &r->tmpl->body);
}

static bool render(struct run *r, const struct ig_json *variables)
{
    struct value continues, messages, final;
    struct scope *none;
    if (variables->type != IG_JSON_OBJECT)
        return chat__fail(r, "the variables must be a JSON object");
    if (r->tmpl->strict) return render_strict(r, variables);
    if (!chat__push_scope(r, NULL, &none) || !set_defaults(r) ||
        !set_variables(r, variables, &continues, &messages))
        return false;
    bool cut = chat__given(continues);
    if (cut && !messages.seq->count)
        return chat__fail(r, "'messages' is empty: nothing to continue");
    if (cut && !mark_final(r, messages, continues, &final)) return false;
    return chat__exec(r, &r->tmpl->body) && (!cut || cut_final(r, final));
}

bool ig_template_render(const struct ig_template *tmpl, const struct ig_json *variables,
                        int64_t now, struct ig_buf *out, struct ig_err *err)
{
    struct run r = {.tmpl = tmpl, .err = err, .now = now};
    r.arena.bytes_max = CHAT_ARENA_BYTES_MAX;
    r.out.len_max = CHAT_OUTPUT_BYTES_MAX;
    bool ok = render(&r, variables);
    if (ok) {
        ig_buf_append(out, r.out.data, r.out.len);
        ok = ig_buf_ok(out, err);
    } else if (r.placed) {
        char text[IG_ERR_TEXT_MAX];
        memcpy(text, err->text, sizeof text);
        chat__fail_at(tmpl, r.failed_at, err, "%s", text);
    } else {
        ig_err_within(err, tmpl->strict ? "template" : "chat template");
    }
    ig_buf_release(&r.out);
    ig_arena_release(&r.arena);
    return ok;
}
