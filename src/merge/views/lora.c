/* SPDX-License-Identifier: Apache-2.0
 * lora — a model with a PEFT adapter on it, merged as it is read: W + s B A, with s = alpha / r, or
 * alpha / sqrt(r) when the adapter says use_rslora. A is [r, in], B is [out, r]; on an embedding
 * they are [r, rows] and [width, r], and the product is turned. With fan_in_fan_out it is turned
 * too. Summed in f32, in the order of r; peft's merge_and_unload, in the model's own type, rounds
 * the product first.
 *
 * Names: base_model.model.MODULE.lora_A.weight is for MODULE.weight. What the adapter saved whole
 * (modules_to_save, biases) takes the place of the model's. */
#include "merge/merge_internal.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>

#define CONFIG_BYTES_MAX ((size_t)16 << 20)
#define PREFIX           "base_model.model."
#define COLUMNS          1024 /* of A that are widened at once */

struct factors {
    const struct ig_tensor *of;             /* the weight */
    const struct ig_tensor *rows, *columns; /* [n, r] or its turn, [r, m] or its turn */
    const unsigned char *row_map, *column_map;
    bool row_turned, column_turned; /* stored [r, n]; stored [m, r] */
    int64_t rank;
    float scale;
};

/* ---- reading ---- */

static float value_at(const struct merge_input *in, const struct ig_tensor *t,
                      const unsigned char *map, int64_t at)
{
    float value;
    ig_convert_to_f32(&in->convert, t->dtype, map + (size_t)at * ig_dtype_bytes(t->dtype), &value,
                      1);
    return value;
}

/* Row k of the second factor, columns first .. first + count, as f32. */
static void widen_columns(const struct merge_input *in, const struct factors *f, int64_t cols,
                          int64_t k, int64_t first, int64_t count, float *out)
{
    const struct ig_tensor *t = f->columns;
    size_t size = ig_dtype_bytes(t->dtype);
    if (!f->column_turned) {
        ig_convert_to_f32(&in->convert, t->dtype, f->column_map + (size_t)(k * cols + first) * size,
                          out, count);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = value_at(in, t, f->column_map, (first + i) * f->rank + k);
}

/* out[first .. first + count) of the flat weight += scale B A, for columns c .. c + n only. */
static void add_block(const struct merge_input *in, const struct factors *f, int64_t rows,
                      int64_t cols, const int64_t range[2], const int64_t columns[2], float *out)
{
    float a[COLUMNS];
    int64_t first = range[0], end = range[0] + range[1], c = columns[0], n = columns[1];
    for (int64_t k = 0; k < f->rank; k++) {
        widen_columns(in, f, cols, k, c, n, a);
        for (int64_t r = first / cols; r < rows && r * cols + c < end; r++) {
            int64_t low = r * cols + c < first ? first - r * cols - c : 0;
            int64_t high = r * cols + c + n > end ? end - r * cols - c : n;
            int64_t at = f->row_turned ? k * rows + r : r * f->rank + k;
            float b = f->scale * value_at(in, f->rows, f->row_map, at);
            float *to = out + (r * cols + c - first);
            for (int64_t i = low; i < high; i++)
                to[i] += b * a[i];
        }
    }
}

static bool read_adapted(const struct merge_input *in, const struct merge_view *v, int64_t first,
                         int64_t count, void *to, struct ig_err *err)
{
    const struct factors *f = v->own;
    int64_t rows = v->tensor.shape[0], cols = v->tensor.shape[1];
    const int64_t range[2] = {first, count};
    if (!merge__input_read_f32(in, f->of, first, count, to, err)) return false;
    for (int64_t c = 0; c < cols; c += COLUMNS) {
        const int64_t columns[2] = {c, cols - c < COLUMNS ? cols - c : COLUMNS};
        add_block(in, f, rows, cols, range, columns, to);
    }
    return true;
}

/* ---- the adapter's settings ---- */

struct adapter {
    struct ig_store *store;
    const struct ig_json *config;
    double alpha;
    bool rslora, turned;
};

static bool said(const struct ig_json *config, const char *key)
{
    bool truth = false;
    return ig_json_bool(ig_json_get(config, key), &truth) && truth;
}

static bool check_adapter(struct adapter *a, struct ig_err *err)
{
    struct ig_slice type = ig_json_text(ig_json_get(a->config, "peft_type"));
    if (!ig_slice_is(type, "LORA"))
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "adapter_config.json: peft_type '" IG_SLICE_FMT "' is not LORA",
                          IG_SLICE_ARG(type));
    static const char *const others[] = {"use_dora", "use_qalora", "use_bdlora", "lora_bias", NULL};
    for (int i = 0; others[i]; i++)
        if (said(a->config, others[i]))
            return ig_err_set(err, IG_ERR_UNSUPPORTED, "adapter_config.json: '%s' is not supported",
                              others[i]);
    const struct ig_json *layers = ig_json_get(a->config, "layer_replication");
    if (layers && layers->type != IG_JSON_NULL)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "adapter_config.json: 'layer_replication' is not supported");
    const struct ig_json *parameters = ig_json_get(a->config, "target_parameters");
    if (parameters && parameters->type == IG_JSON_ARRAY && parameters->count > 0)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "adapter_config.json: target_parameters are not supported");
    if (!ig_json_real(ig_json_get(a->config, "lora_alpha"), &a->alpha) || !isfinite(a->alpha))
        return ig_err_set(err, IG_ERR_DATA, "adapter_config.json has no 'lora_alpha'");
    a->rslora = said(a->config, "use_rslora");
    a->turned = said(a->config, "fan_in_fan_out");
    return true;
}

