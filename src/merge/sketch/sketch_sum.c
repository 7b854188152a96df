/* SPDX-License-Identifier: Apache-2.0
 * sketch_sum — a sketchbook by layer and kind of module. A kind is a name without its layer and
 * with '*' for other numbers, so that all experts of a layer fall into one cell: a model of 26,000
 * tensors has some hundred cells. */
#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "ingot/json.h"
#include "ingot/sketch.h"

#include <stdio.h>
#include <stdlib.h>

#define KINDS_MAX       512
#define KIND_BYTES_MAX  256
#define INGOT_BYTES_MAX ((size_t)1 << 28)
#define ROWS            (IG_LAYERS_MAX + 1)

struct sums {
    struct ig_sketch_summary s;
    struct ig_sketch *sketch;
    struct ig_arena arena;
    struct ig_map kind_of;
    struct ig_sketch_kind kinds[KINDS_MAX];
    struct ig_sketch_cell **cells; /* ROWS x KINDS_MAX while reading */
};

const char *ig_sketch_part_name(enum ig_sketch_part part)
{
    static const char *const names[] = {"embedding",  "first third",   "middle third",
                                        "last third", "head and norm", "elsewhere",
                                        "all"};
    return names[part];
}

/* ---- pools ---- */

static void spread_add(struct ig_sketch_spread *s, double value)
{
    if (!isfinite(value)) return;
    s->low = s->count && s->low < value ? s->low : value;
    s->high = s->count && s->high > value ? s->high : value;
    s->sum += value;
    s->count++;
}

static void spread_join(struct ig_sketch_spread *to, const struct ig_sketch_spread *from)
{
    if (!from->count) return;
    to->low = to->count && to->low < from->low ? to->low : from->low;
    to->high = to->count && to->high > from->high ? to->high : from->high;
    to->sum += from->sum;
    to->count += from->count;
}

static bool pool_init(struct sums *sums, struct ig_sketch_pool *pool, struct ig_err *err)
{
    if (pool->share) return true;
    pool->share =
        ig_arena_array(&sums->arena, (size_t)sums->s.input_count + 1, sizeof *pool->share);
    return pool->share || ig_err_nomem(err);
}

static void pool_add(struct sums *sums, struct ig_sketch_pool *pool,
                     const struct ig_sketch_line *line)
{
    pool->tensors++;
    pool->copied += line->copied.len > 0;
    for (int i = 0; line->inputs == sums->s.input_count && i < line->inputs; i++)
        spread_add(&pool->share[i], line->c[i]);
    spread_add(&pool->center, line->c_center);
    for (int i = 0; i < IG_SKETCH_MEASURES; i++)
        spread_add(&pool->measure[i], line->measure[i]);
    for (int i = 0; i < line->directions; i++)
        pool->energy[i] += line->energy[i];
    pool->energy_count += line->directions > 0;
}

static bool pool_join(struct sums *sums, struct ig_sketch_pool *to,
                      const struct ig_sketch_pool *from, struct ig_err *err)
{
    if (!pool_init(sums, to, err)) return false;
    to->tensors += from->tensors;
    to->copied += from->copied;
    for (int i = 0; i < sums->s.input_count; i++)
        spread_join(&to->share[i], &from->share[i]);
    spread_join(&to->center, &from->center);
    for (int i = 0; i < IG_SKETCH_MEASURES; i++)
        spread_join(&to->measure[i], &from->measure[i]);
    for (int i = 0; i < IG_SKETCH_DIRECTIONS_MAX; i++)
        to->energy[i] += from->energy[i];
    to->energy_count += from->energy_count;
    return true;
}

/* ---- kinds ---- */

static bool is_digits(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] < '0' || at[i] > '9') return false;
    return len > 0;
}

