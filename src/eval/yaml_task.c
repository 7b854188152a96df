/* SPDX-License-Identifier: Apache-2.0
 * yaml_task — reads a task's YAML. Source of the keys' meaning: lm_eval/config/task.py and
 * lm_eval/api/task.py of lm-eval 0.4.13. What this program does not do is an error that names the
 * key, never left out in silence. */
#include "eval/yaml_task.h"

#include <stdio.h>
#include <stdlib.h>

#define YAML_BYTES_MAX ((size_t)16 << 20)
#define NAME_BYTES_MAX 64

struct reader {
    struct eval_yaml *yaml;
    const struct ig_yaml *root;
    struct ig_err *err;
};

/* Known keys. Those without a say in prompts and scores of a multiple-choice task are let pass. */
static const char *const known[] = {"task",
                                    "task_alias",
                                    "tag",
                                    "dataset_path",
                                    "dataset_name",
                                    "dataset_kwargs",
                                    "training_split",
                                    "validation_split",
                                    "test_split",
                                    "fewshot_split",
                                    "fewshot_config",
                                    "doc_to_text",
                                    "doc_to_target",
                                    "doc_to_choice",
                                    "description",
                                    "target_delimiter",
                                    "fewshot_delimiter",
                                    "num_fewshot",
                                    "metric_list",
                                    "output_type",
                                    "repeats",
                                    "metadata",
                                    "should_decontaminate",
                                    "doc_to_decontamination_query",
                                    "generation_kwargs",
                                    NULL};

static const struct ig_yaml *get(const struct reader *r, const char *key)
{
    const struct ig_yaml *node = ig_yaml_get(r->root, key);
    return node && node->type != IG_YAML_NULL ? node : NULL;
}

static bool fail(struct reader *r, const struct ig_yaml *at, const char *what, const char *key)
{
    return ig_yaml_fail(r->err, at, what, key);
}

/* Names of files and the like, which a NUL would cut short in silence. */
static bool check_whole(struct reader *r, const struct ig_yaml *node, const char *key)
{
    return !memchr(node->text.ptr, 0, node->text.len) ||
           ig_yaml_fail(r->err, node, "'%s' has a NUL character", key);
}

/* A key's text, or the fallback. */
static bool get_text(struct reader *r, const char *key, const char *fallback, const char **out)
{
    const struct ig_yaml *node = get(r, key);
    if (node && (node->type != IG_YAML_TEXT || node->tag.ptr))
        return ig_yaml_fail(r->err, node, "'%s' is not a text", key);
    if (node && !check_whole(r, node, key)) return false;
    *out = node ? node->text.ptr : fallback;
    return true;
}

static bool check_keys(struct reader *r)
{
    if (r->root->type != IG_YAML_MAP)
        return ig_yaml_fail(r->err, r->root, "a task is a map of keys and values");
    for (uint32_t i = 0; i < r->root->count; i++) {
        const struct ig_yaml *key = r->root->items[2 * i], *value = r->root->items[2 * i + 1];
        bool found = false;
        for (int k = 0; known[k]; k++)
            found = found || ig_slice_is(key->text, known[k]);
        if (!found && value->type != IG_YAML_NULL)
            return ig_yaml_fail(r->err, key,
                                "'" IG_SLICE_FMT "' is not supported in a task of "
                                "one's own",
                                IG_SLICE_ARG(key->text));
        if (value->tag.ptr)
            return ig_yaml_fail(r->err, value,
                                "'" IG_SLICE_FMT "' asks for Python code, which is "
                                "not run",
                                IG_SLICE_ARG(value->tag));
    }
    return true;
}

/* ---- what makes prompts ---- */

static bool list_items(struct reader *r, const struct ig_yaml *node, struct eval_field *out)
{
    bool map = node->type == IG_YAML_MAP;
    if (node->count == 0 || node->count > EVAL_CHOICES_MAX)
        return ig_yaml_fail(r->err, node, "'%s' has %u items: 1 to %d are possible", out->key,
                            node->count, EVAL_CHOICES_MAX);
    out->kind = EVAL_FIELD_LIST;
    out->count = (int)node->count;
    out->items = ig_arena_array(&r->yaml->arena, node->count, sizeof *out->items);
    if (!out->items) return ig_err_nomem(r->err);
    for (uint32_t i = 0; i < node->count; i++) {
        const struct ig_yaml *item = node->items[map ? 2 * i + 1 : i];
        if (item->type != IG_YAML_TEXT || item->tag.ptr)
            return ig_yaml_fail(r->err, item, "an item of '%s' is not a text: put it in quotes",
                                out->key);
        out->items[i] = item->text;
    }
    return true;
}

