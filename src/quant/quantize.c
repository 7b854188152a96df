/* SPDX-License-Identifier: Apache-2.0
 * quantize — stream a folder once through any number of casts.
 *
 * The unit of work is a chunk: read it, change its type if need be, hand it to every cast that
 * wants its tensor. Chunks are taken in file order, so reading is sequential; memory is threads x
 * (chunk + codes), whatever the model. CHUNK_ELEMS makes all parts' pieces multiples of the
 * writer's digest blocks for all but a few widths. */
#include "quant_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK_ELEMS_MAX                                                                            \
    ((int64_t)1 << 20) /* multiples of the writer's digest blocks in all parts */
#define CHUNK_ELEMS_MIN ((int64_t)1 << 17)
#define CODES_BYTES_MAX ((int64_t)96 << 20) /* of all threads and casts together */
#define PIECE_ELEMS     ((int64_t)1 << 16)

struct chunk {
    int64_t tensor; /* in file order */
    int64_t first;
};

struct flow {
    const struct ig_quant_job *job;
    const struct ig_watch *watch;
    struct ig_arena arena;
    struct ig_store *store;
    struct ig_json_doc *generation;
    int *owner; /* of each tensor, its rank; NULL: there is one rank */
    struct ig_buf origins;
    const struct ig_tensor **sources; /* in file order */
    struct ig_tensor *tensors;        /* the same, of the type that casts get */
    struct quant_fused **fused;       /* where a source is a part of a tensor; else NULL */
    int64_t tensor_count;
    struct ig_cast *casts[IG_OUTPUTS_MAX];
    struct ig_sink sinks[IG_OUTPUTS_MAX];
    char paths[IG_OUTPUTS_MAX][IG_PATH_MAX];
    int cast_count;
    uint32_t *wanted;   /* of each tensor: bit i: cast i wants it */
    atomic_llong *left; /* chunks that are still to come */
    struct chunk *chunks;
    int64_t chunk_count, chunk_elems;
    struct ig_pool *pool;
    unsigned char **buffers; /* one for each thread */
    struct ig_convert_ops convert;
    pthread_mutex_t lock; /* of what follows, and of the watch */
    struct ig_progress progress;
};

/* ---- opening ---- */

