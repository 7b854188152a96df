/* SPDX-License-Identifier: Apache-2.0
 * request — the body of /v1/chat/completions and /v1/completions, checked.
 *
 * 400: it is no JSON, or a member has a wrong type or value. 422: it is understood, and this server
 * does not do it. Members that are unknown are left alone, as other servers leave them: clients
 * send many. */
#include "serve/serve_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A tree is made twice: as it came, and as the template wants it. Strings take as much as their
 * text, 32,000 token ids 1.5 MB; "[1,1,1" takes 24 times its text, and large ones are refused. */
#define TREE_BYTES(body) (((size_t)4 << 20) + (body)*8)

bool serve__refuse(struct serve_error *error, int status, const char *param, const char *format,
                   ...)
{
    va_list args;
    *error = (struct serve_error){.status = status, .param = param};
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

bool serve__refuse_err(struct serve_error *error, const struct ig_err *err)
{
    int status = err->code == IG_ERR_USAGE || err->code == IG_ERR_DATA ? 400
                 : err->code == IG_ERR_UNSUPPORTED                     ? 422
                 : err->code == IG_ERR_NOMEM                           ? 503
                                                                       : 500;
    return serve__refuse(error, status, NULL, "%s", err->text);
}

/* ---- numbers and flags ---- */

struct field {
    const char *name;
    double min, max;
    size_t offset; /* in struct serve_request: a double, an int64_t or a bool */
};
#define FIELD(member) offsetof(struct serve_request, member)

static const struct field reals[] = {
    {"temperature", 0, 100, FIELD(sampling.temperature)},
    {"top_p", 0, 1, FIELD(sampling.top_p)},
    {"min_p", 0, 1, FIELD(sampling.min_p)},
    {"presence_penalty", -100, 100, FIELD(sampling.presence_penalty)},
    {"frequency_penalty", -100, 100, FIELD(sampling.frequency_penalty)},
    {"repetition_penalty", 0.01, 100, FIELD(sampling.repetition_penalty)},
    {"xtc_probability", 0, 1, FIELD(sampling.xtc_probability)},
    {"xtc_threshold", 0, 0.5, FIELD(sampling.xtc_threshold)},
};
static const struct field integers[] = {
    {"top_k", 0, 1e9, FIELD(sampling.top_k)},
    {"max_tokens", 1, 1e9, FIELD(tokens_max)},
    {"max_completion_tokens", 1, 1e9, FIELD(tokens_max)},
    {"repetition_context_size", 0, 1e6, FIELD(sampling.repetition_window)},
};
static const struct field flags[] = {
    {"stream", 0, 0, FIELD(stream)},
    {"add_generation_prompt", 0, 0, FIELD(add_generation_prompt)},
    {"continue_final_message", 0, 0, FIELD(continue_final_message)},
    {"parallel_tool_calls", 0, 0, FIELD(many_calls)},
};

/* A member that is there and not null. */
static const struct ig_json *member(const struct ig_json *object, const char *name)
{
    const struct ig_json *node = ig_json_get(object, name);
    return node && node->type != IG_JSON_NULL ? node : NULL;
}

static bool read_reals(struct serve_request *r, struct serve_error *error)
{
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const struct field *f = &reals[i];
        const struct ig_json *node = member(r->root, f->name);
        double value;
        if (!node) continue;
        if (!ig_json_real(node, &value))
            return serve__refuse(error, 400, f->name, "'%s' must be a number", f->name);
        if (!(value >= f->min && value <= f->max))
            return serve__refuse(error, 400, f->name, "'%s' is %g; it must be from %g to %g",
                                 f->name, value, f->min, f->max);
        memcpy((char *)r + f->offset, &value, sizeof value);
    }
    return true;
}

static bool read_integers(struct serve_request *r, struct serve_error *error)
{
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        const struct field *f = &integers[i];
        const struct ig_json *node = member(r->root, f->name);
        int64_t value;
        if (!node) continue;
        if (!ig_json_int(node, &value))
            return serve__refuse(error, 400, f->name, "'%s' must be an integer", f->name);
        if (value < (int64_t)f->min || value > (int64_t)f->max)
            return serve__refuse(error, 400, f->name, "'%s' is %lld; it must be from %g to %g",
                                 f->name, (long long)value, f->min, f->max);
        memcpy((char *)r + f->offset, &value, sizeof value);
    }
    int64_t seed;
    const struct ig_json *node = member(r->root, "seed");
    if (node && !ig_json_int(node, &seed))
        return serve__refuse(error, 400, "seed", "'seed' must be an integer");
    if (node) r->sampling.seed = (uint64_t)seed;
    return true;
}

