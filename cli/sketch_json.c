/* SPDX-License-Identifier: Apache-2.0
 * sketch_json — a merge's summary for machines: docs/report.md. */
#include "sketch.h"

#include <stdio.h>

static void put_spread(struct ig_json_writer *w, const char *key,
                       const struct ig_sketch_spread *spread, bool range)
{
    if (!spread->count) return;
    ig_json_add_real(w, key, ig_sketch_mean(spread));
    if (!range) return;
    char name[32];
    snprintf(name, sizeof name, "%s_range", key);
    ig_json_key(w, name);
    ig_json_open(w, '[');
    ig_json_put_real(w, spread->low);
    ig_json_put_real(w, spread->high);
    ig_json_close(w, ']');
}

/* The members of a pool, inside an open object. */
static void put_pool(const struct ig_sketch_summary *s, const struct ig_sketch_pool *pool,
                     struct ig_json_writer *w)
{
    bool range = pool->tensors > 1;
    ig_json_add_int(w, "tensors", pool->tensors);
    ig_json_add_int(w, "copied", pool->copied);
    ig_json_key(w, "shares");
    ig_json_open(w, '[');
    for (int i = 0; i < s->input_count; i++)
        ig_json_put_real(w, ig_sketch_mean(&pool->share[i]));
    ig_json_close(w, ']');
    put_spread(w, "center", &pool->center, range);
    for (int m = 0; m < IG_SKETCH_MEASURES; m++)
        put_spread(w, ig_sketch_measure_name((enum ig_sketch_measure)m), &pool->measure[m], range);
    if (!pool->energy_count) return;
    int last = IG_SKETCH_DIRECTIONS_MAX;
    while (last > 1 && !(pool->energy[last - 1] > 0))
        last--;
    ig_json_key(w, "spectrum");
    ig_json_open(w, '[');
    for (int i = 0; i < last; i++)
        ig_json_put_real(w, pool->energy[i] / (double)pool->energy_count);
    ig_json_close(w, ']');
}

static void put_groups(const struct ig_sketch_summary *s, struct ig_json_writer *w)
{
    ig_json_key(w, "groups");
    ig_json_open(w, '[');
    for (int part = 0; part < IG_SKETCH_PARTS; part++)
        for (int role = 0; role <= IG_ROLE_COUNT; role++) {
            if (!s->groups[part][role].tensors) continue;
            ig_json_open(w, '{');
            ig_json_add_text(w, "layers", ig_sketch_part_name((enum ig_sketch_part)part));
            ig_json_add_text(w, "module",
                             role < IG_ROLE_COUNT ? ig_role_name((enum ig_role)role) : "all");
            put_pool(s, &s->groups[part][role], w);
            ig_json_close(w, '}');
        }
    ig_json_close(w, ']');
}

static void put_cells(const struct ig_sketch_summary *s, struct ig_json_writer *w)
{
    ig_json_key(w, "cells");
    ig_json_open(w, '[');
    for (int64_t i = 0; i < (int64_t)(s->layers + 1) * s->kind_count; i++) {
        const struct ig_sketch_cell *cell = s->cells[i];
        struct ig_buf words = {0};
        if (!cell) continue;
        ig_json_open(w, '{');
        ig_json_key(w, "layer");
        if (cell->layer >= 0)
            ig_json_put_int(w, cell->layer);
        else
            ig_json_put_null(w);
        ig_json_add_text(w, "module", s->kinds[cell->kind].name);
        ig_json_add_text(w, "role", ig_role_name(s->kinds[cell->kind].role));
        ig_json_add_text(w, "tensor", cell->name);
        put_pool(s, &cell->pool, w);
        cli_sketch_words(s, cell, &words);
        ig_json_add_text(w, "words", words.data ? words.data : "");
        ig_buf_release(&words);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

static void put_marks(const struct ig_sketch_summary *s, struct ig_json_writer *w)
{
    ig_json_key(w, "stand_out");
    ig_json_open(w, '[');
    for (int list = 0; list < IG_SKETCH_LISTS; list++)
        for (int i = 0; i < s->mark_count[list]; i++) {
            const struct ig_sketch_mark *mark = &s->marks[list][i];
            ig_json_open(w, '{');
            ig_json_add_text(w, "why", cli_sketch_list_title(s, (enum ig_sketch_list)list));
            ig_json_add_text(w, "tensor", mark->name);
            ig_json_add_real(w, "value", mark->value);
            if (*cli_sketch_whose(s, mark)) ig_json_add_text(w, "model", cli_sketch_whose(s, mark));
            ig_json_close(w, '}');
        }
    ig_json_close(w, ']');
}

void cli_sketch_json(const struct ig_sketch_summary *s, struct ig_json_writer *w)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "ingot", s->head->version);
    ig_json_add_text(w, "method", s->head->method);
    if (s->quantize) ig_json_add_text(w, "quantize", s->quantize);
    ig_json_key(w, "models");
    ig_json_open(w, '[');
    for (int i = 0; i < s->head->model_count; i++) {
        ig_json_open(w, '{');
        ig_json_add_text(w, "model", s->head->models[i].path);
        ig_json_add_text(w, "label", s->head->models[i].label);
        ig_json_add_text(w, "identity", s->head->models[i].identity);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
    ig_json_key(w, "inputs");
    ig_json_open(w, '[');
    for (int i = 0; i < s->input_count; i++)
        ig_json_put_text(w, ig_slice_of(s->inputs[i]));
    ig_json_close(w, ']');
    ig_json_add_int(w, "tensors", s->all.tensors);
    ig_json_add_int(w, "copied", s->all.copied);
    ig_json_add_int(w, "shares_outside", s->outside);
    ig_json_add_int(w, "not_finite", s->not_finite);
    ig_json_add_int(w, "other_inputs", s->other_inputs);
    put_groups(s, w);
    put_cells(s, w);
    put_marks(s, w);
    ig_json_close(w, '}');
}
