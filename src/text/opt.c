/* SPDX-License-Identifier: Apache-2.0
 * opt — see ingot/opt.h. */
#include "ingot/opt.h"

#include "base/check.h"
#include "ingot/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define HELP_COLUMN 30

static void *field_of(const struct ig_opt *option, void *fields)
{
    return (char *)fields + option->offset;
}

static bool is_positional(const struct ig_opt *option)
{
    return option->kind == IG_OPT_KIND_ARG || option->kind == IG_OPT_KIND_ARGS;
}

const struct ig_opt *ig_opt_find(const struct ig_opt *options, struct ig_slice name)
{
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++)
        if (!is_positional(o) && ig_slice_is(name, o->name)) return o;
    return NULL;
}

void ig_opt_defaults(const struct ig_opt *options, void *fields)
{
    struct ig_err err = {0};
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++) {
        if (!o->preset) continue;
        bool done = ig_opt_set(o, ig_slice_of(o->preset), fields, &err);
        IG_ASSERT(done); /* a table whose own default is out of its range */
    }
}

static bool bad_value(const struct ig_opt *o, struct ig_slice text, const char *want,
                      struct ig_err *err)
{
    return ig_err_set(err, IG_ERR_USAGE, "%s: '" IG_SLICE_FMT "' is not %s", o->name,
                      IG_SLICE_ARG(text), want);
}

static bool in_range(const struct ig_opt *o, double value, struct ig_err *err)
{
    if ((o->min == 0 && o->max == 0) || (value >= o->min && value <= o->max)) return true;
    if (isinf(o->max))
        return ig_err_set(err, IG_ERR_USAGE, "%s: %.15g is too small: at least %.15g", o->name,
                          value, o->min);
    return ig_err_set(err, IG_ERR_USAGE, "%s: %.15g is out of range: %.15g to %.15g", o->name,
                      value, o->min, o->max);
}

static bool set_int(const struct ig_opt *o, struct ig_slice text, void *field, struct ig_err *err)
{
    char copy[32], *end;
    if (text.len == 0 || text.len >= sizeof copy) return bad_value(o, text, "a whole number", err);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    errno = 0;
    long long value = strtoll(copy, &end, 10);
    if (errno || *end || end == copy) return bad_value(o, text, "a whole number", err);
    if (!in_range(o, (double)value, err)) return false;
    *(int64_t *)field = value;
    return true;
}

static bool set_real(const struct ig_opt *o, struct ig_slice text, void *field, struct ig_err *err)
{
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof copy) return bad_value(o, text, "a number", err);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, &end);
    if (*end || end == copy || !isfinite(value)) return bad_value(o, text, "a finite number", err);
    if (!in_range(o, value, err)) return false;
    *(double *)field = value;
    return true;
}

static bool set_size(const struct ig_opt *o, struct ig_slice text, void *field, struct ig_err *err)
{
    char copy[32], *end;
    if (text.len == 0 || text.len >= sizeof copy) return bad_value(o, text, "a size", err);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, &end);
    static const char units[] = "KMGT";
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (end == copy || !(value >= 0) || (*end && !unit))
        return bad_value(o, text, "a size such as 512M or 2G", err);
    if (unit) {
        value *= ldexp(1, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i') end++;
        if (*end == 'B') end++;
    }
    if (*end || value > 9e18) return bad_value(o, text, "a size such as 512M or 2G", err);
    if (!in_range(o, value, err)) return false;
    *(int64_t *)field = (int64_t)value;
    return true;
}

static bool set_choice(const struct ig_opt *o, struct ig_slice text, void *field,
                       struct ig_err *err)
{
    struct ig_buf list = {0};
    for (int i = 0; o->choices[i]; i++) {
        if (ig_slice_is(text, o->choices[i])) {
            *(int *)field = i;
            ig_buf_release(&list);
            return true;
        }
        ig_buf_printf(&list, "%s%s", i ? ", " : "", o->choices[i]);
    }
    ig_err_set(err, IG_ERR_USAGE, "%s: '" IG_SLICE_FMT "' is unknown; it may be %s", o->name,
               IG_SLICE_ARG(text), list.data ? list.data : "");
    ig_buf_release(&list);
    return false;
}

static bool set_flag(const struct ig_opt *o, struct ig_slice text, void *field, struct ig_err *err)
{
    bool on = ig_slice_is(text, "true");
    if (!on && !ig_slice_is(text, "false")) return bad_value(o, text, "true or false", err);
    *(bool *)field = on;
    return true;
}

static bool add_text(const struct ig_opt *o, struct ig_slice text, void *field, struct ig_err *err)
{
    struct ig_opt_texts *texts = field;
    if (texts->count == IG_OPT_TEXTS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "%s: given more than %d times", o->name,
                          IG_OPT_TEXTS_MAX);
    texts->items[texts->count++] = text.ptr;
    return true;
}

