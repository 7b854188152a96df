/* SPDX-License-Identifier: Apache-2.0
 * tokenizer — opening a tokenizer and asking about its tokens. */
#include "base/file.h"
#include "ingot/json.h"
#include "token/token_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKENIZER_BYTES_MAX ((size_t)256 << 20) /* the largest known, Gemma-3's, has 33 MB */
#define WARNINGS_MAX        20
#define WARNING_BYTES_MAX   400

bool token__warn(struct ig_tokenizer *t, struct ig_err *err, const char *format, ...)
{
    char text[WARNING_BYTES_MAX];
    va_list args;
    if (t->warning_count == WARNINGS_MAX) return true;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (t->warning_count == WARNINGS_MAX - 1)
        snprintf(text, sizeof text, "more warnings are not shown");
    struct ig_slice kept = ig_arena_copy(&t->arena, ig_slice_of(text));
    if (!t->warnings) t->warnings = ig_arena_array(&t->arena, WARNINGS_MAX, sizeof(*t->warnings));
    if (!kept.ptr || !t->warnings) return ig_err_nomem(err);
    t->warnings[t->warning_count++] = kept.ptr;
    return true;
}

static bool build_matchers(struct ig_tokenizer *t, struct ig_err *err)
{
    for (int32_t i = 0; i < t->added_count; i++) {
        const struct token__added *added = &t->added[i];
        bool normalized = added->flags & ADDED_NORMALIZED;
        if (!token__matcher_add(normalized ? &t->normalized : &t->raw, added->pattern, i, err))
            return false;
    }
    return true;
}

static bool load(struct ig_tokenizer *t, struct ig_slice text, struct ig_err *err)
{
    struct ig_arena arena = {0};
    bool ok = false;
    const struct ig_json *root = ig_json_parse(text, &arena, err);
    if (!root) goto done;
    struct ig_slice version = ig_json_text(ig_json_get(root, "version"));
    if (!ig_slice_is(version, "1.0")) {
        ig_err_set(err, IG_ERR_DATA, "version: '" IG_SLICE_FMT "' instead of '1.0'",
                   IG_SLICE_ARG(version));
        goto done;
    }
    ok = token__load_normalizer(t, ig_json_get(root, "normalizer"), err) &&
         token__load_pre_tokenizer(t, ig_json_get(root, "pre_tokenizer"), err) &&
         token__load_post_processor(t, ig_json_get(root, "post_processor"), err) &&
         token__load_decoder(t, ig_json_get(root, "decoder"), err) &&
         token__load_model(t, ig_json_get(root, "model"), err) &&
         token__load_added(t, ig_json_get(root, "added_tokens"), err);
done:
    ig_arena_release(&arena);
    return ok;
}

static bool load_config_file(struct ig_tokenizer *t, const char *path, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_arena arena = {0};
    bool ok = false;
    if (!ig_file_read(path, TOKENIZER_BYTES_MAX, &text, err)) goto done;
    const struct ig_json *root = ig_json_parse(ig_buf_view(&text), &arena, err);
    ok = root && token__load_config(t, root, err);
    if (!ok) ig_err_within(err, "cannot read '%s'", path);
done:
    ig_arena_release(&arena);
    ig_buf_release(&text);
    return ok;
}

/* Parses the JSON; then config_path, when it is not NULL. */
static bool open_both(struct ig_slice json, const char *name, const char *config_path,
                      struct ig_tokenizer **out, struct ig_err *err)
{
    struct ig_tokenizer *t = calloc(1, sizeof(*t));
    if (!t) return ig_err_nomem(err);
    if (!load(t, json, err)) {
        ig_err_within(err, "cannot read tokenizer '%s'", name);
        goto failed;
    }
    if (config_path && !load_config_file(t, config_path, err)) goto failed;
    if (!build_matchers(t, err) || !token__decoder_apply(t, err)) goto failed;
    *out = t;
    return true;
failed:
    ig_tokenizer_close(t);
    return false;
}

bool ig_tokenizer_parse(struct ig_slice json, const char *name, struct ig_tokenizer **out,
                        struct ig_err *err)
{
    return open_both(json, name, NULL, out, err);
}

bool ig_tokenizer_open(const char *path, struct ig_tokenizer **out, struct ig_err *err)
{
    char file[IG_PATH_MAX], config[IG_PATH_MAX];
    bool folder = ig_path_is_dir(path);
    struct ig_buf text = {0};
    if (!ig_path_join(file, folder ? path : NULL, folder ? "tokenizer.json" : path, err))
        return false;
    if (!ig_path_join(config, path, "tokenizer_config.json", err)) return false;
    bool ok = ig_file_read(file, TOKENIZER_BYTES_MAX, &text, err) &&
              open_both(ig_buf_view(&text), file, folder && ig_path_exists(config) ? config : NULL,
                        out, err);
    ig_buf_release(&text);
    return ok;
}

void ig_tokenizer_close(struct ig_tokenizer *t)
{
    if (!t) return;
    token__vocab_release(&t->vocab);
    token__merges_release(&t->merges);
    token__matcher_release(&t->raw);
    token__matcher_release(&t->normalized);
    ig_map_release(&t->odd_ids);
    ig_map_release(&t->added_index);
    ig_arena_release(&t->arena);
    free(t);
}

void ig_ids_release(struct ig_ids *ids)
{
    free(ids->items);
    *ids = (struct ig_ids){0};
}

int32_t ig_tokenizer_size(const struct ig_tokenizer *t)
{
    return t->size;
}

const char *ig_tokenizer_warning(const struct ig_tokenizer *t, int index)
{
    return index >= 0 && index < t->warning_count ? t->warnings[index] : NULL;
}

int32_t token__content_id(const struct ig_tokenizer *t, struct ig_slice content)
{
    int64_t index = ig_map_get(&t->added_index, content, -1);
    if (index >= 0) return t->added[index].id;
    struct ig_buf bytes = {0};
    struct ig_slice text = content;
    bool plain = true;
    if (t->byte_level) {
        ig_buf_slice(&bytes, content); /* room: bytes are never more than the text */
        plain =
            !bytes.failed && bytes.data && token__alphabet_bytes(content, bytes.data, &text.len);
        text.ptr = bytes.data;
    }
    int32_t id = plain ? token__vocab_id(&t->vocab, text, text.ptr + text.len)
                       : (int32_t)ig_map_get(&t->odd_ids, content, -1);
    ig_buf_release(&bytes);
    return id;
}

int32_t ig_tokenizer_id(const struct ig_tokenizer *t, struct ig_slice content)
{
    return token__content_id(t, content);
}

struct ig_slice ig_tokenizer_token(const struct ig_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->size ? t->contents[id] : (struct ig_slice){NULL, 0};
}

bool ig_tokenizer_is_special(const struct ig_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->size && t->special[id];
}

struct ig_slice ig_tokenizer_named(const struct ig_tokenizer *t, const char *which)
{
    for (int i = 0; i < TOKEN_NAMED_COUNT; i++)
        if (strcmp(which, token__names[i]) == 0) return t->named[i];
    return (struct ig_slice){NULL, 0};
}
