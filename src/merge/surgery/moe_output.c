/* SPDX-License-Identifier: Apache-2.0
 * moe_output — the families that dense models become as experts, chosen as mergekit-moe does: the
 * first of the table that takes the base's model_type and the shared expert. */
#include "merge/surgery/moe_internal.h"

#include <strings.h>

#define GATED "gate_proj", "up_proj", "down_proj"

// clang-format off
static const struct moe_output outputs[] = {
    {"Mixtral",      {"llama", "mistral"},          "mixtral",   "MixtralForCausalLM",
     "block_sparse_moe", {"w1", "w3", "w2"}, NULL,             false, false, false},
    {"DeepSeek MoE", {"llama", "mistral"},          "deepseek",  "DeepseekForCausalLM",
     "mlp",              {GATED},            "shared_experts", false, false, false},
    {"Qwen MoE",     {"llama", "mistral", "qwen2"}, "qwen2_moe", "Qwen2MoeForCausalLM",
     "mlp",              {GATED},            "shared_expert",  true,  true,  true},
    {"Qwen3 MoE",    {"qwen3"},                     "qwen3_moe", "Qwen3MoeForCausalLM",
     "mlp",              {GATED},            NULL,             false, false, false},
};
// clang-format on
#define OUTPUTS (sizeof outputs / sizeof *outputs)

/* ---- which ---- */

static bool takes(const struct moe_output *o, struct ig_slice type)
{
    for (int i = 0; o->dense[i]; i++)
        if (ig_slice_is(type, o->dense[i])) return true;
    return false;
}

/* Why it is not this one, or NULL. */
static const char *objection(const struct moe_output *o, const struct recipe_moe *x,
                             struct ig_slice type)
{
    if (!takes(o, type)) return "is not made of models of that kind";
    if (x->shared && !o->shared) return "has no shared expert";
    if (!x->shared && o->needs_shared) return "needs one model under shared_experts";
    bool prompts = x->shared && x->experts[x->count].positive;
    if (prompts && !o->gated) return "has no gate for its shared expert: leave its prompts out";
    if (x->shared && o->gated && !x->gated)
        return "has a gate for its shared expert: give that positive_prompts";
    return NULL;
}

static bool is_asked(const struct moe_output *o, struct ig_slice name)
{
    return name.len <= strlen(o->name) && strncasecmp(o->name, name.ptr, name.len) == 0;
}

bool merge__choose_moe(const struct ig_merge *m, const struct moe_output **out, struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    const struct ig_json *config = m->inputs[m->recipe->base].config;
    struct ig_slice type = ig_json_text(ig_json_get(config, "model_type"));
    struct ig_buf why = {0};
    bool known = false;
    for (size_t i = 0; i < OUTPUTS; i++) {
        if (x->architecture.len && !is_asked(&outputs[i], x->architecture)) continue;
        const char *no = objection(&outputs[i], x, type);
        if (!no) {
            ig_buf_release(&why);
            *out = &outputs[i];
            return true;
        }
        known = true;
        if (x->architecture.len || takes(&outputs[i], type))
            ig_buf_printf(&why, "%s%s %s", why.len ? "; " : "", outputs[i].name, no);
    }
    if (!known)
        ig_err_set(err, IG_ERR_DATA,
                   "architecture '" IG_SLICE_FMT "': Mixtral, DeepSeek MoE, Qwen MoE and Qwen3 MoE "
                   "are known",
                   IG_SLICE_ARG(x->architecture));
    else
        ig_err_set(err, IG_ERR_UNSUPPORTED,
                   "a '" IG_SLICE_FMT "' model cannot be made of experts like this: %s",
                   IG_SLICE_ARG(type),
                   why.len ? why.data : "qwen3, qwen2, llama and mistral models can be");
    ig_buf_release(&why);
    return false;
}

/* ---- config.json ---- */

struct editor {
    struct ig_merge *m;
    struct ig_json *config;
    struct ig_err *err;
    bool ok;
};

static void put(struct editor *e, const char *key, struct ig_json value)
{
    e->ok = e->ok && merge__config_set(e->config, key, value, &e->m->arena, e->err);
}

static void put_text(struct editor *e, const char *key, const char *text)
{
    put(e, key, (struct ig_json){.type = IG_JSON_STRING, .text = ig_slice_of(text)});
}

