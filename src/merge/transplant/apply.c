/* SPDX-License-Identifier: Apache-2.0
 * apply — which row is which token's, and everything of the output that names tokens: embedding,
 * head, vocab_size, the ids of special tokens, generation_config.json. The tokenizer's files are
 * the donor's as they are. Nothing is computed here but means: rows are made as they are read. */
#include "base/file.h"
#include "merge/transplant/graft.h"

#include <stdlib.h>

static bool fail(const struct transplant *t, const char *why, struct ig_err *err)
{
    ig_yaml_fail(err, t->ask->at, "transplant: %s", why);
    return t->m->recipe->made ? false : ig_err_within(err, "%s", t->m->recipe->name);
}

/* ---- tokens ---- */

static bool allows(int allowed, bool head)
{
    return allowed == ALLOW_YES || allowed == (head ? ALLOW_HEAD : ALLOW_EMBED);
}

static int32_t find_same(const struct graft *g, struct ig_slice key, struct ig_slice literal,
                         bool *exact)
{
    const struct transplant *t = g->t;
    int64_t rows = g->own->shape[0];
    int32_t id = transplant__same(&t->model, key, rows);
    if (id < 0 && literal.len) id = transplant__same(&t->model, literal, rows);
    *exact = id >= 0;
    if (id < 0 && allows(t->ask->byte, g->head)) id = transplant__same_byte(&t->model, key, rows);
    if (id < 0 && allows(t->ask->prefix, g->head))
        id = transplant__same_prefix(&t->model, key, rows);
    return id;
}

/* at: in the donor's vocabulary. */
static bool place_token(struct graft *g, int32_t id, int32_t at, int64_t donor_rows, bool plain)
{
    bool exact;
    struct ig_slice key = g->t->donor.keys[at], literal = g->t->donor.literals[at];
    int32_t own = find_same(g, key, literal, &exact);
    g->source[id] = own;
    if (own >= 0) {
        if (exact && id < donor_rows) {
            g->shared[g->shared_count].donor = id;
            g->shared[g->shared_count++].model = own;
        }
        return true;
    }
    if (plain || id >= donor_rows) return false;
    g->source[id] = SOURCE_FRESH - (int32_t)g->fresh_count;
    g->fresh[g->fresh_count].id = id;
    g->fresh[g->fresh_count++].key = literal.len ? literal : key;
    return true;
}

/* plain: rows of new tokens are zeros. */
static bool place_tokens(struct graft *g, bool plain, struct ig_err *err)
{
    const struct spelled *donor = &g->t->donor;
    size_t rows = (size_t)g->rows;
    int32_t *by_id = malloc((rows + 1) * sizeof *by_id); /* -> index in the vocabulary */
    g->source = ig_arena_array(&g->t->arena, rows, sizeof *g->source);
    g->shared = ig_arena_array(&g->t->arena, rows, sizeof *g->shared);
    g->fresh = ig_arena_array(&g->t->arena, rows, sizeof *g->fresh);
    bool ok = (by_id && g->source && g->shared && g->fresh) || ig_err_nomem(err);
    int64_t donor_rows = g->from ? g->from->shape[0] : g->rows;
    for (size_t i = 0; ok && i < rows; i++) {
        by_id[i] = -1;
        g->source[i] = SOURCE_ZERO;
    }
    for (int64_t i = 0; ok && i < donor->vocab.count; i++)
        by_id[donor->vocab.ids[i]] = (int32_t)i;
    for (size_t id = 0; ok && id < rows; id++)
        if (by_id[id] >= 0 && !place_token(g, (int32_t)id, by_id[id], donor_rows, plain))
            g->zeroed++;
    free(by_id);
    return ok;
}

/* ---- matrices ---- */

static bool check_matrix(const struct transplant *t, const struct ig_tensor *own,
                         const struct ig_tensor *from, struct ig_err *err)
{
    if (own->elems == 0 || (from && (from->rank != 2 || from->elems == 0)))
        return fail(t, "an embedding is empty or no matrix", err);
    return true;
}

