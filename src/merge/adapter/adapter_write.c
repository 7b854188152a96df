/* SPDX-License-Identifier: Apache-2.0
 * adapter_write — the adapter's folder: factors from the scratch folder, what is saved whole from
 * the model, and the files beside them. Names are PEFT's: base_model.model.MODULE.lora_A.weight [r,
 * in], .lora_B.weight [out, r] base_model.model.MODULE.lora_embedding_A [r, rows],
 * .lora_embedding_B [width, r] base_model.model.MODULE.weight             of what is saved whole
 *     base_model.model.MODULE.base_layer.bias    of a factored module: the whole bias */
#include "merge/adapter/adapter_internal.h"

#include "base/thread.h"

#include <stdlib.h>

#define PART ((int64_t)1 << 18) /* elements that are copied at once */

/* A tensor of the adapter. */
struct piece {
    const struct adapter_entry *e;
    bool factors;
    size_t at; /* of factors, in the scratch folder */
};

struct output {
    struct ig_adapter *a;
    struct ig_tensor *tensors;
    struct piece *pieces;
    int64_t count;
    struct ig_writer *writer;
    unsigned char **memory; /* of each thread: PART elements stored, and as f32 */
};

/* ---- which ---- */

static bool shares_key(const struct adapter_entry *a, const struct adapter_entry *b)
{
    return (a->part == ADAPTER_WHOLE) == (b->part == ADAPTER_WHOLE) &&
           ig_slice_equal(a->key, b->key);
}

/* PEFT takes modules by their last names: all of a name are in, or none. A bias alone is not. */
static bool keep_names(struct ig_adapter *a, struct ig_err *err)
{
    struct ig_map changed[2] = {{0}, {0}}; /* of factored names, of whole ones */
    bool ok = true;
    for (int64_t i = 0; ok && i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        if (e->part <= ADAPTER_WHOLE && (e->changed || e->wanted))
            ok = ig_map_put(&changed[e->part], e->key, i, err);
    }
    for (int64_t i = 0; ok && i < a->count; i++) {
        struct adapter_entry *e = &a->entries[i];
        e->kept = e->part == ADAPTER_BIAS
                      ? e->changed
                      : e->part <= ADAPTER_WHOLE && ig_map_get(&changed[e->part], e->key, -1) >= 0;
    }
    /* a bias whose weights are all as they were: the module must be there for it */
    for (int64_t i = 0; ok && i < a->count; i++) {
        if (a->entries[i].part != ADAPTER_BIAS || !a->entries[i].changed) continue;
        for (int64_t j = 0; j < a->count; j++)
            if (a->entries[j].part == ADAPTER_FACTORS &&
                ig_slice_equal(a->entries[j].key, a->entries[i].key))
                a->entries[j].kept = true;
    }
    for (int i = 0; i < 2; i++)
        ig_map_release(&changed[i]);
    return ok;
}

static struct piece *add_piece(struct output *o, const struct adapter_entry *e, const char *tail)
{
    struct ig_tensor *t = &o->tensors[o->count];
    *t = (struct ig_tensor){.name = merge__name(&o->a->arena, ADAPTER_PREFIX "%.*s%s",
                                                (int)e->module.len, e->module.ptr, tail)};
    o->pieces[o->count] = (struct piece){.e = e};
    return &o->pieces[o->count++];
}

static void add_factors(struct output *o, const struct adapter_entry *e)
{
    int64_t in = e->tuned->shape[e->turned ? 0 : 1], out = e->tuned->shape[e->turned ? 1 : 0];
    for (int second = 0; second < 2; second++) {
        const char *tail = e->turned ? (second ? ".lora_embedding_B" : ".lora_embedding_A")
                                     : (second ? ".lora_B.weight" : ".lora_A.weight");
        struct piece *p = add_piece(o, e, tail);
        struct ig_tensor *t = &o->tensors[o->count - 1];
        p->factors = true;
        p->at = second ? (size_t)(e->rank * in) * ig_dtype_bytes(e->dtype) : 0;
        t->dtype = e->dtype;
        t->rank = 2;
        t->shape[0] = second ? out : e->rank;
        t->shape[1] = second ? e->rank : in;
        t->elems = t->shape[0] * t->shape[1];
    }
}

