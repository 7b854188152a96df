/* SPDX-License-Identifier: Apache-2.0
 * packed — folders in MLX's quantised formats, as views of plain weights: what `ingot dequantize`
 * would write, in the type of the scales (affine) or bf16. */
#include "merge/merge_internal.h"

#include "ingot/quant.h"
#include "tensor/codecs/codec.h"

struct packed {
    const struct ig_tensor *codes, *scales, *biases;
    struct ig_coder coder;
};

/* Runs of whole groups that hold what is asked for. */
static bool read_packed(const struct merge_input *in, const struct merge_view *v, int64_t first,
                        int64_t count, void *to, struct ig_err *err)
{
    const struct packed *p = v->own;
    const struct ig_codec codec = p->coder.codec;
    unsigned char codes[MERGE_VIEW_PART], scales[MERGE_VIEW_PART / 4], biases[MERGE_VIEW_PART / 4];
    unsigned char plain[MERGE_VIEW_PART * sizeof(float)], *out = to;
    size_t size = ig_dtype_bytes(v->tensor.dtype);
    while (count > 0) {
        int64_t start = first / CODEC_ALIGN * CODEC_ALIGN;
        int64_t n = v->tensor.elems - start;
        if (n > MERGE_VIEW_PART) n = MERGE_VIEW_PART;
        int64_t at = start / codec.group_size, groups = n / codec.group_size;
        size_t scale = ig_dtype_bytes(p->scales->dtype);
        const struct ig_packed parts = {codes, scales, biases};
        if (!ig_store_read(in->store, p->codes, (size_t)start / 8 * (size_t)codec.bits,
                           (size_t)n / 8 * (size_t)codec.bits, codes, err) ||
            !ig_store_read(in->store, p->scales, (size_t)at * scale, (size_t)groups * scale, scales,
                           err) ||
            (p->biases && !ig_store_read(in->store, p->biases, (size_t)at * scale,
                                         (size_t)groups * scale, biases, err)))
            return false;
        ig_decode(&p->coder, &parts, n, plain);
        int64_t skip = first - start, taken = n - skip < count ? n - skip : count;
        memcpy(out, plain + (size_t)skip * size, (size_t)taken * size);
        out += (size_t)taken * size;
        first += taken;
        count -= taken;
    }
    return true;
}

static const struct ig_tensor *part_of(struct ig_merge *m, const struct merge_input *in,
                                       const struct ig_tensor *weight, const char *part)
{
    size_t stem = weight->name.len - strlen("weight");
    struct ig_slice name = merge__name(&m->arena, "%.*s%s", (int)stem, weight->name.ptr, part);
    return name.ptr ? ig_store_find(in->store, name) : NULL;
}

static const struct ig_tensor *new_packed(struct ig_merge *m, const struct merge_input *in,
                                          const struct ig_tensor *t, struct ig_codec codec,
                                          struct ig_err *err)
{
    struct merge_view *v = merge__view_new(&m->arena, t, t->name, err);
    struct packed *p = ig_arena_new(&m->arena, sizeof *p);
    enum ig_isa isa;
    if (!v || !p) return ig_err_nomem(err), NULL;
    if (!ig_isa_pick(&isa, err)) return NULL;
    bool affine = codec.mode == IG_AFFINE;
    p->codes = t;
    p->scales = part_of(m, in, t, "scales");
    p->biases = affine ? part_of(m, in, t, "biases") : NULL;
    if (!p->scales ||
        (affine && (!p->biases || p->biases->elems != p->scales->elems ||
                    p->biases->dtype != p->scales->dtype)) ||
        (affine ? !ig_codec_takes(p->scales->dtype) : p->scales->dtype != IG_U8)) {
        ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' has no scales or biases that fit",
                   IG_SLICE_ARG(t->name));
        return NULL;
    }
    v->tensor.dtype = affine ? p->scales->dtype : IG_BF16;
    v->like = v->tensor.dtype;
    v->tensor.shape[t->rank - 1] = t->shape[t->rank - 1] * 32 / codec.bits;
    ig_coder_init(&p->coder, codec, v->tensor.dtype, IG_ROUND_CPU, isa);
    v->own = p;
    v->read = read_packed;
    if (!merge__view_size(v, err)) return NULL;
    if (v->tensor.elems / codec.group_size == p->scales->elems) return &v->tensor;
    ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' does not fit its scales",
               IG_SLICE_ARG(t->name));
    return NULL;
}

bool merge__apply_packed(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count, sizeof *list);
    struct ig_json *config;
    int64_t count = 0;
    if (!ig_json_get(in->config, "quantization")) return true;
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_codec codec;
        bool is_scale;
        if (!ig_quant_stored(in->store, in->tensors[i], &codec, &is_scale, err)) return false;
        if (is_scale) continue;
        list[count] = in->tensors[i];
        if (codec.bits && !(list[count] = new_packed(m, in, in->tensors[i], codec, err)))
            return false;
        count++;
    }
    in->tensors = list;
    in->count = count;
    if (!merge__config_copy(in->config, &m->arena, &config, err)) return false;
    merge__config_drop(config, "quantization");
    merge__config_drop(config, "quantization_config");
    in->config = config;
    return merge__input_index(in, err);
}