/* alpha_pattern's keys are regular expressions for the end of the module's name; plain ones are
 * understood. */
static bool alpha_of(const struct adapter *a, struct ig_slice module, double *alpha,
                     struct ig_err *err)
{
    const struct ig_json *pattern = ig_json_get(a->config, "alpha_pattern");
    *alpha = a->alpha;
    for (uint32_t i = 0; pattern && pattern->type == IG_JSON_OBJECT && i < pattern->count; i++) {
        struct ig_slice key = pattern->items[i].key;
        for (size_t j = 0; j < key.len; j++)
            if (strchr("^$*+?()[]{}|\\", key.ptr[j]))
                return ig_err_set(err, IG_ERR_UNSUPPORTED,
                                  "adapter_config.json: alpha_pattern '" IG_SLICE_FMT
                                  "' is a regular expression",
                                  IG_SLICE_ARG(key));
        if (module.len < key.len || key.len == 0) continue;
        size_t at = module.len - key.len;
        if (memcmp(module.ptr + at, key.ptr, key.len) != 0 || (at && module.ptr[at - 1] != '.'))
            continue;
        if (!ig_json_real(&pattern->items[i], alpha))
            return ig_err_set(err, IG_ERR_DATA, "adapter_config.json: alpha_pattern");
        break;
    }
    return true;
}

/* ---- putting it on ---- */

/* The model's tensor of that name, also where a wrapper's prefix is longer or shorter. */
static int64_t find_weight(const struct merge_input *in, struct ig_slice module, const char *what)
{
    char name[1024];
    static const char *const prefixes[] = {"", "model.", NULL};
    for (int i = 0; prefixes[i]; i++) {
        int n =
            snprintf(name, sizeof name, "%s%.*s%s", prefixes[i], (int)module.len, module.ptr, what);
        if (n < 0 || (size_t)n >= sizeof name) return -1;
        int64_t at = ig_map_get(&in->by_name, ig_slice_make(name, (size_t)n), -1);
        if (at >= 0) return at;
    }
    return -1;
}

static bool fail_module(struct ig_slice module, const char *why, struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_DATA, "the adapter's module '" IG_SLICE_FMT "' %s",
                      IG_SLICE_ARG(module), why);
}

static bool map_factors(const struct adapter *a, struct factors *f, struct ig_err *err)
{
    f->row_map = ig_store_map(a->store, f->rows, err);
    f->column_map = f->row_map ? ig_store_map(a->store, f->columns, err) : NULL;
    return f->column_map != NULL;
}

