/* SPDX-License-Identifier: Apache-2.0
 * context — a longer context by YaRN, in every form that a runtime reads.
 *
 *     context: {length: 1000000, method: yarn, factor: F, original: N}
 *
 *     transformers 4, vLLM, llama.cpp's converter:  rope_scaling {rope_type, factor, original_...}
 *     transformers 5:                               rope_parameters {the same, rope_theta}
 *     mlx-lm:                                       rope_scaling {type, ...}, rope_theta at the top
 *
 * YaRN is static: it changes every position of every prompt, also of short ones. */
#include "merge/merge_internal.h"

#include <math.h>
#include <stdio.h>

#define LENGTH_MAX ((int64_t)1 << 31)
#define FACTOR_MAX 1e4

struct recipe_context {
    const struct ig_yaml *at;
    int64_t length, original; /* original 0: what the config says */
    double factor;            /* 0: what the lengths say */
};

static bool read_length(const struct ig_yaml *map, const char *key, int64_t *out,
                        struct ig_err *err)
{
    const struct ig_yaml *node = ig_yaml_get(map, key);
    if (!node || node->type == IG_YAML_NULL) return true;
    if (node->type != IG_YAML_INT || node->integer < 1 || node->integer > LENGTH_MAX)
        return ig_yaml_fail(err, node, "%s is a number of positions", key);
    *out = node->integer;
    return true;
}

bool merge__read_context(struct ig_recipe *r, const struct ig_yaml *root, struct ig_err *err)
{
    static const char *const keys[] = {"length", "method", "factor", "original", NULL};
    const struct ig_yaml *map = ig_yaml_get(root, "context");
    if (!map || map->type == IG_YAML_NULL) return true;
    if (map->type != IG_YAML_MAP) return ig_yaml_fail(err, map, "context is {length: N, ...}");
    if (!merge__check_keys(map, keys, err)) return false;
    struct recipe_context *c = ig_arena_new(&r->arena, sizeof *c);
    if (!c) return ig_err_nomem(err);
    c->at = map;
    const struct ig_yaml *method = ig_yaml_get(map, "method"), *factor = ig_yaml_get(map, "factor");
    if (method && !ig_slice_is(method->text, "yarn"))
        return ig_yaml_fail(err, method, "method: 'yarn' is the only one");
    if (!read_length(map, "length", &c->length, err) ||
        !read_length(map, "original", &c->original, err))
        return false;
    if (!c->length) return ig_yaml_fail(err, map, "context needs 'length'");
    if (factor && factor->type != IG_YAML_NULL &&
        (factor->type == IG_YAML_LIST || factor->type == IG_YAML_MAP ||
         !ig_yaml_number(factor, &c->factor) || !(c->factor >= 1 && c->factor <= FACTOR_MAX)))
        return ig_yaml_fail(err, factor, "factor is a number from 1 to %g", FACTOR_MAX);
    r->context = c;
    return true;
}

/* What the model was trained on: a scaling that is there says, else the positions it has. */
static int64_t original_of(const struct ig_json *text)
{
    int64_t n = 0;
    for (int i = 0; i < 2; i++) {
        const struct ig_json *rope = ig_json_get(text, i ? "rope_parameters" : "rope_scaling");
        if (ig_json_int(ig_json_get(rope, "original_max_position_embeddings"), &n) && n > 0)
            return n;
    }
    return ig_json_int(ig_json_get(text, "max_position_embeddings"), &n) && n > 0 ? n : 0;
}

static bool fail(const struct ig_merge *m, const char *why, struct ig_err *err)
{
    ig_yaml_fail(err, m->recipe->context->at, "context: %s", why);
    return ig_err_within(err, "%s", m->recipe->name);
}

static bool resolve(const struct ig_merge *m, const struct ig_json *text, int64_t *original,
                    double *factor, struct ig_err *err)
{
    const struct recipe_context *c = m->recipe->context;
    *original = c->original ? c->original : original_of(text);
    if (!*original)
        return fail(m, "config.json has no max_position_embeddings; say 'original'", err);
    if (ig_json_get(ig_json_get(text, "rope_parameters"), "full_attention"))
        return fail(m, "rope_parameters for each layer type are not supported", err);
    *factor = c->factor != 0 ? c->factor : (double)c->length / (double)*original;
    if (*factor > FACTOR_MAX) return fail(m, "the length is out of all proportion", err);
    if ((double)c->length > *factor * (double)*original * (1 + 1e-9))
        return fail(m, "the length is more than factor times original", err);
    if (*factor > 1) return true;
    return fail(m, "the model has as many positions already", err);
}