/* "model.layers.3.mlp.experts.7.up_proj.weight": "mlp.experts.*.up_proj". */
static struct ig_slice kind_name(struct ig_slice name, char out[KIND_BYTES_MAX])
{
    struct ig_place place;
    size_t used = 0;
    ig_arch_place(ig_arch_find(NULL), name, &place);
    struct ig_slice rest = place.part;
    rest = rest.len ? ig_slice_make(rest.ptr, (size_t)(name.ptr + name.len - rest.ptr)) : name;
    if (ig_slice_ends(rest, ".weight")) rest.len -= strlen(".weight");
    while (rest.len) {
        const char *dot = memchr(rest.ptr, '.', rest.len);
        size_t len = dot ? (size_t)(dot - rest.ptr) : rest.len;
        bool number = is_digits(rest.ptr, len);
        size_t need = number ? 1 : len;
        if (used + need + 2 > KIND_BYTES_MAX) break;
        if (used) out[used++] = '.';
        memcpy(out + used, number ? "*" : rest.ptr, need);
        used += need;
        size_t step = dot ? len + 1 : len;
        rest = ig_slice_make(rest.ptr + step, rest.len - step);
    }
    out[used] = 0;
    return ig_slice_make(out, used);
}

/* The last of KINDS_MAX takes what finds no room. */
static bool find_kind(struct sums *sums, const struct ig_sketch_line *line, int *out,
                      struct ig_err *err)
{
    char text[KIND_BYTES_MAX];
    struct ig_sketch_summary *s = &sums->s;
    struct ig_slice name = kind_name(line->name, text);
    int64_t kind = ig_map_get(&sums->kind_of, name, -1);
    if (kind < 0 && s->kind_count == KINDS_MAX) kind = KINDS_MAX - 1;
    if (kind < 0) {
        if (s->kind_count == KINDS_MAX - 1) name = ig_slice_of("(all others)");
        name = ig_arena_copy(&sums->arena, name);
        if (!name.ptr) return ig_err_nomem(err);
        kind = s->kind_count++;
        sums->kinds[kind] = (struct ig_sketch_kind){name.ptr, line->role, line->layer >= 0};
        if (!ig_map_put(&sums->kind_of, name, kind, err)) return false;
    }
    *out = (int)kind;
    return true;
}

/* ---- lines ---- */

static const char *keep_name(struct sums *sums, struct ig_slice name, struct ig_err *err)
{
    struct ig_slice copy = ig_arena_copy(&sums->arena, name);
    if (!copy.ptr) ig_err_nomem(err);
    return copy.ptr;
}

static bool add_to_cell(struct sums *sums, const struct ig_sketch_line *line, struct ig_err *err)
{
    int kind = 0;
    if (!find_kind(sums, line, &kind, err)) return false;
    struct ig_sketch_cell **slot = &sums->cells[(line->layer + 1) * KINDS_MAX + kind];
    if (!*slot) {
        *slot = ig_arena_new(&sums->arena, sizeof **slot);
        if (!*slot) return ig_err_nomem(err);
        **slot = (struct ig_sketch_cell){.layer = line->layer, .kind = kind};
        if (!pool_init(sums, &(*slot)->pool, err)) return false;
    }
    struct ig_sketch_cell *cell = *slot;
    double apart = line->measure[IG_SKETCH_APART];
    if (!cell->name || apart > cell->pool.measure[IG_SKETCH_APART].high) {
        cell->name = keep_name(sums, line->name, err);
        if (!cell->name) return false;
    }
    pool_add(sums, &cell->pool, line);
    sums->s.layers = line->layer >= sums->s.layers ? line->layer + 1 : sums->s.layers;
    return true;
}

