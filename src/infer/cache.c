/* SPDX-License-Identifier: Apache-2.0
 * cache — where the keys and values of a session lie, and as what.
 *
 *     keys, values   [attending layer][key head][slot] -> a row: head_dim numbers of 32, 16, 8 or
 *                    4 bits (kernels/cached.h)
 *     plain          slot = position
 *     rotating       |keep| ring of the positions from keep on |
 *
 * A cache may have two forms: floats until it holds `start` tokens at the end of a call, then fewer
 * bits for all of them, as mlx-lm's --quantized-kv-start. It goes back to floats when it is empty,
 * and only then: a session that is cut back below `start` is emptied, since its first tokens were
 * floats when a new one's text went on from there.
 *
 * A rotating cache of `window` tokens does what mlx-lm's RotatingKVCache does. Keys stay as they
 * were computed, at the positions that their tokens had. A token that comes alone sees the first
 * `keep` tokens and the last of all others, window in all. Of a run of tokens that are fed together
 * each sees the last `window` of: what the cache held (the first `keep`, and the last of the
 * others, window - 1 in all), then the run. So in a long run the first tokens are soon out of
 * sight. The ring has room for a batch more than that, which its first row must not lose. */
#include "infer/infer_internal.h"

#include "base/size.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP       4                  /* as mlx-lm */
#define WINDOW_MIN 32                 /* so that something is left beside these */
#define GROUP      64                 /* of codes, as mlx-lm */
#define ENDLESS    ((int64_t)1 << 40) /* tokens, of a cache that rotates */

static bool check_form(struct infer_cache *c, const struct ig_session_options *o, int64_t dim,
                       struct ig_err *err)
{
    int bits = o->bits ? o->bits : 32, group = o->group ? o->group : GROUP;
    if (bits != 32 && bits != IG_CACHED_F16 && bits != 8 && bits != 4)
        return ig_err_set(err, IG_ERR_USAGE, "a cache has 32, 16, 8 or 4 bits, not %d", bits);
    if (group != 32 && group != 64 && group != 128)
        return ig_err_set(err, IG_ERR_USAGE, "a cache has groups of 32, 64 or 128, not %d", group);
    while (group > IG_CACHED_GROUP && dim % group != 0)
        group /= 2;
    int64_t unit = bits == 32 ? 1 : bits == IG_CACHED_F16 ? IG_CACHED_DIM : group;
    if (dim % unit != 0 || (bits != 32 && dim > IG_CACHED_MOST))
        return ig_err_set(
            err, IG_ERR_USAGE,
            "the model's heads have %lld numbers: a cache of %d bits needs a multiple "
            "of %lld",
            (long long)dim, bits, (long long)unit);
    c->as = (struct ig_cached){bits, bits == 8 || bits == 4 ? group : 0, dim};
    c->row_bytes = bits == 32 ? (size_t)dim * sizeof(float) : ig_cached_row_bytes(&c->as);
    if (o->start > 0 && bits != 32) {
        c->start = o->start;
        c->other = (struct infer_form){.as = c->as, .row_bytes = c->row_bytes};
        c->as = (struct ig_cached){32, 0, dim};
        c->row_bytes = (size_t)dim * sizeof(float);
    }
    return true;
}

bool infer__cache_init(struct ig_session *s, const struct ig_session_options *options,
                       struct ig_err *err)
{
    const struct ig_model_shape *m = &s->model->shape;
    struct infer_cache *c = &s->cache;
    int64_t asked = options->context;
    if (asked < 0 || asked > m->context)
        return ig_err_set(err, IG_ERR_USAGE,
                          "a context of %lld tokens was asked for; the model's is %lld",
                          (long long)asked, (long long)m->context);
    if (!check_form(c, options, m->head_dim, err)) return false;
    s->context = c->slots = asked ? asked : m->context;
    if (options->window == 0) return true;
    if (options->window < WINDOW_MIN || options->window > m->context)
        return ig_err_set(
            err, IG_ERR_USAGE,
            "a cache that rotates has %d tokens or more, up to the model's %lld: %lld "
            "were asked for",
            WINDOW_MIN, (long long)m->context, (long long)options->window);
    c->window = options->window;
    c->keep = KEEP;
    s->context = ENDLESS;
    return true;
}

/* Layers and heads, each of which has its rows together. */
static int64_t runs_of(const struct ig_session *s)
{
    return s->model->caches * s->model->shape.kv_heads;
}

