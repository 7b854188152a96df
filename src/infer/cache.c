/* SPDX-License-Identifier: Apache-2.0
 * cache — where the keys and values of a session lie, and as what.
 *
 *     keys, values   [attending layer][key head][slot] -> a row: head_dim numbers of 32, 16, 8 or
 *                    4 bits (kernels/cached.h)
 *     plain          slot = position
 *     rotating       |keep| ring of the positions from keep on |
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

bool infer__cache_reserve(struct ig_session *s, struct ig_err *err)
{
    struct infer_cache *c = &s->cache;
    int64_t rows;
    size_t bytes;
    int64_t batch = s->rows_max < INFER_ROWS ? s->rows_max : INFER_ROWS;
    if (c->window > 0) c->slots = c->window + batch;
    if (!ig_i64_mul(s->model->caches * s->model->shape.kv_heads, c->slots, &rows) ||
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

void infer__cache_release(struct ig_session *s)
{
    if (s->cache.keys) munmap(s->cache.keys, s->cache.bytes ? s->cache.bytes : 1);
}

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
    s->length += rows;
    if (s->length > s->cache.high) s->cache.high = s->length;
}
