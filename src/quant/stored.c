/* SPDX-License-Identifier: Apache-2.0
 * stored — reading MLX's quantised layout back: which codec a module of a folder has.
 *
 *   X.weight  U32 [.., K * bits / 32]     X.scales  [.., K / group]     X.biases  as scales
 * (affine)
 *
 * As mlx-lm's loader: an entry of the quantization map for the module's path wins; a module without
 * one, but with scales, has the map's own bits, group_size and mode. */
#include "ingot/quant.h"

/* "module" + suffix as a tensor of the store, or NULL. */
static const struct ig_tensor *sibling(const struct ig_store *store, struct ig_slice module,
                                       const char *suffix)
{
    char name[1024];
    size_t len = strlen(suffix);
    if (module.len + len > sizeof name) return NULL;
    memcpy(name, module.ptr, module.len);
    memcpy(name + module.len, suffix, len);
    return ig_store_find(store, ig_slice_make(name, module.len + len));
}

static const struct ig_json *entry_of(const struct ig_json *map, struct ig_slice module)
{
    for (uint32_t i = 0; map && map->type == IG_JSON_OBJECT && i < map->count; i++)
        if (ig_slice_equal(map->items[i].key, module)) return &map->items[i];
    return NULL;
}

/* Absent or null values keep the mode's defaults. */
static bool read_codec(const struct ig_json *entry, struct ig_codec *out, struct ig_err *err)
{
    struct ig_slice mode = ig_json_text(ig_json_get(entry, "mode"));
    struct ig_codec codec = {IG_AFFINE, 0, 0};
    int64_t value;
    if (mode.ptr && !ig_quant_mode_find(mode, &codec.mode))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "quantisation mode '" IG_SLICE_FMT "' is unknown", IG_SLICE_ARG(mode));
    if (ig_json_int(ig_json_get(entry, "bits"), &value)) codec.bits = value > 64 ? 64 : (int)value;
    if (ig_json_int(ig_json_get(entry, "group_size"), &value))
        codec.group_size = value > 65536 ? 65536 : (int)value;
    ig_codec_default(&codec);
    if (!ig_codec_check(codec, err)) {
        err->code = IG_ERR_DATA;
        return false;
    }
    *out = codec;
    return true;
}

static bool check_shapes(const struct ig_tensor *weight, const struct ig_tensor *scales,
                         struct ig_codec codec, struct ig_err *err)
{
    int last = weight->rank - 1;
    if (weight->dtype != IG_U32 || weight->rank < 2 || scales->rank != weight->rank)
        return ig_err_set(err, IG_ERR_DATA, "a packed weight must be U32 with scales of its rank");
    for (int i = 0; i < last; i++)
        if (weight->shape[i] != scales->shape[i])
            return ig_err_set(err, IG_ERR_DATA, "weight has %lld rows, scales %lld",
                              (long long)weight->shape[i], (long long)scales->shape[i]);
    /* Lengths come from a checked header, so neither product can overflow. */
    int64_t packed = weight->shape[last] * 32, groups = scales->shape[last];
    if (packed % codec.bits || packed / codec.bits != groups * codec.group_size)
        return ig_err_set(
            err, IG_ERR_DATA, "%lld words of %d-bit values do not make %lld groups of %d",
            (long long)weight->shape[last], codec.bits, (long long)groups, codec.group_size);
    return true;
}

bool ig_quant_stored(const struct ig_store *store, const struct ig_tensor *tensor,
                     struct ig_codec *codec, bool *is_scale, struct ig_err *err)
{
    static const char *const suffixes[] = {".weight", ".scales", ".biases"};
    struct ig_slice module = {0};
    for (int i = 0; i < 3; i++)
        if (ig_slice_ends(tensor->name, suffixes[i]))
            module = ig_slice_make(tensor->name.ptr, tensor->name.len - strlen(suffixes[i]));
    const struct ig_tensor *weight = module.len ? sibling(store, module, ".weight") : NULL;
    const struct ig_tensor *scales = module.len ? sibling(store, module, ".scales") : NULL;
    const struct ig_json *map = ig_json_get(ig_store_config(store), "quantization");
    const struct ig_json *entry = entry_of(map, module);
    *codec = (struct ig_codec){0};
    *is_scale = false;
    if (!weight || !scales || !map || (entry && entry->type == IG_JSON_FALSE)) return true;
    struct ig_codec found;
    if (!read_codec(entry && entry->type == IG_JSON_OBJECT ? entry : map, &found, err) ||
        !check_shapes(weight, scales, found, err))
        return ig_err_within(err, "'%s', module '" IG_SLICE_FMT "'", ig_store_path(store),
                             IG_SLICE_ARG(module));
    *is_scale = tensor != weight;
    if (!*is_scale) *codec = found;
    return true;
}