static struct ig_json number(struct ig_arena *arena, double value, bool real)
{
    struct ig_slice text =
        merge__name(arena, "%.17g%s", value, real && value == floor(value) ? ".0" : "");
    return (struct ig_json){.type = IG_JSON_NUMBER, .text = text};
}

/* What a scaling in another method's words would contradict. */
static const char *const stale[] = {
    "mscale",      "mscale_all_dim",   "beta_fast",       "beta_slow",        "short_factor",
    "long_factor", "attention_factor", "low_freq_factor", "high_freq_factor", "truncate",
    NULL};

/* The object under `key`, made to say yarn; mrope's keys stay. */
static bool put_yarn(struct ig_json *text, const char *key, double factor, int64_t original,
                     struct ig_arena *arena, struct ig_err *err)
{
    const struct ig_json yarn = {.type = IG_JSON_STRING, .text = ig_slice_of("yarn")};
    const struct ig_json empty = {.type = IG_JSON_OBJECT};
    struct ig_json *rope = merge__config_find(text, key);
    if ((!rope || rope->type != IG_JSON_OBJECT) && !merge__config_set(text, key, empty, arena, err))
        return false;
    rope = merge__config_find(text, key);
    for (int i = 0; stale[i]; i++)
        merge__config_drop(rope, stale[i]);
    return merge__config_set(rope, "type", yarn, arena, err) &&
           merge__config_set(rope, "rope_type", yarn, arena, err) &&
           merge__config_set(rope, "factor", number(arena, factor, true), arena, err) &&
           merge__config_set(rope, "original_max_position_embeddings",
                             number(arena, (double)original, false), arena, err);
}

bool merge__set_context(const struct ig_merge *m, struct ig_json *text, struct ig_arena *arena,
                        struct ig_err *err)
{
    const struct recipe_context *c = m->recipe->context;
    int64_t original = 0;
    double factor = 1;
    if (!c) return true;
    if (!resolve(m, text, &original, &factor, err)) return false;
    const struct ig_json *inside = ig_json_get(ig_json_get(text, "rope_parameters"), "rope_theta");
    const struct ig_json *theta = inside ? inside : ig_json_get(text, "rope_theta");
    const struct ig_json length = number(arena, (double)c->length, false);
    if (theta && !merge__config_set(text, "rope_theta", *theta, arena, err)) return false;
    if (!merge__config_set(text, "max_position_embeddings", length, arena, err) ||
        !put_yarn(text, "rope_scaling", factor, original, arena, err) ||
        !put_yarn(text, "rope_parameters", factor, original, arena, err))
        return false;
    theta = ig_json_get(text, "rope_theta");
    merge__config_drop(merge__config_find(text, "rope_parameters"), "type");
    return !theta || merge__config_set(merge__config_find(text, "rope_parameters"), "rope_theta",
                                       *theta, arena, err);
}

void merge__describe_context(const struct ig_merge *m, struct ig_buf *out)
{
    if (!m->recipe->context) return;
    const struct ig_json *text = merge__text_config(m->config);
    const struct ig_json *rope = ig_json_get(text, "rope_scaling");
    double factor = 1, original = 0;
    if (!ig_json_real(ig_json_get(rope, "factor"), &factor) ||
        !ig_json_real(ig_json_get(rope, "original_max_position_embeddings"), &original))
        return;
    ig_buf_printf(out,
                  "YaRN, %g times %g positions: %lld. It is static: short prompts are changed too "
                  "(slow frequencies are %g times slower, attention logits %.3g times larger)",
                  factor, original, (long long)m->recipe->context->length, factor,
                  (0.1 * log(factor) + 1) * (0.1 * log(factor) + 1));
}

void merge__warn_context(const struct ig_merge *m, const struct ig_watch *watch)
{
    if (m->recipe->context && m->config && ig_arch_find(m->config)->mlx_rope_plain)
        ig_watch_warn(watch,
                      "context: mlx-lm runs this family without the scaling: there it has the "
                      "positions it was trained on; transformers, vLLM and ingot apply it");
}
