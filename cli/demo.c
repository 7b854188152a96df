/* SPDX-License-Identifier: Apache-2.0 */
#include "demo.h"

#include "cli.h"
#include "ingot/arch.h"
#include "ingot/eval.h"
#include "ingot/store.h"
#include "sketch.h"

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

bool demo_print_shares(const struct demo *demo, struct ig_err *err)
{
    struct ig_sketch_summary *summary;
    if (!ig_sketch_sum(demo_variant_path(demo, "none"), NULL, &summary, err)) return false;
    cli_sketch_print_shares(summary);
    ig_sketch_free(summary);
    return true;
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