static void swap_forms(struct infer_cache *c)
{
    const struct infer_form now = {c->as, c->row_bytes, c->keys, c->values, c->bytes};
    c->as = c->other.as;
    c->row_bytes = c->other.row_bytes;
    c->keys = c->other.keys;
    c->values = c->other.values;
    c->bytes = c->other.bytes;
    c->other = now;
}

static bool reserve_form(struct ig_session *s, struct ig_err *err)
{
    struct infer_cache *c = &s->cache;
    int64_t rows;
    size_t bytes;
    if (!ig_i64_mul(runs_of(s), c->slots, &rows) ||
        !ig_size_mul((size_t)rows, 2 * c->row_bytes, &bytes))
        return ig_err_nomem(err);
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return ig_err_errno(err, errno,
                            "cannot reserve %.1f GiB for a context of %lld tokens; ask for less",
                            (double)bytes / (1 << 30), (long long)c->slots);
    c->keys = p;
    c->values = c->keys + bytes / 2;
    c->bytes = bytes;
    return true;
}

bool infer__cache_reserve(struct ig_session *s, struct ig_err *err)
{
    struct infer_cache *c = &s->cache;
    int64_t batch = s->rows_max < INFER_ROWS ? s->rows_max : INFER_ROWS;
    if (c->window > 0) c->slots = c->window + batch;
    for (int form = 0; form < (c->start > 0 ? 2 : 1); form++) {
        if (form > 0) swap_forms(c);
        if (!reserve_form(s, err)) return false;
    }
    if (c->start > 0) swap_forms(c);
    return true;
}

void infer__cache_release(struct ig_session *s)
{
    const struct infer_cache *c = &s->cache;
    if (c->keys) munmap(c->keys, c->bytes ? c->bytes : 1);
    if (c->other.keys) munmap(c->other.keys, c->other.bytes ? c->other.bytes : 1);
}

/* ---- memory ---- */

/* Pages of a mapping that nobody reads any more. */
static void drop(unsigned char *from, const unsigned char *to)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = -(size_t)(uintptr_t)from % page;
    size_t bytes = to > from ? (size_t)(to - from) : 0;
    if (bytes < skip + page) return;
    madvise(from + skip, (bytes - skip) / page * page, MADV_DONTNEED);
}

/* Bytes of the pages that so many rows of each run lie in. */
static size_t bytes_of(const struct ig_session *s, int64_t rows, size_t row_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (rows <= 0) return 0;
    return 2 * (size_t)runs_of(s) * (((size_t)rows * row_bytes + page - 1) / page + 1) * page;
}

size_t ig_session_bytes(const struct ig_session *session)
{
    const struct infer_cache *c = &session->cache;
    return bytes_of(session, c->touched, c->row_bytes) + 2 * session->state_bytes;
}

size_t ig_session_bytes_for(const struct ig_session *session, int64_t tokens)
{
    const struct infer_cache *c = &session->cache;
    size_t floats = (size_t)c->as.dim * sizeof(float), states = 2 * session->state_bytes;
    size_t row_bytes = c->start > 0 && !c->packed ? c->other.row_bytes : c->row_bytes;
    if (tokens < c->touched) tokens = c->touched;
    if (tokens > c->slots) tokens = c->slots;
    if (c->start == 0) return bytes_of(session, tokens, row_bytes) + states;
    int64_t first = c->start + INFER_ROWS; /* before and while they are packed */
    if (first > tokens) first = tokens;
    return bytes_of(session, first, floats) +
           (tokens >= c->start ? bytes_of(session, tokens, row_bytes) : 0) + states;
}

void ig_session_shrink(struct ig_session *session)
{
    struct infer_cache *c = &session->cache;
    int64_t rows = c->window > 0 && c->high > session->length ? c->high : session->length;
    if (rows >= c->touched) return;
    for (int64_t run = 0; run < runs_of(session); run++) {
        size_t at = (size_t)(run * c->slots + rows) * c->row_bytes;
        size_t end = (size_t)(run * c->slots + c->touched) * c->row_bytes;
        drop(c->keys + at, c->keys + end);
        drop(c->values + at, c->values + end);
    }
    c->touched = rows;
}

/* ---- two forms ---- */

struct packing {
    struct ig_session *s;
    int64_t rows;
};

