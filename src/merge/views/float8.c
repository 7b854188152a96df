/* SPDX-License-Identifier: Apache-2.0
 * float8 — checkpoints in float8 with their scale tensors, as views of f32.
 *
 *     NAME_scale_inv   [.., rows / 128, cols / 128]: a factor for each block of 128 x 128
 *     NAME_scale       one factor, or one for each row
 *
 * Either multiplies (the published name is the quantiser's view). What was written by DeepSeek's,
 * Qwen's and vLLM's tools. Block sizes are the config's weight_block_size, which is 128 x 128. */
#include "merge/merge_internal.h"

#include <stdio.h>

#define BLOCK_DEFAULT 128

struct scaled {
    const struct ig_tensor *of;
    float *scales;
    int64_t rows, cols;             /* of the last two dimensions */
    int64_t block_rows, block_cols; /* that share a factor */
    int64_t across, down;           /* factors in a row and in a column of them */
};

static bool read_scaled(const struct merge_input *in, const struct merge_view *v, int64_t first,
                        int64_t count, void *to, struct ig_err *err)
{
    const struct scaled *s = v->own;
    float *out = to;
    if (!merge__input_read_f32(in, s->of, first, count, out, err)) return false;
    while (count > 0) {
        int64_t row = first / s->cols, col = first % s->cols;
        int64_t n = s->block_cols - col % s->block_cols;
        if (n > s->cols - col) n = s->cols - col;
        if (n > count) n = count;
        int64_t matrix = row / s->rows, down = row % s->rows / s->block_rows;
        float factor = s->scales[(matrix * s->down + down) * s->across + col / s->block_cols];
        for (int64_t i = 0; i < n; i++)
            out[i] *= factor;
        out += n;
        first += n;
        count -= n;
    }
    return true;
}

static int64_t blocks_of(int64_t length, int64_t block)
{
    return length / block + (length % block != 0);
}

/* The blocks by which the scales' shape divides the weight's; false when it does not. */
static bool fit_scales(const struct merge_input *in, const struct ig_tensor *w,
                       const struct ig_tensor *scale, bool blocks, struct scaled *s)
{
    const struct ig_json *config = ig_json_get(in->config, "quantization_config");
    const struct ig_json *size = ig_json_get(config, "weight_block_size");
    int64_t matrices = 1;
    if (w->elems == 0) return false; /* else no product below is larger than its elements */
    s->rows = w->rank > 1 ? w->shape[w->rank - 2] : 1;
    s->cols = w->rank > 0 ? w->shape[w->rank - 1] : 1;
    for (int d = 0; d < w->rank - 2; d++)
        matrices *= w->shape[d];
    s->block_rows = s->block_cols = BLOCK_DEFAULT;
    if (size && size->type == IG_JSON_ARRAY && size->count == 2 &&
        (!ig_json_int(&size->items[0], &s->block_rows) ||
         !ig_json_int(&size->items[1], &s->block_cols) || s->block_rows < 1 || s->block_cols < 1))
        return false;
    if (!blocks || scale->elems == matrices || scale->elems == matrices * s->rows) {
        s->block_cols = s->cols ? s->cols : 1;
        s->block_rows = scale->elems == matrices ? (s->rows ? s->rows : 1) : 1;
    }
    s->across = blocks_of(s->cols, s->block_cols);
    s->down = blocks_of(s->rows, s->block_rows);
    return scale->elems == matrices * s->down * s->across;
}