static bool read_flags(struct serve_request *r, struct serve_error *error)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const struct field *f = &flags[i];
        const struct ig_json *node = member(r->root, f->name);
        bool value;
        if (!node) continue;
        if (!ig_json_bool(node, &value))
            return serve__refuse(error, 400, f->name, "'%s' must be true or false", f->name);
        memcpy((char *)r + f->offset, &value, sizeof value);
    }
    const struct ig_json *options = member(r->root, "stream_options");
    const struct ig_json *usage = member(options, "include_usage");
    if ((options && options->type != IG_JSON_OBJECT) ||
        (usage && !ig_json_bool(usage, &r->include_usage)))
        return serve__refuse(error, 400, "stream_options",
                             "'stream_options' must be like {\"include_usage\": true}");
    return true;
}

/* ---- lists ---- */

static bool add_stop(struct serve_request *r, const struct ig_json *node, struct serve_error *error)
{
    if (node->type != IG_JSON_STRING)
        return serve__refuse(error, 400, "stop", "'stop' must be a string or a list of strings");
    if (node->text.len == 0 || node->text.len > SERVE_STOP_BYTES)
        return serve__refuse(error, 400, "stop", "a stop string has %zu bytes; 1 to %d may be",
                             node->text.len, SERVE_STOP_BYTES);
    if (r->stop_count == SERVE_STOPS_MAX)
        return serve__refuse(error, 400, "stop", "more than %d stop strings", SERVE_STOPS_MAX);
    r->stops[r->stop_count++] = node->text;
    return true;
}

static bool read_stops(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *node = member(r->root, "stop");
    if (!node) return true;
    if (node->type != IG_JSON_ARRAY) return add_stop(r, node, error);
    for (uint32_t i = 0; i < node->count; i++)
        if (!add_stop(r, &node->items[i], error)) return false;
    return true;
}

static bool read_biases(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *node = member(r->root, "logit_bias");
    if (!node) return true;
    if (node->type != IG_JSON_OBJECT || node->count > SERVE_BIASES_MAX)
        return serve__refuse(error, 400, "logit_bias",
                             "'logit_bias' must be an object of at most %d token ids",
                             SERVE_BIASES_MAX);
    struct ig_bias *biases = ig_arena_array(&r->arena, node->count, sizeof *biases);
    if (!biases) return serve__refuse(error, 503, NULL, "out of memory");
    for (uint32_t i = 0; i < node->count; i++) {
        const struct ig_json *item = &node->items[i];
        char name[16] = "", *end = name;
        double add;
        if (item->key.len > 0 && item->key.len < sizeof name)
            memcpy(name, item->key.ptr, item->key.len);
        long token = strtol(name, &end, 10);
        if (end == name || *end || token < 0 || token > INT32_MAX || !ig_json_real(item, &add) ||
            !(fabs(add) <= 1000))
            return serve__refuse(error, 400, "logit_bias",
                                 "'logit_bias' must be like {\"123\": -100}");
        biases[i] = (struct ig_bias){(int32_t)token, (float)add};
    }
    r->sampling.biases = biases;
    r->sampling.bias_count = node->count;
    return true;
}

static bool read_logprobs(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *node = member(r->root, "logprobs"),
                         *top = member(r->root, "top_logprobs");
    int64_t count = 0;
    bool wanted = false;
    const char *param = r->chat ? "top_logprobs" : "logprobs";
    if (r->chat && node && !ig_json_bool(node, &wanted))
        return serve__refuse(error, 400, "logprobs", "'logprobs' must be true or false");
    if (!r->chat) {
        wanted = node != NULL;
        top = node;
    }
    if (top && (!ig_json_int(top, &count) || count < 0 || count > SERVE_TOP_MAX))
        return serve__refuse(error, 400, param, "'%s' must be an integer from 0 to %d", param,
                             SERVE_TOP_MAX);
    if (top && count > 0 && !wanted)
        return serve__refuse(error, 400, param, "'top_logprobs' needs \"logprobs\": true");
    r->top_logprobs = wanted ? count : -1;
    return true;
}

/* ---- what is not done ---- */

static bool says_one(const struct ig_json *node)
{
    int64_t n;
    return !node || (ig_json_int(node, &n) && n == 1);
}

