/* SPDX-License-Identifier: Apache-2.0
 * compare_internal — what the files of compare/ share.
 *
 *     folders --compare_folder--> runs --compare_samples--> items --compare_check--> same items?
 *         --compare--> tests --compare_words--> sentences; compare_flips reads texts again */
#pragma once
#include "base/arena.h"
#include "base/digest.h"
#include "base/thread.h"
#include "ingot/compare.h"
#include "ingot/json.h"

/* One item with its prompts, examples and all. */
#define COMPARE_LINE_BYTES_MAX    ((size_t)64 << 20)
#define COMPARE_RESULTS_BYTES_MAX ((size_t)256 << 20)
#define COMPARE_ITEMS_MAX         ((int64_t)1 << 26)
#define COMPARE_TASKS_MAX         1024
#define COMPARE_MODELS_MAX        64

enum compare_cluster { /* what items of a task share */
                       COMPARE_SINGLE,
                       COMPARE_ARTICLE, /* boolq: the passage's title, or the passage */
                       COMPARE_SOURCE,  /* hellaswag: source_id */
                       COMPARE_TWIN,    /* winogrande: rows next to each other with the same two
                                           options */
};

/* What stays of an item: 112 bytes. */
struct compare_item {
    int64_t doc;
    uint64_t offset; /* of its line */
    int64_t line;    /* from 1 */
    uint32_t bytes;
    bool right;
    bool has_margin;
    int16_t gold, pick; /* -1: not known */
    double margin;
    struct ig_digest row, prompt, target, cluster;
};
/* One line, parsed. Texts live in the arena. */
struct compare_sample {
    struct compare_item item;
    bool hashed; /* item.row is of doc_hash, not of the row's text */
    enum compare_cluster cluster;
    struct ig_slice filter;
    int count; /* choices; 0: a task without */
    struct ig_slice contexts[IG_COMPARE_CHOICES_MAX], choices[IG_COMPARE_CHOICES_MAX];
    double scores[IG_COMPARE_CHOICES_MAX];
    /* acc_norm divides by the choice's length without the blank before it. Whether there is one is
     * not in the file: both are tried, and `bare` is the one without. */
    double margin_bare;
    int16_t pick_bare;
};
struct compare_metric {
    char name[64];
    bool norm;
};

struct compare_part { /* one task of one run */
    const char *task, *path;
    struct compare_metric metric;
    char filter[64];
    enum compare_cluster cluster;
    bool hashed;
    struct compare_item *items; /* by doc */
    int64_t count, room;
    int64_t other_filters; /* lines of filters that were not taken */
    /* from results_TIME.json */
    int64_t shots;           /* -1: not told */
    char version[32];        /* "": not told */
    char style[32];          /* ingot's; "": not told */
    struct ig_slice summary; /* the task's results, as JSON; {NULL, 0}: not told */
};
struct compare_run {
    const char *path, *name;   /* name: as shown */
    struct ig_slice full_name; /* as the run's file tells */
    struct compare_part *parts;
    int count;
};

struct compare { /* what an open comparison holds; `shown` first */
    struct ig_comparison shown;
    struct ig_arena arena;
    struct compare_run *runs;
    int run_count, run_room;
    struct ig_compare_task *tasks;
    struct ig_compare_model *models;
    const char **notes;
    int note_room;
    const struct compare_part **grid; /* run x task; NULL: not run */
    double **margins;                 /* run x task */
    int32_t **ids;                    /* of each task: the items' clusters */
};

/* ---- compare_samples.c ---- */
/* One line. *metric is chosen by the first line (name empty) and asked for in the others. */
IG_MUST_CHECK bool eval__sample_read(struct ig_slice line, struct compare_metric *metric,
                                     struct ig_arena *arena, struct compare_sample *out,
                                     struct ig_err *err);
/* All lines of part->path. Holds one line and the items. */
IG_MUST_CHECK bool eval__samples_read(struct compare_part *part, struct ig_err *err);

/* ---- compare_folder.c ---- */
/* Adds the runs of one path: which files there are, and what their results say. */
IG_MUST_CHECK bool eval__runs_find(struct compare *c, const char *path, const char *tasks,
                                   struct ig_err *err);
/* An error when no run has one of these tasks: a typing error would leave it out in silence. */
IG_MUST_CHECK bool eval__tasks_exist(const struct compare *c, const char *tasks,
                                     struct ig_err *err);
/* Frees what the runs have outside the arena: their items. */
void eval__runs_release(struct compare *c);
/* Short names, all different. */
IG_MUST_CHECK bool eval__runs_name(struct compare *c, struct ig_err *err);

/* ---- compare_check.c ---- */
/* An error unless both are the same items with the same prompts. */
IG_MUST_CHECK bool eval__parts_match(const struct compare_run *base, const struct compare_part *a,
                                     const struct compare_run *model, const struct compare_part *b,
                                     struct ig_err *err);
/* Numbers the clusters of a part's items. */
IG_MUST_CHECK bool eval__clusters(const struct compare_part *part, struct ig_arena *arena,
                                  int32_t **ids, int64_t *count, struct ig_err *err);

/* ---- compare_words.c ---- */
IG_MUST_CHECK bool eval__note(struct compare *c, struct ig_err *err, const char *format, ...)
    IG_PRINTF(3, 4);
/* A name that will be printed: control bytes become '?'. NULL: out of memory. */
const char *eval__clean_copy(struct ig_arena *arena, struct ig_slice name);
/* Fills model->profile of every model. */
IG_MUST_CHECK bool eval__profiles(struct compare *c, struct ig_err *err);
