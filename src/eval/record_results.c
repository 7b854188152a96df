/* SPDX-License-Identifier: Apache-2.0
 * record_results — results_TIME.json with the harness's keys in its order, and ours at the end. */
#include "base/clock.h"
#include "base/file.h"
#include "eval/record_internal.h"
#include "eval/until.h"
#include "eval/yaml_task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The release whose definitions the tasks, prompts and metrics follow (docs/eval.md). */
#define HARNESS_VERSION "0.4.13"

static void put_metric(struct ig_json_writer *w, const char *name, double value, double error)
{
    char key[64];
    snprintf(key, sizeof key, "%s,none", name);
    ig_json_add_real(w, key, value);
    snprintf(key, sizeof key, "%s_stderr,none", name);
    ig_json_key(w, key);
    if (isnan(error))
        ig_json_put_text(w, ig_slice_of("N/A"));
    else
        ig_json_put_real(w, error);
}

static void put_results(struct ig_json_writer *w, const struct ig_eval_set *set,
                        const struct ig_eval_result *results)
{
    ig_json_key(w, "results");
    ig_json_open(w, '{');
    for (int t = 0; t < set->count; t++) {
        const struct ig_eval_result *r = &results[t];
        ig_json_key(w, r->task);
        ig_json_open(w, '{');
        ig_json_add_text(w, "name", r->task);
        ig_json_add_text(w, "alias", r->task);
        ig_json_add_int(w, "sample_len", r->items);
        if (!set->parts[t].task->lacks_acc) put_metric(w, "acc", r->acc, r->acc_stderr);
        if (r->has_norm) put_metric(w, "acc_norm", r->acc_norm, r->acc_norm_stderr);
        ig_json_close(w, '}');
    }
    ig_json_close(w, '}');
    ig_json_key(w, "group_subtasks");
    ig_json_open(w, '{');
    ig_json_close(w, '}');
}

static void put_slice(struct ig_json_writer *w, const char *key, struct ig_slice text,
                      const char *fallback)
{
    ig_json_key(w, key);
    ig_json_put_text(w, text.ptr ? text : ig_slice_of(fallback));
}

