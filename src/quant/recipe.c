/* SPDX-License-Identifier: Apache-2.0
 * recipe — a quantisation recipe, from YAML to rules.
 *
 *     name: mine
 *     summary: 6-bit head, 4-bit data     # optional
 *     mode: affine                        # affine (the default), mxfp4, mxfp8, nvfp4
 *     bits: 4                             # the mode's own by default
 *     group_size: 32
 *     rules:                              # the first that takes a module decides
 *       - {role: [lm_head, embed], bits: 6}
 *       - {name: "*.down_proj", layers: {first: 0, last: -1, every: 4, phase: 0}, bits: 5}
 *       - {role: router, keep: true}
 *
 * A rule takes a module when its role, name and layers all do; layers counts from the end when
 * negative. Strict: what is not in this grammar is an error with its line and column. */
#include "quant_internal.h"

#include "base/file.h"
#include "ingot/opt.h"
#include "text/glob.h"
#include "text/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#define RECIPE_BYTES_MAX ((size_t)1 << 20)
#define RULES_MAX        10000
#define LAYER_MAX        1000000

/* What a parser carries; every error of it has a place. */
struct reader {
    struct ig_quant_recipe *recipe;
    struct ig_err *err;
};

/* ---- checking keys ---- */

static bool known_keys(struct reader *r, const struct ig_yaml *map, const char *what,
                       const char *const *keys)
{
    if (map->type != IG_YAML_MAP)
        return ig_yaml_fail(r->err, map, "%s must be a map of keys to values", what);
    for (uint32_t i = 0; i < map->count; i++) {
        const struct ig_yaml *key = map->items[2 * i];
        bool known = false;
        for (int k = 0; keys[k]; k++)
            known = known || ig_slice_is(key->text, keys[k]);
        if (known) continue;
        const char *near = ig_opt_nearest(key->text, keys);
        return ig_yaml_fail(r->err, key, "unknown key '" IG_SLICE_FMT "' in %s%s%s%s",
                            IG_SLICE_ARG(key->text), what, near ? "; did you mean '" : "",
                            near ? near : "", near ? "'?" : "");
    }
    return true;
}

static bool read_int(struct reader *r, const struct ig_yaml *map, const char *key, int64_t min,
                     int64_t max, int64_t *out)
{
    const struct ig_yaml *node = ig_yaml_get(map, key);
    if (!node) return true;
    if (node->type != IG_YAML_INT || node->integer < min || node->integer > max)
        return ig_yaml_fail(r->err, node, "%s must be an integer from %lld to %lld", key,
                            (long long)min, (long long)max);
    *out = node->integer;
    return true;
}

/* mode, bits and group_size of a map, over those in *codec. */
static bool read_codec(struct reader *r, const struct ig_yaml *map, struct ig_codec *codec)
{
    const struct ig_yaml *mode = ig_yaml_get(map, "mode");
    const struct ig_yaml *at = ig_yaml_get(map, "bits");
    int64_t bits = 0, group = 0;
    struct ig_err why = {0};
    if (mode) {
        enum ig_quant_mode found;
        if (mode->type != IG_YAML_TEXT || !ig_quant_mode_find(mode->text, &found))
            return ig_yaml_fail(r->err, mode,
                                "unknown mode '" IG_SLICE_FMT "' (affine, mxfp4, mxfp8, nvfp4)",
                                IG_SLICE_ARG(mode->text));
        if (found != codec->mode) *codec = (struct ig_codec){.mode = found};
    }
    if (!read_int(r, map, "bits", 1, 8, &bits) || !read_int(r, map, "group_size", 1, 1024, &group))
        return false;
    if (bits) codec->bits = (int)bits;
    if (group) codec->group_size = (int)group;
    ig_codec_default(codec);
    if (ig_codec_check(*codec, &why)) return true;
    if (!at) at = ig_yaml_get(map, "group_size");
    return ig_yaml_fail(r->err, at ? at : mode ? mode : map, "%s", why.text);
}

/* ---- rules ---- */

