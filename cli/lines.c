/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool cli_each_text_line(const char *path,
                        bool (*each)(void *user, struct ig_slice line, struct ig_err *err),
                        void *user, struct ig_err *err)
{
    bool standard = strcmp(path, "-") == 0, ok = true;
    FILE *file = standard ? stdin : fopen(path, "r");
    if (!file) return ig_err_errno(err, errno, "cannot open '%s'", path);
    char *line = NULL;
    size_t cap = 0;
    long number = 0;
    for (ssize_t n; ok && (n = getline(&line, &cap, file)) >= 0;) {
        char *at = line;
        number++;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (number == 1 && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
            at += 3; /* the mark that some editors begin a file with */
            n -= 3;
        }
        if (n == 0) continue;
        ok = each(user, ig_slice_make(at, (size_t)n), err);
        if (!ok) ig_err_within(err, "'%s', line %ld", path, number);
    }
    if (ok && ferror(file)) ok = ig_err_errno(err, errno, "cannot read '%s'", path);
    free(line);
    if (!standard) fclose(file);
    return ok;
}

struct objects {
    bool (*each)(void *user, const struct ig_json *row, struct ig_err *err);
    void *user;
};

static bool on_object(void *user, struct ig_slice line, struct ig_err *err)
{
    const struct objects *objects = user;
    struct ig_json_doc *doc = NULL;
    bool ok = ig_json_doc_new(line, &doc, err);
    if (ok && ig_json_doc_root(doc)->type != IG_JSON_OBJECT)
        ok = ig_err_set(err, IG_ERR_DATA, "not a JSON object");
    if (ok) ok = objects->each(objects->user, ig_json_doc_root(doc), err);
    ig_json_doc_free(doc);
    return ok;
}

bool cli_each_line(const char *path,
                   bool (*each)(void *user, const struct ig_json *row, struct ig_err *err),
                   void *user, struct ig_err *err)
{
    struct objects objects = {each, user};
    return cli_each_text_line(path, on_object, &objects, err);
}
