/* SPDX-License-Identifier: Apache-2.0
 * make_models DIR COUNT [SHAPE [LAYERS [EXPERTS]]] — COUNT bf16 models with the names and shapes of
 * a published one at DIR/m0 ..., random finetunes of one random base, for the benchmarks. Every
 * dimension is the original's; LAYERS and EXPERTS may be fewer.
 *     0.6b     Qwen3-0.6B, 1.19 GB (the default)
 *     1.7b     Qwen3-1.7B, 3.4 GB
 *     30b-a3b  Qwen3-30B-A3B, 61 GB; 48 layers of 128 experts
 *     names    the 18,867 names of Qwen3-30B-A3B, tiny shapes */
#include "ingot/store.h"

#include <stdio.h>
#include <stdlib.h>

enum { TENSORS_MAX = 32768, NAME_MAX_BYTES = 80, CHUNK = 1 << 20 };

struct shape {
    const char *name;
    int hidden, heads, kv_heads, head_dim, ffn, vocab, layers, experts, expert_ffn;
};
static const struct shape shapes[] = {
    {"0.6b", 1024, 16, 8, 128, 3072, 151936, 28, 0, 0},
    {"1.7b", 2048, 16, 8, 128, 6144, 151936, 28, 0, 0},
    {"30b-a3b", 2048, 32, 4, 128, 6144, 151936, 48, 128, 768},
    {"names", 32, 2, 1, 16, 64, 256, 48, 128, 32},
};

static struct ig_tensor tensors[TENSORS_MAX];
static char names[TENSORS_MAX][NAME_MAX_BYTES];
static int count;

/* cols 0: a vector */
static void add(const char *name, int64_t rows, int64_t cols)
{
    if (count == TENSORS_MAX) abort();
    struct ig_tensor *t = &tensors[count];
    snprintf(names[count], sizeof names[0], "%.64s.weight", name);
    t->name = ig_slice_of(names[count++]);
    t->dtype = IG_BF16;
    t->rank = cols ? 2 : 1;
    t->shape[0] = rows;
    t->shape[1] = cols;
    t->elems = rows * (cols ? cols : 1);
    t->bytes = (size_t)t->elems * 2;
}

static void add_in(const char *prefix, int number, const char *part, int64_t rows, int64_t cols)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%.36s%d.%.28s", prefix, number, part);
    add(name, rows, cols);
}

static void add_mlp(const struct shape *s, int layer)
{
    char prefix[NAME_MAX_BYTES];
    if (s->experts == 0) {
        add_in("model.layers.", layer, "mlp.down_proj", s->hidden, s->ffn);
        add_in("model.layers.", layer, "mlp.gate_proj", s->ffn, s->hidden);
        add_in("model.layers.", layer, "mlp.up_proj", s->ffn, s->hidden);
        return;
    }
    snprintf(prefix, sizeof prefix, "model.layers.%d.mlp.experts.", layer);
    for (int e = 0; e < s->experts; e++) {
        add_in(prefix, e, "down_proj", s->hidden, s->expert_ffn);
        add_in(prefix, e, "gate_proj", s->expert_ffn, s->hidden);
        add_in(prefix, e, "up_proj", s->expert_ffn, s->hidden);
    }
    add_in("model.layers.", layer, "mlp.gate", s->experts, s->hidden);
}

static void list_tensors(const struct shape *s)
{
    const char *in = "model.layers.";
    int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    if (s->experts) add("lm_head", s->vocab, s->hidden);
    add("model.embed_tokens", s->vocab, s->hidden);
    for (int l = 0; l < s->layers; l++) {
        add_in(in, l, "input_layernorm", s->hidden, 0);
        add_mlp(s, l);
        add_in(in, l, "post_attention_layernorm", s->hidden, 0);
        add_in(in, l, "self_attn.k_norm", s->head_dim, 0);
        add_in(in, l, "self_attn.k_proj", kv, s->hidden);
        add_in(in, l, "self_attn.o_proj", s->hidden, q);
        add_in(in, l, "self_attn.q_norm", s->head_dim, 0);
        add_in(in, l, "self_attn.q_proj", q, s->hidden);
        add_in(in, l, "self_attn.v_proj", kv, s->hidden);
    }
    add("model.norm", s->hidden, 0);
}

