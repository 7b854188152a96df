/* SPDX-License-Identifier: Apache-2.0
 * compare_samples — samples_TASK_TIME.jsonl, line by line.
 *
 *     {"doc_id": 7, "doc": {..}, "target": "2", "arguments": {"gen_args_0": {"arg_0": context,
 *      "arg_1": continuation}, ..}, "filtered_resps": [["-12.5", "False"], ..], "filter": "none",
 *      "metrics": ["acc", "acc_norm"], "doc_hash": .., "acc": 1.0, "acc_norm": 0.0}
 * as lm-evaluation-harness 0.4.3 to 0.4.13 and `ingot eval --output` write it; before 0.4.3
 * `arguments` is a list of pairs, log-likelihoods are numbers and there are no hashes. */
#include "eval/compare/compare_internal.h"

#include "base/file.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 18)

static struct ig_digest digest_text(struct ig_slice text)
{
    return ig_digest_of(text.ptr ? text.ptr : "", text.len);
}

/* ---- numbers ---- */

/* A number, or Python's str() of one. Minus infinity is a choice that nothing was left of. */
static bool read_score(const struct ig_json *node, double *out, struct ig_err *err)
{
    char text[64], *end;
    if (ig_json_real(node, out) && isfinite(*out)) return true;
    struct ig_slice word = ig_json_text(node);
    if (ig_slice_is(word, "-inf")) {
        *out = (double)-INFINITY;
        return true;
    }
    bool plain = word.len > 0 && word.len < sizeof text;
    for (size_t i = 0; plain && i < word.len; i++)
        plain = word.ptr[i] && strchr("0123456789+-.eE", word.ptr[i]);
    if (plain) {
        memcpy(text, word.ptr, word.len);
        text[word.len] = 0;
        *out = strtod(text, &end);
        if (!*end && isfinite(*out)) return true;
    }
    return ig_err_set(err, IG_ERR_DATA, "log-likelihood '" IG_SLICE_FMT "' is no finite number",
                      IG_SLICE_ARG(word));
}

/* The metric's value, which must be 0 or 1. */
static bool read_right(const struct ig_json *line, const struct compare_metric *metric, bool *right,
                       struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(line, metric->name);
    double value;
    if (!node) return ig_err_set(err, IG_ERR_DATA, "no member '%s'", metric->name);
    if (ig_json_bool(node, right)) return true;
    if (!ig_json_real(node, &value))
        return ig_err_set(err, IG_ERR_DATA, "'%s' is no number", metric->name);
    if (value != 0 && value != 1)
        return ig_err_set(err, IG_ERR_DATA,
                          "'%s' is %g: only answers that are right or wrong (1 or 0) are compared",
                          metric->name, value);
    *right = value == 1;
    return true;
}

/* acc_norm, else acc, else the first that the file names. */
static bool pick_metric(const struct ig_json *line, struct compare_metric *metric,
                        struct ig_err *err)
{
    static const char *const known[] = {"acc_norm", "acc", "exact_match"};
    struct ig_slice name = {0};
    const struct ig_json *list = ig_json_get(line, "metrics");
    for (size_t i = 0; !name.ptr && i < sizeof known / sizeof *known; i++)
        if (ig_json_get(line, known[i])) name = ig_slice_of(known[i]);
    if (!name.ptr && list && list->type == IG_JSON_ARRAY && list->count)
        name = ig_json_text(&list->items[0]);
    if (!name.ptr || !name.len || name.len >= sizeof metric->name)
        return ig_err_set(err, IG_ERR_DATA, "no metric in it (acc_norm, acc, exact_match)");
    memcpy(metric->name, name.ptr, name.len);
    metric->name[name.len] = 0;
    metric->norm = ig_slice_is(name, "acc_norm");
    return true;
}

/* ---- requests and their scores ---- */

