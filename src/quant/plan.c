/* SPDX-License-Identifier: Apache-2.0
 * plan — from a list of source tensors and a recipe to a list of output tensors.
 *
 * The output is what mlx-lm would have made: experts stacked into one tensor, a tied head left out,
 * the model's order. What mlx-lm could not load is refused here, before a byte is read. */
#include "quant_internal.h"

#include "base/check.h"
#include "base/size.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct planner {
    struct ig_cast *cast;
    struct ig_place *places; /* of each source */
    struct ig_map by_name;   /* output name to module, before sorting */
    bool tied;               /* the embedding is the head */
    bool fresh;              /* single experts: mlx-lm's own changes are still to be made */
    bool fused;              /* experts that stay as they are: it has been told */
    int layer_count;
    struct ig_err *err;
};

void quant__warn(struct ig_cast *cast, const char *format, ...)
{
    char text[512];
    va_list args;
    if (cast->warning_count == (int)(sizeof cast->warnings / sizeof cast->warnings[0])) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *copy = ig_arena_copy(&cast->arena, ig_slice_of(text)).ptr;
    if (copy) cast->warnings[cast->warning_count++] = copy;
}

/* ---- sources ---- */

static bool is_listed(const char *const *list, struct ig_slice part)
{
    for (; list && *list; list++)
        if (ig_slice_is(part, *list)) return true;
    return false;
}

/* Whether a component of the name, up to the layer's number, is a dropped one: "mtp.layers.0...".
 */
static bool is_dropped(const struct planner *p, struct ig_slice name)
{
    for (const char *const *word = p->cast->arch->mlx_dropped; p->fresh && word && *word; word++) {
        const char *at = ig_slice_find(name, ig_slice_of(*word));
        size_t n = strlen(*word);
        if (at && (at == name.ptr || at[-1] == '.') && at + n < name.ptr + name.len && at[n] == '.')
            return true;
    }
    return false;
}

/* "a.mlp.experts.7.up_proj.weight" to "a.mlp.switch_mlp.up_proj.weight". */
static bool stacked_name(struct planner *p, struct ig_slice name, struct ig_slice *out)
{
    const char *at = ig_slice_find(name, ig_slice_of(".experts."));
    const char *rest = at ? memchr(at + 9, '.', (size_t)(name.ptr + name.len - at - 9)) : NULL;
    struct ig_buf text = {0};
    if (!rest)
        return ig_err_set(p->err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT "': cannot be stacked", IG_SLICE_ARG(name));
    ig_buf_append(&text, name.ptr, (size_t)(at - name.ptr));
    ig_buf_text(&text, ".switch_mlp");
    ig_buf_append(&text, rest, (size_t)(name.ptr + name.len - rest));
    *out = ig_arena_copy(&p->cast->arena, ig_buf_view(&text));
    bool ok = ig_buf_ok(&text, p->err) && (out->ptr || ig_err_nomem(p->err));
    ig_buf_release(&text);
    return ok;
}

static bool check_source(struct planner *p, const struct ig_tensor *t, const struct ig_place *place)
{
    const struct ig_arch *arch = p->cast->arch;
    struct ig_slice last = {t->name.ptr + place->module.len, t->name.len - place->module.len};
    if (ig_slice_is(last, ".scales") || t->dtype == IG_U32)
        return ig_err_set(p->err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT
                          "' is quantised already: dequantize the model first",
                          IG_SLICE_ARG(t->name));
    if (!place->known && arch->mlx)
        return ig_err_set(p->err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT
                          "' is no part of a %s model: mlx-lm could not load it",
                          IG_SLICE_ARG(t->name), arch->name);
    if (place->expert >= 0 && !arch->mlx)
        return ig_err_set(p->err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT
                          "': how mlx-lm stacks the experts of this family is not known here",
                          IG_SLICE_ARG(t->name));
    if (place->linear && t->rank >= 2 && !ig_codec_takes(t->dtype))
        return ig_err_set(p->err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT
                          "' is %s: only F32, F16 and BF16 can be quantised",
                          IG_SLICE_ARG(t->name), ig_dtype_name(t->dtype));
    return true;
}

