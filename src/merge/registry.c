/* SPDX-License-Identifier: Apache-2.0
 * registry — the table of merge methods. The list is in meson.build. */
#include "merge/merge_methods.h"

#include "merge/method.h"
#include <pthread.h>

#define X(method) extern const struct merge_method merge__##method;
IG_MERGE_METHODS(X)
#undef X

#define X(method) &merge__##method,
const struct merge_method *const merge__methods[] = {IG_MERGE_METHODS(X) NULL};
#undef X

#define COUNT (sizeof merge__methods / sizeof *merge__methods)

const struct merge_method *merge__method_find(struct ig_slice name)
{
    for (int i = 0; merge__methods[i]; i++)
        if (ig_slice_is(name, merge__methods[i]->name)) return merge__methods[i];
    return NULL;
}

static const char *list[2 * COUNT];
static pthread_once_t listed = PTHREAD_ONCE_INIT;

static void make_list(void)
{
    for (size_t i = 0; merge__methods[i]; i++) {
        list[2 * i] = merge__methods[i]->name;
        list[2 * i + 1] = merge__methods[i]->summary;
    }
}

const char *const *ig_merge_method_list(void)
{
    pthread_once(&listed, make_list);
    return list;
}
