/* SPDX-License-Identifier: Apache-2.0
 * union — one vocabulary for the output, its files, and which row of which model each token is.
 *
 * base: the base's tokens that have a row. MODEL: that model's. union: the base's, then what the
 * other models have and it has not, in the models' order and by id: plain tokens first, then added
 * ones with the settings of the first model that has them. Tokens that the recipe lists come last.
 * Ids of new tokens are tokenizers': after the largest. Files that need no change are carried as
 * they are. */
#include "merge/vocabulary/tokens.h"

#include "base/file.h"

#include <stdlib.h>

struct uniter {
    struct ig_merge *m;
    const struct recipe_tokenizer *asked;
    struct ig_arena arena;                      /* of the vocabularies */
    struct vocab models[MERGE_MODELS_MAX], own; /* own: of TOKENS_MODEL */
    int base;                                   /* of the models */
    struct vocab *from;                         /* what the output's starts from */
    const char *folder;                         /* and where its files are */
    bool stripped;
    /* the output's */
    struct ig_slice *tokens; /* by id; ptr NULL: no such */
    int64_t ids, room;
    struct ig_map by_token;
    struct ig_json *added; /* entries of added_tokens that are new or changed */
    uint32_t added_count, added_room;
    int64_t added_last, model_count; /* largest id of added tokens, size of the model's own */
};

/* ---- the output's tokens ---- */

static bool set_token(struct uniter *u, struct ig_slice token, int64_t id, struct ig_err *err)
{
    if (id >= u->room) {
        int64_t room = 2 * id + 1024;
        struct ig_slice *wider = ig_arena_array(&u->arena, (size_t)room, sizeof *wider);
        if (!wider) return ig_err_nomem(err);
        if (u->ids) memcpy(wider, u->tokens, (size_t)u->ids * sizeof *wider);
        u->tokens = wider;
        u->room = room;
    }
    u->tokens[id] = token;
    if (id >= u->ids) u->ids = id + 1;
    return ig_map_put(&u->by_token, token, id, err);
}

/* As tokenizers numbers a token that is added. */
static int64_t next_id(const struct uniter *u)
{
    if (u->added_last >= u->model_count) return u->added_last + 1;
    return u->model_count;
}

static struct ig_json flag(const char *key, bool truth)
{
    return (struct ig_json){.type = truth ? IG_JSON_TRUE : IG_JSON_FALSE, .key = ig_slice_of(key)};
}

/* like: the entry whose settings are taken, or NULL: a plain token. */
static bool add_token(struct uniter *u, struct ig_slice token, const struct ig_json *like,
                      struct ig_err *err)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    int64_t id = ig_map_get(&u->by_token, token, -1);
    if (id < 0) id = next_id(u);
    if (u->added_count == u->added_room) {
        uint32_t room = u->added_room ? 2 * u->added_room : 64;
        struct ig_json *wider = ig_arena_array(&u->arena, room, sizeof *wider);
        if (!wider) return ig_err_nomem(err);
        if (u->added_count) memcpy(wider, u->added, u->added_count * sizeof *wider);
        u->added = wider;
        u->added_room = room;
    }
    struct ig_json *items = ig_arena_array(&u->arena, 7, sizeof *items);
    struct ig_slice digits = merge__name(&u->arena, "%lld", (long long)id);
    if (!items || !digits.ptr) return ig_err_nomem(err);
    items[0] = (struct ig_json){.type = IG_JSON_NUMBER, .key = ig_slice_of("id"), .text = digits};
    items[1] =
        (struct ig_json){.type = IG_JSON_STRING, .key = ig_slice_of("content"), .text = token};
    for (int i = 0; i < 5; i++) {
        bool truth = i == 3; /* normalized */
        if (like) ig_json_bool(ig_json_get(like, flags[i]), &truth);
        items[2 + i] = flag(flags[i], truth);
    }
    u->added[u->added_count++] =
        (struct ig_json){.type = IG_JSON_OBJECT, .count = 7, .items = items};
    if (id > u->added_last) u->added_last = id;
    return set_token(u, token, id, err);
}

