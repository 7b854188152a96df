/* SPDX-License-Identifier: Apache-2.0
 * sketch — how a merge's sketchbook is shown: tables, JSON, a page. */
#pragma once
#include "ingot/json.h"
#include "ingot/sketch.h"

/* ---- sketch_print.c: on stdout ---- */
void cli_sketch_print(const struct ig_sketch_summary *summary);
/* Mean share of each model by part of the model: what `ingot demo` shows. */
void cli_sketch_print_shares(const struct ig_sketch_summary *summary);

/* ---- sketch_words.c ---- */
/* "0.341", "2.1e-04", "-". */
const char *cli_sketch_number(double value, char out[24]);
/* Whether any tensor has it, and it is more than the same trivial value everywhere. */
bool cli_sketch_shows(const struct ig_sketch_summary *summary, enum ig_sketch_measure measure);
/* "yoyo_fusion of 3 models, 147 tensors: 145 merged, 2 copied". */
void cli_sketch_headline(const struct ig_sketch_summary *summary, struct ig_buf *out);
/* What a cell's numbers mean, in one or two plain sentences. */
void cli_sketch_words(const struct ig_sketch_summary *summary, const struct ig_sketch_cell *cell,
                      struct ig_buf *out);
/* What is listed, and of one mark the model it is about; "" for nobody. */
const char *cli_sketch_list_title(const struct ig_sketch_summary *summary,
                                  enum ig_sketch_list list);
const char *cli_sketch_whose(const struct ig_sketch_summary *summary,
                             const struct ig_sketch_mark *mark);

/* ---- sketch_json.c ---- */
void cli_sketch_json(const struct ig_sketch_summary *summary, struct ig_json_writer *w);

/* ---- sketch_page.c ---- */
IG_MUST_CHECK bool cli_sketch_page(const struct ig_sketch_summary *summary, const char *path,
                                   struct ig_err *err);