static bool get_field(struct reader *r, const char *key, struct eval_field *out)
{
    const struct ig_yaml *node = get(r, key);
    *out = (struct eval_field){.key = key};
    if (!node) return true;
    if (node->type == IG_YAML_LIST || node->type == IG_YAML_MAP) return list_items(r, node, out);
    if (node->type == IG_YAML_INT) {
        out->kind = EVAL_FIELD_INT;
        out->integer = node->integer;
        return true;
    }
    if (node->type != IG_YAML_TEXT) return ig_yaml_fail(r->err, node, "'%s' is not a text", key);
    out->kind = EVAL_FIELD_TEXT;
    out->name = node->text;
    return ig_template_parse_strict(node->text, key, &out->tmpl, r->err);
}

static bool get_fields(struct reader *r)
{
    struct eval_yaml *y = r->yaml;
    if (!get_field(r, "doc_to_text", &y->text) || !get_field(r, "doc_to_target", &y->target) ||
        !get_field(r, "doc_to_choice", &y->choice) || !get_field(r, "description", &y->description))
        return false;
    if (y->text.kind != EVAL_FIELD_TEXT && y->text.kind != EVAL_FIELD_INT)
        return fail(r, get(r, "doc_to_text"), "'%s' must be there, as a text", "doc_to_text");
    if (y->target.kind != EVAL_FIELD_TEXT && y->target.kind != EVAL_FIELD_INT)
        return fail(r, get(r, "doc_to_target"), "'%s' must be there, as a text or a number",
                    "doc_to_target");
    if (y->choice.kind != EVAL_FIELD_TEXT && y->choice.kind != EVAL_FIELD_LIST)
        return fail(r, get(r, "doc_to_choice"), "'%s' must be there, as a text or a list",
                    "doc_to_choice");
    if (y->description.kind == EVAL_FIELD_INT || y->description.kind == EVAL_FIELD_LIST)
        return fail(r, get(r, "description"), "'%s' is not a text", "description");
    const char *target = NULL, *fewshot = NULL;
    if (!get_text(r, "target_delimiter", " ", &target) ||
        !get_text(r, "fewshot_delimiter", "\n\n", &fewshot))
        return false;
    y->task.target_delimiter = ig_slice_of(target);
    y->task.fewshot_delimiter = ig_slice_of(fewshot);
    return true;
}

/* ---- splits and files ---- */

/* How examples are drawn: {sampler: default | first_n, split: NAME}; its split counts before
 * fewshot_split. */
static bool get_fewshot_config(struct reader *r, const char **split)
{
    const struct ig_yaml *map = get(r, "fewshot_config");
    if (map && map->type != IG_YAML_MAP)
        return ig_yaml_fail(r->err, map, "'fewshot_config' is not a map");
    for (uint32_t i = 0; map && i < map->count; i++) {
        const struct ig_yaml *key = map->items[2 * i], *value = map->items[2 * i + 1];
        bool sampler = ig_slice_is(key->text, "sampler"), plain = value->type == IG_YAML_TEXT;
        if (value->type == IG_YAML_NULL) continue;
        if (!plain || value->tag.ptr || (!sampler && !ig_slice_is(key->text, "split")))
            return ig_yaml_fail(r->err, key,
                                "'" IG_SLICE_FMT "' in fewshot_config is not supported: sampler "
                                "and split, as texts, are",
                                IG_SLICE_ARG(key->text));
        if (!check_whole(r, value, "fewshot_config")) return false;
        if (!sampler) {
            *split = value->text.ptr;
            continue;
        }
        r->yaml->task.first_shots = ig_slice_is(value->text, "first_n");
        if (!r->yaml->task.first_shots && !ig_slice_is(value->text, "default"))
            return ig_yaml_fail(r->err, value,
                                "the sampler is '" IG_SLICE_FMT
                                "'; default and first_n are supported",
                                IG_SLICE_ARG(value->text));
    }
    return true;
}

