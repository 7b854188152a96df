/* SPDX-License-Identifier: Apache-2.0
 * dequantize — a folder in MLX's quantised formats back to plain weights, as `mlx_lm.convert -d
 * --dtype` does it: floats are cast first, scales and biases too, so that an affine product is made
 * and rounded in the target's type. (mlx-lm 0.32.2 decodes the fp modes to bf16 whatever is asked;
 * here they are decoded to what is asked, as mx.dequantize does.) */
#include "quant_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"

#include <stdlib.h>

#define CHUNK_ELEMS ((int64_t)1 << 18)

/* One tensor of the output. */
struct plain {
    const struct ig_tensor *source, *scales, *biases; /* scales NULL: it is plain already */
    struct ig_coder coder;
    atomic_llong left; /* chunks that are still to come */
    bool finished;     /* by an interrupted run */
};

struct chunk {
    int64_t tensor, first;
};

struct melt {
    struct ig_arena arena;
    struct ig_store *store;
    const struct ig_arch *arch;
    enum ig_dtype dtype;
    const struct ig_watch *watch;
    struct plain *plains;
    struct ig_tensor *tensors;
    int64_t count, parameters;
    struct chunk *chunks;
    int64_t chunk_count;
    struct ig_writer *writer;
    struct ig_pool *pool;
    unsigned char **buffers;
    size_t buffer_bytes;
    pthread_mutex_t lock; /* of progress and the watch */
    struct ig_progress progress;
    enum ig_isa isa;
};

static const struct ig_tensor *part_of(const struct melt *m, struct ig_slice weight,
                                       const char *part)
{
    char name[1024];
    size_t stem = weight.len - strlen("weight");
    if (stem + strlen(part) >= sizeof name) return NULL;
    memcpy(name, weight.ptr, stem);
    memcpy(name + stem, part, strlen(part));
    return ig_store_find(m->store, ig_slice_make(name, stem + strlen(part)));
}

/* What tensor t becomes; false in *out when it is a part of another one. */
static bool plan_tensor(struct melt *m, const struct ig_tensor *t, struct plain *p,
                        struct ig_tensor *out, bool *alone, struct ig_err *err)
{
    struct ig_codec codec;
    bool is_scale;
    if (!ig_quant_stored(m->store, t, &codec, &is_scale, err)) return false;
    *alone = !is_scale;
    *out = *t;
    p->source = t;
    if (is_scale) return true;
    if (ig_dtype_is_float(t->dtype)) out->dtype = m->dtype;
    if (codec.bits == 0) return true;
    p->scales = part_of(m, t->name, "scales");
    p->biases = part_of(m, t->name, "biases");
    bool affine = codec.mode == IG_AFFINE;
    if (!p->scales || (affine && (!p->biases || p->biases->elems != p->scales->elems ||
                                  p->biases->dtype != p->scales->dtype)))
        return ig_err_set(err, IG_ERR_DATA,
                          "tensor '" IG_SLICE_FMT "' has no scales or biases that fit",
                          IG_SLICE_ARG(t->name));
    if (affine ? !ig_codec_takes(p->scales->dtype) : p->scales->dtype != IG_U8)
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "': scales of type %s",
                          IG_SLICE_ARG(p->scales->name), ig_dtype_name(p->scales->dtype));
    out->dtype = m->dtype;
    out->shape[t->rank - 1] = t->shape[t->rank - 1] * 32 / codec.bits;
    out->elems = t->elems * 32 / codec.bits;
    ig_coder_init(&p->coder, codec, m->dtype, IG_ROUND_CPU, m->isa);
    return true;
}

struct sortable {
    const struct ig_arch *arch;
    const struct ig_tensor *tensor;
};

static int model_order(const void *a, const void *b)
{
    const struct sortable *x = a, *y = b;
    return ig_arch_compare(x->arch, x->tensor->name, y->tensor->name);
}

static bool plan_tensors(struct melt *m, struct ig_err *err)
{
    size_t n = (size_t)ig_store_count(m->store);
    struct sortable *order = ig_arena_array(&m->arena, n, sizeof(*order));
    m->plains = ig_arena_array(&m->arena, n, sizeof(*m->plains));
    m->tensors = ig_arena_array(&m->arena, n, sizeof(*m->tensors));
    if (!order || !m->plains || !m->tensors) return ig_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        order[i] = (struct sortable){m->arch, ig_store_at(m->store, (int64_t)i)};
    qsort(order, n, sizeof(*order), model_order);
    for (size_t i = 0; i < n; i++) {
        bool alone;
        if (!plan_tensor(m, order[i].tensor, &m->plains[m->count], &m->tensors[m->count], &alone,
                         err))
            return false;
        if (!alone) continue;
        const struct ig_tensor *out = &m->tensors[m->count];
        if (ig_slice_ends(out->name, ".weight") || ig_slice_ends(out->name, ".bias"))
            m->parameters += out->elems;
        int64_t chunks = (out->elems + CHUNK_ELEMS - 1) / CHUNK_ELEMS;
        atomic_init(&m->plains[m->count].left, chunks ? chunks : 1);
        m->chunk_count += chunks ? chunks : 1;
        m->count++;
    }
    m->chunks = ig_arena_array(&m->arena, (size_t)m->chunk_count, sizeof(*m->chunks));
    if (!m->chunks) return ig_err_nomem(err);
    for (int64_t i = 0, at = 0; i < m->count; i++)
        for (int64_t c = 0, all = atomic_load(&m->plains[i].left); c < all; c++)
            m->chunks[at++] = (struct chunk){i, c * CHUNK_ELEMS};
    return true;
}

