/* SPDX-License-Identifier: Apache-2.0
 * compare — which of several models is better, on which task, and what cannot be told.
 *
 * Use:   ig_compare_open (reads and computes) -> fields of struct ig_comparison,
 * ig_compare_margins, ig_compare_flips -> ig_compare_close. Numbers alone: ig_published_read.
 * Reads: folders of lm-evaluation-harness, or of `ingot eval --output`: results_TIME.json and
 *        samples_TASK_TIME.jsonl. Runs are compared item by item; other items, prompts or examples
 *        are an error that names them.
 * Owns:  everything handed out is valid until close.
 * Limits: COMPARE_* in src/eval/compare/compare_internal.h. Definitions and sources:
 * docs/compare.md. */
#pragma once
#include "ingot/buf.h"
#include "ingot/watch.h"

#define IG_COMPARE_CHOICES_MAX 256

struct ig_compare_job {
    const char *const *paths; /* a model's folder, a folder of those, or a results_TIME.json */
    size_t path_count;
    const char *baseline; /* a model's name; NULL: the first */
    const char *tasks;    /* "boolq,piqa"; NULL: all */
    double plan;          /* how many items would find this difference; 0: not asked */
    int64_t rounds;       /* of the resampling; 0: 10,000 */
    uint64_t seed;
    int threads; /* 0: one for each core. Results do not depend on it */
    const struct ig_watch *watch;
};

enum ig_verdict {
    IG_VERDICT_NONE, /* the model or the baseline was not run on this task */
    IG_VERDICT_SAME, /* not distinguishable */
    IG_VERDICT_BETTER,
    IG_VERDICT_WORSE,
};

struct ig_compare_task {
    const char *name, *metric; /* acc_norm where the task has it, else acc */
    int64_t items, clusters;   /* as many clusters as items: each item is its own */
    const char *cluster_word;  /* what a cluster is: "article"; NULL without */
    int64_t shots;             /* -1: not told */
};
struct ig_compare_score { /* of one model on one task */
    int64_t items, right; /* items 0: not run */
    double value, error;  /* share of right items, its standard error (clusters counted) */
};
/* A model against the baseline on one task. Differences are shares: 0.01 is one point. */
struct ig_compare_pair {
    enum ig_verdict verdict;      /* of p_holm at 5 %; the members below hold unless NONE */
    int64_t gained, lost;         /* right here and wrong there; the reverse */
    double difference, low, high; /* 95 % */
    double p, p_holm;             /* McNemar's exact mid-p; adjusted over the tasks */
    double design;                /* variance of the difference over that of single items, >= 1 */
    double detectable; /* the smallest difference that would be significant with as many discordant
                          items; NAN: none would */
    double planned;    /* items that would find job.plan; NAN: not asked */
    /* gold margin: score of the gold choice minus the best other's, as the metric compares them */
    bool has_margin;
    double margin_change, margin_p, margin_p_holm; /* mean change; sign flips */
};
struct ig_compare_mean { /* over the tasks that every model has */
    enum ig_verdict verdict;
    double value, difference, low, high, error, p; /* stratified paired bootstrap */
};
struct ig_compare_model {
    const char *name, *path;
    const struct ig_compare_score *scores; /* one a task */
    const struct ig_compare_pair *pairs;   /* one a task; of the baseline all NONE */
    struct ig_compare_mean mean;
    const char *profile; /* what it gained and lost, in words; "" for the baseline */
};
struct ig_comparison {
    int model_count, task_count, baseline;
    int mean_tasks; /* that every model has */
    int64_t rounds;
    uint64_t seed;
    double plan;
    const struct ig_compare_task *tasks;
    const struct ig_compare_model *models;
    int note_count;
    const char *const *notes; /* what a reader must know: missing tasks, runs left out */
};

IG_MUST_CHECK bool ig_compare_open(const struct ig_compare_job *job, struct ig_comparison **out,
                                   struct ig_err *err);
void ig_compare_close(struct ig_comparison *comparison);
/* "better", "not distinguishable (n = 500 finds differences from 2.1 points)" ... */
void ig_compare_verdict(const struct ig_comparison *comparison, int model, int task,
                        struct ig_buf *out);
void ig_compare_mean_verdict(const struct ig_comparison *comparison, int model, struct ig_buf *out);
/* Gold margins of a model's items, in the order of the items; NULL where there are none. */
const double *ig_compare_margins(const struct ig_comparison *comparison, int model, int task,
                                 int64_t *count);

struct ig_compare_flip { /* an item that is right for one and wrong for the other */
    const char *task;
    int model;
    int64_t doc;
    bool gained; /* right for the model, wrong for the baseline */
    bool has_margin;
    double margin, margin_base;
    int gold, pick, pick_base; /* choices; -1: not known */
    int count;
    const struct ig_slice *contexts, *choices; /* count of them; contexts are all equal but where a
                                                  choice is a context of its own (winogrande) */
};
/* Reads the flipped items of a model again, with their texts. task -1: all tasks. each may return
 * false to stop, which is no failure. */
IG_MUST_CHECK bool ig_compare_flips(const struct ig_comparison *comparison, int model, int task,
                                    bool (*each)(void *user, const struct ig_compare_flip *flip),
                                    void *user, struct ig_err *err);

/* ---- published numbers ---- */

struct ig_published_value {
    bool present;
    double value;
    int digits;      /* behind the point, as published */
    bool impossible; /* no number of right items of all gives this value */
};
struct ig_published_pair { /* against the first model of the table, items taken as not paired */
    enum ig_verdict verdict;
    double difference, low, high, p, p_holm;
    double paired[3]; /* the difference that pairing would find with 3, 6, 12 % discordant items */
};
struct ig_published_row {
    const char *table, *model;
    int baseline; /* row; its own index: this is the baseline */
    const struct ig_published_value *values;
    const struct ig_published_pair *pairs; /* one a task */
    double mean;                           /* NAN unless every task is there */
    struct ig_published_pair mean_pair;
};
struct ig_published {
    int row_count, task_count;
    const char *const *tasks;
    const int64_t *items; /* of each task in full; 0: not known */
    const struct ig_published_row *rows;
};
/* A head (table, model, tasks; or model, tasks) and rows of accuracies, split by tabs. baseline: a
 * model's name in each table that has it; NULL: the first. */
IG_MUST_CHECK bool ig_published_parse(struct ig_slice text, const char *baseline,
                                      struct ig_published **out, struct ig_err *err);
IG_MUST_CHECK bool ig_published_read(const char *path, const char *baseline,
                                     struct ig_published **out, struct ig_err *err);
void ig_published_close(struct ig_published *published);
/* The share of items up to which the same runs, compared item by item, would show a difference that
 * numbers alone do not, if no more than it changed side; 0: no share would do. */
double ig_published_share(const struct ig_published_pair *pair);
/* "better", or what cannot be told. */
void ig_published_verdict(const struct ig_published_pair *pair, struct ig_buf *out);
/* What can be told of a row against its baseline, and what cannot; empty for the baseline. */
void ig_published_profile(const struct ig_published *published, int row, struct ig_buf *out);