static int by_place(const void *a, const void *b)
{
    const struct ig_tensor *x = *(const struct ig_tensor *const *)a;
    const struct ig_tensor *y = *(const struct ig_tensor *const *)b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

enum ig_dtype ig_quant_target(const struct ig_json *config, enum ig_dtype source)
{
    struct ig_slice text = ig_json_text(ig_json_get(config, "torch_dtype"));
    enum ig_dtype dtype;
    if (!ig_dtype_is_float(source)) return source;
    if (!text.ptr) text = ig_json_text(ig_json_get(ig_json_get(config, "text_config"), "dtype"));
    if (text.ptr && ig_dtype_find(text, &dtype) && ig_codec_takes(dtype)) return dtype;
    return ig_codec_takes(source) ? source : IG_BF16;
}

/* --dtype wins. */
static enum ig_dtype target_dtype(const struct flow *f, enum ig_dtype source)
{
    if (ig_dtype_is_float(source) && f->job->cast_dtype) return f->job->dtype;
    return ig_quant_target(ig_store_config(f->store), source);
}

/* Source i of the list is a tensor as it is, or a part of one. */
static bool list_one(struct flow *f, const struct ig_tensor *t, int part, size_t i,
                     struct ig_err *err)
{
    f->sources[i] = t;
    if (part >= 0) {
        f->fused[i] = ig_arena_new(&f->arena, sizeof *f->fused[i]);
        if (!f->fused[i]) return ig_err_nomem(err);
        if (!quant__fused_open(f->store, t, part, &f->arena, f->fused[i], err)) return false;
        f->sources[i] = &f->fused[i]->tensor;
    }
    f->tensors[i] = *f->sources[i];
    f->tensors[i].dtype = target_dtype(f, f->sources[i]->dtype);
    f->tensors[i].bytes = (size_t)f->tensors[i].elems * ig_dtype_bytes(f->tensors[i].dtype);
    return true;
}

static bool list_tensors(struct flow *f, struct ig_err *err)
{
    size_t count = (size_t)ig_store_count(f->store), n = 0;
    const struct ig_tensor **stored = ig_arena_array(&f->arena, count, sizeof(*stored));
    f->sources = ig_arena_array(&f->arena, 2 * count, sizeof(*f->sources));
    f->tensors = ig_arena_array(&f->arena, 2 * count, sizeof(*f->tensors));
    f->fused = ig_arena_array(&f->arena, 2 * count, sizeof(*f->fused));
    if (!stored || !f->sources || !f->tensors || !f->fused) return ig_err_nomem(err);
    for (size_t i = 0; i < count; i++)
        stored[i] = ig_store_at(f->store, (int64_t)i);
    qsort(stored, count, sizeof(*stored), by_place);
    for (size_t i = 0; i < count; i++) {
        int parts = quant__fused_parts(stored[i]);
        for (int part = 0; part < parts || part == 0; part++)
            if (!list_one(f, stored[i], parts ? part : -1, n++, err)) return false;
    }
    f->tensor_count = (int64_t)n;
    return true;
}

static bool check_job(const struct ig_quant_job *job, struct ig_err *err)
{
    if (job->recipe_count < 1 || job->recipe_count > IG_OUTPUTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "1 to %d recipes at a time, not %d", IG_OUTPUTS_MAX,
                          job->recipe_count);
    if (job->cast_dtype && !ig_codec_takes(job->dtype))
        return ig_err_set(err, IG_ERR_USAGE, "cannot cast to %s (float32, float16 or bfloat16)",
                          ig_dtype_torch_name(job->dtype));
    for (int i = 0; i < job->recipe_count; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(job->recipes[i]->name, job->recipes[j]->name) == 0)
                return ig_err_set(err, IG_ERR_USAGE, "two recipes are called '%s'",
                                  job->recipes[i]->name);
    return true;
}

static bool open_source(struct flow *f, struct ig_err *err)
{
    if (!check_job(f->job, err)) return false;
    if (!ig_store_open(f->job->model, &f->store, err)) return false;
    ig_store_warn(f->store, f->watch);
    if (!ig_store_config(f->store))
        return ig_err_set(err, IG_ERR_DATA, "'%s' has no config.json", f->job->model);
    ig_buf_printf(&f->origins, "the type\tquantize %d\n",
                  f->job->cast_dtype ? (int)f->job->dtype : -1);
    return ig_store_put_origins(f->store, &f->origins, err) && list_tensors(f, err) &&
           quant__generation(f->job->model, f->watch, &f->generation, err);
}

/* Recipe number `index` of the job, to be written to `out`. */
static bool plan_cast(struct flow *f, int index, const char *out, struct ig_cast **cast,
                      struct ig_err *err)
{
    const struct ig_cast_plan plan = {
        .recipe = f->job->recipes[index],
        .tensors = f->tensors,
        .count = f->tensor_count,
        .config = ig_store_config(f->store),
        .generation = f->generation ? ig_json_doc_root(f->generation) : NULL,
        .rounding = f->job->rounding,
        .out = out,
        .origins = ig_buf_view(&f->origins),
        .resume = f->job->resume,
        .force = f->job->force,
        .keep_journal = f->job->recipe_count > 1,
        .dist = f->job->dist,
    };
    return ig_cast_plan(&plan, cast, err);
}

static bool open_casts(struct flow *f, struct ig_err *err)
{
    const struct ig_quant_job *job = f->job;
    if (job->recipe_count > 1 && !ig_dir_make(job->out, err)) return false;
    for (int i = 0; i < job->recipe_count; i++) {
        char *path = f->paths[i];
        if (job->recipe_count == 1)
            snprintf(path, IG_PATH_MAX, "%s", job->out);
        else if (!ig_path_join(path, job->out, job->recipes[i]->name, err))
            return false;
        if (!ig_store_check_output(f->store, path, err)) return false;
        if (!plan_cast(f, i, path, &f->casts[i], err)) return false;
        f->cast_count++;
        const char *text;
        for (int w = 0; (text = ig_cast_warning(f->casts[i], w)) != NULL; w++)
            ig_watch_warn(f->watch, "%s", text);
    }
    for (int i = 0; i < f->cast_count; i++) { /* all plans are good: now make folders */
        if (!ig_cast_start(f->casts[i], err)) return false;
        f->sinks[i] = ig_cast_sink(f->casts[i]);
    }
    return true;
}

static void close_flow(struct flow *f)
{
    for (int i = 0; i < f->cast_count; i++)
        ig_cast_close(f->casts[i]);
    for (int i = 0; f->buffers && i < ig_pool_size(f->pool); i++)
        free(f->buffers[i]);
    ig_pool_free(f->pool);
    free(f->chunks);
    free(f->left);
    ig_json_doc_free(f->generation);
    ig_store_close(f->store);
    ig_buf_release(&f->origins);
    ig_arena_release(&f->arena);
    pthread_mutex_destroy(&f->lock);
}

/* ---- streaming ---- */

static bool ask_wanted(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct flow *f = user;
    (void)thread, (void)err;
    if (f->owner && f->owner[index] != ig_dist_rank(f->job->dist)) return true;
    for (int i = 0; i < f->cast_count; i++)
        if (f->sinks[i].wants(f->sinks[i].self, index)) f->wanted[index] |= 1u << i;
    return true;
}

/* Which tensors each rank does. What a cast stacks is the same for all recipes. */
static bool share(struct flow *f, struct ig_err *err)
{
    size_t n = (size_t)f->tensor_count;
    if (ig_dist_size(f->job->dist) == 1) return true;
    int64_t *group = ig_arena_array(&f->arena, n + 1, sizeof(*group));
    int64_t *first = ig_arena_array(&f->arena, n + 1, sizeof(*first));
    uint64_t *bytes = ig_arena_array(&f->arena, n + 1, sizeof(*bytes));
    f->owner = ig_arena_array(&f->arena, n + 1, sizeof(*f->owner));
    if (!group || !first || !bytes || !f->owner) return ig_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        int64_t module = ig_cast_module(f->casts[0], (int64_t)i);
        if (module >= 0 && first[module] == 0) first[module] = (int64_t)i + 1;
        group[i] = module >= 0 ? first[module] - 1 : (int64_t)i;
        bytes[i] = f->sources[i]->bytes;
    }
    return ig_dist_share(f->job->dist, bytes, group, f->tensor_count, f->owner, err);
}

