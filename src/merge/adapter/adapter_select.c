/* SPDX-License-Identifier: Apache-2.0
 * adapter_select — which modules are meant: parts of names, globs, regular expressions. */
#include "merge/adapter/adapter_internal.h"

#include "ingot/pattern.h"
#include "text/glob.h"

struct adapter_select {
    struct ig_pattern **include, **exclude;
};

/* One item of a list with commas between; moves *at behind it. */
static struct ig_slice next_item(const char **at)
{
    const char *start = *at, *end = strchr(start, ',');
    size_t n = end ? (size_t)(end - start) : strlen(start);
    *at = end ? end + 1 : start + n;
    return ig_slice_make(start, n);
}

/* A pattern with * or ? is for the whole name, any other for a part of it. */
static bool in_list(const char *list, struct ig_slice module)
{
    char pattern[256];
    for (const char *at = list; at && *at;) {
        struct ig_slice item = next_item(&at);
        if (item.len == 0 || item.len >= sizeof pattern) continue;
        memcpy(pattern, item.ptr, item.len);
        pattern[item.len] = '\0';
        if (strpbrk(pattern, "*?") ? ig_glob_match(pattern, module)
                                   : ig_slice_find(module, item) != NULL)
            return true;
    }
    return false;
}

static bool check_list(const char *option, const char *list, struct ig_err *err)
{
    for (const char *at = list; at && *at;) {
        struct ig_slice item = next_item(&at);
        if (item.len == 0 || item.len >= 256)
            return ig_err_set(err, IG_ERR_USAGE, "--%s: an empty pattern, or one of 256 bytes",
                              option);
    }
    if (!list || !strpbrk(list, "\\^$|()[]+{}")) return true;
    return ig_err_set(err, IG_ERR_USAGE,
                      "--%s takes globs (*, ?) or parts of names, with commas between; '%s' is a "
                      "regular expression: see --include-regex and --exclude-regex",
                      option, list);
}

static bool compile(struct ig_adapter *a, const char *option, const struct ig_adapter_texts *texts,
                    struct ig_pattern ***out, struct ig_err *err)
{
    struct ig_pattern **list = ig_arena_array(&a->arena, texts->count + 1, sizeof *list);
    if (!list) return ig_err_nomem(err);
    *out = list; /* NULL ends it: what is there is freed at the end */
    for (size_t i = 0; i < texts->count; i++)
        if (!ig_pattern_new(ig_slice_of(texts->items[i]), &list[i], err)) {
            err->code = IG_ERR_USAGE;
            return ig_err_within(err, "--%s '%s'", option, texts->items[i]);
        }
    return true;
}

bool adapter__select_open(struct ig_adapter *a, struct ig_err *err)
{
    const struct ig_adapter_job *job = &a->job;
    struct adapter_select *s = a->select = ig_arena_new(&a->arena, sizeof *s);
    if (!s) return ig_err_nomem(err);
    return check_list("include", job->include, err) && check_list("exclude", job->exclude, err) &&
           check_list("save-module", job->save, err) &&
           compile(a, "include-regex", &job->include_regex, &s->include, err) &&
           compile(a, "exclude-regex", &job->exclude_regex, &s->exclude, err);
}

static void free_list(struct ig_pattern **list)
{
    for (; list && *list; list++)
        ig_pattern_free(*list);
}

void adapter__select_close(struct ig_adapter *a)
{
    if (!a->select) return;
    free_list(a->select->include);
    free_list(a->select->exclude);
}

static bool in_patterns(struct ig_pattern *const *list, struct ig_slice name, bool *found,
                        struct ig_err *err)
{
    for (; *list && !*found; list++)
        if (!ig_pattern_find(*list, name, found, err)) return false;
    return true;
}

bool adapter__wants(const struct ig_adapter *a, struct ig_slice name, bool *yes, struct ig_err *err)
{
    const struct adapter_select *s = a->select;
    bool in = in_list(a->job.include, name), out = in_list(a->job.exclude, name);
    if (!in_patterns(s->include, name, &in, err) || !in_patterns(s->exclude, name, &out, err))
        return false;
    *yes = (in || (!a->job.include && !s->include[0])) && !out;
    return true;
}

bool adapter__saves(const struct ig_adapter *a, struct ig_slice key)
{
    for (const char *at = a->job.save; at && *at;)
        if (ig_slice_equal(next_item(&at), key)) return true;
    return false;
}

bool adapter__select_check(const struct ig_adapter *a, struct ig_err *err)
{
    if (a->count == 0)
        return ig_err_set(err, IG_ERR_USAGE,
                          "no module is left of '%s': see --include, --exclude and the like",
                          a->job.tuned);
    for (const char *at = a->job.save; at && *at;) {
        struct ig_slice item = next_item(&at);
        bool found = false;
        for (int64_t i = 0; i < a->count && !found; i++)
            found = ig_slice_equal(a->entries[i].key, item);
        if (!found)
            return ig_err_set(err, IG_ERR_USAGE,
                              "--save-module: no module's last name is '" IG_SLICE_FMT "'",
                              IG_SLICE_ARG(item));
    }
    return true;
}