static bool open_source(struct melt *m, const char *model, struct ig_err *err)
{
    if (!ig_codec_takes(m->dtype))
        return ig_err_set(err, IG_ERR_USAGE,
                          "cannot dequantize to %s (float32, float16 or bfloat16)",
                          ig_dtype_torch_name(m->dtype));
    if (!ig_isa_pick(&m->isa, err) || !ig_store_open(model, &m->store, err)) return false;
    if (!ig_json_get(ig_store_config(m->store), "quantization"))
        return ig_err_set(err, IG_ERR_USAGE,
                          "'%s' is not quantised: its config.json has no 'quantization'", model);
    m->arch = ig_arch_find(ig_store_config(m->store));
    m->progress.bytes_total = (int64_t)ig_store_bytes(m->store);
    return plan_tensors(m, err);
}

/* ---- streaming ---- */

/* Reads elements of a float tensor as the target's type. raw and wide are scratch. */
static bool read_cast(struct melt *m, const struct ig_tensor *t, int64_t first, int64_t elems,
                      unsigned char *raw, void *out, struct ig_err *err)
{
    size_t size = ig_dtype_bytes(t->dtype);
    struct ig_convert_ops ops;
    if (t->dtype == m->dtype || !ig_dtype_is_float(t->dtype))
        return ig_store_read(m->store, t, (size_t)first * size, (size_t)elems * size, out, err);
    if (!ig_store_read(m->store, t, (size_t)first * size, (size_t)elems * size, raw, err))
        return false;
    float *wide = (float *)(void *)(raw + (size_t)CHUNK_ELEMS * 8);
    IG_OPS_FILL(convert, &ops, m->isa);
    ig_convert_to_f32(&ops, t->dtype, raw, wide, elems);
    ig_convert_from_f32(&ops, m->dtype, wide, out, elems);
    return true;
}

static bool decode_chunk(struct melt *m, const struct plain *p, int64_t first, int64_t elems,
                         unsigned char *scratch, void *out, struct ig_err *err)
{
    const struct ig_codec codec = p->coder.codec;
    unsigned char *codes = scratch, *scales = codes + CHUNK_ELEMS;
    unsigned char *biases = scales + (size_t)CHUNK_ELEMS / 4,
                  *raw = biases + (size_t)CHUNK_ELEMS / 4;
    int64_t at = first / codec.group_size, groups = elems / codec.group_size;
    bool ok = ig_store_read(m->store, p->source, (size_t)first / 8 * (size_t)codec.bits,
                            (size_t)elems / 8 * (size_t)codec.bits, codes, err) &&
              read_cast(m, p->scales, at, groups, raw, scales, err) &&
              (codec.mode != IG_AFFINE || read_cast(m, p->biases, at, groups, raw, biases, err));
    if (ok) ig_decode(&p->coder, &(struct ig_packed){codes, scales, biases}, elems, out);
    return ok;
}

static bool report_progress(struct melt *m, size_t bytes, bool whole, struct ig_err *err)
{
    pthread_mutex_lock(&m->lock);
    m->progress.bytes_done += (int64_t)bytes;
    m->progress.items_done += whole;
    bool go_on =
        !m->watch || !m->watch->progress || m->watch->progress(m->watch->user, &m->progress);
    pthread_mutex_unlock(&m->lock);
    return go_on || ig_err_set(err, IG_ERR_CANCELLED,
                               "stopped; what is finished is kept, and --resume goes on");
}

/* What an interrupted run has finished is not made again. */
static bool ask_wanted(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct melt *m = user;
    (void)thread, (void)err;
    m->plains[index].finished = ig_writer_has(m->writer, index);
    return true;
}

