/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool cli_each_line(const char *path,
                   bool (*each)(void *user, const struct ig_json *row, struct ig_err *err),
                   void *user, struct ig_err *err)
{
    bool standard = strcmp(path, "-") == 0, ok = true;
    FILE *file = standard ? stdin : fopen(path, "r");
    if (!file) return ig_err_errno(err, errno, "cannot open '%s'", path);
    char *line = NULL;
    size_t cap = 0;
    long number = 0;
    for (ssize_t n; ok && (n = getline(&line, &cap, file)) >= 0;) {
        number++;
        if (n == 0 || (n == 1 && line[0] == '\n')) continue;
        struct ig_json_doc *doc = NULL;
        ok = ig_json_doc_new(ig_slice_make(line, (size_t)n), &doc, err);
        if (ok && ig_json_doc_root(doc)->type != IG_JSON_OBJECT)
            ok = ig_err_set(err, IG_ERR_DATA, "not a JSON object");
        if (ok) ok = each(user, ig_json_doc_root(doc), err);
        ig_json_doc_free(doc);
        if (!ok) ig_err_within(err, "'%s', line %ld", path, number);
    }
    if (ok && ferror(file)) ok = ig_err_errno(err, errno, "cannot read '%s'", path);
    free(line);
    if (!standard) fclose(file);
    return ok;
}
