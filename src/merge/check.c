/* SPDX-License-Identifier: Apache-2.0
 * check — the report before a byte is written: what the models are, what of them does not go
 * together, and which parameter reaches which tensors. The plan has refused what cannot be done;
 * here is what can be done and may be a mistake. */
#include "merge/vocabulary/tokens.h"

#include "base/digest.h"
#include "base/file.h"
#include "ingot/chat.h"

#include <stdio.h>

#define VALUES_MAX   8 /* of a parameter that are counted one by one */
#define FINDINGS_MAX 256

struct finding {
    const char *about;
    struct ig_slice text;
};

struct checker {
    const struct ig_merge *m;
    struct ig_arena arena;
    struct finding findings[FINDINGS_MAX];
    int count;
    char tokenizers[MERGE_MODELS_MAX][IG_DIGEST_HEX]; /* "" without one */
    char templates[MERGE_MODELS_MAX][IG_DIGEST_HEX];
};

static void find(struct checker *c, const char *about, struct ig_slice text)
{
    if (c->count < FINDINGS_MAX && text.ptr)
        c->findings[c->count++] = (struct finding){about, text};
}

static const char *path_of(const struct checker *c, int model)
{
    return c->m->recipe->models[model].path.ptr;
}

/* ---- configs ---- */

static const char *const compared[] = {"model_type",
                                       "hidden_size",
                                       "num_hidden_layers",
                                       "num_attention_heads",
                                       "num_key_value_heads",
                                       "head_dim",
                                       "intermediate_size",
                                       "vocab_size",
                                       "rms_norm_eps",
                                       "rope_theta",
                                       "rope_scaling",
                                       "rope_parameters",
                                       "tie_word_embeddings",
                                       "max_position_embeddings",
                                       NULL};

static struct ig_slice value_text(struct checker *c, const struct ig_json *node)
{
    struct ig_buf text = {0};
    if (!node || node->type == IG_JSON_NULL) return ig_slice_of("not said");
    ig_json_write(&text, node, 0, false);
    struct ig_slice copy = ig_arena_copy(&c->arena, ig_buf_view(&text));
    ig_buf_release(&text);
    return copy;
}

static void compare_configs(struct checker *c)
{
    const struct ig_merge *m = c->m;
    const struct ig_json *donor = merge__text_config(m->inputs[m->donor].config);
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        const struct ig_json *own = merge__text_config(m->inputs[i].config);
        if (i == m->donor) continue;
        if (!own)
            find(c, "config", merge__name(&c->arena, "'%s' has no config.json", path_of(c, i)));
        for (int k = 0; own && compared[k]; k++) {
            struct ig_slice a = value_text(c, ig_json_get(donor, compared[k]));
            struct ig_slice b = value_text(c, ig_json_get(own, compared[k]));
            if (ig_slice_equal(a, b)) continue;
            find(c, "config",
                 merge__name(&c->arena, "%s: " IG_SLICE_FMT " in '%s', " IG_SLICE_FMT " in '%s'",
                             compared[k], IG_SLICE_ARG(a), path_of(c, m->donor), IG_SLICE_ARG(b),
                             path_of(c, i)));
        }
    }
}

/* ---- tokenizers and templates ---- */

/* Of the tokens and their ids, in any order. */
static bool digest_tokenizer(struct checker *c, int model, struct ig_err *err)
{
    struct ig_arena arena = {0};
    struct vocab v;
    uint64_t sum = 0;
    bool ok = merge__vocab_open(ig_store_path(c->m->stores[model]), NULL, &arena, &v, err);
    for (int64_t i = 0; ok && i < v.count; i++) {
        struct ig_digest d = ig_digest_of(v.tokens[i].ptr, v.tokens[i].len);
        sum += (d.low ^ (uint64_t)v.ids[i]) * 0x9E3779B97F4A7C15u;
    }
    if (ok && v.file)
        snprintf(c->tokenizers[model], IG_DIGEST_HEX, "%016llx", (unsigned long long)sum);
    merge__vocab_release(&v);
    ig_arena_release(&arena);
    return ok;
}

static bool digest_template(struct checker *c, int model, struct ig_err *err)
{
    struct ig_template *tmpl;
    const char *folder = ig_store_path(c->m->stores[model]);
    if (!ig_template_exists(folder)) return true;
    if (!ig_template_open(folder, false, &tmpl, err)) return false;
    struct ig_slice text = ig_template_source(tmpl);
    ig_digest_hex(ig_digest_of(text.ptr, text.len), c->templates[model]);
    ig_template_close(tmpl);
    return true;
}

static bool compare_tokens(struct checker *c, struct ig_err *err)
{
    const struct ig_merge *m = c->m;
    for (int i = 0; i < merge__slice_models(m->recipe); i++)
        if (!digest_tokenizer(c, i, err) || !digest_template(c, i, err)) return false;
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        if (strcmp(c->tokenizers[i], c->tokenizers[m->donor]) != 0 && !m->recipe->tokenizer)
            find(c, "tokenizer",
                 merge__name(&c->arena,
                             "'%s' and '%s' number their tokens differently: rows that are merged "
                             "are of different tokens ('tokenizer' aligns them)",
                             path_of(c, m->donor), path_of(c, i)));
        if (strcmp(c->templates[i], c->templates[m->donor]) != 0 && !m->recipe->chat.ptr)
            find(c, "template",
                 merge__name(&c->arena, "'%s' has another chat template than '%s', whose is taken",
                             path_of(c, i), path_of(c, m->donor)));
    }
    return true;
}

