/* SPDX-License-Identifier: Apache-2.0
 * models — see models.h. The fields are changed in place, so that no command needs to know. */
#include "models.h"

#include "ingot/hub.h"

#include <stdlib.h>

static bool is_model(const struct ig_opt *o)
{
    const char *says = o->kind == IG_OPT_KIND_TEXT ? o->meta : o->name;
    return (o->kind == IG_OPT_KIND_ARG || o->kind == IG_OPT_KIND_ARGS ||
            o->kind == IG_OPT_KIND_TEXT) &&
           says && strncmp(says, "MODEL", 5) == 0;
}

static bool find_one(const char **field, struct cli_models *m, struct ig_err *err)
{
    if (!*field || !ig_hub_is_name(*field)) return true;
    struct ig_buf *paths = realloc(m->paths, (m->count + 1) * sizeof *paths);
    if (!paths) return ig_err_nomem(err);
    m->paths = paths;
    paths[m->count] = (struct ig_buf){0};
    struct ig_buf *path = &paths[m->count++];
    if (!ig_hub_find_model(*field, path, err)) return false;
    *field = path->data;
    return true;
}

static bool find_list(struct ig_opt_list *list, struct cli_models *m, struct ig_err *err)
{
    if (list->count == 0) return true;
    m->list = calloc(list->count, sizeof *m->list);
    if (!m->list) return ig_err_nomem(err);
    for (size_t i = 0; i < list->count; i++) {
        m->list[i] = list->items[i];
        if (!find_one(&m->list[i], m, err)) return false;
    }
    list->items = m->list;
    return true;
}

bool cli_models_find(const struct ig_opt *options, void *args, struct cli_models *out,
                     struct ig_err *err)
{
    for (const struct ig_opt *o = options; o->kind != IG_OPT_KIND_END; o++) {
        if (!is_model(o)) continue;
        void *field = (char *)args + o->offset;
        bool ok =
            o->kind == IG_OPT_KIND_ARGS ? find_list(field, out, err) : find_one(field, out, err);
        if (!ok) return false;
    }
    return true;
}

void cli_models_release(struct cli_models *models)
{
    for (size_t i = 0; i < models->count; i++)
        ig_buf_release(&models->paths[i]);
    free(models->paths);
    free(models->list);
}