/* The module of that output name, made when it is new. */
static bool module_of(struct planner *p, struct ig_slice name, const struct ig_tensor *like,
                      int64_t *out)
{
    struct ig_cast *cast = p->cast;
    *out = ig_map_get(&p->by_name, name, -1);
    if (*out >= 0) return true;
    *out = cast->module_count++;
    cast->modules[*out].name = name;
    cast->modules[*out].plain = *like;
    cast->modules[*out].plain.name = name;
    return ig_map_put(&p->by_name, name, *out, p->err);
}

static bool same_shape(const struct ig_tensor *a, const struct ig_tensor *b)
{
    bool same = a->rank == b->rank && a->dtype == b->dtype;
    for (int i = 0; same && i < a->rank; i++)
        same = a->shape[i] == b->shape[i];
    return same;
}

static bool take_source(struct planner *p, int64_t index)
{
    struct ig_cast *cast = p->cast;
    const struct ig_tensor *t = &cast->plan.tensors[index];
    const struct ig_place *place = &p->places[index];
    struct quant_source *source = &cast->sources[index];
    *source = (struct quant_source){.module = -1, .dtype = t->dtype, .change = QUANT_DROP};
    if (is_dropped(p, t->name)) return true;
    if (p->tied && place->role == IG_ROLE_LM_HEAD && place->linear) return true;
    if (!check_source(p, t, place)) return false;
    source->change = QUANT_SAME;
    if (quant__fused_parts(t) > 0 && !p->fused) { /* `quantize` has cut them up before */
        p->fused = true;
        quant__warn(cast, "fused experts are kept as they are: 'ingot quantize', after the merge "
                          "and not in one pass with it, casts them too");
    }
    struct ig_slice name = t->name;
    if (place->expert >= 0 && !stacked_name(p, t->name, &name)) return false;
    if (!module_of(p, name, t, &source->module)) return false;
    struct quant_module *m = &cast->modules[source->module];
    m->source_count++;
    m->is_linear = place->linear && t->rank >= 2;
    if (!same_shape(&m->plain, t) || (place->expert < 0 && m->source_count > 1))
        return ig_err_set(p->err, IG_ERR_DATA,
                          "tensor '" IG_SLICE_FMT "' does not fit the others of its stack",
                          IG_SLICE_ARG(t->name));
    if (place->expert >= 0 && !ig_i64_mul(place->expert, t->elems, &source->elem_first))
        return ig_err_set(p->err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "' is too large",
                          IG_SLICE_ARG(t->name));
    if (p->fresh && t->rank == 1 && is_listed(cast->arch->mlx_plus_one, place->part))
        source->change = QUANT_PLUS_ONE;
    if (p->fresh && t->rank == 3 && t->shape[1] == 1 && t->shape[2] != 1 &&
        is_listed(cast->arch->mlx_moved_axis, place->part)) {
        m->plain.shape[1] = t->shape[2]; /* the bytes are the same */
        m->plain.shape[2] = 1;
    }
    return true;
}

/* A stack of n has the experts 0 .. n - 1, each once. */
static bool check_stacks(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    int64_t expected = 0;
    ig_json_int(ig_json_get(cast->plan.config, "num_experts"), &expected);
    struct ig_map seen = {0};
    bool ok = true;
    for (int64_t i = 0; ok && i < cast->plan.count; i++) {
        const struct quant_source *s = &cast->sources[i];
        if (s->module < 0 || p->places[i].expert < 0) continue;
        struct quant_module *m = &cast->modules[s->module];
        int64_t *mark = ig_arena_array(&cast->arena, 2, sizeof(*mark));
        if (!mark) {
            ok = ig_err_nomem(p->err);
            break;
        }
        mark[0] = s->module;
        mark[1] = p->places[i].expert;
        struct ig_slice key = ig_slice_make(mark, 2 * sizeof *mark);
        bool bad = p->places[i].expert >= m->source_count || ig_map_get(&seen, key, -1) >= 0 ||
                   (expected > 0 && m->source_count != expected);
        if (bad)
            ok = ig_err_set(p->err, IG_ERR_DATA,
                            "'" IG_SLICE_FMT
                            "': %lld experts are there, %lld are expected, each once",
                            IG_SLICE_ARG(m->name), (long long)m->source_count,
                            (long long)(expected ? expected : m->source_count));
        ok = ok && ig_map_put(&seen, key, 1, p->err);
    }
    ig_map_release(&seen);
    return ok;
}

