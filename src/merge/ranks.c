/* SPDX-License-Identifier: Apache-2.0
 * ranks — which tensors each rank of a run makes.
 *
 * Tensors that come out together stay together: the copies of an expanded layer, and the experts
 * that a quantised output stacks. */
#include "merge/merge_internal.h"

#include <stdlib.h>

/* The lowest member of a group stands for it; groups only grow together. */
static int64_t root_of(int64_t *group, int64_t i)
{
    while (group[i] != i)
        i = group[i] = group[group[i]];
    return i;
}

static void join(int64_t *group, int64_t a, int64_t b)
{
    a = root_of(group, a);
    b = root_of(group, b);
    if (a < b)
        group[b] = a;
    else
        group[a] = b;
}

static bool find_groups(const struct ig_merge *m, int64_t *group, struct ig_err *err)
{
    int64_t *first = malloc(((size_t)m->count + 1) * sizeof(*first));
    if (!first) return ig_err_nomem(err);
    for (int64_t i = 0; i < m->count; i++)
        group[i] = i;
    for (int64_t i = 0; i < m->count; i++)
        if (m->tasks[i].action == MERGE_TWIN) join(group, i, m->tasks[i].twin);
    for (int o = 0; o < m->output_count; o++) {
        if (!m->outputs[o].cast) continue;
        for (int64_t i = 0; i < m->count; i++)
            first[i] = -1;
        for (int64_t i = 0; i < m->count; i++) {
            int64_t module = ig_cast_module(m->outputs[o].cast, i);
            if (module < 0) continue;
            if (first[module] < 0) first[module] = i;
            join(group, first[module], i);
        }
    }
    for (int64_t i = 0; i < m->count; i++)
        group[i] = root_of(group, i);
    free(first);
    return true;
}

bool merge__share(const struct ig_merge *m, int **owner, struct ig_err *err)
{
    *owner = NULL;
    if (ig_dist_size(m->job.dist) == 1) return true;
    uint64_t *bytes = calloc((size_t)m->count + 1, sizeof(*bytes));
    int64_t *group = calloc((size_t)m->count + 1, sizeof(*group));
    *owner = calloc((size_t)m->count + 1, sizeof(**owner));
    bool ok = (bytes && group && *owner) || ig_err_nomem(err);
    for (int64_t i = 0; ok && i < m->count; i++)
        bytes[i] = m->tensors[i].bytes * (uint64_t)(m->tasks[i].rows + 1);
    ok = ok && find_groups(m, group, err) &&
         ig_dist_share(m->job.dist, bytes, group, m->count, *owner, err);
    free(bytes);
    free(group);
    return ok;
}