/* For the numbers of the donor: something to go by, and not more than there is. */
static bool set_k(struct graft *g, const struct ig_watch *watch, struct ig_err *err)
{
    if (g->shared_count == 0)
        return fail(g->t,
                    "the two vocabularies have no token in common, so that there is nothing to go "
                    "by; subword and mean need none",
                    err);
    if (g->k > g->shared_count) {
        ig_watch_warn(watch, "transplant: only %lld tokens are in both vocabularies: k is that",
                      (long long)g->shared_count);
        g->k = g->shared_count;
    }
    g->atoms.count = g->shared_count;
    g->atoms.width = g->from_width;
    g->atoms.dtype = g->from->dtype == IG_BF16 ? IG_BF16 : IG_F32;
    return transplant__atoms_way(&g->atoms, g->t->ask->approximation == APPROX_OMP, err);
}

static bool make_view(struct graft *g, int64_t at, struct ig_err *err)
{
    struct ig_merge *m = g->t->m;
    struct merge_view *view = merge__view_new(&m->arena, g->own, g->own->name, err);
    if (!view) return false;
    view->tensor.dtype = IG_F32;
    view->tensor.shape[0] = g->rows;
    view->own = g;
    view->read = transplant__read;
    if (!merge__view_size(view, err)) return false;
    m->inputs[0].tensors[at] = &view->tensor;
    return true;
}

/* at: which of the model's tensors; from: the donor's, or NULL: new rows are zeros. */
static bool graft(struct transplant *t, int64_t at, const struct ig_tensor *from, bool head,
                  const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_merge *m = t->m;
    struct graft *g = ig_arena_new(&t->arena, sizeof *g);
    bool plain = !from || t->ask->approximation == APPROX_ZERO;
    if (!g) return ig_err_nomem(err);
    *g = (struct graft){.t = t,
                        .model = &m->inputs[0],
                        .donor = &m->inputs[t->ask->donor],
                        .own = m->inputs[0].tensors[at],
                        .from = transplant__needs_donor(t->ask) ? from : NULL,
                        .head = head,
                        .rows = t->donor.rows,
                        .k = t->ask->k,
                        .stream = merge__random_stream((uint64_t)m->recipe->seed, head)};
    if (!check_matrix(t, g->own, from, err)) return false;
    g->width = g->own->elems / g->own->shape[0];
    g->from_width = from ? from->shape[1] : 0;
    g->block = (int64_t)TARGETS_MAX * m->threads;
    if (!place_tokens(g, plain, err)) return false;
    if (g->fresh_count > 0 && g->from && !set_k(g, watch, err)) return false;
    if (g->zeroed > 0 && !plain)
        ig_watch_warn(watch,
                      "transplant: %lld new tokens have no row in the donor's '" IG_SLICE_FMT
                      "': their rows are zeros",
                      (long long)g->zeroed, IG_SLICE_ARG(from->name));
    if (from) t->grafts[t->graft_count++] = g;
    return transplant__simple_open(g, err) && make_view(g, at, err);
}

static const struct ig_tensor *tensor_at(const struct merge_input *in, int64_t at)
{
    return at < 0 ? NULL : in->tensors[at];
}

static bool graft_all(struct transplant *t, const struct ig_watch *watch, struct ig_err *err)
{
    const struct merge_input *model = &t->m->inputs[0], *donor = &t->m->inputs[t->ask->donor];
    int64_t embed = merge__find_rows(model, IG_ROLE_EMBED, ".weight");
    int64_t head = merge__find_rows(model, IG_ROLE_LM_HEAD, ".weight");
    int64_t bias = merge__find_rows(model, IG_ROLE_LM_HEAD, ".bias");
    const struct ig_tensor *from =
        tensor_at(donor, merge__find_rows(donor, IG_ROLE_EMBED, ".weight"));
    const struct ig_tensor *from_head =
        tensor_at(donor, merge__find_rows(donor, IG_ROLE_LM_HEAD, ".weight"));
    if (embed < 0) return fail(t, "the model has no embedding", err);
    if (!from) return fail(t, "the donor has no embedding", err);
    if (!from_head) from_head = from; /* tied */
    return graft(t, embed, from, false, watch, err) &&
           (head < 0 || graft(t, head, from_head, true, watch, err)) &&
           (bias < 0 || graft(t, bias, NULL, true, watch, err)) &&
           merge__input_index(&t->m->inputs[0], err);
}