static bool read_role(struct reader *r, const struct ig_yaml *node, struct quant_rule *rule)
{
    enum ig_role role;
    if (node->type != IG_YAML_TEXT || !ig_role_find(node->text, &role) || role == IG_ROLE_OTHER)
        return ig_yaml_fail(r->err, node,
                            "unknown role '" IG_SLICE_FMT
                            "' (lm_head, embed, attention, mlp, router, norm)",
                            IG_SLICE_ARG(node->text));
    rule->roles |= 1u << role;
    return true;
}

static bool read_roles(struct reader *r, const struct ig_yaml *map, struct quant_rule *rule)
{
    const struct ig_yaml *node = ig_yaml_get(map, "role");
    if (!node) return true;
    if (node->type != IG_YAML_LIST) return read_role(r, node, rule);
    for (uint32_t i = 0; i < node->count; i++)
        if (!read_role(r, node->items[i], rule)) return false;
    return node->count > 0 || ig_yaml_fail(r->err, node, "role is an empty list");
}

static bool read_layers(struct reader *r, const struct ig_yaml *map, struct quant_rule *rule)
{
    static const char *const keys[] = {"first", "last", "every", "phase", NULL};
    const struct ig_yaml *node = ig_yaml_get(map, "layers");
    rule->last = -1;
    rule->every = 1;
    if (!node) return true;
    rule->has_layers = true;
    if (!known_keys(r, node, "layers", keys) ||
        !read_int(r, node, "first", -LAYER_MAX, LAYER_MAX, &rule->first) ||
        !read_int(r, node, "last", -LAYER_MAX, LAYER_MAX, &rule->last) ||
        !read_int(r, node, "every", 1, LAYER_MAX, &rule->every) ||
        !read_int(r, node, "phase", 0, LAYER_MAX, &rule->phase))
        return false;
    if (rule->phase < rule->every) return true;
    return ig_yaml_fail(r->err, ig_yaml_get(node, "phase"), "phase %lld is not below every %lld",
                        (long long)rule->phase, (long long)rule->every);
}

static void describe_layers(const struct quant_rule *rule, struct ig_buf *out)
{
    const char *space = out->len ? " " : "";
    if (rule->first == rule->last && rule->every == 1) {
        ig_buf_printf(out, "%slayer %lld", space, (long long)rule->first);
        return;
    }
    ig_buf_printf(out, "%slayers", space);
    if (rule->first != 0 || rule->last != -1)
        ig_buf_printf(out, " %lld to %lld", (long long)rule->first, (long long)rule->last);
    if (rule->every > 1)
        ig_buf_printf(out, " every %lld from %lld", (long long)rule->every, (long long)rule->phase);
}

/* The rule in one line, as a table shows it. */
static bool describe_rule(struct reader *r, struct quant_rule *rule)
{
    struct ig_buf text = {0};
    const char *comma = "";
    for (int i = 0; i < IG_ROLE_COUNT; i++) {
        if (!(rule->roles >> i & 1)) continue;
        ig_buf_printf(&text, "%s%s", comma, ig_role_name((enum ig_role)i));
        comma = "|";
    }
    if (rule->name) ig_buf_printf(&text, "%s%s", *comma ? " " : "", rule->name);
    if (rule->has_layers) describe_layers(rule, &text);
    if (text.len == 0) ig_buf_text(&text, "all");
    rule->text = ig_arena_copy(&r->recipe->arena, ig_buf_view(&text)).ptr;
    bool ok = ig_buf_ok(&text, r->err) && (rule->text || ig_err_nomem(r->err));
    ig_buf_release(&text);
    return ok;
}

static bool read_action(struct reader *r, const struct ig_yaml *map, struct quant_rule *rule)
{
    const struct ig_yaml *keep = ig_yaml_get(map, "keep");
    bool codes =
        ig_yaml_get(map, "bits") || ig_yaml_get(map, "group_size") || ig_yaml_get(map, "mode");
    if (keep && keep->type != IG_YAML_BOOL)
        return ig_yaml_fail(r->err, keep, "keep must be true or false");
    if (keep && keep->truth) {
        if (codes)
            return ig_yaml_fail(r->err, keep, "a rule that keeps has no bits, group_size or mode");
        return true; /* bits 0 */
    }
    if (!codes)
        return ig_yaml_fail(r->err, map, "a rule needs bits, group_size or mode, or keep: true");
    if (rule->roles >> IG_ROLE_NORM & 1)
        return ig_yaml_fail(r->err, map, "norms are never quantised");
    rule->codec = r->recipe->base;
    return read_codec(r, map, &rule->codec);
}

