/* SPDX-License-Identifier: Apache-2.0
 * record — samples_TASK_TIME.jsonl, one line an item, as lm-evaluation-harness writes it.
 *
 *     {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
 *      "doc_hash", "prompt_hash", "target_hash", "acc", "acc_norm"}
 * The hashes are SHA-256 over the texts that Python's json.dumps makes, so two runs of different
 * programs can be checked to have had the same rows and prompts. */
#include "base/clock.h"
#include "base/file.h"
#include "eval/log.h"
#include "eval/record_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAME_MAX_BYTES 255 /* of one file or folder, on every file system that matters */

/* ---- Python's json.dumps and str ---- */

/* A tree with Python's default separators, ", " and ": ". Depth is the parser's. */
static void write_spaced(struct ig_buf *out, /* NOLINT(misc-no-recursion) */
                         const struct ig_json *node)
{
    if (node->type != IG_JSON_ARRAY && node->type != IG_JSON_OBJECT) {
        ig_json_write(out, node, 0, false);
        return;
    }
    bool object = node->type == IG_JSON_OBJECT;
    ig_buf_char(out, object ? '{' : '[');
    for (uint32_t i = 0; i < node->count; i++) {
        if (i) ig_buf_text(out, ", ");
        if (object) {
            ig_json_quote(out, node->items[i].key, false);
            ig_buf_text(out, ": ");
        }
        write_spaced(out, &node->items[i]);
    }
    ig_buf_char(out, object ? '}' : ']');
}

/* str(float): the shortest text that reads back. */
static void write_float(struct ig_buf *out, double value)
{
    struct ig_json_writer writer = {.out = out};
    if (isfinite(value))
        ig_json_put_real(&writer, value);
    else
        ig_buf_text(out, value < 0 ? "-inf" : "inf");
}

/* ---- one line ---- */

static struct ig_json text_member(const char *key, struct ig_slice text)
{
    return (struct ig_json){.type = IG_JSON_STRING, .key = ig_slice_of(key), .text = text};
}

/* The row as the harness has it: hellaswag's with what its process_docs adds. */
static bool row_tree(const struct eval_part *part, const struct ig_json *columns, int64_t doc_id,
                     struct ig_arena *arena, struct ig_json *out, struct ig_err *err)
{
    struct ig_json *row;
    struct eval_doc doc;
    if (!eval__rows_read(&part->rows, part->task, doc_id, arena, &row, &doc, err) ||
        !eval__columns_apply(columns, row, arena, err))
        return false;
    *out = *row;
    if (!part->task->adds_fields) return true;
    struct ig_json *members = ig_arena_array(arena, (size_t)row->count + 3, sizeof *members);
    struct ig_json *choices = ig_arena_array(arena, (size_t)doc.count, sizeof *choices);
    char *gold = ig_arena_new(arena, 16);
    if (!members || !choices || !gold) return ig_err_nomem(err);
    if (row->count) memcpy(members, row->items, row->count * sizeof *members);
    for (int i = 0; i < doc.count; i++)
        choices[i] = text_member(NULL, doc.choices[i]);
    snprintf(gold, 16, "%d", doc.gold);
    members[row->count] = text_member("query", doc.context);
    members[row->count + 1] = (struct ig_json){
        .type = IG_JSON_ARRAY, .key = ig_slice_of("choices"), .count = (uint32_t)doc.count};
    members[row->count + 1].items = choices;
    members[row->count + 2] = text_member("gold", ig_slice_of(gold));
    members[row->count + 2].type = IG_JSON_NUMBER;
    out->items = members;
    out->count = row->count + 3;
    return true;
}

static void write_arguments(struct ig_buf *out, const struct ig_eval_item *item)
{
    ig_buf_text(out, ", \"arguments\": {");
    for (int i = 0; i < item->count; i++) {
        ig_buf_printf(out, "%s\"gen_args_%d\": {\"arg_0\": ", i ? ", " : "", i);
        ig_json_quote(out, item->requests[i].context, false);
        ig_buf_text(out, ", \"arg_1\": ");
        ig_json_quote(out, item->requests[i].continuation, false);
        ig_buf_char(out, '}');
    }
    ig_buf_char(out, '}');
}

/* open and close stand around each pair: "[[" and "]]" where repeats are listed. */
static void write_responses(struct ig_buf *out, const struct ig_eval_item *item,
                            const struct ig_eval_score *score, const char *open, const char *close)
{
    ig_buf_char(out, '[');
    for (int i = 0; i < item->count; i++) {
        ig_buf_printf(out, "%s%s\"", i ? ", " : "", open);
        write_float(out, score->logprobs[i]);
        ig_buf_printf(out, "\", \"%s\"%s", score->greedy[i] ? "True" : "False", close);
    }
    ig_buf_char(out, ']');
}

static void write_hash(struct record_part *part, const char *key, struct ig_slice text)
{
    char hex[IG_SHA256_HEX];
    ig_sha256_of(text.ptr, text.len, hex);
    ig_buf_printf(&part->lines, ", \"%s\": \"%s\"", key, hex);
    ig_sha256_feed(&part->hash, hex, IG_SHA256_HEX - 1);
}

