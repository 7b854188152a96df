/* SPDX-License-Identifier: Apache-2.0
 * describe — the plan, for people and for machines, before anything is written. */
#include "merge/merge_internal.h"

#include <stdio.h>

struct totals {
    int64_t merged, copied, parameters;
    uint64_t memory, disk;
};

static struct totals count(const struct ig_merge *m)
{
    struct totals t = {0};
    for (int64_t i = 0; i < m->count; i++) {
        bool merged = m->tasks[i].action == MERGE_HELD || m->tasks[i].action == MERGE_SPLIT;
        t.merged += merged;
        t.copied += !merged;
        t.parameters += m->tensors[i].elems;
    }
    t.memory = merge__worker_bytes(m) * (uint64_t)m->threads + m->whole_bytes +
               merge__transplant_bytes(m) + merge__results_bytes(m);
    for (int i = 0; i < m->output_count; i++)
        t.disk += merge__output_bytes(m, i);
    return t;
}

/* The innermost first. */
static void write_stages(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                         struct ig_buf *out)
{
    for (int i = 0; i < m->recipe->count; i++) {
        const struct ig_merge *inner = merge__result_of(&m->inputs[i]);
        if (!inner) continue;
        write_stages(inner, out);
        ig_buf_printf(out, "stage    " IG_SLICE_FMT ": %s of",
                      IG_SLICE_ARG(m->recipe->models[i].path), inner->recipe->method->name);
        for (int k = 0; k < inner->recipe->count; k++)
            ig_buf_printf(out, "%s" IG_SLICE_FMT, k ? ", " : " ",
                          IG_SLICE_ARG(inner->recipe->models[k].path));
        ig_buf_text(out, "; made as it is read, nothing of it on disk\n");
    }
}

static void put_stages(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                       struct ig_json_writer *w)
{
    for (int i = 0; i < m->recipe->count; i++) {
        const struct ig_merge *inner = merge__result_of(&m->inputs[i]);
        if (!inner) continue;
        put_stages(inner, w);
        ig_json_open(w, '{');
        ig_json_key(w, "stage");
        ig_json_put_text(w, m->recipe->models[i].path);
        ig_json_key(w, "method");
        ig_json_put_text(w, ig_slice_of(inner->recipe->method->name));
        ig_json_key(w, "models");
        ig_json_open(w, '[');
        for (int k = 0; k < inner->recipe->count; k++)
            ig_json_put_text(w, inner->recipe->models[k].path);
        ig_json_close(w, ']');
        ig_json_close(w, '}');
    }
}

static void write_json(const struct ig_merge *m, const struct totals *t, struct ig_buf *out)
{
    struct ig_json_writer w = {.out = out, .indent = 2};
    ig_json_open(&w, '{');
    ig_json_key(&w, "method");
    ig_json_put_text(&w, ig_slice_of(m->recipe->method->name));
    ig_json_key(&w, "models");
    ig_json_open(&w, '[');
    for (int i = 0; i < m->recipe->count; i++)
        ig_json_put_text(&w, m->recipe->models[i].path);
    ig_json_close(&w, ']');
    ig_json_key(&w, "stages");
    ig_json_open(&w, '[');
    put_stages(m, &w);
    ig_json_close(&w, ']');
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"tensors", m->count},
                {"merged", t->merged},
                {"copied", t->copied},
                {"parameters", t->parameters},
                {"threads", m->threads},
                {"input_bytes", (int64_t)m->input_bytes},
                {"memory_bytes", (int64_t)t->memory},
                {"disk_bytes", (int64_t)t->disk}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ig_json_key(&w, rows[i].key);
        ig_json_put_int(&w, rows[i].value);
    }
    ig_json_key(&w, "outputs");
    ig_json_open(&w, '[');
    for (int i = 0; i < m->output_count; i++) {
        ig_json_open(&w, '{');
        ig_json_key(&w, "recipe");
        ig_json_put_text(&w, ig_slice_of(m->outputs[i].name));
        ig_json_key(&w, "path");
        ig_json_put_text(&w, ig_slice_of(m->outputs[i].path));
        ig_json_key(&w, "bytes");
        ig_json_put_int(&w, (int64_t)merge__output_bytes(m, i));
        ig_json_close(&w, '}');
    }
    ig_json_close(&w, ']');
    ig_json_close(&w, '}');
    ig_buf_char(out, '\n');
}

static const char *size_text(uint64_t bytes, char out[32])
{
    bool large = bytes >= 1000000000;
    snprintf(out, 32, large ? "%.2f GB" : "%.2f MB", (double)bytes / (large ? 1e9 : 1e6));
    return out;
}

static void write_text(const struct ig_merge *m, const struct totals *t, struct ig_buf *out)
{
    const struct ig_recipe *r = m->recipe;
    ig_buf_printf(out, "method   %s: %s\n", r->method->name, r->method->summary);
    for (int i = 0; i < r->count; i++)
        ig_buf_printf(out, "%s" IG_SLICE_FMT "%s\n", i ? "         " : "models   ",
                      IG_SLICE_ARG(r->models[i].path), i == r->base ? " (base)" : "");
    write_stages(m, out);
    ig_buf_printf(out, "tensors  %lld: %lld merged, %lld copied\n", (long long)m->count,
                  (long long)t->merged, (long long)t->copied);
    char size[32];
    ig_buf_printf(out, "read     %s\n", size_text(m->input_bytes, size));
    for (int i = 0; i < m->output_count; i++)
        ig_buf_printf(out, "%s%s to %s%s%s%s\n", i ? "         " : "write    ",
                      size_text(merge__output_bytes(m, i), size), m->outputs[i].path,
                      m->outputs[i].cast ? " (" : "", m->outputs[i].cast ? m->outputs[i].name : "",
                      m->outputs[i].cast ? ")" : "");
    struct ig_buf context = {0};
    merge__describe_context(m, &context);
    if (context.len) ig_buf_printf(out, "context  %s\n", context.data);
    ig_buf_clear(&context);
    merge__describe_transplant(m, &context);
    if (context.len) ig_buf_printf(out, "tokens   %s\n", context.data);
    ig_buf_release(&context);
    ig_buf_printf(out, "memory   %.1f MB on %d thread%s\n", (double)t->memory / 1e6, m->threads,
                  m->threads == 1 ? "" : "s");
}

bool ig_merge_describe(const struct ig_merge *merge, bool json, struct ig_buf *out,
                       struct ig_err *err)
{
    struct totals t = count(merge);
    if (json)
        write_json(merge, &t, out);
    else
        write_text(merge, &t, out);
    return ig_buf_ok(out, err);
}