static void add_whole(struct output *o, const struct adapter_entry *e, const char *tail)
{
    add_piece(o, e, tail);
    struct ig_tensor *t = &o->tensors[o->count - 1];
    t->dtype = merge__stored_dtype(e->tuned);
    t->rank = e->tuned->rank;
    t->elems = e->tuned->elems;
    memcpy(t->shape, e->tuned->shape, sizeof t->shape);
}

static bool list_pieces(struct output *o, struct ig_err *err)
{
    struct ig_adapter *a = o->a;
    o->tensors = ig_arena_array(&a->arena, 2 * (size_t)a->count, sizeof *o->tensors);
    o->pieces = ig_arena_array(&a->arena, 2 * (size_t)a->count, sizeof *o->pieces);
    if (!o->tensors || !o->pieces) return ig_err_nomem(err);
    for (int64_t i = 0; i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        if (!e->kept) continue;
        if (e->part == ADAPTER_FACTORS) add_factors(o, e);
        if (e->part == ADAPTER_BIAS) add_whole(o, e, ".base_layer.bias");
        if (e->part == ADAPTER_WHOLE)
            add_whole(o, e, ig_slice_is(e->tail, ".bias") ? ".bias" : ".weight");
    }
    for (int64_t i = 0; i < o->count; i++)
        if (!o->tensors[i].name.ptr) return ig_err_nomem(err);
    if (o->count) return true;
    return ig_err_set(err, IG_ERR_DATA,
                      "'%s' and '%s' are the same: there is nothing to put into an adapter",
                      a->job.tuned, a->job.base);
}

/* ---- weights ---- */

static bool read_part(struct output *o, int64_t index, int64_t first, int64_t count,
                      unsigned char *to, struct ig_err *err)
{
    const struct piece *p = &o->pieces[index];
    const struct ig_tensor *t = &o->tensors[index];
    const struct merge_input *in = o->a->in[ADAPTER_TUNED];
    size_t size = ig_dtype_bytes(t->dtype);
    if (p->factors)
        return adapter__scratch_read(o->a, p->e, p->at + (size_t)first * size, to,
                                     (size_t)count * size, err);
    if (t->dtype == p->e->tuned->dtype)
        return merge__input_read(in, p->e->tuned, first, count, to, err);
    float *wide = (float *)(void *)(to + (size_t)PART * sizeof(double));
    if (!merge__input_read_f32(in, p->e->tuned, first, count, wide, err)) return false;
    ig_convert_from_f32(&in->convert, t->dtype, wide, to, count);
    return true;
}

static bool write_piece(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct output *o = user;
    const struct ig_tensor *t = &o->tensors[index];
    size_t size = ig_dtype_bytes(t->dtype);
    unsigned char *part = o->memory[thread];
    if (ig_writer_has(o->writer, index)) return adapter__advance(o->a, 1, 0, err);
    for (int64_t at = 0; at < t->elems; at += PART) {
        int64_t n = t->elems - at < PART ? t->elems - at : PART;
        if (!read_part(o, index, at, n, part, err) ||
            !ig_writer_put(o->writer, index, (size_t)at * size, part, (size_t)n * size, err))
            return false;
    }
    return ig_writer_mark(o->writer, index, err) && adapter__advance(o->a, 1, 0, err);
}

static bool write_weights(struct output *o, struct ig_err *err)
{
    int threads = o->a->job.threads > 0 ? o->a->job.threads : ig_core_count();
    struct ig_pool *pool = ig_pool_new(threads, err);
    o->memory = calloc((size_t)threads, sizeof *o->memory);
    bool ok = pool && (o->memory || ig_err_nomem(err));
    for (int i = 0; ok && i < threads; i++) {
        o->memory[i] = malloc((size_t)PART * (sizeof(double) + sizeof(float)));
        ok = o->memory[i] || ig_err_nomem(err);
    }
    ok = ok && ig_pool_each(pool, o->count, write_piece, o, err);
    for (int i = 0; o->memory && i < threads; i++)
        free(o->memory[i]);
    free(o->memory);
    ig_pool_free(pool);
    return ok;
}

/* ---- files ---- */

