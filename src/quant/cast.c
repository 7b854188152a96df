/* SPDX-License-Identifier: Apache-2.0
 * cast — a plan with an output folder: the sink encodes what comes and puts it into place.
 *
 * Chunks of one tensor come from many threads in any order. A stack's parts are marked as done when
 * the last of its experts is. Scratch for codes is kept between chunks in a list. */
#include "quant_internal.h"

#include "base/check.h"
#include "base/digest.h"
#include "tensor/kernels/scalar.h"

#include <stdio.h>
#include <stdlib.h>

struct quant_scratch {
    struct quant_scratch *next;
    size_t bytes;
    _Alignas(64) unsigned char data[];
};

static bool copy_plan(struct ig_cast *cast, const struct ig_cast_plan *plan, struct ig_err *err)
{
    cast->plan = *plan;
    struct ig_tensor *tensors = ig_arena_array(&cast->arena, (size_t)plan->count, sizeof(*tensors));
    if (!tensors) return ig_err_nomem(err);
    for (int64_t i = 0; i < plan->count; i++) {
        tensors[i] = plan->tensors[i];
        tensors[i].name = ig_arena_copy(&cast->arena, plan->tensors[i].name);
        if (!tensors[i].name.ptr) return ig_err_nomem(err);
    }
    cast->plan.tensors = tensors;
    cast->plan.out = ig_arena_copy(&cast->arena, ig_slice_of(plan->out)).ptr;
    if (!cast->plan.out) return ig_err_nomem(err);
    /* The same inputs by the same rules. */
    struct ig_slice text = ig_quant_recipe_text(plan->recipe);
    char hex[IG_DIGEST_HEX];
    ig_digest_hex(ig_digest_of(text.ptr, text.len), hex);
    ig_buf_slice(&cast->origins, plan->origins);
    ig_buf_printf(&cast->origins, "the quantisation recipe\tcast %s %d %d\n", hex,
                  (int)plan->recipe->uniform, (int)plan->rounding);
    return ig_buf_ok(&cast->origins, err);
}

bool ig_cast_plan(const struct ig_cast_plan *plan, struct ig_cast **out, struct ig_err *err)
{
    struct ig_cast *cast = calloc(1, sizeof(*cast));
    if (!cast) return ig_err_nomem(err);
    pthread_mutex_init(&cast->lock, NULL);
    if (!copy_plan(cast, plan, err) || !quant__plan(cast, err)) {
        ig_cast_close(cast);
        return false;
    }
    *out = cast;
    return true;
}

bool ig_cast_start(struct ig_cast *cast, struct ig_err *err)
{
    const struct ig_writer_plan plan = {
        .out = cast->plan.out,
        .tensors = cast->tensors,
        .count = cast->tensor_count,
        .layout = IG_LAYOUT_MLX,
        .total_parameters = cast->parameters,
        .index_always = true,
        .origins = ig_buf_view(&cast->origins),
        .resume = cast->plan.resume,
        .force = cast->plan.force,
        .keep_journal = cast->plan.keep_journal,
        .dist = cast->plan.dist,
    };
    return ig_writer_open(&plan, &cast->writer, err);
}

void ig_cast_close(struct ig_cast *cast)
{
    if (!cast) return;
    ig_writer_close(cast->writer);
    while (cast->scratch) {
        struct quant_scratch *next = cast->scratch->next;
        free(cast->scratch);
        cast->scratch = next;
    }
    pthread_mutex_destroy(&cast->lock);
    ig_buf_release(&cast->origins);
    ig_arena_release(&cast->arena);
    free(cast);
}

/* ---- scratch ---- */

static struct quant_scratch *scratch_take(struct ig_cast *cast, size_t bytes, struct ig_err *err)
{
    pthread_mutex_lock(&cast->lock);
    struct quant_scratch *s = cast->scratch;
    if (s) cast->scratch = s->next;
    pthread_mutex_unlock(&cast->lock);
    if (s && s->bytes >= bytes) return s;
    free(s);
    s = malloc(sizeof(*s) + bytes);
    if (!s) {
        ig_err_nomem(err);
        return NULL;
    }
    s->bytes = bytes;
    return s;
}

