/* SPDX-License-Identifier: Apache-2.0
 * eval — multiple-choice benchmarks as lm-evaluation-harness defines them.
 *
 * Use:   ig_eval_open (rows to requests: no model needed) -> ig_eval_score, once for each model
 *        whose prompts are the same -> ig_eval_close.
 * Owns:  items, requests and their texts are views into the set, valid until close.
 * Threads: a set is read-only after open. Results depend on no order, batch or thread count.
 * Limits: EVAL_FILE_BYTES_MAX, EVAL_CHOICES_MAX (eval_internal.h); anything larger is a data error.
 * Tasks are one file each in src/eval/tasks/. Definitions and sources: docs/eval.md. */
#pragma once
#include "ingot/chat.h"
#include "ingot/dist.h"
#include "ingot/infer.h"
#include "ingot/token.h"

/* Whose way of cutting a request into tokens is followed. The two differ where a context ends in
 * white space (every chat template's does), and where a request is longer than the context. */
enum ig_eval_style {
    IG_EVAL_LM_EVAL, /* trailing white space moves to the scored part; cut at the model's context */
    IG_EVAL_MLX,     /* nothing moves; cut at 8192 tokens */
};

struct ig_eval_job {
    const char *data;  /* folder: TASK.jsonl, or Parquet and others as the Hub names them; NULL: the
                          Hub's cache */
    const char *tasks; /* "arc_easy,boolq", "all"; FILE.yaml: a task of one's own (docs/eval.md) */
    int64_t limit;     /* the first N rows of each task; 0: all */
    enum ig_eval_style style;
    const struct ig_template *chat; /* NULL: no chat template */
    int64_t shots;                  /* examples before the question, drawn from TASK.train.jsonl */
    bool shots_own; /* not `shots` but what a task says itself: num_fewshot, 0 for built-in ones */
    bool multiturn; /* with chat: an example is a user and an assistant turn */
    uint64_t seed;  /* of the draw; 0: the style's own (1234 lm-eval, 123 mlx) */
    const struct ig_watch *watch;
};

struct ig_eval_request { /* score `continuation` after `context` */
    struct ig_slice context, continuation;
};
struct ig_eval_item {
    const char *task;
    int64_t doc;  /* from 0, in the order of the rows */
    int64_t line; /* of the row in its file, from 1 */
    int gold, count;
    const struct ig_eval_request *requests; /* count of them, one a choice */
    const struct ig_slice *choices;         /* what acc_norm's lengths are taken of */
    struct ig_slice target;                 /* as lm-eval's samples files write it */
    struct ig_slice row;                    /* its JSON, as read */
};
struct ig_eval_score { /* of one item; the arrays have item->count values */
    const double *logprobs;
    const bool *greedy; /* the continuation is what greedy decoding would give */
    bool acc, acc_norm; /* the best choice is gold; the best after division by code points */
};
struct ig_eval_result {
    char task[64];
    int64_t items, rows; /* scored; in the file */
    double acc, acc_stderr;
    bool has_norm; /* acc_norm is defined for this task */
    double acc_norm, acc_norm_stderr;
    double seconds;
    int64_t tokens;    /* that the model was fed */
    int64_t truncated; /* items of which something was cut on the left */
    int64_t resumed;   /* items whose values a log had */
    bool stopped;      /* before the last item, because a baseline made it clear */
    int64_t better,
        worse;       /* with a baseline: items that only this model, only the other has right */
    double evidence; /* with a baseline: the e-value, clear from IG_EVAL_CLEAR on; else 0 */
};                   /* a stderr is NAN where one item gives none */

/* Names and summaries of the tasks, NULL-terminated pairs. */
const char *const *ig_eval_task_list(void);
/* A task's data set on the Hub ("aps/super_glue") and its configuration there ("boolq", or ""). */
#define IG_EVAL_SOURCE_MAX 128
IG_MUST_CHECK bool ig_eval_task_source(struct ig_slice task, char dataset[IG_EVAL_SOURCE_MAX],
                                       char config[IG_EVAL_SOURCE_MAX], struct ig_err *err);