static void key_text(struct ig_json_writer *w, const char *key, const char *text)
{
    ig_json_add_text(w, key, text);
}

/* The last names of what is kept of a part, each once, in the model's order. */
static void put_names(const struct ig_adapter *a, enum adapter_part part, struct ig_json_writer *w)
{
    ig_json_open(w, '[');
    for (int64_t i = 0; i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        bool seen = !e->kept || e->part != part;
        for (int64_t j = 0; j < i && !seen; j++)
            seen =
                a->entries[j].kept && a->entries[j].part == part && shares_key(&a->entries[j], e);
        if (!seen) ig_json_put_text(w, e->key);
    }
    ig_json_close(w, ']');
}

static void put_ranks(const struct ig_adapter *a, double scale, struct ig_json_writer *w)
{
    ig_json_open(w, '{');
    for (int64_t i = 0; i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        if (!e->kept || e->part != ADAPTER_FACTORS || e->rank == a->rank) continue;
        struct ig_slice name = e->module;
        char key[1024];
        if (name.len >= sizeof key) continue;
        memcpy(key, name.ptr, name.len);
        key[name.len] = '\0';
        ig_json_key(w, key);
        double value = (double)e->rank * scale;
        if (value == (double)(int64_t)value)
            ig_json_put_int(w, (int64_t)value);
        else
            ig_json_put_real(w, value);
    }
    ig_json_close(w, '}');
}

static void write_config(const struct ig_adapter *a, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out, .indent = 2};
    double alpha = (double)a->rank * a->scale;
    ig_json_open(&w, '{');
    key_text(&w, "base_model_name_or_path", a->job.base);
    key_text(&w, "peft_type", "LORA");
    ig_json_key(&w, "use_rslora");
    ig_json_put_bool(&w, false);
    ig_json_key(&w, "target_modules");
    put_names(a, ADAPTER_FACTORS, &w);
    ig_json_key(&w, "modules_to_save");
    put_names(a, ADAPTER_WHOLE, &w);
    key_text(&w, "task_type", "CAUSAL_LM");
    ig_json_key(&w, "r");
    ig_json_put_int(&w, a->rank);
    ig_json_key(&w, "lora_alpha");
    if (alpha == (double)(int64_t)alpha)
        ig_json_put_int(&w, (int64_t)alpha);
    else
        ig_json_put_real(&w, alpha);
    ig_json_key(&w, "rank_pattern");
    put_ranks(a, 1, &w);
    ig_json_key(&w, "alpha_pattern");
    put_ranks(a, a->scale, &w);
    ig_json_key(&w, "lora_dropout");
    ig_json_put_real(&w, 0);
    ig_json_key(&w, "bias");
    ig_json_put_text(&w, ig_slice_of("none"));
    ig_json_key(&w, "fan_in_fan_out");
    ig_json_put_bool(&w, false);
    ig_json_key(&w, "inference_mode");
    ig_json_put_bool(&w, true);
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void write_card(const struct ig_adapter *a, struct ig_buf *out)
{
    const char *slash = strchr(a->job.base, '/');
    bool hub = slash && slash != a->job.base && a->job.base[0] != '.' && slash[1] &&
               !strchr(slash + 1, '/');
    ig_buf_text(out, "---\n");
    if (hub) ig_buf_printf(out, "base_model:\n- %s\n", a->job.base);
    ig_buf_printf(out, "library_name: peft\ntags:\n- ingot\n- lora\n- peft\n---\n# %s\n\n",
                  last_part(a->job.out));
    ig_buf_printf(
        out,
        "A LoRA of rank %lld: what %s is beyond its base, %s. It was extracted with ingot "
        "%s by singular value decomposition and holds %.2f %% of the difference's "
        "energy in the modules below.\n\n| module | rank | energy kept |\n|---|---|---|\n",
        (long long)a->rank, a->job.tuned, a->job.base, INGOT_VERSION, 100 * ig_adapter_kept(a));
    for (int64_t i = 0; i < a->count; i++) {
        const struct adapter_entry *e = &a->entries[i];
        double kept = 0, all = 0;
        int64_t rank = 0;
        bool first = e->kept && e->part == ADAPTER_FACTORS;
        for (int64_t j = 0; j < a->count && first; j++) {
            const struct adapter_entry *f = &a->entries[j];
            if (!f->kept || f->part != e->part || !ig_slice_equal(f->key, e->key)) continue;
            first = j >= i;
            kept += f->kept_energy;
            all += f->energy;
            if (f->rank > rank) rank = f->rank;
        }
        if (first)
            ig_buf_printf(out, "| " IG_SLICE_FMT " | %lld | %.2f %% |\n", IG_SLICE_ARG(e->key),
                          (long long)rank, all > 0 ? 100 * kept / all : 100.0);
    }
    ig_buf_text(out, "\n`ingot.json` says it for each module.\n");
}