static void scratch_give(struct ig_cast *cast, struct quant_scratch *s)
{
    pthread_mutex_lock(&cast->lock);
    s->next = cast->scratch;
    cast->scratch = s;
    pthread_mutex_unlock(&cast->lock);
}

/* ---- sink ---- */

static bool sink_wants(void *self, int64_t index)
{
    struct ig_cast *cast = self;
    int64_t at = cast->sources[index].module;
    if (at < 0) return false;
    const struct quant_module *m = &cast->modules[at];
    for (int part = 0; part < m->part_count; part++)
        if (!ig_writer_has(cast->writer, m->tensor + part)) return true;
    return false;
}

/* x + 1 in the tensor's own type: norms that a checkpoint stores less 1. */
static bool put_plus_one(struct ig_cast *cast, const struct quant_module *m, int64_t first,
                         int64_t elems, const void *data, struct ig_err *err)
{
    enum ig_dtype dtype = m->plain.dtype;
    size_t size = ig_dtype_bytes(dtype), bytes = (size_t)elems * size;
    struct ig_convert_ops ops;
    struct quant_scratch *s = scratch_take(cast, bytes + (size_t)elems * sizeof(float), err);
    if (!s) return false;
    float *x = (float *)s->data;
    unsigned char *out = s->data + (size_t)elems * sizeof(float);
    ig_convert_ref(&ops);
    ig_convert_to_f32(&ops, dtype, data, x, elems);
    for (int64_t i = 0; i < elems; i++)
        x[i] += 1;
    ig_convert_from_f32(&ops, dtype, x, out, elems);
    bool ok = ig_writer_put(cast->writer, m->tensor, (size_t)first * size, out, bytes, err);
    scratch_give(cast, s);
    return ok;
}

/* A chunk of a tensor that is not quantised. */
static bool put_plain(struct ig_cast *cast, const struct quant_source *source, int64_t first,
                      int64_t elems, const void *data, struct ig_err *err)
{
    const struct quant_module *m = &cast->modules[source->module];
    size_t size = ig_dtype_bytes(m->plain.dtype);
    if (source->change == QUANT_PLUS_ONE) return put_plus_one(cast, m, first, elems, data, err);
    return ig_writer_put(cast->writer, m->tensor, (size_t)first * size, data, (size_t)elems * size,
                         err);
}

/* ---- batches ---- */

static bool add_share(struct quant_batch *batch, struct ig_cast *cast,
                      const struct quant_source *source, struct ig_err *err)
{
    const struct quant_module *m = &cast->modules[source->module];
    struct quant_share *s = &batch->shares[batch->share_count];
    *s = (struct quant_share){
        .cast = cast,
        .module = m,
        .bytes = ig_codec_bytes(m->codec, m->plain.dtype, batch->elems),
        .at = ig_codec_bytes(m->codec, m->plain.dtype, source->elem_first + batch->first)};
    s->scratch = scratch_take(cast, s->bytes.weight + s->bytes.scales + s->bytes.biases, err);
    if (!s->scratch) return false;
    unsigned char *to = s->scratch->data;
    s->to = (struct ig_packed){to, to + s->bytes.weight, to + s->bytes.weight + s->bytes.scales};
    batch->share_count++;
    return true;
}

bool quant__batch_open(struct quant_batch *batch, struct ig_cast *const *casts, int count,
                       struct ig_err *err)
{
    batch->fed = batch->plain_count = batch->share_count = 0;
    for (int i = 0; i < count; i++) {
        const struct quant_source *source = &casts[i]->sources[batch->index];
        if (source->module < 0) continue;
        if (casts[i]->modules[source->module].codec.bits == 0)
            batch->plain[batch->plain_count++] = casts[i];
        else if (!add_share(batch, casts[i], source, err))
            return false;
    }
    return true;
}

bool quant__batch_feed(struct quant_batch *batch, const void *data, int64_t elems,
                       struct ig_err *err)
{
    struct ig_encoding encodings[IG_OUTPUTS_MAX];
    IG_ASSERT(elems <= batch->elems - batch->fed);
    for (int i = 0; i < batch->plain_count; i++) {
        struct ig_cast *cast = batch->plain[i];
        const struct quant_source *source = &cast->sources[batch->index];
        int64_t first = source->elem_first + batch->first + batch->fed;
        if (!put_plain(cast, source, first, elems, data, err)) return false;
    }
    for (int i = 0; i < batch->share_count; i++) {
        const struct quant_share *s = &batch->shares[i];
        struct ig_packed_bytes n =
            ig_codec_bytes(s->module->codec, s->module->plain.dtype, batch->fed);
        encodings[i] =
            (struct ig_encoding){&s->module->coder,
                                 {(char *)s->to.weight + n.weight, (char *)s->to.scales + n.scales,
                                  (char *)s->to.biases + n.biases}};
    }
    if (batch->share_count) ig_encode_many(encodings, batch->share_count, data, elems);
    batch->fed += elems;
    return true;
}