static bool list_chunks(struct flow *f, struct ig_err *err)
{
    size_t n = (size_t)f->tensor_count;
    f->wanted = ig_arena_array(&f->arena, n, sizeof(*f->wanted));
    f->left = calloc(n + 1, sizeof(*f->left));
    if (!f->wanted || !f->left) return ig_err_nomem(err);
    if (!ig_pool_each(f->pool, f->tensor_count, ask_wanted, f, err)) return false;
    for (size_t i = 0; i < n; i++) {
        if (!f->wanted[i]) continue;
        int64_t count = (f->tensors[i].elems + f->chunk_elems - 1) / f->chunk_elems;
        atomic_store(&f->left[i], count ? count : 1);
        f->chunk_count += count ? count : 1;
        f->progress.items_total++;
        f->progress.bytes_total += (int64_t)f->sources[i]->bytes;
    }
    f->chunks = calloc((size_t)f->chunk_count + 1, sizeof(*f->chunks));
    if (!f->chunks) return ig_err_nomem(err);
    int64_t at = 0;
    for (size_t i = 0; i < n; i++)
        for (int64_t c = 0, count = atomic_load(&f->left[i]); c < count; c++)
            f->chunks[at++] = (struct chunk){(int64_t)i, c * f->chunk_elems};
    return true;
}