static void put_number(struct editor *e, const char *key, int64_t value)
{
    struct ig_slice text = merge__name(&e->m->arena, "%lld", (long long)value);
    if (!text.ptr) e->ok = ig_err_nomem(e->err);
    put(e, key, (struct ig_json){.type = IG_JSON_NUMBER, .text = text});
}

static void put_constant(struct editor *e, const char *key, enum ig_json_type type)
{
    put(e, key, (struct ig_json){.type = type});
}

/* DeepSeek's first model has its code on the Hub, not in transformers. */
static void put_code(struct editor *e)
{
    static const char *const code[][2] = {
        {"AutoConfig", "configuration_deepseek.DeepseekConfig"},
        {"AutoModel", "modeling_deepseek.DeepseekModel"},
        {"AutoModelForCausalLM", "modeling_deepseek.DeepseekForCausalLM"}};
    struct ig_json *items = ig_arena_array(&e->m->arena, 3, sizeof *items);
    if (!items) e->ok = ig_err_nomem(e->err);
    for (int i = 0; e->ok && i < 3; i++) {
        struct ig_slice text =
            merge__name(&e->m->arena, "deepseek-ai/deepseek-moe-16b-base--%s", code[i][1]);
        if (!text.ptr) e->ok = ig_err_nomem(e->err);
        items[i] =
            (struct ig_json){.type = IG_JSON_STRING, .key = ig_slice_of(code[i][0]), .text = text};
    }
    put(e, "auto_map", (struct ig_json){.type = IG_JSON_OBJECT, .count = 3, .items = items});
}

static void put_deepseek(struct editor *e, const struct recipe_moe *x)
{
    put_number(e, "n_routed_experts", x->count);
    if (x->shared)
        put_number(e, "n_shared_experts", 1);
    else
        put_constant(e, "n_shared_experts", IG_JSON_NULL);
    put_number(e, "first_k_dense_replace", 0);
    put_number(e, "moe_layer_freq", 1);
    put_text(e, "scoring_func", "softmax");
    put_constant(e, "norm_topk_prob", IG_JSON_TRUE);
    put_code(e);
}

static void put_qwen(struct editor *e, const struct recipe_moe *x, const struct moe_output *o,
                     int64_t inner)
{
    put_number(e, "num_experts", x->count);
    put_number(e, "decoder_sparse_step", 1);
    put_constant(e, "norm_topk_prob", IG_JSON_TRUE);
    put_constant(e, "mlp_only_layers", IG_JSON_ARRAY);
    if (!o->shared) return;
    put_number(e, "shared_expert_intermediate_size", inner);
    put_constant(e, "qkv_bias", IG_JSON_TRUE);
    put_constant(e, "sliding_window", IG_JSON_NULL);
    put_constant(e, "use_sliding_window", IG_JSON_FALSE);
}

bool merge__moe_config(struct ig_merge *m, struct merge_input *in, const struct moe_output *o,
                       struct ig_err *err)
{
    const struct recipe_moe *x = m->recipe->moe;
    struct editor e = {.m = m, .err = err, .ok = true};
    struct ig_json *class = ig_arena_new(&m->arena, sizeof *class);
    int64_t inner = 0;
    if (!class) return ig_err_nomem(err);
    if (!merge__config_copy(in->config, &m->arena, &e.config, err)) return false;
    ig_json_int(ig_json_get(e.config, "intermediate_size"), &inner);
    *class = (struct ig_json){.type = IG_JSON_STRING, .text = ig_slice_of(o->class)};
    put(&e, "architectures", (struct ig_json){.type = IG_JSON_ARRAY, .count = 1, .items = class});
    put_text(&e, "model_type", o->type);
    put_number(&e, "num_experts_per_tok", x->used);
    if (strcmp(o->type, "mixtral") == 0) {
        put_number(&e, "num_local_experts", x->count);
        put_constant(&e, "sliding_window", IG_JSON_NULL);
    } else {
        put_number(&e, "moe_intermediate_size", inner);
        if (strcmp(o->type, "deepseek") == 0)
            put_deepseek(&e, x);
        else
            put_qwen(&e, x, o, inner);
    }
    in->config = e.config;
    return e.ok;
}