static bool check_unsupported(const struct serve_request *r, struct serve_error *error)
{
    static const char *const never[] = {
        "functions",   "function_call",     "audio", "suffix", "grammar",
        "guided_json", "web_search_options"};
    static const char *const one[] = {"n", "best_of"};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (!says_one(member(r->root, one[i])))
            return serve__refuse(error, 422, one[i], "'%s' can be 1 only: ask again for more",
                                 one[i]);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (member(r->root, never[i]))
            return serve__refuse(error, 422, never[i], "'%s' is not done here", never[i]);
    bool echo = false;
    if (ig_json_bool(member(r->root, "echo"), &echo) && echo)
        return serve__refuse(error, 422, "echo", "'echo' is not done here");
    const struct ig_json *format = member(r->root, "response_format");
    if (format && !ig_slice_is(ig_json_text(member(format, "type")), "text"))
        return serve__refuse(error, 422, "response_format",
                             "'response_format' can be {\"type\": \"text\"} only");
    const struct ig_json *modalities = member(r->root, "modalities");
    for (uint32_t i = 0; modalities && modalities->type == IG_JSON_ARRAY && i < modalities->count;
         i++)
        if (!ig_slice_is(ig_json_text(&modalities->items[i]), "text"))
            return serve__refuse(error, 422, "modalities", "replies are text only");
    return true;
}

/* ---- chat ---- */

static bool read_tools(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *tools = member(r->root, "tools");
    const struct ig_json *choice = member(r->root, "tool_choice");
    if (tools && tools->type != IG_JSON_ARRAY)
        return serve__refuse(error, 400, "tools", "'tools' must be a list");
    for (uint32_t i = 0; tools && i < tools->count; i++) {
        const struct ig_json *tool = &tools->items[i];
        if (!ig_slice_is(ig_json_text(ig_json_get(tool, "type")), "function") ||
            !ig_json_text(ig_json_get(ig_json_get(tool, "function"), "name")).ptr)
            return serve__refuse(error, 400, "tools",
                                 "'tools' must be like [{\"type\": \"function\", \"function\": "
                                 "{\"name\": .., \"parameters\": ..}}]");
    }
    struct ig_slice word = ig_json_text(choice);
    if (choice && !ig_slice_is(word, "auto") && !ig_slice_is(word, "none"))
        return serve__refuse(error, 422, "tool_choice",
                             "'tool_choice' can be \"auto\" or \"none\": a call cannot be forced");
    r->tools = tools && tools->count > 0 && !ig_slice_is(word, "none") ? tools : NULL;
    return true;
}

static bool check_content(const struct ig_json *content, struct serve_error *error)
{
    if (!content || content->type == IG_JSON_STRING) return true;
    if (content->type != IG_JSON_ARRAY)
        return serve__refuse(error, 400, "messages",
                             "a message's 'content' must be a string or a list of parts");
    for (uint32_t i = 0; i < content->count; i++) {
        const struct ig_json *part = &content->items[i];
        struct ig_slice type = ig_json_text(ig_json_get(part, "type"));
        if (!type.ptr)
            return serve__refuse(error, 400, "messages", "a part of 'content' has no 'type'");
        if (!ig_slice_is(type, "text"))
            return serve__refuse(error, 422, "messages",
                                 "a part of 'content' is '" IG_SLICE_FMT
                                 "'; text only is done here",
                                 IG_SLICE_ARG(type));
        if (!ig_json_text(ig_json_get(part, "text")).ptr)
            return serve__refuse(error, 400, "messages", "a part of 'content' has no 'text'");
    }
    return true;
}

static bool check_calls(const struct ig_json *calls, unsigned message, struct serve_error *error)
{
    if (calls && calls->type != IG_JSON_ARRAY)
        return serve__refuse(error, 400, "messages", "'tool_calls' must be a list");
    for (uint32_t i = 0; calls && i < calls->count; i++)
        if (!ig_json_text(ig_json_get(ig_json_get(&calls->items[i], "function"), "name")).ptr)
            return serve__refuse(error, 400, "messages",
                                 "message %u: 'tool_calls' must be like [{\"id\": .., \"type\": "
                                 "\"function\", \"function\": {\"name\": .., \"arguments\": ..}}]",
                                 message);
    return true;
}