static void write_config(const struct shape *s, char *out, size_t size)
{
    int n = snprintf(out, size,
                     "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"hidden_size\": %d, "
                     "\"intermediate_size\": %d, \"num_attention_heads\": %d, "
                     "\"num_key_value_heads\": %d, \"head_dim\": %d, \"num_hidden_layers\": %d, "
                     "\"vocab_size\": %d, \"max_position_embeddings\": 40960, "
                     "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000, \"hidden_act\": \"silu\", "
                     "\"tie_word_embeddings\": %s, \"torch_dtype\": \"bfloat16\"",
                     s->experts ? "qwen3_moe" : "qwen3",
                     s->experts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM", s->hidden, s->ffn,
                     s->heads, s->kv_heads, s->head_dim, s->layers, s->vocab,
                     s->experts ? "false" : "true");
    if (s->experts)
        n += snprintf(out + n, size - (size_t)n,
                      ", \"num_experts\": %d, \"num_experts_per_tok\": %d, "
                      "\"moe_intermediate_size\": %d, \"norm_topk_prob\": true, "
                      "\"decoder_sparse_step\": 1, \"mlp_only_layers\": []",
                      s->experts, s->experts < 8 ? s->experts : 8, s->expert_ffn);
    snprintf(out + n, size - (size_t)n, "}\n");
}

/* Roughly normal, standard deviation 1: the sum of four uniform 16-bit parts of a hash of the
 * place. */
static float noise(uint64_t seed, uint64_t at)
{
    uint64_t x = (seed + at + 1) * 0x9E3779B97F4A7C15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    int64_t sum = (int64_t)((x & 65535) + (x >> 16 & 65535) + (x >> 32 & 65535) + (x >> 48));
    return (float)(sum - 2 * 65535) * (1.0f / 37837);
}

static void fill(uint16_t *out, int tensor, int model, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t at = (uint64_t)tensor << 40 | (uint64_t)(first + i);
        float value =
            0.02f * noise(1, at) + 0.002f * (float)(model + 1) * noise((uint64_t)model + 2, at * 3);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        out[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

static bool make(const char *dir, int model, const struct shape *shape, struct ig_err *err)
{
    static uint16_t chunk[CHUNK];
    char path[4096], config[2048];
    write_config(shape, config, sizeof config);
    struct ig_writer *w;
    snprintf(path, sizeof path, "%s/m%d", dir, model);
    struct ig_writer_plan plan = {
        .out = path, .tensors = tensors, .count = count, .total_parameters = -1, .force = true};
    if (!ig_writer_open(&plan, &w, err)) return false;
    bool ok = true;
    for (int t = 0; ok && t < count; t++) {
        for (int64_t at = 0; ok && at < tensors[t].elems; at += CHUNK) {
            int64_t n = tensors[t].elems - at < CHUNK ? tensors[t].elems - at : CHUNK;
            fill(chunk, t, model, at, n);
            ok = ig_writer_put(w, t, (size_t)at * 2, chunk, (size_t)n * 2, err);
        }
        ok = ok && ig_writer_mark(w, t, err);
    }
    ok =
        ok && ig_writer_add(w, "config.json", ig_slice_of(config), err) && ig_writer_finish(w, err);
    ig_writer_close(w);
    return ok;
}

static bool choose(int argc, char **argv, struct shape *out)
{
    const char *name = argc > 3 ? argv[3] : "0.6b";
    out->name = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0) *out = shapes[i];
    if (!out->name) return false;
    if (argc > 4) out->layers = atoi(argv[4]);
    if (argc > 5) out->experts = atoi(argv[5]);
    return out->layers > 0 && out->layers <= 48 && out->experts >= 0 && out->experts <= 128;
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    struct shape shape;
    int models = argc > 2 ? atoi(argv[2]) : 0;
    if (models < 1 || !choose(argc, argv, &shape)) {
        fprintf(stderr, "usage: make_models DIR COUNT [0.6b|1.7b|30b-a3b|names [LAYERS "
                        "[EXPERTS]]]\n");
        return 2;
    }
    list_tensors(&shape);
    for (int m = 0; m < models; m++) {
        if (make(argv[1], m, &shape, &err)) continue;
        fprintf(stderr, "error: %s\n", err.text);
        return 1;
    }
    return 0;
}