/* ---- the models themselves ---- */

static enum ig_dtype usual_dtype(const struct merge_input *in, bool *mixed)
{
    int64_t elems[IG_DTYPE_COUNT] = {0};
    enum ig_dtype best = IG_F32;
    for (int64_t i = 0; i < in->count; i++)
        elems[merge__stored_dtype(in->tensors[i])] += in->tensors[i]->elems;
    *mixed = false;
    for (int d = 0; d < IG_DTYPE_COUNT; d++)
        if (elems[d] > elems[best]) best = (enum ig_dtype)d;
    for (int d = 0; d < IG_DTYPE_COUNT; d++)
        *mixed = *mixed || (elems[d] && d != (int)best && ig_dtype_is_float((enum ig_dtype)d));
    return best;
}

/* The beginnings of a few tensors, evenly spread. */
static bool look_alike(const struct merge_input *a, const struct merge_input *b)
{
    float x[1024], y[1024];
    struct ig_err err;
    if (a->count != b->count || a->count == 0) return false;
    int64_t step = a->count / 16 + 1;
    for (int64_t i = 0; i < a->count; i += step) {
        const struct ig_tensor *s = a->tensors[i], *t = merge__input_find(b, s->name);
        int64_t n = s->elems < 1024 ? s->elems : 1024;
        if (!t || t->elems != s->elems || !merge__input_read_f32(a, s, 0, n, x, &err) ||
            !merge__input_read_f32(b, t, 0, n, y, &err) || memcmp(x, y, (size_t)n * sizeof *x) != 0)
            return false;
    }
    return true;
}

static void compare_models(struct checker *c)
{
    const struct ig_merge *m = c->m;
    bool mixed;
    enum ig_dtype donor = usual_dtype(&m->inputs[m->donor], &mixed);
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        enum ig_dtype own = usual_dtype(&m->inputs[i], &mixed);
        if (own != donor)
            find(c, "dtype",
                 merge__name(&c->arena, "'%s' is %s, '%s' is %s", path_of(c, m->donor),
                             ig_dtype_torch_name(donor), path_of(c, i), ig_dtype_torch_name(own)));
        for (int j = 0; j < i; j++)
            if (look_alike(&m->inputs[i], &m->inputs[j]))
                find(c, "models",
                     merge__name(&c->arena, "'%s' and '%s' look the same: a copy?", path_of(c, j),
                                 path_of(c, i)));
    }
    for (int64_t i = 0; i < m->count; i++) {
        const struct merge_task *t = m->tasks + i;
        if (t->action == MERGE_COPY && t->rows > 1)
            find(c, "copied",
                 merge__name(&c->arena, "'" IG_SLICE_FMT "' is copied from '%s'",
                             IG_SLICE_ARG(m->tensors[i].name), path_of(c, t->models[t->source])));
    }
}

/* ---- parameters ---- */

struct reach {
    char values[VALUES_MAX][64];
    int64_t tensors[VALUES_MAX];
    int count;
    bool more;
};

static void format_value(const struct ig_opt *o, const void *fields, char out[64])
{
    const char *at = (const char *)fields + o->offset;
    if (o->kind == IG_OPT_KIND_REAL)
        snprintf(out, 64, "%g", *(const double *)(const void *)at);
    else if (o->kind == IG_OPT_KIND_INT || o->kind == IG_OPT_KIND_SIZE)
        snprintf(out, 64, "%lld", (long long)*(const int64_t *)(const void *)at);
    else if (o->kind == IG_OPT_KIND_FLAG)
        snprintf(out, 64, "%s", *(const bool *)(const void *)at ? "true" : "false");
    else if (o->kind == IG_OPT_KIND_CHOICE)
        snprintf(out, 64, "%s", o->choices[*(const int *)(const void *)at]);
    else {
        const char *text = *(const char *const *)(const void *)at;
        snprintf(out, 64, "%s", text ? text : "");
    }
}

static void add_value(struct reach *r, const char *value)
{
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->values[i], value) == 0) {
            r->tensors[i]++;
            return;
        }
    if (r->count == VALUES_MAX) {
        r->more = true;
        return;
    }
    snprintf(r->values[r->count], sizeof r->values[0], "%s", value);
    r->tensors[r->count++] = 1;
}

/* model -1: a parameter that all models share. */
static void gather(const struct ig_merge *m, const struct ig_opt *o, int model, struct reach *out)
{
    const struct merge_method *method = m->recipe->method;
    char value[64];
    *out = (struct reach){0};
    for (int64_t i = 0; i < m->count; i++) {
        const struct merge_task *t = m->tasks + i;
        if (t->action == MERGE_TWIN || !t->job.options) continue;
        for (int row = 0; row < (model < 0 ? 1 : t->rows); row++) {
            if (model >= 0 && t->models[row] != model) continue;
            const unsigned char *own =
                t->job.model_options + (size_t)row * method->model_options_bytes;
            format_value(o, model < 0 ? t->job.options : (const void *)own, value);
            add_value(out, value);
        }
    }
}