static bool data_file(struct reader *r, const struct ig_yaml *files, enum eval_split split)
{
    const struct ig_yaml *node = files;
    struct eval_yaml *y = r->yaml;
    if (files->type == IG_YAML_MAP) {
        node = ig_yaml_get(files, y->splits[split]);
        if (!node && split == EVAL_POOL) return true; /* told when examples are asked for */
    } else if (strcmp(y->splits[split], "train") != 0) {
        node = NULL; /* a bare name is the split "train", as in the harness */
    }
    if (node && node->type == IG_YAML_LIST && node->count == 1) node = node->items[0];
    if (!node || node->type != IG_YAML_TEXT)
        return ig_yaml_fail(r->err, files, "'data_files' does not name one file for split '%s'",
                            y->splits[split]);
    y->files[split] = node->text.ptr;
    return check_whole(r, node, "data_files");
}

/* The data set on the Hub, with its configuration as the built-in tasks have it. */
static bool get_hub(struct reader *r)
{
    const struct ig_yaml *name = get(r, "dataset_name");
    const char *path = NULL;
    if (!get_text(r, "dataset_path", "json", &path)) return false;
    r->yaml->task.hub = path;
    if (!name || name->type != IG_YAML_TEXT || ig_slice_is(name->text, "default")) return true;
    if (!check_whole(r, name, "dataset_name")) return false;
    const struct ig_slice parts[] = {ig_slice_of(path), ig_slice_of(" ("), name->text,
                                     ig_slice_of(")")};
    struct ig_slice whole;
    if (!eval__join(&r->yaml->arena, parts, 4, &whole, r->err)) return false;
    r->yaml->task.hub = whole.ptr;
    return true;
}

static bool get_splits(struct reader *r)
{
    struct eval_yaml *y = r->yaml;
    const char *train = NULL, *validation = NULL, *test = NULL, *fewshot = NULL;
    if (!get_text(r, "training_split", NULL, &train) ||
        !get_text(r, "validation_split", NULL, &validation) ||
        !get_text(r, "test_split", NULL, &test) || !get_text(r, "fewshot_split", NULL, &fewshot) ||
        !get_fewshot_config(r, &fewshot) || !get_hub(r))
        return false;
    y->splits[EVAL_SCORED] = test ? test : validation;
    if (!y->splits[EVAL_SCORED])
        return ig_yaml_fail(r->err, r->root,
                            "there is neither a test_split nor a "
                            "validation_split to score");
    y->splits[EVAL_POOL] = fewshot ? fewshot : train ? train : validation ? validation : test;
    y->task.split = y->splits[EVAL_SCORED];
    /* The harness then takes the pool for the scored split, and drops the row itself. */
    y->task.draws_spare = fewshot && test ? strcmp(fewshot, test) == 0 : !fewshot && !test;
    const struct ig_yaml *kwargs = get(r, "dataset_kwargs");
    const struct ig_yaml *files = kwargs ? ig_yaml_get(kwargs, "data_files") : NULL;
    if (!files) return true;
    return data_file(r, files, EVAL_SCORED) && data_file(r, files, EVAL_POOL);
}

/* ---- metrics and the rest ---- */

static bool get_metrics(struct reader *r)
{
    const struct ig_yaml *list = get(r, "metric_list");
    struct eval_task *task = &r->yaml->task;
    bool acc = !list;
    task->has_norm = !list;
    if (list && (list->type != IG_YAML_LIST || !list->count))
        return ig_yaml_fail(r->err, list, "'metric_list' is not a list");
    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct ig_yaml *metric = ig_yaml_get(list->items[i], "metric");
        const struct ig_yaml *mean = ig_yaml_get(list->items[i], "aggregation");
        bool is_acc = metric && ig_slice_is(metric->text, "acc");
        bool is_norm = metric && ig_slice_is(metric->text, "acc_norm");
        if (!is_acc && !is_norm)
            return ig_yaml_fail(r->err, list->items[i],
                                "only the metrics acc and acc_norm are "
                                "supported");
        if (mean && !ig_slice_is(mean->text, "mean"))
            return ig_yaml_fail(r->err, mean, "the only aggregation is mean");
        acc = acc || is_acc;
        task->has_norm = task->has_norm || is_norm;
    }
    task->lacks_acc = !acc;
    return true;
}

static bool get_name(struct reader *r)
{
    struct eval_task *task = &r->yaml->task;
    if (!get_text(r, "task", NULL, &task->name)) return false;
    if (!task->name || !*task->name)
        return ig_yaml_fail(r->err, r->root, "'task', the task's name, is missing");
    const struct ig_yaml *at = get(r, "task");
    if (strlen(task->name) >= NAME_BYTES_MAX)
        return ig_yaml_fail(r->err, at, "the task's name is longer than %d bytes",
                            NAME_BYTES_MAX - 1);
    for (const char *p = task->name; *p; p++)
        if (strchr("/\\,\"<>:|?*[]", *p) || (unsigned char)*p < 0x21)
            return ig_yaml_fail(r->err, at,
                                "the task's name has a '%c', which a file's name "
                                "cannot have",
                                *p);
    return true;
}