static void pack_runs(void *user, int thread, int threads)
{
    const struct packing *job = user;
    const struct infer_cache *c = &job->s->cache;
    const struct ig_model *m = job->s->model;
    for (int64_t run = thread; run < runs_of(job->s); run += threads)
        for (int64_t row = run * c->slots; row < run * c->slots + job->rows; row++)
            for (int part = 0; part < 2; part++) {
                const unsigned char *from = part ? c->values : c->keys;
                unsigned char *to = part ? c->other.values : c->other.keys;
                ig_cached_store(&c->other.as, &m->convert, &m->quantize,
                                (const float *)(const void *)(from + (size_t)row * c->row_bytes),
                                to + (size_t)row * c->other.row_bytes);
            }
}

void infer__cache_switch(struct ig_session *s)
{
    struct infer_cache *c = &s->cache;
    swap_forms(c);
    c->packed = !c->packed;
    drop(c->other.keys, c->other.keys + c->other.bytes);
}

void infer__cache_settle(struct ig_session *s)
{
    struct infer_cache *c = &s->cache;
    if (c->start == 0 || c->packed || s->length < c->start) return;
    struct packing job = {s, c->touched};
    ig_pool_all(s->model->pool, pack_runs, &job);
    infer__cache_switch(s);
}

bool infer__cache_alike(const struct infer_cache *a, const struct infer_cache *b)
{
    const struct ig_cached *x = a->start > 0 && !a->packed ? &a->other.as : &a->as;
    const struct ig_cached *y = b->start > 0 && !b->packed ? &b->other.as : &b->as;
    return a->window == b->window && a->start == b->start && x->bits == y->bits &&
           x->group == y->group && (a->window == 0 || a->slots == b->slots);
}

/* ---- rows ---- */

int64_t infer__slot(const struct infer_cache *c, int64_t position, int64_t *run)
{
    if (c->window == 0 || position < c->keep) {
        *run = c->slots - position; /* the ring's first positions lie behind it */
        return position;
    }
    int64_t ring = c->slots - c->keep, at = (position - c->keep) % ring;
    *run = ring - at;
    return c->keep + at;
}

size_t infer__cache_row(const struct ig_session *s, int64_t layer, int64_t kv, int64_t slot)
{
    const struct infer_cache *c = &s->cache;
    return (size_t)((layer * s->model->shape.kv_heads + kv) * c->slots + slot) * c->row_bytes;
}

void infer__cache_store(const struct ig_session *s, size_t at, const float *k, const float *v)
{
    const struct infer_cache *c = &s->cache;
    const struct ig_model *m = s->model;
    if (c->as.bits == 32) {
        memcpy(c->keys + at, k, c->row_bytes);
        memcpy(c->values + at, v, c->row_bytes);
        return;
    }
    ig_cached_store(&c->as, &m->convert, &m->quantize, k, c->keys + at);
    ig_cached_store(&c->as, &m->convert, &m->quantize, v, c->values + at);
}

struct infer_seen infer__seen(const struct ig_session *s, int64_t position, int64_t window)
{
    const struct infer_cache *c = &s->cache;
    int64_t first = position < window ? 0 : position - window + 1; /* of the layer */
    struct infer_seen seen = {c->keep, first};
    if (c->window == 0) return seen;
    int64_t from = position - c->window + 1, sink = c->keep;
    if (s->run_start < 0) { /* alone */
        from += c->keep;
        sink = 0;
    } else if (s->run_start >= c->window && position - s->run_start < c->keep) {
        sink = position - s->run_start;
        from = s->run_start - (c->window - 1 - c->keep);
    }
    if (from <= c->keep) { /* all lies together */
        from = s->run_start < 0 || from < 0 ? 0 : from;
        sink = c->keep;
    }
    seen.from = from > first ? from : first;
    seen.sink = sink > first ? sink : first;
    return seen;
}

/* Of a cache that rotates: whether all that a token after the first `length` sees is there. */
bool infer__cache_holds(const struct ig_session *s, int64_t length)
{
    const struct infer_cache *c = &s->cache;
    int64_t gone = c->high - (c->slots - c->keep); /* positions from keep on, below this */
    return c->window == 0 || length <= c->keep || gone <= c->keep ||
           length - (c->window - 1 - c->keep) >= gone;
}

bool infer__cache_whole(const struct ig_session *s)
{
    const struct infer_cache *c = &s->cache;
    return c->window == 0 || (s->length <= c->window && c->high <= c->slots);
}

void infer__grow(struct ig_session *s, int64_t rows)
{
    struct infer_cache *c = &s->cache;
    s->length += rows;
    if (s->length > c->high) c->high = s->length;
    if (s->length > c->touched) c->touched = s->length < c->slots ? s->length : c->slots;
}