/* ---- ids of special tokens ---- */

static const char *const id_keys[] = {"bos_token_id", "eos_token_id",  "pad_token_id",
                                      "unk_token_id", "mask_token_id", NULL};

static const struct ig_json *id_of(const struct ig_json *config, const char *key)
{
    const struct ig_json *value = ig_json_get(config, key);
    return value ? value : ig_json_get(merge__text_config(config), key);
}

/* In place where they are, and where there are none at the top. */
static bool set_ids(struct ig_json *config, struct ig_json *text, const struct ig_json *from,
                    struct ig_arena *arena, struct ig_err *err)
{
    for (int i = 0; id_keys[i]; i++) {
        const struct ig_json *value = id_of(from, id_keys[i]);
        bool inside = text != config && merge__config_find(text, id_keys[i]);
        bool top = merge__config_find(config, id_keys[i]) || !inside;
        if (!value) {
            merge__config_drop(config, id_keys[i]);
            merge__config_drop(text, id_keys[i]);
            continue;
        }
        if (inside && !merge__config_set(text, id_keys[i], *value, arena, err)) return false;
        if (top && !merge__config_set(config, id_keys[i], *value, arena, err)) return false;
    }
    return true;
}

bool merge__set_token_ids(const struct ig_merge *m, struct ig_json *config, struct ig_json *text,
                          struct ig_arena *arena, struct ig_err *err)
{
    if (!m->transplant) return true;
    return set_ids(config, text, m->inputs[m->transplant->ask->donor].config, arena, err);
}

static bool read_json(const char *folder, const char *name, struct ig_arena *arena,
                      struct ig_json **out, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    *out = NULL;
    if (!ig_path_join(path, folder, name, err)) return false;
    if (!ig_path_exists(path)) return true;
    if (ig_file_read(path, (size_t)16 << 20, &text, err))
        *out = ig_json_parse(ig_buf_view(&text), arena, err);
    ig_buf_release(&text);
    return *out || ig_err_within(err, "%s", path);
}

/* The model's generation_config.json with the donor's ids. */
static bool keep_generation(struct transplant *t, struct ig_err *err)
{
    struct ig_merge *m = t->m;
    struct ig_json *own, *donor;
    struct ig_buf text = {0};
    if (!read_json(ig_store_path(m->stores[0]), "generation_config.json", &t->arena, &own, err) ||
        !read_json(ig_store_path(m->stores[t->ask->donor]), "generation_config.json", &t->arena,
                   &donor, err))
        return false;
    if (!own || own->type != IG_JSON_OBJECT) return true;
    if (!set_ids(own, own, donor ? donor : m->inputs[t->ask->donor].config, &t->arena, err))
        return false;
    ig_json_write(&text, own, 2, false);
    ig_buf_char(&text, '\n');
    struct ig_slice copy = {0};
    if (ig_buf_ok(&text, err)) copy = ig_arena_copy(&m->arena, ig_buf_view(&text));
    ig_buf_release(&text);
    return copy.ptr ? merge__keep_file(m, "generation_config.json", copy, err) : ig_err_nomem(err);
}

