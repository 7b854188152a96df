/* SPDX-License-Identifier: Apache-2.0
 * vocabulary — the tokenizer that a recipe asks for, and how a tokenizer.json's tokens are read.
 *
 *     tokenizer_source: union | base | MODEL
 *     tokenizer: {source: the same, tokens: {TOKEN: {source: S, force: bool}}, pad_to_multiple_of:
 * N} S = MODEL | {kind: model_token, model: MODEL, token: T | token_id: N} | {kind: zero} */
#include "merge/vocabulary/tokens.h"

#include "base/file.h"

#include <stdlib.h>

#define TOKENIZER_BYTES_MAX ((size_t)256 << 20)
#define ID_MAX              ((int64_t)1 << 24)

/* ---- the recipe ---- */

static bool fail_model(const struct ig_yaml *at, struct ig_err *err)
{
    return ig_yaml_fail(err, at, "this is none of the recipe's models");
}

/* A model that is merged. */
static bool read_model(struct ig_recipe *r, const struct ig_yaml *node, int *out,
                       struct ig_err *err)
{
    struct recipe_model model;
    if (!merge__parse_reference(&r->arena, node, &model, err)) return false;
    for (int i = 0; i < r->count; i++)
        if (ig_slice_equal(r->models[i].path, model.path)) {
            *out = i;
            return true;
        }
    return fail_model(node, err);
}

static bool read_model_token(struct ig_recipe *r, const struct ig_yaml *map,
                             struct recipe_token *out, struct ig_err *err)
{
    static const char *const keys[] = {"kind", "model", "token", "token_id", NULL};
    const struct ig_yaml *kind = ig_yaml_get(map, "kind"), *model = ig_yaml_get(map, "model");
    const struct ig_yaml *token = ig_yaml_get(map, "token"), *id = ig_yaml_get(map, "token_id");
    if (!merge__check_keys(map, keys, err)) return false;
    if (ig_slice_is(kind->text, "zero")) {
        out->zero = true;
        return true;
    }
    if (!ig_slice_is(kind->text, "model_token"))
        return ig_yaml_fail(err, kind, "kind is model_token or zero");
    if (!model) return ig_yaml_fail(err, map, "model_token needs 'model'");
    if (!token == !id) return ig_yaml_fail(err, map, "model_token needs one of token and token_id");
    if (id && (id->type != IG_YAML_INT || id->integer < 0 || id->integer >= ID_MAX))
        return ig_yaml_fail(err, id, "token_id is a number from 0");
    if (token && !merge__need_text(token, "token", err)) return false;
    if (id) out->id = id->integer;
    if (token) out->named = token->text;
    return read_model(r, model, &out->model, err);
}

static bool read_token(struct ig_recipe *r, const struct ig_yaml *key, const struct ig_yaml *map,
                       struct recipe_token *out, struct ig_err *err)
{
    static const char *const keys[] = {"source", "force", NULL};
    *out = (struct recipe_token){.token = key->text, .at = key, .id = -1};
    if (key->text.len == 0) return ig_yaml_fail(err, key, "an empty token");
    if (map->type == IG_YAML_NULL) return true;
    if (map->type != IG_YAML_MAP)
        return ig_yaml_fail(err, map, "a token is {source: ..., force: ...}");
    if (!merge__check_keys(map, keys, err)) return false;
    const struct ig_yaml *source = ig_yaml_get(map, "source"), *force = ig_yaml_get(map, "force");
    if (force && force->type != IG_YAML_BOOL)
        return ig_yaml_fail(err, force, "force is true or false");
    out->force = force && force->truth;
    out->sourced = source && source->type != IG_YAML_NULL;
    if (!out->sourced)
        return !out->force || ig_yaml_fail(err, map, "force needs a source for the token");
    if (source->type == IG_YAML_MAP && ig_yaml_get(source, "kind"))
        return read_model_token(r, source, out, err);
    return read_model(r, source, &out->model, err);
}

static bool read_source(struct ig_recipe *r, const struct ig_yaml *node, struct recipe_tokenizer *t,
                        struct ig_err *err)
{
    if (ig_slice_is(node->text, "union") || ig_slice_is(node->text, "base")) {
        t->source = ig_slice_is(node->text, "base") ? TOKENS_BASE : TOKENS_UNION;
        return true;
    }
    t->source = TOKENS_MODEL;
    return merge__parse_reference(&r->arena, node, &t->model, err);
}

static bool read_tokenizer(struct ig_recipe *r, const struct ig_yaml *map,
                           struct recipe_tokenizer *t, struct ig_err *err)
{
    static const char *const keys[] = {"source", "tokens", "pad_to_multiple_of", NULL};
    if (map->type != IG_YAML_MAP) return ig_yaml_fail(err, map, "tokenizer is {source: ...}");
    if (!merge__check_keys(map, keys, err)) return false;
    const struct ig_yaml *source = ig_yaml_get(map, "source"), *tokens = ig_yaml_get(map, "tokens");
    const struct ig_yaml *pad = ig_yaml_get(map, "pad_to_multiple_of");
    t->source = TOKENS_UNION;
    if (source && !read_source(r, source, t, err)) return false;
    if (pad && pad->type != IG_YAML_NULL) {
        if (pad->type != IG_YAML_INT || pad->integer < 1 || pad->integer > 1 << 20)
            return ig_yaml_fail(err, pad, "pad_to_multiple_of is a number from 1");
        t->pad = pad->integer;
    }
    if (!tokens || tokens->type == IG_YAML_NULL) return true;
    if (tokens->type != IG_YAML_MAP)
        return ig_yaml_fail(err, tokens, "tokens is {TOKEN: {source: ...}}");
    t->tokens = ig_arena_array(&r->arena, tokens->count, sizeof *t->tokens);
    if (!t->tokens) return ig_err_nomem(err);
    t->token_count = tokens->count;
    for (uint32_t i = 0; i < tokens->count; i++)
        if (!read_token(r, tokens->items[2 * i], tokens->items[2 * i + 1], t->tokens + i, err))
            return false;
    return true;
}

