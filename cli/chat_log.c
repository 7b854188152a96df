/* SPDX-License-Identifier: Apache-2.0 */
#include "chat_log.h"

#include "talk.h"

#include <errno.h>
#include <unistd.h>

#define LOG_BYTES_MAX ((size_t)64 << 20)

/* Appends the messages of a list, without those of the system where `keep` is false. */
static bool copy_messages(struct ig_buf *to, const struct ig_json *list, bool keep,
                          struct ig_err *err)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct ig_json *message = &list->items[i];
        struct ig_slice role = ig_json_text(ig_json_get(message, "role"));
        if (!role.ptr || !ig_json_get(message, "content"))
            return ig_err_set(err, IG_ERR_DATA, "message %u has no \"role\" or no \"content\"",
                              (unsigned)i);
        if (!keep && ig_slice_is(role, "system")) continue;
        ig_buf_text(to, to->len ? "," : "[");
        ig_json_write(to, message, 0, false);
    }
    return ig_buf_ok(to, err);
}

static void swap(struct ig_buf *a, struct ig_buf *b)
{
    struct ig_buf kept = *a;
    *a = *b;
    *b = kept;
}

/* The messages with their end, or [] where there are none. */
static void close_list(const struct ig_buf *messages, struct ig_buf *out)
{
    ig_buf_slice(out, messages->len ? ig_buf_view(messages) : ig_slice_of("["));
    ig_buf_char(out, ']');
}

bool chat_log_set_system(struct ig_buf *messages, struct ig_slice text, struct ig_err *err)
{
    struct ig_buf all = {0}, fresh = {0};
    struct ig_json_doc *doc = NULL;
    close_list(messages, &all);
    if (text.len > 0) talk_message(&fresh, "system", text);
    bool ok = ig_buf_ok(&all, err) && ig_json_doc_new(ig_buf_view(&all), &doc, err) &&
              copy_messages(&fresh, ig_json_doc_root(doc), false, err);
    if (ok) swap(messages, &fresh);
    ig_json_doc_free(doc);
    ig_buf_release(&all);
    ig_buf_release(&fresh);
    return ok;
}

static bool read_file(const char *path, struct ig_buf *out, struct ig_err *err)
{
    char chunk[4096];
    FILE *file = fopen(path, "r");
    if (!file) return ig_err_errno(err, errno, "cannot open '%s'", path);
    out->len_max = LOG_BYTES_MAX;
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0 && !out->failed;)
        ig_buf_append(out, chunk, n);
    bool ok =
        ferror(file) ? ig_err_errno(err, errno, "cannot read '%s'", path) : ig_buf_ok(out, err);
    fclose(file);
    return ok;
}

bool chat_log_load(struct ig_buf *messages, const char *path, struct ig_err *err)
{
    struct ig_buf text = {0}, fresh = {0};
    struct ig_json_doc *doc = NULL;
    const struct ig_json *list = NULL;
    bool ok = read_file(path, &text, err) && ig_json_doc_new(ig_buf_view(&text), &doc, err);
    if (ok) {
        list = ig_json_doc_root(doc);
        if (list->type == IG_JSON_OBJECT) list = ig_json_get(list, "messages");
        ok = list && list->type == IG_JSON_ARRAY
                 ? copy_messages(&fresh, list, true, err)
                 : ig_err_set(err, IG_ERR_DATA, "no list of messages");
        if (!ok) ig_err_within(err, "'%s'", path);
    }
    if (ok) swap(messages, &fresh);
    ig_json_doc_free(doc);
    ig_buf_release(&text);
    ig_buf_release(&fresh);
    return ok;
}

static bool write_file(const char *path, const char *partial, const struct ig_buf *text,
                       struct ig_err *err)
{
    FILE *file = fopen(partial, "w");
    if (!file) return ig_err_errno(err, errno, "cannot write '%s'", partial);
    bool ok = fwrite(text->data, 1, text->len, file) == text->len;
    ok = fclose(file) == 0 && ok && rename(partial, path) == 0;
    if (ok) return true;
    ig_err_errno(err, errno, "cannot write '%s'", path);
    unlink(partial);
    return false;
}

bool chat_log_save(const struct ig_buf *messages, const char *path, struct ig_err *err)
{
    struct ig_buf all = {0}, text = {0}, partial = {0};
    struct ig_json_doc *doc = NULL;
    close_list(messages, &all);
    bool ok = ig_buf_ok(&all, err) && ig_json_doc_new(ig_buf_view(&all), &doc, err);
    if (ok) {
        ig_json_write(&text, ig_json_doc_root(doc), 2, false);
        ig_buf_char(&text, '\n');
        ig_buf_printf(&partial, "%s.partial", path);
        ok = ig_buf_ok(&text, err) && ig_buf_ok(&partial, err) &&
             write_file(path, partial.data, &text, err);
    }
    ig_json_doc_free(doc);
    ig_buf_release(&all);
    ig_buf_release(&text);
    ig_buf_release(&partial);
    return ok;
}