static bool report_progress(struct flow *f, size_t bytes, bool whole, struct ig_err *err)
{
    pthread_mutex_lock(&f->lock);
    f->progress.bytes_done += (int64_t)bytes;
    f->progress.items_done += whole;
    bool go_on =
        !f->watch || !f->watch->progress || f->watch->progress(f->watch->user, &f->progress);
    pthread_mutex_unlock(&f->lock);
    return go_on || ig_err_set(err, IG_ERR_CANCELLED,
                               "stopped; what is finished is kept, and --resume goes on");
}

/* A piece in the casts' type, in the thread's buffer. */
static const void *load_piece(struct flow *f, int thread, int64_t tensor, int64_t first,
                              int64_t elems, struct ig_err *err)
{
    const struct ig_tensor *source = f->sources[tensor], *t = &f->tensors[tensor];
    size_t size = ig_dtype_bytes(source->dtype);
    unsigned char *raw = f->buffers[thread];
    if (f->fused[tensor])
        quant__fused_read(f->fused[tensor], first, elems, raw);
    else if (!ig_store_read(f->store, source, (size_t)first * size, (size_t)elems * size, raw, err))
        return NULL;
    if (source->dtype == t->dtype) return raw;
    float *wide = (float *)(void *)(raw + (size_t)PIECE_ELEMS * 8);
    unsigned char *out = (unsigned char *)(wide + PIECE_ELEMS);
    ig_convert_to_f32(&f->convert, source->dtype, raw, wide, elems);
    ig_convert_from_f32(&f->convert, t->dtype, wide, out, elems);
    return out;
}

static bool put_chunk(struct flow *f, int thread, struct quant_batch *batch, struct ig_err *err)
{
    while (batch->fed < batch->elems) {
        int64_t left = batch->elems - batch->fed, elems = left < PIECE_ELEMS ? left : PIECE_ELEMS;
        const void *data =
            load_piece(f, thread, batch->index, batch->first + batch->fed, elems, err);
        if (!data || !quant__batch_feed(batch, data, elems, err)) return false;
    }
    return quant__batch_write(batch, err);
}

static bool run_chunk(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct flow *f = user;
    const struct chunk *c = &f->chunks[index];
    const struct ig_tensor *t = &f->tensors[c->tensor];
    int64_t left = t->elems - c->first, elems = left < f->chunk_elems ? left : f->chunk_elems;
    struct ig_cast *wanting[IG_OUTPUTS_MAX];
    int count = 0;
    for (int i = 0; i < f->cast_count; i++)
        if (f->wanted[c->tensor] >> i & 1) wanting[count++] = f->casts[i];
    struct quant_batch batch = {.index = c->tensor, .first = c->first, .elems = elems};
    bool ok = quant__batch_open(&batch, wanting, count, err) && put_chunk(f, thread, &batch, err);
    quant__batch_close(&batch);
    if (!ok) return false;
    bool whole = atomic_fetch_sub(&f->left[c->tensor], 1) == 1;
    for (int i = 0; whole && i < f->cast_count; i++)
        if (f->wanted[c->tensor] >> i & 1 && !f->sinks[i].done(f->sinks[i].self, c->tensor, err))
            return false;
    return report_progress(f, (size_t)elems * ig_dtype_bytes(f->sources[c->tensor]->dtype), whole,
                           err);
}

/* Codes take about a byte an element; a chunk's are held by each thread for each cast. */
static void choose_chunk(struct flow *f)
{
    int64_t held = (int64_t)ig_pool_size(f->pool) * f->cast_count;
    f->chunk_elems = CHUNK_ELEMS_MAX;
    while (f->chunk_elems > CHUNK_ELEMS_MIN && held * f->chunk_elems > CODES_BYTES_MAX)
        f->chunk_elems /= 2;
}

