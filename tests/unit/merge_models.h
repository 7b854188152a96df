/* SPDX-License-Identifier: Apache-2.0
 * merge_models — tiny models and recipes in the scratch folder, for the tests of merging. */
#pragma once
#include "ingot/merge.h"
#include "scratch.h"

struct test_tensor {
    const char *name;
    enum ig_dtype dtype;
    int rank;
    int64_t shape[3];
    const void *data;
};

static inline void write_model(const char *name, const struct test_tensor *list, int count,
                               const char *config)
{
    struct ig_err err = {0};
    struct ig_writer *w;
    struct ig_tensor tensors[64];
    assert_true(count <= 64);
    for (int i = 0; i < count; i++) {
        tensors[i] = (struct ig_tensor){
            .name = ig_slice_of(list[i].name), .dtype = list[i].dtype, .rank = list[i].rank};
        memcpy(tensors[i].shape, list[i].shape, sizeof list[i].shape);
    }
    const struct ig_writer_plan plan = {.out = scratch(name),
                                        .tensors = tensors,
                                        .count = count,
                                        .total_parameters = -1,
                                        .force = true};
    check_ok(ig_writer_open(&plan, &w, &err), &err);
    for (int i = 0; i < count; i++) {
        size_t bytes = ig_dtype_bytes(list[i].dtype);
        for (int d = 0; d < list[i].rank; d++)
            bytes *= (size_t)list[i].shape[d];
        check_ok(ig_writer_put(w, i, 0, list[i].data, bytes, &err), &err);
        check_ok(ig_writer_mark(w, i, &err), &err);
    }
    if (config) check_ok(ig_writer_add(w, "config.json", ig_slice_of(config), &err), &err);
    check_ok(ig_writer_finish(w, &err), &err);
    ig_writer_close(w);
}

/* The recipe's text with {N} replaced by SCRATCH/mN. */
static inline struct ig_recipe *try_recipe(const char *text, struct ig_err *err)
{
    struct ig_buf full = {0};
    struct ig_recipe *recipe = NULL;
    for (const char *p = text; *p; p++) {
        if (p[0] == '{' && p[1] >= '0' && p[1] <= '9' && p[2] == '}') {
            ig_buf_printf(&full, "%s/m%c", scratch_dir, p[1]);
            p += 2;
        } else {
            ig_buf_char(&full, *p);
        }
    }
    if (!ig_recipe_parse(ig_buf_view(&full), "recipe", &recipe, err)) recipe = NULL;
    ig_buf_release(&full);
    return recipe;
}

struct merge_setup {
    const char *out; /* in the scratch folder */
    int threads;
    int64_t memory;
    bool resume, force, trace;
    const struct ig_watch *watch;
};

static inline bool try_merge(const char *text, const struct merge_setup *setup, struct ig_err *err)
{
    struct ig_merge *merge = NULL;
    struct ig_job_report report;
    struct ig_recipe *recipe = try_recipe(text, err);
    char out[1024];
    snprintf(out, sizeof out, "%s", scratch(setup->out));
    const struct ig_merge_job job = {.recipe = recipe,
                                     .out = out,
                                     .threads = setup->threads,
                                     .memory_bytes = setup->memory,
                                     .resume = setup->resume,
                                     .force = setup->force,
                                     .trace = setup->trace};
    bool ok = recipe && ig_merge_plan(&job, setup->watch, &merge, err) &&
              ig_merge_run(merge, setup->watch, &report, err);
    ig_merge_close(merge);
    ig_recipe_free(recipe);
    return ok;
}

/* Merges into "out" anew and opens it; close it. */
static inline struct ig_store *merged(const char *text)
{
    struct ig_err err = {0};
    struct ig_store *store;
    const struct merge_setup setup = {.out = "out", .force = true, .trace = true};
    check_ok(try_merge(text, &setup, &err), &err);
    check_ok(ig_store_open(scratch("out"), &store, &err), &err);
    return store;
}

/* The tensor's bytes; free them. */
static inline void *bytes_of(const struct ig_store *store, const char *name)
{
    struct ig_err err = {0};
    const struct ig_tensor *t = ig_store_find(store, ig_slice_of(name));
    if (!t) fail_msg("no tensor '%s'", name);
    void *bytes = malloc(t->bytes + 1);
    check_ok(ig_store_read(store, t, 0, t->bytes, bytes, &err), &err);
    return bytes;
}
