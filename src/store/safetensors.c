/* SPDX-License-Identifier: Apache-2.0
 * safetensors — read and check one file's header.
 *
 *     | u64 LE: n | n bytes of JSON, spaces at its end | data, up to the end of the file |
 *     {"__metadata__": {text: text}, NAME: {"dtype": D, "shape": [..], "data_offsets": [begin,
 * end]}}
 *
 * The rules are those of the official package (safetensors 0.8.0, Rust: serde_json's reading of its
 * structs, then Metadata::validate), found by asking it; tests/golden/store holds its verdicts. So
 * unknown members are skipped, the last of two equal names counts, and a struct may be written as
 * an array in field order, as serde allows. */
#include "base/size.h"
#include "store_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };
static const char *const field_names[FIELD_COUNT] = {"dtype", "shape", "data_offsets"};

bool store__header_length(const unsigned char *first, uint64_t file_bytes, uint64_t *out,
                          struct ig_err *err)
{
    if (file_bytes < STORE_LENGTH_BYTES)
        return ig_err_set(err, IG_ERR_DATA,
                          "the file has %" PRIu64 " bytes, a safetensors file starts with 8 bytes "
                          "of header length",
                          file_bytes);
    uint64_t length = 0;
    for (int i = STORE_LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | first[i];
    if (length > STORE_HEADER_BYTES_MAX)
        return ig_err_set(err, IG_ERR_DATA,
                          "the header is said to have %" PRIu64 " bytes, the format allows %" PRIu64
                          ": not a safetensors file?",
                          length, STORE_HEADER_BYTES_MAX);
    if (length > file_bytes - STORE_LENGTH_BYTES)
        return ig_err_set(err, IG_ERR_DATA,
                          "the header ends at byte %" PRIu64 ", the file at byte %" PRIu64
                          ": download it again",
                          length + STORE_LENGTH_BYTES, file_bytes);
    if (length == 0) return ig_err_set(err, IG_ERR_DATA, "the header is empty");
    *out = length;
    return true;
}

/* A JSON number that serde reads as usize: digits alone, at most 2^64 - 1. */
static bool read_u64(const struct ig_json *node, uint64_t *out)
{
    if (node->type != IG_JSON_NUMBER) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < node->text.len; i++) {
        unsigned digit = (unsigned char)node->text.ptr[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

static bool read_dtype(const struct ig_json *node, struct ig_tensor *tensor, struct ig_err *err)
{
    struct ig_slice name = ig_json_text(node);
    /* serde takes {"F32": null} for a variant without contents too. */
    if (node->type == IG_JSON_OBJECT && node->count == 1 && node->items[0].type == IG_JSON_NULL)
        name = node->items[0].key;
    if (!name.ptr) return ig_err_set(err, IG_ERR_DATA, "dtype is not a string");
    if (ig_slice_is(name, ig_dtype_name(tensor->dtype))) return true; /* the one before's: likely */
    enum ig_dtype dtype;
    if (!ig_dtype_find(name, &dtype) || !ig_slice_is(name, ig_dtype_name(dtype)))
        return ig_err_set(err, IG_ERR_DATA, "unknown dtype '" IG_SLICE_FMT "'", IG_SLICE_ARG(name));
    tensor->dtype = dtype;
    return true;
}

/* Fills rank and shape, and elems with the product in file order: like the official reader's, a
 * product that overflows before it meets a 0 is an error. */
static bool read_shape(const struct ig_json *node, struct ig_tensor *tensor, struct ig_err *err)
{
    if (node->type != IG_JSON_ARRAY) return ig_err_set(err, IG_ERR_DATA, "shape is not an array");
    uint64_t elems = 1, size = 0;
    bool huge = false;
    for (uint32_t i = 0; i < node->count; i++) {
        if (!read_u64(&node->items[i], &size))
            return ig_err_set(err, IG_ERR_DATA, "shape[%u] is not a whole number from 0 to 2^64-1",
                              (unsigned)i);
        if (__builtin_mul_overflow(elems, size, &elems))
            return ig_err_set(err, IG_ERR_DATA, "shape overflows: more than 2^64 elements");
        huge = huge || size > INT64_MAX;
        if (i < IG_RANK_MAX) tensor->shape[i] = (int64_t)size;
    }
    uint64_t bits;
    if (__builtin_mul_overflow(elems, ig_dtype_bits(tensor->dtype), &bits))
        return ig_err_set(err, IG_ERR_DATA, "shape overflows: more than 2^64 bits");
    if (bits % 8)
        return ig_err_set(err, IG_ERR_DATA, "%" PRIu64 " elements of %s do not fill whole bytes",
                          elems, ig_dtype_name(tensor->dtype));
    if (node->count > IG_RANK_MAX)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "%u dimensions; at most %d are supported",
                          (unsigned)node->count, IG_RANK_MAX);
    if (huge)
        return ig_err_set(err, IG_ERR_UNSUPPORTED, "a dimension of 2^63 or more is not supported");
    tensor->rank = (int)node->count;
    tensor->elems = (int64_t)elems;
    tensor->bytes = bits / 8;
    return true;
}

static bool read_offsets(const struct ig_json *node, struct ig_tensor *tensor, struct ig_err *err)
{
    uint64_t begin, end;
    if (node->type != IG_JSON_ARRAY || node->count != 2 || !read_u64(&node->items[0], &begin) ||
        !read_u64(&node->items[1], &end))
        return ig_err_set(err, IG_ERR_DATA, "data_offsets is not [begin, end]");
    if (end < begin)
        return ig_err_set(err, IG_ERR_DATA,
                          "data_offsets end at %" PRIu64 ", before they begin at %" PRIu64, end,
                          begin);
    if (end - begin != tensor->bytes)
        return ig_err_set(err, IG_ERR_DATA,
                          "its shape and dtype %s make %zu bytes, its data_offsets %" PRIu64,
                          ig_dtype_name(tensor->dtype), tensor->bytes, end - begin);
    tensor->offset = begin;
    return true;
}

/* serde_json reads the members that nobody asked for too, and refuses numbers beyond a double. */
static bool check_ignored(const struct ig_json *node,
                          struct ig_err *err) /* NOLINT(misc-no-recursion) */
{
    double value;
    if (node->type == IG_JSON_NUMBER && (!ig_json_real(node, &value) || value - value != 0.0))
        return ig_err_set(err, IG_ERR_DATA, "number '" IG_SLICE_FMT "' is out of range",
                          IG_SLICE_ARG(node->text));
    if (node->type != IG_JSON_ARRAY && node->type != IG_JSON_OBJECT) return true;
    for (uint32_t i = 0; i < node->count; i++)
        if (!check_ignored(&node->items[i], err)) return false;
    return true;
}

/* The three fields, from an object or from an array in their order. */
static bool find_fields(const struct ig_json *node, const struct ig_json *fields[FIELD_COUNT],
                        struct ig_err *err)
{
    if (node->type == IG_JSON_ARRAY && node->count == FIELD_COUNT) {
        for (int f = 0; f < FIELD_COUNT; f++)
            fields[f] = &node->items[f];
        return true;
    }
    if (node->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "not an object of dtype, shape and data_offsets");
    for (uint32_t i = 0; i < node->count; i++) {
        const struct ig_json *item = &node->items[i];
        int f = 0;
        while (f < FIELD_COUNT && !ig_slice_is(item->key, field_names[f]))
            f++;
        if (f == FIELD_COUNT) {
            if (!check_ignored(item, err)) return false;
        } else if (fields[f]) {
            return ig_err_set(err, IG_ERR_DATA, "two members '%s'", field_names[f]);
        } else {
            fields[f] = item;
        }
    }
    for (int f = 0; f < FIELD_COUNT; f++)
        if (!fields[f]) return ig_err_set(err, IG_ERR_DATA, "no '%s'", field_names[f]);
    return true;
}

static bool read_tensor(const struct ig_json *node, struct ig_tensor *tensor, struct ig_err *err)
{
    const struct ig_json *fields[FIELD_COUNT] = {0};
    return find_fields(node, fields, err) && read_dtype(fields[FIELD_DTYPE], tensor, err) &&
           read_shape(fields[FIELD_SHAPE], tensor, err) &&
           read_offsets(fields[FIELD_OFFSETS], tensor, err);
}

static bool check_metadata(const struct ig_json *node, struct ig_err *err)
{
    if (node->type == IG_JSON_NULL) return true;
    if (node->type != IG_JSON_OBJECT)
        return ig_err_set(err, IG_ERR_DATA, "__metadata__ is not an object");
    for (uint32_t i = 0; i < node->count; i++)
        if (node->items[i].type != IG_JSON_STRING)
            return ig_err_set(err, IG_ERR_DATA, "__metadata__: '" IG_SLICE_FMT "' is not a string",
                              IG_SLICE_ARG(node->items[i].key));
    return true;
}

int store__compare_names(const void *a, const void *b)
{
    return ig_slice_compare(((const struct ig_tensor *)a)->name,
                            ((const struct ig_tensor *)b)->name);
}

/* By name; equal names in the order of the file, which `file` holds meanwhile. */
static int by_name_then_place(const void *a, const void *b)
{
    const struct ig_tensor *x = a, *y = b;
    int order = ig_slice_compare(x->name, y->name);
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

static int by_offset(const void *a, const void *b)
{
    const struct ig_tensor *x = *(struct ig_tensor *const *)a, *y = *(struct ig_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Of equal names the last one stays. True in `twice` when there were any. */
static int64_t drop_doubles(struct ig_tensor *tensors, int64_t count, struct ig_slice *twice)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i + 1 < count && ig_slice_equal(tensors[i].name, tensors[i + 1].name)) {
            *twice = tensors[i].name;
            continue;
        }
        tensors[kept] = tensors[i];
        tensors[kept++].file = 0;
    }
    return kept;
}

/* The tensors must tile [0, data_bytes): no hole, no overlap, nothing after the last. */
static bool check_tiling(struct ig_tensor *const *sorted, int64_t count, uint64_t data_bytes,
                         uint64_t data_start, struct ig_err *err)
{
    uint64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct ig_tensor *t = sorted[i];
        if (t->offset > end)
            return ig_err_set(err, IG_ERR_DATA,
                              "hole: data bytes %" PRIu64 " to %" PRIu64
                              " before tensor '" IG_SLICE_FMT "' belong to no tensor",
                              end, t->offset, IG_SLICE_ARG(t->name));
        if (t->offset < end)
            return ig_err_set(err, IG_ERR_DATA,
                              "overlap: tensor '" IG_SLICE_FMT "' begins at data byte %" PRIu64
                              ", tensor '" IG_SLICE_FMT "' ends at %" PRIu64,
                              IG_SLICE_ARG(t->name), t->offset, IG_SLICE_ARG(sorted[i - 1]->name),
                              end);
        end += t->bytes; /* = its data_offsets' end: no overflow */
    }
    if (end > data_bytes)
        return ig_err_set(err, IG_ERR_DATA,
                          "truncated: tensor '" IG_SLICE_FMT "' ends at byte %" PRIu64
                          ", the file at byte %" PRIu64 ": download it again",
                          IG_SLICE_ARG(sorted[count - 1]->name), end + data_start,
                          data_bytes + data_start);
    if (end < data_bytes)
        return ig_err_set(err, IG_ERR_DATA,
                          "the tensors end at byte %" PRIu64 ", the file at byte %" PRIu64
                          ": these bytes belong to no tensor",
                          end + data_start, data_bytes + data_start);
    return true;
}

/* Reads every member of the root into tensors, whose `file` becomes its place in the file. */
static bool read_members(const struct ig_json *root, struct ig_arena *arena,
                         struct ig_tensor *tensors, int64_t *count, struct ig_err *err)
{
    bool metadata = false;
    enum ig_dtype likely = IG_BF16;
    int64_t n = 0;
    for (uint32_t i = 0; i < root->count; i++) {
        const struct ig_json *item = &root->items[i];
        if (ig_slice_is(item->key, "__metadata__")) {
            if (metadata) return ig_err_set(err, IG_ERR_DATA, "two members '__metadata__'");
            metadata = true;
            if (!check_metadata(item, err)) return false;
            continue;
        }
        struct ig_tensor *t = &tensors[n];
        *t = (struct ig_tensor){.dtype = likely, .file = (int)n};
        if (!read_tensor(item, t, err))
            return ig_err_within(err, "tensor '" IG_SLICE_FMT "'", IG_SLICE_ARG(item->key));
        likely = t->dtype;
        t->name = ig_arena_copy(arena, item->key);
        if (!t->name.ptr) return ig_err_nomem(err);
        n++;
    }
    *count = n;
    return true;
}

static bool check_tensors(struct ig_tensor *tensors, int64_t *count, uint64_t data_start,
                          uint64_t file_bytes, struct ig_err *err)
{
    struct ig_slice twice = {0};
    qsort(tensors, (size_t)*count, sizeof(*tensors), by_name_then_place);
    *count = drop_doubles(tensors, *count, &twice);
    struct ig_tensor **sorted = malloc(((size_t)*count + 1) * sizeof(*sorted));
    if (!sorted) return ig_err_nomem(err);
    for (int64_t i = 0; i < *count; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, (size_t)*count, sizeof(*sorted), by_offset);
    bool ok = check_tiling(sorted, *count, file_bytes - data_start, data_start, err);
    free(sorted);
    if (!ok && twice.ptr)
        ig_err_within(err, "tensor '" IG_SLICE_FMT "' is named twice, the last one counts",
                      IG_SLICE_ARG(twice));
    return ok;
}

bool store__header_parse(struct ig_slice json, uint64_t file_bytes, struct ig_arena *arena,
                         struct ig_tensor **tensors, int64_t *count, struct ig_err *err)
{
    bool ok = false;
    struct ig_arena tree = {0};
    struct ig_tensor *list = NULL;
    int64_t n = 0;
    uint64_t data_start = STORE_LENGTH_BYTES + json.len;
    const struct ig_json *root = ig_json_parse(json, &tree, err);
    if (!root) {
        ig_err_within(err, "header");
        goto done;
    }
    if (root->type != IG_JSON_OBJECT) {
        ig_err_set(err, IG_ERR_DATA, "the header is not a JSON object");
        goto done;
    }
    list = ig_arena_array(arena, (size_t)root->count + 1, sizeof(*list));
    if (!list) {
        ig_err_nomem(err);
        goto done;
    }
    if (!read_members(root, arena, list, &n, err)) goto done;
    if (!check_tensors(list, &n, data_start, file_bytes, err)) goto done;
    for (int64_t i = 0; i < n; i++)
        list[i].offset += data_start;
    *tensors = list;
    *count = n;
    ok = true;
done:
    ig_arena_release(&tree);
    return ok;
}
