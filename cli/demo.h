/* SPDX-License-Identifier: Apache-2.0
 * demo — the parts of `ingot demo`: which models, what the sketchbook says, the table of scores. */
#pragma once
#include "ingot/err.h"
#include "ingot/watch.h"

#define DEMO_MODELS_MAX 8
/* About the micro-world that the fixtures were trained on. */
#define DEMO_QUESTIONS                                                                             \
    "Who is the miller?", "What does the otter eat?", "What happens if I drop the jar?"

struct demo_model {
    char name[64], path[1200];
};
struct demo {
    struct demo_model parents[DEMO_MODELS_MAX], variants[DEMO_MODELS_MAX];
    int parent_count, variant_count;
    char folder[1024], merged[1100];
    int64_t limit; /* rows of each task; 0: all */
};

/* Every folder of the fixtures' models but the base. */
IG_MUST_CHECK bool demo_find_parents(struct demo *demo, struct ig_err *err);
void demo_add_variant(struct demo *demo, const char *recipe, const char *path);
const char *demo_variant_path(const struct demo *demo, const char *recipe);
IG_MUST_CHECK bool demo_print_parents(const struct demo *demo, struct ig_err *err);
/* Mean share of each model by layer group, from the sketchbook of the merge. */
IG_MUST_CHECK bool demo_print_shares(const struct demo *demo, struct ig_err *err);
IG_MUST_CHECK bool demo_print_scores(const struct demo *demo, const struct ig_watch *watch,
                                     struct ig_err *err);
/* Removes the demo's temporary folder: files two levels down, then folders. */
void demo_remove(const char *folder);