bool ig_opt_set(const struct ig_opt *option, struct ig_slice text, void *fields, struct ig_err *err)
{
    void *field = field_of(option, fields);
    switch (option->kind) {
    case IG_OPT_KIND_FLAG: return set_flag(option, text, field, err);
    case IG_OPT_KIND_INT: return set_int(option, text, field, err);
    case IG_OPT_KIND_REAL: return set_real(option, text, field, err);
    case IG_OPT_KIND_SIZE: return set_size(option, text, field, err);
    case IG_OPT_KIND_CHOICE: return set_choice(option, text, field, err);
    case IG_OPT_KIND_TEXTS: return add_text(option, text, field, err);
    case IG_OPT_KIND_TEXT:
    case IG_OPT_KIND_ARG: *(const char **)field = text.ptr; return true;
    case IG_OPT_KIND_ARGS:
    case IG_OPT_KIND_END: break;
    }
    return ig_err_set(err, IG_ERR_BUG, "option '%s' cannot be set from text", option->name);
}

/* ---- the command line ---- */

struct scan {
    const struct ig_opt *options;
    const struct ig_opt *positional; /* the next one to fill, or the END row */
    int argc, at;
    const char *const *argv;
    void *fields;
};

static const struct ig_opt *next_positional(const struct ig_opt *o)
{
    while (o->kind != IG_OPT_KIND_END && !is_positional(o))
        o++;
    return o;
}

static bool unknown_option(const struct scan *scan, const char *arg, struct ig_err *err)
{
    const char *names[65];
    int count = 0;
    for (const struct ig_opt *o = scan->options; o->kind != IG_OPT_KIND_END && count < 64; o++)
        if (!is_positional(o)) names[count++] = o->name;
    names[count] = NULL;
    struct ig_slice name = ig_slice_of(arg + 2);
    name.len = strcspn(name.ptr, "=");
    const char *near = ig_opt_nearest(name, names);
    if (near)
        return ig_err_set(err, IG_ERR_USAGE, "unknown option '%s'; did you mean --%s?", arg, near);
    return ig_err_set(err, IG_ERR_USAGE, "unknown option '%s'", arg);
}

static bool take_value(struct scan *scan, const struct ig_opt *o, const char *attached,
                       const char *shown, struct ig_err *err)
{
    if (!attached && scan->at + 1 >= scan->argc)
        return ig_err_set(err, IG_ERR_USAGE, "option %s needs a value", shown);
    const char *value = attached ? attached : scan->argv[++scan->at];
    if (!ig_opt_set(o, ig_slice_of(value), scan->fields, err)) {
        memmove(err->text + 2, err->text,
                sizeof err->text - 3); /* "jobs: ..." reads "--jobs: ..." */
        memcpy(err->text, "--", 2);
        err->text[sizeof err->text - 1] = '\0';
        return false;
    }
    return true;
}

static bool parse_long(struct scan *scan, const char *arg, struct ig_err *err)
{
    struct ig_slice name = ig_slice_of(arg + 2);
    name.len = strcspn(name.ptr, "=");
    const char *attached = name.ptr[name.len] == '=' ? name.ptr + name.len + 1 : NULL;
    const struct ig_opt *o = ig_opt_find(scan->options, name);
    if (o && o->kind == IG_OPT_KIND_FLAG && !attached) {
        *(bool *)field_of(o, scan->fields) = true;
        return true;
    }
    if (o) return take_value(scan, o, attached, arg, err);
    if (ig_slice_starts(name, "no-") && !attached) {
        o = ig_opt_find(scan->options, ig_slice_make(name.ptr + 3, name.len - 3));
        if (o && o->kind == IG_OPT_KIND_FLAG) {
            *(bool *)field_of(o, scan->fields) = false;
            return true;
        }
    }
    return unknown_option(scan, arg, err);
}

static bool parse_short(struct scan *scan, const char *arg, struct ig_err *err)
{
    for (const char *letter = arg + 1; *letter; letter++) {
        const struct ig_opt *o = scan->options;
        while (o->kind != IG_OPT_KIND_END && o->letter != *letter)
            o++;
        if (o->kind == IG_OPT_KIND_END)
            return ig_err_set(err, IG_ERR_USAGE, "unknown option '-%c' in '%s'", *letter, arg);
        if (o->kind == IG_OPT_KIND_FLAG)
            *(bool *)field_of(o, scan->fields) = true;
        else
            return take_value(scan, o, letter[1] ? letter + 1 : NULL, arg, err);
    }
    return true;
}

