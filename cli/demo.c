/* SPDX-License-Identifier: Apache-2.0 */
#include "demo.h"

#include "cli.h"
#include "ingot/arch.h"
#include "ingot/eval.h"
#include "ingot/store.h"
#include "lines.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

static int is_parent(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strcmp(entry->d_name, "base") != 0;
}

bool demo_find_parents(struct demo *demo, struct ig_err *err)
{
    char models[1024];
    snprintf(models, sizeof models, "%s/models", cli_fixtures());
    struct dirent **entries;
    int count = scandir(models, &entries, is_parent, alphasort);
    if (count < 0)
        return ig_err_errno(err, errno, "cannot read the embedded models in '%s'", models);
    for (int i = 0; i < count; i++) {
        if (demo->parent_count < DEMO_MODELS_MAX) {
            struct demo_model *m = &demo->parents[demo->parent_count++];
            snprintf(m->name, sizeof m->name, "%.63s", entries[i]->d_name);
            snprintf(m->path, sizeof m->path, "%s/%.63s", models, entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    return demo->parent_count >= 2 ||
           ig_err_set(err, IG_ERR_DATA, "'%s' holds fewer than two models", models);
}

void demo_add_variant(struct demo *demo, const char *recipe, const char *path)
{
    if (demo->variant_count == DEMO_MODELS_MAX) return;
    struct demo_model *m = &demo->variants[demo->variant_count++];
    snprintf(m->name, sizeof m->name, "%.63s", recipe);
    snprintf(m->path, sizeof m->path, "%.1199s", path);
}

const char *demo_variant_path(const struct demo *demo, const char *recipe)
{
    for (int i = 0; i < demo->variant_count; i++)
        if (strcmp(demo->variants[i].name, recipe) == 0) return demo->variants[i].path;
    return demo->merged;
}

bool demo_print_parents(const struct demo *demo, struct ig_err *err)
{
    for (int i = 0; i < demo->parent_count; i++) {
        struct ig_store *store = NULL;
        char size[32];
        if (!ig_store_open(demo->parents[i].path, &store, err)) return false;
        printf("%-10s %s, %lld tensors in %d file%s, %s\n", demo->parents[i].name,
               ig_arch_find(ig_store_config(store))->name, (long long)ig_store_count(store),
               ig_store_file_count(store), ig_store_file_count(store) == 1 ? "" : "s",
               cli_bytes(ig_store_bytes(store), size));
        ig_store_close(store);
    }
    return true;
}

/* ---- shares ---- */

enum { GROUP_EMBED, GROUP_FIRST, GROUP_MIDDLE, GROUP_LAST, GROUP_HEAD, GROUP_COUNT };
static const char *const group_names[GROUP_COUNT] = {"embedding", "first third", "middle third",
                                                     "last third", "head and norm"};

struct shares {
    const struct ig_arch *arch;
    int64_t layers;
    int models;
    double sum[GROUP_COUNT][DEMO_MODELS_MAX];
    int64_t tensors[GROUP_COUNT];
};

static int group_of(const struct shares *shares, struct ig_slice name)
{
    struct ig_place place;
    ig_arch_place(shares->arch, name, &place);
    if (place.role == IG_ROLE_EMBED) return GROUP_EMBED;
    if (place.layer < 0) return GROUP_HEAD;
    return GROUP_FIRST + (int)(3 * place.layer / (shares->layers > 0 ? shares->layers : 1));
}

static bool add_line(void *user, const struct ig_json *row, struct ig_err *err)
{
    struct shares *shares = user;
    struct ig_slice name = ig_json_text(ig_json_get(row, "tensor"));
    const struct ig_json *c = ig_json_get(row, "c");
    if (!name.ptr || !c || c->type != IG_JSON_ARRAY) return true; /* the head line */
    if ((int)c->count != shares->models)
        return ig_err_set(err, IG_ERR_DATA, "%u shares for %d models", c->count, shares->models);
    int group = group_of(shares, name);
    if (group > GROUP_HEAD) group = GROUP_HEAD;
    for (int i = 0; i < shares->models; i++) {
        double value = 0;
        (void)ig_json_real(&c->items[i], &value);
        shares->sum[group][i] += value;
    }
    shares->tensors[group]++;
    return true;
}

bool demo_print_shares(const struct demo *demo, struct ig_err *err)
{
    char path[1400];
    struct ig_store *store = NULL;
    const char *plain = demo_variant_path(demo, "none");
    struct shares shares = {.models = demo->parent_count};
    struct ig_model_shape shape = {0};
    if (!ig_store_open(plain, &store, err)) return false;
    shares.arch = ig_arch_find(ig_store_config(store));
    bool ok = !shares.arch->shape || shares.arch->shape(ig_store_config(store), &shape, err);
    shares.layers = shape.layers;
    snprintf(path, sizeof path, "%s/sketchbook.jsonl", plain);
    if (ok) ok = cli_each_line(path, add_line, &shares, err);
    if (ok) {
        const char *cells[(GROUP_COUNT + 1) * (DEMO_MODELS_MAX + 2)];
        char text[GROUP_COUNT][DEMO_MODELS_MAX + 1][24];
        int columns = demo->parent_count + 2, rows = 1;
        cells[0] = "layers";
        cells[1] = "tensors";
        for (int i = 0; i < demo->parent_count; i++)
            cells[2 + i] = demo->parents[i].name;
        for (int g = 0; g < GROUP_COUNT; g++) {
            if (!shares.tensors[g]) continue;
            const char **row = &cells[rows++ * columns];
            row[0] = group_names[g];
            snprintf(text[g][0], sizeof text[g][0], "%lld", (long long)shares.tensors[g]);
            row[1] = text[g][0];
            for (int i = 0; i < demo->parent_count; i++) {
                snprintf(text[g][i + 1], sizeof text[g][i + 1], "%.3f",
                         shares.sum[g][i] / (double)shares.tensors[g]);
                row[2 + i] = text[g][i + 1];
            }
        }
        cli_print_table(cells, rows, columns);
    }
    ig_store_close(store);
    return ok;
}

/* ---- scores ---- */

#define TASKS_MAX 16

struct score_row {
    char name[80], size[32], bits[16], cells[TASKS_MAX][16], mean[16];
};

static bool score_model(const struct ig_eval_set *set, const char *name, const char *path,
                        struct score_row *row, struct ig_err *err)
{
    struct ig_model *model = NULL;
    struct ig_tokenizer *tokenizer = NULL;
    struct ig_store *store = NULL;
    struct ig_eval_result results[TASKS_MAX];
    bool ok = ig_store_open(path, &store, err) &&
              ig_model_open(path, 1, &model, err) && /* too small a model to share out */
              ig_tokenizer_open(path, &tokenizer, err) &&
              ig_eval_score(set, model, tokenizer, NULL, NULL, results, err);
    if (ok) {
        int tasks = ig_eval_task_count(set);
        double sum = 0;
        snprintf(row->name, sizeof row->name, "%s", name);
        cli_bytes(ig_store_bytes(store), row->size);
        for (int i = 0; i < tasks; i++) {
            double value = results[i].has_norm ? results[i].acc_norm : results[i].acc;
            snprintf(row->cells[i], sizeof row->cells[i], "%.3f", value);
            sum += value;
        }
        snprintf(row->mean, sizeof row->mean, "%.3f", sum / tasks);
    }
    ig_store_close(store);
    ig_tokenizer_close(tokenizer);
    ig_model_close(model);
    return ok;
}

static void print_score_table(const struct ig_eval_set *set, const struct score_row *rows,
                              int count)
{
    int tasks = ig_eval_task_count(set), columns = tasks + 3;
    const char *cells[(2 * DEMO_MODELS_MAX + 1) * (TASKS_MAX + 3)];
    cells[0] = "model";
    cells[1] = "size";
    for (int t = 0; t < tasks; t++)
        cells[2 + t] = ig_eval_item_at(set, t, 0).task;
    cells[columns - 1] = "mean";
    for (int r = 0; r < count; r++) {
        const char **line = &cells[(r + 1) * columns];
        line[0] = rows[r].name;
        line[1] = rows[r].size;
        for (int t = 0; t < tasks; t++)
            line[2 + t] = rows[r].cells[t];
        line[columns - 1] = rows[r].mean;
    }
    cli_print_table(cells, count + 1, columns);
}

bool demo_print_scores(const struct demo *demo, const struct ig_watch *watch, struct ig_err *err)
{
    char tasks[1024];
    struct ig_eval_set *set = NULL;
    snprintf(tasks, sizeof tasks, "%s/tasks", cli_fixtures());
    struct ig_eval_job job = {.data = tasks, .tasks = "all", .limit = demo->limit, .watch = watch};
    if (!ig_eval_open(&job, &set, err)) return false;
    struct score_row rows[2 * DEMO_MODELS_MAX];
    int count = 0;
    bool ok = ig_eval_task_count(set) <= TASKS_MAX || ig_err_set(err, IG_ERR_BUG, "too many tasks");
    for (int i = 0; ok && i < demo->parent_count; i++)
        ok = score_model(set, demo->parents[i].name, demo->parents[i].path, &rows[count++], err);
    for (int i = 0; ok && i < demo->variant_count; i++) {
        char name[80];
        bool plain = strcmp(demo->variants[i].name, "none") == 0;
        snprintf(name, sizeof name, "fused%s%s", plain ? "" : "-",
                 plain ? "" : demo->variants[i].name);
        ok = score_model(set, name, demo->variants[i].path, &rows[count++], err);
    }
    cli_watch_clear();
    if (ok) print_score_table(set, rows, count);
    ig_eval_close(set);
    return ok;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void demo_remove(const char *folder)
{
    (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
