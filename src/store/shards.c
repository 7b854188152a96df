/* SPDX-License-Identifier: Apache-2.0
 * shards — where each tensor of an output goes, decided before a byte is written: which shard, at
 * which offset, behind which header. Two peers' layouts, byte for byte:
 *
 *  HF   (safetensors 0.8.0, serialize): payload by type, widest first, then by name; the header
 * lists them in that order, {"dtype","shape","data_offsets"}, padded with spaces to 8 bytes. MLX
 * (mlx 0.32.4, mx.save_safetensors): payload in mlx_order; the header sorted by name,
 *       {"data_offsets","dtype","shape"}, not padded, so tensors may start at any byte. */
#include "base/map.h"
#include "base/size.h"
#include "store_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct planner {
    const struct ig_writer_plan *plan;
    struct ig_arena *arena;
    struct store_shards *shards;
};

static bool measure(const struct ig_tensor *t, size_t *bytes, struct ig_err *err)
{
    size_t elems = 1, bits;
    bool fits = true;
    if (ig_dtype_bytes(t->dtype) == 0 || t->dtype == IG_C64)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "tensor '" IG_SLICE_FMT "': cannot write elements of type %s",
                          IG_SLICE_ARG(t->name), ig_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        fits = fits && t->shape[i] >= 0 && ig_size_mul(elems, (size_t)t->shape[i], &elems);
    if (!fits || !ig_size_mul(elems, ig_dtype_bits(t->dtype), &bits))
        return ig_err_set(err, IG_ERR_DATA, "tensor '" IG_SLICE_FMT "': its shape overflows",
                          IG_SLICE_ARG(t->name));
    *bytes = bits / 8;
    return true;
}

static uint64_t shard_limit(const struct ig_writer_plan *plan)
{
    if (plan->file) return UINT64_MAX;
    if (plan->shard_bytes_max) return plan->shard_bytes_max;
    return plan->layout == IG_LAYOUT_MLX ? IG_SHARD_BYTES_MAX : IG_SHARD_BYTES_HF;
}

/* First fit in the plan's order, as both peers: a tensor that would pass the limit starts a shard.
 */
static bool split(struct planner *p, struct ig_err *err)
{
    const struct ig_writer_plan *plan = p->plan;
    struct store_shards *s = p->shards;
    uint64_t limit = shard_limit(plan), filled = 0;
    int count = 1;
    int64_t first = 0; /* of the current shard */
    for (int64_t i = 0; i < plan->count; i++) {
        struct store_place *place = &s->places[i];
        if (!measure(&plan->tensors[i], &place->bytes, err)) return false;
        if (i > first && (place->bytes > limit || filled > limit - place->bytes)) {
            count++;
            filled = 0;
            first = i;
        }
        place->shard = count - 1;
        filled += place->bytes;
        s->data_bytes += place->bytes;
    }
    s->shards = ig_arena_array(p->arena, (size_t)count, sizeof(*s->shards));
    if (!s->shards) return ig_err_nomem(err);
    s->count = count;
    for (int64_t i = plan->count; i-- > 0;) {
        struct store_shard *shard = &s->shards[s->places[i].shard];
        shard->first = i;
        shard->count++;
    }
    for (int i = 0; i < count; i++) {
        if (count == 1)
            snprintf(s->shards[i].name, sizeof s->shards[i].name, "%s",
                     plan->file ? plan->file : STORE_SINGLE_NAME);
        else
            snprintf(s->shards[i].name, sizeof s->shards[i].name, "model-%05d-of-%05d" STORE_SUFFIX,
                     i + 1, count);
    }
    return true;
}

/* qsort has no user pointer, so what is sorted carries the tensor. */
static int widest_first(const void *a, const void *b)
{
    const struct ig_tensor *x = *(const struct ig_tensor *const *)a;
    const struct ig_tensor *y = *(const struct ig_tensor *const *)b;
    if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
    return ig_slice_compare(x->name, y->name);
}

static int name_order(const void *a, const void *b)
{
    return ig_slice_compare((*(const struct ig_tensor *const *)a)->name,
                            (*(const struct ig_tensor *const *)b)->name);
}