static struct merge_view *new_scaled(struct ig_merge *m, const struct merge_input *in,
                                     const struct ig_tensor *w, const struct ig_tensor *scale,
                                     bool blocks, struct ig_err *err)
{
    struct merge_view *v = merge__view_new(&m->arena, w, w->name, err);
    struct scaled *s = v ? ig_arena_new(&m->arena, sizeof *s) : NULL;
    if (!s) return ig_err_nomem(err), NULL;
    s->of = w;
    if (!ig_dtype_is_float(scale->dtype) || !fit_scales(in, w, scale, blocks, s)) {
        ig_err_set(err, IG_ERR_DATA,
                   "the scales '" IG_SLICE_FMT "' do not divide '" IG_SLICE_FMT "' into blocks",
                   IG_SLICE_ARG(scale->name), IG_SLICE_ARG(w->name));
        return NULL;
    }
    s->scales = ig_arena_array(&m->arena, (size_t)scale->elems, sizeof *s->scales);
    if (!s->scales) return ig_err_nomem(err), NULL;
    if (!merge__input_read_f32(in, scale, 0, scale->elems, s->scales, err)) return NULL;
    v->tensor.dtype = IG_F32;
    v->like = IG_BF16;
    enum ig_dtype said;
    struct ig_slice word = ig_json_text(ig_json_get(in->config, "torch_dtype"));
    if (!word.ptr) word = ig_json_text(ig_json_get(in->config, "dtype"));
    if (ig_dtype_find(word, &said) && (said == IG_F16 || said == IG_F32)) v->like = said;
    v->own = s;
    v->read = read_scaled;
    return merge__view_size(v, err) ? v : NULL;
}

static bool is_float8(const struct ig_tensor *t)
{
    return t->dtype == IG_F8_E4M3 || t->dtype == IG_F8_E5M2;
}

/* The scales of a weight, or NULL. */
static const struct ig_tensor *scale_of(const struct merge_input *in, const struct ig_tensor *w,
                                        bool *blocks)
{
    char name[1024];
    static const char *const suffixes[] = {"_scale_inv", "_scale"};
    for (int i = 0; i < 2; i++) {
        int n = snprintf(name, sizeof name, "%.*s%s", (int)w->name.len, w->name.ptr, suffixes[i]);
        if (n < 0 || (size_t)n >= sizeof name) return NULL;
        const struct ig_tensor *t = merge__input_find(in, ig_slice_make(name, (size_t)n));
        *blocks = i == 0;
        if (t) return t;
    }
    return NULL;
}

/* Scales of weights and of activations: nothing that a plain checkpoint has. */
static bool is_scale(struct ig_slice name)
{
    static const char *const suffixes[] = {"_scale_inv", ".weight_scale", ".input_scale",
                                           ".activation_scale", NULL};
    for (int i = 0; suffixes[i]; i++)
        if (ig_slice_ends(name, suffixes[i])) return true;
    return false;
}

/* The config without what says that its weights are float8. */
static bool drop_quantization(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    struct ig_json *config;
    if (!in->config) return true;
    if (!merge__config_copy(in->config, &m->arena, &config, err)) return false;
    merge__config_drop(config, "quantization_config");
    merge__config_drop(config, "compression_config");
    in->config = config;
    return true;
}

bool merge__apply_float8(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    bool any = false, blocks;
    int64_t count = 0;
    for (int64_t i = 0; i < in->count && !any; i++)
        any = is_float8(in->tensors[i]) && scale_of(in, in->tensors[i], &blocks);
    const struct ig_json *quantised = ig_json_get(in->config, "quantization_config");
    if (!any && quantised && quantised->type == IG_JSON_OBJECT) {
        struct ig_slice method = ig_json_text(ig_json_get(quantised, "quant_method"));
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "model '%s' is quantised (" IG_SLICE_FMT "): dequantise it first",
                          ig_store_path(in->store),
                          IG_SLICE_ARG(method.ptr ? method : ig_slice_of("quantization_config")));
    }
    if (!any) return true;
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count, sizeof *list);
    if (!list) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = in->tensors[i], *scale;
        if (is_scale(t->name)) continue;
        list[count] = t;
        if (is_float8(t) && (scale = scale_of(in, t, &blocks))) {
            struct merge_view *v = new_scaled(m, in, t, scale, blocks, err);
            if (!v) return false;
            list[count] = &v->tensor;
        }
        count++;
    }
    in->tensors = list;
    in->count = count;
    return merge__input_index(in, err) && drop_quantization(m, in, err);
}
