/* SPDX-License-Identifier: Apache-2.0
 * bench_store — open a model of 26,334 tensors; write a model of Qwen3-0.6B's size.
 *
 *     bench_store [FOLDER]       scratch is made and removed in FOLDER (default: /tmp)
 *
 * One JSON line a case; times are the fastest and the median of the rounds. */
#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "ingot/store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS_MAX 32

static char scratch[256];

static void die(const struct ig_err *err)
{
    fprintf(stderr, "bench_store: %s\n", err->text);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, double *seconds, int rounds, double bytes)
{
    qsort(seconds, (size_t)rounds, sizeof *seconds, by_value);
    double median = seconds[rounds / 2];
    printf("{\"case\": \"%s\", \"ms_min\": %.2f, \"ms_median\": %.2f", name, seconds[0] * 1e3,
           median * 1e3);
    if (bytes > 0) printf(", \"GB/s\": %.2f", bytes / median * 1e-9);
    puts("}");
    fflush(stdout);
}

/* ---- opening: Qwen3-42B-A3B's names and shapes; the data are holes ---- */

struct naming {
    struct ig_tensor *tensors;
    int64_t count;
};

static void add(struct naming *n, int64_t rows, int64_t columns, const char *format, int a, int b)
{
    char *name = malloc(80);
    if (!name) exit(1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(name, 80, format, a, b);
#pragma GCC diagnostic pop
    n->tensors[n->count++] = (struct ig_tensor){.name = ig_slice_of(name),
                                                .dtype = IG_BF16,
                                                .rank = columns ? 2 : 1,
                                                .shape = {rows, columns}};
}

static void name_layer(struct naming *n, int layer)
{
    for (int e = 0; e < 128; e++) {
        add(n, 768, 2048, "model.layers.%d.mlp.experts.%d.gate_proj.weight", layer, e);
        add(n, 768, 2048, "model.layers.%d.mlp.experts.%d.up_proj.weight", layer, e);
        add(n, 2048, 768, "model.layers.%d.mlp.experts.%d.down_proj.weight", layer, e);
    }
    add(n, 128, 2048, "model.layers.%d.mlp.gate.weight", layer, 0);
    add(n, 4096, 2048, "model.layers.%d.self_attn.q_proj.weight", layer, 0);
    add(n, 512, 2048, "model.layers.%d.self_attn.k_proj.weight", layer, 0);
    add(n, 512, 2048, "model.layers.%d.self_attn.v_proj.weight", layer, 0);
    add(n, 2048, 4096, "model.layers.%d.self_attn.o_proj.weight", layer, 0);
    add(n, 128, 0, "model.layers.%d.self_attn.q_norm.weight", layer, 0);
    add(n, 128, 0, "model.layers.%d.self_attn.k_norm.weight", layer, 0);
    add(n, 2048, 0, "model.layers.%d.input_layernorm.weight", layer, 0);
    add(n, 2048, 0, "model.layers.%d.post_attention_layernorm.weight", layer, 0);
}

/* The header of tensors [first, last), and a file of holes behind it. */
static void write_shard(const char *path, const struct ig_tensor *tensors, int64_t count)
{
    struct ig_buf text = {0};
    struct ig_err err = {0};
    uint64_t at = 0;
    ig_buf_append(&text, "\0\0\0\0\0\0\0\0", 8);
    ig_buf_text(&text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int64_t i = 0; i < count; i++) {
        const struct ig_tensor *t = &tensors[i];
        uint64_t bytes = 2 * (uint64_t)t->shape[0] * (t->rank == 2 ? (uint64_t)t->shape[1] : 1);
        ig_buf_printf(&text, ",\"" IG_SLICE_FMT "\":{\"dtype\":\"BF16\",\"shape\":[%" PRId64,
                      IG_SLICE_ARG(t->name), t->shape[0]);
        if (t->rank == 2) ig_buf_printf(&text, ",%" PRId64, t->shape[1]);
        ig_buf_printf(&text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + bytes);
        at += bytes;
    }
    ig_buf_char(&text, '}');
    for (int i = 0; i < 8; i++)
        text.data[i] = (char)((text.len - 8) >> 8 * i);
    if (!ig_file_write(path, ig_buf_view(&text), &err)) die(&err);
    if (truncate(path, (off_t)(text.len + at)) != 0) exit(1);
    ig_buf_release(&text);
}

static void make_model(const char *dir, const struct naming *n, int shards)
{
    struct ig_err err = {0};
    struct ig_buf index = {0};
    char path[IG_PATH_MAX], file[64];
    if (!ig_dir_make(dir, &err)) die(&err);
    ig_buf_text(&index, "{\"metadata\":{\"total_size\":0},\"weight_map\":{");
    for (int s = 0; s < shards; s++) {
        int64_t first = n->count * s / shards, last = n->count * (s + 1) / shards;
        snprintf(file, sizeof file,
                 shards == 1 ? "model.safetensors" : "model-%05d-of-%05d.safetensors", s + 1,
                 shards);
        if (!ig_path_join(path, dir, file, &err)) die(&err);
        write_shard(path, n->tensors + first, last - first);
        for (int64_t i = first; i < last; i++)
            ig_buf_printf(&index, "%s\n    \"" IG_SLICE_FMT "\": \"%s\"", i ? "," : "",
                          IG_SLICE_ARG(n->tensors[i].name), file);
    }
    ig_buf_text(&index, "}}");
    if (!ig_path_join(path, dir, "model.safetensors.index.json", &err)) die(&err);
    if (shards > 1 && !ig_file_write(path, ig_buf_view(&index), &err)) die(&err);
    ig_buf_release(&index);
}

static void bench_open(const char *name, const struct naming *n, int shards)
{
    char dir[IG_PATH_MAX];
    double seconds[ROUNDS_MAX];
    struct ig_err err = {0};
    if (!ig_path_join(dir, scratch, name, &err)) die(&err);
    make_model(dir, n, shards);
    for (int r = 0; r < 15; r++) {
        struct ig_store *store;
        double start = ig_clock_seconds();
        if (!ig_store_open(dir, &store, &err)) die(&err);
        seconds[r] = ig_clock_seconds() - start;
        if (ig_store_count(store) != n->count) exit(1);
        ig_store_close(store);
    }
    report(name, seconds, 15, 0);
    if (!ig_dir_remove(dir, &err)) die(&err);
}

/* ---- writing: Qwen3-0.6B's names and shapes, 1.19 GB of bf16 ---- */

#define CHUNK_BYTES ((size_t)1 << 20)

static void name_dense_layer(struct naming *n, int layer)
{
    add(n, 2048, 1024, "model.layers.%d.self_attn.q_proj.weight", layer, 0);
    add(n, 1024, 1024, "model.layers.%d.self_attn.k_proj.weight", layer, 0);
    add(n, 1024, 1024, "model.layers.%d.self_attn.v_proj.weight", layer, 0);
    add(n, 1024, 2048, "model.layers.%d.self_attn.o_proj.weight", layer, 0);
    add(n, 128, 0, "model.layers.%d.self_attn.q_norm.weight", layer, 0);
    add(n, 128, 0, "model.layers.%d.self_attn.k_norm.weight", layer, 0);
    add(n, 3072, 1024, "model.layers.%d.mlp.gate_proj.weight", layer, 0);
    add(n, 1024, 3072, "model.layers.%d.mlp.down_proj.weight", layer, 0);
    add(n, 3072, 1024, "model.layers.%d.mlp.up_proj.weight", layer, 0);
    add(n, 1024, 0, "model.layers.%d.input_layernorm.weight", layer, 0);
    add(n, 1024, 0, "model.layers.%d.post_attention_layernorm.weight", layer, 0);
}

struct writing {
    struct ig_writer *writer;
    const struct naming *n;
    int fd;                /* of the case that writes without a writer */
    unsigned char *chunks; /* CHUNK_BYTES for each thread */
};

static size_t tensor_bytes(const struct ig_tensor *t)
{
    return 2 * (size_t)t->shape[0] * (t->rank == 2 ? (size_t)t->shape[1] : 1);
}

static bool write_tensor(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct writing *w = user;
    const unsigned char *chunk = w->chunks + (size_t)thread * CHUNK_BYTES;
    size_t bytes = tensor_bytes(&w->n->tensors[index]);
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t count = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        if (!ig_writer_put(w->writer, index, at, chunk, count, err)) return false;
    }
    return ig_writer_mark(w->writer, index, err);
}