/* Fills sorted with the shard's tensors in payload order. */
static bool order_payload(struct planner *p, const struct store_shard *shard,
                          const struct ig_tensor **sorted, struct ig_err *err)
{
    const struct ig_tensor *tensors = p->plan->tensors + shard->first;
    for (int64_t i = 0; i < shard->count; i++)
        sorted[i] = &tensors[i];
    if (p->plan->layout == IG_LAYOUT_HF) {
        qsort(sorted, (size_t)shard->count, sizeof(*sorted), widest_first);
        return true;
    }
    struct ig_slice *names = malloc(((size_t)shard->count + 1) * sizeof(*names));
    int64_t *order = malloc(((size_t)shard->count + 1) * sizeof(*order));
    bool ok = names && order;
    if (!ok) ig_err_nomem(err);
    for (int64_t i = 0; ok && i < shard->count; i++)
        names[i] = tensors[i].name;
    ok = ok && store__mlx_order(names, shard->count, order, err);
    for (int64_t i = 0; ok && i < shard->count; i++)
        sorted[i] = &tensors[order[i]];
    free(names);
    free(order);
    return ok;
}

static void put_entry(struct ig_buf *out, enum ig_layout layout, const struct ig_tensor *t,
                      const struct store_place *place)
{
    ig_json_quote(out, t->name, false);
    if (layout == IG_LAYOUT_MLX)
        ig_buf_printf(out,
                      ":{\"data_offsets\":[%" PRIu64 ",%" PRIu64 "],\"dtype\":\"%s\",\"shape\":[",
                      place->offset, place->offset + place->bytes, ig_dtype_name(t->dtype));
    else
        ig_buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", ig_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        ig_buf_printf(out, "%s%" PRId64, i ? "," : "", t->shape[i]);
    if (layout == IG_LAYOUT_MLX)
        ig_buf_text(out, "]}");
    else
        ig_buf_printf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", place->offset,
                      place->offset + place->bytes);
}

static void put_header(const struct planner *p, const struct store_shard *shard,
                       const struct ig_tensor *const *sorted, struct ig_buf *text)
{
    bool mlx = p->plan->layout == IG_LAYOUT_MLX;
    struct ig_slice key = ig_slice_of("__metadata__");
    int64_t i = 0;
    ig_buf_char(text, '{');
    /* In MLX's header, a sorted map, a name in capitals goes before it. */
    for (; mlx && i < shard->count && ig_slice_compare(sorted[i]->name, key) < 0; i++) {
        put_entry(text, p->plan->layout, sorted[i],
                  &p->shards->places[sorted[i] - p->plan->tensors]);
        ig_buf_char(text, ',');
    }
    ig_buf_printf(text, "\"__metadata__\":{\"format\":\"%s\"}", mlx ? "mlx" : "pt");
    for (; i < shard->count; i++) {
        ig_buf_char(text, ',');
        put_entry(text, p->plan->layout, sorted[i],
                  &p->shards->places[sorted[i] - p->plan->tensors]);
    }
    ig_buf_char(text, '}');
}

/* Offsets of the payload, then the header's text, then offsets from the start of the file. */
static bool lay_out(struct planner *p, struct store_shard *shard, const struct ig_tensor **sorted,
                    struct ig_buf *text, struct ig_err *err)
{
    const struct ig_writer_plan *plan = p->plan;
    struct store_place *places = p->shards->places;
    bool mlx = plan->layout == IG_LAYOUT_MLX;
    if (!order_payload(p, shard, sorted, err)) return false;
    uint64_t offset = 0;
    for (int64_t i = 0; i < shard->count; i++) {
        places[sorted[i] - plan->tensors].offset = offset;
        offset += places[sorted[i] - plan->tensors].bytes;
    }
    if (mlx) qsort(sorted, (size_t)shard->count, sizeof(*sorted), name_order);
    ig_buf_clear(text);
    ig_buf_append(text, "\0\0\0\0\0\0\0\0", STORE_LENGTH_BYTES);
    put_header(p, shard, sorted, text);
    while (!mlx && text->len % 8 && !text->failed)
        ig_buf_char(text, ' ');
    if (!ig_buf_ok(text, err)) return false;
    if (text->len - STORE_LENGTH_BYTES > STORE_HEADER_BYTES_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED,
                          "the header of '%s' has more than %" PRIu64 " bytes", shard->name,
                          STORE_HEADER_BYTES_MAX);
    for (int i = 0; i < STORE_LENGTH_BYTES; i++)
        text->data[i] = (char)((text->len - STORE_LENGTH_BYTES) >> 8 * i);
    shard->header = ig_arena_copy(p->arena, ig_buf_view(text));
    if (!shard->header.ptr) return ig_err_nomem(err);
    shard->bytes = shard->header.len + offset;
    for (int64_t i = shard->first; i < shard->first + shard->count; i++)
        places[i].offset += shard->header.len;
    return true;
}