/* embedding: lora_embedding_A and _B, which have no .weight after them. */
static bool add_factors(struct ig_merge *m, struct merge_input *in, const struct adapter *a,
                        struct ig_slice module, bool embedding, struct ig_err *err)
{
    const char *form = embedding ? PREFIX "%.*s.lora_embedding_%c" : PREFIX "%.*s.lora_%c.weight";
    const struct ig_tensor *pair[2];
    for (int i = 0; i < 2; i++) {
        struct ig_slice name =
            merge__name(&m->arena, form, (int)module.len, module.ptr, i ? 'B' : 'A');
        if (!name.ptr) return ig_err_nomem(err);
        pair[i] = ig_store_find(a->store, name);
        if (!pair[i]) return fail_module(module, i ? "has no lora_B" : "has no lora_A", err);
        if (pair[i]->rank != 2 || !ig_dtype_is_float(pair[i]->dtype))
            return fail_module(module, "has factors that are no matrices", err);
    }
    int64_t at = find_weight(in, module, ".weight");
    if (at < 0) return fail_module(module, "is not in the model", err);
    const struct ig_tensor *w = in->tensors[at];
    struct factors *f = ig_arena_new(&m->arena, sizeof *f);
    struct merge_view *v = f ? merge__view_new(&m->arena, w, w->name, err) : NULL;
    if (!v) return ig_err_nomem(err);
    bool turned = embedding || a->turned;
    *f = (struct factors){.of = w,
                          .rows = pair[turned ? 0 : 1],
                          .columns = pair[turned ? 1 : 0],
                          .row_turned = turned,
                          .column_turned = turned,
                          .rank = pair[0]->shape[0]};
    if (w->rank != 2 || !ig_dtype_is_float(w->dtype) || pair[1]->shape[1] != f->rank ||
        w->shape[0] != (turned ? pair[0]->shape[1] : pair[1]->shape[0]) ||
        w->shape[1] != (turned ? pair[1]->shape[0] : pair[0]->shape[1]))
        return fail_module(module, "does not fit the model's weight", err);
    double alpha;
    if (!alpha_of(a, module, &alpha, err) || !map_factors(a, f, err)) return false;
    f->scale = f->rank ? (float)(alpha / (a->rslora ? sqrt((double)f->rank) : (double)f->rank)) : 0;
    v->tensor.dtype = IG_F32;
    v->own = f;
    v->read = read_adapted;
    in->tensors[at] = &v->tensor;
    return merge__view_size(v, err);
}

/* A tensor that the adapter holds whole: it is in another store. */
static bool read_saved(const struct merge_input *in, const struct merge_view *v, int64_t first,
                       int64_t count, void *to, struct ig_err *err)
{
    const struct ig_tensor *t = v->own;
    size_t size = ig_dtype_bytes(t->dtype);
    return ig_store_read(in->adapter, t, (size_t)first * size, (size_t)count * size, to, err);
}

static bool put_saved(struct ig_merge *m, struct merge_input *in, const struct ig_tensor *t,
                      struct ig_err *err)
{
    struct ig_slice name =
        ig_slice_make(t->name.ptr + strlen(PREFIX), t->name.len - strlen(PREFIX));
    static const char *const middles[] = {".modules_to_save", ".base_layer", NULL};
    struct ig_slice head = name, tail = ig_slice_of("");
    for (int i = 0; middles[i]; i++) {
        const char *cut = ig_slice_find(name, ig_slice_of(middles[i]));
        if (!cut) continue;
        head = ig_slice_make(name.ptr, (size_t)(cut - name.ptr));
        tail = ig_slice_make(cut + strlen(middles[i]), name.len - head.len - strlen(middles[i]));
    }
    struct ig_slice rest = merge__name(&m->arena, "%.*s", (int)tail.len, tail.ptr);
    if (!rest.ptr) return ig_err_nomem(err);
    int64_t at = find_weight(in, head, rest.ptr);
    if (at < 0) return fail_module(name, "is not in the model", err);
    struct merge_view *v = merge__view_new(&m->arena, t, in->tensors[at]->name, err);
    if (!v) return false;
    v->own = t;
    v->like = merge__stored_dtype(in->tensors[at]);
    v->read = read_saved;
    in->tensors[at] = &v->tensor;
    return true;
}

static bool put_tensor(struct ig_merge *m, struct merge_input *in, const struct adapter *a,
                       const struct ig_tensor *t, struct ig_err *err)
{
    static const char *const seconds[] = {".lora_B.weight", ".lora_embedding_B", NULL};
    static const char *const firsts[] = {".lora_A.weight", ".lora_embedding_A", NULL};
    if (!ig_slice_starts(t->name, PREFIX))
        return fail_module(t->name, "has a name that peft does not write", err);
    struct ig_slice name =
        ig_slice_make(t->name.ptr + strlen(PREFIX), t->name.len - strlen(PREFIX));
    for (int i = 0; seconds[i]; i++) {
        if (ig_slice_ends(name, firsts[i])) {
            name.len -= strlen(firsts[i]);
            return add_factors(m, in, a, name, i == 1, err);
        }
        if (!ig_slice_ends(name, seconds[i])) continue;
        struct ig_slice first = merge__name(
            &m->arena, PREFIX "%.*s%s", (int)(name.len - strlen(seconds[i])), name.ptr, firsts[i]);
        if (ig_store_find(a->store, first)) return true; /* with its partner */
        return fail_module(name, "has no lora_A", err);
    }
    if (ig_slice_find(name, ig_slice_of(".lora_")))
        return fail_module(name, "is of a kind that is not supported", err);
    return put_saved(m, in, t, err);
}