static bool parse_positional(struct scan *scan, struct ig_err *err)
{
    const struct ig_opt *o = scan->positional;
    if (o->kind == IG_OPT_KIND_END)
        return ig_err_set(err, IG_ERR_USAGE, "unexpected argument '%s'", scan->argv[scan->at]);
    if (o->kind == IG_OPT_KIND_ARGS) {
        struct ig_opt_list *list = field_of(o, scan->fields);
        if (list->count && list->items + list->count != scan->argv + scan->at)
            return ig_err_set(err, IG_ERR_USAGE, "give all of %s together, options before or after",
                              o->name);
        if (!list->count) list->items = scan->argv + scan->at;
        list->count++;
        return true;
    }
    *(const char **)field_of(o, scan->fields) = scan->argv[scan->at];
    scan->positional = next_positional(o + 1);
    return true;
}

bool ig_opt_parse(const struct ig_opt *options, int argc, const char *const *argv, void *fields,
                  struct ig_err *err)
{
    struct scan scan = {options, next_positional(options), argc, 0, argv, fields};
    bool only_positional = false;
    ig_opt_defaults(options, fields);
    for (; scan.at < argc; scan.at++) {
        const char *arg = argv[scan.at];
        bool ok;
        if (!only_positional && strcmp(arg, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || arg[0] != '-' || arg[1] == '\0')
            ok = parse_positional(&scan, err);
        else
            ok = arg[1] == '-' ? parse_long(&scan, arg, err) : parse_short(&scan, arg, err);
        if (!ok) return false;
    }
    const struct ig_opt *missing = scan.positional;
    if (missing->kind == IG_OPT_KIND_ARG ||
        (missing->kind == IG_OPT_KIND_ARGS && missing->min > 0 &&
         ((struct ig_opt_list *)field_of(missing, fields))->count == 0))
        return ig_err_set(err, IG_ERR_USAGE, "%s is missing", missing->name);
    return true;
}

void ig_opt_synopsis(const struct ig_opt *options, struct ig_buf *out)
{
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++)
        if (is_positional(o))
            ig_buf_printf(out, " %s%s", o->name, o->kind == IG_OPT_KIND_ARGS ? ".." : "");
    ig_buf_text(out, " [options]");
}

static void help_name(const struct ig_opt *o, struct ig_buf *line)
{
    if (is_positional(o)) {
        ig_buf_text(line, o->name);
        return;
    }
    if (o->letter)
        ig_buf_printf(line, "-%c, ", o->letter);
    else
        ig_buf_text(line, "    ");
    bool on = o->kind == IG_OPT_KIND_FLAG && o->preset && strcmp(o->preset, "true") == 0;
    ig_buf_printf(line, "--%s%s", on ? "no-" : "", o->name);
    if (o->kind == IG_OPT_KIND_CHOICE) {
        for (int i = 0; o->choices[i]; i++)
            ig_buf_printf(line, "%s%s", i ? "|" : " ", o->choices[i]);
    } else if (o->meta) {
        ig_buf_printf(line, " %s", o->meta);
    }
}

void ig_opt_help(const struct ig_opt *options, struct ig_buf *out)
{
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++) {
        struct ig_buf line = {0};
        ig_buf_text(&line, "  ");
        help_name(o, &line);
        if (line.len + 2 > HELP_COLUMN)
            ig_buf_printf(out, "%s\n%*s", line.data ? line.data : "", HELP_COLUMN, "");
        else
            ig_buf_printf(out, "%-*s", HELP_COLUMN, line.data ? line.data : "");
        ig_buf_text(out, o->help);
        if (o->preset && o->kind != IG_OPT_KIND_FLAG)
            ig_buf_printf(out, " (default %s)", o->preset);
        ig_buf_char(out, '\n');
        ig_buf_release(&line);
    }
}

/* Edits (insert, delete, replace) between a and b, given up above `limit`. Names are short. */
static size_t edits(struct ig_slice a, const char *b, size_t limit)
{
    enum { NAME_MAX_HERE = 63 };
    size_t row[NAME_MAX_HERE + 1], b_len = strlen(b);
    if (a.len > NAME_MAX_HERE || b_len > NAME_MAX_HERE) return limit + 1;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = diagonal + (a.ptr[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replace < gap ? replace : gap;
        }
    }
    return row[b_len];
}

const char *ig_opt_nearest(struct ig_slice name, const char *const *names)
{
    const char *best = NULL;
    size_t limit = name.len / 3 + 1, best_edits = limit + 1;
    for (; *names; names++) {
        size_t n = edits(name, *names, limit);
        if (n >= best_edits) continue;
        best = *names;
        best_edits = n;
    }
    return best;
}