/* Grows each stack's tensor by its first axis. */
static bool shape_stacks(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    for (int64_t i = 0; i < cast->plan.count; i++) {
        struct quant_source *s = &cast->sources[i];
        if (s->module < 0 || p->places[i].expert != 0) continue;
        struct ig_tensor *t = &cast->modules[s->module].plain;
        int64_t n = cast->modules[s->module].source_count;
        if (t->rank >= IG_RANK_MAX || !ig_i64_mul(t->elems, n, &t->elems) ||
            !ig_size_mul(t->bytes, (size_t)n, &t->bytes))
            return ig_err_set(p->err, IG_ERR_DATA, "'" IG_SLICE_FMT "' is too large a stack",
                              IG_SLICE_ARG(t->name));
        memmove(t->shape + 1, t->shape, (size_t)t->rank * sizeof t->shape[0]);
        t->shape[0] = n;
        t->rank++;
    }
    return true;
}

static bool take_sources(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    for (int64_t i = 0; i < cast->plan.count; i++) {
        struct ig_place *place = &p->places[i];
        ig_arch_place(cast->arch, cast->plan.tensors[i].name, place);
        p->fresh = p->fresh || place->expert >= 0;
    }
    for (int64_t i = 0; i < cast->plan.count; i++) {
        if (!take_source(p, i)) return false;
        if (cast->sources[i].module >= 0 && p->places[i].layer >= p->layer_count)
            p->layer_count = p->places[i].layer + 1;
    }
    return check_stacks(p) && shape_stacks(p);
}

/* ---- order ---- */

struct sortable {
    const struct ig_arch *arch;
    struct ig_slice name;
    int64_t index;
};

static int model_order(const void *a, const void *b)
{
    const struct sortable *x = a, *y = b;
    return ig_arch_compare(x->arch, x->name, y->name);
}

static bool sort_modules(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    size_t n = (size_t)cast->module_count;
    struct sortable *order = calloc(n + 1, sizeof(*order));
    struct quant_module *sorted = ig_arena_array(&cast->arena, n, sizeof(*sorted));
    int64_t *moved = calloc(n + 1, sizeof(*moved));
    bool ok = order && sorted && moved;
    if (!ok) ig_err_nomem(p->err);
    for (size_t i = 0; ok && i < n; i++)
        order[i] = (struct sortable){cast->arch, cast->modules[i].name, (int64_t)i};
    if (ok) qsort(order, n, sizeof(*order), model_order);
    for (size_t i = 0; ok && i < n; i++) {
        memcpy(&sorted[i], &cast->modules[order[i].index], sizeof(*sorted));
        moved[order[i].index] = (int64_t)i;
    }
    for (int64_t i = 0; ok && i < cast->plan.count; i++)
        if (cast->sources[i].module >= 0) cast->sources[i].module = moved[cast->sources[i].module];
    if (ok) cast->modules = sorted;
    free(order);
    free(moved);
    return ok;
}

/* ---- codecs ---- */

static bool is_routers_own(const struct quant_module *m, enum ig_role role)
{
    return role == IG_ROLE_ROUTER && m->codec.mode == IG_AFFINE && m->codec.bits == 8 &&
           m->codec.group_size == 64;
}

static bool same_codec(struct ig_codec a, struct ig_codec b)
{
    return a.mode == b.mode && a.bits == b.bits && a.group_size == b.group_size;
}

/* What rows of that length cannot be: an error, but for `--mode`, which keeps them as mlx-lm does.
 */