/* {"arg_0", "arg_1"}, or a list of the two. Other kinds of requests have other arguments. */
static void read_pair(const struct ig_json *node, struct ig_slice *context, struct ig_slice *choice)
{
    bool list = node->type == IG_JSON_ARRAY;
    *context =
        ig_json_text(list ? node->count > 0 ? &node->items[0] : NULL : ig_json_get(node, "arg_0"));
    *choice =
        ig_json_text(list ? node->count > 1 ? &node->items[1] : NULL : ig_json_get(node, "arg_1"));
}

static bool read_arguments(const struct ig_json *line, struct compare_sample *out,
                           struct ig_err *err)
{
    const struct ig_json *node = ig_json_get(line, "arguments");
    struct ig_digest_state *state = NULL;
    if (!node || (node->type != IG_JSON_ARRAY && node->type != IG_JSON_OBJECT)) {
        out->item.prompt = digest_text(ig_json_text(ig_json_get(line, "prompt_hash")));
        return true;
    }
    if (node->count > IG_COMPARE_CHOICES_MAX)
        return ig_err_set(err, IG_ERR_DATA, "%u choices, at most %d", node->count,
                          IG_COMPARE_CHOICES_MAX);
    if (!(state = ig_digest_new())) return ig_err_nomem(err);
    out->count = (int)node->count;
    for (int i = 0; i < out->count; i++) {
        struct ig_slice *texts[] = {&out->contexts[i], &out->choices[i]};
        read_pair(&node->items[i], texts[0], texts[1]);
        for (int k = 0; k < 2; k++) {
            uint64_t len = texts[k]->len; /* so that borders count */
            ig_digest_feed(state, &len, sizeof len);
            if (len) ig_digest_feed(state, texts[k]->ptr, len);
        }
    }
    out->item.prompt = ig_digest_end(state);
    ig_digest_free(state);
    return true;
}

/* *choices: this is a multiple-choice item, and out->scores are its log-likelihoods. */
static bool read_scores(const struct ig_json *line, struct compare_sample *out, bool *choices,
                        struct ig_err *err)
{
    const struct ig_json *list = ig_json_get(line, "filtered_resps");
    *choices = false;
    if (!list || list->type != IG_JSON_ARRAY || list->count == 0) return true;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].type != IG_JSON_ARRAY || list->items[i].count != 2) return true;
    if ((int64_t)list->count != out->count)
        return ig_err_set(err, IG_ERR_DATA, "%u scores in 'filtered_resps', %d in 'arguments'",
                          list->count, out->count);
    for (uint32_t i = 0; i < list->count; i++)
        if (!read_score(&list->items[i].items[0], &out->scores[i], err)) return false;
    *choices = true;
    return true;
}

/* ---- margins ---- */

static double code_points(struct ig_slice text)
{
    double count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += (text.ptr[i] & 0xC0) != 0x80;
    return count;
}