static bool check_names(const struct ig_writer_plan *plan, struct ig_err *err)
{
    struct ig_map seen = {0};
    bool ok = true;
    for (int64_t i = 0; ok && i < plan->count; i++) {
        struct ig_slice name = plan->tensors[i].name;
        if (ig_map_get(&seen, name, -1) >= 0)
            ok = ig_err_set(err, IG_ERR_DATA, "two tensors '" IG_SLICE_FMT "' are to be written",
                            IG_SLICE_ARG(name));
        else if (ig_slice_is(name, "__metadata__"))
            ok = ig_err_set(err, IG_ERR_DATA, "a tensor cannot have the name '__metadata__'");
        else
            ok = ig_map_put(&seen, name, i, err);
    }
    ig_map_release(&seen);
    return ok;
}

bool store__shards_plan(const struct ig_writer_plan *plan, struct ig_arena *arena,
                        struct store_shards *out, struct ig_err *err)
{
    struct store_shards shards = {0};
    struct planner p = {plan, arena, &shards};
    struct ig_buf text = {0};
    bool ok = false;
    const struct ig_tensor **sorted = malloc(((size_t)plan->count + 1) * sizeof(*sorted));
    shards.places = ig_arena_array(arena, (size_t)plan->count, sizeof(*shards.places));
    if (!sorted || !shards.places) {
        ig_err_nomem(err);
        goto done;
    }
    if (!check_names(plan, err) || !split(&p, err)) goto done;
    for (int i = 0; i < shards.count; i++)
        if (!lay_out(&p, &shards.shards[i], sorted, &text, err)) goto done;
    *out = shards;
    ok = true;
done:
    ig_buf_release(&text);
    free(sorted);
    return ok;
}

/* transformers: json.dumps(indent=2, sort_keys=True) and a newline. mlx-lm: indent 4, total_size
 * first, no newline. Both sort the weight_map. */
bool store__shards_index(const struct ig_writer_plan *plan, const struct store_shards *shards,
                         struct ig_buf *out, struct ig_err *err)
{
    bool mlx = plan->layout == IG_LAYOUT_MLX;
    const struct ig_tensor **sorted = malloc(((size_t)plan->count + 1) * sizeof(*sorted));
    if (!sorted) return ig_err_nomem(err);
    for (int64_t i = 0; i < plan->count; i++)
        sorted[i] = &plan->tensors[i];
    qsort(sorted, (size_t)plan->count, sizeof(*sorted), name_order);
    const char *tab = mlx ? "    " : "  ";
    char size[64], parameters[64] = "";
    snprintf(size, sizeof size, "\"total_size\": %" PRIu64, shards->data_bytes);
    if (plan->total_parameters >= 0)
        snprintf(parameters, sizeof parameters, "\"total_parameters\": %" PRId64,
                 plan->total_parameters);
    const char *first = mlx || !*parameters ? size : parameters;
    const char *second = first == size ? parameters : size;
    ig_buf_printf(out, "{\n%s\"metadata\": {\n%s%s%s", tab, tab, tab, first);
    if (*second) ig_buf_printf(out, ",\n%s%s%s", tab, tab, second);
    ig_buf_printf(out, "\n%s},\n%s\"weight_map\": {", tab, tab);
    for (int64_t i = 0; i < plan->count; i++) {
        ig_buf_printf(out, "%s\n%s%s", i ? "," : "", tab, tab);
        ig_json_quote(out, sorted[i]->name, true);
        ig_buf_printf(out, ": \"%s\"",
                      shards->shards[shards->places[sorted[i] - plan->tensors].shard].name);
    }
    if (plan->count) ig_buf_printf(out, "\n%s", tab);
    ig_buf_text(out, mlx ? "}\n}" : "}\n}\n");
    free(sorted);
    return ig_buf_ok(out, err);
}
