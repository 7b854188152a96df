/* SPDX-License-Identifier: Apache-2.0
 * reply_text — what a reply's text means, as it comes: up to the first stop string; then
 *
 *     <think> reasoning </think> content <tool_call> a call </tool_call> content ..
 *
 * Text that may become a stop string or a tag is held back until it is known. A call that cannot be
 * read is content, with its tags. */
#include "ingot/reply.h"

#include "ingot/json.h"

#include <stdlib.h>

enum { STAGE_START, STAGE_THOUGHT, STAGE_CONTENT, STAGE_CALL };

#define THINK          "<think>"
#define THINK_END      "</think>"
#define CALL           "<tool_call>"
#define CALL_END       "</tool_call>"
#define TEXT_CALLS_MAX 128 /* of one reply */

/* Length of the longest end of text that begins needle, and is not all of it. */
static size_t may_begin(struct ig_slice text, struct ig_slice needle)
{
    size_t n = needle.len - 1 < text.len ? needle.len - 1 : text.len;
    for (; n > 0; n--)
        if (memcmp(text.ptr + text.len - n, needle.ptr, n) == 0) return n;
    return 0;
}

static void drop_front(struct ig_buf *buf, size_t count)
{
    if (count == 0) return;
    memmove(buf->data, buf->data + count, buf->len - count);
    buf->len -= count;
    buf->data[buf->len] = '\0';
}

static bool is_space(char c)
{
    return c == '\n' || c == ' ' || c == '\r' || c == '\t';
}

static size_t leading_space(struct ig_slice text)
{
    size_t n = 0;
    while (n < text.len && is_space(text.ptr[n]))
        n++;
    return n;
}

static size_t trailing_space(struct ig_slice text)
{
    size_t n = 0;
    while (n < text.len && is_space(text.ptr[text.len - 1 - n]))
        n++;
    return n;
}

/* ---- calls ---- */

static void json_call(const struct ig_json *root, struct ig_tool_call *out)
{
    const struct ig_json *arguments = ig_json_get(root, "arguments");
    if (!arguments) arguments = ig_json_get(root, "parameters"); /* as Llama 3 calls them */
    ig_buf_slice(&out->name, ig_json_text(ig_json_get(root, "name")));
    if (!arguments || arguments->type == IG_JSON_NULL)
        ig_buf_text(&out->arguments, "{}");
    else if (arguments->type == IG_JSON_STRING)
        ig_buf_slice(&out->arguments, arguments->text);
    else
        ig_json_write(&out->arguments, arguments, 0, false);
}

/* The text between `open` and the next `close`; moves rest behind that. */
static bool between(struct ig_slice *rest, const char *open, const char *close,
                    struct ig_slice *out)
{
    const char *from = ig_slice_find(*rest, ig_slice_of(open));
    if (!from) return false;
    from += strlen(open);
    struct ig_slice tail = {from, (size_t)(rest->ptr + rest->len - from)};
    const char *to = ig_slice_find(tail, ig_slice_of(close));
    if (!to) return false;
    *out = ig_slice_make(from, (size_t)(to - from));
    *rest = ig_slice_make(to + strlen(close), (size_t)(tail.ptr + tail.len - to) - strlen(close));
    return true;
}

/* A value as JSON where it is some, else as a string. */
static void put_value(struct ig_json_writer *w, struct ig_slice value)
{
    struct ig_json_doc *doc = NULL;
    struct ig_err ignored;
    if (value.len > 0 && value.ptr[0] == '\n') value = ig_slice_make(value.ptr + 1, value.len - 1);
    if (ig_slice_ends(value, "\n")) value.len--;
    if (ig_json_doc_new(value, &doc, &ignored) && ig_json_doc_root(doc)->type != IG_JSON_STRING)
        ig_json_put_tree(w, ig_json_doc_root(doc));
    else
        ig_json_put_text(w, value);
    ig_json_doc_free(doc);
}