/* The best choice, the first of equals; values: the scores as the metric compares them. */
static int best_of(const double *values, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

static double margin_of(const double *values, int count, int gold)
{
    double other = (double)-INFINITY;
    for (int i = 0; i < count; i++)
        if (i != gold && values[i] > other) other = values[i];
    return values[gold] - other;
}

static void norm_values(const struct compare_sample *s, double blank, double *values)
{
    for (int i = 0; i < s->count; i++)
        values[i] = s->scores[i] / (code_points(s->choices[i]) - blank);
}

/* The target as a number of a choice, as most tasks write it; else -1. */
static int gold_of(struct ig_slice target, int count)
{
    int value = 0;
    if (target.len == 0 || target.len > 3) return -1;
    for (size_t i = 0; i < target.len; i++) {
        if (!isdigit((unsigned char)target.ptr[i])) return -1;
        value = value * 10 + (target.ptr[i] - '0');
    }
    return value < count ? value : -1;
}

/* Where the target is a text (winogrande) two choices and the verdict still tell which is gold. */
static int gold_of_two(const struct compare_sample *s, int pick)
{
    if (s->count != 2) return -1;
    return s->item.right ? pick : 1 - pick;
}

static void read_margin(struct compare_sample *out, const struct compare_metric *metric,
                        struct ig_slice target)
{
    double values[IG_COMPARE_CHOICES_MAX], bare[IG_COMPARE_CHOICES_MAX];
    struct compare_item *item = &out->item;
    if (out->count < 2) return;
    memcpy(values, out->scores, sizeof values);
    memcpy(bare, out->scores, sizeof bare);
    if (metric->norm) {
        norm_values(out, 1, values);
        norm_values(out, 0, bare);
    }
    item->pick = (int16_t)best_of(values, out->count);
    out->pick_bare = (int16_t)best_of(bare, out->count);
    int gold = gold_of(target, out->count);
    if (gold < 0 && !metric->norm) gold = gold_of_two(out, item->pick);
    item->gold = (int16_t)gold;
    if (gold < 0) return;
    item->margin = margin_of(values, out->count, gold);
    out->margin_bare = margin_of(bare, out->count, gold);
    item->has_margin = isfinite(item->margin) || isfinite(out->margin_bare);
}

/* ---- what an item is ---- */

/* Of the text in lower case: FNV-1a with two bases. */
static struct ig_digest digest_lower(struct ig_slice text)
{
    struct ig_digest d = {0xCBF29CE484222325u, 0x84222325CBF29CE4u};
    for (size_t i = 0; i < text.len; i++) {
        uint64_t c = (uint64_t)tolower((unsigned char)text.ptr[i]);
        d.low = (d.low ^ c) * 0x100000001B3u;
        d.high = (d.high ^ c) * 0x100000001B3u;
    }
    return d;
}

static void read_cluster(const struct ig_json *doc, struct compare_sample *out)
{
    struct ig_slice source = ig_json_text(ig_json_get(doc, "source_id"));
    struct ig_slice passage = ig_json_text(ig_json_get(doc, "passage"));
    struct ig_slice one = ig_json_text(ig_json_get(doc, "option1"));
    struct ig_slice two = ig_json_text(ig_json_get(doc, "option2"));
    if (source.len) {
        out->cluster = COMPARE_SOURCE;
        out->item.cluster = digest_text(source);
    } else if (passage.len) {
        const char *dash = ig_slice_find(passage, ig_slice_of(" -- "));
        out->cluster = COMPARE_ARTICLE;
        if (dash) passage.len = (size_t)(dash - passage.ptr);
        out->item.cluster = digest_text(passage);
    } else if (one.len && two.len) {
        struct ig_digest a = digest_lower(one), b = digest_lower(two);
        out->cluster = COMPARE_TWIN; /* a sum, since twins may swap the two */
        out->item.cluster = (struct ig_digest){a.low + b.low, a.high + b.high};
    }
}

static bool read_identity(const struct ig_json *line, struct compare_sample *out,
                          struct ig_err *err)
{
    const struct ig_json *doc = ig_json_get(line, "doc");
    struct ig_slice hash = ig_json_text(ig_json_get(line, "doc_hash"));
    struct ig_buf text = {0};
    bool ok = true;
    if (doc) read_cluster(doc, out);
    out->hashed = hash.len > 0;
    if (!hash.len && doc) {
        ig_json_write(&text, doc, 0, false);
        ok = ig_buf_ok(&text, err);
        hash = ig_buf_view(&text);
    }
    if (ok && !hash.len) ok = ig_err_set(err, IG_ERR_DATA, "neither 'doc' nor 'doc_hash'");
    if (ok) out->item.row = digest_text(hash);
    ig_buf_release(&text);
    return ok;
}

bool eval__sample_read(struct ig_slice line, struct compare_metric *metric, struct ig_arena *arena,
                       struct compare_sample *out, struct ig_err *err)
{
    char number[32];
    int64_t target_number;
    bool choices;
    const struct ig_json *root = ig_json_parse(line, arena, err);
    memset(out, 0, sizeof *out);
    out->item.gold = out->item.pick = -1;
    if (!root) return false;
    if (root->type != IG_JSON_OBJECT) return ig_err_set(err, IG_ERR_DATA, "not an object");
    if (!ig_json_int(ig_json_get(root, "doc_id"), &out->item.doc) || out->item.doc < 0)
        return ig_err_set(err, IG_ERR_DATA, "no 'doc_id' that is a number of a row");
    if (!metric->name[0] && !pick_metric(root, metric, err)) return false;
    if (!read_right(root, metric, &out->item.right, err) || !read_identity(root, out, err) ||
        !read_arguments(root, out, err) || !read_scores(root, out, &choices, err))
        return false;
    const struct ig_json *node = ig_json_get(root, "target");
    struct ig_slice target = ig_json_text(node);
    if (ig_json_int(node, &target_number)) {
        snprintf(number, sizeof number, "%lld", (long long)target_number);
        target = ig_slice_of(number);
    }
    out->item.target = digest_text(target);
    out->filter = ig_json_text(ig_json_get(root, "filter"));
    if (choices) read_margin(out, metric, target);
    return true;
}

/* ---- a whole file ---- */

struct reading {
    struct compare_part *part;
    struct ig_buf line;
    uint64_t offset; /* of the line */
    int64_t number;
    double *bare; /* margin_bare and pick_bare of each item */
    int16_t *bare_picks;
    int64_t wrong, wrong_bare; /* items whose verdict these scores do not give */
};

static bool make_room(struct reading *r, struct ig_err *err)
{
    struct compare_part *part = r->part;
    if (part->count < part->room) return true;
    if (part->count >= COMPARE_ITEMS_MAX)
        return ig_err_set(err, IG_ERR_DATA, "more than %lld items", (long long)COMPARE_ITEMS_MAX);
    int64_t room = part->room ? part->room * 2 : 512;
    void *items = realloc(part->items, (size_t)room * sizeof *part->items);
    if (items) part->items = items;
    void *bare = realloc(r->bare, (size_t)room * sizeof *r->bare);
    if (bare) r->bare = bare;
    void *picks = realloc(r->bare_picks, (size_t)room * sizeof *r->bare_picks);
    if (picks) r->bare_picks = picks;
    if (!items || !bare || !picks) return ig_err_nomem(err);
    part->room = room;
    return true;
}

/* The first line decides what the file is; another filter's lines (gsm8k has two) are counted. */
static bool belongs(struct compare_part *part, const struct compare_sample *s, bool *out,
                    struct ig_err *err)
{
    *out = true;
    if (s->filter.len >= sizeof part->filter)
        return ig_err_set(err, IG_ERR_DATA, "'filter' is longer than %zu bytes",
                          sizeof part->filter - 1);
    if (part->count == 0 && !part->filter[0]) {
        if (s->filter.len) memcpy(part->filter, s->filter.ptr, s->filter.len);
        part->cluster = s->cluster;
        part->hashed = s->hashed;
    }
    if (!ig_slice_is(s->filter, part->filter)) {
        part->other_filters++;
        *out = false;
    } else if (part->cluster != s->cluster) {
        part->cluster = COMPARE_SINGLE;
    }
    if (part->hashed != s->hashed)
        return ig_err_set(err, IG_ERR_DATA, "some lines have 'doc_hash' and some have not");
    return true;
}

/* A tie may go either way. */
static bool agrees(double margin, bool right)
{
    return isfinite(margin) && (margin == 0 || (margin > 0) == right);
}

static bool take_line(struct reading *r, struct ig_err *err)
{
    struct ig_arena arena = {0};
    struct compare_part *part = r->part;
    struct compare_sample *s = malloc(sizeof *s); /* 10 kB: too much for a thread's stack */
    struct ig_slice text = ig_buf_view(&r->line);
    bool mine = false;
    bool ok = s || ig_err_nomem(err);
    ok = ok && eval__sample_read(text, &part->metric, &arena, s, err) &&
         belongs(part, s, &mine, err) && make_room(r, err);
    if (ok && mine) {
        s->item.offset = r->offset;
        s->item.line = r->number;
        s->item.bytes = (uint32_t)text.len;
        r->bare[part->count] = s->margin_bare;
        r->bare_picks[part->count] = s->pick_bare;
        if (s->item.has_margin) {
            r->wrong += !agrees(s->item.margin, s->item.right);
            r->wrong_bare += !agrees(s->margin_bare, s->item.right);
        }
        part->items[part->count++] = s->item;
    }
    if (!ok) ig_err_within(err, "'%s', line %lld", part->path, (long long)r->number);
    ig_arena_release(&arena);
    free(s);
    return ok;
}

static bool is_blank(struct ig_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!isspace((unsigned char)text.ptr[i])) return false;
    return true;
}