static bool run_chunk(void *user, int thread, int64_t index, struct ig_err *err)
{
    struct melt *m = user;
    const struct chunk *c = &m->chunks[index];
    struct plain *p = &m->plains[c->tensor];
    const struct ig_tensor *t = &m->tensors[c->tensor];
    int64_t elems = t->elems - c->first < CHUNK_ELEMS ? t->elems - c->first : CHUNK_ELEMS;
    size_t size = ig_dtype_bytes(t->dtype);
    if (p->finished) return report_progress(m, 0, atomic_fetch_sub(&p->left, 1) == 1, err);
    unsigned char *out = m->buffers[thread], *scratch = out + (size_t)CHUNK_ELEMS * 8;
    bool ok = p->scales ? decode_chunk(m, p, c->first, elems, scratch, out, err)
                        : read_cast(m, p->source, c->first, elems, scratch, out, err);
    if (!ok || !ig_writer_put(m->writer, c->tensor, (size_t)c->first * size, out,
                              (size_t)elems * size, err))
        return false;
    bool whole = atomic_fetch_sub(&p->left, 1) == 1;
    if (whole && !ig_writer_mark(m->writer, c->tensor, err)) return false;
    size_t read =
        p->scales ? (size_t)elems / 8 * (size_t)p->coder.codec.bits : (size_t)elems * size;
    return report_progress(m, read, whole, err);
}

static bool stream(struct melt *m, int threads, struct ig_err *err)
{
    /* The result, codes, scales and biases, and two for a change of type, 8 bytes an element each.
     */
    size_t bytes = (size_t)CHUNK_ELEMS * (8 + 1 + 1 + 8 + 4);
    m->pool = ig_pool_new(threads, err);
    if (!m->pool) return false;
    m->buffers = ig_arena_array(&m->arena, (size_t)ig_pool_size(m->pool), sizeof(*m->buffers));
    if (!m->buffers) return ig_err_nomem(err);
    for (int i = 0; i < ig_pool_size(m->pool); i++)
        if (!(m->buffers[i] = malloc(bytes))) return ig_err_nomem(err);
    m->progress.items_total = m->count;
    return ig_pool_each(m->pool, m->count, ask_wanted, m, err) &&
           ig_pool_each(m->pool, m->chunk_count, run_chunk, m, err);
}

static bool write_model(struct melt *m, const struct ig_dequant_job *job, struct ig_err *err)
{
    struct ig_buf origins = {0};
    ig_buf_printf(&origins, "the type\tdequantize %d\n", (int)m->dtype);
    bool described = ig_store_check_output(m->store, job->out, err) &&
                     ig_store_put_origins(m->store, &origins, err);
    const struct ig_writer_plan plan = {
        .out = job->out,
        .tensors = m->tensors,
        .count = m->count,
        .layout = IG_LAYOUT_MLX,
        .total_parameters = m->parameters,
        .index_always = true,
        .origins = ig_buf_view(&origins),
        .resume = job->resume,
        .force = job->force,
    };
    struct ig_buf config = {0};
    struct ig_json_doc *generation = NULL;
    bool ok =
        described && quant__generation(job->model, m->watch, &generation, err) &&
        quant__config(ig_store_config(m->store), generation ? ig_json_doc_root(generation) : NULL,
                      NULL, m->dtype, &config, err) &&
        ig_writer_open(&plan, &m->writer, err) && stream(m, job->threads, err) &&
        ig_store_unchanged(m->store, err) && ig_writer_carry(m->writer, job->model, err) &&
        ig_writer_add(m->writer, "config.json", ig_buf_view(&config), err) &&
        ig_writer_finish(m->writer, err);
    ig_buf_release(&config);
    ig_buf_release(&origins);
    ig_json_doc_free(generation);
    return ok;
}

static void fill_report(const struct melt *m, const char *out, struct ig_job_report *report)
{
    for (int64_t i = 0; i < m->count; i++)
        report->output_bytes += (uint64_t)m->tensors[i].elems * ig_dtype_bytes(m->tensors[i].dtype);
    report->tensors = m->count;
    report->input_bytes = ig_store_bytes(m->store);
    report->peak_bytes = ig_peak_bytes();
    report->output_count = 1;
    quant__output(&report->outputs[0], "none", out, report->output_bytes,
                  (double)ig_dtype_bytes(m->dtype) * 8);
}

bool ig_dequantize(const struct ig_dequant_job *job, const struct ig_watch *watch,
                   struct ig_job_report *report, struct ig_err *err)
{
    double start = ig_clock_seconds();
    struct melt m = {.dtype = job->dtype, .watch = watch, .progress = {.phase = "dequantize"}};
    pthread_mutex_init(&m.lock, NULL);
    *report = (struct ig_job_report){0};
    bool ok = open_source(&m, job->model, err) && write_model(&m, job, err);
    if (ok) fill_report(&m, job->out, report);
    ig_writer_close(m.writer);
    for (int i = 0; m.buffers && i < ig_pool_size(m.pool); i++)
        free(m.buffers[i]);
    ig_pool_free(m.pool);
    ig_store_close(m.store);
    ig_arena_release(&m.arena);
    pthread_mutex_destroy(&m.lock);
    report->seconds = ig_clock_seconds() - start;
    return ok;
}