static bool make_buffers(struct flow *f, struct ig_err *err)
{
    enum ig_isa isa;
    bool changes = false;
    size_t widest = 1;
    if (!ig_isa_pick(&isa, err)) return false;
    IG_OPS_FILL(convert, &f->convert, isa);
    for (int64_t i = 0; i < f->tensor_count; i++) {
        size_t size = ig_dtype_bytes(f->sources[i]->dtype);
        changes = changes || f->tensors[i].dtype != f->sources[i]->dtype;
        widest = size > widest ? size : widest;
    }
    /* With a change of type: raw of up to 8 bytes, f32, and the result of up to 4. */
    size_t bytes = (size_t)PIECE_ELEMS * (changes ? 16 : widest);
    f->buffers = ig_arena_array(&f->arena, (size_t)ig_pool_size(f->pool), sizeof(*f->buffers));
    if (!f->buffers) return ig_err_nomem(err);
    for (int i = 0; i < ig_pool_size(f->pool); i++)
        if (!(f->buffers[i] = malloc(bytes))) return ig_err_nomem(err);
    return true;
}

static bool stream(struct flow *f, struct ig_err *err)
{
    f->pool = ig_pool_new(f->job->threads, err);
    if (!f->pool) return false;
    choose_chunk(f);
    return make_buffers(f, err) && share(f, err) && list_chunks(f, err) &&
           ig_pool_each(f->pool, f->chunk_count, run_chunk, f, err);
}

void quant__output(struct ig_output_report *out, const char *recipe, const char *path,
                   uint64_t bytes, double bits_per_weight)
{
    snprintf(out->recipe, sizeof out->recipe, "%s", recipe);
    snprintf(out->path, sizeof out->path, "%s", path);
    out->bytes = bytes;
    out->bits_per_weight = bits_per_weight;
}

static bool finish(struct flow *f, struct ig_job_report *report, struct ig_err *err)
{
    for (int i = 0; i < f->cast_count; i++)
        if (!ig_writer_gather(ig_cast_writer(f->casts[i]), err)) return false;
    if (!ig_store_unchanged(f->store, err)) return false;
    for (int i = 0; i < f->cast_count; i++) {
        struct ig_output_report *out = &report->outputs[i];
        if (!ig_writer_carry(ig_cast_writer(f->casts[i]), f->job->model, err)) return false;
        if (!ig_cast_finish(f->casts[i], err)) return false;
        quant__output(out, f->job->recipes[i]->name, f->paths[i], ig_cast_bytes(f->casts[i]),
                      ig_cast_bits_per_weight(f->casts[i]));
        report->output_bytes += out->bytes;
    }
    struct ig_writer *writers[IG_OUTPUTS_MAX];
    for (int i = 0; i < f->cast_count; i++)
        writers[i] = ig_cast_writer(f->casts[i]);
    if (!ig_writers_forget(writers, f->cast_count, err)) return false;
    report->output_count = f->cast_count;
    report->tensors = f->tensor_count;
    report->input_bytes = ig_store_bytes(f->store);
    report->peak_bytes = ig_peak_bytes();
    return true;
}

bool ig_quantize(const struct ig_quant_job *job, const struct ig_watch *watch,
                 struct ig_job_report *report, struct ig_err *err)
{
    double start = ig_clock_seconds();
    struct flow f = {.job = job, .watch = watch, .progress = {.phase = "quantize"}};
    pthread_mutex_init(&f.lock, NULL);
    *report = (struct ig_job_report){0};
    bool ok =
        open_source(&f, err) && open_casts(&f, err) && stream(&f, err) && finish(&f, report, err);
    close_flow(&f);
    report->seconds = ig_clock_seconds() - start;
    return ok;
}

bool ig_quantize_plan(const struct ig_quant_job *job, int index, struct ig_cast **out,
                      struct ig_err *err)
{
    struct flow f = {.job = job};
    pthread_mutex_init(&f.lock, NULL);
    bool ok = open_source(&f, err) && plan_cast(&f, index, job->out ? job->out : "", out, err);
    close_flow(&f);
    return ok;
}
