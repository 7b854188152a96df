/* SPDX-License-Identifier: Apache-2.0
 * model — opening a folder to run it: shape, weights, rotary frequencies, stop tokens.
 *
 * Rotary frequencies as transformers' modeling_rope_utils computes them, in f32, d being the
 * elements that are turned:
 *   plain   base^(-2j / d)
 *   linear  that / factor
 *   llama3  divided by factor where the wavelength is above original / low_freq_factor, untouched
 *           below original / high_freq_factor, blended between
 *   yarn    a blend of both by where dimension j turns beta_fast .. beta_slow times in the original
 *           context; static: it applies at every length */
#include "infer/infer_internal.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define EOS_MAX              64
#define GENERATION_BYTES_MAX ((size_t)1 << 20)
#define PI                   3.14159265358979323846

static double yarn_dim(const struct ig_rope *r, double dims, double turns)
{
    return dims * log((double)r->original_context / (turns * 2 * PI)) / (2 * log(r->theta));
}

static float yarn(const struct ig_rope *r, int64_t dims, int64_t j, float plain)
{
    double low = floor(yarn_dim(r, (double)dims, r->beta_fast));
    double high = ceil(yarn_dim(r, (double)dims, r->beta_slow));
    if (low < 0) low = 0;
    if (high > (double)(dims - 1)) high = (double)(dims - 1);
    if (low == high) high += 0.001; /* as transformers, against a division by zero */
    double ramp = ((double)j - low) / (high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return (float)((1 - ramp) * (double)plain + ramp * (double)plain / r->factor);
}

static float llama3(const struct ig_rope *r, float plain)
{
    double original = (double)r->original_context, wave = 2 * PI / (double)plain;
    if (wave < original / r->high_freq) return plain;
    double scaled = (double)plain / r->factor;
    if (wave > original / r->low_freq) return (float)scaled;
    double blend = (original / wave - r->low_freq) / (r->high_freq - r->low_freq);
    return (float)((1 - blend) * scaled + blend * (double)plain);
}

static bool make_rope(struct ig_model *model, const struct ig_rope *r, const float **out,
                      struct ig_err *err)
{
    int64_t dims = model->shape.rotary;
    float *freq = ig_arena_array(&model->arena, (size_t)dims / 2, sizeof *freq);
    if (!freq) return ig_err_nomem(err);
    for (int64_t j = 0; j < dims / 2; j++) {
        float power = (float)(2 * j) / (float)dims;
        float plain = 1.0F / (float)pow(r->theta, (double)power);
        switch (r->kind) {
        case IG_ROPE_PLAIN: freq[j] = plain; break;
        case IG_ROPE_LINEAR: freq[j] = plain / (float)r->factor; break;
        case IG_ROPE_LLAMA3: freq[j] = llama3(r, plain); break;
        case IG_ROPE_YARN: freq[j] = yarn(r, dims, j, plain); break;
        }
    }
    *out = freq;
    return true;
}

/* What mlx-lm makes of the same config.json, where it is another thing. */
static void rope_as_mlx(const struct ig_arch *arch, struct ig_model_shape *s)
{
    if (!arch->mlx_rope_plain) return;
    s->rope.kind = IG_ROPE_PLAIN;
    s->rope.attention = 1;
}

static bool make_ropes(struct ig_model *model, struct ig_err *err)
{
    const struct ig_model_shape *s = &model->shape;
    return make_rope(model, &s->rope, &model->rope[0], err) &&
           (s->rope_sliding.theta == 0 || make_rope(model, &s->rope_sliding, &model->rope[1], err));
}

/* ---- stop tokens ---- */

static bool add_eos(struct ig_model *model, const struct ig_json *node, const char *file,
                    struct ig_err *err)
{
    int64_t id;
    if (!ig_json_int(node, &id) || id < 0 || id > INT32_MAX)
        return ig_err_set(err, IG_ERR_DATA,
                          "%s: 'eos_token_id' is not a token id or a list of them", file);
    if (model->eos_count < EOS_MAX) model->eos[model->eos_count++] = (int32_t)id;
    return true;
}

static bool read_eos(struct ig_model *model, const struct ig_json *root, const char *file,
                     struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(root, "eos_token_id");
    if (!node || node->type == IG_JSON_NULL) return true;
    if (node->type != IG_JSON_ARRAY) return add_eos(model, node, file, err);
    for (uint32_t i = 0; i < node->count; i++)
        if (!add_eos(model, &node->items[i], file, err)) return false;
    return true;
}

/* generation_config.json's, as transformers does; config.json's when that has none. */
static bool load_eos(struct ig_model *model, struct ig_err *err)
{
    static const char file[] = "generation_config.json";
    char path[IG_PATH_MAX];
    struct ig_arena arena = {0};
    struct ig_buf text = {0};
    bool ok = false;
    model->eos = ig_arena_array(&model->arena, EOS_MAX, sizeof *model->eos);
    if (!model->eos) return ig_err_nomem(err);
    if (!ig_path_join(path, ig_store_path(model->store), file, err)) return false;
    if (ig_path_exists(path)) {
        if (!ig_file_read(path, GENERATION_BYTES_MAX, &text, err)) goto done;
        const struct ig_json *root = ig_json_parse(ig_buf_view(&text), &arena, err);
        if (!root) {
            ig_err_within(err, "%s", path);
            goto done;
        }
        if (!read_eos(model, root, file, err)) goto done;
    }
    const struct ig_json *config = ig_store_config(model->store);
    ok = model->eos_count > 0 || read_eos(model, config, "config.json", err);
    if (ok && model->eos_count == 0) /* of a vision model */
        ok = read_eos(model, ig_json_get(config, "text_config"), "config.json", err);
done:
    ig_buf_release(&text);
    ig_arena_release(&arena);
    return ok;
}

static const char *kind_name(const struct ig_model *model, bool score)
{
    static const char *const names[] = {"exact f32", "bf16 activations", "int8 activations"};
    enum ig_narrow head = infer__narrow(model, &model->head, score);
    enum ig_narrow layer = infer__narrow(model, &model->layers[0].q, score);
    return names[layer == IG_NARROW_NONE ? head : layer];
}

/* By the head and one matrix of a layer. */
static void describe_arithmetic(struct ig_model *model)
{
    const char *score = kind_name(model, true), *text = kind_name(model, false);
    const char *isa = ig_isa_name(model->isa);
    char *out = model->arithmetic;
    if (strcmp(score, text) == 0)
        snprintf(out, sizeof model->arithmetic, "%s kernels, %s", isa, score);
    else
        snprintf(out, sizeof model->arithmetic, "%s kernels, scores with %s, text with %s", isa,
                 score, text);
}

static bool open_parts(struct ig_model *model, const char *path,
                       const struct ig_model_options *options, struct ig_err *err)
{
    if (!ig_isa_pick(&model->isa, err) || !ig_store_open(path, &model->store, err)) return false;
    enum ig_isa isa = model->isa;
    IG_OPS_FILL(matmul, &model->matmul, isa);
    ig_narrow_fill(&model->narrow, isa);
    IG_OPS_FILL(cached, &model->cached, isa);
    IG_OPS_FILL(quantize, &model->quantize, isa);
    IG_OPS_FILL(neural, &model->neural, isa);
    IG_OPS_FILL(convert, &model->convert, isa);
    model->outgrows = infer__outgrows(model->store);
    const struct ig_json *config = ig_store_config(model->store);
    if (!config) return ig_err_set(err, IG_ERR_DATA, "the folder has no config.json");
    const struct ig_arch *arch = ig_arch_find(config);
    struct ig_slice type = ig_json_text(ig_json_get(config, "model_type"));
    if (!arch->runs || !arch->shape)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "the engine cannot run model_type '" IG_SLICE_FMT
                          "' yet; see 'ingot list architectures'",
                          IG_SLICE_ARG(type));
    if (!arch->shape(config, &model->shape, err) || !infer__load(model, err)) return false;
    if (options->rope_as_mlx) rope_as_mlx(arch, &model->shape);
    if (!make_ropes(model, err) || !load_eos(model, err)) return false;
    model->exact = options->exact;
    model->int8_scores = options->int8_scores;
    model->narrow_cols = INFER_NARROW_COLS;
    model->narrow_rows = INFER_NARROW_ROWS;
    describe_arithmetic(model);
    model->pool = ig_pool_new(options->threads, err);
    return model->pool != NULL;
}