static bool read_rule(struct reader *r, const struct ig_yaml *map, struct quant_rule *rule)
{
    static const char *const keys[] = {"role",       "name", "layers", "bits",
                                       "group_size", "mode", "keep",   NULL};
    if (!known_keys(r, map, "a rule", keys)) return false;
    rule->line = map->line;
    const struct ig_yaml *name = ig_yaml_get(map, "name");
    if (name && (name->type != IG_YAML_TEXT || name->text.len == 0))
        return ig_yaml_fail(r->err, name, "name must be a pattern like '*.down_proj'");
    if (name) rule->name = name->text.ptr;
    return read_roles(r, map, rule) && read_layers(r, map, rule) && read_action(r, map, rule) &&
           describe_rule(r, rule);
}

static bool read_rules(struct reader *r, const struct ig_yaml *list)
{
    struct ig_quant_recipe *recipe = r->recipe;
    if (!list) return true;
    if (list->type != IG_YAML_LIST || list->count > RULES_MAX)
        return ig_yaml_fail(r->err, list, "rules must be a list of at most %d rules", RULES_MAX);
    recipe->rules = ig_arena_array(&recipe->arena, list->count, sizeof(*recipe->rules));
    if (!recipe->rules) return ig_err_nomem(r->err);
    for (uint32_t i = 0; i < list->count; i++)
        if (!read_rule(r, list->items[i], &recipe->rules[i])) return false;
    recipe->rule_count = (int)list->count;
    return true;
}

/* ---- whole recipes ---- */

/* A name becomes a folder's. */
static bool read_name(struct reader *r, const struct ig_yaml *root)
{
    const struct ig_yaml *name = ig_yaml_get(root, "name");
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (!name) return ig_yaml_fail(r->err, root, "the recipe has no name");
    struct ig_slice text = name->text;
    bool good = text.len > 0 && text.len <= QUANT_NAME_MAX && text.ptr[0] != '.' &&
                text.ptr[0] != '-' && name->type != IG_YAML_LIST && name->type != IG_YAML_MAP;
    for (size_t i = 0; good && i < text.len; i++)
        good = strchr(allowed, text.ptr[i]) != NULL && text.ptr[i] != 0;
    if (!good)
        return ig_yaml_fail(r->err, name, "a name has 1 to %d letters, digits, '.', '_' or '-'",
                            QUANT_NAME_MAX);
    if (ig_slice_is(text, "none")) return ig_yaml_fail(r->err, name, "'none' means no recipe");
    snprintf(r->recipe->name, sizeof r->recipe->name, "%.*s", (int)text.len, text.ptr);
    return true;
}

static bool read_recipe(struct ig_quant_recipe *recipe, struct ig_slice text, struct ig_err *err)
{
    static const char *const keys[] = {"name",       "summary", "mode", "bits",
                                       "group_size", "rules",   NULL};
    struct reader r = {recipe, err};
    recipe->text = ig_arena_copy(&recipe->arena, text);
    if (!recipe->text.ptr) return ig_err_nomem(err);
    const struct ig_yaml *root = ig_yaml_parse(recipe->text, &recipe->arena, err);
    if (!root) return false;
    const struct ig_yaml *summary = ig_yaml_get(root, "summary");
    if (!known_keys(&r, root, "the recipe", keys) || !read_name(&r, root)) return false;
    if (summary && summary->type != IG_YAML_TEXT)
        return ig_yaml_fail(err, summary, "summary must be text");
    return read_codec(&r, root, &recipe->base) && read_rules(&r, ig_yaml_get(root, "rules"));
}

