/* SPDX-License-Identifier: Apache-2.0
 * extract — the text model out of a vision-language one, as a view of it.
 *
 *     model.language_model.X, language_model.model.X  ->  model.X
 *     language_model.lm_head.X                        ->  lm_head.X
 *     model.visual.X, visual.X, vision_tower.X ...    ->  left out
 *     text_config {...}                               ->  the config itself
 *
 * Experts become single ones. Text gives all three position numbers of mrope the same value, so it
 * is plain rope: its keys are left out, theta and a scaling stay. DeepStack's weights are part of
 * the vision tower, and add nothing where there is no image. */
#include "merge/merge_internal.h"

#include "ingot/chat.h"

struct family {
    const char *vision, *text, *class;
};
static const struct family families[] = {
    {"qwen3_vl", "qwen3", "Qwen3ForCausalLM"},
    {"qwen3_vl_moe", "qwen3_moe", "Qwen3MoeForCausalLM"},
    {"qwen2_5_vl", "qwen2", "Qwen2ForCausalLM"},
    {"qwen2_vl", "qwen2", "Qwen2ForCausalLM"},
    {"mistral3", "mistral", "MistralForCausalLM"},
    {NULL, NULL, NULL},
};

static bool fail_family(struct ig_slice type, struct ig_err *err)
{
    struct ig_buf list = {0};
    for (int i = 0; families[i].vision; i++)
        ig_buf_printf(&list, "%s%s", i ? ", " : "", families[i].vision);
    ig_err_set(err, IG_ERR_UNSUPPORTED,
               "no text model can be taken out of a '" IG_SLICE_FMT "' model; it can of: %s",
               IG_SLICE_ARG(type), list.data ? list.data : "");
    ig_buf_release(&list);
    return false;
}

/* ---- names ---- */

static bool is_vision(struct ig_slice name)
{
    static const char *const prefixes[] = {"model.visual.",          "visual.",
                                           "model.vision_tower.",    "vision_tower.",
                                           "vision_model.",          "model.multi_modal_projector.",
                                           "multi_modal_projector.", NULL};
    for (int i = 0; prefixes[i]; i++)
        if (ig_slice_starts(name, prefixes[i])) return true;
    return false;
}

static struct ig_slice text_name(struct ig_arena *arena, struct ig_slice name)
{
    static const char *const moves[][2] = {{"model.language_model.", "model."},
                                           {"language_model.model.", "model."},
                                           {"language_model.lm_head.", "lm_head."}};
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        size_t n = strlen(moves[i][0]);
        if (ig_slice_starts(name, moves[i][0]))
            return merge__name(arena, "%s%.*s", moves[i][1], (int)(name.len - n), name.ptr + n);
    }
    return name;
}

static bool rename_tensors(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count, sizeof *list);
    int64_t count = 0;
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i];
        if (is_vision(t->name)) continue;
        const struct merge_view *view = merge__view_of(t);
        /* one size for both: a plain tensor is the start of a view */
        struct merge_view *own = ig_arena_new(&m->arena, sizeof *own);
        if (!own) return ig_err_nomem(err);
        if (view) *own = *view;
        if (!view) own->tensor = *t;
        own->tensor.name = text_name(&m->arena, t->name);
        if (!own->tensor.name.ptr) return ig_err_nomem(err);
        list[count++] = &own->tensor;
    }
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err);
}

/* ---- config.json ---- */

/* What the text model needs and its text_config may leave to the outer config. */
static const char *const inherited[] = {
    "tie_word_embeddings", "torch_dtype",          "dtype", "bos_token_id", "eos_token_id",
    "pad_token_id",        "transformers_version", NULL};

static void drop_mrope(struct ig_json *rope)
{
    static const char *const keys[] = {"mrope_section", "mrope_interleaved", NULL};
    for (int i = 0; keys[i]; i++)
        merge__config_drop(rope, keys[i]);
    for (int i = 0; i < 2; i++) {
        struct ig_json *type = merge__config_find(rope, i ? "type" : "rope_type");
        if (type && ig_slice_is(ig_json_text(type), "mrope")) type->text = ig_slice_of("default");
    }
}

/* Whether a rope_scaling says nothing but "as always". */
static bool is_plain(const struct ig_json *rope)
{
    struct ig_slice type = ig_json_text(ig_json_get(rope, "type"));
    if (!type.ptr) type = ig_json_text(ig_json_get(rope, "rope_type"));
    return !type.ptr || ig_slice_is(type, "default");
}

