/* SPDX-License-Identifier: Apache-2.0
 * token_encode — from text to ids. Each stage hands its segments to the next one; no stage sees
 * past the segment that it was given. */
#include "text/utf8.h"
#include "token/token_internal.h"

#define WORDS_WAITING_MAX 16

struct encoder {
    const struct ig_tokenizer *t;
    struct ig_ids *ids;
    struct token__heap heap;
    struct token__norm_room norm;
    struct ig_buf prefixed;
    const char *readable_end;  /* of the memory that the segment lies in */
    const char *text, *normal; /* where the whole text, and this segment of it, begin */
    struct ig_slice words[WORDS_WAITING_MAX];
    int waiting;
    struct ig_err *err;
};

/* Words wait here a moment, so that looking them up, which misses the caches, overlaps with
 * splitting the text behind them. */
static bool flush_words(struct encoder *e)
{
    for (int i = 0; i < e->waiting; i++)
        if (!token__word_ids(e->t, &e->heap, e->words[i], e->readable_end, e->ids, e->err))
            return false;
    e->waiting = 0;
    return true;
}

static bool put_word(struct encoder *e, const char *p, const char *end)
{
    struct ig_slice word = ig_slice_make(p, (size_t)(end - p));
    token__vocab_prefetch(&e->t->vocab, word, e->readable_end);
    e->words[e->waiting++] = word;
    return e->waiting < WORDS_WAITING_MAX || flush_words(e);
}

/* A piece is one word; or several, where no merge can join what is before and after a place. */
static bool put_piece(struct encoder *e, const char *p, const char *end)
{
    const struct token__joins *joins = &e->t->joins;
    if (!joins->slots) return put_word(e, p, end);
    int length;
    const char *word = p;
    uint32_t before = ig_utf8_next(p, end, &length), code;
    for (p += length; p < end; p += length, before = code) {
        code = ig_utf8_next(p, end, &length);
        if (token__joins_has(joins, before, code)) continue;
        if (!put_word(e, word, p)) return false;
        word = p;
    }
    return put_word(e, word, end);
}

/* Splits by all steps in turn, depth first: level n cuts the piece that level n - 1 gave. */
static bool encode_pieces(struct encoder *e, struct ig_slice text)
{
    struct {
        const char *start, *p, *end;
    } level[TOKEN_STEPS_MAX];
    int last = e->t->step_count - 1, depth = 0;
    if (last < 0) return put_piece(e, text.ptr, text.ptr + text.len) && flush_words(e);
    level[0].start = level[0].p = text.ptr;
    level[0].end = text.ptr + text.len;
    while (depth >= 0) {
        const char *p = level[depth].p, *end = level[depth].end, *stop;
        if (p == end) {
            depth--;
            continue;
        }
        const struct token__step *step = &e->t->steps[depth];
        if (step->next) {
            stop = step->next(step, p, end);
        } else {
            struct ig_slice piece;
            if (!token__split_next(step, level[depth].start, p, end, &piece, e->err)) return false;
            p = piece.ptr;
            stop = piece.ptr + piece.len;
        }
        level[depth].p = stop;
        if (p == stop) continue; /* what was left is dropped */
        if (depth == last) {
            if (!put_piece(e, p, stop)) return false;
        } else {
            depth++;
            level[depth].start = level[depth].p = p;
            level[depth].end = stop;
        }
    }
    return flush_words(e);
}

/* Metaspace: its sign in place of each space, and before the segment. */
static void put_metaspace(struct encoder *e, struct ig_slice text)
{
    const struct ig_tokenizer *t = e->t;
    struct ig_slice sign = t->metaspace;
    bool first = e->normal != NULL && text.ptr == e->normal;
    bool starts =
        text.ptr[0] == ' ' || (text.len >= sign.len && memcmp(text.ptr, sign.ptr, sign.len) == 0);
    if (!starts && (t->metaspace_prepend == PREPEND_ALWAYS ||
                    (t->metaspace_prepend == PREPEND_FIRST && first)))
        ig_buf_slice(&e->prefixed, sign);
    const char *p = text.ptr, *end = p + text.len, *space;
    for (; (space = memchr(p, ' ', (size_t)(end - p))) != NULL; p = space + 1) {
        ig_buf_append(&e->prefixed, p, (size_t)(space - p));
        ig_buf_slice(&e->prefixed, sign);
    }
    ig_buf_append(&e->prefixed, p, (size_t)(end - p));
}