/* Whether the Hub's cache has the rows of all these tasks ("all", or a list). */
bool ig_eval_has_data(const char *tasks);

struct ig_eval_set;
IG_MUST_CHECK bool ig_eval_open(const struct ig_eval_job *job, struct ig_eval_set **out,
                                struct ig_err *err);
void ig_eval_close(struct ig_eval_set *set);
int ig_eval_task_count(const struct ig_eval_set *set);
/* Items of one task, and one of them: to show the first prompt, or to write requests out. */
int64_t ig_eval_item_count(const struct ig_eval_set *set, int task);
struct ig_eval_item ig_eval_item_at(const struct ig_eval_set *set, int task, int64_t index);

/* Called for each item in order; false stops the run (IG_ERR_CANCELLED). */
typedef bool ig_eval_on_item(void *user, const struct ig_eval_item *item,
                             const struct ig_eval_score *score);
/* The set's requests in tokens, for every model whose tokenizer and context (in tokens) are these:
 * models in one run share them. Borrows nothing. */
struct ig_eval_tokens;
IG_MUST_CHECK bool ig_eval_tokens_new(const struct ig_eval_set *set,
                                      const struct ig_tokenizer *tokenizer, int64_t context,
                                      struct ig_eval_tokens **out, struct ig_err *err);
void ig_eval_tokens_free(struct ig_eval_tokens *tokens);

/* What a result was measured with: XXH3-128 as hex, over the bytes of all tensors, their headers
 * and config.json; and over tokenizer.json and tokenizer_config.json. */
struct ig_eval_identity {
    char model[33], tokenizer[33];
};
IG_MUST_CHECK bool ig_eval_digest_model(const char *path, int threads, char hex[33],
                                        struct ig_err *err);
IG_MUST_CHECK bool ig_eval_digest_tokenizer(const char *path, char hex[33], struct ig_err *err);

/* The run to compare with: the folder of one model's samples_TASK_TIME.jsonl, of ingot or lm-eval.
 * Scoring with it stops a task as soon as it is clear which of the two is better (its acc_norm
 * where it has that, else acc), by a test that may be looked at after every item: for each task the
 * chance of a wrong verdict is 5 % at most, both directions together. See docs/eval.md. */
#define IG_EVAL_CLEAR 20.0 /* 1 / 5 % */
struct ig_eval_baseline;
IG_MUST_CHECK bool ig_eval_baseline_open(const struct ig_eval_set *set, const char *path,
                                         struct ig_eval_baseline **out, struct ig_err *err);
void ig_eval_baseline_close(struct ig_eval_baseline *baseline);

struct ig_eval_log;
struct ig_eval_scoring {
    const struct ig_eval_tokens *tokens;
    struct ig_eval_log *log; /* NULL: none. Items in it are not scored again, new ones are added */
    const struct ig_eval_identity *identity; /* with a log: the model's, part of each item's key */
    const struct ig_eval_baseline *until;    /* NULL: score all items */
    struct ig_dist *dist; /* ranks that share the items and hand them over through the log; only
                             rank 0 gets results and calls on_item. NULL: this process alone */
    int64_t batch;        /* tokens that go through the model together, at least; 0: as suits it */
    ig_eval_on_item *on_item; /* may be NULL */
    void *user;
};
/* Scores every item. results: one for each task of the set, in the order asked for. */
IG_MUST_CHECK bool ig_eval_score_as(const struct ig_eval_set *set, struct ig_model *model,
                                    const struct ig_eval_scoring *how,
                                    struct ig_eval_result *results, struct ig_err *err);
/* The same for one model, without a log. */
IG_MUST_CHECK bool ig_eval_score(const struct ig_eval_set *set, struct ig_model *model,
                                 const struct ig_tokenizer *tokenizer, ig_eval_on_item *on_item,
                                 void *user, struct ig_eval_result *results, struct ig_err *err);
