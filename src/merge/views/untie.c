/* SPDX-License-Identifier: Apache-2.0
 * untie — models whose head is their embedding, beside models that have a head of their own: the
 * embedding is taken for the head, and the output is not tied. */
#include "merge/merge_internal.h"

static const struct ig_tensor *find_role(const struct merge_input *in, enum ig_role role)
{
    const struct ig_arch *arch = ig_arch_find(in->config);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_place place;
        ig_arch_place(arch, in->tensors[i]->name, &place);
        if (place.role == role && place.layer < 0 && ig_slice_ends(in->tensors[i]->name, ".weight"))
            return in->tensors[i];
    }
    return NULL;
}

static bool read_same(const struct merge_input *in, const struct merge_view *v, int64_t first,
                      int64_t count, void *to, struct ig_err *err)
{
    return merge__input_read(in, v->own, first, count, to, err);
}

static bool add_head(struct ig_merge *m, struct merge_input *in, struct ig_slice name,
                     struct ig_err *err)
{
    bool tied = false;
    const struct ig_tensor *embed = find_role(in, IG_ROLE_EMBED);
    ig_json_bool(ig_json_get(merge__text_config(in->config), "tie_word_embeddings"), &tied);
    if (!tied) ig_json_bool(ig_json_get(in->config, "tie_word_embeddings"), &tied);
    if (!tied || !embed) return true; /* the plan says what is missing */
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count + 1, sizeof *list);
    struct merge_view *v = merge__view_new(&m->arena, embed, name, err);
    if (!list || !v) return ig_err_nomem(err);
    memcpy(list, in->tensors, (size_t)in->count * sizeof *list);
    v->own = embed;
    v->read = read_same;
    list[in->count++] = &v->tensor;
    in->tensors = list;
    return merge__input_index(in, err);
}

bool merge__untie(struct ig_merge *m, struct ig_err *err)
{
    const struct ig_tensor *heads[MERGE_MODELS_MAX], *any = NULL;
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        heads[i] = find_role(&m->inputs[i], IG_ROLE_LM_HEAD);
        if (heads[i]) any = heads[i];
    }
    for (int i = 0; any && i < merge__slice_models(m->recipe); i++)
        if (!heads[i] && !add_head(m, &m->inputs[i], any->name, err)) return false;
    return true;
}