bool ig_quant_recipe_parse(struct ig_slice text, const char *name, struct ig_quant_recipe **out,
                           struct ig_err *err)
{
    struct ig_quant_recipe *recipe = calloc(1, sizeof(*recipe));
    if (!recipe) return ig_err_nomem(err);
    if (!read_recipe(recipe, text, err)) {
        ig_quant_recipe_free(recipe);
        return ig_err_within(err, "recipe '%s'", name);
    }
    *out = recipe;
    return true;
}

static bool unknown_recipe(const char *name, struct ig_err *err)
{
    const char *names[64];
    int count = 0;
    for (; quant__builtins[count].name && count < 63; count++)
        names[count] = quant__builtins[count].name;
    names[count] = NULL;
    const char *near = ig_opt_nearest(ig_slice_of(name), names);
    return ig_err_set(
        err, IG_ERR_USAGE,
        "no recipe '%s': neither a built-in one (see `ingot list recipes`) nor a file%s%s%s", name,
        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

bool ig_quant_recipe_open(const char *name_or_path, struct ig_quant_recipe **out,
                          struct ig_err *err)
{
    for (int i = 0; quant__builtins[i].name; i++) {
        const struct quant_builtin *b = &quant__builtins[i];
        if (strcmp(b->name, name_or_path) == 0)
            return ig_quant_recipe_parse(ig_slice_make(b->text, b->bytes), b->name, out, err);
    }
    if (!ig_path_exists(name_or_path)) return unknown_recipe(name_or_path, err);
    struct ig_buf text = {0};
    bool ok = ig_file_read(name_or_path, RECIPE_BYTES_MAX, &text, err) &&
              ig_quant_recipe_parse(ig_buf_view(&text), name_or_path, out, err);
    ig_buf_release(&text);
    return ok;
}

bool ig_quant_recipe_uniform(struct ig_codec codec, struct ig_quant_recipe **out,
                             struct ig_err *err)
{
    char text[400], name[QUANT_NAME_MAX + 1];
    ig_codec_default(&codec);
    if (!ig_codec_check(codec, err)) return false;
    if (codec.mode == IG_AFFINE)
        snprintf(name, sizeof name, "affine-%dbit-g%d", codec.bits, codec.group_size);
    else
        snprintf(name, sizeof name, "%s", ig_quant_mode_name(codec.mode));
    snprintf(text, sizeof text,
             "name: %s\nmode: %s\nbits: %d\ngroup_size: %d\nrules:\n"
             "  - {role: router, mode: affine, bits: 8, group_size: 64}\n",
             name, ig_quant_mode_name(codec.mode), codec.bits, codec.group_size);
    if (!ig_quant_recipe_parse(ig_slice_of(text), name, out, err)) return false;
    (*out)->uniform = true;
    return true;
}

const char *ig_quant_recipe_name(const struct ig_quant_recipe *recipe)
{
    return recipe->name;
}

struct ig_slice ig_quant_recipe_text(const struct ig_quant_recipe *recipe)
{
    return recipe->text;
}

void ig_quant_recipe_free(struct ig_quant_recipe *recipe)
{
    if (!recipe) return;
    ig_arena_release(&recipe->arena);
    free(recipe);
}

const char *const *ig_quant_recipe_list(void)
{
    return quant__builtin_list;
}

/* ---- picking ---- */

bool quant__rule_takes(const struct quant_rule *rule, const struct quant_subject *subject)
{
    unsigned roles = 1u << subject->role;
    if (subject->is_head) roles |= 1u << IG_ROLE_LM_HEAD;
    if (rule->roles && !(rule->roles & roles)) return false;
    if (rule->name && !ig_glob_match(rule->name, subject->module)) return false;
    if (!rule->has_layers) return true;
    int64_t n = subject->layer_count;
    int64_t first = rule->first < 0 ? rule->first + n : rule->first;
    int64_t last = rule->last < 0 ? rule->last + n : rule->last;
    return subject->layer >= 0 && subject->layer >= first && subject->layer <= last &&
           subject->layer % rule->every == rule->phase;
}

const struct quant_rule *quant__pick(const struct ig_quant_recipe *recipe,
                                     const struct quant_subject *subject)
{
    for (int i = 0; i < recipe->rule_count; i++)
        if (quant__rule_takes(&recipe->rules[i], subject)) return &recipe->rules[i];
    return NULL;
}