static bool end_line(struct reading *r, struct ig_err *err)
{
    uint64_t bytes = r->line.len + 1;
    r->number++;
    if (!is_blank(ig_buf_view(&r->line)) && !take_line(r, err)) return false;
    r->offset += bytes;
    ig_buf_clear(&r->line);
    return true;
}

static bool read_lines(struct reading *r, int fd, char *chunk, struct ig_err *err)
{
    uint64_t size, done = 0;
    if (!ig_file_size(fd, r->part->path, &size, err)) return false;
    while (done < size) {
        size_t want = size - done < CHUNK_BYTES ? (size_t)(size - done) : CHUNK_BYTES, at = 0;
        if (!ig_file_pread(fd, r->part->path, done, chunk, want, err)) return false;
        while (at < want) {
            const char *end = memchr(chunk + at, '\n', want - at);
            size_t part = end ? (size_t)(end - chunk) - at : want - at;
            ig_buf_append(&r->line, chunk + at, part);
            if (r->line.failed && r->line.len + part < COMPARE_LINE_BYTES_MAX)
                return ig_err_nomem(err);
            if (r->line.failed)
                return ig_err_set(err, IG_ERR_DATA, "'%s', line %lld: longer than %zu bytes",
                                  r->part->path, (long long)r->number + 1, COMPARE_LINE_BYTES_MAX);
            if (end && !end_line(r, err)) return false;
            at += part + (end != NULL);
        }
        done += want;
    }
    return r->line.len == 0 || end_line(r, err);
}

