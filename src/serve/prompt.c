/* SPDX-License-Identifier: Apache-2.0
 * prompt — from a request to token ids: the variables of the chat template, rendered, tokenized.
 *
 * Templates are written for transformers, OpenAI's messages differ from its in three things:
 * content may be a list of parts, whose texts are joined; the arguments of a tool call are JSON in
 * a string, which becomes the object; and what was the system's role is the developer's now. Most
 * templates drop messages of roles that they do not know. */
#include "serve/serve_internal.h"

#include <stdlib.h>

static void put_content(struct ig_json_writer *w, const struct ig_json *content)
{
    if (content->type != IG_JSON_ARRAY) {
        ig_json_put_tree(w, content);
        return;
    }
    struct ig_buf joined = {0};
    for (uint32_t i = 0; i < content->count; i++)
        ig_buf_slice(&joined, ig_json_text(ig_json_get(&content->items[i], "text")));
    ig_json_put_text(w, ig_buf_view(&joined));
    if (joined.failed) w->out->failed = true;
    ig_buf_release(&joined);
}

static void put_key(struct ig_json_writer *w, struct ig_slice key)
{
    char name[256] = ""; /* keys of templates are short; of a longer one nothing is known */
    if (key.len < sizeof name && key.len > 0) memcpy(name, key.ptr, key.len);
    ig_json_key(w, name);
}

static void put_function(struct ig_json_writer *w, const struct ig_json *function,
                         struct ig_arena *arena)
{
    struct ig_err ignored;
    ig_json_open(w, '{');
    for (uint32_t i = 0; i < function->count; i++) {
        const struct ig_json *item = &function->items[i], *tree = NULL;
        put_key(w, item->key);
        if (ig_slice_is(item->key, "arguments") && item->type == IG_JSON_STRING)
            tree = ig_json_parse(item->text, arena, &ignored);
        ig_json_put_tree(w, tree && tree->type == IG_JSON_OBJECT ? tree : item);
    }
    ig_json_close(w, '}');
}

static void put_calls(struct ig_json_writer *w, const struct ig_json *calls, struct ig_arena *arena)
{
    ig_json_open(w, '[');
    for (uint32_t i = 0; i < calls->count; i++) {
        const struct ig_json *call = &calls->items[i];
        if (call->type != IG_JSON_OBJECT) {
            ig_json_put_tree(w, call);
            continue;
        }
        ig_json_open(w, '{');
        for (uint32_t j = 0; j < call->count; j++) {
            const struct ig_json *item = &call->items[j];
            put_key(w, item->key);
            if (ig_slice_is(item->key, "function") && item->type == IG_JSON_OBJECT)
                put_function(w, item, arena);
            else
                ig_json_put_tree(w, item);
        }
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

static void put_message(struct ig_json_writer *w, const struct ig_json *message,
                        const char *developer, struct ig_arena *arena)
{
    ig_json_open(w, '{');
    for (uint32_t i = 0; i < message->count; i++) {
        const struct ig_json *item = &message->items[i];
        put_key(w, item->key);
        if (ig_slice_is(item->key, "role") && ig_slice_is(item->text, "developer"))
            ig_json_put_text(w, ig_slice_of(developer));
        else if (ig_slice_is(item->key, "content"))
            put_content(w, item);
        else if (ig_slice_is(item->key, "tool_calls") && item->type == IG_JSON_ARRAY)
            put_calls(w, item, arena);
        else
            ig_json_put_tree(w, item);
    }
    ig_json_close(w, '}');
}

bool serve__request_variables(const struct serve_request *request, bool thinking,
                              const char *developer, const struct ig_json **out,
                              struct serve_error *error)
{
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    struct ig_err err = {0};
    struct ig_arena *arena = (struct ig_arena *)(uintptr_t)&request->arena;
    ig_json_open(&w, '{');
    ig_json_key(&w, "messages");
    ig_json_open(&w, '[');
    for (uint32_t i = 0; i < request->messages->count; i++)
        put_message(&w, &request->messages->items[i], developer, arena);
    ig_json_close(&w, ']');
    if (request->tools) {
        ig_json_key(&w, "tools");
        ig_json_put_tree(&w, request->tools);
    }
    ig_json_key(&w, "add_generation_prompt");
    ig_json_put_bool(&w, request->add_generation_prompt);
    ig_json_key(&w, "continue_final_message");
    ig_json_put_bool(&w, request->continue_final_message);
    ig_json_key(&w, "enable_thinking");
    ig_json_put_bool(&w, thinking);
    for (uint32_t i = 0; request->kwargs && i < request->kwargs->count; i++) {
        put_key(&w, request->kwargs->items[i].key); /* the last of two of a name counts */
        ig_json_put_tree(&w, &request->kwargs->items[i]);
    }
    ig_json_close(&w, '}');
    bool ok = ig_buf_ok(&text, &err);
    if (ok) {
        *out = ig_json_parse(ig_buf_view(&text), arena, &err);
        ok = *out != NULL;
    }
    ig_buf_release(&text);
    return ok || serve__refuse_err(error, &err);
}

static bool reserve_ids(struct ig_ids *ids, size_t count)
{
    int32_t *items = realloc(ids->items, count * sizeof *items);
    if (!items) return false;
    ids->items = items;
    ids->cap = count;
    return true;
}

static bool plain_prompt(const struct ig_server *server, const struct ig_json *prompt,
                         struct ig_ids *ids, struct serve_error *error)
{
    struct ig_err err = {0};
    if (prompt->type == IG_JSON_STRING)
        return ig_tokenizer_encode(server->tokenizer, prompt->text, true, ids, &err) ||
               serve__refuse_err(error, &err);
    if (!reserve_ids(ids, prompt->count)) return serve__refuse(error, 503, NULL, "out of memory");
    int64_t id, vocab = ig_model_shape(server->model)->vocab;
    for (uint32_t i = 0; i < prompt->count; i++) {
        if (!ig_json_int(&prompt->items[i], &id) || id >= vocab)
            return serve__refuse(error, 400, "prompt", "a token id is beyond the vocabulary");
        ids->items[ids->count++] = (int32_t)id;
    }
    return true;
}

static bool ends_in_thought(struct ig_slice text)
{
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
        text.len--;
    return ig_slice_ends(text, "<think>");
}

bool serve__request_prompt(const struct ig_server *server, const struct serve_request *request,
                           struct ig_ids *ids, bool *thinks, struct serve_error *error)
{
    if (!request->chat) return plain_prompt(server, request->prompt, ids, error);
    struct ig_err err = {0};
    struct ig_buf text = {0};
    const struct ig_json *variables = NULL;
    const struct ig_template *tmpl = request->tools ? server->tmpl_tools : server->tmpl;
    if (!tmpl)
        return serve__refuse(error, 422, NULL,
                             "the model has no chat template; /v1/completions takes plain text");
    bool knows = ig_slice_find(ig_template_source(tmpl), ig_slice_of("developer")) != NULL;
    if (!serve__request_variables(request, server->options.defaults.thinking,
                                  knows ? "developer" : "system", &variables, error))
        return false;
    bool ok = ig_template_render(tmpl, variables, -1, &text, &err) && ig_buf_ok(&text, &err) &&
              ig_tokenizer_encode(server->tokenizer, ig_buf_view(&text), false, ids, &err);
    if (ok) *thinks = ends_in_thought(ig_buf_view(&text));
    ig_buf_release(&text);
    return ok || serve__refuse_err(error, &err);
}