static bool check_shape(struct planner *p, struct quant_module *m, struct ig_quant_row *row,
                        const struct quant_rule *rule)
{
    const struct ig_quant_recipe *recipe = p->cast->plan.recipe;
    int64_t columns = m->plain.shape[m->plain.rank - 1];
    if (m->codec.bits == 0 || (columns > 0 && columns % m->codec.group_size == 0)) return true;
    if (!recipe->uniform) {
        char where[64] = "by default";
        if (rule) snprintf(where, sizeof where, "by its rule in line %d", rule->line);
        return ig_err_set(p->err, IG_ERR_DATA,
                          "recipe '%s', %s, wants '" IG_SLICE_FMT
                          "' in groups of %d, but its rows have %lld elements; give it a rule with "
                          "another group_size, or keep: true",
                          recipe->name, where, IG_SLICE_ARG(row->module), m->codec.group_size,
                          (long long)columns);
    }
    quant__warn(p->cast, "'" IG_SLICE_FMT "' is kept as it is: rows of %lld in groups of %d",
                IG_SLICE_ARG(row->module), (long long)columns, m->codec.group_size);
    m->codec.bits = 0;
    row->rule = "rows do not divide";
    return true;
}

static bool decide(struct planner *p, struct quant_module *m, struct ig_quant_row *row,
                   enum ig_isa isa, bool *took)
{
    struct ig_cast *cast = p->cast;
    const struct ig_quant_recipe *recipe = cast->plan.recipe;
    struct ig_place place;
    ig_arch_place(cast->arch, m->name, &place);
    *row = (struct ig_quant_row){.module = place.module,
                                 .role = place.role,
                                 .layer = place.layer,
                                 .dtype = m->plain.dtype,
                                 .elems = m->plain.elems,
                                 .rule = ""};
    if (!m->is_linear) {
        row->module = m->name;
        return true;
    }
    const struct quant_subject subject = {.module = place.module,
                                          .role = place.role,
                                          .layer = place.layer,
                                          .is_head = p->tied && place.role == IG_ROLE_EMBED,
                                          .layer_count = p->layer_count};
    for (int i = 0; i < recipe->rule_count; i++)
        took[i] = took[i] || quant__rule_takes(&recipe->rules[i], &subject);
    const struct quant_rule *rule = quant__pick(recipe, &subject);
    m->codec = rule ? rule->codec : recipe->base;
    row->rule = rule ? rule->text : "default";
    if (!check_shape(p, m, row, rule)) return false;
    row->codec = m->codec;
    if (rule && !same_codec(m->codec, recipe->base) && !is_routers_own(m, row->role))
        cast->mixed = true;
    if (m->codec.bits) ig_coder_init(&m->coder, m->codec, m->plain.dtype, cast->plan.rounding, isa);
    return true;
}

static bool decide_all(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    const struct ig_quant_recipe *recipe = cast->plan.recipe;
    enum ig_isa isa;
    bool *took = ig_arena_array(&cast->arena, (size_t)recipe->rule_count, sizeof(*took));
    cast->rows = ig_arena_array(&cast->arena, (size_t)cast->module_count, sizeof(*cast->rows));
    if (!took || !cast->rows) return ig_err_nomem(p->err);
    if (!ig_isa_pick(&isa, p->err)) return false;
    for (int64_t i = 0; i < cast->module_count; i++)
        if (!decide(p, &cast->modules[i], &cast->rows[i], isa, took)) return false;
    for (int i = 0; i < recipe->rule_count; i++) {
        const struct quant_rule *rule = &recipe->rules[i];
        if (took[i]) continue;
        if (rule->name)
            return ig_err_set(p->err, IG_ERR_DATA,
                              "recipe '%s', line %d: the rule '%s' takes no module of this model",
                              recipe->name, rule->line, rule->text);
        if (rule->has_layers)
            quant__warn(cast, "recipe '%s', line %d: the rule '%s' takes no module of this model",
                        recipe->name, rule->line, rule->text);
    }
    return true;
}

/* ---- output tensors ---- */

