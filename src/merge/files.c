/* SPDX-License-Identifier: Apache-2.0
 * files — what is written beside the weights: the model card, ingot.json. All of it is
 * a function of recipe and inputs: no clock, no host name, so that folders can be compared. */
#include "merge/merge_internal.h"

#include "base/digest.h"

#include <stdlib.h>

/* ---- README.md ---- */

/* Whether a path could be a model's name on the Hub: "org/name", nothing else. */
static bool is_hub_name(struct ig_slice path)
{
    int slashes = 0;
    for (size_t i = 0; i < path.len; i++)
        slashes += path.ptr[i] == '/';
    return slashes == 1 && path.ptr[0] != '/' && path.ptr[0] != '.' &&
           path.ptr[path.len - 1] != '/';
}

static struct ig_slice last_part(struct ig_slice path)
{
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/') return ig_slice_make(path.ptr + i, path.len - i);
    return path;
}

void merge__write_card(const struct ig_merge *m, const struct merge_output *output,
                       struct ig_buf *out)
{
    const struct ig_recipe *r = m->recipe;
    bool listed = false;
    ig_buf_text(out, "---\n");
    for (int i = 0; i < r->count; i++) {
        if (!is_hub_name(r->models[i].path)) continue;
        if (!listed) ig_buf_text(out, "base_model:\n");
        ig_buf_text(out, "- ");
        struct ig_slice name = r->models[i].path;
        const char *at = memchr(name.ptr, '@', name.len);
        if (at) name.len = (size_t)(at - name.ptr); /* metadata has no place for a revision */
        ig_buf_slice(out, name);
        ig_buf_char(out, '\n');
        listed = true;
    }
    ig_buf_printf(out, "library_name: %s\ntags:\n- merge\n- ingot\n- %s\n",
                  output->quantize ? "mlx" : "transformers", r->method->name);
    if (output->quantize) ig_buf_text(out, "- mlx\n");
    ig_buf_text(out, "---\n# ");
    ig_buf_slice(out, last_part(ig_slice_of(output->path)));
    if (r->transplant)
        ig_buf_printf(out, "\n\nA model with another one's tokenizer, made with ingot %s",
                      INGOT_VERSION);
    else
        ig_buf_printf(out, "\n\nA merge of %d models, made with ingot %s by the method `%s` (%s)",
                      r->count, INGOT_VERSION, r->method->name, r->method->summary);
    if (output->quantize) ig_buf_printf(out, ", quantised as `%s`", output->name);
    ig_buf_text(out, ".\n\n## Models\n");
    for (int i = 0; i < r->count; i++) {
        ig_buf_text(out, "- ");
        ig_buf_slice(out, r->models[i].path);
        ig_buf_text(out, i == r->base ? " (base)\n" : "\n");
    }
    if (r->context) {
        ig_buf_text(out, "\n## Context\n");
        merge__describe_context(m, out);
        ig_buf_text(out, ".\n");
    }
    if (r->transplant) {
        ig_buf_text(out, "\n## Tokenizer\n");
        merge__describe_transplant(m, out);
        ig_buf_text(out, ".\n");
    }
    ig_buf_text(out, "\n## Recipe\n```yaml\n");
    ig_buf_slice(out, r->text);
    if (r->text.len && r->text.ptr[r->text.len - 1] != '\n') ig_buf_char(out, '\n');
    ig_buf_text(
        out,
        "```\n\n`ingot.json` holds the fingerprints of the inputs and the digests of the tensors");
    ig_buf_text(out, m->job.trace ? "; `sketchbook.jsonl` says what went into each.\n" : ".\n");
}

/* ---- ingot.json and the sketchbook's head ---- */

static void put_key_text(struct ig_json_writer *w, const char *key, struct ig_slice text)
{
    ig_json_key(w, key);
    ig_json_put_text(w, text);
}

static void put_inputs(const struct ig_merge *m, struct ig_json_writer *w);

/* A result is what its recipe and its own inputs say. */
static void put_result(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                       struct ig_json_writer *w)
{
    char hex[IG_DIGEST_HEX];
    struct ig_buf text = {0};
    struct ig_json_writer own = {.out = &text};
    ig_json_open(&own, '{');
    put_inputs(m, &own);
    ig_json_close(&own, '}');
    if (text.failed) w->out->failed = true;
    ig_digest_hex(ig_digest_of(text.data, text.len), hex);
    put_key_text(w, "identity", ig_slice_of(hex));
    ig_json_key(w, "stage");
    ig_json_open(w, '{');
    put_inputs(m, w);
    ig_json_close(w, '}');
    ig_buf_release(&text);
}

static void put_inputs(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                       struct ig_json_writer *w)
{
    put_key_text(w, "ingot", ig_slice_of(INGOT_VERSION));
    put_key_text(w, "method", ig_slice_of(m->recipe->method->name));
    put_key_text(w, "recipe", m->recipe->text);
    ig_json_key(w, "models");
    ig_json_open(w, '[');
    for (int i = 0; i < m->recipe->count; i++) {
        ig_json_open(w, '{');
        put_key_text(w, "model", m->recipe->models[i].path);
        const struct ig_merge *inner = merge__result_of(&m->inputs[i]);
        if (inner)
            put_result(inner, w);
        else
            put_key_text(w, "identity", ig_slice_of(ig_store_identity(m->stores[i])));
        if (m->inputs[i].adapter)
            put_key_text(w, "lora_identity", ig_slice_of(ig_store_identity(m->inputs[i].adapter)));
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

void merge__write_provenance(const struct ig_merge *m, const struct merge_output *output,
                             struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out, .indent = 2};
    ig_json_open(&w, '{');
    put_inputs(m, &w);
    if (output->quantize) {
        put_key_text(&w, "quantize", ig_slice_of(output->name));
    } else {
        ig_json_key(&w, "digests");
        ig_json_open(&w, '{');
        for (int64_t i = 0; i < m->count; i++) {
            struct ig_buf key = {0};
            ig_buf_slice(&key, m->tensors[i].name);
            if (key.data)
                put_key_text(&w, key.data, ig_slice_of(ig_writer_digest(output->writer, i)));
            ig_buf_release(&key);
        }
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}

void merge__write_sketch_head(const struct ig_merge *m, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out};
    ig_json_open(&w, '{');
    put_inputs(m, &w);
    ig_json_key(&w, "tensors");
    ig_json_put_int(&w, m->count);
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}
