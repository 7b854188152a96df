/* SPDX-License-Identifier: Apache-2.0
 * origins — what a run is made of, one line a file, so that a run that goes on can say what
 * changed.
 *
 *     PATH <tab> bytes N, changed S.NNNNNNNNN, header DIGEST       weights
 *     PATH <tab> content DIGEST | absent                           small files that decide
 * something
 *
 * What is behind the tab decides: a folder may be called by another path. Weights are not read for
 * this: who writes into one, keeps its size and sets its modification time back, is not noticed. */
#include "store_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define SMALL_BYTES_MAX ((size_t)1 << 30) /* as the largest tokenizer.json that is read */

/* What decides an output beside the weights. Other files are carried over as they are at the end.
 */
static const char *const small[] = {STORE_CONFIG_NAME,
                                    "generation_config.json",
                                    "adapter_config.json",
                                    STORE_INDEX_NAME,
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "vocab.json",
                                    "merges.txt",
                                    "tokenizer.model",
                                    "chat_template.jinja",
                                    "chat_template.json"};

bool ig_folder_put_origins(const char *dir, struct ig_buf *out, struct ig_err *err)
{
    char path[IG_PATH_MAX], hex[IG_DIGEST_HEX];
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        struct ig_buf text = {0};
        if (!ig_path_join(path, dir, small[i], err)) return false;
        bool there = ig_path_exists(path);
        if (there && !ig_file_read(path, SMALL_BYTES_MAX, &text, err)) return false;
        ig_digest_hex(ig_digest_of(text.data, text.len), hex);
        ig_buf_release(&text);
        ig_buf_printf(out, "%s\t%s%s\n", path, there ? "content " : "absent", there ? hex : "");
    }
    return ig_buf_ok(out, err);
}

bool ig_store_put_origins(const struct ig_store *store, struct ig_buf *out, struct ig_err *err)
{
    for (int i = 0; i < ig_store_file_count(store); i++) {
        struct store_mark mark;
        char path[IG_PATH_MAX], hex[IG_DIGEST_HEX];
        const char *dir = store__file_mark(store, i, &mark);
        if (!ig_path_join(path, dir, ig_store_file(store, i), err)) return false;
        ig_digest_hex(mark.header, hex);
        ig_buf_printf(out, "%s\tbytes %" PRIu64 ", changed %lld.%09ld, header %s\n", path,
                      mark.bytes, (long long)mark.changed.tv_sec, mark.changed.tv_nsec, hex);
    }
    struct store_mark ignored;
    return ig_folder_put_origins(store__file_mark(store, 0, &ignored), out, err);
}

/* ---- which differs ---- */

static struct ig_slice next_line(struct ig_slice *text)
{
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    struct ig_slice line = ig_slice_make(text->ptr, len);
    *text = ig_slice_make(text->ptr + len + (end != NULL), text->len - len - (end != NULL));
    return line;
}

static struct ig_slice split(struct ig_slice line, struct ig_slice *label)
{
    const char *tab = line.len ? memchr(line.ptr, '\t', line.len) : NULL;
    *label = ig_slice_make(line.ptr, tab ? (size_t)(tab - line.ptr) : 0);
    return tab ? ig_slice_make(tab + 1, line.len - label->len - 1) : line;
}

void store__origins_feed(struct ig_digest_state *state, struct ig_slice origins)
{
    while (origins.len) {
        struct ig_slice label, value = split(next_line(&origins), &label);
        ig_digest_feed(state, value.ptr, value.len);
        ig_digest_feed(state, "\n", 1);
    }
}

bool store__origins_differ(struct ig_slice before, struct ig_slice now, struct ig_slice *label)
{
    while (before.len && now.len) {
        struct ig_slice old_label, old = split(next_line(&before), &old_label);
        struct ig_slice value = split(next_line(&now), label);
        if (!ig_slice_equal(old, value)) return label->len > 0;
    }
    return false;
}
