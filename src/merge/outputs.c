/* SPDX-License-Identifier: Apache-2.0
 * outputs — the folders that one merge writes: the model itself, quantised forms of it, or both.
 * One recipe writes OUT, several write OUT/NAME each. */
#include "merge/merge_internal.h"

#include "base/file.h"

#define GENERATION_BYTES_MAX ((size_t)16 << 20)

/* What the same steps one by one would do: a cast reads the types that were written, and casts them
 * to the config's. */
static bool plan_cast(struct ig_merge *m, struct merge_output *o, struct ig_err *err)
{
    if (!m->config)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' has no config.json, which a quantised model needs",
                          merge__input_name(m, m->donor));
    o->targets = ig_arena_array(&m->arena, (size_t)m->count, sizeof *o->targets);
    if (!o->targets) return ig_err_nomem(err);
    for (int64_t i = 0; i < m->count; i++) {
        o->targets[i] = m->tensors[i];
        o->targets[i].dtype = ig_quant_target(m->config, m->tensors[i].dtype);
        o->targets[i].bytes = (size_t)m->tensors[i].elems * ig_dtype_bytes(o->targets[i].dtype);
    }
    struct ig_cast_plan plan = {.recipe = o->quantize,
                                .tensors = o->targets,
                                .count = m->count,
                                .config = m->config,
                                .generation =
                                    m->generation ? ig_json_doc_root(m->generation) : NULL,
                                .out = o->path,
                                .origins = m->origins,
                                .resume = m->job.resume,
                                .force = m->job.force,
                                .keep_journal = m->output_count > 1,
                                .dist = m->job.dist,
                                .has_card = true};
    return ig_cast_plan(&plan, &o->cast, err);
}

static bool check_apart(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                        const char *out, struct ig_err *err)
{
    for (int i = 0; i < m->recipe->count; i++) {
        const struct merge_input *in = &m->inputs[i];
        const struct ig_merge *inner = merge__result_of(in);
        bool apart =
            inner ? check_apart(inner, out, err) : ig_store_check_output(in->store, out, err);
        if (!apart || (in->adapter && !ig_store_check_output(in->adapter, out, err))) return false;
    }
    return true;
}

static bool plan_output(struct ig_merge *m, int index, struct ig_err *err)
{
    struct merge_output *o = &m->outputs[index];
    char path[IG_PATH_MAX];
    o->quantize = m->job.quantize_count ? m->job.quantize[index] : NULL;
    o->name = o->quantize ? ig_quant_recipe_name(o->quantize) : "none";
    for (int i = 0; i < index; i++)
        if (strcmp(m->outputs[i].name, o->name) == 0)
            return ig_err_set(err, IG_ERR_USAGE, "recipe '%s' is asked for twice", o->name);
    o->path = m->job.out;
    if (m->output_count > 1) {
        if (!ig_path_join(path, m->job.out, o->name, err)) return false;
        o->path = ig_arena_copy(&m->arena, ig_slice_of(path)).ptr;
        if (!o->path) return ig_err_nomem(err);
    }
    if (o->path && !check_apart(m, o->path, err)) return false;
    return !o->quantize || plan_cast(m, o, err);
}

/* generation_config.json decides the end-of-text tokens that a quantised config.json names. */
static bool read_generation(struct ig_merge *m, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    const char *folder = ig_store_path(m->stores[m->donor]);
    if (!m->job.quantize_count || !ig_path_is_dir(folder)) return true;
    for (int i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].name, "generation_config.json") == 0)
            return ig_json_doc_new(m->files[i].text, &m->generation, err);
    if (!ig_path_join(path, folder, "generation_config.json", err)) return false;
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, GENERATION_BYTES_MAX, &text, err) &&
              (ig_json_doc_new(ig_buf_view(&text), &m->generation, err) ||
               ig_err_within(err, "%s", path));
    ig_buf_release(&text);
    return ok;
}

bool merge__outputs_plan(struct ig_merge *m, struct ig_err *err)
{
    if (m->job.quantize_count < 0 || m->job.quantize_count > IG_OUTPUTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "at most %d outputs at once", IG_OUTPUTS_MAX);
    if (!merge__make_config(m, &m->arena, &m->config, err) || !read_generation(m, err))
        return false;
    m->output_count = m->job.quantize_count ? m->job.quantize_count : 1;
    for (int i = 0; i < m->output_count; i++)
        if (!plan_output(m, i, err)) return false;
    return true;
}

static struct ig_writer *writer_of(const struct merge_output *o)
{
    return o->cast ? ig_cast_writer(o->cast) : o->writer;
}

const char *merge__unfinished_output(const struct ig_merge *m)
{
    for (int i = 0; i < m->output_count; i++)
        if (!ig_writer_is_whole(writer_of(&m->outputs[i]))) return m->outputs[i].path;
    return NULL;
}

static bool start_plain(struct ig_merge *m, struct merge_output *o, struct ig_err *err)
{
    int64_t parameters = 0;
    for (int64_t i = 0; i < m->count; i++)
        parameters += m->tensors[i].elems;
    struct ig_writer_plan plan = {.out = o->path,
                                  .tensors = m->tensors,
                                  .count = m->count,
                                  .layout = IG_LAYOUT_HF,
                                  .total_parameters = parameters,
                                  .origins = m->origins,
                                  .resume = m->job.resume,
                                  .force = m->job.force,
                                  .keep_journal = m->output_count > 1,
                                  .dist = m->job.dist};
    if (!ig_writer_open(&plan, &o->writer, err)) return false;
    o->sink = ig_writer_sink(o->writer);
    return true;
}