/* Into the list, sorted so that `rank` falls. */
static bool mark(struct sums *sums, enum ig_sketch_list list, double rank, double value,
                 const struct ig_sketch_line *line, int input, struct ig_err *err)
{
    struct ig_sketch_mark *marks = sums->s.marks[list];
    int *count = &sums->s.mark_count[list], at = *count;
    double sign = list == IG_SKETCH_DISAGREED ? -1 : 1;
    while (at > 0) {
        double other = marks[at - 1].value;
        if (list == IG_SKETCH_OUTSIDE) other = fmax(-other, other - 1);
        if (!(rank > sign * other)) break;
        at--;
    }
    if (at == IG_SKETCH_MARKS_MAX) return true;
    const char *name = keep_name(sums, line->name, err);
    if (!name) return false;
    if (*count < IG_SKETCH_MARKS_MAX) ++*count;
    for (int i = *count - 1; i > at; i--)
        marks[i] = marks[i - 1];
    marks[at] = (struct ig_sketch_mark){name, value, input};
    return true;
}

static bool mark_line(struct sums *sums, const struct ig_sketch_line *line, struct ig_err *err)
{
    const double *m = line->measure;
    bool has_distance = !isnan(m[IG_SKETCH_DISTANCE]);
    double far = has_distance ? m[IG_SKETCH_DISTANCE] : m[IG_SKETCH_APART], worst = 1e-6;
    int input = -1;
    /* Beside a centre that holds all of them, a share tells only how far it is shifted. */
    for (int i = 0; isnan(line->c_center) && i < line->inputs; i++) {
        double outside = fmax(-line->c[i], line->c[i] - 1);
        if (!(outside > worst)) continue;
        worst = outside;
        input = i;
    }
    sums->s.outside += input >= 0;
    if (far > 0 &&
        !mark(sums, IG_SKETCH_FARTHEST, far, far, line, has_distance ? line->farthest : -1, err))
        return false;
    if (m[IG_SKETCH_AGREEMENT] < 1 && !mark(sums, IG_SKETCH_DISAGREED, -m[IG_SKETCH_AGREEMENT],
                                            m[IG_SKETCH_AGREEMENT], line, -1, err))
        return false;
    return input < 0 || mark(sums, IG_SKETCH_OUTSIDE, worst, line->c[input], line, input, err);
}

/* Shares are of the models; where a base is left out, or slices take some, of "input n". */
static bool name_inputs(struct sums *sums, int count, struct ig_err *err)
{
    const struct ig_sketch_head *head = sums->s.head;
    const char **names = ig_arena_array(&sums->arena, (size_t)count + 1, sizeof *names);
    for (int i = 0; names && i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "input %d", i + 1);
        names[i] = count == head->model_count ? head->models[i].label
                                              : ig_arena_copy(&sums->arena, ig_slice_of(text)).ptr;
        if (!names[i]) return ig_err_nomem(err);
    }
    sums->s.inputs = names;
    sums->s.input_count = count;
    return names || ig_err_nomem(err);
}

/* A copied tensor is all of one model. */
static void share_copied(const struct ig_sketch_summary *s, struct ig_sketch_line *line)
{
    if (!line->copied.len || line->inputs || s->input_count != s->head->model_count) return;
    for (int i = 0; i < s->input_count; i++) {
        if (!ig_slice_is(line->copied, s->head->models[i].path)) continue;
        memset(line->c, 0, sizeof line->c);
        line->c[i] = 1;
        line->inputs = s->input_count;
    }
}

/* How many shares most lines have; where all tensors are copied, as many as there are models. */
static bool count_inputs(struct sums *sums, const char *path, struct ig_err *err)
{
    int64_t seen[IG_SKETCH_INPUTS_MAX + 1] = {0};
    struct ig_sketch_line line;
    struct ig_sketch *sketch;
    bool more = true, copied = false;
    int best = 0, models = sums->s.head->model_count;
    if (!ig_sketch_open(path, &sketch, err)) return false;
    bool ok = ig_sketch_next(sketch, &line, &more, err);
    while (ok && more) {
        seen[line.inputs]++;
        copied = copied || line.copied.len;
        ok = ig_sketch_next(sketch, &line, &more, err);
    }
    ig_sketch_close(sketch);
    for (int i = 1; i <= IG_SKETCH_INPUTS_MAX; i++)
        if (seen[i] >= seen[best ? best : i]) best = i;
    if (!ok) return false;
    if (!seen[best] || !best) best = copied ? models : 0;
    return name_inputs(sums, best, err);
}