/* ---- the head of a model whose head is its embedding ---- */

static const struct ig_tensor *find_embedding(const struct merge_input *in)
{
    const struct ig_arch *arch = ig_arch_find(in->config);
    for (int64_t i = 0; i < in->count; i++) {
        struct ig_place place;
        ig_arch_place(arch, in->tensors[i]->name, &place);
        if (place.role == IG_ROLE_EMBED && place.layer < 0 && in->tensors[i]->rank == 2)
            return in->tensors[i];
    }
    return NULL;
}

static bool read_embedding(const struct merge_input *in, const struct merge_view *v, int64_t first,
                           int64_t count, void *to, struct ig_err *err)
{
    return merge__input_read(in, v->own, first, count, to, err);
}

/* Whether the adapter saved head and embedding whole, and the same: they stay tied. */
static bool saves_both(const struct adapter *a, const struct ig_tensor *embed, bool *out,
                       struct ig_err *err)
{
    struct ig_buf name = {0};
    ig_buf_text(&name, PREFIX);
    ig_buf_slice(&name, embed->name);
    if (!ig_buf_ok(&name, err)) return false;
    const struct ig_tensor *x = ig_store_find(a->store, ig_buf_view(&name));
    const struct ig_tensor *y = ig_store_find(a->store, ig_slice_of(PREFIX "lm_head.weight"));
    ig_buf_release(&name);
    *out = false;
    if (!x || !y || x->dtype != y->dtype || x->bytes != y->bytes) return true;
    const void *p = ig_store_map(a->store, x, err), *q = p ? ig_store_map(a->store, y, err) : NULL;
    if (q) *out = memcmp(p, q, x->bytes) == 0;
    return q != NULL;
}

/* An adapter of PEFT's has a head beside the embedding; *skip: it says nothing new. */
static bool untie_head(struct ig_merge *m, struct merge_input *in, const struct adapter *a,
                       bool *skip, struct ig_err *err)
{
    bool has = false;
    for (int64_t i = 0; i < ig_store_count(a->store); i++)
        has = has || ig_slice_starts(ig_store_at(a->store, i)->name, PREFIX "lm_head.");
    const struct ig_tensor *embed = has ? find_embedding(in) : NULL;
    *skip = false;
    if (!embed || find_weight(in, ig_slice_of("lm_head"), ".weight") >= 0) return true;
    if (!saves_both(a, embed, skip, err)) return false;
    if (*skip) return true;
    const struct ig_tensor **list = ig_arena_array(&m->arena, (size_t)in->count + 1, sizeof *list);
    struct merge_view *v = merge__view_new(&m->arena, embed, ig_slice_of("lm_head.weight"), err);
    if (!list || !v) return ig_err_nomem(err);
    memcpy(list, in->tensors, (size_t)in->count * sizeof *list);
    v->own = embed;
    v->read = read_embedding;
    list[in->count++] = &v->tensor;
    in->tensors = list;
    return merge__input_index(in, err);
}

/* adapter_config.json beside adapter_model.safetensors. */
static bool open_adapter(struct ig_merge *m, const char *folder, struct adapter *a,
                         struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    if (!ig_path_join(path, folder, "adapter_config.json", err)) return false;
    bool ok = ig_file_read(path, CONFIG_BYTES_MAX, &text, err);
    if (ok) {
        a->config = ig_json_parse(ig_buf_view(&text), &m->arena, err);
        ok = a->config || ig_err_within(err, "%s", path);
    }
    ig_buf_release(&text);
    return ok && check_adapter(a, err) &&
           ig_path_join(path, folder, "adapter_model.safetensors", err) &&
           ig_store_open(path, &a->store, err);
}

bool merge__apply_lora(struct ig_merge *m, struct merge_input *in, const char *reference,
                       struct ig_err *err)
{
    struct adapter a = {0};
    struct ig_buf folder = {0};
    bool ok = merge__find_folder(reference, &folder, err) && open_adapter(m, folder.data, &a, err);
    bool skip = false;
    in->adapter = a.store;
    ok = ok && untie_head(m, in, &a, &skip, err);
    /* the list is ours to change, the store's tensors are not */
    for (int64_t i = 0; ok && i < ig_store_count(a.store); i++)
        if (!skip || !ig_slice_is(ig_store_at(a.store, i)->name, PREFIX "lm_head.weight"))
            ok = put_tensor(m, in, &a, ig_store_at(a.store, i), err);
    ig_buf_release(&folder);
    return ok || ig_err_within(err, "LoRA '%s'", reference);
}