bool merge__outputs_start(struct ig_merge *m, struct ig_err *err)
{
    bool makes = m->output_count > 1 && ig_dist_rank(m->job.dist) == 0;
    if (makes && !ig_dir_make(m->job.out, err)) return false;
    for (int i = 0; i < m->output_count; i++) {
        struct merge_output *o = &m->outputs[i];
        if (!o->cast) {
            if (!start_plain(m, o, err)) return false;
            continue;
        }
        const char *text;
        for (int w = 0; (text = ig_cast_warning(o->cast, w)) != NULL; w++)
            ig_watch_warn(m->watch, "%s", text);
        if (!ig_cast_start(o->cast, err)) return false;
        o->sink = ig_cast_sink(o->cast);
    }
    return true;
}

static bool add(struct ig_writer *w, const char *name, struct ig_buf *text, struct ig_err *err)
{
    bool ok = ig_buf_ok(text, err) && ig_writer_add(w, name, ig_buf_view(text), err);
    ig_buf_release(text);
    return ok;
}

static const char *const vision_files[] = {"preprocessor_config.json", "processor_config.json",
                                           "video_preprocessor_config.json", NULL};
static const char *const tokenizer_files[] = {"tokenizer.json",
                                              "tokenizer_config.json",
                                              "special_tokens_map.json",
                                              "added_tokens.json",
                                              "vocab.json",
                                              "merges.txt",
                                              "tokenizer.model",
                                              "chat_template.jinja",
                                              "chat_template.json",
                                              NULL};

static int add_names(const char **list, int count, const char *const *names)
{
    for (; *names; names++)
        list[count++] = *names;
    return count;
}

static bool carry_one(struct ig_writer *w, const char *folder, const char *name, struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    if (!ig_path_join(path, folder, name, err)) return false;
    if (!ig_path_exists(path)) return true;
    if (ig_file_read(path, (size_t)1 << 30, &text, err)) return add(w, name, &text, err);
    ig_buf_release(&text);
    return false;
}

/* The donor's files, but what the recipe replaces. */
static bool carry(struct ig_merge *m, struct ig_writer *w, struct ig_err *err)
{
    const char *but[64];
    int count = 0;
    const char *folder = m->tokenizer_folder;
    if (m->recipe->extract) count = add_names(but, count, vision_files);
    if (folder) count = add_names(but, count, tokenizer_files);
    for (int i = 0; i < m->file_count; i++)
        but[count++] = m->files[i].name;
    /* what the old forms of a changed tokenizer say is no longer true */
    for (int i = 0; i < m->file_count; i++) {
        if (strcmp(m->files[i].name, "tokenizer.json") == 0) but[count++] = "added_tokens.json";
        if (strcmp(m->files[i].name, "chat_template.jinja") == 0)
            but[count++] = "chat_template.json";
    }
    but[count] = NULL;
    if (!ig_writer_carry_but(w, ig_store_path(m->stores[m->donor]), but, err)) return false;
    for (int i = 0; folder && tokenizer_files[i]; i++)
        if (!carry_one(w, folder, tokenizer_files[i], err)) return false;
    for (int i = 0; i < m->file_count; i++)
        if (!ig_writer_add(w, m->files[i].name, m->files[i].text, err)) return false;
    return true;
}

static bool finish_output(struct ig_merge *m, struct merge_output *o, struct ig_slice sketchbook,
                          struct ig_err *err)
{
    struct ig_writer *w = writer_of(o);
    struct ig_buf config = {0}, card = {0}, provenance = {0};
    if (!ig_writer_is_first(w))
        return o->cast ? ig_cast_finish(o->cast, err) : ig_writer_finish(w, err);
    if (!carry(m, w, err)) return false;
    merge__write_card(m, o, &card);
    merge__write_provenance(m, o, &provenance);
    if (!add(w, "README.md", &card, err) || !add(w, "ingot.json", &provenance, err)) return false;
    if (sketchbook.len && !ig_writer_add(w, "sketchbook.jsonl", sketchbook, err)) return false;
    if (o->cast) return ig_cast_finish(o->cast, err);
    if (m->config) {
        ig_json_write(&config, m->config, 2, false);
        ig_buf_char(&config, '\n');
        if (!add(w, "config.json", &config, err)) return false;
    }
    return ig_writer_finish(w, err);
}

bool merge__outputs_gather(struct ig_merge *m, struct ig_err *err)
{
    for (int i = 0; i < m->output_count; i++)
        if (!ig_writer_gather(writer_of(&m->outputs[i]), err)) return false;
    return true;
}

/* Nothing gets its final name that was made of files which others wrote meanwhile. */
static bool inputs_unchanged(const struct ig_merge *m, struct ig_err *err)
{
    for (int i = 0; i < m->recipe->count; i++)
        if (!merge__input_unchanged(&m->inputs[i], err)) return false;
    return true;
}

bool merge__outputs_finish(struct ig_merge *m, struct ig_slice sketchbook, struct ig_err *err)
{
    if (!inputs_unchanged(m, err)) return false;
    for (int i = 0; i < m->output_count; i++)
        if (!finish_output(m, &m->outputs[i], sketchbook, err)) return false;
    struct ig_writer *writers[IG_OUTPUTS_MAX];
    for (int i = 0; i < m->output_count; i++)
        writers[i] = writer_of(&m->outputs[i]);
    return ig_writers_forget(writers, m->output_count, err);
}

uint64_t merge__output_bytes(const struct ig_merge *m, int output)
{
    const struct merge_output *o = &m->outputs[output];
    return o->cast ? ig_cast_bytes(o->cast) : m->output_bytes;
}

void merge__outputs_close(struct ig_merge *m)
{
    for (int i = 0; i < m->output_count; i++) {
        ig_cast_close(m->outputs[i].cast);
        ig_writer_close(m->outputs[i].writer);
    }
    ig_json_doc_free(m->generation);
}