/* ---- the end ---- */

static enum ig_sketch_part part_of(const struct ig_sketch_summary *s, int layer, enum ig_role role)
{
    if (layer >= 0) return (enum ig_sketch_part)(IG_SKETCH_FIRST_THIRD + 3 * layer / s->layers);
    return role == IG_ROLE_EMBED                             ? IG_SKETCH_EMBED
           : role == IG_ROLE_LM_HEAD || role == IG_ROLE_NORM ? IG_SKETCH_HEAD
                                                             : IG_SKETCH_ELSEWHERE;
}

static int kind_rank(const struct ig_sketch_kind *kind)
{
    static const int ranks[IG_ROLE_COUNT] = {
        [IG_ROLE_EMBED] = 0, [IG_ROLE_ATTENTION] = 1, [IG_ROLE_ROUTER] = 2, [IG_ROLE_MLP] = 3,
        [IG_ROLE_NORM] = 4,  [IG_ROLE_OTHER] = 5,     [IG_ROLE_LM_HEAD] = 6};
    return ranks[kind->role];
}

/* Kinds by role; cells in a grid without gaps. */
static bool arrange(struct sums *sums, struct ig_err *err)
{
    struct ig_sketch_summary *s = &sums->s;
    int order[KINDS_MAX], count = 0;
    size_t kinds = (size_t)s->kind_count, rows = (size_t)s->layers + 1;
    struct ig_sketch_kind *list = ig_arena_array(&sums->arena, kinds + 1, sizeof *list);
    const struct ig_sketch_cell **cells =
        ig_arena_array(&sums->arena, rows * kinds + 1, sizeof *cells);
    if (!list || !cells) return ig_err_nomem(err);
    for (int rank = 0; rank <= 6; rank++)
        for (int k = 0; k < s->kind_count; k++)
            if (kind_rank(&sums->kinds[k]) == rank) order[count++] = k;
    for (int k = 0; k < count; k++) {
        list[k] = sums->kinds[order[k]];
        for (size_t row = 0; row < rows; row++) {
            struct ig_sketch_cell *cell = sums->cells[row * KINDS_MAX + (size_t)order[k]];
            cells[row * kinds + (size_t)k] = cell;
            if (!cell) continue;
            cell->kind = k;
            int part = (int)part_of(s, cell->layer, list[k].role);
            struct ig_sketch_pool *pools[] = {
                &s->all, &s->groups[part][list[k].role], &s->groups[part][IG_ROLE_COUNT],
                &s->groups[IG_SKETCH_ALL][list[k].role], &s->groups[IG_SKETCH_ALL][IG_ROLE_COUNT]};
            for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
                if (!pool_join(sums, pools[i], &cell->pool, err)) return false;
        }
    }
    s->kinds = list;
    s->cells = cells;
    return true;
}

/* An ingot.json of another merge means that files were mixed. */
static bool check_provenance(struct sums *sums, const char *path, struct ig_err *err)
{
    const struct ig_sketch_head *head = sums->s.head;
    struct ig_buf text = {0};
    if (!ig_path_exists(path)) return true;
    bool ok = ig_file_read(path, INGOT_BYTES_MAX, &text, err);
    const struct ig_json *root = ok ? ig_json_parse(ig_buf_view(&text), &sums->arena, err) : NULL;
    if (ok && !root) ig_err_within(err, "'%s'", path);
    ig_buf_release(&text);
    if (!root) return false;
    const struct ig_json *models = ig_json_get(root, "models");
    bool same = ig_slice_is(ig_json_text(ig_json_get(root, "method")), head->method) && models &&
                models->type == IG_JSON_ARRAY && (int)models->count == head->model_count;
    for (int i = 0; same && i < head->model_count; i++)
        same = ig_slice_is(ig_json_text(ig_json_get(&models->items[i], "identity")),
                           head->models[i].identity);
    if (!same)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' tells of another merge than the sketchbook beside it", path);
    struct ig_slice quantize = ig_json_text(ig_json_get(root, "quantize"));
    if (quantize.len) {
        sums->s.quantize = keep_name(sums, quantize, err);
        return sums->s.quantize != NULL;
    }
    return true;
}