/* Templates drop what they do not know, and say little of what they miss. */
static bool check_message(const struct ig_json *message, unsigned index, struct serve_error *error)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    struct ig_slice role = ig_json_text(ig_json_get(message, "role"));
    size_t known = 0;
    if (message->type != IG_JSON_OBJECT || !role.ptr)
        return serve__refuse(error, 400, "messages", "message %u must be an object with a 'role'",
                             index);
    while (known < sizeof roles / sizeof *roles && !ig_slice_is(role, roles[known]))
        known++;
    if (known == sizeof roles / sizeof *roles)
        return serve__refuse(error, 400, "messages",
                             "message %u: the role '%.*s' is none of system, developer, user, "
                             "assistant, tool",
                             index, (int)(role.len < 40 ? role.len : 40), role.ptr);
    const struct ig_json *content = member(message, "content");
    if (!content && !ig_slice_is(role, "assistant"))
        return serve__refuse(error, 400, "messages", "message %u has no 'content'", index);
    return check_content(content, error) &&
           check_calls(member(message, "tool_calls"), index, error);
}

static bool read_chat(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *messages = member(r->root, "messages");
    if (!messages || messages->type != IG_JSON_ARRAY || messages->count == 0)
        return serve__refuse(error, 400, "messages", "'messages' must be a list, and not empty");
    for (uint32_t i = 0; i < messages->count; i++)
        if (!check_message(&messages->items[i], (unsigned)i, error)) return false;
    r->messages = messages;
    r->kwargs = member(r->root, "chat_template_kwargs");
    if (r->kwargs && r->kwargs->type != IG_JSON_OBJECT)
        return serve__refuse(error, 400, "chat_template_kwargs",
                             "'chat_template_kwargs' must be an object");
    if (!member(r->root, "add_generation_prompt"))
        r->add_generation_prompt = !r->continue_final_message;
    return read_tools(r, error);
}

/* ---- plain completions ---- */

static bool is_ids(const struct ig_json *node)
{
    int64_t id;
    if (node->type != IG_JSON_ARRAY || node->count == 0) return false;
    for (uint32_t i = 0; i < node->count; i++)
        if (!ig_json_int(&node->items[i], &id) || id < 0 || id > INT32_MAX) return false;
    return true;
}

static bool read_completion(struct serve_request *r, struct serve_error *error)
{
    const struct ig_json *prompt = member(r->root, "prompt");
    if (prompt && prompt->type == IG_JSON_ARRAY && prompt->count > 0 && !is_ids(prompt)) {
        if (prompt->count > 1 && prompt->items[0].type != IG_JSON_NUMBER)
            return serve__refuse(error, 422, "prompt", "one prompt a request: ask again for more");
        prompt = &prompt->items[0];
    }
    if (!prompt || (prompt->type != IG_JSON_STRING && !is_ids(prompt)))
        return serve__refuse(error, 400, "prompt", "'prompt' must be a string or a list of ids");
    r->prompt = prompt;
    return true;
}

bool serve__request_read(struct ig_slice body, bool chat, const struct ig_serve_defaults *defaults,
                         struct serve_request *out, struct serve_error *error)
{
    struct ig_err err = {0};
    struct serve_request *r = out;
    *r = (struct serve_request){
        .arena = {.bytes_max = TREE_BYTES(body.len)},
        .chat = chat,
        .top_logprobs = -1,
        .many_calls = true,
        .sampling = {.temperature = defaults->temperature,
                     .top_p = defaults->top_p,
                     .min_p = defaults->min_p,
                     .top_k = defaults->top_k,
                     .repetition_penalty = 1,
                     .repetition_window = 20, /* as mlx-lm */
                     .xtc_threshold = 0.1},
    };
    r->root = ig_json_parse(body, &r->arena, &err);
    if (!r->root && err.code == IG_ERR_NOMEM)
        return serve__refuse(error, 413, NULL, "the body has too many values");
    if (!r->root) return serve__refuse(error, 400, NULL, "the body is no JSON: %s", err.text);
    if (r->root->type != IG_JSON_OBJECT)
        return serve__refuse(error, 400, NULL, "the body must be a JSON object");
    const struct ig_json *model = member(r->root, "model");
    if (model && model->type != IG_JSON_STRING)
        return serve__refuse(error, 400, "model", "'model' must be a string");
    r->model = ig_json_text(model);
    return read_reals(r, error) && read_integers(r, error) && read_flags(r, error) &&
           read_stops(r, error) && read_biases(r, error) && read_logprobs(r, error) &&
           check_unsupported(r, error) && (chat ? read_chat(r, error) : read_completion(r, error));
}

void serve__request_release(struct serve_request *request)
{
    ig_arena_release(&request->arena);
    *request = (struct serve_request){0};
}
