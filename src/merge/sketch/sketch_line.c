/* SPDX-License-Identifier: Apache-2.0
 * sketch_line — one line of a sketchbook into a struct. Lines differ by method: what is absent is
 * NAN, what is there must have the right type and length. */
#include "merge/sketch/sketch_line.h"

#include "ingot/json.h"

#include <stdio.h>

#define MATRIX_MAX (IG_SKETCH_INPUTS_MAX * IG_SKETCH_INPUTS_MAX)

/* A line being read. */
struct reading {
    const struct ig_json *row;
    struct ig_sketch_line *line;
    double values[MATRIX_MAX];
};

const char *ig_sketch_measure_name(enum ig_sketch_measure measure)
{
    static const char *const names[] = {"apart",     "distance", "first", "rejected",
                                        "agreement", "energy",   "kept"};
    return names[measure];
}

/* A number, or null: what the writer makes of one that is not finite. */
static bool number_of(struct reading *r, const struct ig_json *node, const char *key, double *out,
                      struct ig_err *err)
{
    bool is_number = ig_json_real(node, out);
    if (!is_number && node->type != IG_JSON_NULL)
        return ig_err_set(err, IG_ERR_DATA, "'%s' holds something that is no number", key);
    if (!is_number || !isfinite(*out)) {
        *out = (double)NAN;
        r->line->finite = false;
    }
    return true;
}

/* A list of numbers into values. count: -1 when there is none. */
static bool list_of(struct reading *r, const struct ig_json *node, const char *key, int *count,
                    struct ig_err *err)
{
    *count = -1;
    if (!node) return true;
    if (node->type != IG_JSON_ARRAY || node->count > IG_SKETCH_INPUTS_MAX)
        return ig_err_set(err, IG_ERR_DATA, "'%s' must be a list of at most %d numbers", key,
                          IG_SKETCH_INPUTS_MAX);
    for (uint32_t i = 0; i < node->count; i++)
        if (!number_of(r, &node->items[i], key, &r->values[i], err)) return false;
    *count = (int)node->count;
    return true;
}

/* rows lists of the same length into values. */
static bool matrix_of(struct reading *r, const char *key, int rows, int *columns,
                      struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(r->row, key);
    *columns = -1;
    if (!node) return true;
    if (node->type != IG_JSON_ARRAY || (int)node->count != rows)
        return ig_err_set(err, IG_ERR_DATA, "'%s' must hold %d lists", key, rows);
    for (int i = 0; i < rows; i++) {
        const struct ig_json *list = &node->items[i];
        bool fits = list->type == IG_JSON_ARRAY && list->count <= IG_SKETCH_INPUTS_MAX &&
                    (i == 0 || (int)list->count == *columns);
        if (!fits) return ig_err_set(err, IG_ERR_DATA, "the lists of '%s' differ in length", key);
        *columns = (int)list->count;
        for (int j = 0; j < *columns; j++)
            if (!number_of(r, &list->items[j], key, &r->values[i * *columns + j], err))
                return false;
    }
    return true;
}

/* ---- the measures ---- */

/* K x K cosines, or one for two inputs, or the mean over rows or columns. */
static bool read_cosines(struct reading *r, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(r->row, "cosine");
    double sum = 0, one;
    if (!node || node->type != IG_JSON_ARRAY) {
        if (!node) node = ig_json_get(r->row, "mean_cosine");
        if (!node) return true;
        if (!number_of(r, node, "cosine", &one, err)) return false;
        r->line->measure[IG_SKETCH_APART] = 1 - one;
        return true;
    }
    int n = (int)node->count, columns;
    if (node->count < 1 || node->count > IG_SKETCH_INPUTS_MAX)
        return ig_err_set(err, IG_ERR_DATA, "'cosine' has %u rows", node->count);
    if (!matrix_of(r, "cosine", n, &columns, err)) return false;
    if (columns != n) return ig_err_set(err, IG_ERR_DATA, "'cosine' is %d x %d", n, columns);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            sum += 1 - r->values[i * n + j];
    if (n > 1) r->line->measure[IG_SKETCH_APART] = sum / (n * (n - 1) / 2);
    return true;
}

/* The u_k have length sqrt(elements), so that distances of large and small tensors compare. */
static bool read_distances(struct reading *r, struct ig_err *err)
{
    struct ig_sketch_line *line = r->line;
    int count;
    if (!list_of(r, ig_json_get(r->row, "distance"), "distance", &count, err)) return false;
    if (count >= 0 && count != line->inputs)
        return ig_err_set(err, IG_ERR_DATA, "'distance' has %d numbers, 'c' %d", count,
                          line->inputs);
    for (int i = 0; i < count; i++) {
        double value = r->values[i] / sqrt((double)(line->elems ? line->elems : 1));
        if (line->farthest >= 0 && !(value > line->measure[IG_SKETCH_DISTANCE])) continue;
        if (isnan(value)) continue;
        line->farthest = i;
        line->measure[IG_SKETCH_DISTANCE] = value;
    }
    return true;
}