static bool encode_segment(struct encoder *e, struct ig_slice text)
{
    if (text.len == 0) return true;
    bool prefix = e->t->prefix_space && text.ptr[0] != ' ';
    if (!prefix && !e->t->metaspace.len) return encode_pieces(e, text);
    const char *readable_end = e->readable_end;
    ig_buf_clear(&e->prefixed);
    if (prefix) {
        ig_buf_char(&e->prefixed, ' ');
        ig_buf_slice(&e->prefixed, text);
    } else {
        put_metaspace(e, text);
    }
    if (!ig_buf_ok(&e->prefixed, e->err)) return false;
    e->readable_end = e->prefixed.data + e->prefixed.len;
    bool ok = encode_pieces(e, ig_buf_view(&e->prefixed));
    e->readable_end = readable_end;
    return ok;
}

/* Cuts the matcher's tokens out of the text and hands the rest to `next`. */
static bool cut_added(struct encoder *e, const struct token__matcher *matcher, struct ig_slice text,
                      bool (*next)(struct encoder *e, struct ig_slice segment))
{
    const char *taken = text.ptr, *end = text.ptr + text.len, *from = text.ptr;
    struct token__match match;
    while (token__matcher_next(matcher, e->t->added, text, from, taken, &match)) {
        if (match.start > taken && !next(e, ig_slice_make(taken, (size_t)(match.start - taken))))
            return false;
        if (!token__ids_put(e->ids, e->t->added[match.added].id, e->err)) return false;
        taken = match.end;
        from = match.resume;
    }
    return taken >= end || next(e, ig_slice_make(taken, (size_t)(end - taken)));
}

static bool encode_normalized(struct encoder *e, struct ig_slice text)
{
    struct ig_slice normal;
    const char *readable_end = e->readable_end;
    if (!token__normalize(e->t->norms, e->t->norm_count, text, &e->norm, &normal, e->err))
        return false;
    if (normal.ptr != text.ptr) e->readable_end = normal.ptr + normal.len;
    e->normal = text.ptr == e->text ? normal.ptr : NULL;
    bool ok = cut_added(e, &e->t->normalized, normal, encode_segment);
    e->readable_end = readable_end;
    return ok;
}

bool ig_tokenizer_encode(const struct ig_tokenizer *t, struct ig_slice text, bool add_special,
                         struct ig_ids *out, struct ig_err *err)
{
    struct encoder e = {.t = t, .ids = out, .err = err};
    struct ig_buf repaired = {0};
    size_t count_before = out->count;
    bool ok = false;
    if (ig_utf8_check(text) < text.len) {
        ig_utf8_repair(&repaired, text);
        if (!ig_buf_ok(&repaired, err)) goto done;
        text = ig_buf_view(&repaired);
    }
    if (text.len >= TOKEN_TEXT_MAX) {
        ig_err_set(err, IG_ERR_USAGE, "a text of %zu bytes is too long to encode at once",
                   text.len);
        goto done;
    }
    for (int i = 0; add_special && i < t->before_count; i++)
        if (!token__ids_put(out, t->before[i], err)) goto done;
    e.readable_end = text.ptr + text.len;
    e.text = text.ptr;
    if (text.len && !cut_added(&e, &t->raw, text, encode_normalized)) goto done;
    for (int i = 0; add_special && i < t->after_count; i++)
        if (!token__ids_put(out, t->after[i], err)) goto done;
    ok = true;
done:
    if (!ok) out->count = count_before;
    ig_buf_release(&repaired);
    ig_buf_release(&e.prefixed);
    token__heap_release(&e.heap);
    token__norm_room_release(&e.norm);
    return ok;
}