static bool take_source(struct uniter *u, struct ig_err *err)
{
    const struct vocab *v = u->from;
    bool strips = u->asked->source != TOKENS_MODEL;
    u->added_last = -1;
    for (int64_t i = 0; i < v->count; i++) {
        if (strips && v->ids[i] >= v->limit) {
            u->stripped = true;
            continue;
        }
        if (!set_token(u, v->tokens[i], v->ids[i], err)) return false;
        u->model_count += i < v->model_count;
        if (v->added[i] && v->ids[i] > u->added_last) u->added_last = v->ids[i];
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Plain tokens of a model that the output lacks, in the order of their ids. */
static bool add_plain(struct uniter *u, const struct vocab *v, struct ig_err *err)
{
    int64_t count = 0;
    int32_t(*list)[2] = ig_arena_array(&u->arena, (size_t)v->count + 1, sizeof *list);
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < v->count; i++) {
        if (v->added[i] || v->ids[i] >= v->limit) continue;
        if (ig_map_get(&u->by_token, v->tokens[i], -1) >= 0) continue;
        list[count][0] = v->ids[i];
        list[count++][1] = (int32_t)i;
    }
    if (count) qsort(list, (size_t)count, sizeof *list, by_id);
    for (int64_t i = 0; i < count; i++)
        if (!add_token(u, v->tokens[list[i][1]], NULL, err)) return false;
    return true;
}

/* Added tokens of a model, where no model before it has them as added ones. */
static bool add_special(struct uniter *u, const struct vocab *v, struct ig_map *seen,
                        struct ig_err *err)
{
    for (int64_t i = 0; i < v->count; i++) {
        if (!v->added[i] || v->ids[i] >= v->limit) continue;
        if (ig_map_get(seen, v->tokens[i], -1) >= 0) continue;
        if (!ig_map_put(seen, v->tokens[i], 1, err)) return false;
        if (v != u->from && !add_token(u, v->tokens[i], v->added[i], err)) return false;
    }
    return true;
}

/* The base first, then the others as the recipe lists them. */
static struct vocab *turn_of(struct uniter *u, int turn)
{
    if (turn == 0) return &u->models[u->base];
    return &u->models[turn <= u->base ? turn - 1 : turn];
}

static bool unite(struct uniter *u, struct ig_err *err)
{
    struct ig_map seen = {0};
    bool ok = true;
    for (int i = 1; ok && i < u->m->recipe->count; i++)
        ok = add_plain(u, turn_of(u, i), err);
    for (int i = 0; ok && i < u->m->recipe->count; i++)
        ok = add_special(u, turn_of(u, i), &seen, err);
    ig_map_release(&seen);
    return ok;
}

static bool add_listed(struct uniter *u, struct ig_err *err)
{
    for (uint32_t i = 0; i < u->asked->token_count; i++) {
        struct ig_slice token = u->asked->tokens[i].token;
        if (ig_map_get(&u->by_token, token, -1) < 0 && !add_token(u, token, NULL, err))
            return false;
    }
    return true;
}

/* ---- rows ---- */

static bool list_token(struct uniter *u, struct merge_alignment *a, const struct recipe_token *t,
                       struct ig_err *err)
{
    int64_t row = ig_map_get(&u->by_token, t->token, -1);
    struct token_row *out = a->listed + row;
    a->forced[row] = t->force;
    if (!t->sourced) return true;
    if (t->zero) {
        out->kind = TOKEN_ROW_ZERO;
        return true;
    }
    *out = (struct token_row){.kind = TOKEN_ROW_MODEL, .model = t->model, .row = (int32_t)t->id};
    if (!t->named.ptr) return true;
    out->row = merge__vocab_id(&u->models[t->model], t->named);
    if (out->row >= 0) return true;
    ig_yaml_fail(err, t->at, "token '" IG_SLICE_FMT "' is not in that model's vocabulary",
                 IG_SLICE_ARG(t->named));
    return ig_err_within(err, "%s", u->m->recipe->name);
}

static bool align(struct uniter *u, struct ig_err *err)
{
    struct ig_merge *m = u->m;
    struct merge_alignment *a = ig_arena_new(&m->arena, sizeof *a);
    if (!a) return ig_err_nomem(err);
    int64_t pad = u->asked->pad ? u->asked->pad : 1;
    *a = (struct merge_alignment){.inputs = m->inputs,
                                  .models = m->recipe->count,
                                  .base = m->recipe->base,
                                  .used = u->ids,
                                  .rows = (u->ids + pad - 1) / pad * pad};
    a->tokens = ig_arena_array(&m->arena, (size_t)a->used, sizeof *a->tokens);
    a->listed = ig_arena_array(&m->arena, (size_t)a->used, sizeof *a->listed);
    a->forced = ig_arena_array(&m->arena, (size_t)a->used, sizeof *a->forced);
    if (!a->tokens || !a->listed || !a->forced) return ig_err_nomem(err);
    for (int k = 0; k < a->models; k++) {
        a->own[k] = ig_arena_array(&m->arena, (size_t)a->used, sizeof *a->own[k]);
        if (!a->own[k]) return ig_err_nomem(err);
        /* a model without a tokenizer has the base's */
        const struct vocab *v = &u->models[u->models[k].file ? k : u->base];
        for (int64_t row = 0; row < a->used; row++)
            a->own[k][row] = u->tokens[row].ptr ? merge__vocab_id(v, u->tokens[row]) : -1;
    }
    for (int64_t row = 0; row < a->used; row++)
        a->tokens[row] = u->tokens[row].ptr ? u->tokens[row] : ig_slice_of("");
    for (uint32_t i = 0; i < u->asked->token_count; i++)
        if (!list_token(u, a, u->asked->tokens + i, err)) return false;
    m->vocab_rows = a->rows;
    return merge__align(m, a, err);
}

/* ---- the files ---- */

bool merge__keep_file(struct ig_merge *m, const char *name, struct ig_slice text,
                      struct ig_err *err)
{
    if (m->file_count == MERGE_FILES_MAX)
        return ig_err_set(err, IG_ERR_BUG, "more than %d files", MERGE_FILES_MAX);
    m->files[m->file_count++] = (struct merge_file){name, text};
    return true;
}

static bool keep_text(struct ig_merge *m, const char *name, struct ig_buf *text, struct ig_err *err)
{
    if (!ig_buf_ok(text, err)) return false;
    struct ig_slice copy = ig_arena_copy(&m->arena, ig_buf_view(text));
    return copy.ptr ? merge__keep_file(m, name, copy, err) : ig_err_nomem(err);
}

/* Whether a token of the source has a row. */
static bool has_row(const struct uniter *u, struct ig_slice token)
{
    return ig_map_get(&u->by_token, token, -1) >= 0;
}

static bool merge_has_rows(const struct uniter *u, const struct ig_json *pair)
{
    struct ig_slice text = ig_json_text(pair);
    if (pair->type == IG_JSON_ARRAY) {
        for (uint32_t i = 0; i < pair->count; i++)
            if (!has_row(u, ig_json_text(&pair->items[i]))) return false;
        return true;
    }
    const char *space = text.ptr ? memchr(text.ptr, ' ', text.len) : NULL;
    if (!space) return true;
    size_t left = (size_t)(space - text.ptr);
    return has_row(u, ig_slice_make(text.ptr, left)) &&
           has_row(u, ig_slice_make(space + 1, text.len - left - 1));
}

/* Takes what has no row out of vocab, merges and added_tokens. */
static bool strip(const struct uniter *u, struct ig_json *file, struct ig_err *err)
{
    struct ig_json *model = merge__config_find(file, "model");
    struct ig_json *vocab = merge__config_find(model, "vocab");
    struct ig_json *merges = merge__config_find(model, "merges");
    struct ig_json *added = merge__config_find(file, "added_tokens");
    uint32_t kept = 0;
    if (vocab->type != IG_JSON_OBJECT)
        return ig_err_set(
            err, IG_ERR_UNSUPPORTED,
            "tokenizer: tokens without a row can only be taken out of a BPE tokenizer");
    for (uint32_t i = 0; i < vocab->count; i++)
        if (has_row(u, vocab->items[i].key)) vocab->items[kept++] = vocab->items[i];
    vocab->count = kept;
    kept = 0;
    for (uint32_t i = 0; merges && merges->type == IG_JSON_ARRAY && i < merges->count; i++)
        if (merge_has_rows(u, &merges->items[i])) merges->items[kept++] = merges->items[i];
    if (merges && merges->type == IG_JSON_ARRAY) merges->count = kept;
    kept = 0;
    for (uint32_t i = 0; added && added->type == IG_JSON_ARRAY && i < added->count; i++)
        if (has_row(u, ig_json_text(ig_json_get(&added->items[i], "content"))))
            added->items[kept++] = added->items[i];
    if (added && added->type == IG_JSON_ARRAY) added->count = kept;
    return true;
}

static int by_json_id(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    ig_json_int(ig_json_get(a, "id"), &x);
    ig_json_int(ig_json_get(b, "id"), &y);
    return (x > y) - (x < y);
}

/* tokenizer.json with the new added_tokens, in the order of their ids. */
static bool extend(struct uniter *u, struct ig_json *file, struct ig_err *err)
{
    const struct ig_json *old = ig_json_get(file, "added_tokens");
    uint32_t before = old && old->type == IG_JSON_ARRAY ? old->count : 0;
    struct ig_json list = {.type = IG_JSON_ARRAY, .count = before + u->added_count};
    list.items = ig_arena_array(&u->arena, list.count, sizeof *list.items);
    if (!list.items) return ig_err_nomem(err);
    if (before) memcpy(list.items, old->items, before * sizeof *list.items);
    if (u->added_count) memcpy(list.items + before, u->added, u->added_count * sizeof *list.items);
    if (list.count) qsort(list.items, list.count, sizeof *list.items, by_json_id);
    return merge__config_set(file, "added_tokens", list, &u->arena, err);
}

static bool write_tokenizer(struct uniter *u, struct ig_err *err)
{
    struct ig_buf text = {0};
    if (!u->stripped && !u->added_count) return true;
    if (u->stripped && !strip(u, u->from->file, err)) return false;
    if (!extend(u, u->from->file, err)) return false;
    ig_json_write(&text, u->from->file, 2, false);
    bool ok = keep_text(u->m, "tokenizer.json", &text, err);
    ig_buf_release(&text);
    return ok;
}

/* added_tokens_decoder, which transformers reads too. */
static bool write_settings(struct uniter *u, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    struct ig_json *file = NULL, *decoder;
    if (!u->stripped && !u->added_count) return true;
    if (!ig_path_join(path, u->folder, "tokenizer_config.json", err)) return false;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, (size_t)64 << 20, &text, err);
    if (ok) file = ig_json_parse(ig_buf_view(&text), &u->arena, err);
    ig_buf_release(&text);
    if (!file) return ig_err_within(err, "%s", path);
    decoder = merge__config_find(file, "added_tokens_decoder");
    for (uint32_t i = 0; decoder && decoder->type == IG_JSON_OBJECT && i < u->added_count; i++) {
        struct ig_json entry = u->added[i];
        struct ig_slice id = ig_json_text(&entry.items[1]); /* content */
        id = merge__name(&u->arena, "%lld", (long long)ig_map_get(&u->by_token, id, 0));
        if (!id.ptr) return ig_err_nomem(err);
        entry.items++; /* without its id, which is the key */
        entry.count--;
        if (!merge__config_set(decoder, id.ptr, entry, &u->arena, err)) return false;
    }
    for (uint32_t i = 0; decoder && decoder->type == IG_JSON_OBJECT && i < decoder->count; i++) {
        struct ig_slice token = ig_json_text(ig_json_get(&decoder->items[i], "content"));
        if (!token.ptr || has_row(u, token)) continue;
        memmove(decoder->items + i, decoder->items + i + 1,
                (decoder->count - i - 1) * sizeof *decoder->items);
        decoder->count--;
        i--;
    }
    ig_json_write(&text, file, 2, false);
    ok = keep_text(u->m, "tokenizer_config.json", &text, err);
    ig_buf_release(&text);
    return ok;
}