/* All three steps for one model, without a look at the items. results has room for results_max
 * tasks; *count says how many there are. */
IG_MUST_CHECK bool ig_eval_run(const struct ig_eval_job *job, struct ig_model *model,
                               const struct ig_tokenizer *tokenizer, struct ig_eval_result *results,
                               int results_max, int *count, struct ig_err *err);

/* ---- a text: perplexity, and the distance to a reference ---- */

#define IG_TEXT_PERCENTS 11
extern const double ig_text_percents[IG_TEXT_PERCENTS]; /* 0, 0.1, 1, .. 50 .. 99.9, 100 */

struct ig_text_job {
    const char *path;           /* UTF-8 */
    int64_t context;            /* tokens of a window; its second half is scored */
    int64_t windows;            /* the first N; 0: all */
    struct ig_model *reference; /* NULL: perplexity only */
    const struct ig_tokenizer *reference_tokenizer;
    int threads; /* for the comparison of distributions; 0: one for each core */
    const struct ig_watch *watch;
};
struct ig_estimate {
    double value, error; /* one standard error */
};
struct ig_text_result {
    int64_t windows, context, tokens;                  /* tokens: scored */
    struct ig_estimate nll, ppl;                       /* nll: mean of - log p */
    bool has_reference;                                /* the rest is there */
    struct ig_estimate reference_ppl, ln_ratio, ratio; /* ratio: ppl / reference_ppl */
    double correlation;                                /* of log p, token by token */
    struct ig_estimate kld; /* of the reference's distribution to the model's, mean */
    double kld_percentiles[IG_TEXT_PERCENTS];
    struct ig_estimate delta_p, rms_delta_p; /* of the text's token: p - reference's p */
    struct ig_estimate same_top;             /* share of tokens with the same likeliest one */
};
/* As llama-perplexity measures it. Both models are in memory together, no logits are kept. */
IG_MUST_CHECK bool ig_eval_text(const struct ig_text_job *job, struct ig_model *model,
                                const struct ig_tokenizer *tokenizer, struct ig_text_result *result,
                                struct ig_err *err);

/* ---- the harness's files: DIR/MODEL/results_TIME.json and samples_TASK_TIME.jsonl ---- */

struct ig_eval_record_job {
    const char *dir;
    const char *model;                       /* as the user names it */
    int64_t now;                             /* seconds since 1970, UTC: TIME */
    struct ig_slice chat;                    /* the template's source, or {NULL, 0} */
    const struct ig_eval_identity *identity; /* NULL: not known */
    const char *rope;                        /* "as-mlx-lm"; NULL: "as-config" */
    const char *until;                       /* the baseline's folder, or NULL */
    struct ig_dist *dist;                    /* as in struct ig_eval_scoring */
};
struct ig_eval_record;
/* Makes the folder, and opens the log in it: another process that writes there is an error. The set
 * must outlive the record. */
IG_MUST_CHECK bool ig_eval_record_open(const struct ig_eval_set *set,
                                       const struct ig_eval_record_job *job,
                                       struct ig_eval_record **out, struct ig_err *err);
/* An ig_eval_on_item whose user is the record. What fails here is told by finish. */
bool ig_eval_record_item(void *record, const struct ig_eval_item *item,
                         const struct ig_eval_score *score);
/* Writes all files; results as ig_eval_score gave them. */
IG_MUST_CHECK bool ig_eval_record_finish(struct ig_eval_record *record,
                                         const struct ig_model *model,
                                         const struct ig_tokenizer *tokenizer,
                                         const struct ig_eval_result *results, struct ig_err *err);
void ig_eval_record_close(struct ig_eval_record *record);
/* DIR/MODEL/items.log, for ig_eval_scoring: after a kill the same job goes on from it, and ends
 * with the same bytes in the files (but for times). It stays, so that a longer run can use it.
 * Owned by the record. */
struct ig_eval_log *ig_eval_record_log(struct ig_eval_record *record);
