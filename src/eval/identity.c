/* SPDX-License-Identifier: Apache-2.0
 * identity — what a result was measured with: digests of a model's bytes and of its tokenizer.
 *
 * The model's covers what ig_store_identity covers (names, sizes, headers, config.json) and the
 * bytes of every tensor, so that two quantisations of one shape never share anything. It takes one
 * read of the weights, which the run needs in memory anyway. */
#include "base/digest.h"
#include "base/file.h"
#include "base/thread.h"
#include "eval/eval_internal.h"
#include "ingot/store.h"

#include <stdlib.h>

#define CHUNK_BYTES         ((size_t)4 << 20)
#define TOKENIZER_BYTES_MAX ((size_t)1 << 30)

struct job {
    const struct ig_store *store;
    struct ig_digest *digests; /* one a tensor */
    unsigned char *chunks;     /* CHUNK_BYTES for each thread */
};

static bool digest_tensor(void *user, int thread, int64_t index, struct ig_err *err)
{
    const struct job *job = user;
    const struct ig_tensor *tensor = ig_store_at(job->store, index);
    unsigned char *chunk = job->chunks + (size_t)thread * CHUNK_BYTES;
    struct ig_digest_state *state = ig_digest_new();
    if (!state) return ig_err_nomem(err);
    bool ok = true;
    for (size_t at = 0; ok && at < tensor->bytes; at += CHUNK_BYTES) {
        size_t left = tensor->bytes - at, bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        ok = ig_store_read(job->store, tensor, at, bytes, chunk, err);
        if (ok) ig_digest_feed(state, chunk, bytes);
    }
    if (ok) job->digests[index] = ig_digest_end(state);
    ig_digest_free(state);
    return ok;
}

/* Over the store's identity and its tensors' digests, in the order of their names. */
static bool digest_store(const struct ig_store *store, int threads, char hex[IG_DIGEST_HEX],
                         struct ig_err *err)
{
    struct ig_pool *pool = ig_pool_new(threads, err);
    struct job job = {.store = store};
    size_t count = (size_t)ig_store_count(store);
    struct ig_digest_state *all = ig_digest_new();
    bool ok = pool != NULL;
    if (ok) {
        job.digests = calloc(count + 1, sizeof *job.digests);
        job.chunks = malloc((size_t)ig_pool_size(pool) * CHUNK_BYTES);
        ok = (job.digests && job.chunks && all) || ig_err_nomem(err);
    }
    ok = ok && ig_pool_each(pool, (int64_t)count, digest_tensor, &job, err);
    if (ok) {
        const char *identity = ig_store_identity(store);
        ig_digest_feed(all, identity, strlen(identity));
        ig_digest_feed(all, job.digests, count * sizeof *job.digests);
        ig_digest_hex(ig_digest_end(all), hex);
    }
    ig_digest_free(all);
    free(job.chunks);
    free(job.digests);
    ig_pool_free(pool);
    return ok;
}

static bool digest_file(struct ig_digest_state *state, const char *dir, const char *name,
                        struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    if (!ig_path_join(path, dir, name, err)) return false;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, TOKENIZER_BYTES_MAX, &text, err);
    if (ok) {
        char hex[IG_DIGEST_HEX]; /* of each file by itself: no border between them is lost */
        struct ig_slice bytes = ig_buf_view(&text);
        ig_digest_hex(ig_digest_of(bytes.ptr, bytes.len), hex);
        ig_digest_feed(state, hex, IG_DIGEST_HEX - 1);
    }
    ig_buf_release(&text);
    return ok;
}

bool ig_eval_digest_tokenizer(const char *path, char hex[33], struct ig_err *err)
{
    struct ig_digest_state *state = ig_digest_new();
    bool ok = (state != NULL || ig_err_nomem(err)) &&
              digest_file(state, path, "tokenizer.json", err) &&
              digest_file(state, path, "tokenizer_config.json", err);
    if (ok) ig_digest_hex(ig_digest_end(state), hex);
    ig_digest_free(state);
    return ok;
}

bool ig_eval_digest_model(const char *path, int threads, char hex[33], struct ig_err *err)
{
    struct ig_store *store = NULL;
    bool ok = ig_store_open(path, &store, err) && digest_store(store, threads, hex, err);
    ig_store_close(store);
    return ok || ig_err_within(err, "cannot digest model '%s'", path);
}