/* ---- the whole ---- */

static bool open_vocabs(struct uniter *u, const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_merge *m = u->m;
    u->base = m->donor;
    for (int i = 0; i < m->recipe->count; i++) {
        const char *folder = ig_store_path(m->stores[i]);
        if (!merge__vocab_open(folder, m->inputs[i].config, &u->arena, &u->models[i], err))
            return false;
        if (u->models[i].file) continue;
        if (i == u->base)
            return ig_err_set(err, IG_ERR_DATA, "tokenizer: '%s' has no tokenizer.json", folder);
        ig_watch_warn(watch, "'%s' has no tokenizer.json: its tokens are taken to be those of '%s'",
                      folder, ig_store_path(m->stores[u->base]));
    }
    u->from = &u->models[u->base];
    u->folder = ig_store_path(m->stores[u->base]);
    return true;
}

static bool open_own(struct uniter *u, struct ig_buf *folder, struct ig_err *err)
{
    if (u->asked->source != TOKENS_MODEL) return true;
    if (!merge__find_folder(u->asked->model.folder, folder, err) ||
        !merge__vocab_open(folder->data, NULL, &u->arena, &u->own, err))
        return false;
    if (!u->own.file)
        return ig_err_set(err, IG_ERR_DATA, "tokenizer: '%s' has no tokenizer.json", folder->data);
    u->from = &u->own;
    struct ig_slice kept = ig_arena_copy(&u->m->arena, ig_buf_view(folder));
    if (!kept.ptr) return ig_err_nomem(err);
    u->folder = kept.ptr;
    u->m->tokenizer_folder = kept.ptr;
    return true;
}

bool merge__apply_tokenizer(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    struct uniter *u;
    struct ig_buf folder = {0};
    if (!m->recipe->tokenizer) return true;
    u = calloc(1, sizeof *u);
    if (!u) return ig_err_nomem(err);
    u->m = m;
    u->asked = m->recipe->tokenizer;
    bool ok = open_vocabs(u, watch, err) && open_own(u, &folder, err) && take_source(u, err) &&
              (u->asked->source != TOKENS_UNION || unite(u, err)) && add_listed(u, err) &&
              align(u, err) && write_tokenizer(u, err) && write_settings(u, err);
    for (int i = 0; i < m->recipe->count; i++)
        merge__vocab_release(&u->models[i]);
    merge__vocab_release(&u->own);
    ig_map_release(&u->by_token);
    ig_arena_release(&u->arena);
    ig_buf_release(&folder);
    free(u);
    return ok;
}