static void write_provenance(const struct ig_adapter *a, const struct output *o, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out, .indent = 2};
    const char *models[] = {a->job.tuned, a->job.base};
    ig_json_open(&w, '{');
    key_text(&w, "ingot", INGOT_VERSION);
    ig_json_key(&w, "models");
    ig_json_open(&w, '[');
    for (int i = 0; i < 2; i++) {
        ig_json_open(&w, '{');
        key_text(&w, "model", models[i]);
        key_text(&w, "identity", ig_store_identity(a->in[i]->store));
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, ']');
    ig_json_key(&w, "modules");
    adapter__put_rows(a, &w);
    ig_json_key(&w, "digests");
    ig_json_open(&w, '{');
    for (int64_t i = 0; i < o->count; i++) {
        ig_json_key(&w, o->tensors[i].name.ptr); /* of merge__name: NUL-terminated */
        ig_json_put_text(&w, ig_slice_of(ig_writer_digest(o->writer, i)));
    }
    ig_json_close(&w, '}');
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}

static bool add_file(struct output *o, const char *name, struct ig_buf *text, struct ig_err *err)
{
    bool ok = ig_buf_ok(text, err) && ig_writer_add(o->writer, name, ig_buf_view(text), err);
    ig_buf_clear(text);
    return ok;
}

static bool write_files(struct output *o, struct ig_err *err)
{
    struct ig_buf text = {0};
    write_config(o->a, &text);
    bool ok = add_file(o, "adapter_config.json", &text, err);
    write_card(o->a, &text);
    ok = ok && add_file(o, "README.md", &text, err);
    write_provenance(o->a, o, &text);
    ok = ok && add_file(o, "ingot.json", &text, err);
    ig_buf_release(&text);
    return ok;
}

bool adapter__choose(struct ig_adapter *a, struct ig_err *err)
{
    if (!keep_names(a, err)) return false;
    a->rank = 0;
    for (int64_t i = 0; i < a->count; i++)
        if (a->entries[i].kept && a->entries[i].part == ADAPTER_FACTORS &&
            a->entries[i].rank > a->rank)
            a->rank = a->entries[i].rank;
    if (a->rank == 0) a->rank = 1; /* PEFT wants one, for nothing */
    return true;
}

bool adapter__write(struct ig_adapter *a, struct ig_err *err)
{
    struct output o = {.a = a};
    struct ig_buf origins = {0};
    if (!list_pieces(&o, err)) {
        struct ig_err other = {0}; /* there is nothing to go on with */
        if (!adapter__scratch_remove(a, &other)) ig_watch_warn(a->watch, "%s", other.text);
        return false;
    }
    bool ok = adapter__put_origins(a, &origins, err);
    const struct ig_writer_plan plan = {.out = a->job.out,
                                        .tensors = o.tensors,
                                        .count = o.count,
                                        .file = "adapter_model.safetensors",
                                        .total_parameters = -1,
                                        .origins = ig_buf_view(&origins),
                                        .resume = a->job.resume,
                                        .force = a->job.force};
    a->progress = (struct ig_progress){.phase = "write", .items_total = o.count};
    ok = ok && ig_writer_open(&plan, &o.writer, err) && write_weights(&o, err) &&
         write_files(&o, err);
    if (ok) a->bytes = ig_writer_bytes(o.writer);
    ok = ok && adapter__scratch_remove(a, err) && ig_writer_finish(o.writer, err);
    ig_writer_close(o.writer);
    ig_buf_release(&origins);
    return ok;
}
