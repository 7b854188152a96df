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

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    struct naming n = {.tensors = calloc(26334, sizeof(struct ig_tensor))};
    snprintf(scratch, sizeof scratch, "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (!n.tensors || !mkdtemp(scratch)) return 1;
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