static void put_task_config(struct ig_json_writer *w, const struct eval_part *part)
{
    struct ig_slice description = part->yaml ? part->yaml->description.name : (struct ig_slice){0};
    ig_json_key(w, part->task->name);
    ig_json_open(w, '{');
    ig_json_add_text(w, "task", part->task->name);
    ig_json_add_text(w, "dataset_path", "json");
    ig_json_key(w, "dataset_kwargs");
    ig_json_open(w, '{');
    ig_json_key(w, "data_files");
    ig_json_open(w, '{');
    ig_json_add_text(w, part->task->split, part->rows.path);
    ig_json_close(w, '}');
    ig_json_close(w, '}');
    put_slice(w, "description", description, "");
    put_slice(w, "target_delimiter", part->task->target_delimiter, " ");
    put_slice(w, "fewshot_delimiter", part->task->fewshot_delimiter, "\n\n");
    ig_json_add_int(w, "num_fewshot", part->shots);
    ig_json_key(w, "metric_list");
    ig_json_open(w, '[');
    for (int i = part->task->lacks_acc; i < (part->task->has_norm ? 2 : 1); i++) {
        ig_json_open(w, '{');
        ig_json_add_text(w, "metric", i ? "acc_norm" : "acc");
        ig_json_add_text(w, "aggregation", "mean");
        ig_json_add_bool(w, "higher_is_better", true);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
    ig_json_add_text(w, "output_type", "multiple_choice");
    ig_json_add_int(w, "repeats", 1);
    ig_json_key(w, "metadata");
    ig_json_open(w, '{');
    ig_json_add_real(w, "version", strtod(part->task->version, NULL));
    ig_json_close(w, '}');
    ig_json_close(w, '}');
}

/* {"TASK": value, ..} for each of the small tables by task. */
static void put_by_task(struct ig_json_writer *w, const struct ig_eval_set *set,
                        const struct ig_eval_result *results, const char *key)
{
    ig_json_key(w, key);
    ig_json_open(w, '{');
    for (int t = 0; t < set->count; t++) {
        const struct eval_part *part = &set->parts[t];
        if (strcmp(key, "configs") == 0) {
            put_task_config(w, part);
            continue;
        }
        ig_json_key(w, part->task->name);
        if (strcmp(key, "versions") == 0) {
            ig_json_put_real(w, strtod(part->task->version, NULL));
        } else if (strcmp(key, "n-shot") == 0) {
            ig_json_put_int(w, part->shots);
        } else {
            bool samples = strcmp(key, "n-samples") == 0;
            ig_json_open(w, '{');
            if (samples) {
                ig_json_add_int(w, "original", part->rows.count);
                ig_json_add_int(w, "effective", results[t].items);
            } else {
                if (!part->task->lacks_acc) ig_json_add_bool(w, "acc", true);
                if (part->task->has_norm) ig_json_add_bool(w, "acc_norm", true);
            }
            ig_json_close(w, '}');
        }
    }
    ig_json_close(w, '}');
}

static void put_config(struct ig_json_writer *w, const struct ig_eval_record *record)
{
    const struct ig_eval_job *job = &record->set->job;
    ig_json_key(w, "config");
    ig_json_open(w, '{');
    ig_json_add_text(w, "model", "ingot");
    ig_json_key(w, "model_args");
    ig_json_open(w, '{');
    ig_json_add_text(w, "pretrained", record->job.model);
    ig_json_close(w, '}');
    ig_json_key(w, "limit");
    if (job->limit)
        ig_json_put_int(w, job->limit);
    else
        ig_json_put_null(w);
    ig_json_add_int(w, "fewshot_seed", (int64_t)eval__seed(job));
    ig_json_close(w, '}');
    ig_json_add_text(w, "git_hash", NULL);
    ig_json_add_int(w, "date", record->job.now);
    ig_json_add_text(w, "pretty_env_info", "ingot " INGOT_VERSION);
    ig_json_add_text(w, "transformers_version", NULL);
    ig_json_add_text(w, "lm_eval_version", HARNESS_VERSION);
    ig_json_add_text(w, "upper_git_hash", NULL);
}

static void put_tokenizer(struct ig_json_writer *w, const struct ig_tokenizer *tokenizer,
                          const struct ig_model_shape *shape)
{
    static const char *const names[] = {"pad", "eos", "bos"};
    int32_t eos = ig_tokenizer_id(tokenizer, ig_tokenizer_named(tokenizer, "eos"));
    for (int i = 0; i < 3; i++) {
        char key[40], id[16] = "None";
        struct ig_slice token = ig_tokenizer_named(tokenizer, names[i]);
        snprintf(key, sizeof key, "tokenizer_%s_token", names[i]);
        if (token.ptr) snprintf(id, sizeof id, "%d", (int)ig_tokenizer_id(tokenizer, token));
        ig_json_key(w, key);
        ig_json_open(w, '[');
        if (token.ptr)
            ig_json_put_text(w, token);
        else
            ig_json_put_null(w);
        ig_json_put_text(w, ig_slice_of(id));
        ig_json_close(w, ']');
    }
    ig_json_add_int(w, "eot_token_id", eos);
    ig_json_add_int(w, "max_length", shape->context);
}

static void put_origin(struct ig_json_writer *w, struct ig_eval_record *record)
{
    char hex[IG_SHA256_HEX], seconds[40];
    struct ig_slice chat = record->job.chat;
    ig_json_key(w, "task_hashes");
    ig_json_open(w, '{');
    for (int t = 0; t < record->set->count; t++) {
        ig_sha256_end(&record->parts[t].hash, hex);
        ig_json_add_text(w, record->set->parts[t].task->name, hex);
    }
    ig_json_close(w, '}');
    ig_json_add_text(w, "model_source", "ingot");
    ig_json_add_text(w, "model_name", record->job.model);
    ig_json_add_text(w, "model_name_sanitized", record->model_clean);
    ig_json_add_text(w, "system_instruction", NULL);
    ig_json_add_text(w, "system_instruction_sha", NULL);
    ig_json_add_bool(w, "fewshot_as_multiturn", record->set->job.multiturn);
    ig_json_key(w, "chat_template");
    if (chat.ptr) {
        ig_json_put_text(w, chat);
        ig_sha256_of(chat.ptr, chat.len, hex);
    } else {
        ig_json_put_null(w);
    }
    ig_json_add_text(w, "chat_template_sha", chat.ptr ? hex : NULL);
    snprintf(seconds, sizeof seconds, "%.3f", ig_clock_seconds() - record->started);
    ig_json_add_text(w, "total_evaluation_time_seconds", seconds);
}

/* What a baseline made clear, task by task. */
static void put_verdicts(struct ig_json_writer *w, const struct ig_eval_record *record,
                         const struct ig_eval_result *results)
{
    ig_json_key(w, "until_clear");
    ig_json_open(w, '{');
    ig_json_add_text(w, "baseline", record->job.until);
    ig_json_add_text(w, "method", "bet by Laplace's rule on items that one of the two has right");
    ig_json_add_real(w, "alpha", 1 / IG_EVAL_CLEAR);
    ig_json_key(w, "tasks");
    ig_json_open(w, '{');
    for (int t = 0; t < record->set->count; t++) {
        const struct ig_eval_result *r = &results[t];
        ig_json_key(w, r->task);
        ig_json_open(w, '{');
        ig_json_add_bool(w, "stopped", r->stopped);
        ig_json_add_int(w, "items", r->items);
        ig_json_add_int(w, "better", r->better);
        ig_json_add_int(w, "worse", r->worse);
        ig_json_add_real(w, "e_value", r->evidence);
        ig_json_close(w, '}');
    }
    ig_json_close(w, '}');
    ig_json_close(w, '}');
}

/* How the numbers came to be: what must be equal for two results to be compared. */
static void put_profile(struct ig_json_writer *w, const struct ig_eval_record *record,
                        const struct ig_model *model, const struct ig_eval_result *results)
{
    const struct ig_eval_set *set = record->set;
    const struct ig_eval_identity *identity = record->job.identity;
    ig_json_key(w, "ingot");
    ig_json_open(w, '{');
    ig_json_add_text(w, "version", INGOT_VERSION);
    ig_json_add_text(w, "style", set->job.style == IG_EVAL_MLX ? "mlx" : "lm-eval");
    ig_json_add_bool(w, "chat_template", set->job.chat != NULL);
    ig_json_key(w, "shots");
    ig_json_open(w, '{');
    for (int t = 0; t < set->count; t++)
        ig_json_add_int(w, set->parts[t].task->name, set->parts[t].shots);
    ig_json_close(w, '}');
    ig_json_add_text(w, "arithmetic", ig_model_arithmetic(model));
    ig_json_add_text(w, "rope", record->job.rope ? record->job.rope : "as-config");
    ig_json_add_text(w, "model_digest", identity ? identity->model : NULL);
    ig_json_add_text(w, "tokenizer_digest", identity ? identity->tokenizer : NULL);
    if (record->job.until) put_verdicts(w, record, results);
    ig_json_key(w, "first_prompts");
    ig_json_open(w, '{');
    for (int t = 0; t < set->count; t++) {
        ig_json_key(w, set->parts[t].task->name);
        ig_json_put_text(w, set->parts[t].items[0].requests[0].context);
    }
    ig_json_close(w, '}');
    ig_json_close(w, '}');
}

static bool write_file(const struct ig_eval_record *record, const char *kind, const char *ending,
                       struct ig_slice bytes, struct ig_err *err)
{
    char path[IG_PATH_MAX], name[256];
    snprintf(name, sizeof name, "%s_%s.%s", kind, record->time, ending);
    return ig_path_join(path, record->folder, name, err) && ig_file_write(path, bytes, err);
}

bool ig_eval_record_finish(struct ig_eval_record *record, const struct ig_model *model,
                           const struct ig_tokenizer *tokenizer,
                           const struct ig_eval_result *results, struct ig_err *err)
{
    static const char *const tables[] = {"configs", "versions", "n-shot", "higher_is_better",
                                         "n-samples"};
    const struct ig_eval_set *set = record->set;
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text, .indent = 2};
    if (record->failed) {
        *err = record->failure;
        return ig_err_within(err, "cannot record an item");
    }
    ig_json_open(&w, '{');
    put_results(&w, set, results);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        put_by_task(&w, set, results, tables[i]);
    put_config(&w, record);
    put_tokenizer(&w, tokenizer, ig_model_shape(model));
    put_origin(&w, record);
    put_profile(&w, record, model, results);
    ig_json_close(&w, '}');
    bool ok = ig_buf_ok(&text, err);
    for (int t = 0; ok && t < set->count; t++) {
        char kind[96];
        snprintf(kind, sizeof kind, "samples_%s", set->parts[t].task->name);
        ok = write_file(record, kind, "jsonl", ig_buf_view(&record->parts[t].lines), err);
    }
    ok = ok && write_file(record, "results", "json", ig_buf_view(&text), err);
    ig_buf_release(&text);
    return ok;
}