bool merge__read_tokenizer(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    const struct ig_yaml *source = ig_yaml_get(root, "tokenizer_source");
    const struct ig_yaml *map = ig_yaml_get(root, "tokenizer");
    if (source && source->type == IG_YAML_NULL) source = NULL;
    if (map && map->type == IG_YAML_NULL) map = NULL;
    if (!source && !map) return true;
    if (source && map)
        return ig_yaml_fail(err, source, "tokenizer and tokenizer_source exclude each other");
    struct recipe_tokenizer *t = ig_arena_new(&r->arena, sizeof *t);
    if (!t) return ig_err_nomem(err);
    t->at = source ? source : map;
    r->tokenizer = t;
    return source ? read_source(r, source, t, err) : read_tokenizer(r, map, t, err);
}

/* ---- tokenizer.json ---- */

static bool add_token(struct vocab *v, struct ig_slice token, int64_t id,
                      const struct ig_json *added, struct ig_err *err)
{
    if (id < 0 || id >= ID_MAX)
        return ig_err_set(err, IG_ERR_DATA, "token '" IG_SLICE_FMT "' has id %lld",
                          IG_SLICE_ARG(token), (long long)id);
    int64_t at = ig_map_get(&v->by_token, token, -1);
    if (at < 0) {
        at = v->count++;
        if (!ig_map_put(&v->by_token, token, at, err)) return false;
    }
    v->tokens[at] = token;
    v->ids[at] = (int32_t)id;
    v->added[at] = added;
    return true;
}

/* BPE's and WordPiece's {token: id}, or Unigram's [[token, score], ...]. */
static bool add_model(struct vocab *v, const struct ig_json *list, struct ig_err *err)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct ig_json *item = &list->items[i];
        struct ig_slice token = item->key;
        int64_t id = i;
        if (list->type == IG_JSON_ARRAY)
            token = item->type == IG_JSON_ARRAY && item->count ? ig_json_text(&item->items[0])
                                                               : (struct ig_slice){0};
        else if (!ig_json_int(item, &id))
            return ig_err_set(err, IG_ERR_DATA, "an id in model.vocab is no integer");
        if (!token.ptr) return ig_err_set(err, IG_ERR_DATA, "model.vocab has an item of no form");
        if (!add_token(v, token, id, NULL, err)) return false;
    }
    v->model_count = v->count;
    return true;
}

static bool add_added(struct vocab *v, const struct ig_json *list, struct ig_err *err)
{
    for (uint32_t i = 0; list && list->type == IG_JSON_ARRAY && i < list->count; i++) {
        int64_t id;
        struct ig_slice token = ig_json_text(ig_json_get(&list->items[i], "content"));
        if (!token.ptr || !ig_json_int(ig_json_get(&list->items[i], "id"), &id))
            return ig_err_set(err, IG_ERR_DATA, "added_tokens has an item without content or id");
        if (!add_token(v, token, id, &list->items[i], err)) return false;
    }
    return true;
}

static bool read_vocab(struct vocab *v, struct ig_arena *arena, struct ig_err *err)
{
    const struct ig_json *model = ig_json_get(ig_json_get(v->file, "model"), "vocab");
    const struct ig_json *added = ig_json_get(v->file, "added_tokens");
    if (!model || (model->type != IG_JSON_OBJECT && model->type != IG_JSON_ARRAY))
        return ig_err_set(err, IG_ERR_DATA, "it has no model.vocab");
    size_t room = model->count;
    if (added && added->type == IG_JSON_ARRAY) room += added->count;
    v->tokens = ig_arena_array(arena, room, sizeof *v->tokens);
    v->ids = ig_arena_array(arena, room, sizeof *v->ids);
    v->added = ig_arena_array(arena, room, sizeof *v->added);
    if (!v->tokens || !v->ids || !v->added) return ig_err_nomem(err);
    return add_model(v, model, err) && add_added(v, added, err);
}

bool merge__vocab_open(const char *folder, const struct ig_json *config, struct ig_arena *arena,
                       struct vocab *out, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    struct vocab v = {.limit = ID_MAX};
    if (!ig_path_join(path, folder, "tokenizer.json", err)) return false;
    *out = v;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, TOKENIZER_BYTES_MAX, &text, err);
    if (ok) v.file = ig_json_parse(ig_buf_view(&text), arena, err);
    ig_buf_release(&text);
    ok = ok && v.file && read_vocab(&v, arena, err);
    int64_t rows;
    if (ig_json_int(ig_json_get(merge__text_config(config), "vocab_size"), &rows)) v.limit = rows;
    *out = v;
    return ok || ig_err_within(err, "%s", path);
}

void merge__vocab_release(struct vocab *vocab)
{
    ig_map_release(&vocab->by_token);
}

int32_t merge__vocab_id(const struct vocab *vocab, struct ig_slice token)
{
    int64_t at = ig_map_get(&vocab->by_token, token, -1);
    return at < 0 || vocab->ids[at] >= vocab->limit ? -1 : vocab->ids[at];
}