static bool suffixed(struct planner *p, struct ig_slice module, const char *suffix,
                     struct ig_slice *out)
{
    char *text = ig_arena_new(&p->cast->arena, module.len + strlen(suffix) + 1);
    if (!text) return ig_err_nomem(p->err);
    memcpy(text, module.ptr, module.len);
    memcpy(text + module.len, suffix, strlen(suffix) + 1);
    *out = (struct ig_slice){text, module.len + strlen(suffix)};
    return true;
}

/* Codes, scales and biases of a module: [.., K] becomes U32 [.., K * bits / 32] and [.., K /
 * group]. */
static bool put_parts(struct planner *p, struct quant_module *m, struct ig_quant_row *row)
{
    struct ig_cast *cast = p->cast;
    struct ig_tensor *out = &cast->tensors[cast->tensor_count];
    m->tensor = cast->tensor_count;
    m->part_count = m->codec.bits == 0 ? 1 : m->codec.mode == IG_AFFINE ? 3 : 2;
    cast->tensor_count += m->part_count;
    /* mlx-lm counts what its leaf modules hold: not bare parameters (A_log) of larger ones. */
    if (ig_slice_ends(m->name, ".weight") || ig_slice_ends(m->name, ".bias"))
        cast->parameters += m->plain.elems;
    out[0] = m->plain;
    row->bytes = m->plain.bytes;
    if (m->codec.bits) {
        struct ig_packed_bytes n = ig_codec_bytes(m->codec, m->plain.dtype, m->plain.elems);
        int last = m->plain.rank - 1;
        out[0].dtype = IG_U32;
        out[0].shape[last] = m->plain.shape[last] / 32 * m->codec.bits;
        if (m->plain.shape[last] % 32) /* nvfp4's 16 */
            out[0].shape[last] = m->plain.shape[last] * m->codec.bits / 32;
        out[1] = m->plain;
        out[1].dtype = ig_codec_scale_dtype(m->codec, m->plain.dtype);
        out[1].shape[last] = m->plain.shape[last] / m->codec.group_size;
        if (!suffixed(p, row->module, ".scales", &out[1].name)) return false;
        if (m->part_count == 3) {
            out[2] = out[1];
            if (!suffixed(p, row->module, ".biases", &out[2].name)) return false;
        }
        row->bytes = n.weight + n.scales + n.biases;
    }
    cast->bytes += row->bytes;
    return true;
}

static bool put_all(struct planner *p)
{
    struct ig_cast *cast = p->cast;
    cast->tensors =
        ig_arena_array(&cast->arena, (size_t)cast->module_count * 3, sizeof(*cast->tensors));
    if (!cast->tensors) return ig_err_nomem(p->err);
    for (int64_t i = 0; i < cast->module_count; i++) {
        struct quant_module *m = &cast->modules[i];
        atomic_init(&m->sources_left, m->source_count);
        if (!put_parts(p, m, &cast->rows[i])) return false;
    }
    return true;
}

bool quant__plan(struct ig_cast *cast, struct ig_err *err)
{
    struct planner p = {.cast = cast, .err = err};
    size_t n = (size_t)cast->plan.count;
    const struct ig_json *config = cast->plan.config;
    cast->arch = ig_arch_find(config);
    if (ig_json_get(config, "quantization") || ig_json_get(config, "quantization_config"))
        return ig_err_set(
            err, IG_ERR_UNSUPPORTED,
            "config.json says that the model is quantised already: dequantize it first");
    ig_json_bool(ig_json_get(config, "tie_word_embeddings"), &p.tied);
    p.places = ig_arena_array(&cast->arena, n, sizeof(*p.places));
    cast->sources = ig_arena_array(&cast->arena, n, sizeof(*cast->sources));
    cast->modules = ig_arena_array(&cast->arena, n, sizeof(*cast->modules));
    if (!p.places || !cast->sources || !cast->modules) return ig_err_nomem(err);
    if (!cast->arch->mlx)
        quant__warn(cast,
                    "mlx-lm's way with this family is not known here: tensors keep their names");
    bool ok = take_sources(&p) && sort_modules(&p) && decide_all(&p) && put_all(&p);
    ig_map_release(&p.by_name);
    return ok;
}