static bool get_numbers(struct reader *r)
{
    struct eval_task *task = &r->yaml->task;
    const struct ig_yaml *shots = get(r, "num_fewshot"), *repeats = get(r, "repeats");
    const struct ig_yaml *version = ig_yaml_get(get(r, "metadata"), "version");
    const char *type = NULL;
    if (!get_text(r, "output_type", NULL, &type)) return false;
    if (!type || strcmp(type, "multiple_choice") != 0)
        return fail(r, get(r, "output_type"), "'%s' must be multiple_choice", "output_type");
    if (repeats && !(repeats->type == IG_YAML_INT && repeats->integer == 1))
        return fail(r, repeats, "'%s' must be 1", "repeats");
    if (shots &&
        (shots->type != IG_YAML_INT || shots->integer < 0 || shots->integer > EVAL_SHOTS_MAX))
        return fail(r, shots, "'%s' is not a number of examples", "num_fewshot");
    task->shots = shots ? shots->integer : 0;
    task->version = version && version->text.ptr ? version->text.ptr : "0";
    return true;
}

static bool read_all(struct reader *r, struct ig_slice text)
{
    struct ig_slice copy = ig_arena_copy(&r->yaml->arena, text);
    if (!copy.ptr) return ig_err_nomem(r->err);
    r->root = ig_yaml_parse(copy, &r->yaml->arena, r->err);
    return r->root && check_keys(r) && get_name(r) && get_numbers(r) && get_splits(r) &&
           get_fields(r) && get_metrics(r);
}

bool eval__yaml_parse(struct ig_slice text, const char *dir, struct eval_yaml **out,
                      struct ig_err *err)
{
    struct eval_yaml *y = calloc(1, sizeof *y);
    if (!y) return ig_err_nomem(err);
    struct reader r = {.yaml = y, .err = err};
    snprintf(y->dir, sizeof y->dir, "%s", dir);
    y->task = (struct eval_task){.summary = "a task of one's own", .yaml = y};
    if (!read_all(&r, text)) {
        eval__yaml_free(y);
        return false;
    }
    *out = y;
    return true;
}

bool eval__yaml_open(const char *path, struct eval_yaml **out, struct ig_err *err)
{
    char dir[IG_PATH_MAX];
    struct ig_buf text = {0};
    if (!ig_path_join(dir, NULL, path, err)) return false;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    else
        snprintf(dir, sizeof dir, ".");
    if (!ig_file_read(path, YAML_BYTES_MAX, &text, err)) return false;
    bool ok = eval__yaml_parse(ig_buf_view(&text), dir, out, err);
    ig_buf_release(&text);
    return ok || ig_err_within(err, "'%s'", path);
}

bool eval__yaml_files(const struct eval_yaml *yaml, const char *dir, enum eval_split split,
                      struct eval_files *out, struct ig_err *err)
{
    const char *named = yaml->files[split], *wanted = yaml->splits[split];
    char path[IG_PATH_MAX];
    struct ig_err beside;
    *out = (struct eval_files){0};
    if (named) { /* as the harness: from where it runs; and beside the YAML */
        bool here = named[0] == '/' || ig_path_exists(named);
        return ig_path_join(path, here ? NULL : yaml->dir, named, err) &&
               eval__files_add(out, path, err);
    }
    bool scored = strcmp(wanted, yaml->splits[EVAL_SCORED]) == 0;
    struct eval_source source = {.task = yaml->task.name,
                                 .hub = yaml->task.hub,
                                 .split = wanted,
                                 .suffix = scored ? "" : wanted};
    if (eval__files_find(yaml->dir, &source, out, &beside)) return true;
    if (!dir && !strchr(source.hub, '/')) { /* no data set of the Hub is named */
        *err = beside;
        return false;
    }
    return (dir ? eval__files_find(dir, &source, out, err) : eval__source_find(&source, out, err));
}

void eval__yaml_free(struct eval_yaml *yaml)
{
    if (!yaml) return;
    ig_template_close(yaml->text.tmpl);
    ig_template_close(yaml->target.tmpl);
    ig_template_close(yaml->choice.tmpl);
    ig_template_close(yaml->description.tmpl);
    ig_arena_release(&yaml->arena);
    free(yaml);
}