static bool read_spectrum(struct reading *r, struct ig_err *err)
{
    struct ig_sketch_line *line = r->line;
    double total = 0;
    int count;
    if (!list_of(r, ig_json_get(r->row, "singular"), "singular", &count, err)) return false;
    for (int i = 0; i < count; i++)
        total += r->values[i] * r->values[i];
    if (count < 1 || !(total > 0) || !isfinite(total)) return true;
    for (int i = 0; i < count; i++) {
        int to = i < IG_SKETCH_DIRECTIONS_MAX ? i : IG_SKETCH_DIRECTIONS_MAX - 1;
        line->energy[to] += r->values[i] * r->values[i] / total;
        line->directions = to + 1;
    }
    line->measure[IG_SKETCH_FIRST] = line->energy[0];
    return true;
}

static bool read_weights(struct reading *r, struct ig_err *err)
{
    struct ig_sketch_line *line = r->line;
    int columns, below = 0;
    double sum = 0;
    if (!matrix_of(r, "w", line->inputs, &columns, err)) return false;
    if (columns < 1 || line->inputs < 1) return true;
    int count = columns * line->inputs;
    for (int i = 0; i < count; i++) {
        sum += r->values[i];
        below += r->values[i] < 0.5;
    }
    line->measure[IG_SKETCH_REJECTED] = isnan(sum) ? (double)NAN : (double)below / count;
    line->measure[IG_SKETCH_AGREEMENT] = sum / count;
    return true;
}

static bool read_kept(struct reading *r, struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(r->row, "kept");
    double sum = 0;
    int count;
    if (node && node->type == IG_JSON_NUMBER) { /* sce: one choice for all inputs */
        if (!number_of(r, node, "kept", &r->values[0], err)) return false;
        count = 1;
    } else if (!list_of(r, node, "kept", &count, err)) {
        return false;
    }
    for (int i = 0; i < count; i++)
        sum += r->values[i];
    if (count > 0 && r->line->elems)
        r->line->measure[IG_SKETCH_KEPT] = sum / count / (double)r->line->elems;
    return true;
}

/* The centre is a mean of u_k = x_k / r_k: in lengths of an input its share is c_center over the
 * mean r_k. */
static bool read_center(struct reading *r, struct ig_err *err)
{
    const struct ig_json *center = ig_json_get(r->row, "c_center");
    struct ig_sketch_line *line = r->line;
    double sum = 0;
    int count;
    if (!center) return true;
    if (!number_of(r, center, "c_center", &line->c_center, err) ||
        !list_of(r, ig_json_get(r->row, "r"), "r", &count, err))
        return false;
    for (int i = 0; i < count; i++)
        sum += r->values[i];
    if (count > 0 && sum > 0) line->c_center /= sum / count;
    return true;
}

static bool read_shares(struct reading *r, int models, struct ig_err *err)
{
    struct ig_sketch_line *line = r->line;
    const struct ig_json *p = ig_json_get(r->row, "p");
    int count;
    if (!list_of(r, ig_json_get(r->row, "c"), "c", &count, err)) return false;
    if (count > models)
        return ig_err_set(err, IG_ERR_DATA, "'c' has %d numbers for %d models", count, models);
    line->inputs = count < 0 ? 0 : count;
    for (int i = 0; i < line->inputs; i++)
        line->c[i] = r->values[i];
    return read_center(r, err) &&
           (!p || number_of(r, p, "p", &line->measure[IG_SKETCH_ENERGY], err));
}

/* ---- the line ---- */

static bool read_place(const struct ig_json *row, struct ig_sketch_line *line, struct ig_err *err)
{
    const struct ig_json *shape = ig_json_get(row, "shape"), *layer = ig_json_get(row, "layer");
    int64_t size, number = -1;
    line->name = ig_json_text(ig_json_get(row, "tensor"));
    if (line->name.len == 0) return ig_err_set(err, IG_ERR_DATA, "'tensor' is missing");
    if (!shape || shape->type != IG_JSON_ARRAY || shape->count > IG_RANK_MAX)
        return ig_err_set(err, IG_ERR_DATA, "'shape' must be a list of at most %d sizes",
                          IG_RANK_MAX);
    line->elems = 1;
    for (uint32_t i = 0; i < shape->count; i++)
        if (!ig_json_int(&shape->items[i], &size) || size < 0 ||
            __builtin_mul_overflow(line->elems, size, &line->elems))
            return ig_err_set(err, IG_ERR_DATA, "'shape' has an impossible size");
    if (!ig_role_find(ig_json_text(ig_json_get(row, "role")), &line->role))
        return ig_err_set(err, IG_ERR_DATA, "'role' is missing or unknown");
    if (layer && layer->type != IG_JSON_NULL &&
        (!ig_json_int(layer, &number) || number < 0 || number >= IG_LAYERS_MAX))
        return ig_err_set(err, IG_ERR_DATA, "'layer' must be null or a number below %d",
                          IG_LAYERS_MAX);
    line->layer = (int)number;
    line->copied = ig_json_text(ig_json_get(row, "copied"));
    line->copy_of = ig_json_text(ig_json_get(row, "copy_of"));
    return true;
}

