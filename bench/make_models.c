/* SPDX-License-Identifier: Apache-2.0
 * make_models DIR COUNT [LAYERS] — COUNT bf16 models of Qwen3-0.6B's names and shapes at DIR/m0
 * ..., random finetunes of one random base, for the benchmarks. 1.19 GB each with the 28 layers of
 * the original. */
#include "ingot/store.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    HIDDEN = 1024,
    HEADS = 16,
    KV_HEADS = 8,
    HEAD_DIM = 128,
    FFN = 3072,
    VOCAB = 151936,
    TENSORS_MAX = 1024
};
enum { CHUNK = 1 << 20 };

struct part {
    const char *name;
    int64_t rows, cols; /* cols 0: a vector */
};
static const struct part parts[] = {
    {"input_layernorm", HIDDEN, 0},
    {"mlp.down_proj", HIDDEN, FFN},
    {"mlp.gate_proj", FFN, HIDDEN},
    {"mlp.up_proj", FFN, HIDDEN},
    {"post_attention_layernorm", HIDDEN, 0},
    {"self_attn.k_norm", HEAD_DIM, 0},
    {"self_attn.k_proj", KV_HEADS *HEAD_DIM, HIDDEN},
    {"self_attn.o_proj", HIDDEN, HEADS *HEAD_DIM},
    {"self_attn.q_norm", HEAD_DIM, 0},
    {"self_attn.q_proj", HEADS *HEAD_DIM, HIDDEN},
    {"self_attn.v_proj", KV_HEADS *HEAD_DIM, HIDDEN},
};

static struct ig_tensor tensors[TENSORS_MAX];
static char names[TENSORS_MAX][80];
static int count;

static void add(int64_t rows, int64_t cols)
{
    struct ig_tensor *t = &tensors[count];
    t->name = ig_slice_of(names[count++]);
    t->dtype = IG_BF16;
    t->rank = cols ? 2 : 1;
    t->shape[0] = rows;
    t->shape[1] = cols;
    t->elems = rows * (cols ? cols : 1);
    t->bytes = (size_t)t->elems * 2;
}

static void list_tensors(int layers)
{
    snprintf(names[count], sizeof names[0], "model.embed_tokens.weight");
    add(VOCAB, HIDDEN);
    for (int l = 0; l < layers; l++) {
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            snprintf(names[count], sizeof names[0], "model.layers.%d.%s.weight", l, parts[p].name);
            add(parts[p].rows, parts[p].cols);
        }
    }
    snprintf(names[count], sizeof names[0], "model.norm.weight");
    add(HIDDEN, 0);
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

static bool make(const char *dir, int model, int layers, struct ig_err *err)
{
    static uint16_t chunk[CHUNK];
    char path[4096], config[1024];
    snprintf(config, sizeof config,
             "{\"model_type\": \"qwen3\", \"architectures\": [\"Qwen3ForCausalLM\"], "
             "\"hidden_size\": %d, \"intermediate_size\": %d, \"num_attention_heads\": %d, "
             "\"num_key_value_heads\": %d, \"head_dim\": %d, \"num_hidden_layers\": %d, "
             "\"vocab_size\": %d, \"max_position_embeddings\": 40960, \"rms_norm_eps\": 1e-06, "
             "\"rope_theta\": 1000000, \"hidden_act\": \"silu\", \"tie_word_embeddings\": true, "
             "\"torch_dtype\": \"bfloat16\"}\n",
             HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, layers, VOCAB);
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

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    int models = argc > 2 ? atoi(argv[2]) : 0, layers = argc > 3 ? atoi(argv[3]) : 28;
    if (models < 1 || layers < 1 || layers > 80) {
        fprintf(stderr, "usage: make_models DIR COUNT [LAYERS]\n");
        return 2;
    }
    list_tensors(layers);
    for (int m = 0; m < models; m++) {
        if (make(argv[1], m, layers, &err)) continue;
        fprintf(stderr, "error: %s\n", err.text);
        return 1;
    }
    return 0;
}
