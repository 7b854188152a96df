/* SPDX-License-Identifier: Apache-2.0
 * session_file — what a session holds, in a file, to go on from later: docs/formats/session.md.
 *
 *     0   "ingotkv2"
 *     8   of the model     u64 low, high   XXH3-128 of its shape, its norms and a row of each layer
 *     24  tokens           u64
 *     32  bytes a token    u64             keys of all layers
 *     40  floats of state  u64             of recurrent layers; 0: none
 *     48  bits, group      u32 each        of the numbers of keys and values; group 0: no codes
 *     56  ids              i32 x tokens, filled up with 0 to 8 bytes
 *         keys, values     for each layer and key head, tokens x a row of the cache
 *         state            f32
 *         digest           u64 low, high   XXH3-128 of all before it
 *
 * Numbers are little-endian. The digest finds files that were cut or damaged; a file is trusted no
 * further than that its numbers enter a cache, whose size is the reader's. */
#include "infer/infer_internal.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char magic[8] = {'i', 'n', 'g', 'o', 't', 'k', 'v', '2'};

struct head {
    char magic[8];
    uint64_t model[2], tokens, each, state;
    uint32_t bits, group;
};
_Static_assert(sizeof(struct head) == 56, "the file's layout");

static void feed_row(struct ig_digest_state *digest, const struct ig_model *m,
                     const struct ig_matrix *w, float *row, int64_t most)
{
    if (!w->data || w->cols > most) return;
    m->matmul.unpack(w, 0, 0, w->cols, row);
    ig_digest_feed(digest, row, (size_t)w->cols * sizeof *row);
}

/* Two models that differ, differ in a norm or in the first row of some layer. */
static bool identify(const struct ig_model *m, uint64_t out[2], struct ig_err *err)
{
    const struct ig_model_shape *s = &m->shape;
    const int64_t sizes[] = {s->layers, s->hidden,   s->heads,  s->kv_heads,
                             s->vocab,  s->head_dim, m->caches, m->states};
    int64_t most = s->hidden * 4;
    struct ig_digest_state *digest = ig_digest_new();
    float *row = calloc((size_t)most, sizeof *row);
    bool ok = digest && row;
    if (ok) {
        ig_digest_feed(digest, sizes, sizeof sizes);
        ig_digest_feed(digest, m->final_norm, (size_t)s->hidden * sizeof(float));
        feed_row(digest, m, &m->embed, row, most);
        for (int which = 0; which < 2; which++)
            if (m->rope[which])
                ig_digest_feed(digest, m->rope[which], (size_t)(s->rotary / 2) * sizeof(float));
        for (int64_t i = 0; i < s->layers; i++) {
            const struct infer_layer *l = &m->layers[i];
            ig_digest_feed(digest, l->input_norm, (size_t)s->hidden * sizeof(float));
            feed_row(digest, m, l->delta ? &l->delta->qkvz : &l->q, row, most);
            feed_row(digest, m, l->experts ? &l->experts->router : &l->gate, row, most);
        }
        struct ig_digest d = ig_digest_end(digest);
        out[0] = d.low;
        out[1] = d.high;
    }
    ig_digest_free(digest);
    free(row);
    return ok || ig_err_nomem(err);
}

static bool make_head(const struct ig_session *s, struct head *out, struct ig_err *err)
{
    *out = (struct head){
        .tokens = (uint64_t)s->length,
        .each = ig_session_token_bytes(s) / 2,
        .state = s->state_bytes / sizeof(float),
        .bits = (uint32_t)s->cache.as.bits,
        .group = (uint32_t)s->cache.as.group,
    };
    memcpy(out->magic, magic, sizeof magic);
    return identify(s->model, out->model, err);
}

/* ---- both ways: all parts of the file after the head, in order ---- */

struct transfer {
    FILE *file; /* written to; NULL: read from fd */
    int fd;
    const char *path;
    uint64_t at;
    struct ig_digest_state *digest;
};

static bool move(struct transfer *t, void *bytes, size_t count, struct ig_err *err)
{
    if (!t->file) {
        if (!ig_file_pread(t->fd, t->path, t->at, bytes, count, err)) return false;
    } else if (fwrite(bytes, 1, count, t->file) != count) {
        return ig_err_errno(err, errno, "cannot write '%s'", t->path);
    }
    t->at += count;
    if (t->digest) ig_digest_feed(t->digest, bytes, count);
    return true;
}

static bool move_cache(struct transfer *t, const struct ig_session *s, unsigned char *cache,
                       int64_t length, struct ig_err *err)
{
    for (int64_t run = 0; run < s->model->caches * s->model->shape.kv_heads; run++)
        if (!move(t, cache + infer__cache_row(s, 0, run, 0), (size_t)length * s->cache.row_bytes,
                  err))
            return false;
    return true;
}

static bool move_all(struct transfer *t, const struct ig_session *s, int32_t *ids, int64_t length,
                     struct ig_err *err)
{
    char none[8] = {0};
    return move(t, ids, (size_t)length * sizeof *ids, err) &&
           move(t, none, (size_t)length % 2 * 4, err) &&
           move_cache(t, s, s->cache.keys, length, err) &&
           move_cache(t, s, s->cache.values, length, err) &&
           (!s->state || move(t, s->state, s->state_bytes, err));
}