bool merge__sketch_line_read(struct ig_slice text, int models, struct ig_arena *arena,
                             struct ig_sketch_line *out, struct ig_err *err)
{
    struct ig_sketch_line line = {.farthest = -1, .c_center = (double)NAN, .finite = true};
    struct reading r = {.row = ig_json_parse(text, arena, err), .line = &line};
    for (int i = 0; i < IG_SKETCH_MEASURES; i++)
        line.measure[i] = (double)NAN;
    if (!r.row) return false;
    if (r.row->type != IG_JSON_OBJECT) return ig_err_set(err, IG_ERR_DATA, "not a JSON object");
    if (!read_place(r.row, &line, err) || !read_shares(&r, models, err) || !read_cosines(&r, err) ||
        !read_distances(&r, err) || !read_spectrum(&r, err) || !read_weights(&r, err) ||
        !read_kept(&r, err))
        return false;
    *out = line;
    return true;
}

/* ---- the head ---- */

static const char *text_of(const struct ig_json *row, const char *key, struct ig_arena *arena,
                           struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(row, key);
    struct ig_slice text = ig_json_text(node);
    if (!node || node->type != IG_JSON_STRING || memchr(text.len ? text.ptr : "", 0, text.len)) {
        ig_err_set(err, IG_ERR_DATA, "'%s' is missing, or no text", key);
        return NULL;
    }
    struct ig_slice copy = ig_arena_copy(arena, text);
    if (!copy.ptr) ig_err_nomem(err);
    return copy.ptr;
}

static const char *last_part(const char *path, struct ig_arena *arena)
{
    struct ig_slice text = ig_slice_of(path);
    while (text.len > 1 && text.ptr[text.len - 1] == '/')
        text.len--;
    for (size_t i = text.len; i-- > 0;)
        if (text.ptr[i] == '/' && i + 1 < text.len) {
            text = ig_slice_make(text.ptr + i + 1, text.len - i - 1);
            break;
        }
    return ig_arena_copy(arena, text).ptr;
}

/* Models whose folders have the same name are told apart by a number. */
static bool number_labels(struct ig_sketch_model *models, int count, struct ig_arena *arena,
                          struct ig_err *err)
{
    bool twin[IG_SKETCH_INPUTS_MAX] = {false};
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            twin[i] = twin[i] || (j != i && strcmp(models[i].label, models[j].label) == 0);
    for (int i = 0; i < count; i++) {
        if (!twin[i]) continue;
        size_t room = strlen(models[i].label) + 8;
        char *label = ig_arena_new(arena, room);
        if (!label) return ig_err_nomem(err);
        snprintf(label, room, "%s#%d", models[i].label, i + 1);
        models[i].label = label;
    }
    return true;
}

bool merge__sketch_head_read(struct ig_slice text, struct ig_arena *arena,
                             struct ig_sketch_head *out, struct ig_err *err)
{
    const struct ig_json *row = ig_json_parse(text, arena, err), *list = ig_json_get(row, "models");
    struct ig_sketch_head head = {0};
    if (!row) return false;
    if (!list || list->type != IG_JSON_ARRAY || list->count < 1 ||
        list->count > IG_SKETCH_INPUTS_MAX ||
        !ig_json_int(ig_json_get(row, "tensors"), &head.tensors))
        return ig_err_set(err, IG_ERR_DATA,
                          "not the head of a sketchbook: 'models' (1 to %d) and 'tensors' are "
                          "expected",
                          IG_SKETCH_INPUTS_MAX);
    struct ig_sketch_model *models = ig_arena_array(arena, list->count, sizeof *models);
    if (!models) return ig_err_nomem(err);
    head.version = text_of(row, "ingot", arena, err);
    if (head.version) head.method = text_of(row, "method", arena, err);
    if (head.method) head.recipe = text_of(row, "recipe", arena, err);
    if (!head.recipe) return false;
    for (uint32_t i = 0; i < list->count; i++) {
        models[i].path = text_of(&list->items[i], "model", arena, err);
        if (models[i].path) models[i].identity = text_of(&list->items[i], "identity", arena, err);
        if (!models[i].identity) return false;
        models[i].label = last_part(models[i].path, arena);
        if (!models[i].label) return ig_err_nomem(err);
    }
    head.models = models;
    head.model_count = (int)list->count;
    if (!number_labels(models, head.model_count, arena, err)) return false;
    *out = head;
    return true;
}