static bool write_item(struct record_part *part, const struct eval_part *rows,
                       const struct ig_eval_item *item, const struct ig_eval_score *score,
                       struct ig_arena *arena, struct ig_err *err)
{
    struct ig_json doc;
    struct ig_buf *out = &part->lines, text = {0};
    if (!row_tree(rows, &part->columns, item->doc, arena, &doc, err)) return false;
    ig_buf_printf(out, "{\"doc_id\": %lld, \"doc\": ", (long long)item->doc);
    write_spaced(out, &doc);
    ig_buf_text(out, ", \"target\": ");
    ig_json_quote(out, item->target, false);
    write_arguments(out, item);
    ig_buf_text(out, ", \"resps\": ");
    write_responses(out, item, score, "[[", "]]");
    ig_buf_text(out, ", \"filtered_resps\": ");
    write_responses(out, item, score, "[", "]");
    bool norm = rows->task->has_norm, acc = !rows->task->lacks_acc;
    ig_buf_printf(out, ", \"filter\": \"none\", \"metrics\": [%s%s%s]", acc ? "\"acc\"" : "",
                  acc && norm ? ", " : "", norm ? "\"acc_norm\"" : "");
    ig_json_write(&text, &doc, 2, false);
    write_hash(part, "doc_hash", ig_buf_view(&text));
    write_hash(part, "prompt_hash", item->requests[0].context);
    write_hash(part, "target_hash", item->target);
    if (acc) ig_buf_printf(out, ", \"acc\": %.1f", score->acc ? 1.0 : 0.0);
    if (norm) ig_buf_printf(out, ", \"acc_norm\": %.1f", score->acc_norm ? 1.0 : 0.0);
    ig_buf_text(out, "}\n");
    bool ok = ig_buf_ok(&text, err) && ig_buf_ok(out, err);
    ig_buf_release(&text);
    return ok;
}

bool ig_eval_record_item(void *record, const struct ig_eval_item *item,
                         const struct ig_eval_score *score)
{
    struct ig_eval_record *r = record;
    for (int t = 0; t < r->set->count && !r->failed; t++) {
        if (r->set->parts[t].task->name != item->task) continue;
        struct ig_arena arena = {0};
        r->failed = !write_item(&r->parts[t], &r->set->parts[t], item, score, &arena, &r->failure);
        ig_arena_release(&arena);
    }
    return !r->failed;
}

/* ---- the folder ---- */

/* Runs of what file systems dislike in names become two underscores, as the harness has it. */
static void clean_name(char *out, size_t size, const char *name)
{
    size_t n = 0;
    bool inside = false;
    for (; *name && n + 3 < size; name++) {
        bool bad = strchr("\"<>:/|\\?*[]", *name) != NULL;
        if (!bad) out[n++] = *name;
        for (int i = 0; bad && !inside && i < 2; i++)
            out[n++] = '_';
        inside = bad;
    }
    out[n] = 0;
    if (strspn(out, ".") == n) snprintf(out, size, "__"); /* "." and ".." are other folders */
}

/* A folder and those above it. */
static bool make_folders(const char *path, struct ig_err *err)
{
    char part[IG_PATH_MAX];
    if (!ig_path_join(part, NULL, path, err)) return false;
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (!ig_path_is_dir(part) && !ig_dir_make(part, err)) return false;
        *slash = '/';
    }
    return ig_dir_make(part, err);
}

/* TIME, to the second; the harness's has microseconds, which here tell runs of one second apart. */
static bool find_time(struct ig_eval_record *r, struct ig_err *err)
{
    char path[IG_PATH_MAX], name[96], second[32];
    time_t now = (time_t)r->job.now;
    struct tm utc;
    if (!gmtime_r(&now, &utc) || !strftime(second, sizeof second, "%Y-%m-%dT%H-%M-%S", &utc))
        return ig_err_set(err, IG_ERR_USAGE, "the time is out of range");
    for (int i = 0; i < 1000000; i++) {
        snprintf(r->time, sizeof r->time, "%s.%06d", second, i);
        snprintf(name, sizeof name, "results_%s.json", r->time);
        if (!ig_path_join(path, r->folder, name, err)) return false;
        if (!ig_path_exists(path)) return true;
    }
    return ig_err_set(err, IG_ERR_IO, "'%s' is full of results of this second", r->folder);
}

bool ig_eval_record_open(const struct ig_eval_set *set, const struct ig_eval_record_job *job,
                         struct ig_eval_record **out, struct ig_err *err)
{
    struct ig_eval_record *r = calloc(1, sizeof *r);
    char name[NAME_MAX_BYTES + 1];
    if (!r) return ig_err_nomem(err);
    r->set = set;
    r->job = *job;
    r->started = ig_clock_seconds();
    r->parts = calloc((size_t)set->count + 1, sizeof *r->parts);
    clean_name(name, sizeof name, job->model);
    clean_name(r->model_clean, sizeof r->model_clean, job->model);
    bool ok = r->parts || ig_err_nomem(err);
    ok = ok && ig_path_join(r->folder, job->dir, name, err);
    int rank = ig_dist_rank(job->dist);
    if (ok && rank == 0)
        ok = make_folders(r->folder, err) && eval__log_open(r->folder, 0, &r->log, err) &&
             find_time(r, err);
    ok = ig_dist_sees(job->dist, ok, r->folder, err);
    if (ok && rank > 0) ok = eval__log_open(r->folder, rank, &r->log, err);
    for (int t = 0; ok && t < set->count; t++) {
        ig_sha256_init(&r->parts[t].hash);
        ok = eval__columns_read(&set->parts[t].rows, &r->arena, &r->parts[t].columns, err);
    }
    if (!ok) {
        ig_eval_record_close(r);
        return false;
    }
    *out = r;
    return true;
}

void ig_eval_record_close(struct ig_eval_record *record)
{
    if (!record) return;
    for (int t = 0; record->parts && t < record->set->count; t++)
        ig_buf_release(&record->parts[t].lines);
    free(record->parts);
    eval__log_close(record->log);
    ig_arena_release(&record->arena);
    free(record);
}

struct ig_eval_log *ig_eval_record_log(struct ig_eval_record *record)
{
    return record->log;
}