static bool write_plain(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct writing *w = user;
    return ig_file_pwrite(w->fd, "plain", (uint64_t)index * CHUNK_BYTES,
                          w->chunks + (size_t)thread * CHUNK_BYTES, CHUNK_BYTES, err);
}

static double write_once(struct writing *w, struct ig_pool *pool, const char *out, bool sync)
{
    struct ig_err err = {0};
    double start = ig_clock_seconds();
    struct ig_writer_plan plan = {.out = out,
                                  .tensors = w->n->tensors,
                                  .count = w->n->count,
                                  .total_parameters = -1,
                                  .no_sync = !sync};
    if (!ig_writer_open(&plan, &w->writer, &err) ||
        !ig_pool_each(pool, w->n->count, write_tensor, w, &err) ||
        !ig_writer_finish(w->writer, &err))
        die(&err);
    ig_writer_close(w->writer);
    return ig_clock_seconds() - start;
}

static double plain_once(struct writing *w, struct ig_pool *pool, const char *out, double bytes)
{
    struct ig_err err = {0};
    double start = ig_clock_seconds();
    w->fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int64_t chunks = (int64_t)(bytes / (double)CHUNK_BYTES);
    if (w->fd < 0 || fallocate(w->fd, 0, 0, chunks * (int64_t)CHUNK_BYTES) != 0) exit(1);
    if (!ig_pool_each(pool, chunks, write_plain, w, &err)) die(&err);
    close(w->fd);
    return ig_clock_seconds() - start;
}