static bool read_all(struct sums *sums, const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_sketch_line line;
    struct ig_sketch_summary *s = &sums->s;
    bool more = true, ok = pool_init(sums, &s->all, err);
    ok = ok && ig_sketch_next(sums->sketch, &line, &more, err);
    while (ok && more) {
        bool other = line.inputs > 0 && line.inputs != s->input_count;
        s->other_inputs += other;
        s->not_finite += !line.finite;
        share_copied(s, &line);
        if (other) line.inputs = 0;
        ok = add_to_cell(sums, &line, err) && mark_line(sums, &line, err) &&
             ig_sketch_next(sums->sketch, &line, &more, err);
    }
    if (ok && s->not_finite)
        ig_watch_warn(watch, "%lld tensors have numbers that are not finite; sums leave them out",
                      (long long)s->not_finite);
    if (ok && s->other_inputs)
        ig_watch_warn(watch,
                      "%lld tensors are made of another number of inputs than %d; their "
                      "shares are left out",
                      (long long)s->other_inputs, s->input_count);
    return ok;
}

static bool find_files(const char *out, char sketch[IG_PATH_MAX], char ingot[IG_PATH_MAX],
                       struct ig_err *err)
{
    if (ig_path_is_dir(out)) {
        if (!ig_path_join(sketch, out, "sketchbook.jsonl", err) ||
            !ig_path_join(ingot, out, "ingot.json", err))
            return false;
        return ig_path_exists(sketch) ||
               ig_err_set(
                   err, IG_ERR_DATA,
                   "'%s' has no sketchbook.jsonl: it is no merge's folder, or one of several "
                   "outputs' parent, or was made with --no-trace",
                   out);
    }
    if (!ig_path_join(sketch, NULL, out, err)) return false;
    const char *slash = strrchr(out, '/');
    snprintf(ingot, IG_PATH_MAX, "%.*singot.json", slash ? (int)(slash - out + 1) : 0, out);
    return true;
}

bool ig_sketch_sum(const char *out, const struct ig_watch *watch,
                   struct ig_sketch_summary **summary, struct ig_err *err)
{
    char path[IG_PATH_MAX], ingot[IG_PATH_MAX];
    if (!find_files(out, path, ingot, err)) return false;
    struct sums *sums = calloc(1, sizeof *sums);
    if (!sums) return ig_err_nomem(err);
    sums->cells = calloc((size_t)ROWS * KINDS_MAX, sizeof *sums->cells);
    bool ok = (sums->cells || ig_err_nomem(err)) && ig_sketch_open(path, &sums->sketch, err);
    if (ok) {
        sums->s.head = ig_sketch_head(sums->sketch);
        ok = check_provenance(sums, ingot, err) && count_inputs(sums, path, err) &&
             read_all(sums, watch, err) && arrange(sums, err);
    }
    free(sums->cells);
    sums->cells = NULL;
    ig_map_release(&sums->kind_of);
    if (!ok) {
        ig_sketch_free(&sums->s);
        return false;
    }
    *summary = &sums->s;
    return true;
}

void ig_sketch_free(struct ig_sketch_summary *summary)
{
    struct sums *sums = (struct sums *)summary; /* its first member */
    if (!sums) return;
    ig_sketch_close(sums->sketch);
    ig_arena_release(&sums->arena);
    free(sums);
}