/* Other ids of the model's that now mean other tokens, or none. */
static void warn_ids(const struct transplant *t, const struct ig_watch *watch)
{
    const struct ig_json *config = t->m->inputs[0].config;
    for (uint32_t i = 0; config && config->type == IG_JSON_OBJECT && i < config->count; i++) {
        struct ig_slice key = config->items[i].key;
        bool known = !ig_slice_ends(key, "_token_id") || config->items[i].type == IG_JSON_NULL;
        for (int k = 0; id_keys[k]; k++)
            known = known || ig_slice_is(key, id_keys[k]);
        if (!known)
            ig_watch_warn(watch,
                          "transplant: config.json's " IG_SLICE_FMT
                          " is a number of the old tokenizer, and stays",
                          IG_SLICE_ARG(key));
    }
}

/* ---- the whole ---- */

static bool open_transplant(struct transplant *t, const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_merge *m = t->m;
    const char *model = ig_store_path(m->stores[0]);
    const char *donor = ig_store_path(m->stores[t->ask->donor]);
    if (!transplant__spell(model, t->ask->spelling, &t->arena, &t->model, err) ||
        !transplant__spell(donor, t->ask->spelling, &t->arena, &t->donor, err))
        return false;
    if (t->ask->approximation == APPROX_SUBWORD && !ig_tokenizer_open(model, &t->tokenizer, err))
        return false;
    if (!graft_all(t, watch, err) || !keep_generation(t, err)) return false;
    warn_ids(t, watch);
    m->vocab_rows = t->donor.rows;
    m->tokenizer_folder = donor;
    return true;
}

bool merge__apply_transplant(struct ig_merge *m, const struct ig_watch *watch, struct ig_err *err)
{
    if (!m->recipe->transplant) return true;
    struct transplant *t = calloc(1, sizeof *t);
    if (!t) return ig_err_nomem(err);
    t->m = m;
    t->ask = m->recipe->transplant;
    pthread_mutex_init(&t->lock, NULL);
    m->transplant = t;
    return open_transplant(t, watch, err);
}

void merge__transplant_free(struct transplant *t)
{
    if (!t) return;
    for (int i = 0; i < t->graft_count; i++)
        transplant__graft_free(t->grafts[i]);
    transplant__spelled_release(&t->model);
    transplant__spelled_release(&t->donor);
    ig_tokenizer_close(t->tokenizer);
    pthread_mutex_destroy(&t->lock);
    ig_arena_release(&t->arena);
    free(t);
}

/* ---- what it comes to ---- */

uint64_t merge__transplant_bytes(const struct ig_merge *m)
{
    uint64_t bytes = 0;
    for (int i = 0; m->transplant && i < m->transplant->graft_count; i++) {
        const struct graft *g = m->transplant->grafts[i];
        if (!g->fresh_count) continue;
        bytes += (uint64_t)(2 * g->block * g->width) * sizeof(float);
        if (!g->from) continue;
        bytes += transplant__atoms_bytes(&g->atoms);
        bytes += (uint64_t)m->threads * transplant__pursuer_bytes(&g->atoms, g->k);
    }
    return bytes;
}

void merge__describe_transplant(const struct ig_merge *m, struct ig_buf *out)
{
    if (!m->transplant) return;
    const struct graft *g = m->transplant->grafts[0];
    int64_t kept = 0;
    for (int64_t i = 0; i < g->rows; i++)
        kept += g->source[i] >= 0;
    ig_buf_printf(out, "%lld tokens of '" IG_SLICE_FMT "': %lld keep the model's row, ",
                  (long long)g->t->donor.vocab.count,
                  IG_SLICE_ARG(m->recipe->models[g->t->ask->donor].path), (long long)kept);
    if (g->fresh_count)
        ig_buf_printf(out, "%lld get one by %s", (long long)g->fresh_count,
                      ig_transplant_methods[g->t->ask->approximation]);
    if (g->fresh_count && g->from) ig_buf_printf(out, " of %lld", (long long)g->k);
    if (g->zeroed)
        ig_buf_printf(out, "%s%lld are zeros", g->fresh_count ? ", " : "", (long long)g->zeroed);
    if (!g->fresh_count && !g->zeroed) ig_buf_text(out, "none is new");
}