static double copy_once(const char *from, const char *to)
{
    char command[3 * IG_PATH_MAX];
    snprintf(command, sizeof command, "cp '%s/model.safetensors' '%s'", from, to);
    double start = ig_clock_seconds();
    if (system(command) != 0) exit(1);
    return ig_clock_seconds() - start;
}

enum { CASE_PLAIN, CASE_WRITER, CASE_SYNCED, CASE_COPY, CASE_COUNT };

static double run_case(int which, struct writing *w, struct ig_pool *pool, double bytes)
{
    char dir[IG_PATH_MAX], file[IG_PATH_MAX], source[IG_PATH_MAX];
    struct ig_err err = {0};
    double seconds = 0;
    if (!ig_path_join(dir, scratch, "model", &err) || !ig_path_join(file, scratch, "file", &err) ||
        !ig_path_join(source, scratch, "source", &err))
        die(&err);
    switch (which) {
    case CASE_PLAIN: seconds = plain_once(w, pool, file, bytes); break;
    case CASE_WRITER: seconds = write_once(w, pool, dir, false); break;
    case CASE_SYNCED: seconds = write_once(w, pool, dir, true); break;
    case CASE_COPY: seconds = copy_once(source, file); break;
    default: break;
    }
    unlink(file);
    if (!ig_dir_remove(dir, &err)) die(&err);
    return seconds;
}

/* Rounds of one case follow each other, after one that does not count: what memory the page cache
 * finds free, and whether a virtual machine's host still backs it, is then the same for all cases.
 */
static void bench_write(const struct naming *n, int threads)
{
    enum { ROUNDS = 7 };
    static const char *const names[CASE_COUNT] = {
        "write 1.19 GB, pwrite alone", "write 1.19 GB, writer, not synced",
        "write 1.19 GB, writer, synced", "copy of the 1.19 GB by cp"};
    char source[IG_PATH_MAX];
    double bytes = 0, seconds[ROUNDS];
    struct ig_err err = {0};
    struct ig_pool *pool = ig_pool_new(threads, &err);
    struct writing w = {.n = n, .chunks = malloc((size_t)threads * CHUNK_BYTES)};
    if (!pool || !w.chunks) die(&err);
    for (size_t i = 0; i < (size_t)threads * CHUNK_BYTES; i++)
        w.chunks[i] = (unsigned char)(i * 2654435761u >> 24);
    for (int64_t i = 0; i < n->count; i++)
        bytes += (double)tensor_bytes(&n->tensors[i]);
    if (!ig_path_join(source, scratch, "source", &err)) die(&err);
    write_once(&w, pool, source, true);
    for (int which = 0; which < CASE_COUNT; which++) {
        run_case(which, &w, pool, bytes);
        for (int r = 0; r < ROUNDS; r++)
            seconds[r] = run_case(which, &w, pool, bytes);
        report(names[which], seconds, ROUNDS, bytes);
    }
    if (!ig_dir_remove(source, &err)) die(&err);
    ig_pool_free(pool);
    free(w.chunks);
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    struct naming n = {.tensors = calloc(26334, sizeof(struct ig_tensor))};
    snprintf(scratch, sizeof scratch, "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (!n.tensors || !mkdtemp(scratch)) return 1;
    add(&n, 151936, 1024, "model.embed_tokens.weight", 0, 0);
    for (int layer = 0; layer < 28; layer++)
        name_dense_layer(&n, layer);
    add(&n, 1024, 0, "model.norm.weight", 0, 0);
    bench_write(&n, ig_core_count());
    n.count = 0;
    add(&n, 151936, 2048, "model.embed_tokens.weight", 0, 0);
    for (int layer = 0; layer < 67; layer++)
        name_layer(&n, layer);
    add(&n, 2048, 0, "model.norm.weight", 0, 0);
    add(&n, 151936, 2048, "lm_head.weight", 0, 0);
    bench_open("open 26334 tensors, 1 file", &n, 1);
    bench_open("open 26334 tensors, 13 shards", &n, 13);
    if (!ig_dir_remove(scratch, &err)) die(&err);
    return 0;
}
