/* SPDX-License-Identifier: Apache-2.0
 * outputs — the folders that one merge writes: the model itself, quantised forms of it, or both.
 * One recipe writes OUT, several write OUT/NAME each. */
#include "merge/merge_internal.h"

#include "base/file.h"

#include <stdio.h>

static bool plan_output(struct ig_merge *m, int index, struct ig_err *err)
{
    struct merge_output *o = &m->outputs[index];
    char path[IG_PATH_MAX];
    o->quantize = m->job.quantize_count ? m->job.quantize[index] : NULL;
    o->name = o->quantize ? "?" : "none";
    for (int i = 0; i < index; i++)
        if (strcmp(m->outputs[i].name, o->name) == 0)
            return ig_err_set(err, IG_ERR_USAGE, "recipe '%s' is asked for twice", o->name);
    o->path = m->job.out;
    if (m->output_count > 1) {
        if (!ig_path_join(path, m->job.out, o->name, err)) return false;
        o->path = ig_arena_copy(&m->arena, ig_slice_of(path)).ptr;
        if (!o->path) return ig_err_nomem(err);
    }
    if (!o->quantize) return true;
    return ig_err_set(err, IG_ERR_UNSUPPORTED,
                      "merging and quantising in one pass is not here yet");
}

bool merge__outputs_plan(struct ig_merge *m, struct ig_err *err)
{
    if (m->job.quantize_count < 0 || m->job.quantize_count > IG_OUTPUTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "at most %d outputs at once", IG_OUTPUTS_MAX);
    if (!merge__make_config(m, &m->arena, &m->config, err)) return false;
    m->output_count = m->job.quantize_count ? m->job.quantize_count : 1;
    for (int i = 0; i < m->output_count; i++)
        if (!plan_output(m, i, err)) return false;
    return true;
}

static bool start_plain(struct ig_merge *m, struct merge_output *o, struct ig_err *err)
{
    int64_t parameters = 0;
    for (int64_t i = 0; i < m->count; i++)
        parameters += m->tensors[i].elems;
    struct ig_writer_plan plan = {.out = o->path,
                                  .tensors = m->tensors,
                                  .count = m->count,
                                  .layout = IG_LAYOUT_HF,
                                  .total_parameters = parameters,
                                  .fingerprint = m->fingerprint,
                                  .resume = m->job.resume,
                                  .force = m->job.force};
    if (!ig_writer_open(&plan, &o->writer, err)) return false;
    o->sink = ig_writer_sink(o->writer);
    return true;
}

bool merge__outputs_start(struct ig_merge *m, struct ig_err *err)
{
    if (m->output_count > 1 && !ig_dir_make(m->job.out, err)) return false;
    for (int i = 0; i < m->output_count; i++) {
        struct merge_output *o = &m->outputs[i];
        if (!start_plain(m, o, err)) return false;
    }
    return true;
}

static bool add(struct ig_writer *w, const char *name, struct ig_buf *text, struct ig_err *err)
{
    bool ok = ig_buf_ok(text, err) && ig_writer_add(w, name, ig_buf_view(text), err);
    ig_buf_release(text);
    return ok;
}

static bool finish_output(struct ig_merge *m, struct merge_output *o, struct ig_slice sketchbook,
                          struct ig_err *err)
{
    struct ig_writer *w = o->writer;
    struct ig_buf config = {0}, card = {0}, provenance = {0};
    if (!ig_writer_carry(w, ig_store_path(m->stores[m->donor]), err)) return false;
    merge__write_card(m, o, &card);
    merge__write_provenance(m, o, &provenance);
    if (!add(w, "README.md", &card, err) || !add(w, "ingot.json", &provenance, err)) return false;
    if (sketchbook.len && !ig_writer_add(w, "sketchbook.jsonl", sketchbook, err)) return false;
    if (m->config) {
        ig_json_write(&config, m->config, 2, false);
        ig_buf_char(&config, '\n');
        if (!add(w, "config.json", &config, err)) return false;
    }
    return ig_writer_finish(w, err);
}

bool merge__outputs_finish(struct ig_merge *m, struct ig_slice sketchbook, struct ig_err *err)
{
    for (int i = 0; i < m->output_count; i++)
        if (!finish_output(m, &m->outputs[i], sketchbook, err)) return false;
    return true;
}

uint64_t merge__output_bytes(const struct ig_merge *m, int output)
{
    const struct merge_output *o = &m->outputs[output];
    return o ? m->output_bytes : 0;
}

void merge__outputs_close(struct ig_merge *m)
{
    for (int i = 0; i < m->output_count; i++) {
        ig_writer_close(m->outputs[i].writer);
    }
}