/* <function=NAME> <parameter=KEY> value </parameter> .. </function> */
static bool xml_call(struct ig_slice body, struct ig_tool_call *out)
{
    struct ig_slice name, key, value;
    struct ig_json_writer w = {.out = &out->arguments};
    if (!between(&body, "<function=", ">", &name)) return false;
    ig_buf_slice(&out->name, name);
    ig_json_open(&w, '{');
    while (between(&body, "<parameter=", ">", &key)) {
        char text[256] = "";
        struct ig_slice rest = body;
        const char *end = ig_slice_find(rest, ig_slice_of("</parameter>"));
        if (!end || key.len >= sizeof text) return false;
        memcpy(text, key.ptr, key.len);
        value = ig_slice_make(rest.ptr, (size_t)(end - rest.ptr));
        body = ig_slice_make(end, (size_t)(rest.ptr + rest.len - end));
        ig_json_key(&w, text);
        put_value(&w, value);
    }
    ig_json_close(&w, '}');
    return true;
}

bool ig_tool_call_read(struct ig_slice body, struct ig_tool_call *out)
{
    struct ig_json_doc *doc = NULL;
    struct ig_err err;
    *out = (struct ig_tool_call){0};
    bool ok = ig_json_doc_new(body, &doc, &err);
    if (ok)
        json_call(ig_json_doc_root(doc), out);
    else
        ok = xml_call(body, out);
    ig_json_doc_free(doc);
    if (ok && out->name.len > 0 && !out->name.failed && !out->arguments.failed) return true;
    ig_tool_call_release(out);
    return false;
}

void ig_tool_call_release(struct ig_tool_call *call)
{
    ig_buf_release(&call->name);
    ig_buf_release(&call->arguments);
    *call = (struct ig_tool_call){0};
}

static bool add_call(struct ig_reply_text *t, struct ig_slice body)
{
    struct ig_tool_call call;
    if (t->call_count == TEXT_CALLS_MAX || !ig_tool_call_read(body, &call)) return false;
    struct ig_tool_call *calls = realloc(t->calls, (t->call_count + 1) * sizeof *calls);
    if (!calls) {
        ig_tool_call_release(&call);
        return false;
    }
    t->calls = calls;
    t->calls[t->call_count++] = call;
    return true;
}

/* ---- stages: each takes what it can from mid, and says whether to go on ---- */

static bool at_start(struct ig_reply_text *t, bool last)
{
    struct ig_slice mid = ig_buf_view(&t->mid);
    size_t space = leading_space(mid);
    struct ig_slice rest = {mid.ptr + space, mid.len - space};
    if (ig_slice_starts(rest, THINK)) {
        drop_front(&t->mid, space + strlen(THINK));
        t->stage = STAGE_THOUGHT;
        t->skip_space = true;
        return true;
    }
    bool open =
        rest.len < strlen(THINK) && (rest.len == 0 || memcmp(rest.ptr, THINK, rest.len) == 0);
    if (open && !last) return false;
    t->stage = STAGE_CONTENT;
    return true;
}

/* Moves text to `to` up to the tag, or up to what may become it and the white space before it.
 * True: the tag was there, and is gone. */
static bool move_to_tag(struct ig_reply_text *t, const char *tag, struct ig_buf *to, bool last)
{
    struct ig_slice mid = ig_buf_view(&t->mid), before = mid;
    if (t->skip_space) {
        drop_front(&t->mid, leading_space(mid));
        mid = before = ig_buf_view(&t->mid);
        if (mid.len > 0) t->skip_space = false;
    }
    const char *found = tag ? ig_slice_find(mid, ig_slice_of(tag)) : NULL;
    if (found)
        before.len = (size_t)(found - mid.ptr);
    else if (tag && !last)
        before.len -= may_begin(mid, ig_slice_of(tag));
    if (tag && (found || !last)) before.len -= trailing_space(before);
    ig_buf_slice(to, before);
    size_t gone = found ? (size_t)(found - mid.ptr) + strlen(tag) : before.len;
    if (gone > 0) drop_front(&t->mid, gone);
    return found != NULL;
}