bool ig_model_open(const char *path, int threads, struct ig_model **out, struct ig_err *err)
{
    return ig_model_open_as(path, &(struct ig_model_options){.threads = threads}, out, err);
}

bool ig_model_open_as(const char *path, const struct ig_model_options *options,
                      struct ig_model **out, struct ig_err *err)
{
    struct ig_model *model = calloc(1, sizeof *model);
    if (!model) return ig_err_nomem(err);
    if (!open_parts(model, path, options, err)) {
        ig_model_close(model);
        return ig_err_within(err, "cannot run model '%s'", path);
    }
    *out = model;
    return true;
}

void ig_model_close(struct ig_model *model)
{
    if (!model) return;
    ig_pool_free(model->pool);
    ig_arena_release(&model->arena);
    ig_store_close(model->store);
    free(model);
}

bool ig_model_unchanged(const struct ig_model *model, struct ig_err *err)
{
    return ig_store_unchanged(model->store, err);
}

const struct ig_model_shape *ig_model_shape(const struct ig_model *model)
{
    return &model->shape;
}

const char *ig_model_arithmetic(const struct ig_model *model)
{
    return model->arithmetic;
}

const int32_t *ig_model_eos(const struct ig_model *model, size_t *count)
{
    *count = model->eos_count;
    return model->eos;
}
