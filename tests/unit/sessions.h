/* SPDX-License-Identifier: Apache-2.0
 * sessions — for tests of caches: the small trained model, sessions of it, and a text. */
#pragma once
#include "check.h"
#include "ingot/infer.h"

#include <stdio.h>
#include <stdlib.h>

static struct ig_model *open_lantern(void)
{
    struct ig_err err = {0};
    struct ig_model *model = NULL;
    char path[4096];
    const char *at = getenv("INGOT_FIXTURES");
    snprintf(path, sizeof path, "%s/models/lantern", at ? at : "fixtures");
    check_ok(ig_model_open(path, 1, &model, &err), &err);
    return model;
}

static struct ig_session *session_as(struct ig_model *model, int64_t context, int64_t window,
                                     int bits)
{
    struct ig_err err = {0};
    struct ig_session *s = NULL;
    const struct ig_session_options how = {.context = context, .window = window, .bits = bits};
    check_ok(ig_session_new_as(model, &how, &s, &err), &err);
    return s;
}

static void feed(struct ig_session *s, const int32_t *ids, size_t count)
{
    struct ig_err err = {0};
    check_ok(ig_session_feed(s, ids, count, &err), &err);
}

static int32_t token_at(int64_t position)
{
    return (int32_t)((position * 7 + position * position / 3) % 64);
}