static bool move_digest(struct transfer *t, uint64_t digest[2], struct ig_err *err)
{
    struct ig_digest d = ig_digest_end(t->digest);
    digest[0] = d.low;
    digest[1] = d.high;
    ig_digest_free(t->digest);
    t->digest = NULL;
    uint64_t stored[2] = {d.low, d.high};
    if (!move(t, stored, sizeof stored, err)) return false;
    return (stored[0] == d.low && stored[1] == d.high) ||
           ig_err_set(err, IG_ERR_DATA, "'%s': its digest is another: it is damaged", t->path);
}

/* ---- writing ---- */

bool ig_session_save(const struct ig_session *session, const int32_t *tokens, const char *path,
                     struct ig_err *err)
{
    struct head head;
    char partial[IG_PATH_MAX];
    struct transfer t = {.path = path, .digest = ig_digest_new()};
    uint64_t digest[2];
    bool ok = false;
    int wrote = snprintf(partial, sizeof partial, "%s.partial", path);
    if (!infer__cache_whole(session)) {
        ig_err_set(err, IG_ERR_USAGE,
                   "the session has forgotten a part: its cache rotates, and was full");
        goto done;
    }
    if (wrote < 0 || (size_t)wrote >= sizeof partial) {
        ig_err_set(err, IG_ERR_USAGE, "the name '%.100s..' is too long", path);
        goto done;
    }
    if (!t.digest) {
        ig_err_nomem(err);
        goto done;
    }
    if (!make_head(session, &head, err)) goto done;
    t.file = fopen(partial, "wb");
    if (!t.file) {
        ig_err_errno(err, errno, "cannot write '%s'", partial);
        goto done;
    }
    ok = move(&t, &head, sizeof head, err) &&
         move_all(&t, session, (int32_t *)(uintptr_t)tokens, session->length, err) &&
         move_digest(&t, digest, err);
    if (fclose(t.file) != 0 && ok) ok = ig_err_errno(err, errno, "cannot write '%s'", path);
    if (ok && rename(partial, path) != 0)
        ok = ig_err_errno(err, errno, "cannot rename '%s' to '%s'", partial, path);
    if (!ok) unlink(partial);
done:
    ig_digest_free(t.digest);
    return ok;
}

/* ---- reading ---- */

static bool check_head(const struct ig_session *s, const struct head *head, uint64_t file_bytes,
                       struct ig_err *err)
{
    struct head own;
    if (memcmp(head->magic, magic, sizeof magic) != 0)
        return ig_err_set(err, IG_ERR_DATA,
                          "it is no session of this version of ingot: delete it, and it is made "
                          "anew");
    if (!make_head(s, &own, err)) return false;
    if (head->bits != own.bits || head->group != own.group)
        return ig_err_set(err, IG_ERR_DATA,
                          "its keys and values have %u bits in groups of %u, the session's %u in "
                          "groups of %u: ask for the same kind of cache",
                          head->bits, head->group, own.bits, own.group);
    if (head->model[0] != own.model[0] || head->model[1] != own.model[1] ||
        head->each != own.each || head->state != own.state)
        return ig_err_set(err, IG_ERR_DATA, "it was made by another model");
    if (head->tokens > (uint64_t)ig_session_room(s))
        return ig_err_set(err, IG_ERR_DATA, "it holds %llu tokens, the context is %lld",
                          (unsigned long long)head->tokens, (long long)ig_session_room(s));
    /* tokens is at most a context, whose cache has been reserved: none of this overflows */
    uint64_t want = sizeof *head + (head->tokens + 1) / 2 * 8 + 2 * head->tokens * head->each +
                    head->state * sizeof(float) + 16;
    if (file_bytes != want)
        return ig_err_set(err, IG_ERR_DATA, "it has %llu bytes, not %llu",
                          (unsigned long long)file_bytes, (unsigned long long)want);
    return true;
}

/* Of a cache that changes its form: whether the file holds the later one. */
static bool is_packed(const struct ig_session *s, const struct head *head)
{
    const struct infer_cache *c = &s->cache;
    return c->start > 0 && head->tokens >= (uint64_t)c->start &&
           head->bits == (uint32_t)c->other.as.bits && head->group == (uint32_t)c->other.as.group;
}

bool ig_session_load(struct ig_session *session, const char *path, int32_t *tokens,
                     struct ig_err *err)
{
    struct head head;
    uint64_t bytes, digest[2];
    struct transfer t = {.path = path, .digest = ig_digest_new()};
    t.fd = ig_file_open(path, err);
    bool ok = t.fd >= 0 && ig_file_size(t.fd, path, &bytes, err);
    ig_session_trim(session, 0);
    if (!ok) goto done;
    if (!t.digest) {
        ok = ig_err_nomem(err);
        goto done;
    }
    ok = move(&t, &head, sizeof head, err);
    if (ok && is_packed(session, &head)) infer__cache_switch(session);
    ok = ok && (check_head(session, &head, bytes, err) || ig_err_within(err, "'%s'", path)) &&
         move_all(&t, session, tokens, (int64_t)head.tokens, err) && move_digest(&t, digest, err);
    if (ok) {
        infer__grow(session, (int64_t)head.tokens);
        infer__mark(session);
    } else if (session->cache.packed) {
        infer__cache_switch(session);
    }
done:
    if (t.fd >= 0) close(t.fd);
    ig_digest_free(t.digest);
    return ok;
}