static bool in_call(struct ig_reply_text *t, bool last)
{
    struct ig_slice mid = ig_buf_view(&t->mid), body = mid;
    const char *end = ig_slice_find(mid, ig_slice_of(CALL_END));
    if (!end && !last) return false;
    if (end) body.len = (size_t)(end - mid.ptr);
    if (add_call(t, body)) {
        t->stopped = t->stopped || t->one_call;
    } else {
        ig_buf_text(&t->content, CALL);
        ig_buf_slice(&t->content, body);
        if (end) ig_buf_text(&t->content, CALL_END);
    }
    if (mid.len > 0) drop_front(&t->mid, body.len + (end ? strlen(CALL_END) : 0));
    t->stage = STAGE_CONTENT;
    t->skip_space = true;
    if (t->one_call && t->call_count > 0) ig_buf_clear(&t->mid); /* what comes after it */
    return true;
}

static void sort_out(struct ig_reply_text *t, bool last)
{
    for (bool more = true; more && (t->mid.len > 0 || last);) {
        switch (t->stage) {
        case STAGE_START: more = at_start(t, last); break;
        case STAGE_THOUGHT:
            more = move_to_tag(t, THINK_END, &t->reasoning, last);
            if (!more) break;
            t->stage = STAGE_CONTENT;
            t->skip_space = true;
            break;
        case STAGE_CONTENT:
            more = move_to_tag(t, t->tools ? CALL : NULL, &t->content, last);
            if (more) t->stage = STAGE_CALL;
            break;
        default: more = in_call(t, last); break;
        }
        if (last && t->mid.len == 0 && t->stage != STAGE_CALL) break;
    }
}

/* ---- stop strings ---- */

/* Where the first stop string begins, or how much is certainly before one. */
static size_t find_stop(struct ig_reply_text *t, bool last)
{
    struct ig_slice held = ig_buf_view(&t->held);
    size_t sure = held.len;
    for (size_t i = 0; i < t->stop_count; i++) {
        struct ig_slice within = {held.ptr, held.len};
        const char *found = ig_slice_find(within, t->stops[i]);
        size_t at = found ? (size_t)(found - held.ptr)
                          : held.len - (last ? 0 : may_begin(held, t->stops[i]));
        if (found && (!t->stopped || at < sure)) {
            t->stopped = true;
            sure = at;
        } else if (!t->stopped && at < sure) {
            sure = at;
        }
    }
    return sure;
}

void ig_reply_text_push(struct ig_reply_text *text, struct ig_slice fresh, bool last)
{
    struct ig_reply_text *t = text;
    if (t->stopped) return;
    if (t->stage == STAGE_START && t->thinks) {
        t->stage = STAGE_THOUGHT;
        t->skip_space = true;
    }
    ig_buf_slice(&t->held, fresh);
    size_t sure = find_stop(t, last);
    struct ig_buf *to = t->plain ? &t->content : &t->mid;
    if (sure > 0) ig_buf_append(to, t->held.data, sure);
    t->passed += sure;
    if (t->stopped)
        ig_buf_clear(&t->held);
    else if (sure > 0)
        drop_front(&t->held, sure);
    if (!t->plain) sort_out(t, last || t->stopped);
}

void ig_reply_text_clear(struct ig_reply_text *text)
{
    ig_buf_clear(&text->content);
    ig_buf_clear(&text->reasoning);
    for (size_t i = 0; i < text->call_count; i++)
        ig_tool_call_release(&text->calls[i]);
    text->call_count = 0;
}

void ig_reply_text_release(struct ig_reply_text *text)
{
    ig_reply_text_clear(text);
    ig_buf_release(&text->content);
    ig_buf_release(&text->reasoning);
    ig_buf_release(&text->held);
    ig_buf_release(&text->mid);
    free(text->calls);
    *text = (struct ig_reply_text){0};
}