/* What the text family would take for something else when it is not said. */
static bool say_more(struct ig_merge *m, const struct family *family, struct ig_json *config,
                     struct ig_err *err)
{
    const struct ig_json yes = {.type = IG_JSON_TRUE};
    /* transformers 5 keeps theta among rope_parameters, and calls the experts local; older readers
     * and mlx-lm look here */
    const struct ig_json *theta = ig_json_get(ig_json_get(config, "rope_parameters"), "rope_theta");
    const struct ig_json *experts = ig_json_get(config, "num_local_experts");
    if (theta && !ig_json_get(config, "rope_theta") &&
        !merge__config_set(config, "rope_theta", *theta, &m->arena, err))
        return false;
    if (experts && !ig_json_get(config, "num_experts") &&
        !merge__config_set(config, "num_experts", *experts, &m->arena, err))
        return false;
    /* Qwen3-VL's experts always are normed, Qwen3's only when the config says so. */
    bool normed = strcmp(family->vision, "qwen3_vl_moe") == 0;
    return !normed || merge__config_set(config, "norm_topk_prob", yes, &m->arena, err);
}

static bool lift_config(struct ig_merge *m, struct merge_input *in, const struct family *family,
                        struct ig_err *err)
{
    const struct ig_json *outer = in->config, *inner = ig_json_get(outer, "text_config");
    struct ig_json *config, *rope;
    if (!merge__config_copy(inner, &m->arena, &config, err)) return false;
    config->key = (struct ig_slice){0};
    struct ig_json *class = ig_arena_new(&m->arena, sizeof *class);
    if (!class) return ig_err_nomem(err);
    *class = (struct ig_json){.type = IG_JSON_STRING, .text = ig_slice_of(family->class)};
    const struct ig_json list = {.type = IG_JSON_ARRAY, .count = 1, .items = class};
    const struct ig_json type = {.type = IG_JSON_STRING, .text = ig_slice_of(family->text)};
    if (!merge__config_set(config, "architectures", list, &m->arena, err) ||
        !merge__config_set(config, "model_type", type, &m->arena, err))
        return false;
    for (int i = 0; inherited[i]; i++) {
        const struct ig_json *from = ig_json_get(outer, inherited[i]);
        const struct ig_json *own = ig_json_get(config, inherited[i]);
        if (from && (!own || own->type == IG_JSON_NULL) &&
            !merge__config_set(config, inherited[i], *from, &m->arena, err))
            return false;
    }
    if ((rope = merge__config_find(config, "rope_parameters")) && rope->type == IG_JSON_OBJECT)
        drop_mrope(rope);
    if ((rope = merge__config_find(config, "rope_scaling")) && rope->type == IG_JSON_OBJECT) {
        drop_mrope(rope);
        if (is_plain(rope)) merge__config_drop(config, "rope_scaling");
    }
    if (!say_more(m, family, config, err)) return false;
    in->config = config;
    return true;
}

bool merge__apply_extract(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    struct ig_slice type = ig_json_text(ig_json_get(in->config, "model_type"));
    const struct ig_json *inner = ig_json_get(in->config, "text_config");
    const struct family *family = families;
    while (family->vision && !ig_slice_is(type, family->vision))
        family++;
    if (!family->vision || !inner || inner->type != IG_JSON_OBJECT) return fail_family(type, err);
    return merge__split_experts(m, in, err) && rename_tensors(m, in, err) &&
           lift_config(m, in, family, err);
}

/* ---- the chat template ---- */

/* Vision-language templates take content as a list of parts, and some take nothing else. */
void merge__check_template(const struct ig_merge *m, const struct ig_watch *watch)
{
    static const char request[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], "
                                  "\"add_generation_prompt\": true}";
    const char *folder = ig_store_path(m->stores[m->donor]);
    struct ig_err err = {0};
    struct ig_template *tmpl = NULL;
    struct ig_json_doc *doc = NULL;
    struct ig_buf text = {0};
    if (!m->recipe->extract || !ig_template_exists(folder)) return;
    bool ok = ig_json_doc_new(ig_slice_of(request), &doc, &err) &&
              ig_template_open(folder, false, &tmpl, &err) &&
              ig_template_render(tmpl, ig_json_doc_root(doc), 0, &text, &err);
    if (!ok)
        ig_watch_warn(watch, "the chat template does not render text messages: %s", err.text);
    else if (!ig_slice_find(ig_buf_view(&text), ig_slice_of("Hello")))
        ig_watch_warn(watch, "the chat template leaves out messages that are plain text");
    ig_buf_release(&text);
    ig_template_close(tmpl);
    ig_json_doc_free(doc);
}
