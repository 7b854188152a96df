/* SPDX-License-Identifier: Apache-2.0 */
#include "states.h"

#include "ingot/infer.h"

static bool run_all(struct ig_session *session, const struct ig_states_ask *ask, struct ig_err *err)
{
    for (int i = 0; i < ask->count; i++) {
        double *out = ask->out + ask->groups[i] * ask->layers * ask->hidden;
        ig_session_trim(session, 0);
        if (!ig_session_states(session, ask->prompts[i].items, ask->prompts[i].count, ask->mean,
                               out, err))
            return false;
    }
    return true;
}

bool cli_run_states(void *user, const struct ig_states_ask *ask, struct ig_err *err)
{
    const int64_t *threads = user;
    const struct ig_model_options options = {.threads = (int)*threads, .exact = true};
    struct ig_model *model = NULL;
    struct ig_session *session = NULL;
    int64_t longest = 1;
    for (int i = 0; i < ask->count; i++)
        if ((int64_t)ask->prompts[i].count > longest) longest = (int64_t)ask->prompts[i].count;
    bool ok = ig_model_open_as(ask->model, &options, &model, err);
    if (ok && (ig_model_shape(model)->layers != ask->layers ||
               ig_model_shape(model)->hidden != ask->hidden))
        ok = ig_err_set(err, IG_ERR_DATA, "'%s' has other layers than its config.json says",
                        ask->model);
    ok = ok && ig_session_new(model, longest, &session, err) && run_all(session, ask, err);
    ig_session_free(session);
    ig_model_close(model);
    return ok;
}