struct sink {
    struct ig_json_writer *json; /* or NULL */
    struct ig_buf *text;
};

static void put_reach(const struct checker *c, const struct sink *s, const struct ig_opt *o,
                      int model)
{
    struct reach r;
    gather(c->m, o, model, &r);
    if (r.count == 0) return;
    if (!s->json) {
        ig_buf_printf(s->text, "  %s%s%s:", o->name, model < 0 ? "" : " of ",
                      model < 0 ? "" : path_of(c, model));
        for (int i = 0; i < r.count; i++)
            ig_buf_printf(s->text, "%s %s on %lld", i ? "," : "", r.values[i],
                          (long long)r.tensors[i]);
        ig_buf_text(s->text, r.more ? ", and more values\n" : "\n");
        return;
    }
    ig_json_open(s->json, '{');
    ig_json_add_text(s->json, "name", o->name);
    if (model >= 0) {
        ig_json_add_text(s->json, "model", path_of(c, model));
    }
    ig_json_key(s->json, "values");
    ig_json_open(s->json, '[');
    for (int i = 0; i < r.count; i++) {
        ig_json_open(s->json, '{');
        ig_json_add_text(s->json, "value", r.values[i]);
        ig_json_add_int(s->json, "tensors", r.tensors[i]);
        ig_json_close(s->json, '}');
    }
    ig_json_close(s->json, ']');
    ig_json_add_bool(s->json, "all", !r.more);
    ig_json_close(s->json, '}');
}

static void put_parameters(const struct checker *c, const struct sink *s)
{
    const struct merge_method *method = c->m->recipe->method;
    for (const struct ig_opt *o = method->options; o && o->kind != IG_OPT_KIND_END; o++)
        put_reach(c, s, o, -1);
    for (const struct ig_opt *o = method->model_options; o && o->kind != IG_OPT_KIND_END; o++)
        for (int i = 0; i < merge__slice_models(c->m->recipe); i++)
            put_reach(c, s, o, i);
}

/* ---- writing ---- */

static void write_text(const struct checker *c, struct ig_buf *out)
{
    const struct sink s = {.text = out};
    ig_buf_text(out, "parameters, and how many tensors they reach\n");
    put_parameters(c, &s);
    ig_buf_printf(out, "%d thing%s to look at%s\n", c->count, c->count == 1 ? "" : "s",
                  c->count ? "" : ": the models go together");
    for (int i = 0; i < c->count; i++)
        ig_buf_printf(out, "  %s: " IG_SLICE_FMT "\n", c->findings[i].about,
                      IG_SLICE_ARG(c->findings[i].text));
}

static void write_json(const struct checker *c, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out, .indent = 2};
    const struct sink s = {.json = &w};
    const struct ig_merge *m = c->m;
    bool mixed;
    ig_json_open(&w, '{');
    ig_json_key(&w, "models");
    ig_json_open(&w, '[');
    for (int i = 0; i < merge__slice_models(m->recipe); i++) {
        ig_json_open(&w, '{');
        ig_json_key(&w, "model");
        ig_json_put_text(&w, ig_slice_of(path_of(c, i)));
        ig_json_key(&w, "family");
        ig_json_put_text(&w, ig_slice_of(ig_arch_find(m->inputs[i].config)->name));
        ig_json_key(&w, "tensors");
        ig_json_put_int(&w, m->inputs[i].count);
        ig_json_key(&w, "dtype");
        ig_json_put_text(&w, ig_slice_of(ig_dtype_torch_name(usual_dtype(&m->inputs[i], &mixed))));
        ig_json_key(&w, "tokenizer");
        ig_json_put_text(&w, ig_slice_of(c->tokenizers[i]));
        ig_json_key(&w, "template");
        ig_json_put_text(&w, ig_slice_of(c->templates[i]));
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, ']');
    ig_json_key(&w, "parameters");
    ig_json_open(&w, '[');
    put_parameters(c, &s);
    ig_json_close(&w, ']');
    ig_json_key(&w, "findings");
    ig_json_open(&w, '[');
    for (int i = 0; i < c->count; i++) {
        ig_json_open(&w, '{');
        ig_json_key(&w, "about");
        ig_json_put_text(&w, ig_slice_of(c->findings[i].about));
        ig_json_key(&w, "text");
        ig_json_put_text(&w, c->findings[i].text);
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}

bool ig_merge_check(const struct ig_merge *merge, bool json, struct ig_buf *out, struct ig_err *err)
{
    struct checker c = {.m = merge};
    compare_configs(&c);
    compare_models(&c);
    bool ok = compare_tokens(&c, err);
    if (ok && json) write_json(&c, out);
    if (ok && !json) ok = ig_merge_describe(merge, false, out, err);
    if (ok && !json) write_text(&c, out);
    ig_arena_release(&c.arena);
    return ok && ig_buf_ok(out, err);
}