/* The scores that give the file's own verdicts; where neither does, there are no margins. */
static void choose_margins(struct reading *r)
{
    struct compare_part *part = r->part;
    if (part->metric.norm && r->wrong_bare < r->wrong) {
        for (int64_t i = 0; i < part->count; i++) {
            part->items[i].margin = r->bare[i];
            part->items[i].pick = r->bare_picks[i];
        }
        r->wrong = r->wrong_bare;
    }
    for (int64_t i = 0; i < part->count; i++)
        if (r->wrong || !isfinite(part->items[i].margin)) part->items[i].has_margin = false;
}

static int by_doc(const void *a, const void *b)
{
    const struct compare_item *x = a, *y = b;
    if (x->doc != y->doc) return x->doc < y->doc ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static bool check_docs(const struct compare_part *part, struct ig_err *err)
{
    if (part->count == 0) return ig_err_set(err, IG_ERR_DATA, "'%s' has no items", part->path);
    for (int64_t i = 1; i < part->count; i++)
        if (part->items[i].doc == part->items[i - 1].doc)
            return ig_err_set(err, IG_ERR_DATA,
                              "'%s', line %lld: doc_id %lld is there twice, "
                              "also in line %lld",
                              part->path, (long long)part->items[i].line,
                              (long long)part->items[i].doc, (long long)part->items[i - 1].line);
    return true;
}

bool eval__samples_read(struct compare_part *part, struct ig_err *err)
{
    struct reading r = {.part = part, .line = {.len_max = COMPARE_LINE_BYTES_MAX}};
    char *chunk = malloc(CHUNK_BYTES);
    int fd = ig_file_open(part->path, err);
    bool ok = fd >= 0 && (chunk || ig_err_nomem(err)) && read_lines(&r, fd, chunk, err);
    if (ok) {
        choose_margins(&r);
        qsort(part->items, (size_t)part->count, sizeof *part->items, by_doc);
        ok = check_docs(part, err);
    }
    if (fd >= 0) close(fd);
    free(chunk);
    free(r.bare);
    free(r.bare_picks);
    ig_buf_release(&r.line);
    return ok;
}