bool quant__batch_write(struct quant_batch *batch, struct ig_err *err)
{
    IG_ASSERT(batch->fed == batch->elems);
    for (int i = 0; i < batch->share_count; i++) {
        const struct quant_share *s = &batch->shares[i];
        struct ig_writer *w = s->cast->writer;
        int64_t at = s->module->tensor;
        if (!ig_writer_put(w, at, s->at.weight, s->to.weight, s->bytes.weight, err) ||
            !ig_writer_put(w, at + 1, s->at.scales, s->to.scales, s->bytes.scales, err))
            return false;
        if (s->module->part_count == 3 &&
            !ig_writer_put(w, at + 2, s->at.biases, s->to.biases, s->bytes.biases, err))
            return false;
    }
    return true;
}

void quant__batch_close(struct quant_batch *batch)
{
    for (int i = 0; i < batch->share_count; i++)
        scratch_give(batch->shares[i].cast, batch->shares[i].scratch);
    batch->share_count = 0;
}

static bool sink_put(void *self, int64_t index, int64_t elem_first, int64_t elems, const void *data,
                     struct ig_err *err)
{
    struct ig_cast *cast = self;
    struct quant_batch batch = {.index = index, .first = elem_first, .elems = elems};
    bool ok = quant__batch_open(&batch, &cast, 1, err) &&
              quant__batch_feed(&batch, data, elems, err) && quant__batch_write(&batch, err);
    quant__batch_close(&batch);
    return ok;
}

static bool sink_done(void *self, int64_t index, struct ig_err *err)
{
    struct ig_cast *cast = self;
    if (cast->sources[index].module < 0) return true;
    struct quant_module *m = &cast->modules[cast->sources[index].module];
    if (atomic_fetch_sub(&m->sources_left, 1) != 1) return true;
    for (int part = 0; part < m->part_count; part++)
        if (!ig_writer_mark(cast->writer, m->tensor + part, err)) return false;
    return true;
}

struct ig_sink ig_cast_sink(struct ig_cast *cast)
{
    IG_ASSERT(cast->writer);
    return (struct ig_sink){cast, sink_wants, sink_put, sink_done};
}

/* ---- finish, and what is known ---- */

bool ig_cast_finish(struct ig_cast *cast, struct ig_err *err)
{
    struct ig_buf config = {0}, card = {0};
    quant__card(cast, &card);
    bool ok =
        quant__config(cast->plan.config, cast->plan.generation, cast, IG_BF16, &config, err) &&
        ig_buf_ok(&card, err) &&
        ig_writer_add(cast->writer, "config.json", ig_buf_view(&config), err) &&
        (cast->plan.has_card ||
         ig_writer_add(cast->writer, "README.md", ig_buf_view(&card), err)) &&
        ig_writer_finish(cast->writer, err);
    ig_buf_release(&config);
    ig_buf_release(&card);
    return ok;
}

int64_t ig_cast_module(const struct ig_cast *cast, int64_t tensor)
{
    return cast->sources[tensor].module;
}

struct ig_writer *ig_cast_writer(struct ig_cast *cast)
{
    return cast->writer;
}

const struct ig_quant_row *ig_cast_rows(const struct ig_cast *cast, int64_t *count)
{
    *count = cast->module_count;
    return cast->rows;
}

uint64_t ig_cast_bytes(const struct ig_cast *cast)
{
    return cast->bytes;
}

double ig_cast_bits_per_weight(const struct ig_cast *cast)
{
    return cast->parameters ? (double)cast->bytes * 8 / (double)cast->parameters : 0;
}

const char *ig_cast_warning(const struct ig_cast *cast, int index)
{
    return index < cast->warning_count ? cast->warnings[index] : NULL;
}
